/* The gradient through edits against PyTorch's autograd in float64, with the same edits
 * (make_gradient_golden.py): what a LayerNorm's scale, scores, pattern and writes are set to, scaled
 * by, or projected on; edits of which only the value is known; and its bits. */
#include "gradient_golden.h"

static psc_error error;

enum { MOST_EDITS = 4, N_FROZEN = 9 };

static const int32_t frozen_at[N_FROZEN] = {5, 61, 5, 70, 22, 9, 33, 2, 48};

/* A case of the golden files: plugins with their options. */
typedef struct edit_case {
    const char *name;
    const char *plugins[MOST_EDITS][2];
} edit_case;

#define SCORES "attn.hook_attn_scores"
#define PATTERN "attn.hook_pattern"

static const edit_case cases[] = {
    {"knockout", {{"knockout", "at=L0H1,keys=2-3,rows=4-8"}}},
    {"pattern", {{"scale", "at=blocks.0." PATTERN ",heads=0,alpha=0.5"},
                    {"ablate", "at=blocks.1." PATTERN ",heads=1,rows=5-8"}}},
    {"scores", {{"scale", "at=blocks.0." SCORES ",alpha=1.5"},
                   {"scale", "at=blocks.1." SCORES ",alpha=-0.5"},
                   {"knockout", "at=L1H0,keys=1-1,rows=3-8"}}},
    {"norms", {{"scale", "at=blocks.0.ln1.hook_scale,alpha=1.25"},
                  {"scale", "at=blocks.1.ln2.hook_scale,alpha=0.75,rows=2-6"},
                  {"scale", "at=ln_final.hook_scale,alpha=1.5"}}},
    {"frozen", {{"patch", "at=blocks.0." PATTERN "+blocks.1.ln1.hook_scale+blocks.1." SCORES
                          "+ln_final.hook_scale"}}},
    {"writes", {{"scale", "at=L0H1,alpha=-0.5"}, {"ablate", "at=0_mlp_out,rows=3-5"},
                   {"direction", "at=blocks.1.hook_resid_pre,along=L0N5.in+L0N7.in"},
                   {"ablate", "at=L1N4"}}},
    {"unknown", {{NULL, NULL}}},
    {"long", {{"knockout", "at=L0H*,keys=0-149,rows=200-299"},
                 {"scale", "at=blocks.1." PATTERN ",alpha=0.5"}}},
    {"prefix", {{"scale", "at=blocks.0." SCORES ",alpha=1.5"},
                   {"scale", "at=blocks.1." PATTERN ",heads=0,alpha=-0.5"},
                   {"scale", "at=blocks.1.ln1.hook_scale,alpha=1.25"}}},
};
enum { N_CASES = sizeof cases / sizeof *cases };

static const edit_case *case_of(const char *name) {
    for (int i = 0; i < N_CASES; i++)
        if (!strcmp(cases[i].name, name)) return &cases[i];
    cr_assert_fail("no case %s", name);
    return NULL;
}

/* x <- x + 0.25 x + 0.05, of which the host knows no derivative. */
static int shift(const psc_event *e, void *payload) {
    const psc_view *t = &e->tensor;
    const int keys = psc_point_has_keys((psc_point)e->point);
    (void)payload;
    for (int32_t r = 0; r < e->n_rows; r++)
        for (int64_t h = 0; h < (keys ? t->shape[1] : 1); h++)
            for (int64_t i = 0; i < (keys ? e->rows[r].position + 1 : t->shape[1]); i++) {
                float *x = t->data + r * t->stride[0] + (keys ? h * t->stride[1] : 0) + i;
                *x += 0.25f * *x + 0.05f;
            }
    return 0;
}

