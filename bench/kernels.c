/* One line per kernel, shape and ISA: GFLOP/s, GB/s or G elements/s, the median of many short runs,
 * their spread (half the interquartile range) and the best. Also the machine's limit: fused
 * multiply-adds in registers, or reading memory. The limit is measured again before every run and
 * the share is the median over the pairs, so that other load on the core or memory slows both.
 * kernels.def makes the calls; a kernel without a bench does not compile.
 *
 *      kernels [part of a kernel's name [isa]] [--threads N] [--shapes own|models|all]
 *
 * With --threads, every thread runs the kernel on its own data at the same time, likewise the
 * limit's loop, and rates are summed: read bandwidth and shared caches show only on all cores. */
#include "arena.h"
#include "kernels.h"
#include "spin_fma.h"
#include "options.h"

#include <math.h>
#include <omp.h>
#include <time.h>

#define SAMPLES 41
#define SPIN_ROUNDS 4000
#define SAMPLE_SECONDS 0.003
/* Bytes of all threads; larger than the last-level cache, so that one-row kernels read memory. */
#define STREAM_BYTES ((size_t)192 << 20)
#define ROW 4096
/* 512 rows of 4 * 1024 + 16 in and as many out. */
#define ROW_FLOATS ((size_t)3 * 512 * (ROW + 16))

typedef enum unit { FLOPS, STREAMED_BYTES, ELEMENTS } unit;

/* The data that a thread reads and writes. */
typedef struct lane {
    float *pool;     /* pool_bytes of small numbers */
    float *rows;     /* ROW_FLOATS */
    double *doubles; /* [2 * ROW] */
} lane;

static const psc_kernels *kernels; /* the ISA being measured */
static int n_threads = 1;
static lane *lanes; /* [n_threads] */
static size_t pool_bytes;
/* The limits' loops. */
static psc_isa peak_isa;
static double spin_work;
static size_t best_streams = 1;

/* This thread's own CPU time, which excludes other processes on the core. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef void (*body)(const lane *own, const void *argument);

/* The number of calls of run that take about SAMPLE_SECONDS. */
static size_t calls_per_sample(body run, const void *argument) {
    run(lanes, argument);
    double start = now();
    run(lanes, argument);
    double once = now() - start;
    return once > SAMPLE_SECONDS ? 1 : (size_t)(SAMPLE_SECONDS / (once + 1e-9)) + 1;
}

/* The threads' rates, summed; all threads start together. */
static double rate(body run, const void *argument, double work, size_t calls) {
    double sum = 0.0;
#pragma omp parallel num_threads(n_threads) reduction(+ : sum)
    {
        const lane *own = &lanes[omp_get_thread_num()];
        psc_fp_state state = psc_fp_enter();
#pragma omp barrier
        double start = now();
        for (size_t i = 0; i < calls; i++) run(own, argument);
        sum += work * (double)calls / (now() - start);
        psc_fp_leave(state);
    }
    return sum;
}

/* --- the machine's own limits --- */

static void spin(const lane *own, const void *argument) {
    psc_spin_fma(own->rows, *(const psc_isa *)argument, SPIN_ROUNDS);
}

/* Reads the pool in *argument parallel streams. */
static void read_memory(const lane *own, const void *argument) {
    size_t streams = *(const size_t *)argument;
    const uint64_t *words = (const uint64_t *)(const void *)own->pool;
    size_t length = pool_bytes / 8 / streams;
    uint64_t sums[8] = {0};
    for (size_t i = 0; i + 8 <= length; i += 8) {
        for (size_t s = 0; s < streams; s++) {
            for (size_t j = 0; j < 8; j++) sums[j] += words[s * length + i + j];
        }
    }
    for (int j = 1; j < 8; j++) sums[0] += sums[j];
    own->rows[0] = (float)(sums[0] % 97);
}

/* The present rate of the limit's own loop. */
static double limit_now(unit u) {
    if (u == FLOPS) return rate(spin, &peak_isa, spin_work, 4);
    return rate(read_memory, &best_streams, (double)pool_bytes, 1);
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
            double r = rate(read_memory, &streams, (double)pool_bytes, 1);
            if (r <= best[1]) continue;
            best[1] = r;
            best_streams = streams;
        }
    }
    printf(
        "limits of %d thread%s: %.1f GFLOP/s of fused multiply-adds, %.1f GB/s read from memory\n",
        n_threads, n_threads == 1 ? "" : "s", best[0] * 1e-9, best[1] * 1e-9);
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

