/* Subscriptions by point; delivery: editors in order, then observers, each with the rows and heads
 * of its filter. A filter that selects everything gets the tensor itself, any other a gathered
 * copy. */
#include "registry.h"

#include "arena.h"
#include "shown.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct subscription {
    psc_filter filter; /* arrays owned */
    psc_event_fn callback;
    void *payload;
    psc_subscriber subscriber;
    psc_point point;
    bool editor;
} subscription;

/* Of one point, in the order of registration. */
typedef struct subscriptions {
    subscription *items;
    size_t n, capacity;
} subscriptions;

typedef struct buffer {
    void *data;
    size_t bytes;
} buffer;

struct psc_registry {
    int32_t n_layers, n_heads;
    bool parallel_residual, checks_writes, gradients;
    subscriptions points[PSC_POINT_COUNT];
    size_t editors[PSC_POINT_COUNT], observers[PSC_POINT_COUNT]; /* without edited_only */
    size_t edit_observers[PSC_POINT_COUNT];
    size_t throughs[PSC_POINT_COUNT];               /* editors of PSC_GRADIENT_THROUGH */
    buffer before, gathered, gathered_before, rows; /* grow as delivery needs, never shrink */
};

psc_status psc_registry_open(psc_registry **out, int32_t n_layers, int32_t n_heads,
    bool parallel_residual, psc_error *error) {
    *out = calloc(1, sizeof **out);
    if (!*out) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the hook registry");
    (*out)->n_layers = n_layers;
    (*out)->n_heads = n_heads;
    (*out)->parallel_residual = parallel_residual;
    return PSC_OK;
}

void psc_registry_check_writes(psc_registry *registry) {
    registry->checks_writes = true;
}

void psc_registry_set_gradients(psc_registry *registry) {
    registry->gradients = true;
}

bool psc_filter_is_of_gradients(const psc_filter *filter) {
    const size_t end = offsetof(psc_filter, gradient) + sizeof filter->gradient;
    return filter && filter->struct_size >= end && filter->gradient;
}

static bool is_through(const subscription *s) {
    return s->filter.gradient == PSC_GRADIENT_THROUGH;
}

static void count(psc_registry *registry, const subscription *s, bool up) {
    size_t *counter = is_through(s)           ? registry->throughs
                      : s->editor             ? registry->editors
                      : s->filter.edited_only ? registry->edit_observers
                                              : registry->observers;
    counter[s->point] += up ? 1 : (size_t)-1;
}

/* Whether a subscription goes. */
typedef bool (*goes_fn)(const subscription *s, const void *owner);

static bool every(const subscription *s, const void *owner) {
    (void)s, (void)owner;
    return true;
}

static bool is_of(const subscription *s, const void *owner) {
    return s->subscriber.owner == owner;
}

static bool is_transient(const subscription *s, const void *owner) {
    (void)owner;
    return s->subscriber.transient;
}

/* Drops what goes, and moves the others together, once each. */
static void drop(psc_registry *registry, goes_fn goes, const void *owner) {
    for (int32_t p = 0; p < PSC_POINT_COUNT; p++) {
        subscriptions *list = &registry->points[p];
        size_t kept = 0;
        for (size_t i = 0; i < list->n; i++) {
            subscription *s = &list->items[i];
            if (goes(s, owner)) {
                count(registry, s, false);
                free((void *)s->filter.layers);
                free((void *)s->filter.heads);
            } else if (kept++ != i) {
                list->items[kept - 1] = *s;
            }
        }
        list->n = kept;
    }
}

void psc_registry_close(psc_registry **registry) {
    if (!*registry) return;
    drop(*registry, every, NULL);
    for (int32_t p = 0; p < PSC_POINT_COUNT; p++) free((*registry)->points[p].items);
    free((*registry)->before.data);
    free((*registry)->gathered.data);
    free((*registry)->gathered_before.data);
    free((*registry)->rows.data);
    free(*registry);
    *registry = NULL;
}

/* Copies n ascending indices below limit to *out; *out is null after an error or for n = 0. */
static psc_status copy_indices(const int32_t **out, const int32_t *in, int32_t n, int32_t limit,
    const char *what, psc_error *error) {
    *out = NULL;
    if (n < 0 || (n > 0 && !in))
        return psc_fail(error, PSC_ERROR_INPUT,
            "a filter's list of %ss is null or has a negative length", what);
    if (n == 0) return PSC_OK;
    for (int32_t i = 0; i < n; i++) {
        if (in[i] < 0 || in[i] >= limit)
            return psc_fail(error, PSC_ERROR_INPUT, "%s %d is out of range: the model has %d %ss",
                what, (int)in[i], (int)limit, what);
        if (i > 0 && in[i] <= in[i - 1])
            return psc_fail(
                error, PSC_ERROR_INPUT, "a filter must list its %ss in ascending order", what);
    }
    int32_t *copy = malloc((size_t)n * sizeof *copy);
    if (!copy) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a filter");
    memcpy(copy, in, (size_t)n * sizeof *copy);
    *out = copy;
    return PSC_OK;
}

