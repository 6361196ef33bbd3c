/* What variants, their gradients and patched edges count as retained, beside the peak that the
 * system measures (VmHWM), in one call of the host. */
#include "golden.h"
#include "memory_peak.h"
#include "variant_buffers.h"

enum { ROWS = 500, SLACK = 1 << 20, MOST = 48, WIDEST = 4096 };

static psc_model *model;
static psc_session *session;
static const psc_host *host;
static const psc_model_info *info;
static psc_error error;
static psc_token tokens[ROWS];

/* The calls of a test, all measured together. */
static int n_calls;
static int (*calls[4])(psc_context *);
static int measures;
static double counted, peak;

static int on_open(psc_context *c, const psc_host *given, void **state) {
    (void)c;
    (void)state;
    host = given;
    return 0;
}

static int on_begin(psc_context *c, void *state) {
    (void)state;
    return host->prepare_variants(c) || host->prepare_gradients(c, 0, NULL);
}

static int on_end(psc_context *c, void *state, int status) {
    (void)state;
    if (status) return status;
    const uint64_t retained = session->retained_bytes;
    const double before = measures ? begin_peak() : 0.0;
    for (int i = 0; i < n_calls; i++)
        if (calls[i](c)) return -1;
    peak = measures ? status_of("VmHWM:") - before : 0.0;
    counted = (double)(session->retained_bytes - retained);
    return 0;
}

static const psc_plugin plugin = {.abi = PSC_PLUGIN_ABI,
    .struct_size = sizeof plugin,
    .name = "measure",
    .open = on_open,
    .run_begin = on_begin,
    .run_end = on_end};

static psc_status run(uint64_t cap) {
    const psc_input input = {0, ROWS, tokens};
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = 1;
    options.capacity = ROWS;
    options.retained_cap = cap;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK);
    psc_session_truncate(session, 0, 0);
    cr_assert_eq(psc_session_plugin_object(session, &plugin, NULL, 0, &error), PSC_OK);
    return psc_session_run(session, &input, 1, NULL, &error);
}

static void set_up(void) {
    const char *path = golden_embedded();
    if (!path) cr_skip_test("needs the embedded model");
    measures = MEASURES && begin_peak() >= 0; /* else the calls still run under their caps */
    give_back();
    model = must_model(path);
    info = psc_model_get_info(model);
    for (int32_t i = 0; i < ROWS; i++) tokens[i].id = 300 + i * 7 % 1000;
}

