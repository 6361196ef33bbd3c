/* What linguists call a span: a bracket that is exactly the yield of a word,
 * from labelled sentences.
 *
 *   yield(w)   w and all words below it, if they follow each other; bytes from the first to the last
 *   label      UPOS of w;   function: DEPREL of w
 *   operators  grammatical features of w and of the function words that hang from it */
#include "spans_notation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- sentences in the text ------------------------------------------------------------------- */

static int is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static uint64_t skip_blanks(const char *text, uint64_t at, uint64_t bytes) {
    while (at < bytes && is_blank(text[at])) at++;
    return at;
}

/* How many sentences from file[0] on follow each other in the text; *at: where they end. */
static int32_t follow(
    uint64_t *at, const psc_sentence *file, int32_t n_file, const char *text, uint64_t bytes) {
    int32_t n = 0;
    *at = skip_blanks(text, 0, bytes);
    for (; n < n_file && *at < bytes; n++) {
        const psc_sentence *s = &file[n];
        if (s->bytes > bytes - *at || memcmp(text + *at, s->text, s->bytes) != 0) break;
        *at = skip_blanks(text, *at + s->bytes, bytes);
    }
    return n;
}

/* The bytes from text[at] on that are those of the sentence, in whole characters. */
static uint64_t common(const psc_sentence *s, const char *text, uint64_t at, uint64_t bytes) {
    uint64_t n = 0;
    while (n < s->bytes && at + n < bytes && text[at + n] == s->text[n]) n++;
    while (n > 0 && at + n < bytes && ((unsigned char)text[at + n] & 0xc0) == 0x80) n--;
    return n;
}

/* The sentence that has most bytes of the text's beginning; null if none has any. */
static const psc_sentence *nearest(
    const psc_sentence *file, int32_t n_file, const char *text, uint64_t at, uint64_t bytes) {
    const psc_sentence *best = NULL;
    uint64_t most = 0;
    for (int32_t i = 0; i < n_file; i++) {
        const uint64_t n = common(&file[i], text, at, bytes);
        if (n <= most) continue;
        most = n;
        best = &file[i];
    }
    return best;
}

static int refuse(psc_context *context, const psc_host *host, const char *path,
    const psc_sentence *expected, const char *text, uint64_t at, uint64_t bytes) {
    const int shown = (int)(bytes - at < 40 ? bytes - at : 40);
    if (!expected)
        return host->fail(context,
            "labels=%.300s: no sentence continues the text at byte %llu, '%.*s'; give a file whose "
            "sentences make the text",
            path, (unsigned long long)at, shown, text + at);
    const uint64_t differ = at + common(expected, text, at, bytes);
    const int rest = (int)(bytes - differ < 40 ? bytes - differ : 40);
    return host->fail(context,
        "labels=%.300s:%d: the sentence '%.60s' is not at byte %llu of the text, '%.*s'; the text "
        "differs at byte %llu, '%.*s'",
        path, (int)expected->line, expected->text, (unsigned long long)at, shown, text + at,
        (unsigned long long)differ, rest, text + differ);
}

int spans_align(psc_context *context, const psc_host *host, const char *path,
    const psc_sentence *file, int32_t n_file, const char *text, uint64_t bytes, int open_end,
    const psc_sentence **out, int32_t *n) {
    int32_t best = 0;
    uint64_t reached = skip_blanks(text, 0, bytes);
    *n = 0;
    for (int32_t i = 0; i < n_file && reached < bytes; i++) {
        uint64_t at;
        const int32_t found = follow(&at, file + i, n_file - i, text, bytes);
        if (found == 0 || at <= reached) continue;
        best = i;
        reached = at;
        *n = found;
    }
    if (reached < bytes && (!open_end || *n == 0)) {
        const psc_sentence *expected = NULL;
        if (*n == 0) expected = nearest(file, n_file, text, reached, bytes);
        if (*n > 0 && best + *n < n_file) expected = &file[best + *n];
        return refuse(context, host, path, expected, text, reached, bytes);
    }
    psc_sentence *copies = host->run_alloc(context, (uint64_t)*n * sizeof *copies + 1);
    if (!copies) return -1;
    uint64_t at = 0;
    for (int32_t i = 0; i < *n; i++) {
        at = skip_blanks(text, at, bytes);
        copies[i] = file[best + i];
        copies[i].start = (uint32_t)at;
        at += copies[i].bytes;
    }
    *out = copies;
    return 0;
}

/* --- yields ---------------------------------------------------------------------------------- */

typedef struct reach { /* of a word and those below it */
    int32_t first, last, n;
} reach;

static void find_reach(const psc_sentence *s, reach *words) {
    for (int32_t w = 0; w < s->n; w++) words[w] = (reach){w, w, 0};
    for (int32_t w = 0; w < s->n; w++)
        for (int32_t up = w; up >= 0; up = s->words[up].head) {
            words[up].n++;
            if (words[up].first > w) words[up].first = w;
            if (words[up].last < w) words[up].last = w;
        }
}

