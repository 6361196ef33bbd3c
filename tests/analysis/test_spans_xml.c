/* The XML of `spans`: valid against docs/structure.rng for any bytes of tokens and labels; what a
 * parser reads back; a schema that refuses broken documents. Needs xmllint. */
#include "notation_fixture.h"

#include <unistd.h>

#define SCHEMA PSC_SOURCE_DIR "/docs/structure.rng"

static psc_growing out;
static char path[64];

static const char *xml_of(int32_t n) {
    spans_notation all[2] = {notation, notation};
    out.used = 0;
    spans_write_xml(&out, all, n);
    cr_assert_not(out.failed);
    return out.data;
}

static void write_file(const char *bytes, size_t n) {
    snprintf(path, sizeof path, "/tmp/psc-spans-XXXXXX");
    const int file = mkstemp(path);
    cr_assert(file >= 0 && write(file, bytes, n) == (ssize_t)n && close(file) == 0);
}

/* Whether xmllint accepts the document. */
static bool is_valid(const char *bytes, size_t n) {
    char command[1200];
    cr_assert_eq(system("xmllint --version >/dev/null 2>&1"), 0, "install libxml2-utils");
    write_file(bytes, n);
    snprintf(command, sizeof command,
        "xmllint --noout --huge --relaxng '" SCHEMA "' %s >/dev/null 2>&1", path);
    const bool valid = system(command) == 0;
    unlink(path);
    return valid;
}

static void must_be_valid(int32_t n) {
    xml_of(n);
    cr_assert(is_valid(out.data, out.used), "%s", out.data);
}

/* What a parser reads at an XPath of the present document, without the newline that ends it. */
static const char *read_back(const char *xpath) {
    static char text[4096];
    char command[1200];
    xml_of(1);
    write_file(out.data, out.used);
    snprintf(command, sizeof command, "xmllint --xpath 'string(%s)' %s", xpath, path);
    FILE *pipe = popen(command, "r");
    cr_assert(pipe);
    const size_t n = fread(text, 1, sizeof text - 1, pipe);
    cr_assert_eq(pclose(pipe), 0);
    unlink(path);
    text[n > 0 ? n - 1 : 0] = 0;
    return text;
}

/* --- what is written ------------------------------------------------------------------------- */

static const spans_shown_link causal[] = {{0, 2, 1.5, -0.25}, {1, 2, 0.5, NAN}, {0, 1, NAN, 0}};
static const spans_shown_links links[] = {{"causal", 3, causal}, {"frozen", 0, NULL}};

static void begin_small(void) {
    begin_notation("The| old| man|.");
    add_level("0", "L0", "<. <. .>> .");
    add_level("1+2", "L1+L2", ". <. <. .>>");
    add_level("L2H5", "L2H5", "<. <. .>> .");
    levels[0].heads = heads[0];
    levels[0].heads_by = "causal";
    heads[0][0] = -1, heads[0][1] = 1, heads[0][2] = 2;
    levels[0].labels = span_labels[0];
    span_labels[0][1] = (spans_label){"NOUN", "nsubj", "Number=Sing"};
    notation.n_links = 2;
    notation.links = links;
}

Test(spans_xml, a_document) {
    begin_small();
    must_be_valid(1);
    const char *expected =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<discourse units=\"tokens\">\n"
        " <level name=\"0\" of=\"L0\" reads=\"norm\" power=\"0.5\" heads=\"causal\">\n"
        "  <span from=\"1\" to=\"4\" split=\"3\" strength=\"1\">\n"
        "   <span from=\"1\" to=\"3\" split=\"1\" strength=\"0.5\" head=\"2\" label=\"NOUN\" "
        "linguistic-function=\"nsubj\" linguistic-operator=\"Number=Sing\">\n"
        "    <t n=\"1\">The</t>\n"
        "    <span from=\"2\" to=\"3\" split=\"2\" strength=\"0.333333333\" head=\"3\">\n"
        "     <t n=\"2\"> old</t>\n     <t n=\"3\"> man</t>\n    </span>\n   </span>\n"
        "   <t n=\"4\">.</t>\n  </span>\n </level>\n"
        " <level name=\"1+2\" of=\"L1+L2\" reads=\"norm\" power=\"0.5\">\n";
    cr_assert_eq(strncmp(xml_of(1), expected, strlen(expected)), 0, "%s", out.data);
    const char *end = " <links by=\"causal\">\n"
                      "  <link from=\"1\" to=\"3\" kl=\"1.5\" dlogp_next=\"-0.25\"/>\n"
                      "  <link from=\"2\" to=\"3\" kl=\"0.5\"/>\n </links>\n"
                      " <links by=\"frozen\">\n </links>\n"
                      " <same levels=\"0 L2H5\" span=\"1 3\"/>\n"
                      " <same levels=\"0 L2H5\" span=\"2 3\"/>\n</discourse>\n";
    cr_assert_str_eq(strstr(out.data, " <links by"), end);
    must_be_valid(2);
    must_be_valid(0);
}

