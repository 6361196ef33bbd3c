/* The words of the summary at several widths: labels, tokens in quotes,
 * borders of tokens, pages. */
#define _GNU_SOURCE /* posix_openpt */
#include "psc.h"
#include "report.h"
#include "results.h"
#include "results_fixture.h"
#include "terminal_text.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The caller frees the text. */
static char *wrapped(const char *text, int width) {
    char *out = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&out, &bytes);
    psc_text_wrap(stream, text, 2, width);
    fclose(stream);
    return out;
}

static void check_wrap(const char *text, int width, const char *expected) {
    char *out = wrapped(text, width);
    cr_expect_str_eq(out, expected, "at %d columns:\n%s", width, out);
    free(out);
}

static void check_field(const char *text, int columns, const char *expected) {
    char *out = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&out, &bytes);
    psc_text_field(stream, text, columns);
    fclose(stream);
    cr_expect_str_eq(out, expected, "at %d columns: '%s'", columns, out);
    free(out);
}

/* An ellipsis takes the place of what does not fit; a wide character is never cut in two. */
Test(terminal, fields_are_padded_or_cut) {
    check_field("ab", 4, "ab  ");
    check_field("abcd", 4, "abcd");
    check_field("abcde", 4, "abc…");
    check_field("a漢字", 5, "a漢字");
    check_field("a漢字", 4, "a漢…");
    check_field("漢字", 2, "… ");
    check_field("", 2, "  ");
    check_field("\xff\xfe", 2, "\xff\xfe");
    cr_expect_eq(psc_text_columns("\xffz\xe6\xbc"), 4, "a byte of broken UTF-8 takes a column");
}

Test(terminal, lines_do_not_break_inside_a_token) {
    check_wrap("promotes ' a house' +0.2", 20, "  promotes\n  ' a house' +0.2\n");
    check_wrap("likes ' a', ' the' and (' of')", 16, "  likes ' a',\n  ' the' and\n  (' of')\n");
    check_wrap("it reads @22 ' had' here", 20, "  it reads\n  @22 ' had' here\n");
    check_wrap("a >>' The'<< ' old'", 13, "  a\n  >>' The'<<\n  ' old'\n");
    check_wrap("it has 12 3 % of it", 13, "  it has 12\n  3 % of it\n");
    check_wrap("rank 1, p = 0.991, logit 13.9", 12, "  rank 1,\n  p = 0.991,\n  logit 13.9\n");
    check_wrap("then ' the' 0.12, 'a' +0.1", 20, "  then ' the' 0.12,\n  'a' +0.1\n");
    check_wrap("quotes ''s' and ' '' done", 16, "  quotes ''s'\n  and ' '' done\n");
}

Test(terminal, an_apostrophe_or_an_open_quote_joins_nothing) {
    check_wrap("the model's own next token's p", 14, "  the model's\n  own next\n  token's p\n");
    check_wrap("a quote ' that nothing closes", 14, "  a quote '\n  that nothing\n  closes\n");
    check_wrap("a heads' list of heads' names", 14, "  a heads'\n  list of\n  heads' names\n");
    check_wrap("the value of it =", 14, "  the value of\n  it =\n");
    check_wrap("reads @2x 'a' or (@3 b", 14, "  reads @2x\n  'a' or (@3 b\n");
    check_wrap("it is @12 'open", 14, "  it is @12\n  'open\n");
    check_wrap("then 'a' -0.1 or 'b' c", 14, "  then\n  'a' -0.1 or\n  'b' c\n");
    check_wrap("a % of 5 % of", 8, "  a % of\n  5 % of\n");
    check_wrap("'", 8, "  '\n");
    check_wrap("", 8, "\n");
}

/* Results with one section of that name and version, and two bars of the values. */
static psc_results *bars_with(
    const char *name, const char *version, const char *const labels[2], const double values[2]) {
    psc_results *results;
    cr_assert_eq(psc_results_open(&results, NULL), PSC_OK);
    add_head(results);
    psc_section *section = psc_results_add_section(results, name, version);
    cr_assert(section);
    cr_assert_eq(psc_section_add_bars(section, "effects", "nats", 2, labels, values), PSC_OK);
    return results;
}

static psc_results *bars_of(const char *name, const char *version, const char *const labels[2]) {
    static const double values[] = {-7.897, 0.5};
    return bars_with(name, version, labels, values);
}

