/* Refusals of interventions: one sentence that names the field, and the session stays usable. */
#include "interventions_fixture.h"

static void open_small(void) {
    open_variant("parallel_f32", NULL, 1, 0);
}

TestSuite(interventions_faults, .init = open_small, .fini = close_variant);

#define SAYS(call, words)                                                                          \
    do {                                                                                           \
        error.message[0] = 0;                                                                      \
        cr_assert_neq((call), PSC_OK, "went well instead of: %s", words);                          \
        cr_assert(strstr(error.message, words), "'%s' is not in: %s", words, error.message);       \
    } while (0)

Test(interventions_faults, places) {
    SAYS(load("ablate at=L2H0"), "it has embed, heads L0H0 to L1H3, neurons L0N0 to L1N127");
    SAYS(load("ablate at=L0H4"), "not a component of this model");
    SAYS(load("ablate at=L0N128"), "not a component of this model");
    SAYS(load("ablate at=L99999999999H0"), "not a component of this model");
    SAYS(load("ablate at=-1_mlp_out"), "not a component of this model");
    SAYS(load("ablate at=0_mlp_bias"), "not a component of this model");
    SAYS(load("ablate at=blocks.2.hook_resid_pre"), "not a component of this model");
    SAYS(load("ablate at=blocks.0.hook_nothing"), "not a component of this model");
    SAYS(load("ablate at=blocks.0.hook_logits"), "not a component of this model");
    SAYS(load("ablate at=L0H1+"), "not a component of this model");
    SAYS(load("ablate at=blocks.0.hook_resid_mid"), "no hook_resid_mid");
    SAYS(load("ablate at="), "at= is missing");
    SAYS(load("ablate at=L*H0,layers=2"), "layers A-B of 0 to 1");
    SAYS(load("scale at=blocks.0.attn.hook_z,heads=3-4"), "heads A-B of 0 to 3");
    SAYS(load("ablate at=L0H0,layers=1"), "leave no place");
    SAYS(load("steer at=blocks.0.attn.hook_pattern"), "the number of keys");
    SAYS(load("ablate at=blocks.0.attn.hook_attn_scores,by=mean"), "the number of keys");
    SAYS(load("ablate at=blocks.0.attn.hook_pattern,by=resample"), "the number of keys");
    SAYS(load("knockout at=0_attn_out,keys=1"), "a knockout acts on heads only");
}

Test(interventions_faults, numbers) {
    SAYS(load("scale at=embed,alpha=nan"), "not a finite number");
    SAYS(load("scale at=embed,alpha=inf"), "not a finite number");
    SAYS(load("scale at=embed,alpha=1e39"), "not a finite number");
    SAYS(load("scale at=embed,alpha="), "not a finite number");
    SAYS(load("patch at=embed,source=0"), "source=0");
    SAYS(load("patch at=embed,rows=3-1"), "rows=3-1");
    SAYS(load("knockout at=L0H0,keys="), "keys=");
    SAYS(load("steer at=embed,plus=2,minus=2"), "the same source prompt");
}

Test(interventions_faults, files) {
    SAYS(load("steer at=embed,file=/nonexistent.safetensors"), "/nonexistent.safetensors");
    SAYS(load("steer at=embed," VALUES), "no tensor \"hook_embed\"");
    SAYS(load("steer at=embed,tensor=bad," VALUES), "not finite");
    SAYS(load("steer at=blocks.0.mlp.hook_post,tensor=vector," VALUES), "takes 128");
    SAYS(load("steer at=1_mlp_out,tensor=blocks.0.attn.hook_z,file=" PSC_SOURCE_DIR "/README.md"),
        "is it a safetensors file?");
    SAYS(load("ablate at=L0H0,file=x"), "file= needs by=mean");
    /* Four rows of the whole point give a mean; a tensor of another width does not. */
    must_load("ablate at=blocks.0.attn.hook_z,by=mean," VALUES);
    SAYS(load("ablate at=L0N3,by=mean,tensor=vector," VALUES), "takes 128");
}

static psc_status changed(void) {
    return run_phase(prompt, n_prompt, PSC_PHASE_CHANGED, 0);
}

