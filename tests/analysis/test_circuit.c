/* The plugin circuit against float64 (tests/tools/make_circuit_golden.py): scores, circuits,
 * curves; files
 * read again, names, overlap, paths; its bits; refusals. */
#include "ln_mlp_fixture.h"

#include <jansson.h>
#include <unistd.h>

#define N 10

static const int32_t base_ids[N] = {3, 17, 5, 79, 0, 41, 8, 60, 12, 12};
static const int32_t other_ids[N] = {3, 17, 44, 79, 1, 41, 9, 60, 30, 12};
static psc_error error;

static psc_status run_phase(psc_session *session, const int32_t *ids, int32_t n, int32_t phase) {
    psc_token tokens[N] = {{0}};
    for (int i = 0; i < n; i++) tokens[i].id = ids[i];
    psc_input input = {0, n, tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.phase = phase;
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, &options, &error);
}

static psc_session *open_circuit(psc_model *model, const char *options, const fixture_run *how) {
    psc_session *session = must_session(model, how->isa, how->threads, how->chunk);
    cr_assert_eq(psc_session_plugin(session, "circuit", options, &error), PSC_OK, "%s: %s", options,
        error.message);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    return session;
}

static psc_session *tested(psc_model *model, const char *options, const fixture_run *how) {
    psc_session *session = open_circuit(model, options, how);
    cr_assert_eq(run_phase(session, other_ids, N, PSC_PHASE_SOURCE), PSC_OK, "%s", error.message);
    cr_assert_eq(run_phase(session, base_ids, N, PSC_PHASE_CHANGED), PSC_OK, "%s", error.message);
    return session;
}

static double number(const psc_session *session, const char *name) {
    const psc_results *results = psc_session_results(session);
    int32_t section;
    psc_result_value value;
    cr_assert_eq(psc_results_find_section(&section, results, "circuit", &error), PSC_OK);
    cr_assert_eq(
        psc_results_find_value(&value, results, section, name, &error), PSC_OK, "%s", name);
    return value.numbers[0];
}

static psc_tensors *golden_of(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, PSC_SOURCE_DIR "/tests/golden/circuit/%s.safetensors", name);
    return golden_open(path);
}

/* --- against float64 -------------------------------------------------------------------------- */

static void check_scores(
    psc_model *model, const psc_tensors *golden, const char *options, const char *name) {
    const fixture_run how = {.threads = 2};
    const psc_model_info *info = psc_model_get_info(model);
    const psc_edge_shape shape = {info->n_layers, info->n_heads, info->parallel_residual};
    const int64_t n = psc_edge_count(&shape), senders = psc_edge_senders(&shape, info->n_layers);
    psc_session *session = tested(model, options, &how);
    const psc_array score = must_array(session, "circuit.score");
    double *want = golden_f64(golden_find(golden, name), (size_t)n), moved = 0;
    int64_t e = 0;
    for (int32_t r = 0; r <= psc_edge_receivers(&shape, info->n_layers); r++)
        for (int64_t u = 0; u < senders; u++) {
            const double got = array_at(&score, r * senders + u);
            if (u >= psc_edge_reads(&shape, r)) {
                cr_assert(isnan(got));
                continue;
            }
            cr_assert_float_eq(
                got, want[e], 2e-5, "%s, edge %ld: %g, not %g", name, (long)e, got, want[e]);
            moved = fmax(moved, fabs(want[e++]));
        }
    cr_assert_eq(e, n);
    cr_assert_gt(moved, 1e-3);
    free(want);
    psc_session_close(&session);
}

