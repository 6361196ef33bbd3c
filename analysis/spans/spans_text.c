/* The aligned text:
 *
 *   position 1   2    3    4        <  a span opens before the token     .  the token
 *   token    The ·old ·man ·gave    >  a span closes after it            *  the token, which heads a
 *   level 2  <.  <.   .>>  .           span that does not end in it
 *                                   -  the token continues its unit
 *
 * A token's column is as wide as its widest cell, plus one. The whole is left out. */
#include "spans_notation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum {
    MOST_COLUMNS = 24, /* of a token or a level's name */
    MOST_SIGNS = 8,    /* more brackets than that become a number: 12<. */
    TEXT_BYTES = 256,  /* of a shown text */
    ROW_LABEL_BYTES = 128,
    MOST_TOP = 64
};

/* --- widths ---------------------------------------------------------------------------------- */

/* The first character of text [n], n > 0: its bytes and its terminal columns. */
static int read_character(const char *text, size_t n, int *columns) {
    utf8proc_int32_t c;
    const utf8proc_ssize_t length =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &c);
    *columns = length > 0 ? utf8proc_charwidth(c) : 1;
    return length > 0 ? (int)length : 1;
}

static int columns_of(const char *text) {
    int sum = 0, columns;
    for (size_t at = 0, n = strlen(text); at < n; sum += columns)
        at += (size_t)read_character(text + at, n - at, &columns);
    return sum;
}

/* A text of at most MOST_COLUMNS columns: spaces become ·, a mark without a letter before it
 * stands on ◌, and a longer text ends in …. */
static void show(char out[TEXT_BYTES], const char *text) {
    static const char dot[] = "\xc2\xb7", circle[] = "\xe2\x97\x8c", more[] = "\xe2\x80\xa6";
    const size_t n = strlen(text);
    size_t used = 0;
    int sum = 0, columns;
    for (size_t at = 0; at < n;) {
        const size_t length = (size_t)read_character(text + at, n - at, &columns);
        const char *put = text[at] == ' ' ? dot : text + at;
        const size_t bytes = text[at] == ' ' ? sizeof dot - 1 : length;
        if (at == 0 && columns == 0) {
            memcpy(out, circle, used = sizeof circle - 1);
            sum = 1;
        }
        const int last = at + length == n;
        if (sum + columns + !last > MOST_COLUMNS || used + bytes + sizeof more > TEXT_BYTES) {
            memcpy(out + used, more, sizeof more - 1);
            used += sizeof more - 1;
            break;
        }
        memcpy(out + used, put, bytes);
        used += bytes;
        sum += columns;
        at += length;
    }
    out[used] = 0;
}

/* --- cells ----------------------------------------------------------------------------------- */

/* What the cells of one run of spans_write_text need: brackets by the unit that they begin or end
 * at, [levels, units]; heads that are marked. */
typedef struct signs {
    const spans_notation *notation;
    int32_t *opens, *closes, *heads;
    int32_t *unit, *widths; /* [tokens] of each token */
    int32_t n_tokens;       /* that are shown */
} signs;

static int count_signs(signs *s) {
    const spans_notation *n = s->notation;
    const size_t cells = (size_t)n->n_levels * (size_t)n->n_units;
    int32_t *all = calloc(3 * cells + 2 * (size_t)s->n_tokens, sizeof *all);
    if (!all) return -1;
    s->opens = all;
    s->closes = all + cells;
    s->heads = all + 2 * cells;
    s->unit = all + 3 * cells;
    s->widths = s->unit + s->n_tokens;
    for (int32_t l = 0; l < n->n_levels; l++) {
        const size_t row = (size_t)l * (size_t)n->n_units;
        for (int32_t i = 1; i < n->n_spans; i++) {
            const psc_bracket *b = &n->levels[l].brackets[i];
            const int32_t head = n->levels[l].heads ? n->levels[l].heads[i] : -1;
            s->opens[row + (size_t)b->begin]++;
            s->closes[row + (size_t)b->end]++;
            if (head >= 0 && head != b->end) s->heads[row + (size_t)head] = 1;
        }
    }
    for (int32_t u = 0; u < n->n_units; u++)
        for (int32_t p = n->begin[u]; p < n->begin[u + 1]; p++)
            if (p - n->begin[0] < s->n_tokens) s->unit[p - n->begin[0]] = u;
    return 0;
}

static int put_signs(char *out, char sign, int32_t count) {
    if (count > MOST_SIGNS)
        return sign == '<' ? sprintf(out, "%d<", (int)count) : sprintf(out, ">%d", (int)count);
    memset(out, sign, (size_t)count);
    return count;
}

