/* The files of the plugin circuit: read again, those of others, overlap; and what it refuses. */
#include "circuit_fixture.h"

#include <math.h>
#include <jansson.h>
#include <unistd.h>

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
    refuse_file(model, path, "[\"logits<-\\embed\"]", "is not JSON");
    refuse_file(model, path, "[\"logits<-\\u00\"]", "is not JSON");
    refuse_file(model, path, "[\"logits<-embed\\u00e9\"]", "'logits<-embed?' is no edge");
    refuse_file(model, path, "[\"logits\\u003c-\\u0065mbed\", \"input->logits\"]", "appears twice");
    refuse_file(model, path, "", "no list");
    refuse_file(model, path, "{}", "no list \"edges\"");
    refuse_file(model, path, "[]", "it has no edge");
    refuse_file(model, path, "[3]", "an entry of the list of edges is not a text");
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
    write_text(path, "[", 1);
    cr_assert_eq(truncate(path, 64 << 20), 0);
    refuse_file(model, path, NULL, "64 MiB or more");
    unlink(path);
    refuse_file(model, path, NULL, "cannot be opened");
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

/* scored= with one score for all edges; 27 receivers and 11 senders. */
static void refuse_scores(psc_model *model, const char *path, float score, const char *word) {
    const fixture_run how = {.threads = 1};
    const char header[] = "{\"s\":{\"dtype\":\"F32\",\"shape\":[27,11],\"data_offsets\":[0,1188]}}";
    const uint64_t length = sizeof header - 1;
    char bytes[sizeof length + sizeof header - 1 + 1188], options[200];
    memcpy(bytes, &length, sizeof length);
    memcpy(bytes + sizeof length, header, length);
    for (size_t i = 0; i < 27 * 11; i++)
        memcpy(bytes + sizeof length + length + i * sizeof score, &score, sizeof score);
    write_text(path, bytes, sizeof bytes);
    snprintf(options, sizeof options, "scored=%s,tensor=s", path);
    psc_session *session = open_circuit(model, options, &how);
    cr_assert_eq(run_phase(session, other_ids, N, PSC_PHASE_SOURCE), PSC_OK, "%s", error.message);
    refuse_run(session, base_ids, N, PSC_PHASE_CHANGED, word);
    psc_session_close(&session);
}

Test(circuit, scores_without_numbers) {
    char path[] = "/tmp/psc_circuit_XXXXXX";
    close(mkstemp(path));
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    refuse_scores(model, path, NAN, "no edge has a score");
    refuse_scores(model, path, INFINITY, "a score is infinite");
    unlink(path);
    psc_model_close(&model);
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
    refuse_options(model, "file=x,edges=5", "leave edges=, threshold= and order= out");
    refuse_options(model, "file=x,order=greedy", "leave edges=, threshold= and order= out");
    refuse_options(model, "path=x,edges=5", "give scores=");
    refuse_options(model, "edges=5,threshold=0.1", "leave one out");
    refuse_options(model, "tensor=x", "give that file");
    refuse_options(model, "steps=7", "give one of them");
    refuse_options(model, "scores=exact,check=3", "check= compares");
    refuse_options(model, "edges=0,check=3", "check= compares");
    refuse_options(model, "edges=0,minimal=0", "need a circuit");
    refuse_options(model, "edges=0,against=x", "need a circuit");
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
