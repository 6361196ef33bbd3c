/* The reductions over the vocabulary against sums in long double, on the worst rows: ties, one
 * dominating logit, all equal, padded ids far below, a large common offset, a wide range. Every
 * instruction set has the reference's bits (test_kernels.c), so the reference stands for all. */
#include "kernel_test.h"

enum { N = 5003, CASES = 7 };

static const psc_kernels *k;
static float z[N], f[N], p[N], direct[N], out[N], other[N];

static void setup(void) {
    k = psc_kernels_for(PSC_ISA_REFERENCE);
    cr_assert_not_null(k);
}

/* A row of logits of one kind. */
static void make_row(float *x, int which) {
    for (size_t i = 0; i < N; i++) {
        const float value = random_value(FILL_NORMAL);
        x[i] = which == 0   ? value
               : which == 1 ? (float)random_below(3)             /* ties */
               : which == 2 ? value + (i == 4321 ? 90.0f : 0.0f) /* one dominates */
               : which == 3 ? 2.5f                               /* all equal */
               : which == 4 ? (i < N - 300 ? value : -1e4f)      /* padded ids */
               : which == 5 ? value * 0.01f + 700.0f             /* an offset */
                            : value * 30.0f;                     /* a wide range */
    }
}

static float greatest(const float *x) {
    float most = -INFINITY;
    for (size_t i = 0; i < N; i++) most = x[i] > most ? x[i] : most;
    return most;
}

/* |got - want| <= error magnitude, magnitude the sum of the terms' sizes. */
static void expect_sum(double got, long double want, long double magnitude, double error,
    const char *what, int which) {
    CHECK(fabsl((long double)got - want) <= error * (double)magnitude + 1e-300,
        "%s of case %d: %.17g, not %.17Lg", what, which, got, want);
}

/* Rounding of sixteen chains of n/16 terms, and of each term. */
#define CHAIN (N / 16 * 0x1p-53)

Test(vocabulary, exponentials, .init = setup) {
    for (int which = 0; which < CASES; which++) {
        double sums[3];
        static double w[N];
        long double all = 0.0L, narrow = 0.0L;
        make_row(z, which);
        const float most = greatest(z);
        k->exp_row(p, sums, z, most, N);
        for (size_t i = 0; i < N; i++) {
            const long double e = expl((long double)z[i] - (long double)most);
            all += e;
            narrow += (long double)p[i];
            expect_sum((double)p[i], e, e + 2e-38L, 0x1.01p-24, "p", which);
        }
        expect_sum(sums[0], all, all, CHAIN, "sum of exp", which);
        expect_sum(sums[1], narrow, narrow, CHAIN, "sum of p", which);
        long double sum = 0.0L, squares = 0.0L, moment = 0.0L;
        k->weigh(w, sums, z, most, 0.7, N);
        for (size_t i = 0; i < N; i++) {
            const long double d = ((long double)z[i] - (long double)most) / 0.7L, e = expl(d);
            sum += e;
            squares += e * e;
            moment += e * d;
            expect_sum(w[i], e, e * (1.0L - d) + 1e-300L, 0x1p-51, "weight", which);
        }
        /* The argument d itself is rounded, which moves e by |d| roundings. */
        expect_sum(sums[0], sum, sum - moment, 2 * CHAIN, "sum of weights", which);
        expect_sum(sums[1], squares, squares - moment, 2 * CHAIN, "sum of squares", which);
        expect_sum(sums[2], moment, sum - 1e3L * moment, 2 * CHAIN, "sum of w d", which);
    }
}

/* Both temperatures in one pass; the plain weights have weigh's bits. */
Test(vocabulary, both_temperatures, .init = setup) {
    static double plain[N], scaled[N], alone[N];
    for (int which = 0; which < CASES; which++) {
        double sums[4], unused[3];
        long double all = 0.0L, sum = 0.0L, squares = 0.0L, moment = 0.0L, far = 0.0L;
        make_row(z, which);
        if (which == 4) z[11] = -INFINITY;
        const double by = which % 2 ? 1.0 / 0.7 : 0.5;
        k->weigh_both(plain, scaled, sums, z, greatest(z), by, N);
        k->weigh(alone, unused, z, greatest(z), 1.0, N);
        cr_assert(memcmp(plain, alone, sizeof plain) == 0 && sums[0] == unused[0]);
        for (size_t i = 0; i < N; i++) {
            const long double d = (long double)z[i] - (long double)greatest(z);
            const long double t = d * (long double)by, e = expl(t);
            all += expl(d);
            sum += e;
            squares += e * e;
            moment += e > 0.0L ? e * t : 0.0L;
            far += e > 0.0L ? e * t * t : 0.0L;
            if (isfinite((double)d))
                expect_sum(scaled[i], e, e * (2.0L - t) + 1e-300L, 0x1p-51, "weight", which);
        }
        expect_sum(sums[0], all, all, CHAIN, "sum of plain weights", which);
        /* The argument t itself is rounded, which moves e by |t| roundings. */
        expect_sum(sums[1], sum, sum - moment, 2 * CHAIN, "sum of weights", which);
        expect_sum(sums[2], squares, squares - moment, 2 * CHAIN, "sum of squares", which);
        expect_sum(sums[3], moment, far - moment, 2 * CHAIN, "sum of w t", which);
    }
}

