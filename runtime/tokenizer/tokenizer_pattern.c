/* The split patterns of tokenizer.json, which are Oniguruma's, for PCRE2. Each construct that means
 * the same in both is copied, with the classes below in the place of \p{L}, \p{N}, \d and \s; any
 * other construct is refused by name, because it could split a text differently. */
#include "tokenizer_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MAX_PATTERN 4096
#define MAX_CLASS 1200 /* the longest class below, with its brackets */
#define MAX_REPEAT 1000

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
#define NEW_DIGIT                                                                                  \
    "\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}\\x{11f50}-\\x{11f59}"         \
    "\\x{16130}-\\x{16139}\\x{16d70}-\\x{16d79}\\x{1ccf0}-\\x{1ccf9}\\x{1e4f0}-\\x{1e4f9}"         \
    "\\x{1e5f1}-\\x{1e5fa}"
#define NUMBER "\\p{N}" NEW_DIGIT "\\x{1d2c0}-\\x{1d2d3}"
#define DIGIT "\\p{Nd}" NEW_DIGIT

/* The GPT-2 split pattern: it cuts a text into contractions, runs of letters, of digits and of
 * other characters (each with at most one space in front), and white space. A run of white space
 * leaves its last character to the word after it. */
static const char words_text[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?[" LETTER "]+| ?[" NUMBER "]+| ?[^" SPACE LETTER NUMBER "]+|[" SPACE
    "]+(?![^" SPACE "])|[" SPACE "]+";
/* Numbers as the pre-tokenizer Digits knows them: Unicode 17. */
static const char numbers_text[] = "[" NUMBER "\\x{11de0}-\\x{11de9}\\x{16ff4}-\\x{16ff6}]";

static psc_status compile(void **pattern, const char *text, size_t bytes, psc_error *error) {
    int code;
    PCRE2_SIZE at;
    uint32_t empty = 0;
    pcre2_code *compiled = pcre2_compile(
        (PCRE2_SPTR)text, bytes, PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &code, &at, NULL);
    if (!compiled) {
        PCRE2_UCHAR message[160] = "";
        if (code == PCRE2_ERROR_HEAP_FAILED)
            return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the split pattern");
        pcre2_get_error_message(code, message, sizeof message);
        return psc_fail(error, PSC_ERROR_SUPPORT, "PCRE2 cannot compile the split pattern: %s",
            (const char *)message);
    }
    pcre2_pattern_info(compiled, PCRE2_INFO_MATCHEMPTY, &empty);
    if (empty) {
        pcre2_code_free(compiled);
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "pre_tokenizer's pattern matches the empty text, which is not supported");
    }
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* if this fails, matching is only slower */
    *pattern = compiled;
    return PSC_OK;
}

psc_status psc_tk_compile_words(void **pattern, psc_error *error) {
    return compile(pattern, words_text, sizeof words_text - 1, error);
}

psc_status psc_tk_compile_numbers(void **pattern, psc_error *error) {
    return compile(pattern, numbers_text, sizeof numbers_text - 1, error);
}

void psc_tk_free_pattern(void *pattern) {
    pcre2_code_free(pattern);
}

/* --- translation ----------------------------------------------------------------------------- */

typedef struct translation {
    const char *in, *at, *end;
    char *out;
    size_t n, capacity;
    int depth;       /* open groups */
    int caseless;    /* the depth of the outermost (?i:, or 0 */
    char literal[3]; /* the last two literal characters below it, lower case */
    psc_error *error;
} translation;

static psc_status refuse(const translation *t, const char *at, size_t bytes) {
    return psc_fail(t->error, PSC_ERROR_SUPPORT,
        "pre_tokenizer's pattern has \"%.*s\" at byte %zu, which is not supported", (int)bytes, at,
        (size_t)(at - t->in));
}

static psc_status put(translation *t, const char *text) {
    const size_t bytes = strlen(text);
    if (!psc_grow((void **)&t->out, &t->capacity, t->n + bytes + 1, 1))
        return psc_fail(
            t->error, PSC_ERROR_MEMORY, "not enough memory for pre_tokenizer's pattern");
    memcpy(t->out + t->n, text, bytes + 1);
    t->n += bytes;
    return PSC_OK;
}

/* Without regard to case, the library's engine also matches two letters with one character that
 * folds to them ("ss" with U+00DF), which PCRE2 does not. */
static bool folds_together(const char *two) {
    static const char *const pairs[] = {"ss", "ff", "fi", "fl", "st"};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (!strcmp(two, pairs[i])) return true;
    return false;
}

static psc_status put_literal(translation *t, uint32_t c, const char *at, size_t bytes) {
    char text[16];
    if (t->caseless) {
        if (c >= 0x80) return refuse(t, at, bytes);
        t->literal[0] = t->literal[1];
        t->literal[1] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        if (folds_together(t->literal)) return refuse(t, at, bytes);
    }
    snprintf(text, sizeof text, "\\x{%x}", (unsigned)c);
    return put(t, text);
}

/* The class that the escape at t->at names, and its bytes; null for any other escape. */
static const char *class_of(const translation *t, size_t *bytes) {
    static const struct {
        const char *name, *class;
    } classes[] = {{"\\s", SPACE}, {"\\d", DIGIT}, {"\\p{L}", LETTER}, {"\\p{N}", NUMBER},
        {"\\p{Letter}", LETTER}, {"\\p{Number}", NUMBER}, {"\\p{Nd}", DIGIT}};
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        *bytes = strlen(classes[i].name);
        if ((size_t)(t->end - t->at) >= *bytes && !memcmp(t->at, classes[i].name, *bytes))
            return classes[i].class;
    }
    return NULL;
}

