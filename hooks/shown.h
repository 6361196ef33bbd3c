/* A hash of what an event shows, by which the host notices that a callback wrote to it.
 * Private to hooks/. Includes psc_plugin.h.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef SHOWN_H
#define SHOWN_H

#include <stdbool.h>

#include "psc_plugin.h"

/* XXH3 of the event, its rows and heads, and `before`; with tensor, of the
 * tensor's elements, too. */
uint64_t psc_shown_hash(const psc_event *event, bool tensor);

#endif
