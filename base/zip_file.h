/* The directory of a zip archive in memory, read as untrusted input. Entries are stored, not
 * compressed: their bytes lie in the archive as they are.
 * Private to base/ and tests/. Includes psc_error.h only.
 * Threads: reentrant; an open directory is immutable.
 * Ownership: the caller owns the archive's bytes, to which entries point; opens and closes by *. */
#ifndef ZIP_FILE_H
#define ZIP_FILE_H

#include "psc_error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A checkpoint has one entry per tensor. */
#define PSC_ZIP_ENTRIES ((uint64_t)1 << 17)

typedef struct psc_zip_entry {
    const char *name; /* [name_bytes], without a 0 */
    size_t name_bytes;
    const unsigned char *data; /* null: compressed or encrypted */
    uint64_t size, begin, end; /* begin, end: of the whole entry in the archive */
} psc_zip_entry;

typedef struct psc_zip {
    psc_zip_entry *entries; /* by name; no name occurs twice */
    size_t n;
} psc_zip;

/* Reads the directory of an archive. Checks that all entries are whole, within the archive and
 * apart from each other. Checksums are not compared. path is for messages. */
psc_status psc_zip_open(
    psc_zip *out, const unsigned char *archive, size_t size, const char *path, psc_error *error);
void psc_zip_close(psc_zip *zip);

/* The entry prefix/name, or null. */
const psc_zip_entry *psc_zip_find(const psc_zip *zip, const char *prefix, size_t prefix_bytes,
    const char *name, size_t name_bytes);

#endif
