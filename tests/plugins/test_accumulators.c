/* Accumulators: sums are exact in any order and any split, rounding is correct on the way in and
 * out, ties in top lists are settled. */
#include "accumulators.h"
#include "plugin_fixture.h"

#include <stdint.h>

static psc_accumulators tables;

static psc_accumulator *new_table(psc_accumulate kind, int64_t n, int32_t k) {
    char name[32];
    snprintf(name, sizeof name, "table%d", (int)tables.n);
    int handle = psc_accumulators_add(&tables, name, kind, n, k, &error);
    cr_assert_geq(handle, 0, "%s", error.message);
    return &tables.list[handle];
}

static double total(const psc_accumulator *table, int64_t slot) {
    double value = NAN;
    cr_assert_eq(psc_accumulator_read(table, slot, 1, &value, &error), PSC_OK);
    return value;
}

static void must_add(psc_accumulator *table, int64_t slot, double value) {
    cr_assert_eq(psc_accumulator_add(table, slot, 1, &value, &error), PSC_OK, "%s", error.message);
}

static double after(double value) {
    psc_accumulator *table = new_table(PSC_ACCUMULATE_SUM, 1, 0);
    must_add(table, 0, value);
    return total(table, 0);
}

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 11;
}

/* --- sums ------------------------------------------------------------------------------------ */

Test(accumulators, a_partial_is_rounded_once_to_the_grid) {
    const double step = 0x1p-40;
    cr_assert_eq(after(0.5 * step), 0.0);
    cr_assert_eq(after(1.5 * step), 2 * step);
    cr_assert_eq(after(2.5 * step), 2 * step);
    cr_assert_eq(after(-2.5 * step), -2 * step);
    cr_assert_eq(after(-3.5 * step), -4 * step);
    cr_assert_eq(after(nextafter(0.5 * step, 1.0)), step);
    cr_assert_eq(after(5e-324), 0.0);
    const double exact[] = {1.0, -1.0, 0x1p12, 0x1p12 + 0x1p-40, -0x1.fffffffffffffp12, 0x1p23,
        0x1.23456789abcdep24, -0x1.23456789abcdep30, 0x1.fffffffffffffp62, -0x1.fffffffffffffp63,
        0x1p64, 0x1.fffffffffffffp85, -0x1.fffffffffffffp85, -0x1.0000000000001p70};
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        cr_assert_eq(after(exact[i]), exact[i], "%a", exact[i]);
    cr_assert_not(signbit(after(-0.0)));
    cr_assert_not(signbit(after(-0.4 * step)));
}

Test(accumulators, totals_are_exact_and_rounded_once_on_reading) {
    psc_accumulator *table = new_table(PSC_ACCUMULATE_SUM, 1, 0);
    must_add(table, 0, 0x1p60);
    for (int i = 0; i < 1000; i++) must_add(table, 0, 0x1p-40);
    must_add(table, 0, -0x1p60);
    cr_assert_eq(total(table, 0), 1000 * 0x1p-40);
    must_add(table, 0, 0x1p53 - 1000 * 0x1p-40);
    table = new_table(PSC_ACCUMULATE_SUM, 3, 0);
    must_add(table, 0, 0x1p53); /* halfway between neighbors: rounds to even */
    must_add(table, 0, 1.0);
    must_add(table, 1, 0x1p53); /* just above halfway */
    must_add(table, 1, 1.0);
    must_add(table, 1, 0x1p-40);
    must_add(table, 2, -0x1p53);
    must_add(table, 2, -3.0);
    cr_assert_eq(total(table, 0), 0x1p53);
    cr_assert_eq(total(table, 1), 0x1p53 + 2);
    cr_assert_eq(total(table, 2), -0x1p53 - 4);
}

