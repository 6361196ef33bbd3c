/* The process's memory: how often the thread asks for it, and the request that fails. It replaces
 * the allocator, so a test includes it once, and needs glibc and no sanitizer that does the same.
 * Private to tests/.
 * Threads: only requests of the thread that called memory_fail_at count and fail.
 * Ownership: memory is glibc's. */
#ifndef FAILING_MALLOC_H
#define FAILING_MALLOC_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

static __thread long memory_requests, memory_fails_at; /* 0: none fails */
static __thread bool memory_counts, memory_stays_out;

/* From here on requests are counted; the n-th fails, and with `on` all after it. */
static inline void memory_fail_at(long n, bool on) {
    memory_requests = 0;
    memory_fails_at = n;
    memory_stays_out = on;
    memory_counts = true;
}

/* No request fails; returns how many there were. */
static inline long memory_back(void) {
    memory_counts = false;
    return memory_requests;
}

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define MEMORY_FAILS 1
#define MEMORY_SHOWN __attribute__((visibility("default"))) /* to shared libraries, too */

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static inline bool memory_fails(void) {
    if (!memory_counts) return false;
    const long n = ++memory_requests;
    const bool fails =
        memory_fails_at > 0 && (memory_stays_out ? n >= memory_fails_at : n == memory_fails_at);
    if (fails) errno = ENOMEM;
    return fails;
}

MEMORY_SHOWN void *malloc(size_t bytes) {
    return memory_fails() ? NULL : __libc_malloc(bytes);
}

MEMORY_SHOWN void *calloc(size_t n, size_t bytes) {
    return memory_fails() ? NULL : __libc_calloc(n, bytes);
}

MEMORY_SHOWN void *realloc(void *memory, size_t bytes) {
    return memory_fails() ? NULL : __libc_realloc(memory, bytes);
}

MEMORY_SHOWN void *aligned_alloc(size_t alignment, size_t bytes) {
    return memory_fails() ? NULL : __libc_memalign(alignment, bytes);
}

MEMORY_SHOWN int posix_memalign(void **out, size_t alignment, size_t bytes) {
    if (memory_fails()) return ENOMEM;
    *out = __libc_memalign(alignment, bytes);
    return *out ? 0 : ENOMEM;
}
#else
#define MEMORY_FAILS 0
#endif

#endif
