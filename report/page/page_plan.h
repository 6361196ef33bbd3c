/* The arrays of a page and the encoding of each.
 * Private to report/page/. Includes page_data.h and page_encode.h.
 * Threads: reentrant.
 * Ownership: psc_page_plan_free frees a plan; arrays point into the results. */
#ifndef PAGE_PLAN_H
#define PAGE_PLAN_H

#include "page_data.h"
#include "page_encode.h"

typedef struct psc_page_array {
    psc_array view;
    psc_page_facts facts;
    psc_page_encoding encoding;
    int run, section; /* section -1: a capture */
    int group;        /* 0: none; else the index of its group plus 1 */
    bool skipped;     /* not even its name fits */
    bool token_ids;
} psc_page_array;

/* Arrays of which the page has the same slices (page_contexts.h). */
typedef struct psc_page_group {
    int first; /* array */
    int32_t lead;
    int64_t n, n_slices;       /* elements of all; indices of the leading axes */
    int32_t *preferred, *kept; /* slices, the most useful first; chosen ones, ascending */
    int64_t n_preferred, n_kept;
} psc_page_group;

typedef struct psc_page_plan {
    psc_page_array *arrays; /* by run and section, in their order; a run's captures are its last */
    int n;
    psc_page_group *groups; /* at most one per section */
    int n_groups;
    bool is_corpus; /* no tokens, but totals: few arrays matter more than a small page */
} psc_page_plan;

/* Every array of the runs, omitted for now. */
psc_status psc_page_plan_make(psc_page_plan *out, const psc_page_source *source, psc_error *error);
/* Chooses encodings of at most `room` bytes in all. */
psc_status psc_page_plan_choose(psc_page_plan *plan, int64_t room, psc_error *error);
void psc_page_plan_free(psc_page_plan *plan);
/* A sentence about the arrays of one kind into text; false when there is none. kind: from 0 to
 * PSC_PAGE_NOTES - 1. */
enum { PSC_PAGE_NOTES = 7 };
bool psc_page_plan_note(char *text, size_t size, const psc_page_plan *plan, int kind);

#endif
