/* Runs a program and says on descriptor 3 how much memory it took at most, in MiB.
 * usage: peak_memory PROGRAM ARGUMENTS... 3>FILE; the exit code is the program's. */
#define _DEFAULT_SOURCE /* wait4 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __APPLE__
#define UNITS (1 << 20) /* ru_maxrss is in bytes */
#else
#define UNITS (1 << 10) /* KiB */
#endif

int main(int argc, char **argv) {
    struct rusage used = {0};
    int code = 0;
    if (argc < 2) return 100;
    const pid_t child = fork();
    if (child == 0) {
        execvp(argv[1], argv + 1);
        _exit(101);
    }
    if (child < 0 || wait4(child, &code, 0, &used) != child) return 102;
    dprintf(3, "%ld\n", used.ru_maxrss / UNITS);
    return WIFEXITED(code) ? WEXITSTATUS(code) : 103;
}
