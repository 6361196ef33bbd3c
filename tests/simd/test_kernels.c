/* Every kernel of every ISA against the scalar reference, to the bit. The list kernels.def
 * generates one test per kernel, which calls case_<kernel>; a kernel without a case does not
 * compile. Outputs are filled with canaries and compared whole, so the test detects writes outside
 * and missing outputs. */
#include "kernel_test.h"

/* Data for both tables: inputs, outputs and a few numbers whose meaning depends on the kernel. */
typedef struct row_run {
    size_t n;
    const float *in[4];
    float *out[2];
    size_t extra[3];
} row_run;

typedef void (*row_runner)(const psc_kernels *k, const row_run *r);

typedef struct row_case {
    const char *name;
    row_runner run;
    int n_in, n_out;
    int in_place; /* out[0] may alias in[0] .. in[in_place-1] */
    size_t smallest;
    size_t in_scale; /* inputs hold in_scale * n floats */
} row_case;

static void run_row(const row_case *c, const psc_kernels *ref, const psc_kernels *isa, size_t n,
    fill kind, int place) {
    floats in[4], expected[2], got[2];
    size_t scale = c->in_scale ? c->in_scale : 1, offset = random_below(8);
    row_run r = {.n = n};
    for (int i = 0; i < c->n_in; i++) {
        in[i] = make_random(n * scale, random_below(8), kind);
        r.in[i] = in[i].data;
    }
    for (int i = 0; i < 3; i++) r.extra[i] = random_bits();
    for (int i = 0; i < 2; i++) {
        expected[i] = make_output(n > 64 ? n : 64, offset); /* sums and ids need room */
        got[i] = make_output(n > 64 ? n : 64, offset);
    }
    for (int t = 0; t < 2; t++) {
        floats *out = t == 0 ? expected : got;
        row_run each = r;
        for (int i = 0; i < c->n_out; i++) each.out[i] = out[i].data;
        if (place >= 0) {
            memcpy(out[0].data, in[place].data, n * sizeof(float));
            each.in[place] = out[0].data;
        }
        c->run(t == 0 ? ref : isa, &each);
    }
    for (int i = 0; i < 2; i++) expect_same(&expected[i], &got[i], c->name, n);
    for (int i = 0; i < c->n_in; i++) drop(&in[i]);
    for (int i = 0; i < 2; i++) {
        drop(&expected[i]);
        drop(&got[i]);
    }
}

/* Sizes 1 to two widths and one, and model sizes; every kind of number; in place and separate. */
static void check_row(const row_case *c, const psc_kernels *ref, const psc_kernels *isa) {
    static const size_t model_sizes[] = {
        40, 63, 64, 80, 100, 128, 255, 256, 257, 512, 768, 1000, 1024, 2048, 2049, 5120};
    size_t n_model = sizeof model_sizes / sizeof *model_sizes;
    for (size_t s = 0; s < 33 + n_model; s++) {
        size_t n = s < 33 ? s + 1 : model_sizes[s - 33];
        if (n < c->smallest) continue;
        int repeats = s < 33 ? 6 : 2;
        for (int kind = 0; kind < FILL_COUNT * repeats; kind++) {
            for (int place = -1; place < c->in_place; place++) {
                run_row(c, ref, isa, n, (fill)(kind % FILL_COUNT), place);
            }
        }
    }
}

/* A double as four exact floats, so that the float comparison can compare it. */
static void put_double(float *out, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 4; i++) {
        out[i] = isnan(value) ? NAN : (float)(bits >> (16 * i) & 0xffffu);
    }
}

#define ROW_RUNNER(name, statement)                                                                \
    static void run_##name(const psc_kernels *k, const row_run *r) {                               \
        statement;                                                                                 \
    }
#define ROW_CASE(name, ...)                                                                        \
    static void case_##name(const psc_kernels *ref, const psc_kernels *isa) {                      \
        static const row_case c = {#name, run_##name, __VA_ARGS__};                                \
        check_row(&c, ref, isa);                                                                   \
    }

ROW_RUNNER(softmax, k->softmax(r->out[0], r->in[0], r->n))

