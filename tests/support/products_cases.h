/* The case of add_products; included after the macros of the kernel tests.
 * Private to test_kernels.c.
 * Threads: one test at a time.
 * Ownership: a case frees what it allocates. */
#ifndef PRODUCTS_CASES_H
#define PRODUCTS_CASES_H

static double random_double(fill kind) {
    const double value = (double)random_value(kind);
    return kind == FILL_NORMAL ? value + (double)random_value(kind) * 0x1p-24 : value;
}

static void check_products(
    const psc_kernels *ref, const psc_kernels *isa, size_t n, size_t stride, fill kind) {
    const size_t rows = 16 * n + 1, size = 16 * stride;
    double *a = malloc((2 * rows + 2 * size) * sizeof *a);
    cr_assert_not_null(a);
    double *b = a + rows, *expected = b + rows, *got = expected + size;
    for (size_t i = 0; i < 2 * rows + size; i++) a[i] = random_double(kind);
    memcpy(got, expected, size * sizeof *got);
    ref->add_products(expected, stride, a, b, n);
    isa->add_products(got, stride, a, b, n);
    for (size_t i = 0; i < size; i++)
        CHECK(same_double(expected[i], got[i]), "add_products, n %zu, output %zu: %a, not %a", n, i,
            got[i], expected[i]);
    free(a);
}

static void case_add_products(const psc_kernels *ref, const psc_kernels *isa) {
    static const size_t sizes[] = {0, 1, 2, 3, 7, 16, 64, 100, 128, 129};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int kind = 0; kind < FILL_COUNT; kind++)
            for (size_t extra = 0; extra < 4; extra++)
                check_products(ref, isa, sizes[i], 16 + extra, (fill)kind);
}

#endif
