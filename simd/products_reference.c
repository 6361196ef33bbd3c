/* Sums of products of doubles in scalar C: a tile [16, 16] of A^T B. */
#include "kernel_names.h"

#include <math.h>

void psc_add_products__reference(
    double *out, size_t stride, const double *a, const double *b, size_t n) {
    for (size_t i = 0; i < PSC_LANES; i++)
        for (size_t j = 0; j < PSC_LANES; j++) {
            double sum = out[i * stride + j];
            for (size_t t = 0; t < n; t++)
                sum = fma(a[t * PSC_LANES + i], b[t * PSC_LANES + j], sum);
            out[i * stride + j] = sum;
        }
}
