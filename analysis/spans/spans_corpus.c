/* `spans` over documents. Per level, over all windows and without each window's whole:
 *
 *   brackets and the sum of their strengths by length in units
 *   brackets shared with other levels and with other trees
 *   prefixes=yes: closed brackets of prefixes, those that stand, sum of lags
 *   closure=yes: sum over the rows that have a piece before them and a row after them
 *
 * Sums of f64 are each sequence's own partial, in order; all others are counts. */
#include "spans.h"

#include <math.h>
#include <stdio.h>

enum { BINS = 8 };
static const char *const bin_names[BINS] = {
    "2", "3", "4", "5-8", "9-16", "17-32", "33-64", "65 or more"};
static const int32_t bin_ends[BINS] = {2, 3, 4, 8, 16, 32, 64, INT32_MAX};

typedef enum spans_total {
    TOTAL_TEXTS,    /* [3] windows, units, brackets of a level */
    TOTAL_LENGTHS,  /* [levels, BINS] */
    TOTAL_STRENGTH, /* [levels, BINS] sums */
    TOTAL_SHARED,   /* [levels, levels] */
    TOTAL_OVERLAP,  /* [levels, PRIOR_RANDOM] */
    TOTAL_RANDOM,   /* [levels] sums */
    TOTAL_STOOD,    /* [levels, STOOD_COUNT] */
    TOTAL_CLOSURE,  /* [levels] sums */
    TOTAL_CLOSED,   /* [1] rows */
    TOTAL_COUNT
} spans_total;

static const struct {
    const char *name;
    psc_accumulate kind;
} totals[TOTAL_COUNT] = {
    {"texts", PSC_ACCUMULATE_COUNT},
    {"lengths", PSC_ACCUMULATE_COUNT},
    {"strength", PSC_ACCUMULATE_SUM},
    {"shared", PSC_ACCUMULATE_COUNT},
    {"overlap", PSC_ACCUMULATE_COUNT},
    {"random", PSC_ACCUMULATE_SUM},
    {"stood", PSC_ACCUMULATE_COUNT},
    {"closure", PSC_ACCUMULATE_SUM},
    {"closed", PSC_ACCUMULATE_COUNT},
};

/* The slots of a total; 0: not kept with these options. */
static int64_t slots_of(const spans_state *s, int total) {
    const int64_t levels = s->levels.n;
    switch (total) {
    case TOTAL_TEXTS:
        return 3;
    case TOTAL_LENGTHS:
    case TOTAL_STRENGTH:
        return levels * BINS;
    case TOTAL_SHARED:
        return levels * levels;
    case TOTAL_OVERLAP:
        return levels * PRIOR_RANDOM;
    case TOTAL_RANDOM:
        return levels;
    case TOTAL_STOOD:
        return s->prefixes ? STOOD_COUNT * levels : 0;
    case TOTAL_CLOSURE:
        return s->closure ? levels : 0;
    default:
        return s->closure ? 1 : 0;
    }
}

