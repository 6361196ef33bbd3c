/* Runs with patched edges, and their metric.
 *
 *   metric   z of the target (z_a - z_b of a contrast); log p of it; or KL(base || patched)
 *
 * at the target's own last row (kl: at the last row). The host makes the runs (psc_edges.h). Rows before
 * the first token in which the prompts differ are equal in every run, so no run computes them. */
#include "circuit.h"

#include <math.h>
#include <string.h>

#define SETS_BYTES ((int64_t)32 << 20) /* of the patched edges of a call */
#define MOST_RUNS 256                  /* of a call */

/* --- writes ---------------------------------------------------------------------------------- */

enum { HANDLE_EMBED, HANDLE_Z, HANDLE_MLP, HANDLE_PRE, HANDLE_MID, HANDLE_POST };

int circuit_retain(circuit_state *s, circuit_writes *w) {
    static const psc_point points[] = {PSC_HOOK_EMBED, PSC_HOOK_Z, PSC_HOOK_MLP_OUT,
        PSC_HOOK_RESID_PRE, PSC_HOOK_RESID_MID, PSC_HOOK_RESID_POST};
    const int32_t last = s->shape.n_layers - 1;
    for (int i = HANDLE_EMBED; i <= HANDLE_POST; i++) {
        psc_filter filter = PSC_FILTER_INIT;
        if (i == HANDLE_MID && s->shape.parallel_residual) continue;
        if (i == HANDLE_POST) filter.layers = &last, filter.n_layers = 1;
        w->handles[i] = s->host->retain(s->context, points[i], &filter);
        if (w->handles[i] < 0) return -1;
    }
    return 0;
}

/* The rows of a retained tensor, or a copy of them at *to, which advances. */
static const float *take_tensor(
    circuit_state *s, const circuit_writes *w, int handle, int32_t layer, float **to) {
    const size_t floats = (size_t)s->n_rows * (size_t)s->model->d_model;
    psc_event event;
    if (s->host->fetch(s->context, w->handles[handle], layer, &event)) return NULL;
    if (!*to) return event.tensor.data;
    float *copy = memcpy(*to, event.tensor.data, floats * sizeof **to);
    *to += floats;
    return copy;
}

/* Room for copies of this run's writes: embed, and z, mlp_out, resid_pre (and mid) of each layer. */
static float *source_room(circuit_state *s) {
    const uint64_t of_layers = s->shape.parallel_residual ? 3 : 4;
    const uint64_t floats = (of_layers * (uint64_t)s->shape.n_layers + 2) * (uint64_t)s->n_rows *
                            (uint64_t)s->model->d_model;
    if (floats <= s->source_floats) return s->source_memory;
    s->source_memory = s->host->life_alloc(s->context, floats * sizeof *s->source_memory);
    s->source_floats = s->source_memory ? floats : 0;
    return s->source_memory;
}

int circuit_take(circuit_state *s, circuit_writes *w, int copy) {
    const int32_t layers = s->shape.n_layers;
    float *to = copy ? source_room(s) : NULL;
    if (copy && !to) return -1;
    const float *embed = take_tensor(s, w, HANDLE_EMBED, -1, &to);
    int complete = embed != NULL;
    for (int32_t l = 0; l < layers && complete; l++) {
        w->z[l] = take_tensor(s, w, HANDLE_Z, l, &to);
        w->mlp_out[l] = take_tensor(s, w, HANDLE_MLP, l, &to);
        w->resid_pre[l] = take_tensor(s, w, HANDLE_PRE, l, &to);
        complete = w->z[l] && w->mlp_out[l] && w->resid_pre[l];
        if (!complete || s->shape.parallel_residual) continue;
        w->resid_mid[l] = take_tensor(s, w, HANDLE_MID, l, &to);
        complete = w->resid_mid[l] != NULL;
    }
    if (complete) w->resid_pre[layers] = take_tensor(s, w, HANDLE_POST, layers - 1, &to);
    w->writes = (psc_writes){.struct_size = sizeof w->writes,
        .n_rows = s->n_rows,
        .embed = embed,
        .z = w->z,
        .mlp_out = w->mlp_out,
        .resid_pre = w->resid_pre,
        .resid_mid = s->shape.parallel_residual ? NULL : w->resid_mid};
    return complete && w->resid_pre[layers] ? 0 : -1;
}

