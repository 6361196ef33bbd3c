/* Reading UTF-8 against an independent copy of Unicode's table 3-7, over every code point and every
 * lead byte; the dangerous characters at every border of their table. */
#include "psc_error.h"
#include "report.h"
#include "utf8.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Table 3-7: the ranges of each byte, by the first byte. */
static const struct {
    unsigned char first[2], rest[3][2];
    int length;
} table[] = {{{0x00, 0x7f}, {{0}}, 1}, {{0xc2, 0xdf}, {{0x80, 0xbf}}, 2},
    {{0xe0, 0xe0}, {{0xa0, 0xbf}, {0x80, 0xbf}}, 3},
    {{0xe1, 0xec}, {{0x80, 0xbf}, {0x80, 0xbf}}, 3},
    {{0xed, 0xed}, {{0x80, 0x9f}, {0x80, 0xbf}}, 3},
    {{0xee, 0xef}, {{0x80, 0xbf}, {0x80, 0xbf}}, 3},
    {{0xf0, 0xf0}, {{0x90, 0xbf}, {0x80, 0xbf}, {0x80, 0xbf}}, 4},
    {{0xf1, 0xf3}, {{0x80, 0xbf}, {0x80, 0xbf}, {0x80, 0xbf}}, 4},
    {{0xf4, 0xf4}, {{0x80, 0x8f}, {0x80, 0xbf}, {0x80, 0xbf}}, 4}};

/* The expected result of psc_utf8_next. */
static int expected(const unsigned char *s, size_t bytes) {
    for (size_t row = 0; row < sizeof table / sizeof table[0]; row++) {
        if (s[0] < table[row].first[0] || s[0] > table[row].first[1]) continue;
        for (int i = 1; i < table[row].length; i++) {
            if ((size_t)i == bytes) return 0;
            if (s[i] < table[row].rest[i - 1][0] || s[i] > table[row].rest[i - 1][1]) return -i;
        }
        return table[row].length;
    }
    return -1;
}

static size_t encode(char *out, uint32_t c) {
    unsigned char *s = (unsigned char *)out;
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; c >>= 6) s[i] = (unsigned char)(0x80 | (c & 0x3f));
    s[0] = (unsigned char)(lead[n] | c);
    return n;
}

Test(utf8, every_code_point_is_read_and_its_beginnings_are_cut) {
    char text[5] = "";
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        uint32_t got;
        size_t n = encode(text, c), length = 0;
        bool surrogate = c >= 0xd800 && c < 0xe000;
        int read = psc_utf8_next(&got, text, n);
        cr_assert_eq(read, surrogate ? -1 : (int)n, "U+%04X: %d", (unsigned)c, read);
        cr_assert_eq(psc_utf8_valid(text, n), surrogate ? 0 : n);
        if (surrogate) continue;
        cr_assert_eq(got, c);
        cr_assert_eq(psc_utf8_decode(&length, text), c);
        cr_assert_eq(length, n);
        for (size_t cut = 1; cut < n; cut++) {
            cr_assert_eq(psc_utf8_next(&got, text, cut), 0, "U+%04X cut at %zu", (unsigned)c, cut);
            cr_assert_eq(psc_utf8_valid(text, cut), 0);
        }
    }
}

/* Every first and second byte; third and fourth bytes on both sides of each border. */
Test(utf8, every_beginning_agrees_with_the_table) {
    static const unsigned char border[] = {
        0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    enum { BORDERS = sizeof border };
    for (int code = 0; code < 256 * 256 * BORDERS * BORDERS; code++) {
        unsigned char s[4] = {(unsigned char)(code % 256), (unsigned char)(code / 256 % 256),
            border[code / 65536 % BORDERS], border[code / 65536 / BORDERS]};
        for (size_t bytes = 1; bytes <= 4; bytes++) {
            uint32_t c;
            int got = psc_utf8_next(&c, (const char *)s, bytes), want = expected(s, bytes);
            if (got != want)
                cr_assert_fail("%02x %02x %02x %02x, %zu bytes: %d, not %d", s[0], s[1], s[2], s[3],
                    bytes, got, want);
        }
    }
}

Test(utf8, what_is_beyond_the_text_is_not_read) {
    uint32_t c;
    char *text = malloc(3); /* exact size, for the address sanitizer */
    memcpy(text, "\xf0\x9f\x98", 3);
    cr_expect_eq(psc_utf8_next(&c, text, 3), 0);
    cr_expect_eq(psc_utf8_next(&c, text, 2), 0);
    cr_expect_eq(psc_utf8_next(&c, text, 1), 0);
    cr_expect_eq(psc_utf8_valid(text, 3), 0);
    free(text);
}

Test(utf8, valid_counts_whole_characters_at_any_place) {
    char text[64];
    for (size_t before = 0; before < 20; before++)
        for (size_t after = 0; after < 20; after++) {
            memset(text, 'a', sizeof text);
            memcpy(text + before, "\xc3\xa9", 2);
            cr_expect_eq(psc_utf8_valid(text, before + 2 + after), before + 2 + after);
            text[before + 1] = 'b';
            cr_expect_eq(psc_utf8_valid(text, before + 2 + after), before);
        }
    cr_expect_eq(psc_utf8_valid(text, 0), 0);
}

Test(utf8, dangerous_characters_at_every_border) {
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0, 0x1f}, {0x7f, 0x9f}, {0x61c, 0x61c}, {0x200b, 0x200f}, {0x2028, 0x202e},
        {0x2060, 0x2069}, {0xfeff, 0xfeff}, {0xe0000, 0xe007f}};
    uint32_t count = 0, want = 0;
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        want += ranges[i].last - ranges[i].first + 1;
        for (uint32_t c = ranges[i].first; c <= ranges[i].last; c++)
            cr_expect(psc_utf8_is_dangerous(c), "U+%04X", (unsigned)c);
        cr_expect_not(psc_utf8_is_dangerous(ranges[i].last + 1));
        if (ranges[i].first > 0) cr_expect_not(psc_utf8_is_dangerous(ranges[i].first - 1));
    }
    for (uint32_t c = 0; c <= 0x10ffff; c++) count += psc_utf8_is_dangerous(c);
    cr_expect_eq(count, want);
}

