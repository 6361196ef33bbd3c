/* A record lock (fcntl) on PATH.lock, not on PATH, because each write replaces PATH by a rename.
 * The lock ends with its process, so a lock file that a killed run left does not lock out later
 * runs. A releasing process removes the file while it holds the lock. A process that locked an
 * unlinked file tries again. Links are followed before PATH is locked: one file has one lock. */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "progress.h"
#include "signals.h"

#define MOST_LINKS 40

/* --- the file -------------------------------------------------------------------------------- */

/* The path that the link at *path names, in place of it; 0, or -1 with errno. */
static int follow(char **path) {
    char target[PATH_MAX];
    const ssize_t n = readlink(*path, target, sizeof target - 1);
    if (n < 0) return -1;
    target[n] = 0;
    const char *slash = target[0] == '/' ? NULL : strrchr(*path, '/');
    const size_t folder = slash ? (size_t)(slash - *path) + 1 : 0;
    char *next = malloc(folder + (size_t)n + 1);
    if (!next) return -1;
    memcpy(next, *path, folder);
    memcpy(next + folder, target, (size_t)n + 1);
    free(*path);
    *path = next;
    return 0;
}

static const char *kind_of(mode_t mode) {
    if (S_ISDIR(mode)) return "is a folder";
    if (S_ISFIFO(mode)) return "is a FIFO";
    if (S_ISSOCK(mode)) return "is a socket";
    return "is a device";
}

psc_status cli_lock_find(
    char **out, bool *exists, const char *path, const char *what, psc_error *error) {
    struct stat info = {0};
    *out = *path ? strdup(path) : NULL;
    if (!*path) return psc_fail(error, PSC_ERROR_INPUT, "%s has no name; give it one", what);
    int failed = *out ? 0 : ENOMEM;
    for (int links = 0; !failed; links++) {
        if (lstat(*out, &info) != 0) failed = errno;
        if (failed || !S_ISLNK(info.st_mode)) break;
        if (links == MOST_LINKS)
            failed = ELOOP;
        else if (follow(out) != 0)
            failed = errno;
    }
    *exists = !failed;
    if (failed == ENOENT || (!failed && S_ISREG(info.st_mode))) return PSC_OK;
    free(*out);
    *out = NULL;
    if (failed)
        return psc_fail(error, failed == ENOMEM ? PSC_ERROR_MEMORY : PSC_ERROR_IO,
            "cannot open %s: %s", what, strerror(failed));
    return psc_fail(error, PSC_ERROR_INPUT, "%s %s, not a regular file; pass a different path",
        what, kind_of(info.st_mode));
}

/* --- the lock -------------------------------------------------------------------------------- */

/* Whether path still names the open file. */
static bool is_there(int file, const char *path) {
    struct stat mine, named;
    return fstat(file, &mine) == 0 && stat(path, &named) == 0 && mine.st_dev == named.st_dev &&
           mine.st_ino == named.st_ino;
}

static psc_status refuse(int file, const char *what, const char *option, psc_error *error) {
    struct flock other = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    const bool known = fcntl(file, F_GETLK, &other) == 0 && other.l_type != F_UNLCK;
    char holder[64] = "another process";
    if (known) snprintf(holder, sizeof holder, "process %ld", (long)other.l_pid);
    return psc_fail(error, PSC_ERROR_IO,
        "%s is using %.800s; wait for it to finish or pass a different %s", holder, what, option);
}

/* The file system, such as NFS without its lock daemon, refuses every lock. */
static bool has_no_locks(int failure) {
    // NOLINTNEXTLINE(misc-redundant-expression): the second and third are one number on Linux only
    return failure == ENOLCK || failure == EOPNOTSUPP || failure == ENOTSUP || failure == ENOSYS ||
           failure == EINVAL;
}

static void note_without(const char *what, int failure) {
    char note[1200];
    snprintf(note, sizeof note,
        "note: the file system has no locks (%s): make sure that no other process uses %.900s",
        strerror(failure), what);
    cli_progress_line(note);
}

/* Opens the lock's file; -1 with errno. A link or FIFO in its place is not
 * followed or waited for. */
static int open_lock(const char *path) {
    struct stat info;
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    const int file = open(path, flags, 0666);
    if (file < 0 || (fstat(file, &info) == 0 && S_ISREG(info.st_mode))) return file;
    close(file);
    errno = EEXIST;
    return -1;
}

static psc_status take(
    cli_lock *out, const char *path, const char *what, const char *option, psc_error *error) {
    const size_t size = strlen(path) + sizeof ".lock";
    psc_status status = PSC_OK;
    *out = (cli_lock){malloc(size), -1};
    if (!out->path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a lock");
    snprintf(out->path, size, "%s.lock", path);
    while ((out->file = open_lock(out->path)) >= 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        const int failed = fcntl(out->file, F_SETLK, &lock) == 0 ? 0 : errno;
        if (!failed && is_there(out->file, out->path)) return PSC_OK;
        if (failed == EACCES || failed == EAGAIN)
            status = refuse(out->file, what, option, error);
        else if (has_no_locks(failed))
            note_without(what, failed);
        else if (failed)
            status = psc_fail(error, PSC_ERROR_IO, "cannot lock %.800s: %s; pass a different %s",
                what, strerror(failed), option);
        if (has_no_locks(failed)) unlink(out->path);
        close(out->file);
        if (failed) break;
    }
    if (out->file < 0)
        status = psc_fail(error, PSC_ERROR_IO,
            "cannot lock %.400s: cannot open %.400s: %s; pass a different %s", what, out->path,
            strerror(errno), option);
    free(out->path);
    out->path = NULL;
    return status;
}

/* A signal waits until the file is locked, or not there: its handler removes only what is ours. */
psc_status cli_lock_take(
    cli_lock *out, const char *path, const char *what, const char *option, psc_error *error) {
    sigset_t before;
    cli_signals_block(&before);
    const psc_status status = take(out, path, what, option, error);
    if (!status && out->path) cli_signals_remove(out->path);
    cli_signals_unblock(&before);
    return status;
}

void cli_lock_release(cli_lock *lock) {
    sigset_t before;
    if (!lock->path) return;
    cli_signals_block(&before);
    cli_signals_keep(lock->path);
    unlink(lock->path);
    cli_signals_unblock(&before);
    close(lock->file);
    free(lock->path);
    lock->path = NULL;
}
