/* A set of pairs as it is kept, and the names of its rows.
 * Private to runtime/pairs/ and tests/. Includes psc_pairs.h and arena.h.
 * Threads: read-only once it is read.
 * Ownership: the set owns everything in its arena; lists of entries and names are malloc'ed. */
#ifndef PAIRS_H
#define PAIRS_H

#include "arena.h"
#include "psc_pairs.h"

/* A named stretch of tokens of both prompts. */
typedef struct psc_pair_span {
    int32_t name;           /* index into psc_pairs.spans */
    int32_t clean, corrupt; /* the first position in each; corrupt -1: no such prompt */
    int32_t n;              /* tokens */
} psc_pair_span;

typedef struct psc_pair_entry {
    psc_token *clean, *corrupt; /* [n_clean], [n_corrupt]; without text positions */
    int32_t n_clean, n_corrupt;
    int32_t a, b;
    int32_t *source; /* [n_clean] */
    psc_pair_span *spans;
    int32_t n_spans;
    int32_t group; /* index into psc_pairs.groups; -1: none */
    const char *id;
    int64_t line;
} psc_pair_entry;

/* A name that pairs share. */
typedef struct psc_pair_name {
    const char *text;
    int32_t most;  /* of a span: its tokens where it is longest */
    int32_t place; /* of a span: that of its first token among the rows */
} psc_pair_name;

struct psc_pairs {
    const psc_model *model;
    const char *name;
    psc_pairs_options options;
    psc_pair_entry *entries;
    psc_pair_name *spans, *groups;
    int32_t n, n_spans, n_groups;
    int32_t longest;       /* of all prompts */
    int32_t longest_clean; /* of the clean ones */
    int64_t n_tokens;
    psc_arena own;
};

/* --- pairs_read.c ---------------------------------------------------------------------------- */
/* PSC_ERROR_INPUT with "FILE:17: " in front of the sentence. */
psc_status psc_pairs_fail(const psc_pairs *pairs, int64_t line, psc_error *error,
    const char *format, ...) PSC_PRINTF(4, 5);

/* --- pairs_parts.c: the parts of a line ------------------------------------------------------ */
typedef struct json_t json_t;
/* Fills the entry from a line's object; its spans are not aligned yet. */
psc_status psc_pairs_take(
    psc_pairs *pairs, psc_pair_entry *entry, const json_t *object, psc_error *error);

/* --- pairs_align.c --------------------------------------------------------------------------- */
/* Fills entry->source, or refuses a pair that cannot be aligned. */
psc_status psc_pairs_align(psc_pairs *pairs, psc_pair_entry *entry, psc_error *error);
/* Once all pairs are read: the number of rows' names in the set. */
int32_t psc_pairs_place_count(const psc_pairs *pairs);
/* The place of a position of pair i's clean prompt among the names; -1: it has none. */
int32_t psc_pairs_place(const psc_pairs *pairs, int32_t i, int32_t position);
/* The name of a place: "-1", "3", "subject[0]". */
void psc_pairs_place_name(char *out, size_t size, const psc_pairs *pairs, int32_t place);
/* "equal", "end", "start", "spans" */
const char *psc_align_name(int32_t align);

#endif
