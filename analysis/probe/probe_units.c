/* Units of a run's labelled sentences.
 *
 * A unit is a word, or the words of a sentence that share a token; with units=spans each word is a
 * unit. Its row is that of its last token; its label is that of its first word whose head is
 * outside. Words and rows ascend in the run's text, so one pass over both finds every unit. */
#include "probe.h"

#include <string.h>

typedef struct walk {
    probe_state *s;
    const psc_row *rows;
    int32_t n_rows;
    int32_t row;     /* the first row that later words may overlap */
    int32_t n_units; /* so far */
} walk;

/* Tells whether a word is inside quotation marks: " changes sides, “ and ``
 * open, ” and '' close. */
static int scan_quotes(const psc_sentence *sentence, uint32_t begin, uint32_t end, int inside) {
    const char *text = sentence->text;
    for (uint32_t i = begin; i < end; i++) {
        const int pair = i + 1 < sentence->bytes && text[i] == text[i + 1];
        if (text[i] == '"')
            inside = !inside;
        else if ((text[i] == '`' && pair) || strncmp(text + i, "\xe2\x80\x9c", 3) == 0)
            inside = 1;
        else if ((text[i] == '\'' && pair) || strncmp(text + i, "\xe2\x80\x9d", 3) == 0)
            inside = 0;
    }
    return inside;
}

/* The rows that a word's bytes overlap, as *first..*last; zero if there are none. */
static int rows_of(
    walk *w, const psc_sentence *sentence, const psc_word *word, int32_t *first, int32_t *last) {
    const uint32_t start = sentence->start + word->start, end = sentence->start + word->end;
    while (w->row < w->n_rows && w->rows[w->row].end <= start) w->row++;
    int32_t r = w->row;
    *first = *last = -1;
    for (; r < w->n_rows && w->rows[r].start < end; r++) {
        if (w->rows[r].start == w->rows[r].end) continue; /* the beginning-of-text token */
        if (*first < 0) *first = r;
        *last = r;
    }
    return *first >= 0;
}

static void add_unit(walk *w, int32_t sentence, int32_t word, int32_t row, int quoted) {
    const probe_state *s = w->s;
    const psc_word *label = &s->sentences[sentence].words[word];
    s->units_at[w->n_units++] = (probe_unit){.row = row,
        .sentence = sentence,
        .word = word,
        .last_word = word,
        .content = (uint8_t)(s->units || !psc_word_is_punctuation(label)),
        .quoted = (uint8_t)quoted};
}

/* The word of a unit, first..last, that has its label. */
static int32_t head_of(const psc_sentence *sentence, int32_t first, int32_t last) {
    for (int32_t w = first; w <= last; w++)
        if (sentence->words[w].head < first || sentence->words[w].head > last) return w;
    return first;
}

/* The units of one sentence; labels alone, in a run that counts them, have no rows. */
static void walk_sentence(walk *w, int32_t at, int counting) {
    const probe_state *s = w->s;
    const psc_sentence *sentence = &s->sentences[at];
    const int32_t begin = w->n_units;
    int32_t first = -1, last = -1, content = 0;
    uint32_t seen = 0;
    int inside = 0;
    for (int32_t i = 0; i < sentence->n; i++) {
        const psc_word *word = &sentence->words[i];
        inside = scan_quotes(sentence, seen, word->start, inside);
        if (word->start > seen) seen = word->start;
        if (!counting && !rows_of(w, sentence, word, &first, &last)) continue;
        probe_unit *before = w->n_units > begin ? &s->units_at[w->n_units - 1] : NULL;
        if (counting || s->units || !before || first > before->row) {
            add_unit(w, at, i, last, inside);
            continue;
        }
        if (last > before->row) before->row = last;
        before->content |= (uint8_t)!psc_word_is_punctuation(word);
        before->last_word = i;
    }
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a unit was added to them
    for (int32_t u = begin; u < w->n_units; u++) content += s->units_at[u].content;
    const int right_size = s->units || (content >= s->least && content <= s->most);
    for (int32_t u = begin; u < w->n_units; u++) {
        probe_unit *unit = &s->units_at[u];
        unit->kept = (uint8_t)(right_size && unit->content);
        unit->word = head_of(sentence, unit->word, unit->last_word);
    }
}

/* The first sentence of each sentence's sequence. */
static void find_sequences(const walk *w) {
    const probe_state *s = w->s;
    int32_t row = 0, sequence = -1, first = 0;
    for (int32_t i = 0; i < s->n_sentences; i++) {
        while (row < w->n_rows && w->rows[row].end <= s->sentences[i].start) row++;
        const int32_t now = row < w->n_rows ? w->rows[row].sequence : -1;
        if (now != sequence) first = i;
        sequence = now;
        s->first_of[i] = first;
    }
}

int probe_units_make(probe_state *s) {
    const psc_host *host = s->host;
    const int counting =
        host->phase(s->context) == PSC_PHASE_SOURCE && host->source(s->context) == PROBE_COUNT;
    walk w = {.s = s};
    uint64_t n_words = 0;
    w.rows = host->rows(s->context, &w.n_rows);
    s->sentences = host->sentences(s->context, &s->n_sentences);
    if (!s->sentences)
        return host->fail(s->context, "labelled sentences are missing; use the verb probe");
    for (int32_t i = 0; i < s->n_sentences; i++) n_words += (uint64_t)s->sentences[i].n;
    s->units_at = host->run_alloc(s->context, n_words * sizeof *s->units_at);
    s->first_of = host->run_alloc(s->context, (uint64_t)s->n_sentences * sizeof *s->first_of);
    if (!s->units_at || !s->first_of) return -1;
    find_sequences(&w);
    for (int32_t i = 0; i < s->n_sentences; i++) walk_sentence(&w, i, counting);
    s->n_units = w.n_units;
    return 0;
}
