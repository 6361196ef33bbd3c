/* Edge attribution patching: the first order of every edge's effect (Nanda 2023; Syed, Rager and Conmy 2023),
 * and with integrated gradients over inputs (Hanna, Pezzelle and Belinkov 2024).
 *
 *   score(u -> v) = sum over rows of (o_u - c_u) . g_v,   g_v = dm/d(input of v)
 *   q, k, v of a head   y = W_h^T dm/dq_h;  MLP, logits: y the gradient at LN's output
 *   LayerNorm           w = gamma * y,  g = (w - mean w - n (n . w)/N) / s
 *
 *   eap_ig              the mean of g over the runs of the inputs e' + k/steps (e - e'), k = 1..steps, e'
 *                       the source prompt's embedding; each with the LayerNorms of its own run
 *
 * o_u the source run's write of sender u, c_u this run's. At a block of rows all d_u = o_u - c_u and one
 * group of g_v exist at a time; products are f32 dots (panel_dots), sums over rows f64, ascending. */
#include "circuit_eap.h"

#include <math.h>
#include <string.h>

#define WRITES_BYTES ((uint64_t)64 << 20)
#define MOST_ROWS 64
#define LANES 16

/* --- gradients ------------------------------------------------------------------------------- */

/* Where a gradient, or a value of a run with another input, goes. */
static float *place_of(const eap_run *run, int32_t point, int32_t layer, int32_t n_layers) {
    switch (point) {
    case PSC_HOOK_Q:
        return run->heads[0][layer];
    case PSC_HOOK_K:
        return run->heads[1][layer];
    case PSC_HOOK_V:
        return run->heads[2][layer];
    case PSC_HOOK_LN2_NORMALIZED:
        return run->mlp[layer];
    case PSC_HOOK_RESID_PRE:
        return run->own_pre[layer];
    case PSC_HOOK_RESID_MID:
        return run->own_mid[layer];
    case PSC_HOOK_RESID_POST:
        return layer == n_layers - 1 ? run->own_pre[n_layers] : NULL;
    default:
        return run->final;
    }
}

static int on_tensor(int32_t variant, const psc_event *event, void *payload) {
    const eap *e = payload;
    const int64_t n = e->s->model->d_model;
    const psc_view *t = &event->tensor;
    const int64_t inner = t->shape[t->n_axes - 1], groups = n / inner;
    float *to = place_of(&e->run, event->point, event->layer, e->s->shape.n_layers);
    (void)variant;
    for (int32_t r = 0; to && r < event->n_rows; r++)
        for (int64_t i = 0; i < groups; i++)
            memcpy(to + event->rows[r].index * n + i * inner,
                t->data + r * t->stride[0] + (groups > 1 ? i * t->stride[1] : 0),
                (size_t)inner * sizeof *to);
    return e->s->host->cancelled(e->s->context);
}

/* The metric as host->gradients takes it. */
static psc_metric metric_of(const circuit_state *s, psc_metric_term terms[2]) {
    static const int kinds[] = {PSC_METRIC_LOGIT, PSC_METRIC_LOG_P, PSC_METRIC_KL};
    const int kl = s->metric == CIRCUIT_KL;
    const int32_t *ids =
        kl ? NULL : s->targets.ids + 2 * ((int64_t)s->target * s->rows.n + s->slot);
    const int contrast = ids && ids[1] >= 0;
    for (int i = 0; i < 2; i++)
        terms[i] = (psc_metric_term){.struct_size = sizeof *terms,
            .kind = contrast ? PSC_METRIC_LOGIT : kinds[s->metric],
            .row = s->rows.index[s->slot],
            .token = ids ? ids[i] : 0,
            .weight = i ? -1.0 : 1.0,
            .logits = kl ? s->base + (int64_t)s->slot * s->model->d_vocab : NULL};
    return (psc_metric){
        .struct_size = sizeof(psc_metric), .n_terms = contrast ? 2 : 1, .terms = terms};
}

