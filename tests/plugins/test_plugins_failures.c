/* Failing host calls in every built-in: each call fails in turn, in runs, in runs in phases, of
 * pairs and over documents. Each time the step that made the call fails with a sentence that names
 * the plugin, leaves nothing, and keeps the session usable: the same step then gives the same bits.
 *
 * A call fails in two ways. Told: it sets the run's error, as the host does. Silent: it does not,
 * so only the plugin can make the step fail. */
#include "files.h"
#include "failing_host.h"
#include "session_inside.h"

#include <criterion/parameterized.h>
#include <unistd.h>
#include <xxhash.h>

/* --- scenarios ------------------------------------------------------------------------------- */

/* PAIRS: PHASES of two examples of a set; CLASSES: training runs of two classes, then a held-out
 * one; REPORT: without a run */
typedef enum how { RUN, EDITED, PHASES, PAIRS, CORPUS, LABELLED, CLASSES, REPORT } how;

/* Options that reach other code; "%s" in them is a folder of this test. beside: a second plugin and
 * its options, loaded first. */
typedef struct scenario {
    const char *plugin, *options;
    how how;
    const char *model, *beside;
} scenario;

#define PARALLEL "parallel_f32"
#define SEQUENTIAL "sequential_f32"
#define NO_BIAS "no_attention_bias"
#define VALUES PSC_SOURCE_DIR "/tests/golden/interventions/parallel_f32_values.safetensors"
#define MEANS "means=" PSC_SOURCE_DIR "/tests/golden/interventions/"
#define DIRECTIONS PSC_SOURCE_DIR "/tests/golden/directions/parallel_f32_values.safetensors"
#define LABELS PSC_SOURCE_DIR "/tests/golden/structure/own.conllu"
#define DICTIONARY "path=" PSC_SOURCE_DIR "/tests/golden/sae/"
#define SAE "sae=" PSC_SOURCE_DIR "/tests/golden/sae/"
#define TUNED PSC_SOURCE_DIR "/tests/golden/lens/tuned_parallel_f32"