static const char *negated_class_of(const translation *t, size_t *bytes) {
    static const struct {
        const char *name, *class;
    } classes[] = {{"\\S", SPACE}, {"\\D", DIGIT}, {"\\P{L}", LETTER}, {"\\P{N}", NUMBER},
        {"\\p{^L}", LETTER}, {"\\p{^N}", NUMBER}};
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        *bytes = strlen(classes[i].name);
        if ((size_t)(t->end - t->at) >= *bytes && !memcmp(t->at, classes[i].name, *bytes))
            return classes[i].class;
    }
    return NULL;
}

/* The character at t->at, written as itself or by an escape; false for an escape that is none. */
static bool read_literal(const translation *t, uint32_t *c, size_t *bytes) {
    static const char names[] = "rntfva", values[] = "\r\n\t\f\v\a";
    *c = psc_utf8_decode(bytes, t->at);
    if (*c != '\\') return true;
    if (t->at + 1 == t->end) return false;
    const char next = t->at[1];
    const char *name = strchr(names, next);
    *bytes = 2;
    if (name) *c = (unsigned char)values[name - names];
    if (name) return true;
    *c = (unsigned char)next;
    return (next > ' ' && next < '0') || (next > '9' && next < 'A') || (next > 'Z' && next < 'a') ||
           (next > 'z' && next < 0x7f) || next == ' ';
}

/* [...]: characters, ranges and the classes; t->at is at the bracket. */
static psc_status translate_set(translation *t) {
    const char *start = t->at++;
    psc_status status = t->caseless ? refuse(t, start, 1) : put(t, "[");
    if (!status && t->at < t->end && *t->at == '^') {
        t->at++;
        status = put(t, "^");
    }
    for (bool first = true; !status; first = false) {
        size_t bytes;
        uint32_t c;
        if (t->at == t->end) return refuse(t, start, 1);
        if (*t->at == ']' && !first) break;
        const char *class = class_of(t, &bytes), *at = t->at;
        if (class) {
            t->at += bytes;
            if (t->at < t->end && *t->at == '-' && t->at + 1 < t->end && t->at[1] != ']')
                return refuse(t, t->at, 1);
            status = put(t, class);
            continue;
        }
        if (*at == '[' || *at == ']' || !strncmp(at, "&&", 2) || !read_literal(t, &c, &bytes))
            return refuse(t, at, t->end - at < 2 || *at != '\\' ? 1 : 2);
        t->at += bytes;
        status = put_literal(t, c, at, bytes);
        /* A '-' stands for itself at an end of the set, and makes a range
         * between two characters. */
        if (!status && c != '-' && t->at + 1 < t->end && *t->at == '-' && t->at[1] != ']') {
            t->at++;
            if (class_of(t, &bytes) || *t->at == '[' || *t->at == '-' ||
                !read_literal(t, &c, &bytes))
                return refuse(t, t->at, 1);
            at = t->at;
            t->at += bytes;
            status = put(t, "-");
            if (!status) status = put_literal(t, c, at, bytes);
        } else if (!status && c == '-' && *at == '-' && at != start + 1 && at[-1] != '^' &&
                   t->at < t->end && *t->at != ']') {
            return refuse(t, at, 1);
        }
    }
    t->at++;
    return status ? status : put(t, "]");
}

/* "(": a group, (?:, (?i:, (?=, (?! */
static psc_status translate_open(translation *t) {
    static const struct {
        const char *in, *out;
    } kinds[] = {{"(?:", "(?:"}, {"(?i:", "(?i:"}, {"(?=", "(?="}, {"(?!", "(?!"}};
    t->depth++;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const size_t bytes = strlen(kinds[i].in);
        if ((size_t)(t->end - t->at) < bytes || memcmp(t->at, kinds[i].in, bytes) != 0) continue;
        t->at += bytes;
        if (i == 1 && !t->caseless) t->caseless = t->depth;
        return put(t, kinds[i].out);
    }
    if (t->at + 1 < t->end && (t->at[1] == '?' || t->at[1] == '*'))
        return refuse(t, t->at, (size_t)(t->end - t->at) < 3 ? 2 : 3);
    t->at++;
    return put(t, "(?:");
}

