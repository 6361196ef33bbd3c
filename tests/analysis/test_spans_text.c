/* The aligned text of `spans`: the example of its definition, heads, links, labels, units of
 * several tokens, blocks, wide and hostile texts. */
#include "notation_fixture.h"

static psc_growing out;

static const char *text_of(int32_t most, int32_t width, int32_t top) {
    out.used = 0;
    spans_write_text(&out, &notation, most, width, top);
    cr_assert_not(out.failed);
    return out.data;
}

#define EQUAL(text, expected) cr_assert_str_eq(text, expected, "\n%s", text)

Test(spans_text, the_example) {
    begin_example();
    EQUAL(text_of(0, 200, 8),
        "position 1   2    3    4     5    6       7     8  9    10   11    12 13   14   15    16  17    18\n"
        "token    The \u00b7old \u00b7man \u00b7gave \u00b7the \u00b7little \u00b7girl \u00b7a \u00b7red "
        "\u00b7app le    ,  \u00b7and \u00b7she \u00b7than ked \u00b7him  .\n"
        "level 2  <.  <.   .>>  <<<.  <.   <.      .>>>  <. <.   <.   .>>>> <. <<.  <.   <.    <.  .>>>> .>>>\n");
}

Test(spans_text, the_largest_links_first) {
    static const spans_shown_link by[] = {{2, 3, 1.908, -1}, {0, 3, 0.1, 0}, {9, 10, 1.21, 2},
        {3, 6, 1.114, NAN}, {1, 3, NAN, 0}, {13, 14, 0.826, 0}};
    static const spans_shown_links links[] = {{"causal", 6, by}, {"frozen", 6, by}};
    begin_example();
    notation.n_links = 1;
    notation.links = links;
    const char *lines = strstr(text_of(0, 200, 4), "links");
    EQUAL(lines, "links    man -> gave 1.91 nats, app -> le 1.21, gave -> girl 1.11, she -> than "
                 "0.83\n");
    lines = strstr(text_of(0, 40, 3), "links");
    EQUAL(lines, "links    man -> gave 1.91 nats,\n"
                 "links    app -> le 1.21,\n"
                 "links    gave -> girl 1.11\n");
    cr_assert_null(strstr(text_of(0, 200, 0), "links"));
    notation.n_links = 2;
    lines = strstr(text_of(0, 200, 1), "causal");
    EQUAL(lines, "causal   man -> gave 1.91 nats\nfrozen   man -> gave 1.91 nats\n");
}

/* A head is marked unless its span ends in it; the whole's is not. */
Test(spans_text, heads) {
    begin_notation("a|b|c|d");
    add_level("0", "L0", "<. <. .>> .");
    levels[0].heads = heads[0];
    static const int32_t at[][3] = {{0, 2, 1}, {3, 0, 2}, {1, -1, 1}, {1, -1, -1}};
    static const char *const rows[] = {"<. <* .>> .", "<* <. .>> .", "<. <* .>> .", "<. <. .>> ."};
    for (int i = 0; i < 4; i++) {
        char found[64] = "";
        memcpy(heads[0], at[i], sizeof at[i]);
        const char *line = strstr(text_of(0, 80, 8), "level 0") + 9;
        for (const char *c = line; *c != '\n'; c++) /* one space between cells */
            if (*c != ' ' || c[1] != ' ') strncat(found, c, 1);
        cr_assert_str_eq(found, rows[i], "%d: %s", i, found);
    }
}

/* Columns are tokens; later tokens of a unit continue it. */
Test(spans_text, units_of_several_tokens) {
    static const spans_shown_link by[] = {{0, 1, 0.83, 0}};
    static const spans_shown_links links[] = {{"causal", 1, by}};
    begin_notation("she| than|ked| him|!");
    notation.units = "words";
    notation.n_units = 4;
    notation.n_spans = 3;
    begin[1] = 2, begin[2] = 4, begin[3] = 5, begin[4] = 6;
    add_level("1+2", "L1+L2", ". <<. .> .>");
    notation.n_links = 1;
    notation.links = links;
    EQUAL(text_of(0, 80, 8), "position  1   2     3   4    5\n"
                             "token     she \u00b7than ked \u00b7him !\n"
                             "level 1+2 .   <<.   -   .>   .>\n"
                             "links     she -> than|ked 0.83 nats\n");
}

