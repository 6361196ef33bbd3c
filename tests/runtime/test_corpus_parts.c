/* Parts of a corpus by size: together they have every window of the whole once, with the same
 * numbers and names, and about as many bytes each. */
#include "source_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

enum { WINDOW = 40, MOST_WINDOWS = 20000, MOST_PARTS = 16 };

static char folder[] = "/tmp/psc-parts-XXXXXX";

static const char *in(const char *name) {
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *const words[] = {
    "the", "Emerald", "City", "of", "Oz", "was", "caf\303\251", "1900", "yellow", "road"};

/* n words, which `seed` chooses. */
static void words_of(char *out, size_t size, int n, uint32_t seed) {
    size_t used = 0;
    out[0] = 0;
    for (int i = 0; i < n && used + 20 < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        used += (size_t)snprintf(out + used, size - used, "%s ", words[(seed >> 16) % 10]);
    }
}

static void put_text(const char *name, int n, uint32_t seed) {
    char *text = malloc((size_t)n * 12 + 40);
    FILE *file = fopen(in(name), "w");
    cr_assert(file && text);
    words_of(text, (size_t)n * 12 + 40, n, seed);
    cr_assert_geq(fputs(text, file), 0);
    fclose(file);
    free(text);
}

/* Lines of very different lengths, blank ones, and some that are no JSON. */
static void put_lines(const char *name, int n, int words_each, bool packed) {
    static char text[4000], line[4100];
    FILE *file = packed ? NULL : fopen(in(name), "w");
    gzFile zipped = packed ? gzopen(in(name), "wb") : NULL;
    for (int i = 0; i < n; i++) {
        words_of(text, sizeof text, 1 + i * 7 % words_each, (uint32_t)i);
        snprintf(line, sizeof line, i % 11 == 5 ? "\n not JSON\n" : "{\"text\": \"%s\"}\n", text);
        if (packed)
            cr_assert_geq(gzputs(zipped, line), 0);
        else
            cr_assert_geq(fputs(line, file), 0);
    }
    if (file) fclose(file);
    if (zipped) gzclose(zipped);
}

static void remove_folder(void) {
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

/* A long text, short ones, lines plain and compressed, and empty files. */
static void make_mixed(void) {
    cr_assert(mkdtemp(folder));
    put_text("a.txt", 9000, 1);
    put_lines("b.jsonl", 400, 60, false);
    put_lines("c.jsonl.gz", 100, 60, true);
    put_lines("d.jsonl", 20, 200, false);
    for (int i = 0; i < 30; i++) {
        char name[20];
        snprintf(name, sizeof name, "e%02d.txt", i);
        put_text(name, i % 3 ? 20 * i : 0, (uint32_t)i);
    }
}

static psc_model *open_model(void) {
    psc_model *model = NULL;
    cr_assert_eq(psc_model_open(&model, PSC_SOURCE_DIR "/models/books-5m", &error), PSC_OK, "%s",
        error.message);
    return model;
}

static int32_t stride; /* of the windows; 0: they do not overlap */

static psc_corpus *open_part(const psc_model *model, int32_t shard, int32_t n) {
    const char *const path = folder;
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    psc_corpus *corpus = NULL;
    options.window = WINDOW;
    options.stride = stride;
    options.shard = shard;
    options.n_shards = n;
    options.by_size = 1;
    cr_assert_eq(
        psc_corpus_open(&corpus, model, &path, 1, &options, &error), PSC_OK, "%s", error.message);
    return corpus;
}

typedef struct seen {
    int64_t number, first;
    int32_t n, times;
    uint64_t hash; /* of its tokens */
} seen;

static uint64_t hash_of(const psc_window *w) {
    uint64_t hash = 14695981039346656037u;
    for (int32_t i = 0; i < w->n; i++) hash = (hash ^ (uint32_t)w->tokens[i].id) * 1099511628211u;
    return hash;
}

static int compare(const void *a, const void *b) {
    const seen *x = a, *y = b;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Every window of the corpus in order. */
static int list_windows(seen *out, psc_corpus *corpus) {
    int n = 0;
    for (psc_window w = {.n = 1}; w.n > 0;) {
        must_next(&w, corpus);
        cr_assert_lt(n, MOST_WINDOWS);
        if (w.n > 0) out[n++] = (seen){w.document.number, w.document.first, w.n, 0, hash_of(&w)};
    }
    return n;
}

static void tick(seen *whole, int n, const psc_window *w) {
    const seen key = {w->document.number, w->document.first, 0, 0, 0};
    seen *found = bsearch(&key, whole, (size_t)n, sizeof *whole, compare);
    cr_assert(found, "document %d at %d", (int)key.number, (int)key.first);
    cr_assert_eq(found->n, w->n);
    cr_assert_eq(found->hash, hash_of(w));
    found->times++;
}

/* Reads a part; in the middle of it a new corpus goes on from its position. Returns its place. */
static char *read_part(
    seen *whole, int n_whole, const psc_model *model, int32_t k, int32_t n, int64_t *tokens) {
    psc_corpus *corpus = open_part(model, k, n);
    psc_window w = {.n = 1};
    for (int i = 0; w.n > 0; i++) {
        must_next(&w, corpus);
        if (w.n > 0) tick(whole, n_whole, &w);
        if (i % 37 != 5) continue;
        char *place = place_of(corpus);
        psc_corpus_close(&corpus);
        corpus = open_part(model, k, n);
        cr_assert_eq(psc_corpus_seek(corpus, place, &error), PSC_OK, "%s", error.message);
        psc_free(place);
    }
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    psc_corpus_get_totals(&totals, corpus);
    *tokens = totals.tokens;
    char *place = place_of(corpus);
    psc_corpus_close(&corpus);
    return place;
}

static void check_parts(const psc_model *model, int32_t n, double most) {
    static seen whole[MOST_WINDOWS];
    static unsigned char parts[PSC_CORPUS_SHARDS];
    psc_corpus_totals added = PSC_CORPUS_TOTALS_INIT, all = PSC_CORPUS_TOTALS_INIT;
    int64_t tokens = 0, largest = 0;
    int32_t n_parts = 0;
    char identity[33];
    psc_corpus *corpus = open_part(model, 0, 0);
    const int n_windows = list_windows(whole, corpus);
    psc_corpus_get_totals(&all, corpus);
    psc_corpus_close(&corpus);
    memset(parts, 0, sizeof parts);
    for (int32_t k = 1; k <= n; k++) {
        char *place = read_part(whole, n_windows, model, k, n, &tokens);
        cr_assert_eq(psc_corpus_add_part(&added, identity, &n_parts, parts, place, &error), PSC_OK,
            "%s", error.message);
        if (tokens > largest) largest = tokens;
        psc_free(place);
    }
    for (int i = 0; i < n_windows; i++) cr_assert_eq(whole[i].times, 1);
    cr_assert_eq(added.documents, all.documents);
    cr_assert_eq(added.skipped, all.skipped);
    cr_assert_eq(added.windows, all.windows);
    cr_assert_eq(added.tokens, all.tokens);
    cr_assert_eq(added.numbered, all.numbered);
    cr_assert_leq((double)largest * n, most * (double)all.tokens, "%d parts: the largest has %.3f",
        (int)n, (double)largest * n / (double)all.tokens);
}

Test(corpus_parts, by_size_have_every_window_once, .init = make_mixed, .fini = remove_folder) {
    psc_model *model = open_model();
    const int32_t counts[] = {1, 2, 3, 5, 8, 16};
    for (int i = 0; i < 6; i++) check_parts(model, counts[i], 1.25);
    psc_model_close(&model);
}

static void make_one_text(void) {
    cr_assert(mkdtemp(folder));
    put_text("a.txt", 40000, 3);
}
static void make_one_jsonl(void) {
    cr_assert(mkdtemp(folder));
    put_lines("a.jsonl", 2000, 50, false);
}
static void make_one_packed(void) {
    cr_assert(mkdtemp(folder));
    put_lines("a.jsonl.gz", 2000, 50, true);
}

Test(corpus_parts, of_one_long_text, .init = make_one_text, .fini = remove_folder) {
    psc_model *model = open_model();
    check_parts(model, 7, 1.02);
    psc_model_close(&model);
}

Test(corpus_parts, of_windows_that_overlap, .init = make_mixed, .fini = remove_folder) {
    psc_model *model = open_model();
    stride = WINDOW / 2 + 1;
    check_parts(model, 5, 1.25);
    psc_model_close(&model);
}

Test(corpus_parts, ranges_of_one_file_of_lines, .init = make_one_jsonl, .fini = remove_folder) {
    psc_model *model = open_model();
    check_parts(model, 7, 1.1);
    psc_model_close(&model);
}

Test(corpus_parts, of_one_compressed_file, .init = make_one_packed, .fini = remove_folder) {
    psc_model *model = open_model();
    check_parts(model, 7, 1.15);
    psc_model_close(&model);
}

/* A long text in the middle of short ones does not make its part larger than the others. */
static void make_uneven(void) {
    cr_assert(mkdtemp(folder));
    for (int i = 0; i < 100; i++) {
        char name[20];
        snprintf(name, sizeof name, "%03d.txt", i);
        put_text(name, i == 50 ? 4950 : 50, (uint32_t)i);
    }
}

Test(corpus_parts, uneven_documents_are_dealt_evenly, .init = make_uneven, .fini = remove_folder) {
    psc_model *model = open_model();
    check_parts(model, 2, 1.03);
    psc_model_close(&model);
}

/* A part by size is no part by document, and a source has no sizes. */
Test(corpus_parts, are_not_mixed, .init = make_mixed, .fini = remove_folder) {
    psc_model *model = open_model();
    static unsigned char parts[PSC_CORPUS_SHARDS];
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    const char *const path = folder;
    char identity[33];
    int32_t n = 0;
    psc_corpus *by_size = open_part(model, 1, 2), *by_document = NULL;
    options.window = WINDOW;
    options.shard = 2;
    options.n_shards = 2;
    cr_assert_eq(psc_corpus_open(&by_document, model, &path, 1, &options, &error), PSC_OK);
    finish(by_size);
    finish(by_document);
    char *one = place_of(by_size), *two = place_of(by_document);
    cr_assert_eq(psc_corpus_add_part(&totals, identity, &n, parts, one, &error), PSC_OK);
    cr_assert_eq(psc_corpus_add_part(&totals, identity, &n, parts, two, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, "part 2/2 was split by document, but the parts before by size");
    psc_corpus_close(&by_document);
    options.shard = 1;
    cr_assert_eq(psc_corpus_open(&by_document, model, &path, 1, &options, &error), PSC_OK);
    cr_assert_eq(psc_corpus_seek(by_document, one, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message,
        "it was made for part 1/2 of the corpus by size, not part 1/2 of "
        "the corpus");
    psc_free(one);
    psc_free(two);
    psc_corpus_close(&by_size);
    psc_corpus_close(&by_document);
    list l = LIST(five);
    options.by_size = 1;
    cr_assert_eq(psc_corpus_open_source(&by_document, model, next_of, &l, &options, &error),
        PSC_ERROR_INPUT);
    cr_assert(strstr(error.message, "parts by size need files"));
    psc_model_close(&model);
}
