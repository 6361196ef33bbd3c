/* CoNLL-U where memory runs out, at its caps, and at the edges of its grammar: a sentence or a
 * whole treebank, and all texts of it. */
#include "failing_malloc.h"
#include "plugin_fixture.h"
#include "psc_treebank.h"

#include <unistd.h>

static char path[] = "/tmp/psc-conllu-XXXXXX";
static psc_treebank *treebank;
static const psc_sentence *sentences;
static int32_t n_sentences;
static char *file;
static size_t size;

static void begin(void) {
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    file = malloc((size_t)64 << 20);
    cr_assert(file);
    size = 0;
}

static void end(void) {
    psc_treebank_close(&treebank);
    unlink(path);
    free(file);
}

TestSuite(conllu, .init = begin, .fini = end);

static void add(const char *text) {
    const size_t n = strlen(text);
    memcpy(file + size, text, n);
    size += n;
}

static void add_many(char c, size_t n) {
    memset(file + size, c, n);
    size += n;
}

static void write_file(void) {
    FILE *out = fopen(path, "wb");
    cr_assert(out && fwrite(file, 1, size, out) == size && fclose(out) == 0);
}

static void must_read(const char *text) {
    size = 0;
    add(text);
    write_file();
    cr_assert_eq(psc_treebank_open(&treebank, path, &error), PSC_OK, "%s", error.message);
    sentences = psc_treebank_sentences(treebank, &n_sentences);
}

static void refused(psc_status status, const char *sentence) {
    char whole[400];
    write_file();
    cr_assert_eq(psc_treebank_open(&treebank, path, &error), status, "%s", error.message);
    cr_assert_null(treebank);
    snprintf(whole, sizeof whole, "%s%s", path, sentence);
    cr_assert_str_eq(error.message, whole);
}

#define WORD(id, form, head) id "\t" form "\t_\tX\t_\t_\t" head "\tx\t_\t_\n"

/* --- memory ---------------------------------------------------------------------------------- */

enum { FORM = 1, LEMMA, UPOS, XPOS, FEATS, HEAD, DEPREL, DEPS, MISC, COLUMNS };

/* A word whose column c has n bytes. */
static void add_word(int c, size_t n) {
    static const char *const plain[COLUMNS] = {"1", "a", "_", "_", "_", "_", "0", "_", "_", "_"};
    for (int i = 0; i < COLUMNS; i++) {
        if (i) add("\t");
        if (i == c)
            add_many('w', n);
        else
            add(plain[i]);
    }
    add("\n\n");
}

/* Each column, comment and text in turn is longer than all before it, so
 * that memory grows there. */
static void make_growing(void) {
    static const int columns[] = {FORM, LEMMA, UPOS, XPOS, FEATS, DEPREL, MISC};
    size_t n = 1000;
    size = 0;
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++, n *= 2) add_word(columns[i], n);
    add("# sent_id = ");
    add_many('i', n);
    add("\n" WORD("1", "a", "0") "\n# text = ");
    add_many('t', 2 * n);
    add("\n1\t");
    add_many('t', 2 * n);
    add("\t_\tX\t_\t_\t0\tx\t_\t_\n\n1-2\t");
    add_many('r', 2 * n);
    add("\t_\t_\t_\t_\t_\t_\t_\t_\n" WORD("1", "a", "0") WORD("2", "b", "1") "\n");
    for (int i = 1; i < 40; i++) {
        char line[64];
        snprintf(line, sizeof line, "%d\ta\t_\tX\t_\t_\t%d\tx\t_\t_\n", i, i - 1);
        add(line);
    }
    write_file();
}

