/* One file of packed weights: a header of 4096 bytes and an image (weights_image.h).
 * Private to runtime/ and tests/. Includes files.h and weights_cache_place.h.
 * Threads: reentrant; a writer belongs to one thread.
 * Ownership: the caller begins and ends a writer; psc_unmap_file releases a mapping. */
#ifndef WEIGHTS_CACHE_FILE_H
#define WEIGHTS_CACHE_FILE_H

#include "files.h"
#include "weights_cache_place.h"

#define PSC_CACHE_HEADER_BYTES 4096
#define PSC_CACHE_SUFFIX ".packed"
#define PSC_CACHE_NAME_BYTES 96

/* Written last, over zeros: a file without a whole header is incomplete. The numbers are in the
 * machine's own byte order, which byte_order records. */
typedef struct psc_cache_header {
    char magic[16];
    uint32_t byte_order, image_version, pack_layout, lanes;
    uint64_t bytes;         /* of the file */
    char model[40];         /* the model's hash, 32 hex digits and zeros */
    unsigned char body[16]; /* XXH3-128 of the XXH3-128 of each 4 MiB of the image */
    uint64_t plan;          /* psc_image_plan_digest */
    uint64_t mark;          /* XXH3-64 of all members before */
} psc_cache_header;

/* "<hash>-<layout>.<image version>.packed", the name of a model's file. */
void psc_cache_file_name(char name[PSC_CACHE_NAME_BYTES], const char *hash);

/* Maps the file and checks everything except the image's bytes: a file to trust
 * (weights_cache_place.h) with a whole header and the size that the header gives. The mapping is
 * private and read-only; image bytes begin at PSC_CACHE_HEADER_BYTES. If another program truncates
 * the mapped file, a later access raises SIGBUS. Only its owner could do so, and the file has no
 * write permission. */
psc_status psc_cache_file_map(psc_mapping *out, psc_cache_header *header,
    const psc_cache_place *place, const char *name, psc_error *error);
/* Whether the image's bytes have the header's hash. Up to four threads read all of them. */
psc_status psc_cache_file_intact(
    bool *out, const psc_mapping *file, const psc_cache_header *header, psc_error *error);

/* A file during writing. */
typedef struct psc_cache_writer psc_cache_writer;
psc_status psc_cache_writer_begin(
    psc_cache_writer **out, const psc_cache_place *place, psc_error *error);
/* Appends the image's next bytes; nonzero on failure (a psc_image_sink). */
int psc_cache_writer_put(const void *data, size_t size, void *writer);
/* Maps the header's place and the bytes written so far. */
psc_status psc_cache_writer_view(psc_mapping *out, psc_cache_writer *writer, psc_error *error);
/* Writes the header (the caller sets model and plan, this call the rest), syncs, gives the file its
 * name and maps it. Ends *writer in any case. */
psc_status psc_cache_writer_commit(
    psc_mapping *out, psc_cache_writer **writer, psc_cache_header *header, psc_error *error);
/* Removes the file; *writer may be null and becomes null. */
void psc_cache_writer_abort(psc_cache_writer **writer);

#endif
