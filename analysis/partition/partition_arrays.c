/* The results of `partition` for one run: one array per figure, f64 (i32 for a flag or an id).
 *
 *   of the logits before      log_z, log_z_gap, margin [lenses, rows], top_share [.., top],
 *                             mass [.., bins]
 *   of a change               dlogz, mean_dz, expected_dz, first_order_error, half_variance,
 *                             fit_alpha, fit_beta, fit_r2 [perturbations, rows]
 *                             constant_z_error [gauges, perturbations, rows]
 *                             bin_dz, bin_abs_dz [gauges, perturbations, rows, bins]
 *                             bin_p_dz [perturbations, rows, bins], reordered [.., top]
 *                             dz [gauges, targets, perturbations, rows], dlogp [targets, ...] */
#include "partition_arrays.h"

#include <math.h>
#include <stdio.h>

static const char *const gauge_names[] = {"raw", "minus_mean", "minus_expected"};
static const char *const bin_names[] = {"1", "2-10", "11-100", "101-1000", "beyond"};
static const char *const top_names[] = {"1", "10"};

int partition_axes(partition_state *s) {
    const psc_host *host = s->host;
    const uint64_t most = (uint64_t)s->n_changes + (uint64_t)s->n_lenses;
    const char **labels = host->run_alloc(s->context, (most + 1) * sizeof *labels);
    char(*names)[24] = host->run_alloc(s->context, (uint64_t)s->n_lenses * sizeof *names);
    if (!labels || !names) return -1;
    for (int32_t i = 0; i < s->n_changes; i++) labels[i] = s->changes[i].label;
    const char **lenses = labels + s->n_changes;
    for (int32_t i = 0; i < s->n_lenses; i++) {
        snprintf(names[i], sizeof *names, i + 1 < s->n_lenses ? "%d_pre" : "final", (int)i);
        lenses[i] = names[i];
    }
    return host->axis_labels(s->context, "perturbations", s->n_changes, labels) ||
                   host->axis_labels(s->context, "lenses", s->n_lenses, lenses) ||
                   host->axis_labels(s->context, "gauges", PARTITION_GAUGES, gauge_names) ||
                   host->axis_labels(s->context, "bins", PARTITION_BINS, bin_names) ||
                   host->axis_labels(s->context, "top", 2, top_names)
               ? -1
               : 0;
}

/* Arrays over the same axes, with their names. */
typedef struct array_list {
    void **to;
    const char *const *names;
    int32_t n;
    psc_element element;
} array_list;

static int make(partition_state *s, array_list list, int32_t n_axes, const char *const *axes) {
    for (int32_t i = 0; i < list.n; i++) {
        list.to[i] = s->host->array(s->context, list.names[i], list.element, n_axes, axes);
        if (!list.to[i]) return -1;
    }
    return 0;
}

static int make_before(partition_state *s, partition_arrays *a) {
    static const char *const axes[] = {"lenses", "rows", "bins"};
    static const char *const top[] = {"lenses", "rows", "top"};
    static const char *const names[] = {"log_z", "log_z_gap", "margin"};
    void *made[3];
    if (make(s, (array_list){made, names, 3, PSC_F64}, 2, axes)) return -1;
    a->log_z = made[0];
    a->gap = made[1];
    a->margin = made[2];
    a->mass = s->host->array(s->context, "mass", PSC_F64, 3, axes);
    a->top_share = s->host->array(s->context, "top_share", PSC_F64, 3, top);
    return a->mass && a->top_share ? 0 : -1;
}

static int make_changes(partition_state *s, partition_arrays *a) {
    static const char *const axes[] = {"gauges", "perturbations", "rows", "bins"};
    static const char *const top[] = {"perturbations", "rows", "top"};
    static const char *const names[PARTITION_SCALARS] = {"dlogz", "mean_dz", "expected_dz",
        "first_order_error", "half_variance", "fit_alpha", "fit_beta", "fit_r2"};
    static const char *const target_axes[] = {"gauges", "targets", "perturbations", "rows"};
    void *made[PARTITION_SCALARS];
    if (make(s, (array_list){made, names, PARTITION_SCALARS, PSC_F64}, 2, axes + 1)) return -1;
    for (int i = 0; i < PARTITION_SCALARS; i++) a->scalars[i] = made[i];
    const psc_host *host = s->host;
    a->constant_z_error = host->array(s->context, "constant_z_error", PSC_F64, 3, axes);
    a->bin_dz = host->array(s->context, "bin_dz", PSC_F64, 4, axes);
    a->bin_abs_dz = host->array(s->context, "bin_abs_dz", PSC_F64, 4, axes);
    a->bin_p_dz = host->array(s->context, "bin_p_dz", PSC_F64, 3, axes + 1);
    a->reordered = host->array(s->context, "reordered", PSC_I32, 3, top);
    if (!a->constant_z_error || !a->bin_dz || !a->bin_abs_dz || !a->bin_p_dz || !a->reordered)
        return -1;
    a->dz = host->array(s->context, "dz", PSC_F64, 4, target_axes);
    a->dlogp = host->array(s->context, "dlogp", PSC_F64, 3, target_axes + 1);
    return a->dz && a->dlogp ? 0 : -1;
}

