/* add_products against long double: each sum's error is within a chain's bound, in the worst cases
 * too, and it adds to what is there. */
#include "kernel_test.h"

enum { N = 200, TILE = 16 };

static double a[N * TILE], b[N * TILE], out[TILE * TILE];

/* Rows of usual numbers; of numbers that cancel; one that dominates; all equal; zeros past 3. */
enum { CASES = 5 };
static void make(int which) {
    for (size_t i = 0; i < N * TILE; i++) {
        const size_t t = i / TILE;
        a[i] = (double)random_value(FILL_NORMAL) + (double)random_value(FILL_NORMAL) * 0x1p-24;
        b[i] = (double)random_value(FILL_NORMAL) + (double)random_value(FILL_NORMAL) * 0x1p-24;
        if (which == 1 && t % 2) a[i] = -a[i - TILE], b[i] = b[i - TILE] * (1.0 + 0x1p-40);
        if (which == 2 && t == 77) a[i] = 1e9, b[i] = 3e9;
        if (which == 3) a[i] = b[i] = 0.1;
        if (which == 4 && t >= 3) a[i] = b[i] = 0.0;
    }
}

Test(products, long_double) {
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        const psc_kernels *k = psc_kernels_for((psc_isa)isa);
        for (int which = 0; k && which < CASES; which++) {
            make(which);
            for (size_t i = 0; i < TILE * TILE; i++) out[i] = (double)i;
            psc_fp_state state = psc_fp_enter();
            k->add_products(out, TILE, a, b, N);
            psc_fp_leave(state);
            for (size_t i = 0; i < TILE * TILE; i++) {
                long double want = (long double)i, size = (long double)i;
                for (size_t t = 0; t < N; t++) {
                    const long double term =
                        (long double)a[t * TILE + i / TILE] * (long double)b[t * TILE + i % TILE];
                    want += term;
                    size += fabsl(term);
                }
                cr_assert(fabsl((long double)out[i] - want) <= size * N * 0x1p-53L,
                    "%s, case %d, output %zu: %a, not %La", k->isa_name, which, i, out[i], want);
            }
        }
    }
}
