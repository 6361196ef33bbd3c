/* The variants of a sweep and their metric.
 *
 *   effect = metric after minus before, at the last row; `next`: at the last row with a next token
 *   metric: z of the target (z_a - z_b), log p of it = z - log Z, or
 *   KL(before || after) = sum_t p_t (log p_t - log p'_t)
 *
 * Variants run layer by layer, and within a layer from the last position to the first. The host
 * then finds the keys and values of earlier rows in place. */
#include "sweep.h"

#include <math.h>
#include <string.h>

#define VARIANTS_A_CALL 256

int64_t sweep_width(const sweep_state *s) {
    if (s->over == SWEEP_EDGES) return (int64_t)s->n_heads * s->n_rows;
    return s->d_model;
}

int32_t sweep_layers_kept(const sweep_state *s) {
    return s->over == SWEEP_EDGES ? 1 : s->n_layers;
}

/* --- the metric ------------------------------------------------------------------------------ */

static double divergence(const sweep_state *s, const float *z, double lse) {
    double sum = 0;
    for (int64_t t = 0; t < s->n_vocab; t++)
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a divergence is measured of logits
        sum += (double)s->p[t] * ((s->base[t] - s->base_lse[0]) - (z[t] - lse));
    return sum;
}

/* The metric of a target at one of the rows. */
static double target_value(
    const sweep_state *s, int32_t target, int32_t slot, const float *z, double lse) {
    const int32_t *ids = s->targets.ids + 2 * ((int64_t)target * s->rows.n + slot);
    double value = z[ids[0]];
    if (ids[1] >= 0) return value - z[ids[1]];
    return s->metric == SWEEP_LOG_PROB ? value - lse : value;
}

/* A variant's event begins at the first row that it changes; earlier rows are unchanged. */
static int on_logits(int32_t variant, const psc_event *logits, void *payload) {
    sweep_state *s = payload;
    const float *z[2] = {NULL, NULL};
    double lse[2] = {0};
    for (int32_t slot = 0; slot < s->rows.n; slot++) {
        const int32_t at = s->rows.index[slot] - logits->rows[0].index;
        if (at < 0) continue;
        z[slot] = logits->tensor.data + at * logits->tensor.stride[0];
        if (s->metric != SWEEP_LOGIT)
            lse[slot] = s->host->log_sum_exp(s->context, s->n_vocab, z[slot]);
    }
    for (int32_t t = 0; t < s->n_targets; t++) {
        double *out = s->effect + t * s->n_cells + s->cells[variant];
        const int32_t slot = s->metric == SWEEP_KL ? 0 : psc_target_last(&s->targets, t);
        if (slot < 0) continue;
        if (s->metric == SWEEP_KL)
            *out = divergence(s, z[slot], lse[slot]);
        else if (z[slot])
            *out = target_value(s, t, slot, z[slot], lse[slot]) - s->base_value[t];
        else
            *out = 0.0;
    }
    return s->host->cancelled(s->context);
}

static int measure_base(sweep_state *s) {
    const psc_host *host = s->host;
    for (int32_t slot = 0; slot < s->rows.n; slot++)
        s->base_lse[slot] =
            host->log_sum_exp(s->context, s->n_vocab, s->base + (int64_t)slot * s->n_vocab);
    if (s->metric == SWEEP_KL) {
        for (int64_t t = 0; t < s->n_vocab; t++) s->p[t] = (float)(s->base[t] - s->base_lse[0]);
        host->exp(s->context, s->n_vocab, s->p, s->p);
        return 0;
    }
    for (int32_t t = 0; t < s->n_targets; t++) {
        const int32_t slot = psc_target_last(&s->targets, t);
        const float *z = s->base + (int64_t)slot * s->n_vocab;
        s->base_value[t] = slot < 0 ? NAN : target_value(s, t, slot, z, s->base_lse[slot]);
        if (host->append_number(s->context, "base", s->base_value[t])) return -1;
    }
    return 0;
}

/* The metric on the source prompt, of the tokens and at the row that this run's targets have. */
static int measure_source(sweep_state *s) {
    const psc_host *host = s->host;
    for (int32_t t = 0; t < s->n_targets; t++) {
        const int32_t slot = psc_target_last(&s->targets, t);
        const float *z = s->source_logits + (int64_t)slot * s->n_vocab;
        s->source_value[t] =
            slot < 0 ? NAN
                     : target_value(s, t, slot, z, host->log_sum_exp(s->context, s->n_vocab, z));
        if (host->append_number(s->context, "source", s->source_value[t])) return -1;
    }
    return 0;
}

/* NaN where the source's value is this run's, so that there is no scale. */
static void normalize(sweep_state *s) {
    for (int32_t t = 0; t < s->n_targets; t++) {
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): "normalized" goes with a source
        const double scale = s->source_value[t] - s->base_value[t];
        for (int64_t i = t * s->n_cells; i < (t + 1) * s->n_cells; i++)
            s->normalized[i] = scale == 0.0 ? NAN : s->effect[i] / scale;
    }
}

/* --- the changed values ---------------------------------------------------------------------- */

/* Computes the mean over the run's rows for every layer. */
static int find_means(sweep_state *s) {
    const int64_t width = sweep_width(s);
    s->mean = s->host->run_alloc(s->context, (uint64_t)(s->n_layers * width) * sizeof *s->mean);
    if (!s->mean) return -1;
    for (int32_t l = 0; l < s->n_layers; l++) {
        psc_event kept;
        if (s->host->fetch(s->context, s->retained, l, &kept)) return -1;
        for (int64_t i = 0; i < width; i++) {
            double sum = 0;
            for (int32_t r = 0; r < s->n_rows; r++) sum += kept.tensor.data[r * width + i];
            s->mean[l * width + i] = (float)(sum / s->n_rows);
        }
    }
    return 0;
}

