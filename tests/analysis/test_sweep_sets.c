/* The plugin sweep over the examples of a set: the bits of one example at a time for any batch,
 * order and way of running, edits of whole runs as the reference, alignment, and refusals. */
#include "ln_mlp_fixture.h"

enum { N_PAIRS = 5, MOST = 6 };

typedef struct pair {
    int32_t n, clean[MOST], from[MOST];
    int32_t n_source, corrupt[MOST];
    int32_t a, b;
} pair;

/* One row differs; aligned from the end; a common beginning; a row without a source; no
 * difference. */
static const pair pairs[N_PAIRS] = {
    {5, {3, 41, 7, 19, 60}, {0, 1, 2, 3, 4}, 5, {3, 12, 7, 55, 60}, 5, -1},
    {4, {8, 9, 10, 11}, {1, 2, 3, 4}, 5, {2, 8, 9, 12, 11}, 7, 9},
    {6, {5, 6, 7, 8, 9, 10}, {0, 1, 2, 3, 4, 5}, 6, {5, 6, 7, 1, 9, 10}, 20, 21},
    {3, {30, 31, 32}, {0, -1, 1}, 2, {30, 33}, 1, -1},
    {2, {40, 41}, {0, 1}, 2, {40, 41}, 2, 3},
};
static psc_error error;

/* Runs the pairs of these numbers, ascending sequences, as the examples of a set. */
static psc_status run_set(psc_session *session, const int *which, int n, int32_t phase) {
    psc_token tokens[N_PAIRS][MOST] = {{{0}}};
    psc_input inputs[N_PAIRS];
    psc_example examples[N_PAIRS];
    for (int i = 0; i < n; i++) {
        const pair *p = &pairs[which[i]];
        const int32_t count = phase == PSC_PHASE_SOURCE ? p->n_source : p->n;
        for (int t = 0; t < count; t++)
            tokens[i][t].id = phase == PSC_PHASE_SOURCE ? p->corrupt[t] : p->clean[t];
        inputs[i] = (psc_input){i, count, tokens[i]};
        examples[i] =
            (psc_example){which[i], p->a, p->b, phase == PSC_PHASE_SOURCE ? NULL : p->from};
        psc_session_truncate(session, i, 0);
    }
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.phase = phase;
    options.examples = examples;
    return psc_session_run(session, inputs, n, &options, &error);
}

