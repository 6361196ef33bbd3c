/* Circuits from files and options.
 *
 *   ["L3H7.q<-L1H2", ...]                        a list of edges
 *   {"edges": ["L3H7.q<-L1H2", ...],             what this plugin writes (circuit_write.c)
 *    "scores": [0.5, ...]}                       of each edge; may be absent
 *   {"edges": {"a1.h2->a3.h7<q>": {"in_graph": true, "score": 0.5}, ...}}    EAP's files */
#include "circuit.h"
#include "circuit_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((size_t)64 << 20)

static int refuse(const circuit_state *s, const char *path, const char *what) {
    return s->host->fail(s->context, "%.300s: %s", path, what);
}

/* The whole file, with a 0 after it; null after an error. */
static char *read_text(const circuit_state *s, const char *path) {
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    if (!file) {
        refuse(s, path, "the file cannot be opened");
        return NULL;
    }
    size_t n = 0;
    int whole = 0; /* all bytes are in text, with room for a 0 */
    for (size_t room = 1 << 16; room <= MOST_BYTES && !whole; room *= 2) {
        char *more = realloc(text, room);
        if (!more) break;
        text = more;
        n += fread(text + n, 1, room - n, file);
        if (ferror(file)) break;
        whole = n < room;
    }
    fclose(file);
    if (whole) {
        text[n] = 0;
        return text;
    }
    free(text);
    refuse(s, path, "the file cannot be read, or has 64 MiB or more");
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
    if (!name)
        return s->host->fail(s->context,
            "%.300s: an entry of the list of edges is not a text; write \"1_mlp_out<-L0H1\"",
            where);
    if (edge < 0)
        return s->host->fail(s->context,
            "%.300s: '%.80s' is no edge of this model; write RECEIVER<-SENDER, such as "
            "1_mlp_out<-L0H1",
            where, name);
    if (out->listed[edge])
        return s->host->fail(s->context, "%.300s: the edge '%.80s' appears twice", where, name);
    out->listed[edge] = 1;
    out->at[out->n++] = (circuit_scored){edge, score};
    return 0;
}

/* ["A<-B", ...] */
static int take_names(circuit_state *s, const char *path, circuit_json *json, circuit_list *out) {
    char name[2 * CIRCUIT_NAME];
    if (!circuit_json_take(json, '[') || circuit_json_take(json, ']')) return 0;
    do {
        const int text = circuit_json_next(json, '"');
        if (text ? !circuit_json_string(json, name, sizeof name) : !circuit_json_skip(json))
            return 0;
        if (add(s, out, path, text ? name : NULL, NAN)) return -1;
    } while (circuit_json_more(json, ']'));
    return 0;
}

/* [0.5, null, ...], one for each edge. */
static int take_scores(circuit_state *s, const char *path, circuit_json *json, circuit_list *out) {
    int64_t n = 0;
    int word;
    if (!circuit_json_take(json, '[')) return refuse(s, path, "\"scores\" must be a list");
    if (!circuit_json_take(json, ']')) do {
            double score = NAN;
            if (circuit_json_next(json, 'n') ? !circuit_json_word(json, &word)
                                             : !circuit_json_number(json, &score))
                return 0;
            if (n < out->n) out->at[n].score = score;
            n++;
        } while (circuit_json_more(json, ']'));
    if (json->bad || n == out->n) return 0;
    return refuse(s, path, "\"scores\" must have a number for each edge");
}

/* {"in_graph": true, "score": 0.5, ...}; *in: whether the edge is in the graph. */
static int take_entry(circuit_json *json, int *in, double *score) {
    char key[16];
    *in = 0;
    *score = NAN;
    if (!circuit_json_take(json, '{')) return circuit_json_skip(json);
    if (circuit_json_take(json, '}')) return 1;
    do {
        if (!circuit_json_key(json, key, sizeof key)) break;
        const int number = circuit_json_next(json, '-') || (*json->at >= '0' && *json->at <= '9');
        if (strcmp(key, "in_graph") == 0 && !number && !circuit_json_next(json, '"'))
            circuit_json_word(json, in);
        else if (strcmp(key, "score") == 0 && number)
            circuit_json_number(json, score);
        else
            circuit_json_skip(json);
    } while (circuit_json_more(json, '}'));
    return !json->bad;
}

/* {"a0.h1->m1": {...}, ...}: the edges that are in the graph; the largest |score| first. */
static int take_graph(circuit_state *s, const char *path, circuit_json *json, circuit_list *out) {
    char name[2 * CIRCUIT_NAME];
    double score;
    int in;
    if (!circuit_json_take(json, '{') || circuit_json_take(json, '}')) return 0;
    do {
        if (!circuit_json_key(json, name, sizeof name) || !take_entry(json, &in, &score)) break;
        if (in && add(s, out, path, name, score)) return -1;
    } while (circuit_json_more(json, '}'));
    qsort(out->at, (size_t)out->n, sizeof *out->at, circuit_by_score);
    return 0;
}

/* {"edges": ..., "scores": ...}; the scores come after the edges. */
static int take_file(circuit_state *s, const char *path, circuit_json *json, circuit_list *out) {
    char key[16];
    int edges = 0, failed = 0;
    if (circuit_json_next(json, '[')) return take_names(s, path, json, out);
    if (!circuit_json_take(json, '{')) return refuse(s, path, "it has no list \"edges\"");
    if (!circuit_json_take(json, '}')) do {
            if (!circuit_json_key(json, key, sizeof key)) break;
            if (strcmp(key, "edges") == 0 && !edges++)
                failed = circuit_json_next(json, '[') ? take_names(s, path, json, out)
                                                      : take_graph(s, path, json, out);
            else if (strcmp(key, "scores") == 0 && edges)
                failed = take_scores(s, path, json, out);
            else
                circuit_json_skip(json);
        } while (!failed && circuit_json_more(json, '}'));
    if (!failed && !json->bad && !edges) failed = refuse(s, path, "it has no list \"edges\"");
    return failed;
}

int circuit_read(circuit_state *s, const char *path, circuit_list *out) {
    char *text = read_text(s, path);
    if (!text) return -1;
    circuit_json json = {.at = text, .line = 1};
    int failed = circuit_make_list(s, s->n_edges, out);
    if (!failed) failed = take_file(s, path, &json, out);
    if (!failed) json.bad |= !circuit_json_next(&json, 0);
    if (!failed && json.bad)
        failed = s->host->fail(s->context,
            "%.300s: line %d is not JSON, or no value that a circuit has there", path, json.line);
    free(text);
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
