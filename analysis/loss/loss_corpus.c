/* The results over documents: named values, the loss by position, by frequency and by token.
 *
 *   position p     all tokens at position p of their windows
 *   frequency bin  the tokens whose share c/N of the N scored tokens is from 10^-(b + 1) on and below
 *                  10^-b; the last bin has all others. c are the corpus's own counts
 *   token          the tokens with the largest sums of the loss, or of the difference's size */
#include "loss.h"
#include "top.h"

#include <math.h>
#include <stdio.h>

/* Totals of slots: sums of both measures [LOSS_MEASURES, n], counts [n]. */
typedef struct table {
    int64_t n;
    double *sums, *counts;
} table;

static int read_table(loss_state *s, int sums, int counts, int64_t n, table *out) {
    const psc_host *host = s->host;
    out->n = n;
    out->sums = host->run_alloc(s->context, LOSS_MEASURES * (uint64_t)n * sizeof(double));
    out->counts = host->run_alloc(s->context, (uint64_t)n * sizeof(double));
    return !out->sums || !out->counts ||
                   host->accumulated(s->context, sums, 0, LOSS_MEASURES * n, out->sums) ||
                   host->accumulated(s->context, counts, 0, n, out->counts)
               ? -1
               : 0;
}

static double mean(const table *t, int measure, int64_t i) {
    return t->counts[i] > 0.0 ? t->sums[measure * t->n + i] / t->counts[i] : (double)NAN;
}

/* prefix_loss and, if compared, prefix_difference [axis], prefix_tokens [axis]
 * of a table's first n. */
static int put_table(
    loss_state *s, const char *prefix, const char *axis, const table *t, int64_t n, int compared) {
    const psc_host *host = s->host;
    char name[64];
    snprintf(name, sizeof name, "%s_loss", prefix);
    double *loss = host->array(s->context, name, PSC_F64, 1, &axis), *change = NULL;
    snprintf(name, sizeof name, "%s_tokens", prefix);
    double *tokens = host->array(s->context, name, PSC_F64, 1, &axis);
    snprintf(name, sizeof name, "%s_difference", prefix);
    if (compared) change = host->array(s->context, name, PSC_F64, 1, &axis);
    if (!loss || !tokens || (compared && !change)) return -1;
    for (int64_t i = 0; i < n; i++) {
        loss[i] = mean(t, LOSS_OWN, i);
        tokens[i] = t->counts[i];
        if (change) change[i] = mean(t, LOSS_CHANGE, i);
    }
    return 0;
}

/* --- positions ------------------------------------------------------------------------------- */

/* "Loss by position": the means of 1, 2-3, 4-7, ... */
static int show_positions(loss_state *s, const table *t, int64_t n) {
    enum { MOST = 32 };
    char names[MOST][32];
    const char *labels[MOST];
    double values[MOST];
    int32_t k = 0;
    for (int64_t first = 1; first < n && k < MOST; first *= 2) {
        const int64_t end = 2 * first < n ? 2 * first : n;
        double sum = 0.0, tokens = 0.0;
        for (int64_t i = first; i < end; i++) {
            sum += t->sums[i];
            tokens += t->counts[i];
        }
        if (tokens == 0.0) continue;
        snprintf(
            names[k], sizeof names[k], end == first + 1 ? "%d" : "%d-%d", (int)first, (int)end - 1);
        labels[k] = names[k];
        values[k++] = sum / tokens;
    }
    return s->host->summary_bars(s->context, "Loss by position", "nats", k, labels, values);
}

static int put_positions(loss_state *s, int compared) {
    table t;
    if (read_table(s, s->at_sums, s->at_counts, s->n_ctx, &t)) return -1;
    int64_t n = s->n_ctx;
    while (n > 0 && t.counts[n - 1] == 0.0) n--;
    if (n == 0) return 0;
    return psc_count_axis(s->context, s->host, "positions", 0, n) ||
           put_table(s, "position", "positions", &t, n, compared) || show_positions(s, &t, n);
}

/* --- frequencies ----------------------------------------------------------------------------- */

/* In whole numbers, which are exact: c 10^(b + 1) >= N. */
static int bin_of(double count, double total) {
    int bin = 0;
    double scaled = 10.0 * count;
    for (; bin < LOSS_BINS - 1 && scaled < total; bin++) scaled *= 10.0;
    return bin;
}

