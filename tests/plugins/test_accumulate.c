/* The host's calls in a session over documents, state files of other versions,
 * refusals, the example. */
#include "accumulators.h"
#include "files.h"
#include "plugin_fixture.h"

#include <stdint.h>
#include <unistd.h>
#include <xxhash.h>

/* --- the host's calls ------------------------------------------------------------------------ */

static psc_context *context;
static int sum, count, low, top;
static int reports;

static int on_open(psc_context *given, const psc_host *table, void **state) {
    (void)state;
    context = given;
    host = table;
    cr_assert(host->accumulating(context));
    sum = host->accumulator(context, "sum", PSC_ACCUMULATE_SUM, 2, 0);
    count = host->accumulator(context, "count", PSC_ACCUMULATE_COUNT, 1, 0);
    low = host->accumulator(context, "low", PSC_ACCUMULATE_MIN, 1, 0);
    top = host->accumulator(context, "top", PSC_ACCUMULATE_TOP, 1, 4);
    return sum < 0 || count < 0 || low < 0 || top < 0 ? -1 : 0;
}

/* The sum of the tokens' ids, their number, the lowest, the largest; one partial per sequence. */
static int on_run_end(psc_context *given, void *state, int status) {
    (void)given, (void)state;
    int32_t n = 0;
    const psc_row *rows = host->rows(context, &n);
    for (int32_t i = 0; status == 0 && i < n;) {
        double sums[2] = {0, 0}, rows_seen = 0, least = INFINITY;
        for (int32_t sequence = rows[i].sequence; i < n && rows[i].sequence == sequence; i++) {
            sums[0] += rows[i].token;
            sums[1] += 1.0 / (1 + rows[i].token);
            rows_seen++;
            least = fmin(least, rows[i].token);
            if (host->accumulate_top(context, top, 0, rows[i].token, &rows[i])) return -1;
        }
        if (host->accumulate(context, sum, 0, 2, sums) ||
            host->accumulate(context, count, 0, 1, &rows_seen) ||
            host->accumulate(context, low, 0, 1, &least))
            return -1;
    }
    return 0;
}

static int on_report(psc_context *given, void *state) {
    (void)given, (void)state;
    int32_t n = -1;
    double sums[2], number;
    psc_top best[4];
    host->rows(context, &n);
    cr_assert_eq(n, 0);
    if (host->accumulated(context, sum, 0, 2, sums) ||
        host->accumulated(context, count, 0, 1, &number))
        return -1;
    cr_assert_eq(host->accumulated_top(context, top, 0, best), 4);
    reports++;
    return host->value_number(context, "sum", sums[0]) ||
           host->value_number(context, "reciprocals", sums[1]) ||
           host->value_number(context, "count", number) ||
           host->value_number(context, "best_document", (double)best[0].document) ||
           host->value_number(context, "best_position", best[0].position) ||
           host->value_number(context, "before", best[0].tokens[PSC_TOP_BEFORE - 1]) ||
           host->value_number(context, "after", best[0].tokens[PSC_TOP_BEFORE + 1]);
}

static void open_accumulating(int32_t chunk, int32_t threads) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.chunk = chunk;
    options.threads = threads;
    options.n_sequences = 4;
    options.accumulate = 1;
    if (!model) cr_assert_eq(psc_model_open(&model, MODELS "parallel_f32", &error), PSC_OK);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    find_bridge();
    bridge->open = on_open;
    bridge->run_end = on_run_end;
    bridge->report = on_report;
}

/* Windows of the ten tokens: document d contains tokens d..9. */
static psc_status run_documents(int32_t first, int32_t n) {
    psc_input inputs[4];
    psc_document documents[4];
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    for (int32_t i = 0; i < n; i++) {
        inputs[i] = (psc_input){i, 10 - first - i, ten + first + i};
        documents[i] = (psc_document){first + i, 100 * (first + i)};
        psc_session_truncate(session, i, 0);
    }
    options.documents = documents;
    options.no_logits = 1;
    return psc_session_run(session, inputs, n, &options, &error);
}

