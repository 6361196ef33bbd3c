/* The printed summary of one run: what each level's trees share with others, and in a continued
 * sequence what the new rows closed and revised. */
#include "spans.h"

#include <stdio.h>

static int say_prefixes(const spans_state *s, int32_t level) {
    char line[200];
    const double *stood = s->stood + STOOD_COUNT * level;
    if (!(stood[STOOD_CLOSED] > 0.0) || !(stood[STOOD_ENDED] > 0.0)) return 0;
    snprintf(line, sizeof line,
        "level %.40s: %.3f of the closed brackets of prefixes stand at the end; a closed bracket "
        "stands after %.2f %s",
        s->levels.names[level], stood[STOOD_STAND] / stood[STOOD_CLOSED],
        stood[STOOD_LAG] / stood[STOOD_ENDED], s->unit == UNIT_WORDS ? "words" : "tokens");
    return s->host->summary_text(s->context, line);
}

/* The mean over the rows that have a piece before them and a row after them. */
static int say_closure(const spans_state *s, int32_t level) {
    char line[160], figure[PSC_FIGURE];
    double sum = 0.0;
    int64_t n = 0;
    for (int32_t q = 0; q < s->n_sequences; q++)
        for (int32_t t = 2; t + 1 < s->reads.sequences[q].n; t++, n++)
            sum += psc_reads_closure(&s->reads, q, level, t);
    if (n == 0) return 0;
    snprintf(line, sizeof line, "level %.40s: mean closure %s", s->levels.names[level],
        psc_figure(figure, 0, 4, sum / (double)n, ""));
    return s->host->summary_text(s->context, line);
}

/* Words that begin before range= or end after it are in no tree. */
static int say_cut(const spans_state *s) {
    char line[160];
    if (s->n_short > 0) {
        snprintf(line, sizeof line,
            "range=%.40s reaches beyond the end of %d sequence%s; it takes what is there.",
            s->range_text, (int)s->n_short, s->n_short == 1 ? "" : "s");
        if (s->host->summary_text(s->context, line)) return -1;
    }
    if (s->n_cut == 0) return 0;
    snprintf(line, sizeof line, "range=%.40s cuts %d %s; the trees leave %s out.", s->range_text,
        (int)s->n_cut, s->n_cut == 1 ? "word" : "words", s->n_cut == 1 ? "it" : "them");
    return s->host->summary_text(s->context, line);
}

int spans_summary(spans_state *s) {
    const int64_t n_overlap = (int64_t)s->levels.n * PRIOR_COUNT;
    const int64_t n_shared = (int64_t)s->levels.n * s->levels.n;
    if (s->appended) return say_cut(s) || spans_say_steps(s) ? -1 : spans_keep_trees(s);
    double *shares =
        s->host->run_alloc(s->context, (uint64_t)(n_overlap + n_shared) * sizeof *shares);
    if (!shares || say_cut(s)) return -1;
    for (int64_t i = 0; i < n_overlap; i++) shares[i] = s->overlap[i] / s->n_inner;
    for (int64_t i = 0; i < n_shared; i++) shares[n_overlap + i] = s->shared[i] / s->n_inner;
    if (spans_say_overlaps(s, s->n_inner, shares, shares + n_overlap)) return -1;
    for (int32_t level = 0; level < s->levels.n && s->prefixes; level++)
        if (say_prefixes(s, level)) return -1;
    if (s->prefixes && s->n_inner > 0.0 &&
        s->host->summary_text(s->context,
            "Part of this is chance: docs/structure.md shows how much a random model reaches."))
        return -1;
    if (s->closure && s->host->summary_text(s->context,
                          "Closure of 0: later rows do not read the piece before a row."))
        return -1;
    for (int32_t level = 0; level < s->levels.n && s->closure; level++)
        if (say_closure(s, level)) return -1;
    return spans_say_steps(s) ? -1 : spans_keep_trees(s);
}
