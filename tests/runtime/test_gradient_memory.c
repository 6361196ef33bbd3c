/* The memory that is foretold beside the peak that the system measures (VmHWM): of a gradient, of
 * one whose hooks ask for whole tensors, and of the plugin circuit. */
#include "golden.h"
#include "memory_peak.h"
#include "psc_metric.h"

enum { ROWS = 500, SLACK = 4 << 20 };

static psc_model *model;
static psc_session *session;
static psc_error error;
static psc_token tokens[ROWS];

/* A session that has run once, so that its own memory has its pages. */
static void open_session(void) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = 1;
    options.capacity = ROWS;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
}

static psc_status run(const psc_metric *metric, int32_t phase) {
    const psc_input input = {0, ROWS, tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.metric = metric;
    options.phase = phase;
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, &options, &error);
}

static void set_up(void) {
    const char *path = golden_embedded();
    if (!MEASURES || !path || begin_peak() < 0) cr_skip_test("needs /proc and the embedded model");
    give_back();
    model = must_model(path);
    for (int32_t i = 0; i < ROWS; i++) tokens[i].id = 300 + i * 7 % 1000;
    open_session();
    cr_assert_eq(run(NULL, PSC_PHASE_ONLY), PSC_OK, "%s", error.message);
}

static void tear_down(void) {
    psc_session_close(&session);
    psc_model_close(&model);
}

static int see(const psc_event *event, void *payload) {
    (void)event;
    ++*(int *)payload;
    return 0;
}

/* A run with the gradient at a point takes what was foretold, give or take SLACK: large blocks have
 * pages of 2 MiB. */
static void check(psc_point point, int edits) {
    int seen = 0;
    psc_filter filter = PSC_FILTER_INIT;
    psc_metric_term term = PSC_METRIC_TERM_INIT;
    psc_metric metric = PSC_METRIC_INIT;
    filter.gradient = 1;
    term.row = ROWS - 1;
    term.token = 5;
    metric.terms = &term;
    metric.n_terms = 1;
    const psc_status status =
        edits ? psc_session_edit(session, point, &filter, see, &seen, &error)
              : psc_session_observe(session, point, &filter, see, &seen, &error);
    cr_assert_eq(status, PSC_OK, "%s", error.message);
    const double foretold = (double)psc_session_gradient_bytes(session, ROWS, 1, 0);
    const double before = begin_peak();
    cr_assert_eq(run(&metric, PSC_PHASE_ONLY), PSC_OK, "%s", error.message);
    const double peak = status_of("VmHWM:") - before;
    cr_assert_gt(seen, 0);
    cr_assert_leq(peak, foretold + SLACK, "point %d: %.0f of %.0f", point, peak, foretold);
    cr_assert_geq(peak, 0.7 * foretold - SLACK, "point %d: %.0f of %.0f", point, peak, foretold);
}

Test(gradient_memory, embedding) {
    set_up();
    check(PSC_HOOK_EMBED, 0);
    tear_down();
}

Test(gradient_memory, whole_patterns) {
    set_up();
    const uint64_t without = psc_session_gradient_bytes(session, ROWS, 1, 0);
    check(PSC_HOOK_PATTERN, 0);
    const psc_model_info *info = psc_model_get_info(model);
    cr_assert_geq(psc_session_gradient_bytes(session, ROWS, 1, 0),
        without + (uint64_t)info->n_heads * ROWS * ROWS * sizeof(float));
    tear_down();
}

Test(gradient_memory, edited_writes) {
    const psc_point points[] = {PSC_HOOK_RESULT, PSC_HOOK_MLP_OUT, PSC_HOOK_LOGITS};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        set_up();
        check(points[i], 1);
        tear_down();
    }
}

/* A cap below what is foretold refuses the run before its first row. */
Test(gradient_memory, whole_tensors_are_capped) {
    set_up();
    int seen = 0;
    psc_metric_term term = PSC_METRIC_TERM_INIT;
    psc_metric metric = PSC_METRIC_INIT;
    psc_filter filter = PSC_FILTER_INIT;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = 1;
    options.capacity = ROWS;
    options.retained_cap = psc_session_gradient_bytes(session, ROWS, 1, 1) + SLACK;
    filter.gradient = 1;
    term.token = 5;
    metric.terms = &term;
    metric.n_terms = 1;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    cr_assert_eq(run(&metric, PSC_PHASE_ONLY), PSC_OK, "%s", error.message);
    cr_assert_eq(
        psc_session_observe(session, PSC_HOOK_ATTN_SCORES, &filter, see, &seen, &error), PSC_OK);
    cr_assert_eq(run(&metric, PSC_PHASE_ONLY), PSC_ERROR_MEMORY);
    cr_assert(strstr(error.message, "the cap (retained_cap, --retain)"), "%s", error.message);
    cr_assert_eq(seen, 0);
    tear_down();
}

