/* Attention of rows that follow a prefix in another cache (psc_prefix): P prefix keys, then a row's
 * own ones, up to itself.
 *
 *   scores[r, key]: keys 0..P-1 from the prefix, P.. from the rows' own cache
 *   z_r: blocks of PSC_K_BLOCK keys anchored at key 0, each one chain; P lies inside a block
 *
 *        |<- whole blocks ->|<- part of a block ->|<- own keys ->|
 *        0                  B                     P              position
 *
 * One call of a kernel per part gives many rows the prefix's share, whatever their sequences. The
 * chains of z then continue over the own keys with the same fused multiply-adds, so a row has the
 * bits of attention over one cache. Rows have few own keys: psc_prefix is meant for those. */
#include "forward_inside.h"

#include <string.h>

static int32_t prefix_of(const psc_forward *f, int32_t row) {
    return f->pass->prefix->lengths[f->rows[row].sequence];
}

/* The first own key of a row, as a position of the own cache. */
static size_t first_own(const psc_forward *f, int32_t row) {
    const psc_row *r = &f->rows[row];
    return (size_t)(r->index - f->first_index - (r->position - prefix_of(f, row)));
}

bool psc_forward_prefix_joins(const psc_forward *f, int32_t begin, int32_t row) {
    const psc_prefix *prefix = f->pass->prefix;
    const int32_t last = prefix_of(f, row - 1);
    if (f->rows[row].sequence == f->rows[row - 1].sequence) return true;
    return last > 0 && prefix_of(f, row) >= last &&
           prefix->sequences[f->rows[row].sequence] == prefix->sequences[f->rows[begin].sequence];
}

/* --- scores ---------------------------------------------------------------------------------- */

/* The own keys of rows begin..end-1 of one sequence. They begin inside a panel of 16 keys: the call
 * also writes up to 15 scores before theirs, which the prefix's call replaces. */
static void own_scores(const psc_forward *f, const psc_attention *tile, int32_t first,
    int32_t begin, int32_t end, int32_t head) {
    const psc_prefix *prefix = f->pass->prefix;
    const size_t start = first_own(f, first + begin), before = start % PSC_LANES;
    const int32_t length = prefix_of(f, first + begin);
    int32_t n_keys[PSC_ATTENTION_TILE];
    psc_attention a = *tile;
    for (int32_t r = begin; r < end; r++)
        n_keys[r - begin] = (int32_t)before + f->rows[first + r].position - length + 1;
    a.y += (size_t)begin * a.ldy + (size_t)length;
    a.y -= before;
    a.x += (size_t)begin * a.ldx;
    a.cache = psc_kv_cache_keys(prefix->own, 0, f->layer, head) + (start - before) * f->d_head;
    a.key_capacity = prefix->own->parts[0].room;
    a.n_keys = n_keys;
    a.rows = (size_t)(end - begin);
    f->kernels->attention_scores(&a);
}

void psc_forward_prefix_scores(
    const psc_forward *f, const psc_attention *tile, int32_t first, int32_t head) {
    const psc_prefix *prefix = f->pass->prefix;
    const int32_t rows = (int32_t)tile->rows, sequence = f->rows[first].sequence;
    for (int32_t begin = 0, end; begin < rows; begin = end) {
        end = begin + 1;
        while (end < rows && f->rows[first + end].sequence == f->rows[first + begin].sequence)
            end++;
        own_scores(f, tile, first, begin, end, head);
    }
    if (prefix_of(f, first) == 0) return;
    int32_t n_keys[PSC_ATTENTION_TILE];
    psc_attention a = *tile;
    for (int32_t r = 0; r < rows; r++) n_keys[r] = prefix_of(f, first + r);
    a.cache = psc_kv_cache_keys(prefix->cache, prefix->sequences[sequence], f->layer, head);
    a.key_capacity = prefix->cache->parts[prefix->sequences[sequence]].room;
    a.n_keys = n_keys;
    f->kernels->attention_scores(&a);
}

/* --- values ---------------------------------------------------------------------------------- */

