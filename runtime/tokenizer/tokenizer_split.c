/* The GPT-2 split pattern: it cuts a text into contractions, runs of letters, of digits and of
 * other characters (each with at most one space in front), and white space. A run of white space
 * leaves its last character to the word after it. */
#include "tokenizer_private.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* The classes are those of the library's regex engine, Unicode 16. White space is White_Space,
 * listed because PCRE2's \s also has U+180E. The ranges are the letters and numbers added after
 * Unicode 14, the oldest version in current releases of PCRE2. */
#define SPACE                                                                                      \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"    \
    "\\x{205f}\\x{3000}"
#define LETTER                                                                                     \
    "\\p{L}\\x{1c89}\\x{1c8a}\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{105c0}-\\x{105f3}"          \
    "\\x{10d4a}-\\x{10d65}\\x{10d6f}-\\x{10d85}\\x{10ec2}-\\x{10ec4}\\x{1123f}\\x{11240}"          \
    "\\x{11380}-\\x{11389}\\x{1138b}\\x{1138e}\\x{11390}-\\x{113b5}\\x{113b7}\\x{113d1}"           \
    "\\x{113d3}\\x{11bc0}-\\x{11be0}\\x{11f02}\\x{11f04}-\\x{11f10}\\x{11f12}-\\x{11f33}"          \
    "\\x{1342f}\\x{13441}-\\x{13446}\\x{13460}-\\x{143fa}\\x{16100}-\\x{1611d}"                    \
    "\\x{16d40}-\\x{16d6c}\\x{18cff}\\x{1b132}\\x{1b155}\\x{1df25}-\\x{1df2a}"                     \
    "\\x{1e030}-\\x{1e06d}\\x{1e4d0}-\\x{1e4eb}\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}\\x{2b739}"          \
    "\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"
#define NUMBER                                                                                     \
    "\\p{N}\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}\\x{11f50}-\\x{11f59}"   \
    "\\x{16130}-\\x{16139}\\x{16d70}-\\x{16d79}\\x{1ccf0}-\\x{1ccf9}\\x{1d2c0}-\\x{1d2d3}"         \
    "\\x{1e4f0}-\\x{1e4f9}\\x{1e5f1}-\\x{1e5fa}"

static const char pattern_text[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?[" LETTER "]+| ?[" NUMBER "]+| ?[^" SPACE LETTER NUMBER "]+|[" SPACE
    "]+(?![^" SPACE "])|[" SPACE "]+";

psc_status psc_tk_compile_pattern(void **pattern, psc_error *error) {
    int code;
    PCRE2_SIZE at;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern_text, sizeof pattern_text - 1,
        PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &code, &at, NULL);
    if (!compiled) {
        PCRE2_UCHAR message[160] = "";
        pcre2_get_error_message(code, message, sizeof message);
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "PCRE2 cannot compile the split pattern: %s at character %zu", (const char *)message,
            (size_t)at);
    }
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* if this fails, matching is only slower */
    *pattern = compiled;
    return PSC_OK;
}

void psc_tk_free_pattern(void *pattern) {
    pcre2_code_free(pattern);
}

void *psc_tk_new_match(const void *pattern) {
    return pcre2_match_data_create_from_pattern(pattern, NULL);
}

void psc_tk_free_match(void *match) {
    pcre2_match_data_free(match);
}

/* The end of ` ?\p{L}+` at byte `at`, if its letters and the next character are ASCII; else `at`.
 * This covers most words of English text, several times faster than PCRE2. */
static size_t ascii_word(const char *text, size_t bytes, size_t at) {
    size_t i = at + (text[at] == ' '), first = i;
    while (i < bytes && (unsigned char)((text[i] | 0x20) - 'a') < 26) i++;
    return i > first && (i == bytes || (unsigned char)text[i] < 0x80) ? i : at;
}

psc_status psc_tk_next_word(size_t *end, const void *pattern, void *match, const char *text,
    size_t bytes, size_t at, psc_error *error) {
    *end = ascii_word(text, bytes, at);
    if (*end > at) return PSC_OK;
    int n = pcre2_match(
        pattern, (PCRE2_SPTR)text, bytes, at, PCRE2_NO_UTF_CHECK | PCRE2_ANCHORED, match, NULL);
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(match);
    if (n == PCRE2_ERROR_NOMEMORY || n == PCRE2_ERROR_HEAPLIMIT)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to split the text");
    if (n <= 0 || range[1] <= at || range[1] > bytes)
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "PCRE2 could not split the text at byte %zu (error %d)", at, n);
    *end = range[1];
    return PSC_OK;
}
