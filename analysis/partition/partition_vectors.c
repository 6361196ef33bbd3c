/* The vectors of some rows on their way into the unembedding, and the tensors that they come from.
 *
 *   final lens    gamma P(x)/sigma + beta          write c    gamma P(c)/sigma      [items, N]
 *
 * x and sigma: the final residual's. A head's write is W_O z with the z of all other heads zero,
 * with the forward pass's own bits. */
#include "partition.h"

#include <math.h>
#include <string.h>

enum { KEPT_PRE, KEPT_POST, KEPT_EMBED, KEPT_ATTN, KEPT_MLP, KEPT_Z };

/* --- retained tensors ------------------------------------------------------------------------ */

static int has_vector(const partition_state *s, psc_component_kind kind) {
    for (int32_t v = 0; v < s->n_vectors; v++)
        if (s->vectors[v].kind == (int32_t)kind) return 1;
    return 0;
}

int partition_keep(partition_state *s) {
    static const psc_point points[] = {PSC_HOOK_RESID_PRE, PSC_HOOK_RESID_POST, PSC_HOOK_EMBED,
        PSC_HOOK_ATTN_OUT, PSC_HOOK_MLP_OUT, PSC_HOOK_Z};
    const int wanted[] = {s->n_lenses > 1, 1, has_vector(s, PSC_COMPONENT_EMBED),
        has_vector(s, PSC_COMPONENT_ATTN_OUT), has_vector(s, PSC_COMPONENT_MLP_OUT),
        has_vector(s, PSC_COMPONENT_HEAD)};
    const int32_t last = (int32_t)s->n_layers - 1;
    for (int i = 0; i < 6; i++) {
        psc_filter filter = s->rows.filter;
        if (i == KEPT_POST) {
            filter.layers = &last;
            filter.n_layers = 1;
        }
        s->kept.handle[i] = wanted[i] ? s->host->retain(s->context, points[i], &filter) : -1;
        if (wanted[i] && s->kept.handle[i] < 0) return -1;
    }
    return 0;
}

/* Fetches pointers to the chosen rows of `count` layers. */
static int fetch_layers(
    partition_state *s, int kept, int32_t layer, int32_t count, const float **out) {
    for (int32_t l = 0; l < count; l++)
        if (psc_rows_fetch(s->context, s->host, &s->rows, s->kept.handle[kept], layer + l,
                out + (int64_t)l * s->rows.n))
            return -1;
    return 0;
}

int partition_fetch(partition_state *s) {
    partition_kept *kept = &s->kept;
    const uint64_t rows = (uint64_t)s->rows.n, n = (uint64_t)s->n_layers * rows;
    const int32_t layers = (int32_t)s->n_layers;
    const float **table = s->host->run_alloc(s->context, (4 * n + 2 * rows) * sizeof *table + 1);
    if (!table) return -1;
    kept->residual = table;
    kept->embed = kept->residual + n + rows;
    kept->attn = kept->embed + rows;
    kept->mlp = kept->attn + n;
    kept->z = kept->mlp + n;
    const float **const to[] = {
        kept->residual, kept->residual + n, kept->embed, kept->attn, kept->mlp, kept->z};
    for (int i = 0; i < 6; i++) {
        if (kept->handle[i] < 0) continue;
        const int32_t one = i == KEPT_POST || i == KEPT_EMBED;
        const int32_t layer = i == KEPT_POST ? layers - 1 : i == KEPT_EMBED ? -1 : 0;
        if (fetch_layers(s, i, layer, one ? 1 : layers, to[i])) return -1;
    }
    return 0;
}

/* --- writes ---------------------------------------------------------------------------------- */

/* Computes the writes of `count` heads of one layer by one product; room for n_heads rows. */
static int head_writes(
    partition_state *s, const partition_vector *v, int32_t count, int32_t slot, float *out) {
    const int64_t width = s->n_heads * s->d_head, layer = v->layer;
    const float *z = s->kept.z[layer * s->rows.n + slot];
    memset(s->heads, 0, (size_t)count * (size_t)width * sizeof(float));
    for (int32_t i = 0; i < count; i++) {
        const int64_t at = v[i].head * s->d_head;
        memcpy(s->heads + i * width + at, z + at, (size_t)s->d_head * sizeof(float));
    }
    return s->host->apply(s->context, PSC_W_O, (int32_t)layer, out, s->heads, count);
}

