/* Every sentence that the program prints on stderr passes here: cli_say, cli_usage, cli_fail. */
#include "say.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

/* Prints the line. With stderr closed by its reader the write fails with SIGPIPE, which this thread
 * blocks and takes, unless it was pending before. */
static void print(const char *sentence, const char *verb, const char *after) {
    sigset_t pipe, former, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    const bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe, &former);
    fprintf(stderr, "pythiascope: %s%s%s\n", sentence, verb, after);
    sigpending(&pending);
    int taken;
    if (!was_pending && sigismember(&pending, SIGPIPE) == 1) sigwait(&pipe, &taken);
    pthread_sigmask(SIG_SETMASK, &former, NULL);
}

void cli_say(const char *format, ...) {
    psc_error error;
    va_list arguments;
    va_start(arguments, format);
    psc_fail_va(&error, PSC_ERROR_INPUT, format, arguments);
    va_end(arguments);
    print(error.message, "", "");
}

static cli_sentence_fn listener; /* nullable */

void cli_listen(cli_sentence_fn listen) {
    listener = listen;
}

int cli_usage(const cli_verb *verb, const char *format, ...) {
    psc_error error;
    char see[64];
    va_list arguments;
    va_start(arguments, format);
    psc_fail_va(&error, PSC_ERROR_INPUT, format, arguments);
    va_end(arguments);
    if (listener) {
        listener(error.message);
        return CLI_USAGE;
    }
    snprintf(see, sizeof see, " (see pythiascope%s%s", verb ? " " : "", verb ? verb->name : "");
    print(error.message, see, " --help)");
    return CLI_USAGE;
}

static const char *errors_name; /* nullable */

void cli_name_errors(const char *name) {
    errors_name = name;
}

static struct {
    char first[160], last[160]; /* cut */
    int n;
} written;

void cli_say_wrote(const char *path) {
    snprintf(written.last, sizeof written.last, "%s", path);
    if (written.n++ == 0) snprintf(written.first, sizeof written.first, "%s", path);
}

bool cli_has_written(void) {
    return written.n > 0;
}

bool cli_reader_is_gone(void) {
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) == 1 && (out.revents & (POLLERR | POLLHUP)) != 0;
}

/* "; DIR and PAGE are whole and stay", or "". */
static const char *what_stays(char out[400]) {
    const bool several = written.n > 1;
    if (written.n == 0) return "";
    snprintf(out, 400, "; %s%s%s%s", written.first,
        !several         ? ""
        : written.n == 2 ? " and "
                         : " to ",
        several ? written.last : "", several ? " are whole and stay" : " is whole and stays");
    return out;
}

int cli_fail(const psc_error *error) {
    char stays[400];
    if (listener)
        listener(error->message);
    else
        cli_say("%s%s%s%s", errors_name ? errors_name : "", errors_name ? ": " : "", error->message,
            error->status == PSC_ERROR_CANCELLED ? "" : what_stays(stays));
    return CLI_FAILED;
}

int cli_flush(void) {
    char stays[400];
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return CLI_OK;
    if (errno == EPIPE || cli_reader_is_gone()) return CLI_OK;
    cli_say("cannot write to standard output: %s%s",
        errno ? strerror(errno) : "an earlier write failed", what_stays(stays));
    return CLI_FAILED;
}
