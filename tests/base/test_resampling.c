/* Statistics by resampling: against SciPy (tests/tools/make_resampling_golden.py), where they are
 * not defined, and their bits for any threads, neighbors and missing values. */
#include "golden.h"
#include "normal.h"
#include "resampling.h"
#include "resampling_draws.h"
#include "resampling_sums.h"
#include "select_ranks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STATISTICS 7

static const char *const names[STATISTICS] = {
    "mean", "se", "low", "high", "low_percentile", "high_percentile", "p"};
static psc_error error;

/* The statistics of m quantities: [STATISTICS][m] and the counts, to free. */
typedef struct found {
    double *all;
    int64_t *n, m;
} found;

static found resample(int64_t m, int32_t n, const double *const *examples,
    const psc_resampling *how, psc_team *team) {
    found f = {calloc((size_t)(m * STATISTICS), sizeof(double)), calloc((size_t)m, sizeof *f.n), m};
    const psc_resampled out = {f.n, f.all, f.all + m, f.all + 2 * m, f.all + 3 * m, f.all + 4 * m,
        f.all + 5 * m, f.all + 6 * m};
    cr_assert_eq(
        psc_resample(&out, m, n, examples, how, team, &error), PSC_OK, "%s", error.message);
    return f;
}

static void drop(found *f) {
    free(f->all);
    free(f->n);
}

static const double **rows_of(const double *values, int32_t n, int64_t m) {
    const double **rows = calloc((size_t)n, sizeof *rows);
    for (int32_t i = 0; i < n; i++) rows[i] = values + i * m;
    return rows;
}

static uint64_t enter(void) {
    return 0;
}

static void leave(uint64_t state) {
    (void)state;
}

