/* Trees of minimal cuts over reads, other trees in the same form, and what two trees share.
 * Private to analysis/ and tests/; built on psc_plugin.h alone.
 * Threads: pure functions.
 * Ownership: callers own all memory. */
#ifndef ANALYSIS_CUTS_H
#define ANALYSIS_CUTS_H

#include "common.h"

/* --- sums of reads ---------------------------------------------------------------------------
 * Prefix sums P_kj = sum_{k' <= k, 1 <= j' <= j, j' < k'} R_k'j' over positions, in a packed lower
 * triangle: row k, columns 0..k, begins at psc_triangle(k). Row 0 and column 0 are 0. */
static inline int64_t psc_triangle(int64_t k) {
    return k * (k + 1) / 2;
}

/* Appends row k, from the reads [k + 1] of keys 0..k. Rows come in ascending order from 0. */
void psc_cuts_extend(double *sums, int32_t k, const double *reads);

/* What positions s+1..b read of positions a..s; 1 <= a <= s < b. */
static inline double psc_cut_sum(const double *sums, int32_t a, int32_t s, int32_t b) {
    const double *upper = sums + psc_triangle(s), *lower = sums + psc_triangle(b);
    return (lower[s] - upper[s]) - (lower[a - 1] - upper[a - 1]);
}

/* --- trees -----------------------------------------------------------------------------------
 * A binary tree over n units has n - 1 brackets (none for n < 2), in pre-order; bracket 0 is the
 * whole. Single units are no brackets. So brackets ascend by begin, then descend by end. */
typedef struct psc_bracket {
    int32_t begin, end; /* units, both included; begin < end */
    int32_t split;      /* the last unit of the left part */
    int32_t parent;     /* its parent's index; -1: the whole */
    double strength;    /* c of its cut; 0 in other trees */
} psc_bracket;

/* weights[i] = i^power for i = 0..n, with the same bits everywhere: powers by multiplication and
 * square roots, power rounded to a multiple of 2^-20. 0 <= power <= 8. */
void psc_cuts_weights(double power, int32_t n, double *weights);

/* c(s) of the split of units begin..end after unit s, where unit u has the positions
 * at[u]..at[u+1]-1, at[0] >= 1:
 *   psc_cut_sum / (tokens of the right part * weights[tokens of the left part]) */
static inline double psc_cut_value(const double *sums, const int32_t *at, const double *weights,
    int32_t begin, int32_t s, int32_t end) {
    const int32_t a = at[begin], middle = at[s + 1], b = at[end + 1];
    return psc_cut_sum(sums, a, middle - 1, b - 1) / ((double)(b - middle) * weights[middle - a]);
}

/* The tree of minimal cuts of units 0..n-1: each bracket is split after the s with the least c(s);
 * ties, and NaN, go to the smaller s. out [n - 1]. */
void psc_cuts_tree(
    const double *sums, const int32_t *at, int32_t n, const double *weights, psc_bracket *out);

/* Trees that know nothing of the model. Right-branching splits after the first unit, left-branching
 * before the last, balanced in the middle (the left part has the larger half), random after a unit
 * drawn uniformly. out [n - 1]. */
typedef enum psc_tree_kind {
    PSC_TREE_RIGHT,
    PSC_TREE_LEFT,
    PSC_TREE_BALANCED,
    PSC_TREE_RANDOM
} psc_tree_kind;
/* seed: of PSC_TREE_RANDOM; a generator of its own (splitmix64). */
void psc_tree_fixed(psc_tree_kind kind, int32_t n, uint64_t seed, psc_bracket *out);
/* The next number of that generator, and one below n > 0. */
uint64_t psc_tree_random(uint64_t *state);
int32_t psc_tree_random_below(uint64_t *state, int32_t n);

/* The number of brackets that two trees over the same n units share, without the whole. where
 * (nullable) [n - 1]: for each bracket of a, the index of the same bracket of b, or -1; the whole
 * is found there, too. */
int32_t psc_tree_shared(int32_t n, const psc_bracket *a, const psc_bracket *b, int32_t *where);
/* The same for a's [n_a] and b's [n_b] first brackets of any trees: a prefix and a longer text. */
int32_t psc_tree_find(
    int32_t n_a, const psc_bracket *a, int32_t n_b, const psc_bracket *b, int32_t *where);
/* Whether a tree over n units has the bracket begin..end. */
int psc_tree_has(int32_t n, const psc_bracket *tree, int32_t begin, int32_t end);
/* The probability that a random tree over n units has the bracket begin..end. */
double psc_tree_chance(int32_t n, int32_t begin, int32_t end);

#endif
