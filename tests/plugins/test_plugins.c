/* Plugins: the handshake, options, the order of an instance's life, failures at each step. */
#include "plugin_fixture.h"
#include "loader.h"

TestSuite(plugins, .init = fixture_open, .fini = fixture_close);

/* --- handshake ------------------------------------------------------------------------------- */

static psc_status load(const char *path) {
    void *library = (void *)1;
    const psc_plugin *plugin = NULL;
    psc_status status = psc_plugin_load(&library, &plugin, path, &error);
    if (status != PSC_OK) cr_assert(!library && !plugin);
    psc_plugin_unload(&library);
    return status;
}

Test(plugins, handshake_refuses) {
    REFUSED(
        load(PLUGIN("broken_symbol")), PSC_ERROR_PLUGIN, "broken_symbol.so", "psc_plugin_entry");
#ifdef __ELF__
    cr_assert_null(getenv("PSC_BROKEN_SYMBOL_RAN"), "a library that is no plugin was run");
#endif
    REFUSED(load(PLUGIN("broken_null")), PSC_ERROR_PLUGIN, "broken_null.so", "null pointer");
    REFUSED(load(PLUGIN("broken_abi")), PSC_ERROR_PLUGIN, "broken_abi.so", "ABI 1,", "ABI 2",
        "rebuild");
    REFUSED(load(PLUGIN("broken_size")), PSC_ERROR_PLUGIN, "broken_size.so", "struct_size is 24");
    REFUSED(load(PLUGIN("broken_nameless")), PSC_ERROR_PLUGIN, "broken_nameless.so", "no name");
    REFUSED(load(PLUGIN("broken_name")), PSC_ERROR_PLUGIN, "broken_name.so", "a.b c");
    REFUSED(load(PLUGIN("broken_options")), PSC_ERROR_PLUGIN, "broken_options.so", "rows", "twice");
}

Test(plugins, not_a_plugin_file) {
    REFUSED(load("/nowhere/at/all.so"), PSC_ERROR_PLUGIN, "/nowhere/at/all.so");
    REFUSED(load("nowhere.so"), PSC_ERROR_PLUGIN, "nowhere.so");
    REFUSED(load(PSC_SOURCE_DIR "/CMakeLists.txt"), PSC_ERROR_PLUGIN, "CMakeLists.txt");
    REFUSED(load(PSC_SOURCE_DIR), PSC_ERROR_PLUGIN, PSC_SOURCE_DIR);
    REFUSED(load(""), PSC_ERROR_INPUT, "empty");
    REFUSED(load(NULL), PSC_ERROR_INPUT, "empty");
}

Test(plugins, handshake_accepts) {
    cr_assert_eq(load(PLUGIN("bridge")), PSC_OK);
    cr_assert_eq(load(PLUGIN("norms")), PSC_OK);
    for (int32_t i = 0; i < psc_builtin_count(); i++) {
        cr_assert_eq(psc_plugin_check(psc_builtin(i), "built-in", &error), PSC_OK);
        cr_assert_str_eq(psc_builtin(i)->version, psc_version(), "%s", psc_builtin(i)->name);
    }
    cr_assert_null(psc_builtin(-1));
    cr_assert_null(psc_builtin(psc_builtin_count()));
}

Test(plugins, unknown_builtin_lists_the_known) {
    REFUSED(psc_session_plugin(session, "nonsense", NULL, &error), PSC_ERROR_INPUT, "nonsense",
        "logits", "ln", "mlp");
    REFUSED(psc_session_plugin(session, "", NULL, &error), PSC_ERROR_INPUT, "empty");
    must_run_ten();
}

/* --- options --------------------------------------------------------------------------------- */

/* One field per kind. */
typedef struct fields {
    const char *title;
    int32_t word, yes, top, layer;
    uint32_t words;
    double share;
    psc_filter rows;
    psc_range layers, heads;
} fields;
static fields seen;

