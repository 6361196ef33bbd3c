/* Texts of the data block within a number of bytes: what does not fit is shortened or left out.
 * Private to report/page/. Includes json_writer.h.
 * Threads: one at a time.
 * Ownership: the writer belongs to the caller. */
#ifndef PAGE_TEXT_H
#define PAGE_TEXT_H

#include "json_writer.h"

typedef struct psc_page_writer {
    psc_json json;
    int64_t room; /* bytes that may still be written, apart from arrays */
    int64_t cut;  /* texts, labels and numbers that were shortened or left out */
} psc_page_writer;

/* Takes bytes from the room; false, and a cut, if it has fewer. */
bool psc_page_afford(psc_page_writer *w, int64_t bytes);
/* Leaves 1 of `parts` equal parts of the room; returns the others, which the caller adds again. */
int64_t psc_page_share(psc_page_writer *w, int64_t parts);

/* Bytes of the text in the data block, with its quotes. */
int64_t psc_page_text_size(const char *text, size_t n);
/* The text, shortened to the room and to a limit for texts. */
json_t *psc_page_text(psc_page_writer *w, const char *text, size_t n);

/* Members. They are left out if not even the key fits. */
void psc_page_put_text(psc_page_writer *w, const char *key, const char *text);
/* Lists: as many of the n entries, from the first on, as fit. */
void psc_page_put_texts(psc_page_writer *w, const char *key, const char *const *texts, int64_t n);
void psc_page_put_numbers(psc_page_writer *w, const char *key, const double *numbers, int64_t n);

#endif