/* Gradients of this run, or with an input [rows, N] of the run that begins with it, and its residuals. */
static int find_gradients(eap *e, const float *input) {
    static const int32_t points[] = {PSC_HOOK_Q, PSC_HOOK_K, PSC_HOOK_V, PSC_HOOK_LN2_NORMALIZED,
        PSC_HOOK_LN_FINAL_NORMALIZED, PSC_HOOK_RESID_PRE + PSC_POINT_VALUES,
        PSC_HOOK_RESID_POST + PSC_POINT_VALUES, PSC_HOOK_RESID_MID + PSC_POINT_VALUES};
    const circuit_state *s = e->s;
    psc_metric_term terms[2];
    const psc_metric metric = metric_of(s, terms);
    const psc_change change = {.struct_size = sizeof change,
        .kind = PSC_CHANGE_SET,
        .point = PSC_HOOK_EMBED,
        .layer = -1,
        .sequence = s->run_rows[0].sequence,
        .row_end = s->n_rows,
        .head = -1,
        .key = -1,
        .values = input,
        .stride = s->model->d_model};
    const psc_variant variant = {.struct_size = sizeof variant, .n_changes = 1, .changes = &change};
    e->run.resid_pre = input ? (const float *const *)e->run.own_pre : s->own.writes.resid_pre;
    e->run.resid_mid = input ? (const float *const *)e->run.own_mid : s->own.writes.resid_mid;
    return s->host->gradients(s->context, 1, input ? &variant : NULL, &metric,
        !input                       ? 5
        : s->shape.parallel_residual ? 7
                                     : 8,
        points, on_tensor, e);
}

/* --- memory ---------------------------------------------------------------------------------- */

static float *floats(const circuit_state *s, uint64_t n) {
    return s->host->run_alloc(s->context, n * sizeof(float));
}

/* One [n] per layer, and one more. */
static float **per_layer(const circuit_state *s, uint64_t n) {
    float **list = s->host->run_alloc(s->context, ((uint64_t)s->shape.n_layers + 1) * sizeof *list);
    for (int32_t l = 0; list && l <= s->shape.n_layers; l++)
        if (!(list[l] = floats(s, n))) return NULL;
    return list;
}

static int make_room(eap *e) {
    const circuit_state *s = e->s;
    const uint64_t n = (uint64_t)s->model->d_model, all = (uint64_t)s->n_rows * n;
    const uint64_t heads = (uint64_t)s->shape.n_heads, senders = (uint64_t)s->n_senders;
    uint64_t rows = WRITES_BYTES / (senders * n * sizeof(float));
    rows = rows < 1 ? 1 : rows > MOST_ROWS ? MOST_ROWS : rows;
    const uint64_t panels = (3 * heads + LANES - 1) / LANES;
    for (int i = 0; i < 3; i++)
        if (!(e->run.heads[i] = per_layer(s, all))) return -1;
    e->rows_together = (int32_t)rows;
    e->run.mlp = per_layer(s, all);
    e->run.final = floats(s, all);
    e->embed = floats(s, rows * n);
    e->heads = per_layer(s, rows * heads * n);
    e->mlp = per_layer(s, rows * n);
    e->write = s->host->run_alloc(s->context, rows * senders * sizeof *e->write);
    e->dz = floats(s, rows * n);
    e->normalized = floats(s, rows * n);
    e->scale = floats(s, rows);
    e->panels = floats(s, rows * panels * n * LANES);
    e->products = floats(s, senders * panels * LANES);
    e->u = floats(s, rows * ((uint64_t)s->model->d_head + 2 * LANES));
    e->y = floats(s, rows * n);
    return e->run.mlp && e->run.final && e->embed && e->heads && e->mlp && e->write && e->dz &&
                   e->normalized && e->scale && e->panels && e->products && e->u && e->y
               ? 0
               : -1;
}

/* --- differences of writes ------------------------------------------------------------------- */

static void subtract(const eap *e, float *to, const float *other, const float *own) {
    const int64_t n = e->s->model->d_model, from = (int64_t)e->begin * n;
    for (int64_t i = 0; i < (int64_t)e->rows * n; i++) to[i] = other[from + i] - own[from + i];
}

