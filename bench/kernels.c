/* One line a kernel, shape and ISA: GFLOP/s, GB/s or G elements/s on one core, the median of many
 * short runs, their spread (half the way from quartile to quartile) and the best. Beside it what
 * the machine does at most: fused multiply-adds in registers, or reading memory. That limit is
 * measured again before every run and the share is the median over the pairs, so that a neighbour
 * on the same core or memory slows both. kernels.def makes the calls; a kernel without a bench does
 * not compile.
 *
 *      kernels [part of a kernel's name] [isa]
 */
#include "kernels.h"
#include "limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLES 41
#define SPIN_ROUNDS 4000
#define SAMPLE_SECONDS 0.003
/* Larger than the last-level cache, so that one-row kernels read memory. */
#define STREAM_BYTES ((size_t)160 << 20)
#define ROW 4096

typedef enum unit { FLOPS, STREAMED_BYTES, ELEMENTS } unit;

static const psc_kernels *kernels; /* the ISA on trial */
/* The limits' loops. */
static psc_isa peak_isa;
static double spin_work;
static size_t best_streams = 1;
static float *pool; /* STREAM_BYTES of small numbers */
static float *rows; /* 512 rows of ROW + 16, and as many outputs */
static volatile float sink;

/* This thread's own time: what others do with the core does not count. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef void (*body)(const void *argument);

/* Calls of run that take about SAMPLE_SECONDS. */
static size_t calls_per_sample(body run, const void *argument) {
    run(argument);
    double start = now();
    run(argument);
    double once = now() - start;
    return once > SAMPLE_SECONDS ? 1 : (size_t)(SAMPLE_SECONDS / (once + 1e-9)) + 1;
}

static double rate(body run, const void *argument, double work, size_t calls) {
    double start = now();
    for (size_t i = 0; i < calls; i++) run(argument);
    return work * (double)calls / (now() - start);
}

/* --- the machine's own limits --- */

static void spin(const void *argument) {
    float out = 0.0f;
    psc_spin_fma(&out, *(const psc_isa *)argument, SPIN_ROUNDS);
    sink = out;
}

/* Reads STREAM_BYTES in *argument streams side by side. */
static void read_memory(const void *argument) {
    size_t streams = *(const size_t *)argument;
    const uint64_t *words = (const uint64_t *)(const void *)pool;
    size_t length = STREAM_BYTES / 8 / streams;
    uint64_t sums[8] = {0};
    for (size_t i = 0; i + 8 <= length; i += 8) {
        for (size_t s = 0; s < streams; s++) {
            for (size_t j = 0; j < 8; j++) sums[j] += words[s * length + i + j];
        }
    }
    for (int j = 1; j < 8; j++) sums[0] += sums[j];
    sink = (float)sums[0];
}

/* The rate of the limit's own loop, now. */
static double limit_now(unit u) {
    if (u == FLOPS) return rate(spin, &peak_isa, spin_work, 4);
    return rate(read_memory, &best_streams, (double)STREAM_BYTES, 1);
}

/* The ISA whose loop is fastest, and the number of streams. */
static void find_limits(void) {
    double best[2] = {0.0, 0.0};
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        psc_isa each = (psc_isa)isa;
        float out = 0.0f;
        if (!(psc_isa_mask() & 1u << isa)) continue;
        double work = (double)psc_spin_fma(&out, each, SPIN_ROUNDS);
        for (int s = 0; work > 0.0 && s < SAMPLES; s++) {
            double r = rate(spin, &each, work, 4);
            if (r <= best[0]) continue;
            best[0] = r;
            peak_isa = each;
            spin_work = work;
        }
    }
    for (size_t streams = 1; streams <= 4; streams *= 2) {
        for (int s = 0; s < SAMPLES / 2; s++) {
            double r = rate(read_memory, &streams, (double)STREAM_BYTES, 1);
            if (r <= best[1]) continue;
            best[1] = r;
            best_streams = streams;
        }
    }
    printf("limits of one core: %.1f GFLOP/s of fused multiply-adds, %.1f GB/s read from memory\n",
        best[0] * 1e-9, best[1] * 1e-9);
}

