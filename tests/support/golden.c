/* Golden files and recordings for the tests (golden.h). */
#include "golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const golden_variants[] = {"parallel_f32", "sequential_f32", "tied_f32", "old_f16",
    "sequential_bf16_v5", "rotary_full", "rotary_base_v5", "sharded_padded_f16", "odd_sizes",
    "no_attention_bias", "large_scores", "gelu_fast", "rope_linear", "rope_dynamic", "rope_yarn",
    NULL};

const char *golden_path(const char *name, const char *file) {
    static char paths[4][1024];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(paths[turn], sizeof paths[turn], "%s/tests/golden/parity/%s%s%s", PSC_SOURCE_DIR, name,
        file ? "/" : "", file ? file : "");
    return paths[turn];
}

const char *golden_embedded(void) {
    static const char folder[] = PSC_SOURCE_DIR "/models/books-5m";
    FILE *file = fopen(PSC_SOURCE_DIR "/models/books-5m/model.safetensors", "rb");
    if (!file) return NULL;
    fclose(file);
    return folder;
}

psc_tensors *golden_open(const char *path) {
    psc_error error = {0};
    psc_tensors *tensors = NULL;
    cr_assert_eq(psc_tensors_open_file(&tensors, path, &error), PSC_OK, "%s", error.message);
    return tensors;
}

const psc_tensor *golden_find(const psc_tensors *tensors, const char *name) {
    const psc_tensor *tensor = psc_tensors_find(tensors, name);
    cr_assert(tensor, "the golden file has no %s", name);
    return tensor;
}

static void *elements(const psc_tensor *tensor, const char *dtype, size_t bytes) {
    cr_assert_str_eq(tensor->dtype, dtype, "%s is %s", tensor->name, tensor->dtype);
    cr_assert_eq(
        tensor->size, bytes, "%s has %zu bytes, not %zu", tensor->name, tensor->size, bytes);
    void *out = malloc(bytes + 1);
    cr_assert(out);
    memcpy(out, tensor->data, bytes);
    return out;
}

float *golden_f32(const psc_tensor *tensor, size_t n) {
    return elements(tensor, "F32", n * sizeof(float));
}

double *golden_f64(const psc_tensor *tensor, size_t n) {
    return elements(tensor, "F64", n * sizeof(double));
}

int32_t golden_tokens(const psc_tensors *tensors, psc_token *out) {
    const psc_tensor *tensor = golden_find(tensors, "tokens");
    size_t n = tensor->size / sizeof(int32_t);
    cr_assert(n <= GOLDEN_MAX_TOKENS);
    int32_t *ids = elements(tensor, "I32", n * sizeof(int32_t));
    for (size_t i = 0; i < n; i++) out[i] = (psc_token){.id = ids[i]};
    free(ids);
    return (int32_t)n;
}

psc_model *must_model(const char *folder) {
    psc_error error = {0};
    psc_model *model = NULL;
    cr_assert_eq(psc_model_open(&model, folder, &error), PSC_OK, "%s", error.message);
    return model;
}

psc_session *must_session(psc_model *model, const char *isa, int32_t threads, int32_t chunk) {
    psc_error error = {0};
    psc_session *session = NULL;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.isa = isa;
    options.threads = threads;
    options.chunk = chunk;
    options.n_sequences = 3;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    return session;
}

void must_run(psc_session *session, const psc_input *inputs, int32_t n_inputs) {
    psc_error error = {0};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.logits = PSC_ROWS_ALL;
    cr_assert_eq(
        psc_session_run(session, inputs, n_inputs, &options, &error), PSC_OK, "%s", error.message);
}

void must_run_one(psc_session *session, const psc_token *tokens, int32_t n) {
    must_run(session, &(psc_input){0, n, tokens}, 1);
}

/* --- recordings ------------------------------------------------------------------------------ */

#define POINT_SHAPE(id, name, shape, layered) shape,
#define POINT_LAYERED(id, name, shape, layered) layered,
static const char *const point_shape[] = {PSC_POINTS(POINT_SHAPE)};
static const int point_layered[] = {PSC_POINTS(POINT_LAYERED)};

int32_t point_layers(const psc_model_info *info, psc_point point) {
    return point_layered[point] ? info->n_layers : 1;
}

static bool has_keys(psc_point point) {
    return point == PSC_HOOK_ATTN_SCORES || point == PSC_HOOK_PATTERN;
}

static int64_t axis_length(char axis, const psc_model_info *info, int64_t keys) {
    switch (axis) {
#define AXIS(letter, member)                                                                       \
    case letter:                                                                                   \
        return info->member;
        PSC_AXES(AXIS)
#undef AXIS
    case 'K':
        return keys;
    default:
        return 1;
    }
}