Test(conllu, memory_that_runs_out) {
    make_growing();
    memory_fail_at(0, false);
    cr_assert_eq(psc_treebank_open(&treebank, path, &error), PSC_OK, "%s", error.message);
    const long n = memory_back();
    cr_assert_not_null(psc_treebank_sentences(treebank, &n_sentences));
    cr_assert_eq(n_sentences, 11);
    psc_treebank_close(&treebank);
    cr_assert(!MEMORY_FAILS || n > 20, "%ld requests", n);
    for (long i = 1; i <= n; i++) {
        memory_fail_at(i, false);
        const psc_status status = psc_treebank_open(&treebank, path, &error);
        memory_back();
        if (status == PSC_OK) { /* stdio does without its buffer */
            psc_treebank_close(&treebank);
            continue;
        }
        cr_assert_null(treebank);
        cr_assert(status == PSC_ERROR_MEMORY || strstr(error.message, "Cannot allocate memory"),
            "request %ld of %ld: %d, %s", i, n, status, error.message);
        cr_assert(strstr(error.message, path), "%s", error.message);
    }
}

/* --- caps ------------------------------------------------------------------------------------ */

/* Columns up to the cap of a sentence, then one that is too long. */
Test(conllu, a_sentence_that_is_too_large) {
    char number[32], sentence[100];
    size = 0;
    for (int i = 1; i <= 17; i++) {
        snprintf(number, sizeof number, "%d\ta\t", i);
        add(number);
        add_many('l', 1000000);
        snprintf(number, sizeof number, "\tX\t_\t_\t%d\tx\t_\t_\n", i - 1);
        add(number);
    }
    snprintf(sentence, sizeof sentence, ":17: the sentence has more than 16777216 bytes");
    refused(PSC_ERROR_INPUT, sentence);
}

/* The forms fit, but not once more as the sentence's text. */
Test(conllu, a_text_that_is_too_large) {
    char number[32];
    size = 0;
    for (int i = 1; i <= 9; i++) {
        snprintf(number, sizeof number, "%d\t", i);
        add(number);
        add_many('f', 1000000);
        snprintf(number, sizeof number, "\t_\tX\t_\t_\t%d\tx\t_\t_\n", i - 1);
        add(number);
    }
    refused(PSC_ERROR_INPUT, ":1: the sentence has more than 16777216 bytes");
}

/* --- the grammar's edges --------------------------------------------------------------------- */

Test(conllu, every_blank_of_unicode_may_stand_between_words) {
    static const char *const blanks[] = {" ", "\t", "\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80\x80",
        "\xe2\x80\x8a", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
    char text[200];
    for (size_t i = 0; i < sizeof blanks / sizeof *blanks; i++) {
        snprintf(text, sizeof text, "# text = a%sb\n" WORD("1", "a", "0") WORD("2", "b", "1"),
            blanks[i]);
        must_read(text);
        cr_assert_eq(sentences[0].words[1].start, 1 + strlen(blanks[i]), "blank %zu", i);
        psc_treebank_close(&treebank);
    }
    /* a letter below the blanks of U+2000, and what has no width but is no blank */
    static const char *const others[][2] = {{"\xe1\xbf\xb7", "\xe1\xbf\xb7"},
        {"\xe2\x80\x8b", "\\u{200b}"}, {"\xe2\x80\xaa", "\\u{202a}"}, {".", "."}};
    for (size_t i = 0; i < 4; i++) {
        size = 0;
        snprintf(text, sizeof text, "# text = a%sb\n" WORD("1", "a", "0") WORD("2", "b", "1"),
            others[i][0]);
        add(text);
        snprintf(text, sizeof text,
            ":3: the form 'b' does not stand at byte 1 of the text, which has '%sb' there",
            others[i][1]);
        refused(PSC_ERROR_INPUT, text);
    }
}

Test(conllu, comments_that_are_nearly_keys) {
    must_read("# newdocument\n# newparagraph\n# textual = x\n# text x\n# sent_id\n" WORD(
        "1", "a", "0") "\n# newdoc id = d\n#newpar=p\n#\tsent_id\t=\tx y \t\n" WORD("1", "a",
        "0") "\n# newdoc\tx\n" WORD("1", "a", "0") "\n# newpar x\n" WORD("1", "a",
        "0") "\n# sent_id = \n# text = a\n" WORD("1", "a", "0"));
    static const int documents[] = {0, 1, 1, 0, 0}, paragraphs[] = {0, 1, 1, 1, 0};
    cr_assert_eq(n_sentences, 5);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(sentences[i].new_document, documents[i], "sentence %d", i);
        cr_assert_eq(sentences[i].new_paragraph, paragraphs[i], "sentence %d", i);
        cr_assert_str_eq(sentences[i].id, i == 1 ? "x y" : "");
        cr_assert_str_eq(sentences[i].text, "a");
    }
}

