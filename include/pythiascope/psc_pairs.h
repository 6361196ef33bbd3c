/* Sets of pairs: prompts with a target, and perhaps a second prompt each, analyzed as one.
 * Public. Includes psc.h only.
 * Threads: a set may be read from several threads at once; a session belongs to one at a time.
 * Ownership: opens by ** and closes by **; the model must outlive it; views belong to the set. */
#ifndef PSC_PAIRS_H
#define PSC_PAIRS_H

#include "psc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A set is JSON lines, an object each (docs/pairs.md):
 *
 *   {"clean": P, "corrupt": P, "target": T, "contrast": T, "id": S, "group": S, "spans": {NAME: SPAN}}
 *
 *   P     a text, or a list of token ids
 *   T     a text of exactly one token, or a token id
 *   SPAN  [first, last], positions in both prompts, both included and without a beginning token that
 *         the caller asks for; or {"clean": [first, last], "corrupt": [first, last]}
 *
 * clean and target are required. Either every pair has a corrupt prompt or none has. Blank lines do
 * not count; other keys are refused. An id is unique; without one it is the number of the line. */
typedef struct psc_pairs psc_pairs;

/* What the tokens of a pair's two prompts have to do with each other, and how rows are named. */
typedef enum psc_align {
    PSC_ALIGN_EQUAL = 0, /* the prompts have equally many tokens; rows: ..., -2, -1 from the end */
    PSC_ALIGN_END = 1,   /* token i from the end with token i from the end; rows likewise */
    PSC_ALIGN_START = 2, /* token i with token i; rows: 0, 1, ... */
    PSC_ALIGN_SPANS = 3  /* the tokens of equal spans, and the last one; rows: NAME[0], NAME[1], ...
                            by the names' first occurrence, and -1. Other rows have no name */
} psc_align;

typedef struct psc_pairs_options {
    uint32_t struct_size;
    int32_t align; /* psc_align */
    int32_t bos;   /* nonzero: psc_model_bos in front of each prompt */
} psc_pairs_options;
#define PSC_PAIRS_OPTIONS_INIT                                                                     \
    { sizeof(psc_pairs_options), 0, 0 }

#define PSC_MOST_PAIRS 100000
#define PSC_MOST_PAIR_TOKENS (1 << 24) /* of all prompts */

/* Reads a set from its lines, text [bytes]; name is that of the file, for sentences; options may be
 * null. PSC_ERROR_INPUT for a line that cannot be used, which the sentence names as "NAME:17: ...",
 * and for a set without pairs. *out is null after an error. */
PSC_API psc_status psc_pairs_read(psc_pairs **out, const psc_model *model, const char *text,
    size_t bytes, const char *name, const psc_pairs_options *options, psc_error *error);
PSC_API void psc_pairs_close(psc_pairs **pairs); /* *pairs may be null and becomes null */

PSC_API int32_t psc_pairs_count(const psc_pairs *pairs);
/* The tokens of the longest prompt: what a session needs as its capacity. */
PSC_API int32_t psc_pairs_longest(const psc_pairs *pairs);
/* Nonzero: the pairs have corrupt prompts. */
PSC_API int32_t psc_pairs_have_source(const psc_pairs *pairs);

/* One pair; everything belongs to the set. */
typedef struct psc_pair {
    uint32_t struct_size;
    int32_t n_clean, n_corrupt; /* tokens; no corrupt prompt: 0 */
    const psc_token *clean, *corrupt;
    /* [n_clean] as in psc_example; null without a corrupt prompt */
    const int32_t *source_positions;
    int32_t a, b;           /* the target's id and the contrast's, -1: none */
    const char *id, *group; /* group: null for none */
    int64_t line;           /* from 1 */
} psc_pair;
#define PSC_PAIR_INIT                                                                              \
    { sizeof(psc_pair), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Pair i, from 0. PSC_ERROR_INPUT if there is none. */
PSC_API psc_status psc_pairs_at(psc_pair *out, const psc_pairs *pairs, int32_t i, psc_error *error);

typedef struct psc_pairs_run_options {
    uint32_t struct_size;
    int32_t draws;              /* of the bootstrap and the permutation; 0: 10,000; -1: neither */
    uint64_t seed;              /* of the draws */
    double level;               /* of the intervals, in (0, 1); 0: 0.95 */
    psc_progress_fn progress;   /* nullable; nonzero cancels */
    void *payload;              /* of progress and stop */
    int (*stop)(void *payload); /* as in psc_run_options */
    uint64_t most_bytes;        /* of the results' values per example; more is refused. 0: 4 GiB */
} psc_pairs_run_options;
#define PSC_PAIRS_RUN_OPTIONS_INIT                                                                 \
    { sizeof(psc_pairs_run_options), 0, 0, 0, 0, 0, 0, 0 }

/* Runs the plugins of a session over a set, as many pairs per pass as the session has sequences, and
 * puts the results of all pairs together: the caller closes *out with psc_results_close. options may
 * be null. The session's target `example` is each pair's own.
 *
 * For a plugin that asks for phases, the corrupt prompts are the source (PSC_PHASE_SOURCE, source 0),
 * then the clean prompts run unchanged and changed; for others the clean prompts run once.
 *
 * A plugin that asks for the whole set (psc_host.whole_set) sees all corrupt prompts before.
 *
 * An array [a, rows, b] of a plugin becomes [examples, a, rows, b]: rows are named by alignment, and
 * what an example does not have is NaN (integers: -1). Beside it are, of floats,
 *
 *   NAME.over_examples    [over_examples, a, rows, b]          over the examples that have a number
 *   NAME.by_group      [groups, over_examples, a, rows, b]  if pairs have groups
 *
 * over_examples: mean, se, low, high (BCa), low_percentile, high_percentile, p (sign flips), n. Bits
 * depend on neither the number of sequences nor threads; pairs in another order give the same values.
 * A plugin whose arrays have neither rows nor examples is run one pair at a time. Values of a run,
 * files and captures are left out; a section `pairs` says how it was done.
 *
 * PSC_ERROR_STATE in a callback and for a session over documents. The session is left empty. */
PSC_API psc_status psc_pairs_run(psc_results **out, psc_session *session, const psc_pairs *pairs,
    const psc_pairs_run_options *options, psc_error *error);

#ifdef __cplusplus
}
#endif
#endif
