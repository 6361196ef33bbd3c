/* The totals of `partition` over documents. A case is a change at a row. Its figures are added to
 * the slots of its change, by the row's margin and by groups of tokens (partition_corpus.h).
 *
 *   correlation of d and e = (n sum de - sum d sum e) / sqrt((n sum dd - (sum d)^2) (...)), NaN
 *   if the sums do not show that d and e vary (moments.h)
 *
 * A sequence is summed in f64 in row order and added once. Memory does not grow with the corpus. */
#include "partition_corpus.h"

#include <math.h>
#include <string.h>

int partition_corpus_open(partition_state *s) {
    const psc_host *host = s->host;
    partition_corpus *c = host->life_alloc(s->context, sizeof *c);
    const uint64_t changes = (uint64_t)s->n_changes, lenses = (uint64_t)s->n_lenses;
    if (!c) return -1;
    s->corpus = c;
    c->sum = host->life_alloc(s->context, changes * SUMS * sizeof(double) + 1);
    c->count = host->life_alloc(s->context, changes * COUNTS * sizeof(double) + 1);
    c->lens = host->life_alloc(s->context, lenses * LENS_SUMS * sizeof(double));
    if (!c->sum || !c->count || !c->lens) return -1;
    const psc_accumulate sum = PSC_ACCUMULATE_SUM, count = PSC_ACCUMULATE_COUNT;
    c->sums = host->accumulator(s->context, "changes", sum, (int64_t)changes * SUMS, 0);
    c->counts = host->accumulator(s->context, "cases", count, (int64_t)changes * COUNTS, 0);
    c->lenses = host->accumulator(s->context, "lenses", sum, (int64_t)lenses * LENS_SUMS, 0);
    c->rows = host->accumulator(s->context, "rows", count, 1, 0);
    return c->sums < 0 || c->counts < 0 || c->lenses < 0 || c->rows < 0 ? -1 : 0;
}

void partition_corpus_clear(partition_state *s) {
    partition_corpus *c = s->corpus;
    memset(c->sum, 0, (size_t)s->n_changes * SUMS * sizeof *c->sum);
    memset(c->count, 0, (size_t)s->n_changes * COUNTS * sizeof *c->count);
    memset(c->lens, 0, (size_t)s->n_lenses * LENS_SUMS * sizeof *c->lens);
    c->n_rows = 0.0;
}

/* --- one row --------------------------------------------------------------------------------- */

static int margin_class(double margin) {
    return margin < 0.1 ? 0 : margin < 0.3 ? 1 : margin < 0.7 ? 2 : 3;
}

/* Below -2, the bins from -2 to 2, and 2 and above. */
static int beta_bin(double beta) {
    if (beta < -2.0) return 0;
    return beta >= 2.0 ? BETA_BINS - 1 : 1 + psc_bin_of(beta, -2.0, 2.0, BETA_BINS - 2);
}

static void add_moments(const partition_measure *m, double next_dz, double *sum, double *count) {
    for (int group = 0; group < GROUPS; group++) {
        const double dz = group == NEXT_GROUP ? next_dz : m->bin_dz[group];
        if (isnan(dz)) continue;
        count[COUNT_GROUPS + group] += 1.0;
        for (int g = 0; g < PARTITION_GAUGES; g++) {
            double *to = sum + SUM_MOMENTS + (g * GROUPS + group) * MOMENTS;
            const double d = dz - m->shift[g], e = m->dlogz - m->shift[g];
            to[ABS_D] += group == NEXT_GROUP ? fabs(d) : m->bin_abs_dz[g][group];
            to[SUM_D] += d;
            to[SUM_DD] += d * d;
            to[SUM_E] += e;
            to[SUM_EE] += e * e;
            to[SUM_ED] += e * d;
        }
    }
}

static void add_fit(const partition_measure *m, double *sum, double *count) {
    if (isnan(m->r2)) return;
    sum[SUM_ALPHA] += m->alpha;
    sum[SUM_BETA] += m->beta;
    sum[SUM_R2] += m->r2;
    count[COUNT_FITS] += 1.0;
    count[COUNT_BETA + beta_bin(m->beta)] += 1.0;
    count[COUNT_R2 + psc_bin_of(m->r2, 0.0, 1.0, R2_BINS)] += 1.0;
}

