/* Heads and links of a run: what spans_effects.c, spans_heads*.c and spans_links.c share.
 * Private to analysis/spans/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread.
 * Ownership: a run's tables live with the run (run_alloc). */
#ifndef SPANS_EFFECTS_H
#define SPANS_EFFECTS_H

#include "heads.h"
#include "links.h"

struct spans_state;

typedef enum spans_head { HEAD_NONE, HEAD_READS, HEAD_CAUSAL, HEAD_RESIDUAL } spans_head;
enum { LINK_NONE = 1, LINK_FROZEN = 2, LINK_CAUSAL = 4 }; /* bits of links= */

/* Heads and links of a run. */
typedef struct spans_effects {
    /* options */
    int32_t heads;           /* spans_head */
    uint32_t links;          /* LINK_ bits */
    int32_t after, distance; /* rows after a span; units between two ends of a link; 0: all */
    const char *of_text;     /* of=: positions of one more span */
    /* a run */
    psc_knockouts knockouts; /* without causal options only its base */
    psc_frozen_links frozen;
    int resid;          /* retained: hook_resid_post of every layer, for heads=residual */
    double *necessity;  /* [units, units] of a run of one sequence, else of the sequence */
    int32_t of[2];      /* the units of of=, in sequence 0; -1: none */
    double *of_figures; /* [OF_COUNT, units of of=]; row OF_READS + level: reads */
    psc_head of_head;
    psc_head *found;     /* [levels, n_spans] of heads=causal */
    int32_t *head;       /* [levels, n_spans] the head, a unit of its sequence; -1: no row after */
    int32_t *by_reads;   /* the same by reads; null: heads=none or residual */
    double *figure;      /* [levels, n_spans] reads or cosine of the head */
    int64_t n_links;     /* of all sequences */
    int64_t *first_link; /* [n_sequences] */
    psc_link *link;      /* [n_links] */
} spans_effects;
enum { OF_NECESSITY, OF_SUFFICIENCY, OF_COSINE, OF_READS, OF_COUNT = OF_READS };

/* --- spans_heads.c, spans_heads_show.c, spans_links.c ------------------------------------------ */

/* In run_begin, and in run_end for every sequence; knock-outs only count while
 * effects.knockouts.counting is set. */
int spans_heads_begin(struct spans_state *s);
int spans_heads_find(struct spans_state *s, int32_t sequence);
int spans_heads_arrays(struct spans_state *s);
int spans_heads_summary(struct spans_state *s);
int spans_links_begin(struct spans_state *s);
int spans_links_find(struct spans_state *s, int32_t sequence);
int spans_links_arrays(struct spans_state *s);
int spans_links_summary(struct spans_state *s);
/* What rows after unit `end` read of unit `unit` at a level. */
double spans_reads_after(
    const struct spans_state *s, int32_t sequence, int32_t level, int32_t end, int32_t unit);

#endif