static void run_matmul(const lane *own, const void *argument) {
    const matrix_run *r = argument;
    psc_matmul m = r->m;
    m.x = own->rows;
    m.y = own->rows + m.rows * m.ldx;
    m.w = own->pool;
    kernels->matmul[r->dtype](&m);
}

static void run_pullback(const lane *own, const void *argument) {
    const matrix_run *r = argument;
    psc_pullback p = r->p;
    p.u = own->rows;
    p.y = own->rows + p.rows * p.ldu;
    p.w = own->pool;
    if (p.rows >= PSC_SPLIT_ROWS) {
        float *split = p.y + p.rows * p.ldy;
        p.split = split;
        p.ld_split = p.ldu;
        for (size_t row = 0; row < p.rows; row++)
            kernels->split_lanes(split + row * p.ld_split, p.u + row * p.ldu, p.out);
    }
    kernels->pullback[r->dtype](&p);
}

typedef struct matrix_shape {
    size_t rows, k, out; /* out 0: as large as one thread's pool, so weights come from memory */
} matrix_shape;

static void bench_shape(const char *name, psc_dtype dtype, bool pull, matrix_shape s) {
    size_t size = psc_dtype_size(dtype);
    bool streamed = s.out == 0;
    if (kernels->isa == PSC_ISA_REFERENCE && s.rows > 8) return;
    if (streamed) s.out = kernels->isa == PSC_ISA_REFERENCE ? 1024 : pool_bytes / size / s.k;
    matrix_run r = {.dtype = dtype};
    r.m = (psc_matmul){.ldy = s.out + 16,
        .ldx = s.k + 16,
        .rows = s.rows,
        .k = s.k,
        .k_block = PSC_K_BLOCK,
        .out = s.out,
        .panel_end = s.out / PSC_LANES};
    r.p = (psc_pullback){
        .ldy = s.k + 16, .ldu = s.out + 16, .rows = s.rows, .k = s.k, .out = s.out, .k_end = s.k};
    char shape[64];
    snprintf(shape, sizeof shape, "%zu x %zu x %zu", s.rows, s.k, s.out);
    double elements = (double)s.out * (double)s.k;
    double work = streamed ? elements * (double)size : 2.0 * elements * (double)s.rows;
    measure(
        name, shape, pull ? run_pullback : run_matmul, &r, work, streamed ? STREAMED_BYTES : FLOPS);
}

/* Few rows against a matrix larger than the caches (in bytes read), then more (in operations). */
static const matrix_shape own_shapes[] = {{1, 2048, 0}, {2, 2048, 0}, {4, 2048, 0}, {5, 2048, 1024},
    {8, 2048, 1024}, {10, 2048, 1024}, {16, 2048, 1024}, {24, 2048, 1024}, {32, 2048, 1024},
    {256, 2048, 1024}};
/* The shapes of pythia-160m and 410m: W_Q, W_K, W_V or W_O; W_in; W_out. */
static const matrix_shape model_shapes[] = {{128, 768, 768}, {128, 768, 3072}, {128, 3072, 768},
    {128, 1024, 1024}, {128, 1024, 4096}, {128, 4096, 1024}, {512, 768, 768}, {512, 768, 3072},
    {512, 3072, 768}, {512, 1024, 1024}, {512, 1024, 4096}, {512, 4096, 1024}};
static bool with_own = true, with_models;

