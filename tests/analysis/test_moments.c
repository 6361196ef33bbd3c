/* Variances and correlations from accumulators' totals (analysis/kit/moments.c) against two passes
 * in long double: constants have variance zero, despite the grid and the rounding of the sums. */
#include "accumulators.h"
#include "golden.h"
#include "moments.h"
#include "results.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 2048 };
enum { SUM_A, SUM_AA, SUM_B, SUM_BB, SUM_AB, SLOTS };

typedef struct totals {
    double n, slot[SLOTS];
} totals;

/* Windows of `length` values each are summed in f64 and added like a plugin's partials. */
static totals add_up(const double *a, const double *b, int64_t windows, int64_t length) {
    psc_accumulators tables = {0};
    psc_error error = {0};
    totals t = {.n = (double)(windows * length)};
    const int handle = psc_accumulators_add(&tables, "sums", PSC_ACCUMULATE_SUM, SLOTS, 0, &error);
    cr_assert_geq(handle, 0);
    for (int64_t w = 0; w < windows; w++) {
        double partial[SLOTS] = {0};
        for (int64_t i = w * length; i < (w + 1) * length; i++) {
            partial[SUM_A] += a[i];
            partial[SUM_AA] += a[i] * a[i];
            partial[SUM_B] += b[i];
            partial[SUM_BB] += b[i] * b[i];
            partial[SUM_AB] += a[i] * b[i];
        }
        cr_assert_eq(psc_accumulator_add(&tables.list[0], 0, SLOTS, partial, &error), PSC_OK);
    }
    cr_assert_eq(psc_accumulator_read(&tables.list[0], 0, SLOTS, t.slot, &error), PSC_OK);
    psc_accumulators_close(&tables);
    return t;
}

static double correlation(const totals *t) {
    return psc_correlation(t->n, LONGEST, t->slot + SUM_A, t->slot + SUM_B, t->slot[SUM_AB]);
}

static double uniform(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) * 0x1p-53;
}

static const int64_t shapes[][2] = {
    {1, 1}, {1, 2}, {2, 1}, {7, 3}, {300, 1}, {1, 2048}, {40, 511}, {9, 2048}};
enum { SHAPES = sizeof shapes / sizeof *shapes, MOST = 40 * 511 };

static double x[MOST], y[MOST];

Test(moments, constants_do_not_vary) {
    static const double values[] = {
        0.0, 1e-9, 1e-6, -3.3e-4, 0.1, 0.7, -1.0, 9.87654321, 10.83, -123.456, 4321.1, 1e6 / 3};
    uint64_t random = 1;
    for (size_t v = 0; v < sizeof values / sizeof *values; v++)
        for (int s = 0; s < SHAPES; s++) {
            const int64_t n = shapes[s][0] * shapes[s][1];
            for (int64_t i = 0; i < n; i++) x[i] = values[v], y[i] = uniform(&random);
            const totals t = add_up(x, y, shapes[s][0], shapes[s][1]);
            const double got = psc_variance(t.n, LONGEST, t.slot[SUM_A], t.slot[SUM_AA]);
            cr_assert_eq(got, 0.0, "%ld times %g: variance %g", (long)n, values[v], got);
            cr_assert(
                isnan(correlation(&t)), "%ld times %g: %g", (long)n, values[v], correlation(&t));
        }
    cr_assert(isnan(psc_variance(0.0, LONGEST, 0.0, 0.0)));
}