/* "<<.", ".>", "-", "*" */
static void level_cell(char out[TEXT_BYTES], const signs *s, int32_t level, int32_t token) {
    const int32_t *begin = s->notation->begin, unit = s->unit[token], position = begin[0] + token;
    const size_t at = (size_t)level * (size_t)s->notation->n_units + (size_t)unit;
    const int first = position == begin[unit], last = position == begin[unit + 1] - 1;
    int used = first ? put_signs(out, '<', s->opens[at]) : 0;
    out[used] = '-';
    if (first) out[used] = s->heads[at] ? '*' : '.';
    used++;
    if (last) used += put_signs(out + used, '>', s->closes[at]);
    out[used] = 0;
}

/* Lines of a block: -2 the positions, -1 the tokens, then the levels. */
static void cell(char out[TEXT_BYTES], const signs *s, int32_t line, int32_t token) {
    if (line == -2)
        snprintf(out, TEXT_BYTES, "%d", (int)(s->notation->begin[0] + token));
    else if (line == -1)
        show(out, s->notation->tokens[token].shown);
    else
        level_cell(out, s, line, token);
}

static void row_label(char out[ROW_LABEL_BYTES], const spans_notation *n, int32_t line) {
    char name[TEXT_BYTES];
    if (line >= 0) show(name, n->levels[line].name);
    if (line >= 0)
        snprintf(out, ROW_LABEL_BYTES, "level %.100s", name);
    else
        snprintf(out, ROW_LABEL_BYTES, "%s", line == -2 ? "position" : "token");
}

/* --- blocks ---------------------------------------------------------------------------------- */

static void pad(psc_growing *out, int columns) {
    if (columns > 0) psc_growing_put(out, "%*s", columns, "");
}

static int column_width(const signs *s, int32_t token) {
    char text[TEXT_BYTES];
    int most = 0;
    for (int32_t line = -2; line < s->notation->n_levels; line++) {
        cell(text, s, line, token);
        const int columns = columns_of(text);
        if (columns > most) most = columns;
    }
    return most + 1;
}

/* Tokens first..end-1 below each other. */
static void put_block(psc_growing *out, const signs *s, int32_t first, int32_t end, int labels) {
    char text[TEXT_BYTES], label[ROW_LABEL_BYTES];
    for (int32_t line = -2; line < s->notation->n_levels; line++) {
        row_label(label, s->notation, line);
        psc_growing_put(out, "%s", label);
        int missing = labels - columns_of(label);
        for (int32_t t = first; t < end; t++) {
            pad(out, missing);
            cell(text, s, line, t);
            psc_growing_put(out, "%s", text);
            missing = s->widths[t] - columns_of(text);
        }
        psc_growing_put(out, "\n");
    }
}

static void put_blocks(psc_growing *out, const signs *s, int32_t width, int labels) {
    for (int32_t first = 0, end; first < s->n_tokens; first = end) {
        int used = labels + s->widths[first];
        for (end = first + 1; end < s->n_tokens; end++) {
            const int columns = s->widths[end];
            if (used + columns - 1 > width) break; /* no space after the last */
            used += columns;
        }
        if (first > 0) psc_growing_put(out, "\n");
        put_block(out, s, first, end, labels);
    }
}

/* --- lists ----------------------------------------------------------------------------------- */

/* A list that is cut into lines, each with the label in front. */
typedef struct list {
    psc_growing *out;
    const char *label;
    int labels, width, used, n;
} list;

static void put_item(list *l, const char *text) {
    const int columns = columns_of(text);
    if (l->n > 0) psc_growing_put(l->out, ",");
    if (l->n == 0 || l->used + columns + 3 > l->width) {
        psc_growing_put(l->out, "%s%s", l->n > 0 ? "\n" : "", l->label);
        pad(l->out, l->labels - columns_of(l->label));
        l->used = l->labels;
    } else {
        psc_growing_put(l->out, " ");
        l->used += 2;
    }
    psc_growing_put(l->out, "%s", text);
    l->used += columns;
    l->n++;
}

