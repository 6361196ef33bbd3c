/* Captures: a hook point's tensor of a whole run as an array of the results, without a plugin.
 *
 * Axes are TransformerLens's without the batch: [T, N], [T, 1], [T, H, D], [T, H, N], [T, M],
 * [T, V]; scores and pattern [H, T, K], K = keys, which is T where the sequence began with the run.
 * With chosen rows T is their number. The array has the hook's name; in a run of several sequences,
 * one array per sequence is named "name@sequence". */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 128 };

struct psc_capture {
    psc_point point;
    int32_t layer; /* -1 where there is none */
    bool gradient;
    psc_capture_rows rows;
    bool joined; /* of several requests, which may name a row more than once */
};

void psc_captures_free(psc_session *session) {
    for (int32_t i = 0; i < session->n_captures; i++) free(session->captures[i].rows.list);
    free(session->captures);
    session->captures = NULL;
    session->n_captures = 0;
}

/* "blocks.3.hook_resid_post", "hook_embed_grad" */
static void name_of(char *out, size_t size, const psc_capture *capture) {
    char name[64];
    psc_point_name(name, sizeof name, capture->point, capture->layer);
    snprintf(out, size, "%s%s", name, capture->gradient ? PSC_GRADIENT_SUFFIX : "");
}

/* --- requests -------------------------------------------------------------------------------- */

/* A copy of the list; null without memory, or for all rows. */
static psc_status copy_rows(psc_capture_rows *out, const psc_capture_rows *rows, psc_error *error) {
    *out = *rows;
    if (!rows->list) return PSC_OK;
    out->list = malloc((size_t)rows->n * sizeof *out->list);
    if (!out->list) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a capture");
    memcpy(out->list, rows->list, (size_t)rows->n * sizeof *out->list);
    return PSC_OK;
}

/* A tensor that was requested before keeps the rows of both requests. */
static psc_status join(psc_capture *capture, const psc_capture_rows *rows, psc_error *error) {
    const size_t n = (size_t)capture->rows.n, more = (size_t)rows->n;
    capture->joined = true;
    if (!capture->rows.list) return PSC_OK;
    if (!rows->list) {
        free(capture->rows.list);
        capture->rows = *rows;
        return PSC_OK;
    }
    if (n + more > PSC_CAPTURE_ROWS) {
        char name[NAME_BYTES];
        name_of(name, sizeof name, capture);
        return psc_fail(
            error, PSC_ERROR_INPUT, "capture %.80s: more than %d rows", name, PSC_CAPTURE_ROWS);
    }
    int32_t *list = realloc(capture->rows.list, (n + more) * sizeof *list);
    if (!list) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a capture");
    memcpy(list + n, rows->list, more * sizeof *list);
    capture->rows = (psc_capture_rows){list, (int32_t)(n + more)};
    return PSC_OK;
}

static psc_status add_one(psc_session *session, psc_point point, int32_t layer, bool gradient,
    const psc_capture_rows *rows, psc_error *error) {
    psc_capture capture = {.point = point, .layer = layer, .gradient = gradient};
    for (int32_t i = 0; i < session->n_captures; i++) {
        psc_capture *other = &session->captures[i];
        if (other->point == point && other->layer == layer && other->gradient == gradient)
            return join(other, rows, error);
    }
    psc_status status = copy_rows(&capture.rows, rows, error);
    if (status != PSC_OK) return status;
    psc_capture *grown =
        realloc(session->captures, ((size_t)session->n_captures + 1) * sizeof *grown);
    if (!grown) {
        free(capture.rows.list);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a capture");
    }
    session->captures = grown;
    grown[session->n_captures++] = capture;
    return PSC_OK;
}

/* Whether name fits the pattern, in which each * stands for any characters. */
static bool fits(const char *pattern, const char *name) {
    const char *star = NULL, *after = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            after = name;
        } else if (*pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star + 1;
            name = ++after;
        } else {
            return false;
        }
    }
    while (*pattern == '*') pattern++;
    return *pattern == 0;
}

static bool exists(const psc_session *session, psc_point point) {
    return point != PSC_HOOK_RESID_MID || !session->model->info.parallel_residual;
}

/* Adds the points whose names fit, in the order in which a pass shows them: hook_embed, the layers,
 * the points after them. */
static psc_status add_fitting(psc_session *session, const char *pattern, bool gradient,
    const psc_capture_rows *rows, psc_error *error) {
    const int32_t n_layers = session->model->info.n_layers;
    char name[NAME_BYTES];
    bool found = false;
    psc_status status = PSC_OK;
    for (int32_t l = -1; l <= n_layers; l++) {
        const bool inside = l >= 0 && l < n_layers;
        for (int p = 0; p < PSC_POINT_COUNT && status == PSC_OK; p++) {
            const psc_point point = (psc_point)p;
            if (psc_point_has_layer(point) != inside || !exists(session, point)) continue;
            if (!inside && (point == PSC_HOOK_EMBED) != (l < 0)) continue;
            psc_point_name(name, sizeof name, point, inside ? l : -1);
            if (strcmp(pattern, "all") != 0 && !fits(pattern, name)) continue;
            found = true;
            status = add_one(session, point, inside ? l : -1, gradient, rows, error);
        }
    }
    if (found) return status;
    return psc_fail(error, PSC_ERROR_INPUT,
        "capture '%.100s' fits no hook point; names are like hook_embed, blocks.0.attn.hook_z or "
        "blocks.*.hook_resid_post",
        pattern);
}