/* --- the metric ------------------------------------------------------------------------------ */

double circuit_value(const circuit_state *s, const float *z, double lse) {
    const int64_t n = s->model->d_vocab;
    if (s->metric == CIRCUIT_KL) {
        const float *base = s->base + (int64_t)s->slot * n;
        double sum = 0;
        for (int64_t v = 0; v < n; v++)
            sum += (double)s->p[v] * (((double)base[v] - s->base_lse) - ((double)z[v] - lse));
        return sum > 0.0 ? sum : 0.0;
    }
    const int32_t *ids = s->targets.ids + 2 * ((int64_t)s->target * s->rows.n + (int64_t)s->slot);
    if (ids[1] >= 0) return (double)z[ids[0]] - (double)z[ids[1]];
    return s->metric == CIRCUIT_LOG_PROB ? (double)z[ids[0]] - lse : (double)z[ids[0]];
}

double circuit_normalized(const circuit_state *s, double value) {
    const double scale = s->base_value - s->source_value;
    return scale == 0.0 ? NAN : (value - s->source_value) / scale;
}

/* --- runs ------------------------------------------------------------------------------------ */

static int on_logits(int32_t variant, const psc_event *logits, void *payload) {
    circuit_state *s = payload;
    const int32_t at = s->rows.index[s->slot] - logits->rows[0].index;
    if (at < 0) { /* the prompts differ only after the row */
        s->values[variant] = s->base_value;
        return 0;
    }
    const float *z = logits->tensor.data + at * logits->tensor.stride[0];
    const double lse =
        s->metric == CIRCUIT_LOGIT ? 0.0 : s->host->log_sum_exp(s->context, s->model->d_vocab, z);
    s->values[variant] = circuit_value(s, z, lse);
    return s->host->cancelled(s->context);
}

static int make_room(circuit_state *s) {
    const int64_t group = SETS_BYTES / s->n_edges;
    if (s->sets) return 0;
    s->group = (int32_t)(group < 1 ? 1 : group > MOST_RUNS ? MOST_RUNS : group);
    s->sets = s->host->run_alloc(s->context, (uint64_t)(s->group * s->n_edges));
    s->set_edges = s->host->run_alloc(s->context, (uint64_t)s->group * sizeof *s->set_edges);
    s->variants = s->host->run_alloc(s->context, (uint64_t)s->group * sizeof *s->variants);
    return s->sets && s->set_edges && s->variants ? 0 : -1;
}

int circuit_run(
    circuit_state *s, int64_t n, circuit_set_fn make, const void *payload, double *values) {
    const int last = s->rows.index[s->slot] == s->n_rows - 1;
    if (make_room(s)) return -1;
    for (int64_t begin = 0; begin < n; begin += s->group) {
        const int32_t count = (int32_t)(n - begin < s->group ? n - begin : s->group);
        memset(s->sets, 0, (size_t)(count * s->n_edges));
        for (int32_t i = 0; i < count; i++) {
            uint8_t *patched = s->sets + i * s->n_edges;
            make(payload, begin + i, patched);
            s->set_edges[i] = (psc_edges){.struct_size = sizeof *s->set_edges,
                .sequence = s->run_rows[0].sequence,
                .row_begin = s->first_row,
                .patched = patched,
                .other = &s->source.writes,
                .own = &s->own.writes};
            s->variants[i] =
                (psc_variant){.struct_size = sizeof *s->variants, .edges = &s->set_edges[i]};
        }
        s->values = values + begin;
        if (s->host->variants(
                s->context, count, s->variants, last ? PSC_ROWS_LAST : PSC_ROWS_ALL, on_logits, s))
            return -1;
        s->done += count;
        s->host->progress(s->context, s->done / s->all);
    }
    return 0;
}
