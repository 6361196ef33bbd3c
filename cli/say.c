/* Every sentence that the program prints on stderr passes here: cli_say, cli_usage, cli_fail. */
#include "say.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

int cli_fail(const psc_error *error) {
    if (listener)
        listener(error->message);
    else
        cli_say("%s%s%s", errors_name ? errors_name : "", errors_name ? ": " : "", error->message);
    return CLI_FAILED;
}

int cli_flush(void) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return CLI_OK;
    if (errno == EPIPE) return CLI_OK;
    cli_say(
        "cannot write to standard output: %s", errno ? strerror(errno) : "an earlier write failed");
    return CLI_FAILED;
}
