/* The k largest of many numbers, in order: larger first, equal ones by their index.
 * Private to analysis/ and tests/; built on the C library alone.
 * Threads: pure; one thread at a time changes a list.
 * Ownership: the caller owns the entries; nothing here allocates. */
#ifndef ANALYSIS_TOP_H
#define ANALYSIS_TOP_H

#include <stddef.h>
#include <stdint.h>

typedef struct psc_ranked {
    double key;
    int64_t index; /* what the key belongs to; it decides ties */
} psc_ranked;

/* Entries 0..n-1 are in order. Starts as {entries, k, 0}. */
typedef struct psc_top_list {
    psc_ranked *at; /* [k] */
    int32_t k, n;   /* kept at most, kept so far */
} psc_top_list;

/* The one order: the larger key first, the lower index on a tie. -0 ties with 0. */
static inline int psc_ranked_before(double key, int64_t index, const psc_ranked *other) {
    return key > other->key || (key == other->key && index < other->index);
}

/* For psc_top_offer: makes room among the entries. */
int32_t psc_top_insert(psc_top_list *list, double key, int64_t index);

/* Offers a number, in any order of indices, each index once. Returns the entry's place, or -1 when
 * the list does not keep it. A NaN is never kept; infinities are. */
static inline int32_t psc_top_offer(psc_top_list *list, double key, int64_t index) {
    if (list->n == list->k &&
        (list->k == 0 || !psc_ranked_before(key, index, &list->at[list->k - 1])))
        return -1;
    return psc_top_insert(list, key, index);
}

/* After psc_top_offer returned `place`: shifts the later elements of a parallel array [k] of `size`
 * bytes each by one, and returns the element of the new entry. */
void *psc_top_room(const psc_top_list *list, int32_t place, void *array, size_t size);

/* Ranks numbers by their value, their negative or their absolute value. */
typedef enum psc_top_by { PSC_TOP_LARGEST, PSC_TOP_SMALLEST, PSC_TOP_ABSOLUTE } psc_top_by;

/* Offers x[0..n-1] with indices 0..n-1. */
void psc_top_f64(psc_top_list *list, int64_t n, const double *x, psc_top_by by);
void psc_top_f32(psc_top_list *list, int64_t n, const float *x, psc_top_by by);

#endif
