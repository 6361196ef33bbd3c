/* What the built-in plugins share: options, choice of rows, f64 sums in a fixed order, directions.
 * Private to analysis/; built on psc_plugin.h alone.
 * Threads: the sums are pure; the rest runs on the callbacks' thread.
 * Ownership: memory allocated here lives with the run (run_alloc); callers free nothing. */
#ifndef ANALYSIS_COMMON_H
#define ANALYSIS_COMMON_H

#include "psc_plugin.h"

#include <stddef.h>

/* The built-ins' entries. */
const psc_plugin *psc_builtin_logits(void);
const psc_plugin *psc_builtin_ln(void);
const psc_plugin *psc_builtin_lens(void);
const psc_plugin *psc_builtin_sampling(void);
const psc_plugin *psc_builtin_loss(void);
const psc_plugin *psc_builtin_mlp(void);
const psc_plugin *psc_builtin_sweep(void);
const psc_plugin *psc_builtin_means(void);
const psc_plugin *psc_builtin_activations(void);
const psc_plugin *psc_builtin_frozen(void);
const psc_plugin *psc_builtin_graph(void);
const psc_plugin *psc_builtin_circuit(void);
const psc_plugin *psc_builtin_edges(void);
const psc_plugin *psc_builtin_roles(void);
const psc_plugin *psc_builtin_neurons(void);
const psc_plugin *psc_builtin_sae(void);
const psc_plugin *psc_builtin_attention(void);
const psc_plugin *psc_builtin_spans(void);
const psc_plugin *psc_builtin_partition(void);
const psc_plugin *psc_builtin_weights(void);
const psc_plugin *psc_builtin_forms(void);
const psc_plugin *psc_builtin_words(void);
const psc_plugin *psc_builtin_ablate(void);
const psc_plugin *psc_builtin_scale(void);
const psc_plugin *psc_builtin_steer(void);
const psc_plugin *psc_builtin_knockout(void);
const psc_plugin *psc_builtin_patch(void);
const psc_plugin *psc_builtin_direction(void);
const psc_plugin *psc_builtin_directions(void);
const psc_plugin *psc_builtin_effects(void);
const psc_plugin *psc_builtin_treebank(void);
const psc_plugin *psc_builtin_probe(void);
const psc_plugin *psc_builtin_gradient(void);
const psc_plugin *psc_builtin_attribution(void);

/* --- sums (sums.c) ---------------------------------------------------------------------------
 * Stripe i mod 16 in ascending order, then lanes +8, +4, +2, +1, in f64 without fused steps: the
 * same bits wherever they are computed. Arguments need no alignment and may alias. */
double psc_sum_striped(int64_t n, const float *x);
/* Folds the 16 lanes of a caller's own sum, s[i mod 16] for ascending i; overwrites s. */
double psc_fold16(double s[16]);
double psc_dot_striped(int64_t n, const float *a, const float *b);
/* sum (a - mean_a) (b - mean_b) */
double psc_dot_centered(int64_t n, const float *a, double mean_a, const float *b, double mean_b);
/* sum a b for f64 a */
double psc_dot_mixed(int64_t n, const double *a, const float *b);
/* Logits in tiles: the greatest of a tile's n, at most PSC_LOGIT_TILE; 0 if all are -inf or NaN. */
enum { PSC_LOGIT_TILE = 512 };
float psc_logits_most(const psc_reductions *reductions, size_t n, const float *z);
/* The participation ratio (sum w)^2 / sum w^2 of w = |a b|; 0 when all w are 0. */
double psc_participation(
    const psc_reductions *reductions, int64_t n, const double *a, const float *b);
double psc_participation_product(int64_t n, const float *a, const float *b);

/* --- instances ------------------------------------------------------------------------------- */

/* Begins an `open`: allocates the zeroed instance into s and *out, reads its options, sets its
 * context and host. Nonzero after an error. */
#define PSC_OPEN_STATE(s, out, with_context, with_host)                                            \
    ((s) = *(out) = (with_host)->life_alloc((with_context), sizeof *(s)),                          \
        !(s) || (with_host)->options((with_context), (s)) ||                                       \
            ((s)->context = (with_context), (s)->host = (with_host), 0))

/* Scratch that the runs of an instance share, so that its pages are touched once. Starts zeroed. */
typedef struct psc_kept {
    void *at;
    uint64_t bytes;
} psc_kept;
/* In a run: at least `bytes` bytes with any contents, 64-byte aligned; null after an
 * error. A larger run than those before gets new memory; the old lives until close, in
 * all less than the new. */
