/* The rows of a run, some at a time: their vectors pass through the unembedding together, then each
 * row's lenses and changes are measured.
 *
 *   component c    f = W_U (gamma P(c)/sigma), one product and its moments for all its changes [V]
 *
 *   with s = 1 - alpha, k = sigma/sigma_{-sc} - 1, sigma_{-sc} that of x - s c:
 *   frozen_ln      dz = -s f
 *   recomputed_ln  dz = k (z - b) - (1 + k) s f = (S - s u.c)/sigma_{-sc} - S/sigma
 *   lens, step     dz = (z - b) of the state after, minus that of the state before
 *
 * Only n_items rows of logits exist at a time; each thread measures whole changes. */
#include "partition.h"

#include <math.h>
#include <string.h>

/* --- measuring ------------------------------------------------------------------------------- */

void partition_targets_changed(partition_state *s, const partition_before *before,
    const partition_delta *delta, int64_t change) {
    for (int32_t t = 0; t < s->n_targets; t++) {
        const int32_t a = s->ids[2 * t], b = s->ids[2 * t + 1];
        double value = a < 0 ? NAN : partition_dz(before, delta, a);
        if (a >= 0 && b >= 0) value -= partition_dz(before, delta, b);
        s->target_dz[change * s->n_targets + t] = value;
    }
}

static void measure(partition_state *s, const partition_before *before,
    const partition_delta *delta, int64_t change) {
    partition_measure_change(s, before, delta, &s->measures[change]);
    partition_targets_changed(s, before, delta, change);
}

/* The measuring of one row of a block. */
typedef struct row_job {
    partition_state *s;
    const partition_block *block;
    int64_t row; /* in the block */
} row_job;

static void build_before(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const row_job *job = payload;
    partition_state *s = job->s;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        if (i + 1 < s->n_lenses) s->before[i].z = s->z + i * s->n_vocab;
        partition_before_build(s, &s->before[i]);
    }
}

static void layer_change(partition_state *s, int32_t kind, int64_t l) {
    const int step = kind == PARTITION_STEP;
    const partition_before *before = &s->before[step ? l : s->n_layers];
    const partition_before *after = &s->before[step ? l + 1 : l];
    double moments[6];
    s->reductions->change_moments(
        moments, after->direct, before->direct, -1.0, before->p, (size_t)s->n_vocab);
    const partition_delta delta = {after->direct, 1.0, -1.0, 1.0, 0.0, moments, after};
    measure(s, before, &delta, s->first[kind] + l);
}

/* sigma/sigma_{-sc} - 1, without cancellation. */
static double rescale(
    const partition_state *s, const double final[3], const double part[2], double share) {
    const double n = (double)s->n_dims;
    const double left = fmax(final[1] - 2.0 * share * part[0] + share * share * part[1], 0.0);
    const double without = sqrt(left / n + s->eps);
    return (final[1] - left) / n / (without * (final[2] + without));
}

static void component_changes(const row_job *job, int32_t vector, int64_t item) {
    partition_state *s = job->s;
    const partition_before *before = &s->before[s->n_lenses - 1];
    const int64_t c = s->vectors[vector].component;
    const float *f = s->y + item * s->n_vocab;
    double moments[6];
    s->reductions->change_moments(moments, f, before->direct, 0.0, before->p, (size_t)s->n_vocab);
    for (int32_t v = 0; v < 2 * s->n_alphas; v++) {
        const int32_t kind = v < s->n_alphas ? PARTITION_FROZEN : PARTITION_RECOMPUTED;
        const double share = 1.0 - s->alphas[v % s->n_alphas];
        if (!s->asked[kind]) continue;
        double k = 0.0;
        if (kind == PARTITION_RECOMPUTED)
            k = rescale(s, s->finals + 3 * job->row, s->parts + 2 * item, share);
        const double by = -(1.0 + k) * share;
        const partition_delta delta = {f, by, k, by, k, moments, NULL};
        const int64_t at = s->first[kind] + (int64_t)(v % s->n_alphas) * s->n_components + c;
        measure(s, before, &delta, at);
    }
}

/* Tasks: the block's vectors, then, in the first group, the layers' steps and lenses. */
static void measure_tasks(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const row_job *job = payload;
    const partition_block *b = job->block;
    partition_state *s = job->s;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int32_t vector = b->begin + (int32_t)i;
        if (i >= b->count) {
            const int32_t kind = (i - b->count) / s->n_layers ? PARTITION_LENS : PARTITION_STEP;
            if (s->asked[kind]) layer_change(s, kind, (i - b->count) % s->n_layers);
        } else if (s->vectors[vector].component >= 0) {
            component_changes(job, vector, job->row * b->items + b->items - b->count + i);
        }
    }
}

