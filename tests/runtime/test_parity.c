/* Logits and every hook point against transformers and TransformerLens, on every variant of small
 * random model and on the embedded model; names and axes as in TransformerLens. */
#include "golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 2e-4

/* Where scores are near -110,000, float32 itself resolves 0.008: the tolerance there includes an
 * error relative to the value. */
static double allowed(const char *variant, double value) {
    return TOLERANCE + (strcmp(variant, "large_scores") ? 0.0 : 1e-6 * fabs(value));
}

static double distance(float a, float b) {
    if (isinf(b)) return a == b ? 0.0 : INFINITY;
    return fabs((double)a - (double)b);
}

/* Rows of one golden tensor against the recording. [rows, ...], or [H, rows, K] with keys; K may be
 * less than the recording's, never more. */
static void compare(const char *variant, const recording *r, const psc_tensor *tensor,
    psc_point point, int32_t layer, const int32_t *rows, int32_t n_rows) {
    bool keys = point == PSC_HOOK_ATTN_SCORES || point == PSC_HOOK_PATTERN;
    int64_t heads = keys ? r->info.n_heads : 1, width = r->width[point] / heads;
    float *want = golden_f32(tensor, (size_t)(n_rows * heads * width));
    cr_assert_eq(tensor->rank, r->axes[point], "%s", tensor->name);
    cr_assert_eq(tensor->shape[keys ? 1 : 0], (size_t)n_rows, "%s", tensor->name);
    if (tensor->rank == 3 && !keys)
        cr_assert_eq(tensor->shape[1], (size_t)r->info.n_heads, "%s", tensor->name);
    for (int32_t i = 0; i < n_rows; i++) {
        const float *got = recording_row(r, point, layer, 0, rows[i]);
        for (int64_t h = 0; h < heads; h++)
            for (int64_t j = 0; j < width; j++) {
                float a = got[h * width + j], b = want[(h * n_rows + i) * width + j];
                cr_assert(distance(a, b) <= allowed(variant, b),
                    "%s: %s row %d element %ld: %.9g, should be %.9g", variant, tensor->name,
                    (int)rows[i], (long)(h * width + j), a, b);
            }
    }
    free(want);
}

/* Compares every tensor of the golden file; returns their number. */
static int compare_all(const char *variant, const recording *r, const psc_tensors *golden) {
    const psc_tensor *tensor = golden_find(golden, "rows");
    int32_t rows[GOLDEN_MAX_TOKENS], n_rows = (int32_t)(tensor->size / sizeof(int32_t));
    memcpy(rows, tensor->data, tensor->size);
    int compared = 0;
    for (size_t i = 0; i < golden->count; i++) {
        const psc_tensor *t = &golden->items[i];
        if (!strstr(t->name, "hook_")) continue;
        psc_point point;
        int32_t layer;
        psc_error error = {0};
        char name[64];
        cr_assert_eq(psc_point_parse(&point, &layer, t->name, &error), PSC_OK, "%s", error.message);
        psc_point_name(name, sizeof name, point, layer);
        cr_assert_str_eq(name, t->name);
        compare(variant, r, t, point, layer, rows, n_rows);
        compared++;
    }
    return compared;
}

static void check(
    const char *variant, const char *folder, const char *file, const char *isa, bool every_layer) {
    psc_tensors *golden = golden_open(file);
    psc_token tokens[GOLDEN_MAX_TOKENS];
    int32_t n = golden_tokens(golden, tokens);
    psc_model *model = must_model(folder);
    const psc_model_info *info = psc_model_get_info(model);
    psc_session *session = must_session(model, isa, 1, 0);
    recording r;
    recording_open(&r, info, 1, n);
    recording_attach(&r, session);
    must_run_one(session, tokens, n);
    int points = 0;
    for (int p = 0; p < PSC_POINT_COUNT; p++) {
        int32_t layers = point_layers(info, (psc_point)p);
        if (!r.width[p]) continue;
        cr_assert_eq(r.rows[p], (int64_t)n * layers, "%s: point %d shown for %ld rows", variant, p,
            (long)r.rows[p]);
        points += layers;
    }
    int compared = compare_all(variant, &r, golden);
    if (every_layer)
        cr_assert_eq(compared, points,
            "%s: golden data for %d of %d tensors; remake it, or count a new point out "
            "(CONTRIBUTING.md)",
            variant, compared, points);
    for (int32_t row = 0; row < n; row++)
        cr_assert_eq(
            memcmp(psc_session_logits(session, row), recording_row(&r, PSC_HOOK_LOGITS, -1, 0, row),
                (size_t)info->d_vocab * sizeof(float)),
            0, "%s: hook_logits is not psc_session_logits", variant);
    recording_close(&r);
    psc_session_close(&session);
    psc_model_close(&model);
    psc_tensors_close(&golden);
}

Test(parity, small_models_reference) {
    for (const char *const *v = golden_variants; *v; v++)
        check(*v, golden_path(*v, NULL), golden_path(*v, "golden.safetensors"), "reference", true);
}

Test(parity, small_models_default) {
    for (const char *const *v = golden_variants; *v; v++)
        check(*v, golden_path(*v, NULL), golden_path(*v, "golden.safetensors"), NULL, true);
}

/* After training a new model: make_parity_golden.py --embedded models/books-5m
 * (tests/tools/README.md). */
Test(parity, embedded_model) {
    if (!golden_embedded()) cr_skip_test("the embedded model has no weights yet");
    check("embedded", golden_embedded(), golden_path("embedded.safetensors", NULL), NULL, false);
}

/* Fewer tokens than rows of the embedding: the padded ids are computed like all others. */
Test(parity, padded_vocabulary) {
    psc_model *model = must_model(golden_path("sharded_padded_f16", NULL));
    cr_assert_eq(psc_model_tokenizer_size(model), 260);
    cr_assert_eq(psc_model_get_info(model)->d_vocab, 320);
    psc_session *session = must_session(model, NULL, 1, 0);
    must_run_one(session, (psc_token[]){{300, 0, 0}, {319, 0, 0}}, 2);
    cr_assert(isfinite(psc_session_logits(session, 1)[319]));
    psc_session_close(&session);
    psc_model_close(&model);
}
