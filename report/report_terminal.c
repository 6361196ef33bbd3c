/* The summary for a person: the run and its text, then one block per plugin. A bar's length is
 * |value| / max |value| of its list, in eighths of a column; its color is its sign. */
#include "report.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "results.h"
#include "terminal_text.h"

#define STYLE_BOLD "1"
#define STYLE_DIM "2"
#define STYLE_POSITIVE "36" /* cyan and red: color-blind readers can distinguish them */
#define STYLE_NEGATIVE "31"

enum { MIN_WIDTH = 30, MAX_WIDTH = 160, BAR_COLUMNS = 48, LEAST_BAR = 4 };

psc_report_style psc_report_style_of(FILE *stream) {
    psc_report_style style = {.width = 80, .color = false};
    const char *columns = getenv("COLUMNS"), *term = getenv("TERM"), *plain = getenv("NO_COLOR");
    if (!stream || !isatty(fileno(stream))) return style;
    struct winsize size;
    const long given = columns ? strtol(columns, NULL, 10) : 0;
    if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        style.width = size.ws_col;
    else if (given > 0)
        style.width = given < MAX_WIDTH ? (int)given : MAX_WIDTH;
    if (style.width < MIN_WIDTH) style.width = MIN_WIDTH;
    if (style.width > MAX_WIDTH) style.width = MAX_WIDTH;
    style.color = !(plain && *plain) && term && strcmp(term, "dumb") != 0;
    return style;
}

typedef struct printer {
    FILE *out;
    psc_report_style style;
} printer;

static void style_on(const printer *p, const char *code) {
    if (p->style.color) fprintf(p->out, "\033[%sm", code);
}

static void style_off(const printer *p) {
    if (p->style.color) fputs("\033[0m", p->out);
}

/* A copy that is safe to print; null if memory runs out. */
static char *escaped(const char *text) {
    size_t bytes = strlen(text);
    char *copy = bytes < SIZE_MAX / 12 ? malloc(10 * bytes + 1) : NULL;
    if (copy) psc_report_escape(copy, 10 * bytes + 1, text, bytes);
    return copy;
}

/* Decimals that show the largest value with about four digits. -1: all values are integers; -2: the
 * values are so large or small that they need an exponent. */
static int decimals_for(const double *values, int n) {
    double most = 0;
    bool integers = true;
    for (int i = 0; i < n; i++) {
        if (!isfinite(values[i])) continue;
        if (fabs(values[i]) > most) most = fabs(values[i]);
        if (values[i] != floor(values[i])) integers = false;
    }
    if (integers && most < 1e12) return -1;
    if (most >= 1e7 || most < 1e-3) return -2;
    return most >= 1000 ? 1 : most >= 10 ? 2 : most >= 0.1 ? 3 : 5;
}

static void format_number(char *out, size_t size, double value, int decimals, bool with_sign) {
    if (isnan(value))
        snprintf(out, size, "n/a");
    else if (isinf(value))
        snprintf(out, size, value > 0 ? "+inf" : "-inf");
    else if (decimals == -2)
        snprintf(out, size, with_sign ? "%+.3e" : "%.3e", value);
    else
        snprintf(out, size, with_sign ? "%+.*f" : "%.*f", decimals < 0 ? 0 : decimals, value);
}

/* Eighths of a column. Without color a negative bar is drawn shaded, in whole columns. */
static void print_bar(const printer *p, double value, double most, int columns) {
    static const char *const parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    if (!isfinite(value) || !(most > 0)) return;
    int eighths = (int)lround(fabs(value) / most * 8 * columns);
    if (eighths == 0 && value != 0) eighths = 1; /* visible, however small */
    bool shaded = value < 0 && !p->style.color;
    if (shaded) eighths = (eighths + 7) / 8 * 8;
    style_on(p, value < 0 ? STYLE_NEGATIVE : STYLE_POSITIVE);
    for (int i = 0; i < eighths / 8; i++) fputs(shaded ? "░" : "█", p->out);
    fputs(parts[eighths % 8], p->out);
    style_off(p);
}

