/* The plugin logits over documents: its targets' own logits have the bits of hook_logits, which no
 * run computes unless a target or an option needs the vocabulary. */
#include "ln_mlp_fixture.h"
#include "registry.h"
#include "session_inside.h"

enum { ROWS = 11, TARGETS = 3, SEQUENCES = 2 };

/* What hook_logits shows of the targets: the least, the greatest and the sum over the rows. */
typedef struct seen {
    double least[TARGETS], most[TARGETS], sum[TARGETS], n[TARGETS];
} seen;

/* The targets next, #7 and #60 - #3. */
static int see(const psc_event *event, void *payload) {
    seen *s = payload;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const float *z = event->tensor.data + r * event->tensor.stride[0];
        const int32_t next = event->rows[r].next;
        const double values[TARGETS] = {next < 0 ? NAN : (double)z[next], (double)z[7],
            (double)(float)((double)z[60] - (double)z[3])};
        for (int t = 0; t < TARGETS; t++) {
            if (isnan(values[t])) continue;
            s->least[t] = fmin(s->least[t], values[t]);
            s->most[t] = fmax(s->most[t], values[t]);
            s->sum[t] += values[t];
            s->n[t]++;
        }
    }
    return 0;
}

static int lower(const psc_event *event, void *payload) {
    (void)payload;
    for (int32_t r = 0; r < event->n_rows; r++)
        for (int64_t i = 0; i < event->tensor.shape[1]; i++)
            event->tensor.data[r * event->tensor.stride[0] + i] -= 0.5f + 0.125f * (float)(i % 5);
    return 0;
}

static psc_session *open_corpus(psc_model *model, const char *options, int top) {
    psc_session_options given = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    psc_error error = {0};
    given.threads = 2;
    given.chunk = 4;
    given.n_sequences = SEQUENCES;
    given.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &given, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_target(session, "next", &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, "#7", &error), PSC_OK);
    cr_assert_eq(psc_session_contrast(session, "#60", "#3", &error), PSC_OK);
    if (top) cr_assert_eq(psc_session_target(session, "top:1", &error), PSC_OK);
    cr_assert_eq(psc_session_plugin(session, "logits", options, &error), PSC_OK);
    return session;
}

static void run_windows(psc_session *session) {
    static psc_token tokens[SEQUENCES][ROWS];
    psc_input inputs[SEQUENCES];
    psc_error error = {0};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.no_logits = 1;
    for (int s = 0; s < SEQUENCES; s++) {
        for (int i = 0; i < ROWS; i++) tokens[s][i].id = (i * i + 7 * i * s + 3 * s) % 80;
        inputs[s] = (psc_input){s, ROWS - s, tokens[s]};
    }
    cr_assert_eq(
        psc_session_run(session, inputs, SEQUENCES, &options, &error), PSC_OK, "%s", error.message);
}

static double reported(psc_session *session, const char *name, int t) {
    const psc_array array = must_array(session, name);
    return array_at(&array, t); /* population 0: all */
}

static void compare_logits(const char *name, int edited) {
    psc_error error = {0};
    psc_model *model = must_model(golden_path(name, NULL));
    psc_session *session = open_corpus(model, "level=layer", 0);
    psc_session *other = open_corpus(model, "level=layer", 0);
    seen s = {.n = {0}};
    for (int t = 0; t < TARGETS; t++) {
        s.least[t] = INFINITY;
        s.most[t] = -INFINITY;
    }
    for (int i = 0; edited && i < 2; i++)
        cr_assert_eq(
            psc_session_edit(i ? other : session, PSC_HOOK_LOGITS, NULL, lower, NULL, &error),
            PSC_OK);
    cr_assert_eq(psc_session_observe(other, PSC_HOOK_LOGITS, NULL, see, &s, &error), PSC_OK);
    run_windows(session);
    run_windows(other);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_report(other, NULL, &error), PSC_OK, "%s", error.message);
    static const char *const names[] = {"logits.logit_mean", "logits.logit_variance",
        "logits.share_mean", "logits.share_min", NULL};
    assert_same_arrays(session, other, names, "an observer of hook_logits");
    for (int t = 0; t < TARGETS; t++) {
        cr_assert_eq(
            reported(session, "logits.logit_min", t), s.least[t], "%s: target %d", name, t);
        cr_assert_eq(reported(session, "logits.logit_max", t), s.most[t], "%s: target %d", name, t);
        cr_assert_float_eq(
            reported(session, "logits.logit_mean", t), s.sum[t] / s.n[t], 1e-11, "%s %d", name, t);
    }
    psc_session_close(&session);
    psc_session_close(&other);
    psc_model_close(&model);
}

Test(logits_corpus, own_logits_are_those_of_the_unembedding) {
    for (int i = 0; golden_variants[i]; i++) compare_logits(golden_variants[i], 0);
}

Test(logits_corpus, edits_of_the_logits_are_seen) {
    compare_logits("parallel_f32", 1);
}

/* Counts the rows at whose final LN the run is going to compute logits. */
typedef struct watch {
    const psc_session *session;
    int wanted;
} watch;

static int on_scale(const psc_event *event, void *payload) {
    watch *w = payload;
    w->wanted +=
        psc_registry_wants(w->session->registry, PSC_HOOK_LOGITS, -1, event->rows, event->n_rows);
    return 0;
}

static int computes_logits(psc_model *model, const char *options, int top) {
    psc_error error = {0};
    psc_session *session = open_corpus(model, options, top);
    watch w = {session, 0};
    cr_assert_eq(
        psc_session_observe(session, PSC_HOOK_LN_FINAL_SCALE, NULL, on_scale, &w, &error), PSC_OK);
    run_windows(session);
    psc_session_close(&session);
    return w.wanted > 0;
}

Test(logits_corpus, the_unembedding_is_computed_only_where_it_is_needed) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    cr_assert_not(computes_logits(model, "level=head", 0));
    cr_assert_not(computes_logits(model, "level=layer+neuron", 0));
    cr_assert(computes_logits(model, "level=head", 1));
    cr_assert(computes_logits(model, "level=head,centered=yes", 0));
    psc_model_close(&model);
}
