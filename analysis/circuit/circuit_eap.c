/* Edge attribution patching: the first order of every edge's effect (Nanda 2023; Syed, Rager and
 * Conmy 2023), and with integrated gradients over inputs (Hanna, Pezzelle and Belinkov 2024).
 *
 *   score(u -> v) = sum over rows of (o_u - c_u) . g_v,   g_v = dm/d(input of v)
 *   q, k, v of a head   y = W_h^T dm/dq_h;  MLP, logits: y the gradient at LN's output
 *   LayerNorm           w = gamma * y,  g = (w - mean w - n (n . w)/N) / s
 *
 *   eap_ig              the mean of g over the runs of the inputs e' + k/steps (e - e'), e' the
 *                       source prompt's embedding, k = 1..steps; each with its own LayerNorms
 *   eap_ig_activations  the mean of g over nodes and k: one node alone (embed, the heads of a
 *                       layer, or an MLP) writes o + k/steps (c - o), whatever it reads
 *
 * o_u the source run's write of sender u, c_u this run's. circuit_eap_products.c has the dots. */
#include "circuit_eap.h"

#include <string.h>

#define PANEL_BYTES ((uint64_t)128 << 20)
#define MOST_ROWS 64
#define RUN_ROWS 256 /* of the runs of a call, unless one has more */
#define LANES EAP_LANES

/* --- gradients ------------------------------------------------------------------------------- */

/* Where a gradient, or a value of a run with another input, goes. */
static float *place_of(const eap *e, const eap_run *run, int32_t point, int32_t layer) {
    const int32_t n_layers = e->s->shape.n_layers;
    switch (point) {
    case PSC_HOOK_Q:
        return run->heads[0] + layer * e->all;
    case PSC_HOOK_K:
        return run->heads[1] + layer * e->all;
    case PSC_HOOK_V:
        return run->heads[2] + layer * e->all;
    case PSC_HOOK_LN2_NORMALIZED:
        return run->mlp + layer * e->all;
    case PSC_HOOK_RESID_PRE:
        return run->pre + layer * e->all;
    case PSC_HOOK_RESID_MID:
        return run->mid + layer * e->all;
    case PSC_HOOK_RESID_POST:
        return layer == n_layers - 1 ? run->pre + n_layers * e->all : NULL;
    default:
        return run->final;
    }
}

