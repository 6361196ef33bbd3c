/* The scalar reference itself, and packing. Compared with float64 sums, within the rounding of a
 * chain of n terms, and with order-defined scalar code on unpacked data, to the bit. So the
 * reference is not only consistent with itself. */
#include "kernel_test.h"

#include <float.h>

static const psc_kernels *reference(void) {
    const psc_kernels *k = psc_kernels_for(PSC_ISA_REFERENCE);
    cr_assert_not_null(k);
    return k;
}

static void expect_near(double got, double expected, double tolerance, const char *what) {
    CHECK(fabs(got - expected) <= tolerance, "%s: %.9g, not %.9g", what, got, expected);
}

/* Lanes +8, +4, +2, +1. */
static float fold(float lanes[16]) {
    for (int half = 8; half; half /= 2) {
        for (int i = 0; i < half; i++) lanes[i] = lanes[i] + lanes[i + half];
    }
    return lanes[0];
}

/* f16 by definition: (-1)^s 2^(e-15) (1 + m/1024). */
static double half_value(uint16_t bits) {
    double sign = bits & 0x8000 ? -1.0 : 1.0;
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    if (exponent == 31) return mantissa ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(mantissa, -24);
    return sign * ldexp(1024 + mantissa, exponent - 25);
}

Test(reference, widening_is_exact_for_every_pattern) {
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        uint16_t half = (uint16_t)bits;
        float got, expected = (float)half_value(half);
        CHECK(same_float(psc_widen(&half, PSC_DTYPE_F16, 0), expected), "f16 %04x", bits);
        CHECK(same_float(psc_widen(&half, PSC_DTYPE_BF16, 0), float_from_bits(bits << 16)),
            "bf16 %04x", bits);
        for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
            const psc_kernels *k = psc_kernels_for((psc_isa)isa);
            uint16_t eight[8] = {half, half, half, half, half, half, half, half};
            float wide[8];
            if (!k) continue;
            k->widen_f16(wide, eight, 8);
            CHECK(same_float(wide[5], expected), "f16 %04x by %s", bits, k->isa_name);
            k->widen_f16(&got, &half, 1);
            CHECK(same_float(got, expected), "f16 %04x alone by %s", bits, k->isa_name);
            k->widen_bf16(wide, eight, 8);
            CHECK(same_float(wide[2], float_from_bits(bits << 16)), "bf16 %04x", bits);
        }
    }
}

static void check_packing(psc_dtype dtype, size_t out, size_t k) {
    size_t size = psc_dtype_size(dtype), n = psc_packed_elements(out, k);
    cr_assert_eq(n, (out + 15) / 16 * 16 * k);
    /* Three interleaved matrices in heads of `group` rows, one byte off alignment. */
    size_t group = out % 4 == 0 ? out / 4 : out, rows = 3 * out;
    char *source = make_weights(rows * k + 1, dtype, FILL_ANY_BITS);
    char *shifted = malloc(rows * k * size + 1);
    memcpy(shifted + 1, source, rows * k * size);
    char *panels = malloc(n * size);
    memset(panels, 0xaa, n * size);
    psc_pack(panels, shifted + 1, dtype, out, k, group, group, 3 * group);
    float *row = malloc(k * sizeof *row), *column = malloc(out * sizeof *column);
    for (size_t o = 0; o < (out + 15) / 16 * 16; o++) {
        size_t from = group + o / group * 3 * group + o % group;
        if (o < out) psc_unpack_row(row, panels, dtype, k, o);
        for (size_t i = 0; i < k; i++) {
            const char *packed = panels + (o / 16 * 16 * k + i * 16 + o % 16) * size;
            char zero[4] = {0};
            const char *expected = o < out ? source + (from * k + i) * size : zero;
            CHECK(memcmp(packed, expected, size) == 0, "packing %zu %zu", out, k);
            if (o < out)
                CHECK(same_float(row[i], psc_widen(source, dtype, from * k + i)), "row %zu", o);
        }
    }
    for (size_t i = 0; i < k; i++) {
        psc_unpack_column(column, panels, dtype, out, k, i);
        for (size_t o = 0; o < out; o++) {
            size_t from = group + o / group * 3 * group + o % group;
            CHECK(same_float(column[o], psc_widen(source, dtype, from * k + i)), "column %zu", i);
        }
    }
    free(row);
    free(column);
    free(panels);
    free(shifted);
    free(source);
}

