/* Sparse dictionaries of a plugin (runtime/dictionary/): the host opens and closes them, and runs
 * their products on the session's team. */
#include "coder.h"
#include "host.h"

#include <stdlib.h>
#include <string.h>

/* The bytes of a psc_dictionary that every host has. */
#define INFO_BYTES (offsetof(psc_dictionary, out_name) + sizeof(const char *))

struct psc_dictionaries {
    psc_coder **items; /* [n] */
    size_t n, capacity;
};

void psc_host_close_dictionaries(psc_context *context) {
    struct psc_dictionaries *all = context->dictionaries;
    for (size_t i = 0; all && i < all->n; i++) psc_coder_close(&all->items[i]);
    if (all) free(all->items);
    free(all);
    context->dictionaries = NULL;
}

static psc_status add(psc_context *context, psc_coder *coder, psc_error *error) {
    struct psc_dictionaries *all = context->dictionaries;
    if (!all) context->dictionaries = all = calloc(1, sizeof *all);
    if (!all || !psc_grow((void **)&all->items, &all->capacity, all->n + 1, sizeof *all->items))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a dictionary");
    all->items[all->n++] = coder;
    return PSC_OK;
}

int psc_host_dictionary_open(
    psc_context *context, const char *path, const char *point, psc_dictionary *out) {
    static const char call[] = "dictionary_open";
    psc_error error = {PSC_OK, ""};
    psc_coder *coder = NULL;
    if (!psc_host_may(&context, call, PSC_IN_OPEN)) return -1;
    if (!psc_host_given(context, call, "a path", path) ||
        !psc_host_given(context, call, "out", out) ||
        !psc_host_size(context, call, "psc_dictionary", out->struct_size, INFO_BYTES))
        return -1;
    const psc_session *session = context->session;
    psc_status status =
        psc_coder_open(&coder, path, point, session->model, session->kernels, &error);
    if (!status) status = add(context, coder, &error);
    if (status) {
        psc_coder_close(&coder);
        psc_host_pass(context, &error);
        return -1;
    }
    if (session->options.accumulate) {
        const uint64_t contents = psc_coder_contents(coder);
        psc_host_note_contents(context, &contents, sizeof contents);
    }
    const uint32_t size = out->struct_size;
    memcpy(out, &coder->info, size < sizeof *out ? size : sizeof *out);
    out->struct_size = size;
    return (int)context->dictionaries->n - 1;
}

/* The dictionary, if a call is allowed; *given may be null, as the plugin gave it. */
static psc_coder *coder_of(psc_context **given, const char *call, int32_t where, int handle) {
    if (!psc_host_may(given, call, where)) return NULL;
    const struct psc_dictionaries *all = (*given)->dictionaries;
    if (all && handle >= 0 && (size_t)handle < all->n) return all->items[handle];
    psc_host_fail(*given, PSC_ERROR_INPUT, "%s: there is no dictionary %d", call, handle);
    return NULL;
}

/* The team, unless a callback left a call of the host by a jump. */
static psc_team *team_of(const psc_context *context) {
    return context->session->broken ? NULL : context->session->team;
}

static bool rows_given(psc_context *context, const char *call, const psc_coder *coder,
    const float *x, int64_t stride, int64_t n_rows) {
    if (!psc_host_list(context, call, "the rows of x", n_rows, sizeof *x, x)) return false;
    if (stride >= coder->config.d_in || n_rows <= 1) return true;
    psc_host_fail(context, PSC_ERROR_INPUT, "%s: rows of %d numbers cannot be %lld apart", call,
        (int)coder->config.d_in, (long long)stride);
    return false;
}

typedef struct receiver {
    psc_context *context;
    psc_latents_fn fn;
    void *payload;
} receiver;

static int receive(const psc_latents *latents, void *payload) {
    const receiver *r = payload;
    const int returned = r->fn(latents, r->payload);
    return returned ? returned : psc_host_stopped(r->context);
}

int psc_host_dictionary_encode(psc_context *context, int handle, const float *x, int64_t stride,
    int64_t n_rows, psc_latents_fn fn, void *payload) {
    static const char call[] = "dictionary_encode";
    psc_error error = {PSC_OK, ""};
    int stopped = 0;
    psc_coder *coder = coder_of(&context, call, PSC_IN_ANY, handle);
    if (!coder) return PSC_ERROR_INPUT;
    if (!rows_given(context, call, coder, x, stride, n_rows) ||
        !psc_host_given(context, call, "a function", (const void *)(uintptr_t)fn))
        return PSC_ERROR_PLUGIN;
    if (coder->busy)
        return psc_host_fail(
            context, PSC_ERROR_STATE, "%s was called inside its own function", call);
    if (psc_host_stopped(context)) return PSC_ERROR_CANCELLED;
    receiver r = {context, fn, payload};
    context->turn.inside++; /* fn may leave by a jump */
    coder->busy = true;
    psc_status status = psc_coder_encode(
        coder, team_of(context), x, (size_t)stride, n_rows, receive, &r, &stopped, &error);
    coder->busy = false;
    context->turn.inside--;
    return status ? psc_host_pass(context, &error) : stopped;
}

