/* Events that plugins receive in a run: order of editors and observers, edits, filters, several
 * clients, subscriptions that end with the run. */
#include "plugin_fixture.h"

TestSuite(plugins_run, .init = fixture_open, .fini = fixture_close);

static psc_context *contexts[4];
static int n_contexts;

static int keep_context(psc_context *context, const psc_host *given, void **state) {
    host = given;
    *state = &contexts[n_contexts];
    contexts[n_contexts++] = context;
    return 0;
}

/* --- editors and observers ------------------------------------------------------------------- */

static char order[512];
static float seen_first, seen_before;
static bool edit_now = true;

static void note(const char *what) {
    size_t used = strlen(order);
    snprintf(order + used, sizeof order - used, "%s ", what);
}

static int observe_first(const psc_event *event, void *payload) {
    note(payload);
    seen_first = event->tensor.data[0];
    if (event->before.data) seen_before = event->before.data[0];
    if ((event->before.data != NULL) != edit_now) return -1;
    return 0;
}

static int add_one(const psc_event *event, void *payload) {
    note(payload);
    if (event->before.data) return -1;
    event->tensor.data[0] += 1.0f;
    return 0;
}

static int double_it(const psc_event *event, void *payload) {
    note(payload);
    event->tensor.data[0] *= 2.0f;
    return 0;
}

static const int32_t layer_one[] = {1};
static const psc_filter first_row_of_layer_one = {
    sizeof(psc_filter), layer_one, 1, NULL, 0, PSC_ROWS_RANGE, 0, 1, 0, 0};

static int mixed_begin(psc_context *context, void *state) {
    const psc_filter *f = &first_row_of_layer_one;
    const psc_point point = PSC_HOOK_MLP_OUT;
    if (state == &contexts[1]) {
        if (host->observe(context, point, f, observe_first, "observer2")) return -1;
        return edit_now ? host->edit(context, point, f, double_it, "doubler") : 0;
    }
    if (host->observe(context, point, f, observe_first, "observer1")) return -1;
    return edit_now ? host->edit(context, point, f, add_one, "adder") : 0;
}

Test(plugins_run, editors_run_first_in_order) {
    must_capture("blocks.1.hook_mlp_out");
    must_run_ten();
    float plain = ((const float *)must_array("blocks.1.hook_mlp_out").data)[0];
    bridge->open = keep_context;
    bridge->run_begin = mixed_begin;
    must_load(PLUGIN("bridge"), NULL);
    must_load(PLUGIN("bridge"), NULL);
    must_run_ten();
    cr_assert_str_eq(order, "adder doubler observer1 observer2 ");
    cr_assert_eq(seen_before, plain);
    cr_assert_eq(seen_first, (plain + 1.0f) * 2.0f);
    cr_assert_eq(((const float *)must_array("blocks.1.hook_mlp_out").data)[0], seen_first);
    /* Subscriptions made in run_begin ended with the run. */
    edit_now = false;
    order[0] = 0;
    must_run_ten();
    cr_assert_str_eq(order, "observer1 observer2 ");
    cr_assert_eq(seen_first, plain);
}

static int count_calls(const psc_event *event, void *payload) {
    if (!event->before.data) return -1;
    (*(int *)payload)++;
    return 0;
}

Test(plugins_run, edited_only) {
    int calls = 0;
    psc_filter edited = PSC_FILTER_INIT;
    edited.edited_only = 1;
    cr_assert_eq(
        psc_session_observe(session, PSC_HOOK_MLP_OUT, &edited, count_calls, &calls, &error), 0);
    must_run_ten();
    cr_assert_eq(calls, 0);
    cr_assert_eq(psc_session_edit(session, PSC_HOOK_MLP_OUT, &first_row_of_layer_one, double_it,
                     (void *)"client", &error),
        0);
    must_run_ten();
    cr_assert_eq(calls, 1); /* the first chunk of layer 1 */
    psc_session_unhook(session, "client");
}

static int editors_of_mlp_out, editors_of_z;

