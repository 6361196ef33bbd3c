/* Retained tensors, for a plugin that needs rows of several chunks at once. An observer appends
 * each chunk's rows to one block per layer:
 *
 *   rows [n_rows]; data [n_rows, axes of the point]; scores and pattern [n_rows, heads, keys] with
 *   keys = the longest row's, shorter ones padded with -inf (scores) and 0 (pattern).
 *
 * The size is known when the plugin calls retain, so a request beyond the cap fails there. */
#include "host.h"

#include <stdlib.h>
#include <string.h>

/* One layer's part. */
typedef struct kept {
    psc_row *rows; /* [capacity] */
    float *data;   /* [capacity, axis1, axis2] */
    int32_t n_rows;
} kept;

struct psc_retained {
    psc_point point;
    int32_t gradient; /* as in psc_filter */
    int32_t *heads;   /* the chosen heads; null: all */
    int32_t n_heads;
    int32_t n_axes; /* 2 or 3, rows among them */
    int64_t axis1, axis2;
    int32_t n_layers, *layers; /* the layers kept; layers[0] = -1 where there is none */
    kept *parts;               /* [n_layers] */
    int32_t capacity;          /* rows that the filter selects */
    uint64_t bytes;            /* counted against the cap */
};

/* --- shapes ---------------------------------------------------------------------------------- */

static int64_t extent(const psc_retained *r, const psc_model_info *info, char axis, int64_t keys) {
    return axis == 'H' && r->n_heads ? r->n_heads : psc_axis_extent(axis, info, keys);
}

/* The number of selected rows, the keys of the longest of them, and the axes. */
static void find_shape(psc_retained *r, const psc_session *session, const psc_filter *filter) {
    int64_t keys = 0;
    for (int32_t i = 0; i < session->n_rows; i++) {
        const psc_row *row = &session->rows[i];
        if (!psc_filter_has_row(filter, row)) continue;
        r->capacity++;
        if ((int64_t)row->position + 1 > keys) keys = (int64_t)row->position + 1;
    }
    const char *shape = psc_point_shape(r->point);
    const psc_model_info *info = &session->model->info;
    r->n_axes = shape[1] ? 3 : 2;
    r->axis1 = extent(r, info, shape[0], keys);
    r->axis2 = shape[1] ? extent(r, info, shape[1], keys) : 1;
}

/* Sets *bytes, of all layers; false if they exceed the rest of the cap. */
static bool fits(psc_retained *r, const psc_context *context, double *bytes) {
    double row = (double)r->axis1 * (double)r->axis2 * sizeof(float) + sizeof(psc_row);
    *bytes = (double)r->n_layers * (double)r->capacity * row;
    if (*bytes > psc_host_room(context)) return false;
    r->bytes = (uint64_t)*bytes;
    return true;
}

/* --- taking ---------------------------------------------------------------------------------- */

static kept *part_of(const psc_retained *r, int32_t layer) {
    for (int32_t i = 0; i < r->n_layers; i++)
        if (r->layers[i] == layer) return &r->parts[i];
    return NULL;
}

/* Copies n of the n_out floats from source and fills the others. */
static void copy_axis(
    float *out, int64_t n_out, const float *source, int64_t n, int64_t stride, float fill) {
    if (n > n_out) n = n_out;
    if (stride == 1)
        memcpy(out, source, (size_t)n * sizeof *out);
    else
        for (int64_t i = 0; i < n; i++) out[i] = source[i * stride];
    for (int64_t i = n; i < n_out; i++) out[i] = fill;
}

