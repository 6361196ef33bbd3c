/* Variants with edges (psc_edges.h): checked against the run, and the buffers of a pass of theirs.
 *
 *   inputs [INPUT_ROWS, 3H + 1, ld] + differences [rows of the batch, senders, ld]
 *   + sets [variants, receivers, ld_sets] + reads [variants, receivers];  ld = N and a cache line
 *
 * Sums of many receivers read a few columns of each sender; with strides of 4 KiB these would share
 * few sets of the caches. A variant begins at the first layer with a patched receiver if the run's
 * own writes are given, else at layer 0. */
#include "variants.h"

#include <string.h>

#define DIFFERENCE_BYTES ((uint64_t)256 << 20) /* of a batch, unless one variant needs more */
#define INPUT_ROWS 64

static psc_edge_shape shape_of(const psc_session *s) {
    const psc_model_info *info = &s->model->info;
    return (psc_edge_shape){info->n_layers, info->n_heads, info->parallel_residual};
}

/* --- checking -------------------------------------------------------------------------------- */

static bool writes_complete(const psc_writes *w, bool parallel) {
    return w->struct_size >= sizeof *w && w->struct_size <= PSC_MOST_STRUCTURE && w->n_rows > 0 &&
           w->embed && w->z && w->mlp_out && w->resid_pre && (parallel || w->resid_mid);
}

static const char *fault_of_edges(const psc_variant *variant, bool parallel) {
    const psc_edges *e = variant->edges;
    if (e->struct_size < sizeof *e || e->struct_size > PSC_MOST_STRUCTURE)
        return "the struct_size of its edges is not that of psc_edges";
    if (variant->n_changes != 0) return "a variant with edges cannot have changes";
    if (!e->patched || !e->other) return "its edges need patched and other";
    if (!writes_complete(e->other, parallel) || (e->own && !writes_complete(e->own, parallel)))
        return "the writes of its edges are not complete";
    return NULL;
}

static const char *fault_of_rows(
    const psc_session *s, const psc_edges *e, int32_t begin, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        const int32_t other = e->other_row ? e->other_row[i] : s->rows[begin + i].index;
        if (other < -1 || other >= e->other->n_rows) return "a row has no row of the other run";
    }
    if (e->own && begin + n > e->own->n_rows) return "the run's own writes have too few rows";
    return NULL;
}

/* The first layer with a patched receiver; n_layers: at most the logits are patched. */
static int32_t first_patched(const psc_edge_shape *shape, const uint8_t *patched) {
    const int64_t end = psc_edge_first(shape, psc_edge_receivers(shape, shape->n_layers));
    int64_t edge = 0;
    while (edge < end && !patched[edge]) edge++;
    int32_t layer = 0;
    while (layer < shape->n_layers &&
           edge >= psc_edge_first(shape, psc_edge_receivers(shape, layer + 1)))
        layer++;
    return layer;
}

const char *psc_variant_edges_check(
    const psc_session *s, const psc_variant *variant, psc_variant_span *out) {
    const psc_edge_shape shape = shape_of(s);
    const psc_edges *e = variant->edges;
    const char *fault = fault_of_edges(variant, shape.parallel_residual);
    if (fault) return fault;
    int32_t n;
    const int32_t begin = psc_variant_rows(s, e->sequence, &n);
    if (n == 0) return "the run has no rows of its sequence";
    const int32_t position = s->rows[begin].position;
    const int32_t end = variant->row_end ? variant->row_end : position + n;
    if (end > position + n || e->row_begin < position || e->row_begin >= end)
        return "its rows are not in the run";
    *out = (psc_variant_span){.sequence = e->sequence,
        .row_begin = begin + e->row_begin - position,
        .n_rows = end - e->row_begin,
        .first_layer = e->own ? first_patched(&shape, e->patched) : 0};
    return fault_of_rows(s, e, out->row_begin, out->n_rows);
}

/* --- buffers --------------------------------------------------------------------------------- */

void psc_edge_buffers_free(psc_edge_buffers *b) {
    psc_aligned_free(b->memory);
    psc_aligned_free(b->marks);
    *b = (psc_edge_buffers){0};
}

