/* The data block of a page: runs as JSON (the viewer's data.js reads it) within a number of bytes.
 * Private to report/page/. Includes psc_results.h.
 * Threads: reentrant; results must not change during a call.
 * Ownership: nothing is kept. */
#ifndef PAGE_DATA_H
#define PAGE_DATA_H

#include "psc_results.h"

typedef struct psc_page_source {
    const psc_results *runs[2]; /* the second is null, or the run beside */
    const char *labels[2];
    const char *command; /* nullable */
} psc_page_source;

/* Writes about `room` bytes at most. What does not fit is rounded, shortened or left out, and
 * "notes" says so. The caller checks the stream for errors. */
psc_status psc_page_write_data(
    const psc_page_source *source, int64_t room, FILE *out, psc_error *error);

#endif
