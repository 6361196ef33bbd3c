/* The trees of every prefix of each sequence.
 *
 *   closed      a bracket of a prefix's tree that does not reach the prefix's last unit
 *   stands      it is in the tree of the whole sequence, too
 *   first_seen  the least prefix in which a closed bracket of the sequence's tree is closed, and from
 *               which on all trees have it
 *   lag         that prefix's units after the bracket: 1 if it stands at once
 *
 * The tree of a prefix is cut from the same sums: reads never look ahead. */
#include "spans.h"

typedef struct prefix_job {
    spans_state *s;
    psc_bracket *trees; /* [levels, longest] */
    int32_t *where;     /* [levels, longest] */
    int32_t longest;
} prefix_job;

/* What the tree of the first n units has of the sequence's tree. */
static void compare_prefix(const prefix_job *job, int32_t level, int32_t sequence, int32_t n) {
    spans_state *s = job->s;
    const spans_sequence *q = &s->sequences[sequence];
    const psc_bracket *tree = spans_tree(s, level, sequence);
    psc_bracket *of_prefix = job->trees + (int64_t)level * job->longest;
    int32_t *where = job->where + (int64_t)level * job->longest;
    int32_t *seen = s->first_seen + (int64_t)level * s->n_spans + q->first_span;
    double *stood = s->stood + STOOD_COUNT * level;
    psc_cuts_tree(
        psc_reads_sums(&s->reads, sequence, level), q->units.begin, n, s->weights, of_prefix);
    psc_tree_find(q->n_spans, tree, n - 1, of_prefix, where);
    for (int32_t i = 0; i < q->n_spans; i++)
        if (seen[i] == 0 && tree[i].end + 1 < n && where[i] < 0) seen[i] = n + 1;
    psc_tree_find(n - 1, of_prefix, q->n_spans, tree, where);
    for (int32_t i = 0; i < n - 1; i++) {
        if (of_prefix[i].end == n - 1) continue;
        stood[STOOD_CLOSED] += 1.0;
        stood[STOOD_STAND] += where[i] >= 0;
    }
}

/* Follows the brackets of a sequence's tree back over its prefixes, the longest first. */
static void follow(const prefix_job *job, int32_t level, int32_t sequence) {
    spans_state *s = job->s;
    const spans_sequence *q = &s->sequences[sequence];
    const psc_bracket *tree = spans_tree(s, level, sequence);
    int32_t *seen = s->first_seen + (int64_t)level * s->n_spans + q->first_span;
    double *stood = s->stood + STOOD_COUNT * level;
    for (int32_t i = 0; i < q->n_spans; i++) seen[i] = 0;
    for (int32_t n = q->units.n - 1; n > 1; n--) compare_prefix(job, level, sequence, n);
    for (int32_t i = 0; i < q->n_spans; i++) {
        if (tree[i].end == q->units.n - 1) {
            seen[i] = -1; /* it is open */
            continue;
        }
        if (seen[i] == 0) seen[i] = tree[i].end + 2;
        stood[STOOD_LAG] += seen[i] - tree[i].end - 1;
        stood[STOOD_ENDED] += 1.0;
    }
}

static void follow_levels(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const prefix_job *job = payload;
    (void)thread;
    for (int64_t level = begin; level < end; level++)
        for (int32_t q = 0; q < job->s->n_sequences; q++) follow(job, (int32_t)level, q);
}

int spans_follow_prefixes(spans_state *s) {
    const uint64_t levels = (uint64_t)s->levels.n;
    prefix_job job = {.s = s, .longest = 1};
    for (int32_t q = 0; q < s->n_sequences; q++)
        if (s->sequences[q].units.n > job.longest) job.longest = s->sequences[q].units.n;
    const uint64_t cells = levels * (uint64_t)job.longest;
    s->first_seen =
        s->host->run_alloc(s->context, levels * (uint64_t)s->n_spans * sizeof *s->first_seen + 1);
    s->stood = s->host->run_alloc(s->context, levels * STOOD_COUNT * sizeof *s->stood);
    job.trees = s->host->run_alloc(s->context, cells * sizeof *job.trees);
    job.where = s->host->run_alloc(s->context, cells * sizeof *job.where);
    if (!s->first_seen || !s->stood || !job.trees || !job.where) return -1;
    s->host->parallel_for(s->context, s->levels.n, follow_levels, &job);
    return 0;
}
