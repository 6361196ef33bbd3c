/* How one row of logits differs from another. z before, z' = z + dz after, V logits each:
 *
 *   dlogZ         log sum exp z' - log sum exp z
 *   mean          sum_t dz_t / V                    E_p dz = sum_t p_t dz_t
 *   KL(p || p')   dlogZ - E_p dz, about Var_p(dz)/2
 *   fit           dz = alpha + beta (z - b), least squares over all t
 *   bins          by rank before: mean dz, mean |dz - shift|, sum p dz
 *
 * The largest logit is subtracted from z first, so that z' has a small f32 rounding error where p
 * is large. Sums are f64 in the fixed order of common.h; p is divided by its own sum. */
#include "partition.h"

#include <math.h>
#include <string.h>

static const int32_t bin_begin[PARTITION_BINS] = {0, 1, 10, 100, 1000};

/* --- the state before the change ------------------------------------------------------------- */

/* Whether a precedes b: larger, ties to the lower id. */
static int precedes(const float *z, int32_t a, int32_t b) {
    return z[a] > z[b] || (z[a] == z[b] && a < b);
}

/* An unsigned key that ascends as z descends; -0 counts as 0. */
static uint32_t descending(float z) {
    uint32_t bits;
    const float value = z + 0.0f;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}

/* One pass of a stable radix sort of ids, by 8 bits of the key. */
static void sort_pass(const float *z, const int32_t *ids, int32_t n, int shift, int32_t *out) {
    int32_t place[257] = {0};
    for (int32_t i = 0; i < n; i++) place[(descending(z[ids[i]]) >> shift & 255) + 1]++;
    for (int i = 0; i < 256; i++) place[i + 1] += place[i];
    for (int32_t i = 0; i < n; i++) out[place[descending(z[ids[i]]) >> shift & 255]++] = ids[i];
}

/* The n largest in order. a, b [n_all]: scratch. The keys' leading bits give a bound that few
 * values exceed; only those are sorted. */
static void rank(const float *z, int32_t n_all, int32_t n, int32_t *out, int32_t *a, int32_t *b) {
    enum { SHIFT = 20 };
    int32_t count[1 << (32 - SHIFT)] = {0}, found = 0, kept = 0;
    uint32_t last = 0;
    for (int32_t id = 0; id < n_all; id++) count[descending(z[id]) >> SHIFT]++;
    for (; found + count[last] < n; last++) found += count[last];
    for (int32_t id = 0; id < n_all; id++)
        if (descending(z[id]) >> SHIFT <= last) a[kept++] = id;
    for (int shift = 0; shift < 32; shift += 16) {
        sort_pass(z, a, kept, shift, b);
        sort_pass(z, b, kept, shift + 8, a);
    }
    memcpy(out, a, (size_t)n * sizeof *out);
}

static int32_t bin_end(const partition_before *before, int bin) {
    if (bin + 1 < PARTITION_BINS && bin_begin[bin + 1] < before->n_ranked)
        return bin_begin[bin + 1];
    return before->n_ranked;
}

void partition_before_build(const partition_state *s, partition_before *before) {
    const psc_host *host = s->host;
    const int64_t n = s->n_vocab;
    float *z = before->shifted;
    before->n_ranked = n < PARTITION_RANKED ? (int32_t)n : PARTITION_RANKED;
    rank(z, (int32_t)n, before->n_ranked, before->order, (int32_t *)before->direct,
        (int32_t *)before->p); /* not filled yet */
    const float most = z[before->order[0]];
    before->peak = (double)most;
    for (int64_t t = 0; t < n; t++) {
        before->direct[t] = z[t] - s->constant[t];
        z[t] -= most;
    }
    before->shifted_log_z = host->log_sum_exp(s->context, n, z);
    before->log_z = before->shifted_log_z + before->peak;
    for (int64_t t = 0; t < n; t++) before->p[t] = z[t] - (float)before->shifted_log_z;
    host->exp(s->context, n, before->p, before->p);
    before->p_sum = psc_sum_striped(n, before->p);
    before->direct_sum = psc_sum_striped(n, before->direct);
    before->direct_squares = psc_dot_striped(n, before->direct, before->direct);
    double rest = 1.0, top = 0.0;
    for (int bin = 0; bin < PARTITION_BINS - 1; bin++) {
        double mass = 0.0;
        for (int32_t i = bin_begin[bin]; i < bin_end(before, bin); i++)
            mass += (double)before->p[before->order[i]];
        before->mass[bin] = mass / before->p_sum;
        rest -= before->mass[bin];
        if (bin < 2) before->top_share[bin] = top += before->mass[bin];
    }
    before->mass[PARTITION_BINS - 1] = n > before->n_ranked ? fmax(rest, 0.0) : 0.0;
    const double second = n > 1 ? (double)before->p[before->order[1]] : 0.0;
    before->margin = ((double)before->p[before->order[0]] - second) / before->p_sum;
}

/* --- the change ------------------------------------------------------------------------------ */

/* sum p dz^2 */
static double weighted_squares(int64_t n, const float *p, const float *dz) {
    double s[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) s[j] += (double)p[i + j] * ((double)dz[i + j] * dz[i + j]);
    for (int j = 0; i + j < n; j++) s[j] += (double)p[i + j] * ((double)dz[i + j] * dz[i + j]);
    return psc_fold16(s);
}

