/* Arrays of token ids: the results have the texts of all ids that they name, whatever else an array
 * holds, over a text and over a corpus, and the built-ins mark all theirs. */
#include "plugin_fixture.h"

#include <jansson.h>

static psc_context *context;
static int (*report)(void);

static int take_host(psc_context *given, const psc_host *table, void **state) {
    (void)state;
    context = given;
    host = table;
    return 0;
}

static int call_report(psc_context *given, void *state) {
    (void)given, (void)state;
    return report();
}

static void open_books(bool accumulate) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.accumulate = accumulate;
    cr_assert_eq(psc_model_open(&model, PSC_SOURCE_DIR "/models/books-5m", &error), PSC_OK);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    find_bridge();
    host = NULL;
}

static void open_this(void) {
    open_books(false);
}

TestSuite(token_ids, .init = open_this, .fini = fixture_close);

static psc_status run_report(int (*fn)(void)) {
    report = fn;
    if (!host) {
        bridge->open = take_host;
        bridge->report = call_report;
        must_load(PLUGIN("bridge"), NULL);
    }
    return run_ten();
}

static const int32_t odd[] = {262, -1, INT32_MIN, 7, 262, 50000000, INT32_MAX, 300};

static int odd_ids(void) {
    static const char *const axes[] = {"x"};
    int failed = host->axis_numbers(context, "x", 8, odd);
    int32_t *ids = host->array(context, "ids", PSC_I32, 1, axes);
    int32_t *others = host->array(context, "others", PSC_I32, 1, axes);
    if (failed || !ids || !others) return -1;
    for (int i = 0; i < 8; i++) {
        ids[i] = odd[i];
        others[i] = 400 + i;
    }
    return host->token_ids(context, "ids") || host->token_ids(context, "ids");
}

static int no_ids(void) {
    return 0;
}

/* The entry's text is the token's own, if that is UTF-8. */
static void check_entry(const psc_results *results, int32_t index, int32_t id) {
    const char *text = NULL;
    size_t bytes;
    int32_t found = -1;
    cr_assert_eq(psc_results_vocabulary_at(&found, &text, results, index, &error), PSC_OK);
    cr_assert_eq(found, id);
    const char *own = psc_model_token_bytes(model, id, &bytes);
    cr_assert(own);
    if (strstr(text, "\xef\xbf\xbd")) return;
    cr_assert(strlen(text) == bytes && memcmp(text, own, bytes) == 0, "%d: '%s'", id, text);
}

static json_t *json_of(const psc_results *results) {
    char *text;
    cr_assert_eq(psc_results_write_memory(&text, NULL, results, PSC_FORMAT_JSON, NULL, &error),
        PSC_OK, "%s", error.message);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    cr_assert(root);
    psc_free(text);
    return root;
}

Test(token_ids, texts_of_named_ids) {
    const psc_results *results = psc_session_results(session);
    const char *text;
    int32_t id;
    for (int run = 0; run < 2; run++) {
        cr_assert_eq(run_report(odd_ids), PSC_OK, "%s", error.message);
        cr_assert_eq(psc_results_vocabulary_count(results), 3, "distinct, and in the vocabulary");
        check_entry(results, 0, 7);
        check_entry(results, 1, 262);
        check_entry(results, 2, 300);
    }
    REFUSED(psc_results_vocabulary_at(&id, &text, results, 3, &error), PSC_ERROR_INPUT, "entry 3");
    REFUSED(psc_results_vocabulary_at(&id, &text, results, -1, &error), PSC_ERROR_INPUT, "-1");
    cr_assert_eq(psc_results_array_holds_token_ids(results, "bridge.ids"), 1);
    cr_assert_eq(psc_results_array_holds_token_ids(results, "bridge.others"), 0);
    cr_assert_eq(psc_results_array_holds_token_ids(results, "bridge.none"), 0);
    json_t *root = json_of(results);
    const json_t *words = json_object_get(root, "vocabulary");
    cr_assert_eq(json_object_size(words), 3);
    check_entry(results, 1, 262);
    psc_results_vocabulary_at(&id, &text, results, 1, &error);
    cr_assert_str_eq(json_string_value(json_object_get(words, "262")), text);
    json_decref(root);
    cr_assert_eq(run_report(no_ids), PSC_OK);
    cr_assert_eq(psc_results_vocabulary_count(results), 0, "a run drops those of the one before");
    root = json_of(results);
    cr_assert_null(json_object_get(root, "vocabulary"));
    json_decref(root);
}

Test(token_ids, taken_results_keep_the_texts) {
    psc_results *taken;
    cr_assert_eq(run_report(odd_ids), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_take_results(&taken, session, &error), PSC_OK);
    cr_assert_eq(psc_results_vocabulary_count(psc_session_results(session)), 0);
    cr_assert_eq(run_report(no_ids), PSC_OK);
    psc_session_close(&session);
    cr_assert_eq(psc_results_vocabulary_count(taken), 3);
    check_entry(taken, 2, 300);
    cr_assert_eq(psc_results_array_holds_token_ids(taken, "bridge.ids"), 1);
    psc_results_close(&taken);
}

