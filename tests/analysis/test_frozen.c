/* The plugin frozen: its maps equal the run on the run's residual, are linear, and compose block by
 * block. Its agreement with finite differences follows from test_graph, whose pull-back is this
 * map's transpose: u . image equals the graph's flow of that write. */
#include "graph_fixture.h"

static psc_session *mapped(psc_model *model, const char *options, const fixture_run *how) {
    psc_session *session = must_session(model, how->isa, how->threads, how->chunk);
    cr_assert_eq(psc_session_plugin(session, "frozen", options, &error), PSC_OK, "%s: %s", options,
        error.message);
    cr_assert_eq(psc_session_plugin(session, "graph", "threshold=0,nodes=2000", &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    cr_assert_eq(psc_session_capture(session, "ln_final.hook_scale", &error), PSC_OK);
    cr_assert_eq(try_run(session), PSC_OK, "%s", error.message);
    return session;
}

static double worst_error(const psc_session *session) {
    const psc_results *results = psc_session_results(session);
    psc_result_value value;
    int32_t section;
    if (psc_results_find_section(&section, results, "frozen", NULL) == PSC_OK &&
        psc_results_find_value(&value, results, section, "worst_error", NULL) == PSC_OK)
        return value.numbers[0];
    return NAN;
}

static const char *const models[] = {
    "parallel_f32", "sequential_f32", "tied_f32", "odd_sizes", "gelu_fast", "rope_linear"};

/* block(l) and upto(l), applied to the run's own residual, give the run's result. */
Test(frozen, is_the_run_itself) {
    const fixture_run how = {.threads = 2};
    for (int m = 0; m < 6; m++)
        for (int layer = 0; layer < 2; layer++)
            for (int upto = 0; upto < 2; upto++) {
                char options[64];
                snprintf(
                    options, sizeof options, "map=%s,layer=%d", upto ? "upto" : "block", layer);
                psc_model *model = must_model(golden_path(models[m], NULL));
                psc_session *session = mapped(model, options, &how);
                cr_assert(worst_error(session) < 1e-5, "%s %s: %g", models[m], options,
                    worst_error(session));
                psc_session_close(&session);
                psc_model_close(&model);
            }
}

/* The embedding of row j, mapped through all blocks and dotted with u/sigma, is the graph's flow of
 * embed@j, which the graph computes by pull-back. */
Test(frozen, is_the_transpose_of_the_graph) {
    const fixture_run how = {.threads = 1};
    for (int m = 0; m < 2; m++)
        for (int row = 0; row < LENGTH; row++) {
            char options[64];
            psc_model *model = must_model(golden_path(models[m], NULL));
            const psc_model_info *info = psc_model_get_info(model);
            snprintf(
                options, sizeof options, "map=upto,layer=%d,row=%d", (int)info->n_layers - 1, row);
            psc_session *session = mapped(model, options, &how);
            const psc_array image = must_array(session, "frozen.image");
            const psc_array scale = must_array(session, "ln_final.hook_scale");
            const psc_array flows = must_array(session, "graph.node_flow");
            const psc_array kinds = must_array(session, "graph.node_kind");
            const psc_array rows = must_array(session, "graph.node_row");
            double flow = NAN, sum = 0.0, mean = 0.0;
            for (int64_t i = 0; i < flows.shape[0]; i++)
                if (array_at(&kinds, i) == 1 && array_at(&rows, i) == row)
                    flow = array_at(&flows, i);
            /* u = P(gamma * t_bar), from the file */
            psc_tensors *file = golden_open(golden_path(models[m], "model.safetensors"));
            const psc_tensor *gamma = golden_find(file, "gpt_neox.final_layer_norm.weight");
            const psc_tensor *unembed = golden_find(file, "embed_out.weight");
            const int64_t n = info->d_model;
            double u[256];
            for (int64_t i = 0; i < n; i++) {
                u[i] = tensor_at(gamma, i) * tensor_at(unembed, 5 * n + i);
                mean += u[i] / (double)n;
            }
            for (int64_t i = 0; i < n; i++)
                sum += (u[i] - mean) * array_at(&image, (LENGTH - 1) * n + i);
            sum /= array_at(&scale, LENGTH - 1);
            cr_assert(fabs(sum - flow) < 1e-5 * (1 + fabs(flow)), "%s row %d: %g, graph %g",
                models[m], row, sum, flow);
            psc_tensors_close(&file);
            psc_session_close(&session);
            psc_model_close(&model);
        }
}

Test(frozen, bits) {
    static const fixture_run ways[] = {{.isa = "reference", .threads = 1},
        {.isa = "reference", .threads = 2, .chunk = 2}, {.threads = 3, .chunk = 1}};
    static const char *const arrays[] = {"frozen.image", "frozen.constant", NULL};
    const fixture_run plain = {.threads = 1};
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    psc_session *first = mapped(model, "map=upto,layer=1,row=1,token=7", &plain);
    for (int w = 0; w < 3; w++) {
        psc_session *other = mapped(model, "map=upto,layer=1,row=1,token=7", &ways[w]);
        assert_same_arrays(first, other, arrays, "ways");
        psc_session_close(&other);
    }
    psc_session_close(&first);
    psc_model_close(&model);
}

Test(frozen, refusals) {
    static const char *const bad[] = {
        "map=all", "layer=99", "row=x", "token=999999", "token=1,vector=v.safetensors"};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    assert_options_refused(model, "frozen", bad, sizeof bad / sizeof *bad);
    assert_run_refused(
        model, "frozen", "vector=/nowhere/v.safetensors", NULL, "/nowhere/v.safetensors");
    assert_run_refused(model, "frozen", "layer=1", edit_nothing, "edited");
    psc_model_close(&model);
}
