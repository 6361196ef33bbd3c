/* The inside of a corpus: its files or source, the open document, the tokens not yet returned.
 * Private to runtime/corpus/.
 * Threads: as psc_corpus.h says.
 * Ownership: psc_corpus owns everything here except the model. */
#ifndef CORPUS_H
#define CORPUS_H

#include "corpus_stream.h"
#include "json.h"
#include "model.h"
#include "psc_corpus.h"

#include <xxhash.h>

#define CORPUS_PIECE (64 << 10) /* most bytes tokenized at once */
#define CORPUS_LINE (16 << 20)  /* most bytes of a JSONL line */
#define CORPUS_FAULT 200        /* room for why a document cannot be read */

typedef struct corpus_file {
    char *path;
    char *fault;  /* null, or why it cannot be read, which was known when it was listed */
    int64_t size; /* as it lies on the disk; 0 with a fault */
    bool jsonl;
    int64_t ranges, range, unit; /* parts by size: its units and the bytes of each; its first unit.
                                    ranges 0: every part reads some of it (corpus_parts.c) */
    int64_t first; /* number of its first document; CORPUS_AHEAD: not reached; -1: unknown, when an
                      older version's place led past it */
} corpus_file;
#define CORPUS_AHEAD INT64_MAX
#define CORPUS_NAMED 100000 /* a corpus of more files does not name its documents */

enum { LINE_READ, LINE_BLANK, LINE_TOO_LONG, LINE_END };

/* A line as corpus_read_line left it in psc_corpus.line. */
typedef struct corpus_line {
    int kind; /* LINE_... */
    size_t n; /* bytes, without its end */
} corpus_line;

/* A token that waits for its window, and its origin. */
typedef struct corpus_token {
    int64_t piece;       /* offset of its piece in the document's text */
    int32_t id, index;   /* index: among the piece's tokens */
    uint32_t start, end; /* its bytes in the piece; 0, 0: ids without a text */
} corpus_token;

/* The position in the corpus; a state file stores all of it, with the options (corpus_place.c). */
typedef struct corpus_place {
    int64_t file;     /* index in files; n_files: finished; of a source 0, at its end 1 */
    int64_t line;     /* lines of the file read so far */
    int64_t offset;   /* of the file, decompressed and without its byte order mark: the end of the
                       finished documents, the start of the open one */
    int64_t next;     /* number of the next document */
    int64_t document; /* number of the open document, -1: none is open */
    int64_t first;    /* tokens of the open document returned so far */
    int64_t piece;    /* offset in its text of the next token's piece */
    int64_t skip;     /* tokens of that piece returned so far */
    int64_t documents, skipped, windows, tokens; /* totals; tokens with bos */
} corpus_place;

/* The documents that are drawn (corpus_sample.c). */
typedef struct corpus_sample {
    int64_t n; /* of them; 0: all */
    int64_t seed;
    int64_t population; /* documents of the corpus; -1: not counted yet */
    uint64_t most;      /* the largest key of the sample */
} corpus_sample;
#define CORPUS_SAMPLE 10000000 /* most documents of a sample: 80 MB of keys */

/* A source of documents (psc_corpus_open_source). */
typedef struct corpus_source {
    psc_source_fn next; /* null: the corpus has files */
    void *payload;
    psc_source_document document; /* the last one; its memory is the caller's */
    XXH3_state_t *hash;           /* of all documents so far */
    char first[33];               /* the hash after document 0 */
    bool ended;
    bool asking; /* inside next */
    bool lost;   /* after a seek that failed */
} corpus_source;

/* A stream as the source (corpus_input.c). */
typedef struct corpus_input {
    corpus_stream *stream; /* null: the source is the caller's */
    char *name;
    char *text;      /* of the last document */
    char fault[300]; /* of the last document */
    int64_t line;
    bool begun, jsonl, ended;
    psc_error error; /* why the stream failed */
} corpus_input;

struct psc_corpus {
    const psc_model *model;
    corpus_source source;
    corpus_input input;
    corpus_file *files; /* [files_capacity], the first n_files used */
    size_t files_capacity;
    int64_t n_files, bytes; /* n_files of a source: 1; a stream has one
                               file, another source none */
    char identity[33];      /* of files and field */
    psc_corpus_names *names;
    char *field;
    int32_t window, bos, shard, n_shards, by_size, strict;
    int32_t stride; /* tokens of the text from one window's start to the next; most: window - bos */
    int32_t *owners; /* [units] the part of each, from 0; null: parts by document */
    int64_t limit;   /* tokens; 0: none */
    corpus_sample sample;
    psc_corpus_note_fn note;
    void *payload;
    int32_t notes;    /* sentences so far */
    int32_t n_listed; /* of the paths, the last ones are from a list */

    corpus_place at;
    int64_t behind;                         /* bytes of the files before at.file */
    corpus_place marked;                    /* psc_corpus_mark */
    char marked_read[33], marked_first[33]; /* of a source: its hashes at that time */
    bool is_marked;
    corpus_stream *stream; /* of files[at.file]; null before it is opened */
    char *line;            /* [line_capacity] a JSONL line */
    size_t line_capacity;
    char *text;                  /* JSONL: the open document's text */
    int64_t text_bytes, read_to; /* of the open document: size; bytes tokenized so far. A source's
                                    ids: their number; ids taken */
    char *piece;                 /* [CORPUS_PIECE] */
    int64_t piece_at;            /* of a text file: the offset of piece[0], and the bytes there */
    size_t piece_bytes;
    corpus_token *waiting; /* [waiting_capacity], from head on n_waiting */
    int64_t waiting_capacity, head, n_waiting;
    psc_token *tokens; /* [window] */
};

