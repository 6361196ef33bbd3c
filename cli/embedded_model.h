/* Where the embedded model lies.
 * Private to cli/. Includes psc_error.h.
 * Threads: reentrant.
 * Ownership: the caller's buffer. */
#ifndef EMBEDDED_MODEL_H
#define EMBEDDED_MODEL_H

#include <stddef.h>

#include "psc_error.h"

/* The folder of the embedded model: where this program is installed, beside the sources that it was
 * built from, or in the data directory that it was configured for. */
psc_status cli_find_embedded(char *out, size_t size, psc_error *error);

#endif
