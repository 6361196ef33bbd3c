/* Statistics of hook points over rows, in scalar C. Striped sums have lane = i mod 16; no step is
 * fused. */
#include "kernel_names.h"
#include "stripe_reference.h"

#include <math.h>
#include <sleef.h>

void psc_count_columns__reference(int32_t *counts, size_t ld, const float *x, size_t ldx,
    size_t rows, size_t n, const float *bounds, size_t n_bounds) {
    for (size_t b = 0; b < n_bounds; b++) {
        for (size_t r = 0; r < rows; r++) {
            for (size_t i = 0; i < n; i++) counts[b * ld + i] += bounds[b] < x[r * ldx + i];
        }
    }
}

void psc_bin_columns__reference(int32_t *counts, const float *x, size_t ldx, size_t rows, size_t n,
    float by, float from, size_t bins) {
    const float most = (float)(bins - 1);
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < n; i++) {
            float at = fmaf(x[r * ldx + i], by, from);
            at = at > 0.0f ? at : 0.0f; /* NaN too */
            float bin = floorf(most < at ? most : at);
            /* at may be rounded up to the next bin. The sign of the distance is exact; 2^24 keeps
             * it above the smallest number. */
            if (fmaf(x[r * ldx + i], by * 0x1p24f, (from - bin) * 0x1p24f) < 0.0f) bin -= 1.0f;
            counts[i * bins + (size_t)(bin > 0.0f ? bin : 0.0f)]++;
        }
    }
}

void psc_weight_sums__reference(double *sums, const double *a, const float *b, size_t n) {
    double lanes[2][PSC_LANES] = {{0}};
    for (size_t i = 0; i < n; i++) {
        const double w = fabs(a[i] * (double)b[i]);
        lanes[0][i % PSC_LANES] += w;
        lanes[1][i % PSC_LANES] += w * w;
    }
    for (int s = 0; s < 2; s++) sums[s] = fold_lanes_f64(lanes[s]);
}

void psc_pattern_sums__reference(double *sums, const float *a, size_t n) {
    double lanes[4][PSC_LANES] = {{0}};
    for (size_t i = 0; i < n; i++) {
        const size_t l = i % PSC_LANES;
        const double own = (double)a[i];
        lanes[0][l] += own;
        lanes[1][l] += Sleef_finz_logd1_u10purecfma(0.0 < own ? own : 1.0) * own;
        lanes[2][l] += (double)i * own;
    }
    for (int s = 0; s < 3; s++) sums[s] = fold_lanes_f64(lanes[s]);
    sums[2] = (double)(n - 1) * sums[0] - sums[2];
    for (size_t i = 0; i < n; i++) {
        const double d = (double)(n - 1 - i) - sums[2];
        lanes[3][i % PSC_LANES] += (d * d) * (double)a[i];
    }
    sums[3] = fold_lanes_f64(lanes[3]);
}
