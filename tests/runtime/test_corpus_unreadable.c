/* Files of a corpus that cannot be read: each is one document that is skipped, noted and counted,
 * in every part alike; with strict it is an error. A failure of the system ends the run instead. */
#include "golden.h"
#include "psc_corpus.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static psc_error error;
static char folder[] = "/tmp/psc-unreadable-XXXXXX";

static const char *in(const char *name) {
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text, int times) {
    FILE *file = fopen(in(name), "w");
    cr_assert(file);
    for (int i = 0; i < times; i++) cr_assert_geq(fputs(text, file), 0);
    fclose(file);
}

static void make_folder(void) {
    cr_assert(mkdtemp(folder));
    cr_assert_eq(chmod(folder, 0755), 0);
}

static void remove_folder(void) {
    char command[300];
    snprintf(command, sizeof command, "chmod -R u+rwX %s; rm -rf %s", folder, folder);
    cr_assert_eq(system(command), 0);
}

typedef struct heard {
    int n;
    char last[1100];
    char all[4096];
} heard;

static void hear(const char *sentence, void *payload) {
    heard *h = payload;
    h->n++;
    snprintf(h->last, sizeof h->last, "%s", sentence);
    const size_t used = strlen(h->all);
    snprintf(h->all + used, sizeof h->all - used, "%s\n", sentence);
}

static psc_corpus_options noting(heard *h) {
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    options.note = hear;
    options.payload = h;
    return options;
}

static psc_corpus *open_one(
    const psc_model *model, const char *path, const psc_corpus_options *options) {
    psc_corpus *corpus = NULL;
    cr_assert_eq(
        psc_corpus_open(&corpus, model, &path, 1, options, &error), PSC_OK, "%s", error.message);
    return corpus;
}

static int32_t next_of(psc_corpus *corpus) {
    psc_window window;
    cr_assert_eq(psc_corpus_next(&window, corpus, &error), PSC_OK, "%s", error.message);
    return window.n;
}

static psc_corpus_totals read_all(psc_corpus *corpus) {
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    while (next_of(corpus) > 0) continue;
    psc_corpus_get_totals(&totals, corpus);
    return totals;
}

static psc_model *open_model(void) {
    const char *embedded = golden_embedded();
    return embedded ? must_model(embedded) : NULL;
}

static void make_odd_files(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    put("a.txt", "one two", 1);
    cr_assert_eq(symlink("nothing", in("b.txt")), 0);
    cr_assert_eq(symlink("c.md", in("c.md")), 0);
    cr_assert_eq(mkfifo(in("d.jsonl"), 0600), 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%.80s", in("e.txt"));
    const int file = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(file, (struct sockaddr *)&address, sizeof address), 0);
    close(file);
    put("f.jsonl", "{\"text\": \"three\"}\n", 2);
    cr_assert_eq(symlink("nothing", in("g.org")), 0); /* has no document's name */
    cr_assert_eq(mkfifo(in("h"), 0600), 0);
}

Test(unreadable, odd_files_of_a_folder_are_skipped, .init = make_folder, .fini = remove_folder) {
    psc_model *model = open_model();
    if (!model) return;
    heard h = {0};
    psc_corpus_options options = noting(&h);
    make_odd_files();
    psc_corpus *corpus = open_one(model, folder, &options);
    psc_corpus_totals totals = read_all(corpus);
    cr_assert_eq(totals.documents, 3);
    cr_assert_eq(totals.skipped, 4);
    cr_assert_eq(totals.numbered, 7);
    cr_assert_eq(h.n, 4);
    cr_assert(strstr(h.all, "b.txt is a link whose target does not exist; skipped\n"));
    cr_assert(strstr(h.all, "c.md cannot be read (stat: Too many levels"));
    cr_assert(strstr(h.all, "d.jsonl is a FIFO, not a regular file; skipped\n"));
    cr_assert(strstr(h.all, "e.txt is a socket, not a regular file; skipped\n"));
    psc_corpus_close(&corpus);
    options.strict = 1;
    const char *path = folder;
    cr_assert_eq(psc_corpus_open(&corpus, model, &path, 1, &options, &error), PSC_ERROR_INPUT);
    cr_assert(strstr(error.message, "b.txt is a link whose target does not exist"));
    psc_model_close(&model);
}

/* Each is skipped by the part that has its number, and a sample draws it as others. */
Test(unreadable, parts_and_samples_count_them_once, .init = make_folder, .fini = remove_folder) {
    psc_model *model = open_model();
    if (!model) return;
    int64_t documents = 0, skipped = 0;
    make_odd_files();
    for (int32_t shard = 1; shard <= 3; shard++) {
        psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
        options.shard = shard;
        options.n_shards = 3;
        psc_corpus *corpus = open_one(model, folder, &options);
        psc_corpus_totals totals = read_all(corpus);
        documents += totals.documents;
        skipped += totals.skipped;
        cr_assert_eq(totals.numbered, 7);
        psc_corpus_close(&corpus);
    }
    cr_assert_eq(documents, 3);
    cr_assert_eq(skipped, 4);
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    options.sample = 5;
    psc_corpus *corpus = open_one(model, folder, &options);
    psc_corpus_totals totals = read_all(corpus);
    cr_assert_eq(totals.documents + totals.skipped, 5);
    cr_assert_eq(totals.population, 7);
    psc_corpus_close(&corpus);
    psc_model_close(&model);
}

