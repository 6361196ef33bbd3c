/* The plugin loss against float64 and transformers (tests/tools/make_loss_golden.py): of a text,
 * over documents, with interventions; its bits; merged states; what it refuses. */
#include "ln_mlp_fixture.h"
#include "psc_corpus.h"

#include <unistd.h>

#define LOSS_GOLDEN PSC_SOURCE_DIR "/tests/golden/loss/"
enum { DOCUMENTS = 6 };

static const char *const arrays[] = {"loss.loss", NULL};
static const char *const totals[] = {"loss.position_loss", "loss.position_tokens",
    "loss.frequency_loss", "loss.frequency_tokens", "loss.frequency_types", "loss.token_ids",
    "loss.token_loss", "loss.token_tokens", NULL};

static double value_of(const psc_session *session, const char *name) {
    const psc_results *results = psc_session_results(session);
    psc_result_value value;
    psc_error error = {0};
    int32_t section = -1;
    cr_assert_eq(psc_results_find_section(&section, results, "loss", &error), PSC_OK);
    cr_assert_eq(psc_results_find_value(&value, results, section, name, &error), PSC_OK, "%s: %s",
        name, error.message);
    cr_assert_eq(value.kind, PSC_VALUE_NUMBER);
    return value.numbers[0];
}

/* Arrays "loss.*" and numbers "values.*" of a golden file whose names begin with prefix. */
static void compare(
    const psc_session *session, const char *file, const char *prefix, double tolerance) {
    char path[1024];
    int compared = 0;
    snprintf(path, sizeof path, LOSS_GOLDEN "%s.safetensors", file);
    psc_tensors *golden = golden_open(path);
    for (size_t i = 0; i < golden->count; i++) {
        psc_tensor one = golden->items[i];
        if (strncmp(one.name, prefix, strlen(prefix)) != 0) continue;
        one.name += strlen(prefix);
        if (strncmp(one.name, "loss.", 5) == 0) compare_array(session, &one, tolerance);
        if (strncmp(one.name, "values.", 7) == 0) {
            const double got = value_of(session, one.name + 7), want = tensor_at(&one, 0);
            cr_assert(fabs(got - want) <= tolerance * (1.0 + fabs(want)), "%s: %.12g, not %.12g",
                one.name, got, want);
        }
        compared++;
    }
    cr_assert(compared > 0);
    psc_tensors_close(&golden);
}

static int says(const psc_session *session, const char *words) {
    const psc_results *results = psc_session_results(session);
    int32_t section = -1;
    psc_result_item item;
    cr_assert_eq(psc_results_find_section(&section, results, "loss", NULL), PSC_OK);
    for (int32_t i = 0; psc_results_item_at(&item, results, section, i, NULL) == PSC_OK; i++)
        if (item.sentence && strstr(item.sentence, words)) return 1;
    return 0;
}

static void load(psc_session *session, const char *plugin, const char *options) {
    psc_error error = {0};
    cr_assert_eq(psc_session_plugin(session, plugin, options, &error), PSC_OK, "%s", error.message);
}

/* --- a text ---------------------------------------------------------------------------------- */

