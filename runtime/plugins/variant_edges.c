/* Variants with edges (psc_edges.h): checked against the run, and the buffers of a pass of theirs.
 *
 *   inputs [INPUT_ROWS, 3H + 1, ld] + differences [rows of a chunk, stored senders, ld]
 *   + sets [variants, receivers, ld_sets];  ld = N and a cache line
 *
 * Sums of many receivers read a few columns of each sender; with strides of 4 KiB these would share
 * few sets of the caches. Stored are the groups of four senders that hold the embedding or a layer
 * that a sum names: the sums are of the same groups (docs/numerics.md). A chunk has as many rows as
 * DIFFERENCE_BYTES and retained_cap leave room for. A variant begins at the first layer with a
 * patched receiver if the run's own writes are given, else at layer 0. */
#include "variants.h"

#include <string.h>

#define DIFFERENCE_BYTES ((uint64_t)256 << 20) /* of a chunk of more than INPUT_ROWS rows */
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

static size_t receivers_of(const psc_edge_shape *shape) {
    return (size_t)psc_edge_receivers(shape, shape->n_layers) + 1;
}

/* Groups of all senders. */
static size_t groups_of(const psc_edge_shape *shape) {
    return ((size_t)psc_edge_senders(shape, shape->n_layers) + PSC_SUBSET_TERMS - 1) /
           PSC_SUBSET_TERMS;
}

/* Bytes of a receiver's sets of so many groups. */
static size_t set_bytes(size_t groups) {
    return (groups + 3) / 4 * 4;
}

/* Bytes of a row's differences. */
static uint64_t row_bytes(const psc_session *s, size_t groups) {
    return (uint64_t)groups * PSC_SUBSET_TERMS * stride_of(s) * sizeof(float);
}

/* Rows of a chunk if memory is there. */
static int32_t rows_together(uint64_t bytes_a_row) {
    const uint64_t rows = bytes_a_row ? DIFFERENCE_BYTES / bytes_a_row : INT32_MAX;
    return rows < INPUT_ROWS ? INPUT_ROWS : rows < INT32_MAX ? (int32_t)rows : INT32_MAX;
}

int32_t psc_edge_rows_together(const psc_session *s) {
    const psc_edge_shape shape = shape_of(s);
    return rows_together(row_bytes(s, groups_of(&shape)));
}

/* Bytes of a chunk of n_rows rows of a batch of n_slots variants. */
static uint64_t chunk_bytes(const psc_session *s, size_t groups, int32_t n_rows, int32_t n_slots) {
    const psc_edge_shape shape = shape_of(s);
    const uint64_t rows = n_rows < INPUT_ROWS ? (uint64_t)n_rows : INPUT_ROWS;
    return rows * (3 * (uint64_t)shape.n_heads + 1) * stride_of(s) * sizeof(float) +
           (uint64_t)n_rows * row_bytes(s, groups) +
           (uint64_t)n_slots * receivers_of(&shape) * set_bytes(groups);
}

/* Bytes of the marks: [slots] edges, [most_rows] other_row, own_row, [groups + 2] groups, [L + 1]
 * apart, [1 + L] listed, [slots, receivers] reads. */
static uint64_t mark_bytes(const psc_session *s, int32_t most_rows, int32_t n_slots) {
    const psc_edge_shape shape = shape_of(s);
    return (uint64_t)n_slots * (sizeof(const psc_edges *) + receivers_of(&shape)) +
           (2 * (uint64_t)most_rows + groups_of(&shape) + 2) * sizeof(int32_t) +
           2 * ((uint64_t)shape.n_layers + 1) * sizeof(bool);
}

uint64_t psc_edge_bytes(const psc_session *s, int32_t most_rows, int32_t n_rows, int32_t n_slots) {
    const psc_edge_shape shape = shape_of(s);
    return mark_bytes(s, most_rows, n_slots) + chunk_bytes(s, groups_of(&shape), n_rows, n_slots);
}

/* Bytes that the cap leaves beside all that is retained but for `own` of it. */
static uint64_t room_beside(const psc_session *s, uint64_t own) {
    const uint64_t cap = s->options.retained_cap, used = s->retained_bytes - own;
    return cap > used ? cap - used : 0;
}

bool psc_edge_fits(const psc_edge_buffers *b, const psc_session *s, int32_t most_rows,
    int32_t n_rows, int32_t n_slots) {
    return psc_edge_bytes(s, most_rows, n_rows, n_slots) <= room_beside(s, b->bytes);
}

