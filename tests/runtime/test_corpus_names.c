/* The names of documents: of files and lines, from positions, of parts, and cut to their room. */
#include "psc_corpus.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static psc_error error;
static char folder[] = "/tmp/psc-names-XXXXXX";

static void put(const char *name, const char *text) {
    char path[100];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(text, file) >= 0);
    fclose(file);
}

static void make_files(void) {
    cr_assert(mkdtemp(folder));
    put("a.txt", "one two");
    put("b.jsonl", "\n");
    put("c.jsonl", "{\"text\": \"one\"}\n\n{\"text\": \"two\"}\n");
    put("d\n\377.txt", "three");
}

static void remove_files(void) {
    const char *const names[] = {"a.txt", "b.jsonl", "c.jsonl", "d\n\377.txt"};
    for (int i = 0; i < 4; i++) {
        char path[100];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static psc_corpus *open_files(const psc_model *model, int32_t shard, int32_t n_shards) {
    const char *const paths[] = {folder};
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    psc_corpus *corpus = NULL;
    options.shard = shard;
    options.n_shards = n_shards;
    cr_assert_eq(
        psc_corpus_open(&corpus, model, paths, 1, &options, &error), PSC_OK, "%s", error.message);
    return corpus;
}

static void read_windows(psc_corpus *corpus, int n) {
    psc_window window;
    for (int i = 0; i < n; i++)
        cr_assert_eq(psc_corpus_next(&window, corpus, &error), PSC_OK, "%s", error.message);
}

static const char *const tails[] = {
    "/a.txt", "/c.jsonl, document 1", "/c.jsonl, document 2", "/d\\n\\xff.txt"};

static void check_name(const char *name, int number) {
    char expected[100] = "";
    if (number >= 0 && number < 4)
        snprintf(expected, sizeof expected, "%s%s", folder, tails[number]);
    cr_assert_str_eq(name, expected);
}

/* Documents before `known` have names. */
static void check_names(const psc_corpus *corpus, int known) {
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    psc_corpus_get_totals(&totals, corpus);
    for (int number = -1; number < 6; number++) {
        char name[100];
        psc_corpus_document_name(name, sizeof name, corpus, number);
        check_name(name, number < known ? number : -1);
        check_name(
            totals.document_name(number, totals.document_payload), number < known ? number : -1);
    }
}

static psc_model *open_model(void) {
    psc_model *model = NULL;
    cr_assert_eq(psc_model_open(&model, PSC_SOURCE_DIR "/models/books-5m", &error), PSC_OK, "%s",
        error.message);
    return model;
}

Test(names, documents_that_were_read_have_names_also_after_seek, .init = make_files,
    .fini = remove_files) {
    psc_model *model = open_model();
    psc_corpus *corpus = open_files(model, 0, 0);
    check_names(corpus, 0);
    for (int read = 1; read <= 5; read++) {
        char *place = NULL;
        read_windows(corpus, 1);
        check_names(corpus, read < 4 ? read : 4);
        cr_assert_eq(psc_corpus_tell(&place, corpus, &error), PSC_OK);
        psc_corpus *again = open_files(model, 0, 0);
        cr_assert_eq(psc_corpus_seek(again, place, &error), PSC_OK, "%s", error.message);
        check_names(again, read < 4 ? read : 4);
        read_windows(again, 5);
        check_names(again, 4);
        psc_corpus_close(&again);
        psc_free(place);
    }
    psc_corpus_close(&corpus);
    psc_model_close(&model);
}

Test(names, an_older_position_gives_no_name_and_a_wrong_one_is_refused, .init = make_files,
    .fini = remove_files) {
    psc_model *model = open_model();
    psc_corpus *corpus = open_files(model, 0, 0);
    char *place = NULL, name[100], wrong[600];
    read_windows(corpus, 2);
    cr_assert_eq(psc_corpus_tell(&place, corpus, &error), PSC_OK);
    char *files = strstr(place, ",\"files\":");
    cr_assert(files);
    snprintf(wrong, sizeof wrong, "%.*s,\"files\":[[\"a\",1,false],[\"b\",0,true]]}",
        (int)(files - place), place);
    cr_assert_eq(psc_corpus_seek(corpus, wrong, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message,
        "the recorded position in the corpus is invalid: files has a document's number that is out of "
        "order");
    strcpy(files, "}");
    cr_assert_eq(psc_corpus_seek(corpus, place, &error), PSC_OK, "%s", error.message);
    read_windows(corpus, 4);
    for (int number = 0; number < 3; number++) {
        psc_corpus_document_name(name, sizeof name, corpus, number);
        cr_assert_str_eq(name, "");
    }
    psc_corpus_document_name(name, sizeof name, corpus, 3);
    check_name(name, 3);
    psc_free(place);
    psc_corpus_close(&corpus);
    psc_model_close(&model);
}

Test(names, parts_have_the_names_of_the_one_that_came_furthest, .init = make_files,
    .fini = remove_files) {
    psc_model *model = open_model();
    psc_corpus_names *names = NULL;
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    for (int shard = 1; shard <= 2; shard++) {
        psc_corpus *corpus = open_files(model, shard, 2);
        char *place = NULL;
        read_windows(corpus, shard == 1 ? 1 : 3);
        cr_assert_eq(psc_corpus_tell(&place, corpus, &error), PSC_OK);
        cr_assert_eq(psc_corpus_names_add(&names, place, &error), PSC_OK, "%s", error.message);
        psc_free(place);
        psc_corpus_close(&corpus);
    }
    psc_corpus_names_give(&totals, names);
    for (int number = -1; number < 6; number++)
        check_name(totals.document_name(number, totals.document_payload), number);
    psc_corpus_names_close(&names);
    psc_corpus_names_give(&totals, names);
    cr_assert_null(totals.document_name);
    psc_model_close(&model);
}

Test(names, a_name_is_cut_within_its_path, .init = make_files, .fini = remove_files) {
    psc_model *model = open_model();
    psc_corpus *corpus = open_files(model, 0, 0);
    char name[20] = "untouched";
    read_windows(corpus, 5);
    psc_corpus_document_name(name, 0, corpus, 1);
    cr_assert_str_eq(name, "untouched");
    psc_corpus_document_name(name, 17, corpus, 1);
    cr_assert_str_eq(name, "/tmp, document 1");
    psc_corpus_document_name(name, 5, corpus, 1);
    cr_assert_str_eq(name, "");
    psc_corpus_close(&corpus);
    psc_model_close(&model);
}
