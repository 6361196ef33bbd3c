/* graph.json, in the format that circuit-tracer's page and Neuronpedia read
 * (github.com/safety-research/circuit-tracer, circuit_tracer/frontend/graph_models.py;
 * github.com/hijohnnylin/neuronpedia, graph-schema.json). What they do with it:
 *
 *   clerp of the logit     split at '(p='; the token is the text between its first two quotes
 *   influence              the running sum of |flow| from the largest node down, over the whole: a
 *                          node is shown up to node_threshold, so small is important and 1 shows all
 *   feature                the second part of node_id, and one number per component of the model
 *   schema_version         claims feature numbers by Cantor's pairing; ours are not, so it is absent
 *   qk_tracing_results     why a head looks where it does; contributors outside of the graph are
 *                          described in qk_only_nodes
 *
 * Values are written by jansson one node and one link at a time: 2 million links as one value would
 * take a gigabyte. */
#include "graph.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ID_BYTES = 64, NAME_BYTES = 48 };

static int take_json(const char *bytes, size_t n, void *payload) {
    psc_growing *t = payload;
    psc_growing_add(t, bytes, n);
    return t->failed;
}

/* Takes value over; null: memory ran out. */
static void put_json(psc_growing *t, json_t *value) {
    const size_t flags = JSON_REAL_PRECISION(9) | JSON_ENCODE_ANY;
    if (!value || json_dump_callback(value, take_json, t, flags)) t->failed = 1;
    json_decref(value);
}

static json_t *real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

/* Takes the text over. */
static json_t *text_of(psc_growing *t) {
    json_t *string = t->failed ? NULL : json_stringn(t->data ? t->data : "", t->used);
    free(t->data);
    return string;
}

/* --- names and numbers ----------------------------------------------------------------------- */

/* (layer + 1) 10^d + n, 10^d above every token id and every n: head n, neuron H + n, then a layer's
 * attn_bias, mlp_out, mlp_bias, mlp_error, mlp_skip, its latents. The page keeps a reader's own
 * labels by this number. */
static int64_t feature_of(const graph_state *s, const graph_node *node) {
    const int64_t heads = s->model->n_heads, last = heads + s->model->d_mlp;
    const int64_t numbers[] = {0, 0, node->index, last, last + 1, heads + node->index, last + 2,
        last + 5 + node->index, last + 3, last + 4};
    const int64_t most = last + 5 + graph_latents_most(s);
    int64_t unit = 10;
    if (node->kind == NODE_EMBED) return s->rows[node->row].token;
    if (node->kind == NODE_LOGIT) return s->targets.ids[0];
    while (unit <= most || unit <= s->model->d_vocab) unit *= 10;
    return (node->layer + 1) * unit + numbers[node->kind];
}

/* E_token_row, layer_feature_row */
static const char *id_of(char out[ID_BYTES], const graph_state *s, const graph_node *node) {
    char layer[16] = "E";
    if (node->kind != NODE_EMBED)
        snprintf(layer, sizeof layer, "%d",
            (int)(node->kind == NODE_LOGIT ? s->model->n_layers + 1 : node->layer));
    snprintf(out, ID_BYTES, "%s_%lld_%d", layer, (long long)feature_of(s, node), (int)node->row);
    return out;
}

/* A token between the quotes of a clerp: without quotes and '(p=' of its own. */
static void put_inside(psc_growing *t, const graph_state *s, int32_t token) {
    psc_growing plain = {0};
    graph_put_token(&plain, QUOTE_NONE, s, token);
    for (size_t i = 0; i < plain.used; i++) {
        const char *at = plain.data + i;
        if (*at == '"')
            psc_growing_put(t, "\342\200\235"); /* the right quotation mark */
        else if (*at == '=' && i >= 2 && memcmp(at - 2, "(p", 2) == 0)
            psc_growing_put(t, "\\=");
        else
            psc_growing_add(t, at, 1);
    }
    t->failed |= plain.failed;
    free(plain.data);
}

static double probability(const graph_state *s, int which) {
    return exp((double)s->logit[which] - s->log_z);
}

/* Output " Oz" (p=0.123); of a contrast both texts and the first token's p. */
static json_t *logit_caption(const graph_state *s) {
    const int32_t *ids = s->targets.ids;
    psc_growing t = {0};
    psc_growing_put(&t, ids[1] < 0 ? "Output \"" : "Output \"logit(");
    put_inside(&t, s, ids[0]);
    if (ids[1] >= 0) {
        psc_growing_put(&t, ") - logit(");
        put_inside(&t, s, ids[1]);
        psc_growing_put(&t, ")");
    }
    psc_growing_put(&t, "\" (p=%.3f)", probability(s, 0));
    return text_of(&t);
}

/* What a viewer shows for a node: the target, or "L3H7@10 token". */
static json_t *caption(const graph_state *s, const graph_node *node) {
    char name[NAME_BYTES];
    psc_growing t = {0};
    if (node->kind == NODE_LOGIT) return logit_caption(s);
    graph_name(s, node, name, sizeof name);
    graph_put(&t, QUOTE_NONE, name, strlen(name));
    psc_growing_put(&t, " ");
    graph_put_token(&t, QUOTE_NONE, s, s->rows[node->row].token);
    return text_of(&t);
}

