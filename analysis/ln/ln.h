/* The state of the plugin `ln`: what its files share.
 * Private to analysis/ln/.
 * Threads: the callbacks' thread; in parallel parts each worker has its own rows.
 * Ownership: the state lives with the instance (life_alloc), tables with the run (run_alloc). */
#ifndef ANALYSIS_LN_H
#define ANALYSIS_LN_H

#include "common.h"
#include "moments.h"

/* One writer into the residual stream at the granularity of layers, in the order of arrival. */
typedef struct ln_writer {
    int32_t column;       /* in the axis "writers"; all edits share one */
    int32_t site;         /* the first LN site that reads it */
    const float **values; /* [target rows] -> [N] */
} ln_writer;

enum { LN_KEPT_EMBED, LN_KEPT_ATTN, LN_KEPT_MLP, LN_KEPT_Z, LN_KEPT_RESID, LN_KEPT_COUNT };

typedef struct ln_state {
    psc_context *context;
    const psc_host *host;
    psc_filter rows_choice, target_choice;
    int centered;
    int32_t n_layers, n_heads, n_dims, d_head, n_sites;
    double eps;

    /* The run. R = target_rows.n; sites: 0.ln1, 0.ln2, 1.ln1, ..., ln_final. */
    psc_row_set rows, target_rows;
    psc_target_rows targets;
    psc_directions directions;
    double *mean, *norm; /* results [sites, rows] */
    float *scale;        /* result [sites, rows] */
    double *norm2;       /* [sites, R] |P(x)|^2 */
    double *head_norm2;  /* [R, L, H] |P(c)|^2 */
    int32_t kept[LN_KEPT_COUNT];
    float **edits;  /* [3 L] -> [R, N]: what editors added at resid_pre, mid, post; or null */
    float *ov_edit; /* [R, N]: what they added to results and attention writes; or null */

    /* run_end. W writers; C components: embed, a layer's heads, attn_bias, mlp_out, ..., edit. */
    int32_t n_writers, n_columns, n_components;
    ln_writer *writers;        /* [W] */
    const float **residual;    /* [R] -> [N] the residual at ln_final */
    double *writer_mean;       /* [R, W] */
    double *site_sums;         /* [R, columns] scratch */
    double *residual_mean;     /* [R] */
    const float **attn_bias;   /* [L] -> [N] */
    float *edit_writer;        /* [R, N] all edits of the residual, or null without any */
    float *edit_component;     /* [R, N] those and the edits of attention's writes, or null */
    double *coupling;          /* result [R, columns, columns] */
    double *shares, *fraction; /* results [sites, R, columns], [sites, R] */
    double *coupling_error;    /* result [sites, R] */
    double *numerator;         /* result [targets, R]: S */
    double *effects[3];        /* results [targets, R, C]: frozen_ln, recomputed_ln, freeze_error */
    double *layer_effects[3];  /* results [targets, R, columns] */

    /* Over documents (ln_corpus.c). */
    int corpus;
    psc_moments moments;
    psc_sequences sequences;
    double *table;    /* run: [rows, sites, quantities] */
    double *diagonal; /* run: [rows] sum of |P(x_a)|^2 so far */
} ln_state;

/* Row pointers of a retained tensor, by target row. */
int ln_fetch_rows(ln_state *s, int32_t kept, int32_t layer, const float **out);
/* Writers, coupling, shares. */
int ln_coupling_compute(ln_state *s);
/* The effects of every component. */
int ln_effects_compute(ln_state *s);
/* Labels of columns and components; index as in the axes. */
const char *ln_column_label(const ln_state *s, int32_t column);
const char *ln_component_label(const ln_state *s, int32_t component);
/* "3.ln1" or "ln_final". */
void ln_site_label(const ln_state *s, int32_t site, char out[24]);
/* The printed summary. */
int ln_summary(ln_state *s);
/* The callbacks over documents. */
int ln_corpus_open(ln_state *s);
int ln_corpus_begin(ln_state *s);
int ln_corpus_end(ln_state *s);
int ln_corpus_report(ln_state *s);

#endif
