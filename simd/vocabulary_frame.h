/* The frame of the reductions over the vocabulary, equal to vocabulary_reference.c to the bit. Each
 * kernel makes several sums in one pass. A sum's sixteen lanes are registers of doubles; the lanes
 * past a row's end stay unchanged. Private to simd/: vocabulary_<isa>.c, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef VOCABULARY_FRAME_H
#define VOCABULARY_FRAME_H

#include "exp_frame.h"
#include "kernel_names.h"
#include "short_exp_reference.h"

#include <math.h>

#define VEC64 (VEC / 2)
#define STRIPE (PSC_LANES / VEC64) /* registers of a sum */

/* sums[s][v] <- value in the lanes below left. */
#define TAKE(s, v, value, left)                                                                    \
    (sums[(s)*STRIPE + (v)] = keep_past_end_f64(sums[(s)*STRIPE + (v)], value, left))
#define SUM_OF(s, v) sums[(s)*STRIPE + (v)]

ALWAYS_INLINE void clear_sums(vec64 *sums, const int n) {
    UNROLL for (int s = 0; s < n * STRIPE; s++) sums[s] = vec64_set(0.0);
}

ALWAYS_INLINE void fold_sums(double *out, const vec64 *sums, const int n) {
    for (int s = 0; s < n; s++) out[s] = fold_f64(sums + s * STRIPE);
}

/* STEP(i, v, count, left) for `count` registers v, v + 1, ... of each stripe, at most OVERLAP_F64
 * at once, whose first element is i; only a single register may have left < VEC64. */