Test(reference, packing_and_back) {
    for (int dtype = 0; dtype < 3; dtype++) {
        for (size_t out = 1; out <= 49; out++) check_packing((psc_dtype)dtype, out, out % 7 + 1);
        check_packing((psc_dtype)dtype, 512, 100);
    }
}

/* One output of a matmul on row-major weights: equal to the bit, and within n roundings of
 * float64. */
static void check_output(const psc_matmul *m, const void *w, psc_dtype dtype, size_t r, size_t o) {
    const float *x = m->x + r * m->ldx;
    float total = 0.0f;
    double exact = 0.0, magnitude = 0.0;
    for (size_t first = 0, b = 0; first < m->k; first += m->k_block, b++) {
        float acc = 0.0f;
        for (size_t i = first; i < m->k && i < first + m->k_block; i++) {
            float weight = psc_widen(w, dtype, o * m->k + i);
            acc = fmaf(x[i], weight, acc);
            exact += (double)x[i] * (double)weight;
            magnitude += fabs((double)x[i] * (double)weight);
        }
        total = b ? total + acc : acc;
        float block = m->blocks[r * m->ld_row + b * m->ld_block + o];
        CHECK(same_float(block, acc), "block %zu of output %zu", b, o);
    }
    total = total + m->bias[o];
    exact += (double)m->bias[o];
    magnitude += fabs((double)m->bias[o]);
    float got = m->y[r * m->ldy + o];
    CHECK(same_float(got, total), "output %zu: %a, not %a", o, (double)got, (double)total);
    expect_near((double)got, exact, magnitude * FLT_EPSILON * (double)(m->k + 2), "matmul");
}

Test(reference, matmul) {
    for (int i = 0; i < 60; i++) {
        psc_dtype dtype = (psc_dtype)(i % 3);
        size_t rows = 1 + i % 4, k = 1 + random_below(600), out = 1 + random_below(50);
        size_t k_block = i % 2 ? PSC_K_BLOCK : 48, n_blocks = (k + k_block - 1) / k_block;
        void *w = make_weights(out * k, dtype, FILL_NORMAL);
        void *panels = make_panels(w, dtype, out, k);
        floats x = make_random(rows * k, 0, FILL_NORMAL), bias = make_random(out, 0, FILL_NORMAL);
        floats y = make_output(rows * out, 0), blocks = make_output(rows * n_blocks * out, 0);
        psc_matmul m = {.y = y.data,
            .ldy = out,
            .x = x.data,
            .ldx = k,
            .w = panels,
            .bias = bias.data,
            .blocks = blocks.data,
            .ld_row = n_blocks * out,
            .ld_block = out,
            .rows = rows,
            .k = k,
            .k_block = k_block,
            .out = out,
            .panel_end = (out + 15) / 16};
        reference()->matmul[dtype](&m);
        for (size_t r = 0; r < rows; r++) {
            for (size_t o = 0; o < out; o++) check_output(&m, w, dtype, r, o);
        }
        /* The final sum over the written blocks gives the same outputs. */
        floats again = make_output(out, 0);
        reference()->sum_blocks(again.data, blocks.data, out, n_blocks, bias.data, out);
        for (size_t o = 0; o < out; o++)
            CHECK(same_float(again.data[o], y.data[o]), "sum_blocks %zu", o);
        for (size_t g = 1; g <= GUARD; g++) {
            cr_assert_eq(bits_from_float(y.data[rows * out + g - 1]), CANARY);
            cr_assert_eq(bits_from_float(y.data[-(ptrdiff_t)g]), CANARY);
        }
        drop(&again);
        drop(&x);
        drop(&bias);
        drop(&y);
        drop(&blocks);
        free(panels);
        free(w);
    }
}

Test(reference, pullback) {
    for (int i = 0; i < 60; i++) {
        psc_dtype dtype = (psc_dtype)(i % 3);
        size_t k = 1 + random_below(60), out = 1 + random_below(300);
        void *w = make_weights(out * k, dtype, FILL_NORMAL);
        void *panels = make_panels(w, dtype, out, k);
        floats u = make_random(out, 0, FILL_NORMAL), y = make_output(k, 0);
        psc_pullback p = {.y = y.data,
            .ldy = k,
            .u = u.data,
            .ldu = out,
            .w = panels,
            .rows = 1,
            .k = k,
            .out = out,
            .k_end = k};
        reference()->pullback[dtype](&p);
        for (size_t c = 0; c < k; c++) {
            float lanes[16] = {0};
            double exact = 0.0, magnitude = 0.0;
            for (size_t o = 0; o < out; o++) {
                float weight = psc_widen(w, dtype, o * k + c);
                lanes[o % 16] = fmaf(weight, u.data[o], lanes[o % 16]);
                exact += (double)weight * (double)u.data[o];
                magnitude += fabs((double)weight * (double)u.data[o]);
            }
            float total = fold(lanes);
            CHECK(same_float(y.data[c], total), "pullback %zu of %zu", c, out);
            expect_near((double)total, exact, magnitude * FLT_EPSILON * (double)out, "pullback");
        }
        drop(&u);
        drop(&y);
        free(panels);
        free(w);
    }
}

