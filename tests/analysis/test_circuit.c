/* The plugin circuit against float64 (tests/tools/make_circuit_golden.py): scores, circuits, curves
 * and paths; its bits. */
#include "circuit_fixture.h"

static psc_tensors *golden_of(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, PSC_SOURCE_DIR "/tests/golden/circuit/%s.safetensors", name);
    return golden_open(path);
}

/* --- against float64 -------------------------------------------------------------------------- */

/* A run with do=zero or do=mean, without a source prompt. */
static psc_session *tested_alone(psc_model *model, const char *options, const fixture_run *how) {
    psc_session *session = open_circuit(model, options, how);
    cr_assert_eq(run_phase(session, base_ids, N, PSC_PHASE_CHANGED), PSC_OK, "%s", error.message);
    return session;
}

static void check_scores(
    psc_model *model, const psc_tensors *golden, const char *options, const char *name) {
    const fixture_run how = {.threads = 2};
    const psc_model_info *info = psc_model_get_info(model);
    const psc_edge_shape shape = {info->n_layers, info->n_heads, info->parallel_residual};
    const int64_t n = psc_edge_count(&shape), senders = psc_edge_senders(&shape, info->n_layers);
    psc_session *session =
        strstr(options, "do=") ? tested_alone(model, options, &how) : tested(model, options, &how);
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

/* Scores and circuits whose other edges carry a constant. */
static void check_constants(psc_model *model, const psc_tensors *golden) {
    static const char *const whats[] = {"zero", "mean"};
    static const int sizes[] = {1, 2, 5, 10, 20, 50};
    const fixture_run how = {.threads = 2};
    for (int w = 0; w < 2; w++) {
        char options[100], name[40];
        snprintf(options, sizeof options, "do=%s,scores=exact,minimal=0", whats[w]);
        snprintf(name, sizeof name, "scores_%s", whats[w]);
        check_scores(model, golden, options, name);
        snprintf(options, sizeof options, "do=%s,minimal=0", whats[w]);
        snprintf(name, sizeof name, "eap_%s", whats[w]);
        check_scores(model, golden, options, name);
        snprintf(options, sizeof options, "do=%s,scores=eap_ig,steps=3,minimal=0", whats[w]);
        snprintf(name, sizeof name, "eap_ig_%s", whats[w]);
        check_scores(model, golden, options, name);
        snprintf(options, sizeof options, "do=%s,scores=exact,edges=100000,minimal=0", whats[w]);
        snprintf(name, sizeof name, "curve_%s", whats[w]);
        psc_session *session = tested_alone(model, options, &how);
        const psc_array values = must_array(session, "circuit.curve_value");
        double *want = golden_f64(golden_find(golden, name), 6);
        for (int i = 0; i < 6; i++)
            cr_assert_float_eq(array_at(&values, i), want[i], 2e-5, "%s %d", name, sizes[i]);
        cr_assert_eq(number(session, "faithfulness"), 1.0);
        cr_assert_eq(number(session, "completeness"), 0.0);
        free(want);
        psc_session_close(&session);
    }
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
    check_constants(model, golden);
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

/* Edges on no path to the logits change nothing; minimality is the least of edge_lost. */
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

/* The mean over the rows of source prompts: over this one's rows twice it is this one's own mean. */
Test(circuit, mean_of_source_prompts) {
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_path("sequential_f32", NULL));
    psc_session *own = tested_alone(model, "do=mean,minimal=0", &how);
    psc_session *session = open_circuit(model, "do=mean,minimal=0", &how);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(run_phase(session, i ? other_ids : base_ids, N, PSC_PHASE_SOURCE), PSC_OK,
            "%s", error.message);
    cr_assert_eq(run_phase(session, base_ids, N, PSC_PHASE_CHANGED), PSC_OK, "%s", error.message);
    cr_assert_neq(
        number(session, "source"), number(own, "source")); /* the last prompt 0 is other */
    cr_assert_eq(run_phase(session, base_ids, N, PSC_PHASE_SOURCE), PSC_OK, "%s", error.message);
    cr_assert_eq(run_phase(session, base_ids, N, PSC_PHASE_CHANGED), PSC_OK, "%s", error.message);
    const psc_array a = must_array(session, "circuit.score"), b = must_array(own, "circuit.score");
    cr_assert_arr_eq(a.data, b.data, (size_t)array_count(&a) * sizeof(double));
    cr_assert_eq(number(session, "source"), number(own, "source"));
    psc_session_close(&own);
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

/* Where the last rows are not aligned, a circuit is measured against the run with all edges patched. */
Test(circuit, faithfulness_of_rows_that_are_not_aligned) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = tested_pair(model, "edges=100000,minimal=0", 10);
    psc_session *aligned = tested_pair(model, "edges=100000,minimal=0", 8);
    cr_assert_eq(number(session, "faithfulness"), 1.0);
    cr_assert_eq(number(session, "completeness"), 0.0);
    cr_assert_eq(number(session, "source"), number(session, "complement"));
    cr_assert_eq(number(session, "source"), number(aligned, "source"));
    psc_session_close(&session);
    psc_session_close(&aligned);
    psc_model_close(&model);
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

/* --- bits ------------------------------------------------------------------------------------- */

static void same_bits(const char *options, const char *value) {
    static const char *const names[] = {
        "circuit.score", "circuit.curve_value", "circuit.edge_lost", "circuit.curve_completeness"};
    const fixture_run ways[] = {
        {.threads = 1, .chunk = 3}, {.threads = 3}, {.isa = "reference", .threads = 2}};
    const fixture_run how = {.threads = 2};
    static const char *const models[] = {"old_f16", "sequential_f32"};
    for (int m = 0; m < 2; m++) {
        psc_model *model = must_model(golden_path(models[m], NULL));
        psc_session *one = tested(model, options, &how);
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            psc_session *other = tested(model, options, &ways[w]);
            for (size_t i = 0; !value && i < sizeof names / sizeof *names; i++) {
                const psc_array a = must_array(one, names[i]), b = must_array(other, names[i]);
                cr_assert_eq(array_count(&a), array_count(&b));
                cr_assert_arr_eq(a.data, b.data, (size_t)array_count(&a) * sizeof(double), "%s: %s",
                    options, names[i]);
            }
            if (value) cr_assert_eq(number(one, value), number(other, value), "%s", options);
            psc_session_close(&other);
        }
        psc_session_close(&one);
        psc_model_close(&model);
    }
}

Test(circuit, same_bits) {
    same_bits("edges=20,minimal=20,metric=log_prob", NULL);
    same_bits("edges=20,minimal=20,scores=eap_ig_activations,steps=2", NULL);
    same_bits("edges=20,minimal=20,scores=eap_ig,metric=kl", NULL);
    same_bits("edges=20,minimal=0,do=mean,scores=eap_ig", NULL);
    same_bits("path=L1H1.k<-embed,through=mlps", "path_effect");
    same_bits("path=logits<-L0H1,through=mlps,metric=log_prob", "path_effect");
}
