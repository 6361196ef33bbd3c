/* Sentences on stderr.
 * Private to cli/. Includes psc_error.h only.
 * Threads: any; cli_say formats into its own room.
 * Ownership: nothing is kept. */
#ifndef SAY_H
#define SAY_H

#include "psc_error.h"

/* "pythiascope: <sentence>", with every dangerous character escaped (psc_error.h), in one line. A
 * reader of stderr that is gone does not end the program. */
void cli_say(const char *format, ...) PSC_PRINTF(1, 2);

#endif
