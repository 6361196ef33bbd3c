/* Heads of gold spans [a, b], in short sentences, over the rows k after the span.
 *
 *   necessity(j)     sum_k KL(p_k || p'_k), rows after b may not read unit j
 *   sufficiency(j)   the negative of it when of [a, b] they may read only j
 *   reads^l(j)       sum_k R^l_kj
 *
 * A head is the content unit with the largest value, ties to the first. Beside them stand the last
 * unit, the longest one (by the lemma's characters, ties to the last) and UD's head. */
#include "treebank.h"

#include <stdio.h>
#include <string.h>

enum { UNITS_LEAST = 5, UNITS_MOST = 20, ROWS_MOST = 36, SENTENCES = 220 };
enum { SPAN_LEAST = 2, SPAN_MOST = 8, ROWS_AFTER = 2 };

/* One gold span, in units. */
typedef struct heads_span {
    int32_t begin, end, head; /* content units' unit numbers; UD's head */
} heads_span;

int treebank_heads_wants(const treebank_state *s, const treebank_case *c) {
    return s->heads.n_sentences < SENTENCES && c->n_content >= UNITS_LEAST &&
           c->n_content <= UNITS_MOST && c->n_tokens + 1 <= ROWS_MOST;
}

int treebank_heads_done(const treebank_state *s) {
    return s->heads.n_sentences >= SENTENCES;
}

/* The unit with a content unit's number. */
static int32_t unit_of(const treebank_case *c, int32_t content) {
    int32_t u = 0;
    while (c->content[u + 1] <= content) u++;
    return u;
}

/* The gold spans that count, each once, with the unit of their first word's head. */
static int32_t list_spans(treebank_state *s, const treebank_case *c, heads_span *out) {
    int32_t *words = s->marks + 4 * c->sentence->n, n = 0;
    const int32_t n_yields = treebank_yields(c, s->spans, words, s->marks);
    for (int32_t i = 0; i < n_yields; i++) {
        const psc_span *y = &s->spans[i];
        const int32_t length = y->end - y->begin + 1;
        int32_t same = 0;
        while (same < i && (s->spans[same].begin != y->begin || s->spans[same].end != y->end))
            same++;
        if (same < i || length < SPAN_LEAST || length > SPAN_MOST) continue;
        const int32_t end = unit_of(c, y->end);
        if (c->n_tokens - 1 - c->units[end].last < ROWS_AFTER) continue;
        out[n++] = (heads_span){unit_of(c, y->begin), end, c->of_word[words[i]]};
    }
    return n;
}

/* --- candidates ------------------------------------------------------------------------------ */

static int32_t largest(const treebank_case *c, const heads_span *x, const double *value) {
    int32_t best = -1;
    for (int32_t u = x->begin; u <= x->end; u++)
        if (c->units[u].content && (best < 0 || value[u - x->begin] > value[best - x->begin]))
            best = u;
    return best;
}

