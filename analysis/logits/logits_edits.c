/* The component `edit`: what editors add downstream of the shares' sources.
 *
 *   edit = (u_t . sum of (after - before) in the stream)/sigma_f
 *        + (gamma_f * t_bar) . (after - before) at ln_final.hook_normalized
 *        + (after - before) of the logit itself
 *
 * The stream's sum is kept per row, [rows, N] in f64, separately for the levels that it affects: an
 * edit of hook_mlp_out comes after the neurons' shares but before the share of l_mlp_out. Edits of
 * the sources themselves (hook_z, hook_post, hook_embed and all upstream) are inside the shares.
 * Level source reads v and the pattern, so for it an edit of z adds W_O (after - before). */
#include "logits.h"

#include <stddef.h>

static double *edit_rows(logits_run *run, logits_edit kind) {
    const uint64_t n = (uint64_t)run->targets.rows.n * (uint64_t)run->model->d_model;
    if (!run->edits[kind])
        run->edits[kind] = run->host->run_alloc(run->context, n * sizeof(double) + 1);
    return run->edits[kind];
}

/* Adds after - before, summed over heads if the tensor has them. */
static int keep(logits_run *run, logits_edit kind, const psc_event *event) {
    const int64_t n_dims = run->model->d_model;
    const psc_view *x = &event->tensor, *y = &event->before;
    if (!y->data) return 0;
    double *rows = edit_rows(run, kind);
    if (!rows) return -1;
    const int64_t heads = x->n_axes == 3 ? x->shape[1] : 1;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t slot = run->targets.rows.slot[event->rows[r].index];
        for (int64_t h = 0; slot >= 0 && h < heads; h++) {
            const float *after = x->data + r * x->stride[0] + (heads > 1 ? h * x->stride[1] : 0);
            const float *before = y->data + r * y->stride[0] + (heads > 1 ? h * y->stride[1] : 0);
            double *sum = rows + slot * n_dims;
            for (int64_t i = 0; i < n_dims; i++) sum[i] += (double)after[i] - (double)before[i];
        }
    }
    return 0;
}

static int on_stream(const psc_event *event, void *payload) {
    return keep(payload, EDIT_STREAM, event);
}

static int on_attention(const psc_event *event, void *payload) {
    return keep(payload, EDIT_ATTN, event);
}

/* An edit of hook_z reaches the stream through W_O. */
static int on_z(const psc_event *event, void *payload) {
    logits_run *run = payload;
    const psc_view *x = &event->tensor, *y = &event->before;
    const int64_t heads = run->model->n_heads, size = run->model->d_head;
    const int64_t n_dims = run->model->d_model;
    if (!y->data) return 0;
    double *rows = edit_rows(run, EDIT_Z);
    const uint64_t floats = (uint64_t)(heads * size + n_dims);
    if (!run->z_edit)
        run->z_edit = run->host->run_alloc(run->context, floats * sizeof *run->z_edit);
    float *work = run->z_edit;
    if (!rows || !work) return -1;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t slot = run->targets.rows.slot[event->rows[r].index];
        if (slot < 0) continue;
        for (int64_t i = 0; i < heads * size; i++) {
            const int64_t h = i / size, d = i % size;
            work[n_dims + i] = x->data[r * x->stride[0] + h * x->stride[1] + d] -
                               y->data[r * y->stride[0] + h * y->stride[1] + d];
        }
        if (run->host->apply(run->context, PSC_W_O, event->layer, work, work + n_dims, 1))
            return -1;
        for (int64_t i = 0; i < n_dims; i++) rows[slot * n_dims + i] += (double)work[i];
    }
    return 0;
}

static int on_mlp(const psc_event *event, void *payload) {
    return keep(payload, EDIT_MLP, event);
}

static int on_normalized(const psc_event *event, void *payload) {
    return keep(payload, EDIT_NORM, event);
}

typedef struct edit_point {
    psc_point point;
    psc_event_fn callback;
    int levels; /* bit mask of the levels whose sources are upstream of the point */
} edit_point;

#define ALL_LEVELS ((1 << LEVEL_COUNT) - 1)
#define HEADS_AND_FINER (ALL_LEVELS & ~(1 << LEVEL_LAYER))
static const edit_point POINTS[] = {
    {PSC_HOOK_RESID_PRE, on_stream, ALL_LEVELS}, {PSC_HOOK_RESID_MID, on_stream, ALL_LEVELS},
    {PSC_HOOK_RESID_POST, on_stream, ALL_LEVELS}, {PSC_HOOK_Z, on_z, 1 << LEVEL_SOURCE},
    {PSC_HOOK_RESULT, on_attention, HEADS_AND_FINER},
    {PSC_HOOK_ATTN_OUT, on_attention, HEADS_AND_FINER},
    {PSC_HOOK_MLP_OUT, on_mlp, 1 << LEVEL_NEURON},
    {PSC_HOOK_LN_FINAL_NORMALIZED, on_normalized, ALL_LEVELS},
    {PSC_HOOK_LOGITS, NULL, ALL_LEVELS}, /* logits_edits_logits takes it with the logits */
};
#define N_POINTS (sizeof POINTS / sizeof POINTS[0])

static int concerns(const logits_run *run, const edit_point *point) {
    if (point->point == PSC_HOOK_RESID_MID && run->model->parallel_residual) return 0;
    for (int i = 0; i < LEVEL_COUNT; i++)
        if (run->levels[i].asked && (point->levels >> i & 1)) return 1;
    return 0;
}

