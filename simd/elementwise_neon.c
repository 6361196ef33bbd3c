/* Elementwise kernels on NEON, four elements a step: GELU, rotary, sums, widening, exp, erf, log;
 * equal to elementwise_reference.c to the bit. */
#include "kernel_names.h"
#include "tile_neon.h"
#include "widen.h"

#include <sleef.h>

void psc_gelu__neon(float *y, float *gate, const float *a, size_t n) {
    float32x4_t root = vdupq_n_f32(0.70710678f), half = vdupq_n_f32(0.5f);
    for (size_t i = 0; i < n; i += 4) {
        size_t left = n - i;
        float32x4_t value = load_some(a + i, left);
        float32x4_t erf = Sleef_finz_erff4_u10advsimd(vmulq_f32(value, root));
        float32x4_t phi = vfmaq_f32(half, half, erf);
        if (gate) store_some(gate + i, phi, left);
        store_some(y + i, vmulq_f32(value, phi), left);
    }
}

void psc_rotary__neon(float *y, const float *x, const float *cos, const float *sin, size_t n_heads,
    size_t d_head, size_t n_rot) {
    size_t half = n_rot / 2;
    for (size_t h = 0; h < n_heads; h++) {
        float *to = y + h * d_head;
        const float *from = x + h * d_head;
        for (size_t i = 0; i < half; i += 4) {
            size_t left = half - i;
            float32x4_t a = load_some(from + i, left), b = load_some(from + half + i, left);
            float32x4_t c = load_some(cos + i, left), s = load_some(sin + i, left);
            float32x4_t turned_b = vfmaq_f32(vmulq_f32(b, c), a, s);
            store_some(to + i, vfmsq_f32(vmulq_f32(a, c), b, s), left);
            store_some(to + half + i, turned_b, left);
        }
        for (size_t i = 2 * half; i < d_head; i += 4) {
            store_some(to + i, load_some(from + i, d_head - i), d_head - i);
        }
    }
}

void psc_add__neon(float *y, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i += 4) {
        float32x4_t sum = vaddq_f32(load_some(a + i, n - i), load_some(b + i, n - i));
        store_some(y + i, sum, n - i);
    }
}

void psc_add3__neon(float *y, const float *a, const float *b, const float *c, size_t n) {
    for (size_t i = 0; i < n; i += 4) {
        float32x4_t sum = vaddq_f32(load_some(a + i, n - i), load_some(b + i, n - i));
        store_some(y + i, vaddq_f32(sum, load_some(c + i, n - i)), n - i);
    }
}

void psc_sum_blocks__neon(
    float *y, const float *blocks, size_t ld, size_t n_blocks, const float *bias, size_t n) {
    for (size_t i = 0; i < n; i += 4) {
        size_t left = n - i;
        float32x4_t total = n_blocks ? load_some(blocks + i, left) : vdupq_n_f32(0.0f);
        for (size_t b = 1; b < n_blocks; b++) {
            total = vaddq_f32(total, load_some(blocks + b * ld + i, left));
        }
        if (bias) total = vaddq_f32(total, load_some(bias + i, left));
        store_some(y + i, total, left);
    }
}

/* Elements i..i+3 of a row of f16 or bf16 at any address. */
ALWAYS_INLINE float32x4_t load_unaligned(const void *x, size_t i, psc_dtype dtype) {
    uint16_t four[4];
    memcpy(four, (const char *)x + 2 * i, sizeof four);
    return load_four(four, 0, dtype);
}

void psc_widen_f16__neon(float *y, const void *x, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(y + i, load_unaligned(x, i, PSC_DTYPE_F16));
    for (; i < n; i++) y[i] = widen(x, PSC_DTYPE_F16, i);
}

void psc_widen_bf16__neon(float *y, const void *x, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(y + i, load_unaligned(x, i, PSC_DTYPE_BF16));
    for (; i < n; i++) y[i] = widen(x, PSC_DTYPE_BF16, i);
}

void psc_exp_f32__neon(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += 4) {
        store_some(y + i, Sleef_finz_expf4_u10advsimd(load_some(x + i, n - i)), n - i);
    }
}

void psc_erf_f32__neon(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += 4) {
        store_some(y + i, Sleef_finz_erff4_u10advsimd(load_some(x + i, n - i)), n - i);
    }
}

/* The last double of an odd row stands in both lanes. */
static inline float64x2_t load_some_f64(const double *from, size_t left) {
    return left >= 2 ? vld1q_f64(from) : vdupq_n_f64(*from);
}

static inline void store_some_f64(double *to, float64x2_t value, size_t left) {
    if (left >= 2) {
        vst1q_f64(to, value);
    } else {
        vst1q_lane_f64(to, value, 0);
    }
}

void psc_exp_f64__neon(double *y, const double *x, size_t n) {
    for (size_t i = 0; i < n; i += 2) {
        float64x2_t value = Sleef_finz_expd2_u10advsimd(load_some_f64(x + i, n - i));
        store_some_f64(y + i, value, n - i);
    }
}

void psc_log_f64__neon(double *y, const double *x, size_t n) {
    for (size_t i = 0; i < n; i += 2) {
        float64x2_t value = Sleef_finz_logd2_u10advsimd(load_some_f64(x + i, n - i));
        store_some_f64(y + i, value, n - i);
    }
}
