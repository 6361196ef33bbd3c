/* Plugins over a set of pairs: every value equals that of the pair run alone, to the bit, for any number
 * of sequences, threads, chunk, order and split of the set; statistics against sums by hand; failures. */
#include "pairs_fixture.h"

#define DIRECTIONS PSC_SOURCE_DIR "/tests/golden/directions/parallel_f32_values.safetensors"

TestSuite(pairs_run, .init = fixture_open, .fini = pairs_fixture_close);

enum { N = 7 };
static const char *const lines[N] = {
    "{\"clean\": [3, 17, 5, 79], \"corrupt\": [3, 18, 5, 79], \"target\": 4, \"contrast\": 9, \"id\": "
    "\"a\", \"group\": \"x\"}",
    "{\"clean\": [3, 17, 5], \"corrupt\": [4, 17, 6], \"target\": 2, \"contrast\": 1, \"id\": \"b\", "
    "\"group\": \"y\"}",
    "{\"clean\": [60, 12, 12, 8, 5, 41], \"corrupt\": [60, 12, 13, 8, 5, 41], \"target\": 7, "
    "\"contrast\": 0, \"id\": \"c\", \"group\": \"x\"}",
    "{\"clean\": [1, 2], \"corrupt\": [2, 2], \"target\": 11, \"id\": \"d\"}",
    "{\"clean\": [3, 17, 5, 79], \"corrupt\": [9, 17, 5, 79], \"target\": 4, \"contrast\": 9, \"id\": "
    "\"e\", \"group\": \"y\"}",
    "{\"clean\": [70, 71, 72, 73, 74], \"corrupt\": [70, 71, 72, 73, 75], \"target\": 5, \"id\": \"f\"}",
    "{\"clean\": [8, 8, 8], \"corrupt\": [8, 9, 8], \"target\": 3, \"contrast\": 2, \"id\": \"g\", "
    "\"group\": \"x\"}",
};

/* The lines begin..end-1, in reverse with `back`. */
static void read_lines(int begin, int end, int back) {
    char text[2000] = "";
    for (int i = begin; i < end; i++) {
        strcat(text, lines[back ? end - 1 - (i - begin) : i]);
        strcat(text, "\n");
    }
    must_read_pairs(text, PSC_ALIGN_EQUAL);
}

static psc_results *run_pairs(void) {
    psc_pairs_run_options options = PSC_PAIRS_RUN_OPTIONS_INIT;
    psc_results *results = NULL;
    options.draws = 50;
    cr_assert_eq(
        psc_pairs_run(&results, session, pairs, &options, &error), PSC_OK, "%s", error.message);
    for (int32_t k = 0; k < 8; k++) cr_assert_eq(psc_session_length(session, k), 0);
    return results;
}

static void load(const char *const (*plugins)[2]) {
    for (; (*plugins)[0]; plugins++) must_load((*plugins)[0], (*plugins)[1]);
}

/* Compares array `name` of both; example i of a is example from(i) of b. */
static void expect_same(
    const psc_results *a, const psc_results *b, const psc_array *x, int at, int back) {
    const psc_array y = array_of(b, x->name);
    (void)a;
    const bool by_example = x->n_axes > 0 && strcmp(x->axes[0], "examples") == 0;
    if (!by_example) {
        cr_assert(bytes_of(x) == bytes_of(&y) && memcmp(x->data, y.data, bytes_of(x)) == 0, "%s",
            x->name);
        return;
    }
    cr_assert_eq(x->n_axes, y.n_axes);
    const size_t each = bytes_of(x) / (size_t)x->shape[0];
    if (bytes_of(&y) / (size_t)y.shape[0] != each) return; /* a split has other rows */
    for (int64_t i = 0; i < y.shape[0]; i++) {
        const int64_t k = back ? x->shape[0] - 1 - i : at + i;
        cr_assert(memcmp((const char *)x->data + (size_t)k * each,
                      (const char *)y.data + (size_t)i * each, each) == 0,
            "%s, example %d", x->name, (int)i);
    }
}

