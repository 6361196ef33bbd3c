/* The kernels of neurons' firing against plain loops: zeros of both signs, subnormals, NaN, ties
 * with the limits, infinite limits. All results are exact. */
#include "kernel_test.h"

enum { ROWS = 67, N = 37 };

static float x[ROWS * N], limits[N];

static void make(void) {
    static const float special[] = {0.0f, -0.0f, 1e-45f, -1e-45f, NAN, INFINITY, -INFINITY, 3.5f};
    for (size_t i = 0; i < ROWS * N; i++)
        x[i] = i % 5 == 0 ? special[i / 5 % 8] : random_value(FILL_NORMAL);
    for (size_t i = 0; i < N; i++)
        limits[i] = i % 4 == 0 ? -INFINITY : i % 4 == 1 ? INFINITY : i % 4 == 2 ? x[i] : 0.0f;
}

Test(kernel_firing, exact) {
    make();
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        const psc_kernels *k = psc_kernels_for((psc_isa)isa);
        const float bound = 0.0f;
        int32_t counts[N] = {0};
        double most[N] = {0.0};
        if (!k) continue;
        psc_fp_state state = psc_fp_enter();
        k->count_columns(counts, N, x, N, ROWS, N, &bound, 1);
        k->column_sizes(most, x, N, ROWS, N);
        psc_fp_leave(state);
        for (size_t i = 0; i < N; i++) {
            int32_t positive = 0;
            double size = 0.0;
            for (size_t r = 0; r < ROWS; r++) {
                positive += x[r * N + i] > 0.0f;
                size = fmax(size, fabs((double)x[r * N + i]));
            }
            cr_assert_eq(counts[i], positive, "%s, column %zu", k->isa_name, i);
            cr_assert_eq(most[i], size, "%s, column %zu", k->isa_name, i);
        }
        for (size_t r = 0; r < ROWS; r++) {
            int32_t ids[N];
            size_t count = 0, at = 0;
            k->reach_limits(ids, &count, x + r * N, limits, N);
            for (size_t i = 0; i < N; i++) {
                if (x[r * N + i] < limits[i]) continue;
                cr_assert(at < count && ids[at] == (int32_t)i, "%s, row %zu", k->isa_name, r);
                at++;
            }
            cr_assert_eq(at, count);
        }
    }
}
