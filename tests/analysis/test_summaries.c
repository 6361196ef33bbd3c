/* Summaries of a text or corpus too small for a figure: no sentence, title or label of any plugin
 * shows a NaN, and the summary says which figure is undefined. */
#include "golden.h"
#include "results.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static psc_error error;

/* Whether text contains "nan" or "inf" as a number, not within a word. */
static bool shows_nan(const char *text) {
    static const char *const bad[] = {"nan", "inf"};
    for (int i = 0; i < 2; i++)
        for (const char *at = text; (at = strstr(at, bad[i])); at += 3) {
            const bool begins = at == text || !isalpha((unsigned char)at[-1]);
            if (begins && !isalpha((unsigned char)at[3])) return true;
        }
    return false;
}

static void check_text(const char *plugin, const char *what, const char *text) {
    if (getenv("PSC_TEST_VERBOSE")) fprintf(stderr, "%s (%s): %s\n", plugin, what, text);
    cr_expect(!shows_nan(text), "%s (%s): %s", plugin, what, text);
}

/* Returns the number of lines. */
static int check_summary(const psc_session *session, const char *what) {
    const psc_results *results = psc_session_results(session);
    int lines = 0;
    psc_result_section section = PSC_RESULT_SECTION_INIT;
    psc_result_item item;
    for (int32_t i = 0; psc_results_section_at(&section, results, i, NULL) == PSC_OK; i++)
        for (int32_t j = 0; psc_results_item_at(&item, results, i, j, NULL) == PSC_OK; j++) {
            check_text(section.name, what, item.sentence ? item.sentence : item.title);
            for (int32_t b = 0; b < item.n; b++) check_text(section.name, what, item.labels[b]);
            lines++;
        }
    return lines;
}

/* --- texts ----------------------------------------------------------------------------------- */

static const char *const of_texts[][2] = {{"logits", "level=head+source+neuron"},
    {"logits", "rows=all,centered=yes"}, {"ln", NULL}, {"mlp", NULL}, {"lens", NULL},
    {"partition", "perturbations=step+lens+frozen_ln+recomputed_ln+ablation"},
    {"partition", "alphas=1"}, {"sampling", NULL}, {"attention", "reader=L1H0,key=0"},
    {"edges", "carry=yes"}, {"graph", "level=neuron"}, {"frozen", NULL}, {"roles", NULL},
    {"neurons", "geometry=all"}, {"sweep", "over=heads"}, {"sweep", "over=edges,do=cut"},
    {"sweep", "metric=kl"}};

static void check_text_of(psc_model *model, int which, const char *target, int32_t n) {
    char what[96];
    const psc_token tokens[3] = {{.id = 3}, {.id = 41}, {.id = 7}};
    const psc_input input = {0, n, tokens};
    psc_session *session = must_session(model, NULL, 1, 0);
    snprintf(what, sizeof what, "%s, target %s, %d tokens",
        of_texts[which][1] ? of_texts[which][1] : "", target, (int)n);
    cr_assert_eq(psc_session_plugin(session, of_texts[which][0], of_texts[which][1], &error),
        PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_target(session, target, &error), PSC_OK);
    const psc_status status = psc_session_run(session, &input, 1, NULL, &error);
    if (status == PSC_OK)
        cr_expect(check_summary(session, what) > 0, "%s: no summary", what);
    else
        cr_expect(!shows_nan(error.message) && strstr(error.message, "no token"), "%s",
            error.message); /* graph of a missing target */
    psc_session_close(&session);
}

Test(summaries, of_short_texts) {
    static const char *const targets[] = {"next", "top:1", "#5"};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (size_t i = 0; i < sizeof of_texts / sizeof *of_texts; i++)
        for (int t = 0; t < 3; t++)
            for (int32_t n = 1; n <= 3; n++) check_text_of(model, (int)i, targets[t], n);
    psc_model_close(&model);
}

/* --- corpora --------------------------------------------------------------------------------- */

static const char *const of_corpora[][2] = {{"logits", NULL}, {"ln", NULL}, {"mlp", NULL},
    {"lens", NULL}, {"sampling", NULL}, {"attention", NULL}, {"neurons", NULL},
    {"partition", "rows=all,perturbations=step+lens+frozen_ln+recomputed_ln+ablation"},
    {"partition", "rows=1-1"}, {"partition", "rows=all,alphas=1"}};

/* documents of n tokens each */
static void check_corpus_of(psc_model *model, int which, int documents, int32_t n) {
    char what[96];
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    const psc_token tokens[2] = {{.id = 3}, {.id = 41}};
    const psc_input input = {0, n, tokens};
    options.accumulate = 1;
    snprintf(what, sizeof what, "%d documents of %d tokens", documents, (int)n);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    cr_assert_eq(psc_session_plugin(session, of_corpora[which][0], of_corpora[which][1], &error),
        PSC_OK, "%s", error.message);
    for (int i = 0; i < documents; i++) {
        psc_session_truncate(session, 0, 0);
        must_run(session, &input, 1);
    }
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s %s: %s",
        of_corpora[which][0], what, error.message);
    const int lines = check_summary(session, what); /* attention has only arrays over a corpus */
    cr_expect(lines > 0 || strcmp(of_corpora[which][0], "attention") == 0, "%s, %s: no summary",
        of_corpora[which][0], what);
    psc_session_close(&session);
}

Test(summaries, of_small_corpora) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (size_t i = 0; i < sizeof of_corpora / sizeof *of_corpora; i++)
        for (int documents = 0; documents <= 2; documents++)
            for (int32_t n = 1; n <= (documents ? 2 : 1); n++)
                check_corpus_of(model, (int)i, documents, n);
    psc_model_close(&model);
}
