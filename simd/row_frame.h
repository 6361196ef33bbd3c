/* The frame of the row kernels: softmax, LayerNorm, dot, log-sum-exp, shares, equal to the
 * reference to the bit. The sixteen lanes of a striped sum are PANEL_REGISTERS registers of floats
 * or twice as many of doubles. In a row's last stripe the lanes past its end stay unchanged:
 * adding +0 would turn a lane of -0 into +0. Private to simd/: row_<isa>.c, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef ROW_FRAME_H
#define ROW_FRAME_H

#include "exp_frame.h"
#include "kernel_names.h"

#include <math.h>

#define VEC64 (VEC / 2)
#define STRIPE_REGISTERS_F64 (PSC_LANES / VEC64)

/* The greatest element of a row, or -inf if it has none, ignoring NaN as `x > max` does; and the
 * least, which may ignore a NaN. */
typedef struct extent {
    float greatest, least;
} extent;

static extent extent_of(const float *x, size_t n) {
    vec max[4], min[4];
    float high[VEC], low[VEC];
    UNROLL for (int v = 0; v < 4; v++) {
        max[v] = vec_set(-INFINITY);
        min[v] = vec_set(INFINITY);
    }
    size_t i = 0;
    for (; i + 4 * VEC <= n; i += 4 * VEC) {
        UNROLL for (int v = 0; v < 4; v++) {
            const vec value = vec_load(x + i + v * VEC);
            max[v] = vec_greater(value, max[v]);
            min[v] = vec_smaller(min[v], value);
        }
    }
    /* The remaining registers; the last one overlaps the one before it. */
    for (; i < n && n >= VEC; i += VEC) {
        const vec value = vec_load(x + least(i, n - VEC));
        max[0] = vec_greater(value, max[0]);
        min[0] = vec_smaller(min[0], value);
    }
    max[0] = vec_greater(vec_greater(max[0], max[1]), vec_greater(max[2], max[3]));
    min[0] = vec_smaller(vec_smaller(min[0], min[1]), vec_smaller(min[2], min[3]));
    vec_store(high, max[0]);
    vec_store(low, min[0]);
    UNROLL for (int half = VEC / 2; half > 0; half /= 2) {
        UNROLL for (int lane = 0; lane < half; lane++) {
            const float other = high[lane + half], less = low[lane + half];
            high[lane] = other > high[lane] ? other : high[lane];
            low[lane] = less < low[lane] ? less : low[lane];
        }
    }
    for (; i < n; i++) {
        high[0] = x[i] > high[0] ? x[i] : high[0];
        low[0] = x[i] < low[0] ? x[i] : low[0];
    }
    return (extent){high[0], low[0]};
}

/* e = exp(x - max), or twice that if near, for `count` registers, added to the sums. Only the last
 * register may reach the row's end. */
ALWAYS_INLINE void softmax_step(vec *e, vec *sums, const float *x, vec minus_max, size_t left,
    const int count, const bool near) {
    const size_t last = left - VEC * (size_t)(count - 1);
    UNROLL for (int v = 0; v < count; v++) {
        const float *from = x + VEC * v;
        e[v] = vec_add(minus_max, v + 1 < count ? vec_load(from) : load_some(from, last));
    }
    if (near) {
        vec_twice_exp(e, count);
    } else {
        vec_exp(e, count);
    }
    UNROLL for (int v = 0; v < count; v++) {
        vec *sum = &sums[v % PANEL_REGISTERS];
        const vec more = vec_add(*sum, e[v]);
        *sum = v + 1 < count ? more : keep_past_end(*sum, more, last);
    }
}

/* The last `count` registers of a row, which are divided before they are written. Returns the whole
 * row's sum. */
ALWAYS_INLINE vec softmax_end(float *y, vec *sums, const float *x, vec minus_max, size_t left,
    const int count, const bool near) {
    vec e[OVERLAP];
    if (count > 0) softmax_step(e, sums, x, minus_max, left, count, near);
    const vec sum = vec_set(fold(sums));
    UNROLL for (int v = 0; v < count; v++) {
        store_some(y + VEC * v, vec_div(e[v], sum), left - VEC * (size_t)v);
    }
    return sum;
}

/* near requires -86 <= x - max for all x: twice each exp over twice their sum is the same
 * quotient. */
