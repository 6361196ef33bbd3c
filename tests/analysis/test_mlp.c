/* The plugin mlp: every array against float64, identities, bits. */
#include "ln_mlp_fixture.h"

#include <lapacke.h>

#define TOLERANCE 5e-6

static const char *const arrays[] = {"mlp.pre", "mlp.gate", "mlp.post", "mlp.fires",
    "mlp.participation", "mlp.share_participation", "mlp.relu_error", "mlp.relu_error_target",
    "mlp.top_share", "mlp.top_layer", "mlp.top_neuron", "mlp.top_pre", "mlp.top_gate",
    "mlp.target_ids", NULL};

static const fixture_run all_rows = {
    .plugin = "mlp", .options = "rows=all,target_rows=all,top=6,arrays=all", .threads = 1};

static void check_golden(const char *name) {
    psc_model *model = must_model(golden_path(name, NULL));
    psc_session *session = fixture_session(model, &all_rows);
    cr_assert_eq(compare_golden(session, name, "mlp.", TOLERANCE), 11, "%s", name);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(mlp, arrays_are_float64s) {
    check_golden("parallel_f32");
    check_golden("sequential_f32");
    check_golden("tied_f32");
    check_golden("gelu_fast");
}

/* The gate equals the forward pass's own: pre times gate is hook_post to the bit. */
Test(mlp, gate_is_the_forward_pass_s) {
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    psc_session *session = fixture_session(model, &all_rows);
    const psc_array pre = must_array(session, "mlp.pre"), gate = must_array(session, "mlp.gate");
    const psc_array post = must_array(session, "mlp.post");
    const float *a = pre.data, *phi = gate.data, *g = post.data;
    const int64_t count = array_count(&pre);
    for (int64_t i = 0; i < count; i++)
        cr_assert_eq(a[i] * phi[i], g[i], "element %ld of a = %.9g", (long)i, (double)a[i]);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* With top = all neurons, each is listed once, in descending order of size. */
Test(mlp, list_is_ordered) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    fixture_run how = all_rows;
    how.options = "target_rows=all,top=256,arrays=none";
    psc_session *session = fixture_session(model, &how);
    const psc_array share = must_array(session, "mlp.top_share");
    const psc_array neuron = must_array(session, "mlp.top_neuron");
    const psc_array layer = must_array(session, "mlp.top_layer");
    const psc_model_info *info = psc_model_get_info(model);
    const int64_t n = share.shape[2];
    cr_assert_eq(n, info->n_layers * info->d_mlp);
    char seen[256];
    for (int64_t cell = 0; cell < share.shape[0] * share.shape[1]; cell++) {
        memset(seen, 0, sizeof seen);
        for (int64_t i = cell * n; i < (cell + 1) * n; i++) {
            if (isnan(array_at(&share, i))) continue;
            const int at = (int)(array_at(&layer, i) * info->d_mlp + array_at(&neuron, i));
            cr_assert_eq(seen[at]++, 0, "a neuron is listed twice");
            if (i > cell * n)
                cr_assert_leq(fabs(array_at(&share, i)), fabs(array_at(&share, i - 1)));
        }
    }
    psc_session_close(&session);
    psc_model_close(&model);
}

/* fires counts the rows with a > 0, and needs no arrays kept. */
Test(mlp, fires_counts) {
    psc_model *model = must_model(golden_path("sequential_f32", NULL));
    psc_session *session = fixture_session(model, &all_rows);
    fixture_run how = all_rows;
    how.options = "arrays=none";
    psc_session *none = fixture_session(model, &how);
    const psc_array pre = must_array(session, "mlp.pre"), fires = must_array(none, "mlp.fires");
    const int64_t m = pre.shape[2];
    for (int64_t i = 0; i < array_count(&fires); i++) {
        int count = 0;
        for (int64_t r = 0; r < N_IDS; r++)
            count += array_at(&pre, ((i / m) * N_IDS + r) * m + i % m) > 0.0;
        cr_assert_eq(array_at(&fires, i), count);
    }
    psc_array array;
    cr_assert_neq(psc_session_array(none, "mlp.gate", &array, NULL), PSC_OK);
    psc_session_close(&none);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* Shares of fewer rows equal those of all rows, to the bit. */
Test(mlp, fewer_rows_same_values) {
    psc_model *model = must_model(golden_path("tied_f32", NULL));
    fixture_run how = all_rows;
    psc_session *all = fixture_session(model, &how);
    how.options = "rows=2-4,target_rows=3,top=6";
    psc_session *few = fixture_session(model, &how);
    const psc_array gate = must_array(all, "mlp.gate"), some = must_array(few, "mlp.gate");
    const psc_array share = must_array(all, "mlp.top_share"),
                    one = must_array(few, "mlp.top_share");
    const int64_t m = gate.shape[2];
    cr_assert_eq(some.shape[1], 3);
    for (int64_t i = 0; i < array_count(&some); i++) {
        const int64_t l = i / (3 * m), r = i / m % 3;
        cr_assert_eq(array_at(&some, i), array_at(&gate, (l * N_IDS + r + 2) * m + i % m));
    }
    for (int64_t t = 0; t < one.shape[0]; t++)
        for (int64_t i = 0; i < 6; i++)
            cr_assert_eq(array_at(&one, t * 6 + i), array_at(&share, (t * N_IDS + 3) * 6 + i));
    psc_session_close(&few);
    psc_session_close(&all);
    psc_model_close(&model);
}

Test(mlp, bits_do_not_depend_on_the_run) {
    fixture_run how = all_rows;
    assert_independent("parallel_f32", how, arrays);
    assert_independent("odd_sizes", how, arrays);
    how.edited = 1;
    assert_independent("sequential_f32", how, arrays);
}

Test(mlp, bad_options) {
    psc_model *model = must_model(golden_path("tied_f32", NULL));
    static const char *const bad[] = {"top=0", "top=1001", "top=x", "top=", "arrays=some",
        "centered=1", "rows=9-7", "target_rows=last,rows=no", "span=65", "span=-1", "span_seed=x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        psc_session *session = must_session(model, NULL, 1, 0);
        psc_error error = {0};
        cr_assert_neq(psc_session_plugin(session, "mlp", bad[i], &error), PSC_OK, "%s", bad[i]);
        cr_assert(strchr(error.message, '='), "%s", error.message);
        psc_session_close(&session);
    }
    psc_model_close(&model);
}

/* --- the feature span ------------------------------------------------------------------------ */

enum { SPAN = 3, MOST_DIMS = 64 };

/* The rows of every layer's hook_resid_pre; the MLP of a parallel model reads them. */
typedef struct residuals {
    double x[4][N_IDS][MOST_DIMS]; /* P(x) */
} residuals;

static double centered(double *x, int64_t n) {
    double mean = 0.0, square = 0.0;
    for (int64_t i = 0; i < n; i++) mean += x[i] / (double)n;
    for (int64_t i = 0; i < n; i++) x[i] -= mean;
    for (int64_t i = 0; i < n; i++) square += x[i] * x[i];
    return square;
}

static int keep_residual(const psc_event *event, void *payload) {
    residuals *out = payload;
    for (int32_t r = 0; r < event->n_rows; r++) {
        double *x = out->x[event->layer][event->rows[r].position];
        const float *from = event->tensor.data + r * event->tensor.stride[0];
        for (int64_t i = 0; i < event->tensor.shape[1]; i++) x[i] = (double)from[i];
        centered(x, event->tensor.shape[1]);
    }
    return 0;
}

/* The detector of a neuron from the model's file; returns its squared length. */
static double detector(
    const psc_tensors *file, int32_t layer, int64_t neuron, int64_t n, double *out) {
    char name[96];
    snprintf(name, sizeof name, "gpt_neox.layers.%d.mlp.dense_h_to_4h.weight", layer);
    const psc_tensor *weight = golden_find(file, name);
    snprintf(name, sizeof name, "gpt_neox.layers.%d.post_attention_layernorm.weight", layer);
    const psc_tensor *gamma = golden_find(file, name);
    for (int64_t i = 0; i < n; i++)
        out[i] = tensor_at(weight, neuron * n + i) * tensor_at(gamma, i);
    return centered(out, n);
}

/* By least squares: 1 minus the squared error of x as a sum of the neurons' detectors. */
static double span_by_least_squares(const psc_tensors *file, int32_t layer,
    const psc_array *neurons, int64_t first, int64_t n, const double *x) {
    double columns[SPAN][MOST_DIMS], right[MOST_DIMS], all = 0.0, error = 0.0;
    for (int k = 0; k < SPAN; k++)
        detector(file, layer, (int64_t)array_at(neurons, first + k), n, columns[k]);
    for (int64_t i = 0; i < n; i++) all += x[i] * x[i];
    memcpy(right, x, (size_t)n * sizeof *right);
    cr_assert_eq(LAPACKE_dgels(LAPACK_COL_MAJOR, 'N', (lapack_int)n, SPAN, 1, columns[0], MOST_DIMS,
                     right, (lapack_int)n),
        0);
    for (int64_t i = SPAN; i < n; i++) error += right[i] * right[i];
    return 1.0 - error / all;
}

static psc_session *span_session(psc_model *m, const char *options, residuals *kept) {
    psc_session *session = must_session(m, NULL, 1, 0);
    psc_error error = {0};
    cr_assert_eq(psc_session_plugin(session, "mlp", options, &error), PSC_OK, "%s", error.message);
    if (kept)
        cr_assert_eq(
            psc_session_observe(session, PSC_HOOK_RESID_PRE, NULL, keep_residual, kept, &error),
            PSC_OK);
    psc_token tokens[N_IDS] = {{0}};
    for (int i = 0; i < N_IDS; i++) tokens[i].id = fixture_ids[i];
    must_run_one(session, tokens, N_IDS);
    return session;
}

/* The most active neurons by pre, and the signed lengths of x along their detectors. */
static void check_neurons(
    const psc_session *session, const psc_tensors *file, const residuals *kept, int64_t n) {
    const psc_array neuron = must_array(session, "mlp.span_neuron");
    const psc_array along = must_array(session, "mlp.span_projection");
    const psc_array pre = must_array(session, "mlp.pre");
    const int64_t m = pre.shape[2];
    for (int64_t i = 0; i < array_count(&neuron); i++) {
        const int64_t cell = i / SPAN, k = (int64_t)array_at(&neuron, i);
        int larger = 0;
        for (int64_t j = 0; j < m; j++)
            larger += array_at(&pre, cell * m + j) > array_at(&pre, cell * m + k);
        cr_assert_eq(larger, (int)(i % SPAN), "neuron %ld is not number %ld", (long)k, (long)i);
        double d[MOST_DIMS], dot = 0.0;
        const int32_t layer = (int32_t)(cell / N_IDS);
        const double length = sqrt(detector(file, layer, k, n, d));
        for (int64_t j = 0; j < n; j++) dot += d[j] * kept->x[layer][cell % N_IDS][j];
        cr_assert_float_eq(array_at(&along, i), dot / length, 2e-6 * (1.0 + fabs(dot / length)));
    }
}

Test(mlp, feature_span_is_least_squares) {
    psc_model *m = must_model(golden_path("parallel_f32", NULL));
    const int64_t n = psc_model_get_info(m)->d_model;
    static residuals kept;
    cr_assert_leq(n, MOST_DIMS);
    psc_session *session = span_session(m, "span=3,arrays=all", &kept);
    psc_tensors *file = golden_open(golden_path("parallel_f32", "model.safetensors"));
    const psc_array share = must_array(session, "mlp.feature_span");
    const psc_array random = must_array(session, "mlp.feature_span_random");
    const psc_array neuron = must_array(session, "mlp.span_neuron");
    const psc_array drawn = must_array(session, "mlp.span_random_neuron");
    double sum = 0.0, sum_random = 0.0;
    for (int64_t i = 0; i < array_count(&share); i++) {
        const double *x = kept.x[i / N_IDS][i % N_IDS];
        const int32_t layer = (int32_t)(i / N_IDS);
        cr_assert_float_eq(
            array_at(&share, i), span_by_least_squares(file, layer, &neuron, i * SPAN, n, x), 2e-6);
        cr_assert_float_eq(
            array_at(&random, i), span_by_least_squares(file, layer, &drawn, i * SPAN, n, x), 2e-6);
        sum += array_at(&share, i);
        sum_random += array_at(&random, i);
    }
    cr_assert_gt(sum, sum_random, "the most active detectors hold more than random ones");
    check_neurons(session, file, &kept, n);
    psc_tensors_close(&file);
    psc_session_close(&session);
    psc_model_close(&m);
}

/* As many detectors as dimensions hold all of a row; another seed draws others. */
Test(mlp, feature_span_of_many_is_all) {
    psc_model *m = must_model(golden_path("odd_sizes", NULL));
    cr_assert_leq(psc_model_get_info(m)->d_model, MOST_DIMS);
    psc_session *all = span_session(m, "span=64", NULL);
    const psc_array share = must_array(all, "mlp.feature_span");
    for (int64_t i = 0; i < array_count(&share); i++)
        cr_assert_float_eq(array_at(&share, i), 1.0, 1e-6);
    psc_session *one = span_session(m, "span=3", NULL);
    psc_session *two = span_session(m, "span=3,span_seed=2", NULL);
    const psc_array a = must_array(one, "mlp.span_random_neuron");
    const psc_array b = must_array(two, "mlp.span_random_neuron");
    cr_assert_neq(memcmp(a.data, b.data, array_bytes(&a)), 0);
    psc_session_close(&two);
    psc_session_close(&one);
    psc_session_close(&all);
    psc_model_close(&m);
}

Test(mlp, feature_span_s_bits_do_not_depend_on_the_run) {
    static const char *const names[] = {"mlp.feature_span", "mlp.feature_span_random",
        "mlp.span_neuron", "mlp.span_random_neuron", "mlp.span_projection", NULL};
    fixture_run how = all_rows;
    how.options = "span=5";
    assert_independent("parallel_f32", how, names);
    how.edited = 1;
    assert_independent("sequential_f32", how, names);
}

Test(mlp, feature_span_is_refused) {
    psc_model *m = must_model(golden_path("odd_sizes", NULL));
    psc_error error = {0};
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.accumulate = 1;
    psc_session *session = NULL;
    cr_assert_eq(psc_session_open(&session, m, &options, &error), PSC_OK);
    cr_assert_neq(psc_session_plugin(session, "mlp", "span=3", &error), PSC_OK);
    cr_assert(strstr(error.message, "use analyze"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&m);
}
