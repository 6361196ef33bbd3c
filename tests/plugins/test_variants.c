/* Variants of a run against runs with editors: the same bits for every change, alone or many
 * together, in a whole sequence or a continued one; and refusals. */
#include "plugin_fixture.h"
#include "registry.h"

#include <stddef.h>

TestSuite(variants, .init = fixture_open, .fini = fixture_close);

#define MOST 40

static psc_context *context;
static int n_vocab;
static psc_variant variants[MOST];
static const psc_variant *shown = variants; /* what the plugin passes */
static psc_change changes[MOST][2];
static int n_variants;
static int32_t logit_mode;
static float *seen[MOST]; /* [rows, V] */
static int seen_rows[MOST], seen_first[MOST], n_seen;
static bool prepare = true;
static float vector[4096];

static int keep_context(psc_context *given_context, const psc_host *given, void **state) {
    (void)state;
    host = given;
    context = given_context;
    return 0;
}

static int on_begin(psc_context *c, void *state) {
    (void)state;
    return prepare ? host->prepare_variants(c) : 0;
}

static int on_variant(int32_t variant, const psc_event *logits, void *payload) {
    cr_assert_eq(variant, n_seen);
    cr_assert_eq(payload, seen);
    size_t floats = (size_t)logits->n_rows * (size_t)n_vocab;
    free(seen[variant]);
    seen[variant] = malloc(floats * sizeof(float));
    memcpy(seen[variant], logits->tensor.data, floats * sizeof(float));
    seen_rows[variant] = logits->n_rows;
    seen_first[variant] = logits->rows[0].index;
    cr_assert_eq(logits->rows[0].sequence, variants[variant].changes[0].sequence);
    n_seen++;
    return 0;
}

static int on_end(psc_context *c, void *state, int status) {
    (void)state;
    if (status || n_variants == 0) return 0;
    return host->variants(c, n_variants, shown, logit_mode, on_variant, seen);
}

static void load(void) {
    n_vocab = psc_model_get_info(model)->d_vocab;
    bridge->open = keep_context;
    bridge->run_begin = on_begin;
    bridge->run_end = on_end;
    must_load(PLUGIN("bridge"), NULL);
    for (int i = 0; i < 4096; i++) vector[i] = 0.25f * (float)(i % 7) - 0.6f;
}

static psc_change change(int kind, psc_point point, int layer, int begin, int end) {
    return (psc_change){.struct_size = sizeof(psc_change),
        .kind = kind,
        .point = point,
        .layer = layer,
        .row_begin = begin,
        .row_end = end,
        .head = -1,
        .key = -1,
        .alpha = 0.5f};
}

static void add(psc_change a, const psc_change *b) {
    changes[n_variants][0] = a;
    if (b) changes[n_variants][1] = *b;
    variants[n_variants] =
        (psc_variant){sizeof(psc_variant), b ? 2 : 1, changes[n_variants], 0, NULL, 0, NULL};
    n_variants++;
}

/* --- the same with an editor ----------------------------------------------------------------- */

static int edit(const psc_event *event, void *payload) {
    const psc_variant *v = payload;
    for (int i = 0; i < event->n_rows; i++)
        for (int j = 0; j < v->n_changes; j++) {
            const psc_change *c = &v->changes[j];
            int position = event->rows[i].position;
            if (c->point != event->point || c->layer != event->layer ||
                event->rows[i].sequence != c->sequence || position < c->row_begin ||
                position >= c->row_end)
                continue;
            bool threes = event->tensor.n_axes == 3;
            bool keyed = c->point == PSC_HOOK_PATTERN || c->point == PSC_HOOK_ATTN_SCORES;
            int64_t heads = threes ? event->tensor.shape[1] : 1;
            int64_t n = event->tensor.shape[event->tensor.n_axes - 1];
            for (int64_t h = 0; h < heads; h++)
                for (int64_t k = 0; k < n; k++) {
                    if ((c->head >= 0 && h != c->head) || (keyed && k > position)) continue;
                    if (keyed && c->key >= 0 && k != c->key) continue;
                    float *x = event->tensor.data + i * event->tensor.stride[0] +
                               (threes ? h * event->tensor.stride[1] : 0) + k;
                    int64_t at = keyed ? 0 : k + (threes && c->head < 0 ? h * n : 0);
                    const float *v0 =
                        c->values ? c->values + (position - c->row_begin) * c->stride + at : NULL;
                    if (c->kind == PSC_CHANGE_SCALE) *x = c->alpha == 0 ? 0 : *x * c->alpha;
                    if (c->kind == PSC_CHANGE_SET) *x = *v0;
                    if (c->kind == PSC_CHANGE_ADD) *x = fmaf(c->alpha, *v0, *x);
                    if (c->kind == PSC_CHANGE_CUT) *x = -INFINITY;
                }
        }
    return 0;
}

