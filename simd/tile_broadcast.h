/* The register tile of ISAs that multiply a vector of weights by one broadcast input.
 * Private to simd/: included by tile_avx2.h and tile_avx512.h after their vocabulary (frame.h).
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef TILE_BROADCAST_H
#define TILE_BROADCAST_H

/* One term. A busy hyperthread leaves about three operations per cycle, so the loads and operations
 * besides the multiply-adds matter: one load per input and per weight. */
ALWAYS_INLINE void tile_term(vec acc[TILE_ROWS][PANEL_REGISTERS * TILE_MAX_PANELS], const float *x,
    size_t ldx, const void *w, size_t panel_stride, const int rows, const int panels,
    const psc_dtype dtype) {
    const int registers = PANEL_REGISTERS * panels;
    vec held[TILE_ROWS > PANEL_REGISTERS * TILE_MAX_PANELS ? TILE_ROWS
                                                           : PANEL_REGISTERS * TILE_MAX_PANELS];
    if (rows >= registers) {
        UNROLL for (int v = 0; v < registers; v++) {
            size_t at = (size_t)(v / PANEL_REGISTERS) * panel_stride;
            held[v] = load_weights(w, at + (size_t)(v % PANEL_REGISTERS) * VEC, dtype);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            vec value = vec_set(x[(size_t)r * ldx]);
            UNROLL for (int v = 0; v < registers; v++) {
                ACCUMULATE(acc[r][v], value, held[v]);
            }
        }
        return;
    }
    UNROLL for (int r = 0; r < rows; r++) held[r] = vec_set(x[(size_t)r * ldx]);
    UNROLL for (int v = 0; v < registers; v++) {
        size_t at = (size_t)(v / PANEL_REGISTERS) * panel_stride;
        vec weights = load_weights(w, at + (size_t)(v % PANEL_REGISTERS) * VEC, dtype);
        UNROLL for (int r = 0; r < rows; r++) ACCUMULATE(acc[r][v], held[r], weights);
    }
}

/* sums[rows][panels*16] = the chain over n terms, from +0 or, on resume, from the present sums.
 * rows, panels, dtype, resume and stream are constants at every call, so each call is a separate
 * kernel with PANEL_REGISTERS*rows*panels accumulators. With stream each panel is prefetched stream
 * bytes ahead. */
ALWAYS_INLINE void tile(float *sums, const tile_input *in, const int rows, const int panels,
    const psc_dtype dtype, const bool resume, const size_t stream) {
    vec acc[TILE_ROWS][PANEL_REGISTERS * TILE_MAX_PANELS];
    const size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2, step = PSC_LANES * size;
    const float *x = in->x;
    const char *w = in->w;
    size_t ldx = in->ldx, stride = in->panel_stride, left = in->n;

    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < PANEL_REGISTERS * panels; v++) {
            const float *from = sums + r * panels * PSC_LANES + v * VEC;
            acc[r][v] = resume ? vec_load(from) : vec_zero();
        }
    }
    for (; left >= 4; left -= 4, x += 4, w += 4 * step) {
        UNROLL for (int p = 0; stream && p < panels; p++) {
            UNROLL for (size_t at = 0; at < 4 * step; at += 64) {
                __builtin_prefetch(w + (size_t)p * stride * size + at + stream);
            }
        }
        UNROLL for (int i = 0; i < 4; i++) {
            tile_term(acc, x + i, ldx, w + (size_t)i * step, stride, rows, panels, dtype);
            KEEP_ORDER();
        }
    }
    for (; left > 0; left--, x++, w += step) {
        tile_term(acc, x, ldx, w, stride, rows, panels, dtype);
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < PANEL_REGISTERS * panels; v++) {
            vec_store(sums + r * panels * PSC_LANES + v * VEC, acc[r][v]);
        }
    }
}

/* One term of a chain: each weight is loaded once, each input is broadcast once. A macro, so that
 * the position in the row is a constant of the instruction. */
#define CHAIN_TERM(term, weights)                                                                  \
    do {                                                                                           \
        UNROLL for (int v = 0; v < registers; v++) held[v] = (weights);                            \
        UNROLL for (int r = 0; r < rows; r++) {                                                    \
            vec value;                                                                             \
            BROADCAST_AT(value, from[r], at, (term) * sizeof(float));                              \
            UNROLL for (int v = 0; v < registers; v++) ACCUMULATE(acc[r][v], value, held[v]);      \
        }                                                                                          \
        KEEP_ORDER();                                                                              \
    } while (0)

/* Writes the widened weights and returns them. */
ALWAYS_INLINE vec widen_at(float *to, const char *packed, psc_dtype dtype) {
    const vec weights = load_weights(packed, 0, dtype);
    vec_store(to, weights);
    return weights;
}

