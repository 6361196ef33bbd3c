/* Destinations: which rows of a tensor go where.
 *
 *   tensor [rows, W]     -> part [T, W]       row index i to row i - begin
 *   tensor [rows, H, K]  -> part [H, T, keys] keys past K are filled: -inf in scores, else 0 */
#include "destinations.h"

#include "arena.h"

#include <stdlib.h>
#include <string.h>

psc_status psc_destinations_clear(psc_destinations *d, int32_t n_layers, psc_error *error) {
    const size_t n = (size_t)n_layers * PSC_POINT_COUNT;
    d->n = d->n_parts = 0;
    d->n_layers = n_layers;
    if (!d->first) d->first = malloc(n * sizeof *d->first);
    if (!d->first) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for copies");
    memset(d->first, -1, n * sizeof *d->first);
    return PSC_OK;
}

void psc_destinations_free(psc_destinations *d) {
    free(d->list);
    free(d->parts);
    free(d->first);
    *d = (psc_destinations){0};
}

static int32_t *first_of(const psc_destinations *d, psc_point point, int32_t layer) {
    const int32_t at = psc_point_has_layer(point) ? layer : 0;
    return &d->first[at * PSC_POINT_COUNT + (int32_t)point];
}

psc_destination *psc_destinations_add(
    psc_destinations *d, psc_point point, int32_t layer, int32_t n_parts) {
    const size_t n = (size_t)d->n + 1, parts = (size_t)d->n_parts + (size_t)n_parts;
    if (!psc_grow((void **)&d->list, &d->room, n, sizeof *d->list)) return NULL;
    if (!psc_grow((void **)&d->parts, &d->room_parts, parts, sizeof *d->parts)) return NULL;
    int32_t *first = first_of(d, point, layer);
    psc_destination *to = &d->list[d->n];
    *to = (psc_destination){point, layer, d->n_parts, n_parts, *first};
    *first = d->n++;
    d->n_parts += n_parts;
    return to;
}

/* --- asking ---------------------------------------------------------------------------------- */

static bool takes_row(const psc_destinations *d, const psc_destination *to, int32_t index) {
    const psc_destination_part *parts = d->parts + to->first_part;
    for (int32_t i = 0; i < to->n_parts; i++)
        if (index >= parts[i].begin && index < parts[i].end) return true;
    return false;
}

bool psc_destinations_want(const psc_destinations *d, psc_point point, int32_t layer,
    const psc_row *rows, int32_t n_rows) {
    if (!d) return false;
    for (int32_t i = *first_of(d, point, layer); i >= 0; i = d->list[i].next)
        for (int32_t r = 0; r < n_rows; r++)
            if (takes_row(d, &d->list[i], rows[r].index)) return true;
    return false;
}

int32_t psc_destinations_first_row(const psc_destinations *d, int32_t begin, int32_t end) {
    for (int32_t i = 0; d && i < d->n_parts; i++) {
        const psc_destination_part *part = &d->parts[i];
        if (part->begin >= end || part->end <= begin || part->begin >= part->end) continue;
        end = part->begin > begin ? part->begin : begin;
    }
    return end;
}

bool psc_destinations_want_layer(const psc_destinations *d, int32_t layer, bool late) {
    for (int32_t i = 0; d && i < d->n; i++)
        if (d->list[i].layer == layer && (!late || psc_point_is_late(d->list[i].point)))
            return true;
    return false;
}

/* What a key past a row's own position has. */
static float beyond_of(const psc_destinations *d, psc_point point) {
    return d->gradients ? 0.0f : psc_point_beyond(point);
}

/* --- taking ---------------------------------------------------------------------------------- */

static void take_keys(const psc_destination_part *part, int64_t row, const psc_view *tensor,
    const float *from, float beyond) {
    const int64_t n = tensor->shape[2];
    const int64_t kept = n < part->n_keys ? n : part->n_keys;
    for (int64_t h = 0; h < tensor->shape[1]; h++) {
        float *to = part->data + (h * part->n_rows + row) * part->n_keys;
        memcpy(to, from + h * tensor->stride[1], (size_t)kept * sizeof *to);
        for (int64_t k = kept; k < part->n_keys; k++) to[k] = beyond;
    }
}