void partition_corpus_change(partition_state *s, int64_t change, const partition_before *before) {
    const partition_measure *m = &s->measures[change];
    double *sum = s->corpus->sum + change * SUMS, *count = s->corpus->count + change * COUNTS;
    double *of_margin = count + COUNT_MARGINS + margin_class(before->margin) * MARGIN_COUNTS;
    of_margin[COUNT_CASES] += 1.0;
    for (int g = 0; g < PARTITION_GAUGES; g++) {
        const double e = m->dlogz - m->shift[g];
        sum[SUM_ABS_E + g] += fabs(e);
        sum[SUM_SIGNED_E + g] += e;
        of_margin[COUNT_FAR + g] += fabs(e) > PARTITION_FAR;
    }
    for (int i = 0; i < 2; i++) of_margin[COUNT_REORDERED + i] += m->reordered[i];
    sum[SUM_HALF_VARIANCE] += m->half_variance;
    add_moments(m, s->target_dz[change * s->n_targets], sum, count);
    add_fit(m, sum, count);
}

void partition_corpus_row(partition_state *s) {
    for (int64_t i = 0; i < s->first[PARTITION_ABLATION]; i++) {
        const int step = s->changes[i].kind == PARTITION_STEP;
        partition_corpus_change(s, i, &s->before[step ? s->changes[i].at : s->n_lenses - 1]);
    }
    for (int64_t i = 0; i < s->n_lenses; i++) {
        const partition_before *before = &s->before[i];
        double *sum = s->corpus->lens + i * LENS_SUMS;
        sum[LENS_LOG_Z] += before->log_z;
        sum[LENS_LOG_Z2] += before->log_z * before->log_z;
        sum[LENS_GAP] += before->shifted_log_z;
        sum[LENS_GAP2] += before->shifted_log_z * before->shifted_log_z;
        sum[LENS_MARGIN] += before->margin;
        for (int k = 0; k < 2; k++) sum[LENS_TOP + k] += before->top_share[k];
        for (int k = 0; k < PARTITION_BINS; k++) sum[LENS_MASS + k] += before->mass[k];
    }
    s->corpus->n_rows += 1.0;
}

int partition_corpus_sequence(partition_state *s) {
    const psc_host *host = s->host;
    partition_corpus *c = s->corpus;
    const int64_t sums = (int64_t)s->n_changes * SUMS, counts = (int64_t)s->n_changes * COUNTS;
    const int64_t lenses = (int64_t)s->n_lenses * LENS_SUMS;
    if ((sums && (host->accumulate(s->context, c->sums, 0, sums, c->sum) ||
                     host->accumulate(s->context, c->counts, 0, counts, c->count))) ||
        host->accumulate(s->context, c->lenses, 0, lenses, c->lens) ||
        host->accumulate(s->context, c->rows, 0, 1, &c->n_rows))
        return -1;
    partition_corpus_clear(s);
    return 0;
}

/* --- figures from totals --------------------------------------------------------------------- */

static double counted(partition_totals t, int what, int margin) {
    double sum = 0.0;
    for (int m = 0; m < MARGINS; m++)
        if (margin == MARGINS || m == margin)
            sum += t.count[COUNT_MARGINS + m * MARGIN_COUNTS + what];
    return sum;
}

double partition_cases(partition_totals t, int margin) {
    return counted(t, COUNT_CASES, margin);
}

double partition_share(partition_totals t, int what, int margin) {
    return partition_divide(counted(t, what, margin), partition_cases(t, margin));
}

static const double *moments(partition_totals t, int gauge, int group) {
    return t.sum + SUM_MOMENTS + (gauge * GROUPS + group) * MOMENTS;
}

double partition_mean_abs_dz(partition_totals t, int gauge, int group) {
    return partition_divide(moments(t, gauge, group)[ABS_D], t.count[COUNT_GROUPS + group]);
}

double partition_correlation(partition_totals t, int gauge, int group) {
    const double *m = moments(t, gauge, group), n = t.count[COUNT_GROUPS + group];
    return psc_correlation(n, t.longest, m + SUM_D, m + SUM_E, m[SUM_ED]);
}

double partition_quantile(const double *histogram, int n, double low, double width, double q) {
    double all = 0.0, below = 0.0;
    for (int i = 0; i < n; i++) all += histogram[i];
    if (!(all > 0.0)) return NAN;
    int i = 0;
    for (; i + 1 < n && below + histogram[i] < q * all; i++) below += histogram[i];
    return low + width * (i + partition_divide(q * all - below, histogram[i]));
}

