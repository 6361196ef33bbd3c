/* The whole life of a session while memory runs out: requests fail in turn, once and for good. A
 * life ends with a sentence of that or with the results of enough memory. */
#include "failing_malloc.h"
#include "golden.h"
#include "psc_corpus.h"
#include "psc_spread.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MODEL "parallel_f32"
#define VALUES PSC_SOURCE_DIR "/tests/golden/interventions/parallel_f32_values.safetensors"

static const psc_token tokens[] = {{3, 0, 1}, {17, 1, 2}, {5, 2, 3}, {79, 3, 4}, {0, 4, 5}};
enum { LENGTH = sizeof tokens / sizeof *tokens, MOST_LIVES = 250 };

static psc_model *model;
static psc_session *session;
static psc_error error;
static char state[] = "/tmp/psc-session-memory-XXXXXX";

/* A plugin with its options; a life loads those of its scene. */
typedef struct loaded {
    const char *name, *options;
} loaded;

typedef struct scene {
    loaded plugins[3];
    bool accumulates, captures, phases;
} scene;

static psc_status open_session(const scene *s) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = 1; /* only this thread's requests are counted */
    options.chunk = 3;
    options.n_sequences = 2;
    options.capacity = 16;
    options.accumulate = s->accumulates;
    return psc_session_open(&session, model, &options, &error);
}

static psc_status prepare(const scene *s) {
    psc_status status = open_session(s);
    if (!status && !s->accumulates) status = psc_session_target(session, "top:2", &error);
    if (!status && !s->accumulates) status = psc_session_target(session, "#5", &error);
    if (!status && !s->accumulates) status = psc_session_contrast(session, "#7", "#9", &error);
    if (!status && s->accumulates) status = psc_session_target(session, "next", &error);
    for (int i = 0; !status && i < 3 && s->plugins[i].name; i++)
        status = psc_session_plugin(session, s->plugins[i].name, s->plugins[i].options, &error);
    if (!status && s->captures)
        status = psc_session_capture(session, "blocks.*.hook_resid_post", &error);
    if (!status && s->captures)
        status = psc_session_capture(session, "blocks.1.attn.hook_pattern", &error);
    return status;
}

static psc_status run(const scene *s, int32_t phase) {
    const psc_input inputs[] = {{0, LENGTH, tokens}, {1, LENGTH - 1, tokens + 1}};
    const psc_document documents[] = {{0, 0}, {1, 0}};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.logits = PSC_ROWS_ALL;
    options.phase = phase;
    options.documents = s->accumulates ? documents : NULL;
    psc_session_truncate(session, 0, 0);
    psc_session_truncate(session, 1, 0);
    return psc_session_run(session, inputs, s->accumulates ? 2 : 1, &options, &error);
}

static psc_status use(const scene *s) {
    char identity[33];
    psc_status status = PSC_OK;
    if (s->phases) status = run(s, PSC_PHASE_SOURCE);
    if (!status && s->phases) status = run(s, PSC_PHASE_BASE);
    if (!status) status = run(s, s->phases ? PSC_PHASE_CHANGED : PSC_PHASE_ONLY);
    if (!s->accumulates) return status;
    if (!status) status = psc_session_state_save(session, state, "client", 6, &error);
    if (!status) status = psc_session_state_load(session, state, &error);
    if (!status) status = psc_session_state_merge(session, state, &error);
    if (!status) status = psc_session_totals_identity(identity, session, &error);
    return status ? status : psc_session_report(session, NULL, &error);
}

/* The results of a session, as text; null if memory ran out. */
static char *live(psc_status *status, const scene *s) {
    psc_results *results = NULL;
    char *text = NULL;
    *status = prepare(s);
    if (!*status) *status = use(s);
    if (!*status) *status = psc_session_take_results(&results, session, &error);
    psc_session_close(&session);
    memory_back();
    if (!*status)
        cr_assert_eq(
            psc_results_write_memory(&text, NULL, results, PSC_FORMAT_JSON, NULL, &error), PSC_OK);
    psc_results_close(&results);
    return text;
}

static void fail_each(const scene *s, bool on) {
    psc_status status;
    char *first = live(&status, s); /* what a process asks for once only */
    free(first);
    memory_fail_at(0, false);
    char *whole = live(&status, s);
    const long n = memory_requests;
    cr_assert_eq(status, PSC_OK, "%s", error.message);
    for (long i = 1; i <= n; i += 1 + n / MOST_LIVES) {
        error = (psc_error){PSC_OK, ""};
        memory_fail_at(i, on);
        char *text = live(&status, s);
        cr_assert_eq(!status, text != NULL);
        if (text)
            cr_assert_str_eq(text, whole, "request %ld of %ld", i, n);
        else
            cr_assert(status == PSC_ERROR_MEMORY || strstr(error.message, "memory"),
                "request %ld of %ld: %d, %s", i, n, status, error.message);
        psc_free(text);
    }
    cr_assert(!MEMORY_FAILS || n > 100, "%ld requests", n);
    psc_free(whole);
}

static void fail_scene(const scene *s) {
    const int file = mkstemp(state);
    cr_assert_geq(file, 0);
    close(file);
    model = must_model(golden_path(MODEL, NULL));
    fail_each(s, false);
    fail_each(s, true);
    psc_model_close(&model);
    unlink(state);
}

Test(session_memory, a_run_of_plugins_with_captures) {
    static const scene s = {
        .plugins = {{"logits", "level=layer+head"}, {"attention", "reader=L1H2"}, {"ln", NULL}},
        .captures = true};
    fail_scene(&s);
}

Test(session_memory, variants) {
    static const scene s = {.plugins = {{"sweep", "over=heads,do=zero"}, {"partition", NULL}}};
    fail_scene(&s);
}

Test(session_memory, an_intervention_and_its_effects) {
    static const scene s = {
        .plugins = {{"ablate", "at=L0H1+1_mlp_out,by=mean,file=" VALUES}, {"effects", NULL}},
        .phases = true};
    fail_scene(&s);
}

Test(session_memory, totals_and_their_state) {
    static const scene s = {
        .plugins = {{"logits", "level=layer"}, {"attention", "contexts=2"}, {"ln", NULL}},
        .accumulates = true};
    fail_scene(&s);
}
