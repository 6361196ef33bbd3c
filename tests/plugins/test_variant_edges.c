/* Variants with edges: no edge patched is the run, all are the other run, to the bit; random sets
 * against float64 (tests/tools/make_circuit_golden.py); the same bits alone, together, from a later
 * layer, from a later row; refusals. */
#include "golden.h"
#include "plugin_fixture.h"

static void close_all(void);
TestSuite(variant_edges, .init = fixture_open, .fini = close_all);

#define SETS 6
#define MOST_EDGES 4096
#define ROWS 10

static const int32_t other_ids[ROWS] = {3, 17, 44, 79, 1, 41, 9, 60, 30, 12};
static const int shares[SETS] = {0, 13, 77, 154, 243, 256};

/* A run's writes, copied. */
typedef struct kept {
    float *embed, *z[8], *mlp_out[8], *resid_pre[9], *resid_mid[8];
    float *logits; /* [ROWS, V] */
    psc_writes writes;
} kept;

static kept runs[2]; /* this one, the other */
static int now;      /* the run in progress */
static psc_model_info info;
static psc_edge_shape shape;
static uint8_t patched[SETS][MOST_EDGES];
static psc_variant variants[SETS];
static psc_edges edges[SETS];
static int n_variants, n_seen, seen_rows;
static int32_t logit_mode;
static float *seen[SETS]; /* [rows, V] */

static float *owned[1000], *before[SETS]; /* of the test */
static int n_owned;

static void close_all(void) {
    while (n_owned > 0) free(owned[--n_owned]);
    for (int i = 0; i < SETS; i++) {
        free(seen[i]);
        free(before[i]);
    }
    fixture_close();
}

static int take(const psc_event *event, void *payload) {
    float *to = payload;
    const psc_view *t = &event->tensor;
    const int64_t inner = t->shape[t->n_axes - 1], n = t->n_axes == 3 ? t->shape[1] : 1;
    for (int r = 0; r < event->n_rows; r++)
        for (int64_t i = 0; i < n; i++)
            memcpy(to + (event->rows[r].index * n + i) * inner,
                t->data + r * t->stride[0] + (t->n_axes == 3 ? i * t->stride[1] : 0),
                (size_t)inner * sizeof *to);
    return 0;
}

static float *watch(psc_context *c, psc_point point, int32_t layer, int64_t width) {
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &layer;
    filter.n_layers = layer >= 0;
    cr_assert_lt(n_owned, 1000);
    float *to = owned[n_owned++] = calloc((size_t)(ROWS * width), sizeof *to);
    cr_assert_eq(host->observe(c, point, &filter, take, to), 0);
    return to;
}

static int on_begin(psc_context *c, void *state) {
    (void)state;
    kept *k = &runs[now];
    const int64_t n = info.d_model;
    k->embed = watch(c, PSC_HOOK_EMBED, -1, n);
    k->logits = watch(c, PSC_HOOK_LOGITS, -1, info.d_vocab);
    for (int l = 0; l < info.n_layers; l++) {
        k->z[l] = watch(c, PSC_HOOK_Z, l, n);
        k->mlp_out[l] = watch(c, PSC_HOOK_MLP_OUT, l, n);
        k->resid_pre[l] = watch(c, PSC_HOOK_RESID_PRE, l, n);
        if (!info.parallel_residual) k->resid_mid[l] = watch(c, PSC_HOOK_RESID_MID, l, n);
    }
    k->resid_pre[info.n_layers] = watch(c, PSC_HOOK_RESID_POST, info.n_layers - 1, n);
    k->writes = (psc_writes){sizeof(psc_writes), ROWS, k->embed, (const float *const *)k->z,
        (const float *const *)k->mlp_out, (const float *const *)k->resid_pre,
        info.parallel_residual ? NULL : (const float *const *)k->resid_mid};
    return now == 0 ? host->prepare_variants(c) : 0;
}

