/* Means over the pairs of each class, arrays and the summary. Sums are in
 * the order of the pairs. */
#include "forms.h"

#include <math.h>
#include <stdio.h>

static const char *const class_names[FORMS_CLASSES] = {
    "all", "one token", "some of several tokens", "2 tokens", "3 tokens", "4 tokens or more"};

static int is_in(const forms_pair *pair, int class) {
    switch (class) {
    case FORMS_ALL:
        return 1;
    case FORMS_ONE:
        return pair->tokens == 1;
    case FORMS_SEVERAL:
        return pair->tokens > 1;
    case FORMS_TWO:
        return pair->tokens == 2;
    case FORMS_THREE:
        return pair->tokens == 3;
    default:
        return pair->tokens > 3;
    }
}

typedef enum forms_mean {
    MEAN_CLOSER,
    MEAN_COSINE,
    MEAN_CONTROL,
    MEAN_RANK,
    MEAN_MOVED,
    N_MEANS
} forms_mean;

static double value_of(const forms_figure *f, int mean) {
    switch (mean) {
    case MEAN_CLOSER:
        return f->closer;
    case MEAN_COSINE:
        return f->cosine;
    case MEAN_CONTROL:
        return f->control;
    case MEAN_RANK:
        return 1.0 / f->rank;
    default:
        return 1.0 / f->moved;
    }
}

/* The mean over the class's pairs that have the value; NaN without any. */
static double mean_of(const forms_state *s, int32_t level, int class, int mean) {
    double sum = 0.0;
    int32_t n = 0;
    for (int32_t p = 0; p < s->n_pairs; p++) {
        const double x = value_of(&s->figures[(int64_t)level * s->n_pairs + p], mean);
        if (isnan(x) || !is_in(&s->pairs[p], class)) continue;
        sum += x;
        n++;
    }
    return n > 0 ? sum / n : (double)NAN;
}

static int32_t count_pairs(const forms_state *s, int class, int controlled) {
    int32_t n = 0;
    for (int32_t p = 0; p < s->n_pairs; p++)
        n += is_in(&s->pairs[p], class) && (!controlled || s->control[(int64_t)p * s->draws] >= 0);
    return n;
}

/* --- arrays ----------------------------------------------------------------------------------- */

static int write_axes(const forms_state *s) {
    static const char *const sides[] = {"form", "mate"};
    const psc_host *host = s->host;
    char(*names)[16] = host->run_alloc(s->context, (uint64_t)s->n_levels * sizeof *names);
    const char **labels = host->run_alloc(s->context, (uint64_t)s->n_levels * sizeof *labels);
    const char **forms = host->run_alloc(s->context, (uint64_t)s->n * sizeof *forms);
    if (!names || !labels || !forms) return -1;
    for (int32_t l = 0; l < s->n_levels; l++) {
        snprintf(names[l], sizeof names[l], "x%d", (int)l);
        labels[l] = names[l];
    }
    for (int32_t i = 0; i < s->n; i++) forms[i] = forms_at(s, i)->form;
    return host->axis_labels(s->context, "levels", s->n_levels, labels) ||
           host->axis_labels(s->context, "classes", FORMS_CLASSES, class_names) ||
           host->axis_labels(s->context, "forms", s->n, forms) ||
           host->axis_labels(s->context, "sides", 2, sides) ||
           psc_count_axis(s->context, host, "pairs", 0, s->n_pairs);
}

static int write_means(const forms_state *s) {
    static const char *const names[N_MEANS] = {
        "closer", "mate_cosine", "control_cosine", "rank", "rank_offset"};
    static const char *const axes[] = {"levels", "classes"};
    for (int m = 0; m < N_MEANS; m++) {
        double *out = s->host->array(s->context, names[m], PSC_F64, 2, axes);
        if (!out) return -1;
        for (int32_t l = 0; l < s->n_levels; l++)
            for (int c = 0; c < FORMS_CLASSES; c++)
                out[l * FORMS_CLASSES + c] = mean_of(s, l, c, m);
    }
    int32_t *counts[2];
    for (int i = 0; i < 2; i++) {
        counts[i] = s->host->array(
            s->context, i ? "pairs_with_control" : "pairs_counted", PSC_I32, 1, axes + 1);
        for (int c = 0; counts[i] && c < FORMS_CLASSES; c++) counts[i][c] = count_pairs(s, c, i);
        if (!counts[i]) return -1;
    }
    return 0;
}

