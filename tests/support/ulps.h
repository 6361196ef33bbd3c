/* An odd f32 function in units of the last place against f64, and its bits on every ISA.
 * Private to tests/simd/; failures are Criterion assertions.
 * Threads: one at a time.
 * Ownership: nothing is kept. */
#ifndef ULPS_H
#define ULPS_H

#include "kernel_test.h"

#include <stdio.h>
#include <stdlib.h>

#define BLOCK 4096

typedef struct errors {
    double max, sum;
    float at;
    long n;
} errors;

typedef void (*float_kernel)(float *y, const float *x, size_t n);

/* What is measured: ours on an ISA, SLEEF's, and the exact value. */
typedef struct odd_function {
    const char *name;
    float_kernel (*ours)(const psc_kernels *k);
    float (*sleefs)(float x);
    double (*exact)(double x);
} odd_function;

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
static void same_everywhere(const odd_function *f, const float *x, const float *y) {
    static float negative[BLOCK], out[BLOCK];
    for (int i = 0; i < BLOCK; i++) negative[i] = -x[i];
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        const psc_kernels *k = psc_kernels_for((psc_isa)isa);
        if (!k) continue;
        f->ours(k)(out, x, BLOCK);
        for (int i = 0; i < BLOCK; i++)
            cr_assert(same_float(out[i], y[i]), "%s(%a) by %s", f->name, (double)x[i], k->isa_name);
        f->ours(k)(out, negative, BLOCK);
        for (int i = 0; i < BLOCK; i++)
            cr_assert(
                same_float(out[i], -y[i]), "%s(-%a) by %s", f->name, (double)x[i], k->isa_name);
    }
}

/* Floats of one exponent, `step` apart. */
static void octave(
    const odd_function *f, errors *ours, errors *sleefs, uint32_t exponent, uint32_t step) {
    static float x[BLOCK], y[BLOCK];
    const uint32_t end = (exponent + 1) << 23;
    uint32_t bits = (exponent << 23) + random_bits() % step;
    while (bits < end) {
        int n = 0;
        for (; n < BLOCK && bits < end; n++, bits += step) x[n] = float_from_bits(bits);
        for (int i = n; i < BLOCK; i++) x[i] = 0.0f;
        f->ours(psc_kernels_for(PSC_ISA_REFERENCE))(y, x, BLOCK);
        same_everywhere(f, x, y);
        for (int i = 0; i < n; i++) {
            double exact = f->exact((double)x[i]);
            count(ours, x[i], y[i], exact);
            count(sleefs, x[i], f->sleefs(x[i]), exact);
        }
    }
}

/* Every 499th float, or every *step_name-th. At most `most` ulps; on average at most SLEEF's. */
static void check_accuracy(const odd_function *f, const char *step_name, double most) {
    const char *asked = getenv(step_name);
    const uint32_t step = asked && atoi(asked) > 0 ? (uint32_t)atoi(asked) : 499;
    errors ours = {0}, sleefs = {0};
    for (uint32_t exponent = 0; exponent < 255; exponent++) {
        errors here = {0}, theirs = {0};
        char name[32];
        octave(f, &here, &theirs, exponent, step);
        snprintf(name, sizeof name, "2^%d", (int)exponent - 127);
        if (exponent >= 127 - 8 && exponent <= 127 + 3) print(name, &here, &theirs);
        merge(&ours, &here);
        merge(&sleefs, &theirs);
    }
    print("finite", &ours, &sleefs);
    cr_assert_leq(ours.max, most, "%g ulp at %a", ours.max, (double)ours.at);
    cr_assert_leq(ours.sum, sleefs.sum, "the mean of %ld errors", ours.n);
}

/* The function never decreases on 0..limit, is 1 from `one` on, and maps special values to
 * themselves. */
static void check_shape(const odd_function *f, float limit, float one) {
    static float x[BLOCK], y[BLOCK];
    float_kernel ours = f->ours(psc_kernels_for(PSC_ISA_REFERENCE));
    for (int i = 0; i < BLOCK; i++) x[i] = (float)i * (limit / BLOCK);
    ours(y, x, BLOCK);
    for (int i = 1; i < BLOCK; i++)
        cr_assert(y[i] >= y[i - 1] && y[i] <= 1.0f, "%s(%a)", f->name, (double)x[i]);
    const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, one, 0x1p-149f, NAN};
    const float want[] = {0.0f, -0.0f, 1.0f, -1.0f, 1.0f, 0x1p-149f, NAN};
    ours(y, special, 7);
    for (int i = 0; i < 7; i++)
        cr_assert(
            same_float(y[i], want[i]), "%s(%a) is %a", f->name, (double)special[i], (double)y[i]);
}

#endif
