/* The editor direction against golden files: logits of TransformerLens's run_with_hooks with the
 * same projections by hand, figures and predictions in float64. */
#define FOLDER PSC_SOURCE_DIR "/tests/golden/directions/"
#include "interventions_fixture.h"

#define RESID "at=blocks.1.hook_resid_pre"

static const intervention_case cases[] = {
    {"out_vector", {"direction " RESID ",rows=2-8,tensor=vector," VALUES}},
    {"out_basis", {"direction at=blocks.0.hook_resid_post,tensor=basis," VALUES}},
    {"out_named", {"direction at=blocks.*.hook_resid_pre,along=L0N5.in+L1N7.out+W_U:#5-#9"}},
    {"out_folded", {"direction " RESID ",folded=yes,along=L0N5.in+W_U:#7+L1H1.Q"}},
    {"out_writes", {"direction at=blocks.1.hook_resid_post,along=L1H1.O"}},
    {"out_embed", {"direction at=embed,along=W_E:#3"}},
    {"out_head", {"direction at=L0H1,tensor=heads,index=1," VALUES}},
    {"out_z", {"direction at=blocks.0.attn.hook_z,tensor=z," VALUES}},
    {"set_vector", {"direction at=0_mlp_out,do=set,value=1.5,rows=1-6,tensor=vector," VALUES}},
    {"set_two", {"direction " RESID ",do=set,value=1+-5e-1,tensor=basis,index=0+2," VALUES}},
    {"set_mean", {"direction " RESID ",do=set,value=mean,tensor=basis,index=0-2," VALUES}},
    {"add_vector", {"direction " RESID ",do=add,alpha=-2,tensor=vector," VALUES}},
    {"add_post",
        {"direction at=blocks.0.mlp.hook_post,do=add,alpha=0.5,tensor=post,index=1," VALUES}},
    {"swap_columns", {"direction " RESID ",do=swap,tensor=rotation,vectors=columns," VALUES}},
    {"swap_heads", {"direction at=blocks.1.attn.hook_z,heads=1,do=swap,tensor=heads," VALUES}},
    {"out_means", {"direction at=0_mlp_out,of=mean"}},
    {"out_components", {"direction " RESID ",plus=1+2,minus=3-4,pca=2"}},
    {"set_component", {"direction " RESID ",plus=1-2,minus=3+4,pca=1,do=set,value=2"}},
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

static void run_cases(const char *name) {
    for (int i = 0; i < N_CASES; i++) run_case(name, &cases[i]);
}

Test(direction, parallel) {
    run_cases("parallel_f32");
}

Test(direction, sequential) {
    run_cases("sequential_f32");
}

Test(direction, same_bits) {
    for (int i = 0; i < N_CASES; i++) same_bits(&cases[i]);
}

/* The coordinate of every row along the unit vector of W_in's row is the one that was set. */
Test(direction, coordinates) {
    open_variant("parallel_f32", NULL, 1, 0);
    must_load("direction " RESID ",along=L0N5.in,do=set,value=3");
    cr_assert_eq(psc_session_capture(session, "blocks.1.hook_resid_pre", &error), PSC_OK);
    cr_assert_eq(run_phase(prompt, n_prompt, PSC_PHASE_ONLY, 0), PSC_OK, "%s", error.message);
    const psc_array x = must_array("blocks.1.hook_resid_pre");
    psc_tensors *weights = golden_open(golden_path("parallel_f32", "model.safetensors"));
    const psc_tensor *w = golden_find(weights, "gpt_neox.layers.0.mlp.dense_h_to_4h.weight");
    float *rows = golden_f32(w, w->size / 4);
    const int64_t n = x.shape[1];
    for (int64_t r = 0; r < x.shape[0]; r++) {
        double dot = 0.0, squares = 0.0;
        for (int64_t i = 0; i < n; i++) {
            const double b = rows[5 * n + i];
            dot += b * (double)((const float *)x.data)[r * n + i];
            squares += b * b;
        }
        cr_assert_float_eq(dot / sqrt(squares), 3.0, 1e-5);
    }
    free(rows);
    psc_tensors_close(&weights);
    close_variant();
}

/* A row behind the end of the source prompt, as when text is generated, stays as it is. */
Test(direction, behind_the_source) {
    const psc_input next = {0, 1, two};
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    open_variant("parallel_f32", NULL, 1, 0);
    must_load("direction at=embed,along=L0N5.in+L1H1.O,do=swap");
    cr_assert_eq(psc_session_capture(session, "hook_embed", &error), PSC_OK);
    cr_assert_eq(run_phase(one, n_one, PSC_PHASE_SOURCE, 0), PSC_OK, "%s", error.message);
    cr_assert_eq(run_phase(prompt, n_prompt, PSC_PHASE_CHANGED, 0), PSC_OK, "%s", error.message);
    run.phase = PSC_PHASE_CHANGED;
    cr_assert_eq(psc_session_run(session, &next, 1, &run, &error), PSC_OK, "%s", error.message);
    psc_tensors *weights = golden_open(golden_path("parallel_f32", "model.safetensors"));
    const psc_tensor *w = golden_find(weights, "gpt_neox.embed_in.weight");
    const psc_array x = must_array("hook_embed");
    const size_t bytes = (size_t)x.shape[x.n_axes - 1] * sizeof(float);
    cr_assert_eq(memcmp(x.data, w->data + (size_t)two[0].id * bytes, bytes), 0);
    psc_tensors_close(&weights);
    close_variant();
}

/* A batch of two sequences has the bits of each alone. */
Test(direction, batch) {
    const char *edit = "direction at=blocks.*.hook_resid_pre,along=L1H1.O,do=out";
    open_variant("parallel_f32", NULL, 1, 0);
    const size_t n = (size_t)psc_model_get_info(model)->d_vocab;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session *both = NULL;
    options.n_sequences = 2;
    cr_assert_eq(psc_session_open(&both, model, &options, &error), PSC_OK);
    must_load(edit);
    cr_assert_eq(psc_session_plugin(both, "direction", strchr(edit, ' ') + 1, &error), PSC_OK);
    const psc_input inputs[] = {{0, n_two, two}, {1, n_prompt, prompt}};
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    run.logits = PSC_ROWS_ALL;
    cr_assert_eq(psc_session_run(both, inputs, 2, &run, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(run_phase(prompt, n_prompt, PSC_PHASE_ONLY, 0), PSC_OK, "%s", error.message);
    for (int32_t r = 0; r < n_prompt; r++)
        cr_assert_eq(memcmp(psc_session_logits(both, n_two + r), psc_session_logits(session, r),
                         n * sizeof(float)),
            0);
    psc_session_close(&both);
    close_variant();
}

/* --- refusals -------------------------------------------------------------------------------- */

#define SAYS(edit, words)                                                                          \
    do {                                                                                           \
        error.message[0] = 0;                                                                      \
        cr_assert_neq(load("direction " edit), PSC_OK, "went well instead of: %s", words);         \
        cr_assert(strstr(error.message, words), "'%s' is not in: %s", words, error.message);       \
    } while (0)

static void open_small(void) {
    open_variant("parallel_f32", NULL, 1, 0);
}

TestSuite(direction_faults, .init = open_small, .fini = close_variant);

Test(direction_faults, places) {
    SAYS("along=L0N5.in", "at= is missing");
    SAYS("at=L0N5,along=L0N5.in", "is one number");
    SAYS("at=blocks.0.attn.hook_pattern,along=L0N5.in", "the number of keys");
    SAYS("at=blocks.0.mlp.hook_post,along=L0N5.in", "has 32 numbers and blocks.0.mlp.hook_post");
    SAYS("at=L0H1,along=L0N5.in", "has 32 numbers and blocks.0.attn.hook_z takes 8");
}

Test(direction_faults, names) {
    SAYS("at=embed,along=L2N5.in", "it has the form L3N12.in");
    SAYS("at=embed,along=L0N128.in", "it has the form L3N12.in");
    SAYS("at=embed,along=L0H4.O", "it has the form L3N12.in");
    SAYS("at=embed,along=L0N5.O", "it has the form L3N12.in");
    SAYS("at=embed,along=L0H1.inn", "it has the form L3N12.in");
    SAYS("at=embed,along=L0N5.in+", "a direction is L3N12.in");
    SAYS("at=embed,along=W_U:#80", "outside the vocabulary");
    SAYS("at=embed,along=W_U:#99999999999", "outside the vocabulary");
    SAYS("at=embed,along=W_U:#5-#5", "the difference is zero");
    SAYS("at=embed,along=W_U:#5x", "two with a minus between them");
    SAYS("at=embed,along=W_U:a", "a token in quotes");
    SAYS("at=embed,along=W_U:'a", "a token in quotes");
    SAYS("at=embed,along=W_U:''", "a token in quotes");
    SAYS("at=embed,along=W_U:'nothing'", "no token of this model");
    SAYS("at=embed,along=W_E:#3,folded=yes", "folded=yes needs what is read");
    SAYS("at=embed,along=L0H0.O,folded=yes", "folded=yes needs what is read");
    SAYS("at=embed,along=L0H0.O+L0H1.O+L0H2.O+L0H3.O+W_E:#1", "more than 32 vectors");
    SAYS("at=embed,along=W_U:#5+L0N5.in+W_U:#5", "direction 2 depends on those before it");
}

Test(direction_faults, files) {
    SAYS("at=embed,tensor=bad," VALUES, "not finite");
    SAYS("at=embed,tensor=dependent," VALUES, "direction 1 depends on those before it");
    SAYS("at=embed,tensor=zero," VALUES, "direction 0 is zero");
    SAYS("at=embed,tensor=post," VALUES, "takes vectors of 32 numbers as rows");
    SAYS("at=embed,tensor=rotation," VALUES, "vectors=columns takes the other form");
    SAYS("at=embed,tensor=basis,vectors=columns," VALUES, "as columns of a tensor");
    SAYS("at=embed,tensor=rotation,vectors=columns,index=2," VALUES, "has the columns 0 to 1");
    SAYS("at=embed,tensor=basis,index=3," VALUES, "has the entries 0 to 2");
    SAYS("at=embed,tensor=basis,index=0+x," VALUES, "index=x");
    SAYS("at=embed,tensor=basis,index=0-99999999," VALUES, "at most 65536 numbers");
    SAYS("at=embed,tensor=basis,index=1+1," VALUES, "direction 1 depends");
    SAYS("at=embed,tensor=vector,index=0," VALUES, "one vector");
    SAYS("at=embed,file=/nonexistent.safetensors", "/nonexistent.safetensors");
}

Test(direction_faults, options) {
    SAYS("at=embed,along=L0N5.in," VALUES, "leave one out");
    SAYS("at=embed,folded=yes", "folded=yes needs along=");
    SAYS("at=embed,tensor=x", "need file=");
    SAYS("at=embed,along=L0N5.in,pca=1", "pca= needs source prompts");
    SAYS("at=embed,along=L0N5.in,value=1", "value= needs do=set");
    SAYS("at=embed,along=L0N5.in,do=set", "do=set needs value=");
    SAYS("at=embed,along=L0N5.in,do=set,value=1+2", "1 finite number");
    SAYS("at=embed,along=L0N5.in,do=set,value=inf", "1 finite number");
    SAYS("at=embed,along=L0N5.in,do=set,value=1x", "1 finite number");
    SAYS("at=embed,along=L0N5.in,do=set,value=mean", "value=mean needs mean=FILE");
    SAYS("at=embed,along=L0N5.in,mean=x", "mean= needs value=mean");
    SAYS("at=embed,plus=1,minus=1", "name source prompt 1 twice");
    SAYS("at=embed,plus=0", "from 1 on");
    SAYS("at=embed,plus=", "plus=");
    SAYS("at=embed,plus=1-2,minus=3,pca=1", "plus= has 2 prompts and minus= has 1");
    SAYS("at=embed,pca=2", "at most 1 components");
}

Test(direction_faults, sources) {
    must_load("direction at=embed,plus=1,minus=2");
    cr_assert_eq(run_phase(one, n_one, PSC_PHASE_SOURCE, 0), PSC_OK);
    cr_assert_neq(run_phase(prompt, n_prompt, PSC_PHASE_CHANGED, 0), PSC_OK);
    cr_assert(strstr(error.message, "source prompt 2 is missing"), "%s", error.message);
    cr_assert_eq(run_phase(one, n_one, PSC_PHASE_SOURCE, 1), PSC_OK);
    cr_assert_neq(run_phase(prompt, n_prompt, PSC_PHASE_CHANGED, 0), PSC_OK);
    cr_assert(strstr(error.message, "direction 0 is zero"), "%s", error.message);
    cr_assert_eq(run_phase(two, n_two, PSC_PHASE_SOURCE, 1), PSC_OK);
    cr_assert_eq(run_phase(prompt, n_prompt, PSC_PHASE_CHANGED, 0), PSC_OK, "%s", error.message);
}

Test(direction_faults, swap) {
    must_load("direction at=embed,along=L0N5.in,do=swap,source=2");
    cr_assert_neq(run_phase(prompt, n_prompt, PSC_PHASE_CHANGED, 0), PSC_OK);
    cr_assert(strstr(error.message, "source prompt 2 is missing"), "%s", error.message);
    cr_assert_eq(run_phase(two, n_two, PSC_PHASE_SOURCE, 1), PSC_OK);
    cr_assert_neq(run_phase(prompt, n_prompt, PSC_PHASE_CHANGED, 0), PSC_OK);
    cr_assert(strstr(error.message, "6 tokens"), "%s", error.message);
}

Test(direction_faults, corpus) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session *many = NULL;
    options.accumulate = 1;
    cr_assert_eq(psc_session_open(&many, model, &options, &error), PSC_OK);
    cr_assert_neq(psc_session_plugin(many, "direction", "at=embed", &error), PSC_OK);
    cr_assert(strstr(error.message, "a corpus has no source prompts"), "%s", error.message);
    cr_assert_neq(
        psc_session_plugin(many, "direction", "at=embed,along=L0N5.in,do=swap", &error), PSC_OK);
    cr_assert(strstr(error.message, "use do=out"), "%s", error.message);
    cr_assert_eq(psc_session_plugin(many, "direction", "at=embed,along=L0N5.in", &error), PSC_OK);
    psc_session_close(&many);
}
