/* The image: the pieces (weights_image.h) of each tensor in the order of the identity, then the
 * mean of the unembedding's rows. query_key_value holds q, k, v per head; each becomes a matrix of
 * its own. Biases and LayerNorm parameters are f32; matrices and the embedding keep their type. */
#include "weights_image.h"

#include "arena.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define ALIGNMENT 64
#define SLICE_BYTES ((size_t)8 << 20)

static size_t element_bytes(const psc_piece *p) {
    bool widened = p->kind == PSC_PIECE_FLOATS || p->kind == PSC_PIECE_MEAN;
    return widened ? sizeof(float) : psc_dtype_size(p->source->dtype);
}

/* Elements of outputs 0..out-1 in the image. */
static uint64_t elements(const psc_piece *p, size_t out) {
    if (p->kind == PSC_PIECE_PANELS) return psc_packed_elements(out, p->source->cols);
    if (p->kind == PSC_PIECE_MEAN) return p->source->cols;
    return (uint64_t)out * p->source->cols;
}

/* --- the plan -------------------------------------------------------------------------------- */

static psc_piece *add(
    psc_image_plan *plan, psc_piece_kind kind, const psc_weight *source, size_t out) {
    assert(plan->n < plan->capacity);
    psc_piece *p = &plan->pieces[plan->n++];
    *p = (psc_piece){.kind = kind, .source = source, .out = out, .group = out};
    return p;
}

static void add_floats(psc_image_plan *plan, const float **slot, const psc_weight *source) {
    if (source->data) add(plan, PSC_PIECE_FLOATS, source, source->rows)->floats = slot;
}

static void add_matrix(psc_image_plan *plan, psc_packed *packed, const psc_weight *weight,
    const psc_weight *bias, size_t k_block) {
    *packed = (psc_packed){
        .dtype = weight->dtype, .out = weight->rows, .k = weight->cols, .k_block = k_block};
    add(plan, PSC_PIECE_PANELS, weight, weight->rows)->panels = &packed->panels;
    if (bias) add_floats(plan, &packed->bias, bias);
}

static void add_qkv(psc_image_plan *plan, psc_layer *layer, const psc_layer_weights *weights) {
    const psc_config *c = &plan->checkpoint->config;
    size_t out = c->n_heads * c->d_head;
    for (size_t part = 0; part < 3; part++) {
        psc_packed *packed = &layer->matrix[PSC_W_Q + part];
        psc_piece *both[2] = {add(plan, PSC_PIECE_PANELS, &weights->qkv, out), NULL};
        *packed = (psc_packed){.dtype = weights->qkv.dtype,
            .out = out,
            .k = weights->qkv.cols,
            .k_block = PSC_K_BLOCK};
        both[0]->panels = &packed->panels;
        if (weights->qkv_bias.data) {
            both[1] = add(plan, PSC_PIECE_FLOATS, &weights->qkv_bias, out);
            both[1]->floats = &packed->bias;
        }
        for (int i = 0; i < 2 && both[i]; i++) {
            both[i]->first_row = part * c->d_head;
            both[i]->group = c->d_head;
            both[i]->stride = 3 * c->d_head;
        }
    }
}

static void add_layer(psc_image_plan *plan, psc_layer *layer, const psc_layer_weights *w) {
    add_qkv(plan, layer, w);
    add_matrix(plan, &layer->matrix[PSC_W_O], &w->dense, &w->dense_bias,
        plan->checkpoint->config.d_head); /* a block's sum is hook_result */
    add_matrix(plan, &layer->matrix[PSC_W_IN], &w->mlp_in, &w->mlp_in_bias, PSC_K_BLOCK);
    add_matrix(plan, &layer->matrix[PSC_W_OUT], &w->mlp_out, &w->mlp_out_bias, PSC_K_BLOCK);
    add_floats(plan, &layer->ln1.gamma, &w->ln1_gamma);
    add_floats(plan, &layer->ln1.beta, &w->ln1_beta);
    add_floats(plan, &layer->ln2.gamma, &w->ln2_gamma);
    add_floats(plan, &layer->ln2.beta, &w->ln2_beta);
}

/* The mean needs the whole unembedding, so it comes last. Pieces of one tensor keep their order,
 * which is the order of their indices. */
typedef struct sort_key {
    size_t order, index;
} sort_key;

static int by_order(const void *a, const void *b) {
    const sort_key *s = a, *t = b;
    if (s->order != t->order) return s->order < t->order ? -1 : 1;
    return (s->index > t->index) - (s->index < t->index);
}

static bool sort_pieces(psc_image_plan *plan) {
    psc_piece *sorted = malloc(plan->capacity * sizeof *sorted);
    sort_key *keys = malloc(plan->n * sizeof *keys);
    if (sorted && keys) {
        for (size_t i = 0; i < plan->n; i++) {
            const psc_piece *p = &plan->pieces[i];
            keys[i].order = p->kind == PSC_PIECE_MEAN ? SIZE_MAX : p->source->order;
            keys[i].index = i;
        }
        qsort(keys, plan->n, sizeof *keys, by_order);
        for (size_t i = 0; i < plan->n; i++) sorted[i] = plan->pieces[keys[i].index];
        free(plan->pieces);
        plan->pieces = sorted;
    } else {
        free(sorted);
    }
    free(keys);
    return sorted && plan->pieces == sorted;
}

