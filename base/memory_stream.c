/* stdio over a list of bytes that grows: fopencookie, and funopen where it has that name. */
#if !defined(__APPLE__) && !defined(__FreeBSD__)
#define _GNU_SOURCE /* fopencookie */
#endif
#include "memory_stream.h"

#include "arena.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static bool take(psc_memory_stream *memory, const char *bytes, size_t n) {
    const bool room = n < PTRDIFF_MAX - memory->n &&
                      psc_grow((void **)&memory->text, &memory->room, memory->n + n + 1, 1);
    if (room) memcpy(memory->text + memory->n, bytes, n);
    if (room) memory->n += n;
    if (!room) memory->failed = true;
    return room;
}

#if defined(__APPLE__) || defined(__FreeBSD__)
static int write_bytes(void *cookie, const char *bytes, int n) {
    return take(cookie, bytes, (size_t)n) ? n : -1;
}

static FILE *open_stream(psc_memory_stream *memory) {
    return funopen(memory, NULL, write_bytes, NULL, NULL);
}
#else
static ssize_t write_bytes(void *cookie, const char *bytes, size_t n) {
    return take(cookie, bytes, n) ? (ssize_t)n : 0;
}

static FILE *open_stream(psc_memory_stream *memory) {
    return fopencookie(memory, "w", (cookie_io_functions_t){.write = write_bytes});
}
#endif

bool psc_memory_open(psc_memory_stream *memory) {
    *memory = (psc_memory_stream){.file = NULL};
    memory->file = open_stream(memory);
    return memory->file != NULL;
}

bool psc_memory_close(char **out, size_t *bytes, psc_memory_stream *memory) {
    const bool written = !ferror(memory->file);
    const bool closed = fclose(memory->file) == 0;
    *out = NULL;
    *bytes = 0;
    if (written && closed && take(memory, "", 0) && !memory->failed) {
        memory->text[memory->n] = 0;
        *out = memory->text;
        *bytes = memory->n;
        return true;
    }
    free(memory->text);
    return false;
}
