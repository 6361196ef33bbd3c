/* The lenses of one row, by the logits of the writes below them (partition_vectors.c):
 *
 *   u_t . x^l = sum of u_t . c over the writes c below layer l
 *   z - b     = (sigma_f/sigma_l) sum_c f_c,  f_c = u_t . c/sigma_f, in f64, for l < L
 *
 * The final lens passes through the unembedding itself. An edit of the residual stream at a layer,
 * e = x^{l+1} - ((mlp + attn) + x^l), is one more write below the layers after it; without an edit
 * e is 0, since the pass adds the writes by these very operations. */
#include "partition.h"

#include <math.h>
#include <string.h>

enum { PIECE = 2048 };

int partition_lenses_begin(partition_state *s) {
    const psc_point points[] = {PSC_HOOK_RESID_PRE, PSC_HOOK_RESID_MID, PSC_HOOK_RESID_POST};
    int edited = 0;
    s->edits = NULL;
    for (int i = 0; i < 3; i++) edited |= s->host->has_editor(s->context, points[i]);
    if (!edited || s->n_lenses == 1) return 0;
    const uint64_t layers = (uint64_t)s->n_layers, v = (uint64_t)s->n_vocab;
    s->edits = s->host->run_alloc(s->context, layers * v * sizeof(float));
    s->edited = s->host->run_alloc(s->context, layers * sizeof *s->edited);
    return s->edits && s->edited ? 0 : -1;
}

/* Sets e at the entry of layer l; returns whether it is not 0. */
static int edit_at(const partition_state *s, int64_t l, int32_t slot, float *e) {
    const partition_kept *kept = &s->kept;
    const int64_t at = (l - 1) * s->rows.n + slot;
    const float *x = kept->residual[l * s->rows.n + slot];
    int edited = 0;
    for (int64_t d = 0; d < s->n_dims; d++) {
        float sum = 0.0f;
        if (l == 0) {
            sum = kept->embed[slot][d];
        } else if (s->sequential) {
            sum = kept->attn[at][d] + kept->residual[at][d];
            sum = kept->mlp[at][d] + sum;
        } else {
            sum = kept->mlp[at][d] + kept->attn[at][d];
            sum = sum + kept->residual[at][d];
        }
        e[d] = x[d] - sum;
        edited |= e[d] != 0.0f;
    }
    return edited;
}

/* Computes u.e/sigma of the row's edits below the earlier lenses. */
static int edits(partition_state *s, int32_t slot, double sigma) {
    const int64_t n = s->n_dims;
    for (int64_t l = 0; s->edits && l < s->n_layers; l++) {
        float *e = s->x;
        s->edited[l] = edit_at(s, l, slot, e);
        if (!s->edited[l]) continue;
        const double mean = psc_sum_striped(n, e) / (double)n;
        for (int64_t d = 0; d < n; d++)
            e[d] = (float)(((double)e[d] - mean) / sigma * (double)s->gamma[d]);
        if (s->host->apply(s->context, PSC_W_U, -1, s->edits + l * s->n_vocab, e, 1)) return -1;
    }
    return 0;
}

typedef struct lens_job {
    partition_state *s;
    const float *y;
    double sigma;
    int32_t slot;
} lens_job;

/* sigma_f/sigma_l */
static double ratio(const lens_job *job, int64_t l) {
    const partition_state *s = job->s;
    const float *x = s->kept.residual[l * s->rows.n + job->slot];
    const double n = (double)s->n_dims, mean = psc_sum_striped(s->n_dims, x) / n;
    return job->sigma / sqrt(psc_dot_centered(s->n_dims, x, mean, x, mean) / n + s->eps);
}

/* Adds up the writes over pieces of the vocabulary. */
static void add_pieces(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const lens_job *job = payload;
    const partition_state *s = job->s;
    const int64_t v = s->n_vocab;
    double sum[PIECE];
    (void)thread;
    for (int64_t piece = begin; piece < end; piece++) {
        const int64_t from = piece * PIECE, n = v - from < PIECE ? v - from : PIECE;
        const float *constant = s->constant + from, *y = job->y + v + from;
        memset(sum, 0, sizeof sum);
        for (int64_t l = 0; l < s->n_layers; l++) {
            const float *a = l ? y + (2 * l - 1) * v : y, *b = l ? y + 2 * l * v : NULL;
            float *z = s->z + l * v + from, *direct = s->before[l].direct + from;
            const double by = s->lens_ratios[l];
            s->reductions->add_writes(sum, direct, z, a, b, constant, by, (size_t)n);
            if (s->edits && s->edited[l])
                s->reductions->add_writes(
                    sum, direct, z, s->edits + l * v + from, NULL, constant, by, (size_t)n);
        }
    }
}

int partition_lenses_row(partition_state *s, int32_t slot, const float *y, double sigma) {
    partition_before *final = &s->before[s->n_lenses - 1];
    final->z = y;
    for (int64_t t = 0; t < s->n_vocab; t++) final->direct[t] = y[t] - s->constant[t];
    if (s->n_lenses == 1) return 0;
    lens_job job = {s, y, sigma, slot};
    if (edits(s, slot, sigma)) return -1;
    for (int64_t l = 0; l < s->n_layers; l++) s->lens_ratios[l] = ratio(&job, l);
    s->host->parallel_for(s->context, (s->n_vocab + PIECE - 1) / PIECE, add_pieces, &job);
    return 0;
}
