/* One work over several sessions (psc_spread.h): their totals added up in any order have
 * the bits of one session that ran everything, and shared variants have those of one
 * process; and refusals. */
#include "plugin_fixture.h"
#include "psc_spread.h"

#include <stddef.h>
#include <stdint.h>

enum { SUMS = 2, KEPT = 4, PARTS = 3 };

static int handles[5];
static const char *const names[] = {"sum", "count", "low", "high", "top"};
static bool run_fails;
static psc_session *other;

/* --- a plugin with one table of each kind ---------------------------------------------------- */

static int on_open(psc_context *given, const psc_host *table, void **state) {
    (void)state;
    host = table;
    for (int kind = 0; kind < 5; kind++) {
        const bool top = kind == PSC_ACCUMULATE_TOP;
        handles[kind] = host->accumulator(
            given, names[kind], (psc_accumulate)kind, kind ? 1 : SUMS, top ? KEPT : 0);
        if (handles[kind] < 0) return -1;
    }
    return 0;
}

static int on_run_end(psc_context *given, void *state, int status) {
    (void)state;
    int32_t n = 0;
    const psc_row *rows = host->rows(given, &n);
    for (int32_t i = 0; status == 0 && i < n; i++) {
        const double token = rows[i].token, one = 1, sums[SUMS] = {token, 1.0 / (1 + token)};
        if (host->accumulate(given, handles[0], 0, SUMS, sums) ||
            host->accumulate(given, handles[1], 0, 1, &one) ||
            host->accumulate(given, handles[2], 0, 1, &token) ||
            host->accumulate(given, handles[3], 0, 1, &token) ||
            host->accumulate_top(given, handles[4], 0, token, &rows[i]))
            return -1;
    }
    return run_fails ? host->fail(given, "this run fails") : 0;
}

static psc_session *open_one(bool accumulate) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session *opened = NULL;
    options.chunk = 4;
    options.threads = 1;
    options.n_sequences = 1;
    options.accumulate = accumulate;
    if (!model) cr_assert_eq(psc_model_open(&model, MODELS "parallel_f32", &error), PSC_OK);
    cr_assert_eq(psc_session_open(&opened, model, &options, &error), PSC_OK, "%s", error.message);
    if (!accumulate) return opened;
    find_bridge();
    bridge->open = on_open;
    bridge->run_end = on_run_end;
    bridge->report = NULL;
    cr_assert_eq(psc_session_plugin(opened, PLUGIN("bridge"), NULL, &error), PSC_OK);
    return opened;
}

/* Document d has the tokens d to 9. */
static psc_status run_document(psc_session *s, int32_t d) {
    psc_input input = {0, 10 - d, ten + d};
    psc_document document = {d, 0};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.documents = &document;
    options.no_logits = 1;
    psc_session_truncate(s, 0, 0);
    return psc_session_run(s, &input, 1, &options, &error);
}

static psc_totals table_of(psc_session *s, int32_t i) {
    psc_totals table = PSC_TOTALS_INIT;
    cr_assert_eq(psc_session_totals_at(&table, s, i, &error), PSC_OK, "%s", error.message);
    return table;
}

/* --- totals ---------------------------------------------------------------------------------- */

Test(spread, tables_say_what_they_are) {
    session = open_one(true);
    cr_assert_eq(psc_session_totals_count(session), 5);
    for (int32_t i = 0; i < 5; i++) {
        const psc_totals table = table_of(session, i);
        cr_assert_eq(table.struct_size, sizeof table);
        cr_assert_eq(table.kind, i);
        cr_assert_eq(table.entries, i == 4 ? KEPT : 0);
        cr_assert_eq(table.n, i ? 1 : SUMS);
        cr_assert_eq(table.slot_bytes, i == 0 ? 16 : i == 4 ? KEPT * sizeof(psc_top) : 8);
        cr_assert_eq(table.extra, 0);
        cr_assert_eq((uintptr_t)table.slots % 16, 0);
        cr_assert_str_eq(table.plugin, "bridge");
        cr_assert_str_eq(table.name, names[i]);
    }
    fixture_close();
}

