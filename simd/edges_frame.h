/* The frame of the kernels of attention's edges, equal to edges_reference.c to the bit.
 * Private to simd/: edges_<isa>.c, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept.
 *
 * panel_dots and gram_squares have keys as lanes. The dot's sixteen chains are then registers, two
 * of them at once: chains j and j + 8, j = 0, 4, 2, 6, 1, 5, 3, 7, folded as they come. */
#ifndef EDGES_FRAME_H
#define EDGES_FRAME_H

#include "kernel_names.h"

#define VEC64 (VEC / 2)
#define STRIPE (PSC_LANES / VEC64)
/* Two chains of each row and register of keys are in registers. */
#define DOT_ROWS (VEC == 8 ? 3 : 4)
#define DOT_KEYS 2
#define GRAM_ROWS 4
#define GRAM_REGISTERS 2

/* --- dots ------------------------------------------------------------------------------------ */

/* One term of a chain of each row and register of keys. */
ALWAYS_INLINE void dots_term(vec chains[DOT_ROWS][DOT_KEYS], const float *const *x,
    const float *const *keys, size_t term, const int rows, const int registers) {
    vec held[DOT_KEYS];
    UNROLL for (int v = 0; v < registers; v++) held[v] = vec_load(keys[v] + term * PSC_LANES);
    UNROLL for (int r = 0; r < rows; r++) {
        const vec own = vec_set(x[r][term]);
        UNROLL for (int v = 0; v < registers; v++) {
            chains[r][v] = vec_fma(own, held[v], chains[r][v]);
        }
    }
}

/* Chains j and j + 8, added. */
ALWAYS_INLINE void chain_pair(vec pair[DOT_ROWS][DOT_KEYS], const float *const *x,
    const float *const *keys, size_t size, size_t j, const int rows, const int registers) {
    vec chains[2][DOT_ROWS][DOT_KEYS];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < registers; v++) chains[0][r][v] = chains[1][r][v] = vec_zero();
    }
    size_t k = j;
    for (; k + 8 < size; k += PSC_LANES) {
        dots_term(chains[0], x, keys, k, rows, registers);
        dots_term(chains[1], x, keys, k + 8, rows, registers);
    }
    if (k < size) dots_term(chains[0], x, keys, k, rows, registers);
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < registers; v++) {
            pair[r][v] = vec_add(chains[0][r][v], chains[1][r][v]);
        }
    }
}

/* a + b, or b if these are the first. */
ALWAYS_INLINE void add_tiles(vec a[DOT_ROWS][DOT_KEYS], vec b[DOT_ROWS][DOT_KEYS], const int rows,
    const int registers, const bool first) {
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < registers; v++) {
            a[r][v] = first ? b[r][v] : vec_add(a[r][v], b[r][v]);
        }
    }
}

/* Some registers of keys, from the n-th of the panels on. */
ALWAYS_INLINE void dots_tile(float *y, size_t ldy, const float *const *x, const float *panels,
    size_t size, size_t n, const int rows, const int registers) {
    vec sums[DOT_ROWS][DOT_KEYS], half[DOT_ROWS][DOT_KEYS], quarter[DOT_ROWS][DOT_KEYS],
        pair[DOT_ROWS][DOT_KEYS];
    const float *keys[DOT_KEYS], *own[DOT_ROWS];
    UNROLL for (int r = 0; r < rows; r++) own[r] = x[r];
    UNROLL for (size_t v = 0; v < (size_t)registers; v++) {
        keys[v] =
            panels + (n + v) / PANEL_REGISTERS * size * PSC_LANES + (n + v) % PANEL_REGISTERS * VEC;
    }
    UNROLL for (size_t h = 0; h < 2; h++) {
        UNROLL for (size_t q = 0; q < 2; q++) {
            chain_pair(quarter, own, keys, size, h + 2 * q, rows, registers);
            chain_pair(pair, own, keys, size, h + 2 * q + 4, rows, registers);
            add_tiles(quarter, pair, rows, registers, false);
            add_tiles(half, quarter, rows, registers, q == 0);
        }
        add_tiles(sums, half, rows, registers, h == 0);
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < registers; v++) {
            vec_store(y + (size_t)r * ldy + (n + (size_t)v) * VEC, sums[r][v]);
        }
    }
}

ALWAYS_INLINE void dots_rows(float *y, size_t ldy, const float *const *x, const float *panels,
    size_t size, size_t n_panels, const int rows) {
    const size_t registers = n_panels * PANEL_REGISTERS;
    size_t n = 0;
    for (; n + DOT_KEYS <= registers; n += DOT_KEYS)
        dots_tile(y, ldy, x, panels, size, n, rows, DOT_KEYS);
    if (n < registers) dots_tile(y, ldy, x, panels, size, n, rows, 1);
}

void PSC_NAME(panel_dots)(float *y, size_t ldy, const float *const *x, const float *panels,
    size_t rows, size_t size, size_t n_panels) {
    size_t r = 0;
    for (; r + DOT_ROWS <= rows; r += DOT_ROWS)
        dots_rows(y + r * ldy, ldy, x + r, panels, size, n_panels, DOT_ROWS);
    for (; r < rows; r++) dots_rows(y + r * ldy, ldy, x + r, panels, size, n_panels, 1);
}

/* --- norms ----------------------------------------------------------------------------------- */

