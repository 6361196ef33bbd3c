/* host->gradients against runs with a metric: the same bits for the run itself and for variants,
 * alone or many together, in a whole sequence or a continued one; and refusals. */
#include "backward_inside.h"
#include "gradients.h"
#include "plugin_fixture.h"

TestSuite(host_gradients, .init = fixture_open, .fini = fixture_close);

enum { MOST = 24, POINTS = 6 };

static const int32_t points[POINTS] = {PSC_HOOK_EMBED, PSC_HOOK_RESID_PRE, PSC_HOOK_Z,
    PSC_HOOK_PATTERN, PSC_HOOK_MLP_POST, PSC_HOOK_RESID_POST + PSC_POINT_VALUES};

static psc_variant variants[MOST];
static psc_change changes[MOST];
static psc_metric_term terms[MOST][3];
static psc_metric metrics[MOST];
static double values[MOST];
static int n_variants, n_points = POINTS;
static const psc_variant *asked = variants;
static int32_t prepared[MOST], n_prepared;
static bool prepares = true, fails;
static psc_context *running;
static int n_recomputed; /* events of variants whose pass computes queries again */
static int n_kept,
    n_forgotten; /* events of the run itself: before and after it frees what it kept */
static float vector[4096], other[4096];

/* What fn received: a copy of each event's rows. */
typedef struct seen {
    int variant, point, layer, first, n_rows;
    size_t width;
    float *data;
} seen;
static seen all[4096];
static int n_seen;

static void drop_seen(void) {
    while (n_seen > 0) free(all[--n_seen].data);
}

static size_t width_of(const psc_event *e) {
    return (size_t)(e->tensor.n_axes == 3 ? e->tensor.shape[1] * e->tensor.shape[2]
                                          : e->tensor.shape[1]);
}

static void keep(seen *s, const psc_event *e) {
    s->point = e->point + (e->gradient ? 0 : PSC_POINT_VALUES);
    s->layer = e->layer;
    s->first = e->rows[0].index;
    s->n_rows = e->n_rows;
    s->width = width_of(e);
    s->data = malloc((size_t)e->n_rows * s->width * sizeof *s->data);
    const int64_t axis2 = e->tensor.n_axes == 3 ? e->tensor.shape[2] : e->tensor.shape[1];
    for (int r = 0; r < e->n_rows; r++)
        for (int64_t k = 0; k < (int64_t)s->width; k++)
            s->data[(int64_t)s->width * r + k] =
                e->tensor.data[r * e->tensor.stride[0] +
                               (e->tensor.n_axes == 3 ? k / axis2 * e->tensor.stride[1] : 0) +
                               k % axis2];
}

static int on_gradient(int32_t variant, const psc_event *event, void *payload) {
    cr_assert_eq(payload, all);
    cr_assert_eq(!event->gradient, event->point == PSC_HOOK_RESID_POST);
    if (variants[variant].n_changes > 0)
        n_recomputed += running->gradients->backward->recompute;
    else if (running->gradients->own->recompute)
        n_forgotten += n_kept > 0;
    else
        n_kept++;
    all[n_seen].variant = variant;
    keep(&all[n_seen++], event);
    return fails ? -1 : 0;
}

static int keep_host(psc_context *context, const psc_host *given, void **state) {
    (void)context;
    (void)state;
    host = given;
    return 0;
}

static int on_begin(psc_context *c, void *state) {
    (void)state;
    return prepares ? host->prepare_gradients(c, n_prepared, prepared) : 0;
}

static int on_end(psc_context *c, void *state, int status) {
    (void)state;
    running = c;
    if (status || n_variants == 0) return 0;
    return host->gradients(c, n_variants, asked, metrics, n_points, points, on_gradient, all);
}

static void load(void) {
    bridge->open = keep_host;
    bridge->run_begin = on_begin;
    bridge->run_end = on_end;
    must_load(PLUGIN("bridge"), NULL);
    for (int i = 0; i < 4096; i++) {
        vector[i] = 0.25f * (float)(i % 7) - 0.6f;
        other[i] = 0.125f * (float)(i % 11);
    }
}

