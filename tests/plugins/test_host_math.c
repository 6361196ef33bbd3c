/* The host's mathematics against the forward pass (to the bit) and against plain loops. */
#include "host_fixture.h"

#include <stdatomic.h>

TestSuite(host_math, .init = fixture_open, .fini = fixture_close);

/* y = apply(x) + bias must equal the result of the forward pass. */
static void check_apply(psc_matrix matrix, int32_t layer, const float *x, const float *expected,
    int64_t n_out, int64_t n_rows) {
    float *y = malloc((size_t)(n_rows * n_out) * sizeof *y);
    cr_assert_eq(host->apply(context, matrix, layer, y, x, n_rows), 0);
    const float *bias = host->bias(context, matrix, layer);
    cr_assert_eq(bias == NULL, matrix == PSC_W_U);
    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t o = 0; o < n_out; o++)
            cr_assert_eq(y[r * n_out + o] + (bias ? bias[o] : 0.0f), expected[r * n_out + o]);
    float *part = malloc((size_t)(n_rows * n_out) * sizeof *part);
    const int64_t end = n_out - 3;
    cr_assert_eq(host->apply_outputs(context, matrix, layer, part, x, n_rows, 16, end), 0);
    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t o = 16; o < end; o++)
            cr_assert_eq(part[r * (end - 16) + o - 16], y[r * n_out + o]);
    cr_assert_eq(host->apply_outputs(context, matrix, layer, NULL, x, 0, 16, 16), 0);
    free(part);
    free(y);
}

/* Rows of W are the pull-backs of unit vectors. */
static void check_rows(psc_matrix matrix, int64_t n_out, int64_t n_in) {
    float *rows = malloc((size_t)((n_out - 4) * n_in) * sizeof *rows);
    float *want = malloc((size_t)n_in * sizeof *want), *unit = calloc((size_t)n_out, sizeof *unit);
    cr_assert_eq(host->matrix_rows(context, matrix, 1, rows, 3, n_out - 1), 0);
    for (int64_t o = 3; o < n_out - 1; o++) {
        unit[o] = 1.0f;
        cr_assert_eq(host->pullback(context, matrix, 1, want, unit, 1), 0);
        unit[o] = 0.0f;
        for (int64_t i = 0; i < n_in; i++) cr_assert_eq(rows[(o - 3) * n_in + i], want[i]);
    }
    cr_assert_eq(host->matrix_rows(context, matrix, 1, rows, n_out, n_out), 0);
    free(rows);
    free(want);
    free(unit);
}

/* LN's output from its captured normalized rows. */
static float *affine(const char *name, psc_ln which, int32_t layer, int64_t n) {
    const float *gamma, *beta, *x = captured(name);
    cr_assert_eq(host->ln_parameters(context, which, layer, &gamma, &beta), 0);
    float *y = malloc((size_t)(10 * n) * sizeof *y);
    for (int64_t i = 0; i < 10 * n; i++) y[i] = fmaf(x[i], gamma[i % n], beta[i % n]);
    return y;
}

static int apply_is_the_forward_pass(void) {
    int32_t n = host->model(context)->d_model, m = host->model(context)->d_mlp;
    check_rows(PSC_W_K, n, n);
    check_rows(PSC_W_IN, m, n);
    check_rows(PSC_W_OUT, n, m);
    float *ln1 = affine("blocks.1.ln1.hook_normalized", PSC_LN1, 1, n);
    check_apply(PSC_W_Q, 1, ln1, captured("blocks.1.attn.hook_q"), n, 10);
    check_apply(PSC_W_K, 1, ln1, captured("blocks.1.attn.hook_k"), n, 10);
    check_apply(PSC_W_V, 1, ln1, captured("blocks.1.attn.hook_v"), n, 10);
    check_apply(
        PSC_W_O, 1, captured("blocks.1.attn.hook_z"), captured("blocks.1.hook_attn_out"), n, 10);
    float *ln2 = affine("blocks.1.ln2.hook_normalized", PSC_LN2, 1, n);
    check_apply(PSC_W_IN, 1, ln2, captured("blocks.1.mlp.hook_pre"), m, 10);
    check_apply(
        PSC_W_OUT, 1, captured("blocks.1.mlp.hook_post"), captured("blocks.1.hook_mlp_out"), n, 10);
    float *final = affine("ln_final.hook_normalized", PSC_LN_FINAL, -1, n);
    check_apply(PSC_W_U, -1, final, captured("hook_logits"), host->model(context)->d_vocab, 10);
    free(ln1);
    free(ln2);
    free(final);
    return 0;
}

