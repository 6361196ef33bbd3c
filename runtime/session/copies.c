/* Copies of whole tensors: which rows of a run go where, before it begins. The pass copies them
 * (forward/destinations.c).
 *
 * Per input [T, N], [T, 1], [T, H, D], [T, H, N], [T, M] or [T, V]; scores and pattern [H, T,
 * keys], keys = the sequence's length after the run. */
#include "session.h"

#include <stdio.h>
#include <string.h>

int psc_copies_shape(int64_t shape[3], const psc_session *session, psc_point point,
    const psc_destination_part *part) {
    const psc_model_info *info = &session->model->info;
    const int64_t n_rows = part->n_rows;
    if (psc_point_has_keys(point)) {
        shape[0] = info->n_heads;
        shape[1] = n_rows;
        shape[2] = part->n_keys;
        return 3;
    }
    int n = 0;
    shape[n++] = n_rows;
    for (const char *axis = psc_point_shape(point); *axis; axis++)
        shape[n++] = psc_axis_extent(*axis, info, part->n_keys);
    return n;
}

/* The rows of an input, which are rows at..at+n-1 of the run. They ascend in position, and every
 * filter selects neighbors. */
static psc_destination_part find_part(
    const psc_session *session, int32_t at, int32_t n, const psc_filter *filter) {
    psc_destination_part part = {
        .begin = at, .end = at + n, .n_keys = (int64_t)session->rows[at + n - 1].position + 1};
    while (part.begin < part.end && !psc_filter_has_row(filter, &session->rows[part.begin]))
        part.begin++;
    while (part.begin < part.end && !psc_filter_has_row(filter, &session->rows[part.end - 1]))
        part.end--;
    part.n_rows = part.end - part.begin;
    return part;
}

psc_status psc_copies_check_stop(
    const psc_session *session, psc_point point, int32_t layer, psc_error *error) {
    const int32_t stop = session->run_options->stop_at_layer;
    const bool computed = psc_point_has_layer(point) ? layer < stop : point == PSC_HOOK_EMBED;
    if (stop == 0 || computed) return PSC_OK;
    char name[64];
    psc_point_name(name, sizeof name, point, layer);
    return psc_fail(error, PSC_ERROR_INPUT, "%s cannot be copied: the run stops at layer %d", name,
        stop < 0 ? 0 : (int)stop);
}

psc_destinations *psc_copies_list(psc_session *session, bool gradient) {
    return gradient ? &session->gradient_copies : &session->copies;
}

psc_status psc_copies_check_metric(
    const psc_session *session, bool gradient, const char *what, psc_error *error) {
    if (!gradient || session->run_options->metric) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "%s is of a gradient, but the run has no metric; give it one (--metric, psc_run_options.metric)",
        what);
}

/* A new destination with one part per input, for the rows that filter selects; the parts lack data.
 * Null after setting error. */
static psc_destination *add_destination(
    psc_session *session, const psc_copy *copy, const psc_filter *filter, psc_error *error) {
    const psc_point point = (psc_point)copy->point;
    psc_destinations *list = psc_copies_list(session, copy->gradient != 0);
    if (psc_copies_check_stop(session, point, copy->layer, error) != PSC_OK) return NULL;
    psc_destination *to = psc_destinations_add(list, point, copy->layer, session->n_inputs);
    if (!to) {
        psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a copy");
        return NULL;
    }
    psc_destination_part *parts = list->parts + to->first_part;
    for (int32_t i = 0, at = 0; i < session->n_inputs; at += session->inputs[i++].n)
        parts[i] = find_part(session, at, session->inputs[i].n, filter);
    return to;
}

