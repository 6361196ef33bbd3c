/* Row kernels on NEON: softmax, LayerNorm, dot, log-sum-exp, equal to the reference to the bit. The
 * sixteen lanes of a striped sum are four registers of floats or eight of doubles. A row's last,
 * partial stripe is added lane by lane: the lanes past its end must stay as they are, since adding
 * +0 would turn a lane of -0 into +0. */
#include "kernel_names.h"
#include "stripe_reference.h"
#include "tile_neon.h"

#include <math.h>
#include <sleef.h>

/* The sixteen lanes of a striped sum. */
typedef struct stripe {
    float32x4_t part[PANEL_REGISTERS];
} stripe;

ALWAYS_INLINE stripe stripe_zero(void) {
    stripe s;
    UNROLL for (int v = 0; v < 4; v++) s.part[v] = vdupq_n_f32(0.0f);
    return s;
}

static inline void stripe_store(float lanes[PSC_LANES], const stripe *s) {
    for (int v = 0; v < 4; v++) vst1q_f32(lanes + 4 * v, s->part[v]);
}

/* The greatest element, -inf if there is none. A comparison passes over NaN, which fmax and fmaxnm
 * do not. */
static float greatest(const float *x, size_t n) {
    float32x4_t max[4];
    float lanes[4], result = -INFINITY;
    for (int v = 0; v < 4; v++) max[v] = vdupq_n_f32(-INFINITY);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (int v = 0; v < 4; v++) {
            float32x4_t value = vld1q_f32(x + i + 4 * v);
            max[v] = vbslq_f32(vcgtq_f32(value, max[v]), value, max[v]);
        }
    }
    for (int v = 0; v < 4; v++) {
        vst1q_f32(lanes, max[v]);
        for (int lane = 0; lane < 4; lane++) result = lanes[lane] > result ? lanes[lane] : result;
    }
    for (; i < n; i++) result = x[i] > result ? x[i] : result;
    return result;
}

/* The striped sum of x. */
static float row_sum(const float *x, size_t n) {
    stripe sum = stripe_zero();
    float lanes[PSC_LANES];
    size_t i = 0;
    for (; i + PSC_LANES <= n; i += PSC_LANES) {
        UNROLL for (int v = 0; v < 4; v++) {
            sum.part[v] = vaddq_f32(sum.part[v], vld1q_f32(x + i + 4 * v));
        }
    }
    stripe_store(lanes, &sum);
    for (; i < n; i++) lanes[i % PSC_LANES] += x[i];
    return fold_lanes(lanes);
}

void psc_softmax__neon(float *y, const float *x, size_t n) {
    float32x4_t max = vdupq_n_f32(greatest(x, n));
    for (size_t i = 0; i < n; i += 4) {
        float32x4_t below = vsubq_f32(load_some(x + i, n - i), max);
        store_some(y + i, Sleef_finz_expf4_u10advsimd(below), n - i);
    }
    float32x4_t sum = vdupq_n_f32(row_sum(y, n));
    for (size_t i = 0; i < n; i += 4) {
        store_some(y + i, vdivq_f32(load_some(y + i, n - i), sum), n - i);
    }
}

void psc_ln_stats__neon(float *mean, float *scale, const float *x, size_t n, float eps) {
    float average = row_sum(x, n) / (float)n;
    float32x4_t m = vdupq_n_f32(average);
    stripe squares = stripe_zero();
    float lanes[PSC_LANES];
    size_t i = 0;
    for (; i + PSC_LANES <= n; i += PSC_LANES) {
        UNROLL for (int v = 0; v < 4; v++) {
            float32x4_t d = vsubq_f32(vld1q_f32(x + i + 4 * v), m);
            squares.part[v] = vfmaq_f32(squares.part[v], d, d);
        }
    }
    stripe_store(lanes, &squares);
    for (; i < n; i++) {
        float d = x[i] - average;
        lanes[i % PSC_LANES] = fmaf(d, d, lanes[i % PSC_LANES]);
    }
    *mean = average;
    *scale = sqrtf(fold_lanes(lanes) / (float)n + eps);
}

void psc_ln_normalize__neon(float *normalized, const float *x, size_t n, float mean, float scale) {
    float32x4_t m = vdupq_n_f32(mean), s = vdupq_n_f32(scale);
    for (size_t i = 0; i < n; i += 4) {
        float32x4_t d = vsubq_f32(load_some(x + i, n - i), m);
        store_some(normalized + i, vdivq_f32(d, s), n - i);
    }
}

