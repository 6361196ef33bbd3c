/* The plugin `graph`: from a target at a row back through heads, MLPs or neurons, and embeddings.
 *
 * With sigma, patterns and gates held the network is linear. A node's flow is what it gives to the
 * target's logit over all paths; a link is the part of a reader's flow that comes from a writer.
 * graph_backward.c pulls the target back, graph_links.c finds the links among the largest nodes,
 * graph_trace.c says why their heads look there.
 * This file holds the options, the retained tensors, and the plugin's life. */
#include "graph.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const char *const levels[] = {"head", "neuron", NULL};
static const psc_option_description graph_options[] = {
    {"level", "head", "nodes: heads and MLPs, or heads and neurons", PSC_OPTION_WORD,
        offsetof(graph_state, neurons), 0, 0, levels},
    {"row", "last", "the target's row", PSC_OPTION_ROWS, offsetof(graph_state, choice), 0, 0, NULL},
    {"threshold", "0.02", "nodes with a smaller |flow| are pruned, in nats", PSC_OPTION_NUMBER,
        offsetof(graph_state, threshold), 0, HUGE_VAL, NULL},
    {"nodes", "120", "the most nodes that are kept", PSC_OPTION_COUNT, offsetof(graph_state, most),
        2, 2000, NULL},
    {"sae", "", "folders of transcoders, joined by +: their latents are nodes in place of the MLPs",
        PSC_OPTION_TEXT, offsetof(graph_state, sae), 0, 0, NULL},
    {0},
};

static int graph_open(psc_context *context, const psc_host *host, void **state) {
    graph_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    s->model = host->model(context);
    s->n = s->model->d_model;
    s->width = (int64_t)s->model->n_heads * s->model->d_head;
    s->m = s->model->d_mlp;
    return graph_latents_open(s);
}

/* --- retained tensors ------------------------------------------------------------------------- */

static int fetch_all(graph_state *s) {
    const int32_t n_layers = s->model->n_layers;
    s->kept = s->host->run_alloc(s->context, KEPT_COUNT * (uint64_t)n_layers * sizeof *s->kept);
    if (!s->kept) return -1;
    for (int i = 0; i < KEPT_COUNT; i++) {
        if (i == KEPT_MID && s->model->parallel_residual) continue;
        for (int32_t l = 0; l < (i == KEPT_EMBED ? 1 : n_layers); l++) {
            psc_event event;
            if (i == KEPT_NORMAL2 && !s->transcoders[l]) continue;
            if (s->host->fetch(s->context, s->handles[i], i == KEPT_EMBED ? -1 : l, &event))
                return -1;
            s->kept[i * n_layers + l] = event.tensor;
        }
    }
    return 0;
}

static int retain_all(graph_state *s) {
    static const psc_point points[KEPT_COUNT] = {PSC_HOOK_EMBED, PSC_HOOK_RESID_PRE,
        PSC_HOOK_RESID_MID, PSC_HOOK_Z, PSC_HOOK_PATTERN, PSC_HOOK_MLP_PRE, PSC_HOOK_MLP_OUT,
        PSC_HOOK_LN1_SCALE, PSC_HOOK_LN2_SCALE, PSC_HOOK_LN2_NORMALIZED};
    psc_filter filter = PSC_FILTER_INIT;
    filter.rows = PSC_ROWS_RANGE;
    filter.row_end = s->n_rows;
    int32_t *replaced =
        s->host->run_alloc(s->context, (uint64_t)s->model->n_layers * sizeof *replaced);
    if (!replaced) return -1;
    const int n_replaced = graph_latents_layers(s, replaced);
    for (int i = 0; i < KEPT_COUNT; i++) {
        if (i == KEPT_MID && s->model->parallel_residual) continue;
        if (i == KEPT_NORMAL2 && n_replaced == 0) continue;
        filter.layers = i == KEPT_NORMAL2 ? replaced : NULL;
        filter.n_layers = i == KEPT_NORMAL2 ? n_replaced : 0;
        s->handles[i] = s->host->retain(s->context, points[i], &filter);
        if (s->handles[i] < 0) return -1;
    }
    return 0;
}

static int on_scale(const psc_event *event, void *payload) {
    graph_state *s = payload;
    for (int32_t r = 0; r < event->n_rows; r++)
        if (event->rows[r].index == s->n_rows - 1)
            s->sigma = event->tensor.data[r * event->tensor.stride[0]];
    return 0;
}

