/* The command as the user typed it, for the foot of a page and for results.json.
 * Private to cli/. Includes cli.h.
 * Threads: main thread only.
 * Ownership: the caller's buffer. */
#ifndef TYPED_H
#define TYPED_H

#include "cli.h"

/* "pythiascope VERB ...", quoted for a shell; a long command is cut and ends in "...". */
void cli_typed(char *out, size_t size, const cli_arguments *arguments);
/* The same without options that change no result, such as --threads and --out, so that equal work
 * has equal commands. Null without memory; the caller frees it by free(). */
char *cli_command(const cli_arguments *arguments);

#endif