/* Rows that span the range of the short exp, a little more, and down to subnormal and zero exps. */
static void check_spans(const psc_kernels *ref, const psc_kernels *isa) {
    static const float spans[] = {85.9f, 86.0f, 86.1f, 88.0f, 103.0f, 104.0f, 200.0f};
    for (size_t n = 2; n < 140; n++) {
        for (size_t s = 0; s < sizeof spans / sizeof *spans; s++) {
            float top = (float)random_below(8);
            floats x = make_floats(n, random_below(8));
            floats expected = make_output(n, 0), got = make_output(n, 0);
            for (size_t i = 0; i < n; i++) {
                x.data[i] = top - spans[s] * (float)(random_bits() >> 8) * 0x1p-24f;
            }
            x.data[random_below(n)] = top - spans[s];
            x.data[random_below(n)] = top;
            ref->softmax(expected.data, x.data, n);
            isa->softmax(got.data, x.data, n);
            expect_same(&expected, &got, "softmax", n);
            drop(&x);
            drop(&expected);
            drop(&got);
        }
    }
}

static void case_softmax(const psc_kernels *ref, const psc_kernels *isa) {
    static const row_case c = {"softmax", run_softmax, .n_in = 1, .n_out = 1, .in_place = 1};
    check_row(&c, ref, isa);
    check_spans(ref, isa);
}

ROW_RUNNER(ln_stats, k->ln_stats(r->out[0], r->out[1], r->in[0], r->n, 1e-5f))
ROW_CASE(ln_stats, .n_in = 1, .n_out = 2)

ROW_RUNNER(ln_normalize, k->ln_normalize(r->out[0], r->in[0], r->n, r->in[1][0], r->in[2][0]))
ROW_CASE(ln_normalize, .n_in = 3, .n_out = 1, .in_place = 1)

ROW_RUNNER(ln_affine, k->ln_affine(r->out[0], r->in[0], r->in[1], r->in[2], r->n))
ROW_CASE(ln_affine, .n_in = 3, .n_out = 1, .in_place = 1)

ROW_RUNNER(gelu, k->gelu(r->out[0], r->extra[0] % 2 ? r->out[1] : NULL, r->in[0], r->n))
ROW_CASE(gelu, .n_in = 1, .n_out = 2, .in_place = 1)
ROW_RUNNER(gelu_tanh, k->gelu_tanh(r->out[0], r->extra[0] % 2 ? r->out[1] : NULL, r->in[0], r->n))
ROW_CASE(gelu_tanh, .n_in = 1, .n_out = 2, .in_place = 1)

ROW_RUNNER(softmax_backward, k->softmax_backward(r->out[0], r->in[1], r->in[0], r->n))
ROW_CASE(softmax_backward, .n_in = 2, .n_out = 1, .in_place = 1)
ROW_RUNNER(
    ln_backward, k->ln_backward(r->out[0], r->in[0], r->in[1], r->n, r->in[2][0], r->in[3][0]))
ROW_CASE(ln_backward, .n_in = 4, .n_out = 1, .in_place = 1)
ROW_RUNNER(gelu_backward, k->gelu_backward(r->out[0], r->in[0], r->in[1], r->n))
ROW_CASE(gelu_backward, .n_in = 2, .n_out = 1, .in_place = 1)
ROW_RUNNER(gelu_tanh_backward, k->gelu_tanh_backward(r->out[0], r->in[0], r->in[1], r->n))
ROW_CASE(gelu_tanh_backward, .n_in = 2, .n_out = 1, .in_place = 1)

ROW_RUNNER(add, k->add(r->out[0], r->in[0], r->in[1], r->n))
ROW_CASE(add, .n_in = 2, .n_out = 1, .in_place = 2)

ROW_RUNNER(add3, k->add3(r->out[0], r->in[0], r->in[1], r->in[2], r->n))
ROW_CASE(add3, .n_in = 3, .n_out = 1, .in_place = 3)

ROW_RUNNER(sum_blocks, k->sum_blocks(r->out[0], r->in[0], r->n + r->extra[1] % 2 * r->n,
                           1 + r->extra[2] % 3, r->extra[0] % 2 ? r->in[1] : NULL, r->n))
ROW_CASE(sum_blocks, .n_in = 2, .n_out = 1, .in_scale = 6)

ROW_RUNNER(widen_f16, k->widen_f16(r->out[0], (const char *)r->in[0] + r->extra[0] % 3, r->n))
ROW_CASE(widen_f16, .n_in = 1, .n_out = 1, .in_scale = 2)

