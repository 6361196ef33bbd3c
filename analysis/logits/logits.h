/* The inside of the plugin `logits`: one run's state and what its files share.
 * Private to analysis/logits/, logits_fixture.h and test_logits_edits.c;
 * built on psc_plugin.h alone.
 * Threads: the callbacks' thread; logits_gap is pure and runs on any.
 * Ownership: everything lives with the run (run_alloc) or the instance (life_alloc). */
#ifndef LOGITS_H
#define LOGITS_H

#include "common.h"
#include "moments.h"

#define LOGITS_BOUND 1e-5 /* of |z - sum| / (1 + sum |share|) */

typedef enum logits_level_id {
    LEVEL_LAYER,
    LEVEL_HEAD,
    LEVEL_SOURCE,
    LEVEL_NEURON,
    LEVEL_COUNT
} logits_level_id;

/* The sources of shares, one hook point each. */
typedef enum logits_part {
    PART_EMBED,    /* hook_embed: embed, at every level */
    PART_ATTN_OUT, /* hook_attn_out: l_attn_out of level layer */
    PART_HEADS,    /* attn.hook_z: heads and l_attn_bias of levels head and neuron */
    PART_SOURCES,  /* attn.hook_pattern: heads by position read and l_attn_bias of level source */
    PART_MLP_OUT,  /* hook_mlp_out: l_mlp_out of levels layer, head and source */
    PART_NEURONS,  /* mlp.hook_post: neurons and l_mlp_bias of level neuron */
    PART_COUNT
} logits_part;

/* What editors add downstream of a share's source, with the levels that it affects. */
typedef enum logits_edit {
    EDIT_STREAM, /* hook_resid_pre, _mid, _post: all levels */
    EDIT_ATTN,   /* hook_result, hook_attn_out: levels head, source and neuron */
    EDIT_MLP,    /* hook_mlp_out: level neuron */
    EDIT_Z,      /* attn.hook_z: level source */
    EDIT_NORM,   /* ln_final.hook_normalized: all levels, not divided by sigma */
    EDIT_COUNT
} logits_edit;

typedef struct logits_level {
    int asked;
    int64_t n, width;       /* components without and with `edit` */
    float *shares;          /* [targets, rows, width] an array of the results */
    double *sum, *sum_abs;  /* [targets, rows] over the n components */
    float *error, *abs_out; /* [targets, rows] arrays of the results */
    double worst;           /* of error / (1 + sum |share|); NaN when one is NaN */
    int64_t worst_at;       /* its target * rows + row; -1 before the first */
    int64_t failed;         /* sums beyond the bound */
} logits_level;

/* The weights pulled back along the directions that hold at all rows. They depend on the model and
 * the targets only, so a later run with the same directions reuses them. */
typedef struct logits_tables {
    int64_t n, room; /* directions present, and the most that fit */
    float *u;        /* [n, N] */
    float *pull[2];  /* [L, n, H*D], [L, n, M] */
    float *bias[2];  /* [L, n] u . b_O, u . b_out */
} logits_tables;

/* Directions and the weights pulled back along them. A run has two passes: `live` for targets whose
 * ids are known before the rows are computed, `late` for ranks. */
typedef struct logits_pass {
    psc_directions directions;
    int32_t *fixed;        /* [directions] place in the tables of all layers, or -1 */
    int32_t *place;        /* [directions] place in the scratch of this batch, or -1 */
    int32_t n_fixed;       /* directions of one id (or contrast) over all rows */
    float *fixed_heads;    /* [L, n_fixed, rows, H + 1] shares, undivided, for level neuron */
    int32_t capacity;      /* directions of one batch */
    int32_t carrier;       /* target whose rows hold the activations until divided; -1: none */
    float *pull, *batch_u; /* [capacity, max(H*D, M)], [capacity, N] */
    float *batch_bias;     /* [capacity] */
    int32_t *batch;        /* [capacity] the directions in it */
} logits_pass;

enum { LOGITS_LIKELIEST = 10 };

/* What the summary says about a row. */
typedef struct logits_row_note {
    int32_t slot;     /* -1: none */
    int32_t n_likely; /* at most LOGITS_LIKELIEST */
    int32_t likely[LOGITS_LIKELIEST];
    double likely_p[LOGITS_LIKELIEST];
    int32_t *ranks; /* [targets, 2] of each target's ids, from 1; 0: no id */
    double *p;      /* [targets, 2] */
} logits_row_note;

typedef struct logits_run {
    psc_context *context;
    const psc_host *host;
    const psc_model_info *model;
    psc_target_rows targets; /* rows, ids */
    logits_level levels[LEVEL_COUNT];
    logits_tables *tables; /* the instance's */
    logits_pass live, late;
    int has_live, has_late;
    int handles[PART_COUNT]; /* retained for `late`; -1: not retained */
    int ready;               /* arrays made */
    int with_edit;           /* `edit` is the last component of each level */
    float *sigma;            /* [rows] */
    float *values, *constant;
    int32_t n_keys;            /* level source: positions up to the last chosen row's */
    float *read_values;        /* level source: v, [L, all rows, H*D] */
    double *logit_edit;        /* [targets, rows], null before an edit */
    double *edits[EDIT_COUNT]; /* [rows, N] each, null before an edit */
    float *z_edit;             /* [N + H*D] work, null before an edit of z */
    logits_row_note notes[2];  /* the last row, and the last that has a next token */
    int64_t checked;           /* sums */
    float *own;                /* [own_rows, N] outputs of the final LN (logits_own.c) */
    unsigned char *own_failed; /* [own_rows] */
    int32_t own_rows;
} logits_run;

