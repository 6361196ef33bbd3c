/* The inside of a session: buffers, cache, hooks, plugin instances, the current run.
 * Private to runtime/, bench/ and tests/.
 * Threads: one thread at a time calls into a session; its team belongs to it.
 * Ownership: psc_session owns everything here except the model and the run's borrowed options. */
#ifndef SESSION_INSIDE_H
#define SESSION_INSIDE_H

#include "accumulators.h"
#include "arena.h"
#include "forward.h"
#include "kv_cache.h"
#include "model.h"
#include "psc_spread.h"
#include "registry.h"
#include "results.h"
#include "team.h"
#include "turns.h"

typedef struct psc_label_cache psc_label_cache; /* host.c */

/* A tensor that a plugin retains until the run is over. */
typedef struct psc_retained psc_retained; /* host_retain.c */

/* Rows of a corpus that a plugin writes to disk (row_shards.h). */
typedef struct psc_shards psc_shards;

/* A file of labelled sentences that a plugin has read (host_sentences.c). */
typedef struct psc_label_file psc_label_file;

/* The sparse dictionaries that a plugin opened (host_dictionary.c). */
typedef struct psc_dictionaries psc_dictionaries;

/* Buffers for the variants of a run (host_variants.c). */
typedef struct psc_variants psc_variants;

/* Passes for the gradients that a plugin requests (host_gradients.c). */
typedef struct psc_gradients psc_gradients;

/* Reads the logits of a run's rows where the pass computes them, in place of keeping them. */
typedef struct psc_run_reader {
    const bool *wanted; /* [rows of the run] */
    psc_logits_fn read;
    void *payload;
} psc_run_reader;

/* One plugin instance. */
struct psc_context {
    psc_session *session;
    const psc_plugin *plugin;
    void *library; /* dlopen handle; null for built-ins */
    void *state;
    char *name;          /* as in results: the plugin's name, "#2" added for a second instance */
    psc_option *options; /* every described option with its value or default; values owned */
    int32_t n_options;
    psc_arena run_arena, life_arena;
    uint64_t run_bytes, life_bytes; /* what runs took of them, and the run's arrays */
    psc_retained **retained;        /* [n_retained] */
    int32_t n_retained;
    size_t retained_room;
    psc_variants *variants;   /* null until requested in a run */
    psc_gradients *gradients; /* likewise */
    psc_label_cache *labels;
    psc_label_file *label_files; /* the last read first */
    psc_reductions reductions;   /* filled when a plugin requests it */
    float *zero_bias;            /* for matrices without a bias; null until requested */
    int section;                 /* index into results->sections; -1 outside a run */
    psc_accumulators accumulators;
    uint64_t contents;  /* a hash of what `open` read from files, over a corpus; 0: nothing */
    psc_shards *shards; /* null: the plugin writes none */
    psc_dictionaries *dictionaries; /* null: the plugin opened none */
    psc_turn turn;                  /* decides which host calls are allowed */
    bool in_run;                    /* from run_begin to report */
    bool whole_set;                 /* it sees all source prompts of a set before the first pair */
    bool takes_source;              /* it sees runs of source prompts */
    bool muted; /* the run's phase excludes it: its subscriptions get no events */
};

/* A target as given, parsed. */
typedef struct psc_target_list {
    psc_target *targets; /* labels owned */
    int32_t n;
    bool implied; /* the default: the caller gave none */
} psc_target_list;

enum { PSC_MOST_RANKS = 1000 }; /* of top:K */

/* What target_facts.c keeps during a run. */
typedef struct psc_target_facts {
    bool asked;               /* a plugin has asked for the targets since the run began */
    bool last_only;           /* only the last row of each sequence has entries */
    int32_t n_ranks;          /* the largest K of top:K */
    int32_t room;             /* most entries */
    const char *const *names; /* [targets] as long as the results live */
    int32_t first_ids[PSC_MOST_RANKS];
} psc_target_facts;

/* The backward pass of a session's runs (run_gradient.c). */
typedef struct psc_gradient psc_gradient;

/* What a set's runs need not compute again (run_shared.c). */
typedef struct psc_shared_rows psc_shared_rows;