static int compare_yields(const void *a, const void *b) {
    const spans_yield *x = a, *y = b;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return x->word < y->word ? -1 : x->word > y->word;
}

int spans_find_yields(psc_context *context, const psc_host *host, const psc_sentence *sentences,
    int32_t n, spans_yields *out) {
    int64_t total = 0;
    int32_t longest = 0;
    for (int32_t i = 0; i < n; i++) {
        total += sentences[i].n;
        if (sentences[i].n > longest) longest = sentences[i].n;
    }
    spans_yield *yields = host->run_alloc(context, (uint64_t)total * sizeof *yields + 1);
    reach *words = host->run_alloc(context, (uint64_t)longest * sizeof *words + 1);
    if (!yields || !words) return -1;
    int32_t used = 0;
    for (int32_t i = 0; i < n; i++) {
        const psc_sentence *s = &sentences[i];
        find_reach(s, words);
        for (int32_t w = 0; w < s->n; w++)
            if (words[w].n > 1 && words[w].last - words[w].first + 1 == words[w].n)
                yields[used++] = (spans_yield){s->start + s->words[words[w].first].start,
                    s->start + s->words[words[w].last].end, s, w};
    }
    qsort(yields, (size_t)used, sizeof *yields, compare_yields);
    *out = (spans_yields){used, yields};
    return 0;
}

/* --- labels ---------------------------------------------------------------------------------- */

static const char *const operator_keys[] = {
    "Aspect", "Definite", "Degree", "Evident", "Mood", "Number", "Polarity", "Tense", "Voice"};
enum { OPERATORS = sizeof operator_keys / sizeof *operator_keys };

typedef struct value {
    const char *text;
    size_t n;
} value;

/* The value of a key in "Key=Value|Key=Value". */
static value feature(const char *feats, const char *key) {
    const size_t n = strlen(key);
    for (const char *at = feats; *at; at += *at == '|') {
        const size_t length = strcspn(at, "|");
        if (length > n && memcmp(at, key, n) == 0 && at[n] == '=')
            return (value){at + n + 1, length - n - 1};
        at += length;
    }
    return (value){NULL, 0};
}

/* Takes what the word has of keys without a value. Number of verbs is agreement. */
static void take_operators(value *values, const psc_word *word) {
    const int verb = strcmp(word->upos, "VERB") == 0 || strcmp(word->upos, "AUX") == 0;
    for (int k = 0; k < OPERATORS; k++)
        if (!values[k].text && !(verb && strcmp(operator_keys[k], "Number") == 0))
            values[k] = feature(word->feats, operator_keys[k]);
}

static int is_function_word(const psc_word *word) {
    const size_t n = strcspn(word->deprel, ":"); /* aux:pass is an aux */
    return (n == 3 && (memcmp(word->deprel, "det", n) == 0 || memcmp(word->deprel, "aux", n) == 0 ||
                          memcmp(word->deprel, "cop", n) == 0)) ||
           feature(word->feats, "Polarity").text;
}

/* "Definite=Def|Number=Sing"; *out is null without any. */
static int join_operators(psc_context *context, const psc_host *host, const psc_sentence *s,
    int32_t w, const char **out) {
    value values[OPERATORS] = {{NULL, 0}};
    size_t bytes = 1, used = 0;
    take_operators(values, &s->words[w]);
    for (int32_t i = 0; i < s->n; i++)
        if (s->words[i].head == w && is_function_word(&s->words[i]))
            take_operators(values, &s->words[i]);
    for (int k = 0; k < OPERATORS; k++)
        if (values[k].text) bytes += strlen(operator_keys[k]) + 2 + values[k].n;
    *out = NULL;
    if (bytes == 1) return 0;
    char *text = host->run_alloc(context, bytes);
    if (!text) return -1;
    for (int k = 0; k < OPERATORS; k++)
        if (values[k].text)
            used += (size_t)snprintf(text + used, bytes - used, "%s%s=%.*s", used ? "|" : "",
                operator_keys[k], (int)values[k].n, values[k].text);
    *out = text;
    return 0;
}

static const char *or_null(const char *text) {
    return text[0] ? text : NULL;
}

int spans_find_label(psc_context *context, const psc_host *host, const spans_yields *yields,
    const char *text, uint32_t start, uint32_t end, spans_label *out) {
    while (start < end && is_blank(text[start])) start++;
    while (end > start && is_blank(text[end - 1])) end--;
    int32_t low = 0, high = yields->n;
    while (low < high) { /* the first that does not come before start, end */
        const int32_t middle = low + (high - low) / 2;
        const spans_yield *y = &yields->at[middle];
        if (y->start < start || (y->start == start && y->end < end))
            low = middle + 1;
        else
            high = middle;
    }
    *out = (spans_label){NULL, NULL, NULL};
    if (low == yields->n || yields->at[low].start != start || yields->at[low].end != end) return 0;
    const psc_sentence *s = yields->at[low].sentence;
    const psc_word *word = &s->words[yields->at[low].word];
    out->label = or_null(word->upos);
    out->function = or_null(word->deprel);
    return join_operators(context, host, s, yields->at[low].word, &out->operators);
}
