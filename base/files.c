/* Reading and mapping files, and writing one file that appears whole or not at all.
 * Every failure names the path and the system's reason. Output directories: output.c. */
#define _DEFAULT_SOURCE /* madvise, MAP_ANONYMOUS */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __APPLE__
#define MODIFIED st_mtimespec
#define CHANGED st_ctimespec
#else
#define MODIFIED st_mtim
#define CHANGED st_ctim
#endif

static psc_file_facts facts_of(const struct stat *info) {
    return (psc_file_facts){.size = (uint64_t)info->st_size,
        .device = (uint64_t)info->st_dev,
        .inode = (uint64_t)info->st_ino,
        .modified = (int64_t)info->MODIFIED.tv_sec * 1000000000 + info->MODIFIED.tv_nsec,
        .changed = (int64_t)info->CHANGED.tv_sec * 1000000000 + info->CHANGED.tv_nsec};
}

/* Opens a regular file and returns its facts. O_NONBLOCK: opening a FIFO must not block. */
static psc_status open_regular(int *fd, psc_file_facts *facts, const char *path, psc_error *error) {
    struct stat info;
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0) return psc_fail(error, PSC_ERROR_IO, "cannot open %s: %s", path, strerror(errno));
    psc_status status = PSC_OK;
    if (fstat(*fd, &info) != 0)
        status = psc_fail(error, PSC_ERROR_IO, "cannot stat %s: %s", path, strerror(errno));
    else if (S_ISDIR(info.st_mode))
        status = psc_fail(error, PSC_ERROR_INPUT, "%s is a directory, not a file", path);
    else if (!S_ISREG(info.st_mode))
        status = psc_fail(error, PSC_ERROR_INPUT, "%s is not a regular file", path);
    else if (info.st_size < 0 || (uintmax_t)info.st_size > SIZE_MAX / 2)
        status = psc_fail(
            error, PSC_ERROR_INPUT, "%s is too large for this machine's address space", path);
    if (status) {
        close(*fd);
        return status;
    }
    *facts = facts_of(&info);
    return PSC_OK;
}

bool psc_file_examine(psc_file_facts *out, const char *path) {
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) return false;
    *out = facts_of(&info);
    return true;
}

bool psc_file_same(const psc_file_facts *a, const psc_file_facts *b) {
    return a->size == b->size && a->device == b->device && a->inode == b->inode &&
           a->modified == b->modified && a->changed == b->changed;
}

psc_status psc_map_file(psc_mapping *out, const char *path, psc_error *error) {
    int fd;
    psc_file_facts facts = {0};
    *out = (psc_mapping){0};
    psc_status status = open_regular(&fd, &facts, path, error);
    if (status) return status;
    size_t size = (size_t)facts.size;
    out->facts = facts;
    if (size > 0) {
        void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = psc_fail(error, PSC_ERROR_IO, "cannot map %s: %s", path, strerror(errno));
        else
            *out = (psc_mapping){data, size, facts};
    }
    close(fd); /* the mapping holds the file */
    return status;
}

void psc_unmap_file(psc_mapping *mapping) {
    if (mapping->data) munmap((void *)mapping->data, mapping->size);
    *mapping = (psc_mapping){0};
}

psc_status psc_map_memory(psc_mapping *out, size_t size, psc_error *error) {
    *out = (psc_mapping){0};
    if (size == 0) return PSC_OK;
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (data == MAP_FAILED)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for %zu bytes", size);
#ifdef MADV_HUGEPAGE
    madvise(data, size, MADV_HUGEPAGE);
#endif
    *out = (psc_mapping){.data = data, .size = size};
    return PSC_OK;
}

void psc_memory_seal(const psc_mapping *mapping) {
    if (mapping->data) mprotect((void *)mapping->data, mapping->size, PROT_READ);
}

void psc_drop_pages(const void *data, size_t size) {
#ifdef MADV_DONTNEED
    long page = sysconf(_SC_PAGESIZE);
    uintptr_t mask = page > 0 ? (uintptr_t)page - 1 : 4095;
    uintptr_t begin = (uintptr_t)data & ~mask, end = ((uintptr_t)data + size) & ~mask;
    if (end > begin) madvise((void *)begin, (size_t)(end - begin), MADV_DONTNEED);
#else
    (void)data, (void)size;
#endif
}

