/* Copies of every point of a run, in memory of exactly the right size with a guard after each.
 * Private to tests/; failures are Criterion assertions.
 * Threads: one at a time.
 * Ownership: the test closes a copy set. */
#ifndef COPIES_FIXTURE_H
#define COPIES_FIXTURE_H

#include "golden.h"
#include "registry.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_COPIES 512
#define GUARD 24 /* floats after each copy */

/* An input of a run, and what its sequence held before. */
typedef struct copied_input {
    int32_t sequence, before, n;
} copied_input;

typedef struct copy_set {
    psc_model_info info;
    copied_input inputs[3];
    int32_t n_inputs;
    psc_copy list[MOST_COPIES];
    int32_t n;
} copy_set;

static inline bool copied_keys(int32_t point) {
    return point == PSC_HOOK_ATTN_SCORES || point == PSC_HOOK_PATTERN;
}

/* The positions of an input that a copy selects: begin..end-1. */
static inline void copied_rows(
    const psc_copy *copy, const copied_input *input, int32_t *begin, int32_t *end) {
    *begin = input->before;
    *end = input->before + input->n;
    if (copy->rows == PSC_ROWS_LAST) *begin = *end - 1;
    if (copy->rows != PSC_ROWS_RANGE) return;
    if (*begin < copy->row_begin) *begin = copy->row_begin;
    if (*end > copy->row_end) *end = copy->row_end;
    if (*end < *begin) *end = *begin;
}

/* Floats of a row; of scores and pattern, [H, keys]. */
static inline int64_t copied_width(const copy_set *set, int32_t point, int64_t keys) {
    int64_t width = 1;
    for (const char *axis = psc_point_shape((psc_point)point); *axis; axis++)
        width *= psc_axis_extent(*axis, &set->info, keys);
    return width;
}

static inline int64_t copied_floats(const copy_set *set, const psc_copy *copy) {
    int64_t total = 0;
    for (int32_t i = 0; i < set->n_inputs; i++) {
        const copied_input *input = &set->inputs[i];
        int32_t begin, end;
        copied_rows(copy, input, &begin, &end);
        total += (end - begin) * copied_width(set, copy->point, input->before + input->n);
    }
    return total;
}

/* Adds a copy and its memory. */
static inline psc_copy *copies_add(copy_set *set, psc_copy copy) {
    cr_assert_lt(set->n, MOST_COPIES);
    copy.capacity = copied_floats(set, &copy);
    copy.out = malloc((size_t)(copy.capacity + GUARD) * sizeof(float));
    cr_assert(copy.out);
    memset(copy.out, 0x7b, (size_t)(copy.capacity + GUARD) * sizeof(float));
    set->list[set->n] = copy;
    return &set->list[set->n++];
}

/* Every point of layers 0..n_layers-1, for these rows; with all layers also
 * the points after them. */
static inline void copies_add_all(
    copy_set *set, int32_t n_layers, int32_t rows, int32_t row_begin, int32_t row_end) {
    for (int32_t p = 0; p < PSC_POINT_COUNT; p++) {
        const bool layered = psc_point_has_layer((psc_point)p);
        if (p == PSC_HOOK_RESID_MID && set->info.parallel_residual) continue;
        if (!layered && p != PSC_HOOK_EMBED && n_layers < set->info.n_layers) continue;
        for (int32_t l = 0; l < (layered ? n_layers : 1); l++) {
            psc_copy copy = PSC_COPY_INIT;
            copy.point = p;
            copy.layer = layered ? l : -1;
            copy.rows = rows;
            copy.row_begin = row_begin;
            copy.row_end = row_end;
            copies_add(set, copy);
        }
    }
}

static inline void copies_close(copy_set *set) {
    for (int32_t i = 0; i < set->n; i++) free(set->list[i].out);
    set->n = 0;
}

/* A copy equals the rows that observers recorded, to the bit, and nothing is written after it. */
static inline void copy_assert_same(
    const copy_set *set, const psc_copy *copy, const recording *r, const char *what) {
    const float *at = copy->out;
    char name[64];
    psc_point_name(name, sizeof name, (psc_point)copy->point, copy->layer);
    for (int32_t i = 0; i < set->n_inputs; i++) {
        const copied_input *input = &set->inputs[i];
        int32_t begin, end;
        copied_rows(copy, input, &begin, &end);
        const int64_t keys = input->before + input->n, width = copied_width(set, copy->point, keys);
        const int64_t outer = copied_keys(copy->point) ? set->info.n_heads : 1;
        const int64_t inner = width / outer, theirs = r->width[copy->point] / outer;
        for (int32_t p = begin; p < end; p++) {
            const float *row =
                recording_row(r, (psc_point)copy->point, copy->layer, input->sequence, p);
            for (int64_t o = 0; o < outer; o++)
                cr_assert(!memcmp(row + o * theirs, at + (o * (end - begin) + p - begin) * inner,
                              (size_t)inner * sizeof(float)),
                    "%s: %s, sequence %d, row %d, block %d", what, name, (int)input->sequence,
                    (int)p, (int)o);
        }
        at += (end - begin) * width;
    }
    cr_assert_eq(at - copy->out, copy->capacity);
    for (int i = 0; i < (int)(GUARD * sizeof(float)); i++)
        cr_assert_eq(((const unsigned char *)at)[i], 0x7b, "%s: written past the copy", name);
}

static inline void copies_assert_same(const copy_set *set, const recording *r, const char *what) {
    for (int32_t i = 0; i < set->n; i++) copy_assert_same(set, &set->list[i], r, what);
}

#endif