ROW_RUNNER(widen_bf16, k->widen_bf16(r->out[0], (const char *)r->in[0] + r->extra[0] % 3, r->n))
ROW_CASE(widen_bf16, .n_in = 1, .n_out = 1, .in_scale = 2)

ROW_RUNNER(exp_f32, k->exp_f32(r->out[0], r->in[0], r->n))
ROW_CASE(exp_f32, .n_in = 1, .n_out = 1, .in_place = 1)

ROW_RUNNER(erf_f32, k->erf_f32(r->out[0], r->in[0], r->n))
ROW_CASE(erf_f32, .n_in = 1, .n_out = 1, .in_place = 1)
ROW_RUNNER(tanh_f32, k->tanh_f32(r->out[0], r->in[0], r->n))
ROW_CASE(tanh_f32, .n_in = 1, .n_out = 1, .in_place = 1)

ROW_RUNNER(dot, k->dot(r->out[0], r->in[0], r->in[1], r->n))
ROW_CASE(dot, .n_in = 2, .n_out = 1)

static void run_log_sum_exp(const psc_kernels *k, const row_run *r) {
    double result;
    k->log_sum_exp(&result, r->in[0], r->n);
    put_double(r->out[0], result);
}
ROW_CASE(log_sum_exp, .n_in = 1, .n_out = 1)

/* Sums that continue from given sums, at every lane. */
static void run_shares(const psc_kernels *k, const row_run *r) {
    double sums[32];
    for (int l = 0; l < 32; l++) sums[l] = (double)r->in[2][0] * l;
    k->shares(sums, r->out[0], r->in[0], r->extra[0] % 3 ? r->in[1] : NULL, r->n,
        (size_t)r->extra[1] % 37, r->in[2][0]);
    double total = 0.0;
    for (int l = 0; l < 32; l++) total += sums[l] * (l + 1);
    put_double(r->out[1], total);
}
ROW_CASE(shares, .n_in = 3, .n_out = 2, .in_place = 1)

#include "vocabulary_cases.h"
#include "products_cases.h"
#include "moments_cases.h"
#include "edges_cases.h"
#include "statistics_cases.h"
#include "firing_cases.h"

/* n is d_head; heads 1..3; n_rot even, 0..d_head. */
static void check_rotary(
    const psc_kernels *ref, const psc_kernels *isa, size_t d_head, size_t n_rot, fill kind) {
    size_t heads = 1 + random_below(3), n = heads * d_head, offset = random_below(8);
    floats x = make_random(n, random_below(8), kind);
    floats cosines = make_random(n_rot / 2, random_below(8), kind);
    floats sines = make_random(n_rot / 2, random_below(8), kind);
    for (int place = 0; place < 2; place++) {
        floats expected = make_output(n, offset), got = make_output(n, offset);
        if (place) memcpy(expected.data, x.data, n * sizeof(float));
        if (place) memcpy(got.data, x.data, n * sizeof(float));
        ref->rotary(expected.data, place ? expected.data : x.data, cosines.data, sines.data, heads,
            d_head, n_rot);
        isa->rotary(
            got.data, place ? got.data : x.data, cosines.data, sines.data, heads, d_head, n_rot);
        expect_same(&expected, &got, "rotary", d_head);
        drop(&expected);
        drop(&got);
    }
    drop(&x);
    drop(&cosines);
    drop(&sines);
}

static void case_rotary(const psc_kernels *ref, const psc_kernels *isa) {
    for (size_t d_head = 1; d_head <= 128; d_head += d_head < 34 ? 1 : 13) {
        for (size_t n_rot = 0; n_rot <= d_head; n_rot += 2) {
            for (int kind = 0; kind < FILL_COUNT; kind++) {
                check_rotary(ref, isa, d_head, n_rot, (fill)kind);
            }
        }
    }
}

