/* Heads of spans: the unit that later rows can least do without.
 * Private to analysis/ and tests/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; the knock-outs use the team.
 * Ownership: callers own what they pass; scratch memory lives with the run (run_alloc). */
#ifndef ANALYSIS_HEADS_H
#define ANALYSIS_HEADS_H

#include "knockouts.h"
#include "units.h"

/* Over the rows after the span, for each of its units j:
 *   necessity(j)    sum of KL(p || p') when these rows may not read j
 *   sufficiency(j)  minus that sum when of the span they may read j only
 * Ties go to the lower unit. */
typedef struct psc_head {
    int32_t begin, end; /* units of the span, both included; begin <= end; as given */
    int32_t necessary;  /* the unit of the largest necessity: the head; -1: no row after the span */
    int32_t sufficient; /* of the largest sufficiency */
    double necessity, sufficiency; /* both of the head; NaN without a row */
} psc_head;

/* In run_end, for the open sequence of k. rows: how many rows after a span count; 0: all. Equal
 * spans are computed once, necessities once per right edge. necessity [units, units]: receives at
 * [b, j] the necessity of unit j for spans that end in unit b; other entries do not change.
 * sufficiency (nullable): receives those of the first span's units. */
int psc_heads_find(psc_knockouts *k, const psc_units *units, int32_t rows, int32_t n,
    psc_head *heads, double *necessity, double *sufficiency);

#endif