/* A captured point (capture.c). */
typedef struct psc_capture psc_capture;

struct psc_session {
    psc_model *model;
    const psc_kernels *kernels;
    psc_team *team;
    psc_session_options options; /* resolved: no zeros */
    psc_registry *registry;
    psc_registry *gradients; /* subscriptions to gradients */
    psc_kv_cache *cache;
    psc_shared_rows *shared; /* null: a run computes all of its rows */
    psc_forward *forward;
    psc_rotary rotary;      /* of capacity positions */
    psc_context **contexts; /* plugins in the order of loading */
    int32_t n_contexts;
    psc_target_list targets;
    psc_target_facts facts;
    psc_capture *captures;
    int32_t n_captures;
    psc_destinations copies;          /* of the current run: captures and the caller's copies */
    psc_destinations gradient_copies; /* those of gradients */
    psc_gradient *gradient;           /* null until the first run with a metric */
    psc_results *results;

    /* the current or last run */
    psc_row *rows; /* [n_rows], ordered by (sequence, position) */
    int32_t n_rows;
    int32_t most_rows;                  /* room in rows, logit_rows and wanted */
    const psc_run_options *run_options; /* borrowed while running, else null */
    const psc_run_reader *reader;       /* likewise; null in a run that keeps its logits */
    const char *text;                   /* borrowed while running, else null */
    size_t text_bytes;
    psc_error *error; /* the run's error, which host calls set; null outside a call */
    bool cancelled;
    bool broken; /* a callback left a call of the host by a jump: the team may still be at work */
    int (*report_stop)(void *payload); /* of the report in progress; nullable */
    psc_progress_fn report_progress;   /* likewise */
    void *report_payload;
    const char *(*document_name)(int64_t number, void *payload); /* of that report; nullable */
    void *document_payload;
    uint64_t retained_bytes; /* what counts against options.retained_cap */
    float *logits; /* [n_logit_rows, V] for psc_session_logits: own_logits or the caller's */
    float *own_logits;
    int32_t *logit_rows; /* row index of each */
    int32_t n_logit_rows;
    bool *wanted; /* [n_rows] rows whose logits are kept */
    uint64_t logits_capacity;

    /* accumulation over documents */
    const psc_input *inputs; /* borrowed while running */
    int32_t n_inputs;
    int64_t windows, tokens; /* sequences and rows of all successful runs */
    bool run_accumulated;    /* this run has added to an accumulator */
    psc_share share;         /* of variants, with other processes; n_parts 0: none */
    bool spoilt;             /* a run failed after it had: the totals are invalid */
    bool resumed;            /* the totals are those of a state file and what came after it */
    const psc_corpus_totals *report_totals; /* of the report in progress */
    int64_t numbered;                       /* documents of that report that may have names */
};

