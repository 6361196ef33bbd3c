/* Text in graph.graphml, graph.dot and graph.txt. The host escapes a token's controls already; here
 * any bytes are safe, so that no file depends on that. */
#include "graph.h"

#include <string.h>

/* The length of the first character of text (n > 0) if it is whole UTF-8, printable and allowed in
 * XML 1.0; else 0. */
static size_t character(const unsigned char *text, size_t n) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char first = text[0];
    const size_t length = first < 0x80   ? 1
                          : first < 0xc2 ? 0
                          : first < 0xe0 ? 2
                          : first < 0xf0 ? 3
                                         : 4;
    if (length == 0 || length > n || first > 0xf4) return 0;
    uint32_t c = length == 1 ? first : first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (text[i] & 0x3fu);
    }
    const int surrogate = c >= 0xd800 && c <= 0xdfff, beyond = c > 0x10ffff;
    const int control = c < 0x20 || (c >= 0x7f && c < 0xa0);
    if (c < least[length] || surrogate || beyond || control || (c & 0xfffe) == 0xfffe) return 0;
    return length;
}

/* The escape of an ASCII character in a format; null: none. In DOT a backslash begins \N, \G or
 * \l, and an ampersand an entity. */
static const char *escaped(graph_quoting how, char c) {
    if (how == QUOTE_NONE) return NULL;
    if (c == '&') return "&amp;";
    if (how == QUOTE_DOT) return c == '"' ? "\\\"" : c == '\\' ? "\\\\" : NULL;
    return c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&quot;" : NULL;
}

void graph_put(psc_growing *t, graph_quoting how, const char *text, size_t n) {
    for (size_t i = 0, length; i < n; i += length) {
        length = character((const unsigned char *)text + i, n - i);
        const char *other = length == 1 ? escaped(how, text[i]) : NULL;
        if (other)
            psc_growing_add(t, other, strlen(other));
        else if (length)
            psc_growing_add(t, text + i, length);
        else {
            psc_growing_put(
                t, how == QUOTE_DOT ? "\\\\x%02x" : "\\x%02x", (unsigned)(unsigned char)text[i]);
            length = 1;
        }
    }
}

void graph_put_token(psc_growing *t, graph_quoting how, const graph_state *s, int32_t token) {
    size_t n;
    const char *text = psc_bare_token(s->context, s->host, token, &n);
    graph_put(t, how, text, n);
}
