/* The arrays of one run. Brackets are given in positions, BOS being position 0.
 *
 *   units [units, edges]; unit_sequence [units]; span_sequence [spans]
 *   brackets [levels, spans, edges], strength [levels, spans], parent [levels, spans]
 *   cuts, split_order [levels, units]: of the cut after a unit
 *   same [levels, spans, levels], shared [levels, levels], overlap [levels, trees]
 *   first_seen, lag [levels, spans], stood [levels]; closed [levels, positions] */
#include "spans.h"

#include <math.h>

static const char *const of_units[] = {"levels", "units"};
static const char *const of_spans[] = {"levels", "spans", "edges"};

/* --- axes ------------------------------------------------------------------------------------ */

static int make_axes(spans_state *s) {
    static const char *const edges[] = {"first", "last"};
    const psc_host *host = s->host;
    const char **labels = host->run_alloc(s->context, (uint64_t)s->n_units * sizeof *labels + 1);
    if (!labels) return -1;
    for (int32_t q = 0; q < s->n_sequences; q++)
        for (int32_t u = 0; u < s->sequences[q].units.n; u++) {
            const char *text = spans_unit_text(s, q, u);
            if (!text) return -1;
            labels[s->sequences[q].first_unit + u] = text;
        }
    return host->axis_labels(s->context, "levels", s->levels.n, s->levels.names) ||
           host->axis_labels(s->context, "units", s->n_units, labels) ||
           host->axis_labels(s->context, "edges", 2, edges) ||
           host->axis_labels(s->context, "trees", PRIOR_COUNT, spans_prior_names) ||
           psc_count_axis(s->context, host, "spans", 0, s->n_spans);
}

/* --- units and brackets ---------------------------------------------------------------------- */

static int unit_arrays(spans_state *s) {
    static const char *const axes[] = {"units", "edges"}, *const spans[] = {"spans"};
    int32_t *units = s->host->array(s->context, "units", PSC_I32, 2, axes);
    int32_t *unit_of = s->host->array(s->context, "unit_sequence", PSC_I32, 1, axes);
    int32_t *span_of = s->host->array(s->context, "span_sequence", PSC_I32, 1, spans);
    if (!units || !unit_of || !span_of) return -1;
    for (int32_t i = 0; i < s->n_sequences; i++) {
        const spans_sequence *q = &s->sequences[i];
        const int32_t sequence = s->reads.sequences[i].sequence;
        for (int32_t u = 0; u < q->units.n; u++) {
            units[2 * (q->first_unit + u)] = spans_first(q, u);
            units[2 * (q->first_unit + u) + 1] = spans_last(q, u);
            unit_of[q->first_unit + u] = sequence;
        }
        for (int32_t b = 0; b < q->n_spans; b++) span_of[q->first_span + b] = sequence;
    }
    return 0;
}

typedef struct bracket_arrays {
    int32_t *brackets, *parent, *order; /* order: [levels, units] */
    double *strength, *cuts;            /* cuts: [levels, units] */
} bracket_arrays;

/* A cut's order is the number of cuts around it: the brackets above the one that it splits. */
static void fill_tree(
    const spans_state *s, int32_t level, int32_t sequence, const bracket_arrays *to) {
    const spans_sequence *q = &s->sequences[sequence];
    const psc_bracket *tree = spans_tree(s, level, sequence);
    const int64_t spans = (int64_t)level * s->n_spans + q->first_span;
    const int64_t units = (int64_t)level * s->n_units + q->first_unit;
    for (int32_t i = 0; i < q->n_spans; i++) {
        to->brackets[2 * (spans + i)] = spans_first(q, tree[i].begin);
        to->brackets[2 * (spans + i) + 1] = spans_last(q, tree[i].end);
        to->parent[spans + i] = tree[i].parent < 0 ? -1 : q->first_span + tree[i].parent;
        to->strength[spans + i] = tree[i].strength;
        to->cuts[units + tree[i].split] = tree[i].strength;
        to->order[units + tree[i].split] =
            tree[i].parent < 0 ? 0 : to->order[units + tree[tree[i].parent].split] + 1;
    }
}

static int tree_arrays(spans_state *s) {
    const psc_host *host = s->host;
    const bracket_arrays to = {
        .brackets = host->array(s->context, "brackets", PSC_I32, 3, of_spans),
        .parent = host->array(s->context, "parent", PSC_I32, 2, of_spans),
        .order = host->array(s->context, "split_order", PSC_I32, 2, of_units),
        .strength = host->array(s->context, "strength", PSC_F64, 2, of_spans),
        .cuts = host->array(s->context, "cuts", PSC_F64, 2, of_units),
    };
    if (!to.brackets || !to.parent || !to.order || !to.strength || !to.cuts) return -1;
    for (int32_t level = 0; level < s->levels.n; level++)
        for (int32_t q = 0; q < s->n_sequences; q++) fill_tree(s, level, q, &to);
    return 0;
}

