/* Latents of dictionaries as places of ablate, scale and steer: logits against float64
 * (tests/tools/make_latents_golden.py), the same bits for every setting, and refusals. */
#include "interventions_fixture.h"

#define LATENTS PSC_SOURCE_DIR "/tests/golden/latents/"
#define SAE PSC_SOURCE_DIR "/tests/golden/sae/"

typedef struct latents_case {
    const char *name, *plugin, *dictionary, *options;
} latents_case;

/* Equal to tests/tools/make_latents_golden.py, which chooses the two latents of each. */
static const latents_case latents_cases[] = {
    {"zero_standard", "ablate", "standard", ""},
    {"zero_mlp", "ablate", "standard_mlp", ",rows=2-6"},
    {"zero_layer_norm", "ablate", "layer_norm", ""},
    {"zero_z", "ablate", "hook_z", ""},
    {"zero_topk", "ablate", "topk_rescaled", ""},
    {"zero_gated", "ablate", "gated", ""},
    {"zero_groupmax", "ablate", "sparsify_groupmax/layers.0.attention", ""},
    {"zero_transcoder", "ablate", "transcoder", ""},
    {"scale_jumprelu", "scale", "jumprelu", ",alpha=3,rows=2-8"},
    {"scale_skip", "scale", "sparsify_skip/layers.1.mlp", ",alpha=-1.5"},
    {"steer_topk", "steer", "sparsify_topk/layers.1", ",alpha=2.5,rows=7-8"},
    {"steer_constant", "steer", "constant_norm", ",alpha=2"},
};
enum { N_LATENTS_CASES = sizeof latents_cases / sizeof latents_cases[0] };

static psc_tensors *wanted;

static const psc_tensor *wanted_of(const char *name, const char *what) {
    char full[64];
    snprintf(full, sizeof full, "%s/%s", name, what);
    return golden_find(wanted, full);
}

/* Opens the model and loads the case with the latents that the golden file names. */
static void open_case(
    const char *with, const latents_case *c, const char *isa, int32_t threads, int32_t chunk) {
    char path[512], edit[512];
    int32_t ids[2];
    open_variant(with, isa, threads, chunk);
    snprintf(path, sizeof path, LATENTS "%s.safetensors", with);
    wanted = golden_open(path);
    memcpy(ids, wanted_of(c->name, "ids")->data, sizeof ids);
    snprintf(edit, sizeof edit, "%s at=L*F%d+F%d,sae=" SAE "%s%s", c->plugin, (int)ids[1],
        (int)ids[0], c->dictionary, c->options);
    must_load(edit);
    must_load("effects rows=all");
    add_targets();
}

static void close_case(void) {
    psc_tensors_close(&wanted);
    close_variant();
}

static void check_case(const char *with, const latents_case *c) {
    static const int32_t rows[] = {3, 7, 8};
    open_case(with, c, NULL, 2, 0);
    must_run_phases();
    const int64_t n = psc_model_get_info(model)->d_vocab;
    float *want = golden_f32(wanted_of(c->name, "logits"), (size_t)(3 * n));
    double worst = 0.0;
    for (int r = 0; r < 3; r++)
        for (int64_t v = 0; v < n; v++) {
            const double got = (double)psc_session_logits(session, rows[r])[v];
            worst = fmax(worst, fabs(got - (double)want[r * n + v]));
        }
    cr_assert(worst < 2e-5, "%s %s: %g", with, c->name, worst);
    free(want);
    close_case();
}

Test(latents, golden) {
    for (int i = 0; i < N_LATENTS_CASES; i++) {
        check_case("parallel_f32", &latents_cases[i]);
        check_case("sequential_f32", &latents_cases[i]);
    }
}

static float *logits_of(
    const latents_case *c, const char *isa, int32_t threads, int32_t chunk, size_t *bytes) {
    open_case("parallel_f32", c, isa, threads, chunk);
    must_run_phases();
    const size_t n = (size_t)psc_model_get_info(model)->d_vocab;
    *bytes = (size_t)n_prompt * n * sizeof(float);
    float *out = malloc(*bytes);
    cr_assert(out);
    for (int32_t r = 0; r < n_prompt; r++)
        memcpy(out + (size_t)r * n, psc_session_logits(session, r), n * sizeof *out);
    close_case();
    return out;
}

