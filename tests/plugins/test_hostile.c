/* The calls of hostile_calls.h from every callback, from a part of parallel_for and from a thread
 * of the plugin's own, in sessions over one text and over documents, with the plugin's context and
 * with none. Each fails with the plugin's and the call's name; the session can run again. */
#include "hostile_calls.h"

#include <pthread.h>

typedef enum place {
    IN_OPEN,
    IN_RUN_BEGIN,
    IN_EVENT,
    IN_RUN_END,
    IN_REPORT,
    IN_CLOSE,
    IN_PART,   /* of parallel_for, in run_end */
    IN_THREAD, /* of the plugin's own, in run_end */
    N_PLACES
} place;

static place calling = N_PLACES;
static int number;
static const char *word;
static bool without_context;

static void call_now(void) {
    c = without_context ? NULL : context;
    word = make_call(number);
}

static void call_at(place at) {
    if (at == calling) call_now();
}

static void call_in_part(int64_t begin, int64_t end, int32_t thread, void *payload) {
    (void)end, (void)thread, (void)payload;
    if (begin == 0) call_now();
}

static void *call_in_thread(void *payload) {
    call_now();
    return payload;
}

static int on_event(const psc_event *given, void *payload) {
    (void)given, (void)payload;
    call_at(IN_EVENT);
    return 0;
}

static int hostile_open(psc_context *given, const psc_host *table, void **state) {
    (void)state;
    context = given;
    host = table;
    if (host->accumulating(context)) {
        if (host->accumulator(context, "sums", PSC_ACCUMULATE_SUM, 4, 0) != 0) return -1;
        if (host->accumulator(context, "tops", PSC_ACCUMULATE_TOP, 4, 2) != 1) return -1;
    }
    call_at(IN_OPEN);
    return 0;
}

static int hostile_begin(psc_context *given, void *state) {
    (void)given, (void)state;
    retained = host->retain(context, PSC_HOOK_Z, NULL);
    if (retained < 0 || host->prepare_variants(context)) return -1;
    call_at(IN_RUN_BEGIN);
    return host->observe(context, PSC_HOOK_Z, NULL, on_event, NULL);
}

static int hostile_end(psc_context *given, void *state, int status) {
    (void)given, (void)state, (void)status;
    pthread_t thread;
    call_at(IN_RUN_END);
    if (calling == IN_PART) host->parallel_for(context, 8, call_in_part, NULL);
    if (calling == IN_THREAD) {
        cr_assert_eq(pthread_create(&thread, NULL, call_in_thread, NULL), 0);
        pthread_join(thread, NULL);
    }
    return 0;
}

static int hostile_report(psc_context *given, void *state) {
    (void)given, (void)state;
    call_at(IN_REPORT);
    return 0;
}

static void hostile_close(psc_context *given, void *state) {
    (void)given, (void)state;
    call_at(IN_CLOSE);
}

static bool accumulates;

static void open_again(void) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session_close(&session);
    options.threads = 2;
    options.capacity = 40;
    options.accumulate = accumulates;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
}

/* A whole life: open, run, report. Returns the first failure. */
static psc_status live(void) {
    error = (psc_error){PSC_OK, ""};
    psc_status status = psc_session_plugin(session, PLUGIN("bridge"), NULL, &error);
    if (status == PSC_OK) status = run_ten();
    if (status == PSC_OK && accumulates) status = psc_session_report(session, NULL, &error);
    return status;
}

/* Makes every call from one place; each must fail with the names. */
static void call_all(place at) {
    for (number = 0; number < N_CALLS; number++) {
        open_again();
        calling = at;
        word = NULL;
        const psc_status status = live();
        if (at == IN_CLOSE) psc_session_close(&session);
        cr_assert(word, "call %d was not made at place %d", number, (int)at);
        calling = N_PLACES;
        if (at == IN_CLOSE || (at == IN_THREAD && without_context)) continue;
        cr_assert_neq(
            status, PSC_OK, "call %d (%s) at place %d was accepted", number, word, (int)at);
        cr_assert(strstr(error.message, "plugin bridge: "), "call %d: %s", number, error.message);
        cr_assert(strstr(error.message, word), "'%s' (call %d, place %d) is not in: %s", word,
            number, (int)at, error.message);
        cr_assert_eq(psc_session_array(session, "x", &(psc_array){0}, NULL), PSC_ERROR_INPUT);
        if (at == IN_OPEN || accumulates) continue;
        must_run_ten(); /* the session is as before */
    }
}

static void prepare(void) {
    fixture_open();
    memset(long_name, 'a', sizeof long_name - 1);
    bridge->open = hostile_open;
    bridge->run_begin = hostile_begin;
    bridge->run_end = hostile_end;
    bridge->report = hostile_report;
    bridge->close = hostile_close;
}

TestSuite(hostile, .init = prepare, .fini = fixture_close);

static void call_from_everywhere(void) {
    for (int none = 0; none < 2; none++) {
        without_context = none;
        for (place at = IN_OPEN; at < N_PLACES; at++) call_all(at);
    }
}

Test(hostile, calls_over_one_text) {
    call_from_everywhere();
}

Test(hostile, calls_over_documents) {
    accumulates = true;
    call_from_everywhere();
}

/* Without any plugin at work a call has no one to fail. */
Test(hostile, calls_after_the_callbacks) {
    open_again();
    cr_assert_eq(live(), PSC_OK, "%s", error.message);
    for (number = 0; number < N_CALLS; number++) {
        c = NULL;
        cr_assert(make_call(number));
        c = context;
        cr_assert(make_call(number));
    }
    REFUSED(run_ten(), PSC_ERROR_STATE, "plugin bridge: ", "outside the plugin's callbacks");
    must_run_ten();
}
