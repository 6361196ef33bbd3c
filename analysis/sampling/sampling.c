/* The plugin `sampling`: what each sampling strategy keeps, and how much it changes the model's
 * distribution.
 *
 *   p = softmax z over the vocabulary; a strategy keeps a set K and draws from q on it,
 *   q_i = e_i / sum_K e, e_i = exp((z_i - max z)/T)      (host->keep: generation's own code)
 *   size |K|;  mass sum_K p;  kl = KL(q || p) = sum_K q (log q - log p)
 *   of two strategies a, b:  same_set K_a = K_b;  overlap sum min(q_a, q_b);
 *   agreement sum q_a q_b, the chance that two independent draws are the same token
 *
 * Every kept set is a prefix of the order of z, so two sets are equal if their sizes are,
 * and of two at T = 1 one lies within the other: overlap = S_few/S_many, agreement =
 * sum_few e^2/(S_few S_many). Rows are computed as hook_logits delivers them; sums are the
 * host's reductions in f64. */
#include "sampling.h"

#include <float.h>
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
        w->plain = s->host->life_alloc(s->context, v * sizeof *w->plain);
        w->scaled = s->host->life_alloc(s->context, v * sizeof *w->scaled);
        w->ids = s->host->life_alloc(s->context, v * sizeof *w->ids);
        w->together = s->host->life_alloc(s->context, v * sizeof *w->together);
        w->together_weights = s->host->life_alloc(s->context, v * sizeof(double));
        if (!w->plain || !w->scaled || !w->ids || !w->together || !w->together_weights) return -1;
    }
    s->reductions = s->host->reductions(s->context);
    s->host->log(s->context, 1, &s->least, &s->asked.min_p);
    return s->reductions ? 0 : -1;
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

/* --- the sets of one row --------------------------------------------------------------------- */

/* The token with the largest logit, ties to the lower id, of n ids that include it. */
static int32_t best_of_kept(const float *z, const int32_t *ids, int32_t n) {
    int32_t best = ids[0];
    for (int32_t i = 1; i < n; i++)
        if (z[ids[i]] > z[best]) best = ids[i];
    return best;
}

static int holds(const kept_set *set, const float *z, int32_t id) {
    return z[id] > set->prefix.bound || (z[id] == set->prefix.bound && id <= set->prefix.last);
}

/* The smallest logit of which z - max z reaches s->least, the test of generation's min-p. */
static float least_kept(const sampling_state *s, float most) {
    float bound = (float)((double)most + s->least);
    while (!((double)bound - (double)most >= s->least)) bound = nextafterf(bound, INFINITY);
    float lower = nextafterf(bound, -INFINITY);
    while (isfinite(lower) && (double)lower - (double)most >= s->least) {
        bound = lower;
        lower = nextafterf(bound, -INFINITY);
    }
    return bound;
}

/* Sums of a set over a (and b) as masked_sums has them: up to the last tied id, and after it. */
static void set_sums(const sampling_state *s, const row_work *w, const psc_kept_prefix *prefix,
    const double *b, double by_a, double by_b, double sums[4]) {
    const size_t n = (size_t)s->n_vocab, begin = (size_t)prefix->last + 1;
    double rest[4];
    s->reductions->masked_sums(sums, w->z, prefix->bound, w->plain, b, by_a, by_b, begin);
    s->reductions->masked_sums(rest, w->z + begin, nextafterf(prefix->bound, INFINITY),
        w->plain + begin, b ? b + begin : NULL, by_a, by_b, n - begin);
    for (int i = 0; i < 4; i++) sums[i] += rest[i];
}

/* Sums over a set of few tokens, by the n ids of w->ids, which include them. */
static void sum_few(row_work *w, size_t n, kept_set *set) {
    for (size_t i = 0; i < n; i++) {
        const int32_t id = w->ids[i];
        if (!holds(set, w->z, id)) continue;
        set->sum += w->plain[id];
        set->squares += w->plain[id] * w->plain[id];
        set->product += w->plain[id] * w->scaled[id];
    }
    for (size_t i = 0; i < n; i++) {
        const double q = w->plain[w->ids[i]] / set->sum, r = w->scaled[w->ids[i]] / w->scaled_sum;
        if (holds(set, w->z, w->ids[i])) set->overlap += q < r ? q : r;
    }
}