static double value(const char *name) {
    const psc_results *results = psc_session_results(session);
    psc_result_value found;
    for (int32_t i = 0; i < psc_results_section_count(results); i++)
        if (psc_results_find_value(&found, results, i, name, NULL) == PSC_OK)
            return found.numbers[0];
    cr_assert(0, "no value %s", name);
    return 0;
}

Test(accumulate, documents_through_a_session) {
    double reciprocals[2];
    for (int batched = 0; batched <= 1; batched++) {
        open_accumulating(batched ? 3 : 8, batched ? 2 : 1);
        must_load(PLUGIN("bridge"), NULL);
        for (int d = 0; d < 4; d += batched ? 4 : 1)
            cr_assert_eq(run_documents(d, batched ? 4 : 1), PSC_OK, "%s", error.message);
        cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
        cr_assert_eq(value("count"), 10 + 9 + 8 + 7);
        cr_assert_eq(value("sum"), 237 + 234 + 217 + 212);
        cr_assert_eq(value("best_document"), 0); /* token 79, in all four: the first wins */
        cr_assert_eq(value("best_position"), 3);
        cr_assert_eq(value("before"), 5);
        cr_assert_eq(value("after"), 0);
        reciprocals[batched] = value("reciprocals");
        psc_session_close(&session);
    }
    cr_assert_eq(reciprocals[0], reciprocals[1]);
    cr_assert_eq(reports, 2);
    psc_model_close(&model);
}

/* A state file belongs to its plugins in their versions. */
Test(accumulate, a_state_of_another_plugin_version_is_refused) {
    char path[] = "/tmp/psc-state-XXXXXX";
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    open_accumulating(8, 1);
    must_load(PLUGIN("bridge"), NULL);
    cr_assert_eq(run_documents(0, 2), PSC_OK, "%s", error.message);
    cr_assert_eq(
        psc_session_state_save(session, path, NULL, 0, &error), PSC_OK, "%s", error.message);
    psc_session_close(&session);
    const char *before = bridge->version;
    for (int other = 0; other < 2; other++) {
        open_accumulating(8, 1);
        bridge->version = other ? "other" : before;
        must_load(PLUGIN("bridge"), NULL);
        if (other)
            REFUSED(psc_session_state_load(session, path, &error), PSC_ERROR_INPUT, path, "version",
                "other", "bridge");
        else
            cr_assert_eq(
                psc_session_state_load(session, path, &error), PSC_OK, "%s", error.message);
        psc_session_close(&session);
    }
    bridge->version = before;
    remove(path);
    psc_model_close(&model);
}

#define STATE_HEADER 40 /* offset of the header's text: session_state.c */

/* The state file as a program of another version would write it. */
static void make_of_another_version(const char *path) {
    char *bytes = NULL, key[64];
    size_t size = 0;
    cr_assert_eq(psc_read_file(&bytes, &size, path, 1 << 24, &error), PSC_OK, "%s", error.message);
    int length = snprintf(key, sizeof key, "\"version\":\"%s\"", psc_version());
    char *at = strstr(bytes + STATE_HEADER, key);
    cr_assert(at, "the state file holds no %s", key);
    at[length - 2] ^= 1; /* the version's last digit */
    XXH128_canonical_t hash;
    size_t hashed = size - sizeof hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(bytes, hashed));
    memcpy(bytes + hashed, hash.digest, sizeof hash);
    cr_assert_eq(psc_write_file(path, bytes, size, &error), PSC_OK, "%s", error.message);
    free(bytes);
}

