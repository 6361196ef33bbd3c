/* The inside of the plugin `attention`: its state and what its files share.
 * Private to analysis/attention/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; heads of an event side by side.
 * Ownership: all of it lives with the run (run_alloc) or the instance (life_alloc). */
#ifndef ATTENTION_H
#define ATTENTION_H

#include "attention_contexts.h"
#include "top.h"
#include "writers.h"

enum { ATTENTION_MOST = 64 }; /* bars of a list */

/* Attention below this is not counted as induction, as in HeadVis's metric. */
#define ATTENTION_INDUCES 0.01f

/* Statistics of one head at one row k. */
typedef enum attention_stat {
    STAT_ENTROPY,   /* - sum_j A_kj log A_kj, nats */
    STAT_DISTANCE,  /* sum_j A_kj (k - j), tokens */
    STAT_FIRST,     /* A_k0 */
    STAT_SELF,      /* A_kk */
    STAT_PREVIOUS,  /* A_k,k-1; NaN at position 0 */
    STAT_SAME,      /* sum of A_kj over j < k with the same token */
    STAT_VARIANCE,  /* sum_j A_kj (k - j - distance)^2, tokens^2 */
    STAT_INDUCTION, /* sum of A_k,j+1 >= 0.01 over such j; NaN where there is none */
    STAT_COUNT
} attention_stat;

extern const char *const attention_stat_names[STAT_COUNT];

/* The kinds of heads that the detectors score. */
typedef enum attention_kind {
    KIND_INDUCTION,
    KIND_PREVIOUS,
    KIND_DUPLICATE,
    KIND_COUNT
} attention_kind;

/* Two copies of S tokens, after `first` others. */
typedef struct attention_repeat {
    int32_t first, length; /* length: S, or 0 if the text has another form */
} attention_repeat;

/* The tensors that a split retains. */
typedef enum split_tensor {
    SPLIT_SCALE,
    SPLIT_Q,
    SPLIT_ROT_Q,
    SPLIT_K,
    SPLIT_ROT_K,
    SPLIT_PATTERN,
    SPLIT_TENSORS
} split_tensor;

enum { SPLIT_UNROTATED, SPLIT_ROTARY, SPLIT_PARTS }; /* rotary: rotated minus unrotated */

/* The split of one head's scores at one row (attention_split.c). */
typedef struct attention_split {
    int32_t layer, head;  /* layer -1: no split requested */
    int32_t partner;      /* the pair's key, or -1 */
    psc_filter row;       /* the row whose scores are split */
    int32_t reader;       /* its index in the run */
    int32_t n_keys;       /* its position + 1 */
    int32_t width;        /* of the axis `keys`: n_keys, with the whole pattern the run's keys */
    int64_t n_writers;    /* embed; each earlier layer's heads, attn_bias, mlp_out */
    int64_t n_components; /* the writers, LN1's beta and the projection's bias */
    int handles[SPLIT_TENSORS];
    psc_event kept[SPLIT_TENSORS]; /* in run_end */
    psc_writers writers;
    const float *gamma, *beta;
    float root;          /* 1/sqrt(d_head) */
    double *key, *query; /* [components, parts, keys] */
    double *pair;        /* [query components, key components, parts], or null */
    double worst;        /* error of completeness over 1 + sum of absolute shares */
} attention_split;

typedef struct attention_state {
    psc_context *context;
    const psc_host *host;
    int32_t n_layers, n_heads, top;
    int32_t patterns, memory; /* memory: MiB */
    int64_t n_cells;          /* layers * heads */
    int corpus;               /* the runs are documents */
    const psc_reductions *reductions;
    const char *reader, *key; /* options as given */
    attention_split split;

    /* a run */
    const psc_row *rows;
    int32_t n_rows, longest; /* longest: keys of the longest row */
    const int32_t *earlier;  /* [rows] previous row with this token in its sequence, or -1 */
    double *stats;           /* [L, H, rows, STAT_COUNT] */
    /* Not over documents, whose report does not show them: */
    double *received;  /* [L, H, rows] sum over later rows of A */
    double *detected;  /* [L, H, KIND_COUNT + 1] sums of A where each kind looks; of all A */
    double *copies[2]; /* [L, H, S] of the second copy: A_{k,k-S+1} and A_{k,k-S} */
    attention_repeat repeat;
    float *pattern; /* [L, H, rows, longest] A, or null */

    /* over documents */
    int sums[2], rows_sum[2];    /* accumulators: all rows; without position 0 */
    attention_contexts contexts; /* its options are given; kept is 0 without any */
} attention_state;

/* Adds one event of hook_pattern to the run's tables (attention_stats.c). */
int attention_take(attention_state *s, const psc_event *event);
/* The axes, in run_begin or a corpus's report; the arrays of one run; a run's addition to the
 * corpus's sums, their arrays; the summary (attention_arrays.c). */
int attention_axes(attention_state *s);
int attention_arrays(attention_state *s);
int attention_add_documents(attention_state *s);
int attention_report_documents(attention_state *s);
/* attention_corpus.c: the heads that stand out; means [cells, STAT_COUNT] without position 0. */
int attention_summary_documents(attention_state *s, const double *means, double n_rows);
int attention_summary(attention_state *s);

/* The whole pattern: the array, or a refusal; one row of one head (attention_patterns.c). */
int attention_patterns_begin(attention_state *s);
void attention_patterns_take(
    const attention_state *s, int64_t cell, const psc_row *row, const float *a);

/* --- attention_split.c ----------------------------------------------------------------------- */

int attention_split_begin(attention_state *s);
int attention_split_end(attention_state *s);
/* Arrays, checks and summary of the split (attention_split_arrays.c). */
int attention_split_arrays(attention_state *s);
int attention_split_summary(attention_state *s);

#endif