Test(latents, same_bits) {
    static const struct {
        const char *isa;
        int32_t threads, chunk;
    } ways[] = {{NULL, 1, 1}, {NULL, 3, 4}, {"reference", 2, 0}};
    for (int i = 0; i < N_LATENTS_CASES; i++) {
        size_t bytes = 0;
        float *first = logits_of(&latents_cases[i], NULL, 1, 0, &bytes);
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            float *again =
                logits_of(&latents_cases[i], ways[w].isa, ways[w].threads, ways[w].chunk, &bytes);
            cr_assert_eq(memcmp(first, again, bytes), 0, "%s, way %zu", latents_cases[i].name, w);
            free(again);
        }
        free(first);
    }
}

/* A latent that is active nowhere changes no bit; all latents of a row scaled by 1 neither. */
Test(latents, nothing_changes) {
    open_variant("parallel_f32", NULL, 1, 0);
    must_load("scale at=F3+F4+F5,alpha=1,sae=" SAE "standard");
    must_load("effects rows=all");
    add_targets();
    must_run_phases();
    const double *kl = must_array("effects.kl").data;
    for (int32_t r = 0; r < n_prompt; r++) cr_assert_eq(kl[r], 0.0);
    close_variant();
}

/* In an ordinary run, too, and the same with the text in two pieces. */
Test(latents, ordinary_run) {
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    open_case("parallel_f32", &latents_cases[0], NULL, 1, 0);
    must_run_phases();
    const size_t n = (size_t)psc_model_get_info(model)->d_vocab;
    float *changed = malloc(n * sizeof *changed);
    cr_assert(changed);
    memcpy(changed, psc_session_logits(session, n_prompt - 1), n * sizeof *changed);
    close_case();
    open_case("parallel_f32", &latents_cases[0], NULL, 2, 0);
    psc_session_close(&session);
    session = must_session(model, NULL, 2, 0);
    char edit[512];
    int32_t ids[2];
    memcpy(ids, wanted_of("zero_standard", "ids")->data, sizeof ids);
    snprintf(
        edit, sizeof edit, "ablate at=L1F%d+L1F%d,sae=" SAE "standard", (int)ids[0], (int)ids[1]);
    must_load(edit);
    psc_input first = {0, 4, prompt}, rest = {0, n_prompt - 4, prompt + 4};
    cr_assert_eq(psc_session_run(session, &first, 1, &options, &error), PSC_OK);
    cr_assert_eq(psc_session_run(session, &rest, 1, &options, &error), PSC_OK);
    const float *got = psc_session_logits(session, n_prompt - 5);
    cr_assert_eq(memcmp(changed, got, n * sizeof *changed), 0);
    free(changed);
    close_case();
}

/* Two texts in one run have the bits that each has alone. */
Test(latents, batch) {
    const latents_case *c =
        &latents_cases[7]; /* a transcoder: its input comes earlier than its output */
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    float *alone[2];
    for (int way = 0; way < 3; way++) {
        open_case("parallel_f32", c, NULL, 2, way == 2 ? 3 : 0);
        psc_session_close(&session);
        session = must_session(model, NULL, 2, way == 2 ? 3 : 0);
        char edit[512];
        int32_t ids[2];
        memcpy(ids, wanted_of(c->name, "ids")->data, sizeof ids);
        snprintf(edit, sizeof edit, "ablate at=F%d+F%d,rows=1-7,sae=" SAE "%s", (int)ids[0],
            (int)ids[1], c->dictionary);
        must_load(edit);
        const size_t bytes = (size_t)psc_model_get_info(model)->d_vocab * sizeof(float);
        const psc_input inputs[] = {{0, n_one, one}, {1, n_two, two}};
        const int first = way == 2 ? 0 : way, n = way == 2 ? 2 : 1;
        cr_assert_eq(psc_session_run(session, inputs + first, n, &options, &error), PSC_OK, "%s",
            error.message);
        if (way < 2) {
            alone[way] = malloc(bytes);
            cr_assert(alone[way]);
            const int32_t last = (way ? n_two : n_one) - 1;
            memcpy(alone[way], psc_session_logits(session, last), bytes);
        } else {
            const float *a = psc_session_logits(session, n_one - 1);
            const float *b = psc_session_logits(session, n_one + n_two - 1);
            cr_assert_eq(memcmp(alone[0], a, bytes), 0);
            cr_assert_eq(memcmp(alone[1], b, bytes), 0);
        }
        close_case();
    }
    free(alone[0]);
    free(alone[1]);
}

