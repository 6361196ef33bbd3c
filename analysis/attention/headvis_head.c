/* heads/L{l}H{h}.json: the chosen windows of one head.
 *
 *   sequences: the tokens, and the kept weights as triples (row, key, weight): attention_indices
 *   row * seq_len + key, attention_values
 *   qk_distance_histogram: weights by row - key in bins whose edges double
 *   top_query_tokens, top_key_tokens: weights by the text of the row's and of the key's token
 *   histogram: largest attention of all windows; statistics
 *
 * Weights are whole numbers of 1/HEADVIS_UNIT, so their sums are exact. */
#include "attention_contexts.h"
#include "growing.h"
#include "headvis_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOP_TOKENS = 50, N_DISTANCES = 13 };
/* The edges of the bins of distances: 0, 1, 2, 4, ..., 4096. */
static int64_t edge_of(int bin) {
    return bin == 0 ? 0 : (int64_t)1 << (bin - 1);
}

typedef struct triple {
    int32_t row, key;
    int64_t weight;
} triple;

/* The next kept weight of a record, from *at on; 0 at the end. */
static int next_triple(const head_record *record, int64_t *at, triple *out) {
    for (; *at < (int64_t)record->head->n * HEADVIS_KEYS; ++*at) {
        if (record->weights[*at] == 0) continue;
        *out = (triple){
            (int32_t)(*at / HEADVIS_KEYS), record->keys[*at], (int64_t)record->weights[*at]};
        ++*at;
        return 1;
    }
    return 0;
}

static head_record record_of(const headvis *v, const headvis_window *window) {
    return attention_record_at(
        v->c, v->records[window->list] + (uint64_t)window->entry * v->c->record_bytes);
}

/* --- sequences ------------------------------------------------------------------------------- */

static void put_token(const headvis *v, psc_growing *text, int32_t token) {
    psc_growing own = {0};
    headvis_add_token(v, &own, token);
    headvis_put_string(text, own.data, own.used);
    if (own.failed) text->failed = 1;
    free(own.data);
}

static void put_window(const headvis *v, psc_growing *text, const headvis_window *window) {
    const head_record record = record_of(v, window);
    const int32_t n = record.head->n;
    triple t;
    psc_growing_put(text,
        "{\"sequence_id\": %lld, \"interval\": %d, \"document\": %lld, \"position\": %d, "
        "\"tokens\": [",
        (long long)headvis_number(v, window), (int)window->bucket + 1, (long long)window->document,
        (int)window->position);
    for (int32_t r = 0; r < n; r++) {
        if (r > 0) psc_growing_add(text, ", ", 2);
        put_token(v, text, record.tokens[r]);
    }
    psc_growing_put(text, "], \"attention_indices\": [");
    for (int64_t at = 0, first = 1; next_triple(&record, &at, &t); first = 0) {
        if (!first) psc_growing_add(text, ",", 1);
        headvis_put_whole(text, (int64_t)t.row * n + t.key);
    }
    psc_growing_put(text, "], \"attention_values\": [");
    for (int64_t at = 0, first = 1; next_triple(&record, &at, &t); first = 0) {
        if (!first) psc_growing_add(text, ",", 1);
        headvis_put_units(text, t.weight);
    }
    psc_growing_put(text, "], \"seq_len\": %d, \"max_activation\": ", (int)n);
    headvis_put_number(text, (double)record.head->largest);
    psc_growing_put(text, "}");
}

/* --- sums over the chosen windows ------------------------------------------------------------ */

/* Adds the windows' weights by distance, and to v->query and v->key by token. */
static void add_weights(headvis *v, int64_t distances[N_DISTANCES]) {
    for (int32_t i = 0; i < v->n_chosen; i++) {
        const head_record record = record_of(v, &v->chosen[i]);
        triple t;
        for (int64_t at = 0; next_triple(&record, &at, &t);) {
            int bin = 0;
            while (bin < N_DISTANCES && edge_of(bin + 1) <= t.row - t.key) bin++;
            if (bin < N_DISTANCES) distances[bin] += t.weight;
            v->query[record.tokens[t.row]] += t.weight;
            v->key[record.tokens[t.key]] += t.weight;
        }
    }
}

static void put_distances(psc_growing *text, const int64_t distances[N_DISTANCES]) {
    psc_growing_put(text, ",\n\"qk_distance_histogram\": {\"bin_edges\": [");
    for (int i = 0; i <= N_DISTANCES; i++)
        psc_growing_put(text, "%s%d", i ? ", " : "", (int)edge_of(i));
    psc_growing_put(text, "], \"bin_values\": [");
    for (int i = 0; i < N_DISTANCES; i++) {
        if (i > 0) psc_growing_add(text, ", ", 2);
        headvis_put_units(text, distances[i]);
    }
    psc_growing_put(text, "]}");
}

