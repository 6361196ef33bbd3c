/* Targets at the chosen rows: ids, names, and directions in the residual.
 *
 * directions  u_t = P(gamma_f * t_bar) [N], b_t = t_bar . beta_f, in f64 */
#include "common.h"

#include <stdio.h>
#include <string.h>

static int on_logits(const psc_event *event, void *payload) {
    psc_target_rows *self = payload;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t slot = self->rows.slot[event->rows[r].index];
        const float *logits = event->tensor.data + r * event->tensor.stride[0];
        for (int32_t t = 0; slot >= 0 && t < self->n; t++) {
            int32_t *ids = self->ids + 2 * ((int64_t)t * self->rows.n + slot);
            if (self->targets[t].kind != PSC_TARGET_TOP) continue;
            if (self->host->target_ids(self->context, t, &event->rows[r], logits, ids)) return -1;
        }
    }
    return 0;
}

int psc_targets_begin(
    psc_context *context, const psc_host *host, const psc_row_set *rows, psc_target_rows *out) {
    out->context = context;
    out->host = host;
    out->rows = *rows;
    out->targets = host->targets(context, &out->n);
    const uint64_t count = 2 * (uint64_t)out->n * (uint64_t)rows->n;
    out->ids = host->run_alloc(context, count * sizeof(int32_t) + 1);
    if (!out->ids) return -1;
    int32_t n_all = 0, n_top = 0;
    const psc_row *all = host->rows(context, &n_all);
    for (int32_t t = 0; t < out->n; t++) {
        n_top += out->targets[t].kind == PSC_TARGET_TOP;
        for (int32_t r = 0; r < rows->n; r++) {
            int32_t *ids = out->ids + 2 * ((int64_t)t * rows->n + r);
            ids[0] = ids[1] = -1;
            if (out->targets[t].kind == PSC_TARGET_TOP) continue;
            if (host->target_ids(context, t, &all[rows->index[r]], NULL, ids)) return -1;
        }
    }
    if (n_top == 0) return 0;
    return host->observe(context, PSC_HOOK_LOGITS, &rows->filter, on_logits, out);
}

const char *psc_target_name(
    const psc_target_rows *targets, int64_t target, int64_t slot, char out[PSC_TARGET_NAME]) {
    const psc_target *given = &targets->targets[target];
    const int32_t id = slot < 0 ? -1 : targets->ids[2 * (target * targets->rows.n + slot)];
    const int32_t b = id < 0 ? -1 : targets->ids[2 * (target * targets->rows.n + slot) + 1];
    if (id < 0 || given->kind == PSC_TARGET_TOKEN || given->kind == PSC_TARGET_CONTRAST)
        snprintf(out, PSC_TARGET_NAME, "%.200s", given->label);
    else if (b >= 0)
        snprintf(out, PSC_TARGET_NAME, "%.80s - %.80s (%.40s)",
            targets->host->token_text(targets->context, id),
            targets->host->token_text(targets->context, b), given->label);
    else
        snprintf(out, PSC_TARGET_NAME, "%.160s (%.40s)",
            targets->host->token_text(targets->context, id), given->label);
    return out;
}

int psc_targets_axis(
    psc_context *context, const psc_host *host, const psc_target *targets, int32_t n) {
    const char **labels = host->run_alloc(context, (uint64_t)n * sizeof *labels + 1);
    if (!labels) return -1;
    for (int32_t t = 0; t < n; t++) labels[t] = targets[t].label;
    return host->axis_labels(context, "targets", n, labels);
}

int psc_targets_results(const psc_target_rows *targets, const char *row_axis) {
    static const char *const pair[] = {"a", "b"};
    psc_context *context = targets->context;
    const psc_host *host = targets->host;
    const uint64_t count = 2 * (uint64_t)targets->n * (uint64_t)targets->rows.n;
    if (psc_targets_axis(context, host, targets->targets, targets->n) ||
        host->axis_labels(context, "ids", 2, pair))
        return -1;
    const char *const axes[] = {"targets", row_axis, "ids"};
    int32_t *ids = psc_token_ids_array(context, host, "target_ids", 3, axes);
    if (!ids) return -1;
    memcpy(ids, targets->ids, count * sizeof *ids);
    return 0;
}

int32_t psc_target_last(const psc_target_rows *targets, int32_t t) {
    const int64_t n = targets->rows.n;
    int32_t slot = targets->rows.n - 1;
    while (slot >= 0 && targets->ids[2 * (t * n + slot)] < 0) slot--;
    return slot;
}

int psc_targets_required(const psc_target_rows *targets) {
    for (int32_t t = 0; t < targets->n; t++)
        if (psc_target_last(targets, t) >= 0) return 0;
    if (targets->n == 0) return 0;
    return targets->host->fail(targets->context,
        "the target %s has no token: no row that was chosen has a row after it; give a longer "
        "text, other rows or another target",
        targets->targets[0].label);
}

