/* The tokens that a sampling strategy keeps of logits z [V]:
 *
 *   order         z descending, ties to the lower id; every strategy keeps a prefix of it
 *   temperature   d_i = (z_i - max z)/T, weight e_i = exp d_i, in f64
 *   top-k         the first k; no exponential beyond these
 *   top-p         the first whose weights reach p Z; Z = sum e of those left, by ascending id
 *   min-p         z_i - max z >= T log min_p: differences of logits, no Z
 *
 * A radix walk over the bits of z finds the end of the first k, or of the mass p: three tables of
 * counts or masses instead of a sort.
 *
 * Kernels and single f64 steps in a fixed order give the same set on every ISA. */
#include "strategy.h"

#include "host.h"

#include <math.h>
#include <string.h>

enum { LANES = 16, BUCKETS = 1 << 11 };

psc_status psc_strategy_check(const psc_strategy *s, psc_error *error) {
    if (!(s->temperature >= 0) || isinf(s->temperature))
        return psc_fail(error, PSC_ERROR_INPUT,
            "the temperature is %g; it must be finite and at least 0", s->temperature);
    if (s->top_k < 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "top-k is %d; it must be at least 1, or 0 for all tokens", (int)s->top_k);
    if (!(s->top_p >= 0) || s->top_p > 1)
        return psc_fail(error, PSC_ERROR_INPUT, "top-p is %g; it must be in (0, 1]", s->top_p);
    if (!(s->min_p >= 0) || s->min_p > 1)
        return psc_fail(error, PSC_ERROR_INPUT, "min-p is %g; it must be in [0, 1]", s->min_p);
    return PSC_OK;
}

int32_t psc_strategy_greedy(const float *z, int32_t n) {
    float lanes[LANES], most = -INFINITY;
    int32_t nans = 0, id = 0, i = 0;
    for (int j = 0; j < LANES; j++) lanes[j] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            lanes[j] = z[i + j] > lanes[j] ? z[i + j] : lanes[j];
            nans += z[i + j] != z[i + j];
        }
    for (; i < n; i++) {
        lanes[0] = z[i] > lanes[0] ? z[i] : lanes[0];
        nans += z[i] != z[i];
    }
    for (int j = 0; j < LANES; j++) most = lanes[j] > most ? lanes[j] : most;
    if (nans || isinf(most)) return -1;
    while (z[id] != most) id++;
    return id;
}

/* --- the filters ----------------------------------------------------------------------------- */

/* Ascends as z descends; equal for equal z. */
static uint32_t key_of(float z) {
    uint32_t bits;
    z += 0.0f; /* -0 is 0 */
    memcpy(&bits, &z, sizeof bits);
    return bits & UINT32_C(0x80000000) ? bits : ~bits & UINT32_C(0x7fffffff);
}

/* A radix walk through the order: the key at which the weights (null: 1 each) reach target, or the
 * last key if rounding keeps them below. *mass is set to the mass before that key. */
static uint32_t key_at(const float *z, int32_t n, const int32_t *ids, const double *weights,
    double target, double *mass) {
    static const int shifts[] = {21, 10, 0}, widths[] = {11, 11, 10};
    uint32_t prefix = 0;
    *mass = 0;
    for (int level = 0; level < 3; level++) {
        double table[BUCKETS] = {0}, sum = *mass;
        const uint32_t mask = (UINT32_C(1) << widths[level]) - 1;
        uint32_t chosen = 0;
        for (int32_t i = 0; i < n; i++) {
            const uint32_t key = key_of(z[ids[i]]);
            if (level > 0 && key >> shifts[level - 1] != prefix) continue;
            table[key >> shifts[level] & mask] += weights ? weights[i] : 1;
        }
        for (uint32_t b = 0; b <= mask && sum < target; b++) {
            if (table[b] == 0) continue;
            chosen = b;
            *mass = sum;
            sum += table[b];
        }
        prefix = prefix << widths[level] | chosen;
    }
    return prefix;
}