static void check_apply_on(const char *name) {
    psc_session_close(&session);
    psc_model_close(&model);
    open_session(name, 4, 3);
    static const char *const points[] = {"blocks.*.ln1.hook_normalized", "blocks.*.attn.hook_q",
        "blocks.*.attn.hook_k", "blocks.*.attn.hook_v", "blocks.*.attn.hook_z",
        "blocks.*.hook_attn_out", "blocks.*.ln2.hook_normalized", "blocks.*.mlp.hook_pre",
        "blocks.*.mlp.hook_post", "blocks.*.hook_mlp_out", "ln_final.hook_normalized",
        "hook_logits"};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) must_capture(points[i]);
    cr_assert_eq(run_with(NULL, apply_is_the_forward_pass), PSC_OK, "%s", error.message);
}

Test(host_math, apply_f32) {
    check_apply_on("parallel_f32");
}
Test(host_math, apply_f16) {
    check_apply_on("old_f16");
}
Test(host_math, apply_without_attention_biases) {
    check_apply_on("no_attention_bias");
}

/* W [out, in] row by row, by applying it to unit vectors. */
static float *whole_matrix(psc_matrix matrix, int32_t layer, int64_t out, int64_t in) {
    float *unit = calloc((size_t)(in * in), sizeof *unit);
    float *columns = malloc((size_t)(in * out) * sizeof *columns);
    float *w = malloc((size_t)(in * out) * sizeof *w);
    for (int64_t i = 0; i < in; i++) unit[i * in + i] = 1.0f;
    cr_assert_eq(host->apply(context, matrix, layer, columns, unit, in), 0);
    for (int64_t i = 0; i < in; i++)
        for (int64_t o = 0; o < out; o++) w[o * in + i] = columns[i * out + o];
    free(unit);
    free(columns);
    return w;
}

static double norm_of(const float *x, int64_t n, int64_t stride, int centered) {
    double mean = 0, sum = 0;
    for (int64_t i = 0; centered && i < n; i++) mean += (double)x[i * stride] / (double)n;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)x[i * stride] - mean;
        sum += d * d;
    }
    return sqrt(sum);
}

static void check_matrix(psc_matrix matrix, int32_t layer, int64_t out, int64_t in) {
    float *w = whole_matrix(matrix, layer, out, in), u[3 * 256], y[3 * 256];
    double rows[256], columns[256];
    for (int64_t i = 0; i < 3 * out; i++) u[i] = sinf((float)i) + 0.1f;
    cr_assert_eq(host->pullback(context, matrix, layer, y, u, 3), 0);
    for (int64_t r = 0; r < 3; r++) {
        for (int64_t i = 0; i < in; i++) {
            double sum = 0;
            for (int64_t o = 0; o < out; o++) sum += (double)w[o * in + i] * (double)u[r * out + o];
            cr_assert_float_eq(y[r * in + i], sum, 1e-5);
        }
    }
    for (int centered = 0; centered <= 1; centered++) {
        cr_assert_eq(host->row_norms(context, matrix, layer, centered, rows), 0);
        cr_assert_eq(host->column_norms(context, matrix, layer, centered, columns), 0);
        for (int64_t o = 0; o < out; o++)
            cr_assert_float_eq(rows[o], norm_of(w + o * in, in, 1, centered), 1e-12);
        for (int64_t i = 0; i < in; i++)
            cr_assert_float_eq(columns[i], norm_of(w + i, out, in, centered), 1e-12);
    }
    free(w);
}

static int matrices(void) {
    const psc_model_info *info = host->model(context);
    check_matrix(PSC_W_V, 0, info->d_model, info->d_model);
    check_matrix(PSC_W_O, 1, info->d_model, info->d_model);
    check_matrix(PSC_W_IN, 0, info->d_mlp, info->d_model);
    check_matrix(PSC_W_OUT, 1, info->d_model, info->d_mlp);
    check_matrix(PSC_W_U, -1, info->d_vocab, info->d_model);
    float *w = whole_matrix(PSC_W_U, -1, info->d_vocab, info->d_model), row[64];
    cr_assert_eq(host->unembedding(context, 41, row), 0);
    cr_assert_arr_eq(row, w + 41 * info->d_model, (size_t)info->d_model * sizeof *row);
    for (int32_t i = 0; i < info->d_model; i++) {
        double mean = 0;
        for (int32_t t = 0; t < info->d_vocab; t++) mean += (double)w[t * info->d_model + i];
        cr_assert_float_eq(host->unembedding_mean(context)[i], mean / info->d_vocab, 1e-6);
    }
    free(w);
    return 0;
}

