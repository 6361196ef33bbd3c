/* CoNLL-U files: every word of tests/golden/structure/own.conllu found by its bytes; texts rebuilt;
 * one sentence for each kind of bad input. */
#include "plugin_fixture.h"
#include "psc_treebank.h"

#include <unistd.h>

#define OWN PSC_SOURCE_DIR "/tests/golden/structure/own.conllu"

static char path[256];
static psc_treebank *treebank;
static const psc_sentence *sentences;
static int32_t n_sentences;

static void write_bytes(const char *bytes, size_t n) {
    snprintf(path, sizeof path, "/tmp/psc-treebank-XXXXXX");
    int file = mkstemp(path);
    cr_assert(file >= 0 && write(file, bytes, n) == (ssize_t)n && close(file) == 0);
}

static void must_open(const char *name) {
    cr_assert_eq(psc_treebank_open(&treebank, name, &error), PSC_OK, "%s", error.message);
    sentences = psc_treebank_sentences(treebank, &n_sentences);
}

/* Opens a file of these bytes; the sentences stay open. */
static void must_read(const char *bytes) {
    write_bytes(bytes, strlen(bytes));
    must_open(path);
    unlink(path);
}

static bool covers(const psc_sentence *s, int32_t w, const char *expected) {
    const psc_word *word = &s->words[w];
    return word->end - word->start == strlen(expected) &&
           memcmp(s->text + word->start, expected, strlen(expected)) == 0;
}

/* --- good files ------------------------------------------------------------------------------ */

Test(treebank, own_sentences) {
    must_open(OWN);
    cr_assert_eq(n_sentences, 8);
    const psc_sentence *s = &sentences[0];
    cr_assert_str_eq(s->id, "mill-1");
    cr_assert_str_eq(s->text, "The old miller didn't lock the gate.");
    cr_assert(s->bytes == strlen(s->text) && s->start == 0 && s->n == 9 && s->line == 1);
    cr_assert_eq(s->words[2].head, 5);
    cr_assert_eq(s->words[5].head, -1);
    cr_assert_str_eq(s->words[2].lemma, "miller");
    cr_assert_str_eq(s->words[2].upos, "NOUN");
    cr_assert_str_eq(s->words[2].xpos, "NN");
    cr_assert_str_eq(s->words[2].feats, "Number=Sing");
    cr_assert_str_eq(s->words[2].deprel, "nsubj");
    cr_assert_str_eq(s->words[2].misc, "");
    cr_assert_str_eq(s->words[7].misc, "SpaceAfter=No");
    psc_treebank_close(&treebank);
    cr_assert_null(treebank);
    psc_treebank_close(&treebank);
}

Test(treebank, documents_and_paragraphs) {
    must_open(OWN);
    static const int documents[] = {1, 0, 0, 0, 0, 1, 0, 0},
                     paragraphs[] = {1, 0, 0, 1, 0, 1, 0, 0};
    for (int32_t i = 0; i < 8; i++) {
        cr_assert_eq(sentences[i].new_document, documents[i], "%d", (int)i);
        cr_assert_eq(sentences[i].new_paragraph, paragraphs[i], "%d", (int)i);
    }
    psc_treebank_close(&treebank);
}

/* Words of a multiword token are cut out of it, or share it where they are spelled otherwise. */
Test(treebank, words_have_their_bytes) {
    must_open(OWN);
    for (int32_t i = 0; i < n_sentences; i++)
        for (int32_t w = 0; w < sentences[i].n; w++)
            if (i != 6 || w < 1 || w > 2)
                cr_assert(covers(&sentences[i], w, sentences[i].words[w].form), "%d %d", i, w);
    const psc_sentence *s = &sentences[6];
    cr_assert_str_eq(s->words[1].form, "want");
    cr_assert_str_eq(s->words[2].form, "to");
    cr_assert(covers(s, 1, "wanna") && covers(s, 2, "wanna") && covers(s, 3, "see"));
    cr_assert(s->words[5].start == 16 && s->words[5].end == 22); /* two characters of 3 bytes */
    psc_treebank_close(&treebank);
}

