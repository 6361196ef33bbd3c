/* KL of a row's prediction against a changed one, in f64, and the change of the next token.
 * Private to analysis/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; psc_divergence_rows spreads its work over the team.
 * Ownership: all memory lives with the run (run_alloc). */
#ifndef ANALYSIS_DIVERGENCE_H
#define ANALYSIS_DIVERGENCE_H

#include "common.h"

/* One sequence's unchanged predictions; the host retains hook_logits of the whole run. */
typedef struct psc_divergence {
    psc_context *context;
    const psc_host *host;
    const psc_row *rows; /* of the run */
    int32_t n_rows;
    int64_t n_vocab, n_blocks; /* blocks of a row's sum */
    int handle;
    psc_view logits;      /* [rows, V], from psc_divergence_open on */
    int32_t longest;      /* rows of the run's longest sequence */
    int32_t first, n;     /* the open sequence: its first row in the run, its rows */
    double *p;            /* [longest, V] probabilities of its rows */
    double *lse;          /* [longest] log sum exp of their logits */
    double *parts;        /* [longest, 1 + n_blocks] of the rows being compared */
    int32_t *ids;         /* [V] scratch */
    const int32_t *index; /* the rows being compared */
    const float *changed;
    int64_t stride;
} psc_divergence;

/* In run_begin: retains the logits. Fails if the probabilities of the longest sequence need more
 * than 1 GiB, 8 bytes per row and token of the vocabulary. */
int psc_divergence_begin(psc_context *context, const psc_host *host, psc_divergence *out);
/* In run_end: computes the probabilities of the sequence whose rows are first..first+n-1 of the
 * run. They replace those of the sequence before. */
int psc_divergence_open(psc_divergence *d, int32_t first, int32_t n);
/* Compares up to `longest` changed predictions. index [n]: each one's row of the run, in the open
 * sequence; changed: its logits [n, V], rows `stride` floats apart. kl [n], nats, at least 0;
 * dlogp [n] (nullable): log p' - log p of the next token, NaN where the row has none. */
void psc_divergence_rows(psc_divergence *d, int32_t n, const int32_t *index, const float *changed,
    int64_t stride, double *kl, double *dlogp);

#endif
