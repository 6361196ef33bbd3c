/* Units of a sequence: tokens, words made of tokens, or the words of labelled sentences.
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

/* --- words of labelled sentences ------------------------------------------------------------- */

/* Punctuation by its tag; without a tag, a word without letters and digits. Bytes beyond
 * ASCII count as letters. */
int psc_word_is_punctuation(const psc_word *word);

/* A labelled word, or the words that share a token. */
typedef struct psc_word_unit {
    int32_t first, last; /* its rows, both included */
    int32_t n_words;
    int32_t word;    /* the first of them, in its sentence */
    int32_t content; /* not punctuation only */
} psc_word_unit;

/* Units of rows [n_rows]; white space between words is in none. */
typedef struct psc_word_units {
    const psc_row *rows;
    int32_t begin, n_rows; /* rows before `begin` are in no unit */
    int32_t n;
    psc_word_unit *units; /* [n] of [rows] */
    int32_t *of_row;      /* [n_rows] each row's unit; -1: none */
} psc_word_units;

/* Prepares the units of rows begin..n-1, as yet without words. */
int psc_word_units_open(psc_context *context, const psc_host *host, const psc_row *rows,
    int32_t begin, int32_t n, psc_word_units *out);
/* Adds a sentence's words, in the order of the text, found by their bytes in the run's text.
 * of_word (nullable) [words]: each word's unit; -1: it has no row. */
void psc_word_units_add(psc_word_units *units, const psc_sentence *sentence, int32_t *of_word);

#endif
