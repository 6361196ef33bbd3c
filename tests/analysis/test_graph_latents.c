/* The plugin graph with transcoders in place of MLPs, against the frozen network that is built
 * forwards in float64 (tests/tools/make_latents_golden.py); conservation, bits, files, refusals. */
#include "graph_fixture.h"

#include <jansson.h>

#define LATENTS PSC_SOURCE_DIR "/tests/golden/latents/"
#define SAE PSC_SOURCE_DIR "/tests/golden/sae/"

enum { KEPT = 60 };

/* Equal to tests/tools/make_latents_golden.py. */
static const struct {
    const char *name, *sae;
} graphs[] = {
    {"one", "sae=" SAE "skip_transcoder"},
    {"both", "sae=" SAE "transcoder+" SAE "sparsify_skip/layers.1.mlp"},
    {"jump", "sae=" SAE "sparsify_transcoder/layers.0.mlp+" SAE "jumprelu_transcoder"},
};

static psc_session *replaced(
    psc_model *model, const char *sae, const char *more, const fixture_run *how) {
    char options[1024];
    snprintf(options, sizeof options, "threshold=0,%s,%s", more, sae);
    return graphed(model, options, how);
}

static const psc_tensor *find(const psc_tensors *golden, const char *name, const char *what) {
    char full[32];
    snprintf(full, sizeof full, "%s/%s", name, what);
    return golden_find(golden, full);
}

static void check_graph(const psc_session *session, const psc_tensors *tensors, const char *name) {
    const golden_graph golden = {find(tensors, name, "flow"), find(tensors, name, "which"),
        find(tensors, name, "links"), KEPT};
    const double worst = worst_of_graph(session, &golden);
    int latents = 0;
    cr_assert(worst < 2e-5, "%s: %g", name, worst);
    for (int64_t i = 0; i < must_array(session, "graph.node_kind").shape[0]; i++)
        latents += at(session, "graph.node_kind", i) == 7;
    cr_assert_gt(latents, 8);
}

static void check_model(const char *model_name) {
    const fixture_run how = {.threads = 2, .chunk = 2};
    char path[1024];
    psc_model *model = must_model(golden_path(model_name, NULL));
    snprintf(path, sizeof path, LATENTS "%s.safetensors", model_name);
    psc_tensors *golden = golden_open(path);
    for (int i = 0; i < 3; i++) {
        psc_session *session = replaced(model, graphs[i].sae, "nodes=60", &how);
        check_graph(session, golden, graphs[i].name);
        psc_session_close(&session);
        session = replaced(model, graphs[i].sae, "nodes=2000", &how);
        const double want = tensor_at(find(golden, graphs[i].name, "flow_of_all"), 0);
        const psc_array flows = must_array(session, "graph.node_flow");
        double all = 0.0;
        for (int64_t k = 1; k < flows.shape[0]; k++) all += fabs(array_at(&flows, k));
        cr_assert(fabs(all - want) < 1e-5 * want, "%s: %g, %g", graphs[i].name, all, want);
        psc_session_close(&session);
    }
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

Test(graph_latents, golden) {
    check_model("parallel_f32");
    check_model("sequential_f32");
}

/* With every node kept, a node's inflow and outflow both equal its flow. */
Test(graph_latents, conserves_at_every_node) {
    static const char *const names[] = {"parallel_f32", "sequential_f32"};
    static const char *const levels[] = {"nodes=2000", "nodes=2000,level=neuron"};
    const fixture_run how = {.threads = 2};
    for (int m = 0; m < 2; m++)
        for (int i = 0; i < 6; i++) {
            psc_model *model = must_model(golden_path(names[m], NULL));
            psc_session *session = replaced(model, graphs[i / 2].sae, levels[i % 2], &how);
            assert_conserves(session, names[m]);
            psc_session_close(&session);
            psc_model_close(&model);
        }
}

Test(graph_latents, same_bits) {
    static const fixture_run ways[] = {
        {.threads = 1}, {.threads = 3, .chunk = 2}, {.isa = "reference", .threads = 2}};
    double flows[3][KEPT];
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int w = 0; w < 3; w++) {
        psc_session *session = replaced(model, graphs[1].sae, "nodes=60", &ways[w]);
        for (int i = 0; i < KEPT; i++) flows[w][i] = at(session, "graph.node_flow", i);
        cr_assert_eq(memcmp(flows[0], flows[w], sizeof flows[0]), 0, "way %d", w);
        psc_session_close(&session);
    }
    psc_model_close(&model);
}

static const char *text_of(const json_t *node, const char *key) {
    return json_string_value(json_object_get(node, key));
}

/* graph.json: one number per component, the types of circuit-tracer, a latent's activation. */
Test(graph_latents, json) {
    const fixture_run how = {.threads = 1};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = replaced(model, graphs[1].sae, "nodes=2000", &how);
    psc_result_file file;
    cr_assert_eq(psc_results_file_at(&file, psc_session_results(session), 0, &error), PSC_OK);
    json_t *graph = json_loadb(file.bytes, (size_t)file.n, 0, NULL);
    cr_assert(graph);
    const json_t *head = json_object_get(graph, "metadata"),
                 *nodes = json_object_get(graph, "nodes");
    cr_assert_eq(json_array_size(json_object_get(head, "transcoder_list")), 2);
    json_t *names = json_object(); /* feature number -> component */
    int latents = 0, errors = 0, skips = 0;
    size_t i;
    json_t *node;
    json_array_foreach(nodes, i, node) {
        const char *type = text_of(node, "feature_type"), *clerp = text_of(node, "clerp");
        char key[32], name[32];
        const int is_latent = strcmp(type, "cross layer transcoder") == 0;
        latents += is_latent;
        errors += strcmp(type, "mlp reconstruction error") == 0;
        skips += strcmp(type, "mlp skip connection") == 0;
        if (is_latent) cr_assert_gt(json_real_value(json_object_get(node, "activation")), 0.0);
        if (strcmp(type, "logit") == 0 || strcmp(type, "embedding") == 0) continue;
        snprintf(key, sizeof key, "%lld",
            (long long)json_integer_value(json_object_get(node, "feature")));
        snprintf(name, sizeof name, "%.*s", (int)strcspn(clerp, "@"), clerp);
        const char *known = json_string_value(json_object_get(names, key));
        cr_assert(!known || strcmp(known, name) == 0, "%s: %s, %s", key, known, name);
        json_object_set_new(names, key, json_string(name));
    }
    cr_assert(latents > 40 && errors > 4 && skips > 0, "%d %d %d", latents, errors, skips);
    json_decref(names);
    json_decref(graph);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(graph_latents, refusals) {
    static const struct {
        const char *options, *says;
    } bad[] = {
        {"sae=" SAE "standard", "is not a transcoder of an MLP"},
        {"sae=" SAE "standard_mlp", "is not a transcoder of an MLP"},
        {"sae=" SAE "transcoder+" SAE "sparsify_transcoder/layers.0.mlp",
            "two transcoders of layer 0"},
        {"sae=" SAE "nowhere", "nowhere"},
        {"sae=+", "has no folder before +"},
        {"sae=" SAE "transcoder+", "has no folder after +"},
    };
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_neq(
            psc_session_plugin(session, "graph", bad[i].options, &error), PSC_OK, "%zu", i);
        cr_assert(strstr(error.message, bad[i].says), "%s: %s", bad[i].options, error.message);
    }
    psc_session_close(&session);
    psc_model_close(&model);
}