/* Text without an end of a quote within 64 bytes is no token. */
Test(terminal, a_long_quote_is_no_token) {
    char text[160] = "a '", *out;
    for (int i = 0; i < 30; i++) strcat(text, "bc ");
    strcat(text, "d'");
    out = wrapped(text, 20);
    for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n"))
        cr_expect_leq(psc_text_columns(line), 20, "%s", line);
    free(out);
}

static char *summary(const psc_results *results, int width) {
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    cr_assert_eq(
        psc_report_summary(results, out, (psc_report_style){.width = width}, NULL), PSC_OK);
    fclose(out);
    return text;
}

Test(terminal, labels_use_the_width) {
    static const char *const labels[] = {"L3H7: @22 'umb' reads @10 'old'",
        "a label of about sixty columns, which is more than fits at forty"};
    static const struct {
        int width;
        bool first, second;
    } cases[] = {{30, false, false}, {40, true, false}, {80, true, true}, {140, true, true}};
    psc_results *results = bars_of("mine", "1", labels);
    for (int i = 0; i < 4; i++) {
        char *text = summary(results, cases[i].width);
        cr_expect_eq(strstr(text, labels[0]) != NULL, cases[i].first, "%s", text);
        cr_expect_eq(strstr(text, labels[1]) != NULL, cases[i].second, "%s", text);
        cr_expect(strstr(text, "-7.897") && strstr(text, "░░░░"), "%s", text);
        cr_expect(!strstr(text, "…") && strstr(text, "'old'") && strstr(text, "forty"), "%s", text);
        char *from = strstr(text, "effects");
        for (char *line = strtok(from, "\n"); line; line = strtok(NULL, "\n"))
            cr_expect_leq(psc_text_columns(line), cases[i].width, "%s", line);
        free(text);
    }
    psc_results_close(&results);
}

/* Labels of edges end with the row of the target. */
Test(terminal, bars_shrink_before_labels_are_cut) {
    static const char *const labels[] = {"@10 'old' --L3H7 0.84--> @22", "@0 --L3H7--> @22 'umb'"};
    psc_results *results = bars_of("edges", "1", labels);
    char *text = summary(results, 46);
    cr_expect(strstr(text, "    @10 'old' --L3H7 0.84--> @22  -7.897  ░░░░\n"), "%s", text);
    free(text);
    psc_results_close(&results);
}

Test(terminal, the_headline_breaks_between_its_words) {
    static const char *const labels[] = {"a", "b"};
    psc_results *results = bars_of("mine", "1", labels);
    for (int width = 30; width < 60; width += 7) {
        char *text = summary(results, width), *end = strstr(text, "\n\nmine");
        cr_assert(end && strstr(text, " thread"), "%s", text);
        *end = 0;
        int lines = 0;
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++)
            cr_expect_leq(psc_text_columns(line), width, "at %d: %s", width, line);
        cr_expect_gt(lines, 1);
        free(text);
    }
    psc_results_close(&results);
}

Test(terminal, a_corpus_counts_with_commas) {
    static const char *const labels[] = {"a", "b"};
    psc_results *results = bars_of("mine", "1", labels);
    results->has_corpus = true;
    results->corpus.documents = 1200;
    results->corpus.windows = 3400;
    results->corpus.tokens = 1234567;
    char *text = summary(results, 80);
    cr_expect(
        strstr(text, "\n1,234,567 tokens from 1,200 documents in 3,400 windows\n"), "%s", text);
    free(text);
    psc_results_close(&results);
}

/* What a corpus's lines say. */
static const struct {
    psc_corpus_totals totals;
    const char *lines; /* empty: none */
} corpora[] = {
    {{.documents = 0}, ""},
    {{.documents = 1, .windows = 2, .tokens = 30, .window = 1024},
        "30 tokens from 1 document in 2 windows of up to 1,024\n"},
    {{.documents = 1, .windows = 9, .tokens = 30, .window = 8, .stride = 3},
        "30 tokens from 1 document in 9 windows of up to 8, each 3 after the one before\n"},
    {{.documents = 2, .windows = 2, .tokens = 3, .skipped = 1},
        "3 tokens from 2 documents in 2 windows; 1 document skipped\n"},
    {{.skipped = 2000, .window = 8},
        "0 tokens from 0 documents in 0 windows of up to 8; 2,000 documents skipped\n"},
    {{.windows = 1, .tokens = 1000}, "1,000 tokens in 1 sequence\n"},
    {{.windows = 1, .tokens = 1}, "1 token in 1 sequence\n"},
    {{.documents = 1, .windows = 1, .tokens = 1}, "1 token from 1 document in 1 window\n"},
    {{.windows = 12, .tokens = 3, .stopped = 1}, "3 tokens in 12 sequences\n"},
    {{.documents = 3, .windows = 3, .tokens = 9, .sample = 3, .population = 4000, .seed = -7},
        "9 tokens from 3 documents in 3 windows\n"
        "a sample of 3 of the corpus's 4,000 documents, seed -7\n"},
    {{.documents = 3, .windows = 3, .tokens = 9, .sample = 10, .population = 3, .stopped = 1},
        "9 tokens from 3 documents in 3 windows\n"
        "a sample of 3 of the corpus's 3 documents, seed 0\n"
        "stopped before the end of the corpus\n"},
};