/* --- nodes and links ------------------------------------------------------------------------- */

static json_t *node_object(const graph_state *s, const graph_node *node, double influence) {
    static const char *const types[] = {"logit", "embedding", "attention head", "bias", "mlp",
        "neuron", "bias", "cross layer transcoder", "mlp reconstruction error",
        "mlp skip connection"};
    const double activation = node->kind == NODE_LATENT
                                  ? graph_latents_value(s, node->layer, node->row, node->index)
                                  : node->flow;
    const int logit = node->kind == NODE_LOGIT;
    char id[ID_BYTES], layer[ID_BYTES];
    id_of(id, s, node);
    snprintf(layer, sizeof layer, "%.*s", (int)strcspn(id, "_"), id);
    return json_pack("{s:s, s:s, s:I, s:s, s:i, s:s, s:o, s:b, s:i, s:i, s:o, s:o, s:o}", "node_id",
        id, "jsNodeId", id, "feature", (json_int_t)feature_of(s, node), "layer", layer, "ctx_idx",
        (int)node->row, "feature_type", types[node->kind], "token_prob",
        real(logit ? probability(s, 0) : 0.0), "is_target_logit", logit, "run_idx", 0,
        "reverse_ctx_idx", 0, "influence", real(influence), "activation", real(activation), "clerp",
        caption(s, node));
}

static graph_node contributor(
    const graph_state *s, const graph_node *head, const graph_score *score, int side) {
    return side == SIDE_QUERY ? graph_writer_node(s, score->query, head->row)
                              : graph_writer_node(s, score->key, head->most_read);
}

/* The scores of one side: [id, share], of pairs [query id, key id, share]. */
static json_t *scores_array(
    const graph_state *s, const graph_node *head, const graph_trace *trace, int side) {
    json_t *list = json_array();
    int failed = !list;
    for (int32_t i = 0; i < trace->n[side] && !failed; i++) {
        const graph_score *score = &trace->scores[side][i];
        json_t *entry = json_array();
        for (int half = SIDE_QUERY; half <= SIDE_KEY && !failed; half++) {
            char id[ID_BYTES];
            if (side != SIDE_PAIR && side != half) continue;
            const graph_node node = contributor(s, head, score, half);
            failed = json_array_append_new(entry, json_string(id_of(id, s, &node)));
        }
        failed = failed || json_array_append_new(entry, real(score->share));
        if (failed) json_decref(entry);
        failed = failed || json_array_append_new(list, entry);
    }
    if (!failed) return list;
    json_decref(list);
    return NULL;
}

static json_t *kept_node(const graph_state *s, int32_t i, double influence) {
    const graph_node *node = &s->nodes[i];
    const graph_trace *trace = s->traces ? &s->traces[i] : NULL;
    json_t *object = node_object(s, node, influence);
    if (!object) return NULL;
    if (node->kind == NODE_LOGIT && s->targets.ids[1] >= 0 &&
        json_object_set_new(object, "contrast_token_prob", real(probability(s, 1))))
        goto fail;
    if (!trace || trace->n[SIDE_QUERY] == 0) return object;
    json_t *results = json_pack("{s:o, s:o, s:o}", "pair_wise_contributors",
        scores_array(s, node, trace, SIDE_PAIR), "top_q_marginal_contributors",
        scores_array(s, node, trace, SIDE_QUERY), "top_k_marginal_contributors",
        scores_array(s, node, trace, SIDE_KEY));
    if (json_object_set_new(object, "qk_tracing_results", results) == 0) return object;
fail:
    json_decref(object);
    return NULL;
}

/* From the largest node down: the running sum of |flow| over the whole. The
 * logit is always shown. */
static void put_nodes(const graph_state *s, psc_growing *t) {
    double total = 0.0, sum = 0.0;
    for (int32_t i = 1; i < s->n_nodes; i++)
        if (isfinite(s->nodes[i].flow)) total += fabs(s->nodes[i].flow);
    for (int32_t i = 0; i < s->n_nodes && !t->failed; i++) {
        const double flow = fabs(s->nodes[i].flow);
        if (i > 0 && isfinite(flow)) sum += flow;
        psc_growing_put(t, i ? ",\n" : "\n");
        put_json(t, kept_node(s, i, i == 0 ? 0.0 : isfinite(flow) ? sum / total : NAN));
    }
}

static json_t *link_object(const graph_state *s, const graph_link *link) {
    char source[ID_BYTES], target[ID_BYTES];
    return json_pack("{s:s, s:s, s:o}", "source", id_of(source, s, &s->nodes[link->source]),
        "target", id_of(target, s, &s->nodes[link->target]), "weight", real(link->weight));
}

