/* The totals of a corpus in structures of other versions: only members within struct_size are
 * written; and parts that number their documents differently. */
#include "source_fixture.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* What a caller of an earlier version allocates, and what lies behind it. */
typedef union old_totals {
    psc_corpus_totals totals;
    unsigned char bytes[sizeof(psc_corpus_totals)];
} old_totals;

static old_totals old_of(uint32_t size) {
    old_totals old;
    memset(&old, 0xa5, sizeof old);
    old.totals.struct_size = size;
    return old;
}

static void check_behind(const old_totals *old, uint32_t size) {
    cr_assert_eq(old->totals.struct_size, size);
    for (size_t i = size > 4 ? size : 4; i < sizeof *old; i++)
        cr_assert_eq(old->bytes[i], 0xa5, "byte %zu of a structure of %u bytes", i, size);
}

static const uint32_t sizes[] = {offsetof(psc_corpus_totals, bos),
    offsetof(psc_corpus_totals, stopped), offsetof(psc_corpus_totals, document_name),
    offsetof(psc_corpus_totals, numbered)};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

Test(corpus_totals, an_earlier_structure_is_not_overrun) {
    psc_model *model = small_model();
    list l = LIST(five);
    psc_corpus_options o = windows_of(2);
    psc_corpus *c = must_open(model, &l, &o);
    psc_corpus_totals whole = PSC_CORPUS_TOTALS_INIT;
    finish(c);
    psc_corpus_get_totals(&whole, c);
    for (int i = 0; i < N_SIZES; i++) {
        old_totals old = old_of(sizes[i]);
        psc_corpus_get_totals(&old.totals, c);
        check_behind(&old, sizes[i]);
        cr_assert_eq(old.totals.tokens, whole.tokens);
        cr_assert_eq(old.totals.window, 2);
    }
    psc_corpus_close(&c);
    psc_model_close(&model);
}

Test(corpus_totals, a_structure_without_a_size_is_left_alone) {
    psc_model *model = small_model();
    list l = LIST(five);
    psc_corpus_options o = windows_of(2);
    psc_corpus *c = must_open(model, &l, &o);
    old_totals old = old_of(0);
    psc_corpus_get_totals(&old.totals, c);
    check_behind(&old, 0);
    psc_corpus_close(&c);
    psc_model_close(&model);
}

/* The position of a finished part of `five`. */
static char *part_of(const psc_model *model, int32_t shard) {
    list l = LIST(five);
    psc_corpus_options o = windows_of(2);
    o.shard = shard;
    o.n_shards = 2;
    psc_corpus *c = must_open(model, &l, &o);
    finish(c);
    char *place = place_of(c);
    psc_corpus_close(&c);
    return place;
}

Test(corpus_totals, parts_of_an_earlier_structure_add_up) {
    psc_model *model = small_model();
    char *one = part_of(model, 1), *two = part_of(model, 2), identity[33];
    static unsigned char parts[PSC_CORPUS_SHARDS];
    int32_t n = 0;
    psc_corpus_totals whole = PSC_CORPUS_TOTALS_INIT;
    cr_assert_eq(psc_corpus_add_part(&whole, identity, &n, parts, one, &error), PSC_OK);
    cr_assert_eq(psc_corpus_add_part(&whole, identity, &n, parts, two, &error), PSC_OK);
    for (int i = 0; i < N_SIZES; i++) {
        old_totals old = old_of(sizes[i]);
        memset(parts, 0, sizeof parts);
        n = 0;
        cr_assert_eq(psc_corpus_add_part(&old.totals, identity, &n, parts, one, &error), PSC_OK);
        check_behind(&old, sizes[i]);
        cr_assert_eq(psc_corpus_add_part(&old.totals, identity, &n, parts, two, &error), PSC_OK);
        check_behind(&old, sizes[i]);
        cr_assert_eq(old.totals.tokens, whole.tokens);
    }
    old_totals none = old_of(0);
    n = 0;
    cr_assert_eq(
        psc_corpus_add_part(&none.totals, identity, &n, parts, one, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message,
        "psc_corpus_totals.struct_size is not set; start from PSC_CORPUS_TOTALS_INIT");
    check_behind(&none, 0);
    psc_free(one);
    psc_free(two);
    psc_model_close(&model);
}

/* A part whose numbers differ would have left out or repeated documents. */
Test(corpus_totals, parts_that_number_differently_are_refused) {
    psc_model *model = small_model();
    char *one = part_of(model, 1), *two = part_of(model, 2), identity[33];
    static unsigned char parts[PSC_CORPUS_SHARDS];
    int32_t n = 0;
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    char *next = strstr(two, "\"next\":5");
    cr_assert(next);
    next[7] = '4';
    cr_assert_eq(psc_corpus_add_part(&totals, identity, &n, parts, one, &error), PSC_OK);
    cr_assert_eq(totals.numbered, 5);
    cr_assert_eq(psc_corpus_add_part(&totals, identity, &n, parts, two, &error), PSC_ERROR_INPUT);
    cr_assert(strstr(error.message, "it numbers 4 documents, but the first part 5"));
    psc_free(one);
    psc_free(two);
    psc_model_close(&model);
}
