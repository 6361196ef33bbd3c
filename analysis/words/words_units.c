/* Words of a sequence: from labels, or from the bytes of its tokens.
 *
 *   labels   a unit is a labelled word, or the words that share a token
 *   bytes    a unit begins at a leading space or newline and where the class of characters changes:
 *            letters (and all bytes beyond ASCII), digits, spaces, others */
#include "words.h"

#include <ctype.h>
#include <string.h>

/* --- labels ----------------------------------------------------------------------------------- */

static int is_punctuation(const psc_word *word) {
    if (*word->upos) return strcmp(word->upos, "PUNCT") == 0;
    for (const unsigned char *c = (const unsigned char *)word->form; *c; c++)
        if (*c >= 0x80 || isalnum(*c)) return 0;
    return 1;
}

/* The positions of a word's tokens, from position `from` on. Nonzero if there are any. */
static int find_tokens(const psc_row *rows, int32_t n, uint32_t start, uint32_t end, int32_t from,
    int32_t *first, int32_t *last) {
    int32_t t = from;
    while (t < n && rows[t].end <= start) t++;
    *first = t;
    while (t < n && rows[t].start < end) t++;
    *last = t - 1;
    return t > *first;
}

static void add_word(words_case *c, const psc_row *rows, const psc_sentence *s, const psc_word *w) {
    words_unit *unit = c->units > 0 ? &c->unit[c->units - 1] : NULL;
    int32_t first, last;
    if (!find_tokens(rows, c->n, s->start + w->start, s->start + w->end, unit ? unit->first : 1,
            &first, &last))
        return;
    if (!unit || first > unit->last) {
        unit = &c->unit[c->units++];
        *unit = (words_unit){first, last, 0, 0};
    }
    if (last > unit->last) unit->last = last;
    unit->n_words++;
    unit->content |= !is_punctuation(w);
    for (int32_t t = first; t <= last; t++) c->of[t] = c->units - 1;
}

/* The first sentence that ends after a byte. */
static int32_t sentence_at(const psc_sentence *sentences, int32_t n, uint32_t byte) {
    int32_t low = 0, high = n;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (sentences[middle].start + sentences[middle].bytes <= byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void from_labels(
    words_case *c, const psc_row *rows, const psc_sentence *sentences, int32_t n_sentences) {
    if (c->n < 2) return;
    const uint32_t end = rows[c->n - 1].end;
    for (int32_t i = sentence_at(sentences, n_sentences, rows[1].start);
         i < n_sentences && sentences[i].start < end; i++)
        for (int32_t w = 0; w < sentences[i].n; w++)
            add_word(c, rows, &sentences[i], &sentences[i].words[w]);
}

/* --- bytes ------------------------------------------------------------------------------------ */

typedef enum byte_class { CLASS_LETTER, CLASS_DIGIT, CLASS_SPACE, CLASS_OTHER } byte_class;

static byte_class class_of(unsigned char c) {
    if (c >= 0x80 || isalpha(c)) return CLASS_LETTER;
    return isdigit(c) ? CLASS_DIGIT : isspace(c) ? CLASS_SPACE : CLASS_OTHER;
}

static int is_content(const char *bytes, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        if (class_of((unsigned char)bytes[i]) <= CLASS_DIGIT) return 1;
    return 0;
}

static void from_bytes(const words_state *s, const int32_t *tokens, words_case *c) {
    byte_class before = CLASS_SPACE;
    for (int32_t t = 1; t < c->n; t++) {
        uint64_t n = 0;
        const char *bytes = s->host->token_bytes(s->context, tokens[t], &n);
        const byte_class first = bytes && n > 0 ? class_of((unsigned char)bytes[0]) : CLASS_OTHER;
        if (c->units == 0 || first == CLASS_SPACE || first != before)
            c->unit[c->units++] = (words_unit){t, t, 1, 0};
        words_unit *unit = &c->unit[c->units - 1];
        unit->last = t;
        unit->content |= bytes && is_content(bytes, n);
        c->of[t] = c->units - 1;
        before = bytes && n > 0 ? class_of((unsigned char)bytes[n - 1]) : CLASS_SPACE;
    }
}

int words_case_make(words_state *s, int32_t sequence, words_case *out) {
    const psc_host *host = s->host;
    const psc_reads_sequence *of = &s->reads.sequences[sequence];
    int32_t n_rows = 0, n_sentences = 0;
    const psc_row *rows = host->rows(s->context, &n_rows);
    const psc_sentence *sentences = host->sentences(s->context, &n_sentences);
    const uint64_t room = (uint64_t)of->n + 1;
    *out = (words_case){.n = of->n};
    out->unit = host->run_alloc(s->context, room * sizeof *out->unit);
    out->of = host->run_alloc(s->context, room * sizeof *out->of);
    if (!out->unit || !out->of) return -1;
    for (int32_t t = 0; t < of->n; t++) out->of[t] = -1;
    if (sentences && of->first == 0)
        from_labels(out, rows + of->row, sentences, n_sentences);
    else
        from_bytes(s, of->tokens, out);
    return 0;
}