/* Whether circuit with patched edges runs under a cap on retained bytes; 0: the default. */
static psc_status run_edges(uint64_t cap) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = 1;
    options.capacity = ROWS;
    options.retained_cap = cap;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    const char *what = "scores=eap,edges=20,minimal=0,check=20,random=0";
    cr_assert_eq(psc_session_plugin(session, "circuit", what, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    tokens[3].id = 321;
    psc_status status = run(NULL, PSC_PHASE_BASE);
    if (status == PSC_OK) status = run(NULL, PSC_PHASE_SOURCE);
    tokens[3].id = 322;
    return status == PSC_OK ? run(NULL, PSC_PHASE_CHANGED) : status;
}

/* The caches of many variants and the gradient leave room for the edges of a pass, which take what
 * there is; a cap without room for one variant refuses. */
Test(gradient_memory, patched_edges_are_capped) {
    set_up();
    cr_assert_eq(run_edges((uint64_t)72 << 20), PSC_OK, "%s", error.message);
    cr_assert_neq(run_edges((uint64_t)16 << 20), PSC_OK);
    cr_assert(strstr(error.message, "retained_cap"), "%s", error.message);
    tear_down();
}

/* Where a kept gradient would leave no room for the variants after it, it is computed again. */
Test(gradient_memory, leaves_room_for_variants) {
    set_up();
    const psc_model_info *info = psc_model_get_info(model);
    const uint64_t layer = (uint64_t)ROWS * (uint64_t)info->d_model * sizeof(float);
    const uint64_t kept = psc_session_gradient_bytes(session, ROWS, 1, 0);
    const uint64_t again = psc_session_gradient_bytes(session, ROWS, 1, 1);
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = 1;
    options.capacity = ROWS;
    /* hook_z and hook_resid_pre, for starts inside a layer hook_z and hook_mlp_out, and variants */
    options.retained_cap = (uint64_t)(4 * info->n_layers - 2) * layer + ((uint64_t)16 << 20);
    options.retained_cap += again + (kept - again) / 3;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_plugin(session, "attribution", "exact=1,sample=1", &error), PSC_OK,
        "%s", error.message);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    cr_assert_eq(run(NULL, PSC_PHASE_ONLY), PSC_OK, "%s", error.message);
    tear_down();
}

/* The bytes that circuit names when it refuses, and the gradient, are its peak. */
Test(gradient_memory, circuit) {
    set_up();
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.capacity = ROWS;
    options.retained_cap = 1 << 20;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    cr_assert_eq(
        psc_session_plugin(session, "circuit", "edges=0", &error), PSC_OK, "%s", error.message);
    cr_assert_eq(run(NULL, PSC_PHASE_SOURCE), PSC_ERROR_MEMORY);
    const char *needs = strstr(error.message, "needs ");
    cr_assert(needs, "%s", error.message);
    const double bytes = strtod(needs + 6, NULL);
    psc_session_close(&session);
    open_session();
    cr_assert_eq(psc_session_plugin(session, "circuit", "edges=0", &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    const double foretold = bytes + (double)psc_session_gradient_bytes(session, ROWS, 1, 0);
    cr_assert_eq(run(NULL, PSC_PHASE_BASE), PSC_OK, "%s", error.message);
    const double before = begin_peak();
    cr_assert_eq(run(NULL, PSC_PHASE_SOURCE), PSC_OK, "%s", error.message);
    tokens[3].id++;
    cr_assert_eq(run(NULL, PSC_PHASE_CHANGED), PSC_OK, "%s", error.message);
    const double peak = status_of("VmHWM:") - before;
    cr_assert_leq(peak, foretold + SLACK, "%.0f of %.0f", peak, foretold);
    cr_assert_geq(peak, 0.7 * foretold - SLACK, "%.0f of %.0f", peak, foretold);
    tear_down();
}

/* Edges of attention patterns: what the source leaves, the changed run's copy and its estimates must
 * fit together, and the source run does not begin otherwise. */
Test(gradient_memory, attribution_refuses_before_its_source_runs) {
    set_up();
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    int32_t seen = 0;
    options.capacity = ROWS;
    const psc_model_info *info = psc_model_get_info(model);
    const uint64_t edges = (uint64_t)info->n_layers * (uint64_t)info->n_heads * ROWS * ROWS;
    options.retained_cap = edges * (2 * sizeof(float) + sizeof(double)) - 1;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    const char *what = "over=edges,do=patch,exact=0,sample=0";
    cr_assert_eq(psc_session_plugin(session, "attribution", what, &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    cr_assert_eq(psc_session_observe(session, PSC_HOOK_EMBED, NULL, see, &seen, &error), PSC_OK);
    cr_assert_eq(run(NULL, PSC_PHASE_SOURCE), PSC_ERROR_MEMORY);
    cr_assert(strstr(error.message, "retained_cap"), "%s", error.message);
    cr_assert_eq(seen, 0);
    tear_down();
}