Test(accumulate, a_builtins_state_of_another_program_version_is_refused) {
    char path[] = "/tmp/psc-state-XXXXXX";
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    open_accumulating(8, 1);
    must_load("ln", NULL);
    cr_assert_eq(
        psc_session_state_save(session, path, NULL, 0, &error), PSC_OK, "%s", error.message);
    psc_session_close(&session);
    for (int other = 0; other < 2; other++) {
        if (other) make_of_another_version(path);
        open_accumulating(8, 1);
        must_load("ln", NULL);
        if (other)
            REFUSED(psc_session_state_load(session, path, &error), PSC_ERROR_INPUT, path, "version",
                psc_version(), "ln");
        else
            cr_assert_eq(
                psc_session_state_load(session, path, &error), PSC_OK, "%s", error.message);
        psc_session_close(&session);
    }
    remove(path);
    psc_model_close(&model);
}

Test(accumulate, a_position_counts_from_the_documents_start) {
    open_accumulating(8, 1);
    must_load(PLUGIN("bridge"), NULL);
    cr_assert_eq(run_documents(2, 2), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(value("best_document"), 2);
    cr_assert_eq(value("best_position"), 200 + 1);
    psc_corpus_totals corpus = PSC_CORPUS_TOTALS_INIT;
    cr_assert_eq(psc_results_get_corpus(&corpus, psc_session_results(session), NULL), PSC_OK);
    cr_assert_eq(corpus.tokens, 15);
    cr_assert_eq(corpus.windows, 2);
    fixture_close();
}

/* --- records --------------------------------------------------------------------------------- */

static int kept;

static int records_open(psc_context *given, const psc_host *table, void **state) {
    (void)state;
    context = given;
    host = table;
    kept = host->accumulator_records(context, "kept", 1, 3, 2 * sizeof(int64_t));
    return kept < 0 ? -1 : 0;
}

/* Offers each row with its token as the value and its place as the record; asks first. */
static int records_end(psc_context *given, void *state, int status) {
    (void)given, (void)state;
    int32_t n = 0;
    const psc_row *rows = host->rows(context, &n);
    for (int32_t i = 0; status == 0 && i < n; i++) {
        int64_t place[2] = {0};
        int32_t position = 0;
        if (host->place(context, &rows[i], &place[0], &position)) return -1;
        place[1] = position;
        const int asked = host->accumulate_record(context, kept, 0, rows[i].token, &rows[i], NULL);
        if (asked < 0 ||
            asked != host->accumulate_record(context, kept, 0, rows[i].token, &rows[i], place))
            return -1;
    }
    return 0;
}

static int records_report(psc_context *given, void *state) {
    (void)given, (void)state;
    int64_t places[3][2];
    psc_top entries[3];
    int64_t document;
    int32_t position;
    cr_assert_eq(host->accumulated_records(context, kept, 0, entries, places), 3);
    cr_assert_eq(host->accumulated_records(context, kept, 0, NULL, NULL), 3);
    for (int i = 0; i < 3; i++)
        cr_assert(entries[i].document == places[i][0] && entries[i].position == places[i][1]);
    cr_assert(entries[0].value == 79 && entries[2].value == 79 && places[2][0] == 2);
    return host->value_number(context, "document", (double)places[0][0]) ||
           host->place(context, host->rows(context, &position), &document, &position);
}

static int records_top(psc_context *given, void *state, int status) {
    (void)given, (void)state, (void)status;
    int32_t n = 0;
    return host->accumulate_top(context, kept, 0, 1.0, host->rows(context, &n));
}

/* Records come back with their entries; also from a state; place is refused without rows. */
Test(accumulate, records) {
    open_accumulating(8, 1);
    bridge->open = records_open;
    bridge->run_end = records_end;
    bridge->report = records_report;
    must_load(PLUGIN("bridge"), NULL);
    for (int d = 0; d < 4; d += 2) cr_assert_eq(run_documents(d, 2), PSC_OK, "%s", error.message);
    REFUSED(psc_session_report(session, NULL, &error), PSC_ERROR_PLUGIN, "place", "row");
    bridge->run_end = records_top;
    REFUSED(run_documents(0, 1), PSC_ERROR_PLUGIN, "'kept'", "need a record");
    fixture_close();
}

/* --- refusals -------------------------------------------------------------------------------- */

static int make_array(psc_context *given, void *state) {
    (void)state;
    return host->array(given, "a", PSC_F32, 0, NULL) ? 0 : -1;
}

static int accumulate_early(psc_context *given, void *state) {
    (void)state;
    const double one = 1.0;
    return host->accumulate(given, count, 0, 1, &one);
}

static int accumulate_nan(psc_context *given, void *state, int status) {
    (void)state, (void)status;
    const double bad[2] = {1.0, NAN};
    return host->accumulate(given, sum, 0, 2, bad);
}

Test(accumulate, calls_out_of_place) {
    open_accumulating(8, 1);
    bridge->run_begin = make_array;
    must_load(PLUGIN("bridge"), NULL);
    REFUSED(
        run_documents(0, 1), PSC_ERROR_STATE, "bridge", "does not work over a corpus", "report");
    bridge->run_begin = accumulate_early;
    REFUSED(run_documents(0, 1), PSC_ERROR_STATE, "bridge", "accumulate", "run_end");
    bridge->run_begin = NULL;
    cr_assert_eq(run_documents(0, 1), PSC_OK); /* nothing was added: the session stays usable */
    REFUSED(psc_session_capture(session, "hook_embed", &error), PSC_ERROR_STATE, "hook_embed");
    fixture_close();
}

Test(accumulate, a_run_that_fails_midway_spoils_the_session) {
    open_accumulating(8, 1);
    bridge->run_end = accumulate_nan;
    must_load(PLUGIN("bridge"), NULL);
    REFUSED(run_documents(0, 1), PSC_ERROR_PLUGIN, "plugin bridge", "'sum'", "slot 1", "nan");
    bridge->run_end = on_run_end;
    REFUSED(run_documents(0, 1), PSC_ERROR_STATE, "totals are invalid");
    REFUSED(psc_session_report(session, NULL, &error), PSC_ERROR_STATE, "totals are invalid");
    fixture_close();
}

static int open_badly(psc_context *given, const psc_host *table, void **state) {
    (void)state;
    table->accumulator(given, "x", PSC_ACCUMULATE_SUM, 1, 0);
    return table->accumulator(given, "x", PSC_ACCUMULATE_SUM, 1, 0) < 0 ? -1 : 0;
}

Test(accumulate, declarations_that_are_refused) {
    open_accumulating(8, 1);
    bridge->open = open_badly;
    REFUSED(psc_session_plugin(session, PLUGIN("bridge"), NULL, &error), PSC_ERROR_PLUGIN,
        "'x' is declared twice");
    fixture_close();
    psc_accumulators tables = {0};
    cr_assert_lt(psc_accumulators_add(&tables, "a b", PSC_ACCUMULATE_SUM, 1, 0, &error), 0);
    cr_assert_lt(psc_accumulators_add(&tables, "t", PSC_ACCUMULATE_TOP, 1, 0, &error), 0);
    cr_assert_lt(psc_accumulators_add(&tables, "t", PSC_ACCUMULATE_SUM, 1, 1, &error), 0);
    cr_assert_lt(psc_accumulators_add(&tables, "t", (psc_accumulate)9, 1, 0, &error), 0);
    cr_assert_lt(psc_accumulators_add(&tables, "t", PSC_ACCUMULATE_SUM, -1, 0, &error), 0);
    cr_assert_lt(psc_accumulators_add(&tables, "t", PSC_ACCUMULATE_SUM, INT64_MAX, 0, &error), 0);
}

Test(accumulate, an_ordinary_session_has_no_accumulators, .init = fixture_open,
    .fini = fixture_close) {
    bridge->open = open_badly;
    REFUSED(psc_session_plugin(session, PLUGIN("bridge"), NULL, &error), PSC_ERROR_STATE,
        "needs a session that accumulates");
    REFUSED(psc_session_report(session, NULL, &error), PSC_ERROR_STATE, "does not accumulate");
}

/* Results exist in report only, and a callback saves no state. */
static int speak_early(psc_context *given, void *state, int status) {
    (void)state, (void)status;
    return host->summary_text(given, "early");
}

static int draw_early(psc_context *given, void *state, int status) {
    static const char *const labels[] = {"a"};
    static const double values[] = {1.0};
    (void)state, (void)status;
    return host->summary_bars(given, "early", "", 1, labels, values);
}

static int save_early(psc_context *given, void *state, int status) {
    psc_error refused;
    (void)given, (void)state, (void)status;
    cr_assert_eq(psc_session_state_save(session, "never", NULL, 0, &refused), PSC_ERROR_STATE);
    cr_assert(strstr(refused.message, "callback"), "%s", refused.message);
    return 0;
}

Test(accumulate, no_summary_and_no_state_from_a_run) {
    open_accumulating(8, 1);
    bridge->run_end = speak_early;
    must_load(PLUGIN("bridge"), NULL);
    REFUSED(run_documents(0, 1), PSC_ERROR_STATE, "creates results in each run", "report");
    bridge->run_end = draw_early;
    REFUSED(run_documents(0, 1), PSC_ERROR_STATE, "creates results in each run", "report");
    bridge->run_end = save_early;
    cr_assert_eq(run_documents(0, 1), PSC_OK, "%s", error.message);
    cr_assert_neq(access("never", F_OK), 0);
    psc_session_close(&session);
}

/* --- the example ----------------------------------------------------------------------------- */

/* |x| of every row except the first of documents 0..3, from an ordinary session's captures. */
static void norms_by_capture(double mean[2], double longest[2]) {
    int rows = 0;
    for (int32_t d = 0; d < 4; d++) {
        psc_input input = {0, 10 - d, ten + d};
        psc_session_truncate(session, 0, 0);
        cr_assert_eq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK);
        for (int l = 0; l < 2; l++) {
            const float *x =
                must_array(l ? "blocks.1.hook_resid_post" : "blocks.0.hook_resid_post").data;
            for (int r = 1; r < 10 - d; r++) {
                double squares = 0;
                for (int i = 0; i < 32; i++) squares += (double)x[r * 32 + i] * x[r * 32 + i];
                mean[l] += sqrt(squares);
                longest[l] = fmax(longest[l], sqrt(squares));
            }
        }
        rows += 9 - d;
    }
    for (int l = 0; l < 2; l++) mean[l] /= rows;
}

Test(accumulate, the_example_reports_mean_norms) {
    double mean[2] = {0, 0}, longest[2] = {0, 0};
    open_session("parallel_f32", 3, 2);
    must_capture("blocks.*.hook_resid_post");
    norms_by_capture(mean, longest);
    REFUSED(psc_session_plugin(session, PLUGIN("lengths"), NULL, &error), PSC_ERROR_PLUGIN,
        "plugin lengths", "corpus");
    psc_session_close(&session);
    open_accumulating(4, 2);
    must_load(PLUGIN("lengths"), NULL);
    cr_assert_eq(run_documents(0, 2), PSC_OK, "%s", error.message);
    cr_assert_eq(run_documents(2, 2), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    const psc_array found = must_array("lengths.mean"), most = must_array("lengths.longest");
    cr_assert(found.n_axes == 1 && found.shape[0] == 2 && most.shape[0] == 2);
    for (int l = 0; l < 2; l++) {
        cr_assert_float_eq(((const double *)found.data)[l], mean[l], 1e-11);
        cr_assert_float_eq(((const double *)most.data)[l], longest[l], 1e-12);
    }
    psc_session_close(&session);
}
