/* One tensor of a safetensors file for a plugin, as f32. The host checks the whole header first and
 * closes the file after copying the numbers. */
#include "host.h"
#include "safetensors.h"
#include "tensor_floats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { LISTED_NAMES = 4 };

/* ", only \"a\", \"b\"" of the first few tensors. */
static void list_names(char *out, size_t size, const psc_tensors *set) {
    size_t n = 0;
    *out = 0;
    for (size_t i = 0; i < set->count && i < LISTED_NAMES && n < size; i++)
        n += (size_t)snprintf(
            out + n, size - n, "%s \"%.60s\"", i ? "," : ", only", set->items[i].name);
    if (set->count > LISTED_NAMES && n < size)
        snprintf(out + n, size - n, " and %zu more", set->count - LISTED_NAMES);
}

/* The tensor of that name; or the only one, if name is null or `or_only` is set. */
static psc_status find_tensor(const psc_tensor **out, const psc_tensors *set, const char *path,
    const char *name, bool or_only, psc_error *error) {
    char names[400];
    *out = name ? psc_tensors_find(set, name) : NULL;
    if (!*out && (!name || or_only) && set->count == 1) *out = &set->items[0];
    if (!*out && !name)
        return psc_fail(
            error, PSC_ERROR_INPUT, "%.300s has %zu tensors; name one of them", path, set->count);
    if (!*out) {
        list_names(names, sizeof names, set);
        return psc_fail(
            error, PSC_ERROR_INPUT, "%.300s has no tensor \"%.100s\"%s", path, name, names);
    }
    if ((*out)->size == 0)
        return psc_fail(
            error, PSC_ERROR_INPUT, "%.300s: tensor \"%.100s\" is empty", path, (*out)->name);
    return PSC_OK;
}

/* Leaves entry `index` of the first axis; before that, leading axes of length 1 are dropped. */
static psc_status take_entry(
    psc_tensor *tensor, const char *path, int64_t index, psc_error *error) {
    const size_t least = index >= 0 ? 2 : 1;
    while (tensor->rank > least && tensor->shape[0] == 1)
        memmove(tensor->shape, tensor->shape + 1, --tensor->rank * sizeof *tensor->shape);
    if (index < 0) return PSC_OK;
    if (tensor->rank < 2)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%.300s: tensor \"%.100s\" is one vector, from which no entry can be taken", path,
            tensor->name);
    const size_t n = tensor->shape[0];
    if ((uint64_t)index >= n)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%.300s: tensor \"%.100s\" has the entries 0 to %zu, and no %lld", path, tensor->name,
            n - 1, (long long)index);
    tensor->size /= n;
    tensor->data += (size_t)index * tensor->size;
    memmove(tensor->shape, tensor->shape + 1, --tensor->rank * sizeof *tensor->shape);
    return PSC_OK;
}

void psc_host_note_contents(psc_context *context, const void *bytes, size_t n) {
    if (context->turn.where == PSC_IN_OPEN && context->session->options.accumulate)
        context->contents = XXH3_64bits_withSeed(bytes, n, context->contents);
}

/* The tensor as f32 in the life arena. */
static psc_status copy_tensor(const float **out, psc_context *context, const psc_tensor *tensor,
    const char *path, int32_t *n_axes, int64_t shape[8], psc_error *error) {
    uint64_t count = 1;
    *n_axes = (int32_t)tensor->rank;
    for (size_t i = 0; i < tensor->rank; i++) {
        shape[i] = (int64_t)tensor->shape[i];
        count *= tensor->shape[i]; /* no overflow: the file holds them */
    }
    float *copy = psc_arena_alloc(&context->life_arena, count * sizeof *copy);
    *out = copy;
    if (!copy) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for %.300s", path);
    if (psc_tensor_floats(context->session->kernels, tensor, 0, count, copy)) {
        psc_host_note_contents(context, copy, count * sizeof *copy);
        return PSC_OK;
    }
    return psc_fail(error, PSC_ERROR_INPUT,
        "%.300s: tensor \"%.100s\" has dtype %s, but only F32, F16, BF16 and F64 are supported",
        path, tensor->name, tensor->dtype);
}

/* Whether a call that reads a file may write what it finds. */
static bool may_read(psc_context **given, const char *call, const char *path, const int32_t *n_axes,
    const int64_t *shape) {
    return psc_host_may(given, call, PSC_IN_ANY) && psc_host_given(*given, call, "a path", path) &&
           psc_host_given(*given, call, "n_axes", n_axes) &&
           psc_host_given(*given, call, "shape", shape);
}

const float *psc_host_read_tensor(
    psc_context *context, const char *path, const char *name, int32_t *n_axes, int64_t shape[8]) {
    psc_error error = {PSC_OK, ""};
    psc_tensors *set = NULL;
    const psc_tensor *tensor = NULL;
    const float *out = NULL;
    if (!may_read(&context, "read_tensor", path, n_axes, shape)) return NULL;
    psc_status status = psc_tensors_open_file(&set, path, &error);
    if (!status) status = find_tensor(&tensor, set, path, name, false, &error);
    if (!status) status = copy_tensor(&out, context, tensor, path, n_axes, shape, &error);
    if (status) psc_host_pass(context, &error);
    psc_tensors_close(&set);
    return status ? NULL : out;
}

const float *psc_host_read_entry(psc_context *context, const char *path, const char *name,
    int or_only, int64_t index, int32_t *n_axes, int64_t shape[8]) {
    psc_error error = {PSC_OK, ""};
    psc_tensors *set = NULL;
    const psc_tensor *tensor = NULL;
    const float *out = NULL;
    if (!may_read(&context, "read_entry", path, n_axes, shape)) return NULL;
    psc_status status = psc_tensors_open_file(&set, path, &error);
    if (!status) status = find_tensor(&tensor, set, path, name, or_only, &error);
    if (!status) {
        psc_tensor entry = *tensor;
        status = take_entry(&entry, path, index, &error);
        if (!status) status = copy_tensor(&out, context, &entry, path, n_axes, shape, &error);
    }
    if (status) psc_host_pass(context, &error);
    psc_tensors_close(&set);
    return status ? NULL : out;
}

int psc_host_read_note(psc_context *context, const char *path, const char *key, const char **out) {
    psc_error error = {PSC_OK, ""};
    psc_tensors *set = NULL;
    int found = 0;
    if (!psc_host_may(&context, "read_note", PSC_IN_ANY) ||
        !psc_host_given(context, "read_note", "a path", path) ||
        !psc_host_given(context, "read_note", "a key", key) ||
        !psc_host_given(context, "read_note", "out", out))
        return -1;
    *out = NULL;
    if (psc_tensors_open_file(&set, path, &error)) return psc_host_pass(context, &error), -1;
    const char *note = psc_tensors_note(set, key);
    if (note) {
        const size_t bytes = strlen(note) + 1;
        char *copy = psc_arena_alloc(&context->life_arena, bytes);
        if (copy) *out = memcpy(copy, note, bytes);
        found = copy ? 1 : -1;
        if (!copy) psc_host_fail(context, PSC_ERROR_MEMORY, "not enough memory for %.300s", path);
    }
    psc_tensors_close(&set);
    return found;
}
