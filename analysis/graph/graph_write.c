/* The graph as files of the output folder: graph.json in the format that circuit-tracer's viewers
 * read (github.com/safety-research/circuit-tracer, circuit_tracer/frontend/graph_models.py),
 * graph.graphml, graph.dot, and graph.txt with one arrow per line. */
#include "graph.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- a text that grows ----------------------------------------------------------------------- */

typedef struct text {
    char *data;
    size_t used, size;
    int failed;
} text;

static void put(text *t, const char *format, ...) PSC_PRINTF(2, 3);
static void put(text *t, const char *format, ...) {
    for (int again = 0; !t->failed && again < 2; again++) {
        va_list arguments;
        va_start(arguments, format);
        const int n =
            vsnprintf(t->data ? t->data + t->used : NULL, t->size - t->used, format, arguments);
        va_end(arguments);
        if (n >= 0 && t->used + (size_t)n < t->size) {
            t->used += (size_t)n;
            return;
        }
        const size_t size = 2 * t->size + (size_t)(n > 0 ? n : 0) + 4096;
        char *data = n < 0 ? NULL : realloc(t->data, size);
        t->failed = !data;
        if (data) {
            t->data = data;
            t->size = size;
        }
    }
}

/* A string with what the format gives a meaning to escaped; the text holds no control characters
 * (token_text has escaped them). */
typedef enum quoting { JSON, XML, DOT } quoting;

static void put_quoted(text *t, quoting how, const char *string) {
    for (const char *c = string; *c; c++) {
        if (how == XML && *c == '&')
            put(t, "&amp;");
        else if (how == XML && *c == '<')
            put(t, "&lt;");
        else if (how == XML && *c == '>')
            put(t, "&gt;");
        else if (how == XML && *c == '"')
            put(t, "&quot;");
        else if (how != XML && (*c == '"' || *c == '\\'))
            put(t, "\\%c", *c);
        else
            put(t, "%c", *c);
    }
}

/* A token without the quotes that stand around it for people. */
static void put_token(const graph_state *s, text *t, quoting how, int32_t token) {
    char copy[256];
    const char *shown = s->host->token_text(s->context, token);
    const size_t n = strlen(shown);
    const int quoted = n >= 2 && n < sizeof copy && shown[0] == '\'' && shown[n - 1] == '\'';
    snprintf(copy, sizeof copy, "%.*s", (int)(quoted ? n - 2 : n), shown + quoted);
    put_quoted(t, how, copy);
}

/* --- circuit-tracer's JSON ------------------------------------------------------------------- */

/* Their ids: E_token_row, layer_feature_row; a head is feature h, a neuron H + k, biases the last
 * two of a layer, a layer's MLP the one before. */
static void put_id(const graph_state *s, text *t, const graph_node *node) {
    const int32_t heads = s->model->n_heads, last = heads + s->model->d_mlp;
    const int32_t features[] = {0, 0, node->index, last + 1, last, heads + node->index, last + 2};
    const int32_t token = s->rows[node->row].token;
    if (node->kind == NODE_EMBED)
        put(t, "E_%d_%d", (int)token, (int)node->row);
    else if (node->kind == NODE_LOGIT)
        put(t, "%d_%d_%d", (int)s->model->n_layers + 1, (int)s->targets.ids[0], (int)node->row);
    else
        put(t, "%d_%d_%d", (int)node->layer, (int)features[node->kind], (int)node->row);
}