#define FOR_REGISTERS(n, STEP)                                                                     \
    do {                                                                                           \
        size_t begin = 0;                                                                          \
        for (; begin + PSC_LANES <= (n); begin += PSC_LANES) {                                     \
            UNROLL for (int v = 0; v < STRIPE; v += OVERLAP_F64) {                                 \
                STEP(begin + VEC64 * (size_t)v, v, OVERLAP_F64, VEC64);                            \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int v = 0; v < STRIPE; v++) {                                                  \
            const size_t at = begin + VEC64 * (size_t)v;                                           \
            if (at >= (n)) break;                                                                  \
            STEP(at, v, 1, (n)-at);                                                                \
        }                                                                                          \
    } while (0)

/* --- exponentials ---------------------------------------------------------------------------- */

ALWAYS_INLINE void exp_row_step(
    float *p, vec64 *sums, const float *z, vec64 most, int v, const int count, size_t left) {
    vec64 e[OVERLAP_F64];
    UNROLL for (int w = 0; w < count; w++) {
        e[w] = vec64_sub(vec64_of_floats(z + VEC64 * w, left), most);
    }
    vec64_exp(e, count);
    UNROLL for (int w = 0; w < count; w++) {
        float *to = p + VEC64 * w;
        float narrow[VEC64];
        TAKE(0, v + w, vec64_add(SUM_OF(0, v + w), e[w]), left);
        if (left >= VEC64) {
            vec64_narrow(to, e[w]);
            TAKE(1, v + w, vec64_add(SUM_OF(1, v + w), vec64_of_floats(to, VEC64)), left);
            continue;
        }
        vec64_narrow(narrow, e[w]);
        TAKE(1, v + w, vec64_add(SUM_OF(1, v + w), vec64_of_floats(narrow, VEC64)), left);
        for (size_t i = 0; i < left; i++) to[i] = narrow[i];
    }
}

void PSC_NAME(exp_row)(float *p, double *out, const float *z, float most, size_t n) {
    const vec64 m = vec64_set((double)most);
    vec64 sums[2 * STRIPE];
    clear_sums(sums, 2);
#define STEP(i, v, count, left) exp_row_step(p + (i), sums, z + (i), m, v, count, left)
    FOR_REGISTERS(n, STEP);
#undef STEP
    fold_sums(out, sums, 2);
}

ALWAYS_INLINE void weigh_step(double *w, vec64 *sums, const float *z, vec64 most, vec64 temperature,
    int v, const int count, size_t left, const bool divide) {
    vec64 e[OVERLAP_F64], d[OVERLAP_F64];
    const vec64 zero = vec64_set(0.0);
    UNROLL for (int k = 0; k < count; k++) {
        e[k] = vec64_sub(vec64_of_floats(z + VEC64 * k, left), most);
        if (divide) e[k] = vec64_div(e[k], temperature);
        d[k] = e[k];
    }
    vec64_exp(e, count);
    UNROLL for (int k = 0; k < count; k++) {
        const vec64 finite = vec64_where_less(zero, e[k], d[k], zero);
        store_some_f64(w + VEC64 * k, e[k], left);
        TAKE(0, v + k, vec64_add(SUM_OF(0, v + k), e[k]), left);
        TAKE(1, v + k, vec64_fma(e[k], e[k], SUM_OF(1, v + k)), left);
        TAKE(2, v + k, vec64_fma(e[k], finite, SUM_OF(2, v + k)), left);
    }
}

void PSC_NAME(weigh)(
    double *w, double *out, const float *z, float most, double temperature, size_t n) {
    const vec64 m = vec64_set((double)most), by = vec64_set(temperature);
    vec64 sums[3 * STRIPE];
    clear_sums(sums, 3);
    if (temperature == 1.0) {
#define STEP(i, v, count, left) weigh_step(w + (i), sums, z + (i), m, by, v, count, left, false)
        FOR_REGISTERS(n, STEP);
#undef STEP
    } else {
#define STEP(i, v, count, left) weigh_step(w + (i), sums, z + (i), m, by, v, count, left, true)
        FOR_REGISTERS(n, STEP);
#undef STEP
    }
    fold_sums(out, sums, 3);
}

/* x[v] <- exp(x[v]) within 4e-16 for n registers, x from -708 (smaller x count as -708) to 709: a
 * polynomial of degree 10 on s = x - q ln 2 (near the minimax one, by Chebyshev's nodes) and one
 * scaling. Ten operations fewer than vec64_exp, whose bits it does not have. */
ALWAYS_INLINE void short_exp(vec64 *x, const int n) {
    const vec64 integers = vec64_set(0x1.8p52 + 1023.0);
    vec64 at[OVERLAP_F64], y[OVERLAP_F64];
    UNROLL for (int v = 0; v < n; v++) {
        x[v] = vec64_greater(vec64_set(-708.0), x[v]);
        at[v] = vec64_fma(x[v], vec64_set(0x1.71547652b82fep+0), integers);
        const vec64 q = vec64_sub(at[v], integers);
        x[v] = vec64_fma(q, vec64_set(-0x1.62e42fefa3000p-1), x[v]);
        x[v] = vec64_fma(q, vec64_set(-0x1.3de6af278ece6p-42), x[v]);
        y[v] = vec64_set(psc_short_exp_coefficients[0]);
    }
    UNROLL for (int k = 1; k < PSC_SHORT_EXP_TERMS; k++) {
        UNROLL for (int v = 0; v < n; v++) {
            y[v] = vec64_fma(y[v], x[v], vec64_set(psc_short_exp_coefficients[k]));
        }
    }
    UNROLL for (int v = 0; v < n; v++) x[v] = vec64_mul(y[v], vec64_powers(at[v]));
}

ALWAYS_INLINE void weigh_both_step(double *plain, double *scaled, vec64 *sums, const float *z,
    vec64 most, vec64 by, int v, const int count, size_t left) {
    vec64 e[OVERLAP_F64], t[OVERLAP_F64], w[OVERLAP_F64];
    UNROLL for (int k = 0; k < count; k++) {
        e[k] = vec64_sub(vec64_of_floats(z + VEC64 * k, left), most);
        w[k] = t[k] = vec64_greater(vec64_set(-708.0), vec64_mul(e[k], by));
    }
    vec64_exp(e, count);
    short_exp(w, count);
    UNROLL for (int k = 0; k < count; k++) {
        store_some_f64(plain + VEC64 * k, e[k], left);
        store_some_f64(scaled + VEC64 * k, w[k], left);
        TAKE(0, v + k, vec64_add(SUM_OF(0, v + k), e[k]), left);
        TAKE(1, v + k, vec64_add(SUM_OF(1, v + k), w[k]), left);
        TAKE(2, v + k, vec64_fma(w[k], w[k], SUM_OF(2, v + k)), left);
        TAKE(3, v + k, vec64_fma(w[k], t[k], SUM_OF(3, v + k)), left);
    }
}

void PSC_NAME(weigh_both)(
    double *plain, double *scaled, double *out, const float *z, float most, double by, size_t n) {
    const vec64 m = vec64_set((double)most), b = vec64_set(by);
    vec64 sums[4 * STRIPE];
    clear_sums(sums, 4);
#define STEP(i, v, count, left)                                                                    \
    weigh_both_step(plain + (i), scaled + (i), sums, z + (i), m, b, v, count, left)
    FOR_REGISTERS(n, STEP);
#undef STEP
    fold_sums(out, sums, 4);
}

ALWAYS_INLINE void masked_step(vec64 *sums, const float *z, vec64 limit, const double *a,
    const double *b, vec64 by_a, vec64 by_b, int v, size_t left) {
    const vec64 zero = vec64_set(0.0);
    const vec64 own =
        vec64_where_less(vec64_of_floats(z, left), limit, zero, load_some_f64(a, left));
    TAKE(0, v, vec64_add(SUM_OF(0, v), own), left);
    TAKE(1, v, vec64_fma(own, own, SUM_OF(1, v)), left);
    if (!b) return;
    const vec64 other = load_some_f64(b, left);
    const vec64 x = vec64_mul(own, by_a), y = vec64_mul(other, by_b);
    TAKE(2, v, vec64_fma(own, other, SUM_OF(2, v)), left);
    TAKE(3, v, vec64_add(SUM_OF(3, v), vec64_where_less(x, y, x, y)), left);
}

void PSC_NAME(masked_sums)(double *out, const float *z, float limit, const double *a,
    const double *b, double by_a, double by_b, size_t n) {
    const vec64 l = vec64_set((double)limit), x = vec64_set(by_a), y = vec64_set(by_b);
    vec64 sums[4 * STRIPE];
    clear_sums(sums, 4);
#define STEP(i, v, count, left)                                                                    \
    UNROLL for (int k = 0; k < (count); k++) {                                                     \
        const size_t from = (i) + VEC64 * (size_t)k;                                               \
        masked_step(sums, z + from, l, a + from, other, x, y, (v) + k, left);                      \
    }
    if (b) {
#define other b + from
        FOR_REGISTERS(n, STEP);
#undef other
    } else {
#define other NULL
        FOR_REGISTERS(n, STEP);
#undef other
    }
#undef STEP
    fold_sums(out, sums, 4);
}

/* --- divergence ------------------------------------------------------------------------------ */

/* What divergence_sums reads and compares with. */
typedef struct divergence {
    const float *z, *f, *e_f;
    vec most;
    vec64 wide_most;
} divergence;

/* `count` registers of floats from i on; the first is register v of the stripe. */
ALWAYS_INLINE void divergence_step(
    vec64 *sums, const divergence *d, size_t i, int v, const int count, size_t left) {
    vec z[OVERLAP], e[OVERLAP];
    UNROLL for (int k = 0; k < count; k++) {
        z[k] = load_some(d->z + i + VEC * k, left);
        e[k] = vec_sub(z[k], d->most);
    }
    vec_exp(e, count);
    UNROLL for (int k = 0; k < count; k++) {
        const vec f = load_some(d->f + i + VEC * k, left);
        const vec e_f = load_some(d->e_f + i + VEC * k, left);
        UNROLL for (int h = 0; h < 2; h++) {
            const int at = 2 * ((v + k) % PANEL_REGISTERS) + h;
            if (left <= VEC64 * (size_t)h) break;
            const size_t own = left - VEC64 * (size_t)h;
            const vec64 wide = vec64_half(z[k], h), weight = vec64_half(e[k], h);
            const vec64 gap = vec64_sub(wide, vec64_half(f, h));
            TAKE(0, at, vec64_add(SUM_OF(0, at), weight), own);
            TAKE(1, at, vec64_fma(weight, vec64_sub(wide, d->wide_most), SUM_OF(1, at)), own);
            TAKE(2, at, vec64_fma(vec64_half(e_f, h), gap, SUM_OF(2, at)), own);
            TAKE(3, at, vec64_fma(weight, gap, SUM_OF(3, at)), own);
        }
    }
}

void PSC_NAME(divergence_sums)(
    double *out, const float *z, float most, const float *f, const float *e_f, size_t n) {
    const divergence d = {z, f, e_f, vec_set(most), vec64_set((double)most)};
    vec64 sums[4 * STRIPE];
    size_t i = 0;
    clear_sums(sums, 4);
    for (; i + OVERLAP * VEC <= n; i += OVERLAP * VEC) {
        divergence_step(sums, &d, i, 0, OVERLAP, VEC);
    }
    for (; i + PSC_LANES <= n; i += PSC_LANES) {
        UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) {
            divergence_step(sums, &d, i + VEC * (size_t)v, v, 1, VEC);
        }
    }
    UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) {
        const size_t at = i + VEC * (size_t)v;
        if (at >= n) break;
        divergence_step(sums, &d, at, v, 1, n - at);
    }
    fold_sums(out, sums, 4);
}