/* --- a row ----------------------------------------------------------------------------------- */

static int resolve_targets(partition_state *s, const psc_row *row, int32_t slot, const float *z) {
    if (s->accumulating) {
        s->ids[0] = row->next;
        s->ids[1] = -1;
        return 0;
    }
    for (int32_t t = 0; t < s->n_targets; t++) {
        int32_t *ids = s->ids + 2 * t;
        if (s->host->target_ids(s->context, t, row, z, ids)) return -1;
        memcpy(s->targets.ids + 2 * ((int64_t)t * s->rows.n + slot), ids, 2 * sizeof *ids);
    }
    return 0;
}

/* Measures a row of the first group of vectors, with its lenses. */
static int first_group(const partition_block *b, const psc_row *row, int32_t at) {
    partition_state *s = b->s;
    const float *y = s->y + (int64_t)at * b->items * s->n_vocab;
    const int64_t layers = s->n_lenses > 1 ? 2 * s->n_layers : 0;
    row_job job = {s, b, at};
    if (resolve_targets(s, row, b->first + at, y) ||
        partition_lenses_row(s, b->first + at, y, s->finals[3 * at + 2]))
        return -1;
    s->host->parallel_for(s->context, s->n_lenses, build_before, &job);
    s->host->parallel_for(s->context, b->count + layers, measure_tasks, &job);
    return 0;
}

/* Measures the vectors of a row that the first group had no room for. */
static int more_groups(const partition_block *first) {
    partition_state *s = first->s;
    float *z = NULL;
    for (int32_t begin = first->count; begin < s->n_vectors;) {
        const int32_t left = s->n_vectors - begin;
        partition_block b = {s, first->first, 1, begin, 0, 0};
        b.count = b.items = left < s->n_items ? left : s->n_items;
        row_job job = {s, &b, 0};
        if (!z) { /* y is overwritten */
            z = s->z + (int64_t)(s->n_lenses - 1) * s->n_vocab;
            memcpy(z, s->before[s->n_lenses - 1].z, (size_t)s->n_vocab * sizeof *z);
            s->before[s->n_lenses - 1].z = z;
        }
        if (partition_unembed(&b)) return -1;
        s->host->parallel_for(s->context, b.count, measure_tasks, &job);
        begin += b.count;
    }
    return 0;
}

static int store_row(partition_state *s, const psc_row *rows, int32_t slot) {
    const psc_row *row = &rows[s->rows.index[slot]];
    if (!s->accumulating) {
        partition_arrays_row(s, slot);
        return 0;
    }
    const int ends =
        slot + 1 == s->rows.n || rows[s->rows.index[slot + 1]].sequence != row->sequence;
    partition_corpus_row(s);
    return ends ? partition_corpus_sequence(s) : 0;
}

/* --- all rows -------------------------------------------------------------------------------- */

/* b = W_U beta, computed once per instance. */
static int constants(partition_state *s) {
    if (s->constant) return 0;
    float *constant = s->host->life_alloc(s->context, (uint64_t)s->n_vocab * sizeof(float));
    if (!constant || s->host->apply(s->context, PSC_W_U, -1, constant, s->beta, 1)) return -1;
    s->constant = constant;
    return 0;
}

int partition_rows_compute(partition_state *s) {
    int32_t n_all = 0;
    const psc_row *rows = s->host->rows(s->context, &n_all);
    if (constants(s) || partition_fetch(s) || partition_lenses_begin(s)) return -1;
    partition_block b = {.s = s};
    b.count = s->n_vectors < s->n_items ? s->n_vectors : s->n_items - 1;
    b.items = b.count + 1;
    const int32_t most = s->n_items / b.items;
    for (; b.first < s->rows.n; b.first += b.rows) {
        b.rows = s->rows.n - b.first < most ? s->rows.n - b.first : most;
        if (s->host->cancelled(s->context)) return s->host->fail(s->context, "cancelled");
        if (partition_unembed(&b)) return -1;
        for (int32_t at = 0; at < b.rows; at++) {
            const int32_t slot = b.first + at;
            if (first_group(&b, &rows[s->rows.index[slot]], at) || more_groups(&b) ||
                store_row(s, rows, slot))
                return -1;
            s->host->progress(s->context, (s->ablation ? 0.5 : 1.0) * (slot + 1.0) / s->rows.n);
        }
    }
    return 0;
}
