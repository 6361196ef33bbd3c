/* The frame of the sums of subsets, equal to subsets_reference.c to the bit.
 * Private to simd/: subsets_<isa>.c, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept.
 *
 * Rows with many terms share them: the sixteen sums of four terms are a table, eleven additions, and
 * a row adds one entry of it. For COLUMNS columns, BLOCK tables and the rows' y stay in L1:
 *
 *      terms 16b..16b+15   ->  4 tables [16][COLUMNS]  ->  y[r] += 4 entries, for every row r
 *
 * With few terms each row adds its own. A sum never is -0, so that adding an empty set's +0 changes
 * no bit. */
#ifndef SUBSETS_FRAME_H
#define SUBSETS_FRAME_H

#include "kernel_names.h"

#include <string.h>

#define COLUMNS 64
#define COLUMN_REGISTERS (COLUMNS / VEC)
#define BLOCK 4    /* tables, one byte of a row's sets each */
#define ENTRIES 16 /* of a table */
#define LISTED 256 /* groups of a list */

/* Some columns of all rows: `left` of them, of which `registers` VEC are taken. */
typedef struct subset_columns {
    const psc_subsets *s;
    size_t first, left;
} subset_columns;

ALWAYS_INLINE vec column_load(
    const subset_columns *c, const float *row, const int v, const bool whole) {
    const float *from = row + c->first + v * VEC;
    return whole ? vec_load(from) : load_some(from, c->left);
}

ALWAYS_INLINE void column_store(
    const subset_columns *c, float *row, const int v, vec value, const bool whole) {
    float *to = row + c->first + v * VEC;
    if (whole) {
        vec_store(to, value);
    } else {
        store_some(to, value, c->left);
    }
}

/* --- many terms ------------------------------------------------------------------------------ */

/* A group's sums. Prefetches the terms that its table takes next. */
ALWAYS_INLINE void fill_table(
    float *table, const subset_columns *c, size_t group, const int registers, const bool whole) {
    const psc_subsets *s = c->s;
    const size_t first = group * PSC_SUBSET_TERMS, next = first + BLOCK * PSC_SUBSET_TERMS;
    for (size_t j = next; j < least(next + PSC_SUBSET_TERMS, s->n_terms); j++)
        for (size_t i = 0; i < (size_t)registers * VEC; i += 16)
            __builtin_prefetch(s->terms + j * s->ld_terms + c->first + i);
    UNROLL for (int v = 0; v < registers; v++) {
        vec sums[ENTRIES];
        sums[0] = vec_zero();
        UNROLL for (int bit = 0; bit < PSC_SUBSET_TERMS; bit++) {
            vec term = vec_zero();
            if (first + (size_t)bit < s->n_terms)
                term = column_load(c, s->terms + (first + (size_t)bit) * s->ld_terms, v, whole);
            UNROLL for (int low = 0; low < ENTRIES / 2; low++) {
                if (low < 1 << bit) sums[(1 << bit) + low] = low ? vec_add(sums[low], term) : term;
            }
        }
        UNROLL for (int e = 0; e < ENTRIES; e++) {
            vec_store(table + e * registers * VEC + v * VEC, sums[e]);
        }
    }
}

/* y of every row += its entries of the tables. */
ALWAYS_INLINE void add_entries(const subset_columns *c, const float *tables, size_t group,
    const int registers, const bool whole) {
    const size_t ld_sets = c->s->ld_sets, ldy = c->s->ldy; /* a store might change *c */
    const uint8_t *sets = c->s->sets + group;
    const subset_columns own = *c;
    float *y = c->s->y;
    for (size_t rows = c->s->rows; rows > 0; rows--, sets += ld_sets, y += ldy) {
        vec sums[COLUMN_REGISTERS];
        UNROLL for (int v = 0; v < registers; v++) {
            sums[v] = group ? column_load(&own, y, v, whole) : vec_zero();
        }
        UNROLL for (size_t b = 0; b < BLOCK; b++) {
            const float *entry = tables + (b * ENTRIES + sets[b]) * (size_t)registers * VEC;
            UNROLL for (int v = 0; v < registers; v++) {
                sums[v] = vec_add(sums[v], vec_load(entry + v * VEC));
            }
        }
        UNROLL for (int v = 0; v < registers; v++) column_store(&own, y, v, sums[v], whole);
    }
}

