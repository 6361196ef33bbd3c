/* Runs of gradient and attribution beside their golden values (make_attribution_golden.py).
 * Private to tests/: test_attribution.c and test_gradient_paths.c.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: sessions and models are closed by the caller; array views belong to their session. */
#ifndef ATTRIBUTION_FIXTURE_H
#define ATTRIBUTION_FIXTURE_H

#include "ln_mlp_fixture.h"

static const int32_t source_ids[N_IDS] = {3, 12, 7, 55, 60};
static psc_error error;

static psc_status run_phase(psc_session *session, const int32_t *ids, int32_t n, int32_t phase) {
    psc_token tokens[N_IDS + 1] = {{0}};
    for (int i = 0; i < n; i++) tokens[i].id = ids[i % N_IDS];
    const psc_input input = {0, n, tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.phase = phase;
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, &options, &error);
}

static void must_plugin(psc_session *session, const char *name, const char *options) {
    cr_assert_eq(psc_session_plugin(session, name, options, &error), PSC_OK, "%s: %s", options,
        error.message);
}

/* The golden targets. */
static void add_targets(psc_session *session) {
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    cr_assert_eq(psc_session_contrast(session, "#7", "#9", &error), PSC_OK);
}

static psc_tensors *attribution_golden(const char *model) {
    char path[1024];
    snprintf(
        path, sizeof path, "%s/tests/golden/attribution/%s.safetensors", PSC_SOURCE_DIR, model);
    return golden_open(path);
}

/* Elements first..first+n-1 of an array against those of a tensor, relative to the largest. */
static double compare_part(const psc_array *got, int64_t first, const psc_tensor *want, int64_t n) {
    double worst = 0.0, most = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const double a = array_at(got, first + i), b = tensor_at(want, i);
        cr_assert_eq(isnan(a), isnan(b), "%s element %ld", want->name, (long)i);
        if (isnan(b)) continue;
        worst = fmax(worst, fabs(a - b));
        most = fmax(most, fabs(b));
    }
    return most > 0.0 ? worst / most : worst;
}

static int64_t tensor_count(const psc_tensor *tensor) {
    int64_t count = 1;
    for (size_t a = 0; a < tensor->rank; a++) count *= (int64_t)tensor->shape[a];
    return count;
}

/* The plugin refuses these options, in words that contain `word`. */
static void refused_options(const char *plugin, const char *options, const char *word) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    cr_assert_neq(psc_session_plugin(session, plugin, options, &error), PSC_OK, "%s", options);
    cr_assert(strstr(error.message, word), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}

#endif