/* sum |dz - shift| */
static double distance(int64_t n, const float *dz, double shift) {
    double s[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) s[j] += fabs((double)dz[i + j] - shift);
    for (int j = 0; i + j < n; j++) s[j] += fabs((double)dz[i + j] - shift);
    return psc_fold16(s);
}

/* Whether a variance E x^2 - (E x)^2 exceeds the rounding error of its sums, 16 stripes of n/16
 * terms each (moments.h has the rule for sums over documents). */
static int exceeds_rounding(double variance, double square, double n) {
    return variance > (3.0 * n / 16.0 + 32.0) * 0x1p-53 * square;
}

static void fit(const partition_state *s, const partition_before *before, const float *dz,
    double sum, partition_measure *out) {
    const double n = (double)s->n_vocab, mean = before->direct_sum / n;
    const double spread = before->direct_squares / n - mean * mean;
    const double cross = psc_dot_striped(s->n_vocab, dz, before->direct) / n - mean * sum / n;
    const double square = psc_dot_striped(s->n_vocab, dz, dz) / n;
    const double own = square - sum / n * (sum / n);
    const int varies = spread > 0.0 && exceeds_rounding(own, square, n);
    out->beta = spread > 0.0 ? cross / spread : 0.0;
    out->alpha = sum / n - out->beta * mean;
    out->r2 = varies ? fmin(cross / spread * (cross / own), 1.0) : NAN;
}

static void bins(const partition_state *s, const partition_before *before, const float *dz,
    double sum, partition_measure *out) {
    double left = sum, p_left = out->expected, far[PARTITION_GAUGES];
    for (int g = 0; g < PARTITION_GAUGES; g++) far[g] = distance(s->n_vocab, dz, out->shift[g]);
    for (int bin = 0; bin < PARTITION_BINS - 1; bin++) {
        const int32_t begin = bin_begin[bin], end = bin_end(before, bin);
        double total = 0.0, p_total = 0.0, away[PARTITION_GAUGES] = {0};
        for (int32_t i = begin; i < end; i++) {
            const double change = (double)dz[before->order[i]];
            total += change;
            p_total += (double)before->p[before->order[i]] * change;
            for (int g = 0; g < PARTITION_GAUGES; g++) away[g] += fabs(change - out->shift[g]);
        }
        const double count = end > begin ? (double)(end - begin) : NAN;
        out->bin_dz[bin] = total / count;
        out->bin_p_dz[bin] = p_total / before->p_sum;
        for (int g = 0; g < PARTITION_GAUGES; g++) out->bin_abs_dz[g][bin] = away[g] / count;
        left -= total;
        p_left -= out->bin_p_dz[bin];
        for (int g = 0; g < PARTITION_GAUGES; g++) far[g] -= away[g];
    }
    const int last = PARTITION_BINS - 1;
    const int64_t beyond = s->n_vocab - before->n_ranked;
    const double count = beyond > 0 ? (double)beyond : NAN;
    out->bin_dz[last] = left / count;
    out->bin_p_dz[last] = beyond > 0 ? p_left : 0.0;
    for (int g = 0; g < PARTITION_GAUGES; g++) out->bin_abs_dz[g][last] = far[g] / count;
}

/* The number of ids that precede id: a larger z, or an equal z and a lower id. */
static int32_t rank_of(const float *z, int64_t n, int32_t id) {
    int32_t larger = 0, equal = 0;
    const float own = z[id];
    for (int64_t t = 0; t < n; t++) {
        larger += z[t] > own;
        equal += z[t] == own;
    }
    for (int64_t t = 0; equal > 1 && t < id; t++) larger += z[t] == own;
    return larger;
}

/* Whether the first `top` ids are the same, in the same order. */
static int same_top(
    const partition_state *s, const partition_before *before, const float *after, int32_t top) {
    for (int32_t i = 1; i < top; i++)
        if (!precedes(after, before->order[i - 1], before->order[i])) return 0;
    return rank_of(after, s->n_vocab, before->order[top - 1]) == top - 1;
}

void partition_measure_change(const partition_state *s, const partition_before *before,
    const float *dz, float *after, partition_measure *out) {
    const int64_t n = s->n_vocab;
    for (int64_t t = 0; t < n; t++) after[t] = before->shifted[t] + dz[t];
    out->dlogz = s->host->log_sum_exp(s->context, n, after) - before->shifted_log_z;
    const double sum = psc_sum_striped(n, dz);
    out->mean = sum / (double)n;
    out->expected = psc_dot_striped(n, before->p, dz) / before->p_sum;
    out->half_variance =
        0.5 * (weighted_squares(n, before->p, dz) / before->p_sum - out->expected * out->expected);
    out->shift[PARTITION_RAW] = 0.0;
    out->shift[PARTITION_MINUS_MEAN] = out->mean;
    out->shift[PARTITION_MINUS_EXPECTED] = out->expected;
    fit(s, before, dz, sum, out);
    bins(s, before, dz, sum, out);
    const int32_t ten = before->n_ranked < 10 ? before->n_ranked : 10;
    out->reordered[1] = !same_top(s, before, after, ten);
    out->reordered[0] = out->reordered[1] && !same_top(s, before, after, 1);
}
