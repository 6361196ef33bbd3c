/* What a corpus refuses, each with its sentence: options out of range, lists, streams; recorded
 * places whose members and names of files are of another kind; what a stream may begin with. */
#define _POSIX_C_SOURCE 200809L /* fmemopen */
#include "golden.h"
#include "psc_corpus.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static psc_model *model;
static psc_corpus *corpus;
static psc_error error;
static char path[] = "/tmp/psc-refusals-XXXXXX";
static const char *paths[] = {path};

static void begin(void) {
    if (!golden_embedded()) cr_skip_test("without the embedded model");
    model = must_model(golden_embedded());
    const int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    cr_assert(file && fputs("The sun rose over the sea, and it was red.", file) >= 0);
    fclose(file);
}

static void end(void) {
    psc_corpus_close(&corpus);
    psc_model_close(&model);
    unlink(path);
}

TestSuite(corpus_refusals, .init = begin, .fini = end);

static void said(psc_status got, psc_status expected, const char *sentence) {
    cr_assert_eq(got, expected, "%d: %s", got, error.message);
    cr_assert_str_eq(error.message, sentence, "%s", error.message);
}

/* --- options --------------------------------------------------------------------------------- */

static void refused(psc_corpus_options options, const char *sentence) {
    said(psc_corpus_open(&corpus, model, paths, 1, &options, &error), PSC_ERROR_INPUT, sentence);
    cr_assert_null(corpus);
}

static psc_corpus_options plain(void) {
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    options.window = 4;
    return options;
}

Test(corpus_refusals, parts) {
    static const int32_t bad[][2] = {{1, 0}, {0, 1}, {-1, 2}, {3, 2}, {1, -1}, {0, 2}, {1, 65537}};
    char sentence[100];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        psc_corpus_options o = plain();
        o.shard = bad[i][0];
        o.n_shards = bad[i][1];
        snprintf(sentence, sizeof sentence, "part %d/%d of the corpus does not exist", (int)o.shard,
            (int)o.n_shards);
        refused(o, sentence);
    }
    psc_corpus_options o = plain();
    o.shard = o.n_shards = PSC_CORPUS_SHARDS;
    cr_assert_eq(
        psc_corpus_open(&corpus, model, paths, 1, &o, &error), PSC_OK, "%s", error.message);
}

Test(corpus_refusals, limits_and_samples) {
    static const char words[] = "documents and a seed that is not negative";
    psc_corpus_options o = plain();
    o.limit = -1;
    refused(o, "the token limit is negative");
    o = plain();
    o.sample = -1;
    cr_assert_eq(psc_corpus_open(&corpus, model, paths, 1, &o, &error), PSC_ERROR_INPUT);
    cr_assert(strstr(error.message, words), "%s", error.message);
    o.sample = INT64_MAX;
    cr_assert_eq(psc_corpus_open(&corpus, model, paths, 1, &o, &error), PSC_ERROR_INPUT);
    o.sample = 1;
    o.seed = -1;
    cr_assert_eq(psc_corpus_open(&corpus, model, paths, 1, &o, &error), PSC_ERROR_INPUT);
    cr_assert(strstr(error.message, words));
}

Test(corpus_refusals, windows) {
    const int32_t most = psc_model_get_info(model)->n_ctx, bad[] = {-1, most + 1};
    char sentence[100];
    for (int i = 0; i < 2; i++) {
        psc_corpus_options o = plain();
        o.window = bad[i];
        snprintf(sentence, sizeof sentence,
            "a window of %d tokens is not possible; it must have 1 to %d, the model's context",
            (int)bad[i], (int)most);
        refused(o, sentence);
    }
}

Test(corpus_refusals, strides) {
    psc_corpus_options o = plain();
    static const int32_t bad[] = {-1, 4, 5};
    char sentence[100];
    for (int i = 0; i < 3; i++) {
        o.stride = bad[i];
        snprintf(sentence, sizeof sentence,
            "a stride of %d is not possible; these windows need one of 1 to 3", (int)bad[i]);
        refused(o, sentence);
    }
    o.bos = 1;
    o.stride = 3;
    refused(o, "a stride of 3 is not possible; these windows need one of 1 to 2");
    o = plain();
    o.window = o.stride = 1;
    refused(o, "a stride of 1 is not possible: windows of 1 token cannot overlap");
}

Test(corpus_refusals, lists) {
    psc_corpus_options o = plain();
    said(psc_corpus_open(&corpus, model, paths, 0, &o, &error), PSC_ERROR_INPUT,
        "a corpus needs at least one file or folder");
    o.n_listed = -1;
    refused(o, "of 1 paths, -1 cannot be from a list");
    o.n_listed = 2;
    refused(o, "of 1 paths, 2 cannot be from a list");
}

/* --- streams --------------------------------------------------------------------------------- */

/* The documents of a stream of these bytes. */
static int64_t documents_of(const char *bytes, const char *field) {
    psc_corpus_options options = plain();
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    psc_window window;
    char copy[200];
    options.field = field;
    snprintf(copy, sizeof copy, "%s", bytes);
    FILE *stream = fmemopen(copy, strlen(copy), "r");
    cr_assert(stream);
    cr_assert_eq(psc_corpus_open_stream(&corpus, model, stream, "stdin", &options, &error), PSC_OK);
    do cr_assert_eq(psc_corpus_next(&window, corpus, &error), PSC_OK, "%s", error.message);
    while (window.n > 0);
    psc_corpus_get_totals(&totals, corpus);
    psc_corpus_close(&corpus);
    fclose(stream);
    return totals.documents;
}

