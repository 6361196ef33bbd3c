/* Sums, squares, minima and maxima of columns over rows, in scalar C. */
#include "kernel_names.h"

void psc_add_moments__reference(double *sum, double *square, double *least, double *most,
    const float *x, size_t ld, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) {
            const double value = (double)x[r * ld + i];
            sum[i] += value;
            square[i] += value * value;
            least[i] = value < least[i] ? value : least[i];
            most[i] = most[i] < value ? value : most[i];
        }
}
