/* JSON texts and numbers, and the files they make. Numbers are made of whole units, so that no
 * locale changes them. */
#include "headvis_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Bytes of the character at the start of c[0..n-1], or minus the bytes of the longest start of one:
 * at least -1. (The Unicode Standard, table 3-7.) */
static int character_at(const unsigned char *c, size_t n) {
    const int more = c[0] < 0x80                   ? 0
                     : c[0] >= 0xc2 && c[0] < 0xe0 ? 1
                     : c[0] >= 0xe0 && c[0] < 0xf0 ? 2
                     : c[0] >= 0xf0 && c[0] < 0xf5 ? 3
                                                   : -1;
    if (more < 0) return -1;
    for (int i = 1; i <= more; i++) {
        unsigned char low = 0x80, high = 0xbf;
        if (i == 1 && c[0] == 0xe0) low = 0xa0;
        if (i == 1 && c[0] == 0xed) high = 0x9f;
        if (i == 1 && c[0] == 0xf0) low = 0x90;
        if (i == 1 && c[0] == 0xf4) high = 0x8f;
        if ((size_t)i >= n || c[i] < low || c[i] > high) return -i;
    }
    return more + 1;
}

void headvis_add_clean(psc_growing *text, const char *bytes, size_t n) {
    const unsigned char *c = (const unsigned char *)bytes;
    for (size_t i = 0; i < n;) {
        const int length = character_at(c + i, n - i);
        const size_t size = (size_t)(length < 0 ? -length : length);
        if (length < 0 || c[i] == 0)
            psc_growing_add(text, "\xef\xbf\xbd", 3);
        else
            psc_growing_add(text, bytes + i, size);
        i += size;
    }
}

/* Escapes a clean text. */
static void put_escaped(psc_growing *text, const char *clean, size_t n) {
    psc_growing_add(text, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)clean[i];
        if (c == '"' || c == '\\') psc_growing_add(text, "\\", 1);
        if (c < 0x20 || c == 0x7f)
            psc_growing_put(text, "\\u%04x", c);
        else
            psc_growing_add(text, clean + i, 1);
    }
    psc_growing_add(text, "\"", 1);
}

void headvis_put_string(psc_growing *text, const char *bytes, size_t n) {
    psc_growing clean = {0};
    headvis_add_clean(&clean, bytes, n);
    put_escaped(text, clean.data, clean.used);
    if (clean.failed) text->failed = 1;
    free(clean.data);
}

void headvis_put_whole(psc_growing *text, int64_t value) {
    char digits[24];
    int at = (int)sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    psc_growing_add(text, digits + at, sizeof digits - (size_t)at);
}

void headvis_put_units(psc_growing *text, int64_t units) {
    char decimals[5] = ".";
    int64_t rest = units % HEADVIS_UNIT;
    for (int i = 4; i > 0; i--, rest /= 10) decimals[i] = (char)('0' + rest % 10);
    headvis_put_whole(text, units / HEADVIS_UNIT);
    psc_growing_add(text, decimals, 5);
}

void headvis_put_number(psc_growing *text, double value) {
    const double units = rint(fabs(value) * HEADVIS_UNIT);
    if (!(units < 0x1p53)) {
        psc_growing_put(text, "null");
        return;
    }
    if (value < 0.0 && units > 0.0) psc_growing_add(text, "-", 1);
    headvis_put_units(text, (int64_t)units);
}

void headvis_add_token(const headvis *v, psc_growing *text, int32_t token) {
    uint64_t n = 0;
    const char *bytes = v->c->host->token_bytes(v->c->context, token, &n);
    if (bytes)
        headvis_add_clean(text, bytes, (size_t)n);
    else
        psc_growing_put(text, "#%d", (int)token);
}

int headvis_put_file(const headvis *v, const char *name, psc_growing *text) {
    const attention_contexts *c = v->c;
    char path[200];
    snprintf(path, sizeof path, "%s/%s", v->folder, name);
    const int failed = text->failed
                           ? c->host->fail(c->context, "not enough memory for the file %s", path)
                           : c->host->document(c->context, path, text->data, text->used);
    free(text->data);
    *text = (psc_growing){0};
    return failed;
}