/* A variant with a change at a point, or the run itself (point < 0); its metric reads row and
 * row - 2. */
static void add(int point, int layer, int sequence, int begin, int end, int row) {
    static const int kinds[] = {PSC_CHANGE_SET, PSC_CHANGE_ADD, PSC_CHANGE_FIX, PSC_CHANGE_FIX,
        PSC_CHANGE_FIX, PSC_CHANGE_SET, PSC_CHANGE_FIX};
    const int i = n_variants++;
    changes[i] = (psc_change){.struct_size = sizeof(psc_change),
        .kind = kinds[i % 7],
        .point = point,
        .layer = layer,
        .sequence = sequence,
        .row_begin = begin,
        .row_end = end,
        .head = -1,
        .key = -1,
        .alpha = 0.5f,
        .values = vector,
        .stride = i % 5};
    variants[i] = (psc_variant){
        .struct_size = sizeof(psc_variant), .n_changes = point >= 0, .changes = &changes[i]};
    const psc_metric_term term = PSC_METRIC_TERM_INIT;
    for (int t = 0; t < 3; t++) terms[i][t] = term;
    terms[i][0].row = terms[i][1].row = row;
    terms[i][0].token = 7 + i;
    terms[i][1].kind = PSC_METRIC_LOG_P;
    terms[i][1].token = 3;
    terms[i][1].weight = -0.5;
    terms[i][2].kind = PSC_METRIC_KL;
    terms[i][2].row = row - 2;
    terms[i][2].logits = other;
    metrics[i] = (psc_metric){.struct_size = sizeof(psc_metric),
        .n_terms = 1 + i % 3,
        .terms = terms[i],
        .value = &values[i]};
}

/* --- a run with the same metric and editors -------------------------------------------------- */

static int edit(const psc_event *event, void *payload) {
    const psc_change *c = payload;
    for (int i = 0; i < event->n_rows; i++) {
        const int position = event->rows[i].position;
        if (c->layer != event->layer || event->rows[i].sequence != c->sequence ||
            position < c->row_begin || position >= c->row_end)
            continue;
        const float *v = c->values + (position - c->row_begin) * c->stride;
        float *x = event->tensor.data + i * event->tensor.stride[0];
        if (c->kind == PSC_CHANGE_SCALE) {
            for (int64_t h = 0; !event->gradient && h < event->tensor.shape[1]; h++)
                for (int k = 0; k <= position; k++) x[h * event->tensor.stride[1] + k] *= c->alpha;
            continue;
        }
        for (size_t k = 0; k < width_of(event); k++)
            x[k] = event->gradient             ? 0.0f
                   : c->kind == PSC_CHANGE_ADD ? fmaf(c->alpha, v[k], x[k])
                                               : v[k];
    }
    return 0;
}

static int n_compared, current;

static int compare(const psc_event *event, void *payload) {
    (void)payload;
    for (int i = 0; i < n_seen; i++) {
        const seen *s = &all[i];
        const int point = event->point + (event->gradient ? 0 : PSC_POINT_VALUES);
        if (s->variant != current || s->point != point || s->layer != event->layer) continue;
        const int at = s->first - event->rows[0].index;
        cr_assert(at >= 0 && at + s->n_rows <= event->n_rows);
        const int64_t keys = s->width / (size_t)event->tensor.shape[1];
        for (int r = 0; r < s->n_rows; r++)
            for (size_t k = 0; k < s->width; k++) {
                const float *row = event->tensor.data + (at + r) * event->tensor.stride[0];
                const bool keyed = s->point == PSC_HOOK_PATTERN;
                if (keyed && (int64_t)k % keys > event->rows[at + r].position) continue;
                const int64_t column =
                    keyed ? (int64_t)k / keys * event->tensor.stride[1] + (int64_t)k % keys
                          : (int64_t)k;
                cr_assert_eq(s->data[(size_t)r * s->width + k], row[column],
                    "variant %d point %d layer %d row %d", current, s->point, s->layer, r);
            }
        n_compared++;
    }
    return 0;
}

