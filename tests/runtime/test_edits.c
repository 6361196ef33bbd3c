/* Edits against TransformerLens's run_with_hooks, on a parallel and a sequential model: everything
 * downstream of an edited value. The edits are those of tests/tools/make_parity_golden.py. */
#include "golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 2e-4

static float *element(const psc_view *t, int64_t row, int64_t i, int64_t j) {
    return t->data + row * t->stride[0] + i * t->stride[1] + (t->n_axes > 2 ? j * t->stride[2] : 0);
}

/* Sets head 1's write to zero. */
static int zero_head(const psc_event *event, void *payload) {
    (void)payload;
    for (int32_t row = 0; row < event->n_rows; row++)
        for (int64_t i = 0; i < event->tensor.shape[2]; i++)
            *element(&event->tensor, row, 1, i) = 0.0f;
    return 0;
}

/* At position 3 the MLP writes the vector at payload. */
static int replace_mlp(const psc_event *event, void *payload) {
    const float *vector = *(float **)payload;
    for (int32_t row = 0; row < event->n_rows; row++)
        for (int64_t i = 0; i < event->tensor.shape[1] && event->rows[row].position == 3; i++)
            *element(&event->tensor, row, i, 0) = vector[i];
    return 0;
}

/* Head 1 at position 5: key 2 gets nothing, the others their share, renormalized. */
static int move_attention(const psc_event *event, void *payload) {
    (void)payload;
    for (int32_t row = 0; row < event->n_rows; row++) {
        if (event->rows[row].position != 5) continue;
        float sum = 0.0f;
        *element(&event->tensor, row, 1, 2) = 0.0f;
        for (int64_t key = 0; key <= 5; key++) sum += *element(&event->tensor, row, 1, key);
        for (int64_t key = 0; key <= 5; key++) *element(&event->tensor, row, 1, key) /= sum;
    }
    return 0;
}

static void reverse(float *x, int64_t n, int64_t stride) {
    for (int64_t i = 0; i < n / 2; i++) {
        float swap = x[i * stride];
        x[i * stride] = x[(n - 1 - i) * stride];
        x[(n - 1 - i) * stride] = swap;
    }
}

/* Position 3: reverses the last axis (keys 0 to 3 of scores and pattern); multiplies a scale by
 * 0.75. */
static int change_row3(const psc_event *event, void *payload) {
    (void)payload;
    const psc_view *t = &event->tensor;
    bool keys = event->point == PSC_HOOK_ATTN_SCORES || event->point == PSC_HOOK_PATTERN;
    for (int32_t row = 0; row < event->n_rows; row++) {
        if (event->rows[row].position != 3) continue;
        int64_t n = t->shape[t->n_axes - 1], outer = t->n_axes > 2 ? t->shape[1] : 1;
        if (n == 1) *element(t, row, 0, 0) *= 0.75f;
        for (int64_t i = 0; i < outer; i++)
            reverse(
                element(t, row, t->n_axes > 2 ? i : 0, 0), keys ? 4 : n, t->stride[t->n_axes - 1]);
    }
    return 0;
}

/* Data for one model's edits. vector comes first, because it is the payload of replace_mlp. */
typedef struct bench {
    float *vector;
    const char *variant;
    psc_tensors *golden;
    psc_model *model;
    psc_token tokens[GOLDEN_MAX_TOKENS];
    int32_t n;
} bench;

static void bench_open(bench *b, const char *variant) {
    b->variant = variant;
    b->golden = golden_open(golden_path(variant, "edits.safetensors"));
    b->model = must_model(golden_path(variant, NULL));
    b->n = golden_tokens(b->golden, b->tokens);
    b->vector =
        golden_f32(golden_find(b->golden, "vector"), (size_t)psc_model_get_info(b->model)->d_model);
}

static void bench_close(bench *b) {
    free(b->vector);
    psc_model_close(&b->model);
    psc_tensors_close(&b->golden);
}

static void edit(bench *b, psc_session *session, const char *point_name, psc_event_fn callback) {
    psc_error error = {0};
    psc_point point;
    int32_t layer;
    cr_assert_eq(psc_point_parse(&point, &layer, point_name, &error), PSC_OK, "%s", error.message);
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &layer;
    filter.n_layers = layer >= 0;
    cr_assert_eq(psc_session_edit(session, point, &filter, callback, b, &error), PSC_OK, "%s",
        error.message);
}

