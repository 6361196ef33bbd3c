/* A result never depends on how it was run: logits, every hook point and the arrays of the built-in
 * plugins are equal to the bit for every ISA, number of threads and chunk, prefill or decode, alone
 * or in a batch, observed or not, on every variant of model. */
#include "golden.h"
#include "results.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ARRAYS 96

/* The settings of a run. The base run is {"reference", 1, 0, true, true}. */
typedef struct manner {
    const char *isa;
    int32_t threads, chunk;
    bool observed, plugins;
} manner;

/* The results of a run. */
typedef struct take {
    recording seen;                      /* empty if not observed */
    float *logits;                       /* [rows, V] of the last run */
    psc_stored_array arrays[MAX_ARRAYS]; /* data copied; names copied */
    int n_arrays;
} take;

static const manner base_manner = {"reference", 1, 0, true, true};

static psc_session *session_of(psc_model *model, const manner *m) {
    static const char *const plugins[][2] = {{"logits", "rows=all,level=layer+head+neuron"},
        {"ln", "rows=all,target_rows=all"}, {"mlp", "rows=all,target_rows=all,arrays=all"},
        {"lens", "rows=all"}, {"sampling", "rows=all"}};
    psc_error error = {0};
    psc_session *session = must_session(model, m->isa, m->threads, m->chunk);
    if (!m->plugins) return session;
    cr_assert_eq(psc_session_target(session, "#3", &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_target(session, "top:2", &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_contrast(session, "#5", "#7", &error), PSC_OK, "%s", error.message);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(psc_session_plugin(session, plugins[i][0], plugins[i][1], &error), PSC_OK,
            "%s", error.message);
    return session;
}

static void drop_arrays(take *t) {
    for (int i = 0; i < t->n_arrays; i++) {
        psc_array *view = &t->arrays[i].view;
        free((void *)view->data);
        free((void *)view->name);
        for (int axis = 0; axis < view->n_axes; axis++) free((void *)view->axes[axis]);
    }
    t->n_arrays = 0;
    free(t->logits);
    t->logits = NULL;
}

static void take_close(take *t) {
    drop_arrays(t);
    recording_close(&t->seen);
}

/* Copies the last run's arrays and logits of n rows. */
static void take_results(take *t, psc_session *session, int32_t n, int32_t d_vocab) {
    drop_arrays(t);
    const psc_results *results = psc_session_results(session);
    for (int i = 0; results && i < results->n_arrays; i++) {
        cr_assert_lt(t->n_arrays, MAX_ARRAYS);
        t->arrays[t->n_arrays] = results->arrays[i];
        psc_array *to = &t->arrays[t->n_arrays++].view;
        to->name = strdup(to->name);
        for (int axis = 0; axis < to->n_axes; axis++) to->axes[axis] = strdup(to->axes[axis]);
        void *data = malloc(results->arrays[i].bytes + 1);
        cr_assert(data);
        to->data = memcpy(data, results->arrays[i].view.data, results->arrays[i].bytes);
    }
    size_t row = (size_t)d_vocab * sizeof(float);
    t->logits = malloc((size_t)n * row);
    cr_assert(t->logits);
    for (int32_t i = 0; i < n; i++)
        memcpy(t->logits + (size_t)i * (size_t)d_vocab, psc_session_logits(session, i), row);
}

/* Tokens of one sequence, one run per token. */
static void take_alone(
    take *t, psc_model *model, const manner *m, const psc_token *tokens, int32_t n) {
    const psc_model_info *info = psc_model_get_info(model);
    psc_session *session = session_of(model, m);
    memset(t, 0, sizeof *t);
    if (m->observed) {
        recording_open(&t->seen, info, 1, n);
        recording_attach(&t->seen, session);
    }
    must_run_one(session, tokens, n);
    take_results(t, session, n, info->d_vocab);
    psc_session_close(&session);
}

/* --- comparison ------------------------------------------------------------------------------ */

static const psc_stored_array *find_array(const take *t, const char *name) {
    for (int i = 0; i < t->n_arrays; i++)
        if (!strcmp(t->arrays[i].view.name, name)) return &t->arrays[i];
    return NULL;
}

static int rows_axis(const psc_array *a) {
    for (int axis = 0; axis < a->n_axes; axis++)
        if (!strcmp(a->axes[axis], "rows") || !strcmp(a->axes[axis], "target_rows")) return axis;
    return -1;
}

/* Asserts that rows x0..x0+n-1 of x equal rows y0..y0+n-1 of y. */
static void same_rows(const psc_array *x, int64_t x0, const psc_array *y, int64_t y0, int64_t n,
    int axis, const char *what) {
    size_t outer = 1, inner = psc_element_size((psc_element)x->element);
    for (int i = 0; i < x->n_axes; i++) {
        if (i != axis) cr_assert_eq(x->shape[i], y->shape[i], "%s: %s", what, x->name);
        if (i < axis) outer *= (size_t)x->shape[i];
        if (i > axis) inner *= (size_t)x->shape[i];
    }
    cr_assert(x0 + n <= x->shape[axis] && y0 + n <= y->shape[axis], "%s: %s", what, x->name);
    for (size_t i = 0; i < outer; i++) {
        const char *a = (const char *)x->data + (i * (size_t)x->shape[axis] + (size_t)x0) * inner;
        const char *b = (const char *)y->data + (i * (size_t)y->shape[axis] + (size_t)y0) * inner;
        cr_assert(!memcmp(a, b, inner * (size_t)n), "%s: %s differs", what, x->name);
    }
}

/* Compares every array that has rows; returns their number. */
static int same_arrays_by_row(
    const take *x, int64_t x0, const take *y, int64_t y0, int64_t n, const char *what) {
    int compared = 0;
    cr_assert_eq(x->n_arrays, y->n_arrays, "%s: other arrays", what);
    for (int i = 0; i < x->n_arrays; i++) {
        const psc_stored_array *a = &x->arrays[i], *b = find_array(y, a->view.name);
        int axis = rows_axis(&a->view);
        cr_assert(b, "%s: no array %s", what, a->view.name);
        if (axis < 0) continue;
        same_rows(&a->view, x0, &b->view, y0, n, axis, what);
        compared++;
    }
    return compared;
}

/* The same rows with other settings: compares everything. */
static void same_take(const take *x, const take *y, const manner *m, int32_t n, const char *what) {
    size_t bytes = (size_t)n * (size_t)x->seen.info.d_vocab * sizeof(float);
    cr_assert(!memcmp(x->logits, y->logits, bytes), "%s: logits differ", what);
    if (m->observed) recording_assert_same(&x->seen, 0, &y->seen, 0, n, what);
    if (!m->plugins) return;
    cr_assert_eq(x->n_arrays, y->n_arrays, "%s: other arrays", what);
    for (int i = 0; i < x->n_arrays; i++) {
        const psc_stored_array *a = &x->arrays[i], *b = find_array(y, a->view.name);
        cr_assert(b && a->bytes == b->bytes, "%s: %s", what, a->view.name);
        cr_assert(
            !memcmp(a->view.data, b->view.data, a->bytes), "%s: %s differs", what, a->view.name);
    }
}

/* --- settings -------------------------------------------------------------------------------- */

static void every_manner(
    psc_model *model, const take *base, const psc_token *tokens, int32_t n, const char *variant) {
    static const manner manners[] = {{"reference", 2, 0, true, true},
        {"reference", 3, 7, true, true}, {"reference", 1, 1, true, true},
        {"reference", 1, 0, false, false}, {NULL, 1, 0, true, true}, {NULL, 2, 0, true, true},
        {NULL, 3, 0, true, true}, {NULL, 1, 1, true, true}, {NULL, 1, 7, true, true},
        {NULL, 2, 7, true, true}, {NULL, 2, 0, false, true}, {NULL, 1, 0, true, false},
        {NULL, 1, 0, false, false}, {NULL, 3, 1, false, false}, {NULL, 2, 7, false, false}};
    for (size_t i = 0; i < sizeof manners / sizeof *manners; i++) {
        const manner *m = &manners[i];
        char what[128];
        take other;
        snprintf(what, sizeof what, "%s, %s, %d threads, chunk %d%s%s", variant,
            m->isa ? m->isa : "default", (int)m->threads, (int)m->chunk,
            m->observed ? ", observed" : "", m->plugins ? ", plugins" : "");
        take_alone(&other, model, m, tokens, n);
        same_take(base, &other, m, n, what);
        take_close(&other);
    }
}

/* Between two other sequences. */
static void in_a_batch(psc_model *model, const take *base, const manner *m, const psc_token *tokens,
    int32_t n, const char *variant) {
    psc_token others[GOLDEN_MAX_TOKENS];
    int32_t before = n - 2, after = 3;
    for (int32_t i = 0; i < n; i++) others[i] = (psc_token){.id = tokens[n - 1 - i].id};
    psc_session *session = session_of(model, m);
    take batch = {0};
    recording_open(&batch.seen, psc_model_get_info(model), 3, n);
    recording_attach(&batch.seen, session);
    must_run(session, (psc_input[]){{0, before, others}, {1, n, tokens}, {2, after, others}}, 3);
    take_results(&batch, session, before + n + after, psc_model_get_info(model)->d_vocab);
    recording_assert_same(&base->seen, 0, &batch.seen, 1, n, variant);
    size_t vocab = (size_t)base->seen.info.d_vocab;
    cr_assert(!memcmp(
        base->logits, batch.logits + (size_t)before * vocab, (size_t)n * vocab * sizeof(float)));
    cr_assert(same_arrays_by_row(base, 0, &batch, before, n, variant) >= 10, "%s", variant);
    take_close(&batch);
    psc_session_close(&session);
}

/* The first tokens together, the others one by one. */
static void by_decoding(psc_model *model, const take *base, const manner *m,
    const psc_token *tokens, int32_t n, int32_t prefill, const char *variant) {
    const psc_model_info *info = psc_model_get_info(model);
    psc_session *session = session_of(model, m);
    take part = {0};
    recording_open(&part.seen, info, 1, n);
    recording_attach(&part.seen, session);
    for (int32_t from = 0; from < n;) {
        int32_t rows = from ? 1 : prefill;
        must_run_one(session, tokens + from, rows);
        take_results(&part, session, rows, info->d_vocab);
        same_arrays_by_row(base, from, &part, 0, rows, variant);
        cr_assert(!memcmp(base->logits + (size_t)from * (size_t)info->d_vocab, part.logits,
                      (size_t)rows * (size_t)info->d_vocab * sizeof(float)),
            "%s: decoded logits differ", variant);
        from += rows;
    }
    recording_assert_same(&base->seen, 0, &part.seen, 0, n, variant);
    take_close(&part);
    psc_session_close(&session);
}

static void check(
    const char *folder, const psc_token *tokens, int32_t n, int32_t prefill, const char *variant) {
    static const manner fast = {NULL, 2, 0, true, true}, chunked = {NULL, 1, 7, true, true};
    psc_model *model = must_model(folder);
    take base;
    take_alone(&base, model, &base_manner, tokens, n);
    every_manner(model, &base, tokens, n, variant);
    in_a_batch(model, &base, &base_manner, tokens, n, variant);
    in_a_batch(model, &base, &fast, tokens, n, variant);
    in_a_batch(model, &base, &chunked, tokens, n, variant);
    by_decoding(model, &base, &fast, tokens, n, prefill, variant);
    take_close(&base);
    psc_model_close(&model);
}

Test(bits, small_models) {
    for (const char *const *v = golden_variants; *v; v++) {
        psc_token tokens[GOLDEN_MAX_TOKENS];
        psc_tensors *golden = golden_open(golden_path(*v, "golden.safetensors"));
        int32_t n = golden_tokens(golden, tokens);
        psc_tensors_close(&golden);
        check(golden_path(*v, NULL), tokens, n, 3, *v);
    }
}

/* Enough rows for several tiles and threads, in every weight type of a file. */
Test(bits, many_rows) {
    static const char *const variants[] = {
        "old_f16", "sequential_bf16_v5", "no_attention_bias", "odd_sizes", NULL};
    psc_token tokens[61];
    for (int i = 0; i < 61; i++) tokens[i] = (psc_token){.id = (i * i + 3 * i) % 80};
    for (const char *const *v = variants; *v; v++) check(golden_path(*v, NULL), tokens, 61, 55, *v);
}

/* More than two blocks of keys, with chunks that end inside them. */
Test(bits, long_sequence) {
    psc_token tokens[300];
    for (int i = 0; i < 300; i++) tokens[i] = (psc_token){.id = (i * i + 7 * i) % 80};
    check(golden_path("parallel_f32", NULL), tokens, 300, 290, "300 tokens");
}

Test(bits, embedded_model) {
    if (!golden_embedded()) cr_skip_test("the embedded model has no weights yet");
    psc_token tokens[GOLDEN_MAX_TOKENS];
    psc_tensors *golden = golden_open(golden_path("embedded.safetensors", NULL));
    int32_t n = golden_tokens(golden, tokens);
    psc_tensors_close(&golden);
    check(golden_embedded(), tokens, n, n - 2, "embedded");
}
