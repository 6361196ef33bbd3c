/* Windows that overlap: every token is new in exactly one window and has the context that the
 * stride leaves; what the session counts, and what it refuses. */
#include "source_fixture.h"

#include <stdio.h>
#include <stdlib.h>

/* --- windows --------------------------------------------------------------------------------- */

/* The document's window from token `begin` on. */
static void check_window(const psc_window *w, int32_t repeated, const psc_source_document *document,
    const psc_corpus_options *o, int32_t begin) {
    const int32_t room = o->window - o->bos, left = document->n - begin;
    const int32_t n = left < room ? left : room;
    cr_assert_eq(w->n, n + o->bos);
    cr_assert_eq(w->document.first, begin - o->bos);
    if (o->bos) cr_assert_eq(w->tokens[0].id, 0);
    for (int32_t i = 0; i < n; i++)
        cr_assert_eq(w->tokens[i + o->bos].id, document->ids[begin + i]);
    cr_assert_eq(repeated, begin > 0 ? o->bos + room - o->stride : 0);
}

static void check_documents(
    const psc_model *model, const psc_source_document *documents, int32_t n, psc_corpus_options o) {
    list l = {documents, n, 0, -1, 0, NULL};
    psc_corpus *c = must_open(model, &l, &o);
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    psc_window window;
    int64_t tokens = 0, windows = 0, seen = 0;
    for (int32_t d = 0; d < n; d++) {
        bool ended = documents[d].n == 0;
        for (int32_t begin = 0; !ended; begin += o.stride, windows++) {
            must_next(&window, c);
            cr_assert_eq(window.document.number, d);
            const int32_t repeated = psc_corpus_repeated(c, &window);
            check_window(&window, repeated, &documents[d], &o, begin);
            tokens += window.n - repeated;
            ended = begin + o.window - o.bos >= documents[d].n;
            seen += o.bos && begin == 0; /* the beginning token of a document's first window */
        }
        seen += documents[d].n;
    }
    cr_assert_eq(must_next(&window, c), 0);
    psc_corpus_get_totals(&totals, c);
    cr_assert_eq(tokens, seen, "each token is new once");
    cr_assert_eq(totals.tokens, tokens);
    cr_assert_eq(totals.windows, windows);
    cr_assert_eq(totals.stride, o.stride);
    psc_corpus_close(&c);
}

Test(corpus_stride, windows_of_every_stride) {
    psc_model *model = small_model();
    for (int32_t bos = 0; bos < 2; bos++)
        for (int32_t window = 2 + bos; window <= 11; window++)
            for (int32_t stride = 1; stride < window - bos; stride++) {
                psc_corpus_options o = windows_of(window);
                o.bos = bos;
                o.stride = stride;
                check_documents(model, five, 5, o);
            }
    psc_model_close(&model);
}

/* Far more ids, and bytes, than one piece of a document has. */
Test(corpus_stride, documents_of_many_pieces) {
    enum { N = 70000 };
    int32_t *ids = malloc(N * sizeof *ids);
    cr_assert(ids);
    for (int32_t i = 0; i < N; i++) ids[i] = (int32_t)((int64_t)i * i % 79);
    const psc_source_document documents[] = {
        IDS(0, 7), {sizeof *documents, NULL, 0, ids, N, 0, NULL}};
    psc_model *model = small_model();
    psc_corpus_options o = windows_of(300);
    o.stride = 7;
    check_documents(model, documents, 2, o);
    psc_model_close(&model);
    free(ids);
}

/* A text's windows are cut from the tokens of all its pieces. */
Test(corpus_stride, a_text_of_many_pieces) {
    enum { BYTES = 150000, WINDOW = 128, STRIDE = 48 };
    if (!golden_embedded()) cr_skip_test("no weights of the embedded model");
    char *text = malloc(BYTES);
    int32_t *ids = malloc(BYTES * sizeof *ids), n = 0;
    cr_assert(text && ids);
    for (int32_t i = 0; i < BYTES; i++)
        text[i] = "the old mill by a river. "[i * 7 % 24 * (i % 5) % 25];
    const psc_source_document document = {sizeof document, text, BYTES, NULL, 0, 0, NULL};
    psc_model *model = must_model(golden_embedded());
    psc_corpus_options o = windows_of(WINDOW);
    psc_window window;
    for (int strided = 0; strided < 2; strided++) {
        list l = {&document, 1, 0, -1, 0, NULL};
        o.stride = strided ? STRIDE : 0;
        psc_corpus *c = must_open(model, &l, &o);
        for (int32_t begin = 0; must_next(&window, c) > 0; begin += strided ? STRIDE : WINDOW) {
            for (int32_t i = 0; i < window.n; i++)
                if (strided)
                    cr_assert_eq(window.tokens[i].id, ids[begin + i]);
                else
                    ids[n++] = window.tokens[i].id;
            cr_assert(!strided || begin + window.n == n || window.n == WINDOW);
        }
        psc_corpus_close(&c);
    }
    psc_model_close(&model);
    free(text);
    free(ids);
}

