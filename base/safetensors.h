/* safetensors files, read as untrusted input. A model's folder of them: runtime/model/.
 * Private to base/, runtime/, report/ and tests/. Includes files.h only.
 * Threads: an open set is immutable; any number of threads may read it.
 * Ownership: opens and closes by **; names and data live until psc_tensors_close. */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H

#include "files.h"

#include <stddef.h>
#include <stdint.h>

/* The format allows headers of 100 MB; a model of 1,000 tensors needs 100 kB. Parsed JSON takes up
 * to forty times its text, so this cap keeps a hostile file from exhausting memory. */
#define PSC_SAFETENSORS_HEADER_CAP ((size_t)16 << 20)
#define PSC_TENSOR_RANK 8

typedef struct psc_tensor {
    char *name;
    char dtype[12]; /* as in the file: "F32", "F16", "BF16", "I64", "BOOL", ... */
    size_t rank, shape[PSC_TENSOR_RANK];
    const unsigned char *data; /* row-major, little-endian, any alignment; null with a flaw */
    size_t size;               /* bytes: the product of shape times the dtype's size */
    const char *flaw;          /* why it cannot be used, for a message; usually null */
    size_t file;               /* index into psc_tensors.files */
    size_t place;              /* in the header of its file, from 0 */
} psc_tensor;

typedef struct psc_tensor_file {
    char *name; /* without its folder */
    psc_mapping mapping;
} psc_tensor_file;

/* The tensors of one file or several, sorted by name; no name occurs twice. Files of PyTorch fill
 * the same structure (torch_file.h). */
typedef struct psc_tensors {
    psc_tensor *items;
    size_t count, capacity;
    psc_tensor_file *files;
    size_t n_files;
    struct json_t *notes; /* __metadata__ of the last file that has one; null: none */
} psc_tensors;

/* Opens one file. Checks its header whole: lengths, dtypes, shapes, and that the tensors cover the
 * data without overlap or gap. */
psc_status psc_tensors_open_file(psc_tensors **out, const char *path, psc_error *error);
void psc_tensors_close(psc_tensors **tensors);

/* The text under a key of __metadata__, or null. */
const char *psc_tensors_note(const psc_tensors *tensors, const char *key);
/* The tensor of that name, or null. */
const psc_tensor *psc_tensors_find(const psc_tensors *tensors, const char *name);

#endif
