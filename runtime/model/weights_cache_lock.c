/* flock on packing.lock in the folder. Its holder removes the file before it gives the lock up;
 * whoever then has the lock of a file without a name tries again. */
#define _DEFAULT_SOURCE /* flock */
#include "weights_cache_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static const char name[] = "packing.lock";

enum { TURNS = 600 * 50 }; /* of 20 ms */

/* Whether the folder still has the open file under its name. */
static bool is_there(const psc_cache_place *place, int fd) {
    struct stat mine, named;
    return fstat(fd, &mine) == 0 && fstatat(place->fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
}

/* 1: locked; 0: another has it; -1: there are no locks. */
static int try_lock(int fd) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 1;
    return errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
}

int psc_cache_lock_take(const psc_cache_place *place) {
    const struct timespec turn = {.tv_nsec = 20 * 1000 * 1000};
    for (int i = 0; i < TURNS; i++) {
        const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
        const int fd = openat(place->fd, name, flags, 0600);
        const int locked = fd >= 0 ? try_lock(fd) : -1;
        if (locked == 1 && is_there(place, fd)) return fd;
        if (fd >= 0 && locked < 0) unlinkat(place->fd, name, 0); /* it locks for no process */
        if (fd >= 0) close(fd);
        if (locked < 0) return -1;
        if (locked == 0) nanosleep(&turn, NULL);
    }
    return -1;
}

void psc_cache_lock_sweep(const psc_cache_place *place) {
    const int fd = openat(place->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return;
    if (try_lock(fd) == 1 && is_there(place, fd)) unlinkat(place->fd, name, 0);
    close(fd);
}

void psc_cache_lock_release(const psc_cache_place *place, int lock) {
    if (lock < 0) return;
    unlinkat(place->fd, name, 0);
    close(lock);
}
