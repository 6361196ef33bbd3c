/* The plugin spans over documents, against sums over runs of one sentence; short texts, long words,
 * and what the plugin refuses. */
#include "spans_fixture.h"

static psc_session *accumulate(
    psc_model *model, const char *options, int32_t batch, int32_t threads) {
    psc_session_options how = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    how.accumulate = 1;
    how.n_sequences = 3;
    how.threads = threads;
    cr_assert_eq(psc_session_open(&session, model, &how, &error), PSC_OK);
    cr_assert_eq(
        psc_session_plugin(session, "spans", options, &error), PSC_OK, "%s", error.message);
    for (int32_t i = 0; i < 12; i += batch) run_sentences(session, i, batch);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    return session;
}

/* Totals against sums over runs of one sentence. */
Test(spans, documents) {
    static const char *const arrays[] = {"spans.brackets", "spans.strength", "spans.shared",
        "spans.overlap", "spans.stood", "spans.lag", "spans.closure", NULL};
    static const int ends[] = {2, 3, 4, 8, 16, 32, 64, 1000};
    const char *const options = "levels=1/2,prefixes=yes,closure=yes";
    const fixture_run how = {.threads = 1};
    double counts[2][8] = {{0}}, strengths[2][8] = {{0}}, overlaps[2][N_PRIORS] = {{0}};
    double n_inner = 0.0, n_closed = 0.0, closure[2] = {0}, lags[2] = {0}, ended[2] = {0};
    psc_model *model = must_model(golden_embedded());
    golden = golden_open(STRUCTURE);
    psc_session *one = open_spans(model, options, &how);
    for (int32_t s = 0; s < 12; s++) {
        trees t;
        run_sentences(one, s, 1);
        read_trees(&t, one);
        const psc_array strength = must_array(one, "spans.strength");
        const psc_array overlap = must_array(one, "spans.overlap"),
                        lag = must_array(one, "spans.lag");
        const psc_array closed = must_array(one, "spans.closed");
        n_inner += t.n > 1 ? (double)t.n - 1.0 : 0.0;
        n_closed += t.n > 1 ? (double)t.n - 1.0 : 0.0; /* tokens 2..n-1 of n + 2 rows */
        for (int l = 0; l < 2; l++) {
            for (int64_t i = 1; i < t.n; i++) {
                int bin = 0;
                while (t.last[l][i] - t.first[l][i] + 1 > ends[bin]) bin++;
                counts[l][bin] += 1.0;
                strengths[l][bin] += array_at(&strength, l * t.n + i);
                if (array_at(&lag, l * t.n + i) < 0) continue;
                lags[l] += array_at(&lag, l * t.n + i);
                ended[l] += 1.0;
            }
            for (int p = 0; p < N_PRIORS && t.n > 1; p++)
                overlaps[l][p] += array_at(&overlap, l * N_PRIORS + p) * (double)(t.n - 1);
            for (int64_t i = 2; i + 1 < closed.shape[1]; i++)
                closure[l] += array_at(&closed, l * closed.shape[1] + i);
        }
    }
    psc_session_close(&one);
    psc_session *first = accumulate(model, options, 1, 1);
    const psc_array brackets = must_array(first, arrays[0]),
                    strength = must_array(first, arrays[1]);
    const psc_array overlap = must_array(first, arrays[3]), lag = must_array(first, arrays[5]);
    const psc_array mean = must_array(first, arrays[6]);
    for (int l = 0; l < 2; l++) {
        for (int b = 0; b < 8; b++) {
            const double got = array_at(&strength, l * 8 + b),
                         want = strengths[l][b] / counts[l][b];
            cr_assert_eq(array_at(&brackets, l * 8 + b), counts[l][b]);
            cr_assert(isnan(got) ? isnan(want) : fabs(got - want) < 1e-9);
        }
        for (int p = 0; p < N_PRIORS; p++)
            cr_assert(fabs(array_at(&overlap, l * N_PRIORS + p) - overlaps[l][p] / n_inner) < 1e-9);
        cr_assert(fabs(array_at(&lag, l) - lags[l] / ended[l]) < 1e-12);
        cr_assert(fabs(array_at(&mean, l) - closure[l] / n_closed) < 1e-9);
    }
    for (int32_t batch = 2; batch <= 3; batch++) {
        psc_session *other = accumulate(model, options, batch, batch);
        assert_same_arrays(first, other, arrays, "batch");
        psc_session_close(&other);
    }
    psc_session_close(&first);
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

/* --- refusals and edges ----------------------------------------------------------------------- */

/* Texts of BOS alone, and of one and two more tokens. */
Test(spans, short_texts) {
    const psc_token tokens[3] = {{0, 0, 0}, {5, 0, 1}, {7, 1, 2}};
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int32_t n = 1; n <= 3; n++) {
        psc_session *session = open_spans(model, "prefixes=yes,closure=yes", &how);
        must_run_one(session, tokens, n);
        cr_assert_eq(must_array(session, "spans.brackets").shape[1], n > 2 ? 1 : 0);
        cr_assert_eq(must_array(session, "spans.units").shape[0], n - 1);
        psc_session_close(&session);
    }
    psc_model_close(&model);
}

