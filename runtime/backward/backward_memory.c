/* The memory of the backward pass: a block of its buffers and of the residuals that the forward
 * pass keeps, and apart, since it can be freed before the rest:
 *
 *   inside   rot_q [R, N] and hook_pre [R, M] of all layers, or of the one that is recomputed
 *
 * Tensors that exist only where something selects them: backward_shown.c and backward_edits.c. */
#include "backward_inside.h"

#include "arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Floats of the residuals that the forward pass keeps per row. */
static size_t kept_floats(const psc_backward *b) {
    const bool mid = !b->with.model->config.parallel_residual;
    return b->n_layers * (1 + mid) * b->n + b->n;
}

/* Floats of q and hook_pre: of all layers, or of the one that is recomputed. */
static size_t inside_floats(const psc_backward *b, size_t rows) {
    return (b->recompute ? 1 : b->n_layers) * rows * (b->n + b->m);
}

/* Places all other buffers in one block; with null memory it only counts floats. */
static size_t place(psc_backward *b, size_t rows, size_t n_logits, size_t n_keys, float *memory) {
    const size_t threads = (size_t)psc_team_threads(b->with.team);
    float *wide = NULL;
    b->scratch_floats = psc_backward_scratch(b, n_keys);
    struct {
        float **to;
        size_t floats;
    } buffers[] = {{&b->g, rows * b->ld_n}, {&b->y2, rows * b->ld_n}, {&b->dz, rows * b->ld_n},
        {&b->dq, rows * b->ld_n}, {&b->dk, rows * b->ld_n}, {&b->dv, rows * b->ld_n},
        {&b->da, rows * b->ld_m}, {&b->scale, rows}, {&b->dscale, rows}, {&b->zeros, b->n},
        {&b->split, rows * b->ld_split}, {&b->scratch, threads * b->scratch_floats},
        {&wide, threads * 4 * b->v}, {&b->logits, n_logits * b->ld_v},
        {&b->kept, rows * kept_floats(b)}};
    size_t used = 0;
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        if (memory) *buffers[i].to = memory + used;
        used += psc_padded(buffers[i].floats);
    }
    b->wide = (double *)(void *)wide;
    return used;
}

double psc_backward_bytes(const psc_backward *backward, int32_t n_rows, int32_t n_logits,
    int32_t n_keys, bool recompute) {
    psc_backward counted = *backward;
    counted.recompute = recompute;
    const size_t rows = (size_t)n_rows;
    return ((double)place(&counted, rows, (size_t)n_logits, (size_t)n_keys, NULL) +
               (double)inside_floats(&counted, rows)) *
           sizeof(float);
}

psc_status psc_backward_open(
    psc_backward **out, const psc_backward_parts *parts, psc_error *error) {
    const psc_config *c = &parts->model->config;
    psc_backward *b = *out = calloc(1, sizeof *b);
    if (b) b->kept_layers = calloc(c->n_layers, sizeof *b->kept_layers);
    if (!b || !b->kept_layers) {
        psc_backward_close(out);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the backward pass");
    }
    b->with = *parts;
    b->n = c->d_model;
    b->heads = c->n_heads;
    b->d_head = c->d_head;
    b->m = c->d_mlp;
    b->v = c->d_vocab;
    b->n_layers = c->n_layers;
    b->ld_n = psc_padded(b->n);
    b->ld_m = psc_padded(b->m);
    b->ld_v = psc_padded(b->v);
    b->ld_split = b->ld_m > b->ld_n ? b->ld_m : b->ld_n;
    return PSC_OK;
}

void psc_backward_close(psc_backward **backward) {
    psc_backward *b = *backward;
    if (!b) return;
    float *blocks[] = {b->memory, b->inside.data, b->result.data, b->scores.data, b->edited.data,
        b->whole.data, b->edits.data};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) psc_aligned_free(blocks[i]);
    free(b->kept_layers);
    free(b->values);
    free(b->segments);
    free(b->n_keys);
    free(b);
    *backward = NULL;
}

double psc_backward_held(const psc_backward *b) {
    return ((double)b->floats + (double)b->inside.floats) * sizeof(float);
}

static void free_block(psc_backward *b) {
    psc_aligned_free(b->memory);
    b->memory = NULL;
    b->floats = 0;
}

void psc_backward_trim(psc_backward *b, double most) {
    if (psc_backward_held(b) <= most) return;
    free_block(b);
    psc_forward_drop(&b->inside, 0);
}

psc_status psc_backward_reserve(psc_backward *b) {
    const size_t rows = (size_t)b->n_rows, n_logits = (size_t)b->n_logits;
    const size_t n_keys = (size_t)b->most_keys, floats = place(b, rows, n_logits, n_keys, NULL);
    if (floats > b->floats) {
        free_block(b);
        b->memory = psc_aligned_alloc(floats * sizeof(float));
        if (!b->memory)
            return psc_fail(b->error, PSC_ERROR_MEMORY,
                "not enough memory for the gradient of %zu rows (%.0f MB)", rows,
                (double)floats * 4e-6);
        b->floats = floats;
    }
    place(b, rows, n_logits, n_keys, b->memory);
    memset(b->zeros, 0, b->n * sizeof *b->zeros);
    if (!psc_forward_grow(&b->inside, inside_floats(b, rows), b->error)) return PSC_ERROR_MEMORY;
    if (rows <= b->row_room) return PSC_OK;
    b->row_room = 0;
    free(b->segments);
    free(b->n_keys);
    b->segments = malloc(rows * sizeof *b->segments);
    b->n_keys = malloc(rows * sizeof *b->n_keys);
    if (!b->segments || !b->n_keys)
        return psc_fail(b->error, PSC_ERROR_MEMORY, "not enough memory for %zu rows", rows);
    b->row_room = rows;
    return PSC_OK;
}

void psc_backward_place_recomputed(psc_backward *b) {
    b->rot_q = b->inside.data;
    b->a = b->inside.data + (size_t)b->n_rows * b->n;
    for (size_t l = 0; l < b->n_layers; l++) {
        psc_kept_layer *layer = &b->kept_layers[l];
        if (!layer->rot_q) layer->rot_q = b->rot_q;
        if (!layer->a) layer->a = b->a;
    }
}

psc_status psc_backward_forget(psc_backward *b, psc_error *error) {
    assert(!b->with.values);
    if (b->recompute) return PSC_OK;
    b->recompute = true;
    psc_forward_drop(&b->inside, 0);
    if (!psc_forward_grow(&b->inside, inside_floats(b, (size_t)b->n_rows), error))
        return PSC_ERROR_MEMORY;
    for (size_t l = 0; l < b->n_layers; l++) b->kept_layers[l].rot_q = b->kept_layers[l].a = NULL;
    psc_backward_place_recomputed(b);
    return PSC_OK;
}
