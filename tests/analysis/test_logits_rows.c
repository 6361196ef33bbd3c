/* The rows and targets of the plugin logits, what its summary says of them, and its options. */
#include "logits_fixture.h"

#include <xxhash.h>

static int64_t number(const char *axis, int64_t i) {
    const psc_result_axis entries = axis_of(axis);
    cr_assert(entries.numbers && i < entries.n);
    return entries.numbers[i];
}

Test(logits_rows, rows_last) {
    start(golden_path("parallel_f32", NULL), NULL, 1, 4);
    load_logits("level=head");
    add_target("next");
    must_run_one(session, six, 6);
    cr_assert_eq(array_of("values").shape[1], 1);
    cr_assert_eq(number("rows", 0), 4);
    cr_assert_eq(((const int32_t *)array_of("target_ids").data)[0], 2);
    cr_assert_eq(value_of("last_moved_for_next"), 1.0);
    cr_assert(summary_says("rows=last with the target next"));
    /* With another target both rows are shown; next is empty at the last. */
    add_target("#5");
    psc_session_truncate(session, 0, 0);
    must_run_one(session, six, 6);
    cr_assert_eq(array_of("values").shape[1], 2);
    cr_assert_eq(number("rows", 1), 5);
    const int32_t *ids = array_of("target_ids").data;
    const float *values = array_of("values").data;
    const psc_array shares = array_of("contributions");
    cr_assert(ids[0] == 2 && ids[1] == -1 && ids[2] == -1 && ids[4] == 5 && ids[6] == 5);
    cr_assert(!isnan(values[0]) && isnan(values[1]) && !isnan(values[2]) && !isnan(values[3]));
    for (int64_t c = 0; c < shares.shape[2]; c++)
        cr_assert(isnan(((const float *)shares.data)[shares.shape[2] + c]));
    cr_assert_eq(value_of("sums_checked"), 3.0);
    stop();
}

/* The contributions of one run from position 0, as bits. */
static uint64_t shares_of_run(void) {
    psc_session_truncate(session, 0, 0);
    must_run_one(session, six, 6);
    const psc_array shares = array_of("contributions");
    return XXH3_64bits(shares.data, (size_t)elements_of(&shares) * sizeof(float));
}

/* Data kept for fixed targets between runs must follow a change of targets. */
Test(logits_rows, targets_between_runs) {
    uint64_t first, both;
    start(golden_path("parallel_f32", NULL), NULL, 2, 0);
    load_logits("rows=all");
    add_target("#5");
    add_target("next");
    first = shares_of_run();
    cr_assert_eq(shares_of_run(), first);
    add_target("#9");
    both = shares_of_run();
    cr_assert_neq(both, first);
    cr_assert_eq(shares_of_run(), both);
    stop();
    start(golden_path("parallel_f32", NULL), NULL, 2, 0);
    load_logits("rows=all");
    add_target("#5");
    add_target("next");
    add_target("#9");
    cr_assert_eq(shares_of_run(), both);
    stop();
}

/* The rank and probability in the summary's sentence of a target equal those of the logits. */
static void check_rank(const float *z, int32_t n, int32_t id, const char *before) {
    int32_t rank = 1;
    double sum = 0.0;
    for (int32_t v = 0; v < n; v++) {
        rank += z[v] > z[id] || (v < id && z[v] == z[id]);
        sum += exp((double)z[v] - (double)z[id]);
    }
    char said[160];
    snprintf(said, sizeof said, "%srank %d, p = %.3g, logit %.4f", before, (int)rank, 1.0 / sum,
        (double)z[id]);
    cr_expect(summary_says(said), "%s", said);
}

Test(logits_rows, ranks_and_the_likeliest_tokens) {
    start(golden_path("parallel_f32", NULL), NULL, 1, 0);
    load_logits(NULL);
    add_target("#5");
    add_target("top:2"); /* two targets: top:1 and top:2 */
    add_target("next");
    cr_assert_eq(psc_session_capture(session, "hook_logits", &error), PSC_OK);
    must_run_one(session, six, 6);
    psc_array logits;
    cr_assert_eq(psc_session_array(session, "hook_logits", &logits, &error), PSC_OK);
    const int32_t n = (int32_t)logits.shape[1];
    const float *last = (const float *)logits.data + 5 * (int64_t)n, *before = last - n;
    check_rank(last, n, 5, "#5 at @5 #2: ");
    check_rank(before, n, six[5].id, "#2 (next) at @4 #60: ");
    int32_t best = 0;
    for (int32_t v = 1; v < n; v++)
        if (last[v] > last[best]) best = v;
    char said[64];
    snprintf(said, sizeof said, "and their p: #%d 0.", (int)best);
    cr_expect(summary_says(said), "%s", said);
    snprintf(said, sizeof said, "%d (top:2) at @5 #2: rank 2, ",
        ((const int32_t *)array_of("target_ids").data)[(2 * 2 + 1) * 2]);
    cr_expect(summary_says(said), "%s", said);
    stop();
}

