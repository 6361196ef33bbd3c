/* One file of packed weights: a header of 4096 bytes and an image (weights_image.h).
 * Private to runtime/ and tests/. Includes files.h only.
 * Threads: reentrant; a writer belongs to one thread.
 * Ownership: a writer is begun and ended by its user; a mapping is released by psc_unmap_file. */
#ifndef WEIGHTS_CACHE_FILE_H
#define WEIGHTS_CACHE_FILE_H

#include "files.h"

#define PSC_CACHE_HEADER_BYTES 4096
#define PSC_CACHE_SUFFIX ".packed"
#define PSC_CACHE_NAME_BYTES 96

/* Written last, over zeros: a file without a whole header was never finished. The numbers are in
 * the machine's own byte order, which byte_order shows. */
typedef struct psc_cache_header {
    char magic[16];
    uint32_t byte_order, image_version, pack_layout, lanes;
    uint64_t bytes;         /* of the file */
    char model[40];         /* the model's hash, 32 hex digits and zeros */
    unsigned char body[16]; /* XXH3-128 of the XXH3-128 of each 4 MiB of the image */
    uint64_t plan;          /* psc_image_plan_digest */
    uint64_t mark;          /* XXH3-64 of all before */
} psc_cache_header;

/* "<hash>-<layout>.<image version>.packed", the name of a model's file. */
void psc_cache_file_name(char name[PSC_CACHE_NAME_BYTES], const char *hash);

/* Maps the file and checks all but the image's bytes: a regular file (no link) of this user's, that
 * nobody else may write to, with a whole header and the size it says. The mapping is private and
 * read-only; image bytes begin at PSC_CACHE_HEADER_BYTES.
 * Another program that cuts the file short while it is mapped makes a later access raise SIGBUS;
 * only this user can, and the file is made without permission to write. */
psc_status psc_cache_file_map(
    psc_mapping *out, psc_cache_header *header, const char *path, psc_error *error);
/* Whether the image's bytes have the header's hash; all of them are read, by up to four threads. */
bool psc_cache_file_intact(const psc_mapping *file, const psc_cache_header *header);

/* A file in the making: <dir>/making-<pid>-<n>.partial, locked as long as it is made. */
typedef struct psc_cache_writer psc_cache_writer;
psc_status psc_cache_writer_begin(psc_cache_writer **out, const char *dir, psc_error *error);
/* The image's next bytes; nonzero on failure (a psc_image_sink). */
int psc_cache_writer_put(const void *data, size_t size, void *writer);
/* What has been put so far. */
psc_status psc_cache_writer_view(psc_mapping *out, psc_cache_writer *writer, psc_error *error);
/* Writes the header (model and plan are the caller's, the rest is filled in), syncs, gives the file
 * its name and maps it. Ends *writer in any case. */
psc_status psc_cache_writer_commit(psc_mapping *out, psc_cache_writer **writer,
    psc_cache_header *header, const char *dir, psc_error *error);
/* Removes the file; *writer may be null and becomes null. */
void psc_cache_writer_abort(psc_cache_writer **writer);
/* Removes a file that a process left half-made. */
void psc_cache_remove_abandoned(const char *path);

#endif
