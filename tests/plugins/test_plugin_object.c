/* Plugins in the caller's memory: checked as a loaded one, run beside loaded ones, with options;
 * and calls into the session from each of a plugin's callbacks, which are refused. */
#include "plugin_fixture.h"

TestSuite(plugin_object, .init = fixture_open, .fini = fixture_close);

typedef struct fields {
    int32_t scale;
    psc_filter rows;
} fields;

static const psc_option_description table[] = {
    {"scale", "3", "a factor", PSC_OPTION_COUNT, offsetof(fields, scale), 1, 9, NULL},
    {"rows", "last", "the rows", PSC_OPTION_ROWS, offsetof(fields, rows), 0, 0, NULL}, {0}};

static fields given;
static float *sums;
static int events, closed;

static int on_event(const psc_event *event, void *payload) {
    (void)payload;
    events += event->n_rows;
    if (sums) sums[0] += event->tensor.data[0] * (float)given.scale;
    return 0;
}

static int open_it(psc_context *c, const psc_host *h, void **state) {
    host = h;
    *state = &given;
    if (h->options(c, &given)) return -1;
    return h->observe(c, PSC_HOOK_EMBED, &given.rows, on_event, NULL);
}

static int begin_it(psc_context *c, void *state) {
    static const char *const axes[] = {"one"};
    static const int32_t zero = 0;
    cr_assert_eq(state, &given);
    if (host->axis_numbers(c, "one", 1, &zero)) return -1;
    sums = host->array(c, "sums", PSC_F32, 1, axes);
    if (sums) sums[0] = 0;
    return sums ? 0 : -1;
}

static void close_it(psc_context *c, void *state) {
    (void)c;
    (void)state;
    closed++;
}

static psc_plugin object = {.abi = PSC_PLUGIN_ABI,
    .struct_size = sizeof object,
    .name = "mine",
    .version = "1.5",
    .summary = "a test",
    .options = table,
    .open = open_it,
    .run_begin = begin_it,
    .close = close_it};

static psc_status add(const psc_plugin *plugin, int32_t n, const psc_option *options) {
    return psc_session_plugin_object(session, plugin, options, n, &error);
}

Test(plugin_object, runs_beside_others) {
    const psc_option options[] = {{"scale", "2"}, {"rows", "all"}};
    must_load("ln", NULL);
    cr_assert_eq(add(&object, 2, options), PSC_OK, "%s", error.message);
    must_run_ten();
    cr_assert(given.scale == 2 && events == 10);
    cr_assert(must_array("mine.sums").data && must_array("ln.mean").data);
    cr_assert_str_eq(must_section(1).name, "mine");
    cr_assert_str_eq(must_section(1).version, "1.5");
    cr_assert_eq(add(&object, 0, NULL), PSC_OK, "%s", error.message);
    must_run_ten();
    cr_assert_str_eq(must_section(2).name, "mine#2");
    psc_session_close(&session);
    cr_assert_eq(closed, 2);
}

Test(plugin_object, is_checked_as_a_loaded_one) {
    const psc_option bad_value = {"scale", "10"}, bad_key = {"size", "1"};
    psc_option_description twice[] = {table[0], table[0], {0}};
    psc_plugin bad;
    REFUSED(add(NULL, 0, NULL), PSC_ERROR_INPUT, "null");
#define WITH(member, value, ...)                                                                   \
    bad = object;                                                                                  \
    bad.member = value;                                                                            \
    REFUSED(add(&bad, 0, NULL), PSC_ERROR_PLUGIN, "of the caller", __VA_ARGS__)
    WITH(abi, 1, "ABI 1");
    WITH(struct_size, 24, "struct_size is 24");
    WITH(struct_size, 0, "struct_size is 0");
    WITH(struct_size, UINT32_MAX, "struct_size is 4294967295", "not possible");
    WITH(name, NULL, "no name");
    WITH(name, "a.b c", "a.b c");
    WITH(options, twice, "'scale' twice");
    REFUSED(add(&object, 1, &bad_value), PSC_ERROR_INPUT, "scale", "10");
    REFUSED(add(&object, 1, &bad_key), PSC_ERROR_INPUT, "size");
    REFUSED(add(&object, 1, NULL), PSC_ERROR_INPUT, "without a list");
    REFUSED(add(&object, -1, &bad_key), PSC_ERROR_INPUT, "without a list");
    cr_assert_eq(closed, 0);
    must_run_ten();
    cr_assert_eq(psc_results_section_count(psc_session_results(session)), 0);
}

static int refuse_open(psc_context *c, const psc_host *h, void **state) {
    (void)state;
    return h->fail(c, "not today");
}

Test(plugin_object, whose_open_fails) {
    psc_plugin failing = object;
    failing.open = refuse_open;
    REFUSED(add(&failing, 0, NULL), PSC_ERROR_PLUGIN, "plugin mine: not today");
    cr_assert_eq(closed, 0, "close does not follow");
    must_run_ten();
}

/* --- what it says of corpora ------------------------------------------------------------------ */

