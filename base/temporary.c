/* The temporary name of a file or folder that appears whole: one fixed name per target.
 *
 *   <parent>/.<name>.psc-tmp      the file's bytes before their rename; for a folder the lock only
 *   <parent>/.<name>.psc-tmp.d/   the folder's files before its rename: output.c
 *
 * The maker holds a lock (flock) on the file. The lock ends with its process, so whoever gets it
 * knows that the maker is dead, and removes what it left. A file found under the name is never
 * written to, and a link never followed: each maker creates a file of its own. */
#define _DEFAULT_SOURCE /* flock */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "utf8.h"

#define SUFFIX ".psc-tmp"
enum {
    MOST_NAME = 216, /* bytes of a name that stay as they are: 255, less what is put around it */
    CUT_NAME = 192,  /* of a longer one, before its hash */
    ATTEMPTS = 500,  /* of NAP each: five seconds */
    MOST_DEPTH = 16, /* of folders in a folder that was left */
};
#define NAP_NANOSECONDS 10000000

/* --- signals --------------------------------------------------------------------------------- */

void psc_signals_hold(sigset_t *before) {
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ending, before);
}

void psc_signals_release(const sigset_t *before) {
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* --- names ----------------------------------------------------------------------------------- */

/* "<parent>/.<name>.psc-tmp" in fresh memory with room for a number; null when memory runs out. Of
 * a long name the begin and a hash (FNV-1a). */
static char *name_beside(size_t *room, const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strlen(name);
    uint64_t hash = 14695981039346656037u;
    char mark[24] = "";
    *room = strlen(path) + 80;
    char *beside = malloc(*room);
    if (!beside) return NULL;
    if (n > MOST_NAME) {
        for (const char *c = name; *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211u;
        snprintf(mark, sizeof mark, "~%016llx", (unsigned long long)hash);
        for (n = CUT_NAME; n > 0 && psc_utf8_is_inner(name[n]); n--) {
        }
    }
    snprintf(beside, *room, "%.*s.%.*s%s" SUFFIX, (int)(name - path), path, (int)n, name, mark);
    return beside;
}

/* Whether path still names the open file. */
static bool is_named(int fd, const char *path) {
    struct stat mine, named;
    return fstat(fd, &mine) == 0 && lstat(path, &named) == 0 && mine.st_dev == named.st_dev &&
           mine.st_ino == named.st_ino;
}

static void close_quietly(int fd) {
    const int reason = errno;
    close(fd);
    errno = reason;
}

/* --- the lock -------------------------------------------------------------------------------- */

typedef enum attempt {
    TAKEN,
    AGAIN,    /* something was removed, or changed meanwhile */
    BUSY,     /* another process has the lock */
    NO_LOCKS, /* the file system has none */
    REFUSED   /* errno says why */
} attempt;

static attempt lock(int fd) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return TAKEN;
    if (errno == EWOULDBLOCK) return BUSY;
    if (errno == EINTR) return AGAIN;
    const bool none = errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP || errno == EINVAL;
    return none ? NO_LOCKS : REFUSED;
}

/* Removes what is found under the name, unless a living process holds it. */
static attempt remove_left(const char *path) {
    struct stat info;
    if (lstat(path, &info) != 0) return errno == ENOENT ? AGAIN : REFUSED;
    if (!S_ISREG(info.st_mode)) return unlink(path) == 0 || errno == ENOENT ? AGAIN : REFUSED;
    const int how = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd = open(path, O_RDWR | how); /* NFS locks only what may be written */
    if (fd < 0 && errno == EACCES) fd = open(path, O_RDONLY | how);
    if (fd < 0) return errno == ENOENT || errno == ELOOP ? AGAIN : REFUSED;
    attempt found = lock(fd);
    if (found == TAKEN) found = !is_named(fd, path) || unlink(path) == 0 ? AGAIN : REFUSED;
    close_quietly(fd);
    return found;
}

/* Makes the file and locks it. Between the two another process may take it for one that was left,
 * and remove it. */
static attempt make(int *fd, const char *path) {
    *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (*fd < 0) return errno == EEXIST ? remove_left(path) : REFUSED;
    attempt found = lock(*fd);
    if (found == TAKEN && is_named(*fd, path)) return TAKEN;
    if (found == TAKEN) found = AGAIN;
    if (found == NO_LOCKS || found == REFUSED) {
        const int reason = errno;
        unlink(path);
        errno = reason;
    }
    close_quietly(*fd);
    *fd = -1;
    return found;
}

/* Without locks a name that no other process of this machine has; a killed process leaves it. */
static int make_without_locks(char *path, size_t room) {
    const size_t n = strlen(path);
    int fd = -1;
    for (int i = 0; i < 100 && fd < 0; i++) {
        snprintf(path + n, room - n, "-%ld-%d", (long)getpid(), i);
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) break;
    }
    return fd;
}

