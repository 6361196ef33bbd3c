/* Attention's edges in scalar C: products with panels of 16 keys, norms by a Gram matrix, and the
 * sums and candidates of the edges into one row. */
#include "kernel_names.h"
#include "stripe_reference.h"

#include <math.h>

void psc_panel_dots__reference(float *y, size_t ldy, const float *const *x, const float *panels,
    size_t rows, size_t size, size_t n_panels) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n_panels * PSC_LANES; i++) {
            const float *v = panels + i / PSC_LANES * size * PSC_LANES + i % PSC_LANES;
            float lanes[PSC_LANES] = {0};
            for (size_t k = 0; k < size; k++)
                lanes[k % PSC_LANES] = fmaf(x[r][k], v[k * PSC_LANES], lanes[k % PSC_LANES]);
            y[r * ldy + i] = fold_lanes(lanes);
        }
}

void psc_gram_squares__reference(
    double *squares, const double *gram, const double *lanes, size_t size) {
    for (size_t i = 0; i < PSC_LANES; i++) {
        double square = 0.0;
        for (size_t a = 0; a < size; a++) {
            const double *row = gram + a * size, own = lanes[a * PSC_LANES + i];
            double sum = 0.0;
            for (size_t b = 0; b < a; b++) sum = fma(row[b], lanes[b * PSC_LANES + i], sum);
            square = fma(own, fma(row[a], own, 2.0 * sum), square);
        }
        squares[i] = square;
    }
}

void psc_edge_sums__reference(double *sums, int32_t *ids, size_t *count, const float *a,
    const float *t, const float *b, double bound, size_t n) {
    double lanes[2][PSC_LANES] = {{0}};
    size_t found = 0, edges = 0;
    for (size_t i = 0; i < n; i++) {
        const double weight = (double)a[i], share = a[i] == 0.0f ? 0.0 : weight * (double)t[i];
        lanes[0][i % PSC_LANES] += share;
        lanes[1][i % PSC_LANES] += fabs(share);
        if (a[i] == 0.0f) continue;
        edges++;
        if (!(fabs(b ? weight * (double)b[i] : weight) < bound)) ids[found++] = (int32_t)i;
    }
    for (int s = 0; s < 2; s++) sums[s] = fold_lanes_f64(lanes[s]);
    sums[2] = (double)edges;
    *count = found;
}
