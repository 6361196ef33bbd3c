/* Runs of the plugins graph and frozen on one text, and refusals of both.
 * Private to test_graph*.c and test_frozen.c.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: sessions and models are closed by the caller. */
#ifndef GRAPH_FIXTURE_H
#define GRAPH_FIXTURE_H

#include "ln_mlp_fixture.h"

/* Equal to tests/tools/make_graph_golden.py. */
static const int32_t text[] = {3, 41, 7, 3, 60};
enum { LENGTH = sizeof text / sizeof *text };
static psc_error error;

static inline psc_status try_run(psc_session *session) {
    psc_token tokens[LENGTH] = {{0}};
    for (int i = 0; i < LENGTH; i++) tokens[i].id = text[i];
    psc_input input = {0, LENGTH, tokens};
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, NULL, &error);
}

/* Options "key=value" that must not open; the sentence names the key. */
static inline void assert_options_refused(
    psc_model *model, const char *plugin, const char *const *bad, size_t n) {
    psc_session *session = must_session(model, NULL, 1, 0);
    for (size_t i = 0; i < n; i++) {
        char key[16];
        cr_assert_neq(psc_session_plugin(session, plugin, bad[i], &error), PSC_OK, "%s", bad[i]);
        snprintf(key, sizeof key, "%.*s", (int)strcspn(bad[i], "="), bad[i]);
        cr_assert(strstr(error.message, key), "%s: %s", bad[i], error.message);
    }
    psc_session_close(&session);
}

/* --- the plugin graph against golden nodes and links ------------------------------------------ */

/* A session in which graph ran with the target #5. */
static inline psc_session *graphed(psc_model *model, const char *options, const fixture_run *how) {
    psc_session *session = must_session(model, how->isa, how->threads, how->chunk);
    cr_assert_eq(psc_session_plugin(session, "graph", options, &error), PSC_OK, "%s: %s", options,
        error.message);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK, "%s", error.message);
    cr_assert_eq(try_run(session), PSC_OK, "%s", error.message);
    return session;
}

static inline double at(const psc_session *session, const char *name, int64_t i) {
    const psc_array array = must_array(session, name);
    return array_at(&array, i);
}

/* Golden nodes [kept]: kind, layer, index, row; their flows; their links [kept, kept]. */
typedef struct golden_graph {
    const psc_tensor *flow, *which, *links;
    int kept;
} golden_graph;

/* Equal flows may swap positions in f32, so nodes are looked up. */
static inline int golden_node(const psc_session *session, int node, const golden_graph *golden) {
    static const char *const fields[] = {
        "graph.node_kind", "graph.node_layer", "graph.node_index", "graph.node_row"};
    for (int i = 0; i < golden->kept; i++) {
        int same = 1;
        for (int f = 0; f < 4; f++)
            same &= at(session, fields[f], node) == tensor_at(golden->which, 4 * i + f);
        if (same) return i;
    }
    return -1;
}

/* The largest difference of a flow or a link. The last nodes may go to an equal flow. */
static inline double worst_of_graph(const psc_session *session, const golden_graph *golden) {
    enum { MOST = 64 };
    const int kept = golden->kept;
    int place[MOST];
    double got[MOST][MOST] = {{0}}, worst = 0.0;
    const int n = (int)must_array(session, "graph.node_flow").shape[0]; /* none has flow 0 */
    cr_assert(kept <= MOST && n > 25 && n <= kept);
    for (int i = 0; i < n; i++) {
        place[i] = golden_node(session, i, golden);
        if (place[i] < 0 && i > kept - 3) continue;
        cr_assert_geq(place[i], 0, "node %d", i);
        worst = fmax(
            worst, fabs(at(session, "graph.node_flow", i) - tensor_at(golden->flow, place[i])));
    }
    const psc_array weight = must_array(session, "graph.link_weight");
    for (int64_t i = 0; i < weight.shape[0]; i++) {
        const int s = place[(int)at(session, "graph.link_source", i)];
        const int t = place[(int)at(session, "graph.link_target", i)];
        if (s >= 0 && t >= 0) got[s][t] = array_at(&weight, i);
    }
    for (int i = 0; i < kept; i++)
        for (int j = 0; j < kept; j++) {
            if (got[i][j] == 0.0 && i > kept - 3) continue;
            worst = fmax(worst, fabs(got[i][j] - tensor_at(golden->links, i * kept + j)));
        }
    return worst;
}

/* With every node kept: a node's inflow and outflow both equal its flow. */
static inline void assert_conserves(const psc_session *session, const char *name) {
    const psc_array flows = must_array(session, "graph.node_flow");
    for (int64_t i = 0; i < flows.shape[0]; i++) {
        const double flow = array_at(&flows, i), bound = 1e-5 * (1 + 20 * fabs(flow));
        const double in = at(session, "graph.node_bias", i) + at(session, "graph.node_in", i);
        const double out = at(session, "graph.node_out", i);
        cr_assert(fabs(in - flow) < bound, "%s: in %g, flow %g", name, in, flow);
        cr_assert(i == 0 || fabs(out - flow) < bound, "%s: out %g, flow %g", name, out, flow);
        cr_assert(at(session, "graph.node_error", i) < 1e-5);
    }
}

/* --- refusals --------------------------------------------------------------------------------- */

static inline int edit_nothing(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

/* A run that must fail with a sentence that contains `says`. */
static inline void assert_run_refused(psc_model *model, const char *plugin, const char *options,
    psc_event_fn editor, const char *says) {
    psc_session *session = must_session(model, NULL, 1, 0);
    cr_assert_eq(psc_session_plugin(session, plugin, options, &error), PSC_OK, "%s", error.message);
    if (editor)
        cr_assert_eq(psc_session_edit(session, PSC_HOOK_Z, NULL, editor, NULL, &error), PSC_OK);
    cr_assert_neq(try_run(session), PSC_OK);
    cr_assert(strstr(error.message, says), "%s", error.message);
    psc_session_close(&session);
}

#endif
