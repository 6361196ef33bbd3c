/* The end of an accumulation: each plugin reports the totals, without a run. */
#include "session.h"

#include <string.h>

psc_status psc_accumulation_check(const psc_session *session, psc_error *error) {
    if (!session->options.accumulate)
        return psc_fail(error, PSC_ERROR_STATE,
            "the session does not accumulate over documents; open it with the option accumulate");
    if (session->spoilt)
        return psc_fail(error, PSC_ERROR_STATE,
            "a run failed after part of it had been added, so the session's totals are invalid");
    return PSC_OK;
}

typedef struct report_job {
    psc_session *session;
    psc_status status;
    psc_error *error;
} report_job;

static void report_all(void *payload) {
    report_job *job = payload;
    psc_fp_state fp = psc_fp_enter();
    job->status = psc_contexts_report(job->session, job->error);
    psc_fp_leave(fp);
}

/* How a report is watched. */
typedef struct watch {
    int (*stop)(void *payload);
    psc_progress_fn progress;
    void *payload;
} watch;

static psc_status report(
    psc_session *session, const psc_corpus_totals *given, const watch *by, psc_error *error) {
    psc_corpus_totals totals = {.windows = session->windows, .tokens = session->tokens};
    psc_error own = {PSC_OK, ""};
    if (!error) error = &own;
    if (given)
        memcpy(&totals, given,
            given->struct_size < sizeof totals ? given->struct_size : sizeof totals);
    if (psc_session_busy(session))
        return psc_fail(
            error, PSC_ERROR_STATE, "psc_session_report cannot be called from a callback");
    psc_status status = psc_accumulation_check(session, error);
    if (status != PSC_OK) return status;
    psc_results_clear(session->results);
    session->n_rows = session->n_logit_rows = 0;
    session->cancelled = false;
    session->document_name = totals.document_name;
    session->document_payload = totals.document_payload;
    totals.document_name = NULL; /* the results outlive it */
    totals.document_payload = NULL;
    session->numbered = totals.numbered;
    totals.numbered = 0; /* no part of results.json */
    psc_corpus_head(session, &totals);
    report_job job = {session, PSC_OK, error};
    session->report_stop = by->stop;
    session->report_progress = by->progress;
    session->report_payload = by->payload;
    session->report_totals = &totals;
    psc_team_run(session->team, report_all, &job);
    session->report_stop = NULL;
    session->report_progress = NULL;
    session->report_totals = NULL;
    session->document_name = NULL;
    if (job.status == PSC_OK)
        job.status = psc_run_vocabulary(session->model, session->results, error);
    if (job.status != PSC_OK) psc_results_clear(session->results);
    return job.status;
}

psc_status psc_session_report(
    psc_session *session, const psc_corpus_totals *totals, psc_error *error) {
    return report(session, totals, &(watch){NULL, NULL, NULL}, error);
}

psc_status psc_session_report_until(psc_session *session, const psc_corpus_totals *totals,
    int (*stop)(void *payload), void *payload, psc_error *error) {
    return report(session, totals, &(watch){stop, NULL, payload}, error);
}

psc_status psc_session_report_watched(psc_session *session, const psc_corpus_totals *totals,
    psc_progress_fn progress, void *payload, psc_error *error) {
    return report(session, totals, &(watch){NULL, progress, payload}, error);
}
