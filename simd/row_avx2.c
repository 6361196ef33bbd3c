/* Row kernels on AVX2: softmax, LayerNorm, dot, log-sum-exp, equal to the reference to the bit. The
 * sixteen lanes of a striped sum are two registers of floats or four of doubles. In a row's last
 * stripe the lanes past its end are kept as they are: adding +0 would turn a lane of -0 into +0. */
#include "kernel_names.h"
#include "tile_avx2.h"

#include <math.h>
#include <sleef.h>

/* The lanes below `left` from value, the others from kept. */
ALWAYS_INLINE __m256 keep_past_end(__m256 kept, __m256 value, size_t left) {
    if (left >= 8) return value;
    return _mm256_blendv_ps(kept, value, _mm256_castsi256_ps(lane_mask(left)));
}

/* What is left of a row at i, for the lower and the upper register of a stripe. */
static inline size_t left_at(size_t n, size_t i) {
    return n > i ? n - i : 0;
}

static inline float fold(__m256 low, __m256 high) {
    __m256 eight = _mm256_add_ps(low, high);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static inline double fold_f64(const __m256d lanes[4]) {
    __m256d low = _mm256_add_pd(lanes[0], lanes[2]);
    __m256d high = _mm256_add_pd(lanes[1], lanes[3]);
    __m256d four = _mm256_add_pd(low, high);
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

/* The greatest element, -inf if there is none; a NaN is passed over, as `x > max` does. */
static float greatest(const float *x, size_t n) {
    __m256 max[4];
    float lanes[8], result = -INFINITY;
    for (int i = 0; i < 4; i++) max[i] = _mm256_set1_ps(-INFINITY);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (int v = 0; v < 4; v++) max[v] = _mm256_max_ps(_mm256_loadu_ps(x + i + 8 * v), max[v]);
    }
    for (; i + 8 <= n; i += 8) max[0] = _mm256_max_ps(_mm256_loadu_ps(x + i), max[0]);
    max[0] = _mm256_max_ps(_mm256_max_ps(max[0], max[1]), _mm256_max_ps(max[2], max[3]));
    _mm256_storeu_ps(lanes, max[0]);
    for (int lane = 0; lane < 8; lane++) result = lanes[lane] > result ? lanes[lane] : result;
    for (; i < n; i++) result = x[i] > result ? x[i] : result;
    return result;
}

void psc_softmax__avx2(float *y, const float *x, size_t n) {
    __m256 max = _mm256_set1_ps(greatest(x, n));
    __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t i = 0; i < n; i += 8) {
        __m256 e = Sleef_finz_expf8_u10avx2(_mm256_sub_ps(load_some(x + i, n - i), max));
        store_some(y + i, e, n - i);
        __m256 *sum = &sums[i / 8 % 2];
        *sum = keep_past_end(*sum, _mm256_add_ps(*sum, e), n - i);
    }
    __m256 sum = _mm256_set1_ps(fold(sums[0], sums[1]));
    for (size_t i = 0; i < n; i += 8) {
        store_some(y + i, _mm256_div_ps(load_some(y + i, n - i), sum), n - i);
    }
}

static float row_sum(const float *x, size_t n) {
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        low = _mm256_add_ps(low, _mm256_loadu_ps(x + i));
        high = _mm256_add_ps(high, _mm256_loadu_ps(x + i + 8));
    }
    size_t left = n - i;
    if (left) low = keep_past_end(low, _mm256_add_ps(low, load_some(x + i, left)), left);
    left = left_at(n, i + 8);
    if (left) high = keep_past_end(high, _mm256_add_ps(high, load_some(x + i + 8, left)), left);
    return fold(low, high);
}

/* acc + (x - mean)^2 */
ALWAYS_INLINE __m256 add_square(__m256 acc, __m256 x, __m256 mean) {
    __m256 d = _mm256_sub_ps(x, mean);
    return _mm256_fmadd_ps(d, d, acc);
}

void psc_ln_stats__avx2(float *mean, float *scale, const float *x, size_t n, float eps) {
    float average = row_sum(x, n) / (float)n;
    __m256 m = _mm256_set1_ps(average);
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        low = add_square(low, _mm256_loadu_ps(x + i), m);
        high = add_square(high, _mm256_loadu_ps(x + i + 8), m);
    }
    size_t left = n - i;
    if (left) low = keep_past_end(low, add_square(low, load_some(x + i, left), m), left);
    left = left_at(n, i + 8);
    if (left) high = keep_past_end(high, add_square(high, load_some(x + i + 8, left), m), left);
    *mean = average;
    *scale = sqrtf(fold(low, high) / (float)n + eps);
}

void psc_ln_normalize__avx2(float *normalized, const float *x, size_t n, float mean, float scale) {
    __m256 m = _mm256_set1_ps(mean), s = _mm256_set1_ps(scale);
    for (size_t i = 0; i < n; i += 8) {
        __m256 d = _mm256_sub_ps(load_some(x + i, n - i), m);
        store_some(normalized + i, _mm256_div_ps(d, s), n - i);
    }
}

void psc_ln_affine__avx2(
    float *y, const float *x, const float *gamma, const float *beta, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        size_t left = n - i;
        __m256 value = _mm256_fmadd_ps(
            load_some(x + i, left), load_some(gamma + i, left), load_some(beta + i, left));
        store_some(y + i, value, left);
    }
}