/* Computes the heads' writes of a row, and copies the biases: s->writes of the row's items. */
static int made_writes(const partition_block *b, int32_t row) {
    partition_state *s = b->s;
    const int64_t item = (int64_t)row * b->items + b->items - b->count;
    for (int32_t i = 0; i < b->count; i++) {
        const partition_vector *v = &s->vectors[b->begin + i];
        float *out = s->writes + (item + i) * s->n_dims;
        int32_t heads = 0;
        while (i + heads < b->count && v[heads].layer == v->layer &&
               v[heads].kind == PSC_COMPONENT_HEAD)
            heads++;
        if (heads && head_writes(s, v, heads, b->first + row, out)) return -1;
        if (heads) i += heads - 1;
        if (v->kind != PSC_COMPONENT_ATTN_BIAS) continue;
        const float *bias = s->host->bias(s->context, PSC_W_O, v->layer);
        if (!bias) return -1;
        memcpy(out, bias, (size_t)s->n_dims * sizeof *out);
    }
    return 0;
}

static const float *write_of(const partition_state *s, int64_t item, int32_t vector, int32_t slot) {
    const partition_vector *v = &s->vectors[vector];
    const int64_t at = (int64_t)v->layer * s->rows.n + slot;
    if (v->kind == PSC_COMPONENT_EMBED) return s->kept.embed[slot];
    if (v->kind == PSC_COMPONENT_ATTN_OUT) return s->kept.attn[at];
    if (v->kind == PSC_COMPONENT_MLP_OUT) return s->kept.mlp[at];
    return s->writes + item * s->n_dims;
}

/* --- vectors --------------------------------------------------------------------------------- */

/* The mean, |P(x)|^2 and sigma of each row's final residual. */
static void final_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const partition_block *b = payload;
    const partition_state *s = b->s;
    const int64_t n = s->n_dims;
    (void)thread;
    for (int64_t row = begin; row < end; row++) {
        const float *x = s->kept.residual[s->n_layers * s->rows.n + b->first + row];
        double *out = s->finals + 3 * row;
        out[0] = psc_sum_striped(n, x) / (double)n;
        out[1] = psc_dot_centered(n, x, out[0], x, out[0]);
        out[2] = sqrt(out[1] / (double)n + s->eps);
    }
}

static void make_vectors(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const partition_block *b = payload;
    const partition_state *s = b->s;
    const int64_t n = s->n_dims;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t row = item / b->items, i = item % b->items - (b->items - b->count);
        const float *x = s->kept.residual[s->n_layers * s->rows.n + b->first + row];
        const double *final = s->finals + 3 * row;
        float *out = s->x + item * n;
        if (i < 0) {
            for (int64_t d = 0; d < n; d++)
                out[d] = (float)(((double)x[d] - final[0]) / final[2] * (double)s->gamma[d] +
                                 (double)s->beta[d]);
            continue;
        }
        const int32_t slot = b->first + (int32_t)row;
        const float *c = write_of(s, item, b->begin + (int32_t)i, slot);
        const double mean = psc_sum_striped(n, c) / (double)n;
        s->parts[2 * item] = psc_dot_centered(n, x, final[0], c, mean);
        s->parts[2 * item + 1] = psc_dot_centered(n, c, mean, c, mean);
        for (int64_t d = 0; d < n; d++)
            out[d] = (float)(((double)c[d] - mean) / final[2] * (double)s->gamma[d]);
    }
}

int partition_unembed(partition_block *block) {
    const partition_state *s = block->s;
    const int64_t items = (int64_t)block->rows * block->items;
    for (int32_t row = 0; row < block->rows; row++)
        if (made_writes(block, row)) return -1;
    s->host->parallel_for(s->context, block->rows, final_rows, block);
    s->host->parallel_for(s->context, items, make_vectors, block);
    return s->host->apply(s->context, PSC_W_U, -1, s->y, s->x, items);
}
