/* The largest contexts of heads and HeadVis's folder over documents: the same bytes for any ISA,
 * threads, chunks and batches; records of damaged states; texts of files.
 * Numbers: tests/python/test_headvis.py, by brute force in f64. */
#include "attention_contexts.h"
#include "files.h"
#include "headvis_text.h"
#include "ln_mlp_fixture.h"

#include <unistd.h>
#include <xxhash.h>

enum { WINDOW = 8, DOCUMENTS = 60 };

static psc_error error;

typedef struct way {
    const char *isa;
    int32_t threads, chunk, batch;
} way;

static psc_session *open_session(psc_model *model, const way *how, const char *options) {
    psc_session *session = NULL;
    psc_session_options given = PSC_SESSION_OPTIONS_INIT;
    given.isa = how->isa;
    given.threads = how->threads;
    given.chunk = how->chunk;
    given.n_sequences = how->batch;
    given.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &given, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(
        psc_session_plugin(session, "attention", options, &error), PSC_OK, "%s", error.message);
    return session;
}

/* Window d: 1 to WINDOW tokens that repeat, in document d / 3. */
static void run_documents(psc_session *session, int32_t batch) {
    static psc_token tokens[DOCUMENTS][WINDOW];
    psc_input inputs[DOCUMENTS];
    psc_document documents[DOCUMENTS];
    for (int32_t d = 0; d < DOCUMENTS; d += batch) {
        psc_run_options options = PSC_RUN_OPTIONS_INIT;
        const int32_t n = d + batch < DOCUMENTS ? batch : DOCUMENTS - d;
        for (int32_t i = 0; i < n; i++) {
            const int32_t w = d + i, length = 1 + w * 7 % WINDOW;
            for (int32_t t = 0; t < length; t++)
                tokens[w][t] = (psc_token){.id = (w * 31 + t * t * 5) % 23};
            inputs[i] = (psc_input){i, length, tokens[w]};
            documents[i] = (psc_document){w / 3, WINDOW * (w % 3)};
            psc_session_truncate(session, i, 0);
        }
        options.documents = documents;
        options.no_logits = 1;
        cr_assert_eq(
            psc_session_run(session, inputs, n, &options, &error), PSC_OK, "%s", error.message);
    }
}

static void must_report(psc_session *session) {
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
}

Test(attention_contexts, files_do_not_depend_on_the_way) {
    static const way ways[] = {{NULL, 1, 0, 1}, {"reference", 2, 3, 4}, {NULL, 3, 1, 7}};
    static const char *const arrays[] = {"attention.context_value", "attention.context_document",
        "attention.context_position", "attention.context_key", "attention.context_tokens",
        "attention.headvis_metrics", "attention.means", NULL};
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    psc_session *sessions[3];
    for (int i = 0; i < 3; i++) {
        sessions[i] = open_session(model, &ways[i], "headvis=own,window=8,contexts=3");
        run_documents(sessions[i], ways[i].batch);
        must_report(sessions[i]);
    }
    const psc_results *first = psc_session_results(sessions[0]);
    const psc_model_info *info = psc_model_get_info(model);
    cr_assert_eq(psc_results_file_count(first), 4 + info->n_layers * info->n_heads);
    for (int i = 1; i < 3; i++) {
        const psc_results *other = psc_session_results(sessions[i]);
        assert_same_arrays(sessions[0], sessions[i], arrays, "ways");
        for (int32_t f = 0; f < psc_results_file_count(first); f++) {
            psc_result_file a, b;
            cr_assert_eq(psc_results_file_at(&a, first, f, &error), PSC_OK);
            cr_assert_eq(psc_results_file_at(&b, other, f, &error), PSC_OK);
            cr_assert_str_eq(a.name, b.name);
            cr_assert(a.n == b.n && memcmp(a.bytes, b.bytes, (size_t)a.n) == 0, "%s", a.name);
        }
    }
    for (int i = 0; i < 3; i++) psc_session_close(&sessions[i]);
    psc_model_close(&model);
}

/* --- states ---------------------------------------------------------------------------------- */

static uint64_t load64(const char *from) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value |= (uint64_t)(unsigned char)from[i] << (8 * i);
    return value;
}

/* Changes bits of the totals and makes the checksum right again. */
static void damage(const char *path, const char *bytes, size_t size, uint64_t *seed) {
    const size_t begin = 40 + (size_t)load64(bytes + 16) + (size_t)load64(bytes + 24);
    const size_t end = size - sizeof(XXH128_canonical_t);
    char *changed = malloc(size);
    memcpy(changed, bytes, size);
    for (int i = 0; i < 60; i++) {
        *seed = *seed * 6364136223846793005u + 1442695040888963407u;
        changed[begin + (*seed >> 20) % (end - begin)] ^= (char)(1 << (*seed >> 60) % 8);
    }
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(changed, end));
    memcpy(changed + end, hash.digest, sizeof hash);
    cr_assert_eq(psc_write_file(path, changed, size, &error), PSC_OK, "%s", error.message);
    free(changed);
}