/* --- between listing and reading ------------------------------------------------------------- */

static void check_changed(psc_model *model, void (*change)(void), const char *sentence, int read) {
    heard h = {0};
    psc_corpus_options options = noting(&h);
    put("a.txt", "one two three", 1);
    put("b.jsonl", "{\"text\": \"three\"}\n", 3);
    put("c.txt", "four", 1);
    psc_corpus *corpus = open_one(model, folder, &options);
    change();
    psc_corpus_totals totals = read_all(corpus);
    cr_assert_eq(h.n, 1, "%s", h.all);
    cr_assert(strstr(h.last, sentence), "%s", h.last);
    cr_assert_eq(totals.documents, read, "%s", h.last);
    cr_assert_eq(totals.skipped, 1);
    psc_corpus_close(&corpus);
    options.strict = 1;
    put("a.txt", "one two three", 1);
    unlink(in("b.jsonl"));
    put("b.jsonl", "{\"text\": \"three\"}\n", 3);
    corpus = open_one(model, folder, &options);
    change();
    psc_status status = PSC_OK;
    for (psc_window window = {.n = 1}; status == PSC_OK && window.n > 0;)
        status = psc_corpus_next(&window, corpus, &error);
    cr_assert_eq(status, PSC_ERROR_INPUT);
    psc_corpus_close(&corpus);
    unlink(in("b.jsonl"));
}

static void remove_text(void) {
    unlink(in("a.txt"));
}
static void cut_text(void) {
    cr_assert_eq(truncate(in("a.txt"), 5), 0);
}
static void remove_lines(void) {
    unlink(in("b.jsonl"));
}
static void cut_lines(void) {
    cr_assert_eq(truncate(in("b.jsonl"), 18), 0);
}
static void put_fifo(void) {
    unlink(in("b.jsonl"));
    cr_assert_eq(mkfifo(in("b.jsonl"), 0600), 0);
}
static void put_folder(void) {
    unlink(in("b.jsonl"));
    cr_assert_eq(symlink("/tmp", in("b.jsonl")), 0);
}

Test(unreadable, files_change_after_listing, .init = make_folder, .fini = remove_folder,
    .timeout = 60) {
    psc_model *model = open_model();
    if (!model) return;
    check_changed(model, remove_text, "a.txt: No such file or directory; skipped", 4);
    check_changed(model, cut_text,
        "a.txt was cut short: it has 5 of the 13 bytes that it had when it was listed; skipped", 4);
    check_changed(model, remove_lines, "b.jsonl: No such file or directory; skipped", 2);
    check_changed(model, cut_lines,
        "b.jsonl was cut short: it has 18 of the 54 bytes that it had when it was listed, after "
        "line 1; skipped",
        3);
    check_changed(model, put_fifo, "b.jsonl is not a regular file any more; skipped", 2);
    check_changed(model, put_folder, "b.jsonl is not a regular file any more; skipped", 2);
    psc_model_close(&model);
}

Test(unreadable, a_document_is_cut_while_it_is_read, .init = make_folder, .fini = remove_folder) {
    psc_model *model = open_model();
    if (!model) return;
    heard h = {0};
    psc_corpus_options options = noting(&h);
    options.window = 100;
    put("a.txt", "the Emerald City of Oz was far away ", 20000);
    put("b.txt", "the last", 1);
    psc_corpus *corpus = open_one(model, folder, &options);
    cr_assert_gt(next_of(corpus), 0);
    cr_assert_eq(truncate(in("a.txt"), 1000), 0);
    psc_corpus_totals totals = read_all(corpus);
    cr_assert_eq(totals.documents, 2);
    cr_assert_eq(totals.skipped, 1);
    cr_assert(strstr(h.last, "a.txt was cut short"), "%s", h.last);
    cr_assert(strstr(h.last, "the rest of its document; skipped"), "%s", h.last);
    psc_corpus_close(&corpus);
    psc_model_close(&model);
}

/* --- permissions, the disk, the system ------------------------------------------------------- */

