/* Which latents of a row are active, of its products h in pieces.
 *
 *   RELU, GROUPMAX   h > 0;  JUMPRELU  h > limit;  GATED  h > limit, f = rate h + b_mag > 0
 *   TOPK, ABSTOPK    the k best by value (by size), ties to the lower id
 *
 * A list of top-k takes what is above its bound. With 2k entries it is cut to its k best, and the
 * least of these is the new bound: a later equal value has a higher id. So a row costs few entries
 * more than k, and the set is the same for any pieces. */
#include "coder.h"

#include "arena.h"

#include <math.h>
#include <stdlib.h>

enum { PIECE = 256 }; /* products looked at together */

static bool has_top(const psc_coder *coder) {
    return coder->config.kind == PSC_DICTIONARY_TOPK ||
           coder->config.kind == PSC_DICTIONARY_ABSTOPK;
}

/* The order of top-k; signs do not count for ABSTOPK, and TOPK has positive values only. */
static bool before(const psc_coder_entry *a, const psc_coder_entry *b) {
    const float x = fabsf(a->value), y = fabsf(b->value);
    return x > y || (x == y && a->id < b->id);
}

static void swap(psc_coder_entry *a, psc_coder_entry *b) {
    const psc_coder_entry c = *a;
    *a = *b;
    *b = c;
}

/* Restores the heap of the n entries from `at` down, whose root is the last in the order. */
static void sift(psc_coder_entry *heap, size_t n, size_t at) {
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(&heap[child], &heap[child + 1])) child++;
        if (!before(&heap[at], &heap[child])) return;
        swap(&heap[at], &heap[child]);
    }
}

/* Moves the k best of n > k entries to the front, the last of them first. */
static void cut(psc_coder_entry *entries, size_t n, size_t k) {
    for (size_t i = k / 2; i-- > 0;) sift(entries, k, i);
    for (size_t i = k; i < n; i++) {
        if (!before(&entries[i], &entries[0])) continue;
        swap(&entries[0], &entries[i]);
        sift(entries, k, 0);
    }
}

static bool append(const psc_coder *coder, psc_coder_entries *list, int32_t id, float value) {
    const size_t k = (size_t)coder->config.k;
    if (list->n == list->capacity &&
        !psc_grow((void **)&list->at, &list->capacity, list->n + 1, sizeof *list->at))
        return false;
    list->at[list->n++] = (psc_coder_entry){id, value};
    if (!has_top(coder) || list->n < 2 * k) return true;
    cut(list->at, list->n, k);
    list->n = k;
    list->bound = fabsf(list->at[0].value);
    list->cut = true;
    return true;
}

/* The kernels pass a NaN and what equals the limit; here these fail. */
static bool offer_id(const psc_coder *coder, psc_coder_entries *list, float h, int32_t id) {
    if (!coder->limits) {
        const float size = coder->config.kind == PSC_DICTIONARY_ABSTOPK ? fabsf(h) : h;
        return !(size > list->bound) || append(coder, list, id, h);
    }
    if (!(h > coder->limits[id])) return true;
    if (coder->rate) { /* GATED */
        h = coder->rate[id] * h;
        h += coder->b_mag[id];
        if (!(h > 0)) return true;
    }
    return append(coder, list, id, h);
}

bool psc_coder_offer(
    const psc_coder *coder, psc_coder_entries *list, const float *h, int32_t first, size_t n) {
    const psc_kernels *k = coder->kernels;
    int32_t ids[PIECE];
    size_t count = 0;
    for (size_t from = 0; from < n; from += PIECE) {
        const size_t some = n - from < PIECE ? n - from : PIECE;
        if (coder->limits)
            k->reach_limits(ids, &count, h + from, coder->limits + first + from, some);
        else if (coder->config.kind != PSC_DICTIONARY_ABSTOPK)
            k->indices_within(ids, &count, h + from, some, list->bound, INFINITY);
        else
            for (count = 0; count < some; count++) ids[count] = (int32_t)count;
        for (size_t i = 0; i < count; i++) {
            const size_t at = from + (size_t)ids[i];
            if (!offer_id(coder, list, h[at], first + (int32_t)at)) return false;
        }
    }
    return true;
}

static int by_id(const void *a, const void *b) {
    const int32_t x = ((const psc_coder_entry *)a)->id, y = ((const psc_coder_entry *)b)->id;
    return (x > y) - (x < y);
}

/* Of neighbors of one group the first largest; the entries ascend. */
static size_t keep_groups(const psc_coder *coder, psc_coder_entry *entries, size_t n) {
    const int32_t size = coder->config.n_latents / coder->config.k;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || entries[kept - 1].id / size != entries[i].id / size)
            entries[kept++] = entries[i];
        else if (entries[i].value > entries[kept - 1].value)
            entries[kept - 1] = entries[i];
    }
    return kept;
}

size_t psc_coder_keep(const psc_coder *coder, psc_coder_entry *entries, size_t n, bool unordered) {
    const size_t k = (size_t)coder->config.k;
    if (coder->config.kind == PSC_DICTIONARY_GROUPMAX) return keep_groups(coder, entries, n);
    if (!has_top(coder)) return n;
    if (n > k) cut(entries, n, k);
    const size_t kept = n > k ? k : n;
    if (unordered || n > k) qsort(entries, kept, sizeof *entries, by_id);
    return kept;
}
