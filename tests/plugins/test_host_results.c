/* Results that plugins report: axes, arrays, values, lists, the summary, and refusals. */
#include "plugin_fixture.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

TestSuite(host_results, .init = fixture_open, .fini = fixture_close);

static psc_context *context;
static int (*report)(void);

static int report_open(psc_context *given, const psc_host *table, void **state) {
    (void)state;
    context = given;
    host = table;
    return 0;
}

static int call_report(psc_context *given, void *state) {
    (void)given, (void)state;
    return report();
}

static psc_status run_report(int (*fn)(void)) {
    report = fn;
    if (!host) {
        bridge->open = report_open;
        bridge->report = call_report;
        must_load(PLUGIN("bridge"), NULL);
    }
    return run_ten();
}

static const char *const axes[] = {"layers", "things"};

static int everything(void) {
    const int32_t layers[] = {0, 1};
    const char *things[] = {"embed", "' caf\xc3\xa9'",
        "br\xff"
        "oken"};
    const double values[] = {1.5, -2.5};
    int failed = host->axis_numbers(context, "layers", 2, layers);
    failed |= host->axis_labels(context, "things", 3, things);
    float *a = host->array(context, "shares", PSC_F32, 2, axes);
    double *b = host->array(context, "wide", PSC_F64, 1, axes);
    int32_t *c = host->array(context, "ids", PSC_I32, 2, axes);
    float *scalar = host->array(context, "scalar", PSC_F32, 0, NULL);
    if (failed || !a || !b || !c || !scalar) return -1;
    cr_assert(isnan(a[5]) && isnan(b[1]) && c[5] == -1 && isnan(scalar[0]));
    a[4] = 4.0f;
    failed |= host->value_number(context, "largest", 1e300);
    failed |= host->value_number(context, "nothing", NAN);
    failed |= host->value_text(context, "note", "a \"quoted\" text");
    for (int i = 0; i < 3; i++) failed |= host->append_number(context, "errors", i ? i : NAN);
    failed |= host->append_text(context, "sites", "0.ln1");
    failed |= host->summary_text(context, "A sentence.");
    failed |= host->summary_bars(context, "Bars", "nats", 2, things, values);
    return failed;
}