/* Arrays of all sections; with at >= 0, b has the examples from `at` on, and other statistics. */
static int compare(const psc_results *a, const psc_results *b, int at, int back) {
    int n = 0;
    for (int32_t s = 0; s < psc_results_section_count(a); s++) {
        psc_result_section section = PSC_RESULT_SECTION_INIT;
        cr_assert_eq(psc_results_section_at(&section, a, s, &error), PSC_OK);
        for (int32_t i = 0; i < section.n_arrays; i++, n++) {
            psc_array x;
            cr_assert_eq(psc_results_array_at(&x, a, s, i, &error), PSC_OK);
            const bool by_example = strcmp(x.axes[0], "examples") == 0;
            const bool groups = strstr(x.name, "by_group") || strcmp(x.key, "group") == 0;
            if ((at >= 0 && (!by_example || groups)) || (back && groups)) continue;
            expect_same(a, b, &x, at < 0 ? 0 : at, back);
        }
    }
    return n;
}

/* Loaded into a session of each kind. */
static void check_everywhere(const char *const (*plugins)[2]) {
    static const int32_t kinds[][3] = {{2, 1, 0}, {3, 2, 4}, {7, 3, 1}, {8, 2, 0}};
    open_for_pairs(1, 1, 0);
    load(plugins);
    read_lines(0, N, 0);
    psc_results *alone = run_pairs();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        open_for_pairs(kinds[i][0], kinds[i][1], kinds[i][2]);
        load(plugins);
        psc_results *other = run_pairs();
        cr_assert_gt(compare(alone, other, -1, 0), 6);
        psc_results_close(&other);
    }
    read_lines(0, N, 1);
    psc_results *back = run_pairs();
    compare(alone, back, -1, 1);
    psc_results_close(&back);
    read_lines(2, N, 0);
    psc_results *rest = run_pairs();
    compare(alone, rest, 2, 0);
    psc_results_close(&rest);
    psc_results_close(&alone);
}

#define EVERYWHERE(name, ...)                                                                      \
    Test(pairs_run, name) {                                                                        \
        static const char *const plugins[][2] = {__VA_ARGS__, {NULL, NULL}};                       \
        check_everywhere(plugins);                                                                 \
    }

EVERYWHERE(logits, {"logits", "level=layer+head+neuron,rows=all"})
EVERYWHERE(lens_loss_partition, {"lens", "rows=all"}, {"loss", NULL}, {"partition", NULL})
EVERYWHERE(ablations, {"ablate", "at=L0H1,by=mean"}, {"effects", "rows=all"})
EVERYWHERE(resampling, {"ablate", "at=1_mlp_out,by=resample"}, {"effects", NULL})
EVERYWHERE(patches, {"patch", "at=L0H1+blocks.1.hook_resid_pre"}, {"effects", "rows=all"})
EVERYWHERE(patterns, {"patch", "at=blocks.1.attn.hook_pattern"}, {"effects", NULL})
EVERYWHERE(swaps, {"direction", "at=blocks.*.hook_resid_pre,along=L0H1.V+L1N3.in,do=swap"},
    {"effects", "rows=all"})
EVERYWHERE(projections, {"direction", "at=L1H2,file=" DIRECTIONS ",tensor=heads"},
    {"direction", "at=0_mlp_out,along=W_U:#5-#9,do=set,value=1"}, {"effects", NULL})
EVERYWHERE(sweeps, {"sweep", "over=heads,do=patch"})
EVERYWHERE(sweeps_by_position, {"sweep", "over=resid_pre,do=patch"})
EVERYWHERE(one_sequence_at_a_time, {"attention", NULL}, {"mlp", NULL})

/* Pair i alone, as any caller runs one prompt: effects of a patch. */
static void run_alone(psc_pair pair, psc_phase phase, int32_t source) {
    const psc_input input = source >= 0 ? (psc_input){0, pair.n_corrupt, pair.corrupt}
                                        : (psc_input){0, pair.n_clean, pair.clean};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.phase = (int32_t)phase;
    psc_session_truncate(session, 0, 0);
    cr_assert_eq(
        psc_session_run(session, &input, 1, &options, &error), PSC_OK, "%s", error.message);
}

