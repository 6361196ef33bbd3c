/* The inside of the plugin `spans`: options, a run's trees, and what its files share.
 * Private to analysis/spans/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; trees of levels and sequences side by side.
 * Ownership: a run's tables live with the run (run_alloc), reads with the instance (life_alloc). */
#ifndef SPANS_H
#define SPANS_H

#include "reads.h"
#include "spans_effects.h"
#include "spans_notation.h"
#include "units.h"

typedef enum spans_unit { UNIT_TOKENS, UNIT_WORDS } spans_unit;
typedef enum spans_read { READ_NORM, READ_WEIGHT } spans_read;

/* Trees that stand beside each level's tree. The random one is an expectation, not a draw. */
typedef enum spans_prior {
    PRIOR_RIGHT,
    PRIOR_LEFT,
    PRIOR_BALANCED,
    PRIOR_RANDOM,
    PRIOR_COUNT
} spans_prior;
extern const char *const spans_prior_names[PRIOR_COUNT];

/* One sequence of the run, in the run's order: the same index as in reads.sequences. Units and
 * spans of all sequences follow each other, so a unit of the run is first_unit + its unit. */
typedef struct spans_sequence {
    psc_units units;                /* those inside range= */
    int32_t first_unit, first_span; /* of the run */
    int32_t n_spans;                /* units.n - 1; 0 without two units */
} spans_sequence;

/* Counts over the prefixes of all sequences. */
typedef enum spans_stood {
    STOOD_CLOSED, /* closed brackets of all prefixes */
    STOOD_STAND,  /* of them, those that the whole sequence has */
    STOOD_LAG,    /* the sum of the lags of the sequences' closed brackets */
    STOOD_ENDED,  /* their number */
    STOOD_COUNT
} spans_stood;

/* What is kept of a sequence until its next run, to tell what a run's new rows changed. */
typedef struct spans_past {
    int32_t sequence;      /* of the session */
    int32_t n, n_units;    /* positions; units of the trees */
    int32_t capacity;      /* in units */
    psc_bracket *brackets; /* [levels, capacity] the trees of the last run */
} spans_past;

typedef struct spans_state {
    psc_context *context;
    const psc_host *host;
    /* options */
    const char *levels_text;   /* levels= */
    int32_t unit, read;        /* spans_unit, spans_read */
    double power;              /* g */
    const char *range_text;    /* range= */
    int32_t prefixes, closure; /* yes: trees of every prefix; closure of every row */
    int32_t top, memory;       /* lines of a list; MiB of the tables */

    spans_effects effects;
    spans_shown shown; /* labels= and xml= */

    const psc_model_info *model;
    psc_levels levels;
    psc_reads reads;

    int32_t range_begin, range_end; /* positions of range=; an end of 0: all */

    /* a run; from run_begin on */
    const psc_row *rows;
    int32_t n_rows;
    int32_t n_sequences, n_units, n_spans; /* of all sequences */
    spans_sequence *sequences;             /* [n_sequences] */
    int32_t n_cut;                         /* words that range= cuts */
    int32_t n_short;                       /* sequences that end inside range= */
    int appended;                          /* a sequence began before this run */
    /* from run_end on */
    double *weights;       /* i^g */
    psc_bracket *brackets; /* [levels, n_spans] units of each sequence; parents too */
    int32_t *same;         /* [levels, n_spans, levels] the same bracket, a span of its sequence */
    double *shared;        /* [levels, levels] brackets that two levels share, without the whole */
    double *overlap;       /* [levels, PRIOR_COUNT] brackets shared with other trees */
    double *chance;        /* [n_sequences, levels] of them, expected of a random tree */
    double n_inner;        /* brackets of a level without the wholes */
    int32_t *first_seen;   /* [levels, n_spans] units of that prefix; -1: open; null: prefixes=no */
    double *stood;         /* [levels, STOOD_COUNT] */
    double *closed;        /* [levels, positions] closure; null: closure=no */

    /* over the runs of a session */
    spans_past *past;
    int32_t n_past, past_capacity;

    /* over documents */
    int handles[9]; /* accumulators */
} spans_state;

/* A level's tree of one sequence: [n_spans], in pre-order. */
static inline psc_bracket *spans_tree(const spans_state *s, int32_t level, int32_t sequence) {
    return s->brackets + (int64_t)level * s->n_spans + s->sequences[sequence].first_span;
}

/* The first and the last position of a sequence's unit. */
static inline int32_t spans_first(const spans_sequence *q, int32_t unit) {
    return q->units.begin[unit];
}
static inline int32_t spans_last(const spans_sequence *q, int32_t unit) {
    return q->units.begin[unit + 1] - 1;
}

/* --- spans_trees.c --------------------------------------------------------------------------- */

/* In run_begin: the units of every sequence. */
int spans_units(spans_state *s);
/* In run_end: the trees of every level, their overlap with each other and with other trees. */
int spans_make_trees(spans_state *s);

/* --- spans_prefixes.c ------------------------------------------------------------------------ */

/* In run_end: first_seen and stood, from the trees of every prefix. */
int spans_follow_prefixes(spans_state *s);

/* --- spans_arrays.c, spans_summary.c, spans_say.c: one run ------------------------------------ */

enum { SPANS_SHOWN = 64 }; /* tokens that the summary's notation shows; more are in spans.txt */

/* Whether the summary has the notation, with its links. Of a text that grows, while it fits. */
static inline int spans_shows_notation(const spans_state *s) {
    return s->n_sequences == 1 && (!s->appended || s->reads.sequences[0].n <= 1 + SPANS_SHOWN);
}

int spans_arrays(spans_state *s);
int spans_summary(spans_state *s);
enum { SPANS_TEXT = 128, SPANS_LONG = 60 };
/* A bracket's positions and text: [2,3] "old man". More than `most` <= SPANS_LONG bytes are cut. */
int spans_bracket_text(
    const spans_state *s, int32_t sequence, const psc_bracket *b, int most, char out[SPANS_TEXT]);
/* What a run and a corpus say: the prior of `power`; shares of n brackets of a level, overlap
 * [levels, PRIOR_COUNT] and shared [levels, levels]. */
int spans_say_overlaps(const spans_state *s, double n, const double *overlap, const double *shared);
/* The columns of the longest name of a level, at least `least` and at most 24. */
int spans_name_width(const spans_state *s, int least);
/* A unit's text: ' little'. It lives with the run. */
const char *spans_unit_text(const spans_state *s, int32_t sequence, int32_t unit);

/* --- spans_steps.c --------------------------------------------------------------------------- */

/* In report: what this run's rows closed and revised in sequences that began earlier. */
int spans_say_steps(const spans_state *s);
/* Then: keeps the trees for the next run. */
int spans_keep_trees(spans_state *s);

/* --- spans_corpus.c -------------------------------------------------------------------------- */

int spans_corpus_open(spans_state *s);
int spans_corpus_add(spans_state *s);
int spans_corpus_report(spans_state *s);

/* --- spans_effects.c: heads= and links= ------------------------------------------------------- */

int spans_effects_open(spans_state *s);
int spans_effects_begin(spans_state *s);
/* In run_end: everything and its arrays. In report: their part of the summary. */
int spans_effects_find(spans_state *s);
int spans_effects_summary(spans_state *s);

#endif
