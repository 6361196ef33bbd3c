/* The circuit as files of the output folder: circuit.json, which file= reads again; circuit.dot and
 * circuit.graphml; and circuit.graph.json, in the layout that circuit-tracer's page reads
 * (analysis/graph/graph_json.c says what it does with it). A component is one node there, at the
 * target's row; links are the edges on a path to the logits, with a head's q, k and v added. */
#include "circuit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ID_BYTES = 64 };

/* --- circuit.json ----------------------------------------------------------------------------- */

static void put_number(psc_growing *t, double value) {
    if (isfinite(value))
        psc_growing_put(t, "%.17g", value);
    else
        psc_growing_put(t, "null");
}

static void write_json(const circuit_state *s, psc_growing *t) {
    char name[2 * CIRCUIT_NAME];
    psc_growing_put(t, "{\"model_hash\": \"%s\",\n\"edges\": [", s->model->hash);
    for (int64_t i = 0; i < s->n_kept; i++)
        psc_growing_put(
            t, "%s\"%s\"", i ? ",\n" : "\n", circuit_edge(s, s->ranked.at[i].edge, name));
    psc_growing_put(t, "\n],\n\"scores\": [");
    for (int64_t i = 0; i < s->n_kept; i++) {
        psc_growing_put(t, i ? ", " : "");
        put_number(t, s->ranked.at[i].score);
    }
    psc_growing_put(t, "]}\n");
}

/* --- circuit.dot ------------------------------------------------------------------------------ */

/* The component of a receiver, without .q, .k or .v. */
static const char *component(const circuit_state *s, int32_t receiver, char out[CIRCUIT_NAME]) {
    circuit_receiver(s, receiver, out);
    char *dot = strchr(out, '.');
    if (dot) *dot = 0;
    return out;
}

static void write_dot(const circuit_state *s, psc_growing *t) {
    char from[CIRCUIT_NAME], to[CIRCUIT_NAME], role[CIRCUIT_NAME];
    psc_growing_put(
        t, "digraph circuit {\nrankdir=BT;\nnode [shape=box, fontname=\"Helvetica\"];\n");
    for (int64_t i = 0; i < s->n_kept; i++) {
        int32_t sender, receiver;
        const circuit_scored *one = &s->ranked.at[i];
        if (!s->connected[i]) continue;
        circuit_ends(s, one->edge, &sender, &receiver);
        const char *dot = strchr(circuit_receiver(s, receiver, role), '.');
        psc_growing_put(
            t, "\"%s\" -> \"%s\" [", circuit_sender(s, sender, from), component(s, receiver, to));
        psc_growing_put(t, "label=\"%s", dot ? dot + 1 : "");
        if (isfinite(one->score)) psc_growing_put(t, " %+.3f", one->score);
        psc_growing_put(t, "\"%s];\n", one->score < 0 ? ", color=red" : "");
    }
    psc_growing_put(t, "}\n");
}

/* --- circuit.graphml -------------------------------------------------------------------------- */

/* in [n_senders + 1]: the components of edges on a path to the logits, and the logits; null after
 * an error. */
static uint8_t *mark_components(circuit_state *s) {
    uint8_t *in = s->host->run_alloc(s->context, (uint64_t)s->n_senders + 1);
    if (!in) return NULL;
    in[s->n_senders] = 1;
    for (int64_t i = 0; i < s->n_kept; i++) {
        int32_t sender, receiver;
        if (!s->connected[i]) continue;
        circuit_ends(s, s->ranked.at[i].edge, &sender, &receiver);
        in[sender] = in[circuit_component(s, receiver)] = 1;
    }
    return in;
}

static void put_data(psc_growing *t, const char *key, const double *values, int64_t i) {
    if (values && isfinite(values[i]))
        psc_growing_put(t, "<data key=\"%s\">%.9g</data>", key, values[i]);
}

/* Names need no escapes. A key without a value is left out. */
static void write_graphml(circuit_state *s, psc_growing *t) {
    char from[CIRCUIT_NAME], to[CIRCUIT_NAME], role[CIRCUIT_NAME];
    const uint8_t *in = mark_components(s);
    psc_growing_put(t,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n"
        "<key id=\"input\" for=\"edge\" attr.name=\"input\" attr.type=\"string\"/>\n"
        "<key id=\"weight\" for=\"edge\" attr.name=\"weight\" attr.type=\"double\"/>\n"
        "<key id=\"exact\" for=\"edge\" attr.name=\"exact\" attr.type=\"double\"/>\n"
        "<key id=\"lost\" for=\"edge\" attr.name=\"lost\" attr.type=\"double\"/>\n"
        "<graph edgedefault=\"directed\">\n");
    for (int32_t node = 0; in && node <= s->n_senders; node++)
        if (in[node])
            psc_growing_put(t, "<node id=\"%s\"/>\n",
                node < s->n_senders ? circuit_sender(s, node, from) : "logits");
    for (int64_t i = 0; i < s->n_kept; i++) {
        int32_t sender, receiver;
        if (!s->connected[i]) continue;
        circuit_ends(s, s->ranked.at[i].edge, &sender, &receiver);
        const char *dot = strchr(circuit_receiver(s, receiver, role), '.');
        psc_growing_put(t, "<edge source=\"%s\" target=\"%s\">", circuit_sender(s, sender, from),
            component(s, receiver, to));
        if (dot) psc_growing_put(t, "<data key=\"input\">%s</data>", dot + 1);
        put_data(t, "weight", &s->ranked.at[i].score, 0);
        put_data(t, "exact", s->exact, i);
        put_data(t, "lost", s->lost, i);
        psc_growing_put(t, "</edge>\n");
    }
    psc_growing_put(t, "</graph>\n</graphml>\n");
    if (!in) t->failed = 1;
}