static void sum_many(const sampling_state *s, row_work *w, kept_set *set) {
    double sums[4];
    set_sums(s, w, &set->prefix, NULL, 1.0, 1.0, sums);
    set->sum = sums[0];
    set_sums(s, w, &set->prefix, w->scaled, 1.0 / set->sum, 1.0 / w->scaled_sum, sums);
    set->squares = sums[1];
    set->product = sums[2];
    set->overlap = sums[3];
}

/* Sums over the sets at T = 1, and with the weights at the temperature. The ids of the largest set
 * of few tokens include those of the smaller ones. */
static void sum_sets(const sampling_state *s, row_work *w) {
    float bound = INFINITY;
    size_t n = 0;
    for (int i = TOP_K; i <= MIN_P; i++) {
        kept_set *set = &w->sets[i];
        set->sum = set->squares = set->product = set->overlap = 0.0;
        if (set->prefix.n > FEW)
            sum_many(s, w, set);
        else if (set->prefix.bound < bound)
            bound = set->prefix.bound;
    }
    if (bound < INFINITY)
        s->reductions->indices_within(w->ids, &n, w->z, (size_t)s->n_vocab, bound, INFINITY);
    for (int i = TOP_K; i <= MIN_P; i++)
        if (w->sets[i].prefix.n <= FEW) sum_few(w, n, &w->sets[i]);
}

/* The sets at T = 1 whose ends need no weights: those of top-k and min-p. */
static int find_by_logits(const sampling_state *s, row_work *w) {
    const psc_kept_prefix all = {sizeof all, -INFINITY, s->n_vocab - 1, s->n_vocab};
    const psc_strategy *asked = &s->asked;
    for (int i = 0; i < STRATEGIES; i++) w->sets[i].prefix = all;
    if (asked->top_k < s->n_vocab &&
        s->host->prefix(s->context, &w->sets[TOP_K].prefix, w->z, NULL, asked->top_k, w->ids))
        return -1;
    if (asked->min_p > 0.0) {
        int64_t counts[2];
        psc_kept_prefix *prefix = &w->sets[MIN_P].prefix;
        prefix->bound = least_kept(s, w->z[w->best]);
        s->reductions->count_from(counts, w->z, (size_t)s->n_vocab, prefix->bound);
        prefix->n = (int32_t)(counts[0] + counts[1]);
    }
    return 0;
}

/* The set of top-p. */
static int find_by_mass(const sampling_state *s, row_work *w) {
    return s->asked.top_p < 1.0 && s->host->prefix(s->context, &w->sets[TOP_P].prefix, w->z,
                                       w->plain, s->asked.top_p * w->plain_sum, w->ids);
}

/* Size, mass and KL of every strategy; the sums of those with a temperature.
 * log q - log p = d/T - d - log sum + log full sum, d = z - max z; a greedy draw has d = 0. */
static void row_figures(
    const sampling_state *s, row_work *w, const double scaled[3], double out[][ROW_FIGURES]) {
    const double t = s->asked.temperature, bend = 1.0 / t - 1.0;
    const float *z = w->z;
    kept_set *all = &w->sets[TEMPERATURE], *together = &w->sets[COMBINED];
    double mass = 0.0, gap = 0.0, logs[STRATEGIES + 1];
    all->sum = scaled[0];
    all->squares = scaled[1];
    together->sum = together->squares = 0.0;
    for (int32_t i = 0; i < together->prefix.n; i++) {
        const double e = w->together_weights[i];
        together->sum += e;
        together->squares += e * e;
        mass += w->plain[w->together[i]];
        if (e > 0.0) gap += e * ((double)z[w->together[i]] - (double)z[w->best]);
    }
    w->sets[GREEDY].sum = w->sets[GREEDY].squares = 1.0;
    w->sets[GREEDY].prefix.n = 1;
    for (int i = 0; i < STRATEGIES; i++) logs[i] = w->sets[i].sum;
    logs[STRATEGIES] = w->plain_sum;
    s->host->log(s->context, STRATEGIES + 1, logs, logs);
    for (int i = 0; i < STRATEGIES; i++) {
        out[i][SIZE] = w->sets[i].prefix.n;
        out[i][MASS] = w->sets[i].sum / w->plain_sum;
        out[i][KL] = logs[STRATEGIES] - logs[i];
    }
    out[TEMPERATURE][MASS] = 1.0;
    out[TEMPERATURE][KL] += bend * t * scaled[2] / scaled[0];
    out[COMBINED][MASS] = mass / w->plain_sum;
    out[COMBINED][KL] += bend * gap / together->sum;
}

/* --- pairs of strategies --------------------------------------------------------------------- */