/* --- changes --------------------------------------------------------------------------------- */

ALWAYS_INLINE void moments_step(vec64 *sums, const float *f, const float *direct, vec64 by_direct,
    const float *p, int v, size_t left) {
    const vec64 own = vec64_of_floats(direct, left);
    const vec64 g = vec64_add(vec64_of_floats(f, left), vec64_mul(by_direct, own));
    const vec64 weighted = vec64_mul(vec64_of_floats(p, left), g);
    TAKE(0, v, vec64_add(SUM_OF(0, v), g), left);
    TAKE(1, v, vec64_fma(g, g, SUM_OF(1, v)), left);
    TAKE(2, v, vec64_fma(g, own, SUM_OF(2, v)), left);
    TAKE(3, v, vec64_add(SUM_OF(3, v), weighted), left);
    TAKE(4, v, vec64_fma(weighted, g, SUM_OF(4, v)), left);
    TAKE(5, v, vec64_fma(weighted, own, SUM_OF(5, v)), left);
}

void PSC_NAME(change_moments)(
    double *out, const float *f, const float *direct, double by_direct, const float *p, size_t n) {
    const vec64 by = vec64_set(by_direct);
    vec64 sums[6 * STRIPE];
    clear_sums(sums, 6);
#define STEP(i, v, count, left)                                                                    \
    UNROLL for (int k = 0; k < (count); k++) {                                                     \
        const size_t from = (i) + VEC64 * (size_t)k;                                               \
        moments_step(sums, f + from, direct + from, by, p + from, (v) + k, left);                  \
    }
    FOR_REGISTERS(n, STEP);
#undef STEP
    fold_sums(out, sums, 6);
}

