/* Corpora: documents from files or from the caller, as windows of tokens in a fixed order.
 * Public. Includes psc.h only.
 * Threads: a corpus belongs to one thread at a time.
 * Ownership: opens by ** and closes by **; the model must outlive it; windows are views. */
#ifndef PSC_CORPUS_H
#define PSC_CORPUS_H

#include "psc.h"

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A corpus is a list of files and folders. A folder contributes all its *.txt, *.md and *.jsonl
 * files, also from folders within, in the order of their paths' bytes. Names that begin with a dot
 * and links to folders are skipped. A *.jsonl file has one document per line, a JSON object with a
 * text; any other file is one document. Documents are numbered from 0 in that order; blank lines do
 * not count.
 *
 * What cannot be read is one document that is skipped: a file or folder without
 * permission, one that vanished or was cut short after it was listed, a link to nothing or
 * to itself, a FIFO, socket or device with a document's name. The rest of a document that
 * cannot be read to its end is skipped.
 *
 * Each of the three may be compressed (*.jsonl.gz, *.txt.zst, ...): gzip, also of several members,
 * or zstd of several frames with windows up to 128 MiB, told by the first bytes. Where the data are
 * damaged or end too early, the rest of the file is one document that cannot be read. A byte order
 * mark at the start of a file is no part of its text. NaN, Infinity, and numbers of any size are
 * allowed in the other fields of a line.
 *
 * A document is tokenized in pieces, so its length is not limited: while more than 64 KiB remain, a
 * piece ends before the last single space between ASCII letters or digits in the second half of the
 * next 64 KiB (without one, after the last whole character). With such cuts Pythia's tokenizer
 * gives the same tokens as for the whole text. Consecutive windows take the tokens; the last window
 * of a document may be shorter. With a stride below the window's tokens each window but a
 * document's first begins `stride` tokens after the one before it, and so repeats that
 * one's last tokens, as context for those that are new. The last window is the first that
 * reaches the document's end. */
typedef struct psc_corpus psc_corpus;

/* Receives one sentence for each document that is skipped; valid during the call. After
 * PSC_CORPUS_NOTES of them a last one says that further documents are only counted. */
#define PSC_CORPUS_NOTES 100
typedef void (*psc_corpus_note_fn)(const char *sentence, void *payload);