Test(interventions_faults, missing_runs) {
    must_load("ablate at=L0H0,by=mean");
    SAYS(changed(), "needs a run of the unchanged prompt first");
    SAYS(run_phase(prompt, n_prompt, PSC_PHASE_ONLY, 0), "needs a run of the unchanged prompt");
    cr_assert_eq(run_phase(prompt, n_prompt, PSC_PHASE_BASE, 0), PSC_OK);
    cr_assert_eq(changed(), PSC_OK, "%s", error.message);
}

Test(interventions_faults, missing_source) {
    must_load("patch at=L0H0,source=2");
    cr_assert_eq(run_phase(one, n_one, PSC_PHASE_SOURCE, 0), PSC_OK);
    SAYS(run_phase(prompt, n_prompt, PSC_PHASE_BASE, 0), "source prompt 2 is missing");
    cr_assert_eq(run_phase(two, n_two, PSC_PHASE_SOURCE, 1), PSC_OK);
    SAYS(changed(), "source prompt 2 has 6 tokens and this prompt has 9");
    cr_assert_eq(run_phase(one, n_one, PSC_PHASE_SOURCE, 1), PSC_OK);
    cr_assert_eq(changed(), PSC_OK, "%s", error.message);
}

Test(interventions_faults, no_key_left) {
    must_load("knockout at=L0H1,keys=0");
    SAYS(changed(), "row 0 would keep no key");
}

Test(interventions_faults, no_key_left_together) {
    must_load("knockout at=L0H1,keys=0-3,rows=4-8");
    must_load("knockout at=L0H*,keys=4-5,rows=5");
    SAYS(changed(), "row 5 of L0H1 would keep no key");
}

/* Positions outside the text: refused as in other plugins, except while the text may continue. */
Test(interventions_faults, rows_beyond) {
    must_load("ablate at=L0H1,rows=9-30");
    cr_assert_eq(run_phase(prompt, n_prompt, PSC_PHASE_ONLY, 0), PSC_OK, "%s", error.message);
    SAYS(changed(), "plugin ablate: rows=9-30 contains none of the text's positions 0-8");
}

Test(interventions_faults, rows_in_part_beyond) {
    must_load("ablate at=L0H1,rows=8-30");
    must_load("knockout at=L0H1,keys=8-30,rows=0-7");
    cr_assert_eq(changed(), PSC_OK, "%s", error.message);
}

Test(interventions_faults, keys_beyond) {
    must_load("knockout at=L0H1,keys=9-30");
    cr_assert_eq(run_phase(prompt, n_prompt, PSC_PHASE_ONLY, 0), PSC_OK, "%s", error.message);
    SAYS(changed(), "plugin knockout: keys=9-30 contains none of the text's positions 0-8");
}

Test(interventions_faults, effects_alone) {
    must_load("effects");
    SAYS(run_phase(prompt, n_prompt, PSC_PHASE_ONLY, 0), "compares two runs");
    cr_assert_eq(run_phase(two, n_two, PSC_PHASE_BASE, 0), PSC_OK);
    SAYS(changed(), "the second with an intervention");
    cr_assert_eq(run_phase(prompt, n_prompt, PSC_PHASE_BASE, 0), PSC_OK);
    cr_assert_eq(changed(), PSC_OK, "%s", error.message);
    const psc_array dz = must_array("effects.dz"), kl = must_array("effects.kl");
    cr_assert_eq(((const double *)dz.data)[0], 0.0);
    cr_assert_eq(((const double *)kl.data)[0], 0.0);
}

/* A failed run does not affect the next run. */
Test(interventions_faults, goes_on) {
    must_load("ablate at=L0H1");
    must_load("effects rows=all");
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    must_run_phases();
    const double want = ((const double *)must_array("effects.dz").data)[8];
    cr_assert_neq(run_phase(two, n_two, PSC_PHASE_CHANGED, 0), PSC_OK);
    cr_assert_eq(changed(), PSC_OK, "%s", error.message);
    cr_assert_eq(((const double *)must_array("effects.dz").data)[8], want);
}
