/* The gradient of a metric m of the logits, from the logits to the embedding, over R rows of a run.
 *
 *   dz [n_logits, V] = dm/dz;  g [R, N] = LN_final's gradient of W_U^T dz, 0 at other rows;
 *   g through the layers, last first (backward_layer.c);  the embedding's gradient is g
 *
 * What it reads of the forward pass is copied by that pass (psc_destinations), so values are those
 * that editors left. Keys and values come from the cache. */
#include "backward_inside.h"

#include <stdlib.h>
#include <string.h>

/* Rows whose logits' gradient is shown at a time: few stay in a cache, many are a better product. */
#define LOGIT_ROWS 16
#define EDITED_LOGIT_ROWS 128

/* --- what the forward pass keeps ------------------------------------------------------------- */

float *psc_backward_keep(psc_backward *b, psc_destinations *kept, psc_point point, int32_t layer,
    float *data, size_t width, bool all) {
    const int32_t n = all ? 1 : b->n_logits;
    psc_destination *to = data ? psc_destinations_add(kept, point, layer, n) : NULL;
    if (!to) return NULL;
    psc_destination_part *parts = kept->parts + to->first_part;
    if (all)
        parts[0] = (psc_destination_part){0, b->n_rows, 0, b->n_rows, data};
    else
        memset(data, 0, (size_t)b->n_rows * width * sizeof *data);
    for (int32_t i = 0; !all && i < n; i++) {
        const int32_t row = b->logit_rows[i];
        parts[i] = (psc_destination_part){row, row + 1, 0, 1, data + (size_t)row * width};
    }
    return data + (size_t)b->n_rows * width;
}

/* In the last layer only the metric's rows have a gradient past keys and values, and the forward pass
 * computes no others. */
static float *keep_layers(psc_backward *b, psc_destinations *kept) {
    const bool parallel = b->with.model->config.parallel_residual;
    float *at = b->kept, *inside = b->inside.data;
    for (int32_t l = 0; l < (int32_t)b->n_layers; l++) {
        psc_kept_layer *layer = &b->kept_layers[l];
        const bool all = l + 1 < (int32_t)b->n_layers;
        layer->pre = at;
        at = psc_backward_keep(b, kept, PSC_HOOK_RESID_PRE, l, at, b->n, true);
        layer->mid = parallel ? NULL : at;
        if (!parallel) at = psc_backward_keep(b, kept, PSC_HOOK_RESID_MID, l, at, b->n, all);
        if (b->recompute) continue;
        layer->rot_q = inside;
        inside = psc_backward_keep(b, kept, PSC_HOOK_ROT_Q, l, inside, b->n, all);
        layer->a = inside;
        inside = psc_backward_keep(b, kept, PSC_HOOK_MLP_PRE, l, inside, b->m, all);
    }
    if (b->recompute) psc_backward_place_recomputed(b);
    if (!inside) return NULL;
    b->kept_final = at;
    return psc_backward_keep(
        b, kept, PSC_HOOK_RESID_POST, (int32_t)b->n_layers - 1, at, b->n, false);
}

/* The logits of the metric's rows, one after the other. */
static bool keep_logits(psc_backward *b, psc_destinations *kept) {
    psc_destination *to = psc_destinations_add(kept, PSC_HOOK_LOGITS, -1, b->n_logits);
    for (int32_t i = 0; to && i < b->n_logits; i++)
        kept->parts[to->first_part + i] = (psc_destination_part){
            b->logit_rows[i], b->logit_rows[i] + 1, 0, 1, b->logits + (size_t)i * b->ld_v};
    return to != NULL;
}

psc_status psc_backward_begin(psc_backward *b, psc_destinations *kept, const psc_row *rows,
    int32_t n_rows, const int32_t *logit_rows, int32_t n_logits, bool recompute, psc_error *error) {
    b->recompute = recompute;
    b->rows = rows;
    b->n_rows = n_rows;
    b->logit_rows = logit_rows;
    b->n_logits = n_logits;
    b->error = error;
    b->most_keys = 0;
    for (int32_t r = 0; r < n_rows; r++)
        if (rows[r].position >= b->most_keys) b->most_keys = rows[r].position + 1;
    psc_backward_drop_shown(b);
    psc_status status = psc_backward_reserve(b);
    if (status != PSC_OK) return status;
    b->n_segments = 0;
    for (int32_t r = 0; r < n_rows; r++) {
        b->n_keys[r] = rows[r].position + 1;
        if (r > 0 && rows[r].sequence == rows[r - 1].sequence)
            b->segments[b->n_segments - 1].rows++;
        else
            b->segments[b->n_segments++] = (psc_segment){r, 1};
    }
    status = psc_backward_keep_edits(b, kept);
    if (status != PSC_OK || (keep_layers(b, kept) && keep_logits(b, kept))) return status;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the gradient's copies");
}