ALWAYS_INLINE void softmax_row(float *y, const float *x, size_t n, float max, const bool near) {
    const vec minus_max = vec_set(-max);
    vec sums[PANEL_REGISTERS], e[OVERLAP], sum = vec_zero();
    size_t whole = n / (OVERLAP * VEC) * (OVERLAP * VEC);
    UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) sums[v] = vec_zero();
    for (size_t i = 0; i < whole; i += OVERLAP * VEC) {
        softmax_step(e, sums, x + i, minus_max, OVERLAP * VEC, OVERLAP, near);
        UNROLL for (int v = 0; v < OVERLAP; v++) vec_store(y + i + VEC * v, e[v]);
    }
    _Static_assert(OVERLAP == 4, "a case for each number of registers at the end");
#define END(count)                                                                                 \
    case count:                                                                                    \
        sum = softmax_end(y + whole, sums, x + whole, minus_max, n - whole, count, near);          \
        break;
    switch ((n - whole + VEC - 1) / VEC) {
        END(0)
        END(1)
        END(2)
        END(3)
        END(4)
    default:
        break;
    }
#undef END
    for (size_t i = 0; i < whole; i += OVERLAP * VEC) {
        UNROLL for (int v = 0; v < OVERLAP; v++) {
            vec_store(y + i + VEC * v, vec_div(vec_load(y + i + VEC * v), sum));
        }
    }
}

void PSC_NAME(softmax)(float *y, const float *x, size_t n) {
    const extent e = extent_of(x, n);
    if (e.least - e.greatest >= -86.0f) {
        softmax_row(y, x, n, e.greatest, true);
    } else {
        softmax_row(y, x, n, e.greatest, false);
    }
}

/* sums <- next(sums, i) for each register of a row's stripes; i is the position in the row. */
#define FOR_STRIPES(sums, n, NEXT)                                                                 \
    do {                                                                                           \
        size_t stripe_i = 0;                                                                       \
        for (; stripe_i + PSC_LANES <= (n); stripe_i += PSC_LANES) {                               \
            UNROLL for (size_t v = 0; v < PANEL_REGISTERS; v++) {                                  \
                sums[v] = NEXT(sums[v], stripe_i + v * VEC, VEC);                                  \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (size_t v = 0; v < PANEL_REGISTERS; v++) {                                      \
            size_t at = stripe_i + v * VEC;                                                        \
            if (at >= (n)) break;                                                                  \
            sums[v] = keep_past_end(sums[v], NEXT(sums[v], at, (n)-at), (n)-at);                   \
        }                                                                                          \
    } while (0)

void PSC_NAME(ln_stats)(float *mean, float *scale, const float *x, size_t n, float eps) {
    vec sums[PANEL_REGISTERS], squares[PANEL_REGISTERS];
    UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) sums[v] = squares[v] = vec_zero();
#define ADD(sum, at, left) vec_add(sum, load_some(x + (at), left))
    FOR_STRIPES(sums, n, ADD);
#undef ADD
    float average = fold(sums) / (float)n;
    vec m = vec_set(average), d;
#define ADD_SQUARE(sum, at, left) (d = vec_sub(load_some(x + (at), left), m), vec_fma(d, d, sum))
    FOR_STRIPES(squares, n, ADD_SQUARE);
#undef ADD_SQUARE
    *mean = average;
    *scale = sqrtf(fold(squares) / (float)n + eps);
}

void PSC_NAME(ln_normalize)(float *normalized, const float *x, size_t n, float mean, float scale) {
    vec m = vec_set(mean), s = vec_set(scale);
    for (size_t i = 0; i < n; i += VEC) {
        vec d = vec_sub(load_some(x + i, n - i), m);
        store_some(normalized + i, vec_div(d, s), n - i);
    }
}

void PSC_NAME(ln_affine)(
    float *y, const float *x, const float *gamma, const float *beta, size_t n) {
    for (size_t i = 0; i < n; i += VEC) {
        size_t left = n - i;
        vec value =
            vec_fma(load_some(x + i, left), load_some(gamma + i, left), load_some(beta + i, left));
        store_some(y + i, value, left);
    }
}

void PSC_NAME(ln_backward)(
    float *y, const float *dn, const float *normalized, size_t n, float scale, float dscale) {
    vec sums[PANEL_REGISTERS];
    UNROLL for (int i = 0; i < PANEL_REGISTERS; i++) sums[i] = vec_zero();
#define ADD(sum, at, left) vec_add(sum, load_some(dn + (at), left))
    FOR_STRIPES(sums, n, ADD);
#undef ADD
    const vec m = vec_set(fold(sums) / (float)n), s = vec_set(scale),
              by = vec_set(dscale / (float)n);
    for (size_t i = 0; i < n; i += VEC) {
        const size_t left = n - i;
        const vec centered = vec_div(vec_sub(load_some(dn + i, left), m), s);
        store_some(y + i, vec_fma(load_some(normalized + i, left), by, centered), left);
    }
}

void PSC_NAME(dot)(float *result, const float *a, const float *b, size_t n) {
    vec sums[PANEL_REGISTERS];
    UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) sums[v] = vec_zero();
#define MULTIPLY_ADD(sum, at, left)                                                                \
    vec_fma(load_some(a + (at), left), load_some(b + (at), left), sum)
    FOR_STRIPES(sums, n, MULTIPLY_ADD);
#undef MULTIPLY_ADD
    *result = fold(sums);
}

