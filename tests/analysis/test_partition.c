/* The plugin partition: every figure against float64 by brute force, a real change of the run,
 * bits, options. test_partition_measure.c has the identities. */
#include "ln_mlp_fixture.h"

#define TOLERANCE 1e-5

static const char *const arrays[] = {"partition.log_z", "partition.log_z_gap", "partition.margin",
    "partition.top_share", "partition.mass", "partition.dlogz", "partition.mean_dz",
    "partition.expected_dz", "partition.first_order_error", "partition.half_variance",
    "partition.fit_alpha", "partition.fit_beta", "partition.fit_r2", "partition.constant_z_error",
    "partition.bin_dz", "partition.bin_abs_dz", "partition.bin_p_dz", "partition.reordered",
    "partition.dz", "partition.dlogp", "partition.target_ids", NULL};

/* --- float64 --------------------------------------------------------------------------------- */

static void check(const char *folder, const char *file, const char *options) {
    char path[64];
    snprintf(path, sizeof path, "../partition/%s", file);
    psc_model *model = must_model(folder);
    const fixture_run how = {.plugin = "partition", .options = options, .threads = 1};
    psc_session *session = fixture_session(model, &how);
    cr_assert_eq(compare_golden(session, path, "partition.", TOLERANCE), 21, "%s", file);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(partition, parallel_f32_is_the_brute_force) {
    check(golden_path("parallel_f32", NULL), "parallel_f32",
        "rows=2-4,level=layer+head,alphas=0+0.5");
}

Test(partition, other_models_are_the_brute_force) {
    check(golden_path("sequential_f32", NULL), "sequential_f32", "rows=3-4,alphas=0+1");
    check(golden_path("tied_f32", NULL), "tied_f32", "rows=last,level=head"); /* two, for `next` */
    check(golden_path("odd_sizes", NULL), "odd_sizes", "rows=3-4,alphas=0.25");
}

/* The component scaled in the pass itself, at every row. */
Test(partition, ablation_is_the_run_again) {
    check(golden_path("sequential_f32", NULL), "ablation",
        "rows=1-2,perturbations=ablation,level=layer+head,alphas=0+0.5");
}

/* 4096 tokens: every rank bin occurs. */
Test(partition, embedded_is_the_brute_force) {
    const char *folder = golden_embedded();
    if (!folder) return;
    check(folder, "embedded", "rows=3-4,components=embed+3_mlp_out+3_attn_bias+2_attn_out+L1H3");
}

/* --- a real change --------------------------------------------------------------------------- */

static int zero(const psc_event *event, void *payload) {
    (void)payload;
    for (int32_t r = 0; r < event->n_rows; r++)
        memset(event->tensor.data + r * event->tensor.stride[0], 0,
            (size_t)event->tensor.shape[1] * sizeof(float));
    return 0;
}

static double log_z(const float *z, int64_t n) {
    double most = -INFINITY, sum = 0.0;
    for (int64_t t = 0; t < n; t++) most = fmax(most, (double)z[t]);
    for (int64_t t = 0; t < n; t++) sum += exp((double)z[t] - most);
    return log(sum) + most;
}

/* The last layer's MLP reaches only the final LayerNorm: a run without it gives recomputed_ln
 * directly, and there dlogZ = sum p dz + KL(p || p'). */
Test(partition, the_last_mlp_left_out_for_real) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    const fixture_run how = {.plugin = "partition",
        .options = "perturbations=recomputed_ln,components=1_mlp_out",
        .threads = 1,
        .no_targets = 1};
    psc_session *session = fixture_session(model, &how);
    const int64_t n = psc_model_get_info(model)->d_vocab;
    float *z = malloc((size_t)n * sizeof *z);
    memcpy(z, psc_session_logits(session, N_IDS - 1), (size_t)n * sizeof *z);
    const double dlogz = array_at((psc_array[]){must_array(session, "partition.dlogz")}, 0);
    const double error =
        array_at((psc_array[]){must_array(session, "partition.first_order_error")}, 0);
    psc_session *changed = must_session(model, NULL, 1, 0);
    psc_filter filter = PSC_FILTER_INIT;
    const int32_t last = 1;
    filter.layers = &last;
    filter.n_layers = 1;
    psc_error e = {0};
    cr_assert_eq(psc_session_edit(changed, PSC_HOOK_MLP_OUT, &filter, zero, &e, &e), PSC_OK);
    psc_token tokens[N_IDS] = {{0}};
    for (int i = 0; i < N_IDS; i++) tokens[i].id = fixture_ids[i];
    must_run_one(changed, tokens, N_IDS);
    const float *after = psc_session_logits(changed, N_IDS - 1);
    const double before_z = log_z(z, n), after_z = log_z(after, n);
    double expected = 0.0, kl = 0.0;
    for (int64_t t = 0; t < n; t++) {
        const double p = exp((double)z[t] - before_z);
        expected += p * ((double)after[t] - (double)z[t]);
        kl += p * ((double)z[t] - before_z - ((double)after[t] - after_z));
    }
    cr_assert_float_eq(after_z - before_z, expected + kl, 1e-12);
    cr_assert_float_eq(dlogz, after_z - before_z, 2e-6);
    cr_assert_float_eq(error, kl, 2e-6);
    cr_assert_gt(kl, 1e-3, "the change is too small to show anything");
    free(z);
    psc_session_close(&changed);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* Partition's lenses add up writes, the plugin lens unembeds residuals. An edit of the residual
 * stream is one more write. */
static void check_lenses(const char *name, int edited) {
    psc_model *model = must_model(golden_path(name, NULL));
    fixture_run how = {.plugin = "partition",
        .options = "rows=all,perturbations=step",
        .threads = 2,
        .no_targets = 1,
        .edited = edited};
    psc_session *ours = fixture_session(model, &how);
    how.plugin = "lens";
    how.options = "rows=all";
    psc_session *lens = fixture_session(model, &how);
    const psc_array a = must_array(ours, "partition.log_z"), b = must_array(lens, "lens.log_z");
    cr_assert(a.shape[0] == b.shape[0] && a.shape[1] == b.shape[1]);
    for (int64_t i = 0; i < a.shape[0] * a.shape[1]; i++)
        cr_assert_float_eq(array_at(&a, i), array_at(&b, i), 2e-6 * (1.0 + fabs(array_at(&b, i))),
            "%s, edited %d, %ld: %.9g, not %.9g", name, edited, (long)i, array_at(&a, i),
            array_at(&b, i));
    psc_session_close(&lens);
    psc_session_close(&ours);
    psc_model_close(&model);
}

Test(partition, lenses_of_writes_are_those_of_residuals) {
    for (int edited = 0; edited < 2; edited++) {
        check_lenses("parallel_f32", edited);
        check_lenses("sequential_f32", edited);
        check_lenses("odd_sizes", edited);
    }
}

/* --- the same bits --------------------------------------------------------------------------- */

Test(partition, bits_do_not_depend_on_the_run) {
    fixture_run how = {
        .plugin = "partition", .options = "rows=all,level=layer+head,alphas=0+0.5", .threads = 1};
    assert_independent("parallel_f32", how, arrays);
    assert_independent("odd_sizes", how, arrays);
    assert_independent("sequential_f32", how, arrays);
    how.options = "rows=1-3,perturbations=ablation+step,level=layer+head,alphas=0.5";
    assert_independent("parallel_f32", how, arrays);
}

/* Fewer rows, components or perturbations: the remaining figures have the same bits. */
Test(partition, asking_less_changes_nothing) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    fixture_run how = {.plugin = "partition",
        .options = "rows=all,level=layer+head,perturbations=recomputed_ln",
        .threads = 2};
    psc_session *all = fixture_session(model, &how);
    how.options = "rows=3,components=L1H2,perturbations=recomputed_ln";
    psc_session *one = fixture_session(model, &how);
    const psc_array a = must_array(all, "partition.bin_abs_dz");
    const psc_array b = must_array(one, "partition.bin_abs_dz");
    /* embed, 0_attn_out, L0H0-3, 0_attn_bias, 0_mlp_out, 1_attn_out, L1H0, L1H1, L1H2 */
    const int64_t at = 11;
    for (int64_t g = 0; g < 3; g++)
        for (int64_t bin = 0; bin < 3; bin++)
            cr_assert_eq(array_at(&b, 5 * g + bin),
                array_at(&a, ((g * a.shape[1] + at) * N_IDS + 3) * 5 + bin));
    cr_assert_eq(must_array(one, "partition.log_z").shape[0], 1);
    psc_session_close(&one);
    psc_session_close(&all);
    psc_model_close(&model);
}

