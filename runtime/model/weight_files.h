/* The tensors of a model's folder: one file or a sharded set, of safetensors or of PyTorch.
 * Private to runtime/ and tests/. Includes safetensors.h.
 * Threads: an open set is immutable; any number of threads may read it.
 * Ownership: psc_tensors_close closes the set. */
#ifndef WEIGHT_FILES_H
#define WEIGHT_FILES_H

#include "safetensors.h"

/* Opens the first of these in folder: model.safetensors, the shards of
 * model.safetensors.index.json, pytorch_model.bin, the shards of pytorch_model.bin.index.json. With
 * an index, each tensor that it lists must be in the shard that it names. The shards may hold
 * others, too, as for transformers. */
psc_status psc_tensors_open(psc_tensors **out, const char *folder, psc_error *error);

#endif