void *psc_kept_alloc(psc_kept *kept, psc_context *context, const psc_host *host, uint64_t bytes);

/* --- options (common_options.c) -------------------------------------------------------------- */

/* Reads a text option: one position below end; positions A-B (both included) as begin..end-1. */
int psc_option_position(psc_context *context, const psc_host *host, const char *key,
    const char *value, int32_t end, int32_t *out);
int psc_option_positions(psc_context *context, const psc_host *host, const char *key,
    const char *value, int32_t *begin, int32_t *end);

/* --- edits, figures, axes (common.c) --------------------------------------------------------- */

/* In run_begin or run_end: fails if the run has an editor at any point. what is the message: "an
 * edited run has no frozen map". */
int psc_edits_refused(psc_context *context, const psc_host *host, const char *what);

/* Formats a figure of a summary as "%*.*f" and its unit; a NaN becomes "n/a" of the same width. */
enum { PSC_FIGURE = 48 };
const char *psc_figure(
    char out[PSC_FIGURE], int width, int precision, double value, const char *unit);

/* A probability in a list of tokens: "0.991", below 0.001 with one digit: "0.0004". */
const char *psc_probability(char out[PSC_FIGURE], double p);

/* A token's text as it is shown, without the quotes around it: [*n], valid as host->token_text's. */
const char *psc_bare_token(psc_context *context, const psc_host *host, int32_t token, size_t *n);

/* A new I32 array over declared axes whose integers are token ids, -1 for none. */
int32_t *psc_token_ids_array(psc_context *context, const psc_host *host, const char *name,
    int32_t n_axes, const char *const *axes);

/* An axis of n numbers: first, first + 1, ... */
int psc_count_axis(
    psc_context *context, const psc_host *host, const char *name, int32_t first, int64_t n);

/* 4129 as "4,129", as all counts are written in sentences. Returns out. */
enum { PSC_COUNT = 32 };
const char *psc_commas(double number, char out[PSC_COUNT]);
/* The same in a buffer that lives as long as the enclosing block. */
#define PSC_COMMAS(number) psc_commas((double)(number), (char[PSC_COUNT]){0})
/* With a noun whose plural ends in s, of at most 24 bytes: "1 row", "4,129 rows". Returns out. */
const char *psc_many(double number, const char *noun, char out[2 * PSC_COUNT]);
#define PSC_MANY(number, noun) psc_many((double)(number), noun, (char[2 * PSC_COUNT]){0})

/* --- means of a corpus (means_file.c) --------------------------------------------------------- */

/* In open: the mean [width] of a layer's hook point ("attn.hook_z") in a file that the plugin
 * `means` saved. It lives as long as the instance. Null after a failure: no such tensor, another
 * number of values, or one that is not finite. */
const float *psc_read_mean(psc_context *context, const psc_host *host, const char *path,
    const char *point, int32_t layer, int64_t width);

/* --- documents (documents.c) ------------------------------------------------------------------ */

/* In report: the values document_numbers and document_names, ascending, of those of documents [n]
 * (NaN: none) that have a name; each once. */
int psc_name_documents(
    psc_context *context, const psc_host *host, const double *documents, int64_t n);

/* "in books/alice.md at token 5"; without a name "in document 17 at 5". Returns out. */
enum { PSC_PLACE = 500 };
const char *psc_document_place(char out[PSC_PLACE], psc_context *context, const psc_host *host,
    int64_t document, int32_t position);

/* Prints a kept context: "L3N17 4.21 in books/alice.md at token 5<more>: ...
 * the old >>king<< said". */
int psc_show_context(psc_context *context, const psc_host *host, const char *label,
    const psc_top *top, const char *more);

/* --- rows (rows.c) --------------------------------------------------------------------------- */

/* The run's rows if they are one sequence from position 0 on. Otherwise fails with "<subject> one
 * whole sequence ..." and returns null. subject: "a graph needs". */
const psc_row *psc_whole_sequence(
    psc_context *context, const psc_host *host, const char *subject, int32_t *n);

/* The rows that an option selects, resolved for a run. */
typedef struct psc_row_set {
    psc_filter filter;    /* to subscribe with; may let through rows whose slot is -1 */
    int32_t n, n_all;     /* rows chosen; rows of the run */
    const int32_t *index; /* [n] psc_row.index of each, ascending */
    const int32_t *slot;  /* [n_all] by psc_row.index: place among the chosen rows, or -1 */
    int32_t moved;        /* the target `next` moved `last` to the last row but one */
} psc_row_set;