/* Runs the session's inputs again with variant v as editors and compares. */
static void compare(int v, const psc_input *inputs, int n_inputs, int before) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.n_sequences = 3;
    options.capacity = 40;
    options.threads = 1;
    psc_session *other = NULL;
    cr_assert_eq(psc_session_open(&other, model, &options, &error), PSC_OK);
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    run.logits = PSC_ROWS_ALL;
    if (before > 0) {
        psc_input start = {0, before, ten};
        cr_assert_eq(psc_session_run(other, &start, 1, &run, &error), PSC_OK);
    }
    for (int j = 0; j < variants[v].n_changes; j++)
        cr_assert_eq(psc_session_edit(other, (psc_point)variants[v].changes[j].point, NULL, edit,
                         &variants[v], &error),
            PSC_OK, "%s", error.message);
    cr_assert_eq(
        psc_session_run(other, inputs, n_inputs, &run, &error), PSC_OK, "%s", error.message);
    for (int r = 0; r < seen_rows[v]; r++)
        cr_assert_arr_eq(seen[v] + (size_t)r * (size_t)n_vocab,
            psc_session_logits(other, seen_first[v] + r), (size_t)n_vocab * sizeof(float),
            "variant %d row %d", v, seen_first[v] + r);
    psc_session_close(&other);
}

static void compare_all(const psc_input *inputs, int n_inputs, int before) {
    cr_assert_eq(n_seen, n_variants);
    for (int v = 0; v < n_variants; v++) compare(v, inputs, n_inputs, before);
}

/* A change at every point, of several kinds; some with two changes. */
static void many_changes(int sequence, int first, int last) {
    psc_change second = change(PSC_CHANGE_SCALE, PSC_HOOK_RESID_PRE, 1, last, last + 1);
    second.sequence = sequence;
    for (int p = 0; p < PSC_POINT_COUNT; p++) {
        if (!psc_point_has_layer((psc_point)p) && p != PSC_HOOK_EMBED) continue;
        if (p == PSC_HOOK_RESID_MID && psc_model_get_info(model)->parallel_residual) continue;
        bool keyed = p == PSC_HOOK_PATTERN || p == PSC_HOOK_ATTN_SCORES;
        int kind = p % 3 == 0 && !keyed ? PSC_CHANGE_SET : p % 3 == 1 ? PSC_CHANGE_ADD : 0;
        psc_change c = change(kind, (psc_point)p, p == PSC_HOOK_EMBED ? -1 : p % 2, first, last);
        c.sequence = sequence;
        if (kind) c.values = vector, c.stride = p % 5;
        if (keyed) c.key = first, c.head = 1, c.kind = PSC_CHANGE_SET, c.values = vector;
        if (p == PSC_HOOK_Z || p == PSC_HOOK_Q) c.head = 1;
        add(c, p % 4 == 3 ? &second : NULL);
    }
    psc_change cut = change(PSC_CHANGE_CUT, PSC_HOOK_ATTN_SCORES, 1, last, last + 1);
    cut.sequence = sequence;
    cut.key = first;
    cut.head = 0;
    add(cut, NULL);
    psc_change zero = change(PSC_CHANGE_SCALE, PSC_HOOK_Z, 0, first, last + 1);
    zero.sequence = sequence;
    zero.alpha = 0;
    add(zero, NULL);
}

Test(variants, equal_edited_runs) {
    load();
    many_changes(0, 2, 9);
    for (logit_mode = PSC_ROWS_ALL; logit_mode <= PSC_ROWS_LAST; logit_mode++) {
        n_seen = 0;
        must_run_ten();
        psc_input input = {0, 10, ten};
        cr_assert_eq(seen_rows[0], logit_mode == PSC_ROWS_ALL ? 8 : 1);
        compare_all(&input, 1, 0);
    }
}

Test(variants, equal_edited_runs_sequential) {
    fixture_close();
    open_session("sequential_f32", 4, 2);
    load();
    many_changes(0, 1, 8);
    must_run_ten();
    psc_input input = {0, 10, ten};
    compare_all(&input, 1, 0);
}

/* Three sequences, one of which continues an earlier run; the first batch's keys are reused. */
Test(variants, equal_in_a_batch) {
    load();
    n_variants = 0;
    prepare = false;
    psc_input start = {0, 4, ten};
    cr_assert_eq(psc_session_run(session, &start, 1, NULL, &error), PSC_OK, "%s", error.message);
    prepare = true;
    many_changes(1, 0, 4);
    for (int i = 5; i-- > 0;) {
        psc_change c = change(PSC_CHANGE_SCALE, PSC_HOOK_Z, 1, 4 + i, 5 + i);
        c.head = i % 2;
        c.alpha = 0;
        add(c, NULL);
    }
    psc_input inputs[3] = {{0, 6, ten + 4}, {1, 5, ten + 1}, {2, 10, ten}};
    cr_assert_eq(psc_session_run(session, inputs, 3, NULL, &error), PSC_OK, "%s", error.message);
    compare_all(inputs, 3, 4);
}

