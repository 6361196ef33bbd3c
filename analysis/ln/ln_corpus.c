/* `ln` over documents: at every site the moments of
 *
 *   mean(x), |P(x)|, sigma (hook_scale), coupling fraction = 1 - sum_a |P(x_a)|^2 / |P(x)|^2
 *
 * over the earlier writers x_a: embed, attn(l), mlp(l). This needs only the diagonal of G, so each
 * writer is taken as it arrives and nothing is retained. If editors act, the fraction counts their
 * changes as coupling. */
#include "ln.h"

#include <math.h>
#include <stdio.h>

enum { MEAN, NORM, SCALE, COUPLING, QUANTITIES };
static const char *const names[QUANTITIES] = {"mean", "norm", "scale", "coupling_fraction"};

typedef struct row_job {
    ln_state *s;
    const psc_event *event;
} row_job;

/* --- events ---------------------------------------------------------------------------------- */

static void writer_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const row_job *job = payload;
    const ln_state *s = job->s;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *x = psc_view_row(&job->event->tensor, i);
        const double mean = psc_sum_striped(s->n_dims, x) / s->n_dims;
        s->diagonal[job->event->rows[i].index] += psc_dot_centered(s->n_dims, x, mean, x, mean);
    }
}

static int on_writer(const psc_event *event, void *payload) {
    row_job job = {payload, event};
    job.s->host->parallel_for(job.s->context, event->n_rows, writer_rows, &job);
    return 0;
}

static int64_t site_of(const ln_state *s, const psc_event *event) {
    if (event->point == PSC_HOOK_LN_FINAL_SCALE) return s->n_sites - 1;
    if (event->point == PSC_HOOK_RESID_POST) return 2 * event->layer + 2;
    const int second = event->point == PSC_HOOK_RESID_MID || event->point == PSC_HOOK_LN2_SCALE;
    return 2 * event->layer + second;
}

static void residual_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const row_job *job = payload;
    const ln_state *s = job->s;
    (void)thread;
    const int twice = job->event->point == PSC_HOOK_RESID_PRE &&
                      s->host->model(s->context)->parallel_residual != 0;
    const int64_t first = site_of(s, job->event);
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = job->event->rows[i].index;
        const float *x = psc_view_row(&job->event->tensor, i);
        const double mean = psc_sum_striped(s->n_dims, x) / s->n_dims;
        const double norm2 = psc_dot_centered(s->n_dims, x, mean, x, mean);
        for (int64_t site = first; site <= first + twice; site++) {
            double *out = s->table + (row * s->n_sites + site) * QUANTITIES;
            out[MEAN] = mean;
            out[NORM] = sqrt(norm2);
            out[COUPLING] = norm2 > 0.0 ? 1.0 - s->diagonal[row] / norm2 : 0.0;
        }
    }
}

static int on_residual(const psc_event *event, void *payload) {
    row_job job = {payload, event};
    job.s->host->parallel_for(job.s->context, event->n_rows, residual_rows, &job);
    return 0;
}

static int on_scale(const psc_event *event, void *payload) {
    const ln_state *s = payload;
    const int64_t site = site_of(s, event);
    for (int64_t i = 0; i < event->n_rows; i++)
        s->table[(event->rows[i].index * (int64_t)s->n_sites + site) * QUANTITIES + SCALE] =
            (double)*psc_view_row(&event->tensor, i);
    return 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

int ln_corpus_open(ln_state *s) {
    return psc_moments_open(
        &s->moments, s->context, s->host, "sites", 1, (int64_t)s->n_sites * QUANTITIES);
}

int ln_corpus_begin(ln_state *s) {
    const psc_host *host = s->host;
    int32_t n_rows = 0;
    host->rows(s->context, &n_rows);
    const int32_t last = s->n_layers - 1;
    psc_filter all = PSC_FILTER_INIT, final = all;
    final.layers = &last;
    final.n_layers = 1;
    const uint64_t cells = (uint64_t)n_rows * (uint64_t)s->n_sites * QUANTITIES;
    s->table = host->run_alloc(s->context, cells * sizeof(double));
    s->diagonal = host->run_alloc(s->context, (uint64_t)n_rows * sizeof(double));
    if (!s->table || !s->diagonal ||
        psc_rows_resolve(s->context, host, "rows", &s->rows_choice, 0, &s->rows) ||
        psc_sequences_find(s->context, host, &s->sequences) || psc_moments_begin(&s->moments))
        return -1;
    const struct {
        psc_point point;
        psc_event_fn callback;
    } seen[] = {{PSC_HOOK_EMBED, on_writer}, {PSC_HOOK_ATTN_OUT, on_writer},
        {PSC_HOOK_MLP_OUT, on_writer}, {PSC_HOOK_RESID_PRE, on_residual},
        {PSC_HOOK_LN1_SCALE, on_scale}, {PSC_HOOK_LN2_SCALE, on_scale},
        {PSC_HOOK_LN_FINAL_SCALE, on_scale}};
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++)
        if (host->observe(s->context, seen[i].point, &all, seen[i].callback, s)) return -1;
    if (!host->model(s->context)->parallel_residual &&
        host->observe(s->context, PSC_HOOK_RESID_MID, &all, on_residual, s))
        return -1;
    return host->observe(s->context, PSC_HOOK_RESID_POST, &final, on_residual, s);
}