/* A checked copy of filter (nullable) for this model and point. */
static psc_status copy_filter(psc_filter *out, const psc_registry *registry, psc_point point,
    const psc_filter *filter, psc_error *error) {
    *out = (psc_filter)PSC_FILTER_INIT;
    if (!filter) return PSC_OK;
    if (filter->struct_size < PSC_FILTER_BYTES)
        return psc_fail(error, PSC_ERROR_INPUT,
            "a filter's struct_size is %u, less than %u; begin with PSC_FILTER_INIT",
            (unsigned)filter->struct_size, (unsigned)PSC_FILTER_BYTES);
    size_t size = filter->struct_size < sizeof *out ? filter->struct_size : sizeof *out;
    memcpy(out, filter, size);
    const int32_t *layers = out->layers, *heads = out->heads;
    out->layers = out->heads = NULL;
    if (out->rows < PSC_ROWS_ALL || out->rows > PSC_ROWS_RANGE)
        return psc_fail(error, PSC_ERROR_INPUT, "a filter has unknown rows mode %d", out->rows);
    if (out->n_layers && !psc_point_has_layer(point))
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s belongs to no layer, so a filter cannot select layers", psc_point_suffix(point));
    if (out->n_heads && !psc_point_has_heads(point))
        return psc_fail(error, PSC_ERROR_INPUT, "%s has no heads, so a filter cannot select heads",
            psc_point_suffix(point));
    psc_status status =
        copy_indices(&out->layers, layers, out->n_layers, registry->n_layers, "layer", error);
    if (status == PSC_OK)
        status = copy_indices(&out->heads, heads, out->n_heads, registry->n_heads, "head", error);
    if (status != PSC_OK) free((void *)out->layers);
    return status;
}

psc_status psc_registry_add(psc_registry *registry, psc_point point, bool editor,
    const psc_filter *filter, psc_event_fn callback, void *payload,
    const psc_subscriber *subscriber, psc_error *error) {
    if ((int)point < 0 || point >= PSC_POINT_COUNT || !callback)
        return psc_fail(error, PSC_ERROR_INPUT, "unknown hook point number %d", (int)point);
    if (point == PSC_HOOK_RESID_MID && registry->parallel_residual)
        return psc_fail(
            error, PSC_ERROR_INPUT, "a model with parallel residual has no hook_resid_mid");
    subscriptions *list = &registry->points[point];
    if (!psc_grow((void **)&list->items, &list->capacity, list->n + 1, sizeof *list->items))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a hook");
    subscription *s = &list->items[list->n];
    psc_status status = copy_filter(&s->filter, registry, point, filter, error);
    if (status != PSC_OK) return status;
    if (is_through(s) && !editor) {
        free((void *)s->filter.layers);
        free((void *)s->filter.heads);
        return psc_fail(error, PSC_ERROR_INPUT,
            "an observer's filter has gradient PSC_GRADIENT_THROUGH, which is of editors; use "
            "PSC_GRADIENT_SHOWN");
    }
    s->callback = callback;
    s->payload = payload;
    s->subscriber = *subscriber;
    s->point = point;
    s->editor = editor;
    list->n++;
    count(registry, s, true);
    return PSC_OK;
}

void psc_registry_remove(psc_registry *registry, const void *owner) {
    drop(registry, is_of, owner);
}

void psc_registry_end_run(psc_registry *registry) {
    drop(registry, is_transient, NULL);
}

bool psc_registry_any(const psc_registry *registry) {
    for (int32_t p = 0; p < PSC_POINT_COUNT; p++)
        if (registry->points[p].n > 0) return true;
    return false;
}

bool psc_filter_has_row(const psc_filter *filter, const psc_row *row) {
    if (filter->rows == PSC_ROWS_LAST) return row->next < 0;
    if (filter->rows == PSC_ROWS_RANGE)
        return row->position >= filter->row_begin && row->position < filter->row_end;
    return true;
}

