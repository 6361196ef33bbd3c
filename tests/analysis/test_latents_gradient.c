/* The gradient in front of an edit of latents against finite differences along a random direction of
 * all embeddings, and where it is refused. */
#include "golden.h"
#include "psc_metric.h"
#include "golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SAE PSC_SOURCE_DIR "/tests/golden/sae/"

enum { ROWS = 9, LATENTS = 8, WIDTH = 64 };

static psc_error error;
static double step; /* along the direction */
static double along;

static double direction(int32_t row, int64_t i) {
    return sin(1.0 + 0.7 * row + 1.3 * (double)i);
}

static int move(const psc_event *event, void *payload) {
    (void)payload;
    for (int32_t r = 0; r < event->n_rows; r++)
        for (int64_t i = 0; i < event->tensor.shape[1]; i++)
            event->tensor.data[r * event->tensor.stride[0] + i] +=
                (float)(step * direction(event->rows[r].index, i));
    return 0;
}

static int take(const psc_event *event, void *payload) {
    (void)payload;
    for (int32_t r = 0; r < event->n_rows; r++)
        for (int64_t i = 0; i < event->tensor.shape[1]; i++)
            along += (double)event->tensor.data[r * event->tensor.stride[0] + i] *
                     direction(event->rows[r].index, i);
    return 0;
}

/* A session with the edit, and with hooks on the embedding and its gradient. */
static psc_session *open_edited(psc_model *model, const char *plugin, const char *dictionary) {
    char options[1024] = "at=F0", *at = options + strlen(options);
    psc_session *session = must_session(model, NULL, 2, 0);
    psc_filter gradient = PSC_FILTER_INIT;
    for (int i = 1; i < LATENTS; i++) at += sprintf(at, "+F%d", i);
    snprintf(at, sizeof options - (size_t)(at - options), ",sae=" SAE "%s%s", dictionary,
        strcmp(plugin, "scale") == 0 ? ",alpha=-4" : "");
    cr_assert_eq(psc_session_plugin(session, plugin, options, &error), PSC_OK, "%s: %s", dictionary,
        error.message);
    gradient.gradient = 1;
    cr_assert_eq(psc_session_edit(session, PSC_HOOK_EMBED, NULL, move, NULL, &error), PSC_OK);
    cr_assert_eq(
        psc_session_observe(session, PSC_HOOK_EMBED, &gradient, take, NULL, &error), PSC_OK);
    return session;
}

static psc_status run(psc_session *session, double *value) {
    static const int32_t ids[ROWS] = {3, 17, 5, 79, 0, 41, 8, 60, 12};
    psc_token tokens[ROWS] = {{0}};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    psc_metric metric = PSC_METRIC_INIT;
    psc_metric_term term = PSC_METRIC_TERM_INIT;
    for (int i = 0; i < ROWS; i++) tokens[i].id = ids[i];
    const psc_input input = {0, ROWS, tokens};
    term.row = ROWS - 1;
    term.token = 5;
    metric.terms = &term;
    metric.n_terms = 1;
    metric.value = value;
    options.metric = &metric;
    along = 0;
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, &options, &error);
}

static void check(psc_model *model, const char *plugin, const char *dictionary) {
    double here, up, down;
    psc_session *session = open_edited(model, plugin, dictionary);
    step = 0;
    cr_assert_eq(run(session, &here), PSC_OK, "%s: %s", dictionary, error.message);
    const double want = along;
    step = 1e-3;
    cr_assert_eq(run(session, &up), PSC_OK);
    step = -1e-3;
    cr_assert_eq(run(session, &down), PSC_OK);
    const double got = (up - down) / 2e-3;
    cr_assert_float_eq(want, got, 2e-3 + 4e-3 * fabs(got), "%s of %s: %g, but %g by differences",
        plugin, dictionary, want, got);
    psc_session_close(&session);
}

Test(latents_gradient, finite_differences) {
    static const char *const names[] = {"standard", "standard_mlp", "hook_z", "gated", "jumprelu",
        "learned_topk", "abstopk", "average_in", "learned_gated"};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        check(model, "scale", names[i]);
        check(model, "ablate", names[i]);
    }
    check(model, "steer", "standard");
    psc_model_close(&model);
}

Test(latents_gradient, refused) {
    static const char *const names[] = {"transcoder", "layer_norm", "constant_norm", "centered"};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        double value;
        psc_session *session = open_edited(model, "scale", names[i]);
        step = 0;
        cr_assert_eq(run(session, &value), PSC_ERROR_PLUGIN);
        cr_assert(strstr(error.message, "no gradient goes back through latents"), "%s: %s",
            names[i], error.message);
        psc_session_close(&session);
    }
    psc_model_close(&model);
}
