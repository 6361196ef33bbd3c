/* Corpora of very many files: the work per document does not grow with the number of files. */
#include "psc_corpus.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static psc_error error;
static char path[] = "/tmp/psc-many-XXXXXX";

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The same file n times. */
static psc_corpus *open_many(const psc_model *model, int32_t n) {
    const char **paths = malloc((size_t)n * sizeof *paths);
    psc_corpus *corpus = NULL;
    cr_assert(paths);
    for (int32_t i = 0; i < n; i++) paths[i] = path;
    cr_assert_eq(
        psc_corpus_open(&corpus, model, paths, n, NULL, &error), PSC_OK, "%s", error.message);
    free(paths);
    return corpus;
}

enum { ROUNDS = 5000 };

/* Reads everything. Then asks what a program asks after each batch; returns the seconds of
 * processor time per document, and of one round of questions. */
static void measure(double *document, double *round, const psc_model *model, int32_t n) {
    const double start = seconds();
    psc_corpus *corpus = open_many(model, n);
    psc_window window = {.n = 1};
    int32_t read = -1;
    for (; window.n > 0; read++)
        cr_assert_eq(psc_corpus_next(&window, corpus, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(read, n);
    const double middle = seconds();
    for (int i = 0; i < ROUNDS; i++) {
        psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
        char name[100];
        cr_assert(psc_corpus_progress(corpus) >= 1.0);
        psc_corpus_get_totals(&totals, corpus);
        psc_corpus_document_name(name, sizeof name, corpus, n - 1);
        psc_corpus_mark(corpus);
    }
    psc_corpus_close(&corpus);
    *document = (middle - start) / n;
    *round = (seconds() - middle) / ROUNDS;
}

static psc_model *make(void) {
    psc_model *model = NULL;
    const int file = mkstemp(path);
    cr_assert(file >= 0 && write(file, "one two", 7) == 7);
    close(file);
    cr_assert_eq(psc_model_open(&model, PSC_SOURCE_DIR "/models/books-5m", &error), PSC_OK, "%s",
        error.message);
    return model;
}

/* 64 times as many files: a sum over all files takes 64 times as long. */
Test(corpus_many, the_cost_of_a_document_does_not_grow) {
    psc_model *model = make();
    double document[2], round[2];
    measure(&document[0], &round[0], model, 1000); /* warm */
    measure(&document[0], &round[0], model, 1000);
    measure(&document[1], &round[1], model, 64000);
    cr_assert_lt(document[1], 4.0 * document[0], "%.2f us per document of 64,000, %.2f us of 1,000",
        1e6 * document[1], 1e6 * document[0]);
    cr_assert_lt(round[1], 8.0 * round[0], "%.2f us per round at 64,000 files, %.2f us at 1,000",
        1e6 * round[1], 1e6 * round[0]);
    unlink(path);
    psc_model_close(&model);
}

/* The progress is that of the bytes before, also after a seek. */
Test(corpus_many, progress_survives_a_seek) {
    psc_model *model = make();
    psc_corpus *corpus = open_many(model, 1000), *again = open_many(model, 1000);
    char *place = NULL;
    psc_window window;
    for (int i = 0; i < 250; i++)
        cr_assert_eq(psc_corpus_next(&window, corpus, &error), PSC_OK, "%s", error.message);
    cr_assert_float_eq(psc_corpus_progress(corpus), 0.25, 1e-12);
    cr_assert_eq(psc_corpus_tell(&place, corpus, &error), PSC_OK);
    cr_assert_eq(psc_corpus_seek(again, place, &error), PSC_OK, "%s", error.message);
    cr_assert_float_eq(psc_corpus_progress(again), 0.25, 1e-12);
    psc_free(place);
    psc_corpus_close(&corpus);
    psc_corpus_close(&again);
    unlink(path);
    psc_model_close(&model);
}

/* The marked position is told although reading went on. */
Test(corpus_many, a_marked_position_is_told) {
    psc_model *model = make();
    psc_corpus *corpus = open_many(model, 100);
    char *then = NULL, *marked = NULL, *now = NULL;
    psc_window window;
    for (int i = 0; i < 40; i++) psc_corpus_next(&window, corpus, &error);
    cr_assert_eq(psc_corpus_tell_mark(&marked, corpus, &error), PSC_ERROR_STATE);
    psc_corpus_mark(corpus);
    cr_assert_eq(psc_corpus_tell(&then, corpus, &error), PSC_OK);
    for (int i = 0; i < 10; i++) psc_corpus_next(&window, corpus, &error);
    cr_assert_eq(psc_corpus_tell_mark(&marked, corpus, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_corpus_tell(&now, corpus, &error), PSC_OK);
    cr_assert_str_eq(marked, then);
    cr_assert_str_neq(marked, now);
    psc_free(then);
    psc_free(marked);
    psc_free(now);
    psc_corpus_close(&corpus);
    unlink(path);
    psc_model_close(&model);
}