/* One row of scores, softmax and values on plain [key][d] arrays. */
static void check_attention_row(size_t n, size_t d_head) {
    size_t capacity = (n + 15) / 16 * 16, d_panels = (d_head + 15) / 16;
    floats k = make_random(n * d_head, 0, FILL_NORMAL), v = make_random(n * d_head, 0, FILL_NORMAL);
    floats q = make_random(d_head, 0, FILL_NORMAL);
    floats keys = make_floats(capacity * d_head, 0);
    floats values = make_floats(d_panels * capacity * 16, 0);
    floats scores = make_output(n, 0), z = make_output(d_head, 0);
    int32_t n_keys = (int32_t)n;
    for (size_t i = 0; i < keys.n; i++) keys.data[i] = NAN;
    for (size_t i = 0; i < values.n; i++) values.data[i] = NAN;
    for (size_t key = 0; key < n; key++) {
        for (size_t d = 0; d < d_head; d++) {
            keys.data[key / 16 * 16 * d_head + d * 16 + key % 16] = k.data[key * d_head + d];
            values.data[(d / 16 * capacity + key) * 16 + d % 16] = v.data[key * d_head + d];
        }
    }
    psc_attention a = {.y = scores.data,
        .ldy = n,
        .x = q.data,
        .ldx = d_head,
        .cache = keys.data,
        .key_capacity = capacity,
        .n_keys = &n_keys,
        .rows = 1,
        .d_head = d_head,
        .scale = 0.3f};
    reference()->attention_scores(&a);
    for (size_t key = 0; key < n; key++) {
        float acc = 0.0f;
        for (size_t d = 0; d < d_head; d++) acc = fmaf(q.data[d], k.data[key * d_head + d], acc);
        CHECK(same_float(scores.data[key], acc * 0.3f), "score %zu", key);
    }
    reference()->softmax(scores.data, scores.data, n);
    a.y = z.data;
    a.ldy = d_head;
    a.x = scores.data;
    a.ldx = n;
    a.cache = values.data;
    reference()->attention_values(&a);
    for (size_t d = 0; d < d_head; d++) {
        float total = 0.0f;
        for (size_t first = 0; first < n; first += PSC_K_BLOCK) {
            float acc = 0.0f;
            for (size_t key = first; key < n && key < first + PSC_K_BLOCK; key++) {
                acc = fmaf(scores.data[key], v.data[key * d_head + d], acc);
            }
            total = first ? total + acc : acc;
        }
        CHECK(same_float(z.data[d], total), "z %zu of %zu keys", d, n);
    }
    floats *all[] = {&k, &v, &q, &keys, &values, &scores, &z};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) drop(all[i]);
}

Test(reference, attention) {
    static const size_t sizes[] = {1, 2, 15, 16, 17, 33, 127, 128, 129, 255, 256, 257, 512, 700};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_attention_row(sizes[i], 64);
        check_attention_row(sizes[i], 1 + random_below(40));
    }
}

Test(reference, softmax_and_log_sum_exp) {
    for (size_t n = 1; n < 600; n += n < 40 ? 1 : 37) {
        floats x = make_random(n, 0, FILL_NORMAL), y = make_output(n, 0);
        double max = -INFINITY, sum = 0.0, lse;
        for (size_t i = 0; i < n; i++) max = fmax(max, (double)x.data[i]);
        for (size_t i = 0; i < n; i++) sum += exp((double)x.data[i] - max);
        reference()->softmax(y.data, x.data, n);
        reference()->log_sum_exp(&lse, x.data, n);
        for (size_t i = 0; i < n; i++) {
            double expected = exp((double)x.data[i] - max) / sum;
            expect_near((double)y.data[i], expected, expected * 1e-5, "softmax");
        }
        expect_near(lse, max + log(sum), 1e-13 * (1.0 + fabs(max + log(sum))), "log-sum-exp");
        drop(&x);
        drop(&y);
    }
}