static bool has_layer(const psc_filter *filter, int32_t layer) {
    for (int32_t i = 0; i < filter->n_layers; i++)
        if (filter->layers[i] == layer) return true;
    return filter->n_layers == 0;
}

static bool is_muted(const subscription *s) {
    return s->subscriber.muted && *s->subscriber.muted;
}

static bool wants(const subscription *s, int32_t layer, const psc_row *rows, int32_t n_rows) {
    if (!has_layer(&s->filter, layer) || is_muted(s)) return false;
    if (s->filter.rows == PSC_ROWS_ALL) return n_rows > 0;
    for (int32_t i = 0; i < n_rows; i++)
        if (psc_filter_has_row(&s->filter, &rows[i])) return true;
    return false;
}

bool psc_registry_wants(const psc_registry *registry, psc_point point, int32_t layer,
    const psc_row *rows, int32_t n_rows) {
    const subscriptions *list = &registry->points[point];
    if (registry->observers[point] + registry->editors[point] == 0) return false;
    for (size_t i = 0; i < list->n; i++) {
        const subscription *s = &list->items[i];
        if (s->subscriber.passive || (!s->editor && s->filter.edited_only) || is_through(s))
            continue;
        if (wants(s, layer, rows, n_rows)) return true;
    }
    return false;
}

int32_t psc_registry_first_row(
    const psc_registry *registry, const psc_row *rows, int32_t n_rows, bool only_edits) {
    for (int32_t p = 0; p < PSC_POINT_COUNT; p++)
        for (size_t i = 0; i < registry->points[p].n; i++) {
            const subscription *s = &registry->points[p].items[i];
            if (is_muted(s) || (only_edits && !s->editor) || s->subscriber.passive ||
                (!s->editor && s->filter.edited_only))
                continue;
            int32_t r = 0;
            while (r < n_rows && !psc_filter_has_row(&s->filter, &rows[r])) r++;
            n_rows = r;
        }
    return n_rows;
}

bool psc_registry_wants_layer(const psc_registry *registry, int32_t layer, bool late) {
    for (int32_t p = 0; p < PSC_POINT_COUNT; p++) {
        const subscriptions *list = &registry->points[p];
        if (!psc_point_has_layer((psc_point)p) || (late && !psc_point_is_late((psc_point)p)))
            continue;
        for (size_t i = 0; i < list->n; i++)
            if (has_layer(&list->items[i].filter, layer) && !is_muted(&list->items[i]) &&
                !is_through(&list->items[i]))
                return true;
    }
    return false;
}

psc_status psc_registry_check_shared(const psc_registry *registry, psc_error *error) {
    for (int32_t p = 0; p < PSC_POINT_COUNT; p++)
        for (size_t i = 0; i < registry->points[p].n; i++) {
            const subscription *s = &registry->points[p].items[i];
            if (!s->subscriber.transient) continue;
            if (!s->editor)
                return psc_fail(error, PSC_ERROR_STATE,
                    "%s observes rows, but a session that scores takes plugins that edit; open "
                    "another session for it",
                    s->subscriber.name);
            if (s->filter.rows == PSC_ROWS_LAST)
                return psc_fail(error, PSC_ERROR_STATE,
                    "%s edits last rows only, but continuations share rows; leave out rows=last, or "
                    "give positions, as rows=2-5",
                    s->subscriber.name);
        }
    return PSC_OK;
}

bool psc_registry_any_editor(const psc_registry *registry) {
    for (int32_t p = 0; p < PSC_POINT_COUNT; p++)
        if (registry->editors[p] > 0) return true;
    return false;
}

bool psc_registry_edits(const psc_registry *registry, psc_point point, int32_t layer,
    const psc_row *rows, int32_t n_rows) {
    const subscriptions *list = &registry->points[point];
    if (registry->editors[point] == 0) return false;
    for (size_t i = 0; i < list->n; i++) {
        const subscription *s = &list->items[i];
        if (s->editor && !is_through(s) && wants(s, layer, rows, n_rows)) return true;
    }
    return false;
}

bool psc_registry_goes_through(const psc_registry *registry, psc_point point, int32_t layer,
    const psc_row *rows, int32_t n_rows) {
    const subscriptions *list = &registry->points[point];
    if (registry->throughs[point] == 0) return false;
    for (size_t i = 0; i < list->n; i++)
        if (is_through(&list->items[i]) && wants(&list->items[i], layer, rows, n_rows)) return true;
    return false;
}

/* --- delivery -------------------------------------------------------------------------------- */

