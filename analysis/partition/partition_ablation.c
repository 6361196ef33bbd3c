/* Ablation: the run recomputed with a component multiplied by alpha at every row, and the change of
 * its logits, which includes the response of later layers.
 *
 *   embed, attn_out, mlp_out    scaled at their hook points      a head    scaled at hook_z
 *   attn_bias                   b_O (alpha - 1) is added to hook_attn_out
 *
 * The host computes the variants: one per component and factor, of one sequence at a time. Their
 * rows are measured PARTITION_GROUP at a time, each by one thread. */
#include "partition.h"

#include <math.h>
#include <string.h>

struct partition_ablation {
    int logits;          /* handle of the unchanged run's */
    const float **z;     /* [R] -> [V] */
    int32_t n;           /* variants */
    psc_change *changes; /* [n] */
    psc_variant *variants;
    partition_before before[PARTITION_GROUP];
    partition_delta deltas[PARTITION_GROUP];
    partition_measure measures[PARTITION_GROUP];
    float *dz; /* [GROUP, V] */
    /* the current group */
    const float *after[PARTITION_GROUP];
    int32_t slot[PARTITION_GROUP];
};

int partition_ablation_open(partition_state *s) {
    const psc_host *host = s->host;
    const uint64_t v = (uint64_t)s->n_vocab;
    partition_ablation *a = host->life_alloc(s->context, sizeof *a);
    if (!a) return -1;
    s->ablation = a;
    a->n = s->n_components * s->n_alphas;
    a->changes = host->life_alloc(s->context, (uint64_t)a->n * sizeof *a->changes);
    a->variants = host->life_alloc(s->context, (uint64_t)a->n * sizeof *a->variants);
    a->dz = host->life_alloc(s->context, PARTITION_GROUP * v * sizeof(float));
    for (int64_t i = 0; i < PARTITION_GROUP; i++)
        if (partition_before_reserve(s, &a->before[i])) return -1;
    return a->changes && a->variants && a->dz ? 0 : -1;
}

int partition_ablation_begin(partition_state *s) {
    s->ablation->logits = s->host->retain(s->context, PSC_HOOK_LOGITS, &s->rows.filter);
    return s->ablation->logits < 0 || s->host->prepare_variants(s->context) ? -1 : 0;
}

/* --- variants -------------------------------------------------------------------------------- */

static int make_variant(partition_state *s, int32_t i, const psc_row *first, const psc_row *last) {
    const partition_component *c = &s->components[i % s->n_components];
    psc_change *change = &s->ablation->changes[i];
    *change = (psc_change){.struct_size = sizeof *change,
        .kind = PSC_CHANGE_SCALE,
        .layer = c->layer,
        .sequence = first->sequence,
        .row_begin = first->position,
        .row_end = last->position + 1,
        .head = c->head,
        .key = -1,
        .alpha = (float)s->alphas[i / s->n_components]};
    change->point = c->kind == PSC_COMPONENT_EMBED     ? PSC_HOOK_EMBED
                    : c->kind == PSC_COMPONENT_HEAD    ? PSC_HOOK_Z
                    : c->kind == PSC_COMPONENT_MLP_OUT ? PSC_HOOK_MLP_OUT
                                                       : PSC_HOOK_ATTN_OUT;
    if (c->kind == PSC_COMPONENT_ATTN_BIAS) {
        change->kind = PSC_CHANGE_ADD;
        change->alpha = (float)(s->alphas[i / s->n_components] - 1.0);
        change->values = s->host->bias(s->context, PSC_W_O, c->layer);
        if (!change->values) return -1;
    }
    s->ablation->variants[i] = (psc_variant){sizeof(psc_variant), 1, change, 0, NULL, 0, NULL};
    return 0;
}

/* --- measuring ------------------------------------------------------------------------------- */

