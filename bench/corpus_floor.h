/* The floor of a plugin over a corpus: the products of matrices that its figures cannot do without.
 * Private to bench/.
 * Threads: none.
 * Ownership: nothing is kept.
 *
 *   floor = 1 + operations of the products / operations of the pass, both per row
 *
 * N = d_model, H heads of D, M = d_mlp, V tokens, L layers, T rows of a window; the target is each
 * row's own next token. What is linear in products that are there is not counted again. */
#ifndef CORPUS_FLOOR_H
#define CORPUS_FLOOR_H

#include "psc.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Per row. reads: numbers of 4 bytes, the pass's or the products', that the reductions read once.
 * weights: numbers in the products' matrices, which a window reads once. */
typedef struct corpus_work {
    double operations, reads, weights;
} corpus_work;

static inline bool corpus_named(const char *plugin, const char *name) {
    const size_t n = strlen(name);
    return strncmp(plugin, name, n) == 0 && (plugin[n] == '\0' || plugin[n] == ':');
}

/* Operations of the pass without the unembedding: the matrices, and scores and values of the keys
 * that a row of a window sees on average. */
static inline double corpus_pass_operations(const psc_model_info *m, int rows) {
    const double n = m->d_model, mlp = m->d_mlp;
    return m->n_layers * (2.0 * (4.0 * n * n + 2.0 * n * mlp) + 4.0 * n * 0.5 * (rows + 1.0));
}

static inline corpus_work corpus_unembeddings(const psc_model_info *m, double count) {
    const double n = m->d_model, v = m->d_vocab;
    return (corpus_work){2.0 * n * v * count, v * count, n * v};
}

/* lens: a site per layer and the final one. partition: each write once, and with heads each head's
 * write by W_O; lenses, whole layers' attention and the biases, which are the same at all rows, are
 * sums. */
static inline corpus_work corpus_vocabulary(const psc_model_info *m, const char *plugin) {
    const double layers = m->n_layers, n = m->d_model;
    if (corpus_named(plugin, "lens")) {
        corpus_work work = corpus_unembeddings(m, layers + 1.0);
        if (strstr(plugin, "fit=")) work.operations += 3.0 * n * n * layers;
        return work;
    }
    if (!corpus_named(plugin, "partition")) return corpus_unembeddings(m, 1.0);
    const bool heads = strstr(plugin, "level=head") || strstr(plugin, "layer+head");
    if (!heads) return corpus_unembeddings(m, 2.0 * layers + 1.0);
    corpus_work work = corpus_unembeddings(m, layers * (m->n_heads + 1.0) + 1.0);
    work.operations += 2.0 * n * n * layers;
    work.weights += n * n * layers;
    return work;
}

/* The targets' directions through W_O, with neurons through W_out. Their logits are dot products. */
static inline corpus_work corpus_shares(const psc_model_info *m, const char *plugin) {
    const double layers = m->n_layers, n = m->d_model, mlp = m->d_mlp;
    const bool neurons = strstr(plugin, "neuron") != NULL;
    if (strstr(plugin, "level=layer") && !strchr(plugin, '+'))
        return (corpus_work){0.0, (2.0 * layers + 1.0) * n, 0.0};
    const double weights = layers * (n * n + (neurons ? n * mlp : 0.0));
    return (corpus_work){2.0 * weights, layers * (2.0 * n + (neurons ? mlp : n)), weights};
}

/* Norms of the writes of values, v^T (W_O^T W_O) v per head; edges also have the directions through
 * W_O and their dot products with the values of all keys. */
static inline corpus_work corpus_reads(const psc_model_info *m, bool edges, int rows) {
    const double layers = m->n_layers, n = m->d_model, keys = 0.5 * (rows + 1.0);
    corpus_work work = {
        2.0 * n * m->d_head * layers, layers * (m->n_heads * keys + n), layers * n * m->d_head};
    if (!edges) return work;
    work.operations += layers * (2.0 * n * n + 2.0 * n * keys);
    work.weights += layers * n * n;
    return work;
}

/* What a run that nothing observes leaves out: in the last layer all but keys and values. */
static inline corpus_work corpus_left_out(const psc_model_info *m, int rows) {
    const double n = m->d_model, mlp = m->d_mlp;
    return (corpus_work){
        -(2.0 * (2.0 * n * n + 2.0 * n * mlp) + 4.0 * n * 0.5 * (rows + 1.0)), 0.0, 0.0};
}

/* "logits" stands for all logits and an empty observer; "logits:..." for the plugin. */
static inline corpus_work corpus_products(const psc_model_info *m, const char *plugin, int rows) {
    const double layers = m->n_layers, n = m->d_model, mlp = m->d_mlp;
    const double keys = 0.5 * (rows + 1.0);
    if (strcmp(plugin, "unobserved") == 0) return corpus_left_out(m, rows);
    if (strcmp(plugin, "logits") == 0 || corpus_named(plugin, "sampling") ||
        corpus_named(plugin, "loss") || corpus_named(plugin, "lens") ||
        corpus_named(plugin, "partition"))
        return corpus_vocabulary(m, plugin);
    if (corpus_named(plugin, "logits")) return corpus_shares(m, plugin);
    if (corpus_named(plugin, "edges")) return corpus_reads(m, true, rows);
    if (corpus_named(plugin, "spans") || corpus_named(plugin, "words"))
        return corpus_reads(m, false, rows);
    corpus_work none = {0.0, 0.0, 0.0};
    if (corpus_named(plugin, "ln")) none.reads = (3.0 * layers + 2.0) * n;
    if (corpus_named(plugin, "mlp")) none.reads = 2.0 * mlp * layers;
    if (corpus_named(plugin, "neurons")) none.reads = mlp * layers;
    if (corpus_named(plugin, "attention")) none.reads = m->n_heads * keys * layers;
    if (corpus_named(plugin, "means")) none.reads = (4.0 * n + mlp) * layers;
    return none;
}

#endif
