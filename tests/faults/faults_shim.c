/* LD_PRELOAD=libpsc_faults.so: the n-th call of the C library that a program makes fails. README.md
 * lists the variables. Calls count from main() to the end of the exit handlers, in all threads.
 * What the C library calls inside itself is not seen, except the allocations; faults_trace.c fails
 * system calls wherever they are. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "faults_errno.h"
#include "faults_server.h"

/* class: A, the memory of which "alloc" speaks; S, a call of the system. */
/* clang-format off */
#define CALLS(X) \
    X(malloc, A) X(calloc, A) X(realloc, A) X(posix_memalign, A) X(aligned_alloc, A) \
    X(memalign, A) X(strdup, D) X(strndup, D) X(open, S) X(openat, S) X(creat, S) X(fopen, S) \
    X(fdopen, S) X(read, S) X(pread, S) X(fread, S) X(write, S) X(pwrite, S) X(fwrite, S) \
    X(fflush, S) X(fclose, S) X(close, S) X(fsync, S) X(fdatasync, S) X(rename, S) \
    X(renameat, S) X(mkdir, S) X(mkdirat, S) X(rmdir, S) X(unlink, S) X(unlinkat, S) X(link, S) \
    X(symlink, S) X(readlink, S) X(realpath, S) X(stat, S) X(lstat, S) X(fstat, S) X(fstatat, S) \
    X(chmod, S) X(fchmod, S) X(mmap, S) X(munmap, S) X(mprotect, S) X(madvise, S) X(opendir, S) \
    X(fdopendir, S) X(readdir, S) X(flock, S) X(fcntl, S) X(ftruncate, S) X(pipe, S) X(pipe2, S) \
    X(pthread_create, S) X(dlopen, S) X(getrandom, S) X(clock_gettime, S) X(nanosleep, S)
/* clang-format on */

#define AS_ENUM(name, class) CALL_##name,
#define AS_NAME(name, class) #name,
#define AS_CLASS(name, class) #class[0],
enum { CALLS(AS_ENUM) N_CALLS };
static const char *const call_names[] = {CALLS(AS_NAME)};
static const char call_classes[] = {CALLS(AS_CLASS)};

static void *next_of[N_CALLS];
static void (*next_free)(void *);
static bool chosen[N_CALLS];
static atomic_long counted;
static long fault_at;     /* 0: none fails */
static bool goes_on;      /* from fault_at on, else once */
static int fault_errno;   /* -1: a read or write of fewer bytes */
static atomic_bool armed; /* main() has begun */
static const char *count_path;
static int stacks_fd = -1, where_fd = -1;
static _Thread_local bool inside; /* of the shim's own work */

/* dlsym may allocate before malloc is known. This memory is never freed. */
static _Alignas(16) char early[65536];
static size_t early_used;

static bool is_early(const void *p) {
    return (const char *)p >= early && (const char *)p < early + sizeof early;
}

static void *early_malloc(size_t size) {
    const size_t at = early_used;
    if (size > sizeof early - at - 16) return NULL;
    early_used = (at + size + 15) & ~(size_t)15;
    return early + at;
}

static void *next(int call) {
    if (!next_of[call]) {
        inside = true;
        next_of[call] = dlsym(RTLD_NEXT, call_names[call]);
        inside = false;
    }
    return next_of[call];
}

/* Where an address lies in its file, so that runs share it: the file's number and an offset. */
static int find_file(struct dl_phdr_info *file, size_t size, void *payload) {
    uintptr_t *address = payload; /* [2] the address; files before */
    (void)size;
    for (int i = 0; i < file->dlpi_phnum; i++) {
        const uintptr_t begin = file->dlpi_addr + file->dlpi_phdr[i].p_vaddr;
        if (file->dlpi_phdr[i].p_type != PT_LOAD) continue;
        if (address[0] < begin || address[0] - begin >= file->dlpi_phdr[i].p_memsz) continue;
        address[0] -= file->dlpi_addr;
        return 1;
    }
    address[1]++;
    return 0;
}

static uint64_t place_of(const void *frame) {
    static _Thread_local struct {
        const void *frame;
        uint64_t place;
    } known[1024]; /* by the address's last bits */
    const size_t slot = ((uintptr_t)frame ^ (uintptr_t)frame >> 10) & 1023;
    if (known[slot].frame != frame) {
        uintptr_t address[2] = {(uintptr_t)frame, 0};
        known[slot].place = dl_iterate_phdr(find_file, address) ? address[0] : 0;
        known[slot].place |= (uint64_t)address[1] << 48;
        known[slot].frame = frame;
    }
    return known[slot].place;
}

