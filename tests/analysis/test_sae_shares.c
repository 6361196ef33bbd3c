/* shares=yes of the plugin sae: every latent's share, the constant part, the skip path and the
 * error against float64 (tests/tools/make_latents_golden.py); sums that close; bits; refusals. */
#include "interventions_fixture.h"

#define LATENTS PSC_SOURCE_DIR "/tests/golden/latents/"
#define SAE PSC_SOURCE_DIR "/tests/golden/sae/"

enum { LATENTS_OF_ALL = 53, TWO = 2, PARTS = 4 };

/* Equal to tests/tools/make_latents_golden.py. */
static const char *const dictionaries[] = {
    "standard", "layer_norm", "hook_z", "topk", "topk_rescaled", "gated", "skip_transcoder"};
enum { N_DICTIONARIES = sizeof dictionaries / sizeof *dictionaries };

static void open_shares(
    const char *with, const char *dictionary, const char *isa, int32_t threads, int32_t chunk) {
    char edit[512];
    open_variant(with, isa, threads, chunk);
    snprintf(edit, sizeof edit, "sae path=" SAE "%s,top=53,shares=yes,loss=no", dictionary);
    must_load(edit);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    cr_assert_eq(psc_session_contrast(session, "#7", "#9", &error), PSC_OK);
    cr_assert_eq(run_phase(prompt, n_prompt, PSC_PHASE_ONLY, 0), PSC_OK, "%s", error.message);
}

/* The latents of one target at one row, [53]. */
static double compare_latents(int64_t at, const float *want) {
    const double *shares =
        (const double *)must_array("sae.latent_shares").data + at * LATENTS_OF_ALL;
    const int32_t *ids =
        (const int32_t *)must_array("sae.latent_share_ids").data + at * LATENTS_OF_ALL;
    double got[LATENTS_OF_ALL] = {0}, worst = 0.0;
    for (int i = 0; i < LATENTS_OF_ALL && ids[i] >= 0; i++) {
        got[ids[i]] = shares[i];
        cr_assert(i == 0 || fabs(shares[i]) <= fabs(shares[i - 1]));
    }
    for (int i = 0; i < LATENTS_OF_ALL; i++) worst = fmax(worst, fabs(got[i] - (double)want[i]));
    return worst;
}

static void check(const char *with, const char *dictionary, const psc_tensors *wanted) {
    static const int order[PARTS] = {0, 1, 3, 2}; /* latents, b_dec, error, skip */
    char name[64];
    open_shares(with, dictionary, NULL, 2, 0);
    const psc_array shares = must_array("sae.shares");
    const int64_t width = shares.shape[2], pairs = TWO * n_prompt;
    snprintf(name, sizeof name, "%s/latents", dictionary);
    float *latents = golden_f32(golden_find(wanted, name), (size_t)(pairs * LATENTS_OF_ALL));
    snprintf(name, sizeof name, "%s/parts", dictionary);
    float *parts = golden_f32(golden_find(wanted, name), (size_t)(pairs * PARTS));
    const double *got = shares.data, *error_of = must_array("sae.share_error").data;
    const double *constant = must_array("sae.share_constant").data;
    const double *values = must_array("sae.share_values").data;
    double worst = 0.0;
    for (int64_t at = 0; at < pairs; at++) {
        double sum = constant[at];
        worst = fmax(worst, compare_latents(at, latents + at * LATENTS_OF_ALL));
        for (int i = 0; i < PARTS; i++)
            worst = fmax(worst, fabs(got[at * width + i] - (double)parts[at * PARTS + order[i]]));
        for (int64_t i = 0; i < width; i++) sum += got[at * width + i];
        cr_assert(error_of[at] < 1e-5, "%s %s: %g", with, dictionary, error_of[at]);
        cr_assert(fabs(fabs(sum - values[at]) - error_of[at]) < 1e-9);
    }
    cr_assert(worst < 1e-5, "%s %s: %g", with, dictionary, worst);
    free(latents);
    free(parts);
    close_variant();
}

Test(sae_shares, golden) {
    static const char *const models[] = {"parallel_f32", "sequential_f32"};
    for (int m = 0; m < 2; m++) {
        char path[512];
        snprintf(path, sizeof path, LATENTS "%s.safetensors", models[m]);
        psc_tensors *wanted = golden_open(path);
        for (int i = 0; i < N_DICTIONARIES; i++) check(models[m], dictionaries[i], wanted);
        psc_tensors_close(&wanted);
    }
}

/* At every point of the stream and every kind of write the sums close. */
Test(sae_shares, closes) {
    static const char *const more[] = {"standard_mlp", "constant_norm", "jumprelu", "transcoder",
        "standard,point=hook_embed", "standard,point=blocks.1.hook_resid_mid",
        "standard,point=blocks.0.hook_attn_out", "jumprelu,point=blocks.0.hook_resid_pre"};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        open_shares("sequential_f32", more[i], NULL, 1, 2);
        const psc_array errors = must_array("sae.share_error");
        for (int64_t k = 0; k < TWO * n_prompt; k++)
            cr_assert(((const double *)errors.data)[k] < 1e-5, "%s", more[i]);
        close_variant();
    }
}

Test(sae_shares, same_bits) {
    static const struct {
        const char *isa;
        int32_t threads, chunk;
    } ways[] = {{NULL, 1, 0}, {NULL, 1, 1}, {NULL, 3, 4}, {"reference", 2, 0}};
    for (int i = 0; i < N_DICTIONARIES; i++) {
        double first[TWO * 16 * 16];
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            open_shares(
                "parallel_f32", dictionaries[i], ways[w].isa, ways[w].threads, ways[w].chunk);
            const psc_array shares = must_array("sae.shares");
            const size_t bytes = (size_t)(TWO * n_prompt * shares.shape[2]) * sizeof(double);
            cr_assert_leq(bytes, sizeof first);
            if (w == 0) memcpy(first, shares.data, bytes);
            cr_assert_eq(memcmp(first, shares.data, bytes), 0, "%s, way %zu", dictionaries[i], w);
            close_variant();
        }
    }
}

/* `next` has no token at the last row, whose shares are NaN. */
Test(sae_shares, next) {
    open_variant("parallel_f32", NULL, 1, 0);
    must_load("sae path=" SAE "standard,shares=yes");
    cr_assert_eq(psc_session_target(session, "next", &error), PSC_OK);
    cr_assert_eq(run_phase(prompt, n_prompt, PSC_PHASE_ONLY, 0), PSC_OK, "%s", error.message);
    const psc_array shares = must_array("sae.shares");
    const double *last = (const double *)shares.data + (n_prompt - 1) * shares.shape[2];
    for (int64_t i = 0; i < shares.shape[2]; i++) cr_assert(isnan(last[i]));
    cr_assert(!isnan(last[-1]));
    close_variant();
}

Test(sae_shares, refusals) {
    open_variant("parallel_f32", NULL, 1, 0);
    cr_assert_neq(
        load("sae path=" SAE "standard,shares=yes,point=blocks.0.ln1.hook_normalized"), PSC_OK);
    cr_assert(strstr(error.message, "neither in the residual stream"), "%s", error.message);
    must_load("ablate at=L0H1");
    must_load("sae path=" SAE "standard,shares=yes");
    cr_assert_neq(run_phase(prompt, n_prompt, PSC_PHASE_ONLY, 0), PSC_OK);
    cr_assert(strstr(error.message, "no shares of latents"), "%s", error.message);
    close_variant();
}
