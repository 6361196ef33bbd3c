/* F32 is copied, halves are widened exactly, F64 is rounded once. */
#include "tensor_floats.h"

#include <string.h>

enum { WIDEN_ELEMENTS = 1024 };

bool psc_tensor_floats(
    const psc_kernels *kernels, const psc_tensor *tensor, size_t first, size_t n, float *out) {
    const bool half = strcmp(tensor->dtype, "F16") == 0;
    if (half || strcmp(tensor->dtype, "BF16") == 0) {
        uint16_t block[WIDEN_ELEMENTS]; /* the file's data may have any alignment */
        for (size_t i = 0; i < n; i += WIDEN_ELEMENTS) {
            const size_t count = n - i < WIDEN_ELEMENTS ? n - i : WIDEN_ELEMENTS;
            memcpy(block, tensor->data + 2 * (first + i), 2 * count);
            (half ? kernels->widen_f16 : kernels->widen_bf16)(out + i, block, count);
        }
        return true;
    }
    if (strcmp(tensor->dtype, "F32") == 0) {
        if (n > 0) memcpy(out, tensor->data + 4 * first, 4 * n);
        return true;
    }
    if (strcmp(tensor->dtype, "F64") != 0) return false;
    for (size_t i = 0; i < n; i++) {
        double value;
        memcpy(&value, tensor->data + 8 * (first + i), 8);
        out[i] = (float)value;
    }
    return true;
}
