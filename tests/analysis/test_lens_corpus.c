/* The plugin lens over documents: means and the fitted lens against float64
 * (tests/tools/make_lens_golden.py), their bits, and refusals. */
#include "ln_mlp_fixture.h"

#include <unistd.h>

#define LENS_GOLDEN PSC_SOURCE_DIR "/tests/golden/lens/"
enum { DOCUMENTS = 6 };

static char folder[64]; /* for fitted lenses; removed at the end of a test */

static void make_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/psc-fit-XXXXXX");
    cr_assert(mkdtemp(folder));
}

static void drop_folder(void) {
    static const char *const names[] = {"/config.json", "/params.safetensors", ""};
    char path[128];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", folder, names[i]);
        remove(path);
    }
}

static psc_session *open_corpus(psc_model *model, int32_t threads, int32_t chunk) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    psc_error error = {0};
    options.threads = threads;
    options.chunk = chunk;
    options.n_sequences = DOCUMENTS;
    options.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    return session;
}

static void load(psc_session *session, const char *options) {
    psc_error error = {0};
    cr_assert_eq(psc_session_plugin(session, "lens", options, &error), PSC_OK, "%s", error.message);
}

/* The documents, `batch` per run. */
static void feed(psc_session *session, int batch) {
    static psc_token tokens[DOCUMENTS][32];
    psc_input inputs[DOCUMENTS];
    for (int d = 0; d < DOCUMENTS; d++) {
        for (int i = 0; i < 12 + 2 * d; i++)
            tokens[d][i] = (psc_token){.id = (i * i + 7 * d * i + 3 * d) % 80};
    }
    for (int first = 0; first < DOCUMENTS; first += batch) {
        for (int i = 0; i < batch; i++) {
            psc_session_truncate(session, i, 0);
            inputs[i] = (psc_input){i, 12 + 2 * (first + i), tokens[first + i]};
        }
        must_run(session, inputs, batch);
    }
}

static void report(psc_session *session) {
    psc_error error = {0};
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
}

Test(lens_corpus, means) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = open_corpus(model, 2, 5);
    load(session, NULL);
    feed(session, 3);
    report(session);
    psc_tensors *golden = golden_open(LENS_GOLDEN "parallel_f32_corpus.safetensors");
    cr_assert_eq(golden->count, 6);
    for (size_t i = 0; i < golden->count; i++) compare_array(session, &golden->items[i], 1e-6);
    psc_tensors_close(&golden);
    psc_session_close(&session);
    psc_model_close(&model);
}

static void same_totals(psc_session *first, psc_session *other) {
    static const char *const names[] = {"lens.mean_entropy", "lens.mean_kl", "lens.mean_kl_reverse",
        "lens.mean_log_prob", "lens.top_agreement", "lens.rank_bins", NULL};
    assert_same_arrays(first, other, names, "batches, threads or chunks");
}

Test(lens_corpus, bits) {
    static const int ways[][3] = {{1, 0, 6}, {2, 3, 2}, {3, 1, 1}, {2, 7, 3}};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *first = NULL;
    for (int i = 0; i < 4; i++) {
        psc_session *session = open_corpus(model, ways[i][0], ways[i][1]);
        load(session, NULL);
        feed(session, ways[i][2]);
        report(session);
        if (first) same_totals(first, session);
        if (first) psc_session_close(&session);
        if (!first) first = session;
    }
    psc_session_close(&first);
    psc_model_close(&model);
}

/* One row, or many equal rows, determine no map: C is the rounding of the sums. */
Test(lens_corpus, a_fit_needs_rows_that_vary, .fini = drop_folder) {
    psc_error error = {0};
    char options[128];
    make_folder();
    snprintf(options, sizeof options, "fit=%s,fit_from=0", folder);
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int windows = 1; windows <= 3; windows++) {
        psc_session *session = open_corpus(model, 1, 0);
        load(session, options);
        for (int i = 0; i < windows; i++) {
            const psc_token token = {.id = 17};
            const psc_input input = {0, 1, &token};
            psc_session_truncate(session, 0, 0);
            must_run(session, &input, 1);
        }
        cr_assert_neq(psc_session_report(session, NULL, &error), PSC_OK, "%d windows", windows);
        cr_assert(strstr(error.message, "does not vary"), "%s", error.message);
        psc_session_close(&session);
    }
    psc_model_close(&model);
}