static bool same(double a, double b) {
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* Numbers without a pattern, in -1..1. */
static double noise(int64_t i) {
    double sign;
    psc_draw_signs(1, &sign, (uint64_t)i, 5);
    return sign * fmod((double)(i * 7919 % 10007) / 10007.0 + 0.37 * (double)(i % 13), 1.0);
}

Test(resampling, golden) {
    psc_tensors *golden =
        golden_open(PSC_SOURCE_DIR "/tests/golden/resampling/resampling.safetensors");
    const psc_tensor *of = golden_find(golden, "values");
    const int32_t n = (int32_t)of->shape[0];
    const int64_t m = (int64_t)of->shape[1];
    double *values = golden_f64(of, (size_t)(n * m));
    const double **rows = rows_of(values, n, m);
    const psc_resampling how = {.seed = 42, .draws = 2000, .level = 0.95};
    found f = resample(m, n, rows, &how, NULL);
    for (int s = 0; s < STATISTICS; s++) {
        double *want = golden_f64(golden_find(golden, names[s]), (size_t)m);
        for (int64_t q = 0; q < m; q++) {
            const double got = f.all[s * m + q], se = f.all[m + q];
            const double scale = fabs(want[q]) + (isnan(se) ? 0.0 : se);
            if (isnan(want[q]) && isnan(got)) continue;
            cr_expect(fabs(got - want[q]) <= 1e-9 * scale,
                "%s of quantity %d: %.17g, should be %.17g", names[s], (int)q, got, want[q]);
        }
        free(want);
    }
    for (int64_t q = 0; q < m; q++) {
        int64_t present = 0;
        for (int32_t i = 0; i < n; i++) present += !isnan(rows[i][q]);
        cr_expect_eq(f.n[q], present);
    }
    drop(&f);
    free(rows);
    free(values);
    psc_tensors_close(&golden);
}

/* 150 quantities of 23 examples, some of them with missing values. */
static double *many(int32_t n, int64_t m) {
    double *values = calloc((size_t)(n * m), sizeof *values);
    for (int64_t i = 0; i < n * m; i++) values[i] = noise(i);
    for (int64_t i = 0; i < n * m; i += 31) values[i] = NAN;
    for (int64_t i = 0; i < n * m; i += 97) values[i] = i % 2 ? INFINITY : -INFINITY;
    return values;
}

/* A quantity has the bits that it has alone, and without the examples where it is missing. */
Test(resampling, bits) {
    enum { N = 23, M = 150 };
    const psc_resampling how = {.seed = 3, .draws = 300, .level = 0.9};
    double *values = many(N, M);
    const double **rows = rows_of(values, N, M);
    found all = resample(M, N, rows, &how, NULL);
    for (int threads = 1; threads <= 3; threads++) {
        psc_team *team = NULL;
        cr_assert_eq(psc_team_open(&team, threads, enter, leave, &error), PSC_OK);
        found other = resample(M, N, rows, &how, team);
        for (int i = 0; i < STATISTICS * M; i++) cr_assert(same(all.all[i], other.all[i]));
        drop(&other);
        psc_team_close(&team);
    }
    for (int q = 0; q < M; q++) {
        const double *kept[N];
        int32_t n = 0;
        for (int i = 0; i < N; i++)
            if (isfinite(rows[i][q])) kept[n++] = rows[i] + q;
        found one = resample(1, n, kept, &how, NULL);
        cr_assert_eq(one.n[0], all.n[q]);
        for (int s = 0; s < STATISTICS; s++)
            cr_assert(same(one.all[s], all.all[s * M + q]), "%s of quantity %d", names[s], q);
        drop(&one);
    }
    drop(&all);
    free(rows);
    free(values);
}

/* Another seed gives other intervals; statistics that are not wanted change no other. */
Test(resampling, seed_and_choice) {
    enum { N = 40, M = 3 };
    const psc_resampling how = {.seed = 1, .draws = 500, .level = 0.95}, other = {2, 500, 0.95};
    double *values = many(N, M), low[M], p[M];
    const double **rows = rows_of(values, N, M);
    found a = resample(M, N, rows, &how, NULL), b = resample(M, N, rows, &other, NULL);
    const psc_resampled only_low = {.low = low}, only_p = {.p = p};
    cr_assert_eq(psc_resample(&only_low, M, N, rows, &how, NULL, &error), PSC_OK);
    cr_assert_eq(psc_resample(&only_p, M, N, rows, &how, NULL, &error), PSC_OK);
    for (int q = 0; q < M; q++) {
        cr_expect_eq(a.all[q], b.all[q]);
        cr_expect_neq(a.all[2 * M + q], b.all[2 * M + q]);
        cr_expect(same(low[q], a.all[2 * M + q]) && same(p[q], a.all[6 * M + q]));
    }
    drop(&a);
    drop(&b);
    free(rows);
    free(values);
}

Test(resampling, where_not_defined) {
    const double table[][3] = {{0.1, 2.0, NAN}, {0.1, 2.0, -3.0}, {0.1, 3.0, NAN}};
    const double *const rows[] = {table[0], table[1], table[2]};
    const psc_resampling how = PSC_RESAMPLING_INIT;
    found f = resample(3, 3, rows, &how, NULL);
    const double *equal = f.all, *single = f.all + 2;
    cr_expect_eq(equal[0], 0.1);                   /* mean */
    cr_expect_eq(equal[3], 0.0);                   /* se */
    cr_expect(isnan(equal[6]) && isnan(equal[9])); /* BCa */
    cr_expect(equal[12] == 0.1 && equal[15] == 0.1);
    cr_expect_eq(equal[18], 0.25); /* p: all signs or none, of 8 vectors */
    cr_expect_eq(f.n[2], 1);
    cr_expect_eq(single[0], -3.0);
    for (int s = 1; s < 6; s++) cr_expect(isnan(single[3 * s]), "%s", names[s]);
    cr_expect_eq(single[18], 1.0);
    drop(&f);
    f = resample(2, 0, NULL, &how, NULL);
    for (int i = 0; i < 2 * STATISTICS; i++) cr_expect(isnan(f.all[i]));
    cr_expect(f.n[0] == 0 && f.n[1] == 0);
    drop(&f);
}

/* Sums beyond double's range are infinite or NaN, and end like others. */
Test(resampling, beyond_range, .timeout = 60) {
    const double table[] = {1.7e308, 1.7e308, -1.7e308, -1.7e308, 1.0};
    const double *const rows[] = {table, table + 1, table + 2, table + 3, table + 4};
    const psc_resampling how = PSC_RESAMPLING_INIT;
    found f = resample(1, 5, rows, &how, NULL);
    cr_expect_eq(f.n[0], 5);
    cr_expect(f.all[6] >= 0.0 && f.all[6] <= 1.0);
    drop(&f);
}

Test(resampling, refusals) {
    const psc_resampled none = {0};
    const psc_resampling bad[] = {
        {0, 0, 0.95}, {0, PSC_MOST_DRAWS + 1, 0.95}, {0, 10, 0.0}, {0, 10, 1.0}, {0, 10, NAN}};
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(psc_resample(&none, 1, 0, NULL, &bad[i], NULL, &error), PSC_ERROR_INPUT);
        cr_expect(
            strstr(error.message, i < 2 ? "1 to 100000 draws" : "level"), "%s", error.message);
    }
}

