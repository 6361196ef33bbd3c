/* The XML of docs/structure.rng:
 *
 *   <discourse units>
 *     <level name of reads power> nested <span from to split strength head label>, leaves <t n>
 *     <links by> with <link from to kl dlogp_next>
 *     <same levels span>: a bracket that several levels have
 *
 * Positions are those of rows; BOS is 0. A unit of several tokens is named by its last. Levels are
 * written without recursion: brackets in pre-order open by their begin and close by their end. */
#include "spans_notation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* --- texts ----------------------------------------------------------------------------------- */

/* A character that XML 1.0 has; the others cannot be written, not even as references. */
static int is_character(utf8proc_int32_t c) {
    return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c <= 0xd7ff) ||
           (c >= 0xe000 && c <= 0xfffd) || (c >= 0x10000 && c <= 0x10ffff);
}

/* The length of the first character of text; 0 if it is not UTF-8 or XML cannot have it. */
static size_t read_character(const char *text, uint64_t n, utf8proc_int32_t *c) {
    const utf8proc_ssize_t most = n < 4 ? (utf8proc_ssize_t)n : 4;
    const utf8proc_ssize_t length = utf8proc_iterate((const utf8proc_uint8_t *)text, most, c);
    return length > 0 && is_character(*c) ? (size_t)length : 0;
}

/* Text for an element or an attribute in double quotes. A byte of what XML cannot have becomes
 * U+FFFD; blanks but the space are references, since parsers change them. */
static void put_text(psc_growing *out, const char *text, uint64_t n) {
    for (uint64_t at = 0; at < n;) {
        utf8proc_int32_t c;
        const size_t length = read_character(text + at, n - at, &c);
        if (length == 0)
            psc_growing_add(out, "\xef\xbf\xbd", 3);
        else if (c == '&')
            psc_growing_add(out, "&amp;", 5);
        else if (c == '<')
            psc_growing_add(out, "&lt;", 4);
        else if (c == '>')
            psc_growing_add(out, "&gt;", 4);
        else if (c == '"')
            psc_growing_add(out, "&quot;", 6);
        else if (c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x2028 || c == 0x2029)
            psc_growing_put(out, "&#%d;", (int)c);
        else
            psc_growing_add(out, text + at, length);
        at += length ? length : 1;
    }
}

static int has_only_characters(const char *text, uint64_t n) {
    for (uint64_t at = 0; at < n;) {
        utf8proc_int32_t c;
        const size_t length = read_character(text + at, n - at, &c);
        if (length == 0) return 0;
        at += length;
    }
    return 1;
}

static void put_attribute(psc_growing *out, const char *name, const char *text) {
    if (!text) return;
    psc_growing_put(out, " %s=\"", name);
    put_text(out, text, strlen(text));
    psc_growing_put(out, "\"");
}

static void put_number(psc_growing *out, const char *name, double value) {
    if (isfinite(value)) psc_growing_put(out, " %s=\"%.9g\"", name, value);
}

/* --- levels ---------------------------------------------------------------------------------- */

static void put_indent(psc_growing *out, int32_t depth) {
    psc_growing_put(out, "%*s", (int)(depth < 40 ? depth : 40), "");
}

static int32_t last_of(const spans_notation *n, int32_t unit) {
    return n->begin[unit + 1] - 1;
}

static void put_token(psc_growing *out, const spans_notation *n, int32_t position, int32_t unit) {
    const spans_token *token = &n->tokens[position - n->begin[0]];
    psc_growing_put(out, "<t n=\"%d\"", (int)position);
    if (n->begin[n->n_units] - n->begin[0] > n->n_units)
        psc_growing_put(out, " unit=\"%d\"", (int)unit + 1);
    if (!token->bytes) {
        psc_growing_put(out, " id=\"%d\"/>\n", (int)token->id);
        return;
    }
    if (!has_only_characters(token->bytes, token->n)) {
        psc_growing_put(out, " bytes=\"");
        for (uint64_t i = 0; i < token->n; i++)
            psc_growing_put(out, "%02x", (unsigned)(unsigned char)token->bytes[i]);
        psc_growing_put(out, "\"");
    }
    psc_growing_put(out, ">");
    put_text(out, token->bytes, token->n);
    psc_growing_put(out, "</t>\n");
}

static void put_span(
    psc_growing *out, const spans_notation *n, const spans_shown_level *level, int32_t i) {
    const psc_bracket *b = &level->brackets[i];
    psc_growing_put(out, "<span from=\"%d\" to=\"%d\" split=\"%d\"", (int)n->begin[b->begin],
        (int)last_of(n, b->end), (int)last_of(n, b->split));
    put_number(out, "strength", b->strength);
    if (level->heads && level->heads[i] >= 0)
        psc_growing_put(out, " head=\"%d\"", (int)last_of(n, level->heads[i]));
    if (level->labels) {
        put_attribute(out, "label", level->labels[i].label);
        put_attribute(out, "linguistic-function", level->labels[i].function);
        put_attribute(out, "linguistic-operator", level->labels[i].operators);
    }
    psc_growing_put(out, ">\n");
}