/* Runs with a cap (0: the default). What was counted is the peak; `least` of it at least. */
static void check(uint64_t cap, double least) {
    cr_assert_eq(run(cap), PSC_OK, "%s", error.message);
    cr_assert_leq(peak, counted + SLACK, "%.0f of %.0f", peak, counted);
    if (measures) cr_assert_geq(peak, least * counted - SLACK, "%.0f of %.0f", peak, counted);
    if (cap) cr_assert_leq((double)session->retained_bytes, (double)cap);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* --- changes --------------------------------------------------------------------------------- */

static psc_change changes[MOST];
static psc_variant variants[MOST];
static int n_variants;
static int32_t logit_mode = PSC_ROWS_LAST, token_ids[WIDEST];

static int on_logits(int32_t variant, const psc_event *logits, void *payload) {
    (void)variant;
    (void)payload;
    return logits->n_rows < 1;
}

static int compute(psc_context *c) {
    return host->variants(c, n_variants, variants, logit_mode, on_logits, NULL);
}

/* One variant a call, so that its copy of the keys and values is used whole. */
static int compute_one(psc_context *c) {
    static int next;
    return host->variants(c, 1, &variants[next++], logit_mode, on_logits, NULL);
}

/* A variant that scales a point of layer 0 from a row on. */
static void add(psc_point point, int32_t first) {
    const int i = n_variants++;
    changes[i] = (psc_change){.struct_size = sizeof(psc_change),
        .point = (int32_t)point,
        .layer = point == PSC_HOOK_EMBED ? -1 : 0,
        .row_begin = first,
        .row_end = ROWS,
        .head = -1,
        .key = -1,
        .alpha = 0.5f};
    variants[i] =
        (psc_variant){.struct_size = sizeof(psc_variant), .n_changes = 1, .changes = &changes[i]};
}

Test(variant_memory, whole_sequences) {
    set_up();
    for (int i = 0; i < 4; i++) add(PSC_HOOK_RESID_PRE, 0);
    calls[n_calls++] = compute;
    check(0, 0.3); /* the pass does not use all of the caches, nor the logits' rows */
}

/* Scores and pattern, the heads' writes and pre-activations are complete for editors of these. */
Test(variant_memory, edited_tensors) {
    set_up();
    add(PSC_HOOK_PATTERN, 0);
    add(PSC_HOOK_RESULT, 0);
    add(PSC_HOOK_MLP_PRE, 0);
    logit_mode = PSC_ROWS_ALL;
    for (int i = 0; i < 3; i++) calls[n_calls++] = compute_one;
    check(0, 0.85);
}

/* Variants of few rows have a cache of their own, which counts. */
static int compute_few(psc_context *c) {
    const double before = (double)c->variants->bytes;
    if (host->variants(c, n_variants - 1, variants + 1, logit_mode, on_logits, NULL)) return -1;
    cr_assert(c->variants->own);
    cr_assert_geq((double)c->variants->bytes - before,
        psc_kv_cache_bytes(1, info->n_layers, info->n_heads, info->d_head, ROWS_TOGETHER));
    return 0;
}

Test(variant_memory, few_rows) {
    set_up();
    add(PSC_HOOK_RESID_PRE, 0);
    for (int i = 1; i < MOST; i++) add(PSC_HOOK_RESID_PRE, ROWS - 12);
    calls[n_calls++] = compute_one;
    calls[n_calls++] = compute_few;
    check(0, 0.5);
}

Test(variant_memory, logits_of_all_rows) {
    set_up();
    add(PSC_HOOK_RESID_PRE, 0);
    logit_mode = PSC_ROWS_ALL;
    calls[n_calls++] = compute;
    check(0, 0.7);
}

/* A copy of the logits of many tokens. */
Test(variant_memory, picked_logits) {
    set_up();
    add(PSC_HOOK_RESID_PRE, 0);
    logit_mode = PSC_ROWS_ALL;
    for (int32_t i = 0; i < info->d_vocab && i < WIDEST; i++) token_ids[i] = i;
    variants[0].token_ids = token_ids;
    variants[0].n_token_ids = info->d_vocab < WIDEST ? info->d_vocab : WIDEST;
    calls[n_calls++] = compute;
    check(0, 0.7);
}

/* --- edges ----------------------------------------------------------------------------------- */

static psc_edges edges;
static psc_variant patched_run = {.struct_size = sizeof patched_run, .edges = &edges};
static uint8_t patched[WIDEST];
static uint64_t least_edges; /* bytes that a call has at least */

/* Beside the marks and the memory of the edges nothing of them is allocated. */
static int compute_edges(psc_context *c) {
    if (host->variants(c, 1, &patched_run, logit_mode, on_logits, NULL)) return -1;
    const psc_edge_buffers *b = &c->variants->edges;
    cr_assert_geq(b->mark_bytes, 2 * ROWS * sizeof(int32_t));
    cr_assert_eq(b->bytes, b->mark_bytes + b->memory_bytes);
    cr_assert_geq(b->memory_bytes, least_edges);
    return 0;
}

/* The other run wrote 0.01 everywhere. every: of the edges one in so many is patched; 0: one
 * alone. */
static void patch(int64_t every) {
    static const float *layers[8];
    static psc_writes writes;
    const psc_edge_shape shape = {info->n_layers, info->n_heads, info->parallel_residual};
    static float rows[ROWS * 256];
    cr_assert(info->n_layers < 8 && info->d_model <= 256 && info->parallel_residual);
    for (int i = 0; i < ROWS * 256; i++) rows[i] = 0.01f;
    for (int l = 0; l < 8; l++) layers[l] = rows;
    writes = (psc_writes){sizeof writes, ROWS, rows, layers, layers, layers, NULL};
    cr_assert_leq(psc_edge_count(&shape), WIDEST);
    memset(patched, 0, sizeof patched);
    for (int64_t e = 0; every && e < psc_edge_count(&shape); e += every) patched[e] = 1;
    if (!every) patched[psc_edge_first(&shape, psc_edge_receivers(&shape, 2))] = 1;
    edges = (psc_edges){.struct_size = sizeof edges, .patched = patched, .other = &writes};
}

Test(variant_memory, edges) {
    set_up();
    patch(3);
    logit_mode = PSC_ROWS_ALL;
    calls[n_calls++] = compute_edges;
    check(0, 0.85);
}

/* A cap that leaves little: the edges take what is left. */
Test(variant_memory, edges_of_few_rows) {
    set_up();
    patch(3);
    calls[n_calls++] = compute_edges;
    check((uint64_t)22 << 20, 0.7);
}

/* Only the embedding's differences are stored. */
Test(variant_memory, one_edge) {
    set_up();
    const double rows = 256.0 * (info->n_layers * (info->n_heads + 1)) * info->d_model * 4;
    calls[n_calls++] = compute_edges;
    patch(0);
    check(0, 0.7);
    const double one = counted;
    set_up();
    patch(3);
    check(0, 0.7);
    cr_assert_gt(counted, one + 0.7 * rows);
}

/* Buffers of a first call that leave the edges of the next one no room are opened again. */
Test(variant_memory, edges_after_variants) {
    set_up();
    patch(3);
    for (int i = 0; i < 8; i++) add(PSC_HOOK_RESID_PRE, ROWS - 30);
    calls[n_calls++] = compute;
    calls[n_calls++] = compute_edges;
    least_edges = 8 << 20;
    check((uint64_t)36 << 20, 0.0);
}

/* Not the first variant of a call alone decides whether edges need room. */
Test(variant_memory, edges_beside_changes) {
    set_up();
    patch(3);
    for (int i = 0; i < 8; i++) add(PSC_HOOK_RESID_PRE, ROWS - 30);
    variants[n_variants++] = patched_run;
    calls[n_calls++] = compute;
    calls[n_calls++] = compute_edges;
    least_edges = 8 << 20;
    check((uint64_t)36 << 20, 0.0);
}

/* --- gradients ------------------------------------------------------------------------------- */

static const psc_metric_term term = {
    .struct_size = sizeof term, .row = ROWS - 1, .token = 5, .weight = 1.0};
static psc_metric metrics[MOST];
static const int32_t points[] = {PSC_HOOK_RESID_PRE, PSC_HOOK_RESID_PRE + PSC_POINT_VALUES};

/* Memory of the plugin that fits only without the buffers of the calls before. */
static int allocate(psc_context *c) {
    const uint64_t left = session->options.retained_cap - session->retained_bytes;
    cr_assert(c->variants->forward);
    void *memory = host->run_alloc(c, left + (4 << 20));
    cr_assert(memory, "%s", error.message);
    memset(memory, 1, (size_t)left + (4 << 20));
    cr_assert(!c->variants->forward);
    return 0;
}

Test(variant_memory, memory_after_variants) {
    set_up();
    for (int i = 0; i < 2; i++) add(PSC_HOOK_RESID_PRE, 0);
    calls[n_calls++] = compute_one;
    calls[n_calls++] = allocate;
    check((uint64_t)36 << 20, 0.7);
}

static int on_gradient(int32_t variant, const psc_event *event, void *payload) {
    (void)variant;
    (void)payload;
    return event->n_rows < 1;
}

static int differentiate(psc_context *c) {
    for (int i = 0; i < n_variants; i++)
        metrics[i] = (psc_metric){.struct_size = sizeof *metrics, .n_terms = 1, .terms = &term};
    return host->gradients(c, n_variants, variants, metrics, 2, points, on_gradient, NULL);
}

Test(variant_memory, gradients) {
    set_up();
    for (int i = 0; i < 3; i++) add(PSC_HOOK_EMBED, 0);
    calls[n_calls++] = differentiate;
    check(0, 0.7);
}

/* Too little for what a pass keeps, so it recomputes. */
Test(variant_memory, gradients_recomputed) {
    set_up();
    add(PSC_HOOK_EMBED, 0);
    calls[n_calls++] = differentiate;
    check((uint64_t)28 << 20, 0.7);
}

/* What one variant's editors need is freed before the next one's. */
Test(variant_memory, gradients_of_edited_tensors) {
    set_up();
    static float values[WIDEST];
    add(PSC_HOOK_RESULT, 0);
    changes[0].kind = PSC_CHANGE_FIX;
    changes[0].values = values;
    cr_assert_leq(info->n_heads * info->d_model, WIDEST);
    add(PSC_HOOK_PATTERN, 0);
    calls[n_calls++] = differentiate;
    check(0, 0.7);
}
