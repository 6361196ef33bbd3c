/* Texts of the data block. The size of a text is counted before it is written, escapes included. */
#include "page_text.h"

#include <stdlib.h>
#include <string.h>

#include "utf8.h"

enum { MOST_TEXT = 20000, NUMBER_BYTES = 25 };

bool psc_page_afford(psc_page_writer *w, int64_t bytes) {
    const bool fits = bytes <= w->room;
    if (fits)
        w->room -= bytes;
    else
        w->cut++;
    return fits;
}

int64_t psc_page_share(psc_page_writer *w, int64_t parts) {
    const int64_t whole = w->room;
    w->room = whole / parts;
    return whole - w->room;
}

static int64_t size_of(uint32_t c) {
    if (c == '"' || c == '\\') return 2;
    if (c < 0x20 || psc_json_escapes(c)) return c > 0xffff ? 12 : 6;
    return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

/* The first bytes of text that take at most `room` bytes; *size: what they take. Each byte that is
 * not UTF-8 is written as U+FFFD, which has three. */
static size_t fitting(int64_t *size, const char *text, size_t n, int64_t room) {
    size_t i = 0;
    *size = 2;
    while (i < n) {
        uint32_t c;
        const int length = psc_utf8_next(&c, text + i, n - i);
        const size_t step = length > 0 ? (size_t)length : 1;
        const int64_t one = length > 0 ? size_of(c) : 3;
        if (*size + one > room) break;
        *size += one;
        i += step;
    }
    return i;
}

int64_t psc_page_text_size(const char *text, size_t n) {
    int64_t size;
    fitting(&size, text, n, INT64_MAX);
    return size;
}

/* The first n bytes and an ellipsis. */
static json_t *shortened(const char *text, size_t n) {
    static const char ellipsis[] = "\xe2\x80\xa6";
    char *copy = malloc(n + sizeof ellipsis);
    if (!copy) return NULL;
    memcpy(copy, text, n);
    memcpy(copy + n, ellipsis, sizeof ellipsis);
    json_t *value = psc_json_bytes(copy, n + sizeof ellipsis - 1);
    free(copy);
    return value;
}

json_t *psc_page_text(psc_page_writer *w, const char *text, size_t n) {
    int64_t size;
    const int64_t most = w->room < MOST_TEXT ? w->room : MOST_TEXT;
    size_t fits = fitting(&size, text, n, most);
    w->room -= size < w->room ? size : w->room;
    if (fits == n) return psc_json_bytes(text, n);
    w->cut++;
    fits = fitting(&size, text, n, most - 3);
    return shortened(text, fits);
}

void psc_page_put_text(psc_page_writer *w, const char *key, const char *text) {
    if (psc_page_afford(w, psc_page_text_size(key, strlen(key)) + 2 + 5))
        psc_json_member(&w->json, key, psc_page_text(w, text, strlen(text)));
}

void psc_page_put_texts(psc_page_writer *w, const char *key, const char *const *texts, int64_t n) {
    if (!psc_page_afford(w, psc_page_text_size(key, strlen(key)) + 4)) return;
    psc_json_list(&w->json, key, n);
    for (int64_t i = 0; i < n; i++) {
        if (w->room < 6) {
            w->cut += n - i;
            break;
        }
        w->room--;
        psc_json_listed(&w->json, psc_page_text(w, texts[i], strlen(texts[i])));
    }
    psc_json_list_end(&w->json);
}

void psc_page_put_numbers(psc_page_writer *w, const char *key, const double *numbers, int64_t n) {
    if (!psc_page_afford(w, psc_page_text_size(key, strlen(key)) + 4)) return;
    psc_json_list(&w->json, key, n);
    for (int64_t i = 0; i < n; i++) {
        if (w->room < NUMBER_BYTES) {
            w->cut += n - i;
            break;
        }
        w->room -= NUMBER_BYTES;
        psc_json_listed(&w->json, psc_json_real(numbers[i]));
    }
    psc_json_list_end(&w->json);
}