Test(unreadable, without_permission, .init = make_folder, .fini = remove_folder) {
    psc_model *model = open_model();
    if (!model) return;
    heard h = {0};
    psc_corpus_options options = noting(&h);
    put("a.txt", "one", 1);
    put("b.txt", "two", 1);
    cr_assert_eq(mkdir(in("c"), 0755), 0);
    put("c/d.txt", "three", 1);
    cr_assert_eq(mkdir(in("e"), 0755), 0);
    put("e/f.txt", "four", 1);
    cr_assert_eq(chmod(in("b.txt"), 0), 0);
    cr_assert_eq(chmod(in("c"), 0), 0);
    cr_assert_eq(chmod(in("e"), 0444), 0);
    const bool root = geteuid() == 0;
    if (root) cr_assert_eq(seteuid(65534), 0);
    psc_corpus *corpus = open_one(model, folder, &options);
    psc_corpus_totals totals = read_all(corpus);
    cr_assert_eq(totals.documents, 1);
    cr_assert_eq(totals.skipped, 3);
    cr_assert(strstr(h.all, "b.txt: Permission denied; skipped\n"), "%s", h.all);
    cr_assert(strstr(h.all, "/c cannot be read (open: Permission denied); skipped\n"));
    cr_assert(strstr(h.all, "/e cannot be read (open: Permission denied); skipped\n"));
    psc_corpus_close(&corpus);
    const char *path = in("c");
    cr_assert_eq(psc_corpus_open(&corpus, model, &path, 1, NULL, &error), PSC_ERROR_IO);
    path = in("b.txt");
    cr_assert_eq(psc_corpus_open(&corpus, model, &path, 1, NULL, &error), PSC_ERROR_IO);
    cr_assert(strstr(error.message, "b.txt: Permission denied"), "%s", error.message);
    if (root) cr_assert_eq(seteuid(0), 0);
    psc_model_close(&model);
}

#ifdef __linux__
/* Reading /proc/self/mem from its start is an error of input and output. */
Test(unreadable, errors_of_the_disk_and_lists, .init = make_folder, .fini = remove_folder) {
    psc_model *model = open_model();
    if (!model) return;
    heard h = {0};
    psc_corpus_options options = noting(&h);
    put("a.txt", "one", 1);
    char good[200];
    snprintf(good, sizeof good, "%s", in("a.txt"));
    const char *const paths[] = {good, "/proc/self/mem", "/no/such/file", "/dev/zero", good};
    psc_corpus *corpus = NULL;
    cr_assert_eq(psc_corpus_open(&corpus, model, paths, 5, &options, &error), PSC_ERROR_IO);
    cr_assert(strstr(error.message, "cannot open /no/such/file"));
    options.n_listed = 6;
    cr_assert_eq(psc_corpus_open(&corpus, model, paths, 5, &options, &error), PSC_ERROR_INPUT);
    options.n_listed = 3;
    cr_assert_eq(
        psc_corpus_open(&corpus, model, paths, 5, &options, &error), PSC_OK, "%s", error.message);
    psc_corpus_totals totals = read_all(corpus);
    cr_assert_eq(totals.documents, 2);
    cr_assert_eq(totals.skipped, 3);
    cr_assert(strstr(h.all, "cannot read /proc/self/mem: Input/output error; skipped\n"));
    cr_assert(strstr(h.all, "/no/such/file does not exist; skipped\n"));
    cr_assert(strstr(h.all, "/dev/zero is a device, not a regular file; skipped\n"));
    psc_corpus_close(&corpus);
    psc_model_close(&model);
}
#endif

/* Too many open files are not a fault of the document: the call fails, and a later one goes on. */
Test(
    unreadable, a_failure_of_the_system_skips_nothing, .init = make_folder, .fini = remove_folder) {
    psc_model *model = open_model();
    if (!model) return;
    heard h = {0};
    psc_corpus_options options = noting(&h);
    struct rlimit former, none;
    put("a.txt", "one", 1);
    put("b.jsonl", "{\"text\": \"two\"}\n", 1);
    psc_corpus *corpus = open_one(model, folder, &options);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &former), 0);
    none = former;
    none.rlim_cur = 0;
    for (int i = 0; i < 2; i++) {
        psc_window window;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        const psc_status status = psc_corpus_next(&window, corpus, &error);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &former), 0);
        cr_assert_eq(status, PSC_ERROR_IO, "%d: %d tokens", i, (int)window.n);
        cr_assert(strstr(error.message, "Too many open files"), "%s", error.message);
        cr_assert_gt(next_of(corpus), 0);
    }
    psc_corpus_totals totals = read_all(corpus);
    cr_assert_eq(totals.documents, 2);
    cr_assert_eq(totals.skipped, 0);
    cr_assert_eq(h.n, 0);
    psc_corpus_close(&corpus);
    psc_model_close(&model);
}

Test(unreadable, sentences_are_bounded, .init = make_folder, .fini = remove_folder) {
    psc_model *model = open_model();
    if (!model) return;
    heard h = {0};
    psc_corpus_options options = noting(&h);
    for (int i = 0; i < 3 * PSC_CORPUS_NOTES; i++) {
        char name[20];
        snprintf(name, sizeof name, "%d.txt", i);
        cr_assert_eq(symlink("nothing", in(name)), 0);
    }
    psc_corpus *corpus = open_one(model, folder, &options);
    cr_assert_eq(read_all(corpus).skipped, 3 * PSC_CORPUS_NOTES);
    cr_assert_eq(h.n, PSC_CORPUS_NOTES + 1);
    cr_assert_str_eq(h.last, "further documents that cannot be read are only counted");
    psc_corpus_close(&corpus);
    psc_model_close(&model);
}
