/* Named values and arrays. Over T rows, with sums E = |y - y'|^2, Q = |y|^2 and m the mean of y:
 *
 *   mean_squared_error E/T;  explained_variance 1 - (E/T) / (Q/T - |m|^2), as SAELens's evaluation;
 *   sparsify's fvu is 1 minus it
 *   loss_recovered (l_zero - l_with) / (l_zero - l) */
#include "sae.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *sae_label(const sae_state *s, int32_t latent, char out[SAE_LABEL]) {
    if (s->d.out_layer < 0)
        snprintf(out, SAE_LABEL, "F%d", (int)latent);
    else
        snprintf(out, SAE_LABEL, "L%dF%d", (int)s->d.out_layer, (int)latent);
    return out;
}

static int put(sae_state *s, const char *name, double value) {
    return s->host->value_number(s->context, name, value);
}

static double explained_variance(const sae_state *s, const sae_totals *t) {
    const double n = t->counts[SAE_ROWS], error = t->sums[SAE_ERROR] / n;
    double variance = t->sums[SAE_SQUARE] / n;
    for (int32_t i = 0; i < s->d.d_out; i++) variance -= t->sum[i] / n * (t->sum[i] / n);
    if (n == 0) return (double)NAN;
    if (variance < 1e-10) return error < 1e-10 ? 1.0 : 0.0;
    return 1.0 - error / variance;
}

/* What was read: "topk: 65,536 latents (k = 32) at blocks.3.hook_resid_post, published for ...". */
static int put_dictionary(sae_state *s) {
    const psc_dictionary *d = &s->d;
    const psc_host *host = s->host;
    char line[700], k[32] = "";
    if (d->k) snprintf(k, sizeof k, " (k = %d)", (int)d->k);
    snprintf(line, sizeof line, "%.100s: %s latents%s at %.100s%s%.100s%s%.100s.", d->architecture,
        PSC_COMMAS(d->n_latents), k, d->in_name, d->is_transcoder ? " to " : "",
        d->is_transcoder ? d->out_name : "", *d->model_name ? ", published for " : "",
        d->model_name);
    return host->value_text(s->context, "architecture", d->architecture) ||
           host->value_text(s->context, "in", d->in_name) ||
           host->value_text(s->context, "out", d->out_name) ||
           host->value_text(s->context, "published_for", d->model_name) ||
           put(s, "n_latents", d->n_latents) || put(s, "k", d->k) ||
           host->summary_text(s->context, line);
}

static int put_loss(sae_state *s, const sae_totals *t) {
    const double n = t->counts[SAE_SCORED];
    char line[300];
    if (n == 0) return 0;
    const double plain = t->sums[SAE_LOSS_PLAIN] / n, with = t->sums[SAE_LOSS_WITH] / n;
    const double zero = t->sums[SAE_LOSS_ZERO] / n, span = zero - plain;
    const double recovered = span != 0 ? (zero - with) / span : (double)NAN;
    char figure[PSC_FIGURE];
    if (put(s, "loss", plain) || put(s, "loss_with", with) || put(s, "loss_zero", zero) ||
        put(s, "loss_recovered", recovered) || put(s, "tokens_scored", n))
        return -1;
    snprintf(line, sizeof line,
        "Loss %.4f nats; %.4f with the reconstruction in place, %.4f with zeros: recovered %s.",
        plain, with, zero, psc_figure(figure, 0, 4, recovered, ""));
    return s->host->summary_text(s->context, line);
}

int sae_figures(sae_state *s, const sae_totals *t) {
    const double n = t->counts[SAE_ROWS], variance = explained_variance(s, t);
    const double none = (double)NAN;
    const double l0 = n > 0 ? t->counts[SAE_ACTIVE] / n : none;
    const double cosine = n > 0 ? t->sums[SAE_COSINE] / n : none;
    char line[300], figure[PSC_FIGURE];
    if (put_dictionary(s) || put(s, "tokens", n) || put(s, "l0", l0) ||
        put(s, "l1", n > 0 ? t->sums[SAE_L1] / n : none) ||
        put(s, "mean_squared_error", n > 0 ? t->sums[SAE_ERROR] / n : none) ||
        put(s, "explained_variance", variance) || put(s, "cosine", cosine) ||
        put(s, "norm_ratio", n > 0 ? t->sums[SAE_RATIO] / n : none))
        return -1;
    if (n == 0) return s->host->summary_text(s->context, "No row was encoded.");
    snprintf(line, sizeof line,
        "%.1f latents are active per token; explained variance %s, cosine %.4f, over %s token%s.",
        l0, psc_figure(figure, 0, 4, variance, ""), cosine, PSC_COMMAS(n), n == 1 ? "" : "s");
    return s->host->summary_text(s->context, line) || put_loss(s, t);
}

