/* A record lock (fcntl) on PATH.lock, not on PATH, because each write replaces PATH by a rename.
 * The lock ends with its process, so a lock file that a killed run left does not lock out later
 * runs. A releasing process removes the file while it holds the lock. A process that locked an
 * unlinked file tries again. */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether path still names the open file. */
static bool is_there(int file, const char *path) {
    struct stat mine, named;
    return fstat(file, &mine) == 0 && stat(path, &named) == 0 && mine.st_dev == named.st_dev &&
           mine.st_ino == named.st_ino;
}

static psc_status refuse(int file, const char *path, psc_error *error) {
    struct flock other = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    const bool known = fcntl(file, F_GETLK, &other) == 0 && other.l_type != F_UNLCK;
    char holder[64] = "another process";
    if (known) snprintf(holder, sizeof holder, "process %ld", (long)other.l_pid);
    return psc_fail(error, PSC_ERROR_IO,
        "%s is using the state file %.800s; wait for it to finish or pass a different --state",
        holder, path);
}

psc_status cli_lock_take(cli_lock *out, const char *path, psc_error *error) {
    const size_t size = strlen(path) + sizeof ".lock";
    psc_status status = PSC_OK;
    *out = (cli_lock){malloc(size), -1};
    if (!out->path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a lock");
    snprintf(out->path, size, "%s.lock", path);
    while ((out->file = open(out->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666)) >= 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        const bool taken = fcntl(out->file, F_SETLK, &lock) == 0;
        const bool busy = !taken && (errno == EACCES || errno == EAGAIN);
        if (taken && is_there(out->file, out->path)) return PSC_OK;
        if (busy) status = refuse(out->file, path, error);
        close(out->file);
        if (!taken) break;
    }
    free(out->path);
    out->path = NULL;
    return status;
}

void cli_lock_release(cli_lock *lock) {
    if (!lock->path) return;
    unlink(lock->path);
    close(lock->file);
    free(lock->path);
    lock->path = NULL;
}
