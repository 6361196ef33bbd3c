/* What patched edges carry with do=zero and do=mean: one write of each sender for all rows.
 *
 *   zero   0: of a head z = 0, so W_O z = 0; of an MLP hook_mlp_out = 0, b_out included; embed 0
 *   mean   the mean over all rows of the source prompts, or of this prompt if there are none
 *          (set_mean: over all rows of a set's source prompts, which run before its first pair)
 *   means= z, hook_mlp_out, and for embed the first hook_resid_pre, of the file
 *
 * The residuals are their sums with the biases b_O, which are on no edge: of means the mean of the
 * residuals, else r_(l+1) = r_l + (W_O z + b_O) + mlp_out. Sums over rows are f64 in order, rounded
 * once. */
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

int circuit_read_means(circuit_state *s) {
    const int32_t n_layers = s->shape.n_layers;
    const int64_t n = s->model->d_model;
    if (!*s->means) return 0;
    if (s->what != CIRCUIT_MEAN)
        return s->host->fail(s->context, "means= is of do=mean; leave it out, or give do=mean");
    s->mean_z = s->host->life_alloc(s->context, 2 * (uint64_t)n_layers * sizeof *s->mean_z);
    if (!s->mean_z) return -1;
    s->mean_mlp = s->mean_z + n_layers;
    for (int32_t l = 0; l < n_layers; l++) {
        s->mean_z[l] = psc_read_mean(s->context, s->host, s->means, "attn.hook_z", l, n);
        if (!s->mean_z[l]) return -1;
        s->mean_mlp[l] = psc_read_mean(s->context, s->host, s->means, "hook_mlp_out", l, n);
        if (!s->mean_mlp[l]) return -1;
    }
    s->mean_embed = psc_read_mean(s->context, s->host, s->means, "hook_resid_pre", 0, n);
    return s->mean_embed ? 0 : -1;
}

/* The residuals of writes that are in place. */
static int add_residuals(circuit_state *s, circuit_writes *w) {
    float *attn = s->host->run_alloc(s->context, (uint64_t)w->n * sizeof *attn);
    if (!attn) return -1;
    memcpy((float *)w->resid_pre[0], w->embed, (size_t)w->n * sizeof *attn);
    for (int32_t l = 0; l < s->shape.n_layers; l++) {
        const float *bias = s->host->bias(s->context, PSC_W_O, l);
        float *next = (float *)w->resid_pre[l + 1];
        if (!bias || s->host->apply(s->context, PSC_W_O, l, attn, w->z[l], 1)) return -1;
        for (int64_t i = 0; i < w->n; i++) {
            const float mid = w->resid_pre[l][i] + (attn[i] + bias[i]);
            if (!s->shape.parallel_residual) ((float *)w->resid_mid[l])[i] = mid;
            next[i] = mid + w->mlp_out[l][i];
        }
    }
    return 0;
}

int circuit_make_constant(circuit_state *s) {
    circuit_writes *w = &s->source;
    const int64_t n = floats_of(s);
    const int own = s->what == CIRCUIT_MEAN && !s->mean_embed && s->summed_rows == 0;
    const size_t bytes = (size_t)s->model->d_model * sizeof(float);
    if ((own && circuit_add_rows(s, &s->own)) || circuit_place(s, w, 1)) return -1;
    memset(w->embed, 0, (size_t)n * sizeof *w->embed);
    for (int32_t l = 0; s->mean_embed && l < s->shape.n_layers; l++) {
        memcpy((float *)w->z[l], s->mean_z[l], bytes);
        memcpy((float *)w->mlp_out[l], s->mean_mlp[l], bytes);
    }
    if (s->mean_embed) memcpy(w->embed, s->mean_embed, bytes);
    if (s->what == CIRCUIT_ZERO || s->mean_embed) return add_residuals(s, w);
    for (int64_t i = 0; i < n; i++) w->embed[i] = (float)(s->sums[i] / (double)s->summed_rows);
    if (own) s->summed_rows = 0;
    return 0;
}
