/* A stream into memory that reports every write that found no memory. open_memstream of glibc loses
 * such writes: neither ferror nor fclose tells of them.
 * Private to base/, runtime/plugins/, report/ and tests/.
 * Threads: one at a time.
 * Ownership: psc_memory_close closes the stream; the caller frees the text by free(). */
#ifndef MEMORY_STREAM_H
#define MEMORY_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct psc_memory_stream {
    FILE *file;
    char *text; /* [room] */
    size_t n, room;
    bool failed;
} psc_memory_stream;

/* memory must stay where it is until the close. False without memory. */
bool psc_memory_open(psc_memory_stream *memory);
/* *out: the text with a 0 byte after it; null and false if memory ran out since the open. */
bool psc_memory_close(char **out, size_t *bytes, psc_memory_stream *memory);

#endif
