/* The results of a run: reading, writing and printing them.
 * Public. psc.h includes it. Includes psc_error.h only.
 * Threads: several may read the same results while their session neither runs nor reports; results
 * that a client took do not depend on the session.
 * Ownership: results belong to their session (psc_session_results), or to the client that took them
 * (psc_session_take_results). A reader's pointers belong to the results. They are valid until the
 * session's next psc_session_run, psc_session_report or closing, or until psc_results_close. */
#ifndef PSC_RESULTS_H
#define PSC_RESULTS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "psc_error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* psc.h runs a model and hands out results (psc_session_results). psc_error.h has psc_element.
 *
 * Results are a head (program, model, run, tokens or the totals of a corpus), one section per
 * plugin and one of the run's metric, captured tensors, and files that plugins made. A section has
 * options, axes, arrays whose dimensions are axes, values, and the items of the printed summary.
 *
 * Readers fill the caller's structure. Indices count from 0 in the order of creation; a section, or
 * an index within it, that does not exist is PSC_ERROR_INPUT. Empty results (before the first run,
 * after a failed one) have no head: its readers return PSC_ERROR_STATE. Structures that open with
 * struct_size may grow at the end: start from their _INIT, and the call fills what the caller's
 * version knows. Other structures never change.
 *
 * Unless stated otherwise, texts are UTF-8 with U+FFFD in place of broken bytes, and end with a 0
 * byte. A number without a value is NaN. */
typedef struct psc_results psc_results;

/* Frees memory that a call of any public header returned; null is allowed. */
PSC_API void psc_free(void *memory);
/* Frees results that a client took. *results may be null and becomes null. */
PSC_API void psc_results_close(psc_results **results);

/* A copy of all results in *out, which depends on neither their session nor their model. The caller
 * closes it with psc_results_close. *out is null after an error. */
PSC_API psc_status psc_results_copy(
    psc_results **out, const psc_results *results, psc_error *error);
/* Joins the results of the same work at n >= 1 checkpoints of a model into one, *out, which the
 * caller closes with psc_results_close. labels [n] names the checkpoints ("step1000"), each once.
 * *out copies everything: results [n] may be closed afterwards.
 *
 * Every section begins with an axis `checkpoints`, whose entries are the labels. An array [a, b] of
 * all n results, with equal type, axes and entries of the axes, becomes [checkpoints, a, b], so
 * that slice k has the bytes of result k; so do captured tensors, which have no axis names. A
 * number becomes an F64 array [checkpoints] of its name. A text or a list that is the same in
 * all stays; texts that differ become a list, lists of numbers of one length an array
 * [checkpoints, NAME.entries].
 *
 * A first section `checkpoints` has the array `step` ("step1000": 1000; NaN without a number), the
 * lists `hashes` and `paths`, and the list `left_out`: a text for each thing that is not stacked,
 * because a result lacks it, its shape or entries differ, or it has PSC_MOST_AXES axes already, and
 * for each file of a plugin. If all results have the same targets (psc_results_target_at), it also
 * has target_p, target_rank, target_logit and target_ids [checkpoints, targets] of the last row; a
 * contrast has the difference of its logits, and NaN and -1 in place of p and rank. The head is the
 * last result's, with a name like "NAME@step0...step1000 (6 checkpoints)". The printed summaries
 * are replaced by a table per section and target, with a line per checkpoint.
 *
 * PSC_ERROR_STATE for empty results; PSC_ERROR_INPUT for no results, a missing label or one given
 * twice, results of different tokens or documents, and results that are a stack. *out is null after
 * an error. The arrays take as much memory as those of all results together. */
PSC_API psc_status psc_results_stack(psc_results **out, const psc_results *const *results,
    const char *const *labels, int32_t n, psc_error *error);

/* --- the head -------------------------------------------------------------------------------- */

/* The version of pythiascope that made the results; null for empty results. */
PSC_API const char *psc_results_version(const psc_results *results);

typedef struct psc_result_model {
    uint32_t struct_size;
    int32_t n_layers, n_heads, d_model, d_head, d_mlp, d_vocab, n_ctx;
    int32_t rotary_dims;                             /* of d_head, rotated */
    int32_t parallel_residual, tied, attention_bias; /* 0 or 1 */
    int32_t bos_id;                                  /* -1: none */
    int32_t n_eos;                                   /* may be 0 */
    const int32_t *eos_ids;                          /* [n_eos] */
    double layer_norm_eps, rotary_pct, rotary_base;
    const char *path;       /* the folder, as it was opened; need not be UTF-8 */
    const char *hash;       /* XXH3-128 as 32 hex digits */
    const char *activation; /* "gelu", "gelu_fast", ...: as config.json has it */
    const char *dtype;      /* of the weights, as config.json has it; "" if it has none */
    const char *name; /* for people: "EleutherAI/pythia-160m@step3000", or the folder's last part */
    const char *rope_type; /* "default", "linear", "dynamic" or "yarn" */
    double rope_factor;    /* 1 for the default */
} psc_result_model;
#define PSC_RESULT_MODEL_INIT                                                                      \
    {                                                                                              \
        sizeof(psc_result_model), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,   \
            0, 0, 0                                                                                \
    }