static int on_tensor(int32_t variant, const psc_event *event, void *payload) {
    const eap *e = payload;
    const int64_t n = e->s->model->d_model;
    const psc_view *t = &event->tensor;
    const int64_t inner = t->shape[t->n_axes - 1], groups = n / inner;
    float *to = place_of(e, &e->runs[variant], event->point, event->layer);
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

/* Gradients of this run, or of n runs with a change each, and their residuals. */
static int find_gradients(eap *e, int32_t n, const psc_change *changes) {
    static const int32_t points[] = {PSC_HOOK_Q, PSC_HOOK_K, PSC_HOOK_V, PSC_HOOK_LN2_NORMALIZED,
        PSC_HOOK_LN_FINAL_NORMALIZED, PSC_HOOK_RESID_PRE + PSC_POINT_VALUES,
        PSC_HOOK_RESID_POST + PSC_POINT_VALUES, PSC_HOOK_RESID_MID + PSC_POINT_VALUES};
    const circuit_state *s = e->s;
    const size_t layers = (size_t)s->shape.n_layers * (size_t)e->all * sizeof(float);
    psc_metric_term terms[2];
    psc_metric metrics[EAP_MOST_RUNS];
    psc_variant variants[EAP_MOST_RUNS];
    for (int32_t k = 0; k < n; k++) {
        eap_run *run = &e->runs[k];
        metrics[k] = metric_of(s, terms);
        variants[k] = (psc_variant){.struct_size = sizeof *variants, .n_changes = 1};
        variants[k].changes = changes ? &changes[k] : NULL;
        for (int i = 0; changes && i < 3; i++) /* rows before the change have none */
            memset(run->heads[i], 0, layers);
        if (changes) memset(run->mlp, 0, layers);
        if (changes) memset(run->final, 0, (size_t)e->all * sizeof(float));
        run->resid_pre = changes ? run->own_pre : s->own.writes.resid_pre;
        run->resid_mid = changes ? run->own_mid : s->own.writes.resid_mid;
    }
    return s->host->gradients(s->context, n, changes ? variants : NULL, metrics,
        !changes                     ? 5
        : s->shape.parallel_residual ? 7
                                     : 8,
        points, on_tensor, e);
}

/* --- memory ---------------------------------------------------------------------------------- */

static int64_t rounded(int64_t n) {
    return (n + LANES - 1) / LANES * LANES;
}

typedef struct placed {
    void *to; /* the address of a pointer */
    int64_t floats;
} placed;

/* Gives n arrays their places from `memory` on; null: only counts. Returns the floats. */
static int64_t place_arrays(const placed *arrays, size_t n, float *memory) {
    int64_t used = 0;
    for (size_t i = 0; i < n; i++) {
        float *at = memory ? memory + used : NULL;
        memcpy(arrays[i].to, &at, sizeof at);
        used += rounded(arrays[i].floats);
    }
    return used;
}

static int64_t place_run(eap_run *run, const circuit_state *s, int64_t all, float *memory) {
    const int64_t layers = s->shape.n_layers;
    const int mid = !s->shape.parallel_residual, inputs = s->scores >= SCORES_EAP_IG;
    const placed arrays[] = {{&run->heads[0], layers * all}, {&run->heads[1], layers * all},
        {&run->heads[2], layers * all}, {&run->mlp, layers * all}, {&run->final, all},
        {&run->pre, inputs ? (layers + 1) * all : 0}, {&run->mid, inputs && mid ? layers * all : 0},
        {&run->input, inputs ? all : 0}, {&run->own_pre, 2 * (layers + 1)},
        {&run->own_mid, 2 * (layers + 1)}};
    return place_arrays(arrays, sizeof arrays / sizeof *arrays, memory);
}

/* Runs of few rows are computed together. */
static int32_t choose_together(const circuit_state *s) {
    int32_t n = s->scores >= SCORES_EAP_IG ? RUN_ROWS / s->n_rows : 1;
    if (n > s->steps) n = s->steps;
    if (n > EAP_MOST_RUNS) n = EAP_MOST_RUNS;
    return n < 1 ? 1 : n;
}

/* Gives everything its place from `memory` on; null: only counts. Returns the floats. */
static int64_t place(eap *e, const circuit_state *s, float *memory) {
    const int64_t n = s->model->d_model, heads = s->shape.n_heads;
    const int64_t panels = rounded(s->n_senders), reads = EAP_LAYERS * (3 * heads + 3) + 3;
    int64_t rows = (int64_t)(PANEL_BYTES / ((uint64_t)(panels * n) * sizeof(float))), used = 0;
    rows = rows < 1 ? 1 : rows > MOST_ROWS ? MOST_ROWS : rows;
    const int64_t blocks = (s->n_rows + rows - 1) / rows;
    rows = (s->n_rows + blocks - 1) / blocks;
    e->all = (int64_t)s->n_rows * n;
    e->rows_together = (int32_t)rows;
    e->most_reads = (int32_t)reads;
    e->n_groups = e->n_reads = 0;
    e->all_panels = panels / LANES;
    e->runs_together = choose_together(s);
    for (int32_t k = 0; k < e->runs_together; k++)
        used += place_run(&e->runs[k], s, e->all, memory ? memory + used : NULL);
    const placed arrays[] = {{&e->panels, rows * panels * n}, {&e->dz, rows * n},
        {&e->writes, rows * heads * n}, {&e->scale, EAP_MOST_GROUPS * rows},
        {&e->read, rows * reads * n}, {&e->mean, 2 * rows * reads}, {&e->along, 2 * rows * reads},
        {&e->products, reads * panels}, {&e->u, rows * ((int64_t)s->model->d_head + 2 * LANES)},
        {&e->y, rows * n}, {&e->ones, n}, {&e->zeros, n}};
    return used +
           place_arrays(arrays, sizeof arrays / sizeof *arrays, memory ? memory + used : NULL);
}

uint64_t circuit_eap_bytes(const circuit_state *s) {
    eap none;
    return (uint64_t)place(&none, s, NULL) * sizeof(float);
}

int circuit_take_eap(circuit_state *s) {
    return psc_kept_alloc(&s->eap, s->context, s->host, circuit_eap_bytes(s)) ? 0 : -1;
}

static int make_room(eap *e) {
    circuit_state *s = e->s;
    if (circuit_take_eap(s)) return -1;
    place(e, s, s->eap.at);
    for (int32_t k = 0; k < e->runs_together; k++)
        for (int32_t l = 0; l <= s->shape.n_layers; l++) {
            e->runs[k].own_pre[l] = e->runs[k].pre + l * e->all;
            e->runs[k].own_mid[l] = e->runs[k].mid + l * e->all;
        }
    for (int32_t i = 0; i < s->model->d_model; i++) {
        e->ones[i] = 1.0f;
        e->zeros[i] = 0.0f;
    }
    return 0;
}

/* --- differences of writes ------------------------------------------------------------------- */

/* Puts the packed senders' rows into their lanes. */
static void pack_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const eap *e = payload;
    const int64_t n = e->s->model->d_model;
    (void)thread;
    for (int64_t r = begin; r < end; r++)
        for (int32_t i = 0, lanes; i < e->n_senders; i += lanes) {
            const int32_t sender = e->sender + i, lane = sender % LANES;
            const float *from = e->packed + (r * e->n_senders + i) * n;
            float *to = e->panels + (r * e->all_panels + sender / LANES) * n * LANES + lane;
            lanes = LANES - lane < e->n_senders - i ? LANES - lane : e->n_senders - i;
            for (int64_t k = 0; k < n; k++)
                for (int32_t j = 0; j < lanes; j++) to[k * LANES + j] = from[j * n + k];
        }
}

