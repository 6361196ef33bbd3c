/* Packed weights while calls of the system or memory fail, each in turn, once and from there on. A
 * model opens, with the weights of an undisturbed opening, or says one sentence; the folder never
 * has a file that lies. The next opening is undisturbed. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "failing_calls.h"
#include "failing_malloc.h"
#include "weights_cache_fixture.h"

TestSuite(weights_cache_calls, .init = fixture_open, .fini = fixture_close);

static const char *variant; /* the model's folder */
static char good_hash[33];
static psc_error error;

/* Time passes at once. */
int nanosleep(const struct timespec *length, struct timespec *left) {
    (void)length, (void)left;
    return 0;
}

static psc_status open_it(void) {
    psc_model *model = NULL;
    psc_model_options options = PSC_MODEL_OPTIONS_INIT;
    options.cache_dir = kept();
    options.cache_least = 1;
    const psc_status status = psc_model_open_with(&model, variant, &options, &error);
    calls_back();
    memory_back();
    if (model) cr_assert_str_eq(psc_model_get_info(model)->hash, good_hash);
    psc_model_close(&model);
    return status;
}

static void empty_folder(void) {
    remove_folder(kept());
}

static void check(psc_status status, long i, const char *how) {
    int32_t n = 0;
    cr_assert(status == PSC_OK || (error.status == status && *error.message), "%s %ld", how, i);
    cr_assert_eq(open_it(), PSC_OK, "%s %ld: %s", how, i, error.message);
    psc_cache_entry *list = NULL;
    cr_assert_eq(psc_cache_list(&list, &n, kept(), &error), PSC_OK, "%s", error.message);
    for (int32_t k = 0; k < n; k++)
        cr_assert_eq(psc_cache_verify(kept(), list[k].name, &error), PSC_OK, "%s %ld: %s", how, i,
            error.message);
    cr_assert_eq(n, 1, "%s %ld: %d files of packed weights", how, i, (int)n);
    psc_free(list);
}

/* n: calls or requests of an opening; full: the folder has the weights already. */
static void fail_calls(bool full, int reason, bool on) {
    empty_folder();
    if (full) cr_assert_eq(open_it(), PSC_OK, "%s", error.message);
    calls_fail_at(0, 0, false);
    cr_assert_eq(open_it(), PSC_OK, "%s", error.message);
    const long n = calls_made;
    cr_assert(!CALLS_FAIL || n > 20, "%ld calls", n);
    for (long i = 1; i <= n; i += 1 + n / 80) {
        if (!full) empty_folder();
        calls_fail_at(i, reason, on);
        const psc_status status = open_it();
        check(status, i, strerror(reason));
    }
}

static void fail_memory(bool full, bool on) {
    empty_folder();
    if (full) cr_assert_eq(open_it(), PSC_OK, "%s", error.message);
    memory_fail_at(0, false);
    cr_assert_eq(open_it(), PSC_OK, "%s", error.message);
    const long n = memory_requests;
    for (long i = 1; i <= n; i += 1 + n / 150) {
        if (!full) empty_folder();
        memory_fail_at(i, on);
        const psc_status status = open_it();
        cr_assert(status == PSC_OK || status == PSC_ERROR_MEMORY, "request %ld: %d, %s", i, status,
            error.message);
        check(status, i, "request");
    }
}

static void prepare(void) {
    psc_model *model = NULL;
    variant = copy_model("model", "parallel_f32");
    cr_assert_eq(psc_model_open(&model, variant, &error), PSC_OK, "%s", error.message);
    snprintf(good_hash, sizeof good_hash, "%s", psc_model_get_info(model)->hash);
    psc_model_close(&model);
    settle();
}

Test(weights_cache_calls, packing) {
    prepare();
    fail_calls(false, EIO, false);
    fail_calls(false, ENOSPC, true);
    fail_calls(false, EINTR, false);
}

Test(weights_cache_calls, mapping) {
    prepare();
    fail_calls(true, EIO, false);
    fail_calls(true, EACCES, true);
}

Test(weights_cache_calls, memory) {
    prepare();
    fail_memory(false, false);
    fail_memory(true, true);
}

/* --- the folder's own calls ------------------------------------------------------------------ */

static char name[64]; /* of the file of packed weights */

static psc_status list_it(void) {
    psc_cache_entry *list = NULL;
    int32_t n = 0;
    const psc_status status = psc_cache_list(&list, &n, kept(), &error);
    calls_back();
    memory_back();
    if (status) cr_assert(!list && n == 0);
    if (n > 0) cr_assert_str_eq(list->name, name);
    psc_free(list);
    return status == PSC_OK && n == 0 ? PSC_ERROR_IO : status; /* the folder looks absent */
}

static psc_status verify_it(void) {
    const psc_status status = psc_cache_verify(kept(), name, &error);
    calls_back();
    memory_back();
    return status;
}

static void fail_each(psc_status (*call)(void)) {
    static const int reasons[] = {EIO, EACCES, ENOMEM, EINTR, ENOENT};
    calls_fail_at(0, 0, false);
    cr_assert_eq(call(), PSC_OK, "%s", error.message);
    const long n = calls_made;
    for (int r = 0; r < 5; r++)
        for (long i = 1; i <= n; i++) {
            calls_fail_at(i, reasons[r], false);
            (void)call();
        }
    memory_fail_at(0, false);
    cr_assert_eq(call(), PSC_OK, "%s", error.message);
    const long m = memory_requests;
    for (long i = 1; i <= m; i++) {
        memory_fail_at(i, false);
        const psc_status status = call();
        cr_assert(status == PSC_OK || status == PSC_ERROR_MEMORY, "request %ld: %d, %s", i, status,
            error.message);
    }
    cr_assert_eq(call(), PSC_OK, "%s", error.message);
}

Test(weights_cache_calls, listing_verifying_clearing) {
    prepare();
    cr_assert_eq(open_it(), PSC_OK, "%s", error.message);
    snprintf(name, sizeof name, "%s", strrchr(only_file(), '/') + 1);
    fail_each(list_it);
    fail_each(verify_it);
    calls_fail_at(1, EIO, true);
    const psc_status status = psc_cache_clear(kept(), NULL, &error);
    calls_back();
    cr_assert(!CALLS_FAIL || status == PSC_ERROR_IO, "%d: %s", status, error.message);
    cr_assert_eq(psc_cache_clear(kept(), NULL, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(count_files(".psc"), 0);
    char sentence[900];
    cr_assert_eq(psc_cache_clear(kept(), "config.json", &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, "config.json is not a file of packed weights");
    cr_assert_eq(psc_cache_clear(kept(), name, &error), PSC_ERROR_IO);
    snprintf(
        sentence, sizeof sentence, "cannot remove %s/%s: No such file or directory", kept(), name);
    cr_assert_str_eq(error.message, sentence);
    empty_folder();
    cr_assert_eq(psc_cache_clear(kept(), name, &error), PSC_OK, "an absent folder has no files");
}
