/* Folders of results that are read, copied into a page and written again while memory runs out:
 * each request fails in turn, once and for good. The call gives all of it or PSC_ERROR_MEMORY, and
 * leaves no folder and no text that lacks something. */
#include "failing_malloc.h"

#include "folder_fixture.h"

TestSuite(read_memory, .init = open_base, .fini = remove_base);

enum { LAYERS = 3, HEADS = 4, CONTEXTS = 2, WINDOW = 3 };

/* Arrays of contexts, whose slices a page ranks; one of them has no numbers. */
static void add_contexts(psc_results *r) {
    static const char *const names[] = {"layers", "heads", "contexts", "window"};
    static const char *const labels[] = {"L0H1", "L2H3", "L1H9", "L9H1", "another", "L1H0"};
    static const int32_t numbers[] = {0, 1, 2, 3};
    static const int64_t shape[] = {LAYERS, HEADS, CONTEXTS, WINDOW};
    psc_section *s = psc_results_add_section(r, "contexts", "1");
    const int section = r->n_sections - 1;
    cr_assert(s);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(psc_section_add_numbers(s, names[i], shape[i], numbers), PSC_OK);
    cr_assert_eq(psc_section_add_labels(r, s, "listed", 6, labels), PSC_OK);
    psc_stored_array *values =
        psc_results_add_array(r, section, "value", PSC_F64, 3, names, shape, true, &error);
    for (int i = 0; i < LAYERS * HEADS * CONTEXTS; i++) ((double *)values->view.data)[i] = i % 7;
    psc_stored_array *ids =
        psc_results_add_array(r, section, "tokens", PSC_I32, 4, names, shape, true, &error);
    ids->token_ids = true;
}

/* Every kind of entry, the totals of a sample, and a scaled rotary embedding. */
static psc_results *make_all(void) {
    psc_results *r = make_odd();
    add_contexts(r);
    r->model.rope_type = "linear";
    r->model.rope_factor = 2;
    r->has_corpus = true;
    r->corpus = (psc_corpus_totals)PSC_CORPUS_TOTALS_INIT;
    r->corpus.documents = 3;
    r->corpus.sample = 3;
    r->corpus.population = 9;
    r->corpus.seed = 5;
    r->corpus.stride = 7;
    r->corpus.stopped = 1;
    return r;
}

static char *json_of(const psc_results *results) {
    char *text;
    cr_assert_eq(
        psc_results_write_memory(&text, NULL, results, PSC_FORMAT_JSON, odd_options(), &error),
        PSC_OK, "%s", error.message);
    return text;
}

static void must_fail(psc_status status, long i, long n) {
    cr_assert_eq(status, PSC_ERROR_MEMORY, "request %ld of %ld: %s", i, n, error.message);
    cr_assert(strstr(error.message, "not enough memory"), "%s", error.message);
}

/* --- reading --------------------------------------------------------------------------------- */

static void fail_read(const char *folder, bool on) {
    psc_results *results, *whole = must_read(folder);
    char *want = json_of(whole);
    memory_fail_at(0, false);
    results = must_read(folder);
    const long n = memory_back();
    psc_results_close(&results);
    for (long i = 1; i <= n; i++) {
        memory_fail_at(i, on);
        const psc_status status = psc_results_read_folder(&results, folder, &error);
        memory_back();
        cr_assert_eq(status == PSC_OK, results != NULL, "request %ld of %ld", i, n);
        if (status) {
            must_fail(status, i, n);
            continue;
        }
        char *got = json_of(results);
        cr_assert_str_eq(got, want, "request %ld of %ld", i, n);
        psc_free(got);
        psc_results_close(&results);
    }
    cr_assert(!MEMORY_FAILS || n > 300, "%ld requests", n);
    psc_free(want);
    psc_results_close(&whole);
}

Test(read_memory, a_folder) {
    psc_results *results = make_all();
    const char *folder = in_base("first");
    cr_assert_eq(psc_results_write_folder_with(results, odd_options(), folder, &error), PSC_OK,
        "%s", error.message);
    psc_results_close(&results);
    results = must_read(folder);
    cr_assert_str_eq(results->model.rope_type, "linear");
    cr_assert(results->model.rope_factor == 2 && results->corpus.stopped == 1);
    cr_assert(results->corpus.sample == 3 && results->corpus.population == 9);
    cr_assert_eq(results->corpus.stride, 7);
    psc_results_close(&results);
    fail_read(folder, false);
    fail_read(folder, true);
}

/* --- pages ----------------------------------------------------------------------------------- */

static void fail_page(const psc_results *results, const psc_format_options *options, bool on) {
    char *whole, *text;
    memory_fail_at(0, false);
    const psc_status possible =
        psc_results_write_memory(&whole, NULL, results, PSC_FORMAT_HTML, options, &error);
    const long n = memory_back();
    if (possible == PSC_ERROR_SUPPORT) return; /* a build without pages */
    cr_assert_eq(possible, PSC_OK, "%s", error.message);
    for (long i = 1; i <= n; i += 1 + n / 1500) {
        memory_fail_at(i, on);
        const psc_status status =
            psc_results_write_memory(&text, NULL, results, PSC_FORMAT_HTML, options, &error);
        memory_back();
        if (status) must_fail(status, i, n);
        if (text) cr_assert_str_eq(text, whole, "request %ld of %ld", i, n);
        cr_assert_eq(status == PSC_OK, text != NULL);
        psc_free(text);
    }
    psc_free(whole);
}

Test(read_memory, a_page_of_two_runs, .timeout = 120) {
    psc_results *results = make_all();
    psc_format_options options = *odd_options();
    options.beside = results;
    options.page_bytes = 400000;
    fail_page(results, &options, false);
    fail_page(results, &options, true);
    psc_results_close(&results);
}

/* --- writing --------------------------------------------------------------------------------- */

static int entries_of(const char *folder) {
    char command[300];
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
    FILE *out = popen(command, "r");
    int n = -1;
    cr_assert(out && fscanf(out, "%d", &n) == 1);
    pclose(out);
    return n;
}

static void fail_write(const psc_results *results, const char *folder, long n, bool on) {
    for (long i = 1; i <= n; i += 1 + n / 50) {
        char command[300];
        memory_fail_at(i, on);
        const psc_status status =
            psc_results_write_folder_with(results, odd_options(), folder, &error);
        memory_back();
        if (status) {
            must_fail(status, i, n);
            cr_assert_eq(entries_of(base), 1, "request %ld of %ld", i, n);
            continue;
        }
        cr_assert_eq(entries_of(folder), 3, "request %ld of %ld", i, n);
        snprintf(command, sizeof command, "rm -r '%s'", folder);
        cr_assert_eq(system(command), 0);
    }
}

/* With the file that a plugin made. */
Test(read_memory, a_folder_is_written_whole_or_not_at_all) {
    psc_results *results = make_all();
    cr_assert_eq(psc_results_add_file(results, "made.txt", "made", 4, &error), PSC_OK);
    memory_fail_at(0, false);
    cr_assert_eq(
        psc_results_write_folder_with(results, odd_options(), in_base("whole"), &error), PSC_OK);
    const long n = memory_back();
    fail_write(results, in_base("out"), n, false);
    fail_write(results, in_base("out"), n, true);
    psc_results_close(&results);
}
