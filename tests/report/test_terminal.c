/* The words of the summary at several widths: labels, tokens in quotes, borders of tokens, pages. */
#include "psc.h"
#include "report.h"
#include "results.h"
#include "results_fixture.h"
#include "terminal_text.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The caller frees the text. */
static char *wrapped(const char *text, int width) {
    char *out = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&out, &bytes);
    psc_text_wrap(stream, text, 2, width);
    fclose(stream);
    return out;
}

static void check_wrap(const char *text, int width, const char *expected) {
    char *out = wrapped(text, width);
    cr_expect_str_eq(out, expected, "at %d columns:\n%s", width, out);
    free(out);
}

Test(terminal, lines_do_not_break_inside_a_token) {
    check_wrap("promotes ' a house' +0.2", 20, "  promotes\n  ' a house' +0.2\n");
    check_wrap("likes ' a', ' the' and (' of')", 16, "  likes ' a',\n  ' the' and\n  (' of')\n");
    check_wrap("it reads @22 ' had' here", 20, "  it reads\n  @22 ' had' here\n");
    check_wrap("a >>' The'<< ' old'", 13, "  a\n  >>' The'<<\n  ' old'\n");
    check_wrap("it has 12 3 % of it", 13, "  it has 12\n  3 % of it\n");
    check_wrap("rank 1, p = 0.991, logit 13.9", 12, "  rank 1,\n  p = 0.991,\n  logit 13.9\n");
    check_wrap("then ' the' 0.12, 'a' +0.1", 20, "  then ' the' 0.12,\n  'a' +0.1\n");
    check_wrap("quotes ''s' and ' '' done", 16, "  quotes ''s'\n  and ' '' done\n");
}

Test(terminal, an_apostrophe_or_an_open_quote_joins_nothing) {
    check_wrap("the model's own next token's p", 14, "  the model's\n  own next\n  token's p\n");
    check_wrap("a quote ' that nothing closes", 14, "  a quote '\n  that nothing\n  closes\n");
    check_wrap("a heads' list of heads' names", 14, "  a heads'\n  list of\n  heads' names\n");
}

/* Results with one section of that name and version, and two bars. */
static psc_results *bars_of(const char *name, const char *version, const char *const labels[2]) {
    static const double values[] = {-7.897, 0.5};
    psc_results *results;
    cr_assert_eq(psc_results_open(&results, NULL), PSC_OK);
    add_head(results);
    psc_section *section = psc_results_add_section(results, name, version);
    cr_assert(section);
    cr_assert_eq(psc_section_add_bars(section, "effects", "nats", 2, labels, values), PSC_OK);
    return results;
}

static char *summary(const psc_results *results, int width) {
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    cr_assert_eq(
        psc_report_summary(results, out, (psc_report_style){.width = width}, NULL), PSC_OK);
    fclose(out);
    return text;
}

Test(terminal, labels_use_the_width) {
    static const char *const labels[] = {"L3H7: @22 'umb' reads @10 'old'",
        "a label of about sixty columns, which is more than fits at forty"};
    static const struct {
        int width;
        bool first, second;
    } cases[] = {{30, false, false}, {40, true, false}, {80, true, true}, {140, true, true}};
    psc_results *results = bars_of("mine", "1", labels);
    for (int i = 0; i < 4; i++) {
        char *text = summary(results, cases[i].width);
        cr_expect_eq(strstr(text, labels[0]) != NULL, cases[i].first, "%s", text);
        cr_expect_eq(strstr(text, labels[1]) != NULL, cases[i].second, "%s", text);
        cr_expect(strstr(text, "-7.897") && strstr(text, "░░░░"), "%s", text);
        cr_expect(!strstr(text, "…") && strstr(text, "'old'") && strstr(text, "forty"), "%s", text);
        char *from = strstr(text, "effects");
        for (char *line = strtok(from, "\n"); line; line = strtok(NULL, "\n"))
            cr_expect_leq(psc_text_columns(line), cases[i].width, "%s", line);
        free(text);
    }
    psc_results_close(&results);
}

/* Labels of edges end with the row of the target. */
Test(terminal, bars_shrink_before_labels_are_cut) {
    static const char *const labels[] = {"@10 'old' --L3H7 0.84--> @22", "@0 --L3H7--> @22 'umb'"};
    psc_results *results = bars_of("edges", "1", labels);
    char *text = summary(results, 46);
    cr_expect(strstr(text, "    @10 'old' --L3H7 0.84--> @22  -7.897  ░░░░\n"), "%s", text);
    free(text);
    psc_results_close(&results);
}