/* sums[r] = the chain over b < end of row r of gram and the lanes. */
ALWAYS_INLINE void gram_tile(vec64 sums[GRAM_ROWS][GRAM_REGISTERS], const double *gram, size_t size,
    size_t end, const double *lanes, const int rows) {
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < GRAM_REGISTERS; v++) sums[r][v] = vec64_set(0.0);
    }
    for (size_t b = 0; b < end; b++) {
        vec64 own[GRAM_REGISTERS];
        UNROLL for (int v = 0; v < GRAM_REGISTERS; v++) {
            own[v] = vec64_load(lanes + b * PSC_LANES + VEC64 * v);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            const vec64 factor = vec64_set(gram[(size_t)r * size + b]);
            UNROLL for (int v = 0; v < GRAM_REGISTERS; v++) {
                sums[r][v] = vec64_fma(factor, own[v], sums[r][v]);
            }
        }
    }
}

/* The rows a..a+rows-1, whose sums the tile has begun over b < a. */
ALWAYS_INLINE void gram_rows(vec64 squares[GRAM_REGISTERS], const double *gram, size_t size,
    size_t a, const double *lanes, const int rows) {
    vec64 sums[GRAM_ROWS][GRAM_REGISTERS];
    gram_tile(sums, gram + a * size, size, a, lanes, rows);
    UNROLL for (int r = 0; r < rows; r++) {
        const double *row = gram + (a + (size_t)r) * size + a;
        UNROLL for (int v = 0; v < GRAM_REGISTERS; v++) {
            const double *at = lanes + a * PSC_LANES + VEC64 * v;
            for (int b = 0; b < r; b++) {
                sums[r][v] =
                    vec64_fma(vec64_set(row[b]), vec64_load(at + b * PSC_LANES), sums[r][v]);
            }
            const vec64 own = vec64_load(at + r * PSC_LANES);
            const vec64 twice = vec64_mul(vec64_set(2.0), sums[r][v]);
            squares[v] = vec64_fma(own, vec64_fma(vec64_set(row[r]), own, twice), squares[v]);
        }
    }
}

void PSC_NAME(gram_squares)(double *out, const double *gram, const double *lanes, size_t size) {
    for (size_t from = 0; from < PSC_LANES; from += GRAM_REGISTERS * VEC64) {
        vec64 squares[GRAM_REGISTERS];
        size_t a = 0;
        UNROLL for (int v = 0; v < GRAM_REGISTERS; v++) squares[v] = vec64_set(0.0);
        for (; a + GRAM_ROWS <= size; a += GRAM_ROWS) {
            gram_rows(squares, gram, size, a, lanes + from, GRAM_ROWS);
        }
        for (; a < size; a++) gram_rows(squares, gram, size, a, lanes + from, 1);
        UNROLL for (int v = 0; v < GRAM_REGISTERS; v++) {
            vec64_store(out + from + VEC64 * v, squares[v]);
        }
    }
}

/* --- sums and candidates --------------------------------------------------------------------- */

/* What edge_sums counts and lists. */
typedef struct edge_lists {
    int32_t *ids; /* the next one's place */
    size_t edges;
    vec64 bound;
} edge_lists;

ALWAYS_INLINE void edge_step(vec64 *sums, edge_lists *lists, const float *a, const float *t,
    const float *b, size_t i, int v, size_t left) {
    const vec64 least_normal = vec64_set(0x1p-1022), zero = vec64_set(0.0);
    const uint32_t lanes = (1u << (left < VEC64 ? left : VEC64)) - 1u;
    const vec64 weight = vec64_of_floats(a + i, left), size = vec64_abs(weight);
    const vec64 share =
        vec64_where_less(size, least_normal, zero, vec64_mul(weight, vec64_of_floats(t + i, left)));
    vec64 key = size;
    if (b) key = vec64_abs(vec64_mul(weight, vec64_of_floats(b + i, left)));
    sums[v] = keep_past_end_f64(sums[v], vec64_add(sums[v], share), left);
    sums[STRIPE + v] =
        keep_past_end_f64(sums[STRIPE + v], vec64_add(sums[STRIPE + v], vec64_abs(share)), left);
    const uint32_t edges = ~vec64_bits_less(size, least_normal) & lanes;
    lists->edges += (size_t)__builtin_popcount(edges);
    for (uint32_t bits = edges & ~vec64_bits_less(key, lists->bound); bits; bits &= bits - 1)
        *lists->ids++ = (int32_t)(i + (size_t)__builtin_ctz(bits));
}

void PSC_NAME(edge_sums)(double *out, int32_t *ids, size_t *count, const float *a, const float *t,
    const float *b, double bound, size_t n) {
    edge_lists lists = {ids, 0, vec64_set(bound)};
    vec64 sums[2 * STRIPE];
    size_t i = 0;
    UNROLL for (int s = 0; s < 2 * STRIPE; s++) sums[s] = vec64_set(0.0);
    for (; i + PSC_LANES <= n; i += PSC_LANES) {
        UNROLL for (int v = 0; v < STRIPE; v++) {
            edge_step(sums, &lists, a, t, b, i + VEC64 * (size_t)v, v, VEC64);
        }
    }
    UNROLL for (int v = 0; v < STRIPE; v++) {
        const size_t at = i + VEC64 * (size_t)v;
        if (at >= n) break;
        edge_step(sums, &lists, a, t, b, at, v, n - at);
    }
    out[0] = fold_f64(sums);
    out[1] = fold_f64(sums + STRIPE);
    out[2] = (double)lists.edges;
    *count = (size_t)(lists.ids - ids);
}

#endif