static const char *const colors[] = {"red", "green", "blue", "all", NULL};
#define FIELD(name) offsetof(fields, name)
static const psc_option_description described[] = {
    {"rows", "last", "which", PSC_OPTION_ROWS, FIELD(rows), 0, 0, NULL},
    {"top", "10", "how many", PSC_OPTION_COUNT, FIELD(top), 1, 100, NULL},
    {"title", NULL, "what", PSC_OPTION_TEXT, FIELD(title), 0, 0, NULL},
    {"word", "green", "one", PSC_OPTION_WORD, FIELD(word), 0, 0, colors},
    {"words", "red+blue", "some", PSC_OPTION_WORDS, FIELD(words), 0, 0, colors},
    {"yes", "no", "whether", PSC_OPTION_YES_NO, FIELD(yes), 0, 0, NULL},
    {"share", "0.5", "how much", PSC_OPTION_NUMBER, FIELD(share), -1, 1, NULL},
    {"layer", "0", "where", PSC_OPTION_LAYER, FIELD(layer), 0, 0, NULL},
    {"layers", "none", "where else", PSC_OPTION_LAYERS, FIELD(layers), 0, 0, NULL},
    {"heads", "all", "and which heads", PSC_OPTION_HEADS, FIELD(heads), 0, 0, NULL},
    {0},
};

static int see_options(psc_context *context, const psc_host *given, void **state) {
    (void)state;
    host = given;
    seen = (fields){0};
    return host->options(context, &seen);
}

static void check_defaults(void) {
    cr_assert(seen.rows.rows == PSC_ROWS_LAST && seen.rows.struct_size == sizeof(psc_filter));
    cr_assert(seen.top == 10 && strcmp(seen.title, "") == 0 && seen.word == 1);
    cr_assert(seen.words == 5 && seen.yes == 0 && seen.share == 0.5);
    cr_assert(seen.layer == 0 && seen.layers.n == 0);
    cr_assert(seen.heads.first == 0 && seen.heads.n == psc_model_get_info(model)->n_heads);
}

Test(plugins, options) {
    bridge->options = described;
    bridge->open = see_options;
    must_load(PLUGIN("bridge"), NULL);
    check_defaults();
    must_load(PLUGIN("bridge"), "");
    check_defaults();
    must_load(PLUGIN("bridge"), "title=a\\,b\\\\\\n=c,rows=all,yes=yes,words=all,layer=1");
    cr_assert_str_eq(seen.title, "a,b\\\\n=c");
    cr_assert(
        seen.rows.rows == PSC_ROWS_ALL && seen.yes == 1 && seen.words == 7 && seen.layer == 1);
    must_load(PLUGIN("bridge"), "title=,top=100,rows=3,share=-1,layers=1,words=blue+green");
    cr_assert(
        seen.rows.rows == PSC_ROWS_RANGE && seen.rows.row_begin == 3 && seen.rows.row_end == 4);
    cr_assert(seen.top == 100 && seen.share == -1 && seen.words == 6);
    cr_assert(seen.layers.first == 1 && seen.layers.n == 1);
    must_load(PLUGIN("bridge"), "rows=2-5,layers=all,heads=1");
    cr_assert(seen.rows.row_begin == 2 && seen.rows.row_end == 6);
    cr_assert(seen.heads.first == 1 && seen.heads.n == 1);
    must_load(PLUGIN("bridge"), "rows=auto,layers=0-1,heads=0-1");
    cr_assert(seen.rows.rows == PSC_ROWS_LAST && seen.layers.n == 2 && seen.heads.n == 2);
    must_load(PLUGIN("bridge"), "layers=all");
    cr_assert(seen.layers.first == 0 && seen.layers.n == psc_model_get_info(model)->n_layers);
}

