/* The seam between safetensors.c (one file) and safetensors_set.c (a folder of them).
 * Private to safetensors.c and safetensors_set.c. Includes safetensors.h.
 * Threads: none may share a set while it is being opened.
 * Ownership: what is added belongs to the set. */
#ifndef SAFETENSORS_FILE_H
#define SAFETENSORS_FILE_H

#include "safetensors.h"

/* Maps path into set->files[file] and adds its tensors, unsorted. On failure the set stays valid
 * for closing and holds what was added so far. */
psc_status psc_tensors_add_file(psc_tensors *set, size_t file, const char *path, psc_error *error);

#endif
