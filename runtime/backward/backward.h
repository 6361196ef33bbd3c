/* The backward pass: the gradient of a metric of the logits at every hook point of a run.
 * Private to runtime/.
 * Threads: one thread at a time; psc_backward_run runs inside the team's region.
 * Ownership: a psc_backward owns its buffers and what it keeps of the forward pass; the rest is
 * borrowed. */
#ifndef BACKWARD_H
#define BACKWARD_H

#include "forward.h"

typedef struct psc_backward psc_backward;

/* What a backward pass works with; all of it outlives the pass. */
typedef struct psc_backward_parts {
    const psc_model *model;
    const psc_rotary *rotary;
    const psc_kernels *kernels;
    psc_team *team;
    const psc_forward *forward; /* for the kernels' room (psc_forward_room) */
    psc_registry *gradients;    /* subscriptions to gradients */
    const psc_registry *values; /* the forward pass's, which edit its values; null: nothing does */
    const psc_kv_cache *cache;  /* keys and values of the run, and of the prefix */
} psc_backward_parts;

/* One term of a metric: weight times
 *   PSC_METRIC_LOGIT  z[token]
 *   PSC_METRIC_LOG_P  z[token] - log sum exp z
 *   PSC_METRIC_KL     sum_t p_t (log p_t - log q_t), p = softmax(other), q = softmax(z). */
typedef struct psc_metric_part {
    int32_t kind;       /* psc_metric_kind */
    int32_t slot;       /* its row is rows[slot] of psc_backward_begin */
    int32_t token;      /* of LOGIT and LOG_P */
    double weight;      /* finite */
    const float *other; /* [V], of KL */
} psc_metric_part;

psc_status psc_backward_open(psc_backward **out, const psc_backward_parts *parts, psc_error *error);
void psc_backward_close(psc_backward **backward);

/* Bytes of a pass over n_rows rows whose metric reads n_logits of them; n_keys: most of a row. */
double psc_backward_bytes(
    const psc_backward *backward, int32_t n_rows, int32_t n_logits, int32_t n_keys, bool recompute);

/* Bytes beside those, for these rows: what editors leave of LayerNorms' scales, scores and
 * patterns; of a pass that recomputes, also queries and pre-activations that they change. */
double psc_backward_edit_bytes(
    const psc_backward *backward, const psc_row *rows, int32_t n_rows, bool recompute);

/* Bytes beside both, for tensors that the pass completes only because a subscription or a copy
 * (nullable) selects them in these rows: whole scores, the logits' gradient, a head's own writes. */
double psc_backward_show_bytes(const psc_backward *backward, const psc_destinations *copies,
    const psc_row *rows, int32_t n_rows);

/* Bytes of psc_backward_bytes that the largest pass so far has left allocated. */
double psc_backward_held(const psc_backward *backward);
/* Frees them if they are more than `most`. */
void psc_backward_trim(psc_backward *backward, double most);

/* Before the forward pass, when all its editors are known: memory for it, and destinations for what
 * the pass reads. rows [n_rows] are the whole run's; logit_rows [n_logits] ascend. Both are
 * borrowed until psc_backward_run returns. recompute: q and the MLP's pre-activations are computed
 * again from the residual, with the same bits; only layers where editors change them, or what is
 * before, keep them. */
psc_status psc_backward_begin(psc_backward *backward, psc_destinations *kept, const psc_row *rows,
    int32_t n_rows, const int32_t *logit_rows, int32_t n_logits, bool recompute, psc_error *error);

/* After a forward pass without editors: frees the queries and pre-activations that it kept. From
 * here on psc_backward_run computes them again. */
psc_status psc_backward_forget(psc_backward *backward, psc_error *error);

/* After the forward pass: the logits [V] of logit_rows[slot]; psc_backward_run overwrites them. */
float *psc_backward_logits(psc_backward *backward, int32_t slot);
/* After psc_backward_run: the value of each term [n], without its weight, until the next run. */
const double *psc_backward_values(const psc_backward *backward);

/* Sets *value to the sum of the terms [n] and shows its gradient at every point that a subscription
 * or a destination (copies, nullable) selects, from the logits to the embedding. stop as in
 * psc_pass. */
psc_status psc_backward_run(psc_backward *backward, double *value, const psc_metric_part *terms,
    int32_t n, const psc_destinations *copies, int (*stop)(void *payload), void *payload,
    psc_error *error);

#endif
