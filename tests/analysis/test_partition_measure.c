/* The measures of partition in isolation: the derivative of log Z, the identity of log Z's change,
 * ties, empty bins. Logits and changes are made up; the host's two functions are libm's. */
#include "partition.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

enum { MOST = 2000 };

static void exponential(psc_context *context, int64_t n, float *y, const float *x) {
    (void)context;
    for (int64_t i = 0; i < n; i++) y[i] = (float)exp((double)x[i]);
}

static double log_sum_exp(psc_context *context, int64_t n, const float *x) {
    double most = -INFINITY, sum = 0.0;
    (void)context;
    for (int64_t i = 0; i < n; i++) most = fmax(most, (double)x[i]);
    for (int64_t i = 0; i < n; i++) sum += exp((double)x[i] - most);
    return log(sum) + most;
}

static psc_host host = {.exp = exponential, .log_sum_exp = log_sum_exp};
static float z[MOST], shifted[MOST], direct[MOST], p[MOST], constant[MOST], dz[MOST], after[MOST];
static int32_t order[PARTITION_RANKED];

/* Uniform in [-1, 1). */
static float noise(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)((double)(*state >> 40) / 8388608.0 - 1.0);
}

static partition_state make_state(int64_t n) {
    partition_state s = {.host = &host, .n_vocab = n, .constant = constant};
    return s;
}

static partition_before make_before(const partition_state *s) {
    partition_before before = {.shifted = shifted, .direct = direct, .p = p, .order = order};
    for (int64_t t = 0; t < s->n_vocab; t++) shifted[t] = z[t];
    partition_before_build(s, &before);
    return before;
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
    const double all = log_sum_exp(NULL, 60, z), h = 0.015625;
    for (int64_t t = 0; t < 60; t++) {
        partition_measure up, down;
        for (int64_t i = 0; i < 60; i++) dz[i] = 0.0f;
        dz[t] = (float)h;
        partition_measure_change(&s, &before, dz, after, &up);
        dz[t] = (float)-h;
        partition_measure_change(&s, &before, dz, after, &down);
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
        partition_measure_change(&s, &before, dz, after, &m);
        float *moved = malloc(MOST * sizeof *moved);
        for (int64_t t = 0; t < MOST; t++) moved[t] = z[t] + dz[t];
        const double old = log_sum_exp(NULL, MOST, z), new = log_sum_exp(NULL, MOST, moved);
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
    partition_measure_change(&s, &before, dz, after, &m);
    cr_assert_float_eq(m.alpha, 0.25, 1e-6);
    cr_assert_float_eq(m.beta, -0.5, 1e-6);
    cr_assert_float_eq(m.r2, 1.0, 1e-9);
    for (int64_t t = 0; t < 500; t++) dz[t] = 2.0f;
    partition_measure_change(&s, &before, dz, after, &m);
    cr_assert_float_eq(m.dlogz, 2.0, 1e-6);
    cr_assert_float_eq(m.dlogz - m.shift[PARTITION_MINUS_MEAN], 0.0, 1e-6);
    cr_assert_float_eq(m.bin_abs_dz[PARTITION_MINUS_EXPECTED][2], 0.0, 1e-9);
    cr_assert(isnan(m.r2), "%g", m.r2);
    cr_assert_eq(m.reordered[0] + m.reordered[1], 0);
    cr_assert(isnan(m.bin_dz[4]), "no value past rank 500");
    for (int i = 1; i <= 40; i++) { /* shifts whose squares are rounded */
        for (int64_t t = 0; t < 500; t++) dz[t] = 0.1f * (float)i;
        partition_measure_change(&s, &before, dz, after, &m);
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
    partition_measure_change(&s, &before, dz, after, &m);
    cr_assert_eq(m.reordered[0] + m.reordered[1], 0);
    dz[69] = 0.5f; /* the tenth becomes the first */
    partition_measure_change(&s, &before, dz, after, &m);
    cr_assert(m.reordered[0] && m.reordered[1]);
    dz[69] = 0.0f;
    dz[5] = 1.0f; /* ties with the largest, and has a lower id than all of them */
    partition_measure_change(&s, &before, dz, after, &m);
    cr_assert(m.reordered[0] && m.reordered[1]);
    dz[5] = 0.0f;
    dz[75] = 1.0f; /* ties with the tenth and has a higher id */
    partition_measure_change(&s, &before, dz, after, &m);
    cr_assert_eq(m.reordered[0] + m.reordered[1], 0);
    dz[75] = 0.0f;
    dz[13] = -1.0f; /* the second leaves */
    partition_measure_change(&s, &before, dz, after, &m);
    cr_assert(!m.reordered[0] && m.reordered[1]);
}