typedef struct bar_columns {
    int label, number, bar, decimals;
    double most; /* largest |value| */
    bool with_sign;
} bar_columns;

/* Columns of the widest label of at most `most` columns. */
static int widest(char *const *labels, int n, int most) {
    int columns = 0;
    for (int i = 0; i < n; i++) {
        const int own = psc_text_columns(labels[i]);
        if (own > columns && own <= most) columns = own;
    }
    return columns;
}

/* Labels come first: the bars shrink until all labels fit. Where that is not enough, the labels that
 * are too wide get lines of their own. */
static bar_columns measure_bars(const psc_result_item *bars, char *const *labels, int width) {
    bar_columns c = {.decimals = decimals_for(bars->values, bars->n)};
    for (int i = 0; i < bars->n; i++) {
        if (bars->values[i] < 0) c.with_sign = true;
        if (isfinite(bars->values[i])) c.most = fmax(c.most, fabs(bars->values[i]));
    }
    for (int i = 0; i < bars->n; i++) {
        char number[64];
        format_number(number, sizeof number, bars->values[i], c.decimals, c.with_sign);
        if ((int)strlen(number) > c.number) c.number = (int)strlen(number);
    }
    const int room = width - 4 - 2 - c.number - 2; /* of label and bar */
    const int usual_bar = width / 8 < LEAST_BAR ? LEAST_BAR : width / 8 < 12 ? width / 8 : 12;
    c.label = widest(labels, bars->n, room - LEAST_BAR);
    if (c.label < widest(labels, bars->n, INT_MAX))
        c.label = widest(labels, bars->n, room - usual_bar);
    c.bar = room - c.label;
    if (c.bar > BAR_COLUMNS) c.bar = BAR_COLUMNS;
    if (c.bar < LEAST_BAR) c.bar = LEAST_BAR;
    return c;
}

/* "title (unit)", safe to print; null if memory runs out. */
static char *bar_heading(const psc_result_item *bars) {
    char *title = escaped(bars->title), *unit = escaped(bars->unit), *heading = NULL;
    size_t size = title && unit ? strlen(title) + strlen(unit) + 4 : 0;
    if (size > 0) heading = malloc(size);
    if (heading) snprintf(heading, size, *unit ? "%s (%s)" : "%s", title, unit);
    free(title);
    free(unit);
    return heading;
}

static bool print_bars(const printer *p, const psc_result_item *bars) {
    char **labels = calloc(bars->n ? (size_t)bars->n : 1, sizeof *labels);
    char *heading = bar_heading(bars);
    bool complete = labels && heading;
    for (int i = 0; complete && i < bars->n; i++) {
        labels[i] = escaped(bars->labels[i]);
        complete = labels[i] != NULL;
    }
    if (!complete) goto done;
    fputc('\n', p->out);
    style_on(p, STYLE_BOLD);
    psc_text_wrap(p->out, heading, 2, p->style.width);
    style_off(p);
    if (bars->n == 0) fputs("    none\n", p->out);
    bar_columns c = measure_bars(bars, labels, p->style.width);
    for (int i = 0; i < bars->n; i++) {
        char number[64];
        format_number(number, sizeof number, bars->values[i], c.decimals, c.with_sign);
        const bool fits = psc_text_columns(labels[i]) <= c.label;
        if (!fits) psc_text_wrap(p->out, labels[i], 4, p->style.width);
        fputs("    ", p->out);
        psc_text_field(p->out, fits ? labels[i] : "", c.label);
        fprintf(p->out, "  %*s  ", c.number, number);
        print_bar(p, bars->values[i], c.most, c.bar);
        fputc('\n', p->out);
    }
done:
    for (int i = 0; labels && i < bars->n; i++) free(labels[i]);
    free(labels);
    free(heading);
    return complete;
}

static bool print_sentence(const printer *p, const char *sentence) {
    char *text = escaped(sentence);
    if (text) psc_text_wrap(p->out, text, 2, p->style.width);
    free(text);
    return text != NULL;
}