static void *reserve(buffer *b, size_t bytes) {
    if (b->bytes < bytes) {
        void *data = realloc(b->data, bytes);
        if (!data) return NULL;
        b->data = data;
        b->bytes = bytes;
    }
    return b->data;
}

static size_t elements(const psc_view *view) {
    size_t n = 1;
    for (int32_t i = 0; i < view->n_axes; i++) n *= (size_t)view->shape[i];
    return n;
}

/* The same shape over dense memory. */
static psc_view dense(const psc_view *like, float *data) {
    psc_view view = *like;
    view.data = data;
    int64_t stride = 1;
    for (int32_t i = view.n_axes - 1; i >= 0; i--) {
        view.stride[i] = stride;
        stride *= view.shape[i];
    }
    return view;
}

/* The part of a tensor that a subscription gets: rows (indices into the chunk) and heads. */
typedef struct selection {
    const int32_t *rows; /* null: all */
    const int32_t *heads;
} selection;

/* Copies between the whole tensor and a dense part of it; in: from the part to the whole. */
static void copy_part(
    const psc_view *whole, const psc_view *part, const selection *chosen, bool in) {
    int64_t n1 = part->n_axes > 1 ? part->shape[1] : 1;
    int64_t n2 = part->n_axes > 2 ? part->shape[2] : 1;
    /* With two axes the second is contiguous and is copied whole. */
    bool flat = part->n_axes <= 2;
    for (int64_t r = 0; r < part->shape[0]; r++) {
        float *row = whole->data + (chosen->rows ? chosen->rows[r] : r) * whole->stride[0];
        float *dense_row = part->data + r * part->stride[0];
        for (int64_t h = 0; h < (flat ? 1 : n1); h++) {
            float *a = row + (flat ? 0 : (chosen->heads ? chosen->heads[h] : h) * whole->stride[1]);
            float *b = dense_row + (flat ? 0 : h * part->stride[1]);
            size_t bytes = (size_t)(flat ? n1 : n2) * sizeof *a;
            memcpy(in ? a : b, in ? b : a, bytes);
        }
    }
}

typedef struct delivery {
    psc_registry *registry;
    const psc_row *rows;
    int32_t n_rows, layer;
    const psc_view *tensor;
    psc_view before; /* data null: unchanged */
    psc_error *error;
} delivery;

/* Who, where: "plugin NAME ... at blocks.3.attn.hook_z". */
static psc_status blame(
    const subscription *s, const psc_event *event, const char *what, psc_error *error) {
    char name[64];
    const char *end = event->gradient ? PSC_GRADIENT_SUFFIX : "";
    psc_point_name(name, sizeof name, s->point, event->layer);
    if (s->subscriber.name)
        return psc_fail(
            error, PSC_ERROR_PLUGIN, "plugin %s %s at %s%s", s->subscriber.name, what, name, end);
    return psc_fail(error, PSC_ERROR_PLUGIN, "a hook %s at %s%s", what, name, end);
}

static int call_guarded(const subscription *s, const psc_event *event) {
    const psc_call_guard *guard = s->subscriber.guard;
    if (guard) guard->enter(s->subscriber.guarded);
    const int returned = s->callback(event, s->payload);
    if (guard) guard->leave(s->subscriber.guarded);
    return returned;
}

static psc_status call(const delivery *d, const subscription *s, psc_event *event) {
    psc_error ignored, *error = d->error ? d->error : &ignored;
    const bool checks = d->registry->checks_writes;
    psc_event shown;
    memcpy(&shown, event, sizeof shown);
    const uint64_t hash = checks ? psc_shown_hash(&shown, !s->editor) : 0;
    error->status = PSC_OK;
    const int returned = call_guarded(s, event);
    // NOLINTNEXTLINE(bugprone-*,cert-exp42-c,cert-flp37-c): memcpy copied the padding, too
    const bool changed = memcmp(event, &shown, sizeof shown) != 0;
    if (checks && (changed || psc_shown_hash(&shown, !s->editor) != hash))
        return blame(s, &shown,
            s->editor ? "wrote to more than the tensor that it edits"
                      : "wrote to what it only observes (an editor may, by host->edit)",
            error);
    if (error->status != PSC_OK) return error->status; /* whatever the callback returned */
    return returned == 0 ? PSC_OK : blame(s, &shown, "stopped the run", error);
}