static void compare_run(int v, const psc_input *inputs, int n_inputs, int before) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.n_sequences = 3;
    options.capacity = 40;
    options.threads = 1;
    psc_session *plain = NULL;
    cr_assert_eq(psc_session_open(&plain, model, &options, &error), PSC_OK);
    psc_input start = {0, before, ten};
    if (before > 0) cr_assert_eq(psc_session_run(plain, &start, 1, NULL, &error), PSC_OK);
    if (variants[v].n_changes)
        cr_assert_eq(
            psc_session_edit(plain, (psc_point)changes[v].point, NULL, edit, &changes[v], &error),
            PSC_OK);
    psc_filter filter = PSC_FILTER_INIT;
    filter.gradient = 1;
    if (variants[v].n_changes && changes[v].kind == PSC_CHANGE_FIX)
        cr_assert_eq(psc_session_edit(
                         plain, (psc_point)changes[v].point, &filter, edit, &changes[v], &error),
            PSC_OK);
    for (int p = 0; p < n_points; p++) {
        filter.gradient = points[p] < PSC_POINT_VALUES;
        cr_assert_eq(psc_session_observe(plain, (psc_point)(points[p] % PSC_POINT_VALUES), &filter,
                         compare, NULL, &error),
            PSC_OK);
    }
    double value = NAN;
    psc_metric metric = metrics[v];
    metric.value = &value;
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    run.metric = &metric;
    current = v;
    n_compared = 0;
    cr_assert_eq(
        psc_session_run(plain, inputs, n_inputs, &run, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(value, values[v]);
    const int points_seen = variants[v].n_changes ? 5 : 4; /* per layer */
    cr_assert_geq(n_compared, 1 + points_seen * psc_model_get_info(model)->n_layers);
    psc_session_close(&plain);
}

static void compare_all(const psc_input *inputs, int n_inputs, int before) {
    for (int v = 0; v < n_variants; v++) compare_run(v, inputs, n_inputs, before);
}

/* Changes that begin at every kind of place, among unchanged ones. */
static void many(int sequence, int first, int last, int row) {
    add(-1, 0, sequence, 0, 0, row);
    add(PSC_HOOK_EMBED, -1, sequence, first, last, row);
    add(PSC_HOOK_RESID_PRE, 1, sequence, first, first + 1, row);
    add(PSC_HOOK_Z, 0, sequence, first, last, row);
    add(-1, 0, sequence, 0, 0, row);
    add(PSC_HOOK_MLP_OUT, 1, sequence, last - 1, last, row);
}

static void prepare_rows(int n, const int32_t *rows) {
    n_prepared = n;
    memcpy(prepared, rows, (size_t)n * sizeof *rows);
}

Test(host_gradients, equal_runs_with_a_metric) {
    load();
    many(0, 2, 9, 9);
    many(0, 0, 10, 9);
    prepare_rows(3, (int32_t[]){2, 7, 9});
    must_run_ten();
    const psc_input input = {0, 10, ten};
    compare_all(&input, 1, 0);
}

Test(host_gradients, equal_runs_of_a_sequential_model) {
    fixture_close();
    open_session("sequential_f32", 4, 2);
    load();
    many(0, 1, 8, 8);
    prepare_rows(2, (int32_t[]){6, 8});
    must_run_ten();
    const psc_input input = {0, 10, ten};
    compare_all(&input, 1, 0);
}

/* Three sequences, one of which continues an earlier run. */
Test(host_gradients, equal_runs_of_several_sequences) {
    load();
    prepares = false;
    const psc_input start = {0, 4, ten};
    cr_assert_eq(psc_session_run(session, &start, 1, NULL, &error), PSC_OK, "%s", error.message);
    prepares = true;
    many(0, 4, 9, 5);   /* rows 0 to 5 */
    many(2, 0, 10, 15); /* rows 11 to 20 */
    many(1, 1, 4, 10);
    prepare_rows(6, (int32_t[]){3, 5, 8, 10, 13, 15});
    const psc_input inputs[3] = {{0, 6, ten + 4}, {1, 5, ten + 1}, {2, 10, ten}};
    cr_assert_eq(psc_session_run(session, inputs, 3, NULL, &error), PSC_OK, "%s", error.message);
    compare_all(inputs, 3, 4);
}

Test(host_gradients, without_variants_all_are_the_run) {
    load();
    asked = NULL;
    add(-1, 0, 0, 0, 0, 9);
    add(-1, 0, 0, 0, 0, 8);
    add(-1, 0, 0, 0, 0, 9);
    prepare_rows(3, (int32_t[]){7, 8, 9});
    must_run_ten();
    const psc_input input = {0, 10, ten};
    compare_all(&input, 1, 0);
}

/* --- refusals -------------------------------------------------------------------------------- */

Test(host_gradients, refuse_what_was_not_prepared) {
    load();
    add(-1, 0, 0, 0, 0, 9);
    prepares = false;
    REFUSED(run_ten(), PSC_ERROR_STATE, "prepare_gradients");
    prepares = true;
    REFUSED(run_ten(), PSC_ERROR_STATE, "need rows");
    prepare_rows(1, (int32_t[]){8});
    REFUSED(run_ten(), PSC_ERROR_INPUT, "row 9 was not named");
    prepare_rows(2, (int32_t[]){9, 8});
    REFUSED(run_ten(), PSC_ERROR_INPUT, "ascending", "0 to 9");
    prepare_rows(1, (int32_t[]){10});
    REFUSED(run_ten(), PSC_ERROR_INPUT, "ascending");
}

Test(host_gradients, refuse_bad_metrics) {
    load();
    add(PSC_HOOK_EMBED, -1, 0, 0, 10, 9);
    metrics[0].n_terms = 0;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "metric 0", "not 0");
    metrics[0].n_terms = 3;
    terms[0][1].row = 10;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "term 1", "row 10 does not exist", "rows 0 to 9");
    terms[0][1].row = 9;
    terms[0][1].token = -1;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "term 1", "token id -1");
    terms[0][1].token = 0;
    terms[0][1].weight = INFINITY;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "weight");
    terms[0][1].weight = 1;
    terms[0][2].logits = NULL;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "term 2", "needs logits");
    metrics[0].n_terms = 2;
    terms[0][0].kind = 3;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "term 0", "kind");
    terms[0][0].kind = 0;
    changes[0].row_end = 11;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "variant 0", "rows are not in the run");
    changes[0].row_end = 10;
    must_run_ten();
    fails = true;
    REFUSED(run_ten(), PSC_ERROR_PLUGIN, "run_end");
}