static int write_pairs(const forms_state *s) {
    static const char *const of_pair[] = {"pairs", "sides"},
                             *const by_level[] = {"levels", "pairs"}, *const of_form[] = {"forms"};
    const psc_host *host = s->host;
    int32_t *tokens = host->array(s->context, "tokens", PSC_I32, 1, of_form);
    int32_t *sides = host->array(s->context, "pair", PSC_I32, 2, of_pair);
    double *cosine = host->array(s->context, "cosine", PSC_F64, 2, by_level);
    if (!tokens || !sides || !cosine) return -1;
    for (int32_t i = 0; i < s->n; i++) tokens[i] = forms_at(s, i)->tokens;
    for (int32_t p = 0; p < s->n_pairs; p++) {
        sides[2 * p] = s->pairs[p].form;
        sides[2 * p + 1] = s->pairs[p].mate;
    }
    for (int64_t i = 0; i < (int64_t)s->n_levels * s->n_pairs; i++)
        cosine[i] = s->figures[i].cosine;
    return 0;
}

/* --- the summary ------------------------------------------------------------------------------ */

/* The columns of the table. */
static const struct {
    int class, mean;
    const char *title;
} columns[] = {{FORMS_ONE, MEAN_CLOSER, "one"}, {FORMS_SEVERAL, MEAN_CLOSER, "several"},
    {FORMS_ALL, MEAN_RANK, "1/rank"}, {FORMS_ALL, MEAN_MOVED, "offset"}};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

/* The mean of 1/rank among m forms in random order is H(m)/m, H(m) = 1 + 1/2 + ... + 1/m. The m
 * forms have the mate's tag; the form itself is one of them only with the offset. */
static int chance_of_rank(const forms_state *s, double *plain, double *moved) {
    double *harmonic = s->host->run_alloc(s->context, ((uint64_t)s->n + 1) * sizeof *harmonic);
    if (!harmonic) return -1;
    harmonic[0] = *plain = *moved = 0.0;
    for (int32_t i = 1; i <= s->n; i++) harmonic[i] = harmonic[i - 1] + 1.0 / i;
    for (int32_t p = 0; p < s->n_pairs; p++) {
        const int32_t tag = forms_at(s, s->pairs[p].mate)->tag_id;
        const int32_t m = s->tag_begin[tag + 1] - s->tag_begin[tag];
        const int32_t others = m - (forms_at(s, s->pairs[p].form)->tag_id == tag);
        *plain += harmonic[others] / others / s->n_pairs;
        *moved += harmonic[m] / m / s->n_pairs;
    }
    return 0;
}

static int say_row(const forms_state *s, const char *title, const double *values, int decimals) {
    char text[128];
    int at = snprintf(text, sizeof text, "%-8s", title);
    for (int c = 0; c < N_COLUMNS; c++)
        at += isnan(values[c])
                  ? snprintf(text + at, sizeof text - (size_t)at, " %8s", "-")
                  : snprintf(text + at, sizeof text - (size_t)at, " %8.*f", decimals, values[c]);
    return s->host->summary_text(s->context, text);
}

/* By level: P(the mate is closer than its control) and the means of 1/rank;
 * then chance and pairs. */
static int say_levels(const forms_state *s) {
    char text[128];
    double values[N_COLUMNS];
    int at = snprintf(text, sizeof text, "%-8s", "level");
    if (s->host->summary_text(s->context,
            "P(mate closer than its control), forms of one token and of several; mean 1/rank of the "
            "mate, without and with the tags' mean offset:"))
        return -1;
    for (int c = 0; c < N_COLUMNS; c++)
        at += snprintf(text + at, sizeof text - (size_t)at, " %8s", columns[c].title);
    if (s->host->summary_text(s->context, text)) return -1;
    for (int32_t l = 0; l < s->n_levels; l++) {
        for (int c = 0; c < N_COLUMNS; c++)
            values[c] = mean_of(s, l, columns[c].class, columns[c].mean);
        snprintf(text, sizeof text, "x%d", (int)l);
        if (say_row(s, text, values, 3)) return -1;
    }
    double chance[N_COLUMNS] = {0.5, 0.5, 0.0, 0.0};
    if (chance_of_rank(s, &chance[2], &chance[3])) return -1;
    for (int c = 0; c < N_COLUMNS; c++)
        values[c] = count_pairs(s, columns[c].class, columns[c].mean == MEAN_CLOSER);
    return say_row(s, "chance", chance, 3) || say_row(s, "pairs", values, 0);
}

static int write_summary(const forms_state *s) {
    char text[256];
    snprintf(text, sizeof text,
        "%s forms of %s groups with %d tags; %s pairs of a form and a mate, %s of them with a control.",
        PSC_COMMAS(s->n), PSC_COMMAS(s->n_groups), (int)s->n_tags, PSC_COMMAS(s->n_pairs),
        PSC_COMMAS(count_pairs(s, FORMS_ALL, 1)));
    if (s->host->summary_text(s->context, text)) return -1;
    if (s->n_pairs == 0)
        return s->host->summary_text(
            s->context, "No group has two forms, so there is nothing to compare.");
    return say_levels(s);
}

int forms_write(forms_state *s) {
    return write_axes(s) || write_means(s) || write_pairs(s) || write_summary(s) ? -1 : 0;
}