float *psc_backward_logits(psc_backward *b, int32_t slot) {
    return b->logits + (size_t)slot * b->ld_v;
}

const double *psc_backward_values(const psc_backward *b) {
    return b->values;
}

/* --- showing --------------------------------------------------------------------------------- */

/* The layer of a point at present; -1 where there is none. */
static int32_t layer_of(const psc_backward *b, psc_point point) {
    return psc_point_has_layer(point) ? b->layer : -1;
}

/* Whether anyone but what goes through edits selects it. */
static bool shows(const psc_backward *b, psc_point point) {
    const int32_t layer = layer_of(b, point);
    return psc_registry_wants(b->with.gradients, point, layer, b->rows, b->n_rows) ||
           psc_destinations_want(b->copies, point, layer, b->rows, b->n_rows);
}

static bool goes_through(const psc_backward *b, psc_point point) {
    return psc_registry_goes_through(
        b->with.gradients, point, layer_of(b, point), b->rows, b->n_rows);
}

bool psc_backward_wants(const psc_backward *b, psc_point point) {
    return shows(b, point) || goes_through(b, point);
}

bool psc_backward_watches(const psc_backward *b, psc_point point) {
    return psc_registry_wants(b->with.gradients, point, layer_of(b, point), b->rows, b->n_rows) ||
           goes_through(b, point);
}

bool psc_backward_edits(const psc_backward *b, psc_point point) {
    return goes_through(b, point) ||
           psc_registry_edits(b->with.gradients, point, layer_of(b, point), b->rows, b->n_rows);
}

typedef struct copy_job {
    const psc_backward *b;
    psc_point point;
    int32_t first; /* row of the view's first */
    const psc_view *view;
} copy_job;

static void copy_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const copy_job *job = payload;
    const psc_backward *b = job->b;
    psc_destinations_take(b->copies, job->point, layer_of(b, job->point), b->rows + job->first,
        job->view, begin, end);
}

/* Shows rows first..first+n-1. */
static psc_status show_some(
    psc_backward *b, psc_point point, int32_t first, int32_t n, const psc_view *view) {
    const int32_t layer = layer_of(b, point);
    psc_status status =
        psc_registry_deliver(b->with.gradients, point, layer, b->rows + first, n, view, b->error);
    copy_job job = {b, point, first, view};
    if (status == PSC_OK && psc_destinations_want(b->copies, point, layer, b->rows + first, n))
        psc_team_for(b->with.team, n, copy_rows, &job);
    if (status != PSC_OK) return status;
    return psc_registry_go_through(
        b->with.gradients, point, layer, b->rows + first, n, view, b->error);
}

psc_status psc_backward_show(psc_backward *b, psc_point point, const psc_view *view) {
    return psc_backward_wants(b, point) ? show_some(b, point, 0, b->n_rows, view) : PSC_OK;
}

psc_status psc_backward_show_rows(
    psc_backward *b, psc_point point, float *data, size_t width, size_t ld) {
    const psc_view view = {data, 2, {b->n_rows, (int64_t)width}, {(int64_t)ld, 1}};
    return psc_backward_show(b, point, &view);
}

psc_status psc_backward_show_heads(psc_backward *b, psc_point point, float *data) {
    const psc_view view = {data, 3, {b->n_rows, (int64_t)b->heads, (int64_t)b->d_head},
        {(int64_t)b->ld_n, (int64_t)b->d_head, 1}};
    return psc_backward_show(b, point, &view);
}

/* --- products -------------------------------------------------------------------------------- */

typedef struct pull_job {
    const psc_backward *b;
    psc_pullback_f32_fn kernel;
    psc_pullback all;
    float *split; /* the rows for all.split */
} pull_job;

