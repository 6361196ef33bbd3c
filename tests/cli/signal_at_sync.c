/* Preloaded into the program: gives the process a signal in its Nth fsync, which is in the middle
 * of writing a file or folder. A thread that blocks nothing waits beside it, as OpenBLAS has them.
 *   PSC_TEST_SYNC=N PSC_TEST_SIGNAL=NUMBER LD_PRELOAD=signal_at_sync.so pythiascope ... */
#define _GNU_SOURCE /* RTLD_NEXT */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void *wait_for_ever(void *unused) {
    for (;;) pause();
    return unused;
}

__attribute__((constructor)) static void start(void) {
    pthread_t thread;
    if (getenv("PSC_TEST_SIGNAL")) pthread_create(&thread, NULL, wait_for_ever, NULL);
}

__attribute__((visibility("default"))) int fsync(int fd) {
    static int count;
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    const char *at = getenv("PSC_TEST_SYNC"), *number = getenv("PSC_TEST_SIGNAL");
    if (at && number && ++count == atoi(at)) {
        kill(getpid(), atoi(number));
        usleep(50000); /* another thread may take it */
    }
    return real(fd);
}
