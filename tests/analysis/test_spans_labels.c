/* Labels of spans: sentences aligned with a text by bytes, yields of words, their labels and
 * operators; texts that no sentences of the file make. */
#include "psc_treebank.h"
#include "spans_notation.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWN PSC_SOURCE_DIR "/tests/golden/structure/own.conllu"

static psc_treebank *treebank;
static const psc_sentence *file, *aligned;
static int32_t n_file, n_aligned;
static char message[2000];
static int allowed = 1000; /* calls of run_alloc that succeed */

static void *blocks[1000];
static int n_blocks;

static void *alloc(psc_context *context, uint64_t bytes) {
    (void)context;
    return allowed-- > 0 ? blocks[n_blocks++] = calloc(1, bytes) : NULL;
}

static int fail(psc_context *context, const char *format, ...) PSC_PRINTF(2, 3);
static int fail(psc_context *context, const char *format, ...) {
    va_list arguments;
    (void)context;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return -1;
}

static const psc_host host = {.struct_size = sizeof host, .fail = fail, .run_alloc = alloc};

static void open_own(void) {
    psc_error error;
    cr_assert_eq(psc_treebank_open(&treebank, OWN, &error), PSC_OK, "%s", error.message);
    file = psc_treebank_sentences(treebank, &n_file);
}

static void close_own(void) {
    psc_treebank_close(&treebank);
    while (n_blocks > 0) free(blocks[--n_blocks]);
}

TestSuite(spans_labels, .init = open_own, .fini = close_own);

static int align_text(const char *text, int open_end) {
    return spans_align(
        NULL, &host, OWN, file, n_file, text, strlen(text), open_end, &aligned, &n_aligned);
}

static void must_align(const char *text, int open_end, int32_t n) {
    cr_assert_eq(align_text(text, open_end), 0, "%s", message);
    cr_assert_eq(n_aligned, n);
}

/* --- alignment ------------------------------------------------------------------------------- */

Test(spans_labels, whole_files_and_parts) {
    char text[2000] = "";
    for (int32_t i = 0; i < n_file; i++) {
        strcat(text, file[i].text);
        strcat(text, i % 2 ? "\n\n" : " ");
    }
    must_align(text, 0, 8);
    for (int32_t i = 0; i < 8; i++) {
        cr_assert_eq(memcmp(text + aligned[i].start, file[i].text, file[i].bytes), 0);
        cr_assert(aligned[i].words == file[i].words && file[i].start == 0);
    }
    must_align(" Who left it open?\r\n\t\u201cClose it now,\u201d said his daughter.", 0, 2);
    cr_assert(aligned[0].start == 1 && aligned[1].start == 21);
    cr_assert_str_eq(aligned[0].id, "mill-2");
    must_align("(It never stopped.)(", 1, 1);
    must_align("", 0, 0);
    must_align("  \n", 0, 0);
}

/* Of several sentences that begin alike the one is taken from which the text goes on. */
Test(spans_labels, the_longest_way) {
    psc_sentence two[4] = {file[1], file[0], file[1], file[3]};
    file = two;
    n_file = 4;
    must_align("Who left it open? Bring the lamp to the caf\u00e9, please.", 0, 2);
    cr_assert_str_eq(aligned[1].id, "mill-4");
}

#define REFUSED_BY(text, open_end, ...)                                                            \
    do {                                                                                           \
        const char *says[] = {__VA_ARGS__};                                                        \
        cr_assert_neq(align_text(text, open_end), 0);                                              \
        for (size_t i = 0; i < sizeof says / sizeof *says; i++)                                    \
            cr_assert(strstr(message, says[i]), "%s", message);                                    \
    } while (0)

Test(spans_labels, texts_of_other_sentences) {
    REFUSED_BY("Who left it shut?", 0, "the sentence 'Who left it open?' is not at byte 0",
        "the text differs at byte 12, 'shut?'");
    REFUSED_BY("Zounds!", 0, "labels=" OWN ": no sentence continues the text at byte 0");
    REFUSED_BY("Who left it shut?", 1, "byte 0 of the text, 'Who left it shut?'");
    REFUSED_BY("Who left it open? Nobody.", 0, OWN ":24: the sentence '\u201cClose it now",
        "byte 18 of the text, 'Nobody.'", "differs at byte 18, 'Nobody.'");
    REFUSED_BY("(It never stopped.) More", 0, "no sentence continues the text at byte 20, 'More'");
    n_file = 0;
    REFUSED_BY("Who left it open?", 0, "no sentence continues the text at byte 0");
}

