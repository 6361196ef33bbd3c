/* pythiascope's public interface: models, tokens, sessions, hooks, results.
 * Public. psc_plugin.h has the types of events, psc_results.h reads the results of a run.
 * Threads: sessions of several threads may share a model; a session belongs to one at a time.
 * Ownership: objects open by ** and close by **, which nulls them; views belong to their object.
 *
 * Every error pointer may be null. Options structures start from their _INIT. */
#ifndef PSC_H
#define PSC_H

#include <stdbool.h>

#include "psc_error.h"
#include "psc_hooks.h"
#include "psc_metric.h"
#include "psc_plugin.h"
#include "psc_results.h"
#include "psc_treebank.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct psc_model psc_model;
typedef struct psc_session psc_session;

PSC_API const char *psc_version(void);

/* --- models ---------------------------------------------------------------------------------- */

/* Where a model is. Start from PSC_MODEL_PLACE_INIT. */
typedef struct psc_model_place {
    uint32_t struct_size;
    char folder[4096];    /* as given, or the one that the name means */
    char name[256];       /* for people: "EleutherAI/pythia-160m@step3000", else the folder's last
                             part; never a commit */
    char revision[128];   /* "main", "step3000", perhaps a commit; "" where none is known */
    char commit[72];      /* of the Hugging Face cache; "" for another folder */
    char repository[192]; /* "EleutherAI/pythia-160m"; "" for a folder outside such a cache */
} psc_model_place;
#define PSC_MODEL_PLACE_INIT                                                                       \
    { sizeof(psc_model_place), "", "", "", "", "" }

/* Finds a model on this machine; uses no network. The first that fits:
 *   a folder; of a Hugging Face cache also ".../models--OWNER--NAME", which means its revision main
 *   FOLDER@REVISION: the folder FOLDER/REVISION, or a revision of such a cache
 *   OWNER/NAME[@REVISION] in the Hugging Face cache of this user: $HF_HUB_CACHE, $HF_HOME/hub,
 *     $XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub. REVISION is a branch, a tag or a
 *     commit. "pythia-160m" means "EleutherAI/pythia-160m"
 * PSC_ERROR_INPUT for a name that cannot be one; PSC_ERROR_IO where the model is not there or lacks
 * files: the sentence has the command that downloads it. */
PSC_API psc_status psc_model_find(psc_model_place *out, const char *model, psc_error *error);
/* Reads OWNER/NAME[@REVISION] without looking for it. folder is then the place in the Hugging Face
 * cache, ".../models--OWNER--NAME", which need not exist. */
PSC_API psc_status psc_model_read_name(psc_model_place *out, const char *model, psc_error *error);
/* The revisions of a model that are on this machine, each to follow '@': those of a name in the
 * Hugging Face cache, or the subfolders step0, step1, ... of a folder. Training steps come first,
 * in ascending order; other names follow. What follows '@' in model is ignored. PSC_ERROR_IO if
 * there are none. The caller frees *out [*n] with psc_model_revisions_free. */
PSC_API psc_status psc_model_revisions(
    char ***out, int32_t *n, const char *model, psc_error *error);
PSC_API void psc_model_revisions_free(char **revisions, int32_t n); /* null is allowed */

/* Opens a model that psc_model_find finds: config.json, model.safetensors or a sharded set, and
 * tokenizer.json if present. Packs the weights once for all sessions. *out is null after an
 * error. */
PSC_API psc_status psc_model_open(psc_model **out, const char *model, psc_error *error);

/* A folder keeps packed weights, so that the next opening maps them instead of reading and packing
 * the model's files. Folder and files must belong to this user or to root and be not writable by
 * group or others. If the folder is unusable for any reason, the model opens as if no
 * cache were configured. */
typedef struct psc_model_options {
    uint32_t struct_size;
    const char *cache_dir; /* created if missing; null: no cache */
    uint64_t cache_limit;  /* most bytes of all its files; least recently used files are removed
                              first; 0: the default */
    uint64_t cache_least;  /* fewer bytes of packed weights are not cached; 0: the default */
} psc_model_options;
#define PSC_CACHE_LIMIT_DEFAULT ((uint64_t)32 << 30)
#define PSC_CACHE_LEAST_DEFAULT ((uint64_t)64 << 20)
#define PSC_MODEL_OPTIONS_INIT                                                                     \
    { sizeof(psc_model_options), 0, 0, 0 }

