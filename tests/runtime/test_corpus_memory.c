/* A corpus that is read while memory runs out: each request fails in turn, once and for good. The
 * reading ends with a sentence of that or has every document; no good line is
 * left out as a bad one. */
#define _DEFAULT_SOURCE /* mkstemps */
#include "failing_malloc.h"
#include "golden.h"
#include "psc_corpus.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char lines[] =
    "{\"id\": 12345678901234567, \"text\": \"The sun rose over the sea of glass, and it was red.\"}\n"
    "{\"a key of more than sixteen bytes\": {\"in\": [1.25, NaN]}, \"text\": \"caf\\u00e9 \\\"au lait\\\"\"}\n"
    "no object\n"
    "{\"text\": \"A last line with an escape \\\\ in it and some more words to make it longer.\"}\n";

typedef struct reading {
    int64_t documents, skipped, tokens, sum;
} reading;

static psc_model *model;
static psc_error error;
static char path[] = "/tmp/psc-corpus-XXXXXX.jsonl";

static psc_status read_all(reading *out) {
    psc_corpus *corpus = NULL;
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    psc_window window;
    const char *const paths[] = {path};
    const int64_t places[] = {1, 31, 977};
    *out = (reading){0};
    options.window = 8;
    psc_status status = psc_corpus_open(&corpus, model, paths, 1, &options, &error);
    while (!status && !(status = psc_corpus_next(&window, corpus, &error)) && window.n > 0)
        for (int32_t i = 0; i < window.n; i++)
            out->sum += window.tokens[i].id * places[(out->tokens++) % 3];
    if (corpus) {
        psc_corpus_totals totals = {.struct_size = sizeof totals};
        psc_corpus_get_totals(&totals, corpus);
        out->documents = totals.documents;
        out->skipped = totals.skipped;
    }
    psc_corpus_close(&corpus);
    return status;
}

static void fail_each(bool on) {
    reading whole, part;
    memory_fail_at(0, false);
    cr_assert_eq(read_all(&whole), PSC_OK, "%s", error.message);
    const long n = memory_back();
    cr_assert(whole.documents == 3 && whole.skipped == 1 && whole.tokens > 30);
    for (long i = 1; i <= n; i++) {
        memory_fail_at(i, on);
        const psc_status status = read_all(&part);
        memory_back();
        cr_assert(status == PSC_OK || strstr(error.message, "memory"), "request %ld of %ld: %s", i,
            n, error.message);
        if (status == PSC_OK)
            cr_assert_eq(
                memcmp(&part, &whole, sizeof part), 0, "request %ld of %ld: left out", i, n);
    }
    cr_assert(!MEMORY_FAILS || n > 50, "%ld requests", n);
}

Test(corpus_memory, jsonl) {
    if (!golden_embedded()) return;
    model = must_model(golden_embedded());
    const int file = mkstemps(path, 6);
    cr_assert(file >= 0 && write(file, lines, sizeof lines - 1) == (ssize_t)sizeof lines - 1);
    close(file);
    fail_each(false);
    fail_each(true);
    unlink(path);
    psc_model_close(&model);
}