/* The limit counts new tokens. */
Test(corpus_stride, a_limit) {
    psc_model *model = small_model();
    list l = LIST(five);
    psc_corpus_options o = windows_of(4);
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    o.stride = 1;
    o.limit = 6;
    psc_corpus *c = must_open(model, &l, &o);
    finish(c);
    psc_corpus_get_totals(&totals, c);
    cr_assert_eq(totals.tokens, 6);
    cr_assert_eq(totals.windows, 3);
    psc_corpus_close(&c);
    psc_model_close(&model);
}

/* --- places and parts ------------------------------------------------------------------------ */

static char *place_with(const psc_model *model, psc_corpus_options o) {
    list l = LIST(five);
    psc_corpus *c = must_open(model, &l, &o);
    finish(c);
    char *place = place_of(c);
    psc_corpus_close(&c);
    return place;
}

Test(corpus_stride, another_stride_is_refused) {
    static const char *const said[] = {
        "it was made with windows that overlap, with a stride of 2, not with windows that "
        "overlap, with a stride of 1",
        "it was made with windows that overlap, with a stride of 2, not with windows that do "
        "not overlap",
        "it was made with windows that do not overlap, not with windows that overlap, with a stride "
        "of 1"};
    static const int32_t strides[][2] = {{2, 1}, {2, 0}, {0, 1}};
    static unsigned char parts[PSC_CORPUS_SHARDS];
    psc_model *model = small_model();
    for (int i = 0; i < 3; i++) {
        psc_corpus_options made = windows_of(4), asked = made;
        psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
        int32_t n = 0;
        char identity[33];
        made.stride = strides[i][0];
        asked.stride = strides[i][1];
        made.n_shards = asked.n_shards = made.shard = 2;
        asked.shard = 1;
        char *first = place_with(model, asked), *second = place_with(model, made);
        memset(parts, 0, sizeof parts);
        cr_assert_eq(psc_corpus_add_part(&totals, identity, &n, parts, first, &error), PSC_OK);
        cr_assert_eq(totals.stride, asked.stride);
        cr_assert_eq(
            psc_corpus_add_part(&totals, identity, &n, parts, second, &error), PSC_ERROR_INPUT);
        cr_assert_str_eq(error.message, said[i], "%s", error.message);
        list l = LIST(five);
        asked.shard = 2;
        psc_corpus *c = must_open(model, &l, &asked);
        cr_assert_eq(psc_corpus_seek(c, second, &error), PSC_ERROR_INPUT);
        cr_assert_str_eq(error.message, said[i], "%s", error.message);
        psc_corpus_close(&c);
        psc_free(first);
        psc_free(second);
    }
    psc_model_close(&model);
}

/* --- sessions -------------------------------------------------------------------------------- */

static psc_session *open_session(psc_model *model, bool overlap) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    options.threads = 1;
    options.accumulate = 1;
    options.overlap = overlap;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    return session;
}

static psc_status run(psc_session *session, int32_t repeated) {
    const psc_token tokens[4] = {{.id = 3}, {.id = 1}, {.id = 4}, {.id = 1}};
    const psc_input input = {0, 4, tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.repeated = &repeated;
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, &options, &error);
}

Test(corpus_stride, a_session_counts_new_tokens) {
    static const int32_t bad[] = {-1, 4, 5};
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    psc_model *model = small_model();
    psc_session *session = open_session(model, true);
    for (int32_t repeated = 0; repeated < 4; repeated++)
        cr_assert_eq(run(session, repeated), PSC_OK, "%s", error.message);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(run(session, bad[i]), PSC_ERROR_INPUT);
        cr_assert(strstr(error.message, "at least one must be new"), "%s", error.message);
    }
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_results_get_corpus(&totals, psc_session_results(session), &error), PSC_OK);
    cr_assert_eq(totals.tokens, 4 + 3 + 2 + 1);
    cr_assert_eq(totals.windows, 4);
    psc_session_close(&session);
    session = open_session(model, false);
    cr_assert_eq(run(session, 1), PSC_ERROR_STATE);
    cr_assert(
        strstr(error.message, "needs a session with the option overlap"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* Of the built-ins, loss, activations and sae take no token twice, and editors count nothing. */
Test(corpus_stride, plugins_that_would_count_twice_are_refused) {
    static const char *const able[] = {
        "loss", "activations", "sae", "ablate", "scale", "steer", "knockout", "direction"};
    psc_model *model = small_model();
    psc_session *session = open_session(model, true);
    for (int32_t i = 0; i < psc_builtin_count(); i++) {
        const char *name = psc_builtin(i)->name;
        bool is_able = false;
        for (size_t k = 0; k < sizeof able / sizeof *able; k++)
            is_able |= strcmp(name, able[k]) == 0;
        const psc_status status = psc_session_plugin(session, name, NULL, &error);
        if (strcmp(name, "loss") == 0) cr_assert_eq(status, PSC_OK, "%s", error.message);
        if (!is_able) cr_assert_eq(status, PSC_ERROR_INPUT, "%s", name);
        cr_assert_eq(strstr(error.message, "count their tokens twice") != NULL,
            !is_able && psc_builtin(i)->corpus != PSC_CORPUS_NO, "%s: %s", name, error.message);
        error = (psc_error){0};
    }
    psc_session_close(&session);
    psc_model_close(&model);
}
