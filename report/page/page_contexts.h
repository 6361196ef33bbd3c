/* Arrays of contexts, such as a neuron's best documents: [..., contexts, ...]. When they are too
 * large, the page has all contexts of some neurons instead of some numbers of each.
 * Private to report/page/. Includes page_plan.h.
 * Threads: reentrant.
 * Ownership: psc_page_plan_free frees groups. */
#ifndef PAGE_CONTEXTS_H
#define PAGE_CONTEXTS_H

#include "page_plan.h"

/* Puts the arrays of a section with an axis "contexts" into a group, if there are any: those from
 * `first` on in the plan. Returns PSC_ERROR_MEMORY without memory. */
psc_status psc_page_group_make(
    psc_page_plan *plan, int first, const psc_results *results, psc_error *error);
/* Chooses the encodings of a group's arrays: all of each, or the same slices of each. Returns the
 * bytes, at most `room`. */
int64_t psc_page_group_choose(psc_page_plan *plan, psc_page_group *group, int64_t room);
void psc_page_group_free(psc_page_group *group);

#endif
