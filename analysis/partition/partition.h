/* The inside of the plugin `partition`: its perturbations, their measures, and its parts.
 * Private to analysis/partition/ and test_partition_measure.c.
 * Threads: as a plugin's callbacks; partition_before_build and partition_measure run on any thread.
 * Ownership: tables live with the instance (life_alloc) or the run (run_alloc); nothing is freed.
 *
 * A perturbation compares two rows of logits, before (z) and after (z + dz). */
#ifndef ANALYSIS_PARTITION_H
#define ANALYSIS_PARTITION_H

#include "common.h"

enum {
    PARTITION_RAW,
    PARTITION_MINUS_MEAN,     /* dz minus its mean over the vocabulary */
    PARTITION_MINUS_EXPECTED, /* dz minus E_p dz */
    PARTITION_GAUGES
};

/* Bins of a token's rank before the change: 1, 2-10, 11-100, 101-1000, beyond. */
enum { PARTITION_BINS = 5, PARTITION_RANKED = 1000 };
/* An approximation with a larger error, in nats, has failed. */
#define PARTITION_FAR 0.1
/* Components that pass through the unembedding together; also the most threads that share them. */
enum { PARTITION_GROUP = 32 };
enum { PARTITION_MOST_ALPHAS = 16, PARTITION_LABEL = 48 };

enum {
    PARTITION_STEP,       /* from the lens before a block to the one after it */
    PARTITION_LENS,       /* from the final logits to those of an earlier residual */
    PARTITION_FROZEN,     /* from the final logits; a component scaled, sigma held */
    PARTITION_RECOMPUTED, /* the same, sigma recomputed */
    PARTITION_ABLATION,   /* the same, the run recomputed */
    PARTITION_KINDS
};

typedef struct partition_component {
    int32_t kind, layer, head; /* psc_component_kind; head -1: none */
    const char *label;
} partition_component;

typedef struct partition_change {
    int32_t kind;
    int32_t at;    /* the block, the layer of the lens, or the component */
    int32_t alpha; /* index of the component's factor */
    char label[PARTITION_LABEL];
} partition_change;

/* One row of logits as the state before a change. */
typedef struct partition_before {
    float *shifted; /* [V] z - max z */
    float *direct;  /* [V] z - b */
    float *p;       /* [V] */
    int32_t *order; /* [n_ranked] ids by z, largest first, ties to the lower id */
    int32_t n_ranked;
    double peak;                 /* max z */
    double shifted_log_z, log_z; /* log sum exp of shifted, of z */
    double p_sum;                /* sum p: 1 up to rounding */
    double mass[PARTITION_BINS], top_share[2], margin;
    double direct_sum, direct_squares;
} partition_before;

typedef struct partition_measure {
    double dlogz, mean, expected, half_variance;
    double shift[PARTITION_GAUGES];  /* 0, mean, expected */
    double alpha, beta, r2;          /* dz = alpha + beta (z - b); r2 NaN if dz is constant */
    double bin_dz[PARTITION_BINS];   /* mean dz, NaN in an empty bin */
    double bin_p_dz[PARTITION_BINS]; /* sum p dz */
    double bin_abs_dz[PARTITION_GAUGES][PARTITION_BINS]; /* mean |dz - shift| */
    int32_t reordered[2];                                /* top 1, top 10 */
} partition_measure;

/* What a run keeps of the forward pass: [chosen rows] -> [N], z: [H D]. */
typedef struct partition_kept {
    int32_t handle[6];
    const float **residual;         /* [L + 1, R] before each block, and the last; null if unused */
    const float **embed;            /* [R] */
    const float **attn, **mlp, **z; /* [L, R]; null if no component needs them */
} partition_kept;

typedef struct partition_corpus partition_corpus;
typedef struct partition_arrays partition_arrays;
typedef struct partition_ablation partition_ablation;

typedef struct partition_state {
    psc_context *context;
    const psc_host *host;
    int64_t n_layers, n_heads, n_dims, d_head, n_vocab;
    double eps;
    const float *gamma, *beta;
    int accumulating;

    /* options */
    psc_filter rows_choice;
    uint32_t kinds, levels;          /* options: bits of the named perturbations and levels */
    const char *named, *alphas_text; /* components and alphas as given */
    int asked[PARTITION_KINDS];
    double alphas[PARTITION_MOST_ALPHAS];
    int32_t n_alphas;
    partition_component *components;
    int32_t n_components;
    partition_change *changes;
    int32_t n_changes;
    int32_t first[PARTITION_KINDS]; /* the first change of each kind */
    int32_t n_lenses;               /* L + 1, or 1: the final one alone; it is always the last */

    /* of the instance: scratch for one row */
    float *constant;             /* [V] b = W_U beta; null until the first run */
    partition_before *before;    /* [lenses] */
    float *x;                    /* [max(lenses, GROUP), N] into the unembedding */
    float *y;                    /* [GROUP, V] out of it */
    float *scratch;              /* [GROUP, 2, V] dz and after of each thread */
    float *heads;                /* [H, H D] each head's z alone */
    float *writes;               /* [components, N] */
    double *parts;               /* [components, 2] P(x).c, |P(c)|^2 */
    partition_measure *measures; /* [changes] */

    /* of the run */
    psc_row_set rows;
    psc_target_rows targets;
    int32_t *ids;      /* [targets, 2] at the current row; over a corpus the next token alone */
    double *target_dz; /* [changes, targets] */
    int32_t n_targets;
    partition_kept kept;
    partition_arrays *arrays;
    partition_corpus *corpus;     /* null except over documents */
    partition_ablation *ablation; /* null if not requested */
} partition_state;

/* --- partition_options.c --- */
extern const psc_option_description partition_options[];
/* Reads the options, lists components and changes, and allocates the memory that they need. */
int partition_options_read(partition_state *s);

/* --- partition_measure.c --- */
/* Fills *before from z, which the caller puts into before->shifted. */
void partition_before_build(const partition_state *s, partition_before *before);
/* dz [V]: the change; after [V]: scratch. */
void partition_measure_change(const partition_state *s, const partition_before *before,
    const float *dz, float *after, partition_measure *out);

/* --- partition_rows.c --- */
int partition_keep(partition_state *s);
/* Sets target_dz of a change from its dz [V] and the current row's ids. */
void partition_targets_changed(partition_state *s, const float *dz, int64_t change);
/* Measures and stores every change except ablations, at every chosen row. */
int partition_rows_compute(partition_state *s);

/* --- partition_ablation.c --- */
int partition_ablation_open(partition_state *s);
int partition_ablation_begin(partition_state *s);
/* Measures the ablations, after partition_rows_compute. */
int partition_ablation_compute(partition_state *s);

/* --- partition_arrays.c: of one run --- */
int partition_arrays_begin(partition_state *s);
/* Store the logits before and all changes except ablations; or one change. */
void partition_arrays_row(partition_state *s, int32_t row);
void partition_arrays_change(partition_state *s, int64_t change, int64_t row);

/* --- partition_summary.c --- */
int partition_summary(partition_state *s);

/* --- partition_corpus.c: accumulated --- */
int partition_corpus_open(partition_state *s);
/* Discards the sums of an unfinished sequence. */
void partition_corpus_clear(partition_state *s);
/* Add a row as partition_arrays_row stores it; or one change from the state before it. */
void partition_corpus_row(partition_state *s);
void partition_corpus_change(partition_state *s, int64_t change, const partition_before *before);
int partition_corpus_sequence(partition_state *s);
int partition_corpus_report(partition_state *s);
/* --- partition_verdict.c: the table and the words --- */
int partition_verdict(partition_state *s);

#endif
