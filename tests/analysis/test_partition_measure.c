/* The measures of partition in isolation: the derivative of log Z, the identity of log Z's change,
 * ties, empty bins. Logits and changes are made up; the host's logarithm is libm's. */
#include "kernels.h"
#include "partition.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

enum { MOST = 2000 };

static void logarithm(psc_context *context, int64_t n, double *y, const double *x) {
    (void)context;
    for (int64_t i = 0; i < n; i++) y[i] = log(x[i]);
}

static double log_sum_exp(const float *x, int64_t n) {
    double most = -INFINITY, sum = 0.0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, (double)x[i]);
    for (int64_t i = 0; i < n; i++) sum += exp((double)x[i] - most);
    return log(sum) + most;
}

static psc_host host = {.log = logarithm};
static psc_reductions reductions;
static float z[MOST], direct[MOST], p[MOST], constant[MOST], dz[MOST], groups[MOST];
static int32_t order[PARTITION_RANKED], ids[2 * MOST];

/* Uniform in [-1, 1). */
static float noise(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)((double)(*state >> 40) / 8388608.0 - 1.0);
}

static partition_state make_state(int64_t n) {
    const psc_kernels *k = psc_kernels_for(psc_isa_best(psc_isa_mask()));
    reductions = (psc_reductions){.exp_row = k->exp_row,
        .change_moments = k->change_moments,
        .change_sums = k->change_sums,
        .group_maxima = k->group_maxima,
        .indices_within = k->indices_within};
    partition_state s = {.host = &host,
        .reductions = &reductions,
        .n_vocab = n,
        .n_groups = (n + 255) / 256 * 16,
        .constant = constant};
    return s;
}

static partition_before make_before(const partition_state *s) {
    partition_before before = {
        .z = z, .direct = direct, .p = p, .order = order, .ids = ids, .groups = groups};
    for (int64_t t = 0; t < s->n_vocab; t++) direct[t] = z[t] - constant[t];
    partition_before_build(s, &before);
    return before;
}

/* A change by dz itself. */
static void change(const partition_state *s, const partition_before *before, partition_measure *m) {
    double moments[6];
    reductions.change_moments(moments, dz, before->direct, 0.0, before->p, (size_t)s->n_vocab);
    const partition_delta delta = {dz, 1.0, 0.0, 1.0, 0.0, moments, NULL};
    partition_measure_change(s, before, &delta, m);
}

static void random_logits(int64_t n, float scale, uint64_t seed) {
    for (int64_t t = 0; t < n; t++) z[t] = scale * noise(&seed);
    for (int64_t t = 0; t < n; t++) constant[t] = 0.1f * noise(&seed);
}

/* dlogZ/dz_t = p_t, by central differences of one logit at a time. */
Test(partition_measure, derivative_of_log_z_is_p) {
    random_logits(60, 4.0f, 7);
    const partition_state s = make_state(60);
    const partition_before before = make_before(&s);
    const double all = log_sum_exp(z, 60), h = 0.015625;
    for (int64_t t = 0; t < 60; t++) {
        partition_measure up, down;
        for (int64_t i = 0; i < 60; i++) dz[i] = 0.0f;
        dz[t] = (float)h;
        change(&s, &before, &up);
        dz[t] = (float)-h;
        change(&s, &before, &down);
        const double slope = (up.dlogz - down.dlogz) / (2.0 * h), want = exp((double)z[t] - all);
        cr_assert_float_eq(
            slope, want, 5e-5 * (want + 0.01), "%ld: %.9g %.9g", (long)t, slope, want);
        cr_assert_float_eq(up.expected, h * want, 1e-7);
    }
}

/* dlogZ = sum p dz + KL(p || p'), the divergence by its definition; small changes: KL is about
 * Var_p(dz)/2. */
