/* Trees of minimal cuts against a direct computation in float64: sums over all pairs of positions,
 * a split by trying each. And the other trees, what trees share, and their chances. */
#include "cuts.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 60 };

static double reads[MOST][MOST];
static double sums[MOST * (MOST + 1) / 2];
static double weights[MOST + 1];

static double uniform(uint64_t *state) {
    return (double)(psc_tree_random(state) >> 11) * 0x1p-53;
}

/* Random reads of n positions. Row 0, key 0 and the diagonal are large: they must not count. */
static void fill(int32_t n, uint64_t seed) {
    for (int32_t k = 0; k < n; k++) {
        for (int32_t j = 0; j <= k; j++) reads[k][j] = uniform(&seed);
        reads[k][0] += 1000.0;
        reads[k][k] += 500.0;
        psc_cuts_extend(sums, k, reads[k]);
    }
}

static double direct_sum(int32_t a, int32_t s, int32_t b) {
    double sum = 0.0;
    for (int32_t k = s + 1; k <= b; k++)
        for (int32_t j = a; j <= s; j++) sum += reads[k][j];
    return sum;
}

Test(cuts, sums) {
    const int32_t n = 23;
    fill(n, 1);
    for (int32_t a = 1; a < n; a++)
        for (int32_t s = a; s < n; s++)
            for (int32_t b = s + 1; b < n; b++) {
                const double want = direct_sum(a, s, b), got = psc_cut_sum(sums, a, s, b);
                cr_assert(fabs(got - want) < 1e-11 * (1.0 + want), "%d %d %d: %.17g, not %.17g", a,
                    s, b, got, want);
            }
}

Test(cuts, weights) {
    static const double powers[] = {0.0, 0.5, 1.0, 0.25, 1.75, 2.0, 0.3, 8.0};
    for (size_t p = 0; p < sizeof powers / sizeof *powers; p++) {
        psc_cuts_weights(powers[p], MOST, weights);
        for (int32_t i = 1; i <= MOST; i++) {
            const double want = pow(i, powers[p]);
            cr_assert(
                fabs(weights[i] / want - 1.0) < 5e-6, "%d^%g: %.17g", i, powers[p], weights[i]);
        }
    }
    psc_cuts_weights(0.5, 9, weights);
    cr_assert_eq(weights[9], 3.0);
    cr_assert_eq(weights[2], sqrt(2.0));
    psc_cuts_weights(1.0, 9, weights);
    cr_assert_eq(weights[7], 7.0);
}

/* Appends the brackets of begin..end in pre-order, each split tried in turn. */
static int32_t direct_tree(const int32_t *at, int32_t begin, int32_t end, int32_t parent,
    double power, psc_bracket *out, int32_t made) {
    psc_bracket b = {begin, end, begin, parent, INFINITY};
    if (begin == end) return made;
    for (int32_t s = begin; s < end; s++) {
        const int32_t left = at[s + 1] - at[begin], right = at[end + 1] - at[s + 1];
        const double c =
            direct_sum(at[begin], at[s + 1] - 1, at[end + 1] - 1) / (right * pow(left, power));
        if (c < b.strength - 1e-12 * fabs(c)) b.strength = c, b.split = s;
    }
    const int32_t self = made;
    out[made++] = b;
    made = direct_tree(at, begin, b.split, self, power, out, made);
    return direct_tree(at, b.split + 1, end, self, power, out, made);
}

