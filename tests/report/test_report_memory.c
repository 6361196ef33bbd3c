/* Results that are written into memory while it runs out: each request fails in turn, once and for
 * good. The call gives the whole text or PSC_ERROR_MEMORY, never a text that lacks something. */
#include "failing_malloc.h"
#include "memory_stream.h"
#include "report.h"
#include "results_fixture.h"

#include "psc_results.h"

/* --- the stream ------------------------------------------------------------------------------ */

enum { LINES = 2000 };

/* The text of all lines; null if memory ran out. */
static char *write_lines(size_t *bytes) {
    psc_memory_stream memory;
    char *text;
    if (!psc_memory_open(&memory)) return NULL;
    for (int i = 0; i < LINES; i++) fprintf(memory.file, "line %d\n", i);
    return psc_memory_close(&text, bytes, &memory) ? text : NULL;
}

static void fail_lines(bool on) {
    size_t whole, bytes;
    memory_fail_at(0, false);
    char *text = write_lines(&whole);
    const long n = memory_back();
    cr_assert(text && strlen(text) == whole);
    for (long i = 1; i <= n; i++) {
        memory_fail_at(i, on);
        char *again = write_lines(&bytes);
        memory_back();
        if (again) cr_assert_str_eq(again, text, "request %ld of %ld", i, n);
        free(again);
    }
    cr_assert(!MEMORY_FAILS || n > 3, "%ld requests", n);
    free(text);
}

Test(report_memory, a_stream) {
    fail_lines(false);
    fail_lines(true);
}

Test(report_memory, an_empty_stream) {
    psc_memory_stream memory;
    char *text;
    size_t bytes;
    cr_assert(psc_memory_open(&memory));
    cr_assert(psc_memory_close(&text, &bytes, &memory));
    cr_assert(bytes == 0 && text[0] == 0);
    free(text);
}

/* --- the formats ----------------------------------------------------------------------------- */

static void fail_format(const psc_results *results, psc_format format, bool on, long step) {
    psc_error error = {0};
    char *whole, *text;
    memory_fail_at(0, false);
    const psc_status absent = psc_results_write_memory(&whole, NULL, results, format, NULL, &error);
    const long n = memory_back();
    if (absent == PSC_ERROR_SUPPORT) return; /* a build without pages */
    cr_assert_eq(absent, PSC_OK, "%s", error.message);
    for (long i = 1; i <= n; i += step) {
        memory_fail_at(i, on);
        const psc_status status =
            psc_results_write_memory(&text, NULL, results, format, NULL, &error);
        memory_back();
        if (text) cr_assert_str_eq(text, whole, "request %ld of %ld", i, n);
        cr_assert_eq(status, text ? PSC_OK : PSC_ERROR_MEMORY, "request %ld of %ld: %s", i, n,
            error.message);
        psc_free(text);
    }
    psc_free(whole);
}

Test(report_memory, results_in_each_format) {
    psc_results *results = make_results();
    for (int on = 0; on < 2; on++) {
        fail_format(results, PSC_FORMAT_JSON, on, 1);
        fail_format(results, PSC_FORMAT_TEXT, on, 1);
        fail_format(results, PSC_FORMAT_HTML, on, 3);
    }
    psc_results_close(&results);
}

/* The other file of a folder. */
Test(report_memory, tensors) {
    psc_results *results = make_results();
    psc_memory_stream memory;
    psc_error error = {0};
    char *text;
    size_t bytes;
    long n = 1;
    for (long i = 0; i <= n; i++) {
        cr_assert(psc_memory_open(&memory));
        memory_fail_at(i, true);
        const psc_status status = psc_report_tensors(results, memory.file, &error);
        const long asked = memory_back();
        if (i == 0) n = asked;
        const bool whole = psc_memory_close(&text, &bytes, &memory);
        if (whole) free(text);
        if (i == 0) cr_assert_eq(status, PSC_OK, "%s", error.message);
        if (i > 0) /* of the stream's own memory only the stream tells */
            cr_assert_eq(status, whole ? PSC_ERROR_MEMORY : PSC_ERROR_IO, "request %ld of %ld: %s",
                i, n, error.message);
    }
    cr_assert(!MEMORY_FAILS || n > 3, "%ld requests", n);
    psc_results_close(&results);
}