static int edit_nothing(const psc_event *event, void *payload) {
    (void)event;
    (void)payload;
    return 0;
}

Test(host_gradients, refuse_an_edited_run) {
    load();
    add(-1, 0, 0, 0, 0, 9);
    prepare_rows(1, (int32_t[]){9});
    cr_assert_eq(psc_session_edit(session, PSC_HOOK_Z, NULL, edit_nothing, NULL, &error), PSC_OK);
    REFUSED(run_ten(), PSC_ERROR_STATE, "edited run");
}

/* --- memory ---------------------------------------------------------------------------------- */

static psc_status run_capped(uint64_t cap) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.retained_cap = cap;
    options.capacity = 40;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    must_load(PLUGIN("bridge"), NULL);
    return run_ten();
}

Test(host_gradients, memory_is_capped) {
    load();
    add(-1, 0, 0, 0, 0, 9);
    prepare_rows(1, (int32_t[]){9});
    REFUSED(run_capped(10000), PSC_ERROR_MEMORY, "10 rows", "retained_cap");
    n_variants = 0;
    n_prepared = 0;
    add(PSC_HOOK_EMBED, -1, 0, 0, 10, 9);
    REFUSED(run_capped(10000), PSC_ERROR_MEMORY, "10 rows", "retained_cap");
    cr_assert_eq(run_capped(1 << 20), PSC_OK, "%s", error.message);
    cr_assert_gt(n_seen, 0);
}

