/* Links between units: what the prediction after unit k owes to reading unit j.
 * Private to analysis/ and tests/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; the work uses the team.
 * Ownership: callers own the lists; scratch memory lives with the run (run_alloc). */
#ifndef ANALYSIS_LINKS_H
#define ANALYSIS_LINKS_H

#include "knockouts.h"
#include "units.h"

/* At the last row of unit `to`: p unchanged, p' without reads of unit `from`. */
typedef struct psc_link {
    int32_t from, to;       /* units; from < to */
    double kl, dlogp;       /* KL(p || p'), nats, and log p' - log p of the next token, when the
                                rows of `to` may not read `from` */
    double frozen, dfrozen; /* the same for the frozen network */
} psc_link;

/* The number of pairs that are at most `distance` units apart; 0: any distance. */
int64_t psc_links_count(int32_t n_units, int32_t distance);
/* Lists these pairs by `to`, then by `from`, with NaN as figures. */
void psc_links_list(int32_t n_units, int32_t distance, psc_link *out);

/* In run_end, for the open sequence of k: kl and dlogp of n links in that order. */
int psc_links_causal(psc_knockouts *k, const psc_units *units, int64_t n, psc_link *links);

/* What the frozen counterpart reads of the run. */
typedef struct psc_frozen_links {
    psc_divergence *base;
    const psc_model_info *model;
    int pattern, v, resid;       /* retained: all layers; the last layer's hook_resid_post */
    psc_view *patterns, *values; /* [L] from the first call on */
    psc_view final;              /* [rows, N] */
    const float *gamma, *beta;   /* [N] of the final norm */
    int32_t room, n;             /* predictions that are compared together; waiting */
    float *unit, *writes;        /* [tokens * H, H*D], [tokens, L, H, N] of one unit */
    int32_t tokens;              /* room in tokens */
    float *y, *logits;           /* [room, N], [room, V] */
    int32_t *index;              /* [room] rows of the run */
    psc_link **of;               /* [room] */
    double *kl, *dlogp;          /* [room] */
} psc_frozen_links;

/* In run_begin. base: begun, of the same run. */
int psc_frozen_links_begin(psc_frozen_links *f, psc_divergence *base);
/* In run_end, for the open sequence of base: frozen and dfrozen of psc_links_list's links. */
int psc_frozen_links_find(
    psc_frozen_links *f, const psc_units *units, int32_t distance, psc_link *links);

#endif