static psc_status check_point(
    const psc_session *session, int32_t index, const psc_copy *copy, psc_error *error) {
    const psc_model_info *info = &session->model->info;
    if (copy->point < 0 || copy->point >= PSC_POINT_COUNT)
        return psc_fail(error, PSC_ERROR_INPUT, "copy %d: unknown hook point number %d", (int)index,
            (int)copy->point);
    const psc_point point = (psc_point)copy->point;
    if (point == PSC_HOOK_RESID_MID && info->parallel_residual)
        return psc_fail(error, PSC_ERROR_INPUT,
            "copy %d: this model has no hook_resid_mid: its attention and MLP read the same residual",
            (int)index);
    if (!psc_point_has_layer(point) && copy->layer != -1)
        return psc_fail(error, PSC_ERROR_INPUT,
            "copy %d: %s belongs to no layer; its layer must be -1, not %d", (int)index,
            psc_point_suffix(point), (int)copy->layer);
    if (psc_point_has_layer(point) && (copy->layer < 0 || copy->layer >= info->n_layers))
        return psc_fail(error, PSC_ERROR_INPUT,
            "copy %d: layer %d of %s does not exist; the model has layers 0 to %d", (int)index,
            (int)copy->layer, psc_point_suffix(point), (int)info->n_layers - 1);
    if (copy->rows < PSC_ROWS_ALL || copy->rows > PSC_ROWS_RANGE)
        return psc_fail(
            error, PSC_ERROR_INPUT, "copy %d: unknown rows mode %d", (int)index, (int)copy->rows);
    return PSC_OK;
}

/* Places the parts in the caller's memory, which they must fill. */
static psc_status place(psc_session *session, int32_t index, const psc_copy *copy,
    const psc_destination *to, psc_error *error) {
    psc_destination_part *parts =
        psc_copies_list(session, copy->gradient != 0)->parts + to->first_part;
    int64_t total = 0;
    for (int32_t i = 0; i < to->n_parts; i++) {
        int64_t shape[3], floats = 1;
        const int n = psc_copies_shape(shape, session, to->point, &parts[i]);
        for (int a = 0; a < n; a++) floats *= shape[a];
        if (copy->out && total <= copy->capacity) parts[i].data = copy->out + total;
        total += floats;
    }
    if (total == copy->capacity && (copy->out || total == 0)) return PSC_OK;
    char name[64];
    psc_point_name(name, sizeof name, to->point, to->layer);
    return psc_fail(error, PSC_ERROR_INPUT,
        "copy %d: the run has %lld floats of %s, but the memory is for %lld", (int)index,
        (long long)total, name, copy->out ? (long long)copy->capacity : 0LL);
}

static psc_status add_copy(
    psc_session *session, int32_t index, const psc_copy *copy, psc_error *error) {
    const psc_filter filter = {.struct_size = sizeof filter,
        .rows = copy->rows,
        .row_begin = copy->row_begin,
        .row_end = copy->row_end};
    char what[32];
    snprintf(what, sizeof what, "copy %d", (int)index);
    psc_status status = check_point(session, index, copy, error);
    if (status == PSC_OK)
        status = psc_copies_check_metric(session, copy->gradient != 0, what, error);
    if (status != PSC_OK) return status;
    const psc_destination *to = add_destination(session, copy, &filter, error);
    return to ? place(session, index, copy, to, error) : error->status;
}

/* The first element's struct_size is the distance of all. */
psc_status psc_copies_begin(psc_session *session, psc_error *error) {
    const psc_run_options *options = session->run_options;
    const int32_t n = options->n_copies;
    psc_status status =
        psc_destinations_clear(&session->copies, session->model->info.n_layers, error);
    if (status == PSC_OK)
        status =
            psc_destinations_clear(&session->gradient_copies, session->model->info.n_layers, error);
    session->gradient_copies.gradients = true;
    if (status != PSC_OK || n == 0) return status;
    if (n < 0 || !options->copies)
        return psc_fail(error, PSC_ERROR_INPUT, "%d copies were given without a list", (int)n);
    const size_t size = options->copies->struct_size;
    const size_t first = offsetof(psc_copy, gradient);
    if (size < first)
        return psc_fail(error, PSC_ERROR_INPUT,
            "a copy has struct_size %zu, but the first version has %zu; start from PSC_COPY_INIT",
            size, first);
    for (int32_t i = 0; i < n && status == PSC_OK; i++) {
        psc_copy copy = PSC_COPY_INIT;
        memcpy(&copy, (const char *)options->copies + (size_t)i * size,
            size < sizeof copy ? size : sizeof copy);
        status = add_copy(session, i, &copy, error);
    }
    return status;
}
