/* Pages in memory, their data block, and base64 back to numbers.
 * Private to test_page*.c; failures are Criterion assertions.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: the test frees texts by psc_free or free, and JSON by json_decref. */
#ifndef PAGE_FIXTURE_H
#define PAGE_FIXTURE_H

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "psc_results.h"

/* The page; options may be null. */
static inline char *page_of(
    const psc_results *results, const psc_format_options *options, size_t *bytes) {
    static char *page; /* static: gcc 12 takes a local one for dangling */
    psc_error error = {0};
    const psc_status status =
        psc_results_write_memory(&page, bytes, results, PSC_FORMAT_HTML, options, &error);
    cr_assert_eq(status, PSC_OK, "%s", error.message);
    return page;
}

#define DATA_BEGIN "<script type=\"application/json\" id=\"data\">"

/* The text of the data block; *n: its bytes. */
static inline const char *data_text(const char *page, size_t *n) {
    const char *begin = strstr(page, DATA_BEGIN);
    cr_assert(begin);
    begin += sizeof DATA_BEGIN - 1;
    const char *end = strchr(begin, '<');
    cr_assert(end && strncmp(end, "</script>", 9) == 0, "the data block ends at the first '<'");
    *n = (size_t)(end - begin);
    return begin;
}

static inline json_t *data_of(const char *page) {
    size_t n;
    json_error_t where;
    const char *text = data_text(page, &n);
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &where);
    cr_assert(root, "%s at %d", where.text, where.position);
    return root;
}

static inline json_t *section_of(json_t *data, int run, int section) {
    json_t *one = json_array_get(json_object_get(data, "runs"), (size_t)run);
    one = json_array_get(json_object_get(one, "sections"), (size_t)section);
    cr_assert(one, "run %d, section %d", run, section);
    return one;
}

/* An array of the first run. */
static inline json_t *array_of(json_t *data, int section, const char *key) {
    json_t *one = json_object_get(json_object_get(section_of(data, 0, section), "arrays"), key);
    cr_assert(one, "%s", key);
    return one;
}

static inline const char *text_in(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    cr_assert(text, "%s", key);
    return text;
}

static inline int value_of_digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    cr_assert(c == '+' || c == '/');
    return c == '+' ? 62 : 63;
}

/* Fresh memory with the bytes. */
static inline unsigned char *from_base64(const char *text, size_t *n) {
    const size_t length = strlen(text);
    unsigned char *bytes = malloc(length + 1);
    cr_assert(bytes && length % 4 == 0);
    *n = 0;
    for (size_t i = 0; i < length; i += 4) {
        uint32_t bits = 0;
        int missing = 0;
        for (int k = 0; k < 4; k++) {
            missing += text[i + (size_t)k] == '=';
            bits =
                bits << 6 |
                (text[i + (size_t)k] == '=' ? 0u : (uint32_t)value_of_digit(text[i + (size_t)k]));
        }
        for (int k = 0; k < 3 - missing; k++) bytes[(*n)++] = (unsigned char)(bits >> (16 - 8 * k));
    }
    return bytes;
}

static inline double half_value(uint32_t bits) {
    const int exponent = (int)(bits >> 10 & 31), fraction = (int)(bits & 1023);
    const double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == 31) return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, -24);
    return sign * ldexp(1024 + fraction, exponent - 25);
}

/* Fresh numbers from a base64 member; type: "f32", "f16", "i32", "i16", "u8", "u16",
 * "u32", "log8" (the bytes). */
static inline double *numbers_of(
    const json_t *object, const char *key, const char *type, double scale, size_t *n) {
    size_t bytes;
    unsigned char *data = from_base64(text_in(object, key), &bytes);
    const size_t width = strstr(type, "32") ? 4 : strstr(type, "16") ? 2 : 1;
    double *out = malloc((bytes / width + 1) * sizeof *out);
    cr_assert(out && bytes % width == 0);
    *n = bytes / width;
    for (size_t i = 0; i < *n; i++) {
        uint32_t bits = 0;
        for (size_t k = width; k-- > 0;) bits = bits << 8 | data[i * width + k];
        float real;
        memcpy(&real, &bits, sizeof real);
        out[i] = type[0] == 'u' && width < 4 && bits == (1u << 8 * width) - 1 ? -1
                 : type[0] == 'u'                                             ? (double)bits
                 : strcmp(type, "f32") == 0                                   ? (double)real
                 : strcmp(type, "f16") == 0                                   ? half_value(bits)
                 : width == 2 ? (double)(int16_t)bits
                              : (double)(int32_t)bits;
        out[i] *= scale;
    }
    free(data);
    return out;
}

static inline double scale_in(const json_t *object, const char *key) {
    const json_t *scale = json_object_get(object, key);
    return scale ? json_real_value(scale) : 1;
}

#endif