static void put_json_node(const graph_state *s, text *t, const graph_node *node) {
    static const char *const types[] = {
        "logit", "embedding", "attention head", "bias", "mlp", "neuron", "bias"};
    char name[48];
    graph_name(s, node, name, sizeof name);
    put(t, "{\"node_id\": \"");
    put_id(s, t, node);
    put(t, "\", \"jsNodeId\": \"");
    put_id(s, t, node);
    put(t, "\", \"feature\": %d, \"layer\": \"",
        node->kind == NODE_LOGIT   ? (int)s->targets.ids[0]
        : node->kind == NODE_EMBED ? (int)node->row
                                   : (int)node->index);
    if (node->kind == NODE_EMBED)
        put(t, "E");
    else
        put(t, "%d", node->kind == NODE_LOGIT ? (int)s->model->n_layers + 1 : (int)node->layer);
    put(t, "\", \"ctx_idx\": %d, \"feature_type\": \"%s\", \"token_prob\": %.9g, ", (int)node->row,
        types[node->kind],
        node->kind == NODE_LOGIT && s->targets.ids[1] < 0 ? exp((double)s->logit[0] - s->log_z)
                                                          : 0.0);
    put(t,
        "\"is_target_logit\": %s, \"run_idx\": 0, \"reverse_ctx_idx\": 0, \"influence\": %.9g, "
        "\"activation\": %.9g, \"clerp\": \"",
        node->kind == NODE_LOGIT ? "true" : "false", fabs(node->flow), node->flow);
    if (node->kind == NODE_LOGIT) {
        put_quoted(t, JSON, s->targets.targets[0].label);
    } else {
        put(t, "%s ", name);
        put_token(s, t, JSON, s->rows[node->row].token);
    }
    put(t, "\"}");
}

static void write_json(const graph_state *s, text *t) {
    put(t, "{\"metadata\": {\"slug\": \"pythiascope\", \"scan\": \"%s\", \"transcoder_list\": [], ",
        s->model->hash);
    put(t, "\"node_threshold\": %.9g, \"schema_version\": 1, \"prompt\": \"", s->threshold);
    for (int32_t r = 0; r < s->n_rows; r++) put_token(s, t, JSON, s->rows[r].token);
    put(t, "\", \"prompt_tokens\": [");
    for (int32_t r = 0; r < s->n_rows; r++) {
        put(t, r ? ", \"" : "\"");
        put_token(s, t, JSON, s->rows[r].token);
        put(t, "\"");
    }
    put(t, "]},\n\"qParams\": {\"pinnedIds\": [], \"supernodes\": [], \"linkType\": \"both\", "
           "\"clickedId\": \"\", \"sg_pos\": \"\"},\n\"nodes\": [\n");
    for (int32_t i = 0; i < s->n_nodes; i++) {
        put_json_node(s, t, &s->nodes[i]);
        put(t, i + 1 < s->n_nodes ? ",\n" : "\n");
    }
    put(t, "],\n\"links\": [\n");
    for (int64_t i = 0; i < s->n_links; i++) {
        put(t, "{\"source\": \"");
        put_id(s, t, &s->nodes[s->links[i].source]);
        put(t, "\", \"target\": \"");
        put_id(s, t, &s->nodes[s->links[i].target]);
        put(t, "\", \"weight\": %.9g}%s\n", s->links[i].weight, i + 1 < s->n_links ? "," : "");
    }
    put(t, "]}\n");
}

/* --- the others ------------------------------------------------------------------------------ */

static void write_graphml(const graph_state *s, text *t) {
    put(t, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
           "<graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n"
           "<key id=\"flow\" for=\"node\" attr.name=\"flow\" attr.type=\"double\"/>\n"
           "<key id=\"row\" for=\"node\" attr.name=\"row\" attr.type=\"int\"/>\n"
           "<key id=\"layer\" for=\"node\" attr.name=\"layer\" attr.type=\"int\"/>\n"
           "<key id=\"token\" for=\"node\" attr.name=\"token\" attr.type=\"string\"/>\n"
           "<key id=\"weight\" for=\"edge\" attr.name=\"weight\" attr.type=\"double\"/>\n"
           "<graph edgedefault=\"directed\">\n");
    for (int32_t i = 0; i < s->n_nodes; i++) {
        const graph_node *node = &s->nodes[i];
        char name[48];
        graph_name(s, node, name, sizeof name);
        put(t, "<node id=\"%s\"><data key=\"flow\">%.9g</data><data key=\"row\">%d</data>", name,
            node->flow, (int)node->row);
        put(t, "<data key=\"layer\">%d</data><data key=\"token\">", (int)node->layer);
        put_token(s, t, XML, s->rows[node->row].token);
        put(t, "</data></node>\n");
    }
    for (int64_t i = 0; i < s->n_links; i++) {
        char from[48], to[48];
        graph_name(s, &s->nodes[s->links[i].source], from, sizeof from);
        graph_name(s, &s->nodes[s->links[i].target], to, sizeof to);
        put(t, "<edge source=\"%s\" target=\"%s\"><data key=\"weight\">%.9g</data></edge>\n", from,
            to, s->links[i].weight);
    }
    put(t, "</graph>\n</graphml>\n");
}

