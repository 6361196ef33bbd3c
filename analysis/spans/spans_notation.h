/* The structure of one sequence as plain data, and its two notations: aligned text and XML. It does
 * not depend on how trees, heads and links were computed.
 * Private to analysis/spans/ and tests/; built on psc_plugin.h alone.
 * Threads: pure functions; the callbacks' thread where a context is given.
 * Ownership: the caller owns the structures; what is allocated lives with the run (run_alloc). */
#ifndef SPANS_NOTATION_H
#define SPANS_NOTATION_H

#include "cuts.h"
#include "growing.h"

typedef struct spans_token {
    const char *shown; /* as host->token_text shows it, without quotes */
    const char *bytes; /* [n] its own; null if it has no text */
    uint64_t n;
    int32_t id;
} spans_token;

/* What linguists call a span; texts are null where there is none. */
typedef struct spans_label {
    const char *label, *function, *operators;
} spans_label;

typedef struct spans_shown_level {
    const char *name;            /* "2", "1+2", "L2H5" */
    const char *of;              /* its parts in full: "L2", "L1+L2", "L2H5" */
    const psc_bracket *brackets; /* [n_spans] in pre-order; bracket 0 is the whole */
    const int32_t *heads;        /* [n_spans] a unit, or -1; null: no heads */
    const char *heads_by;        /* "reads", "causal", "residual"; null: no heads */
    const spans_label *labels;   /* [n_spans]; null: no labels */
} spans_shown_level;

typedef struct spans_shown_link {
    int32_t from, to; /* units; what `to` reads of `from` */
    double kl;        /* nats */
    double dlogp;     /* of the token after `to`; NaN: there is none */
} spans_shown_link;

typedef struct spans_shown_links {
    const char *by; /* "causal", "frozen" */
    int32_t n;
    const spans_shown_link *links; /* [n] */
} spans_shown_links;

typedef struct spans_notation {
    const char *units; /* "tokens", "words" */
    const char *reads; /* "norm", "weight" */
    double power;
    int32_t n_units;
    const int32_t *begin;      /* [n_units + 1] unit u has the positions begin[u]..begin[u+1]-1 */
    const spans_token *tokens; /* of positions begin[0]..begin[n_units]-1 */
    int32_t n_spans;           /* n_units - 1; 0 without units */
    int32_t n_levels;
    const spans_shown_level *levels; /* [n_levels] */
    int32_t n_links;
    const spans_shown_links *links; /* [n_links] */
} spans_notation;

/* --- spans_text.c ---------------------------------------------------------------------------- */

/* The widest lines of the summary: a terminal of 80 columns without the indent. */
enum { SPANS_WIDTH = 78 };
/* Writes lines of at most `width` columns (if a single token allows it): blocks of columns, one
 * column per token, with a line for positions, tokens and each level; blocks have an empty line
 * between them. Then up to `top` links of each kind, the largest first, and labels of each level.
 * Of more than most_tokens tokens it shows only the first; 0: all. */
void spans_write_text(psc_growing *out, const spans_notation *notation, int32_t most_tokens,
    int32_t width, int32_t top);

/* --- spans_xml.c ----------------------------------------------------------------------------- */

/* Writes the sequences [n] as one XML 1.0 document in UTF-8 that docs/structure.rng accepts. */
void spans_write_xml(psc_growing *out, const spans_notation *notations, int32_t n);

/* --- spans_labels.c -------------------------------------------------------------------------- */

/* Words of labelled sentences by the bytes that they and the words below them cover. */
typedef struct spans_yield {
    uint32_t start, end; /* in the text */
    const psc_sentence *sentence;
    int32_t word;
} spans_yield;

typedef struct spans_yields {
    int32_t n;
    const spans_yield *at; /* ascending by start, then end */
} spans_yields;

/* A sequence's words, to label its spans. */
typedef struct spans_marks {
    const char *text;
    const uint32_t *at;  /* [n + 1] where positions begin in the text */
    spans_yields yields; /* in the text */
} spans_marks;

/* What spans_show.c needs of the plugin's state. */
typedef struct spans_shown {
    const char *labels, *xml; /* labels=, xml=; "": none */
    spans_marks *marks;       /* [sequences] of a run; null: no labels */
} spans_shown;

/* Finds consecutive sentences of a file that make the text [bytes], with blanks between them.
 * *out [*n] are copies with their starts in the text. open_end: the text may continue after the
 * last sentence. Fails with a sentence that names the place where the text continues otherwise. */
int spans_align(psc_context *context, const psc_host *host, const char *path,
    const psc_sentence *file, int32_t n_file, const char *text, uint64_t bytes, int open_end,
    const psc_sentence **out, int32_t *n);
/* All contiguous yields of two or more words. */
int spans_find_yields(psc_context *context, const psc_host *host, const psc_sentence *sentences,
    int32_t n, spans_yields *out);
/* The label of the text's bytes start..end-1, blanks around them left out: UPOS and DEPREL of the
 * word whose yield they are, and its operators (docs/plugins/spans.md). Without such a word *out
 * has nulls. */
int spans_find_label(psc_context *context, const psc_host *host, const spans_yields *yields,
    const char *text, uint32_t start, uint32_t end, spans_label *out);

#endif