/* The contributors that are no nodes of the graph, once each. */
static void put_others(const graph_state *s, psc_growing *t) {
    json_t *seen = json_object(); /* ids, to null */
    char id[ID_BYTES];
    t->failed |= !seen;
    for (int32_t i = 0; i < s->n_nodes && !t->failed; i++)
        t->failed |= json_object_set_new(seen, id_of(id, s, &s->nodes[i]), json_null()) != 0;
    const char *between = "\n";
    for (int32_t i = 0; s->traces && i < s->n_nodes && !t->failed; i++)
        for (int side = SIDE_QUERY; side <= SIDE_KEY; side++)
            for (int32_t k = 0; k < s->traces[i].n[side] && !t->failed; k++) {
                graph_node node = contributor(s, &s->nodes[i], &s->traces[i].scores[side][k], side);
                node.flow = NAN; /* not a node of the graph: unknown here */
                if (json_object_get(seen, id_of(id, s, &node))) continue;
                t->failed |= json_object_set_new(seen, id, json_null()) != 0;
                psc_growing_put(t, "%s\"%s\": ", between, id);
                put_json(t, node_object(s, &node, NAN));
                between = ",\n";
            }
    json_decref(seen);
}

/* --- the head of the file -------------------------------------------------------------------- */

static int plain(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           c == '.' || c == '-';
}

/* The model's name from its path, of characters that Neuronpedia takes. In the Hugging Face cache
 * the path is models--ORGANIZATION--NAME/snapshots/COMMIT. */
static json_t *model_name(const graph_state *s) {
    const char *path = s->model->path ? s->model->path : "";
    const char *snapshots = strstr(path, "/snapshots/");
    size_t end = snapshots ? (size_t)(snapshots - path) : strlen(path), begin;
    while (end > 0 && path[end - 1] == '/') end--;
    for (begin = end; begin > 0 && path[begin - 1] != '/'; begin--) continue;
    if (end - begin > 8 && memcmp(path + begin, "models--", 8) == 0)
        for (size_t i = begin; i + 2 < end; i++)
            if (memcmp(path + i, "--", 2) == 0) begin = i + 2;
    psc_growing t = {0};
    int named = 0;
    for (size_t i = begin; i < end; i++) {
        named |= path[i] != '.' && plain(path[i]);
        psc_growing_put(&t, "%c", plain(path[i]) ? path[i] : '-');
    }
    if (named) return text_of(&t);
    free(t.data);
    return json_string("model");
}

static json_t *settings(const graph_state *s) {
    char name[PSC_TARGET_NAME];
    return json_pack("{s:s, s:s, s:i, s:o, s:i, s:s}", "level", s->neurons ? "neuron" : "head",
        "target", psc_target_name(&s->targets, 0, 0, name), "row", (int)s->n_rows - 1, "threshold",
        real(s->threshold), "nodes", (int)s->most, "sae", s->sae);
}

static json_t *metadata(const graph_state *s) {
    psc_growing prompt = {0};
    json_t *tokens = json_array();
    int complete = tokens != NULL;
    for (int32_t r = 0; r < s->n_rows && complete; r++) {
        psc_growing token = {0};
        graph_put_token(&prompt, QUOTE_NONE, s, s->rows[r].token);
        graph_put_token(&token, QUOTE_NONE, s, s->rows[r].token);
        complete = json_array_append_new(tokens, text_of(&token)) == 0;
    }
    json_t *text = text_of(&prompt), *list = json_array();
    for (const char *p = s->sae; *p && list && complete; p += strcspn(p, "+"), p += *p == '+')
        complete = json_array_append_new(list, json_stringn(p, strcspn(p, "+"))) == 0;
    if (!complete || !list) {
        json_decref(tokens);
        json_decref(text);
        json_decref(list);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:s, s:o, s:f, s:o, s:o, s:{s:{s:s}}, s:o}", "slug", "graph",
        "scan", model_name(s), "model_hash", s->model->hash, "transcoder_list", list,
        "node_threshold", 1.0, "prompt", text, "prompt_tokens", tokens, "info", "generator", "name",
        "pythiascope", "generation_settings", settings(s));
}

void graph_json(const graph_state *s, psc_growing *t) {
    psc_growing_put(t, "{\"metadata\": ");
    put_json(t, metadata(s));
    psc_growing_put(t, ",\n\"qParams\": ");
    put_json(t, json_pack("{s:[], s:[], s:s, s:s, s:s}", "pinnedIds", "supernodes", "linkType",
                    "both", "clickedId", "", "sg_pos", ""));
    psc_growing_put(t, ",\n\"nodes\": [");
    put_nodes(s, t);
    psc_growing_put(t, "\n],\n\"links\": [");
    for (int64_t i = 0; i < s->n_links && !t->failed; i++) {
        psc_growing_put(t, i ? ",\n" : "\n");
        put_json(t, link_object(s, &s->links[i]));
    }
    psc_growing_put(t, "\n],\n\"qk_only_nodes\": {");
    put_others(s, t);
    psc_growing_put(t, "\n}}\n");
}
