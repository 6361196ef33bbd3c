/* The plugin sweep against float64 and TransformerLens (tests/tools/make_sweep_golden.py), its
 * bits, and refusals. */
#include "ln_mlp_fixture.h"

#define SWEEP_GOLDEN PSC_SOURCE_DIR "/tests/golden/sweep/"

static const int32_t source_ids[N_IDS] = {3, 12, 7, 55, 60};
static psc_error error;

static psc_status run_phase(psc_session *session, const int32_t *ids, int32_t n, int32_t phase) {
    psc_token tokens[N_IDS + 1] = {{0}};
    for (int i = 0; i < n; i++) tokens[i].id = ids[i % N_IDS];
    psc_input input = {0, n, tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.phase = phase;
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, &options, &error);
}

static psc_session *swept(psc_model *model, const char *options, const fixture_run *how) {
    psc_session *session = must_session(model, how->isa, how->threads, how->chunk);
    cr_assert_eq(psc_session_plugin(session, "sweep", options, &error), PSC_OK, "%s: %s", options,
        error.message);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    cr_assert_eq(psc_session_contrast(session, "#7", "#9", &error), PSC_OK);
    cr_assert_eq(
        run_phase(session, source_ids, N_IDS, PSC_PHASE_SOURCE), PSC_OK, "%s", error.message);
    cr_assert_eq(
        run_phase(session, fixture_ids, N_IDS, PSC_PHASE_CHANGED), PSC_OK, "%s", error.message);
    return session;
}

/* "heads_by_pos-patch-logit" -> options; tl_* are over=* do=patch of the first target. */
static void parse_case(const char *name, char *options, size_t size) {
    char over[32], what[32] = "patch", metric[32] = "logit";
    if (strncmp(name, "tl_", 3) == 0)
        snprintf(over, sizeof over, "%s", name + 3);
    else
        cr_assert_eq(sscanf(name, "%31[^-]-%31[^-]-%31s", over, what, metric), 3, "%s", name);
    snprintf(options, size, "over=%s,do=%s,metric=%s,layer=1", over, what, metric);
}

static void check_model(const char *model_name) {
    char path[1024], options[160];
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_path(model_name, NULL));
    snprintf(path, sizeof path, SWEEP_GOLDEN "%s.safetensors", model_name);
    psc_tensors *golden = golden_open(path);
    cr_assert_eq(golden->count, 15);
    for (size_t i = 0; i < golden->count; i++) {
        psc_tensor want = golden->items[i];
        const bool lens = strncmp(want.name, "tl_", 3) == 0;
        parse_case(want.name, options, sizeof options);
        psc_session *session = swept(model, options, &how);
        const psc_array got = must_array(session, "sweep.effect");
        int64_t count = 1;
        for (size_t a = 0; a < want.rank; a++) count *= (int64_t)want.shape[a];
        cr_assert_eq(array_count(&got), lens ? 2 * count : count, "%s", want.name);
        double worst = 0.0;
        for (int64_t e = 0; e < count; e++) {
            const double a = array_at(&got, e), b = tensor_at(&want, e);
            if (isnan(a) && isnan(b)) continue;
            worst = fmax(worst, fabs(a - b));
            cr_assert(fabs(a - b) < (lens ? 2e-4 : 2e-5), "%s %s element %ld: %g, should be %g",
                model_name, want.name, (long)e, a, b);
        }
        if (getenv("PSC_TEST_VERBOSE")) fprintf(stderr, "%-28s %.1e\n", want.name, worst);
        psc_session_close(&session);
    }
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

/* normalized = effect / (source - base), of the tokens of this run's targets. */
static void check_normalized(psc_model *model, const char *options, int log_prob) {
    const fixture_run how = {.threads = 2};
    psc_session *session = swept(model, options, &how);
    const psc_array effect = must_array(session, "sweep.effect");
    const psc_array normalized = must_array(session, "sweep.normalized");
    const int64_t n = array_count(&effect);
    cr_assert_eq(array_count(&normalized), n);
    double value[2][2];
    for (int run = 0; run < 2; run++) {
        psc_session *plain = must_session(model, NULL, 1, 0);
        cr_assert_eq(run_phase(plain, run ? source_ids : fixture_ids, N_IDS, PSC_PHASE_ONLY), 0);
        const float *z = psc_session_logits(plain, N_IDS - 1);
        double sum = 0.0;
        for (int v = 0; v < psc_model_get_info(model)->d_vocab; v++) sum += exp((double)z[v]);
        value[run][0] = (double)z[5] - (log_prob ? log(sum) : 0.0);
        value[run][1] = (double)z[7] - (double)z[9];
        psc_session_close(&plain);
    }
    for (int64_t i = 0; i < n; i++) {
        const int target = i >= n / 2;
        const double want = array_at(&effect, i) / (value[1][target] - value[0][target]);
        if (isnan(want) && isnan(array_at(&normalized, i))) continue;
        cr_assert(fabs(array_at(&normalized, i) - want) <= 1e-9 + 1e-5 * fabs(want),
            "%s element %ld: %g, should be %g", options, (long)i, array_at(&normalized, i), want);
    }
    const psc_results *results = psc_session_results(session);
    int32_t section;
    psc_result_value source;
    cr_assert_eq(psc_results_find_section(&section, results, "sweep", &error), PSC_OK);
    cr_assert_eq(psc_results_find_value(&source, results, section, "source", &error), PSC_OK);
    for (int t = 0; t < 2; t++) cr_assert_float_eq(source.numbers[t], value[1][t], 1e-5);
    psc_session_close(&session);
}

