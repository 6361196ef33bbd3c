/* The frame of the elementwise kernels, one register per step: GELU, rotary, sums, widening, exp,
 * erf, tanh, log; equal to elementwise_reference.c to the bit.
 * Private to simd/: elementwise_<isa>.c, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef ELEMENTWISE_FRAME_H
#define ELEMENTWISE_FRAME_H

#include "erf_frame.h"
#include "exp_frame.h"
#include "kernel_names.h"
#include "tanh_frame.h"
#include "widen.h"

#include <math.h>

#define VEC64 (VEC / 2)

/* `count` registers, of which only a single one may reach the row's end. */
ALWAYS_INLINE void gelu_step(float *y, float *gate, const float *a, size_t left, const int count) {
    const vec half = vec_set(0.5f);
    vec phi[OVERLAP];
    UNROLL for (int v = 0; v < count; v++) {
        phi[v] = vec_mul(load_some(a + VEC * v, left), vec_set(0.70710678f));
    }
    vec_erf(phi, count);
    UNROLL for (int v = 0; v < count; v++) {
        phi[v] = vec_fma(half, phi[v], half);
        const vec value = vec_mul(load_some(a + VEC * v, left), phi[v]);
        if (gate) store_some(gate + VEC * v, phi[v], left);
        store_some(y + VEC * v, value, left);
    }
}

void PSC_NAME(gelu)(float *y, float *gate, const float *a, size_t n) {
    size_t i = 0;
    for (; i + OVERLAP * VEC <= n; i += OVERLAP * VEC) {
        gelu_step(y + i, gate ? gate + i : NULL, a + i, VEC, OVERLAP);
    }
    for (; i < n; i += VEC) gelu_step(y + i, gate ? gate + i : NULL, a + i, n - i, 1);
}

/* The same with the tanh form's gate; the products and the sum before tanh
 * are rounded one by one. */
ALWAYS_INLINE void gelu_tanh_step(
    float *y, float *gate, const float *a, size_t left, const int count) {
    const vec half = vec_set(0.5f);
    vec phi[OVERLAP];
    UNROLL for (int v = 0; v < count; v++) {
        const vec value = load_some(a + VEC * v, left);
        const vec cubic = vec_mul(vec_mul(value, value), vec_set(0.035677407f));
        phi[v] = vec_mul(value, vec_add(cubic, vec_set(0.79788458f)));
    }
    vec_tanh(phi, count);
    UNROLL for (int v = 0; v < count; v++) {
        phi[v] = vec_fma(half, phi[v], half);
        const vec value = vec_mul(load_some(a + VEC * v, left), phi[v]);
        if (gate) store_some(gate + VEC * v, phi[v], left);
        store_some(y + VEC * v, value, left);
    }
}

void PSC_NAME(gelu_tanh)(float *y, float *gate, const float *a, size_t n) {
    size_t i = 0;
    for (; i + OVERLAP * VEC <= n; i += OVERLAP * VEC) {
        gelu_tanh_step(y + i, gate ? gate + i : NULL, a + i, VEC, OVERLAP);
    }
    for (; i < n; i += VEC) gelu_tanh_step(y + i, gate ? gate + i : NULL, a + i, n - i, 1);
}

/* The gradient before gelu; y may be dy. */
ALWAYS_INLINE void gelu_backward_step(
    float *y, const float *dy, const float *a, size_t left, const int count) {
    const vec half = vec_set(0.5f);
    vec gate[OVERLAP], density[OVERLAP];
    UNROLL for (int v = 0; v < count; v++) {
        const vec value = load_some(a + VEC * v, left);
        gate[v] = vec_mul(value, vec_set(0.70710678f));
        density[v] = vec_mul(vec_mul(value, value), vec_set(-0.5f));
    }
    vec_erf(gate, count);
    vec_exp(density, count);
    UNROLL for (int v = 0; v < count; v++) {
        gate[v] = vec_fma(half, gate[v], half);
        density[v] = vec_mul(density[v], vec_set(0.3989423f));
        const vec slope = vec_fma(load_some(a + VEC * v, left), density[v], gate[v]);
        store_some(y + VEC * v, vec_mul(load_some(dy + VEC * v, left), slope), left);
    }
}

void PSC_NAME(gelu_backward)(float *y, const float *dy, const float *a, size_t n) {
    size_t i = 0;
    for (; i + OVERLAP * VEC <= n; i += OVERLAP * VEC) {
        gelu_backward_step(y + i, dy + i, a + i, VEC, OVERLAP);
    }
    for (; i < n; i += VEC) gelu_backward_step(y + i, dy + i, a + i, n - i, 1);
}

/* The same before the tanh form. */
ALWAYS_INLINE void gelu_tanh_backward_step(
    float *y, const float *dy, const float *a, size_t left, const int count) {
    const vec half = vec_set(0.5f), linear = vec_set(0.79788458f);
    vec t[OVERLAP];
    UNROLL for (int v = 0; v < count; v++) {
        const vec value = load_some(a + VEC * v, left);
        const vec cubic = vec_mul(vec_mul(value, value), vec_set(0.035677407f));
        t[v] = vec_mul(value, vec_add(cubic, linear));
    }
    vec_tanh(t, count);
    UNROLL for (int v = 0; v < count; v++) {
        const vec value = load_some(a + VEC * v, left), square = vec_mul(value, value);
        const vec gate = vec_fma(half, t[v], half);
        const vec bend = vec_mul(vec_mul(value, half), vec_fnma(t[v], t[v], vec_set(1.0f)));
        const vec inner = vec_fma(square, vec_set(0.10703222f), linear);
        const vec slope = vec_fma(bend, inner, gate);
        store_some(y + VEC * v, vec_mul(load_some(dy + VEC * v, left), slope), left);
    }
}