/* Every span of the example, found by a parser, and nested as a tree. */
Test(spans_xml, the_example) {
    begin_example();
    must_be_valid(1);
    cr_assert_str_eq(read_back("count(//span)"), "17");
    cr_assert_str_eq(read_back("count(//t)"), "18");
    cr_assert_str_eq(read_back("count(//span[@from=1 and @to=3]/span[@from=2 and @to=3]/t)"), "2");
    cr_assert_str_eq(read_back("count(//span[@from=1 and @to=2])"), "0");
    cr_assert_str_eq(read_back("//span[@from=4 and @to=11]/@split"), "7");
    cr_assert_str_eq(read_back("normalize-space(//span[@from=8])"), "a red app le");
}

Test(spans_xml, units_of_several_tokens) {
    begin_notation("she| than|ked| him|!");
    notation.units = "words";
    notation.n_units = 4;
    notation.n_spans = 3;
    begin[1] = 2, begin[2] = 4, begin[3] = 5, begin[4] = 6;
    add_level("0", "L0", ". <<. .> .>");
    must_be_valid(1);
    cr_assert(strstr(out.data, "<span from=\"2\" to=\"4\" split=\"3\""));
    cr_assert(strstr(out.data, "<t n=\"3\" unit=\"2\">ked</t>"));
    cr_assert_str_eq(read_back("count(//span[@from=2 and @to=4]/t[@unit=2])"), "2");
}

Test(spans_xml, one_unit_and_none) {
    begin_notation("a");
    levels[notation.n_levels++] = (spans_shown_level){.name = "0", .of = "L0"};
    must_be_valid(1);
    cr_assert(strstr(out.data, "<t n=\"1\">a</t>"));
    begin_notation("");
    levels[notation.n_levels++] = (spans_shown_level){.name = "0", .of = "L0"};
    must_be_valid(1);
}

/* A left-branching tree over 2,000 tokens nests 1,999 spans; the writer does not recurse. */
Test(spans_xml, a_deep_tree) {
    begin_notation("");
    for (int i = 0; i < 2000; i++) add_token("a", 1, "a");
    for (int32_t i = 0; i < 1999; i++)
        brackets[0][i] = (psc_bracket){0, 1999 - i, 1998 - i, i - 1, 0.5};
    levels[notation.n_levels++] =
        (spans_shown_level){.name = "0", .of = "L0", .brackets = brackets[0]};
    must_be_valid(1);
    cr_assert(strstr(out.data, "<span from=\"1\" to=\"2\" split=\"1\""));
}

/* --- hostile texts --------------------------------------------------------------------------- */

static const struct {
    const char *bytes;
    size_t n;
    const char *read; /* by a parser */
    const char *hex;  /* the attribute `bytes` */
} hostile[] = {
    {"]]>", 3, "]]>", ""},
    {"<!--", 4, "<!--", ""},
    {"-->", 3, "-->", ""},
    {"<![CDATA[", 9, "<![CDATA[", ""},
    {"<?xml?>", 7, "<?xml?>", ""},
    {"&amp;", 5, "&amp;", ""},
    {"&#0;", 4, "&#0;", ""},
    {"\"'", 2, "\"'", ""},
    {"</t>", 4, "</t>", ""},
    {"\t\n\r ", 4, "\t\n\r ", ""},
    {"\0", 1, "\ufffd", "00"},
    {"\x01\x1f", 2, "\ufffd\ufffd", "011f"},
    {"\x0b\x0c\x1b[0m", 6, "\ufffd\ufffd\ufffd[0m", "0b0c1b5b306d"},
    {"\x7f\xc2\x85", 3, "\x7f\xc2\x85", ""},
    {"\xe2\x80\xa8\xe2\x80\xae", 6, "\xe2\x80\xa8\xe2\x80\xae", ""},
    {"\xef\xbf\xbe", 3, "\ufffd\ufffd\ufffd", "efbfbe"},             /* U+FFFE */
    {"\xef\xbf\xbf", 3, "\ufffd\ufffd\ufffd", "efbfbf"},             /* U+FFFF */
    {"\xef\xbf\xbd", 3, "\ufffd", ""},                               /* U+FFFD itself */
    {"\xed\xa0\x80", 3, "\ufffd\ufffd\ufffd", "eda080"},             /* U+D800 */
    {"\xed\xbf\xbf", 3, "\ufffd\ufffd\ufffd", "edbfbf"},             /* U+DFFF */
    {"\xf4\x8f\xbf\xbf", 4, "\xf4\x8f\xbf\xbf", ""},                 /* U+10FFFF */
    {"\xf4\x90\x80\x80", 4, "\ufffd\ufffd\ufffd\ufffd", "f4908080"}, /* above */
    {"\xc0\x80", 2, "\ufffd\ufffd", "c080"},                         /* an overlong 0 */
    {"\xe6\xb0", 2, "\ufffd\ufffd", "e6b0"},                         /* two bytes of three */
    {"\xb4", 1, "\ufffd", "b4"},                                     /* the third */
    {"a\xff<", 3, "a\ufffd<", "61ff3c"},
    {"\xef\xbb\xbf", 3, "\xef\xbb\xbf", ""}, /* a byte order mark */
    {"", 0, "", ""},
};

