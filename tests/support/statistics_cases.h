/* The cases of the statistics over rows; included after the macros of the kernel tests.
 * Private to test_kernels.c.
 * Threads: one test at a time.
 * Ownership: a case frees what it allocates. */
#ifndef STATISTICS_CASES_H
#define STATISTICS_CASES_H

/* The row's elements as rows of a third of it, and the columns' counts as floats. */
static void run_count_columns(const psc_kernels *k, const row_run *r) {
    const size_t rows = r->n < 3 ? 1 : 3, n = r->n / rows, n_bounds = 1 + r->extra[0] % 13;
    const size_t used = n_bounds < r->n ? n_bounds : r->n;
    int32_t *counts = malloc((used * (n + 1) + 1) * sizeof *counts);
    for (size_t i = 0; i <= used * (n + 1); i++) counts[i] = (int32_t)i;
    k->count_columns(counts, n + 1, r->in[0], n, rows, n, r->in[1], used);
    double total = 0.0;
    for (size_t b = 0; b < used; b++) {
        CHECK(counts[b * (n + 1) + n] == (int32_t)(b * (n + 1) + n),
            "count_columns writes past its columns");
        for (size_t i = 0; i < n; i++)
            total += (double)(counts[b * (n + 1) + i] * (int)(i + 1 + b));
    }
    for (size_t i = 0; i < n; i++) r->out[0][i] = (float)counts[i];
    put_double(r->out[1], total);
    free(counts);
}
ROW_CASE(count_columns, .n_in = 2, .n_out = 2)

static void run_bin_columns(const psc_kernels *k, const row_run *r) {
    const size_t rows = r->n < 3 ? 1 : 3, n = r->n / rows, bins = 1 + r->extra[0] % 40;
    int32_t *counts = calloc(n * bins + 1, sizeof *counts), sum = 0;
    counts[n * bins] = -5;
    k->bin_columns(counts, r->in[0], n, rows, n, (float)bins / 16.0f, 0.5f * (float)bins, bins);
    CHECK(counts[n * bins] == -5, "bin_columns writes past its bins");
    double total = 0.0;
    for (size_t i = 0; i < n * bins; i++) sum += counts[i];
    for (size_t i = 0; i < n * bins; i++) total += (double)counts[i] * (double)(i + 1);
    CHECK(sum == (int32_t)(rows * n), "bin_columns counts each element once");
    put_double(r->out[0], total);
    free(counts);
}
ROW_CASE(bin_columns, .n_in = 1, .n_out = 1)

static void run_weight_sums(const psc_kernels *k, const row_run *r) {
    double sums[2], *a = malloc(r->n * sizeof *a);
    for (size_t i = 0; i < r->n; i++) a[i] = 0.7 * (double)r->in[1][i];
    k->weight_sums(sums, a, r->in[0], r->n);
    put_doubles(r->out[0], sums, 2);
    free(a);
}
ROW_CASE(weight_sums, .n_in = 2, .n_out = 1)

static void run_pattern_sums(const psc_kernels *k, const row_run *r) {
    double sums[4];
    k->pattern_sums(sums, r->in[0], r->n);
    put_doubles(r->out[0], sums, 4);
}
ROW_CASE(pattern_sums, .n_in = 1, .n_out = 1)

#endif
