/* How a set of tensors is filled: from one file (safetensors.c, torch_file.c)
 * or from a model's folder.
 * Private to base/, runtime/model/ and tests/. Includes safetensors.h.
 * Threads: a set belongs to one thread while it opens.
 * Ownership: the set owns everything that is added. */
#ifndef SAFETENSORS_FILE_H
#define SAFETENSORS_FILE_H

#include "safetensors.h"

/* Maps path as set->files[file] and adds its tensors, unsorted. After a failure the set can be
 * closed; it keeps the tensors added so far. */
psc_status psc_tensors_add_file(psc_tensors *set, size_t file, const char *path, psc_error *error);
/* Such a function, for one kind of file. */
typedef psc_status (*psc_tensors_adder)(
    psc_tensors *set, size_t file, const char *path, psc_error *error);
/* Makes path the only file of an empty set, with sorted tensors. */
psc_status psc_tensors_add_only(
    psc_tensors *set, const char *path, psc_tensors_adder add, psc_error *error);
/* Sorts the tensors of all files by name; equal names keep the order of their files. */
void psc_tensors_sort(psc_tensors *set);
/* PSC_ERROR_INPUT if two tensors of a sorted set have the same name. */
psc_status psc_tensors_check_names(const psc_tensors *set, psc_error *error);

#endif