/* psc_model_open with options; null: the same as psc_model_open, which has no cache. */
PSC_API psc_status psc_model_open_with(
    psc_model **out, const char *model, const psc_model_options *options, psc_error *error);
/* A model without its weights: reads config, tokenizer and the headers of the files of weights, and
 * writes nothing, so that it takes milliseconds however large the model is. Its hash is "" unless
 * the cache folder of the options remembers it. For facts and tokens only: sessions and calls that
 * return weights fail with PSC_ERROR_STATE. */
PSC_API psc_status psc_model_open_header(
    psc_model **out, const char *name, const psc_model_options *options, psc_error *error);
/* *model may be null and becomes null. The model's sessions must be closed before. */
PSC_API void psc_model_close(psc_model **model);
/* These three live as long as the model. The origin of the packed weights, for printing: "mapped
 * from ...", "packed, ..."; without them, the files: "model.safetensors, 309.6 MiB, not read" */
PSC_API const char *psc_model_weights_text(const psc_model *model);
PSC_API const psc_model_info *psc_model_get_info(const psc_model *model);
/* The configuration, for printing: "key: value" lines. */
PSC_API const char *psc_model_config_text(const psc_model *model);
/* False for a folder without a tokenizer.json, and for one that is not understood: such a model
 * takes token ids. */
PSC_API bool psc_model_has_tokenizer(const psc_model *model);
/* Why the model has no tokenizer, the beginning of a sentence for printing; null if it has one. */
PSC_API const char *psc_model_tokenizer_reason(const psc_model *model);
/* True if the tokenizer's own post-processor puts a token in front of each text; psc_model_encode
 * does so with bos only. */
PSC_API bool psc_model_expects_bos(const psc_model *model);
/* Entries of the tokenizer (highest id + 1), 0 without one; may be less than d_vocab. */
PSC_API int32_t psc_model_tokenizer_size(const psc_model *model);
/* The facts of psc_results_get_model, without a run. Start from PSC_RESULT_MODEL_INIT; the texts
 * and eos_ids live as long as the model. */
PSC_API psc_status psc_model_describe(
    psc_result_model *out, const psc_model *model, psc_error *error);

/* The parameters as the files have them, widened to f32, which is exact: nothing is folded or
 * centered. Row-major. `floats` is the number of floats at out, and must be exactly the number that
 * the call writes. PSC_ERROR_INPUT for another number, and for a layer, matrix, LayerNorm or token
 * that does not exist. Several threads may call them at once.
 *
 * A matrix, in the shape that psc_matrix names: [H*D, N] for PSC_W_Q. PSC_W_U ignores layer. */
PSC_API psc_status psc_model_matrix(float *out, int64_t floats, const psc_model *model,
    psc_matrix matrix, int32_t layer, psc_error *error);
/* The bias of a matrix, [outputs]; zeros where the model has none, as for PSC_W_U. */
PSC_API psc_status psc_model_bias(float *out, int64_t floats, const psc_model *model,
    psc_matrix matrix, int32_t layer, psc_error *error);
/* gamma [N] and beta [N] of a LayerNorm; either may be null. PSC_LN_FINAL ignores layer. */
PSC_API psc_status psc_model_ln(float *gamma, float *beta, int64_t floats, const psc_model *model,
    psc_ln ln, int32_t layer, psc_error *error);
/* Rows first .. first + n - 1 of the embedding, [n, N]. */
PSC_API psc_status psc_model_embedding(
    float *out, int64_t floats, const psc_model *model, int32_t first, int32_t n, psc_error *error);

/* --- the cache of packed weights ------------------------------------------------------------- */