static void pack(eap *e, int32_t sender, int32_t n, const float *packed) {
    e->sender = sender;
    e->n_senders = n;
    e->packed = packed;
    e->s->host->parallel_for(e->s->context, e->rows, pack_rows, e);
}

/* The differences of the block's rows; 0 where a row is aligned with none. */
static const float *subtract(eap *e, const float *other, const float *own) {
    const int64_t n = e->s->model->d_model;
    for (int32_t r = 0; r < e->rows; r++) {
        const int32_t row = e->begin + r, at = e->s->other_row[row];
        for (int64_t i = 0; i < n; i++)
            e->dz[r * n + i] = at < 0 ? 0.0f : other[at * n + i] - own[row * n + i];
    }
    return e->dz;
}

static int take_writes(eap *e) {
    circuit_state *s = e->s;
    const psc_writes *other = &s->source.writes, *own = &s->own.writes;
    const int32_t heads = s->shape.n_heads;
    pack(e, 0, 1, subtract(e, other->embed, own->embed));
    for (int32_t l = 0; l < s->shape.n_layers; l++) {
        const int32_t first = psc_edge_senders(&s->shape, l);
        if (s->host->head_writes(
                s->context, l, e->writes, subtract(e, other->z[l], own->z[l]), e->rows))
            return -1;
        pack(e, first, heads, e->writes);
        pack(e, first + heads, 1, subtract(e, other->mlp_out[l], own->mlp_out[l]));
    }
    return 0;
}

/* --- scores of a run ------------------------------------------------------------------------- */

/* y of a head's q, k or v: outputs from a panel's first to the head's last, those before it 0. */
static int pull_head(eap *e, int32_t layer, int32_t role, int32_t head) {
    const circuit_state *s = e->s;
    const int64_t d = s->model->d_head, n = s->model->d_model;
    const int64_t first = head * d, begin = first / LANES * LANES, width = first + d - begin;
    for (int32_t r = 0; r < e->rows; r++) {
        const float *from = e->run.heads[role] + layer * e->all + (e->begin + r) * n + first;
        memset(e->u + r * width, 0, (size_t)(first - begin) * sizeof *e->u);
        memcpy(e->u + r * width + first - begin, from, (size_t)d * sizeof *e->u);
    }
    return s->host->pullback_outputs(
        s->context, PSC_W_Q + role, layer, e->y, e->u, e->rows, begin, first + d);
}

/* A layer's heads and, with parallel residual, its MLP. */
static int add_layer(eap *e, int32_t layer) {
    const circuit_state *s = e->s;
    const int32_t heads = s->shape.n_heads, parallel = s->shape.parallel_residual;
    const int32_t first = psc_edge_receivers(&s->shape, layer);
    const float *mlp = e->run.mlp + layer * e->all + (int64_t)e->begin * s->model->d_model;
    const float *gamma, *beta;
    if (s->host->ln_parameters(s->context, PSC_LN1, layer, &gamma, &beta)) return -1;
    circuit_begin_group(e, first, 3 * heads + (parallel ? 1 : 0), e->run.resid_pre[layer]);
    for (int32_t i = 0; i < 3 * heads; i++) {
        if (pull_head(e, layer, i / heads, i % heads)) return -1;
        circuit_take(e, i, e->y, gamma);
    }
    if (!parallel) circuit_begin_group(e, first + 3 * heads, 1, e->run.resid_mid[layer]);
    circuit_take(e, parallel ? 3 * heads : 0, mlp, NULL);
    return 0;
}

/* Adds the scores of a run whose gradients are there. */
static int add_scores(eap *e, const eap_run *run) {
    circuit_state *s = e->s;
    const int32_t layers = s->shape.n_layers;
    e->run = *run;
    for (e->begin = s->first_row; e->begin < s->n_rows; e->begin += e->rows) {
        e->rows = s->n_rows - e->begin;
        if (e->rows > e->rows_together) e->rows = e->rows_together;
        if (take_writes(e)) return -1;
        for (int32_t l = 0; l < layers; l++) {
            if (l % EAP_LAYERS == 0) circuit_add_products(e);
            if (add_layer(e, l) || s->host->cancelled(s->context)) return -1;
        }
        circuit_begin_group(e, psc_edge_receivers(&s->shape, layers), 1, e->run.resid_pre[layers]);
        circuit_take(e, 0, e->run.final + (int64_t)e->begin * s->model->d_model, NULL);
        circuit_add_products(e);
    }
    return 0;
}

