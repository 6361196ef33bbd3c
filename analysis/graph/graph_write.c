/* The graph as files of the output folder: graph.graphml, graph.dot, and graph.txt with one arrow
 * per line; graph_json.c writes the fourth. */
#include "graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 48 };

/* A node's name. */
static void put_name(psc_growing *t, graph_quoting how, const graph_state *s, int32_t node) {
    char name[NAME_BYTES];
    graph_name(s, &s->nodes[node], name, sizeof name);
    graph_put(t, how, name, strlen(name));
}

static void put_target(psc_growing *t, graph_quoting how, const graph_state *s) {
    char name[PSC_TARGET_NAME];
    psc_target_name(&s->targets, 0, 0, name);
    graph_put(t, how, name, strlen(name));
}

static void write_graphml(const graph_state *s, psc_growing *t) {
    psc_growing_put(t,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n"
        "<key id=\"flow\" for=\"node\" attr.name=\"flow\" attr.type=\"double\"/>\n"
        "<key id=\"row\" for=\"node\" attr.name=\"row\" attr.type=\"int\"/>\n"
        "<key id=\"layer\" for=\"node\" attr.name=\"layer\" attr.type=\"int\"/>\n"
        "<key id=\"token\" for=\"node\" attr.name=\"token\" attr.type=\"string\"/>\n"
        "<key id=\"weight\" for=\"edge\" attr.name=\"weight\" attr.type=\"double\"/>\n"
        "<graph edgedefault=\"directed\">\n");
    for (int32_t i = 0; i < s->n_nodes; i++) {
        const graph_node *node = &s->nodes[i];
        psc_growing_put(t, "<node id=\"");
        put_name(t, QUOTE_XML, s, i);
        psc_growing_put(t, "\"><data key=\"flow\">%.9g</data><data key=\"row\">%d</data>",
            node->flow, (int)node->row);
        psc_growing_put(t, "<data key=\"layer\">%d</data><data key=\"token\">", (int)node->layer);
        graph_put_token(t, QUOTE_XML, s, s->rows[node->row].token);
        psc_growing_put(t, "</data></node>\n");
    }
    for (int64_t i = 0; i < s->n_links; i++) {
        psc_growing_put(t, "<edge source=\"");
        put_name(t, QUOTE_XML, s, s->links[i].source);
        psc_growing_put(t, "\" target=\"");
        put_name(t, QUOTE_XML, s, s->links[i].target);
        psc_growing_put(t, "\"><data key=\"weight\">%.9g</data></edge>\n", s->links[i].weight);
    }
    psc_growing_put(t, "</graph>\n</graphml>\n");
}

/* The graph grows upward from the tokens; an arrow's width is its weight. */
static void write_dot(const graph_state *s, psc_growing *t) {
    double widest = 1e-30;
    psc_growing_put(
        t, "digraph graph_of_a_logit {\nrankdir=BT;\nnode [shape=box, fontname=\"Helvetica\"];\n");
    for (int32_t i = 0; i < s->n_nodes; i++) {
        const graph_node *node = &s->nodes[i];
        psc_growing_put(t, "\"");
        put_name(t, QUOTE_DOT, s, i);
        psc_growing_put(t, "\" [label=\"");
        put_name(t, QUOTE_DOT, s, i);
        psc_growing_put(t, "\\n");
        if (node->kind == NODE_LOGIT)
            put_target(t, QUOTE_DOT, s);
        else
            graph_put_token(t, QUOTE_DOT, s, s->rows[node->row].token);
        psc_growing_put(t, "\\n%+.3f\"%s];\n", node->flow, node->flow < 0 ? ", color=red" : "");
    }
    for (int64_t i = 0; i < s->n_links; i++) widest = fmax(widest, fabs(s->links[i].weight));
    for (int64_t i = 0; i < s->n_links; i++) {
        const graph_link *link = &s->links[i];
        if (fabs(link->weight) < s->threshold) continue;
        psc_growing_put(t, "\"");
        put_name(t, QUOTE_DOT, s, link->source);
        psc_growing_put(t, "\" -> \"");
        put_name(t, QUOTE_DOT, s, link->target);
        psc_growing_put(t, "\" [penwidth=%.2f, label=\"%+.3f\"%s];\n",
            0.3 + 5.0 * fabs(link->weight) / widest, link->weight,
            link->weight < 0 ? ", color=red" : "");
    }
    psc_growing_put(t, "}\n");
}

/* x4 --A^{3,7}--> x10: what head 7 of layer 3 reads at row 4; x10 --L0N5--> x10; x10 --W_U--> t. */
static void write_arrows(const graph_state *s, psc_growing *t) {
    for (int64_t i = 0; i < s->n_links; i++) {
        const graph_node *from = &s->nodes[s->links[i].source], *to = &s->nodes[s->links[i].target];
        put_name(t, QUOTE_NONE, s, s->links[i].source);
        psc_growing_put(t, ": x^%d_%d --",
            to->kind == NODE_LOGIT ? (int)s->model->n_layers : (int)to->layer, (int)from->row);
        if (to->kind == NODE_HEAD)
            psc_growing_put(t, "A^{%d,%d}--> x^%d_%d", (int)to->layer, (int)to->index,
                (int)to->layer + 1, (int)to->row);
        else if (to->kind == NODE_LOGIT) {
            psc_growing_put(t, "W_U--> ");
            put_target(t, QUOTE_NONE, s);
        } else {
            put_name(t, QUOTE_NONE, s, s->links[i].target);
            psc_growing_put(t, "--> x^%d_%d", (int)to->layer + 1, (int)to->row);
        }
        psc_growing_put(t, "  %+.6f\n", s->links[i].weight);
    }
}

int graph_write(graph_state *s) {
    static const struct {
        const char *name;
        void (*write)(const graph_state *, psc_growing *);
    } files[] = {{"json", graph_json}, {"graphml", write_graphml}, {"dot", write_dot},
        {"txt", write_arrows}};
    int failed = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files && !failed; i++) {
        psc_growing t = {0};
        files[i].write(s, &t);
        failed = t.failed
                     ? s->host->fail(s->context, "not enough memory for graph.%s", files[i].name)
                     : s->host->document(s->context, files[i].name, t.data ? t.data : "", t.used);
        free(t.data);
    }
    return failed;
}
