/* The inside of attention's part over documents: the windows where a head's attention is largest, a
 * sample of all windows, and HeadVis's folder of them.
 * Private to analysis/attention/ and tests/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; attention_contexts_take in the parallel part, a head each.
 * Ownership: a run's tables live with the run (run_alloc), the rest with the instance. */
#ifndef ATTENTION_CONTEXTS_H
#define ATTENTION_CONTEXTS_H

#include "moments.h"

enum {
    CONTEXTS_MOST = 64, /* of one head */
    HEADVIS_CONTEXTS =
        10,              /* its windows in the top bucket, unless `contexts` names another number */
    HEADVIS_BUCKETS = 5, /* by largest attention, of equal numbers of windows */
    HEADVIS_SAMPLES = 3, /* windows of every other bucket */
    HEADVIS_SAMPLED = 32,   /* windows of the sample that they come from */
    HEADVIS_RANKED = 1024,  /* windows of the sample that sets the buckets' limits */
    HEADVIS_KEYS = 8,       /* of a row */
    HEADVIS_UNIT = 10000,   /* weights are whole numbers of 1/10000 */
    HEADVIS_BINS = 50,      /* of the largest attention, 0 to 1 */
    HEADVIS_WINDOW = 65535, /* most tokens of a window: positions have 16 bits */
    HEADVIS_CHOSEN = CONTEXTS_MOST + (HEADVIS_BUCKETS - 1) * HEADVIS_SAMPLES
};
#define HEADVIS_LEAST 0.005f /* weights below it are left out */

/* Sums over rows of HeadVis's metrics, of windows of two rows or more. */
typedef enum headvis_sum {
    SUM_SELF,
    SUM_PREVIOUS,
    SUM_ENTROPY,
    SUM_DISTANCE,
    SUM_SQUARE, /* of the distance: its variance in a row + its mean there squared */
    SUM_INDUCTION,
    SUM_LARGEST, /* of windows: the largest attention */
    SUM_COUNT
} headvis_sum;

/* Their counts, the same for every head. */
typedef enum headvis_count {
    COUNT_ROWS,
    COUNT_LATER,   /* rows after position 0 */
    COUNT_REPEATS, /* rows whose token stands earlier in the window */
    COUNT_WINDOWS,
    COUNT_COUNT
} headvis_count;

/* A window of one head, as a record of the host's lists. With HeadVis's folder, tokens i32 [window]
 * and the kept weights of each row follow: keys u16, then weights u16 [window, HEADVIS_KEYS], in
 * ascending order of keys; weight 0: none. */
typedef struct head_window {
    int32_t n;        /* rows */
    int32_t row, key; /* of the largest A_kj over k, j > 0: the lowest row, then the lowest key */
    float largest;
} head_window;

/* The views of a record. */
typedef struct head_record {
    head_window *head;
    int32_t *tokens;
    uint16_t *keys, *weights;
} head_record;

typedef struct attention_contexts {
    psc_context *context;
    const psc_host *host;
    int64_t n_cells;
    int32_t n_vocab;
    /* options */
    int32_t kept, window; /* contexts of a head; most tokens of one */
    const char *dataset, *model;
    int32_t folder;        /* whether HeadVis's folder is made */
    uint64_t record_bytes; /* of a head_window and what follows it */

    int top, sample, ranked;              /* handles: lists of records */
    int sums, counts, histogram, longest; /* handles */

    /* a run */
    psc_sequences sequences;
    const psc_row *rows;
    int32_t n_rows;
    head_window *best; /* [cells, sequences] */
    uint16_t *keys;    /* [cells, rows, HEADVIS_KEYS] */
    uint16_t *weights;
    double *room; /* a sequence's partials */
} attention_contexts;

/* --- attention_contexts.c -------------------------------------------------------------------- */

/* In open, over documents: the accumulators, or a refusal. */
int attention_contexts_open(attention_contexts *c, int32_t memory);
int attention_contexts_begin(attention_contexts *c);
/* One row of a head, a [position + 1]. */
void attention_contexts_take(
    attention_contexts *c, int64_t cell, const psc_row *row, const float *a);
/* In run_end. stats [cells, rows, STAT_COUNT]. */
int attention_contexts_add(attention_contexts *c, const double *stats);
/* context_value, _document, _position, _key [layers, heads, contexts], _tokens [.., window]. */
int attention_contexts_report(attention_contexts *c);

/* --- attention_records.c --------------------------------------------------------------------- */

uint64_t attention_record_bytes(int32_t window);
head_record attention_record_at(const attention_contexts *c, void *bytes);
/* Fills a record with a sequence of the run: `first` is the index of its first row. */
void attention_record_fill(
    const attention_contexts *c, int64_t cell, int32_t first, const head_window *of, void *bytes);
/* Fails unless a record that may come from a state file is one that attention_record_fill makes. */
int attention_record_check(const attention_contexts *c, const head_record *record);
/* The HEADVIS_KEYS largest of a [n] from HEADVIS_LEAST up, as whole numbers of 1/HEADVIS_UNIT. */
void attention_record_keys(int32_t n, const float *a, uint16_t *keys, uint16_t *weights);

/* --- headvis.c, headvis_choice.c, headvis_head.c, headvis_text.c ----------------------------- */

/* A chosen window: its place in the lists, and in the corpus. */
typedef struct headvis_window {
    int32_t list, entry; /* 0: the sample, 1: the largest; the entry there */
    int32_t bucket;      /* 0 is the lowest */
    int32_t position;    /* of its first row */
    int64_t document;
} headvis_window;

/* What the files share. */
typedef struct headvis {
    const attention_contexts *c;
    int32_t n_layers, n_heads;
    int32_t n_ranked;
    float *ranked;       /* [windows, cells] largest attention in the sampled windows */
    psc_top *entries[2]; /* of one head: the sample's and the largest windows */
    char *records[2];    /* their records */
    int32_t n_entries[2];
    headvis_window *chosen; /* [HEADVIS_CHOSEN] of one head, lower buckets first */
    int32_t n_chosen;
    headvis_window *all; /* [n_all] places of all heads' windows, ascending, each once */
    int64_t n_all;
    double *sums;               /* [cells, SUM_COUNT] */
    double counts[COUNT_COUNT]; /* headvis_count */
    double longest;             /* rows of the longest window */
    int64_t *query, *key;       /* [V] weights of one head by token, zero between heads */
    char folder[160];           /* "headvis/NAME" */
} headvis;

/* In report: writes the folder's files. */
int headvis_write(const attention_contexts *c, int32_t n_layers, int32_t n_heads);
/* Reads one head's records and chooses its windows (headvis_choice.c). */
int headvis_choose(headvis *v, int64_t cell);
/* The place of a window among all that are kept (v->all); orders windows by their place. */
int64_t headvis_number(const headvis *v, const headvis_window *window);
int headvis_by_place(const void *a, const void *b);
/* heads/L{l}H{h}.json of the chosen windows (headvis_head.c). */
int headvis_head(headvis *v, int64_t cell);

#endif
