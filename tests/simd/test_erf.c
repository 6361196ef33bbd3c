/* erf in units of the last place against libm's erf in f64, with the same bits on every ISA: at
 * least as accurate as SLEEF's, in the maximum and the mean. Every 499th float; PSC_ERF_STEP=1
 * takes every float, PSC_TEST_VERBOSE=1 prints the figures per octave. */
#include "kernel_test.h"

#include <sleef.h>
#include <stdio.h>

#define BLOCK 4096
#define MAX_ERROR 0.80

typedef struct errors {
    double max, sum;
    float at;
    long n;
} errors;

/* |y - exact| in units of the last place of the f32 numbers around exact. */
static double ulps(float y, double exact) {
    int exponent;
    frexp(exact, &exponent);
    return fabs((double)y - exact) / ldexp(1.0, (exponent < -125 ? -125 : exponent) - 24);
}

static void count(errors *e, float x, float y, double exact) {
    double error = ulps(y, exact);
    if (error > e->max) {
        e->max = error;
        e->at = x;
    }
    e->sum += error;
    e->n++;
}

static void merge(errors *into, const errors *e) {
    if (e->max > into->max) {
        into->max = e->max;
        into->at = e->at;
    }
    into->sum += e->sum;
    into->n += e->n;
}

static void print(const char *name, const errors *ours, const errors *sleefs) {
    if (!getenv("PSC_TEST_VERBOSE")) return;
    fprintf(stderr, "%-12s %10ld floats: max %.4f at %.8g, mean %.4f; SLEEF max %.4f, mean %.4f\n",
        name, ours->n, ours->max, (double)ours->at, ours->sum / (double)ours->n, sleefs->max,
        sleefs->sum / (double)sleefs->n);
}

/* A block of floats with both signs on every ISA, without NaN: one function, and an odd one. */
static void same_everywhere(const float *x, const float *y) {
    static float negative[BLOCK], out[BLOCK];
    for (int i = 0; i < BLOCK; i++) negative[i] = -x[i];
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        const psc_kernels *k = psc_kernels_for((psc_isa)isa);
        if (!k) continue;
        k->erf_f32(out, x, BLOCK);
        for (int i = 0; i < BLOCK; i++)
            cr_assert(same_float(out[i], y[i]), "erf(%a) by %s", (double)x[i], k->isa_name);
        k->erf_f32(out, negative, BLOCK);
        for (int i = 0; i < BLOCK; i++)
            cr_assert(same_float(out[i], -y[i]), "erf(-%a) by %s", (double)x[i], k->isa_name);
    }
}

/* Floats of one exponent, `step` apart. */
static void octave(errors *ours, errors *sleefs, uint32_t exponent, uint32_t step) {
    static float x[BLOCK], y[BLOCK];
    const uint32_t end = (exponent + 1) << 23;
    uint32_t bits = (exponent << 23) + random_bits() % step;
    while (bits < end) {
        int n = 0;
        for (; n < BLOCK && bits < end; n++, bits += step) x[n] = float_from_bits(bits);
        for (int i = n; i < BLOCK; i++) x[i] = 0.0f;
        psc_kernels_for(PSC_ISA_REFERENCE)->erf_f32(y, x, BLOCK);
        same_everywhere(x, y);
        for (int i = 0; i < n; i++) {
            double exact = erf((double)x[i]);
            count(ours, x[i], y[i], exact);
            count(sleefs, x[i], Sleef_finz_erff1_u10purecfma(x[i]), exact);
        }
    }
}

Test(erf, accurate_and_equal) {
    const char *asked = getenv("PSC_ERF_STEP");
    const uint32_t step = asked && atoi(asked) > 0 ? (uint32_t)atoi(asked) : 499;
    errors ours = {0}, sleefs = {0};
    for (uint32_t exponent = 0; exponent < 255; exponent++) {
        errors here = {0}, theirs = {0};
        char name[32];
        octave(&here, &theirs, exponent, step);
        snprintf(name, sizeof name, "2^%d", (int)exponent - 127);
        if (exponent >= 127 - 8 && exponent <= 127 + 2) print(name, &here, &theirs);
        merge(&ours, &here);
        merge(&sleefs, &theirs);
    }
    print("finite", &ours, &sleefs);
    cr_assert_leq(ours.max, MAX_ERROR, "%g ulp at %a", ours.max, (double)ours.at);
    cr_assert_leq(ours.sum, sleefs.sum, "the mean of %ld errors", ours.n);
}

/* erf never decreases, is 1 as soon as 1 is the nearest float, and maps special values to
 * themselves. */
Test(erf, shape) {
    static float x[BLOCK], y[BLOCK];
    psc_erf_f32_fn f = psc_kernels_for(PSC_ISA_REFERENCE)->erf_f32;
    for (int i = 0; i < BLOCK; i++) x[i] = (float)i * 0x1p-10f;
    f(y, x, BLOCK);
    for (int i = 1; i < BLOCK; i++)
        cr_assert(y[i] >= y[i - 1] && y[i] <= 1.0f, "erf(%a)", (double)x[i]);
    const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, 3.92f, 0x1p-149f, NAN};
    const float want[] = {0.0f, -0.0f, 1.0f, -1.0f, 1.0f, 0x1p-149f, NAN};
    f(y, special, 7);
    for (int i = 0; i < 7; i++)
        cr_assert(same_float(y[i], want[i]), "erf(%a) is %a", (double)special[i], (double)y[i]);
}
