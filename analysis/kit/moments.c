/* mean = S/n, variance = Q/n - mean^2 (of the population), S and Q the sums of values and squares.
 * A sequence's partials are f64 sums in row order; the host rounds each to its grid and adds them
 * exactly.
 *
 * Error of the variance: a partial of m values errs by (m - 1) 2^-53 of the sum of its terms'
 * sizes, and by 2^-41 more on the grid. With at most n partials and mean |x| <= sqrt(Q/n)
 *   |error of Q/n| <= 2^-41 + m 2^-53 Q/n,  |error of mean^2| <= 2 |mean| 2^-41 + 2 m 2^-53 Q/n
 * and 16 more units of 2^-53 cover reading and adding the totals and this formula itself. */
#include "moments.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- a run ----------------------------------------------------------------------------------- */

int psc_sequences_find(psc_context *context, const psc_host *host, psc_sequences *out) {
    int32_t n = 0;
    const psc_row *rows = host->rows(context, &n);
    int32_t *place = host->run_alloc(context, (uint64_t)n * sizeof *place + 1);
    if (!place) return -1;
    out->n = 0;
    for (int32_t i = 0; i < n; i++) {
        out->n += i == 0 || rows[i].sequence != rows[i - 1].sequence;
        place[i] = 2 * (out->n - 1) + (rows[i].position > 0);
    }
    out->place = place;
    return 0;
}

int psc_moments_open(psc_moments *m, psc_context *context, const psc_host *host, const char *name,
    int64_t groups, int64_t n) {
    const struct {
        int *handle;
        const char *suffix;
        psc_accumulate kind;
        int64_t slots;
    } tables[] = {{&m->counts, "count", PSC_ACCUMULATE_COUNT, 2 * groups},
        {&m->sums, "sum", PSC_ACCUMULATE_SUM, 2 * groups * n},
        {&m->squares, "squares", PSC_ACCUMULATE_SUM, 2 * groups * n},
        {&m->low, "min", PSC_ACCUMULATE_MIN, 2 * groups * n},
        {&m->high, "max", PSC_ACCUMULATE_MAX, 2 * groups * n}};
    m->context = context;
    m->host = host;
    m->groups = groups;
    m->n = n;
    m->kernels = host->reductions(context);
    if (!m->kernels) return -1;
    for (int i = 0; i < 5; i++) {
        char full[64];
        snprintf(full, sizeof full, "%s.%s", name, tables[i].suffix);
        *tables[i].handle = host->accumulator(context, full, tables[i].kind, tables[i].slots, 0);
        if (*tables[i].handle < 0) return -1;
    }
    return 0;
}

/* No partial yet. */
static void empty(psc_moments *m, int64_t at, int64_t n) {
    for (int64_t i = at; i < at + n; i++) {
        m->sum[i] = m->square[i] = 0.0;
        m->least[i] = INFINITY;
        m->most[i] = -INFINITY;
    }
}

int psc_moments_begin(psc_moments *m) {
    const uint64_t cells = 2 * (uint64_t)m->groups, slots = cells * (uint64_t)m->n;
    m->failed = 0;
    m->count = m->host->run_alloc(m->context, cells * sizeof(double) + 1);
    double **tables[] = {&m->sum, &m->square, &m->least, &m->most};
    for (int i = 0; i < 4; i++) {
        *tables[i] = m->host->run_alloc(m->context, slots * sizeof(double) + 1);
        if (!*tables[i]) return -1;
    }
    empty(m, 0, (int64_t)slots);
    return m->count ? 0 : -1;
}

/* The first of the slots of a place and a group. */
static int64_t slot_of(const psc_moments *m, int32_t place, int64_t group) {
    return (place % 2 * m->groups + group) * m->n;
}

void psc_moments_add(
    psc_moments *m, int32_t place, int64_t group, int64_t begin, int64_t n, const float *values) {
    psc_moments_add_rows(m, place, group, begin, n, values, n, 1);
}

void psc_moments_add_rows(psc_moments *m, int32_t place, int64_t group, int64_t begin, int64_t n,
    const float *values, int64_t stride, int64_t n_rows) {
    enum { TOGETHER = 16 }; /* rows whose values are read side by side, as streams */
    const int64_t at = slot_of(m, place, group) + begin;
    for (int64_t r = 0; r < n_rows; r += TOGETHER)
        m->kernels->add_moments(m->sum + at, m->square + at, m->least + at, m->most + at,
            values + r * stride, (size_t)stride,
            (size_t)(n_rows - r < TOGETHER ? n_rows - r : TOGETHER), (size_t)n);
}