/* --- a text ---------------------------------------------------------------------------------- */

static int put_rows(sae_state *s) {
    static const char *const axes[] = {"rows", "rank"};
    const psc_host *host = s->host;
    const int64_t n = s->rows.n, top = s->top;
    if (psc_count_axis(s->context, host, "rank", 0, top)) return -1;
    int32_t *ids = host->array(s->context, "latent_ids", PSC_I32, 2, axes);
    float *values = host->array(s->context, "latent_values", PSC_F32, 2, axes);
    int32_t *active = host->array(s->context, "active", PSC_I32, 1, axes);
    double *error = host->array(s->context, "squared_error", PSC_F64, 1, axes);
    double *square = host->array(s->context, "squared_norm", PSC_F64, 1, axes);
    double *cosine = host->array(s->context, "cosines", PSC_F64, 1, axes);
    if (!ids || !values || !active || !error || !square || !cosine) return -1;
    for (int64_t r = 0; r < n; r++) {
        active[r] = s->active[r];
        error[r] = s->error[r];
        square[r] = s->square[r];
        cosine[r] = s->cosine[r];
        for (int64_t k = 0; k < s->n_best[r]; k++) {
            ids[r * top + k] = (int32_t)s->best[r * top + k].index;
            values[r * top + k] = s->best_value[r * top + k];
        }
    }
    return 0;
}

/* listed_values [rows, listed] of the latents that the option names. */
static int put_listed(sae_state *s) {
    static const char *const axes[] = {"rows", "listed"};
    char names[SAE_LISTED][SAE_LABEL];
    const char *labels[SAE_LISTED];
    if (s->n_listed == 0) return 0;
    for (int32_t i = 0; i < s->n_listed; i++) labels[i] = sae_label(s, s->listed[i], names[i]);
    if (s->host->axis_labels(s->context, "listed", s->n_listed, labels)) return -1;
    float *values = s->host->array(s->context, "listed_values", PSC_F32, 2, axes);
    if (!values) return -1;
    memcpy(
        values, s->listed_value, (size_t)s->rows.n * (size_t)s->n_listed * sizeof *s->listed_value);
    return 0;
}

/* The last row's largest latents. */
static int show_last(sae_state *s) {
    enum { SHOWN = 10 };
    char names[SHOWN][SAE_LABEL], title[200], of[PSC_ROW_NAME];
    const char *labels[SHOWN];
    double values[SHOWN];
    if (s->rows.n == 0) return 0;
    const int64_t r = s->rows.n - 1;
    const int32_t n = s->n_best[r] < SHOWN ? s->n_best[r] : SHOWN;
    for (int32_t k = 0; k < n; k++) {
        labels[k] = sae_label(s, (int32_t)s->best[r * s->top + k].index, names[k]);
        values[k] = s->best_value[r * s->top + k];
    }
    snprintf(title, sizeof title, "Latents at %s, %d of %d",
        psc_row_name(s->context, s->host, &s->all[s->rows.index[r]], of), (int)n,
        (int)s->active[r]);
    return n > 0 ? s->host->summary_bars(s->context, title, "", n, labels, values) : 0;
}

int sae_report_text(sae_state *s) {
    sae_totals all = {.sum = s->host->run_alloc(s->context, (uint64_t)s->d.d_out * sizeof(double))};
    if (!all.sum) return -1;
    for (int32_t q = 0; q < s->sequences.n; q++) {
        const sae_totals *t = &s->totals[q];
        for (int i = 0; i < SAE_SUMS; i++) all.sums[i] += t->sums[i];
        for (int i = 0; i < SAE_COUNTS; i++) all.counts[i] += t->counts[i];
        for (int32_t i = 0; i < s->d.d_out; i++) all.sum[i] += t->sum[i];
    }
    return sae_figures(s, &all) || put_rows(s) || put_listed(s) || show_last(s) ||
           (s->shared && sae_shares_report(&s->shares));
}