/* --- circuit.graph.json ----------------------------------------------------------------------- */

static int32_t row_of(const circuit_state *s) {
    return s->rows.index[s->slot];
}

/* The target's tokens [2], the second -1 without a contrast; null for a metric of all tokens. */
static const int32_t *target_ids(const circuit_state *s) {
    if (s->metric == CIRCUIT_KL) return NULL;
    return s->targets.ids + 2 * ((int64_t)s->target * s->rows.n + (int64_t)s->slot);
}

/* The embedding has its token's number, the logits the target's, a component its place. */
static int32_t feature_of(const circuit_state *s, int32_t node) {
    if (node == 0) return s->run_rows[row_of(s)].token;
    if (node < s->n_senders) return node;
    return target_ids(s) ? target_ids(s)[0] : 0;
}

/* E_feature_row, layer_feature_row */
static const char *id_of(const circuit_state *s, int32_t node, char out[ID_BYTES]) {
    const int32_t a_layer = s->shape.n_heads + 1;
    char layer[16] = "E";
    if (node > 0)
        snprintf(layer, sizeof layer, "%d",
            (int)(node < s->n_senders ? (node - 1) / a_layer : s->shape.n_layers + 1));
    snprintf(out, ID_BYTES, "%s_%d_%d", layer, (int)feature_of(s, node), (int)row_of(s));
    return out;
}

/* The first n bytes of text within a string of JSON. */
static void put_escaped(psc_growing *t, const char *text, size_t n) {
    for (const char *at = text; at < text + n; at++) {
        if (*at == '"' || *at == '\\')
            psc_growing_put(t, "\\%c", *at);
        else if ((unsigned char)*at < 32)
            psc_growing_put(t, "\\u%04x", (unsigned)(unsigned char)*at);
        else
            psc_growing_add(t, at, 1);
    }
}

static void put_string(psc_growing *t, const char *text) {
    psc_growing_put(t, "\"");
    put_escaped(t, text, strlen(text));
    psc_growing_put(t, "\"");
}

/* A token's text as it is shown, without the quotes around it. */
static void put_token(const circuit_state *s, psc_growing *t, int32_t token) {
    size_t n;
    const char *text = psc_bare_token(s->context, s->host, token, &n);
    put_escaped(t, text, n);
}

/* A token between the quotes of a caption: without quotes and '(p=' of its own. */
static void put_inside(const circuit_state *s, psc_growing *t, int32_t token) {
    psc_growing plain = {0};
    put_token(s, &plain, token);
    for (size_t i = 0; i < plain.used; i++) {
        if (plain.used - i > 1 && memcmp(plain.data + i, "\\\"", 2) == 0) {
            psc_growing_put(t, "\342\200\235"); /* the right quotation mark */
            i++;
        } else if (plain.used - i > 2 && memcmp(plain.data + i, "(p=", 3) == 0) {
            psc_growing_put(t, "(p ");
            i += 2;
        } else {
            psc_growing_add(t, plain.data + i, 1);
        }
    }
    t->failed |= plain.failed;
    free(plain.data);
}

/* Output \"old\" (p=0.991): the page takes the text between the quotes, and p after '(p='. */
static void put_logits(const circuit_state *s, psc_growing *t) {
    const int32_t *ids = target_ids(s);
    psc_growing_put(t, "\"Output \\\"");
    if (!ids) psc_growing_put(t, "all tokens");
    if (ids && ids[1] >= 0) psc_growing_put(t, "logit(");
    if (ids) put_inside(s, t, ids[0]);
    if (ids && ids[1] >= 0) {
        psc_growing_put(t, ") - logit(");
        put_inside(s, t, ids[1]);
        psc_growing_put(t, ")");
    }
    psc_growing_put(t, "\\\" (p=%.3f)\"", ids ? (double)s->p[ids[0]] : 1.0);
}