#define NEAR_TERM(term)                                                                            \
    CHAIN_TERM(                                                                                    \
        term, first ? widen_at(w + (term)*step + v * VEC,                                          \
                          packed[v] + (at / sizeof(float) + (term)) * size * PSC_LANES, dtype)     \
                    : vec_load(w + (term)*step + v * VEC))

/* y[rows][registers*VEC] = a chain over n terms from +0, added to y when in->add, then the bias.
 * `first`: of the first rows, whose weights are packed. rows, registers, first and dtype are
 * constants at every call. */
ALWAYS_INLINE void near_tile(const near_input *in, const int rows, const int registers,
    const bool first, const psc_dtype dtype) {
    const char *packed[NEAR_TILE_REGISTERS];
    const size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
    vec acc[NEAR_TILE_ROWS][NEAR_TILE_REGISTERS], held[NEAR_TILE_REGISTERS];
    const char *from[NEAR_TILE_ROWS];
    const size_t step = (size_t)registers * VEC, end = in->n * sizeof(float);
    const size_t whole = in->n / 8 * 8 * sizeof(float);
    float *w = in->w, *y = in->y;
    size_t at = 0, ldy = in->ldy;

    UNROLL for (int r = 0; r < rows; r++) {
        from[r] = (const char *)(in->x + (size_t)r * in->ldx);
        UNROLL for (int v = 0; v < registers; v++) acc[r][v] = vec_zero();
    }
    UNROLL for (int v = 0; v < registers; v++) packed[v] = in->packed[v];
    for (; at < whole; at += 8 * sizeof(float), w += 8 * step) {
        UNROLL for (int v = 0; first && v < registers; v += PANEL_REGISTERS) {
            const char *next = packed[v] + (at / sizeof(float) + in->n) * size * PSC_LANES;
            UNROLL for (size_t b = 0; b < 8 * size * PSC_LANES; b += 64)
                __builtin_prefetch(next + b, 0, 2);
        }
        NEAR_TERM(0);
        NEAR_TERM(1);
        NEAR_TERM(2);
        NEAR_TERM(3);
        NEAR_TERM(4);
        NEAR_TERM(5);
        NEAR_TERM(6);
        NEAR_TERM(7);
    }
    for (; at < end; at += sizeof(float), w += step) NEAR_TERM(0);
    if (in->add) {
        float *to = y;
        UNROLL for (int r = 0; r < rows; r++, to += ldy) {
            UNROLL for (int v = 0; v < registers; v++) {
                acc[r][v] = vec_add(vec_load(to + v * VEC), acc[r][v]);
            }
        }
    }
    if (in->bias) {
        UNROLL for (int v = 0; v < registers; v++) {
            held[v] = vec_load(in->bias + v * VEC);
            UNROLL for (int r = 0; r < rows; r++) acc[r][v] = vec_add(acc[r][v], held[v]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++, y += ldy) {
        UNROLL for (int v = 0; v < registers; v++) vec_store(y + v * VEC, acc[r][v]);
    }
}

#define PANEL_TERM(term)                                                                           \
    CHAIN_TERM(term, vec_load(w + (size_t)(v / PANEL_REGISTERS) * in->panel_stride +               \
                              (term)*PSC_LANES + v % PANEL_REGISTERS * VEC))

/* The chains of attention: acc[rows][panels' registers] += n terms of x, read in place, times f32
 * panels. rows and panels are constants at every call. */
ALWAYS_INLINE void panel_chain(vec acc[TILE_ROWS][PANEL_REGISTERS * TILE_PANELS],
    const tile_input *in, const int rows, const int panels) {
    const int registers = PANEL_REGISTERS * panels;
    vec held[PANEL_REGISTERS * TILE_PANELS];
    const char *from[TILE_ROWS];
    const float *w = in->w;
    const size_t end = in->n * sizeof(float), whole = in->n / 8 * 8 * sizeof(float);
    size_t at = 0;

    UNROLL for (int r = 0; r < rows; r++) from[r] = (const char *)(in->x + (size_t)r * in->ldx);
    for (; at < whole; at += 8 * sizeof(float), w += 8 * PSC_LANES) {
        PANEL_TERM(0);
        PANEL_TERM(1);
        PANEL_TERM(2);
        PANEL_TERM(3);
        PANEL_TERM(4);
        PANEL_TERM(5);
        PANEL_TERM(6);
        PANEL_TERM(7);
    }
    for (; at < end; at += sizeof(float), w += PSC_LANES) PANEL_TERM(0);
}

#endif
