/* Minimal cuts: [a, b] is split after the s in a..b-1 with the least
 *
 *   c(s) = sum_{k=s+1..b} sum_{j=a..s} R_kj / ((b - s) (s - a + 1)^g)
 *
 * by 2-D prefix sums in f64, in a fixed order; ties go to the smaller s. With larger units, the sum
 * and the factors count tokens. */
#include "cuts.h"

#include <math.h>
#include <string.h>

void psc_cuts_extend(double *sums, int32_t k, const double *reads) {
    double *row = sums + psc_triangle(k);
    row[0] = 0.0;
    if (k == 0) return;
    const double *above = sums + psc_triangle(k - 1);
    double sum = 0.0;
    for (int32_t j = 1; j < k; j++) {
        sum += reads[j];
        row[j] = above[j] + sum;
    }
    row[k] = above[k - 1] + sum; /* the triangle above the diagonal is 0 */
}

void psc_cuts_weights(double power, int32_t n, double *weights) {
    enum { BITS = 20 };
    const uint32_t scaled = (uint32_t)(power * (1 << BITS) + 0.5);
    for (int32_t i = 0; i <= n; i++) {
        double root = (double)i, product = 1.0;
        for (uint32_t whole = scaled >> BITS; whole > 0; whole--) product *= (double)i;
        for (int bit = BITS - 1; bit >= 0; bit--) {
            root = sqrt(root);
            if (scaled >> bit & 1) product *= root;
        }
        weights[i] = product;
    }
}

static int32_t best_split(const double *sums, const int32_t *at, const double *weights,
    int32_t begin, int32_t end, double *strength) {
    const int32_t a = at[begin], b = at[end + 1];
    const double *lower = sums + psc_triangle(b - 1);
    int32_t best = begin;
    for (int32_t s = begin; s < end; s++) {
        const int32_t middle = at[s + 1];
        const double *upper = sums + psc_triangle(middle - 1);
        const double reads =
            (lower[middle - 1] - upper[middle - 1]) - (lower[a - 1] - upper[a - 1]);
        const double c = reads / ((double)(b - middle) * weights[middle - a]);
        if (s > begin && !(c < *strength)) continue;
        *strength = c;
        best = s;
    }
    return best;
}

/* Splits bracket `from` at its `split`: its parts of two or more units, right after left, become
 * the next brackets in pre-order. The pending right parts wait at the end of out, which pre-order
 * fills last: a tree with n units never holds more than n - 1 brackets, made and pending. */
static int32_t next_bracket(psc_bracket *out, int32_t n_out, int32_t *made, int32_t *pending) {
    const int32_t from = *made - 1;
    const psc_bracket b = out[from];
    if (b.end > b.split + 1)
        out[n_out - ++*pending] = (psc_bracket){b.split + 1, b.end, 0, from, 0.0};
    if (b.split > b.begin)
        out[*made] = (psc_bracket){b.begin, b.split, 0, from, 0.0};
    else if (*pending > 0)
        out[*made] = out[n_out - (*pending)--];
    else
        return 0;
    return ++*made;
}

void psc_cuts_tree(
    const double *sums, const int32_t *at, int32_t n, const double *weights, psc_bracket *out) {
    int32_t made = 1, pending = 0;
    if (n < 2) return;
    out[0] = (psc_bracket){0, n - 1, 0, -1, 0.0};
    do {
        psc_bracket *b = &out[made - 1];
        b->split = best_split(sums, at, weights, b->begin, b->end, &b->strength);
    } while (next_bracket(out, n - 1, &made, &pending));
}

/* --- other trees ----------------------------------------------------------------------------- */

uint64_t psc_tree_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The high half of a product is uniform up to n / 2^32. */
int32_t psc_tree_random_below(uint64_t *state, int32_t n) {
    return (int32_t)((psc_tree_random(state) >> 32) * (uint64_t)n >> 32);
}

void psc_tree_fixed(psc_tree_kind kind, int32_t n, uint64_t seed, psc_bracket *out) {
    int32_t made = 1, pending = 0;
    if (n < 2) return;
    out[0] = (psc_bracket){0, n - 1, 0, -1, 0.0};
    do {
        psc_bracket *b = &out[made - 1];
        const int32_t inner = b->end - b->begin; /* boundaries */
        b->split = b->begin;
        if (kind == PSC_TREE_LEFT) b->split = b->end - 1;
        if (kind == PSC_TREE_BALANCED) b->split = b->begin + inner / 2;
        if (kind == PSC_TREE_RANDOM) b->split = b->begin + psc_tree_random_below(&seed, inner);
    } while (next_bracket(out, n - 1, &made, &pending));
}

/* --- overlap --------------------------------------------------------------------------------- */

/* Whether a comes before b in the order that all trees have. */
static int before(const psc_bracket *a, const psc_bracket *b) {
    return a->begin < b->begin || (a->begin == b->begin && a->end > b->end);
}

int32_t psc_tree_find(
    int32_t n_a, const psc_bracket *a, int32_t n_b, const psc_bracket *b, int32_t *where) {
    int32_t shared = 0, j = 0;
    for (int32_t i = 0; i < n_a; i++) {
        while (j < n_b && before(&b[j], &a[i])) j++;
        const int same = j < n_b && b[j].begin == a[i].begin && b[j].end == a[i].end;
        if (where) where[i] = same ? j : -1;
        shared += same && i > 0;
    }
    return shared;
}

int32_t psc_tree_shared(int32_t n, const psc_bracket *a, const psc_bracket *b, int32_t *where) {
    return psc_tree_find(n - 1, a, n - 1, b, where);
}

int psc_tree_has(int32_t n, const psc_bracket *tree, int32_t begin, int32_t end) {
    const psc_bracket wanted = {.begin = begin, .end = end};
    int32_t low = 0, high = n - 1; /* brackets */
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (before(&tree[middle], &wanted))
            low = middle + 1;
        else
            high = middle;
    }
    return low < n - 1 && tree[low].begin == begin && tree[low].end == end;
}

/* The bracket appears if its outer boundaries are split before any of its inner ones. */
double psc_tree_chance(int32_t n, int32_t begin, int32_t end) {
    const double inner = end - begin;
    const int outer = (begin > 0) + (end < n - 1);
    if (outer == 0) return 1.0;
    return outer == 1 ? 1.0 / (inner + 1.0) : 2.0 / ((inner + 1.0) * (inner + 2.0));
}
