/* tanh in units of the last place against libm's tanh in f64, with the same bits on every ISA: at
 * least as accurate as SLEEF's in the mean. Every 499th float; PSC_TANH_STEP=1 takes every float,
 * PSC_TEST_VERBOSE=1 prints the figures per octave. */
#include "ulps.h"

#include <sleef.h>

#define MAX_ERROR 1.10

static float_kernel ours(const psc_kernels *k) {
    return k->tanh_f32;
}

static float sleefs(float x) {
    return Sleef_finz_tanhf1_u10purecfma(x);
}

static const odd_function function = {"tanh", ours, sleefs, tanh};

Test(tanh, accurate_and_equal) {
    check_accuracy(&function, "PSC_TANH_STEP", MAX_ERROR);
}

Test(tanh, shape) {
    check_shape(&function, 10.0f, 9.02f);
}