/* Keys and values need no escapes. */
Test(plugins, options_as_a_list) {
    bridge->options = described;
    bridge->open = see_options;
    const psc_option list[] = {{"title", "a,b=c\\"}, {"top", "7"}};
    cr_assert_eq(psc_session_plugin_options(session, PLUGIN("bridge"), "yes=yes", list, 2, &error),
        PSC_OK, "%s", error.message);
    cr_assert_str_eq(seen.title, "a,b=c\\");
    cr_assert(seen.top == 7 && seen.yes == 1);
    const psc_option wrong[] = {{"top", "7"}, {"top", "7"}}, unknown[] = {{"tip", "7"}};
    REFUSED(psc_session_plugin_options(session, PLUGIN("bridge"), NULL, wrong, 2, &error),
        PSC_ERROR_INPUT, "top", "twice");
    REFUSED(psc_session_plugin_options(session, PLUGIN("bridge"), "top=1", list, 2, &error),
        PSC_ERROR_INPUT, "top", "twice");
    REFUSED(psc_session_plugin_options(session, PLUGIN("bridge"), NULL, unknown, 1, &error),
        PSC_ERROR_INPUT, "'tip'");
    REFUSED(psc_session_plugin_options(session, PLUGIN("bridge"), NULL, NULL, 1, &error),
        PSC_ERROR_INPUT, "list");
}

/* The host checks values even if a plugin never reads them. */
Test(plugins, wrong_values) {
    static const char *const wrong[][2] = {{"rows=3-2", "A or A-B"}, {"rows=", "last"},
        {"rows=1-", "last"}, {"rows=2147483647", "last"}, {"top=0", "1..100"},
        {"top=101", "1..100"}, {"top=1x", "1..100"}, {"top=", "1..100"}, {"top=-1", "1..100"},
        {"word=pink", "one of red, green"}, {"word=gree", "one of"},
        {"words=red+pink", "one or more of red, green"}, {"words=red+red", "each once"},
        {"words=", "joined by +"}, {"words=red+", "joined by +"}, {"yes=maybe", "yes or no"},
        {"share=nan", "-1..1"}, {"share=1.01", "-1..1"}, {"share=inf", "-1..1"},
        {"layer=2", "0 to 1"}, {"layers=2", "0 to 1"}, {"layers=1-2", "0 to 1"},
        {"layers=1-0", "0 to 1"}, {"heads=none", "all or heads"}, {"heads=99", "all or heads"}};
    bridge->options = described;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        REFUSED(psc_session_plugin(session, PLUGIN("bridge"), wrong[i][0], &error), PSC_ERROR_INPUT,
            "plugin bridge: ", wrong[i][1]);
}

/* Tables that a host cannot read. */
Test(plugins, wrong_tables) {
    static const char *const none[] = {NULL};
    static const psc_option_description tables[][2] = {{{"a", "1", "", 99, 0, 0, 0, NULL}, {0}},
        {{"a", "1", "", PSC_OPTION_WORD, 0, 0, 0, NULL}, {0}},
        {{"a", "1", "", PSC_OPTION_WORDS, 0, 0, 0, none}, {0}},
        {{"a", "1", "", PSC_OPTION_COUNT, 0, 2, 1, NULL}, {0}},
        {{"a", "1", "", PSC_OPTION_COUNT, 3, 1, 2, NULL}, {0}},
        {{"a", "1", "", PSC_OPTION_TEXT, 4, 0, 0, NULL}, {0}}};
    static const char *const reasons[] = {
        "kind 99", "1 to 31 words", "1 to 31 words", "no value", "not aligned", "not aligned"};
    for (int i = 0; i < 6; i++) {
        bridge->options = tables[i];
        REFUSED(psc_session_plugin(session, PLUGIN("bridge"), NULL, &error), PSC_ERROR_PLUGIN,
            reasons[i], "'a'");
    }
}

Test(plugins, wrong_options) {
    bridge->options = described;
    const char *path = PLUGIN("bridge");
    REFUSED(psc_session_plugin(session, path, "colour=red", &error), PSC_ERROR_INPUT, "bridge",
        "colour", "rows, top, title, word");
    REFUSED(
        psc_session_plugin(session, path, "top=1,top=2", &error), PSC_ERROR_INPUT, "top", "twice");
    REFUSED(
        psc_session_plugin(session, path, "top", &error), PSC_ERROR_INPUT, "'top'", "key=value");
    REFUSED(psc_session_plugin(session, path, "top=1,", &error), PSC_ERROR_INPUT, "key=value");
    REFUSED(psc_session_plugin(session, path, "to=1", &error), PSC_ERROR_INPUT, "'to'");
    bridge->options = NULL;
    REFUSED(psc_session_plugin(session, path, "top=1", &error), PSC_ERROR_INPUT, "no options");
}