double partition_beta_quantile(partition_totals t, double q) {
    return partition_quantile(t.count + COUNT_BETA, BETA_BINS, -2.0 - BETA_WIDTH, BETA_WIDTH, q);
}

double partition_r2_quantile(partition_totals t, double q) {
    return partition_quantile(t.count + COUNT_R2, R2_BINS, 0.0, R2_WIDTH, q);
}

/* --- arrays ---------------------------------------------------------------------------------- */

static const char *const group_names[] = {"1", "2-10", "11-100", "101-1000", "beyond", "next"};
static const char *const margin_names[] = {"0-0.1", "0.1-0.3", "0.3-0.7", "0.7-1", "all"};
static const char *const quantile_names[] = {"0.1", "0.5", "0.9"};
static const double quantiles[] = {0.1, 0.5, 0.9};

typedef struct corpus_arrays {
    double *abs_e, *signed_e, *abs_dz, *correlation, *far, *cases, *reordered;
    double *means[5]; /* half_variance, fit_alpha, fit_beta, fit_r2, fits */
    double *beta, *r2, *beta_histogram, *r2_histogram;
} corpus_arrays;

static int corpus_axes(partition_state *s) {
    const psc_host *host = s->host;
    return partition_axes(s) || host->axis_labels(s->context, "groups", GROUPS, group_names) ||
                   host->axis_labels(s->context, "margins", MARGINS + 1, margin_names) ||
                   host->axis_labels(s->context, "quantiles", 3, quantile_names) ||
                   psc_count_axis(s->context, host, "beta_bins", 0, BETA_BINS) ||
                   psc_count_axis(s->context, host, "r2_bins", 0, R2_BINS)
               ? -1
               : 0;
}

static int make_arrays(partition_state *s, corpus_arrays *a) {
    static const char *const change[] = {"perturbations"};
    static const char *const gauge[] = {"gauges", "perturbations"};
    static const char *const group[] = {"gauges", "perturbations", "groups"};
    static const char *const margin[] = {"gauges", "perturbations", "margins"};
    static const char *const top[] = {"top", "perturbations", "margins"};
    static const char *const quantile[] = {"perturbations", "quantiles"};
    static const char *const beta[] = {"perturbations", "beta_bins"};
    static const char *const r2[] = {"perturbations", "r2_bins"};
    const struct {
        double **to;
        const char *name;
        int32_t n;
        const char *const *axes;
    } list[] = {{&a->abs_e, "mean_abs_dlogz", 2, gauge}, {&a->signed_e, "mean_dlogz", 2, gauge},
        {&a->abs_dz, "mean_abs_dz", 3, group}, {&a->correlation, "correlation", 3, group},
        {&a->far, "far", 3, margin}, {&a->cases, "cases", 2, margin + 1},
        {&a->reordered, "reordered", 3, top}, {&a->means[0], "mean_half_variance", 1, change},
        {&a->means[1], "mean_fit_alpha", 1, change}, {&a->means[2], "mean_fit_beta", 1, change},
        {&a->means[3], "mean_fit_r2", 1, change}, {&a->means[4], "fits", 1, change},
        {&a->beta, "fit_beta_quantiles", 2, quantile}, {&a->r2, "fit_r2_quantiles", 2, quantile},
        {&a->beta_histogram, "fit_beta_histogram", 2, beta},
        {&a->r2_histogram, "fit_r2_histogram", 2, r2}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        *list[i].to = s->host->array(s->context, list[i].name, PSC_F64, list[i].n, list[i].axes);
        if (!*list[i].to) return -1;
    }
    return 0;
}