Test(partition_measure, change_of_log_z_is_the_first_order_and_the_divergence) {
    const float sizes[] = {0.01f, 0.3f, 3.0f};
    for (int i = 0; i < 3; i++) {
        random_logits(MOST, 5.0f, 11 + (uint64_t)i);
        uint64_t seed = 99;
        for (int64_t t = 0; t < MOST; t++) dz[t] = sizes[i] * (noise(&seed) + 0.5f);
        const partition_state s = make_state(MOST);
        const partition_before before = make_before(&s);
        partition_measure m;
        change(&s, &before, &m);
        float *moved = malloc(MOST * sizeof *moved);
        for (int64_t t = 0; t < MOST; t++) moved[t] = z[t] + dz[t];
        const double old = log_sum_exp(z, MOST), new = log_sum_exp(moved, MOST);
        double kl = 0.0, bins = 0.0;
        for (int64_t t = 0; t < MOST; t++) {
            const double logp = (double)z[t] - old;
            kl += exp(logp) * (logp - ((double)moved[t] - new));
        }
        cr_assert_float_eq(m.dlogz, m.expected + kl, 1e-6);
        cr_assert_float_eq(m.dlogz, new - old, 1e-6);
        for (int bin = 0; bin < PARTITION_BINS; bin++) bins += m.bin_p_dz[bin];
        cr_assert_float_eq(bins, m.expected, 1e-12);
        if (i == 0) cr_assert_float_eq(kl / m.half_variance, 1.0, 0.02);
        free(moved);
    }
}

/* dz = alpha + beta (z - b) is found exactly; a common shift moves log Z alone. */
Test(partition_measure, proportional_and_common_changes) {
    random_logits(500, 3.0f, 5);
    const partition_state s = make_state(500);
    const partition_before before = make_before(&s);
    partition_measure m;
    for (int64_t t = 0; t < 500; t++) dz[t] = 0.25f - 0.5f * (z[t] - constant[t]);
    change(&s, &before, &m);
    cr_assert_float_eq(m.alpha, 0.25, 1e-6);
    cr_assert_float_eq(m.beta, -0.5, 1e-6);
    cr_assert_float_eq(m.r2, 1.0, 1e-9);
    for (int64_t t = 0; t < 500; t++) dz[t] = 2.0f;
    change(&s, &before, &m);
    cr_assert_float_eq(m.dlogz, 2.0, 1e-6);
    cr_assert_float_eq(m.dlogz - m.shift[PARTITION_MINUS_MEAN], 0.0, 1e-6);
    cr_assert_float_eq(m.bin_abs_dz[PARTITION_MINUS_EXPECTED][2], 0.0, 1e-9);
    cr_assert(isnan(m.r2), "%g", m.r2);
    cr_assert_eq(m.reordered[0] + m.reordered[1], 0);
    cr_assert(isnan(m.bin_dz[4]), "no value past rank 500");
    for (int i = 1; i <= 40; i++) { /* shifts whose squares are rounded */
        for (int64_t t = 0; t < 500; t++) dz[t] = 0.1f * (float)i;
        change(&s, &before, &m);
        cr_assert(isnan(m.r2), "%g of a shift by %g", m.r2, (double)dz[0]);
    }
}

/* Ties go to the lower id, before and after. */
Test(partition_measure, ranks_and_ties) {
    for (int64_t t = 0; t < MOST; t++) z[t] = (float)(t % 7), constant[t] = 0.0f;
    const partition_state s = make_state(MOST);
    const partition_before before = make_before(&s);
    partition_measure m;
    for (int64_t i = 0; i < 20; i++) cr_assert_eq(before.order[i], 7 * i + 6);
    for (int64_t i = 1; i < before.n_ranked; i++) {
        const int32_t a = before.order[i - 1], b = before.order[i];
        cr_assert(z[a] > z[b] || (z[a] == z[b] && a < b));
    }
    for (int64_t t = 0; t < MOST; t++) dz[t] = 0.0f;
    change(&s, &before, &m);
    cr_assert_eq(m.reordered[0] + m.reordered[1], 0);
    dz[69] = 0.5f; /* the tenth becomes the first */
    change(&s, &before, &m);
    cr_assert(m.reordered[0] && m.reordered[1]);
    dz[69] = 0.0f;
    dz[5] = 1.0f; /* ties with the largest, and has a lower id than all of them */
    change(&s, &before, &m);
    cr_assert(m.reordered[0] && m.reordered[1]);
    dz[5] = 0.0f;
    dz[75] = 1.0f; /* ties with the tenth and has a higher id */
    change(&s, &before, &m);
    cr_assert_eq(m.reordered[0] + m.reordered[1], 0);
    dz[75] = 0.0f;
    dz[13] = -1.0f; /* the second leaves */
    change(&s, &before, &m);
    cr_assert(!m.reordered[0] && m.reordered[1]);
}

