/* Partials that a plugin adds in events, from the team's threads: the totals are those of run_end;
 * a run that fails leaves none of them and the totals usable; what is refused. */
#include "plugin_fixture.h"

#include <stdint.h>

static psc_context *context;
static int sum, least;
static int32_t width;
static bool in_events;
static double bad_value, values[16], totals[2][16], lows[2][16];
static int end_returns;

static int on_open(psc_context *given, const psc_host *table, void **state) {
    (void)state;
    context = given;
    host = table;
    width = host->model(context)->d_model < 16 ? host->model(context)->d_model : 16;
    sum = host->accumulator(context, "sum", PSC_ACCUMULATE_SUM, width, 0);
    least = host->accumulator(context, "least", PSC_ACCUMULATE_MIN, width, 0);
    return sum < 0 || least < 0 ? -1 : 0;
}

static void add_slots(int64_t begin, int64_t end, int32_t thread, void *payload) {
    (void)thread, (void)payload;
    if (host->accumulate(context, sum, begin, end - begin, values + begin) ||
        host->accumulate(context, least, begin, end - begin, values + begin))
        return; /* the host keeps the error */
}

/* Each row is a partial of its own. */
static int on_event(const psc_event *event, void *payload) {
    (void)payload;
    for (int32_t r = 0; in_events && r < event->n_rows; r++) {
        for (int32_t i = 0; i < width; i++)
            values[i] = event->tensor.data[r * event->tensor.stride[0] + i] + bad_value;
        host->parallel_for(context, width, add_slots, NULL);
    }
    return 0;
}

static int on_run_begin(psc_context *given, void *state) {
    (void)state;
    return host->observe(given, PSC_HOOK_EMBED, NULL, on_event, NULL);
}

/* The same from embedding, unless events did it. */
static int on_run_end(psc_context *given, void *state, int status) {
    (void)state;
    float row[1024];
    int32_t n = 0;
    const psc_row *rows = host->rows(given, &n);
    for (int32_t r = 0; !in_events && status == 0 && r < n; r++) {
        if (host->embedding(given, rows[r].token, row)) return -1;
        for (int32_t i = 0; i < width; i++) values[i] = row[i];
        if (host->accumulate(given, sum, 0, width, values) ||
            host->accumulate(given, least, 0, width, values))
            return -1;
    }
    return end_returns;
}

static int on_report(psc_context *given, void *state) {
    (void)state;
    return host->accumulated(given, sum, 0, width, totals[in_events]) ||
           host->accumulated(given, least, 0, width, lows[in_events]);
}

static void open_accumulating(int32_t chunk, int32_t threads) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.chunk = chunk;
    options.threads = threads;
    options.accumulate = 1;
    cr_assert_eq(psc_model_open(&model, MODELS "parallel_f32", &error), PSC_OK);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    find_bridge();
    bridge->open = on_open;
    bridge->run_begin = on_run_begin;
    bridge->run_end = on_run_end;
    bridge->report = on_report;
    must_load(PLUGIN("bridge"), NULL);
}

static psc_status run(void) {
    psc_input input = {0, 10, ten};
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, NULL, &error);
}

static void report_after(int runs) {
    for (int i = 0; i < runs; i++) cr_assert_eq(run(), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    fixture_close();
}

static void same_totals(void) {
    cr_assert_neq(totals[0][0], 0.0);
    cr_assert_eq(memcmp(totals[0], totals[1], sizeof totals[0]), 0);
    cr_assert_eq(memcmp(lows[0], lows[1], sizeof lows[0]), 0);
}

Test(accumulate_events, the_totals_are_those_of_run_end) {
    for (int chunk = 3; chunk <= 16; chunk += 13)
        for (int e = 0; e <= 1; e++) {
            in_events = e;
            open_accumulating(chunk, 1 + e);
            report_after(2);
            if (e) same_totals();
        }
}

Test(accumulate_events, a_failed_run_leaves_nothing) {
    open_accumulating(4, 2);
    report_after(2);
    in_events = true;
    open_accumulating(4, 2);
    end_returns = -1;
    cr_assert_eq(run(), PSC_ERROR_PLUGIN);
    end_returns = 0;
    bad_value = NAN;
    cr_assert_eq(run(), PSC_ERROR_PLUGIN);
    cr_assert(
        strstr(error.message, "plugin bridge: accumulator 'sum', slot 0"), "%s", error.message);
    bad_value = 0x1p90;
    cr_assert_eq(run(), PSC_ERROR_PLUGIN);
    cr_assert(strstr(error.message, "outside the range of sums"), "%s", error.message);
    bad_value = 0.0;
    report_after(2);
    same_totals();
}

/* --- refusals -------------------------------------------------------------------------------- */

static int begin_with_parts(psc_context *given, void *state) {
    (void)state;
    host->parallel_for(given, width, add_slots, NULL);
    return 0;
}

static int report_with_parts(psc_context *given, void *state) {
    return begin_with_parts(given, state);
}

Test(accumulate_events, other_places_are_refused) {
    static const char want[] = "plugin bridge: accumulate is allowed in events and run_end only";
    open_accumulating(4, 2);
    bridge->run_begin = begin_with_parts;
    cr_assert_eq(run(), PSC_ERROR_STATE);
    cr_assert_str_eq(error.message, want, "%s", error.message);
    bridge->run_begin = on_run_begin;
    bridge->report = report_with_parts;
    cr_assert_eq(run(), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_ERROR_STATE);
    cr_assert_str_eq(error.message, want, "%s", error.message);
    fixture_close();
}