/* Parts of pull-backs, heads' writes and products with own panels have the bits of the whole. */
static int parts_of_products(void) {
    const psc_model_info *info = host->model(context);
    const int64_t n = info->d_model, d = info->d_head;
    static float u[3 * 64], part[3 * 64], y[3 * 64], want[3 * 64], writes[3 * 8 * 64];
    static _Alignas(64) float panels[64 * 16];
    cr_assert_leq(n, 64);
    for (int64_t i = 0; i < 3 * n; i++) u[i] = i % n < 16 ? 0.0f : sinf((float)i);
    for (int64_t r = 0; r < 3; r++)
        for (int64_t o = 16; o < n; o++) part[r * (n - 16) + o - 16] = u[r * n + o];
    cr_assert_eq(host->pullback(context, PSC_W_Q, 1, want, u, 3), 0);
    cr_assert_eq(host->pullback_outputs(context, PSC_W_Q, 1, y, part, 3, 16, n), 0);
    for (int64_t i = 0; i < 3 * n; i++) cr_assert_float_eq(y[i], want[i], 1e-6);
    cr_assert_eq(host->pullback_outputs(context, PSC_W_Q, 1, y, part, 3, 16, 16), 0);
    for (int64_t i = 0; i < 3 * n; i++) cr_assert_eq(y[i], 0.0f);
    cr_assert_eq(host->head_writes(context, 1, writes, u, 3), 0);
    for (int32_t h = 0; h < info->n_heads; h++) {
        memset(part, 0, sizeof part);
        for (int64_t r = 0; r < 3; r++)
            memcpy(part + r * n + h * d, u + r * n + h * d, (size_t)d * sizeof *u);
        cr_assert_eq(host->apply(context, PSC_W_O, 1, want, part, 3), 0);
        for (int64_t r = 0; r < 3; r++)
            for (int64_t i = 0; i < n; i++)
                cr_assert_eq(writes[(r * info->n_heads + h) * n + i], want[r * n + i]);
    }
    float *rows = whole_matrix(PSC_W_Q, 1, n, n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t o = 0; o < 16; o++) panels[i * 16 + o] = rows[o * n + i];
    cr_assert_eq(host->apply_outputs(context, PSC_W_Q, 1, want, u, 3, 0, 16), 0);
    cr_assert_eq(host->panel_products(context, y, u, panels, 3, n, 1), 0);
    cr_assert_arr_eq(y, want, 3 * 16 * sizeof *y);
    free(rows);
    return 0;
}

Test(host_math, parts_of_products) {
    cr_assert_eq(run_with(NULL, parts_of_products), PSC_OK, "%s", error.message);
}

Test(host_math, pullback_norms_and_rows) {
    cr_assert_eq(run_with(NULL, matrices), PSC_OK, "%s", error.message);
    fixture_close();
    host = NULL;
    open_session("old_f16", 0, 3);
    cr_assert_eq(run_with(NULL, matrices), PSC_OK, "%s", error.message);
}