/* The run's input for a sequence; inputs are ordered by sequence. */
static inline int32_t psc_session_input(const psc_session *s, int32_t sequence) {
    int32_t low = 0, high = s->n_inputs - 1;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (s->inputs[middle].sequence < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The example of a sequence of the current run; null in a run without examples. */
static inline const psc_example *psc_session_example(const psc_session *s, int32_t sequence) {
    const psc_example *examples = s->run_options ? s->run_options->examples : NULL;
    return examples ? &examples[psc_session_input(s, sequence)] : NULL;
}

/* Whether a call into the session comes from a callback: of a run, a report, open or close. */
static inline bool psc_session_busy(const psc_session *s) {
    return s->run_options || s->error;
}

/* Where a subscription with this filter (nullable) belongs. */
static inline psc_registry *psc_session_registry(psc_session *s, const psc_filter *filter) {
    return psc_filter_is_of_gradients(filter) ? s->gradients : s->registry;
}

/* --- host.c, host_*.c: the table of psc_plugin.h --------------------------------------------- */
extern const psc_host psc_host_table;

/* --- contexts.c: the plugins' instances ------------------------------------------------------ */
/* Takes a plugin of the caller (object), or with null loads one; checks its options and calls open.
 * After a failure the plugin is not added. */
psc_status psc_contexts_add(psc_session *session, const psc_plugin *object,
    const char *name_or_path, const char *text, const psc_option *options, int32_t n,
    psc_error *error);
void psc_contexts_close(psc_session *session);
/* Whether a run of this phase is for every plugin, not only for those with `phases`. */
bool psc_phase_is_for_all(int32_t phase);
/* Whether a plugin asks for all source prompts of a set first, or for those of single runs. */
bool psc_contexts_want_set(const psc_session *session);
bool psc_contexts_want_source(const psc_session *session);
/* Whether an ordinary run over documents is two: unchanged for the plugins that compare, then
 * changed. */
bool psc_contexts_compare(const psc_session *session);
/* PSC_ERROR_INPUT if a plugin that sees runs of this phase needs another token at position 0. */
psc_status psc_contexts_check_start(
    const psc_session *session, int32_t phase, int32_t sequence, int32_t token, psc_error *error);
/* Calls run_begin of all plugins in order; after a failure, run_end(status) of those that began. */
psc_status psc_contexts_begin(psc_session *session, psc_error *error);
/* Calls run_end(status) of all that began, then, if status is 0 and none failed, report of all.
 * Frees retained tensors, run arenas and transient subscriptions. Returns status or the first
 * failure. */
psc_status psc_contexts_end(psc_session *session, psc_status status, psc_error *error);
/* Accumulating sessions: calls report of all plugins, without a run. */
psc_status psc_contexts_report(psc_session *session, psc_error *error);

/* PSC_ERROR_STATE, for a call into a broken session. */
psc_status psc_session_refuse_broken(psc_error *error);

/* Asks the caller's `stop`; true once the run is cancelled. On the caller's thread only. */
bool psc_session_stopped(psc_session *session);

/* --- targets.c ------------------------------------------------------------------------------- */
psc_status psc_targets_add(psc_session *session, const char *target, psc_error *error);
psc_status psc_targets_add_contrast(
    psc_session *session, const char *a, const char *b, psc_error *error);
void psc_targets_clear(psc_session *session);
/* Without targets: adds the default, top:1 or over a corpus `next`, until the caller adds one. */
psc_status psc_targets_imply(psc_session *session, psc_error *error);
/* The ids of a target at a row (psc_plugin.h, target_ids). */
psc_status psc_targets_ids(const psc_session *session, int32_t target, const psc_row *row,
    const float *logits, int32_t ids[2], psc_error *error);
/* The id of a text that is exactly one token. */
psc_status psc_targets_text_id(
    int32_t *id, const psc_model *model, const char *text, psc_error *error);
/* The ids of the k most probable of n logits, in that order; 0 < k <= n, k <= PSC_MOST_RANKS. */
void psc_targets_first_ids(int32_t *ids, const float *logits, int32_t n, int32_t k);
/* The 1-based rank of an id among n logits in the same order: larger first, then the lower id; NaN
 * counts as minus infinity. */
int32_t psc_targets_rank(const float *logits, int32_t n, int32_t id);

/* --- metric_terms.c -------------------------------------------------------------------------- */
/* What the terms of a metric may name. */
typedef struct psc_metric_rows {
    int32_t begin, end; /* rows, by psc_row.index */
    int32_t n_targets;  /* of the session; 0: terms name tokens */
} psc_metric_rows;
/* The bytes of a psc_metric that every host of this ABI reads. */
#define PSC_METRIC_BYTES offsetof(psc_metric, value)
/* Term i: the caller's structures may be longer than this host's. */
psc_metric_term psc_metric_term_at(const psc_metric *metric, int32_t i);
psc_status psc_metric_check(const psc_session *session, const psc_metric *metric,
    const psc_metric_rows *rows, psc_error *error);

/* --- target_facts.c -------------------------------------------------------------------------- */
/* Once the plugins have begun: observes the logits that they selected, if they use targets, and
 * leaves the targets' ids, ranks and probabilities in the results. */
psc_status psc_target_facts_begin(psc_session *session, psc_error *error);
/* After the run: the texts of the ids. */
psc_status psc_target_facts_end(psc_session *session, psc_error *error);

/* The token in quotes, ' Emerald', with escapes for control characters and broken UTF-8; #ID if it
 * has no text. */
void psc_token_label(char *out, size_t size, const psc_model *model, int32_t id);

#endif
