/* The state of the plugin `loss`: what its files share.
 * Private to analysis/loss/.
 * Threads: the callbacks' thread; in parallel parts each worker has its own tiles or rows.
 * Ownership: the host owns all memory, of the run (run_alloc) or the instance (life_alloc). */
#ifndef ANALYSIS_LOSS_H
#define ANALYSIS_LOSS_H

#include "common.h"

/* The vocabulary passes in tiles of LOSS_TILE logits, which LOSS_PARTS threads at most share; rows
 * in blocks. Sums are by tile, so none of these numbers but LOSS_TILE reaches a result. */
enum { LOSS_TILE = PSC_LOGIT_TILE, LOSS_PARTS = 16, LOSS_BLOCK = 256 };
enum { LOSS_BINS = 7, LOSS_MOST = 100 }; /* bins of frequency; entries of a list of tokens */

/* What is summed: the loss, and the loss with interventions minus that without. */
enum { LOSS_OWN, LOSS_CHANGE, LOSS_MEASURES };
/* Sums over windows: the first three for each measure x, of a window's sum X and its tokens n. */
enum { LOSS_SUM, LOSS_SQUARE, LOSS_WITH_TOKENS, LOSS_MOMENTS };
enum {
    LOSS_SCORE = LOSS_MEASURES * LOSS_MOMENTS, /* in-context scores d, and d d */
    LOSS_SCORE_SQUARE,
    LOSS_SUMS
};
enum { /* counts; the squares of tokens are of each window's */
    LOSS_WINDOWS,
    LOSS_TOKENS,
    LOSS_TOKENS_SQUARE,
    LOSS_BYTES,
    LOSS_WORDS,
    LOSS_SCORES,
    LOSS_COMPARED, /* windows with a difference */
    LOSS_COUNTS
};

/* Totals of one window, of a text, or of a corpus. */
typedef struct loss_totals {
    double sums[LOSS_SUMS], counts[LOSS_COUNTS];
} loss_totals;

/* One tile of a row's logits: the sum of exp(z - most). */
typedef struct loss_tile {
    double most, sum;
} loss_tile;

/* Scratch of a part of the tiles. */
typedef struct loss_part {
    float *z, *p; /* [LOSS_BLOCK, LOSS_TILE], [LOSS_TILE] */
    int failed;
} loss_part;

/* The unchanged run before a changed one. */
typedef struct loss_base {
    psc_kept loss, tokens; /* [n] doubles, int32_t */
    int32_t n;
    int complete;
} loss_base;

typedef struct loss_state {
    psc_context *context;
    const psc_host *host;
    psc_filter choice;
    int32_t early, late, top;
    int corpus;
    int32_t n_dims, n_vocab, n_ctx, n_tiles;
    const float *gamma, *beta;
    const psc_reductions *reductions;

    /* Work of one block of rows. */
    float *x;         /* [LOSS_BLOCK, N] */
    loss_part *parts; /* [LOSS_PARTS] */
    loss_tile *tiles; /* [LOSS_BLOCK, tiles] */
    double *weights;  /* [LOSS_BLOCK, tiles] */
    float *target;    /* [LOSS_BLOCK] the next token's logit */
    int32_t *places;  /* [LOSS_BLOCK] psc_row.index of each */

    /* The run. A row's loss is that of its own token, which the row before predicts. */
    const psc_row *all;
    psc_row_set rows;
    double *loss;    /* [rows of the run]; NaN where it is not scored */
    double *change;  /* [rows of the run] against the unchanged run; null without one */
    char *is_scored; /* [rows of the run] */
    loss_base base;

    /* Over documents: the accumulators. */
    int sums, counts;             /* [LOSS_SUMS], [LOSS_COUNTS] */
    int at_sums, at_counts;       /* by position: [LOSS_MEASURES, n_ctx], [n_ctx] */
    int token_sums, token_counts; /* by token: [LOSS_MEASURES, V], [V] */
} loss_state;

/* --- loss_rows.c --- */
int loss_rows_open(loss_state *s);
/* ln_final.hook_normalized and edited hook_logits: fill loss at the rows that follow. */
int loss_on_normalized(const psc_event *event, void *payload);
int loss_on_logits(const psc_event *event, void *payload);

/* --- loss_totals.c --- */
int loss_totals_open(loss_state *s);
/* Adds the run's rows begin..end-1, which are one sequence, to a window's totals. */
void loss_totals_window(const loss_state *s, int32_t begin, int32_t end, loss_totals *out);
/* run_end over a corpus. */
int loss_totals_add(loss_state *s);
/* The row after a sequence's last one. */
int32_t loss_sequence_end(const loss_state *s, int32_t begin);

/* --- loss_report.c --- */
int loss_report_run(loss_state *s);

/* --- loss_corpus.c --- */
int loss_report_corpus(loss_state *s);

/* --- loss_figures.c --- */
/* The named values and the first sentences, of a text's or a corpus's totals. */
int loss_figures(loss_state *s, const loss_totals *totals);
/* Nonzero if every window has a difference. */
int loss_is_compared(const loss_totals *totals);

#endif
