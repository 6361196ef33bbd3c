/* The signals that end the program: INT, TERM and HUP.
 * Private to cli/. Includes nothing of ours.
 * Threads: cli_signals_start on the main thread before any other; the rest on the main thread.
 * Ownership: the flag is the caller's and lives as long as the process. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/* From now on the main thread takes each of them, whichever thread the system gives it to, and the
 * program ends by it. So they wait while the main thread blocks them, as it does until a file or
 * folder is whole. Those that the program was started to ignore stay ignored: nohup. */
void cli_signals_start(void);
/* The first one sets the flag, the second one ends the program. how: of the list below, or 0. */
enum {
    CLI_SIGNALS_RESTART = 1, /* a system call that it interrupts goes on */
    CLI_SIGNALS_ALL = 2      /* later ones only set the flag, too: launchers send several */
};
void cli_signals_catch(volatile sig_atomic_t *flag, int how);
/* A signal that ends the program removes the file first, up to cli_signals_keep; the path stays the
 * caller's, and at most four are remembered. */
void cli_signals_remove(const char *path);
void cli_signals_keep(const char *path);
/* The line of progress on the terminal, which a signal that ends the program erases. The one thread
 * that draws it calls these around what it writes, with all signals blocked. begin: false once a
 * signal has erased the line, and nothing may be drawn. end: whether a line stands now. */
bool cli_signals_line_begin(void);
void cli_signals_line_end(bool stands);
/* Waits for a drawing to end, erases the line, and lets none begin; a
 * signal handler may call it. */
void cli_signals_erase_line(void);
/* Blocks all signals in this thread, for the thread that it creates next; before: those blocked so
 * far. */
void cli_signals_block(sigset_t *before);
void cli_signals_unblock(const sigset_t *before);

#endif