static const scenario scenarios[] = {
    {"logits", "level=layer+head+source+neuron,rows=all", RUN, PARALLEL, NULL},
    {"logits", "level=layer+head+source+neuron,centered=yes,rows=2-4", EDITED, SEQUENTIAL, NULL},
    {"logits", "level=head", RUN, NO_BIAS, NULL},
    {"logits", "level=layer+head", CORPUS, PARALLEL, NULL},
    {"ln", "", RUN, PARALLEL, NULL},
    {"ln", "target_rows=all,centered=yes", EDITED, SEQUENTIAL, NULL},
    {"ln", "", CORPUS, SEQUENTIAL, NULL},
    {"mlp", "", RUN, PARALLEL, NULL},
    {"mlp", "arrays=none,target_rows=all,centered=yes", RUN, SEQUENTIAL, NULL},
    {"mlp", "span=3", RUN, PARALLEL, NULL},
    {"mlp", "bins=4", CORPUS, PARALLEL, NULL},
    {"lens", "rows=all", RUN, SEQUENTIAL, NULL},
    {"lens", "ln=final,lens=" TUNED, RUN, PARALLEL, NULL},
    {"lens", "fit=%s,fit_from=0,fit_ridge=1", CORPUS, PARALLEL, NULL},
    {"sampling", "rows=all", RUN, PARALLEL, NULL},
    {"sampling", "", CORPUS, PARALLEL, NULL},
    {"loss", "", RUN, PARALLEL, NULL},
    {"loss", "", PHASES, SEQUENTIAL, "ablate at=L0H1"},
    {"loss", "early=1,late=3", CORPUS, PARALLEL, NULL},
    {"loss", "early=1,late=3", CORPUS, SEQUENTIAL, "ablate at=L0H1"},
    {"sweep", "", RUN, PARALLEL, NULL},
    {"sweep", "over=heads_by_pos,do=mean,metric=log_prob", RUN, SEQUENTIAL, NULL},
    {"sweep", "over=edges,do=cut,metric=kl,layer=1", RUN, PARALLEL, NULL},
    {"sweep", "over=resid_pre,do=patch", PHASES, PARALLEL, NULL},
    {"sweep", "over=heads,do=patch", PAIRS, SEQUENTIAL, NULL},
    {"sweep", "over=resid_pre,do=patch,metric=log_prob", PAIRS, PARALLEL, NULL},
    {"gradient", "baseline=mean,steps=16", RUN, PARALLEL, NULL},
    {"gradient", "target_rows=all,steps=0,baseline=token", RUN, SEQUENTIAL, NULL},
    {"attribution", "do=mean,exact=2,sample=3", RUN, PARALLEL, NULL},
    {"attribution", "over=neurons,metric=log_prob,exact=2,sample=3", RUN, SEQUENTIAL, NULL},
    {"attribution", "over=edges,do=patch,exact=2,sample=3", PHASES, PARALLEL, NULL},
    {"circuit", "edges=3,minimal=3", PHASES, PARALLEL, NULL},
    {"circuit", "scores=eap_ig,steps=2,metric=kl,edges=3,minimal=0,order=greedy", PHASES,
        SEQUENTIAL, NULL},
    {"circuit", "scores=eap_ig_activations,steps=1,edges=3,minimal=0", PHASES, SEQUENTIAL, NULL},
    {"circuit", "do=mean,edges=3,minimal=0", PHASES, SEQUENTIAL, NULL},
    {"circuit", "do=zero,edges=3,minimal=0", RUN, PARALLEL, NULL},
    {"attribution", "over=heads,do=patch,metric=kl,exact=2,sample=2", PHASES, PARALLEL, NULL},
    {"circuit", "do=mean,edges=3,minimal=0," MEANS "sequential_f32_means.safetensors", RUN,
        SEQUENTIAL, NULL},
    {"attribution", "do=mean,exact=2,sample=3," MEANS "parallel_f32_means.safetensors", RUN,
        PARALLEL, NULL},
    {"circuit", "path=L1H1.q<-L0H1", PHASES, PARALLEL, NULL},
    {"circuit", "path=logits<-L0H1,through=mlps", PHASES, SEQUENTIAL, NULL},
    {"means", "points=hook_embed+attn.hook_z,save=%s", CORPUS, PARALLEL, NULL},
    {"activations", "points=hook_embed+blocks.*.attn.hook_z,rows=3,dtype=f16,sample=0.9,out=%s",
        CORPUS, PARALLEL, NULL},
    {"frozen", "", RUN, PARALLEL, NULL},
    {"frozen", "map=upto,layer=1,token=7", RUN, SEQUENTIAL, NULL},
    {"frozen", "layer=1", RUN, NO_BIAS, NULL},
    {"graph", "threshold=0", RUN, PARALLEL, NULL},
    {"graph", "level=neuron,threshold=0,nodes=40", RUN, SEQUENTIAL, NULL},
    {"graph", "threshold=0", RUN, NO_BIAS, NULL},
    {"graph", "threshold=0,nodes=60," SAE "skip_transcoder", RUN, SEQUENTIAL, NULL},
    {"edges", "rows=all,by=norm", RUN, PARALLEL, NULL},
    {"edges", "carry=yes", RUN, NO_BIAS, NULL},
    {"roles", "angles=all", RUN, PARALLEL, NULL},
    {"roles", "target=given,onward=no,angles=none", RUN, SEQUENTIAL, NULL},
    {"neurons", "geometry=all", RUN, PARALLEL, NULL},
    {"neurons", "neuron=L1N3+L0N5,geometry=none", RUN, SEQUENTIAL, NULL},
    {"neurons", "contexts=2,geometry=1", CORPUS, PARALLEL, NULL},
    {"sae", DICTIONARY "topk,latent=3+4", RUN, PARALLEL, NULL},
    {"sae", DICTIONARY "sparsify_skip/layers.1.mlp,rows=2-4", RUN, SEQUENTIAL, NULL},
    {"sae", DICTIONARY "hook_z,shares=yes,top=3", RUN, PARALLEL, NULL},
    {"sae", DICTIONARY "sparsify_skip/layers.1.mlp,shares=yes,loss=no", RUN, SEQUENTIAL, NULL},
    {"sae", DICTIONARY "gated,contexts=2,loss=yes", CORPUS, PARALLEL, NULL},
    {"attention", "reader=L1H2,key=2", RUN, PARALLEL, NULL},
    {"attention", "reader=L1H0", RUN, NO_BIAS, NULL},
    {"attention", "reader=L0H1,row=1,patterns=yes", RUN, SEQUENTIAL, NULL},
    {"attention", "", CORPUS, PARALLEL, NULL},
    {"attention", "contexts=2", CORPUS, SEQUENTIAL, NULL},
    {"attention", "headvis=own,window=8,contexts=2", CORPUS, PARALLEL, NULL},
    {"spans", "levels=0+1/L1H2,prefixes=yes,closure=yes", RUN, PARALLEL, NULL},
    {"spans", "reads=weight,units=words", RUN, NO_BIAS, NULL},
    {"spans", "prefixes=yes,closure=yes", CORPUS, PARALLEL, NULL},
    {"spans", "heads=causal,links=frozen+causal,of=2-3", RUN, PARALLEL, NULL},
    {"spans", "heads=reads,links=frozen,of=2-3", RUN, NO_BIAS, NULL},
    {"spans", "heads=residual,of=1-3", RUN, SEQUENTIAL, NULL},
    {"spans", "levels=0+1/L1H2,heads=reads,links=frozen+causal,labels=" LABELS ",xml=%s", RUN,
        PARALLEL, NULL},
    {"partition", "level=layer+head,alphas=0+0.5,rows=all", RUN, PARALLEL, NULL},
    {"partition", "perturbations=ablation,components=embed+L0H1+1_attn_bias+0_mlp_out", RUN,
        NO_BIAS, NULL},
    {"partition", "perturbations=step+recomputed_ln+ablation", CORPUS, PARALLEL, NULL},
    {"weights", "what=all,top=3", RUN, PARALLEL, NULL},
    {"weights", "what=spectra+composition,offset=2", REPORT, PARALLEL, NULL},
    {"forms", "draws=2", RUN, PARALLEL, NULL},
    {"forms", "", CORPUS, SEQUENTIAL, NULL},
    {"words", "levels=0+1/L1H2,top=2", RUN, PARALLEL, NULL},
    {"words", "top=2", CORPUS, PARALLEL, NULL},
    {"ablate", "at=L0H1+1_mlp_out", RUN, PARALLEL, NULL},
    {"ablate", "at=L*H*+embed,by=mean", PHASES, PARALLEL, "effects "},
    {"ablate", "at=L0H1,by=resample", PHASES, SEQUENTIAL, NULL},
    {"ablate", "at=L0H1+1_mlp_out,by=mean,file=" VALUES, RUN, PARALLEL, NULL},
    {"ablate", "at=L0F3+F4," SAE "transcoder", RUN, PARALLEL, NULL},
    {"ablate", "at=F3," SAE "hook_z", CORPUS, PARALLEL, NULL},
    {"scale", "at=L0N3+blocks.1.attn.hook_pattern", RUN, PARALLEL, NULL},
    {"steer", "at=L0F3," SAE "constant_norm", PHASES, SEQUENTIAL, NULL},
    {"steer", "at=blocks.1.hook_resid_pre,of=mean", PHASES, PARALLEL, NULL},
    {"knockout", "at=L*H*,keys=1,rows=2-4", RUN, PARALLEL, NULL},
    {"patch", "at=blocks.0.hook_resid_post+blocks.1.attn.hook_attn_scores", PHASES, PARALLEL, NULL},
    {"patch", "at=blocks.0.hook_resid_post+L1H2,rows=1-4", PAIRS, PARALLEL, NULL},
    {"direction", "at=blocks.*.hook_resid_pre,along=L0N3.in+L1H1.O+W_U:#5-#7,rows=2-4", RUN,
        PARALLEL, NULL},
    {"direction", "at=embed,along=W_E:#3,folded=no,do=swap", PHASES, PARALLEL, NULL},
    {"direction", "at=L*H1,do=add,of=mean", PHASES, PARALLEL, NULL},
    {"direction", "at=embed,pca=1,do=set,value=1", PHASES, SEQUENTIAL, NULL},
    {"direction",
        "at=blocks.1.hook_resid_pre,do=set,value=mean,tensor=vector,mean=" DIRECTIONS
        ",file=" DIRECTIONS,
        RUN, PARALLEL, NULL},
    {"directions", "at=blocks.*.hook_resid_pre+L0H1,labels=a\nb,components=2,save=%s", CLASSES,
        PARALLEL, NULL},
    {"directions", "at=embed,labels=a\nb,rows=all,of=mean", CLASSES, PARALLEL, NULL},
    {"probe", "tasks=upos+question+feat:F,classes=2", LABELLED, PARALLEL, NULL},
    {"effects", "rows=all", PHASES, PARALLEL, "ablate at=L0H1+1_mlp_out"},
    {"effects", "", PAIRS, PARALLEL, "patch at=L0H1"},
    {"effects", "", PHASES, SEQUENTIAL, "scale at=blocks.1.attn.hook_q+blocks.0.mlp.hook_post"},
    {"treebank", "what=all,draws=3", CORPUS, PARALLEL, NULL},
};
enum { N_SCENARIOS = sizeof scenarios / sizeof *scenarios, LENGTH = 5 };