typedef struct logits_state {
    const psc_host *host;
    int asked[LEVEL_COUNT];
    logits_level_id finest;
    psc_filter choice;
    uint32_t levels; /* the option: one bit per word of logits_level_names */
    int32_t centered, top;
    const char **labels[LEVEL_COUNT]; /* `edit` last; made once, those of sources in each run */
    logits_tables tables;
    logits_run run;

    /* Over documents (logits_corpus.c). */
    int corpus;
    psc_moments share_moments[LEVEL_COUNT], logit_moments;
    int failed_handle;
    psc_sequences sequences;
    psc_kept kept[LEVEL_COUNT]; /* the levels' shares */
} logits_state;

/* --- logits_shares.c ------------------------------------------------------------------------- */

/* Fills levels[].n from the model. */
void logits_count_components(logits_run *run);
/* Builds the directions of the targets with known ids, and pulls back the fixed ones. */
int logits_pass_begin(
    logits_run *run, logits_pass *pass, const psc_target_rows *targets, int centered);
/* Writes the undivided shares of one event's rows at every level that takes them from this part. */
int logits_part_shares(
    logits_run *run, logits_pass *pass, logits_part part, int32_t layer, const psc_event *event);
/* The number of attention components in a layer; they precede the MLP's. */
int64_t logits_attention_width(const logits_run *run, logits_level_id level);
/* A row of fixed_heads. */
float *logits_fixed_heads(
    const logits_run *run, const logits_pass *pass, int32_t layer, int32_t fixed, int32_t slot);
/* Whether a level takes shares from a part. */
int logits_level_has(logits_level_id level, logits_part part);

/* --- logits_finish.c ------------------------------------------------------------------------- */

/* Finishes the rows for all targets of the pass: computes the deferred products, divides by sigma
 * and takes the sums. */
void logits_finish_rows(logits_run *run, logits_pass *pass, const psc_row *rows, int32_t n);
/* |z - (constant + sum)| and, in *relative, that over 1 + sum |share|. */
double logits_gap(double z, double constant, double sum, double sum_abs, double *relative);

/* --- logits_own.c: the targets' own logits without the whole unembedding ---------------------- */

/* Whether a run needs no other logits, so that hook_logits is not requested. */
int logits_own_may(const logits_state *state);
/* Computes run->values of the rows of ln_final.hook_normalized. */
int logits_own_take(logits_run *run, const psc_event *event);

/* --- logits_edits.c -------------------------------------------------------------------------- */

/* Subscribes to the points that editors may change downstream of the shares' sources. */
int logits_edits_observe(logits_run *run);
/* Whether an editor affects the requested levels; also nonzero if the host cannot say. */
int logits_edits_expected(logits_run *run);
/* Keeps what an edit of hook_logits added to each target, at each of the event's rows. */
int logits_edits_logits(logits_run *run, const psc_event *event, int centered);
/* Writes the component `edit` of every level and adds it to the sums. */
int logits_edits_finish(logits_run *run, logits_pass *pass, int centered);

/* --- logits_arrays.c ------------------------------------------------------------------------- */

extern const char *const logits_level_names[LEVEL_COUNT + 2]; /* then "auto" and null */
/* Makes axes and arrays, once per run. */
int logits_arrays(logits_state *state);
/* Compares each logit with its sum. */
void logits_check(logits_run *run, const logits_pass *pass);

/* Makes the labels of a level, `edit` last; once per instance, at level source once per run. */
int logits_labels(logits_state *state, logits_level_id level);

/* --- logits_sources.c: heads split by the position that they read ---------------------------- */

/* In run_begin, before the components are counted: sets n_keys, refuses a run that is too large or
 * begins in the middle of a sequence, and subscribes to the values. */
int logits_sources_begin(logits_run *run);
/* Writes the undivided shares of one row [H, n_keys] from its pattern; w is W_O^T u [H*D]. */
void logits_source_shares(const logits_run *run, int32_t layer, const psc_row *row,
    const float *pattern, int64_t stride, const float *w, float *out);
/* Writes the labels of a layer's heads into p; their text lives with the run. */
int logits_source_labels(logits_run *run, int32_t layer, const char **p);

/* --- logits_corpus.c: the callbacks over documents ------------------------------------------- */

int logits_corpus_open(logits_state *state, psc_context *context);
int logits_corpus_begin(logits_state *state);
int logits_corpus_tables(logits_state *state);
int logits_corpus_end(logits_state *state);
int logits_corpus_report(logits_state *state);

/* --- logits_notes.c: the rows that the summary describes --------------------------------------- */

/* In run_begin of a run over a text: the last row, and the last that has a next token. */
int logits_notes_begin(logits_run *run);
/* Takes what the summary says from a row's logits [V]. */
void logits_notes_take(logits_run *run, int32_t slot, const float *logits);
/* The ten likeliest tokens of the noted rows that the first n_shown targets are shown at. */
int logits_notes_say(logits_run *run, int32_t n_shown);
/* Target t at a row: its rank, and its logit as a sum. */
int logits_target_say(logits_state *state, int32_t t, int32_t slot);

/* --- logits_report.c ------------------------------------------------------------------------- */

/* Writes the values and the summary. */
int logits_report(logits_state *state);

#endif