Test(loss, of_a_text) {
    const fixture_run how = {.plugin = "loss", .threads = 2, .chunk = 2};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = fixture_session(model, &how);
    compare(session, "parallel_f32", "", 2e-6);
    cr_assert_eq(value_of(session, "tokens_scored"), N_IDS - 1);
    cr_assert(
        isnan(value_of(session, "loss_error")) && isnan(value_of(session, "perplexity_word")));
    cr_assert(isnan(value_of(session, "in_context_score")));
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(loss, bits) {
    const fixture_run how = {.plugin = "loss"};
    assert_independent("parallel_f32", how, arrays);
    assert_independent("odd_sizes", how, arrays);
    assert_independent("sequential_f32", how, arrays);
}

Test(loss, chosen_rows) {
    static const struct {
        const char *options;
        int64_t rows, scored;
    } cases[] = {{"rows=last", 1, 1}, {"rows=0", 1, 0}, {"rows=1-2", 2, 2}, {"rows=0-1", 2, 1}};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    const fixture_run all = {.plugin = "loss"};
    psc_session *whole = fixture_session(model, &all);
    const double *every = must_array(whole, "loss.loss").data;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const fixture_run how = {.plugin = "loss", .options = cases[i].options};
        psc_session *session = fixture_session(model, &how);
        const psc_array loss = must_array(session, "loss.loss");
        const int64_t first = i == 0 ? N_IDS - 1 : i == 2;
        cr_assert_eq(loss.shape[0], cases[i].rows);
        cr_assert_eq(
            memcmp(loss.data, every + first, array_bytes(&loss)), 0, "%s", cases[i].options);
        cr_assert_eq(value_of(session, "tokens_scored"), (double)cases[i].scored);
        cr_assert_eq(says(session, "No token is scored"), cases[i].scored == 0);
        psc_session_close(&session);
    }
    psc_session_close(&whole);
    psc_model_close(&model);
}

/* --- the logits ------------------------------------------------------------------------------ */

static int leave(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

static int soften(const psc_event *event, void *payload) {
    (void)payload;
    for (int32_t r = 0; r < event->n_rows; r++) {
        float *z = event->tensor.data + r * event->tensor.stride[0];
        for (int64_t i = 0; i < event->tensor.shape[1]; i++) z[i] *= 0.5f;
    }
    return 0;
}

/* The embedded model has several tiles. An editor that changes nothing changes no bit, though its
 * rows of logits are read; the loss is that of psc_session_logits in f64, edited or not. */
Test(loss, is_that_of_the_logits) {
    enum { N = 40 };
    const psc_event_fn edits[] = {NULL, leave, soften};
    const char *folder = golden_embedded();
    if (!folder) cr_skip_test("no weights of the embedded model");
    psc_model *model = must_model(folder);
    double first[N];
    for (int e = 0; e < 3; e++) {
        psc_session *session = must_session(model, NULL, 2, 7);
        psc_run_options run = PSC_RUN_OPTIONS_INIT;
        psc_token tokens[N] = {{0}};
        psc_error error = {0};
        for (int i = 0; i < N; i++) tokens[i].id = (17 * i * i + 5 * i) % 4096;
        const psc_input input = {0, N, tokens};
        run.logits = PSC_ROWS_ALL;
        load(session, "loss", NULL);
        if (edits[e])
            cr_assert_eq(
                psc_session_edit(session, PSC_HOOK_LOGITS, NULL, edits[e], NULL, &error), 0);
        cr_assert_eq(psc_session_run(session, &input, 1, &run, &error), 0, "%s", error.message);
        const double *loss = must_array(session, "loss.loss").data;
        for (int i = 1; i < N; i++) {
            const float *z = psc_session_logits(session, i - 1);
            double sum = 0.0;
            for (int v = 0; v < 4096; v++) sum += exp((double)z[v]);
            cr_assert_float_eq(loss[i], log(sum) - (double)z[tokens[i].id], 1e-12);
        }
        if (e == 0) memcpy(first, loss, sizeof first);
        cr_assert_eq(memcmp(loss, first, sizeof first) == 0, e < 2);
        psc_session_close(&session);
    }
    psc_model_close(&model);
}

/* --- interventions --------------------------------------------------------------------------- */

static psc_status run_phase(psc_session *session, int32_t phase, int32_t n, psc_error *error) {
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    psc_token tokens[N_IDS] = {{0}};
    for (int i = 0; i < N_IDS; i++) tokens[i].id = fixture_ids[i];
    const psc_input input = {0, n, tokens};
    options.phase = phase;
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, &options, error);
}