Test(spans_labels, without_memory) {
    spans_yields yields;
    allowed = 0;
    cr_assert_neq(align_text("Who left it open?", 0), 0);
    cr_assert_neq(spans_find_yields(NULL, &host, file, n_file, &yields), 0);
    allowed = 1;
    cr_assert_neq(spans_find_yields(NULL, &host, file, n_file, &yields), 0);
}

/* --- labels ---------------------------------------------------------------------------------- */

/* "UPOS deprel operators" of a part of one sentence; "" without a label. */
static const char *label_of(int32_t sentence, const char *part) {
    static char found[200];
    spans_yields yields;
    spans_label label;
    const psc_sentence *s = &file[sentence];
    const char *at = strstr(s->text, part);
    cr_assert(at, "%s", part);
    cr_assert_eq(spans_find_yields(NULL, &host, s, 1, &yields), 0);
    const uint32_t start = (uint32_t)(at - s->text);
    cr_assert_eq(spans_find_label(
                     NULL, &host, &yields, s->text, start, start + (uint32_t)strlen(part), &label),
        0);
    snprintf(found, sizeof found, "%s %s %s", label.label ? label.label : "-",
        label.function ? label.function : "-", label.operators ? label.operators : "-");
    return found;
}

Test(spans_labels, exact_yields) {
    cr_assert_str_eq(label_of(0, "The old miller"), "NOUN nsubj Definite=Def|Number=Sing");
    cr_assert_str_eq(label_of(0, " the gate"), "NOUN obj Definite=Def|Number=Sing");
    cr_assert_str_eq(label_of(0, "The old miller didn't lock the gate."),
        "VERB root Mood=Ind|Polarity=Neg|Tense=Past");
    cr_assert_str_eq(label_of(2, "Close it now,\u201d"), "- - -");
    cr_assert_str_eq(label_of(2, "\u201cClose it now,\u201d "), "VERB ccomp Mood=Imp");
    cr_assert_str_eq(label_of(2, " his daughter"), "NOUN nsubj Number=Sing");
    cr_assert_str_eq(label_of(3, "to the caf\u00e9"), "NOUN obl Definite=Def|Number=Sing");
    cr_assert_str_eq(label_of(5, "the mill-wheel"), "NOUN nsubj Definite=Def|Number=Sing");
    cr_assert_str_eq(label_of(5, "mill-"), "NOUN compound Number=Sing");
}

Test(spans_labels, what_is_not_a_yield) {
    cr_assert_str_eq(label_of(0, "old miller"), "- - -");
    cr_assert_str_eq(label_of(0, "miller"), "- - -"); /* one word */
    cr_assert_str_eq(label_of(0, "The old mille"), "- - -");
    cr_assert_str_eq(label_of(0, "didn't lock the gate."), "- - -");
    cr_assert_str_eq(label_of(4, "novels and Peter"), "- - -");
    cr_assert_str_eq(label_of(4, "and Peter poems"), "PROPN conj Number=Sing");
    cr_assert_str_eq(label_of(0, " "), "- - -");
}

/* Yields that are not contiguous have no bracket: "a hearing ... on it" with a word between. */
Test(spans_labels, a_yield_with_a_gap) {
    static const psc_word words[] = {{0, 1, 2, "a", "", "NOUN", "", "", "nsubj", ""},
        {2, 3, -1, "b", "", "VERB", "", "", "root", ""},
        {4, 5, 0, "c", "", "ADP", "", "", "nmod", ""},
        {6, 7, 1, "d", "", "NOUN", "", "", "obj", ""}};
    psc_word tree[4];
    spans_yields yields;
    memcpy(tree, words, sizeof tree);
    tree[0].head = 1;
    const psc_sentence s = {"", "a b c d", 7, 10, 4, tree, 0, 0, 1};
    cr_assert_eq(spans_find_yields(NULL, &host, &s, 1, &yields), 0);
    cr_assert(yields.n == 1 && yields.at[0].start == 10 && yields.at[0].end == 17);
}
