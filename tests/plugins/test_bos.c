/* Plugins that need a beginning-of-text token: the session names the first, refuses runs and models
 * without the token, and reads the member only where the plugin's struct_size covers it. */
#include "plugin_fixture.h"
#include "model.h"

#include <stddef.h>

TestSuite(bos, .init = fixture_open, .fini = fixture_close);

static const int32_t bos = 0; /* of the small model: it has no tokenizer, config.json names none */

static psc_status run(int32_t sequence, int32_t n, const psc_token *tokens, int32_t phase) {
    psc_input input = {sequence, n, tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.phase = phase;
    return psc_session_run(session, &input, 1, &options, &error);
}

Test(bos, the_models_token) {
    cr_assert_eq(psc_model_bos(model), bos);
    psc_model *embedded = NULL;
    cr_assert_eq(psc_model_open(&embedded, PSC_SOURCE_DIR "/models/books-5m", &error), PSC_OK);
    size_t bytes;
    cr_assert_str_eq(
        psc_model_token_bytes(embedded, psc_model_bos(embedded), &bytes), "<|endoftext|>");
    psc_model_close(&embedded);
}

Test(bos, without_such_a_plugin) {
    must_load(PLUGIN("bridge"), NULL);
    cr_assert_null(psc_session_needs_bos(session));
    must_run_ten();
}

Test(bos, a_sequence_must_begin_with_it) {
    const psc_token good[3] = {{bos, 0, 0}, {17, 0, 1}, {5, 1, 2}};
    bridge->needs_bos = 1;
    must_load("ln", NULL);
    must_load(PLUGIN("bridge"), NULL);
    cr_assert_str_eq(psc_session_needs_bos(session), "bridge");
    REFUSED(run_ten(), PSC_ERROR_INPUT, "bridge", "sequence 0", "token 0", "with 3");
    cr_assert_eq(psc_session_length(session, 0), 0);
    cr_assert_eq(run(1, 3, good, PSC_PHASE_ONLY), PSC_OK, "%s", error.message);
    cr_assert_eq(run(1, 3, ten, PSC_PHASE_ONLY), PSC_OK, "a later part: %s", error.message);
    psc_session_truncate(session, 1, 3);
    cr_assert_eq(run(1, 3, ten, PSC_PHASE_ONLY), PSC_OK, "%s", error.message);
    psc_session_truncate(session, 1, 0);
    REFUSED(run(1, 3, ten, PSC_PHASE_ONLY), PSC_ERROR_INPUT, "bridge", "sequence 1");
    const psc_input inputs[2] = {{0, 3, good}, {2, 4, ten}};
    REFUSED(psc_session_run(session, inputs, 2, NULL, &error), PSC_ERROR_INPUT, "sequence 2");
}

/* Runs that the plugin does not see are not its business. */
Test(bos, phases) {
    bridge->needs_bos = 1;
    must_load(PLUGIN("bridge"), NULL);
    cr_assert_eq(run(0, 4, ten, PSC_PHASE_BASE), PSC_OK, "%s", error.message);
    bridge->phases = 1;
    psc_session_truncate(session, 0, 0);
    REFUSED(run(0, 4, ten, PSC_PHASE_BASE), PSC_ERROR_INPUT, "bridge", "with 3");
}

/* A plugin that was built before the member existed: what lies behind its structure is not read. */
Test(bos, a_shorter_structure) {
    bridge->struct_size = offsetof(psc_plugin, needs_bos);
    bridge->needs_bos = 1;
    cr_assert_not(psc_plugin_needs_bos(bridge));
    must_load(PLUGIN("bridge"), NULL);
    cr_assert_null(psc_session_needs_bos(session));
    must_run_ten();
}

Test(bos, a_model_without) {
    bridge->needs_bos = 1;
    model->config.bos_id = -1;
    REFUSED(psc_session_plugin(session, PLUGIN("bridge"), NULL, &error), PSC_ERROR_INPUT, "bridge",
        "beginning-of-text", "bos_token_id");
    cr_assert_null(psc_session_needs_bos(session));
    must_run_ten();
}