Test(conllu, ids_that_are_none) {
    static const char *const ids[] = {"1.", "1.x", "1.1x", "1:1", "1x", "-1", "1-x", ".1"};
    char text[200];
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        size = 0;
        snprintf(text, sizeof text, WORD("1", "a", "0") "%s\tb\t_\tX\t_\t_\t1\tx\t_\t_\n", ids[i]);
        add(text);
        snprintf(text, sizeof text,
            ":2: the ID '%s' is not a word (3), a multiword token (3-4) or an empty node (3.1)",
            ids[i]);
        refused(PSC_ERROR_INPUT, text);
    }
    must_read(
        WORD("0.1", "e", "_") WORD("1", "a", "0") WORD("1.1", "e", "_") WORD("1.2", "e", "_"));
    cr_assert_eq(sentences[0].n, 1, "empty nodes are skipped");
}

Test(conllu, tokens_out_of_order) {
    size = 0;
    add(WORD("1-1", "a", "_") WORD("1", "a", "0") WORD("3-2", "b", "_"));
    refused(PSC_ERROR_INPUT, ":3: the multiword token 3-2 is out of order; the next word is 2");
    size = 0;
    add(WORD("1", "a", "0") WORD("2-1", "b", "_"));
    refused(PSC_ERROR_INPUT, ":2: the multiword token 2-1 is out of order; the next word is 2");
    size = 0;
    add(WORD("1", "a", "0") WORD("2-10000", "b", "_"));
    refused(PSC_ERROR_INPUT, ":2: the multiword token 2-10000 is out of order; the next word is 2");
    size = 0;
    add(WORD("1", "a", "0x"));
    refused(PSC_ERROR_INPUT, ":1: the head '0x' is not the number of a word, or 0 for the root");
}

/* Words whose forms are the beginning of their token, or go beyond it, share all its bytes. */
Test(conllu, words_that_do_not_make_up_their_token) {
    must_read(WORD("1-2", "abc", "_") WORD("1", "a", "0") WORD("2", "b", "1") "\n" WORD(
        "1-2", "abc", "_") WORD("1", "ab", "0") WORD("2", "cd", "1") "\n" WORD("1-2", "abc", "_")
            WORD("1", "x", "0") WORD("2", "bc", "1") "\n" WORD("1-2", "abc", "_")
                WORD("1", "a", "0") WORD("2", "bc", "1"));
    for (int i = 0; i < 4; i++)
        for (int w = 0; w < 2; w++) {
            const psc_word *word = &sentences[i].words[w];
            cr_assert_eq(word->start, i == 3 && w == 1 ? 1 : 0, "sentence %d, word %d", i, w);
            cr_assert_eq(word->end, i == 3 && w == 0 ? 1 : 3, "sentence %d, word %d", i, w);
        }
}

Test(conllu, a_space_after_in_any_place) {
    must_read(
        "1\ta\t_\tX\t_\t_\t0\tx\t_\tA=B|SpaceAfter=No|C=D\n2\tb\t_\tX\t_\t_\t1\tx\t_\tSpaceAfter=Nx\n"
        "3\tc\t_\tX\t_\t_\t1\tx\t_\tA=B|SpaceAfter=No\n4\td\t_\tX\t_\t_\t1\tx\t_\t|\n"
        "5\te\t_\tX\t_\t_\t1\tx\t_\t_\n");
    cr_assert_str_eq(sentences[0].text, "ab cd e");
}
