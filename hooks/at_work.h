/* The name of the plugin whose code runs on this thread. A program asks for it, even in a signal
 * handler, to say which plugin ended it (psc_plugin_at_work in psc_hooks.h).
 * Private to hooks/ and runtime/. Includes psc_hooks.h.
 * Threads: each has its own name.
 * Ownership: a name is borrowed until the call that ends it. */
#ifndef AT_WORK_H
#define AT_WORK_H

#include "psc_hooks.h"

/* From now on this thread runs code of the plugin; returns the name before, perhaps null. */
const char *psc_at_work_begin(const char *name);
/* The plugin has returned; before: what the begin returned. */
void psc_at_work_end(const char *before);

#endif
