/* The printed summary of `ln`, for the first target at its own last row: sigma at the sites, the
 * writes that make the final norm, and the components whose effect changes most when sigma is
 * computed again. */
#include "ln.h"

#include <math.h>
#include <stdio.h>

enum { MOST_SITES = 13, MOST_BARS = 6 };

/* At most MOST_SITES sites, the first and the last among them; parallel: ln2 repeats ln1. */
static int sigma_bars(ln_state *s) {
    const int parallel = s->host->model(s->context)->parallel_residual != 0;
    const int32_t step = 1 + parallel, count = (s->n_sites - 1) / step + 1;
    const int32_t n = count < MOST_SITES ? count : MOST_SITES;
    char names[MOST_SITES][24], title[96];
    const char *labels[MOST_SITES];
    double values[MOST_SITES];
    const int32_t row = s->rows.n - 1;
    for (int32_t i = 0; i < n; i++) {
        const int32_t site = n > 1 ? (int32_t)((int64_t)i * (count - 1) / (n - 1)) * step : 0;
        ln_site_label(s, site, names[i]);
        labels[i] = names[i];
        values[i] = (double)s->scale[(int64_t)site * s->rows.n + row];
    }
    int32_t n_all = 0;
    const psc_row *rows = s->host->rows(s->context, &n_all);
    snprintf(title, sizeof title, "sigma at position %d%s", rows[s->rows.index[row]].position,
        parallel ? " (ln2 has ln1's)" : "");
    return s->host->summary_bars(s->context, title, "", n, labels, values);
}

/* The n largest |key| of count, descending, ties to the lower index; returns how many. */
static int32_t largest(const double *key, int64_t count, int32_t n, int32_t *out) {
    int32_t filled = 0;
    for (int32_t i = 0; i < count; i++) {
        if (isnan(key[i])) continue;
        int32_t at = filled < n ? filled++ : n;
        for (; at > 0 && fabs(key[i]) > fabs(key[out[at - 1]]); at--)
            if (at < n) out[at] = out[at - 1];
        if (at < n) out[at] = i;
    }
    return filled;
}

static int share_bars(ln_state *s, int64_t row) {
    const int64_t at = (s->n_sites - 1) * (int64_t)s->target_rows.n + row;
    const double *shares = s->shares + at * s->n_columns;
    const double fraction = s->fraction[at];
    char sentence[160];
    int32_t order[MOST_BARS];
    const char *labels[MOST_BARS];
    double values[MOST_BARS];
    const int32_t n = largest(shares, s->n_columns, MOST_BARS, order);
    for (int32_t i = 0; i < n; i++) {
        labels[i] = ln_column_label(s, order[i]);
        values[i] = 100.0 * shares[order[i]];
    }
    if (s->host->summary_bars(
            s->context, "which writes make |P(x)|^2 at ln_final", "%", n, labels, values))
        return -1;
    if (fraction >= 0.0)
        snprintf(sentence, sizeof sentence,
            "%.0f %% of |P(x)|^2 comes from pairs of writes that point the same way.",
            100.0 * fraction);
    else
        snprintf(sentence, sizeof sentence,
            "The writes partly cancel: alone their squares would sum to %.1f times |P(x)|^2.",
            1.0 - fraction);
    return s->host->summary_text(s->context, sentence);
}

static int effect_bars(ln_state *s, int64_t t, int64_t row) {
    const int64_t at = (t * s->target_rows.n + row) * s->n_components;
    char names[MOST_BARS][96], title[160];
    int32_t order[MOST_BARS];
    const char *labels[MOST_BARS];
    double values[MOST_BARS];
    const int32_t n = largest(s->effects[1] + at, s->n_components, MOST_BARS, order);
    for (int32_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "%s (frozen %+.2f)", ln_component_label(s, order[i]),
            s->effects[0][at + order[i]]);
        labels[i] = names[i];
        values[i] = s->effects[1][at + order[i]];
    }
    const int32_t *ids = s->targets.ids + 2 * (t * s->target_rows.n + row);
    const char *what = s->targets.targets[t].label;
    if (s->targets.targets[t].kind == PSC_TARGET_TOP ||
        s->targets.targets[t].kind == PSC_TARGET_NEXT)
        what = s->host->token_text(s->context, ids[0]);
    snprintf(title, sizeof title, "change of %.60s when one is taken out, sigma recomputed", what);
    if (s->host->summary_bars(s->context, title, "nats", n, labels, values)) return -1;
    int32_t worst = 0;
    if (!largest(s->effects[2] + at, s->n_components, 1, &worst)) return 0;
    char sentence[200];
    snprintf(sentence, sizeof sentence,
        "Holding sigma misleads most for %s, by %+.2f nats. Only the direct path counts here: "
        "these are not ablation effects.",
        ln_component_label(s, worst), s->effects[2][at + worst]);
    return s->host->summary_text(s->context, sentence);
}

int ln_summary(ln_state *s) {
    int32_t row = -1;
    const int32_t t = psc_target_first(&s->targets, &row);
    if (row < 0 || s->rows.n < 1) return 0;
    if (t >= 0 && psc_target_say_row(&s->targets, t)) return -1;
    if (sigma_bars(s) || share_bars(s, row)) return -1;
    return t >= 0 ? effect_bars(s, t, row) : 0;
}
