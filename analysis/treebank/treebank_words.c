/* Words and shared brackets.
 *
 *   words       words of two or more tokens that are a bracket, of all such words; a word is a
 *               content unit that is one UD word
 *   pair_words  the same for words of two tokens, in short sentences
 *   pairs       adjacent tokens of two content units that are a bracket, in the same sentences
 *   shared      brackets that two levels share, of the brackets of one, without the whole
 *
 * Beside them stands what a random tree is expected to have (psc_tree_chance). */
#include "treebank.h"

#include <stdio.h>
#include <string.h>

/* One more case [begin, end] for each level, and for the random tree behind them. */
static void add_case(
    treebank_state *s, treebank_rate *rates, int32_t n, int32_t begin, int32_t end) {
    for (int32_t l = 0; l < s->levels.n; l++) {
        rates[l].hit += psc_tree_has(n, s->trees[l], begin, end);
        rates[l].n += 1.0;
    }
    rates[s->levels.n].hit += psc_tree_chance(n, begin, end);
    rates[s->levels.n].n += 1.0;
}

static int is_word(const psc_word_unit *u) {
    return u->content && u->n_words == 1;
}

void treebank_words_add(treebank_state *s, const treebank_case *c) {
    for (int32_t u = 0; u < c->n_units; u++)
        if (is_word(&c->units[u]) && c->units[u].last > c->units[u].first)
            add_case(s, s->words, c->n_tokens, c->units[u].first, c->units[u].last);
}

void treebank_pairs_add(treebank_state *s, const treebank_case *c) {
    for (int32_t t = 0; t + 1 < c->n_tokens; t++) {
        const int32_t a = c->of_token[t], b = c->of_token[t + 1];
        if (a < 0 || b < 0) continue;
        const psc_word_unit *u = &c->units[a];
        if (a == b && is_word(u) && u->last == u->first + 1)
            add_case(s, s->pair_words, c->n_tokens, t, t + 1);
        if (a != b && u->content && c->units[b].content)
            add_case(s, s->pairs, c->n_tokens, t, t + 1);
    }
}

void treebank_shared_add(treebank_state *s, const treebank_case *c) {
    const int32_t n = c->n_tokens;
    if (n < 3) return;
    for (int32_t a = 0; a < s->levels.n; a++)
        for (int32_t b = 0; b < s->levels.n; b++) {
            treebank_rate *r = &s->shared[(int64_t)a * s->levels.n + b];
            r->hit += psc_tree_shared(n, s->trees[a], s->trees[b], NULL);
            r->n += n - 2;
        }
}

/* --- the report ------------------------------------------------------------------------------ */

static int line_of(treebank_state *s, const char *name, const treebank_rate *rates, int32_t n) {
    char line[512];
    int at = snprintf(line, sizeof line, "%s", name);
    for (int32_t i = 0; i < n && at < (int)sizeof line - 16; i++)
        at += snprintf(line + at, sizeof line - (size_t)at, " %.3f", treebank_share(&rates[i]));
    return s->host->summary_text(s->context, line);
}

static int put(treebank_state *s, const char *name, const treebank_rate *rates) {
    static const char *const axes[] = {"levels"};
    char full[64];
    double *out = s->host->array(s->context, name, PSC_F64, 1, axes);
    if (!out) return -1;
    for (int32_t l = 0; l < s->levels.n; l++) out[l] = treebank_share(&rates[l]);
    snprintf(full, sizeof full, "%s_n", name);
    if (s->host->value_number(s->context, full, rates[0].n)) return -1;
    snprintf(full, sizeof full, "%s_random", name);
    return s->host->value_number(s->context, full, treebank_share(&rates[s->levels.n]));
}

/* A row of the table: entry i of each. */
static int say_row(treebank_state *s, const char *title, const char *name, int32_t i) {
    char line[160];
    snprintf(line, sizeof line, "%s%-*.40s %7.3f %7.3f %8.3f", title, (int)(24 - strlen(title)),
        name, treebank_share(&s->words[i]), treebank_share(&s->pair_words[i]),
        treebank_share(&s->pairs[i]));
    return s->host->summary_text(s->context, line);
}

int treebank_words_report(treebank_state *s) {
    char line[160];
    if (put(s, "words", s->words) || put(s, "pair_words", s->pair_words) ||
        put(s, "pairs", s->pairs) ||
        s->host->summary_text(s->context,
            "Brackets among words of several tokens; in short sentences, among words of two tokens "
            "and adjacent tokens of two words:"))
        return -1;
    snprintf(line, sizeof line, "%-24s %7s %7s %8s", "brackets", "several", "two", "adjacent");
    if (s->host->summary_text(s->context, line)) return -1;
    for (int32_t l = 0; l < s->levels.n; l++)
        if (say_row(s, "level ", s->levels.names[l], l)) return -1;
    if (say_row(s, "", "random tree", s->levels.n)) return -1;
    snprintf(line, sizeof line, "%-24s %7.0f %7.0f %8.0f", "number", s->words[0].n,
        s->pair_words[0].n, s->pairs[0].n);
    return s->host->summary_text(s->context, line);
}

int treebank_shared_report(treebank_state *s) {
    static const char *const axes[] = {"levels", "other_levels"};
    if (s->host->axis_labels(s->context, "other_levels", s->levels.n, s->levels.names)) return -1;
    double *out = s->host->array(s->context, "shared", PSC_F64, 2, axes);
    if (!out) return -1;
    for (int64_t i = 0; i < (int64_t)s->levels.n * s->levels.n; i++)
        out[i] = treebank_share(&s->shared[i]);
    for (int32_t l = 0; l + 1 < s->levels.n; l++) {
        char line[96];
        snprintf(line, sizeof line,
            "brackets of level %.40s shared with the levels after it:", s->levels.names[l]);
        if (line_of(s, line, &s->shared[(int64_t)l * s->levels.n + l + 1], s->levels.n - l - 1))
            return -1;
    }
    return 0;
}
