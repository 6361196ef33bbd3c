/* A line of ten columns: a word (3), a multiword token (3-4) or an empty node (3.1), which is
 * skipped. Words are numbered 1, 2, ... */
#include "conllu.h"

#include <string.h>

static const char *const names[CONLLU_COLUMNS] = {
    "ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC"};

typedef struct cell {
    char *text;
    size_t bytes;
} cell;

/* Cuts the line at its tabs. */
static psc_status cut(cell *cells, conllu_reader *r) {
    char *at = r->line, *end = r->line + r->line_bytes;
    int n = 0;
    for (; at <= end; n++) {
        char *tab = memchr(at, '\t', (size_t)(end - at));
        char *stop = tab ? tab : end;
        if (n < CONLLU_COLUMNS) cells[n] = (cell){at, (size_t)(stop - at)};
        at = stop + 1;
    }
    if (n != CONLLU_COLUMNS)
        return conllu_fail(r, PSC_ERROR_INPUT, 0,
            "the line has %d column%s; CoNLL-U needs %d, with tabs between them", n,
            n == 1 ? "" : "s", CONLLU_COLUMNS);
    for (int c = 0; c < CONLLU_COLUMNS; c++) {
        if (cells[c].bytes == 0)
            return conllu_fail(
                r, PSC_ERROR_INPUT, 0, "column %d (%s) is empty; write _ in it", c + 1, names[c]);
        cells[c].text[cells[c].bytes] = 0;
    }
    return PSC_OK;
}

/* A whole number of at most 9 digits; *rest is what follows it. */
static bool read_number(int32_t *out, const char *text, const char **rest) {
    const char *at = text;
    *out = 0;
    for (; *at >= '0' && *at <= '9' && at - text < 9; at++) *out = 10 * *out + (*at - '0');
    *rest = at;
    return at > text;
}

static bool is_open(const cell *c) {
    return c->bytes == 1 && c->text[0] == '_';
}

/* Whether one of the parts between bars is SpaceAfter=No. */
static bool has_space_after(const cell *misc) {
    static const char no[] = "SpaceAfter=No";
    for (const char *at = misc->text; at; at = strchr(at, '|')) {
        if (*at == '|') at++;
        size_t n = strcspn(at, "|");
        if (n == sizeof no - 1 && memcmp(at, no, n) == 0) return false;
    }
    return true;
}

/* Keeps a column that must be one line of text; an open one is "". */
static psc_status keep(uint32_t *out, conllu_reader *r, const cell *c) {
    *out = 0;
    return is_open(c) ? PSC_OK : conllu_keep(out, r, c->text, c->bytes);
}

static psc_status add_token(
    conllu_reader *r, uint32_t form, const cell *cells, int32_t first, int32_t n) {
    if (!psc_grow((void **)&r->tokens, &r->tokens_capacity, r->n_tokens + 1, sizeof *r->tokens))
        return conllu_no_memory(r);
    r->tokens[r->n_tokens++] = (conllu_token){form, (uint32_t)cells[CONLLU_FORM].bytes, first, n,
        has_space_after(&cells[CONLLU_MISC]), r->number};
    return PSC_OK;
}

static psc_status take_range(conllu_reader *r, const cell *cells, int32_t first, int32_t last) {
    int32_t next = (int32_t)r->n_words + 1;
    uint32_t form = 0;
    if (first != next || first <= r->range_end || last < first || last > PSC_TREEBANK_WORDS)
        return conllu_fail(r, PSC_ERROR_INPUT, 0,
            "the multiword token %.40s is out of order; the next word is %d", cells[CONLLU_ID].text,
            (int)next);
    psc_status status = conllu_keep(&form, r, cells[CONLLU_FORM].text, cells[CONLLU_FORM].bytes);
    if (status == PSC_OK) status = add_token(r, form, cells, first - 1, last - first + 1);
    r->range_end = last;
    return status;
}

/* FORM and a LEMMA beside it may be a literal underscore. */
static psc_status keep_texts(conllu_word *w, conllu_reader *r, const cell *cells) {
    const cell *form = &cells[CONLLU_FORM], *lemma = &cells[CONLLU_LEMMA];
    psc_status status = conllu_keep(&w->form, r, form->text, form->bytes);
    if (status == PSC_OK && is_open(form) && is_open(lemma))
        w->lemma = w->form;
    else if (status == PSC_OK)
        status = keep(&w->lemma, r, lemma);
    if (status == PSC_OK) status = keep(&w->upos, r, &cells[CONLLU_UPOS]);
    if (status == PSC_OK) status = keep(&w->xpos, r, &cells[CONLLU_XPOS]);
    if (status == PSC_OK) status = keep(&w->feats, r, &cells[CONLLU_FEATS]);
    if (status == PSC_OK) status = keep(&w->deprel, r, &cells[CONLLU_DEPREL]);
    if (status == PSC_OK) status = keep(&w->misc, r, &cells[CONLLU_MISC]);
    return status;
}

static psc_status take_word(conllu_reader *r, const cell *cells, int32_t id) {
    conllu_word word = {.line = r->number};
    const char *rest;
    int32_t next = (int32_t)r->n_words + 1;
    if (id != next)
        return conllu_fail(r, PSC_ERROR_INPUT, 0, "word %d is out of order; the next word is %d%s",
            (int)id, (int)next, id == 1 ? ", or a blank line is missing before the line" : "");
    if (next > PSC_TREEBANK_WORDS)
        return conllu_fail(
            r, PSC_ERROR_INPUT, 0, "the sentence has more than %d words", PSC_TREEBANK_WORDS);
    if (!read_number(&word.head, cells[CONLLU_HEAD].text, &rest) || *rest)
        return conllu_fail(r, PSC_ERROR_INPUT, 0,
            "the head '%.40s' is not the number of a word, or 0 for the root",
            cells[CONLLU_HEAD].text);
    psc_status status = keep_texts(&word, r, cells);
    if (status == PSC_OK && id > r->range_end) status = add_token(r, word.form, cells, id - 1, 1);
    if (status != PSC_OK) return status;
    if (!psc_grow((void **)&r->words, &r->words_capacity, r->n_words + 1, sizeof *r->words))
        return conllu_no_memory(r);
    r->words[r->n_words++] = word;
    return PSC_OK;
}

psc_status conllu_take_word(conllu_reader *r) {
    cell cells[CONLLU_COLUMNS];
    const char *rest;
    int32_t id, second;
    psc_status status = cut(cells, r);
    if (status != PSC_OK) return status;
    if (read_number(&id, cells[CONLLU_ID].text, &rest)) {
        if (!*rest) return take_word(r, cells, id);
        const char separator = *rest;
        const bool two = read_number(&second, rest + 1, &rest) && !*rest;
        if (two && separator == '-') return take_range(r, cells, id, second);
        if (two && separator == '.' && id == (int32_t)r->n_words) return PSC_OK;
        if (two && separator == '.')
            return conllu_fail(r, PSC_ERROR_INPUT, 0,
                "the empty node %.40s is out of order; it follows word %d", cells[CONLLU_ID].text,
                (int)r->n_words);
    }
    return conllu_fail(r, PSC_ERROR_INPUT, 0,
        "the ID '%.40s' is not a word (3), a multiword token (3-4) or an empty node (3.1)",
        cells[CONLLU_ID].text);
}