static void check_tree(const int32_t *at, int32_t n, double power) {
    psc_bracket want[MOST], got[MOST + 1];
    memset(got, 0x7f, sizeof got);
    psc_cuts_weights(power, MOST, weights);
    psc_cuts_tree(sums, at, n, weights, got);
    const int32_t made = n ? direct_tree(at, 0, n - 1, -1, power, want, 0) : 0;
    cr_assert_eq(made, n > 0 ? n - 1 : 0);
    for (int32_t i = 0; i < made; i++) {
        const psc_bracket *g = &got[i], *w = &want[i];
        cr_assert(g->begin == w->begin && g->end == w->end && g->split == w->split &&
                      g->parent == w->parent,
            "bracket %d of %d: [%d,%d] after %d in %d, should be [%d,%d] after %d in %d", i, n,
            g->begin, g->end, g->split, g->parent, w->begin, w->end, w->split, w->parent);
        cr_assert(fabs(g->strength - w->strength) < 1e-11 * (1.0 + w->strength));
        cr_assert(fabs(g->strength - psc_cut_value(sums, at, weights, g->begin, g->split, g->end)) <
                  1e-15);
    }
    cr_assert_eq(got[made].begin, 0x7f7f7f7f, "wrote past the tree of %d units", n);
}

Test(cuts, trees_of_tokens_and_words) {
    static const double powers[] = {0.5, 1.0, 0.0};
    for (int32_t n = 0; n < 45; n++) {
        int32_t at[MOST], u = 0;
        uint64_t seed = (uint64_t)n;
        fill(n + 1, 100 + (uint64_t)n);
        for (int32_t i = 0; i <= n; i++) at[i] = i + 1;
        for (int p = 0; p < 3; p++) check_tree(at, n, powers[p]);
        for (int32_t t = 1; t <= n; t += 1 + psc_tree_random_below(&seed, 3)) at[u++] = t;
        at[u] = n + 1; /* words of 1 to 3 tokens */
        for (int p = 0; p < 3; p++) check_tree(at, u, powers[p]);
    }
}

/* Under uniform attention g = 1/2 gives right-branching, g = 1 left-branching: the prior. */
Test(cuts, prior_of_uniform_attention) {
    const int32_t n = 30;
    int32_t at[MOST];
    psc_bracket got[MOST], want[MOST];
    double row[MOST];
    for (int32_t k = 0; k <= n; k++) {
        for (int32_t j = 0; j <= k; j++) row[j] = 1.0 / (k + 1);
        psc_cuts_extend(sums, k, row);
    }
    for (int32_t i = 0; i <= n; i++) at[i] = i + 1;
    for (int g = 0; g < 2; g++) {
        psc_cuts_weights(g ? 1.0 : 0.5, n, weights);
        psc_cuts_tree(sums, at, n, weights, got);
        psc_tree_fixed(g ? PSC_TREE_LEFT : PSC_TREE_RIGHT, n, 0, want);
        cr_assert_eq(psc_tree_shared(n, got, want, NULL), n - 2, "power %g", g ? 1.0 : 0.5);
    }
}

/* Equal cuts split after the first unit; so do reads that are not numbers. */
Test(cuts, ties_go_to_the_smaller_s) {
    static const double values[] = {0.0, NAN};
    for (int v = 0; v < 2; v++) {
        int32_t at[MOST];
        double row[MOST];
        psc_bracket got[MOST];
        for (int32_t j = 0; j < 12; j++) row[j] = values[v], at[j] = j + 1;
        for (int32_t k = 0; k < 12; k++) psc_cuts_extend(sums, k, row);
        psc_cuts_weights(0.5, 12, weights);
        psc_cuts_tree(sums, at, 11, weights, got);
        for (int32_t i = 0; i < 10; i++)
            cr_assert(got[i].begin == i && got[i].end == 10 && got[i].split == i);
    }
}

/* --- other trees ----------------------------------------------------------------------------- */