/* The graph grows upward from the tokens; an arrow's width is its weight. */
static void write_dot(const graph_state *s, text *t) {
    double widest = 1e-30;
    put(t, "digraph graph_of_a_logit {\nrankdir=BT;\nnode [shape=box, fontname=\"Helvetica\"];\n");
    for (int32_t i = 0; i < s->n_nodes; i++) {
        const graph_node *node = &s->nodes[i];
        char name[48];
        graph_name(s, node, name, sizeof name);
        put(t, "\"%s\" [label=\"%s\\n", name, name);
        if (node->kind == NODE_LOGIT)
            put_quoted(t, DOT, s->targets.targets[0].label);
        else
            put_token(s, t, DOT, s->rows[node->row].token);
        put(t, "\\n%+.3f\"%s];\n", node->flow, node->flow < 0 ? ", color=red" : "");
    }
    for (int64_t i = 0; i < s->n_links; i++) widest = fmax(widest, fabs(s->links[i].weight));
    for (int64_t i = 0; i < s->n_links; i++) {
        const graph_link *link = &s->links[i];
        char from[48], to[48];
        if (fabs(link->weight) < s->threshold) continue;
        graph_name(s, &s->nodes[link->source], from, sizeof from);
        graph_name(s, &s->nodes[link->target], to, sizeof to);
        put(t, "\"%s\" -> \"%s\" [penwidth=%.2f, label=\"%+.3f\"%s];\n", from, to,
            0.3 + 5.0 * fabs(link->weight) / widest, link->weight,
            link->weight < 0 ? ", color=red" : "");
    }
    put(t, "}\n");
}

/* x4 --A^{3,7}--> x10: what head 7 of layer 3 reads at row 4; x10 --L0N5--> x10; x10 --W_U--> t. */
static void write_arrows(const graph_state *s, text *t) {
    for (int64_t i = 0; i < s->n_links; i++) {
        const graph_node *from = &s->nodes[s->links[i].source], *to = &s->nodes[s->links[i].target];
        char writer[48], reader[48];
        graph_name(s, from, writer, sizeof writer);
        graph_name(s, to, reader, sizeof reader);
        put(t, "%s: x^%d_%d --", writer,
            to->kind == NODE_LOGIT ? (int)s->model->n_layers : (int)to->layer, (int)from->row);
        if (to->kind == NODE_HEAD)
            put(t, "A^{%d,%d}--> x^%d_%d", (int)to->layer, (int)to->index, (int)to->layer + 1,
                (int)to->row);
        else if (to->kind == NODE_LOGIT)
            put(t, "W_U--> %s", s->targets.targets[0].label);
        else
            put(t, "%s--> x^%d_%d", reader, (int)to->layer + 1, (int)to->row);
        put(t, "  %+.6f\n", s->links[i].weight);
    }
}

int graph_write(graph_state *s) {
    static const struct {
        const char *name;
        void (*write)(const graph_state *, text *);
    } files[] = {{"json", write_json}, {"graphml", write_graphml}, {"dot", write_dot},
        {"txt", write_arrows}};
    int failed = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files && !failed; i++) {
        text t = {0};
        files[i].write(s, &t);
        failed = t.failed
                     ? s->host->fail(s->context, "not enough memory for graph.%s", files[i].name)
                     : s->host->document(s->context, files[i].name, t.data ? t.data : "", t.used);
        free(t.data);
    }
    return failed;
}
