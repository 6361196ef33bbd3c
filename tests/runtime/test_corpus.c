/* Statistics over documents of ln, mlp and logits against float64
 * (tests/tools/make_corpus_golden.py), in batches of several sizes with the same bits; a corpus's
 * windows. */
#include "golden.h"
#include "psc_corpus.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static psc_error error;

static psc_session *open_session(psc_model *model, int32_t threads, int32_t chunk) {
    psc_session *session = NULL;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = threads;
    options.chunk = chunk;
    options.n_sequences = 6;
    options.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_target(session, "next", &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    cr_assert_eq(psc_session_plugin(session, "ln", NULL, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_plugin(session, "mlp", "bins=8", &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_plugin(session, "logits", NULL, &error), PSC_OK, "%s", error.message);
    return session;
}

/* The golden file's windows, `batch` per run. */
static void run_windows(psc_session *session, const psc_tensors *golden, int32_t batch) {
    psc_token tokens[GOLDEN_MAX_TOKENS];
    psc_input inputs[6];
    golden_tokens(golden, tokens);
    const psc_tensor *lengths = golden_find(golden, "lengths");
    const int32_t *length = (const int32_t *)lengths->data;
    const psc_token *at = tokens;
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.no_logits = 1;
    for (int32_t w = 0; w < 6;) {
        int32_t n = 0;
        for (; n < batch && w < 6; n++, w++) {
            psc_session_truncate(session, n, 0);
            inputs[n] = (psc_input){n, length[w], at};
            at += length[w];
        }
        cr_assert_eq(
            psc_session_run(session, inputs, n, &options, &error), PSC_OK, "%s", error.message);
    }
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
}

static double element(const psc_array *array, int64_t i) {
    if (array->element == PSC_F64) return ((const double *)array->data)[i];
    return (double)((const int32_t *)array->data)[i];
}

static int64_t count_of(const psc_array *array) {
    int64_t n = 1;
    for (int32_t i = 0; i < array->n_axes; i++) n *= array->shape[i];
    return n;
}

/* Every statistic of the golden file; tolerance absolute and relative, integers exact. */
static int compare(psc_session *session, const psc_tensors *golden, const char *name, bool exact) {
    psc_array array;
    cr_assert_eq(psc_session_array(session, name, &array, &error), PSC_OK, "%s", error.message);
    const psc_tensor *tensor = golden_find(golden, name);
    const int64_t n = count_of(&array);
    double *expected = exact ? NULL : golden_f64(tensor, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        const double want = exact ? (double)((const int32_t *)tensor->data)[i] : expected[i];
        const double got = element(&array, i), bound = exact ? 0.0 : 2e-5 * (1.0 + fabs(want));
        cr_assert(fabs(got - want) <= bound, "%s[%d]: %.12g, not %.12g", name, (int)i, got, want);
    }
    free(expected);
    return 1;
}

static void check_model(const char *name) {
    static const char *const moments[] = {
        "ln.site", "mlp.pre", "mlp.post", "mlp.row", "logits.logit", "logits.share"};
    static const char *const suffixes[] = {"mean", "variance", "min", "max"};
    static const char *const counts[] = {
        "mlp.fires", "mlp.silent", "mlp.gate_histogram", "mlp.pre_histogram"};
    char path[1024], full[64];
    snprintf(path, sizeof path, "%s/tests/golden/corpus/%s.safetensors", PSC_SOURCE_DIR, name);
    psc_tensors *golden = golden_open(path);
    psc_model *model = must_model(golden_path(name, NULL));
    psc_session *session = open_session(model, 1, 5), *other = open_session(model, 2, 64);
    run_windows(session, golden, 1);
    run_windows(other, golden, 4);
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < 4; j++) {
            psc_array a, b;
            snprintf(full, sizeof full, "%s_%s", moments[i], suffixes[j]);
            compare(session, golden, full, false);
            cr_assert_eq(psc_session_array(session, full, &a, &error), PSC_OK);
            cr_assert_eq(psc_session_array(other, full, &b, &error), PSC_OK);
            cr_assert_arr_eq(a.data, b.data, (size_t)count_of(&a) * sizeof(double), "%s", full);
        }
    }
    for (size_t i = 0; i < 4; i++) compare(session, golden, counts[i], true);
    compare(session, golden, "logits.rows_counted", false);
    psc_session_close(&session);
    psc_session_close(&other);
    psc_model_close(&model);
    psc_tensors_close(&golden);
}

Test(corpus, statistics_parallel) {
    check_model("parallel_f32");
}

Test(corpus, statistics_of_the_tanh_form) {
    check_model("gelu_fast");
}

Test(corpus, statistics_sequential) {
    check_model("sequential_f32");
}

/* --- memory ---------------------------------------------------------------------------------- */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* its quarantine grows */
static long peak(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss; /* KiB; bytes on macOS */
}

/* Twenty times as many documents must not take more memory. */
Test(corpus, memory_does_not_grow) {
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/corpus/parallel_f32.safetensors", PSC_SOURCE_DIR);
    psc_tensors *golden = golden_open(path);
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = open_session(model, 1, 64);
    for (int i = 0; i < 10; i++) run_windows(session, golden, 3);
    long before = peak();
    for (int i = 0; i < 200; i++) run_windows(session, golden, 3);
    cr_assert_leq(peak(), before + before / 50, "%ld after %ld", peak(), before);
    psc_session_close(&session);
    psc_model_close(&model);
    psc_tensors_close(&golden);
}
#endif

/* --- windows --------------------------------------------------------------------------------- */

/* A text far longer than a piece: the windows contain the tokens of the whole text, and reading can
 * resume at any window. */
Test(corpus, windows_of_a_long_document) {
    static const char *const words[] = {"the", "Emerald", " City", "of", "  Oz", "was\n\n",
        "caf\303\251", "1900,", "don't", "\"quoted\"", "...", "yellow"};
    const char *folder = golden_embedded();
    if (!folder) return;
    psc_model *model = must_model(folder);
    enum { BYTES = 300000, WINDOW = 500 };
    char *text = malloc(BYTES + 64), path[] = "/tmp/psc-corpus-XXXXXX";
    size_t n = 0;
    uint32_t seed = 1;
    while (n < BYTES) {
        seed = seed * 1664525u + 1013904223u;
        n += (size_t)snprintf(text + n, 64, "%s ", words[(seed >> 16) % 12]);
    }
    int file = mkstemp(path);
    cr_assert_geq(file, 0);
    cr_assert_eq(write(file, text, n), (ssize_t)n);
    close(file);
    psc_token *whole = NULL;
    int32_t n_whole = 0;
    cr_assert_eq(psc_model_encode(&whole, &n_whole, model, text, n, false, &error), PSC_OK);
    psc_corpus *a = NULL, *b = NULL;
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    options.window = WINDOW;
    const char *const paths[] = {path};
    cr_assert_eq(psc_corpus_open(&a, model, paths, 1, &options, &error), PSC_OK);
    cr_assert_eq(psc_corpus_open(&b, model, paths, 1, &options, &error), PSC_OK);
    int32_t seen = 0;
    for (int32_t w = 0;; w++) {
        psc_window window, again;
        char *place = NULL;
        cr_assert_eq(psc_corpus_tell(&place, a, &error), PSC_OK);
        cr_assert_eq(psc_corpus_seek(b, place, &error), PSC_OK, "%s", error.message);
        psc_free(place);
        cr_assert_eq(psc_corpus_next(&window, a, &error), PSC_OK, "%s", error.message);
        cr_assert_eq(psc_corpus_next(&again, b, &error), PSC_OK, "%s", error.message);
        cr_assert_eq(again.n, window.n);
        if (window.n == 0) break;
        cr_assert_eq(window.document.first, seen);
        cr_assert_eq(again.document.first, seen);
        for (int32_t i = 0; i < window.n; i++) {
            cr_assert_eq(window.tokens[i].id, whole[seen + i].id, "token %d", seen + i);
            cr_assert_eq(again.tokens[i].id, whole[seen + i].id);
        }
        seen += window.n;
    }
    cr_assert_eq(seen, n_whole);
    psc_corpus_close(&a);
    psc_corpus_close(&b);
    unlink(path);
    psc_free(whole);
    free(text);
    psc_model_close(&model);
}

/* --- the numbers of documents ---------------------------------------------------------------- */

/* One step of SplitMix64 from this state, as docs/corpus.md says it. */
static uint64_t split_mix(uint64_t state) {
    uint64_t z = state + 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bool is_among_smallest(int64_t document, int64_t all, int64_t n, uint64_t seed) {
    const uint64_t key = split_mix((uint64_t)document ^ split_mix(seed));
    int64_t smaller = 0;
    for (int64_t d = 0; d < all; d++) smaller += split_mix((uint64_t)d ^ split_mix(seed)) < key;
    return smaller < n;
}

enum { DOCUMENTS = 60, UNREADABLE = 7 };

static void write_numbers(const char *path) {
    FILE *file = fopen(path, "w");
    cr_assert(file);
    for (int i = 0; i < DOCUMENTS; i++) {
        if (i % 5 == 0) fputs("\n \t\n", file);
        fprintf(file, "%s%d\"}\n", i == UNREADABLE ? "not JSON" : "{\"text\": \"number ", i);
    }
    fclose(file);
}

/* The next window has the text of document d. */
static void expect_number(psc_corpus *corpus, const psc_model *model, int64_t d) {
    char text[40];
    psc_token *tokens = NULL;
    psc_window window;
    int32_t n = 0;
    const int bytes = snprintf(text, sizeof text, "number %d", (int)d);
    cr_assert_eq(psc_model_encode(&tokens, &n, model, text, (size_t)bytes, false, &error), PSC_OK);
    cr_assert_eq(psc_corpus_next(&window, corpus, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(window.document.number, d);
    cr_assert_eq(window.n, n);
    for (int32_t t = 0; t < n; t++) cr_assert_eq(window.tokens[t].id, tokens[t].id);
    psc_free(tokens);
}

/* Documents are numbered by their lines: a blank line has no number, one that cannot be read has. A
 * sample has the documents that the formula draws. */
Test(corpus, numbers_and_samples_are_as_documented) {
    const char *folder = golden_embedded();
    if (!folder) return;
    cr_assert_eq(split_mix(0), 0xe220a8397b1dcdafu); /* the published first output of seed 0 */
    psc_model *model = must_model(folder);
    char directory[] = "/tmp/psc-numbers-XXXXXX", path[64];
    cr_assert(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/docs.jsonl", directory);
    write_numbers(path);
    const char *const paths[] = {path};
    for (int sample = 0; sample <= 20; sample += 10) {
        psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
        psc_corpus *corpus = NULL;
        psc_window window;
        options.sample = sample;
        options.seed = 3;
        cr_assert_eq(psc_corpus_open(&corpus, model, paths, 1, &options, &error), PSC_OK);
        for (int64_t d = 0; d < DOCUMENTS; d++)
            if (d != UNREADABLE && (sample == 0 || is_among_smallest(d, DOCUMENTS, sample, 3)))
                expect_number(corpus, model, d);
        cr_assert_eq(psc_corpus_next(&window, corpus, &error), PSC_OK);
        cr_assert_eq(window.n, 0);
        psc_corpus_close(&corpus);
    }
    unlink(path);
    rmdir(directory);
    psc_model_close(&model);
}

/* --- the place ------------------------------------------------------------------------------- */

Test(corpus, the_place_of_an_older_version_is_refused_by_name) {
    const char *old = "corpus=0123456789abcdef0123456789abcdef window=4 bos=0 shard=1/2 finished=0 "
                      "file=0 line=0 offset=0 next=0 document=-1 first=0 piece=0 skip=0 "
                      "documents=0 skipped=0 windows=0 tokens=0 limit=0\n";
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    static unsigned char parts[PSC_CORPUS_SHARDS];
    char identity[33] = "";
    int32_t n = 0;
    psc_status status = psc_corpus_add_part(&totals, identity, &n, parts, old, &error);
    cr_assert_eq(status, PSC_ERROR_SUPPORT);
    cr_assert(strstr(error.message, "version 0.1.0"), "%s", error.message);
}

/* A finished part with that many tokens. */
static psc_status add_part(
    psc_corpus_totals *totals, unsigned char *parts, int shard, const char *tokens) {
    static char identity[33];
    static int32_t n_shards;
    char place[512];
    snprintf(place, sizeof place,
        "{\"corpus\":\"0123456789abcdef0123456789abcdef\",\"window\":4,\"bos\":0,\"shard\":%d,"
        "\"n_shards\":3,\"limit\":0,\"finished\":1,\"file\":1,\"line\":0,\"offset\":0,"
        "\"next\":1,\"document\":-1,\"first\":0,\"piece\":0,\"skip\":0,\"documents\":1,"
        "\"skipped\":0,\"windows\":1,\"tokens\":%s}",
        shard, tokens);
    return psc_corpus_add_part(totals, identity, &n_shards, parts, place, &error);
}

Test(corpus, counts_of_parts_do_not_overflow) {
    static unsigned char parts[PSC_CORPUS_SHARDS];
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    cr_assert_eq(add_part(&totals, parts, 1, "1152921504606846976"), PSC_OK, "%s", error.message);
    cr_assert_eq(add_part(&totals, parts, 2, "1152921504606846976"), PSC_ERROR_INPUT);
    cr_assert(strstr(error.message, "counts"), "%s", error.message);
    cr_assert_eq(add_part(&totals, parts, 3, "1152921504606846977"), PSC_ERROR_INPUT);
    cr_assert(strstr(error.message, "tokens is out of range"), "%s", error.message);
}
