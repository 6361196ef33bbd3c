/* Elementwise kernels in scalar C: GELU, rotary, sums, widening, exp, erf, tanh, log. */
#include "erf_reference.h"
#include "kernel_names.h"
#include "widen.h"

#include <math.h>
#include <sleef.h>

#include "tanh_reference.h"

void psc_gelu__reference(float *y, float *gate, const float *a, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float value = a[i];
        float phi = fmaf(0.5f, erf_reference(value * 0.70710678f), 0.5f);
        if (gate) gate[i] = phi;
        y[i] = value * phi;
    }
}

void psc_gelu_tanh__reference(float *y, float *gate, const float *a, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float value = a[i];
        float slope = value * value * 0.035677407f + 0.79788458f;
        float phi = fmaf(0.5f, tanh_reference(value * slope), 0.5f);
        if (gate) gate[i] = phi;
        y[i] = value * phi;
    }
}

void psc_gelu_backward__reference(float *y, const float *dy, const float *a, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float value = a[i];
        float gate = fmaf(0.5f, erf_reference(value * 0.70710678f), 0.5f);
        float density = Sleef_finz_expf1_u10purecfma(value * value * -0.5f) * 0.3989423f;
        y[i] = dy[i] * fmaf(value, density, gate);
    }
}

void psc_gelu_tanh_backward__reference(float *y, const float *dy, const float *a, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float value = a[i], square = value * value;
        float t = tanh_reference(value * (square * 0.035677407f + 0.79788458f));
        float gate = fmaf(0.5f, t, 0.5f), bend = value * 0.5f * fmaf(-t, t, 1.0f);
        y[i] = dy[i] * fmaf(bend, fmaf(square, 0.10703222f, 0.79788458f), gate);
    }
}

void psc_rotary__reference(float *y, const float *x, const float *cos, const float *sin,
    size_t n_heads, size_t d_head, size_t n_rot) {
    size_t half = n_rot / 2;
    for (size_t h = 0; h < n_heads; h++) {
        float *to = y + h * d_head;
        const float *from = x + h * d_head;
        for (size_t i = 0; i < half; i++) {
            float a = from[i], b = from[i + half];
            to[i] = fmaf(-b, sin[i], a * cos[i]);
            to[i + half] = fmaf(a, sin[i], b * cos[i]);
        }
        for (size_t i = 2 * half; i < d_head; i++) to[i] = from[i];
    }
}

void psc_add__reference(float *y, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

void psc_add3__reference(float *y, const float *a, const float *b, const float *c, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = (a[i] + b[i]) + c[i];
}

void psc_sum_blocks__reference(
    float *y, const float *blocks, size_t ld, size_t n_blocks, const float *bias, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float total = n_blocks ? blocks[i] : 0.0f;
        for (size_t b = 1; b < n_blocks; b++) total += blocks[b * ld + i];
        y[i] = bias ? total + bias[i] : total;
    }
}

void psc_widen_f16__reference(float *y, const void *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = widen(x, PSC_DTYPE_F16, i);
}

void psc_widen_bf16__reference(float *y, const void *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = widen(x, PSC_DTYPE_BF16, i);
}

void psc_exp_f32__reference(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = Sleef_finz_expf1_u10purecfma(x[i]);
}

void psc_erf_f32__reference(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = erf_reference(x[i]);
}

void psc_tanh_f32__reference(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = tanh_reference(x[i]);
}

void psc_exp_f64__reference(double *y, const double *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = Sleef_finz_expd1_u10purecfma(x[i]);
}

void psc_log_f64__reference(double *y, const double *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = Sleef_finz_logd1_u10purecfma(x[i]);
}