int logits_edits_observe(logits_run *run) {
    psc_filter filter = run->targets.rows.filter;
    filter.edited_only = 1;
    for (size_t i = 0; i < N_POINTS; i++) {
        if (!POINTS[i].callback || !concerns(run, &POINTS[i])) continue;
        if (run->host->observe(run->context, POINTS[i].point, &filter, POINTS[i].callback, run))
            return -1;
    }
    return 0;
}

int logits_edits_expected(logits_run *run) {
    const psc_host *host = run->host;
    if (host->struct_size < offsetof(psc_host, has_editor) + sizeof host->has_editor ||
        !host->has_editor)
        return 1;
    for (size_t i = 0; i < N_POINTS; i++)
        if (concerns(run, &POINTS[i]) && host->has_editor(run->context, POINTS[i].point)) return 1;
    return 0;
}

int logits_edits_logits(logits_run *run, const psc_event *event, int centered) {
    const psc_target_rows *targets = &run->targets;
    const int64_t n_vocab = run->model->d_vocab, n_rows = targets->rows.n;
    if (!event->before.data) return 0;
    if (!run->logit_edit)
        run->logit_edit = run->host->run_alloc(
            run->context, ((uint64_t)targets->n * (uint64_t)n_rows + 1) * sizeof(double));
    if (!run->logit_edit) return -1;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t slot = targets->rows.slot[event->rows[r].index];
        if (slot < 0) continue;
        const float *after = event->tensor.data + r * event->tensor.stride[0];
        const float *before = event->before.data + r * event->before.stride[0];
        const double mean =
            centered ? (psc_sum_striped(n_vocab, after) - psc_sum_striped(n_vocab, before)) /
                           (double)n_vocab
                     : 0.0;
        for (int32_t t = 0; t < targets->n; t++) {
            const int64_t at = t * n_rows + slot;
            const int32_t a = targets->ids[2 * at], b = targets->ids[2 * at + 1];
            if (a < 0) continue;
            run->logit_edit[at] = (double)after[a] - (double)before[a];
            run->logit_edit[at] -= b >= 0 ? (double)after[b] - (double)before[b] : mean;
        }
    }
    return 0;
}

/* (gamma_f * t_bar) . x of one target; work [2N]. */
static int unprojected(
    logits_run *run, int64_t at, const double *x, int centered, float *work, double *out) {
    const psc_host *host = run->host;
    const int64_t n_dims = run->model->d_model;
    const int32_t *ids = run->targets.ids + 2 * at;
    const float *gamma = NULL, *beta = NULL;
    const float *less = work + n_dims;
    if (host->ln_parameters(run->context, PSC_LN_FINAL, -1, &gamma, &beta)) return -1;
    if (host->unembedding(run->context, ids[0], work)) return -1;
    if (ids[1] >= 0 && host->unembedding(run->context, ids[1], work + n_dims)) return -1;
    if (ids[1] < 0) less = centered ? host->unembedding_mean(run->context) : NULL;
    double sums[16] = {0};
    for (int64_t i = 0; i < n_dims; i++) {
        const double t = (double)work[i] - (less ? (double)less[i] : 0.0);
        sums[i % 16] += (double)gamma[i] * t * x[i];
    }
    *out = psc_fold16(sums);
    return 0;
}

/* u . the stream's edits downstream of a level's sources. */
static double stream_edit(
    const logits_run *run, logits_level_id level, int32_t slot, const float *u) {
    const int64_t n_dims = run->model->d_model;
    double sum = 0.0;
    for (int kind = EDIT_STREAM; kind <= EDIT_Z; kind++) {
        const int after = kind == EDIT_STREAM || (kind == EDIT_ATTN && level != LEVEL_LAYER) ||
                          (kind == EDIT_MLP && level == LEVEL_NEURON) ||
                          (kind == EDIT_Z && level == LEVEL_SOURCE);
        if (after && run->edits[kind])
            sum += psc_dot_mixed(n_dims, run->edits[kind] + slot * n_dims, u);
    }
    return sum;
}

int logits_edits_finish(logits_run *run, logits_pass *pass, int centered) {
    const int64_t n_rows = run->targets.rows.n, n_dims = run->model->d_model;
    float *work = run->host->run_alloc(run->context, 2 * (uint64_t)n_dims * sizeof(float));
    if (!work) return -1;
    for (int64_t at = 0; at < run->targets.n * n_rows; at++) {
        const int32_t d = pass->directions.which[at], slot = (int32_t)(at % n_rows);
        double direct = 0.0;
        if (d < 0) continue;
        if (run->edits[EDIT_NORM] &&
            unprojected(run, at, run->edits[EDIT_NORM] + slot * n_dims, centered, work, &direct))
            return -1;
        if (run->logit_edit) direct += run->logit_edit[at];
        for (int i = 0; i < LEVEL_COUNT; i++) {
            logits_level *level = &run->levels[i];
            if (!level->asked) continue;
            const double stream = stream_edit(run, i, slot, pass->directions.u + d * n_dims);
            const float share = (float)(stream / (double)run->sigma[slot] + direct);
            level->shares[at * level->width + level->n] = share;
            level->sum[at] += (double)share;
            level->sum_abs[at] += share < 0 ? -(double)share : (double)share;
        }
    }
    return 0;
}
