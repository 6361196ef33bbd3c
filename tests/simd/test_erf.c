/* erf in units of the last place against libm's erf in f64, with the same bits on every ISA: at
 * least as accurate as SLEEF's in the mean. Every 499th float; PSC_ERF_STEP=1 takes every float,
 * PSC_TEST_VERBOSE=1 prints the figures per octave. */
#include "ulps.h"

#include <sleef.h>

#define MAX_ERROR 0.80

static float_kernel ours(const psc_kernels *k) {
    return k->erf_f32;
}

static float sleefs(float x) {
    return Sleef_finz_erff1_u10purecfma(x);
}

static const odd_function function = {"erf", ours, sleefs, erf};

Test(erf, accurate_and_equal) {
    check_accuracy(&function, "PSC_ERF_STEP", MAX_ERROR);
}

Test(erf, shape) {
    check_shape(&function, 4.0f, 3.92f);
}