/* Doubles: any bits, and numbers in the range of softmax and log-sum-exp. */
static void check_f64(psc_exp_f64_fn ref, psc_exp_f64_fn isa, const char *name) {
    double x[40], expected[42], got[42];
    for (int round = 0; round < 4000; round++) {
        size_t n = 1 + random_below(33), at = random_below(6);
        for (size_t i = 0; i < 40; i++) {
            uint64_t bits = (uint64_t)random_bits() << 32 | random_bits();
            memcpy(&x[i], &bits, sizeof bits);
            if (round % 2) x[i] = (double)random_value((fill)random_below(FILL_COUNT));
            if (round % 4 == 3) x[i] = fabs(x[i]);
        }
        for (size_t i = 0; i < 42; i++) expected[i] = got[i] = 12345.0;
        ref(expected + 1, x + at, n);
        if (round % 3 == 0) {
            memcpy(got + 1, x + at, n * sizeof(double));
            isa(got + 1, got + 1, n);
        } else {
            isa(got + 1, x + at, n);
        }
        for (size_t i = 0; i < 42; i++) {
            CHECK(same_double(expected[i], got[i]), "%s, size %zu, output %zd: %a, not %a", name, n,
                (ptrdiff_t)i - 1, got[i], expected[i]);
        }
    }
}

static void case_exp_f64(const psc_kernels *ref, const psc_kernels *isa) {
    check_f64(ref->exp_f64, isa->exp_f64, "exp_f64");
}

static void case_log_f64(const psc_kernels *ref, const psc_kernels *isa) {
    check_f64(ref->log_f64, isa->log_f64, "log_f64");
}

typedef struct shape {
    size_t rows, k, out, k_block;
} shape;

static void check_matmul(
    const psc_kernels *ref, const psc_kernels *isa, psc_dtype dtype, shape s, fill kind) {
    size_t n_blocks = (s.k + s.k_block - 1) / s.k_block, offset = random_below(8);
    size_t ldx = s.k + random_below(3), ldy = s.out + random_below(3);
    size_t n_panels = (s.out + 15) / 16, begin = random_below(n_panels);
    void *w = make_weights(s.out * s.k, dtype, kind);
    void *panels = make_panels(w, dtype, s.out, s.k);
    floats x = make_random((s.rows - 1) * ldx + s.k, random_below(8), kind);
    floats bias = make_random(s.out, random_below(8), kind);
    floats y[2], blocks[2];
    unsigned variant = random_bits() % 8;
    psc_matmul m = {.ldy = ldy,
        .x = x.data,
        .ldx = ldx,
        .w = panels,
        .rows = s.rows,
        .k = s.k,
        .k_block = s.k_block,
        .out = s.out,
        .panel_end = n_panels};
    m.bias = variant & 1 ? bias.data : NULL;
    m.ld_block = s.out + random_below(3);
    m.ld_row = n_blocks * m.ld_block;
    if (variant & 4) {
        m.panel_begin = begin;
        m.panel_end = begin + 1 + random_below(n_panels - begin);
    }
    for (int t = 0; t < 2; t++) {
        y[t] = make_output(s.rows * ldy, offset);
        blocks[t] = make_output(s.rows * m.ld_row, offset);
        m.blocks = variant & 2 ? blocks[t].data : NULL;
        m.y = (variant & 3) == 2 ? NULL : y[t].data;
        (t == 0 ? ref : isa)->matmul[dtype](&m);
    }
    expect_same(&y[0], &y[1], "matmul", s.rows * 1000 + s.out);
    expect_same(&blocks[0], &blocks[1], "matmul blocks", s.rows * 1000 + s.out);
    for (int t = 0; t < 2; t++) {
        drop(&y[t]);
        drop(&blocks[t]);
    }
    drop(&x);
    drop(&bias);
    free(panels);
    free(w);
}

