/* One labelled sentence: its units, its gold spans, and spans of trees in the same terms.
 *
 * A unit is a UD word, or the words that share a token. A content unit is not punctuation only. All
 * spans are ranges of content units, numbered from 0, so a bracket may hold any punctuation:
 *   gold      the content units of a word and everything below it, if they are contiguous
 *   tree      a bracket of tokens with whole content units and no part of another */
#include "treebank.h"

/* --- units ----------------------------------------------------------------------------------- */

int treebank_case_make(treebank_state *s, treebank_case *c) {
    psc_word_units all;
    const uint64_t n = (uint64_t)c->sentence->n;
    if (psc_word_units_open(s->context, s->host, c->rows + 1, 0, c->n_tokens, &all)) return -1;
    c->of_word = s->host->run_alloc(s->context, n * sizeof *c->of_word);
    c->content = s->host->run_alloc(s->context, (n + 1) * sizeof *c->content);
    if (!c->of_word || !c->content) return -1;
    psc_word_units_add(&all, c->sentence, c->of_word);
    c->n_units = all.n;
    c->units = all.units;
    c->of_token = all.of_row;
    for (int32_t u = 0; u < c->n_units; u++)
        c->content[u + 1] = c->content[u] + c->units[u].content;
    c->n_content = c->content[c->n_units];
    return 0;
}

/* --- gold spans ------------------------------------------------------------------------------ */

int32_t treebank_yields(const treebank_case *c, psc_span *out, int32_t *words, int32_t *scratch) {
    const int32_t n_words = c->sentence->n;
    int32_t *low = scratch, *high = low + n_words, *count = high + n_words, *last = count + n_words;
    int32_t n = 0;
    for (int32_t w = 0; w < n_words; w++) count[w] = 0, last[w] = -1;
    for (int32_t w = 0; w < n_words; w++) {
        const int32_t unit = c->of_word[w];
        if (unit < 0 || !c->units[unit].content) continue;
        const int32_t at = c->content[unit];
        for (int32_t up = w; up >= 0; up = c->sentence->words[up].head) {
            if (last[up] == unit) continue; /* another word of the unit was counted */
            if (count[up]++ == 0) low[up] = at;
            high[up] = at;
            last[up] = unit;
        }
    }
    for (int32_t w = 0; w < n_words; w++) {
        if (count[w] < 2 || high[w] - low[w] + 1 != count[w] || count[w] >= c->n_content) continue;
        if (words) words[n] = w;
        out[n++] = (psc_span){low[w], high[w]};
    }
    return n;
}

int32_t treebank_gold(const treebank_case *c, psc_span *out, int32_t *scratch) {
    return psc_spans_unique(treebank_yields(c, out, NULL, scratch), out);
}

/* --- spans of trees -------------------------------------------------------------------------- */

/* The content units of tokens begin..end; nonzero if they make a span. Tokens between words belong
 * to none. */
static int project(const treebank_case *c, int32_t begin, int32_t end, psc_span *out) {
    while (begin <= end && c->of_token[begin] < 0) begin++;
    while (begin <= end && c->of_token[end] < 0) end--;
    if (begin > end) return 0;
    int32_t first = c->of_token[begin], last = c->of_token[end];
    const int cut_first = c->units[first].first<begin, cut_last = c->units[last].last> end;
    if ((cut_first && c->units[first].content) || (cut_last && c->units[last].content)) return 0;
    first += cut_first;
    last -= cut_last;
    if (last < first) return 0;
    out->begin = c->content[first];
    out->end = c->content[last + 1] - 1;
    const int32_t n = out->end - out->begin + 1;
    return n >= 2 && n < c->n_content;
}

int32_t treebank_project(
    const treebank_case *c, int32_t n, const psc_bracket *brackets, psc_span *out) {
    int32_t kept = 0;
    for (int32_t i = 0; i < n; i++)
        kept += project(c, brackets[i].begin, brackets[i].end, &out[kept]);
    return psc_spans_unique(kept, out);
}

int32_t treebank_project_spans(const treebank_case *c, int32_t n, psc_span *spans) {
    int32_t kept = 0;
    for (int32_t i = 0; i < n; i++) {
        const psc_span tokens = spans[i];
        kept += project(c, tokens.begin, tokens.end, &spans[kept]);
    }
    return psc_spans_unique(kept, spans);
}