static char folder[64];

static void remove_saved(void) {
    static const char *const files[] = {"config.json", "params.safetensors"};
    char path[128];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    if (folder[0]) psc_folder_remove(folder); /* shards */
    rmdir(folder);
    unlink(folder); /* where it is a file */
}

static int shift(const psc_event *event, void *payload) {
    (void)payload;
    for (int32_t r = 0; r < event->n_rows; r++)
        event->tensor.data[r * event->tensor.stride[0]] += 0.25f;
    return 0;
}

static int accumulates(const scenario *s) {
    return s->how == CORPUS || s->how == LABELLED || s->how == CLASSES || s->how == REPORT;
}

static void open_for(const scenario *s) {
    static const psc_point edited[] = {PSC_HOOK_RESID_PRE, PSC_HOOK_RESID_POST, PSC_HOOK_Z,
        PSC_HOOK_RESULT, PSC_HOOK_ATTN_OUT, PSC_HOOK_MLP_OUT, PSC_HOOK_LN_FINAL_NORMALIZED,
        PSC_HOOK_LOGITS};
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.chunk = 3;
    options.threads = 1;
    options.n_sequences = 2;
    options.capacity = 16;
    options.accumulate = accumulates(s);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    remove_saved();
    if (!accumulates(s)) {
        cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
        cr_assert_eq(psc_session_target(session, "top:2", &error), PSC_OK);
        cr_assert_eq(psc_session_target(session, "next", &error), PSC_OK);
        cr_assert_eq(psc_session_contrast(session, "#7", "#9", &error), PSC_OK);
        if (s->how == PAIRS) cr_assert_eq(psc_session_target(session, "example", &error), PSC_OK);
    }
    for (size_t i = 0; s->how == EDITED && i < sizeof edited / sizeof *edited; i++)
        cr_assert_eq(psc_session_edit(session, edited[i], NULL, shift, NULL, &error), PSC_OK);
    if (!s->beside) return;
    char name[96], *rest;
    snprintf(name, sizeof name, "%s", s->beside);
    rest = strchr(name, ' ');
    *rest++ = 0;
    must_load(name, rest);
}

