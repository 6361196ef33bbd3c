/* The frame of the kernels of neurons' firing, equal to firing_reference.c to the bit. Columns stay
 * in registers over the rows. Private to simd/: firing_<isa>.c, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef FIRING_FRAME_H
#define FIRING_FRAME_H

#include "kernel_names.h"

#define VEC64 (VEC / 2)
#define SIZE_REGISTERS 4 /* of columns: their chains overlap */

/* `count` registers of columns; only one register may have left < VEC64. */
ALWAYS_INLINE void size_columns(
    double *to, const float *x, size_t ld, size_t rows, const int count, size_t left) {
    vec64 kept[SIZE_REGISTERS];
    UNROLL for (int v = 0; v < count; v++) kept[v] = load_some_f64(to + VEC64 * v, left);
    for (size_t r = 0; r < rows; r++, x += ld) {
        UNROLL for (int v = 0; v < count; v++) {
            const vec64 size = vec64_abs(vec64_of_floats(x + VEC64 * v, left));
            kept[v] = vec64_where_less(kept[v], size, size, kept[v]);
        }
    }
    UNROLL for (int v = 0; v < count; v++) store_some_f64(to + VEC64 * v, kept[v], left);
}

void PSC_NAME(column_sizes)(double *most, const float *x, size_t ld, size_t rows, size_t n) {
    size_t i = 0;
    for (; i + SIZE_REGISTERS * VEC64 <= n; i += SIZE_REGISTERS * VEC64)
        size_columns(most + i, x + i, ld, rows, SIZE_REGISTERS, VEC64);
    for (; i < n; i += VEC64) size_columns(most + i, x + i, ld, rows, 1, n - i);
}

void PSC_NAME(reach_limits)(
    int32_t *ids, size_t *count, const float *x, const float *limits, size_t n) {
    const uint32_t all = VEC == 16 ? 0xffffu : (1u << VEC) - 1u;
    int32_t *to = ids;
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) {
        const uint32_t below = vec_bits_less(vec_load(x + i), vec_load(limits + i));
        for (uint32_t bits = ~below & all; bits; bits &= bits - 1)
            *to++ = (int32_t)(i + (size_t)__builtin_ctz(bits));
    }
    for (; i < n; i++) {
        if (!(x[i] < limits[i])) *to++ = (int32_t)i;
    }
    *count = (size_t)(to - ids);
}

#endif