/* A change's terms, one per lane. */
typedef struct change_terms {
    vec64 by_f, by_direct, mean, expected, most, bound;
} change_terms;

ALWAYS_INLINE void distances(vec64 *sums, vec64 dz, const change_terms *t, int v, size_t left) {
    TAKE(0, v, vec64_add(SUM_OF(0, v), vec64_abs(dz)), left);
    TAKE(1, v, vec64_add(SUM_OF(1, v), vec64_abs(vec64_sub(dz, t->mean))), left);
    TAKE(2, v, vec64_add(SUM_OF(2, v), vec64_abs(vec64_sub(dz, t->expected))), left);
}

/* How many lanes of after are above the bound, and how many are below it. */
typedef struct change_counts {
    int64_t above, below;
} change_counts;

ALWAYS_INLINE void change_step(vec64 *sums, change_counts *counts, const float *f,
    const float *direct, const float *z, const change_terms *t, int v, const int count, size_t left,
    const bool by_f_alone) {
    vec64 after[OVERLAP_F64], e[OVERLAP_F64];
    const uint32_t lanes = (1u << (left < VEC64 ? left : VEC64)) - 1u;
    UNROLL for (int k = 0; k < count; k++) {
        vec64 dz = vec64_mul(t->by_f, vec64_of_floats(f + VEC64 * k, left));
        if (!by_f_alone) {
            const vec64 own = vec64_of_floats(direct + VEC64 * k, left);
            dz = vec64_add(dz, vec64_mul(t->by_direct, own));
        }
        distances(sums, dz, t, v + k, left);
        if (!z) continue;
        after[k] = vec64_add(vec64_sub(vec64_of_floats(z + VEC64 * k, left), t->most), dz);
        e[k] = after[k];
    }
    if (!z) return;
    short_exp(e, count);
    UNROLL for (int k = 0; k < count; k++) {
        const vec64 infinity = vec64_set((double)INFINITY);
        counts->above += __builtin_popcount(vec64_bits_less(t->bound, after[k]) & lanes);
        counts->below += __builtin_popcount(vec64_bits_less(after[k], t->bound) & lanes);
        e[k] = vec64_where_less(vec64_set(709.0), after[k], infinity, e[k]);
        TAKE(3, v + k, vec64_add(SUM_OF(3, v + k), e[k]), left);
    }
}

ALWAYS_INLINE void change_row(double *out, const float *f, const float *direct, const float *z,
    const change_terms *t, size_t n, const bool by_f_alone) {
    change_counts counts = {0, z ? 0 : (int64_t)n};
    vec64 sums[4 * STRIPE];
    clear_sums(sums, 4);
    if (z) {
#define STEP(i, v, count, left)                                                                    \
    change_step(sums, &counts, f + (i), direct + (i), z + (i), t, v, count, left, by_f_alone)
        FOR_REGISTERS(n, STEP);
#undef STEP
    } else {
#define STEP(i, v, count, left)                                                                    \
    change_step(sums, &counts, f + (i), direct + (i), NULL, t, v, count, left, by_f_alone)
        FOR_REGISTERS(n, STEP);
#undef STEP
    }
    fold_sums(out, sums, 4);
    out[4] = (double)counts.above;
    out[5] = (double)((int64_t)n - counts.below);
}

