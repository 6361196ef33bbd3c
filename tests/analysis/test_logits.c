/* The plugin logits against float64 by brute force, on every kind of target, level and model, with
 * and without edits; every sum; labels. */
#include "logits_fixture.h"

/* --- golden arrays --------------------------------------------------------------------------- */

static float pattern(int64_t i) {
    return (float)((7 * i) % 5 - 2) / 8.0f;
}

/* The effect of an edit on a row of a point: x = scale x + add pattern. */
typedef struct edit_rule {
    psc_point point;
    int32_t layer; /* -1: none */
    float scale, add;
    int32_t head, unit; /* >= 0: this head is zeroed; this element becomes 1 */
} edit_rule;

static edit_rule rules[] = {
    {PSC_HOOK_EMBED, -1, 1, 0.5f, -1, -1}, {PSC_HOOK_Z, 0, 1, 0, 0, -1},
    {PSC_HOOK_RESULT, 0, 1, 0, 1, -1}, {PSC_HOOK_ATTN_OUT, 0, 1, 0.5f, -1, -1},
    {PSC_HOOK_MLP_OUT, 0, 2, 0, -1, -1}, {PSC_HOOK_RESID_POST, 0, 1, -0.25f, -1, -1},
    {PSC_HOOK_RESID_PRE, 1, 1, 1, -1, -1}, {PSC_HOOK_MLP_POST, 1, 1, 0, -1, 0},
    {PSC_HOOK_LN_FINAL_SCALE, -1, 1.25f, 0, -1, -1},
    {PSC_HOOK_LN_FINAL_NORMALIZED, -1, 1, 1, -1, -1}, {PSC_HOOK_LOGITS, -1, 1, 4, -1, -1},
    {PSC_HOOK_RESID_MID, 1, 1, 2, -1, -1}, /* sequential models only */
    {PSC_HOOK_V, 1, 1, 0, 1, -1},          /* the last two: level source only */
    {PSC_HOOK_PATTERN, 1, 2, 0, -1, -1},   /* of head 0 */
};
enum { N_RULES = sizeof rules / sizeof *rules - 2, N_SOURCE_RULES = N_RULES + 2 };

static int apply_rule(const psc_event *event, void *payload) {
    const edit_rule *rule = payload;
    const psc_view *t = &event->tensor;
    for (int32_t r = 0; r < event->n_rows; r++) {
        float *x = t->data + r * t->stride[0] + (rule->head > 0 ? rule->head * t->stride[1] : 0);
        for (int64_t i = 0; i < t->shape[t->n_axes - 1]; i++) {
            if (rule->head >= 0)
                x[i] = 0.0f;
            else if (rule->add != 0 || rule->scale != 1)
                x[i] = rule->scale * x[i] + rule->add * pattern(i);
        }
        if (rule->unit >= 0) x[rule->unit] = 1.0f;
    }
    return 0;
}

static void add_edits(int n) {
    for (int i = 0; i < n; i++) {
        if (rules[i].point == PSC_HOOK_RESID_MID && psc_model_get_info(model)->parallel_residual)
            continue;
        psc_filter filter = PSC_FILTER_INIT;
        filter.layers = &rules[i].layer;
        filter.n_layers = rules[i].layer >= 0;
        cr_assert_eq(
            psc_session_edit(session, rules[i].point, &filter, apply_rule, &rules[i], &error),
            PSC_OK, "%s", error.message);
    }
}

/* |got - want| <= 1e-5 (1 + sum |share|), NaN where NaN is expected. per: elements of one sum. */
static void compare(
    const psc_tensors *golden, const char *name, const float *sum_abs, int64_t per) {
    psc_array got = array_of(name);
    const int64_t n = elements_of(&got);
    float *want = golden_f32(golden_find(golden, name), (size_t)n);
    const float *have = got.data;
    for (int64_t i = 0; i < n; i++) {
        cr_assert_eq(!isnan(have[i]), !isnan(want[i]), "%s[%d] is %g, not %g", name, (int)i,
            have[i], want[i]);
        if (isnan(want[i])) continue;
        const double bound = 1e-5 * (1.0 + (sum_abs ? (double)sum_abs[i / per] : 0.0));
        cr_assert(fabs((double)have[i] - (double)want[i]) <= bound, "%s[%d] is %.9g, not %.9g",
            name, (int)i, have[i], want[i]);
    }
    free(want);
}

