/* What a circuit explains. C: its edges; the other edges carry the source's values.
 *
 *   faithfulness   (m(C) - m(source)) / (m(base) - m(source))    1: the circuit suffices
 *   completeness   the same of everything but C                  0: nothing is left
 *   lost(e)        m(C without e) - m(C)                         0: an edge does nothing
 *   minimality     the least |lost| of C
 *
 * The curve has them for the first 1, 2, 5, 10, ... edges of the order. Beside it are circuits of
 * as many random edges: the first of a shuffle of all edges, which begins at the seed. */
#include "circuit.h"
#include "cuts.h"

#include <math.h>

/* A set of the order's edges: the first n, without number `without` (-1: none), or all others. */
typedef struct choice {
    const circuit_state *s;
    const int64_t *sizes; /* of set 2 i the circuit's size, of 2 i + 1 its complement's */
    int64_t n;            /* without sizes: sets without one edge each */
} choice;

static void keep_first(const circuit_state *s, int64_t n, uint8_t *patched) {
    for (int64_t e = 0; e < s->n_edges; e++) patched[e] = 1;
    for (int64_t i = 0; i < n; i++) patched[s->ranked.at[i].edge] = 0;
}

static void sized(const void *payload, int64_t index, uint8_t *patched) {
    const choice *c = payload;
    const int64_t n = c->sizes[index / 2];
    if (index % 2 == 0)
        keep_first(c->s, n, patched);
    else
        for (int64_t i = 0; i < n; i++) patched[c->s->ranked.at[i].edge] = 1;
}

static void without_one(const void *payload, int64_t index, uint8_t *patched) {
    const choice *c = payload;
    keep_first(c->s, c->n, patched);
    patched[c->s->ranked.at[index].edge] = 1;
}

/* lost [n] of the first n edges, whose value is given. */
static int find_lost(circuit_state *s, int64_t n, double value, double *lost) {
    const choice c = {s, NULL, n};
    if (circuit_run(s, n, without_one, &c, lost)) return -1;
    for (int64_t i = 0; i < n; i++) lost[i] -= value;
    return 0;
}

static double least(const double *lost, int64_t n) {
    double x = n > 0 ? fabs(lost[0]) : NAN;
    for (int64_t i = 1; i < n; i++) x = fmin(x, fabs(lost[i]));
    return x;
}

/* 1, 2, 5, 10, ... below the length of the order, then that. */
static void choose_sizes(circuit_state *s) {
    static const int64_t steps[] = {1, 2, 5};
    s->n_sizes = 0;
    int64_t unit = 1;
    for (int i = 0;; i++) {
        const int64_t size = steps[i % 3] * unit;
        if (size >= s->ranked.n) break;
        s->sizes[s->n_sizes++] = size;
        if (i % 3 == 2) unit *= 10;
    }
    s->sizes[s->n_sizes++] = s->ranked.n;
}

static double count_runs(const circuit_state *s) {
    double runs = 2.0 * s->n_sizes + 2.0;
    for (int32_t i = 0; i < s->n_sizes; i++)
        if (s->sizes[i] <= s->minimal) runs += (double)s->sizes[i];
    if (s->n_kept <= s->minimal) runs += (double)s->n_kept;
    return runs + (double)s->random * s->n_sizes;
}

/* --- random circuits -------------------------------------------------------------------------- */

typedef struct shuffle {
    const circuit_state *s;
    int32_t *edges; /* [all] in a random order */
} shuffle;

static void shuffle_edges(shuffle *of, uint64_t seed) {
    const int32_t n = (int32_t)of->s->n_edges;
    for (int32_t i = 0; i < n; i++) of->edges[i] = i;
    for (int32_t i = n - 1; i > 0; i--) {
        const int32_t j = psc_tree_random_below(&seed, i + 1), kept = of->edges[i];
        of->edges[i] = of->edges[j];
        of->edges[j] = kept;
    }
}

static void keep_random(const void *payload, int64_t index, uint8_t *patched) {
    const shuffle *of = payload;
    for (int64_t i = of->s->sizes[index]; i < of->s->n_edges; i++) patched[of->edges[i]] = 1;
}

/* The mean over the draws of the value of each size. */
static int test_random(circuit_state *s) {
    double values[48];
    shuffle of = {s, NULL};
    for (int32_t i = 0; i < s->n_sizes; i++) s->curve[3][i] = 0.0;
    if (s->random == 0) return 0;
    of.edges = s->host->run_alloc(s->context, (uint64_t)s->n_edges * sizeof *of.edges);
    if (!of.edges) return -1;
    for (int32_t draw = 0; draw < s->random; draw++) {
        shuffle_edges(&of, (uint64_t)s->seed + (uint64_t)draw);
        if (circuit_run(s, s->n_sizes, keep_random, &of, values)) return -1;
        for (int32_t i = 0; i < s->n_sizes; i++) s->curve[3][i] += values[i] / s->random;
    }
    return 0;
}

int circuit_test(circuit_state *s) {
    const int64_t most = s->minimal > s->n_kept ? s->minimal : s->n_kept;
    double *lost = s->host->run_alloc(s->context, (uint64_t)most * sizeof *lost + 1),
           values[2 * 48];
    if (!lost) return -1;
    choose_sizes(s);
    s->all += count_runs(s);
    const choice own = {s, &s->n_kept, 0}, curve = {s, s->sizes, 0};
    if (circuit_run(s, 2, sized, &own, values)) return -1;
    s->value = values[0];
    s->complement = values[1];
    if (s->n_kept <= s->minimal) {
        s->lost = s->host->run_alloc(s->context, (uint64_t)s->n_kept * sizeof *s->lost + 1);
        if (!s->lost || find_lost(s, s->n_kept, s->value, s->lost)) return -1;
    }
    if (circuit_run(s, 2 * s->n_sizes, sized, &curve, values)) return -1;
    for (int32_t i = 0; i < s->n_sizes; i++) {
        s->curve[0][i] = values[2 * i];
        s->curve[1][i] = values[2 * i + 1];
        s->curve[2][i] = NAN;
        if (s->sizes[i] > s->minimal) continue;
        if (find_lost(s, s->sizes[i], values[2 * i], lost)) return -1;
        s->curve[2][i] = least(lost, s->sizes[i]);
    }
    return test_random(s);
}
