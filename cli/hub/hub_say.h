/* Sentences for answers that are no use: what is wrong, where, and what to do.
 * Private to cli/hub/ and cli/verbs/run_pull.c. Includes hub_request.h.
 * Threads: main thread only.
 * Ownership: nothing is kept. */
#ifndef HUB_SAY_H
#define HUB_SAY_H

#include "hub_request.h"

/* An answer from 400 on that another attempt would not change. */
void hub_say_refused(const hub_request *request, psc_error *error);
/* No answer, or one that asks to come back. asked: the seconds that the hub asks for; 0: none. */
void hub_say_unavailable(const hub_request *request, CURLcode code, long asked, psc_error *error);
/* "1.2 GB" */
void hub_size_text(char *out, size_t size, int64_t bytes);

#endif
