/* The register tile of the AVX2 matmul and attention kernels, and loads and stores of row ends.
 * Private to simd/: the *_avx2.c files, compiled with -mavx2 -mfma -mf16c.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef TILE_AVX2_H
#define TILE_AVX2_H

#include "kernels.h"

#include <immintrin.h>

/* Small loops over registers must be unrolled whole, or the accumulators go through memory. */
#define UNROLL _Pragma("GCC unroll 16")
#define ALWAYS_INLINE static inline __attribute__((always_inline))

#define TILE_ROWS 6
#define TILE_MAX_PANELS 4

static inline size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Elements i..i+7 of w as f32; i is a multiple of 8 and w aligned to 64 bytes. */
ALWAYS_INLINE __m256 load_weights(const void *w, size_t i, psc_dtype dtype) {
    if (dtype == PSC_DTYPE_F32) return _mm256_load_ps((const float *)w + i);
    __m128i bits = _mm_load_si128((const __m128i *)(const void *)((const uint16_t *)w + i));
    if (dtype == PSC_DTYPE_F16) return _mm256_cvtph_ps(bits);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

/* All ones in the first n of eight lanes, n < 8. */
static inline __m256i lane_mask(size_t n) {
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(const void *)(ones + 8 - n));
}

/* Up to eight floats of a row with `left` to go; lanes past its end are +0. */
ALWAYS_INLINE __m256 load_some(const float *from, size_t left) {
    return left >= 8 ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, lane_mask(left));
}

ALWAYS_INLINE void store_some(float *to, __m256 value, size_t left) {
    if (left >= 8) {
        _mm256_storeu_ps(to, value);
    } else {
        _mm256_maskstore_ps(to, lane_mask(left), value);
    }
}

/* What a tile reads: x[r][k] by broadcast, row stride ldx; w[p][k][16] panels, panel_stride
 * elements apart. `ahead` is where to prefetch, moving on by ahead_step bytes a term. */
typedef struct tile_input {
    const float *x;
    size_t ldx;
    const void *w;
    size_t panel_stride;
    size_t n; /* terms */
    const char *ahead;
    size_t ahead_step;
} tile_input;

/* Where a tile's sums go when nothing but the total is wanted: y[rows][panels*16], row stride ldy.
 * add: y holds the blocks before; bias (nullable) is added last. */
typedef struct tile_total {
    float *y;
    size_t ldy;
    const float *bias;
    bool add;
} tile_total;

/* One accumulator into its place in y: (y + sum) + bias. */
ALWAYS_INLINE void close_lane(const tile_total *to, __m256 sum, size_t row, size_t at) {
    float *y = to->y + row * to->ldy + at;
    if (to->add) sum = _mm256_add_ps(_mm256_loadu_ps(y), sum);
    if (to->bias) sum = _mm256_add_ps(sum, _mm256_loadu_ps(to->bias + at));
    _mm256_storeu_ps(y, sum);
}

/* sums[rows][panels*16] = the chain over n terms, from +0 or, on resume, from what is there.
 * rows, panels, dtype, resume and stream are constants at every call, so that each call is a kernel
 * of its own with 2*rows*panels accumulators (at most 12 of 16 registers). With stream each panel
 * is prefetched stream bytes ahead, else `ahead` is. With `total` the sums go there instead,
 * straight from the registers. */
ALWAYS_INLINE void tile(float *sums, const tile_input *in, const int rows, const int panels,
    const psc_dtype dtype, const bool resume, const size_t stream, const tile_total *total) {
    __m256 acc[TILE_ROWS][2 * TILE_MAX_PANELS];
    const float *x = in->x;
    size_t ldx = in->ldx, n = in->n;
    const char *ahead = in->ahead;

    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < 2 * panels; v++) {
            const float *from = sums + r * panels * PSC_LANES + v * 8;
            acc[r][v] = resume ? _mm256_load_ps(from) : _mm256_setzero_ps();
        }
    }
    for (size_t k = 0; k < n; k++) {
        if (!stream) {
            _mm_prefetch(ahead, _MM_HINT_T0);
            ahead += in->ahead_step;
        }
        UNROLL for (int p = 0; p < panels; p++) {
            size_t at = (size_t)p * in->panel_stride + k * PSC_LANES;
            __m256 low = load_weights(in->w, at, dtype);
            __m256 high = load_weights(in->w, at + 8, dtype);
            if (stream) {
                size_t size = dtype == PSC_DTYPE_F32 ? 4 : 2;
                _mm_prefetch((const char *)in->w + at * size + stream, _MM_HINT_T0);
            }
            UNROLL for (int r = 0; r < rows; r++) {
                __m256 value = _mm256_broadcast_ss(x + (size_t)r * ldx + k);
                acc[r][2 * p] = _mm256_fmadd_ps(value, low, acc[r][2 * p]);
                acc[r][2 * p + 1] = _mm256_fmadd_ps(value, high, acc[r][2 * p + 1]);
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < 2 * panels; v++) {
            if (total)
                close_lane(total, acc[r][v], (size_t)r, (size_t)v * 8);
            else
                _mm256_store_ps(sums + r * panels * PSC_LANES + v * 8, acc[r][v]);
        }
    }
}

/* One panel by 1 to 6 rows; total is null or, known to the compiler, not. */
ALWAYS_INLINE void tile_rows(float *sums, const tile_input *in, size_t rows, const psc_dtype dtype,
    const tile_total *total) {
    switch (rows) {
    case 6:
        tile(sums, in, 6, 1, dtype, false, 0, total);
        break;
    case 5:
        tile(sums, in, 5, 1, dtype, false, 0, total);
        break;
    case 4:
        tile(sums, in, 4, 1, dtype, false, 0, total);
        break;
    case 3:
        tile(sums, in, 3, 1, dtype, false, 0, total);
        break;
    case 2:
        tile(sums, in, 2, 1, dtype, false, 0, total);
        break;
    default:
        tile(sums, in, 1, 1, dtype, false, 0, total);
        break;
    }
}

/* How many rows the tile at row r takes: the rest spread evenly over the fewest tiles, since a tile
 * of one or two rows waits for its own chains. */
static inline size_t tile_height(size_t rows_left) {
    size_t tiles = (rows_left + TILE_ROWS - 1) / TILE_ROWS;
    return (rows_left + tiles - 1) / tiles;
}

#endif
