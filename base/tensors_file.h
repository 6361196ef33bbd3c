/* Writes tensors as safetensors.
 * Private to base/, runtime/, report/ and tests/. Includes psc_error.h only.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef TENSORS_FILE_H
#define TENSORS_FILE_H

#include "psc_error.h"

#include <stdint.h>
#include <stdio.h>

typedef struct psc_file_tensor {
    const char *name;
    const char *dtype; /* the format's name: "F32", "F64", "I32" */
    int element_bytes;
    int n_axes;
    const int64_t *shape; /* [n_axes] */
    const void *data;     /* row-major, dense; may be null when it is empty */
} psc_file_tensor;

/* Writes n tensors to out. metadata: n_metadata (may be 0) pairs of a key and a value for the
 * file's __metadata__. Fails with PSC_ERROR_MEMORY before the first write, or with PSC_ERROR_IO. */
psc_status psc_tensors_write(FILE *out, int n, const psc_file_tensor *tensors, int n_metadata,
    const char *const (*metadata)[2], psc_error *error);

#endif
