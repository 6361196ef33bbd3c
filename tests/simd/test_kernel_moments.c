/* add_moments against long double over many rows: a column that cancels, one with a large common
 * offset, one dominating value, equal values, zeros; NaN and signed zeros in minima and maxima. */
#include "kernel_test.h"

enum { ROWS = 3000, N = 6 };

static float x[ROWS * N];

static void make(void) {
    for (size_t r = 0; r < ROWS; r++) {
        float *row = x + r * N;
        const float value = random_value(FILL_NORMAL);
        row[0] = value;
        row[1] = r % 2 ? -x[(r - 1) * N + 1] : value * 1e6f;
        row[2] = 1e5f + value;
        row[3] = r == 1234 ? 1e12f : value;
        row[4] = 0.1f;
        row[5] = 0.0f;
    }
}

Test(kernel_moments, long_double) {
    make();
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        const psc_kernels *k = psc_kernels_for((psc_isa)isa);
        double t[4][N];
        if (!k) continue;
        for (int i = 0; i < N; i++) {
            t[0][i] = t[1][i] = 0.0;
            t[2][i] = INFINITY;
            t[3][i] = -INFINITY;
        }
        /* In two calls, as over two chunks. */
        k->add_moments(t[0], t[1], t[2], t[3], x, N, 1000, N);
        k->add_moments(t[0], t[1], t[2], t[3], x + 1000 * N, N, ROWS - 1000, N);
        for (int i = 0; i < N; i++) {
            long double sum = 0.0L, size = 0.0L, squares = 0.0L;
            float low = INFINITY, high = -INFINITY;
            for (size_t r = 0; r < ROWS; r++) {
                const float value = x[r * N + (size_t)i];
                sum += (long double)value;
                size += fabsl((long double)value);
                squares += (long double)value * (long double)value;
                low = value < low ? value : low;
                high = value > high ? value : high;
            }
            cr_assert(fabsl((long double)t[0][i] - sum) <= size * ROWS * 0x1p-53L, "sum %d", i);
            cr_assert(fabsl((long double)t[1][i] - squares) <= squares * ROWS * 0x1p-53L,
                "squares %d", i);
            cr_assert_eq(t[2][i], (double)low, "least %d", i);
            cr_assert_eq(t[3][i], (double)high, "most %d", i);
        }
    }
}

Test(kernel_moments, nan_and_zeros) {
    const float rows[4] = {-0.0f, NAN, 0.0f, -1.0f};
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        const psc_kernels *k = psc_kernels_for((psc_isa)isa);
        double sum = 0.0, square = 0.0, low = INFINITY, high = -INFINITY;
        if (!k) continue;
        k->add_moments(&sum, &square, &low, &high, rows, 1, 4, 1);
        cr_assert(isnan(sum) && isnan(square));
        cr_assert_eq(low, -1.0);
        cr_assert(high == 0.0 && signbit(high), "the first of equal values stays");
    }
}
