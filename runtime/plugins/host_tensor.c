/* One tensor of a safetensors file for a plugin, as f32. The host checks the whole header first and
 * closes the file after copying the numbers. */
#include "host.h"
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

enum { WIDEN_ELEMENTS = 1024 };

bool psc_tensor_to_f32(const psc_kernels *kernels, const psc_tensor *tensor, float *out) {
    const bool half = strcmp(tensor->dtype, "F16") == 0;
    if (half || strcmp(tensor->dtype, "BF16") == 0) {
        uint16_t block[WIDEN_ELEMENTS]; /* the file's data may have any alignment */
        const size_t count = tensor->size / 2;
        for (size_t i = 0; i < count; i += WIDEN_ELEMENTS) {
            const size_t n = count - i < WIDEN_ELEMENTS ? count - i : WIDEN_ELEMENTS;
            memcpy(block, tensor->data + 2 * i, 2 * n);
            (half ? kernels->widen_f16 : kernels->widen_bf16)(out + i, block, n);
        }
        return true;
    }
    if (strcmp(tensor->dtype, "F32") == 0) {
        if (tensor->size > 0) memcpy(out, tensor->data, tensor->size);
        return true;
    }
    if (strcmp(tensor->dtype, "F64") != 0) return false;
    for (size_t i = 0; i < tensor->size / 8; i++) {
        double value;
        memcpy(&value, tensor->data + 8 * i, 8);
        out[i] = (float)value;
    }
    return true;
}

/* The tensor of that name, or the only one. */
static psc_status find_tensor(const psc_tensor **out, const psc_tensors *set, const char *path,
    const char *name, psc_error *error) {
    *out = name ? psc_tensors_find(set, name) : set->count == 1 ? &set->items[0] : NULL;
    if (!*out && !name)
        return psc_fail(
            error, PSC_ERROR_INPUT, "%.300s has %zu tensors; name one of them", path, set->count);
    if (!*out)
        return psc_fail(error, PSC_ERROR_INPUT, "%.300s has no tensor \"%.100s\"", path, name);
    if ((*out)->size == 0)
        return psc_fail(
            error, PSC_ERROR_INPUT, "%.300s: tensor \"%.100s\" is empty", path, (*out)->name);
    return PSC_OK;
}

const float *psc_host_read_tensor(
    psc_context *context, const char *path, const char *name, int32_t *n_axes, int64_t shape[8]) {
    psc_error error = {PSC_OK, ""};
    psc_tensors *set = NULL;
    const psc_tensor *tensor = NULL;
    float *out = NULL;
    if (!psc_host_on_its_thread(context, "read_tensor")) return NULL;
    psc_status status = psc_tensors_open_file(&set, path, &error);
    if (!status) status = find_tensor(&tensor, set, path, name, &error);
    if (!status) {
        uint64_t count = 1;
        *n_axes = (int32_t)tensor->rank;
        for (size_t i = 0; i < tensor->rank; i++) {
            shape[i] = (int64_t)tensor->shape[i];
            count *= tensor->shape[i]; /* no overflow: the file holds them */
        }
        out = psc_arena_alloc(&context->life_arena, count * sizeof *out);
        if (!out)
            status = psc_fail(&error, PSC_ERROR_MEMORY, "not enough memory for %.300s", path);
        else if (!psc_tensor_to_f32(context->session->kernels, tensor, out))
            status = psc_fail(&error, PSC_ERROR_INPUT,
                "%.300s: tensor \"%.100s\" has dtype %s, but only F32, F16, BF16 and F64 are supported",
                path, tensor->name, tensor->dtype);
    }
    if (status) psc_host_pass(context, &error);
    psc_tensors_close(&set);
    return status ? NULL : out;
}