Test(corpus_refusals, what_a_stream_begins_with) {
    static const char two[] = "{\"text\": \"a b\"}\n{\"text\": \"c d\"}\n";
    char blanks[100];
    snprintf(blanks, sizeof blanks, " \t\r\n%s", two);
    cr_assert_eq(documents_of(two, NULL), 2);
    cr_assert_eq(documents_of(blanks, NULL), 2, "blanks in front of the first line");
    cr_assert_eq(documents_of("a {\"text\": \"a b\"}\n{}\n", NULL), 1, "one text");
    cr_assert_eq(documents_of(" \n\t ", NULL), 1, "blanks alone");
    cr_assert_eq(documents_of("{\"other\": \"a b\"}\n \t\r\nno object\n", "other"), 1);
    cr_assert_eq(documents_of("[1]\n7\n{\"other\": \"a b\"}\n{\"other\": 7}\n", "other"), 1);
}

Test(corpus_refusals, streams) {
    psc_corpus_options o = plain();
    said(psc_corpus_open_stream(&corpus, model, NULL, "stdin", &o, &error), PSC_ERROR_INPUT,
        "the stream or its name is null");
    said(psc_corpus_open_stream(&corpus, model, stdin, NULL, &o, &error), PSC_ERROR_INPUT,
        "the stream or its name is null");
    o.by_size = 1;
    said(psc_corpus_open_stream(&corpus, model, stdin, "stdin", &o, &error), PSC_ERROR_INPUT,
        "parts by size need files, whose sizes are known; split other sources by document");
    o = plain();
    o.sample = 3;
    said(psc_corpus_open_stream(&corpus, model, stdin, "stdin", &o, &error), PSC_ERROR_INPUT,
        "a sample needs files: their documents are counted first, and other sources are read once");
}

/* --- places ---------------------------------------------------------------------------------- */

static char *place;

/* The place with `from` replaced by `to`. */
static void changed(const char *from, const char *to, const char *sentence) {
    char text[4000];
    const char *at = strstr(place, from);
    cr_assert(at, "%s is not in %s", from, place);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - place), place, to, at + strlen(from));
    said(psc_corpus_seek(corpus, text, &error), PSC_ERROR_INPUT, sentence);
}

#define INVALID "the recorded position in the corpus is invalid: "
#define HASH "\"corpus\":\""

Test(corpus_refusals, recorded_places) {
    static const char entry[] =
        INVALID "files has an entry that is not a path, a number and whether it is JSONL";
    psc_corpus_options o = plain();
    psc_window window;
    cr_assert_eq(
        psc_corpus_open(&corpus, model, paths, 1, &o, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_corpus_next(&window, corpus, &error), PSC_OK);
    cr_assert_eq(psc_corpus_tell(&place, corpus, &error), PSC_OK);
    changed(HASH, "\"corpus\":\"g", INVALID "corpus must be 32 hexadecimal digits");
    changed(HASH, "\"corpus\":7,\"x\":\"", INVALID "corpus must be 32 hexadecimal digits");
    changed(HASH, "\"read\":7," HASH, INVALID "read must be 32 hexadecimal digits");
    changed(HASH, "\"shard_by\":\"name\"," HASH, INVALID "shard_by must be size");
    changed(HASH, "\"shard_by\":7," HASH, INVALID "shard_by must be size");
    changed("\"window\":4", "\"window\":4.5", INVALID "window must be an integer");
    changed("\"window\":4", "\"windov\":4", INVALID "window must be an integer");
    changed("\"window\":4", "\"window\":-4", INVALID "window is out of range");
    changed("\"shard\":0", "\"shard\":1", INVALID "shard is out of range");
    changed("\"n_shards\":0", "\"n_shards\":2", INVALID "shard is out of range");
    changed("\"files\":[", "\"files\":7,\"x\":[", INVALID "files must be a list");
    changed("\"files\":[[", "\"files\":[[7,", entry);
    changed("\"files\":[[", "\"files\":[7,[", entry);
    changed(",false]]", ",7]]", entry);
    changed(",false]]", ",false,false]]", entry);
    changed(",0,false]]", ",0.5,false]]", entry);
    changed(
        ",0,false]]", ",-2,false]]", INVALID "files has a document's number that is out of order");
    changed(
        ",0,false]]", ",9,false]]", INVALID "files has a document's number that is out of order");
    changed(",0,false]]", ",0,false],[\"x\",0,false]]",
        INVALID "files has more entries than the corpus");
    cr_assert_eq(psc_corpus_seek(corpus, place, &error), PSC_OK, "%s", error.message);
    said(
        psc_corpus_seek(corpus, "[1]", &error), PSC_ERROR_INPUT, INVALID "it is not a JSON object");
    said(psc_corpus_seek(corpus, "{", &error), PSC_ERROR_INPUT, INVALID "it is not a JSON object");
    psc_free(place);
}