static void pull_range(int64_t begin, int64_t end, int thread, void *payload) {
    const pull_job *job = payload;
    psc_pullback p = job->all;
    const size_t last = p.k_begin + (size_t)end * PSC_PULL_KS;
    p.room = psc_forward_room(job->b->with.forward, thread);
    p.k_begin += (size_t)begin * PSC_PULL_KS;
    if (last < p.k_end) p.k_end = last;
    job->kernel(&p);
}

static void split_rows(int64_t begin, int64_t end, int thread, void *payload) {
    const pull_job *job = payload;
    const psc_pullback *p = &job->all;
    (void)thread;
    for (size_t r = (size_t)begin; r < (size_t)end; r++)
        job->b->with.kernels->split_lanes(job->split + r * p->ld_split, p->u + r * p->ldu, p->out);
}

void psc_backward_pull(psc_backward *b, const psc_packed *w, float *y, size_t ldy, const float *u,
    size_t ldu, size_t rows, size_t k_begin, size_t k_end) {
    pull_job job = {b, b->with.kernels->pullback[w->dtype],
        {.y = y,
            .ldy = ldy,
            .u = u,
            .ldu = ldu,
            .w = w->panels,
            .rows = rows,
            .k = w->k,
            .out = w->out,
            .k_begin = k_begin,
            .k_end = k_end,
            .ld_split = b->ld_split},
        b->split};
    const size_t groups = (k_end - k_begin + PSC_PULL_KS - 1) / PSC_PULL_KS;
    if (rows == 0) return;
    if (rows >= PSC_SPLIT_ROWS && psc_padded(w->out) <= b->ld_split) {
        psc_team_for(b->with.team, (int64_t)rows, split_rows, &job);
        job.all.split = b->split;
    }
    psc_team_for(b->with.team, (int64_t)groups, pull_range, &job);
}

bool psc_backward_is_sparse(const psc_backward *b) {
    return b->layer + 1 == (int32_t)b->n_layers && !psc_registry_any_editor(b->with.gradients);
}

size_t psc_backward_stretch(const psc_backward *b, int32_t *slot, size_t *first) {
    int32_t i = *slot;
    if (i >= b->n_logits) return 0;
    *first = (size_t)b->logit_rows[i++];
    while (i < b->n_logits && b->logit_rows[i] == b->logit_rows[i - 1] + 1) i++;
    const size_t n = (size_t)(i - *slot);
    *slot = i;
    return n;
}

void psc_backward_pull_live(
    psc_backward *b, const psc_packed *w, float *y, size_t ldy, const float *u, size_t ldu) {
    if (!psc_backward_is_sparse(b)) {
        psc_backward_pull(b, w, y, ldy, u, ldu, (size_t)b->n_rows, 0, w->k);
        return;
    }
    for (size_t r = 0; r < (size_t)b->n_rows; r++) memset(y + r * ldy, 0, w->k * sizeof *y);
    int32_t slot = 0;
    for (size_t row, n; (n = psc_backward_stretch(b, &slot, &row)) > 0;)
        psc_backward_pull(b, w, y + row * ldy, ldy, u + row * ldu, ldu, n, 0, w->k);
}

/* --- the pass -------------------------------------------------------------------------------- */

int32_t psc_backward_logit_rows(bool edited) {
    return edited ? EDITED_LOGIT_ROWS : LOGIT_ROWS;
}

/* Shows the logits' gradient, of which rows outside the metric are 0. If an editor may change it, also
 * pulls it back, all rows of it. */
static psc_status show_logits(psc_backward *b, bool edited) {
    const psc_packed *w = &b->with.model->unembed;
    const int32_t most = psc_backward_logit_rows(edited);
    float *tile = psc_forward_grow(&b->whole, (size_t)most * b->ld_v, b->error);
    if (!tile) return PSC_ERROR_MEMORY;
    psc_status status = PSC_OK;
    for (int32_t first = 0, slot = 0, n; first < b->n_rows && status == PSC_OK; first += n) {
        n = b->n_rows - first < most ? b->n_rows - first : most;
        if (first == 0 || edited) memset(tile, 0, (size_t)n * b->ld_v * sizeof *tile);
        const int32_t first_slot = slot;
        for (; slot < b->n_logits && b->logit_rows[slot] < first + n; slot++)
            memcpy(tile + (size_t)(b->logit_rows[slot] - first) * b->ld_v,
                psc_backward_logits(b, slot), b->v * sizeof *tile);
        const psc_view view = {tile, 2, {n, (int64_t)b->v}, {(int64_t)b->ld_v, 1}};
        status = show_some(b, PSC_HOOK_LOGITS, first, n, &view);
        if (edited)
            psc_backward_pull(
                b, w, b->g + (size_t)first * b->ld_n, b->ld_n, tile, b->ld_v, (size_t)n, 0, b->n);
        for (int32_t i = first_slot; i < slot; i++)
            memset(tile + (size_t)(b->logit_rows[i] - first) * b->ld_v, 0, b->v * sizeof *tile);
    }
    return status;
}