/* A text with its weight; tokens of the same text (parts of characters) are one. */
typedef struct weighed {
    const char *text;
    size_t at, n; /* its place among the texts */
    int64_t weight;
} weighed;

static int by_text(const void *a, const void *b) {
    const weighed *x = a, *y = b;
    const int order = memcmp(x->text, y->text, x->n < y->n ? x->n : y->n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static int by_weight(const void *a, const void *b) {
    const weighed *x = a, *y = b;
    return x->weight != y->weight ? (x->weight < y->weight) - (x->weight > y->weight)
                                  : by_text(a, b);
}

/* The texts of the tokens with a weight, which are set to 0; how many, or -1 without memory. */
static int64_t take_texts(const headvis *v, int64_t *weights, psc_growing *texts, weighed **out) {
    int64_t n = 0, used = 0;
    for (int32_t token = 0; token < v->c->n_vocab; token++) n += weights[token] > 0;
    weighed *list = calloc((size_t)n + 1, sizeof *list);
    *out = list;
    for (int32_t token = 0; list && token < v->c->n_vocab; token++) {
        if (weights[token] == 0) continue;
        const size_t at = texts->used;
        headvis_add_token(v, texts, token);
        list[used++] = (weighed){NULL, at, texts->used - at, weights[token]};
    }
    memset(weights, 0, (size_t)v->c->n_vocab * sizeof *weights);
    if (!list || texts->failed) return -1;
    for (int64_t i = 0; i < n; i++) list[i].text = texts->data ? texts->data + list[i].at : "";
    qsort(list, (size_t)n, sizeof *list, by_text);
    used = 0;
    for (int64_t i = 0; i < n; i++) {
        if (used > 0 && by_text(&list[used - 1], &list[i]) == 0)
            list[used - 1].weight += list[i].weight;
        else
            list[used++] = list[i];
    }
    return used;
}

static void put_top(const headvis *v, psc_growing *text, const char *name, int64_t *weights) {
    psc_growing texts = {0};
    weighed *list = NULL;
    const int64_t n = take_texts(v, weights, &texts, &list);
    if (n < 0) text->failed = 1;
    if (n > 0) qsort(list, (size_t)n, sizeof *list, by_weight);
    psc_growing_put(text, ",\n\"%s\": [", name);
    for (int64_t i = 0; i < n && i < TOP_TOKENS; i++) {
        psc_growing_put(text, "%s{\"token\": ", i ? ", " : "");
        headvis_put_string(text, list[i].text, list[i].n);
        psc_growing_put(text, ", \"weight\": ");
        headvis_put_units(text, list[i].weight);
        psc_growing_put(text, "}");
    }
    psc_growing_put(text, "]");
    free(list);
    free(texts.data);
}

/* --- the file -------------------------------------------------------------------------------- */

static int put_histogram(const headvis *v, psc_growing *text, int64_t cell) {
    const attention_contexts *c = v->c;
    double bins[HEADVIS_BINS];
    if (c->host->accumulated(c->context, c->histogram, cell * HEADVIS_BINS, HEADVIS_BINS, bins))
        return -1;
    psc_growing_put(text, ",\n\"histogram\": {\"bin_edges\": [");
    for (int i = 0; i <= HEADVIS_BINS; i++) {
        if (i > 0) psc_growing_add(text, ", ", 2);
        headvis_put_units(text, i * (HEADVIS_UNIT / HEADVIS_BINS));
    }
    psc_growing_put(text, "], \"bin_values\": [");
    for (int i = 0; i < HEADVIS_BINS; i++) psc_growing_put(text, "%s%.0f", i ? ", " : "", bins[i]);
    psc_growing_put(text, "]}");
    return 0;
}

int headvis_head(headvis *v, int64_t cell) {
    char name[64];
    int64_t distances[N_DISTANCES] = {0};
    psc_growing text = {0};
    psc_growing_put(&text, "{\"sequences\": [");
    for (int32_t i = 0; i < v->n_chosen; i++) {
        if (i > 0) psc_growing_add(&text, ",\n", 2);
        put_window(v, &text, &v->chosen[i]);
    }
    psc_growing_put(&text, "]");
    add_weights(v, distances);
    put_distances(&text, distances);
    put_top(v, &text, "top_query_tokens", v->query);
    put_top(v, &text, "top_key_tokens", v->key);
    if (put_histogram(v, &text, cell)) {
        free(text.data);
        return -1;
    }
    psc_growing_put(&text,
        ",\n\"statistics\": {\"n_samples\": %d, \"mean_max_activation\": ", (int)v->n_chosen);
    headvis_put_number(
        &text, psc_mean(v->sums[cell * SUM_COUNT + SUM_LARGEST], v->counts[COUNT_WINDOWS]));
    psc_growing_put(&text, "}}\n");
    snprintf(
        name, sizeof name, "heads/L%dH%d.json", (int)(cell / v->n_heads), (int)(cell % v->n_heads));
    return headvis_put_file(v, name, &text);
}