void PSC_NAME(softmax_backward)(float *y, const float *a, const float *dy, size_t n) {
    float dot;
    PSC_NAME(dot)(&dot, a, dy, n);
    const vec sum = vec_set(dot);
    for (size_t i = 0; i < n; i += VEC) {
        const size_t left = n - i;
        const vec centered = vec_sub(load_some(dy + i, left), sum);
        store_some(y + i, vec_mul(load_some(a + i, left), centered), left);
    }
}

void PSC_NAME(log_sum_exp)(double *result, const float *x, size_t n) {
    double max = (double)extent_of(x, n).greatest;
    vec64 m = vec64_set(max), sums[STRIPE_REGISTERS_F64];
    UNROLL for (int v = 0; v < STRIPE_REGISTERS_F64; v++) sums[v] = vec64_set(0.0);
    vec64 e[OVERLAP_F64];
    size_t i = 0;
    for (; i + PSC_LANES <= n; i += PSC_LANES) {
        UNROLL for (int v = 0; v < STRIPE_REGISTERS_F64; v += OVERLAP_F64) {
            UNROLL for (int w = 0; w < OVERLAP_F64; w++) {
                e[w] = vec64_sub(vec64_of_floats(x + i + VEC64 * (v + w), VEC64), m);
            }
            vec64_exp(e, OVERLAP_F64);
            UNROLL for (int w = 0; w < OVERLAP_F64; w++) sums[v + w] = vec64_add(sums[v + w], e[w]);
        }
    }
    UNROLL for (size_t v = 0; v < STRIPE_REGISTERS_F64; v++) {
        const size_t at = i + v * VEC64;
        if (at >= n) break;
        e[0] = vec64_sub(vec64_of_floats(x + at, n - at), m);
        vec64_exp(e, 1);
        sums[v] = keep_past_end_f64(sums[v], vec64_add(sums[v], e[0]), n - at);
    }
    *result = vec64_first(vec64_log(vec64_set(fold_f64(sums)))) + max;
}

/* Fewer shares than this are faster one by one. */
#define FEW_SHARES 4

/* The sums of a row of shares, in registers. */
typedef struct share_sums {
    vec64 plain[STRIPE_REGISTERS_F64], abs[STRIPE_REGISTERS_F64];
} share_sums;

/* Lane l of the registers is lane (turn + l) % 16 of the row's sums; turn is the lane of the first
 * share of a cache line. */
ALWAYS_INLINE void turn_in(vec64 *lanes, const double *sums, size_t turn) {
    double twice[2 * PSC_LANES];
    UNROLL for (int v = 0; v < STRIPE_REGISTERS_F64; v++) {
        const vec64 some = vec64_load(sums + VEC64 * v);
        vec64_store(twice + VEC64 * v, some);
        vec64_store(twice + PSC_LANES + VEC64 * v, some);
    }
    UNROLL for (int v = 0; v < STRIPE_REGISTERS_F64; v++) {
        lanes[v] = vec64_load(twice + turn + VEC64 * v);
    }
}

