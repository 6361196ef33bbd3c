/* The folder of packed weights: finds a model's file, makes it, keeps the folder within its limit.
 * Private to runtime/. Includes weights_image.h and psc.h.
 * Threads: reentrant; any number of processes may use one folder at once.
 * Ownership: a mapping is released by psc_unmap_file. */
#ifndef WEIGHTS_CACHE_H
#define WEIGHTS_CACHE_H

#include "psc.h"
#include "weights_image.h"

/* A file of at most so many bytes is compared with its hash whenever it is opened. */
#define PSC_CACHE_CHECKED_BYTES ((uint64_t)2 << 30)

typedef struct psc_cache {
    const char *dir;
    uint64_t limit;
    const char *model; /* the model's folder */
} psc_cache;

/* Maps the packed weights of plan's checkpoint: those that are kept, or after packing them into a
 * new file. The image begins at *out's byte PSC_CACHE_HEADER_BYTES; hex is the model's hash. On
 * failure, which is no reason not to open the model, error says why nothing is kept. */
psc_status psc_cache_load(psc_mapping *out, char hex[33], bool *found, const psc_image_plan *plan,
    const psc_cache *cache, psc_error *error);

/* --- what the files of a model hash to, remembered (weights_record.c) ------------------------ */

#define PSC_RECORD_SUFFIX ".source"

/* What must be as it was for a remembered hash to hold: the config's numbers and, of each file of
 * weights, name, size, time and inode; also the folder, for printing. */
typedef struct psc_record {
    char *text;
    char name[48]; /* the record's file, by the model's folder */
} psc_record;

psc_status psc_record_open(
    psc_record *out, const char *model, const psc_checkpoint *checkpoint, psc_error *error);
void psc_record_close(psc_record *record);
/* False when the folder remembers nothing, something else, or nothing readable. */
bool psc_record_recall(char hex[33], const psc_record *record, const char *dir);
/* Does nothing when the files changed in the last two seconds, as they might once more without
 * another time, or when they are no longer what the checkpoint has mapped. */
void psc_record_keep(const psc_record *record, const char *hex, const char *dir, const char *model,
    const psc_checkpoint *checkpoint);
/* Whether the model's files are still those that the checkpoint has mapped, unchanged. */
bool psc_record_unchanged(const char *model, const psc_checkpoint *checkpoint);
/* The folder and hash in a record's text; false when it is none. */
bool psc_record_read(char *model, size_t size, char hex[33], const char *path);

/* --- the folder (weights_cache_folder.c) ----------------------------------------------------- */

/* A folder of this user's; it is made, with its parents, when it is missing. */
psc_status psc_cache_folder_make(const char *dir, psc_error *error);
/* Makes room for bytes more by removing the oldest used files and abandoned ones. */
psc_status psc_cache_folder_room(const char *dir, uint64_t bytes, uint64_t limit, psc_error *error);
/* Whether a file of packed weights of this size lies there. */
bool psc_cache_folder_has_size(const char *dir, uint64_t bytes);

#endif
