/* The parts of the plugin probe: its sums in one order, the rules of its labels, the area under the
 * ROC curve, and the cap on its memory. test_probe.c has whole runs. */
#include "kernels.h"
#include "probe.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- sums ------------------------------------------------------------------------------------ */

static int32_t n_parts;

static void in_parts(psc_context *context, int64_t n, psc_range_fn fn, void *payload) {
    (void)context;
    for (int32_t p = n_parts - 1; p >= 0; p--)
        if (n * p / n_parts < n * (p + 1) / n_parts)
            fn(n * p / n_parts, n * (p + 1) / n_parts, p, payload);
}

static void *allocate(psc_context *context, uint64_t bytes) {
    (void)context;
    return calloc(1, bytes); /* the test's process ends soon */
}

/* One level of 19 columns, one task of two classes: the sums of `rows` units in runs of `batch`. */
static void add_sums(probe_state *s, int32_t rows, int32_t batch) {
    static psc_host host;
    static psc_reductions reductions;
    static int32_t classes[64];
    reductions.add_products = psc_kernels_for(psc_isa_best(psc_isa_mask()))->add_products;
    host = (psc_host){.run_alloc = allocate, .life_alloc = allocate, .parallel_for = in_parts};
    *s = (probe_state){.host = &host,
        .reductions = &reductions,
        .memory = 64,
        .n_dims = 19,
        .n_levels = 1,
        .n_panels = 2,
        .padded = 32,
        .n_tasks = 1,
        .n_groups = 1,
        .training = 1};
    s->tasks[0].n_classes = 2;
    cr_assert_eq(probe_sums_make(s), 0);
    s->classes_at = classes;
    for (int32_t begin = 0; begin < rows; begin += batch) {
        s->n_units = rows - begin < batch ? rows - begin : batch;
        s->panel_stride = (int64_t)s->n_units * PROBE_PANEL;
        s->row_stride = PROBE_PANEL;
        s->x = calloc((size_t)s->n_units * 32, sizeof *s->x);
        for (int32_t u = 0; u < s->n_units; u++) {
            classes[u] = (begin + u) % 3 - 1;
            for (int32_t i = 0; i < 19; i++)
                s->x[i / 16 * s->panel_stride + u * 16 + i % 16] =
                    sin((begin + u) * 1.7 + i * 0.3) * pow(10.0, (begin + u) % 9 - 4);
        }
        cr_assert_eq(probe_sums_add(s), 0);
        free(s->x);
    }
}

/* The sums are those of one chain over the rows, whatever the batches and parts. */
Test(probe_parts, sums_have_one_order) {
    probe_state one, other;
    n_parts = 1;
    add_sums(&one, 50, 50);
    double want = 0.0, vector = 0.0;
    for (int32_t r = 0; r < 50; r++) {
        if (r % 3 == 0) continue;
        const double power = pow(10.0, r % 9 - 4);
        const double a = sin(r * 1.7 + 0.3) * power, b = sin(r * 1.7 + 18 * 0.3) * power;
        want = fma(a, b, want);
        vector += r % 3 == 2 ? b : 0.0;
    }
    /* element (1, 18): tile (0, 1), row 1, column 2; row 1 of X^T Y is class 1 */
    cr_assert_eq(one.groups[0].xx[PROBE_TILE + 16 + 2], want);
    cr_assert_eq(one.tasks[0].sums[32 + 18], vector);
    for (n_parts = 1; n_parts <= 5; n_parts++)
        for (int32_t batch = 1; batch <= 13; batch += 4) {
            add_sums(&other, 50, batch);
            cr_assert_eq(
                memcmp(one.groups[0].xx, other.groups[0].xx, 3 * PROBE_TILE * sizeof(double)), 0);
            cr_assert_eq(memcmp(one.groups[0].x, other.groups[0].x, 32 * sizeof(double)), 0);
            cr_assert_eq(memcmp(one.tasks[0].sums, other.tasks[0].sums, 64 * sizeof(double)), 0);
            cr_assert_eq(one.groups[0].n, other.groups[0].n);
        }
}

/* --- rules ----------------------------------------------------------------------------------- */

static const char *label_of(int rule, const psc_word *words, int32_t n, int32_t word,
    const char *text, const char *feature) {
    static char label[PROBE_LABEL];
    static int32_t first[2];
    const psc_sentence list[2] = {
        {.text = text, .bytes = (uint32_t)strlen(text), .n = n, .words = words},
        {.text = text, .bytes = (uint32_t)strlen(text), .n = n, .words = words}};
    const probe_state s = {.sentences = list, .n_sentences = 2, .first_of = first};
    const probe_task task = {.rule = rule, .feature = feature};
    const probe_unit unit = {
        .word = word, .sentence = rule == PROBE_MENTION && word < 0, .quoted = 1};
    probe_unit copy = unit;
    if (word < 0) copy.word = -1 - word;
    return probe_label(&s, &task, &copy, label) ? label : NULL;
}