Test(logits_rows, a_contrast_has_two_ranks) {
    start(golden_path("parallel_f32", NULL), NULL, 1, 0);
    load_logits("level=layer");
    cr_assert_eq(psc_session_contrast(session, "#16", "#76", &error), PSC_OK);
    must_run_one(session, six, 6); /* the two likeliest tokens */
    cr_expect(summary_says("#16 - #76 at @5 #2: ranks 1 and 2, p = 0.307 and 0.218, logit diff"));
    stop();
}

/* Whether a list of the summary has this in its title. */
static int lists(const char *words) {
    psc_result_item item;
    for (int32_t i = 0, section = section_of();
         psc_results_item_at(&item, psc_session_results(session), section, i, NULL) == PSC_OK; i++)
        if (item.title && strstr(item.title, words)) return 1;
    return 0;
}

/* Level auto has both levels, the neurons under the plain names, and lists neurons alone below. */
Test(logits_rows, auto_is_heads_and_neurons) {
    start(golden_path("parallel_f32", NULL), NULL, 1, 0);
    load_logits(NULL);
    add_target("#5");
    must_run_one(session, six, 6);
    cr_assert_eq(array_of("contributions").shape[2], 1 + 2 * (4 + 1 + 128 + 1));
    cr_assert_eq(array_of("contributions.head").shape[2], 1 + 2 * (4 + 2));
    cr_expect(lists("by head and MLP: the largest 12 of 13 "));
    cr_expect(lists("by neuron: the largest 6 of 256 "));
    psc_result_item item;
    for (int32_t i = 0, section = section_of();
         psc_results_item_at(&item, psc_session_results(session), section, i, NULL) == PSC_OK; i++)
        for (int32_t b = 0; item.title && strstr(item.title, "by neuron") && b < item.n; b++)
            cr_expect(strchr(item.labels[b], 'N'), "%s", item.labels[b]);
    cr_expect_eq(value_of("sums_checked"), 2.0);
    cr_expect_eq(value_of("complete"), 1.0);
    stop();
}

/* One token has no next token: nothing to show, and no failure. */
Test(logits_rows, next_of_one_token) {
    start(golden_path("parallel_f32", NULL), NULL, 1, 0);
    load_logits(NULL);
    add_target("next");
    must_run_one(session, six, 1);
    cr_assert(isnan(((const float *)array_of("values").data)[0]));
    cr_assert(summary_says("no next token"));
    cr_assert_eq(value_of("sums_checked"), 0.0);
    cr_assert_eq(value_of("complete"), 1.0);
    stop();
}

Test(logits_rows, rows_range) {
    start(golden_path("parallel_f32", NULL), NULL, 1, 2);
    load_logits("level=layer,rows=2-4");
    add_targets();
    must_run_one(session, six, 6);
    cr_assert_eq(array_of("values").shape[1], 3);
    for (int i = 0; i < 3; i++) cr_assert_eq(number("rows", i), 2 + i);
    cr_assert_eq(value_of("complete"), 1.0);
    cr_assert_eq(value_of("sums_checked"), 15.0);
    psc_session_truncate(session, 0, 0);
    cr_assert_eq(
        psc_session_run(session, &(psc_input){0, 2, six}, 1, NULL, &error), PSC_ERROR_PLUGIN);
    cr_assert(strstr(error.message, "rows=2-4"), "%s", error.message);
    stop();
}

Test(logits_rows, bad_options) {
    const char *const bad[][2] = {{"level=neurons", "level=neurons"}, {"level=", "level="},
        {"level=head+", "one or more of layer, head, source, neuron, auto"},
        {"rows=5-2", "rows=5-2"}, {"rows=first", "rows=first"}, {"centered=2", "centered=2"},
        {"top=201", "top=201"}, {"top=-1", "top=-1"}, {"colour=red", "colour"}};
    start(golden_path("parallel_f32", NULL), NULL, 1, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_neq(
            psc_session_plugin(session, "logits", bad[i][0], &error), PSC_OK, "%s", bad[i][0]);
        cr_assert(strstr(error.message, bad[i][1]), "%s: %s", bad[i][0], error.message);
    }
    load_logits("top=0");
    must_run_one(session, six, 6); /* no target: the top prediction */
    cr_assert_eq(value_of("complete"), 1.0);
    cr_assert_eq(array_of("values").shape[0], 1);
    stop();
}

/* More distinct next tokens than one batch of directions can hold. */
Test(logits_rows, many_next_tokens) {
    psc_token tokens[200];
    for (int i = 0; i < 200; i++) tokens[i] = (psc_token){(i * 37 + i / 80) % 80, 0, 0};
    start(golden_path("parallel_f32", NULL), NULL, 2, 0);
    load_logits("level=neuron,rows=all");
    add_target("next");
    must_run_one(session, tokens, 200);
    cr_assert_eq(value_of("complete"), 1.0);
    cr_assert_eq(value_of("sums_checked"), 199.0);
    cr_assert(worst_sum("", -1, 1, 1.0) <= LOGITS_BOUND);
    stop();
}
