/* A library may have threads that block nothing, and the system may hand them a signal. The handler
 * passes it on to the main thread, where it waits while it is blocked. Our own threads block all
 * signals: team.h, progress.c. */
#include "signals.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
enum { N_ENDING = sizeof ending / sizeof ending[0] };

static pthread_t main_thread;
static volatile sig_atomic_t *volatile caught; /* null: the first one ends the program */
static volatile sig_atomic_t catches_all;
enum { MOST_REMOVED = 4 };
static const char *volatile removed[MOST_REMOVED]; /* null: no file */

static volatile sig_atomic_t has_line;
static atomic_flag line_taken = ATOMIC_FLAG_INIT; /* by the thread that draws, or for ever */

bool cli_signals_line_begin(void) {
    if (atomic_flag_test_and_set(&line_taken)) return false;
    has_line = true;
    return true;
}

void cli_signals_line_end(bool stands) {
    has_line = stands;
    atomic_flag_clear(&line_taken);
}

void cli_signals_erase_line(void) {
    static const char erase[] = "\r\033[K";
    const struct timespec moment = {.tv_nsec = 1000000};
    for (int i = 0; i < 1000 && atomic_flag_test_and_set(&line_taken); i++)
        nanosleep(&moment, NULL);
    if (has_line && write(STDERR_FILENO, erase, sizeof erase - 1) < 0) return; /* nothing to do */
}

static void on_signal(int number) {
    const int reason = errno;
    if (!pthread_equal(pthread_self(), main_thread)) {
        pthread_kill(main_thread, number);
    } else if (caught && (!*caught || catches_all)) {
        *caught = 1;
    } else {
        for (int i = 0; i < MOST_REMOVED; i++)
            if (removed[i]) unlink(removed[i]);
        cli_signals_erase_line();
        signal(number, SIG_DFL);
        raise(number); /* ends the program when this handler returns */
    }
    errno = reason;
}

static void install(int flags) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags}, former;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < N_ENDING; i++)
        if (sigaction(ending[i], NULL, &former) == 0 && former.sa_handler != SIG_IGN)
            sigaction(ending[i], &action, NULL);
}

void cli_signals_start(void) {
    main_thread = pthread_self();
    install(SA_RESTART);
}

void cli_signals_catch(volatile sig_atomic_t *flag, int how) {
    caught = flag;
    catches_all = (how & CLI_SIGNALS_ALL) != 0;
    install(how & CLI_SIGNALS_RESTART ? SA_RESTART : 0);
}

void cli_signals_remove(const char *path) {
    int i = 0;
    while (i < MOST_REMOVED && removed[i]) i++;
    if (i < MOST_REMOVED) removed[i] = path;
}

void cli_signals_keep(const char *path) {
    for (int i = 0; i < MOST_REMOVED; i++)
        if (removed[i] == path) removed[i] = NULL;
}

void cli_signals_block(sigset_t *before) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

void cli_signals_unblock(const sigset_t *before) {
    pthread_sigmask(SIG_SETMASK, before, NULL);
}
