/* What hooks, captures, plugins and the results see of a run with a metric, what such a run
 * refuses, and the cap of what it keeps. */
#include "gradient_takes.h"

static psc_error error;

/* --- hooks ----------------------------------------------------------------------------------- */

/* What a hook saw. */
typedef struct seen {
    int events, gradients;
    int32_t n_rows, last_layer;
    float by; /* what an editor multiplies with */
} seen;

static int on_event(const psc_event *e, void *payload) {
    seen *s = payload;
    s->events++;
    s->gradients += e->gradient != 0;
    s->n_rows += e->n_rows;
    cr_assert(s->last_layer < 0 || !e->gradient || e->layer < s->last_layer, "layers descend");
    if (e->gradient) s->last_layer = e->layer;
    return 0;
}

static int scale(const psc_event *e, void *payload) {
    const seen *s = payload;
    for (int32_t r = 0; r < e->n_rows; r++)
        for (int64_t i = 0; i < e->tensor.shape[1]; i++)
            for (int64_t j = 0; j < (e->tensor.n_axes > 2 ? e->tensor.shape[2] : 1); j++)
                e->tensor.data[r * e->tensor.stride[0] + i * e->tensor.stride[1] + j] *= s->by;
    return 0;
}

/* Gradients go to the hooks that ask for them, once per layer; values to the others. */
Test(gradient_hooks, hooks_ask_for_gradients) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 16);
    copy_set set = {.info = *psc_model_get_info(model), .n_inputs = 1, .inputs = {{0, 0, 40}}};
    const psc_input input = {0, 40, tokens};
    psc_filter filter = PSC_FILTER_INIT;
    seen values = {.last_layer = -1}, gradients = {.last_layer = -1};
    test_metric m;
    set_up();
    metric_open(&m);
    add_terms(&m, 0, 40);
    filter.rows = PSC_ROWS_RANGE;
    filter.row_begin = 3;
    filter.row_end = 5;
    psc_session_observe(session, PSC_HOOK_RESID_PRE, &filter, on_event, &values, &error);
    filter.gradient = 1;
    psc_session_observe(session, PSC_HOOK_RESID_PRE, &filter, on_event, &gradients, &error);
    must_run_gradients(session, &input, &set, &m);
    cr_assert_eq(values.gradients, 0);
    cr_assert_eq(values.n_rows, 2 * set.info.n_layers);
    cr_assert_eq(gradients.gradients, gradients.events);
    cr_assert_eq(gradients.events, set.info.n_layers);
    cr_assert_eq(gradients.n_rows, 2 * set.info.n_layers);
    psc_session_unhook(session, &gradients);
    must_run_gradients(session, &(psc_input){1, 40, tokens}, &set, &m);
    cr_assert_eq(gradients.events, set.info.n_layers, "unhooked");
    psc_session_close(&session);
    psc_model_close(&model);
}

/* An editor of a gradient changes what is before it: times 1 keeps every bit, times 2 at the last
 * stream doubles every earlier gradient exactly. */
Test(gradient_hooks, editors_change_what_is_before) {
    psc_model *model = must_model(golden_path("rope_linear", NULL));
    take base, edited;
    set_up();
    take_one(&base, model, NULL, 2, 0, PSC_POINT_COUNT);
    take_one(&edited, model, NULL, 2, 0, PSC_POINT_COUNT);
    seen one = {.by = 1.0f}, two = {.by = 2.0f};
    psc_filter filter = PSC_FILTER_INIT;
    const int32_t last = base.set.info.n_layers - 1;
    filter.gradient = 1;
    for (int32_t p = 0; p < PSC_POINT_COUNT; p++)
        cr_assert_eq(psc_session_edit(edited.session, (psc_point)p, &filter, scale, &one, &error),
            PSC_OK, "%s", error.message);
    psc_session_truncate(edited.session, 0, 0);
    must_run_gradients(edited.session, &(psc_input){0, ROWS, tokens}, &edited.set, &edited.m);
    assert_same(&base, &edited, "editors that change nothing");
    psc_session_unhook(edited.session, &one);
    filter.layers = &last;
    filter.n_layers = 1;
    psc_session_edit(edited.session, PSC_HOOK_RESID_POST, &filter, scale, &two, &error);
    psc_session_truncate(edited.session, 0, 0);
    must_run_gradients(edited.session, &(psc_input){0, ROWS, tokens}, &edited.set, &edited.m);
    for (int32_t i = 0; i < base.set.n; i++) {
        const psc_copy *a = &base.set.list[i], *b = &edited.set.list[i];
        const float by = a->layer < 0 && a->point != PSC_HOOK_EMBED ? 1.0f : 2.0f;
        for (int64_t j = 0; j < a->capacity; j++)
            cr_assert(b->out[j] == by * a->out[j] || fabsf(a->out[j]) < 1e-30f, "%s of layer %d",
                psc_point_suffix((psc_point)a->point), (int)a->layer);
    }
    take_close(&base);
    take_close(&edited);
    psc_model_close(&model);
}

/* --- captures and refusals ------------------------------------------------------------------- */

