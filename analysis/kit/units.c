/* Units by the bytes of tokens: characters of UTF-8 may be split between tokens, so a sequence's
 * bytes are joined first. Classes of characters outside ASCII are by range. */
#include "units.h"

#include <ctype.h>
#include <string.h>

/* --- characters ------------------------------------------------------------------------------ */

typedef enum char_class {
    CLASS_LETTER,
    CLASS_DIGIT,
    CLASS_SPACE,
    CLASS_PUNCTUATION,
    CLASS_SYMBOL
} char_class;

/* Characters outside ASCII that are no letters. */
static const struct {
    uint32_t first, last;
    char_class is;
} ranges[] = {{0x80, 0xa0, CLASS_SPACE}, /* controls and the no-break space */
    {0xa1, 0xa1, CLASS_PUNCTUATION}, {0xa2, 0xa6, CLASS_SYMBOL}, {0xa7, 0xa7, CLASS_PUNCTUATION},
    {0xa8, 0xa9, CLASS_SYMBOL}, {0xab, 0xab, CLASS_PUNCTUATION}, {0xac, 0xb1, CLASS_SYMBOL},
    {0xb2, 0xb3, CLASS_DIGIT}, {0xb4, 0xb4, CLASS_SYMBOL}, {0xb6, 0xb7, CLASS_PUNCTUATION},
    {0xb8, 0xb8, CLASS_SYMBOL}, {0xb9, 0xb9, CLASS_DIGIT}, {0xbb, 0xbb, CLASS_PUNCTUATION},
    {0xbc, 0xbe, CLASS_DIGIT}, {0xbf, 0xbf, CLASS_PUNCTUATION}, {0xd7, 0xd7, CLASS_SYMBOL},
    {0xf7, 0xf7, CLASS_SYMBOL}, {0x660, 0x669, CLASS_DIGIT}, {0x966, 0x96f, CLASS_DIGIT},
    {0x2000, 0x200f, CLASS_SPACE}, {0x2010, 0x2027, CLASS_PUNCTUATION},
    {0x2028, 0x202f, CLASS_SPACE}, {0x2030, 0x205e, CLASS_PUNCTUATION},
    {0x205f, 0x206f, CLASS_SPACE}, {0x20a0, 0x20cf, CLASS_SYMBOL}, {0x2190, 0x2bff, CLASS_SYMBOL},
    {0x2e00, 0x2e7f, CLASS_PUNCTUATION}, {0x3000, 0x3000, CLASS_SPACE},
    {0x3001, 0x3004, CLASS_PUNCTUATION}, {0x3008, 0x3020, CLASS_PUNCTUATION},
    {0xfe10, 0xfe6f, CLASS_PUNCTUATION}, {0xfeff, 0xfeff, CLASS_SPACE},
    {0xff01, 0xff0f, CLASS_PUNCTUATION}, {0xff10, 0xff19, CLASS_DIGIT},
    {0xff1a, 0xff20, CLASS_PUNCTUATION}, {0xff3b, 0xff40, CLASS_PUNCTUATION},
    {0xff5b, 0xff65, CLASS_PUNCTUATION}, {0xfffc, 0xffff, CLASS_SYMBOL},
    {0x1f000, 0x1faff, CLASS_SYMBOL}};

static char_class class_of(uint32_t c) {
    if (c < 0x80) {
        if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') return CLASS_LETTER;
        if (c >= '0' && c <= '9') return CLASS_DIGIT;
        if (c <= ' ' || c == 0x7f) return CLASS_SPACE;
        return strchr("$+<=>^`|~", (int)c) ? CLASS_SYMBOL : CLASS_PUNCTUATION;
    }
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i].first && c <= ranges[i].last) return ranges[i].is;
    return CLASS_LETTER;
}

/* Whether two characters' classes are the same for words: punctuation and symbols are. */
static int same_class(char_class a, char_class b) {
    return a == b || (a >= CLASS_PUNCTUATION && b >= CLASS_PUNCTUATION);
}