Test(accumulators, any_order_and_split_gives_the_same_bits) {
    enum { N = 500, SLOTS = 3, PARTS = 4 };
    static double values[N][SLOTS];
    uint64_t seed = 7;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < SLOTS; j++)
            values[i][j] = ldexp((double)(int64_t)(next_random(&seed) - ((uint64_t)1 << 52)),
                (int)(next_random(&seed) % 40) - 60);
    psc_accumulator *whole = new_table(PSC_ACCUMULATE_SUM, SLOTS, 0);
    void *expected = whole->slots;
    for (int i = 0; i < N; i++)
        cr_assert_eq(psc_accumulator_add(whole, 0, SLOTS, values[i], &error), PSC_OK);
    psc_accumulators parts = {0};
    for (int p = 0; p < PARTS; p++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", p);
        psc_accumulators_add(&parts, name, PSC_ACCUMULATE_SUM, SLOTS, 0, &error);
    }
    for (int i = N - 1; i >= 0; i--)
        cr_assert_eq(
            psc_accumulator_add(&parts.list[i * 7 % PARTS], 0, SLOTS, values[i], &error), PSC_OK);
    for (int p = 1; p < PARTS; p++)
        cr_assert_eq(psc_accumulator_merge(&parts.list[0], parts.list[p].slots, &error), PSC_OK);
    cr_assert_arr_eq(parts.list[0].slots, expected, parts.list[0].bytes);
    psc_accumulators_close(&parts);
}

__extension__ typedef __int128 units; /* of 2^-40 */

/* Blocks of small and larger partials of both signs, halves of the grid among them. */
Test(accumulators, a_block_is_rounded_slot_by_slot) {
    enum { N = 700 };
    static const int largest[] = {-30, 5, 10, 11, 20};
    uint64_t random = 5;
    for (int round = 0; round < 5; round++) {
        psc_accumulator *table = new_table(PSC_ACCUMULATE_SUM, N, 0);
        units want[N] = {0};
        for (int turn = 0; turn < 3; turn++) {
            double partial[N];
            for (int i = 0; i < N; i++) {
                const int power =
                    -44 + (int)(next_random(&random) % (uint64_t)(44 + largest[round]));
                partial[i] = ldexp((double)next_random(&random), power - 53);
                if (i % 3 == 0) partial[i] = ldexp((double)(2 * (i % 64) + 1), -41);
                if (i % 2) partial[i] = -partial[i];
                want[i] += llrintl((long double)partial[i] * 0x1p40L);
            }
            cr_assert_eq(psc_accumulator_add(table, 0, N, partial, &error), PSC_OK);
            cr_assert_eq(memcmp(want, table->slots, sizeof want), 0, "round %d", round);
        }
    }
}

Test(accumulators, an_overflow_in_a_block_changes_no_slot_from_there_on) {
    psc_accumulator *table = new_table(PSC_ACCUMULATE_SUM, 4, 0);
    units most = (units)(~(unsigned long long)0 >> 1);
    most = most * ((units)1 << 64) + ~(unsigned long long)0;
    const units full[4] = {5, most - 7, -most, 9};
    const double partial[4] = {1.0, 0x1p-37, -0x1p-38, 1.0};
    units after_it[4];
    cr_assert_eq(psc_accumulator_merge(table, full, &error), PSC_OK, "%s", error.message);
    REFUSED(
        psc_accumulator_add(table, 0, 4, partial, &error), PSC_ERROR_PLUGIN, "slot 1", "overflow");
    memcpy(after_it, table->slots, sizeof after_it);
    cr_assert(after_it[0] == 5 + ((units)1 << 40) && after_it[2] == -most && after_it[3] == 9);
}

