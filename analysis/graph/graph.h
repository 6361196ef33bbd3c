/* The inside of the plugin `graph`: the frozen-linear network of one target at one row.
 * Private to analysis/graph/ and test_graph.c; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; heads and rows side by side.
 * Ownership: memory of the run (run_alloc). */
#ifndef GRAPH_H
#define GRAPH_H

#include "common.h"
#include "gate.h"
#include "growing.h"
#include "top.h"
#include "writers.h"

typedef enum graph_kind {
    NODE_LOGIT,
    NODE_EMBED,
    NODE_HEAD,
    NODE_ATTN_BIAS,
    NODE_MLP,       /* level head: l_mlp_out, with b_out */
    NODE_NEURON,    /* level neuron */
    NODE_MLP_BIAS,  /* level neuron: b_out; of a transcoder b_dec */
    NODE_LATENT,    /* of a transcoder; index: the latent */
    NODE_MLP_ERROR, /* what the transcoder leaves of l_mlp_out */
    NODE_MLP_SKIP,  /* the transcoder's linear path */
    NODE_KINDS
} graph_kind;

typedef struct graph_node {
    graph_kind kind;
    int32_t layer, index, row; /* index: head or neuron; layer -1: logit and embed */
    double flow;               /* what it gives to the logit over all frozen paths */
    double bias;               /* inflow without a source */
    double in, out;            /* links among kept nodes */
    double error;              /* |in of all sources + bias - flow| / (1 + sum |in|) */
    int32_t most_read;         /* a head: the row of its largest |inflow|; -1: none */
} graph_node;

typedef struct graph_link {
    int32_t source, target; /* nodes */
    double weight;
} graph_link;

/* Why a head looks at the row that it reads most: the score's largest shares. A writer is numbered
 * as in writers.h, -1 is the whole side. */
enum { TRACED = 8 };
typedef enum graph_side { SIDE_QUERY, SIDE_KEY, SIDE_PAIR, SIDES } graph_side;
typedef struct graph_score {
    int32_t query, key; /* writers at the head's own row; at the row that it reads */
    double share;       /* of rot(q) . rot(k)/sqrt(D), before the softmax */
} graph_score;
typedef struct graph_trace {
    int32_t n[SIDES];
    graph_score scores[SIDES][TRACED]; /* the largest |share| first */
} graph_trace;

/* The retained tensors. */
typedef enum graph_tensor {
    KEPT_EMBED,
    KEPT_PRE,
    KEPT_MID, /* sequential models */
    KEPT_Z,
    KEPT_PATTERN,
    KEPT_MLP_PRE,
    KEPT_MLP_OUT,
    KEPT_SCALE1,
    KEPT_SCALE2,
    KEPT_NORMAL2, /* of layers with a transcoder */
    KEPT_COUNT
} graph_tensor;

/* The latents of a row that are not 0, ascending. */
typedef struct graph_active {
    int32_t n;
    const int32_t *ids;
    const float *values;
} graph_active;
typedef struct graph_transcoder graph_transcoder; /* graph_latents.c */

typedef struct graph_state {
    psc_context *context;
    const psc_host *host;
    const psc_model_info *model;
    psc_filter choice;
    int32_t neurons, most; /* level neuron; nodes kept at most */
    double threshold;
    const char *sae;                /* folders of transcoders, joined by + */
    graph_transcoder **transcoders; /* [L] null: the MLP itself */

    /* a run; R = the target's row + 1 */
    const psc_row *rows;
    int32_t n_rows;      /* R */
    int64_t n, width, m; /* d_model, H*D, d_mlp */
    psc_row_set row;
    psc_target_rows targets;
    int handles[KEPT_COUNT];
    psc_view *kept; /* [KEPT_COUNT, L] retained tensors, from run_end on */
    float sigma;    /* of the final LN at the target's row */
    float logit[2]; /* the target's logits */
    double log_z;
    const float *u;  /* [N] */
    double constant; /* t_bar . beta_f */
    float *g, *mid;  /* gradients: [L + 1, R, N] at residuals, [L, R, N] at attention's write */
    float *o;        /* [L, R, H*D] W_O^T of the gradient */
    double *sources, *sources_abs;         /* [R] inflow without a source */
    double total, total_abs, completeness; /* sums over embeddings, sources, constant */
    graph_node *nodes;                     /* [most], the target first */
    psc_top_list ranked;                   /* |flow| of the others */
    int32_t n_nodes;
    int64_t n_candidates;  /* all nodes of this level */
    double candidate_flow; /* sum of |flow| over them */
    graph_link *links;
    int64_t n_links;
    graph_trace *traces; /* [nodes] */
} graph_state;

