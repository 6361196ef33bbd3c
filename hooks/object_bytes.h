/* Numbers of an object file, and ranges of it.
 * Private to plugin_file.c and plugin_symbol.c.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef OBJECT_BYTES_H
#define OBJECT_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define BIG_ENDIAN_HERE 1
#else
#define BIG_ENDIAN_HERE 0
#endif

/* A number of n bytes, little or big endian. */
static inline uint64_t number(const unsigned char *at, size_t n, bool big) {
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) value |= (uint64_t)at[big ? n - 1 - i : i] << (8 * i);
    return value;
}

/* A number in the byte order of this machine. */
static inline uint64_t own(const unsigned char *at, size_t n) {
    return number(at, n, BIG_ENDIAN_HERE);
}

static inline bool is_within(uint64_t offset, uint64_t bytes, uint64_t size) {
    return offset <= size && bytes <= size - offset;
}

#endif