/* The tables of both; the entries of a top list have bytes of padding, which do not count. */
static void assert_equal_totals(psc_session *a, psc_session *b) {
    for (int32_t i = 0; i < 4; i++) {
        const psc_totals x = table_of(a, i), y = table_of(b, i);
        cr_assert_arr_eq(x.slots, y.slots, (size_t)x.n * x.slot_bytes, "table %d", (int)i);
    }
    const psc_top *x = table_of(a, 4).slots, *y = table_of(b, 4).slots;
    for (int i = 0; i < KEPT; i++)
        cr_assert(x[i].value == y[i].value && x[i].document == y[i].document &&
                      x[i].position == y[i].position,
            "entry %d", i);
}

static void add_all(psc_session *to, psc_session *from) {
    int64_t windows, tokens;
    for (int32_t i = 0; i < 5; i++) {
        const psc_totals table = table_of(to, i);
        char *moved = malloc((size_t)table.n * table.slot_bytes + 1); /* of any alignment */
        memcpy(moved + 1, table_of(from, i).slots, (size_t)table.n * table.slot_bytes);
        cr_assert_eq(psc_totals_add(&table, table.slots, moved + 1, table.n, &error), PSC_OK, "%s",
            error.message);
        free(moved);
    }
    psc_session_totals_counts(&windows, &tokens, from);
    cr_assert_eq(psc_session_totals_count_more(to, windows, tokens, &error), PSC_OK);
}

Test(spread, parts_in_any_order_add_up_to_the_bits_of_one_session) {
    static const int orders[][PARTS] = {{0, 1, 2}, {2, 0, 1}};
    psc_session *parts[PARTS];
    int64_t windows, tokens;
    session = open_one(true);
    for (int32_t d = 0; d < 6; d++) cr_assert_eq(run_document(session, d), PSC_OK);
    for (int p = 0; p < PARTS; p++) {
        parts[p] = open_one(true);
        for (int32_t d = p; d < 6; d += PARTS) cr_assert_eq(run_document(parts[p], d), PSC_OK);
    }
    for (int o = 0; o < 2; o++) {
        other = open_one(true);
        for (int i = 0; i < PARTS; i++) add_all(other, parts[orders[o][i]]);
        assert_equal_totals(session, other);
        psc_session_totals_counts(&windows, &tokens, other);
        cr_assert_eq(windows, 6);
        cr_assert_eq(tokens, 10 + 9 + 8 + 7 + 6 + 5);
        psc_session_close(&other);
    }
    for (int p = 0; p < PARTS; p++) psc_session_close(&parts[p]);
    fixture_close();
}

Test(spread, cleared_totals_are_those_before_the_first_run) {
    int64_t windows, tokens;
    session = open_one(true);
    other = open_one(true);
    cr_assert_eq(run_document(session, 2), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_totals_clear(session, &error), PSC_OK, "%s", error.message);
    psc_session_totals_counts(&windows, &tokens, session);
    cr_assert(windows == 0 && tokens == 0);
    for (int32_t i = 0; i < 4; i++) {
        const psc_totals x = table_of(session, i), y = table_of(other, i);
        cr_assert_arr_eq(x.slots, y.slots, (size_t)x.n * x.slot_bytes, "table %d", (int)i);
    }
    cr_assert(isnan(((const psc_top *)table_of(session, 4).slots)[0].value));
    cr_assert_eq(run_document(session, 2), PSC_OK, "%s", error.message);
    cr_assert_eq(run_document(other, 2), PSC_OK, "%s", error.message);
    assert_equal_totals(session, other);
    psc_session_close(&other);
    fixture_close();
}

Test(spread, an_earlier_structure_is_not_overrun) {
    enum { BYTES = offsetof(psc_totals, slots) };
    psc_totals table;
    session = open_one(true);
    memset(&table, 0xa5, sizeof table);
    table.struct_size = BYTES;
    cr_assert_eq(psc_session_totals_at(&table, session, 1, &error), PSC_OK);
    cr_assert(table.struct_size == BYTES && table.kind == 1 && table.n == 1);
    for (size_t i = BYTES; i < sizeof table; i++)
        cr_assert_eq(((const unsigned char *)&table)[i], 0xa5, "byte %zu", i);
    fixture_close();
}