/* Floats from a sender or receiver to the next. */
static size_t stride_of(const psc_session *s) {
    return (size_t)s->model->info.d_model + PSC_LANES;
}

/* Bytes of a row's differences. */
static uint64_t row_bytes(const psc_session *s) {
    const psc_edge_shape shape = shape_of(s);
    return (uint64_t)psc_edge_senders(&shape, shape.n_layers) * stride_of(s) * sizeof(float);
}

/* Bytes of a receiver's sets. */
static size_t set_bytes(const psc_edge_shape *shape) {
    const size_t block = 4 * PSC_SUBSET_TERMS;
    return ((size_t)psc_edge_senders(shape, shape->n_layers) + block - 1) / block * 4;
}

static size_t receivers_of(const psc_edge_shape *shape) {
    return (size_t)psc_edge_receivers(shape, shape->n_layers) + 1;
}

int32_t psc_edge_rows_together(const psc_session *s) {
    const uint64_t rows = DIFFERENCE_BYTES / row_bytes(s);
    return rows < INT32_MAX ? (int32_t)rows : INT32_MAX;
}

static uint64_t input_bytes(const psc_session *s) {
    return (uint64_t)INPUT_ROWS * (3 * (uint64_t)s->model->info.n_heads + 1) * stride_of(s) *
           sizeof(float);
}

uint64_t psc_edge_bytes(const psc_session *s, int32_t n_rows, int32_t n_slots) {
    const psc_edge_shape shape = shape_of(s);
    return input_bytes(s) + (uint64_t)n_rows * row_bytes(s) +
           (uint64_t)n_slots * receivers_of(&shape) * (set_bytes(&shape) + 1);
}

static psc_status open_memory(
    psc_edge_buffers *b, const psc_session *s, const psc_variant_batch *batch, psc_error *error) {
    const psc_edge_shape shape = shape_of(s);
    const uint64_t inputs = input_bytes(s);
    const uint64_t differences = (uint64_t)batch->n_rows * row_bytes(s);
    const uint64_t receivers = (uint64_t)batch->n_slots * receivers_of(&shape);
    const uint64_t bytes = psc_edge_bytes(s, batch->n_rows, batch->n_slots);
    const uint64_t cap = s->options.retained_cap, used = s->retained_bytes - b->bytes;
    if (b->bytes < bytes) {
        if (used > cap || bytes > cap - used)
            return psc_fail(error, PSC_ERROR_MEMORY,
                "patched edges of %d rows need %llu bytes; %llu are already retained and the cap "
                "(retained_cap, --retain) is %llu; run fewer tokens or raise it",
                (int)batch->n_rows, (unsigned long long)bytes, (unsigned long long)used,
                (unsigned long long)cap);
        psc_aligned_free(b->memory);
        b->bytes = 0;
        b->memory = psc_aligned_alloc(bytes);
        if (!b->memory)
            return psc_fail(error, PSC_ERROR_MEMORY,
                "not enough memory for the edges of %d rows (%llu bytes)", (int)batch->n_rows,
                (unsigned long long)bytes);
        b->bytes = bytes;
    }
    b->inputs = b->memory;
    b->differences = b->inputs + inputs / sizeof(float);
    b->sets = (uint8_t *)(b->differences + differences / sizeof(float));
    b->reads = b->sets + receivers * set_bytes(&shape);
    return PSC_OK;
}

/* [L + 1] apart, [1 + L] listed, [rows] other_row, own_row, [slots] edges. */
static psc_status open_marks(
    psc_edge_buffers *b, int32_t n_layers, int32_t rows, psc_error *error) {
    const size_t layers = (size_t)n_layers + 1, n = (size_t)rows;
    if (b->marks) return PSC_OK;
    b->marks = psc_aligned_alloc(
        n * (sizeof *b->edges + 2 * sizeof *b->other_row) + 2 * layers * sizeof *b->apart);
    if (!b->marks) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for edges");
    b->edges = b->marks;
    b->other_row = (int32_t *)(b->edges + n);
    b->own_row = b->other_row + n;
    b->apart = (bool *)(b->own_row + n);
    b->listed = b->apart + layers;
    return PSC_OK;
}

