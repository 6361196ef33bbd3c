/* A text that grows: its memory doubles. */
#include "growing.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Makes room for n more bytes and a 0. */
static int reserve(psc_growing *t, size_t n) {
    if (t->failed || n < t->size - t->used) return !t->failed;
    const size_t size = 2 * t->size + n + 4096;
    char *data = realloc(t->data, size);
    t->failed = !data;
    if (!data) return 0;
    t->data = data;
    t->size = size;
    return 1;
}

void psc_growing_put(psc_growing *t, const char *format, ...) {
    for (int again = 0; again < 2 && !t->failed; again++) {
        va_list arguments;
        va_start(arguments, format);
        const size_t room = t->size - t->used;
        // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start is two lines above
        const int n = vsnprintf(room ? t->data + t->used : NULL, room, format, arguments);
        va_end(arguments);
        if (n < 0) t->failed = 1;
        if (n >= 0 && (size_t)n < room) {
            t->used += (size_t)n;
            return;
        }
        if (n >= 0) reserve(t, (size_t)n);
    }
}

void psc_growing_add(psc_growing *t, const char *bytes, size_t n) {
    if (!reserve(t, n)) return;
    if (n > 0) memcpy(t->data + t->used, bytes, n);
    t->used += n;
    t->data[t->used] = 0;
}