static void add_edits(psc_session *session, const edit_case *c) {
    static const struct {
        psc_point point;
        int32_t layer;
    } unknown[] = {{PSC_HOOK_LN1_SCALE, 0}, {PSC_HOOK_LN2_SCALE, 1}, {PSC_HOOK_ATTN_SCORES, 0},
        {PSC_HOOK_PATTERN, 0}, {PSC_HOOK_PATTERN, 1}};
    for (int i = 0; i < MOST_EDITS && c->plugins[i][0]; i++)
        cr_assert_eq(psc_session_plugin(session, c->plugins[i][0], c->plugins[i][1], &error),
            PSC_OK, "%s: %s", c->name, error.message);
    if (c->plugins[0][0]) return;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        psc_filter filter = PSC_FILTER_INIT;
        filter.layers = &unknown[i].layer;
        filter.n_layers = 1;
        cr_assert_eq(psc_session_edit(session, unknown[i].point, &filter, shift, NULL, &error),
            PSC_OK, "%s", error.message);
    }
}

/* The gradient of a case's run into set, whose first input is of these tokens. */
static void run_edited(psc_session *session, const edit_case *c, const psc_token *tokens,
    copy_set *set, test_metric *m) {
    const copied_input *of = &set->inputs[0];
    const psc_input input = {0, of->n, tokens + of->before};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    if (of->before) must_run_one(session, tokens, of->before);
    add_edits(session, c);
    if (!strcmp(c->name, "frozen")) {
        psc_token other[N_FROZEN] = {{0}};
        for (int i = 0; i < N_FROZEN; i++) other[i].id = frozen_at[i];
        options.phase = PSC_PHASE_SOURCE;
        cr_assert_eq(
            psc_session_run(session, &(psc_input){0, N_FROZEN, other}, 1, &options, &error), PSC_OK,
            "%s", error.message);
        psc_session_truncate(session, 0, 0);
        options.phase = PSC_PHASE_CHANGED;
    }
    options.metric = &m->metric;
    options.copies = set->list;
    options.n_copies = set->n;
    cr_assert_eq(psc_session_run(session, &input, 1, &options, &error), PSC_OK, "%s: %s", c->name,
        error.message);
}

static void check(const char *model_name, const char *name, const char *isa, int32_t chunk) {
    char path[1024], full[64];
    psc_token tokens[GOLDEN_MAX_TOKENS];
    test_metric m;
    float *other;
    snprintf(full, sizeof full, "%s_%s", model_name, name);
    snprintf(path, sizeof path, PSC_SOURCE_DIR "/tests/golden/gradient/%s.safetensors", full);
    psc_tensors *golden = golden_open(path);
    psc_model *model = must_model(golden_path(model_name, NULL));
    psc_session *session = must_session(model, isa, 2, chunk);
    const int32_t n = golden_tokens(golden, tokens), prefix = golden_first(golden, "prefix");
    copy_set set = {
        .info = *psc_model_get_info(model), .n_inputs = 1, .inputs = {{0, prefix, n - prefix}}};
    golden_metric(&m, golden, prefix, &other);
    gradients_add_all(&set);
    run_edited(session, case_of(name), tokens, &set, &m);
    cr_assert_gt(golden_compare_all(full, golden, &set), 0);
    double *value = golden_f64(golden_find(golden, "value"), 1);
    cr_assert_float_eq(m.value, *value, 1e-5 * (1 + fabs(*value)), "%s: %.9f", full, m.value);
    free(value);
    free(other);
    copies_close(&set);
    psc_session_close(&session);
    psc_model_close(&model);
    psc_tensors_close(&golden);
}

Test(gradient_edits, parallel) {
    for (int i = 0; i < N_CASES; i++) check("parallel_f32", cases[i].name, NULL, 4 + 40 * i);
}

Test(gradient_edits, sequential) {
    for (int i = 0; i < N_CASES; i++)
        if (strcmp(cases[i].name, "long") != 0) /* than its context */
            check("sequential_f32", cases[i].name, NULL, 4 + 40 * i);
}