/* --- overlaps -------------------------------------------------------------------------------- */

static int overlap_arrays(spans_state *s) {
    static const char *const same_axes[] = {"levels", "spans", "levels"};
    static const char *const shared_axes[] = {"levels", "levels"};
    static const char *const overlap_axes[] = {"levels", "trees"};
    const psc_host *host = s->host;
    const int32_t n_levels = s->levels.n;
    int32_t *same = host->array(s->context, "same", PSC_I32, 3, same_axes);
    double *shared = host->array(s->context, "shared", PSC_F64, 2, shared_axes);
    double *overlap = host->array(s->context, "overlap", PSC_F64, 2, overlap_axes);
    if (!same || !shared || !overlap) return -1;
    for (int32_t level = 0; level < n_levels; level++)
        for (int32_t q = 0; q < s->n_sequences; q++) {
            const int32_t first = s->sequences[q].first_span;
            const int64_t from = ((int64_t)level * s->n_spans + first) * n_levels;
            for (int64_t i = 0; i < (int64_t)s->sequences[q].n_spans * n_levels; i++)
                same[from + i] = s->same[from + i] < 0 ? -1 : first + s->same[from + i];
        }
    for (int64_t i = 0; i < (int64_t)n_levels * n_levels; i++)
        shared[i] = s->n_inner > 0.0 ? s->shared[i] / s->n_inner : (double)NAN;
    for (int64_t i = 0; i < (int64_t)n_levels * PRIOR_COUNT; i++)
        overlap[i] = s->n_inner > 0.0 ? s->overlap[i] / s->n_inner : (double)NAN;
    return 0;
}

/* --- prefixes and closure -------------------------------------------------------------------- */

static int prefix_arrays(spans_state *s) {
    const psc_host *host = s->host;
    int32_t *seen = host->array(s->context, "first_seen", PSC_I32, 2, of_spans);
    int32_t *lag = host->array(s->context, "lag", PSC_I32, 2, of_spans);
    double *stood = host->array(s->context, "stood", PSC_F64, 1, of_spans);
    if (!seen || !lag || !stood) return -1;
    for (int32_t level = 0; level < s->levels.n; level++) {
        const double *of = s->stood + STOOD_COUNT * level;
        stood[level] = of[STOOD_CLOSED] > 0.0 ? of[STOOD_STAND] / of[STOOD_CLOSED] : (double)NAN;
        for (int32_t i = 0; i < s->n_sequences; i++) {
            const spans_sequence *q = &s->sequences[i];
            const psc_bracket *tree = spans_tree(s, level, i);
            const int64_t spans = (int64_t)level * s->n_spans + q->first_span;
            for (int32_t b = 0; b < q->n_spans; b++) {
                const int32_t units = s->first_seen[spans + b];
                if (units < 0) continue; /* -1 */
                seen[spans + b] = spans_last(q, units - 1);
                lag[spans + b] = units - 1 - tree[b].end;
            }
        }
    }
    return 0;
}

static int closure_array(spans_state *s) {
    static const char *const axes[] = {"levels", "positions"};
    const psc_host *host = s->host;
    int64_t n = 0;
    for (int32_t q = 0; q < s->n_sequences; q++) n += s->reads.sequences[q].n;
    int32_t *positions = host->run_alloc(s->context, (uint64_t)n * sizeof *positions + 1);
    if (!positions) return -1;
    for (int32_t q = 0, i = 0; q < s->n_sequences; q++)
        for (int32_t t = 0; t < s->reads.sequences[q].n; t++) positions[i++] = t;
    if (host->axis_numbers(s->context, "positions", n, positions)) return -1;
    double *closed = host->array(s->context, "closed", PSC_F64, 2, axes);
    if (!closed) return -1;
    for (int32_t level = 0; level < s->levels.n; level++)
        for (int32_t q = 0; q < s->n_sequences; q++)
            for (int32_t t = 0; t < s->reads.sequences[q].n; t++)
                *closed++ = psc_reads_closure(&s->reads, q, level, t);
    return 0;
}

int spans_arrays(spans_state *s) {
    if (make_axes(s) || unit_arrays(s) || tree_arrays(s) || overlap_arrays(s)) return -1;
    if (s->prefixes && prefix_arrays(s)) return -1;
    return s->closure ? closure_array(s) : 0;
}
