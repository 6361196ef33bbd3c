/* A kernel table whose entries time the session's own kernels. Before every matmul its thread runs
 * fused multiply-adds for some microseconds: the peak, measured at the place and time of the
 * matmul. Private to bench/pass.c. Threads: each thread has its own account; switch and read
 * outside a run. Ownership: one static table. */
#ifndef PASS_KERNELS_H
#define PASS_KERNELS_H

#include "forward_inside.h"
#include "spin_fma.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { PASS_MATMUL, PASS_ATTENTION, PASS_NORM, PASS_GELU, PASS_OTHER, PASS_PARTS };
static const char *const pass_part_names[] = {"matmul", "attention", "norm", "gelu", "other"};
enum { PASS_SPIN = PASS_PARTS, PASS_SPIN_FLOPS, PASS_ACCOUNTS };

#define PASS_THREADS 256
static const psc_kernels *pass_real;
static psc_kernels pass_timed;
static double pass_accounts[PASS_THREADS][16]; /* rows a cache line apart */
static atomic_int pass_n_accounts;
static _Thread_local double *pass_mine;

static inline double pass_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void pass_charge(int part, double start) {
    if (!pass_mine) pass_mine = pass_accounts[atomic_fetch_add(&pass_n_accounts, 1) % PASS_THREADS];
    pass_mine[part] += pass_clock() - start;
}

#define PASS_SPIN_ROUNDS 20000
static volatile float pass_sink;

static inline void pass_spin(void) {
    float out = 0.0f;
    double start = pass_clock();
    uint64_t flops = psc_spin_fma(&out, pass_real->isa, PASS_SPIN_ROUNDS);
    pass_charge(PASS_SPIN, start);
    pass_mine[PASS_SPIN_FLOPS] += (double)flops;
    pass_sink = out;
}

static inline void pass_matmul(psc_dtype dtype, const psc_matmul *m) {
    pass_spin();
    double start = pass_clock();
    pass_real->matmul[dtype](m);
    pass_charge(PASS_MATMUL, start);
}

static void pass_matmul_f32(const psc_matmul *m) {
    pass_matmul(PSC_DTYPE_F32, m);
}

static void pass_matmul_f16(const psc_matmul *m) {
    pass_matmul(PSC_DTYPE_F16, m);
}

static void pass_matmul_bf16(const psc_matmul *m) {
    pass_matmul(PSC_DTYPE_BF16, m);
}

/* PASS_TIMED(part, kernel, (parameters), (arguments)) */
#define PASS_TIMED(part, name, parameters, arguments)                                              \
    static void pass_##name parameters {                                                           \
        double start = pass_clock();                                                               \
        pass_real->name arguments;                                                                 \
        pass_charge(part, start);                                                                  \
    }

PASS_TIMED(PASS_ATTENTION, attention_scores, (const psc_attention *a), (a))
PASS_TIMED(PASS_ATTENTION, attention_values, (const psc_attention *a), (a))
PASS_TIMED(PASS_ATTENTION, softmax, (float *y, const float *x, size_t n), (y, x, n))
PASS_TIMED(PASS_NORM, ln_stats, (float *mean, float *scale, const float *x, size_t n, float eps),
    (mean, scale, x, n, eps))
PASS_TIMED(PASS_NORM, ln_normalize, (float *y, const float *x, size_t n, float mean, float scale),
    (y, x, n, mean, scale))
PASS_TIMED(PASS_NORM, ln_affine,
    (float *y, const float *x, const float *gamma, const float *beta, size_t n),
    (y, x, gamma, beta, n))
PASS_TIMED(PASS_GELU, gelu, (float *y, float *gate, const float *a, size_t n), (y, gate, a, n))
PASS_TIMED(PASS_GELU, gelu_tanh, (float *y, float *gate, const float *a, size_t n), (y, gate, a, n))
PASS_TIMED(PASS_OTHER, rotary,
    (float *y, const float *x, const float *cos, const float *sin, size_t heads, size_t d,
        size_t n),
    (y, x, cos, sin, heads, d, n))
PASS_TIMED(PASS_OTHER, add, (float *y, const float *a, const float *b, size_t n), (y, a, b, n))
PASS_TIMED(PASS_OTHER, add3, (float *y, const float *a, const float *b, const float *c, size_t n),
    (y, a, b, c, n))

/* Turns timing of forward's next runs on or off; turning it on clears the accounts. */
static void pass_kernels_time(psc_forward *forward, bool on) {
    if (!pass_real) {
        pass_real = forward->kernels;
        pass_timed = *pass_real;
        pass_timed.matmul_f32 = pass_timed.matmul[PSC_DTYPE_F32] = pass_matmul_f32;
        pass_timed.matmul_f16 = pass_timed.matmul[PSC_DTYPE_F16] = pass_matmul_f16;
        pass_timed.matmul_bf16 = pass_timed.matmul[PSC_DTYPE_BF16] = pass_matmul_bf16;
        pass_timed.attention_scores = pass_attention_scores;
        pass_timed.attention_values = pass_attention_values;
        pass_timed.softmax = pass_softmax;
        pass_timed.ln_stats = pass_ln_stats;
        pass_timed.ln_normalize = pass_ln_normalize;
        pass_timed.ln_affine = pass_ln_affine;
        pass_timed.gelu = pass_gelu;
        pass_timed.gelu_tanh = pass_gelu_tanh;
        pass_timed.rotary = pass_rotary;
        pass_timed.add = pass_add;
        pass_timed.add3 = pass_add3;
    }
    if (on) memset(pass_accounts, 0, sizeof pass_accounts);
    forward->kernels = on ? &pass_timed : pass_real;
}

/* Seconds by part, and the time and operations of spinning, summed over the threads. */
static void pass_kernels_seconds(double seconds[PASS_ACCOUNTS]) {
    for (int p = 0; p < PASS_ACCOUNTS; p++) {
        seconds[p] = 0.0;
        for (int t = 0; t < PASS_THREADS; t++) seconds[p] += pass_accounts[t][p];
    }
}

#endif
