/* Where the embedded model and the list of English forms are.
 * Private to cli/. Includes psc_error.h.
 * Threads: reentrant.
 * Ownership: the caller's buffer. */
#ifndef EMBEDDED_MODEL_H
#define EMBEDDED_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "psc_error.h"

/* The folder of the embedded model: in this program's installation, in the source tree it was built
 * from, or in the data directory it was configured for. */
psc_status cli_find_embedded(char *out, size_t size, psc_error *error);
/* The folder of an embedded model's name: books-5m, or books-0.5m, which holds training steps.
 * False for other names and where it is not installed. Revisions (NAME@step1000) follow in out. */
bool cli_find_embedded_named(char *out, size_t size, const char *model);
/* Adds "; did you mean books-5m?" to the error if no file has the model's name and it is near one of these. */
void cli_suggest_embedded(psc_error *error, const char *model);
/* The file of English word forms that the verb forms reads by default; the same three places. */
psc_status cli_find_english_forms(char *out, size_t size, psc_error *error);

#endif
