/* cos and sin of p * f_i, times scale, for first <= p < first + n, i < half; f_i = base^(-i/half)
 * unless the config scales it: pow and sincos in f64 by SLEEF's deterministic forms, two
 * products, one rounding to f32. */
#include "kernels.h"

#include <math.h> /* FP_FAST_FMA, which makes sleef.h declare the purecfma forms */
#include <sleef.h>

void psc_rotary_frequencies(double *frequencies, size_t half, double base) {
    for (size_t i = 0; i < half; i++)
        frequencies[i] = Sleef_finz_powd1_u10purecfma(base, -(double)i / (double)half);
}

void psc_rotary_tables(float *cos, float *sin, size_t first, size_t n, size_t half,
    const double *frequencies, double scale) {
    for (size_t i = 0; i < half; i++) {
        for (size_t p = 0; p < n; p++) {
            const double angle = (double)(first + p) * frequencies[i];
            Sleef_double_2 sc = Sleef_finz_sincosd1_u10purecfma(angle);
            sin[p * half + i] = (float)(scale * sc.x);
            cos[p * half + i] = (float)(scale * sc.y);
        }
    }
}
