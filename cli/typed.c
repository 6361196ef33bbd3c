/* A word that a shell could change stands in single quotes; one within it becomes '\\''. */
#include "typed.h"

#include <stdio.h>
#include <stdlib.h>
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

/* Options of machine, progress and output. */
static bool changes_nothing(const char *option) {
    static const char *const names[] = {"threads", "isa", "chunk", "retain", "batch", "cache",
        "no-cache", "cache-dir", "cache-limit", "json", "out", "html", "open", "width", "time",
        "state", "save-seconds", NULL};
    int i = 0;
    while (names[i] && strcmp(names[i], option) != 0) i++;
    return names[i] != NULL;
}

/* The longest that a word can become, with a space, dashes and quotes. */
static size_t room_of(const char *word) {
    return 4 * strlen(word) + 8;
}

/* The longest that the command can become. A prompt of a file is given, but was not typed. */
static size_t room_of_all(const cli_arguments *arguments) {
    size_t room = strlen(arguments->verb->name) + 64;
    for (int i = 0; i < arguments->n_given; i++) {
        const cli_given *given = &arguments->given[i];
        room += room_of(given->option->name);
        for (int k = 0; k < given->option->n_values; k++) room += room_of(given->values[k]);
    }
    for (int i = 0; i < arguments->n_operands; i++) room += room_of(arguments->operands[i]);
    return room;
}

char *cli_command(const cli_arguments *arguments) {
    const size_t room = room_of_all(arguments);
    char *out = malloc(room), option[64];
    buffer b = {.text = out, .size = room};
    if (!out) return NULL;
    *out = 0;
    add(&b, "pythiascope ");
    add(&b, arguments->verb->name);
    for (int i = 0; i < arguments->n_given; i++) {
        const cli_given *given = &arguments->given[i];
        if (changes_nothing(given->option->name)) continue;
        snprintf(option, sizeof option, "--%s", given->option->name);
        add_word(&b, option);
        for (int k = 0; k < given->option->n_values; k++) add_word(&b, given->values[k]);
    }
    for (int i = 0; i < arguments->n_operands; i++) add_word(&b, arguments->operands[i]);
    return out;
}
