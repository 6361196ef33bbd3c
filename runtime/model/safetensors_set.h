/* The tensors of a model's folder: one safetensors file or a sharded set.
 * Private to runtime/ and tests/. Includes safetensors.h.
 * Threads: an open set is immutable; any number of threads may read it.
 * Ownership: psc_tensors_close closes the set. */
#ifndef SAFETENSORS_SET_H
#define SAFETENSORS_SET_H

#include "safetensors.h"

/* Opens folder/model.safetensors or, if it does not exist, the shards that
 * folder/model.safetensors.index.json lists. With an index, each tensor must be in the shard that the
 * index names and in no other. */
psc_status psc_tensors_open(psc_tensors **out, const char *folder, psc_error *error);

#endif
