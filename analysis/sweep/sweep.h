/* The state of the plugin `sweep`, which its files share.
 * Private to analysis/sweep/.
 * Threads: the thread of the plugin's callbacks.
 * Ownership: memory of the run (run_alloc), except for the source's values (life_alloc). */
#ifndef SWEEP_H
#define SWEEP_H

#include "common.h"
#include "top.h"

#include <stdbool.h>

enum { SWEEP_MOST = 1000 }; /* effects listed */

typedef enum sweep_over {
    SWEEP_HEADS,        /* [L, H] */
    SWEEP_HEADS_BY_POS, /* [L, H, T] */
    SWEEP_RESID_PRE,    /* [L, T] */
    SWEEP_ATTN_OUT,
    SWEEP_MLP_OUT,
    SWEEP_EDGES /* [H, T, T] of one layer */
} sweep_over;

typedef enum sweep_do { SWEEP_ZERO, SWEEP_MEAN, SWEEP_PATCH, SWEEP_CUT } sweep_do;
typedef enum sweep_metric { SWEEP_LOGIT, SWEEP_LOG_PROB, SWEEP_KL } sweep_metric;

/* A sequence of a run. */
typedef struct sweep_part {
    int32_t sequence, position; /* of its first row */
    int32_t first, n;           /* its rows of the run */
    int32_t slot, n_slots;      /* its rows among those whose logits are kept */
} sweep_part;

/* The rows of a run, by sequence, and the values of the swept tensor, [layers kept][n, width]. */
typedef struct sweep_rows {
    sweep_part *parts; /* [n_parts] */
    int32_t n_parts, n;
    int32_t longest; /* rows of a part */
    int64_t width;   /* floats of a row of the swept tensor; of edges heads * keys */
    int32_t n_keys;  /* the last position + 1 */
} sweep_rows;

/* The source run. n is 0 until its values are complete. */
typedef struct sweep_source {
    sweep_rows rows;
    psc_kept parts, values, logits; /* logits [slots, V], where patched values are compared */
    int32_t n_slots;
    int retained; /* handle of this or, for the mean, the changed run's tensor; -1: none */
} sweep_source;

/* A variant that is being computed: the cell of a part's arrays that it fills. */
typedef struct sweep_cell {
    int32_t part;
    int64_t at;
} sweep_cell;

typedef struct sweep_state {
    psc_context *context;
    const psc_host *host;
    int32_t over, what, metric, layer, top;
    int32_t n_layers, n_heads, d_head, d_model, n_vocab;
    psc_point point;
    sweep_source source;

    /* this run: one sequence, or the examples of a set */
    int is_set;
    sweep_rows rows;
    const psc_row *run_rows;
    psc_row_set chosen; /* of each part the last row, or for `next` the one before it, or both */
    psc_target_rows targets;
    int32_t n_targets;
    int32_t *source_at; /* [rows] the source's row that each is patched from, by index; -1: none */
    bool *same; /* [layers kept][rows, units]: the source has the same bits. Null if not patched */
    int32_t units;    /* of a row: heads, or 1, or heads * keys */
    float *base;      /* [chosen, V] logits, unchanged */
    double *base_lse; /* [chosen] */
    float *p;         /* [parts, V] probabilities of the last row; for kl */
    float *mean;      /* [parts][layers kept, width] */

    /* the arrays */
    double *base_value;   /* [parts, targets] */
    double *source_value; /* [parts, targets], or null: the metric on the source prompt */
    double *effect;       /* [parts, targets, n_cells] */
    double *normalized;   /* effect / (source - base), or null */
    int64_t n_cells;      /* with `longest` rows and keys */
    sweep_cell *cells;    /* [variants of a call] */
    int32_t *picked;      /* [parts, targets, 2] the tokens whose logits are needed; null: all */
} sweep_state;

/* --- sweep_source.c -------------------------------------------------------------------------- */
/* The sequences of the run's rows, which live as the memory at `parts` does. */
int32_t sweep_count_parts(const psc_row *rows, int32_t n);
void sweep_find_parts(const sweep_state *s, const psc_row_set *chosen, const psc_row *run_rows,
    int32_t n, sweep_rows *out);
/* In run_begin and run_end of the source run. */
int sweep_begin_source(sweep_state *s);
int sweep_keep_source(sweep_state *s);
/* In run_begin of the changed run: aligns its rows with the source's, and finds in the run which of
 * their values have the same bits. */
int sweep_begin_patches(sweep_state *s);
/* The source's part of a part; null if the source run has no such sequence. */
const sweep_part *sweep_source_of(const sweep_state *s, const sweep_part *part);
/* Retains the swept tensor in the current run. */
int sweep_retain(sweep_state *s);
/* Copies an event's chosen rows of logits to out [chosen, V]. */
void sweep_keep_logits(
    const sweep_state *s, const psc_row_set *chosen, const psc_event *event, float *out);
/* The number of layers whose tensor is kept: all, or one for edges. */
int32_t sweep_layers_kept(const sweep_state *s);

/* --- sweep_metric.c -------------------------------------------------------------------------- */
/* The chosen row of a part at which a target's effect is measured; -1: it has no token there. */
int32_t sweep_slot(const sweep_state *s, const sweep_part *part, int32_t target);
/* In run_end: the metric of every part before any change, and on the source prompt. */
int sweep_measure(sweep_state *s);
enum { SWEEP_MOST_PICKED = 32 }; /* targets of which logits are picked; of more all are needed */
/* Chooses the tokens whose logits a variant needs, if the metric needs no others. */
int sweep_pick(sweep_state *s);
/* Receives the logits of variant i, that of cells[i]. */
int sweep_on_logits(int32_t variant, const psc_event *logits, void *payload);
/* The effect of a change that keeps every bit. */
void sweep_put_zero(sweep_state *s, int32_t part, int64_t at);
void sweep_normalize(sweep_state *s);

/* --- sweep_variants.c, sweep_summary.c ------------------------------------------------------- */
/* Computes every variant into effect. */
int sweep_compute(sweep_state *s);
/* Prints the largest effects of a single sequence. */
int sweep_summary(const sweep_state *s);

/* Whether effects are compared with the source's own value: patches of a metric per target. */
static inline int sweep_normalizes(const sweep_state *s) {
    return s->what == SWEEP_PATCH && s->metric != SWEEP_KL;
}

#endif
