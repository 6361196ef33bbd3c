/* Texts cut into words, as labelled sequences: as they are, or each word tokenized alone.
 * Private to cli/. Includes sentences.h.
 * Threads: main thread only.
 * Ownership: cli_word_block_free and cli_word_text_free free what their structures hold. */
#ifndef WORD_TEXTS_H
#define WORD_TEXTS_H

#include "sentences.h"

/* A plain text as one labelled sentence. A word begins after a space and where the class of
 * characters changes: letters (and all bytes beyond ASCII), digits, others. */
typedef struct cli_word_text {
    psc_sentence sentence; /* n is 0 if the text has no words */
    psc_word *words;
    char *text, *forms;
} cli_word_text;

/* text [bytes] is copied. */
psc_status cli_word_text_make(cli_word_text *out, const char *text, size_t bytes, psc_error *error);
void cli_word_text_free(cli_word_text *text);

typedef struct cli_word_options {
    bool alone;          /* words without spaces between them, each tokenized by itself */
    bool letters;        /* alone: only words of letters that share no token in their text */
    bool cut;            /* cuts sequences to `most` rows instead of leaving them out */
    int32_t least, most; /* rows, <|endoftext|> included */
    int32_t units[2];    /* content units: at least, at most */
    int32_t limit;       /* sequences at most */
    const char *path;    /* for messages */
} cli_word_options;

/* Sequences of sentences, which must outlive the block. */
typedef struct cli_word_block {
    cli_sentences all;       /* for cli_sentences_run */
    psc_sentence *sentences; /* [n_sentences]; null unless alone */
    psc_word **words;
    char **texts;
    int32_t n_sentences;
    int32_t n_cut; /* sequences that `cut` made shorter */
} cli_word_block;

psc_status cli_word_block_make(cli_word_block *out, const psc_model *model,
    const psc_sentence *sentences, int32_t n, const cli_word_options *options, psc_error *error);
void cli_word_block_free(cli_word_block *block);

#endif