/* Compares the rows of golden tensor "name/point" with the recording. */
static void compare(const bench *b, const recording *r, const char *name, const char *point_name,
    const int32_t *rows, int32_t n_rows) {
    char full[128];
    psc_point point;
    int32_t layer;
    snprintf(full, sizeof full, "%s/%s", name, point_name);
    cr_assert_eq(psc_point_parse(&point, &layer, point_name, NULL), PSC_OK);
    int64_t width = r->width[point];
    float *want = golden_f32(golden_find(b->golden, full), (size_t)(n_rows * width));
    for (int32_t i = 0; i < n_rows; i++)
        for (int64_t j = 0; j < width; j++) {
            float got = recording_row(r, point, layer, 0, rows ? rows[i] : i)[j];
            cr_assert(fabs((double)got - want[i * width + j]) <= TOLERANCE,
                "%s: %s row %d element %ld: %.9g, should be %.9g", b->variant, full, (int)i,
                (long)j, got, want[i * width + j]);
        }
    free(want);
}

/* Runs with the session's edits; the chunk must not matter. */
static void run_and_compare(bench *b, psc_session *session, const char *name, bool downstream) {
    static const char *const points[] = {"hook_attn_out", "hook_mlp_out", "hook_resid_post"};
    recording r;
    char point[64];
    recording_open(&r, psc_model_get_info(b->model), 1, b->n);
    recording_attach(&r, session);
    psc_session_truncate(session, 0, 0);
    must_run_one(session, b->tokens, b->n);
    if (downstream) {
        compare(b, &r, name, "hook_logits", NULL, b->n);
        for (int32_t layer = 0; layer < 2; layer++)
            for (int p = 0; p < 3; p++) {
                snprintf(point, sizeof point, "blocks.%d.%s", (int)layer, points[p]);
                compare(b, &r, name, point, NULL, b->n);
            }
    } else {
        compare(b, &r, name, "hook_logits", (int32_t[]){3, b->n - 1}, 2);
    }
    psc_session_unhook(session, &r);
    psc_session_unhook(session, b);
    recording_close(&r);
}

static void named_edits(const char *variant, int32_t chunk) {
    bench b;
    bench_open(&b, variant);
    psc_session *session = must_session(b.model, NULL, 2, chunk);
    edit(&b, session, "blocks.0.attn.hook_result", zero_head);
    run_and_compare(&b, session, "zero_head", true);
    edit(&b, session, "blocks.0.hook_mlp_out", replace_mlp);
    run_and_compare(&b, session, "replace_mlp", true);
    edit(&b, session, "blocks.1.attn.hook_pattern", move_attention);
    run_and_compare(&b, session, "move_attention", true);
    edit(&b, session, "blocks.0.attn.hook_result", zero_head);
    edit(&b, session, "blocks.1.attn.hook_pattern", move_attention);
    run_and_compare(&b, session, "two_edits", true);
    psc_session_close(&session);
    bench_close(&b);
}

/* For every point with a golden edit: change a row, then compare the logits. */
static void every_point(const char *variant, int32_t chunk) {
    bench b;
    bench_open(&b, variant);
    psc_session *session = must_session(b.model, NULL, 1, chunk);
    int edited = 0;
    for (size_t i = 0; i < b.golden->count; i++) {
        char name[128];
        if (strncmp(b.golden->items[i].name, "row3/", 5)) continue;
        snprintf(name, sizeof name, "%s", b.golden->items[i].name);
        *strrchr(name, '/') = 0;
        edit(&b, session, name + 5, change_row3);
        run_and_compare(&b, session, name, false);
        edited++;
    }
    bool parallel = psc_model_get_info(b.model)->parallel_residual;
    cr_assert_eq(edited, parallel ? 41 : 43);
    psc_session_close(&session);
    bench_close(&b);
}

Test(edits, named_parallel) {
    named_edits("parallel_f32", 0);
}

Test(edits, named_sequential) {
    named_edits("sequential_f32", 0);
}

Test(edits, in_chunks) {
    named_edits("parallel_f32", 1);
    named_edits("sequential_f32", 4);
}

Test(edits, every_point_parallel) {
    every_point("parallel_f32", 0);
}

Test(edits, every_point_sequential) {
    every_point("sequential_f32", 0);
}

