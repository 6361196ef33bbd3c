/* The cache as huggingface_hub lays it out:
 *   <root>/blobs/<hash>                     the bytes; <hash>.incomplete while they arrive
 *   <root>/snapshots/<commit>/<file>        a link to ../../blobs/<hash>
 *   <root>/refs/<revision>                  the commit
 *   <cache>/.locks/<model>/<hash>.lock      flock while a process downloads the blob
 * A plain folder: <file>, and <file>.<hash>.incomplete while it arrives. */
#define _DEFAULT_SOURCE /* flock */
#include "hub_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "hub_digest.h"
#include "hub_say.h"

#define RESERVE ((int64_t)64 << 20) /* bytes of the disk that stay free */

/* --- paths ----------------------------------------------------------------------------------- */

static bool print(char *out, size_t size, const char *format, ...) PSC_PRINTF(3, 4);
static bool print(char *out, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(out, size, format, arguments);
    va_end(arguments);
    return n >= 0 && (size_t)n < size;
}

psc_status hub_store_say(const hub_store *store, const char *path, psc_error *error) {
    const int reason = errno;
    if (reason == ENOSPC || reason == EDQUOT)
        return psc_fail(error, PSC_ERROR_IO,
            "the disk of %.600s is full; make room and run the command again to continue", path);
    return psc_fail(error, PSC_ERROR_IO, "cannot write %.600s: %s; %s", path, strerror(reason),
        store->is_plain ? "pass a --to DIR that can be written"
                        : "set HF_HUB_CACHE to a folder that can be written, or pass --to DIR");
}

static psc_status too_long(const hub_store *store, psc_error *error) {
    errno = ENAMETOOLONG;
    return hub_store_say(store, store->root, error);
}

/* Makes a folder and those above it. */
static psc_status make_folders(const hub_store *store, const char *path, psc_error *error) {
    char part[4608];
    struct stat info;
    if (!print(part, sizeof part, "%s", path)) return too_long(store, error);
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return PSC_OK;
    for (char *slash = part + 1;; slash++) {
        slash += strcspn(slash, "/");
        const char end = *slash;
        *slash = 0;
        const int failed = mkdir(part, 0777) == 0 ? 0 : errno;
        if (failed && failed != EEXIST && failed != EISDIR && stat(part, &info) != 0) {
            errno = failed;
            return hub_store_say(store, part, error);
        }
        if (!end) break;
        *slash = end;
    }
    errno = ENOTDIR;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode) ? PSC_OK
                                                           : hub_store_say(store, path, error);
}

void hub_store_folder(char *out, size_t size, const hub_store *store, const hub_listing *listing) {
    if (!store->is_plain)
        print(out, size, "%s/snapshots/%s", store->root, listing->commit);
    else
        print(out, size, "%s%s%s", store->root, store->has_folders ? "/" : "",
            store->has_folders ? listing->revision : "");
}

/* The folder of all locks beside the model's root: <cache>/.locks/<model>. */
static bool lock_folder(char *out, size_t size, const hub_store *store) {
    const char *slash = strrchr(store->root, '/');
    const char *model = slash ? slash + 1 : store->root;
    return print(out, size, "%.*s/.locks/%s", slash ? (int)(slash - store->root) : 1,
        slash ? store->root : ".", model);
}

psc_status hub_store_prepare(const hub_store *store, const hub_listing *listing, psc_error *error) {
    char path[4608];
    hub_store_folder(path, sizeof path, store, listing);
    psc_status status = make_folders(store, path, error);
    if (status || store->is_plain) return status;
    if (!print(path, sizeof path, "%s/blobs", store->root)) return too_long(store, error);
    status = make_folders(store, path, error);
    if (status) return status;
    if (!lock_folder(path, sizeof path, store)) return too_long(store, error);
    return make_folders(store, path, error);
}

