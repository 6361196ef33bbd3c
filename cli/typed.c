/* A word that a shell could change stands in single quotes; one within it becomes '\\''. */
#include "typed.h"

#include <stdio.h>
#include <string.h>

typedef struct buffer {
    char *text;
    size_t size, used;
    bool full;
} buffer;

/* Adds the text, or of its characters those that fit. */
static void add(buffer *b, const char *text) {
    const size_t room = b->size - b->used - 1;
    size_t n = b->full ? 0 : strlen(text);
    if (n > room) {
        for (n = room; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;) n--; /* UTF-8 */
        b->full = true;
    }
    memcpy(b->text + b->used, text, n);
    b->used += n;
    b->text[b->used] = 0;
}

static void add_word(buffer *b, const char *word) {
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "-_=+:,./@%";
    add(b, " ");
    if (*word && !word[strspn(word, safe)]) {
        add(b, word);
        return;
    }
    add(b, "'");
    for (; *word; word++) {
        const char one[2] = {*word, 0};
        add(b, *word == '\'' ? "'\\''" : one);
    }
    add(b, "'");
}

void cli_typed(char *out, size_t size, const cli_arguments *arguments) {
    static const char cut[] = "...";
    buffer b = {.text = out, .size = size - sizeof cut};
    *out = 0;
    add(&b, "pythiascope ");
    add(&b, arguments->verb->name);
    for (int i = 0; i < arguments->n_typed; i++) add_word(&b, arguments->typed[i]);
    if (b.full) memcpy(out + b.used, cut, sizeof cut);
}
