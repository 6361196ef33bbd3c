/* The plugin `sampling`: what each sampling strategy keeps, and how much it changes the model's
 * distribution.
 *
 *   p = softmax z over the vocabulary; a strategy keeps a set K and draws from q on it,
 *   q_i = e_i / sum_K e, e_i = exp((z_i - max z)/T)      (host->keep: generation's own code)
 *   size |K|;  mass sum_K p;  kl = KL(q || p) = sum_K q (log q - log p)
 *   of two strategies a, b:  same_set K_a = K_b;  overlap sum min(q_a, q_b);
 *   agreement sum q_a q_b, the chance that two independent draws are the same token
 *
 * Rows are computed as hook_logits delivers them; sums are f64 chains over ascending ids. */
#include "sampling.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const psc_option_description sampling_options[] = {
    {"rows", "last", "rows that are reported; over a corpus always all", PSC_OPTION_ROWS,
        offsetof(sampling_state, choice), 0, 0, NULL},
    {"temperature", "0.7", "divides the logits; above 0", PSC_OPTION_NUMBER,
        offsetof(sampling_state, asked.temperature), 0, 100, NULL},
    {"k", "40", "tokens that top-k keeps", PSC_OPTION_COUNT, offsetof(sampling_state, asked.top_k),
        1, INT32_MAX - 1, NULL},
    {"p", "0.9", "mass that top-p keeps, above 0", PSC_OPTION_NUMBER,
        offsetof(sampling_state, asked.top_p), 0, 1, NULL},
    {"min_p", "0.05", "least probability that min-p keeps, as a share of the top token's",
        PSC_OPTION_NUMBER, offsetof(sampling_state, asked.min_p), 0, 1, NULL},
    {0},
};

/* --- options --------------------------------------------------------------------------------- */

static int make_strategies(sampling_state *s) {
    const psc_strategy plain = PSC_STRATEGY_INIT;
    psc_strategy *all = &s->asked;
    all->struct_size = sizeof *all;
    if (all->temperature == 0.0)
        return s->host->fail(s->context, "temperature=0 is not above 0; give a larger number");
    if (all->top_p == 0.0)
        return s->host->fail(s->context, "p=0 is not above 0; give a larger number");
    for (int i = 0; i < STRATEGIES; i++) s->strategies[i] = plain;
    s->strategies[GREEDY].temperature = 0.0;
    s->strategies[TEMPERATURE].temperature = all->temperature;
    s->strategies[TOP_K].top_k = all->top_k;
    s->strategies[TOP_P].top_p = all->top_p;
    s->strategies[MIN_P].min_p = all->min_p;
    s->strategies[COMBINED] = *all;
    const size_t size = sizeof *s->labels;
    snprintf(s->labels[GREEDY], size, "greedy");
    snprintf(s->labels[COMBINED], size, "all together");
    snprintf(s->labels[TEMPERATURE], size, "temperature %g", all->temperature);
    snprintf(s->labels[TOP_K], size, "top-k %d", (int)all->top_k);
    snprintf(s->labels[TOP_P], size, "top-p %g", all->top_p);
    snprintf(s->labels[MIN_P], size, "min-p %g", all->min_p);
    return 0;
}

static int make_work(sampling_state *s) {
    const uint64_t v = (uint64_t)s->n_vocab;
    for (int i = 0; i < BLOCK; i++) {
        row_work *w = &s->work[i];
        w->ids = s->host->life_alloc(s->context, STRATEGIES * v * sizeof *w->ids);
        w->weights = s->host->life_alloc(s->context, STRATEGIES * v * sizeof *w->weights);
        w->dense = s->host->life_alloc(s->context, STRATEGIES * v * sizeof *w->dense);
        w->full = s->host->life_alloc(s->context, v * sizeof *w->full);
        if (!w->ids || !w->weights || !w->dense || !w->full) return -1;
    }
    return 0;
}

static int sampling_open(psc_context *context, const psc_host *host, void **state) {
    sampling_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    s->n_vocab = host->model(context)->d_vocab;
    s->corpus = host->accumulating(context);
    if (make_strategies(s) || make_work(s)) return -1;
    if (!s->corpus) return 0;
    return psc_tally_open(&s->tally, context, host,
        (int64_t)SCOPES * (ROW_FIGURES * STRATEGIES + PAIR_FIGURES * PAIRS),
        (int64_t)SCOPES * (1 + STRATEGIES * BINS));
}

/* --- one row --------------------------------------------------------------------------------- */

