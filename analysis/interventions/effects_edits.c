/* What was edited, and what the direct path predicts of it.
 *
 *   D = the change of the writes to the residual stream at a row
 *       hook_embed, hook_resid_*, hook_attn_out, hook_mlp_out, hook_result: tensor - before
 *       hook_z: W_O (z' - z),  hook_post: W_out (g' - g)
 *       inside attention (q, k, v, scores, pattern, ln1): W_O (z' - z), z of the unchanged run
 *   frozen_ln = u.D/sigma     recomputed_ln = (S + u.D)/sigma' - S/sigma
 *   sigma'^2 = (|P(x)|^2 + 2 P(x).P(D) + |P(D)|^2)/N + eps,  S = u.x, x the unchanged residual
 *
 * An edit inside attention downstream of another edit has no prediction: its z' - z includes the
 * other's effect. Neither has an edit that writes nothing to the stream. */
#include "effects.h"

#include <math.h>
#include <string.h>

static void note_edit(effects_state *s, const psc_event *event, int inside) {
    effects_edits *e = &s->edits;
    const int enters = event->point == PSC_HOOK_EMBED || event->point == PSC_HOOK_RESID_PRE;
    const int32_t layer = event->layer < 0 ? 0 : event->layer;
    const int32_t depth = 2 * layer + !enters;
    if (depth < e->first) e->first = depth;
    if (!inside || e->inner == layer) return;
    e->inner = layer;
    e->n_inner++;
}

/* --- events ---------------------------------------------------------------------------------- */

/* The change of row r, or null if the row was not chosen. */
static double *write_of(const effects_state *s, const psc_event *event, int32_t r) {
    const int32_t slot = s->rows.slot[event->rows[r].index];
    return slot < 0 ? NULL : s->edits.write + slot * (int64_t)s->model->d_model;
}

/* A write itself; hook_result's heads are summed. */
static int on_write(const psc_event *event, void *payload) {
    effects_state *s = payload;
    const psc_view *x = &event->tensor, *y = &event->before;
    const int64_t heads = x->n_axes == 3 ? x->shape[1] : 1, n = s->model->d_model;
    note_edit(s, event, 0);
    for (int32_t r = 0; r < event->n_rows; r++) {
        double *write = write_of(s, event, r);
        for (int64_t h = 0; write && h < heads; h++) {
            const float *after = x->data + r * x->stride[0] + (heads > 1 ? h * x->stride[1] : 0);
            const float *before = y->data + r * y->stride[0] + (heads > 1 ? h * y->stride[1] : 0);
            for (int64_t i = 0; i < n; i++) write[i] += (double)after[i] - (double)before[i];
        }
    }
    return 0;
}

/* Work space for the chosen rows, allocated once per run. */
static int make_work(effects_state *s) {
    effects_edits *e = &s->edits;
    const uint64_t rows = (uint64_t)s->rows.n, n = (uint64_t)s->model->d_model;
    const int64_t heads = (int64_t)s->model->n_heads * s->model->d_head;
    const uint64_t width = (uint64_t)(heads > s->model->d_mlp ? heads : s->model->d_mlp);
    if (!e->in) e->in = s->host->run_alloc(s->context, rows * width * sizeof *e->in);
    if (!e->out) e->out = s->host->run_alloc(s->context, rows * n * sizeof *e->out);
    return e->in && e->out ? 0 : -1;
}

/* D += W (x' - x) for the chosen rows; x is base [rows, width] by slot, or before if it is null. */
static int through_matrix(
    effects_state *s, const psc_event *event, psc_matrix matrix, int64_t width, const float *base) {
    const psc_host *host = s->host;
    const psc_view *x = &event->tensor, *y = &event->before;
    const int64_t inner = x->shape[x->n_axes - 1], n = s->model->d_model;
    int32_t count = 0;
    if (make_work(s)) return -1;
    float *in = s->edits.in, *out = s->edits.out;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t slot = s->rows.slot[event->rows[r].index];
        if (slot < 0) continue;
        for (int64_t i = 0; i < width; i++) {
            const int64_t h = i / inner, at = x->n_axes == 3 ? h * x->stride[1] + i % inner : i;
            const int64_t was = y->n_axes == 3 ? h * y->stride[1] + i % inner : i;
            const float before = base ? base[slot * width + i] : y->data[r * y->stride[0] + was];
            in[count * width + i] = x->data[r * x->stride[0] + at] - before;
        }
        count++;
    }
    if (count == 0) return 0;
    if (host->apply(s->context, matrix, event->layer, out, in, count)) return -1;
    count = 0;
    for (int32_t r = 0; r < event->n_rows; r++) {
        double *write = write_of(s, event, r);
        for (int64_t i = 0; write && i < n; i++) write[i] += (double)out[count * n + i];
        count += write != NULL;
    }
    return 0;
}

static int on_z(const psc_event *event, void *payload) {
    effects_state *s = payload;
    const int64_t width = (int64_t)s->model->n_heads * s->model->d_head;
    const int inside = s->edits.inner == event->layer;
    const float *base = s->base.z + event->layer * s->base.n_rows * width;
    if (event->before.data) note_edit(s, event, 0);
    if (!event->before.data && !inside) return 0;
    return through_matrix(s, event, PSC_W_O, width, inside ? base : NULL);
}

static int on_post(const psc_event *event, void *payload) {
    effects_state *s = payload;
    note_edit(s, event, 0);
    return through_matrix(s, event, PSC_W_OUT, s->model->d_mlp, NULL);
}

