/* fault -> one line with the plugin's name -> the signal's default action.
 *
 * The handlers call only what is safe in a signal handler: write, raise, getpid, and a read of the
 * name that the host keeps per thread. They run on a stack of their own, so that the main thread's
 * may be used up. */
#define _DEFAULT_SOURCE /* sigaltstack, on glibc */
#include "last_words.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "psc.h"
#include "signals.h"

#define STACK_BYTES ((size_t)64 << 10)
#define MOST_NAME 300 /* of a path */

typedef struct fault {
    int number;
    const char *name, *what;
} fault;

static const fault faults[] = {
    {SIGSEGV, "SIGSEGV", "it used memory that it does not have"},
    {SIGBUS, "SIGBUS", "it read past the end of a mapped file, or a misaligned address"},
    {SIGFPE, "SIGFPE", "it divided by zero"},
    {SIGILL, "SIGILL", "it ran an instruction that does not exist here"},
    {SIGABRT, "SIGABRT", "it called abort, as an exception that is not caught does"},
};
enum { N_FAULTS = sizeof faults / sizeof *faults };

static char handler_stack[STACK_BYTES];
static volatile sig_atomic_t working; /* inside cli_last_words_around */

/* --- a line ---------------------------------------------------------------------------------- */

typedef struct line {
    char text[900];
    size_t n;
} line;

/* Control characters become '?'; at most `most` bytes. */
static void add(line *to, const char *text, size_t most) {
    for (size_t i = 0; i < most && text[i] && to->n + 1 < sizeof to->text; i++) {
        const bool control = (unsigned char)text[i] < ' ' || text[i] == 127;
        to->text[to->n] = '?';
        if (!control) to->text[to->n] = text[i];
        to->n++;
    }
}

static void put(line *to) {
    to->text[to->n++] = '\n';
    cli_signals_erase_line();
    for (size_t done = 0; done < to->n;) {
        const ssize_t wrote = write(STDERR_FILENO, to->text + done, to->n - done);
        if (wrote <= 0) return;
        done += (size_t)wrote;
    }
}

static void begin(line *to, const char *plugin) {
    to->n = 0;
    add(to, "pythiascope: ", SIZE_MAX);
    if (!plugin) return;
    add(to, "plugin ", SIZE_MAX);
    add(to, plugin, MOST_NAME);
}

/* --- signals --------------------------------------------------------------------------------- */

static void say_fault(const fault *f) {
    const char *plugin = psc_plugin_at_work();
    line said;
    begin(&said, plugin);
    if (plugin) {
        add(&said, " ended the program by ", SIZE_MAX);
        add(&said, f->name, SIZE_MAX);
        add(&said, ": ", SIZE_MAX);
        add(&said, f->what, SIZE_MAX);
        add(&said, "; nothing was delivered. Repair the plugin, or leave it out", SIZE_MAX);
    } else {
        add(&said, "the program ends by ", SIZE_MAX);
        add(&said, f->name, SIZE_MAX);
        add(&said,
            " while no plugin is at work on this thread. If the command names a plugin's file, try "
            "without it; otherwise report the command",
            SIZE_MAX);
    }
    put(&said);
}

/* A signal that another process sent is not a fault of this one. */
static void on_fault(int number, siginfo_t *info, void *where) {
    (void)where;
    const bool sent = info->si_code <= 0 && info->si_pid != getpid();
    for (int i = 0; i < N_FAULTS && !sent; i++)
        if (faults[i].number == number) say_fault(&faults[i]);
    raise(number); /* the default action, once this handler returns */
}

void cli_last_words(void) {
    const stack_t stack = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND}, former;
    action.sa_sigaction = on_fault;
    sigemptyset(&action.sa_mask);
    (void)sigaltstack(&stack, NULL);
    for (int i = 0; i < N_FAULTS; i++)
        if (sigaction(faults[i].number, NULL, &former) == 0 && former.sa_handler == SIG_DFL)
            (void)sigaction(faults[i].number, &action, NULL);
}

/* --- exit ------------------------------------------------------------------------------------ */

static void end_unfinished(const char *call) {
    const char *plugin = psc_plugin_at_work();
    line said;
    begin(&said, plugin);
    add(&said, plugin ? " called " : "a thread that a plugin started called ", SIZE_MAX);
    add(&said, call, SIZE_MAX);
    add(&said,
        " before the work was done; nothing more is delivered. Repair the plugin, or leave it out",
        SIZE_MAX);
    put(&said);
    _exit(CLI_FAILED);
}

static void on_exit_call(void) {
    if (working) end_unfinished("exit");
}

static void on_thread_exit(void *payload) {
    (void)payload;
    end_unfinished("pthread_exit");
}

int cli_last_words_around(int (*body)(void *payload), void *payload) {
    int code = CLI_FAILED;
    if (atexit(on_exit_call) != 0) return body(payload);
    working = 1;
    pthread_cleanup_push(on_thread_exit, NULL);
    code = body(payload);
    pthread_cleanup_pop(0);
    working = 0;
    return code;
}
