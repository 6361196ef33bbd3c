/* Writers of JSONL put things into fields that JSON or a 64-bit parser has not: Python's NaN,
 * Infinity and -Infinity, and integers and exponents of any size. A line that the parser refuses is
 * read again with the real number 0.0 in the place of each of them, which no reader
 * of whole numbers takes. */
#include "jsonl.h"

#include "json.h"

#include <string.h>

/* Digits of an exponent that is in range. */
enum { SAFE_EXPONENT = 2 };

static size_t digits(const char *at, const char *end) {
    size_t n = 0;
    while (at + n < end && at[n] >= '0' && at[n] <= '9') n++;
    return n;
}

/* Whether a whole number of these digits has 64 bits. */
static bool fits(const char *at, size_t n, bool negative) {
    const char *largest = negative ? "9223372036854775808" : "9223372036854775807";
    return n < 19 || (n == 19 && memcmp(at, largest, 19) <= 0);
}

/* The length of the number of JSON's grammar at `at`, or of a word that Python writes for one; 0
 * for anything else. *safe: the parser takes it. */
static size_t number(const char *at, const char *end, bool *safe) {
    const char *p = at;
    *safe = false;
    if (p < end && *p == '-') p++;
    if (end - p >= 8 && memcmp(p, "Infinity", 8) == 0) return (size_t)(p + 8 - at);
    if (p == at && end - p >= 3 && memcmp(p, "NaN", 3) == 0) return 3;
    size_t n = digits(p, end);
    if (n == 0 || (n > 1 && *p == '0')) return 0;
    *safe = fits(p, n, p > at);
    p += n;
    if (p < end && *p == '.') {
        n = digits(p + 1, end);
        if (n == 0) return 0;
        p += 1 + n;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        n = digits(p, end);
        if (n == 0) return 0;
        if (n > SAFE_EXPONENT) *safe = false;
        p += n;
    }
    return (size_t)(p - at);
}

static bool ends_value(const char *at, const char *end) {
    return at == end || *at == ',' || *at == '}' || *at == ']' || *at == ' ' || *at == '\t' ||
           *at == '\r';
}

/* Writes 0.0 and spaces over each number outside strings that may be out of range; none of them is
 * shorter than NaN. */
static void blank_numbers(char *line, size_t n) {
    const char *end = line + n;
    for (char *p = line; p < end;) {
        bool safe;
        if (*p == '"') {
            for (p++; p < end && *p != '"'; p++) p += *p == '\\' && p + 1 < end;
            p += p < end;
            continue;
        }
        const size_t length = number(p, end, &safe);
        if (length > 0 && !safe && ends_value(p + length, end)) {
            memset(p, ' ', length);
            p[0] = p[2] = '0';
            p[1] = '.';
        }
        p += length > 0 ? length : 1;
    }
}

json_t *psc_json_line(char *line, size_t n, size_t flags, json_error_t *why) {
    *why = (json_error_t){0};
    json_t *value = psc_json_load(line, n, flags, why);
    if (value || psc_json_no_memory(why) || json_error_code(why) == json_error_invalid_utf8)
        return value;
    blank_numbers(line, n);
    return psc_json_load(line, n, flags, why);
}

const char *psc_json_line_fault(const json_error_t *why) {
    if (json_error_code(why) == json_error_invalid_utf8) return "is not UTF-8";
    if (strstr(why->text, "invalid Unicode"))
        return "has half of a surrogate pair (\\ud800 to \\udfff), which is no character";
    return NULL;
}