/* --- life ------------------------------------------------------------------------------------ */

static char story[2048]; /* the calls, in order */

static void note(const char *what) {
    size_t used = strlen(story);
    snprintf(story + used, sizeof story - used, "%s ", what);
}

/* An instance: its number, and where it fails. */
typedef struct instance {
    int number;
    psc_context *context;
} instance;

static instance instances[4];
static int n_instances;
static const char *fail_where = ""; /* "run_begin1": run_begin of instance 1 */
static bool fail_silently;

static int step(instance *self, const char *what) {
    char name[32];
    snprintf(name, sizeof name, "%s%d", what, self->number);
    note(name);
    if (strcmp(name, fail_where) != 0) return 0;
    return fail_silently ? 5 : host->fail(self->context, "%s has had enough", name);
}

static int on_event(const psc_event *event, void *payload) {
    (void)event;
    return step(payload, "event");
}

static int life_open(psc_context *context, const psc_host *given, void **state) {
    host = given;
    instance *self = &instances[n_instances];
    *self = (instance){n_instances++, context};
    *state = self;
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &(int32_t){1};
    filter.n_layers = 1;
    if (host->observe(context, PSC_HOOK_MLP_OUT, &filter, on_event, self)) return -1;
    return step(self, "open");
}

static int life_begin(psc_context *context, void *state) {
    (void)context;
    return step(state, "run_begin");
}

static int life_end(psc_context *context, void *state, int status) {
    (void)context;
    int failed = step(state, "run_end");
    note(status == 0 ? "(well)" : "(failed)");
    return failed;
}

static int life_report(psc_context *context, void *state) {
    (void)context;
    return step(state, "report");
}

static void life_close(psc_context *context, void *state) {
    (void)context;
    step(state, "close");
}

static void load_two(void) {
    bridge->open = life_open;
    bridge->run_begin = life_begin;
    bridge->run_end = life_end;
    bridge->report = life_report;
    bridge->close = life_close;
    must_load(PLUGIN("bridge"), NULL);
    must_load(PLUGIN("bridge"), NULL);
    story[0] = 0;
}

Test(plugins, life_of_two_instances) {
    load_two();
    must_run_ten(); /* four chunks of three rows */
    cr_assert_str_eq(story,
        "run_begin0 run_begin1 event0 event1 event0 event1 event0 event1 event0 event1 "
        "run_end0 (well) run_end1 (well) report0 report1 ");
    cr_assert_eq(psc_results_section_count(psc_session_results(session)), 2);
    cr_assert_str_eq(must_section(0).name, "bridge");
    cr_assert_str_eq(must_section(1).name, "bridge#2");
    story[0] = 0;
    psc_session_close(&session);
    cr_assert(strstr(story, "close0") && strstr(story, "close1"));
}

Test(plugins, every_callback_may_be_null) {
    must_load(PLUGIN("bridge"), NULL);
    must_run_ten();
}

/* The callbacks after a failure; afterwards the session runs as if there had been no failure. */
static void check_failure(const char *where, bool silently, const char *expected) {
    fail_where = where;
    fail_silently = silently;
    story[0] = 0;
    char sentence[64];
    snprintf(sentence, sizeof sentence, "%s has had enough", where);
    const char *name = where[strlen(where) - 1] == '0' ? "plugin bridge" : "plugin bridge#2";
    REFUSED(run_ten(), PSC_ERROR_PLUGIN, name, silently ? "plugin" : sentence);
    cr_assert_str_eq(story, expected, "%s: %s", where, story);
    cr_assert_eq(psc_session_length(session, 0), 0);
    cr_assert_eq(psc_results_section_count(psc_session_results(session)), 0);
    fail_where = "";
    must_run_ten();
    cr_assert_eq(psc_session_length(session, 0), 10);
}