static void measure(
    const char *name, const char *shape, body run, const void *argument, double work, unit u) {
    static const char *const names[] = {"GFLOP/s", "GB/s", "Gelem/s"};
    double rates[SAMPLES], shares[SAMPLES];
    size_t calls = calls_per_sample(run, argument);
    for (int s = 0; s < SAMPLES; s++) {
        double limit = u == ELEMENTS ? 1.0 : limit_now(u);
        rates[s] = rate(run, argument, work, calls);
        shares[s] = rates[s] / limit;
    }
    qsort(rates, SAMPLES, sizeof *rates, compare);
    qsort(shares, SAMPLES, sizeof *shares, compare);
    double median = rates[SAMPLES / 2];
    double spread = (rates[SAMPLES * 3 / 4] - rates[SAMPLES / 4]) / median;
    printf("%-17s %-9s %-26s %8.2f %-7s +-%3.0f %%, best %8.2f", name, kernels->isa_name, shape,
        median * 1e-9, names[u], 50.0 * spread, rates[SAMPLES - 1] * 1e-9);
    if (u != ELEMENTS) printf(", %3.0f %% of the limit", 100.0 * shares[SAMPLES / 2]);
    printf("\n");
    fflush(stdout);
}

/* --- matrices --- */

typedef struct matrix_run {
    psc_dtype dtype;
    psc_matmul m;
    psc_pullback p;
} matrix_run;

static void run_matmul(const void *argument) {
    const matrix_run *r = argument;
    kernels->matmul[r->dtype](&r->m);
}

static void run_pullback(const void *argument) {
    const matrix_run *r = argument;
    kernels->pullback[r->dtype](&r->p);
}

/* One row against a matrix that no cache holds (in bytes read), then more rows (in operations). */
static void bench_matrix(const char *name, psc_dtype dtype, bool pull) {
    static const size_t row_counts[] = {1, 2, 4, 8, 32, 256};
    size_t k = 2048, size = psc_dtype_size(dtype);
    for (size_t i = 0; i < sizeof row_counts / sizeof *row_counts; i++) {
        size_t n = row_counts[i];
        bool streamed = n <= 4;
        size_t out = streamed && kernels->isa != PSC_ISA_REFERENCE ? STREAM_BYTES / size / k : 1024;
        if (kernels->isa == PSC_ISA_REFERENCE && n > 8) continue;
        size_t ld = streamed ? out + 16 : 4096 + 16, width = pull ? out : k;
        float *y = rows + n * (width + 16);
        matrix_run r = {.dtype = dtype};
        r.m = (psc_matmul){.y = y,
            .ldy = ld,
            .x = rows,
            .ldx = k + 16,
            .w = pool,
            .rows = n,
            .k = k,
            .k_block = PSC_K_BLOCK,
            .out = out,
            .panel_end = out / PSC_LANES};
        r.p = (psc_pullback){.y = y,
            .ldy = k + 16,
            .u = rows,
            .ldu = out + 16,
            .w = pool,
            .rows = n,
            .k = k,
            .out = out,
            .k_end = k};
        char shape[64];
        snprintf(shape, sizeof shape, "%zu x %zu x %zu", n, k, out);
        double elements = (double)out * (double)k;
        double work = streamed ? elements * (double)size : 2.0 * elements * (double)n;
        measure(name, shape, pull ? run_pullback : run_matmul, &r, work,
            streamed ? STREAMED_BYTES : FLOPS);
    }
}

static void bench_matmul_f32(const char *name) {
    bench_matrix(name, PSC_DTYPE_F32, false);
}
static void bench_matmul_f16(const char *name) {
    bench_matrix(name, PSC_DTYPE_F16, false);
}
static void bench_matmul_bf16(const char *name) {
    bench_matrix(name, PSC_DTYPE_BF16, false);
}
static void bench_pullback_f32(const char *name) {
    bench_matrix(name, PSC_DTYPE_F32, true);
}
static void bench_pullback_f16(const char *name) {
    bench_matrix(name, PSC_DTYPE_F16, true);
}
static void bench_pullback_bf16(const char *name) {
    bench_matrix(name, PSC_DTYPE_BF16, true);
}

/* --- attention: prefill of 256 rows, and one row --- */

static void run_scores(const void *argument) {
    kernels->attention_scores(argument);
}

static void run_values(const void *argument) {
    kernels->attention_values(argument);
}

static void bench_attention(const char *name, body run, bool values) {
    static int32_t n_keys[256];
    for (size_t n = 1; n <= 256; n *= 256) {
        size_t d_head = 64, keys = 1024, seen = 0;
        for (size_t r = 0; r < n; r++) {
            n_keys[r] = (int32_t)(keys - n + r + 1);
            seen += (size_t)n_keys[r];
        }
        psc_attention a = {.y = rows + 256 * 2048,
            .ldy = values ? d_head : keys + 16,
            .x = rows,
            .ldx = values ? keys + 16 : d_head,
            .cache = pool,
            .key_capacity = keys,
            .n_keys = n_keys,
            .rows = n,
            .d_head = d_head,
            .scale = 0.125f};
        char shape[64];
        snprintf(shape, sizeof shape, "%zu rows, %zu keys, d %zu", n, keys, d_head);
        measure(name, shape, run, &a, 2.0 * (double)seen * (double)d_head, FLOPS);
    }
}

