/* The list of the k largest: against a full sort, with ties, NaN, signed zeros, infinities, every
 * order of insertion, and arrays that move with the entries. */
#include "top.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { MOST = 300 };

static psc_ranked entries[MOST + 1];

static psc_top_list empty(int32_t k) {
    for (int32_t i = 0; i <= MOST; i++) entries[i] = (psc_ranked){-777.0, -777};
    return (psc_top_list){entries, k, 0};
}

static void expect(const psc_top_list *list, int32_t n, const int64_t *indices) {
    cr_assert_eq(list->n, n, "%d kept", (int)list->n);
    for (int32_t i = 0; i < n; i++)
        cr_assert_eq(
            list->at[i].index, indices[i], "place %d holds %d", (int)i, (int)list->at[i].index);
    cr_assert_eq(entries[list->k].index, -777, "wrote past the list");
}

Test(top, ties_go_to_the_lower_index) {
    const double x[] = {1.0, 3.0, 3.0, 2.0, 3.0, 2.0};
    const int64_t want[] = {1, 2, 4, 3};
    psc_top_list list = empty(4);
    psc_top_f64(&list, 6, x, PSC_TOP_LARGEST);
    expect(&list, 4, want);
    list = empty(4); /* the other way round: a late lower index replaces an equal */
    for (int64_t i = 6; i-- > 0;) psc_top_offer(&list, x[i], i);
    expect(&list, 4, want);
}

Test(top, all_equal_keeps_the_first) {
    const int64_t want[] = {0, 1, 2};
    psc_top_list list = empty(3);
    for (int64_t i = 20; i-- > 0;) psc_top_offer(&list, 0.25, i);
    expect(&list, 3, want);
    cr_assert_eq(psc_top_offer(&list, 0.25, 20), -1);
}

Test(top, nan_is_never_kept) {
    const double x[] = {NAN, -INFINITY, NAN, 1.0, -NAN};
    const int64_t want[] = {3, 1}, flipped[] = {1, 3};
    psc_top_list list = empty(5);
    psc_top_f64(&list, 5, x, PSC_TOP_LARGEST);
    expect(&list, 2, want);
    list = empty(5);
    psc_top_f64(&list, 5, x, PSC_TOP_SMALLEST);
    expect(&list, 2, flipped);
    cr_assert_eq(list.at[0].key, INFINITY);
    list = empty(1);
    psc_top_offer(&list, 1.0, 0);
    cr_assert_eq(psc_top_offer(&list, NAN, 1), -1);
    expect(&list, 1, (const int64_t[]){0});
}

Test(top, signed_zeros_tie) {
    const float x[] = {-0.0f, 0.0f, -0.0f, -1.0f};
    const int64_t want[] = {0, 1, 2, 3}, least[] = {3, 0, 1, 2}, absolute[] = {3, 0, 1, 2};
    psc_top_list list = empty(4);
    psc_top_f32(&list, 4, x, PSC_TOP_LARGEST);
    expect(&list, 4, want);
    list = empty(4);
    psc_top_f32(&list, 4, x, PSC_TOP_SMALLEST);
    expect(&list, 4, least);
    list = empty(4);
    psc_top_f32(&list, 4, x, PSC_TOP_ABSOLUTE);
    expect(&list, 4, absolute);
}

Test(top, k_beyond_n_and_k_of_zero) {
    const double x[] = {2.0, -5.0, 4.0};
    const int64_t want[] = {2, 0, 1}, absolute[] = {1, 2, 0};
    psc_top_list list = empty(MOST);
    psc_top_f64(&list, 3, x, PSC_TOP_LARGEST);
    expect(&list, 3, want);
    list = empty(MOST);
    psc_top_f64(&list, 3, x, PSC_TOP_ABSOLUTE);
    expect(&list, 3, absolute);
    list = empty(0);
    psc_top_f64(&list, 3, x, PSC_TOP_LARGEST);
    expect(&list, 0, NULL);
    list = empty(3);
    psc_top_f64(&list, 0, x, PSC_TOP_LARGEST);
    expect(&list, 0, NULL);
}

static int in_order(const void *a, const void *b) {
    const psc_ranked *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Few distinct keys, every size of list, a random order of insertion; an array moves with the
 * entries. */
Test(top, equals_a_sort) {
    uint64_t random = 12345;
    for (int round = 0; round < 400; round++) {
        psc_ranked all[MOST];
        float beside[MOST + 1];
        const int32_t n = 1 + (int32_t)(random >> 33) % MOST, k = round % 40;
        for (int32_t i = 0; i < n; i++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            all[i] = (psc_ranked){(double)((random >> 40) % 16) - 8.0, i};
        }
        for (int32_t i = n - 1; i > 0; i--) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            const int32_t j = (int32_t)((random >> 33) % (uint64_t)(i + 1));
            const psc_ranked swap = all[i];
            all[i] = all[j];
            all[j] = swap;
        }
        psc_top_list list = empty(k);
        beside[k] = -777.0f;
        for (int32_t i = 0; i < n; i++) {
            const int32_t place = psc_top_offer(&list, all[i].key, all[i].index);
            if (place < 0) continue;
            cr_assert_eq(list.at[place].index, all[i].index);
            *(float *)psc_top_room(&list, place, beside, sizeof *beside) = (float)all[i].index;
        }
        qsort(all, (size_t)n, sizeof *all, in_order);
        cr_assert_eq(list.n, n < k ? n : k);
        for (int32_t i = 0; i < list.n; i++) {
            cr_assert_eq(list.at[i].index, all[i].index, "round %d place %d", round, (int)i);
            cr_assert_eq(list.at[i].key, all[i].key);
            cr_assert_eq(beside[i], (float)all[i].index);
        }
        cr_assert_eq(beside[k], -777.0f);
        cr_assert_eq(entries[k].index, -777);
    }
}
