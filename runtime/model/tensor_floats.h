/* Elements of a tensor of a file as f32.
 * Private to runtime/. Includes kernels.h and safetensors.h.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef TENSOR_FLOATS_H
#define TENSOR_FLOATS_H

#include "kernels.h"
#include "safetensors.h"

/* Converts elements first..first+n-1, which the tensor has, from any alignment; false for a dtype
 * other than F32, F16, BF16, F64. */
bool psc_tensor_floats(
    const psc_kernels *kernels, const psc_tensor *tensor, size_t first, size_t n, float *out);

#endif