/* One word per sequence, with the bytes of none of its tokens. */
static bool needs_labels;
static void label_run(psc_run_options *options, int32_t n) {
    static const psc_word words[2] = {
        {0, 1, -1, "a", "g", "X", "", "", "", "Freq=2"}, {0, 1, -1, "b", "g", "X", "", "", "", ""}};
    static const psc_sentence labels[2] = {
        {"1", "a", 1, 0, 1, &words[0], 0, 0, 1}, {"2", "b", 1, 1, 1, &words[1], 0, 0, 2}};
    options->text = "ab";
    options->text_bytes = 2;
    options->sentences = labels;
    options->n_sentences = n;
}

/* Two examples: a contrast and a target, of which one token is aligned with none. */
static bool of_pairs;
static void pair_run(psc_run_options *options) {
    static const int32_t from[2][LENGTH] = {{0, 1, 3, -1, 4}, {0, 1, 2, 3}};
    static const psc_example examples[2] = {{0, 7, 9, from[0]}, {1, 3, -1, from[1]}};
    options->examples = examples;
}

static psc_status load_plugin(const scenario *s) {
    char options[512];
    snprintf(options, sizeof options, s->options, folder);
    needs_labels = strcmp(s->plugin, "forms") == 0;
    of_pairs = s->how == PAIRS;
    *bridge = *stood_in;
    bridge->open = failing_open;
    return psc_session_plugin(session, PLUGIN("bridge"), options, &error);
}

