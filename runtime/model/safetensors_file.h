/* The interface between safetensors.c (one file) and safetensors_set.c (a folder of them).
 * Private to safetensors.c and safetensors_set.c. Includes safetensors.h.
 * Threads: a set belongs to one thread while it opens.
 * Ownership: the set owns everything that is added. */
#ifndef SAFETENSORS_FILE_H
#define SAFETENSORS_FILE_H

#include "safetensors.h"

/* Maps path as set->files[file] and adds its tensors, unsorted. After a failure the set can be
 * closed; it keeps the tensors added so far. */
psc_status psc_tensors_add_file(psc_tensors *set, size_t file, const char *path, psc_error *error);

#endif
