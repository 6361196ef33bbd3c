/* The peak of a process's memory as the system measures it (VmHWM).
 * Private to tests/: test_gradient_memory.c and test_variant_memory.c.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: nothing is kept. */
#ifndef MEMORY_PEAK_H
#define MEMORY_PEAK_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#if defined(__SANITIZE_ADDRESS__) || !defined(__linux__)
#define MEASURES 0
#else
#define MEASURES 1
#endif

/* A number of /proc/self/status, in bytes. */
static inline double status_of(const char *name) {
    char line[200];
    double kib = -1;
    FILE *f = fopen("/proc/self/status", "r");
    cr_assert(f);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0) kib = strtod(line + strlen(name), NULL);
    fclose(f);
    return kib * 1024;
}

/* From here on the allocator gives large blocks back when they are freed. */
static inline void give_back(void) {
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 17);
#endif
}

/* The peak is the present size from here on. Returns that, or -1 where the system does not allow
 * it. */
static inline double begin_peak(void) {
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (!f) return -1;
    const int written = fputs("5", f);
    return fclose(f) == 0 && written >= 0 ? status_of("VmRSS:") : -1;
}

#endif