static int on_inside(const psc_event *event, void *payload) {
    note_edit(payload, event, 1);
    return 0;
}

static int on_outside(const psc_event *event, void *payload) {
    static const char *const names[PSC_POINT_COUNT] = {
#define POINT_NAME(id, name, shape, layered) name,
        PSC_POINTS(POINT_NAME)
#undef POINT_NAME
    };
    effects_state *s = payload;
    note_edit(s, event, 0);
    s->edits.outside = names[event->point];
    return 0;
}

/* What an edit of a point means for the prediction; null: hook_z has its own observer, and logits
 * come after everything. No default, so that the compiler names a new point. */
static psc_event_fn watch_of(psc_point point) {
    switch (point) {
    case PSC_HOOK_EMBED:
    case PSC_HOOK_RESID_PRE:
    case PSC_HOOK_RESID_MID:
    case PSC_HOOK_RESID_POST:
    case PSC_HOOK_ATTN_OUT:
    case PSC_HOOK_MLP_OUT:
    case PSC_HOOK_RESULT:
        return on_write;
    case PSC_HOOK_MLP_POST:
        return on_post;
    case PSC_HOOK_LN1_SCALE:
    case PSC_HOOK_LN1_NORMALIZED:
    case PSC_HOOK_Q:
    case PSC_HOOK_K:
    case PSC_HOOK_V:
    case PSC_HOOK_ROT_Q:
    case PSC_HOOK_ROT_K:
    case PSC_HOOK_ATTN_SCORES:
    case PSC_HOOK_PATTERN:
        return on_inside;
    case PSC_HOOK_LN2_SCALE:
    case PSC_HOOK_LN2_NORMALIZED:
    case PSC_HOOK_MLP_PRE:
    case PSC_HOOK_LN_FINAL_SCALE:
    case PSC_HOOK_LN_FINAL_NORMALIZED:
        return on_outside;
    case PSC_HOOK_Z:
    case PSC_HOOK_LOGITS:
    case PSC_POINT_COUNT:
        break;
    }
    return NULL;
}

int effects_observe_edits(effects_state *s) {
    psc_filter edited = PSC_FILTER_INIT;
    edited.edited_only = 1;
    s->edits = (effects_edits){.first = INT32_MAX, .inner = -1};
    s->edits.write = s->host->run_alloc(
        s->context, (uint64_t)s->rows.n * (uint64_t)s->model->d_model * sizeof(double));
    if (!s->edits.write) return -1;
    for (int point = 0; point < PSC_POINT_COUNT; point++) {
        const psc_event_fn watch = watch_of((psc_point)point);
        if (!watch || (point == PSC_HOOK_RESID_MID && s->model->parallel_residual)) continue;
        if (s->host->observe(s->context, (psc_point)point, &edited, watch, s)) return -1;
    }
    /* Every row of z: an edit at a row that was not chosen counts too. */
    return s->host->observe(s->context, PSC_HOOK_Z, NULL, on_z, s);
}

/* --- the prediction -------------------------------------------------------------------------- */

const char *effects_no_prediction(const effects_state *s) {
    const effects_edits *e = &s->edits;
    if (e->outside) return "an edited point writes nothing to the residual stream itself";
    if (e->n_inner > 1 || (e->n_inner == 1 && e->first < 2 * e->inner + 1))
        return "attention was edited inside a layer behind another edit";
    return NULL;
}

/* Sums of one row: |P(x)|^2, P(x).P(D), |P(D)|^2 in f64. */
static void row_sums(int64_t n, const float *x, const double *d, double out[3]) {
    double mean_x = 0.0, mean_d = 0.0;
    out[0] = out[1] = out[2] = 0.0;
    for (int64_t i = 0; i < n; i++) {
        mean_x += (double)x[i];
        mean_d += d[i];
    }
    mean_x /= (double)n;
    mean_d /= (double)n;
    for (int64_t i = 0; i < n; i++) {
        const double a = (double)x[i] - mean_x, b = d[i] - mean_d;
        out[0] += a * a;
        out[1] += a * b;
        out[2] += b * b;
    }
}

int effects_predict(effects_state *s) {
    const int64_t n = s->model->d_model, n_rows = s->rows.n;
    const double eps = (double)s->model->layer_norm_eps;
    if (effects_no_prediction(s)) return 0; /* the host filled the arrays with NaN */
    if (psc_directions_build(&s->targets, 0, 0, &s->directions)) return -1;
    for (int64_t slot = 0; slot < n_rows; slot++) {
        const float *x = s->base.residual + slot * n;
        const double *d = s->edits.write + slot * n;
        double sums[3];
        row_sums(n, x, d, sums);
        const double sigma = sqrt(sums[0] / (double)n + eps);
        const double after = sqrt((sums[0] + 2.0 * sums[1] + sums[2]) / (double)n + eps);
        for (int64_t t = 0; t < s->targets.n; t++) {
            const int64_t at = t * n_rows + slot;
            const int32_t which = s->directions.which[at];
            if (which < 0) continue;
            const float *u = s->directions.u + which * n;
            const double numerator = psc_dot_striped(n, u, x), change = psc_dot_mixed(n, d, u);
            s->frozen_ln[at] = change / sigma;
            s->recomputed[at] = (numerator + change) / after - numerator / sigma;
        }
    }
    return 0;
}