TestSuite(token_ids_without_texts, .init = fixture_open, .fini = fixture_close);

Test(token_ids_without_texts, a_model_without_a_tokenizer) {
    cr_assert_eq(run_report(odd_ids), PSC_OK, "%s", error.message);
    const psc_results *results = psc_session_results(session);
    cr_assert_eq(psc_results_vocabulary_count(results), 0);
    cr_assert_eq(psc_results_array_holds_token_ids(results, "bridge.ids"), 1);
}

/* --- built-ins ------------------------------------------------------------------------------- */

/* All I32 arrays of the run that hold token ids, by key. */
static const char *const of_ids[] = {"target_ids", "top_ids", "top_before", "top_after",
    "embed_nearest", "unembed_nearest", "qk_query_tokens", "qk_key_tokens", "ov_read_tokens",
    "ov_write_tokens", "excited_by_token", "promotes", "context_tokens"};
enum { N_OF_IDS = sizeof of_ids / sizeof *of_ids };

static bool is_of_ids(const char *key) {
    for (int i = 0; i < N_OF_IDS; i++)
        if (strcmp(of_ids[i], key) == 0) return true;
    return false;
}

/* Checks every array; its ids must be in the vocabulary. Returns how many arrays hold token ids. */
static int check_arrays(const psc_results *results) {
    static char known[1 << 16];
    psc_array a;
    int n_marked = 0;
    memset(known, 0, sizeof known);
    for (int32_t i = 0; i < psc_results_vocabulary_count(results); i++) {
        const char *text;
        int32_t id = -1;
        psc_results_vocabulary_at(&id, &text, results, i, &error);
        known[id] = 1;
        check_entry(results, i, id);
    }
    for (int32_t s = 0; s < psc_results_section_count(results); s++) {
        const int32_t n = must_section(s).n_arrays;
        for (int32_t i = 0; i < n; i++) {
            cr_assert_eq(psc_results_array_at(&a, results, s, i, &error), PSC_OK);
            const bool marked = psc_results_array_holds_token_ids(results, a.name);
            cr_assert_eq(marked, is_of_ids(a.key), "%s", a.name);
            int64_t count = 1;
            for (int d = 0; d < a.n_axes; d++) count *= a.shape[d];
            for (int64_t e = 0; marked && e < count; e++) {
                const int32_t id = ((const int32_t *)a.data)[e];
                cr_assert(id == -1 || (id >= 0 && known[id]), "%s has the id %d", a.name, id);
            }
            n_marked += marked;
        }
    }
    return n_marked;
}

Test(token_ids, builtins_mark_theirs) {
    static const char *const loads[][2] = {{"logits", "rows=all,level=head"},
        {"ln", "target_rows=all"}, {"mlp", "target_rows=all,arrays=none"}, {"lens", "rows=all"},
        {"partition", "perturbations=step"}, {"weights", "what=tokens+heads,top=3"},
        {"neurons", "entropy=no,geometry=none,top=3"}, {"attention", NULL}, {"sampling", NULL},
        {"edges", NULL}, {"graph", NULL}, {"spans", NULL}, {"words", NULL}};
    cr_assert_eq(psc_session_target(session, "top:2", &error), PSC_OK);
    cr_assert_eq(psc_session_contrast(session, "#5", "#7", &error), PSC_OK);
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) must_load(loads[i][0], loads[i][1]);
    const psc_input input = {0, 6, ten + 4}; /* from <|endoftext|> on */
    cr_assert_eq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(check_arrays(psc_session_results(session)), 16);
}

Test(token_ids, effects_mark_theirs) {
    const psc_input input = {0, 10, ten};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    must_load("ablate", "at=L0H3");
    must_load("effects", NULL);
    for (options.phase = PSC_PHASE_BASE; options.phase <= PSC_PHASE_CHANGED; options.phase++) {
        psc_session_truncate(session, 0, 0);
        cr_assert_eq(
            psc_session_run(session, &input, 1, &options, &error), PSC_OK, "%s", error.message);
    }
    cr_assert_eq(check_arrays(psc_session_results(session)), 3);
}

static void open_corpus(void) {
    open_books(true);
}

TestSuite(token_ids_over_a_corpus, .init = open_corpus, .fini = fixture_close);

Test(token_ids_over_a_corpus, of_contexts) {
    must_load("neurons", "entropy=no,geometry=none,top=3,contexts=2");
    must_run_ten();
    cr_assert_eq(psc_results_vocabulary_count(psc_session_results(session)), 0);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    cr_assert_geq(check_arrays(psc_session_results(session)), 1);
    cr_assert_gt(psc_results_vocabulary_count(psc_session_results(session)), 0);
}
