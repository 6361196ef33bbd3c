/* Rows of a run that need not be computed: their keys and values are known, and nothing reads them.
 *
 *   known    sequence s begins with tokens that it held after the run before, or with those of one of
 *            the sequences before it in this run, which gives it its keys and values (psc_kv_share)
 *   read     a subscription, a destination or the caller's logits select the row, or an editor does
 *   chosen   of each sequence the rows from min(known, first read row, n - 1) on
 *
 * A row's keys and values depend on its tokens up to itself and not on its neighbors (docs/numerics.md), so
 * that no bit changes. What an editor has changed is not given on: a sequence holds its rows before the
 * first edited one. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

enum { DONORS = 32 }; /* sequences before one that are compared with it */

struct psc_shared_rows {
    psc_token *tokens;    /* [n_sequences, capacity] that a sequence held */
    int32_t *held;        /* [n_sequences] how many of them */
    psc_kv_share *shares; /* [n_sequences] of the current run's inputs; n 0: none */
    int32_t *pure;        /* [n_sequences] by input: the rows before the first edited one */
    psc_row *rows;        /* [n_rows] the chosen ones */
    int32_t n_rows, most_rows;
    bool plans; /* false: the current run computes all of its rows */
};

psc_status psc_shared_rows_open(psc_session *s, psc_error *error) {
    const size_t n = (size_t)s->options.n_sequences;
    if (s->shared || s->options.shared_tokens || s->options.overlap) return PSC_OK;
    psc_shared_rows *r = s->shared = calloc(1, sizeof *r);
    if (r) {
        r->tokens = malloc(n * (size_t)s->options.capacity * sizeof *r->tokens);
        r->held = calloc(n, sizeof *r->held);
        r->shares = calloc(n, sizeof *r->shares);
        r->pure = calloc(n, sizeof *r->pure);
    }
    if (r && r->tokens && r->held && r->shares && r->pure) return PSC_OK;
    psc_shared_rows_close(s);
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the tokens of %d sequences",
        (int)s->options.n_sequences);
}

void psc_shared_rows_close(psc_session *s) {
    psc_shared_rows *r = s->shared;
    if (!r) return;
    free(r->tokens);
    free(r->held);
    free(r->shares);
    free(r->pure);
    free(r->rows);
    free(r);
    s->shared = NULL;
}

/* --- the plan -------------------------------------------------------------------------------- */

static int32_t common(const psc_token *a, int32_t n_a, const psc_token *b, int32_t n_b) {
    const int32_t n = n_a < n_b ? n_a : n_b;
    int32_t i = 0;
    while (i < n && a[i].id == b[i].id) i++;
    return i;
}

/* The first of an input's rows, which begin at `first`, that something reads. */
static int32_t first_read(const psc_session *s, int32_t first, int32_t n) {
    const int32_t end = first + psc_registry_first_row(s->registry, s->rows + first, n, false);
    int32_t row = psc_destinations_first_row(&s->copies, first, end);
    for (int32_t r = first; r < row; r++)
        if (s->wanted[r]) row = r;
    return row - first;
}

/* How many rows of an input need not be computed; sets its share. */
static int32_t known_rows(psc_session *s, int32_t input, int32_t first) {
    psc_shared_rows *r = s->shared;
    const psc_input *own = &s->inputs[input];
    const psc_token *held = r->tokens + (size_t)own->sequence * (size_t)s->options.capacity;
    const int32_t most = first_read(s, first, own->n < 1 ? 0 : own->n - 1);
    psc_kv_share *share = &r->shares[input];
    int32_t known = common(own->tokens, own->n, held, r->held[own->sequence]);
    *share = (psc_kv_share){.to = own->sequence};
    for (int32_t k = input - 1; k >= 0 && k >= input - DONORS && known < most; k--) {
        int32_t n = common(own->tokens, own->n, s->inputs[k].tokens, s->inputs[k].n);
        if (n > r->pure[k]) n = r->pure[k];
        if (n <= known) continue;
        known = n;
        share->from = s->inputs[k].sequence;
        share->n = n < most ? n : most;
    }
    return known < most ? known : most;
}

static bool can_plan(const psc_session *s) {
    const psc_run_options *o = s->run_options;
    if (o->stop_at_layer != 0 || o->metric || psc_registry_any(s->gradients)) return false;
    for (int32_t i = 0; i < s->n_inputs; i++)
        if (s->cache->lengths[s->inputs[i].sequence] != 0) return false;
    return true;
}

void psc_shared_rows_plan(psc_session *s) {
    psc_shared_rows *r = s->shared;
    if (!r) return;
    r->plans = can_plan(s);
    if (r->plans && r->most_rows < s->n_rows) {
        psc_row *rows = realloc(r->rows, (size_t)s->n_rows * sizeof *rows);
        r->plans = rows != NULL; /* without memory all rows are computed */
        if (rows) {
            r->rows = rows;
            r->most_rows = s->n_rows;
        }
    }
    r->n_rows = 0;
    for (int32_t i = 0, first = 0; r->plans && i < s->n_inputs; first += s->inputs[i++].n) {
        const int32_t n = s->inputs[i].n, known = known_rows(s, i, first);
        r->pure[i] = psc_registry_first_row(s->registry, s->rows + first, n, true);
        memcpy(r->rows + r->n_rows, s->rows + first + known, (size_t)(n - known) * sizeof *r->rows);
        r->n_rows += n - known;
    }
}

const psc_row *psc_shared_rows_chosen(const psc_session *s, int32_t *n) {
    const bool chosen = s->shared && s->shared->plans;
    *n = chosen ? s->shared->n_rows : s->n_rows;
    return chosen ? s->shared->rows : s->rows;
}

/* A sequence gets its share with its first row. Inputs and rows are ordered by sequence. */
void psc_shared_rows_give(psc_pass *pass, const psc_session *s, const psc_row *rows, int32_t n) {
    const psc_shared_rows *r = s->shared;
    if (!r || !r->plans) return;
    int32_t begin = psc_session_input(s, rows[0].sequence);
    const int32_t end = psc_session_input(s, rows[n - 1].sequence) + 1;
    if (rows > r->rows && rows[-1].sequence == rows[0].sequence) begin++;
    if (begin >= end) return;
    pass->shares = r->shares + begin;
    pass->n_shares = end - begin;
}

void psc_shared_rows_keep(psc_session *s, bool succeeded) {
    psc_shared_rows *r = s->shared;
    for (int32_t i = 0; r && i < s->n_inputs; i++) {
        const psc_input *input = &s->inputs[i];
        const int32_t n = succeeded && r->plans ? r->pure[i] : 0;
        psc_token *tokens = r->tokens + (size_t)input->sequence * (size_t)s->options.capacity;
        r->held[input->sequence] = n;
        memcpy(tokens, input->tokens, (size_t)n * sizeof *tokens);
    }
}
