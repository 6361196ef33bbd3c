/* The k largest of many numbers. Entries stay sorted; binary search places a new one. Of n numbers
 * in random order k (1 + log(n/k)) enter the list; each other offer costs one comparison. */
#include "top.h"

#include <math.h>
#include <string.h>

int32_t psc_top_insert(psc_top_list *list, double key, int64_t index) {
    int32_t place = 0, end = list->n;
    if (isnan(key)) return -1;
    while (place < end) {
        const int32_t middle = place + (end - place) / 2;
        if (psc_ranked_before(key, index, &list->at[middle]))
            end = middle;
        else
            place = middle + 1;
    }
    if (place == list->k) return -1;
    list->n += list->n < list->k;
    psc_ranked *entry = psc_top_room(list, place, list->at, sizeof *entry);
    *entry = (psc_ranked){key, index};
    return place;
}

void *psc_top_room(const psc_top_list *list, int32_t place, void *array, size_t size) {
    char *entry = (char *)array + (size_t)place * size;
    memmove(entry + size, entry, (size_t)(list->n - 1 - place) * size);
    return entry;
}

static double key_of(double x, psc_top_by by) {
    return by == PSC_TOP_LARGEST ? x : by == PSC_TOP_SMALLEST ? -x : fabs(x);
}

/* Keys below this bound cannot enter the list; a NaN fails the comparison too. */
static double bound_of(const psc_top_list *list) {
    return list->n < list->k || list->k == 0 ? -INFINITY : list->at[list->k - 1].key;
}

static inline void offer_f64(psc_top_list *list, int64_t n, const double *x, psc_top_by by) {
    double bound = bound_of(list);
    for (int64_t i = 0; i < n; i++) {
        const double key = key_of(x[i], by);
        if (key >= bound && psc_top_offer(list, key, i) >= 0) bound = bound_of(list);
    }
}

static inline void offer_f32(psc_top_list *list, int64_t n, const float *x, psc_top_by by) {
    double bound = bound_of(list);
    for (int64_t i = 0; i < n; i++) {
        const double key = key_of((double)x[i], by);
        if (key >= bound && psc_top_offer(list, key, i) >= 0) bound = bound_of(list);
    }
}

void psc_top_f64(psc_top_list *list, int64_t n, const double *x, psc_top_by by) {
    if (by == PSC_TOP_LARGEST) offer_f64(list, n, x, PSC_TOP_LARGEST);
    if (by == PSC_TOP_SMALLEST) offer_f64(list, n, x, PSC_TOP_SMALLEST);
    if (by == PSC_TOP_ABSOLUTE) offer_f64(list, n, x, PSC_TOP_ABSOLUTE);
}

void psc_top_f32(psc_top_list *list, int64_t n, const float *x, psc_top_by by) {
    if (by == PSC_TOP_LARGEST) offer_f32(list, n, x, PSC_TOP_LARGEST);
    if (by == PSC_TOP_SMALLEST) offer_f32(list, n, x, PSC_TOP_SMALLEST);
    if (by == PSC_TOP_ABSOLUTE) offer_f32(list, n, x, PSC_TOP_ABSOLUTE);
}
