/* The cases of the kernels of neurons' firing; included after the macros of the kernel tests.
 * Private to test_kernels.c.
 * Threads: one test at a time.
 * Ownership: a case frees what it allocates. */
#ifndef FIRING_CASES_H
#define FIRING_CASES_H

static void check_firing(
    const psc_kernels *ref, const psc_kernels *isa, size_t n, size_t rows, fill kind) {
    const size_t ld = n + random_below(5);
    floats x = make_random(rows * ld, random_below(8), kind);
    double *expected = malloc(2 * (n + 1) * sizeof *expected), *got = expected + n + 1;
    cr_assert_not_null(expected);
    for (size_t i = 0; i <= n; i++) expected[i] = got[i] = (double)random_below(9);
    ref->column_sizes(expected, x.data, ld, rows, n);
    isa->column_sizes(got, x.data, ld, rows, n);
    for (size_t i = 0; i <= n; i++)
        CHECK(same_double(expected[i], got[i]), "firing, n %zu, rows %zu, column %zu: %a, not %a",
            n, rows, i, got[i], expected[i]);
    free(expected);
    drop(&x);
}

static void case_column_sizes(const psc_kernels *ref, const psc_kernels *isa) {
    static const size_t ns[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 2049};
    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++)
        for (int kind = 0; kind < FILL_COUNT; kind++)
            for (size_t rows = 0; rows < 5; rows++) check_firing(ref, isa, ns[i], rows, (fill)kind);
}

/* Ties with the limits occur. */
static void run_reach_limits(const psc_kernels *k, const row_run *r) {
    size_t count = 0;
    int32_t *ids = malloc((r->n + 1) * sizeof *ids);
    float *limits = calloc(r->n, sizeof *limits);
    ids[r->n] = -5;
    for (size_t i = 0; i < r->n; i++)
        limits[i] = (i + r->extra[0]) % 3 == 0   ? r->in[0][i]
                    : (i + r->extra[0]) % 3 == 1 ? r->in[1][i]
                                                 : INFINITY;
    k->reach_limits(ids, &count, r->in[0], limits, r->n);
    CHECK(ids[r->n] == -5, "reach_limits writes past its row");
    for (size_t i = 0; i < count; i++) r->out[0][i] = (float)ids[i];
    r->out[1][0] = (float)count;
    free(ids);
    free(limits);
}
ROW_CASE(reach_limits, .n_in = 2, .n_out = 2)

#endif
