/* Reductions over the vocabulary in scalar C. Striped sums have lane = i mod 16. */
#include "kernel_names.h"
#include "short_exp_reference.h"
#include "stripe_reference.h"

#include <math.h>
#include <sleef.h>

void psc_exp_row__reference(float *p, double *sums, const float *z, float most, size_t n) {
    double lanes[2][PSC_LANES] = {{0}};
    for (size_t i = 0; i < n; i++) {
        const double e = Sleef_finz_expd1_u10purecfma((double)z[i] - (double)most);
        p[i] = (float)e;
        lanes[0][i % PSC_LANES] += e;
        lanes[1][i % PSC_LANES] += (double)p[i];
    }
    for (int s = 0; s < 2; s++) sums[s] = fold_lanes_f64(lanes[s]);
}

void psc_weigh__reference(
    double *w, double *sums, const float *z, float most, double temperature, size_t n) {
    double lanes[3][PSC_LANES] = {{0}};
    for (size_t i = 0; i < n; i++) {
        const size_t l = i % PSC_LANES;
        const double d = ((double)z[i] - (double)most) / temperature;
        const double e = Sleef_finz_expd1_u10purecfma(d);
        w[i] = e;
        lanes[0][l] += e;
        lanes[1][l] = fma(e, e, lanes[1][l]);
        lanes[2][l] = fma(e, 0.0 < e ? d : 0.0, lanes[2][l]);
    }
    for (int s = 0; s < 3; s++) sums[s] = fold_lanes_f64(lanes[s]);
}

void psc_weigh_both__reference(
    double *plain, double *scaled, double *sums, const float *z, float most, double by, size_t n) {
    double lanes[4][PSC_LANES] = {{0}};
    for (size_t i = 0; i < n; i++) {
        const size_t l = i % PSC_LANES;
        const double d = (double)z[i] - (double)most, e = Sleef_finz_expd1_u10purecfma(d);
        const double t = -708.0 > d * by ? -708.0 : d * by, w = short_exp_of(t);
        plain[i] = e;
        scaled[i] = w;
        lanes[0][l] += e;
        lanes[1][l] += w;
        lanes[2][l] = fma(w, w, lanes[2][l]);
        lanes[3][l] = fma(w, t, lanes[3][l]);
    }
    for (int s = 0; s < 4; s++) sums[s] = fold_lanes_f64(lanes[s]);
}

void psc_masked_sums__reference(double *sums, const float *z, float limit, const double *a,
    const double *b, double by_a, double by_b, size_t n) {
    double lanes[4][PSC_LANES] = {{0}};
    for (size_t i = 0; i < n; i++) {
        const size_t l = i % PSC_LANES;
        const double own = z[i] < limit ? 0.0 : a[i];
        lanes[0][l] += own;
        lanes[1][l] = fma(own, own, lanes[1][l]);
        if (!b) continue;
        const double x = own * by_a, y = b[i] * by_b;
        lanes[2][l] = fma(own, b[i], lanes[2][l]);
        lanes[3][l] += x < y ? x : y;
    }
    for (int s = 0; s < 4; s++) sums[s] = fold_lanes_f64(lanes[s]);
}

void psc_divergence_sums__reference(
    double *sums, const float *z, float most, const float *f, const float *e_f, size_t n) {
    double lanes[4][PSC_LANES] = {{0}};
    for (size_t i = 0; i < n; i++) {
        const size_t l = i % PSC_LANES;
        const double e = (double)Sleef_finz_expf1_u10purecfma(z[i] - most);
        const double d = (double)z[i] - (double)most, gap = (double)z[i] - (double)f[i];
        lanes[0][l] += e;
        lanes[1][l] = fma(e, d, lanes[1][l]);
        lanes[2][l] = fma((double)e_f[i], gap, lanes[2][l]);
        lanes[3][l] = fma(e, gap, lanes[3][l]);
    }
    for (int s = 0; s < 4; s++) sums[s] = fold_lanes_f64(lanes[s]);
}

void psc_change_moments__reference(
    double *sums, const float *f, const float *direct, double by_direct, const float *p, size_t n) {
    double lanes[6][PSC_LANES] = {{0}};
    for (size_t i = 0; i < n; i++) {
        const size_t l = i % PSC_LANES;
        const double own = (double)direct[i], g = (double)f[i] + by_direct * own;
        const double weighted = (double)p[i] * g;
        lanes[0][l] += g;
        lanes[1][l] = fma(g, g, lanes[1][l]);
        lanes[2][l] = fma(g, own, lanes[2][l]);
        lanes[3][l] += weighted;
        lanes[4][l] = fma(weighted, g, lanes[4][l]);
        lanes[5][l] = fma(weighted, own, lanes[5][l]);
    }
    for (int s = 0; s < 6; s++) sums[s] = fold_lanes_f64(lanes[s]);
}

void psc_change_sums__reference(double *sums, const float *f, const float *direct, const float *z,
    const double *terms, size_t n) {
    const double by_f = terms[0], by_direct = terms[1], mean = terms[2], expected = terms[3];
    const double most = terms[4], bound = terms[5];
    double lanes[4][PSC_LANES] = {{0}};
    int64_t above = 0, reached = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t l = i % PSC_LANES;
        double dz = by_f * (double)f[i];
        if (by_direct != 0.0) dz += by_direct * (double)direct[i];
        lanes[0][l] += fabs(dz);
        lanes[1][l] += fabs(dz - mean);
        lanes[2][l] += fabs(dz - expected);
        if (!z) continue;
        const double after = ((double)z[i] - most) + dz;
        lanes[3][l] += short_exp_of(after);
        above += bound < after;
        reached += !(after < bound);
    }
    for (int s = 0; s < 4; s++) sums[s] = fold_lanes_f64(lanes[s]);
    sums[4] = (double)above;
    sums[5] = (double)reached;
}

void psc_add_writes__reference(double *sum, float *direct, float *z, const float *a, const float *b,
    const float *constant, double by, size_t n) {
    for (size_t i = 0; i < n; i++) {
        sum[i] += (double)a[i] + (b ? (double)b[i] : 0.0);
        const double y = sum[i] * by;
        direct[i] = (float)y;
        z[i] = (float)(y + (double)constant[i]);
    }
}

void psc_group_maxima__reference(float *y, const float *x, size_t n) {
    const size_t block = PSC_LANES * PSC_LANES, groups = (n + block - 1) / block * PSC_LANES;
    for (size_t g = 0; g < groups; g++) y[g] = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        float *to = &y[i / block * PSC_LANES + i % PSC_LANES];
        *to = x[i] > *to ? x[i] : *to;
    }
}

void psc_indices_within__reference(
    int32_t *ids, size_t *count, const float *x, size_t n, float low, float high) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(x[i] < low) && !(high < x[i])) ids[found++] = (int32_t)i;
    }
    *count = found;
}

void psc_count_from__reference(int64_t *counts, const float *x, size_t n, float limit) {
    counts[0] = counts[1] = 0;
    for (size_t i = 0; i < n; i++) {
        counts[0] += x[i] > limit;
        counts[1] += !(x[i] > limit) && !(x[i] < limit);
    }
}
