/* The model's facts and parameters for a client: every matrix, bias, LayerNorm and embedding row
 * equals the checkpoint's tensor to the bit, in every dtype and at sizes that are not multiples of
 * 16; bad arguments are refused and write nothing. */
#include "golden.h"
#include "model_weights.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static psc_error error;

static psc_checkpoint *open_checkpoint(const char *folder) {
    psc_config config;
    psc_checkpoint *cp = NULL;
    cr_assert_eq(psc_config_read(&config, folder, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_checkpoint_open(&cp, folder, &config, &error), PSC_OK, "%s", error.message);
    return cp;
}

static float *widened(const psc_weight *w) {
    float *out = malloc((w->rows * w->cols + 1) * sizeof *out);
    psc_weight_to_f32(out, w);
    return out;
}

/* Floats filled with NaN, with one more behind them. */
static float *room(size_t n) {
    float *out = malloc((n + 1) * sizeof *out);
    for (size_t i = 0; i <= n; i++) out[i] = NAN;
    return out;
}

static void assert_same(float *got, float *want, size_t n, const char *what) {
    cr_assert_arr_eq(got, want, n * sizeof *got, "%s", what);
    cr_assert(isnan(got[n]), "%s: a float behind the end was written", what);
    free(got);
    free(want);
}

static float *matrix_of(const psc_model *model, psc_matrix matrix, int32_t layer, size_t n) {
    float *out = room(n);
    cr_assert_eq(psc_model_matrix(out, (int64_t)n, model, matrix, layer, &error), PSC_OK, "%s",
        error.message);
    return out;
}

static float *bias_of(const psc_model *model, psc_matrix matrix, int32_t layer, size_t n) {
    float *out = room(n);
    cr_assert_eq(
        psc_model_bias(out, (int64_t)n, model, matrix, layer, &error), PSC_OK, "%s", error.message);
    return out;
}

static void check_matrix(const psc_model *model, psc_matrix matrix, int32_t layer,
    const psc_weight *w, const psc_weight *bias) {
    const size_t n = w->rows * w->cols;
    assert_same(matrix_of(model, matrix, layer, n), widened(w), n, "matrix");
    if (bias) assert_same(bias_of(model, matrix, layer, w->rows), widened(bias), w->rows, "bias");
}

/* The part 0 (q), 1 (k) or 2 (v) of fused rows [3 N, cols]: a head's q, k, v lie together. */
static float *part_of(const psc_config *c, const psc_weight *fused, size_t part) {
    const size_t cols = fused->cols, head = c->d_head * cols;
    float *all = widened(fused), *out = malloc((c->d_model * cols + 1) * sizeof *out);
    for (size_t h = 0; h < c->n_heads; h++)
        memcpy(out + h * head, all + (3 * h + part) * head, head * sizeof *out);
    free(all);
    return out;
}

static void check_ln(const psc_model *model, psc_ln which, int32_t layer, const psc_weight *gamma,
    const psc_weight *beta) {
    const size_t n = gamma->rows;
    float *g = room(n), *b = room(n);
    cr_assert_eq(psc_model_ln(g, b, (int64_t)n, model, which, layer, &error), PSC_OK);
    assert_same(g, widened(gamma), n, "gamma");
    assert_same(b, widened(beta), n, "beta");
    g = room(n);
    cr_assert_eq(psc_model_ln(NULL, g, (int64_t)n, model, which, layer, &error), PSC_OK);
    assert_same(g, widened(beta), n, "beta alone");
}

static void check_layer(const psc_model *model, const psc_checkpoint *cp, int32_t layer) {
    const psc_layer_weights *w = &cp->layers[layer];
    const size_t n = cp->config.d_model;
    for (size_t part = 0; part < 3; part++) {
        const psc_matrix matrix = (psc_matrix)(PSC_W_Q + part);
        assert_same(matrix_of(model, matrix, layer, n * n), part_of(&cp->config, &w->qkv, part),
            n * n, "qkv");
        assert_same(bias_of(model, matrix, layer, n), part_of(&cp->config, &w->qkv_bias, part), n,
            "qkv bias");
    }
    check_matrix(model, PSC_W_O, layer, &w->dense, &w->dense_bias);
    check_matrix(model, PSC_W_IN, layer, &w->mlp_in, &w->mlp_in_bias);
    check_matrix(model, PSC_W_OUT, layer, &w->mlp_out, &w->mlp_out_bias);
    check_ln(model, PSC_LN1, layer, &w->ln1_gamma, &w->ln1_beta);
    check_ln(model, PSC_LN2, layer, &w->ln2_gamma, &w->ln2_beta);
}

static void check_outside(const psc_model *model, const psc_checkpoint *cp) {
    const size_t n = cp->config.d_model, v = cp->config.d_vocab;
    check_matrix(model, PSC_W_U, -7, &cp->unembed, NULL);
    check_ln(model, PSC_LN_FINAL, -7, &cp->ln_final_gamma, &cp->ln_final_beta);
    assert_same(bias_of(model, PSC_W_U, 0, v), calloc(v + 1, sizeof(float)), v, "b_U");
    float *rows = room(v * n), *last = room(2 * n), *all = widened(&cp->embed);
    cr_assert_eq(psc_model_embedding(rows, (int64_t)(v * n), model, 0, (int32_t)v, &error), PSC_OK);
    cr_assert_eq(
        psc_model_embedding(last, (int64_t)(2 * n), model, (int32_t)v - 2, 2, &error), PSC_OK);
    cr_assert_arr_eq(last, all + (v - 2) * n, 2 * n * sizeof *last);
    cr_assert_eq(psc_model_embedding(last, 0, model, (int32_t)v, 0, &error), PSC_OK);
    free(last);
    assert_same(rows, all, v * n, "embedding");
}

static void check_model(const char *folder) {
    psc_model *model = must_model(folder);
    psc_checkpoint *cp = open_checkpoint(folder);
    for (int32_t l = 0; l < (int32_t)cp->config.n_layers; l++) check_layer(model, cp, l);
    check_outside(model, cp);
    psc_checkpoint_close(&cp);
    psc_model_close(&model);
}

Test(parameters, equal_the_files) {
    int n = 0;
    for (const char *const *name = golden_variants; *name; name++, n++)
        check_model(golden_path(*name, NULL));
    cr_assert_geq(n, 8);
}

Test(parameters, equal_the_files_of_the_embedded_model) {
    const char *folder = golden_embedded();
    if (folder) check_model(folder);
}

/* --- facts ----------------------------------------------------------------------------------- */

Test(parameters, facts_are_those_of_a_run) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    const psc_token token = {3, 0, 0};
    must_run_one(session, &token, 1);
    psc_result_model facts = PSC_RESULT_MODEL_INIT, run = PSC_RESULT_MODEL_INIT;
    cr_assert_eq(psc_model_describe(&facts, model, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_results_get_model(&run, psc_session_results(session), &error), PSC_OK);
    cr_assert_eq(facts.d_model, run.d_model);
    cr_assert_eq(facts.n_ctx, run.n_ctx);
    cr_assert_eq(facts.bos_id, run.bos_id);
    cr_assert_eq(facts.eos_ids, run.eos_ids);
    cr_assert_eq(facts.layer_norm_eps, run.layer_norm_eps);
    cr_assert_eq(facts.rotary_base, run.rotary_base);
    cr_assert_str_eq(facts.hash, run.hash);
    cr_assert_str_eq(facts.path, golden_path("parallel_f32", NULL));
    cr_assert_str_eq(facts.activation, "gelu");
    cr_assert_str_eq(facts.dtype, run.dtype);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* An older client's structure ends before d_model. */
Test(parameters, facts_fill_what_the_client_knows) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_result_model facts = PSC_RESULT_MODEL_INIT;
    facts.d_model = -5;
    facts.struct_size = (uint32_t)offsetof(psc_result_model, d_model);
    cr_assert_eq(psc_model_describe(&facts, model, &error), PSC_OK);
    cr_assert_eq(facts.d_model, -5);
    cr_assert_eq(facts.n_layers, psc_model_get_info(model)->n_layers);
    facts.struct_size = 0;
    cr_assert_eq(psc_model_describe(&facts, model, &error), PSC_ERROR_INPUT);
    psc_model_close(&model);
}

/* --- bad arguments --------------------------------------------------------------------------- */

static void refused(psc_status status, const char *sentence) {
    cr_assert_eq(status, PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, sentence);
}

Test(parameters, bad_arguments_are_refused) {
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    const psc_model_info *info = psc_model_get_info(model);
    const int32_t n = info->d_model, m = info->d_mlp;
    float *out = room(0);
    char want[160];
    snprintf(want, sizeof want, "layer %d does not exist; layers are 0 to %d", (int)info->n_layers,
        (int)info->n_layers - 1);
    refused(psc_model_matrix(out, n * n, model, PSC_W_Q, info->n_layers, &error), want);
    refused(psc_model_bias(out, n, model, PSC_W_O, info->n_layers, &error), want);
    refused(psc_model_ln(out, out, n, model, PSC_LN2, info->n_layers, &error), want);
    snprintf(
        want, sizeof want, "layer -1 does not exist; layers are 0 to %d", (int)info->n_layers - 1);
    refused(psc_model_matrix(out, n * n, model, PSC_W_OUT, -1, &error), want);
    snprintf(want, sizeof want, "the matrix has %d floats, but the caller has room for %d", m * n,
        m * n + 1);
    refused(psc_model_matrix(out, m * n + 1, model, PSC_W_IN, 0, &error), want);
    snprintf(want, sizeof want, "the bias has %d floats, but the caller has room for -1", m);
    refused(psc_model_bias(out, -1, model, PSC_W_IN, 0, &error), want);
    refused(psc_model_matrix(out, 1, model, (psc_matrix)7, 0, &error),
        "matrix 7 does not exist; matrices are 0 to 6");
    refused(psc_model_matrix(out, 1, model, (psc_matrix)-1, 0, &error),
        "matrix -1 does not exist; matrices are 0 to 6");
    refused(psc_model_ln(out, out, n, model, (psc_ln)3, 0, &error),
        "LayerNorm 3 does not exist; they are 0 to 2");
    refused(psc_model_ln(NULL, NULL, n + 1, model, PSC_LN_FINAL, 0, NULL), error.message);
    cr_assert(isnan(out[0]), "a refused call wrote");
    free(out);
    psc_model_close(&model);
}

Test(parameters, bad_rows_of_the_embedding_are_refused) {
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    const psc_model_info *info = psc_model_get_info(model);
    const int32_t v = info->d_vocab, most = INT32_MAX;
    float *out = room(0);
    char want[160];
    snprintf(want, sizeof want,
        "rows %d to %d of the embedding do not exist; token ids are 0 to %d", v - 1, v, v - 1);
    refused(psc_model_embedding(out, 2 * info->d_model, model, v - 1, 2, &error), want);
    cr_assert_eq(psc_model_embedding(out, 0, model, -1, 1, &error), PSC_ERROR_INPUT);
    cr_assert_eq(psc_model_embedding(out, 0, model, 0, -1, &error), PSC_ERROR_INPUT);
    cr_assert_eq(psc_model_embedding(out, 0, model, most, most, &error), PSC_ERROR_INPUT);
    cr_assert_eq(psc_model_embedding(out, 0, model, 0, most, &error), PSC_ERROR_INPUT);
    cr_assert_eq(psc_model_embedding(out, 3, model, 0, 1, &error), PSC_ERROR_INPUT);
    cr_assert(isnan(out[0]), "a refused call wrote");
    free(out);
    psc_model_close(&model);
}

/* --- threads --------------------------------------------------------------------------------- */

static void *unpack_often(void *payload) {
    const psc_model *model = payload;
    const size_t n = (size_t)psc_model_get_info(model)->d_model;
    float *first = matrix_of(model, PSC_W_Q, 0, n * n), *again = room(n * n);
    bool same = true;
    for (int i = 0; i < 50; i++) {
        psc_model_matrix(again, (int64_t)(n * n), model, PSC_W_Q, 0, NULL);
        same = same && memcmp(first, again, n * n * sizeof *first) == 0;
    }
    free(first);
    free(again);
    return same ? payload : NULL;
}

Test(parameters, several_threads_read_at_once) {
    psc_model *model = must_model(golden_path("old_f16", NULL));
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, unpack_often, model), 0);
    for (int i = 0; i < 4; i++) {
        void *answer = NULL;
        pthread_join(threads[i], &answer);
        cr_assert_eq(answer, model);
    }
    psc_model_close(&model);
}