static void measure_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    partition_state *s = payload;
    partition_ablation *a = s->ablation;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        partition_before *before = &a->before[i];
        float *dz = a->dz + i * s->n_vocab;
        double moments[6];
        before->z = a->z[a->slot[i]];
        for (int64_t t = 0; t < s->n_vocab; t++) {
            before->direct[t] = before->z[t] - s->constant[t];
            dz[t] = a->after[i][t] - before->z[t];
        }
        partition_before_build(s, before);
        s->reductions->change_moments(
            moments, dz, before->direct, 0.0, before->p, (size_t)s->n_vocab);
        a->deltas[i] = (partition_delta){dz, 1.0, 0.0, 1.0, 0.0, moments, NULL};
        partition_measure_change(s, before, &a->deltas[i], &a->measures[i]);
        a->deltas[i].moments = NULL;
    }
}

/* Stores the group's n rows in the results of a change, in row order. */
static void store_rows(partition_state *s, int32_t n, int64_t change) {
    partition_ablation *a = s->ablation;
    int32_t n_all = 0;
    const psc_row *rows = s->host->rows(s->context, &n_all);
    for (int64_t i = 0; i < n; i++) {
        const int64_t slot = a->slot[i];
        for (int64_t t = 0; t < s->targets.n; t++)
            memcpy(s->ids + 2 * t, s->targets.ids + 2 * (t * s->rows.n + slot), 2 * sizeof *s->ids);
        if (s->accumulating) s->ids[0] = rows[s->rows.index[slot]].next;
        s->measures[change] = a->measures[i];
        partition_targets_changed(s, &a->before[i], &a->deltas[i], change);
        if (s->accumulating)
            partition_corpus_change(s, change, &a->before[i]);
        else
            partition_arrays_change(s, change, slot);
    }
}

static int on_variant(int32_t variant, const psc_event *event, void *payload) {
    partition_state *s = payload;
    partition_ablation *a = s->ablation;
    int32_t n = 0;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t slot = s->rows.slot[event->rows[r].index];
        if (slot >= 0) {
            a->slot[n] = slot;
            a->after[n++] = event->tensor.data + r * event->tensor.stride[0];
        }
        if (n < PARTITION_GROUP && (n == 0 || r + 1 < event->n_rows)) continue;
        s->host->parallel_for(s->context, n, measure_rows, s);
        store_rows(s, n, s->first[PARTITION_ABLATION] + variant);
        n = 0;
    }
    return s->host->cancelled(s->context);
}

/* Computes all variants of the rows first..last, which are one sequence. */
static int ablate_sequence(partition_state *s, const psc_row *first, const psc_row *last) {
    partition_ablation *a = s->ablation;
    const int32_t rows = s->rows.filter.rows == PSC_ROWS_LAST ? PSC_ROWS_LAST : PSC_ROWS_ALL;
    for (int32_t i = 0; i < a->n; i++)
        if (make_variant(s, i, first, last)) return -1;
    if (s->host->variants(s->context, a->n, a->variants, rows, on_variant, s)) return -1;
    return s->accumulating ? partition_corpus_sequence(s) : 0;
}

static int has_chosen(const partition_state *s, int32_t first, int32_t end) {
    for (int32_t r = first; r < end; r++)
        if (s->rows.slot[r] >= 0) return 1;
    return 0;
}

int partition_ablation_compute(partition_state *s) {
    partition_ablation *a = s->ablation;
    int32_t n_all = 0;
    const psc_row *rows = s->host->rows(s->context, &n_all);
    a->z = s->host->run_alloc(s->context, (uint64_t)s->rows.n * sizeof *a->z + 1);
    if (!a->z || psc_rows_fetch(s->context, s->host, &s->rows, a->logits, -1, a->z)) return -1;
    for (int32_t first = 0, end = 0; first < n_all; first = end) {
        while (end < n_all && rows[end].sequence == rows[first].sequence) end++;
        if (has_chosen(s, first, end) && ablate_sequence(s, &rows[first], &rows[end - 1]))
            return -1;
        s->host->progress(s->context, 0.5 + 0.5 * end / n_all);
    }
    return 0;
}