Test(accumulators, what_cannot_be_added_is_refused) {
    psc_accumulator *sum = new_table(PSC_ACCUMULATE_SUM, 2, 0);
    const double bad[] = {NAN, INFINITY, -INFINITY, 0x1p86, 1e300};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSED(psc_accumulator_add(sum, 1, 1, &bad[i], &error), PSC_ERROR_PLUGIN, "'table0'",
            "slot 1");
    const double large = 0x1.fffffffffffffp85;
    for (int i = 0; i < 2; i++) must_add(sum, 0, large);
    REFUSED(psc_accumulator_add(sum, 0, 1, &large, &error), PSC_ERROR_PLUGIN, "overflow");
    REFUSED(psc_accumulator_add(sum, 1, 2, bad, &error), PSC_ERROR_PLUGIN, "2 slots");
    REFUSED(psc_accumulator_add(sum, -1, 1, &large, &error), PSC_ERROR_PLUGIN, "2 slots");
    psc_accumulator *count = new_table(PSC_ACCUMULATE_COUNT, 1, 0);
    const double no_count[] = {-1.0, 0.5, NAN, INFINITY, 0x1p54};
    for (size_t i = 0; i < sizeof no_count / sizeof *no_count; i++)
        REFUSED(psc_accumulator_add(count, 0, 1, &no_count[i], &error), PSC_ERROR_PLUGIN, "count");
    must_add(count, 0, 3.0);
    const int64_t nearly_full = INT64_MAX - 2;
    REFUSED(psc_accumulator_merge(count, &nearly_full, &error), PSC_ERROR_PLUGIN, "overflow");
    psc_accumulator *low = new_table(PSC_ACCUMULATE_MIN, 1, 0);
    REFUSED(psc_accumulator_add(low, 0, 1, bad, &error), PSC_ERROR_PLUGIN, "cannot be ranked");
}

Test(accumulators, extremes) {
    psc_accumulator *low = new_table(PSC_ACCUMULATE_MIN, 1, 0);
    psc_accumulator *high = new_table(PSC_ACCUMULATE_MAX, 1, 0);
    low = &tables.list[0];
    cr_assert(total(low, 0) == INFINITY && total(high, 0) == -INFINITY);
    const double values[] = {3.0, -0.0, 0.0, 2.0};
    for (int i = 0; i < 4; i++) must_add(low, 0, values[i]);
    for (int i = 0; i < 4; i++) must_add(high, 0, -values[i]);
    cr_assert(total(low, 0) == 0.0 && !signbit(total(low, 0)));
    cr_assert(total(high, 0) == 0.0 && !signbit(total(high, 0)));
}

/* --- top lists ------------------------------------------------------------------------------- */

Test(accumulators, top_lists_do_not_depend_on_the_order) {
    enum { N = 200, K = 7 };
    static psc_top entries[N];
    uint64_t seed = 3;
    for (int i = 0; i < N; i++) {
        entries[i] = (psc_top){.value = (double)(next_random(&seed) % 9),
            .document = (int64_t)(next_random(&seed) % 5),
            .position = (int32_t)(next_random(&seed) % 6)};
        entries[i].tokens[PSC_TOP_BEFORE] = (int32_t)(next_random(&seed) % 3);
    }
    new_table(PSC_ACCUMULATE_TOP, 2, K);
    new_table(PSC_ACCUMULATE_TOP, 2, K);
    psc_accumulator *a = &tables.list[0], *b = &tables.list[1];
    for (int i = 0; i < N; i++)
        cr_assert_eq(psc_accumulator_add_top(a, 1, &entries[i], NULL, &error), PSC_OK);
    for (int i = N - 1; i >= N / 3; i--)
        cr_assert_eq(psc_accumulator_add_top(b, 1, &entries[i], NULL, &error), PSC_OK);
    psc_accumulators other = {0};
    psc_accumulators_add(&other, "other", PSC_ACCUMULATE_TOP, 2, K, &error);
    for (int i = 0; i < N / 3; i++)
        cr_assert_eq(psc_accumulator_add_top(&other.list[0], 1, &entries[i], NULL, &error), PSC_OK);
    cr_assert_eq(psc_accumulator_merge(b, other.list[0].slots, &error), PSC_OK);
    cr_assert_arr_eq(a->slots, b->slots, a->bytes);
    psc_top out[K];
    cr_assert_eq(psc_accumulator_read_top(a, 0, out, NULL, &error), 0);
    cr_assert_eq(psc_accumulator_read_top(a, 1, out, NULL, &error), K);
    for (int i = 1; i < K; i++) {
        cr_assert_geq(out[i - 1].value, out[i].value);
        if (out[i - 1].value == out[i].value) cr_assert_leq(out[i - 1].document, out[i].document);
    }
    psc_accumulators_close(&other);
}