static void fit(psc_model *model, int32_t threads, int batch) {
    char options[128];
    psc_session *session = open_corpus(model, threads, 0);
    snprintf(options, sizeof options, "fit=%s,fit_ridge=0.01", folder);
    load(session, options);
    feed(session, batch);
    report(session);
    psc_session_close(&session);
}

Test(lens_corpus, fitted_lens, .fini = drop_folder) {
    char path[128], options[128], name[32];
    make_folder();
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    fit(model, 2, 2);
    snprintf(path, sizeof path, "%s/params.safetensors", folder);
    psc_tensors *found = golden_open(path);
    psc_tensors *wanted = golden_open(LENS_GOLDEN "parallel_f32_fit.safetensors");
    cr_assert_eq(found->count, wanted->count);
    for (size_t i = 0; i < found->count; i++) {
        const psc_tensor *t = &found->items[i];
        snprintf(name, sizeof name, "lens.%s", t->name);
        const psc_tensor *w = golden_find(wanted, name);
        cr_assert_eq(t->size / 4, w->size / 8);
        for (size_t k = 0; k < t->size / 4; k++) {
            const double error = fabs(tensor_at(t, (int64_t)k) - tensor_at(w, (int64_t)k));
            cr_assert(error < 2e-5, "%s element %zu is off by %g", t->name, k, error);
        }
    }
    psc_tensors_close(&found);
    psc_tensors_close(&wanted);
    /* The saved lens fits this model and no other. */
    snprintf(options, sizeof options, "lens=%s", folder);
    psc_session *session = open_corpus(model, 1, 0);
    load(session, options);
    feed(session, 1);
    report(session);
    const psc_array kl = must_array(session, "lens.mean_kl");
    psc_tensors *means = golden_open(LENS_GOLDEN "parallel_f32_corpus.safetensors");
    const psc_tensor *before = golden_find(means, "lens.mean_kl");
    for (int64_t l = 3; l < 5; l++) /* without position 0, layers with a translator */
        cr_assert(array_at(&kl, l) < 0.8 * tensor_at(before, l));
    psc_tensors_close(&means);
    psc_session_close(&session);
    psc_model_close(&model);
}

static void refuse(const char *model_name, const char *options, const char *words) {
    psc_model *model = must_model(golden_path(model_name, NULL));
    psc_session *session = open_corpus(model, 1, 0);
    psc_error error = {0};
    cr_assert_neq(psc_session_plugin(session, "lens", options, &error), PSC_OK);
    cr_assert(strstr(error.message, words), "'%s' is not in: %s", words, error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(lens_corpus, refused, .fini = drop_folder) {
    char options[128];
    make_folder();
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    fit(model, 1, 6);
    psc_model_close(&model);
    snprintf(options, sizeof options, "lens=%s", folder);
    refuse("large_scores", options, "belongs to another model");
    snprintf(options, sizeof options, "fit=%s", folder);
    refuse("parallel_f32", options, folder); /* the folder is not empty: nothing is overwritten */
    refuse("parallel_f32", "fit=/nowhere/at/all", "/nowhere/at/all");
}

/* A few rows cannot be fitted without a ridge. */
Test(lens_corpus, too_little_text, .fini = drop_folder) {
    char options[128];
    psc_error error = {0};
    make_folder();
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = open_corpus(model, 1, 0);
    snprintf(options, sizeof options, "fit=%s,fit_ridge=0", folder);
    load(session, options);
    psc_token tokens[4] = {{.id = 3}, {.id = 4}, {.id = 7}, {.id = 1}};
    must_run_one(session, tokens, 1);
    cr_assert_neq(psc_session_report(session, NULL, &error), PSC_OK);
    cr_assert(strstr(error.message, "no rows to fit"), "%s", error.message);
    psc_session_truncate(session, 0, 0);
    must_run_one(session, tokens, 4);
    cr_assert_neq(psc_session_report(session, NULL, &error), PSC_OK);
    cr_assert(strstr(error.message, "not positive definite"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}