/* The error bound holds, and a variance above the bound is not reported as zero. */
Test(moments, variances_are_right_within_their_error) {
    static const double middles[] = {0.0, 1e-3, -0.5, 10.8, 300.0, 1e5};
    static const double widths[] = {1e-7, 1e-5, 1e-3, 0.1, 2.0};
    uint64_t random = 7;
    int told = 0;
    for (int m = 0; m < 6; m++)
        for (int w = 0; w < 5; w++)
            for (int s = 1; s < SHAPES; s++) {
                const int64_t n = shapes[s][0] * shapes[s][1];
                long double mean = 0.0L, square = 0.0L;
                for (int64_t i = 0; i < n; i++)
                    mean += x[i] = middles[m] + widths[w] * (uniform(&random) - 0.5);
                mean /= n;
                for (int64_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean);
                const totals t = add_up(x, x, shapes[s][0], shapes[s][1]);
                const double want = (double)(square / n), sum = t.slot[SUM_A];
                const double error = psc_variance_error(t.n, LONGEST, sum, t.slot[SUM_AA]);
                const double got = psc_variance(t.n, LONGEST, sum, t.slot[SUM_AA]);
                cr_assert(got >= 0.0 && fabs(got - want) <= (got > 0.0 ? error : 2.0 * error),
                    "%g +- %g, %ld values: %g, should be %g within %g", middles[m], widths[w],
                    (long)n, got, want, error);
                told += got > 0.0;
            }
    cr_assert_gt(told, 100);
}

Test(moments, correlations) {
    uint64_t random = 3;
    for (int s = 3; s < SHAPES; s++)
        for (int part = 0; part <= 4; part++) {
            const int64_t n = shapes[s][0] * shapes[s][1];
            long double ma = 0.0L, mb = 0.0L, ab = 0.0L, aa = 0.0L, bb = 0.0L;
            for (int64_t i = 0; i < n; i++) {
                x[i] = 0.3 + uniform(&random);
                y[i] = (part - 2) * x[i] + 0.5 * uniform(&random);
                ma += x[i], mb += y[i];
            }
            ma /= n, mb /= n;
            for (int64_t i = 0; i < n; i++) {
                ab += (x[i] - ma) * (y[i] - mb);
                aa += (x[i] - ma) * (x[i] - ma);
                bb += (y[i] - mb) * (y[i] - mb);
            }
            const totals t = add_up(x, y, shapes[s][0], shapes[s][1]);
            const double want = (double)(ab / sqrtl(aa * bb));
            cr_assert(
                fabs(correlation(&t) - want) < 1e-8, "%g, should be %g", correlation(&t), want);
        }
}

/* Two values of each: the correlation is 1 or -1 exactly. Small spreads drown in the grid. */
Test(moments, correlations_of_small_spreads) {
    int told = 0;
    for (double spread = 1e-9; spread < 1.0; spread *= 1.7)
        for (int sign = -1; sign <= 1; sign += 2)
            for (int n = 2; n <= 64; n *= 2) {
                for (int i = 0; i < n; i++) {
                    x[i] = 0.7 + (i % 2) * spread;
                    y[i] = 3.1 + sign * (i % 2) * 1.3 * spread;
                }
                const totals t = add_up(x, y, n, 1);
                const double r = correlation(&t);
                if (isnan(r)) continue;
                cr_assert(fabs(r) <= 1.0 && fabs(r - sign) < 2e-4, "spread %g: %.9f", spread, r);
                told++;
            }
    cr_assert_gt(told, 100);
}

/* --- histograms ------------------------------------------------------------------------------ */

/* Bin i of n begins at -8 + 16 i/n: with a of 24 bits a n is exact, and so is the comparison. */
static int exact_bin(float a, int32_t n) {
    int bin = 0;
    while (bin + 1 < n && (double)a * n >= 16.0 * (bin + 1) - 8.0 * n) bin++;
    return bin;
}

/* Around every edge, and far outside. */
Test(moments, a_value_just_below_an_edge_lies_below_it) {
    static const int32_t counts[] = {1, 2, 3, 7, 10, 32, 100, 999, 1000};
    static const float far[] = {-INFINITY, -1e30f, -8.0f, 8.0f, 7.9999995f, 1e30f, INFINITY};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        const int32_t n = counts[c];
        for (size_t i = 0; i < sizeof far / sizeof *far; i++)
            cr_assert_eq(psc_bin_of((double)far[i], -8.0, 8.0, n), exact_bin(far[i], n));
        for (int32_t i = 1; i < n; i++) {
            float a = (float)(-8.0 + 16.0 * i / n);
            for (int step = 0; step < 3; step++) a = nextafterf(a, -INFINITY);
            for (int step = 0; step < 6; step++, a = nextafterf(a, INFINITY))
                cr_assert_eq(psc_bin_of((double)a, -8.0, 8.0, n), exact_bin(a, n),
                    "%.9g of %d bins: %d, should be %d", (double)a, (int)n,
                    (int)psc_bin_of((double)a, -8.0, 8.0, n), exact_bin(a, n));
        }
    }
}