/* Keeps the shortest prefix of the order whose weights reach target; ids ascend before and
 * after. */
static int32_t take(const float *z, int32_t n, int32_t *ids, double *weights, double target) {
    double mass = 0;
    const uint32_t last = key_at(z, n, ids, weights, target, &mass);
    int32_t kept = 0;
    for (int32_t i = 0; i < n; i++) {
        const uint32_t key = key_of(z[ids[i]]);
        if (key > last || (key == last && mass >= target)) continue;
        if (key == last) mass += weights ? weights[i] : 1;
        ids[kept] = ids[i];
        if (weights) weights[kept] = weights[i];
        kept++;
    }
    return kept;
}

/* Keeps the ids from `from` (null: 0..n-1) with at least min_p times the top's probability; returns
 * how many. */
static int32_t at_least(const psc_kernels *kernels, const psc_strategy *s, const float *z,
    float most, int32_t n, const int32_t *from, int32_t *ids) {
    double low = s->min_p;
    int32_t kept = 0;
    kernels->log_f64(&low, &low, 1);
    low *= s->temperature;
    for (int32_t i = 0; i < n; i++) {
        const int32_t id = from ? from[i] : i;
        if ((double)z[id] - (double)most >= low) ids[kept++] = id;
    }
    return kept;
}

static void weigh(const psc_kernels *kernels, const psc_strategy *s, const float *z, float most,
    int32_t n, const int32_t *ids, double *weights) {
    for (int32_t i = 0; i < n; i++)
        weights[i] = ((double)z[ids[i]] - (double)most) / s->temperature;
    kernels->exp_f64(weights, weights, (size_t)n);
}

int32_t psc_strategy_keep(const psc_kernels *kernels, const psc_strategy *s, const float *z,
    int32_t n, int32_t *ids, double *weights) {
    const int32_t best = psc_strategy_greedy(z, n);
    const bool by_rank = s->top_k > 0 && s->top_k<n, by_mass = s->top_p> 0 && s->top_p < 1;
    const bool by_share = s->min_p > 0;
    int32_t kept = n;
    if (best < 0) return -1;
    if (s->temperature == 0) {
        ids[0] = best;
        weights[0] = 1;
        return 1;
    }
    if (by_share && !by_mass && !by_rank)
        kept = at_least(kernels, s, z, z[best], n, NULL, ids);
    else
        for (int32_t i = 0; i < n; i++) ids[i] = i;
    if (by_rank) kept = take(z, n, ids, NULL, s->top_k);
    if (by_mass) {
        double total = 0;
        weigh(kernels, s, z, z[best], kept, ids, weights);
        for (int32_t i = 0; i < kept; i++) total += weights[i];
        kept = take(z, kept, ids, weights, s->top_p * total);
    }
    if (by_share && (by_mass || by_rank)) kept = at_least(kernels, s, z, z[best], kept, ids, ids);
    if (by_share || !by_mass) weigh(kernels, s, z, z[best], kept, ids, weights);
    return kept;
}

int32_t psc_host_keep(psc_context *context, const psc_strategy *strategy, const float *logits,
    int32_t *ids, double *weights) {
    static const char call[] = "keep";
    if (!psc_host_may(&context, call, PSC_IN_ANY | PSC_IN_PART)) return -1;
    const psc_session *session = context->session;
    if (!psc_host_given(context, call, "a strategy", strategy) ||
        !psc_host_size(context, call, "the strategy", strategy->struct_size, sizeof *strategy) ||
        !psc_host_given(context, call, "logits", logits) ||
        !psc_host_given(context, call, "ids", ids) ||
        !psc_host_given(context, call, "weights", weights))
        return -1;
    if (psc_strategy_check(strategy, NULL) != PSC_OK) return -1;
    return psc_strategy_keep(
        session->kernels, strategy, logits, session->model->info.d_vocab, ids, weights);
}
