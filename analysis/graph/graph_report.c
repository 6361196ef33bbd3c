/* Arrays and summary of the plugin `graph`.
 *
 *   nodes   kind, layer, index, row, flow, bias, in (from kept nodes),
 *           in_pruned = flow - bias - in, out (to kept nodes), error [nodes]
 *   links   source, target, weight [links] */
#include "graph.h"

#include <math.h>
#include <stdio.h>

static const char *const kind_names[] = {"logit", "embed", "head", "attn_bias", "mlp", "neuron",
    "mlp_bias", "latent", "mlp_error", "mlp_skip"};

void graph_name(const graph_state *s, const graph_node *node, char *out, uint64_t size) {
    static const psc_component_kind kinds[] = {PSC_COMPONENT_EMBED, PSC_COMPONENT_EMBED,
        PSC_COMPONENT_HEAD, PSC_COMPONENT_ATTN_BIAS, PSC_COMPONENT_MLP_OUT, PSC_COMPONENT_NEURON,
        PSC_COMPONENT_MLP_BIAS};
    const char *label = "logit";
    if (node->kind == NODE_LATENT) {
        snprintf(out, size, "L%dF%d@%d", (int)node->layer, (int)node->index, (int)node->row);
        return;
    }
    if (node->kind == NODE_MLP_ERROR || node->kind == NODE_MLP_SKIP) {
        snprintf(out, size, "%d_%s@%d", (int)node->layer, kind_names[node->kind], (int)node->row);
        return;
    }
    if (node->kind != NODE_LOGIT)
        label = s->host->label(s->context, kinds[node->kind], node->layer, node->index);
    snprintf(out, size, "%s@%d", label ? label : "?", (int)node->row);
}

static int make_axes(graph_state *s) {
    const psc_host *host = s->host;
    const int64_t links = s->n_links > 0 ? s->n_links : 1;
    const char **labels = host->run_alloc(s->context, (uint64_t)s->n_nodes * sizeof *labels);
    char(*names)[48] = host->run_alloc(s->context, (uint64_t)s->n_nodes * sizeof *names);
    if (!labels || !names) return -1;
    for (int32_t i = 0; i < s->n_nodes; i++) {
        graph_name(s, &s->nodes[i], names[i], sizeof names[i]);
        labels[i] = names[i];
    }
    return host->axis_labels(s->context, "nodes", s->n_nodes, labels) ||
           psc_count_axis(s->context, host, "links", 0, links);
}

static int node_arrays(graph_state *s) {
    static const char *const axes[] = {"nodes"};
    static const char *const whole[] = {"node_kind", "node_layer", "node_index", "node_row"};
    static const char *const real[] = {
        "node_flow", "node_bias", "node_in", "node_in_pruned", "node_out", "node_error"};
    int32_t *w[4];
    double *r[6];
    for (int i = 0; i < 4; i++) {
        w[i] = s->host->array(s->context, whole[i], PSC_I32, 1, axes);
        if (!w[i]) return -1;
    }
    for (int i = 0; i < 6; i++) {
        r[i] = s->host->array(s->context, real[i], PSC_F64, 1, axes);
        if (!r[i]) return -1;
    }
    for (int32_t i = 0; i < s->n_nodes; i++) {
        const graph_node *node = &s->nodes[i];
        const int source = node->kind == NODE_EMBED || node->kind == NODE_ATTN_BIAS ||
                           node->kind == NODE_MLP_BIAS || node->kind == NODE_MLP_ERROR;
        w[0][i] = (int32_t)node->kind;
        w[1][i] = node->layer;
        w[2][i] = node->index;
        w[3][i] = node->row;
        r[0][i] = node->flow;
        r[1][i] = source ? node->flow : node->bias;
        r[2][i] = node->in;
        r[3][i] = source ? 0.0 : node->flow - node->bias - node->in;
        r[4][i] = node->out;
        r[5][i] = node->error;
    }
    return 0;
}

static int link_arrays(graph_state *s) {
    static const char *const axes[] = {"links"};
    int32_t *source = s->host->array(s->context, "link_source", PSC_I32, 1, axes);
    int32_t *target = s->host->array(s->context, "link_target", PSC_I32, 1, axes);
    double *weight = s->host->array(s->context, "link_weight", PSC_F64, 1, axes);
    if (!source || !target || !weight) return -1;
    for (int64_t i = 0; i < s->n_links; i++) {
        source[i] = s->links[i].source;
        target[i] = s->links[i].target;
        weight[i] = s->links[i].weight;
    }
    return 0;
}

