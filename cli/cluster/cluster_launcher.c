/* The launcher's end after a process was lost. mpirun of Open MPI waits for a host that does not
 * answer, for many minutes unless it is told otherwise (docs/cluster.md). A child of this process,
 * which mpirun does not know, ends it if it is still there after some seconds. SIGTERM would not
 * do: mpirun is ending its job already, and 4.1 then crashes or asks for another one. */
#include "cluster_mpi.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Whether the process is a launcher; false for one that has ended. */
static bool is_launcher(pid_t process) {
    static const char *const names[] = {"mpirun", "mpiexec", "orterun", "orted"};
    char path[64], name[64] = "";
    snprintf(path, sizeof path, "/proc/%ld/comm", (long)process);
    FILE *file = fopen(path, "r");
    if (!file) return false;
    name[fread(name, 1, sizeof name - 1, file)] = 0;
    fclose(file);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(name, names[i], strlen(names[i])) == 0) return true;
    return false;
}

/* The child: it holds no pipe of the launcher's and is not of its process group. */
static void press(pid_t launcher) {
    const struct timespec nap = {10, 0};
    setsid();
    for (int i = 0; i < 1024; i++) close(i);
    nanosleep(&nap, NULL);
    if (is_launcher(launcher)) kill(launcher, SIGKILL);
    _exit(0);
}

void cluster_end_launcher(void) {
    const pid_t launcher = getppid();
    if (!is_launcher(launcher)) return;
    if (fork() == 0) press(launcher);
}
