/* The plugin `forms`: the word forms of a list, their pairs, and what its files share.
 * Private to analysis/forms/; includes kit/common.h.
 * Threads: the callbacks' thread; tables of pairs are filled in parallel_for, by pair.
 * Ownership: the list lives with the instance (over a corpus) or the run; the rest with the run. */
#ifndef ANALYSIS_FORMS_H
#define ANALYSIS_FORMS_H

#include "common.h"

enum {
    FORMS_BLOCK = 256,
    FORMS_MOST = 1 << 20,
    FORMS_PAIRS = 1 << 21,
    FORMS_GROUP = 4096,
    FORMS_THREADS = 1024
};

typedef struct forms_entry {
    const char *form, *group, *tag;
    double frequency;
    int32_t tokens; /* without BOS */
    int32_t group_id, tag_id;
} forms_entry;

/* A form and a mate: another form of its group. */
typedef struct forms_pair {
    int32_t form, mate;
    int32_t tags;   /* which pair of tags */
    int32_t tokens; /* the larger of the two numbers */
} forms_pair;

/* What a pair counts for: all pairs, both forms of one token, some of several, then by the larger
 * number of tokens. */
typedef enum forms_class {
    FORMS_ALL,
    FORMS_ONE,
    FORMS_SEVERAL,
    FORMS_TWO,
    FORMS_THREE,
    FORMS_MORE,
    FORMS_CLASSES
} forms_class;

/* One level's figures of a pair. */
typedef struct forms_figure {
    double cosine;          /* of form and mate */
    double control, closer; /* means over the draws; NaN without a control */
    double rank, moved;     /* of the mate: as it is, and with the tags' mean offset out */
} forms_figure;

typedef struct forms_state {
    psc_context *context;
    const psc_host *host;
    int32_t seed, draws, memory, top;
    int32_t n_levels, width; /* x0..xL; N */
    /* the list, which grows by run: blocks of FORMS_BLOCK entries */
    int32_t n, done; /* entries; those of the runs that succeeded */
    int32_t n_blocks, blocks_capacity;
    forms_entry **entries; /* [blocks][FORMS_BLOCK] */
    float **vectors;       /* [blocks][FORMS_BLOCK, levels, N] */
    uint64_t text_bytes;   /* of copied labels */
    int32_t *entry_of;     /* run: [rows] of a sequence's last row: its entry, else -1 */
    /* report */
    int32_t n_groups, n_tags, n_pairs, n_tag_pairs;
    int32_t *by_tag, *tag_begin; /* entries by (tag, index): [n]; [tags + 1] */
    forms_pair *pairs;           /* [pairs] by (pair of tags, form, mate) */
    int32_t *pair_begin;         /* [tag pairs + 1] */
    int32_t *control;            /* [pairs, draws] entries; -1: none matches */
    double *unit;                /* [n, N] one level's centered forms, divided by their lengths */
    double *length;              /* [n] those lengths */
    double *offset;              /* [tag pairs, N] the sum over their pairs of mate - form */
    forms_figure *figures;       /* [levels, pairs] */
} forms_state;

static inline forms_entry *forms_at(const forms_state *s, int32_t i) {
    return &s->entries[i / FORMS_BLOCK][i % FORMS_BLOCK];
}
static inline float *forms_vector(const forms_state *s, int32_t i, int32_t level) {
    return s->vectors[i / FORMS_BLOCK] +
           ((int64_t)(i % FORMS_BLOCK) * s->n_levels + level) * s->width;
}

/* Bytes of everything that n forms and the pairs found so far need. */
uint64_t forms_bytes(const forms_state *s, int32_t n);
/* Fails when they exceed memory=. */
int forms_check_memory(const forms_state *s, int32_t n);

/* In run_begin: one entry per sequence from the run's labels (forms_list.c). */
int forms_take_list(forms_state *s);

/* In report, in this order: pairs and controls (forms_pairs.c), figures (forms_figures.c), results
 * (forms_report.c). */
int forms_find_pairs(forms_state *s);
int forms_measure(forms_state *s);
int forms_write(forms_state *s);

#endif
