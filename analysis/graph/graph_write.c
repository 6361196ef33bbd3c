/* The graph as files of the output folder: graph.json in the format that circuit-tracer's viewers
 * read (github.com/safety-research/circuit-tracer, circuit_tracer/frontend/graph_models.py),
 * graph.graphml, graph.dot, and graph.txt with one arrow per line. */
#include "graph.h"
#include "growing.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- quoting ------------------------------------------------------------------------------------ */

/* A string with what the format gives a meaning to escaped; the text holds no control characters
 * (token_text has escaped them). */
typedef enum quoting { XML, DOT } quoting;

static void put_quoted(psc_growing *t, quoting how, const char *string) {
    for (const char *c = string; *c; c++) {
        if (how == XML && *c == '&')
            psc_growing_put(t, "&amp;");
        else if (how == XML && *c == '<')
            psc_growing_put(t, "&lt;");
        else if (how == XML && *c == '>')
            psc_growing_put(t, "&gt;");
        else if (how == XML && *c == '"')
            psc_growing_put(t, "&quot;");
        else if (how == DOT && (*c == '"' || *c == '\\'))
            psc_growing_put(t, "\\%c", *c);
        else
            psc_growing_put(t, "%c", *c);
    }
}

enum { TOKEN_BYTES = 256, NAME_BYTES = 48 };

/* A row's token without the quotes that stand around it for people. */
static const char *token_of(char out[TOKEN_BYTES], const graph_state *s, int32_t row) {
    const char *shown = s->host->token_text(s->context, s->rows[row].token);
    const size_t n = strlen(shown);
    const int quoted = n >= 2 && n < TOKEN_BYTES && shown[0] == '\'' && shown[n - 1] == '\'';
    snprintf(out, TOKEN_BYTES, "%.*s", (int)(quoted ? n - 2 : n), shown + quoted);
    return out;
}

/* --- circuit-tracer's JSON -------------------------------------------------------------------
 * Values are written by jansson one node and one link at a time: 2 million links as one value would
 * take a gigabyte. */

static int take_json(const char *bytes, size_t n, void *payload) {
    psc_growing *t = payload;
    psc_growing_put(t, "%.*s", (int)n, bytes);
    return t->failed;
}

/* Takes value over; null: memory ran out. */
static void put_json(psc_growing *t, json_t *value) {
    if (!value || json_dump_callback(value, take_json, t, JSON_REAL_PRECISION(9))) t->failed = 1;
    json_decref(value);
}

static json_t *real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

/* Their ids: E_token_row, layer_feature_row; a head is feature h, a neuron H + k, biases the last
 * two of a layer, a layer's MLP the one before. */
static const char *id_of(char out[NAME_BYTES], const graph_state *s, const graph_node *node) {
    const int32_t heads = s->model->n_heads, last = heads + s->model->d_mlp;
    const int32_t features[] = {0, 0, node->index, last + 1, last, heads + node->index, last + 2};
    const int row = (int)node->row;
    if (node->kind == NODE_EMBED)
        snprintf(out, NAME_BYTES, "E_%d_%d", (int)s->rows[row].token, row);
    else if (node->kind == NODE_LOGIT)
        snprintf(
            out, NAME_BYTES, "%d_%d_%d", (int)s->model->n_layers + 1, (int)s->targets.ids[0], row);
    else
        snprintf(out, NAME_BYTES, "%d_%d_%d", (int)node->layer, (int)features[node->kind], row);
    return out;
}

/* What a viewer shows for a node: the target, or "L3H7 token". */
static json_t *json_caption(const graph_state *s, const graph_node *node) {
    char name[NAME_BYTES], token[TOKEN_BYTES];
    if (node->kind == NODE_LOGIT) return json_string(s->targets.targets[0].label);
    graph_name(s, node, name, sizeof name);
    return json_sprintf("%s %s", name, token_of(token, s, node->row));
}

static json_t *json_node(const graph_state *s, const graph_node *node) {
    static const char *const types[] = {
        "logit", "embedding", "attention head", "bias", "mlp", "neuron", "bias"};
    const int logit = node->kind == NODE_LOGIT, embed = node->kind == NODE_EMBED;
    const int feature = logit ? s->targets.ids[0] : embed ? node->row : node->index;
    const int probable = logit && s->targets.ids[1] < 0; /* a contrast has no probability */
    char id[NAME_BYTES], layer[16] = "E";
    id_of(id, s, node);
    if (!embed)
        snprintf(layer, sizeof layer, "%d", (int)(logit ? s->model->n_layers + 1 : node->layer));
    return json_pack("{s:s, s:s, s:i, s:s, s:i, s:s, s:o, s:b, s:i, s:i, s:o, s:o, s:o}", "node_id",
        id, "jsNodeId", id, "feature", feature, "layer", layer, "ctx_idx", (int)node->row,
        "feature_type", types[node->kind], "token_prob",
        real(probable ? exp((double)s->logit[0] - s->log_z) : 0.0), "is_target_logit", logit,
        "run_idx", 0, "reverse_ctx_idx", 0, "influence", real(fabs(node->flow)), "activation",
        real(node->flow), "clerp", json_caption(s, node));
}

static json_t *json_link(const graph_state *s, const graph_link *link) {
    char source[NAME_BYTES], target[NAME_BYTES];
    return json_pack("{s:s, s:s, s:o}", "source", id_of(source, s, &s->nodes[link->source]),
        "target", id_of(target, s, &s->nodes[link->target]), "weight", real(link->weight));
}