/* A variant for each kind of point, changed in a middle and the last layer. */
static void every_point(void) {
    const int layers = psc_model_get_info(model)->n_layers;
    for (int p = 0; p < PSC_POINT_COUNT; p++) {
        const int layered = psc_point_has_layer((psc_point)p), i = n_variants;
        if (!layered && p != PSC_HOOK_EMBED) continue;
        if (p == PSC_HOOK_RESID_MID && psc_model_get_info(model)->parallel_residual) continue;
        cr_assert_lt(i, MOST);
        const int last = p % 2 || p == PSC_HOOK_RESID_POST; /* shown as the next resid_pre else */
        add(p, !layered ? -1 : last ? layers - 1 : 0, 0, 2, 9, 9);
        if (psc_point_has_keys((psc_point)p)) changes[i].kind = PSC_CHANGE_SCALE;
    }
}

/* The least cap with which the variants run; they then compute again what is not kept. */
static void check_least(const char *name) {
    fixture_close();
    open_session(name, 4, 2);
    load();
    every_point();
    uint64_t least = 0, most = 1 << 20;
    cr_assert_eq(run_capped(most), PSC_OK, "%s", error.message);
    cr_assert_eq(n_recomputed, 0);
    const psc_input input = {0, 10, ten};
    compare_all(&input, 1, 0);
    while (most - least > 64) {
        const uint64_t middle = (least + most) / 2;
        drop_seen();
        *(run_capped(middle) == PSC_OK ? &most : &least) = middle;
    }
    drop_seen();
    n_recomputed = 0;
    cr_assert_eq(run_capped(most), PSC_OK, "%s", error.message);
    cr_assert_gt(n_recomputed, 0);
    compare_all(&input, 1, 0);
}

Test(host_gradients, variants_with_the_least_memory) {
    check_least("parallel_f32");
}

Test(host_gradients, variants_with_the_least_memory_sequential) {
    check_least("sequential_f32");
}

/* Where variants have no room beside what the run keeps, it frees that and computes it again. */
Test(host_gradients, runs_free_what_they_keep) {
    load();
    many(0, 2, 9, 9);
    prepare_rows(3, (int32_t[]){2, 7, 9});
    const psc_input input = {0, 10, ten};
    int n_passed = 0, n_freed = 0;
    for (uint64_t cap = 400000; cap < 1200000; cap += 4000) {
        drop_seen();
        n_kept = n_forgotten = 0;
        if (run_capped(cap) != PSC_OK) continue;
        n_passed++;
        if (n_forgotten == 0) continue;
        compare_all(&input, 1, 0);
        n_freed++;
    }
    cr_assert(n_freed > 0 && n_freed < n_passed, "%d of %d", n_freed, n_passed);
}

/* What does not fit is computed again, with the same bits, by each of several passes. */
Test(host_gradients, equal_runs_when_memory_is_short) {
    load();
    for (int i = 0; i < 3; i++) add(-1, 0, 0, 0, 0, 9);
    prepare_rows(2, (int32_t[]){7, 9});
    cr_assert_eq(run_capped(1 << 20), PSC_OK, "%s", error.message);
    const uint64_t logits = 2 * (uint64_t)psc_model_get_info(model)->d_vocab * sizeof(float);
    const uint64_t most = psc_session_gradient_bytes(session, 10, 2, 0) + logits;
    const uint64_t shown = 10 * 32 * (uint64_t)psc_model_get_info(model)->n_heads * sizeof(float);
    const uint64_t less = psc_session_gradient_bytes(session, 10, 2, 1) + logits + shown;
    cr_assert_lt(less, most);
    drop_seen();
    cr_assert_eq(run_capped(less), PSC_OK, "%s", error.message);
    const psc_input input = {0, 10, ten};
    compare_all(&input, 1, 0);
    REFUSED(run_capped(less - 1), PSC_ERROR_MEMORY, "retained_cap");
}
