/* Path patching: the edges of path= carry the source's values, or (through=mlps) so does every way
 * from their sender A to their receivers B that leads over MLPs alone. Then one run has
 *
 *   M            the MLPs between: they read A, and B reads them
 *   M, B         read A as the source has it, and each of M as it becomes by that
 *   all others   read M as this run has them
 *
 * so the heads between are frozen, the MLPs between are computed again, and all after B follows.
 * `other` is this run's writes with A's of the source. */
#include "circuit.h"

#include <string.h>

typedef struct path {
    circuit_state *s;
    circuit_list edges;
    int32_t sender, layer; /* of all edges, and of their receivers; through=mlps */
    uint8_t *receives;     /* [receivers] of the path */
    psc_writes other;
} path;

/* --- edges ----------------------------------------------------------------------------------- */

static void mark_edges(const void *payload, int64_t index, uint8_t *patched) {
    const path *p = payload;
    (void)index;
    for (int64_t i = 0; i < p->edges.n; i++) patched[p->edges.at[i].edge] = 1;
}

/* The receiver of a layer's MLP; its sender. */
static int32_t mlp_receiver(const psc_edge_shape *shape, int32_t layer) {
    return psc_edge_receivers(shape, layer + 1) - 1;
}

static int32_t mlp_sender(const psc_edge_shape *shape, int32_t layer) {
    return psc_edge_senders(shape, layer + 1) - 1;
}

/* Whether the MLP of a layer is between. */
static int is_between(const path *p, int32_t layer) {
    const psc_edge_shape *shape = &p->s->shape;
    return layer < p->layer && psc_edge_reads(shape, mlp_receiver(shape, layer)) > p->sender;
}

static void mark_ways(const void *payload, int64_t index, uint8_t *patched) {
    const path *p = payload;
    const psc_edge_shape *shape = &p->s->shape;
    mark_edges(payload, index, patched);
    for (int32_t l = 0; l < p->layer; l++) {
        if (!is_between(p, l)) continue;
        const int32_t sender = mlp_sender(shape, l), own = mlp_receiver(shape, l);
        patched[psc_edge_first(shape, own) + p->sender] = 1;
        for (int32_t r = own + 1; r < p->s->n_receivers; r++) {
            const int32_t layer = r / (3 * shape->n_heads + 1);
            const int live = p->receives[r] || (r == mlp_receiver(shape, layer) &&
                                                   layer < shape->n_layers && is_between(p, layer));
            if (!live) patched[psc_edge_first(shape, r) + sender] = 1;
        }
    }
}

/* --- what they carry -------------------------------------------------------------------------- */

/* A copy of this run's rows [rows, N] of a write, or of a residual. */
static float *copy(circuit_state *s, const float *rows) {
    const uint64_t bytes = (uint64_t)s->n_rows * (uint64_t)s->model->d_model * sizeof(float);
    float *to = s->host->run_alloc(s->context, bytes);
    return to ? memcpy(to, rows, (size_t)bytes) : NULL;
}

/* Puts n floats of the source's rows, from `first` on, in place of this run's. */
static void replace(
    const circuit_state *s, float *rows, const float *source, int64_t first, int64_t n) {
    for (int32_t r = 0; r < s->n_rows; r++) {
        const int64_t at = s->other_row[r], d = s->model->d_model;
        if (at >= 0)
            memcpy(rows + r * d + first, source + at * d + first, (size_t)n * sizeof *rows);
    }
}

/* change [rows, N]: what a head writes on the source prompt minus what it writes in this run. */
static int head_change(
    circuit_state *s, int32_t layer, int32_t head, const float *z, float *change) {
    const int64_t n = s->model->d_model, d = s->model->d_head, first = head * d;
    float *part = s->host->run_alloc(s->context, (uint64_t)n * sizeof *part);
    float *writes =
        s->host->run_alloc(s->context, (uint64_t)(s->shape.n_heads * n) * sizeof *writes);
    if (!part || !writes) return -1;
    memset(part, 0, (size_t)n * sizeof *part);
    for (int32_t r = 0; r < s->n_rows; r++) {
        for (int64_t i = first; i < first + d; i++)
            part[i] = z[r * n + i] - s->own.writes.z[layer][r * n + i];
        if (s->host->head_writes(s->context, layer, writes, part, 1)) return -1;
        memcpy(change + r * n, writes + head * n, (size_t)n * sizeof *change);
    }
    return 0;
}