static int ask_editors(psc_context *context, void *state, int status) {
    (void)state;
    editors_of_mlp_out = host->has_editor(context, PSC_HOOK_MLP_OUT);
    editors_of_z = host->has_editor(context, PSC_HOOK_Z);
    return status;
}

Test(plugins_run, has_editor) {
    bridge->open = keep_context;
    bridge->run_begin = mixed_begin;
    bridge->run_end = ask_editors;
    must_load(PLUGIN("bridge"), NULL);
    must_run_ten();
    cr_assert(editors_of_mlp_out && !editors_of_z);
}

/* --- filters --------------------------------------------------------------------------------- */

/* Copies the rows that a filter selects from hook_z, [rows, heads, D] one after the other. */
typedef struct taken {
    float data[4096];
    int32_t layers[64], positions[64];
    int n_rows;
    int32_t n_heads;
} taken;

static int take(const psc_event *event, void *payload) {
    taken *t = payload;
    const psc_view *v = &event->tensor;
    t->n_heads = (int32_t)v->shape[1];
    if (event->n_heads && event->n_heads != t->n_heads) return -1;
    for (int32_t r = 0; r < event->n_rows; r++, t->n_rows++) {
        t->layers[t->n_rows] = event->layer;
        t->positions[t->n_rows] = event->rows[r].position;
        for (int64_t h = 0; h < v->shape[1]; h++)
            for (int64_t d = 0; d < v->shape[2]; d++)
                t->data[(t->n_rows * v->shape[1] + h) * v->shape[2] + d] =
                    v->data[r * v->stride[0] + h * v->stride[1] + d * v->stride[2]];
    }
    return 0;
}

/* Each selected row equals that row of the whole tensor, with these heads. */
static void check_taken(const taken *t, const int32_t *heads) {
    for (int r = 0; r < t->n_rows; r++) {
        const float *z =
            must_array(t->layers[r] ? "blocks.1.attn.hook_z" : "blocks.0.attn.hook_z").data;
        for (int32_t h = 0; h < t->n_heads; h++)
            cr_assert_arr_eq(t->data + (r * t->n_heads + h) * 8,
                z + (t->positions[r] * 4 + (heads ? heads[h] : h)) * 8, 8 * sizeof(float));
    }
}

static taken run_filtered(const psc_filter *filter) {
    static taken t;
    memset(&t, 0, sizeof t);
    cr_assert_eq(psc_session_observe(session, PSC_HOOK_Z, filter, take, &t, &error), PSC_OK, "%s",
        error.message);
    must_run_ten();
    psc_session_unhook(session, &t);
    return t;
}

Test(plugins_run, filters_compact) {
    must_capture("blocks.*.attn.hook_z");
    taken t = run_filtered(NULL);
    cr_assert(t.n_rows == 20 && t.n_heads == 4);
    check_taken(&t, NULL);

    const int32_t heads[] = {1, 3};
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = layer_one;
    filter.n_layers = 1;
    filter.heads = heads;
    filter.n_heads = 2;
    t = run_filtered(&filter);
    cr_assert(t.n_rows == 10 && t.n_heads == 2 && t.layers[0] == 1);
    check_taken(&t, heads);

    filter = (psc_filter)PSC_FILTER_INIT;
    filter.rows = PSC_ROWS_RANGE;
    filter.row_begin = 2;
    filter.row_end = 5; /* the end of one chunk and a part of the next */
    t = run_filtered(&filter);
    cr_assert(t.n_rows == 6 && t.positions[0] == 2);
    check_taken(&t, NULL);

    filter.rows = PSC_ROWS_LAST;
    t = run_filtered(&filter);
    cr_assert(t.n_rows == 2 && t.positions[0] == 9 && t.positions[1] == 9);
    check_taken(&t, NULL);
}

static taken sink;
static psc_filter wrong_filter;
static psc_point wrong_point;

static int wrong_begin(psc_context *context, void *state) {
    (void)state;
    return host->observe(context, wrong_point, &wrong_filter, take, &sink);
}