/* The text of a long word is cut between characters. */
Test(spans, long_words) {
    enum { LETTERS = 151 };
    char text[2 * LETTERS + 2] = "a";
    psc_token *tokens = NULL;
    int32_t n = 0;
    const fixture_run how = {.threads = 1};
    for (int i = 0; i < LETTERS; i++) memcpy(text + 1 + 2 * i, "\xc3\xa9", 3);
    psc_model *model = must_model(golden_embedded());
    psc_session *session = open_spans(model, "units=words", &how);
    cr_assert_eq(psc_model_encode(&tokens, &n, model, text, strlen(text), true, &error), PSC_OK);
    must_run_one(session, tokens, n);
    psc_result_axis axis;
    cr_assert_eq(
        psc_results_find_axis(&axis, psc_session_results(session), 0, "units", &error), PSC_OK);
    cr_assert_eq(axis.n, 1);
    const char *label = axis.labels[0];
    const size_t length = strlen(label);
    cr_assert(length > 150 && label[0] == '\'' && label[length - 1] == '\'');
    cr_assert_eq(strncmp(label + 1, text, length - 2), 0);
    cr_assert_eq((unsigned char)label[length - 2], 0xa9, "a character is cut");
    psc_free(tokens);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* A run over the tokens fails with a sentence that has both words. */
static void refused_run(psc_session *session, const psc_input *input, const char *text,
    const char *option, const char *what) {
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    run.text = text;
    run.text_bytes = text ? strlen(text) : 0;
    cr_assert_eq(psc_session_run(session, input, 1, &run, &error), PSC_ERROR_PLUGIN, "%s", option);
    cr_assert(strstr(error.message, option) && strstr(error.message, what), "%s", error.message);
}

/* The printed summary; the caller frees it with psc_free. */
static char *shown_text(const psc_session *session) {
    char *text = NULL;
    size_t bytes = 0;
    cr_assert_eq(psc_results_write_memory(
                     &text, &bytes, psc_session_results(session), PSC_FORMAT_TEXT, NULL, &error),
        PSC_OK, "%s", error.message);
    return text;
}

/* A range outside the text is refused before the run; a word that the range cuts is named. */
Test(spans, ranges) {
    static const char *const outside[] = {"range=50-99", "range=2-99", "range=99"};
    static const char text[] = "Nevertheless the extraordinary schoolmaster";
    psc_token *tokens = NULL;
    int32_t n = 0;
    const fixture_run how = {.threads = 1};
    psc_model *model = must_model(golden_embedded());
    cr_assert_eq(psc_model_encode(&tokens, &n, model, text, strlen(text), true, &error), PSC_OK);
    const psc_input input = {0, n, tokens};
    char want[64];
    snprintf(want, sizeof want, "is outside the text, which has positions 1-%d", (int)n - 1);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        psc_session *session = open_spans(model, outside[i], &how);
        refused_run(session, &input, text, outside[i], want);
        psc_session_close(&session);
    }
    psc_session *session = open_spans(model, "units=words", &how);
    must_run_one(session, tokens, n);
    const psc_array units = must_array(session, "spans.units");
    cr_assert_eq(units.shape[0], 4);
    const int last = (int)array_at(&units, 5); /* of the third word */
    cr_assert_gt(array_at(&units, 7), last + 1, "the last word needs two tokens");
    psc_session_close(&session);
    for (int cut = 0; cut < 2; cut++) {
        char options[64];
        snprintf(options, sizeof options, "units=words,range=1-%d", last + cut);
        session = open_spans(model, options, &how);
        must_run_one(session, tokens, n);
        cr_assert_eq(must_array(session, "spans.units").shape[0], 3);
        char *shown = shown_text(session);
        cr_assert_eq(
            strstr(shown, "cuts 1 word; the trees leave it out.") != NULL, cut, "%s", shown);
        psc_free(shown);
        psc_session_close(&session);
    }
    session = open_spans(model, "range=2-99", &how); /* ids that another run may continue */
    must_run_one(session, tokens, n);
    cr_assert_eq(must_array(session, "spans.units").shape[0], n - 2);
    char *shown = shown_text(session);
    cr_assert(strstr(shown, "range=2-99 reaches beyond the end of 1 sequence;"), "%s", shown);
    psc_free(shown);
    psc_session_close(&session);
    snprintf(want, sizeof want, "units=words,range=%d", last + 1);
    session = open_spans(model, want, &how);
    refused_run(session, &input, text, "range=", "holds no whole word");
    psc_session_close(&session);
    psc_free(tokens);
    psc_model_close(&model);
}

Test(spans, refusals) {
    static const char *const bad[][2] = {{"levels=4", "levels=4"}, {"power=9", "power=9"},
        {"range=last", "range=last is not all, or positions"},
        {"range=auto", "range=auto is not all"}, {"range=0-5", "range=0-5 is outside the text"},
        {"range=0", "range=0 is outside"},
        {"range=7-4", "range=7-4 is not all, or positions A or A-B"},
        {"units=letters", "units=letters"}, {"memory=0", "memory=0"}};
    static psc_token tokens[600];
    psc_model *model = must_model(golden_embedded());
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        psc_session *session = must_session(model, NULL, 1, 0);
        cr_assert_neq(psc_session_plugin(session, "spans", bad[i][0], &error), PSC_OK);
        cr_assert(strstr(error.message, bad[i][1]), "%s", error.message);
        psc_session_close(&session);
    }
    const fixture_run how = {.threads = 1};
    psc_session *session = open_spans(model, "memory=4", &how);
    for (int i = 0; i < 500; i++) tokens[i].id = i ? 1 + i % 90 : 0;
    const psc_input input = {0, 500, tokens};
    cr_assert_neq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK);
    cr_assert(
        strstr(error.message, "500 positions at 4 levels") && strstr(error.message, "memory=4 MiB"),
        "%s", error.message);
    must_run_one(session, tokens, 200); /* the session goes on */
    psc_session_close(&session);
    session = open_spans(model, "memory=1,levels=2", &how);
    refused_run(session, &input, NULL, "500 positions at 1 level need", "memory=1 MiB");
    psc_session_close(&session);
    psc_model_close(&model);
}