Test(treebank, a_text_is_rebuilt) {
    must_open(OWN);
    cr_assert_str_eq(sentences[7].text, "(It never stopped.)");
    psc_treebank_close(&treebank);
    /* SpaceAfter of a multiword token counts, not its words'; CR LF, a byte order mark, no last
     * blank line */
    must_read("\xef\xbb\xbf# sent_id=1\r\n1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No\r\n"
              "1\tdo\t_\tX\t_\t_\t0\troot\t_\t_\r\n2\tn't\t_\tX\t_\t_\t1\tx\t_\t_\r\n"
              "3\t_\t_\tX\t_\t_\t1\tx\t_\tNoSpaceAfter=No|SpaceAfter=Now\r\n"
              "4\tgo\t_\tX\t_\t_\t1\tx\t_\tSpaceAfter=No\r\n\r\n\r\n"
              "1\tgo\t_\tX\t_\t_\t0\troot\t_\t_");
    cr_assert_eq(n_sentences, 2);
    cr_assert_str_eq(sentences[0].text, "don't_ go");
    cr_assert_str_eq(sentences[0].id, "1");
    cr_assert_str_eq(sentences[0].words[2].lemma, "_");
    cr_assert_str_eq(sentences[0].words[0].lemma, "");
    cr_assert(sentences[1].line == 9 && sentences[1].n == 1);
    psc_treebank_close(&treebank);
}

/* Blanks of any kind between words; none where the text has none, whatever MISC says. */
Test(treebank, blanks_of_a_text) {
    must_read(
        "#text =  a\xc2\xa0\xe3\x80\x80"
        "b\tcd \n1\ta\t_\tX\t_\t_\t0\troot\t_\t_\n"
        "2\tb\t_\tX\t_\t_\t1\tx\t_\t_\n3\tc\t_\tX\t_\t_\t1\tx\t_\t_\n4\td\t_\tX\t_\t_\t3\tx\t_\t_\n");
    const psc_sentence *s = &sentences[0];
    cr_assert_eq(s->bytes, 10);
    cr_assert(s->words[1].start == 6 && s->words[2].start == 8 && s->words[3].start == 9);
    psc_treebank_close(&treebank);
}

/* --- bad files ------------------------------------------------------------------------------- */

#define WORD(id, form, head) id "\t" form "\t_\tX\t_\t_\t" head "\tx\t_\t_\n"

static const struct {
    const char *bytes, *line, *says;
} bad[] = {
    {"", "", "contains no sentence"},
    {"\n\n", "", "contains no sentence"},
    {"1\ta\n", ":1: ", "the line has 2 columns; CoNLL-U needs 10"},
    {"1 a _ X _ _ 0 x _ _\n", ":1: ", "the line has 1 column;"},
    {"1\ta\t_\tX\t_\t_\t0\tx\t_\t_\t_\n", ":1: ", "the line has 11 columns"},
    {"1\ta\t\tX\t_\t_\t0\tx\t_\t_\n", ":1: ", "column 3 (LEMMA) is empty"},
    {"# text = a b\n" WORD("1", "a", "2") WORD("2", "b", "1"), ":2: ", "a tree has no cycle"},
    {WORD("1", "a", "0") WORD("2", "b", "2"), ":2: ", "word 2 lead back to it"},
    {WORD("1", "a", "0") WORD("2", "b", "0"), ":2: ", "word 2 is a second root"},
    {WORD("1", "a", "0") WORD("2", "b", "3"), ":2: ", "the head 3 of word 2 is out of range"},
    {WORD("1", "a", "0") WORD("2", "b", "999999999999"),
        ":2: ", "'999999999999' is not the number"},
    {WORD("1", "a", "0") WORD("2", "b", "-1"), ":2: ", "the head '-1' is not the number"},
    {WORD("1", "a", "0") WORD("2", "b", "_"), ":2: ", "the head '_' is not the number"},
    {WORD("1", "a", "0") WORD("3", "b", "1"), ":2: ", "word 3 is out of order; the next word is 2"},
    {WORD("1", "a", "0") WORD("1", "b", "0"), ":2: ", "a blank line is missing"},
    {WORD("0", "a", "0"), ":1: ", "word 0 is out of order"},
    {WORD("x", "a", "0"), ":1: ", "the ID 'x' is not a word"},
    {WORD("1-", "a", "0"), ":1: ", "the ID '1-' is not a word"},
    {WORD("1-2-3", "a", "0"), ":1: ", "the ID '1-2-3' is not a word"},
    {WORD("2.1", "a", "_") WORD("1", "a", "0"), ":1: ", "the empty node 2.1 is out of order"},
    {WORD("2-3", "a", "_"), ":1: ", "the multiword token 2-3 is out of order"},
    {WORD("1-99999999", "a", "_"), ":1: ", "the multiword token 1-99999999 is out of order"},
    {WORD("1-2", "ab", "_") WORD("1", "a", "0") WORD("2-3", "bc", "_"),
        ":3: ", "2-3 is out of order"},
    {WORD("1-2", "ab", "_") WORD("1", "a", "0"), ":", "inside the multiword token up to 2"},
    {"# text = a c\n" WORD("1", "a", "0") WORD("2", "b", "1"),
        ":3: ", "the form 'b' does not stand"},
    {"# text = a\n" WORD("1", "a", "0") WORD("2", "b", "1"), ":3: ", "the form 'b' does not stand"},
    {"# text = a b c\n" WORD("1", "a", "0") WORD("2", "b", "1"), ":", "continues with 'c'"},
    {"# text = a\n# text = a\n" WORD("1", "a", "0"), ":2: ", "two lines \"# text\""},
    {"# text = a\n\n" WORD("1", "a", "0"), ":1: ", "the sentence has no words"},
    {WORD("1", "a", "0") "# sent_id = 2\n", ":2: ", "a comment is inside a sentence"},
    {WORD("1", "a\xff", "0"), ":1: ", "byte 4 of the line is not valid UTF-8"},
    {WORD("1", "\xed\xa0\x80", "0"), ":1: ", "byte 3 of the line is not valid UTF-8"},
    {"# \xe6\xb0\n" WORD("1", "a", "0"), ":1: ", "byte 3 of the line is not valid UTF-8"},
};

