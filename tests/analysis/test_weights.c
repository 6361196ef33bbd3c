/* The plugin weights against float64 on whole matrices (tests/tools/make_weights_golden.py, which
 * checks them against TransformerLens), its threads, and refusals. */
#include "ln_mlp_fixture.h"

static const char all[] = "what=all,top=4,triples=2";
static psc_error error;

static psc_status report(psc_session **out, psc_model *model, const char *options,
    const char *const *tokens, int32_t threads) {
    psc_session_options how = PSC_SESSION_OPTIONS_INIT;
    how.accumulate = 1;
    how.capacity = 1;
    how.threads = threads;
    psc_status status = psc_session_open(out, model, &how, &error);
    for (int i = 0; !status && tokens && tokens[i]; i++)
        status = psc_session_target(*out, tokens[i], &error);
    if (!status) status = psc_session_plugin(*out, "weights", options, &error);
    return status ? status : psc_session_report(*out, NULL, &error);
}

static psc_session *must_report(psc_model *model, const char *options, int32_t threads) {
    static const char *const tokens[] = {"#5", "#11", NULL};
    psc_session *session = NULL;
    cr_assert_eq(report(&session, model, options, tokens, threads), PSC_OK, "%s", error.message);
    return session;
}

static double value_of(const psc_session *session, const char *name) {
    psc_result_value value;
    cr_assert_eq(psc_results_find_value(&value, psc_session_results(session), 0, name, NULL),
        PSC_OK, "%s", name);
    cr_assert(value.kind == PSC_VALUE_NUMBER);
    return value.numbers[0];
}

static void close_to(const char *name, int64_t i, double got, double want, double tolerance) {
    if (isnan(got) && isnan(want)) return;
    cr_assert(fabs(got - want) <= tolerance * (1.0 + fabs(want)),
        "%s element %ld: %.12g, not %.12g", name, (long)i, got, want);
}

static void check_array(const psc_session *session, const char *name, const psc_tensor *want,
    int64_t first, int64_t count, double tolerance) {
    char full[64];
    snprintf(full, sizeof full, "weights.%s", name);
    const psc_array got = must_array(session, full);
    cr_assert_eq(array_count(&got), count, "%s", name);
    for (int64_t i = 0; i < count; i++)
        close_to(name, i, array_at(&got, i), tensor_at(want, first + i), tolerance);
}

static void check_frames(const psc_session *session, const psc_tensor *want) {
    static const char *const names[] = {"embed_lambda_min", "embed_lambda_min_span",
        "embed_lambda_max", "embed_rank", "u_lambda_min", "u_lambda_min_span", "u_lambda_max",
        "u_rank"};
    for (int i = 0; i < 8; i++)
        close_to(names[i], i, value_of(session, names[i]), tensor_at(want, i), 1e-10);
}

static void check_moduli(const psc_session *session, const psc_tensor *want) {
    const psc_array got = must_array(session, "weights.ov_eigenvalues");
    for (int64_t i = 0; i < array_count(&got) / 2; i++)
        close_to("moduli", i, hypot(array_at(&got, 2 * i), array_at(&got, 2 * i + 1)),
            tensor_at(want, i), 1e-7);
}

static void check_composition(const psc_session *session, const psc_tensor *want) {
    static const char *const names[] = {"q_composition", "k_composition", "v_composition"};
    const int64_t count = (int64_t)want->size / 8 / 3;
    for (int kind = 0; kind < 3; kind++)
        check_array(session, names[kind], want, kind * count, count, 1e-6);
}

static void check_one(const psc_session *session, const psc_tensor *want) {
    const int scalar = strcmp(want->name, "effective_rank_W_E") == 0 ||
                       strcmp(want->name, "effective_rank_W_U") == 0;
    int64_t count = 1;
    for (size_t a = 0; a < want->rank; a++) count *= (int64_t)want->shape[a];
    if (strcmp(want->name, "frames") == 0)
        check_frames(session, want);
    else if (strcmp(want->name, "moduli") == 0)
        check_moduli(session, want);
    else if (strcmp(want->name, "composition") == 0)
        check_composition(session, want);
    else if (scalar)
        close_to(want->name, 0, value_of(session, want->name), tensor_at(want, 0), 1e-6);
    else /* small singular values are roots of rounded squares */
        check_array(session, want->name, want, 0, count,
            strncmp(want->name, "spectrum_W_", 11) == 0 ? 2e-6 : 1e-7);
}