Test(gradient_hooks, captures_have_the_same_values) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_array array;
    take t;
    set_up();
    take_one(&t, model, NULL, 1, 0, PSC_POINT_COUNT);
    psc_session_truncate(t.session, 0, 0);
    static const char *const requests[] = {"hook_embed_grad", "blocks.*.attn.hook_pattern_grad",
        "blocks.1.hook_resid_post_grad:rows=-1", "hook_embed"};
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(
            psc_session_capture(t.session, requests[i], &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_run(t.session, &(psc_input){0, ROWS, tokens}, 1, NULL, &error),
        PSC_ERROR_INPUT);
    cr_assert(strstr(error.message, "hook_embed_grad is of a gradient"), "%s", error.message);
    must_run_gradients(t.session, &(psc_input){0, ROWS, tokens}, &t.set, &t.m);
    static const struct {
        const char *name;
        psc_point point;
        int32_t layer;
    } arrays[] = {{"hook_embed_grad", PSC_HOOK_EMBED, -1},
        {"blocks.0.attn.hook_pattern_grad", PSC_HOOK_PATTERN, 0},
        {"blocks.1.attn.hook_pattern_grad", PSC_HOOK_PATTERN, 1}};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        const psc_copy *want = gradient_at(&t.set, arrays[i].point, arrays[i].layer);
        cr_assert_eq(psc_session_array(t.session, arrays[i].name, &array, &error), PSC_OK, "%s",
            error.message);
        cr_assert(!memcmp(array.data, want->out, (size_t)want->capacity * sizeof(float)), "%s",
            arrays[i].name);
    }
    cr_assert_eq(psc_session_array(t.session, "hook_embed", &array, &error), PSC_OK);
    take_close(&t);
    psc_model_close(&model);
}

static int zero(const psc_event *e, void *payload) {
    (void)e, (void)payload;
    return 0;
}

static void refused(take *t, const char *words) {
    psc_session_truncate(t->session, 0, 0);
    t->set.n = 0;
    cr_assert_neq(
        gradients_run(t->session, &(psc_input){0, 20, tokens}, &t->set, &t->m, &error), PSC_OK);
    cr_assert(strstr(error.message, words), "%s, not %s", error.message, words);
    metric_open(&t->m);
    add_terms(&t->m, 0, 20);
}

/* One sentence each, and the session runs again. */
Test(gradient_hooks, refusals) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    take t;
    set_up();
    take_one(&t, model, NULL, 1, 0, PSC_HOOK_RESID_PRE);
    copy_set kept = t.set;
    t.m.terms[0].row = 20;
    refused(&t, "row 20 does not exist");
    t.m.terms[1].token = 80;
    refused(&t, "token id 80 is out of range");
    t.m.terms[1].token = -1;
    t.m.terms[1].target = 7;
    refused(&t, "target 7 is out of range");
    t.m.terms[1].weight = INFINITY;
    refused(&t, "weight is not finite");
    t.m.terms[1].kind = 9;
    refused(&t, "unknown kind 9");
    t.m.terms[2].logits = NULL;
    refused(&t, "needs logits");
    other[3] = NAN;
    refused(&t, "logit 3 of the other run is not finite");
    other[3] = 0;
    t.m.metric.n_terms = 0;
    refused(&t, "1 to");
    cr_assert_eq(psc_session_target(t.session, "next", &error), PSC_OK);
    t.m.terms[0].token = -1;
    t.m.terms[0].row = 19;
    refused(&t, "target next has no token at row 19");
    cr_assert_lt(psc_session_gradient_bytes(t.session, 150, 3, 1),
        psc_session_gradient_bytes(t.session, 150, 3, 0));
    t.set = kept;
    take_close(&t);

    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    options.retained_cap = 100000;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    cr_assert_gt(psc_session_gradient_bytes(session, 20, 3, 0), 100000);
    take small = {.session = session, .set = {.n_inputs = 1}};
    metric_open(&small.m);
    add_terms(&small.m, 0, 20);
    refused(&small, "the cap (retained_cap, --retain) leaves 100000");
    psc_session_close(&session);
    psc_model_close(&model);
}

/* Where the cap is too small to keep everything, the run recomputes, with the same bits. */
Test(gradient_hooks, a_small_cap_recomputes) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    take base, small;
    set_up();
    take_one(&base, model, NULL, 1, 0, PSC_POINT_COUNT);
    options.threads = 1;
    const size_t shown = 16 * ((size_t)base.set.info.d_vocab + 16) * sizeof(float);
    options.retained_cap = psc_session_gradient_bytes(base.session, rows, 3, 1) + shown;
    cr_assert_lt(options.retained_cap, psc_session_gradient_bytes(base.session, rows, 3, 0));
    small = (take){.set = {.info = base.set.info, .n_inputs = 1, .inputs = {{0, 0, rows}}}};
    cr_assert_eq(psc_session_open(&small.session, model, &options, &error), PSC_OK);
    gradients_add_all(&small.set);
    metric_open(&small.m);
    add_terms(&small.m, 0, rows);
    must_run_gradients(small.session, &(psc_input){0, rows, tokens}, &small.set, &small.m);
    assert_same(&base, &small, "a small cap");
    psc_session_truncate(small.session, 0, 0);
    cr_assert_eq(
        psc_session_edit(small.session, PSC_HOOK_MLP_PRE, NULL, zero, &small, &error), PSC_OK);
    cr_assert_eq(
        gradients_run(small.session, &(psc_input){0, rows, tokens}, &small.set, &small.m, &error),
        PSC_ERROR_MEMORY);
    take_close(&base);
    take_close(&small);
    psc_model_close(&model);
}

