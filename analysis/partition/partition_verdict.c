/* The report over documents: tables and sentences.
 *
 * A table pools changes into lines: the heads of a layer, and if there are many layers, all layers.
 * A sentence pools a kind. Its verdict follows from fixed bounds on the share of cases in which an
 * approximation errs by more than PARTITION_FAR. */
#include "partition_corpus.h"

#include <stdio.h>
#include <string.h>

enum { MOST_LINES = 60, MOST_NAMED = 8, ONE_LAYER = 0, ALL_LAYERS = 1, WHOLE_KIND = 2 };

/* The sum of several changes; lives with the instance. */
typedef struct pool {
    double sum[SUMS], count[COUNTS];
    int32_t n; /* changes */
} pool;

/* --- pooling --------------------------------------------------------------------------------- */

/* Changes with equal keys share a line. */
typedef struct line_key {
    int32_t kind, alpha, layer, class;
} line_key;

static line_key key_of(const partition_state *s, int64_t i, int together) {
    const partition_change *change = &s->changes[i];
    line_key key = {change->kind, -1, -1, -1};
    if (together == WHOLE_KIND) return key;
    if (change->kind < PARTITION_FROZEN) {
        key.layer = together == ONE_LAYER ? change->at : -1;
        return key;
    }
    const partition_component *c = &s->components[change->at];
    key.alpha = change->alpha;
    key.layer = together == ONE_LAYER ? c->layer : -1;
    key.class = c->kind;
    return key;
}

static int same_key(line_key a, line_key b) {
    return a.kind == b.kind && a.alpha == b.alpha && a.layer == b.layer && a.class == b.class;
}

/* Whether change i is the first of its line. */
static int is_first(const partition_state *s, int64_t i, int together) {
    const line_key key = key_of(s, i, together);
    for (int64_t j = 0; j < i; j++)
        if (same_key(key, key_of(s, j, together))) return 0;
    return 1;
}

static partition_totals gather(const partition_state *s, int64_t first, int together, pool *out) {
    const line_key key = key_of(s, first, together);
    memset(out, 0, sizeof *out);
    for (int64_t i = first; i < s->n_changes; i++) {
        if (!same_key(key, key_of(s, i, together))) continue;
        for (int k = 0; k < SUMS; k++) out->sum[k] += s->corpus->sum[i * SUMS + k];
        for (int k = 0; k < COUNTS; k++) out->count[k] += s->corpus->count[i * COUNTS + k];
        out->n++;
    }
    /* each change adds one more rounded total */
    return (partition_totals){
        out->sum, out->count, (double)s->host->model(s->context)->n_ctx + out->n};
}

static const char *const kinds[] = {"step", "lens", "frozen_ln", "recomputed_ln", "ablation"};

/* A change's own label, or a common one for several: "frozen_ln:L2 heads", "lens". */
static void line_label(
    const partition_state *s, int64_t first, int32_t n, int together, char *out, size_t size) {
    static const char *const classes[] = {
        "embed", "heads", "attn_bias", "attn_out", "neuron", "mlp_bias", "mlp_out", "edit"};
    const line_key key = key_of(s, first, together);
    char layer[16] = "", alpha[16] = "";
    if (n == 1) {
        snprintf(out, size, "%s", s->changes[first].label);
        return;
    }
    if (key.class < 0) {
        snprintf(out, size, "%s", kinds[key.kind]);
        return;
    }
    if (key.layer >= 0) snprintf(layer, sizeof layer, "L%d ", (int)key.layer);
    if (s->alphas[key.alpha] != 0.0) snprintf(alpha, sizeof alpha, "*%.4g", s->alphas[key.alpha]);
    snprintf(out, size, "%s:%s%s%s", kinds[key.kind], layer, classes[key.class], alpha);
}

/* --- tables ---------------------------------------------------------------------------------- */

/* A column of a table: its width and digits. */
typedef struct column {
    int width, precision;
} column;

/* One line of a table. */
static int figures_line(
    partition_state *s, const char *label, const column *columns, const double *values, int n) {
    char line[240], figure[PSC_FIGURE];
    int used = snprintf(line, sizeof line, "%-26s", label);
    for (int i = 0; i < n && used > 0 && used < (int)sizeof line; i++)
        used += snprintf(line + used, sizeof line - (size_t)used, "%s",
            psc_figure(figure, columns[i].width, columns[i].precision, values[i], ""));
    return s->host->summary_text(s->context, line);
}

static int size_line(partition_state *s, const char *label, partition_totals t) {
    static const column columns[] = {{7, 3}, {7, 3}, {7, 3}, {8, 3}, {7, 3}, {7, 3}, {7, 2}};
    const double cases = partition_cases(t, MARGINS);
    const double values[] = {partition_divide(t.sum[SUM_ABS_E + PARTITION_RAW], cases),
        partition_divide(t.sum[SUM_ABS_E + PARTITION_MINUS_MEAN], cases),
        partition_divide(t.sum[SUM_ABS_E + PARTITION_MINUS_EXPECTED], cases),
        partition_mean_abs_dz(t, PARTITION_RAW, 0),
        partition_mean_abs_dz(t, PARTITION_RAW, NEXT_GROUP),
        partition_mean_abs_dz(t, PARTITION_RAW, PARTITION_BINS - 1),
        partition_correlation(t, PARTITION_RAW, 0)};
    return figures_line(s, label, columns, values, 7);
}

