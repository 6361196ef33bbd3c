/* What the plugin `effects` keeps of the unchanged run and of the changed run's edits.
 * Private to analysis/interventions/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread.
 * Ownership: memory kept from run to run is malloc'ed; effects.c frees it (forget). */
#ifndef EFFECTS_H
#define EFFECTS_H

#include "common.h"

/* The unchanged run at the chosen rows. */
typedef struct effects_base {
    int32_t n_all, n_rows, n_targets; /* rows of the run, chosen ones */
    int32_t *tokens;                  /* [n_all] */
    int32_t *ids;                     /* [targets, rows, 2]; ranks are those of this run */
    float *logits;                    /* [rows, V] */
    float *residual;                  /* [rows, N] entering the final LayerNorm */
    float *z;                         /* [layers, rows, H*D] */
    int complete;
} effects_base;

/* The only source prompt's run at the chosen rows. */
typedef struct effects_source {
    int32_t n_all, n_rows; /* rows of the run, chosen ones */
    float *logits;         /* [rows, V] */
    psc_row *rows;         /* [n_rows] of a set of pairs, whose sequences have a source each */
    int complete, paired;
} effects_source;

/* What was edited in the changed run. */
typedef struct effects_edits {
    double *write; /* [rows, N]: D, the change of the writes to the residual stream */
    int32_t first; /* depth of the earliest edit: 2 l entering layer l, 2 l + 1 inside it */
    int32_t inner, n_inner; /* layer edited inside its attention, or -1; number of such layers */
    const char *outside;    /* an edited point that writes nothing to the stream, or null */
    float *in, *out;        /* [rows, max(H*D, M)], [rows, N] work; null until needed */
} effects_edits;

typedef struct effects_state {
    psc_context *context;
    const psc_host *host;
    const psc_model_info *model;
    psc_filter choice;
    int32_t top;
    effects_base base;
    effects_source source;

    /* of the run */
    psc_row_set rows;
    psc_target_rows targets;
    psc_directions directions;
    effects_edits edits;
    double *dz, *dlog_p, *frozen_ln, *recomputed;   /* [targets, rows] */
    double *base_value, *source_value, *normalized; /* the same; null without a source */
    double *kl, *dlog_z;                            /* [rows] */
    int32_t *top_before, *top_after;                /* [rows, top] */
    float *p_before, *p_after;                      /* [rows, top] */
    float *p;                                       /* [V] work */
} effects_state;

/* --- effects_edits.c: D and whether a prediction applies ------------------------------------- */
int effects_observe_edits(effects_state *s);
/* Fills frozen_ln and recomputed; NaN where the prediction does not apply. */
int effects_predict(effects_state *s);
/* Why there is no prediction, or null. */
const char *effects_no_prediction(const effects_state *s);

/* --- effects_source.c: the source's value of each target ------------------------------------- */
int effects_begin_source(effects_state *s);
void effects_end_source(effects_state *s);
void effects_forget_source(effects_state *s);
/* Whether there is one source prompt, as long as the run's. */
int effects_has_source(const effects_state *s);
/* In the changed run: the arrays; after it: base_value, source_value, normalized. */
int effects_source_arrays(effects_state *s);
int effects_normalize(effects_state *s);
/* One sentence on a target at a row. */
int effects_say_source(const effects_state *s, int32_t target, int32_t slot);

/* --- effects_report.c ------------------------------------------------------------------------ */
int effects_arrays(effects_state *s);
int effects_report(effects_state *s);

/* --- effects.c ------------------------------------------------------------------------------- */
/* sum over v of softmax(before)_v (log softmax(before)_v - log softmax(after)_v) in f64; at least
 * 0. p [V] is work space; log_z and log_z_after belong to before and after. */
double effects_kl(const effects_state *s, const float *before, const float *after, double log_z,
    double log_z_after, float *p);

#endif
