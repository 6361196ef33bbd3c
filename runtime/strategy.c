/* What a sampling strategy keeps of logits z [V]:
 *
 *   order         z descending, ties to the lower id; every strategy keeps a beginning of it
 *   temperature   d_i = (z_i - max z)/T, weight e_i = exp d_i, in f64
 *   top-k         the first k: a heap of k, one pass; no exponential beyond these
 *   top-p         the first whose weights, added in order, reach p Z; Z = sum e of what is left, by
 *                 ascending id. A token below (1 - p) Z/n cannot be needed, so few enter the heap
 *   min-p         d_i >= log min_p: differences of logits, no Z
 *
 * Kernels and single f64 steps in a fixed order: the same set on every ISA. */
#include "strategy.h"

#include "host.h"

#include <math.h>
#include <string.h>

psc_status psc_strategy_check(const psc_strategy *s, psc_error *error) {
    if (!(s->temperature >= 0) || isinf(s->temperature))
        return psc_fail(error, PSC_ERROR_INPUT,
            "the temperature is %g; it must be a number from 0 upwards", s->temperature);
    if (s->top_k < 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "top-k is %d; it must be a number of tokens, or 0 for all", (int)s->top_k);
    if (!(s->top_p >= 0) || s->top_p > 1)
        return psc_fail(
            error, PSC_ERROR_INPUT, "top-p is %g; it must be a mass in (0, 1]", s->top_p);
    if (!(s->min_p >= 0) || s->min_p > 1)
        return psc_fail(
            error, PSC_ERROR_INPUT, "min-p is %g; it must be a share in [0, 1]", s->min_p);
    return PSC_OK;
}

int32_t psc_strategy_greedy(const float *z, int32_t n) {
    int32_t best = -1, nans = 0;
    for (int32_t i = 0; i < n; i++) {
        nans += isnan(z[i]) != 0;
        if (z[i] > (best < 0 ? -INFINITY : z[best])) best = i;
    }
    return nans || best < 0 || isinf(z[best]) ? -1 : best;
}

/* --- heaps of (id, weight) ------------------------------------------------------------------- */

typedef struct heap {
    const float *z;
    int32_t *ids;
    double *weights; /* moves with ids; null: there are none yet */
    int32_t n;
    bool (*above)(const float *z, int32_t a, int32_t b); /* a stands nearer the root */
} heap;

static bool likelier(const float *z, int32_t a, int32_t b) {
    return z[a] != z[b] ? z[a] > z[b] : a < b;
}

static bool less_likely(const float *z, int32_t a, int32_t b) {
    return likelier(z, b, a);
}

static bool higher_id(const float *z, int32_t a, int32_t b) {
    (void)z;
    return a > b;
}

static void swap(heap *h, int32_t i, int32_t j) {
    const int32_t id = h->ids[i];
    h->ids[i] = h->ids[j];
    h->ids[j] = id;
    if (!h->weights) return;
    const double weight = h->weights[i];
    h->weights[i] = h->weights[j];
    h->weights[j] = weight;
}

static void sift(heap *h, int32_t i) {
    for (;;) {
        int32_t top = i;
        for (int64_t child = 2 * (int64_t)i + 1; child <= 2 * (int64_t)i + 2; child++)
            if (child < h->n && h->above(h->z, h->ids[child], h->ids[top])) top = (int32_t)child;
        if (top == i) return;
        swap(h, i, top);
        i = top;
    }
}

static void heapify(heap *h) {
    for (int32_t i = h->n / 2 - 1; i >= 0; i--) sift(h, i);
}

/* The root goes behind the rest. */
static void pop(heap *h) {
    swap(h, 0, --h->n);
    sift(h, 0);
}

static void sort_by_id(int32_t *ids, double *weights, int32_t n) {
    heap h = {NULL, ids, weights, n, higher_id};
    heapify(&h);
    while (h.n > 1) pop(&h);
}

/* --- the filters ----------------------------------------------------------------------------- */

