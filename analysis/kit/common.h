/* What the built-in plugins share: options, choice of rows, f64 sums in a fixed order, directions.
 * Private to analysis/; built on psc_plugin.h alone.
 * Threads: the sums are pure; the rest is called where a plugin's callbacks are.
 * Ownership: what is allocated here lives with the run (run_alloc); nothing is to be freed. */
#ifndef ANALYSIS_COMMON_H
#define ANALYSIS_COMMON_H

#include "psc_plugin.h"

#include <stddef.h>

/* The built-ins' entries. */
const psc_plugin *psc_builtin_logits(void);
const psc_plugin *psc_builtin_ln(void);
const psc_plugin *psc_builtin_lens(void);
const psc_plugin *psc_builtin_sampling(void);
const psc_plugin *psc_builtin_mlp(void);
const psc_plugin *psc_builtin_sweep(void);
const psc_plugin *psc_builtin_means(void);
const psc_plugin *psc_builtin_frozen(void);
const psc_plugin *psc_builtin_graph(void);
const psc_plugin *psc_builtin_edges(void);
const psc_plugin *psc_builtin_roles(void);
const psc_plugin *psc_builtin_neurons(void);
const psc_plugin *psc_builtin_attention(void);
const psc_plugin *psc_builtin_partition(void);
const psc_plugin *psc_builtin_weights(void);
const psc_plugin *psc_builtin_ablate(void);
const psc_plugin *psc_builtin_scale(void);
const psc_plugin *psc_builtin_steer(void);
const psc_plugin *psc_builtin_knockout(void);
const psc_plugin *psc_builtin_patch(void);
const psc_plugin *psc_builtin_effects(void);

/* --- sums ------------------------------------------------------------------------------------
 * Stripe i mod 16 in ascending order, then lanes +8, +4, +2, +1, in f64 without fused steps: the
 * same bits wherever they are computed. Arguments need no alignment and may alias. */
double psc_sum_striped(int64_t n, const float *x);
/* The lanes of a sum of one's own, s[i mod 16] for ascending i, put together; s is spoilt. */
double psc_fold16(double s[16]);
double psc_dot_striped(int64_t n, const float *a, const float *b);
/* sum (a - mean_a) (b - mean_b) */
double psc_dot_centred(int64_t n, const float *a, double mean_a, const float *b, double mean_b);
/* sum a b for f64 a */
double psc_dot_mixed(int64_t n, const double *a, const float *b);
/* The participation ratio (sum w)^2 / sum w^2 of w = |a b|; 0 when all w are 0. */
double psc_participation(int64_t n, const double *a, const float *b);
double psc_participation_product(int64_t n, const float *a, const float *b);

/* --- instances ------------------------------------------------------------------------------- */

/* The first lines of an `open`: an instance's zeroed memory in s and *out, with its options read and
 * its context and host. Nonzero after an error. */
#define PSC_OPEN_STATE(s, out, with_context, with_host)                                            \
    ((s) = *(out) = (with_host)->life_alloc((with_context), sizeof *(s)),                          \
        !(s) || (with_host)->options((with_context), (s)) ||                                       \
            ((s)->context = (with_context), (s)->host = (with_host), 0))

/* --- options --------------------------------------------------------------------------------- */

/* What a text option says: one position below end; positions A-B (both included) as begin..end-1. */
int psc_option_position(psc_context *context, const psc_host *host, const char *key,
    const char *value, int32_t end, int32_t *out);
int psc_option_positions(psc_context *context, const psc_host *host, const char *key,
    const char *value, int32_t *begin, int32_t *end);

/* Fails when the run has an editor at any point; what: "an edited run has no frozen map". In
 * run_end or run_begin. */
int psc_edits_refused(psc_context *context, const psc_host *host, const char *what);

/* A figure of a summary, "%*.*f" with the unit behind it; "n/a", as wide, where it is NaN. */
enum { PSC_FIGURE = 48 };
const char *psc_figure(
    char out[PSC_FIGURE], int width, int precision, double value, const char *unit);

/* --- rows ------------------------------------------------------------------------------------ */

/* The run's rows where they are one sequence from position 0 on; else null after failing with
 * "<who> one whole sequence". who: "a graph needs". */
const psc_row *psc_whole_sequence(
    psc_context *context, const psc_host *host, const char *who, int32_t *n);

