/* Row kernels in scalar C: LayerNorm, dot, log-sum-exp. Striped sums have lane = i mod 16. */
#include "kernel_names.h"
#include "stripe_reference.h"

#include <math.h>
#include <sleef.h>

void psc_ln_stats__reference(float *mean, float *scale, const float *x, size_t n, float eps) {
    float sums[PSC_LANES] = {0};
    float squares[PSC_LANES] = {0};
    for (size_t i = 0; i < n; i++) sums[i % PSC_LANES] += x[i];
    float m = fold_lanes(sums) / (float)n;
    for (size_t i = 0; i < n; i++) {
        float d = x[i] - m;
        squares[i % PSC_LANES] = fmaf(d, d, squares[i % PSC_LANES]);
    }
    *mean = m;
    *scale = sqrtf(fold_lanes(squares) / (float)n + eps);
}

void psc_ln_normalize__reference(
    float *normalized, const float *x, size_t n, float mean, float scale) {
    for (size_t i = 0; i < n; i++) normalized[i] = (x[i] - mean) / scale;
}

void psc_ln_affine__reference(
    float *y, const float *x, const float *gamma, const float *beta, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = fmaf(x[i], gamma[i], beta[i]);
}

void psc_ln_backward__reference(
    float *y, const float *v, const float *normalized, size_t n, float scale, float dscale) {
    float sums[PSC_LANES] = {0};
    for (size_t i = 0; i < n; i++) sums[i % PSC_LANES] += v[i];
    const float m = fold_lanes(sums) / (float)n, by = dscale / (float)n;
    for (size_t i = 0; i < n; i++) y[i] = fmaf(normalized[i], by, (v[i] - m) / scale);
}

void psc_softmax_backward__reference(float *y, const float *a, const float *dy, size_t n) {
    float dot;
    psc_dot__reference(&dot, a, dy, n);
    for (size_t i = 0; i < n; i++) y[i] = a[i] * (dy[i] - dot);
}

void psc_dot__reference(float *result, const float *a, const float *b, size_t n) {
    float lanes[PSC_LANES] = {0};
    for (size_t i = 0; i < n; i++) {
        lanes[i % PSC_LANES] = fmaf(a[i], b[i], lanes[i % PSC_LANES]);
    }
    *result = fold_lanes(lanes);
}

void psc_log_sum_exp__reference(double *result, const float *x, size_t n) {
    double lanes[PSC_LANES] = {0};
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    for (size_t i = 0; i < n; i++) {
        lanes[i % PSC_LANES] += Sleef_finz_expd1_u10purecfma((double)x[i] - (double)max);
    }
    *result = Sleef_finz_logd1_u10purecfma(fold_lanes_f64(lanes)) + (double)max;
}

void psc_shares__reference(
    double *sums, float *y, const float *x, const float *w, size_t n, size_t first, float divisor) {
    for (size_t i = 0; i < n; i++) {
        const size_t lane = (first + i) % PSC_LANES;
        const float share = (w ? x[i] * w[i] : x[i]) / divisor;
        y[i] = share;
        sums[lane] += (double)share;
        sums[PSC_LANES + lane] += (double)fabsf(share);
    }
}
