/* Labelled sentences: words with heads and labels, found in their text by bytes; CoNLL-U files.
 * Public. Includes psc_error.h only.
 * Threads: a treebank never changes after it is opened, so any number of threads may read it.
 * Ownership: opens by ** and closes by **; sentences, words and texts are
 * views of their treebank. */
#ifndef PSC_TREEBANK_H
#define PSC_TREEBANK_H

#include <stdint.h>

#include "psc_error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A word of a sentence, as Universal Dependencies has it. Texts end with a 0 byte and are never
 * null; a column that the file leaves open ("_") is "". */
typedef struct psc_word {
    uint32_t start, end; /* its bytes in the sentence's text. Words of a multiword token whose forms
                            concatenate to it are cut out of it; others share all its bytes */
    int32_t head;        /* index of its head in words; -1: the root */
    const char *form, *lemma, *upos, *xpos, *feats, *deprel, *misc; /* "_" is a form, if given */
} psc_word;

typedef struct psc_sentence {
    const char *id, *text; /* "# sent_id", "" without; text [bytes] has a 0 byte after it */
    uint32_t bytes;
    uint32_t start;        /* where its text begins in the run's text; 0 in a treebank */
    int32_t n;             /* words, at least 1 */
    const psc_word *words; /* [n], in the text's order; one tree */
    int32_t new_document;  /* nonzero: "# newdoc" stands before it */
    int32_t new_paragraph; /* nonzero: "# newpar" or "# newdoc" does */
    int32_t line;          /* the first of its lines in the file, from 1 */
} psc_sentence;

/* Caps: a longer line or larger sentence is PSC_ERROR_INPUT, a larger treebank PSC_ERROR_MEMORY. */
#define PSC_TREEBANK_LINE ((uint32_t)1 << 20)     /* bytes of a line */
#define PSC_TREEBANK_SENTENCE ((uint32_t)1 << 24) /* bytes of a sentence's lines or text */
#define PSC_TREEBANK_WORDS 9999                   /* words of a sentence */
#define PSC_TREEBANK_BYTES ((uint64_t)1 << 30)    /* of memory for all sentences */

typedef struct psc_treebank psc_treebank;

/* Reads a CoNLL-U file, line by line. Sentences may have "# text = ..."; without it the text is
 * rebuilt from the forms, with one space between tokens unless MISC has SpaceAfter=No. Empty nodes
 * (8.1) and DEPS are skipped. An error is one sentence that begins with "file:line:". It names a
 * line that is not CoNLL-U, a form that the text does not continue with, a head out of range,
 * several roots, a cycle, broken UTF-8, or a cap. */
PSC_API psc_status psc_treebank_open(psc_treebank **out, const char *path, psc_error *error);
/* *treebank may be null and becomes null. */
PSC_API void psc_treebank_close(psc_treebank **treebank);
/* All sentences, in the file's order, at least one; valid until the treebank is closed. */
PSC_API const psc_sentence *psc_treebank_sentences(const psc_treebank *treebank, int32_t *n);

#ifdef __cplusplus
}
#endif
#endif
