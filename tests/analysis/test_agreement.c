/* Agreement against brute force: spans by all pairs, AUROC by all pairs of one positive and one
 * negative, Spearman by ranks that are counted, the bootstrap against the normal approximation. */
#include "agreement.h"
#include "cuts.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 200 };

static double number(uint64_t *seed, int32_t below) {
    return (double)psc_tree_random_below(seed, below);
}

/* --- spans ----------------------------------------------------------------------------------- */

Test(agreement, spans_are_sorted_and_unique) {
    psc_span spans[] = {{4, 6}, {0, 2}, {4, 5}, {0, 2}, {4, 6}, {0, 1}};
    const psc_span want[] = {{0, 1}, {0, 2}, {4, 5}, {4, 6}};
    cr_assert_eq(psc_spans_unique(6, spans), 4);
    cr_assert_eq(memcmp(spans, want, sizeof want), 0);
    cr_assert_eq(psc_spans_unique(0, spans), 0);
}

Test(agreement, shared_spans_by_all_pairs) {
    uint64_t seed = 3;
    for (int round = 0; round < 300; round++) {
        psc_span a[40], b[40];
        const int32_t n[2] = {
            (int32_t)psc_tree_random_below(&seed, 40), (int32_t)psc_tree_random_below(&seed, 40)};
        for (int32_t i = 0; i < 40; i++) {
            a[i].begin = (int32_t)psc_tree_random_below(&seed, 6);
            a[i].end = a[i].begin + (int32_t)psc_tree_random_below(&seed, 5);
            b[i].begin = (int32_t)psc_tree_random_below(&seed, 6);
            b[i].end = b[i].begin + (int32_t)psc_tree_random_below(&seed, 5);
        }
        const int32_t n_a = psc_spans_unique(n[0], a), n_b = psc_spans_unique(n[1], b);
        int32_t want = 0;
        for (int32_t i = 0; i < n_a; i++)
            for (int32_t j = 0; j < n_b; j++)
                want += a[i].begin == b[j].begin && a[i].end == b[j].end;
        cr_assert_eq(psc_spans_shared(n_a, a, n_b, b), want, "round %d", round);
    }
}

Test(agreement, f1_and_recall_by_hand) {
    const psc_span_counts counts = {3, 7, 5}, none = {0, 0, 0}, missed = {0, 2, 0};
    cr_assert_float_eq(psc_span_f1(&counts), 0.5, 1e-15);
    cr_assert_float_eq(psc_span_recall(&counts), 0.6, 1e-15);
    cr_assert(isnan(psc_span_f1(&none)) && isnan(psc_span_recall(&none)));
    cr_assert(psc_span_f1(&missed) == 0.0 && isnan(psc_span_recall(&missed)));
    const psc_rate rate = psc_span_rate(&counts);
    cr_assert(rate.numerator == 6.0 && rate.denominator == 12.0);
}

/* --- ranks ----------------------------------------------------------------------------------- */

static double auroc_of_pairs(int64_t n, const double *x, const uint8_t *positive) {
    double won = 0.0, pairs = 0.0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            if (!positive[i] || positive[j]) continue;
            won += x[i] > x[j] ? 1.0 : x[i] == x[j] ? 0.5 : 0.0;
            pairs += 1.0;
        }
    return won / pairs;
}

Test(agreement, auroc_by_all_pairs_with_ties) {
    static double x[MOST], ranks[MOST];
    static uint8_t positive[MOST];
    static psc_rank_entry scratch[MOST];
    uint64_t seed = 11;
    for (int round = 0; round < 100; round++) {
        const int64_t n = 2 + psc_tree_random_below(&seed, MOST - 2);
        for (int64_t i = 0; i < n; i++) {
            x[i] = number(&seed, round % 2 ? 5 : 1000) - 2.0;
            positive[i] = psc_tree_random_below(&seed, 3) == 0;
        }
        positive[0] = 1;
        positive[1] = 0;
        cr_assert_float_eq(psc_auroc(n, x, positive, ranks, scratch),
            auroc_of_pairs(n, x, positive), 1e-12, "round %d", round);
    }
    memset(positive, 1, sizeof positive);
    cr_assert(isnan(psc_auroc(5, x, positive, ranks, scratch)));
    memset(positive, 0, sizeof positive);
    cr_assert(isnan(psc_auroc(5, x, positive, ranks, scratch)));
}

static double counted_rank(int64_t n, const double *x, int64_t i) {
    double less = 0.0, equal = 0.0;
    for (int64_t j = 0; j < n; j++) {
        less += x[j] < x[i];
        equal += x[j] == x[i];
    }
    return less + 0.5 * (equal + 1.0);
}

