/* The state of the plugin `lens`: what its files share.
 * Private to analysis/lens/.
 * Threads: the callbacks' thread; in parallel parts each worker has its own rows.
 * Ownership: the state and its work buffers live with the instance (life_alloc), the tables with
 * the run (run_alloc or result arrays). */
#ifndef ANALYSIS_LENS_H
#define ANALYSIS_LENS_H

#include "moments.h"
#include "top.h"

/* The arrays that a run writes. */
enum { LENS_TOP = 1, LENS_TARGETS = 2, LENS_DISTRIBUTION = 4 };
enum { LENS_MOST = 100 }; /* top tokens of a site */

/* A lens's figures at every site and row. Sites: 0_pre, 1_pre, ..., final_post; S of them. */
typedef struct lens_tables {
    float *sigma;                              /* [S, R] */
    double *log_z, *entropy, *kl, *kl_reverse; /* [S, R] */
    int32_t *top_ids;                          /* [S, R, top] */
    float *top_probs;                          /* [S, R, top] */
    double *logit, *log_prob;                  /* [targets, S, R] */
    int32_t *rank;                             /* [targets, S, R]; 1: the top token */
} lens_tables;

/* Normal equations of a linear lens, in the host's accumulators (lens_fit.c). */
typedef struct lens_fit {
    const char *folder; /* null: no lens is fitted */
    double ridge;
    int32_t from, memory; /* first position; MiB */
    int xx, xy, x, y, rows;
} lens_fit;

/* The vocabulary passes in tiles of LENS_TILE logits; LENS_PARTS threads at
 * most share the tiles. */
enum { LENS_TILE = PSC_LOGIT_TILE, LENS_PARTS = 16 };

/* Sums over one item's tile, z relative to its own greatest logit. */
typedef struct lens_tile {
    double most;
    double sums[4]; /* psc_reductions.divergence_sums */
} lens_tile;

/* Scratch of a part of the tiles. */
typedef struct lens_part {
    float *z, *final_exp; /* [items, TILE], [TILE] */
    int32_t *ids;         /* [TILE] */
    psc_ranked *entries;  /* [items, top] */
    psc_top_list *top;    /* [items] of the tiles so far */
    int64_t *before;      /* [items, targets] tokens that rank before the target */
    int used, failed;
} lens_part;

typedef struct lens_state {
    psc_context *context;
    const psc_host *host;
    psc_filter choice;
    int sigma_final; /* ln=final */
    uint32_t arrays; /* LENS_* */
    int corpus;      /* runs are documents */
    int32_t top;
    int32_t n_layers, n_sites, n_dims, n_vocab;
    double eps;
    const float *gamma, *beta;
    const char *lens;     /* the folder of an affine lens, or null */
    const float **weight; /* [L] -> [N, N] of the lens, or null */
    const float **bias;   /* [L] -> [N]; null if the lens has none */
    const char **labels;  /* [S] */
    lens_fit fit;
    psc_tally tally; /* over documents: lens_corpus.c */

    /* Work of one block: items (row, site), the final site of each row last. */
    const psc_reductions *reductions;
    int32_t block_rows, n_tiles;
    float *x, *moved; /* [items, N]; moved null without an affine lens */
    float *own;       /* [items, targets, 2] the targets' logits */
    char *failed;     /* [block_rows, targets] whether their product failed */
    lens_part *parts; /* [LENS_PARTS] */
    lens_tile *tiles; /* [items, tiles] */
    double *weights;  /* [block_rows, 2, tiles] scratch: exp(m - max m) */

    /* The run. */
    psc_row_set rows;
    psc_target_rows targets;
    int32_t n_targets;
    const int32_t *ids;     /* [targets, R, 2] */
    int pre, post;          /* retained */
    const float **residual; /* [S, R] -> [N] */
    lens_tables tables;
} lens_state;

/* --- lens.c: tables that a run reports are arrays, the others are its memory --- */
/* --- lens_affine.c --- */
/* Reads and checks a lens of config.json and params.safetensors. */
int lens_affine_load(lens_state *s, const char *folder);
/* y = x + W x + b of one site's translator; may be called inside parallel_for. */
void lens_affine_apply(const lens_state *s, int32_t site, float *y, const float *x);

/* --- lens_figures.c --- */
/* Allocates the work buffers, once per instance; and those that the run's targets need. */
int lens_figures_open(lens_state *s);
int lens_figures_begin(lens_state *s);
/* Fills the tables of all rows. */
int lens_figures_compute(lens_state *s);

/* --- lens_corpus.c --- */
int lens_corpus_open(lens_state *s);
int lens_corpus_add(lens_state *s);
int lens_corpus_report(lens_state *s);

/* --- lens_fit.c --- */
int lens_fit_open(lens_state *s);
int lens_fit_add(lens_state *s);
int lens_fit_report(lens_state *s);

/* --- lens_summary.c --- */
int lens_summary(lens_state *s);

#endif