Test(sweep, normalized) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    check_normalized(model, "over=heads,do=patch", 0);
    check_normalized(model, "over=resid_pre,do=patch,metric=log_prob", 1);
    check_normalized(model, "over=edges,do=patch,layer=1", 0);
    psc_model_close(&model);
}

/* The bars of a sweep of one target. Their values are not 0. */
static int bars_shown(const psc_session *session) {
    const psc_results *results = psc_session_results(session);
    int32_t section;
    psc_result_item item;
    cr_assert_eq(psc_results_find_section(&section, results, "sweep", &error), PSC_OK);
    for (int32_t i = 0; psc_results_item_at(&item, results, section, i, NULL) == PSC_OK; i++) {
        if (item.sentence) continue;
        for (int32_t b = 0; b < item.n; b++) cr_expect_neq(item.values[b], 0.0);
        return item.n;
    }
    return -1;
}

/* A source with the same value gives no scale: NaN, and a sentence. */
Test(sweep, normalized_without_a_scale) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    cr_assert_eq(psc_session_plugin(session, "sweep", "over=heads,do=patch", &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    cr_assert_eq(run_phase(session, fixture_ids, N_IDS, PSC_PHASE_SOURCE), PSC_OK);
    cr_assert_eq(run_phase(session, fixture_ids, N_IDS, PSC_PHASE_CHANGED), PSC_OK);
    const psc_array normalized = must_array(session, "sweep.normalized");
    for (int64_t i = 0; i < array_count(&normalized); i++)
        cr_assert(isnan(array_at(&normalized, i)));
    cr_expect_eq(bars_shown(session), 0); /* all effects are 0 */
    psc_session_close(&session);
    psc_model_close(&model);
}

/* Rows that are the same in both prompts have no effect, and zeros are not listed as largest. */
Test(sweep, zeros_are_not_largest) {
    const int32_t source[N_IDS] = {fixture_ids[0], fixture_ids[1], fixture_ids[2], fixture_ids[3],
        fixture_ids[4] == 60 ? 55 : 60};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    cr_assert_eq(
        psc_session_plugin(session, "sweep", "over=resid_pre,do=patch,top=20", &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    cr_assert_eq(run_phase(session, source, N_IDS, PSC_PHASE_SOURCE), PSC_OK);
    cr_assert_eq(run_phase(session, fixture_ids, N_IDS, PSC_PHASE_CHANGED), PSC_OK);
    const psc_array effect = must_array(session, "sweep.effect");
    int n = 0;
    for (int64_t i = 0; i < array_count(&effect); i++) n += array_at(&effect, i) != 0.0;
    cr_expect_eq(bars_shown(session), n);
    cr_expect(n > 0 && n < 20 && n < array_count(&effect));
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(sweep, golden_parallel) {
    check_model("parallel_f32");
}

Test(sweep, golden_sequential) {
    check_model("sequential_f32");
}

Test(sweep, bits) {
    static const char *const cases[] = {"over=heads_by_pos,do=patch", "over=edges,do=cut,metric=kl",
        "over=heads,do=mean,metric=log_prob"};
    static const fixture_run ways[] = {{.isa = "reference", .threads = 1},
        {.isa = "reference", .threads = 2, .chunk = 2}, {.threads = 3, .chunk = 1}};
    static const char *const arrays[] = {"sweep.effect", NULL};
    const fixture_run plain = {.threads = 1};
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    for (int c = 0; c < 3; c++) {
        psc_session *first = swept(model, cases[c], &plain);
        for (int w = 0; w < 3; w++) {
            psc_session *other = swept(model, cases[c], &ways[w]);
            assert_same_arrays(first, other, arrays, cases[c]);
            psc_session_close(&other);
        }
        psc_session_close(&first);
    }
    psc_model_close(&model);
}

static void refused_options(const char *options, const char *word) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    cr_assert_neq(psc_session_plugin(session, "sweep", options, &error), PSC_OK);
    cr_assert(strstr(error.message, word), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(sweep, refusals) {
    refused_options("over=neurons", "heads_by_pos");
    refused_options("do=resample", "patch");
    refused_options("metric=loss", "log_prob");
    refused_options("do=cut", "edges");
    refused_options("over=edges,do=mean", "mean");
    refused_options("over=edges,layer=99", "layer");
    refused_options("top=0", "top");
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    cr_assert_eq(psc_session_plugin(session, "sweep", "do=patch", &error), PSC_OK);
    cr_assert_neq(run_phase(session, fixture_ids, N_IDS, PSC_PHASE_ONLY), PSC_OK);
    cr_assert(strstr(error.message, "source prompt"), "%s", error.message);
    cr_assert_eq(run_phase(session, source_ids, N_IDS + 1, PSC_PHASE_SOURCE), PSC_OK);
    cr_assert_neq(run_phase(session, fixture_ids, N_IDS, PSC_PHASE_CHANGED), PSC_OK);
    cr_assert(strstr(error.message, "6 tokens and the prompt 5"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}
