/* The plugin `sampling`: sums over a corpus, arrays and tables.
 *
 * Over documents each figure is summed and each size counted in bins, over all rows and without
 * position 0. Means are sums over counts. */
#include "sampling.h"

#include <stdio.h>
#include <string.h>

static const char *const row_names[ROW_FIGURES] = {"size", "mass", "kl"};
static const char *const pair_names[PAIR_FIGURES] = {"same_set", "overlap", "agreement"};
static const int32_t bin_ends[BINS] = {1, 10, 100, 1000, INT32_MAX};

/* --- over a corpus --------------------------------------------------------------------------- */

static void add_row(void *payload, int32_t row, int scope, double *sums, double *counts) {
    const sampling_state *s = payload;
    const int64_t rows = s->rows.n;
    double *out = sums + (int64_t)scope * (ROW_FIGURES * STRATEGIES + PAIR_FIGURES * PAIRS);
    double *seen = counts + (int64_t)scope * (1 + STRATEGIES * BINS);
    for (int f = 0; f < ROW_FIGURES; f++)
        for (int i = 0; i < STRATEGIES; i++)
            *out++ += s->figures[(f * rows + row) * STRATEGIES + i];
    for (int f = 0; f < PAIR_FIGURES; f++)
        for (int i = 0; i < PAIRS; i++) *out++ += s->pairs[(f * rows + row) * PAIRS + i];
    seen[0] += 1.0;
    for (int i = 0; i < STRATEGIES; i++) {
        int bin = 0;
        while (s->figures[row * STRATEGIES + i] > bin_ends[bin]) bin++;
        seen[1 + i * BINS + bin] += 1.0;
    }
}

int sampling_add_sequences(sampling_state *s) {
    return psc_tally_rows(&s->tally, &s->rows, add_row, s);
}

/* --- report ---------------------------------------------------------------------------------- */

static int make_arrays(sampling_state *s, const char *first_axis) {
    const char *const axes[] = {first_axis, "strategies", "others"};
    const char *labels[STRATEGIES];
    for (int i = 0; i < STRATEGIES; i++) labels[i] = s->labels[i];
    if (s->host->axis_labels(s->context, "strategies", STRATEGIES, labels) ||
        s->host->axis_labels(s->context, "others", STRATEGIES, labels))
        return -1;
    for (int f = 0; f < ROW_FIGURES + PAIR_FIGURES; f++) {
        const int pair = f >= ROW_FIGURES;
        const char *name = pair ? pair_names[f - ROW_FIGURES] : row_names[f];
        s->arrays[f] = s->host->array(s->context, name, PSC_F64, 2 + pair, axes);
        if (!s->arrays[f]) return -1;
    }
    return 0;
}

/* The table of one row, or of one scope's means. */
static int table(sampling_state *s, int64_t row) {
    char line[200];
    snprintf(line, sizeof line, "%-18s %10s %8s %8s  %s", "strategy", "kept", "mass", "KL",
        "overlap with all together");
    if (s->host->summary_text(s->context, line)) return -1;
    for (int i = 0; i < STRATEGIES; i++) {
        const int64_t at = row * STRATEGIES + i;
        snprintf(line, sizeof line, "%-18s %10.*f %8.4f %8.4f  %.4f", s->labels[i],
            s->corpus ? 1 : 0, s->arrays[SIZE][at], s->arrays[MASS][at], s->arrays[KL][at],
            s->arrays[ROW_FIGURES + OVERLAP][at * STRATEGIES + COMBINED]);
        if (s->host->summary_text(s->context, line)) return -1;
    }
    return s->host->summary_text(s->context,
        "mass: p of the kept tokens; KL(q || p) in nats; overlap: sum of min(q, q'). p is the "
        "model's distribution, q the strategy's, q' that of all together.");
}

static int report_run(sampling_state *s) {
    int32_t n_all = 0;
    const psc_row *rows = s->host->rows(s->context, &n_all);
    char line[128], place[PSC_ROW_NAME];
    if (psc_rows_axis(s->context, s->host, "rows", &s->rows) || make_arrays(s, "rows")) return -1;
    for (int f = 0; f < ROW_FIGURES; f++)
        memcpy(s->arrays[f], s->figures + (int64_t)f * s->rows.n * STRATEGIES,
            (size_t)s->rows.n * STRATEGIES * sizeof(double));
    for (int f = 0; f < PAIR_FIGURES; f++)
        memcpy(s->arrays[ROW_FIGURES + f], s->pairs + (int64_t)f * s->rows.n * PAIRS,
            (size_t)s->rows.n * PAIRS * sizeof(double));
    if (s->rows.n == 0) return 0;
    snprintf(line, sizeof line,
        "At %s:", psc_row_name(s->context, s->host, &rows[s->rows.index[s->rows.n - 1]], place));
    return s->host->summary_text(s->context, line) ? -1 : table(s, s->rows.n - 1);
}

static void fill_means(sampling_state *s, const double *sums, const double *counts, double *bins) {
    for (int scope = 0; scope < SCOPES; scope++) {
        const double *seen = counts + (int64_t)scope * (1 + STRATEGIES * BINS);
        for (int f = 0; f < ROW_FIGURES; f++)
            for (int i = 0; i < STRATEGIES; i++)
                s->arrays[f][scope * STRATEGIES + i] = psc_mean(*sums++, seen[0]);
        for (int f = 0; f < PAIR_FIGURES; f++)
            for (int i = 0; i < PAIRS; i++)
                s->arrays[ROW_FIGURES + f][scope * PAIRS + i] = psc_mean(*sums++, seen[0]);
        for (int i = 0; i < STRATEGIES * BINS; i++)
            bins[scope * STRATEGIES * BINS + i] = psc_mean(seen[1 + i], seen[0]);
    }
}

static int report_corpus(sampling_state *s) {
    static const char *const bins[] = {"1", "2-10", "11-100", "101-1000", "beyond"};
    static const char *const axes[] = {"scopes", "strategies", "bins"};
    const psc_host *host = s->host;
    const double *sums, *counts;
    if (psc_tally_totals(&s->tally, &sums, &counts) ||
        host->axis_labels(s->context, "bins", BINS, bins) || make_arrays(s, "scopes"))
        return -1;
    double *shares = host->array(s->context, "size_bins", PSC_F64, 3, axes);
    if (!shares) return -1;
    fill_means(s, sums, counts, shares);
    const double rows = counts[0], inner = counts[1 + STRATEGIES * BINS];
    char line[128];
    snprintf(line, sizeof line,
        "Means over %s, without position 0 of each window:", PSC_MANY(inner, "row"));
    if (host->value_number(s->context, "rows_seen", rows) ||
        host->value_number(s->context, "rows_without_position_0", inner) ||
        (inner > 0.0 && host->summary_text(s->context, line)))
        return -1;
    if (inner > 0.0) return table(s, 1);
    return host->summary_text(s->context,
        rows > 0.0 ? "The means are not defined: position 0 is left out, and no window has a "
                     "second token."
                   : "The corpus has no rows.");
}

int sampling_report(psc_context *context, void *state) {
    sampling_state *s = state;
    if (s->host->value_text(context, "kl_direction", "KL(q || p), p the full softmax")) return -1;
    return s->corpus ? report_corpus(s) : report_run(s);
}