static double chain(const double *x, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

/* Keeps tokens, normalizes q and scatters it by id; then size, mass and KL of one strategy. */
static int row_strategy(const sampling_state *s, row_work *w, const float *z, int which,
    double full_sum, double out[ROW_FIGURES]) {
    const psc_strategy *strategy = &s->strategies[which];
    int32_t *ids = w->ids + (int64_t)which * s->n_vocab;
    double *q = w->weights + (int64_t)which * s->n_vocab;
    double *dense = w->dense + (int64_t)which * s->n_vocab;
    const int32_t n = s->host->keep(s->context, strategy, z, ids, q);
    w->kept[which] = n < 0 ? 0 : n;
    if (n < 0) return -1;
    const double sum = chain(q, n);
    double logs[2] = {sum, full_sum}, mass = 0.0, gap = 0.0, top = -INFINITY;
    s->host->log(s->context, 2, logs, logs);
    for (int32_t i = 0; i < n; i++) top = (double)z[ids[i]] > top ? (double)z[ids[i]] : top;
    /* log q - log p = d/T - d - log sum + log full_sum, d = z - max z; a greedy draw has d = 0. */
    const double bend = strategy->temperature > 0.0 ? 1.0 / strategy->temperature - 1.0 : 0.0;
    for (int32_t i = 0; i < n; i++) {
        q[i] /= sum;
        dense[ids[i]] = q[i];
        mass += w->full[ids[i]];
        if (q[i] > 0.0) gap += q[i] * (bend * ((double)z[ids[i]] - top));
    }
    out[SIZE] = n;
    out[MASS] = mass / full_sum;
    out[KL] = gap - logs[0] + logs[1];
    return 0;
}

static void row_pair(const sampling_state *s, const row_work *w, int a, int b, double *out[3]) {
    const int few = w->kept[a] <= w->kept[b] ? a : b, many = few == a ? b : a;
    const int32_t *ids = w->ids + (int64_t)few * s->n_vocab;
    const int32_t *others = w->ids + (int64_t)many * s->n_vocab;
    const double *q = w->weights + (int64_t)few * s->n_vocab;
    const double *dense = w->dense + (int64_t)many * s->n_vocab;
    const int32_t n = w->kept[few];
    double overlap = 0.0, agreement = 0.0;
    for (int32_t i = 0; i < n; i++) {
        const double other = dense[ids[i]];
        overlap += q[i] < other ? q[i] : other;
        agreement += q[i] * other;
    }
    const int same = n == w->kept[many] && memcmp(ids, others, (size_t)n * sizeof *ids) == 0;
    const double values[PAIR_FIGURES] = {same, overlap, agreement};
    for (int f = 0; f < PAIR_FIGURES; f++)
        out[f][a * STRATEGIES + b] = out[f][b * STRATEGIES + a] = values[f];
}

static void clear_dense(const sampling_state *s, const row_work *w) {
    for (int which = 0; which < STRATEGIES; which++) {
        const int64_t at = (int64_t)which * s->n_vocab;
        for (int32_t i = 0; i < w->kept[which]; i++) w->dense[at + w->ids[at + i]] = 0.0;
    }
}

static int one_row(const sampling_state *s, row_work *w, const float *z, int64_t slot) {
    const psc_strategy plain = PSC_STRATEGY_INIT;
    const int64_t n_rows = s->rows.n;
    double *pairs[PAIR_FIGURES];
    int failed = s->host->keep(s->context, &plain, z, w->ids, w->full) < 0;
    const double full_sum = failed ? 0.0 : chain(w->full, s->n_vocab);
    for (int which = 0; which < STRATEGIES; which++) {
        double out[ROW_FIGURES] = {0};
        w->kept[which] = 0;
        if (!failed) failed = row_strategy(s, w, z, which, full_sum, out) != 0;
        for (int f = 0; f < ROW_FIGURES; f++)
            s->figures[(f * n_rows + slot) * STRATEGIES + which] = out[f];
    }
    for (int f = 0; f < PAIR_FIGURES; f++) pairs[f] = s->pairs + (f * n_rows + slot) * PAIRS;
    for (int a = 0; a < STRATEGIES && !failed; a++)
        for (int b = a; b < STRATEGIES; b++) row_pair(s, w, a, b, pairs);
    clear_dense(s, w);
    return failed;
}

/* --- a run ----------------------------------------------------------------------------------- */

typedef struct block {
    sampling_state *s;
    const psc_event *event;
    int32_t first;
} block;

static void block_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const block *b = payload;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t r = b->first + i;
        const int32_t slot = b->s->rows.slot[b->event->rows[r].index];
        const float *z = b->event->tensor.data + r * b->event->tensor.stride[0];
        row_work *work = &b->s->work[i];
        work->failed = slot >= 0 && one_row(b->s, work, z, slot);
    }
}

static int on_logits(const psc_event *event, void *payload) {
    sampling_state *s = payload;
    for (int32_t first = 0; first < event->n_rows; first += BLOCK) {
        block b = {s, event, first};
        const int32_t n = event->n_rows - first < BLOCK ? event->n_rows - first : BLOCK;
        s->host->parallel_for(s->context, n, block_rows, &b);
        for (int32_t i = 0; i < n; i++)
            if (s->work[i].failed)
                return s->host->fail(s->context,
                    "the logits at position %d contain NaN or infinities, so no token can be drawn",
                    event->rows[first + i].position);
    }
    return 0;
}

static int sampling_run_begin(psc_context *context, void *state) {
    sampling_state *s = state;
    const psc_host *host = s->host;
    const psc_filter all = PSC_FILTER_INIT;
    if (psc_rows_resolve(context, host, "rows", s->corpus ? &all : &s->choice, 0, &s->rows))
        return -1;
    const uint64_t rows = (uint64_t)s->rows.n;
    const uint64_t width = ROW_FIGURES * STRATEGIES + PAIR_FIGURES * PAIRS;
    s->figures = host->run_alloc(context, rows * width * sizeof(double) + 8);
    if (!s->figures) return -1;
    s->pairs = s->figures + rows * ROW_FIGURES * STRATEGIES;
    return host->observe(context, PSC_HOOK_LOGITS, &s->rows.filter, on_logits, s);
}

static int sampling_run_end(psc_context *context, void *state, int status) {
    sampling_state *s = state;
    (void)context;
    return status || !s->corpus ? 0 : sampling_add_sequences(s);
}

const psc_plugin *psc_builtin_sampling(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "sampling",
        .summary = "what greedy, temperature, top-k, top-p and min-p keep of each distribution",
        .options = sampling_options,
        .corpus = PSC_CORPUS_YES,
        .open = sampling_open,
        .run_begin = sampling_run_begin,
        .run_end = sampling_run_end,
        .report = sampling_report,
        .points = "hook_logits",
    };
    return &plugin;
}
