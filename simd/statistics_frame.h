/* The frame of the statistics over rows, equal to statistics_reference.c to the bit. A sum's
 * sixteen lanes are registers of doubles; the lanes past a row's end stay unchanged.
 * Private to simd/: statistics_<isa>.c, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef STATISTICS_FRAME_H
#define STATISTICS_FRAME_H

#include "kernel_names.h"

#include <math.h>
#include <string.h>

#define VEC64 (VEC / 2)
#define STRIPE (PSC_LANES / VEC64) /* registers of a sum */
/* Bounds counted at once; each has one register of counts. */
#define MOST_BOUNDS 10
/* Logarithms computed before the sums that use them: SLEEF's calls keep no register. */
#define LOG_BLOCK 128

/* STEP(i, v, left) for every register v of each stripe, from element i on; only the row's last
 * register may have left < VEC64. */
#define FOR_STRIPES(n, STEP)                                                                       \
    do {                                                                                           \
        size_t begin = 0;                                                                          \
        for (; begin + PSC_LANES <= (n); begin += PSC_LANES) {                                     \
            UNROLL for (int v = 0; v < STRIPE; v++) {                                              \
                STEP(begin + VEC64 * (size_t)v, v, VEC64);                                         \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int v = 0; v < STRIPE; v++) {                                                  \
            const size_t at = begin + VEC64 * (size_t)v;                                           \
            if (at >= (n)) break;                                                                  \
            STEP(at, v, (n)-at);                                                                   \
        }                                                                                          \
    } while (0)

ALWAYS_INLINE void zero_lanes(vec64 *lanes) {
    UNROLL for (int v = 0; v < STRIPE; v++) lanes[v] = vec64_set(0.0);
}

/* --- counts of columns ----------------------------------------------------------------------- */

/* `at_once` registers, of the first n_bounds of which the counts are kept. */
ALWAYS_INLINE void count_block(int32_t *counts, size_t ld, const float *x, size_t ldx, size_t rows,
    const float *bounds, size_t n_bounds, const size_t at_once, size_t left) {
    vec count[MOST_BOUNDS], bound[MOST_BOUNDS];
    float bits[MOST_BOUNDS][VEC];
    UNROLL for (size_t b = 0; b < at_once; b++) {
        count[b] = vec_zero();
        bound[b] = vec_set(b < n_bounds ? bounds[b] : INFINITY);
    }
    for (size_t r = 0; r < rows; r++) {
        const vec value = load_some(x + r * ldx, left);
        UNROLL for (size_t b = 0; b < at_once; b++) {
            count[b] = vec_count_less(count[b], bound[b], value);
        }
    }
    UNROLL for (size_t b = 0; b < at_once; b++) vec_store(bits[b], count[b]);
    for (size_t b = 0; b < n_bounds; b++) {
        int32_t own[VEC];
        memcpy(own, bits[b], sizeof own);
        for (size_t i = 0; i < least(left, VEC); i++) counts[b * ld + i] += own[i];
    }
}

ALWAYS_INLINE void count_bounds(int32_t *counts, size_t ld, const float *x, size_t ldx, size_t rows,
    size_t n, const float *bounds, size_t n_bounds, const size_t at_once) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC)
        count_block(counts + i, ld, x + i, ldx, rows, bounds, n_bounds, at_once, VEC);
    if (i < n) count_block(counts + i, ld, x + i, ldx, rows, bounds, n_bounds, at_once, n - i);
}

void PSC_NAME(count_columns)(int32_t *counts, size_t ld, const float *x, size_t ldx, size_t rows,
    size_t n, const float *bounds, size_t n_bounds) {
    if (n_bounds == 1) {
        count_bounds(counts, ld, x, ldx, rows, n, bounds, 1, 1);
        return;
    }
    for (size_t b = 0; b < n_bounds; b += MOST_BOUNDS) {
        const size_t some = least(n_bounds - b, MOST_BOUNDS);
        count_bounds(counts + b * ld, ld, x, ldx, rows, n, bounds + b, some, MOST_BOUNDS);
    }
}

/* What a histogram's bins are, and by and from times 2^24; the bits of a bin + 2^23
 * below 2^23 are the bin. */
typedef struct bin_terms {
    vec by, from, most, by_scaled, from_scaled;
} bin_terms;

#define BIN_OFFSET 0x1p23f
#define BIN_SCALE 0x1p24f
#define BIN_BITS 0x7fffffu

ALWAYS_INLINE vec bins_of(vec x, const bin_terms *t) {
    const vec offset = vec_set(BIN_OFFSET), zero = vec_zero();
    const vec at = vec_smaller(t->most, vec_greater(vec_fma(x, t->by, t->from), zero));
    const vec near = vec_sub(vec_add(at, offset), offset);
    const vec rest = vec_fma(x, t->by_scaled, vec_fnma(near, vec_set(BIN_SCALE), t->from_scaled));
    const vec bin = vec_where_less(rest, zero, vec_sub(near, vec_set(1.0f)), near);
    return vec_add(vec_greater(bin, zero), offset);
}