static int32_t characters(const char *text) {
    int32_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static int32_t longest(const treebank_case *c, const heads_span *x) {
    int32_t best = -1, most = -1;
    for (int32_t u = x->begin; u <= x->end; u++) {
        const psc_word *word = &c->sentence->words[c->units[u].word];
        const int32_t n = characters(*word->lemma ? word->lemma : word->form);
        if (!c->units[u].content || n < most) continue;
        most = n;
        best = u;
    }
    return best;
}

static int32_t by_reads(
    treebank_state *s, const treebank_case *c, const heads_span *x, int32_t level) {
    double value[ROWS_MOST] = {0};
    for (int32_t k = c->units[x->end].last + 2; k <= c->n_tokens; k++) {
        const double *row = psc_reads_row(&s->reads, c->sequence, level, k);
        for (int32_t u = x->begin; u <= x->end; u++)
            for (int32_t t = c->units[u].first; t <= c->units[u].last; t++)
                value[u - x->begin] += row[t + 1];
    }
    return largest(c, x, value);
}

/* Necessity, or the negative of sufficiency, of each unit of the span. */
static int knock_out(
    treebank_state *s, const treebank_case *c, const heads_span *x, int only, double *value) {
    const int32_t after = c->units[x->end].last + 2, begin = c->units[x->begin].first + 1;
    for (int32_t u = x->begin; u <= x->end; u++) {
        const int32_t first = c->units[u].first + 1, end = c->units[u].last + 2;
        const psc_knockout cut = {.row_begin = after,
            .row_end = c->n_tokens + 1,
            .from = {only ? begin : first, end},
            .to = {only ? first : end, only ? after : end}};
        if (psc_knockouts_add(&s->knockouts, &cut, &value[u - x->begin], NULL)) return -1;
    }
    return 0;
}

/* --- counting -------------------------------------------------------------------------------- */

static int add_span(treebank_state *s, const treebank_case *c, const heads_span *x,
    const double *necessity, const double *sufficiency) {
    treebank_heads *h = &s->heads;
    const int32_t need = largest(c, x, necessity), enough = largest(c, x, sufficiency);
    h->n += 1.0;
    h->agree += need == enough;
    h->need_last += need == x->end;
    h->ud_need += need == x->head;
    h->ud_enough += enough == x->head;
    h->ud_last += x->end == x->head;
    h->ud_longest += longest(c, x) == x->head;
    h->chance += 1.0 / (double)(c->content[x->end + 1] - c->content[x->begin]);
    for (int32_t l = 0; l < s->levels.n; l++) {
        const int32_t reads = by_reads(s, c, x, l);
        h->need_reads[l] += need == reads;
        h->ud_reads[l] += reads == x->head;
    }
    return s->what & TREEBANK_COMPARISONS
               ? treebank_similar_add(s, c, x->begin, x->end, x->head, need)
               : 0;
}

int treebank_heads_add(treebank_state *s, const treebank_case *c) {
    heads_span spans[UNITS_MOST];
    double necessity[UNITS_MOST][ROWS_MOST], sufficiency[UNITS_MOST][ROWS_MOST] = {{0}};
    const int32_t n = list_spans(s, c, spans);
    s->heads.n_sentences++;
    if (n == 0) return 0;
    if (psc_knockouts_open(&s->knockouts, c->rows[0].index, c->n_tokens + 1)) return -1;
    for (int32_t i = 0; i < n; i++)
        if (knock_out(s, c, &spans[i], 0, necessity[i]) ||
            knock_out(s, c, &spans[i], 1, sufficiency[i]))
            return -1;
    if (psc_knockouts_flush(&s->knockouts)) return -1;
    for (int32_t i = 0; i < n; i++) {
        for (int32_t j = 0; j < ROWS_MOST; j++) sufficiency[i][j] = -sufficiency[i][j];
        if (add_span(s, c, &spans[i], necessity[i], sufficiency[i])) return -1;
    }
    return 0;
}

/* --- the report ------------------------------------------------------------------------------ */

static int put(treebank_state *s, const char *name, double hits) {
    return s->host->value_number(
        s->context, name, s->heads.n > 0.0 ? hits / s->heads.n : (double)NAN);
}

int treebank_heads_report(treebank_state *s) {
    static const char *const axes[] = {"levels"};
    const treebank_heads *h = &s->heads;
    const psc_host *host = s->host;
    const double n = h->n;
    char line[400];
    double *need = host->array(s->context, "heads_reads_necessity", PSC_F64, 1, axes);
    double *ud = host->array(s->context, "heads_reads_ud", PSC_F64, 1, axes);
    if (!need || !ud || host->value_number(s->context, "heads_spans", n) ||
        put(s, "heads_necessity_sufficiency", h->agree) ||
        put(s, "heads_last_necessity", h->need_last) || put(s, "heads_necessity_ud", h->ud_need) ||
        put(s, "heads_sufficiency_ud", h->ud_enough) || put(s, "heads_last_ud", h->ud_last) ||
        put(s, "heads_longest_ud", h->ud_longest) || put(s, "heads_chance_ud", h->chance))
        return -1;
    snprintf(line, sizeof line,
        "heads of %s gold spans in %s sentences: necessity is sufficiency %.3f, the last unit "
        "%.3f; UD's head is the last unit %.3f, the longest %.3f, necessity %.3f, sufficiency %.3f, "
        "chance %.3f",
        PSC_COMMAS(n), PSC_COMMAS(h->n_sentences), h->agree / n, h->need_last / n, h->ud_last / n,
        h->ud_longest / n, h->ud_need / n, h->ud_enough / n, h->chance / n);
    if (host->summary_text(s->context, line)) return -1;
    for (int32_t l = 0; l < s->levels.n; l++) {
        need[l] = n > 0.0 ? h->need_reads[l] / n : (double)NAN;
        ud[l] = n > 0.0 ? h->ud_reads[l] / n : (double)NAN;
        snprintf(line, sizeof line, "reads at level %.40s: necessity %.3f, UD's head %.3f",
            s->levels.names[l], need[l], ud[l]);
        if (host->summary_text(s->context, line)) return -1;
    }
    return s->what & TREEBANK_COMPARISONS ? treebank_similar_report(s) : 0;
}
