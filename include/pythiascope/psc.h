/* pythiascope's public interface: models, tokens, sessions, hooks, results.
 * Public. psc_plugin.h has the types of events, psc_results.h what a run leaves.
 * Threads: a model may be shared by sessions of several threads; a session belongs to one at a time.
 * Ownership: objects open by ** and close by **, which nulls them; views belong to their object. */
#ifndef PSC_H
#define PSC_H

#include <stdbool.h>

#include "psc_error.h"
#include "psc_hooks.h"
#include "psc_plugin.h"
#include "psc_results.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct psc_model psc_model;
typedef struct psc_session psc_session;

PSC_API const char *psc_version(void);

/* --- models ---------------------------------------------------------------------------------- */

/* Reads a Hugging Face folder: config.json, model.safetensors or a sharded set, and tokenizer.json
 * when it is there. Weights are packed once and shared by all sessions. */
PSC_API psc_status psc_model_open(psc_model **out, const char *folder, psc_error *error);

/* Packed weights are kept in a folder, so that the next opening maps them instead of reading and
 * packing the model's files. Whatever is wrong with that folder or what lies in it, the model opens
 * as without it. */
typedef struct psc_model_options {
    uint32_t struct_size;
    const char *cache_dir; /* made when it is not there; null: nothing is kept */
    uint64_t cache_limit;  /* most bytes of the folder, the oldest used go first; 0: the default */
    uint64_t cache_least;  /* bytes of packed weights that are worth keeping; 0: the default */
} psc_model_options;
#define PSC_CACHE_LIMIT_DEFAULT ((uint64_t)32 << 30)
#define PSC_CACHE_LEAST_DEFAULT ((uint64_t)64 << 20)
#define PSC_MODEL_OPTIONS_INIT                                                                     \
    { sizeof(psc_model_options), 0, 0, 0 }

/* options may be null: then it is psc_model_open, which keeps nothing. */
PSC_API psc_status psc_model_open_with(
    psc_model **out, const char *folder, const psc_model_options *options, psc_error *error);
PSC_API void psc_model_close(psc_model **model);
/* Where the packed weights came from, for printing: "mapped from ...", "packed, ..." */
PSC_API const char *psc_model_weights_text(const psc_model *model);
/* Lives as long as the model. */
PSC_API const psc_model_info *psc_model_get_info(const psc_model *model);
/* config.json's values as text, for printing: "key: value" lines. */
PSC_API const char *psc_model_config_text(const psc_model *model);
PSC_API bool psc_model_has_tokenizer(const psc_model *model);
/* Entries of the tokenizer (highest id + 1), 0 without one; may be less than d_vocab. */
PSC_API int32_t psc_model_tokenizer_size(const psc_model *model);

/* --- the cache of packed weights ---------------------------------------------------------------
 */

typedef struct psc_cache_entry {
    char name[96];    /* of the file in the folder */
    char hash[33];    /* the model's */
    char model[1024]; /* a folder that the model was opened from; "" when none is known */
    uint64_t bytes;
    int64_t used;    /* seconds since 1970 */
    int32_t current; /* nonzero: this version can read it */
} psc_cache_entry;

/* The files of packed weights in a folder, the last used first; none when there is no such folder.
 * *out is freed by psc_free. */
PSC_API psc_status psc_cache_list(
    psc_cache_entry **out, int32_t *n, const char *cache_dir, psc_error *error);
/* Reads a whole file of the folder and compares it with its hash. */
PSC_API psc_status psc_cache_verify(const char *cache_dir, const char *name, psc_error *error);
/* Removes one file of the folder; with a null name all of them, and what is remembered of models'
 * files. Models that are open keep their weights. */
PSC_API psc_status psc_cache_clear(const char *cache_dir, const char *name, psc_error *error);

/* --- tokens ---------------------------------------------------------------------------------- */

typedef struct psc_token {
    int32_t id;
    uint32_t start, end; /* bytes of the text as it was given; tokens tile it. 0, 0: no text */
} psc_token;

/* Tokens of a UTF-8 text; bos puts <|endoftext|> at the front. *out is freed by psc_free. */
PSC_API psc_status psc_model_encode(psc_token **out, int32_t *n, const psc_model *model,
    const char *text, size_t bytes, bool bos, psc_error *error);
/* The text of ids, NUL-terminated; broken UTF-8 becomes U+FFFD. *out is freed by psc_free. */
PSC_API psc_status psc_model_decode(char **out, size_t *bytes, const psc_model *model,
    const int32_t *ids, int32_t n, psc_error *error);