static psc_status refuse(psc_error *error, const char *cannot, const char *path,
    const char *temporary, attempt found, int reason) {
    if (found == BUSY || found == AGAIN)
        return psc_fail(error, PSC_ERROR_IO,
            "%s %.400s: another process is writing it; wait for it to finish", cannot, path);
    struct stat info;
    if (lstat(temporary, &info) == 0) /* it could not be removed */
        return psc_fail(error, PSC_ERROR_IO,
            "%s %.300s: its temporary name %.300s exists and cannot be removed (%s); remove it",
            cannot, path, temporary, strerror(reason));
    return psc_fail(error, PSC_ERROR_IO, "%s %.400s: %s", cannot, path, strerror(reason));
}

psc_status psc_temporary_open(
    psc_temporary *out, const char *path, const char *cannot, psc_error *error) {
    const struct timespec nap = {.tv_nsec = NAP_NANOSECONDS};
    size_t room = 0;
    attempt found = AGAIN;
    *out = (psc_temporary){name_beside(&room, path), -1};
    if (!out->path)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write %.400s", path);
    for (int i = 0; i < ATTEMPTS && (found == AGAIN || found == BUSY); i++) {
        if (found == BUSY) nanosleep(&nap, NULL);
        found = make(&out->fd, out->path);
    }
    int reason = errno;
    if (found == NO_LOCKS) {
        out->fd = make_without_locks(out->path, room);
        reason = errno;
        found = out->fd < 0 ? REFUSED : TAKEN;
    }
    if (found == TAKEN) return PSC_OK;
    const psc_status status = refuse(error, cannot, path, out->path, found, reason);
    free(out->path);
    out->path = NULL;
    return status;
}

void psc_temporary_close(psc_temporary *temporary) {
    if (!temporary->path) return;
    if (temporary->fd >= 0) {
        if (is_named(temporary->fd, temporary->path)) unlink(temporary->path);
        close(temporary->fd);
    }
    free(temporary->path);
    *temporary = (psc_temporary){NULL, -1};
}

/* Syncs the directory of path, so that a rename survives a crash. Some file systems cannot sync a
 * directory; the file itself is safe by then, so this does not fail. */
static void sync_parent(const char *path) {
    char *folder = strdup(path);
    if (!folder) return;
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = 0;
    psc_folder_sync(slash ? folder : ".");
    free(folder);
}

psc_status psc_temporary_commit(psc_temporary *temporary, const char *path, psc_error *error) {
    psc_status status = PSC_OK;
    if (fsync(temporary->fd) != 0)
        status = psc_fail(error, PSC_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
    else if (!is_named(temporary->fd, temporary->path))
        status = psc_fail(error, PSC_ERROR_IO,
            "cannot write %.400s: another program removed its temporary file %.400s", path,
            temporary->path);
    else if (rename(temporary->path, path) != 0)
        status = psc_fail(error, PSC_ERROR_IO, "cannot rename the temporary file to %s: %s", path,
            strerror(errno));
    else
        sync_parent(path);
    psc_temporary_close(temporary); /* removes nothing after a rename */
    return status;
}

/* --- folders --------------------------------------------------------------------------------- */

void psc_folder_sync(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

/* Removes what is in the folder, then closes it. Links are removed, not followed. */
static void empty_folder(int fd, int depth) {
    DIR *dir = fd < 0 || depth > MOST_DEPTH ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0) close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        if (unlinkat(fd, name, 0) == 0) continue;
        const int how = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        empty_folder(openat(fd, name, how), depth + 1);
        unlinkat(fd, name, AT_REMOVEDIR);
    }
    closedir(dir);
}

int psc_folder_remove(const char *path) {
    struct stat info;
    if (lstat(path, &info) != 0) return errno == ENOENT ? 0 : -1;
    if (!S_ISDIR(info.st_mode)) return unlink(path);
    empty_folder(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), 0);
    return rmdir(path);
}

void psc_temporary_sweep(const char *path) {
    static const char suffix[] = ".d";
    size_t room = 0;
    char *left = name_beside(&room, path);
    if (!left) return;
    const size_t n = strlen(left);
    const int fd = open(left, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat info;
    const bool dead = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
                      lock(fd) == TAKEN && is_named(fd, left);
    if (dead && n + sizeof suffix <= room) {
        memcpy(left + n, suffix, sizeof suffix);
        (void)psc_folder_remove(left);
        left[n] = 0;
        unlink(left); /* last: the lock ends with it */
    }
    if (fd >= 0) close(fd);
    free(left);
}
