/* The metric of a sweep, before and after a change.
 *
 *   metric: z of the target (z_a - z_b), log p of it = z - log Z, or
 *   KL(before || after) = sum_t p_t (log p_t - log p'_t)
 *   effect = metric after minus before, at the last row; `next`: at the last row with a next token
 *   normalized = effect / (source - before) */
#include "sweep.h"

#include <math.h>

int32_t sweep_slot(const sweep_state *s, const sweep_part *part, int32_t target) {
    int32_t slot = part->slot + part->n_slots - 1;
    if (s->metric == SWEEP_KL) return slot;
    const int32_t *ids = s->targets.ids + 2 * (int64_t)target * s->chosen.n;
    while (slot >= part->slot && ids[2 * slot] < 0) slot--;
    return slot < part->slot ? -1 : slot;
}

static double divergence(const sweep_state *s, int32_t part, int32_t slot, const float *z) {
    const float *p = s->p + (int64_t)part * s->n_vocab,
                *base = s->base + (int64_t)slot * s->n_vocab;
    const double lse = s->host->log_sum_exp(s->context, s->n_vocab, z);
    double sum = 0;
    for (int64_t t = 0; t < s->n_vocab; t++)
        sum += (double)p[t] * ((base[t] - s->base_lse[slot]) - (z[t] - lse));
    return sum;
}

/* The metric of the ids of a target at a chosen row. */
static double target_value(const sweep_state *s, int32_t target, int32_t slot, const float *z) {
    const int32_t *ids = s->targets.ids + 2 * ((int64_t)target * s->chosen.n + slot);
    double value = z[ids[0]];
    if (ids[1] >= 0) return value - z[ids[1]];
    if (s->metric != SWEEP_LOG_PROB) return value;
    return value - s->host->log_sum_exp(s->context, s->n_vocab, z);
}

int sweep_pick(sweep_state *s) {
    int32_t *to = s->picked = NULL;
    if (s->metric != SWEEP_LOGIT || s->n_targets > SWEEP_MOST_PICKED) return 0;
    to = s->host->run_alloc(
        s->context, (uint64_t)s->rows.n_parts * (uint64_t)s->n_targets * 2 * sizeof *to);
    if (!to) return -1;
    s->picked = to;
    for (int32_t i = 0; i < s->rows.n_parts; i++)
        for (int32_t t = 0; t < s->n_targets; t++, to += 2) {
            const int32_t slot = sweep_slot(s, &s->rows.parts[i], t);
            if (slot < 0) continue;
            const int32_t *ids = s->targets.ids + 2 * ((int64_t)t * s->chosen.n + slot);
            to[0] = ids[0];
            to[1] = ids[1] >= 0 ? ids[1] : ids[0];
        }
    return 0;
}

/* The logit metric from the picked logits of a row. */
static double picked_value(const sweep_state *s, int32_t target, int32_t slot, const float *z) {
    const int32_t *ids = s->targets.ids + 2 * ((int64_t)target * s->chosen.n + slot);
    const double value = z[2 * target];
    return ids[1] >= 0 ? value - z[2 * target + 1] : value;
}

static double *effect_at(sweep_state *s, int32_t part, int32_t target, int64_t at) {
    return s->effect + ((int64_t)part * s->n_targets + target) * s->n_cells + at;
}

void sweep_put_zero(sweep_state *s, int32_t part, int64_t at) {
    for (int32_t t = 0; t < s->n_targets; t++)
        if (sweep_slot(s, &s->rows.parts[part], t) >= 0) *effect_at(s, part, t, at) = 0.0;
}

/* A variant's event begins at the first row that it changes; earlier rows are unchanged. */
int sweep_on_logits(int32_t variant, const psc_event *logits, void *payload) {
    sweep_state *s = payload;
    const sweep_cell *cell = &s->cells[variant];
    const sweep_part *part = &s->rows.parts[cell->part];
    for (int32_t t = 0; t < s->n_targets; t++) {
        const int32_t slot = sweep_slot(s, part, t);
        if (slot < 0) continue;
        const int32_t row = s->chosen.index[slot] - logits->rows[0].index;
        double *out = effect_at(s, cell->part, t, cell->at);
        if (row < 0)
            *out = 0.0;
        else if (s->metric == SWEEP_KL)
            *out = divergence(s, cell->part, slot, psc_view_row(&logits->tensor, row));
        else
            *out = (s->picked ? picked_value : target_value)(
                       s, t, slot, psc_view_row(&logits->tensor, row)) -
                   s->base_value[(int64_t)cell->part * s->n_targets + t];
    }
    return s->host->cancelled(s->context);
}

static void measure_divergence(sweep_state *s) {
    for (int32_t i = 0; i < s->rows.n_parts; i++) {
        const int32_t slot = sweep_slot(s, &s->rows.parts[i], 0);
        const float *base = s->base + (int64_t)slot * s->n_vocab;
        float *p = s->p + (int64_t)i * s->n_vocab;
        s->base_lse[slot] = s->host->log_sum_exp(s->context, s->n_vocab, base);
        for (int64_t t = 0; t < s->n_vocab; t++) p[t] = (float)(base[t] - s->base_lse[slot]);
        s->host->exp(s->context, s->n_vocab, p, p);
    }
}

/* The source's chosen row that is as far from its end; null if the source is shorter. */
static const float *source_logits(const sweep_state *s, const sweep_part *part, int32_t slot) {
    const sweep_part *from = sweep_source_of(s, part);
    const int32_t back = part->slot + part->n_slots - slot;
    if (!from || back > from->n_slots) return NULL;
    return (const float *)s->source.logits.at +
           (int64_t)(from->slot + from->n_slots - back) * s->n_vocab;
}

/* One sequence's values are lists; the host keeps them beside the array. */
static int append(const sweep_state *s, const char *name, const double *values) {
    for (int32_t t = 0; !s->is_set && t < s->n_targets; t++)
        if (s->host->append_number(s->context, name, values[t])) return -1;
    return 0;
}

int sweep_measure(sweep_state *s) {
    if (s->metric == SWEEP_KL) {
        measure_divergence(s);
        return 0;
    }
    for (int32_t i = 0; i < s->rows.n_parts; i++)
        for (int32_t t = 0; t < s->n_targets; t++) {
            const sweep_part *part = &s->rows.parts[i];
            const int64_t at = (int64_t)i * s->n_targets + t;
            const int32_t slot = sweep_slot(s, part, t);
            s->base_value[at] = NAN;
            if (s->source_value) s->source_value[at] = NAN;
            if (slot < 0) continue;
            s->base_value[at] = target_value(s, t, slot, s->base + (int64_t)slot * s->n_vocab);
            const float *z = s->source_value ? source_logits(s, part, slot) : NULL;
            if (z) s->source_value[at] = target_value(s, t, slot, z);
        }
    if (append(s, "base", s->base_value)) return -1;
    return s->source_value ? append(s, "source", s->source_value) : 0;
}

/* NaN where the source's value is this run's, so that there is no scale. */
void sweep_normalize(sweep_state *s) {
    for (int64_t i = 0; i < (int64_t)s->rows.n_parts * s->n_targets; i++) {
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): "normalized" goes with a source
        const double scale = s->source_value[i] - s->base_value[i];
        for (int64_t at = i * s->n_cells; at < (i + 1) * s->n_cells; at++)
            s->normalized[at] = scale == 0.0 ? NAN : s->effect[at] / scale;
    }
}
