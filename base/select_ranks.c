/* Order statistics: quicksort (Hoare's partition around the median of three) that leaves a part
 * alone when it has none of the ranks. The longer part is the loop's, so that the recursion is
 * shallow. */
#include "select_ranks.h"

#include <stdbool.h>

static bool has_rank(int32_t begin, int32_t end, const int32_t *ranks, int32_t n) {
    for (int32_t i = 0; i < n; i++)
        if (ranks[i] >= begin && ranks[i] < end) return true;
    return false;
}

static double median(double a, double b, double c) {
    const double low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

/* Returns `middle`, begin < middle < end: no value before it is above one from it on. */
static int32_t split(double *x, int32_t begin, int32_t end) {
    const double pivot = median(x[begin], x[begin + (end - begin) / 2], x[end - 1]);
    int32_t i = begin, j = end - 1;
    for (;;) {
        while (x[i] < pivot) i++;
        while (x[j] > pivot) j--;
        if (i >= j) break;
        const double t = x[i];
        x[i++] = x[j];
        x[j--] = t;
    }
    return i > begin ? i : begin + 1;
}

static void select_between(
    double *x, int32_t begin, int32_t end, const int32_t *ranks, int32_t n_ranks) {
    while (end - begin > 1 && has_rank(begin, end, ranks, n_ranks)) {
        const int32_t middle = split(x, begin, end);
        if (middle - begin < end - middle) {
            select_between(x, begin, middle, ranks, n_ranks);
            begin = middle;
        } else {
            select_between(x, middle, end, ranks, n_ranks);
            end = middle;
        }
    }
}

void psc_select_ranks(double *x, int32_t n, const int32_t *ranks, int32_t n_ranks) {
    select_between(x, 0, n, ranks, n_ranks);
}