Test(loss, changed) {
    psc_error error = {0};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 2, 2);
    load(session, "loss", NULL);
    cr_assert(!psc_session_has_phases(session)); /* alone it asks for none */
    load(session, "ablate", "at=L1H0");
    cr_assert(psc_session_has_phases(session));
    cr_assert_eq(run_phase(session, PSC_PHASE_BASE, N_IDS, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(run_phase(session, PSC_PHASE_CHANGED, N_IDS, &error), PSC_OK, "%s", error.message);
    compare(session, "parallel_f32_changed", "", 1e-5);
    cr_assert(says(session, "The interventions change it by"));
    cr_assert_eq(run_phase(session, PSC_PHASE_BASE, N_IDS - 1, &error), PSC_OK);
    cr_assert_neq(run_phase(session, PSC_PHASE_CHANGED, N_IDS, &error), PSC_OK);
    cr_assert(strstr(error.message, "no unchanged run of the same tokens"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* A plugin that asks for phases and edits nothing leaves nothing to compare. */
Test(loss, unedited_phases) {
    psc_error error = {0};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    load(session, "loss", NULL);
    cr_assert_eq(run_phase(session, PSC_PHASE_BASE, N_IDS, &error), PSC_OK);
    cr_assert_eq(run_phase(session, PSC_PHASE_CHANGED, N_IDS, &error), PSC_OK, "%s", error.message);
    compare(session, "parallel_f32", "", 2e-6);
    cr_assert(!says(session, "interventions"));
    psc_session_close(&session);
    psc_model_close(&model);
}

/* --- documents ------------------------------------------------------------------------------- */

static psc_session *open_corpus(psc_model *model, int32_t threads, int32_t chunk, bool edited) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    psc_error error = {0};
    options.threads = threads;
    options.chunk = chunk;
    options.n_sequences = DOCUMENTS;
    options.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    load(session, "loss", "early=4,late=15");
    if (edited) load(session, "ablate", "at=L1H0");
    return session;
}

/* Documents begin..end-1, `batch` per run. */
static void feed(psc_session *session, int begin, int end, int batch) {
    static psc_token tokens[DOCUMENTS][32];
    psc_input inputs[DOCUMENTS];
    for (int d = 0; d < DOCUMENTS; d++)
        for (int i = 0; i < 12 + 2 * d; i++)
            tokens[d][i] = (psc_token){.id = (i * i + 7 * d * i + 3 * d) % 80};
    for (int first = begin; first < end; first += batch) {
        const int n = end - first < batch ? end - first : batch;
        for (int i = 0; i < n; i++) {
            psc_session_truncate(session, i, 0);
            inputs[i] = (psc_input){i, 12 + 2 * (first + i), tokens[first + i]};
        }
        must_run(session, inputs, n);
    }
}

static void report(psc_session *session) {
    psc_error error = {0};
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
}

static void check_documents(bool edited, const char *file) {
    static const int ways[][3] = {{1, 0, 6}, {2, 3, 2}, {3, 1, 1}, {2, 7, 3}};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *first = NULL;
    for (int i = 0; i < 4; i++) {
        psc_session *session = open_corpus(model, ways[i][0], ways[i][1], edited);
        feed(session, 0, DOCUMENTS, ways[i][2]);
        report(session);
        compare(session, file, "", 2e-6);
        if (first) assert_same_arrays(first, session, totals, "batches, threads or chunks");
        if (first) psc_session_close(&session);
        if (!first) first = session;
    }
    psc_session_close(&first);
    psc_model_close(&model);
}

Test(loss, documents) {
    check_documents(false, "parallel_f32_corpus");
}

Test(loss, documents_with_interventions) {
    check_documents(true, "parallel_f32_compared");
}

/* A state is read on, and another is merged: every total has the same bits. */
Test(loss, states) {
    char path[] = "/tmp/psc-loss-XXXXXX";
    psc_error error = {0};
    const int file = mkstemp(path);
    cr_assert(file >= 0);
    close(file);
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *whole = open_corpus(model, 1, 0, true), *a = open_corpus(model, 2, 3, true);
    psc_session *b = open_corpus(model, 1, 5, true), *plain = open_corpus(model, 1, 0, false);
    feed(whole, 0, DOCUMENTS, 6);
    feed(a, 0, 2, 1);
    cr_assert_eq(psc_session_state_save(a, path, NULL, 0, &error), PSC_OK, "%s", error.message);
    feed(b, 2, DOCUMENTS, 3);
    cr_assert_eq(psc_session_state_merge(b, path, &error), PSC_OK, "%s", error.message);
    cr_assert_neq(psc_session_state_load(plain, path, &error), PSC_OK);
    report(whole);
    report(b);
    assert_same_arrays(whole, b, totals, "merged");
    cr_assert_eq(value_of(whole, "difference_error"), value_of(b, "difference_error"));
    unlink(path);
    psc_session_close(&plain);
    psc_session_close(&b);
    psc_session_close(&a);
    psc_session_close(&whole);
    psc_model_close(&model);
}

Test(loss, nothing_was_read) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = open_corpus(model, 1, 0, false);
    const psc_token token = {.id = 17};
    const psc_input input = {0, 1, &token};
    report(session);
    cr_assert(says(session, "No token is scored"));
    must_run(session, &input, 1);
    report(session);
    cr_assert(says(session, "No token is scored"));
    cr_assert(isnan(value_of(session, "loss")));
    psc_session_close(&session);
    psc_model_close(&model);
}

/* --- held-out text --------------------------------------------------------------------------- */

static void read_held_out(psc_session *session, const psc_model *model, int32_t stride) {
    static const char *const paths[] = {PSC_SOURCE_DIR "/tests/tools/prompts.txt"};
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    psc_corpus *corpus = NULL;
    psc_error error = {0};
    psc_window window;
    options.window = 128;
    options.stride = stride;
    cr_assert_eq(psc_corpus_open(&corpus, model, paths, 1, &options, &error), PSC_OK);
    while (psc_corpus_next(&window, corpus, &error) == PSC_OK && window.n > 0) {
        const psc_input input = {0, window.n, window.tokens};
        const int32_t repeated = psc_corpus_repeated(corpus, &window);
        psc_run_options run = PSC_RUN_OPTIONS_INIT;
        run.repeated = stride ? &repeated : NULL;
        psc_session_truncate(session, 0, 0);
        cr_assert_eq(
            psc_session_run(session, &input, 1, &run, &error), PSC_OK, "%s", error.message);
    }
    psc_corpus_close(&corpus);
    report(session);
}

/* Transformers computes in float32, as this program does. With a stride each token is counted once,
 * after at least 96 others where the document has them. */
static void check_held_out(int32_t stride, const char *prefix) {
    const char *folder = golden_embedded();
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    options.accumulate = 1;
    options.overlap = stride > 0;
    if (!folder) cr_skip_test("no weights of the embedded model");
    psc_model *model = must_model(folder);
    cr_assert_eq(psc_session_open(&session, model, &options, NULL), PSC_OK);
    load(session, "loss", "early=10,late=100");
    read_held_out(session, model, stride);
    compare(session, "held_out", prefix, 1e-5);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(loss, held_out_text) {
    check_held_out(0, "plain.");
}

Test(loss, held_out_text_in_windows_that_overlap) {
    check_held_out(32, "strided.");
}

/* --- refusals -------------------------------------------------------------------------------- */

Test(loss, bad_options) {
    static const char *const bad[][2] = {{"early=50,late=50", "late=50 must be a later position"},
        {"early=600", "late=500 must be a later position than early=600"}, {"early=0", "early=0"},
        {"top=101", "top=101"}, {"rows=x", "rows=x"}, {"late=-1", "late=-1"}};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        psc_error error = {0};
        cr_assert_neq(psc_session_plugin(session, "loss", bad[i][0], &error), PSC_OK);
        cr_assert(strstr(error.message, bad[i][1]), "'%s' is not in: %s", bad[i][1], error.message);
    }
    psc_session_close(&session);
    psc_model_close(&model);
}
