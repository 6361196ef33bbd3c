/* Modifier links in short sentences, against the edges of UD's trees at equal distance.
 *
 *   effect(j -> k)   KL(p_k || p'_k) at unit k's last row, k's rows may not read unit j, j < k
 *   AUROC            P(the effect of an edge > that of another pair), pairs k - j units apart
 *
 * Beside it stands the rank correlation of the effects with their frozen counterparts
 * (kit/links.h). Units here are the sentence's units without punctuation. An edge joins a word of
 * one with a word of the other, in either direction. */
#include "treebank.h"

#include <stdio.h>
#include <string.h>

enum { UNITS_LEAST = 4, UNITS_MOST = 25, ROWS_MOST = 48, SENTENCES = 100 };

int treebank_links_wants(const treebank_state *s, const treebank_case *c) {
    return s->links.n_sentences < SENTENCES && c->n_content >= UNITS_LEAST &&
           c->n_content <= UNITS_MOST && c->n_tokens + 1 <= ROWS_MOST;
}

int treebank_links_done(const treebank_state *s) {
    return s->links.n_sentences >= SENTENCES;
}

int treebank_links_open(treebank_state *s) {
    const uint64_t most = (uint64_t)SENTENCES * (UNITS_MOST * (UNITS_MOST - 1) / 2);
    s->links.pairs = s->host->life_alloc(s->context, most * sizeof *s->links.pairs);
    return s->links.pairs ? 0 : -1;
}

static int is_edge(const treebank_case *c, int32_t a, int32_t b) {
    for (int32_t w = 0; w < c->sentence->n; w++) {
        const int32_t head = c->sentence->words[w].head;
        if (head < 0) continue;
        const int32_t u = c->of_word[w], v = c->of_word[head];
        if ((u == a && v == b) || (u == b && v == a)) return 1;
    }
    return 0;
}

/* The sentence's units as ranges of positions without gaps: a token between words is one of its
 * own. of [ranges]: the unit, or -1. */
static int make_ranges(treebank_state *s, const treebank_case *c, psc_units *out, int32_t **of) {
    const uint64_t n = (uint64_t)c->n_tokens + 1;
    out->n = 0;
    out->begin = s->host->run_alloc(s->context, n * sizeof *out->begin);
    *of = s->host->run_alloc(s->context, n * sizeof **of);
    if (!out->begin || !*of) return -1;
    for (int32_t t = 0; t < c->n_tokens; t++) {
        if (t > 0 && c->of_token[t] >= 0 && c->of_token[t] == c->of_token[t - 1]) continue;
        (*of)[out->n] = c->of_token[t];
        out->begin[out->n++] = t + 1;
    }
    out->begin[out->n] = c->n_tokens + 1;
    return 0;
}

static int is_content(const treebank_case *c, int32_t unit) {
    return unit >= 0 && c->units[unit].content;
}

int treebank_links_add(treebank_state *s, const treebank_case *c) {
    psc_units ranges;
    int32_t *of = NULL;
    if (make_ranges(s, c, &ranges, &of)) return -1;
    const int64_t n = psc_links_count(ranges.n, 0);
    psc_link *links = s->host->run_alloc(s->context, (uint64_t)n * sizeof *links + 1);
    if (!links) return -1;
    psc_links_list(ranges.n, 0, links);
    if (psc_knockouts_open(&s->knockouts, c->rows[0].index, c->n_tokens + 1) ||
        psc_links_causal(&s->knockouts, &ranges, n, links) ||
        psc_frozen_links_find(&s->frozen, &ranges, 0, links))
        return -1;
    for (int64_t i = 0; i < n; i++) {
        const int32_t from = of[links[i].from], to = of[links[i].to];
        if (!is_content(c, from) || !is_content(c, to)) continue;
        s->links.pairs[s->links.n++] = (treebank_pair){
            links[i].kl, links[i].frozen, c->content[to] - c->content[from], is_edge(c, from, to)};
    }
    s->links.n_sentences++;
    return 0;
}

/* --- the report ------------------------------------------------------------------------------ */

enum { DISTANCES = 4 };

static double auroc_at(treebank_state *s, int32_t distance, double *score, uint8_t *positive,
    double *ranks, psc_rank_entry *scratch) {
    int64_t n = 0;
    for (int64_t i = 0; i < s->links.n; i++) {
        if (s->links.pairs[i].distance != distance) continue;
        score[n] = s->links.pairs[i].kl;
        positive[n++] = (uint8_t)s->links.pairs[i].edge;
    }
    return psc_auroc(n, score, positive, ranks, scratch);
}

static double correlation(
    treebank_state *s, double *score, double *ranks, psc_rank_entry *scratch) {
    const int64_t n = s->links.n;
    for (int64_t i = 0; i < n; i++) {
        score[i] = s->links.pairs[i].kl;
        score[n + i] = s->links.pairs[i].frozen;
    }
    return psc_spearman(n, score, score + n, ranks, scratch);
}

int treebank_links_report(treebank_state *s) {
    static const char *const axes[] = {"distances"};
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->links.n + 1;
    double *score = host->run_alloc(s->context, 2 * n * sizeof *score);
    double *ranks = host->run_alloc(s->context, 2 * n * sizeof *ranks);
    uint8_t *positive = host->run_alloc(s->context, n);
    psc_rank_entry *scratch = host->run_alloc(s->context, n * sizeof *scratch);
    char line[256];
    if (!score || !ranks || !positive || !scratch ||
        psc_count_axis(s->context, host, "distances", 1, DISTANCES))
        return -1;
    double *out = host->array(s->context, "links_auroc", PSC_F64, 1, axes);
    const double rho = correlation(s, score, ranks, scratch);
    if (!out || host->value_number(s->context, "links_pairs", (double)s->links.n) ||
        host->value_number(s->context, "links_frozen_spearman", rho))
        return -1;
    int at = snprintf(line, sizeof line,
        "links of %s pairs in %s sentences: frozen effects' rank correlation %.3f; AUROC of "
        "effects for UD's edges, 1 to %d units apart:",
        PSC_COMMAS(s->links.n), PSC_COMMAS(s->links.n_sentences), rho, DISTANCES);
    for (int32_t d = 0; d < DISTANCES; d++) {
        out[d] = auroc_at(s, d + 1, score, positive, ranks, scratch);
        at += snprintf(line + at, sizeof line - (size_t)at, " %.3f", out[d]);
    }
    return host->summary_text(s->context, line);
}
