/* Means over a corpus, by layer, over all rows and without each window's position 0.
 *
 *   sums    [measure, scope, site]   entropy, kl, kl_reverse, log p of the text's next token
 *   counts  [what, scope, site]      the next token's rank in bins, the final top token leads; then
 *                                    rows, rows with a next token */
#include "lens.h"

#include <stdio.h>

enum { MEASURES = 4, BINS = 5, SCOPES = 2, LEADS = BINS, ROWS, WITH_NEXT, WHATS };

static const int32_t bin_ends[BINS] = {1, 10, 100, 1000, INT32_MAX};

int lens_corpus_open(lens_state *s) {
    const int64_t cells = (int64_t)SCOPES * s->n_sites;
    return psc_tally_open(&s->tally, s->context, s->host, MEASURES * cells, WHATS * cells);
}

static int64_t place(const lens_state *s, int what, int scope, int32_t site) {
    return ((int64_t)what * SCOPES + scope) * s->n_sites + site;
}

static void add_row(void *payload, int32_t row, int scope, double *sums, double *counts) {
    const lens_state *s = payload;
    const lens_tables *t = &s->tables;
    const int64_t last = (int64_t)s->n_layers * s->rows.n + row;
    for (int32_t site = 0; site < s->n_sites; site++) {
        const int64_t at = (int64_t)site * s->rows.n + row;
        const double log_p = t->log_prob[at];
        sums[place(s, 0, scope, site)] += t->entropy[at];
        sums[place(s, 1, scope, site)] += t->kl[at];
        sums[place(s, 2, scope, site)] += t->kl_reverse[at];
        counts[place(s, LEADS, scope, site)] +=
            t->top_ids[at * s->top] == t->top_ids[last * s->top];
        counts[place(s, ROWS, scope, site)] += 1.0;
        if (t->rank[at] < 0) continue;
        int bin = 0;
        while (t->rank[at] > bin_ends[bin]) bin++;
        sums[place(s, 3, scope, site)] += log_p;
        counts[place(s, bin, scope, site)] += 1.0;
        counts[place(s, WITH_NEXT, scope, site)] += 1.0;
    }
}

int lens_corpus_add(lens_state *s) {
    return psc_tally_rows(&s->tally, &s->rows, add_row, s);
}

/* --- report ---------------------------------------------------------------------------------- */

static int corpus_axes(lens_state *s) {
    static const char *const bins[] = {"1", "2-10", "11-100", "101-1000", "beyond"};
    return s->host->axis_labels(s->context, "layers", s->n_sites, s->labels) ||
                   s->host->axis_labels(s->context, "bins", BINS, bins)
               ? -1
               : 0;
}

typedef struct corpus_arrays {
    double *means[MEASURES], *leads, *bins; /* [scopes, layers]; bins [scopes, layers, bins] */
} corpus_arrays;

static int make_arrays(lens_state *s, corpus_arrays *out) {
    static const char *const names[MEASURES] = {
        "mean_entropy", "mean_kl", "mean_kl_reverse", "mean_log_prob"};
    static const char *const axes[] = {"scopes", "layers", "bins"};
    for (int i = 0; i < MEASURES; i++) {
        out->means[i] = s->host->array(s->context, names[i], PSC_F64, 2, axes);
        if (!out->means[i]) return -1;
    }
    out->leads = s->host->array(s->context, "top_agreement", PSC_F64, 2, axes);
    out->bins = s->host->array(s->context, "rank_bins", PSC_F64, 3, axes);
    return out->leads && out->bins ? 0 : -1;
}

static void fill_arrays(
    const lens_state *s, const corpus_arrays *out, const double *sums, const double *counts) {
    for (int scope = 0; scope < SCOPES; scope++)
        for (int32_t site = 0; site < s->n_sites; site++) {
            const int64_t at = (int64_t)scope * s->n_sites + site;
            const double rows = counts[place(s, ROWS, scope, site)];
            const double next = counts[place(s, WITH_NEXT, scope, site)];
            for (int i = 0; i < MEASURES; i++)
                out->means[i][at] = psc_mean(sums[place(s, i, scope, site)], i == 3 ? next : rows);
            out->leads[at] = psc_mean(counts[place(s, LEADS, scope, site)], rows);
            for (int b = 0; b < BINS; b++)
                out->bins[at * BINS + b] = psc_mean(counts[place(s, b, scope, site)], next);
        }
}

/* The figures of one site after position 0. */
static int site_line(lens_state *s, const corpus_arrays *a, int32_t site) {
    const int64_t at = (int64_t)s->n_sites + site;
    const double *bins = a->bins + at * BINS;
    char line[320], n[6][PSC_FIGURE];
    snprintf(line, sizeof line, "%-10s %s %s %s %s %s %s", s->labels[site],
        psc_figure(n[0], 8, 3, a->means[0][at], ""), psc_figure(n[1], 8, 3, a->means[1][at], ""),
        psc_figure(n[2], 8, 3, a->means[3][at], ""), psc_figure(n[3], 7, 1, 100.0 * bins[0], "%"),
        psc_figure(n[4], 7, 1, 100.0 * (bins[0] + bins[1]), "%"),
        psc_figure(n[5], 7, 1, 100.0 * a->leads[at], "%"));
    return s->host->summary_text(s->context, line);
}

static int corpus_summary(
    lens_state *s, const corpus_arrays *a, double rows, double next, double inner) {
    const psc_host *host = s->host;
    char line[320];
    if (!(inner > 0.0))
        return host->summary_text(s->context,
            rows > 0.0 ? "Not defined: no window has a second token, and position 0 is left out."
                       : "The corpus has no rows.");
    snprintf(line, sizeof line,
        "The %s lens over %s (%s with a next token), divided by %s LayerNorm scale (sigma); "
        "without each window's position 0 (%s):",
        s->weight ? "affine" : "logit", PSC_MANY(rows, "row"), PSC_COMMAS(next),
        s->sigma_final ? "the final residual's" : "each residual's own", PSC_MANY(inner, "row"));
    if (host->summary_text(s->context, line)) return -1;
    snprintf(line, sizeof line, "%-10s %8s %8s %8s %8s %8s %8s", "layer", "entropy", "KL", "log p",
        "rank 1", "to 10", "same top");
    if (host->summary_text(s->context, line)) return -1;
    for (int32_t site = 0; site < s->n_sites; site++)
        if (site_line(s, a, site)) return -1;
    if (isnan(a->means[3][s->n_sites]) &&
        host->summary_text(s->context, "n/a: no row after position 0 has a next token."))
        return -1;
    return host->summary_text(s->context,
        "log p: of the text's own next token; same top: how often the layer's top token is also "
        "the final one; KL(final || lens) in nats.");
}

int lens_corpus_report(lens_state *s) {
    const psc_host *host = s->host;
    const double *sums, *counts;
    corpus_arrays arrays;
    if (psc_tally_totals(&s->tally, &sums, &counts) || corpus_axes(s) || make_arrays(s, &arrays))
        return -1;
    fill_arrays(s, &arrays, sums, counts);
    const double rows = counts[place(s, ROWS, 0, 0)], next = counts[place(s, WITH_NEXT, 0, 0)];
    const double inner = counts[place(s, ROWS, 1, 0)];
    if (host->value_number(s->context, "rows_seen", rows) ||
        host->value_number(s->context, "rows_with_next", next) ||
        host->value_number(s->context, "rows_without_position_0", inner))
        return -1;
    return corpus_summary(s, &arrays, rows, next, inner);
}
