/* The cases of attention's kernels; included after the macros of the kernel tests.
 * Private to test_kernels.c.
 * Threads: one test at a time.
 * Ownership: a case frees what it allocates. */
#ifndef ATTENTION_CASES_H
#define ATTENTION_CASES_H

/* `rows` queries, the last of which sees `most` keys; later keys in the cache are NaN. */
static void check_attention(const psc_kernels *ref, const psc_kernels *isa, bool values,
    size_t rows, size_t d_head, size_t most, fill kind) {
    size_t capacity = (most + 15) / 16 * 16 + 16 * random_below(2), offset = random_below(8);
    size_t d_panels = (d_head + 15) / 16;
    size_t width_x = values ? most : d_head, width_y = values ? d_head : most;
    size_t ldx = width_x + random_below(3), ldy = width_y + random_below(3);
    size_t n = values ? d_panels * capacity * 16 : capacity / 16 * d_head * 16;
    floats cache = make_random(n, 0, kind), x = make_random(rows * ldx, random_below(8), kind);
    int32_t n_keys[40];
    for (size_t r = 0; r < rows; r++) {
        size_t back = rows - 1 - r;
        n_keys[r] = (int32_t)(most > back ? most - back : 1);
        if (r && random_below(6) == 0) n_keys[r] = n_keys[r - 1];
        for (size_t i = values ? (size_t)n_keys[r] : width_x; i < width_x; i++) {
            x.data[r * ldx + i] = NAN;
        }
    }
    for (size_t i = 0; i < n; i++) {
        size_t key = values ? i / 16 % capacity : i / (16 * d_head) * 16 + i % 16;
        if (key >= most) cache.data[i] = NAN;
    }
    floats y[2];
    psc_attention a = {.ldy = ldy,
        .x = x.data,
        .ldx = ldx,
        .cache = cache.data,
        .key_capacity = capacity,
        .n_keys = n_keys,
        .rows = rows,
        .d_head = d_head,
        .scale = 0.125f};
    for (int t = 0; t < 2; t++) {
        const psc_kernels *k = t == 0 ? ref : isa;
        y[t] = make_output(rows * ldy, offset);
        a.y = y[t].data;
        if (values) {
            k->attention_values(&a);
        } else {
            k->attention_scores(&a);
        }
    }
    expect_same(&y[0], &y[1], values ? "attention_values" : "attention_scores", rows * 1000 + most);
    drop(&y[0]);
    drop(&y[1]);
    drop(&cache);
    drop(&x);
}

static void attention_case(const psc_kernels *ref, const psc_kernels *isa, bool values) {
    static const size_t heads[] = {1, 8, 16, 31, 64, 80, 128, 256};
    int kind = 0;
    for (size_t rows = 1; rows <= 14; rows++) {
        for (size_t most = 1; most <= 33; most++) {
            size_t d_head = heads[random_below(8)];
            check_attention(ref, isa, values, rows, d_head, most, (fill)(kind++ % FILL_COUNT));
        }
        for (size_t most = 120; most < 1100; most += most < 138 ? 1 : 119) {
            size_t d_head = heads[random_below(8)];
            check_attention(ref, isa, values, rows, d_head, most, (fill)(kind++ % FILL_COUNT));
        }
    }
    check_attention(ref, isa, values, 40, 64, 40, FILL_NORMAL);
    check_attention(ref, isa, values, 40, 64, 530, FILL_NORMAL);
}

static void case_attention_scores(const psc_kernels *ref, const psc_kernels *isa) {
    attention_case(ref, isa, false);
}

static void case_attention_values(const psc_kernels *ref, const psc_kernels *isa) {
    attention_case(ref, isa, true);
}

#endif