ALWAYS_INLINE void sum_by_tables(const subset_columns *c, const int registers, const bool whole) {
    _Alignas(64) float tables[BLOCK * ENTRIES * COLUMNS];
    for (size_t group = 0; group * PSC_SUBSET_TERMS < c->s->n_terms; group += BLOCK) {
        for (size_t b = 0; b < BLOCK; b++)
            fill_table(
                tables + b * ENTRIES * (size_t)registers * VEC, c, group + b, registers, whole);
        add_entries(c, tables, group, registers, whole);
    }
}

/* --- few terms ------------------------------------------------------------------------------- */

/* y of one row += the sums of the listed groups, 16 times the group plus its set; the first list
 * begins it. */
ALWAYS_INLINE void add_listed(const subset_columns *c, float *y, const uint32_t *list, size_t n,
    bool first, const int registers, const bool whole) {
    const psc_subsets *s = c->s;
    vec sums[COLUMN_REGISTERS], sum[COLUMN_REGISTERS];
    UNROLL for (int v = 0; v < registers; v++) {
        sums[v] = first ? vec_zero() : column_load(c, y, v, whole);
    }
    for (size_t i = 0; i < n; i++) {
        const float *terms = s->terms + list[i] / ENTRIES * PSC_SUBSET_TERMS * s->ld_terms;
        uint32_t set = list[i] % ENTRIES;
        const float *term = terms + (size_t)__builtin_ctz(set) * s->ld_terms;
        UNROLL for (int v = 0; v < registers; v++) sum[v] = column_load(c, term, v, whole);
        while (set &= set - 1) {
            term = terms + (size_t)__builtin_ctz(set) * s->ld_terms;
            UNROLL for (int v = 0; v < registers; v++) {
                sum[v] = vec_add(sum[v], column_load(c, term, v, whole));
            }
        }
        UNROLL for (int v = 0; v < registers; v++) sums[v] = vec_add(sums[v], sum[v]);
    }
    UNROLL for (int v = 0; v < registers; v++) column_store(c, y, v, sums[v], whole);
}

static void sum_listed(const psc_subsets *s, float *y, const uint32_t *list, size_t n, bool first) {
    subset_columns c = {s, 0, s->n};
    for (; c.left >= COLUMNS; c.first += COLUMNS, c.left -= COLUMNS)
        add_listed(&c, y, list, n, first, COLUMN_REGISTERS, true);
    for (; c.left > 0; c.first += VEC, c.left -= least(VEC, c.left))
        add_listed(&c, y, list, n, first, 1, false);
}

static void sum_by_lists(const psc_subsets *s, size_t groups) {
    uint32_t list[LISTED];
    for (size_t r = 0; r < s->rows; r++) {
        const uint8_t *sets = s->sets + r * s->ld_sets;
        bool first = true;
        size_t n = 0;
        for (size_t g = 0; g < groups; g++) {
            if (sets[g]) list[n++] = (uint32_t)(g * ENTRIES + sets[g]);
            if (n < LISTED) continue;
            sum_listed(s, s->y + r * s->ldy, list, n, first);
            first = false;
            n = 0;
        }
        if (n || first) sum_listed(s, s->y + r * s->ldy, list, n, first);
    }
}

void PSC_NAME(subset_sums)(const psc_subsets *s) {
    const size_t groups = (s->n_terms + PSC_SUBSET_TERMS - 1) / PSC_SUBSET_TERMS;
    size_t terms = 0;
    for (size_t r = 0; r < s->rows; r++)
        for (size_t g = 0; g < groups; g += 8) {
            uint64_t bits = 0;
            memcpy(&bits, s->sets + r * s->ld_sets + g, least(8, groups - g));
            terms += (size_t)__builtin_popcountll(bits);
        }
    if (4 * terms < groups * (s->rows + 11)) {
        sum_by_lists(s, groups);
        return;
    }
    subset_columns c = {s, 0, s->n};
    for (; c.left >= COLUMNS; c.first += COLUMNS, c.left -= COLUMNS)
        sum_by_tables(&c, COLUMN_REGISTERS, true);
    for (; c.left > 0; c.first += VEC, c.left -= least(VEC, c.left)) sum_by_tables(&c, 1, false);
}

#endif
