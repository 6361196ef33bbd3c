/* Tokens of JSON. The lexer of jansson 2.14 loses a byte of a token when its buffer cannot grow: a
 * text becomes another one, or the lexer reads and writes past its buffer. Here the memory of a
 * token is asked for once, when its length is known. */
#include "json_scan.h"

#include "arena.h"
#include "utf8.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SHOWN = 20 }; /* bytes of a token in a sentence */

void psc_json_scan_begin(
    psc_json_scan *scan, const char *text, size_t n, size_t flags, json_error_t *why) {
    *scan = (psc_json_scan){.text = text, .n = n, .flags = flags, .why = why};
    *why = (json_error_t){.line = -1, .column = -1, .source = "<buffer>"};
}

void psc_json_scan_free(psc_json_scan *scan) {
    free(scan->bytes);
    scan->bytes = NULL;
}

/* --- faults ---------------------------------------------------------------------------------- */

/* Lines begin at 1; columns count characters. */
static void note_place(psc_json_scan *scan) {
    json_error_t *why = scan->why;
    why->line = 1;
    why->column = 0;
    why->position = (int)scan->at;
    for (size_t i = 0; i < scan->at; i++) {
        const unsigned char c = (unsigned char)scan->text[i];
        if (c == '\n') {
            why->line++;
            why->column = 0;
        } else if ((c & 0xc0) != 0x80) {
            why->column++;
        }
    }
}

void psc_json_scan_fault(psc_json_scan *scan, enum json_error_code code, const char *format, ...) {
    json_error_t *why = scan->why;
    char message[100], near[MOST_SHOWN + 1] = "";
    const size_t room = JSON_ERROR_TEXT_LENGTH - 1, shown = scan->at - scan->start;
    va_list arguments;
    if (why->text[0] || scan->no_memory) return;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    note_place(scan);
    if (shown <= MOST_SHOWN) memcpy(near, scan->text + scan->start, shown);
    const bool at_end = shown == 0 || !scan->text[scan->start];
    if (at_end && code == json_error_invalid_syntax) code = json_error_premature_end_of_input;
    if (at_end && code != json_error_invalid_utf8)
        snprintf(why->text, room, "%s near end of file", message);
    else if (near[0])
        snprintf(why->text, room, "%s near '%s'", message, near);
    else
        snprintf(why->text, room, "%s", message);
    why->text[room] = (char)code;
}

/* --- characters ------------------------------------------------------------------------------ */

enum { END = -1, BROKEN = -2 };

/* The length of the character at `at`; 0 if it is none. */
static size_t length_at(const psc_json_scan *scan) {
    uint32_t c;
    if ((unsigned char)scan->text[scan->at] < 0x80) return 1;
    const int length = psc_utf8_next(&c, scan->text + scan->at, scan->n - scan->at);
    return length > 0 ? (size_t)length : 0;
}

/* The next byte, which begins a whole character; END; BROKEN after noting that UTF-8 is. */
static int peek(psc_json_scan *scan) {
    if (scan->at == scan->n) return END;
    const unsigned char byte = (unsigned char)scan->text[scan->at];
    if (length_at(scan) > 0) return byte;
    psc_json_scan_fault(scan, json_error_invalid_utf8, "unable to decode byte 0x%x", byte);
    return BROKEN;
}

/* Passes the character that peek has seen. */
static void pass(psc_json_scan *scan) {
    scan->at += length_at(scan);
}

static int take(psc_json_scan *scan) {
    const int c = peek(scan);
    if (c >= 0) pass(scan);
    return c;
}