void PSC_NAME(gelu_tanh_backward)(float *y, const float *dy, const float *a, size_t n) {
    size_t i = 0;
    for (; i + OVERLAP * VEC <= n; i += OVERLAP * VEC) {
        gelu_tanh_backward_step(y + i, dy + i, a + i, VEC, OVERLAP);
    }
    for (; i < n; i += VEC) gelu_tanh_backward_step(y + i, dy + i, a + i, n - i, 1);
}

void PSC_NAME(rotary)(float *y, const float *x, const float *cos, const float *sin, size_t n_heads,
    size_t d_head, size_t n_rot) {
    size_t half = n_rot / 2;
    for (size_t h = 0; h < n_heads; h++) {
        float *to = y + h * d_head;
        const float *from = x + h * d_head;
        for (size_t i = 0; i < half; i += VEC) {
            size_t left = half - i;
            vec a = load_some(from + i, left), b = load_some(from + half + i, left);
            vec c = load_some(cos + i, left), s = load_some(sin + i, left);
            vec turned_b = vec_fma(a, s, vec_mul(b, c));
            store_some(to + i, vec_fnma(b, s, vec_mul(a, c)), left);
            store_some(to + half + i, turned_b, left);
        }
        for (size_t i = 2 * half; i < d_head; i += VEC) {
            store_some(to + i, load_some(from + i, d_head - i), d_head - i);
        }
    }
}

void PSC_NAME(add)(float *y, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i += VEC) {
        vec sum = vec_add(load_some(a + i, n - i), load_some(b + i, n - i));
        store_some(y + i, sum, n - i);
    }
}

void PSC_NAME(add3)(float *y, const float *a, const float *b, const float *c, size_t n) {
    for (size_t i = 0; i < n; i += VEC) {
        vec sum = vec_add(load_some(a + i, n - i), load_some(b + i, n - i));
        store_some(y + i, vec_add(sum, load_some(c + i, n - i)), n - i);
    }
}

void PSC_NAME(sum_blocks)(
    float *y, const float *blocks, size_t ld, size_t n_blocks, const float *bias, size_t n) {
    for (size_t i = 0; i < n; i += VEC) {
        size_t left = n - i;
        vec total = n_blocks ? load_some(blocks + i, left) : vec_zero();
        for (size_t b = 1; b < n_blocks; b++) {
            total = vec_add(total, load_some(blocks + b * ld + i, left));
        }
        if (bias) total = vec_add(total, load_some(bias + i, left));
        store_some(y + i, total, left);
    }
}

void PSC_NAME(widen_f16)(float *y, const void *x, size_t n) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) vec_store(y + i, load_narrow(x, i, PSC_DTYPE_F16));
    for (; i < n; i++) y[i] = widen(x, PSC_DTYPE_F16, i);
}

void PSC_NAME(widen_bf16)(float *y, const void *x, size_t n) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) vec_store(y + i, load_narrow(x, i, PSC_DTYPE_BF16));
    for (; i < n; i++) y[i] = widen(x, PSC_DTYPE_BF16, i);
}

/* y[i] = f(x[i]). */
#define OF_EACH(f)                                                                                 \
    do {                                                                                           \
        vec values[OVERLAP];                                                                       \
        size_t i = 0;                                                                              \
        for (; i + OVERLAP * VEC <= n; i += OVERLAP * VEC) {                                       \
            UNROLL for (int v = 0; v < OVERLAP; v++) values[v] = vec_load(x + i + VEC * v);        \
            f(values, OVERLAP);                                                                    \
            UNROLL for (int v = 0; v < OVERLAP; v++) vec_store(y + i + VEC * v, values[v]);        \
        }                                                                                          \
        for (; i < n; i += VEC) {                                                                  \
            values[0] = load_some(x + i, n - i);                                                   \
            f(values, 1);                                                                          \
            store_some(y + i, values[0], n - i);                                                   \
        }                                                                                          \
    } while (0)

void PSC_NAME(exp_f32)(float *y, const float *x, size_t n) {
    OF_EACH(vec_exp);
}

void PSC_NAME(erf_f32)(float *y, const float *x, size_t n) {
    OF_EACH(vec_erf);
}

void PSC_NAME(tanh_f32)(float *y, const float *x, size_t n) {
    OF_EACH(vec_tanh);
}

/* `count` registers, of which only a single one may reach the row's end; infinite where SLEEF's
 * is. */
ALWAYS_INLINE void exp_f64_step(double *y, const double *x, size_t left, const int count) {
    vec64 values[OVERLAP_F64], e[OVERLAP_F64];
    UNROLL for (int v = 0; v < count; v++) e[v] = values[v] = load_some_f64(x + VEC64 * v, left);
    vec64_exp(e, count);
    UNROLL for (int v = 0; v < count; v++) {
        e[v] = vec64_where_less(
            vec64_set(0x1.62e42fe102c83p+9), values[v], vec64_set((double)INFINITY), e[v]);
        store_some_f64(y + VEC64 * v, e[v], left);
    }
}

void PSC_NAME(exp_f64)(double *y, const double *x, size_t n) {
    size_t i = 0;
    for (; i + OVERLAP_F64 * VEC64 <= n; i += OVERLAP_F64 * VEC64) {
        exp_f64_step(y + i, x + i, VEC64, OVERLAP_F64);
    }
    for (; i < n; i += VEC64) exp_f64_step(y + i, x + i, n - i, 1);
}

void PSC_NAME(log_f64)(double *y, const double *x, size_t n) {
    for (size_t i = 0; i < n; i += VEC64) {
        store_some_f64(y + i, vec64_log(load_some_f64(x + i, n - i)), n - i);
    }
}

#endif