void psc_ln_affine__neon(
    float *y, const float *x, const float *gamma, const float *beta, size_t n) {
    for (size_t i = 0; i < n; i += 4) {
        size_t left = n - i;
        float32x4_t value = vfmaq_f32(
            load_some(beta + i, left), load_some(x + i, left), load_some(gamma + i, left));
        store_some(y + i, value, left);
    }
}

void psc_dot__neon(float *result, const float *a, const float *b, size_t n) {
    stripe sum = stripe_zero();
    float lanes[PSC_LANES];
    size_t i = 0;
    for (; i + PSC_LANES <= n; i += PSC_LANES) {
        UNROLL for (int v = 0; v < 4; v++) {
            float32x4_t left = vld1q_f32(a + i + 4 * v), right = vld1q_f32(b + i + 4 * v);
            sum.part[v] = vfmaq_f32(sum.part[v], left, right);
        }
    }
    stripe_store(lanes, &sum);
    for (; i < n; i++) lanes[i % PSC_LANES] = fmaf(a[i], b[i], lanes[i % PSC_LANES]);
    *result = fold_lanes(lanes);
}

void psc_log_sum_exp__neon(double *result, const float *x, size_t n) {
    double max = (double)greatest(x, n), lanes[PSC_LANES];
    float64x2_t m = vdupq_n_f64(max), sums[8];
    for (int v = 0; v < 8; v++) sums[v] = vdupq_n_f64(0.0);
    size_t i = 0;
    for (; i + PSC_LANES <= n; i += PSC_LANES) {
        for (int v = 0; v < 8; v++) {
            float64x2_t value = vcvt_f64_f32(vld1_f32(x + i + 2 * v));
            value = Sleef_finz_expd2_u10advsimd(vsubq_f64(value, m));
            sums[v] = vaddq_f64(sums[v], value);
        }
    }
    for (int v = 0; v < 8; v++) vst1q_f64(lanes + 2 * v, sums[v]);
    for (; i < n; i++) {
        float64x2_t below = vdupq_n_f64((double)x[i] - max);
        lanes[i % PSC_LANES] += vgetq_lane_f64(Sleef_finz_expd2_u10advsimd(below), 0);
    }
    float64x2_t log = Sleef_finz_logd2_u10advsimd(vdupq_n_f64(fold_lanes_f64(lanes)));
    *result = vgetq_lane_f64(log, 0) + max;
}

void psc_shares__neon(
    double *sums, float *y, const float *x, const float *w, size_t n, size_t first, float divisor) {
    const size_t head = (PSC_LANES - first % PSC_LANES) % PSC_LANES;
    if (n < head + PSC_LANES) {
        psc_shares__reference(sums, y, x, w, n, first, divisor);
        return;
    }
    psc_shares__reference(sums, y, x, w, head, first, divisor);
    const float32x4_t by = vdupq_n_f32(divisor);
    float64x2_t sum[8], sum_abs[8];
    for (int v = 0; v < 8; v++) {
        sum[v] = vld1q_f64(sums + 2 * v);
        sum_abs[v] = vld1q_f64(sums + PSC_LANES + 2 * v);
    }
    size_t i = head;
    for (; i + PSC_LANES <= n; i += PSC_LANES) {
        UNROLL for (int v = 0; v < 4; v++) {
            float32x4_t share = vld1q_f32(x + i + 4 * v);
            if (w) share = vmulq_f32(share, vld1q_f32(w + i + 4 * v));
            share = vdivq_f32(share, by);
            vst1q_f32(y + i + 4 * v, share);
            const float32x4_t size = vabsq_f32(share);
            sum[2 * v] = vaddq_f64(sum[2 * v], vcvt_f64_f32(vget_low_f32(share)));
            sum[2 * v + 1] = vaddq_f64(sum[2 * v + 1], vcvt_high_f64_f32(share));
            sum_abs[2 * v] = vaddq_f64(sum_abs[2 * v], vcvt_f64_f32(vget_low_f32(size)));
            sum_abs[2 * v + 1] = vaddq_f64(sum_abs[2 * v + 1], vcvt_high_f64_f32(size));
        }
    }
    for (int v = 0; v < 8; v++) {
        vst1q_f64(sums + 2 * v, sum[v]);
        vst1q_f64(sums + PSC_LANES + 2 * v, sum_abs[v]);
    }
    psc_shares__reference(sums, y + i, x + i, w ? w + i : NULL, n - i, first + i, divisor);
}