void psc_dot__avx2(float *result, const float *a, const float *b, size_t n) {
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        low = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), low);
        high = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), high);
    }
    size_t left = n - i;
    if (left) {
        __m256 sum = _mm256_fmadd_ps(load_some(a + i, left), load_some(b + i, left), low);
        low = keep_past_end(low, sum, left);
    }
    i += 8;
    left = left_at(n, i);
    if (left) {
        __m256 sum = _mm256_fmadd_ps(load_some(a + i, left), load_some(b + i, left), high);
        high = keep_past_end(high, sum, left);
    }
    *result = fold(low, high);
}

void psc_log_sum_exp__avx2(double *result, const float *x, size_t n) {
    double max = (double)greatest(x, n);
    __m256d m = _mm256_set1_pd(max);
    __m256d sums[4];
    for (int i = 0; i < 4; i++) sums[i] = _mm256_setzero_pd();
    for (size_t i = 0; i < n; i += 4) {
        float four[4] = {0};
        const float *from = x + i;
        if (n - i < 4) {
            for (size_t lane = 0; lane < n - i; lane++) four[lane] = x[i + lane];
            from = four;
        }
        __m256d value = _mm256_sub_pd(_mm256_cvtps_pd(_mm_loadu_ps(from)), m);
        __m256d *sum = &sums[i / 4 % 4];
        __m256d next = _mm256_add_pd(*sum, Sleef_finz_expd4_u10avx2(value));
        if (n - i < 4) {
            __m256i mask = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(lane_mask(n - i)));
            next = _mm256_blendv_pd(*sum, next, _mm256_castsi256_pd(mask));
        }
        *sum = next;
    }
    __m256d log = Sleef_finz_logd4_u10avx2(_mm256_set1_pd(fold_f64(sums)));
    *result = _mm256_cvtsd_f64(log) + max;
}

/* Sixteen shares at a time from where y is aligned, past the caches unless it is x. */
ALWAYS_INLINE size_t shares_whole(double *sums, float *y, const float *x, const float *w, size_t n,
    float divisor, const bool products, const bool stream) {
    const __m256 by = _mm256_set1_ps(divisor),
                 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256d sum[4], sum_abs[4];
    UNROLL for (int v = 0; v < 4; v++) {
        sum[v] = _mm256_loadu_pd(sums + 4 * v);
        sum_abs[v] = _mm256_loadu_pd(sums + PSC_LANES + 4 * v);
    }
    size_t i = 0;
    for (; i + PSC_LANES <= n; i += PSC_LANES) {
        UNROLL for (int half = 0; half < 2; half++) {
            const size_t at = i + 8 * (size_t)half;
            __m256 share = _mm256_loadu_ps(x + at);
            if (products) share = _mm256_mul_ps(share, _mm256_loadu_ps(w + at));
            share = _mm256_div_ps(share, by);
            if (stream) {
                _mm256_stream_ps(y + at, share);
            } else {
                _mm256_storeu_ps(y + at, share);
            }
            const __m256 size = _mm256_and_ps(share, magnitude);
            const __m128 low = _mm256_castps256_ps128(share),
                         high = _mm256_extractf128_ps(share, 1);
            const __m128 low_size = _mm256_castps256_ps128(size);
            const __m128 high_size = _mm256_extractf128_ps(size, 1);
            sum[2 * half] = _mm256_add_pd(sum[2 * half], _mm256_cvtps_pd(low));
            sum[2 * half + 1] = _mm256_add_pd(sum[2 * half + 1], _mm256_cvtps_pd(high));
            sum_abs[2 * half] = _mm256_add_pd(sum_abs[2 * half], _mm256_cvtps_pd(low_size));
            sum_abs[2 * half + 1] =
                _mm256_add_pd(sum_abs[2 * half + 1], _mm256_cvtps_pd(high_size));
        }
    }
    UNROLL for (int v = 0; v < 4; v++) {
        _mm256_storeu_pd(sums + 4 * v, sum[v]);
        _mm256_storeu_pd(sums + PSC_LANES + 4 * v, sum_abs[v]);
    }
    if (stream) _mm_sfence();
    return i;
}

void psc_shares__avx2(
    double *sums, float *y, const float *x, const float *w, size_t n, size_t first, float divisor) {
    size_t head = (32 - (uintptr_t)y % 32) % 32 / sizeof *y;
    if ((uintptr_t)y % sizeof *y || n < head + PSC_LANES) {
        psc_shares__reference(sums, y, x, w, n, first, divisor);
        return;
    }
    psc_shares__reference(sums, y, x, w, head, first, divisor);
    /* The registers' lanes begin at lane `turn` of the row. */
    double turned[2 * PSC_LANES];
    const size_t turn = (first + head) % PSC_LANES;
    for (size_t l = 0; l < PSC_LANES; l++) {
        turned[l] = sums[(turn + l) % PSC_LANES];
        turned[PSC_LANES + l] = sums[PSC_LANES + (turn + l) % PSC_LANES];
    }
    y += head;
    x += head;
    if (w) w += head;
    n -= head;
    size_t done;
    if (w && x != y)
        done = shares_whole(turned, y, x, w, n, divisor, true, true);
    else if (w)
        done = shares_whole(turned, y, x, w, n, divisor, true, false);
    else if (x != y)
        done = shares_whole(turned, y, x, w, n, divisor, false, true);
    else
        done = shares_whole(turned, y, x, w, n, divisor, false, false);
    for (size_t l = 0; l < PSC_LANES; l++) {
        sums[(turn + l) % PSC_LANES] = turned[l];
        sums[PSC_LANES + (turn + l) % PSC_LANES] = turned[PSC_LANES + l];
    }
    psc_shares__reference(
        sums, y + done, x + done, w ? w + done : NULL, n - done, first + head + done, divisor);
}
