/* The process's calls of the system: how many the thread makes, and the one that fails. It stands
 * in front of the C library's functions, so a test includes it once, and needs an ELF system and no
 * sanitizer that does the same.
 * Private to tests/. Define _GNU_SOURCE before the first include.
 * Threads: only calls of the thread that called calls_fail_at count and fail.
 * Ownership: none. */
#ifndef FAILING_CALLS_H
#define FAILING_CALLS_H

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static __thread long calls_made, calls_at; /* 0: none fails */
static __thread int calls_errno;
static __thread bool calls_count, calls_stay;
static __thread const char *calls_failed; /* the name of the one that failed; null: none yet */

/* From here on calls are counted; the n-th fails with this errno, and with `on` all after it. */
static inline void calls_fail_at(long n, int reason, bool on) {
    calls_made = 0;
    calls_at = n;
    calls_errno = reason;
    calls_stay = on;
    calls_failed = NULL;
    calls_count = true;
}

/* No call fails; returns how many there were. */
static inline long calls_back(void) {
    calls_count = false;
    return calls_made;
}

#if defined(__ELF__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CALLS_FAIL 1
#define CALLS_SHOWN __attribute__((visibility("default"))) /* to shared libraries, too */

static inline bool call_fails(const char *name) {
    if (!calls_count) return false;
    const long n = ++calls_made;
    const bool fails = calls_at > 0 && (calls_stay ? n >= calls_at : n == calls_at);
    if (fails) errno = calls_errno;
    if (fails) calls_failed = name;
    return fails;
}

/* A function in front of the library's: its type, name, parameters, arguments, and what it returns
 * when it fails. */
#define CALL(type, name, parameters, arguments, failure)                                           \
    CALLS_SHOWN type name parameters {                                                             \
        static type(*real) parameters;                                                             \
        if (call_fails(#name)) return failure;                                                     \
        if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name);                             \
        return real arguments;                                                                     \
    }

CALL(int, fstat, (int fd, struct stat *out), (fd, out), -1)
CALL(int, stat, (const char *path, struct stat *out), (path, out), -1)
CALL(int, lstat, (const char *path, struct stat *out), (path, out), -1)
CALL(int, fstatat, (int fd, const char *path, struct stat *out, int how), (fd, path, out, how), -1)
CALL(ssize_t, read, (int fd, void *out, size_t n), (fd, out, n), -1)
CALL(ssize_t, pread, (int fd, void *out, size_t n, off_t at), (fd, out, n, at), -1)
CALL(ssize_t, write, (int fd, const void *from, size_t n), (fd, from, n), -1)
CALL(ssize_t, pwrite, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at), -1)
CALL(int, fsync, (int fd), (fd), -1)
CALL(int, flock, (int fd, int how), (fd, how), -1)
CALL(int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
CALL(int, rename, (const char *from, const char *to), (from, to), -1)
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), -1)
CALL(DIR *, opendir, (const char *path), (path), NULL)
CALL(DIR *, fdopendir, (int fd), (fd), NULL)
CALL(struct dirent *, readdir, (DIR * folder), (folder), NULL)
CALL(FILE *, fopen, (const char *path, const char *how), (path, how), NULL)
CALL(FILE *, fdopen, (int fd, const char *how), (fd, how), NULL)
CALL(int, fflush, (FILE * file), (file), EOF)
CALL(int, fseeko, (FILE * file, off_t at, int from), (file, at, from), -1)
CALL(void *, mmap, (void *at, size_t n, int how, int flags, int fd, off_t from),
    (at, n, how, flags, fd, from), MAP_FAILED)

CALLS_SHOWN int open(const char *path, int how, ...) {
    static int (*real)(const char *, int, ...);
    va_list arguments;
    va_start(arguments, how);
    const mode_t mode = how & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (call_fails("open")) return -1;
    if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    return real(path, how, mode);
}

CALLS_SHOWN int openat(int fd, const char *path, int how, ...) {
    static int (*real)(int, const char *, int, ...);
    va_list arguments;
    va_start(arguments, how);
    const mode_t mode = how & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (call_fails("openat")) return -1;
    if (!real) real = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat");
    return real(fd, path, how, mode);
}
#else
#define CALLS_FAIL 0
#endif

#endif