static double worst_error(const graph_state *s) {
    double worst = s->completeness;
    for (int32_t i = 0; i < s->n_nodes; i++)
        if (!(s->nodes[i].error <= worst)) worst = s->nodes[i].error;
    return worst;
}

int graph_arrays(graph_state *s) {
    const psc_host *host = s->host;
    char name[PSC_TARGET_NAME];
    double kept = 0.0;
    for (int32_t i = 1; i < s->n_nodes; i++) kept += fabs(s->nodes[i].flow);
    for (int i = 0; i < NODE_KINDS; i++)
        if (host->append_text(s->context, "kinds", kind_names[i])) return -1;
    return make_axes(s) || node_arrays(s) || link_arrays(s) ||
           host->value_text(s->context, "target", psc_target_name(&s->targets, 0, 0, name)) ||
           host->value_number(s->context, "logit", s->nodes[0].flow) ||
           host->value_number(s->context, "completeness_error", s->completeness) ||
           host->value_number(s->context, "worst_error", worst_error(s)) ||
           host->value_number(s->context, "candidates", (double)s->n_candidates) ||
           host->value_number(s->context, "absolute_flow_of_all", s->candidate_flow) ||
           host->value_number(s->context, "absolute_flow_kept", kept);
}

/* --- the summary ----------------------------------------------------------------------------- */

enum { MOST_SHOWN = 12 };

static int show_nodes(const graph_state *s) {
    const int32_t n = s->n_nodes - 1 < MOST_SHOWN ? s->n_nodes - 1 : MOST_SHOWN;
    char names[MOST_SHOWN][96];
    const char *labels[MOST_SHOWN];
    double values[MOST_SHOWN];
    for (int32_t i = 0; i < n; i++) {
        const graph_node *node = &s->nodes[i + 1];
        char name[48];
        graph_name(s, node, name, sizeof name);
        snprintf(names[i], sizeof names[i], "%s %s", name,
            s->host->token_text(s->context, s->rows[node->row].token));
        labels[i] = names[i];
        values[i] = node->flow;
    }
    return s->host->summary_bars(
        s->context, "each node's flow to the logit over all paths", "nats", n, labels, values);
}

static int show_links(const graph_state *s) {
    psc_ranked entries[MOST_SHOWN];
    psc_top_list top = {entries, MOST_SHOWN, 0};
    for (int64_t i = 0; i < s->n_links; i++) psc_top_offer(&top, fabs(s->links[i].weight), i);
    char names[MOST_SHOWN][112];
    const char *labels[MOST_SHOWN];
    double values[MOST_SHOWN];
    for (int32_t i = 0; i < top.n; i++) {
        const graph_link *link = &s->links[top.at[i].index];
        char from[48], to[48];
        graph_name(s, &s->nodes[link->source], from, sizeof from);
        graph_name(s, &s->nodes[link->target], to, sizeof to);
        snprintf(names[i], sizeof names[i], "%s -> %s", from, to);
        labels[i] = names[i];
        values[i] = link->weight;
    }
    return s->host->summary_bars(s->context, "largest links", "nats", top.n, labels, values);
}

int graph_summary(graph_state *s) {
    char sentence[480], place[PSC_ROW_NAME], name[PSC_TARGET_NAME];
    double kept = 0.0;
    for (int32_t i = 1; i < s->n_nodes; i++) kept += fabs(s->nodes[i].flow);
    snprintf(sentence, sizeof sentence,
        "The frozen-linear network of %.160s at %s has the logit %.4f. The graph keeps %s of %s "
        "nodes, with %s links and %.1f %% of the absolute flow.",
        psc_target_name(&s->targets, 0, 0, name),
        psc_row_name(s->context, s->host, &s->rows[s->n_rows - 1], place), s->nodes[0].flow,
        PSC_COMMAS(s->n_nodes - 1), PSC_COMMAS(s->n_candidates), PSC_COMMAS(s->n_links),
        s->candidate_flow > 0.0 ? 100.0 * kept / s->candidate_flow : 0.0);
    if (psc_target_say_row(&s->targets, 0) || s->host->summary_text(s->context, sentence) ||
        show_nodes(s) || show_links(s))
        return -1;
    snprintf(sentence, sizeof sentence,
        "Complete within %.1e; each node's inflow is its flow within %.1e times (1 + sum |flow|). "
        "Pruned nodes contribute %.4f of the logit's own inflow.",
        s->completeness, worst_error(s), s->nodes[0].flow - s->nodes[0].bias - s->nodes[0].in);
    return s->host->summary_text(s->context, sentence);
}
