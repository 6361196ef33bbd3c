/* The plugin graph against the frozen network, built forwards in float64
 * (tests/tools/make_graph_golden.py); its conservation, files, bits and refusals. */
#include "failing_json.h"
#include "graph.h"
#include "graph_fixture.h"

#define GRAPH_GOLDEN PSC_SOURCE_DIR "/tests/golden/graph/"

enum { KEPT = 40 };

static const psc_tensor *find(const psc_tensors *golden, const char *level, const char *what) {
    char name[32];
    snprintf(name, sizeof name, "%s:%s", level, what);
    return golden_find(golden, name);
}

static void check_level(const psc_session *session, const psc_tensors *tensors, const char *level) {
    const golden_graph golden = {find(tensors, level, "flow"), find(tensors, level, "which"),
        find(tensors, level, "links"), KEPT};
    const double worst = worst_of_graph(session, &golden);
    if (getenv("PSC_TEST_VERBOSE")) fprintf(stderr, "%s: %.1e\n", level, worst);
    cr_assert(worst < 2e-5, "%s: %g", level, worst);
}

static void check_model(const char *model_name) {
    static const char *const levels[] = {"head", "neuron"};
    const fixture_run how = {.threads = 2, .chunk = 2};
    char path[1024], options[64];
    psc_model *model = must_model(golden_path(model_name, NULL));
    snprintf(path, sizeof path, GRAPH_GOLDEN "%s.safetensors", model_name);
    psc_tensors *golden = golden_open(path);
    for (int i = 0; i < 2; i++) {
        snprintf(options, sizeof options, "level=%s,threshold=0,nodes=%d", levels[i], (int)KEPT);
        psc_session *session = graphed(model, options, &how);
        check_level(session, golden, levels[i]);
        psc_session_close(&session);
    }
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

Test(graph, golden) {
    check_model("parallel_f32");
    check_model("sequential_f32");
    check_model("gelu_fast");
}

/* With every node kept, a node's inflow and outflow both equal its flow. */
Test(graph, conserves_at_every_node) {
    static const char *const names[] = {
        "parallel_f32", "sequential_f32", "odd_sizes", "tied_f32", "rope_linear", "rope_yarn"};
    const fixture_run how = {.threads = 2};
    for (int m = 0; m < 6; m++)
        for (int neurons = 0; neurons < 2; neurons++) {
            psc_model *model = must_model(golden_path(names[m], NULL));
            psc_session *session = graphed(model,
                neurons ? "threshold=0,nodes=2000,level=neuron" : "threshold=0,nodes=2000", &how);
            assert_conserves(session, names[m]);
            psc_session_close(&session);
            psc_model_close(&model);
        }
}

Test(graph, bits) {
    static const fixture_run ways[] = {{.isa = "reference", .threads = 1},
        {.isa = "reference", .threads = 2, .chunk = 2}, {.threads = 3, .chunk = 1}};
    static const char *const arrays[] = {"graph.node_flow", "graph.node_in", "graph.node_out",
        "graph.link_source", "graph.link_target", "graph.link_weight", NULL};
    const fixture_run plain = {.threads = 1};
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    psc_session *first = graphed(model, "level=neuron,threshold=0.001", &plain);
    for (int w = 0; w < 3; w++) {
        psc_session *other = graphed(model, "level=neuron,threshold=0.001", &ways[w]);
        assert_same_arrays(first, other, arrays, "ways");
        psc_session_close(&other);
    }
    psc_session_close(&first);
    psc_model_close(&model);
}

/* graph.json parses, names each node once, and its links connect those nodes. */
Test(graph, files) {
    const fixture_run how = {.threads = 1};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = graphed(model, "level=neuron,threshold=0.001,nodes=60", &how);
    const psc_results *results = psc_session_results(session);
    psc_result_file file;
    cr_assert_eq(psc_results_file_count(results), 4);
    cr_assert_eq(psc_results_file_at(&file, results, 0, &error), PSC_OK);
    json_error_t why;
    json_t *graph = json_loadb(file.bytes, (size_t)file.n, JSON_REJECT_DUPLICATES, &why);
    cr_assert(graph, "%s", why.text);
    cr_assert_str_eq(file.name, "graph.json");
    const json_t *nodes = json_object_get(graph, "nodes"), *links = json_object_get(graph, "links");
    json_t *seen = json_object();
    size_t i;
    json_t *item;
    json_array_foreach(nodes, i, item) {
        const char *id = json_string_value(json_object_get(item, "node_id"));
        cr_assert(id && !json_object_get(seen, id), "%s", id);
        json_object_set_new(seen, id, json_true());
    }
    const psc_array weight = must_array(session, "graph.link_weight");
    cr_assert_eq((int64_t)json_array_size(links), weight.shape[0]);
    json_array_foreach(links, i, item) {
        cr_assert(json_object_get(seen, json_string_value(json_object_get(item, "source"))));
        cr_assert(json_object_get(seen, json_string_value(json_object_get(item, "target"))));
    }
    json_decref(seen);
    json_decref(graph);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* --- without memory, and numbers that JSON does not have --------------------------------------- */

/* Each request for memory of graph.json fails in turn: the run fails with one sentence, nothing
 * leaks, and the next run leaves the same file. */
Test(graph, json_without_memory) {
    const fixture_run how = {.threads = 1};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = graphed(model, "threshold=0,nodes=3", &how);
    const psc_results *results = psc_session_results(session);
    psc_result_file file;
    cr_assert_eq(psc_results_file_at(&file, results, 0, &error), PSC_OK);
    const size_t bytes = (size_t)file.n;
    char *first = malloc(bytes);
    memcpy(first, file.bytes, bytes);
    json_fail_at(0);
    cr_assert_eq(try_run(session), PSC_OK);
    const long n = json_requests, before = json_held;
    cr_assert_gt(n, 60, "%ld", n);
    for (long i = 1; i <= n; i++) {
        json_fail_at(i);
        cr_assert_eq(try_run(session), PSC_ERROR_PLUGIN, "request %ld", i);
        cr_assert_str_eq(error.message, "plugin graph: not enough memory for graph.json");
        cr_assert_eq(json_held, before, "request %ld leaks", i);
        cr_assert_eq(psc_results_file_count(results), 0);
    }
    json_fail_at(0);
    cr_assert_eq(try_run(session), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_results_file_at(&file, results, 0, &error), PSC_OK);
    cr_assert_eq((size_t)file.n, bytes);
    cr_assert_arr_eq(file.bytes, first, bytes);
    free(first);
    psc_session_close(&session);
    psc_model_close(&model);
}

static json_t *written;

static int keep_json(psc_context *context, const char *kind, const char *bytes, uint64_t n) {
    (void)context;
    if (strcmp(kind, "json") == 0) written = json_loadb(bytes, (size_t)n, 0, NULL);
    return 0;
}

static const char *hostile_token(psc_context *context, int32_t token) {
    (void)context, (void)token;
    return "'\"\\</script>&\303\251'";
}

static const char *plain_label(
    psc_context *context, psc_component_kind kind, int32_t layer, int32_t index) {
    (void)context, (void)kind, (void)layer, (void)index;
    return "L1H2";
}

/* NaN and infinities become null; every character of a token and a label comes back. */
Test(graph, json_of_hostile_values) {
    const psc_host host = {
        .token_text = hostile_token, .label = plain_label, .document = keep_json};
    const psc_model_info info = {.hash = "0", .n_layers = 2, .n_heads = 4, .d_mlp = 8};
    psc_row row = {.token = 3};
    psc_target target = {.label = "'\"' - '\\'"};
    int32_t ids[] = {5, -1};
    graph_node nodes[] = {{.kind = NODE_LOGIT, .flow = NAN},
        {.kind = NODE_HEAD, .layer = 1, .index = 2, .flow = -INFINITY}};
    graph_link link = {.source = 1, .target = 0, .weight = INFINITY};
    graph_transcoder *none[] = {NULL, NULL};
    graph_state state = {.host = &host,
        .model = &info,
        .rows = &row,
        .n_rows = 1,
        .nodes = nodes,
        .n_nodes = 2,
        .links = &link,
        .n_links = 1,
        .threshold = 0.5,
        .sae = "",
        .transcoders = none};
    state.targets.targets = &target;
    state.targets.ids = ids;
    cr_assert_eq(graph_write(&state), 0);
    cr_assert(written, "graph.json is not JSON");
    cr_assert_str_eq(
        json_string_value(json_object_get(json_object_get(written, "metadata"), "scan")), "model");
    const json_t *list = json_object_get(written, "nodes");
    const json_t *first = json_array_get(list, 0), *second = json_array_get(list, 1);
    cr_assert(json_is_null(json_object_get(first, "activation")));
    cr_assert(json_is_null(json_object_get(second, "influence")));
    cr_assert(json_is_null(
        json_object_get(json_array_get(json_object_get(written, "links"), 0), "weight")));
    cr_assert_str_eq(json_string_value(json_object_get(first, "clerp")),
        "Output \"\342\200\235\\</script>&\303\251\" (p=1.000)");
    cr_assert_str_eq(
        json_string_value(json_object_get(second, "clerp")), "L1H2@0 \"\\</script>&\303\251");
    cr_assert_str_eq(
        json_string_value(json_object_get(json_object_get(written, "metadata"), "prompt")),
        "\"\\</script>&\303\251");
    json_decref(written);
}

Test(graph, refusals) {
    static const char *const bad[] = {
        "level=layer", "row=x", "threshold=-1", "threshold=nan", "nodes=1", "nodes=2001"};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    assert_options_refused(model, "graph", bad, sizeof bad / sizeof *bad);
    assert_run_refused(model, "graph", "row=9", NULL, "row");
    assert_run_refused(model, "graph", "nodes=9", edit_nothing, "edited");
    psc_model_close(&model);
}

/* --- text in files ------------------------------------------------------------------------------ */

static void assert_put(graph_quoting how, const char *bytes, size_t n, const char *wanted) {
    psc_growing t = {0};
    graph_put(&t, how, bytes, n);
    cr_assert(!t.failed && t.data, "%s", wanted);
    cr_assert_str_eq(t.data, wanted);
    cr_assert_eq(t.used, strlen(wanted));
    free(t.data);
}

#define PUT(how, bytes, wanted) assert_put(how, bytes, sizeof bytes - 1, wanted)

Test(graph, text_of_any_bytes) {
    PUT(QUOTE_XML, "a<b>&\"]]>'", "a&lt;b&gt;&amp;&quot;]]&gt;'");
    PUT(QUOTE_DOT, "\\N\\G\\l\"&lt;", "\\\\N\\\\G\\\\l\\\"&amp;lt;");
    PUT(QUOTE_NONE, "\\N\"&", "\\N\"&");
    /* Controls, a 0 byte among them, and DEL and NEL, which XML discourages. */
    PUT(QUOTE_XML, "\0\x01\t\n\x1b\x7f", "\\x00\\x01\\x09\\x0a\\x1b\\x7f");
    PUT(QUOTE_DOT, "\n\302\205", "\\\\x0a\\\\xc2\\\\x85");
    /* Characters of 2, 3 and 4 bytes stay. */
    PUT(QUOTE_XML, "\303\251\342\202\254\360\237\230\200", "\303\251\342\202\254\360\237\230\200");
    /* Cut, overlong, a surrogate, U+FFFE, above U+10FFFF, stray bytes. */
    PUT(QUOTE_XML, "\342\202", "\\xe2\\x82");
    PUT(QUOTE_XML, "\300\257", "\\xc0\\xaf");
    PUT(QUOTE_XML, "\340\200\257", "\\xe0\\x80\\xaf");
    PUT(QUOTE_XML, "\355\240\200", "\\xed\\xa0\\x80");
    PUT(QUOTE_XML, "\357\277\276", "\\xef\\xbf\\xbe");
    PUT(QUOTE_XML, "\364\220\200\200", "\\xf4\\x90\\x80\\x80");
    PUT(QUOTE_XML, "\200\377", "\\x80\\xff");
}
