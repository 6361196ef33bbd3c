/* Equal beginnings of a set's prompts: which rows a run computes, and that every bit is that of a prompt
 * run alone in a new session. */
#include "pairs_fixture.h"
#include "session.h"

TestSuite(pairs_shared, .init = fixture_open, .fini = pairs_fixture_close);

enum { BEGIN = 21, MOST = 30, PROMPTS = 5 }; /* the beginning ends inside a panel of 16 keys */

typedef struct prompt {
    int32_t n, sequence;
    psc_token tokens[MOST];
} prompt;

/* n tokens, the first `shared` of them those of all prompts; `own` tells the others apart. */
static prompt make_prompt(int32_t sequence, int32_t n, int32_t shared, int32_t own) {
    prompt p = {.n = n, .sequence = sequence};
    for (int32_t t = 0; t < n; t++)
        p.tokens[t].id = t < shared ? (7 * t + 3) % 80 : (11 * t + 5 * own + 1) % 80;
    return p;
}

/* Runs prompts of ascending sequences from position 0; returns how many rows were computed. */
static int32_t run_prompts(const prompt *prompts, int32_t n) {
    psc_input inputs[PROMPTS];
    int32_t computed;
    for (int32_t i = 0; i < n; i++) {
        inputs[i] = (psc_input){prompts[i].sequence, prompts[i].n, prompts[i].tokens};
        psc_session_truncate(session, prompts[i].sequence, 0);
    }
    cr_assert_eq(psc_session_run(session, inputs, n, NULL, &error), PSC_OK, "%s", error.message);
    psc_shared_rows_chosen(session, &computed);
    return computed;
}

/* The logits of the last run are those of each prompt alone in a session that shares nothing. */
static void expect_logits_of(const prompt *prompts, int32_t n) {
    const size_t bytes = (size_t)psc_model_get_info(model)->d_vocab * sizeof(float);
    for (int32_t i = 0, end = 0; i < n; i++) {
        const psc_input input = {0, prompts[i].n, prompts[i].tokens};
        psc_session *alone = NULL;
        end += input.n;
        cr_assert_eq(psc_session_open(&alone, model, NULL, &error), PSC_OK);
        cr_assert_eq(psc_session_run(alone, &input, 1, NULL, &error), PSC_OK);
        const float *expected = psc_session_logits(alone, input.n - 1);
        const float *logits = psc_session_logits(session, end - 1);
        cr_assert(expected && logits && memcmp(expected, logits, bytes) == 0, "prompt %d", (int)i);
        psc_session_close(&alone);
    }
}

static void open_shared(int32_t sequences, int32_t threads, int32_t chunk) {
    open_for_pairs(sequences, threads, chunk);
    psc_targets_clear(session);
    cr_assert_eq(psc_shared_rows_open(session, &error), PSC_OK);
}

