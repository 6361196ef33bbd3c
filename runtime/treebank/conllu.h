/* The inside of the CoNLL-U reader: the sentence being read, and the treebank it goes to.
 * Private to runtime/treebank/. Includes arena.h and psc_treebank.h only.
 * Threads: a reader belongs to one thread.
 * Ownership: psc_treebank_open owns the reader; the treebank owns what it keeps. */
#ifndef CONLLU_H
#define CONLLU_H

#include "arena.h"
#include "psc_treebank.h"

#include <stdio.h>

/* Columns of a line, in the file's order. */
enum {
    CONLLU_ID,
    CONLLU_FORM,
    CONLLU_LEMMA,
    CONLLU_UPOS,
    CONLLU_XPOS,
    CONLLU_FEATS,
    CONLLU_HEAD,
    CONLLU_DEPREL,
    CONLLU_DEPS,
    CONLLU_MISC,
    CONLLU_COLUMNS
};

struct psc_treebank {
    psc_arena arena;         /* words and texts */
    psc_sentence *sentences; /* [n] */
    size_t n, capacity;
};

/* Texts of the open sentence are offsets in the pool, because the pool moves when it grows. */
typedef struct conllu_word {
    uint32_t form, lemma, upos, xpos, feats, deprel, misc;
    int32_t head; /* as in the file: 0 is the root */
    int32_t line;
    uint32_t start, end; /* in the text */
} conllu_word;

/* What stands between two spaces: a word, or a multiword token with its words. */
typedef struct conllu_token {
    uint32_t form, bytes;
    int32_t first, n; /* its words */
    bool space_after;
    int32_t line;
} conllu_token;

typedef struct conllu_reader {
    psc_treebank *treebank;
    const char *path;
    FILE *file;
    char *line; /* [PSC_TREEBANK_LINE + 1], a 0 byte after its bytes */
    size_t line_bytes;
    int32_t number; /* of the line, from 1 */
    psc_error *error;

    /* the open sentence */
    char *pool; /* texts, each with a 0 byte; offset 0 is "" */
    size_t pool_bytes, pool_capacity;
    conllu_word *words;
    size_t n_words, words_capacity;
    conllu_token *tokens;
    size_t n_tokens, tokens_capacity;
    int32_t range_end;  /* the last word of the last multiword token, from 1 */
    int32_t first_line; /* 0: no line of a sentence yet */
    uint32_t id, text, text_bytes;
    bool has_text, new_document, new_paragraph;
} conllu_reader;

/* --- conllu.c --- */
/* The error "path:line: ..."; line 0: the present one. */
psc_status conllu_fail(const conllu_reader *reader, psc_status status, int32_t line,
    const char *format, ...) PSC_PRINTF(4, 5);
#ifdef __clang_analyzer__ /* as in psc_error.h */
#define conllu_fail(r, status, ...) (conllu_fail(r, status, __VA_ARGS__), (status))
#endif
psc_status conllu_no_memory(const conllu_reader *reader);
/* Copies bytes and a 0 into the pool; *out is their offset. */
psc_status conllu_keep(uint32_t *out, conllu_reader *reader, const char *bytes, size_t n);
/* --- conllu_words.c --- */
/* Takes a line with ten columns; cuts it at its tabs. */
psc_status conllu_take_word(conllu_reader *reader);
/* --- conllu_sentence.c --- */
psc_status conllu_take_comment(conllu_reader *reader);
/* Checks the open sentence, moves it to the treebank, and begins the next. */
psc_status conllu_end_sentence(conllu_reader *reader);
/* --- conllu_align.c --- */
/* Makes a text without "# text", then finds every word's start and end in the text. */
psc_status conllu_align(conllu_reader *reader);

#endif