/* g = W_U^T dz; only the metric's rows have a dz. */
static psc_status unembed(psc_backward *b) {
    if (psc_backward_wants(b, PSC_HOOK_LOGITS)) {
        const bool edited = psc_backward_edits(b, PSC_HOOK_LOGITS);
        const psc_status status = show_logits(b, edited);
        if (status != PSC_OK || edited) return status;
    }
    memset(b->g, 0, (size_t)b->n_rows * b->ld_n * sizeof *b->g);
    psc_backward_pull(b, &b->with.model->unembed, b->dz, b->ld_n, b->logits, b->ld_v,
        (size_t)b->n_logits, 0, b->n);
    for (int32_t i = 0; i < b->n_logits; i++)
        memcpy(b->g + (size_t)b->logit_rows[i] * b->ld_n, b->dz + (size_t)i * b->ld_n,
            b->n * sizeof *b->g);
    return PSC_OK;
}

static psc_status check_stop(const psc_backward *b, int (*stop)(void *payload), void *payload) {
    if (!stop || !stop(payload)) return PSC_OK;
    return psc_fail(b->error, PSC_ERROR_CANCELLED, "the run was cancelled");
}

/* The first layer whose gradients anything requests; n_layers for points behind all layers, and one
 * more for none at all. */
static int32_t first_layer(const psc_backward *b) {
    static const psc_point behind[] = {
        PSC_HOOK_LN_FINAL_SCALE, PSC_HOOK_LN_FINAL_NORMALIZED, PSC_HOOK_LOGITS};
    const int32_t n_layers = (int32_t)b->n_layers;
    if (shows(b, PSC_HOOK_EMBED)) return 0;
    for (int32_t l = 0; l < n_layers; l++)
        if (psc_registry_wants_layer(b->with.gradients, l, false) ||
            psc_destinations_want_layer(b->copies, l, false))
            return l;
    for (size_t i = 0; i < sizeof behind / sizeof *behind; i++)
        if (shows(b, behind[i])) return n_layers;
    return n_layers + 1;
}

psc_status psc_backward_run(psc_backward *b, double *value, const psc_metric_part *terms, int32_t n,
    const psc_destinations *copies, int (*stop)(void *payload), void *payload, psc_error *error) {
    b->copies = copies;
    b->error = error;
    b->layer = -1;
    if ((size_t)n > b->value_room) {
        free(b->values);
        b->value_room = 0;
        b->values = malloc((size_t)n * sizeof *b->values);
        if (!b->values)
            return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for %d terms", (int)n);
        b->value_room = (size_t)n;
    }
    psc_backward_metric(b, value, terms, n);
    const int32_t first = first_layer(b);
    if (first > (int32_t)b->n_layers) return PSC_OK;
    const psc_backward_site site = {&b->with.model->ln_final, b->kept_final, b->final_scale,
        PSC_HOOK_LN_FINAL_SCALE, PSC_HOOK_LN_FINAL_NORMALIZED};
    psc_status status = unembed(b);
    if (status == PSC_OK) status = psc_backward_norm(b, b->g, &site);
    for (int32_t l = (int32_t)b->n_layers - 1; l >= first && status == PSC_OK; l--) {
        b->layer = l;
        status = check_stop(b, stop, payload);
        if (status == PSC_OK && b->recompute) psc_backward_recompute(b);
        if (status == PSC_OK) status = psc_backward_layer(b);
    }
    b->layer = -1;
    if (status != PSC_OK || first > 0) return status;
    return psc_backward_show_rows(b, PSC_HOOK_EMBED, b->g, b->n, b->ld_n);
}
