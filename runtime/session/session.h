/* Shared by the files of a session: captures, a run's memory, the head of its results.
 * Private to runtime/session/.
 * Threads: one thread at a time calls into a session.
 * Ownership: the session owns everything. */
#ifndef SESSION_H
#define SESSION_H

#include "session_inside.h"

/* --- session_report.c ------------------------------------------------------------------------ */
/* PSC_ERROR_STATE for a session that does not accumulate, or whose totals are invalid. */
psc_status psc_accumulation_check(const psc_session *session, psc_error *error);

/* --- capture.c ------------------------------------------------------------------------------- */
psc_status psc_captures_add(psc_session *session, const char *point, psc_error *error);
/* Creates the arrays of this run as destinations; [T, ...], scores and pattern [H, T, keys]. */
psc_status psc_captures_begin(psc_session *session, psc_error *error);

/* --- copies.c -------------------------------------------------------------------------------- */
/* Makes the caller's copies the run's destinations. */
psc_status psc_copies_begin(psc_session *session, psc_error *error);
/* A new destination of the run with one part per input, for the rows that filter selects; the parts
 * lack data. Null after setting error. */
psc_destination *psc_copies_add(psc_session *session, psc_point point, int32_t layer,
    const psc_filter *filter, psc_error *error);
/* The shape of a part's tensor; returns the number of axes. */
int psc_copies_shape(int64_t shape[3], const psc_session *session, psc_point point,
    const psc_destination_part *part);

/* --- run.c ----------------------------------------------------------------------------------- */
/* Memory for runs of up to n_rows rows with the logits of n_logits. */
psc_status psc_session_reserve(
    psc_session *session, int32_t n_rows, int32_t n_logits, psc_error *error);

/* --- run_labels.c ---------------------------------------------------------------------------- */
/* Whether the run's sentences fit its text and are trees. */
psc_status psc_run_check_sentences(const psc_run_options *options, psc_error *error);

/* --- head of the results: version, model, run, tokens (run_head.c) --------------------------- */
psc_status psc_run_head(const psc_session *session, psc_error *error);
/* The head of an accumulating session's report: corpus totals instead of tokens. */
void psc_corpus_head(psc_session *session, const psc_corpus_totals *totals);
/* Once the plugins have reported: the texts of the token ids that their arrays name. */
psc_status psc_run_vocabulary(const psc_session *session, psc_error *error);

#endif