/* Rows of several blocks of the encoder: one event has them all, or each has one. */
Test(latents, many_rows) {
    enum { LONG = 150 };
    static const char *const edits[] = {"ablate at=F3+F7+F52,sae=" SAE "standard",
        "scale at=F3+F7+F52,alpha=2,sae=" SAE "skip_transcoder",
        "steer at=F3,alpha=2,sae=" SAE "layer_norm"};
    psc_token tokens[LONG] = {{0}};
    for (int i = 0; i < LONG; i++) tokens[i].id = (i * i + 7 * i + 3) % 80;
    const psc_input input = {0, LONG, tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.logits = PSC_ROWS_ALL;
    for (size_t e = 0; e < sizeof edits / sizeof *edits; e++) {
        float *first = NULL;
        for (int way = 0; way < 2; way++) {
            open_variant("parallel_f32", NULL, 2, way ? 1 : 0);
            must_load(edits[e]);
            cr_assert_eq(psc_session_run(session, &input, 1, &options, &error), PSC_OK);
            const size_t n = (size_t)psc_model_get_info(model)->d_vocab;
            if (!first) first = malloc(LONG * n * sizeof *first);
            cr_assert(first);
            for (int32_t r = 0; r < LONG; r++) {
                const float *got = psc_session_logits(session, r);
                if (way == 0) memcpy(first + (size_t)r * n, got, n * sizeof *got);
                cr_assert_eq(memcmp(first + (size_t)r * n, got, n * sizeof *got), 0, "%s, row %d",
                    edits[e], (int)r);
            }
            close_variant();
        }
        free(first);
    }
}

Test(latents, refusals) {
    static const struct {
        const char *edit, *says;
    } bad[] = {
        {"ablate at=L0F3,sae=" SAE "standard", "is at blocks.1.hook_resid_pre"},
        {"ablate at=L1F53,sae=" SAE "standard", "has the latents F0 to F52"},
        {"ablate at=L1F3+F3,sae=" SAE "standard", "names the latent F3 twice"},
        {"ablate at=L0H1,sae=" SAE "standard", "is not a latent"},
        {"ablate at=F,sae=" SAE "standard", "is not a latent"},
        {"ablate at=F99999999999999999999,sae=" SAE "standard", "has the latents"},
        {"ablate at=,sae=" SAE "standard", "is not a latent"},
        {"ablate at=L1F3", "with sae=FOLDER"},
        {"knockout at=L1F3,keys=1", "with sae=FOLDER"},
        {"ablate at=L1F3,by=mean,sae=" SAE "standard", "it takes none of by="},
        {"steer at=L1F3,index=1,sae=" SAE "standard", "it takes none of by="},
        {"scale at=L1F3,heads=1,sae=" SAE "standard", "neither layers= nor heads="},
        {"scale at=L0H1,point=hook_embed", "point= needs sae="},
        {"scale at=L1F3,point=blocks.0.hook_resid_pre,sae=" SAE "standard",
            "is at blocks.0.hook_resid_pre"},
        {"scale at=L1F3,sae=" SAE "nowhere", "nowhere"},
        {"scale at=L1F3,sae=" SAE "sparsify_topk", "sparsify_topk"},
    };
    open_variant("parallel_f32", NULL, 1, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_neq(load(bad[i].edit), PSC_OK, "%s", bad[i].edit);
        cr_assert(strstr(error.message, bad[i].says), "%s: %s", bad[i].edit, error.message);
    }
    close_variant();
}