Test(pairs_run, a_pair_is_as_one_prompt_with_a_source) {
    static const char *const names[] = {"effects.dz", "effects.kl", "effects.normalized"};
    open_for_pairs(4, 2, 0);
    must_load("patch", "at=L0H1");
    must_load("effects", NULL);
    read_lines(0, N, 0);
    psc_results *all = run_pairs();
    for (int32_t i = 0; i < N; i++) {
        const psc_pair pair = must_pair(i);
        char a[16], b[16];
        snprintf(a, sizeof a, "#%d", (int)pair.a);
        snprintf(b, sizeof b, "#%d", (int)pair.b);
        psc_session_close(&session);
        cr_assert_eq(psc_session_open(&session, model, NULL, &error), PSC_OK);
        cr_assert_eq(pair.b < 0 ? psc_session_target(session, a, &error)
                                : psc_session_contrast(session, a, b, &error),
            PSC_OK);
        must_load("patch", "at=L0H1");
        must_load("effects", NULL);
        run_alone(pair, PSC_PHASE_SOURCE, 0);
        run_alone(pair, PSC_PHASE_BASE, -1);
        run_alone(pair, PSC_PHASE_CHANGED, -1);
        for (int k = 0; k < 3; k++) {
            const psc_array one = must_array(names[k]), set = array_of(all, names[k]);
            cr_assert_eq(bytes_of(&one), 8);
            cr_assert(memcmp((const double *)set.data + i, one.data, 8) == 0, "%s of pair %d",
                names[k], (int)i);
        }
    }
    psc_results_close(&all);
}

Test(pairs_run, unequal_lengths_leave_gaps_and_patch_what_is_aligned) {
    must_read_pairs("{\"clean\": [3, 17, 5, 79], \"corrupt\": [18, 5, 79], \"target\": 4}\n"
                    "{\"clean\": [17, 5], \"corrupt\": [3, 18, 5], \"target\": 4}\n",
        PSC_ALIGN_END);
    open_for_pairs(2, 1, 0);
    must_load("patch", "at=blocks.0.hook_resid_pre");
    must_load("effects", "rows=all");
    psc_results *results = run_pairs();
    const psc_array dz = array_of(results, "effects.dz"); /* [examples, targets, rows] */
    cr_assert(dz.shape[0] == 2 && dz.shape[1] == 1 && dz.shape[2] == 4);
    const double *v = dz.data;
    cr_assert_eq(v[0], 0.0); /* the first row has no source, and stays */
    cr_assert_neq(v[1], 0.0);
    cr_assert(isnan(v[4]) && isnan(v[5]) && isfinite(v[6]));
    const psc_array statistics = array_of(results, "effects.dz.over_examples");
    const double *s = statistics.data; /* [over_examples, targets, rows] */
    cr_assert_eq(s[7 * 4 + 0], 1);
    cr_assert_eq(s[7 * 4 + 2], 2);
    cr_assert_eq(s[0 * 4 + 3], (v[3] + v[7]) / 2);
    psc_result_axis rows;
    cr_assert_eq(psc_results_find_axis(&rows, results, 2, "rows", &error), PSC_OK);
    cr_assert(strcmp(rows.labels[0], "-4") == 0 && strcmp(rows.labels[3], "-1") == 0);
    psc_results_close(&results);
}

Test(pairs_run, groups_have_their_own_statistics) {
    open_for_pairs(3, 1, 0);
    must_load("logits", "level=head");
    read_lines(0, N, 0);
    psc_results *results = run_pairs();
    const psc_array values = array_of(results, "logits.values");
    const psc_array groups = array_of(results, "logits.values.by_group");
    const float *v = values.data;
    const double *g = groups.data; /* [groups, over_examples, targets, rows] */
    cr_assert(groups.shape[0] == 2 && groups.shape[1] == 8);
    cr_assert_float_eq(g[0], ((double)v[0] + v[2] + v[6]) / 3, 1e-12);
    cr_assert_float_eq(g[8], ((double)v[1] + v[4]) / 2, 1e-12);
    cr_assert(g[7] == 3 && g[15] == 2);
    psc_results_close(&results);
}

