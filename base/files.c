/* Reading and mapping files, and writing one file so that it is there whole or not at all.
 * Every failure names the path and the system's reason. Output directories: output.c. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens a regular file and gives its size. O_NONBLOCK: a FIFO must be refused, not waited for. */
static psc_status open_regular(int *fd, size_t *size, const char *path, psc_error *error) {
    struct stat info;
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0) return psc_fail(error, PSC_ERROR_IO, "cannot open %s: %s", path, strerror(errno));
    psc_status status = PSC_OK;
    if (fstat(*fd, &info) != 0)
        status = psc_fail(error, PSC_ERROR_IO, "cannot examine %s: %s", path, strerror(errno));
    else if (S_ISDIR(info.st_mode))
        status = psc_fail(error, PSC_ERROR_INPUT, "%s is a directory, not a file", path);
    else if (!S_ISREG(info.st_mode))
        status = psc_fail(error, PSC_ERROR_INPUT, "%s is not a regular file", path);
    else if (info.st_size < 0 || (uintmax_t)info.st_size > SIZE_MAX / 2)
        status = psc_fail(error, PSC_ERROR_INPUT, "%s is too large to be read here", path);
    if (status) {
        close(*fd);
        return status;
    }
    *size = (size_t)info.st_size;
    return PSC_OK;
}

psc_status psc_map_file(psc_mapping *out, const char *path, psc_error *error) {
    int fd;
    size_t size = 0;
    *out = (psc_mapping){0};
    psc_status status = open_regular(&fd, &size, path, error);
    if (status) return status;
    if (size > 0) {
        void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = psc_fail(error, PSC_ERROR_IO, "cannot map %s: %s", path, strerror(errno));
        else
            *out = (psc_mapping){data, size};
    }
    close(fd); /* the mapping holds the file */
    return status;
}

void psc_unmap_file(psc_mapping *mapping) {
    if (mapping->data) munmap((void *)mapping->data, mapping->size);
    *mapping = (psc_mapping){0};
}

psc_status psc_read_file(
    char **data, size_t *size, const char *path, size_t cap, psc_error *error) {
    int fd;
    size_t length = 0, done = 0;
    char *buffer = NULL;
    *data = NULL;
    *size = 0;
    psc_status status = open_regular(&fd, &length, path, error);
    if (status) return status;
    if (length > cap) {
        status = psc_fail(error, PSC_ERROR_INPUT, "%s has %zu bytes, more than the %zu allowed",
            path, length, cap);
        goto fail;
    }
    buffer = malloc(length + 1);
    if (!buffer) {
        status =
            psc_fail(error, PSC_ERROR_MEMORY, "no memory for the %zu bytes of %s", length, path);
        goto fail;
    }
    while (done < length) {
        ssize_t n = read(fd, buffer + done, length - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            status = psc_fail(error, PSC_ERROR_IO, "cannot read %s: %s", path, strerror(errno));
        else if (n == 0)
            status = psc_fail(error, PSC_ERROR_IO, "%s became shorter while it was read", path);
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
    return stat(path, &info) == 0;
}

char *psc_path_join(const char *folder, const char *name) {
    size_t n = strlen(folder), m = strlen(name);
    char *path = malloc(n + m + 2);
    if (!path) return NULL;
    memcpy(path, folder, n);
    if (n > 0 && folder[n - 1] != '/') path[n++] = '/';
    memcpy(path + n, name, m + 1);
    return path;
}

/* Syncs the directory that holds path, so that a rename survives a crash. Some file systems cannot
 * sync a directory; the file itself is safe by then, so that is no failure. */
static void sync_parent(const char *path) {
    char *folder = strdup(path);
    if (!folder) return;
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = 0;
    int fd = open(slash ? folder : ".", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
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

psc_status psc_write_file(const char *path, const void *data, size_t size, psc_error *error) {
    size_t length = strlen(path) + 32;
    char *temporary = malloc(length);
    int fd = -1;
    if (!temporary) return psc_fail(error, PSC_ERROR_MEMORY, "no memory to write %s", path);
    for (int i = 0; i < 100 && fd < 0; i++) {
        snprintf(temporary, length, "%s.tmp-%ld-%d", path, (long)getpid(), i);
        fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) break;
    }
    psc_status status = PSC_OK;
    if (fd < 0) {
        status = psc_fail(error, PSC_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
        free(temporary);
        return status;
    }
    bool written = write_all(fd, data, size) == 0 && fsync(fd) == 0;
    if (!written)
        status = psc_fail(error, PSC_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
    if (close(fd) != 0 && written)
        status = psc_fail(error, PSC_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
    if (!status && rename(temporary, path) != 0)
        status =
            psc_fail(error, PSC_ERROR_IO, "cannot put %s in its place: %s", path, strerror(errno));
    if (status)
        unlink(temporary);
    else
        sync_parent(path);
    free(temporary);
    return status;
}