/* q of a token under a strategy other than all together. */
static double probability(const row_work *w, int which, int32_t id) {
    if (which == GREEDY) return id == w->best;
    if (which == TEMPERATURE) return w->scaled[id] / w->sets[which].sum;
    return holds(&w->sets[which], w->z, id) ? w->plain[id] / w->sets[which].sum : 0.0;
}

static double smaller(double a, double b) {
    return a < b ? a : b;
}

/* Overlap and agreement of all together with another strategy. */
static void pair_together(const row_work *w, int other, double *overlap, double *agreement) {
    const kept_set *own = &w->sets[COMBINED];
    for (int32_t i = 0; i < own->prefix.n; i++) {
        const double q = w->together_weights[i] / own->sum;
        const double r = other == COMBINED ? q : probability(w, other, w->together[i]);
        *overlap += smaller(q, r);
        *agreement += q * r;
    }
}

/* a <= b, neither all together; sets at T = 1 are prefixes, one within the other. */
static void pair_prefixes(const row_work *w, int a, int b, double *overlap, double *agreement) {
    const kept_set *x = &w->sets[a], *y = &w->sets[b];
    const kept_set *few = x->prefix.n <= y->prefix.n ? x : y, *many = few == x ? y : x;
    if (a == GREEDY) {
        *overlap = *agreement = probability(w, b, w->best);
    } else if (a == TEMPERATURE && b != TEMPERATURE) {
        *overlap = y->overlap;
        *agreement = y->product / (x->sum * y->sum);
    } else {
        *overlap = few->sum / many->sum;
        *agreement = few->squares / (few->sum * many->sum);
    }
}

static void row_pairs(const row_work *w, double *out[PAIR_FIGURES]) {
    for (int a = 0; a < STRATEGIES; a++) {
        for (int b = a; b < STRATEGIES; b++) {
            double values[PAIR_FIGURES] = {w->sets[a].prefix.n == w->sets[b].prefix.n, 0.0, 0.0};
            if (b == COMBINED)
                pair_together(w, a, &values[OVERLAP], &values[AGREEMENT]);
            else
                pair_prefixes(w, a, b, &values[OVERLAP], &values[AGREEMENT]);
            for (int f = 0; f < PAIR_FIGURES; f++)
                out[f][a * STRATEGIES + b] = out[f][b * STRATEGIES + a] = values[f];
        }
    }
}

/* Nonzero if no token can be drawn. */
static int one_row(const sampling_state *s, row_work *w, const float *z, int64_t slot) {
    const psc_host *host = s->host;
    const int64_t n_rows = s->rows.n;
    const size_t v = (size_t)s->n_vocab;
    double *pairs[PAIR_FIGURES], figures[STRATEGIES][ROW_FIGURES], sums[4];
    w->z = z;
    /* What reads only the logits comes before the weights, whose rows fill the core's cache. Every
     * strategy keeps the best token; nothing is kept of logits with NaN or infinities. */
    const int32_t n =
        host->keep(s->context, &s->strategies[COMBINED], z, w->together, w->together_weights);
    if (n < 1) return -1;
    w->best = best_of_kept(z, w->together, n);
    if (find_by_logits(s, w)) return -1;
    w->sets[COMBINED].prefix.n = n;
    s->reductions->weigh_both(
        w->plain, w->scaled, sums, z, z[w->best], fmin(1.0 / s->asked.temperature, DBL_MAX), v);
    w->plain_sum = sums[0];
    w->scaled_sum = sums[1];
    if (isnan(sums[0]) || find_by_mass(s, w)) return -1;
    sum_sets(s, w);
    row_figures(s, w, sums + 1, figures);
    for (int f = 0; f < ROW_FIGURES; f++)
        for (int i = 0; i < STRATEGIES; i++)
            s->figures[(f * n_rows + slot) * STRATEGIES + i] = figures[i][f];
    for (int f = 0; f < PAIR_FIGURES; f++) pairs[f] = s->pairs + (f * n_rows + slot) * PAIRS;
    row_pairs(w, pairs);
    return 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

typedef struct block {
    sampling_state *s;
    const psc_event *event;
    int32_t first;
} block;

/* A part's rows share the scratch of its first one, which then stays in the core's cache. */
static void block_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const block *b = payload;
    row_work *work = &b->s->work[begin];
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t r = b->first + i;
        const int32_t slot = b->s->rows.slot[b->event->rows[r].index];
        const float *z = b->event->tensor.data + r * b->event->tensor.stride[0];
        b->s->work[i].failed = slot >= 0 && one_row(b->s, work, z, slot) != 0;
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