/* One line per counted call: its number, its name and a hash of the places that led to it. */
static void note_stack(int fd, long n, int call, bool with_names) {
    void *frames[32];
    char line[96];
    uint64_t hash = 14695981039346656037u;
    inside = true;
    const int depth = backtrace(frames, 32);
    for (int i = 0; i < depth; i++) hash = (hash ^ place_of(frames[i])) * 1099511628211u;
    const int length = snprintf(
        line, sizeof line, "%ld %s %016llx\n", n, call_names[call], (unsigned long long)hash);
    syscall(SYS_write, fd, line, (size_t)length);
    if (with_names) backtrace_symbols_fd(frames, depth, fd);
    inside = false;
}

/* True when this call must fail; errno is set then, unless the fault is a short count. */
static bool fails(int call) {
    if (!armed || inside || !chosen[call]) return false;
    const long n = ++counted;
    if (stacks_fd >= 0) note_stack(stacks_fd, n, call, false);
    if (!fault_at || n < fault_at || (n > fault_at && !goes_on)) return false;
    if (where_fd >= 0 && n == fault_at) note_stack(where_fd, n, call, true);
    errno = call_classes[call] == 'S' ? fault_errno : ENOMEM;
    if (fault_errno < 0) errno = 0;
    return true;
}

/* A fault of this call that is an error, and one that is a short count. */
#define SHORT (fault_errno < 0)
#define NEXT(name) ((__typeof__(&name))next(CALL_##name))

static void choose(const char *list) {
    for (const char *at = list; *at;) {
        const size_t n = strcspn(at, ",");
        for (int i = 0; i < N_CALLS; i++)
            if ((strncmp(at, call_names[i], n) == 0 && !call_names[i][n]) ||
                (n == 5 && strncmp(at, "alloc", n) == 0 && call_classes[i] == 'A') ||
                (n == 6 && strncmp(at, "system", n) == 0 && call_classes[i] == 'S'))
                chosen[i] = true;
        at += n + (at[n] == ',');
    }
}

static int open_log(const char *variable) {
    const char *path = getenv(variable);
    if (!path) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
}

/* What the variables ask for. */
static void configure(void) {
    const char *list = getenv("PSC_FAULT_CALL"), *at = getenv("PSC_FAULT_AT");
    const char *on = getenv("PSC_FAULT_ON"), *name = getenv("PSC_FAULT_ERRNO");
    choose(list ? list : "");
    fault_at = at ? strtol(at, NULL, 10) : 0;
    goes_on = on && strcmp(on, "0") != 0;
    fault_errno = name ? psc_faults_errno(name) : EIO;
    if (fault_errno == 0) fault_errno = EIO;
    count_path = getenv("PSC_FAULT_COUNT");
    stacks_fd = open_log("PSC_FAULT_STACKS");
    where_fd = open_log("PSC_FAULT_WHERE");
}

__attribute__((constructor)) static void begin(void) {
    void *frames[4];
    inside = true;
    backtrace(frames, 4); /* loads the unwinder before anything fails */
    for (int i = 0; i < N_CALLS; i++)
        if (!next_of[i]) next_of[i] = dlsym(RTLD_NEXT, call_names[i]);
    configure();
    unsetenv("LD_PRELOAD"); /* programs that this one starts are as ever */
    inside = false;
}

