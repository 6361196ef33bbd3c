/* Keys are stored in panels of 16 keys, d-major, values in panels of 16 dimensions, key-major. Both
 * are the layout that a matmul reads, so a score is one chain over d and z one chain over keys. */
#include "kv_cache.h"

#include "arena.h"
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

/* A cache of at most this many bytes asks for huge pages: a head's keys and values are scattered
 * over pages of 4 KiB, and translating their addresses takes as long as reading them. In a larger
 * cache, huge pages would take memory for positions that may never be used. */
#define MOST_HUGE 0x1p28

static size_t round_up(size_t n) {
    return (n + PSC_LANES - 1) / PSC_LANES * PSC_LANES;
}

/* Floats of one position in all layers and heads. */
static size_t position_floats(const psc_kv_cache *c) {
    return (size_t)c->n_layers * (size_t)c->n_heads * ((size_t)c->d_head + c->wide);
}

double psc_kv_cache_bytes(
    int32_t n_sequences, int32_t n_layers, int32_t n_heads, int32_t d_head, int32_t capacity) {
    const psc_kv_cache one = {.n_layers = n_layers,
        .n_heads = n_heads,
        .d_head = d_head,
        .wide = round_up((size_t)d_head)};
    return (double)n_sequences * (double)round_up((size_t)capacity) *
           (double)position_floats(&one) * sizeof(float);
}

psc_status psc_kv_cache_open(psc_kv_cache **out, int32_t n_sequences, int32_t n_layers,
    int32_t n_heads, int32_t d_head, int32_t capacity, int32_t shared, psc_error *error) {
    *out = NULL;
    psc_kv_cache *cache = calloc(1, sizeof *cache);
    if (!cache) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the KV cache");
    cache->n_sequences = n_sequences;
    cache->n_layers = n_layers;
    cache->n_heads = n_heads;
    cache->d_head = d_head;
    cache->capacity = round_up((size_t)capacity);
    cache->shared = round_up((size_t)shared);
    cache->wide = round_up((size_t)d_head);
    double positions =
        shared ? (double)cache->shared : (double)n_sequences * (double)cache->capacity;
    double bytes = positions * (double)position_floats(cache) * sizeof(float);
    cache->lengths = calloc((size_t)n_sequences, sizeof *cache->lengths);
    cache->parts = calloc((size_t)n_sequences, sizeof *cache->parts);
    /* Zeroed: kernels read lanes past d_head and keys past the length into sums that they drop.
     * calloc takes zero pages from the system and need not touch them. */
    if (bytes < (double)(SIZE_MAX / 4)) cache->memory = calloc((size_t)bytes + 64, 1);
    if (bytes <= MOST_HUGE) cache->huge_bytes = (size_t)bytes;
    if (cache->memory) psc_wish_huge_pages(cache->memory, cache->huge_bytes);
    cache->data = (float *)(((uintptr_t)cache->memory + 63) & ~(uintptr_t)63);
    if (!cache->memory || !cache->lengths || !cache->parts) {
        psc_kv_cache_close(&cache);
        return psc_fail(error, PSC_ERROR_MEMORY,
            "not enough memory for a KV cache of %.0f MB (%.0f positions); use fewer sequences or "
            "shorter ones",
            bytes / 1e6, positions);
    }
    for (int32_t i = 0; !shared && i < n_sequences; i++)
        cache->parts[i] = (psc_kv_part){(size_t)i * cache->capacity, cache->capacity};
    *out = cache;
    return PSC_OK;
}

void psc_kv_cache_close(psc_kv_cache **cache) {
    if (!*cache) return;
    free((*cache)->memory);
    free((*cache)->lengths);
    free((*cache)->parts);
    free(*cache);
    *cache = NULL;
}

void psc_kv_cache_clear(psc_kv_cache *cache) {
    memset(cache->lengths, 0, (size_t)cache->n_sequences * sizeof *cache->lengths);
    memset(cache->parts, 0, (size_t)cache->n_sequences * sizeof *cache->parts);
    cache->given = 0;
}

