/* Totals of score, and a plugin of the program's own that reports them.
 *
 *   accuracy a = correct / n,  its standard error sqrt(a (1 - a) / (n - 1)), NaN for one example
 *   log_p: sum over examples of the answer's ln p, whatever the guess; per example, token and byte
 *   margin: mean of the answer's ln p minus the best other choice's
 *   perplexity = exp(-log_p / n), of whole continuations, where no example has choices */
#include "score_totals.h"

#include "interventions.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIT 0x1p40
#define MOST_LOG 0x1p62 /* in units; a sum of one example is far below */
enum { MOST_NAMES = 65536, MOST_CONFUSION = 1 << 24, MOST_BARS = 100 };

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the totals of groups");
}

/* --- adding ---------------------------------------------------------------------------------- */

/* The place of a name in the list, or where it belongs. */
static int32_t place_of(const cli_score_list *list, const char *name, bool *found) {
    int32_t low = 0, high = list->n;
    *found = false;
    while (low < high && !*found) {
        const int32_t middle = low + (high - low) / 2;
        const int order = strcmp(list->list[middle].name, name);
        *found = order == 0;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return high;
}

static psc_status find(
    cli_score_total **out, cli_score_list *list, const char *name, psc_error *error) {
    bool found = false;
    const int32_t at = place_of(list, name, &found);
    if (!found) {
        if (list->n == MOST_NAMES)
            return psc_fail(
                error, PSC_ERROR_INPUT, "more than %d groups; leave out \"group\"", MOST_NAMES);
        if (list->n == list->room) {
            const int32_t room = list->room ? 2 * list->room : 16;
            cli_score_total *more = realloc(list->list, (size_t)room * sizeof *more);
            if (!more) return no_memory(error);
            list->list = more;
            list->room = room;
        }
        char *copy = strdup(name);
        if (!copy) return no_memory(error);
        memmove(&list->list[at + 1], &list->list[at], (size_t)(list->n - at) * sizeof *list->list);
        list->list[at] = (cli_score_total){.name = copy};
        list->n++;
    }
    *out = &list->list[at];
    return PSC_OK;
}

static cli_fixed fixed_of(double x) {
    const double units = round(x * UNIT);
    return (cli_fixed)(units > MOST_LOG ? MOST_LOG : units < -MOST_LOG ? -MOST_LOG : units);
}

static void add(cli_score_total *to, const cli_scored *s) {
    to->n++;
    to->correct += s->correct;
    to->tokens += s->tokens;
    to->bytes += s->bytes;
    to->log_p += fixed_of(s->log_p);
    if (s->n_choices < 2) return;
    to->n_chosen++;
    to->correct_by_bytes += s->correct_by_bytes;
    to->tied += s->tied;
    to->margin += fixed_of(s->margin);
}

/* The confusion of a group for examples of `most` choices, from that for `before`. */
static psc_status widen(cli_score_total *group, int32_t most, int32_t before, psc_error *error) {
    int64_t *wide = calloc((size_t)most * (size_t)most, sizeof *wide);
    if (!wide) return no_memory(error);
    for (int32_t a = 0; group->confusion && a < before; a++)
        memcpy(wide + (size_t)a * (size_t)most, group->confusion + (size_t)a * (size_t)before,
            (size_t)before * sizeof *wide);
    free(group->confusion);
    group->confusion = wide;
    return PSC_OK;
}

/* Confusions of all groups take at most MOST_CONFUSION numbers; then there are none. */
static psc_status count_guess(
    cli_score_totals *t, cli_score_total *group, const cli_scored *s, psc_error *error) {
    psc_status status = PSC_OK;
    const int32_t most = s->n_choices > t->most ? s->n_choices : t->most > 2 ? t->most : 2;
    const int32_t before = t->most;
    t->most = most;
    if ((int64_t)most * most * t->groups.n > MOST_CONFUSION) {
        for (int32_t i = 0; i < t->groups.n; i++) free(t->groups.list[i].confusion);
        for (int32_t i = 0; i < t->groups.n; i++) t->groups.list[i].confusion = NULL;
        return PSC_OK;
    }
    for (int32_t i = 0; i < t->groups.n && most > before && !status; i++)
        status = widen(&t->groups.list[i], most, before, error);
    if (!status && !group->confusion) status = widen(group, most, 0, error);
    if (!status && s->n_choices > 1) group->confusion[(int64_t)s->answer * most + s->guess]++;
    return status;
}

psc_status cli_score_totals_add(cli_score_totals *t, const cli_scored *s, psc_error *error) {
    cli_score_total *group = NULL, *phenomenon = NULL;
    psc_status status = find(&group, &t->groups, s->group, error);
    if (!status) status = count_guess(t, group, s, error);
    if (!status && s->phenomenon) status = find(&phenomenon, &t->phenomena, s->phenomenon, error);
    if (status) return status;
    add(&t->all, s);
    add(group, s);
    if (phenomenon) add(phenomenon, s);
    return PSC_OK;
}

static void free_list(cli_score_list *list) {
    for (int32_t i = 0; i < list->n; i++) {
        free(list->list[i].name);
        free(list->list[i].confusion);
    }
    free(list->list);
}

void cli_score_totals_free(cli_score_totals *t) {
    free_list(&t->groups);
    free_list(&t->phenomena);
    *t = (cli_score_totals){0};
}

/* --- figures --------------------------------------------------------------------------------- */

typedef struct figure {
    const char *name;
    double (*of)(const cli_score_total *);
} figure;

static double ratio(int64_t a, int64_t b) {
    return b > 0 ? (double)a / (double)b : NAN;
}

static double error_of(double a, int64_t n) {
    return n > 1 ? sqrt(a * (1 - a) / (double)(n - 1)) : NAN;
}

static double log_of(cli_fixed units, int64_t by) {
    return by > 0 ? (double)units / UNIT / (double)by : NAN;
}

static double accuracy(const cli_score_total *t) {
    return ratio(t->correct, t->n);
}

static double accuracy_error(const cli_score_total *t) {
    return error_of(accuracy(t), t->n);
}

static double by_bytes(const cli_score_total *t) {
    return ratio(t->correct_by_bytes, t->n_chosen);
}

static double by_bytes_error(const cli_score_total *t) {
    return error_of(by_bytes(t), t->n_chosen);
}

static double log_p(const cli_score_total *t) {
    return log_of(t->log_p, t->n);
}

static double log_p_per_token(const cli_score_total *t) {
    return log_of(t->log_p, t->tokens);
}

static double log_p_per_byte(const cli_score_total *t) {
    return log_of(t->log_p, t->bytes);
}

static double margin(const cli_score_total *t) {
    return log_of(t->margin, t->n_chosen);
}

static double perplexity(const cli_score_total *t) {
    const double value = t->n_chosen > 0 ? NAN : exp(-log_p(t));
    return isfinite(value) ? value : NAN;
}

static const figure figures[] = {
    {"accuracy", accuracy},
    {"accuracy_se", accuracy_error},
    {"accuracy_by_bytes", by_bytes},
    {"accuracy_by_bytes_se", by_bytes_error},
    {"log_p", log_p},
    {"log_p_per_token", log_p_per_token},
    {"log_p_per_byte", log_p_per_byte},
    {"margin", margin},
    {"perplexity", perplexity},
};
enum { N_FIGURES = sizeof figures / sizeof *figures };

/* --- the plugin ------------------------------------------------------------------------------ */

/* What the plugin reports: a plugin object has no payload of its own. */
static struct {
    const psc_host *host;
    const cli_score_totals *totals;
} reporting;

static int on_open(psc_context *context, const psc_host *host, void **state) {
    (void)context;
    (void)state;
    reporting.host = host;
    return 0;
}

/* PREFIX_n and PREFIX_FIGURE [axis] for each figure. */
static int report_list(
    psc_context *c, const cli_score_list *list, const char *axis, const char *prefix) {
    const psc_host *host = reporting.host;
    const char **names = host->life_alloc(c, (uint64_t)list->n * sizeof *names);
    char name[64];
    if (!names) return -1;
    for (int32_t i = 0; i < list->n; i++) names[i] = list->list[i].name;
    if (host->axis_labels(c, axis, list->n, names)) return -1;
    snprintf(name, sizeof name, "%s_n", prefix);
    int32_t *n = host->array(c, name, PSC_I32, 1, &axis);
    for (int32_t i = 0; n && i < list->n; i++)
        n[i] = list->list[i].n < INT32_MAX ? (int32_t)list->list[i].n : INT32_MAX;
    for (int f = 0; n && f < N_FIGURES; f++) {
        snprintf(name, sizeof name, "%s_%s", prefix, figures[f].name);
        double *values = host->array(c, name, PSC_F64, 1, &axis);
        if (!values) return -1;
        for (int32_t i = 0; i < list->n; i++) values[i] = figures[f].of(&list->list[i]);
    }
    return n ? 0 : -1;
}

/* confusion [groups, answers, guesses]: how often the answer a was taken for the guess b. */
static int report_confusion(psc_context *c) {
    static const char *const axes[] = {"groups", "answers", "guesses"};
    const psc_host *host = reporting.host;
    const cli_score_list *groups = &reporting.totals->groups;
    const int32_t most = reporting.totals->most;
    if (reporting.totals->all.n_chosen == 0 || !groups->list[0].confusion) return 0;
    int32_t *numbers = host->life_alloc(c, (uint64_t)most * sizeof *numbers);
    for (int32_t i = 0; numbers && i < most; i++) numbers[i] = i;
    if (!numbers || host->axis_numbers(c, axes[1], most, numbers) ||
        host->axis_numbers(c, axes[2], most, numbers))
        return -1;
    int32_t *counts = host->array(c, "confusion", PSC_I32, 3, axes);
    for (int32_t g = 0; counts && g < groups->n; g++)
        for (int64_t i = 0; i < (int64_t)most * most; i++) {
            const int64_t n = groups->list[g].confusion ? groups->list[g].confusion[i] : 0;
            counts[(int64_t)g * most * most + i] = n < INT32_MAX ? (int32_t)n : INT32_MAX;
        }
    return counts ? 0 : -1;
}

/* A standard error for a sentence; nothing for that of one example, which has none. */
static const char *say_error(char out[48], double error) {
    out[0] = 0;
    if (!isnan(error)) snprintf(out, 48, ", standard error %.4f", error);
    return out;
}

static int say(psc_context *c, const cli_score_totals *t) {
    const psc_host *host = reporting.host;
    const cli_score_total *all = &t->all;
    const bool chosen = all->n_chosen > 0;
    char text[400], se[48];
    snprintf(text, sizeof text, "%lld example%s in %d group%s: accuracy %.4f%s%s",
        (long long)all->n, all->n == 1 ? "" : "s", (int)t->groups.n, t->groups.n == 1 ? "" : "s",
        accuracy(all), say_error(se, accuracy_error(all)),
        chosen ? "" : " (every token of the continuation is the most likely one)");
    if (host->summary_text(c, text)) return -1;
    snprintf(text, sizeof text, "accuracy of sums per byte %.4f%s; margin %.3f nats", by_bytes(all),
        say_error(se, by_bytes_error(all)), margin(all));
    if (chosen && host->summary_text(c, text)) return -1;
    snprintf(text, sizeof text,
        "in %lld example%s two choices share the largest sum; the first is the guess",
        (long long)all->tied, all->tied == 1 ? "" : "s");
    if (all->tied > 0 && host->summary_text(c, text)) return -1;
    snprintf(text, sizeof text,
        "ln p of the right continuation: %.3f nats, %.4f per token, %.4f per byte", log_p(all),
        log_p_per_token(all), log_p_per_byte(all));
    if (host->summary_text(c, text)) return -1;
    snprintf(text, sizeof text, "perplexity of a continuation %.2f", perplexity(all));
    return chosen ? 0 : host->summary_text(c, text);
}

static int say_bars(psc_context *c, const cli_score_list *list, const char *title) {
    const psc_host *host = reporting.host;
    const char **names = host->life_alloc(c, (uint64_t)list->n * sizeof *names);
    double *values = host->life_alloc(c, (uint64_t)list->n * sizeof *values);
    if (!names || !values) return -1;
    for (int32_t i = 0; i < list->n; i++) {
        names[i] = list->list[i].name;
        values[i] = accuracy(&list->list[i]);
    }
    return host->summary_bars(c, title, "", list->n, names, values);
}

static int on_report(psc_context *c, void *state) {
    const psc_host *host = reporting.host;
    const cli_score_totals *t = reporting.totals;
    (void)state;
    if (host->value_number(c, "examples", (double)t->all.n) ||
        host->value_number(c, "ties", (double)t->all.tied) ||
        host->value_number(c, "continuations", (double)t->requests) ||
        host->value_number(c, "continuation_tokens", (double)t->tokens))
        return -1;
    for (int f = 0; f < N_FIGURES; f++)
        if (host->value_number(c, figures[f].name, figures[f].of(&t->all))) return -1;
    if (report_list(c, &t->groups, "groups", "group") || report_confusion(c)) return -1;
    if (t->phenomena.n > 0 && report_list(c, &t->phenomena, "phenomena", "phenomenon")) return -1;
    if (say(c, t)) return -1;
    if (t->phenomena.n > 1 && t->phenomena.n <= MOST_BARS)
        if (say_bars(c, &t->phenomena, "accuracy by phenomenon")) return -1;
    if (t->groups.n > 1 && t->groups.n <= MOST_BARS)
        return say_bars(c, &t->groups, "accuracy by group");
    return 0;
}

static const psc_plugin plugin = {
    .abi = PSC_PLUGIN_ABI,
    .struct_size = sizeof plugin,
    .name = "score",
    .version = "1",
    .summary = "log-likelihoods of continuations",
    .open = on_open,
    .report = on_report,
    .corpus = PSC_CORPUS_NO_RUNS,
};

psc_status cli_score_totals_report(psc_session **out, psc_model *model,
    const psc_session_options *given, const cli_score_totals *totals,
    const cli_arguments *arguments, psc_error *error) {
    psc_session_options options = *given;
    psc_corpus_totals head = PSC_CORPUS_TOTALS_INIT;
    options.accumulate = 1;
    head.documents = totals->all.n;
    head.windows = totals->requests;
    head.tokens = totals->tokens;
    head.bos = cli_has(arguments, "bos");
    reporting.totals = totals;
    psc_status status = psc_session_open(out, model, &options, error);
    if (!status) status = cli_interventions_add(*out, arguments, error);
    if (!status) status = psc_session_plugin_object(*out, &plugin, NULL, 0, error);
    return status ? status : psc_session_report(*out, &head, error);
}