static int put_bins(loss_state *s, const table *tokens, double total, int compared) {
    static const char *const labels[LOSS_BINS] = {
        "from 1e-1", "from 1e-2", "from 1e-3", "from 1e-4", "from 1e-5", "from 1e-6", "below 1e-6"};
    static const char *const axis = "frequencies";
    const psc_host *host = s->host;
    double sums[LOSS_MEASURES * LOSS_BINS] = {0}, counts[LOSS_BINS] = {0};
    const table bins = {LOSS_BINS, sums, counts};
    if (host->axis_labels(s->context, axis, LOSS_BINS, labels)) return -1;
    double *types = host->array(s->context, "frequency_types", PSC_F64, 1, &axis);
    if (!types) return -1;
    for (int b = 0; b < LOSS_BINS; b++) types[b] = 0.0;
    for (int64_t i = 0; i < tokens->n; i++) {
        if (tokens->counts[i] == 0.0) continue;
        const int b = bin_of(tokens->counts[i], total);
        types[b] += 1.0;
        counts[b] += tokens->counts[i];
        for (int m = 0; m < LOSS_MEASURES; m++)
            sums[m * LOSS_BINS + b] += tokens->sums[m * tokens->n + i];
    }
    if (put_table(s, "frequency", axis, &bins, LOSS_BINS, compared)) return -1;
    const char *named[LOSS_BINS];
    double values[LOSS_BINS];
    int32_t k = 0;
    for (int b = 0; b < LOSS_BINS; b++) {
        if (counts[b] == 0.0) continue;
        named[k] = labels[b];
        values[k++] = mean(&bins, LOSS_OWN, b);
    }
    return host->summary_bars(
        s->context, "Loss by the token's share of the tokens", "nats", k, named, values);
}

/* --- tokens ---------------------------------------------------------------------------------- */

static int show_tokens(loss_state *s, const psc_top_list *top, const double *sums, int compared) {
    const char *labels[LOSS_MOST];
    double values[LOSS_MOST];
    for (int32_t k = 0; k < top->n; k++) {
        labels[k] = s->host->token_text(s->context, (int32_t)top->at[k].index);
        values[k] = sums[top->at[k].index];
    }
    if (top->n == 0) return 0;
    return s->host->summary_bars(s->context,
        compared ? "Tokens with the largest sums of differences" : "Tokens with the largest sums",
        "nats", top->n, labels, values);
}

static int put_tokens(loss_state *s, const table *t, int compared) {
    static const char *const axis = "listed_tokens";
    const psc_host *host = s->host;
    const double *sums = t->sums + (compared ? t->n : 0);
    psc_ranked entries[LOSS_MOST];
    psc_top_list top = {entries, s->top, 0};
    double own[LOSS_MEASURES * LOSS_MOST] = {0}, counts[LOSS_MOST] = {0};
    const table some = {LOSS_MOST, own, counts};
    for (int64_t i = 0; i < t->n; i++)
        if (t->counts[i] > 0.0) psc_top_offer(&top, compared ? fabs(sums[i]) : sums[i], i);
    if (psc_count_axis(s->context, host, axis, 1, top.n)) return -1;
    int32_t *ids = psc_token_ids_array(s->context, host, "token_ids", 1, &axis);
    if (!ids) return -1;
    for (int32_t k = 0; k < top.n; k++) {
        ids[k] = (int32_t)top.at[k].index;
        counts[k] = t->counts[ids[k]];
        for (int m = 0; m < LOSS_MEASURES; m++)
            own[(ptrdiff_t)m * LOSS_MOST + k] = t->sums[m * t->n + ids[k]];
    }
    return put_table(s, "token", axis, &some, top.n, compared) ||
           show_tokens(s, &top, sums, compared);
}

int loss_report_corpus(loss_state *s) {
    const psc_host *host = s->host;
    loss_totals totals;
    table tokens;
    if (host->accumulated(s->context, s->sums, 0, LOSS_SUMS, totals.sums) ||
        host->accumulated(s->context, s->counts, 0, LOSS_COUNTS, totals.counts) ||
        read_table(s, s->token_sums, s->token_counts, s->n_vocab, &tokens) ||
        loss_figures(s, &totals))
        return -1;
    const double n = totals.counts[LOSS_TOKENS];
    const int compared = loss_is_compared(&totals);
    if (n == 0.0) return 0;
    return put_positions(s, compared) || put_bins(s, &tokens, n, compared) ||
           (s->top > 0 && put_tokens(s, &tokens, compared));
}