static void check_shown(const char *text, size_t bytes, const char *want, size_t used) {
    char out[PSC_UTF8_SHOWN];
    cr_expect_eq(psc_utf8_show(out, text, bytes), used, "%s", want);
    cr_expect_str_eq(out, want);
}

Test(utf8, characters_as_they_are_shown) {
    check_shown("ab", 2, "a", 1);
    check_shown("\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80", 4);
    check_shown("\n", 1, "\\n", 1);
    check_shown("\t", 1, "\\t", 1);
    check_shown("\r", 1, "\\r", 1);
    check_shown("\0", 1, "\\x00", 1);
    check_shown("\033", 1, "\\x1b", 1);
    check_shown("\x7f", 1, "\\x7f", 1);
    check_shown("\xc2\x9b", 2, "\\u{9b}", 2);
    check_shown("\xd8\x9c", 2, "\\u{61c}", 2);
    check_shown("\xe2\x80\xae", 3, "\\u{202e}", 3);
    check_shown("\xf3\xa0\x81\x81", 4, "\\u{e0041}", 4);
    check_shown("\xe2\x80", 2, "\\xe2", 1);
    check_shown("\xed\xa0\x80", 3, "\\xed", 1);
    check_shown("\xc2\xad", 2, "\xc2\xad", 2);         /* a soft hyphen */
    check_shown("\xef\xb8\x8f", 3, "\xef\xb8\x8f", 3); /* a variation selector */
}

Test(utf8, columns) {
    cr_expect_eq(psc_utf8_columns('a'), 1);
    cr_expect_eq(psc_utf8_columns(0x6f22), 2);
    cr_expect_eq(psc_utf8_columns(0x301), 0);
    cr_expect_eq(psc_report_character("\xe6\xbc", 2), 0);
    cr_expect_eq(psc_report_character("\xe6\xbc\xa2", 3), 3);
    cr_expect_eq(psc_report_character("\xe6z", 2), -1);
}

/* Each dangerous character, and each byte that is not UTF-8, is escaped; a
 * character that the end cuts is left out. */
Test(utf8, errors_are_clean) {
    psc_error error;
    psc_fail(
        &error, PSC_ERROR_INPUT, "a%sb%sc%s", "\033[2J", "\xe2\x80\xae\xe2\x80\x8b", "\xff\xc3");
    cr_expect_str_eq(error.message, "a\\x1b[2Jb\\u{202e}\\u{200b}c\\xff\\xc3");
    psc_fail(&error, PSC_ERROR_INPUT, "%s",
        "\xd8\x9c\xf3\xa0\x81\x81\xc2\x9b\xef\xbb\xbf caf\xc3\xa9\n");
    cr_expect_str_eq(error.message, "\\u{61c}\\u{e0041}\\u{9b}\\u{feff} caf\xc3\xa9\\n");
    char longer[2 * sizeof error.message];
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = 0;
    memcpy(longer + sizeof error.message - 2, "\xc3\xa9", 2); /* cut in its middle */
    psc_fail(&error, PSC_ERROR_INPUT, "%s", longer);
    cr_expect_eq(strlen(error.message), sizeof error.message - 2);
    char again[sizeof error.message];
    memcpy(again, error.message, sizeof again);
    psc_fail(&error, PSC_ERROR_INPUT, "%s", again);
    cr_expect_str_eq(error.message, again, "escaped twice");
}
