/* An axis in the data block: its numbers, or its labels as a list, as runs of numbered labels, or
 * those that the arrays use.
 * Private to report/page/. Includes page_text.h and psc_results.h.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef PAGE_AXIS_H
#define PAGE_AXIS_H

#include "page_text.h"
#include "psc_results.h"

/* Labels of longer axes are written in short forms. */
enum { PSC_PAGE_LONG_AXIS = 2000 };

typedef struct psc_page_axis_use {
    psc_result_axis axis;
    unsigned char *used; /* [axis.n] of a long axis with labels: 1 where an array needs the label */
} psc_page_axis_use;

/* The member {"n", ...} under the axis's name. Returns the bytes to reserve for labels that depend
 * on `used`, 0 if none does. */
int64_t psc_page_put_axis(psc_page_writer *w, const psc_page_axis_use *use);

#endif