Test(spans_xml, hostile_tokens) {
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        begin_notation("");
        add_token(hostile[i].bytes, hostile[i].n, "?");
        levels[notation.n_levels++] = (spans_shown_level){.name = "0", .of = "L0"};
        must_be_valid(1);
        cr_assert_str_eq(read_back("//t"), hostile[i].read, "%d", (int)i);
        cr_assert_str_eq(read_back("//t/@bytes"), hostile[i].hex, "%d", (int)i);
    }
}

/* Every byte and every pair with a lead byte, in one document. */
Test(spans_xml, every_byte) {
    static char bytes[MOST_UNITS][2];
    begin_notation("");
    for (int i = 0; i < MOST_UNITS - 1; i++) {
        bytes[i][0] = (char)(i % 256);
        bytes[i][1] = (char)(0x7f + i / 256 * 16);
        add_token(bytes[i], 1 + (size_t)(i >= 256), "?");
    }
    levels[notation.n_levels++] = (spans_shown_level){.name = "0", .of = "L0"};
    notation.n_spans = 0;
    must_be_valid(1);
}

Test(spans_xml, tokens_without_text) {
    begin_notation("");
    add_token(NULL, 0, "#7");
    tokens[0].id = 7;
    levels[notation.n_levels++] = (spans_shown_level){.name = "0", .of = "L0"};
    must_be_valid(1);
    cr_assert(strstr(out.data, "<t n=\"1\" id=\"7\"/>"));
}

Test(spans_xml, hostile_labels) {
    begin_small();
    span_labels[0][1] = (spans_label){"<\">&'\x01\t", "\xff]]>", "\xef\xbf\xbe\n"};
    span_labels[0][2] = (spans_label){"X", NULL, "A=B"};
    must_be_valid(1);
    cr_assert_str_eq(read_back("//span[@to=3]/@label"), "<\">&'\ufffd\t");
    cr_assert_str_eq(read_back("//span[@to=3]/@linguistic-operator"), "\ufffd\ufffd\ufffd\n");
}

/* Numbers that XML's double does not spell so are left out. */
Test(spans_xml, numbers_that_are_not_finite) {
    begin_small();
    brackets[0][1].strength = NAN;
    brackets[0][2].strength = INFINITY;
    must_be_valid(1);
    cr_assert_null(strstr(out.data, "nan"));
    cr_assert_null(strstr(out.data, "inf"));
}

/* --- the schema ------------------------------------------------------------------------------ */

Test(spans_xml, the_schema_refuses) {
    static const char *const changes[][2] = {{"units=\"tokens\"", "units=\"bits\""},
        {" units=\"tokens\"", ""}, {"reads=\"norm\"", "reads=\"much\""}, {" power=\"0.5\"", ""},
        {"heads=\"causal\"", "heads=\"none\""}, {"of=\"L0\"", "of=\"0\""},
        {"name=\"0\"", "name=\"zero\""}, {"split=\"3\"", "split=\"\""},
        {"from=\"1\"", "from=\"0\""}, {" to=\"3\"", ""}, {"head=\"2\"", "head=\"-1\""},
        {" label=\"NOUN\"", ""}, {"<t n=\"1\">The</t>", "<t>The</t>"},
        {"<t n=\"1\">The</t>", "<t n=\"1\"><b/></t>"}, {"<t n=\"1\">The</t>", "The"},
        {"kl=\"1.5\"", "kl=\"much\""}, {" by=\"causal\"", ""}, {"by=\"causal\"", "by=\"chance\""},
        {"levels=\"0 L2H5\"", "levels=\"0\""}, {"span=\"1 3\"", "span=\"1\""},
        {"<links by=\"frozen\">", "<links by=\"frozen\"><level/>"}};
    begin_small();
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char broken[8192];
        const char *at = strstr(xml_of(1), changes[i][0]);
        cr_assert(at, "%s", changes[i][0]);
        snprintf(broken, sizeof broken, "%.*s%s%s", (int)(at - out.data), out.data, changes[i][1],
            at + strlen(changes[i][0]));
        cr_assert_not(is_valid(broken, strlen(broken)), "%s", changes[i][1]);
    }
}
