/* Captures: a hook point's tensor of a whole run as an array of the results, without a plugin.
 *
 * Axes are TransformerLens's without the batch: [T, N], [T, 1], [T, H, D], [T, H, N], [T, M],
 * [T, V]; scores and pattern [H, T, K], K = keys, which is T where the sequence began with the run.
 * The array has the hook's name; in a run of several sequences, one array per sequence is named
 * "name@sequence". */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One sequence's array of one capture. */
typedef struct part {
    int32_t sequence, first_row, n_rows; /* first_row: psc_row.index */
    int64_t n_keys;                      /* after the run */
    float *data;
} part;

struct psc_capture {
    psc_point point;
    int32_t layer; /* -1 where there is none */
    const psc_session *session;
    part *parts; /* while a run lasts */
    int32_t n_parts;
};

/* --- requests -------------------------------------------------------------------------------- */

static psc_status add_one(psc_session *session, psc_point point, int32_t layer, psc_error *error) {
    for (int32_t i = 0; i < session->n_captures; i++)
        if (session->captures[i].point == point && session->captures[i].layer == layer)
            return PSC_OK;
    psc_capture *grown =
        realloc(session->captures, ((size_t)session->n_captures + 1) * sizeof *grown);
    if (!grown) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a capture");
    session->captures = grown;
    grown[session->n_captures++] = (psc_capture){.point = point, .layer = layer};
    return PSC_OK;
}

psc_status psc_captures_add(psc_session *session, const char *name, psc_error *error) {
    psc_point point;
    int32_t layer, n_layers = session->model->info.n_layers;
    if (!name) return psc_fail(error, PSC_ERROR_INPUT, "a capture needs the name of a hook point");
    if (session->run_options)
        return psc_fail(error, PSC_ERROR_STATE, "captures cannot be added during a run");
    psc_status status = psc_point_parse(&point, &layer, name, error);
    if (status != PSC_OK) return status;
    if (point == PSC_HOOK_RESID_MID && session->model->info.parallel_residual)
        return psc_fail(error, PSC_ERROR_INPUT,
            "this model has no hook_resid_mid: its attention and MLP read the same residual");
    if (layer >= n_layers)
        return psc_fail(error, PSC_ERROR_INPUT,
            "hook point '%.100s': layer %d does not exist; the model has layers 0 to %d", name,
            (int)layer, (int)n_layers - 1);
    if (layer != -2) return add_one(session, point, layer, error);
    for (int32_t l = 0; l < n_layers && status == PSC_OK; l++)
        status = add_one(session, point, l, error);
    return status;
}

void psc_captures_close(psc_session *session) {
    psc_captures_end(session);
    free(session->captures);
    session->captures = NULL;
    session->n_captures = 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

/* Shape of a part's array; returns the number of axes. */
static int part_shape(const psc_capture *capture, const part *p, int64_t shape[6]) {
    const psc_model_info *info = &capture->session->model->info;
    if (psc_point_has_keys(capture->point)) {
        shape[0] = info->n_heads;
        shape[1] = p->n_rows;
        shape[2] = p->n_keys;
        return 3;
    }
    int n = 0;
    shape[n++] = p->n_rows;
    for (const char *axis = psc_point_shape(capture->point); *axis; axis++)
        shape[n++] = psc_axis_extent(*axis, info, p->n_keys);
    return n;
}

/* A row of one head: n floats from source, the other keys set to fill. */
static void copy_keys(
    float *out, int64_t n_out, const float *source, int64_t n, int64_t stride, float fill) {
    for (int64_t k = 0; k < n_out; k++) out[k] = k < n ? source[k * stride] : fill;
}

static void take_keys(
    const psc_capture *capture, const part *p, const psc_event *event, int32_t r, int64_t row) {
    const psc_view *t = &event->tensor;
    float fill = psc_point_beyond(capture->point);
    for (int64_t h = 0; h < t->shape[1]; h++)
        copy_keys(p->data + (h * p->n_rows + row) * p->n_keys, p->n_keys,
            t->data + r * t->stride[0] + h * t->stride[1], t->shape[2], t->stride[2], fill);
}

/* Copies row r of an event, whose tensor has two or three axes, to dense memory. */
static void take_row(const part *p, const psc_event *event, int32_t r, int64_t row) {
    const psc_view *t = &event->tensor;
    bool heads = t->n_axes == 3;
    int64_t n1 = heads ? t->shape[1] : 1, n2 = t->shape[t->n_axes - 1];
    for (int64_t i = 0; i < n1; i++) {
        const float *from = t->data + r * t->stride[0] + (heads ? i * t->stride[1] : 0);
        copy_keys(p->data + (row * n1 + i) * n2, n2, from, n2, t->stride[t->n_axes - 1], 0);
    }
}

static int on_event(const psc_event *event, void *payload) {
    const psc_capture *capture = payload;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const part *p = capture->parts;
        while (p->sequence != event->rows[r].sequence) p++;
        int64_t row = event->rows[r].index - p->first_row;
        if (psc_point_has_keys(capture->point))
            take_keys(capture, p, event, r, row);
        else
            take_row(p, event, r, row);
    }
    return 0;
}

