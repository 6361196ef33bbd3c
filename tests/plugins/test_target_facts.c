/* The targets that results name: their ids, texts, ranks and probabilities at the rows whose logits
 * the plugins observed. */
#include "plugin_fixture.h"

static void open_with(int32_t chunk, int32_t sequences, int accumulate) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.chunk = chunk;
    options.n_sequences = sequences;
    options.accumulate = accumulate;
    cr_assert_eq(psc_model_open(&model, PSC_SOURCE_DIR "/models/books-5m", &error), PSC_OK);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
}

static void open_books(void) {
    open_with(4, 1, 0);
}

TestSuite(target_facts, .init = open_books, .fini = fixture_close);

static void must_target(const char *text) {
    cr_assert_eq(psc_session_target(session, text, &error), PSC_OK, "%s", error.message);
}

static psc_result_target fact(int32_t index) {
    psc_result_target out = PSC_RESULT_TARGET_INIT;
    const psc_results *results = psc_session_results(session);
    cr_assert_eq(psc_results_target_at(&out, results, index, &error), PSC_OK, "%s", error.message);
    return out;
}

static int32_t n_facts(void) {
    return psc_results_target_count(psc_session_results(session));
}

/* id's rank, probability and logit in the session's own logits of the row. */
static void check_token(int32_t row, int32_t id, int32_t rank, double p, double logit) {
    const int32_t n = psc_model_get_info(model)->d_vocab;
    const float *z = psc_session_logits(session, row);
    cr_assert(z);
    int32_t before = 0;
    double sum = 0;
    for (int32_t i = 0; i < n; i++) {
        before += z[i] > z[id] || (z[i] == z[id] && i < id);
        sum += exp((double)z[i] - (double)z[id]);
    }
    cr_assert_eq(rank, before + 1, "row %d, id %d: rank %d", row, id, rank);
    cr_assert_eq(logit, (double)z[id]);
    cr_assert_float_eq(p, 1 / sum, 1e-12 + 1e-9 / sum);
}

static void check_text(const char *text, int32_t id) {
    size_t n;
    const char *bytes = psc_model_token_bytes(model, id, &n);
    cr_assert(text);
    if (strstr(text, "\xef\xbf\xbd")) return; /* not UTF-8 */
    cr_assert(strlen(text) == n && memcmp(text, bytes, n) == 0, "%d: '%s'", id, text);
}

Test(target_facts, every_kind_at_every_row) {
    must_target("top:3");
    must_target("#262");
    must_target("next");
    cr_assert_eq(psc_session_contrast(session, "#300", "#7", &error), PSC_OK);
    must_load("logits", "rows=all,level=head");
    must_run_ten();
    cr_assert_eq(n_facts(), 10 * 6 - 1, "no next after the last row");
    for (int32_t i = 0; i < n_facts(); i++) {
        static const char *const names[] = {"top:1", "top:2", "top:3", "' the'", "next"};
        const psc_result_target t = fact(i);
        cr_assert_eq(t.row, i / 6);
        const int kind = i - 6 * t.row + (i == 58);
        if (kind < 5 && kind != 3) cr_assert_str_eq(t.name, names[kind]);
        if (kind < 3) cr_assert_eq(t.rank, kind + 1);
        if (kind == 3) cr_assert_eq(t.id, 262);
        if (kind == 4) cr_assert_eq(t.id, ten[t.row + 1].id);
        cr_assert(kind == 5 ? t.id == 300 && t.minus_id == 7 : t.minus_id == -1);
        check_token(t.row, t.id, t.rank, t.p, t.logit);
        check_text(t.text, t.id);
        if (kind == 5) check_token(t.row, t.minus_id, t.minus_rank, t.minus_p, t.minus_logit);
        if (kind == 5) check_text(t.minus_text, 7);
        if (kind != 5) cr_assert(!t.minus_text && t.minus_rank == 0);
    }
    psc_result_target t = PSC_RESULT_TARGET_INIT;
    REFUSED(psc_results_target_at(&t, psc_session_results(session), 59, &error), PSC_ERROR_INPUT,
        "no target 59");
}

Test(target_facts, only_where_plugins_use_targets) {
    psc_input input = {0, 10, ten};
    must_run_ten();
    cr_assert_eq(n_facts(), 0, "no plugin");
    must_load("attention", NULL);
    must_run_ten();
    cr_assert_eq(n_facts(), 0, "a plugin without targets");
    must_load("logits", "rows=3-4,level=layer");
    psc_session_truncate(session, 0, 0);
    cr_assert_eq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK);
    cr_assert_eq(n_facts(), 2, "the rows that the plugin selected, whatever the caller takes");
    cr_assert(fact(0).row == 3 && fact(1).row == 4);
    must_run_ten();
    cr_assert_eq(n_facts(), 2);
}

Test(target_facts, many_are_those_of_last_rows) {
    must_target("top:200");
    must_load("logits", "rows=all,level=layer");
    must_run_ten();
    cr_assert_eq(n_facts(), 200, "2000 would be too many");
    cr_assert(fact(0).row == 9 && fact(199).rank == 200);
    must_target("top:1000");
    must_run_ten();
    cr_assert_eq(n_facts(), PSC_MOST_RESULT_TARGETS);
}

Test(target_facts, taken_results_keep_them) {
    psc_results *taken;
    must_load("logits", "level=layer");
    must_run_ten();
    const psc_result_target before = fact(0);
    cr_assert_eq(psc_session_take_results(&taken, session, &error), PSC_OK);
    cr_assert_eq(n_facts(), 0);
    must_target("#5");
    psc_session_close(&session);
    psc_result_target t = PSC_RESULT_TARGET_INIT;
    cr_assert_eq(psc_results_target_at(&t, taken, 0, &error), PSC_OK);
    cr_assert(t.id == before.id && t.p == before.p);
    cr_assert_str_eq(t.name, "top:1");
    check_text(t.text, t.id);
    psc_results_close(&taken);
}

Test(target_facts, of_several_sequences, .init = NULL) {
    const psc_input inputs[] = {{0, 6, ten + 4}, {1, 3, ten}};
    open_with(2, 2, 0);
    must_load("logits", "level=layer");
    cr_assert_eq(psc_session_run(session, inputs, 2, NULL, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(n_facts(), 2);
    cr_assert(fact(0).row == 5 && fact(1).row == 8);
}

Test(target_facts, none_over_a_corpus, .init = NULL) {
    open_with(4, 1, 1);
    must_load("logits", NULL);
    must_run_ten();
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(n_facts(), 0);
}