/* An entry's record, a function of what ranks: the same window has the same record. */
static void record_of(uint64_t out[3], const psc_top *entry) {
    out[0] = (uint64_t)entry->document;
    out[1] = (uint64_t)entry->position << 20 | (uint32_t)entry->tokens[PSC_TOP_BEFORE];
    out[2] = ~out[0] ^ out[1];
}

Test(accumulators, records_follow_their_entries) {
    enum { N = 100, K = 5 };
    static psc_top entries[N];
    psc_accumulators other = {0};
    psc_top out[K];
    uint64_t seed = 11, record[3], records[K][3];
    for (int i = 0; i < N; i++)
        entries[i] = (psc_top){.value = (double)(next_random(&seed) % 7),
            .document = (int64_t)(next_random(&seed) % 50),
            .position = (int32_t)(next_random(&seed) % 6)};
    cr_assert_eq(psc_accumulators_add_records(&tables, "a", 2, K, sizeof record, &error), 0);
    cr_assert_eq(psc_accumulators_add_records(&tables, "b", 2, K, sizeof record, &error), 1);
    cr_assert_eq(psc_accumulators_add_records(&other, "b", 2, K, sizeof record, &error), 0);
    psc_accumulator *a = &tables.list[0], *b = &tables.list[1];
    for (int i = 0; i < N; i++) {
        record_of(record, &entries[i]);
        const int ranks = psc_accumulator_ranks(a, 1, &entries[i], &error);
        char *before = malloc(a->bytes);
        memcpy(before, a->slots, a->bytes);
        cr_assert_eq(psc_accumulator_add_top(a, 1, &entries[i], record, &error), PSC_OK);
        cr_assert_eq(ranks, memcmp(before, a->slots, a->bytes) != 0);
        free(before);
        psc_accumulator *half = i % 3 ? b : &other.list[0];
        cr_assert_eq(psc_accumulator_add_top(half, 1, &entries[i], record, &error), PSC_OK);
    }
    cr_assert_eq(psc_accumulator_merge(b, other.list[0].slots, &error), PSC_OK);
    cr_assert_arr_eq(a->slots, b->slots, a->bytes);
    cr_assert_eq(psc_accumulator_read_top(a, 0, out, records, &error), 0);
    cr_assert_eq(psc_accumulator_read_top(a, 1, out, records, &error), K);
    for (int i = 0; i < K; i++) {
        record_of(record, &out[i]);
        cr_assert_arr_eq(records[i], record, sizeof record);
    }
    psc_accumulators_close(&other);
}

Test(accumulators, records_refusals) {
    psc_top entry = {.value = 1.0};
    uint64_t record[3] = {0};
    cr_assert_eq(psc_accumulators_add_records(&tables, "a", 1, 2, 12, &error), -1);
    cr_assert(strstr(error.message, "multiple of 8"), "%s", error.message);
    cr_assert_eq(psc_accumulators_add_records(&tables, "a", 1, 2, 0, &error), -1);
    cr_assert_eq(psc_accumulators_add_records(&tables, "a", 1, 2, UINT64_MAX - 7, &error), -1);
    cr_assert(strstr(error.message, "slots"), "%s", error.message);
    cr_assert_eq(psc_accumulators_add_records(&tables, "a", 1, 2, sizeof record, &error), 0);
    REFUSED(psc_accumulator_add_top(&tables.list[0], 0, &entry, NULL, &error), PSC_ERROR_PLUGIN,
        "need a record");
    cr_assert_eq(psc_accumulator_ranks(&tables.list[0], 1, &entry, &error), -1);
    psc_accumulator *plain = new_table(PSC_ACCUMULATE_TOP, 1, 2);
    REFUSED(psc_accumulator_add_top(plain, 0, &entry, record, &error), PSC_ERROR_PLUGIN,
        "do not have a record");
}