static void compare_level(const psc_tensors *golden, const char *suffix) {
    char shares[64], sums[64];
    snprintf(shares, sizeof shares, "contributions%s", suffix);
    snprintf(sums, sizeof sums, "sum_abs_share%s", suffix);
    const psc_array array = array_of(shares);
    const psc_array sum_abs = array_of(sums);
    compare(golden, shares, sum_abs.data, array.shape[2]);
    compare(golden, sums, sum_abs.data, 1);
    cr_assert(worst_sum(suffix, -1, 1, 1.0) <= LOGITS_BOUND);
}

static void golden_case(const char *folder, const char *name, int edited, int centered) {
    char path[1024];
    start(folder, NULL, 2, 4);
    load_logits(centered ? "level=layer+neuron+head,rows=all,centered=yes"
                         : "level=layer+neuron+head,rows=all");
    add_targets();
    if (edited) add_edits(N_RULES);
    must_run_one(session, six, 6);
    snprintf(path, sizeof path, "%s/tests/golden/logits/%s%s%s.safetensors", PSC_SOURCE_DIR, name,
        edited ? "_edited" : "", centered ? "_centered" : "");
    psc_tensors *golden = golden_open(path);
    const psc_array ids = array_of("target_ids");
    const psc_tensor *want = golden_find(golden, "target_ids");
    cr_assert_eq(want->size, (size_t)elements_of(&ids) * 4);
    cr_assert_eq(memcmp(ids.data, want->data, want->size), 0, "%s: other ids", name);
    compare(golden, "values", array_of("sum_abs_share").data, 1);
    compare(golden, "constant", NULL, 1);
    compare(golden, "sigma", NULL, 1);
    for (int i = 0; i < 3; i++) compare_level(golden, level_suffix[i]);
    cr_assert_eq(value_of("complete"), 1.0);
    cr_assert_eq(value_of("sums_checked"), 29.0 * 3); /* 5 targets, 6 rows, next has 5 */
    cr_assert(value_of("completeness") <= LOGITS_BOUND);
    psc_tensors_close(&golden);
    stop();
}

Test(logits, float64) {
    const char *const names[] = {
        "parallel_f32", "sequential_f32", "tied_f32", "odd_sizes", "no_attention_bias"};
    for (size_t i = 0; i < 5; i++) golden_case(golden_path(names[i], NULL), names[i], 0, 0);
    golden_case(LARGE_EPS, "large_eps", 0, 0);
}

Test(logits, centered) {
    golden_case(golden_path("odd_sizes", NULL), "odd_sizes", 0, 1);
}

Test(logits, edited) {
    golden_case(golden_path("sequential_f32", NULL), "sequential_f32", 1, 0);
    golden_case(golden_path("tied_f32", NULL), "tied_f32", 1, 0);
    golden_case(golden_path("tied_f32", NULL), "tied_f32", 1, 1);
}

/* --- sources --------------------------------------------------------------------------------- */

static void sources_case(const char *name, int edited) {
    char path[1024];
    start(golden_path(name, NULL), NULL, 2, 4);
    load_logits("level=source,rows=all");
    add_targets();
    if (edited) add_edits(N_SOURCE_RULES);
    must_run_one(session, six, 6);
    snprintf(path, sizeof path, "%s/tests/golden/logits/%s%s_sources.safetensors", PSC_SOURCE_DIR,
        name, edited ? "_edited" : "");
    psc_tensors *golden = golden_open(path);
    compare(golden, "values", array_of("sum_abs_share").data, 1);
    compare_level(golden, "");
    cr_assert_eq(value_of("complete"), 1.0);
    cr_assert_eq(value_of("sums_checked"), 29.0);
    psc_tensors_close(&golden);
    stop();
}