/* Whether latents are those of a dictionary's rows. */
static bool latents_given(
    psc_context *context, const char *call, const psc_coder *coder, const psc_latents *l) {
    if (!psc_host_given(context, call, "latents", l) ||
        !psc_host_size(context, call, "psc_latents", l->struct_size, sizeof *l) ||
        !psc_host_list(context, call, "the rows", l->n_rows, sizeof *l->begin, l->begin) ||
        !psc_host_list(context, call, "gain", l->n_rows, sizeof *l->gain, l->gain) ||
        !psc_host_list(context, call, "shift", l->n_rows, sizeof *l->shift, l->shift))
        return false;
    const char *fault = l->first < 0 ? "first" : l->n_rows && l->begin[0] < 0 ? "begin" : NULL;
    for (int32_t r = 0; !fault && r < l->n_rows; r++)
        if (l->begin[r + 1] < l->begin[r]) fault = "begin";
    const int64_t first = l->n_rows ? l->begin[0] : 0, end = l->n_rows ? l->begin[l->n_rows] : 0;
    if (!fault && end > first && (!l->ids || !l->values)) fault = "ids";
    for (int64_t e = first; !fault && e < end; e++)
        if (l->ids[e] < 0 || l->ids[e] >= coder->config.n_latents) fault = "ids";
    if (!fault) return true;
    psc_host_fail(context, PSC_ERROR_INPUT, "%s: %s of the latents is out of range", call, fault);
    return false;
}

int psc_host_dictionary_decode(psc_context *context, int handle, const psc_latents *latents,
    const float *x, int64_t stride, float *y) {
    static const char call[] = "dictionary_decode";
    psc_error error = {PSC_OK, ""};
    psc_coder *coder = coder_of(&context, call, PSC_IN_ANY, handle);
    if (!coder) return PSC_ERROR_INPUT;
    if (!latents_given(context, call, coder, latents) ||
        !psc_host_list(context, call, "the rows of y", latents->n_rows, sizeof *y, y) ||
        (coder->skip.panels && !rows_given(context, call, coder, x, stride, latents->n_rows)))
        return PSC_ERROR_PLUGIN;
    if (psc_host_stopped(context)) return PSC_ERROR_CANCELLED;
    psc_status status =
        psc_coder_decode(coder, team_of(context), latents, x, (size_t)stride, y, &error);
    return status ? psc_host_pass(context, &error) : 0;
}

int psc_host_dictionary_vectors(
    psc_context *context, int handle, int side, int64_t n, const int32_t *ids, float *out) {
    static const char call[] = "dictionary_vectors";
    const psc_coder *coder = coder_of(&context, call, PSC_IN_ANY | PSC_IN_PART, handle);
    if (!coder) return PSC_ERROR_INPUT;
    if (!psc_host_list(context, call, "ids", n, sizeof *ids, ids) ||
        !psc_host_list(context, call, "out", n, sizeof *out, out))
        return PSC_ERROR_PLUGIN;
    if (side != PSC_DICTIONARY_ENCODER && side != PSC_DICTIONARY_DECODER)
        return psc_host_fail(context, PSC_ERROR_INPUT,
            "%s: side must be PSC_DICTIONARY_ENCODER or PSC_DICTIONARY_DECODER", call);
    const int64_t width = side == PSC_DICTIONARY_ENCODER ? coder->config.d_in : coder->config.d_out;
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= coder->config.n_latents)
            return psc_host_fail(context, PSC_ERROR_INPUT,
                "%s: latent %d does not exist; latents are 0 to %d", call, (int)ids[i],
                (int)coder->config.n_latents - 1);
        psc_coder_vector(coder, side, ids[i], out + i * width);
    }
    return 0;
}

int psc_host_dictionary_skip(
    psc_context *context, int handle, int pullback, float *y, const float *x, int64_t n_rows) {
    static const char call[] = "dictionary_skip";
    const psc_coder *coder = coder_of(&context, call, PSC_IN_ANY, handle);
    if (!coder) return PSC_ERROR_INPUT;
    if (!psc_host_list(context, call, "the rows of y", n_rows, sizeof *y, y) ||
        !psc_host_list(context, call, "the rows of x", n_rows, sizeof *x, x))
        return PSC_ERROR_PLUGIN;
    if (n_rows > 0) psc_coder_skip(coder, pullback != 0, y, x, n_rows);
    return 0;
}
