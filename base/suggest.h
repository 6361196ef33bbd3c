/* "Did you mean ...": the known name nearest to a mistyped one.
 * Private to base/, hooks/, runtime/, report/ and tests/. Includes nothing of ours.
 * Threads: reentrant.
 * Ownership: names are borrowed; they must live until the suggestion is used. */
#ifndef SUGGEST_H
#define SUGGEST_H

#include <stddef.h>

enum { PSC_SUGGEST_TEXT = 160 };

typedef struct psc_suggestion {
    const char *given; /* [bytes] */
    size_t bytes;
    const char *best; /* the nearest name so far; null: none is near */
    int distance;
} psc_suggestion;

psc_suggestion psc_suggest(const char *given, size_t bytes);
/* Compares a known name. Of names at the same distance the first stays. */
void psc_suggest_name(psc_suggestion *suggestion, const char *name);
/* "; did you mean PREFIXname?", or "" when no name is near. Returns out. */
const char *psc_suggest_text(
    char out[PSC_SUGGEST_TEXT], const psc_suggestion *suggestion, const char *prefix);

/* The number of characters inserted, left out, replaced, or swapped with their neighbor, without
 * regard to case; at most `most` + 1. */
int psc_edit_distance(const char *a, size_t n, const char *b, size_t m, int most);

#endif