/* The section as in results.json, keys sorted, on one line. */
static char *section_json(const psc_results *results, const char *name) {
    char *text;
    cr_assert_eq(psc_results_write_memory(&text, NULL, results, PSC_FORMAT_JSON, NULL, &error),
        PSC_OK, "%s", error.message);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const json_t *section = json_object_get(json_object_get(root, "plugins"), name);
    psc_free(text);
    text = json_dumps(section, JSON_SORT_KEYS | JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(root);
    return text;
}

Test(host_results, everything) {
    for (int i = 0; i < 2; i++) cr_assert_eq(run_report(everything), PSC_OK, "%s", error.message);
    psc_array a = must_array("bridge.shares");
    cr_assert(a.element == PSC_F32 && a.n_axes == 2 && a.shape[0] == 2 && a.shape[1] == 3);
    cr_assert_eq(((const float *)a.data)[4], 4.0f);
    const psc_results *results = psc_session_results(session);
    char *text = section_json(results, "bridge");
    cr_assert_str_eq(text,
        "{\"arrays\":{\"ids\":{\"axes\":[\"layers\",\"things\"],\"dtype\":\"I32\",\"shape\":[2,3],"
        "\"values\":[[-1,-1,-1],[-1,-1,-1]]},"
        "\"scalar\":{\"axes\":[],\"dtype\":\"F32\",\"shape\":[],\"values\":null},"
        "\"shares\":{\"axes\":[\"layers\",\"things\"],\"dtype\":\"F32\",\"shape\":[2,3],"
        "\"values\":[[null,null,null],[null,4.0,null]]},"
        "\"wide\":{\"axes\":[\"layers\"],\"dtype\":\"F64\",\"shape\":[2],\"values\":[null,null]}},"
        "\"errors\":[null,1.0,2.0],\"largest\":1.0000000000000001e300,\"layers\":[0,1],"
        "\"note\":\"a \\\"quoted\\\" text\",\"nothing\":null,\"options\":{},\"sites\":[\"0.ln1\"],"
        "\"summary\":[\"A sentence.\",{\"labels\":[\"embed\",\"' caf\xc3\xa9'\"],"
        "\"title\":\"Bars\",\"unit\":\"nats\",\"values\":[1.5,-2.5]}],"
        "\"things\":[\"embed\",\"' caf\xc3\xa9'\",\"br\xef\xbf\xbdoken\"],\"version\":\"1.0\"}",
        "%s", text);
    free(text);
    psc_result_item sentence, bars;
    cr_assert_eq(must_section(0).n_items, 2);
    cr_assert_eq(psc_results_item_at(&sentence, results, 0, 0, &error), PSC_OK);
    cr_assert_eq(psc_results_item_at(&bars, results, 0, 1, &error), PSC_OK);
    cr_assert_str_eq(sentence.sentence, "A sentence.");
    cr_assert_eq(bars.values[1], -2.5);
}

/* --- refusals -------------------------------------------------------------------------------- */

static int undeclared_axis(void) {
    return host->array(context, "shares", PSC_F32, 2, axes) ? 0 : -1;
}

static int two_of_a_name(void) {
    return host->value_number(context, "x", 1) || host->value_text(context, "x", "y");
}

static int own_name(void) {
    return host->value_number(context, "options", 1);
}

static int own_summary(void) {
    return host->value_text(context, "summary", "x");
}

static int ids_without_an_array(void) {
    return host->token_ids(context, "shares");
}

static int ids_of_floats(void) {
    host->array(context, "scalar", PSC_F32, 0, NULL);
    return host->token_ids(context, "scalar");
}

static int ids_without_a_name(void) {
    return host->token_ids(context, NULL);
}

static int odd_name(void) {
    return host->value_number(context, "a\nb", 1);
}

static int no_name(void) {
    return host->value_number(context, NULL, 1);
}

static int not_a_list(void) {
    return host->value_number(context, "x", 1) || host->append_number(context, "x", 2);
}

static int an_axis_is_no_list(void) {
    return host->axis_numbers(context, "x", 0, NULL) || host->append_number(context, "x", 2);
}

static int mixed_list(void) {
    return host->append_number(context, "x", 1) || host->append_text(context, "x", "y");
}

static int array_twice(void) {
    host->array(context, "a", PSC_F32, 0, NULL);
    return host->array(context, "a", PSC_F32, 0, NULL) ? 0 : -1;
}

static int odd_element(void) {
    return host->array(context, "a", (psc_element)9, 0, NULL) ? 0 : -1;
}

static int negative_axis(void) {
    return host->axis_numbers(context, "x", -1, NULL);
}

static int huge_array(void) {
    const int32_t numbers[2000] = {0};
    const char *six[] = {"n", "n", "n", "n", "n", "n"};
    return host->axis_numbers(context, "n", 2000, numbers) ||
           !host->array(context, "a", PSC_F64, 6, six);
}

/* A file beside the plugin's name, and one in folders. */
static int two_files(void) {
    return host->document(context, "json", "{}", 2) ||
           host->document(context, "headvis/my-books_2/heads/L0H1.json", "[]", 2);
}

static const char *path;

static int file_at_path(void) {
    return host->document(context, path, "", 0);
}

Test(host_results, files) {
    static const char *const bad[] = {"/a", "a/", "a//b", "../a", "a/../b", "a/.b", "a b/c",
        "a\\b/c", "", ".json", "js-on", "a/\xc3\xa9", NULL};
    char deep[300], folder[] = "/tmp/psc-files-XXXXXX", name[400];
    psc_result_file file;
    cr_assert_eq(run_report(two_files), PSC_OK, "%s", error.message);
    const psc_results *results = psc_session_results(session);
    cr_assert_eq(psc_results_file_count(results), 2);
    cr_assert_eq(psc_results_file_at(&file, results, 0, &error), PSC_OK);
    cr_assert_str_eq(file.name, "bridge.json");
    cr_assert_eq(psc_results_file_at(&file, results, 1, &error), PSC_OK);
    cr_assert_str_eq(file.name, "headvis/my-books_2/heads/L0H1.json");
    cr_assert(mkdtemp(folder));
    cr_assert_eq(psc_results_write_folder(results, folder, &error), PSC_OK, "%s", error.message);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(psc_results_file_at(&file, results, i, &error), PSC_OK);
        snprintf(name, sizeof name, "%s/%s", folder, file.name);
        cr_assert_eq(access(name, R_OK), 0, "%s", name);
    }
    snprintf(name, sizeof name, "rm -r %s", folder);
    cr_assert_eq(system(name), 0);
    for (int i = 0; bad[i]; i++) {
        path = bad[i];
        REFUSED(run_report(file_at_path), PSC_ERROR_PLUGIN, "plugin bridge", "path");
    }
    memset(deep, 'a', sizeof deep);
    memcpy(deep, "a/", 2);
    deep[201] = 0;
    path = deep;
    REFUSED(run_report(file_at_path), PSC_ERROR_PLUGIN, "plugin bridge", "path");
    deep[200] = 0;
    cr_assert_eq(run_report(file_at_path), PSC_OK, "%s", error.message);
}