void treebank_tree(
    treebank_state *s, int32_t sequence, int32_t level, int32_t n, psc_bracket *out) {
    psc_cuts_tree(psc_reads_sums(&s->reads, sequence, level), s->at, n, s->half, out);
}

/* Prefix sums of one level as if tokens of no unit were not there; where each unit begins. */
static void sum_units(treebank_state *s, const treebank_case *c, int32_t level) {
    int32_t n = 1, unit = -1; /* positions so far, BOS first */
    psc_cuts_extend(s->sums, 0, s->row);
    for (int32_t t = 0; t < c->n_tokens; t++) {
        if (c->of_token[t] < 0) continue;
        const double *reads = psc_reads_row(&s->reads, c->sequence, level, t + 1);
        if (c->of_token[t] != unit) s->unit_at[unit = c->of_token[t]] = n;
        s->marks[n] = t + 1;
        for (int32_t j = 1; j < n; j++) s->row[j] = reads[s->marks[j]];
        psc_cuts_extend(s->sums, n++, s->row);
    }
    s->unit_at[c->n_units] = n;
}

int32_t treebank_unit_tree(treebank_state *s, const treebank_case *c, int32_t level) {
    sum_units(s, c, level);
    psc_cuts_tree(s->sums, s->unit_at, c->n_units, s->half, s->tree);
    for (int32_t i = 0; i + 1 < c->n_units; i++) {
        s->tree[i].begin = c->units[s->tree[i].begin].first;
        s->tree[i].end = c->units[s->tree[i].end].last;
    }
    return c->n_units - 1;
}

/* --- trees that know nothing of the model ---------------------------------------------------- */

int32_t treebank_split(int32_t n, treebank_split_fn split, void *payload, psc_span *out) {
    int32_t made = 0, waiting = 0;
    psc_span now = {0, n - 1};
    for (;;) {
        const int32_t after = split(now.begin, now.end, payload);
        const psc_span left = {now.begin, after}, right = {after + 1, now.end};
        if (right.end > right.begin) out[n - ++waiting] = right;
        if (left.end > left.begin)
            now = left;
        else if (waiting > 0)
            now = out[n - waiting--];
        else
            return made;
        out[made++] = now;
    }
}

/* Right-branching over the stretches between punctuation, and inside each of them. */
static int32_t punctuation_tree(const treebank_case *c, psc_span *out) {
    int32_t n = 0;
    const int32_t last = c->n_content - 1;
    for (int32_t u = 0; u < c->n_units; u++) {
        const int fresh = u == 0 || !c->units[u - 1].content;
        if (!c->units[u].content) continue;
        int32_t end = u;
        while (end + 1 < c->n_units && c->units[end + 1].content) end++;
        const psc_span to_end = {c->content[u], last}, inside = {c->content[u], c->content[end]};
        if (fresh && to_end.begin > 0 && to_end.begin < last) out[n++] = to_end;
        if (inside.end > inside.begin && inside.end - inside.begin < last) out[n++] = inside;
    }
    return n;
}

int32_t treebank_baseline_spans(
    const treebank_case *c, treebank_baseline kind, uint64_t *seed, psc_span *out) {
    static const psc_tree_kind kinds[] = {[BASELINE_LEFT] = PSC_TREE_LEFT,
        [BASELINE_RIGHT] = PSC_TREE_RIGHT,
        [BASELINE_BALANCED] = PSC_TREE_BALANCED,
        [BASELINE_RANDOM] = PSC_TREE_RANDOM};
    psc_bracket tree[TREEBANK_MOST];
    int32_t n = 0;
    if (c->n_content < 2) return 0;
    if (kind == BASELINE_PUNCTUATION) return psc_spans_unique(punctuation_tree(c, out), out);
    psc_tree_fixed(
        kinds[kind], c->n_content, kind == BASELINE_RANDOM ? psc_tree_random(seed) : 0, tree);
    for (int32_t i = 1; i + 1 < c->n_content; i++)
        out[n++] = (psc_span){tree[i].begin, tree[i].end};
    return psc_spans_unique(n, out);
}