typedef struct psc_cache_entry {
    char name[96];    /* of the file in the folder */
    char hash[33];    /* the model's, as psc_model_info.hash */
    char model[1024]; /* a folder that the model was opened from; "" if unknown */
    uint64_t bytes;   /* of the file */
    int64_t used;     /* the last use, in seconds since 1970 */
    int32_t current;  /* nonzero: this version can read the file */
} psc_cache_entry;

/* Lists a folder's files of packed weights, the last used first; none when the folder does not
 * exist. The caller frees *out [*n] with psc_free. */
PSC_API psc_status psc_cache_list(
    psc_cache_entry **out, int32_t *n, const char *cache_dir, psc_error *error);
/* Reads a file of the folder whole and compares it with its hash; PSC_ERROR_INPUT if damaged. */
PSC_API psc_status psc_cache_verify(const char *cache_dir, const char *name, psc_error *error);
/* Removes one file of the folder. With a null name it removes all files of packed weights and the
 * hashes remembered for models' files. Open models keep their weights. */
PSC_API psc_status psc_cache_clear(const char *cache_dir, const char *name, psc_error *error);

/* --- tokens ---------------------------------------------------------------------------------- */

typedef struct psc_token {
    int32_t id;
    uint32_t start, end; /* its bytes [start, end) in the text as given; tokens tile the text. 0, 0:
                            no text */
} psc_token;

/* Tokenizes a UTF-8 text of at most 256 MiB; bos puts psc_model_bos in front. The caller frees *out
 * [*n] with psc_free. PSC_ERROR_INPUT for broken UTF-8 and for a model without a tokenizer. */
PSC_API psc_status psc_model_encode(psc_token **out, int32_t *n, const psc_model *model,
    const char *text, size_t bytes, bool bos, psc_error *error);
/* The same for the beginning of a text that may be too long: ends soon after `most` tokens of it
 * and gives at most `most` + 1, without the one in front. So more than most: the text has more. */
PSC_API psc_status psc_model_encode_first(psc_token **out, int32_t *n, const psc_model *model,
    const char *text, size_t bytes, bool bos, int32_t most, psc_error *error);
/* The beginning-of-text token: the bos_token of tokenizer_config.json; else the bos_token_id of
 * config.json, if it is an added token or there is no tokenizer; else <|endoftext|>. -1: none, or
 * that of config.json is outside the vocabulary. */
PSC_API int32_t psc_model_bos(const psc_model *model);
/* Whether generation ends at this token, as in transformers: at eos_token_id of
 * generation_config.json if the folder has that file, otherwise at config.json's. */
PSC_API bool psc_model_ends(const psc_model *model, int32_t id);
/* The text of ids [n], with a 0 after its *bytes bytes; broken UTF-8 becomes U+FFFD. The caller
 * frees *out with psc_free. PSC_ERROR_INPUT for a negative id or a model without a tokenizer. */
PSC_API psc_status psc_model_decode(char **out, size_t *bytes, const psc_model *model,
    const int32_t *ids, int32_t n, psc_error *error);
/* A token's own bytes, perhaps part of a character; null if it has no text. Lives as long as the
 * model. */
PSC_API const char *psc_model_token_bytes(const psc_model *model, int32_t id, size_t *bytes);

/* --- sessions -------------------------------------------------------------------------------- */