psc_status psc_read_file(
    char **data, size_t *size, const char *path, size_t cap, psc_error *error) {
    int fd;
    psc_file_facts facts = {0};
    size_t done = 0;
    char *buffer = NULL;
    *data = NULL;
    *size = 0;
    psc_status status = open_regular(&fd, &facts, path, error);
    if (status) return status;
    size_t length = (size_t)facts.size;
    if (length > cap) {
        status = psc_fail(
            error, PSC_ERROR_INPUT, "%s has %zu bytes; the limit is %zu", path, length, cap);
        goto fail;
    }
    buffer = malloc(length + 1);
    if (!buffer) {
        status = psc_fail(
            error, PSC_ERROR_MEMORY, "not enough memory for the %zu bytes of %s", length, path);
        goto fail;
    }
    while (done < length) {
        ssize_t n = read(fd, buffer + done, length - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            status = psc_fail(error, PSC_ERROR_IO, "cannot read %s: %s", path, strerror(errno));
        else if (n == 0)
            status =
                psc_fail(error, PSC_ERROR_IO, "%s was truncated while it was being read", path);
        if (n <= 0) goto fail;
        done += (size_t)n;
    }
    close(fd);
    buffer[length] = 0;
    *data = buffer;
    *size = length;
    return PSC_OK;
fail:
    close(fd);
    free(buffer);
    return status;
}

bool psc_path_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 ||
           (errno != ENOENT && errno != ENOTDIR && errno != ELOOP && errno != ENAMETOOLONG);
}

bool psc_path_ends(const char *path, const char *suffix) {
    size_t n = strlen(path), m = strlen(suffix);
    return n >= m && strcmp(path + n - m, suffix) == 0;
}

char *psc_path_join(const char *folder, const char *name) {
    size_t n = strlen(folder), m = strlen(name);
    char *path = malloc(n + m + 2);
    if (!path) return NULL;
    memcpy(path, folder, n); // NOLINT(bugprone-not-null-terminated-result): name brings its 0
    if (n > 0 && folder[n - 1] != '/') path[n++] = '/';
    memcpy(path + n, name, m + 1);
    return path;
}

static int write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

/* What is no regular file is refused, because a rename would replace a device or a pipe. */
static psc_status open_beside(psc_temporary *out, const char *path, psc_error *error) {
    struct stat found;
    if (!*path)
        return psc_fail(
            error, PSC_ERROR_INPUT, "the name of the file to write is empty; give it a name");
    if (stat(path, &found) == 0 && !S_ISREG(found.st_mode))
        return psc_fail(error, PSC_ERROR_INPUT, "%s is not a regular file", path);
    return psc_temporary_open(out, path, "cannot write", error);
}

static psc_status replace_file(const char *path, const void *data, size_t size, psc_error *error) {
    psc_temporary temporary;
    psc_status status = open_beside(&temporary, path, error);
    if (status) return status;
    if (write_all(temporary.fd, data, size) == 0)
        return psc_temporary_commit(&temporary, path, error);
    status = psc_fail(error, PSC_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
    psc_temporary_close(&temporary);
    return status;
}

psc_status psc_replace_file(const char *path, const void *data, size_t size, psc_error *error) {
    sigset_t before;
    psc_signals_hold(&before);
    const psc_status status = replace_file(path, data, size, error);
    psc_signals_release(&before);
    return status;
}

/* The file that a link names, to be freed by free(); null for a new file. */
static psc_status resolve(char **out, const char *path, psc_error *error) {
    *out = realpath(path, NULL);
    if (*out || errno == ENOENT) return PSC_OK;
    return psc_fail(error, errno == ENOMEM ? PSC_ERROR_MEMORY : PSC_ERROR_IO, "cannot write %s: %s",
        path, strerror(errno));
}

psc_status psc_write_file(const char *path, const void *data, size_t size, psc_error *error) {
    char *named;
    psc_status status = resolve(&named, path, error);
    if (!status) status = psc_replace_file(named ? named : path, data, size, error);
    free(named);
    return status;
}

psc_status psc_check_file(const char *path, psc_error *error) {
    char *named;
    psc_temporary temporary = {NULL, -1};
    sigset_t before;
    psc_signals_hold(&before);
    psc_status status = resolve(&named, path, error);
    if (!status) status = open_beside(&temporary, named ? named : path, error);
    psc_temporary_close(&temporary);
    psc_signals_release(&before);
    free(named);
    return status;
}