/* The circuits of these sizes, and everything but them. */
static void check_circuits(psc_model *model, const psc_tensors *golden) {
    static const int sizes[] = {1, 2, 5, 10, 20, 50};
    const fixture_run how = {.threads = 1};
    double *curve = golden_f64(golden_find(golden, "curve"), 6);
    double *rest = golden_f64(golden_find(golden, "rest"), 6);
    double *greedy = golden_f64(golden_find(golden, "greedy"), 6);
    for (int i = 0; i < 6; i++) {
        char options[80];
        snprintf(options, sizeof options, "scores=exact,edges=%d,minimal=0", sizes[i]);
        psc_session *session = tested(model, options, &how);
        const double base = number(session, "base"), source = number(session, "source");
        cr_assert_float_eq(number(session, "circuit"), curve[i], 2e-5);
        cr_assert_float_eq(number(session, "complement"), rest[i], 2e-5);
        cr_assert_float_eq(number(session, "faithfulness"),
            (number(session, "circuit") - source) / (base - source), 1e-9);
        const psc_array values = must_array(session, "circuit.curve_value");
        cr_assert_float_eq(array_at(&values, i), curve[i], 2e-5);
        psc_session_close(&session);
        snprintf(options, sizeof options, "scores=exact,edges=%d,minimal=0,order=greedy", sizes[i]);
        session = tested(model, options, &how);
        cr_assert_float_eq(number(session, "circuit"), greedy[i], 2e-5);
        cr_assert_eq(
            number(session, "circuit_edges"), fmin(sizes[i], number(session, "all_edges")));
        psc_session_close(&session);
    }
    free(curve);
    free(rest);
    free(greedy);
}

