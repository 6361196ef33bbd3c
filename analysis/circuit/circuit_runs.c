/* Runs with patched edges, and their metric.
 *
 *   metric   z of the target (z_a - z_b of a contrast); log p of it; or KL(base || patched)
 *
 * at the target's own last row (kl: at the last row). The host makes the runs (psc_edges.h). Rows
 * before the first token in which the prompts differ are equal in every run: none computes them. */
#include "circuit.h"

#include <math.h>
#include <string.h>

#define SETS_BYTES ((int64_t)32 << 20) /* of the patched edges of a call */
#define MOST_RUNS 256                  /* of a call */

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

static int32_t runs_of_a_call(const circuit_state *s) {
    const int64_t group = SETS_BYTES / s->n_edges;
    return (int32_t)(group < 1 ? 1 : group > MOST_RUNS ? MOST_RUNS : group);
}

uint64_t circuit_run_bytes(const circuit_state *s) {
    const uint64_t lists = sizeof(double) + 2 * sizeof(circuit_scored) + 1;
    return (uint64_t)s->n_edges * ((uint64_t)runs_of_a_call(s) + lists);
}

static int make_room(circuit_state *s) {
    if (s->sets) return 0;
    s->group = runs_of_a_call(s);
    s->sets = s->host->run_alloc(s->context, (uint64_t)(s->group * s->n_edges));
    s->set_edges = s->host->run_alloc(s->context, (uint64_t)s->group * sizeof *s->set_edges);
    s->variants = s->host->run_alloc(s->context, (uint64_t)s->group * sizeof *s->variants);
    return s->sets && s->set_edges && s->variants ? 0 : -1;
}

int circuit_run(
    circuit_state *s, int64_t n, circuit_set_fn make, const void *payload, double *values) {
    return circuit_run_with(
        s, &s->source.writes, s->other_row + s->first_row, n, make, payload, values);
}

int circuit_run_with(circuit_state *s, const psc_writes *other, const int32_t *other_row, int64_t n,
    circuit_set_fn make, const void *payload, double *values) {
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
                .other = other,
                .other_row = other_row,
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