ALWAYS_INLINE void turn_out(double *sums, const vec64 *lanes, size_t turn) {
    double twice[2 * PSC_LANES];
    UNROLL for (int v = 0; v < STRIPE_REGISTERS_F64; v++) {
        vec64_store(twice + VEC64 * v, lanes[v]);
        vec64_store(twice + PSC_LANES + VEC64 * v, lanes[v]);
    }
    UNROLL for (int v = 0; v < STRIPE_REGISTERS_F64; v++) {
        vec64_store(sums + VEC64 * v, vec64_load(twice + PSC_LANES - turn + VEC64 * v));
    }
}

/* Sixteen shares at a time from where y is aligned, with streaming stores unless y is x. */
ALWAYS_INLINE size_t shares_whole(share_sums *sums, float *y, const float *x, const float *w,
    size_t n, float divisor, const bool products, const bool stream) {
    const vec by = vec_set(divisor);
    share_sums s = *sums;
    size_t i = 0;
    for (; i + PSC_LANES <= n; i += PSC_LANES) {
        UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) {
            const size_t at = i + VEC * (size_t)v;
            vec share = vec_load(x + at);
            if (products) share = vec_mul(share, vec_load(w + at));
            share = vec_div(share, by);
            if (stream) {
                vec_stream(y + at, share);
            } else {
                vec_store(y + at, share);
            }
            UNROLL for (int h = 0; h < 2; h++) {
                const vec64 wide = vec64_half(share, h);
                s.plain[2 * v + h] = vec64_add(s.plain[2 * v + h], wide);
                s.abs[2 * v + h] = vec64_add(s.abs[2 * v + h], vec64_abs(wide));
            }
        }
    }
    *sums = s;
    if (stream) STREAM_END();
    return i;
}

/* Fewer than sixteen, in the lanes from `lane` on. The others get -0, which changes no sum. */
ALWAYS_INLINE void shares_some(
    share_sums *s, float *y, const float *x, const float *w, size_t n, size_t lane, float divisor) {
    float plain[PSC_LANES], abs[PSC_LANES];
    if (n == 0) return;
    UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) {
        vec_store(plain + VEC * v, vec_set(-0.0f));
        vec_store(abs + VEC * v, vec_set(-0.0f));
    }
    for (size_t i = 0; i < n; i++) {
        y[i] = plain[lane + i] = (w ? x[i] * w[i] : x[i]) / divisor;
        abs[lane + i] = fabsf(plain[lane + i]);
    }
    UNROLL for (int v = 0; v < STRIPE_REGISTERS_F64; v++) {
        s->plain[v] = vec64_add(s->plain[v], vec64_of_floats(plain + VEC64 * v, VEC64));
        s->abs[v] = vec64_add(s->abs[v], vec64_of_floats(abs + VEC64 * v, VEC64));
    }
}

void PSC_NAME(shares)(
    double *sums, float *y, const float *x, const float *w, size_t n, size_t first, float divisor) {
    if (n < FEW_SHARES || (uintptr_t)y % sizeof *y) {
        psc_shares__reference(sums, y, x, w, n, first, divisor);
        return;
    }
    /* From sixteen shares on, process those of one cache line together. */
    const size_t past = (uintptr_t)y / sizeof *y % PSC_LANES;
    const size_t begin = n < PSC_LANES ? 0 : (PSC_LANES - past) % PSC_LANES;
    const size_t turn = (first + begin) % PSC_LANES;
    share_sums s;
    turn_in(s.plain, sums, turn);
    turn_in(s.abs, sums + PSC_LANES, turn);
    shares_some(&s, y, x, w, begin, PSC_LANES - begin, divisor);
    y += begin;
    x += begin;
    if (w) w += begin;
    n -= begin;
    size_t done;
    if (w && x != y)
        done = shares_whole(&s, y, x, w, n, divisor, true, true);
    else if (w)
        done = shares_whole(&s, y, x, w, n, divisor, true, false);
    else if (x != y)
        done = shares_whole(&s, y, x, w, n, divisor, false, true);
    else
        done = shares_whole(&s, y, x, w, n, divisor, false, false);
    shares_some(&s, y + done, x + done, w ? w + done : NULL, n - done, 0, divisor);
    turn_out(sums, s.plain, turn);
    turn_out(sums + PSC_LANES, s.abs, turn);
}

#endif
