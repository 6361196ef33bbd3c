/* cos and sin of p * base^(-i/half) for p < n, i < half: pow and sincos in f64 by SLEEF's
 * deterministic forms, one product, one rounding to f32. */
#include "kernels.h"

#include <math.h> /* FP_FAST_FMA, which makes sleef.h declare the purecfma forms */
#include <sleef.h>

void psc_rotary_tables(float *cos, float *sin, size_t n, size_t half, double base) {
    for (size_t i = 0; i < half; i++) {
        double frequency = Sleef_finz_powd1_u10purecfma(base, -(double)i / (double)half);
        for (size_t p = 0; p < n; p++) {
            Sleef_double_2 sc = Sleef_finz_sincosd1_u10purecfma((double)p * frequency);
            sin[p * half + i] = (float)sc.x;
            cos[p * half + i] = (float)sc.y;
        }
    }
}
