/* The plugin's notations of a run: documents, the XML file, the summary, labels from a file and
 * from the caller, and what is refused. */
#include "plugin_fixture.h"

#include <unistd.h>

#define OWN PSC_SOURCE_DIR "/tests/golden/structure/own.conllu"
#define MILL "The old miller didn't lock the gate. Who left it open?"

static psc_token *tokens;
static int32_t n_tokens;
static psc_run_options options;

static void open_books(int accumulate) {
    psc_session_options how = PSC_SESSION_OPTIONS_INIT;
    how.n_sequences = 2;
    how.accumulate = accumulate;
    cr_assert_eq(psc_model_open(&model, PSC_SOURCE_DIR "/models/books-5m", &error), PSC_OK);
    cr_assert_eq(psc_session_open(&session, model, &how, &error), PSC_OK, "%s", error.message);
    options = (psc_run_options)PSC_RUN_OPTIONS_INIT;
}

static void close_books(void) {
    psc_free(tokens);
    fixture_close();
}

static void open_one(void) {
    open_books(0);
}

TestSuite(spans_show, .init = open_one, .fini = close_books);

/* The text behind BOS as sequence 0; `twice`: as sequence 1, too. */
static psc_status run_text(const char *text, int twice) {
    psc_free(tokens);
    cr_assert_eq(psc_model_encode(&tokens, &n_tokens, model, text, strlen(text), true, &error), 0);
    const psc_input inputs[] = {{0, n_tokens, tokens}, {1, n_tokens, tokens}};
    options.text = text;
    options.text_bytes = strlen(text);
    psc_session_truncate(session, 0, 0);
    psc_session_truncate(session, 1, 0);
    return psc_session_run(session, inputs, twice ? 2 : 1, &options, &error);
}

static void must_run(const char *text, int twice) {
    cr_assert_eq(run_text(text, twice), PSC_OK, "%s", error.message);
}

/* A document of the last run, with a 0 after it. */
static char *document(const char *name) {
    psc_result_file file;
    static char *copy;
    for (int32_t i = 0;; i++) {
        cr_assert_eq(psc_results_file_at(&file, psc_session_results(session), i, &error), PSC_OK,
            "no %s", name);
        if (strcmp(file.name, name) == 0) break;
    }
    copy = realloc(copy, (size_t)file.n + 1);
    memcpy(copy, file.bytes, (size_t)file.n);
    copy[file.n] = 0;
    return copy;
}

static bool is_valid(const char *xml) {
    char path[] = "/tmp/psc-spans-XXXXXX", command[1024];
    const int file = mkstemp(path);
    cr_assert(file >= 0 && write(file, xml, strlen(xml)) == (ssize_t)strlen(xml));
    close(file);
    snprintf(command, sizeof command,
        "xmllint --noout --relaxng '" PSC_SOURCE_DIR "/docs/structure.rng' %s 2>/dev/null", path);
    const bool valid = system(command) == 0;
    unlink(path);
    return valid;
}

static int count(const char *text, const char *part) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at++) n++;
    return n;
}

/* --- documents ------------------------------------------------------------------------------- */

Test(spans_show, xml_and_text) {
    must_load("spans", "levels=1/2+3/L2H5");
    must_run(MILL, 0);
    const char *xml = document("spans.xml");
    cr_assert(is_valid(xml), "%s", xml);
    cr_assert_eq(count(xml, "<t n="), 3 * (n_tokens - 1));
    cr_assert_eq(count(xml, "<span "), 3 * (n_tokens - 2));
    cr_assert(strstr(xml, "<level name=\"2+3\" of=\"L2+L3\" reads=\"norm\" power=\"0.5\">"));
    cr_assert(strstr(xml, "<level name=\"L2H5\" of=\"L2H5\""));
    cr_assert(strstr(xml, "<t n=\"6\">'t</t>") && !strstr(xml, "label="));
    const char *text = document("spans.txt");
    cr_assert(strstr(text, "\nlevel 2+3  ") && strstr(text, " \u00b7didn 't "));
    cr_assert_eq(count(text, "position"), count(text, "level L2H5"));
}

/* The brackets of the XML are those of the array, in its order. */
Test(spans_show, the_arrays_brackets) {
    must_load("spans", "levels=2,power=1");
    must_run(MILL, 0);
    const psc_array brackets = must_array("spans.brackets"),
                    strength = must_array("spans.strength");
    const char *at = document("spans.xml");
    for (int64_t i = 0; i < brackets.shape[1]; i++) {
        const int32_t *edges = (const int32_t *)brackets.data + 2 * i;
        int from, to, split;
        double c;
        at = strstr(at, "<span ") + 1;
        cr_assert_eq(sscanf(at, "span from=\"%d\" to=\"%d\" split=\"%d\" strength=\"%lf\"", &from,
                         &to, &split, &c),
            4);
        cr_assert(from == edges[0] && to == edges[1] && split >= from && split < to);
        cr_assert_float_eq(c, ((const double *)strength.data)[i], 1e-8 * c);
    }
    cr_assert(strstr(document("spans.xml"), "power=\"1\""));
}

