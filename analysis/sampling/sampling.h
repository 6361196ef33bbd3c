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
enum { BLOCK = 8 }; /* rows computed together */

/* Scratch of one row. */
typedef struct row_work {
    int32_t *ids;    /* [strategies, V] */
    double *weights; /* [strategies, V]; divided by their sum they are q */
    double *dense;   /* [strategies, V] q by id, 0 elsewhere */
    double *full;    /* [V] exp(z - max z) */
    int32_t kept[STRATEGIES];
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