Test(logits, sources) {
    sources_case("odd_sizes", 0);
    sources_case("no_attention_bias", 0);
    sources_case("sequential_f32", 1);
}

/* Cases without values, options that do not fit, and a corpus. */
Test(logits, source_refused) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    start(golden_path("odd_sizes", NULL), NULL, 1, 0);
    load_logits("level=source");
    must_run_one(session, six, 3);
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    cr_assert_neq(psc_session_run(session, &(psc_input){0, 3, six + 3}, 1, &run, &error), PSC_OK);
    cr_assert(strstr(error.message, "begins at position 3"), "%s", error.message);
    psc_session_close(&session);
    options.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    cr_assert_neq(psc_session_plugin(session, "logits", "level=source", &error), PSC_OK);
    cr_assert(strstr(error.message, "over a corpus use level=head"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
    start(golden_path("parallel_f32", NULL), NULL, 1, 0);
    load_logits("level=source,rows=all");
    for (int i = 0; i < 1500; i++) add_target("#5");
    psc_token many[300] = {{0}};
    cr_assert_neq(psc_session_run(session, &(psc_input){0, 300, many}, 1, &run, &error), PSC_OK);
    cr_assert(strstr(error.message, "GiB"), "%s", error.message);
    stop();
}

/* --- sums ------------------------------------------------------------------------------------ */

Test(logits, every_sum_on_every_model) {
    for (int i = 0; golden_variants[i]; i++) {
        start(golden_path(golden_variants[i], NULL), NULL, 2, 0);
        load_logits("level=layer+head+neuron,rows=all");
        add_targets();
        must_run_one(session, six, 6);
        for (int k = 0; k < 3; k++) {
            const double worst = worst_sum(level_suffix[k], -1, 1, 1.0);
            cr_assert(
                worst <= LOGITS_BOUND, "%s%s: %g", golden_variants[i], level_suffix[k], worst);
        }
        cr_assert_eq(value_of("complete"), 1.0, "%s", golden_variants[i]);
        cr_assert(summary_says("Complete: 87 sums checked"));
        stop();
    }
}

/* The check detects errors in the arrays: each component omitted in turn, b_t omitted, sigma
 * without eps. A component smaller than the bound cannot show and is skipped. */
Test(logits, broken_sums_are_seen) {
    start(LARGE_EPS, NULL, 1, 0);
    load_logits("level=layer+head+neuron,rows=all");
    add_targets();
    must_run_one(session, six, 6);
    int64_t seen = 0, all = 0;
    for (int k = 0; k < 3; k++) {
        char name[64];
        snprintf(name, sizeof name, "contributions%s", level_suffix[k]);
        const int64_t n = array_of(name).shape[2];
        for (int64_t c = 0; c < n; c++)
            seen += worst_sum(level_suffix[k], c, 1, 1.0) > LOGITS_BOUND;
        all += n;
        cr_assert(worst_sum(level_suffix[k], -1, 0, 1.0) > LOGITS_BOUND);
        const float *sigma = array_of("sigma").data;
        const double without = sigma[5] / sqrt((double)sigma[5] * sigma[5] - 1e-2);
        cr_assert(worst_sum(level_suffix[k], -1, 1, without) > LOGITS_BOUND);
    }
    cr_assert(seen == all, "%d of %d components are seen", (int)seen, (int)all);
    stop();
}

/* --- labels ---------------------------------------------------------------------------------- */

static const char *label(const char *axis, int64_t i) {
    const psc_result_axis entries = axis_of(axis);
    if (i < 0) i += entries.n;
    return entries.labels && i < entries.n ? entries.labels[i] : "";
}

/* The second run is longer: labels are made again. A range has the positions up to its end. */
Test(logits, source_labels) {
    start(golden_path("odd_sizes", NULL), NULL, 1, 0);
    load_logits("level=source+neuron,rows=1-3");
    add_targets();
    for (int32_t n = 3; n <= 6; n += 3) {
        const int keys = n < 4 ? n : 4;
        psc_session_truncate(session, 0, 0);
        must_run_one(session, six, n);
        const int64_t count = array_of("contributions.source").shape[2];
        cr_assert_eq(count, 1 + 2 * (5 * keys + 2));
        cr_assert_str_eq(label("components.source", 0), "embed");
        cr_assert_str_eq(label("components.source", 1), "L0H0@0");
        cr_assert_str_eq(label("components.source", 1 + 3 * keys + 2), "L0H3@2");
        cr_assert_str_eq(label("components.source", 1 + 5 * keys), "0_attn_bias");
        cr_assert_str_eq(label("components.source", count - 1), "1_mlp_out");
        cr_assert(worst_sum(".source", -1, 1, 1.0) <= LOGITS_BOUND);
        cr_assert_eq(value_of("complete"), 1.0);
    }
    stop();
}

/* parallel_f32: 2 layers, 4 heads, 128 neurons. */
Test(logits, components_are_labelled) {
    start(golden_path("parallel_f32", NULL), NULL, 1, 0);
    load_logits("level=neuron+layer+head");
    add_target("#5");
    must_run_one(session, six, 6);
    cr_assert_eq(array_of("contributions").shape[2], 1 + 2 * (4 + 1 + 128 + 1));
    cr_assert_eq(array_of("contributions.head").shape[2], 1 + 2 * (4 + 2));
    cr_assert_eq(array_of("contributions.layer").shape[2], 1 + 2 * 2);
    cr_assert_str_eq(label("components", 0), "embed");
    cr_assert_str_eq(label("components", 1), "L0H0");
    cr_assert_str_eq(label("components", 5), "0_attn_bias");
    cr_assert_str_eq(label("components", 6), "L0N0");
    cr_assert_str_eq(label("components", 134), "0_mlp_bias");
    cr_assert_str_eq(label("components", 135), "L1H0");
    cr_assert_str_eq(label("components", -1), "1_mlp_bias");
    cr_assert_str_eq(label("components.head", 6), "0_mlp_out");
    cr_assert_str_eq(label("components.layer", 3), "1_attn_out");
    cr_assert_str_eq(label("components.layer", -1), "1_mlp_out");
    cr_assert_str_eq(label("targets", 0), "#5");
    /* Without an editor after the sources there is no `edit`; with one there is. */
    add_edits(N_RULES);
    must_run_one(session, six, 6);
    cr_assert_str_eq(label("components", -1), "edit");
    cr_assert_str_eq(label("components.layer", -1), "edit");
    cr_assert_eq(array_of("contributions").shape[2], 2 + 2 * (4 + 1 + 128 + 1));
    stop();
}

/* An editor of the values that the shares are computed from adds no component. */
Test(logits, edit_upstream) {
    start(golden_path("parallel_f32", NULL), NULL, 1, 0);
    load_logits("level=neuron,rows=all");
    add_target("next");
    cr_assert_eq(psc_session_edit(session, PSC_HOOK_Z, NULL, apply_rule, &rules[1], &error), 0);
    cr_assert_eq(psc_session_edit(session, PSC_HOOK_EMBED, NULL, apply_rule, &rules[0], &error), 0);
    must_run_one(session, six, 6);
    cr_assert_str_eq(label("components", -1), "1_mlp_bias");
    cr_assert_eq(value_of("complete"), 1.0);
    const psc_array shares = array_of("contributions");
    for (int r = 0; r < 5; r++)
        cr_assert_eq(((const float *)shares.data)[r * shares.shape[2] + 1], 0.0f);
    stop();
}