/* {n}, {n,} or {n,m}; in the library's engine a sign after it means another thing than in PCRE2. */
static psc_status translate_repeat(translation *t) {
    char *end, text[48];
    const char *start = t->at;
    const long least = strtol(t->at + 1, &end, 10);
    long most = least;
    const bool is_open = *end == ',' && end[1] == '}';
    bool is_right = end > t->at + 1 && t->at[1] >= '0' && t->at[1] <= '9';
    if (is_open)
        end++;
    else if (*end == ',') {
        const char *second = end + 1;
        is_right = is_right && *second >= '0' && *second <= '9';
        most = strtol(second, &end, 10);
    }
    if (!is_right || *end != '}' || least > most || most > MAX_REPEAT) return refuse(t, start, 1);
    t->at = end + 1;
    if (t->at < t->end && strchr("?+*{", *t->at)) return refuse(t, t->at, 1);
    snprintf(text, sizeof text, is_open ? "{%ld,}" : "{%ld,%ld}", least, most);
    return put(t, text);
}

/* ?, * or +, perhaps lazy (?) or possessive (+). */
static psc_status translate_sign(translation *t) {
    char text[3] = {*t->at++, 0, 0};
    if (t->at < t->end && (*t->at == '?' || *t->at == '+')) text[1] = *t->at++;
    if (t->at < t->end && strchr("?+*{", *t->at)) return refuse(t, t->at, 1);
    return put(t, text);
}

static psc_status translate_atom(translation *t) {
    size_t bytes;
    uint32_t c;
    const char *at = t->at, *class = class_of(t, &bytes);
    const char *open = "[";
    if (!class) {
        class = negated_class_of(t, &bytes);
        open = "[^";
    }
    if (!class && *at == '.') {
        class = "\\x{a}"; /* any character but a line feed */
        bytes = 1;
    }
    if (class) {
        t->at += bytes;
        psc_status status = t->caseless ? refuse(t, at, bytes) : put(t, open);
        if (!status) status = put(t, class);
        return status ? status : put(t, "]");
    }
    if (*at == '^' || *at == '$' || *at == '{' || !read_literal(t, &c, &bytes))
        return refuse(t, at, t->end - at < 2 || *at != '\\' ? 1 : 2);
    t->at += bytes;
    return put_literal(t, c, at, bytes);
}

static psc_status translate(translation *t) {
    psc_status status = PSC_OK;
    while (t->at < t->end && !status) {
        const char c = *t->at;
        const bool is_after = t->n > 0 && t->out[t->n - 1] != '|' && t->out[t->n - 1] != ':';
        if (c == '[' || c == '(' || c == ')' || c == '|') memset(t->literal, 0, 2);
        if (c == '[') {
            status = translate_set(t);
        } else if (c == '(') {
            status = translate_open(t);
        } else if (c == ')' || c == '|') {
            if (c == ')' && t->depth == 0) return refuse(t, t->at, 1);
            if (c == ')' && t->depth-- == t->caseless) t->caseless = 0;
            status = put(t, c == ')' ? ")" : "|");
            t->at++;
        } else if (c == '?' || c == '*' || c == '+') {
            status = is_after ? translate_sign(t) : refuse(t, t->at, 1);
        } else if (c == '{' && is_after) {
            status = translate_repeat(t);
        } else {
            status = translate_atom(t);
        }
    }
    if (!status && t->depth > 0)
        status = psc_fail(
            t->error, PSC_ERROR_INPUT, "pre_tokenizer's pattern has an open group at its end");
    return status;
}

psc_status psc_tk_compile_pattern(
    void **pattern, const char *text, size_t bytes, bool is_literal, psc_error *error) {
    translation t = {.in = text, .at = text, .end = text + bytes, .error = error};
    psc_status status = PSC_OK;
    if (bytes == 0 || bytes > MAX_PATTERN)
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "pre_tokenizer's pattern has %zu bytes; 1 to %d are supported", bytes, MAX_PATTERN);
    if (is_literal) {
        for (size_t length; t.at < t.end && !status; t.at += length)
            status = put_literal(&t, psc_utf8_decode(&length, t.at), t.at, 1);
    } else {
        status = translate(&t);
    }
    if (!status) status = compile(pattern, t.out, t.n, error);
    free(t.out);
    return status;
}
