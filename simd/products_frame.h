/* The frame of add_products, equal to products_reference.c to the bit: a block of the tile stays in
 * registers, lanes are columns. Private to simd/: products_<isa>.c, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef PRODUCTS_FRAME_H
#define PRODUCTS_FRAME_H

#include "kernel_names.h"

#define VEC64 (VEC / 2)
/* The block: its sums, a row of b and one of a's numbers are in registers. */
#define BLOCK_ROWS (VEC > 8 ? 8 : 4)
#define BLOCK_REGISTERS (VEC > 4 ? 2 : 4)

void PSC_NAME(add_products)(
    double *out, size_t stride, const double *a, const double *b, size_t n) {
    for (size_t row = 0; row < PSC_LANES; row += BLOCK_ROWS) {
        for (size_t column = 0; column < PSC_LANES; column += BLOCK_REGISTERS * VEC64) {
            vec64 sums[BLOCK_ROWS][BLOCK_REGISTERS];
            UNROLL for (size_t i = 0; i < BLOCK_ROWS; i++) {
                UNROLL for (size_t v = 0; v < BLOCK_REGISTERS; v++) {
                    sums[i][v] = vec64_load(out + (row + i) * stride + column + v * VEC64);
                }
            }
            for (size_t t = 0; t < n; t++) {
                const double *x = a + t * PSC_LANES + row, *y = b + t * PSC_LANES + column;
                vec64 factors[BLOCK_REGISTERS];
                UNROLL for (size_t v = 0; v < BLOCK_REGISTERS; v++) {
                    factors[v] = vec64_load(y + v * VEC64);
                }
                UNROLL for (size_t i = 0; i < BLOCK_ROWS; i++) {
                    const vec64 own = vec64_set(x[i]);
                    UNROLL for (size_t v = 0; v < BLOCK_REGISTERS; v++) {
                        sums[i][v] = vec64_fma(own, factors[v], sums[i][v]);
                    }
                }
            }
            UNROLL for (size_t i = 0; i < BLOCK_ROWS; i++) {
                UNROLL for (size_t v = 0; v < BLOCK_REGISTERS; v++) {
                    vec64_store(out + (row + i) * stride + column + v * VEC64, sums[i][v]);
                }
            }
        }
    }
}

#endif