/* --- plugins --------------------------------------------------------------------------------- */

/* A plugin that observes a gradient and retains another. */
typedef struct watcher {
    const psc_host *host;
    psc_context *context;
    int handle, events;
    float *kept; /* [rows, H, D] what it fetched of layer 1 */
} watcher;

static watcher watched;

static int watch_event(const psc_event *e, void *payload) {
    watcher *w = payload;
    w->events += e->gradient && e->n_rows == rows;
    return 0;
}

static int watch_open(psc_context *c, const psc_host *host, void **state) {
    watched.host = host;
    watched.context = c;
    *state = &watched;
    return 0;
}

static int watch_begin(psc_context *c, void *state) {
    watcher *w = state;
    psc_filter filter = PSC_FILTER_INIT;
    filter.gradient = 1;
    w->handle = w->host->retain(c, PSC_HOOK_Z, &filter);
    return w->handle < 0 ? -1 : w->host->observe(c, PSC_HOOK_EMBED, &filter, watch_event, w);
}

static int watch_end(psc_context *c, void *state, int status) {
    watcher *w = state;
    psc_event e;
    if (status || w->host->fetch(c, w->handle, 1, &e)) return -1;
    cr_assert_eq(e.gradient, 1);
    cr_assert_eq(e.n_rows, rows);
    memcpy(w->kept, e.tensor.data, (size_t)(e.n_rows * e.tensor.stride[0]) * sizeof(float));
    return 0;
}

Test(gradient_hooks, plugins_ask_for_gradients) {
    static const psc_plugin plugin = {.abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof plugin,
        .name = "watch",
        .version = "1",
        .summary = "watches a gradient",
        .open = watch_open,
        .run_begin = watch_begin,
        .run_end = watch_end};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    take base, one;
    set_up();
    take_one(&base, model, NULL, 1, 0, PSC_POINT_COUNT);
    const psc_copy *want = gradient_at(&base.set, PSC_HOOK_Z, 1);
    watched.kept = calloc((size_t)want->capacity, sizeof *watched.kept);
    cr_assert(watched.kept);
    one = (take){.session = must_session(model, NULL, 2, 16),
        .set = {.info = base.set.info, .n_inputs = 1, .inputs = {{0, 0, rows}}}};
    cr_assert_eq(psc_session_plugin_object(one.session, &plugin, NULL, 0, &error), PSC_OK, "%s",
        error.message);
    metric_open(&one.m);
    add_terms(&one.m, 0, rows);
    must_run_gradients(one.session, &(psc_input){0, rows, tokens}, &one.set, &one.m);
    cr_assert_eq(watched.events, 1);
    cr_assert(!memcmp(watched.kept, want->out, (size_t)want->capacity * sizeof(float)));
    free(watched.kept);
    take_close(&base);
    take_close(&one);
    psc_model_close(&model);
}

/* --- the results ----------------------------------------------------------------------------- */

static int no_state(psc_context *c, const psc_host *host, void **state) {
    (void)c, (void)host;
    *state = NULL;
    return 0;
}

/* The last section is the metric's, also beside a plugin of its name. */
Test(gradient_hooks, results_have_the_value) {
    static const psc_plugin plugin = {.abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof plugin,
        .name = "metric",
        .version = "1",
        .summary = "has another's name",
        .open = no_state};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 2, 16);
    copy_set set = {.n_inputs = 1};
    test_metric m;
    set_up();
    metric_open(&m);
    add_terms(&m, 0, rows);
    for (int32_t named = 0; named < 2; named++) {
        psc_result_section section = PSC_RESULT_SECTION_INIT;
        psc_result_value value;
        psc_session_truncate(session, 0, 0);
        must_run_gradients(session, &(psc_input){0, rows, tokens}, &set, &m);
        const psc_results *results = psc_session_results(session);
        cr_assert_eq(psc_results_section_count(results), named + 1);
        cr_assert_eq(psc_results_section_at(&section, results, named, &error), PSC_OK);
        cr_assert_str_eq(section.name, named ? "run.metric" : "metric");
        cr_assert_eq(psc_results_find_value(&value, results, named, "value", &error), PSC_OK);
        cr_assert_eq(value.numbers[0], m.value);
        cr_assert_eq(psc_session_plugin_object(session, &plugin, NULL, 0, &error), PSC_OK, "%s",
            error.message);
    }
    psc_session_close(&session);
    psc_model_close(&model);
}