/* --- row_end --------------------------------------------------------------------------------- */

/* Rows before row_end only; a second change may start later, and the last
 * row may be the only one. */
static void short_changes(int sequence, int first, int end) {
    many_changes(sequence, first, end);
    for (int v = 0; v < n_variants; v++) variants[v].row_end = end + 1 + v % 2;
    for (int i = first; i < end; i++) {
        psc_change cut = change(PSC_CHANGE_CUT, PSC_HOOK_ATTN_SCORES, i % 2, i + 1, i + 2);
        cut.sequence = sequence;
        cut.key = first;
        add(cut, NULL);
        variants[n_variants - 1].row_end = i + 2;
    }
}

Test(variants, rows_before_row_end) {
    load();
    short_changes(0, 2, 6);
    for (logit_mode = PSC_ROWS_ALL; logit_mode <= PSC_ROWS_LAST; logit_mode++) {
        n_seen = 0;
        must_run_ten();
        psc_input input = {0, 10, ten};
        cr_assert_eq(seen_rows[0], logit_mode == PSC_ROWS_ALL ? 5 : 1);
        cr_assert_eq(seen_first[0], logit_mode == PSC_ROWS_ALL ? 2 : 6);
        cr_assert_eq(seen_rows[n_variants - 1], 1);
        compare_all(&input, 1, 0);
    }
}

Test(variants, rows_before_row_end_in_a_batch) {
    load();
    prepare = false;
    psc_input start = {0, 4, ten};
    cr_assert_eq(psc_session_run(session, &start, 1, NULL, &error), PSC_OK, "%s", error.message);
    prepare = true;
    short_changes(1, 0, 3);
    psc_input inputs[3] = {{0, 6, ten + 4}, {1, 5, ten + 1}, {2, 10, ten}};
    cr_assert_eq(psc_session_run(session, inputs, 3, NULL, &error), PSC_OK, "%s", error.message);
    compare_all(inputs, 3, 4);
    n_variants = n_seen = 0;
    short_changes(0, 5, 8);
    psc_session_truncate(session, 0, 4);
    psc_session_truncate(session, 1, 0);
    psc_session_truncate(session, 2, 0);
    cr_assert_eq(psc_session_run(session, inputs, 3, NULL, &error), PSC_OK, "%s", error.message);
    compare_all(inputs, 3, 4);
}

/* As a plugin has them that was built before row_end existed. */
Test(variants, shorter_structures) {
    enum { BYTES = offsetof(psc_variant, changes) + sizeof(psc_change *) };
    static _Alignas(psc_variant) char packed[MOST * BYTES];
    load();
    many_changes(0, 2, 9);
    for (int v = 0; v < n_variants; v++) {
        variants[v].struct_size = BYTES;
        memcpy(packed + v * BYTES, &variants[v], BYTES);
        variants[v].row_end = 1;
    }
    shown = (const psc_variant *)packed;
    must_run_ten();
    cr_assert_eq(seen_rows[0], 8);
    psc_input input = {0, 10, ten};
    compare_all(&input, 1, 0);
}

/* Cuts of adjacent keys at all layers, in the order of the layers, in no order, with a gap, of some
 * heads and rows only. */
Test(variants, ranges_of_cuts_equal_edited_runs) {
    static psc_change lists[4][12];
    load();
    n_variants = 0;
    for (int v = 0; v < 4; v++) {
        int n = 0;
        for (int l = 0; l < 2; l++)
            for (int key = 1; key < 6; key++) {
                psc_change *c = &lists[v][n];
                *c = change(PSC_CHANGE_CUT, PSC_HOOK_ATTN_SCORES, v == 1 ? key % 2 : l, 3, 10);
                c->key = key;
                if (v == 1) c->key = (key + 3 * l) % 6 + 1;
                if (v == 2 && key == 3) continue;
                if (v == 3) c->head = key == 4 ? 1 : -1, c->row_begin = 3 + (key == 2);
                n++;
            }
        variants[n_variants++] =
            (psc_variant){.struct_size = sizeof(psc_variant), .n_changes = n, .changes = lists[v]};
    }
    must_run_ten();
    psc_input input = {0, 10, ten};
    compare_all(&input, 1, 0);
}

/* --- refusals -------------------------------------------------------------------------------- */

