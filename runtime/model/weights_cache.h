/* The folder of packed weights: finds or creates a model's file, keeps the folder within its limit.
 * Private to runtime/. Includes weights_image.h, weights_cache_place.h and psc.h.
 * Threads: reentrant; any number of processes may use one folder at once.
 * Ownership: psc_unmap_file releases a mapping. */
#ifndef WEIGHTS_CACHE_H
#define WEIGHTS_CACHE_H

#include "psc.h"
#include "weights_cache_place.h"
#include "weights_image.h"

/* A file of at most this size is compared with its hash at every opening. */
#define PSC_CACHE_CHECKED_BYTES ((uint64_t)2 << 30)

typedef struct psc_cache {
    const char *dir;
    uint64_t limit;
    const char *model; /* the model's folder */
} psc_cache;

/* Maps the packed weights of plan's checkpoint from the cache, after packing them into a new file
 * if there is none (*found false). The image begins at byte PSC_CACHE_HEADER_BYTES of *out; hex is
 * the model's hash. After a failure, which must not fail the opening, error says why nothing is
 * cached. */
psc_status psc_cache_load(psc_mapping *out, char hex[33], bool *found, const psc_image_plan *plan,
    const psc_cache *cache, psc_error *error);

/* --- remembered hashes of models' files (weights_record.c) ----------------------------------- */

#define PSC_RECORD_SUFFIX ".source"

/* The facts that must be unchanged for a remembered hash to hold: the config's numbers and, for
 * each file of weights, name, size, times and inode. Also the folder, for printing. */
typedef struct psc_record {
    char *text;
    char name[48]; /* of the record's file, a digest of the model's folder */
} psc_record;

psc_status psc_record_open(
    psc_record *out, const char *model, const psc_checkpoint *checkpoint, psc_error *error);
void psc_record_close(psc_record *record);
/* False when the folder has no record to trust with the same facts. */
bool psc_record_recall(char hex[33], const psc_record *record, const psc_cache_place *place);
/* Remembers hex. Does nothing when a file changed in the last two seconds, since another change
 * might keep the same time, or when the files differ from those that the checkpoint has mapped. */
void psc_record_keep(const psc_record *record, const char *hex, const psc_cache_place *place,
    const char *model, const psc_checkpoint *checkpoint);
/* Whether the model's files are still those that the checkpoint has mapped, unchanged. */
bool psc_record_unchanged(const char *model, const psc_checkpoint *checkpoint);
/* Reads the folder and hash from a record's file; false when the file is not a
 * record to trust, or could not be read: then *failed is errno, otherwise 0. */
bool psc_record_read(char *model, size_t size, char hex[33], int *failed,
    const psc_cache_place *place, const char *name);

/* --- the folder (weights_cache_folder.c) ----------------------------------------------------- */

/* Removes files that a process which ended had begun. */
void psc_cache_folder_sweep(const psc_cache_place *place);
/* Makes room for another `bytes` by removing the least recently used files. */
psc_status psc_cache_folder_room(
    const psc_cache_place *place, uint64_t bytes, uint64_t limit, psc_error *error);
/* Whether the folder has a file of packed weights of this size. */
bool psc_cache_folder_has_size(const psc_cache_place *place, uint64_t bytes);

#endif
