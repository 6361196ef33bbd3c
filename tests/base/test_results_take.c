/* Taken results: they outlive later runs and the session, have the same content, and the session
 * goes on as if nothing had been taken. */
#include "plugin_fixture.h"

#include "results.h"

static void open_this(void) {
    open_session("parallel_f32", 3, 2);
    must_load("ln", NULL);
    must_load("logits", "level=head");
    must_capture("blocks.*.hook_resid_post");
}

TestSuite(take, .init = open_this, .fini = fixture_close);

static char *text_of(const psc_results *from, psc_format format) {
    char *text = NULL;
    cr_assert_eq(psc_results_write_memory(&text, NULL, from, format, NULL, &error), PSC_OK, "%s",
        error.message);
    return text;
}

static psc_results *must_take(void) {
    psc_results *taken = NULL;
    cr_assert_eq(psc_session_take_results(&taken, session, &error), PSC_OK, "%s", error.message);
    return taken;
}

static psc_status take(void) {
    psc_results *taken = (psc_results *)&error;
    psc_status status = psc_session_take_results(&taken, session, &error);
    if (status != PSC_OK) cr_assert_null(taken);
    psc_results_close(&taken);
    return status;
}

Test(take, content_and_place) {
    const psc_results *place = psc_session_results(session);
    must_run_ten();
    char *before = text_of(place, PSC_FORMAT_JSON);
    const void *data = must_array("blocks.1.hook_resid_post").data;
    const float *logits = psc_session_logits(session, 9);
    psc_results *taken = must_take();
    cr_assert_eq(psc_session_results(session), place, "the session's pointer stays");
    cr_assert(!psc_results_version(place) && psc_results_section_count(place) == 0);
    cr_assert_eq(psc_results_capture_count(place), 0);
    cr_assert_eq(psc_session_logits(session, 9), logits);
    psc_array array;
    cr_assert_eq(psc_results_find_array(&array, taken, "blocks.1.hook_resid_post", &error), PSC_OK);
    cr_assert_eq(array.data, data, "the memory moves");
    char *after = text_of(taken, PSC_FORMAT_JSON);
    cr_assert_str_eq(before, after);
    psc_results_close(&taken);
    cr_assert_null(taken);
    psc_results_close(&taken);
    psc_results_close(NULL);
    psc_free(before);
    psc_free(after);
}

Test(take, results_outlive_runs_and_the_session) {
    must_run_ten();
    char *first = text_of(psc_session_results(session), PSC_FORMAT_JSON);
    psc_results *taken[3];
    taken[0] = must_take();
    for (int i = 1; i < 3; i++) {
        must_run_ten();
        char *again = text_of(psc_session_results(session), PSC_FORMAT_JSON);
        cr_assert_str_eq(again, first, "a run after taking leaves the same");
        psc_free(again);
        if (i == 2) must_run_ten(); /* with the spare memory of a run that was not taken */
        taken[i] = must_take();
    }
    psc_session_close(&session);
    for (int i = 0; i < 3; i++) {
        char *kept = text_of(taken[i], PSC_FORMAT_JSON);
        cr_assert_str_eq(kept, first);
        psc_free(kept);
        psc_results_close(&taken[i]);
    }
    psc_free(first);
}

Test(take, a_report_over_documents) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.accumulate = 1;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    must_load("ln", NULL);
    must_run_ten();
    REFUSED(take(), PSC_ERROR_STATE, "no results");
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    char *first = text_of(psc_session_results(session), PSC_FORMAT_JSON);
    psc_results *taken = must_take();
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    char *second = text_of(psc_session_results(session), PSC_FORMAT_JSON);
    cr_assert_str_eq(first, second);
    psc_results_close(&taken);
    psc_free(first);
    psc_free(second);
}

static int take_inside(const psc_event *event, void *payload) {
    psc_results *taken = NULL;
    (void)event;
    *(psc_status *)payload = psc_session_take_results(&taken, session, NULL);
    return 0;
}

Test(take, refusals) {
    psc_status inside = PSC_OK;
    REFUSED(take(), PSC_ERROR_STATE, "has not run yet");
    cr_assert_eq(
        psc_session_observe(session, PSC_HOOK_EMBED, NULL, take_inside, &inside, &error), PSC_OK);
    must_run_ten();
    cr_assert_eq(inside, PSC_ERROR_STATE);
    cr_assert_eq(take(), PSC_OK);
    REFUSED(take(), PSC_ERROR_STATE, "they were taken");
    psc_session *other = NULL;
    cr_assert_eq(psc_session_open(&other, model, NULL, &error), PSC_OK);
    REFUSED(psc_session_adopt(other, session, "a", &error), PSC_ERROR_STATE, "no results");
    psc_session_close(&other);
    must_run_ten();
    cr_assert_eq(psc_session_run(session, NULL, 0, NULL, &error), PSC_ERROR_INPUT);
    REFUSED(take(), PSC_ERROR_STATE, "its last run failed");
}
