/* The case of add_moments; included after the macros of the kernel tests.
 * Private to test_kernels.c.
 * Threads: one test at a time.
 * Ownership: a case frees what it allocates. */
#ifndef MOMENTS_CASES_H
#define MOMENTS_CASES_H

/* The four statistics of n columns and one element more, which stays as it is. */
static void check_moments(
    const psc_kernels *ref, const psc_kernels *isa, size_t n, size_t rows, fill kind) {
    const size_t ld = n + random_below(5), each = n + 1;
    floats x = make_random(rows * ld, random_below(8), kind);
    double *tables = malloc(8 * each * sizeof *tables), *got = tables + 4 * each;
    cr_assert_not_null(tables);
    for (size_t i = 0; i < 4 * each; i++) tables[i] = (double)random_value(kind);
    for (size_t i = 0; i < n && random_below(2); i++) {
        tables[2 * each + i] = INFINITY;
        tables[3 * each + i] = -INFINITY;
    }
    memcpy(got, tables, 4 * each * sizeof *got);
    for (int t = 0; t < 2; t++) {
        double *to = t ? got : tables;
        (t ? isa : ref)
            ->add_moments(to, to + each, to + 2 * each, to + 3 * each, x.data, ld, rows, n);
    }
    for (size_t i = 0; i < 4 * each; i++)
        CHECK(same_double(tables[i], got[i]),
            "add_moments, n %zu, rows %zu, element %zu: %a, not %a", n, rows, i, got[i], tables[i]);
    free(tables);
    drop(&x);
}

static void case_add_moments(const psc_kernels *ref, const psc_kernels *isa) {
    static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100, 768, 2049};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int kind = 0; kind < FILL_COUNT; kind++)
            for (size_t rows = 0; rows < 6; rows++)
                check_moments(ref, isa, sizes[i], rows, (fill)kind);
}

#endif