int spans_corpus_open(spans_state *s) {
    for (int i = 0; i < TOTAL_COUNT; i++) {
        const int64_t n = slots_of(s, i);
        if (n == 0) continue;
        s->handles[i] = s->host->accumulator(s->context, totals[i].name, totals[i].kind, n, 0);
        if (s->handles[i] < 0) return -1;
    }
    return 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

static int bin_of(const psc_bracket *b) {
    int bin = 0;
    while (b->end - b->begin + 1 > bin_ends[bin]) bin++;
    return bin;
}

/* Adds one sequence's partials to out[total]. */
static void add_sequence(const spans_state *s, int32_t q, double *const out[TOTAL_COUNT]) {
    const spans_sequence *of = &s->sequences[q];
    const int32_t n = s->reads.sequences[q].n;
    out[TOTAL_TEXTS][0] = 1.0;
    out[TOTAL_TEXTS][1] = of->units.n;
    out[TOTAL_TEXTS][2] = of->n_spans > 1 ? of->n_spans - 1 : 0;
    for (int32_t level = 0; level < s->levels.n; level++) {
        const psc_bracket *tree = spans_tree(s, level, q);
        for (int32_t i = 1; i < of->n_spans; i++) {
            const int64_t slot = (int64_t)level * BINS + bin_of(&tree[i]);
            out[TOTAL_LENGTHS][slot] += 1.0;
            out[TOTAL_STRENGTH][slot] += tree[i].strength;
        }
        out[TOTAL_RANDOM][level] = s->chance[(int64_t)q * s->levels.n + level];
        for (int32_t t = 2; s->closure && t + 1 < n; t++)
            out[TOTAL_CLOSURE][level] += psc_reads_closure(&s->reads, q, level, t);
    }
    if (s->closure) out[TOTAL_CLOSED][0] = n > 3 ? n - 3 : 0;
}

static int is_per_sequence(int total) {
    return total != TOTAL_SHARED && total != TOTAL_OVERLAP && total != TOTAL_STOOD;
}

int spans_corpus_add(spans_state *s) {
    double *out[TOTAL_COUNT];
    for (int i = 0; i < TOTAL_COUNT; i++) {
        out[i] = s->host->run_alloc(s->context, (uint64_t)slots_of(s, i) * sizeof(double) + 1);
        if (!out[i]) return -1;
    }
    for (int32_t q = 0; q < s->n_sequences; q++) {
        for (int i = 0; i < TOTAL_COUNT; i++)
            for (int64_t j = 0; j < slots_of(s, i); j++) out[i][j] = 0.0;
        add_sequence(s, q, out);
        for (int i = 0; i < TOTAL_COUNT; i++)
            if (is_per_sequence(i) && slots_of(s, i) &&
                s->host->accumulate(s->context, s->handles[i], 0, slots_of(s, i), out[i]))
                return -1;
    }
    for (int32_t level = 0; level < s->levels.n; level++)
        for (int p = 0; p < PRIOR_RANDOM; p++)
            out[TOTAL_OVERLAP][level * PRIOR_RANDOM + p] = s->overlap[level * PRIOR_COUNT + p];
    return s->host->accumulate(
               s->context, s->handles[TOTAL_SHARED], 0, slots_of(s, TOTAL_SHARED), s->shared) ||
           s->host->accumulate(s->context, s->handles[TOTAL_OVERLAP], 0, slots_of(s, TOTAL_OVERLAP),
               out[TOTAL_OVERLAP]) ||
           (s->prefixes && s->host->accumulate(s->context, s->handles[TOTAL_STOOD], 0,
                               slots_of(s, TOTAL_STOOD), s->stood));
}

/* --- report ---------------------------------------------------------------------------------- */

static double share(double part, double of) {
    return of > 0.0 ? part / of : (double)NAN;
}

static int make_axes(spans_state *s) {
    const psc_host *host = s->host;
    return host->axis_labels(s->context, "levels", s->levels.n, s->levels.names) ||
           host->axis_labels(s->context, "lengths", BINS, bin_names) ||
           host->axis_labels(s->context, "trees", PRIOR_COUNT, spans_prior_names);
}

/* Arrays by length: brackets, mean strength. */
static int length_arrays(spans_state *s, double *const total[TOTAL_COUNT]) {
    static const char *const axes[] = {"levels", "lengths"};
    double *brackets = s->host->array(s->context, "brackets", PSC_F64, 2, axes);
    double *strength = s->host->array(s->context, "strength", PSC_F64, 2, axes);
    if (!brackets || !strength) return -1;
    for (int64_t i = 0; i < slots_of(s, TOTAL_LENGTHS); i++) {
        brackets[i] = total[TOTAL_LENGTHS][i];
        strength[i] = share(total[TOTAL_STRENGTH][i], brackets[i]);
    }
    return 0;
}

/* And their sentences. */
static int overlap_arrays(spans_state *s, double *const total[TOTAL_COUNT]) {
    static const char *const shared_axes[] = {"levels", "levels"};
    static const char *const overlap_axes[] = {"levels", "trees"};
    const double n = total[TOTAL_TEXTS][2];
    double *shared = s->host->array(s->context, "shared", PSC_F64, 2, shared_axes);
    double *overlap = s->host->array(s->context, "overlap", PSC_F64, 2, overlap_axes);
    if (!shared || !overlap) return -1;
    for (int64_t i = 0; i < slots_of(s, TOTAL_SHARED); i++)
        shared[i] = share(total[TOTAL_SHARED][i], n);
    for (int32_t level = 0; level < s->levels.n; level++) {
        for (int p = 0; p < PRIOR_RANDOM; p++)
            overlap[level * PRIOR_COUNT + p] =
                share(total[TOTAL_OVERLAP][level * PRIOR_RANDOM + p], n);
        overlap[level * PRIOR_COUNT + PRIOR_RANDOM] = share(total[TOTAL_RANDOM][level], n);
    }
    return spans_say_overlaps(s, n, overlap, shared);
}

/* A mean per level, as an array and a sentence. */
static int mean_array(spans_state *s, const char *name, const double *part, const double *of,
    int64_t stride, const char *what) {
    static const char *const axes[] = {"levels"};
    double *out = s->host->array(s->context, name, PSC_F64, 1, axes);
    if (!out) return -1;
    for (int32_t level = 0; level < s->levels.n; level++) {
        char line[160], figure[PSC_FIGURE];
        out[level] = share(part[level * stride], of[level * stride]);
        snprintf(line, sizeof line, "level %-8.40s %s %s", s->levels.names[level],
            psc_figure(figure, 0, 4, out[level], ""), what);
        if (s->host->summary_text(s->context, line)) return -1;
    }
    return 0;
}

static int option_arrays(spans_state *s, double *const total[TOTAL_COUNT]) {
    const double *stood = total[TOTAL_STOOD];
    double *of = s->host->run_alloc(s->context, (uint64_t)s->levels.n * sizeof *of);
    if (!of) return -1;
    if (s->prefixes && (mean_array(s, "stood", stood + STOOD_STAND, stood + STOOD_CLOSED,
                            STOOD_COUNT, "of the closed brackets of prefixes stand at the end") ||
                           mean_array(s, "lag", stood + STOOD_LAG, stood + STOOD_ENDED, STOOD_COUNT,
                               "units until a closed bracket stands (1: at once)")))
        return -1;
    for (int32_t i = 0; s->closure && i < s->levels.n; i++) of[i] = total[TOTAL_CLOSED][0];
    return s->closure ? mean_array(s, "closure", total[TOTAL_CLOSURE], of, 1,
                            "mean closure of a row (0: later rows do not read the piece before)")
                      : 0;
}

static int read_totals(spans_state *s, double *total[TOTAL_COUNT]) {
    for (int i = 0; i < TOTAL_COUNT; i++) {
        const int64_t n = slots_of(s, i);
        total[i] = s->host->run_alloc(s->context, (uint64_t)n * sizeof(double) + 1);
        if (!total[i]) return -1;
        if (n && s->host->accumulated(s->context, s->handles[i], 0, n, total[i])) return -1;
    }
    return 0;
}

int spans_corpus_report(spans_state *s) {
    static const char *const names[] = {"windows", "units", "brackets_per_level"};
    double *total[TOTAL_COUNT];
    if (read_totals(s, total) || make_axes(s) || length_arrays(s, total)) return -1;
    for (int i = 0; i < 3; i++)
        if (s->host->value_number(s->context, names[i], total[TOTAL_TEXTS][i])) return -1;
    if (overlap_arrays(s, total)) return -1;
    return option_arrays(s, total);
}
