/* The folder of packed weights: open -> fstat -> every later access by its descriptor. */
#define _DEFAULT_SOURCE /* flock */
#include "weights_cache_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define OPENED (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)

static bool is_trusted_owner(const struct stat *info) {
    return info->st_uid == geteuid() || info->st_uid == 0;
}

static bool others_may_write(const struct stat *info) {
    return (info->st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

/* --- the folder ------------------------------------------------------------------------------ */

static psc_status check_folder(const struct stat *info, const char *path, psc_error *error) {
    if (!is_trusted_owner(info))
        return psc_fail(error, PSC_ERROR_INPUT,
            "the cache folder %s is owned by another user; choose a folder of your own", path);
    if (others_may_write(info))
        return psc_fail(error, PSC_ERROR_INPUT,
            "the cache folder %s cannot be trusted, because group or others may write to it; run "
            "chmod go-w on it, or choose another folder",
            path);
    return PSC_OK;
}

/* Makes the missing folders of path, for this user alone. The deepest that exists must be this
 * user's or root's: another user's home is left alone. */
static psc_status make_folders(char *path, psc_error *error) {
    struct stat parent, info;
    size_t deepest = *path == '/' ? 1 : 0;                           /* bytes of its name */
    if (stat(*path == '/' ? "/" : ".", &parent) != 0) return PSC_OK; /* open says why */
    for (char *c = path + 1;; c++) {
        const char kept = *c;
        if (kept && kept != '/') continue;
        *c = 0;
        const bool missing = stat(path, &info) != 0 && errno == ENOENT;
        const bool stranger = missing && !is_trusted_owner(&parent);
        if (missing && !stranger) mkdir(path, 0700); /* or another process does */
        if (stat(path, &info) == 0) {
            parent = info;
            deepest = (size_t)(c - path);
        }
        *c = kept;
        if (stranger)
            return psc_fail(error, PSC_ERROR_INPUT,
                "the cache folder %s would be made in %.*s, which is owned by another user; choose "
                "another folder, or make it first",
                path, deepest > 0 ? (int)deepest : 1, deepest > 0 ? path : ".");
        if (!kept) return PSC_OK;
    }
}

static psc_status refuse_folder(const char *path, psc_error *error) {
    const int reason = errno;
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode))
        return psc_fail(error, PSC_ERROR_INPUT,
            "the cache folder %s is a symbolic link; name the folder that it points to", path);
    if (reason == ENOTDIR)
        return psc_fail(error, PSC_ERROR_IO, "the cache folder %s is not a directory", path);
    return psc_fail(
        error, PSC_ERROR_IO, "cannot use the cache folder %s: %s", path, strerror(reason));
}

psc_status psc_cache_place_open(
    psc_cache_place *out, bool *missing, const char *dir, bool make, psc_error *error) {
    struct stat info;
    psc_status status = PSC_OK;
    *out = (psc_cache_place){.fd = -1};
    if (missing) *missing = false;
    if (!*dir) return psc_fail(error, PSC_ERROR_IO, "the cache folder's name is empty");
    char *path = strdup(dir);
    if (!path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--) /* "link/" follows the link */
        path[n - 1] = 0;
    if (make) status = make_folders(path, error);
    int fd = status ? -1 : open(path, OPENED | O_DIRECTORY);
    if (!status && fd < 0) {
        if (missing) *missing = errno == ENOENT;
        status = refuse_folder(path, error);
    }
    if (!status && fstat(fd, &info) != 0) status = refuse_folder(path, error);
    if (!status) status = check_folder(&info, path, error);
    if (!status) {
        *out = (psc_cache_place){path, fd};
        return PSC_OK;
    }
    if (fd >= 0) close(fd);
    free(path);
    return status;
}

void psc_cache_place_close(psc_cache_place *place) {
    if (!place->path) return;
    close(place->fd);
    free(place->path);
    *place = (psc_cache_place){.fd = -1};
}

/* --- reading --------------------------------------------------------------------------------- */