int partition_arrays_begin(partition_state *s) {
    partition_arrays *a = s->host->run_alloc(s->context, sizeof *a);
    s->arrays = a;
    if (!a || partition_axes(s) || psc_rows_axis(s->context, s->host, "rows", &s->rows)) return -1;
    return psc_targets_axis(s->context, s->host, s->targets.targets, s->n_targets) ||
           make_before(s, a) || make_changes(s, a);
}

/* --- a row ----------------------------------------------------------------------------------- */

static void put_before(const partition_state *s, int64_t lens, int64_t row) {
    const partition_before *before = &s->before[lens];
    const partition_arrays *a = s->arrays;
    const int64_t at = lens * s->rows.n + row;
    a->log_z[at] = before->log_z;
    a->gap[at] = before->shifted_log_z;
    a->margin[at] = before->margin;
    for (int i = 0; i < 2; i++) a->top_share[2 * at + i] = before->top_share[i];
    for (int i = 0; i < PARTITION_BINS; i++) a->mass[at * PARTITION_BINS + i] = before->mass[i];
}

static void put_targets(const partition_state *s, int64_t change, int64_t row) {
    const partition_arrays *a = s->arrays;
    const partition_measure *m = &s->measures[change];
    const int64_t cells = (int64_t)s->n_changes * s->rows.n, at = change * s->rows.n + row;
    for (int64_t t = 0; t < s->n_targets; t++) {
        const double dz = s->target_dz[change * s->n_targets + t];
        const double alone = s->ids[2 * t + 1] < 0; /* a common shift cancels in a contrast */
        for (int64_t g = 0; g < PARTITION_GAUGES; g++)
            a->dz[(g * s->n_targets + t) * cells + at] = dz - alone * m->shift[g];
        a->dlogp[t * cells + at] = dz - alone * m->dlogz;
    }
}

static void put_change(const partition_state *s, int64_t change, int64_t row) {
    const partition_arrays *a = s->arrays;
    const partition_measure *m = &s->measures[change];
    const int64_t cells = (int64_t)s->n_changes * s->rows.n, at = change * s->rows.n + row;
    const double scalars[PARTITION_SCALARS] = {m->dlogz, m->mean, m->expected,
        m->dlogz - m->expected, m->half_variance, m->alpha, m->beta, m->r2};
    for (int i = 0; i < PARTITION_SCALARS; i++) a->scalars[i][at] = scalars[i];
    for (int64_t g = 0; g < PARTITION_GAUGES; g++) {
        const int64_t cell = (g * cells + at) * PARTITION_BINS;
        a->constant_z_error[g * cells + at] = m->dlogz - m->shift[g];
        for (int bin = 0; bin < PARTITION_BINS; bin++) {
            a->bin_dz[cell + bin] = m->bin_dz[bin] - m->shift[g];
            a->bin_abs_dz[cell + bin] = m->bin_abs_dz[g][bin];
        }
    }
    for (int bin = 0; bin < PARTITION_BINS; bin++)
        a->bin_p_dz[at * PARTITION_BINS + bin] = m->bin_p_dz[bin];
    for (int i = 0; i < 2; i++) a->reordered[2 * at + i] = m->reordered[i];
}

void partition_arrays_change(partition_state *s, int64_t change, int64_t row) {
    put_change(s, change, row);
    put_targets(s, change, row);
}

void partition_arrays_row(partition_state *s, int32_t row) {
    for (int64_t i = 0; i < s->n_lenses; i++) put_before(s, i, row);
    for (int64_t i = 0; i < s->first[PARTITION_ABLATION]; i++) partition_arrays_change(s, i, row);
}

int partition_arrays_targets(const partition_state *s) {
    static const char *const pair[] = {"a", "b"}, *const axes[] = {"targets", "rows", "ids"};
    const int64_t count = 2 * (int64_t)s->n_targets * s->rows.n;
    if (s->host->axis_labels(s->context, "ids", 2, pair)) return -1;
    int32_t *ids = psc_token_ids_array(s->context, s->host, "target_ids", 3, axes);
    for (int64_t i = 0; ids && i < count; i++) ids[i] = s->targets.ids[i];
    return ids ? 0 : -1;
}