/* --- failures -------------------------------------------------------------------------------- */

static int stopped(void *payload) {
    (void)payload;
    return 1;
}

/* payload: how many calls are left before the one that stops. */
static int stops_at_last(void *payload) {
    return --*(int *)payload == 0;
}

static int told(double done, const char *what, void *payload) {
    (void)what;
    ++*(int *)payload;
    return done > 0.5;
}

Test(pairs_run, refuses) {
    psc_results *results = NULL;
    psc_pairs_run_options options = PSC_PAIRS_RUN_OPTIONS_INIT;
    read_lines(0, N, 0);
    open_for_pairs(3, 1, 0);
    must_load("logits", "level=head");
    options.draws = -2;
    REFUSED(psc_pairs_run(&results, session, pairs, &options, &error), PSC_ERROR_INPUT, "draws");
    options.draws = 0;
    options.level = NAN;
    REFUSED(psc_pairs_run(&results, session, pairs, &options, &error), PSC_ERROR_INPUT, "level");
    options.level = 0;
    options.most_bytes = 100;
    REFUSED(psc_pairs_run(&results, session, pairs, &options, &error), PSC_ERROR_INPUT, "7 pairs",
        "GB");
    options.most_bytes = 0;
    options.stop = stopped;
    REFUSED(psc_pairs_run(&results, session, pairs, &options, &error), PSC_ERROR_CANCELLED, "");
    options.stop = NULL;
    int calls = 0;
    options.payload = &calls;
    options.progress = told;
    REFUSED(psc_pairs_run(&results, session, pairs, &options, &error), PSC_ERROR_CANCELLED, "");
    cr_assert_eq(calls, 2);
    cr_assert_null(results);
    must_load("patch", "at=L0H0,source=2");
    REFUSED(psc_pairs_run(&results, session, pairs, NULL, &error), PSC_ERROR_PLUGIN,
        "set.jsonl:1: ", "source prompt 2");
}

/* The last calls come from the draws of the statistics. */
Test(pairs_run, statistics_can_be_stopped) {
    psc_results *results = NULL;
    psc_pairs_run_options options = PSC_PAIRS_RUN_OPTIONS_INIT;
    int left = 0, runs;
    read_lines(0, N, 0);
    open_for_pairs(3, 1, 0);
    must_load("logits", "level=head");
    options.stop = stops_at_last;
    options.payload = &left;
    options.draws = -1;
    cr_assert_eq(psc_pairs_run(&results, session, pairs, &options, &error), PSC_OK);
    runs = -left;
    psc_results_close(&results);
    for (int arrays = 1; arrays < 3; arrays++) {
        left = runs - arrays; /* after the last call of a run */
        REFUSED(psc_pairs_run(&results, session, pairs, &options, &error), PSC_ERROR_CANCELLED,
            "cancelled");
        cr_assert_null(results);
    }
}

Test(pairs_run, a_failure_names_the_pair_that_fails) {
    psc_results *results = NULL;
    read_lines(0, N, 0);
    open_for_pairs(7, 1, 0);
    must_load("ablate", "at=L0H0,rows=2");
    must_load("effects", NULL);
    REFUSED(psc_pairs_run(&results, session, pairs, NULL, &error), PSC_ERROR_PLUGIN,
        "set.jsonl:4: ", "rows=2");
    cr_assert_eq(psc_session_length(session, 0), 0);
}

Test(pairs_run, a_session_that_is_too_small) {
    psc_results *results = NULL;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    read_lines(0, N, 0);
    options.capacity = 5;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    REFUSED(
        psc_pairs_run(&results, session, pairs, NULL, &error), PSC_ERROR_INPUT, "6 tokens", "5");
    options.accumulate = 1;
    options.capacity = 0;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    REFUSED(psc_pairs_run(&results, session, pairs, NULL, &error), PSC_ERROR_STATE, "documents");
}

/* --- examples of a run, as any caller gives them ---------------------------------------------- */

