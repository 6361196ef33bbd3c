/* A progress bar on stderr for what takes over a second; nothing where stderr is no terminal.
 * Private to cli/.
 * Threads: a thread of its own draws; start, update and stop belong to the main thread.
 * Ownership: one bar at a time; what is shown is copied. */
#ifndef PROGRESS_H
#define PROGRESS_H

/* what: "loading the model". The bar shows the time alone until an update says how much is done. */
void cli_progress_start(const char *what);
/* A psc_progress_fn; payload is not used. */
int cli_progress_update(double done, const char *what, void *payload);
/* A line of its own on stderr, above the bar where there is one. */
void cli_progress_line(const char *sentence);
/* Wipes the bar. Harmless when none was started. */
void cli_progress_stop(void);

#endif
