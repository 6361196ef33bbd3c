/* A writer of JSON. It makes the layout; jansson formats one key or value at a time, so a list of
 * 10^5 labels needs no extra memory. */
#include "json_writer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "results.h"

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
    size_t length = 0;
    while (value &&
           (length = json_dumpb(value, json->text, json->room, JSON_ENCODE_ANY)) > json->room) {
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

static void put(psc_json *json, json_t *value) {
    size_t length = format(json, value);
    fwrite(json->text, 1, length, json->out);
}

static void indent(const psc_json *json, int depth) {
    if (!json->compact) fprintf(json->out, "\n%*s", 2 * depth, "");
}

static void put_key(psc_json *json, const char *key) {
    if (!json->first) fputs(json->compact ? ", " : ",", json->out);
    json->first = false;
    indent(json, json->depth);
    put(json, psc_json_string(key));
    fputs(": ", json->out);
}

void psc_json_object(psc_json *json, const char *key) {
    if (key) put_key(json, key);
    fputc('{', json->out);
    json->depth++;
    json->first = true;
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

void psc_json_list(psc_json *json, const char *key, int64_t n) {
    put_key(json, key);
    fputc('[', json->out);
    json->one_line = json->compact || n <= 8;
    json->n_listed = 0;
    json->column = LINE_WIDTH; /* the first value starts a line */
}

void psc_json_listed(psc_json *json, json_t *value) {
    size_t length = format(json, value), bytes = length + 2;
    bool fits = json->one_line || json->column + bytes <= LINE_WIDTH;
    if (json->n_listed++ > 0) fputs(fits ? ", " : ",", json->out);
    if (!fits) {
        indent(json, json->depth + 1);
        json->column = 2 * (size_t)(json->depth + 1);
    }
    fwrite(json->text, 1, length, json->out);
    json->column += bytes;
}

void psc_json_list_end(psc_json *json) {
    if (!json->one_line) indent(json, json->depth);
    fputc(']', json->out);
}

void psc_json_object_listed(psc_json *json, json_t *value) {
    if (json->n_listed++ > 0) fputs(json->compact ? ", " : ",", json->out);
    indent(json, json->depth + 1);
    put(json, value);
}

void psc_json_objects_end(psc_json *json) {
    if (json->n_listed > 0) indent(json, json->depth);
    fputc(']', json->out);
}
