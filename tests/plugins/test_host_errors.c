/* A run whose error was set fails, even if the callback returned 0: from every callback, from
 * inside parallel_for, and from the callback of a variant. The session stays usable each time. */
#include "plugin_fixture.h"

#include <stdatomic.h>

TestSuite(host_errors, .init = fixture_open, .fini = fixture_close);

/* Where to call host->fail; the callback still returns 0. */
typedef enum place {
    IN_OPEN,
    IN_RUN_BEGIN,
    IN_OBSERVER,
    IN_EDITOR,
    IN_RUN_END,
    IN_VARIANT,
    IN_REPORT,
    NOWHERE
} place;

static place failing;
static int begun, ended, closed, variants_seen;

static void fail_in(psc_context *context, place at) {
    if (at == failing) host->fail(context, "there is a fault at place %d", (int)at);
}

static int on_event(const psc_event *event, void *payload) {
    fail_in(payload, event->point == PSC_HOOK_EMBED ? IN_EDITOR : IN_OBSERVER);
    return 0;
}

static int errors_open(psc_context *context, const psc_host *given, void **state) {
    (void)state;
    host = given;
    fail_in(context, IN_OPEN);
    return 0;
}

static int errors_begin(psc_context *context, void *state) {
    (void)state;
    begun++;
    fail_in(context, IN_RUN_BEGIN);
    return host->edit(context, PSC_HOOK_EMBED, NULL, on_event, context) ||
           host->observe(context, PSC_HOOK_LOGITS, NULL, on_event, context);
}

static int errors_end(psc_context *context, void *state, int status) {
    (void)state;
    ended += status == 0 ? 1 : 100;
    fail_in(context, IN_RUN_END);
    return 0;
}

static int errors_report(psc_context *context, void *state) {
    (void)state;
    fail_in(context, IN_REPORT);
    return 0;
}

static void errors_close(psc_context *context, void *state) {
    (void)context, (void)state;
    closed++;
}

static void set_callbacks(void) {
    bridge->open = errors_open;
    bridge->run_begin = errors_begin;
    bridge->run_end = errors_end;
    bridge->report = errors_report;
    bridge->close = errors_close;
}

static void must_fail(place at) {
    char sentence[64];
    snprintf(sentence, sizeof sentence, "there is a fault at place %d", (int)at);
    failing = at;
    begun = ended = 0;
    REFUSED(run_ten(), PSC_ERROR_PLUGIN, "plugin bridge: ", sentence);
    cr_assert_eq(psc_session_length(session, 0), 0);
    failing = NOWHERE;
    must_run_ten();
    cr_assert_eq(begun, 2);
}

Test(host_errors, of_every_callback_of_a_run) {
    failing = NOWHERE;
    set_callbacks();
    must_load(PLUGIN("bridge"), NULL);
    const int with_status[] = {[IN_RUN_BEGIN] = 101,
        [IN_OBSERVER] = 101,
        [IN_EDITOR] = 101,
        [IN_RUN_END] = 2,
        [IN_REPORT] = 2};
    for (place at = IN_RUN_BEGIN; at < NOWHERE; at++) {
        if (at == IN_VARIANT) continue;
        must_fail(at);
        cr_assert_eq(ended, with_status[at], "place %d: run_end received %d", (int)at, ended);
    }
}

Test(host_errors, of_open_close_what_was_opened) {
    failing = IN_OPEN;
    set_callbacks();
    REFUSED(psc_session_plugin(session, PLUGIN("bridge"), NULL, &error), PSC_ERROR_PLUGIN,
        "plugin bridge: ", "there is a fault");
    cr_assert_eq(closed, 1); /* open had returned 0 */
    must_run_ten();
    cr_assert_eq(begun, 0);
    failing = NOWHERE;
    must_load(PLUGIN("bridge"), NULL);
    must_run_ten();
    cr_assert(begun == 1 && ended == 1);
}

Test(host_errors, of_a_report_over_documents) {
    psc_session_close(&session);
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    failing = NOWHERE;
    set_callbacks();
    must_load(PLUGIN("bridge"), NULL);
    must_run_ten();
    failing = IN_REPORT;
    REFUSED(
        psc_session_report(session, NULL, &error), PSC_ERROR_PLUGIN, "plugin bridge: ", "fault");
    failing = NOWHERE;
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
}

