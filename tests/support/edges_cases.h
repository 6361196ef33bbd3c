/* The cases of the kernels of attention's edges and of edges between components; included after the macros of the kernel tests.
 * Private to test_kernels.c.
 * Threads: one test at a time.
 * Ownership: a case frees what it allocates. */
#ifndef EDGES_CASES_H
#define EDGES_CASES_H

static void check_dots(const psc_kernels *ref, const psc_kernels *isa, size_t size, size_t rows,
    size_t n_panels, fill kind) {
    const size_t ldy = 16 * n_panels + random_below(3);
    floats u = make_random(rows * (size + 3) + 1, random_below(8), kind);
    floats panels = make_random(n_panels * size * 16, 0, kind);
    floats expected = make_output(rows * ldy, 0), got = make_output(rows * ldy, 0);
    const float *x[8];
    for (size_t r = 0; r < rows; r++) x[r] = u.data + (rows - 1 - r) * (size + 3);
    ref->panel_dots(expected.data, ldy, x, panels.data, rows, size, n_panels);
    isa->panel_dots(got.data, ldy, x, panels.data, rows, size, n_panels);
    expect_same(&expected, &got, "panel_dots", size);
    for (size_t i = 0; i < rows * n_panels; i++) { /* the bits of dot */
        const size_t r = i % rows, key = i / rows * 16 + random_below(16);
        float v[300], dot = 0.0f;
        for (size_t k = 0; k < size; k++) v[k] = panels.data[(key / 16 * size + k) * 16 + key % 16];
        ref->dot(&dot, x[r], v, size);
        CHECK(same_float(dot, got.data[r * ldy + key]), "panel_dots is not dot, size %zu", size);
    }
    drop(&u);
    drop(&panels);
    drop(&expected);
    drop(&got);
}

static void case_panel_dots(const psc_kernels *ref, const psc_kernels *isa) {
    static const size_t sizes[] = {1, 3, 8, 15, 16, 17, 31, 33, 64, 80, 100, 128, 256};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int kind = 0; kind < FILL_COUNT; kind++)
            for (size_t rows = 0; rows <= 7; rows++)
                check_dots(ref, isa, sizes[i], rows, random_below(4), (fill)kind);
}

static void case_gram_squares(const psc_kernels *ref, const psc_kernels *isa) {
    static const size_t sizes[] = {1, 2, 3, 4, 5, 8, 15, 16, 33, 64, 100};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int kind = 0; kind < FILL_COUNT; kind++) {
            const size_t n = sizes[i];
            double *gram = malloc((n * n + 16 * n) * sizeof *gram), *lanes = gram + n * n;
            double expected[17] = {0}, got[17] = {0};
            cr_assert_not_null(gram);
            for (size_t j = 0; j < n * n + 16 * n; j++) gram[j] = random_double((fill)kind);
            expected[16] = got[16] = 7.0;
            ref->gram_squares(expected, gram, lanes, n);
            isa->gram_squares(got, gram, lanes, n);
            for (int j = 0; j < 17; j++)
                CHECK(same_double(expected[j], got[j]),
                    "gram_squares, size %zu, lane %d: %a, not %a", n, j, got[j], expected[j]);
            free(gram);
        }
}

/* Zero weights of both signs and ties with the bound occur. */
static void run_edge_sums(const psc_kernels *k, const row_run *r) {
    double sums[3];
    size_t count = 0;
    int32_t *ids = malloc((r->n + 1) * sizeof *ids);
    float *a = calloc(r->n, sizeof *a);
    const float *b = r->extra[0] % 3 == 0 ? NULL : r->extra[0] % 3 == 1 ? r->in[1] : r->in[2];
    const size_t at = r->extra[1] % r->n;
    ids[r->n] = -5;
    for (size_t i = 0; i < r->n; i++)
        a[i] = (i + r->extra[2]) % 5 ? r->in[0][i] : i % 2 ? 0.0f : -0.0f;
    const double tie = fabs((double)a[at] * (b ? (double)b[at] : 1.0));
    k->edge_sums(sums, ids, &count, a, r->in[1], b, r->extra[2] % 4 ? tie : -INFINITY, r->n);
    CHECK(ids[r->n] == -5, "edge_sums writes past its row");
    for (size_t i = 0; i < count; i++) r->out[0][i] = (float)ids[i];
    put_double(r->out[1], sums[0]);
    put_double(r->out[1] + 4, sums[1]);
    r->out[1][8] = (float)sums[2];
    r->out[1][9] = (float)count;
    free(ids);
    free(a);
}
ROW_CASE(edge_sums, .n_in = 3, .n_out = 2)

/* share of 16: how many terms a row's sets name. The padding between rows stays. */
static void check_subsets(const psc_kernels *ref, const psc_kernels *isa, size_t n, size_t rows,
    size_t n_terms, uint32_t share, fill kind) {
    const size_t ldy = n + random_below(20), ld_terms = n + random_below(20);
    const size_t ld_sets = (n_terms + 15) / 16 * 4 + random_below(3);
    floats terms = make_random(n_terms * ld_terms + 1, random_below(8), kind);
    floats expected = make_output(rows * ldy + 1, 0), got = make_output(rows * ldy + 1, 0);
    uint8_t *sets = calloc(rows * ld_sets + 1, 1);
    cr_assert_not_null(sets);
    for (size_t r = 0; r < rows; r++)
        for (size_t t = 0; t < n_terms; t++)
            if (random_below(16) < share) sets[r * ld_sets + t / 4] |= (uint8_t)(1u << (t % 4));
    psc_subsets s = {expected.data, ldy, sets, ld_sets, terms.data, ld_terms, n_terms, rows, n};
    ref->subset_sums(&s);
    s.y = got.data;
    isa->subset_sums(&s);
    expect_same(&expected, &got, "subset_sums", n);
    free(sets);
    drop(&terms);
    drop(&expected);
    drop(&got);
}

static void case_subset_sums(const psc_kernels *ref, const psc_kernels *isa) {
    static const size_t sizes[] = {1, 3, 7, 8, 15, 16, 17, 63, 64, 65, 100, 128, 200, 768};
    static const size_t terms[] = {1, 2, 4, 5, 15, 16, 17, 40, 1100};
    static const uint32_t shares[] = {0, 1, 8, 16};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t t = 0; t < sizeof terms / sizeof *terms; t++)
            for (int kind = 0; kind < FILL_COUNT; kind++) {
                if (terms[t] > 100 && sizes[i] > 100) continue;
                check_subsets(ref, isa, sizes[i], random_below(30), terms[t],
                    shares[random_below(4)], (fill)kind);
            }
}

#endif
