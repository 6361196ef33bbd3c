/* The tokens that a sampling strategy keeps of logits z [V]:
 *
 *   order         z descending, ties to the lower id; every strategy keeps a prefix of it
 *   temperature   d_i = (z_i - max z)/T, weight e_i = exp d_i, in f64
 *   top-k         the first k; no exponential beyond these
 *   top-p         the first whose weights reach p Z; Z = sum e of those left, by ascending id
 *   min-p         z_i - max z >= T log min_p: differences of logits, no Z
 *
 * Of all tokens, a bound that few others reach comes first: the k-th greatest of groups' maxima, or
 * a search among some sampled logits by masses. A radix walk over the bits of the rest finds the
 * end: three tables of counts or masses instead of a sort.
 *
 * Kernels and single f64 steps in a fixed order give the same set on every ISA. */
#include "strategy.h"

#include "host.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 16, BUCKETS = 1 << 11, SAMPLES = 64, PIECE = 8192 };

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

/* Some tokens: ids ascend; weights null: 1 each; by_id: [V], else [n]. */
typedef struct tokens {
    const float *z;
    const int32_t *ids;
    int32_t n, by_id;
    const double *weights;
} tokens;

static double weight_of(const tokens *t, int32_t i) {
    return !t->weights ? 1 : t->weights[t->by_id ? t->ids[i] : i];
}

/* Masses by buckets; a bucket without its bit in `used` is empty, so that a table of few tokens is
 * neither cleared nor searched whole. */
typedef struct masses {
    uint64_t used[BUCKETS / 64];
    double of[BUCKETS];
} masses;

static void add_mass(masses *m, uint32_t bucket, double weight) {
    const uint64_t bit = UINT64_C(1) << bucket % 64;
    const bool first = !(m->used[bucket / 64] & bit);
    m->used[bucket / 64] |= bit;
    m->of[bucket] = first ? weight : m->of[bucket] + weight;
}

/* The bucket at which the masses from *mass on reach target, or the last one that has a mass. *mass
 * becomes the mass before it. */
static uint32_t bucket_at(const masses *m, double target, double *mass) {
    double sum = *mass;
    uint32_t chosen = 0;
    for (uint32_t word = 0; word < BUCKETS / 64; word++)
        for (uint64_t bits = m->used[word]; bits && sum < target; bits &= bits - 1) {
            const uint32_t bucket = word * 64 + (uint32_t)__builtin_ctzll(bits);
            if (m->of[bucket] == 0) continue;
            chosen = bucket;
            *mass = sum;
            sum += m->of[bucket];
        }
    return chosen;
}

/* A radix walk through the order: the key at which the weights reach target, or the last key if
 * rounding keeps them below. *mass: before these tokens; it becomes the mass before that key. */
static uint32_t key_at(const tokens *t, double target, double *mass) {
    static const int shifts[] = {21, 10, 0}, widths[] = {11, 11, 10};
    masses table;
    uint32_t prefix = 0;
    for (int level = 0; level < 3; level++) {
        const uint32_t mask = (UINT32_C(1) << widths[level]) - 1;
        memset(table.used, 0, sizeof table.used);
        for (int32_t i = 0; i < t->n; i++) {
            const uint32_t key = key_of(t->z[t->ids[i]]);
            if (level > 0 && key >> shifts[level - 1] != prefix) continue;
            add_mass(&table, key >> shifts[level] & mask, weight_of(t, i));
        }
        prefix = prefix << widths[level] | bucket_at(&table, target, mass);
    }
    return prefix;
}

/* Keeps the shortest prefix of the order whose weights reach target; ids ascend before and
 * after. */
