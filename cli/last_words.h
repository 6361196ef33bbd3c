/* What the program says when code that it runs ends it: a plugin's wild access, abort or exit.
 * Private to cli/.
 * Threads: the handlers run on any thread; the calls come from the main thread.
 * Ownership: the handlers stay until the process ends. */
#ifndef LAST_WORDS_H
#define LAST_WORDS_H

/* From now on a signal that a fault raises (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT) writes one
 * line to stderr, with the name of the plugin at work, before it ends the program as it would
 * without. Signals that another handler takes, such as a sanitizer's, stay with it. */
void cli_last_words(void);

/* Calls body, which returns an exit code. A call of exit or pthread_exit in it, which only a plugin
 * makes, ends the program with 1 and one line on stderr: the work is not done. */
int cli_last_words_around(int (*body)(void *payload), void *payload);

#endif
