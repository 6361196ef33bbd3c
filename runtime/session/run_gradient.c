/* The gradient of a run's metric: its terms as psc_run_options has them, the memory for them, and the
 * backward pass (runtime/backward).
 *
 *   begin   the metric's rows, ascending; what the pass reads becomes destinations of the run
 *   run     targets become tokens of their rows; value and gradient
 *   put     the value, in a section of the results */
#include "session.h"

#include "backward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct psc_gradient {
    psc_backward *backward;
    psc_metric_part *parts; /* [room]; a contrast needs two */
    int32_t *logit_rows;    /* [row_room] ascending */
    int32_t *slots;         /* [row_room] of a row in logit_rows; -1: not read */
    int32_t n_logits;
    size_t room, row_room;
    double value;     /* of the metric, after the run */
    uint64_t counted; /* bytes of the run, as retained */
};

void psc_gradient_close(psc_gradient **gradient) {
    psc_gradient *g = *gradient;
    if (!g) return;
    psc_backward_close(&g->backward);
    free(g->parts);
    free(g->logit_rows);
    free(g->slots);
    free(g);
    *gradient = NULL;
}

static psc_status open_gradient(psc_session *s, psc_error *error) {
    if (s->gradient) return PSC_OK;
    const psc_backward_parts parts = {
        s->model, &s->rotary, s->kernels, s->team, s->forward, s->gradients, s->registry, s->cache};
    psc_gradient *g = calloc(1, sizeof *g);
    if (!g) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a gradient");
    psc_status status = psc_backward_open(&g->backward, &parts, error);
    if (status != PSC_OK)
        psc_gradient_close(&g);
    else
        s->gradient = g;
    return status;
}

uint64_t psc_session_gradient_bytes(
    psc_session *session, int32_t n_rows, int32_t n_logits, int32_t recompute) {
    const int32_t most = session->options.capacity;
    if (n_rows < 1 || n_logits < 0 || open_gradient(session, NULL) != PSC_OK) return 0;
    if (n_rows > most) n_rows = most;
    if (n_logits > n_rows) n_logits = n_rows;
    double bytes =
        psc_backward_bytes(session->gradient->backward, n_rows, n_logits, n_rows, recompute != 0);
    psc_row *rows = calloc((size_t)n_rows, sizeof *rows);
    for (int32_t r = 0; rows && r < n_rows; r++) rows[r].index = rows[r].position = r;
    if (rows) rows[n_rows - 1].next = -1;
    if (rows)
        bytes +=
            psc_backward_edit_bytes(session->gradient->backward, rows, n_rows, recompute != 0) +
            psc_backward_show_bytes(session->gradient->backward, NULL, rows, n_rows);
    free(rows);
    return (uint64_t)bytes;
}

/* --- the metric ------------------------------------------------------------------------------ */

/* Whether the current run has a gradient. */
static bool has_metric(const psc_session *s) {
    return s->run_options->metric && psc_phase_is_for_all(s->run_options->phase) && !s->reader;
}

static bool recomputes(const psc_metric *metric) {
    const size_t end = offsetof(psc_metric, recompute) + sizeof metric->recompute;
    return metric->struct_size >= end && metric->recompute;
}

/* --- memory ---------------------------------------------------------------------------------- */

/* Most parts of the metric's terms: a target may have two tokens. */
static size_t most_parts(const psc_session *s, const psc_metric *metric) {
    const size_t targets = s->targets.n > 0 ? (size_t)s->targets.n : 1;
    size_t n = 0;
    for (int32_t i = 0; i < metric->n_terms; i++)
        n += psc_metric_term_at(metric, i).target < 0 ? 2 * targets : 2;
    return n;
}

/* Room for the run's rows and the metric's terms. */
static psc_status make_room(psc_gradient *g, size_t n_rows, size_t n_parts, psc_error *error) {
    if (n_rows > g->row_room) {
        g->row_room = 0;
        free(g->logit_rows);
        free(g->slots);
        g->logit_rows = malloc(n_rows * sizeof *g->logit_rows);
        g->slots = malloc(n_rows * sizeof *g->slots);
        if (g->logit_rows && g->slots) g->row_room = n_rows;
    }
    if (n_parts > g->room) {
        g->room = 0;
        free(g->parts);
        g->parts = malloc(n_parts * sizeof *g->parts);
        if (g->parts) g->room = n_parts;
    }
    if (g->row_room && g->room) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a metric");
}