/* A row without keys. All heads may have the same memory. */
static void take_row(float *to, const psc_view *tensor, const float *from) {
    const bool heads = tensor->n_axes > 2 && tensor->stride[1] != tensor->shape[2];
    const int64_t n = heads ? tensor->shape[1] : 1;
    const size_t width = (size_t)(tensor->n_axes > 2 ? tensor->shape[2] : tensor->shape[1]) *
                         (size_t)(tensor->n_axes > 2 && !heads ? tensor->shape[1] : 1);
    for (int64_t h = 0; h < n; h++, to += width)
        memcpy(to, from + (heads ? h * tensor->stride[1] : 0), width * sizeof *to);
}

static void take(const psc_destinations *d, const psc_destination *to, const psc_row *rows,
    const psc_view *tensor, int64_t begin, int64_t end) {
    const psc_destination_part *part = d->parts + to->first_part, *last = part + to->n_parts;
    const bool keys = psc_point_has_keys(to->point);
    const float beyond = beyond_of(d, to->point);
    const size_t width = (size_t)(tensor->shape[1] * (tensor->n_axes > 2 ? tensor->shape[2] : 1));
    for (int64_t r = begin; r < end; r++) {
        const float *from = tensor->data + r * tensor->stride[0];
        while (part < last && rows[r].index >= part->end) part++;
        if (part == last) return;
        if (rows[r].index < part->begin) continue;
        const int64_t row = rows[r].index - part->begin;
        if (keys)
            take_keys(part, row, tensor, from, beyond);
        else
            take_row(part->data + (size_t)row * width, tensor, from);
    }
}

void psc_destinations_take(const psc_destinations *d, psc_point point, int32_t layer,
    const psc_row *rows, const psc_view *tensor, int64_t begin, int64_t end) {
    for (int32_t i = *first_of(d, point, layer); i >= 0; i = d->list[i].next)
        take(d, &d->list[i], rows, tensor, begin, end);
}

static void take_head(const psc_destinations *d, const psc_destination *to, int32_t head,
    const psc_row *rows, int32_t n_rows, const float *data, size_t ld) {
    const psc_destination_part *part = d->parts + to->first_part, *last = part + to->n_parts;
    const float beyond = beyond_of(d, to->point);
    for (int32_t r = 0; r < n_rows; r++, data += ld) {
        while (part < last && rows[r].index >= part->end) part++;
        if (part == last) return;
        if (rows[r].index < part->begin) continue;
        const int64_t row = rows[r].index - part->begin, n = (int64_t)rows[r].position + 1;
        float *out = part->data + (head * part->n_rows + row) * part->n_keys;
        memcpy(out, data, (size_t)n * sizeof *out);
        for (int64_t k = n; k < part->n_keys; k++) out[k] = beyond;
    }
}

void psc_destinations_take_head(const psc_destinations *d, psc_point point, int32_t layer,
    int32_t head, const psc_row *rows, int32_t n_rows, const float *data, size_t ld) {
    for (int32_t i = *first_of(d, point, layer); i >= 0; i = d->list[i].next)
        take_head(d, &d->list[i], head, rows, n_rows, data, ld);
}

float *psc_destinations_place(const psc_destinations *d, psc_point point, int32_t layer,
    const psc_row *rows, int32_t n_rows, size_t width) {
    const int32_t only = d ? *first_of(d, point, layer) : -1;
    if (only < 0 || d->list[only].next >= 0 || n_rows < 1) return NULL;
    const psc_destination_part *part = d->parts + d->list[only].first_part;
    const psc_destination_part *last = part + d->list[only].n_parts;
    float *place = NULL;
    for (int32_t r = 0; r < n_rows; r++) {
        while (part < last && rows[r].index >= part->end) part++;
        if (part == last || rows[r].index < part->begin) return NULL;
        float *to = part->data + (size_t)(rows[r].index - part->begin) * width;
        if (r == 0) place = to;
        if (to != place + (size_t)r * width) return NULL;
    }
    return place;
}