static void refuse(psc_change c, const char *word) {
    n_variants = 0;
    add(c, NULL);
    REFUSED(run_ten(), PSC_ERROR_INPUT, "bridge", "variant", word);
}

Test(variants, refusals) {
    load();
    psc_change good = change(PSC_CHANGE_SCALE, PSC_HOOK_Z, 0, 0, 10), c;
    c = good, c.layer = 2, refuse(c, "layer");
    c = good, c.head = 99, refuse(c, "head");
    c = good, c.point = PSC_HOOK_LOGITS, refuse(c, "last layer");
    c = good, c.point = 999, refuse(c, "point");
    c = good, c.row_end = 11, refuse(c, "rows");
    c = good, c.row_begin = -1, refuse(c, "rows");
    c = good, c.row_begin = 10, refuse(c, "rows");
    c = good, c.sequence = 1, refuse(c, "rows");
    c = good, c.kind = 7, refuse(c, "kind");
    c = good, c.alpha = NAN, refuse(c, "alpha");
    c = good, c.kind = PSC_CHANGE_SET, refuse(c, "values");
    c = good, c.kind = PSC_CHANGE_CUT, c.key = 0, refuse(c, "scores");
    c = good, c.point = PSC_HOOK_PATTERN, c.kind = PSC_CHANGE_SET, c.values = vector;
    refuse(c, "key");
    c.kind = PSC_CHANGE_FIX, c.key = 0, refuse(c, "cannot be fixed");
    c = good, c.point = PSC_HOOK_RESID_MID, refuse(c, "hook_resid_mid");
    c = good, c.point = PSC_HOOK_ATTN_SCORES, c.kind = PSC_CHANGE_CUT, c.key = 0;
    refuse(c, "without keys");
    n_variants = 0;
    add(good, NULL);
    variants[0].row_end = 9;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "bridge", "variant 0, change 0", "row_end");
    variants[0].row_end = 11;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "bridge", "variant 0", "row_end 11", "end at 10");
    variants[0].row_end = -1;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "bridge", "variant 0", "row_end -1");
    variants[0].row_end = 0;
    variants[0].struct_size = 8;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "bridge", "variant 0", "struct_size is 8");
    n_variants = 0;
    add(good, NULL);
    prepare = false;
    REFUSED(run_ten(), PSC_ERROR_STATE, "prepare_variants");
}

Test(variants, refusals_at_the_border) {
    load();
    psc_change good = change(PSC_CHANGE_SCALE, PSC_HOOK_Z, 0, 0, 10), c;
    c = good, c.point = -1, refuse(c, "the hook point does not exist");
    c = good, c.point = PSC_POINT_COUNT, refuse(c, "the hook point does not exist");
    c = good, c.kind = -1, refuse(c, "the kind is unknown");
    c = good, c.layer = -1, refuse(c, "layer");
    c = good, c.point = PSC_HOOK_EMBED, refuse(c, "layer");
    c = good, c.head = -2, refuse(c, "head");
    c = good, c.point = PSC_HOOK_RESID_POST, c.head = 0, refuse(c, "head");
    c = good, c.alpha = INFINITY, refuse(c, "alpha");
    c = good, c.sequence = -1, refuse(c, "rows");
    c = good, c.point = PSC_HOOK_ATTN_SCORES, c.kind = PSC_CHANGE_SET, c.values = vector;
    refuse(c, "key");
    c.key = 10, refuse(c, "none of its rows can attend to that key");
    n_variants = 0;
    c = good, c.sequence = 1;
    add(good, &c);
    REFUSED(run_ten(), PSC_ERROR_INPUT, "bridge", "variant 0", "can change only one sequence");
    for (int i = 0; i < 3; i++) {
        n_variants = 0;
        add(good, NULL);
        if (i < 2) variants[0].n_changes = -i;
        if (i == 2) variants[0].changes = NULL;
        REFUSED(run_ten(), PSC_ERROR_INPUT, "bridge", "variant 0");
    }
    n_variants = 0;
    add(good, NULL);
    logit_mode = PSC_ROWS_RANGE;
    REFUSED(
        run_ten(), PSC_ERROR_INPUT, "variants: logit_rows must be PSC_ROWS_ALL or PSC_ROWS_LAST");
}

static int nothing(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

Test(variants, refused_in_an_edited_run) {
    load();
    n_variants = 0;
    add(change(PSC_CHANGE_SCALE, PSC_HOOK_Z, 0, 0, 10), NULL);
    cr_assert_eq(psc_session_edit(session, PSC_HOOK_Z, NULL, nothing, &n_seen, &error), PSC_OK);
    REFUSED(run_ten(), PSC_ERROR_STATE, "edited");
    psc_session_unhook(session, &n_seen);
    must_run_ten();
}