static int on_variant(int32_t variant, const psc_event *logits, void *payload) {
    const size_t floats = (size_t)logits->n_rows * (size_t)info.d_vocab;
    cr_assert_eq(variant, n_seen);
    cr_assert_eq(payload, seen);
    free(seen[variant]);
    seen[variant] = malloc(floats * sizeof(float));
    memcpy(seen[variant], logits->tensor.data, floats * sizeof(float));
    seen_rows = logits->n_rows;
    n_seen++;
    return 0;
}

static int on_end(psc_context *c, void *state, int status) {
    (void)state;
    n_seen = 0;
    if (status || now != 0 || n_variants == 0) return 0;
    return host->variants(c, n_variants, variants, logit_mode, on_variant, seen);
}

static int on_open(psc_context *c, const psc_host *given, void **state) {
    (void)c;
    (void)state;
    host = given;
    return 0;
}

/* The generator of the golden data. */
static void draw(uint8_t *to, int share, uint32_t seed) {
    cr_assert_lt(psc_edge_count(&shape), MOST_EDGES);
    for (int64_t e = 0; e < psc_edge_count(&shape); e++) {
        seed = seed * 1664525u + 1013904223u;
        to[e] = (int)(seed >> 16 & 255) < share;
    }
}

static void run_other(void) {
    psc_token tokens[ROWS];
    for (int i = 0; i < ROWS; i++) tokens[i] = (psc_token){other_ids[i], 0, 0};
    psc_input input = {0, ROWS, tokens};
    now = 1;
    cr_assert_eq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK, "%s", error.message);
    psc_session_truncate(session, 0, 0);
    now = 0;
}

static psc_edges all_rows(int set) {
    return (psc_edges){
        .struct_size = sizeof(psc_edges), .patched = patched[set], .other = &runs[1].writes};
}

/* The sets of the golden data as variants; the other run is done. */
static void load(const char *name, int chunk, int threads) {
    fixture_close();
    open_session(name, chunk, threads);
    info = *psc_model_get_info(model);
    shape = (psc_edge_shape){info.n_layers, info.n_heads, info.parallel_residual};
    bridge->open = on_open;
    bridge->run_begin = on_begin;
    bridge->run_end = on_end;
    must_load(PLUGIN("bridge"), NULL);
    run_other();
    n_variants = SETS;
    for (int i = 0; i < SETS; i++) {
        draw(patched[i], shares[i], 7 + (uint32_t)i);
        edges[i] = all_rows(i);
        variants[i] = (psc_variant){.struct_size = sizeof(psc_variant), .edges = &edges[i]};
    }
}

static void same(const float *a, const float *b, int rows, const char *what) {
    cr_assert_arr_eq(a, b, (size_t)rows * (size_t)info.d_vocab * sizeof *a, "%s", what);
}

/* --- numbers --------------------------------------------------------------------------------- */

Test(variant_edges, numbers_cover_all_edges) {
    for (int parallel = 0; parallel < 2; parallel++) {
        const psc_edge_shape s = {3, 2, parallel};
        int64_t next = 0;
        for (int32_t r = 0; r <= psc_edge_receivers(&s, 3); r++) {
            const int layer = r / 7, mlp = r % 7 == 6;
            cr_assert_eq(psc_edge_first(&s, r), next);
            cr_assert_eq(psc_edge_reads(&s, r), 1 + 3 * layer + (mlp && !parallel ? 2 : 0));
            next += psc_edge_reads(&s, r);
        }
        cr_assert_eq(psc_edge_count(&s), next);
    }
    const psc_edge_shape pythia = {12, 12, 1}, gpt2 = {12, 12, 0};
    cr_assert_eq(psc_edge_count(&pythia), 32347);
    cr_assert_eq(psc_edge_count(&gpt2), 32491); /* as the paper of EAP counts them */
}

/* --- values ---------------------------------------------------------------------------------- */