psc_status psc_image_plan_open(
    psc_image_plan *out, psc_model *model, const psc_checkpoint *checkpoint, psc_error *error) {
    size_t n_layers = checkpoint->config.n_layers;
    *out =
        (psc_image_plan){.capacity = 16 * n_layers + 5, .checkpoint = checkpoint, .model = model};
    out->pieces = calloc(out->capacity, sizeof *out->pieces);
    if (!out->pieces)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the model's plan");
    model->embed_dtype = checkpoint->embed.dtype;
    add(out, PSC_PIECE_ROWS, &checkpoint->embed, checkpoint->embed.rows)->panels = &model->embed;
    add_matrix(out, &model->unembed, &checkpoint->unembed, NULL, PSC_K_BLOCK);
    add_floats(out, &model->ln_final.gamma, &checkpoint->ln_final_gamma);
    add_floats(out, &model->ln_final.beta, &checkpoint->ln_final_beta);
    for (size_t l = 0; l < n_layers; l++) add_layer(out, &model->layers[l], &checkpoint->layers[l]);
    add(out, PSC_PIECE_MEAN, &checkpoint->unembed, 1)->floats = &model->unembed_mean;
    if (!sort_pieces(out)) {
        psc_image_plan_close(out);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the model's plan");
    }
    for (size_t i = 0; i < out->n; i++) {
        psc_piece *p = &out->pieces[i];
        p->offset = out->bytes;
        p->bytes = elements(p, p->out) * element_bytes(p);
        out->bytes += (p->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    return PSC_OK;
}

void psc_image_plan_close(psc_image_plan *plan) {
    free(plan->pieces);
    *plan = (psc_image_plan){0};
}

uint64_t psc_image_plan_digest(const psc_image_plan *plan) {
    uint64_t digest = 0;
    for (size_t i = 0; i < plan->n; i++) {
        const psc_piece *p = &plan->pieces[i];
        uint64_t facts[] = {digest, (uint64_t)p->kind, (uint64_t)p->source->dtype, p->offset,
            p->bytes, p->out, p->source->cols};
        digest = XXH3_64bits(facts, sizeof facts);
    }
    return digest;
}

void psc_image_attach(const psc_image_plan *plan, const unsigned char *image) {
    for (size_t i = 0; i < plan->n; i++) {
        const psc_piece *p = &plan->pieces[i];
        if (p->floats) *p->floats = (const float *)(const void *)(image + p->offset);
        if (p->panels) *p->panels = image + p->offset;
    }
}

/* --- packing --------------------------------------------------------------------------------- */

/* Writes outputs begin..end-1 to out. A slice of grouped rows begins and ends with a group, a slice
 * of panels with a panel. */
static void fill(unsigned char *out, const psc_piece *p, size_t begin, size_t end) {
    const psc_weight *w = p->source;
    size_t size = psc_dtype_size(w->dtype);
    size_t first = p->first_row + begin / p->group * p->stride + begin % p->group;
    if (p->kind == PSC_PIECE_ROWS) {
        memcpy(out, (const char *)w->data + begin * w->cols * size, (end - begin) * w->cols * size);
    } else if (p->kind == PSC_PIECE_PANELS) {
        size_t group = p->stride ? p->group : end - begin;
        psc_pack(out, w->data, w->dtype, end - begin, w->cols, first, group, p->stride);
    } else {
        float *values = (float *)(void *)out;
        for (size_t o = begin; o < end; o++) {
            size_t row = p->first_row + o / p->group * p->stride + o % p->group;
            values[o - begin] = psc_widen(w->data, w->dtype, row);
        }
    }
}

/* Outputs per slice: whole panels of whole groups, or all. */
static size_t slice_outputs(const psc_piece *p) {
    size_t row_bytes = p->source->cols * element_bytes(p);
    size_t unit = PSC_LANES;
    if (p->stride) /* groups are heads: unit outputs are whole heads and whole panels */
        while (unit % p->group) unit += PSC_LANES;
    if (p->kind == PSC_PIECE_FLOATS || unit >= p->out) return p->out;
    size_t n = SLICE_BYTES / row_bytes / unit * unit;
    return n ? n : unit;
}

typedef struct packing {
    const psc_image_plan *plan;
    unsigned char *memory, *slice;
    size_t slice_bytes;
    psc_image_sink sink;
    void *payload;
    psc_error *error;
} packing;

static psc_status put(const packing *k, const void *data, size_t size) {
    if (size == 0 || k->sink(data, size, k->payload) == 0) return PSC_OK;
    return psc_fail(k->error, PSC_ERROR_IO, "cannot write the packed weights");
}

static psc_status pack_piece(const packing *k, const psc_piece *p) {
    static const unsigned char zeros[ALIGNMENT];
    size_t step = slice_outputs(p);
    psc_status status = PSC_OK;
    for (size_t o = 0; o < p->out && !status; o += step) {
        size_t end = p->out - o < step ? p->out : o + step;
        size_t bytes = (size_t)elements(p, end - o) * element_bytes(p);
        uint64_t at = p->offset + elements(p, o) * element_bytes(p);
        assert(k->memory || bytes <= k->slice_bytes);
        fill(k->memory ? k->memory + at : k->slice, p, o, end);
        if (!k->memory) status = put(k, k->slice, bytes);
    }
    if (status || k->memory) return status;
    return put(k, zeros, (size_t)((ALIGNMENT - p->bytes % ALIGNMENT) % ALIGNMENT));
}

/* The largest slice of the plan. */
static size_t largest_slice(const psc_image_plan *plan) {
    size_t most = 0;
    for (size_t i = 0; i < plan->n; i++) {
        const psc_piece *p = &plan->pieces[i];
        size_t n = slice_outputs(p);
        size_t bytes = (size_t)elements(p, n < p->out ? n : p->out) * element_bytes(p);
        if (bytes > most) most = bytes;
    }
    return most;
}

/* A model with such a weight computes nothing but NaN. */
static psc_status refuse_weight(const packing *k, size_t tensor, size_t first) {
    const psc_checkpoint_tensor *t = &k->plan->checkpoint->tensors[tensor];
    const psc_weight *w = t->weight;
    char place[64];
    const float value = psc_widen(w->data, w->dtype, first);
    if (w->cols > 1)
        snprintf(place, sizeof place, "%zu, %zu", first / w->cols, first % w->cols);
    else
        snprintf(place, sizeof place, "%zu", first);
    return psc_fail(k->error, PSC_ERROR_INPUT,
        "%s: tensor \"%s\" is %s at [%s], but weights must be finite; download the file again or use "
        "another checkpoint",
        k->plan->model->path, t->name, value != value ? "NaN" : "infinite", place);
}

static psc_status pack_tensors(psc_identity *identity, const packing *k) {
    const psc_image_plan *plan = k->plan;
    const psc_checkpoint *cp = plan->checkpoint;
    psc_status status = PSC_OK;
    size_t at = 0;
    for (size_t t = 0; t < cp->n_tensors && !status; t++) {
        const psc_weight *w = cp->tensors[t].weight;
        const size_t first = psc_identity_add(identity, t);
        if (first != SIZE_MAX) status = refuse_weight(k, t, first);
        for (; at < plan->n && !status; at++) {
            const psc_piece *p = &plan->pieces[at];
            if (p->source->order != t || p->kind == PSC_PIECE_MEAN) break;
            status = pack_piece(k, p);
        }
        psc_drop_pages(w->data, w->rows * w->cols * psc_dtype_size(w->dtype));
    }
    return status;
}

psc_status psc_image_pack(char hex[33], const psc_image_plan *plan, unsigned char *memory,
    psc_image_sink sink, void *payload, psc_error *error) {
    packing k = {.plan = plan, .memory = memory, .sink = sink, .payload = payload, .error = error};
    psc_identity *identity = NULL;
    if (!memory) {
        k.slice_bytes = largest_slice(plan);
        k.slice = psc_aligned_alloc(k.slice_bytes);
        if (!k.slice)
            return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to pack the weights");
    }
    psc_status status = psc_identity_open(&identity, plan->checkpoint, error);
    if (!status) status = pack_tensors(identity, &k);
    psc_identity_close(hex, &identity);
    psc_aligned_free(k.slice);
    return status;
}

/* The pullback of ones, divided by V. */
psc_status psc_image_mean(
    float *mean, const psc_image_plan *plan, const unsigned char *image, psc_error *error) {
    const psc_piece *unembed = NULL;
    for (size_t i = 0; i < plan->n; i++)
        if (plan->pieces[i].panels == &plan->model->unembed.panels) unembed = &plan->pieces[i];
    assert(unembed);
    const psc_packed *w = &plan->model->unembed;
    const psc_kernels *kernels = psc_kernels_for(psc_isa_best(psc_isa_mask()));
    float *ones = psc_aligned_alloc(w->out * sizeof *ones);
    if (!ones)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the mean unembedding");
    for (size_t i = 0; i < w->out; i++) ones[i] = 1.0f;
    psc_pullback p = {.y = mean,
        .ldy = w->k,
        .u = ones,
        .ldu = w->out,
        .w = image + unembed->offset,
        .rows = 1,
        .k = w->k,
        .out = w->out,
        .k_begin = 0,
        .k_end = w->k};
    psc_fp_state state = psc_fp_enter();
    kernels->pullback[w->dtype](&p);
    for (size_t i = 0; i < w->k; i++) mean[i] /= (float)w->out;
    psc_fp_leave(state);
    psc_aligned_free(ones);
    return PSC_OK;
}