Test(edits, every_point_in_chunks) {
    every_point("parallel_f32", 2);
}

/* With the parallel residual an edit of the attention's write does not reach the MLP of the same
 * layer; with the sequential one it does. */
static bool reaches_mlp(const char *variant) {
    bench b;
    bench_open(&b, variant);
    psc_session *session = must_session(b.model, NULL, 1, 0);
    recording plain, edited;
    recording_open(&plain, psc_model_get_info(b.model), 1, b.n);
    recording_open(&edited, psc_model_get_info(b.model), 1, b.n);
    recording_attach(&plain, session);
    must_run_one(session, b.tokens, b.n);
    psc_session_unhook(session, &plain);
    edit(&b, session, "blocks.0.hook_attn_out", change_row3);
    recording_attach(&edited, session);
    psc_session_truncate(session, 0, 0);
    must_run_one(session, b.tokens, b.n);
    size_t bytes = (size_t)plain.width[PSC_HOOK_MLP_OUT] * sizeof(float);
    bool reached = memcmp(recording_row(&plain, PSC_HOOK_MLP_OUT, 0, 0, 3),
        recording_row(&edited, PSC_HOOK_MLP_OUT, 0, 0, 3), bytes);
    cr_assert(memcmp(recording_row(&plain, PSC_HOOK_RESID_POST, 0, 0, 3),
        recording_row(&edited, PSC_HOOK_RESID_POST, 0, 0, 3), bytes));
    recording_close(&plain);
    recording_close(&edited);
    psc_session_close(&session);
    bench_close(&b);
    return reached;
}

Test(edits, attention_write_and_the_same_layers_mlp) {
    cr_assert(!reaches_mlp("parallel_f32"));
    cr_assert(reaches_mlp("sequential_f32"));
}

/* --- keys past a row's own position ------------------------------------------------------------ */

static int write_past(const psc_event *event, void *payload) {
    (void)payload;
    for (int32_t row = 0; row < event->n_rows; row++)
        for (int64_t i = 0; i < event->tensor.shape[1]; i++)
            for (int64_t key = event->rows[row].position + 1; key < event->tensor.shape[2]; key++)
                *element(&event->tensor, row, i, key) = 1.0f;
    return 0;
}

/* Counts the layers above the first, in which every key past a row is 0. */
static int count_masked(const psc_event *event, void *payload) {
    for (int32_t row = 0; row < event->n_rows && event->layer > 0; row++)
        for (int64_t i = 0; i < event->tensor.shape[1]; i++)
            for (int64_t key = event->rows[row].position + 1; key < event->tensor.shape[2]; key++)
                cr_assert_eq(*element(&event->tensor, row, i, key), 0.0f);
    *(int *)payload += event->layer > 0;
    return 0;
}

/* Layers share the memory of the pattern. What an editor leaves past the rows, and what a longer
 * run or another layer's scores left there, is 0 in the next layer. */
static void masked_keys(const char *variant, bool edits, bool scores) {
    bench b;
    int layers = 0, ignored = 0;
    bench_open(&b, variant);
    const int32_t above = psc_model_get_info(b.model)->n_layers - 1;
    psc_session *session = must_session(b.model, NULL, 2, 0);
    const psc_filter first = {.struct_size = sizeof first, .layers = (int32_t[]){0}, .n_layers = 1};
    if (edits) edit(&b, session, "blocks.0.attn.hook_pattern", write_past);
    cr_assert_eq(
        psc_session_observe(session, PSC_HOOK_PATTERN, NULL, count_masked, &layers, NULL), PSC_OK);
    if (scores)
        cr_assert_eq(psc_session_observe(
                         session, PSC_HOOK_ATTN_SCORES, &first, count_masked, &ignored, NULL),
            PSC_OK);
    for (int32_t n = b.n; n > 0; n -= 3) {
        psc_session_truncate(session, 0, 0);
        must_run_one(session, b.tokens, n);
    }
    cr_assert_eq(layers, above * ((b.n + 2) / 3));
    psc_session_close(&session);
    bench_close(&b);
}

Test(edits, keys_past_a_row_are_masked) {
    for (int i = 0; i < 4; i++) {
        masked_keys("parallel_f32", i & 1, i & 2);
        masked_keys("sequential_f32", i & 1, i & 2);
    }
}
