/* Order statistics by partitions without branches. A long part's pivot comes from a sample of it
 * (Floyd and Rivest, Expected time bounds for selection, 1975): it splits the largest gap between
 * wanted ranks, near the end that has fewer values beyond it. So both tails of a long list take two
 * partitions. A part without a wanted rank is left alone. */
#include "select_ranks.h"

#include <math.h>
#include <stdbool.h>

enum { SAMPLE = 128, LONG = 8 * SAMPLE };

static void select_between(
    double *x, int32_t begin, int32_t end, const int32_t *ranks, int32_t n_ranks);

static double median(double a, double b, double c) {
    const double low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

/* The lowest wanted rank from `from` on, or end. */
static int32_t next_rank(int32_t from, int32_t end, const int32_t *ranks, int32_t n) {
    int32_t next = end;
    for (int32_t i = 0; i < n; i++)
        if (ranks[i] >= from && ranks[i] < next) next = ranks[i];
    return next;
}

/* Where a part with a wanted rank should be split: two deviations of the sample inside the largest
 * gap, from a wanted rank. */
static int32_t place_to_split(int32_t begin, int32_t end, const int32_t *ranks, int32_t n) {
    const int32_t first = next_rank(begin, end, ranks, n);
    int32_t low = begin, high = first;
    for (int32_t rank = first, next; rank < end; rank = next) {
        next = next_rank(rank + 1, end, ranks, n);
        if (next - rank > high - low) low = rank, high = next;
    }
    const bool at_low = high == end || (low >= first && low - begin < end - high);
    const double size = end - begin, share = (at_low ? low - begin : high - begin) / size;
    const double inside = 2.0 * size * sqrt((share * (1.0 - share) + 1.0 / SAMPLE) / SAMPLE);
    const int32_t half = (high - low) / 2, step = inside < half ? (int32_t)inside : half;
    return at_low ? low + step : high - step;
}

static double pivot_of(
    const double *x, int32_t begin, int32_t end, const int32_t *ranks, int32_t n_ranks) {
    const int32_t n = end - begin;
    if (n < LONG) return median(x[begin], x[begin + n / 2], x[end - 1]);
    double sample[SAMPLE];
    for (int32_t i = 0; i < SAMPLE; i++) sample[i] = x[begin + (int64_t)i * n / SAMPLE];
    const int64_t place = place_to_split(begin, end, ranks, n_ranks) - begin;
    const int32_t rank = (int32_t)(place * (SAMPLE - 1) / n);
    select_between(sample, 0, SAMPLE, &rank, 1);
    return sample[rank];
}

/* Moves the values below the pivot, or up to it, to the front, and returns where they end. Without
 * a branch on a value. */
static int32_t partition(double *x, int32_t begin, int32_t end, double pivot, bool up_to) {
    int32_t middle = begin;
    for (int32_t i = begin; i < end; i++) {
        const double value = x[i];
        x[i] = x[middle];
        x[middle] = value;
        middle += up_to ? value <= pivot : value < pivot;
    }
    return middle;
}

/* The longer part is the loop's, so that the recursion is shallow. */
static void select_between(
    double *x, int32_t begin, int32_t end, const int32_t *ranks, int32_t n_ranks) {
    while (end - begin > 1 && next_rank(begin, end, ranks, n_ranks) < end) {
        const double pivot = pivot_of(x, begin, end, ranks, n_ranks);
        const int32_t middle = partition(x, begin, end, pivot, false);
        if (middle == begin) { /* the pivot is the least value: all that equal it are in place */
            begin = partition(x, begin, end, pivot, true);
            if (begin == middle) return; /* the pivot is NaN: sums beyond double's range */
        } else if (middle - begin < end - middle) {
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