static void bench_matrix(const char *name, psc_dtype dtype, bool pull) {
    for (size_t i = 0; with_own && i < sizeof own_shapes / sizeof *own_shapes; i++)
        bench_shape(name, dtype, pull, own_shapes[i]);
    for (size_t i = 0; with_models && i < sizeof model_shapes / sizeof *model_shapes; i++)
        bench_shape(name, dtype, pull, model_shapes[i]);
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

static psc_attention attention_of(const lane *own, const void *argument) {
    psc_attention a = *(const psc_attention *)argument;
    a.x = own->rows;
    a.y = own->rows + 256 * 2048;
    a.cache = own->pool;
    return a;
}

static void run_scores(const lane *own, const void *argument) {
    psc_attention a = attention_of(own, argument);
    kernels->attention_scores(&a);
}

static void run_values(const lane *own, const void *argument) {
    psc_attention a = attention_of(own, argument);
    kernels->attention_values(&a);
}

static void bench_attention(const char *name, body run, bool values) {
    static int32_t n_keys[256];
    for (size_t n = 1; n <= 256; n *= 256) {
        size_t d_head = 64, keys = 1024, seen = 0;
        for (size_t r = 0; r < n; r++) {
            n_keys[r] = (int32_t)(keys - n + r + 1);
            seen += (size_t)n_keys[r];
        }
        psc_attention a = {.ldy = values ? d_head : keys + 16,
            .ldx = values ? keys + 16 : d_head,
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

/* --- rows in L1 or L2 --- */

#define ROW_BENCH(name, statement)                                                                 \
    static void run_##name(const lane *own, const void *argument) {                                \
        const float *a = own->pool, *b = a + 2 * ROW, *c = a + 4 * ROW;                            \
        float *y = own->rows, *z = y + ROW;                                                        \
        double *doubles = own->doubles;                                                            \
        (void)argument, (void)a, (void)b, (void)c, (void)y, (void)z, (void)doubles;                \
        statement;                                                                                 \
    }                                                                                              \
    static void bench_##name(const char *label) {                                                  \
        measure(label, "a row of 4096", run_##name, NULL, ROW, ELEMENTS);                          \
    }

ROW_BENCH(split_lanes, kernels->split_lanes(y, a, ROW))
ROW_BENCH(softmax, kernels->softmax(y, a, ROW))
ROW_BENCH(ln_stats, kernels->ln_stats(y, z, a, ROW, 1e-5f))
ROW_BENCH(ln_normalize, kernels->ln_normalize(y, a, ROW, 0.1f, 0.9f))
ROW_BENCH(ln_affine, kernels->ln_affine(y, a, b, c, ROW))
ROW_BENCH(gelu, kernels->gelu(y, z, a, ROW))
ROW_BENCH(gelu_tanh, kernels->gelu_tanh(y, z, a, ROW))
ROW_BENCH(softmax_backward, kernels->softmax_backward(y, z, a, ROW))
ROW_BENCH(ln_backward, kernels->ln_backward(y, a, z, ROW, 0.9f, 0.1f))
ROW_BENCH(gelu_backward, kernels->gelu_backward(y, z, a, ROW))
ROW_BENCH(gelu_tanh_backward, kernels->gelu_tanh_backward(y, z, a, ROW))
ROW_BENCH(rotary, kernels->rotary(y, a, b, c, ROW / 64, 64, 16))
ROW_BENCH(add, kernels->add(y, a, b, ROW))
ROW_BENCH(add3, kernels->add3(y, a, b, c, ROW))
ROW_BENCH(sum_blocks, kernels->sum_blocks(y, a, ROW, 8, b, ROW))
ROW_BENCH(widen_f16, kernels->widen_f16(y, a, ROW))
ROW_BENCH(widen_bf16, kernels->widen_bf16(y, a, ROW))
ROW_BENCH(exp_f32, kernels->exp_f32(y, a, ROW))
ROW_BENCH(erf_f32, kernels->erf_f32(y, a, ROW))
ROW_BENCH(tanh_f32, kernels->tanh_f32(y, a, ROW))
ROW_BENCH(dot, kernels->dot(y, a, b, ROW))

ROW_BENCH(exp_f64, kernels->exp_f64(doubles + ROW, doubles, ROW))
ROW_BENCH(log_f64, kernels->log_f64(doubles + ROW, doubles, ROW))
ROW_BENCH(log_sum_exp, kernels->log_sum_exp(doubles + ROW, a, ROW))
ROW_BENCH(shares, kernels->shares(doubles, y, a, b, ROW, 0, 1.5f))

static const double change[6] = {-1.0, 0.25, 0.1, 0.2, 1.0, 0.0};
ROW_BENCH(exp_row, kernels->exp_row(y, doubles, a, 1.0f, ROW))
ROW_BENCH(weigh, kernels->weigh(doubles, doubles + ROW, a, 1.0f, 0.7, ROW))
ROW_BENCH(
    weigh_both, kernels->weigh_both(doubles, doubles + ROW / 2, doubles + ROW, a, 1.0f, 1.4, ROW))
ROW_BENCH(
    masked_sums, kernels->masked_sums(doubles, a, 0.7f, doubles, doubles + ROW - 16, 1.0, 1.0, ROW))
ROW_BENCH(divergence_sums, kernels->divergence_sums(doubles, a, 1.0f, b, c, ROW))
ROW_BENCH(change_moments, kernels->change_moments(doubles, a, b, 0.0, c, ROW))
ROW_BENCH(change_sums, kernels->change_sums(doubles, a, b, c, change, ROW))
ROW_BENCH(add_writes, kernels->add_writes(doubles, y, z, a, b, c, 1e-30, ROW))
ROW_BENCH(group_maxima, kernels->group_maxima(y, a, ROW))
ROW_BENCH(indices_within,
    kernels->indices_within((int32_t *)(void *)y, (size_t *)(void *)z, a, ROW, 0.99f, INFINITY))
ROW_BENCH(count_from, kernels->count_from((int64_t *)(void *)doubles, a, ROW, 0.75f))

/* An operation of doubles counts as two of floats. */
static void run_add_products(const lane *own, const void *argument) {
    (void)argument;
    kernels->add_products(own->doubles + ROW, 16, own->doubles, own->doubles + 2048, 128);
}
static void bench_add_products(const char *label) {
    measure(label, "16 x 16 over 128", run_add_products, NULL, 4.0 * 128 * 16 * 16, FLOPS);
}

ROW_BENCH(add_moments, kernels->add_moments(doubles, doubles + 256, doubles + 512, doubles + 768, a,
                           256, ROW / 256, 256))

/* Four rows and 256 keys of 64 dimensions. */
static void run_panel_dots(const lane *own, const void *argument) {
    const float *const rows[4] = {own->pool, own->pool + 64, own->pool + 128, own->pool + 192};
    (void)argument;
    kernels->panel_dots(own->rows, 256, rows, own->pool + ROW, 4, 64, 16);
}
static void bench_panel_dots(const char *label) {
    measure(label, "4 rows, 256 keys, d 64", run_panel_dots, NULL, 2.0 * 4 * 256 * 64, FLOPS);
}

/* An operation of doubles counts as two of floats. */
static void run_gram_squares(const lane *own, const void *argument) {
    (void)argument;
    kernels->gram_squares(own->doubles + ROW + 2048, own->doubles, own->doubles + ROW, 64);
}
static void bench_gram_squares(const char *label) {
    measure(label, "16 vectors, d 64", run_gram_squares, NULL, 2.0 * 64 * 65 * 16, FLOPS);
}

ROW_BENCH(edge_sums,
    kernels->edge_sums(doubles, (int32_t *)(void *)y, (size_t *)(void *)z, a, b, b, 0.99, ROW))

/* The inputs of a layer's heads: 48 receivers of 200 senders, N 1024, half of the edges. */
enum { SUBSET_ROWS = 48, SUBSET_SENDERS = 200, SUBSET_WIDTH = 1024, SUBSET_STRIDE = 1040 };
static void run_subset_sums(const lane *own, const void *argument) {
    static uint8_t sets[SUBSET_ROWS][(SUBSET_SENDERS / PSC_SUBSET_TERMS + 3) / 4 * 4];
    (void)argument;
    for (size_t i = 0; i < sizeof sets; i++) {
        const size_t group = i % sizeof *sets;
        if (group < SUBSET_SENDERS / PSC_SUBSET_TERMS)
            sets[i / sizeof *sets][group] = (i * 2654435761u >> 13) % 16;
    }
    const psc_subsets s = {own->rows, SUBSET_STRIDE, *sets, sizeof *sets, own->pool, SUBSET_STRIDE,
        SUBSET_SENDERS, SUBSET_ROWS, SUBSET_WIDTH};
    kernels->subset_sums(&s);
}
static void bench_subset_sums(const char *label) {
    measure(label, "48 rows of 100 of 200 terms", run_subset_sums, NULL,
        (double)SUBSET_ROWS * SUBSET_SENDERS / 2 * SUBSET_WIDTH, FLOPS);
}

ROW_BENCH(
    count_columns, kernels->count_columns((int32_t *)(void *)doubles, 512, a, 512, 8, 512, b, 10))
ROW_BENCH(bin_columns,
    kernels->bin_columns((int32_t *)(void *)doubles, a, 128, ROW / 128, 128, 2.0f, 16.0f, 32))
ROW_BENCH(weight_sums, kernels->weight_sums(doubles + ROW, doubles, a, ROW))
ROW_BENCH(pattern_sums, kernels->pattern_sums(doubles, a, ROW))
ROW_BENCH(column_sizes, kernels->column_sizes(doubles, a, 256, ROW / 256, 256))
ROW_BENCH(
    reach_limits, kernels->reach_limits((int32_t *)(void *)y, (size_t *)(void *)doubles, a, z, ROW))

static void bench_all(const char *part) {
#define PSC_KERNEL(name, arguments)                                                                \
    if (strstr(#name, part)) bench_##name(#name);
#include "kernels.def"
#undef PSC_KERNEL
}

/* Each thread fills its own data, so that NUMA systems place it near the thread's core. */
static void fill(lane *own) {
    /* 0.5 .. 1 in f32, and small positive numbers in both halves read as f16 or bf16. */
    for (size_t i = 0; i < pool_bytes / 4; i++) {
        uint32_t bits = 0x3f003c00u | (uint32_t)(i * 2654435761u >> 16 & 0x7ffff & ~0xc000u);
        memcpy(&own->pool[i], &bits, sizeof bits);
    }
    for (size_t i = 0; i < ROW_FLOATS; i++) own->rows[i] = (float)(i % 17) * 0.125f - 1.0f;
    for (size_t i = 0; i < 2 * ROW; i++) own->doubles[i] = (double)(i % 100) * 0.1 + 0.01;
}

static void make_lanes(void) {
    bool made = true;
    pool_bytes = STREAM_BYTES / (size_t)n_threads / 4096 * 4096;
    lanes = calloc((size_t)n_threads, sizeof *lanes);
    for (int t = 0; lanes && t < n_threads; t++) {
        lanes[t].pool = psc_aligned_alloc(pool_bytes);
        lanes[t].rows = psc_aligned_alloc(ROW_FLOATS * sizeof(float));
        lanes[t].doubles = psc_aligned_alloc(2 * ROW * sizeof(double));
        made = made && lanes[t].pool && lanes[t].rows && lanes[t].doubles;
    }
    if (!lanes || !made) {
        fprintf(stderr, "kernels: out of memory\n");
        exit(1);
    }
#pragma omp parallel num_threads(n_threads)
    fill(&lanes[omp_get_thread_num()]);
}

static void free_lanes(void) {
    for (int t = 0; t < n_threads; t++) {
        psc_aligned_free(lanes[t].pool);
        psc_aligned_free(lanes[t].rows);
        psc_aligned_free(lanes[t].doubles);
    }
    free(lanes);
}

int main(int argc, char **argv) {
    const char *usage = "bench_kernels [part of a kernel's name [isa]] [options]";
    const char *words[2] = {"", ""}, *shapes = "own";
    const bench_option options[] = {
        {.name = "--threads", .value = "N", .number = &n_threads, .least = 1, .help = "default: 1"},
        {.name = "--shapes",
            .value = "WHICH",
            .text = &shapes,
            .help = "matrices: own, models (pythia-160m's and 410m's) or all; default: own"},
    };
    bench_options(argc, argv, usage, options, 2, words, 2);
    with_own = strcmp(shapes, "models") != 0;
    with_models = strcmp(shapes, "own") != 0;
    if (with_own && with_models && strcmp(shapes, "all") != 0) bench_refuse(usage, shapes);
    omp_set_dynamic(0);
    make_lanes();
    find_limits();
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        kernels = psc_kernels_for((psc_isa)isa);
        if (kernels && strstr(kernels->isa_name, words[1])) bench_all(words[0]);
    }
    free_lanes();
    return 0;
}