/* open [n_spans]: the ends of the open brackets, innermost last. */
static void put_level(
    psc_growing *out, const spans_notation *n, const spans_shown_level *level, int32_t *open) {
    int32_t depth = 0, next = 0;
    psc_growing_put(out, " <level");
    put_attribute(out, "name", level->name);
    put_attribute(out, "of", level->of);
    put_attribute(out, "reads", n->reads);
    psc_growing_put(out, " power=\"%.9g\"", n->power);
    put_attribute(out, "heads", level->heads_by);
    psc_growing_put(out, ">\n");
    for (int32_t u = 0; u < n->n_units; u++) {
        for (; next < n->n_spans && level->brackets[next].begin == u; next++) {
            put_indent(out, 2 + depth);
            put_span(out, n, level, next);
            open[depth++] = level->brackets[next].end;
        }
        for (int32_t p = n->begin[u]; p < n->begin[u + 1]; p++) {
            put_indent(out, 2 + depth);
            put_token(out, n, p, u);
        }
        for (; depth > 0 && open[depth - 1] == u; depth--) {
            put_indent(out, 1 + depth);
            psc_growing_put(out, "</span>\n");
        }
    }
    psc_growing_put(out, " </level>\n");
}

/* --- links, same ----------------------------------------------------------------------------- */

static void put_links(psc_growing *out, const spans_notation *n, const spans_shown_links *links) {
    psc_growing_put(out, " <links");
    put_attribute(out, "by", links->by);
    psc_growing_put(out, ">\n");
    for (int32_t i = 0; i < links->n; i++) {
        const spans_shown_link *link = &links->links[i];
        if (!isfinite(link->kl)) continue;
        psc_growing_put(out, "  <link from=\"%d\" to=\"%d\" kl=\"%.9g\"",
            (int)last_of(n, link->from), (int)last_of(n, link->to), link->kl);
        put_number(out, "dlogp_next", link->dlogp);
        psc_growing_put(out, "/>\n");
    }
    psc_growing_put(out, " </links>\n");
}

/* Whether x comes before y in pre-order. */
static int is_before(const psc_bracket *x, const psc_bracket *y) {
    return x->begin != y->begin ? x->begin < y->begin : x->end > y->end;
}

static int is_same(const psc_bracket *x, const psc_bracket *y) {
    return x->begin == y->begin && x->end == y->end;
}

/* All levels' brackets in one pre-order; at [n_levels]: where each level is. */
static void put_same(psc_growing *out, const spans_notation *n, int32_t *at) {
    for (int32_t l = 0; l < n->n_levels; l++) at[l] = 1;
    while (n->n_spans > 1) {
        const psc_bracket *least = NULL;
        int32_t having = 0;
        for (int32_t l = 0; l < n->n_levels; l++) {
            if (at[l] == n->n_spans) continue;
            const psc_bracket *b = &n->levels[l].brackets[at[l]];
            if (!least || is_before(b, least)) least = b;
        }
        if (!least) return;
        for (int32_t l = 0; l < n->n_levels; l++)
            having += at[l] < n->n_spans && is_same(&n->levels[l].brackets[at[l]], least);
        if (having > 1) psc_growing_put(out, " <same levels=\"");
        for (int32_t l = 0, written = 0; l < n->n_levels; l++) {
            if (at[l] >= n->n_spans || !is_same(&n->levels[l].brackets[at[l]], least)) continue;
            at[l]++;
            if (having < 2) continue;
            psc_growing_put(out, "%s", written++ ? " " : "");
            put_text(out, n->levels[l].name, strlen(n->levels[l].name));
        }
        if (having > 1)
            psc_growing_put(out, "\" span=\"%d %d\"/>\n", (int)n->begin[least->begin],
                (int)last_of(n, least->end));
    }
}

/* --- the whole ------------------------------------------------------------------------------- */

static void put_discourse(psc_growing *out, const spans_notation *n) {
    int32_t *scratch = calloc((size_t)n->n_spans + (size_t)n->n_levels + 1, sizeof *scratch);
    if (!scratch) {
        out->failed = 1;
        return;
    }
    psc_growing_put(out, "<discourse");
    put_attribute(out, "units", n->units);
    psc_growing_put(out, ">\n");
    for (int32_t l = 0; l < n->n_levels; l++) put_level(out, n, &n->levels[l], scratch);
    for (int32_t i = 0; i < n->n_links; i++) put_links(out, n, &n->links[i]);
    put_same(out, n, scratch);
    psc_growing_put(out, "</discourse>\n");
    free(scratch);
}

void spans_write_xml(psc_growing *out, const spans_notation *notations, int32_t n) {
    psc_growing_put(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    if (n != 1) psc_growing_put(out, "<discourses>\n");
    for (int32_t i = 0; i < n; i++) put_discourse(out, &notations[i]);
    if (n != 1) psc_growing_put(out, "</discourses>\n");
}