static void check_model(const char *name) {
    psc_model *model = must_model(golden_path(name, NULL));
    psc_tensors *golden = golden_of(name);
    check_scores(model, golden, "scores=exact,minimal=0", "scores");
    check_scores(model, golden, "minimal=0", "eap");
    check_scores(model, golden, "scores=eap_ig,steps=3,minimal=0", "eap_ig");
    check_scores(
        model, golden, "scores=eap_ig_activations,steps=3,minimal=0", "eap_ig_activations");
    check_circuits(model, golden);
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

Test(circuit, parallel) {
    check_model("parallel_f32");
}

Test(circuit, sequential) {
    check_model("sequential_f32");
}

/* --- what follows from the definitions ------------------------------------------------------- */

Test(circuit, all_edges_are_the_run_and_none_the_source) {
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_path("sequential_f32", NULL));
    psc_session *session = tested(model, "edges=100000,minimal=0", &how);
    cr_assert_eq(number(session, "circuit"), number(session, "base"));
    cr_assert_eq(number(session, "complement"), number(session, "source"));
    cr_assert_eq(number(session, "faithfulness"), 1.0);
    cr_assert_eq(number(session, "completeness"), 0.0);
    cr_assert_eq(number(session, "circuit_edges"), number(session, "all_edges"));
    cr_assert_eq(number(session, "connected_edges"), number(session, "all_edges"));
    psc_session_close(&session);
    session = tested(model, "edges=100000,minimal=0,metric=kl", &how);
    cr_assert_eq(number(session, "circuit"), 0.0);
    cr_assert_gt(number(session, "source"), 0.0);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* Edges that are not on a path to the logits change nothing; minimality is the least of edge_lost.
 * */
Test(circuit, edges_without_a_path_do_nothing) {
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = tested(model, "scores=exact,edges=20,minimal=20", &how);
    const psc_array lost = must_array(session, "circuit.edge_lost");
    const psc_array connected = must_array(session, "circuit.edge_connected");
    const psc_array least = must_array(session, "circuit.curve_minimality");
    const psc_array sizes = must_array(session, "circuit.curve_value");
    double smallest = INFINITY, largest = 0;
    int apart = 0;
    for (int i = 0; i < 20; i++) {
        smallest = fmin(smallest, fabs(array_at(&lost, i)));
        largest = fmax(largest, fabs(array_at(&lost, i)));
        if (array_at(&connected, i) != 0.0) continue;
        apart++;
        cr_assert_lt(fabs(array_at(&lost, i)), 1e-6);
    }
    cr_assert_gt(apart, 0);
    cr_assert_gt(largest, 1e-4);
    cr_assert_eq(number(session, "connected_edges"), 20 - apart);
    cr_assert_eq(array_at(&least, 4), smallest);
    cr_assert(isnan(array_at(&least, array_count(&sizes) - 1)));
    psc_session_close(&session);
    psc_model_close(&model);
}

/* A path of one edge is that edge's score. */
Test(circuit, path) {
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = tested(model, "scores=exact,minimal=0", &how);
    const psc_array score = must_array(session, "circuit.score");
    const int64_t senders = 11, receiver = 13 + 4 + 2; /* L1H2.k */
    const double want = array_at(&score, receiver * senders + 1 + 3),
                 base = number(session, "base");
    psc_session *path = tested(model, "path=L0H3->L1H2.k", &how);
    cr_assert_eq(number(path, "path_effect"), want);
    cr_assert_float_eq(
        number(path, "path_normalized"), want / (number(path, "source") - base), 1e-12);
    psc_session_close(&path);
    path = tested(model, "path=L1H2.k<-L0H3+m1<-a0.h1+logits<-1_mlp_out", &how);
    cr_assert_neq(number(path, "path_effect"), want);
    psc_session_close(&path);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* A pair that is aligned from the start: what its source prompt says beyond the last token of the
 * other changes nothing. */
static psc_session *tested_pair(psc_model *model, const char *options, int32_t n_source) {
    static const int32_t from[] = {0, 1, 2, 3, 4, 5, 6, 7};
    const fixture_run how = {.threads = 2};
    psc_session *session = open_circuit(model, options, &how);
    for (int phase = PSC_PHASE_SOURCE; phase <= PSC_PHASE_CHANGED; phase += 2) {
        const int source = phase == PSC_PHASE_SOURCE;
        psc_token tokens[N] = {{0}};
        for (int i = 0; i < N; i++) tokens[i].id = source ? other_ids[i] : base_ids[i];
        const psc_input input = {0, source ? n_source : 8, tokens};
        const psc_example example = {0, 5, -1, source ? NULL : from};
        psc_run_options run = PSC_RUN_OPTIONS_INIT;
        run.phase = phase;
        run.examples = &example;
        psc_session_truncate(session, 0, 0);
        cr_assert_eq(
            psc_session_run(session, &input, 1, &run, &error), PSC_OK, "%s", error.message);
    }
    return session;
}

Test(circuit, a_longer_source) {
    static const char *const names[] = {"circuit.score", "circuit.curve_value"};
    static const char *const options[] = {
        "scores=exact,minimal=0", "scores=eap_ig_activations,steps=2,minimal=0"};
    psc_model *model = must_model(golden_path("sequential_f32", NULL));
    for (int o = 0; o < 2; o++) {
        psc_session *one = tested_pair(model, options[o], 8);
        psc_session *other = tested_pair(model, options[o], 10);
        for (int i = 0; i < 2; i++) {
            const psc_array a = must_array(one, names[i]), b = must_array(other, names[i]);
            cr_assert_arr_eq(
                a.data, b.data, (size_t)array_count(&a) * sizeof(double), "%s", names[i]);
        }
        psc_session_close(&one);
        psc_session_close(&other);
    }
    psc_model_close(&model);
}

/* Path patching with frozen heads, by two runs in float64. */
static void check_ways(const char *name) {
    static const char *const edges[] = {"logits<-embed", "L1H1.k<-embed", "logits<-L0H1",
        "1_mlp_out<-L0H1", "L1H0.q<-L0H1", "logits<-0_mlp_out", "L1H0.v<-embed+L1H1.q<-embed",
        "L0H1.q<-embed", "logits<-L1H0"};
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_path(name, NULL));
    psc_tensors *golden = golden_of(name);
    double *want = golden_f64(golden_find(golden, "paths"), 9);
    for (int i = 0; i < 9; i++) {
        char options[100];
        snprintf(options, sizeof options, "through=mlps,path=%s", edges[i]);
        psc_session *session = tested(model, options, &how);
        cr_assert_float_eq(number(session, "path_effect") + number(session, "base"), want[i], 2e-5,
            "%s", edges[i]);
        const double effect = number(session, "path_effect");
        psc_session_close(&session);
        if (i != 1) continue;
        session = tested(model, "path=L1H1.k<-embed", &how); /* the edge alone */
        cr_assert_gt(fabs(number(session, "path_effect") - effect), 1e-4);
        psc_session_close(&session);
    }
    free(want);
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

Test(circuit, paths_through_mlps) {
    check_ways("parallel_f32");
    check_ways("sequential_f32");
}

/* --- files ------------------------------------------------------------------------------------ */

static void write_text(const char *path, const char *text, size_t n) {
    FILE *file = fopen(path, "w");
    cr_assert(file);
    cr_assert_eq(fwrite(text, 1, n, file), n);
    fclose(file);
}

/* circuit.graphml has a node per component, once and before the edges, and as many edges as lead to
 * the logits. */
static void check_graphml(const char *bytes, size_t n, int n_edges) {
    char *text = strndup(bytes, n);
    int edges = 0, nodes = 0;
    cr_assert(text);
    for (const char *at = text; (at = strstr(at, "<node id=\"")); nodes++) {
        char id[80];
        snprintf(id, sizeof id, "%.*s\"", (int)strcspn(at + 10, "\""), at + 10);
        at += 10;
        char again[100];
        snprintf(again, sizeof again, "<node id=\"%s", id);
        cr_assert_null(strstr(at, again));
    }
    for (const char *at = text; (at = strstr(at, "<edge source=\"")); edges++) {
        char node[100];
        at += 14;
        snprintf(node, sizeof node, "<node id=\"%.*s\"", (int)strcspn(at, "\""), at);
        cr_assert(strstr(text, node), "%s", node);
        at = strstr(at, "target=\"") + 8;
        snprintf(node, sizeof node, "<node id=\"%.*s\"", (int)strcspn(at, "\""), at);
        cr_assert(strstr(text, node), "%s", node);
    }
    cr_assert_eq(edges, n_edges);
    cr_assert_gt(nodes, 2);
    cr_assert(strstr(text, "</graph>\n</graphml>\n"));
    free(text);
}

/* circuit.graph.json parses, and its links connect its nodes. */
static void check_graph(const char *bytes, size_t n) {
    json_t *root = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, NULL), *ids = json_object(), *one;
    size_t i;
    cr_assert(root);
    cr_assert_gt(json_array_size(json_object_get(root, "links")), 5);
    json_array_foreach(json_object_get(root, "nodes"), i, one) {
        const char *id = json_string_value(json_object_get(one, "node_id"));
        cr_assert(id && !json_object_get(ids, id));
        json_object_set_new(ids, id, json_true());
    }
    json_array_foreach(json_object_get(root, "links"), i, one) {
        cr_assert(json_object_get(ids, json_string_value(json_object_get(one, "source"))));
        cr_assert(json_object_get(ids, json_string_value(json_object_get(one, "target"))));
        cr_assert(json_is_number(json_object_get(one, "weight")));
    }
    json_decref(ids);
    json_decref(root);
}

Test(circuit, files) {
    char path[] = "/tmp/psc_circuit_XXXXXX", options[200];
    const fixture_run how = {.threads = 2};
    close(mkstemp(path));
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = tested(model, "edges=20,minimal=0", &how);
    const double want = number(session, "circuit");
    const psc_results *results = psc_session_results(session);
    psc_result_file file;
    cr_assert_eq(psc_results_file_count(results), 4);
    cr_assert_eq(psc_results_file_at(&file, results, 0, &error), PSC_OK);
    cr_assert_str_eq(file.name, "circuit.json");
    write_text(path, file.bytes, file.n);
    cr_assert_eq(psc_results_file_at(&file, results, 2, &error), PSC_OK);
    check_graphml(file.bytes, file.n, (int)number(session, "connected_edges"));
    cr_assert_eq(psc_results_file_at(&file, results, 3, &error), PSC_OK);
    check_graph(file.bytes, file.n);
    psc_session_close(&session);
    snprintf(options, sizeof options, "file=%s,against=%s", path, path);
    session = tested(model, options, &how);
    cr_assert_eq(number(session, "circuit"), want);
    cr_assert_eq(number(session, "overlap_edges"), 1.0);
    cr_assert_eq(number(session, "overlap_components"), 1.0);
    psc_session_close(&session);
    static const char others[] = "{\"a\": [{\"b\": {}}, [], -1.5e3, {\"c\": [null, \"\\\"\"]}],\n"
                                 " \"edges\": [\"logits<-embed\"], \"scores\": [null], \"d\": {}}";
    write_text(path, others, sizeof others - 1);
    session = tested(model, options, &how);
    cr_assert_eq(number(session, "circuit_edges"), 1.0);
    psc_session_close(&session);
    static const char short_list[] = "[\"logits<-embed\", \"m0->logits\", \"a0.h1->a1.h3<v>\"]";
    write_text(path, short_list, sizeof short_list - 1);
    session = tested(model, options, &how);
    cr_assert_eq(number(session, "circuit_edges"), 3.0);
    cr_assert_eq(number(session, "connected_edges"), 1.0);
    psc_session_close(&session);
    static const char eap[] =
        "{\"edges\": {\"input->m0\": {\"in_graph\": true, \"score\": 0.5},"
        " \"m0->m1\": {\"in_graph\": false}, \"m0->logits\": {\"in_graph\": true, \"score\": -2}}}";
    write_text(path, eap, sizeof eap - 1);
    session = tested(model, options, &how);
    const psc_array score = must_array(session, "circuit.edge_score");
    cr_assert_eq(array_count(&score), 2);
    cr_assert_eq(array_at(&score, 0), -2.0);
    cr_assert_eq(number(session, "connected_edges"), 2.0);
    psc_session_close(&session);
    unlink(path);
    psc_model_close(&model);
}

static void refuse_file(psc_model *model, const char *path, const char *text, const char *word) {
    char options[200];
    const fixture_run how = {.threads = 1};
    if (text) write_text(path, text, strlen(text));
    snprintf(options, sizeof options, "file=%s", path);
    psc_session *session = open_circuit(model, options, &how);
    cr_assert_eq(run_phase(session, other_ids, N, PSC_PHASE_SOURCE), PSC_OK, "%s", error.message);
    cr_assert_eq(run_phase(session, base_ids, N, PSC_PHASE_CHANGED), PSC_ERROR_PLUGIN);
    cr_assert(strstr(error.message, word), "'%s' is not in: %s", word, error.message);
    psc_session_close(&session);
}

Test(circuit, files_refused) {
    char path[] = "/tmp/psc_circuit_XXXXXX";
    close(mkstemp(path));
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    refuse_file(model, path, "[\"logits<-embed\"", "is not JSON");
    refuse_file(model, path, "[\"logits<-embed\"] 3", "line 1 is not JSON");
    refuse_file(model, path, "[\"logits<-embed\",\n]", "line 2");
    refuse_file(model, path, "{\"edges\": [\"logits<-embed\"]", "is not JSON");
    refuse_file(model, path, "{\"edges\" [\"logits<-embed\"]}", "is not JSON");
    refuse_file(model, path, "{\"edges\": [\"logits<-embed\"], \"scores\": [0x1]}", "not JSON");
    refuse_file(model, path, "{\"edges\": [\"logits<-embed\"], \"scores\": [-inf]}", "not JSON");
    refuse_file(model, path, "{\"edges\": [\"logits<-embed\"], \"other\": \"\n\"}", "not JSON");
    char deep[200] = "{\"other\": ";
    memset(deep + strlen(deep), '[', 100);
    refuse_file(model, path, deep, "is not JSON");
    refuse_file(model, path, "", "no list");
    refuse_file(model, path, "{}", "no list \"edges\"");
    refuse_file(model, path, "[]", "it has no edge");
    refuse_file(model, path, "[3]", "not a text");
    refuse_file(model, path, "[\"logits<-embed\", \"input->logits\"]", "appears twice");
    refuse_file(
        model, path, "{\"edges\": [\"logits<-embed\"], \"scores\": []}", "a number for each");
    static const char *const bad[] = {"embed<-logits", "L1H2<-L0H1", "L1H2.q<-L0H1.q",
        "L1H2.q<-L1H1", "L1H9.q<-L0H1", "1_mlp_out<-L1H1", "0_mlp_out<-0_mlp_out", "logits<-L2H0",
        "logits<-L0H1 ", "L0H1", "", "a1.h2<x><-m0", "L1H2.q<-L99999999999H1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[80];
        snprintf(text, sizeof text, "[\"%s\"]", bad[i]);
        refuse_file(model, path, text, "is no edge of this model");
    }
    unlink(path);
    refuse_file(model, path, NULL, "cannot be opened");
    psc_model_close(&model);
}

/* --- bits ------------------------------------------------------------------------------------- */

Test(circuit, same_bits) {
    static const char *const names[] = {
        "circuit.score", "circuit.curve_value", "circuit.edge_lost", "circuit.curve_completeness"};
    const fixture_run ways[] = {
        {.threads = 1, .chunk = 3}, {.threads = 3}, {.isa = "reference", .threads = 2}};
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_path("old_f16", NULL));
    psc_session *one = tested(model, "edges=20,minimal=20,metric=log_prob", &how);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        psc_session *other = tested(model, "edges=20,minimal=20,metric=log_prob", &ways[w]);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const psc_array a = must_array(one, names[i]), b = must_array(other, names[i]);
            cr_assert_eq(array_count(&a), array_count(&b));
            cr_assert_arr_eq(
                a.data, b.data, (size_t)array_count(&a) * sizeof(double), "%s", names[i]);
        }
        psc_session_close(&other);
    }
    psc_session_close(&one);
    psc_model_close(&model);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void refuse_options(psc_model *model, const char *options, const char *word) {
    psc_session *session = must_session(model, NULL, 1, 0);
    cr_assert_neq(psc_session_plugin(session, "circuit", options, &error), PSC_OK);
    cr_assert(strstr(error.message, word), "'%s' is not in: %s", word, error.message);
    psc_session_close(&session);
}