/* A max that ignores order, a row with a NaN, and -inf next to finite scores. */
Test(reference, softmax_of_special_rows) {
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        const psc_kernels *k = psc_kernels_for((psc_isa)isa);
        if (!k) continue;
        for (size_t n = 2; n < 70; n++) {
            float x[70], y[70];
            double lse;
            size_t at = random_below(n);
            for (size_t i = 0; i < n; i++) x[i] = random_value(FILL_NORMAL);
            x[at] = -INFINITY;
            k->softmax(y, x, n);
            cr_assert_eq(bits_from_float(y[at]), 0u);
            cr_assert(isfinite(y[(at + 1) % n]));
            x[at] = NAN;
            k->softmax(y, x, n);
            k->log_sum_exp(&lse, x, n);
            cr_assert(isnan(lse));
            for (size_t i = 0; i < n; i++) cr_assert(isnan(y[i]), "%s, size %zu", k->isa_name, n);
        }
    }
}

/* The slopes of both forms of gelu, and the gradients before softmax and LayerNorm. */
Test(reference, backward) {
    for (size_t n = 2; n < 600; n += n < 40 ? 1 : 37) {
        floats a = make_random(n, 0, FILL_NORMAL), dy = make_random(n, 0, FILL_NORMAL);
        floats p = make_output(n, 0), y = make_output(n, 0);
        double dot = 0.0, m = 0.0;
        reference()->gelu_backward(y.data, dy.data, a.data, n);
        for (size_t i = 0; i < n; i++) {
            double x = (double)a.data[i], d = (double)dy.data[i];
            double slope = 0.5 * erfc(-x / sqrt(2.0)) + x * exp(-x * x / 2) * 0.3989422804014327;
            expect_near((double)y.data[i], d * slope, 4e-7 * (1e-9 + fabs(d)), "gelu's slope");
        }
        reference()->gelu_tanh_backward(y.data, dy.data, a.data, n);
        for (size_t i = 0; i < n; i++) {
            double x = (double)a.data[i], d = (double)dy.data[i];
            double t = tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
            double slope = 0.5 * (1 + t) +
                           0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 3 * 0.044715 * x * x);
            expect_near((double)y.data[i], d * slope, 1e-6 * (1e-9 + fabs(d)), "gelu_tanh's slope");
        }
        reference()->softmax(p.data, a.data, n);
        reference()->softmax_backward(y.data, p.data, dy.data, n);
        for (size_t i = 0; i < n; i++) dot += (double)p.data[i] * (double)dy.data[i];
        for (size_t i = 0; i < n; i++)
            expect_near((double)y.data[i], (double)p.data[i] * ((double)dy.data[i] - dot),
                1e-5 * (double)p.data[i], "softmax_backward");
        reference()->ln_backward(y.data, dy.data, a.data, n, 1.7f, -0.3f);
        for (size_t i = 0; i < n; i++) m += (double)dy.data[i] / (double)n;
        for (size_t i = 0; i < n; i++)
            expect_near((double)y.data[i],
                ((double)dy.data[i] - m) / (double)1.7f +
                    (double)a.data[i] * (double)-0.3f / (double)n,
                1e-5, "ln_backward");
        floats *all[] = {&a, &dy, &p, &y};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) drop(all[i]);
    }
}

Test(reference, layer_norm) {
    for (size_t n = 1; n < 3000; n += n < 40 ? 1 : 487) {
        floats x = make_random(n, 0, FILL_NORMAL), y = make_output(n, 0);
        float mean, scale, sums[16] = {0}, squares[16] = {0};
        double m = 0.0, variance = 0.0;
        reference()->ln_stats(&mean, &scale, x.data, n, 1e-5f);
        for (size_t i = 0; i < n; i++) m += (double)x.data[i] / (double)n;
        for (size_t i = 0; i < n; i++) variance += pow((double)x.data[i] - m, 2.0) / (double)n;
        expect_near((double)mean, m, 1e-5, "mean");
        expect_near((double)scale, sqrt(variance + 1e-5), 1e-5, "scale");
        for (size_t i = 0; i < n; i++) sums[i % 16] += x.data[i];
        float average = fold(sums) / (float)n;
        for (size_t i = 0; i < n; i++) {
            squares[i % 16] = fmaf(x.data[i] - average, x.data[i] - average, squares[i % 16]);
        }
        CHECK(same_float(mean, average), "mean of %zu", n);
        CHECK(same_float(scale, sqrtf(fold(squares) / (float)n + 1e-5f)), "scale of %zu", n);
        reference()->ln_normalize(y.data, x.data, n, mean, scale);
        for (size_t i = 0; i < n; i++) {
            volatile float d = x.data[i] - mean;
            CHECK(same_float(y.data[i], d / scale), "normalized %zu", i);
        }
        drop(&x);
        drop(&y);
    }
}