/* The tokens of a unit, without the space before it: "than|ked". */
static void unit_text(char out[TEXT_BYTES], const spans_notation *n, int32_t unit) {
    char whole[TEXT_BYTES];
    size_t used = 0;
    const int32_t first = n->begin[unit];
    whole[0] = 0;
    for (int32_t p = first; p < n->begin[unit + 1] && used < TEXT_BYTES - 1; p++) {
        const char *text = n->tokens[p - n->begin[0]].shown;
        if (p == first && text[0] == ' ' && text[1]) text++;
        used +=
            (size_t)snprintf(whole + used, TEXT_BYTES - used, "%s%s", p > first ? "|" : "", text);
    }
    show(out, whole);
}

/* The largest links first, ties in the list's order. */
static void put_links(
    psc_growing *out, const spans_notation *n, const spans_shown_links *links, list *l, int top) {
    int32_t best[MOST_TOP], n_best = 0;
    for (int32_t i = 0; i < links->n && top > 0; i++) {
        const double kl = links->links[i].kl;
        int32_t at = n_best;
        if (isnan(kl)) continue;
        while (at > 0 && links->links[best[at - 1]].kl < kl) at--;
        if (at == top) continue;
        if (n_best < top) n_best++;
        for (int32_t j = n_best - 1; j > at; j--) best[j] = best[j - 1];
        best[at] = i;
    }
    for (int32_t i = 0; i < n_best; i++) {
        const spans_shown_link *link = &links->links[best[i]];
        char from[TEXT_BYTES], to[TEXT_BYTES], text[3 * TEXT_BYTES];
        unit_text(from, n, link->from);
        unit_text(to, n, link->to);
        snprintf(text, sizeof text, "%s -> %s %.2f%s", from, to, link->kl, i == 0 ? " nats" : "");
        put_item(l, text);
    }
    if (n_best > 0) psc_growing_put(out, "\n");
}

/* "[1,3] NOUN nsubj Number=Sing" of the first `top` spans that have a label. */
static void put_labels(
    psc_growing *out, const spans_notation *n, const spans_shown_level *level, list *l, int top) {
    for (int32_t i = 0; i < n->n_spans && l->n < top; i++) {
        const spans_label *label = &level->labels[i];
        char text[4 * TEXT_BYTES];
        if (!label->label) continue;
        snprintf(text, sizeof text, "[%d,%d] %.100s%s%.100s%s%.600s",
            (int)n->begin[level->brackets[i].begin], (int)n->begin[level->brackets[i].end + 1] - 1,
            label->label, label->function ? " " : "", label->function ? label->function : "",
            label->operators ? " " : "", label->operators ? label->operators : "");
        put_item(l, text);
    }
    if (l->n > 0) psc_growing_put(out, "\n");
}

/* --- the whole ------------------------------------------------------------------------------- */

static int label_columns(const spans_notation *n) {
    char label[ROW_LABEL_BYTES];
    int most = 0;
    for (int32_t line = -2; line < n->n_levels; line++) {
        row_label(label, n, line);
        const int columns = columns_of(label);
        if (columns > most) most = columns;
    }
    return most + 1;
}

static void put_lists(psc_growing *out, const spans_notation *n, int32_t width, int32_t top) {
    char label[ROW_LABEL_BYTES], name[TEXT_BYTES];
    const int labels = label_columns(n);
    if (top > MOST_TOP) top = MOST_TOP;
    for (int32_t i = 0; i < n->n_links; i++) {
        list l = {out, "links", labels, width, 0, 0};
        if (n->n_links > 1) snprintf(label, sizeof label, "%.40s", n->links[i].by);
        if (n->n_links > 1) l.label = label;
        put_links(out, n, &n->links[i], &l, top);
    }
    for (int32_t i = 0; i < n->n_levels; i++) {
        list l = {out, label, labels, width, 0, 0};
        if (!n->levels[i].labels) continue;
        show(name, n->levels[i].name);
        snprintf(label, sizeof label, "labels %.100s", name);
        if (labels <= columns_of(label)) l.labels = columns_of(label) + 1;
        put_labels(out, n, &n->levels[i], &l, top);
    }
}

void spans_write_text(
    psc_growing *out, const spans_notation *n, int32_t most_tokens, int32_t width, int32_t top) {
    signs s = {.notation = n, .n_tokens = n->begin[n->n_units] - n->begin[0]};
    if (n->n_units == 0) return;
    if (most_tokens > 0 && s.n_tokens > most_tokens) s.n_tokens = most_tokens;
    if (count_signs(&s)) {
        out->failed = 1;
        return;
    }
    for (int32_t t = 0; t < s.n_tokens; t++) s.widths[t] = column_width(&s, t);
    put_blocks(out, &s, width, label_columns(n));
    free(s.opens);
    put_lists(out, n, width, top);
}