/* The ids that reach a bound, ties among them; without b, and with a bound below all. */
Test(vocabulary, masked, .init = setup) {
    static double a[N], b[N];
    for (int which = 0; which < CASES; which++) {
        double sums[4], unused[3];
        make_row(z, which);
        k->weigh(a, unused, z, greatest(z), 1.0, N);
        k->weigh(b, unused, z, greatest(z), 0.6, N);
        for (int bound = 0; bound < 3; bound++) {
            const float limit = bound == 0 ? -INFINITY : bound == 1 ? z[17] : greatest(z);
            long double want[4] = {0};
            for (size_t i = 0; i < N; i++) {
                if (z[i] < limit) continue;
                const long double x = (long double)a[i], y = (long double)b[i];
                want[0] += x;
                want[1] += x * x;
                want[2] += x * y;
                want[3] += x * 0.25L < y * 0.5L ? x * 0.25L : y * 0.5L;
            }
            k->masked_sums(sums, z, limit, a, b, 0.25, 0.5, N);
            for (int s = 0; s < 4; s++)
                expect_sum(sums[s], want[s], want[s], 2 * CHAIN, "masked", which);
            k->masked_sums(sums, z, limit, a, NULL, 0.25, 0.5, N);
            expect_sum(sums[1], want[1], want[1], 2 * CHAIN, "masked alone", which);
            cr_assert(sums[2] == 0.0 && sums[3] == 0.0);
        }
    }
}

/* The weights e are f32 and have the forward pass's bits; the sums over them are f64. */
Test(vocabulary, divergence, .init = setup) {
    for (int which = 0; which < CASES; which++) {
        double sums[4];
        long double want[4] = {0}, size[4] = {0};
        make_row(z, which);
        make_row(f, which == 2 ? 0 : which);
        const float most = greatest(z), most_f = greatest(f);
        for (size_t i = 0; i < N; i++) other[i] = f[i] - most_f;
        k->exp_f32(other, other, N);
        k->divergence_sums(sums, z, most, f, other, N);
        for (size_t i = 0; i < N; i++) {
            float e = z[i] - most;
            k->exp_f32(&e, &e, 1);
            const long double gap = (long double)z[i] - (long double)f[i];
            const long double terms[4] = {(long double)e,
                (long double)e * ((long double)z[i] - (long double)most),
                (long double)other[i] * gap, (long double)e * gap};
            for (int s = 0; s < 4; s++) {
                want[s] += terms[s];
                size[s] += fabsl(terms[s]);
            }
        }
        for (int s = 0; s < 4; s++)
            expect_sum(sums[s], want[s], size[s], CHAIN, "divergence", which);
    }
}

