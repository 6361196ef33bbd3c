/* JSON, a value at a time. An error sets `bad`, which stays; lines are counted for the sentence. */
#include "circuit_json.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEPTH = 64 };

static int refuse(circuit_json *json) {
    json->bad = 1;
    return 0;
}

int circuit_json_next(circuit_json *json, char c) {
    for (; *json->at && strchr(" \t\r\n", *json->at); json->at++) json->line += *json->at == '\n';
    return !json->bad && *json->at == c;
}

int circuit_json_take(circuit_json *json, char c) {
    if (!circuit_json_next(json, c)) return 0;
    json->at++;
    return 1;
}

/* The character of the escape whose letter is at *at, which moves to the escape's last byte; 0: it
 * is no escape. Controls and all beyond ASCII are '?': no name has them. */
static char escaped(const char **at) {
    char code[5] = "";
    if (**at && strchr("\"\\/", **at)) return **at;
    if (**at && strchr("bfnrt", **at)) return '?';
    if (**at != 'u' || strspn(*at + 1, "0123456789abcdefABCDEF") < 4) return 0;
    memcpy(code, *at + 1, 4);
    *at += 4;
    const unsigned long c = strtoul(code, NULL, 16);
    return (char)(c >= 32 && c < 127 ? c : '?');
}

int circuit_json_string(circuit_json *json, char *out, size_t size) {
    size_t n = 0;
    if (!circuit_json_take(json, '"')) return refuse(json);
    for (; *json->at != '"'; json->at++) {
        char c = *json->at;
        if ((unsigned char)c < 32) return refuse(json); /* the end, or a raw control */
        if (c == '\\') {
            json->at++;
            c = escaped(&json->at);
            if (!c) return refuse(json);
        }
        if (n + 1 < size) out[n] = c;
        n++;
    }
    json->at++;
    out[n < size ? n : size - 1] = 0;
    if (n >= size && size > 4) memcpy(out + size - 4, "...", 4);
    return 1;
}

int circuit_json_key(circuit_json *json, char *out, size_t size) {
    return (circuit_json_string(json, out, size) && circuit_json_take(json, ':')) || refuse(json);
}

int circuit_json_number(circuit_json *json, double *out) {
    circuit_json_next(json, 0);
    const size_t n = json->bad ? 0 : strspn(json->at, "+-.0123456789Ee");
    char *end, text[64] = "";
    if (n >= sizeof text || n == 0 || strchr("+.Ee", *json->at)) return refuse(json);
    memcpy(text, json->at, n);
    char *point = strchr(text, '.'); /* strtod wants that of the locale */
    if (point) *point = *localeconv()->decimal_point;
    *out = strtod(text, &end); /* not hexadecimal, not a word: n is 1 or 2 there */
    if (end != text + n) return refuse(json);
    json->at += n;
    return 1;
}

int circuit_json_word(circuit_json *json, int *out) {
    static const char *const words[] = {"false", "true", "null"};
    circuit_json_next(json, 0);
    for (int i = 0; i < 3 && !json->bad; i++) {
        const size_t n = strlen(words[i]);
        if (strncmp(json->at, words[i], n) != 0) continue;
        json->at += n;
        *out = i == 1;
        return 1;
    }
    return refuse(json);
}

int circuit_json_more(circuit_json *json, char close) {
    if (circuit_json_take(json, ',')) return 1;
    if (!circuit_json_take(json, close)) refuse(json);
    return 0;
}

/* One value that holds no other, or the beginning of one that does. */
static int skip_plain(circuit_json *json) {
    char text[8];
    double number;
    int word;
    if (circuit_json_next(json, '"')) return circuit_json_string(json, text, sizeof text);
    if (*json->at == '-' || (*json->at >= '0' && *json->at <= '9'))
        return circuit_json_number(json, &number);
    return circuit_json_word(json, &word);
}

/* Lists inside of each other are a stack of what ends them. */
int circuit_json_skip(circuit_json *json) {
    char ends[MOST_DEPTH], key[8];
    int depth = 0;
    do {
        if (depth > 0 && ends[depth - 1] == '}' && !circuit_json_key(json, key, sizeof key))
            return 0;
        const int list = circuit_json_next(json, '['), object = circuit_json_next(json, '{');
        if (list || object) {
            if (depth == MOST_DEPTH) return refuse(json);
            json->at++;
            ends[depth++] = list ? ']' : '}';
            if (!circuit_json_take(json, ends[depth - 1])) continue;
            depth--;
        } else if (!skip_plain(json)) {
            return 0;
        }
        while (depth > 0 && !circuit_json_more(json, ends[depth - 1]) && !json->bad) depth--;
    } while (depth > 0 && !json->bad);
    return !json->bad;
}