typedef struct psc_session_options {
    uint32_t struct_size;
    int32_t threads;       /* 1 to 1024; 0: one per core. Results do not depend on it */
    const char *isa;       /* "reference", "avx2", "avx512", "neon"; null: the best available */
    int32_t chunk;         /* most rows per pass; 0: 128 to 512. Results do not depend on it */
    int32_t n_sequences;   /* 0: 1 */
    int32_t capacity;      /* most tokens per sequence; 0: the model's n_ctx */
    uint64_t retained_cap; /* most bytes that plugins may take in a run (retained tensors, memory,
                              arrays, variants, gradients), and captures may hold; 0: 2 GiB each */
    int32_t accumulate;    /* nonzero: runs are documents of a corpus ("accumulation" below) */
    int32_t check_plugins; /* nonzero: a hook that writes to what it only observes fails the run, by
                              name; costs time. For a plugin's author */
    int32_t
        shared_tokens; /* nonzero: room for so many tokens of all sequences together, each rounded
                              up to a multiple of 16, instead of n_sequences * capacity. A run
                              begins its sequences anew and empties all others. For many texts of
                              different length: a run may have as many as fit */
    int32_t overlap;   /* nonzero: runs may repeat tokens (psc_run_options.repeated). A plugin that
                        would count them twice is refused: only PSC_CORPUS_OVERLAPS may be loaded */
    int32_t part, n_parts; /* of a corpus in parts: which one the runs are of, 1 to n_parts, for the
                              names of shards; 0: the merge of all. n_parts 0 or 1: a whole corpus */
} psc_session_options;
#define PSC_SESSION_OPTIONS_INIT                                                                   \
    { sizeof(psc_session_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* The model must outlive the session; options may be null: all defaults. PSC_ERROR_SUPPORT for an
 * unavailable isa, PSC_ERROR_INPUT for a number out of range. */
PSC_API psc_status psc_session_open(
    psc_session **out, psc_model *model, const psc_session_options *options, psc_error *error);
/* Closes the plugins, the last one first. *session may be null and becomes null. */
PSC_API void psc_session_close(psc_session **session);
PSC_API int32_t psc_session_threads(const psc_session *session);
PSC_API const char *psc_session_isa(const psc_session *session);

/* The following calls set up later runs; in a callback they return PSC_ERROR_STATE. A session that
 * accumulates takes its targets before its plugins.
 *
 * Loads a plugin: a built-in by its name, or a shared object by its path (anything with a '/' or
 * ending in .so or .dylib). options: "key=value,key=value", or null; in a value "\," is a comma and
 * "\\" a backslash. Plugins see the events of every later run, in the order of loading. */
PSC_API psc_status psc_session_plugin(
    psc_session *session, const char *name_or_path, const char *options, psc_error *error);
/* The same, with n more options as keys and values, which need no escapes. text and options may be
 * null; the call copies them. A key that both give is PSC_ERROR_INPUT. */
PSC_API psc_status psc_session_plugin_options(psc_session *session, const char *name_or_path,
    const char *text, const psc_option *options, int32_t n, psc_error *error);
/* A plugin in the caller's memory, such as a language binding makes; checked as a loaded one is.
 * *plugin and all that it points to must outlive the session. options are n keys and values. */
PSC_API psc_status psc_session_plugin_object(psc_session *session, const psc_plugin *plugin,
    const psc_option *options, int32_t n, psc_error *error);
/* Nonzero when a plugin asks for phases (psc_plugin.phases). The caller then runs SOURCE, BASE and
 * CHANGED, and truncates the sequences to 0 in between. A session that accumulates needs no such
 * care: with a plugin of PSC_PHASES_COMPARES beside one that asks, an ordinary run is BASE, then
 * CHANGED. */
PSC_API int psc_session_has_phases(const psc_session *session);
/* Nonzero when a plugin reads source prompts, as its options are (psc_plugin.takes_source). If not,
 * a caller refuses them, or leaves their runs out. */
PSC_API int psc_session_takes_source(const psc_session *session);
/* The name of the first plugin whose sequences must begin with psc_model_bos
 * (psc_plugin.needs_bos); null when there is none. The caller then puts that token in
 * front of every sequence; psc_session_run refuses a sequence that begins otherwise. Lives
 * as long as the session. */
PSC_API const char *psc_session_needs_bos(const psc_session *session);
/* Adds targets for the plugins: a text of exactly one token, #ID, next, top:K, which adds K, or
 * example, which is each input's own (psc_example). "text:" before a text takes it literally. */
PSC_API psc_status psc_session_target(psc_session *session, const char *target, psc_error *error);
/* Adds the target z_a - z_b: two different tokens, each a text of exactly one token or #ID. */
PSC_API psc_status psc_session_contrast(
    psc_session *session, const char *a, const char *b, psc_error *error);
/* Keeps hook points' tensors in the results of later runs. point:
 *
 *   blocks.0.attn.hook_pattern            one tensor
 *   blocks.*.hook_resid_post              every layer's; each * stands for any characters of a name
 *   all                                   every hook point
 *   NAME_grad                             the gradient there, of each of these names (psc_metric)
 *   NAME:rows=-1, NAME:rows=1+4+7-9       only these rows of each sequence of a run, by their place
 *                                         in it, ascending; a negative one counts from the end
 *
 * Of several requests for the same tensor it keeps the rows of all. PSC_ERROR_STATE in a session
 * that accumulates. */
PSC_API psc_status psc_session_capture(psc_session *session, const char *point, psc_error *error);
/* The bytes that the captures of a run of one new sequence of n_rows rows take; *n_tensors: their
 * number (nullable). A run whose captures exceed psc_session_options.retained_cap fails. */
PSC_API uint64_t psc_session_capture_bytes(
    const psc_session *session, int32_t n_rows, int32_t *n_tensors);

/* The bytes that the gradient of a run of one new sequence of n_rows rows takes
 * beside its captures, with a metric that reads n_logits of them; recompute as in
 * psc_metric. It has what the hooks that are there ask for; a run with captures or plugins that ask
 * for gradients of whole scores or logits takes more. 0 without memory. */
PSC_API uint64_t psc_session_gradient_bytes(
    psc_session *session, int32_t n_rows, int32_t n_logits, int32_t recompute);

/* A client's own hooks, without a plugin; they last until psc_session_unhook. filter may be null:
 * all events; the call copies it. In a callback the first two return PSC_ERROR_STATE, and
 * psc_session_unhook does nothing. */
PSC_API psc_status psc_session_observe(psc_session *session, psc_point point,
    const psc_filter *filter, psc_event_fn callback, void *payload, psc_error *error);
PSC_API psc_status psc_session_edit(psc_session *session, psc_point point, const psc_filter *filter,
    psc_event_fn callback, void *payload, psc_error *error);
/* Removes all hooks of psc_session_observe and psc_session_edit that have this payload. */
PSC_API void psc_session_unhook(psc_session *session, const void *payload);

/* Tokens to append to one sequence. */
typedef struct psc_input {
    int32_t sequence;
    int32_t n;
    const psc_token *tokens;
} psc_input;

/* The origin of an input's tokens, in a session that accumulates. */
typedef struct psc_document {
    int64_t number; /* of the document in its corpus */
    int64_t first;  /* the position in the document of the sequence's position 0, in tokens */
} psc_document;

/* What an input is in a set of examples: a prompt with its own target, and perhaps one of a pair,
 * whose other prompt was the source run's sequence of the same number (PSC_PHASE_SOURCE). */
typedef struct psc_example {
    int64_t number; /* in the set, from 0 */
    int32_t a, b;   /* ids of the target "example": z_a, or z_a - z_b; -1: none */
    const int32_t
        *source_positions; /* [n of the input] the position in the source sequence that each
                                        token is aligned with, -1: none; null: without a source */
} psc_example;

/* done: 0 to 1; what: "forward" or a plugin's name. Nonzero cancels the run. */
typedef int (*psc_progress_fn)(double done, const char *what, void *payload);

/* Copies a point's tensor of the whole run into the caller's memory, after editors. Per input, one
 * after the other: [T, ...] as psc_session_capture has it, T = the input's selected rows; scores
 * and pattern [H, T, keys], keys = the sequence's length after the run. */
typedef struct psc_copy {
    uint32_t struct_size;
    int32_t point;              /* psc_point */
    int32_t layer;              /* -1 where there is none */
    int32_t rows;               /* psc_rows_mode, as in psc_filter */
    int32_t row_begin, row_end; /* PSC_ROWS_RANGE: row_begin <= position < row_end */
    float *out;                 /* undefined after a failed run */
    int64_t capacity;           /* floats at out; PSC_ERROR_INPUT if the run needs another number */
    int32_t gradient;           /* nonzero: the gradient there, of a run with a metric */
} psc_copy;
#define PSC_COPY_INIT                                                                              \
    { sizeof(psc_copy), 0, -1, PSC_ROWS_ALL, 0, 0, 0, 0, 0 }

typedef struct psc_run_options {
    uint32_t struct_size;
    int32_t logits;    /* psc_rows_mode of psc_session_logits: ALL or LAST */
    int32_t no_logits; /* nonzero: psc_session_logits has none; hooks still receive hook_logits */
    const char *text;  /* the text of the tokens' byte ranges; null: none. Borrowed for the run */
    size_t text_bytes;
    psc_progress_fn progress; /* nullable */
    void *payload;            /* of progress and stop */
    int32_t phase;  /* psc_phase: the purpose of the run. SOURCE and BASE capture nothing */
    int32_t source; /* PSC_PHASE_SOURCE: the prompt's number, from 0 */
    const psc_document *documents; /* one per input; null: 0, 0 each. Borrowed for the run */
    int32_t bos; /* nonzero: the caller put a beginning-of-text token in front; only recorded */
    const psc_sentence *sentences; /* labels of the text, for plugins; start: where each begins in
                                      it, ascending. Null: none. Borrowed for the run */
    int32_t n_sentences;
    const psc_copy *copies; /* tensors for the caller's memory. Borrowed for the run */
    int32_t n_copies;
    int32_t stop_at_layer;   /* from 1: layers before it are computed, as far as hooks, captures and
                                copies need them; no later point, no logits; the sequences keep
                                their old lengths. 0: all; -1: only hook_embed. PSC_ERROR_STATE with
                                plugins, PSC_ERROR_INPUT for a capture or copy beyond it */
    float *logits_memory;    /* psc_session_logits are [rows, d_vocab] here, in order of rows, until
                                the next run; null: in the session's own memory */
    int64_t logits_capacity; /* floats at logits_memory; PSC_ERROR_INPUT if too few */
    int (*stop)(void *payload); /* nullable; called often on the caller's thread: between layers and
                                   in plugins' long work. Nonzero cancels the run with
                                   PSC_ERROR_CANCELLED. It must not call into the session */
    const int32_t *repeated; /* one per input, below its n: so many of its first tokens were in an
                                earlier input of the document. They are context, and the session's
                                count of tokens leaves them out. Null: none. PSC_ERROR_STATE without
                                the session's option overlap. Borrowed for the run */
    const psc_example *examples; /* one per input; null: the inputs are no examples. Borrowed for
                                    the run. A session with the target "example" needs them */
    const psc_metric *metric;    /* nullable. What the run keeps for its gradient counts against
                                 retained_cap (psc_session_gradient_bytes): PSC_ERROR_MEMORY beyond it.
                                 PSC_ERROR_INPUT for a row, token or target that does not exist, and
                                 with stop_at_layer. SOURCE and BASE have no gradient. Borrowed for
                                 the run */
} psc_run_options;
#define PSC_RUN_OPTIONS_INIT                                                                       \
    {                                                                                              \
        sizeof(psc_run_options), PSC_ROWS_LAST, 0, 0, 0, 0, 0, PSC_PHASE_ONLY, 0, 0, 0, 0, 0, 0,   \
            0, 0, 0, 0, 0, 0, 0, 0                                                                 \
    }

/* One run: appends the tokens to their sequences (ascending, each at most once), computes them,
 * shows them to the hooks, and leaves results. options may be null. After a failure the sequences
 * have their old lengths (with shared_tokens: 0), the results are empty, and the session stays
 * usable. PSC_ERROR_STATE in a callback. */
PSC_API psc_status psc_session_run(psc_session *session, const psc_input *inputs, int32_t n_inputs,
    const psc_run_options *options, psc_error *error);
/* The number of tokens in a sequence; 0 for a sequence that does not exist. */
PSC_API int32_t psc_session_length(const psc_session *session, int32_t sequence);
/* Drops a sequence's tokens from position n on; does nothing when there are none, or in a
 * callback. */
PSC_API void psc_session_truncate(psc_session *session, int32_t sequence, int32_t n);
/* Logits [d_vocab] of row `index` (psc_row.index) of the last run; null if the run options did not
 * ask for them. Valid until the next run. */
PSC_API const float *psc_session_logits(const psc_session *session, int32_t index);

/* --- results --------------------------------------------------------------------------------- */

/* The results of the last run or report; psc_results.h reads and writes them. Never null. The
 * pointer is valid for the session's whole life; each run and report replaces the contents. */
PSC_API const psc_results *psc_session_results(const psc_session *session);
/* Moves these results out of the session: *out belongs to the caller, who closes it with
 * psc_results_close. The session's results are empty until its next run or report; logits stay. The
 * model owns the head's texts and the tokens' bytes, so it must outlive *out; the session need not.
 * PSC_ERROR_STATE for empty results and in a callback. *out is null after an error. */
PSC_API psc_status psc_session_take_results(
    psc_results **out, psc_session *session, psc_error *error);
/* Copies what the other session's last run or report left behind this session's results: sections,
 * captures and files, named "prefix.name" (arrays: "prefix.section.key"), so that a control is
 * written and printed beside them. The head stays this session's. prefix: 1 to 64 letters, digits,
 * _ or -. PSC_ERROR_STATE without results in both, for the session itself, and in a callback;
 * PSC_ERROR_INPUT for a name that exists already. After a failure the results are as before. */
PSC_API psc_status psc_session_adopt(
    psc_session *session, const psc_session *other, const char *prefix, psc_error *error);
/* psc_results_find_array of these results. */
PSC_API psc_status psc_session_array(
    const psc_session *session, const char *name, psc_array *out, psc_error *error);

/* --- accumulation ----------------------------------------------------------------------------
 * A session opened with `accumulate` treats runs as documents: a run leaves no results, plugins add
 * each sequence's partial sums to accumulators, and psc_session_report calls each plugin once for
 * the totals. Totals do not depend on order, batches, or how the work was split and merged. The
 * default target is `next`. A run that fails after it added partials invalidates the totals; later
 * runs, saves and reports return PSC_ERROR_STATE. So do saves and reports of other sessions. */

/* Calls every plugin's report; the results are then as after a run. totals is copied to the head of
 * the results; null: the session's counts of windows and tokens. PSC_ERROR_STATE in a callback. */
PSC_API psc_status psc_session_report(
    psc_session *session, const psc_corpus_totals *totals, psc_error *error);
/* The same, with a stop (nullable) as in psc_run_options. A report that it ends returns
 * PSC_ERROR_CANCELLED and leaves no results; the totals stay. */
PSC_API psc_status psc_session_report_until(psc_session *session, const psc_corpus_totals *totals,
    int (*stop)(void *payload), void *payload, psc_error *error);
/* The same, with a progress (nullable) that may end it, too. */
PSC_API psc_status psc_session_report_watched(psc_session *session, const psc_corpus_totals *totals,
    psc_progress_fn progress, void *payload, psc_error *error);

/* The bytes that plugins would write to disk (psc_host.shards_open) for a corpus of so
 * many tokens; 0 if none writes. PSC_ERROR_INPUT if that is more than a plugin's limit
 * allows or the disk has. */
PSC_API psc_status psc_session_foretell(
    uint64_t *bytes, const psc_session *session, int64_t tokens, psc_error *error);

/* Writes the totals to a file, which appears whole or not at all. client [bytes] (nullable) is
 * stored with them for the caller, such as its position in the corpus. */
PSC_API psc_status psc_session_state_save(const psc_session *session, const char *path,
    const void *client, size_t bytes, psc_error *error);
/* Replaces the totals by a file's, or adds the file's to them. The file must come from this model
 * and SLEEF version, and from these targets and plugins with the same versions and options. */
PSC_API psc_status psc_session_state_load(psc_session *session, const char *path, psc_error *error);
PSC_API psc_status psc_session_state_merge(
    psc_session *session, const char *path, psc_error *error);
/* The bytes that the caller stored in a state file, with a 0 byte after them. The caller frees *out
 * with psc_free. */
PSC_API psc_status psc_state_client(void **out, size_t *bytes, const char *path, psc_error *error);

/* --- sampling -------------------------------------------------------------------------------- */

typedef struct psc_sampler {
    uint32_t struct_size;
    uint64_t seed;         /* the random state; each draw at temperature > 0 advances it */
    psc_strategy strategy; /* the tokens to draw from (psc_plugin.h) */
} psc_sampler;
/* Greedy: the largest logit, ties to the lower id. */
#define PSC_SAMPLER_INIT                                                                           \
    {                                                                                              \
        sizeof(psc_sampler), 0, {                                                                  \
            sizeof(psc_strategy), 0.0, 0, 0.0, 0.0                                                 \
        }                                                                                          \
    }

/* Draws an id from logits [d_vocab] of the session's model; sampler null: greedy. PSC_ERROR_INPUT
 * for an invalid strategy, a NaN, or no finite largest logit. */
PSC_API psc_status psc_session_sample(
    int32_t *id, psc_session *session, psc_sampler *sampler, const float *logits, psc_error *error);

/* What row `index`'s logits (psc_session_logits) say of a token; out->bytes belongs to the model.
 * PSC_ERROR_STATE if the last run kept no logits of that row. */
PSC_API psc_status psc_session_token(psc_generated_token *out, const psc_session *session,
    int32_t index, int32_t id, psc_error *error);

/* --- scores: the log-likelihood of continuations --------------------------------------------- */

/* A beginning and its continuation, tokens 0..begin-1 and begin..n-1. */
typedef struct psc_score_request {
    const psc_token *tokens; /* [n], borrowed for the call; only their ids count */
    int32_t n, begin;        /* 1 <= begin < n; n - 1 is at most the context and the capacity */
} psc_score_request;

typedef struct psc_score {
    double sum;       /* of ln p(token i | tokens 0..i-1) over begin <= i < n; in nats */
    int32_t n;        /* tokens of the continuation, n - begin */
    int32_t n_greedy; /* those with the largest logit, ties to the lower id */
} psc_score;

typedef struct psc_score_options {
    uint32_t struct_size;
    double *log_p; /* nullable: ln p of each token of each continuation, one request after
                                 the other */
    int64_t
        log_p_capacity; /* doubles at log_p; PSC_ERROR_INPUT for another number than all tokens */
    psc_progress_fn progress;   /* nullable; nonzero cancels; what: "score" */
    void *payload;              /* of progress and stop */
    int (*stop)(void *payload); /* as in psc_run_options */
    int64_t *rows;              /* nullable: the rows that the call computed */
} psc_score_options;
#define PSC_SCORE_OPTIONS_INIT                                                                     \
    { sizeof(psc_score_options), 0, 0, 0, 0, 0, 0 }

/* Scores requests [n] into out [n]; options may be null. One token's ln p is z[token] -
 * log_sum_exp(z) in f64, z the f32 logits of the row before it; sums go by ascending i.
 *
 * A call takes as many requests per pass as the session has sequences. Requests that begin
 * alike are computed one after the other in a sequence, which keeps what they share; only rows
 * that predict a token of a continuation are unembedded, and no logits are kept. Results depend
 * on neither order, other requests, sequences, chunk, threads nor isa. The session's sequences
 * are empty afterwards, and it has no results. Hooks of psc_session_observe and
 * psc_session_edit see each computed row once; an edit must depend on tokens up to its row
 * alone, and not on the sequence's number. So do plugins that edit, such as ablate, in a session that
 * was opened with accumulate; its report says what they did.
 *
 * PSC_ERROR_INPUT for requests that are too long or have no continuation, and for logits with
 * NaN or infinity; PSC_ERROR_STATE in a callback, and in a session with plugins
 * that observe, edit last rows only, or do not accumulate. After a
 * failure out is undefined. */
PSC_API psc_status psc_session_score(psc_score *out, psc_session *session,
    const psc_score_request *requests, int32_t n, const psc_score_options *options,
    psc_error *error);

/* --- built-in plugins ------------------------------------------------------------------------ */

PSC_API int32_t psc_builtin_count(void);
/* A built-in, whose version is psc_version(); null beyond the last. It lives forever. */
PSC_API const psc_plugin *psc_builtin(int32_t index);

#ifdef __cplusplus
}
#endif
#endif
