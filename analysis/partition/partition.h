/* The inside of the plugin `partition`: its perturbations, their measures, and its parts.
 * Private to analysis/partition/ and test_partition_measure.c.
 * Threads: as a plugin's callbacks; partition_before_build and
 * partition_measure_change run on any thread.
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
/* Rows of an ablation that are measured together; also the most threads that share them. */
enum { PARTITION_GROUP = 32 };
/* Vectors of one or several rows that pass through the unembedding together, or more if a row's
 * lenses need more. */
enum { PARTITION_ITEMS = 182 };
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

/* A write into the residual stream that passes through the unembedding: those that the lenses add
 * up come first (embed, 0_attn_out, 0_mlp_out, ...), then the other components. */
typedef struct partition_vector {
    int32_t kind, layer, head;
    int32_t component; /* its index, or -1 where only the lenses need it */
} partition_vector;

typedef struct partition_change {
    int32_t kind;
    int32_t at;    /* the block, the layer of the lens, or the component */
    int32_t alpha; /* index of the component's factor */
    char label[PARTITION_LABEL];
} partition_change;

/* One row of logits as the state before a change. */
typedef struct partition_before {
    const float *z; /* [V] */
    float *direct;  /* [V] z - b */
    float *p;       /* [V] exp(z - max z) */
    int32_t *order; /* [n_ranked] ids by z, largest first, ties to the lower id */
    int32_t *ids;   /* [2, V] scratch */
    float *groups;  /* [n_groups] scratch */
    int32_t n_ranked;
    double peak;                 /* max z */
    double shifted_log_z, log_z; /* log sum exp of z - max z, of z */
    double p_sum;
    double mass[PARTITION_BINS], top_share[2], margin;
    double direct_sum, direct_squares; /* of direct */
    double p_direct, p_squares;        /* sum p direct, sum p direct^2 */
} partition_before;

/* dz = by_f f + by_direct direct = of_g g + of_direct direct; moments are those of g and the state
 * before (psc_reductions.change_moments). */
typedef struct partition_delta {
    const float *f; /* [V] */
    double by_f, by_direct, of_g, of_direct;
    const double *moments;
    const partition_before *after; /* the state after, if it was built too; nullable */
} partition_delta;

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
    const psc_reductions *reductions;
    int accumulating, sequential;

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
    partition_vector *vectors;
    int32_t n_vectors, n_lens_vectors; /* 2 L - 1 with several lenses, else 0 */
    int32_t n_items;                   /* of a pass through the unembedding, at most */
    int64_t n_groups;                  /* of psc_reductions.group_maxima over V */

    /* of the instance: scratch for some rows */
    float *constant;             /* [V] b = W_U beta; null until the first run */
    partition_before *before;    /* [lenses] */
    float *z;                    /* [lenses, V]; the final lens's if y is needed for more vectors */
    double *lens_ratios;         /* [lenses] final sigma over the lens's own */
    float *x;                    /* [items, N] into the unembedding */
    float *y;                    /* [items, V] out of it */
    float *heads;                /* [H, H D] each head's z alone */
    float *writes;               /* [items + H, N] heads' */
    double *parts;               /* [items, 2] P(x).c, |P(c)|^2 */
    double *finals;              /* [items, 3] mean, |P(x)|^2 and sigma of each row's final x */
    partition_measure *measures; /* [changes] */

    /* of the run */
    psc_row_set rows;
    psc_target_rows targets;
    float *edits;      /* [L, V] u.e/sigma of edits of the residual; null if nothing edits it */
    int32_t *edited;   /* [L] whether there is one at the current row */
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
/* Fills *before from its z and direct. */
void partition_before_build(const partition_state *s, partition_before *before);
/* Allocates direct, p, order and scratch of a state. */
int partition_before_reserve(const partition_state *s, partition_before *before);
void partition_measure_change(const partition_state *s, const partition_before *before,
    const partition_delta *delta, partition_measure *out);
/* dz of one token. */
static inline double partition_dz(
    const partition_before *before, const partition_delta *delta, int32_t id) {
    return delta->by_f * (double)delta->f[id] + delta->by_direct * (double)before->direct[id];
}

/* --- partition_vectors.c --- */
int partition_keep(partition_state *s);
/* Fetches what partition_keep asked for. */
int partition_fetch(partition_state *s);
/* Some rows' vectors on their way through the unembedding. Item 0 of a row is its final lens, in
 * the first group of vectors. */
typedef struct partition_block {
    partition_state *s;
    int32_t first, rows;         /* slots */
    int32_t begin, count, items; /* vectors; items of a row */
} partition_block;
/* Unembeds the block: s->y [rows, items, V], s->parts, s->finals. */
int partition_unembed(partition_block *block);

/* --- partition_lenses.c --- */
/* In run_end: memory for edits of the residual, if anything edits it. */
int partition_lenses_begin(partition_state *s);
/* Sets the lenses' z and direct of one row; y: its items' logits [items, V]. */
int partition_lenses_row(partition_state *s, int32_t slot, const float *y, double sigma);

/* --- partition_rows.c --- */
/* Sets target_dz of a change from the current row's ids. */
void partition_targets_changed(partition_state *s, const partition_before *before,
    const partition_delta *delta, int64_t change);
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