/* The character at bytes [n] and its length; a broken one is a symbol of one byte. */
static uint32_t next_char(const uint8_t *bytes, uint64_t n, uint64_t *length) {
    static const uint8_t first_bits[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const uint8_t b = bytes[0];
    const uint64_t want = b < 0x80 ? 1 : b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : b >= 0xc0 ? 2 : 0;
    *length = 1;
    if (want == 0 || want > n) return 0xfffd;
    uint32_t c = b & first_bits[want];
    for (uint64_t i = 1; i < want; i++) {
        if ((bytes[i] & 0xc0) != 0x80) return 0xfffd;
        c = c << 6 | (bytes[i] & 0x3f);
    }
    *length = want;
    return c;
}

/* Whether text has a character that is neither space nor punctuation. */
static int has_content(const uint8_t *bytes, uint64_t n) {
    for (uint64_t i = 0, length; i < n; i += length) {
        const char_class is = class_of(next_char(bytes + i, n - i, &length));
        if (is != CLASS_SPACE && is != CLASS_PUNCTUATION) return 1;
    }
    return 0;
}

/* --- tokens and words ------------------------------------------------------------------------ */

/* The bytes of a sequence, joined; token t has bytes at[t]..at[t+1]-1. */
typedef struct joined {
    uint8_t *bytes;
    uint64_t *at; /* [n + 1] */
} joined;

static int join_tokens(
    psc_context *context, const psc_host *host, const int32_t *tokens, int32_t n, joined *out) {
    uint64_t size = 0, length = 0;
    out->at = host->run_alloc(context, ((uint64_t)n + 1) * sizeof *out->at);
    if (!out->at) return -1;
    for (int32_t t = 1; t < n; t++) {
        out->at[t] = size;
        if (host->token_bytes(context, tokens[t], &length)) size += length;
    }
    out->at[n] = size;
    out->bytes = host->run_alloc(context, size + 1);
    if (!out->bytes) return -1;
    for (int32_t t = 1; t < n; t++) {
        const char *bytes = host->token_bytes(context, tokens[t], &length);
        if (bytes) memcpy(out->bytes + out->at[t], bytes, (size_t)length);
    }
    return 0;
}

static int make_room(psc_context *context, const psc_host *host, int32_t n, psc_units *out) {
    const uint64_t room = (uint64_t)n + 1;
    *out = (psc_units){.begin = host->run_alloc(context, room * sizeof *out->begin),
        .content = host->run_alloc(context, room)};
    return out->begin && out->content ? 0 : -1;
}

/* Ends the units at position n and finds those with content. */
static void finish_units(const joined *text, int32_t n, psc_units *out) {
    out->begin[out->n] = n > 1 ? n : 1;
    for (int32_t u = 0; u < out->n; u++) {
        const uint64_t from = text->at[out->begin[u]], end = text->at[out->begin[u + 1]];
        out->content[u] = (uint8_t)(from == end || has_content(text->bytes + from, end - from));
    }
}

int psc_units_tokens(
    psc_context *context, const psc_host *host, const int32_t *tokens, int32_t n, psc_units *out) {
    joined text;
    if (join_tokens(context, host, tokens, n, &text) || make_room(context, host, n, out)) return -1;
    for (int32_t t = 1; t < n; t++) out->begin[out->n++] = t;
    finish_units(&text, n, out);
    return 0;
}

int psc_units_words(
    psc_context *context, const psc_host *host, const int32_t *tokens, int32_t n, psc_units *out) {
    joined text;
    if (join_tokens(context, host, tokens, n, &text) || make_room(context, host, n, out)) return -1;
    char_class before = CLASS_SPACE;
    uint64_t i = 0, length = 0; /* the next character */
    for (int32_t t = 1; t < n; t++) {
        const uint64_t from = text.at[t], end = text.at[t + 1];
        const int empty = from == end || (t > 1 && text.at[t - 1] == from);
        int begins = t == 1 || empty; /* a token without a text is a word by itself */
        if (i == from && from < end) {
            const char_class is = class_of(next_char(text.bytes + i, text.at[n] - i, &length));
            begins |= text.bytes[i] == ' ' || text.bytes[i] == '\n' || !same_class(is, before);
        }
        if (begins) out->begin[out->n++] = t;
        for (; i < end; i += length)
            before = class_of(next_char(text.bytes + i, text.at[n] - i, &length));
    }
    finish_units(&text, n, out);
    return 0;
}

/* --- words of labelled sentences ------------------------------------------------------------- */

int psc_word_is_punctuation(const psc_word *word) {
    if (*word->upos) return strcmp(word->upos, "PUNCT") == 0;
    for (const unsigned char *c = (const unsigned char *)word->form; *c; c++)
        if (*c >= 0x80 || isalnum(*c)) return 0;
    return 1;
}

int psc_word_units_open(psc_context *context, const psc_host *host, const psc_row *rows,
    int32_t begin, int32_t n, psc_word_units *out) {
    const uint64_t room = (uint64_t)n + 1;
    *out = (psc_word_units){.rows = rows, .begin = begin, .n_rows = n};
    out->units = host->run_alloc(context, room * sizeof *out->units);
    out->of_row = host->run_alloc(context, room * sizeof *out->of_row);
    if (!out->units || !out->of_row) return -1;
    for (int32_t r = 0; r < n; r++) out->of_row[r] = -1;
    return 0;
}

/* The rows that bytes start..end-1 overlap, from a row before which none can be. Nonzero if there
 * are any. */
static int find_rows(const psc_word_units *units, uint32_t start, uint32_t end, int32_t from,
    int32_t *first, int32_t *last) {
    int32_t r = from;
    while (r < units->n_rows && units->rows[r].end <= start) r++;
    *first = r;
    while (r < units->n_rows && units->rows[r].start < end) r++;
    *last = r - 1;
    return r > *first;
}

/* Returns the word's unit, or -1. */
static int32_t add_word(psc_word_units *units, const psc_sentence *sentence, int32_t number) {
    const psc_word *word = &sentence->words[number];
    psc_word_unit *unit = units->n > 0 ? &units->units[units->n - 1] : NULL;
    int32_t first, last;
    if (!find_rows(units, sentence->start + word->start, sentence->start + word->end,
            unit ? unit->first : units->begin, &first, &last))
        return -1;
    if (!unit || first > unit->last) {
        unit = &units->units[units->n++];
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): there is room for every word
        *unit = (psc_word_unit){first, last, 0, number, 0};
    }
    if (last > unit->last) unit->last = last;
    unit->n_words++;
    unit->content |= !psc_word_is_punctuation(word);
    for (int32_t r = first; r <= last; r++) units->of_row[r] = units->n - 1;
    return units->n - 1;
}

void psc_word_units_add(psc_word_units *units, const psc_sentence *sentence, int32_t *of_word) {
    for (int32_t w = 0; w < sentence->n; w++) {
        const int32_t unit = add_word(units, sentence, w);
        if (of_word) of_word[w] = unit;
    }
}