Test(pairs_run, the_target_example_needs_examples) {
    const psc_input input = {0, 10, ten};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    open_for_pairs(1, 1, 0);
    must_load("logits", "level=head");
    REFUSED(psc_session_run(session, &input, 1, &options, &error), PSC_ERROR_INPUT, "--pairs");
    psc_example example = {0, 5, 5, NULL};
    options.examples = &example;
    REFUSED(psc_session_run(session, &input, 1, &options, &error), PSC_ERROR_INPUT, "itself");
    example.b = 1 << 20;
    REFUSED(psc_session_run(session, &input, 1, &options, &error), PSC_ERROR_INPUT, "ids are 0");
    example = (psc_example){0, -1, 3, NULL};
    REFUSED(psc_session_run(session, &input, 1, &options, &error), PSC_ERROR_INPUT, "-1, 3");
    static const int32_t far[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 1 << 20};
    example = (psc_example){0, 3, -1, far};
    REFUSED(psc_session_run(session, &input, 1, &options, &error), PSC_ERROR_INPUT, "token 9");
    example.source_positions = NULL;
    cr_assert_eq(
        psc_session_run(session, &input, 1, &options, &error), PSC_OK, "%s", error.message);
    const int32_t *ids = must_array("logits.target_ids").data;
    cr_assert(ids[0] == 3 && ids[1] == -1);
}

/* --- the host's functions --------------------------------------------------------------------- */

static int64_t numbers[2];
static int32_t positions[6];

static int hold_open(psc_context *context, const psc_host *given, void **state) {
    (void)state;
    (void)context;
    host = given;
    return 0;
}

static int ask(psc_context *context, void *state) {
    (void)state;
    int32_t n = 0;
    const psc_row *rows = host->rows(context, &n);
    for (int32_t i = 0; i < 2; i++) numbers[i] = host->example(context, rows[i * (n - 1)].sequence);
    for (int32_t i = 0; i < n; i++)
        if (host->source_row(context, &rows[i], &positions[i])) return -1;
    return 0;
}

Test(pairs_run, plugins_see_examples_and_aligned_rows) {
    static const int32_t from[] = {-1, 0, 2};
    const psc_example examples[] = {{41, 1, -1, from}, {7, 1, -1, NULL}};
    const psc_input inputs[] = {{0, 3, ten}, {2, 2, ten}};
    static const int32_t expected[] = {-1, 0, 2, -1, -1}, own[] = {0, 1, 2, 0, 1};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    bridge->open = hold_open;
    bridge->run_begin = ask;
    cr_assert_eq(psc_session_plugin_object(session, bridge, NULL, 0, &error), PSC_OK);
    options.examples = examples;
    cr_assert_eq(
        psc_session_run(session, inputs, 2, &options, &error), PSC_OK, "%s", error.message);
    cr_assert(numbers[0] == 41 && numbers[1] == 7);
    cr_assert(memcmp(positions, expected, sizeof expected) == 0);
    psc_session_truncate(session, 0, 0);
    psc_session_truncate(session, 2, 0);
    cr_assert_eq(psc_session_run(session, inputs, 2, NULL, &error), PSC_OK, "%s", error.message);
    cr_assert(numbers[0] == -1 && numbers[1] == -1);
    cr_assert(memcmp(positions, own, sizeof own) == 0);
}

static int ask_another(psc_context *context, void *state) {
    (void)state;
    return (int)host->example(context, 1);
}

Test(pairs_run, a_sequence_outside_the_run_has_no_example) {
    const psc_example examples[] = {{41, 1, -1, NULL}, {7, 1, -1, NULL}};
    const psc_input inputs[] = {{0, 3, ten}, {2, 2, ten}};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    bridge->open = hold_open;
    bridge->run_begin = ask_another;
    cr_assert_eq(psc_session_plugin_object(session, bridge, NULL, 0, &error), PSC_OK);
    options.examples = examples;
    REFUSED(psc_session_run(session, inputs, 2, &options, &error), PSC_ERROR_PLUGIN, "example",
        "sequence 1");
}