static void accumulate(psc_plugin_corpus says, uint32_t struct_size, psc_status loads,
    psc_status runs, const char *sentence) {
    psc_plugin mine = object;
    psc_session *over = NULL;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    const psc_input input = {0, 10, ten};
    options.accumulate = 1;
    mine.corpus = says;
    mine.struct_size = struct_size;
    cr_assert_eq(psc_session_open(&over, model, &options, &error), PSC_OK);
    psc_status status = psc_session_plugin_object(over, &mine, NULL, 0, &error);
    cr_assert_eq(status, loads);
    if (status == PSC_OK) cr_assert_eq(psc_session_run(over, &input, 1, NULL, &error), runs);
    cr_assert(strstr(error.message, sentence), "%s", error.message);
    psc_session_close(&over);
}

Test(plugin_object, says_whether_it_works_over_a_corpus) {
    const uint32_t size = sizeof object, older = offsetof(psc_plugin, corpus);
    accumulate(PSC_CORPUS_NO, size, PSC_ERROR_INPUT, PSC_OK,
        "plugin mine does not work over a corpus; it needs a single text");
    accumulate(PSC_CORPUS_NO_RUNS, size, PSC_OK, PSC_ERROR_INPUT,
        "plugin mine reads no documents, so it does not work over a corpus");
    accumulate(PSC_CORPUS_UNSAID, size, PSC_OK, PSC_ERROR_STATE,
        "plugin mine: it does not work over a corpus: it creates results in each run");
    accumulate(PSC_CORPUS_NO, older, PSC_OK, PSC_ERROR_STATE, "it creates results in each run");
    cr_assert_eq(psc_plugin_over_corpus(&object), PSC_CORPUS_UNSAID);
}

/* --- calls into the session from callbacks --------------------------------------------------- */

static int called;

/* Everything that a callback must not do is refused without effect. */
static void try_everything(void) {
    const psc_input input = {0, 10, ten};
    psc_results *taken;
    called++;
    cr_assert_eq(psc_session_run(session, &input, 1, NULL, NULL), PSC_ERROR_STATE);
    cr_assert_eq(psc_session_report(session, NULL, NULL), PSC_ERROR_STATE);
    cr_assert_eq(psc_session_take_results(&taken, session, NULL), PSC_ERROR_STATE);
    cr_assert_eq(psc_session_plugin(session, "ln", NULL, NULL), PSC_ERROR_STATE);
    cr_assert_eq(psc_session_plugin_object(session, &object, NULL, 0, NULL), PSC_ERROR_STATE);
    cr_assert_eq(psc_session_target(session, "#5", NULL), PSC_ERROR_STATE);
    cr_assert_eq(psc_session_contrast(session, "#5", "#6", NULL), PSC_ERROR_STATE);
    cr_assert_eq(psc_session_capture(session, "hook_embed", NULL), PSC_ERROR_STATE);
    cr_assert_eq(
        psc_session_observe(session, PSC_HOOK_EMBED, NULL, on_event, NULL, NULL), PSC_ERROR_STATE);
    cr_assert_eq(
        psc_session_edit(session, PSC_HOOK_EMBED, NULL, on_event, NULL, NULL), PSC_ERROR_STATE);
    psc_session_unhook(session, &called);
    psc_session_truncate(session, 1, 0);
}

static int event_calls(const psc_event *event, void *payload) {
    (void)event;
    (void)payload;
    try_everything();
    return 0;
}

static int open_calls(psc_context *c, const psc_host *h, void **state) {
    (void)state;
    try_everything();
    return h->observe(c, PSC_HOOK_LOGITS, NULL, event_calls, NULL);
}

static int callback_calls(psc_context *c, void *state) {
    (void)c;
    (void)state;
    try_everything();
    return 0;
}

static int end_calls(psc_context *c, void *state, int status) {
    (void)c;
    (void)state;
    (void)status;
    try_everything();
    return 0;
}

static void close_calls(psc_context *c, void *state) {
    callback_calls(c, state);
}

static int stop_calls(void *payload) {
    (void)payload;
    try_everything();
    return 0;
}

Test(plugin_object, no_callback_reenters_the_session) {
    static psc_plugin careless = {.abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof careless,
        .name = "careless",
        .version = "1",
        .summary = "calls the session from every callback",
        .open = open_calls,
        .run_begin = callback_calls,
        .run_end = end_calls,
        .report = callback_calls,
        .close = close_calls};
    const psc_input both[] = {{0, 10, ten}, {1, 10, ten}};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    cr_assert_eq(psc_session_run(session, both + 1, 1, NULL, &error), PSC_OK);
    cr_assert_eq(add(&careless, 0, NULL), PSC_OK, "%s", error.message);
    cr_assert_eq(
        psc_session_observe(session, PSC_HOOK_EMBED, NULL, event_calls, &called, &error), PSC_OK);
    options.stop = stop_calls;
    for (int i = 0; i < 2; i++) {
        called = 0;
        psc_session_truncate(session, 0, 0);
        cr_assert_eq(
            psc_session_run(session, both, 1, &options, &error), PSC_OK, "%s", error.message);
        cr_assert_geq(called, 8);
        cr_assert_eq(psc_session_length(session, 1), 10);
    }
    cr_assert_eq(psc_results_section_count(psc_session_results(session)), 1);
    called = 0;
    psc_session_close(&session);
    cr_assert_eq(called, 1);
}