static int32_t take(const float *z, int32_t n, int32_t *ids, double *weights, double target) {
    double mass = 0;
    const tokens all = {z, ids, n, 0, weights};
    const uint32_t last = key_at(&all, target, &mass);
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

/* --- a prefix of all tokens ------------------------------------------------------------------ */

/* The greatest of z by pieces; -1 as its id for a NaN or no finite greatest. */
static int32_t best_of(const psc_kernels *kernels, const float *z, int32_t n) {
    float groups[PIECE / LANES], most = -INFINITY;
    int64_t odd[2];
    int32_t id = 0; /* of the first piece that holds the greatest; then the token */
    for (int32_t from = 0; from < n; from += PIECE) {
        const size_t left = (size_t)(n - from < PIECE ? n - from : PIECE);
        kernels->group_maxima(groups, z + from, left);
        for (size_t g = 0; g < (left + 255) / 256 * LANES; g++) {
            if (groups[g] > most) id = from;
            most = groups[g] > most ? groups[g] : most;
        }
    }
    kernels->count_from(odd, z, (size_t)n, INFINITY); /* neither above nor below: inf and NaN */
    if (odd[0] + odd[1] || isinf(most)) return -1;
    while (z[id] != most) id++;
    return id;
}

/* A logit and its weight. */
typedef struct sample {
    float z;
    double weight;
} sample;

/* Of floats, or of samples, which begin with one. */
static int descends(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

static int32_t groups_of(int32_t n) {
    return (n + 255) / 256 * LANES;
}

/* A bound that at least k of z reach, by their groups' maxima, or the maxima of groups of these
 * where there are enough; scratch [n]. */
static float rank_bound(
    const psc_kernels *kernels, const float *z, int32_t n, int32_t k, float *scratch) {
    int32_t groups = groups_of(n);
    if (groups < 2 * k || groups > n) return -INFINITY;
    kernels->group_maxima(scratch, z, (size_t)n);
    if (groups_of(groups) >= 2 * k && groups + groups_of(groups) <= n) {
        kernels->group_maxima(scratch + groups, scratch, (size_t)groups);
        scratch += groups;
        groups = groups_of(groups);
    }
    int32_t count[1 << 12] = {0}, found = 0;
    uint32_t last = 0;
    for (int32_t g = 0; g < groups; g++) count[key_of(scratch[g]) >> 20]++;
    while (found + count[last] < k) found += count[last++];
    int32_t some = 0; /* sort the groups of the last bucket */
    for (int32_t g = 0; g < groups; g++)
        if (key_of(scratch[g]) >> 20 == last) scratch[some++] = scratch[g];
    qsort(scratch, (size_t)some, sizeof *scratch, descends);
    return scratch[k - found - 1];
}

/* The sample at which the mass reaches target, if each stands for n/SAMPLES tokens; the first if
 * none does, since few tokens have most of the mass then. */
static int32_t guess(const sample *samples, int32_t n, double target) {
    double mass = 0.0;
    for (int32_t i = 0; i < SAMPLES; i++) {
        mass += samples[i].weight * ((double)n / SAMPLES);
        if (mass >= target) return i;
    }
    return 0;
}

/* The bounds low <= z < *high between which the mass reaches target, two neighbors among sampled
 * logits: growing steps from a guess, then bisection. *mass: of those that reach high. */
static float mass_bound(const psc_kernels *kernels, const float *z, int32_t n,
    const double *weights, double target, float *high, double *mass) {
    sample samples[SAMPLES];
    int32_t above = -1, below = SAMPLES; /* samples whose masses are under target, and reach it */
    for (int i = 0; i < SAMPLES; i++) {
        const int64_t id = (int64_t)n * (2 * i + 1) / (2 * SAMPLES);
        samples[i] = (sample){z[id], weights[id]};
    }
    qsort(samples, SAMPLES, sizeof *samples, descends);
    *high = INFINITY;
    *mass = 0.0;
    for (int32_t at = guess(samples, n, target), step = 1; below - above > 1; step *= 2) {
        double sums[4];
        kernels->masked_sums(sums, z, samples[at].z, weights, NULL, 1.0, 1.0, (size_t)n);
        if (sums[0] >= target) {
            below = at;
        } else {
            above = at;
            *high = samples[at].z;
            *mass = sums[0];
        }
        const int32_t middle = (above + below) / 2;
        if (below == SAMPLES)
            at = above + step < SAMPLES ? above + step : middle;
        else if (above < 0)
            at = below - step >= 0 ? below - step : middle;
        else
            at = middle;
    }
    return below < SAMPLES ? samples[below].z : -INFINITY;
}

/* The shortest prefix of all tokens whose weights (null: 1 each) reach target. scratch [n]
 * then holds the ids that were considered, ascending; without weights they include the
 * prefix. Returns how many. */
static int32_t find_prefix(const psc_kernels *kernels, psc_kept_prefix *out, const float *z,
    int32_t n, const double *weights, double target, int32_t *scratch) {
    float high = INFINITY, low = -INFINITY;
    double before = 0.0, mass = 0.0;
    size_t found = 0;
    if (weights)
        low = mass_bound(kernels, z, n, weights, target, &high, &before);
    else
        low = rank_bound(kernels, z, n, (int32_t)target, (float *)(void *)scratch);
    high = nextafterf(high, -INFINITY);
    kernels->indices_within(scratch, &found, z, (size_t)n, low, high);
    const int32_t some = (int32_t)found;
    mass = before;
    const tokens between = {z, scratch, some, 1, weights};
    const uint32_t last = key_at(&between, target, &mass);
    *out = (psc_kept_prefix){.struct_size = sizeof *out, .bound = -INFINITY, .last = -1};
    for (int32_t i = 0; i < some; i++) {
        const uint32_t key = key_of(z[scratch[i]]);
        if (key != last) continue;
        if (out->last >= 0 && mass >= target) break;
        mass += weight_of(&between, i);
        out->bound = z[scratch[i]];
        out->last = scratch[i];
        out->n++;
    }
    int64_t counts[2] = {0};
    if (weights)
        kernels->count_from(counts, z, (size_t)n, out->bound);
    else
        for (int32_t i = 0; i < some; i++) counts[0] += z[scratch[i]] > out->bound;
    out->n += (int32_t)counts[0];
    return some;
}

/* The ids of that prefix, ascending; returns how many. */
static int32_t first_tokens(const psc_kernels *kernels, const float *z, int32_t n,
    const double *weights, double target, int32_t *ids) {
    psc_kept_prefix prefix;
    size_t found = 0;
    int32_t kept = 0;
    found = (size_t)find_prefix(kernels, &prefix, z, n, weights, target, ids);
    if (weights) kernels->indices_within(ids, &found, z, (size_t)n, prefix.bound, INFINITY);
    for (size_t i = 0; i < found; i++)
        if (z[ids[i]] > prefix.bound || (z[ids[i]] == prefix.bound && ids[i] <= prefix.last))
            ids[kept++] = ids[i];
    return kept;
}

/* --- all filters ----------------------------------------------------------------------------- */

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
    const int32_t best = best_of(kernels, z, n);
    const bool by_rank = s->top_k > 0 && s->top_k<n, by_mass = s->top_p> 0 && s->top_p < 1;
    const bool by_share = s->min_p > 0;
    int32_t kept = n;
    if (best < 0) return -1;
    if (s->temperature == 0) {
        ids[0] = best;
        weights[0] = 1;
        return 1;
    }
    if (by_rank) {
        kept = first_tokens(kernels, z, n, NULL, s->top_k, ids);
    } else if (by_mass || !by_share) {
        double sums[3];
        kernels->weigh(weights, sums, z, z[best], s->temperature, (size_t)n);
        for (int32_t i = 0; !by_mass && i < n; i++) ids[i] = i;
        if (by_mass) kept = first_tokens(kernels, z, n, weights, s->top_p * sums[0], ids);
        if (by_mass)
            for (int32_t i = 0; i < kept; i++) weights[i] = weights[ids[i]];
    } else {
        kept = at_least(kernels, s, z, z[best], n, NULL, ids);
    }
    if (by_rank && by_mass) {
        double total = 0;
        weigh(kernels, s, z, z[best], kept, ids, weights);
        for (int32_t i = 0; i < kept; i++) total += weights[i];
        kept = take(z, kept, ids, weights, s->top_p * total);
    }
    if (by_share && (by_mass || by_rank)) kept = at_least(kernels, s, z, z[best], kept, ids, ids);
    if (by_share || (by_rank && !by_mass)) weigh(kernels, s, z, z[best], kept, ids, weights);
    return kept;
}

void psc_strategy_prefix(const psc_kernels *kernels, psc_kept_prefix *out, const float *z,
    int32_t n, const double *weights, double target, int32_t *scratch) {
    if (!(target > 0) || (!weights && target >= n)) /* none, or all */
        *out = (psc_kept_prefix){sizeof *out, target > 0 ? -INFINITY : INFINITY,
            target > 0 ? n - 1 : -1, target > 0 ? n : 0};
    else
        find_prefix(kernels, out, z, n, weights, target, scratch);
}

int psc_host_prefix(psc_context *context, psc_kept_prefix *out, const float *logits,
    const double *weights, double target, int32_t *scratch) {
    static const char call[] = "prefix";
    if (!psc_host_may(&context, call, PSC_IN_ANY | PSC_IN_PART)) return PSC_ERROR_STATE;
    if (!psc_host_given(context, call, "the prefix", out) ||
        !psc_host_size(context, call, "the prefix", out->struct_size, sizeof *out) ||
        !psc_host_given(context, call, "logits", logits) ||
        !psc_host_given(context, call, "scratch", scratch))
        return PSC_ERROR_PLUGIN;
    psc_strategy_prefix(context->session->kernels, out, logits,
        context->session->model->info.d_vocab, weights, target, scratch);
    return 0;
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
