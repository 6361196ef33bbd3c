/* UTF-8 as Unicode's table 3-7 has it (no overlong forms, no surrogates), and the two character
 * classes of added tokens: White_Space and the regex crate's \w. */
#include "tokenizer_private.h"

#include <assert.h>
#include <string.h>
#include <utf8proc.h>

/* The least and greatest second byte after a lead byte; the other bytes are 0x80 to 0xbf. */
static void second_range(unsigned char lead, unsigned char *low, unsigned char *high) {
    *low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    *high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
}

size_t psc_tk_utf8(const char *text, size_t bytes, uint32_t *c, size_t *broken) {
    const unsigned char *s = (const unsigned char *)text;
    assert(bytes > 0);
    *c = s[0];
    if (s[0] < 0x80) return 1;
    if (broken) *broken = 1;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 0;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    unsigned char low, high;
    second_range(s[0], &low, &high);
    uint32_t value = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (i >= bytes || s[i] < low || s[i] > high) return 0;
        if (broken) *broken = i + 1;
        value = value << 6 | (s[i] & 0x3f);
        low = 0x80, high = 0xbf;
    }
    *c = value;
    return n;
}

size_t psc_tk_valid_utf8(const char *text, size_t bytes) {
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
        size_t n = psc_tk_utf8(text + at, bytes - at, &c, NULL);
        if (n == 0) return at;
        at += n;
    }
    return at;
}

uint32_t psc_tk_decode_char(const char *text, size_t *length) {
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80) {
        *length = 1;
        return s[0];
    }
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    uint32_t value = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) value = value << 6 | (s[i] & 0x3f);
    *length = n;
    return value;
}

bool psc_tk_is_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool psc_tk_is_word(uint32_t c) {
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        break;
    }
    /* The joiners, and the circled and squared letters: symbols that are Alphabetic. */
    return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) ||
           (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
           (c >= 0x1f170 && c <= 0x1f189);
}
