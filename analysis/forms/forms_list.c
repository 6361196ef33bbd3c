/* The entries of the list, from the labels of a run: one sequence, one sentence, one word each.
 *
 * form, group and tag are the word's form, lemma and upos; its frequency stands in misc as
 * "Freq=12" (without it: 1). The vectors of FORMS_BLOCK entries are one allocation. */
#include "forms.h"

#include <stdlib.h>
#include <string.h>

static const char mib_sentence[] =
    "%d forms need %llu MiB, more than memory=%d; shorten the list or raise memory=";

uint64_t forms_bytes(const forms_state *s, int32_t n) {
    const uint64_t width = (uint64_t)s->width, levels = (uint64_t)s->n_levels;
    const uint64_t blocks = ((uint64_t)n + FORMS_BLOCK - 1) / FORMS_BLOCK;
    const uint64_t per_pair = sizeof(forms_pair) + levels * sizeof(forms_figure) +
                              (uint64_t)s->draws * sizeof *s->control;
    return s->text_bytes +
           blocks * FORMS_BLOCK * (levels * width * sizeof(float) + sizeof(forms_entry)) +
           (uint64_t)n * (width + 1) * sizeof(double) + (uint64_t)s->n_pairs * per_pair +
           (uint64_t)s->n_tag_pairs * width * sizeof(double);
}

int forms_check_memory(const forms_state *s, int32_t n) {
    const uint64_t mib = (forms_bytes(s, n) + (1 << 20) - 1) >> 20;
    if (mib <= (uint64_t)s->memory) return 0;
    return s->host->fail(s->context, mib_sentence, (int)n, (unsigned long long)mib, (int)s->memory);
}

/* Doubles the tables of blocks, which hold pointers only. */
static int grow_tables(forms_state *s) {
    const int32_t room = s->blocks_capacity ? 2 * s->blocks_capacity : 16;
    forms_entry **entries = s->host->life_alloc(s->context, (uint64_t)room * sizeof *entries);
    float **vectors = s->host->life_alloc(s->context, (uint64_t)room * sizeof *vectors);
    if (!entries || !vectors) return -1;
    if (s->n_blocks > 0) {
        memcpy(entries, s->entries, (uint64_t)s->n_blocks * sizeof *entries);
        memcpy(vectors, s->vectors, (uint64_t)s->n_blocks * sizeof *vectors);
    }
    s->entries = entries;
    s->vectors = vectors;
    s->blocks_capacity = room;
    return 0;
}

static int make_room(forms_state *s, int32_t n) {
    const uint64_t floats = (uint64_t)FORMS_BLOCK * (uint64_t)s->n_levels * (uint64_t)s->width;
    if (forms_check_memory(s, n)) return -1;
    while (s->n_blocks * FORMS_BLOCK < n) {
        if (s->n_blocks == s->blocks_capacity && grow_tables(s)) return -1;
        forms_entry *entries = s->host->life_alloc(s->context, FORMS_BLOCK * sizeof(forms_entry));
        float *vectors = s->host->life_alloc(s->context, floats * sizeof(float));
        if (!entries || !vectors) return -1;
        s->entries[s->n_blocks] = entries;
        s->vectors[s->n_blocks++] = vectors;
    }
    return 0;
}

/* Copies a text to *at, which advances. */
static const char *put(char **at, const char *text) {
    char *copy = *at;
    const size_t bytes = strlen(text) + 1;
    memcpy(copy, text, bytes);
    *at += bytes;
    return copy;
}

/* "Freq=12" among the entries of misc. */
static double frequency_of(const char *misc) {
    const char *at = strncmp(misc, "Freq=", 5) == 0 ? misc : strstr(misc, "|Freq=");
    const double value = at ? strtod(strchr(at, '=') + 1, NULL) : 1.0;
    return value > 0.0 && value < 1e300 ? value : 1.0;
}

static int check_run(const forms_state *s, const psc_row *rows, int32_t n_rows,
    const psc_sentence *sentences, int32_t n_sentences) {
    int32_t n = 0;
    for (int32_t r = 0; r < n_rows; r++) {
        if (r > 0 && rows[r].sequence == rows[r - 1].sequence) continue;
        if (rows[r].position != 0 || r + 1 == n_rows || rows[r + 1].sequence != rows[r].sequence)
            return s->host->fail(s->context,
                "a form must be a whole sequence: the beginning-of-text token and its own tokens");
        n++;
    }
    if (!sentences || n_sentences != n)
        return s->host->fail(s->context,
            "needs a list of word forms as labels, one per sequence; use the verb forms");
    for (int32_t i = 0; i < n; i++)
        if (sentences[i].n != 1)
            return s->host->fail(s->context,
                "label %d has %d words instead of one form; use the verb forms", (int)i,
                (int)sentences[i].n);
    return 0;
}

static int copy_labels(forms_state *s, const psc_sentence *sentences, int32_t n) {
    uint64_t bytes = 1;
    for (int32_t i = 0; i < n; i++) {
        const psc_word *w = sentences[i].words;
        bytes += strlen(w->form) + strlen(w->lemma) + strlen(w->upos) + 3;
    }
    const int lasts = s->host->accumulating(s->context);
    s->text_bytes = bytes + (lasts ? s->text_bytes : 0);
    char *at = (lasts ? s->host->life_alloc : s->host->run_alloc)(s->context, bytes);
    if (!at || make_room(s, s->n + n)) return -1;
    for (int32_t i = 0; i < n; i++) {
        const psc_word *w = sentences[i].words;
        forms_entry *e = forms_at(s, s->n + i);
        e->form = put(&at, w->form);
        e->group = put(&at, w->lemma);
        e->tag = put(&at, w->upos);
        e->frequency = frequency_of(w->misc);
    }
    return 0;
}

int forms_take_list(forms_state *s) {
    int32_t n_rows = 0, n = 0;
    const psc_row *rows = s->host->rows(s->context, &n_rows);
    const psc_sentence *sentences = s->host->sentences(s->context, &n);
    if (check_run(s, rows, n_rows, sentences, n)) return -1;
    if (n > FORMS_MOST - s->n)
        return s->host->fail(
            s->context, "the list has more than %d forms; shorten it", (int)FORMS_MOST);
    s->entry_of = s->host->run_alloc(s->context, (uint64_t)n_rows * sizeof *s->entry_of);
    if (!s->entry_of || copy_labels(s, sentences, n)) return -1;
    for (int32_t r = 0; r < n_rows; r++) {
        const int last = r + 1 == n_rows || rows[r + 1].sequence != rows[r].sequence;
        s->entry_of[r] = last ? s->n : -1;
        if (last) forms_at(s, s->n++)->tokens = rows[r].position;
    }
    return 0;
}