void recording_open(recording *r, const psc_model_info *info, int32_t n_sequences, int32_t length) {
    memset(r, 0, sizeof *r);
    r->info = *info;
    r->n_sequences = n_sequences;
    r->length = length;
    for (int p = 0; p < PSC_POINT_COUNT; p++) {
        if (p == PSC_HOOK_RESID_MID && info->parallel_residual) continue;
        r->axes[p] = strlen(point_shape[p]) + 1;
        r->width[p] = 1;
        for (const char *axis = point_shape[p]; *axis; axis++)
            r->width[p] *= axis_length(*axis, info, length);
        size_t bytes = (size_t)(point_layers(info, (psc_point)p) * n_sequences * length) *
                       (size_t)r->width[p] * sizeof(float);
        r->data[p] = malloc(bytes);
        cr_assert(r->data[p]);
        memset(r->data[p], 0xff, bytes);
    }
}

void recording_close(recording *r) {
    for (int p = 0; p < PSC_POINT_COUNT; p++) free(r->data[p]);
    memset(r, 0, sizeof *r);
}

float *recording_row(
    const recording *r, psc_point point, int32_t layer, int32_t sequence, int32_t position) {
    int64_t row = (layer < 0 ? 0 : layer) * r->n_sequences + sequence;
    return r->data[point] + (row * r->length + position) * r->width[point];
}

/* One row of the event into out [width], with the keys padded. */
static void copy_row(const recording *r, const psc_event *event, int64_t row, float *out) {
    const psc_view *t = &event->tensor;
    psc_point point = (psc_point)event->point;
    int64_t outer = t->n_axes == 3 ? t->shape[1] : 1, inner = t->shape[t->n_axes - 1];
    int64_t width = has_keys(point) ? r->length : inner;
    float rest = point == PSC_HOOK_PATTERN ? 0.0f : -INFINITY;
    for (int64_t i = 0; i < outer; i++) {
        const float *from = t->data + row * t->stride[0] + (t->n_axes == 3 ? i * t->stride[1] : 0);
        for (int64_t j = 0; j < width; j++)
            out[i * width + j] = j < inner ? from[j * t->stride[t->n_axes - 1]] : rest;
    }
}

static int record(const psc_event *event, void *payload) {
    recording *r = payload;
    const psc_view *t = &event->tensor;
    const char *shape = point_shape[event->point];
    cr_assert_eq(event->struct_size, sizeof *event);
    cr_assert_eq(t->n_axes, (int32_t)strlen(shape) + 1);
    cr_assert_eq(t->shape[0], event->n_rows);
    for (int axis = 1; axis < t->n_axes; axis++)
        if (shape[axis - 1] != 'K')
            cr_assert_eq(t->shape[axis], axis_length(shape[axis - 1], &r->info, 0));
        else
            cr_assert_leq(t->shape[axis], r->length);
    cr_assert_eq(event->layer < 0, !point_layered[event->point]);
    for (int32_t i = 0; i < event->n_rows; i++) {
        const psc_row *row = &event->rows[i];
        cr_assert_lt(row->sequence, r->n_sequences);
        cr_assert_lt(row->position, r->length);
        float *out =
            recording_row(r, (psc_point)event->point, event->layer, row->sequence, row->position);
        copy_row(r, event, i, out);
    }
    r->rows[event->point] += event->n_rows;
    return 0;
}

void recording_attach(recording *r, psc_session *session) {
    psc_error error = {0};
    for (int p = 0; p < PSC_POINT_COUNT; p++)
        if (r->width[p])
            cr_assert_eq(psc_session_observe(session, (psc_point)p, NULL, record, r, &error),
                PSC_OK, "%s", error.message);
}

/* Rows a and b; compares as many keys as the shorter recording has. */
static bool same_row(
    const recording *a, const float *x, const recording *b, const float *y, psc_point point) {
    int64_t outer = has_keys(point) ? a->info.n_heads : 1;
    int64_t n = a->width[point] / outer, m = b->width[point] / outer;
    for (int64_t i = 0; i < outer; i++)
        if (memcmp(x + i * n, y + i * m, (size_t)(n < m ? n : m) * sizeof(float))) return false;
    return true;
}

void recording_assert_same(const recording *a, int32_t sequence_a, const recording *b,
    int32_t sequence_b, int32_t n, const char *what) {
    char name[64];
    for (int p = 0; p < PSC_POINT_COUNT; p++) {
        if (!a->width[p]) continue;
        for (int32_t layer = 0; layer < point_layers(&a->info, (psc_point)p); layer++)
            for (int32_t row = 0; row < n; row++) {
                float *x = recording_row(a, (psc_point)p, layer, sequence_a, row);
                float *y = recording_row(b, (psc_point)p, layer, sequence_b, row);
                psc_point_name(name, sizeof name, (psc_point)p, point_layered[p] ? layer : -1);
                cr_assert(!isnan(x[0]), "%s: %s row %d was not shown", what, name, (int)row);
                cr_assert(same_row(a, x, b, y, (psc_point)p),
                    "%s: %s differs at row %d (%.9g, %.9g ...)", what, name, (int)row, x[0], y[0]);
            }
    }
}