static void refuse_run(
    psc_session *session, const int32_t *ids, int32_t n, int phase, const char *word) {
    cr_assert_neq(run_phase(session, ids, n, phase), PSC_OK);
    cr_assert(strstr(error.message, word), "'%s' is not in: %s", word, error.message);
}

Test(circuit, refusals) {
    const fixture_run how = {.threads = 1};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    refuse_options(model, "scores=none", "needs a circuit");
    refuse_options(model, "scores=exact,file=x", "leave scores= and scored= out");
    refuse_options(model, "path=x,against=y", "against= needs a circuit");
    refuse_options(model, "through=mlps", "needs edges in path=");
    refuse_options(model, "scores=scored", "needs a file in scored=");
    refuse_options(model, "scores=eap,scored=x", "already has scores");
    refuse_options(model, "metric=kl,scores=eap", "the gradient of kl is 0");
    refuse_options(model, "metric=kl,steps=1", "give steps=2 or more");
    refuse_options(model,
        "tensor=resid,scored=" PSC_SOURCE_DIR
        "/tests/golden/interventions/parallel_f32_values.safetensors",
        "has no tensor");
    refuse_options(model,
        "tensor=scores,scored=" PSC_SOURCE_DIR "/tests/golden/circuit/parallel_f32.safetensors",
        "does not have 27 receivers and 11 senders");
    psc_session *session = open_circuit(model, "", &how);
    refuse_run(session, base_ids, N, PSC_PHASE_CHANGED, "needs a source prompt");
    cr_assert_eq(run_phase(session, other_ids, N, PSC_PHASE_SOURCE), PSC_OK);
    refuse_run(session, base_ids, N - 1, PSC_PHASE_CHANGED, "equal length");
    refuse_run(session, other_ids, N, PSC_PHASE_CHANGED, "the source prompt is the prompt");
    psc_session_close(&session);
    session = open_circuit(model, "path=L0H1", &how);
    cr_assert_eq(run_phase(session, other_ids, N, PSC_PHASE_SOURCE), PSC_OK);
    refuse_run(session, base_ids, N, PSC_PHASE_CHANGED, "is no edge of this model");
    psc_session_close(&session);
    session = open_circuit(model, "through=mlps,path=L1H1.q<-embed+logits<-embed", &how);
    cr_assert_eq(run_phase(session, other_ids, N, PSC_PHASE_SOURCE), PSC_OK);
    refuse_run(session, base_ids, N, PSC_PHASE_CHANGED, "receivers of one layer");
    psc_session_close(&session);
    psc_model_close(&model);
}