void psc_moments_add_f64(
    psc_moments *m, int32_t place, int64_t group, int64_t begin, int64_t n, const double *values) {
    const int64_t at = slot_of(m, place, group) + begin;
    for (int64_t i = 0; i < n; i++) {
        const double value = values[i];
        m->sum[at + i] += value;
        m->square[at + i] += value * value;
        m->least[at + i] = value < m->least[at + i] ? value : m->least[at + i];
        m->most[at + i] = value > m->most[at + i] ? value : m->most[at + i];
    }
}

void psc_moments_close(psc_moments *m, int32_t place, int64_t group, int64_t begin, int64_t n) {
    const psc_host *host = m->host;
    const int64_t at = slot_of(m, place, group) + begin;
    if (host->accumulate(m->context, m->sums, at, n, m->sum + at) ||
        host->accumulate(m->context, m->squares, at, n, m->square + at) ||
        host->accumulate(m->context, m->low, at, n, m->least + at) ||
        host->accumulate(m->context, m->high, at, n, m->most + at))
        m->failed = 1;
    empty(m, at, n);
}

void psc_moments_count(psc_moments *m, int32_t place, int64_t group) {
    m->count[place % 2 * m->groups + group] += 1.0;
}

int psc_moments_end(psc_moments *m) {
    return m->failed || m->host->accumulate(m->context, m->counts, 0, 2 * m->groups, m->count) ? -1
                                                                                               : 0;
}

/* --- variances ------------------------------------------------------------------------------- */

double psc_variance_error(double n, double longest, double sum, double squares) {
    const double grid = 0x1p-41 * (1.0 + 2.0 * fabs(sum / n));
    return grid + (3.0 * fmin(n, longest) + 16.0) * 0x1p-53 * (squares / n);
}

double psc_variance(double n, double longest, double sum, double squares) {
    if (!(n > 0.0)) return NAN;
    const double mean = sum / n, variance = squares / n - mean * mean;
    return n > 1.0 && variance > psc_variance_error(n, longest, sum, squares) ? variance : 0.0;
}

double psc_correlation(double n, double longest, const double a[2], const double b[2], double ab) {
    const double *const sums[2] = {a, b};
    double root[2];
    for (int i = 0; i < 2; i++) {
        const double sum = sums[i][0], squares = sums[i][1];
        const double variance = psc_variance(n, longest, sum, squares);
        if (!(1e-4 * variance > psc_variance_error(n, longest, sum, squares))) return NAN;
        root[i] = sqrt(n * squares - sum * sum);
    }
    const double r = (n * ab - a[0] * b[0]) / (root[0] * root[1]);
    return r > 1.0 ? 1.0 : r < -1.0 ? -1.0 : r; /* rounding may pass 1 by the error below */
}

/* --- the report ------------------------------------------------------------------------------ */

int psc_populations_axis(psc_context *context, const psc_host *host) {
    static const char *const labels[] = {"all", "without position 0"};
    return host->axis_labels(context, "populations", 2, labels);
}

/* [populations, axes...] */
static double *new_array(
    psc_moments *m, const char *name, int32_t n_axes, const char *const *axes) {
    const char *all[6] = {"populations"};
    if (n_axes > 5) return NULL;
    for (int32_t i = 0; i < n_axes; i++) all[i + 1] = axes[i];
    return m->host->array(m->context, name, PSC_F64, n_axes + 1, all);
}

typedef struct totals {
    double *count, *sum, *square, *least, *most; /* [2, groups], [2, groups, n] */
} totals;

static int read_totals(psc_moments *m, totals *t) {
    const int64_t cells = 2 * m->groups, slots = cells * m->n;
    const struct {
        double **to;
        int handle;
        int64_t n;
    } all[] = {{&t->count, m->counts, cells}, {&t->sum, m->sums, slots},
        {&t->square, m->squares, slots}, {&t->least, m->low, slots}, {&t->most, m->high, slots}};
    for (int i = 0; i < 5; i++) {
        *all[i].to = m->host->run_alloc(m->context, (uint64_t)all[i].n * sizeof(double) + 1);
        if (!*all[i].to || m->host->accumulated(m->context, all[i].handle, 0, all[i].n, *all[i].to))
            return -1;
    }
    return 0;
}

