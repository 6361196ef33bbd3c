/* Buffers of the forward and the backward pass: row strides, and memory that grows on request.
 * Private to runtime/forward/ and runtime/backward/.
 * Threads: one at a time.
 * Ownership: the owner of a psc_grown frees data with psc_aligned_free. */
#ifndef BUFFERS_H
#define BUFFERS_H

#include "kernels.h"
#include "psc_error.h"

/* Rows a multiple of 4 KiB apart share the same cache sets, so strides are 16 floats longer. */
static inline size_t psc_padded(size_t n) {
    return (n + PSC_LANES - 1) / PSC_LANES * PSC_LANES + PSC_LANES;
}

/* A buffer that exists once a subscriber has requested its tensor. */
typedef struct psc_grown {
    float *data;
    size_t floats;
} psc_grown;

/* Memory of at least this many floats; growth loses the contents. Null after setting error. */
float *psc_forward_grow(psc_grown *grown, size_t floats, psc_error *error);
/* Frees a buffer that has more than `most` floats. */
void psc_forward_drop(psc_grown *grown, size_t most);

#endif