/* Adds the change to the residuals that the sender writes into: resid_pre from layer `pre` on,
 * resid_mid from layer `mid` on. */
static int add_change(path *p, int32_t pre, int32_t mid, const float *change) {
    circuit_state *s = p->s;
    const int32_t layers = s->shape.n_layers;
    const int64_t all = (int64_t)s->n_rows * s->model->d_model;
    const float *const *from[] = {s->own.writes.resid_pre, s->own.writes.resid_mid};
    for (int kind = 0; kind < 2 && from[kind]; kind++) {
        const int32_t n = kind ? layers : layers + 1, first = kind ? mid : pre;
        const float **to = s->host->run_alloc(s->context, (uint64_t)n * sizeof *to);
        if (!to) return -1;
        for (int32_t l = 0; l < n; l++) {
            float *rows = l < first ? NULL : copy(s, from[kind][l]);
            if (l >= first && !rows) return -1;
            for (int64_t i = 0; rows && i < all; i++) rows[i] += change[i];
            to[l] = rows ? rows : from[kind][l];
        }
        if (kind)
            p->other.resid_mid = to;
        else
            p->other.resid_pre = to;
    }
    return 0;
}

/* A list of layers' rows with those of one layer replaced. */
static const float *const *with_layer(
    circuit_state *s, const float *const *list, int32_t layer, const float *rows) {
    const size_t bytes = (size_t)s->shape.n_layers * sizeof *list;
    const float **to = s->host->run_alloc(s->context, bytes);
    if (!to) return NULL;
    memcpy(to, list, bytes);
    to[layer] = rows;
    return to;
}

static int make_other(path *p) {
    circuit_state *s = p->s;
    const psc_writes *own = &s->own.writes, *source = &s->source.writes;
    const int64_t n = s->model->d_model, all = s->n_rows * n, d = s->model->d_head;
    const int32_t a_layer = s->shape.n_heads + 1, i = p->sender - 1;
    const int32_t layer = i < 0 ? -1 : i / a_layer, head = i < 0 ? -1 : i % a_layer;
    const int is_head = head >= 0 && head < s->shape.n_heads;
    const float *before = i < 0 ? own->embed : is_head ? own->z[layer] : own->mlp_out[layer];
    const float *there = i < 0     ? source->embed
                         : is_head ? source->z[layer]
                                   : source->mlp_out[layer];
    float *rows = copy(s, before), *change = rows ? copy(s, rows) : NULL;
    p->other = *own;
    if (!change) return -1;
    replace(s, rows, there, is_head ? head * d : 0, is_head ? d : n);
    if (is_head && head_change(s, layer, head, rows, change)) return -1;
    for (int64_t k = 0; !is_head && k < all; k++) change[k] = rows[k] - before[k];
    if (i < 0)
        p->other.embed = rows;
    else if (is_head)
        p->other.z = with_layer(s, own->z, layer, rows);
    else
        p->other.mlp_out = with_layer(s, own->mlp_out, layer, rows);
    if (!p->other.z || !p->other.mlp_out) return -1;
    return add_change(p, layer + 1, is_head ? layer : layer + 1, change);
}

/* --- the run ---------------------------------------------------------------------------------- */

/* The ends that all edges share. */
static int find_ends(path *p) {
    circuit_state *s = p->s;
    p->receives = s->host->run_alloc(s->context, (uint64_t)s->n_receivers);
    if (!p->receives) return -1;
    for (int64_t i = 0; i < p->edges.n; i++) {
        int32_t sender, receiver;
        circuit_ends(s, p->edges.at[i].edge, &sender, &receiver);
        const int32_t layer = receiver / (3 * s->shape.n_heads + 1);
        if (i > 0 && (sender != p->sender || layer != p->layer))
            return s->host->fail(s->context,
                "through=mlps: the edges of path= need one sender, and receivers of one layer");
        p->sender = sender;
        p->layer = layer;
        p->receives[receiver] = 1;
    }
    return 0;
}

int circuit_test_path(circuit_state *s) {
    path p = {.s = s};
    s->all += 1.0;
    if (circuit_read_path(s, s->path, &p.edges)) return -1;
    if (!s->through) return circuit_run(s, 1, mark_edges, &p, &s->path_value);
    return find_ends(&p) || make_other(&p) ||
           circuit_run_with(s, &p.other, NULL, 1, mark_ways, &p, &s->path_value);
}