static int on_event(const psc_event *event, void *payload) {
    const psc_retained *r = payload;
    kept *part = part_of(r, event->layer);
    const psc_view *t = &event->tensor;
    float fill = r->gradient ? 0.0f : psc_point_beyond(r->point);
    for (int32_t i = 0; part && i < event->n_rows && part->n_rows < r->capacity; i++) {
        int64_t row = part->n_rows++;
        part->rows[row] = event->rows[i];
        float *out = part->data + row * r->axis1 * r->axis2;
        const float *from = t->data + i * t->stride[0];
        if (r->n_axes == 2) copy_axis(out, r->axis1, from, t->shape[1], t->stride[1], fill);
        for (int64_t h = 0; r->n_axes == 3 && h < r->axis1; h++)
            copy_axis(out + h * r->axis2, r->axis2, from + h * t->stride[1], t->shape[2],
                t->stride[2], fill);
    }
    return 0;
}

/* --- retain and fetch ------------------------------------------------------------------------ */

/* Frees the contents. The empty item ignores events: it has no layers. */
static void free_one(psc_retained *r) {
    for (int32_t i = 0; r->parts && i < r->n_layers; i++) {
        free(r->parts[i].rows);
        psc_aligned_free(r->parts[i].data);
    }
    free(r->parts);
    free(r->layers);
    free(r->heads);
    memset(r, 0, sizeof *r);
}

static bool copy_choice(psc_retained *r, const psc_session *session, const psc_filter *filter) {
    bool layered = psc_point_has_layer(r->point);
    bool chosen = layered && filter->n_layers > 0;
    r->n_layers = chosen ? filter->n_layers : layered ? session->model->info.n_layers : 1;
    r->n_heads = psc_point_has_heads(r->point) ? filter->n_heads : 0;
    r->layers = malloc((size_t)r->n_layers * sizeof *r->layers);
    r->parts = calloc((size_t)r->n_layers, sizeof *r->parts);
    if (r->n_heads > 0) r->heads = malloc((size_t)r->n_heads * sizeof *r->heads);
    if (!r->layers || !r->parts || (r->n_heads > 0 && !r->heads)) return false;
    for (int32_t i = 0; i < r->n_layers; i++)
        r->layers[i] = chosen ? filter->layers[i] : layered ? i : -1;
    for (int32_t i = 0; i < r->n_heads; i++) r->heads[i] = filter->heads[i];
    return true;
}

static bool allocate(psc_retained *r) {
    size_t rows = r->capacity ? (size_t)r->capacity : 1;
    for (int32_t i = 0; i < r->n_layers; i++) {
        r->parts[i].rows = malloc(rows * sizeof *r->parts[i].rows);
        r->parts[i].data =
            psc_aligned_alloc((uint64_t)rows * (uint64_t)(r->axis1 * r->axis2) * sizeof(float));
        if (!r->parts[i].rows || !r->parts[i].data) return false;
    }
    return true;
}

static psc_status too_large(psc_context *context, const psc_retained *r, double bytes) {
    char name[64];
    psc_point_name(name, sizeof name, r->point, r->n_layers == 1 ? r->layers[0] : -1);
    return psc_host_fail(context, PSC_ERROR_MEMORY,
        "retaining %s of %d row(s) and %d layer(s) needs %.0f bytes; %llu are already retained and "
        "the cap (retained_cap, --retain) is %llu; run fewer tokens or raise it",
        name, (int)r->capacity, (int)r->n_layers, bytes,
        (unsigned long long)context->session->retained_bytes,
        (unsigned long long)context->session->options.retained_cap);
}

/* Adds an item to the context's retained tensors. Pointers to items are the observers' payloads, so
 * each item is allocated separately. */
static psc_retained **add_slot(psc_context *context) {
    if (context->n_retained == INT32_MAX ||
        !psc_grow((void **)&context->retained, &context->retained_room,
            (size_t)context->n_retained + 1, sizeof *context->retained))
        return NULL;
    psc_retained *item = calloc(1, sizeof *item);
    if (!item) return NULL;
    context->retained[context->n_retained++] = item;
    return &context->retained[context->n_retained - 1];
}

/* A filter of this header's size from one that may be shorter, or from null. */
static psc_filter whole_filter(const psc_filter *filter) {
    psc_filter out = PSC_FILTER_INIT;
    if (filter)
        memcpy(&out, filter, filter->struct_size < sizeof out ? filter->struct_size : sizeof out);
    return out;
}

