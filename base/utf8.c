/* utf8proc decodes and measures. This file adds two things: how much of a broken sequence could
 * have begun a character, and which characters are dangerous to show. */
#include "utf8.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* Characters to escape before untrusted text is shown. Soft hyphens, variation selectors and
 * combining marks are not listed: they occur in ordinary words and emoji, and neither move the
 * cursor nor reorder text. */
static const struct {
    uint32_t first, last;
} dangerous[] = {{0x0, 0x1f}, /* C0 controls */
    {0x7f, 0x9f},             /* delete, C1 controls */
    {0x61c, 0x61c},           /* Arabic letter mark */
    {0x200b, 0x200f},         /* zero width space and joiners; left-to-right, right-to-left mark */
    {0x2028, 0x202e},         /* line and paragraph separator; embeddings and overrides */
    {0x2060, 0x2069},         /* word joiner, invisible operators; isolates */
    {0xfeff, 0xfeff},         /* zero width no-break space, the byte order mark */
    {0xe0000, 0xe007f}};      /* the tag block: text that no terminal shows */

bool psc_utf8_is_dangerous(uint32_t c) {
    if (c >= 0x20 && c < 0x7f) return false;
    for (size_t i = 0; i < sizeof dangerous / sizeof dangerous[0]; i++)
        if (c >= dangerous[i].first && c <= dangerous[i].last) return true;
    return false;
}

int psc_utf8_columns(uint32_t c) {
    return utf8proc_charwidth((utf8proc_int32_t)c);
}

/* -n or 0, as psc_utf8_next returns them, for text that utf8proc refuses. */
static int broken_part(const unsigned char *s, size_t bytes) {
    if (s[0] < 0xc2 || s[0] > 0xf4) return -1;
    size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    for (size_t i = 1; i < length; i++) {
        if (i == bytes) return 0;
        if (s[i] < low || s[i] > high) return -(int)i;
        low = 0x80, high = 0xbf;
    }
    assert(false); /* utf8proc takes every whole character */
    return -1;
}

int psc_utf8_next(uint32_t *c, const char *text, size_t bytes) {
    const unsigned char *s = (const unsigned char *)text;
    assert(bytes > 0);
    *c = s[0];
    if (s[0] < 0x80) return 1;
    utf8proc_int32_t code;
    utf8proc_ssize_t n = utf8proc_iterate(s, bytes < 4 ? (utf8proc_ssize_t)bytes : 4, &code);
    if (n <= 0) return broken_part(s, bytes);
    *c = (uint32_t)code;
    return (int)n;
}

uint32_t psc_utf8_decode(size_t *length, const char *text) {
    const unsigned char *s = (const unsigned char *)text;
    utf8proc_int32_t code = s[0];
    *length = 1;
    if (s[0] >= 0x80) {
        utf8proc_ssize_t n = utf8proc_iterate(s, -1, &code);
        assert(n > 0);
        *length = (size_t)n;
    }
    return (uint32_t)code;
}

size_t psc_utf8_valid(const char *text, size_t bytes) {
    size_t at = 0;
    while (at < bytes) {
        uint64_t eight;
        if (bytes - at >= 8) {
            memcpy(&eight, text + at, 8);
            if (!(eight & 0x8080808080808080u)) {
                at += 8;
                continue;
            }
        }
        uint32_t c;
        int n = psc_utf8_next(&c, text + at, bytes - at);
        if (n <= 0) return at;
        at += (size_t)n;
    }
    return at;
}

size_t psc_utf8_show(char out[PSC_UTF8_SHOWN], const char *text, size_t bytes) {
    uint32_t c;
    int n = psc_utf8_next(&c, text, bytes);
    if (n <= 0) {
        snprintf(out, PSC_UTF8_SHOWN, "\\x%02x", (unsigned)(unsigned char)*text);
        return 1;
    }
    if (!psc_utf8_is_dangerous(c)) {
        memcpy(out, text, (size_t)n);
        out[n] = 0;
    } else if (c == '\n' || c == '\t' || c == '\r')
        snprintf(out, PSC_UTF8_SHOWN, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
    else
        snprintf(out, PSC_UTF8_SHOWN, c < 0x80 ? "\\x%02x" : "\\u{%x}", (unsigned)c);
    return (size_t)n;
}
