/* The plugin gradient: saliency, gradient times input and integrated gradients against float64
 * (tests/tools/make_attribution_golden.py), the bound of the gap, bits, and refusals. */
#include "attribution_fixture.h"

static const char *const baselines[] = {"zero", "mean", "token"};

static psc_session *traced(psc_model *model, const char *options, const fixture_run *how) {
    psc_session *session = must_session(model, how->isa, how->threads, how->chunk);
    must_plugin(session, "gradient", options);
    add_targets(session);
    cr_assert_eq(
        run_phase(session, fixture_ids, N_IDS, PSC_PHASE_ONLY), PSC_OK, "%s", error.message);
    return session;
}

static void compare_named(const psc_session *session, const psc_tensors *golden, const char *name,
    const char *array, const char *baseline, double tolerance) {
    char full[64], of[64];
    snprintf(full, sizeof full, "%s_%s", name, baseline);
    snprintf(of, sizeof of, "gradient.%s", array);
    const psc_array got = must_array(session, of);
    const psc_tensor *want = golden_find(golden, full);
    cr_assert_eq(array_count(&got), tensor_count(want), "%s", full);
    const double worst = compare_part(&got, 0, want, tensor_count(want));
    cr_assert_leq(worst, tolerance, "%s errs by %.3g of the largest", full, worst);
    if (getenv("PSC_TEST_VERBOSE")) fprintf(stderr, "%-24s %.1e\n", full, worst);
}

/* m(x) - m(baseline) - the sum over tokens. */
static void check_gap(const psc_session *session, const char *of, const char *gap_name) {
    const psc_array parts = must_array(session, of), gaps = must_array(session, gap_name);
    const psc_array value = must_array(session, "gradient.value");
    const psc_array base = must_array(session, "gradient.baseline_value");
    for (int64_t t = 0; t < array_count(&gaps); t++) {
        double sum = 0;
        for (int64_t r = 0; r < N_IDS; r++) sum += array_at(&parts, t * N_IDS + r);
        cr_assert_float_eq(
            array_at(&gaps, t), array_at(&value, t) - array_at(&base, t) - sum, 1e-12);
    }
}

static void check_model(const char *model_name) {
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_path(model_name, NULL));
    psc_tensors *golden = attribution_golden(model_name);
    for (int b = 0; b < 3; b++) {
        char options[96];
        snprintf(options, sizeof options, "baseline=%s%s,error=0,steps=32", baselines[b],
            b == 2 ? ",token=9" : "");
        psc_session *session = traced(model, options, &how);
        compare_named(session, golden, "value", "baseline_value", baselines[b], 1e-5);
        compare_named(session, golden, "saliency", "norm", baselines[b], 1e-5);
        compare_named(session, golden, "times_input", "times_input", baselines[b], 1e-5);
        compare_named(session, golden, "integrated", "integrated", baselines[b], 1e-5);
        check_gap(session, "gradient.times_input", "gradient.input_gap");
        check_gap(session, "gradient.integrated", "gradient.integrated_gap");
        const psc_array steps = must_array(session, "gradient.steps");
        cr_assert_eq(array_at(&steps, 0), 32);
        psc_session_close(&session);
    }
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

Test(gradient_paths, golden_parallel) {
    check_model("parallel_f32");
}

Test(gradient_paths, golden_sequential) {
    check_model("sequential_f32");
}

/* Steps double until the bound holds, for each target alone. */
static void check_bound(psc_model *model, const char *baseline, double bound) {
    const fixture_run how = {.threads = 2};
    char options[96];
    snprintf(options, sizeof options, "baseline=%s,error=%g,steps=16384", baseline, bound);
    psc_session *session = traced(model, options, &how);
    const psc_array steps = must_array(session, "gradient.steps");
    const psc_array gap = must_array(session, "gradient.integrated_gap");
    const psc_array value = must_array(session, "gradient.value");
    const psc_array base = must_array(session, "gradient.baseline_value");
    const psc_array path = must_array(session, "gradient.path_gap");
    cr_assert_eq(path.shape[2], 12); /* 8 to 16384 */
    for (int64_t t = 0; t < 2; t++) {
        const double allowed = bound * fabs(array_at(&value, t) - array_at(&base, t));
        const int32_t taken = (int32_t)array_at(&steps, t);
        cr_assert_leq(fabs(array_at(&gap, t)), allowed, "%s, target %d", baseline, (int)t);
        cr_assert(taken >= 8 && (taken & (taken - 1)) == 0);
        const int64_t last = t * path.shape[2] + (int64_t)lround(log2(taken)) - 3;
        cr_assert_eq(array_at(&path, last), array_at(&gap, t));
        for (int64_t i = t * path.shape[2]; i < (t + 1) * path.shape[2]; i++)
            cr_assert_eq(isnan(array_at(&path, i)), i > last, "%s", baseline);
        if (taken == 8) continue;
        char fewer[96]; /* half of them leave more */
        snprintf(fewer, sizeof fewer, "baseline=%s,error=0,steps=%d", baseline, (int)taken / 2);
        psc_session *other = traced(model, fewer, &how);
        const psc_array before = must_array(other, "gradient.integrated_gap");
        cr_assert_gt(fabs(array_at(&before, t)), allowed);
        cr_assert_eq(array_at(&before, t), array_at(&path, last - 1));
        psc_session_close(&other);
    }
    psc_session_close(&session);
}

