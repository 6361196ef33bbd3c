/* Shards: the rows of a corpus that a plugin writes to disk, as safetensors files and an index.
 * Private to runtime/. Includes session_inside.h.
 * Threads: the session's thread.
 * Ownership: a context owns its shards; psc_shards_free closes the files and leaves them. */
#ifndef ROW_SHARDS_H
#define ROW_SHARDS_H

#include "session_inside.h"

enum { PSC_SHARD_COLUMNS = 5, PSC_SHARD_NAME = 128 };

/* An array of every shard: [rows, shape]. */
typedef struct psc_shard_column {
    char *name;
    const char *dtype; /* the format's name */
    int32_t n_axes;
    int64_t shape[3];
    uint64_t row_bytes;
    uint64_t offset; /* of a full shard's data, in its file */
} psc_shard_column;

/* The document columns first, then the plugin's: every column is aligned to its elements. */
struct psc_shards {
    char *folder, *stem; /* stem: "activations", of a part "activations-2-of-3" */
    size_t n_name;       /* bytes of the plugin's name, with which the stem begins */
    psc_shard_column *columns;
    int32_t n_columns;
    int64_t rows; /* of a shard */
    uint64_t row_bytes, most_bytes;
    double share;
    int counter;    /* the accumulator of the rows so far */
    int64_t number; /* of the open shard; -1: none */
    int fd, lock;   /* of the open shard, of the lock file; -1: none */
    bool begun;     /* the folder is this process's */
    int64_t base;   /* rows before this run */
    int32_t n_run;  /* rows of this run; -1: not chosen yet */
    void *scratch;  /* [most_scratch] for the document columns */
    uint64_t most_scratch;
};

/* --- row_shards.c --- */
/* The options were checked. The folder is checked here; nothing is written. */
psc_status psc_shards_make(
    psc_context *context, const psc_shard_options *options, psc_error *error);
void psc_shards_free(psc_shards **shards);
/* At the first run, or at the report of one without: locks the folder and makes it that of the rows
 * counted so far, whatever a killed process wrote after them. */
psc_status psc_shards_begin(psc_context *context, psc_error *error);
/* Rows first..first+n-1 of the run, of one column. */
psc_status psc_shards_put(psc_shards *shards, int32_t column, int32_t first, int32_t n,
    const void *values, psc_error *error);
/* After a run that succeeded: counts its rows and gives full shards their names. */
psc_status psc_shards_commit(psc_context *context, psc_error *error);
/* Before the state is saved: the rows that it counts are on the disk. */
psc_status psc_shards_sync(psc_context *context, psc_error *error);
/* Writes the last shard, removes what lies behind it, and writes the index. */
psc_status psc_shards_finish(psc_context *context, int64_t *rows, psc_error *error);
int64_t psc_shards_counted(const psc_context *context);
/* Bytes of n rows in shards. */
uint64_t psc_shards_bytes(const psc_shards *shards, int64_t n);
/* Whether the session only merges the totals of parts. */
bool psc_shards_merging(const psc_session *session);

/* --- row_shards_files.c --- */
/* The beginning of a shard's file, with 0 behind it; the caller frees *out by free(). */
psc_status psc_shard_header(
    char **out, size_t *size, const psc_shards *shards, int64_t rows, psc_error *error);
/* folder/name of shard `number`, whole or open; PSC_ERROR_MEMORY. The caller frees *out. */
psc_status psc_shard_path(
    char **out, const psc_shards *shards, int64_t number, bool whole, psc_error *error);
/* The number of a shard by its file's name, and whether it is whole; -1: the name is no shard's. */
int64_t psc_shard_number(const psc_shards *shards, const char *name, bool *whole);
/* Refuses a folder that cannot be written to, or that has other content. */
psc_status psc_shards_check_folder(const psc_shards *shards, bool merging, psc_error *error);
/* Makes the folder unless it exists, and locks it for this part. */
psc_status psc_shards_lock(psc_shards *shards, psc_error *error);
void psc_shards_unlock(psc_shards *shards);
/* Removes shards from `number` on; *found: how many. only_count: removes nothing. */
psc_status psc_shards_remove_from(
    const psc_shards *shards, int64_t number, bool only_count, int64_t *found, psc_error *error);
/* n bytes at `at`; path is for the error's sentence. */
psc_status psc_shard_write(
    int fd, const void *from, uint64_t n, uint64_t at, const char *path, psc_error *error);
/* Opens shard `number` to write rows into it. */
psc_status psc_shard_open(psc_shards *shards, int64_t number, psc_error *error);
/* Makes shard `number` with n rows open again, from whatever file has them. */
psc_status psc_shard_reopen(psc_shards *shards, int64_t number, int64_t n, psc_error *error);
/* Gives the open shard its name: all its rows, or the first n of them in a file of their own. */
psc_status psc_shard_close(psc_shards *shards, int64_t n, psc_error *error);

/* --- row_shards_index.c --- */
/* The path of this process's index; the caller frees *out. */
psc_status psc_shards_index_path(char **out, const psc_shards *shards, psc_error *error);
psc_status psc_shards_index(const psc_context *context, int64_t rows, psc_error *error);
/* index.json from the indices of all parts; *rows: of all. */
psc_status psc_shards_index_merge(const psc_context *context, int64_t *rows, psc_error *error);

#endif
