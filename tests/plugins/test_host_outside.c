/* Calls of the host outside its callbacks and in ones that may not make them: each gives its
 * refusal, and the next run fails with the call's name; calls of no elements do nothing; a
 * stop ends long calls. */
#include "plugin_fixture.h"

static psc_context *c;
static int (*in_begin)(void), (*in_end)(void);

static int on_open(psc_context *context, const psc_host *given, void **state) {
    (void)state;
    c = context;
    host = given;
    return 0;
}

static int on_begin(psc_context *context, void *state) {
    (void)context, (void)state;
    return in_begin ? in_begin() : 0;
}

static int on_end(psc_context *context, void *state, int status) {
    (void)context, (void)state;
    return in_end && !status ? in_end() : 0;
}

static void begin(void) {
    fixture_open();
    bridge->open = on_open;
    bridge->run_begin = on_begin;
    bridge->run_end = on_end;
    must_load(PLUGIN("bridge"), NULL);
}

TestSuite(host_outside, .init = begin, .fini = fixture_close);

/* --- outside --------------------------------------------------------------------------------- */

static float some[4096];
static double numbers[128];
static int32_t number;
static uint64_t size;

/* Each call's refusal. */
#define CALLS(X)                                                                                   \
    X("model", !host->model(c))                                                                    \
    X("life_alloc", !host->life_alloc(c, 8))                                                       \
    X("run_alloc", !host->run_alloc(c, 8))                                                         \
    X("accumulating", host->accumulating(c) == 0)                                                  \
    X("accumulator", host->accumulator(c, "a", PSC_ACCUMULATE_SUM, 1, 0) < 0)                      \
    X("text", !host->text(c, &size))                                                               \
    X("phase", host->phase(c) == PSC_PHASE_ONLY)                                                   \
    X("source", host->source(c) == -1)                                                             \
    X("targets", !host->targets(c, &number))                                                       \
    X("retain", host->retain(c, PSC_HOOK_Z, NULL) < 0)                                             \
    X("prepare_variants", host->prepare_variants(c) != 0)                                          \
    X("array", !host->array(c, "a", PSC_F64, 0, NULL))                                             \
    X("value_number", host->value_number(c, "a", 1) != 0)                                          \
    X("value_text", host->value_text(c, "a", "b") != 0)                                            \
    X("append_number", host->append_number(c, "a", 1) != 0)                                        \
    X("append_text", host->append_text(c, "a", "b") != 0)                                          \
    X("summary_text", host->summary_text(c, "a") != 0)                                             \
    X("document", host->document(c, "a", "b", 1) != 0)                                             \
    X("variants", host->variants(c, 0, NULL, 0, NULL, NULL) != 0)                                  \
    X("cancelled", host->cancelled(c) != 0)                                                        \
    X("accumulated", host->accumulated(c, 0, 0, 1, numbers) != 0)                                  \
    X("accumulated_top", host->accumulated_top(c, 0, 0, NULL) < 0)                                 \
    X("bias", !host->bias(c, PSC_W_Q, 0))                                                          \
    X("embedding", host->embedding(c, 0, some) != 0)                                               \
    X("unembedding", host->unembedding(c, 0, some) != 0)                                           \
    X("unembedding_mean", !host->unembedding_mean(c))                                              \
    X("apply", host->apply(c, PSC_W_Q, 0, some, some + 512, 1) != 0)                               \
    X("row_norms", host->row_norms(c, PSC_W_Q, 0, 0, numbers) != 0)                                \
    X("column_norms", host->column_norms(c, PSC_W_Q, 0, 0, numbers) != 0)                          \
    X("rotate", host->rotate(c, 0, 0, some) != 0)                                                  \
    X("sentences", !host->sentences(c, &number))                                                   \
    X("read_sentences", !host->read_sentences(c, "/nowhere", &number))

#define AS_CASE(name, refusal)                                                                     \
    do {                                                                                           \
        cr_assert(refusal, "%s gave something", name);                                             \
        in_begin = NULL;                                                                           \
        REFUSED(run_ten(), PSC_ERROR_STATE,                                                        \
            "plugin bridge: " name " was called outside the "                                      \
            "plugin's callbacks");                                                                 \
        must_run_ten();                                                                            \
    } while (0);

Test(host_outside, each_call_is_refused_by_its_name) {
    CALLS(AS_CASE)
}

/* --- no elements ----------------------------------------------------------------------------- */

static int calls_of_nothing(void) {
    double sums[32] = {0};
    some[0] = 5;
    host->exp(c, 0, some, some);
    host->erf(c, 0, some, some);
    host->log(c, 0, numbers, numbers);
    host->shares(c, sums, some, some, NULL, 0, 0, 1);
    cr_assert_eq(some[0], 5);
    cr_assert_eq(host->apply(c, PSC_W_Q, 0, some, some + 512, 0), 0);
    cr_assert_eq(host->pullback(c, PSC_W_Q, 0, some, some + 512, 0), 0);
    cr_assert_eq(some[0], 5);
    return 0;
}

Test(host_outside, calls_of_no_elements_do_nothing) {
    in_end = calls_of_nothing;
    must_run_ten();
}

/* --- a stop ---------------------------------------------------------------------------------- */

static bool stops;
static int calls_stopped;

static int stop(void *payload) {
    (void)payload;
    return stops;
}

static int calls_while_stopped(void) {
    stops = true;
    cr_assert_neq(host->cancelled(c), 0);
    calls_stopped += host->apply(c, PSC_W_Q, 0, some, some + 512, 1) == PSC_ERROR_CANCELLED;
    calls_stopped += host->pullback(c, PSC_W_Q, 0, some, some + 512, 1) == PSC_ERROR_CANCELLED;
    calls_stopped += host->row_norms(c, PSC_W_Q, 0, 0, numbers) == PSC_ERROR_CANCELLED;
    calls_stopped += host->column_norms(c, PSC_W_Q, 0, 0, numbers) == PSC_ERROR_CANCELLED;
    return 0;
}

Test(host_outside, a_stop_ends_calls) {
    psc_input input = {0, 10, ten};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    in_end = calls_while_stopped;
    options.stop = stop;
    REFUSED(
        psc_session_run(session, &input, 1, &options, &error), PSC_ERROR_CANCELLED, "cancelled");
    cr_assert_eq(calls_stopped, 4);
    cr_assert_eq(psc_session_length(session, 0), 0);
}