static int take_writes(eap *e) {
    circuit_state *s = e->s;
    const psc_writes *other = &s->source.writes, *own = &s->own.writes;
    const int64_t n = s->model->d_model, heads = s->shape.n_heads;
    subtract(e, e->embed, other->embed, own->embed);
    for (int32_t l = 0; l < s->shape.n_layers; l++) {
        subtract(e, e->dz, other->z[l], own->z[l]);
        subtract(e, e->mlp[l], other->mlp_out[l], own->mlp_out[l]);
        if (s->host->head_writes(s->context, l, e->heads[l], e->dz, e->rows)) return -1;
    }
    for (int32_t r = 0; r < e->rows; r++) {
        const float **at = e->write + (int64_t)r * s->n_senders;
        *at++ = e->embed + r * n;
        for (int32_t l = 0; l < s->shape.n_layers; l++) {
            for (int64_t h = 0; h < heads; h++) *at++ = e->heads[l] + (r * heads + h) * n;
            *at++ = e->mlp[l] + r * n;
        }
    }
    return 0;
}

/* --- what receivers read --------------------------------------------------------------------- */

/* n and s of the block's rows of a residual. */
static void normalize(eap *e, const float *resid) {
    const int64_t n = e->s->model->d_model;
    for (int32_t r = 0; r < e->rows; r++) {
        const float *x = resid + (e->begin + r) * n;
        double mean = 0, square = 0;
        for (int64_t i = 0; i < n; i++) mean += (double)x[i];
        mean /= (double)n;
        for (int64_t i = 0; i < n; i++) square += ((double)x[i] - mean) * ((double)x[i] - mean);
        const double scale = sqrt(square / (double)n + (double)e->s->model->layer_norm_eps);
        for (int64_t i = 0; i < n; i++)
            e->normalized[r * n + i] = (float)(((double)x[i] - mean) / scale);
        e->scale[r] = (float)scale;
    }
}

/* g of one receiver, into its lane of each row's panels. */
static void pack_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const eap *e = payload;
    const int64_t n = e->s->model->d_model;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const float *y = e->pulled + r * n, *norm = e->normalized + r * n;
        float *to = e->panels + ((r * e->n_panels + e->lane / LANES) * n) * LANES + e->lane % LANES;
        double sum[LANES] = {0}, dot[LANES] = {0};
        for (int64_t i = 0; i < n; i++) {
            const double w = e->gamma ? (double)e->gamma[i] * (double)y[i] : (double)y[i];
            sum[i % LANES] += w;
            dot[i % LANES] += w * (double)norm[i];
        }
        const double mean = psc_fold16(sum) / (double)n, along = psc_fold16(dot) / (double)n;
        for (int64_t i = 0; i < n; i++) {
            const double w = e->gamma ? (double)e->gamma[i] * (double)y[i] : (double)y[i];
            to[i * LANES] = (float)((w - mean - (double)norm[i] * along) / (double)e->scale[r]);
        }
    }
}

static void pack(eap *e, int32_t lane, const float *pulled) {
    e->lane = lane;
    e->pulled = pulled;
    e->s->host->parallel_for(e->s->context, e->rows, pack_rows, e);
}

/* y of a head's q, k or v: the outputs from a panel's first to the head's last, those before it 0. */
static int pull_head(eap *e, int32_t layer, int32_t role, int32_t head) {
    const circuit_state *s = e->s;
    const int64_t d = s->model->d_head, n = s->model->d_model;
    const int64_t first = head * d, begin = first / LANES * LANES, width = first + d - begin;
    for (int32_t r = 0; r < e->rows; r++) {
        const float *from = e->run.heads[role][layer] + (e->begin + r) * n + first;
        memset(e->u + r * width, 0, (size_t)(first - begin) * sizeof *e->u);
        memcpy(e->u + r * width + first - begin, from, (size_t)d * sizeof *e->u);
    }
    return s->host->pullback_outputs(
        s->context, PSC_W_Q + role, layer, e->y, e->u, e->rows, begin, first + d);
}

/* --- products -------------------------------------------------------------------------------- */

/* Adds the products of senders begin..end-1 with the group's receivers, row by row. */
static void multiply(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const eap *e = payload;
    circuit_state *s = e->s;
    const int64_t n = s->model->d_model, width = e->n_panels * LANES;
    (void)thread;
    for (int32_t r = 0; r < e->rows; r++) {
        float *products = e->products + begin * width;
        s->reductions->panel_dots(products, (size_t)width,
            e->write + (int64_t)r * s->n_senders + begin,
            e->panels + (int64_t)r * e->n_panels * n * LANES, (size_t)(end - begin), (size_t)n,
            (size_t)e->n_panels);
        for (int32_t i = 0; i < e->n; i++) {
            double *to = s->score + psc_edge_first(&s->shape, e->first + i);
            for (int64_t u = begin; u < end; u++)
                to[u] += e->weight * (double)products[(u - begin) * width + i];
        }
    }
}