static void put_node(const circuit_state *s, psc_growing *t, int32_t node) {
    char id[ID_BYTES], name[CIRCUIT_NAME];
    const int32_t *ids = target_ids(s);
    const int logits = node == s->n_senders, embed = node == 0;
    const int mlp = !logits && !embed && (node - 1) % (s->shape.n_heads + 1) == s->shape.n_heads;
    id_of(s, node, id);
    psc_growing_put(t,
        "{\"node_id\": \"%s\", \"jsNodeId\": \"%s\", \"feature\": %d, \"layer\": \"%.*s\", "
        "\"ctx_idx\": %d, \"feature_type\": \"%s\", \"token_prob\": %.9g, \"is_target_logit\": %s, "
        "\"run_idx\": 0, \"reverse_ctx_idx\": 0, \"influence\": 0.0, "
        "\"activation\": null, \"clerp\": ",
        id, id, (int)feature_of(s, node), (int)strcspn(id, "_"), id, (int)row_of(s),
        logits  ? "logit"
        : embed ? "embedding"
        : mlp   ? "mlp"
                : "attention head",
        !logits ? 0.0
        : ids   ? (double)s->p[ids[0]]
                : 1.0,
        logits ? "true" : "false");
    if (logits)
        put_logits(s, t);
    else
        put_string(t, circuit_sender(s, node, name));
    psc_growing_put(t, "}");
}

/* A link of two components; weight: the scores of its edges, added in the circuit's order. */
typedef struct link {
    int32_t source, target;
    double weight;
} link;

static int by_ends(const void *a, const void *b) {
    const link *x = a, *y = b;
    if (x->target != y->target) return x->target < y->target ? -1 : 1;
    return (x->source > y->source) - (x->source < y->source);
}

/* The links [n_kept], of which the first *n are used; null after an error. */
static link *make_links(circuit_state *s, int64_t *n) {
    link *links = s->host->run_alloc(s->context, (uint64_t)s->n_kept * sizeof *links + 1);
    int64_t all = 0;
    *n = 0;
    for (int64_t i = 0; links && i < s->n_kept; i++) {
        int32_t sender, receiver;
        if (!s->connected[i]) continue;
        circuit_ends(s, s->ranked.at[i].edge, &sender, &receiver);
        const double score = s->ranked.at[i].score;
        links[all++] =
            (link){sender, circuit_component(s, receiver), isfinite(score) ? score : 0.0};
    }
    if (links) qsort(links, (size_t)all, sizeof *links, by_ends);
    for (int64_t i = 0; i < all; i++) {
        if (*n > 0 && by_ends(&links[*n - 1], &links[i]) == 0)
            links[*n - 1].weight += links[i].weight;
        else
            links[(*n)++] = links[i];
    }
    return links;
}

static void put_head(const circuit_state *s, psc_growing *t) {
    psc_growing_put(t, "{\"metadata\": {\"slug\": \"circuit\", \"scan\": ");
    put_string(t, s->model->name ? s->model->name : "model");
    psc_growing_put(t,
        ", \"model_hash\": \"%s\", \"transcoder_list\": [], \"node_threshold\": 1.0, "
        "\"prompt\": \"",
        s->model->hash);
    for (int32_t r = 0; r < s->n_rows; r++) put_token(s, t, s->run_rows[r].token);
    psc_growing_put(t, "\", \"prompt_tokens\": [");
    for (int32_t r = 0; r < s->n_rows; r++) {
        psc_growing_put(t, r ? ", \"" : "\"");
        put_token(s, t, s->run_rows[r].token);
        psc_growing_put(t, "\"");
    }
    psc_growing_put(t,
        "], \"info\": {\"generator\": {\"name\": \"pythiascope\"}}},\n"
        "\"qParams\": {\"pinnedIds\": [], \"supernodes\": [], \"linkType\": \"both\", "
        "\"clickedId\": \"\", \"sg_pos\": \"\"},\n"
        "\"nodes\": [");
}

static void write_graph(circuit_state *s, psc_growing *t) {
    int64_t n;
    const link *links = make_links(s, &n);
    const uint8_t *in = mark_components(s);
    const char *between = "\n";
    char source[ID_BYTES], target[ID_BYTES];
    if (!links || !in) {
        t->failed = 1;
        return;
    }
    put_head(s, t);
    for (int32_t node = s->n_senders; node >= 0; node--) {
        if (!in[node]) continue;
        psc_growing_put(t, "%s", between);
        put_node(s, t, node);
        between = ",\n";
    }
    psc_growing_put(t, "\n],\n\"links\": [");
    for (int64_t i = 0; i < n; i++)
        psc_growing_put(t, "%s{\"source\": \"%s\", \"target\": \"%s\", \"weight\": %.9g}",
            i ? ",\n" : "\n", id_of(s, links[i].source, source), id_of(s, links[i].target, target),
            links[i].weight);
    psc_growing_put(t, "\n]}\n");
}

static int write_one(circuit_state *s, const char *kind, psc_growing *t) {
    const int failed = t->failed
                           ? s->host->fail(s->context, "not enough memory for circuit.%s", kind)
                           : s->host->document(s->context, kind, t->data ? t->data : "", t->used);
    free(t->data);
    return failed;
}

int circuit_write(circuit_state *s) {
    psc_growing json = {0}, dot = {0}, graphml = {0}, graph = {0};
    write_json(s, &json);
    if (write_one(s, "json", &json)) return -1;
    write_dot(s, &dot);
    if (write_one(s, "dot", &dot)) return -1;
    write_graphml(s, &graphml);
    if (write_one(s, "graphml", &graphml)) return -1;
    write_graph(s, &graph);
    return write_one(s, "graph.json", &graph);
}