Test(spread, refused_tables_and_counts) {
    psc_totals table = PSC_TOTALS_INIT;
    char identity[33];
    session = open_one(true);
    REFUSED(psc_session_totals_at(&table, session, 5, &error), PSC_ERROR_INPUT,
        "the session has 5 tables of totals, but number 5 was asked for");
    REFUSED(psc_session_totals_at(&table, session, -1, &error), PSC_ERROR_INPUT,
        "the session has 5 tables of totals, but number -1 was asked for");
    const int64_t most = (int64_t)1 << 60;
    const int64_t bad[][2] = {{-1, 0}, {0, -1}, {most + 1, 0}, {0, most + 1}};
    for (int i = 0; i < 4; i++)
        REFUSED(psc_session_totals_count_more(session, bad[i][0], bad[i][1], &error),
            PSC_ERROR_INPUT, "the counts of the totals are out of range");
    cr_assert_eq(psc_session_totals_count_more(session, most, most, &error), PSC_OK);
    REFUSED(psc_session_totals_count_more(session, 1, 0, &error), PSC_ERROR_INPUT, "out of range");
    psc_session_close(&session);
    session = open_one(false);
    const char *sentence = "the session does not accumulate over documents";
    REFUSED(psc_session_totals_at(&table, session, 0, &error), PSC_ERROR_STATE, sentence);
    REFUSED(psc_session_totals_clear(session, &error), PSC_ERROR_STATE, sentence);
    REFUSED(psc_session_totals_count_more(session, 0, 0, &error), PSC_ERROR_STATE, sentence);
    REFUSED(psc_session_totals_identity(identity, session, &error), PSC_ERROR_STATE, sentence);
    cr_assert_eq(psc_session_totals_count(session), 0);
    fixture_close();
}

Test(spread, no_totals_after_a_run_that_failed_while_it_added) {
    psc_totals table = PSC_TOTALS_INIT;
    session = open_one(true);
    run_fails = true;
    cr_assert_eq(run_document(session, 0), PSC_ERROR_PLUGIN);
    REFUSED(psc_session_totals_at(&table, session, 0, &error), PSC_ERROR_STATE,
        "a run failed after part of it had been added, so the session's totals are invalid");
    REFUSED(psc_session_totals_clear(session, &error), PSC_ERROR_STATE, "totals are invalid");
    fixture_close();
}

Test(spread, what_cannot_be_added_is_named) {
    const int64_t counts[] = {3, INT64_MAX}, more[] = {4, 1}, negative = -1;
    int64_t held[2];
    const double nan = NAN;
    session = open_one(true);
    psc_totals table = table_of(session, 1);
    memcpy(held, counts, sizeof held);
    REFUSED(psc_totals_add(&table, held, more, 2, &error), PSC_ERROR_PLUGIN,
        "accumulator 'count', slot 1:", "makes the count overflow");
    cr_assert_eq(held[0], 7, "an earlier slot keeps its new value");
    REFUSED(psc_totals_add(&table, held, &negative, 1, &error), PSC_ERROR_PLUGIN,
        "accumulator 'count', slot 0: -1 makes the count overflow");
    table = table_of(session, 2);
    REFUSED(psc_totals_add(&table, table.slots, &nan, 1, &error), PSC_ERROR_PLUGIN,
        "accumulator 'low', slot 0: nan cannot be ranked");
    table = table_of(session, 0);
    unsigned char largest[16], one[16] = {1}, sum[16] = {0}; /* of little-endian integers */
    memset(largest, 0xff, sizeof largest);
    largest[15] = 0x7f;
    _Alignas(16) unsigned char to[16];
    memcpy(to, largest, sizeof to);
    REFUSED(psc_totals_add(&table, to, one, 1, &error), PSC_ERROR_PLUGIN,
        "accumulator 'sum', slot 0:", "makes the sum overflow");
    memcpy(to, sum, sizeof to);
    cr_assert_eq(psc_totals_add(&table, to, largest, 1, &error), PSC_OK, "%s", error.message);
    cr_assert_arr_eq(to, largest, sizeof to);
    fixture_close();
}

Test(spread, a_name_without_an_end_is_cut) {
    char name[400];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    const psc_totals table = {.struct_size = sizeof table,
        .kind = PSC_ACCUMULATE_COUNT,
        .n = 1,
        .slot_bytes = 8,
        .plugin = "bench",
        .name = name};
    int64_t held = INT64_MAX;
    const int64_t one = 1;
    REFUSED(psc_totals_add(&table, &held, &one, 1, &error), PSC_ERROR_PLUGIN, "accumulator 'nnnn",
        "n', slot 0:", "makes the count overflow");
}

