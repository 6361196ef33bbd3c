/* The plugins ablate, scale, steer, knockout, patch and effects against golden files: logits of
 * TransformerLens's run_with_hooks, figures and predictions in float64. */
#include "interventions_fixture.h"

static const intervention_case cases[] = {
    {"zero_head", {"ablate at=L0H1"}},
    {"zero_mlp", {"ablate at=1_mlp_out"}},
    {"zero_neuron", {"ablate at=L0N5,rows=2-6"}},
    {"zero_embed", {"ablate at=embed,rows=4"}},
    {"zero_many", {"ablate at=L*H0+0_attn_out,rows=last"}},
    {"mean_head", {"ablate at=L0H1,by=mean"}},
    {"mean_mlp", {"ablate at=1_mlp_out,by=mean,rows=3-8"}},
    {"resample", {"ablate at=L1H0+0_mlp_out,by=resample,source=2"}},
    {"scale_filtered", {"scale at=blocks.*.attn.hook_z,alpha=0.25,layers=1,heads=1"}},
    {"scale_resid", {"scale at=blocks.1.hook_resid_pre,alpha=1.5,rows=5"}},
    {"scale_scores", {"scale at=blocks.0.attn.hook_attn_scores,alpha=2,heads=1"}},
    {"scale_pre", {"scale at=blocks.0.mlp.hook_pre,alpha=0.5"}},
    {"scale_ln1", {"scale at=blocks.1.ln1.hook_scale,alpha=1.25"}},
    {"steer_file", {"steer at=blocks.1.hook_resid_pre,alpha=-1.5,rows=2-8,tensor=vector," VALUES}},
    {"steer_change", {"steer at=0_mlp_out,alpha=2"}},
    {"steer_means", {"steer at=L1H1,of=mean"}},
    {"mean_file", {"ablate at=L0H1+1_mlp_out,by=mean," VALUES}},
    {"knockout", {"knockout at=L0H1+L1H0,keys=1-3,rows=5-8"}},
    {"knockout_last", {"knockout at=L*H*,keys=2,rows=last"}},
    {"patch_head", {"patch at=L0H1"}},
    {"patch_resid", {"patch at=blocks.1.hook_resid_pre,rows=3"}},
    {"patch_pattern", {"patch at=blocks.1.attn.hook_pattern"}},
    {"patch_q", {"patch at=blocks.1.attn.hook_q,heads=1"}},
    {"combined",
        {"ablate at=L0H1", "knockout at=L1H0,keys=0-1,rows=4-8", "patch at=1_mlp_out,rows=2-6",
            "steer at=blocks.1.hook_resid_pre,alpha=0.5,tensor=vector," VALUES}},
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

Test(interventions, parallel) {
    for (int i = 0; i < N_CASES; i++) run_case("parallel_f32", &cases[i]);
}

Test(interventions, sequential) {
    for (int i = 0; i < N_CASES; i++) run_case("sequential_f32", &cases[i]);
}

Test(interventions, same_bits) {
    for (int i = 0; i < N_CASES; i++) same_bits(&cases[i]);
}

/* The phases BASE and SOURCE edit nothing: the logits equal those of a session without plugins. */
Test(interventions, no_edit_before) {
    open_variant("sequential_f32", NULL, 1, 0);
    psc_session *plain = must_session(model, NULL, 1, 0);
    const size_t bytes = (size_t)psc_model_get_info(model)->d_vocab * sizeof(float);
    load_case(&cases[N_CASES - 1]);
    must_run_phases();
    psc_input input = {0, n_prompt, prompt};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.logits = PSC_ROWS_ALL;
    cr_assert_eq(psc_session_run(plain, &input, 1, &options, &error), PSC_OK);
    for (int32_t phase = PSC_PHASE_SOURCE; phase <= PSC_PHASE_CHANGED; phase++) {
        cr_assert_eq(run_phase(prompt, n_prompt, phase, 5), PSC_OK, "%s", error.message);
        int same = 1;
        for (int32_t r = 0; r < n_prompt; r++)
            same &= !memcmp(psc_session_logits(session, r), psc_session_logits(plain, r), bytes);
        cr_assert_eq(same, phase != PSC_PHASE_CHANGED, "phase %d", (int)phase);
    }
    psc_session_close(&plain);
    close_variant();
}

/* The values of a second round of runs replace those of the first. */
Test(interventions, twice) {
    open_variant("parallel_f32", NULL, 1, 0);
    load_case(&cases[5]);
    cr_assert_eq(run_phase(two, n_two, PSC_PHASE_BASE, 0), PSC_OK, "%s", error.message);
    cr_assert_eq(run_phase(two, n_two, PSC_PHASE_CHANGED, 0), PSC_OK, "%s", error.message);
    must_run_phases();
    compare_logits(cases[5].name);
    must_run_phases();
    compare_logits(cases[5].name);
    close_variant();
}

/* The attention of a cut head: zero at the keys, the rest renormalized. */
Test(interventions, cut_pattern) {
    open_variant("parallel_f32", NULL, 1, 0);
    must_load("knockout at=L0H1,keys=1-3,rows=5-8");
    cr_assert_eq(psc_session_capture(session, "blocks.0.attn.hook_pattern", &error), PSC_OK);
    cr_assert_eq(run_phase(prompt, n_prompt, PSC_PHASE_CHANGED, 0), PSC_OK, "%s", error.message);
    const psc_array array = must_array("blocks.0.attn.hook_pattern");
    for (int64_t h = 0; h < array.shape[0]; h++)
        for (int64_t j = 0; j < n_prompt; j++) {
            const float *row = (const float *)array.data + (h * n_prompt + j) * n_prompt;
            double sum = 0.0;
            for (int64_t k = 0; k < n_prompt; k++) {
                sum += (double)row[k];
                const int cut = h == 1 && j >= 5 && k >= 1 && k <= 3;
                cr_assert_eq(row[k] == 0.0f, cut || k > j);
            }
            cr_assert(fabs(sum - 1.0) < 1e-6);
        }
    close_variant();
}

/* The whole embedding of the source makes its run: normalized is 1. A head of it lies between. */
Test(interventions, normalized) {
    for (int whole = 0; whole < 2; whole++) {
        open_variant("parallel_f32", NULL, 1, 0);
        must_load(whole ? "patch at=embed" : "patch at=L0H1");
        must_load("effects rows=all");
        add_targets();
        cr_assert_eq(run_phase(one, n_one, PSC_PHASE_SOURCE, 0), PSC_OK, "%s", error.message);
        cr_assert_eq(run_phase(prompt, n_prompt, PSC_PHASE_BASE, 0), PSC_OK, "%s", error.message);
        cr_assert_eq(run_phase(prompt, n_prompt, PSC_PHASE_CHANGED, 0), PSC_OK);
        cr_assert_eq(n_one, n_prompt);
        const double *dz = must_array("effects.dz").data;
        const double *base = must_array("effects.base_value").data;
        const double *source = must_array("effects.source_value").data;
        const psc_array got = must_array("effects.normalized");
        const double *normalized = got.data;
        for (int64_t i = 0; i < N_TARGETS * n_prompt; i++) {
            const double want = whole ? 1.0 : dz[i] / (source[i] - base[i]);
            if (isnan(base[i]) || source[i] == base[i])
                cr_assert(isnan(normalized[i]));
            else
                cr_assert_float_eq(normalized[i], want, 1e-6);
        }
        cr_assert_eq(run_phase(two, n_two, PSC_PHASE_SOURCE, 1), PSC_OK);
        cr_assert_eq(run_phase(prompt, n_prompt, PSC_PHASE_CHANGED, 0), PSC_OK);
        psc_array none;
        cr_assert_neq(psc_session_array(session, "effects.normalized", &none, &error), PSC_OK);
        close_variant();
    }
}