/* Sequences that begin with the model's token 0, each with a labelled
 * sentence of one-byte words. */
static psc_status run_sentences(int32_t first, int32_t n_inputs) {
    static psc_word words[LENGTH - 1];
    psc_token tokens[2][LENGTH];
    psc_sentence sentences[2];
    psc_input inputs[2];
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    for (int32_t w = 0; w < LENGTH - 1; w++)
        words[w] = (psc_word){(uint32_t)w, (uint32_t)w + 1, w - 1, "x", "x", "X", "", "", "", ""};
    for (int32_t i = 0; i < n_inputs; i++) {
        const uint32_t at = (uint32_t)(i * LENGTH);
        for (int32_t t = 0; t < LENGTH; t++)
            tokens[i][t] = (psc_token){
                t ? ten[first + i + t].id : 0, at + (uint32_t)(t ? t - 1 : 0), at + (uint32_t)t};
        inputs[i] = (psc_input){i, LENGTH - i, tokens[i]};
        sentences[i] = (psc_sentence){
            "", "xxxx", (uint32_t)(LENGTH - 1 - i), at, LENGTH - 1 - i, words, 0, 0, 1};
        psc_session_truncate(session, i, 0);
    }
    options.text = "xxxx xxxx ";
    options.text_bytes = 2 * LENGTH;
    options.sentences = sentences;
    options.n_sentences = n_inputs;
    return psc_session_run(session, inputs, n_inputs, &options, &error);
}

static psc_status run_tokens(int32_t first, int32_t n_inputs, int32_t phase, int32_t source) {
    if (strcmp(stood_in->name, "treebank") == 0) return run_sentences(first, n_inputs);
    psc_token tokens[2][LENGTH];
    psc_input inputs[] = {{0, LENGTH, tokens[0]}, {1, LENGTH - 1, tokens[1]}};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.phase = phase;
    options.source = source;
    for (int i = 0; i < 2; i++) {
        memcpy(tokens[i], ten + first + i, sizeof tokens[i]);
        if (psc_session_needs_bos(session)) tokens[i][0].id = psc_model_bos(model);
    }
    for (int32_t i = 0; i < 2; i++) psc_session_truncate(session, i, 0);
    if (needs_labels) label_run(&options, n_inputs);
    if (of_pairs) pair_run(&options);
    return psc_session_run(session, inputs, n_inputs, &options, &error);
}

/* Two sentences of three words, each behind the beginning-of-text token; n_tokens 1: only that. */
static psc_status run_labelled(int32_t phase, int32_t source, int32_t n_tokens) {
    static const psc_word words[] = {
        {0, 1, 1, "a", "a", "NOUN", "", "F=x", "nsubj", ""},
        {1, 2, -1, "b", "b", "VERB", "", "F=y", "root", ""},
        {2, 3, 1, "c", "c", "NOUN", "", "", "obj", ""},
    };
    static const psc_sentence sentences[] = {
        {"1", "abc", 3, 0, 3, words, 0, 0, 1}, {"2", "abc", 3, 3, 3, words, 0, 0, 5}};
    static const psc_token tokens[] = {
        {0, 0, 0}, {17, 0, 1}, {5, 1, 2}, {79, 2, 3}, {0, 3, 3}, {41, 3, 4}, {8, 4, 5}, {60, 5, 6}};
    const psc_input inputs[] = {{0, n_tokens, tokens}, {1, n_tokens, tokens + 4}};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.phase = phase;
    options.source = source;
    options.text = "abcabc";
    options.text_bytes = 6;
    options.sentences = sentences;
    options.n_sentences = 2;
    for (int32_t i = 0; i < 2; i++) psc_session_truncate(session, i, 0);
    return psc_session_run(session, inputs, 2, &options, &error);
}