/* Fills the sets [ld_sets] of a receiver that reads n senders, of which `patched` are; returns what
 * it reads. The sum names the patched senders if these are at most half, else the others. */
static uint8_t fill_sets(uint8_t *sets, size_t ld_sets, const uint8_t *patched, int32_t n) {
    int32_t count = 0;
    for (int32_t u = 0; u < n; u++) count += patched[u] != 0;
    const bool others = 2 * count > n;
    memset(sets, 0, ld_sets);
    for (int32_t u = 0; u < n; u++)
        if ((patched[u] != 0) != others)
            sets[u / PSC_SUBSET_TERMS] |= (uint8_t)(1u << (u % PSC_SUBSET_TERMS));
    return (uint8_t)((others ? PSC_EDGE_OTHER : 0) | (count > 0 && count < n ? PSC_EDGE_SUM : 0));
}

/* Marks the layers of the senders that a sum of n senders names. */
static void list_senders(
    psc_edge_buffers *b, const psc_edge_shape *shape, const uint8_t *sets, int32_t n) {
    for (int32_t u = 0; u < n; u++)
        if (sets[u / PSC_SUBSET_TERMS] >> u % PSC_SUBSET_TERMS & 1)
            b->listed[u == 0 ? 0 : 1 + (u - 1) / (shape->n_heads + 1)] = true;
}

/* Marks what the receivers of a layer (n_layers: the logits) read in a batch's slot. */
static void mark_layer(psc_edge_buffers *b, const psc_edge_shape *shape, int32_t slot,
    const uint8_t *patched, int32_t layer) {
    const size_t ld_sets = set_bytes(shape);
    const int32_t first = psc_edge_receivers(shape, layer);
    const int32_t end = layer < shape->n_layers ? psc_edge_receivers(shape, layer + 1) : first + 1;
    for (int32_t r = first; r < end; r++) {
        const size_t at = (size_t)slot * receivers_of(shape) + (size_t)r;
        const int32_t n = psc_edge_reads(shape, r);
        uint8_t *sets = b->sets + at * ld_sets;
        b->reads[at] = fill_sets(sets, ld_sets, patched + psc_edge_first(shape, r), n);
        if (b->reads[at]) b->apart[layer] = true;
        list_senders(b, shape, sets, n);
    }
}

psc_status psc_edge_buffers_fill(psc_edge_buffers *b, const psc_session *s,
    const psc_variant_batch *batch, int32_t most_rows, psc_edge_pass *out, psc_error *error) {
    const psc_edge_shape shape = shape_of(s);
    psc_status status = open_memory(b, s, batch, error);
    if (status == PSC_OK) status = open_marks(b, shape.n_layers, most_rows, error);
    if (status != PSC_OK) return status;
    memset(b->apart, 0, 2 * ((size_t)shape.n_layers + 1) * sizeof *b->apart);
    for (int32_t i = 0, r = 0; i < batch->n_slots; i++) {
        const psc_variant_slot *slot = &batch->slots[i];
        const psc_edges *e = b->edges[i] = slot->variant.edges;
        for (int32_t k = 0; k < slot->n_rows; k++, r++) {
            b->own_row[r] = slot->row_begin + k;
            b->other_row[r] = e->other_row ? e->other_row[k] : s->rows[slot->row_begin + k].index;
        }
        for (int32_t l = batch->first_layer; l <= shape.n_layers; l++)
            mark_layer(b, &shape, i, e->patched, l);
    }
    *out = (psc_edge_pass){.shape = shape,
        .edges = b->edges,
        .other_row = b->other_row,
        .own_row = b->own_row,
        .apart = b->apart,
        .listed = b->listed,
        .reads = b->reads,
        .sets = b->sets,
        .ld_sets = set_bytes(&shape),
        .ld = stride_of(s),
        .differences = b->differences,
        .inputs = b->inputs,
        .rows_together = INPUT_ROWS};
    return PSC_OK;
}