Test(gradient_edits, reference) {
    for (int i = 0; i < 7; i++) check("parallel_f32", cases[i].name, "reference", 0);
}

/* --- bits ------------------------------------------------------------------------------------- */

static void take(copy_set *set, psc_model *model, const edit_case *c, const char *isa,
    int32_t threads, int32_t chunk) {
    enum { N = 150 }; /* more than a block of 128 */
    psc_token tokens[N] = {{0}};
    test_metric m;
    psc_session *session = must_session(model, isa, threads, chunk);
    *set = (copy_set){.info = *psc_model_get_info(model), .n_inputs = 1, .inputs = {{0, 0, N}}};
    for (int i = 0; i < N; i++) tokens[i].id = (i * 29 + 7) % 80;
    metric_open(&m);
    metric_add(&m, PSC_METRIC_LOG_P, N - 1, 11, 1.0, NULL);
    metric_add(&m, PSC_METRIC_LOGIT, N / 2, 5, -0.5, NULL);
    gradients_add_all(set);
    run_edited(session, c, tokens, set, &m);
    psc_session_close(&session);
}

/* Of all cases without another prompt, for threads, chunks and instruction sets. */
Test(gradient_edits, bits) {
    static const struct {
        const char *isa;
        int32_t threads, chunk;
    } ways[] = {{NULL, 1, 0}, {NULL, 3, 64}, {"avx2", 2, 7}};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int i = 0; i < 7; i++) {
        copy_set want, got;
        if (!strcmp(cases[i].name, "frozen")) continue;
        take(&want, model, &cases[i], "reference", 2, 0);
        for (int w = 0; w < 3; w++) {
            psc_session_options options = PSC_SESSION_OPTIONS_INIT;
            psc_session *probe = NULL;
            options.isa = ways[w].isa;
            if (psc_session_open(&probe, model, &options, NULL) != PSC_OK) continue;
            psc_session_close(&probe);
            take(&got, model, &cases[i], ways[w].isa, ways[w].threads, ways[w].chunk);
            for (int32_t k = 0; k < got.n; k++)
                cr_assert(!memcmp(got.list[k].out, want.list[k].out,
                              (size_t)want.list[k].capacity * sizeof(float)),
                    "%s, way %d: %s", cases[i].name, w,
                    psc_point_suffix((psc_point)want.list[k].point));
            copies_close(&got);
        }
        copies_close(&want);
    }
    psc_model_close(&model);
}

/* x <- x - 0.25 x of some rows of layer 1, or of its keys. */
static int shrink(const psc_event *e, void *payload) {
    const psc_view *t = &e->tensor;
    const int keys = psc_point_has_keys((psc_point)e->point);
    ++*(int *)payload;
    for (int32_t r = 0; r < e->n_rows; r++)
        for (int64_t h = 0; h < (t->n_axes == 3 ? t->shape[1] : 1); h++)
            for (int64_t i = 0; i < (keys ? e->rows[r].position + 1 : t->shape[t->n_axes - 1]); i++)
                t->data[r * t->stride[0] + (t->n_axes == 3 ? h * t->stride[1] : 0) + i] *= 0.75f;
    return 0;
}

/* A run with an edit at a point of one layer. */
static void take_point(
    copy_set *set, psc_model *model, psc_point point, int32_t layer, int32_t recompute) {
    enum { N = 150 };
    psc_token tokens[N] = {{0}};
    test_metric m;
    int edited = 0;
    psc_session *session = must_session(model, NULL, 2, 40);
    psc_filter filter = PSC_FILTER_INIT;
    *set = (copy_set){.info = *psc_model_get_info(model), .n_inputs = 1, .inputs = {{0, 0, N}}};
    for (int i = 0; i < N; i++) tokens[i].id = (i * 29 + 7) % 80;
    filter.layers = &layer;
    filter.n_layers = psc_point_has_layer(point);
    filter.row_begin = 20;
    filter.row_end = N;
    cr_assert_eq(psc_session_edit(session, point, &filter, shrink, &edited, &error), PSC_OK);
    metric_open(&m);
    metric_add(&m, PSC_METRIC_LOG_P, N - 1, 11, 1.0, NULL);
    metric_add(&m, PSC_METRIC_LOGIT, N / 2, 5, -0.5, NULL);
    m.metric.recompute = recompute;
    gradients_add_all(set);
    must_run_gradients(session, &(psc_input){0, N, tokens}, set, &m);
    cr_assert_gt(edited, 0);
    psc_session_close(&session);
}