static bool has_source(const scenario *s) {
    return s->how == PHASES || s->how == PAIRS;
}

/* The steps of a scenario: load the plugin, run it, and over documents report. */
static int n_steps(const scenario *s) {
    if (has_source(s) || s->how == LABELLED || s->how == CLASSES) return 5;
    return s->how == CORPUS ? 4 : 2;
}

static psc_status play_step(const scenario *s, int step) {
    if (step == 0) return load_plugin(s);
    if (accumulates(s) && step == n_steps(s) - 1) {
        if (strcmp(s->plugin, "activations") != 0) remove_saved(); /* its runs have written there */
        return psc_session_report(session, NULL, &error);
    }
    if (s->how == LABELLED)
        return run_labelled(step < 3 ? PSC_PHASE_SOURCE : PSC_PHASE_ONLY,
            step - 1 - (step == 3) * 2, step == 1 ? 1 : 4);
    if (s->how == CLASSES) /* sources 0, 2, 1 */
        return run_tokens(step, 2, PSC_PHASE_SOURCE, step == 3 ? 1 : 2 * (step - 1));
    if (s->how == CORPUS) return run_tokens(step, 3 - step, PSC_PHASE_ONLY, 0);
    if (!has_source(s)) return run_tokens(0, 1, PSC_PHASE_ONLY, 0);
    const int n = s->how == PAIRS ? 2 : 1; /* a set's source is run anew with each batch */
    if (step < 3) return run_tokens(step, n, PSC_PHASE_SOURCE, n == 1 ? step - 1 : 0);
    return run_tokens(0, n, step == 3 ? PSC_PHASE_BASE : PSC_PHASE_CHANGED, 0);
}

/* A hash of all results of the last step. */
static void digest_format(XXH3_state_t *state, const psc_results *results, psc_format format) {
    char *text = NULL;
    size_t bytes = 0;
    cr_assert_eq(psc_results_write_memory(&text, &bytes, results, format, NULL, &error), PSC_OK,
        "%s", error.message);
    XXH3_64bits_update(state, text, bytes);
    psc_free(text);
}

