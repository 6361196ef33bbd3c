/* The readers of a dictionary's layouts, and values of cfg.json by kind.
 * Private to runtime/dictionary/coder_*.c.
 * Threads: reentrant.
 * Ownership: a reader borrows all that it points to. */
#ifndef CODER_READER_H
#define CODER_READER_H

#include "coder_config.h"
#include "config_reader.h"

/* Each leaves *out as it is when the key is absent or null. */
psc_status psc_coder_boolean(
    const psc_config_reader *r, json_t *object, const char *key, bool *out);
psc_status psc_coder_count(const psc_config_reader *r, json_t *object, const char *key,
    int32_t least, int32_t most, int32_t *out);
psc_status psc_coder_text(
    const psc_config_reader *r, json_t *object, const char *key, char out[PSC_CODER_TEXT]);
/* d_in, d_out and the number of latents under its key, which is `least` or more. */
psc_status psc_coder_sizes(
    psc_coder_config *c, const psc_config_reader *r, const char *latents, int32_t least);

/* The caller's point, "IN+OUT" for a transcoder, as c's points. */
psc_status psc_coder_take_points(
    psc_coder_config *c, const char *point, bool parallel, psc_error *error);

/* cfg.json of SAELens, in the layouts before and since version 6 (coder_saelens.c). */
psc_status psc_coder_read_saelens(
    psc_coder_config *c, const psc_config_reader *r, const char *point, bool parallel);
/* cfg.json of sparsify; the folder's name is the hook point (coder_sparsify.c). */
psc_status psc_coder_read_sparsify(
    psc_coder_config *c, const psc_config_reader *r, const char *point, bool parallel);
/* A file of tensors, layer_3.safetensors, of a transcoder of layer 3's MLP (coder_sparsify.c). */
psc_status psc_coder_read_file(
    psc_coder_config *c, const char *point, bool parallel, psc_error *error);

#endif