/* A choice of rows as a user writes it: "all", "last", "3", "2-5". */
void psc_rows_text(char *out, size_t size, const psc_filter *choice);
/* "@22 'umb'": a row in sentences and labels, by its position and token. Returns out. */
enum { PSC_ROW_NAME = 96 };
const char *psc_row_name(
    psc_context *context, const psc_host *host, const psc_row *row, char out[PSC_ROW_NAME]);
/* Resolves a choice; fails and names key if a range contains none of the run's rows. for_targets:
 * `last` is the last row that has a next token if every target is `next`, both rows if some are. */
int psc_rows_resolve(psc_context *context, const psc_host *host, const char *key,
    const psc_filter *choice, int for_targets, psc_row_set *out);

/* A row of a tensor. */
static inline const float *psc_view_row(const psc_view *view, int64_t row) {
    return view->data + row * view->stride[0];
}

/* In run_end: pointers to the chosen rows of a retained tensor, out [rows.n]. */
int psc_rows_fetch(psc_context *context, const psc_host *host, const psc_row_set *rows, int handle,
    int32_t layer, const float **out);
/* Copies the first number of each event row (hook_scale's only one) to out [rows.n]. */
void psc_rows_take(const psc_row_set *rows, const psc_event *event, float *out);
/* A row axis: the indices of the chosen rows. */
int psc_rows_axis(
    psc_context *context, const psc_host *host, const char *name, const psc_row_set *rows);

/* --- targets (target_rows.c) ----------------------------------------------------------------- */

/* The ids of every target at every chosen row. psc_targets_begin, called in run_begin, observes
 * hook_logits if a target is a rank, so ids are complete in run_end. */
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

/* In run_end, when ranks have ids: the slot of the last chosen row at which target t has a token
 * (the target's own last row), or -1. */
int32_t psc_target_last(const psc_target_rows *targets, int32_t t);
/* The row of a slot. */
const psc_row *psc_chosen_row(const psc_target_rows *targets, int32_t slot);
/* In run_end: fails if no target has a token at any chosen row: `next` where the rows end. */
int psc_targets_required(const psc_target_rows *targets);
/* The first target that has such a row, with *slot that row; else -1, with *slot the last row. */
int32_t psc_target_first(const psc_target_rows *targets, int32_t *slot);
/* If target t is `next` and a later row was chosen, adds to the summary that t is shown at the last
 * row that has a next token. */
int psc_target_say_row(const psc_target_rows *targets, int32_t t);
/* A target at a chosen row for the summary: its label, with the token before it where the label
 * names none: "'old' (top:1)". Returns out. */
enum { PSC_TARGET_NAME = 224 };
const char *psc_target_name(
    const psc_target_rows *targets, int64_t target, int64_t slot, char out[PSC_TARGET_NAME]);

/* A target's logit or log p at a chosen row as a metric (target_metrics.c); a contrast is the same
 * in both. The metric reads the terms beside it. */
typedef struct psc_target_metric {
    int32_t target, slot;
    psc_metric_term terms[2];
    psc_metric metric;
} psc_target_metric;
/* Sets *out, whose value goes to `value`. out stays where it is. */
void psc_target_metric_set(psc_target_metric *out, const psc_target_rows *targets, int32_t target,
    int32_t slot, int log_p, double *value);
/* The metric's value of logits [V]. */
double psc_target_metric_of(const psc_target_metric *metric, psc_context *context,
    const psc_host *host, const float *logits);

/* u = P(gamma_f * t_bar) for every distinct (target, ids), t_bar = row a of the unembedding, minus
 * row b for a contrast; centered: minus the vocabulary's mean row (which cancels in a contrast). */
typedef struct psc_directions {
    int32_t n;
    int32_t *which;   /* [targets, rows] which direction, -1 where the target is absent */
    float *u;         /* [n, N], computed in f64, rounded once */
    double *constant; /* [n] b_t = t_bar . beta_f */
} psc_directions;

/* In run_end. extra: the number of rows allocated after u's n rows for the caller's use. */
int psc_directions_build(
    const psc_target_rows *targets, int centered, int64_t extra, psc_directions *out);

/* The axes "targets" (labels) and "ids" (a, b), and target_ids [targets, row_axis, ids]. */
int psc_targets_results(const psc_target_rows *targets, const char *row_axis);
/* The axis "targets": the labels of n targets. */
int psc_targets_axis(
    psc_context *context, const psc_host *host, const psc_target *targets, int32_t n);

#endif