const psc_row *psc_chosen_row(const psc_target_rows *targets, int32_t slot) {
    int32_t n = 0;
    return &targets->host->rows(targets->context, &n)[targets->rows.index[slot]];
}

int32_t psc_target_first(const psc_target_rows *targets, int32_t *slot) {
    for (int32_t t = 0; t < targets->n; t++) {
        *slot = psc_target_last(targets, t);
        if (*slot >= 0) return t;
    }
    *slot = targets->rows.n - 1;
    return -1;
}

int psc_target_say_row(const psc_target_rows *targets, int32_t t) {
    const int32_t slot = psc_target_last(targets, t);
    const int earlier = targets->rows.moved || slot < targets->rows.n - 1;
    if (targets->targets[t].kind != PSC_TARGET_NEXT || slot < 0 || !earlier) return 0;
    return targets->host->summary_text(targets->context,
        "The target is the text's own next token, so the last row that has one is shown.");
}

/* An earlier row of the same target with the same ids, or -1. */
static int32_t same_ids(const psc_target_rows *targets, int32_t t, int32_t r) {
    const int32_t *ids = targets->ids + 2 * (int64_t)t * targets->rows.n;
    for (int32_t q = 0; q < r; q++)
        if (ids[2 * q] == ids[2 * r] && ids[2 * q + 1] == ids[2 * r + 1]) return q;
    return -1;
}

/* Fills which; returns the number of directions. */
static int32_t number_directions(const psc_target_rows *targets, int32_t *which) {
    int32_t n = 0;
    for (int32_t t = 0; t < targets->n; t++) {
        for (int32_t r = 0; r < targets->rows.n; r++) {
            const int64_t at = (int64_t)t * targets->rows.n + r;
            which[at] = -1;
            if (targets->ids[2 * at] < 0) continue;
            const int32_t q = same_ids(targets, t, r);
            which[at] = q < 0 ? n++ : which[(int64_t)t * targets->rows.n + q];
        }
    }
    return n;
}

typedef struct direction_parts {
    const float *a, *b, *mean, *gamma, *beta; /* b, mean: null where absent */
    double *work;                             /* [N] */
} direction_parts;

/* One u and b_t. The mean over dimensions comes from the striped sum. */
static void build_direction(int64_t n, const direction_parts *p, float *u, double *constant) {
    double s[16] = {0}, c[16] = {0};
    for (int64_t i = 0; i < n; i++) {
        double t = p->a[i];
        if (p->b) t -= (double)p->b[i];
        if (p->mean) t -= (double)p->mean[i];
        p->work[i] = t * (double)p->gamma[i];
        s[i % 16] += p->work[i];
        c[i % 16] += t * (double)p->beta[i];
    }
    const double mean = psc_fold16(s) / (double)n;
    for (int64_t i = 0; i < n; i++) u[i] = (float)(p->work[i] - mean);
    *constant = psc_fold16(c);
}

int psc_directions_build(
    const psc_target_rows *targets, int centered, int64_t extra, psc_directions *out) {
    psc_context *context = targets->context;
    const psc_host *host = targets->host;
    const int64_t n_dims = host->model(context)->d_model;
    const uint64_t count = (uint64_t)targets->n * (uint64_t)targets->rows.n;
    out->which = host->run_alloc(context, count * sizeof(int32_t) + 1);
    if (!out->which) return -1;
    out->n = number_directions(targets, out->which);
    const uint64_t row_bytes = (uint64_t)n_dims * sizeof(float);
    out->u = host->run_alloc(context, ((uint64_t)out->n + (uint64_t)extra) * row_bytes + 1);
    out->constant = host->run_alloc(context, (uint64_t)out->n * sizeof(double) + 1);
    float *rows = host->run_alloc(context, 2 * row_bytes);
    double *work = host->run_alloc(context, 2 * row_bytes);
    direction_parts parts = {0};
    if (!out->u || !out->constant || !rows || !work) return -1;
    if (host->ln_parameters(context, PSC_LN_FINAL, -1, &parts.gamma, &parts.beta)) return -1;
    parts.work = work;
    int32_t done = 0;
    for (uint64_t at = 0; at < count; at++) {
        const int32_t *ids = targets->ids + 2 * at;
        if (out->which[at] != done) continue;
        if (host->unembedding(context, ids[0], rows)) return -1;
        if (ids[1] >= 0 && host->unembedding(context, ids[1], rows + n_dims)) return -1;
        parts.a = rows;
        parts.b = ids[1] >= 0 ? rows + n_dims : NULL;
        parts.mean = centered && ids[1] < 0 ? host->unembedding_mean(context) : NULL;
        build_direction(n_dims, &parts, out->u + done * n_dims, &out->constant[done]);
        done++;
    }
    return 0;
}
