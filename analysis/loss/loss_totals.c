/* Totals of windows, and their accumulators over documents.
 *
 *   by window    sums of the loss X, of X X and X n for its n tokens, of the in-context score and its
 *                square; counts of windows, n, n n, bytes, words
 *   by position  sums and counts of the tokens at each position of a window
 *   by token     sums and counts of each token of the vocabulary
 *
 * A window's sum is f64 in row order and enters once; a position's and a token's are one loss each.
 * So all totals are exact, whatever the batches, shards and stops (docs/corpus.md). */
#include "loss.h"

#include <string.h>

int loss_totals_open(loss_state *s) {
    const struct {
        int *handle;
        const char *name;
        psc_accumulate kind;
        int64_t n;
    } all[] = {{&s->sums, "sums", PSC_ACCUMULATE_SUM, LOSS_SUMS},
        {&s->counts, "counts", PSC_ACCUMULATE_COUNT, LOSS_COUNTS},
        {&s->at_sums, "position.sums", PSC_ACCUMULATE_SUM, LOSS_MEASURES * (int64_t)s->n_ctx},
        {&s->at_counts, "position.counts", PSC_ACCUMULATE_COUNT, s->n_ctx},
        {&s->token_sums, "token.sums", PSC_ACCUMULATE_SUM, LOSS_MEASURES * (int64_t)s->n_vocab},
        {&s->token_counts, "token.counts", PSC_ACCUMULATE_COUNT, s->n_vocab}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i].handle = s->host->accumulator(s->context, all[i].name, all[i].kind, all[i].n, 0);
        if (*all[i].handle < 0) return -1;
    }
    return 0;
}

int32_t loss_sequence_end(const loss_state *s, int32_t begin) {
    int32_t end = begin + 1;
    while (end < s->rows.n_all && s->all[end].sequence == s->all[begin].sequence) end++;
    return end;
}

/* --- bytes and words ------------------------------------------------------------------------- */

static int is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Whether a word may begin after these bytes: after white space, after a token without a text, and
 * after one like <|endoftext|>, which separates texts. */
static int ends_word(const char *bytes, uint64_t n) {
    const int special = n > 4 && !memcmp(bytes, "<|", 2) && !memcmp(bytes + n - 2, "|>", 2);
    return n == 0 || special || is_space(bytes[n - 1]);
}

/* Adds a token's bytes, and the words that begin in it. */
static void add_text(const loss_state *s, const psc_row *row, double *counts) {
    uint64_t n_before = 0, n = 0;
    const char *before = s->host->token_bytes(s->context, row[-1].token, &n_before);
    const char *bytes = s->host->token_bytes(s->context, row->token, &n);
    if (!bytes) return;
    int open = !before || ends_word(before, n_before);
    for (uint64_t i = 0; i < n; i++) {
        counts[LOSS_WORDS] += open && !is_space(bytes[i]);
        open = is_space(bytes[i]);
    }
    counts[LOSS_BYTES] += (double)n;
}

/* --- a window -------------------------------------------------------------------------------- */

static void add_moments(loss_totals *out, int measure, double sum, double tokens) {
    double *to = out->sums + (ptrdiff_t)measure * LOSS_MOMENTS;
    to[LOSS_SUM] += sum;
    to[LOSS_SQUARE] += sum * sum;
    to[LOSS_WITH_TOKENS] += sum * tokens;
}

void loss_totals_window(const loss_state *s, int32_t begin, int32_t end, loss_totals *out) {
    double sum = 0.0, change = 0.0, tokens = 0.0;
    int32_t early = -1, late = -1;
    for (int32_t i = begin; i < end; i++) {
        if (!s->is_scored[i]) continue;
        sum += s->loss[i];
        change += s->change ? s->change[i] : 0.0;
        tokens += 1.0;
        add_text(s, &s->all[i], out->counts);
        if (s->all[i].position == s->early) early = i;
        if (s->all[i].position == s->late) late = i;
    }
    if (tokens == 0.0) return;
    add_moments(out, LOSS_OWN, sum, tokens);
    if (s->change) add_moments(out, LOSS_CHANGE, change, tokens);
    out->counts[LOSS_WINDOWS] += 1.0;
    out->counts[LOSS_TOKENS] += tokens;
    out->counts[LOSS_TOKENS_SQUARE] += tokens * tokens;
    out->counts[LOSS_COMPARED] += s->change != NULL;
    if (early < 0 || late < 0) return;
    const double score = s->loss[late] - s->loss[early];
    out->sums[LOSS_SCORE] += score;
    out->sums[LOSS_SCORE_SQUARE] += score * score;
    out->counts[LOSS_SCORES] += 1.0;
}

/* --- accumulation ---------------------------------------------------------------------------- */

/* The position's and the token's slots of one scored row. */
static int add_row(loss_state *s, int32_t i) {
    const psc_host *host = s->host;
    const psc_row *row = &s->all[i];
    const double one = 1.0;
    if (host->accumulate(s->context, s->at_counts, row->position, 1, &one) ||
        host->accumulate(s->context, s->token_counts, row->token, 1, &one) ||
        host->accumulate(s->context, s->at_sums, row->position, 1, &s->loss[i]) ||
        host->accumulate(s->context, s->token_sums, row->token, 1, &s->loss[i]))
        return -1;
    if (!s->change) return 0;
    const int64_t at = (int64_t)s->n_ctx + row->position, of = (int64_t)s->n_vocab + row->token;
    return host->accumulate(s->context, s->at_sums, at, 1, &s->change[i]) ||
           host->accumulate(s->context, s->token_sums, of, 1, &s->change[i]);
}

int loss_totals_add(loss_state *s) {
    const psc_host *host = s->host;
    for (int32_t begin = 0, end; begin < s->rows.n_all; begin = end) {
        loss_totals window = {{0}, {0}};
        end = loss_sequence_end(s, begin);
        loss_totals_window(s, begin, end, &window);
        if (host->accumulate(s->context, s->sums, 0, LOSS_SUMS, window.sums) ||
            host->accumulate(s->context, s->counts, 0, LOSS_COUNTS, window.counts))
            return -1;
        for (int32_t i = begin; i < end; i++)
            if (s->is_scored[i] && add_row(s, i)) return -1;
    }
    return 0;
}