void PSC_NAME(change_sums)(double *out, const float *f, const float *direct, const float *z,
    const double *terms, size_t n) {
    const change_terms t = {vec64_set(terms[0]), vec64_set(terms[1]), vec64_set(terms[2]),
        vec64_set(terms[3]), vec64_set(terms[4]), vec64_set(terms[5])};
    if (terms[1] != 0.0)
        change_row(out, f, direct, z, &t, n, false);
    else
        change_row(out, f, direct, z, &t, n, true);
}

/* --- rows of logits -------------------------------------------------------------------------- */

ALWAYS_INLINE void narrow_some(float *to, vec64 value, size_t left) {
    float narrow[VEC64];
    if (left >= VEC64) {
        vec64_narrow(to, value);
        return;
    }
    vec64_narrow(narrow, value);
    for (size_t i = 0; i < left; i++) to[i] = narrow[i];
}

void PSC_NAME(add_writes)(double *sum, float *direct, float *z, const float *a, const float *b,
    const float *constant, double by, size_t n) {
    const vec64 factor = vec64_set(by);
    for (size_t i = 0; i < n; i += VEC64) {
        const size_t left = n - i;
        vec64 more = vec64_of_floats(a + i, left);
        more = vec64_add(more, b ? vec64_of_floats(b + i, left) : vec64_set(0.0));
        const vec64 total = vec64_add(load_some_f64(sum + i, left), more);
        const vec64 y = vec64_mul(total, factor);
        store_some_f64(sum + i, total, left);
        narrow_some(direct + i, y, left);
        narrow_some(z + i, vec64_add(y, vec64_of_floats(constant + i, left)), left);
    }
}

void PSC_NAME(group_maxima)(float *y, const float *x, size_t n) {
    for (size_t begin = 0; begin < n; begin += PSC_LANES * PSC_LANES, y += PSC_LANES) {
        const size_t end = least(n, begin + PSC_LANES * PSC_LANES);
        vec most[PANEL_REGISTERS];
        size_t i = begin;
        UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) most[v] = vec_set(-INFINITY);
        for (; i + PSC_LANES <= end; i += PSC_LANES) {
            UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) {
                most[v] = vec_greater(vec_load(x + i + VEC * v), most[v]);
            }
        }
        UNROLL for (int v = 0; v < PANEL_REGISTERS; v++) vec_store(y + VEC * v, most[v]);
        for (size_t l = 0; i + l < end; l++) y[l] = x[i + l] > y[l] ? x[i + l] : y[l];
    }
}

/* A bit for each of 64 floats from low to high. */
ALWAYS_INLINE uint64_t bits_within(const float *x, vec low, vec high) {
    uint64_t out = 0;
    UNROLL for (int v = 0; v < 64 / VEC; v++) {
        const vec value = vec_load(x + VEC * v);
        out |= (uint64_t)(vec_bits_less(value, low) | vec_bits_less(high, value)) << VEC * v;
    }
    return ~out;
}

/* Writes the lowest bit's number and clears it; some number if there is no bit. */
ALWAYS_INLINE uint64_t put_lowest(int32_t *to, size_t first, uint64_t bits) {
    *to = (int32_t)(first + (size_t)__builtin_ctzll(bits | UINT64_C(1) << 63));
    return bits & (bits - 1);
}

/* Of 64 numbers four ids are always written, since a branch on each would be mispredicted. They
 * stay below ids + n, as at most i are before them. */
void PSC_NAME(indices_within)(
    int32_t *ids, size_t *count, const float *x, size_t n, float low, float high) {
    const vec least_value = vec_set(low), greatest_value = vec_set(high);
    int32_t *to = ids;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        uint64_t bits = bits_within(x + i, least_value, greatest_value);
        const int some = __builtin_popcountll(bits);
        UNROLL for (int k = 0; k < 4; k++) bits = put_lowest(to + k, i, bits);
        for (int k = 4; k < some; k++) bits = put_lowest(to + k, i, bits);
        to += some;
    }
    for (; i < n; i++) {
        if (!(x[i] < low) && !(high < x[i])) *to++ = (int32_t)i;
    }
    *count = (size_t)(to - ids);
}

void PSC_NAME(count_from)(int64_t *counts, const float *x, size_t n, float limit) {
    const vec bound = vec_set(limit);
    int64_t above = 0, below = 0;
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) {
        const vec value = vec_load(x + i);
        above += __builtin_popcount(vec_bits_less(bound, value));
        below += __builtin_popcount(vec_bits_less(value, bound));
    }
    for (; i < n; i++) {
        above += x[i] > limit;
        below += x[i] < limit;
    }
    counts[0] = above;
    counts[1] = (int64_t)n - above - below;
}

#endif
