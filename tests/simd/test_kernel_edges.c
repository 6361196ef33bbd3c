/* The kernels of attention's edges against long double: dots of cancelling rows, norms of vectors near
 * a Gram matrix's kernel, sums over weights with zeros, ties with the bound, one dominating edge; sums of
 * subsets, few and many, of which an infinite term is left out. */
#include "kernel_test.h"

enum { SIZE = 80, KEYS = 32, N = 333 };

static float x[2][SIZE], panels[SIZE * KEYS], y[2 * KEYS];

Test(kernel_edges, dots) {
    for (size_t i = 0; i < SIZE * KEYS; i++) panels[i] = random_value(FILL_NORMAL);
    for (size_t k = 0; k < SIZE; k++) {
        x[0][k] = random_value(FILL_NORMAL);
        x[1][k] = k % 2 ? -x[1][k - 1] : 1e4f * random_value(FILL_NORMAL);
    }
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        const psc_kernels *k = psc_kernels_for((psc_isa)isa);
        const float *const rows[2] = {x[0], x[1]};
        if (!k) continue;
        k->panel_dots(y, KEYS, rows, panels, 2, SIZE, KEYS / 16);
        for (size_t i = 0; i < 2 * KEYS; i++) {
            long double want = 0.0L, size = 0.0L;
            for (size_t d = 0; d < SIZE; d++) {
                const float v = panels[(i % KEYS / 16 * SIZE + d) * 16 + i % 16];
                want += (long double)x[i / KEYS][d] * (long double)v;
                size += fabsl((long double)x[i / KEYS][d] * (long double)v);
            }
            cr_assert(fabsl((long double)y[i] - want) <= size * (SIZE / 16 + 4) * 0x1p-24L,
                "%s, %zu: %g, not %Lg", k->isa_name, i, (double)y[i], want);
        }
    }
}

/* G = A^T A of a thin A, so that vectors orthogonal to its rows have squares near 0. */
Test(kernel_edges, squares) {
    static double gram[SIZE * SIZE], lanes[SIZE * 16];
    static double a[5][SIZE];
    for (size_t i = 0; i < 5 * SIZE; i++) a[i / SIZE][i % SIZE] = (double)random_value(FILL_NORMAL);
    for (size_t i = 0; i < SIZE * SIZE; i++)
        for (int r = 0; r < 5; r++) gram[i] += a[r][i / SIZE] * a[r][i % SIZE];
    for (size_t i = 0; i < SIZE * 16; i++)
        lanes[i] = i % 16 == 0 ? 0.0 : (double)random_value(i % 16 == 1 ? FILL_WIDE : FILL_NORMAL);
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        const psc_kernels *k = psc_kernels_for((psc_isa)isa);
        double squares[16];
        if (!k) continue;
        k->gram_squares(squares, gram, lanes, SIZE);
        for (size_t i = 0; i < 16; i++) {
            long double want = 0.0L, size = 0.0L;
            for (size_t p = 0; p < SIZE * SIZE; p++) {
                const long double term = (long double)gram[p] *
                                         (long double)lanes[p / SIZE * 16 + i] *
                                         (long double)lanes[p % SIZE * 16 + i];
                want += term;
                size += fabsl(term);
            }
            cr_assert(fabsl((long double)squares[i] - want) <= size * 2 * SIZE * 0x1p-53L,
                "%s, lane %zu: %g, not %Lg", k->isa_name, i, squares[i], want);
        }
    }
}

Test(kernel_edges, sums) {
    static float a[N], t[N], b[N];
    for (int which = 0; which < 4; which++) {
        for (size_t i = 0; i < N; i++) {
            a[i] = i % 7 == 3 ? 0.0f : which == 1 ? 0.25f : fabsf(random_value(FILL_NORMAL));
            t[i] = which == 1 ? 3.0f
                              : random_value(FILL_NORMAL) * (which == 2 && i == 99 ? 1e6f : 1.0f);
            b[i] = fabsf(random_value(FILL_NORMAL));
            if (which == 3 && i % 2)
                t[i] = i % 7 == 3 || a[i - 1] == 0.0f ? 0.0f : -t[i - 1] * a[i - 1] / a[i];
        }
        a[11] = 0.0f;
        t[11] = INFINITY; /* not read into the sums */
        for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
            const psc_kernels *k = psc_kernels_for((psc_isa)isa);
            const double bound = (double)a[50] * (double)b[50];
            double sums[3];
            int32_t ids[N];
            size_t count = 0, edges = 0, at = 0;
            long double want = 0.0L, size = 0.0L;
            if (!k) continue;
            k->edge_sums(sums, ids, &count, a, t, b, bound, N);
            for (size_t i = 0; i < N; i++) {
                if (a[i] == 0.0f) continue;
                edges++;
                want += (long double)a[i] * (long double)t[i];
                size += fabsl((long double)a[i] * (long double)t[i]);
                if ((double)a[i] * (double)b[i] < bound) continue;
                cr_assert(at < count && ids[at] == (int32_t)i, "candidate %zu", i);
                at++;
            }
            cr_assert_eq(at, count);
            cr_assert_eq(sums[2], (double)edges);
            cr_assert(fabsl((long double)sums[0] - want) <= size * (N / 16 + 5) * 0x1p-53L);
            cr_assert(fabsl((long double)sums[1] - size) <= size * (N / 16 + 5) * 0x1p-53L);
        }
    }
}

Test(kernel_edges, subsets) {
    enum { TERMS = 41, ROWS = 20, WIDTH = 70, GROUPS = 12 };
    static float terms[TERMS][WIDTH], sums[ROWS][WIDTH];
    for (int share = 1; share < 16; share += 7) {
        uint8_t sets[ROWS][GROUPS] = {{0}};
        for (size_t t = 0; t < TERMS; t++)
            for (size_t i = 0; i < WIDTH; i++)
                terms[t][i] = t == 17 ? INFINITY : random_value(FILL_NORMAL);
        for (size_t r = 0; r < ROWS; r++)
            for (size_t t = 0; t < TERMS; t++)
                if (t != 17 && random_below(16) < (uint32_t)share)
                    sets[r][t / 4] |= (uint8_t)(1u << (t % 4));
        for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
            const psc_kernels *k = psc_kernels_for((psc_isa)isa);
            if (!k) continue;
            k->subset_sums(
                &(psc_subsets){*sums, WIDTH, *sets, GROUPS, *terms, WIDTH, TERMS, ROWS, WIDTH});
            for (size_t i = 0; i < ROWS * WIDTH; i++) {
                const size_t r = i / WIDTH;
                long double want = 0.0L, size = 0.0L;
                for (size_t t = 0; t < TERMS; t++) {
                    if (!(sets[r][t / 4] >> t % 4 & 1)) continue;
                    want += (long double)terms[t][i % WIDTH];
                    size += fabsl((long double)terms[t][i % WIDTH]);
                }
                cr_assert(fabsl((long double)sums[r][i % WIDTH] - want) <= size * 16 * 0x1p-24L,
                    "%s, share %d, row %zu", k->isa_name, share, r);
            }
        }
    }
}
