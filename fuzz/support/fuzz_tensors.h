/* What holds for every open set of tensors.
 * Private to fuzz/. Includes safetensors.h.
 * Threads: one at a time.
 * Ownership: nothing is kept. */
#ifndef FUZZ_TENSORS_H
#define FUZZ_TENSORS_H

#include "fuzz.h"
#include "safetensors.h"

#include <string.h>

/* Every tensor lies in its file; names are in order and found. Reads all bytes. */
static inline void fuzz_read_tensors(const psc_tensors *set) {
    for (size_t i = 0; set && i < set->count; i++) {
        const psc_tensor *t = &set->items[i];
        fuzz_expect(t->file < set->n_files, "a tensor of no file");
        const psc_mapping *file = &set->files[t->file].mapping;
        fuzz_expect(t->rank <= PSC_TENSOR_RANK, "a tensor of too many dimensions");
        fuzz_expect(i == 0 || strcmp(set->items[i - 1].name, t->name) < 0, "names out of order");
        fuzz_expect(psc_tensors_find(set, t->name) == t, "a tensor is not found");
        if (t->flaw || t->size == 0) continue;
        fuzz_expect(t->data >= file->data && t->size <= file->size &&
                        t->data <= file->data + file->size - t->size,
            "a tensor leaves its file");
        fuzz_read(t->data, t->size);
    }
}

#endif