/* Whatever a state holds, a report gives results or one sentence. */
Test(attention_contexts, damaged_records) {
    static const way how = {NULL, 1, 0, 4};
    static const char *const options[] = {"headvis=own,window=8,contexts=3", "contexts=2"};
    char path[] = "/tmp/psc-contexts-XXXXXX", *bytes = NULL;
    size_t size = 0;
    uint64_t seed = 5;
    int refused = 0;
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int which = 0; which < 2; which++) {
        psc_session *session = open_session(model, &how, options[which]);
        run_documents(session, how.batch);
        cr_assert_eq(psc_session_state_save(session, path, NULL, 0, &error), PSC_OK);
        psc_session_close(&session);
        cr_assert_eq(psc_read_file(&bytes, &size, path, 1 << 26, &error), PSC_OK);
        for (int i = 0; i < 150; i++) {
            damage(path, bytes, size, &seed);
            session = open_session(model, &how, options[which]);
            error.message[0] = 0;
            if (psc_session_state_load(session, path, &error) != PSC_OK ||
                psc_session_report(session, NULL, &error) != PSC_OK) {
                cr_assert_gt(strlen(error.message), 10);
                refused += strstr(error.message, "damaged record") != NULL;
            }
            psc_session_close(&session);
        }
        free(bytes);
    }
    cr_assert_gt(refused, 20);
    remove(path);
    psc_model_close(&model);
}

Test(attention_contexts, sequences_that_continue) {
    static const way how = {NULL, 1, 0, 1};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = open_session(model, &how, "contexts=2");
    const psc_token tokens[] = {{.id = 1}, {.id = 2}, {.id = 3}};
    const psc_input input = {0, 3, tokens};
    psc_document document = {0, 0};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.documents = &document;
    cr_assert_eq(psc_session_run(session, &input, 1, &options, &error), PSC_OK);
    cr_assert_neq(psc_session_run(session, &input, 1, &options, &error), PSC_OK);
    cr_assert(strstr(error.message, "whole windows"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* --- texts ----------------------------------------------------------------------------------- */

Test(attention_contexts, keys_of_a_row) {
    const float a[] = {0.005f, 0.0049f, 0.2f, 0.01f, 0.01f, 0.3f, 0.02f, 0.1f, 0.01f, 0.11f, 1.0f};
    uint16_t keys[HEADVIS_KEYS] = {0}, weights[HEADVIS_KEYS] = {0};
    attention_record_keys(11, a, keys, weights);
    const uint16_t want_keys[] = {2, 3, 4, 5, 6, 7, 9, 10}; /* of the three 0.01 the lower two */
    const uint16_t want_weights[] = {2000, 100, 100, 3000, 200, 1000, 1100, 10000};
    cr_assert_arr_eq(keys, want_keys, sizeof keys);
    cr_assert_arr_eq(weights, want_weights, sizeof weights);
    memset(keys, 0, sizeof keys);
    memset(weights, 0, sizeof weights);
    attention_record_keys(2, a, keys, weights);
    cr_assert(weights[0] == 50 && weights[1] == 0 && keys[1] == 0);
}

static void expect_string(const char *bytes, size_t n, const char *wanted) {
    psc_growing text = {0};
    headvis_put_string(&text, bytes, n);
    cr_assert_str_eq(text.data, wanted);
    free(text.data);
}

#define STRING(bytes, wanted) expect_string(bytes, sizeof(bytes) - 1, "\"" wanted "\"")
#define BROKEN "\xef\xbf\xbd"

Test(attention_contexts, strings) {
    STRING("", "");
    STRING("a\"b\\c\n\x01\x7f</script>", "a\\\"b\\\\c\\u000a\\u0001\\u007f</script>");
    STRING("a\0b", "a" BROKEN "b");
    STRING("h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    STRING("\xc3", BROKEN);     /* the start of a character is one U+FFFD, */
    STRING("\xe2\x82", BROKEN); /* as in Python */
    STRING("\xf0\x9f\x98x", BROKEN "x");
    STRING("\xed\xa0\x80", BROKEN BROKEN BROKEN); /* a surrogate */
    STRING("\xc0\xaf\xff", BROKEN BROKEN BROKEN);
    STRING("\xe0\x80\x80", BROKEN BROKEN BROKEN); /* too long a form */
    STRING("\xf4\x90\x80\x80", BROKEN BROKEN BROKEN BROKEN);
    STRING("\xe2\xe2\x82\xac", BROKEN "\xe2\x82\xac");
}

Test(attention_contexts, numbers) {
    static const struct {
        double value;
        const char *wanted;
    } cases[] = {{0, "0.0000"}, {1, "1.0000"}, {0.12346, "0.1235"}, {-0.00001, "0.0000"},
        {-2.5, "-2.5000"}, {123456.78904, "123456.7890"}, {NAN, "null"}, {INFINITY, "null"},
        {1e300, "null"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        psc_growing text = {0};
        headvis_put_number(&text, cases[i].value);
        cr_assert_str_eq(text.data, cases[i].wanted);
        free(text.data);
    }
}
