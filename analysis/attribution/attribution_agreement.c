/* How the estimates of the checked cells agree with their effects, over each target's largest
 * estimates and over the random cells. d = estimate - effect.
 *
 *   bias = mean d; error = sqrt(mean d^2); correlation: Pearson's; spearman: of ranks (ties equal)
 *   wrong_sign = cells with estimate * effect < 0
 *   small = other cells with |effect| >= largest |effect| / 10 and |estimate| < |effect| / 4 */
#include "attribution.h"
#include "agreement.h"

#include <math.h>

double attribution_largest(const attribution_state *s, int32_t target) {
    const double *exact = s->exact_effect + (int64_t)target * s->n_checked;
    double largest = 0.0;
    for (int32_t i = 0; i < s->n_checked; i++)
        if (fabs(exact[i]) > largest) largest = fabs(exact[i]);
    return largest;
}

attribution_fault attribution_fault_of(
    const attribution_state *s, int32_t target, int32_t checked, double largest) {
    const int64_t at = (int64_t)target * s->n_checked + checked;
    const double x = s->estimated[at], y = s->exact_effect[at];
    if ((x > 0.0 && y < 0.0) || (x < 0.0 && y > 0.0)) return FAULT_SIGN;
    const int small = y != 0.0 && fabs(y) >= 0.1 * largest && fabs(x) < 0.25 * fabs(y);
    return small ? FAULT_SMALL : FAULT_NONE;
}

/* NaN where one side is constant. */
static double correlate(int32_t n, const double *x, const double *y) {
    double mean_x = 0.0, mean_y = 0.0, xx = 0.0, yy = 0.0, xy = 0.0;
    for (int32_t i = 0; i < n; i++) {
        mean_x += x[i] / n;
        mean_y += y[i] / n;
    }
    for (int32_t i = 0; i < n; i++) {
        xx += (x[i] - mean_x) * (x[i] - mean_x);
        yy += (y[i] - mean_y) * (y[i] - mean_y);
        xy += (x[i] - mean_x) * (y[i] - mean_y);
    }
    return xx > 0.0 && yy > 0.0 ? xy / sqrt(xx * yy) : NAN;
}

typedef struct pairs {
    double *x, *y, *ranks; /* [n], [n], [2 n] */
    psc_rank_entry *scratch;
} pairs;

static attribution_agreement compare(
    const attribution_state *s, int32_t target, int set, const pairs *p) {
    const int64_t first = (int64_t)target * s->n_checked;
    const double largest = attribution_largest(s, target);
    attribution_agreement a = {0};
    double sum = 0.0, squares = 0.0;
    for (int32_t i = 0; i < s->n_checked; i++) {
        if (!(set == SET_RANDOM ? s->sampled[i] : s->largest[first + i])) continue;
        const double x = s->estimated[first + i], y = s->exact_effect[first + i];
        p->x[a.n] = x;
        p->y[a.n++] = y;
        sum += x - y;
        squares += (x - y) * (x - y);
        const attribution_fault fault = attribution_fault_of(s, target, i, largest);
        a.wrong_sign += fault == FAULT_SIGN;
        a.small += fault == FAULT_SMALL;
    }
    a.bias = a.n ? sum / a.n : NAN;
    a.error = a.n ? sqrt(squares / a.n) : NAN;
    a.correlation = correlate(a.n, p->x, p->y);
    a.spearman = a.n ? psc_spearman(a.n, p->x, p->y, p->ranks, p->scratch) : NAN;
    return a;
}

static int put_arrays(attribution_state *s) {
    static const char *const axes[] = {"targets", "sets"};
    static const char *const sets[] = {"largest", "random"};
    static const char *const names[] = {"bias", "error", "correlation", "spearman"};
    static const char *const counts[] = {"checked", "wrong_sign", "small"};
    const psc_host *host = s->host;
    double *numbers[4];
    int32_t *counted[3];
    if (host->axis_labels(s->context, "sets", N_SETS, sets)) return -1;
    for (int i = 0; i < 4; i++)
        if (!(numbers[i] = host->array(s->context, names[i], PSC_F64, 2, axes))) return -1;
    for (int i = 0; i < 3; i++)
        if (!(counted[i] = host->array(s->context, counts[i], PSC_I32, 2, axes))) return -1;
    for (int32_t i = 0; i < s->n_targets * N_SETS; i++) {
        const attribution_agreement *a = &s->agreement[i];
        const double values[] = {a->bias, a->error, a->correlation, a->spearman};
        const int32_t n[] = {a->n, a->wrong_sign, a->small};
        for (int k = 0; k < 4; k++) numbers[k][i] = values[k];
        for (int k = 0; k < 3; k++) counted[k][i] = n[k];
    }
    return 0;
}

int attribution_compare(attribution_state *s) {
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->n_checked;
    pairs p = {.x = host->run_alloc(s->context, 4 * n * sizeof(double) + 1)};
    p.scratch = host->run_alloc(s->context, n * sizeof *p.scratch + 1);
    s->agreement =
        host->run_alloc(s->context, N_SETS * (uint64_t)s->n_targets * sizeof *s->agreement + 1);
    if (!p.x || !p.scratch || !s->agreement) return -1;
    p.y = p.x + n;
    p.ranks = p.y + n;
    for (int32_t t = 0; t < s->n_targets; t++)
        for (int set = 0; set < N_SETS; set++) {
            attribution_agreement *a = &s->agreement[t * N_SETS + set];
            *a = (attribution_agreement){0, 0, 0, NAN, NAN, NAN, NAN};
            if (s->jobs[t].target >= 0) *a = compare(s, t, set, &p);
        }
    return put_arrays(s);
}
