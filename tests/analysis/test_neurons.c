/* The plugin neurons against float64 (tests/tools/make_neurons_golden.py), its bits over threads,
 * chunks and batches, and refusals. */
#include "ln_mlp_fixture.h"

static const int32_t text[] = {3, 41, 7, 3, 60, 7, 3, 12, 5};
/* Documents of 5, 1, 8 and 3 tokens. */
static const int32_t corpus[] = {3, 41, 7, 3, 60, 9, 3, 41, 7, 3, 60, 7, 3, 12, 70, 2, 33};
static const int32_t lengths[] = {5, 1, 8, 3};
enum { LENGTH = sizeof text / sizeof *text, DOCUMENTS = 4 };
static psc_error error;

static psc_session *run_text(psc_model *model, const char *options, const fixture_run *how) {
    psc_session *session = must_session(model, how->isa, how->threads, how->chunk);
    cr_assert_eq(psc_session_plugin(session, "neurons", options, &error), PSC_OK, "%s: %s", options,
        error.message);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    psc_token tokens[LENGTH] = {{0}};
    for (int i = 0; i < LENGTH; i++) tokens[i].id = text[i];
    must_run_one(session, tokens, LENGTH);
    return session;
}

static psc_session *run_corpus(psc_model *model, int32_t threads, int32_t chunk, int32_t batch) {
    psc_session *session = NULL;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = threads;
    options.chunk = chunk;
    options.n_sequences = DOCUMENTS;
    options.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_plugin(session, "neurons", "contexts=3,top=4", &error), PSC_OK, "%s",
        error.message);
    psc_run_options how = PSC_RUN_OPTIONS_INIT;
    how.no_logits = 1;
    psc_token tokens[32] = {{0}};
    for (size_t i = 0; i < sizeof corpus / sizeof *corpus; i++) tokens[i].id = corpus[i];
    const psc_token *at = tokens;
    for (int32_t d = 0; d < DOCUMENTS;) {
        psc_input inputs[DOCUMENTS];
        psc_document documents[DOCUMENTS];
        how.documents = documents;
        int32_t n = 0;
        for (; n < batch && d < DOCUMENTS; n++, d++) {
            psc_session_truncate(session, n, 0);
            inputs[n] = (psc_input){n, lengths[d], at};
            documents[n] = (psc_document){d, 0};
            at += lengths[d];
        }
        cr_assert_eq(
            psc_session_run(session, inputs, n, &how, &error), PSC_OK, "%s", error.message);
    }
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    return session;
}

static void check_model(const char *name) {
    static const char of_corpus[] = "corpus:";
    char path[1024];
    const fixture_run how = {.threads = 2, .chunk = 4};
    psc_model *model = must_model(golden_path(name, NULL));
    psc_session *one = run_text(model, "neuron=L1N5+L0N47+L1N0,top=4,geometry=all", &how);
    psc_session *many = run_corpus(model, 2, 4, 2);
    snprintf(path, sizeof path, PSC_SOURCE_DIR "/tests/golden/neurons/%s.safetensors", name);
    psc_tensors *golden = golden_open(path);
    cr_assert_eq(golden->count, 27);
    for (size_t i = 0; i < golden->count; i++) {
        psc_tensor want = golden->items[i];
        char array[96];
        const int over = strncmp(want.name, of_corpus, strlen(of_corpus)) == 0;
        snprintf(array, sizeof array, "%s", want.name + (over ? strlen(of_corpus) : 0));
        want.name = array;
        const double worst = compare_array(over ? many : one, &want, 5e-6);
        if (getenv("PSC_TEST_VERBOSE"))
            fprintf(stderr, "%-16s %d %-32s %.2e\n", name, over, want.name, worst);
    }
    psc_tensors_close(&golden);
    psc_session_close(&one);
    psc_session_close(&many);
    psc_model_close(&model);
}

Test(neurons, golden) {
    check_model("parallel_f32");
    check_model("sequential_f32");
    check_model("gelu_fast");
}

/* All arrays except those that LAPACK computes. */
Test(neurons, bits) {
    static const fixture_run ways[] = {{.isa = "reference", .threads = 1},
        {.isa = "reference", .threads = 2, .chunk = 2}, {.threads = 3, .chunk = 1}};
    static const char *const arrays[] = {"neurons.excited_by_token",
        "neurons.excited_by_token_value", "neurons.excited_by_neuron_value", "neurons.head_gain",
        "neurons.promotes_value", "neurons.interference", "neurons.coherence", "neurons.fires",
        "neurons.largest_activation", "neurons.write_norm", "neurons.cosine_variance", NULL};
    const fixture_run plain = {.threads = 1};
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    psc_session *first = run_text(model, "geometry=1", &plain);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        psc_session *other = run_text(model, "geometry=1", &ways[w]);
        assert_same_arrays(first, other, arrays, "threads, chunks, isa");
        psc_session_close(&other);
    }
    psc_session_close(&first);
    psc_model_close(&model);
}

Test(neurons, bits_of_contexts) {
    static const char *const arrays[] = {"neurons.context_value", "neurons.context_document",
        "neurons.context_position", "neurons.context_tokens", "neurons.fires",
        "neurons.largest_activation", NULL};
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    psc_session *first = run_corpus(model, 1, 0, 1);
    psc_session *other = run_corpus(model, 3, 2, 3), *all = run_corpus(model, 2, 5, 4);
    assert_same_arrays(first, other, arrays, "batches of 3");
    assert_same_arrays(first, all, arrays, "one batch");
    const psc_array tokens = must_array(first, "neurons.context_tokens");
    const psc_array document = must_array(first, "neurons.context_document");
    const psc_array position = must_array(first, "neurons.context_position");
    static const int32_t first_token[] = {0, 5, 6, 14};
    for (int64_t i = 0; i < array_count(&document); i++) /* the token in the middle */
        cr_assert_eq((int)array_at(&tokens, i * 17 + PSC_TOP_BEFORE),
            corpus[first_token[(int)array_at(&document, i)] + (int)array_at(&position, i)]);
    psc_session_close(&first);
    psc_session_close(&other);
    psc_session_close(&all);
    psc_model_close(&model);
}

Test(neurons, refusals) {
    static const char *const bad[] = {"neuron=L2N0", "neuron=L0N999", "neuron=L0", "neuron=L0N1+",
        "neuron=L-1N0", "neuron=3", "top=0", "top=1001", "contexts=0", "contexts=65",
        "entropy=maybe", "geometry=2", "geometry=x"};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_neq(psc_session_plugin(session, "neurons", bad[i], &error), PSC_OK, "%s", bad[i]);
        char key[16];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(bad[i], "="), bad[i]);
        cr_assert(strstr(error.message, key), "%s: %s", bad[i], error.message);
    }
    psc_session_close(&session);
    psc_model_close(&model);
}