/* Gives a block at least `bytes`, counted in the session and in b->bytes. */
static psc_status grow(psc_edge_buffers *b, void **block, uint64_t *size, uint64_t bytes,
    psc_session *s, int32_t n_rows, psc_error *error) {
    if (*size >= bytes) return PSC_OK;
    const uint64_t room = room_beside(s, *size);
    if (bytes > room)
        return psc_fail(error, PSC_ERROR_MEMORY,
            "patched edges of %d rows need %llu bytes; the cap (retained_cap, --retain) leaves "
            "%llu; run fewer tokens or raise it",
            (int)n_rows, (unsigned long long)bytes, (unsigned long long)room);
    psc_aligned_free(*block);
    b->bytes -= *size;
    s->retained_bytes -= *size;
    *size = 0;
    *block = psc_aligned_alloc(bytes);
    if (!*block)
        return psc_fail(error, PSC_ERROR_MEMORY,
            "not enough memory for the edges of %d rows (%llu bytes)", (int)n_rows,
            (unsigned long long)bytes);
    *size = bytes;
    b->bytes += bytes;
    s->retained_bytes += bytes;
    return PSC_OK;
}

static psc_status open_marks(psc_edge_buffers *b, psc_session *s, const psc_variant_batch *batch,
    int32_t most_rows, psc_error *error) {
    const psc_edge_shape shape = shape_of(s);
    const size_t slots = (size_t)batch->n_slots, rows = (size_t)most_rows;
    const psc_status status = grow(b, &b->marks, &b->mark_bytes,
        mark_bytes(s, most_rows, batch->n_slots), s, batch->n_rows, error);
    if (status != PSC_OK) return status;
    b->edges = b->marks;
    b->other_row = (int32_t *)(void *)(b->edges + slots);
    b->own_row = b->other_row + rows;
    b->groups = b->own_row + rows;
    b->apart = (bool *)(b->groups + groups_of(&shape) + 2);
    b->listed = b->apart + shape.n_layers + 1;
    b->reads = (uint8_t *)(b->listed + shape.n_layers + 1);
    return PSC_OK;
}

/* Lowers *most to the rows of a chunk that fit. Variants that share the run's keys go through in
 * one. */
static psc_status open_memory(psc_edge_buffers *b, psc_session *s, const psc_variant_batch *batch,
    int32_t *most, psc_error *error) {
    const psc_edge_shape shape = shape_of(s);
    const size_t groups = (size_t)b->groups[groups_of(&shape)];
    const int32_t together = rows_together(row_bytes(s, groups));
    const uint64_t room = room_beside(s, b->memory_bytes);
    int32_t n = batch->n_rows < *most ? batch->n_rows : *most;
    if (!batch->shares && n > together) n = together;
    while (!batch->shares && n > 1 && chunk_bytes(s, groups, n, batch->n_slots) > room) n--;
    const psc_status status = grow(b, (void **)&b->memory, &b->memory_bytes,
        chunk_bytes(s, groups, n, batch->n_slots), s, batch->n_rows, error);
    if (status != PSC_OK) return status;
    const size_t inputs =
        (size_t)(n < INPUT_ROWS ? n : INPUT_ROWS) * (3 * (size_t)shape.n_heads + 1) * stride_of(s);
    b->inputs = b->memory;
    b->differences = b->inputs + inputs;
    b->sets = (uint8_t *)(b->differences + (size_t)n * groups * PSC_SUBSET_TERMS * stride_of(s));
    *most = n;
    return PSC_OK;
}

/* --- what is patched ------------------------------------------------------------------------- */

/* What a receiver reads of n senders, of which `patched` are: its sum names the patched ones if
 * these are at most half, else the others. */
static uint8_t reads_of(const uint8_t *patched, int32_t n) {
    int32_t count = 0;
    for (int32_t u = 0; u < n; u++) count += patched[u] != 0;
    return (uint8_t)((2 * count > n ? PSC_EDGE_OTHER : 0) |
                     (count > 0 && count < n ? PSC_EDGE_SUM : 0));
}

/* Marks the layers of the senders that a receiver's sum names. */
static void list_senders(psc_edge_buffers *b, const psc_edge_shape *shape, const uint8_t *patched,
    int32_t n, uint8_t reads) {
    const bool others = reads & PSC_EDGE_OTHER;
    for (int32_t u = 0; u < n; u++)
        if ((patched[u] != 0) != others)
            b->listed[u == 0 ? 0 : 1 + (u - 1) / (shape->n_heads + 1)] = true;
}