static int error_line(partition_state *s, const char *label, partition_totals t) {
    static const column columns[] = {
        {6, 1}, {6, 1}, {6, 1}, {8, 1}, {7, 2}, {7, 2}, {6, 2}, {6, 2}};
    const double values[] = {100.0 * partition_share(t, COUNT_FAR + PARTITION_RAW, MARGINS),
        100.0 * partition_share(t, COUNT_FAR + PARTITION_MINUS_MEAN, MARGINS),
        100.0 * partition_share(t, COUNT_FAR + PARTITION_MINUS_EXPECTED, MARGINS),
        100.0 * partition_share(t, COUNT_REORDERED, MARGINS), partition_beta_quantile(t, 0.5),
        partition_r2_quantile(t, 0.1), partition_r2_quantile(t, 0.5),
        partition_r2_quantile(t, 0.9)};
    return figures_line(s, label, columns, values, 8);
}

static int table(partition_state *s, int together, pool *work, const char *const head[2],
    int (*write)(partition_state *, const char *, partition_totals)) {
    char label[64];
    for (int i = 0; i < 2; i++)
        if (s->host->summary_text(s->context, head[i])) return -1;
    for (int64_t i = 0; i < s->n_changes; i++) {
        if (!is_first(s, i, together)) continue;
        const partition_totals t = gather(s, i, together, work);
        line_label(s, i, work->n, together, label, sizeof label);
        if (write(s, label, t)) return -1;
    }
    return 0;
}

static int tables(partition_state *s, int together, pool *work) {
    static const char *const sizes[2] = {
        "Means over cases, in nats: |dlogZ| raw, minus the vocabulary's mean dz, minus E_p dz (the "
        "first order's error); |dz| of the top token, the next token, and beyond rank 1000; the "
        "correlation of dlogZ with the top token's dz. n/a: no case has the figure, or a "
        "correlated quantity does not vary.",
        "change                        raw  -mean  -E_p     top   next beyond   corr"};
    static const char *const errors[2] = {
        "Cases with an error above 0.1 nat, in %: constant Z raw, constant Z minus the mean, first "
        "order; cases in which the top token changes, in %; the fit's median beta, and R^2 at the "
        "quantiles 0.1, 0.5, 0.9.",
        "change                       raw -mean   1st     top   beta R2 0.1   0.5   0.9"};
    return table(s, together, work, sizes, size_line) ||
                   table(s, together, work, errors, error_line)
               ? -1
               : 0;
}

/* --- sentences ------------------------------------------------------------------------------- */

static const char *judge(double share) {
    if (isnan(share)) return "was not tested";
    return share <= 0.05  ? "holds"
           : share <= 0.2 ? "mostly holds"
           : share <= 0.5 ? "often fails"
                          : "breaks";
}

static int kind_words(partition_state *s, int64_t first, pool *work) {
    char words[640];
    const partition_totals t = gather(s, first, WHOLE_KIND, work);
    const double raw = partition_share(t, COUNT_FAR + PARTITION_RAW, MARGINS);
    const double mean = partition_share(t, COUNT_FAR + PARTITION_MINUS_MEAN, MARGINS);
    const double order = partition_share(t, COUNT_FAR + PARTITION_MINUS_EXPECTED, MARGINS);
    const double moved = partition_divide(t.sum[SUM_ABS_E], partition_cases(t, MARGINS));
    const double top = partition_mean_abs_dz(t, PARTITION_RAW, 0), ratio = moved / top;
    snprintf(words, sizeof words,
        "%s: constant Z %s (%.1f %% of %.0f cases err by more than 0.1 nat); minus the "
        "vocabulary's mean it %s (%.1f %%); the first order %s (%.1f %%). On average log Z moves "
        "%.3f nats and the top logit %.3f: log Z varies %s the logits.",
        kinds[s->changes[first].kind], judge(raw), 100.0 * raw, partition_cases(t, MARGINS),
        judge(mean), 100.0 * mean, judge(order), 100.0 * order, moved, top,
        isnan(ratio)   ? "as little as"
        : ratio < 0.25 ? "slowly compared with"
        : ratio < 0.75 ? "less than"
                       : "as much as");
    return s->host->summary_text(s->context, words);
}

static int margin_words(partition_state *s, int64_t first, pool *work) {
    char words[640], raw[MARGINS][PSC_FIGURE], order[MARGINS][PSC_FIGURE];
    const partition_totals t = gather(s, first, WHOLE_KIND, work);
    for (int m = 0; m < MARGINS; m++) {
        psc_figure(raw[m], 0, 1, 100.0 * partition_share(t, COUNT_FAR + PARTITION_RAW, m), "");
        psc_figure(order[m], 0, 1,
            100.0 * partition_share(t, COUNT_FAR + PARTITION_MINUS_EXPECTED, m), "");
    }
    snprintf(words, sizeof words,
        "%s by the margin p1 - p2 before the change, below 0.1, 0.3, 0.7 and above: constant Z "
        "errs by more than 0.1 nat in %s, %s, %s, %s %% of cases, the first order in %s, %s, %s, "
        "%s %%.",
        kinds[s->changes[first].kind], raw[0], raw[1], raw[2], raw[3], order[0], order[1], order[2],
        order[3]);
    return s->host->summary_text(s->context, words);
}

