/* A word that a shell could change stands in single quotes; one within it becomes '\\''. */
#include "typed.h"

#include <stdio.h>
#include <string.h>

typedef struct buffer {
    char *text;
    size_t size, used;
    bool full;
} buffer;

/* Adds the text whole, or marks the buffer as full. */
static void add(buffer *b, const char *text) {
    const size_t n = strlen(text);
    if (b->full || n >= b->size - b->used) {
        b->full = true;
        return;
    }
    memcpy(b->text + b->used, text, n + 1);
    b->used += n;
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
