/* Knock-outs of attention by keys: rows may not read some positions, at all heads and layers.
 * Private to analysis/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; the work uses the team.
 * Ownership: all memory lives with the run (run_alloc). */
#ifndef ANALYSIS_KNOCKOUTS_H
#define ANALYSIS_KNOCKOUTS_H

#include "divergence.h"

/* Rows row_begin <= position < row_end of a sequence may not read the keys from[i]..to[i]-1 of two
 * ranges, the first before the second; an empty range is equal numbers. row_end 0: to the end of
 * the sequence. Key 0 may not be cut: a row keeps at least one key. */
typedef struct psc_knockout {
    int32_t row_begin, row_end;
    int32_t from[2], to[2];
} psc_knockout;

typedef struct psc_knockout_effect {
    double kl;    /* sum of KL(p || p') over the measured rows, nats */
    double dlogp; /* log p' - log p of the next token at the last measured row; NaN without one */
} psc_knockout_effect;

typedef struct psc_knockouts {
    psc_divergence base;
    int32_t n_layers, sequence, last_only;
    int32_t n, most; /* variants of the next call */
    int64_t n_changes, most_changes;
    psc_variant *variants;        /* [most] */
    psc_change *changes;          /* [most_changes] */
    psc_knockout_effect *effects; /* of the variants of this call */
    const psc_knockout *cuts;
    int32_t *index; /* [longest] rows measured of one variant */
    double *kl, *dlogp;
    double done, all; /* rows, for progress; the caller may set `all` to the rows of all its cuts */
} psc_knockouts;

/* In run_begin: retains what the variants and their measure need. */
int psc_knockouts_begin(psc_context *context, const psc_host *host, psc_knockouts *out);
/* In run_end: the sequence that the next knock-outs change, rows first..first+n-1 of the run. */
int psc_knockouts_open(psc_knockouts *k, int32_t first, int32_t n);
/* Computes n knock-outs of the open sequence, each as if it were alone, to the bit. last_only: the
 * measured row is the last of a knock-out's rows; otherwise all of them. Fast when row_begin does
 * not ascend, because the host then finds keys and values in place. */
int psc_knockouts_run(psc_knockouts *k, int32_t n, const psc_knockout *cuts, int last_only,
    psc_knockout_effect *effects);
/* The rows that a knock-out computes. */
int32_t psc_knockout_rows(const psc_knockouts *k, const psc_knockout *cut);

#endif