static json_t *json_metadata(const graph_state *s) {
    char token[TOKEN_BYTES];
    psc_growing prompt = {0};
    json_t *tokens = json_array();
    int complete = tokens != NULL;
    for (int32_t r = 0; r < s->n_rows && complete; r++) {
        psc_growing_put(&prompt, "%s", token_of(token, s, r));
        complete = json_array_append_new(tokens, json_string(token)) == 0 && !prompt.failed;
    }
    json_t *metadata =
        complete ? json_pack("{s:s, s:s, s:[], s:o, s:i, s:s, s:O}", "slug", "pythiascope", "scan",
                       s->model->hash, "transcoder_list", "node_threshold", real(s->threshold),
                       "schema_version", 1, "prompt", prompt.data, "prompt_tokens", tokens)
                 : NULL;
    json_decref(tokens);
    free(prompt.data);
    return metadata;
}

static void write_json(const graph_state *s, psc_growing *t) {
    psc_growing_put(t, "{\"metadata\": ");
    put_json(t, json_metadata(s));
    psc_growing_put(t, ",\n\"qParams\": ");
    put_json(t, json_pack("{s:[], s:[], s:s, s:s, s:s}", "pinnedIds", "supernodes", "linkType",
                    "both", "clickedId", "", "sg_pos", ""));
    psc_growing_put(t, ",\n\"nodes\": [");
    for (int32_t i = 0; i < s->n_nodes && !t->failed; i++) {
        psc_growing_put(t, i ? ",\n" : "\n");
        put_json(t, json_node(s, &s->nodes[i]));
    }
    psc_growing_put(t, "\n],\n\"links\": [");
    for (int64_t i = 0; i < s->n_links && !t->failed; i++) {
        psc_growing_put(t, i ? ",\n" : "\n");
        put_json(t, json_link(s, &s->links[i]));
    }
    psc_growing_put(t, "\n]}\n");
}

/* --- the others ------------------------------------------------------------------------------ */

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
        char name[NAME_BYTES], token[TOKEN_BYTES];
        graph_name(s, node, name, sizeof name);
        psc_growing_put(t,
            "<node id=\"%s\"><data key=\"flow\">%.9g</data><data key=\"row\">%d</data>", name,
            node->flow, (int)node->row);
        psc_growing_put(t, "<data key=\"layer\">%d</data><data key=\"token\">", (int)node->layer);
        put_quoted(t, XML, token_of(token, s, node->row));
        psc_growing_put(t, "</data></node>\n");
    }
    for (int64_t i = 0; i < s->n_links; i++) {
        char from[NAME_BYTES], to[NAME_BYTES];
        graph_name(s, &s->nodes[s->links[i].source], from, sizeof from);
        graph_name(s, &s->nodes[s->links[i].target], to, sizeof to);
        psc_growing_put(t,
            "<edge source=\"%s\" target=\"%s\"><data key=\"weight\">%.9g</data></edge>\n", from, to,
            s->links[i].weight);
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
        char name[NAME_BYTES], token[TOKEN_BYTES];
        graph_name(s, node, name, sizeof name);
        psc_growing_put(t, "\"%s\" [label=\"%s\\n", name, name);
        if (node->kind == NODE_LOGIT)
            put_quoted(t, DOT, s->targets.targets[0].label);
        else
            put_quoted(t, DOT, token_of(token, s, node->row));
        psc_growing_put(t, "\\n%+.3f\"%s];\n", node->flow, node->flow < 0 ? ", color=red" : "");
    }
    for (int64_t i = 0; i < s->n_links; i++) widest = fmax(widest, fabs(s->links[i].weight));
    for (int64_t i = 0; i < s->n_links; i++) {
        const graph_link *link = &s->links[i];
        char from[NAME_BYTES], to[NAME_BYTES];
        if (fabs(link->weight) < s->threshold) continue;
        graph_name(s, &s->nodes[link->source], from, sizeof from);
        graph_name(s, &s->nodes[link->target], to, sizeof to);
        psc_growing_put(t, "\"%s\" -> \"%s\" [penwidth=%.2f, label=\"%+.3f\"%s];\n", from, to,
            0.3 + 5.0 * fabs(link->weight) / widest, link->weight,
            link->weight < 0 ? ", color=red" : "");
    }
    psc_growing_put(t, "}\n");
}

/* x4 --A^{3,7}--> x10: what head 7 of layer 3 reads at row 4; x10 --L0N5--> x10; x10 --W_U--> t. */
static void write_arrows(const graph_state *s, psc_growing *t) {
    for (int64_t i = 0; i < s->n_links; i++) {
        const graph_node *from = &s->nodes[s->links[i].source], *to = &s->nodes[s->links[i].target];
        char writer[NAME_BYTES], reader[NAME_BYTES];
        graph_name(s, from, writer, sizeof writer);
        graph_name(s, to, reader, sizeof reader);
        psc_growing_put(t, "%s: x^%d_%d --", writer,
            to->kind == NODE_LOGIT ? (int)s->model->n_layers : (int)to->layer, (int)from->row);
        if (to->kind == NODE_HEAD)
            psc_growing_put(t, "A^{%d,%d}--> x^%d_%d", (int)to->layer, (int)to->index,
                (int)to->layer + 1, (int)to->row);
        else if (to->kind == NODE_LOGIT)
            psc_growing_put(t, "W_U--> %s", s->targets.targets[0].label);
        else
            psc_growing_put(t, "%s--> x^%d_%d", reader, (int)to->layer + 1, (int)to->row);
        psc_growing_put(t, "  %+.6f\n", s->links[i].weight);
    }
}

int graph_write(graph_state *s) {
    static const struct {
        const char *name;
        void (*write)(const graph_state *, psc_growing *);
    } files[] = {{"json", write_json}, {"graphml", write_graphml}, {"dot", write_dot},
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