static void write_count(void) {
    char text[32];
    if (!count_path) return;
    const int n = snprintf(text, sizeof text, "%ld\n", (long)counted);
    const int fd = (int)syscall(
        SYS_openat, AT_FDCWD, count_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return;
    syscall(SYS_write, fd, text, (size_t)n);
    syscall(SYS_close, fd);
}

__attribute__((destructor)) static void end(void) {
    inside = true;
    write_count();
}

void _exit(int code) {
    inside = true;
    write_count();
    syscall(SYS_exit_group, code);
    __builtin_unreachable();
}

typedef int (*main_fn)(int, char **, char **);
static main_fn program_main;

/* Runs after the program's own exit handlers. What follows is not the program's: in a build that
 * counts branches the counters are written, whose writer does not expect a fault. */
static void disarm(void) {
    armed = false;
}

static int armed_main(int argc, char **argv, char **envp) {
    if (getenv("PSC_FAULT_SERVER")) {
        argc = psc_faults_serve(&argv);
        inside = true;
        configure();
        inside = false;
        envp = environ;
    }
    atexit(disarm);
    armed = true;
    return program_main(argc, argv, envp);
}

int __libc_start_main(main_fn main, int argc, char **argv, void (*init)(void), void (*fini)(void),
    void (*rtld_fini)(void), void *stack_end);

int __libc_start_main(main_fn main, int argc, char **argv, void (*init)(void), void (*fini)(void),
    void (*rtld_fini)(void), void *stack_end) {
    __typeof__(&__libc_start_main) start;
    *(void **)&start = dlsym(RTLD_NEXT, "__libc_start_main");
    program_main = main;
    return start(armed_main, argc, argv, init, fini, rtld_fini, stack_end);
}

/* memory */
void *malloc(size_t size) {
    if (!next_of[CALL_malloc] && inside) return early_malloc(size);
    return fails(CALL_malloc) ? NULL : NEXT(malloc)(size);
}

void *calloc(size_t n, size_t size) {
    if (!next_of[CALL_calloc] && inside) return early_malloc(n * size); /* static: zeros */
    return fails(CALL_calloc) ? NULL : NEXT(calloc)(n, size);
}

void *realloc(void *old, size_t size) {
    if (is_early(old)) {
        void *copy = malloc(size);
        if (copy) memcpy(copy, old, size < (size_t)(early + sizeof early - (char *)old) ? size : 0);
        return copy;
    }
    return fails(CALL_realloc) ? NULL : NEXT(realloc)(old, size);
}

void free(void *memory) {
    if (is_early(memory)) return;
    if (!next_free) *(void **)&next_free = dlsym(RTLD_NEXT, "free");
    next_free(memory);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    const int before = errno;
    if (!fails(CALL_posix_memalign)) return NEXT(posix_memalign)(out, alignment, size);
    errno = before;
    return ENOMEM;
}

#define WRAP(type, name, failed, parameters, arguments)                                            \
    type name parameters {                                                                         \
        return fails(CALL_##name) && !SHORT ? (type)failed : NEXT(name) arguments;                 \
    }
#define WRAP_MEMORY(name, parameters, arguments)                                                   \
    void *name parameters {                                                                        \
        return fails(CALL_##name) ? NULL : NEXT(name) arguments;                                   \
    }
/* A count of bytes: half of them when the fault is SHORT. */
#define WRAP_COUNT(name, parameters, arguments, size)                                              \
    ssize_t name parameters {                                                                      \
        if (fails(CALL_##name)) {                                                                  \
            if (!SHORT) return -1;                                                                 \
            size = (size + 1) / 2;                                                                 \
        }                                                                                          \
        return NEXT(name) arguments;                                                               \
    }

WRAP_MEMORY(aligned_alloc, (size_t alignment, size_t size), (alignment, size))
void *memalign(size_t alignment, size_t size);
WRAP_MEMORY(memalign, (size_t alignment, size_t size), (alignment, size))

#undef strdup
char *strdup(const char *text) {
    const size_t n = strlen(text) + 1;
    char *copy = fails(CALL_strdup) ? NULL : malloc(n);
    return copy ? memcpy(copy, text, n) : NULL;
}

#undef strndup
char *strndup(const char *text, size_t most) {
    const size_t n = strnlen(text, most);
    char *copy = fails(CALL_strndup) ? NULL : malloc(n + 1);
    if (!copy) return NULL;
    copy[n] = 0;
    return memcpy(copy, text, n);
}

/* files */
static unsigned mode_of(int flags, va_list more) {
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, unsigned) : 0;
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const unsigned mode = mode_of(flags, more);
    va_end(more);
    return fails(CALL_open) && !SHORT ? -1 : NEXT(open)(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const unsigned mode = mode_of(flags, more);
    va_end(more);
    return fails(CALL_openat) && !SHORT ? -1 : NEXT(openat)(folder, path, flags, mode);
}

int fcntl(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    return fails(CALL_fcntl) && !SHORT ? -1 : NEXT(fcntl)(fd, command, argument);
}

WRAP(int, creat, -1, (const char *path, mode_t mode), (path, mode))
WRAP(FILE *, fopen, NULL, (const char *path, const char *mode), (path, mode))
WRAP(FILE *, fdopen, NULL, (int fd, const char *mode), (fd, mode))
WRAP(int, fflush, EOF, (FILE * file), (file))
WRAP(int, fsync, -1, (int fd), (fd))
WRAP(int, fdatasync, -1, (int fd), (fd))
WRAP(int, rename, -1, (const char *from, const char *to), (from, to))
WRAP(int, renameat, -1, (int a, const char *from, int b, const char *to), (a, from, b, to))
WRAP(int, mkdir, -1, (const char *path, mode_t mode), (path, mode))
WRAP(int, mkdirat, -1, (int folder, const char *path, mode_t mode), (folder, path, mode))
WRAP(int, rmdir, -1, (const char *path), (path))
WRAP(int, unlink, -1, (const char *path), (path))
WRAP(int, unlinkat, -1, (int folder, const char *path, int flags), (folder, path, flags))
WRAP(int, link, -1, (const char *from, const char *to), (from, to))
WRAP(int, symlink, -1, (const char *from, const char *to), (from, to))
WRAP(ssize_t, readlink, -1, (const char *path, char *out, size_t size), (path, out, size))
WRAP(char *, realpath, NULL, (const char *path, char *out), (path, out))
WRAP(int, stat, -1, (const char *path, struct stat *out), (path, out))
WRAP(int, lstat, -1, (const char *path, struct stat *out), (path, out))
WRAP(int, fstat, -1, (int fd, struct stat *out), (fd, out))
WRAP(int, fstatat, -1, (int folder, const char *path, struct stat *out, int flags),
    (folder, path, out, flags))
WRAP(int, chmod, -1, (const char *path, mode_t mode), (path, mode))
WRAP(int, fchmod, -1, (int fd, mode_t mode), (fd, mode))
WRAP(void *, mmap, MAP_FAILED,
    (void *at, size_t size, int protection, int flags, int fd, off_t offset),
    (at, size, protection, flags, fd, offset))
WRAP(int, munmap, -1, (void *at, size_t size), (at, size))
WRAP(int, mprotect, -1, (void *at, size_t size, int protection), (at, size, protection))
WRAP(int, madvise, -1, (void *at, size_t size, int advice), (at, size, advice))
WRAP(DIR *, opendir, NULL, (const char *path), (path))
WRAP(DIR *, fdopendir, NULL, (int fd), (fd))
WRAP(struct dirent *, readdir, NULL, (DIR * folder), (folder))
WRAP(int, flock, -1, (int fd, int operation), (fd, operation))
WRAP(int, ftruncate, -1, (int fd, off_t size), (fd, size))
WRAP(int, pipe, -1, (int ends[2]), (ends))
WRAP(int, pipe2, -1, (int ends[2], int flags), (ends, flags))
WRAP(void *, dlopen, NULL, (const char *path, int flags), (path, flags))
WRAP(ssize_t, getrandom, -1, (void *out, size_t size, unsigned flags), (out, size, flags))
WRAP(int, clock_gettime, -1, (clockid_t clock, struct timespec *out), (clock, out))
WRAP(int, nanosleep, -1, (const struct timespec *wish, struct timespec *rest), (wish, rest))
WRAP_COUNT(read, (int fd, void *out, size_t size), (fd, out, size), size)
WRAP_COUNT(pread, (int fd, void *out, size_t size, off_t at), (fd, out, size, at), size)
WRAP_COUNT(write, (int fd, const void *data, size_t size), (fd, data, size), size)
WRAP_COUNT(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), size)

size_t fread(void *out, size_t size, size_t n, FILE *file) {
    if (!fails(CALL_fread)) return NEXT(fread)(out, size, n, file);
    return SHORT ? NEXT(fread)(out, size, n / 2, file) : 0;
}

size_t fwrite(const void *data, size_t size, size_t n, FILE *file) {
    if (!fails(CALL_fwrite)) return NEXT(fwrite)(data, size, n, file);
    return SHORT ? NEXT(fwrite)(data, size, n / 2, file) : 0;
}

/* A descriptor is gone after close, whatever close returns. */
int close(int fd) {
    const bool failed = fails(CALL_close) && !SHORT;
    const int before = errno, result = NEXT(close)(fd);
    if (!failed) return result;
    errno = before;
    return -1;
}

int fclose(FILE *file) {
    const bool failed = fails(CALL_fclose) && !SHORT;
    const int before = errno, result = NEXT(fclose)(file);
    if (!failed) return result;
    errno = before;
    return EOF;
}

int pthread_create(
    pthread_t *thread, const pthread_attr_t *options, void *(*fn)(void *), void *payload) {
    if (fails(CALL_pthread_create) && !SHORT) return errno;
    return NEXT(pthread_create)(thread, options, fn, payload);
}
