/* The inside of the plugin `circuit`: edges between components, scored, chosen and tested.
 * Private to analysis/circuit/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread.
 * Ownership: memory of the run (run_alloc), except for the source run's writes (life_alloc). */
#ifndef CIRCUIT_H
#define CIRCUIT_H

#include "common.h"
#include "growing.h"

typedef enum circuit_metric { CIRCUIT_LOGIT, CIRCUIT_LOG_PROB, CIRCUIT_KL } circuit_metric;
typedef enum circuit_scores {
    SCORES_AUTO,
    SCORES_NONE,
    SCORES_GIVEN,
    SCORES_EXACT,
    SCORES_EAP,
    SCORES_EAP_IG,
    SCORES_EAP_IG_ACTIVATIONS
} circuit_scores;
typedef enum circuit_what {
    CIRCUIT_PATCH,
    CIRCUIT_ZERO,
    CIRCUIT_MEAN,
    CIRCUIT_SET_MEAN
} circuit_what;
typedef enum circuit_order { ORDER_SCORE, ORDER_GREEDY } circuit_order;

/* The writes of a run, and their memory, of the instance. */
typedef struct circuit_writes {
    psc_writes writes;
    const float **z, **mlp_out, **resid_pre, **resid_mid; /* [L], [L], [L + 1], [L] */
    float *embed;
    int64_t n; /* d_model */
    psc_kept memory;
} circuit_writes;

typedef struct circuit_scored {
    int64_t edge; /* number of psc_edges.h */
    double score; /* NaN: unknown */
} circuit_scored;

/* Edges in an order, the most important first. */
typedef struct circuit_list {
    int64_t n;
    circuit_scored *at; /* [n] */
    uint8_t *listed;    /* [edges] */
} circuit_list;

typedef struct circuit_state {
    psc_context *context;
    const psc_host *host;
    const psc_model_info *model;
    psc_edge_shape shape;
    const psc_reductions *reductions;
    int64_t n_edges;
    int32_t n_senders, n_receivers; /* with the logits */
    int32_t metric, what, scores, order, through, edges, minimal, check, steps, top, random, seed;
    double threshold;
    const char *file, *against, *path, *scored, *tensor, *means;
    const float *given; /* [receivers, senders] of scored= */

    /* of means=: each [L] of [N]; mean_embed [N], null without */
    const float **mean_z, **mean_mlp, *mean_embed;

    /* the source run; with do=zero and do=mean one row for all */
    circuit_writes source;
    double
        *sums; /* of do=mean: over rows of the source prompts, in the order of the writes' memory */
    int64_t summed_rows;
    int unfinished;      /* of a mean: the latest source run has failed */
    psc_kept eap;        /* memory of attributions */
    int32_t source_rows; /* 0: none is complete */
    int32_t *source_tokens;
    float *source_logits; /* [2, V] */

    /* this run */
    const psc_row *run_rows;
    int32_t n_rows, first_row; /* the first row whose token is another one's */
    int32_t *other_row;        /* [n_rows] the source's row that a row is aligned with; -1: none */
    psc_row_set rows;          /* the last row, or for `next` the one before it, or both */
    psc_target_rows targets;
    int32_t target, slot; /* the first target, and which of the rows it is at */
    circuit_writes own;
    float *base; /* [rows, V] */
    float *p;    /* [V] probabilities of that row */
    double base_lse, base_value, source_value;
    int apart;        /* source_value is of the run with all edges patched, not the source's own */
    double done, all; /* runs, for progress */

    /* the next call of the host (circuit_runs.c) */
    int32_t group;
    uint8_t *sets; /* [group, edges] */
    psc_edges *set_edges;
    psc_variant *variants;
    double *values; /* of the call's first variant */

    /* results */
    double *score;       /* [edges]; null: no scores */
    circuit_list ranked; /* all edges of the file, or all that the order reaches */
    int64_t n_kept;      /* the circuit: the first of them */
    uint8_t *connected;  /* [n_kept] on a path from the embedding to the logits */
    double *exact;       /* [n_kept] the effect of patching the edge alone; null: not computed */
    double *lost;        /* [n_kept] value without the edge minus value; null: not computed */
    double value, complement;               /* the metric of the circuit; of everything else */
    double path_value;                      /* the metric with the edges of path= patched */
    double shared_edges, shared_components; /* with the circuit of against=: |both| / |either| */
    int32_t n_sizes;
    int64_t sizes[48];
    double curve[4][48]; /* value; complement's value; least |lost|; mean value of random edges */
} circuit_state;

/* (value - source) / (base - source): 1 as this run, 0 as the source's; NaN if these are equal. */
double circuit_normalized(const circuit_state *s, double value);