/* With recompute=1 a layer keeps what cannot be computed again: the same bits for every point. */
static void check_recomputed(const char *name) {
    psc_model *model = must_model(golden_path(name, NULL));
    const psc_model_info *info = psc_model_get_info(model);
    for (int p = 0; p < PSC_POINT_COUNT; p++) {
        if (p == PSC_HOOK_RESID_MID && info->parallel_residual) continue;
        for (int32_t layer = 0; layer < info->n_layers; layer += info->n_layers - 1) {
            copy_set kept, again;
            take_point(&kept, model, (psc_point)p, layer, 0);
            take_point(&again, model, (psc_point)p, layer, 1);
            for (int32_t k = 0; k < again.n; k++)
                cr_assert(!memcmp(again.list[k].out, kept.list[k].out,
                              (size_t)kept.list[k].capacity * sizeof(float)),
                    "edits of %s, layer %d: %s", psc_point_suffix((psc_point)p), (int)layer,
                    psc_point_suffix((psc_point)kept.list[k].point));
            copies_close(&kept);
            copies_close(&again);
        }
    }
    psc_model_close(&model);
}

Test(gradient_edits, recomputed) {
    check_recomputed("parallel_f32");
}

Test(gradient_edits, recomputed_sequential) {
    check_recomputed("rope_linear");
}

/* Scores, patterns and, of a pass that recomputes, pre-activations that editors leave count against
 * the cap. */
Test(gradient_edits, refusals) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_filter filter = PSC_FILTER_INIT;
    copy_set set = {.info = *psc_model_get_info(model), .n_inputs = 1, .inputs = {{0, 0, 60}}};
    psc_token tokens[60] = {{0}};
    const psc_input input = {0, 60, tokens};
    test_metric m;
    metric_open(&m);
    metric_add(&m, PSC_METRIC_LOGIT, 59, 5, 1.0, NULL);
    options.threads = 1;
    options.retained_cap = psc_session_gradient_bytes(session, 60, 1, 1) + 100000;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    must_run_gradients(session, &input, &set, &m);
    cr_assert_eq(psc_session_plugin(session, "scale", "at=blocks.*." PATTERN, &error), PSC_OK);
    psc_session_truncate(session, 0, 0);
    cr_assert_eq(gradients_run(session, &input, &set, &m, &error), PSC_ERROR_MEMORY);
    cr_assert(strstr(error.message, "retained_cap"), "%s", error.message);
    psc_session_close(&session);
    session = must_session(model, NULL, 1, 0);
    const uint64_t unedited = psc_session_gradient_bytes(session, 60, 1, 1);
    cr_assert_eq(psc_session_edit(session, PSC_HOOK_LN2_SCALE, NULL, shift, NULL, &error), PSC_OK);
    const uint64_t pre = 60 * (uint64_t)set.info.d_mlp * sizeof(float);
    cr_assert_geq(psc_session_gradient_bytes(session, 60, 1, 1), unedited + pre);
    filter.gradient = PSC_GRADIENT_THROUGH;
    cr_assert_eq(
        psc_session_observe(session, PSC_HOOK_Z, &filter, shift, NULL, &error), PSC_ERROR_INPUT);
    cr_assert(strstr(error.message, "PSC_GRADIENT_SHOWN"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}
