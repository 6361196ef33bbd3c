/* The plugin `words`: its state, the sequence at hand, and what its files share.
 * Private to analysis/words/; built on kit/reads.h, kit/top.h and kit/units.h.
 * Threads: the callbacks' thread.
 * Ownership: the host owns everything; a sequence's tables live with the run. */
#ifndef ANALYSIS_WORDS_H
#define ANALYSIS_WORDS_H

#include "reads.h"
#include "top.h"
#include "units.h"

/* What may be a bracket. */
typedef enum words_kind {
    WORDS_SEVERAL, /* words of two or more tokens */
    WORDS_TWO,     /* words of two tokens */
    WORDS_ACROSS,  /* adjacent tokens of two words */
    WORDS_KINDS
} words_kind;

/* Bins of -closure: 0, below 2^-24, then 256 per octave up to 1. */
enum { WORDS_OCTAVES = 24, WORDS_PER_OCTAVE = 256 };
enum { WORDS_BINS = 2 + WORDS_OCTAVES * WORDS_PER_OCTAVE };
/* Later rows that a listed pair of tokens has at least. */
enum { WORDS_LATER = 3, WORDS_TOP = 64 };

/* A sequence; position 0, BOS, is in no unit. A position is a row of `words`. With
 * words=letters only units of one word of letters stay content. */
typedef struct words_case {
    int32_t n; /* positions */
    psc_word_units words;
} words_case;

/* A pair (t-1, t) that behaves otherwise, with the tokens around it. */
typedef struct words_entry {
    double closure;
    const char *text; /* of the two tokens and their neighbors */
} words_entry;

typedef struct words_state {
    psc_context *context;
    const psc_host *host;
    const char *levels_text;
    int32_t letters, top, memory;
    psc_levels levels;
    psc_reads reads;
    /* totals, added up by accumulators over documents, else here for one run */
    int64_t n_counts;       /* [levels, kinds] brackets; [kinds]; sequences, tokens; bins */
    double *counts;         /* run: [counts] */
    double *chance;         /* run: [kinds] expected in a random tree */
    int counter, sum, list; /* accumulators; list: [levels, 2] */
    psc_top_list *lists;    /* run of an ordinary session: [levels, 2], by row index */
    /* scratch of the run, as long as its longest sequence */
    psc_bracket *tree;
    int32_t *at;
    double *weights;
    int32_t bos; /* the token at position 0; lists leave it out */
} words_state;

/* Places in counts. */
static inline int64_t words_hit(const words_state *s, int32_t level, words_kind kind) {
    (void)s;
    return (int64_t)level * WORDS_KINDS + (int64_t)kind;
}
static inline int64_t words_cases(const words_state *s, words_kind kind) {
    return (int64_t)s->levels.n * WORDS_KINDS + (int64_t)kind;
}
static inline int64_t words_sequences(const words_state *s) {
    return (int64_t)(s->levels.n + 1) * WORDS_KINDS; /* tokens stand behind */
}
/* Bins of a level; continuing: t is of t-1's word. */
static inline int64_t words_bins(const words_state *s, int32_t level, int continuing) {
    return words_sequences(s) + 2 + ((int64_t)level * 2 + continuing) * WORDS_BINS;
}

/* Units of sequence s of the reads: from the run's labels, or from the tokens' bytes. */
int words_case_make(words_state *s, int32_t sequence, words_case *out);
/* Only units of one word, all of whose bytes are letters, stay content. */
void words_keep_letters(const words_state *s, int32_t sequence, words_case *c);
/* In run_end: adds one sequence to counts, chance and lists. */
int words_add(words_state *s, int32_t sequence, const words_case *c);
/* In report. */
int words_report_all(words_state *s);

#endif