static int on_logits(const psc_event *event, void *payload) {
    graph_state *s = payload;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const float *z = event->tensor.data + r * event->tensor.stride[0];
        int32_t ids[2];
        if (event->rows[r].index != s->n_rows - 1) continue;
        if (s->host->target_ids(s->context, 0, &event->rows[r], z, ids)) return -1;
        if (ids[0] < 0) continue;
        s->logit[0] = z[ids[0]];
        s->logit[1] = ids[1] >= 0 ? z[ids[1]] : 0.0f;
        s->log_z = s->host->log_sum_exp(s->context, s->model->d_vocab, z);
    }
    return 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

/* Resolves the row. `last` is the first target's own last row, whatever the other targets are. */
static int resolve_row(graph_state *s, int32_t n_all) {
    int32_t n_targets = 0;
    const psc_target *targets = s->host->targets(s->context, &n_targets);
    const int next = n_targets > 0 && targets[0].kind == PSC_TARGET_NEXT && n_all > 1;
    psc_filter choice = s->choice;
    if (choice.rows == PSC_ROWS_LAST && next) {
        choice.rows = PSC_ROWS_RANGE;
        choice.row_begin = n_all - 2;
        choice.row_end = n_all - 1;
    }
    if (psc_rows_resolve(s->context, s->host, "row", &choice, 0, &s->row)) return -1;
    s->row.moved = next && s->choice.rows == PSC_ROWS_LAST;
    if (s->row.n == 1 && choice.rows != PSC_ROWS_ALL) return 0;
    return s->host->fail(s->context, "row= must name one row: last or a position");
}

static int graph_run_begin(psc_context *context, void *state) {
    graph_state *s = state;
    const psc_host *host = s->host;
    int32_t n_all = 0;
    s->rows = psc_whole_sequence(context, host, "a graph needs", &n_all);
    if (!s->rows || resolve_row(s, n_all)) return -1;
    if (host->example(context, s->rows[0].sequence) >= 0)
        return host->fail(context,
            "each prompt of a set has a graph of its own, with other nodes; run graph on one prompt, or "
            "circuit on the set");
    s->n_rows = s->row.index[0] + 1;
    s->n_candidates = 0;
    s->candidate_flow = 0.0;
    s->n_links = 0;
    s->n_nodes = 1;
    s->nodes = host->run_alloc(context, (uint64_t)s->most * sizeof *s->nodes);
    s->ranked = (psc_top_list){
        host->run_alloc(context, (uint64_t)s->most * sizeof *s->ranked.at), s->most - 1, 0};
    if (!s->nodes || !s->ranked.at || psc_targets_begin(context, host, &s->row, &s->targets) ||
        retain_all(s))
        return -1;
    return host->observe(context, PSC_HOOK_LN_FINAL_SCALE, &s->row.filter, on_scale, s) ||
           host->observe(context, PSC_HOOK_LOGITS, &s->row.filter, on_logits, s);
}

static int graph_run_end(psc_context *context, void *state, int status) {
    graph_state *s = state;
    psc_directions directions;
    if (status) return 0;
    if (psc_edits_refused(context, s->host, "the network of an edited run has no graph")) return -1;
    if (s->targets.ids[0] < 0)
        return s->host->fail(context,
            "the target %s has no token at this row; pass another row= or target",
            s->targets.targets[0].label);
    if (fetch_all(s) || graph_latents_encode(s) ||
        psc_directions_build(&s->targets, 0, 0, &directions))
        return -1;
    s->u = directions.u + directions.which[0] * s->n;
    s->constant = directions.constant[directions.which[0]];
    s->nodes[0] = (graph_node){.kind = NODE_LOGIT,
        .layer = -1,
        .row = s->n_rows - 1,
        .flow = (double)s->logit[0] - (double)s->logit[1]};
    if (graph_backward(s) || graph_make_links(s) || graph_make_traces(s)) return -1;
    return graph_arrays(s) || graph_write(s);
}

static int graph_report(psc_context *context, void *state) {
    (void)context;
    return graph_summary(state);
}

const psc_plugin *psc_builtin_graph(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "graph",
        .summary = "the frozen-linear network from a target back to the tokens: nodes, links, and "
                   "graph files for viewers",
        .options = graph_options,
        .corpus = PSC_CORPUS_NO,
        .open = graph_open,
        .run_begin = graph_run_begin,
        .run_end = graph_run_end,
        .report = graph_report,
        .points = "hook_embed hook_resid_pre hook_resid_mid attn.hook_z attn.hook_pattern "
                  "mlp.hook_pre hook_mlp_out ln1.hook_scale ln2.hook_scale ln2.hook_normalized "
                  "ln_final.hook_scale hook_logits",
    };
    return &plugin;
}