static int ignore(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

static int double_it(const psc_event *event, void *payload) {
    (void)payload;
    for (int32_t r = 0; r < event->n_rows; r++)
        for (int64_t i = 0; i < event->tensor.shape[1]; i++)
            event->tensor.data[r * event->tensor.stride[0] + i] *= 2;
    return 0;
}

Test(pairs_shared, a_beginning_is_computed_once) {
    static const int32_t chunks[] = {0, 3, 24};
    for (int k = 0; k < 3; k++) {
        const prompt first[] = {make_prompt(0, 24, BEGIN, 1), make_prompt(1, 23, BEGIN, 2),
            make_prompt(2, 9, 0, 3), make_prompt(4, 26, 24, 1)};
        const prompt later[] = {make_prompt(1, 25, BEGIN, 4), make_prompt(2, 9, 0, 3),
            make_prompt(3, 30, 24, 7), make_prompt(4, 22, BEGIN, 6)};
        open_shared(5, k + 1, chunks[k]);
        cr_assert_eq(run_prompts(first, 4), 24 + 2 + 9 + 5);
        expect_logits_of(first, 4);
        cr_assert_eq(run_prompts(later, 4), 4 + 1 + 9 + 1);
        expect_logits_of(later, 4);
        psc_shared_rows_close(session);
        cr_assert_eq(run_prompts(later, 4), 25 + 9 + 30 + 22);
    }
}

Test(pairs_shared, rows_that_something_reads_are_computed) {
    const prompt one = make_prompt(0, 24, BEGIN, 1), other = make_prompt(0, 24, BEGIN, 2);
    psc_filter filter = PSC_FILTER_INIT;
    int mark;
    open_shared(1, 1, 0);
    cr_assert_eq(run_prompts(&one, 1), 24);
    cr_assert_eq(psc_session_observe(session, PSC_HOOK_V, NULL, ignore, &mark, &error), PSC_OK);
    cr_assert_eq(run_prompts(&other, 1), 24);
    psc_session_unhook(session, &mark);
    filter.rows = PSC_ROWS_RANGE;
    filter.row_begin = 5;
    filter.row_end = 6;
    cr_assert_eq(psc_session_observe(session, PSC_HOOK_V, &filter, ignore, &mark, &error), PSC_OK);
    cr_assert_eq(run_prompts(&one, 1), 19);
    psc_session_unhook(session, &mark);
    filter.rows = PSC_ROWS_LAST;
    cr_assert_eq(psc_session_observe(session, PSC_HOOK_V, &filter, ignore, &mark, &error), PSC_OK);
    cr_assert_eq(run_prompts(&other, 1), 3);
    expect_logits_of(&other, 1);
}

Test(pairs_shared, what_is_edited_is_not_shared) {
    const prompt two[] = {make_prompt(0, 24, BEGIN, 1), make_prompt(1, 24, BEGIN, 2)};
    psc_filter filter = PSC_FILTER_INIT;
    int mark;
    filter.rows = PSC_ROWS_RANGE;
    filter.row_begin = 10;
    filter.row_end = 12;
    open_shared(2, 1, 0);
    cr_assert_eq(
        psc_session_edit(session, PSC_HOOK_RESID_PRE, &filter, double_it, &mark, &error), PSC_OK);
    cr_assert_eq(run_prompts(two, 2), 24 + 14);
    psc_session_unhook(session, &mark);
    cr_assert_eq(run_prompts(two, 2), 14 + 3);
    expect_logits_of(two, 2);
}

Test(pairs_shared, a_failed_run_leaves_nothing) {
    const prompt one = make_prompt(0, 24, BEGIN, 1);
    prompt bad = one;
    bad.tokens[3].id = 1 << 20;
    const psc_input input = {0, bad.n, bad.tokens};
    open_shared(1, 1, 0);
    cr_assert_eq(run_prompts(&one, 1), 24);
    psc_session_truncate(session, 0, 0);
    cr_assert_eq(psc_session_run(session, &input, 1, NULL, &error), PSC_ERROR_INPUT);
    cr_assert_eq(run_prompts(&one, 1), 1);
    psc_run_options stops = PSC_RUN_OPTIONS_INIT;
    const psc_input again = {0, one.n, one.tokens};
    stops.stop_at_layer = 1;
    psc_session_truncate(session, 0, 0);
    cr_assert_eq(psc_session_run(session, &again, 1, &stops, &error), PSC_OK);
    cr_assert_eq(run_prompts(&one, 1), 24);
}

/* --- sets ------------------------------------------------------------------------------------ */

enum { PAIRS = 6 };

static void read_set(void) {
    char text[8000] = "";
    for (int i = 0; i < PAIRS; i++) {
        const prompt clean = make_prompt(0, 24 + i % 3, BEGIN - i % 2, i);
        for (int corrupt = 0; corrupt < 2; corrupt++) {
            strcat(text, corrupt ? ", \"corrupt\": [" : "{\"clean\": [");
            for (int32_t t = 0; t < clean.n; t++) {
                const int32_t id = clean.tokens[t].id + (corrupt && t == BEGIN + 1);
                sprintf(text + strlen(text), "%s%d", t ? ", " : "", (int)id);
            }
            strcat(text, "]");
        }
        sprintf(text + strlen(text), ", \"target\": %d}\n", i + 2);
    }
    must_read_pairs(text, PSC_ALIGN_EQUAL);
}

/* A run of pair i in a new session. */
static void run_phase_alone(int32_t i, psc_phase phase) {
    const psc_pair pair = must_pair(i);
    const bool source = phase == PSC_PHASE_SOURCE;
    const psc_input input = {
        0, source ? pair.n_corrupt : pair.n_clean, source ? pair.corrupt : pair.clean};
    const psc_example example = {.number = i,
        .a = pair.a,
        .b = pair.b,
        .source_positions = source ? NULL : pair.source_positions};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.phase = (int32_t)phase;
    options.examples = &example;
    psc_session_truncate(session, 0, 0);
    cr_assert_eq(
        psc_session_run(session, &input, 1, &options, &error), PSC_OK, "%s", error.message);
}

/* The plugins' arrays of a set, over `sequences` at once, against each pair in a new session. */
static void check_set(const char *const (*plugins)[2], const char *array, int32_t sequences) {
    psc_results *all = NULL;
    read_set();
    open_for_pairs(sequences, 2, 0);
    for (int k = 0; plugins[k][0]; k++) must_load(plugins[k][0], plugins[k][1]);
    const bool phases = psc_session_has_phases(session);
    cr_assert_eq(psc_pairs_run(&all, session, pairs, NULL, &error), PSC_OK, "%s", error.message);
    const psc_array set = array_of(all, array);
    const size_t bytes = bytes_of(&set) / PAIRS;
    for (int32_t i = 0; i < PAIRS; i++) {
        open_for_pairs(1, 1, 0);
        for (int k = 0; plugins[k][0]; k++) must_load(plugins[k][0], plugins[k][1]);
        for (int32_t phase = PSC_PHASE_SOURCE; phases && phase <= PSC_PHASE_CHANGED; phase++)
            run_phase_alone(i, (psc_phase)phase);
        if (!phases) run_phase_alone(i, PSC_PHASE_ONLY);
        const psc_array one = must_array(array);
        cr_assert_eq(bytes_of(&one), bytes, "%s", array);
        cr_assert(memcmp((const char *)set.data + (size_t)i * bytes, one.data, bytes) == 0,
            "%s of pair %d", array, (int)i);
    }
    psc_results_close(&all);
}

Test(pairs_shared, a_pair_of_a_set_has_the_bits_of_one_alone) {
    static const char *const logits[][2] = {{"logits", "level=head"}, {NULL, NULL}};
    static const char *const lens[][2] = {{"lens", NULL}, {NULL, NULL}};
    static const char *const ablate[][2] = {
        {"ablate", "at=L0H1,rows=22-40"}, {"effects", NULL}, {NULL, NULL}};
    static const char *const patch[][2] = {{"patch", "at=L1H0"}, {"effects", NULL}, {NULL, NULL}};
    for (int32_t sequences = 1; sequences <= 4; sequences += 3) {
        check_set(logits, "logits.contributions", sequences);
        check_set(lens, "lens.logit", sequences);
        check_set(ablate, "effects.dz", sequences);
        check_set(patch, "effects.dz", sequences);
    }
}

/* --- the rest of a set ----------------------------------------------------------------------- */

static void expect_refused(const char *plugin, const char *sentence) {
    psc_results *results = NULL;
    read_set();
    open_for_pairs(2, 1, 0);
    must_load(plugin, NULL);
    cr_assert_neq(psc_pairs_run(&results, session, pairs, NULL, &error), PSC_OK);
    cr_assert(strstr(error.message, sentence), "%s", error.message);
}

Test(pairs_shared, plugins_without_a_meaning_over_a_set_refuse) {
    expect_refused("weights", "weights do not depend on a prompt");
    expect_refused("graph", "each prompt of a set has a graph of its own");
}

static int count_progress(double done, const char *what, void *payload) {
    int *calls = payload;
    cr_assert(done >= 0 && done <= 1);
    *calls += strcmp(what, "statistics") == 0;
    return 0;
}

Test(pairs_shared, statistics_show_progress_and_a_large_seed_is_exact) {
    psc_pairs_run_options options = PSC_PAIRS_RUN_OPTIONS_INIT;
    psc_results *results = NULL;
    int calls = 0;
    options.draws = 3;
    options.seed = UINT64_MAX;
    options.progress = count_progress;
    options.payload = &calls;
    read_set();
    open_for_pairs(4, 1, 0);
    must_load("logits", "level=neuron,rows=all");
    const psc_status status = psc_pairs_run(&results, session, pairs, &options, &error);
    cr_assert_eq(status, PSC_OK, "%s", error.message);
    psc_result_value seed;
    cr_assert_eq(psc_results_find_value(&seed, results, 0, "seed", &error), PSC_OK);
    cr_assert_str_eq(seed.texts[0], "18446744073709551615");
    cr_assert_gt(calls, 0);
    psc_results_close(&results);
}
