/* How spans.c shows a run in the notations.
 * Private to spans.c and spans_show.c; built on psc_plugin.h alone.
 * Threads: the callbacks' thread.
 * Ownership: what is allocated lives with the run. */
#ifndef SPANS_SHOW_H
#define SPANS_SHOW_H

#include "spans.h"

/* In open: checks the files of labels= and xml=, so that their errors come before a run. */
int spans_show_open(const spans_state *s);
/* In run_begin: labels of this run's text, from labels= or the caller. */
int spans_show_begin(spans_state *s);
/* In report of one run: the notation in the summary, and the documents. */
int spans_show(const spans_state *s);

#endif
