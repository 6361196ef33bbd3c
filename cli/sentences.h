/* Labelled sentences as sequences of a run: read from a CoNLL-U file, tokenized, fed in batches.
 * Private to cli/. Includes psc.h and cli.h.
 * Threads: main thread only.
 * Ownership: cli_sentences_free frees everything. */
#ifndef SENTENCES_H
#define SENTENCES_H

#include "cli.h"
#include "psc.h"

/* One sequence: <|endoftext|>, then one sentence or several with a space between them. */
typedef struct cli_sequence {
    psc_token *tokens; /* [n]; byte ranges in the sequence's own text */
    int32_t n;
    int32_t first, n_sentences; /* of the treebank */
    uint32_t bytes;             /* of its text */
} cli_sequence;

typedef struct cli_sentences {
    psc_treebank *treebank;
    const psc_sentence *sentences; /* [n_sentences] of the file */
    int32_t n_sentences;
    cli_sequence *sequences; /* [n] in the file's order */
    int32_t n;
    int32_t longest;   /* rows of the longest sequence */
    int32_t n_skipped; /* sequences with more rows than `most` */
    long long n_rows;  /* of all sequences */
} cli_sentences;

/* Reads and tokenizes a file. window: sentences per sequence; a last, smaller window is left out.
 * Sequences of more than most_rows rows, <|endoftext|> included, are skipped and counted.
 * PSC_ERROR_INPUT if none remains. */
psc_status cli_sentences_read(cli_sentences *out, const psc_model *model, const char *path,
    int32_t window, int32_t most_rows, psc_error *error);
/* The same of sentences that the caller read and keeps; path is for messages. */
psc_status cli_sentences_take(cli_sentences *out, const psc_model *model, const char *path,
    const psc_sentence *sentences, int32_t n_sentences, int32_t window, int32_t most_rows,
    psc_error *error);
/* The note on stderr that sequences of more than most_rows rows were skipped, if any were. */
void cli_sentences_say_skipped(
    const cli_sentences *sentences, const char *path, int32_t window, int32_t most_rows);
/* Runs all sequences, `batch` at a time, through a session that accumulates and has as many
 * sequences. Each run has its text and its labelled sentences. */
psc_status cli_sentences_run(
    const cli_sentences *sentences, psc_session *session, int32_t batch, psc_error *error);
/* The same as runs of a phase (psc_run_options). */
psc_status cli_sentences_run_as(const cli_sentences *sentences, psc_session *session, int32_t batch,
    int32_t phase, int32_t source, psc_error *error);
/* Shows the labels of all sequences to the plugins in one run of PSC_PHASE_SOURCE, whose only
 * row is <|endoftext|>. */
psc_status cli_sentences_show_labels(
    const cli_sentences *sentences, psc_session *session, int32_t source, psc_error *error);
void cli_sentences_free(cli_sentences *sentences);

#endif