typedef struct psc_corpus_options {
    uint32_t struct_size;
    int32_t window;          /* tokens per window, bos included; 0: 512, or n_ctx if that is less */
    int32_t bos;             /* nonzero: psc_model_bos in front of each window */
    int32_t shard, n_shards; /* the documents d with d mod n_shards = shard - 1; 0, 0: all */
    int32_t strict;          /* nonzero: a document that would be skipped is an error */
    const char *field;       /* the JSON field that holds the text; null: "text" */
    psc_corpus_note_fn note; /* nullable */
    void *payload;           /* of note */
    int64_t limit;   /* reading ends with the window that contains token number `limit`; 0: never */
    int64_t sample;  /* reads this many documents, drawn by `seed`; 0: all. Of files only */
    int64_t seed;    /* not negative */
    int32_t by_size; /* nonzero: parts of about the same number of bytes. Of files only */
    int32_t n_listed; /* the last paths are from a list: a missing one is a skipped document */
    int32_t stride;   /* tokens from one window's start to the next, below the window's without bos;
                         0: all of them, so that windows do not overlap */
} psc_corpus_options;
#define PSC_CORPUS_OPTIONS_INIT                                                                    \
    { sizeof(psc_corpus_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* A sample is exact and uniform: the `sample` documents whose 64-bit hash of seed and number is
 * smallest, of all that have a number, also those that cannot be read. It depends on nothing else,
 * not on parts either, and a larger one of the same seed contains it. The first call that reads
 * counts the documents, which reads all JSONL files once; a position has the count. */

/* Lists the files; options may be null. A path that does not exist, unless it is from a list, a
 * folder without documents, an option out of range, or a model without a tokenizer is an error.
 * With `strict` so is everything in a folder or list that cannot be read. */
PSC_API psc_status psc_corpus_open(psc_corpus **out, const psc_model *model,
    const char *const *paths, int32_t n_paths, const psc_corpus_options *options, psc_error *error);

/* --- documents from the caller --------------------------------------------------------------- */

/* One document: a text or token ids, not both. Texts need not end with a 0 byte. Both null with
 * counts of 0: an empty document. */
typedef struct psc_source_document {
    uint32_t struct_size; /* the host's */
    const char *text;     /* [bytes], UTF-8; null: ids */
    size_t bytes;
    const int32_t *ids; /* [n] */
    int32_t n;
    int32_t end; /* nonzero: there are no more documents; the other members are ignored */
    /* Not null: why the document cannot be read, such as "is not a JSON object". The host's
     * sentence begins with its number. */
    const char *fault;
} psc_source_document;

/* Fills *out, which the host has zeroed, with the next document. The document stays valid until the
 * next call of the function, or until the corpus closes. Nonzero: the source failed; the call of
 * the corpus returns PSC_ERROR_CANCELLED, and a later one asks again. The function must not use the
 * corpus. It is called on the thread that calls the corpus, and not again after `end`. */
typedef int (*psc_source_fn)(psc_source_document *out, void *payload);

/* A corpus whose documents come from a function, one at a time, numbered from 0. Texts have the
 * pieces, windows and totals of files with the same bytes; ids are taken as they are. A text that
 * is not UTF-8, an id that the model lacks, and a document with a text and ids are skipped, or
 * refused with `strict`, as an unreadable file is. A model without a tokenizer takes ids only.
 * `field` is ignored. Every part of a split reads all documents, and keeps its own. */
PSC_API psc_status psc_corpus_open_source(psc_corpus **out, const psc_model *model,
    psc_source_fn next, void *payload, const psc_corpus_options *options, psc_error *error);

/* The same for a stream that is read once from where it is, such as stdin: JSONL if its first byte
 * that is not blank is { or if `field` is given, otherwise one document of at most 256
 * MiB. It may be compressed. The stream must outlive the corpus, which does not close it;
 * name is for sentences. */
PSC_API psc_status psc_corpus_open_stream(psc_corpus **out, const psc_model *model, FILE *stream,
    const char *name, const psc_corpus_options *options, psc_error *error);

/* --- reading --------------------------------------------------------------------------------- */

/* *corpus may be null and becomes null. */
PSC_API void psc_corpus_close(psc_corpus **corpus);

typedef struct psc_window {
    psc_document document; /* first is that of the bos token, one before its text's, if any */
    int32_t n;             /* tokens; 0 after the last window of the corpus, or of the limit */
    const psc_token
        *tokens; /* [n]; start, end: bytes in the document's text, at most UINT32_MAX; 0, 0
                                for bos and ids */
} psc_window;

/* The next window; its tokens are valid until the next call. To fill runs with windows of any
 * length, open the session with shared_tokens = N full windows, and take windows into a run while
 * one more full window would fit. The call skips, notes and counts a document that cannot be read
 * or is not UTF-8, and a line that is longer than 16 MiB or not a JSON object with a text; with
 * `strict` each of these is PSC_ERROR_INPUT. */
PSC_API psc_status psc_corpus_next(psc_window *out, psc_corpus *corpus, psc_error *error);

/* How many of the window's first tokens an earlier window had, bos included: what psc_run_options
 * .repeated takes. 0 without a stride, and for the first window of a document. */
PSC_API int32_t psc_corpus_repeated(const psc_corpus *corpus, const psc_window *window);

/* The documents, skipped documents, windows and tokens so far. A repeated token is counted once.
 * document_name is that of the documents read so far, until the corpus reads on or closes. *out
 * begins as PSC_CORPUS_TOTALS_INIT: only the members within its struct_size are written. */
PSC_API void psc_corpus_get_totals(psc_corpus_totals *out, const psc_corpus *corpus);
/* The name of a document that was read: its file's path as it was given, "PATH, document K" with K
 * from 1 for a line of a JSONL file, and the same with a stream's name. Controls and bytes that are
 * not UTF-8 are written as \xNN. out [size] gets "" for an unknown number, a caller's source, files
 * that an older version's position had passed, and corpora of more than 100,000 files. A name that
 * is too long is cut within its path. */
PSC_API void psc_corpus_document_name(
    char *out, size_t size, const psc_corpus *corpus, int64_t number);
/* The fraction of the corpus's bytes, or of the limit, that has been read, 0 to 1. The size of a
 * source is unknown: without a limit the fraction is NaN until the source ends. */
PSC_API double psc_corpus_progress(const psc_corpus *corpus);

/* tell writes the position in the corpus as a JSON object, for a state file; seek returns to it.
 * seek needs the same files (by path and size), field, window, stride, bos and shard; the limit may
 * differ if it lies ahead of the position. The caller frees *out with psc_free.
 *
 * The position in a source has a hash of all documents read so far. seek reads the source up to the
 * position again and compares: PSC_ERROR_INPUT for other documents. A source does not go back, so a
 * position behind the present one is PSC_ERROR_STATE; so is reading after a failed seek. */
PSC_API psc_status psc_corpus_tell(char **out, const psc_corpus *corpus, psc_error *error);
PSC_API psc_status psc_corpus_seek(psc_corpus *corpus, const char *place, psc_error *error);
/* mark remembers the present position at once, whatever the number of files, and tell_mark writes
 * it when reading has gone on: for a caller that may save after a window that it could not use.
 * PSC_ERROR_STATE without a mark. */
PSC_API void psc_corpus_mark(psc_corpus *corpus);
PSC_API psc_status psc_corpus_tell_mark(char **out, const psc_corpus *corpus, psc_error *error);

/* Adds the totals of a finished part, from its psc_corpus_tell text `place`, to totals. Refuses a
 * part of another corpus, split or limit, a repeated and an unfinished part. Parts of a source are
 * of one corpus if all their documents are equal; with a limit, if their first documents are.
 * Before the first part the caller sets *n_shards to 0 and zeroes parts [PSC_CORPUS_SHARDS], one
 * byte per part. *totals begins as PSC_CORPUS_TOTALS_INIT, of which only the members within
 * struct_size are written. The first part sets totals, identity and *n_shards. */
#define PSC_CORPUS_SHARDS 65536
PSC_API psc_status psc_corpus_add_part(psc_corpus_totals *totals, char identity[33],
    int32_t *n_shards, unsigned char *parts, const char *place, psc_error *error);

/* The names of the documents of parts. add takes those of a part's psc_corpus_tell text; *names is
 * null before the first. give sets the document_name of totals, valid until the names close or
 * another part is added. Null names have none. */
typedef struct psc_corpus_names psc_corpus_names;
PSC_API psc_status psc_corpus_names_add(
    psc_corpus_names **names, const char *place, psc_error *error);
PSC_API void psc_corpus_names_give(psc_corpus_totals *totals, psc_corpus_names *names);
PSC_API void psc_corpus_names_close(psc_corpus_names **names);

#ifdef __cplusplus
}
#endif
#endif