static void check_model(const char *name) {
    char path[512];
    load(name, 4, 2);
    must_run_ten();
    cr_assert_eq(seen_rows, ROWS);
    same(seen[0], runs[0].logits, ROWS, "no edge is patched");
    same(seen[SETS - 1], runs[1].logits, ROWS, "all edges are patched");
    snprintf(path, sizeof path, PSC_SOURCE_DIR "/tests/golden/circuit/%s.safetensors", name);
    psc_tensors *golden = golden_open(path);
    const size_t n = (size_t)SETS * ROWS * (size_t)info.d_vocab;
    double *logits = golden_f64(golden_find(golden, "logits"), n), worst = 0, moved = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t set = i / (n / SETS), at = i % (n / SETS);
        worst = fmax(worst, fabs((double)seen[set][at] - logits[i]));
        moved = fmax(moved, fabs(logits[i] - logits[at]));
    }
    cr_assert_lt(worst, 2e-5, "%s: off by %g", name, worst);
    cr_assert_gt(moved, 0.01);
    free(logits);
    psc_tensors_close(&golden);
}

Test(variant_edges, parallel) {
    check_model("parallel_f32");
}

Test(variant_edges, sequential) {
    check_model("sequential_f32");
}

Test(variant_edges, half_precision) {
    check_model("old_f16");
}

Test(variant_edges, odd_sizes) {
    check_model("odd_sizes");
}

/* --- the same bits ---------------------------------------------------------------------------- */

static void remember(void) {
    for (int i = 0; i < SETS; i++) {
        before[i] = malloc(ROWS * (size_t)info.d_vocab * sizeof(float));
        memcpy(before[i], seen[i], ROWS * (size_t)info.d_vocab * sizeof(float));
    }
}

/* From the first patched layer on; some sets then begin late, and one patches the logits alone. */
static void check_later(const char *name) {
    load(name, 4, 2);
    const psc_edge_shape *s = &shape;
    const int64_t second = psc_edge_first(s, psc_edge_receivers(s, 1));
    const int64_t logits = psc_edge_first(s, psc_edge_receivers(s, s->n_layers));
    for (int i = 1; i < SETS; i++)
        memset(patched[i], 0, (size_t)(i == 2 ? logits : i == 5 ? 0 : second + 40 * (i % 2)));
    must_run_ten();
    remember();
    for (int i = 0; i < SETS; i++) edges[i].own = &runs[0].writes;
    must_run_ten();
    for (int i = 0; i < SETS; i++) same(seen[i], before[i], ROWS, "from a later layer");
    same(seen[0], runs[0].logits, ROWS, "no edge is patched");
    same(seen[SETS - 1], runs[1].logits, ROWS, "all edges are patched");
}

Test(variant_edges, begin_at_a_later_layer) {
    check_later("parallel_f32");
}

Test(variant_edges, begin_at_a_later_layer_sequential) {
    check_later("sequential_f32");
}

/* Both prompts begin alike, so their first two rows do not change. */
Test(variant_edges, begin_at_a_later_row) {
    load("old_f16", 4, 2);
    must_run_ten();
    remember();
    for (int i = 0; i < SETS; i++) edges[i].row_begin = 2;
    for (logit_mode = PSC_ROWS_ALL; logit_mode <= PSC_ROWS_LAST; logit_mode++) {
        must_run_ten();
        const int first = ROWS - seen_rows;
        cr_assert_eq(seen_rows, logit_mode == PSC_ROWS_ALL ? 8 : 1);
        for (int i = 0; i < SETS; i++)
            same(seen[i], before[i] + first * info.d_vocab, seen_rows, "from a later row");
    }
}

Test(variant_edges, alone_or_together) {
    load("odd_sizes", 4, 2);
    must_run_ten();
    remember();
    load("odd_sizes", 40, 1);
    n_variants = 1;
    for (int i = 0; i < SETS; i++) {
        edges[0] = all_rows(i);
        must_run_ten();
        same(seen[0], before[i], ROWS, "alone");
    }
}

