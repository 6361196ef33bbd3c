/* The cases of the reductions over the vocabulary; included after the macros of the kernel tests.
 * Private to test_kernels.c.
 * Threads: one test at a time.
 * Ownership: a case frees what it allocates. */
#ifndef VOCABULARY_CASES_H
#define VOCABULARY_CASES_H

static void put_doubles(float *out, const double *values, int n) {
    for (int i = 0; i < n; i++) put_double(out + 4 * i, values[i]);
}

/* The greatest of a row, or 0 for a row of -inf and NaN alone. */
static float greatest(const float *x, size_t n) {
    float most = -INFINITY;
    for (size_t i = 0; i < n; i++) most = x[i] > most ? x[i] : most;
    return most == -INFINITY ? 0.0f : most;
}

static void run_exp_row(const psc_kernels *k, const row_run *r) {
    double sums[2];
    k->exp_row(r->out[0], sums, r->in[0], greatest(r->in[0], r->n), r->n);
    put_doubles(r->out[1], sums, 2);
}
ROW_CASE(exp_row, .n_in = 1, .n_out = 2)

/* The weights' bits are compared by a sum that depends on their order. */
static void run_weigh(const psc_kernels *k, const row_run *r) {
    double sums[4] = {0}, *w = malloc((r->n + 1) * sizeof *w);
    w[r->n] = 7.0;
    k->weigh(w, sums, r->in[0], greatest(r->in[0], r->n), 0.25 * (1 + r->extra[0] % 8), r->n);
    for (size_t i = 0; i < r->n; i++) r->out[0][i] = (float)w[i];
    for (size_t i = 0; i < r->n; i++) sums[3] += w[i] * (double)(i + 1);
    CHECK(w[r->n] == 7.0, "weigh writes past its row");
    put_doubles(r->out[1], sums, 4);
    free(w);
}
ROW_CASE(weigh, .n_in = 1, .n_out = 2)

static void run_weigh_both(const psc_kernels *k, const row_run *r) {
    double sums[6] = {0}, *w = malloc((2 * r->n + 1) * sizeof *w);
    const double by = 0.25 * (1 + r->extra[0] % 8);
    w[2 * r->n] = 7.0;
    k->weigh_both(w, w + r->n, sums, r->in[0], greatest(r->in[0], r->n), by, r->n);
    for (size_t i = 0; i < r->n; i++) r->out[0][i] = (float)w[r->n + i];
    for (size_t i = 0; i < r->n; i++) sums[4] += w[i] * (double)(i + 1);
    for (size_t i = 0; i < r->n; i++) sums[5] += w[r->n + i] * (double)(i + 1);
    CHECK(w[2 * r->n] == 7.0, "weigh_both writes past its row");
    put_doubles(r->out[1], sums, 6);
    free(w);
}
ROW_CASE(weigh_both, .n_in = 1, .n_out = 2)

static void run_masked_sums(const psc_kernels *k, const row_run *r) {
    double sums[4], *a = malloc(2 * r->n * sizeof *a), *b = a + r->n;
    for (size_t i = 0; i < r->n; i++) a[i] = fabs((double)r->in[1][i]);
    for (size_t i = 0; i < r->n; i++) b[i] = fabs((double)r->in[2][i]);
    k->masked_sums(sums, r->in[0], r->in[0][r->extra[1] % r->n], a, r->extra[0] % 3 ? b : NULL, 0.7,
        1.5, r->n);
    put_doubles(r->out[0], sums, 4);
    free(a);
}
ROW_CASE(masked_sums, .n_in = 3, .n_out = 1)

static void run_divergence_sums(const psc_kernels *k, const row_run *r) {
    double sums[4];
    const float most = r->extra[0] % 4 ? greatest(r->in[0], r->n) : r->in[0][0];
    k->divergence_sums(sums, r->in[0], most, r->in[1], r->in[2], r->n);
    put_doubles(r->out[0], sums, 4);
}
ROW_CASE(divergence_sums, .n_in = 3, .n_out = 1)

static void run_change_moments(const psc_kernels *k, const row_run *r) {
    double sums[6];
    const double by = r->extra[0] % 3 ? -(double)(r->extra[0] % 3 - 1) : (double)r->in[2][0];
    k->change_moments(sums, r->in[0], r->in[1], by, r->in[2], r->n);
    put_doubles(r->out[0], sums, 6);
}
ROW_CASE(change_moments, .n_in = 3, .n_out = 1)

/* Ties with the bound, and exponentials that overflow, occur too. */
static void run_change_sums(const psc_kernels *k, const row_run *r) {
    double sums[6];
    double t[6] = {(double)r->in[1][0], r->extra[0] % 2 ? 0.0 : 0.125, 0.5, (double)r->in[0][0],
        (double)greatest(r->in[2], r->n), 0.0};
    t[5] = ((double)r->in[2][0] - t[4]) + (t[0] * (double)r->in[0][0] + t[1] * (double)r->in[1][0]);
    k->change_sums(sums, r->in[0], r->in[1], r->extra[1] % 4 ? r->in[2] : NULL, t, r->n);
    put_doubles(r->out[0], sums, 6);
}
ROW_CASE(change_sums, .n_in = 3, .n_out = 1)

static void run_add_writes(const psc_kernels *k, const row_run *r) {
    double *sum = malloc((r->n + 1) * sizeof *sum), total = 0.0;
    for (size_t i = 0; i <= r->n; i++) sum[i] = 0.5 * (double)r->in[2][i % r->n];
    const double past = sum[r->n];
    k->add_writes(sum, r->out[0], r->out[1], r->in[0], r->extra[0] % 3 ? r->in[1] : NULL, r->in[2],
        1.5, r->n);
    for (size_t i = 0; i < r->n; i++) total += sum[i] * (double)(i + 1);
    CHECK(same_double(sum[r->n], past), "add_writes writes past its row");
    if (r->n + 4 <= 64) put_double(r->out[1] + r->n, total);
    free(sum);
}
ROW_CASE(add_writes, .n_in = 3, .n_out = 2)

/* A row of at most 64 groups, and canaries behind it. */
static void run_group_maxima(const psc_kernels *k, const row_run *r) {
    const size_t n = r->n < 1024 ? r->n : 1024;
    k->group_maxima(r->out[0], r->in[0], n);
}
ROW_CASE(group_maxima, .n_in = 1, .n_out = 1)

static void run_indices_within(const psc_kernels *k, const row_run *r) {
    size_t count = 0;
    int32_t *ids = malloc((r->n + 1) * sizeof *ids);
    ids[r->n] = -5;
    const float limit = r->extra[0] % 4 == 0 ? -INFINITY : r->in[0][r->extra[1] % r->n];
    const float high = r->extra[2] % 2 ? INFINITY : r->in[0][r->extra[2] % r->n];
    k->indices_within(ids, &count, r->in[0], r->n, limit, high);
    CHECK(ids[r->n] == -5, "indices_within writes past its row");
    for (size_t i = 0; i < count; i++) r->out[0][i] = (float)ids[i];
    r->out[1][0] = (float)count;
    free(ids);
}
ROW_CASE(indices_within, .n_in = 1, .n_out = 2)

static void run_count_from(const psc_kernels *k, const row_run *r) {
    int64_t counts[2];
    k->count_from(counts, r->in[0], r->n, r->in[0][r->extra[1] % r->n]);
    for (int i = 0; i < 2; i++) r->out[0][i] = (float)counts[i];
}
ROW_CASE(count_from, .n_in = 1, .n_out = 1)

#endif