static void begin_group(eap *e, int32_t first, int32_t n, const float *resid, const float *gamma) {
    e->first = first;
    e->n = n;
    e->n_panels = (n + LANES - 1) / LANES;
    e->gamma = gamma;
    normalize(e, resid);
}

static void end_group(eap *e) {
    e->s->host->parallel_for(e->s->context, psc_edge_reads(&e->s->shape, e->first), multiply, e);
}

static int add_heads(eap *e, int32_t layer) {
    const circuit_state *s = e->s;
    const int32_t heads = s->shape.n_heads;
    const float *gamma, *beta;
    if (s->host->ln_parameters(s->context, PSC_LN1, layer, &gamma, &beta)) return -1;
    begin_group(e, psc_edge_receivers(&s->shape, layer), 3 * heads, e->run.resid_pre[layer], gamma);
    for (int32_t i = 0; i < 3 * heads; i++) {
        if (pull_head(e, layer, i / heads, i % heads)) return -1;
        pack(e, i, e->y);
    }
    end_group(e);
    return 0;
}

static void add_one(eap *e, int32_t receiver, const float *resid, const float *gradient) {
    begin_group(e, receiver, 1, resid, NULL);
    pack(e, 0, gradient + (int64_t)e->begin * e->s->model->d_model);
    end_group(e);
}

/* Adds the scores of the run whose gradients are there. */
static int add_scores(eap *e) {
    circuit_state *s = e->s;
    const int32_t layers = s->shape.n_layers, logits = psc_edge_receivers(&s->shape, layers);
    for (e->begin = s->first_row; e->begin < s->n_rows; e->begin += e->rows) {
        e->rows = s->n_rows - e->begin;
        if (e->rows > e->rows_together) e->rows = e->rows_together;
        if (take_writes(e)) return -1;
        for (int32_t l = 0; l < layers; l++) {
            if (add_heads(e, l) || s->host->cancelled(s->context)) return -1;
            add_one(e, psc_edge_receivers(&s->shape, l) + 3 * s->shape.n_heads,
                s->shape.parallel_residual ? e->run.resid_pre[l] : e->run.resid_mid[l],
                e->run.mlp[l]);
        }
        add_one(e, logits, e->run.resid_pre[layers], e->run.final);
    }
    return 0;
}

/* Room for the runs of other inputs. */
static int make_inputs(eap *e) {
    const circuit_state *s = e->s;
    const uint64_t all = (uint64_t)s->n_rows * (uint64_t)s->model->d_model;
    e->input = floats(s, all);
    e->run.own_pre = per_layer(s, all);
    e->run.own_mid = s->shape.parallel_residual ? e->run.own_pre : per_layer(s, all);
    return e->input && e->run.own_pre && e->run.own_mid ? 0 : -1;
}

/* The last input is this run's, where kl has no gradient. */
static int integrate(eap *e) {
    const circuit_state *s = e->s;
    const int64_t all = (int64_t)s->n_rows * s->model->d_model;
    const float *from = s->source.writes.embed, *to = s->own.writes.embed;
    e->weight = 1.0 / s->steps;
    for (int32_t k = 1; k < s->steps; k++) {
        const double part = (double)k / (double)s->steps;
        for (int64_t i = 0; i < all; i++)
            e->input[i] = (float)((double)from[i] + part * ((double)to[i] - (double)from[i]));
        if (find_gradients(e, e->input) || add_scores(e)) return -1;
    }
    return s->metric == CIRCUIT_KL ? 0 : find_gradients(e, NULL) || add_scores(e);
}

int circuit_attribute(circuit_state *s) {
    eap e = {.s = s, .weight = 1.0};
    if (make_room(&e)) return -1;
    if (s->scores == SCORES_EAP_IG) return make_inputs(&e) || integrate(&e);
    return find_gradients(&e, NULL) || add_scores(&e);
}