/* The rows whose logits the metric reads, each once, ascending. */
static void choose_rows(psc_gradient *g, const psc_metric *metric, int32_t n_rows) {
    for (int32_t r = 0; r < n_rows; r++) g->slots[r] = -1;
    for (int32_t i = 0; i < metric->n_terms; i++) g->slots[psc_metric_term_at(metric, i).row] = 0;
    g->n_logits = 0;
    for (int32_t r = 0; r < n_rows; r++) {
        if (g->slots[r] < 0) continue;
        g->slots[r] = g->n_logits;
        g->logit_rows[g->n_logits++] = r;
    }
}

/* Bytes of the gradient of the run: those of its block, and of what hooks ask for. */
typedef struct needed {
    double block, hooks;
} needed;

static needed need_of(const psc_session *s, int32_t n_keys, bool recompute) {
    const psc_backward *b = s->gradient->backward;
    return (needed){psc_backward_bytes(b, s->n_rows, s->gradient->n_logits, n_keys, recompute),
        psc_backward_edit_bytes(b, s->rows, s->n_rows, recompute) +
            psc_backward_show_bytes(b, &s->gradient_copies, s->rows, s->n_rows)};
}

/* Decides what to recompute: all that can be if the metric says so, or if the rest of the cap is too
 * small otherwise. Counts the bytes as retained until psc_gradient_end. */
static psc_status decide(bool *recompute, psc_session *s, psc_error *error) {
    const uint64_t cap = s->options.retained_cap;
    const double left = cap > s->retained_bytes ? (double)(cap - s->retained_bytes) : 0.0;
    psc_gradient *g = s->gradient;
    int32_t n_keys = 0;
    for (int32_t r = 0; r < s->n_rows; r++)
        if (s->rows[r].position >= n_keys) n_keys = s->rows[r].position + 1;
    *recompute = recomputes(s->run_options->metric);
    needed need = need_of(s, n_keys, *recompute);
    if (need.block + need.hooks > left && !*recompute) {
        *recompute = true;
        need = need_of(s, n_keys, true);
    }
    if (need.block + need.hooks <= left) {
        psc_backward_trim(g->backward, left - need.hooks);
        const double held = psc_backward_held(g->backward);
        g->counted = (uint64_t)(need.hooks + (held > need.block ? held : need.block));
        s->retained_bytes += g->counted;
        return PSC_OK;
    }
    return psc_fail(error, PSC_ERROR_MEMORY,
        "the gradient of %d rows needs %.0f bytes; the cap (retained_cap, --retain) leaves %.0f; "
        "run fewer rows at once or raise it",
        (int)s->n_rows, need.block + need.hooks, left);
}

void psc_gradient_end(psc_session *s) {
    if (!s->gradient) return;
    s->retained_bytes -= s->gradient->counted;
    s->gradient->counted = 0;
}

psc_status psc_gradient_begin(psc_session *s, psc_error *error) {
    if (!has_metric(s)) return PSC_OK;
    const psc_metric *metric = s->run_options->metric;
    const psc_metric_rows rows = {0, s->n_rows, s->targets.n};
    psc_status status = psc_metric_check(s, metric, &rows, error);
    if (status == PSC_OK) status = open_gradient(s, error);
    if (status == PSC_OK)
        status = make_room(s->gradient, (size_t)s->n_rows, most_parts(s, metric), error);
    if (status != PSC_OK) return status;
    choose_rows(s->gradient, metric, s->n_rows);
    bool recompute;
    status = decide(&recompute, s, error);
    if (status != PSC_OK) return status;
    return psc_backward_begin(s->gradient->backward, &s->copies, s->rows, s->n_rows,
        s->gradient->logit_rows, s->gradient->n_logits, recompute, error);
}