/* The prefix's share: whole blocks into z, the part of a block into chains [rows, ld], which are 0
 * for a prefix of whole blocks. Prefixes ascend over the rows. */
static void prefix_values(const psc_forward *f, const psc_attention *tile, int32_t first,
    int32_t head, float *chains, size_t ld) {
    const psc_prefix *prefix = f->pass->prefix;
    const int32_t rows = (int32_t)tile->rows, sequence = f->rows[first].sequence;
    const float *values =
        psc_kv_cache_values(prefix->cache, prefix->sequences[sequence], f->layer, head);
    int32_t whole[PSC_ATTENTION_TILE], part[PSC_ATTENTION_TILE];
    for (int32_t r = 0; r < rows; r++) {
        const int32_t length = prefix_of(f, first + r);
        part[r] = length % PSC_K_BLOCK;
        whole[r] = length - part[r];
        if (part[r] == 0) memset(chains + (size_t)r * ld, 0, f->d_head * sizeof *chains);
    }
    psc_attention a = *tile;
    a.key_capacity = prefix->cache->parts[prefix->sequences[sequence]].room;
    for (int32_t begin = 0, end; begin < rows; begin = end) {
        for (end = begin + 1; end < rows && whole[end] == whole[begin];) end++;
        a.x = tile->x + (size_t)begin * tile->ldx;
        a.y = tile->y + (size_t)begin * tile->ldy;
        a.ldy = tile->ldy;
        a.cache = values;
        a.n_keys = whole + begin;
        a.rows = (size_t)(end - begin);
        if (whole[begin] > 0) f->kernels->attention_values(&a);
        while (begin < end && part[begin] == 0) begin++;
        a.x = tile->x + (size_t)begin * tile->ldx + whole[end - 1];
        a.y = chains + (size_t)begin * ld;
        a.ldy = ld;
        a.cache = values + (size_t)whole[end - 1] * PSC_LANES;
        a.n_keys = part + begin;
        a.rows = (size_t)(end - begin);
        if (begin < end) f->kernels->attention_values(&a);
    }
}

/* Adds a block's sum to z; the first block's sum is the total. */
static void add_block(const psc_forward *f, float *z, const float *chain, bool first_block) {
    if (first_block)
        memcpy(z, chain, f->d_head * sizeof *z);
    else
        f->kernels->add(z, z, chain, f->d_head);
}

/* Continues a row's chain over its own keys. */
static void own_values(
    const psc_forward *f, float *z, float *chain, const float *pattern, int32_t row, int32_t head) {
    const psc_kv_cache *own = f->pass->prefix->own;
    const float *values = psc_kv_cache_values(own, 0, f->layer, head);
    const size_t length = (size_t)prefix_of(f, row), start = first_own(f, row);
    size_t block = length / PSC_K_BLOCK;
    for (size_t key = length; key <= (size_t)f->rows[row].position; key++) {
        if (key / PSC_K_BLOCK > block) {
            add_block(f, z, chain, block == 0);
            memset(chain, 0, f->d_head * sizeof *chain);
            block = key / PSC_K_BLOCK;
        }
        float weight[PSC_LANES];
        for (size_t i = 0; i < PSC_LANES; i++) weight[i] = pattern[key];
        const float *value = values + (start + key - length) * PSC_LANES;
        for (size_t d = 0; d < f->d_head; d += PSC_LANES, value += own->parts[0].room * PSC_LANES) {
            const size_t n = f->d_head - d < PSC_LANES ? f->d_head - d : PSC_LANES;
            f->kernels->ln_affine(chain + d, value, weight, chain + d, n);
        }
    }
    add_block(f, z, chain, block == 0);
}

void psc_forward_prefix_values(
    const psc_forward *f, const psc_attention *tile, int32_t first, int32_t head, float *chains) {
    const size_t ld = psc_padded(f->d_head);
    prefix_values(f, tile, first, head, chains, ld);
    for (int32_t r = 0; r < (int32_t)tile->rows; r++)
        own_values(f, tile->y + (size_t)r * tile->ldy, chains + (size_t)r * ld,
            tile->x + (size_t)r * tile->ldx, first + r, head);
}
