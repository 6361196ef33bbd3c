/* The plugin sampling against float64 (tests/tools/make_sampling_golden.py), alone and over
 * documents; its bits; bad options. */
#include "ln_mlp_fixture.h"

#define SAMPLING_GOLDEN PSC_SOURCE_DIR "/tests/golden/sampling/"
#define OPTIONS "temperature=0.6,k=5,p=0.8,min_p=0.1"

static const char *const arrays[] = {"sampling.size", "sampling.mass", "sampling.kl",
    "sampling.same_set", "sampling.overlap", "sampling.agreement", NULL};

static void compare(const psc_session *session, const char *file, size_t count) {
    char path[1024];
    snprintf(path, sizeof path, SAMPLING_GOLDEN "%s.safetensors", file);
    psc_tensors *golden = golden_open(path);
    cr_assert_eq(golden->count, count);
    for (size_t i = 0; i < golden->count; i++) {
        const double worst = compare_array(session, &golden->items[i], 2e-6);
        if (getenv("PSC_TEST_VERBOSE"))
            fprintf(stderr, "%-20s %-20s %.2e\n", file, golden->items[i].name, worst);
    }
    psc_tensors_close(&golden);
}

Test(sampling, figures) {
    const fixture_run how = {
        .plugin = "sampling", .options = "rows=all," OPTIONS, .threads = 2, .chunk = 2};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = fixture_session(model, &how);
    compare(session, "parallel_f32", 6);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(sampling, bits) {
    const fixture_run how = {.plugin = "sampling", .options = "rows=all"};
    assert_independent("parallel_f32", how, arrays);
    assert_independent("odd_sizes", how, arrays);
}

static psc_session *corpus(psc_model *model, int32_t threads, int32_t chunk, int batch) {
    enum { DOCUMENTS = 6 };
    static psc_token tokens[DOCUMENTS][32];
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    psc_error error = {0};
    options.threads = threads;
    options.chunk = chunk;
    options.n_sequences = DOCUMENTS;
    options.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    cr_assert_eq(psc_session_plugin(session, "sampling", OPTIONS, &error), PSC_OK);
    for (int d = 0; d < DOCUMENTS; d++)
        for (int i = 0; i < 12 + 2 * d; i++)
            tokens[d][i] = (psc_token){.id = (i * i + 7 * d * i + 3 * d) % 80};
    for (int first = 0; first < DOCUMENTS; first += batch) {
        psc_input inputs[DOCUMENTS];
        for (int i = 0; i < batch; i++) {
            psc_session_truncate(session, i, 0);
            inputs[i] = (psc_input){i, 12 + 2 * (first + i), tokens[first + i]};
        }
        must_run(session, inputs, batch);
    }
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    return session;
}

Test(sampling, means) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *first = corpus(model, 2, 5, 3), *other = corpus(model, 1, 0, 1);
    compare(first, "parallel_f32_corpus", 7);
    assert_same_arrays(first, other, arrays, "batches, threads or chunks");
    psc_session_close(&first);
    psc_session_close(&other);
    psc_model_close(&model);
}

Test(sampling, bad_options) {
    static const char *const bad[][2] = {{"k=0", "k=0 is not"}, {"k=-3", "k=-3 is not"},
        {"p=0", "p=0 is not above 0"}, {"p=1.01", "p=1.01"}, {"p=nan", "p=nan"},
        {"min_p=-0.1", "min_p=-0.1 is not a number in 0..1"}, {"min_p=2", "min_p=2"},
        {"temperature=0", "temperature=0"}, {"temperature=x", "temperature=x"},
        {"rows=x", "rows=x"}};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        psc_error error = {0};
        cr_assert_neq(psc_session_plugin(session, "sampling", bad[i][0], &error), PSC_OK);
        cr_assert(strstr(error.message, bad[i][1]), "'%s' is not in: %s", bad[i][1], error.message);
    }
    psc_session_close(&session);
    psc_model_close(&model);
}
