/* Captures: a hook point's tensor of a whole run as an array of the results, without a plugin.
 *
 * Axes are TransformerLens's without the batch: [T, N], [T, 1], [T, H, D], [T, H, N], [T, M],
 * [T, V]; scores and pattern [H, T, K], K = keys, which is T where the sequence began with the run.
 * The array has the hook's name; in a run of several sequences, one array per sequence is named
 * "name@sequence". */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>

struct psc_capture {
    psc_point point;
    int32_t layer; /* -1 where there is none */
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
    if (psc_session_busy(session))
        return psc_fail(error, PSC_ERROR_STATE, "captures cannot be added in a callback");
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

/* --- a run ----------------------------------------------------------------------------------- */

/* Adds the bytes of a part to *total; fails beyond the session's cap. */
static psc_status count_bytes(const psc_session *session, const psc_capture *capture,
    const psc_destination_part *part, uint64_t *total, psc_error *error) {
    int64_t shape[3];
    int n = psc_copies_shape(shape, session, capture->point, part);
    uint64_t cap = session->options.retained_cap;
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

/* The pass writes every element, so the array is not filled. */
static psc_status make_array(psc_session *session, const psc_capture *capture,
    psc_destination_part *part, int32_t sequence, psc_error *error) {
    char hook[64], name[96];
    int64_t shape[3];
    int n = psc_copies_shape(shape, session, capture->point, part);
    psc_point_name(hook, sizeof hook, capture->point, capture->layer);
    if (session->n_inputs > 1)
        snprintf(name, sizeof name, "%s@%d", hook, (int)sequence);
    else
        snprintf(name, sizeof name, "%s", hook);
    psc_stored_array *array =
        psc_results_add_array(session->results, -1, name, PSC_F32, n, NULL, shape, false, error);
    if (!array) return PSC_ERROR_MEMORY;
    part->data = (float *)array->view.data;
    return PSC_OK;
}

psc_status psc_captures_begin(psc_session *session, psc_error *error) {
    uint64_t total = 0;
    for (int32_t i = 0; i < session->n_captures; i++) {
        const psc_capture *capture = &session->captures[i];
        const psc_destination *to =
            psc_copies_add(session, capture->point, capture->layer, NULL, error);
        if (!to) return error->status;
        psc_destination_part *parts = session->copies.parts + to->first_part;
        psc_status status = PSC_OK;
        for (int32_t p = 0; p < to->n_parts && status == PSC_OK; p++)
            status = count_bytes(session, capture, &parts[p], &total, error);
        for (int32_t p = 0; p < to->n_parts && status == PSC_OK; p++)
            status = make_array(session, capture, &parts[p], session->inputs[p].sequence, error);
        if (status != PSC_OK) return status;
    }
    return PSC_OK;
}