/* What a node writes a part of the way from the source's values to this run's. */
static void mix(const eap *e, float *to_rows, const float *other, const float *own, double part) {
    const circuit_state *s = e->s;
    const int64_t n = s->model->d_model;
    for (int32_t r = 0; r < s->n_rows; r++) {
        const float *to = own + r * n;
        const int32_t at = s->other_row[r];
        const float *from = at < 0 ? to : other + at * n;
        for (int64_t i = 0; i < n; i++)
            to_rows[r * n + i] =
                (float)((double)from[i] + part * ((double)to[i] - (double)from[i]));
    }
}

/* Rows begin..end-1 of a point have the mixed values, as constants. */
static psc_change fix_mixed(const circuit_state *s, const float *values, int32_t point,
    int32_t layer, int32_t begin, int32_t end) {
    return (psc_change){.struct_size = sizeof(psc_change),
        .kind = PSC_CHANGE_FIX,
        .point = point,
        .layer = layer,
        .sequence = s->run_rows[0].sequence,
        .row_begin = begin,
        .row_end = end,
        .head = -1,
        .key = -1,
        .values = values ? values + begin * (int64_t)s->model->d_model : NULL,
        .stride = s->model->d_model};
}

/* The runs in which rows of a node have `change`, with values part k / steps of the way,
 * k = 1..n. */
static int integrate(
    eap *e, const psc_change *change, int32_t n, const float *other, const float *own) {
    const circuit_state *s = e->s;
    psc_change changes[EAP_MOST_RUNS];
    for (int32_t begin = 0, count; begin < n; begin += count) {
        count = n - begin < e->runs_together ? n - begin : e->runs_together;
        for (int32_t i = 0; i < count; i++) {
            float *input = e->runs[i].input;
            mix(e, input, other, own, (double)(begin + i + 1) / (double)s->steps);
            changes[i] = fix_mixed(
                s, input, change->point, change->layer, change->row_begin, change->row_end);
        }
        if (find_gradients(e, count, changes)) return -1;
        for (int32_t i = 0; i < count; i++)
            if (add_scores(e, &e->runs[i])) return -1;
    }
    return 0;
}

/* The last input is this run's, where kl has no gradient. */
static int integrate_inputs(eap *e) {
    const circuit_state *s = e->s;
    const psc_change change = fix_mixed(s, NULL, PSC_HOOK_EMBED, -1, 0, s->n_rows);
    e->weight = 1.0 / s->steps;
    if (integrate(e, &change, s->steps - 1, s->source.writes.embed, s->own.writes.embed)) return -1;
    return s->metric == CIRCUIT_KL ? 0 : find_gradients(e, 1, NULL) || add_scores(e, &e->runs[0]);
}

/* The runs of one node. Of the last layer's writes the metric reads one row; only that is kept. */
static int integrate_node(
    eap *e, int32_t point, int32_t layer, const float *other, const float *own) {
    const circuit_state *s = e->s;
    const int32_t row = s->rows.index[s->slot], last = layer == s->shape.n_layers - 1;
    const psc_change change =
        fix_mixed(s, NULL, point, layer, last ? row : 0, last ? row + 1 : s->n_rows);
    return integrate(e, &change, s->metric == CIRCUIT_KL ? s->steps - 1 : s->steps, other, own);
}

static int integrate_activations(eap *e) {
    const circuit_state *s = e->s;
    const psc_writes *other = &s->source.writes, *own = &s->own.writes;
    const int32_t layers = s->shape.n_layers;
    e->weight = 1.0 / ((2.0 * layers + 1.0) * s->steps);
    if (integrate_node(e, PSC_HOOK_EMBED, -1, other->embed, own->embed)) return -1;
    for (int32_t l = 0; l < layers; l++)
        if (integrate_node(e, PSC_HOOK_Z, l, other->z[l], own->z[l]) ||
            integrate_node(e, PSC_HOOK_MLP_OUT, l, other->mlp_out[l], own->mlp_out[l]))
            return -1;
    return 0;
}

int circuit_attribute(circuit_state *s) {
    eap e = {.s = s, .weight = 1.0};
    if (make_room(&e)) return -1;
    if (s->scores == SCORES_EAP_IG) return integrate_inputs(&e);
    if (s->scores == SCORES_EAP_IG_ACTIVATIONS) return integrate_activations(&e);
    return find_gradients(&e, 1, NULL) || add_scores(&e, &e.runs[0]);
}