/* A token's raw bytes, perhaps a part of a character; null where it has no text. Model's life. */
PSC_API const char *psc_model_token_bytes(const psc_model *model, int32_t id, size_t *bytes);

/* --- sessions -------------------------------------------------------------------------------- */

typedef struct psc_session_options {
    uint32_t struct_size;
    int32_t threads;       /* 0: one a core */
    const char *isa;       /* "reference", "avx2", "avx512", "neon"; null: the best here */
    int32_t chunk;         /* most rows of one pass; 0: 128 to 512. Results do not depend on it */
    int32_t n_sequences;   /* 0: 1 */
    int32_t capacity;      /* most tokens of one sequence; 0: the model's n_ctx */
    uint64_t retained_cap; /* bytes that plugins may retain in a run; 0: 2 GiB */
    int32_t accumulate;    /* nonzero: runs are documents of a corpus ("accumulation" below) */
} psc_session_options;
#define PSC_SESSION_OPTIONS_INIT                                                                   \
    { sizeof(psc_session_options), 0, 0, 0, 0, 0, 0, 0 }

/* The model must outlive the session. */
PSC_API psc_status psc_session_open(
    psc_session **out, psc_model *model, const psc_session_options *options, psc_error *error);
PSC_API void psc_session_close(psc_session **session);
PSC_API int32_t psc_session_threads(const psc_session *session);
PSC_API const char *psc_session_isa(const psc_session *session);

/* Loads a plugin: a built-in by its name, or a shared object by its path (anything with a '/' or
 * ending in .so or .dylib). options: "key=value,key=value" or null. Plugins see the events of every
 * later run, in the order of loading. */
PSC_API psc_status psc_session_plugin(
    psc_session *session, const char *name_or_path, const char *options, psc_error *error);
/* The same, with n more options as keys and values, which need no escapes. text and options may be
 * null; the call copies them. A key that both give is PSC_ERROR_INPUT. */
PSC_API psc_status psc_session_plugin_options(psc_session *session, const char *name_or_path,
    const char *text, const psc_option *options, int32_t n, psc_error *error);
/* Nonzero when a plugin compares phases (psc_plugin.phases): its runs are to be SOURCE, BASE,
 * CHANGED on sequences that are truncated to 0 between them. */
PSC_API int psc_session_has_phases(const psc_session *session);
/* Adds targets for the plugins: a text of exactly one token, #ID, next, top:K. */
PSC_API psc_status psc_session_target(psc_session *session, const char *target, psc_error *error);
/* z_a - z_b; each a text of exactly one token or #ID. */
PSC_API psc_status psc_session_contrast(
    psc_session *session, const char *a, const char *b, psc_error *error);
/* Keeps a hook point's tensor in the results: "blocks.0.attn.hook_pattern"; * stands for any layer.
 */
PSC_API psc_status psc_session_capture(psc_session *session, const char *point, psc_error *error);

/* A client's own hooks, without a plugin. They stay until psc_session_unhook. None of the three may
 * be called from a callback of a run; the first two then return PSC_ERROR_STATE. */
PSC_API psc_status psc_session_observe(psc_session *session, psc_point point,
    const psc_filter *filter, psc_event_fn callback, void *payload, psc_error *error);
PSC_API psc_status psc_session_edit(psc_session *session, psc_point point, const psc_filter *filter,
    psc_event_fn callback, void *payload, psc_error *error);
/* Drops all hooks of psc_session_observe and psc_session_edit whose payload this is. */
PSC_API void psc_session_unhook(psc_session *session, const void *payload);

/* Tokens to append to one sequence. */
typedef struct psc_input {
    int32_t sequence;
    int32_t n;
    const psc_token *tokens;
} psc_input;

/* Where an input's tokens come from, in a session that accumulates. */
typedef struct psc_document {
    int64_t number; /* of the document, in its corpus */
    int64_t first;  /* the place in the document of the sequence's position 0, in tokens */
} psc_document;

typedef int (*psc_progress_fn)(double done, const char *what, void *payload); /* nonzero: cancel */

