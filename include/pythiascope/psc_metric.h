/* A metric: a scalar of the logits, whose gradient a run or a plugin requests.
 * Public. psc.h and psc_plugin.h include it. Includes nothing of ours.
 * Threads: plain structures.
 * Ownership: everything is borrowed for the call that takes it. */
#ifndef PSC_METRIC_H
#define PSC_METRIC_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A term of a metric, of the logits z of one row; nats. */
typedef enum psc_metric_kind {
    PSC_METRIC_LOGIT = 0, /* z[token] */
    PSC_METRIC_LOG_P = 1, /* z[token] - log sum exp z */
    PSC_METRIC_KL = 2     /* sum_t p_t (log p_t - log q_t), p = softmax(logits), q = softmax(z) */
} psc_metric_kind;

typedef struct psc_metric_term {
    uint32_t struct_size;
    int32_t kind;   /* psc_metric_kind */
    int32_t row;    /* psc_row.index */
    int32_t token;  /* of LOGIT and LOG_P: an id; -1: the session's target, as it is at this row */
    int32_t target; /* its number, from 0; -1: the sum over all of them. Of a contrast the term is
                            the difference */
    double weight;  /* finite */
    const float *logits; /* of KL: [d_vocab], finite: another run's. Borrowed for the run */
} psc_metric_term;
#define PSC_METRIC_TERM_INIT                                                                       \
    { sizeof(psc_metric_term), 0, 0, 0, 0, 1.0, 0 }

/* A scalar of the logits: m = sum of weight * term. A contrast is two terms of weights 1 and -1, a mean
 * over a set has weights 1/n. A run with a metric computes, after the forward pass, the gradient of m
 * with respect to every hook point (docs/gradients.md): nothing is frozen, and tokens that were in
 * the cache before the run are constant. Hooks whose filter has `gradient`, captures of NAME_grad and
 * copies with `gradient` receive it; sequences in one run have one metric together. The
 * gradient at an edited point is that of the edited value. It goes on through the editor's subscription
 * with PSC_GRADIENT_THROUGH, or unchanged without one, as if the edit added a constant.
 * The run's results have a section `metric` with the number `value`: m. */
typedef struct psc_metric {
    uint32_t struct_size;
    int32_t n_terms;              /* at least 1 */
    const psc_metric_term *terms; /* the first one's struct_size is the distance of all */
    double *value;                /* nullable: receives m */
    int32_t recompute; /* nonzero: queries and the MLP's pre-activations are computed again from the
                          residual, with the same bits: they take five sixths of what the run keeps,
                          or five sevenths in a sequential model, and 0.4 of a forward pass. Layers
                          where an editor changes them, or their LayerNorm, keep them. 0: only where
                          retained_cap is too small otherwise */
} psc_metric;
#define PSC_METRIC_INIT                                                                            \
    { sizeof(psc_metric), 0, 0, 0, 0 }

#ifdef __cplusplus
}
#endif
#endif