static void bench_attention_scores(const char *name) {
    bench_attention(name, run_scores, false);
}
static void bench_attention_values(const char *name) {
    bench_attention(name, run_values, true);
}

/* --- rows that lie in L1 or L2 --- */

#define ROW_BENCH(name, statement)                                                                 \
    static void run_##name(const void *argument) {                                                 \
        const float *a = pool, *b = pool + 2 * ROW, *c = pool + 4 * ROW;                           \
        float *y = rows, *z = rows + ROW;                                                          \
        (void)argument, (void)a, (void)b, (void)c, (void)y, (void)z;                               \
        statement;                                                                                 \
    }                                                                                              \
    static void bench_##name(const char *label) {                                                  \
        measure(label, "a row of 4096", run_##name, NULL, ROW, ELEMENTS);                          \
    }

ROW_BENCH(softmax, kernels->softmax(y, a, ROW))
ROW_BENCH(ln_stats, kernels->ln_stats(y, z, a, ROW, 1e-5f))
ROW_BENCH(ln_normalize, kernels->ln_normalize(y, a, ROW, 0.1f, 0.9f))
ROW_BENCH(ln_affine, kernels->ln_affine(y, a, b, c, ROW))
ROW_BENCH(gelu, kernels->gelu(y, z, a, ROW))
ROW_BENCH(rotary, kernels->rotary(y, a, b, c, ROW / 64, 64, 16))
ROW_BENCH(add, kernels->add(y, a, b, ROW))
ROW_BENCH(add3, kernels->add3(y, a, b, c, ROW))
ROW_BENCH(sum_blocks, kernels->sum_blocks(y, a, ROW, 8, b, ROW))
ROW_BENCH(widen_f16, kernels->widen_f16(y, a, ROW))
ROW_BENCH(widen_bf16, kernels->widen_bf16(y, a, ROW))
ROW_BENCH(exp_f32, kernels->exp_f32(y, a, ROW))
ROW_BENCH(erf_f32, kernels->erf_f32(y, a, ROW))
ROW_BENCH(dot, kernels->dot(y, a, b, ROW))

static double doubles[2 * ROW];

ROW_BENCH(exp_f64, kernels->exp_f64(doubles + ROW, doubles, ROW))
ROW_BENCH(log_f64, kernels->log_f64(doubles + ROW, doubles, ROW))
ROW_BENCH(log_sum_exp, kernels->log_sum_exp(doubles + ROW, a, ROW))
ROW_BENCH(shares, kernels->shares(doubles, y, a, b, ROW, 0, 1.5f))

static void bench_all(const char *part) {
#define PSC_KERNEL(name, arguments)                                                                \
    if (strstr(#name, part)) bench_##name(#name);
#include "kernels.def"
#undef PSC_KERNEL
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "", *isa_name = argc > 2 ? argv[2] : "";
    size_t row_floats = (size_t)640 * (ROW + 16) + STREAM_BYTES / 64;
    void *memory[2] = {NULL, NULL};
    psc_fp_state state = psc_fp_enter();
    if (posix_memalign(&memory[0], 4096, STREAM_BYTES) != 0 ||
        posix_memalign(&memory[1], 4096, row_floats * sizeof(float)) != 0) {
        fprintf(stderr, "kernels: no memory\n");
        return 1;
    }
    pool = memory[0];
    rows = memory[1];
    /* 0.5 .. 1 in f32, and small positive numbers in both halves read as f16 or bf16. */
    for (size_t i = 0; i < STREAM_BYTES / 4; i++) {
        uint32_t bits = 0x3f003c00u | (uint32_t)(i * 2654435761u >> 16 & 0x7ffff & ~0xc000u);
        memcpy(&pool[i], &bits, sizeof bits);
    }
    for (size_t i = 0; i < row_floats; i++) rows[i] = (float)(i % 17) * 0.125f - 1.0f;
    for (size_t i = 0; i < 2 * ROW; i++) doubles[i] = (double)(i % 100) * 0.1 + 0.01;

    find_limits();
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        kernels = psc_kernels_for((psc_isa)isa);
        if (kernels && strstr(kernels->isa_name, isa_name)) bench_all(part);
    }
    free(memory[0]);
    free(memory[1]);
    psc_fp_leave(state);
    return 0;
}
