/* What patched edges carry with do=zero and do=mean: one write of each sender for all rows.
 *
 *   zero   0: of a head z = 0, so W_O z = 0; of an MLP hook_mlp_out = 0, b_out included; embed 0
 *   mean   the mean over all rows of the source prompts, or of this prompt if there are none
 *          (set_mean: over all rows of a set's source prompts, which run before its first pair)
 *
 * The residuals are their sums with the biases b_O, which are on no edge. Sums over rows are f64 in
 * order, rounded once. */
#include "circuit.h"

#include <string.h>

static int64_t floats_of(const circuit_state *s) {
    return (int64_t)(circuit_writes_bytes(s, 1) / sizeof(float));
}

int circuit_add_rows(circuit_state *s, const circuit_writes *w) {
    const int64_t n = w->n, all = floats_of(s);
    if (!s->sums) s->sums = s->host->life_alloc(s->context, (uint64_t)all * sizeof *s->sums);
    if (!s->sums) return -1;
    if (s->summed_rows == 0) memset(s->sums, 0, (size_t)all * sizeof *s->sums);
    for (int64_t a = 0; a < all / n; a++) /* the tensors lie one after the other */
        for (int64_t r = 0; r < s->n_rows; r++)
            for (int64_t i = 0; i < n; i++)
                s->sums[a * n + i] += (double)w->embed[(a * s->n_rows + r) * n + i];
    s->summed_rows += s->n_rows;
    return 0;
}

/* Residuals without writes: the biases of attention so far. */
static int add_biases(circuit_state *s, circuit_writes *w) {
    const size_t bytes = (size_t)w->n * sizeof(float);
    for (int32_t l = 0; l < s->shape.n_layers; l++) {
        const float *bias = s->host->bias(s->context, PSC_W_O, l);
        float *next = (float *)w->resid_pre[l + 1];
        if (!bias) return -1;
        for (int64_t i = 0; i < w->n; i++) next[i] = w->resid_pre[l][i] + bias[i];
        if (!s->shape.parallel_residual) memcpy((float *)w->resid_mid[l], next, bytes);
    }
    return 0;
}

int circuit_make_constant(circuit_state *s) {
    circuit_writes *w = &s->source;
    const int64_t n = floats_of(s);
    const int own = s->what == CIRCUIT_MEAN && s->summed_rows == 0;
    if ((own && circuit_add_rows(s, &s->own)) || circuit_place(s, w, 1)) return -1;
    memset(w->embed, 0, (size_t)n * sizeof *w->embed);
    if (s->what == CIRCUIT_ZERO) return add_biases(s, w);
    for (int64_t i = 0; i < n; i++) w->embed[i] = (float)(s->sums[i] / (double)s->summed_rows);
    if (own) s->summed_rows = 0;
    return 0;
}