int ln_corpus_end(ln_state *s) {
    const int64_t n = (int64_t)s->n_sites * QUANTITIES;
    for (int32_t i = 0; i < s->rows.n; i++) {
        const int64_t row = s->rows.index[i];
        const int32_t place = s->sequences.place[row];
        psc_moments_count(&s->moments, place, 0);
        psc_moments_add_f64(&s->moments, place, 0, 0, n, s->table + row * n);
        const int ends = i + 1 == s->rows.n || s->sequences.place[s->rows.index[i + 1]] != place;
        if (ends) psc_moments_close(&s->moments, place, 0, 0, n);
    }
    return psc_moments_end(&s->moments);
}

/* --- the report ------------------------------------------------------------------------------ */

static int sites_axis(ln_state *s) {
    char(*labels)[24] = s->host->run_alloc(s->context, (uint64_t)s->n_sites * sizeof *labels);
    const char **list = s->host->run_alloc(s->context, (uint64_t)s->n_sites * sizeof *list);
    if (!labels || !list) return -1;
    for (int32_t i = 0; i < s->n_sites; i++) {
        ln_site_label(s, i, labels[i]);
        list[i] = labels[i];
    }
    return s->host->axis_labels(s->context, "sites", s->n_sites, list) ||
           s->host->axis_labels(s->context, "quantities", QUANTITIES, names);
}

/* The total of a quantity's accumulator over both populations, by site. */
static int site_total(ln_state *s, int handle, int quantity, int32_t site, double *out) {
    const int64_t at = (int64_t)site * QUANTITIES + quantity, n = s->moments.n;
    double a = 0.0, b = 0.0;
    if (s->host->accumulated(s->context, handle, at, 1, &a) ||
        s->host->accumulated(s->context, handle, n + at, 1, &b))
        return -1;
    *out = a + b;
    return 0;
}

static int sites_summary(ln_state *s, double tokens) {
    enum { MOST = 13 };
    const int step = 1 + (s->host->model(s->context)->parallel_residual != 0);
    const int32_t count = (s->n_sites - 1) / step + 1, n = count < MOST ? count : MOST;
    char text[MOST][64], sentence[200];
    const char *labels[MOST];
    double means[MOST], sum = 0.0, square = 0.0, coupling = 0.0;
    const double longest = s->host->model(s->context)->n_ctx;
    if (s->host->value_number(s->context, "tokens", tokens)) return -1;
    if (!(tokens > 0.0)) return s->host->summary_text(s->context, "The corpus has no rows.");
    for (int32_t i = 0; i < n; i++) {
        const int32_t site = n > 1 ? (int32_t)((int64_t)i * (count - 1) / (n - 1)) * step : 0;
        char label[24];
        if (site_total(s, s->moments.sums, SCALE, site, &sum) ||
            site_total(s, s->moments.squares, SCALE, site, &square))
            return -1;
        means[i] = sum / tokens;
        ln_site_label(s, site, label);
        snprintf(text[i], sizeof text[i], "%s (sd %.3g)", label,
            sqrt(psc_variance(tokens, longest, sum, square)));
        labels[i] = text[i];
    }
    snprintf(sentence, sizeof sentence, "Over %s:", PSC_MANY(tokens, "token"));
    if (s->host->summary_text(s->context, sentence) ||
        s->host->summary_bars(s->context,
            step == 2 ? "mean LayerNorm scale (sigma; ln2 equals ln1)"
                      : "mean LayerNorm scale (sigma)",
            "", n, labels, means) ||
        site_total(s, s->moments.sums, COUPLING, s->n_sites - 1, &coupling))
        return -1;
    snprintf(sentence, sizeof sentence,
        "At ln_final the mean coupling fraction is %.2f: that part of |P(x)|^2 comes from pairs of "
        "different writes.",
        coupling / tokens);
    return s->host->summary_text(s->context, sentence);
}

int ln_corpus_report(ln_state *s) {
    static const char *const axes[] = {"sites", "quantities"};
    double tokens;
    return psc_populations_axis(s->context, s->host) || sites_axis(s) ||
           psc_moments_counts(&s->moments, "rows_counted", 0, NULL) ||
           psc_moments_report(&s->moments, "site", 0, s->moments.n, 2, axes) ||
           psc_moments_total(&s->moments, 0, &tokens) || sites_summary(s, tokens);
}
