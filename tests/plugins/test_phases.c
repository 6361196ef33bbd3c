/* Phases of a run: which plugins begin, which subscriptions pause, what host->phase and
 * host->source return. Captures belong to the changed run. */
#include "plugin_fixture.h"

#include <stddef.h>

TestSuite(phases, .init = fixture_open, .fini = fixture_close);

static int begun, events, ended, seen_phase, seen_source;

static int on_event(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    events++;
    return 0;
}

/* Subscribes for the whole session, so that only the host can withhold its events. */
static int open_observer(psc_context *context, const psc_host *given, void **state) {
    (void)state;
    host = given;
    cr_assert_eq(host->phase(context), PSC_PHASE_ONLY);
    return host->observe(context, PSC_HOOK_EMBED, NULL, on_event, NULL);
}

static int begin(psc_context *context, void *state) {
    (void)state;
    begun++;
    seen_phase = host->phase(context);
    seen_source = host->source(context);
    return 0;
}

static int end(psc_context *context, void *state, int status) {
    (void)context, (void)state;
    ended += status == 0;
    return 0;
}

static psc_status run_phase(int32_t phase, int32_t source) {
    psc_input input = {0, 10, ten};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.phase = phase;
    options.source = source;
    begun = events = ended = seen_phase = seen_source = 0;
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, &options, &error);
}

static void load(int phases) {
    bridge->open = open_observer;
    bridge->run_begin = begin;
    bridge->run_end = end;
    bridge->phases = phases;
    must_load(PLUGIN("bridge"), NULL);
}

static void expect_phases(const int32_t *phases, int n, bool sees) {
    for (int i = 0; i < n; i++) {
        cr_assert_eq(run_phase(phases[i], 3), PSC_OK, "%s", error.message);
        cr_assert_eq(begun, sees);
        cr_assert_eq(ended, sees);
        cr_assert_eq(events > 0, sees);
        if (!sees) continue;
        cr_assert_eq(seen_phase, phases[i]);
        cr_assert_eq(seen_source, phases[i] == PSC_PHASE_SOURCE ? 3 : -1);
    }
}

static const int32_t quiet[] = {PSC_PHASE_SOURCE, PSC_PHASE_BASE};
static const int32_t loud[] = {PSC_PHASE_ONLY, PSC_PHASE_CHANGED};

Test(phases, ordinary_plugin) {
    load(0);
    cr_assert(!psc_session_has_phases(session));
    expect_phases(quiet, 2, false);
    expect_phases(loud, 2, true);
    expect_phases(quiet, 2, false);
}

Test(phases, plugin_with_phases) {
    load(1);
    cr_assert(psc_session_has_phases(session));
    expect_phases(quiet, 2, true);
    expect_phases(loud, 2, true);
}

static int takes;

static int takes_source(psc_context *context, const void *state) {
    cr_assert_not_null(context);
    cr_assert_null(state); /* open stored none */
    return takes;
}

Test(phases, a_plugin_says_whether_it_takes_sources) {
    bridge->takes_source = takes_source;
    load(1); /* it reads none as its options are */
    cr_assert(psc_session_has_phases(session));
    cr_assert(!psc_session_takes_source(session));
    expect_phases(quiet, 1, false);
    expect_phases(quiet + 1, 1, true);
    expect_phases(loud, 2, true);
    takes = 1;
    load(1); /* another instance does */
    cr_assert(psc_session_takes_source(session));
    cr_assert_eq(run_phase(PSC_PHASE_SOURCE, 3), PSC_OK, "%s", error.message);
    cr_assert_eq(begun, 1);
}

Test(phases, who_says_nothing_takes_sources) {
    load(0);
    cr_assert(!psc_session_takes_source(session));
    load(PSC_PHASES_COMPARES);
    cr_assert(!psc_session_takes_source(session));
    load(1);
    cr_assert(psc_session_takes_source(session));
}

Test(phases, an_older_plugin_takes_sources) {
    bridge->takes_source = takes_source;
    bridge->struct_size = offsetof(psc_plugin, takes_source);
    load(1);
    cr_assert(psc_session_takes_source(session));
}

Test(phases, captures) {
    psc_array array;
    must_capture("hook_embed");
    cr_assert_eq(run_phase(PSC_PHASE_BASE, 0), PSC_OK);
    cr_assert_neq(psc_session_array(session, "hook_embed", &array, &error), PSC_OK);
    cr_assert_eq(run_phase(PSC_PHASE_CHANGED, 0), PSC_OK);
    must_array("hook_embed");
}

Test(phases, unknown) {
    REFUSED(run_phase(4, 0), PSC_ERROR_INPUT, "phase 4");
    REFUSED(run_phase(-1, 0), PSC_ERROR_INPUT, "phase -1");
    REFUSED(run_phase(PSC_PHASE_SOURCE, -2), PSC_ERROR_INPUT, "source -2");
}