/* Runs share entries, and never confuse different ones. */
static const char *last_label;

static int three_labels(void) {
    const char *labels[] = {"a", "b", last_label};
    return host->axis_labels(context, "things", 3, labels);
}

Test(host_results, labels_of_each_run) {
    static const char *const runs[] = {"c", "c", "d", "d", "c"};
    const char *const *before = NULL;
    for (int i = 0; i < 5; i++) {
        last_label = runs[i];
        cr_assert_eq(run_report(three_labels), PSC_OK, "%s", error.message);
        psc_result_axis things;
        cr_assert_eq(
            psc_results_find_axis(&things, psc_session_results(session), 0, "things", &error),
            PSC_OK);
        cr_assert_eq(things.n, 3);
        cr_assert_str_eq(things.labels[2], runs[i]);
        if (i == 1 || i == 3) cr_assert(things.labels == before, "equal labels are not shared");
        before = things.labels;
    }
}

Test(host_results, refused) {
    REFUSED(run_report(undeclared_axis), PSC_ERROR_PLUGIN, "plugin bridge", "shares", "layers");
    REFUSED(run_report(two_of_a_name), PSC_ERROR_PLUGIN, "declared twice", "'x'");
    REFUSED(run_report(own_name), PSC_ERROR_PLUGIN, "'options'");
    REFUSED(run_report(own_summary), PSC_ERROR_PLUGIN, "'summary'");
    REFUSED(run_report(ids_without_an_array), PSC_ERROR_PLUGIN, "no array 'shares'");
    REFUSED(run_report(ids_of_floats), PSC_ERROR_PLUGIN, "'scalar'", "PSC_I32");
    REFUSED(run_report(ids_without_a_name), PSC_ERROR_PLUGIN, "token_ids", "letters");
    REFUSED(run_report(odd_name), PSC_ERROR_PLUGIN, "value_number", "letters");
    REFUSED(run_report(no_name), PSC_ERROR_PLUGIN, "value_number", "letters");
    REFUSED(run_report(not_a_list), PSC_ERROR_PLUGIN, "'x' is not a list");
    REFUSED(run_report(an_axis_is_no_list), PSC_ERROR_PLUGIN, "'x' is not a list");
    REFUSED(run_report(mixed_list), PSC_ERROR_PLUGIN, "'x' is a list of numbers");
    REFUSED(run_report(array_twice), PSC_ERROR_INPUT, "bridge.a");
    REFUSED(run_report(odd_element), PSC_ERROR_PLUGIN, "element type 9");
    REFUSED(run_report(negative_axis), PSC_ERROR_PLUGIN, "'x'");
    REFUSED(run_report(huge_array), PSC_ERROR_MEMORY, "array 'a'", "retained_cap");
    cr_assert_eq(run_report(everything), PSC_OK, "%s", error.message);
}

static const psc_option_description described[] = {
    {"rows", "last", "which", PSC_OPTION_TEXT, 0, 0, 0, NULL}, {0}};

Test(host_results, options_are_recorded) {
    bridge->options = described;
    must_load(PLUGIN("bridge"), "rows=a\xff");
    must_run_ten();
    const char *key, *value;
    cr_assert_eq(
        psc_results_option_at(&key, &value, psc_session_results(session), 0, 0, &error), PSC_OK);
    cr_assert_str_eq(key, "rows");
    cr_assert_str_eq(value, "a\xef\xbf\xbd");
}
