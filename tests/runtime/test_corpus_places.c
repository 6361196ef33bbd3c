/* Positions in a source of documents: reading resumes over the same documents and refuses others;
 * parts add up to the whole. */
#include "source_fixture.h"

#include <stdio.h>
#include <stdlib.h>

/* From each position a fresh corpus, and the same one for the next position, go on alike. */
static void resume_everywhere(psc_corpus_options o) {
    psc_model *model = small_model();
    list l = LIST(five), m = LIST(five);
    psc_corpus *c = must_open(model, &l, &o), *along = must_open(model, &m, &o);
    for (int32_t n = 1; n > 0;) {
        list again = LIST(five);
        char *place = place_of(c), *end;
        psc_corpus *fresh = must_open(model, &again, &o);
        cr_assert_eq(psc_corpus_seek(fresh, place, &error), PSC_OK, "%s", error.message);
        cr_assert_eq(psc_corpus_seek(along, place, &error), PSC_OK, "%s", error.message);
        psc_free(place);
        psc_window x, y, z;
        n = must_next(&x, c);
        cr_assert_eq(must_next(&y, fresh), n);
        cr_assert_eq(must_next(&z, along), n);
        cr_assert_eq(y.document.number, x.document.number);
        cr_assert_eq(y.document.first, x.document.first);
        cr_assert_arr_eq(y.tokens, x.tokens, (size_t)n * sizeof *x.tokens);
        cr_assert_arr_eq(z.tokens, x.tokens, (size_t)n * sizeof *x.tokens);
        finish(fresh);
        place = place_of(fresh);
        if (n == 0) {
            end = place_of(c);
            cr_assert_str_eq(place, end);
            psc_free(end);
        }
        psc_free(place);
        psc_corpus_close(&fresh);
    }
    psc_corpus_close(&c);
    psc_corpus_close(&along);
    psc_model_close(&model);
}

Test(places, reading_resumes_at_every_position) {
    for (int32_t window = 1; window <= 10; window++) resume_everywhere(windows_of(window));
    psc_corpus_options o = windows_of(3);
    o.shard = 2;
    o.n_shards = 2;
    resume_everywhere(o);
    o.stride = 1;
    resume_everywhere(o);
    for (o = windows_of(5); o.stride < 4; o.stride++) resume_everywhere(o);
    o = windows_of(4);
    o.limit = 9;
    resume_everywhere(o);
}

/* The position after n windows of two tokens of `five`. */
static char *place_after(const psc_model *model, int32_t n) {
    list l = LIST(five);
    psc_corpus_options o = windows_of(2);
    psc_corpus *c = must_open(model, &l, &o);
    psc_window window;
    for (int32_t i = 0; i < n; i++) must_next(&window, c);
    char *place = place_of(c);
    psc_corpus_close(&c);
    return place;
}

static void refuse(
    const psc_model *model, list l, const char *place, psc_status status, const char *sentence) {
    psc_corpus_options o = windows_of(2);
    psc_corpus *c = must_open(model, &l, &o);
    psc_window window;
    cr_assert_eq(psc_corpus_seek(c, place, &error), status, "%s", error.message);
    cr_assert_str_eq(error.message, sentence);
    if (l.at > 0) {
        cr_assert_eq(psc_corpus_next(&window, c, &error), PSC_ERROR_STATE);
        cr_assert_eq(window.n, 0);
    }
    psc_corpus_close(&c);
}

Test(places, other_documents_are_refused) {
    const psc_source_document other[] = {five[0], IDS(3, 1), five[2], five[3], five[4]};
    const psc_source_document more[] = {five[0], five[1], five[2], five[3], five[4], five[0]};
    const psc_source_document moved[] = {IDS(0, 6), IDS(6, 2), five[2], five[3], five[4]};
    psc_model *model = small_model();
    char *inside = place_after(model, 7), *end = place_after(model, 100);
    list few = LIST(five), l = LIST(other), m = LIST(more), n = LIST(moved);
    const char *differ = "it was made from other documents: the first 4 differ";
    refuse(model, l, inside, PSC_ERROR_INPUT, differ);
    refuse(model, n, inside, PSC_ERROR_INPUT, differ);
    few.n = 3;
    refuse(model, few, inside, PSC_ERROR_INPUT,
        "the source of documents ended after 3 of the 4 documents that it was made from");
    refuse(model, m, end, PSC_ERROR_INPUT, "it was made from 5 documents, but the source has more");
    few.n = 5;
    few.fails_at = 2;
    refuse(model, few, inside, PSC_ERROR_CANCELLED, "the source of documents failed at document 2");
    psc_free(inside);
    psc_free(end);
    psc_model_close(&model);
}

Test(places, a_seek_that_failed_may_be_repeated) {
    psc_model *model = small_model();
    char *place = place_after(model, 7);
    list l = LIST(five), whole = LIST(five);
    l.fails_at = 2;
    psc_corpus_options o = windows_of(2);
    psc_corpus *c = must_open(model, &l, &o), *other = must_open(model, &whole, &o);
    psc_window x, y;
    cr_assert_eq(psc_corpus_seek(c, place, &error), PSC_ERROR_CANCELLED);
    cr_assert_eq(psc_corpus_seek(c, place, &error), PSC_OK, "%s", error.message);
    for (int i = 0; i < 8; i++) must_next(&x, other);
    cr_assert_eq(must_next(&y, c), x.n);
    cr_assert_arr_eq(y.tokens, x.tokens, (size_t)x.n * sizeof *x.tokens);
    finish(c);
    cr_assert_eq(psc_corpus_seek(c, place, &error), PSC_ERROR_STATE);
    cr_assert_str_eq(
        error.message, "the source of documents is already past document 4; open the corpus again");
    psc_free(place);
    psc_corpus_close(&c);
    psc_corpus_close(&other);
    psc_model_close(&model);
}