PSC_API psc_status psc_results_get_model(
    psc_result_model *out, const psc_results *results, psc_error *error);

typedef struct psc_result_run {
    uint32_t struct_size;
    int32_t threads;
    int32_t chunk;     /* most rows per pass */
    int32_t n_rows;    /* tokens of the run; 0 over a corpus */
    int32_t sequences; /* of the run; 0 over a corpus */
    int32_t bos;       /* nonzero: the caller put a beginning-of-text token in front */
    const char *isa;   /* "reference", "avx2", "avx512", "neon" */
    const char *sleef; /* SLEEF's version */
} psc_result_run;
#define PSC_RESULT_RUN_INIT                                                                        \
    { sizeof(psc_result_run), 0, 0, 0, 0, 0, 0, 0 }

PSC_API psc_status psc_results_get_run(
    psc_result_run *out, const psc_results *results, psc_error *error);

/* The documents behind totals over a corpus. */
typedef struct psc_corpus_totals {
    uint32_t struct_size;
    int64_t documents, skipped; /* read; skipped because they could not be read */
    int64_t windows, tokens;    /* sequences of all runs; their rows, without repeated ones */
    int32_t window;             /* tokens of a full window; 0: unknown */
    int32_t bos;                /* nonzero: psc_model_bos in front of each window */
    int64_t limit;              /* the token limit of each part (psc_corpus_options); 0: none */
    int64_t sample, seed;       /* the documents drawn, and the seed; 0: all documents */
    int64_t population;         /* of a sample: the documents that it was drawn from */
    int32_t stopped;            /* nonzero: the reading was interrupted before its end */
    /* Nullable: a document's name, such as its file's path; "" when it is unknown. The text is
     * valid until the next call. Asked during psc_session_report only; results have null here. */
    const char *(*document_name)(int64_t number, void *payload);
    void *document_payload; /* of document_name */
    /* Of psc_corpus.h's totals: the documents that have a number, read or not, of all
     * parts. Results have 0. */
    int64_t numbered;
    int32_t stride; /* tokens from one window's start to the next, where windows overlap; else 0 */
} psc_corpus_totals;
#define PSC_CORPUS_TOTALS_INIT                                                                     \
    { sizeof(psc_corpus_totals), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* PSC_ERROR_STATE when the results are those of a single run. */
PSC_API psc_status psc_results_get_corpus(
    psc_corpus_totals *out, const psc_results *results, psc_error *error);

/* What a client measured and passed on in psc_format_options. */
typedef struct psc_result_time {
    uint32_t struct_size;
    double seconds;            /* of the work, without opening the model */
    double tokens_per_second;  /* NaN for work without tokens */
    int64_t peak_memory_bytes; /* of the process so far */
} psc_result_time;
#define PSC_RESULT_TIME_INIT                                                                       \
    { sizeof(psc_result_time), 0, 0, 0 }

/* The command of results that were read from a folder; null if it holds none. */
PSC_API const char *psc_results_command(const psc_results *results);
/* PSC_ERROR_STATE unless the results were read from a folder that holds a time. */
PSC_API psc_status psc_results_get_time(
    psc_result_time *out, const psc_results *results, psc_error *error);

/* A token that was drawn, and what the model's logits before it say of it. */
typedef struct psc_generated_token {
    int32_t id;
    int32_t rank;      /* 1: the most probable token */
    double p, logit;   /* p: of the model, from 0 to 1, before temperature and filters */
    const char *bytes; /* [n_bytes], need not be UTF-8; null if it has no text */
    size_t n_bytes;
} psc_generated_token;

typedef enum psc_generation_end {
    PSC_END_LIMIT = 0,   /* the caller's number of tokens */
    PSC_END_TOKEN = 1,   /* an end-of-text token was drawn; it is not among the tokens */
    PSC_END_CONTEXT = 2, /* the model's context is full */
    PSC_END_NONE = -1    /* more tokens may follow */
} psc_generation_end;

/* A text that grew token by token: settings, and what was drawn. */
typedef struct psc_generation {
    uint32_t struct_size;
    int32_t n; /* tokens drawn */
    const psc_generated_token *tokens;
    const char *text; /* [text_bytes], need not be UTF-8: the prompt and the tokens; null without */
    size_t text_bytes;
    int64_t limit; /* most tokens to draw */
    uint64_t seed;
    double temperature, top_p, min_p; /* 0 of the last two: no such filter */
    int32_t top_k;                    /* 0: no such filter */
    int32_t end;                      /* psc_generation_end */
} psc_generation;
#define PSC_GENERATION_INIT                                                                        \
    { sizeof(psc_generation), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* PSC_ERROR_STATE unless the results were read from a folder that holds a generation. */
PSC_API psc_status psc_results_get_generation(
    psc_generation *out, const psc_results *results, psc_error *error);

/* One row of the run, ordered by (sequence, position). */
typedef struct psc_result_token {
    int32_t id;
    int32_t sequence, position; /* 0-based */
    uint32_t start, end;        /* its bytes in the text as given; 0, 0 without a text */
    const char *bytes;          /* [n_bytes], not UTF-8: the token's own bytes, perhaps part of a
                                   character; null if it has no text */
    size_t n_bytes;
} psc_result_token;

/* The rows of the run; 0 over a corpus. */
PSC_API int32_t psc_results_token_count(const psc_results *results);
PSC_API psc_status psc_results_token_at(
    psc_result_token *out, const psc_results *results, int32_t index, psc_error *error);

/* One target at one row, as it was resolved there: the ids behind "top:1" or "next", and what the
 * model says of them. A contrast z_a - z_b has two ids; minus_id is -1 for all others. */
typedef struct psc_result_target {
    uint32_t struct_size;
    int32_t row;            /* index of a row (psc_results_token_at) */
    int32_t id, minus_id;   /* -1: none */
    int32_t rank;           /* of id among the row's logits; 1: the most probable token */
    int32_t minus_rank;     /* 0 without minus_id */
    const char *name;       /* as given: "top:1", "next", "' Paris'", "' he' - ' she'" */
    const char *text;       /* of id; null if it has none */
    const char *minus_text; /* of minus_id; null if it has none */
    double p, minus_p;      /* the model's probability, from 0 to 1 */
    double logit, minus_logit;
} psc_result_target;
#define PSC_RESULT_TARGET_INIT                                                                     \
    { sizeof(psc_result_target), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

#define PSC_MOST_RESULT_TARGETS 1024

/* The targets at the rows whose logits the plugins observed, by ascending row and then in the order
 * of the targets. There are none over a corpus, without plugins that use targets, and for `next` at
 * a sequence's last row. If there would be more than PSC_MOST_RESULT_TARGETS, only the last row of
 * each sequence has entries, and only so many. */
PSC_API int32_t psc_results_target_count(const psc_results *results);
PSC_API psc_status psc_results_target_at(
    psc_result_target *out, const psc_results *results, int32_t index, psc_error *error);

/* The texts of the token ids that the results' arrays name (psc_results_array_holds_token_ids),
 * with ascending ids. An id that has no text is not among them; a model without a tokenizer has
 * none. A 0 byte of a token is U+FFFD. */
PSC_API int32_t psc_results_vocabulary_count(const psc_results *results);
PSC_API psc_status psc_results_vocabulary_at(
    int32_t *id, const char **text, const psc_results *results, int32_t index, psc_error *error);

/* --- sections -------------------------------------------------------------------------------- */

typedef struct psc_result_section {
    uint32_t struct_size;
    int32_t n_options, n_axes, n_arrays, n_values, n_items;
    const char *name;    /* the plugin's; from the second instance on with "#2", "#3", ... */
    const char *version; /* the plugin's */
} psc_result_section;
#define PSC_RESULT_SECTION_INIT                                                                    \
    { sizeof(psc_result_section), 0, 0, 0, 0, 0, 0, 0 }

/* The number of sections, one per plugin in the order of loading. */
PSC_API int32_t psc_results_section_count(const psc_results *results);
PSC_API psc_status psc_results_section_at(
    psc_result_section *out, const psc_results *results, int32_t section, psc_error *error);
/* The index of a section by its name. PSC_ERROR_INPUT if there is none. */
PSC_API psc_status psc_results_find_section(
    int32_t *out, const psc_results *results, const char *name, psc_error *error);

/* An option of the plugin, given or default: its key and value. */
PSC_API psc_status psc_results_option_at(const char **key, const char **value,
    const psc_results *results, int32_t section, int32_t index, psc_error *error);

/* An axis describes one dimension of arrays: one label or integer per index. */
typedef struct psc_result_axis {
    const char *name;
    int64_t n;                 /* entries; may be 0 */
    const char *const *labels; /* [n]; null: the entries are numbers */
    const int32_t *numbers;    /* [n]; null: the entries are labels */
} psc_result_axis;

/* An axis by index or name. PSC_ERROR_INPUT if there is none. */
PSC_API psc_status psc_results_axis_at(psc_result_axis *out, const psc_results *results,
    int32_t section, int32_t index, psc_error *error);
PSC_API psc_status psc_results_find_axis(psc_result_axis *out, const psc_results *results,
    int32_t section, const char *name, psc_error *error);

#define PSC_MOST_AXES 6

/* Element (i, j, ...) is data[(i * shape[1] + j) * shape[2] + ...]: row-major, no gaps. */
typedef struct psc_array {
    const char *name; /* in all results: "logits.contributions"; of a capture its hook name, with
                         "@sequence" in a run of several sequences */
    const char *key;  /* in its section: "contributions"; of a capture the same as name */
    int32_t element;  /* psc_element */
    int32_t n_axes;   /* 0 (one element) to PSC_MOST_AXES */
    int64_t shape[PSC_MOST_AXES];
    const char *axes[PSC_MOST_AXES]; /* names of the section's axes; null in a capture */
    const void *data;                /* 64-byte aligned; NaN, or -1 for integers, where unset */
} psc_array;

PSC_API psc_status psc_results_array_at(
    psc_array *out, const psc_results *results, int32_t section, int32_t index, psc_error *error);
/* An array or capture by psc_array.name. PSC_ERROR_INPUT if there is none. */
PSC_API psc_status psc_results_find_array(
    psc_array *out, const psc_results *results, const char *name, psc_error *error);
/* 1 if the integers of the array of that psc_array.name are token ids (-1: none), else 0. */
PSC_API int psc_results_array_holds_token_ids(const psc_results *results, const char *name);

typedef enum psc_value_kind {
    PSC_VALUE_NUMBER = 0,
    PSC_VALUE_TEXT = 1,
    PSC_VALUE_NUMBERS = 2, /* a list */
    PSC_VALUE_TEXTS = 3
} psc_value_kind;

/* A number, a text, or a list of either. */
typedef struct psc_result_value {
    const char *name;
    int32_t kind;             /* psc_value_kind */
    int32_t n;                /* 1 unless it is a list, which has at least one entry */
    const double *numbers;    /* [n]; null for texts */
    const char *const *texts; /* [n]; null for numbers */
} psc_result_value;

/* A value by index or name. PSC_ERROR_INPUT if there is none. */
PSC_API psc_status psc_results_value_at(psc_result_value *out, const psc_results *results,
    int32_t section, int32_t index, psc_error *error);
PSC_API psc_status psc_results_find_value(psc_result_value *out, const psc_results *results,
    int32_t section, const char *name, psc_error *error);

/* One part of a section's printed summary: a sentence, or a list of signed bars. The texts are the
 * plugin's own bytes: they may hold control characters and need not be UTF-8. */
typedef struct psc_result_item {
    const char *sentence;      /* null: bars */
    const char *title;         /* of the bars; null: a sentence */
    const char *unit;          /* of the bars' values: "nats", or "" */
    int32_t n;                 /* bars; 0 for a sentence */
    const char *const *labels; /* [n] */
    const double *values;      /* [n] */
} psc_result_item;

PSC_API psc_status psc_results_item_at(psc_result_item *out, const psc_results *results,
    int32_t section, int32_t index, psc_error *error);

/* --- captured tensors and files -------------------------------------------------------------- */

/* Tensors of psc_session_capture: f32, [T, ...] in the shape of the hook point; scores and pattern
 * [H, T, keys]. T: the sequence's rows in the run. They have no axis names. */
PSC_API int32_t psc_results_capture_count(const psc_results *results);
PSC_API psc_status psc_results_capture_at(
    psc_array *out, const psc_results *results, int32_t index, psc_error *error);

/* A file that a plugin wrote for the output folder. */
typedef struct psc_result_file {
    const char *name;  /* "graph.json" */
    const char *bytes; /* [n] */
    uint64_t n;
} psc_result_file;

PSC_API int32_t psc_results_file_count(const psc_results *results);
PSC_API psc_status psc_results_file_at(
    psc_result_file *out, const psc_results *results, int32_t index, psc_error *error);

/* --- writing and reading --------------------------------------------------------------------- */

typedef enum psc_format {
    PSC_FORMAT_JSON = 0, /* results.json: everything except the arrays' elements; NaN as null */
    PSC_FORMAT_TEXT = 1, /* the summary for a terminal, with unsafe characters escaped */
    PSC_FORMAT_HTML =
        2 /* a page for a browser: one file that needs no other and no network. It shows
                            every section, also those of plugins that pythiascope does not know. Texts
                            of the results are never markup. PSC_ERROR_SUPPORT in a library that was
                            built without the page. */
} psc_format;

typedef enum psc_color {
    PSC_COLOR_AUTO = 0, /* only on a terminal, without NO_COLOR and TERM=dumb */
    PSC_COLOR_ALWAYS = 1,
    PSC_COLOR_NEVER = 2
} psc_color;

typedef struct psc_format_options {
    uint32_t struct_size;
    int32_t width;    /* of TEXT, 40 to 1000 columns; 0: the terminal's, at most 160, else 80 */
    int32_t color;    /* of TEXT: psc_color */
    int32_t no_head;  /* of TEXT: nonzero: the sections only */
    int32_t one_line; /* of JSON: nonzero: the same object on one line */
    int32_t sections; /* of TEXT: only that many, from the first on; 0: all */
    /* Of HTML. Texts may be null and need not be UTF-8. */
    const psc_results *beside;        /* nullable: a run that the page shows beside this one */
    const char *label, *beside_label; /* of the two runs: "with --ablate L0H3" */
    const char *command;              /* in JSON; at the page's foot. null: in JSON that of results
                                         that were read */
    int64_t page_bytes; /* the most bytes of the page, about, without its viewer; 0: so many
                           that the whole page has at most 1 MB. Larger arrays are rounded or cut,
                           and the page names them */
    /* Of JSON; null: those of results that were read. */
    const psc_result_time *time;
    const psc_generation *generation;
    int32_t prompt;          /* the number of one of several prompts, from 1; 0: none */
    int32_t generation_only; /* nonzero: no tokens, targets, plugins and captures, which are those
                                of the last run of several sequences */
} psc_format_options;
#define PSC_FORMAT_OPTIONS_INIT                                                                    \
    { sizeof(psc_format_options), 0, PSC_COLOR_AUTO, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Checks in advance that psc_results_write_folder can write folder: it must be new or empty, and
 * its parent must exist and be writable. PSC_ERROR_IO otherwise. Leaves no files. */
PSC_API psc_status psc_results_check_folder(const char *folder, psc_error *error);
/* Writes folder/results.json, folder/tensors.safetensors (every array and captured tensor) and the
 * plugins' files. The folder must be new or empty; it appears whole or not at all. */
PSC_API psc_status psc_results_write_folder(
    const psc_results *results, const char *folder, psc_error *error);
/* The same with the options of PSC_FORMAT_JSON for results.json; options may be null. */
PSC_API psc_status psc_results_write_folder_with(const psc_results *results,
    const psc_format_options *options, const char *folder, psc_error *error);

/* Reads results.json and tensors.safetensors of a folder that psc_results_write_folder wrote, in
 * this version or an older one. The caller closes *out with psc_results_close; it depends on no
 * model, and has no files of plugins. Written again, both files have the same bytes. The folder may
 * come from anywhere: PSC_ERROR_INPUT for what is wrong in it, PSC_ERROR_IO if a file cannot be
 * read, and *out is null. */
PSC_API psc_status psc_results_read_folder(psc_results **out, const char *folder, psc_error *error);

/* Write the results in a format. options may be null: zeros. PSC_ERROR_STATE for empty results,
 * PSC_ERROR_INPUT for an unknown format and options out of range, PSC_ERROR_IO for a failed write,
 * PSC_ERROR_SUPPORT for HTML in a library without the page.
 *
 * To a stream, which stays open; the call does not sync it to the disk. */
PSC_API psc_status psc_results_write(const psc_results *results, psc_format format,
    const psc_format_options *options, FILE *out, psc_error *error);
/* Checks in advance that psc_results_write_file can write the file in this format: its folder must
 * exist and be writable, and path must not name a folder. Leaves no files. */
PSC_API psc_status psc_results_check_file(psc_format format, const char *path, psc_error *error);
/* To a file, which is replaced whole or not at all. */
PSC_API psc_status psc_results_write_file(const psc_results *results, psc_format format,
    const psc_format_options *options, const char *path, psc_error *error);
/* To memory: *out has *bytes bytes and a 0 after them; the caller frees it with psc_free. *out is
 * null after an error. bytes may be null. */
PSC_API psc_status psc_results_write_memory(char **out, size_t *bytes, const psc_results *results,
    psc_format format, const psc_format_options *options, psc_error *error);

#ifdef __cplusplus
}
#endif
#endif
