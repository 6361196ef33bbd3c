/* Neurons' firing in scalar C: sizes of columns over rows, elements that reach limits. */
#include "kernel_names.h"

#include <math.h>

void psc_column_sizes__reference(double *most, const float *x, size_t ld, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) {
            const double size = fabs((double)x[r * ld + i]);
            most[i] = most[i] < size ? size : most[i];
        }
}

void psc_reach_limits__reference(
    int32_t *ids, size_t *count, const float *x, const float *limits, size_t n) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        if (!(x[i] < limits[i])) ids[found++] = (int32_t)i;
    *count = found;
}
