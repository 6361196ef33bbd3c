/* The plugin `treebank`: its state, the sentence at hand, and the parts that its files share.
 * Private to analysis/treebank/ and tests/; built on psc_plugin.h alone.
 * Threads: called on the callbacks' thread.
 * Ownership: the host owns everything; results of sentences live with the instance. */
#ifndef TREEBANK_H
#define TREEBANK_H

#include "agreement.h"
#include "cuts.h"
#include "links.h"
#include "reads.h"
#include "units.h"

#include <math.h>

/* Sentences of the tables: content units. */
enum { TREEBANK_LEAST = 3, TREEBANK_MOST = 40 };
/* Short sentences, of which the first TREEBANK_SHORT are taken: rows with BOS. */
enum { TREEBANK_ROWS_LEAST = 8, TREEBANK_ROWS_MOST = 40, TREEBANK_SHORT = 200 };

/* `what`, in the order of the option's words. */
enum {
    TREEBANK_SPANS = 1,
    TREEBANK_WORDS = 2,
    TREEBANK_SHARED = 4,
    TREEBANK_REVISION = 8,
    TREEBANK_WINDOWS = 16,
    TREEBANK_HEADS = 32,
    TREEBANK_LINKS = 64,
    TREEBANK_COMPARISONS = 128,
    TREEBANK_ALL = 255
};

/* Trees that know nothing of the model, over content units; the last also knows the punctuation. */
typedef enum treebank_baseline {
    BASELINE_LEFT,
    BASELINE_RIGHT,
    BASELINE_BALANCED,
    BASELINE_RANDOM,
    BASELINE_PUNCTUATION,
    N_BASELINES
} treebank_baseline;

/* Trees of each level: over tokens with power 1/2, with power 1, over plain attention with power
 * 1/2; over units, without the tokens of none, with power 1/2. */
typedef enum treebank_variant {
    VARIANT_READS,
    VARIANT_CAUTIOUS,
    VARIANT_PLAIN,
    VARIANT_WORDS,
    N_VARIANTS
} treebank_variant;

/* What remains of one sentence. Spans are of content units, unique, without the whole. */
typedef struct treebank_result {
    int32_t n_content, n_gold;
    psc_span *gold;
    int32_t *n_found; /* [systems] */
    psc_span **found; /* [systems] */
} treebank_result;

/* The sentence at hand; it lives with the run. */
typedef struct treebank_case {
    int32_t sequence;    /* of the reads */
    const psc_row *rows; /* [n_tokens + 1], BOS first */
    int32_t n_tokens;
    const psc_sentence *sentence;
    int32_t n_units, n_content;
    psc_word_unit *units; /* their rows are tokens, from 0 after BOS */
    int32_t *of_word;     /* [words] each word's unit; -1: no token */
    int32_t *of_token;    /* [tokens] each token's unit; -1: a token between words */
    int32_t *content;     /* [units + 1] content units before a unit */
} treebank_case;

/* Sums over sentences of one part; hit / n is a rate. */
typedef struct treebank_rate {
    double hit, n;
} treebank_rate;

/* Sums over gold spans: how often two heads are the same unit. need: necessity's head; ud: UD's. */
typedef struct treebank_heads {
    int32_t n_sentences;
    double n, agree, need_last, ud_need, ud_enough, ud_last, ud_longest, chance;
    double *need_reads, *ud_reads; /* [levels] */
} treebank_heads;

typedef struct treebank_pair {
    double kl, frozen;
    int32_t distance, edge;
} treebank_pair;

typedef struct treebank_links {
    int32_t n_sentences;
    int64_t n;
    treebank_pair *pairs;
} treebank_links;

/* Handles of retained tensors, and scratch. */
enum { TREEBANK_SIMILAR = 2 };
typedef struct treebank_comparisons {
    int pattern, residual;
    psc_divergence predictions;
    double *distance;                  /* [tokens] before each token */
    double *mean, *log, *p, *q;        /* [vocabulary or keys] */
    double *sum;                       /* [N] */
    double *similar_ud, *similar_need; /* [layers, TREEBANK_SIMILAR] spans; they live on */
} treebank_comparisons;

typedef struct treebank_state {
    psc_context *context;
    const psc_host *host;
    const char *levels_text, *chosen_text;
    uint32_t what;
    int32_t plain, limit, draws, seed, memory;
    psc_levels levels;
    int32_t chosen; /* level; -1: none was given */
    psc_reads reads, plain_reads;
    psc_reads patterns; /* of each layer, for comparisons */
    int32_t n_systems;  /* trees: baselines, variants of levels, comparisons */
    int32_t first_comparison;
    uint64_t random, window_random; /* generators of random trees: of sentences, of windows */
    int counter;                    /* accumulator: sequences */
    /* sentences so far */
    double n_sequences;       /* as the accumulator has it */
    treebank_result *results; /* [n] of capacity */
    int32_t n, capacity;
    int32_t n_seen, n_outside; /* sentences; those with too few or too many content units */
    int32_t n_short;           /* sentences of TREEBANK_ROWS_LEAST..TREEBANK_ROWS_MOST rows */
    int64_t n_tokens;          /* of the results */
    /* scratch of the run, as long as its longest sequence */
    psc_bracket **trees; /* [levels] of the sentence at hand: reads, power 1/2 */
    psc_bracket *tree;   /* one more */
    psc_span *spans;     /* gold, then one tree's */
    int32_t *at;         /* at[t] = t + 1 */
    int32_t *marks;
    double *row, *sums;   /* of trees over units: a row of reads, prefix sums */
    int32_t *unit_at;     /* [units + 1] where a unit begins among the tokens of units */
    double *half, *whole; /* weights of powers 1/2 and 1 */
    /* the parts' sums */
    treebank_rate *words, *pair_words, *pairs; /* [levels + 1]; the last: a random tree, expected */
    treebank_rate *shared;                     /* [levels, levels] */
    treebank_rate *revised, *lag;              /* [levels] */
    treebank_rate *crossing; /* [levels + 2]; the last two: a random tree, right-branching */
    int32_t n_windows;
    int32_t causal; /* this run computes knock-outs */
    psc_knockouts knockouts;
    treebank_heads heads;
    treebank_links links;
    psc_frozen_links frozen;
    treebank_comparisons comparisons;
} treebank_state;

