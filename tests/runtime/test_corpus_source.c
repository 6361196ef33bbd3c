/* Documents from the caller: the windows, notes and totals of files with the same documents, for
 * any split; bad documents and functions that fail. */
#include "source_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- documents ------------------------------------------------------------------------------- */

enum { LONG = 200000, N_DOCUMENTS = 6 };

/* A text of several pieces; without spaces it is cut after a character. */
static char *long_text(bool spaces) {
    static const char *const words[] = {
        "the", "caf\303\251", "Oz", "\342\202\254", "don't", "1900"};
    char *text = malloc(LONG + 16);
    size_t n = 0;
    for (uint32_t seed = 1; n < LONG;) {
        seed = seed * 1664525u + 1013904223u;
        n += (size_t)snprintf(text + n, 16, "%s%s", words[(seed >> 16) % 6], spaces ? " " : "");
    }
    return text;
}

static void make_documents(psc_source_document out[N_DOCUMENTS], char *texts[2]) {
    static const psc_source_document made[N_DOCUMENTS] = {TEXT("Dorothy lived in the midst."),
        TEXT(""), TEXT("broken \377 here"), {0}, TEXT("a zero \0 byte"), {0}};
    memcpy(out, made, sizeof made);
    for (int i = 0; i < 2; i++) {
        texts[i] = long_text(i == 0);
        psc_source_document *d = &out[3 + 2 * i];
        *d = (psc_source_document){sizeof *d, texts[i], strlen(texts[i]), NULL, 0, 0, NULL};
    }
}

/* A folder of one text file per document. */
static void write_files(char folder[32], const psc_source_document *documents, int32_t n) {
    strcpy(folder, "/tmp/psc-source-XXXXXX");
    cr_assert(mkdtemp(folder));
    for (int32_t i = 0; i < n; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%d.txt", folder, (int)i);
        FILE *file = fopen(path, "wb");
        cr_assert(file);
        fwrite(documents[i].text, 1, documents[i].bytes, file);
        fclose(file);
    }
}

static void remove_files(const char *folder, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%d.txt", folder, (int)i);
        unlink(path);
    }
    rmdir(folder);
}

/* --- the same as files ----------------------------------------------------------------------- */

static void count_notes(const char *sentence, void *payload) {
    cr_assert(strstr(sentence, "is not UTF-8 at byte 7; skipped"), "%s", sentence);
    ++*(int *)payload;
}

static void assert_same_corpora(psc_corpus *a, psc_corpus *b) {
    psc_window x, y;
    psc_corpus_totals s = PSC_CORPUS_TOTALS_INIT, t = PSC_CORPUS_TOTALS_INIT;
    int32_t windows = 0;
    for (; must_next(&x, a) > 0; windows++) {
        cr_assert_eq(must_next(&y, b), x.n);
        cr_assert_eq(y.document.number, x.document.number);
        cr_assert_eq(y.document.first, x.document.first);
        for (int32_t i = 0; i < x.n; i++) cr_assert_eq(y.tokens[i].id, x.tokens[i].id);
    }
    cr_assert_eq(must_next(&y, b), 0);
    psc_corpus_get_totals(&s, a);
    psc_corpus_get_totals(&t, b);
    assert_same_totals(&s, &t);
    cr_assert_eq(s.windows, windows);
    cr_assert_eq(psc_corpus_progress(b), psc_corpus_progress(a));
}

/* Tokens have their bytes in the document, across windows and pieces; bos has none. */
Test(source, tokens_tile_their_documents) {
    const char *model_folder = golden_embedded();
    if (!model_folder) return;
    psc_model *model = must_model(model_folder);
    psc_source_document documents[N_DOCUMENTS];
    char *texts[2];
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    psc_window w;
    int64_t document = -1;
    uint32_t at = 0, longest = 0;
    options.window = 100;
    options.bos = 1;
    make_documents(documents, texts);
    list l = LIST(documents);
    psc_corpus *c = must_open(model, &l, &options);
    while (must_next(&w, c) > 0) {
        if (w.document.number != document && document >= 0)
            cr_assert_eq(at, documents[document].bytes);
        if (w.document.number != document) at = 0;
        document = w.document.number;
        cr_assert(w.tokens[0].start == 0 && w.tokens[0].end == 0);
        for (int32_t i = 1; i < w.n; i++) {
            cr_assert_eq(w.tokens[i].start, at);
            cr_assert_gt(w.tokens[i].end, at);
            at = w.tokens[i].end;
        }
        if (at > longest) longest = at;
    }
    cr_assert_gt(longest, 64 << 10); /* more than a piece */
    psc_corpus_close(&c);
    for (int i = 0; i < 2; i++) free(texts[i]);
    psc_model_close(&model);
}

