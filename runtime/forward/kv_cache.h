/* Keys and values of every sequence, layer and head, in the panels that the kernels read.
 * Private to runtime/.
 * Threads: several may write different heads or positions at once.
 * Ownership: the cache owns its memory. */
#ifndef KV_CACHE_H
#define KV_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "psc_error.h"

/* The part of a sequence: positions first..first+room-1 of all, both multiples of 16. */
typedef struct psc_kv_part {
    size_t first, room;
} psc_kv_part;

typedef struct psc_kv_cache {
    int32_t n_sequences, n_layers, n_heads, d_head;
    size_t capacity;    /* most keys of a sequence, a multiple of 16 */
    size_t shared;      /* positions of all sequences, a multiple of 16; 0: capacity for each */
    size_t wide;        /* d_head rounded up to a multiple of 16 */
    size_t given;       /* of them */
    psc_kv_part *parts; /* [n_sequences] */
    float *data;        /* 64-byte aligned, in memory */
    void *memory;       /* a page costs nothing until a position in it is written */
    size_t huge_bytes;  /* of data, if it has huge pages, else 0: a few positions touch them all */
    int32_t *lengths;   /* [n_sequences] tokens in each */
} psc_kv_cache;

/* Bytes of the keys and values of n_sequences of `capacity` positions. */
double psc_kv_cache_bytes(
    int32_t n_sequences, int32_t n_layers, int32_t n_heads, int32_t d_head, int32_t capacity);
/* shared: positions that all sequences have together, each a multiple of 16; 0: capacity for each. */
psc_status psc_kv_cache_open(psc_kv_cache **out, int32_t n_sequences, int32_t n_layers,
    int32_t n_heads, int32_t d_head, int32_t capacity, int32_t shared, psc_error *error);
void psc_kv_cache_close(psc_kv_cache **cache);
/* Of a cache whose positions are shared: empties all sequences and takes their room from them. */
void psc_kv_cache_clear(psc_kv_cache *cache);
/* Gives the sequence room for n_positions after those that were given before; false without room. */
bool psc_kv_cache_give(psc_kv_cache *cache, int32_t sequence, int32_t n_positions);
/* [room/16][d_head][16], lane = key mod 16 */
float *psc_kv_cache_keys(const psc_kv_cache *cache, int32_t sequence, int32_t layer, int32_t head);
/* [ceil(d_head/16)][room][16], lane = d mod 16 */
float *psc_kv_cache_values(
    const psc_kv_cache *cache, int32_t sequence, int32_t layer, int32_t head);
/* Writes one key or value [d_head] at a position. */
void psc_kv_cache_put_key(psc_kv_cache *cache, int32_t sequence, int32_t layer, int32_t head,
    int32_t position, const float *key);
void psc_kv_cache_put_value(psc_kv_cache *cache, int32_t sequence, int32_t layer, int32_t head,
    int32_t position, const float *value);
/* Copies keys and values of positions 0..n_positions-1 from one sequence to another one, of another
 * cache of the same model or of the same cache, for one head of one layer. Later positions and
 * lengths do not change. */
void psc_kv_cache_copy_head(psc_kv_cache *to, int32_t to_sequence, const psc_kv_cache *from,
    int32_t from_sequence, int32_t n_positions, int32_t layer, int32_t head);
/* The same for all heads of the layers from first_layer on. */
void psc_kv_cache_copy(psc_kv_cache *to, int32_t to_sequence, const psc_kv_cache *from,
    int32_t from_sequence, int32_t n_positions, int32_t first_layer);

#endif