Test(gradient_paths, complete_to_the_bound) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int b = 0; b < 3; b++) check_bound(model, baselines[b], 0.02);
    for (int b = 1; b < 3; b++)
        check_bound(model, baselines[b], 1e-4); /* LayerNorm is steep at 0 */
    psc_model_close(&model);
}

Test(gradient_paths, bits) {
    static const char *const cases[] = {
        "", "target_rows=all,metric=log_prob,steps=11", "baseline=mean,target_rows=1-2,error=1e-4"};
    static const fixture_run ways[] = {{.isa = "reference", .threads = 1},
        {.isa = "reference", .threads = 2, .chunk = 2}, {.threads = 3, .chunk = 1}};
    static const char *const arrays[] = {"gradient.norm", "gradient.times_input",
        "gradient.integrated", "gradient.integrated_gap", "gradient.path_gap", "gradient.steps",
        NULL};
    const fixture_run plain = {.threads = 1};
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    for (int c = 0; c < 3; c++) {
        psc_session *first = traced(model, cases[c], &plain);
        for (int w = 0; w < 3; w++) {
            psc_session *other = traced(model, cases[c], &ways[w]);
            assert_same_arrays(first, other, arrays, cases[c]);
            psc_session_close(&other);
        }
        psc_session_close(&first);
    }
    psc_model_close(&model);
}

/* `next` has no token at the last row; a later row does not reach an earlier prediction. */
Test(gradient_paths, targets_and_rows) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 2, 0);
    must_plugin(session, "gradient", "target_rows=all,steps=0");
    cr_assert_eq(psc_session_target(session, "next", &error), PSC_OK);
    cr_assert_eq(run_phase(session, fixture_ids, N_IDS, PSC_PHASE_ONLY), PSC_OK);
    const psc_array norm = must_array(session, "gradient.norm");
    psc_array none;
    cr_assert_neq(psc_session_array(session, "gradient.integrated", &none, &error), PSC_OK);
    for (int r = 0; r < N_IDS; r++)
        for (int j = 0; j < N_IDS; j++) {
            const double x = array_at(&norm, r * N_IDS + j);
            if (r == N_IDS - 1)
                cr_assert(isnan(x));
            else
                cr_assert(j > r ? x == 0.0 : x > 0.0, "row %d of %d: %g", j, r, x);
        }
    psc_session_close(&session);
    psc_model_close(&model);
}

/* A text that continues an earlier run has the gradient of its own tokens. */
Test(gradient_paths, continued) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 2, 0);
    psc_token tokens[N_IDS] = {{0}};
    for (int i = 0; i < N_IDS; i++) tokens[i].id = fixture_ids[i];
    const psc_input first = {0, 2, tokens}, second = {0, N_IDS - 2, tokens + 2};
    cr_assert_eq(psc_session_run(session, &first, 1, NULL, &error), PSC_OK);
    must_plugin(session, "gradient", "baseline=mean,steps=1024,error=1e-4");
    add_targets(session);
    cr_assert_eq(psc_session_run(session, &second, 1, NULL, &error), PSC_OK, "%s", error.message);
    const psc_array gap = must_array(session, "gradient.integrated_gap");
    const psc_array value = must_array(session, "gradient.value");
    const psc_array base = must_array(session, "gradient.baseline_value");
    cr_assert_eq(must_array(session, "gradient.norm").shape[2], N_IDS - 2);
    for (int t = 0; t < 2; t++)
        cr_assert_leq(
            fabs(array_at(&gap, t)), 1e-4 * fabs(array_at(&value, t) - array_at(&base, t)));
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(gradient_paths, refusals) {
    refused_options("gradient", "baseline=noise", "mean");
    refused_options("gradient", "metric=kl", "log_prob");
    refused_options("gradient", "baseline=token,token=80", "0 to 79");
    refused_options("gradient", "error=-1", "error");
    refused_options("gradient", "token=7", "is of baseline=token");
    refused_options("gradient", "steps=0,error=0.5", "steps=0 makes none");
    refused_options("gradient", "top=0", "top");
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    must_plugin(session, "ablate", "at=L0H1");
    must_plugin(session, "gradient", "");
    cr_assert_neq(run_phase(session, fixture_ids, N_IDS, PSC_PHASE_ONLY), PSC_OK);
    cr_assert(strstr(error.message, "edited run"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}
