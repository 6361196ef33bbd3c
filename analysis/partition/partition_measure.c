/* How one row of logits differs from another. z before, z' = z + dz after, V logits each:
 *
 *   dlogZ         log sum exp z' - log sum exp z
 *   mean          sum_t dz_t / V                    E_p dz = sum_t p_t dz_t
 *   KL(p || p')   dlogZ - E_p dz, about Var_p(dz)/2
 *   fit           dz = alpha + beta (z - b), least squares over all t
 *   bins          by rank before: mean dz, mean |dz - shift|, sum p dz
 *
 * Sums over V are the host's reductions, in f64. Means, variances and the fit come from the moments
 * of f and z - b, which all changes by the same f share. A change between two states that are both
 * known has the difference of their log Z; else exp(z') is summed. p is divided by its own sum. */
#include "partition.h"

#include <math.h>
#include <string.h>

static const int32_t bin_begin[PARTITION_BINS] = {0, 1, 10, 100, 1000};

/* --- the state before the change ------------------------------------------------------------- */

/* An unsigned key that ascends as z descends; -0 counts as 0. */
static uint32_t descending(float z) {
    uint32_t bits;
    const float value = z + 0.0f;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}

/* The value of a key. */
static float ascending(uint32_t key) {
    const uint32_t bits = key >> 31 ? key : ~key & 0x7fffffffu;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* One pass of a stable radix sort of ids, by 8 bits of the key. */
static void sort_pass(const float *z, const int32_t *ids, int32_t n, int shift, int32_t *out) {
    int32_t place[257] = {0};
    for (int32_t i = 0; i < n; i++) place[(descending(z[ids[i]]) >> shift & 255) + 1]++;
    for (int i = 0; i < 256; i++) place[i + 1] += place[i];
    for (int32_t i = 0; i < n; i++) out[place[descending(z[ids[i]]) >> shift & 255]++] = ids[i];
}

/* The n-th largest of n_all values by the leading 24 bits of its key, rounded down to a value with
 * that key's bits; -inf if there are fewer values. */
static float bound_of(const float *values, int64_t n_all, int32_t n) {
    enum { BITS = 12 };
    uint32_t prefix = 0;
    int64_t found = 0;
    if (n_all < n) return -INFINITY;
    for (int level = 1; level <= 2; level++) {
        int32_t count[1 << BITS] = {0};
        const int shift = 32 - BITS * level;
        uint32_t last = 0;
        for (int64_t i = 0; i < n_all; i++) {
            const uint32_t key = descending(values[i]);
            if (level == 1 || key >> (shift + BITS) == prefix)
                count[key >> shift & ((1 << BITS) - 1)]++;
        }
        while (found + count[last] < n) found += count[last++];
        prefix = prefix << BITS | last;
    }
    return ascending(prefix << 8 | 255);
}

/* The n largest of z in order. The n-th largest group's maximum bounds them from below, and few
 * other values reach it; only those are sorted. */
static void rank(const partition_state *s, partition_before *before) {
    const float *z = before->z;
    int32_t *a = before->ids, *b = a + s->n_vocab, n = before->n_ranked;
    size_t kept = 0;
    s->reductions->group_maxima(before->groups, z, (size_t)s->n_vocab);
    const float bound = bound_of(before->groups, s->n_groups, n);
    s->reductions->indices_within(a, &kept, z, (size_t)s->n_vocab, bound, INFINITY);
    for (int shift = 0; shift < 32; shift += 16) {
        sort_pass(z, a, (int32_t)kept, shift, b);
        sort_pass(z, b, (int32_t)kept, shift + 8, a);
    }
    memcpy(before->order, a, (size_t)n * sizeof *before->order);
}

static int32_t bin_end(const partition_before *before, int bin) {
    if (bin + 1 < PARTITION_BINS && bin_begin[bin + 1] < before->n_ranked)
        return bin_begin[bin + 1];
    return before->n_ranked;
}

int partition_before_reserve(const partition_state *s, partition_before *before) {
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->n_vocab;
    before->direct = host->life_alloc(s->context, n * sizeof(float));
    before->p = host->life_alloc(s->context, n * sizeof(float));
    before->order = host->life_alloc(s->context, PARTITION_RANKED * sizeof *before->order);
    before->ids = host->life_alloc(s->context, 2 * n * sizeof *before->ids);
    before->groups = host->life_alloc(s->context, (uint64_t)s->n_groups * sizeof(float));
    return before->direct && before->p && before->order && before->ids && before->groups ? 0 : -1;
}

/* The mass of each bin, the first tokens' shares and margin, from p. */
static void masses(const partition_state *s, partition_before *before) {
    double rest = 1.0, top = 0.0;
    for (int bin = 0; bin < PARTITION_BINS - 1; bin++) {
        double mass = 0.0;
        for (int32_t i = bin_begin[bin]; i < bin_end(before, bin); i++)
            mass += (double)before->p[before->order[i]];
        before->mass[bin] = mass / before->p_sum;
        rest -= before->mass[bin];
        if (bin < 2) before->top_share[bin] = top += before->mass[bin];
    }
    const int64_t n = s->n_vocab;
    before->mass[PARTITION_BINS - 1] = n > before->n_ranked ? fmax(rest, 0.0) : 0.0;
    const double second = n > 1 ? (double)before->p[before->order[1]] : 0.0;
    before->margin = ((double)before->p[before->order[0]] - second) / before->p_sum;
}

void partition_before_build(const partition_state *s, partition_before *before) {
    const size_t n = (size_t)s->n_vocab;
    double sums[2], moments[6];
    before->n_ranked = n < PARTITION_RANKED ? (int32_t)n : PARTITION_RANKED;
    rank(s, before);
    const float most = before->z[before->order[0]];
    before->peak = (double)most;
    s->reductions->exp_row(before->p, sums, before->z, most, n);
    before->p_sum = sums[1];
    s->host->log(s->context, 1, &before->shifted_log_z, sums);
    before->log_z = before->shifted_log_z + before->peak;
    s->reductions->change_moments(moments, before->direct, before->direct, 0.0, before->p, n);
    before->direct_sum = moments[0];
    before->direct_squares = moments[1];
    before->p_direct = moments[3];
    before->p_squares = moments[4];
    masses(s, before);
}

/* --- the change ------------------------------------------------------------------------------ */

/* Whether a variance E x^2 - (E x)^2 exceeds the rounding error of its sums, 16 stripes of n/16
 * terms each (moments.h has the rule for sums over documents). square: E of the terms' sizes. */
static int exceeds_rounding(double variance, double square, double n) {
    return variance > (3.0 * n / 16.0 + 32.0) * 0x1p-53 * square;
}

/* The means, the variance under p and the fit, from the moments of g and direct. */
static void moments(const partition_state *s, const partition_before *before,
    const partition_delta *d, partition_measure *out) {
    const double n = (double)s->n_vocab, *m = d->moments, g = d->of_g, k = d->of_direct;
    const double sum = g * m[0] + k * before->direct_sum;
    const double own = g * g * m[1], mixed = 2.0 * g * k * m[2];
    const double direct = k * k * before->direct_squares;
    const double square = (own + mixed + direct) / n;
    const double weighted = g * g * m[4] + 2.0 * g * k * m[5] + k * k * before->p_squares;
    out->mean = sum / n;
    out->expected = (g * m[3] + k * before->p_direct) / before->p_sum;
    out->half_variance = 0.5 * (weighted / before->p_sum - out->expected * out->expected);
    const double mean = before->direct_sum / n, spread = before->direct_squares / n - mean * mean;
    const double product = (g * m[2] + k * before->direct_squares) / n;
    const double cross = product - mean * out->mean, variance = square - out->mean * out->mean;
    const int varies =
        spread > 0.0 && exceeds_rounding(variance, (own + fabs(mixed) + direct) / n, n);
    out->beta = spread > 0.0 ? cross / spread : 0.0;
    out->alpha = out->mean - out->beta * mean;
    out->r2 = varies ? fmin(cross / spread * (cross / variance), 1.0) : NAN;
}

/* far: sums of |dz - shift| over the vocabulary, by gauge. */
static void bins(const partition_state *s, const partition_before *before,
    const partition_delta *delta, double far[PARTITION_GAUGES], partition_measure *out) {
    double left = out->mean * (double)s->n_vocab, p_left = out->expected;
    for (int bin = 0; bin < PARTITION_BINS - 1; bin++) {
        const int32_t begin = bin_begin[bin], end = bin_end(before, bin);
        double total = 0.0, p_total = 0.0, away[PARTITION_GAUGES] = {0};
        for (int32_t i = begin; i < end; i++) {
            const double change = partition_dz(before, delta, before->order[i]);
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

/* --- the order after ------------------------------------------------------------------------- */

/* z - max z + dz of a token, as psc_reductions.change_sums has it. */
static double after_of(const partition_before *before, const partition_delta *delta, int32_t id) {
    return ((double)before->z[id] - before->peak) + partition_dz(before, delta, id);
}

/* Whether some token passes the i-th of the order: a larger value, or an equal one and a lower
 * id. The tokens before it in the order may not. */
static int passed(const partition_state *s, const partition_before *before,
    const partition_delta *delta, int32_t i) {
    const int32_t id = before->order[i];
    const double own = after_of(before, delta, id);
    int32_t ahead = 0;
    for (int32_t t = 0; t < s->n_vocab && ahead <= i; t++) {
        const double other = after_of(before, delta, t);
        if (other > own || (other == own && t < id)) ahead++;
    }
    return ahead > i;
}

/* The first tokens whose order the change must keep: 10, or 1 if it alters these ten. */
static int32_t first_kept(
    const partition_before *before, const partition_delta *delta, double *bound) {
    const int32_t ten = before->n_ranked < 10 ? before->n_ranked : 10;
    double above = *bound = after_of(before, delta, before->order[0]);
    for (int32_t i = 1; i < ten; i++) {
        const double own = after_of(before, delta, before->order[i]);
        if (!(above > own || (above == own && before->order[i - 1] < before->order[i]))) return 1;
        above = own;
    }
    *bound = above;
    return ten;
}

/* above, reached: how many tokens are above the last of the first `kept`, and how many reach it. */
static void reordered(const partition_state *s, const partition_before *before,
    const partition_delta *delta, int32_t kept, const double *above, partition_measure *out) {
    const int32_t ten = before->n_ranked < 10 ? before->n_ranked : 10;
    const int tied = above[1] - above[0] != 1.0;
    int changed = tied ? passed(s, before, delta, kept - 1) : above[0] != (double)(kept - 1);
    out->reordered[1] = changed || kept < ten;
    if (kept > 1 && changed) changed = passed(s, before, delta, 0);
    out->reordered[0] = out->reordered[1] && changed;
}

/* Of a change whose state after is known. */
static void reordered_states(
    const partition_before *before, const partition_before *after, partition_measure *out) {
    const int32_t ten = before->n_ranked < 10 ? before->n_ranked : 10;
    out->reordered[0] = before->order[0] != after->order[0];
    out->reordered[1] = memcmp(before->order, after->order, (size_t)ten * sizeof(int32_t)) != 0;
}

/* The sums of a change; their exponentials relative to the largest value after if the largest
 * before is too far from it. Returns log sum exp of after. */
static double sum_change(const partition_state *s, const partition_before *before,
    const partition_delta *delta, double terms[PSC_CHANGE_TERMS], double sums[6]) {
    const size_t n = (size_t)s->n_vocab;
    double moved = 0.0, log_z = 0.0;
    s->reductions->change_sums(sums, delta->f, before->direct, before->z, terms, n);
    if (!(sums[3] > 1e-290 && sums[3] < 1e290)) {
        double most = -INFINITY, again[6];
        for (int32_t t = 0; t < s->n_vocab; t++) {
            const double other = after_of(before, delta, t);
            if (other > most) most = other; /* fmax breaks GCC 12 for aarch64 */
        }
        moved = isfinite(most) ? most : 0.0;
        terms[PSC_CHANGE_MOST] = before->peak + moved;
        s->reductions->change_sums(again, delta->f, before->direct, before->z, terms, n);
        sums[3] = again[3];
    }
    s->host->log(s->context, 1, &log_z, &sums[3]);
    return log_z + moved;
}

void partition_measure_change(const partition_state *s, const partition_before *before,
    const partition_delta *delta, partition_measure *out) {
    double sums[6], terms[PSC_CHANGE_TERMS] = {delta->by_f, delta->by_direct};
    moments(s, before, delta, out);
    out->shift[PARTITION_RAW] = 0.0;
    out->shift[PARTITION_MINUS_MEAN] = terms[PSC_CHANGE_MEAN] = out->mean;
    out->shift[PARTITION_MINUS_EXPECTED] = terms[PSC_CHANGE_EXPECTED] = out->expected;
    terms[PSC_CHANGE_MOST] = before->peak;
    if (delta->after) {
        const partition_before *after = delta->after;
        s->reductions->change_sums(sums, delta->f, before->direct, NULL, terms, (size_t)s->n_vocab);
        out->dlogz = (after->shifted_log_z - before->shifted_log_z) + (after->peak - before->peak);
        reordered_states(before, after, out);
    } else {
        const int32_t kept = first_kept(before, delta, &terms[PSC_CHANGE_BOUND]);
        out->dlogz = sum_change(s, before, delta, terms, sums) - before->shifted_log_z;
        reordered(s, before, delta, kept, sums + 4, out);
    }
    bins(s, before, delta, sums, out);
}
