/* One sequence: brackets among its words, closure by class, and the pairs that stand out.
 *
 * A word counts if it is a content unit of one word; units of several words and punctuation are
 * left out. A tree is over tokens, so a bracket [a, b] is positions a + 1..b + 1. */
#include "words.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

static int is_word(const psc_word_unit *u) {
    return u->content && u->n_words == 1;
}

/* Spaces stand before the word only. Bytes beyond ASCII are letters. */
static int is_letters(const words_state *s, const int32_t *tokens, const psc_word_unit *u) {
    int letters = 0;
    for (int32_t t = u->first; t <= u->last; t++) {
        uint64_t n = 0;
        const char *bytes = s->host->token_bytes(s->context, tokens[t], &n);
        for (uint64_t i = 0; bytes && i < n; i++) {
            const unsigned char c = (unsigned char)bytes[i];
            if (!letters && isspace(c)) continue;
            if (c < 0x80 && !isalpha(c)) return 0;
            letters = 1;
        }
    }
    return letters;
}

void words_keep_letters(const words_state *s, int32_t sequence, words_case *c) {
    const int32_t *tokens = s->reads.sequences[sequence].tokens;
    for (int32_t u = 0; u < c->words.n; u++)
        c->words.units[u].content =
            is_word(&c->words.units[u]) && is_letters(s, tokens, &c->words.units[u]);
}

/* --- brackets --------------------------------------------------------------------------------- */

/* Calls add for every case: a kind and its first and last position. */
typedef void (*case_fn)(words_state *s, const words_case *c, words_kind kind, int32_t first,
    int32_t last, int32_t level, double *chance);

static void each_case(
    words_state *s, const words_case *c, int32_t level, double *chance, case_fn add) {
    for (int32_t u = 0; u < c->words.n; u++) {
        const psc_word_unit *unit = &c->words.units[u];
        if (!is_word(unit) || unit->last == unit->first) continue;
        add(s, c, WORDS_SEVERAL, unit->first, unit->last, level, chance);
        if (unit->last == unit->first + 1)
            add(s, c, WORDS_TWO, unit->first, unit->last, level, chance);
    }
    for (int32_t t = 2; t < c->n; t++) {
        const int32_t a = c->words.of_row[t - 1], b = c->words.of_row[t];
        if (a >= 0 && b >= 0 && a != b && c->words.units[a].content && c->words.units[b].content)
            add(s, c, WORDS_ACROSS, t - 1, t, level, chance);
    }
}

static void add_hit(words_state *s, const words_case *c, words_kind kind, int32_t first,
    int32_t last, int32_t level, double *chance) {
    (void)chance;
    s->counts[words_hit(s, level, kind)] += psc_tree_has(c->n - 1, s->tree, first - 1, last - 1);
}

static void add_case(words_state *s, const words_case *c, words_kind kind, int32_t first,
    int32_t last, int32_t level, double *chance) {
    (void)level;
    s->counts[words_cases(s, kind)] += 1.0;
    chance[kind] += psc_tree_chance(c->n - 1, first - 1, last - 1);
}

/* --- closure ---------------------------------------------------------------------------------- */

/* The bin of -closure: its exponent and the first 8 bits of its mantissa. */
static int32_t bin_of(double closure) {
    const double x = -closure;
    uint64_t bits;
    if (!(x > 0.0)) return 0;
    if (x < ldexp(1.0, -WORDS_OCTAVES)) return 1;
    if (x >= 1.0) return WORDS_BINS - 1;
    memcpy(&bits, &x, sizeof bits);
    return 2 + (int32_t)((bits >> 44) - ((uint64_t)(1023 - WORDS_OCTAVES) << 8));
}

/* A pair whose closure is unlike its class: a piece that is read on, an end that is not. */
static int offer(
    words_state *s, int32_t sequence, int32_t level, int continuing, int32_t t, double closure) {
    const psc_reads_sequence *of = &s->reads.sequences[sequence];
    const int64_t slot = (int64_t)level * 2 + continuing;
    const double value = continuing ? -closure : closure;
    int32_t n_rows = 0;
    if (s->top == 0 || t + WORDS_LATER >= of->n || t < of->first) return 0;
    const psc_row *row = s->host->rows(s->context, &n_rows) + of->row + (t - of->first);
    if (s->host->accumulating(s->context))
        return s->host->accumulate_top(s->context, s->list, slot, value, row);
    psc_top_offer(&s->lists[slot], value, row->index);
    return 0;
}

static int add_pairs(words_state *s, int32_t sequence, const words_case *c) {
    for (int32_t t = 2; t < c->n; t++) {
        const int32_t a = c->words.of_row[t - 1], b = c->words.of_row[t];
        if (a < 0 || b < 0 || !is_word(&c->words.units[a]) || !is_word(&c->words.units[b]))
            continue;
        for (int32_t l = 0; l < s->levels.n; l++) {
            const double closure = psc_reads_closure(&s->reads, sequence, l, t);
            s->counts[words_bins(s, l, a == b) + bin_of(closure)] += 1.0;
            if (offer(s, sequence, l, a == b, t, closure)) return -1;
        }
    }
    return 0;
}

int words_add(words_state *s, int32_t sequence, const words_case *c) {
    double chance[WORDS_KINDS] = {0};
    s->counts[words_sequences(s)] += 1.0;
    s->counts[words_sequences(s) + 1] += c->n - 1;
    if (c->n < 3) return 0;
    for (int32_t l = 0; l < s->levels.n; l++) {
        psc_cuts_tree(psc_reads_sums(&s->reads, sequence, l), s->at, c->n - 1, s->weights, s->tree);
        each_case(s, c, l, NULL, add_hit);
    }
    each_case(s, c, 0, chance, add_case);
    for (int kind = 0; kind < WORDS_KINDS; kind++) s->chance[kind] += chance[kind];
    if (add_pairs(s, sequence, c)) return -1;
    return s->host->accumulating(s->context)
               ? s->host->accumulate(s->context, s->sum, 0, WORDS_KINDS, chance)
               : 0;
}
