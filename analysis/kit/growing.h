/* A text that grows, for files that a plugin makes.
 * Private to analysis/attention/, analysis/circuit/, analysis/graph/,
 * analysis/spans/, growing.c and tests/.
 * Threads: one at a time per text.
 * Ownership: the caller frees data by free(). */
#ifndef ANALYSIS_GROWING_H
#define ANALYSIS_GROWING_H

#include "psc_plugin.h"

/* Zeroed: empty. Once memory runs out it stays as it was, with failed set. */
typedef struct psc_growing {
    char *data; /* [used] and a 0; null when empty */
    size_t used, size;
    int failed;
} psc_growing;

void psc_growing_put(psc_growing *text, const char *format, ...) PSC_PRINTF(2, 3);
/* The bytes as they are. */
void psc_growing_add(psc_growing *text, const char *bytes, size_t n);

#endif
