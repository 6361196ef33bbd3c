/* Shared by the files of the forward pass: its buffers, its row set, the matmuls of a step.
 * Private to forward*.c, bench/pass*, test_last_layer.c and test_run_options.c.
 * Threads: the session's thread; the team runs tasks and parts of rows.
 * Ownership: psc_forward owns the buffers. */
#ifndef FORWARD_INSIDE_H
#define FORWARD_INSIDE_H

#include "buffers.h"
#include "forward.h"

/* Query rows per attention task: the scores of this many rows stay in the core's cache. */
#define PSC_ATTENTION_TILE 24
/* Most tasks of one step, and most matmuls. */
#define PSC_STEP_TASKS 1024
#define PSC_STEP_JOBS 4

/* Terms that the residual still lacks; the next step that reads x adds them. */
typedef enum psc_pending {
    PSC_PENDING_NONE,
    PSC_PENDING_BOTH, /* x <- (mlp + attn) + x */
    PSC_PENDING_ATTN, /* x <- attn + x */
    PSC_PENDING_MLP   /* x <- mlp + x */
} psc_pending;

/* Rows of one sequence for one attention task. */
typedef struct psc_tile {
    int32_t first, rows;
} psc_tile;

/* A rectangle of one matmul's y. */
typedef struct psc_task {
    uint32_t job, row, rows, panel, panels;
} psc_task;

/* Processes a task's result while it is in the core's cache: y of part, whose first row is `row` of
 * the row set. */
typedef void (*psc_finish_fn)(psc_forward *f, const psc_matmul *part, size_t row);

/* One matmul of a step. */
typedef struct psc_job {
    psc_matmul m; /* all rows, all panels */
    psc_matmul_f32_fn kernel;
    psc_finish_fn prepare; /* nullable: before a task of few rows, prefetches finish's targets */
    psc_finish_fn finish;  /* nullable */
    size_t unit;           /* panels that stay in one task: those of a head if finish needs it */
} psc_job;

struct psc_forward {
    const psc_model *model;
    const psc_rotary *rotary;
    const psc_kernels *kernels;
    psc_team *team;
    psc_registry *registry;
    psc_kv_cache *cache;
    size_t n, heads, d_head, m;         /* d_model, ..., d_mlp */
    size_t ld_n, ld_m, ld_v, ld_result; /* row strides */

    /* [chunk, ld_n]. Four buffers serve twice: z reuses y1, which only q, k and v need; attn and
     * mlp reuse k and v, which are in the cache by then; normalized reuses q. */
    float *x, *y1, *y2, *q, *k, *v, *z, *attn, *mlp, *normalized;
    float *post;           /* [chunk, ld_m] */
    float *mean, *scale;   /* [chunk] */
    float *logits;         /* [logit_rows, ld_v] */
    float *scratch;        /* [threads, scratch_floats] of one task: 16 floats, scores, chains */
    void *room;            /* of kernels on the caller's thread, whose stack may be small */
    float *memory;         /* the block of all of the above */
    size_t memory_bytes;   /* of the block, without what only the logits use */
    size_t scratch_floats; /* a multiple of a cache line */
    size_t logit_rows;     /* rows whose logits are computed at a time in the buffer */
    int32_t *n_keys;       /* [chunk] position + 1 */
    psc_row *kept;         /* [chunk] the row set, when it is not the whole chunk */
    psc_row *chosen;       /* [chunk] */
    psc_tile *tiles;       /* [chunk] */
    psc_grown pre, result, scores;
    psc_task tasks[PSC_STEP_TASKS];

    /* the current chunk */
    const psc_pass *pass;
    const psc_row *rows; /* the row set */
    int32_t n_rows, n_tiles, layer;
    bool masked;       /* `scores` is 0 past each row's own position: an earlier layer's pattern */
    int32_t end_layer; /* the pass computes layers before this one, */
    bool ends_inside;  /* the last of them only up to q, k and v */
    int32_t first_index; /* psc_row.index of the chunk's first row */
    bool hooked;         /* whether any subscription or destination exists */
    psc_pending pending;
    size_t chosen_rows; /* of panel_logits */
    float *sink;        /* where the next logits of the pass's sink go */
    psc_error *error;
};

/* --- forward.c --- */

/* Shows [R, width] with row stride ld, or [R, H, D] with row stride ld_n, if a subscriber selects
 * it. */
psc_status psc_forward_show_rows(
    psc_forward *f, psc_point point, float *data, size_t width, size_t ld);
psc_status psc_forward_show_heads(psc_forward *f, psc_point point, float *data);

/* Shows a tensor of these rows to the registry and copies it to its destinations. */
psc_status psc_forward_show_of(
    psc_forward *f, psc_point point, const psc_row *rows, int32_t n_rows, const psc_view *view);

/* Whether any subscription or destination exists. Built with PSC_NO_HOOKS the pass never asks the registry:
 * bench/hooks_cost.sh measures the cost of asking. */
static inline bool psc_forward_hooked(const psc_forward *f) {
#ifdef PSC_NO_HOOKS
    (void)f;
    return false;
#else
    return f->hooked;
#endif
}