/* --- inside parallel_for --------------------------------------------------------------------- */

static psc_context *context;
static void (*in_part)(void);
static atomic_int parts;

static void part(int64_t begin, int64_t end, int32_t thread, void *payload) {
    (void)thread, (void)payload;
    for (int64_t i = begin; i < end; i++) {
        atomic_fetch_add(&parts, 1);
        in_part();
    }
}

static int parallel_end(psc_context *given, void *state, int status) {
    (void)state;
    context = given;
    if (status == 0 && in_part) host->parallel_for(given, 100, part, NULL);
    return 0;
}

static void part_fails(void) {
    host->fail(context, "a part has failed");
}

static void part_applies(void) {
    float x[32] = {0}, y[128];
    host->apply(context, PSC_W_IN, 2, y, x, 1);
}

static void part_embeds(void) {
    float row[32];
    host->embedding(context, 80, row);
}

static void part_allocates(void) {
    cr_assert_null(host->run_alloc(context, 8));
}

static void part_labels(void) {
    cr_assert_str_eq(host->label(context, PSC_COMPONENT_HEAD, 0, 0), "?");
}

static void part_says(void) {
    cr_assert(host->summary_text(context, "now"));
}

static void part_subscribes(void) {
    cr_assert(host->observe(context, PSC_HOOK_EMBED, NULL, on_event, NULL));
}

Test(host_errors, of_calls_inside_parallel_for) {
    static const struct {
        void (*part)(void);
        psc_status status;
        const char *words;
    } calls[] = {{part_fails, PSC_ERROR_PLUGIN, "a part has failed"},
        {part_applies, PSC_ERROR_INPUT, "layer 2"}, {part_embeds, PSC_ERROR_INPUT, "token id 80"},
        {part_allocates, PSC_ERROR_STATE, "run_alloc was called inside parallel_for"},
        {part_labels, PSC_ERROR_STATE, "label was called inside parallel_for"},
        {part_says, PSC_ERROR_STATE, "summary_text was called inside parallel_for"},
        {part_subscribes, PSC_ERROR_STATE, "observe was called inside parallel_for"}};
    failing = NOWHERE;
    bridge->open = errors_open;
    bridge->run_end = parallel_end;
    must_load(PLUGIN("bridge"), NULL);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        parts = 0;
        in_part = calls[i].part;
        REFUSED(run_ten(), calls[i].status, "plugin bridge: ", calls[i].words);
        cr_assert_eq(parts, 100);
        in_part = NULL;
        must_run_ten();
    }
}

/* --- variants -------------------------------------------------------------------------------- */

static int prepare(psc_context *given, void *state) {
    (void)state;
    return host->prepare_variants(given);
}

static int on_variant(int32_t variant, const psc_event *logits, void *payload) {
    (void)variant, (void)logits;
    variants_seen++;
    fail_in(payload, IN_VARIANT);
    return 0;
}

static int two_variants(psc_context *given, void *state, int status) {
    (void)state;
    const psc_change change = {.struct_size = sizeof change,
        .kind = PSC_CHANGE_SCALE,
        .point = PSC_HOOK_MLP_OUT,
        .layer = 1,
        .row_end = 10,
        .head = -1,
        .key = -1};
    const psc_variant both[] = {
        {sizeof *both, 1, &change, 0, NULL, 0, NULL}, {sizeof *both, 1, &change, 0, NULL, 0, NULL}};
    if (status == 0) (void)host->variants(given, 2, both, PSC_ROWS_LAST, on_variant, given);
    return 0;
}

Test(host_errors, of_a_variants_callback) {
    failing = NOWHERE;
    bridge->open = errors_open;
    bridge->run_begin = prepare;
    bridge->run_end = two_variants;
    must_load(PLUGIN("bridge"), NULL);
    failing = IN_VARIANT;
    REFUSED(run_ten(), PSC_ERROR_PLUGIN, "plugin bridge: ", "there is a fault");
    cr_assert_eq(variants_seen, 1); /* the second was not delivered */
    failing = NOWHERE;
    must_run_ten();
    cr_assert_eq(variants_seen, 3);
}