Test(spread, identities) {
    char one[33], same[33], targets[33];
    session = open_one(true);
    other = open_one(true);
    cr_assert_eq(psc_session_totals_identity(one, session, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(run_document(other, 0), PSC_OK);
    cr_assert_eq(psc_session_totals_identity(same, other, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(strspn(one, "0123456789abcdef"), 32);
    cr_assert_str_eq(one, same, "totals do not count");
    psc_session_close(&other);
    other = open_one(false);
    psc_session_close(&other);
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.accumulate = 1;
    cr_assert_eq(psc_session_open(&other, model, &options, &error), PSC_OK);
    cr_assert_eq(psc_session_totals_identity(targets, other, &error), PSC_OK, "%s", error.message);
    cr_assert_str_neq(one, targets, "without the plugin it is another");
    psc_session_close(&other);
    fixture_close();
}

/* --- shared variants ------------------------------------------------------------------------- */

enum { VARIANTS = 5 };

static psc_change changes[VARIANTS];
static psc_variant variants[VARIANTS];
static int32_t logit_rows;
static float *shown[VARIANTS]; /* what the plugin saw, [rows, V] */
static int shown_rows[VARIANTS], n_shown, stops_at;
static float *gathered; /* what other parts have computed */
static int gathers, gather_part;
static psc_status gather_returns;

static int on_variant(int32_t variant, const psc_event *event, void *payload) {
    const size_t floats = (size_t)event->n_rows * (size_t)psc_model_get_info(model)->d_vocab;
    cr_assert_eq(payload, shown);
    cr_assert_eq(variant, n_shown++);
    shown[variant] = malloc(floats * sizeof(float));
    memcpy(shown[variant], event->tensor.data, floats * sizeof(float));
    shown_rows[variant] = event->n_rows;
    cr_assert_eq(event->rows[event->n_rows - 1].index, 9);
    return variant == stops_at;
}

static int variants_open(psc_context *given, const psc_host *table, void **state) {
    (void)given, (void)state;
    host = table;
    return 0;
}

static int variants_begin(psc_context *given, void *state) {
    (void)state;
    return host->prepare_variants(given);
}

static int variants_end(psc_context *given, void *state, int status) {
    (void)state;
    if (status) return 0;
    return host->variants(given, VARIANTS, variants, logit_rows, on_variant, shown);
}

static void open_variants(void) {
    fixture_open();
    bridge->open = variants_open;
    bridge->run_begin = variants_begin;
    bridge->run_end = variants_end;
    must_load(PLUGIN("bridge"), NULL);
    stops_at = -1;
    logit_rows = PSC_ROWS_ALL;
    for (int i = 0; i < VARIANTS; i++) {
        changes[i] = (psc_change){.struct_size = sizeof *changes,
            .kind = PSC_CHANGE_SCALE,
            .point = PSC_HOOK_Z,
            .layer = i % 2,
            .row_begin = i,
            .row_end = 10,
            .head = -1,
            .key = -1,
            .alpha = 0.5f};
        variants[i] = (psc_variant){sizeof *variants, 1, &changes[i], 0, NULL, 0, NULL};
    }
}

static void forget_shown(void) {
    for (int i = 0; i < VARIANTS; i++) {
        free(shown[i]);
        shown[i] = NULL;
    }
    n_shown = 0;
}

/* Keeps this part's logits and gives those of the parts that ran before. */
static psc_status gather(float *values, const int64_t *bounds, void *payload, psc_error *into) {
    cr_assert_eq(payload, &gathers);
    gathers++;
    if (gather_returns) {
        into->status = gather_returns;
        snprintf(into->message, sizeof into->message, "the line is cut");
        return gather_returns;
    }
    cr_assert_eq(bounds[0], 0);
    if (!gathered) gathered = calloc((size_t)bounds[PARTS], sizeof *gathered);
    for (int p = 0; p < PARTS; p++) {
        const size_t bytes = (size_t)(bounds[p + 1] - bounds[p]) * sizeof *values;
        float *mine = values + bounds[p], *kept = gathered + bounds[p];
        memcpy(p == gather_part ? kept : mine, p == gather_part ? mine : kept, bytes);
    }
    return PSC_OK;
}

static void share_as(int part) {
    const psc_share share = {sizeof share, part, PARTS, gather, &gathers};
    gather_part = part;
    cr_assert_eq(psc_session_share(session, &share, &error), PSC_OK, "%s", error.message);
}

Test(spread, shared_variants_have_the_bits_of_one_process) {
    const size_t n_vocab = 80;
    float *whole[VARIANTS];
    open_variants();
    cr_assert_eq(psc_model_get_info(model)->d_vocab, n_vocab);
    for (int all = 0; all < 2; all++) {
        logit_rows = all ? PSC_ROWS_ALL : PSC_ROWS_LAST;
        psc_share none = {sizeof none, 0, 1, gather, NULL};
        cr_assert_eq(psc_session_share(session, &none, &error), PSC_OK);
        gathers = 0;
        must_run_ten();
        cr_assert_eq(gathers, 0, "one part has nothing to gather");
        memcpy(whole, shown, sizeof whole);
        memset(shown, 0, sizeof shown);
        n_shown = 0;
        gathered = NULL;
        for (int part = 0; part <= PARTS; part++) { /* the first again, now that all have run */
            forget_shown();
            share_as(part % PARTS);
            must_run_ten();
            cr_assert_eq(n_shown, VARIANTS);
        }
        for (int i = 0; i < VARIANTS; i++) {
            cr_assert_eq(shown_rows[i], all ? 10 - i : 1);
            cr_assert_arr_eq(
                shown[i], whole[i], (size_t)shown_rows[i] * n_vocab * sizeof(float), "%d", i);
            free(whole[i]);
        }
        forget_shown();
        free(gathered);
    }
    fixture_close();
}

Test(spread, a_share_that_fails_fails_the_run_with_its_sentence) {
    open_variants();
    share_as(1);
    gather_returns = PSC_ERROR_IO;
    REFUSED(run_ten(), PSC_ERROR_IO, "the line is cut");
    cr_assert_eq(n_shown, 0);
    gather_returns = PSC_OK;
    changes[4].head = 99;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "bridge", "variant 4, change 0", "head");
    changes[4].head = -1;
    stops_at = 2;
    cr_assert_eq(run_ten(), PSC_ERROR_PLUGIN);
    cr_assert_eq(n_shown, 3, "no variant is shown after the plugin failed");
    forget_shown();
    stops_at = -1;
    must_run_ten();
    forget_shown();
    free(gathered);
    fixture_close();
}

static psc_error inside; /* the run has another */

static int shares_inside(const psc_event *event, void *payload) {
    const psc_share share = {sizeof share, 0, 1, gather, NULL};
    (void)event, (void)payload;
    cr_assert_eq(psc_session_share(session, &share, &inside), PSC_ERROR_STATE);
    return 0;
}

static int totals_inside(psc_context *given, void *state) {
    psc_totals table = PSC_TOTALS_INIT;
    (void)given, (void)state;
    cr_assert_eq(psc_session_totals_clear(session, &inside), PSC_ERROR_STATE);
    cr_assert_eq(psc_session_totals_at(&table, session, 0, &inside), PSC_ERROR_STATE);
    return 0;
}

Test(spread, refused_shares) {
    static const psc_share bad[] = {{sizeof *bad, 2, 2, gather, NULL},
        {sizeof *bad, -1, 2, gather, NULL}, {sizeof *bad, 0, 0, gather, NULL},
        {sizeof *bad, 0, 2, NULL, NULL}, {offsetof(psc_share, gather), 0, 2, gather, NULL}};
    static const char *const sentences[] = {"part 2 of 2 of the variants does not exist",
        "part -1 of 2 of", "part 0 of 0 of", "part 0 of 2 of", "part 0 of 2 of"};
    fixture_open();
    for (int i = 0; i < 5; i++)
        REFUSED(psc_session_share(session, &bad[i], &error), PSC_ERROR_INPUT, sentences[i]);
    cr_assert_eq(
        psc_session_observe(session, PSC_HOOK_EMBED, NULL, shares_inside, NULL, &error), PSC_OK);
    must_run_ten();
    cr_assert_str_eq(inside.message, "variants cannot be shared in a callback");
    psc_session_close(&session);
    session = open_one(true);
    bridge->run_begin = totals_inside;
    cr_assert_eq(run_document(session, 0), PSC_OK, "%s", error.message);
    cr_assert_str_eq(inside.message, "the totals cannot be taken in a callback");
    fixture_close();
}