/* The ids in order, by brute force, among more tokens than groups: ties, all equal, one far above,
 * padded ids far below. */
Test(partition_measure, order_of_many_tokens) {
    enum { MANY = 40003 };
    static float row[MANY], other[2][MANY], many_groups[MANY];
    static int32_t scratch[2 * MANY], first[PARTITION_RANKED];
    for (int kind = 0; kind < 5; kind++) {
        uint64_t seed = 3 + (uint64_t)kind;
        for (int64_t t = 0; t < MANY; t++) {
            row[t] = kind == 1 ? 2.0f : kind == 2 ? floorf(8.0f * noise(&seed)) : noise(&seed);
            if (kind == 3 && t == 777) row[t] = 200.0f;
            if (kind == 4) row[t] = t < MANY - 39500 ? 20.0f + 1e-5f * row[t] : -1e4f;
        }
        partition_state s = make_state(MANY);
        partition_before before = {.z = row,
            .direct = other[0],
            .p = other[1],
            .order = first,
            .ids = scratch,
            .groups = many_groups};
        partition_before_build(&s, &before);
        cr_assert_eq(before.n_ranked, PARTITION_RANKED);
        for (int32_t i = 1; i < PARTITION_RANKED; i++) {
            const int32_t a = first[i - 1], b = first[i];
            cr_assert(row[a] > row[b] || (row[a] == row[b] && a < b), "kind %d, rank %d", kind, i);
        }
        const int32_t last = first[PARTITION_RANKED - 1];
        int64_t ahead = 0;
        for (int32_t t = 0; t < MANY; t++)
            ahead += row[t] > row[last] || (row[t] == row[last] && t < last);
        cr_assert_eq(ahead, PARTITION_RANKED - 1);
        cr_assert_float_eq(before.log_z, log_sum_exp(row, MANY), 1e-12);
    }
}

/* Values after that exp cannot hold relative to the largest before: a token far below rises above
 * all, and everything falls. */
Test(partition_measure, far_changes) {
    random_logits(MOST, 4.0f, 21);
    z[11] = -3000.0f;
    const partition_state s = make_state(MOST);
    const partition_before before = make_before(&s);
    partition_measure m;
    for (int64_t t = 0; t < MOST; t++) dz[t] = -2000.0f;
    change(&s, &before, &m);
    cr_assert_float_eq(m.dlogz, -2000.0, 1e-9);
    cr_assert_eq(m.reordered[0] + m.reordered[1], 0);
    for (int64_t t = 0; t < MOST; t++) dz[t] = t == 11 ? 5000.0f : 0.0f;
    change(&s, &before, &m);
    cr_assert_float_eq(m.dlogz, 2000.0 - before.log_z, 1e-9);
    cr_assert(m.reordered[0] && m.reordered[1]);
}

/* --- accuracy of an ablation's figures --------------------------------------------------------- */

/* A row of logits: plain, ties, one dominates, all equal, padded ids far below, a wide range. */
static float worst(int kind, int64_t t, uint64_t *seed) {
    const float value = noise(seed);
    return kind == 0   ? 5.0f * value
           : kind == 1 ? floorf(3.0f * value)
           : kind == 2 ? value + (t == 1234 ? 60.0f : 0.0f)
           : kind == 3 ? 2.5f
           : kind == 4 ? (t < MOST - 150 ? 5.0f * value : -1e4f)
                       : 40.0f * value;
}

/* A figure by its definition, and the size of the terms that it adds. */
typedef struct exact {
    long double value, size;
} exact;

static void expect_figure(double got, exact want, double error, const char *what, int a, int b) {
    const long double bound = (long double)error * want.size + 1e-14L;
    cr_assert(fabsl((long double)got - want.value) <= bound,
        "%s, rows %d and %d: %.17g, not %.17Lg", what, a, b, got, want.value);
}

static long double exact_log_z(const float *row) {
    long double most = -INFINITY, sum = 0.0L;
    for (int64_t t = 0; t < MOST; t++)
        most = (long double)row[t] > most ? (long double)row[t] : most;
    for (int64_t t = 0; t < MOST; t++) sum += expl((long double)row[t] - most);
    return logl(sum) + most;
}