Test(terminal, what_a_corpus_covers) {
    static const char *const labels[] = {"a", "b"};
    for (size_t i = 0; i < sizeof corpora / sizeof *corpora; i++) {
        psc_results *results = bars_of("mine", "1", labels);
        results->n_tokens = 0;
        results->has_corpus = true;
        results->corpus = corpora[i].totals;
        char *text = summary(results, 100), *head = strstr(text, "thread\n");
        cr_assert(head, "%s", text);
        head += strlen("thread\n");
        cr_expect_eq(strncmp(head, corpora[i].lines, strlen(corpora[i].lines)), 0, "%s", head);
        cr_expect_eq(
            strncmp(head + strlen(corpora[i].lines), "\nmine", 5), 0, "and no more: %s", head);
        free(text);
        psc_results_close(&results);
    }
}

/* --- numbers and bars ------------------------------------------------------------------------ */

static const struct {
    double values[2];
    const char *first, *second;
} numbers[] = {
    {{1234.56, -2}, "+1234.6  ", "-2.0  "},
    {{12.345, 1}, "12.35  ", "1.00  "},
    {{0.5, 0.25}, "0.500  ", "0.250  "},
    {{0.01234, 0}, "0.01234  ", "0.00000  "},
    {{12, -3}, "+12  ", "-3  "},
    {{5e12, 1}, "5.000e+12  ", "1.000e+00  "},
    {{1.5e7 + 0.5, -1}, "+1.500e+07  ", "-1.000e+00  "},
    {{0.0001, 0.0002}, "1.000e-04  ", "2.000e-04  "},
    {{(double)INFINITY, 1}, "+inf  ", "1  "},
    {{(double)-INFINITY, 1.5}, "-inf  ", "+1.500  "},
    {{(double)NAN, 0}, "n/a  \n", "0  \n"},
};

Test(terminal, numbers_have_about_four_digits) {
    static const char *const labels[] = {"first", "second"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        psc_results *results = bars_with("mine", "1", labels, numbers[i].values);
        char *text = summary(results, 80);
        char *first = strstr(text, "first "), *second = strstr(text, "second ");
        cr_assert(first && second, "%s", text);
        first += 6 + strspn(first + 6, " ");
        second += 7 + strspn(second + 7, " ");
        cr_expect_eq(
            strncmp(first, numbers[i].first, strlen(numbers[i].first)), 0, "%zu: %s", i, first);
        cr_expect_eq(
            strncmp(second, numbers[i].second, strlen(numbers[i].second)), 0, "%zu: %s", i, second);
        free(text);
        psc_results_close(&results);
    }
}

