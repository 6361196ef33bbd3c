/* Sentences on stderr.
 * Private to cli/. Includes psc_error.h only.
 * Threads: any; cli_say formats into its own room.
 * Ownership: nothing is kept. */
#ifndef SAY_H
#define SAY_H

#include <stdbool.h>

#include "psc_error.h"

/* "pythiascope: <sentence>", with every dangerous character escaped (psc_error.h), in one line. A
 * reader of stderr that is gone does not end the program. */
void cli_say(const char *format, ...) PSC_PRINTF(1, 2);

/* --out or --html wrote path whole: a later failure's sentence says that it
 * stays. path is copied. */
void cli_say_wrote(const char *path);
/* Whether that was said of any path. */
bool cli_has_written(void);
/* Whether the reader of stdout has closed its pipe, which is not a failure. */
bool cli_reader_is_gone(void);

#endif