static void matmul_case(const psc_kernels *ref, const psc_kernels *isa, psc_dtype dtype) {
    static const size_t ks[] = {1, 2, 7, 16, 64, 127, 128, 129, 256, 300, 640};
    static const shape model_shapes[] = {{1, 512, 2048, PSC_K_BLOCK}, {2, 512, 512, 64},
        {3, 128, 1000, PSC_K_BLOCK}, {4, 2048, 512, PSC_K_BLOCK}, {6, 768, 384, 96},
        {7, 1024, 100, 320}, {20, 512, 512, 64}, {200, 300, 40, 256}, {385, 128, 20, 128},
        {20, 1000, 100, 500}, {30, 900, 300, PSC_K_BLOCK}, {50, 1100, 90, 100},
        {60, 2200, 70, PSC_K_BLOCK}, {100, 1300, 60, 100}, {10, 1500, 40, 1100}};
    /* Few rows in every combination of tiles, then the heights of tiles of many rows. */
    static const size_t all_rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 19, 24, 25, 31,
        PSC_FEW_ROWS, PSC_FEW_ROWS + 1, PSC_FEW_ROWS + 2, PSC_FEW_ROWS + 3, PSC_FEW_ROWS + 4,
        PSC_FEW_ROWS + 5, PSC_FEW_ROWS + 6, PSC_FEW_ROWS + 7, PSC_FEW_ROWS + 8, 49};
    int kind = 0;
    for (size_t i = 0; i < sizeof all_rows / sizeof *all_rows; i++) {
        const size_t rows = all_rows[i];
        for (size_t out = 1; out <= 33; out++) {
            shape s = {rows, ks[random_below(11)], out, random_below(2) ? PSC_K_BLOCK : 16};
            check_matmul(ref, isa, dtype, s, (fill)(kind++ % FILL_COUNT));
        }
        for (size_t out = 49; out < 300; out += 41) {
            shape s = {rows, ks[random_below(11)], out, random_below(2) ? PSC_K_BLOCK : 100};
            check_matmul(ref, isa, dtype, s, (fill)(kind++ % FILL_COUNT));
        }
    }
    for (size_t i = 0; i < sizeof model_shapes / sizeof *model_shapes; i++) {
        check_matmul(ref, isa, dtype, model_shapes[i], FILL_NORMAL);
        check_matmul(ref, isa, dtype, model_shapes[i], FILL_WIDE);
    }
}

static void check_pullback(
    const psc_kernels *ref, const psc_kernels *isa, psc_dtype dtype, shape s, fill kind) {
    size_t offset = random_below(8), ldu = s.out + random_below(3), ldy = s.k + random_below(3);
    void *w = make_weights(s.out * s.k, dtype, kind);
    void *panels = make_panels(w, dtype, s.out, s.k);
    floats u = make_random((s.rows - 1) * ldu + s.out, random_below(8), kind);
    floats y[2];
    psc_pullback p = {.ldy = ldy,
        .u = u.data,
        .ldu = ldu,
        .w = panels,
        .rows = s.rows,
        .k = s.k,
        .out = s.out,
        .k_end = s.k};
    if (random_below(2)) {
        p.k_begin = random_below(s.k);
        p.k_end = p.k_begin + 1 + random_below(s.k - p.k_begin);
    }
    floats split = {0};
    if (s.rows >= PSC_SPLIT_ROWS && random_below(4)) {
        p.ld_split = (s.out + 15) / 16 * 16 + random_below(3);
        split = make_output(s.rows * p.ld_split, random_below(8));
        for (size_t r = 0; r < s.rows; r++)
            ref->split_lanes(split.data + r * p.ld_split, u.data + r * ldu, s.out);
        p.split = split.data;
    }
    for (int t = 0; t < 2; t++) {
        y[t] = make_output(s.rows * ldy, offset);
        p.y = y[t].data;
        (t == 0 ? ref : isa)->pullback[dtype](&p);
    }
    expect_same(&y[0], &y[1], "pullback", s.rows * 1000 + s.out);
    drop(&split);
    drop(&y[0]);
    drop(&y[1]);
    drop(&u);
    free(panels);
    free(w);
}

