/* A request: its size in bytes (int32), then texts that end with 0: folder, stdout, stderr, the
 * number of variables, the variables, the arguments. An answer: process id (int32) as it starts,
 * status (int32) as it ends. fault_server.py asks. */
#define _GNU_SOURCE
#include "faults_server.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static bool read_whole(void *out, size_t size) {
    for (size_t done = 0; done < size;) {
        const ssize_t n = read(0, (char *)out + done, size - done);
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

static void answer(int32_t value) {
    if (write(1, &value, sizeof value) != sizeof value) _exit(3);
}

static void redirect(int fd, const char *path) {
    const int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
    if (file < 0 || dup2(file, fd) < 0) _exit(3);
    close(file);
}

static const char *next_text(const char **at) {
    const char *text = *at;
    *at += strlen(text) + 1;
    return text;
}

/* In the process of a run. */
static int become(char ***argv, const char *request, size_t size) {
    const char *at = request, *folder = next_text(&at), *out = next_text(&at),
               *error = next_text(&at);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    redirect(1, out);
    redirect(2, error);
    const int nothing = open("/dev/null", O_RDONLY);
    if (nothing < 0 || dup2(nothing, 0) < 0 || chdir(folder) != 0) _exit(3);
    close(nothing);
    clearenv();
    for (long n = strtol(next_text(&at), NULL, 10); n > 0; n--) putenv((char *)next_text(&at));
    int argc = 0;
    char **list = calloc(size + 1, sizeof *list);
    while (list && at < request + size) list[argc++] = (char *)next_text(&at);
    if (argc < 1) _exit(3);
    *argv = list;
    return argc;
}

int psc_faults_serve(char ***argv) {
    int32_t size;
    while (read_whole(&size, sizeof size) && size > 0) {
        char *request = calloc((size_t)size + 1, 1);
        int status = 0;
        if (!request || !read_whole(request, (size_t)size)) _exit(3);
        const pid_t run = fork();
        if (run < 0) _exit(3);
        if (run == 0) return become(argv, request, (size_t)size);
        free(request);
        answer((int32_t)run);
        if (waitpid(run, &status, 0) != run) _exit(3);
        answer(status);
    }
    _exit(0);
}