/* place with a member's value replaced. */
static char *changed(const char *place, const char *key, const char *value) {
    char *out = malloc(strlen(place) + strlen(value) + 1);
    const char *from = strstr(place, key);
    cr_assert(from, "%s", key);
    from += strlen(key);
    const size_t before = (size_t)(from - place);
    memcpy(out, place, before);
    strcpy(out + before, value);
    strcat(out, from + strcspn(from, ",}"));
    return out;
}

static void refuse_changed(const char *key, const char *value, const char *sentence) {
    psc_model *model = small_model();
    list l = LIST(five);
    psc_corpus_options o = windows_of(2);
    char *good = place_after(model, 7), *bad = changed(good, key, value);
    psc_corpus *c = must_open(model, &l, &o);
    cr_assert_eq(psc_corpus_seek(c, bad, &error), PSC_ERROR_INPUT, "%s%s", key, value);
    cr_assert_str_eq(error.message, sentence);
    psc_free(good);
    free(bad);
    psc_corpus_close(&c);
    psc_model_close(&model);
}

Test(places, changed_positions_are_refused) {
    const char *nowhere = "its recorded position is not in the corpus";
    refuse_changed("\"document\":", "2", nowhere);
    refuse_changed("\"document\":", "4", nowhere);
    refuse_changed("\"piece\":", "10", nowhere);
    refuse_changed("\"skip\":", "10", nowhere);
    refuse_changed("\"file\":", "1", nowhere);
    refuse_changed("\"read\":", "\"0\"",
        "the recorded position in the corpus is invalid: read must be 32 hexadecimal digits");
    refuse_changed("\"read\":", "7",
        "the recorded position in the corpus is invalid: read must be 32 hexadecimal digits");
    refuse_changed("\"read\":", "\"0123456789abcdef0123456789abcdef\"",
        "it was made from other documents: the first 4 differ");
    refuse_changed(
        "\"next\":", "1152921504606846976", "its recorded position is not in the corpus");
}

/* --- parts ----------------------------------------------------------------------------------- */

typedef struct merging {
    psc_corpus_totals totals;
    char identity[33];
    int32_t n;
    unsigned char parts[PSC_CORPUS_SHARDS];
} merging;

static psc_status add_part(
    merging *m, const psc_model *model, list l, int32_t shard, int64_t limit) {
    psc_corpus_options o = windows_of(2);
    o.shard = shard;
    o.n_shards = 3;
    o.limit = limit;
    psc_corpus *c = must_open(model, &l, &o);
    finish(c);
    char *place = place_of(c);
    psc_corpus_close(&c);
    psc_status status =
        psc_corpus_add_part(&m->totals, m->identity, &m->n, m->parts, place, &error);
    psc_free(place);
    return status;
}

Test(places, parts_add_up_to_the_whole) {
    static merging m = {.totals = PSC_CORPUS_TOTALS_INIT};
    psc_model *model = small_model();
    list l = LIST(five);
    psc_corpus_options o = windows_of(2);
    for (int32_t shard = 1; shard <= 3; shard++)
        cr_assert_eq(add_part(&m, model, l, shard, 0), PSC_OK, "%s", error.message);
    cr_assert_eq(m.n, 3);
    psc_corpus *c = must_open(model, &l, &o);
    psc_corpus_totals whole = PSC_CORPUS_TOTALS_INIT;
    finish(c);
    psc_corpus_get_totals(&whole, c);
    assert_same_totals(&m.totals, &whole);
    psc_corpus_close(&c);
    psc_model_close(&model);
}

Test(places, parts_of_other_documents_are_refused) {
    static merging m = {.totals = PSC_CORPUS_TOTALS_INIT},
                   limited = {.totals = PSC_CORPUS_TOTALS_INIT};
    const psc_source_document last[] = {five[0], five[1], five[2], five[3], five[3]};
    const psc_source_document first[] = {five[4], five[1], five[2], five[3], five[4]};
    psc_model *model = small_model();
    list l = LIST(five), a = LIST(last), b = LIST(first);
    cr_assert_eq(add_part(&m, model, l, 1, 0), PSC_OK, "%s", error.message);
    cr_assert_eq(add_part(&m, model, a, 2, 0), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, "its documents or windows differ from those of the first part");
    cr_assert_eq(add_part(&m, model, l, 2, 0), PSC_OK, "%s", error.message);
    cr_assert_eq(add_part(&m, model, l, 2, 0), PSC_ERROR_INPUT);
    cr_assert_eq(add_part(&limited, model, l, 1, 2), PSC_OK, "%s", error.message);
    cr_assert_eq(add_part(&limited, model, l, 3, 2), PSC_OK, "%s", error.message);
    cr_assert_eq(add_part(&limited, model, b, 2, 2), PSC_ERROR_INPUT);
    psc_model_close(&model);
}
