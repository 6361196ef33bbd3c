/* A file of torch.save that holds a state dict, such as pytorch_model.bin, read as untrusted input.
 * Private to base/, runtime/model/ and tests/. Includes safetensors.h.
 * Threads: a set belongs to one thread while it opens.
 * Ownership: the set owns everything that is added. */
#ifndef TORCH_FILE_H
#define TORCH_FILE_H

#include "safetensors.h"

/* Most bytes of data.pkl, most tensors of one file, and most bytes of a tensor's name. */
#define PSC_TORCH_PICKLE_CAP ((size_t)16 << 20)
#define PSC_TORCH_TENSORS ((size_t)1 << 16)
#define PSC_TORCH_NAME_BYTES 1024

/* Maps path as set->files[file] and adds its tensors, unsorted, under safetensors's dtype names;
 * none of the weights is read. Nothing in the file is run: a function or class that a state dict
 * does not need is refused by its name. A tensor that is not contiguous is added with a flaw. After
 * a failure the set can be closed; it keeps the tensors added so far. */
psc_status psc_torch_add_file(psc_tensors *set, size_t file, const char *path, psc_error *error);
/* The same, when set->files[file] is mapped already; path is for messages. */
psc_status psc_torch_add_mapped(psc_tensors *set, size_t file, const char *path, psc_error *error);

#endif