static inline int treebank_system(int32_t level, treebank_variant variant) {
    return N_BASELINES + level * N_VARIANTS + (int)variant;
}

/* --- one sentence (treebank_sentence.c) ------------------------------------------------------ */

/* Fills the case of one sequence; rows, sentence and sequence are set. */
int treebank_case_make(treebank_state *s, treebank_case *c);
/* The yields of words that make gold spans, in the order of the words: out [words], and the words.
 * Several words may have the same. Returns how many. scratch: [4 words]. */
int32_t treebank_yields(const treebank_case *c, psc_span *out, int32_t *words, int32_t *scratch);
/* Gold spans: yields of words that are contiguous among the content units, of two or more, without
 * the whole. out [words]; returns how many. scratch: [4 words]. */
int32_t treebank_gold(const treebank_case *c, psc_span *out, int32_t *scratch);
/* Brackets of tokens as spans of content units: those that hold at least two whole content units
 * and no part of another. out [tokens]; unique, without the whole; returns how many. */
int32_t treebank_project(
    const treebank_case *c, int32_t n, const psc_bracket *brackets, psc_span *out);
/* The same in place. */
int32_t treebank_project_spans(const treebank_case *c, int32_t n, psc_span *spans);
/* Splits 0..n-1 top down, each range of two or more after split(begin, end). out [n]: the ranges
 * below the whole, in any order; returns how many. */
typedef int32_t (*treebank_split_fn)(int32_t begin, int32_t end, void *payload);
int32_t treebank_split(int32_t n, treebank_split_fn split, void *payload, psc_span *out);
/* A tree that knows nothing of the model, over at most TREEBANK_MOST content units.
 * out [2 content units]; as above. */
int32_t treebank_baseline_spans(
    const treebank_case *c, treebank_baseline kind, uint64_t *seed, psc_span *out);

/* The tree of one level over tokens 0..n-1, power 1/2. out [n - 1]. */
void treebank_tree(treebank_state *s, int32_t sequence, int32_t level, int32_t n, psc_bracket *out);
/* The tree of one level over units, power 1/2, in s->tree as brackets of tokens; returns how many.
 * Tokens that belong to no unit are in no sum and no count. */
int32_t treebank_unit_tree(treebank_state *s, const treebank_case *c, int32_t level);

/* --- the parts, one file each ----------------------------------------------------------------
 * add: one more sentence; s->trees has its trees. report: arrays, values and summary. */
int treebank_spans_add(treebank_state *s, const treebank_case *c);
int treebank_spans_report(treebank_state *s);
void treebank_words_add(treebank_state *s, const treebank_case *c);
void treebank_pairs_add(treebank_state *s, const treebank_case *c);
int treebank_words_report(treebank_state *s);
void treebank_shared_add(treebank_state *s, const treebank_case *c);
int treebank_shared_report(treebank_state *s);
void treebank_revision_add(treebank_state *s, const treebank_case *c);
int treebank_revision_report(treebank_state *s);
/* A sequence of several sentences: rows [n], BOS first. */
void treebank_windows_add(treebank_state *s, int32_t sequence, const psc_row *rows, int32_t n);
int treebank_windows_report(treebank_state *s);
int treebank_heads_wants(const treebank_state *s, const treebank_case *c);
int treebank_heads_done(const treebank_state *s);
int treebank_heads_add(treebank_state *s, const treebank_case *c);
int treebank_heads_report(treebank_state *s);
int treebank_links_open(treebank_state *s);
int treebank_links_wants(const treebank_state *s, const treebank_case *c);
int treebank_links_done(const treebank_state *s);
int treebank_links_add(treebank_state *s, const treebank_case *c);
int treebank_links_report(treebank_state *s);
/* Trees of the literature: in run_begin; before a sentence's; the spans of tree i, or -1. */
int treebank_comparisons_make(treebank_state *s); /* in open */
int32_t treebank_comparisons_count(const treebank_state *s);
void treebank_comparisons_name(const treebank_state *s, int32_t i, char *out, size_t size);
int treebank_comparisons_begin(treebank_state *s, int32_t longest);
int treebank_comparisons_open(treebank_state *s, const treebank_case *c);
int32_t treebank_comparisons_spans(
    treebank_state *s, const treebank_case *c, int32_t i, psc_span *out);
/* One gold span, in units, with the heads to compare with. */
int treebank_similar_add(treebank_state *s, const treebank_case *c, int32_t begin, int32_t end,
    int32_t ud, int32_t need);
int treebank_similar_report(treebank_state *s);

/* hit / n; NaN without any. */
static inline double treebank_share(const treebank_rate *r) {
    return r->n > 0.0 ? r->hit / r->n : (double)NAN;
}

#endif