/* The rows that the filter selects: *n of them, their psc_rows and indices in a registry buffer. */
static psc_status choose_rows(const delivery *d, const subscription *s, const psc_row **rows,
    const int32_t **indices, int32_t *n) {
    psc_row *copy =
        reserve(&d->registry->rows, (size_t)d->n_rows * (sizeof *copy + sizeof **indices));
    if (!copy) return psc_fail(d->error, PSC_ERROR_MEMORY, "not enough memory to deliver an event");
    int32_t *index = (int32_t *)(copy + d->n_rows);
    *n = 0;
    for (int32_t i = 0; i < d->n_rows; i++) {
        if (!psc_filter_has_row(&s->filter, &d->rows[i])) continue;
        copy[*n] = d->rows[i];
        index[(*n)++] = i;
    }
    *rows = copy;
    *indices = index;
    return PSC_OK;
}

/* Calls s with the part of the tensor that its filter selects. */
static psc_status deliver_part(const delivery *d, const subscription *s, psc_event *event) {
    selection chosen = {NULL, NULL};
    psc_status status = choose_rows(d, s, &event->rows, &chosen.rows, &event->n_rows);
    if (status != PSC_OK) return status;
    psc_view shape = *d->tensor;
    shape.shape[0] = event->n_rows;
    if (s->filter.n_heads) {
        chosen.heads = event->heads = s->filter.heads;
        shape.shape[1] = event->n_heads = s->filter.n_heads;
    }
    size_t bytes = elements(&shape) * sizeof(float);
    float *part = reserve(&d->registry->gathered, bytes);
    bool shows_before = d->before.data && !s->editor;
    float *old = shows_before ? reserve(&d->registry->gathered_before, bytes) : NULL;
    if (!part || (shows_before && !old))
        return psc_fail(d->error, PSC_ERROR_MEMORY, "not enough memory to deliver an event");
    event->tensor = dense(&shape, part);
    copy_part(d->tensor, &event->tensor, &chosen, false);
    if (old) {
        event->before = dense(&shape, old);
        copy_part(&d->before, &event->before, &chosen, false);
    }
    status = call(d, s, event);
    if (status == PSC_OK && s->editor) copy_part(d->tensor, &event->tensor, &chosen, true);
    return status;
}

static psc_status deliver_to(const delivery *d, const subscription *s) {
    psc_event event = {.struct_size = sizeof event,
        .point = s->point,
        .layer = d->layer,
        .n_rows = d->n_rows,
        .rows = d->rows,
        .tensor = *d->tensor,
        .before = s->editor ? (psc_view){0} : d->before,
        .gradient = !d->registry->gradients ? 0
                    : is_through(s)         ? PSC_GRADIENT_THROUGH
                                            : PSC_GRADIENT_SHOWN};
    if (s->filter.rows == PSC_ROWS_ALL && s->filter.n_heads == 0) return call(d, s, &event);
    return deliver_part(d, s, &event);
}

psc_status psc_registry_deliver(psc_registry *registry, psc_point point, int32_t layer,
    const psc_row *rows, int32_t n_rows, const psc_view *tensor, psc_error *error) {
    delivery d = {registry, rows, n_rows, layer, tensor, {0}, error};
    bool edited = psc_registry_edits(registry, point, layer, rows, n_rows);
    if (edited && registry->observers[point] + registry->edit_observers[point] > 0) {
        float *copy = reserve(&registry->before, elements(tensor) * sizeof *copy);
        if (!copy)
            return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to deliver an event");
        d.before = dense(tensor, copy);
        copy_part(tensor, &d.before, &(selection){NULL, NULL}, false);
    }
    const subscriptions *list = &registry->points[point];
    psc_view before = d.before;
    for (int editors = 1; editors >= 0; editors--) {
        for (size_t i = 0; i < list->n; i++) {
            const subscription *s = &list->items[i];
            if (s->editor != (bool)editors || is_through(s)) continue;
            if (!wants(s, layer, rows, n_rows)) continue;
            if (!s->editor && s->filter.edited_only && !edited) continue;
            d.before = before;
            psc_status status = deliver_to(&d, s);
            if (status != PSC_OK) return status;
        }
    }
    return PSC_OK;
}

psc_status psc_registry_go_through(psc_registry *registry, psc_point point, int32_t layer,
    const psc_row *rows, int32_t n_rows, const psc_view *tensor, psc_error *error) {
    const delivery d = {registry, rows, n_rows, layer, tensor, {0}, error};
    const subscriptions *list = &registry->points[point];
    psc_status status = PSC_OK;
    for (size_t i = registry->throughs[point] ? list->n : 0; i-- > 0 && status == PSC_OK;)
        if (is_through(&list->items[i]) && wants(&list->items[i], layer, rows, n_rows))
            status = deliver_to(&d, &list->items[i]);
    return status;
}
