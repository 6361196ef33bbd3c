/* The plugin `sampling`: its state, and the functions that its two files share.
 * Private to analysis/sampling/.
 * Threads: the team computes the rows of a block; the callbacks' thread does the rest.
 * Ownership: the host owns all memory, of the run (run_alloc) or the instance (life_alloc). */
#ifndef SAMPLING_H
#define SAMPLING_H

#include "moments.h"

enum { GREEDY, TEMPERATURE, TOP_K, TOP_P, MIN_P, COMBINED, STRATEGIES };
enum { PAIRS = STRATEGIES * STRATEGIES, ROW_FIGURES = 3, PAIR_FIGURES = 3, BINS = 5, SCOPES = 2 };
enum { SIZE, MASS, KL };
enum { SAME_SET, OVERLAP, AGREEMENT };
enum { FEW = 1000 }; /* tokens that are summed one by one */
enum { BLOCK = 8 };  /* rows computed together */

/* What a strategy keeps of a row, a prefix of the order, with weights e = exp((z - max z)/T). */
typedef struct kept_set {
    psc_kept_prefix prefix;
    double sum, squares;     /* of e over the set */
    double product, overlap; /* at T = 1: of e e', e' at the temperature; of the smaller q */
} kept_set;

/* Scratch of one row. */
typedef struct row_work {
    const float *z;
    double *plain, *scaled; /* [V] e at T = 1 and at the temperature */
    double plain_sum, scaled_sum;
    int32_t *ids; /* [V] */
    int32_t best;
    kept_set sets[STRATEGIES];
    int32_t *together;        /* [V] the ids of all together */
    double *together_weights; /* [V] */
    int failed;
} row_work;

typedef struct sampling_state {
    psc_context *context;
    const psc_host *host;
    psc_filter choice;
    psc_strategy asked; /* the options as one strategy */
    psc_strategy strategies[STRATEGIES];
    char labels[STRATEGIES][48];
    int corpus;
    int32_t n_vocab;
    const psc_reductions *reductions;
    double least; /* of z - max z that min-p keeps */
    row_work work[BLOCK];
    psc_tally tally; /* over documents: [scopes, figures], [scopes, 1 + strategies * bins] */

    psc_row_set rows;
    double *figures;                            /* [row figures, R, strategies] */
    double *pairs;                              /* [pair figures, R, strategies, strategies] */
    double *arrays[ROW_FIGURES + PAIR_FIGURES]; /* arrays of the results */
} sampling_state;

/* run_end over a corpus: adds each sequence's figures. */
int sampling_add_sequences(sampling_state *s);
int sampling_report(psc_context *context, void *state);

#endif