/* Sets the values of a change of head h (-1: none) at row r of layer l, key j (edges). */
static void put_values(
    const sweep_state *s, psc_change *c, int32_t l, int32_t h, int32_t r, int32_t j) {
    const int64_t width = sweep_width(s), within = h >= 0 ? (int64_t)h * s->d_head : 0;
    if (s->what == SWEEP_MEAN) {
        c->kind = PSC_CHANGE_SET;
        c->values = s->mean + l * width + within;
    } else if (s->what == SWEEP_PATCH && s->over == SWEEP_EDGES) {
        c->kind = PSC_CHANGE_SET;
        c->values = s->source + r * width + (int64_t)h * s->n_rows + j;
    } else if (s->what == SWEEP_PATCH) {
        c->kind = PSC_CHANGE_SET;
        c->values = s->source + ((int64_t)l * s->n_rows + r) * width + within;
        c->stride = width;
    } else if (s->what == SWEEP_CUT) {
        c->kind = PSC_CHANGE_CUT;
    }
}

/* --- all variants ---------------------------------------------------------------------------- */

typedef struct batch {
    sweep_state *s;
    psc_change *changes;
    psc_variant *variants;
    int32_t n;
    int64_t done, all;
} batch;

static int flush(batch *b) {
    const psc_host *host = b->s->host;
    if (b->n == 0) return 0;
    const int before = b->s->rows.index[0] < b->s->n_rows - 1; /* an earlier row is needed */
    if (host->variants(b->s->context, b->n, b->variants, before ? PSC_ROWS_ALL : PSC_ROWS_LAST,
            on_logits, b->s))
        return -1;
    b->done += b->n;
    b->n = 0;
    host->progress(b->s->context, (double)b->done / (double)b->all);
    return 0;
}

/* Adds one variant, which changes the rows r..end-1. */
static int add(batch *b, int32_t l, int32_t h, int32_t r, int32_t end, int32_t j, int64_t cell) {
    sweep_state *s = b->s;
    const int32_t first = s->run_rows[0].position;
    psc_change *c = &b->changes[b->n];
    *c = (psc_change){.struct_size = sizeof *c,
        .kind = PSC_CHANGE_SCALE,
        .point = s->point,
        .layer = l,
        .sequence = s->run_rows[0].sequence,
        .row_begin = first + r,
        .row_end = first + end,
        .head = h,
        .key = j};
    put_values(s, c, l, h, r, j);
    b->variants[b->n] = (psc_variant){sizeof(psc_variant), 1, c, 0};
    s->cells[b->n++] = cell;
    return b->n == VARIANTS_A_CALL ? flush(b) : 0;
}

static int add_heads(batch *b) {
    const sweep_state *s = b->s;
    for (int32_t l = 0; l < s->n_layers; l++)
        for (int32_t h = 0; h < s->n_heads; h++)
            if (add(b, l, h, 0, s->n_rows, -1, (int64_t)l * s->n_heads + h)) return -1;
    return 0;
}

static int add_heads_by_pos(batch *b) {
    const sweep_state *s = b->s;
    for (int32_t l = 0; l < s->n_layers; l++)
        for (int32_t r = s->n_rows; r-- > 0;)
            for (int32_t h = 0; h < s->n_heads; h++) {
                const int64_t cell = ((int64_t)l * s->n_heads + h) * s->n_rows + r;
                if (add(b, l, h, r, r + 1, -1, cell)) return -1;
            }
    return 0;
}

static int add_layers_by_pos(batch *b) {
    const sweep_state *s = b->s;
    for (int32_t l = 0; l < s->n_layers; l++)
        for (int32_t r = s->n_rows; r-- > 0;)
            if (add(b, l, -1, r, r + 1, -1, (int64_t)l * s->n_rows + r)) return -1;
    return 0;
}

/* Row 0 sees no key except itself, so its edge cannot be cut. */
static int add_edges(batch *b) {
    const sweep_state *s = b->s;
    for (int32_t k = s->n_rows; k-- > 0;)
        for (int32_t h = 0; h < s->n_heads; h++)
            for (int32_t j = 0; j <= k; j++) {
                const int64_t cell = ((int64_t)h * s->n_rows + k) * s->n_rows + j;
                if (s->what == SWEEP_CUT && k == 0) continue;
                if (add(b, s->layer, h, k, k + 1, j, cell)) return -1;
            }
    return 0;
}

int sweep_compute(sweep_state *s) {
    if (s->metric != SWEEP_KL && psc_targets_required(&s->targets)) return -1;
    batch b = {.s = s, .all = s->n_cells};
    b.changes = s->host->run_alloc(s->context, VARIANTS_A_CALL * sizeof *b.changes);
    b.variants = s->host->run_alloc(s->context, VARIANTS_A_CALL * sizeof *b.variants);
    s->cells = s->host->run_alloc(s->context, VARIANTS_A_CALL * sizeof *s->cells);
    if (!b.changes || !b.variants || !s->cells || measure_base(s)) return -1;
    if (s->what == SWEEP_MEAN && find_means(s)) return -1;
    if (s->source_value && measure_source(s)) return -1;
    int failed = 0;
    if (s->over == SWEEP_HEADS)
        failed = add_heads(&b);
    else if (s->over == SWEEP_HEADS_BY_POS)
        failed = add_heads_by_pos(&b);
    else if (s->over == SWEEP_EDGES)
        failed = add_edges(&b);
    else
        failed = add_layers_by_pos(&b);
    if (failed || flush(&b)) return -1;
    if (s->normalized) normalize(s);
    return 0;
}