void PSC_NAME(bin_columns)(int32_t *counts, const float *x, size_t ldx, size_t rows, size_t n,
    float by, float from, size_t bins) {
    const bin_terms t = {vec_set(by), vec_set(from), vec_set((float)(bins - 1)),
        vec_set(by * BIN_SCALE), vec_set(from * BIN_SCALE)};
    for (size_t r = 0; r < rows; r++, x += ldx) {
        int32_t *to = counts;
        size_t i = 0;
        for (; i + VEC <= n; i += VEC) {
            float own[VEC];
            uint32_t bits[VEC];
            vec_store(own, bins_of(vec_load(x + i), &t));
            memcpy(bits, own, sizeof bits);
            UNROLL for (int l = 0; l < VEC; l++, to += bins) to[bits[l] & BIN_BITS]++;
        }
        for (size_t left = n - i, l = 0; l < left; l++, to += bins) {
            float own[VEC];
            uint32_t bits[VEC];
            vec_store(own, bins_of(load_some(x + i, left), &t));
            memcpy(bits, own, sizeof bits);
            to[bits[l] & BIN_BITS]++;
        }
    }
}

/* --- sums of a row --------------------------------------------------------------------------- */

ALWAYS_INLINE void weight_step(
    vec64 *sum, vec64 *square, const double *a, const float *b, size_t left) {
    const vec64 w = vec64_abs(vec64_mul(load_some_f64(a, left), vec64_of_floats(b, left)));
    *sum = keep_past_end_f64(*sum, vec64_add(*sum, w), left);
    *square = keep_past_end_f64(*square, vec64_add(*square, vec64_mul(w, w)), left);
}

void PSC_NAME(weight_sums)(double *sums, const double *a, const float *b, size_t n) {
    vec64 sum[STRIPE], square[STRIPE];
    zero_lanes(sum);
    zero_lanes(square);
#define STEP(i, v, left) weight_step(&sum[v], &square[v], a + (i), b + (i), left)
    FOR_STRIPES(n, STEP);
#undef STEP
    sums[0] = fold_f64(sum);
    sums[1] = fold_f64(square);
}

/* --- a row of the pattern -------------------------------------------------------------------- */

/* i, i + 1, ... in the lanes of a register. */
ALWAYS_INLINE vec64 numbers_from(size_t i) {
    static const double first[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    return vec64_add(vec64_load(first), vec64_set((double)i));
}

/* log a, of 0: 0, for a block of up to LOG_BLOCK elements. */
ALWAYS_INLINE void log_block(double *logs, const float *a, size_t n) {
    const vec64 zero = vec64_set(0.0), one = vec64_set(1.0);
    for (size_t i = 0; i < n; i += VEC64) {
        const vec64 own = vec64_of_floats(a + i, n - i);
        vec64_store(logs + i, vec64_log(vec64_where_less(zero, own, own, one)));
    }
}

typedef struct pattern_lanes {
    vec64 sum[STRIPE], entropy[STRIPE], moment[STRIPE];
} pattern_lanes;

ALWAYS_INLINE void pattern_step(
    pattern_lanes *t, const float *a, const double *logs, size_t i, int v, size_t left) {
    const vec64 own = vec64_of_floats(a, left);
    const vec64 entropy = vec64_add(t->entropy[v], vec64_mul(vec64_load(logs), own));
    const vec64 moment = vec64_add(t->moment[v], vec64_mul(numbers_from(i), own));
    t->sum[v] = keep_past_end_f64(t->sum[v], vec64_add(t->sum[v], own), left);
    t->entropy[v] = keep_past_end_f64(t->entropy[v], entropy, left);
    t->moment[v] = keep_past_end_f64(t->moment[v], moment, left);
}

ALWAYS_INLINE void variance_step(
    vec64 *sum, const float *a, vec64 mean, size_t n, size_t i, size_t left) {
    const vec64 back = vec64_sub(vec64_set((double)(n - 1)), numbers_from(i));
    const vec64 d = vec64_sub(back, mean);
    const vec64 term = vec64_mul(vec64_mul(d, d), vec64_of_floats(a, left));
    *sum = keep_past_end_f64(*sum, vec64_add(*sum, term), left);
}

void PSC_NAME(pattern_sums)(double *sums, const float *a, size_t n) {
    double logs[LOG_BLOCK + VEC64];
    pattern_lanes t;
    vec64 variance[STRIPE];
    zero_lanes(t.sum);
    zero_lanes(t.entropy);
    zero_lanes(t.moment);
    zero_lanes(variance);
    for (size_t from = 0; from < n; from += LOG_BLOCK) {
        const size_t some = least(n - from, LOG_BLOCK);
        log_block(logs, a + from, some);
#define STEP(i, v, left) pattern_step(&t, a + from + (i), logs + (i), from + (i), v, left)
        FOR_STRIPES(some, STEP);
#undef STEP
    }
    sums[0] = fold_f64(t.sum);
    sums[1] = fold_f64(t.entropy);
    sums[2] = (double)(n - 1) * sums[0] - fold_f64(t.moment);
    const vec64 mean = vec64_set(sums[2]);
#define STEP(i, v, left) variance_step(&variance[v], a + (i), mean, n, i, left)
    FOR_STRIPES(n, STEP);
#undef STEP
    sums[3] = fold_f64(variance);
}

#endif