static void pullback_case(const psc_kernels *ref, const psc_kernels *isa, psc_dtype dtype) {
    static const shape model_shapes[] = {{1, 512, 2048, 0}, {2, 300, 512, 0}, {5, 128, 1000, 0},
        {13, 256, 512, 0}, {30, 96, 400, 0}, {40, 70, 2048, 0}, {29, 50, 2049, 0},
        {33, 49, 4096, 0}, {28, 20, 4100, 0}, {28, 20, 9000, 0}, {70, 100, 300, 0}, {60, 49, 64, 0},
        {25, 200, 80, 0}, {9, 33, 256, 0}, {51, 65, 257, 0}};
    int kind = 0;
    for (size_t rows = 1; rows <= 14; rows++) {
        for (size_t out = 1; out <= 33; out++) {
            shape s = {rows, 1 + random_below(out % 2 ? 40 : 300), out, 0};
            check_pullback(ref, isa, dtype, s, (fill)(kind++ % FILL_COUNT));
        }
        for (size_t k = 1; k <= 33; k++) {
            shape s = {rows, k, 1 + random_below(300), 0};
            check_pullback(ref, isa, dtype, s, (fill)(kind++ % FILL_COUNT));
        }
    }
    for (size_t rows = PSC_SPLIT_ROWS - 2; rows < 60; rows++) {
        shape s = {rows, 1 + random_below(150), 1 + random_below(300), 0};
        check_pullback(ref, isa, dtype, s, (fill)(kind++ % FILL_COUNT));
    }
    for (size_t i = 0; i < sizeof model_shapes / sizeof *model_shapes; i++) {
        check_pullback(ref, isa, dtype, model_shapes[i], FILL_NORMAL);
        check_pullback(ref, isa, dtype, model_shapes[i], FILL_WIDE);
    }
}

static void case_split_lanes(const psc_kernels *ref, const psc_kernels *isa) {
    for (size_t out = 1; out <= 600; out += out < 300 ? 1 : 37) {
        const size_t floats_out = (out + 15) / 16 * 16;
        floats u = make_random(out, random_below(8), (fill)(out % FILL_COUNT));
        floats expected = make_output(floats_out, 0), got = make_output(floats_out, 0);
        ref->split_lanes(expected.data, u.data, out);
        isa->split_lanes(got.data, u.data, out);
        expect_same(&expected, &got, "split_lanes", out);
        drop(&u);
        drop(&expected);
        drop(&got);
    }
}

#define MATRIX_CASES(suffix, dtype)                                                                \
    static void case_matmul_##suffix(const psc_kernels *ref, const psc_kernels *isa) {             \
        matmul_case(ref, isa, dtype);                                                              \
    }                                                                                              \
    static void case_pullback_##suffix(const psc_kernels *ref, const psc_kernels *isa) {           \
        pullback_case(ref, isa, dtype);                                                            \
    }
MATRIX_CASES(f32, PSC_DTYPE_F32)
MATRIX_CASES(f16, PSC_DTYPE_F16)
MATRIX_CASES(bf16, PSC_DTYPE_BF16)

#include "attention_cases.h"

/* Calls one kernel's case for every ISA of this machine, including the reference against itself:
 * that detects a kernel whose result depends on the addresses of its buffers. */
static void for_each_isa(void (*run)(const psc_kernels *, const psc_kernels *)) {
    psc_fp_state state = psc_fp_enter();
    const psc_kernels *reference = psc_kernels_for(PSC_ISA_REFERENCE);
    cr_assert_not_null(reference);
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        const psc_kernels *kernels = psc_kernels_for((psc_isa)isa);
        if (kernels) run(reference, kernels);
    }
    psc_fp_leave(state);
}

#define PSC_KERNEL(name, arguments)                                                                \
    Test(kernels, name) {                                                                          \
        for_each_isa(case_##name);                                                                 \
    }
#include "kernels.def"
#undef PSC_KERNEL

Test(kernels, tables_are_full) {
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        const psc_kernels *k = psc_kernels_for((psc_isa)isa);
        cr_assert_eq(k != NULL, (psc_isa_mask() >> isa & 1) != 0);
        if (!k) continue;
        cr_assert_eq((int)k->isa, isa);
        cr_assert_str_eq(k->isa_name, psc_isa_name((psc_isa)isa));
#define PSC_KERNEL(name, arguments) cr_assert(k->name != NULL, #name);
#include "kernels.def"
#undef PSC_KERNEL
        for (int dtype = 0; dtype < 3; dtype++) {
            cr_assert(k->matmul[dtype] != NULL && k->pullback[dtype] != NULL);
            cr_assert_gt(k->matmul_group, 0);
        }
    }
    cr_assert_null(psc_kernels_for(PSC_ISA_COUNT));
    cr_assert_null(psc_isa_name(PSC_ISA_COUNT));
    cr_assert_eq(psc_isa_best(1u << PSC_ISA_REFERENCE), PSC_ISA_REFERENCE);
    cr_assert_eq(psc_isa_best(1u << PSC_ISA_REFERENCE | 1u << PSC_ISA_AVX2), PSC_ISA_AVX2);
}