/* Targets: each example's own, and `next` unless how says no_targets. */
static psc_session *open_set(psc_model *model, const char *options, const fixture_run *how) {
    psc_session_options of = PSC_SESSION_OPTIONS_INIT;
    psc_session *session;
    of.n_sequences = N_PAIRS;
    of.isa = how->isa;
    of.threads = how->threads;
    of.chunk = how->chunk;
    cr_assert_eq(psc_session_open(&session, model, &of, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(
        psc_session_plugin(session, "sweep", options, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_target(session, "example", &error), PSC_OK);
    if (!how->no_targets) cr_assert_eq(psc_session_target(session, "next", &error), PSC_OK);
    return session;
}

static void must_set(psc_session *session, const int *which, int n) {
    cr_assert_eq(run_set(session, which, n, PSC_PHASE_SOURCE), PSC_OK, "%s", error.message);
    cr_assert_eq(run_set(session, which, n, PSC_PHASE_CHANGED), PSC_OK, "%s", error.message);
}

/* Elements of one example of an array: [outer, rows, keys]. */
typedef struct block {
    const char *data;
    int64_t outer, rows, keys, bytes;
} block;

static block block_of(const psc_session *session, const char *name, int example) {
    const psc_array a = must_array(session, name);
    block b = {NULL, 1, 1, 1, a.element == PSC_F64 ? 8 : 4};
    cr_assert_str_eq(a.axes[0], "examples");
    for (int i = 1; i < a.n_axes; i++) {
        int64_t *extent = strcmp(a.axes[i], "rows") == 0   ? &b.rows
                          : strcmp(a.axes[i], "keys") == 0 ? &b.keys
                                                           : &b.outer;
        *extent *= a.shape[i];
    }
    b.data = (const char *)a.data + example * b.outer * b.rows * b.keys * b.bytes;
    return b;
}

static const char *element_at(const block *b, int64_t o, int64_t r, int64_t k) {
    return b->data + ((o * b->rows + r) * b->keys + k) * b->bytes;
}

static double number_at(const block *b, int64_t o, int64_t r, int64_t k) {
    double x;
    memcpy(&x, element_at(b, o, r, k), sizeof x);
    return x;
}

/* Asserts that an example of a set has the elements that it has alone, and NaN past its rows. */
static void assert_same(const block *set, const block *alone, const char *name, const char *what) {
    cr_assert_eq(set->outer, alone->outer);
    for (int64_t o = 0; o < set->outer; o++)
        for (int64_t r = 0; r < set->rows; r++)
            for (int64_t k = 0; k < set->keys; k++) {
                const char *x = element_at(set, o, r, k);
                if (r >= alone->rows || k >= alone->keys) {
                    cr_assert(isnan(number_at(set, o, r, k)), "%s %s", what, name);
                    continue;
                }
                const char *y = element_at(alone, o, r, k);
                const int both_nan = set->bytes == 8 && isnan(number_at(set, o, r, k)) &&
                                     isnan(number_at(alone, o, r, k));
                cr_assert(both_nan || memcmp(x, y, (size_t)set->bytes) == 0, "%s %s [%d, %d, %d]",
                    what, name, (int)o, (int)r, (int)k);
            }
}

static void compare_arrays(psc_session *set, int example, psc_session *alone, const char *what) {
    static const char *const names[] = {
        "sweep.effect", "sweep.base", "sweep.target_ids", "sweep.normalized", "sweep.source"};
    const int n = strstr(what, "kl") ? 1 : strstr(what, "patch") ? 5 : 3;
    for (int i = 0; i < n; i++) {
        const block a = block_of(set, names[i], example), b = block_of(alone, names[i], 0);
        assert_same(&a, &b, names[i], what);
    }
}

static const char *const cases[] = {"over=heads,do=zero", "over=heads,do=patch",
    "over=heads_by_pos,do=patch,metric=log_prob", "over=heads_by_pos,do=mean",
    "over=resid_pre,do=patch", "over=resid_pre,do=zero,metric=kl", "over=attn_out,do=patch",
    "over=mlp_out,do=patch,metric=kl", "over=edges,do=patch,layer=1", "over=edges,do=cut,layer=0",
    "over=edges,do=patch,metric=kl,layer=0"};
enum { N_CASES = sizeof cases / sizeof *cases };

static void check_bits(const char *model_name) {
    static const int orders[][N_PAIRS] = {{0, 1, 2, 3, 4}, {4, 2, 0, 3, 1}};
    static const fixture_run ways[] = {
        {.threads = 1}, {.isa = "reference", .threads = 2, .chunk = 3}};
    const fixture_run plain = {.threads = 2};
    psc_model *model = must_model(golden_path(model_name, NULL));
    for (int c = 0; c < N_CASES; c++) {
        psc_session *alone[N_PAIRS];
        for (int i = 0; i < N_PAIRS; i++)
            must_set(alone[i] = open_set(model, cases[c], &plain), &i, 1);
        for (int w = 0; w < 2; w++) {
            psc_session *session = open_set(model, cases[c], &ways[w]);
            const int *order = orders[w];
            must_set(session, order, N_PAIRS);
            for (int i = 0; i < N_PAIRS; i++) compare_arrays(session, i, alone[order[i]], cases[c]);
            must_set(session, order, 2); /* the same session, in two parts */
            for (int i = 0; i < 2; i++) compare_arrays(session, i, alone[order[i]], cases[c]);
            must_set(session, order + 2, N_PAIRS - 2);
            for (int i = 2; i < N_PAIRS; i++)
                compare_arrays(session, i - 2, alone[order[i]], cases[c]);
            psc_session_close(&session);
        }
        for (int i = 0; i < N_PAIRS; i++) psc_session_close(&alone[i]);
    }
    psc_model_close(&model);
}

Test(sweep_sets, bits_parallel) {
    check_bits("parallel_f32");
}

Test(sweep_sets, bits_sequential) {
    check_bits("sequential_f32");
}

/* --- against edits of whole runs ------------------------------------------------------------- */

/* One change of a run: a head (-1: the whole width) on rows begin..end-1, or one edge. */
typedef struct edit {
    psc_point point;
    int32_t layer, head, begin, end, key;
    const pair *pair;
    const recording *source; /* null: 0 */
    int32_t d_head;
} edit;

static int apply(const psc_event *event, void *payload) {
    const edit *e = payload;
    for (int32_t i = 0; i < event->n_rows; i++) {
        const int32_t r = event->rows[i].position, from = e->pair->from[r];
        float *x = event->tensor.data + i * event->tensor.stride[0];
        int64_t n = event->tensor.shape[event->tensor.n_axes - 1], at = 0;
        if (r < e->begin || r >= e->end || (e->source && from < 0)) continue;
        if (e->head >= 0) x += e->head * event->tensor.stride[1];
        if (e->head >= 0) at = (int64_t)e->head * e->d_head;
        if (e->key >= 0) {
            x += e->key;
            n = 1;
            if (e->source) at = (int64_t)e->head * e->source->length + e->pair->from[e->key];
        }
        const float *values =
            e->source ? recording_row(e->source, e->point, e->layer, 0, from) + at : NULL;
        for (int64_t j = 0; j < n; j++) x[j] = values ? values[j] : 0.0f;
    }
    return 0;
}

static void run_tokens(psc_session *session, const int32_t *ids, int32_t n) {
    psc_token tokens[MOST] = {{0}};
    for (int t = 0; t < n; t++) tokens[t].id = ids[t];
    psc_session_truncate(session, 0, 0);
    must_run_one(session, tokens, n);
}

static double metric_of(psc_session *session, const pair *p) {
    const float *z = psc_session_logits(session, p->n - 1);
    const double value = z[p->a];
    return p->b >= 0 ? value - z[p->b] : value;
}

/* The effect of an edit, by two whole runs. NaN if it has no value to put. */
static double effect_of(psc_session *session, edit *e) {
    const int32_t *from = e->pair->from;
    int defined = !e->source;
    for (int32_t r = e->begin; r < e->end; r++) {
        const int aligned =
            from[r] >= 0 && (e->key < 0 || (from[e->key] >= 0 && from[e->key] <= from[r]));
        defined |= aligned;
    }
    if (!defined) return NAN;
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &e->layer;
    filter.n_layers = 1;
    run_tokens(session, e->pair->clean, e->pair->n);
    const double before = metric_of(session, e->pair);
    cr_assert_eq(psc_session_edit(session, e->point, &filter, apply, e, &error), PSC_OK);
    run_tokens(session, e->pair->clean, e->pair->n);
    const double after = metric_of(session, e->pair);
    psc_session_unhook(session, e);
    return after - before;
}

static void check_cell(psc_session *session, edit *e, double got, const char *what) {
    const double want = effect_of(session, e);
    cr_assert((isnan(want) && isnan(got)) || memcmp(&want, &got, sizeof got) == 0,
        "%s, pair %d, layer %d head %d rows %d-%d key %d: %g, should be %g", what,
        (int)(e->pair - pairs), (int)e->layer, (int)e->head, (int)e->begin, (int)e->end - 1,
        (int)e->key, got, want);
}

/* Every cell of one pair. */
static void check_pair(psc_model *model, psc_session *swept, int at, const char *what, edit e) {
    const psc_model_info *info = psc_model_get_info(model);
    const block effect = block_of(swept, "sweep.effect", at);
    const int heads = strstr(what, "heads") != NULL, edges = strstr(what, "edges") != NULL;
    const int by_row = effect.rows > 1, first_layer = edges ? 1 : 0;
    psc_session *session = must_session(model, NULL, 1, 0);
    e.d_head = info->d_head;
    for (e.layer = first_layer; e.layer < (edges ? 2 : info->n_layers); e.layer++)
        for (int32_t h = 0; h < (heads || edges ? info->n_heads : 1); h++)
            for (int32_t r = 0; r < (by_row ? e.pair->n : 1); r++)
                for (int32_t k = edges ? 0 : -1; k <= (edges ? r : -1); k++) {
                    const int64_t o = edges ? h : heads ? e.layer * info->n_heads + h : e.layer;
                    e.head = heads || edges ? h : -1;
                    e.begin = by_row ? r : 0;
                    e.end = by_row ? r + 1 : e.pair->n;
                    e.key = k;
                    check_cell(session, &e, number_at(&effect, o, r, k < 0 ? 0 : k), what);
                }
    psc_session_close(&session);
}

static void check_edits(const char *model_name, int without_next) {
    static const struct {
        const char *options;
        psc_point point;
    } swept[] = {{"over=heads,do=patch", PSC_HOOK_Z}, {"over=heads,do=zero", PSC_HOOK_Z},
        {"over=heads_by_pos,do=patch", PSC_HOOK_Z}, {"over=resid_pre,do=patch", PSC_HOOK_RESID_PRE},
        {"over=attn_out,do=zero", PSC_HOOK_ATTN_OUT}, {"over=mlp_out,do=patch", PSC_HOOK_MLP_OUT},
        {"over=edges,do=patch,layer=1", PSC_HOOK_PATTERN}};
    static const int all[] = {0, 1, 2, 3, 4};
    const fixture_run plain = {.threads = 1, .no_targets = without_next};
    psc_model *model = must_model(golden_path(model_name, NULL));
    for (size_t c = 0; c < sizeof swept / sizeof *swept; c++) {
        psc_session *session = open_set(model, swept[c].options, &plain);
        must_set(session, all, N_PAIRS);
        for (int i = 0; i < N_PAIRS; i++) {
            psc_session *other = must_session(model, NULL, 1, 0);
            recording source;
            recording_open(&source, psc_model_get_info(model), 1, pairs[i].n_source);
            recording_attach(&source, other);
            run_tokens(other, pairs[i].corrupt, pairs[i].n_source);
            edit e = {.point = swept[c].point, .pair = &pairs[i]};
            if (strstr(swept[c].options, "patch")) e.source = &source;
            check_pair(model, session, i, swept[c].options, e);
            psc_session_close(&other);
            recording_close(&source);
        }
        psc_session_close(&session);
    }
    psc_model_close(&model);
}

Test(sweep_sets, edits_parallel) {
    check_edits("parallel_f32", 1);
}

Test(sweep_sets, edits_sequential) {
    check_edits("sequential_f32", 0);
}

/* --- values and refusals --------------------------------------------------------------------- */

/* The source's own value is that of its last row, and equal prompts have no scale. */
Test(sweep_sets, source_values) {
    static const int all[] = {0, 1, 2, 3, 4};
    const fixture_run plain = {.threads = 1};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = open_set(model, "over=heads,do=patch", &plain);
    psc_session *other = must_session(model, NULL, 1, 0);
    must_set(session, all, N_PAIRS);
    for (int i = 0; i < N_PAIRS; i++) {
        const block source = block_of(session, "sweep.source", i);
        const block base = block_of(session, "sweep.base", i);
        const block normalized = block_of(session, "sweep.normalized", i);
        const block effect = block_of(session, "sweep.effect", i);
        pair p = pairs[i];
        run_tokens(other, p.corrupt, p.n_source);
        p.n = p.n_source;
        cr_expect_eq(number_at(&source, 0, 0, 0), metric_of(other, &p));
        const double scale = number_at(&source, 0, 0, 0) - number_at(&base, 0, 0, 0);
        const double first = number_at(&normalized, 0, 0, 0);
        if (i == 4)
            cr_expect(isnan(first) && number_at(&effect, 0, 0, 0) == 0.0);
        else
            cr_expect_eq(first, number_at(&effect, 0, 0, 0) / scale);
    }
    psc_session_close(&other);
    psc_session_close(&session);
    psc_model_close(&model);
}

static void refuse(const char *options, const char *word, int n_sources, int32_t position) {
    static const int all[] = {0, 1, 2, 3, 4};
    const fixture_run plain = {.threads = 1};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = open_set(model, options, &plain);
    if (n_sources) cr_assert_eq(run_set(session, all, n_sources, PSC_PHASE_SOURCE), PSC_OK);
    psc_token tokens[2][2] = {{{.id = 3}, {.id = 4}}, {{.id = 5}, {.id = 6}}};
    const int32_t from[] = {0, position};
    const psc_input inputs[] = {{0, 2, tokens[0]}, {1, 2, tokens[1]}};
    const psc_example examples[] = {{0, 1, -1, from}, {1, 1, -1, from}};
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    run.phase = PSC_PHASE_CHANGED;
    run.examples = examples;
    for (int i = 0; i < 2; i++) psc_session_truncate(session, i, 0);
    cr_assert_eq(psc_session_run(session, inputs, 2, &run, &error), PSC_ERROR_PLUGIN);
    cr_expect(strstr(error.message, word), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(sweep_sets, refusals) {
    refuse("do=patch", "needs a source prompt", 0, 1);
    refuse("do=patch", "the row 1 of example 0 is aligned with the position 5", 2, 5);
    refuse("do=patch", "the row 0 of example 1 is aligned with the position 0", 1, 1);
}

/* Several sequences that are no examples. */
Test(sweep_sets, refused_sequences) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.n_sequences = 2;
    psc_session *session;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    cr_assert_eq(psc_session_plugin(session, "sweep", NULL, &error), PSC_OK);
    psc_token token = {.id = 3};
    const psc_input inputs[] = {{0, 1, &token}, {1, 1, &token}};
    cr_assert_neq(psc_session_run(session, inputs, 2, NULL, &error), PSC_OK);
    cr_expect(
        strstr(error.message, "a single sequence, or a set of examples"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* Arrays of more than 4 GB are refused before the work. */
Test(sweep_sets, refused_arrays) {
    enum { N = 400 };
    if (!golden_embedded()) cr_skip_test("the embedded model has no weights");
    psc_model *model = must_model(golden_embedded());
    psc_session *session = must_session(model, NULL, 1, 0);
    cr_assert_eq(psc_session_plugin(session, "sweep", "over=edges,do=cut", &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, "top:1000", &error), PSC_OK);
    psc_token tokens[N] = {{0}};
    const psc_input input = {0, N, tokens};
    cr_assert_neq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK);
    cr_expect(strstr(error.message, "10.2 GB; the most is 4 GB"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}