Test(spans_show, two_sequences) {
    must_load("spans", "levels=2");
    must_run(MILL, 1);
    const char *xml = document("spans.xml");
    cr_assert(is_valid(xml));
    cr_assert_eq(count(xml, "<discourse "), 2);
    cr_assert_eq(count(document("spans.txt"), "\n\nposition 1 "), 1);
}

Test(spans_show, only_bos_and_one_token) {
    must_load("spans", "levels=2");
    must_run("", 0);
    cr_assert(is_valid(document("spans.xml")));
    cr_assert_str_eq(document("spans.txt"), "");
    must_run("The", 0);
    cr_assert(is_valid(document("spans.xml")));
    cr_assert_str_eq(document("spans.txt"), "position 1\ntoken    The\nlevel 2  .\n");
}

/* Control characters and pieces of characters. */
Test(spans_show, hostile_text) {
    must_load("spans", NULL);
    must_run("a\x01\x1b[0m]]>&<\"\u6c34\u8eca\ufffe\u202e\r\n\U0001f600'\\", 0);
    cr_assert(is_valid(document("spans.xml")));
    const char *text = document("spans.txt");
    for (const char *c = text; *c; c++) cr_assert((unsigned char)*c >= 0x20 || *c == '\n');
}

Test(spans_show, the_summary_is_cut) {
    char text[600] = "";
    for (int i = 0; i < 70; i++) strcat(text, " old");
    must_load("spans", "levels=2");
    must_run(text, 0);
    const psc_result_section section = must_section(0);
    bool said = false;
    for (int32_t i = 0; i < section.n_items; i++) {
        psc_result_item item;
        cr_assert_eq(
            psc_results_item_at(&item, psc_session_results(session), 0, i, &error), PSC_OK);
        said |= item.sentence && strstr(item.sentence, "The first 64 of 70 tokens; spans.txt");
        cr_assert(!item.sentence || !strstr(item.sentence, "position 65"));
    }
    cr_assert(said);
    cr_assert(strstr(document("spans.txt"), " 70\n"));
}

/* The XML's heads and links are those of the arrays. */
Test(spans_show, heads_and_links) {
    must_load("spans", "levels=2,heads=causal,links=frozen+causal");
    must_run(MILL, 0);
    const char *xml = document("spans.xml"), *at = xml;
    cr_assert(is_valid(xml), "%s", xml);
    cr_assert(strstr(xml, "power=\"0.5\" heads=\"causal\">"));
    const psc_array head = must_array("spans.head"), kl = must_array("spans.kl"),
                    frozen = must_array("spans.frozen_kl"), from = must_array("spans.from");
    int marks = 0;
    for (int64_t i = 0; i < head.shape[1]; i++) {
        char attribute[32];
        const int32_t position = ((const int32_t *)head.data)[i];
        snprintf(attribute, sizeof attribute, " head=\"%d\"", (int)position);
        at = strstr(at, "<span ") + 1;
        const char *found = strstr(at, attribute), *end = strchr(at, '>');
        cr_assert(position < 0 || (found && found < end), "%d", (int)i);
        marks += position >= 0;
    }
    cr_assert(marks > 0 && count(xml, " head=\"") == marks);
    for (int kind = 0; kind < 2; kind++) {
        at = strstr(xml, kind ? "<links by=\"frozen\"" : "<links by=\"causal\"");
        for (int64_t i = 0; i < kl.shape[0]; i++) {
            int first;
            double nats;
            at = strstr(at, "<link ");
            cr_assert_eq(sscanf(at, "<link from=\"%d\" to=\"%*d\" kl=\"%lf\"", &first, &nats), 2);
            at++;
            cr_assert_eq(first, ((const int32_t *)from.data)[i]);
            cr_assert_float_eq(nats, ((const double *)(kind ? frozen : kl).data)[i], 1e-8 * nats);
        }
    }
    const char *text = document("spans.txt");
    cr_assert(strstr(text, "\ncausal ") && strstr(text, "\nfrozen ") && strstr(text, " nats, "));
}

/* --- the file -------------------------------------------------------------------------------- */

Test(spans_show, the_file_is_the_document) {
    char path[] = "/tmp/psc-spans-XXXXXX", how[64], read[65536];
    close(mkstemp(path));
    snprintf(how, sizeof how, "levels=2,xml=%s", path);
    must_load("spans", how);
    must_run(MILL, 0);
    FILE *file = fopen(path, "rb");
    read[fread(read, 1, sizeof read - 1, file)] = 0;
    fclose(file);
    unlink(path);
    cr_assert_str_eq(read, document("spans.xml"));
}

#define NOT_LOADED(how, status, ...)                                                               \
    REFUSED(psc_session_plugin(session, "spans", how, &error), status, __VA_ARGS__)