/* What a format gives a meaning to. */
typedef enum graph_quoting { QUOTE_NONE, QUOTE_XML, QUOTE_DOT } graph_quoting;

/* --- graph_nodes.c --- */
/* In run_end: a row of a retained tensor. */
const float *graph_kept(const graph_state *s, graph_tensor which, int32_t layer, int32_t row);
/* y = P(gamma x) * factor, in f64, rounded once; y may be x. */
void graph_center(int64_t n, const float *gamma, const float *x, double factor, float *y);
/* Adds a candidate. The graph keeps the `most` largest |flow| that reach the threshold. */
void graph_offer(
    graph_state *s, graph_kind kind, int32_t layer, int32_t index, int32_t row, double flow);

/* Adds an inflow without a source to a row. */
void graph_add_source(graph_state *s, int64_t row, double x);

/* --- graph_latents.c: transcoders in place of MLPs --- */
/* In open: reads the folders of sae=. */
int graph_latents_open(graph_state *s);
/* The layers that have a transcoder, ascending; returns how many. */
int graph_latents_layers(const graph_state *s, int32_t *layers);
/* In run_end: the latents of every row. */
int graph_latents_encode(graph_state *s);
/* Of a layer with a transcoder: offers its nodes, and d2 [R, N] from the gradient g [R, N]. */
int graph_latents_pull(graph_state *s, int32_t layer, const float *g, float *d2);
/* A latent or a skip as a reader: e [N] and the node's bias. */
int graph_latents_read(graph_state *s, graph_node *node, float *e);
/* The most latents of a transcoder; 0 without any. */
int64_t graph_latents_most(const graph_state *s);
/* The activation of a latent at a row. */
double graph_latents_value(const graph_state *s, int32_t layer, int32_t row, int32_t latent);
/* What a latent, b_dec, the skip or the error writes [N]; out [N] is memory for it. Null after an
 * error. */
const float *graph_latents_write(graph_state *s, const graph_node *node, float *out);

/* Pulls the target back through the network; offers every node (graph_backward.c). */
int graph_backward(graph_state *s);
/* Finds the links among the kept nodes, and each node's inflow (graph_links.c). */
int graph_make_links(graph_state *s);
/* Splits each kept head's score at the row that it reads most by the writers of both rows
 * (graph_trace.c). */
int graph_make_traces(graph_state *s);
/* A writer (writers.h) at a row, as a node without numbers. */
graph_node graph_writer_node(const graph_state *s, int32_t writer, int32_t row);
/* L3H7@10, embed@4, 2_mlp_out@9, logit@10 */
void graph_name(const graph_state *s, const graph_node *node, char *out, uint64_t size);
int graph_arrays(graph_state *s);
int graph_summary(graph_state *s);
/* Adds n bytes of any text: printable UTF-8 that XML allows, with what the format gives a meaning
 * to escaped. Other bytes become \x1b (graph_text.c). */
void graph_put(psc_growing *t, graph_quoting how, const char *text, size_t n);
/* A token's text without the quotes that people see around it. */
void graph_put_token(psc_growing *t, graph_quoting how, const graph_state *s, int32_t token);
/* graph.json (graph_json.c); graph.graphml, graph.dot, graph.txt (graph_write.c). */
void graph_json(const graph_state *s, psc_growing *t);
int graph_write(graph_state *s);

#endif
