/* Knock-outs of attention by keys: rows may not read some positions, at all heads and layers.
 * Private to analysis/ and tests/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; the work uses the team.
 * Ownership: all memory lives with the run (run_alloc). */
#ifndef ANALYSIS_KNOCKOUTS_H
#define ANALYSIS_KNOCKOUTS_H

#include "divergence.h"

/* Rows row_begin <= position < row_end of a sequence may not read the keys from[i]..to[i]-1 of two
 * ranges; an empty range has equal numbers. Key 0 may not be cut: a row keeps at least one key. */
typedef struct psc_knockout {
    int32_t row_begin, row_end;
    int32_t from[2], to[2];
    int32_t last_only; /* nonzero: measures the last of the rows; otherwise all of them */
} psc_knockout;

typedef struct psc_knockouts {
    psc_divergence base;
    int32_t n_layers, sequence, end; /* end: the open sequence's positions */
    /* the next call of the host */
    int32_t n, last_only;
    int64_t n_changes, most_changes;
    psc_variant *variants;       /* [VARIANTS_A_CALL] */
    psc_change *changes;         /* [most_changes] */
    struct psc_measure *targets; /* [VARIANTS_A_CALL] */
    int32_t *index;              /* [longest] measured rows of one variant */
    double *kl, *dlogp;          /* [longest] */
    double done, all;            /* rows computed; rows counted before, for progress */
    int32_t counting;            /* nonzero: nothing is computed, rows are counted in `all` */
} psc_knockouts;

/* In run_begin: retains what the variants and their measure need. To show progress, a caller goes
 * through its work twice, the first time with `counting` set. */
int psc_knockouts_begin(psc_context *context, const psc_host *host, psc_knockouts *out);
/* In run_end: the sequence that the next knock-outs change, rows first..first+n-1 of the run. Fails
 * unless these begin at position 0. */
int psc_knockouts_open(psc_knockouts *k, int32_t first, int32_t n);
/* Adds a knock-out of the open sequence. kl receives the sum over the measured rows of
 * KL(p || p'), nats; dlogp (nullable) log p' - log p of the next token at the last of them, NaN
 * without one. Both are written by the end of psc_knockouts_flush at the latest, each with the bits
 * of a run of its own. Fast if row_begin does not ascend: the host then finds keys in place. */
int psc_knockouts_add(psc_knockouts *k, const psc_knockout *cut, double *kl, double *dlogp);
/* Computes what was added. */
int psc_knockouts_flush(psc_knockouts *k);

#endif
