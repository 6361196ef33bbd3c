/* A file of a corpus as bytes in order: plain, or gzip or zstd decompressed. A byte order mark at
 * its start is no part of it. Private to runtime/corpus/.
 * Threads: one at a time.
 * Ownership: opens and closes through **; views last until the next call. */
#ifndef CORPUS_STREAM_H
#define CORPUS_STREAM_H

#include "psc_error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct corpus_stream corpus_stream;

/* Whether a failure, by its errno, is the file's own. Others, such as too many open files or no
 * memory, could hit any file. */
bool corpus_stream_is_own_fault(int failure);
/* The first bytes of the file decide whether it is compressed, not its name. It must be a regular
 * file. Here and below, PSC_ERROR_INPUT: the file itself cannot be opened or read. PSC_ERROR_IO:
 * the system refuses for another reason. */
psc_status corpus_stream_open(corpus_stream **out, const char *path, psc_error *error);
/* The same for a stream that is open and stays the caller's; it is read once, from where it is. */
psc_status corpus_stream_take(corpus_stream **out, FILE *file, const char *name, psc_error *error);
void corpus_stream_close(corpus_stream **stream);

/* The bytes that come next: *n > 0 of them, or 0 at the end. PSC_ERROR_INPUT: the compressed data
 * are damaged or end too early; all bytes before were delivered. */
psc_status corpus_stream_peek(
    const char **data, size_t *n, corpus_stream *stream, psc_error *error);
/* Moves past n of them. */
void corpus_stream_skip(corpus_stream *stream, size_t n);
/* Moves to an offset, counted after decompression and without the byte order mark. A compressed
 * file is decompressed up to it. PSC_ERROR_INPUT if it ends before, or is damaged there. */
psc_status corpus_stream_seek(corpus_stream *stream, int64_t offset, psc_error *error);

/* Of the next byte. */
int64_t corpus_stream_offset(const corpus_stream *stream);
/* Whether the file could not be read; damaged data are no failure. */
bool corpus_stream_has_failed(const corpus_stream *stream);
bool corpus_stream_is_packed(const corpus_stream *stream);
/* Bytes of the file itself that were read so far. */
int64_t corpus_stream_read(const corpus_stream *stream);
/* What a file that is not UTF-8 looks like, by its first bytes: " (it looks like ...)", or "". */
const char *corpus_stream_guess(const corpus_stream *stream);

#endif