static int32_t largest_k(const float *z, int32_t n, int32_t k, int32_t *ids) {
    heap h = {z, ids, NULL, k, less_likely};
    for (int32_t i = 0; i < k; i++) ids[i] = i;
    heapify(&h);
    for (int32_t i = k; i < n; i++) {
        if (!(z[i] > z[ids[0]])) continue; /* an equal one has the higher id */
        ids[0] = i;
        sift(&h, 0);
    }
    sort_by_id(ids, NULL, k);
    return k;
}

/* ids null: all of 0..n-1; returns how many of them are at least min_p times the top. */
static int32_t at_least(const psc_kernels *kernels, const psc_strategy *s, const float *z,
    float most, int32_t n, const int32_t *from, int32_t *ids) {
    double low = s->min_p;
    int32_t kept = 0;
    kernels->log_f64(&low, &low, 1);
    for (int32_t i = 0; i < n; i++) {
        const int32_t id = from ? from[i] : i;
        if (((double)z[id] - (double)most) / s->temperature >= low) ids[kept++] = id;
    }
    return kept;
}

static void weigh(const psc_kernels *kernels, const psc_strategy *s, const float *z, float most,
    int32_t n, const int32_t *ids, double *weights) {
    for (int32_t i = 0; i < n; i++)
        weights[i] = ((double)z[ids[i]] - (double)most) / s->temperature;
    kernels->exp_f64(weights, weights, (size_t)n);
}

/* The smallest beginning of the order with mass >= p; ids ascend before and after. */
static int32_t smallest_mass(double p, const float *z, int32_t n, int32_t *ids, double *weights) {
    double total = 0, mass = 0;
    for (int32_t i = 0; i < n; i++) total += weights[i];
    /* All below this weigh less than half of what may be left out: rounding is no matter. */
    const double low = 0.5 * (1 - p) * total / n;
    heap h = {z, ids, weights, 0, likelier};
    for (int32_t i = 0; i < n; i++) {
        if (weights[i] < low) continue;
        ids[h.n] = ids[i];
        weights[h.n++] = weights[i];
    }
    const int32_t all = h.n;
    heapify(&h);
    while (h.n > 0 && mass < p * total) {
        mass += weights[0];
        pop(&h);
    }
    const int32_t kept = all - h.n;
    memmove(ids, ids + h.n, (size_t)kept * sizeof *ids);
    memmove(weights, weights + h.n, (size_t)kept * sizeof *weights);
    sort_by_id(ids, weights, kept);
    return kept;
}

int32_t psc_strategy_keep(const psc_kernels *kernels, const psc_strategy *s, const float *z,
    int32_t n, int32_t *ids, double *weights) {
    const int32_t best = psc_strategy_greedy(z, n);
    const bool by_rank = s->top_k > 0 && s->top_k<n, by_mass = s->top_p> 0 && s->top_p < 1;
    const bool by_share = s->min_p > 0;
    int32_t kept = n;
    bool shared = false;
    if (best < 0) return -1;
    if (s->temperature == 0) {
        ids[0] = best;
        weights[0] = 1;
        return 1;
    }
    if (by_rank)
        kept = largest_k(z, n, s->top_k, ids);
    else if ((shared = by_share && !by_mass))
        kept = at_least(kernels, s, z, z[best], n, NULL, ids);
    else
        for (int32_t i = 0; i < n; i++) ids[i] = i;
    if (by_mass) {
        weigh(kernels, s, z, z[best], kept, ids, weights);
        kept = smallest_mass(s->top_p, z, kept, ids, weights);
    }
    if (by_share && !shared) kept = at_least(kernels, s, z, z[best], kept, ids, ids);
    if (by_share || !by_mass) weigh(kernels, s, z, z[best], kept, ids, weights);
    return kept;
}

int32_t psc_host_keep(psc_context *context, const psc_strategy *strategy, const float *logits,
    int32_t *ids, double *weights) {
    const psc_session *session = context->session;
    if (psc_strategy_check(strategy, NULL) != PSC_OK) return -1;
    return psc_strategy_keep(
        session->kernels, strategy, logits, session->model->info.d_vocab, ids, weights);
}
