/* Orthonormal bases in f64.
 *
 *   v_k <- v_k - sum_{j<k} (v_j . v_k) v_j, twice; v_k <- v_k/|v_k|
 *   A = sum_k lambda_k u_k u_k^T by cyclic Jacobi rotations
 *
 * Sums are chains in ascending order, so the bits are the same everywhere. */
#include "direction.h"

#include <math.h>
#include <string.h>

/* A vector that loses more than this part of its length depends on those before it: the rounding
 * of an f32 or bf16 file stays below. */
#define DEPENDENT 1e-5

static double dot(int64_t n, const double *a, const double *b) {
    double s[16] = {0};
    for (int64_t i = 0; i < n; i++) s[i % 16] += a[i] * b[i];
    return psc_fold16(s);
}

int64_t direction_orthonormal(double *v, int64_t n, int64_t width, int *finite) {
    for (int64_t k = 0; k < n; k++) {
        double *x = v + k * width, most = 0.0;
        *finite = 1;
        for (int64_t i = 0; i < width; i++) *finite &= isfinite(x[i]) != 0;
        if (!*finite) return k;
        for (int64_t i = 0; i < width; i++) most = fmax(most, fabs(x[i]));
        for (int64_t i = 0; i < width && most > 0.0; i++) x[i] /= most; /* no square overflows */
        const double length = sqrt(dot(width, x, x));
        for (int64_t j = 0; j < 2 * k; j++) {
            const double *b = v + j % k * width, c = dot(width, b, x);
            for (int64_t i = 0; i < width; i++) x[i] -= c * b[i];
        }
        const double left = sqrt(dot(width, x, x));
        if (!(left > DEPENDENT * length)) return k;
        for (int64_t i = 0; i < width; i++) x[i] /= left;
    }
    return -1;
}

/* One rotation of rows and columns p and q of a, and of the rows p and q of u. */
static void rotate(double *a, double *u, int64_t n, int64_t p, int64_t q) {
    const double off = a[p * n + q];
    if (off == 0.0) return;
    const double theta = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
    const double t = (theta < 0.0 ? -1.0 : 1.0) / (fabs(theta) + sqrt(theta * theta + 1.0));
    const double c = 1.0 / sqrt(t * t + 1.0), s = t * c;
    for (int64_t i = 0; i < n; i++) {
        const double x = a[i * n + p], y = a[i * n + q];
        a[i * n + p] = c * x - s * y;
        a[i * n + q] = s * x + c * y;
    }
    for (int64_t i = 0; i < n; i++) {
        const double x = a[p * n + i], y = a[q * n + i], z = u[p * n + i], w = u[q * n + i];
        a[p * n + i] = c * x - s * y;
        a[q * n + i] = s * x + c * y;
        u[p * n + i] = c * z - s * w;
        u[q * n + i] = s * z + c * w;
    }
}

static double off_diagonal(const double *a, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) sum += a[i * n + j] * a[i * n + j];
    return sum;
}

void direction_eigen(double *values, double *vectors, double *a, int64_t n) {
    enum { SWEEPS = 60 };
    double whole = off_diagonal(a, n);
    for (int64_t i = 0; i < n; i++) {
        whole += a[i * n + i] * a[i * n + i];
        for (int64_t j = 0; j < n; j++) vectors[i * n + j] = i == j;
    }
    for (int sweep = 0; sweep < SWEEPS && off_diagonal(a, n) > 1e-30 * whole; sweep++)
        for (int64_t p = 0; p < n; p++)
            for (int64_t q = p + 1; q < n; q++) rotate(a, vectors, n, p, q);
    for (int64_t i = 0; i < n; i++) values[i] = a[i * n + i];
    for (int64_t i = 0; i < n; i++) { /* descending, ties in the order found */
        int64_t best = i;
        for (int64_t j = i + 1; j < n; j++)
            if (values[j] > values[best]) best = j;
        const double value = values[best];
        values[best] = values[i];
        values[i] = value;
        for (int64_t k = 0; k < n && best != i; k++) {
            const double x = vectors[best * n + k];
            vectors[best * n + k] = vectors[i * n + k];
            vectors[i * n + k] = x;
        }
    }
}
