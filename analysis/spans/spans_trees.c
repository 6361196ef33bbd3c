/* Units and trees of every sequence and level, and what trees share.
 *
 * A tree over n units has n - 1 brackets. The whole is in every tree, so overlaps leave it out. */
#include "spans.h"

#include <string.h>

const char *const spans_prior_names[PRIOR_COUNT] = {
    "right-branching", "left-branching", "balanced", "random, expected"};

/* --- units ----------------------------------------------------------------------------------- */

/* A run of one sequence with its text has the whole text: a range outside it is refused. Sequences
 * side by side, of a corpus, or of ids that later runs continue have what
 * they have of the range. */
static int is_whole(const spans_state *s) {
    uint64_t bytes;
    return s->reads.n == 1 && s->reads.sequences[0].first == 0 &&
           !s->host->accumulating(s->context) && s->host->text(s->context, &bytes);
}

static int check_range(spans_state *s, int32_t n) {
    if (s->range_end == 0 || s->range_end <= n) return 0;
    s->n_short++;
    if (!is_whole(s)) return 0;
    if (n < 2)
        return s->host->fail(s->context, "range=%.40s: the text has no units", s->range_text);
    return s->host->fail(s->context, "range=%.40s is outside the text, which has positions 1-%d",
        s->range_text, (int)n - 1);
}

/* Leaves the units that lie inside range=, and counts those that it cuts. */
static int restrict_units(spans_state *s, psc_units *units) {
    int32_t from = 0, end = units->n;
    if (s->range_end == 0) return 0;
    while (from < end && units->begin[from] < s->range_begin) from++;
    while (end > from && units->begin[end] > s->range_end) end--;
    for (int32_t u = 0; u < units->n; u++)
        s->n_cut += (u < from || u >= end) && units->begin[u] < s->range_end &&
                    units->begin[u + 1] > s->range_begin;
    if (from == end && is_whole(s))
        return s->host->fail(s->context,
            "range=%.40s holds no whole word; give the positions of a whole word at least",
            s->range_text);
    units->begin += from;
    units->content += from;
    units->n = end - from;
    return 0;
}

int spans_units(spans_state *s) {
    const psc_reads *reads = &s->reads;
    s->n_sequences = reads->n;
    s->n_units = s->n_spans = s->n_cut = s->n_short = s->appended = 0;
    s->sequences = s->host->run_alloc(s->context, (uint64_t)reads->n * sizeof *s->sequences + 1);
    if (!s->sequences) return -1;
    for (int32_t i = 0; i < reads->n; i++) {
        spans_sequence *q = &s->sequences[i];
        const psc_reads_sequence *of = &reads->sequences[i];
        if (check_range(s, of->n)) return -1;
        if ((s->unit == UNIT_WORDS ? psc_units_words : psc_units_tokens)(
                s->context, s->host, of->tokens, of->n, &q->units))
            return -1;
        if (restrict_units(s, &q->units)) return -1;
        q->first_unit = s->n_units;
        q->first_span = s->n_spans;
        q->n_spans = q->units.n > 1 ? q->units.n - 1 : 0;
        s->n_units += q->units.n;
        s->n_spans += q->n_spans;
        s->appended |= of->first > 0;
    }
    return 0;
}

/* --- trees ----------------------------------------------------------------------------------- */

/* i counts sequences within levels. */
static void make_trees(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const spans_state *s = payload;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int32_t level = (int32_t)(i / s->n_sequences), q = (int32_t)(i % s->n_sequences);
        const psc_units *units = &s->sequences[q].units;
        psc_cuts_tree(psc_reads_sums(&s->reads, q, level), units->begin, units->n, s->weights,
            spans_tree(s, level, q));
    }
}

/* What the trees of one sequence share with each other. */
static void compare_levels(spans_state *s, int32_t q, int32_t *where) {
    const int32_t n_levels = s->levels.n, n = s->sequences[q].units.n;
    for (int32_t a = 0; a < n_levels; a++)
        for (int32_t b = 0; b < n_levels; b++) {
            const int64_t from = (int64_t)a * s->n_spans + s->sequences[q].first_span;
            s->shared[a * n_levels + b] +=
                psc_tree_shared(n, spans_tree(s, a, q), spans_tree(s, b, q), where);
            for (int32_t i = 0; i < s->sequences[q].n_spans; i++)
                s->same[(from + i) * n_levels + b] = where[i];
        }
}

/* What they share with trees that know nothing of the model. */
static void compare_priors(spans_state *s, int32_t q, psc_bracket *tree) {
    static const psc_tree_kind kinds[] = {PSC_TREE_RIGHT, PSC_TREE_LEFT, PSC_TREE_BALANCED};
    const int32_t n = s->sequences[q].units.n;
    for (int p = 0; p < PRIOR_RANDOM; p++) {
        psc_tree_fixed(kinds[p], n, 0, tree);
        for (int32_t level = 0; level < s->levels.n; level++)
            s->overlap[level * PRIOR_COUNT + p] +=
                psc_tree_shared(n, spans_tree(s, level, q), tree, NULL);
    }
    for (int32_t level = 0; level < s->levels.n; level++) {
        const psc_bracket *own = spans_tree(s, level, q);
        double sum = 0.0;
        for (int32_t i = 1; i < s->sequences[q].n_spans; i++)
            sum += psc_tree_chance(n, own[i].begin, own[i].end);
        s->chance[(int64_t)q * s->levels.n + level] = sum;
        s->overlap[level * PRIOR_COUNT + PRIOR_RANDOM] += sum;
    }
}

static int make_room(spans_state *s, int32_t longest) {
    const psc_host *host = s->host;
    const uint64_t levels = (uint64_t)s->levels.n, cells = levels * (uint64_t)s->n_spans;
    s->weights = host->run_alloc(s->context, ((uint64_t)longest + 1) * sizeof *s->weights);
    s->brackets = host->run_alloc(s->context, cells * sizeof *s->brackets + 1);
    s->same = host->run_alloc(s->context, cells * levels * sizeof *s->same + 1);
    s->shared = host->run_alloc(s->context, levels * levels * sizeof *s->shared);
    s->overlap = host->run_alloc(s->context, levels * PRIOR_COUNT * sizeof *s->overlap);
    s->chance =
        host->run_alloc(s->context, levels * (uint64_t)s->n_sequences * sizeof *s->chance + 1);
    return s->weights && s->brackets && s->same && s->shared && s->overlap && s->chance ? 0 : -1;
}

int spans_make_trees(spans_state *s) {
    int32_t longest = 0;
    for (int32_t q = 0; q < s->n_sequences; q++)
        if (s->reads.sequences[q].n > longest) longest = s->reads.sequences[q].n;
    psc_bracket *tree = s->host->run_alloc(s->context, ((uint64_t)longest + 1) * sizeof *tree);
    int32_t *where = s->host->run_alloc(s->context, ((uint64_t)longest + 1) * sizeof *where);
    if (!tree || !where || make_room(s, longest)) return -1;
    psc_cuts_weights(s->power, longest, s->weights);
    s->host->parallel_for(s->context, (int64_t)s->levels.n * s->n_sequences, make_trees, s);
    s->n_inner = 0.0;
    for (int32_t q = 0; q < s->n_sequences; q++) {
        if (s->sequences[q].n_spans > 1) s->n_inner += s->sequences[q].n_spans - 1;
        compare_levels(s, q, where);
        compare_priors(s, q, tree);
    }
    return 0;
}
