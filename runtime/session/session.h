/* Shared by the files of a session: captures, a run's memory, the head of its results.
 * Private to runtime/session/, runtime/pairs/ and tests/.
 * Threads: one thread at a time calls into a session.
 * Ownership: the session owns everything. */
#ifndef SESSION_H
#define SESSION_H

#include "session_inside.h"

#include <jansson.h>

/* --- session_report.c ------------------------------------------------------------------------ */
/* PSC_ERROR_STATE for a session that does not accumulate, or whose totals are invalid. */
psc_status psc_accumulation_check(const psc_session *session, psc_error *error);

/* --- session_state.c ------------------------------------------------------------------------- */
/* What the totals belong to, as a state file records it; null when memory runs out. */
json_t *psc_state_origin(const psc_session *session);

/* --- capture.c ------------------------------------------------------------------------------- */
psc_status psc_captures_add(psc_session *session, const char *point, psc_error *error);
/* Creates the arrays of this run as destinations; [T, ...], scores and pattern [H, T, keys]. */
psc_status psc_captures_begin(psc_session *session, psc_error *error);
void psc_captures_free(psc_session *session);

/* --- capture_rows.c -------------------------------------------------------------------------- */
/* Rows of a capture as they were given: "-1", "1+4+7", "2-5". */
typedef struct psc_capture_rows {
    int32_t *list; /* [n]; a negative one counts from the end. Null: all rows */
    int32_t n;
} psc_capture_rows;
/* Most rows that a list names. */
#define PSC_CAPTURE_ROWS (1 << 16)
/* text: what follows "rows="; name: of the capture, for sentences. The caller frees out->list. */
psc_status psc_capture_rows_parse(
    psc_capture_rows *out, const char *text, const char *name, psc_error *error);
/* The rows of a sequence's n: *out [*count], ascending, which the caller frees; PSC_ERROR_INPUT for
 * a row that it does not have or, unless joined, that is named twice. */
psc_status psc_capture_rows_resolve(int32_t **out, int32_t *count, const psc_capture_rows *rows,
    bool joined, int32_t n, const char *name, psc_error *error);

/* --- copies.c -------------------------------------------------------------------------------- */
/* Makes the caller's copies the run's destinations. */
psc_status psc_copies_begin(psc_session *session, psc_error *error);
/* The run's destinations of values, or of gradients. */
psc_destinations *psc_copies_list(psc_session *session, bool gradient);
/* PSC_ERROR_INPUT if the run stops before the tensor is computed. */
psc_status psc_copies_check_stop(
    const psc_session *session, psc_point point, int32_t layer, psc_error *error);
/* PSC_ERROR_INPUT if a gradient is requested of a run without a metric. what: "copy 3" */
psc_status psc_copies_check_metric(
    const psc_session *session, bool gradient, const char *what, psc_error *error);
/* The shape of a part's tensor; returns the number of axes. */
int psc_copies_shape(int64_t shape[3], const psc_session *session, psc_point point,
    const psc_destination_part *part);

/* --- run_gradient.c -------------------------------------------------------------------------- */
/* Before a run's chunks, if it has a metric: checks the metric and makes what the pass keeps
 * destinations of the run. */
psc_status psc_gradient_begin(psc_session *session, psc_error *error);
/* After them: the gradient, to hooks, captures and copies. */
psc_status psc_gradient_run(psc_session *session, psc_error *error);
/* At the end of a run, also of one that failed: its gradient no longer counts as retained. */
void psc_gradient_end(psc_session *session);
/* After the plugins: the metric's value becomes the section `metric` of the results. */
psc_status psc_gradient_put(psc_session *session, psc_error *error);
void psc_gradient_close(psc_gradient **gradient);

/* --- run.c ----------------------------------------------------------------------------------- */
/* Memory for runs of up to n_rows rows with the logits of n_logits. */
psc_status psc_session_reserve(
    psc_session *session, int32_t n_rows, int32_t n_logits, psc_error *error);
/* psc_session_run with a reader (nullable). With one the run leaves no logits and no results, and is
 * no document; captures take no part. */
psc_status psc_session_run_read(psc_session *session, const psc_input *inputs, int32_t n_inputs,
    const psc_run_options *options, const psc_run_reader *reader, psc_error *error);

/* --- run_shared.c ---------------------------------------------------------------------------- */
/* From now on the runs of the session that begin at position 0 compute no row again whose keys and
 * values the cache has, of an equal beginning of the same or another sequence, unless something reads
 * the row. Not for sessions with shared_tokens or overlap. */
psc_status psc_shared_rows_open(psc_session *session, psc_error *error);
/* From now on runs compute all rows. */
void psc_shared_rows_close(psc_session *session);
/* Once the plugins have begun: chooses the run's rows. */
void psc_shared_rows_plan(psc_session *session);
/* The chosen rows, [*n], of session->rows. */
const psc_row *psc_shared_rows_chosen(const psc_session *session, int32_t *n);
/* Sets the shares of a pass over n of the chosen rows. */
void psc_shared_rows_give(
    psc_pass *pass, const psc_session *session, const psc_row *rows, int32_t n);
/* After the run: what the sequences of its inputs hold. */
void psc_shared_rows_keep(psc_session *session, bool succeeded);

/* --- run_labels.c ---------------------------------------------------------------------------- */
/* Whether the run's sentences fit its text and are trees. */
psc_status psc_run_check_sentences(const psc_run_options *options, psc_error *error);

/* --- run_examples.c -------------------------------------------------------------------------- */
/* Whether the run has the examples that its targets need, with ids and positions that can be. */
psc_status psc_run_check_examples(const psc_session *session, const psc_input *inputs,
    int32_t n_inputs, const psc_run_options *options, psc_error *error);

/* --- head of the results: version, model, run, tokens (run_head.c) --------------------------- */
psc_status psc_run_head(const psc_session *session, psc_error *error);
/* The head of an accumulating session's report: corpus totals instead of tokens. */
void psc_corpus_head(psc_session *session, const psc_corpus_totals *totals);
/* Once the plugins have reported: the texts of the token ids that their arrays name. */
psc_status psc_run_vocabulary(const psc_model *model, psc_results *results, psc_error *error);

#endif