/* Marks what the receivers of a layer (n_layers: the logits) read in a batch's slot. */
static void mark_layer(psc_edge_buffers *b, const psc_edge_shape *shape, int32_t slot,
    const uint8_t *patched, int32_t layer) {
    const int32_t first = psc_edge_receivers(shape, layer);
    const int32_t end = layer < shape->n_layers ? psc_edge_receivers(shape, layer + 1) : first + 1;
    for (int32_t r = first; r < end; r++) {
        const uint8_t *own = patched + psc_edge_first(shape, r);
        const int32_t n = psc_edge_reads(shape, r);
        const uint8_t reads = reads_of(own, n);
        b->reads[(size_t)slot * receivers_of(shape) + (size_t)r] = reads;
        if (reads) b->apart[layer] = true;
        if (reads & PSC_EDGE_SUM) list_senders(b, shape, own, n, reads);
    }
}

/* Numbers the groups with a listed sender. */
static void number_groups(psc_edge_buffers *b, const psc_edge_shape *shape) {
    const int32_t groups = (int32_t)groups_of(shape), a_layer = shape->n_heads + 1;
    int32_t stored = 0;
    for (int32_t g = 0; g < groups; g++) {
        const int32_t first = g * PSC_SUBSET_TERMS, last = first + PSC_SUBSET_TERMS - 1;
        bool listed = g == 0 && b->listed[0];
        for (int32_t l = first > 0 ? (first - 1) / a_layer : 0;
             l < shape->n_layers && psc_edge_senders(shape, l) <= last; l++)
            listed = listed || b->listed[1 + l];
        b->groups[g] = stored;
        stored += listed;
    }
    b->groups[groups] = b->groups[groups + 1] = stored;
}

/* The sets [ld_sets] of a receiver that reads n senders. */
static void fill_sets(uint8_t *sets, size_t ld_sets, const int32_t *groups, const uint8_t *patched,
    int32_t n, uint8_t reads) {
    const bool others = reads & PSC_EDGE_OTHER;
    memset(sets, 0, ld_sets);
    for (int32_t u = 0; u < n && reads & PSC_EDGE_SUM; u++)
        if ((patched[u] != 0) != others)
            sets[groups[u / PSC_SUBSET_TERMS]] |= (uint8_t)(1u << (u % PSC_SUBSET_TERMS));
}

static void fill_slot(psc_edge_buffers *b, const psc_edge_shape *shape,
    const psc_variant_batch *batch, int32_t slot) {
    const size_t ld_sets = set_bytes((size_t)b->groups[groups_of(shape)]);
    const uint8_t *patched = b->edges[slot]->patched;
    const int32_t first = psc_edge_receivers(shape, batch->first_layer);
    for (int32_t r = first; r < (int32_t)receivers_of(shape); r++) {
        const size_t at = (size_t)slot * receivers_of(shape) + (size_t)r;
        fill_sets(b->sets + at * ld_sets, ld_sets, b->groups, patched + psc_edge_first(shape, r),
            psc_edge_reads(shape, r), b->reads[at]);
    }
}

psc_status psc_edge_buffers_fill(psc_edge_buffers *b, psc_session *s,
    const psc_variant_batch *batch, int32_t most_rows, psc_edge_pass *out, int32_t *most,
    psc_error *error) {
    const psc_edge_shape shape = shape_of(s);
    psc_status status = open_marks(b, s, batch, most_rows, error);
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
    number_groups(b, &shape);
    status = open_memory(b, s, batch, most, error);
    if (status != PSC_OK) return status;
    for (int32_t i = 0; i < batch->n_slots; i++) fill_slot(b, &shape, batch, i);
    const size_t groups = (size_t)b->groups[groups_of(&shape)];
    *out = (psc_edge_pass){.shape = shape,
        .edges = b->edges,
        .other_row = b->other_row,
        .own_row = b->own_row,
        .apart = b->apart,
        .listed = b->listed,
        .groups = b->groups,
        .reads = b->reads,
        .sets = b->sets,
        .ld_sets = set_bytes(groups),
        .stored = groups * PSC_SUBSET_TERMS,
        .ld = stride_of(s),
        .differences = b->differences,
        .inputs = b->inputs,
        .rows_together = *most < INPUT_ROWS ? *most : INPUT_ROWS};
    return PSC_OK;
}
