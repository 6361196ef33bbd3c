/* The rotary tables of a model. Its frequencies are f_i = base^(-2i/n), n = rotary_dims, unless the
 * config scales them as transformers (5, modeling_rope_utils.py) does:
 *
 *   linear  f_i / factor
 *   yarn    f_i / factor * r_i + f_i * (1 - r_i),  r_i = (i - low)/(high - low), within 0..1
 *           low, high: the dimensions that turn beta_fast and beta_slow times in the old context,
 *           d(b) = n log(context/(2 pi b)) / (2 log base), down and up to whole ones if truncate */
#include "rotary.h"

#include "kernels.h"

#include <math.h>

static double log_of(double x) {
    double y;
    psc_kernels_for(PSC_ISA_REFERENCE)->log_f64(&y, &x, 1);
    return y;
}

static double dimension_of(const psc_config *c, double turns) {
    const double two_pi = 6.283185307179586;
    return (double)c->rotary_dims * log_of(c->rope.context / (turns * two_pi)) /
           (2.0 * log_of(c->rotary_base));
}

static void ramp(double *frequencies, const psc_config *c) {
    const psc_rope *rope = &c->rope;
    double low = dimension_of(c, rope->beta_fast), high = dimension_of(c, rope->beta_slow);
    if (rope->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0.0);
    high = fmin(high, (double)c->rotary_dims - 1.0);
    if (low == high) high += 0.001;
    for (size_t i = 0; i < c->rotary_dims / 2; i++) {
        const double r = fmin(fmax(((double)i - low) / (high - low), 0.0), 1.0);
        frequencies[i] = frequencies[i] / rope->factor * r + frequencies[i] * (1.0 - r);
    }
}

void psc_rotary_fill(float *cos, float *sin, double *frequencies, const psc_config *c) {
    const size_t half = c->rotary_dims / 2;
    psc_rotary_frequencies(frequencies, half, c->rotary_base);
    if (c->rope.kind == PSC_ROPE_LINEAR)
        for (size_t i = 0; i < half; i++) frequencies[i] /= c->rope.factor;
    if (c->rope.kind == PSC_ROPE_YARN) ramp(frequencies, c);
    psc_rotary_tables(cos, sin, c->n_ctx, half, frequencies, c->rope.scale);
}