/* next: the section that follows, or null; it names the page if both have the same. */
static void print_page(const printer *p, const char *program, const psc_section *section,
    const psc_section *next, bool after_bars) {
    const char *page = psc_report_section_page(program, section->name, section->version);
    const char *later = next ? psc_report_section_page(program, next->name, next->version) : NULL;
    if (!page || (later && strcmp(page, later) == 0)) return;
    if (after_bars) fputc('\n', p->out);
    style_on(p, STYLE_DIM);
    fprintf(p->out, "  See %s", page);
    style_off(p);
    fputc('\n', p->out);
}

static bool print_section(
    const printer *p, const char *program, const psc_section *section, const psc_section *next) {
    char *name = escaped(section->name);
    if (!name) return false;
    fputc('\n', p->out);
    style_on(p, STYLE_BOLD);
    fprintf(p->out, "%s ", name);
    style_off(p);
    style_on(p, STYLE_DIM);
    for (int i = psc_text_columns(name) + 1; i < p->style.width; i++) fputs("─", p->out);
    style_off(p);
    fputc('\n', p->out);
    free(name);
    bool complete = true, after_bars = false;
    for (int i = 0; complete && i < section->n_items; i++) {
        const psc_result_item *item = &section->items[i];
        if (item->sentence && after_bars) fputc('\n', p->out);
        complete = item->sentence ? print_sentence(p, item->sentence) : print_bars(p, item);
        after_bars = !item->sentence;
    }
    if (complete) print_page(p, program, section, next, after_bars);
    return complete;
}

/* The name, hash and program; what does not fit goes on the next line. */
static void print_model(const printer *p, const psc_results *results) {
    const char *name = results->model.name;
    int threads = (int)results->run.threads;
    char shown[1100], hash[17], rest[200];
    psc_report_escape(shown, sizeof shown, name, strlen(name));
    style_on(p, STYLE_BOLD);
    fputs(shown, p->out);
    style_off(p);
    style_on(p, STYLE_DIM);
    snprintf(hash, sizeof hash, "%.16s", results->model.hash);
    int column = psc_text_columns(shown) + 2 + psc_text_columns(hash);
    const bool breaks = column > p->style.width;
    fprintf(p->out, "%s  %s", breaks ? "\n" : "", hash);
    if (breaks) column = 2 + psc_text_columns(hash);
    const int columns = snprintf(rest, sizeof rest, "pythiascope %.60s, %.30s, %d thread%s",
        results->version, results->run.isa, threads, threads == 1 ? "" : "s");
    if (column + 2 + columns <= p->style.width) {
        fprintf(p->out, "  %s\n", rest);
    } else {
        fputc('\n', p->out);
        psc_text_wrap(p->out, rest, 2, p->style.width);
    }
    style_off(p);
}

/* One token as shown: its text, escaped, or #ID. */
static bool token_text(char *out, size_t size, const psc_result_token *token) {
    char *text = token->bytes ? psc_text_cleaned(token->bytes, token->n_bytes) : NULL;
    if (token->bytes && !text) return false;
    if (text && *text)
        psc_report_escape(out, size, text, strlen(text));
    else
        snprintf(out, size, "#%d", (int)token->id);
    free(text);
    return true;
}

/* The tokens with marked borders, on lines that end at a border; of a long text the last tokens. */
static bool print_tokens(const printer *p, const psc_results *results) {
    const psc_result_token *tokens = results->tokens;
    int32_t n = results->n_tokens, first = n;
    int room = 2 * (p->style.width - 4) - 12;
    char text[96];
    while (first > 0) {
        if (!token_text(text, sizeof text, &tokens[first - 1])) return false;
        room -= psc_text_columns(text) + 1;
        if (room < 0 && first < n) break;
        first--;
    }
    if (n == 0) return true;
    int column = fprintf(p->out, "%d token%s: ", (int)n, n == 1 ? "" : "s");
    if (first > 0) column += fputs("… ", p->out) < 0 ? 0 : 2;
    for (int32_t i = first; i < n; i++) {
        if (!token_text(text, sizeof text, &tokens[i])) return false;
        const int columns = psc_text_columns(text);
        if (i > first) {
            style_on(p, STYLE_DIM);
            fputs("|", p->out);
            style_off(p);
            column++;
        }
        if (i > first && column + columns + 1 > p->style.width) { /* 1: the next border */
            fputs("\n  ", p->out);
            column = 2;
        }
        fputs(text, p->out);
        column += columns;
    }
    fputc('\n', p->out);
    return true;
}

