/* What is known of a model's weights before they are read.
 * Private to runtime/. Includes model.h and model_weights.h.
 * Threads: one at a time.
 * Ownership: nothing is kept. */
#ifndef MODEL_HEADER_H
#define MODEL_HEADER_H

#include "model.h"
#include "model_weights.h"

/* Sets the model's hash, if the cache remembers it, and weights_text: files, bytes, and whether the
 * cache has them packed. Reads no weights and writes no file. */
void psc_model_read_header(
    psc_model *model, const psc_checkpoint *checkpoint, const psc_model_options *options);
/* PSC_ERROR_STATE for a model that was opened without its weights. */
psc_status psc_model_check_weights(const psc_model *model, psc_error *error);

#endif