Test(vocabulary, changes, .init = setup) {
    for (int which = 0; which < CASES; which++) {
        double moments[6], sums[6], unused[2];
        long double want[12] = {0}, size[12] = {0};
        make_row(z, which);
        make_row(f, (which + 3) % CASES == 2 ? 0 : (which + 3) % CASES);
        for (size_t i = 0; i < N; i++) direct[i] = z[i] - 0.25f;
        k->exp_row(p, unused, z, greatest(z), N);
        double t[6] = {-0.75, 0.125, 0.3, -0.2, (double)greatest(z), 0.0};
        t[5] = ((double)z[7] - t[4]) + (t[0] * (double)f[7] + t[1] * (double)direct[7]);
        k->change_moments(moments, f, direct, -1.0, p, N);
        k->change_sums(sums, f, direct, z, t, N);
        double above = 0.0, reached = 0.0;
        for (size_t i = 0; i < N; i++) {
            const long double own = (long double)direct[i], g = (long double)f[i] - own;
            const long double dz = -0.75L * (long double)f[i] + 0.125L * own;
            const double after =
                ((double)z[i] - t[4]) + (t[0] * (double)f[i] + t[1] * (double)direct[i]);
            const long double terms[12] = {g, g * g, g * own, (long double)p[i] * g,
                (long double)p[i] * g * g, (long double)p[i] * g * own, fabsl(dz),
                fabsl(dz - (long double)t[2]), fabsl(dz - (long double)t[3]),
                expl((long double)after), 0.0L, 0.0L};
            for (int s = 0; s < 12; s++) {
                want[s] += terms[s];
                size[s] += fabsl(terms[s]);
            }
            for (int s = 6; s < 9; s++) size[s] += fabsl(dz) + 1.0L;
            above += after > t[5];
            reached += after >= t[5];
        }
        for (int s = 0; s < 6; s++)
            expect_sum(moments[s], want[s], size[s], 2 * CHAIN, "moment", which);
        for (int s = 0; s < 3; s++)
            expect_sum(sums[s], want[6 + s], size[6 + s], 2 * CHAIN, "distance", which);
        expect_sum(sums[3], want[9], size[9], 2 * CHAIN, "sum of exp after", which);
        cr_assert_eq(sums[4], above);
        cr_assert_eq(sums[5], reached);
        k->change_sums(sums, f, direct, NULL, t, N);
        expect_sum(sums[1], want[7], size[7], 2 * CHAIN, "distance alone", which);
        cr_assert(sums[3] == 0.0 && sums[4] == 0.0 && sums[5] == 0.0);
    }
}

/* A bound that overflows exp, and a row of which nothing is left. */
Test(vocabulary, extreme_changes, .init = setup) {
    double sums[6];
    for (size_t i = 0; i < N; i++) z[i] = f[i] = direct[i] = 1000.0f;
    const double up[6] = {1.0, 0.0, 0.0, 0.0, 1000.0, 0.0};
    k->change_sums(sums, f, direct, z, up, N);
    cr_assert(isinf(sums[3]) && sums[0] == 1000.0 * N);
    const double down[6] = {-1.0, 0.0, 0.0, 0.0, 1000.0, 0.0};
    k->change_sums(sums, f, direct, z, down, N);
    cr_assert(sums[3] < 1e-300 && sums[4] == 0.0 && sums[5] == 0.0);
}

Test(vocabulary, writes_add_up, .init = setup) {
    static double sum[N];
    make_row(f, 0);
    make_row(other, 6);
    make_row(direct, 0);
    for (size_t i = 0; i < N; i++) sum[i] = 0.25 * (double)i;
    k->add_writes(sum, out, p, f, other, direct, 0.5, N);
    for (size_t i = 0; i < N; i++) {
        const double want = 0.25 * (double)i + ((double)f[i] + (double)other[i]);
        cr_assert_eq(sum[i], want);
        cr_assert(out[i] == (float)(0.5 * want) && p[i] == (float)(0.5 * want + (double)direct[i]));
    }
}

/* Groups cover the row once, so the k-th greatest group bounds the k-th greatest logit from below;
 * the ids from that bound on hold the k greatest. */
Test(vocabulary, selection, .init = setup) {
    static float groups[(N + 255) / 256 * 16];
    static int32_t ids[N];
    for (int which = 0; which < CASES; which++) {
        make_row(z, which);
        size_t n = 0, n_groups = sizeof groups / sizeof *groups;
        float most = -INFINITY;
        k->group_maxima(groups, z, N);
        for (size_t g = 0; g < n_groups; g++) most = groups[g] > most ? groups[g] : most;
        cr_assert_eq(most, greatest(z));
        const float limit = groups[which * 11];
        size_t reached = 0;
        for (size_t g = 0; g < n_groups; g++) reached += groups[g] >= limit;
        k->indices_within(ids, &n, z, N, limit, INFINITY);
        cr_assert_geq(n, reached);
        int64_t counts[2], above = 0, equal = 0;
        k->count_from(counts, z, N, limit);
        for (size_t i = 0, at = 0; i < N; i++) {
            above += z[i] > limit;
            equal += z[i] == limit;
            if (z[i] >= limit) cr_assert_eq(ids[at++], (int32_t)i);
        }
        cr_assert(counts[0] == above && counts[1] == equal && n == (size_t)(above + equal));
        k->indices_within(ids, &n, z, N, limit, limit);
        cr_assert_eq(n, (size_t)equal);
    }
}
