/* The plugin logits with deliberate faults, end to end: the host gives it one wrong input, so that
 * a component is dropped, b_t or eps omitted, or an edit hidden. Each time the plugin itself finds
 * that its sums do not close, says so in the summary and sets complete to 0.
 *
 * bridge.so, whose callbacks the test sets, replaces the plugin: it calls the built-in with a
 * changed copy of the host's table. */
#include "logits_fixture.h"

#include <dlfcn.h>

typedef enum fault {
    FAULT_NONE,
    FAULT_NEURON,   /* one neuron's write is hidden */
    FAULT_HEAD,     /* one head's */
    FAULT_BIAS,     /* one MLP's bias */
    FAULT_EMBED,    /* the embedding */
    FAULT_CONSTANT, /* b_t */
    FAULT_EPS,      /* sigma without eps */
    FAULT_EDIT      /* the addition of an edit */
} fault;

static fault chosen;
static const psc_host *real;
static psc_host lying;
static const psc_plugin *logits;
static float zeros[512];

static int faulty_pullback(psc_context *context, psc_matrix matrix, int32_t layer, float *y,
    const float *u, int64_t n_rows) {
    if (real->pullback(context, matrix, layer, y, u, n_rows)) return -1;
    const psc_model_info *info = real->model(context);
    for (int64_t r = 0; r < n_rows && layer == 1; r++) {
        if (chosen == FAULT_NEURON && matrix == PSC_W_OUT) y[r * info->d_mlp + 7] = 0.0f;
        for (int32_t d = 0; chosen == FAULT_HEAD && matrix == PSC_W_O && d < info->d_head; d++)
            y[(r * info->n_heads + 1) * info->d_head + d] = 0.0f;
    }
    return 0;
}

static const float *faulty_bias(psc_context *context, psc_matrix matrix, int32_t layer) {
    return matrix == PSC_W_OUT && layer == 0 ? zeros : real->bias(context, matrix, layer);
}

static int faulty_ln(
    psc_context *context, psc_ln which, int32_t layer, const float **gamma, const float **beta) {
    if (real->ln_parameters(context, which, layer, gamma, beta)) return -1;
    *beta = zeros;
    return 0;
}

/* An event passed on with other data. */
static psc_event_fn inner;

static int changed_event(const psc_event *event, void *payload) {
    static float data[64 * 512];
    psc_event copy = *event;
    const int64_t n = event->tensor.shape[1];
    cr_assert(event->n_rows * n <= (int64_t)(sizeof data / sizeof *data));
    for (int32_t r = 0; r < event->n_rows; r++) {
        const float *x = event->tensor.data + r * event->tensor.stride[0];
        for (int64_t i = 0; i < n; i++)
            data[r * n + i] = chosen == FAULT_EPS ? sqrtf(x[i] * x[i] - 1e-2f) : 0.0f;
    }
    copy.tensor.data = data;
    copy.tensor.stride[0] = n;
    return inner(&copy, payload);
}

static int faulty_observe(psc_context *context, psc_point point, const psc_filter *filter,
    psc_event_fn callback, void *payload) {
    const int change = (chosen == FAULT_EPS && point == PSC_HOOK_LN_FINAL_SCALE) ||
                       (chosen == FAULT_EMBED && point == PSC_HOOK_EMBED);
    if (chosen == FAULT_EDIT && filter && filter->edited_only) return 0;
    if (change) inner = callback;
    return real->observe(context, point, filter, change ? changed_event : callback, payload);
}

static int faulty_open(psc_context *context, const psc_host *host, void **state) {
    real = host;
    lying = *host;
    lying.pullback = faulty_pullback;
    lying.observe = faulty_observe;
    if (chosen == FAULT_BIAS) lying.bias = faulty_bias;
    if (chosen == FAULT_CONSTANT) lying.ln_parameters = faulty_ln;
    return logits->open(context, &lying, state);
}

static void load_faulty(const char *options) {
    const char *path = PSC_TEST_PLUGINS "/bridge.so";
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    cr_assert(library, "%s", dlerror());
    psc_plugin *bridge = dlsym(library, "bridge_plugin");
    cr_assert(bridge);
    logits = psc_builtin_logits();
    *bridge = *logits;
    bridge->name = "bridge";
    bridge->open = faulty_open;
    prefix = "bridge";
    cr_assert_eq(psc_session_plugin(session, path, options, &error), PSC_OK, "%s", error.message);
}

/* Doubles the stream entering layer 1. */
static int double_stream(const psc_event *event, void *payload) {
    (void)payload;
    for (int32_t r = 0; r < event->n_rows; r++)
        for (int64_t i = 0; i < event->tensor.shape[1]; i++)
            event->tensor.data[r * event->tensor.stride[0] + i] *= 2.0f;
    return 0;
}

/* Runs with the fault; the levels where it must show. */
static void run_with(fault which, int neuron, int head, int layer) {
    const char *const names[] = {"completeness.neuron", "completeness.head", "completeness.layer"};
    const int shows[] = {neuron, head, layer};
    const psc_filter filter = {sizeof filter, (int32_t[]){1}, 1, 0, 0, PSC_ROWS_ALL, 0, 0, 0, 0};
    chosen = which;
    start(LARGE_EPS, NULL, 2, 4);
    load_faulty("level=layer+head+neuron,rows=all");
    add_targets();
    if (which == FAULT_EDIT)
        cr_assert_eq(
            psc_session_edit(session, PSC_HOOK_RESID_PRE, &filter, double_stream, NULL, &error),
            PSC_OK, "%s", error.message);
    must_run_one(session, six, 6);
    const int any = neuron || head || layer;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(
            value_of(names[i]) > LOGITS_BOUND, shows[i], "%s is %g", names[i], value_of(names[i]));
    cr_assert_eq(value_of("complete"), !any);
    cr_assert_eq(value_of("completeness") > LOGITS_BOUND, any);
    cr_assert_eq(value_of("sums_failed") > 0, any);
    cr_assert_eq(summary_says("NOT COMPLETE"), any);
    cr_assert_eq(summary_says("Complete: "), !any);
    stop();
}

Test(logits_faults, none) {
    run_with(FAULT_NONE, 0, 0, 0);
}

Test(logits_faults, component_dropped) {
    run_with(FAULT_NEURON, 1, 0, 0);
    run_with(FAULT_HEAD, 1, 1, 0);
    run_with(FAULT_BIAS, 1, 0, 0);
}

Test(logits_faults, embedding_dropped) {
    run_with(FAULT_EMBED, 1, 1, 1);
}

Test(logits_faults, constant_forgotten) {
    run_with(FAULT_CONSTANT, 1, 1, 1);
}

Test(logits_faults, eps_forgotten) {
    run_with(FAULT_EPS, 1, 1, 1);
}

Test(logits_faults, edit_not_told) {
    run_with(FAULT_EDIT, 1, 1, 1);
}