/* Rows that have none in the other run keep what they read. */
Test(variant_edges, rows_of_the_other_run) {
    static const int32_t rows[ROWS] = {-1, -1, 2, 3, 4, 5, 6, 7, 8, 9},
                         none[ROWS] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    load("sequential_f32", 4, 2);
    must_run_ten();
    remember();
    for (int i = 0; i < SETS; i++) edges[i].other_row = rows; /* the first two are alike */
    must_run_ten();
    for (int i = 0; i < SETS; i++) same(seen[i], before[i], ROWS, "two rows without another");
    for (int i = 0; i < SETS; i++) edges[i].other_row = none;
    must_run_ten();
    for (int i = 0; i < SETS; i++) same(seen[i], runs[0].logits, ROWS, "no row has another");
}

/* --- refusals -------------------------------------------------------------------------------- */

Test(variant_edges, refusals) {
    static const int32_t beyond[ROWS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 10};
    load("parallel_f32", 4, 2);
    psc_change change = {.struct_size = sizeof change, .point = PSC_HOOK_Z, .row_end = 1};
    n_variants = 2;
    variants[1].changes = &change;
    variants[1].n_changes = 1;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "variant 1", "cannot have changes");
    variants[1].n_changes = 0;
    edges[1].patched = NULL;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "variant 1", "patched and other");
    edges[1] = all_rows(1);
    edges[1].row_begin = 10;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "its rows are not in the run");
    edges[1] = all_rows(1);
    edges[1].sequence = 2;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "no rows of its sequence");
    edges[1] = all_rows(1);
    edges[1].other_row = beyond;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "no row of the other run");
    edges[1] = all_rows(1);
    edges[1].struct_size = 8;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "struct_size");
    edges[1] = all_rows(1);
    psc_writes short_one = runs[0].writes;
    short_one.n_rows = 9;
    edges[1].own = &short_one;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "too few rows");
    short_one.z = NULL;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "not complete");
    edges[1] = all_rows(1);
    must_run_ten();
}

/* --- memory ---------------------------------------------------------------------------------- */

/* The sets of load() in a session with a cap on retained bytes. */
static psc_status run_capped(uint64_t cap) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.retained_cap = cap;
    options.threads = 2;
    options.chunk = 4;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    must_load(PLUGIN("bridge"), NULL);
    run_other();
    return run_ten();
}

/* With the least cap rows go through one by one, and a batch has fewer variants: the same bits.
 * Some begin at a later layer. */
static void check_least(const char *name) {
    uint64_t least = 0, most = 4 << 20;
    load(name, 4, 2);
    const int64_t second = psc_edge_first(&shape, psc_edge_receivers(&shape, 1));
    for (int i = 0; i < SETS; i++) edges[i].own = &runs[0].writes;
    for (int i = 1; i < SETS - 1; i += 2) memset(patched[i], 0, (size_t)second);
    cr_assert_eq(run_capped(most), PSC_OK, "%s", error.message);
    remember();
    while (most - least > 16) {
        const uint64_t middle = (least + most) / 2;
        *(run_capped(middle) == PSC_OK ? &most : &least) = middle;
    }
    REFUSED(run_capped(least), PSC_ERROR_MEMORY, "patched edges of 10 rows need", "retained_cap");
    cr_assert_eq(run_capped(most), PSC_OK, "%s", error.message);
    for (int i = 0; i < SETS; i++) same(seen[i], before[i], ROWS, "with the least memory");
}

Test(variant_edges, least_memory) {
    check_least("parallel_f32");
}

Test(variant_edges, least_memory_sequential) {
    check_least("sequential_f32");
}

Test(variant_edges, least_memory_odd_sizes) {
    check_least("odd_sizes");
}