/* The smallest bar is visible; a bar of an infinite number, or of 0, is empty. */
Test(terminal, every_number_but_0_has_a_bar) {
    static const char *const labels[] = {"first", "second"};
    static const struct {
        double values[2];
        const char *bar; /* of the second */
    } cases[] = {{{1000, 0.25}, "  ▏\n"}, {{1000, -0.25}, "  ░\n"}, {{1000.5, 0}, "  \n"},
        {{1000.5, (double)INFINITY}, "  \n"}, {{0, 0}, "  \n"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        psc_results *results = bars_with("mine", "1", labels, cases[i].values);
        char *text = summary(results, 80), *second = strstr(text, "second ");
        char *end = second ? strchr(second, '\n') : NULL;
        cr_assert(end, "%s", text);
        const size_t n = strlen(cases[i].bar);
        cr_expect_eq(strncmp(end + 1 - n, cases[i].bar, n), 0, "%zu: %s", i, second);
        free(text);
        psc_results_close(&results);
    }
}

/* A label that leaves three columns for the bar gets a line of its own; a narrower terminal than
 * any that a caller may give still has bars. */
Test(terminal, the_least_bar) {
    static const char *const labels[] = {"a label of columns", "one that is longer than the line"};
    static const double values[] = {1, -2};
    psc_results *results = bars_with("mine", "1", labels, values);
    for (int width = 29; width < 36; width++) {
        char *text = summary(results, width), *from = strstr(text, "effects");
        for (char *line = strtok(from, "\n"); line; line = strtok(NULL, "\n"))
            cr_expect_leq(psc_text_columns(line), width, "at %d: %s", width, line);
        free(text);
    }
    char *text = summary(results, 12);
    cr_expect(strstr(text, "  -2  ░░░░\n"), "%s", text);
    free(text);
    psc_results_close(&results);
}

Test(terminal, a_built_in_ends_with_its_page) {
    static const char *const labels[] = {"L0H0", "L0H1"};
    static const struct {
        const char *name, *page;
    } cases[] = {{"logits", "See docs/plugins/logits.md\n"},
        {"sweep#2", "See docs/plugins/sweep.md\n"}, {"control.ln", "See docs/plugins/ln.md\n"},
        {"effects", "See docs/interventions.md\n"}, {"gradient", "See docs/plugins/gradient.md\n"},
        {"attribution#2", "See docs/plugins/attribution.md\n"}, {"mine", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int own = 0; own < 2; own++) { /* another's plugin of the same name has no page */
            psc_results *results = bars_of(cases[i].name, own ? "9.9" : "0.1.0", labels);
            results->version = "0.1.0";
            char *text = summary(results, 80);
            const char *page = strstr(text, "See docs/");
            if (cases[i].page && !own)
                cr_expect(page && strcmp(page, cases[i].page) == 0, "%s", text);
            else
                cr_expect_null(page, "%s", text);
            free(text);
            psc_results_close(&results);
        }
}

/* Sections that follow each other and have the same page name it once, at their end. */
Test(terminal, sections_share_a_page) {
    static const char *const labels[] = {"L0H0", "L0H1"};
    static const double values[] = {1, 2};
    psc_results *results = bars_with("logits", "0.1.0", labels, values);
    results->version = "0.1.0";
    cr_assert(psc_results_add_section(results, "logits#2", "0.1.0"));
    cr_assert(psc_results_add_section(results, "ln", "0.1.0"));
    char *text = summary(results, 80), *page = strstr(text, "See docs/plugins/logits.md\n");
    cr_assert(page, "%s", text);
    cr_expect_gt(page, strstr(text, "logits#2"));
    cr_expect_null(strstr(page + 1, "See docs/plugins/logits.md"), "%s", page);
    cr_expect(strstr(page, "See docs/plugins/ln.md\n"), "%s", page);
    free(text);
    psc_results_close(&results);
}

Test(terminal, a_list_without_entries_says_so) {
    psc_results *results;
    cr_assert_eq(psc_results_open(&results, NULL), PSC_OK);
    add_head(results);
    psc_section *section = psc_results_add_section(results, "mine", "1");
    cr_assert_eq(psc_section_add_bars(section, "largest", "", 0, NULL, NULL), PSC_OK);
    char *text = summary(results, 80);
    cr_expect(strstr(text, "  largest\n    none\n"), "%s", text);
    free(text);
    psc_results_close(&results);
}

Test(terminal, tokens_break_at_their_borders) {
    static const char *const labels[] = {"a", "b"};
    psc_results *results = bars_of("mine", "1", labels);
    psc_result_token *tokens = psc_results_make_tokens(results, 14);
    cr_assert(tokens);
    for (int i = 0; i < 14; i++) tokens[i] = (psc_result_token){5, 0, i, 0, 0, " abc", 4};
    char *text = summary(results, 40), *line = strstr(text, "14 tokens: ");
    cr_assert(line, "%s", text);
    char *end = strstr(line, "\n\nmine");
    cr_assert(end, "%s", line);
    *end = 0;
    int lines = 0;
    for (line = strtok(line, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        cr_expect_leq(psc_text_columns(line), 40, "%s", line);
        cr_expect(strcmp(line + strlen(line) - 4, "abc|") == 0 ||
                      strcmp(line + strlen(line) - 4, " abc") == 0,
            "%s", line);
    }
    cr_expect_eq(lines, 2);
    free(text);
    psc_results_close(&results);
}

/* A token without a text is shown by its id; of a text that is too long only the end is shown. */
Test(terminal, tokens_without_a_text) {
    static const char *const labels[] = {"a", "b"};
    psc_results *results = bars_of("mine", "1", labels);
    psc_result_token *tokens = psc_results_make_tokens(results, 1);
    tokens[0] = (psc_result_token){17, 0, 0, 0, 0, NULL, 0};
    char *text = summary(results, 80);
    cr_expect(strstr(text, "\n1 token: #17\n"), "%s", text);
    free(text);
    tokens = psc_results_make_tokens(results, 60);
    for (int i = 0; i < 60; i++) tokens[i] = (psc_result_token){i, 0, i, 0, 0, " abcd", 5};
    tokens[59] = (psc_result_token){59, 0, 59, 0, 0, "", 0};
    text = summary(results, 40);
    cr_expect(strstr(text, "\n60 tokens: …  abcd| abcd|"), "%s", text);
    cr_expect(strstr(text, " abcd|#59\n"), "%s", text);
    free(text);
    tokens = psc_results_make_tokens(results, 2); /* the last one alone takes more than the room */
    tokens[0] = (psc_result_token){1, 0, 0, 0, 0, "first", 5};
    static const char wide[] =
        "0123456789012345678901234567890123456789012345678901234567890123456789";
    tokens[1] = (psc_result_token){2, 0, 1, 0, 0, wide, sizeof wide - 1};
    text = summary(results, 40);
    cr_expect(strstr(text, "\n2 tokens: … 0123456789"), "%s", text);
    free(text);
    psc_results_close(&results);
}

Test(terminal, a_long_name_takes_a_line) {
    static const char *const labels[] = {"a", "b"};
    psc_results *results = bars_of("mine", "1", labels);
    results->model.name = "a name of a model that is longer than the terminal is wide";
    results->model.hash = "0123456789abcdef0123";
    results->run.threads = 2;
    char *text = summary(results, 40);
    cr_expect(
        strstr(text, " is wide\n  0123456789abcdef\n  pythiascope 9.9, reference, 2 threads\n"),
        "%s", text);
    free(text);
    psc_results_close(&results);
}

/* --- terminals ------------------------------------------------------------------------------- */

/* The terminal's width wins over COLUMNS; both are kept between 30 and 160 columns. */
static const struct {
    int terminal;
    const char *columns, *term, *plain;
    int width;
    bool color;
} terminals[] = {
    {100, "50", "xterm", NULL, 100, true},
    {0, "50", "xterm", "", 50, true},
    {0, "0", "xterm", "1", 80, false},
    {0, NULL, "dumb", NULL, 80, false},
    {20, NULL, NULL, NULL, 30, false},
    {0, "999", "xterm", NULL, 160, true},
};

Test(terminal, the_style_of_a_terminal) {
    psc_report_style style = psc_report_style_of(NULL);
    cr_expect(style.width == 80 && !style.color);
    FILE *file = tmpfile();
    cr_assert(file);
    style = psc_report_style_of(file);
    cr_expect(style.width == 80 && !style.color, "a file is no terminal");
    fclose(file);
    const int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0) cr_skip_test("this machine gives no terminal");
    cr_assert(grantpt(master) == 0 && unlockpt(master) == 0);
    FILE *terminal = fdopen(open(ptsname(master), O_RDWR | O_NOCTTY), "r+");
    cr_assert(terminal);
    for (size_t i = 0; i < sizeof terminals / sizeof *terminals; i++) {
        const struct winsize size = {.ws_col = (unsigned short)terminals[i].terminal};
        const char *const values[] = {terminals[i].columns, terminals[i].term, terminals[i].plain};
        static const char *const names[] = {"COLUMNS", "TERM", "NO_COLOR"};
        for (int k = 0; k < 3; k++)
            cr_assert_eq(values[k] ? setenv(names[k], values[k], 1) : unsetenv(names[k]), 0);
        cr_assert_eq(ioctl(fileno(terminal), TIOCSWINSZ, &size), 0);
        style = psc_report_style_of(terminal);
        cr_expect_eq(style.width, terminals[i].width, "%zu: %d", i, style.width);
        cr_expect_eq(style.color, terminals[i].color, "%zu", i);
    }
    fclose(terminal);
    close(master);
}

/* Every built-in has a page, and the page exists. */
Test(terminal, every_page_exists) {
    for (int32_t i = 0; i < psc_builtin_count(); i++) {
        const psc_plugin *plugin = psc_builtin(i);
        const char *page = psc_report_section_page("1", plugin->name, "1");
        char path[512];
        cr_assert(page, "%s has no page in report/section_page.c", plugin->name);
        snprintf(path, sizeof path, "%s/%s", PSC_SOURCE_DIR, page);
        FILE *file = fopen(path, "r");
        cr_expect(file, "%s does not exist", path);
        if (file) fclose(file);
    }
}