Test(spans_text, blocks) {
    begin_example();
    const char *all = text_of(0, 30, 8);
    EQUAL(all, "position 1   2    3    4\n"
               "token    The \u00b7old \u00b7man \u00b7gave\n"
               "level 2  <.  <.   .>>  <<<.\n"
               "\n"
               "position 5    6       7     8\n"
               "token    \u00b7the \u00b7little \u00b7girl \u00b7a\n"
               "level 2  <.   <.      .>>>  <.\n"
               "\n"
               "position 9    10   11    12\n"
               "token    \u00b7red \u00b7app le    ,\n"
               "level 2  <.   <.   .>>>> <.\n"
               "\n"
               "position 13   14   15    16\n"
               "token    \u00b7and \u00b7she \u00b7than ked\n"
               "level 2  <<.  <.   <.    <.\n"
               "\n"
               "position 17    18\n"
               "token    \u00b7him  .\n"
               "level 2  .>>>> .>>>\n");
    EQUAL(text_of(2, 78, 8), "position 1   2\ntoken    The \u00b7old\nlevel 2  <.  <.\n");
    EQUAL(text_of(2, 5, 8), "position 1\ntoken    The\nlevel 2  <.\n\n"
                            "position 2\ntoken    \u00b7old\nlevel 2  <.\n"); /* one at a time */
}

Test(spans_text, labels) {
    begin_example();
    levels[0].labels = span_labels[0];
    span_labels[0][1] = (spans_label){"NOUN", "nsubj", "Definite=Def|Number=Sing"};
    span_labels[0][2] = (spans_label){"NOUN", NULL, NULL};
    const char *lines = strstr(text_of(0, 78, 8), "labels 2 [");
    EQUAL(lines, "labels 2 [1,3] NOUN nsubj Definite=Def|Number=Sing, [2,3] NOUN\n");
    lines = strstr(text_of(0, 78, 1), "labels 2 [");
    EQUAL(lines, "labels 2 [1,3] NOUN nsubj Definite=Def|Number=Sing\n");
}

/* Wide characters take two columns, marks none; a mark alone stands on a circle. */
Test(spans_text, wide_texts) {
    begin_notation("\u6c34\u8eca| cafe\u0301|\u0301|e\u0301t|  ");
    add_level("0", "L0", "<. .> <. <. .>>");
    EQUAL(text_of(0, 80, 8),
        "position 1    2     3  4  5\n"
        "token    \u6c34\u8eca \u00b7cafe\u0301 \u25cc\u0301  e\u0301t \u00b7\u00b7\n"
        "level 0  <.   .>    <. <. .>>\n");
}

Test(spans_text, long_texts_are_cut) {
    char chain[64], row[4096] = "";
    begin_notation(
        "abcdefghijklmnopqrstuvwx|abcdefghijklmnopqrstuvwxy|"
        "\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34|"
        "\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34\u6c34");
    add_level("0", "L0", ". <. <. .>>");
    const char *all = text_of(0, 400, 8);
    cr_assert(strstr(all, "abcdefghijklmnopqrstuvwx abcdefghijklmnopqrstuvw\u2026 "));
    cr_assert(strstr(all, "\u6c34\u6c34\u6c34\u6c34 \u6c34") && strstr(all, "\u6c34\u2026\n"));
    for (int most = 8; most < 12; most += 3) { /* brackets that open at one token */
        char list[64] = "a|b|c";
        for (int i = 0; i < most - 1; i++) strcat(list, "|d");
        begin_notation(list);
        memset(chain, '<', 64);
        snprintf(row, sizeof row, "%.*s. .>", most, chain);
        for (int i = 0; i < most - 1; i++) strcat(row, " .>");
        strcat(row, " .");
        add_level("0", "L0", row);
        cr_assert(strstr(text_of(0, 200, 8), most > 8 ? "level 0  11<. " : "level 0  <<<<<<<<. "));
    }
}

Test(spans_text, nothing_and_one) {
    begin_notation("");
    levels[notation.n_levels++] = (spans_shown_level){.name = "0", .of = "L0"};
    spans_write_text(&out, &notation, 0, 78, 8);
    cr_assert(out.used == 0 && !out.failed);
    begin_notation("a");
    levels[notation.n_levels++] =
        (spans_shown_level){.name = "0", .of = "L0", .brackets = brackets[0]};
    EQUAL(text_of(0, 78, 8), "position 1\ntoken    a\nlevel 0  .\n");
}