/* The documents, windows and tokens that the totals cover. A client that runs sequences of its own
 * reads no documents. */
static void print_corpus(const printer *p, const psc_corpus_totals *corpus) {
    const int64_t documents = corpus->documents, skipped = corpus->skipped;
    char text[400], window[48] = "", overlap[72] = "", apart[64] = "", tokens[32], windows[32],
                    all[32], n[32];
    if (documents + skipped + corpus->windows == 0) return; /* a report without a run */
    psc_text_commas(corpus->tokens, tokens);
    psc_text_commas(corpus->windows, windows);
    if (corpus->window > 0)
        snprintf(window, sizeof window, " of up to %s", psc_text_commas(corpus->window, n));
    if (corpus->window > 0 && corpus->stride > 0)
        snprintf(overlap, sizeof overlap, ", each %s after the one before",
            psc_text_commas(corpus->stride, n));
    if (skipped > 0)
        snprintf(apart, sizeof apart, "; %s document%s skipped", psc_text_commas(skipped, n),
            skipped == 1 ? "" : "s");
    if (documents + skipped == 0)
        snprintf(text, sizeof text, "%s token%s in %s sequence%s", tokens,
            corpus->tokens == 1 ? "" : "s", windows, corpus->windows == 1 ? "" : "s");
    else
        snprintf(text, sizeof text, "%s token%s from %s document%s in %s window%s%s%s%s", tokens,
            corpus->tokens == 1 ? "" : "s", psc_text_commas(documents, all),
            documents == 1 ? "" : "s", windows, corpus->windows == 1 ? "" : "s", window, overlap,
            apart);
    psc_text_continue(p->out, text, 0, 2, p->style.width);
    if (documents + skipped == 0) return;
    if (corpus->sample > 0) {
        const bool fewer = corpus->sample < corpus->population;
        snprintf(text, sizeof text, "a sample of %s of the corpus's %s documents, seed %lld",
            psc_text_commas(fewer ? corpus->sample : corpus->population, n),
            psc_text_commas(corpus->population, all), (long long)corpus->seed);
        psc_text_continue(p->out, text, 0, 2, p->style.width);
    }
    if (corpus->stopped) fputs("stopped before the end of the corpus\n", p->out);
}

static psc_status print(
    const psc_results *results, bool head, FILE *out, psc_report_style style, psc_error *error) {
    printer p = {out, style};
    bool complete = true;
    errno = 0;
    if (head) print_model(&p, results);
    if (head) complete = print_tokens(&p, results);
    if (head && results->has_corpus) print_corpus(&p, &results->corpus);
    const int32_t n = style.sections > 0 && style.sections < results->n_sections
                          ? style.sections
                          : results->n_sections;
    for (int i = 0; complete && i < n; i++)
        complete = print_section(&p, results->version, &results->sections[i],
            i + 1 < n ? &results->sections[i + 1] : NULL);
    if (!complete) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the summary");
    if (fflush(out) == 0 && !ferror(out)) return PSC_OK;
    return psc_fail(error, PSC_ERROR_IO, "cannot write the summary: %s",
        errno ? strerror(errno) : "the output failed");
}

psc_status psc_report_summary(
    const psc_results *results, FILE *out, psc_report_style style, psc_error *error) {
    return print(results, true, out, style, error);
}

psc_status psc_report_sections(
    const psc_results *results, FILE *out, psc_report_style style, psc_error *error) {
    return print(results, false, out, style, error);
}