int psc_moments_report(psc_moments *m, const char *prefix, int64_t begin, int64_t n, int32_t n_axes,
    const char *const *axes) {
    static const char *const suffixes[] = {"mean", "variance", "min", "max"};
    const double longest = m->host->model(m->context)->n_ctx;
    totals t;
    double *out[4];
    if (read_totals(m, &t)) return -1;
    for (int i = 0; i < 4; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s_%s", prefix, suffixes[i]);
        out[i] = new_array(m, name, n_axes, axes);
        if (!out[i]) return -1;
    }
    for (int64_t i = 0; i < 2 * m->groups * n; i++) {
        const int64_t group = i / n % m->groups, all = i < m->groups * n;
        const int64_t b = (m->groups + group) * m->n + begin + i % n, a = b - m->groups * m->n;
        const double count = t.count[m->groups + group] + (all ? t.count[group] : 0.0);
        const double sum = t.sum[b] + (all ? t.sum[a] : 0.0);
        const double square = t.square[b] + (all ? t.square[a] : 0.0);
        const int none = !(count > 0);
        out[0][i] = none ? NAN : sum / count;
        out[1][i] = psc_variance(count, longest, sum, square);
        out[2][i] = none ? NAN : all && t.least[a] < t.least[b] ? t.least[a] : t.least[b];
        out[3][i] = none ? NAN : all && t.most[a] > t.most[b] ? t.most[a] : t.most[b];
    }
    return 0;
}

int psc_moments_counts(psc_moments *m, const char *name, int32_t n_axes, const char *const *axes) {
    double *out = new_array(m, name, n_axes, axes);
    if (!out || m->host->accumulated(m->context, m->counts, 0, 2 * m->groups, out)) return -1;
    for (int64_t g = 0; g < m->groups; g++) out[g] += out[m->groups + g]; /* 0: all */
    return 0;
}

int psc_moments_total(const psc_moments *m, int64_t group, double *out) {
    double a, b;
    if (m->host->accumulated(m->context, m->counts, group, 1, &a) ||
        m->host->accumulated(m->context, m->counts, m->groups + group, 1, &b))
        return -1;
    *out = a + b;
    return 0;
}

/* --- sums and counts of rows ----------------------------------------------------------------- */

int psc_tally_open(
    psc_tally *t, psc_context *context, const psc_host *host, int64_t n_sums, int64_t n_counts) {
    t->context = context;
    t->host = host;
    t->n_sums = n_sums;
    t->n_counts = n_counts;
    t->sums = host->accumulator(context, "sums", PSC_ACCUMULATE_SUM, n_sums, 0);
    t->counts = host->accumulator(context, "counts", PSC_ACCUMULATE_COUNT, n_counts, 0);
    return t->sums < 0 || t->counts < 0 ? -1 : 0;
}

int psc_tally_rows(const psc_tally *t, const psc_row_set *rows, psc_tally_fn add, void *payload) {
    const uint64_t bytes = (uint64_t)(t->n_sums + t->n_counts) * sizeof(double);
    double *sums = t->host->run_alloc(t->context, bytes);
    if (!sums) return -1;
    double *counts = sums + t->n_sums;
    int32_t n_all = 0;
    const psc_row *all = t->host->rows(t->context, &n_all);
    for (int32_t r = 0; r < rows->n; r++) {
        const psc_row *row = &all[rows->index[r]];
        add(payload, r, 0, sums, counts);
        if (row->position > 0) add(payload, r, 1, sums, counts);
        if (r + 1 < rows->n && all[rows->index[r + 1]].sequence == row->sequence) continue;
        if (t->host->accumulate(t->context, t->sums, 0, t->n_sums, sums) ||
            t->host->accumulate(t->context, t->counts, 0, t->n_counts, counts))
            return -1;
        memset(sums, 0, (size_t)bytes);
    }
    return 0;
}

int psc_tally_totals(const psc_tally *t, const double **sums, const double **counts) {
    static const char *const scopes[] = {"all", "without_position_0"};
    const psc_host *host = t->host;
    double *both =
        host->run_alloc(t->context, (uint64_t)(t->n_sums + t->n_counts) * sizeof(double));
    if (!both) return -1;
    *sums = both;
    *counts = both + t->n_sums;
    return host->accumulated(t->context, t->sums, 0, t->n_sums, both) ||
                   host->accumulated(t->context, t->counts, 0, t->n_counts, both + t->n_sums) ||
                   host->axis_labels(t->context, "scopes", 2, scopes)
               ? -1
               : 0;
}
