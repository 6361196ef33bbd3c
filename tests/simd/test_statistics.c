/* The statistics over rows against long double and exact counts, on the worst rows: values at edges
 * and beside them, one key with all the attention, equal attention, tiny attention. Every
 * instruction set has the reference's bits (test_kernels.c), so the reference stands for all. */
#include "kernel_test.h"

#include "moments.h"

enum { N = 2047, CASES = 4 };

static const psc_kernels *k;
static float x[N];

static void setup(void) {
    k = psc_kernels_for(PSC_ISA_REFERENCE);
    cr_assert_not_null(k);
}

/* |got - want| <= error magnitude. */
static void expect_sum(double got, long double want, long double magnitude, double error,
    const char *what, int which) {
    CHECK(fabsl((long double)got - want) <= error * (double)magnitude + 1e-300,
        "%s of case %d: %.17g, not %.17Lg", what, which, got, want);
}

/* The bins of psc_bin_of (edges -8 + 16 i/n in f64) at every edge, and at the floats beside it. */
Test(statistics, bins, .init = setup) {
    static int32_t counts[1000], want[1000];
    for (int32_t bins = 1; bins <= 1000; bins++) {
        const float c = (float)bins / 16.0f, from = 0.5f * (float)bins;
        memset(counts, 0, sizeof counts);
        memset(want, 0, sizeof want);
        for (int32_t i = -1; i <= bins + 1; i++) {
            const float edge = (float)(-8.0 + 16.0 * i / bins);
            const float near[] = {nextafterf(edge, -INFINITY), edge, nextafterf(edge, INFINITY)};
            for (int j = 0; j < 3; j++) want[psc_bin_of((double)near[j], -8.0, 8.0, bins)]++;
            k->bin_columns(counts, near, 1, 3, 1, c, from, (size_t)bins);
        }
        for (int32_t i = 0; i < bins; i++)
            CHECK(counts[i] == want[i], "bin %d of %d: %d, not %d", i, bins, counts[i], want[i]);
    }
    const float odd[] = {-INFINITY, INFINITY, NAN, -0.0f, -0x1p-149f, 0x1p-149f, -1e30f, 1e30f};
    int32_t few[4] = {0};
    k->bin_columns(few, odd, 1, 8, 1, 0.25f, 2.0f, 4);
    cr_assert(few[0] == 3 && few[1] == 1 && few[2] == 2 && few[3] == 2);
}

/* More bounds than registers; a value at its bound is not above it; NaN is above none. */
Test(statistics, counts, .init = setup) {
    enum { ROWS = 5, COLUMNS = 409, BOUNDS = 23 };
    static int32_t counts[BOUNDS * COLUMNS];
    float bounds[BOUNDS];
    for (size_t i = 0; i < N; i++) x[i] = random_value(FILL_NORMAL);
    for (int b = 0; b < BOUNDS; b++) bounds[b] = x[37 * b];
    x[5] = NAN;
    memset(counts, 0, sizeof counts);
    k->count_columns(counts, COLUMNS, x, COLUMNS, ROWS, COLUMNS, bounds, BOUNDS);
    for (int b = 0; b < BOUNDS; b++)
        for (int i = 0; i < COLUMNS; i++) {
            int32_t want = 0;
            for (int r = 0; r < ROWS; r++) want += x[r * COLUMNS + i] > bounds[b];
            cr_assert_eq(counts[b * COLUMNS + i], want);
        }
}

Test(statistics, weights, .init = setup) {
    static double a[N];
    for (int which = 0; which < CASES; which++) {
        double sums[2];
        long double sum = 0.0L, squares = 0.0L;
        for (size_t i = 0; i < N; i++) {
            a[i] = (double)random_value(FILL_NORMAL);
            x[i] = which == 1 ? 1.0f : which == 2 ? 0.0f : random_value(FILL_NORMAL);
            if (which == 3 && i == 1234) x[i] = 1e6f;
            const long double w = fabsl((long double)a[i] * (long double)x[i]);
            sum += w;
            squares += w * w;
        }
        k->weight_sums(sums, a, x, N);
        expect_sum(sums[0], sum, sum, N / 16 * 0x1p-53, "weights", which);
        expect_sum(sums[1], squares, squares, N / 16 * 0x1p-53, "squares", which);
    }
}

/* 0: a softmax's row; 1: one key has all; 2: all equal; 3: the first key has nearly all. */
static void make_pattern(float *a, int which, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        a[i] = which == 1   ? (float)(i == n / 3)
               : which == 2 ? 1.0f
               : which == 3 ? (i == 0 ? 1.0f : 0x1p-140f * (float)(i % 3))
                            : expf(4.0f * random_value(FILL_NORMAL));
        sum += (double)a[i];
    }
    for (size_t i = 0; i < n; i++) a[i] = (float)((double)a[i] / sum);
}

Test(statistics, pattern, .init = setup) {
    static const size_t lengths[] = {1, 2, 15, 129, 1000, N};
    for (int which = 0; which < CASES; which++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            const size_t n = lengths[l];
            double sums[4];
            long double want[4] = {0};
            make_pattern(x, which, n);
            k->pattern_sums(sums, x, n);
            for (size_t i = 0; i < n; i++) {
                const long double a = (long double)x[i];
                want[0] += a;
                if (a > 0.0L) want[1] += a * logl(a);
                want[2] += a * (long double)(n - 1 - i);
            }
            for (size_t i = 0; i < n; i++) {
                const long double d = (long double)(n - 1 - i) - want[2];
                want[3] += d * d * (long double)x[i];
            }
            const double chain = (double)(n / 16 + 8) * 0x1p-53;
            const long double span = (long double)n;
            expect_sum(sums[0], want[0], want[0], chain, "attention", which);
            expect_sum(sums[1], want[1], -want[1], 2 * chain, "entropy", which);
            expect_sum(sums[2], want[2], span, 2 * chain, "distance", which);
            expect_sum(sums[3], want[3], want[3] + span, 4 * chain, "variance", which);
        }
}
