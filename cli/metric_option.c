/* --metric KIND[:rows=R]: one term per row, the sum over the targets. */
#include "metric_option.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"

/* Whether the text's own next token is a target: the last row has none. */
static bool targets_next(const cli_arguments *arguments) {
    int cursor = 0;
    const cli_given *given;
    while ((given = cli_next(arguments, "target", &cursor)))
        if (strcmp(given->values[0], "next") == 0) return true;
    return false;
}

/* The metric's rows first..end-1, of n that may be asked for. */
static bool metric_rows(const char *text, int32_t n, int32_t *first, int32_t *end) {
    char *rest;
    *first = n - 1;
    *end = n;
    if (strcmp(text, "last") == 0) return n > 0;
    *first = 0;
    if (strcmp(text, "all") == 0) return n > 0;
    errno = 0;
    const long row = strtol(text, &rest, 10);
    if (errno || rest == text || *rest || row < 0 || row >= n) return false;
    *first = (int32_t)row;
    *end = (int32_t)row + 1;
    return true;
}

psc_status cli_metric_read(psc_metric *metric, const cli_arguments *arguments,
    const cli_prompt *prompt, psc_error *error) {
    static const char mark[] = ":rows=";
    const char *text = cli_value(arguments, "metric");
    if (!text) return PSC_OK;
    const int32_t n = prompt->n - targets_next(arguments);
    const char *rows = strstr(text, mark);
    const size_t length = rows ? (size_t)(rows - text) : strlen(text);
    const bool log_p = length == 8 && strncmp(text, "log_prob", 8) == 0;
    int32_t first, end;
    if (!log_p && !(length == 5 && strncmp(text, "logit", 5) == 0))
        return psc_fail(error, PSC_ERROR_INPUT,
            "--metric %.80s: the metric must be logit or log_prob, perhaps with :rows=R", text);
    if (n < 1)
        return psc_fail(error, PSC_ERROR_INPUT,
            "--metric %.80s: one token has no next one; give a longer text or another --target",
            text);
    if (!metric_rows(rows ? rows + strlen(mark) : "last", n, &first, &end))
        return psc_fail(error, PSC_ERROR_INPUT,
            "--metric %.80s: rows must be last, all or a row from 0 to %d", text, (int)n - 1);
    psc_metric_term *terms = calloc((size_t)(end - first), sizeof *terms);
    if (!terms) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the metric");
    for (int32_t r = first; r < end; r++) {
        psc_metric_term term = PSC_METRIC_TERM_INIT;
        term.kind = log_p ? PSC_METRIC_LOG_P : PSC_METRIC_LOGIT;
        term.row = r;
        term.token = term.target = -1;
        terms[r - first] = term;
    }
    metric->terms = terms;
    metric->n_terms = end - first;
    return PSC_OK;
}

void cli_metric_free(psc_metric *metric) {
    free((void *)metric->terms);
    metric->terms = NULL;
    metric->n_terms = 0;
}

void cli_metric_announce(psc_session *session, const psc_metric *metric, const cli_prompt *prompt) {
    enum { SMALL = 1 << 20 };
    const uint64_t bytes = psc_session_gradient_bytes(session, prompt->n, metric->n_terms, 0);
    char line[120];
    if (bytes < SMALL) return;
    snprintf(line, sizeof line, "note: the gradient takes %.1f MiB of memory",
        (double)bytes / (1 << 20));
    cli_progress_line(line);
}
