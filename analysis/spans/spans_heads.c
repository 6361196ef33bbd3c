/* The head of every bracket [a, b], a unit of it:
 *
 *   causal    the largest necessity                                          (kit/heads.h)
 *   reads     the largest reads(j) = sum_{k > b} R_kj of the level; no further pass
 *   residual  the largest cosine of x_j, j's last row, with the mean of x over the span's rows;
 *             x is hook_resid_post of the level's last layer; a comparison only
 *
 * Ties go to the earlier unit. A span without a row after it has no head by causal or reads. */
#include "spans.h"

#include <math.h>

int spans_heads_begin(spans_state *s) {
    spans_effects *e = &s->effects;
    const psc_host *host = s->host;
    const uint64_t cells = (uint64_t)s->levels.n * (uint64_t)s->n_spans;
    const int causal = e->heads == HEAD_CAUSAL;
    int32_t most = 0;
    for (int32_t q = 0; q < s->n_sequences; q++)
        if (s->sequences[q].units.n > most) most = s->sequences[q].units.n;
    const uint64_t pairs = (uint64_t)most * (uint64_t)most;
    e->head = host->run_alloc(s->context, cells * sizeof *e->head + 1);
    e->by_reads = host->run_alloc(s->context, cells * sizeof *e->by_reads + 1);
    e->figure = host->run_alloc(s->context, cells * sizeof *e->figure + 1);
    e->found = host->run_alloc(s->context, (cells + 1) * sizeof *e->found);
    e->necessity = host->run_alloc(s->context, (causal ? pairs : 0) * sizeof(double) + 1);
    if (!e->head || !e->by_reads || !e->figure || !e->found || !e->necessity) return -1;
    for (uint64_t i = 0; causal && i < pairs; i++) e->necessity[i] = NAN;
    if (e->of[0] >= 0) {
        const uint64_t size = (uint64_t)e->of[1] - (uint64_t)e->of[0] + 1;
        const uint64_t rows = OF_READS + (uint64_t)s->levels.n;
        e->of_figures = host->run_alloc(s->context, rows * size * sizeof(double));
        if (!e->of_figures) return -1;
        for (uint64_t i = 0; i < rows * size; i++) e->of_figures[i] = NAN;
    }
    if (e->heads != HEAD_RESIDUAL) return 0;
    e->resid = host->retain(s->context, PSC_HOOK_RESID_POST, NULL);
    return e->resid < 0 ? -1 : 0;
}

/* --- reads ----------------------------------------------------------------------------------- */

/* The last of the rows after unit `end` that count; that unit's last row if there is none. */
static int32_t last_after(const spans_state *s, int32_t sequence, int32_t end) {
    const int32_t from = spans_last(&s->sequences[sequence], end);
    const int32_t last = s->reads.sequences[sequence].n - 1, rows = s->effects.after;
    return rows > 0 && last - from > rows ? from + rows : last;
}

double spans_reads_after(
    const spans_state *s, int32_t sequence, int32_t level, int32_t end, int32_t unit) {
    const double *sums = psc_reads_sums(&s->reads, sequence, level);
    const spans_sequence *q = &s->sequences[sequence];
    const int32_t first = spans_first(q, unit), last = spans_last(q, unit);
    const double *upper = sums + psc_triangle(spans_last(q, end));
    const double *lower = sums + psc_triangle(last_after(s, sequence, end));
    return (lower[last] - upper[last]) - (lower[first - 1] - upper[first - 1]);
}

static int32_t head_by_reads(
    const spans_state *s, int32_t sequence, int32_t level, int32_t begin, int32_t end, double *of) {
    int32_t head = begin;
    *of = NAN;
    if (last_after(s, sequence, end) == spans_last(&s->sequences[sequence], end)) return -1;
    for (int32_t j = begin; j <= end; j++) {
        const double reads = spans_reads_after(s, sequence, level, end, j);
        if (j > begin && !(reads > *of)) continue;
        head = j;
        *of = reads;
    }
    return head;
}

/* --- the residual ---------------------------------------------------------------------------- */

/* The view of the level's last layer. */
static int fetch_residual(spans_state *s, int32_t level, psc_view *out) {
    const psc_level *of = &s->levels.at[level];
    psc_event event;
    if (s->host->fetch(s->context, s->effects.resid, of->parts[of->n - 1].layer, &event)) return -1;
    *out = event.tensor;
    return 0;
}

static double norm(int64_t n, const double *x) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sqrt(sum);
}

/* cosine [units of the span] (nullable); scratch [N]. x: the rows of the sequence. */
static int32_t head_by_residual(const spans_state *s, int32_t sequence, const psc_view *x,
    int32_t begin, int32_t end, double *scratch, double *of, double *cosine) {
    const spans_sequence *q = &s->sequences[sequence];
    const int64_t n = s->model->d_model, row = s->reads.sequences[sequence].row;
    int32_t head = begin;
    for (int64_t i = 0; i < n; i++) scratch[i] = 0.0;
    for (int32_t t = spans_first(q, begin); t <= spans_last(q, end); t++)
        for (int64_t i = 0; i < n; i++) scratch[i] += (double)psc_view_row(x, row + t)[i];
    const double mean = norm(n, scratch);
    for (int32_t j = begin; j <= end; j++) {
        const float *own = psc_view_row(x, row + spans_last(q, j));
        const double length = sqrt(psc_dot_striped(n, own, own));
        const double value = psc_dot_mixed(n, scratch, own) / (mean * length);
        if (cosine) cosine[j - begin] = value;
        if (j > begin && !(value > *of)) continue;
        head = j;
        *of = value;
    }
    return head;
}

