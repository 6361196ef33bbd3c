/* Means over the pairs of each class, arrays and the summary. Sums are in the order of the pairs. */
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

/* "P(...), 1,983 pairs: x0 0.647, x1 0.774" */
static int say_levels(const forms_state *s, const char *what, int class, int mean) {
    char text[4096];
    const int32_t n = count_pairs(s, class, mean == MEAN_CLOSER);
    int at = snprintf(text, sizeof text, "%s, %s (%d): ", what, class_names[class], (int)n);
    for (int32_t l = 0; l < s->n_levels && at < (int)sizeof text - 32; l++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%sx%d %.3f", l ? ", " : "", (int)l,
            mean_of(s, l, class, mean));
    return n == 0 ? 0 : s->host->summary_text(s->context, text);
}

static int write_summary(const forms_state *s) {
    char text[256];
    snprintf(text, sizeof text,
        "%d forms of %d groups with %d tags; %d pairs of a form and a mate, %d of them with a control.",
        (int)s->n, (int)s->n_groups, (int)s->n_tags, (int)s->n_pairs,
        (int)count_pairs(s, FORMS_ALL, 1));
    if (s->host->summary_text(s->context, text)) return -1;
    if (s->n_pairs == 0)
        return s->host->summary_text(
            s->context, "No group has two forms, so there is nothing to compare.");
    static const char closer[] = "P(mate closer than its control)";
    return say_levels(s, closer, FORMS_ONE, MEAN_CLOSER) ||
           say_levels(s, closer, FORMS_SEVERAL, MEAN_CLOSER) ||
           say_levels(s, "Mean 1/rank of the mate", FORMS_ALL, MEAN_RANK) ||
           say_levels(s, "Mean 1/rank with the tags' mean offset", FORMS_ALL, MEAN_MOVED);
}

int forms_write(forms_state *s) {
    return write_axes(s) || write_means(s) || write_pairs(s) || write_summary(s) ? -1 : 0;
}