#define WORD(tag, of, features, relation, up)                                                      \
    { 0, 1, up, "x", of, tag, "", features, relation, "" }

Test(probe_parts, labels_follow_their_rules) {
    static const psc_word words[] = {
        WORD("NOUN", "Dog", "Number=Plur", "nsubj:pass", 1),
        WORD("VERB", "see", "Mood=Imp|Tense=Past|VerbForm=Fin", "root", -1),
        WORD("NOUN", "dog", "Number=Sing", "iobj", 1),
        WORD("ADV", "", "", "advmod", 1),
    };
    static const struct {
        int rule, word;
        const char *text, *feature, *label;
    } cases[] = {
        {PROBE_UPOS, 0, "", NULL, "NOUN"},
        {PROBE_NUMBER, 0, "", NULL, "Plur"},
        {PROBE_NUMBER, 1, "", NULL, "none"},
        {PROBE_NUMBER, 3, "", NULL, NULL},
        {PROBE_TENSE, 1, "", NULL, "Past Fin"},
        {PROBE_TENSE, 0, "", NULL, NULL},
        {PROBE_ROLE, 0, "", NULL, "nsubj"},
        {PROBE_ROLE, 2, "", NULL, NULL},
        {PROBE_LEMMA, 0, "", NULL, "dog"},
        {PROBE_LEMMA, 3, "", NULL, NULL},
        {PROBE_QUESTION, 0, "Who?", NULL, "question"},
        {PROBE_QUESTION, 0, "(Who?\")\xe2\x80\x9d ", NULL, "question"},
        {PROBE_QUESTION, 0, "Who? Me.", NULL, "other"},
        {PROBE_QUESTION, 0, "", NULL, "other"},
        {PROBE_IMPERATIVE, 3, "", NULL, "imperative"},
        {PROBE_QUOTATION, 0, "", NULL, "inside"},
        {PROBE_MENTION, 0, "", NULL, "first"},
        {PROBE_MENTION, 2, "", NULL, "repeated"},
        {PROBE_MENTION, -1, "", NULL, "repeated"},
        {PROBE_MENTION, 3, "", NULL, NULL},
        {PROBE_FEATURE, 1, "", "Mood", "Imp"},
        {PROBE_FEATURE, 1, "", "Moo", NULL},
        {PROBE_FEATURE, 3, "", "Mood", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *label =
            label_of(cases[i].rule, words, 4, cases[i].word, cases[i].text, cases[i].feature);
        cr_assert(label ? cases[i].label && strcmp(label, cases[i].label) == 0 : !cases[i].label,
            "case %zu: %s", i, label ? label : "none");
    }
}

/* A label has at most 127 bytes and ends with a whole character. */
Test(probe_parts, long_labels_are_cut_between_characters) {
    char lemma[140];
    memset(lemma, 'a', 126);
    strcpy(lemma + 126, "\xc3\xa9 and more");
    const psc_word words[] = {WORD("NOUN", lemma, "", "root", -1)};
    const char *label = label_of(PROBE_LEMMA, words, 1, 0, "", NULL);
    cr_assert_eq(strlen(label), 126);
    lemma[0] = 'b';
    memmove(lemma + 125, lemma + 126, strlen(lemma + 126) + 1);
    cr_assert_eq(strlen(label_of(PROBE_LEMMA, words, 1, 0, "", NULL)), 127);
}

Test(probe_parts, area_is_a_count_of_pairs) {
    static const double scores[] = {0.5, 0.5, 0.1, 0.9, 0.5, -1.0};
    static const uint8_t truth[] = {1, 0, 0, 1, 1, 1}, ones[] = {1, 1, 1, 1, 1, 1};
    double pairs[12];
    /* 8 pairs: 0.5 wins one and ties one, twice; 0.9 wins two; -1 loses two */
    cr_assert_float_eq(probe_auroc(6, scores, 1, truth, pairs), 5.0 / 8.0, 1e-15);
    cr_assert(isnan(probe_auroc(6, scores, 1, ones, pairs)));
}

/* --- memory ---------------------------------------------------------------------------------- */

static char refusal[200];

static int refuse(psc_context *context, const char *format, ...) {
    va_list arguments;
    (void)context;
    va_start(arguments, format);
    vsnprintf(refusal, sizeof refusal, format, arguments);
    va_end(arguments);
    return -1;
}

Test(probe_parts, memory_is_capped) {
    const psc_host small = {.life_alloc = allocate, .fail = refuse};
    probe_state s = {.host = &small, .memory = 1, .n_tasks = 3};
    cr_assert_not_null(probe_take(&s, 1 << 16, 8));
    cr_assert_null(probe_take(&s, (1 << 16) + 1, 8));
    cr_assert(strstr(refusal, "memory=1 MiB"), "%s", refusal);
    s = (probe_state){.host = &small, .memory = 1};
    cr_assert_null(probe_take(&s, 1e18, 8), "no overflow");
}
