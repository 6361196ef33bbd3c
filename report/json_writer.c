/* A writer of JSON. It makes the layout; jansson formats one key or value at a time, so a list of
 * 10^5 labels needs no extra memory. */
#include "json_writer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "results.h"
#include "utf8.h"

enum { LINE_WIDTH = 100 };

json_t *psc_json_bytes(const char *bytes, size_t n) {
    size_t plain = 0; /* most texts are plain and need no check or replacement */
    while (plain < n && (unsigned char)bytes[plain] < 0x80) plain++;
    if (plain == n) return json_stringn_nocheck(bytes, n);
    char *clean = psc_text_cleaned(bytes, n);
    json_t *text = clean ? json_stringn(clean, psc_text_clean(NULL, bytes, n)) : NULL;
    free(clean);
    return text;
}

json_t *psc_json_string(const char *text) {
    return psc_json_bytes(text, strlen(text));
}

json_t *psc_json_real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

bool psc_json_close(psc_json *json) {
    free(json->text);
    json->text = NULL;
    return !json->no_memory;
}

/* Formats value on one line into json->text; returns its length, 0 if memory runs out. */
static size_t format(psc_json *json, json_t *value) {
    const size_t flags =
        JSON_ENCODE_ANY | JSON_REAL_PRECISION(json->digits) | (json->page ? JSON_COMPACT : 0);
    size_t length = 0;
    while (value && (length = json_dumpb(value, json->text, json->room, flags)) > json->room) {
        char *more = realloc(json->text, 2 * length);
        if (!more) break;
        json->text = more;
        json->room = 2 * length;
    }
    if (length > json->room) length = 0;
    if (length == 0) json->no_memory = true;
    json_decref(value);
    return length;
}

/* \u0041; two of them above U+FFFF. */
static void put_escape(FILE *out, uint32_t c) {
    if (c > 0xffff) {
        fprintf(out, "\\u%04x", 0xd800 + ((c - 0x10000) >> 10));
        c = 0xdc00 + (c & 0x3ff);
    }
    fprintf(out, "\\u%04x", c);
}

bool psc_json_escapes(uint32_t c) {
    return c == '<' || c == '>' || c == '&' || psc_utf8_is_dangerous(c);
}

/* Writes formatted JSON, in which such characters stand in texts only. */
static void emit(const psc_json *json, const char *text, size_t n) {
    size_t done = 0;
    for (size_t i = 0; json->page && i < n;) {
        uint32_t c = (unsigned char)text[i];
        int length = c < 0x80 ? 1 : psc_utf8_next(&c, text + i, n - i);
        if (length < 1) length = 1; /* jansson writes UTF-8 only */
        if (psc_json_escapes(c)) {
            fwrite(text + done, 1, i - done, json->out);
            put_escape(json->out, c);
            done = i + (size_t)length;
        }
        i += (size_t)length;
    }
    fwrite(text + done, 1, n - done, json->out);
}

static void put(psc_json *json, json_t *value) {
    size_t length = format(json, value);
    emit(json, json->text, length);
}

static bool on_one_line(const psc_json *json) {
    return json->compact || json->page;
}

static const char *comma(const psc_json *json) {
    return json->compact ? ", " : ",";
}

static void indent(const psc_json *json, int depth) {
    if (!on_one_line(json)) fprintf(json->out, "\n%*s", 2 * depth, "");
}

static void put_key(psc_json *json, const char *key) {
    if (!json->first) fputs(comma(json), json->out);
    json->first = false;
    indent(json, json->depth);
    put(json, psc_json_string(key));
    fputs(json->page ? ":" : ": ", json->out);
}

void psc_json_object(psc_json *json, const char *key) {
    if (key) put_key(json, key);
    fputc('{', json->out);
    json->depth++;
    json->first = true;
}

void psc_json_object_in_list(psc_json *json, bool is_first) {
    if (!is_first) fputs(comma(json), json->out);
    psc_json_object(json, NULL);
}

void psc_json_open_text(psc_json *json, const char *key) {
    put_key(json, key);
    fputc('"', json->out);
}

void psc_json_close_text(psc_json *json) {
    fputc('"', json->out);
}

void psc_json_end(psc_json *json) {
    json->depth--;
    if (!json->first) indent(json, json->depth);
    fputc('}', json->out);
    json->first = false;
}

void psc_json_member(psc_json *json, const char *key, json_t *value) {
    put_key(json, key);
    put(json, value);
}

void psc_json_written(psc_json *json, const char *key, double value) {
    char text[32];
    for (json->digits = 15; json->digits < 17; json->digits++) {
        snprintf(text, sizeof text, "%.*g", (int)json->digits, value);
        if (strtod(text, NULL) == value) break;
    }
    psc_json_member(json, key, psc_json_real(value));
    json->digits = 0;
}

void psc_json_list(psc_json *json, const char *key, int64_t n) {
    put_key(json, key);
    fputc('[', json->out);
    json->one_line = on_one_line(json) || n <= 8;
    json->n_listed = 0;
    json->column = LINE_WIDTH; /* the first value starts a line */
}

void psc_json_listed(psc_json *json, json_t *value) {
    size_t length = format(json, value), bytes = length + 2;
    bool fits = json->one_line || json->column + bytes <= LINE_WIDTH;
    if (json->n_listed++ > 0) fputs(fits && !json->page ? ", " : ",", json->out);
    if (!fits) {
        indent(json, json->depth + 1);
        json->column = 2 * (size_t)(json->depth + 1);
    }
    emit(json, json->text, length);
    json->column += bytes;
}

void psc_json_list_end(psc_json *json) {
    if (!json->one_line) indent(json, json->depth);
    fputc(']', json->out);
}

void psc_json_object_listed(psc_json *json, json_t *value) {
    if (json->n_listed++ > 0) fputs(comma(json), json->out);
    indent(json, json->depth + 1);
    put(json, value);
}

void psc_json_objects_end(psc_json *json) {
    if (json->n_listed > 0) indent(json, json->depth);
    fputc(']', json->out);
}