/* The run's sequences, one part each, without data. */
static psc_status find_parts(psc_capture *capture, psc_error *error) {
    const psc_session *s = capture->session;
    int32_t n = 0;
    for (int32_t i = 0; i < s->n_rows; i++)
        n += i == 0 || s->rows[i].sequence != s->rows[i - 1].sequence;
    capture->parts = calloc(n ? (size_t)n : 1, sizeof *capture->parts);
    if (!capture->parts)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the captured tensors");
    for (int32_t i = 0; i < s->n_rows; i++) {
        const psc_row *row = &s->rows[i];
        bool starts = i == 0 || row->sequence != s->rows[i - 1].sequence;
        if (starts)
            capture->parts[capture->n_parts++] = (part){.sequence = row->sequence, .first_row = i};
        part *p = &capture->parts[capture->n_parts - 1];
        p->n_rows++;
        p->n_keys = (int64_t)row->position + 1;
    }
    return PSC_OK;
}

/* Adds the bytes of a part to *total; fails beyond the session's cap. */
static psc_status count_bytes(
    const psc_capture *capture, const part *p, uint64_t *total, psc_error *error) {
    int64_t shape[6];
    int n = part_shape(capture, p, shape);
    uint64_t cap = capture->session->options.retained_cap;
    double bytes = sizeof(float);
    for (int i = 0; i < n; i++) bytes *= (double)shape[i];
    if (bytes > (double)(cap - *total)) {
        char name[64];
        psc_point_name(name, sizeof name, capture->point, capture->layer);
        return psc_fail(error, PSC_ERROR_MEMORY,
            "capturing %s needs %.0f bytes on top of the %llu already captured; the cap (retained_cap) is %llu",
            name, bytes, (unsigned long long)*total, (unsigned long long)cap);
    }
    *total += (uint64_t)bytes;
    return PSC_OK;
}

static psc_status make_array(
    psc_session *session, psc_capture *capture, part *p, psc_error *error) {
    char hook[64], name[96];
    int64_t shape[6];
    int n = part_shape(capture, p, shape);
    psc_point_name(hook, sizeof hook, capture->point, capture->layer);
    if (capture->n_parts > 1)
        snprintf(name, sizeof name, "%s@%d", hook, (int)p->sequence);
    else
        snprintf(name, sizeof name, "%s", hook);
    psc_stored_array *array =
        psc_results_add_array(session->results, -1, name, PSC_F32, n, NULL, shape, true, error);
    if (!array) return PSC_ERROR_MEMORY;
    p->data = (float *)array->view.data;
    return PSC_OK;
}

static psc_status begin_one(
    psc_session *session, psc_capture *capture, uint64_t *total, psc_error *error) {
    capture->session = session;
    psc_status status = find_parts(capture, error);
    for (int32_t i = 0; i < capture->n_parts && status == PSC_OK; i++)
        status = count_bytes(capture, &capture->parts[i], total, error);
    for (int32_t i = 0; i < capture->n_parts && status == PSC_OK; i++)
        status = make_array(session, capture, &capture->parts[i], error);
    if (status != PSC_OK) return status;
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &capture->layer;
    filter.n_layers = psc_point_has_layer(capture->point) ? 1 : 0;
    psc_subscriber subscriber = {.owner = capture, .transient = true};
    return psc_registry_add(
        session->registry, capture->point, false, &filter, on_event, capture, &subscriber, error);
}

psc_status psc_captures_begin(psc_session *session, psc_error *error) {
    uint64_t total = 0;
    psc_captures_end(session); /* a run that failed before its first row leaves its parts */
    for (int32_t i = 0; i < session->n_captures; i++) {
        psc_status status = begin_one(session, &session->captures[i], &total, error);
        if (status == PSC_OK) continue;
        psc_captures_end(session);
        return status;
    }
    return PSC_OK;
}

void psc_captures_end(psc_session *session) {
    for (int32_t i = 0; i < session->n_captures; i++) {
        if (session->registry) psc_registry_remove(session->registry, &session->captures[i]);
        free(session->captures[i].parts);
        session->captures[i].parts = NULL;
        session->captures[i].n_parts = 0;
    }
}