/* --- the run --------------------------------------------------------------------------------- */

/* Appends a term of one target: a contrast has two tokens, of opposite weights. */
static psc_status add_target(
    psc_session *s, const psc_metric_term *term, int32_t target, int32_t *n, psc_error *error) {
    psc_gradient *g = s->gradient;
    const int32_t slot = g->slots[term->row];
    int32_t ids[2];
    psc_status status = psc_targets_ids(
        s, target, &s->rows[term->row], psc_backward_logits(g->backward, slot), ids, error);
    if (status != PSC_OK) return status;
    if (ids[0] < 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the metric's target %s has no token at row %d; take an earlier row or another target",
            s->targets.targets[target].label, (int)term->row);
    for (int i = 0; i < 2 && ids[i] >= 0; i++)
        g->parts[(*n)++] = (psc_metric_part){
            term->kind, slot, ids[i], i == 0 ? term->weight : -term->weight, NULL};
    return PSC_OK;
}

static psc_status add_term(
    psc_session *s, const psc_metric_term *term, int32_t *n, psc_error *error) {
    psc_gradient *g = s->gradient;
    psc_status status = PSC_OK;
    if (term->kind == PSC_METRIC_KL || term->token >= 0) {
        g->parts[(*n)++] = (psc_metric_part){
            term->kind, g->slots[term->row], term->token, term->weight, term->logits};
        return PSC_OK;
    }
    const int32_t first = term->target < 0 ? 0 : term->target;
    const int32_t end = term->target < 0 ? s->targets.n : first + 1;
    for (int32_t t = first; t < end && status == PSC_OK; t++)
        status = add_target(s, term, t, n, error);
    return status;
}

/* Plugins compute variants and gradients of theirs after the run: they may have its memory. */
static void free_block(psc_session *s) {
    psc_gradient *g = s->gradient;
    const uint64_t block = (uint64_t)psc_backward_held(g->backward);
    if (s->n_contexts == 0) return;
    psc_backward_trim(g->backward, 0.0);
    s->retained_bytes -= block;
    g->counted -= block;
}

static int is_stopped(void *payload) {
    return psc_session_stopped(payload);
}

psc_status psc_gradient_run(psc_session *s, psc_error *error) {
    if (!has_metric(s)) return PSC_OK;
    const psc_metric *metric = s->run_options->metric;
    const bool has_value = metric->struct_size >= offsetof(psc_metric, recompute);
    psc_status status = PSC_OK;
    int32_t n = 0;
    for (int32_t i = 0; i < metric->n_terms && status == PSC_OK; i++) {
        const psc_metric_term term = psc_metric_term_at(metric, i);
        status = add_term(s, &term, &n, error);
    }
    if (status != PSC_OK) return status;
    double *value = &s->gradient->value;
    const psc_destinations *copies = s->gradient_copies.n > 0 ? &s->gradient_copies : NULL;
    status = psc_backward_run(s->gradient->backward, value, s->gradient->parts, n, copies,
        s->run_options->stop ? is_stopped : NULL, s, error);
    if (status == PSC_OK && has_value && metric->value) *metric->value = *value;
    free_block(s);
    return status;
}

/* --- the results ----------------------------------------------------------------------------- */

/* A plugin may have the name, too. */
static const char *section_name(const psc_results *results) {
    for (int i = 0; i < results->n_sections; i++)
        if (strcmp(results->sections[i].name, "metric") == 0) return "run.metric";
    return "metric";
}

psc_status psc_gradient_put(psc_session *s, psc_error *error) {
    if (!has_metric(s) || s->options.accumulate) return PSC_OK;
    const double value = s->gradient->value;
    char text[64];
    snprintf(text, sizeof text, "value: %.9g nats", value);
    psc_section *section =
        psc_results_add_section(s->results, section_name(s->results), psc_version());
    psc_status status =
        section ? psc_section_add_number(section, "value", value) : PSC_ERROR_MEMORY;
    if (status == PSC_OK) status = psc_section_add_sentence(section, text);
    if (status == PSC_OK) return PSC_OK;
    return psc_fail(error, status, "not enough memory for the results");
}