/* The rows that an option chose, resolved for a run. */
typedef struct psc_row_set {
    psc_filter filter;    /* to subscribe with; may let rows through that slot says -1 to */
    int32_t n, n_all;     /* rows chosen; rows of the run */
    const int32_t *index; /* [n] psc_row.index of each, ascending */
    const int32_t *slot;  /* [n_all] by psc_row.index: its place among the chosen, or -1 */
    int32_t moved;        /* `last` was moved to the last but one row for the target `next` */
} psc_row_set;

/* A choice of rows as a user writes it: "all", "last", "3", "2-5". */
void psc_rows_text(char *out, size_t size, const psc_filter *choice);
/* Resolves a choice; fails, naming key, when a range holds none of the run's rows. for_targets:
 * `last` means the last row that has a next token when every target is `next`, and both rows when
 * some targets are `next`. */
int psc_rows_resolve(psc_context *context, const psc_host *host, const char *key,
    const psc_filter *choice, int for_targets, psc_row_set *out);

/* A row of a tensor. */
static inline const float *psc_view_row(const psc_view *view, int64_t row) {
    return view->data + row * view->stride[0];
}

/* In run_end: where the chosen rows of a retained tensor lie, out [rows.n]. */
int psc_rows_fetch(psc_context *context, const psc_host *host, const psc_row_set *rows, int handle,
    int32_t layer, const float **out);
/* The first number of an event's rows, hook_scale's only one, into out [rows.n]. */
void psc_rows_take(const psc_row_set *rows, const psc_event *event, float *out);

/* --- targets --------------------------------------------------------------------------------- */

/* The ids of every target at every chosen row. Zeroed, then psc_targets_begin in run_begin; it
 * observes hook_logits when a target is a rank. ids are complete in run_end. */
typedef struct psc_target_rows {
    psc_context *context;
    const psc_host *host;
    const psc_target *targets;
    psc_row_set rows;
    int32_t n;    /* targets */
    int32_t *ids; /* [n, rows.n, 2]; -1 where absent */
} psc_target_rows;

int psc_targets_begin(
    psc_context *context, const psc_host *host, const psc_row_set *rows, psc_target_rows *out);

/* The slot of the last chosen row at which target t has a token: a target's own last row; -1 where
 * there is none. In run_end, since ranks have their ids by then. */
int32_t psc_target_last(const psc_target_rows *targets, int32_t t);
/* The first target that has such a row, *slot that row; -1 where none has, *slot the last row. */
int32_t psc_target_first(const psc_target_rows *targets, int32_t *slot);
/* Says in the summary that target t is shown at the last row that has a next token, where it is
 * `next` and a later row was chosen. */
int psc_target_say_row(const psc_target_rows *targets, int32_t t);
/* A target at a chosen row for people: the token's text where the label does not say it. */
const char *psc_target_name(const psc_target_rows *targets, int64_t target, int64_t slot);

/* u = P(gamma_f * t_bar) for every distinct (target, ids), t_bar = row a of the unembedding, minus
 * row b for a contrast; centred: minus the vocabulary's mean row (a contrast has none of it). */
typedef struct psc_directions {
    int32_t n;
    int32_t *which;   /* [targets, rows] which direction, -1 where the target is absent */
    float *u;         /* [n, N], computed in f64, rounded once */
    double *constant; /* [n] b_t = t_bar . beta_f */
} psc_directions;

/* In run_end. extra: this many more rows are allocated after u's n rows, for the caller's use. */
int psc_directions_build(
    const psc_target_rows *targets, int centred, int64_t extra, psc_directions *out);

/* The axes "targets" (labels) and "ids" (a, b), and target_ids [targets, row_axis, ids]. */
int psc_targets_results(const psc_target_rows *targets, const char *row_axis);
/* The axis "targets": the labels of n targets. */
int psc_targets_axis(
    psc_context *context, const psc_host *host, const psc_target *targets, int32_t n);
/* An axis of n numbers: first, first + 1, ... */
int psc_count_axis(
    psc_context *context, const psc_host *host, const char *name, int32_t first, int64_t n);
/* A row axis: the indices of the rows chosen. */
int psc_rows_axis(
    psc_context *context, const psc_host *host, const char *name, const psc_row_set *rows);

#endif