Test(spans_show, files_are_checked_first) {
    NOT_LOADED("xml=/tmp/none/a.xml", PSC_ERROR_IO, "cannot write /tmp/none/a.xml");
    NOT_LOADED("xml=/tmp", PSC_ERROR_INPUT, "/tmp is not a regular file");
    NOT_LOADED("labels=/tmp/none.conllu", PSC_ERROR_IO, "cannot open /tmp/none.conllu");
    NOT_LOADED("labels=" PSC_SOURCE_DIR "/README.md", PSC_ERROR_INPUT, "README.md:");
}

Test(spans_show, not_over_a_corpus) {
    close_books();
    tokens = NULL;
    open_books(1);
    NOT_LOADED("xml=/tmp/a.xml", PSC_ERROR_PLUGIN, "xml= needs one text");
    NOT_LOADED("labels=" OWN, PSC_ERROR_PLUGIN, "labels= needs one text");
}

/* --- labels ---------------------------------------------------------------------------------- */

/* Every bracket that is a yield has its label, in every level. */
static void check_labels(void) {
    const char *xml = document("spans.xml");
    cr_assert(is_valid(xml), "%s", xml);
    cr_assert(strstr(xml, "from=\"11\" to=\"15\"") == NULL ||
              strstr(xml, "label=\"VERB\" linguistic-function=\"root\" "
                          "linguistic-operator=\"Mood=Ind|Tense=Past\""));
    const psc_array brackets = must_array("spans.brackets");
    int labelled = 0;
    for (int64_t i = 0; i < brackets.shape[0] * brackets.shape[1]; i++) {
        const int32_t *e = (const int32_t *)brackets.data + 2 * i;
        labelled += (e[0] == 1 && e[1] == 4) || (e[0] == 8 && e[1] == 9) ||
                    (e[0] == 1 && e[1] == 10) || (e[0] == 11 && e[1] == 15);
    }
    cr_assert(labelled > 3);
    cr_assert_eq(count(xml, " label=\""), labelled);
    cr_assert_eq(count(xml, "label=\"NOUN\" linguistic-function=\"obj\" "
                            "linguistic-operator=\"Definite=Def|Number=Sing\""),
        count(xml, "from=\"8\" to=\"9\""));
}

Test(spans_show, labels_of_a_file) {
    must_load("spans", "labels=" OWN);
    must_run(MILL, 0);
    check_labels();
    cr_assert(strstr(document("spans.txt"), "[8,9] NOUN obj Definite=Def|Number=Sing"));
    REFUSED(run_text("The old miller didn't lock the gate. Who left?", 0), PSC_ERROR_PLUGIN,
        "plugin spans: labels=" OWN ":16: the sentence 'Who left it open?' is not at byte 37",
        "differs at byte 45, '?'");
}

/* Without a text the tokens' bytes are aligned. */
Test(spans_show, labels_of_tokens) {
    must_load("spans", "labels=" OWN);
    must_run(MILL, 0);
    const psc_input input = {0, n_tokens, tokens};
    options.text = NULL;
    options.text_bytes = 0;
    psc_session_truncate(session, 0, 0);
    for (int32_t i = 0; i < n_tokens; i++) tokens[i].start = tokens[i].end = 0;
    cr_assert_eq(
        psc_session_run(session, &input, 1, &options, &error), PSC_OK, "%s", error.message);
    check_labels();
}

/* The caller's labels, in a text of which they are a part, for two sequences. */
Test(spans_show, labels_of_the_caller) {
    psc_treebank *treebank;
    int32_t n;
    psc_sentence two[2];
    cr_assert_eq(psc_treebank_open(&treebank, OWN, &error), PSC_OK);
    memcpy(two, psc_treebank_sentences(treebank, &n), sizeof two);
    two[1].start = two[0].bytes + 1;
    options.sentences = two;
    options.n_sentences = 2;
    must_load("spans", NULL);
    must_run(MILL, 0);
    check_labels();
    must_run(MILL, 1);
    cr_assert(is_valid(document("spans.xml")));
    psc_treebank_close(&treebank);
}

/* A text that grows: the prompt's labels stay, what follows has none. */
Test(spans_show, labels_of_a_text_that_grows) {
    char path[] = "/tmp/psc-spans-XXXXXX", how[512];
    close(mkstemp(path));
    snprintf(how, sizeof how, "labels=" OWN ",xml=%s", path);
    must_load("spans", how);
    must_run(MILL, 0);
    const psc_token next = tokens[1];
    const psc_input more = {0, 1, &next};
    options.text = NULL;
    cr_assert_eq(psc_session_run(session, &more, 1, &options, &error), PSC_OK, "%s", error.message);
    const char *xml = document("spans.xml");
    cr_assert(is_valid(xml) && strstr(xml, "<t n=\"16\">"));
    unlink(path);
}
