/* Corpora: files of documents, as windows of tokens in a fixed order.
 * Public; installed beside psc.h, which it includes.
 * Threads: a corpus belongs to one thread at a time.
 * Ownership: opened by ** and closed by **; the model must outlive it; windows are views. */
#ifndef PSC_CORPUS_H
#define PSC_CORPUS_H

#include "psc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A corpus is a list of files and folders. A folder stands for all its files *.txt, *.md and
 * *.jsonl, folders within it too, in the order of their paths' bytes; names that begin with a dot
 * and links to folders are left out. A file *.jsonl holds a document a line, a JSON object with a
 * text; any other file is one document. Documents are numbered from 0 in that order; blank lines
 * are none.
 *
 * A document becomes tokens in pieces, so that its length does not matter: while more than 64 KiB
 * are left, a piece ends before the last single space between ASCII letters or digits in the next
 * 64 KiB, no earlier than half way (where there is none: after the last whole character). Pythia's
 * tokenizer gives the same tokens as for the whole text then. The tokens are cut into consecutive
 * windows; the last of a document is as long as what is left. */
typedef struct psc_corpus psc_corpus;

/* Told about each document that is left out: one sentence. */
typedef void (*psc_corpus_note_fn)(const char *sentence, void *payload);

typedef struct psc_corpus_options {
    uint32_t struct_size;
    int32_t window; /* tokens of a window, bos among them; 0: 512 or n_ctx if that is less */
    int32_t bos;    /* nonzero: <|endoftext|> in front of each window */
    int32_t shard, n_shards; /* the documents d with d mod n_shards = shard - 1; 0, 0: all */
    int32_t strict;          /* nonzero: what would be left out is an error */
    const char *field;       /* of a JSON object, with the text; null: "text" */
    psc_corpus_note_fn note; /* nullable */
    void *payload;
    int64_t limit; /* read no window after the one in which token `limit` lies; 0: all */
} psc_corpus_options;
#define PSC_CORPUS_OPTIONS_INIT                                                                    \
    { sizeof(psc_corpus_options), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Lists the files. A path that is not there, or a folder without documents, is an error. */
PSC_API psc_status psc_corpus_open(psc_corpus **out, const psc_model *model,
    const char *const *paths, int32_t n_paths, const psc_corpus_options *options, psc_error *error);
PSC_API void psc_corpus_close(psc_corpus **corpus);

typedef struct psc_window {
    psc_document document;
    int32_t n; /* tokens; 0 after the last window of the corpus, or the limit */
    const psc_token *tokens;
} psc_window;

/* The next window; its tokens are valid until the next call. A document that is not UTF-8, or a
 * line that is no JSON object with a text or longer than 16 MiB, is left out, noted and counted. */
PSC_API psc_status psc_corpus_next(psc_window *out, psc_corpus *corpus, psc_error *error);

/* What was read so far, those left out among it. */
PSC_API void psc_corpus_get_totals(psc_corpus_totals *out, const psc_corpus *corpus);
/* The part of the corpus's bytes, or of the limit, that lies behind, 0 to 1. */
PSC_API double psc_corpus_progress(const psc_corpus *corpus);

/* Where the corpus stands, as a JSON object for a state file, and back there. The files must be the
 * same (by path and size), and so must field, window, bos and shard; the limit may be another that
 * lies ahead. *out is freed by psc_free. */
PSC_API psc_status psc_corpus_tell(char **out, const psc_corpus *corpus, psc_error *error);
PSC_API psc_status psc_corpus_seek(psc_corpus *corpus, const char *place, psc_error *error);

/* Adds what a finished part had read, as its psc_corpus_tell says, to totals; parts of another
 * corpus, split or limit, parts given twice and parts not yet finished are refused. parts has a
 * byte for each part, zeroed and at least PSC_CORPUS_SHARDS of them; *n_shards is 0 before the
 * first. */
#define PSC_CORPUS_SHARDS 65536
PSC_API psc_status psc_corpus_add_part(psc_corpus_totals *totals, char identity[33],
    int32_t *n_shards, unsigned char *parts, const char *place, psc_error *error);

#ifdef __cplusplus
}
#endif
#endif