static double upper_share(const double *histogram, int n, int from) {
    double all = 0.0, above = 0.0;
    for (int i = 0; i < n; i++) {
        all += histogram[i];
        if (i >= from) above += histogram[i];
    }
    return partition_divide(above, all);
}

static int fit_words(partition_state *s, int64_t first, pool *work) {
    char words[400];
    const partition_totals t = gather(s, first, WHOLE_KIND, work);
    const double *r2 = t.count + COUNT_R2, most = upper_share(r2, R2_BINS, 45);
    const double half = upper_share(r2, R2_BINS, 25);
    if (isnan(most)) {
        snprintf(words, sizeof words,
            "%s: no case changes the logits by more than a common shift, so there is no fit.",
            kinds[s->changes[first].kind]);
        return s->host->summary_text(s->context, words);
    }
    snprintf(words, sizeof words,
        "%s: dz = alpha + beta (z - b) explains nine tenths of dz's variance in %.1f %% of cases "
        "and half of it in %.1f %%; beta is between %.2f and %.2f in four of five cases. Logits "
        "move proportionally %s.",
        kinds[s->changes[first].kind], 100.0 * most, 100.0 * half, partition_beta_quantile(t, 0.1),
        partition_beta_quantile(t, 0.9),
        most > 0.5   ? "in most cases"
        : half > 0.5 ? "in part"
                     : "in few cases");
    return s->host->summary_text(s->context, words);
}

/* Names the lines for which constant Z holds and those for which it breaks, at most MOST_NAMED. */
static int where_words(partition_state *s, int together, pool *work) {
    char label[64], text[2][640] = {"", ""};
    int n[2] = {0}, lines = 0;
    for (int64_t i = 0; i < s->n_changes; i++) {
        if (!is_first(s, i, together)) continue;
        const partition_totals t = gather(s, i, together, work);
        const double share = partition_share(t, COUNT_FAR + PARTITION_RAW, MARGINS);
        lines++;
        if (!(share <= 0.05 || share > 0.5)) continue;
        const int which = share > 0.5;
        line_label(s, i, work->n, together, label, sizeof label);
        const size_t used = strlen(text[which]);
        if (n[which]++ < MOST_NAMED)
            snprintf(text[which] + used, sizeof *text - used, "%s%s", used ? ", " : "", label);
    }
    for (int which = 0; which < 2; which++) {
        char words[800];
        snprintf(words, sizeof words, "Constant Z (raw) %s for %d of %d lines%s%.639s%s",
            which ? "breaks" : "holds", n[which], lines, n[which] ? ": " : "", text[which],
            n[which] > MOST_NAMED ? " and others." : ".");
        if (s->host->summary_text(s->context, words)) return -1;
    }
    return 0;
}

static int log_z_words(partition_state *s) {
    const partition_corpus *c = s->corpus;
    const double *sum = c->lens + (int64_t)(s->n_lenses - 1) * LENS_SUMS, n = c->n_rows;
    const double mean = partition_divide(sum[LENS_LOG_Z], n),
                 gap = partition_divide(sum[LENS_GAP], n);
    char words[400];
    snprintf(words, sizeof words,
        "Over %s rows the mean final log Z is %.2f (standard deviation %.2f), log Z - max z is "
        "%.2f (%.2f). The top token has %.1f %% of Z, the top ten %.1f %%.",
        PSC_COMMAS(n), mean, partition_deviation(s, sum, LENS_LOG_Z), gap,
        partition_deviation(s, sum, LENS_GAP), 100.0 * partition_divide(sum[LENS_TOP], n),
        100.0 * partition_divide(sum[LENS_TOP + 1], n));
    return s->host->summary_text(s->context, words);
}

int partition_verdict(partition_state *s) {
    pool *work = s->host->life_alloc(s->context, sizeof *work);
    int lines = 0;
    if (!work) return -1;
    if (!(s->corpus->n_rows > 0.0))
        return s->host->summary_text(s->context, "The corpus has none of the requested rows.");
    if (log_z_words(s)) return -1;
    for (int64_t i = 0; i < s->n_changes; i++) lines += is_first(s, i, ONE_LAYER);
    const int together = lines > MOST_LINES ? ALL_LAYERS : ONE_LAYER;
    if (s->n_changes && (tables(s, together, work) || where_words(s, together, work))) return -1;
    int (*const parts[])(partition_state *, int64_t, pool *) = {
        kind_words, margin_words, fit_words};
    for (int part = 0; part < 3; part++)
        for (int64_t i = 0; i < s->n_changes; i++)
            if (is_first(s, i, WHOLE_KIND) && parts[part](s, i, work)) return -1;
    return 0;
}