psc_status hub_store_target(hub_target *out, const hub_store *store, const hub_listing *listing,
    const hub_file *file, psc_error *error) {
    char folder[4608];
    bool fits;
    if (store->is_plain) {
        hub_store_folder(folder, sizeof folder, store, listing);
        out->lock[0] = 0;
        fits = print(out->whole, sizeof out->whole, "%s/%s", folder, file->name) &&
               print(out->partial, sizeof out->partial, "%s/%s.%.12s.incomplete", folder,
                   file->name, file->hash);
    } else {
        fits = lock_folder(folder, sizeof folder, store) &&
               print(out->lock, sizeof out->lock, "%s/%s.lock", folder, file->hash) &&
               print(out->whole, sizeof out->whole, "%s/blobs/%s", store->root, file->hash) &&
               print(out->partial, sizeof out->partial, "%s/blobs/%s.incomplete", store->root,
                   file->hash);
    }
    return fits ? PSC_OK : too_long(store, error);
}

/* --- what is there --------------------------------------------------------------------------- */

static bool has_size(const char *path, int64_t size) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_size == size;
}

/* Whether a file has the hash. */
static bool has_hash(const char *path, const hub_file *file) {
    hub_digest digest;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    bool same = hub_digest_open(&digest, file, NULL) == PSC_OK;
    if (same) {
        const bool whole = hub_digest_add_file(&digest, fd, file->size);
        same = hub_digest_matches(&digest, file) && whole;
    }
    close(fd);
    return same;
}

bool hub_store_has(const hub_store *store, const hub_target *target, const hub_file *file) {
    if (!has_size(target->whole, file->size)) return false;
    return !store->is_plain || has_hash(target->whole, file);
}

/* snapshots/<commit>/<file>, or the plain file. */
static bool name_path(char *out, size_t size, const hub_store *store, const hub_listing *listing,
    const hub_file *file) {
    char folder[4608];
    hub_store_folder(folder, sizeof folder, store, listing);
    return print(out, size, "%s/%s", folder, file->name);
}

bool hub_store_is_done(const hub_store *store, const hub_listing *listing, const hub_file *file) {
    char path[4608];
    return name_path(path, sizeof path, store, listing, file) && has_size(path, file->size) &&
           (!store->is_plain || has_hash(path, file));
}

psc_status hub_store_check_name(
    const hub_store *store, const hub_listing *listing, const hub_file *file, psc_error *error) {
    char path[4608];
    struct stat info;
    if (!store->is_plain || !name_path(path, sizeof path, store, listing, file)) return PSC_OK;
    if (lstat(path, &info) != 0) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "%.400s exists and is not the file of %s; pass --to with a new folder", path,
        listing->subject);
}

static bool is_listed(const hub_listing *listing, const char *name) {
    for (int32_t f = 0; f < listing->n; f++)
        if (strcmp(listing->files[f].name, name) == 0) return true;
    return false;
}

psc_status hub_store_check_others(
    const hub_store *store, const hub_listing *listing, psc_error *error) {
    char path[4608];
    psc_status status = PSC_OK;
    if (!store->is_plain) return PSC_OK;
    hub_store_folder(path, sizeof path, store, listing);
    DIR *folder = opendir(path); /* null: it is still to be made */
    for (struct dirent *entry; folder && !status && (entry = readdir(folder));)
        if (hub_listing_may_have(entry->d_name) && !is_listed(listing, entry->d_name))
            status = psc_fail(error, PSC_ERROR_INPUT,
                "%.400s has a %.100s, which %s lacks and which would be read with it; pass --to with "
                "a new folder",
                path, entry->d_name, listing->subject);
    if (folder) closedir(folder);
    return status;
}

psc_status hub_store_check_room(const hub_store *store, int64_t needed, psc_error *error) {
    char path[4608], want[32], have[32];
    struct statvfs disk;
    print(path, sizeof path, "%s", store->root);
    while (statvfs(path, &disk) != 0) { /* the folder that exists already */
        char *slash = strrchr(path, '/');
        if (errno != ENOENT || !slash || slash == path) {
            if (statvfs(slash == path ? "/" : ".", &disk) != 0) return PSC_OK;
            break;
        }
        *slash = 0;
    }
    const double room = (double)disk.f_bavail * (double)disk.f_frsize;
    if (needed <= 0 || room >= (double)needed + (double)RESERVE) return PSC_OK;
    hub_size_text(want, sizeof want, needed);
    hub_size_text(have, sizeof have, room < 9e18 ? (int64_t)room : INT64_MAX);
    return psc_fail(error, PSC_ERROR_IO,
        "the download has %s, but the disk of %.400s has only %s free; make room, or %s", want,
        store->root, have,
        store->is_plain ? "pass --to on another disk" : "set HF_HUB_CACHE to another disk");
}

