/* Circuits from files and options.
 *
 *   ["L3H7.q<-L1H2", ...]                        a list of edges
 *   {"edges": ["L3H7.q<-L1H2", ...],             what this plugin writes (circuit_write.c)
 *    "scores": [0.5, ...]}                       of each edge; may be absent
 *   {"edges": {"a1.h2->a3.h7<q>": {"in_graph": true, "score": 0.5}, ...}}    EAP's files */
#include "circuit.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((size_t)64 << 20)

static int refuse(const circuit_state *s, const char *path, const char *what) {
    return s->host->fail(s->context, "%.300s: %s", path, what);
}

/* The whole file; null after an error. */
static char *read_text(const circuit_state *s, const char *path, size_t *n) {
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    if (!file) {
        refuse(s, path, "the file cannot be opened");
        return NULL;
    }
    size_t room = 1 << 16;
    for (*n = 0; room <= MOST_BYTES; room *= 2) {
        char *more = realloc(text, room);
        if (!more) break;
        text = more;
        *n += fread(text + *n, 1, room - *n, file);
        if (*n < room) break;
    }
    const int whole = text && *n < room && !ferror(file);
    fclose(file);
    if (whole) return text;
    free(text);
    refuse(s, path, "the file cannot be read, or has more than 64 MiB");
    return NULL;
}

int circuit_make_list(circuit_state *s, int64_t n, circuit_list *out) {
    out->n = 0;
    out->at = s->host->run_alloc(s->context, (uint64_t)n * sizeof *out->at + 1);
    out->listed = s->host->run_alloc(s->context, (uint64_t)s->n_edges);
    return out->at && out->listed ? 0 : -1;
}

static int add(
    circuit_state *s, circuit_list *out, const char *where, const char *name, double score) {
    const int64_t edge = name ? circuit_parse(s, name) : -1;
    if (edge < 0)
        return s->host->fail(s->context,
            "%.300s: '%.80s' is no edge of this model; write RECEIVER<-SENDER, such as "
            "1_mlp_out<-L0H1",
            where, name ? name : "an entry that is not a text");
    if (out->listed[edge])
        return s->host->fail(s->context, "%.300s: the edge '%.80s' appears twice", where, name);
    out->listed[edge] = 1;
    out->at[out->n++] = (circuit_scored){edge, score};
    return 0;
}

static int take_array(circuit_state *s, const char *path, const json_t *names, const json_t *scores,
    circuit_list *out) {
    const size_t n = json_array_size(names);
    if ((int64_t)n > s->n_edges) return refuse(s, path, "it has more edges than the model");
    if (scores && json_array_size(scores) != n)
        return refuse(s, path, "\"scores\" must have a number for each edge");
    if (circuit_make_list(s, (int64_t)n, out)) return -1;
    for (size_t i = 0; i < n; i++) {
        const json_t *score = scores ? json_array_get(scores, i) : NULL;
        if (add(s, out, path, json_string_value(json_array_get(names, i)),
                json_is_number(score) ? json_number_value(score) : NAN))
            return -1;
    }
    return 0;
}

/* The edges that are in the graph; the largest |score| first. */
static int take_object(circuit_state *s, const char *path, json_t *edges, circuit_list *out) {
    const char *name;
    json_t *value;
    if (circuit_make_list(s, (int64_t)json_object_size(edges), out)) return -1;
    json_object_foreach(edges, name, value) {
        const json_t *score = json_object_get(value, "score");
        if (!json_is_true(json_object_get(value, "in_graph"))) continue;
        if (add(s, out, path, name, json_is_number(score) ? json_number_value(score) : NAN))
            return -1;
    }
    qsort(out->at, (size_t)out->n, sizeof *out->at, circuit_by_score);
    return 0;
}

int circuit_read(circuit_state *s, const char *path, circuit_list *out) {
    json_error_t error;
    size_t n;
    char *text = read_text(s, path, &n);
    if (!text) return -1;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (!root)
        return s->host->fail(
            s->context, "%.300s: line %d is not JSON: %.100s", path, error.line, error.text);
    json_t *edges = json_is_array(root) ? root : json_object_get(root, "edges");
    json_t *scores = json_object_get(root, "scores");
    int failed;
    if (json_is_array(edges) && (!scores || json_is_array(scores)))
        failed = take_array(s, path, edges, scores, out);
    else if (json_is_object(edges))
        failed = take_object(s, path, edges, out);
    else
        failed = refuse(s, path, "it has no list \"edges\"");
    json_decref(root);
    if (!failed && out->n == 0) failed = refuse(s, path, "it has no edge");
    return failed;
}

int circuit_read_path(circuit_state *s, const char *text, circuit_list *out) {
    char name[2 * CIRCUIT_NAME];
    size_t n = 1;
    for (const char *at = text; *at; at++) n += *at == '+';
    if (circuit_make_list(s, (int64_t)n, out)) return -1;
    for (const char *at = text;; at++) {
        const size_t length = strcspn(at, "+");
        snprintf(name, sizeof name, "%.*s", (int)(length < 100 ? length : 100), at);
        if (add(s, out, "path", name, NAN)) return -1;
        at += length;
        if (!*at) return 0;
    }
}