static psc_status add_named(psc_session *session, const char *name, bool gradient,
    const psc_capture_rows *rows, psc_error *error) {
    psc_point point;
    int32_t layer, n_layers = session->model->info.n_layers;
    const bool pattern = strcmp(name, "all") == 0 || strchr(name, '*');
    psc_status status = psc_point_parse(&point, &layer, name, pattern ? NULL : error);
    if (status != PSC_OK)
        return pattern ? add_fitting(session, name, gradient, rows, error) : status;
    if (!exists(session, point))
        return psc_fail(error, PSC_ERROR_INPUT,
            "this model has no hook_resid_mid: its attention and MLP read the same residual");
    if (layer >= n_layers)
        return psc_fail(error, PSC_ERROR_INPUT,
            "hook point '%.100s': layer %d does not exist; the model has layers 0 to %d", name,
            (int)layer, (int)n_layers - 1);
    if (layer != -2) return add_one(session, point, layer, gradient, rows, error);
    for (int32_t l = 0; l < n_layers && status == PSC_OK; l++)
        status = add_one(session, point, l, gradient, rows, error);
    return status;
}

psc_status psc_captures_add(psc_session *session, const char *request, psc_error *error) {
    static const char key[] = ":rows=";
    psc_capture_rows rows = {NULL, 0};
    char name[NAME_BYTES];
    if (!request)
        return psc_fail(error, PSC_ERROR_INPUT, "a capture needs the name of a hook point");
    if (psc_session_busy(session))
        return psc_fail(error, PSC_ERROR_STATE, "captures cannot be added in a callback");
    const char *chosen = strstr(request, key);
    snprintf(name, sizeof name, "%.*s", (int)(chosen ? chosen - request : NAME_BYTES - 1), request);
    psc_status status = PSC_OK;
    if (chosen) status = psc_capture_rows_parse(&rows, chosen + strlen(key), name, error);
    const size_t length = strlen(name), end = strlen(PSC_GRADIENT_SUFFIX);
    const bool gradient = length > end && strcmp(name + length - end, PSC_GRADIENT_SUFFIX) == 0;
    if (gradient) name[length - end] = 0;
    if (status == PSC_OK) status = add_named(session, name, gradient, &rows, error);
    free(rows.list);
    return status;
}

/* --- memory ---------------------------------------------------------------------------------- */

/* Of one sequence's n_rows rows with n_keys keys. */
static double bytes_of(
    const psc_session *session, psc_point point, int64_t n_rows, int64_t n_keys) {
    const psc_destination_part whole = {.n_rows = n_rows, .n_keys = n_keys};
    int64_t shape[3];
    const int n = psc_copies_shape(shape, session, point, &whole);
    double bytes = sizeof(float);
    for (int i = 0; i < n; i++) bytes *= (double)shape[i];
    return bytes;
}

uint64_t psc_session_capture_bytes(const psc_session *session, int32_t n_rows, int32_t *n_tensors) {
    double total = 0;
    if (n_rows < 0) n_rows = 0;
    for (int32_t i = 0; i < session->n_captures; i++) {
        const psc_capture *capture = &session->captures[i];
        int32_t n = capture->rows.list ? capture->rows.n : n_rows, *rows = NULL;
        if (capture->joined && capture->rows.list &&
            psc_capture_rows_resolve(&rows, &n, &capture->rows, true, n_rows, "", NULL) != PSC_OK)
            n = capture->rows.n;
        free(rows);
        total += bytes_of(session, capture->point, n, n_rows);
    }
    if (n_tensors) *n_tensors = session->n_captures;
    return total < 0x1p63 ? (uint64_t)total : UINT64_MAX / 2;
}

/* Adds the bytes to *total; fails beyond the session's cap. */
static psc_status count_bytes(const psc_session *session, const psc_capture *capture, double bytes,
    uint64_t *total, psc_error *error) {
    const uint64_t cap = session->options.retained_cap;
    if (bytes > (double)(cap - *total)) {
        char name[NAME_BYTES];
        name_of(name, sizeof name, capture);
        return psc_fail(error, PSC_ERROR_MEMORY,
            "capturing %s needs %.0f bytes on top of the %llu already captured; the cap "
            "(retained_cap, --retain) is %llu; capture less or raise it",
            name, bytes, (unsigned long long)*total, (unsigned long long)cap);
    }
    *total += (uint64_t)bytes;
    return PSC_OK;
}

/* --- a run ----------------------------------------------------------------------------------- */