bool psc_host_filter(psc_context *context, const char *call, const psc_filter *filter) {
    return !filter ||
           psc_host_size(context, call, "the filter", filter->struct_size, PSC_FILTER_BYTES);
}

int psc_host_retain(psc_context *context, psc_point point, const psc_filter *filter) {
    if (!psc_host_may(&context, "retain", PSC_IN_RUN_BEGIN)) return -1;
    if (!psc_host_filter(context, "retain", filter)) return -1;
    psc_session *session = context->session;
    if ((int)point < 0 || point >= PSC_POINT_COUNT) {
        psc_host_fail(context, PSC_ERROR_INPUT, "retain: hook point %d does not exist", (int)point);
        return -1;
    }
    psc_retained **slot = add_slot(context);
    if (!slot) {
        psc_host_fail(context, PSC_ERROR_MEMORY, "not enough memory to retain a tensor");
        return -1;
    }
    psc_retained *r = *slot;
    psc_filter all = whole_filter(filter);
    r->point = point;
    r->gradient = psc_filter_is_of_gradients(&all);
    /* The registry checks the filter before this function reads its lists. */
    psc_subscriber subscriber = {.name = context->name, .owner = context, .transient = true};
    psc_error error = {PSC_OK, ""};
    psc_status status = psc_registry_add(
        psc_session_registry(session, &all), point, false, &all, on_event, r, &subscriber, &error);
    if (status != PSC_OK) {
        psc_host_pass(context, &error);
        return -1;
    }
    double bytes = 0;
    bool copied = copy_choice(r, session, &all);
    if (copied) find_shape(r, session, &all);
    if (copied && !fits(r, context, &bytes)) {
        too_large(context, r, bytes);
        free_one(r);
        return -1;
    }
    if (!copied || !allocate(r)) {
        psc_host_fail(context, PSC_ERROR_MEMORY, "not enough memory to retain %.0f bytes", bytes);
        free_one(r);
        return -1;
    }
    session->retained_bytes += r->bytes;
    return context->n_retained - 1;
}

int psc_host_fetch(psc_context *context, int handle, int32_t layer, psc_event *out) {
    if (!psc_host_may(&context, "fetch", PSC_IN_RUN)) return PSC_ERROR_STATE;
    if (!psc_host_given(context, "fetch", "out", out)) return PSC_ERROR_PLUGIN;
    if (psc_host_stopped(context)) return PSC_ERROR_CANCELLED;
    if (handle < 0 || handle >= context->n_retained)
        return psc_host_fail(
            context, PSC_ERROR_INPUT, "fetch: %d is not a handle of retain", handle);
    const psc_retained *r = context->retained[handle];
    const kept *part = part_of(r, layer);
    if (!part || !part->data)
        return psc_host_fail(context, PSC_ERROR_INPUT, "fetch: layer %d of %s was not retained",
            (int)layer, psc_point_suffix(r->point));
    *out = (psc_event){.struct_size = sizeof *out,
        .point = r->point,
        .layer = layer,
        .n_rows = part->n_rows,
        .rows = part->rows,
        .tensor = {.data = part->data,
            .n_axes = r->n_axes,
            .shape = {part->n_rows, r->axis1, r->n_axes == 3 ? r->axis2 : 0},
            .stride = {r->axis1 * r->axis2, r->n_axes == 3 ? r->axis2 : 1, r->n_axes == 3}},
        .heads = r->heads,
        .n_heads = r->n_heads,
        .gradient = r->gradient};
    return 0;
}

void psc_host_drop_retained(psc_context *context) {
    for (int32_t i = 0; i < context->n_retained; i++) {
        psc_retained *r = context->retained[i];
        context->session->retained_bytes -= r->bytes;
        free_one(r);
        free(r);
    }
    free(context->retained);
    context->retained = NULL;
    context->n_retained = 0;
    context->retained_room = 0;
}