Test(cuts, other_trees) {
    static const int32_t balanced[][3] = {{0, 4, 2}, {0, 2, 1}, {0, 1, 0}, {3, 4, 3}};
    for (int32_t n = 2; n < 40; n++) {
        psc_bracket right[MOST], left[MOST], even[MOST], random[MOST];
        psc_tree_fixed(PSC_TREE_RIGHT, n, 0, right);
        psc_tree_fixed(PSC_TREE_LEFT, n, 0, left);
        psc_tree_fixed(PSC_TREE_BALANCED, n, 0, even);
        psc_tree_fixed(PSC_TREE_RANDOM, n, (uint64_t)n, random);
        for (int32_t i = 0; i + 1 < n; i++) {
            cr_assert(right[i].begin == i && right[i].end == n - 1 && right[i].parent == i - 1);
            cr_assert(left[i].begin == 0 && left[i].end == n - 1 - i && left[i].parent == i - 1);
            cr_assert(random[i].split >= random[i].begin && random[i].split < random[i].end);
            cr_assert(i == 0 || random[random[i].parent].begin <= random[i].begin);
            const int32_t size = even[i].end - even[i].begin + 1;
            cr_assert_eq(even[i].split - even[i].begin + 1, (size + 1) / 2);
        }
        cr_assert_eq(psc_tree_shared(n, right, left, NULL), 0);
        cr_assert_eq(psc_tree_shared(n, random, random, NULL), n - 2);
    }
    psc_bracket five[4];
    psc_tree_fixed(PSC_TREE_BALANCED, 5, 0, five);
    for (int i = 0; i < 4; i++)
        cr_assert(five[i].begin == balanced[i][0] && five[i].end == balanced[i][1] &&
                  five[i].split == balanced[i][2]);
}

/* Every range of units is found exactly if it is a bracket. */
Test(cuts, has_bracket) {
    for (uint64_t seed = 0; seed < 50; seed++) {
        const int32_t n = 1 + (int32_t)(seed % 20);
        psc_bracket tree[MOST];
        psc_tree_fixed(PSC_TREE_RANDOM, n, seed, tree);
        for (int32_t a = 0; a < n; a++)
            for (int32_t b = a + 1; b < n; b++) {
                int want = 0;
                for (int32_t i = 0; i + 1 < n; i++) want |= tree[i].begin == a && tree[i].end == b;
                cr_assert_eq(psc_tree_has(n, tree, a, b), want, "%d..%d of %d", a, b, n);
            }
    }
}

/* Against a comparison of all pairs; where tells the same. */
Test(cuts, shared_brackets) {
    for (uint64_t seed = 0; seed < 200; seed++) {
        const int32_t n = 2 + (int32_t)(seed % 30);
        psc_bracket a[MOST], b[MOST];
        int32_t where[MOST], shared = 0;
        psc_tree_fixed(PSC_TREE_RANDOM, n, seed, a);
        psc_tree_fixed(PSC_TREE_RANDOM, n, seed + 1000, b);
        const int32_t got = psc_tree_shared(n, a, b, where);
        for (int32_t i = 0; i + 1 < n; i++) {
            int32_t want = -1;
            for (int32_t j = 0; j + 1 < n; j++)
                if (a[i].begin == b[j].begin && a[i].end == b[j].end) want = j;
            cr_assert_eq(where[i], want, "seed %d, bracket %d", (int)seed, (int)i);
            shared += want > 0;
        }
        cr_assert_eq(got, shared);
    }
}

/* The chance of each bracket, against the share of 40,000 random trees that have it. */
Test(cuts, chances) {
    enum { N = 6, DRAWS = 40000 };
    int32_t count[N][N] = {{0}};
    psc_bracket tree[N - 1];
    double sum = 0.0;
    for (uint64_t d = 0; d < DRAWS; d++) {
        psc_tree_fixed(PSC_TREE_RANDOM, N, d, tree);
        for (int i = 0; i < N - 1; i++) count[tree[i].begin][tree[i].end]++;
    }
    for (int32_t a = 0; a < N; a++)
        for (int32_t b = a + 1; b < N; b++) {
            const double p = psc_tree_chance(N, a, b);
            sum += p;
            cr_assert(fabs(count[a][b] / (double)DRAWS - p) < 0.01, "[%d,%d]: %g of trees, not %g",
                a, b, count[a][b] / (double)DRAWS, p);
        }
    cr_assert(fabs(sum - (N - 1)) < 1e-12, "a tree has %g brackets", sum);
}
