/* Structures for the notations of `spans`, from rows like "<. <. .>> .".
 * Private to tests/; failures are Criterion assertions.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: everything is static; one structure at a time. */
#ifndef NOTATION_FIXTURE_H
#define NOTATION_FIXTURE_H

#include "spans_notation.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_UNITS = 2048, MOST_LEVELS = 4 };

static spans_token tokens[MOST_UNITS];
static int32_t begin[MOST_UNITS + 1];
static psc_bracket brackets[MOST_LEVELS][MOST_UNITS];
static int32_t heads[MOST_LEVELS][MOST_UNITS];
static spans_label span_labels[MOST_LEVELS][MOST_UNITS];
static spans_shown_level levels[MOST_LEVELS];
static spans_notation notation;

static inline void add_token(const char *bytes, size_t n, const char *shown) {
    const int32_t i = begin[notation.n_units] - 1;
    tokens[i] = (spans_token){shown, bytes, n, i};
    begin[++notation.n_units] = i + 2;
    notation.n_spans = notation.n_units - 1;
}

/* Tokens of a list with | between them; each is a unit. */
static inline void begin_notation(const char *list) {
    static char texts[4096];
    notation = (spans_notation){.units = "tokens",
        .reads = "norm",
        .power = 0.5,
        .begin = begin,
        .tokens = tokens,
        .levels = levels};
    begin[0] = 1;
    snprintf(texts, sizeof texts, "%s", list);
    for (char *at = strtok(texts, "|"); at; at = strtok(NULL, "|")) add_token(at, strlen(at), at);
}

/* Orders a bracket before those inside it. */
static inline int pre_order(const void *a, const void *b) {
    const psc_bracket *x = a, *y = b;
    return x->begin != y->begin ? x->begin - y->begin : y->end - x->end;
}

static inline void set_split(psc_bracket *tree, int32_t n, psc_bracket *b) {
    b->split = b->begin; /* unless a bracket is the left part */
    for (int32_t i = 0; i < n; i++)
        if (tree[i].begin == b->begin && tree[i].end < b->end && tree[i].end > b->split)
            b->split = tree[i].end;
}

/* Adds a level from its row: one word per unit, < and > around the unit's sign; the whole is
 * added. */
static inline void add_level(const char *name, const char *of, const char *row) {
    psc_bracket *tree = brackets[notation.n_levels];
    int32_t open[MOST_UNITS], depth = 0, n = 1, unit = 0;
    tree[0] = (psc_bracket){.begin = 0, .end = notation.n_units - 1};
    for (const char *at = row; *at; at++) {
        if (*at == '<') open[depth++] = unit;
        if (*at == '>') tree[n++] = (psc_bracket){.begin = open[--depth], .end = unit};
        if (*at == ' ' && at[1] != ' ') unit++;
    }
    cr_assert(depth == 0 && n == notation.n_spans && unit + 1 == notation.n_units);
    qsort(tree, (size_t)n, sizeof *tree, pre_order);
    for (int32_t i = 0; i < n; i++) {
        set_split(tree, n, &tree[i]);
        tree[i].strength = 1.0 / (i + 1);
    }
    levels[notation.n_levels++] = (spans_shown_level){.name = name, .of = of, .brackets = tree};
}

/* The example of the notation: a text of 18 tokens, its level 2. */
#define EXAMPLE_TOKENS                                                                             \
    "The| old| man| gave| the| little| girl| a| red| app|le|,| and| she| than|ked| him|."
#define EXAMPLE_LEVEL "<. <. .>> <<<. <. <. .>>> <. <. <. .>>>> <. <<. <. <. <. .>>>> .>>>"

static inline void begin_example(void) {
    begin_notation(EXAMPLE_TOKENS);
    add_level("2", "L2", EXAMPLE_LEVEL);
}

#endif