/* --- plugins --------------------------------------------------------------------------------- */

/* Windows of one equal token: position 0 does not vary, and it is the only position. */
Test(moments, equal_windows_have_no_variance) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    psc_error error = {0};
    const psc_token token = {.id = 17};
    const psc_input input = {0, 1, &token};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    options.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    cr_assert_eq(psc_session_plugin(session, "logits", NULL, &error), PSC_OK);
    cr_assert_eq(psc_session_plugin(session, "ln", NULL, &error), PSC_OK);
    cr_assert_eq(psc_session_plugin(session, "mlp", NULL, &error), PSC_OK);
    for (int i = 0; i < 7; i++) {
        psc_session_truncate(session, 0, 0);
        must_run(session, &input, 1);
    }
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    const psc_results *results = psc_session_results(session);
    int seen = 0;
    for (int i = 0; i < results->n_arrays; i++) {
        const psc_array *array = &results->arrays[i].view;
        const int64_t n = (int64_t)(results->arrays[i].bytes / sizeof(double));
        if (!strstr(array->name, "_variance")) continue;
        for (int64_t k = 0; k < n; k++) {
            const double value = ((const double *)array->data)[k];
            cr_assert(k < n / 2 ? value == 0.0 : isnan(value), "%s element %ld is %g", array->name,
                (long)k, value);
        }
        seen++;
    }
    cr_assert_eq(seen, 6);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* Phi^-1(j/10), j = 1..9. */
static const double tenths[] = {-1.2815515655446004, -0.8416212335729142, -0.5244005127080408,
    -0.2533471031357998, 0.0, 0.2533471031357998, 0.5244005127080408, 0.8416212335729142,
    1.2815515655446004};

/* a just below an edge of either histogram of the plugin mlp, one value per neuron. */
static float near_edge(int64_t neuron) {
    const int64_t kind = neuron % 10;
    const double edge = kind < 9 ? tenths[kind] : -8.0 + 16.0 * (1 + (double)(neuron % 31)) / 32;
    const float a = (float)edge;
    return (double)a < edge ? a : nextafterf(a, -INFINITY);
}

static int edit_pre(const psc_event *event, void *payload) {
    (void)payload;
    for (int64_t k = 0; k < event->tensor.shape[1]; k++) event->tensor.data[k] = near_edge(k);
    return 0;
}

Test(moments, histograms_of_mlp) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    psc_error error = {0};
    const psc_token token = {.id = 17};
    psc_array pre, gate;
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    options.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    cr_assert_eq(psc_session_plugin(session, "mlp", "bins=32", &error), PSC_OK);
    cr_assert_eq(psc_session_edit(session, PSC_HOOK_MLP_PRE, NULL, edit_pre, NULL, &error), PSC_OK);
    must_run_one(session, &token, 1);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_array(session, "mlp.pre_histogram", &pre, &error), PSC_OK);
    cr_assert_eq(psc_session_array(session, "mlp.gate_histogram", &gate, &error), PSC_OK);
    for (int64_t k = 0; k < pre.shape[1]; k++) {
        const float a = near_edge(k);
        int tenth = 0;
        while (tenth < 9 && (double)a >= tenths[tenth]) tenth++;
        cr_assert_eq(((const double *)pre.data)[k * 32 + exact_bin(a, 32)], 1.0, "%.9g", (double)a);
        cr_assert_eq(((const double *)gate.data)[k * 10 + tenth], 1.0, "%.9g", (double)a);
    }
    psc_session_close(&session);
    psc_model_close(&model);
}