Test(resampling, normal) {
    const double points[][2] = {{0.5, 0.0}, {0.975, 1.9599639845400545},
        {0.025, -1.9599639845400545}, {1e-4, -3.719016485455709}, {0.84134474606854293, 1.0},
        {0.999, 3.090232306167813}};
    for (int i = 0; i < 6; i++) {
        cr_expect_float_eq(psc_normal_quantile(points[i][0]), points[i][1], 1e-12);
        cr_expect_float_eq(psc_normal_cdf(points[i][1]), points[i][0], 1e-15);
    }
    for (double x = -9.0; x <= 9.0; x += 0.01)
        cr_assert_float_eq(psc_normal_cdf(x), 0.5 * erfc(-x * sqrt(0.5)), 2e-15, "%g", x);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* values [n][PSC_SUM_LANES] without a pattern. */
static double *lanes_of(int32_t n) {
    double *values = calloc((size_t)n * PSC_SUM_LANES, sizeof *values);
    for (int32_t i = 0; i < n * PSC_SUM_LANES; i++) values[i] = noise(i) * (i % 11);
    return values;
}

static void check_sums(const double *sums, int64_t draws, psc_draw_kind kind, int32_t n, int32_t d,
    const double *values) {
    double weights[300];
    if (kind == PSC_DRAW_COUNTS) psc_draw_counts(n, weights, 9, d);
    if (kind == PSC_DRAW_SIGNS) psc_draw_signs(n, weights, 9, d);
    for (int32_t i = 0; kind == PSC_DRAW_ALL_SIGNS && i < n; i++)
        weights[i] = d >> i & 1 ? -1.0 : 1.0;
    for (int lane = 0; lane < PSC_SUM_LANES; lane++) {
        double want = 0.0, size = 0.0;
        for (int32_t i = 0; i < n; i++) {
            want += weights[i] * values[i * PSC_SUM_LANES + lane];
            size += fabs(weights[i] * values[i * PSC_SUM_LANES + lane]);
        }
        cr_assert_float_eq(sums[lane * draws + d], want, n * 0x1p-52 * size + 1e-300,
            "kind %d, %d examples, draw %d", (int)kind, (int)n, (int)d);
    }
}

/* Sums by tables are those of products, for any number of examples; masks of a part of the draws at a
 * time give the same bits. */
Test(resampling, sums) {
    enum { DRAWS = 250 };
    static double sums[PSC_SUM_LANES * DRAWS], parts[PSC_SUM_LANES * DRAWS];
    static double tables[PSC_SUM_TABLES];
    for (int32_t n = 1; n <= 300; n += n < 20 ? 1 : 39)
        for (psc_draw_kind kind = PSC_DRAW_COUNTS; kind <= PSC_DRAW_ALL_SIGNS; kind++) {
            if (kind == PSC_DRAW_ALL_SIGNS && n > 30) continue;
            const int32_t end = kind == PSC_DRAW_ALL_SIGNS && n < 8 ? 1 << n : DRAWS;
            double *values = lanes_of(n), all[PSC_SUM_LANES];
            psc_draw_masks masks;
            cr_assert(psc_draw_masks_open(&masks, n, DRAWS));
            psc_draw_masks_take(&masks, kind, 9, n, 0, end);
            cr_assert_eq(masks.count, end);
            psc_sum_draws(sums, DRAWS, &masks, values, tables);
            for (int32_t d = 0; d < end; d++) check_sums(sums, DRAWS, kind, n, d, values);
            masks.bytes = masks.bytes / 9 + 40 * 9; /* one draw has at most (n + 7) / 8 * 9 bytes */
            for (int32_t first = 0; first < end; first += masks.count) {
                psc_draw_masks_take(&masks, kind, 9, n, first, end);
                cr_assert(masks.count > 0);
                psc_sum_draws(parts, DRAWS, &masks, values, tables);
            }
            for (int lane = 0; lane < PSC_SUM_LANES; lane++)
                cr_assert_arr_eq(
                    sums + lane * DRAWS, parts + lane * DRAWS, (size_t)end * sizeof *sums);
            psc_sum_all(all, n, values);
            for (int lane = 0; kind == PSC_DRAW_ALL_SIGNS && lane < PSC_SUM_LANES; lane++)
                cr_assert_eq(all[lane], sums[lane * DRAWS], "draw 0 has no sign");
            psc_draw_masks_close(&masks);
            free(values);
        }
}

/* Every rank of short lists with equal values, and some of long ones. */
Test(resampling, ranks) {
    double x[257], sorted[257];
    for (int32_t n = 1; n <= 257; n += n < 24 ? 1 : 40)
        for (int way = 0; way < 5; way++)
            for (int32_t rank = 0; rank < n; rank++) {
                for (int32_t i = 0; i < n; i++)
                    x[i] = way == 0 ? noise(i * 31 + n) : way == 1 ? i : way == 2 ? n - i : i % way;
                memcpy(sorted, x, sizeof x);
                qsort(sorted, (size_t)n, sizeof *sorted, ascending);
                const int32_t ranks[] = {rank, n - 1, 0, n / 2};
                psc_select_ranks(x, n, ranks, 4);
                for (int i = 0; i < 4; i++) cr_assert_eq(x[ranks[i]], sorted[ranks[i]]);
            }
}

/* Long lists, whose pivots come from a sample: both tails, one rank, all values equal or sorted. */
Test(resampling, ranks_of_long_lists) {
    enum { N = 10000 };
    static double x[N], sorted[N];
    static const int32_t wanted[][4] = {{250, 251, 9749, 9750}, {0, 1, 2, 3}, {9999, 9999, 9998, 5},
        {5000, 5000, 5000, 5000}, {0, 3333, 6666, 9999}};
    for (int set = 0; set < 5; set++)
        for (int way = 0; way < 6; way++) {
            for (int32_t i = 0; i < N; i++)
                x[i] = way == 0 ? noise(i) : way == 1 ? i : way == 2 ? N - i : i % (way * way - 8);
            memcpy(sorted, x, sizeof x);
            qsort(sorted, N, sizeof *sorted, ascending);
            psc_select_ranks(x, N, wanted[set], 4);
            for (int i = 0; i < 4; i++) cr_assert_eq(x[wanted[set][i]], sorted[wanted[set][i]]);
            qsort(x, N, sizeof *x, ascending);
            cr_assert_arr_eq(x, sorted, sizeof x);
        }
}

/* 3,000 quantities of 64 examples, to see its time (PSC_TEST_VERBOSE). */
Test(resampling, large) {
    enum { N = 64, M = 3000 };
    const psc_resampling how = {.draws = 1000, .level = 0.95};
    double *values = many(N, M);
    const double **rows = rows_of(values, N, M);
    const clock_t start = clock();
    found f = resample(M, N, rows, &how, NULL);
    if (getenv("PSC_TEST_VERBOSE"))
        fprintf(stderr, "1,000 draws: %.3f s\n", (double)(clock() - start) / CLOCKS_PER_SEC);
    for (int q = 0; q < M; q++)
        cr_assert(f.all[2 * M + q] < f.all[q] && f.all[q] < f.all[3 * M + q]);
    drop(&f);
    free(rows);
    free(values);
}