Test(plugins, failures) {
    load_two();
    for (int silently = 0; silently <= 1; silently++) {
        check_failure("run_begin0", silently, "run_begin0 ");
        check_failure("run_begin1", silently, "run_begin0 run_begin1 run_end0 (failed) ");
        check_failure("event1", silently,
            "run_begin0 run_begin1 event0 event1 run_end0 (failed) run_end1 (failed) ");
        check_failure("run_end0", silently,
            "run_begin0 run_begin1 event0 event1 event0 event1 event0 event1 event0 event1 "
            "run_end0 (well) run_end1 (failed) ");
        check_failure("report0", silently,
            "run_begin0 run_begin1 event0 event1 event0 event1 event0 event1 event0 event1 "
            "run_end0 (well) run_end1 (well) report0 ");
    }
}

Test(plugins, event_failure_names_the_point) {
    load_two();
    fail_where = "event0";
    fail_silently = true;
    REFUSED(run_ten(), PSC_ERROR_PLUGIN, "bridge", "blocks.1.hook_mlp_out");
}

Test(plugins, refusal_in_open) {
    load_two();
    fail_where = "open2";
    const char *path = PLUGIN("bridge");
    REFUSED(psc_session_plugin(session, path, NULL, &error), PSC_ERROR_PLUGIN,
        "plugin bridge#3: open2 has had enough");
    fail_where = "open3";
    fail_silently = true;
    REFUSED(psc_session_plugin(session, path, NULL, &error), PSC_ERROR_PLUGIN, "bridge#3", "open");
    story[0] = 0;
    must_run_ten(); /* their observers are gone */
    cr_assert(!strstr(story, "event2") && !strstr(story, "event3"));
}

Test(plugins, logits_after_a_failure_are_those_before) {
    must_run_ten();
    size_t bytes = (size_t)psc_model_get_info(model)->d_vocab * sizeof(float);
    float *before = malloc(bytes);
    memcpy(before, psc_session_logits(session, 9), bytes);
    load_two();
    fail_where = "event1";
    cr_assert_neq(run_ten(), PSC_OK);
    cr_assert_null(psc_session_logits(session, 9));
    fail_where = "";
    must_run_ten();
    cr_assert_arr_eq(before, psc_session_logits(session, 9), bytes);
    free(before);
}

/* --- a plugin built with -Ofast -------------------------------------------------------------- */

static float subnormal(void) {
    volatile float tiny = 1.1754944e-38f;
    return tiny * 0.25f;
}

Test(plugins, start_up_code_of_fast_math_changes_nothing) {
    must_run_ten();
    size_t bytes = (size_t)psc_model_get_info(model)->d_vocab * sizeof(float);
    float *before = malloc(10 * bytes);
    for (int r = 0; r < 10; r++)
        memcpy((char *)before + (size_t)r * bytes, psc_session_logits(session, r), bytes);
    must_load(PLUGIN("fast"), NULL);
    cr_assert(subnormal() > 0, "subnormals are off after loading");
    must_run_ten();
    cr_assert(subnormal() > 0);
    for (int r = 0; r < 10; r++)
        cr_assert_arr_eq((char *)before + (size_t)r * bytes, psc_session_logits(session, r), bytes);
    free(before);
}

/* --- the example ----------------------------------------------------------------------------- */

Test(plugins, the_example_reports_norms) {
    must_load(PLUGIN("norms"), "centered=yes");
    must_capture("blocks.*.hook_resid_post");
    must_run_ten();
    psc_array norms = must_array("norms.resid_post");
    cr_assert(norms.n_axes == 2 && norms.shape[0] == 2 && norms.shape[1] == 10);
    for (int l = 0; l < 2; l++) {
        const float *x =
            must_array(l ? "blocks.1.hook_resid_post" : "blocks.0.hook_resid_post").data;
        for (int r = 0; r < 10; r++, x += 32) {
            double mean = 0, sum = 0;
            for (int i = 0; i < 32; i++) mean += (double)x[i] / 32;
            for (int i = 0; i < 32; i++) sum += ((double)x[i] - mean) * ((double)x[i] - mean);
            cr_assert_float_eq(((const float *)norms.data)[l * 10 + r], sqrt(sum), 1e-5);
        }
    }
    psc_result_item item;
    cr_assert_eq(psc_results_item_at(&item, psc_session_results(session), 0, 0, &error), PSC_OK);
    cr_assert(must_section(0).n_items == 1 && item.n == 1);
    cr_assert_str_eq(item.labels[0], "last residual");
}