/* --- corpus_files.c --- */
psc_status corpus_list(
    psc_corpus *corpus, const char *const *paths, int32_t n_paths, psc_error *error);
/* Whether the name is that of a compressed file. */
bool corpus_file_is_packed(const char *path);
/* --- corpus_parts.c --- */
/* Plans the parts by size. */
psc_status corpus_deal(psc_corpus *corpus, psc_error *error);
/* Whether the next document, which begins at at.offset, is this part's to read. */
bool corpus_is_ours(const psc_corpus *corpus);
/* The same, also for a document that a sample does not have. */
bool corpus_is_of_this_part(const psc_corpus *corpus);
/* Whether the parts have different windows of the documents of the present file. */
bool corpus_deals_windows(const psc_corpus *corpus);
/* Whether the next window of the open document is this part's. */
bool corpus_owns_window(const psc_corpus *corpus);
/* Whether this part, of those that read it, counts the document. */
bool corpus_counts(const psc_corpus *corpus, int64_t document);
/* --- corpus_line.c --- */
/* Moves past the next line; its kind is LINE_END, LINE_BLANK or LINE_READ. */
psc_status corpus_pass_line(int *kind, corpus_stream *stream, psc_error *error);
/* The next line, without its end, into corpus->line. name: for sentences. */
psc_status corpus_read_line(corpus_line *out, psc_corpus *corpus, corpus_stream *stream,
    const char *name, psc_error *error);
/* Takes the line's text to corpus->text; otherwise fault says why not: "is not a JSON object". */
psc_status corpus_take_line(
    char fault[CORPUS_FAULT], psc_corpus *corpus, const corpus_line *line, psc_error *error);
/* --- corpus_documents.c --- */
/* Opens the next document of this shard; at.document is -1 at the end of the corpus. */
psc_status corpus_next_document(psc_corpus *corpus, psc_error *error);
/* Reopens the document of corpus->at; between documents, the file at its offset. */
psc_status corpus_reopen_document(psc_corpus *corpus, psc_error *error);
/* Closes the open document and moves past it. */
void corpus_leave_document(psc_corpus *corpus);
/* The next piece of the open document, from read_to on; valid until the next call. */
psc_status corpus_read_piece(const char **out, size_t *bytes, psc_corpus *corpus, psc_error *error);
void corpus_close_stream(psc_corpus *corpus);
/* The open document for an error's sentence. */
void corpus_name_document(char out[600], const psc_corpus *corpus);
/* Skips the document that begins here; with strict, fails. */
psc_status corpus_leave_out(psc_corpus *corpus, psc_error *error, const char *format, ...)
    PSC_PRINTF(3, 4);
/* --- corpus_sample.c --- */
/* Whether a document belongs to the sample; without one, all do. */
bool corpus_is_drawn(const psc_corpus *corpus, int64_t document);
/* Counts the documents and draws the sample. */
psc_status corpus_draw(psc_corpus *corpus, psc_error *error);
/* --- corpus_source.c --- */
/* Asks for the next document; opens it if it is this shard's and can be read. */
psc_status corpus_try_source(psc_corpus *corpus, psc_error *error);
psc_status corpus_reopen_source(psc_corpus *corpus, psc_error *error);
/* The hash of all documents so far, as 32 hex digits. */
void corpus_source_hash(char hex[33], const psc_corpus *corpus);
/* Asks for documents up to place, and compares their hash with `read`. */
psc_status corpus_source_reach(
    psc_corpus *corpus, const corpus_place *place, const char *read, psc_error *error);
psc_status corpus_source_check(const psc_corpus *corpus, psc_error *error);
/* --- corpus_place.c --- */
/* Copies the members that out has, by its struct_size, which stays. */
void corpus_give_totals(psc_corpus_totals *out, const psc_corpus_totals *totals);
/* --- corpus_names.c --- */
psc_corpus_names *corpus_names_make(void);
/* Brings corpus->names to the present position. */
void corpus_names_update(const psc_corpus *corpus);
/* Files whose documents have names. */
int64_t corpus_named(const psc_corpus *corpus);
/* Writes the files that were begun at `at` to a place; false without memory. */
bool corpus_names_tell(json_t *place, const psc_corpus *corpus, const corpus_place *at);
/* Takes the first documents of the files from the text `place`, which is at `at`. */
psc_status corpus_names_seek(
    psc_corpus *corpus, const corpus_place *at, const char *place, psc_error *error);
/* --- corpus_windows.c --- */
/* A corpus with its options, without files and source. */
psc_status corpus_make(psc_corpus **out, const psc_model *model, const psc_corpus_options *options,
    bool texts, psc_error *error);
/* The stride if windows overlap, else 0. */
int32_t corpus_overlapping_stride(const psc_corpus *corpus);
/* Whether the corpus or the limit is exhausted at `at`. */
bool corpus_is_finished(const psc_corpus *corpus, const corpus_place *at);
/* Resumes at a place in these files. */
psc_status corpus_go_to(psc_corpus *corpus, const corpus_place *place, psc_error *error);

#endif
