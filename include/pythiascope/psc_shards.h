/* Rows of a corpus on disk: what a plugin says of the shards that it writes.
 * Public. psc_plugin.h includes it; psc_host's shards_open, _rows, _write and _close use it.
 * Includes nothing of ours.
 * Threads: plain structures; the calls that take them say where they may be made.
 * Ownership: the host copies what it is given.
 *
 * Shards are safetensors files of a fixed number of rows, in the order of the corpus, and an
 * index.json (docs/plugins/activations.md). The host writes what each row is: document, byte_start
 * and byte_end (I64; -1 for bytes that are not known), token_ids and position (I32). The plugin
 * writes its own arrays, all of one element type. The host counts the rows in its state, so that a
 * run which was killed goes on to the byte. Each part of a split corpus has shards of its own. */
#ifndef PSC_SHARDS_H
#define PSC_SHARDS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum psc_shard_element {
    PSC_SHARD_F32 = 0,
    PSC_SHARD_F16 = 1,
    PSC_SHARD_BF16 = 2
} psc_shard_element;

typedef struct psc_shard_array {
    const char *name;
    int32_t n_axes;   /* after the rows: 1 to 3 */
    int64_t shape[3]; /* [n_axes] */
} psc_shard_array;

typedef struct psc_shard_options {
    uint32_t struct_size;
    const char *folder;            /* new or empty, or that of the run that is continued */
    int32_t element;               /* psc_shard_element, of all arrays */
    int32_t rows;                  /* of a shard; the last one of a part may have fewer */
    double share;                  /* 0..1: the expected part of the corpus's rows, to foretell */
    uint64_t most_bytes;           /* of all shards of this process; more is refused */
    int32_t n_arrays;              /* at least 1 */
    const psc_shard_array *arrays; /* copied */
} psc_shard_options;

#ifdef __cplusplus
}
#endif
#endif