typedef struct psc_run_options {
    uint32_t struct_size;
    int32_t logits;    /* psc_rows_mode: which rows' logits psc_session_logits gives; ALL or LAST */
    int32_t no_logits; /* nonzero: none, unless a hook wants them */
    const char *text;  /* what the tokens' byte ranges refer to; null: none. Borrowed for the run */
    size_t text_bytes;
    psc_progress_fn progress; /* nullable */
    void *payload;
    int32_t phase;  /* psc_phase: what the run is for. In SOURCE and BASE nothing is captured */
    int32_t source; /* PSC_PHASE_SOURCE: the prompt's number, from 0 */
    const psc_document *documents; /* one an input; null: 0, 0 each. Borrowed for the run */
    int32_t bos; /* nonzero: the caller put a beginning-of-text token in front; only recorded */
} psc_run_options;
#define PSC_RUN_OPTIONS_INIT                                                                       \
    { sizeof(psc_run_options), PSC_ROWS_LAST, 0, 0, 0, 0, 0, PSC_PHASE_ONLY, 0, 0, 0 }

/* One run: appends the tokens to their sequences (ascending, each at most once), computes them,
 * shows them to the hooks, and leaves results. options may be null. When it fails, the sequences
 * are as they were before and the session stays usable. */
PSC_API psc_status psc_session_run(psc_session *session, const psc_input *inputs, int32_t n_inputs,
    const psc_run_options *options, psc_error *error);
/* Tokens in a sequence so far. */
PSC_API int32_t psc_session_length(const psc_session *session, int32_t sequence);
/* Forgets a sequence's tokens beyond the first n. */
PSC_API void psc_session_truncate(psc_session *session, int32_t sequence, int32_t n);
/* Logits [d_vocab] of row `index` (psc_row.index) of the last run; null when they were not asked
 * for. Valid until the next run. */
PSC_API const float *psc_session_logits(const psc_session *session, int32_t index);

/* --- results --------------------------------------------------------------------------------- */

/* What the last run or report left, to be read and written by psc_results.h. Never null; the same
 * for the session's whole life, while its contents are replaced by each run. */
PSC_API const psc_results *psc_session_results(const psc_session *session);
/* psc_results_find_array in them. */
PSC_API psc_status psc_session_array(
    const psc_session *session, const char *name, psc_array *out, psc_error *error);

/* --- accumulation ----------------------------------------------------------------------------
 * A session opened with `accumulate` gives plugins documents instead of single runs: a run leaves
 * no results, plugins add each sequence's partial sums to accumulators, and psc_session_report asks
 * them once for the totals. Totals do not depend on order, batches, or how the work was split and
 * put together again. Without a target, `next` is the target. A run that fails after partials were
 * added leaves the totals of no use: later runs, saving and reports are refused. */

/* Every plugin's report; then the results are there, as after a run. totals, for the head of the
 * results: null or zeroed ones are filled from the runs. */
PSC_API psc_status psc_session_report(
    psc_session *session, const psc_corpus_totals *totals, psc_error *error);

/* The totals as a file, written whole or not at all; client (bytes of it, may be null) is kept with
 * them for the caller, as where in the corpus it is. */
PSC_API psc_status psc_session_state_save(const psc_session *session, const char *path,
    const void *client, size_t bytes, psc_error *error);
/* Replaces the totals by those of a file, or adds the file's to them. The file must have been made
 * with this model, these targets and plugins, of the same versions and options. */
PSC_API psc_status psc_session_state_load(psc_session *session, const char *path, psc_error *error);
PSC_API psc_status psc_session_state_merge(
    psc_session *session, const char *path, psc_error *error);
/* What the caller had kept in a state file, with a 0 byte after it. *out is freed by psc_free. */
PSC_API psc_status psc_state_client(void **out, size_t *bytes, const char *path, psc_error *error);

/* --- sampling -------------------------------------------------------------------------------- */

typedef struct psc_sampler {
    uint32_t struct_size;
    uint64_t seed;         /* state; advances with each draw at temperature > 0 */
    psc_strategy strategy; /* what is drawn from (psc_plugin.h) */
} psc_sampler;
/* Greedy: the largest logit, ties to the lower id. */
#define PSC_SAMPLER_INIT                                                                           \
    {                                                                                              \
        sizeof(psc_sampler), 0, {                                                                  \
            sizeof(psc_strategy), 0.0, 0, 0.0, 0.0                                                 \
        }                                                                                          \
    }

/* Draws an id from logits [d_vocab] of the session's model; sampler null: greedy. */
PSC_API psc_status psc_session_sample(
    int32_t *id, psc_session *session, psc_sampler *sampler, const float *logits, psc_error *error);

/* --- plugins known --------------------------------------------------------------------------- */

PSC_API int32_t psc_builtin_count(void);
/* Its version is psc_version(). Null beyond the last. */
PSC_API const psc_plugin *psc_builtin(int32_t index);

#ifdef __cplusplus
}
#endif
#endif