static psc_status check_file(
    const struct stat *info, const char *dir, const char *name, psc_error *error) {
    const char *what = NULL;
    if (!S_ISREG(info->st_mode))
        what = "it is not a regular file";
    else if (!is_trusted_owner(info))
        what = "it is owned by another user";
    else if (others_may_write(info))
        what = "group or others may write to it";
    if (!what) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT, "%s/%s: %s", dir, name, what);
}

int psc_cache_place_read(
    struct stat *info, const psc_cache_place *place, const char *name, psc_error *error) {
    const int fd = openat(place->fd, name, OPENED);
    const bool there = fd >= 0 && fstat(fd, info) == 0;
    const int failed = there ? 0 : errno;
    if (!there)
        psc_fail(error, PSC_ERROR_IO, "cannot %s %s/%s: %s", fd < 0 ? "open" : "stat", place->path,
            name, strerror(failed));
    else if (check_file(info, place->path, name, error) == PSC_OK)
        return fd;
    if (fd >= 0) close(fd);
    errno = failed;
    return -1;
}

char *psc_cache_place_text(
    size_t *size, int *failed, const psc_cache_place *place, const char *name, size_t cap) {
    struct stat info;
    const int fd = psc_cache_place_read(&info, place, name, NULL);
    *failed = fd < 0 && errno != ENOENT ? errno : 0;
    if (fd < 0) return NULL;
    const bool fits = info.st_size >= 0 && (uintmax_t)info.st_size <= cap;
    const size_t length = fits ? (size_t)info.st_size : 0;
    size_t done = 0;
    char *text = fits ? malloc(length + 1) : NULL;
    if (fits && !text) *failed = ENOMEM;
    while (text && done < length) {
        const ssize_t n = read(fd, text + done, length - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) *failed = errno;
        if (n <= 0) break;
        done += (size_t)n;
    }
    close(fd);
    if (text && done == length) {
        text[length] = 0;
        *size = length;
        return text;
    }
    free(text);
    return NULL;
}

/* --- writing --------------------------------------------------------------------------------- */

/* A sweep may take the file between its creation and its lock; then it has no name any more. */
static bool is_mine(int fd) {
    struct stat info;
    return fstat(fd, &info) == 0 && info.st_nlink > 0;
}

psc_status psc_cache_partial_open(
    psc_cache_partial *out, const psc_cache_place *place, psc_error *error) {
    *out = (psc_cache_partial){.place = place, .fd = -1};
    for (int i = 0; i < 100 && out->fd < 0; i++) {
        snprintf(out->name, sizeof out->name, "making-%ld-%d.partial", (long)getpid(), i);
        out->fd =
            openat(place->fd, out->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (out->fd < 0 && errno != EEXIST) break;
        if (out->fd < 0) continue;
        flock(out->fd, LOCK_EX | LOCK_NB); /* a locked file does not count as abandoned */
        if (is_mine(out->fd)) return PSC_OK;
        unlinkat(place->fd, out->name, 0); /* if it could not be looked at */
        close(out->fd);
        out->fd = -1;
    }
    return psc_fail(
        error, PSC_ERROR_IO, "cannot write a file in %s: %s", place->path, strerror(errno));
}

int psc_cache_partial_put(
    const psc_cache_partial *partial, const void *data, size_t size, uint64_t at) {
    const char *from = data;
    while (size > 0) {
        const ssize_t n = pwrite(partial->fd, from, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        from += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

int psc_cache_partial_rename(psc_cache_partial *partial, const char *name, mode_t mode) {
    const int dir = partial->place->fd;
    if (fchmod(partial->fd, mode) != 0 || fsync(partial->fd) != 0) return -1;
    if (renameat(dir, partial->name, dir, name) != 0) return -1;
    partial->name[0] = 0; /* nothing to remove */
    return 0;
}

void psc_cache_partial_close(psc_cache_partial *partial) {
    if (partial->fd < 0) return;
    if (partial->name[0]) unlinkat(partial->place->fd, partial->name, 0);
    close(partial->fd);
    partial->fd = -1;
}

void psc_cache_remove_abandoned(const psc_cache_place *place, const char *name) {
    struct stat info;
    const int fd = openat(place->fd, name, OPENED);
    if (fd < 0) return;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(place->fd, name, 0);
    close(fd);
}