Test(terminal, the_headline_breaks_between_its_words) {
    static const char *const labels[] = {"a", "b"};
    psc_results *results = bars_of("mine", "1", labels);
    for (int width = 30; width < 60; width += 7) {
        char *text = summary(results, width), *end = strstr(text, "\n\nmine");
        cr_assert(end && strstr(text, " thread"), "%s", text);
        *end = 0;
        int lines = 0;
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++)
            cr_expect_leq(psc_text_columns(line), width, "at %d: %s", width, line);
        cr_expect_gt(lines, 1);
        free(text);
    }
    psc_results_close(&results);
}

Test(terminal, a_corpus_counts_with_commas) {
    static const char *const labels[] = {"a", "b"};
    psc_results *results = bars_of("mine", "1", labels);
    results->has_corpus = true;
    results->corpus.documents = 1200;
    results->corpus.windows = 3400;
    results->corpus.tokens = 1234567;
    char *text = summary(results, 80);
    cr_expect(
        strstr(text, "\n1,234,567 tokens from 1,200 documents in 3,400 windows\n"), "%s", text);
    free(text);
    psc_results_close(&results);
}

Test(terminal, a_built_in_ends_with_its_page) {
    static const char *const labels[] = {"L0H0", "L0H1"};
    static const struct {
        const char *name, *page;
    } cases[] = {{"logits", "See docs/plugins/logits.md\n"},
        {"sweep#2", "See docs/plugins/sweep.md\n"}, {"control.ln", "See docs/plugins/ln.md\n"},
        {"effects", "See docs/interventions.md\n"}, {"mine", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int own = 0; own < 2; own++) { /* another's plugin of the same name has no page */
            psc_results *results = bars_of(cases[i].name, own ? "9.9" : "0.1.0", labels);
            results->version = "0.1.0";
            char *text = summary(results, 80);
            const char *page = strstr(text, "See docs/");
            if (cases[i].page && !own)
                cr_expect(page && strcmp(page, cases[i].page) == 0, "%s", text);
            else
                cr_expect_null(page, "%s", text);
            free(text);
            psc_results_close(&results);
        }
}

Test(terminal, a_list_without_entries_says_so) {
    psc_results *results;
    cr_assert_eq(psc_results_open(&results, NULL), PSC_OK);
    add_head(results);
    psc_section *section = psc_results_add_section(results, "mine", "1");
    cr_assert_eq(psc_section_add_bars(section, "largest", "", 0, NULL, NULL), PSC_OK);
    char *text = summary(results, 80);
    cr_expect(strstr(text, "  largest\n    none\n"), "%s", text);
    free(text);
    psc_results_close(&results);
}

Test(terminal, tokens_break_at_their_borders) {
    static const char *const labels[] = {"a", "b"};
    psc_results *results = bars_of("mine", "1", labels);
    psc_result_token *tokens = psc_results_make_tokens(results, 14);
    cr_assert(tokens);
    for (int i = 0; i < 14; i++) tokens[i] = (psc_result_token){5, 0, i, 0, 0, " abc", 4};
    char *text = summary(results, 40), *line = strstr(text, "14 tokens: ");
    cr_assert(line, "%s", text);
    char *end = strstr(line, "\n\nmine");
    cr_assert(end, "%s", line);
    *end = 0;
    int lines = 0;
    for (line = strtok(line, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        cr_expect_leq(psc_text_columns(line), 40, "%s", line);
        cr_expect(strcmp(line + strlen(line) - 4, "abc|") == 0 ||
                      strcmp(line + strlen(line) - 4, " abc") == 0,
            "%s", line);
    }
    cr_expect_eq(lines, 2);
    free(text);
    psc_results_close(&results);
}

/* Every built-in has a page, and the page exists. */
Test(terminal, every_page_exists) {
    for (int32_t i = 0; i < psc_builtin_count(); i++) {
        const psc_plugin *plugin = psc_builtin(i);
        const char *page = psc_report_section_page("1", plugin->name, "1");
        char path[512];
        cr_assert(page, "%s has no page in report/section_page.c", plugin->name);
        snprintf(path, sizeof path, "%s/%s", PSC_SOURCE_DIR, page);
        FILE *file = fopen(path, "r");
        cr_expect(file, "%s does not exist", path);
        if (file) fclose(file);
    }
}
