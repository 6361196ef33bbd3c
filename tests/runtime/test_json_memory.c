/* JSON that is written or read while memory runs out: each of jansson's requests fails in
 * turn. Each time the call fails with PSC_ERROR_MEMORY, nothing leaks, and files and
 * sessions stay as they were. */
#include "failing_json.h"
#include "files.h"
#include "golden.h"
#include "json.h"
#include "psc_corpus.h"
#include "tensors_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static psc_error error;
static char path[] = "/tmp/psc-json-XXXXXX";

static void make_file(const char *text) {
    const int file = mkstemp(path);
    cr_assert_geq(file, 0);
    cr_assert_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
}

/* Calls `call` once as it is, which must succeed, and once for each request that it made. */
static void fail_each(psc_status (*call)(void), long least) {
    json_fail_at(0);
    cr_assert_eq(call(), PSC_OK, "%s", error.message);
    const long n = json_requests, held = json_held;
    cr_assert_geq(n, least, "%ld requests", n);
    for (long i = 1; i <= n; i++) {
        json_fail_at(i);
        const psc_status status = call();
        cr_assert_eq(status, PSC_ERROR_MEMORY, "request %ld of %ld: %s", i, n, error.message);
        cr_assert_eq(json_held, held, "request %ld of %ld leaks", i, n);
    }
    json_fail_at(0);
    cr_assert_eq(call(), PSC_OK, "%s", error.message);
}

/* --- a value as text ------------------------------------------------------------------------- */

static json_t *value;

/* All or nothing: json_dumps would leave a key out. */
static psc_status dump(void) {
    char *text = psc_json_dump(value, JSON_COMPACT);
    if (text) cr_assert_str_eq(text, "{\"a key of the object\":{\"a key in it\":[1,2,3]}}");
    free(text);
    return text ? PSC_OK : PSC_ERROR_MEMORY;
}

Test(json_memory, a_value_as_text) {
    value = json_pack("{s:{s:[i,i,i]}}", "a key of the object", "a key in it", 1, 2, 3);
    fail_each(dump, 1);
    json_decref(value);
}

/* --- tensors --------------------------------------------------------------------------------- */

static psc_status write_tensors(void) {
    static const float data[6] = {1, 2, 3, 4, 5, 6};
    static const int64_t shape[2] = {2, 3};
    static const psc_file_tensor tensors[2] = {
        {"first tensor", "F32", 4, 2, shape, data}, {"second tensor", "F32", 4, 1, shape, data}};
    static const char *const metadata[1][2] = {{"a name", "a value"}};
    FILE *file = fopen(path, "wb");
    psc_status status = psc_tensors_write(file, 2, tensors, 1, metadata, &error);
    cr_assert_eq(ftell(file) > 0, status == PSC_OK, "a part was written");
    fclose(file);
    return status;
}

Test(json_memory, tensors) {
    make_file("");
    fail_each(write_tensors, 20);
    unlink(path);
}

/* --- the place in a corpus ------------------------------------------------------------------- */

static psc_corpus *corpus;
static char *place;

static psc_status tell(void) {
    char *again = NULL;
    psc_status status = psc_corpus_tell(&again, corpus, &error);
    if (again) cr_assert_str_eq(again, place);
    psc_free(again);
    return status;
}

static psc_status seek(void) {
    return psc_corpus_seek(corpus, place, &error);
}

Test(json_memory, a_place) {
    if (!golden_embedded()) return;
    psc_model *model = must_model(golden_embedded());
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    psc_window window;
    const char *const paths[] = {path};
    options.window = 4;
    make_file("the sun rose over the sea");
    cr_assert_eq(psc_corpus_open(&corpus, model, paths, 1, &options, &error), PSC_OK);
    cr_assert_eq(psc_corpus_next(&window, corpus, &error), PSC_OK);
    cr_assert_eq(psc_corpus_tell(&place, corpus, &error), PSC_OK);
    fail_each(tell, 20);
    fail_each(seek, 20);
    cr_assert_eq(psc_corpus_next(&window, corpus, &error), PSC_OK);
    cr_assert_eq(window.document.first, 4);
    psc_free(place);
    psc_corpus_close(&corpus);
    psc_model_close(&model);
    unlink(path);
}

/* --- a state file ---------------------------------------------------------------------------- */

static psc_session *session;
static char *saved; /* the file */
static size_t n_saved;

static psc_status save(void) {
    char *bytes = NULL;
    size_t n = 0;
    psc_status status = psc_session_state_save(session, path, "client", 6, &error);
    if (!saved) cr_assert_eq(psc_read_file(&saved, &n_saved, path, 1 << 24, &error), PSC_OK);
    cr_assert_eq(psc_read_file(&bytes, &n, path, 1 << 24, &error), PSC_OK);
    cr_assert(n == n_saved && memcmp(bytes, saved, n) == 0, "the file has changed");
    free(bytes);
    return status;
}

static psc_status load(void) {
    return psc_session_state_load(session, path, &error);
}

Test(json_memory, a_state_file) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    const psc_token tokens[] = {{3, 0, 0}, {5, 0, 0}, {7, 0, 0}};
    const psc_input input = {0, 3, tokens};
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    options.accumulate = 1;
    run.no_logits = 1;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    cr_assert_eq(psc_session_plugin(session, "ln", NULL, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_run(session, &input, 1, &run, &error), PSC_OK, "%s", error.message);
    make_file("");
    fail_each(save, 60);
    fail_each(load, 100);
    save(); /* what was loaded is what was saved */
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    free(saved);
    psc_session_close(&session);
    psc_model_close(&model);
    unlink(path);
}
