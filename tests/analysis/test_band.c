/* Products of doubles in panels against long double; a matrix of known eigenvalues keeps them when
 * it is reduced to a band. */
#include "band_values.h"
#include "kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static psc_reductions kernels;

static void *take(psc_context *context, uint64_t bytes) {
    (void)context;
    void *made = NULL;
    cr_assert_eq(posix_memalign(&made, 64, bytes + 64), 0);
    memset(made, 0, bytes);
    return made;
}

/* In two parts, the second first. */
static void both_parts(psc_context *context, int64_t n, psc_range_fn fn, void *payload) {
    (void)context;
    if (n > 1) fn(n / 2, n, 1, payload);
    fn(0, n > 1 ? n / 2 : n, 0, payload);
}

static const psc_reductions *give(psc_context *context) {
    (void)context;
    return &kernels;
}

static psc_host host = {.run_alloc = take, .parallel_for = both_parts, .reductions = give};

static void setup(void) {
    kernels = (psc_reductions){
        .add_products = psc_kernels_for(psc_isa_best(psc_isa_mask()))->add_products};
}

static double noise(void) {
    static uint64_t state = 5;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(int64_t)state * 0x1p-63;
}

Test(band, products_in_panels, .init = setup) {
    enum { T = 150, A = 37, B = 20 };
    static double a[T][A], b[T][B];
    for (int upper = 0; upper < 2; upper++) {
        psc_panels p, q;
        cr_assert_eq(psc_panels_make(&p, NULL, &host, T, A), 0);
        cr_assert_eq(psc_panels_make(&q, NULL, &host, T, upper ? A : B), 0);
        for (int t = 0; t < T; t++) {
            for (int i = 0; i < A; i++) a[t][i] = noise();
            for (int i = 0; i < B; i++) b[t][i] = noise();
            psc_panels_put(&p, t, a[t], A);
            psc_panels_put(&q, t, upper ? a[t] : b[t], upper ? A : B);
        }
        double *out = take(NULL, (uint64_t)(p.n_columns * q.n_columns) * sizeof *out);
        cr_assert_eq(psc_panels_product(out, q.n_columns, &p, &q, upper), 0);
        for (int i = 0; i < A; i++)
            for (int j = upper ? i : 0; j < (upper ? A : B); j++) {
                long double want = 0.0L, size = 0.0L;
                for (int t = 0; t < T; t++) {
                    const long double term =
                        (long double)a[t][i] * (long double)(upper ? a[t][j] : b[t][j]);
                    want += term;
                    size += fabsl(term);
                }
                const double got = out[i * q.n_columns + j];
                cr_assert(fabsl((long double)got - want) <= T * 0x1p-53L * size, "%d %d", i, j);
            }
        free(out);
    }
}

/* Q D Q^T with Q a product of two reflections: eigenvalues known, ties and tiny ones among them. */
static void check_values(int64_t n, double (*value)(int64_t i)) {
    const int64_t stride = n + 3;
    double *a = calloc((size_t)(n * stride), sizeof *a),
           *band = calloc((size_t)n, 18 * sizeof *band);
    double *got = calloc((size_t)n, sizeof *got), *v = calloc((size_t)n, sizeof *v), most = 0.0;
    psc_band b;
    for (int64_t i = 0; i < n; i++) a[i * stride + i] = value(i);
    for (int round = 0; round < 2; round++) {
        double square = 0.0;
        for (int64_t i = 0; i < n; i++) {
            v[i] = noise();
            square += v[i] * v[i];
        }
        for (int side = 0; side < 2; side++)
            for (int64_t i = 0; i < n; i++) {
                double dot = 0.0;
                for (int64_t j = 0; j < n; j++)
                    dot += v[j] * a[side ? j * stride + i : i * stride + j];
                for (int64_t j = 0; j < n; j++)
                    a[side ? j * stride + i : i * stride + j] -= 2.0 * dot / square * v[j];
            }
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) a[i * stride + j] = NAN; /* not read */
    cr_assert_eq(psc_band_make(&b, NULL, &host, n), 0);
    psc_band_reduce(band, &b, a, stride);
    cr_assert_eq(psc_band_values(got, band, band + n * PSC_BAND, n), 0);
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(value(i)));
    for (int64_t i = 0; i < n; i++)
        cr_assert(fabs(got[i] - value(i)) <= 4.0 * (double)n * 0x1p-52 * most,
            "n %lld, value %lld: %a, not %a", (long long)n, (long long)i, got[i], value(i));
    free(a), free(band), free(got), free(v);
}

static double ascending(int64_t i) {
    return (double)i - 7.0;
}
static double tied(int64_t i) {
    return (double)(i / 11);
}
static double spread(int64_t i) {
    return ldexp(1.0, (int)i - 60);
}
static double zero(int64_t i) {
    (void)i;
    return 0.0;
}

Test(band, known_eigenvalues, .init = setup) {
    static const int64_t sizes[] = {1, 2, 5, 15, 16, 17, 31, 32, 33, 50, 100, 131};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        check_values(sizes[s], ascending);
        check_values(sizes[s], tied);
        check_values(sizes[s], spread);
        check_values(sizes[s], zero);
    }
}
