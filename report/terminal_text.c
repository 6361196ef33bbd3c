/* Widths, cuts and escapes of text on a terminal; base/utf8 reads the characters. */
#include "terminal_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "report.h"
#include "utf8.h"

/* The character at the start of text (bytes > 0) and its columns; broken UTF-8 is one column per
 * byte. */
static size_t measure(int *columns, const char *text, size_t bytes) {
    uint32_t c;
    int n = psc_utf8_next(&c, text, bytes);
    *columns = n > 0 ? psc_utf8_columns(c) : 1;
    return n > 0 ? (size_t)n : 1;
}

/* Columns of the first `bytes` of text. */
static int columns_of(const char *text, size_t bytes) {
    int columns = 0;
    for (size_t i = 0; i < bytes;) {
        int one;
        i += measure(&one, text + i, bytes - i);
        columns += one;
    }
    return columns;
}

int psc_text_columns(const char *text) {
    return columns_of(text, strlen(text));
}

void psc_text_field(FILE *out, const char *text, int columns) {
    size_t bytes = strlen(text), end = 0;
    int used = 0, room = columns_of(text, bytes) <= columns ? columns : columns - 1;
    while (end < bytes) {
        int one;
        size_t n = measure(&one, text + end, bytes - end);
        if (used + one > room) break;
        used += one;
        end += n;
    }
    fwrite(text, 1, end, out);
    if (end < bytes) {
        fputs("…", out);
        used++;
    }
    fprintf(out, "%*s", columns > used ? columns - used : 0, "");
}

enum { MOST_QUOTED = 64 }; /* bytes */

/* The end of a token in quotes that begins at text, or null: its closing quote is the first that a
 * space, the end or punctuation follows. An apostrophe within a word opens nothing. */
static const char *quoted_end(const char *text) {
    if (*text != '\'') return NULL;
    for (const char *at = text + 2; at[-1] && *at && at - text < MOST_QUOTED; at++)
        if (*at == '\'' && (!at[1] || strchr(" ,.;:)]<", at[1]))) return at + 1;
    return NULL;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Whether the space at `at` joins what is around it: "@22 'umb'", "' the' 0.12", "p = 0.12",
 * "3 %". */
static bool joins(const char *word, const char *at) {
    char before = ' ';
    if (at > word) before = at[-1];
    if (at[1] == '%') return is_digit(before);
    if (at[1] == '=' || before == '=') return at[1] != 0;
    if (before == '\'' && is_digit(at[at[1] == '+' || at[1] == '-' ? 2 : 1])) return true;
    word += strspn(word, "(");
    return word < at && *word == '@' && word + 1 + strspn(word + 1, "0123456789") == at &&
           at[1] == '\'' && quoted_end(at + 1);
}

/* The bytes of the word at text: up to a space outside quotes. */
static size_t word_bytes(const char *text) {
    const char *at = text;
    bool opens = true; /* a quote here would open a token */
    while (*at && (*at != ' ' || joins(text, at))) {
        const char *end = opens ? quoted_end(at) : NULL;
        opens = !end && strchr("([\" >", *at) != NULL;
        at = end ? end : at + 1;
    }
    return (size_t)(at - text);
}

/* Continues a line at `column`; < 0: the first word starts a line. */
static void wrap(FILE *out, const char *text, int column, int indent, int width) {
    bool first = column < 0;
    if (first) column = width;
    while (*text) {
        size_t gap = strspn(text, " "), word = word_bytes(text + gap);
        int columns = columns_of(text + gap, word);
        if (!first && column + (int)gap + columns <= width) {
            fprintf(out, "%*s", (int)gap, "");
            column += (int)gap;
        } else {
            fprintf(out, "%s%*s", first ? "" : "\n", indent, "");
            column = indent;
        }
        fwrite(text + gap, 1, word, out);
        column += columns;
        text += gap + word;
        first = false;
    }
    fputc('\n', out);
}

void psc_text_wrap(FILE *out, const char *text, int indent, int width) {
    wrap(out, text, -1, indent, width);
}

void psc_text_continue(FILE *out, const char *text, int column, int indent, int width) {
    wrap(out, text, column, indent, width);
}

const char *psc_text_commas(int64_t number, char out[32]) {
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%" PRId64, number);
    int at = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

size_t psc_report_escape(char *out, size_t size, const char *text, size_t bytes) {
    size_t used = 0;
    if (size == 0) return 0;
    for (size_t i = 0; i < bytes;) {
        char shown[PSC_UTF8_SHOWN];
        size_t n = psc_utf8_show(shown, text + i, bytes - i), length = strlen(shown);
        if (length >= size - used) break;
        memcpy(out + used, shown, length);
        used += length;
        i += n;
    }
    out[used] = 0;
    return used;
}

int psc_report_character(const char *text, size_t bytes) {
    uint32_t c;
    int n = psc_utf8_next(&c, text, bytes);
    return n < 0 ? -1 : n;
}