/* --- circuit_names.c --- */
enum { CIRCUIT_NAME = 64 };
/* embed, L1H2, 5_mlp_out */
const char *circuit_sender(const circuit_state *s, int32_t sender, char out[CIRCUIT_NAME]);
/* L3H7.q, 5_mlp_out, logits */
const char *circuit_receiver(const circuit_state *s, int32_t receiver, char out[CIRCUIT_NAME]);
/* L3H7.q<-L1H2 */
const char *circuit_edge(const circuit_state *s, int64_t edge, char out[2 * CIRCUIT_NAME]);
/* An edge's ends. */
void circuit_ends(const circuit_state *s, int64_t edge, int32_t *sender, int32_t *receiver);
/* The component of a receiver, numbered as a sender; n_senders: the logits. */
int32_t circuit_component(const circuit_state *s, int32_t receiver);
/* Reads an edge, "L3H7.q<-L1H2" or "L1H2->L3H7.q", its names also as EAP writes them (a3.h7<q>,
 * m5, input). Returns -1 for a text that names none. */
int64_t circuit_parse(const circuit_state *s, const char *text);

/* For qsort of circuit_scored: the larger |score| first, ties and unknown scores by their edge. */
int circuit_by_score(const void *a, const void *b);

/* --- circuit_file.c --- */
/* An empty list for n edges. */
int circuit_make_list(circuit_state *s, int64_t n, circuit_list *out);
/* Reads a list of edges from a JSON file; fails with a sentence. */
int circuit_read(circuit_state *s, const char *path, circuit_list *out);
/* Reads edges joined by +. */
int circuit_read_path(circuit_state *s, const char *text, circuit_list *out);

/* --- circuit_writes.c --- */
int circuit_open_writes(circuit_state *s, circuit_writes *w);
/* In run_begin, when rows are known: keeps what the components of this run write. */
int circuit_observe(circuit_state *s, circuit_writes *w);
/* Bytes of the writes of n_rows rows. */
uint64_t circuit_writes_bytes(const circuit_state *s, int32_t n_rows);
/* Memory for the writes of n_rows rows. */
int circuit_place(circuit_state *s, circuit_writes *w, int32_t n_rows);

/* --- circuit_constant.c --- */
/* Adds the rows of a run to the sums of do=mean. */
int circuit_add_rows(circuit_state *s, const circuit_writes *w);
/* In open: reads the file of means=. */
int circuit_read_means(circuit_state *s);
/* Puts what do=zero or do=mean writes into s->source. */
int circuit_make_constant(circuit_state *s);

/* --- circuit_runs.c --- */
/* The metric of the logits of the target's row. */
double circuit_value(const circuit_state *s, const float *z, double lse);
/* Bytes of the edges of the runs of a call of the host, and of lists of all edges. */
uint64_t circuit_run_bytes(const circuit_state *s);
/* Marks the patched edges of set `index`; patched [edges] is zeroed. */
typedef void (*circuit_set_fn)(const void *payload, int64_t index, uint8_t *patched);
/* values [n]: the metric of runs whose patched edges `make` marks. */
int circuit_run(
    circuit_state *s, int64_t n, circuit_set_fn make, const void *payload, double *values);
/* The same with what patched edges carry, and its row for each row from first_row on; other_row
 * null: the same row. */
int circuit_run_with(circuit_state *s, const psc_writes *other, const int32_t *other_row, int64_t n,
    circuit_set_fn make, const void *payload, double *values);

/* --- circuit_scores.c --- */
/* Fills score. */
int circuit_score(circuit_state *s);
/* Fills exact, beside attributions of a circuit of at most check= edges. */
int circuit_check(circuit_state *s);

/* --- circuit_eap.c --- */
/* Bytes that attributions take. */
uint64_t circuit_eap_bytes(const circuit_state *s);
/* Takes them before the run, so that the host counts them. */
int circuit_take_eap(circuit_state *s);
/* Adds the edges' attributions to score, which is zeroed. */
int circuit_attribute(circuit_state *s);

/* --- circuit_choose.c --- */
/* Puts the edges in order by their scores and cuts the list. */
int circuit_choose(circuit_state *s);
/* Fills connected. */
int circuit_connect(circuit_state *s);
/* Fills shared_edges and shared_components, if against= is given. */
int circuit_overlap(circuit_state *s);

/* --- circuit_tests.c --- */
/* Runs the circuit, its complement, the curve, the circuit without each edge. */
int circuit_test(circuit_state *s);

/* --- circuit_path.c --- */
/* Runs with exactly the edges of path= patched, or the paths through MLPs. */
int circuit_test_path(circuit_state *s);

/* --- circuit_report.c, circuit_write.c --- */
int circuit_arrays(circuit_state *s);
int circuit_summary(circuit_state *s);
int circuit_write(circuit_state *s);

#endif
