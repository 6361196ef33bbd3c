/* The texts of the token ids that a page's arrays name.
 * Private to report/page/. Includes page_plan.h and page_text.h.
 * Threads: one at a time.
 * Ownership: psc_page_ids_free frees the marks. */
#ifndef PAGE_VOCABULARY_H
#define PAGE_VOCABULARY_H

#include "page_plan.h"
#include "page_text.h"

typedef struct psc_page_ids {
    unsigned char *used; /* [n]: 1 for an id of an array on the page */
    int32_t n;
} psc_page_ids;

bool psc_page_ids_make(psc_page_ids *ids, const psc_results *results);
void psc_page_ids_free(psc_page_ids *ids);
/* Marks the ids that the page has of an array of token ids. */
void psc_page_ids_mark(psc_page_ids *ids, const psc_page_array *array);

/* The member "vocabulary" with the marked ids, as far as they fit. Returns the bytes to reserve for
 * it, which do not depend on the marks. */
int64_t psc_page_put_vocabulary(
    psc_page_writer *w, const psc_results *results, const psc_page_ids *ids);

#endif
