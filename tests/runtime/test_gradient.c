/* The gradient of a metric at every hook point against PyTorch's autograd in float64
 * (make_gradient_golden.py): every variant of model, several blocks of rows, and a cached prefix; and
 * against finite differences. */
#include "gradient_golden.h"

static psc_error error;

static void check(const char *name, const char *folder, const char *isa, int32_t chunk) {
    char path[1024];
    psc_token tokens[GOLDEN_MAX_TOKENS];
    test_metric m;
    float *other;
    snprintf(path, sizeof path, "%s/tests/golden/gradient/%s.safetensors", PSC_SOURCE_DIR, name);
    psc_tensors *golden = golden_open(path);
    psc_model *model = must_model(folder);
    psc_session *session = must_session(model, isa, 2, chunk);
    const int32_t n = golden_tokens(golden, tokens), prefix = golden_first(golden, "prefix");
    copy_set set = {.info = *psc_model_get_info(model), .n_inputs = 1};
    golden_metric(&m, golden, prefix, &other);
    if (prefix) must_run_one(session, tokens, prefix);
    set.inputs[0] = (copied_input){0, prefix, n - prefix};
    gradients_add_all(&set);
    must_run_gradients(session, &(psc_input){0, n - prefix, tokens + prefix}, &set, &m);
    const int compared = golden_compare_all(name, golden, &set);
    if (!strcmp(name, folder + strlen(folder) - strlen(name)))
        cr_assert_eq(
            compared, set.n, "%s: golden data for %d of %d tensors", name, compared, set.n);
    double *value = golden_f64(golden_find(golden, "value"), 1);
    cr_assert_float_eq(m.value, *value, 1e-5 * (1 + fabs(*value)), "%s: %.9f", name, m.value);
    free(value);
    free(other);
    copies_close(&set);
    psc_session_close(&session);
    psc_model_close(&model);
    psc_tensors_close(&golden);
}

static const char *const small[] = {"parallel_f32", "sequential_f32", "tied_f32",
    "sequential_bf16_v5", "odd_sizes", "no_attention_bias", "gelu_fast", "rope_linear", "rope_yarn",
    "rotary_full"};

Test(gradient, small_models_reference) {
    for (size_t i = 0; i < sizeof small / sizeof *small; i++)
        check(small[i], golden_path(small[i], NULL), "reference", 0);
}

Test(gradient, small_models_default) {
    for (size_t i = 0; i < sizeof small / sizeof *small; i++)
        check(small[i], golden_path(small[i], NULL), NULL, 4);
}

Test(gradient, several_blocks_of_rows) {
    check("long", golden_path("parallel_f32", NULL), NULL, 100);
}

Test(gradient, a_cached_prefix_is_constant) {
    check("prefix", golden_path("sequential_f32", NULL), NULL, 9);
}

Test(gradient, embedded_model) {
    if (!golden_embedded()) cr_skip_test("the embedded model has no weights yet");
    check("embedded", golden_embedded(), NULL, 0);
}

/* --- finite differences ---------------------------------------------------------------------- */

/* A step along a direction at one point. */
typedef struct nudge {
    const float *direction; /* [rows, width] */
    int64_t width;
    float by;
} nudge;

static int add_step(const psc_event *e, void *payload) {
    const nudge *s = payload;
    for (int32_t r = 0; r < e->n_rows; r++)
        for (int64_t i = 0; i < s->width; i++)
            e->tensor.data[r * e->tensor.stride[0] + i] +=
                s->by * s->direction[e->rows[r].index * s->width + i];
    return 0;
}

/* The metric at a step of `by`; the step adds a constant, so the gradient there is that
 * of a run with the edit. */
static double stepped(psc_session *session, const psc_input *input, copy_set *set, test_metric *m,
    psc_point point, int32_t layer, nudge *s, float by) {
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &layer;
    filter.n_layers = layer < 0 ? 0 : 1;
    s->by = by;
    psc_session_truncate(session, 0, 0);
    cr_assert_eq(psc_session_edit(session, point, &filter, add_step, s, &error), PSC_OK, "%s",
        error.message);
    must_run_gradients(session, input, set, m);
    psc_session_unhook(session, s);
    return m->value;
}

static void check_differences(const char *variant, psc_point point, int32_t layer) {
    enum { N = 20 };
    psc_model *model = must_model(golden_path(variant, NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    copy_set set = {.info = *psc_model_get_info(model), .n_inputs = 1};
    psc_token tokens[N];
    test_metric m;
    for (int32_t i = 0; i < N; i++) tokens[i] = (psc_token){.id = (7 * i + 3) % set.info.d_vocab};
    set.inputs[0] = (copied_input){0, 0, N};
    gradients_add_all(&set);
    metric_open(&m);
    metric_add(&m, PSC_METRIC_LOG_P, N - 1, 11, 1.0, NULL);
    metric_add(&m, PSC_METRIC_LOGIT, N / 2, 5, 0.5, NULL);
    const psc_input input = {0, N, tokens};
    const int64_t width = copied_width(&set, point, N);
    float *direction = malloc((size_t)(N * width) * sizeof *direction);
    cr_assert(direction);
    for (int64_t i = 0; i < N * width; i++) direction[i] = (float)((i * 37 % 101) - 50) * 2e-4f;
    nudge s = {direction, width, 0};
    const double up = stepped(session, &input, &set, &m, point, layer, &s, 1.0f);
    const double down = stepped(session, &input, &set, &m, point, layer, &s, -1.0f);
    stepped(session, &input, &set, &m, point, layer, &s, 0.0f);
    const psc_copy *g = gradient_at(&set, point, layer);
    double expected = 0.0;
    for (int64_t i = 0; i < N * width; i++) expected += (double)g->out[i] * (double)direction[i];
    cr_assert_float_eq((up - down) / 2, expected, 2e-3 * fabs(expected) + 2e-6,
        "%s, %s: %.9g, but finite differences give %.9g", variant, psc_point_suffix(point),
        expected, (up - down) / 2);
    free(direction);
    copies_close(&set);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(gradient, finite_differences) {
    static const psc_point points[] = {PSC_HOOK_RESID_PRE, PSC_HOOK_Q, PSC_HOOK_K, PSC_HOOK_V,
        PSC_HOOK_ROT_K, PSC_HOOK_Z, PSC_HOOK_MLP_PRE, PSC_HOOK_MLP_OUT, PSC_HOOK_LN1_NORMALIZED};
    static const char *const variants[] = {"parallel_f32", "sequential_f32", "gelu_fast"};
    for (size_t v = 0; v < 3; v++) {
        check_differences(variants[v], PSC_HOOK_EMBED, -1);
        for (size_t i = 0; i < sizeof points / sizeof *points; i++)
            check_differences(variants[v], points[i], 1);
    }
}