static uint64_t digest(void) {
    const psc_results *results = psc_session_results(session);
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    digest_format(state, results, PSC_FORMAT_JSON);
    digest_format(state, results, PSC_FORMAT_TEXT);
    for (int32_t s = 0; s < psc_results_section_count(results); s++) {
        psc_array array;
        for (int32_t i = 0; psc_results_array_at(&array, results, s, i, NULL) == PSC_OK; i++) {
            uint64_t bytes = array.element == PSC_F64 ? 8 : 4;
            for (int axis = 0; axis < array.n_axes; axis++) bytes *= (uint64_t)array.shape[axis];
            XXH3_64bits_update(state, array.data, bytes);
        }
    }
    psc_result_file file;
    for (int32_t i = 0; psc_results_file_at(&file, results, i, NULL) == PSC_OK; i++)
        XXH3_64bits_update(state, file.bytes, file.n);
    const uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

/* --- failures -------------------------------------------------------------------------------- */

/* The scenario without a failure: its calls and its results. */
static uint64_t play(const scenario *s, int numbers[N_CALLS]) {
    memset(counted, 0, sizeof counted);
    armed = N_CALLS;
    open_for(s);
    for (int step = 0; step < n_steps(s); step++)
        cr_assert_eq(play_step(s, step), PSC_OK, "%s %s: %s", s->plugin, s->options, error.message);
    const uint64_t hash = digest();
    cr_assert(psc_results_section_count(psc_session_results(session)) > 0);
    memcpy(numbers, counted, sizeof counted);
    psc_session_close(&session);
    return hash;
}

/* A failed run over documents that had already added a part invalidates the session. */
static bool is_spoilt(const scenario *s, int step) {
    if (s->how != CORPUS || step == 0 || step == 3) return false;
    const int added =
        counted[CALL_accumulate] + counted[CALL_accumulate_top] + counted[CALL_accumulate_record];
    return added > 0 && session->spoilt;
}

/* Later runs must not use the data that a failed run on a source prompt kept. */
static void check_source(const scenario *s, int step, const char *what) {
    if (!has_source(s) || step < 1 || step > 2) return;
    if (strcmp(s->plugin, "effects") == 0) return; /* it needs no source prompt */
    cr_assert_neq(play_step(s, 4), PSC_OK, "%s: its source prompt was used", what);
    cr_assert(strstr(error.message, "source prompt"), "%s: %s", what, error.message);
}

static void fail_at(const scenario *s, call_id call, int number, uint64_t expected) {
    char what[512], name[64];
    snprintf(what, sizeof what, "%s %s on %s: %s call %d of %s", s->plugin, s->options, s->model,
        told ? "told" : "silent", number, calls[call].name);
    snprintf(name, sizeof name, "plugin %s", s->plugin);
    memset(counted, 0, sizeof counted);
    open_for(s);
    hit = false;
    armed = call;
    armed_number = number;
    int step = 0;
    while (step < n_steps(s)) {
        error.message[0] = 0;
        if (play_step(s, step) != PSC_OK) break;
        cr_assert(!hit, "%s: step %d went well", what, step);
        step++;
    }
    cr_assert(hit && step < n_steps(s), "%s: it was not made", what);
    cr_assert(strncmp(error.message, name, strlen(name)) == 0, "%s: %s", what, error.message);
    cr_assert_eq(psc_session_results(session)->n_arrays, 0, "%s left results", what);
    armed = N_CALLS;
    check_source(s, step, what);
    if (is_spoilt(s, step)) {
        cr_assert_eq(play_step(s, step), PSC_ERROR_STATE, "%s: %s", what, error.message);
    } else {
        for (; step < n_steps(s); step++)
            cr_assert_eq(play_step(s, step), PSC_OK, "%s, then: %s", what, error.message);
        cr_assert_eq(digest(), expected, "%s, then other bits", what);
    }
    psc_session_close(&session);
}

/* The next of n calls to fail after number: every call, or about eight of them. */
static int next_number(call_id call, int number, int n) {
    const int step = calls[call].every || n <= 8 ? 1 : n / 7;
    return number < n && number + step > n ? n : number + step;
}

static int fail_all(const scenario *s) {
    char path[512];
    int numbers[N_CALLS], failures = 0;
    snprintf(path, sizeof path, MODELS "%s", s->model);
    cr_assert_eq(psc_model_open(&model, path, &error), PSC_OK, "%s", error.message);
    const uint64_t expected = play(s, numbers);
    for (call_id call = 0; call < N_CALLS; call++)
        for (int number = 1; number <= numbers[call];
             number = next_number(call, number, numbers[call])) {
            told = !calls[call].shows || number == 1;
            fail_at(s, call, number, expected);
            failures++;
            if (!told || !calls[call].shows) continue;
            told = false;
            fail_at(s, call, number, expected);
            failures++;
        }
    psc_model_close(&model);
    return failures;
}

ParameterizedTestParameters(plugins_failures, of_built_in) {
    static int32_t numbers[64];
    const size_t n = (size_t)psc_builtin_count();
    cr_assert_leq(n, sizeof numbers / sizeof *numbers);
    for (size_t i = 0; i < n; i++) numbers[i] = (int32_t)i;
    return cr_make_param_array(int32_t, numbers, n);
}

ParameterizedTest(int32_t *number, plugins_failures, of_built_in) {
    int failures = 0;
    snprintf(folder, sizeof folder, "/tmp/psc-failures-%d", (int)getpid());
    find_bridge();
    stood_in = psc_builtin(*number);
    for (int i = 0; i < N_SCENARIOS; i++)
        if (strcmp(scenarios[i].plugin, stood_in->name) == 0) failures += fail_all(&scenarios[i]);
    cr_assert(failures > 0, "%s has no scenario; add one to `scenarios`", stood_in->name);
    if (getenv("PSC_TEST_VERBOSE")) fprintf(stderr, "%s: %d failures\n", stood_in->name, failures);
    remove_saved();
}