/* Mean |dz - shift| and sum p dz of the bins. */
static void expect_bins(const partition_before *before, const partition_measure *m,
    long double log_z, const exact *all, int a, int b) {
    static const int32_t ends[] = {1, 10, 100, 1000, MOST};
    static int32_t ranks[MOST];
    for (int64_t t = 0; t < MOST; t++) ranks[t] = PARTITION_RANKED;
    for (int32_t i = 0; i < before->n_ranked; i++) ranks[before->order[i]] = i;
    for (int bin = 0; bin < PARTITION_BINS; bin++) {
        const int32_t begin = bin ? ends[bin - 1] : 0;
        exact p_dz = {0}, away[PARTITION_GAUGES] = {{0}};
        for (int64_t t = 0; t < MOST; t++) {
            if (ranks[t] < begin || ranks[t] >= ends[bin]) continue;
            p_dz.value += expl((long double)z[t] - log_z) * (long double)dz[t];
            for (int g = 0; g < PARTITION_GAUGES; g++)
                away[g].value += fabsl((long double)dz[t] - (long double)m->shift[g]);
        }
        p_dz.size = all[2].size;
        expect_figure(m->bin_p_dz[bin], p_dz, 0x1p-22, "sum p dz of a bin", a, b);
        const long double n = (long double)(ends[bin] - begin);
        for (int g = 0; g < PARTITION_GAUGES; g++) {
            away[g].value /= n;
            away[g].size = (all[1].size + fabsl((long double)m->shift[g])) * MOST / n;
            expect_figure(m->bin_abs_dz[g][bin], away[g], 1e-13, "mean distance of a bin", a, b);
        }
    }
}

/* Rows before and after as an ablation compares them: their difference is one f32 row. p is f32, so
 * that sums with p err by its rounding; the others are sums in f64. */
Test(partition_measure, accuracy_of_an_ablation) {
    for (int ab = 0; ab < 36; ab++) {
        const int a = ab / 6, b = ab % 6;
        uint64_t seed = 77 + (uint64_t)ab;
        for (int64_t t = 0; t < MOST; t++) {
            z[t] = worst(a, t, &seed);
            constant[t] = 0.1f * noise(&seed);
            dz[t] = worst(b, t, &seed) - z[t];
        }
        const partition_state s = make_state(MOST);
        const partition_before before = make_before(&s);
        partition_measure m;
        change(&s, &before, &m);
        const long double log_z = exact_log_z(z), most = (long double)before.peak;
        exact dlogz = {0},
              all[6] = {{0}}; /* E 1 after, mean dz, E_p dz, E_p dz dz, z - b, its products */
        long double sum = 0.0L, own = 0.0L, own2 = 0.0L, mixed = 0.0L, square = 0.0L;
        for (int64_t t = 0; t < MOST; t++) {
            const long double d = (long double)dz[t], x = (long double)direct[t];
            const long double p_t = expl((long double)z[t] - log_z);
            sum += expl(((long double)z[t] - most) + d);
            all[1].value += d / MOST;
            all[1].size += fabsl(d) / MOST;
            all[2].value += p_t * d;
            all[2].size += p_t * fabsl(d);
            all[3].value += p_t * d * d;
            own += x / MOST;
            own2 += x * x / MOST;
            mixed += x * d / MOST;
            square += d * d / MOST;
        }
        dlogz.value = logl(sum) + most - log_z;
        dlogz.size = 1.0L + fabsl(dlogz.value) + fabsl(log_z);
        expect_figure(m.dlogz, dlogz, 1e-14, "dlogZ", a, b);
        expect_figure(m.mean, all[1], 1e-14, "the mean", a, b);
        expect_figure(m.expected, all[2], 0x1p-23, "E_p dz", a, b);
        const exact half = {0.5L * (all[3].value - all[2].value * all[2].value), all[3].value};
        expect_figure(m.half_variance, half, 0x1p-22, "half the variance", a, b);
        const long double spread = own2 - own * own, cross = mixed - own * all[1].value;
        const exact beta = {cross / spread, (sqrtl(own2 * square) + fabsl(cross)) / spread};
        expect_figure(m.beta, beta, 1e-12, "beta", a, b);
        const exact alpha = {all[1].value - beta.value * own, all[1].size + fabsl(own) * beta.size};
        expect_figure(m.alpha, alpha, 1e-12, "alpha", a, b);
        expect_bins(&before, &m, log_z, all, a, b);
    }
}
