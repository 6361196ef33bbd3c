/* Input files of the command line: opened without waiting for a writer, compared with one another.
 * Private to cli/. Includes psc.h.
 * Threads: main thread only.
 * Ownership: the caller closes an opened file by fclose. */
#ifndef INPUT_H
#define INPUT_H

#include "psc.h"

#include <stdbool.h>
#include <stdio.h>

/* The bytes of the byte order mark at the start of a text: 3, or 0 if there is none. */
size_t cli_input_mark(const char *text, size_t bytes);
/* Opens a regular file for reading, behind its byte order mark if it has one; a directory, a pipe
 * or a device is refused. */
psc_status cli_input_open(FILE **out, const char *path, psc_error *error);
/* Opens what is read once from its beginning: a regular file, a device, or a pipe, such as that of
 * /dev/stdin or a process substitution. A FIFO is refused if no program opens it for writing within
 * two seconds. what: the path in sentences. */
psc_status cli_input_once(FILE **out, const char *path, const char *what, psc_error *error);
/* Whether two regular files have the same bytes; false if one of them cannot be read. */
bool cli_input_same(const char *a, const char *b);

#endif
