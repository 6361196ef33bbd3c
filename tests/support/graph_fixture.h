/* Runs of the plugins graph and frozen on one text, and refusals of both.
 * Private to test_graph*.c and test_frozen.c.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: sessions and models are closed by the caller. */
#ifndef GRAPH_FIXTURE_H
#define GRAPH_FIXTURE_H

#include "ln_mlp_fixture.h"

/* Equal to tests/tools/make_graph_golden.py. */
static const int32_t text[] = {3, 41, 7, 3, 60};
enum { LENGTH = sizeof text / sizeof *text };
static psc_error error;

static inline psc_status try_run(psc_session *session) {
    psc_token tokens[LENGTH] = {{0}};
    for (int i = 0; i < LENGTH; i++) tokens[i].id = text[i];
    psc_input input = {0, LENGTH, tokens};
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, NULL, &error);
}

/* Options "key=value" that must not open; the sentence names the key. */
static inline void assert_options_refused(
    psc_model *model, const char *plugin, const char *const *bad, size_t n) {
    psc_session *session = must_session(model, NULL, 1, 0);
    for (size_t i = 0; i < n; i++) {
        char key[16];
        cr_assert_neq(psc_session_plugin(session, plugin, bad[i], &error), PSC_OK, "%s", bad[i]);
        snprintf(key, sizeof key, "%.*s", (int)strcspn(bad[i], "="), bad[i]);
        cr_assert(strstr(error.message, key), "%s: %s", bad[i], error.message);
    }
    psc_session_close(&session);
}

static inline int edit_nothing(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

/* A run that must fail with a sentence that contains `says`. */
static inline void assert_run_refused(psc_model *model, const char *plugin, const char *options,
    psc_event_fn editor, const char *says) {
    psc_session *session = must_session(model, NULL, 1, 0);
    cr_assert_eq(psc_session_plugin(session, plugin, options, &error), PSC_OK, "%s", error.message);
    if (editor)
        cr_assert_eq(psc_session_edit(session, PSC_HOOK_Z, NULL, editor, NULL, &error), PSC_OK);
    cr_assert_neq(try_run(session), PSC_OK);
    cr_assert(strstr(error.message, says), "%s", error.message);
    psc_session_close(&session);
}

#endif
