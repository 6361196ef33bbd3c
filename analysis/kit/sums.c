/* Sums of x [n] in f64: s[i mod 16] += x[i] for ascending i, then s[j] += s[j+8], +4, +2, +1. */
#include "common.h"

#include <math.h>

double psc_fold16(double s[16]) {
    for (int width = 8; width > 0; width /= 2)
        for (int j = 0; j < width; j++) s[j] += s[j + width];
    return s[0];
}

double psc_sum_striped(int64_t n, const float *x) {
    double s[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) s[j] += (double)x[i + j];
    for (int j = 0; i + j < n; j++) s[j] += (double)x[i + j];
    return psc_fold16(s);
}

double psc_dot_striped(int64_t n, const float *a, const float *b) {
    double s[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) s[j] += (double)a[i + j] * (double)b[i + j];
    for (int j = 0; i + j < n; j++) s[j] += (double)a[i + j] * (double)b[i + j];
    return psc_fold16(s);
}

double psc_dot_centered(int64_t n, const float *a, double mean_a, const float *b, double mean_b) {
    double s[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++)
            s[j] += ((double)a[i + j] - mean_a) * ((double)b[i + j] - mean_b);
    for (int j = 0; i + j < n; j++)
        s[j] += ((double)a[i + j] - mean_a) * ((double)b[i + j] - mean_b);
    return psc_fold16(s);
}

double psc_dot_mixed(int64_t n, const double *a, const float *b) {
    double s[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) s[j] += a[i + j] * (double)b[i + j];
    for (int j = 0; i + j < n; j++) s[j] += a[i + j] * (double)b[i + j];
    return psc_fold16(s);
}

float psc_logits_most(const psc_reductions *reductions, size_t n, const float *z) {
    float groups[PSC_LOGIT_TILE / 256 * 16], most = -INFINITY;
    const size_t filled = (n + 255) / 256 * 16;
    reductions->group_maxima(groups, z, n);
    for (size_t g = 0; g < filled; g++) most = groups[g] > most ? groups[g] : most;
    return most == -INFINITY ? 0.0f : most;
}

static double ratio(double sum, double squares) {
    return squares > 0.0 ? sum * sum / squares : squares;
}

double psc_participation(
    const psc_reductions *reductions, int64_t n, const double *a, const float *b) {
    double sums[2];
    reductions->weight_sums(sums, a, b, (size_t)n);
    return ratio(sums[0], sums[1]);
}

double psc_participation_product(int64_t n, const float *a, const float *b) {
    double s[16] = {0}, q[16] = {0};
    for (int64_t i = 0; i < n; i += 16) {
        const int64_t width = n - i < 16 ? n - i : 16;
        for (int64_t j = 0; j < width; j++) {
            const double w = fabs((double)a[i + j] * (double)b[i + j]);
            s[j] += w;
            q[j] += w * w;
        }
    }
    return ratio(psc_fold16(s), psc_fold16(q));
}
