/* Units by the bytes of tokens: characters of UTF-8 may be split between tokens, so a sequence's
 * bytes are joined first. Classes of characters outside ASCII are by range. */
#include "units.h"

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

/* Whether text has a character that is neither space nor punctuation, or is one that is no space. */
static int has_content(const uint8_t *bytes, uint64_t n, int punctuation_counts) {
    for (uint64_t i = 0, length; i < n; i += length) {
        const char_class is = class_of(next_char(bytes + i, n - i, &length));
        if (is != CLASS_SPACE && (is != CLASS_PUNCTUATION || punctuation_counts)) return 1;
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
        out->content[u] = (uint8_t)(from == end || has_content(text->bytes + from, end - from, 0));
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

/* --- labelled words -------------------------------------------------------------------------- */

typedef struct labelled {
    const psc_row *rows;
    int32_t n;
    const uint8_t *text;
    uint64_t bytes;
    psc_units *units;
    psc_unit_words *words;
    int32_t token; /* the first token that is in no unit yet */
} labelled;

/* Adds units for the tokens up to `end` that no word has. Those of white space wait for the next
 * unit; at the sequence's end they join the last. */
static int32_t add_gap(labelled *l, int32_t end) {
    int32_t from = l->token;
    for (; l->token < end; l->token++) {
        const psc_row *row = &l->rows[l->token];
        if (row->end > l->bytes || row->start >= row->end ||
            !has_content(l->text + row->start, row->end - row->start, 1))
            continue;
        l->units->content[l->units->n] =
            (uint8_t)has_content(l->text + row->start, row->end - row->start, 0);
        l->units->begin[l->units->n++] = from;
        from = l->token + 1;
    }
    return from;
}

/* A word's bytes begin..end-1 of the text, its number, whether it is content. */
static void add_word(labelled *l, uint64_t begin, uint64_t end, int32_t number, int content) {
    psc_units *units = l->units;
    int32_t first = l->token > 1 ? l->token - 1 : 1, last;
    while (first < l->n && l->rows[first].end <= begin) first++;
    for (last = first; last < l->n && l->rows[last].start < end; last++) continue;
    l->words->unit[number] = -1;
    if (last == first || end == begin) return;
    if (first >= l->token) { /* else it shares the last unit's token */
        const int32_t from = add_gap(l, first);
        l->words->first_word[units->n] = number;
        units->content[units->n] = 0;
        units->begin[units->n++] = from;
    }
    if (last > l->token) l->token = last;
    units->content[units->n - 1] |= (uint8_t)content;
    l->words->unit[number] = units->n - 1;
}

/* A unit without words gets the first word of the next unit, or the end of the last one's. */
static void close_words(labelled *l) {
    int32_t next = l->words->n;
    while (next > 0 && l->words->unit[next - 1] < 0) next--;
    for (int32_t u = l->units->n; u >= 0; u--) {
        if (l->words->first_word[u] < 0)
            l->words->first_word[u] = next;
        else
            next = l->words->first_word[u];
    }
}

int psc_units_labelled(psc_context *context, const psc_host *host, const psc_row *rows, int32_t n,
    const psc_sentence *sentences, int32_t n_sentences, psc_units *out, psc_unit_words *words) {
    labelled l = {.rows = rows, .n = n, .units = out, .words = words, .token = 1};
    int32_t number = 0;
    l.text = (const uint8_t *)host->text(context, &l.bytes);
    if (!l.text) l.bytes = 0;
    *words = (psc_unit_words){0};
    for (int32_t i = 0; i < n_sentences; i++) words->n += sentences[i].n;
    words->unit = host->run_alloc(context, (uint64_t)words->n * sizeof *words->unit + 1);
    words->first_word = host->run_alloc(context, ((uint64_t)n + 1) * sizeof *words->first_word);
    if (!words->unit || !words->first_word || make_room(context, host, n, out)) return -1;
    for (int32_t u = 0; u <= n; u++) words->first_word[u] = -1;
    for (int32_t i = 0; i < n_sentences; i++)
        for (int32_t w = 0; w < sentences[i].n; w++, number++) {
            const psc_word *word = &sentences[i].words[w];
            const uint64_t start = sentences[i].start;
            add_word(&l, start + word->start, start + word->end, number,
                strcmp(word->upos, "PUNCT") != 0);
        }
    const int32_t left = add_gap(&l, n);
    if (left < n && out->n == 0) out->begin[out->n++] = left; /* white space only */
    out->begin[out->n] = n > 1 ? n : 1;
    close_words(&l);
    return 0;
}
