/* A corpus of folders, lines and packed files while calls of the system or memory fail, each
 * in turn, once and from there on: reading gives the undisturbed windows, leaves documents out
 * and counts them, or ends with one sentence. Reading, telling and returning to a place go on
 * as before afterwards. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "failing_calls.h"
#include "failing_malloc.h"
#include "golden.h"
#include "psc_corpus.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

static char folder[] = "/tmp/psc-corpus-calls-XXXXXX";
static psc_model *model;
static psc_error error;

/* --- the files ------------------------------------------------------------------------------- */

static void save(const char *name, const void *data, size_t n) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(data, 1, n, file) == n && fclose(file) == 0);
}

static const char lines[] = "{\"text\": \"The sun rose over the sea.\"}\n"
                            "{\"text\": 7}\nno object\n\n"
                            "{\"id\": 3, \"text\": \"The mill stood by the river.\"}\n";

static size_t gzip(char *out, size_t room, const char *data, size_t n) {
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)data, .avail_in = (uInt)n};
    cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_out = (unsigned char *)out;
    z.avail_out = (uInt)room;
    cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

static void make_files(void) {
    char packed[2000], path[200];
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/in", folder);
    cr_assert_eq(mkdir(path, 0777), 0);
    save("a.txt", "It was a long way to the sea.", 29);
    save("in/b.md", "\xef\xbb\xbfThe old mill.", 16);
    save("c.jsonl", lines, sizeof lines - 1);
    save("in/d.jsonl.gz", packed, gzip(packed, sizeof packed, lines, sizeof lines - 1));
    save("e.txt.zst", packed, ZSTD_compress(packed, sizeof packed, "The end of it all.", 18, 3));
}

static void remove_files(void) {
    char command[100];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    cr_assert_eq(system(command), 0);
}

/* --- reading --------------------------------------------------------------------------------- */

typedef struct reading {
    int64_t documents, skipped, tokens, sum;
} reading;

typedef struct way {
    int64_t sample;
    bool by_size, as_stream, resumed;
} way;

static psc_status open_it(psc_corpus **out, FILE **stream, const way *w) {
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    const char *const paths[] = {folder};
    char path[200];
    options.window = 6;
    options.sample = w->sample;
    if (w->by_size) options.shard = options.n_shards = options.by_size = 1;
    if (!w->as_stream) return psc_corpus_open(out, model, paths, 1, &options, &error);
    snprintf(path, sizeof path, "%s/in/d.jsonl.gz", folder);
    *stream = fopen(path, "rb");
    if (!*stream) return psc_fail(&error, PSC_ERROR_IO, "the test's own file cannot be opened");
    return psc_corpus_open_stream(out, model, *stream, "standard input", &options, &error);
}

/* To the place of c in a fresh corpus, as after a restart. */
static psc_status restart(psc_corpus **c, const way *w) {
    char *place = NULL;
    FILE *none = NULL;
    psc_status status = psc_corpus_tell(&place, *c, &error);
    psc_corpus_close(c);
    if (!status) status = open_it(c, &none, w);
    if (!status) status = psc_corpus_seek(*c, place, &error);
    psc_free(place);
    return status;
}

static psc_status read_all(reading *out, const way *w) {
    const int64_t places[] = {1, 31, 977};
    psc_corpus *c = NULL;
    FILE *stream = NULL;
    psc_window window = {.n = 1};
    *out = (reading){0};
    psc_status status = open_it(&c, &stream, w);
    for (int n = 0; !status && window.n > 0; n++) {
        if (w->resumed && n % 3 == 2) status = restart(&c, w);
        if (!status) status = psc_corpus_next(&window, c, &error);
        for (int32_t i = 0; !status && i < window.n; i++)
            out->sum += window.tokens[i].id * places[out->tokens++ % 3];
    }
    if (!status) {
        psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
        psc_corpus_get_totals(&totals, c);
        out->documents = totals.documents;
        out->skipped = totals.skipped;
    }
    psc_corpus_close(&c);
    if (stream) fclose(stream);
    calls_back();
    memory_back();
    return status;
}

/* whole: of an undisturbed reading. What is read is a part of it, and what
 * is missing is counted. */
static void check(psc_status status, const reading *found, const reading *whole, long i) {
    if (status) {
        cr_assert(*error.message, "%ld", i);
        return;
    }
    cr_assert(found->tokens <= whole->tokens && found->documents <= whole->documents);
    if (found->documents == whole->documents && found->skipped == whole->skipped)
        cr_assert(found->tokens < whole->tokens || found->sum == whole->sum, "call %ld, %s", i,
            calls_failed);
    if (found->documents < whole->documents)
        cr_assert_gt(
            found->skipped, whole->skipped - whole->documents, "call %ld, %s", i, calls_failed);
}

static void fail_each(const way *w, int reason) {
    reading whole, found;
    calls_fail_at(0, 0, false);
    cr_assert_eq(read_all(&whole, w), PSC_OK, "%s", error.message);
    const long n = calls_made;
    cr_assert(whole.tokens > 10 && (!CALLS_FAIL || n > 0), "%ld calls", n);
    for (long i = 1; i <= n; i += 1 + n / 100)
        for (int on = 0; on < 1 + (reason != EINTR); on++) {
            error = (psc_error){PSC_OK, ""};
            calls_fail_at(i, reason, on);
            const psc_status status = read_all(&found, w);
            check(status, &found, &whole, i);
        }
    cr_assert_eq(read_all(&found, w), PSC_OK, "%s", error.message);
    cr_assert_eq(memcmp(&found, &whole, sizeof whole), 0);
}

static void fail_memory(const way *w) {
    reading whole, found;
    memory_fail_at(0, false);
    cr_assert_eq(read_all(&whole, w), PSC_OK, "%s", error.message);
    const long n = memory_requests;
    for (long i = 1; i <= n; i += 1 + n / 250)
        for (int on = 0; on < 2; on++) {
            error = (psc_error){PSC_OK, ""};
            memory_fail_at(i, on);
            const psc_status status = read_all(&found, w);
            cr_assert(status == PSC_OK || strstr(error.message, "memory") ||
                          strstr(error.message, "the test's own"),
                "request %ld of %ld: %d, %s", i, n, status, error.message);
            if (status == PSC_OK)
                cr_assert_eq(memcmp(&found, &whole, sizeof whole), 0,
                    "request %ld of %ld: %d documents, %d skipped", i, n, (int)found.documents,
                    (int)found.skipped);
        }
}

static void fail_way(const way *w) {
    if (!golden_embedded()) return;
    model = must_model(golden_embedded());
    make_files();
    fail_each(w, EIO);
    fail_each(w, EACCES);
    fail_each(w, EMFILE);
    fail_each(w, EINTR);
    fail_memory(w);
    remove_files();
    psc_model_close(&model);
}

Test(corpus_calls, all_documents) {
    fail_way(&(way){0});
}

Test(corpus_calls, a_sample_that_is_resumed) {
    fail_way(&(way){.sample = 4, .resumed = true});
}

Test(corpus_calls, a_part_by_size) {
    fail_way(&(way){.by_size = true});
}

Test(corpus_calls, a_stream) {
    fail_way(&(way){.as_stream = true});
}
