/* Units of a sequence: tokens, or words made of tokens.
 * Private to analysis/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread.
 * Ownership: everything lives with the run (run_alloc). */
#ifndef ANALYSIS_UNITS_H
#define ANALYSIS_UNITS_H

#include "common.h"

/* Unit u has the positions begin[u]..begin[u+1]-1. Position 0 (BOS) is in none, so begin[0] is 1,
 * and the units follow each other without gaps. */
typedef struct psc_units {
    int32_t n;
    int32_t *begin;   /* [n + 1] */
    uint8_t *content; /* [n] 1: not punctuation only */
} psc_units;

/* Each of the tokens [n] after the first is a unit. */
int psc_units_tokens(
    psc_context *context, const psc_host *host, const int32_t *tokens, int32_t n, psc_units *out);

#endif
