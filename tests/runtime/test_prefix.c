/* The prefix that top-k and top-p keep (host->prefix) against a full sort, on the worst rows: ties,
 * one dominating logit, all equal, padded ids far below, both zeros, few tokens. Weights are
 * integers, so that a mass has no rounding, whatever its order. */
#include "kernels.h"
#include "strategy.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { MOST = 20011, ROWS = 7 };

static float z[MOST];
static double weights[MOST];
static int32_t order[MOST], scratch[MOST];

static float noise(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)((double)(*state >> 40) / 8388608.0 - 1.0);
}

static void make_row(int32_t n, int which) {
    uint64_t state = 17 + (uint64_t)which;
    for (int32_t i = 0; i < n; i++) {
        const float value = noise(&state);
        z[i] = which == 0   ? 9.0f * value
               : which == 1 ? floorf(3.0f * value)                    /* ties */
               : which == 2 ? value + (i == n * 3 / 4 ? 30.0f : 0.0f) /* one dominates */
               : which == 3 ? 2.5f                                    /* all equal */
               : which == 4 ? (i < n - n / 8 ? 9.0f * value : -1e4f)  /* padded ids */
               : which == 5 ? (value > 0.5f      ? 1.0f
                                  : value > 0.0f ? 0.0f
                                                 : -0.0f)
                            : 25.0f * value; /* sharp */
    }
}

/* Larger logits first, ties to the lower id; both zeros are equal. */
static int before(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (z[x] != z[y]) return z[x] > z[y] ? -1 : 1;
    return (x > y) - (x < y);
}

static void sort_row(int32_t n) {
    float most = -INFINITY;
    for (int32_t i = 0; i < n; i++) most = z[i] > most ? z[i] : most;
    for (int32_t i = 0; i < n; i++) {
        order[i] = i;
        weights[i] = floor(0x1p30 * exp((double)z[i] - (double)most));
    }
    qsort(order, (size_t)n, sizeof *order, before);
}

/* The first `kept` of the order are the prefix. */
static void expect(const psc_kernels *k, int32_t n, const double *own, double target, int32_t kept,
    const char *what, int which) {
    psc_kept_prefix got = {0};
    psc_strategy_prefix(k, &got, z, n, own, target, scratch);
    const int32_t last = order[kept - 1];
    cr_assert_eq(got.n, kept, "%s, row %d of %d, %s: %d are kept, not %d", k->isa_name, which, n,
        what, got.n, kept);
    for (int32_t i = 0; i < n; i++) {
        const int holds = z[i] > got.bound || (z[i] == got.bound && i <= got.last);
        const int wanted = before(&i, &last) <= 0;
        cr_assert_eq(
            holds, wanted, "%s, row %d of %d, %s: token %d", k->isa_name, which, n, what, i);
    }
}

static void check_row(const psc_kernels *k, int32_t n, int which) {
    const int32_t counts[] = {1, 2, 5, 40, n / 64, n / 3, n - 1};
    const double shares[] = {1e-9, 0.1, 0.5, 0.9, 0.99, 0.999999, 1.0};
    double total = 0.0;
    make_row(n, which);
    sort_row(n);
    for (int i = 0; i < 7; i++)
        if (counts[i] >= 1 && counts[i] < n)
            expect(k, n, NULL, counts[i], counts[i], "top-k", which);
    for (int32_t i = 0; i < n; i++) total += weights[i];
    for (int i = 0; i < 7; i++) {
        double mass = 0.0;
        int32_t kept = 0;
        while (kept < n && mass < shares[i] * total) mass += weights[order[kept++]];
        expect(k, n, weights, shares[i] * total, kept, "top-p", which);
    }
}

Test(prefix, is_that_of_a_sort) {
    static const int32_t sizes[] = {2, 80, 255, 257, 5003, MOST};
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        const psc_kernels *k = psc_kernels_for((psc_isa)isa);
        for (int s = 0; k && s < 6; s++)
            for (int which = 0; which < ROWS; which++) check_row(k, sizes[s], which);
    }
}

Test(prefix, nothing_and_everything) {
    const psc_kernels *k = psc_kernels_for(PSC_ISA_REFERENCE);
    psc_kept_prefix got = {0};
    make_row(100, 0);
    sort_row(100);
    psc_strategy_prefix(k, &got, z, 100, weights, 0.0, scratch);
    cr_assert(got.n == 0 && got.last == -1 && isinf(got.bound) && got.bound > 0);
    psc_strategy_prefix(k, &got, z, 100, NULL, 100, scratch);
    cr_assert(got.n == 100 && got.last == 99 && isinf(got.bound) && got.bound < 0);
    psc_strategy_prefix(k, &got, z, 100, NULL, 1e300, scratch);
    cr_assert_eq(got.n, 100);
}
