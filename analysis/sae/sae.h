/* The state of the plugin `sae`: what its files share.
 * Private to analysis/sae/.
 * Threads: the callbacks' thread; in parallel parts each row belongs to one thread.
 * Ownership: the host owns all memory, of the run (run_alloc) or the instance (life_alloc). */
#ifndef ANALYSIS_SAE_H
#define ANALYSIS_SAE_H

#include "common.h"
#include "moments.h"
#include "sae_shares.h"
#include "top.h"

enum { SAE_LISTED = 32, SAE_AUTO = 5, SAE_MOST = 4096 };
enum { SAE_LOSS_AUTO, SAE_LOSS_YES, SAE_LOSS_NO };

enum {          /* sums over rows */
    SAE_ERROR,  /* |y - y'|^2, y' the reconstruction */
    SAE_SQUARE, /* |y|^2 */
    SAE_COSINE,
    SAE_RATIO, /* |y'| / |y| */
    SAE_L1,    /* sum |f| */
    SAE_LOSS_PLAIN,
    SAE_LOSS_WITH, /* y' in place of y */
    SAE_LOSS_ZERO, /* 0 in place of y */
    SAE_SUMS
};
enum { /* counts */
    SAE_ROWS,
    SAE_ACTIVE, /* latents, over all rows */
    SAE_SCORED, /* tokens of the losses */
    SAE_COUNTS
};

/* Of a sequence, a text or a corpus. */
typedef struct sae_totals {
    double sums[SAE_SUMS], counts[SAE_COUNTS];
    double *sum; /* [d_out] of y */
} sae_totals;

typedef struct sae_state {
    psc_context *context;
    const psc_host *host;
    const psc_model_info *model;
    const char *path, *point, *named; /* options */
    int32_t from, top, contexts, loss;
    int32_t shared; /* shares=yes */
    psc_filter choice;
    int32_t n_listed;
    int32_t listed[SAE_LISTED]; /* latents of the option `latent`; over a corpus also auto */
    int corpus;
    int handle;
    psc_dictionary d;
    const float *gamma, *beta; /* of the out point with out_affine; else null */
    const psc_reductions *reductions;
    float *target; /* [d_out] such a row */

    /* A run. Slots number the chosen rows. */
    const psc_row *all;
    psc_row_set rows;
    psc_sequences sequences;
    sae_totals *totals;     /* [sequences] */
    float *out;             /* [rows.n, d_out] reconstructions */
    double *error, *cosine; /* [rows.n] */
    double *square, *l1;    /* [rows.n] |y|^2, sum |f| */
    int32_t *active;        /* [rows.n] */
    psc_ranked *best;       /* text: [rows.n, top] latents by size */
    float *best_value;      /* text: [rows.n, top] with their signs */
    int32_t *n_best;        /* text: [rows.n] */
    float *listed_value;    /* text: [rows.n, n_listed] */

    /* losses */
    int has_loss;        /* in this run */
    double *plain;       /* [rows of the run] of the token after each row; NaN without one */
    double *scratch;     /* [rows of the run] */
    psc_change *changes; /* [sequences, 2] */
    psc_variant *variants;

    sae_shares shares; /* of a text, with shares=yes */

    /* over documents */
    int sums, counts, mean, fires_handle, context_handle;
    int32_t *fires;    /* [F] of a run */
    psc_ranked *found; /* [F, contexts] the run's largest; index: place among its rows */
    int32_t *n_found;  /* [F] */
    float *limits;     /* [F] a smaller value enters no list */
    int32_t *rank;     /* [rows of the run] by document and position */
    int32_t *ranked;   /* [rows of the run] the row of a rank */
} sae_state;

/* --- sae_rows.c --- */
/* In run_begin. */
int sae_rows_begin(sae_state *s);
/* Events of the in and the out point. */
int sae_on_in(const psc_event *event, void *payload);
int sae_on_out(const psc_event *event, void *payload);

/* --- sae_contexts.c: over documents, which latents fire and where most --- */
int sae_contexts_open(sae_state *s);
int sae_contexts_begin(sae_state *s);
/* A row's latents, on the callbacks' thread. */
void sae_contexts_take(
    sae_state *s, int32_t row, int64_t n, const int32_t *ids, const float *values);
int sae_contexts_add(sae_state *s);
int sae_contexts_report(sae_state *s);

/* --- sae_loss.c --- */
int sae_loss_begin(sae_state *s);
/* In run_end: the losses of all sequences, into their totals. */
int sae_loss_compute(sae_state *s);

/* --- sae_report.c --- */
/* Named values and sentences of a text's or a corpus's totals. */
int sae_figures(sae_state *s, const sae_totals *totals);
int sae_report_text(sae_state *s);
/* "L3F17", or "F17" of a point without a layer. Returns out. */
enum { SAE_LABEL = 32 };
const char *sae_label(const sae_state *s, int32_t latent, char out[SAE_LABEL]);

#endif