Test(reference, dot_and_elementwise) {
    for (size_t n = 1; n < 600; n += n < 40 ? 1 : 61) {
        floats a = make_random(n, 0, FILL_NORMAL), b = make_random(n, 0, FILL_NORMAL);
        floats y = make_output(n, 0), gate = make_output(n, 0);
        float lanes[16] = {0}, result;
        double exact = 0.0, magnitude = 0.0;
        for (size_t i = 0; i < n; i++) {
            lanes[i % 16] = fmaf(a.data[i], b.data[i], lanes[i % 16]);
            exact += (double)a.data[i] * (double)b.data[i];
            magnitude += fabs((double)a.data[i] * (double)b.data[i]);
        }
        reference()->dot(&result, a.data, b.data, n);
        CHECK(same_float(result, fold(lanes)), "dot %zu", n);
        expect_near((double)result, exact, magnitude * FLT_EPSILON * (double)n, "dot");
        reference()->gelu(y.data, gate.data, a.data, n);
        for (size_t i = 0; i < n; i++) {
            double phi = 0.5 * erfc(-(double)a.data[i] / sqrt(2.0));
            expect_near((double)gate.data[i], phi, 2e-7, "gate");
            CHECK(same_float(y.data[i], a.data[i] * gate.data[i]), "gelu %zu", i);
        }
        reference()->gelu_tanh(y.data, gate.data, a.data, n);
        for (size_t i = 0; i < n; i++) {
            double x = (double)a.data[i], u = 0.7978845608028654 * (x + 0.044715 * x * x * x);
            expect_near((double)gate.data[i], 1.0 / (1.0 + exp(-2.0 * u)), 2e-7, "tanh gate");
            CHECK(same_float(y.data[i], a.data[i] * gate.data[i]), "gelu_tanh %zu", i);
        }
        reference()->tanh_f32(y.data, a.data, n);
        for (size_t i = 0; i < n; i++)
            expect_near((double)y.data[i], tanh((double)a.data[i]), 1e-7, "tanh");
        reference()->exp_f32(y.data, a.data, n);
        reference()->erf_f32(gate.data, a.data, n);
        for (size_t i = 0; i < n; i++) {
            double e = exp((double)a.data[i]);
            expect_near((double)y.data[i], e, 1.01 * FLT_EPSILON * e, "exp");
            expect_near((double)gate.data[i], erf((double)a.data[i]), 1e-7, "erf");
        }
        drop(&a);
        drop(&b);
        drop(&y);
        drop(&gate);
    }
}

/* A rotation keeps lengths, and the dimensions past n_rot stay unchanged. */
Test(reference, rotary) {
    float x[2 * 20], y[2 * 20], cosines[4], sines[4];
    for (int i = 0; i < 40; i++) x[i] = random_value(FILL_NORMAL);
    for (int i = 0; i < 4; i++) {
        cosines[i] = (float)cos(0.3 * i + 0.1);
        sines[i] = (float)sin(0.3 * i + 0.1);
    }
    reference()->rotary(y, x, cosines, sines, 2, 20, 8);
    for (int h = 0; h < 2; h++) {
        for (int i = 0; i < 20; i++) {
            int at = h * 20 + i, j = i % 4;
            if (i >= 8) {
                CHECK(same_float(y[at], x[at]), "rotary %d", at);
                continue;
            }
            double c = cos(0.3 * j + 0.1), s = sin(0.3 * j + 0.1);
            double a = (double)x[h * 20 + j], b = (double)x[h * 20 + j + 4];
            expect_near((double)y[at], i < 4 ? a * c - b * s : a * s + b * c, 1e-6, "rotary");
        }
    }
}

/* Between enter and leave, subnormals are kept for any previous state; leave restores that
 * state. */
Test(reference, floating_point_state) {
    psc_fp_state outer = psc_fp_enter();
    volatile float tiny = 0x1p-126f, half = 0.5f;
    float product = tiny * half;
    cr_assert_eq(bits_from_float(product), 0x00400000u);
    psc_fp_leave(outer);
    psc_fp_state again = psc_fp_enter();
    psc_fp_leave(again);
    cr_assert_eq(outer.saved, again.saved);
}