/* `next` alone with rows=auto: the last row that has a next token. */
Test(partition, next_takes_the_last_but_one_row) {
    psc_model *model = must_model(golden_path("tied_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    psc_error error = {0};
    psc_token tokens[N_IDS] = {{0}};
    for (int i = 0; i < N_IDS; i++) tokens[i].id = fixture_ids[i];
    cr_assert_eq(psc_session_plugin(session, "partition", NULL, &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, "next", &error), PSC_OK);
    must_run_one(session, tokens, N_IDS);
    const psc_array ids = must_array(session, "partition.target_ids");
    cr_assert_eq(ids.shape[1], 1);
    cr_assert_eq(array_at(&ids, 0), fixture_ids[N_IDS - 1]);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* --- options --------------------------------------------------------------------------------- */

Test(partition, bad_options) {
    static const char *const bad[] = {"rows=first", "rows=7-9", "perturbations=", "level=neuron",
        "perturbations=frozen", "level=layer+", "alphas=1.5", "alphas=-0.1", "alphas=nan",
        "alphas=0x0", "alphas=0+", "alphas=", "components=L0H4", "components=L2H0",
        "components=2_mlp_out", "components=L0N3", "components=embed+",
        "components=", "components=0_attn_out_and_more_than_any_label_of_a_component_could_hold",
        "alphas=0+0+0+0+0+0+0+0+0+0+0+0+0+0+0+0+0"};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        psc_session *session = must_session(model, NULL, 1, 0);
        psc_error error = {0};
        psc_token tokens[N_IDS] = {{0}};
        psc_input input = {0, N_IDS, tokens};
        psc_status status = psc_session_plugin(session, "partition", bad[i], &error);
        if (status == PSC_OK) status = psc_session_run(session, &input, 1, NULL, &error);
        cr_assert_neq(status, PSC_OK, "%s was taken", bad[i]);
        const size_t key = strcspn(bad[i], "=");
        cr_assert(strstr(error.message, "plugin partition: "), "%s", error.message);
        const char *named = strstr(error.message, "partition: ") + strlen("partition: ");
        cr_assert_eq(strncmp(named, bad[i], key), 0, "%s: %s", bad[i], error.message);
        psc_session_close(&session);
    }
    psc_model_close(&model);
}