Test(source, windows_and_totals_are_those_of_files) {
    static const psc_corpus_options options[] = {{.window = 100}, {.window = 64, .bos = 1},
        {.shard = 1, .n_shards = 2}, {.shard = 2, .n_shards = 2, .window = 7},
        {.shard = 3, .n_shards = 3, .bos = 1}, {.limit = 1, .window = 5},
        {.limit = 3000, .window = 512, .bos = 1}};
    const char *model_folder = golden_embedded();
    if (!model_folder) return;
    psc_model *model = must_model(model_folder);
    psc_source_document documents[N_DOCUMENTS];
    char *texts[2], folder[32];
    make_documents(documents, texts);
    write_files(folder, documents, N_DOCUMENTS);
    const char *const paths[] = {folder};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        list l = LIST(documents);
        int notes[2] = {0, 0};
        psc_corpus_options o = options[i];
        o.struct_size = sizeof o;
        o.note = count_notes;
        o.payload = &notes[0];
        psc_corpus *files = NULL;
        cr_assert_eq(psc_corpus_open(&files, model, paths, 1, &o, &error), PSC_OK);
        o.payload = &notes[1];
        psc_corpus *source = must_open(model, &l, &o);
        assert_same_corpora(files, source);
        cr_assert_eq(notes[0], notes[1], "options %zu", i);
        cr_assert_eq(l.calls_after_end, 0);
        psc_corpus_close(&files);
        psc_corpus_close(&source);
        cr_assert_null(source);
    }
    remove_files(folder, N_DOCUMENTS);
    free(texts[0]);
    free(texts[1]);
    psc_model_close(&model);
}

/* The ids of a text make the windows of the text, also where ids are more than a piece. */
Test(source, ids_make_the_windows_of_their_text) {
    const char *folder = golden_embedded();
    if (!folder) return;
    psc_model *model = must_model(folder);
    psc_source_document texts[4], ids[4];
    char *text = malloc(8 * LONG);
    text[0] = 0;
    char *part = long_text(true);
    for (int i = 0; i < 7; i++) memcpy(text + i * LONG, part, LONG);
    for (int i = 0; i < 4; i++) {
        const size_t bytes = (size_t[]){7 * LONG, 0, 1000, 5}[i];
        psc_token *tokens = NULL;
        int32_t n = 0;
        cr_assert_eq(psc_model_encode(&tokens, &n, model, text, bytes, false, &error), PSC_OK);
        int32_t *list_of_ids = n > 0 ? malloc((size_t)n * sizeof *list_of_ids) : NULL;
        for (int32_t t = 0; t < n; t++) list_of_ids[t] = tokens[t].id;
        texts[i] = (psc_source_document){sizeof *texts, text, bytes, NULL, 0, 0, NULL};
        ids[i] = (psc_source_document){sizeof *ids, NULL, 0, list_of_ids, n, 0, NULL};
        if (i == 0) cr_assert_gt(n, 2 * 65536);
        psc_free(tokens);
    }
    list a = LIST(texts), b = LIST(ids);
    psc_corpus_options o = PSC_CORPUS_OPTIONS_INIT;
    o.window = 500;
    psc_corpus *x = must_open(model, &a, &o), *y = must_open(model, &b, &o);
    assert_same_corpora(x, y);
    psc_corpus_close(&x);
    psc_corpus_close(&y);
    for (int i = 0; i < 4; i++) free((void *)ids[i].ids);
    free(part);
    free(text);
    psc_model_close(&model);
}

/* --- totals of plugins ----------------------------------------------------------------------- */