Test(plugins_run, wrong_filters) {
    const int32_t seven[] = {7};
    bridge->open = keep_context;
    bridge->run_begin = wrong_begin;
    must_load(PLUGIN("bridge"), NULL);
    wrong_point = PSC_HOOK_Z;
    wrong_filter = (psc_filter)PSC_FILTER_INIT;
    wrong_filter.layers = seven;
    wrong_filter.n_layers = 1;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "plugin bridge", "layer 7");
    wrong_filter = (psc_filter)PSC_FILTER_INIT;
    wrong_filter.heads = seven;
    wrong_filter.n_heads = 1;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "plugin bridge", "head 7");
    wrong_point = PSC_HOOK_MLP_OUT;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "plugin bridge", "hook_mlp_out");
    wrong_filter = (psc_filter)PSC_FILTER_INIT;
    wrong_point = PSC_HOOK_RESID_MID;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "plugin bridge", "hook_resid_mid");
    wrong_point = (psc_point)999;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "plugin bridge", "999");
    wrong_point = PSC_HOOK_MLP_OUT;
    must_run_ten();
}

/* --- when a subscription may be made --------------------------------------------------------- */

static int subscribe_late(const psc_event *event, void *payload) {
    (void)event;
    return host->observe(payload, PSC_HOOK_Z, NULL, take, NULL);
}

static int late_open(psc_context *context, const psc_host *given, void **state) {
    keep_context(context, given, state);
    return host->observe(context, PSC_HOOK_EMBED, NULL, subscribe_late, context);
}

Test(plugins_run, subscriptions_only_from_open_and_run_begin) {
    bridge->open = late_open;
    must_load(PLUGIN("bridge"), NULL);
    REFUSED(run_ten(), PSC_ERROR_STATE, "plugin bridge", "observe", "run_begin");
}

static int early_open(psc_context *context, const psc_host *given, void **state) {
    keep_context(context, given, state);
    return host->run_alloc(context, 8) ? 0 : -1; /* outside a run */
}

Test(plugins_run, no_memory_of_a_run_outside_it) {
    bridge->open = early_open;
    REFUSED(psc_session_plugin(session, PLUGIN("bridge"), NULL, &error), PSC_ERROR_STATE,
        "plugin bridge", "run_alloc", "run_begin");
}

static int observe_within(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return psc_session_observe(session, PSC_HOOK_Z, NULL, take, NULL, &error);
}

static int edit_within(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return psc_session_edit(session, PSC_HOOK_Z, NULL, take, NULL, &error);
}

Test(plugins_run, a_client_adds_no_hook_within_a_run) {
    static const psc_event_fn within[] = {observe_within, edit_within};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(
            psc_session_observe(session, PSC_HOOK_EMBED, NULL, within[i], &error, &error), PSC_OK);
        REFUSED(run_ten(), PSC_ERROR_STATE, "a hook", "in a callback");
        psc_session_unhook(session, &error);
        must_run_ten();
    }
}

/* --- cancelling ------------------------------------------------------------------------------ */

static int stop_soon(double done, const char *what, void *payload) {
    (void)done;
    return strcmp(what, payload) == 0;
}

static int slow_end(psc_context *context, void *state, int status) {
    (void)state;
    host->progress(context, 0.5);
    return status == 0 && host->cancelled(context) ? -1 : 0;
}

Test(plugins_run, cancelled_in_the_forward_pass_and_in_run_end) {
    bridge->open = keep_context;
    bridge->run_end = slow_end;
    must_load(PLUGIN("bridge"), NULL);
    psc_input input = {0, 10, ten};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.progress = stop_soon;
    options.payload = (void *)"bridge";
    REFUSED(psc_session_run(session, &input, 1, &options, &error), PSC_ERROR_CANCELLED, "cancel");
    options.payload = (void *)"forward";
    REFUSED(psc_session_run(session, &input, 1, &options, &error), PSC_ERROR_CANCELLED, "cancel");
    cr_assert_eq(psc_session_length(session, 0), 0);
    /* A later failure is not a cancellation. */
    REFUSED(psc_session_plugin(session, "logits", "level=x", &error), PSC_ERROR_INPUT, "level=x");
    must_run_ten();
}