/* --- all of them ----------------------------------------------------------------------------- */

static int find_residual(spans_state *s, int32_t sequence) {
    spans_effects *e = &s->effects;
    const spans_sequence *q = &s->sequences[sequence];
    double *scratch = s->host->run_alloc(s->context, (uint64_t)s->model->d_model * sizeof *scratch);
    if (!scratch) return -1;
    for (int32_t level = 0; level < s->levels.n; level++) {
        const psc_bracket *tree = spans_tree(s, level, sequence);
        const int64_t at = (int64_t)level * s->n_spans + q->first_span;
        psc_view x;
        if (s->reads.sequences[sequence].first > 0)
            return s->host->fail(s->context,
                "heads=residual needs every sequence in one run; leave it out of generation");
        if (fetch_residual(s, level, &x)) return -1;
        for (int32_t i = 0; i < q->n_spans; i++)
            e->head[at + i] = head_by_residual(
                s, sequence, &x, tree[i].begin, tree[i].end, scratch, &e->figure[at + i], NULL);
        double unused;
        if (sequence == 0 && e->of[0] >= 0 && level == s->levels.n - 1)
            head_by_residual(s, 0, &x, e->of[0], e->of[1], scratch, &unused,
                e->of_figures + (int64_t)OF_COSINE * (e->of[1] - e->of[0] + 1));
    }
    return 0;
}

/* All brackets of all levels and the span of of= in one list: equal ones are computed once. */
static int find_causal(spans_state *s, int32_t sequence) {
    spans_effects *e = &s->effects;
    const spans_sequence *q = &s->sequences[sequence];
    const int with_of = sequence == 0 && e->of[0] >= 0, size = e->of[1] - e->of[0] + 1;
    const int32_t n = s->levels.n * q->n_spans + with_of;
    psc_head *heads = s->host->run_alloc(s->context, (uint64_t)n * sizeof *heads + 1);
    if (!heads) return -1;
    int32_t i = 0;
    if (with_of) heads[i++] = (psc_head){.begin = e->of[0], .end = e->of[1]};
    for (int32_t level = 0; level < s->levels.n; level++)
        for (int32_t b = 0; b < q->n_spans; b++) {
            const psc_bracket *bracket = &spans_tree(s, level, sequence)[b];
            heads[i++] = (psc_head){.begin = bracket->begin, .end = bracket->end};
        }
    if (psc_heads_find(&e->knockouts, &q->units, e->after, n, heads, e->necessity,
            with_of ? e->of_figures + (int64_t)OF_SUFFICIENCY * size : NULL))
        return -1;
    if (e->knockouts.counting) return 0;
    for (int32_t j = 0; with_of && j < size; j++)
        e->of_figures[(int64_t)OF_NECESSITY * size + j] =
            e->necessity[(int64_t)e->of[1] * q->units.n + e->of[0] + j];
    if (with_of) e->of_head = heads[0];
    i = with_of;
    for (int32_t level = 0; level < s->levels.n; level++)
        for (int32_t b = 0; b < q->n_spans; b++, i++) {
            const int64_t at = (int64_t)level * s->n_spans + q->first_span + b;
            e->found[at] = heads[i];
            e->head[at] = heads[i].necessary;
        }
    return 0;
}

static void find_reads(spans_state *s, int32_t sequence) {
    spans_effects *e = &s->effects;
    const spans_sequence *q = &s->sequences[sequence];
    for (int32_t level = 0; level < s->levels.n; level++) {
        const psc_bracket *tree = spans_tree(s, level, sequence);
        for (int32_t b = 0; b < q->n_spans; b++) {
            const int64_t at = (int64_t)level * s->n_spans + q->first_span + b;
            e->by_reads[at] =
                head_by_reads(s, sequence, level, tree[b].begin, tree[b].end, &e->figure[at]);
            if (e->heads == HEAD_READS) e->head[at] = e->by_reads[at];
        }
        for (int32_t j = e->of[0]; sequence == 0 && j >= 0 && j <= e->of[1]; j++)
            e->of_figures[(int64_t)(OF_READS + level) * (e->of[1] - e->of[0] + 1) + j - e->of[0]] =
                spans_reads_after(s, 0, level, e->of[1], j);
    }
}

int spans_heads_find(spans_state *s, int32_t sequence) {
    spans_effects *e = &s->effects;
    if (e->heads == HEAD_CAUSAL && find_causal(s, sequence)) return -1;
    if (e->knockouts.counting) return 0;
    if (e->heads == HEAD_RESIDUAL) return find_residual(s, sequence);
    find_reads(s, sequence);
    return 0;
}