/* The chosen rows of each input of a run, one capture's. */
typedef struct chosen {
    int32_t **rows, *n; /* [n_inputs] */
} chosen;

static void free_chosen(chosen *c, int32_t n_inputs) {
    for (int32_t i = 0; c->rows && i < n_inputs; i++) free(c->rows[i]);
    free(c->rows);
    free(c->n);
}

static psc_status choose(
    chosen *c, const psc_session *session, const psc_capture *capture, psc_error *error) {
    const size_t n = (size_t)session->n_inputs;
    char name[NAME_BYTES];
    psc_status status = PSC_OK;
    *c = (chosen){calloc(n, sizeof *c->rows), calloc(n, sizeof *c->n)};
    if (!c->rows || !c->n)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a capture");
    name_of(name, sizeof name, capture);
    for (size_t i = 0; i < n && status == PSC_OK; i++)
        status = psc_capture_rows_resolve(&c->rows[i], &c->n[i], &capture->rows, capture->joined,
            session->inputs[i].n, name, error);
    return status;
}

/* Whether row i of the list begins a stretch of rows that follow each other. */
static bool begins(const int32_t *rows, int32_t i) {
    return i == 0 || rows[i] != rows[i - 1] + 1;
}

static int32_t count_stretches(const chosen *c, int32_t n_inputs) {
    int32_t n = 0;
    for (int32_t i = 0; i < n_inputs; i++)
        for (int32_t r = 0; r < c->n[i]; r++) n += begins(c->rows[i], r);
    return n;
}

/* The array of one input, whose rows are at..; the pass writes every element, so it is not filled.
 * Null after setting the error. */
static float *make_array(psc_session *session, const psc_capture *capture, int32_t input,
    const psc_destination_part *whole, psc_error *error) {
    char hook[NAME_BYTES], name[NAME_BYTES + 16];
    int64_t shape[3];
    const int n = psc_copies_shape(shape, session, capture->point, whole);
    name_of(hook, sizeof hook, capture);
    if (session->n_inputs > 1)
        snprintf(name, sizeof name, "%s@%d", hook, (int)session->inputs[input].sequence);
    else
        snprintf(name, sizeof name, "%s", hook);
    psc_stored_array *array =
        psc_results_add_array(session->results, -1, name, PSC_F32, n, NULL, shape, false, error);
    return array ? (float *)array->view.data : NULL;
}

/* Fills the parts of one input, one per stretch, and returns their end; null after setting the
 * error. */
static psc_destination_part *fill_parts(psc_destination_part *part, psc_session *session,
    const psc_capture *capture, int32_t input, int32_t at, const chosen *c, uint64_t *total,
    psc_error *error) {
    const int32_t *rows = c->rows[input], n = c->n[input];
    const int32_t last = at + session->inputs[input].n - 1;
    psc_destination_part whole = {.n_rows = n, .n_keys = session->rows[last].position + 1};
    const double bytes = bytes_of(session, capture->point, n, whole.n_keys);
    if (count_bytes(session, capture, bytes, total, error) != PSC_OK) return NULL;
    float *data = make_array(session, capture, input, &whole, error);
    if (!data) return NULL;
    int64_t width = whole.n_keys; /* of a row: scores and pattern have the rows within a head */
    if (!psc_point_has_keys(capture->point))
        width = (int64_t)(bytes / (double)sizeof(float)) / (n > 0 ? n : 1);
    for (int32_t r = 0; r < n; r++) {
        if (begins(rows, r)) {
            *part = whole;
            part->begin = at + rows[r];
            part->data = data + r * width;
            part++;
        }
        part[-1].end = at + rows[r] + 1;
    }
    return part;
}

static psc_status begin_one(psc_session *session, const psc_capture *capture, const chosen *c,
    uint64_t *total, psc_error *error) {
    char name[NAME_BYTES];
    psc_destinations *list = psc_copies_list(session, capture->gradient);
    name_of(name, sizeof name, capture);
    psc_status status = psc_copies_check_stop(session, capture->point, capture->layer, error);
    if (status == PSC_OK) status = psc_copies_check_metric(session, capture->gradient, name, error);
    if (status != PSC_OK) return status;
    psc_destination *to = psc_destinations_add(
        list, capture->point, capture->layer, count_stretches(c, session->n_inputs));
    if (!to) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a capture");
    psc_destination_part *part = list->parts + to->first_part;
    for (int32_t i = 0, at = 0; i < session->n_inputs; at += session->inputs[i++].n) {
        part = fill_parts(part, session, capture, i, at, c, total, error);
        if (!part) return error->status;
    }
    return PSC_OK;
}

psc_status psc_captures_begin(psc_session *session, psc_error *error) {
    uint64_t total = 0;
    psc_status status = PSC_OK;
    for (int32_t i = 0; i < session->n_captures && status == PSC_OK; i++) {
        chosen c;
        status = choose(&c, session, &session->captures[i], error);
        if (status == PSC_OK) status = begin_one(session, &session->captures[i], &c, &total, error);
        free_chosen(&c, session->n_inputs);
    }
    return status;
}
