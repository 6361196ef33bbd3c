/* The inside of the plugin `edges`: one run's state and what its files share.
 * Private to analysis/edges/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; rows of an event side by side.
 * Ownership: memory of the run (run_alloc), the Gram matrices of the instance (life_alloc). */
#ifndef EDGES_H
#define EDGES_H

#include "gram.h"
#include "top.h"
#include "writers.h"

typedef enum edges_by { BY_SHARE, BY_NORM, BY_WEIGHT } edges_by;

/* One arrow x_source --A^{layer,head}--> x_row. */
typedef struct edge {
    int32_t layer, head, source; /* source: the row read, an index of the run; -1: none */
    float weight;                /* A_kj */
    double norm, share; /* |A_kj W_O v_j|; of the target's logit, divided by sigma at the end */
} edge;

/* The kept edges of one target at one row, the largest first, and the sums over all of them. */
typedef struct edge_list {
    edge *edges;      /* [top] */
    psc_top_list top; /* their keys, divided at the end */
    int32_t n;
    double total, total_abs; /* of shares */
    int64_t seen;            /* edges whose key reached the threshold */
} edge_list;

/* What editors added, after - before [L, n_keys, width]; null before an edit of that kind. */
typedef struct edges_edited {
    float *stream;     /* [.., N] first seen by the layer's LN1 */
    float *normalized; /* [.., N] ln1.hook_normalized */
    float *value;      /* [.., H*D] hook_v */
} edges_edited;

typedef struct edges_state {
    psc_context *context;
    const psc_host *host;
    const psc_model_info *model;
    int32_t by, top, carry;
    double threshold;
    psc_filter choice;
    double *gram; /* [L, H, D, D] W_O,h^T W_O,h, once per instance */
    const psc_reductions *kernels;
    psc_kept kept; /* of values, norms and lanes */

    /* a run */
    const psc_row *rows;
    int32_t n_rows, n_keys; /* n_keys: positions up to the last chosen row's */
    psc_target_rows targets;
    psc_directions directions;
    int late;         /* some targets are ranks: the pattern is retained until run_end */
    int handle;       /* of that pattern */
    int32_t n_panels; /* of 16 keys */
    float *values;    /* [L, H, n_panels, D, 16] v; lanes past n_keys are any numbers */
    float *norms;     /* [L, H, n_panels * 16] |W_O v| */
    double *lanes;    /* [n_panels, D, 16] work */
    float *pulled;    /* [directions of an event, H*D] W_O^T u */
    int32_t *place;   /* [directions] row of `pulled`, or -1 */
    float *sigma;     /* [rows chosen] the final LN's */
    psc_writers writers;
    int handle_scale; /* ln1.hook_scale, when edges are split by what they carry */
    edges_edited edits;
    edge_list *lists; /* [targets, rows chosen] */
} edges_state;

/* Takes v of an event's rows and the norms of their writes (edges_take.c). */
int edges_take_values(edges_state *s, const psc_event *event);
/* Offers every edge into the event's rows to the lists. */
int edges_take_pattern(edges_state *s, const psc_event *event);
/* Divides by sigma and drops edges below the threshold. */
void edges_close_lists(edges_state *s);
int edges_make_gram(edges_state *s);
/* Arrays (edges_arrays.c). */
int edges_arrays(edges_state *s);
/* carried [targets, rows, rank, components] (edges_carried.c). */
int edges_carried(edges_state *s);
/* In run_begin: observes what editors add between the writers and v. In run_end: whether any editor
 * does (edges_edits.c). */
int edges_edits_observe(edges_state *s);
int edges_edits_expected(const edges_state *s);
/* The edits' part of an edge of a layer that reads row `source`. stream [N] and normalized [N] are
 * directions in the residual and in LN1's output before gamma and beta, value [H*D] one in v. */
double edges_edit_share(const edges_state *s, int32_t layer, int32_t source, const float *stream,
    const float *normalized, const float *value);
/* The printed summary (edges_arrays.c). */
int edges_summary(edges_state *s);

#endif
