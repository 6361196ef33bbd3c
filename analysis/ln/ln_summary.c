/* The printed summary of `ln`, for the first target at its own last row: sigma at the sites, the
 * writes that make the final norm, and the components whose effect changes most when sigma is
 * recomputed. */
#include "ln.h"
#include "top.h"

#include <math.h>
#include <stdio.h>

enum { MOST_SITES = 13, MOST_BARS = 6 };

/* At most MOST_SITES sites, the first and the last among them; parallel: ln2 repeats ln1. */
static int sigma_bars(ln_state *s) {
    const int parallel = s->host->model(s->context)->parallel_residual != 0;
    const int32_t step = 1 + parallel, count = (s->n_sites - 1) / step + 1;
    const int32_t n = count < MOST_SITES ? count : MOST_SITES;
    char names[MOST_SITES][24], title[192], place[PSC_ROW_NAME];
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
    snprintf(title, sizeof title, "LayerNorm scale (sigma) at %s%s",
        psc_row_name(s->context, s->host, &rows[s->rows.index[row]], place),
        parallel ? " (ln2 equals ln1)" : "");
    return s->host->summary_bars(s->context, title, "", n, labels, values);
}

static int share_bars(ln_state *s, int64_t row) {
    const int64_t at = (s->n_sites - 1) * (int64_t)s->target_rows.n + row;
    const double *shares = s->shares + at * s->n_columns;
    const double fraction = s->fraction[at];
    char sentence[160];
    psc_ranked entries[MOST_BARS];
    psc_top_list top = {entries, MOST_BARS, 0};
    const char *labels[MOST_BARS];
    double values[MOST_BARS];
    psc_top_f64(&top, s->n_columns, shares, PSC_TOP_ABSOLUTE);
    for (int32_t i = 0; i < top.n; i++) {
        labels[i] = ln_column_label(s, (int32_t)top.at[i].index);
        values[i] = 100.0 * shares[top.at[i].index];
    }
    if (s->host->summary_bars(
            s->context, "writes that make |P(x)|^2 at ln_final", "%", top.n, labels, values))
        return -1;
    if (fraction >= 0.0)
        snprintf(sentence, sizeof sentence,
            "%.0f %% of |P(x)|^2 comes from pairs of writes that point the same way.",
            100.0 * fraction);
    else
        snprintf(sentence, sizeof sentence,
            "The writes partly cancel: their squared norms sum to %.1f times |P(x)|^2.",
            1.0 - fraction);
    return s->host->summary_text(s->context, sentence);
}

static int effect_bars(ln_state *s, int64_t t, int64_t row) {
    const int64_t at = (t * s->target_rows.n + row) * s->n_components;
    char names[MOST_BARS][96], title[240], name[PSC_TARGET_NAME];
    psc_ranked entries[MOST_BARS], worst;
    psc_top_list top = {entries, MOST_BARS, 0}, worst_of = {&worst, 1, 0};
    const char *labels[MOST_BARS];
    double values[MOST_BARS];
    psc_top_f64(&top, s->n_components, s->effects[1] + at, PSC_TOP_ABSOLUTE);
    for (int32_t i = 0; i < top.n; i++) {
        const int32_t c = (int32_t)top.at[i].index;
        snprintf(names[i], sizeof names[i], "%s (frozen %+.2f)", ln_component_label(s, c),
            s->effects[0][at + c]);
        labels[i] = names[i];
        values[i] = s->effects[1][at + c];
    }
    snprintf(title, sizeof title,
        "change of %.120s when one component is removed, sigma recomputed",
        psc_target_name(&s->targets, t, row, name));
    if (s->host->summary_bars(s->context, title, "nats", top.n, labels, values)) return -1;
    psc_top_f64(&worst_of, s->n_components, s->effects[2] + at, PSC_TOP_ABSOLUTE);
    if (worst_of.n == 0) return 0;
    char sentence[200];
    snprintf(sentence, sizeof sentence,
        "Freezing sigma misleads most for %s, by %+.2f nats. Only the direct path counts here: "
        "these are not ablation effects.",
        ln_component_label(s, (int32_t)worst.index), s->effects[2][at + worst.index]);
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