static psc_session *survey(psc_model *model, psc_corpus *corpus) {
    psc_session_options o = PSC_SESSION_OPTIONS_INIT;
    o.accumulate = 1;
    o.threads = 1;
    o.capacity = 64;
    psc_session *session = NULL;
    cr_assert_eq(psc_session_open(&session, model, &o, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_plugin(session, "ln", NULL, &error), PSC_OK, "%s", error.message);
    psc_window window;
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    while (must_next(&window, corpus) > 0) {
        const psc_input input = {0, window.n, window.tokens};
        psc_run_options run = PSC_RUN_OPTIONS_INIT;
        run.no_logits = 1;
        run.documents = &window.document;
        psc_session_truncate(session, 0, 0);
        cr_assert_eq(psc_session_run(session, &input, 1, &run, &error), PSC_OK);
    }
    psc_corpus_get_totals(&totals, corpus);
    cr_assert_eq(psc_session_report(session, &totals, &error), PSC_OK, "%s", error.message);
    return session;
}

Test(source, results_are_those_of_files_to_the_byte) {
    const char *model_folder = golden_embedded();
    if (!model_folder) return;
    static const psc_source_document documents[] = {
        TEXT("The Emerald City was built for Oz."), TEXT("Down the rabbit hole she went.")};
    psc_model *model = must_model(model_folder);
    char folder[32], *json[2];
    write_files(folder, documents, 2);
    const char *const paths[] = {folder};
    list l = LIST(documents);
    psc_corpus_options o = PSC_CORPUS_OPTIONS_INIT;
    o.window = 6;
    psc_corpus *corpora[2] = {NULL, must_open(model, &l, &o)};
    cr_assert_eq(psc_corpus_open(&corpora[0], model, paths, 1, &o, &error), PSC_OK);
    psc_session *sessions[2];
    psc_array x, y;
    for (int i = 0; i < 2; i++) {
        sessions[i] = survey(model, corpora[i]);
        cr_assert_eq(psc_results_write_memory(&json[i], NULL, psc_session_results(sessions[i]),
                         PSC_FORMAT_JSON, NULL, &error),
            PSC_OK);
        psc_corpus_close(&corpora[i]);
    }
    cr_assert_str_eq(json[1], json[0]);
    cr_assert_eq(psc_session_array(sessions[0], "ln.site_mean", &x, &error), PSC_OK);
    cr_assert_eq(psc_session_array(sessions[1], "ln.site_mean", &y, &error), PSC_OK);
    cr_assert_arr_eq(x.data, y.data, (size_t)(x.shape[0] * x.shape[1]) * sizeof(double));
    for (int i = 0; i < 2; i++) {
        psc_session_close(&sessions[i]);
        psc_free(json[i]);
    }
    remove_files(folder, 2);
    psc_model_close(&model);
}

Test(source, positions_of_files_and_sources_do_not_mix) {
    const char *model_folder = golden_embedded();
    if (!model_folder) return;
    static const psc_source_document documents[] = {TEXT("The Emerald City.")};
    psc_model *model = must_model(model_folder);
    char folder[32];
    write_files(folder, documents, 1);
    const char *const paths[] = {folder};
    list l = LIST(documents);
    psc_corpus *source = must_open(model, &l, NULL), *files = NULL;
    cr_assert_eq(psc_corpus_open(&files, model, paths, 1, NULL, &error), PSC_OK);
    char *a = place_of(files), *b = place_of(source);
    cr_assert_null(strstr(a, "read"), "%s", a);
    cr_assert_eq(psc_corpus_seek(source, a, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, "it was made from files, not from a source of documents");
    cr_assert_eq(psc_corpus_seek(files, b, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, "it was made from a source of documents, not from files");
    psc_free(a);
    psc_free(b);
    psc_corpus_close(&files);
    psc_corpus_close(&source);
    remove_files(folder, 1);
    psc_model_close(&model);
}

/* --- bad documents and functions ------------------------------------------------------------- */

static const struct {
    psc_source_document document;
    const char *fault;
} bad[] = {
    {{.ids = (const int32_t[]){1, -1}, .n = 2},
        "has the token id -1 at position 1; ids are 0 to 79"},
    {{.ids = (const int32_t[]){80}, .n = 1}, "has the token id 80 at position 0; ids are 0 to 79"},
    {{.ids = (const int32_t[]){INT32_MIN}, .n = 1},
        "has the token id -2147483648 at position 0; ids are 0 to 79"},
    {{.ids = some_ids, .n = -1}, "has an impossible size"},
    {{.n = 3}, "has elements, but its pointer is null"},
    {{.n = -3}, "has elements, but its pointer is null"},
    {{.bytes = 3}, "has elements, but its pointer is null"},
};
enum { N_BAD = sizeof bad / sizeof *bad };

static void keep_note(const char *sentence, void *payload) {
    snprintf(payload, 200, "%s", sentence);
}

Test(source, bad_documents_are_skipped_or_refused) {
    psc_model *model = small_model();
    cr_assert_eq(psc_model_get_info(model)->d_vocab, 80);
    for (int32_t i = 0; i < N_BAD; i++) {
        const psc_source_document documents[] = {five[0], bad[i].document, five[1]};
        list l = LIST(documents), again = LIST(documents);
        char note[200] = "", want[200];
        psc_corpus_options o = windows_of(10);
        o.note = keep_note;
        o.payload = note;
        psc_corpus *c = must_open(model, &l, &o);
        psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
        finish(c);
        psc_corpus_get_totals(&totals, c);
        cr_assert_eq(totals.documents, 2);
        cr_assert_eq(totals.skipped, 1);
        snprintf(want, sizeof want, "document 1 %s; skipped", bad[i].fault);
        cr_assert_str_eq(note, want);
        psc_corpus_close(&c);
        o.strict = 1;
        c = must_open(model, &again, &o);
        psc_window window;
        must_next(&window, c);
        cr_assert_eq(psc_corpus_next(&window, c, &error), PSC_ERROR_INPUT);
        want[strlen(want) - strlen("; skipped")] = 0;
        cr_assert_str_eq(error.message, want);
        psc_corpus_close(&c);
    }
    psc_model_close(&model);
}

Test(source, a_text_with_ids_is_refused) {
    const char *folder = golden_embedded();
    if (!folder) return;
    static const psc_source_document documents[] = {{.text = "a", .bytes = 1, .ids = some_ids}};
    psc_model *model = must_model(folder);
    list l = LIST(documents);
    psc_corpus_options o = windows_of(2);
    o.strict = 1;
    psc_corpus *c = must_open(model, &l, &o);
    psc_window window;
    cr_assert_eq(psc_corpus_next(&window, c, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, "document 0 has a text and token ids; pass one of them");
    psc_corpus_close(&c);
    psc_model_close(&model);
}

Test(source, a_model_without_a_tokenizer_takes_ids_only) {
    static const psc_source_document documents[] = {IDS(0, 2), TEXT("The Emerald City.")};
    psc_model *model = small_model();
    list l = LIST(documents);
    psc_corpus_options o = windows_of(2);
    psc_corpus *c = must_open(model, &l, &o);
    psc_window window;
    cr_assert_eq(must_next(&window, c), 2);
    cr_assert_eq(psc_corpus_next(&window, c, &error), PSC_ERROR_INPUT);
    cr_assert(strstr(error.message, "document 1 is a text, but "), "%s", error.message);
    cr_assert(strstr(error.message, "has no tokenizer.json; pass token ids"), "%s", error.message);
    psc_corpus_close(&c);
    psc_model_close(&model);
}

Test(source, a_source_that_fails_is_asked_again) {
    psc_model *model = small_model();
    list l = LIST(five), whole = LIST(five);
    l.fails_at = 3;
    psc_corpus_options o = windows_of(4);
    psc_corpus *c = must_open(model, &l, &o), *other = must_open(model, &whole, &o);
    psc_window window;
    for (int i = 0; i < 3; i++) must_next(&window, c);
    cr_assert_eq(psc_corpus_next(&window, c, &error), PSC_ERROR_CANCELLED);
    cr_assert_str_eq(error.message, "the source of documents failed at document 3");
    finish(c);
    finish(other);
    char *a = place_of(c), *b = place_of(other);
    cr_assert_str_eq(a, b);
    psc_free(a);
    psc_free(b);
    psc_corpus_close(&c);
    psc_corpus_close(&other);
    psc_model_close(&model);
}

Test(source, a_source_may_not_use_its_corpus) {
    psc_model *model = small_model();
    list l = LIST(five);
    psc_corpus *c = NULL;
    l.own = &c;
    c = must_open(model, &l, NULL);
    finish(c);
    psc_corpus_close(&c);
    psc_model_close(&model);
}

Test(source, the_progress_is_unknown_without_a_limit) {
    psc_model *model = small_model();
    list l = LIST(five), m = LIST(five);
    psc_corpus_options o = windows_of(4);
    psc_corpus *c = must_open(model, &l, &o);
    psc_window window;
    cr_assert(isnan(psc_corpus_progress(c)));
    must_next(&window, c);
    cr_assert(isnan(psc_corpus_progress(c)));
    finish(c);
    cr_assert_eq(psc_corpus_progress(c), 1.0);
    psc_corpus_close(&c);
    o.limit = 10;
    c = must_open(model, &m, &o);
    cr_assert_eq(psc_corpus_progress(c), 0.0);
    must_next(&window, c);
    cr_assert_eq(psc_corpus_progress(c), 0.4);
    finish(c);
    cr_assert_eq(psc_corpus_progress(c), 1.0);
    psc_corpus_close(&c);
    psc_model_close(&model);
}

Test(source, opening_checks_its_arguments) {
    psc_model *model = small_model();
    psc_corpus *c = NULL;
    list l = LIST(five);
    psc_corpus_options o = windows_of(2);
    cr_assert_eq(psc_corpus_open_source(&c, model, NULL, NULL, NULL, &error), PSC_ERROR_INPUT);
    cr_assert_null(c);
    o.shard = 3;
    o.n_shards = 2;
    cr_assert_eq(psc_corpus_open_source(&c, model, next_of, &l, &o, &error), PSC_ERROR_INPUT);
    o = windows_of(1 << 20);
    cr_assert_eq(psc_corpus_open_source(&c, model, next_of, &l, &o, &error), PSC_ERROR_INPUT);
    cr_assert_eq(l.at, 0);
    cr_assert_null(c);
    psc_model_close(&model);
}