static bool is_digit(int c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(int c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* 0 to 15; -1 for other characters. */
static int hex_digit(int c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool make_room(psc_json_scan *scan, size_t bytes) {
    if (psc_grow((void **)&scan->bytes, &scan->room, bytes, 1)) return true;
    scan->no_memory = true;
    return false;
}

/* --- strings --------------------------------------------------------------------------------- */

static bool pass_escape(psc_json_scan *scan) {
    const int c = take(scan);
    bool valid = c > 0 && strchr("\"\\/bfnrtu", c) != NULL;
    for (int i = 0; valid && c == 'u' && i < 4; i++) valid = hex_digit(take(scan)) >= 0;
    if (!valid) psc_json_scan_fault(scan, json_error_invalid_syntax, "invalid escape");
    return valid;
}

/* Passes the rest of a string; *escaped: it has an escape. */
static bool pass_string(psc_json_scan *scan, bool *escaped) {
    *escaped = false;
    for (;;) {
        const int c = peek(scan);
        if (c == BROKEN) return false;
        if (c == END) {
            psc_json_scan_fault(scan, json_error_premature_end_of_input, "premature end of input");
            return false;
        }
        if (c == '\n') {
            psc_json_scan_fault(scan, json_error_invalid_syntax, "unexpected newline");
            return false;
        }
        if (c < 0x20) {
            psc_json_scan_fault(scan, json_error_invalid_syntax, "control character 0x%x", c);
            return false;
        }
        pass(scan);
        if (c == '"') return true;
        if (c != '\\') continue;
        *escaped = true;
        if (!pass_escape(scan)) return false;
    }
}

static uint32_t four_digits(const char *at) {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) value = value << 4 | (uint32_t)hex_digit(at[i]);
    return value;
}

/* The character of \uXXXX or of a pair of them; *at moves behind it. */
static bool decode_unicode(psc_json_scan *scan, uint32_t *out, const char **at) {
    const uint32_t first = four_digits(*at + 2);
    *out = first;
    *at += 6;
    if (first < 0xd800 || first > 0xdfff) return true;
    if (first < 0xdc00 && (*at)[0] == '\\' && (*at)[1] == 'u') {
        const uint32_t second = four_digits(*at + 2);
        *at += 6;
        *out = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        if (second >= 0xdc00 && second <= 0xdfff) return true;
        psc_json_scan_fault(scan, json_error_invalid_syntax, "invalid Unicode '\\u%04X\\u%04X'",
            (unsigned)first, (unsigned)second);
        return false;
    }
    psc_json_scan_fault(
        scan, json_error_invalid_syntax, "invalid Unicode '\\u%04X'", (unsigned)first);
    return false;
}

static char *put_utf8(char *to, uint32_t c) {
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char leads[] = {0, 0xc0, 0xe0, 0xf0};
    *to++ = (char)(leads[more] | c >> (6 * more));
    for (int i = more - 1; i >= 0; i--) *to++ = (char)(0x80 | (c >> (6 * i) & 0x3f));
    return to;
}

/* Decodes a string that pass_string has passed; the result is never longer. */
static bool decode_string(psc_json_scan *scan) {
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *at = scan->text + scan->start + 1, *end = scan->text + scan->at - 1;
    char *to = scan->bytes;
    while (at < end) {
        uint32_t c;
        if (*at != '\\') {
            *to++ = *at++;
        } else if (at[1] == 'u') {
            if (!decode_unicode(scan, &c, &at)) return false;
            to = put_utf8(to, c);
        } else {
            *to++ = meant[strchr(letters, at[1]) - letters];
            at += 2;
        }
    }
    *to = 0;
    scan->length = (size_t)(to - scan->bytes);
    return true;
}

static char scan_string(psc_json_scan *scan) {
    bool escaped;
    if (!pass_string(scan, &escaped)) return JSON_SCAN_INVALID;
    const size_t n = scan->at - scan->start - 2; /* without the two quotes */
    if (!make_room(scan, n + 1)) return JSON_SCAN_INVALID;
    if (escaped) return decode_string(scan) ? JSON_SCAN_STRING : JSON_SCAN_INVALID;
    memcpy(scan->bytes, scan->text + scan->start + 1, n);
    scan->bytes[n] = 0;
    scan->length = n;
    return JSON_SCAN_STRING;
}

/* --- numbers and words ----------------------------------------------------------------------- */

static bool pass_digits(psc_json_scan *scan) {
    const size_t from = scan->at;
    while (is_digit(peek(scan))) scan->at++;
    return scan->at > from;
}

/* Passes what follows the first digit or sign; *whole: it has neither a point nor an exponent. */
static bool pass_number(psc_json_scan *scan, bool *whole) {
    int c = (unsigned char)scan->text[scan->start];
    if (c == '-') {
        c = peek(scan);
        if (!is_digit(c)) return false;
        scan->at++;
    }
    if (c == '0' ? is_digit(peek(scan)) : (pass_digits(scan), false)) return false;
    c = peek(scan);
    *whole = c != '.' && c != 'e' && c != 'E';
    if (c == '.') {
        scan->at++;
        if (!pass_digits(scan)) return false;
        c = peek(scan);
    }
    if (c != 'e' && c != 'E') return true;
    scan->at++;
    c = peek(scan);
    if (c == '+' || c == '-') scan->at++;
    return pass_digits(scan);
}

static char take_integer(psc_json_scan *scan) {
    errno = 0;
    scan->integer = strtoll(scan->bytes, NULL, 10);
    if (errno != ERANGE) return JSON_SCAN_INTEGER;
    psc_json_scan_fault(scan, json_error_numeric_overflow,
        scan->integer < 0 ? "too big negative integer" : "too big integer");
    return JSON_SCAN_INVALID;
}

/* strtod wants the point of the locale that the caller's program has set. */
static char take_real(psc_json_scan *scan) {
    char *point = strchr(scan->bytes, '.');
    if (point) *point = *localeconv()->decimal_point;
    errno = 0;
    scan->real = strtod(scan->bytes, NULL);
    if (errno != ERANGE || fabs(scan->real) != HUGE_VAL) return JSON_SCAN_REAL;
    psc_json_scan_fault(scan, json_error_numeric_overflow, "real number overflow");
    return JSON_SCAN_INVALID;
}

static char scan_number(psc_json_scan *scan) {
    bool whole = false;
    if (!pass_number(scan, &whole)) return JSON_SCAN_INVALID;
    const size_t n = scan->at - scan->start;
    if (!make_room(scan, n + 1)) return JSON_SCAN_INVALID;
    memcpy(scan->bytes, scan->text + scan->start, n);
    scan->bytes[n] = 0;
    if (whole && !(scan->flags & JSON_DECODE_INT_AS_REAL)) return take_integer(scan);
    return take_real(scan);
}

static char scan_word(psc_json_scan *scan) {
    static const char *const words[] = {"true", "false", "null"};
    static const char tokens[] = {JSON_SCAN_TRUE, JSON_SCAN_FALSE, JSON_SCAN_NULL};
    while (is_letter(peek(scan))) scan->at++;
    const size_t n = scan->at - scan->start;
    for (int i = 0; i < 3; i++)
        if (n == strlen(words[i]) && memcmp(scan->text + scan->start, words[i], n) == 0)
            return tokens[i];
    return JSON_SCAN_INVALID;
}

void psc_json_scan_next(psc_json_scan *scan) {
    while (scan->at < scan->n && strchr(" \t\n\r", scan->text[scan->at]) && scan->text[scan->at])
        scan->at++;
    scan->start = scan->at;
    const int c = take(scan);
    if (c == END)
        scan->token = JSON_SCAN_END;
    else if (c > 0 && strchr("{}[]:,", c))
        scan->token = (char)c;
    else if (c == '"')
        scan->token = scan_string(scan);
    else if (is_digit(c) || c == '-')
        scan->token = scan_number(scan);
    else if (is_letter(c))
        scan->token = scan_word(scan);
    else
        scan->token = JSON_SCAN_INVALID;
}