static void fill_change(const partition_state *s, const corpus_arrays *a, int64_t change) {
    const partition_totals t = {s->corpus->sum + change * SUMS, s->corpus->count + change * COUNTS,
        s->host->model(s->context)->n_ctx};
    const double cases = partition_cases(t, MARGINS), fits = t.count[COUNT_FITS];
    for (int64_t g = 0; g < PARTITION_GAUGES; g++) {
        const int64_t at = g * s->n_changes + change;
        a->abs_e[at] = partition_divide(t.sum[SUM_ABS_E + g], cases);
        a->signed_e[at] = partition_divide(t.sum[SUM_SIGNED_E + g], cases);
        for (int k = 0; k < GROUPS; k++) {
            a->abs_dz[at * GROUPS + k] = partition_mean_abs_dz(t, (int)g, k);
            a->correlation[at * GROUPS + k] = partition_correlation(t, (int)g, k);
        }
        for (int m = 0; m <= MARGINS; m++)
            a->far[at * (MARGINS + 1) + m] = partition_share(t, COUNT_FAR + (int)g, m);
    }
    for (int m = 0; m <= MARGINS; m++) {
        a->cases[change * (MARGINS + 1) + m] = partition_cases(t, m);
        for (int64_t i = 0; i < 2; i++)
            a->reordered[(i * s->n_changes + change) * (MARGINS + 1) + m] =
                partition_share(t, COUNT_REORDERED + (int)i, m);
    }
    a->means[0][change] = partition_divide(t.sum[SUM_HALF_VARIANCE], cases);
    for (int i = 0; i < 3; i++)
        a->means[1 + i][change] = partition_divide(t.sum[SUM_ALPHA + i], fits);
    a->means[4][change] = fits;
    for (int i = 0; i < 3; i++) {
        a->beta[change * 3 + i] = partition_beta_quantile(t, quantiles[i]);
        a->r2[change * 3 + i] = partition_r2_quantile(t, quantiles[i]);
    }
    memcpy(
        a->beta_histogram + change * BETA_BINS, t.count + COUNT_BETA, BETA_BINS * sizeof(double));
    memcpy(a->r2_histogram + change * R2_BINS, t.count + COUNT_R2, R2_BINS * sizeof(double));
}

double partition_deviation(const partition_state *s, const double *lens, int what) {
    const double longest = s->host->model(s->context)->n_ctx;
    return sqrt(psc_variance(s->corpus->n_rows, longest, lens[what], lens[what + 1]));
}

static int lens_arrays(partition_state *s) {
    static const char *const axes[] = {"lenses", "bins"}, *const top[] = {"lenses", "top"};
    static const char *const names[] = {
        "mean_log_z", "sd_log_z", "mean_log_z_gap", "sd_log_z_gap", "mean_margin"};
    double *made[7];
    for (int i = 0; i < 7; i++) {
        const char *name = i < 5 ? names[i] : i == 5 ? "mean_top_share" : "mean_mass";
        made[i] = s->host->array(s->context, name, PSC_F64, 1 + (i >= 5), i == 5 ? top : axes);
        if (!made[i]) return -1;
    }
    const double n = s->corpus->n_rows;
    for (int64_t i = 0; i < s->n_lenses; i++) {
        const double *sum = s->corpus->lens + i * LENS_SUMS;
        made[0][i] = partition_divide(sum[LENS_LOG_Z], n);
        made[1][i] = partition_deviation(s, sum, LENS_LOG_Z);
        made[2][i] = partition_divide(sum[LENS_GAP], n);
        made[3][i] = partition_deviation(s, sum, LENS_GAP);
        made[4][i] = partition_divide(sum[LENS_MARGIN], n);
        for (int k = 0; k < 2; k++) made[5][2 * i + k] = partition_divide(sum[LENS_TOP + k], n);
        for (int k = 0; k < PARTITION_BINS; k++)
            made[6][PARTITION_BINS * i + k] = partition_divide(sum[LENS_MASS + k], n);
    }
    return 0;
}

int partition_corpus_report(partition_state *s) {
    const psc_host *host = s->host;
    partition_corpus *c = s->corpus;
    corpus_arrays arrays;
    const int64_t sums = (int64_t)s->n_changes * SUMS, counts = (int64_t)s->n_changes * COUNTS;
    if ((sums && (host->accumulated(s->context, c->sums, 0, sums, c->sum) ||
                     host->accumulated(s->context, c->counts, 0, counts, c->count))) ||
        host->accumulated(s->context, c->lenses, 0, (int64_t)s->n_lenses * LENS_SUMS, c->lens) ||
        host->accumulated(s->context, c->rows, 0, 1, &c->n_rows) || corpus_axes(s) ||
        make_arrays(s, &arrays) || lens_arrays(s))
        return -1;
    for (int64_t i = 0; i < s->n_changes; i++) fill_change(s, &arrays, i);
    return host->value_number(s->context, "rows", c->n_rows);
}
