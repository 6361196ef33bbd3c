/* A progress bar on stderr for work of more than a second; nothing if stderr is not a terminal.
 * Private to cli/.
 * Threads: a separate thread draws; the main thread starts, updates and stops.
 * Ownership: one bar at a time; the text is copied. */
#ifndef PROGRESS_H
#define PROGRESS_H

/* what: "loading the model". The bar shows only the time until an update reports progress. */
void cli_progress_start(const char *what);
/* "step1000 (3 of 6)": from now on every bar begins with it; null: with nothing. While there is a
 * name, cli_progress_line prints each sentence once. */
void cli_progress_name(const char *name);
/* A psc_progress_fn; payload is not used. */
int cli_progress_update(double done, const char *what, void *payload);
/* Prints a separate line on stderr, above the bar if one is shown; null: only erases the bar until
 * it is drawn again. */
void cli_progress_line(const char *sentence);
/* From now on neither bars nor lines are shown. */
void cli_progress_mute(void);
/* Erases the bar. Harmless if none was started. */
void cli_progress_stop(void);

#endif