/* Whether a subscriber or a destination selects this tensor for any of these rows. */
static inline bool psc_forward_wants_of(
    const psc_forward *f, psc_point point, const psc_row *rows, int32_t n_rows) {
    const int32_t layer = psc_point_has_layer(point) ? f->layer : -1;
    return psc_forward_hooked(f) &&
           (psc_registry_wants(f->registry, point, layer, rows, n_rows) ||
               psc_destinations_want(f->pass->copies, point, layer, rows, n_rows));
}

static inline bool psc_forward_wants(const psc_forward *f, psc_point point) {
    return psc_forward_wants_of(f, point, f->rows, f->n_rows);
}

/* The same for subscribers alone: a tensor that only a destination selects needs no step of its
 * own. */
static inline bool psc_forward_shows(const psc_forward *f, psc_point point) {
    return psc_forward_hooked(f) &&
           psc_registry_wants(f->registry, point, f->layer, f->rows, f->n_rows);
}

static inline bool psc_forward_edits(const psc_forward *f, psc_point point) {
    return psc_forward_hooked(f) &&
           psc_registry_edits(f->registry, point, f->layer, f->rows, f->n_rows);
}

static inline psc_status psc_forward_show(psc_forward *f, psc_point point, const psc_view *view) {
    return psc_forward_show_of(f, point, f->rows, f->n_rows, view);
}

/* --- forward_matmul.c --- */

/* y[rows, ldy] = W x[rows, ldx] + b */
psc_job psc_forward_job(const psc_forward *f, const psc_packed *w, float *y, size_t ldy,
    const float *x, size_t ldx, size_t rows);
/* Runs n matmuls as one step of the team. */
void psc_forward_run(psc_forward *f, const psc_job *jobs, int n);

/* --- forward_norm.c --- */

/* Adds the pending terms to x. */
void psc_forward_settle(psc_forward *f);
/* y[i] = LayerNorm i of x, for one or two norms that share x; adds the pending terms first. Shows
 * the scale and the normalized value; with two norms no subscriber may select these. */
psc_status psc_forward_norm(psc_forward *f, int n, const psc_layer_norm *const ln[],
    float *const y[], psc_point scale, psc_point normalized);

/* --- forward_attention.c --- */

/* Cuts a new row set into tiles for attention. */
void psc_forward_tile(psc_forward *f);
/* Prefetches the cache lines for the keys or values that a task of few rows will compute. */
void psc_forward_prepare_k(psc_forward *f, const psc_matmul *part, size_t row);
void psc_forward_prepare_v(psc_forward *f, const psc_matmul *part, size_t row);
/* Process the result of a task of W_Q, W_K or W_V: rotate q and k, store k and v in the cache. */
void psc_forward_finish_q(psc_forward *f, const psc_matmul *part, size_t row);
void psc_forward_finish_k(psc_forward *f, const psc_matmul *part, size_t row);
void psc_forward_finish_v(psc_forward *f, const psc_matmul *part, size_t row);
/* The same as steps of the team, for all of q and k, then for all of k and v. */
void psc_forward_rotate(psc_forward *f);
void psc_forward_store(psc_forward *f);
/* Copies the keys and values of the layer that the pass's sequences share. */
void psc_forward_share(psc_forward *f);
/* q and the cache -> z; shows scores and pattern. */
psc_status psc_forward_attention(psc_forward *f);

/* --- forward_prefix.c: a pass with a prefix --- */

/* Whether `row` may join the tile that begins at row `begin` and so far ends before `row`. */
bool psc_forward_prefix_joins(const psc_forward *f, int32_t begin, int32_t row);
/* Scores and values of a tile whose first row is `first`: tile has y, ldy, x, ldx, rows, d_head and
 * scale. scores: 15 floats before y are overwritten. values: chains [PSC_ATTENTION_TILE,
 * psc_padded(d_head)] is scratch. */
void psc_forward_prefix_scores(
    const psc_forward *f, const psc_attention *tile, int32_t first, int32_t head);
void psc_forward_prefix_values(
    const psc_forward *f, const psc_attention *tile, int32_t first, int32_t head, float *chains);

/* --- forward_edges.c: a pass with edges --- */

/* At the start: the differences of the senders before the first layer. */
void psc_forward_edges_begin(psc_forward *f);
/* q, k and v of a layer, each head's from an input of its own; x has no pending terms. */
void psc_forward_edges_heads(psc_forward *f);
/* y2, what the MLP's first matmul reads; x as its norm would read it, without pending terms. */
void psc_forward_edges_mlp(psc_forward *f);
/* x before the final norm as the logits read it. */
void psc_forward_edges_logits(psc_forward *f);
/* After attention and after W_out: the differences of the layer's heads and of its MLP. */
void psc_forward_edges_take_heads(psc_forward *f);
void psc_forward_edges_take_mlp(psc_forward *f);

/* --- forward_layer.c --- */

/* One layer of the row set: x -> x, perhaps with pending terms. */
psc_status psc_forward_layer(psc_forward *f);

#endif