bool psc_kv_cache_give(psc_kv_cache *cache, int32_t sequence, int32_t n_positions) {
    const size_t room = round_up((size_t)n_positions);
    if (room > cache->capacity || room > cache->shared - cache->given) return false;
    cache->parts[sequence] = (psc_kv_part){cache->given, room};
    cache->given += room;
    return true;
}

float *psc_kv_cache_keys(const psc_kv_cache *cache, int32_t sequence, int32_t layer, int32_t head) {
    const psc_kv_part *part = &cache->parts[sequence];
    const size_t at = (size_t)layer * (size_t)cache->n_heads + (size_t)head;
    return cache->data + part->first * position_floats(cache) +
           at * part->room * ((size_t)cache->d_head + cache->wide);
}

float *psc_kv_cache_values(
    const psc_kv_cache *cache, int32_t sequence, int32_t layer, int32_t head) {
    return psc_kv_cache_keys(cache, sequence, layer, head) +
           cache->parts[sequence].room * (size_t)cache->d_head;
}

void psc_kv_cache_put_key(psc_kv_cache *cache, int32_t sequence, int32_t layer, int32_t head,
    int32_t position, const float *key) {
    size_t d_head = (size_t)cache->d_head, at = (size_t)position;
    float *keys = psc_kv_cache_keys(cache, sequence, layer, head);
    keys += at / PSC_LANES * PSC_LANES * d_head + at % PSC_LANES;
    for (size_t d = 0; d < d_head; d++) keys[d * PSC_LANES] = key[d];
}

void psc_kv_cache_put_value(psc_kv_cache *cache, int32_t sequence, int32_t layer, int32_t head,
    int32_t position, const float *value) {
    size_t d_head = (size_t)cache->d_head, panel = cache->parts[sequence].room * PSC_LANES;
    float *values = psc_kv_cache_values(cache, sequence, layer, head);
    values += (size_t)position * PSC_LANES;
    for (size_t d = 0; d < d_head; d += PSC_LANES, values += panel) {
        size_t lanes = d_head - d < PSC_LANES ? d_head - d : PSC_LANES;
        memcpy(values, value + d, lanes * sizeof *values);
    }
}

void psc_kv_cache_copy_head(psc_kv_cache *to, int32_t to_sequence, const psc_kv_cache *from,
    int32_t from_sequence, int32_t n_positions, int32_t layer, int32_t head) {
    const size_t lanes = PSC_LANES, d_head = (size_t)to->d_head, n = (size_t)n_positions;
    const size_t whole = n / lanes * lanes * d_head, rest = n % lanes;
    const size_t to_room = to->parts[to_sequence].room, room = from->parts[from_sequence].room;
    float *keys = psc_kv_cache_keys(to, to_sequence, layer, head);
    const float *from_keys = psc_kv_cache_keys(from, from_sequence, layer, head);
    memcpy(keys, from_keys, whole * sizeof *keys);
    for (size_t at = whole; rest > 0 && at < whole + lanes * d_head; at += lanes)
        memcpy(keys + at, from_keys + at, rest * sizeof *keys);
    float *values = psc_kv_cache_values(to, to_sequence, layer, head);
    const float *from_values = psc_kv_cache_values(from, from_sequence, layer, head);
    for (size_t p = 0; p < to->wide / lanes; p++)
        memcpy(values + p * to_room * lanes, from_values + p * room * lanes,
            n * lanes * sizeof *values);
}

void psc_kv_cache_copy(psc_kv_cache *to, int32_t to_sequence, const psc_kv_cache *from,
    int32_t from_sequence, int32_t n_positions, int32_t first_layer) {
    if (to == from && to_sequence == from_sequence) return;
    for (int32_t l = first_layer; l < to->n_layers; l++)
        for (int32_t h = 0; h < to->n_heads; h++)
            psc_kv_cache_copy_head(to, to_sequence, from, from_sequence, n_positions, l, h);
}