Test(treebank, bad_input) {
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char place[300];
        write_bytes(bad[i].bytes, strlen(bad[i].bytes));
        snprintf(place, sizeof place, "%s%s", path, bad[i].line);
        treebank = (void *)1;
        REFUSED(psc_treebank_open(&treebank, path, &error), PSC_ERROR_INPUT, place, bad[i].says);
        cr_assert_null(treebank);
        cr_assert_eq(psc_treebank_open(&treebank, path, NULL), PSC_ERROR_INPUT);
        unlink(path);
    }
}

Test(treebank, bad_files) {
    REFUSED(psc_treebank_open(&treebank, "/tmp", &error), PSC_ERROR_INPUT, "not a regular file");
    REFUSED(psc_treebank_open(&treebank, "/tmp/none.conllu", &error), PSC_ERROR_IO, "cannot open");
    write_bytes("1\ta\0b\t_\tX\t_\t_\t0\tx\t_\t_\n", 22);
    REFUSED(psc_treebank_open(&treebank, path, &error), PSC_ERROR_INPUT, ":1: ", "a 0 byte");
    unlink(path);
}

/* A file of `n` times the same bytes, after a head. */
static void write_many(const char *head, const char *bytes, size_t n) {
    size_t first = strlen(head), each = strlen(bytes);
    char *all = malloc(first + n * each);
    memcpy(all, head, first);
    for (size_t i = 0; i < n; i++) memcpy(all + first + i * each, bytes, each);
    write_bytes(all, first + n * each);
    free(all);
}

Test(treebank, caps) {
    write_many("", "x", PSC_TREEBANK_LINE + 1);
    REFUSED(psc_treebank_open(&treebank, path, &error), PSC_ERROR_INPUT,
        ":1: ", "the line has more than 1048576 bytes");
    unlink(path);
    char *chain = calloc(10001, 40);
    for (int i = 1, at = 0; i <= 10000; i++)
        at += sprintf(chain + at, "%d\ta\t_\tX\t_\t_\t%d\tx\t_\t_\n", i, i - 1);
    write_bytes(chain, strlen(chain));
    REFUSED(psc_treebank_open(&treebank, path, &error), PSC_ERROR_INPUT,
        ":10000: ", "the sentence has more than 9999 words");
    unlink(path);
    *strstr(chain, "10000\ta") = 0;
    must_read(chain); /* a chain: the deepest tree */
    cr_assert(n_sentences == 1 && sentences[0].n == 9999 && sentences[0].words[9998].head == 9997);
    psc_treebank_close(&treebank);
    free(chain);
    char comment[1 << 16] = "# sent_id = ";
    memset(comment + 12, 'x', sizeof comment - 14);
    comment[sizeof comment - 2] = '\n';
    write_many("", comment, 257);
    REFUSED(psc_treebank_open(&treebank, path, &error), PSC_ERROR_INPUT,
        ":257: ", "the sentence has more than 16777216 bytes");
    unlink(path);
}
