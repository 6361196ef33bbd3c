/* What rows read of earlier positions, by level, as a run streams by: R, closure, prefix sums.
 * Private to analysis/ and tests/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; rows, heads and levels side by side. Readers are pure.
 * Ownership: tables live with the instance (life_alloc) and are reused by later runs.
 *
 *   R_kj = sum over the level's heads of A_kj |W_O,h v_j|, v with b_V; or of A_kj alone
 *
 * In an ordinary session a sequence's rows are kept over its runs, so a run may append rows
 * (generation). A sequence that was truncated continues where its first new row stands. */
#ifndef ANALYSIS_READS_H
#define ANALYSIS_READS_H

#include "cuts.h"
#include "levels.h"

/* One sequence of the run, in the run's order. Positions 0..n-1 are known. */
typedef struct psc_reads_sequence {
    int32_t sequence;      /* of the session */
    int32_t first, n;      /* this run has its positions first..n-1 */
    int32_t row;           /* psc_row.index of position `first` */
    const int32_t *tokens; /* [n] */
    int32_t slot;          /* private: its tables */
} psc_reads_sequence;

typedef struct psc_reads_slot { /* private: the tables of a sequence */
    int32_t sequence, held, capacity;
    int32_t *tokens;                /* [capacity] */
    double *norms;                  /* [layers of levels, H, capacity] |W_O,h v_j| */
    double *reads, *weights, *sums; /* [levels, triangle of capacity]; weights may be reads */
} psc_reads_slot;

typedef struct psc_reads {
    psc_context *context;
    const psc_host *host;
    const psc_model_info *model;
    psc_levels levels;
    int plain, closure; /* as given to open */
    uint64_t most_bytes, bytes;
    int32_t *layers; /* the layers of all levels, ascending */
    int32_t n_layers;
    int32_t *layer_place; /* [L] place among them, or -1 */
    int32_t *heads;       /* [levels, layers, H] heads that a level sums, ascending */
    int32_t *n_heads;     /* [levels, layers] */
    int32_t *first_layer; /* [levels] place of its first layer */
    double *gram;         /* [layers, H, D, D], from the first run on; null if plain */
    double *lanes;        /* [H, D, 16] */
    psc_reads_slot *slots;
    int32_t n_slots, slots_capacity;
    /* the run */
    int32_t n;                     /* sequences */
    psc_reads_sequence *sequences; /* [n] */
    int32_t *of_row;               /* [rows] which sequence */
} psc_reads;

/* In open. plain: sums A instead of R. closure: keeps sums of A, too. mebibytes: the most memory of
 * all tables, as in `memory=`; beyond it a run fails and names the bytes. */
int psc_reads_open(psc_reads *r, psc_context *context, const psc_host *host,
    const psc_levels *levels, int plain, int closure, int32_t mebibytes);
/* In run_begin: finds the sequences, makes room, subscribes. */
int psc_reads_begin(psc_reads *r);
/* In run_end of a run that succeeded: adds the prefix sums of the run's rows and keeps the rows. */
int psc_reads_end(psc_reads *r);

/* After psc_reads_end, until the next run; s is an index of r->sequences. */
/* R of keys 0..position, [position + 1]; key 0 is included. */
const double *psc_reads_row(const psc_reads *r, int32_t s, int32_t level, int32_t position);
/* The packed prefix sums of cuts.h. */
const double *psc_reads_sums(const psc_reads *r, int32_t s, int32_t level);
/* -mean_{h, k > t} A_k,t-1 over the sequence's rows so far: how little later rows read the piece
 * before t. 0 at the last row; NaN at t < 2, whose piece is position 0. Needs closure or plain. */
double psc_reads_closure(const psc_reads *r, int32_t s, int32_t level, int32_t t);

#endif