static int functions(void) {
    float x[40], y[40];
    double z[40];
    for (int i = 0; i < 40; i++) x[i] = 0.2f * (float)(i - 20), z[i] = 0.5 + i;
    host->exp(context, 40, y, x);
    for (int i = 0; i < 40; i++) cr_assert_float_eq(y[i], expf(x[i]), 1e-4);
    host->erf(context, 40, y, x);
    for (int i = 0; i < 40; i++) cr_assert_float_eq(y[i], erff(x[i]), 1e-6);
    host->tanh(context, 40, y, x);
    for (int i = 0; i < 40; i++) cr_assert_float_eq(y[i], tanhf(x[i]), 1e-6);
    host->log(context, 40, z, z);
    for (int i = 0; i < 40; i++) cr_assert_float_eq(z[i], log(0.5 + i), 1e-14);
    double sum = 0, product = 0;
    for (int i = 0; i < 40; i++) sum += exp((double)x[i]), product += (double)x[i] * (double)x[i];
    cr_assert_float_eq(host->log_sum_exp(context, 40, x), log(sum), 1e-12);
    cr_assert_float_eq(host->dot(context, 40, x, x), product, 1e-4);
    cr_assert_eq(host->dot(context, 0, x, x), 0.0f);
    cr_assert(isinf(host->log_sum_exp(context, 0, x)));
    const psc_reductions *reductions = host->reductions(context);
    double sums[2];
    cr_assert_eq(reductions->struct_size, sizeof *reductions);
    reductions->exp_row(y, sums, x, x[39], 40);
    cr_assert_float_eq(log(sums[0]) + (double)x[39], log(sum), 1e-12);
    double w[39], parts[3], entropy = 0.0; /* of the row x[1..], which no vector is aligned to */
    reductions->weigh(w, parts, x + 1, x[39], 1.0, 39);
    for (int i = 1; i < 40; i++) {
        const double log_p = (double)x[i] - log(sum - exp((double)x[0]));
        entropy -= exp(log_p) * log_p;
    }
    cr_assert_float_eq(log(parts[0]) - parts[2] / parts[0], entropy, 1e-12);
    return 0;
}

Test(host_math, functions) {
    cr_assert_eq(run_with(NULL, functions), PSC_OK, "%s", error.message);
}

static atomic_int times[1000];
static float applied[2][128];

static void touch(int64_t begin, int64_t end, int32_t thread, void *payload) {
    (void)payload;
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&times[i], 1);
    float x[32] = {1.0f, 2.0f};
    (void)thread; /* any thread takes the next part */
    host->apply(context, PSC_W_IN, 0, applied[begin > 0], x, 1);
}

static int in_parallel(void) {
    float x[32] = {1.0f, 2.0f}, y[128];
    host->parallel_for(context, 1000, touch, NULL);
    host->parallel_for(context, 0, touch, NULL);
    for (int i = 0; i < 1000; i++) cr_assert_eq(times[i], 1);
    host->apply(context, PSC_W_IN, 0, y, x, 1);
    for (int t = 0; t < 2; t++) cr_assert_arr_eq(y, applied[t], sizeof y);
    return 0;
}

Test(host_math, parallel_for_covers_the_range_once) {
    cr_assert_eq(run_with(NULL, in_parallel), PSC_OK, "%s", error.message);
}

/* The ids of the order z descending, ties to the lower id: whether a comes before b. */
static bool comes_before(const float *z, int32_t a, int32_t b) {
    return z[a] > z[b] || (z[a] == z[b] && a < b);
}

/* The prefix of the shortest length whose weights (null: 1 each) reach target, by counting. */
static void check_prefix(const float *z, int32_t n, const double *weights, double target) {
    psc_kept_prefix got = {.struct_size = sizeof got};
    int32_t scratch[80], count = 0;
    cr_assert_eq(host->prefix(context, &got, z, weights, target, scratch), 0);
    for (int32_t i = 0; i < n; i++) {
        double before = 0.0;
        for (int32_t j = 0; j < n; j++)
            if (comes_before(z, j, i)) before += weights ? weights[j] : 1.0;
        const bool wanted = before < target;
        const bool holds = z[i] > got.bound || (z[i] == got.bound && i <= got.last);
        cr_assert_eq(holds, wanted, "token %d, target %g", (int)i, target);
        count += wanted;
    }
    cr_assert_eq(got.n, count, "%d are count, not %d", (int)got.n, (int)count);
}

static int prefixes(void) {
    const int32_t n = host->model(context)->d_vocab;
    const float *logits = captured("hook_logits");
    float tied[80];
    double weights[80]; /* their sums are exact in any order */
    cr_assert_eq(n, 80);
    for (int32_t i = 0; i < n; i++) {
        tied[i] = (float)(i * 7 % 5);
        weights[i] = (double)(i * 11 % 16 + 1) / 1024.0;
    }
    for (int32_t row = 0; row < 11; row++) {
        const float *z = row < 10 ? logits + (int64_t)row * n : tied;
        for (int32_t k = 1; k <= n; k += 13) check_prefix(z, n, NULL, k);
        for (int share = 1; share < 10; share++) check_prefix(z, n, weights, 0.07 * share);
    }
    return 0;
}

Test(host_math, prefix) {
    must_capture("hook_logits");
    cr_assert_eq(run_with(NULL, prefixes), PSC_OK, "%s", error.message);
}
