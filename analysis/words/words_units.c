/* Words of a sequence: from labels, or from the bytes of its tokens.
 *
 *   labels   a unit is a labelled word, or the words that share a token (kit/units.h)
 *   bytes    a unit begins at a leading space or newline and where the class of characters changes:
 *            letters (and all bytes beyond ASCII), digits, spaces, others */
#include "words.h"

#include <ctype.h>

/* --- labels ----------------------------------------------------------------------------------- */

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

static void from_labels(words_case *c, const psc_sentence *sentences, int32_t n_sentences) {
    if (c->n < 2) return;
    const uint32_t end = c->words.rows[c->n - 1].end;
    for (int32_t i = sentence_at(sentences, n_sentences, c->words.rows[1].start);
         i < n_sentences && sentences[i].start < end; i++)
        psc_word_units_add(&c->words, &sentences[i], NULL);
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

static void from_bytes(const words_state *s, const int32_t *tokens, psc_word_units *words) {
    byte_class before = CLASS_SPACE;
    for (int32_t t = words->begin; t < words->n_rows; t++) {
        uint64_t n = 0;
        const char *bytes = s->host->token_bytes(s->context, tokens[t], &n);
        const byte_class first = bytes && n > 0 ? class_of((unsigned char)bytes[0]) : CLASS_OTHER;
        if (words->n == 0 || first == CLASS_SPACE || first != before)
            words->units[words->n++] = (psc_word_unit){t, t, 1, 0, 0};
        psc_word_unit *unit = &words->units[words->n - 1];
        unit->last = t;
        unit->content |= bytes && is_content(bytes, n);
        words->of_row[t] = words->n - 1;
        before = bytes && n > 0 ? class_of((unsigned char)bytes[n - 1]) : CLASS_SPACE;
    }
}

int words_case_make(words_state *s, int32_t sequence, words_case *out) {
    const psc_host *host = s->host;
    const psc_reads_sequence *of = &s->reads.sequences[sequence];
    int32_t n_rows = 0, n_sentences = 0;
    const psc_row *rows = host->rows(s->context, &n_rows);
    const psc_sentence *sentences = host->sentences(s->context, &n_sentences);
    const int labelled = sentences && of->first == 0;
    out->n = of->n;
    if (psc_word_units_open(
            s->context, host, labelled ? rows + of->row : NULL, 1, of->n, &out->words))
        return -1;
    if (labelled)
        from_labels(out, sentences, n_sentences);
    else
        from_bytes(s, of->tokens, &out->words);
    return 0;
}
