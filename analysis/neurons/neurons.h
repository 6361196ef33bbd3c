/* The inside of the plugin `neurons`: the state of an instance and of a run.
 * Private to analysis/neurons/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; in the parallel parts each thread owns its neurons.
 * Ownership: the state lives with the instance (life_alloc), the rest with the run. */
#ifndef NEURONS_H
#define NEURONS_H

#include "common.h"
#include "moments.h"
#include "top.h"

enum { MOST_LISTED = 32, MOST_RANKED = 1000 };

typedef struct neuron_id {
    int32_t layer, neuron;
} neuron_id;

/* One layer's detectors and writers, as matrices over neurons k. */
typedef struct neuron_weights {
    double *detectors; /* [M, N] D_k = P(gamma2 * w_in,k) */
    double *offsets;   /* [M] c_k = b_k + w_in,k . beta2 */
    double *norms;     /* [M] |D_k| */
    float *columns;    /* [N, M] W_out */
    float *inputs;     /* [M, N] W_in */
} neuron_weights;

typedef struct neurons_state {
    psc_context *context;
    const psc_host *host;
    const psc_model_info *model;
    int32_t top, contexts, entropy, corpus;
    const char *named;        /* the option `neuron` as given */
    psc_range geometry;       /* layers */
    int32_t n_listed, chosen; /* chosen: the option names them */
    neuron_id listed[MOST_LISTED];

    /* over documents */
    int fires_handle, most_handle, tokens_handle, context_handle;
    psc_sequences sequences;
    psc_ranked *best; /* run: [sequences, L, M, contexts] a and its row */
    int32_t *n_best;  /* [sequences, L, M] */
    float *limits;    /* [sequences, L, M] smaller a enter no list */
    const psc_reductions *kernels;

    /* a run */
    int32_t *fires; /* [L, M] rows with a > 0 */
    double *most;   /* [L, M] max |g| */
    double tokens;
    int pre, post, out; /* handles: a and g of the last row, hook_mlp_out */
    psc_target_rows targets;
    psc_directions directions;
} neurons_state;

static inline int64_t neurons_all(const neurons_state *s) {
    return (int64_t)s->model->n_layers * s->model->d_mlp;
}

/* Make the buffers of a layer's matrices, and fill them (neurons_weights.c). */
int neurons_weights_make(neurons_state *s, neuron_weights *out);
int neurons_weights_load(neurons_state *s, int32_t layer, neuron_weights *out);
/* r_k [N] minus its mean; D_k [N]. */
void neurons_write(const neurons_state *s, const neuron_weights *w, int32_t neuron, double *out);
/* What excites the listed neurons and what they promote (neurons_listed.c). */
int neurons_listed(neurons_state *s);
/* rho and |P r| of all neurons, Var cos of the listed ones (neurons_entropy.c). */
int neurons_entropy(neurons_state *s);
/* Interference and coherence; in a run also bounds and the active span (neurons_geometry.c). */
int neurons_geometry(neurons_state *s);
/* Firing, dead and silent; contexts over documents (neurons_contexts.c). */
int neurons_contexts_open(neurons_state *s);
int neurons_contexts_begin(neurons_state *s);
int neurons_contexts_add(neurons_state *s);
int neurons_contexts_report(neurons_state *s);
int neurons_firing(neurons_state *s);
/* Prints the listed neurons' largest contexts, one sentence each. */
int neurons_contexts_summary(neurons_state *s);

#endif
