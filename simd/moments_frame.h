/* The frame of add_moments, equal to moments_reference.c to the bit: the four statistics of some
 * columns stay in registers over the rows. Private to simd/: moments_<isa>.c, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef MOMENTS_FRAME_H
#define MOMENTS_FRAME_H

#include "kernel_names.h"

#define VEC64 (VEC / 2)
#define MOMENTS_REGISTERS 2 /* of columns: 8 sums and extremes, and the values */

/* Where the statistics of a call's first column are. */
typedef struct moments_tables {
    double *sum, *square, *least, *most;
} moments_tables;

/* `count` registers of columns from i on; only one register may have left < VEC64. */
ALWAYS_INLINE void moments_columns(const moments_tables *t, size_t i, const float *x, size_t ld,
    size_t rows, const int count, size_t left) {
    vec64 sum[MOMENTS_REGISTERS], square[MOMENTS_REGISTERS];
    vec64 least_value[MOMENTS_REGISTERS], most[MOMENTS_REGISTERS];
    UNROLL for (int v = 0; v < count; v++) {
        const size_t at = i + VEC64 * (size_t)v;
        sum[v] = load_some_f64(t->sum + at, left);
        square[v] = load_some_f64(t->square + at, left);
        least_value[v] = load_some_f64(t->least + at, left);
        most[v] = load_some_f64(t->most + at, left);
    }
    for (size_t r = 0; r < rows; r++, x += ld) {
        UNROLL for (int v = 0; v < count; v++) {
            const vec64 value = vec64_of_floats(x + i + VEC64 * (size_t)v, left);
            sum[v] = vec64_add(sum[v], value);
            square[v] = vec64_fma(value, value, square[v]); /* the product is exact */
            least_value[v] = vec64_where_less(value, least_value[v], value, least_value[v]);
            most[v] = vec64_where_less(most[v], value, value, most[v]);
        }
    }
    UNROLL for (int v = 0; v < count; v++) {
        const size_t at = i + VEC64 * (size_t)v;
        store_some_f64(t->sum + at, sum[v], left);
        store_some_f64(t->square + at, square[v], left);
        store_some_f64(t->least + at, least_value[v], left);
        store_some_f64(t->most + at, most[v], left);
    }
}

void PSC_NAME(add_moments)(double *sum, double *square, double *least_values, double *most,
    const float *x, size_t ld, size_t rows, size_t n) {
    const moments_tables t = {sum, square, least_values, most};
    size_t i = 0;
    for (; i + MOMENTS_REGISTERS * VEC64 <= n; i += MOMENTS_REGISTERS * VEC64) {
        moments_columns(&t, i, x, ld, rows, MOMENTS_REGISTERS, VEC64);
    }
    for (; i < n; i += VEC64) moments_columns(&t, i, x, ld, rows, 1, n - i);
}

#endif