/* --- names ----------------------------------------------------------------------------------- */

/* Where links are not possible: another name of the same file, or the file itself. */
static int link_otherwise(const char *blob, const char *name) {
    if (link(blob, name) == 0) return 0;
    return errno == EEXIST ? -1 : rename(blob, name);
}

/* Makes a symbolic link, or, where links are not possible, another name of the file. */
static int make_link(const char *goal, const char *blob, const char *name) {
    if (symlink(goal, name) == 0) return 0;
    const bool no_links = errno == EPERM || errno == ENOTSUP || errno == ENOSYS;
    return no_links ? link_otherwise(blob, name) : -1;
}

/* Links in place of another file of that name. Of two processes that do so at once one finds the
 * work done. */
psc_status hub_store_link(
    const hub_store *store, const hub_listing *listing, const hub_file *file, psc_error *error) {
    char name[4608], fresh[4640], blob[4608], goal[96];
    if (store->is_plain || hub_store_is_done(store, listing, file)) return PSC_OK;
    if (!name_path(name, sizeof name, store, listing, file) ||
        !print(fresh, sizeof fresh, "%s.psc-tmp", name) ||
        !print(blob, sizeof blob, "%s/blobs/%s", store->root, file->hash))
        return too_long(store, error);
    print(goal, sizeof goal, "../../blobs/%s", file->hash);
    unlink(fresh); /* a killed process may have left it */
    if (make_link(goal, blob, name) == 0) return PSC_OK;
    if (errno == EEXIST && make_link(goal, blob, fresh) == 0 && rename(fresh, name) == 0)
        return PSC_OK;
    const psc_status status = hub_store_say(store, name, error);
    unlink(fresh);
    return hub_store_is_done(store, listing, file) ? PSC_OK : status;
}

/* Whether path names the file no longer, because another process has renamed it. */
static bool is_renamed(int fd, const char *path) {
    struct stat mine, named;
    if (fstat(fd, &mine) != 0) return false;
    if (stat(path, &named) != 0) return errno == ENOENT;
    return mine.st_ino != named.st_ino || mine.st_dev != named.st_dev;
}

/* Opens the file, which a killed process may have left, and locks it where locks
 * are; -1: errno says why. */
static int open_alone(const char *path) {
    for (;;) {
        const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
        if (fd < 0) return -1;
        int locked = flock(fd, LOCK_EX);
        while (locked != 0 && errno == EINTR && !hub_interrupted) locked = flock(fd, LOCK_EX);
        if (locked != 0 || !is_renamed(fd, path)) return fd;
        close(fd);
    }
}

static bool write_commit(int fd, const char *commit) {
    size_t size = strlen(commit);
    bool written = ftruncate(fd, 0) == 0;
    while (written && size > 0) {
        const ssize_t n = write(fd, commit, size);
        if (n < 0 && errno == EINTR) continue;
        written = n >= 0;
        if (n < 0) break;
        commit += n;
        size -= (size_t)n;
    }
    return written && fsync(fd) == 0;
}

psc_status hub_store_finish(const hub_store *store, const hub_listing *listing, psc_error *error) {
    char path[4608], fresh[4640], *slash;
    if (store->is_plain || strcmp(listing->revision, listing->commit) == 0) return PSC_OK;
    if (!print(path, sizeof path, "%s/refs/%s", store->root, listing->revision) ||
        !print(fresh, sizeof fresh, "%s.psc-tmp", path))
        return too_long(store, error);
    slash = strrchr(path, '/');
    *slash = 0;
    psc_status status = make_folders(store, path, error);
    *slash = '/';
    if (status) return status;
    const int fd = open_alone(fresh);
    if (fd < 0) return hub_store_say(store, path, error);
    if (!write_commit(fd, listing->commit) || rename(fresh, path) != 0) {
        status = hub_store_say(store, path, error);
        unlink(fresh);
    }
    close(fd);
    return status;
}