Test(agreement, spearman_by_counted_ranks) {
    static double x[MOST], y[MOST], ranks[2 * MOST];
    static psc_rank_entry scratch[MOST];
    uint64_t seed = 5;
    for (int round = 0; round < 50; round++) {
        const int64_t n = 3 + psc_tree_random_below(&seed, MOST - 3);
        double mx = 0, my = 0, xy = 0, xx = 0, yy = 0;
        for (int64_t i = 0; i < n; i++) {
            x[i] = number(&seed, 20);
            y[i] = x[i] * (round % 3 - 1) + number(&seed, 12);
        }
        x[0] = -1.0; /* neither side is constant */
        y[0] = -40.0;
        for (int64_t i = 0; i < n; i++) {
            mx += counted_rank(n, x, i) / (double)n;
            my += counted_rank(n, y, i) / (double)n;
        }
        for (int64_t i = 0; i < n; i++) {
            const double dx = counted_rank(n, x, i) - mx, dy = counted_rank(n, y, i) - my;
            xy += dx * dy, xx += dx * dx, yy += dy * dy;
        }
        cr_assert_float_eq(psc_spearman(n, x, y, ranks, scratch), xy / sqrt(xx * yy), 1e-10);
    }
    for (int i = 0; i < 5; i++) x[i] = 1.0;
    cr_assert(isnan(psc_spearman(5, x, y, ranks, scratch)));
}

/* --- chance ---------------------------------------------------------------------------------- */

Test(agreement, draws_are_even_and_repeatable) {
    uint64_t a = 42, b = 42;
    int64_t seen[7] = {0};
    for (int i = 0; i < 70000; i++) {
        const int64_t draw = psc_tree_random_below(&a, 7);
        cr_assert(draw >= 0 && draw < 7);
        seen[draw]++;
    }
    for (int i = 0; i < 7; i++) cr_assert(labs((long)seen[i] - 10000) < 400, "%ld", (long)seen[i]);
    for (int i = 0; i < 70000; i++) (void)psc_tree_random_below(&b, 7);
    cr_assert_eq(a, b);
    a = 0; /* SplitMix64's published first draw from seed 0 */
    cr_assert_eq(psc_tree_random(&a), UINT64_C(0xe220a8397b1dcdaf));
}

/* A mean of n numbers: the interval is close to mean +- 1.96 s / sqrt(n). */
Test(agreement, bootstrap_of_a_mean) {
    enum { N = 2000, DRAWS = 4000 };
    static psc_rate a[N], b[N];
    static double scratch[DRAWS];
    uint64_t seed = 9;
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        a[i] = (psc_rate){number(&seed, 100), 1.0};
        b[i] = (psc_rate){a[i].numerator - 3.0, 1.0};
        sum += a[i].numerator;
        squares += a[i].numerator * a[i].numerator;
    }
    const double mean = sum / N, half = 1.96 * sqrt((squares / N - mean * mean) / N);
    const psc_interval own = psc_bootstrap(N, a, NULL, DRAWS, 1, scratch);
    cr_assert_float_eq(own.value, mean, 1e-12);
    cr_assert_float_eq(own.low, mean - half, 0.1 * half);
    cr_assert_float_eq(own.high, mean + half, 0.1 * half);
    /* the same sentences on both sides: a constant difference has no spread */
    const psc_interval pair = psc_bootstrap(N, a, b, DRAWS, 1, scratch);
    cr_assert_float_eq(pair.low, 3.0, 1e-9);
    cr_assert_float_eq(pair.high, 3.0, 1e-9);
    const psc_interval again = psc_bootstrap(N, a, NULL, DRAWS, 1, scratch);
    cr_assert(again.low == own.low && again.high == own.high);
}

Test(agreement, bootstrap_without_sentences) {
    const psc_rate nothing[2] = {{0, 0}, {0, 0}};
    double scratch[10];
    psc_interval got = psc_bootstrap(0, nothing, NULL, 10, 1, scratch);
    cr_assert(isnan(got.value) && isnan(got.low) && isnan(got.high));
    const psc_rate one = {1.0, 2.0};
    got = psc_bootstrap(1, &one, NULL, 10, 1, scratch);
    cr_assert(got.value == 0.5 && isnan(got.low) && isnan(got.high), "one sentence has no spread");
    got = psc_bootstrap(2, nothing, NULL, 10, 1, scratch);
    cr_assert(isnan(got.value) && isnan(got.low) && isnan(got.high));
}