static void check_model(const char *name, const char *folder, int expected) {
    char path[1024];
    psc_model *model = must_model(folder ? folder : golden_path(name, NULL));
    psc_session *session = must_report(model, all, 2);
    snprintf(path, sizeof path, PSC_SOURCE_DIR "/tests/golden/weights/%s.safetensors", name);
    psc_tensors *golden = golden_open(path);
    cr_assert_eq((int)golden->count, expected);
    for (size_t i = 0; i < golden->count; i++)
        if (strcmp(golden->items[i].name, "composition_turned") != 0)
            check_one(session, &golden->items[i]);
    psc_session_close(&session);
    session = must_report(model, "what=composition,offset=3", 1);
    check_composition(session, golden_find(golden, "composition_turned"));
    psc_session_close(&session);
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

Test(weights, golden_parallel) {
    check_model("parallel_f32", NULL, 37);
}

Test(weights, golden_sequential) {
    check_model("sequential_f32", NULL, 21);
}

Test(weights, golden_odd_sizes) {
    check_model("odd_sizes", NULL, 31);
}

Test(weights, golden_tied_and_without_bias) {
    check_model("tied_f32", NULL, 21);
    check_model("no_attention_bias", NULL, 21);
}

Test(weights, golden_full_rotary) {
    check_model("rotary_full", NULL, 21);
    check_model("rope_yarn", NULL, 21);
}

/* 12 tokens in 16 dimensions, one layer. */
Test(weights, golden_frames_that_do_not_span) {
    check_model("narrow", PSC_SOURCE_DIR "/tests/golden/weights/narrow", 23);
}

/* Every other shape gives finite figures, also in the session of a run. */
Test(weights, every_model) {
    for (int v = 0; golden_variants[v]; v++) {
        psc_model *model = must_model(golden_path(golden_variants[v], NULL));
        psc_session *session = must_report(model, all, 3);
        const psc_array copying = must_array(session, "weights.copying");
        for (int64_t i = 0; i < array_count(&copying); i++)
            cr_assert(fabs(array_at(&copying, i)) <= 1.0, "%s", golden_variants[v]);
        psc_session_close(&session);
        psc_model_close(&model);
    }
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    const fixture_run how = {.plugin = "weights", .options = "what=copying", .threads = 2};
    psc_session *ran = fixture_session(model, &how), *idle = must_report(model, all, 2);
    const char *const arrays[] = {"weights.copying", NULL};
    assert_same_arrays(ran, idle, arrays, "with a run and without");
    psc_session_close(&ran);
    psc_session_close(&idle);
    psc_model_close(&model);
}

/* On one machine, results do not depend on the number of threads. */
Test(weights, threads) {
    static const char *const arrays[] = {"weights.copying", "weights.q_composition",
        "weights.k_composition", "weights.v_composition", "weights.dual", "weights.dual_cosines",
        "weights.spectrum_W_E", "weights.spectrum_W_in", "weights.spectrum_W_OV", "weights.ov_read",
        "weights.ov_write_tokens", "weights.unembed_cosine", NULL};
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    psc_session *one = must_report(model, all, 1), *three = must_report(model, all, 3);
    assert_same_arrays(one, three, arrays, "threads");
    psc_session_close(&one);
    psc_session_close(&three);
    psc_model_close(&model);
}

static void refused(const char *options, const char *word) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = NULL;
    error.message[0] = 0;
    cr_assert_neq(report(&session, model, options, NULL, 1), PSC_OK, "%s", options);
    cr_assert(strstr(error.message, word), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(weights, refusals) {
    refused("what=frame", "what=frame is not one or more of frames");
    refused("what=frames+", "what=frames+ is not one or more of");
    refused("what=tokens", "needs tokens");
    refused("offset=320", "offset");
    refused("offset=-1", "offset");
    refused("top=0", "top");
    refused("triples=17", "triples");
}
