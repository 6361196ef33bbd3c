/* Units of a sequence: tokens, words made of tokens, or the words of a treebank.
 * Private to analysis/ and tests/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread.
 * Ownership: everything lives with the run (run_alloc). */
#ifndef ANALYSIS_UNITS_H
#define ANALYSIS_UNITS_H

#include "common.h"
#include "psc_treebank.h"

/* Unit u has the positions begin[u]..begin[u+1]-1. Position 0 (BOS) is in none, so begin[0] is 1,
 * and the units follow each other without gaps. */
typedef struct psc_units {
    int32_t n;
    int32_t *begin;   /* [n + 1] */
    uint8_t *content; /* [n] 1: not punctuation only */
} psc_units;

/* The units of tokens [n], a sequence from its position 0. */
int psc_units_tokens(
    psc_context *context, const psc_host *host, const int32_t *tokens, int32_t n, psc_units *out);
/* A word begins at a token that begins with a space or a newline, or with another class of
 * characters (letters, digits, space, others) than the one before it. */
int psc_units_words(
    psc_context *context, const psc_host *host, const int32_t *tokens, int32_t n, psc_units *out);

/* Words of sentences and the units that hold them. Words are numbered over all sentences. */
typedef struct psc_unit_words {
    int32_t n;           /* words of all sentences */
    int32_t *unit;       /* [n] of each word, or -1: not in this sequence */
    int32_t *first_word; /* [units + 1] unit u has the words first_word[u]..first_word[u+1]-1 */
} psc_unit_words;

/* Units of rows [n], a sequence from its position 0, by the bytes of labelled words in the run's
 * text: a word, or the words that share a token. A token outside all words is a unit of its own, of
 * white space only it belongs to the next unit. A unit of words is content unless all are PUNCT. */
int psc_units_labelled(psc_context *context, const psc_host *host, const psc_row *rows, int32_t n,
    const psc_sentence *sentences, int32_t n_sentences, psc_units *out, psc_unit_words *words);

#endif
