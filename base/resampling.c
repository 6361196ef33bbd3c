/* Statistics by resampling: the quantities in blocks, each a task of the team.
 *
 * A block has up to 4 tiles of 8 quantities with the same number of present values, as [n][8]
 * without the missing ones. Their sums over all draws come from resampling_sums.h. */
#include "resampling.h"

#include "arena.h"
#include "normal.h"
#include "resampling_sums.h"
#include "select_ranks.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LANES PSC_SUM_LANES
#define TILES 8
#define BLOCK (TILES * LANES)

typedef struct scratch { /* of a thread */
    double *values;      /* [TILES][n_examples][LANES] */
    double *tables;      /* [PSC_SUM_TABLES] */
    double *sums;        /* [BLOCK][draws] */
    psc_draw_masks counts, signs;
} scratch;

typedef struct work {
    const psc_resampled *out;
    const double *const *examples;
    const psc_resampling *how;
    int64_t n_quantities;
    int32_t n_examples;
    int32_t *present; /* [n_quantities] */
    int64_t *order;   /* [n_quantities] by the number of present values, then by index */
    scratch *scratches;
} work;

/* What the draws say of a block's quantities. */
typedef struct block {
    const work *work;
    scratch *mine;
    const int64_t *which; /* [n] */
    int32_t n, n_present;
    bool intervals;                 /* are wanted, and can be */
    double sum[BLOCK], size[BLOCK]; /* size: sum of |v| */
    int64_t beyond[BLOCK];          /* sums of sign vectors as far from 0 as its own */
} block;

/* --- blocks ---------------------------------------------------------------------------------- */

static double *tile_of(const block *b, int32_t tile) {
    return b->mine->values + (int64_t)tile * b->work->n_examples * LANES;
}

static double value_at(const block *b, int32_t at, int32_t i) {
    return tile_of(b, at / LANES)[(int64_t)i * LANES + at % LANES];
}

/* Lanes without a quantity are 0. */
static void gather(block *b) {
    const work *w = b->work;
    for (int32_t tile = 0; tile * LANES < b->n; tile++)
        memset(tile_of(b, tile), 0, (size_t)b->n_present * LANES * sizeof(double));
    for (int32_t at = 0; at < b->n; at++) {
        double *lane = tile_of(b, at / LANES) + at % LANES;
        for (int32_t i = 0; i < w->n_examples; i++) {
            const double v = w->examples[i][b->which[at]];
            if (!isfinite(v)) continue;
            *lane = v;
            lane += LANES;
        }
    }
}

static void measure(block *b) {
    for (int32_t tile = 0; tile * LANES < b->n; tile++)
        psc_sum_all(b->sum + tile * LANES, b->n_present, tile_of(b, tile));
    for (int32_t at = 0; at < b->n; at++)
        for (int32_t i = 0; i < b->n_present; i++) b->size[at] += fabs(value_at(b, at, i));
}

/* Sums of draws 0..n-1 of a kind. */
static void draw(const block *b, psc_draw_masks *masks, psc_draw_kind kind, int32_t n) {
    const psc_resampling *how = b->work->how;
    scratch *mine = b->mine;
    for (int32_t first = 0; first < n; first += masks->count) {
        psc_draw_masks_take(masks, kind, how->seed, b->n_present, first, n);
        for (int32_t tile = 0; tile * LANES < b->n; tile++)
            psc_sum_draws(mine->sums + (int64_t)tile * LANES * how->draws, how->draws, masks,
                tile_of(b, tile), mine->tables);
    }
}

/* Half of all sign vectors where they are few: the other half are their negatives. */
static void flip_signs(block *b, int64_t *vectors) {
    const int32_t draws = b->work->how->draws, n = b->n_present;
    const bool all = n < 31 && (INT32_C(1) << n) <= draws;
    *vectors = all ? INT64_C(1) << (n - 1) : draws;
    draw(b, &b->mine->signs, all ? PSC_DRAW_ALL_SIGNS : PSC_DRAW_SIGNS, (int32_t)*vectors);
    for (int32_t at = 0; at < b->n; at++) {
        const double *sums = b->mine->sums + (int64_t)at * draws;
        const double least = fabs(b->sum[at]) - n * 0x1p-52 * b->size[at];
        int64_t beyond = !all; /* the vector of the values themselves */
        for (int64_t d = 0; d < *vectors; d++) beyond += fabs(sums[d]) >= least;
        b->beyond[at] = beyond;
    }
    *vectors += !all;
}

/* --- statistics of one quantity -------------------------------------------------------------- */

static void put(double *array, int64_t at, double value) {
    if (array) array[at] = value;
}

/* The quantile's place between ranks floor and floor + 1 of the sorted means. */
static double place_of(double share, int32_t draws) {
    return share * (draws - 1);
}

/* Of the means sums / n. */
static double quantile(const double *sums, int32_t draws, double place, int32_t n) {
    const int32_t rank = (int32_t)place;
    if (isnan(place)) return NAN;
    if (rank + 1 >= draws) return sums[draws - 1] / n;
    const double low = sums[rank] / n, high = sums[rank + 1] / n;
    return low + (place - rank) * (high - low);
}

/* The shares of the means below BCa's ends; NaN where it is not defined. */
static void adjust(
    double shares[2], const block *b, int32_t at, double squares, double cubes, double z) {
    const int32_t draws = b->work->how->draws;
    const double *sums = b->mine->sums + (int64_t)at * draws;
    int64_t twice = 0; /* 2 #(m_d < m) + #(m_d = m) */
    for (int32_t d = 0; d < draws; d++) twice += (sums[d] < b->sum[at]) + (sums[d] <= b->sum[at]);
    const double below = 0.5 * (double)twice / draws;
    shares[0] = shares[1] = NAN;
    if (squares == 0.0 || below <= 0.0 || below >= 1.0) return;
    const double z0 = psc_normal_quantile(below), a = cubes / (6.0 * squares * sqrt(squares));
    for (int end = 0; end < 2; end++) {
        const double moved = z0 + (end ? z : -z), scale = 1.0 - a * moved;
        if (scale > 0.0) shares[end] = psc_normal_cdf(z0 + moved / scale);
    }
    if (isnan(shares[0]) || isnan(shares[1])) shares[0] = shares[1] = NAN;
}

static void find_intervals(const block *b, int32_t at, double squares, double cubes) {
    const psc_resampled *out = b->work->out;
    const int32_t draws = b->work->how->draws;
    const double tail = 0.5 * (1.0 - b->work->how->level);
    double *sums = b->mine->sums + (int64_t)at * draws, shares[4] = {tail, 1.0 - tail};
    int32_t ranks[8], n = 0;
    adjust(shares + 2, b, at, squares, cubes, -psc_normal_quantile(tail));
    for (int i = 0; i < 4; i++) {
        if (isnan(shares[i])) continue;
        const int32_t rank = (int32_t)place_of(shares[i], draws);
        ranks[n++] = rank;
        if (rank + 1 < draws) ranks[n++] = rank + 1;
    }
    psc_select_ranks(sums, draws, ranks, n);
    double *const ends[] = {out->low_percentile, out->high_percentile, out->low, out->high};
    for (int i = 0; i < 4; i++)
        put(ends[i], b->which[at], quantile(sums, draws, place_of(shares[i], draws), b->n_present));
}

static void finish(const block *b, int32_t at, int64_t vectors) {
    const psc_resampled *out = b->work->out;
    const int64_t q = b->which[at];
    const int32_t n = b->n_present;
    const double first = value_at(b, at, 0), mean = b->sum[at] / n;
    double squares = 0.0, cubes = 0.0;
    bool equal = true;
    for (int32_t i = 0; i < n; i++) {
        const double v = value_at(b, at, i), d = v - mean;
        squares += d * d;
        cubes += d * d * d;
        equal = equal && v == first;
    }
    put(out->p, q, (double)b->beyond[at] / (double)vectors);
    put(out->mean, q, equal ? first : mean);
    if (n < 2) return;
    put(out->se, q, equal ? 0.0 : sqrt(squares / ((double)n * (n - 1))));
    if (equal) { /* sums of draws would differ by rounding */
        put(out->low_percentile, q, first);
        put(out->high_percentile, q, first);
    } else if (b->intervals) {
        find_intervals(b, at, squares, cubes);
    }
}

/* --- all quantities -------------------------------------------------------------------------- */

static void do_block(const work *w, scratch *mine, const int64_t *which, int32_t n) {
    block b = {.work = w, .mine = mine, .which = which, .n = n, .n_present = w->present[which[0]]};
    int64_t vectors = 0;
    const psc_resampled *out = w->out;
    double *const all[] = {
        out->mean, out->se, out->low, out->high, out->low_percentile, out->high_percentile, out->p};
    for (int32_t at = 0; at < n; at++) {
        if (out->n) out->n[which[at]] = b.n_present;
        for (int i = 0; i < 7; i++) put(all[i], which[at], NAN);
    }
    if (b.n_present == 0) return;
    gather(&b);
    measure(&b);
    b.intervals =
        b.n_present > 1 && (out->low || out->high || out->low_percentile || out->high_percentile);
    if (out->p) flip_signs(&b, &vectors);
    if (b.intervals) draw(&b, &mine->counts, PSC_DRAW_COUNTS, w->how->draws);
    for (int32_t at = 0; at < n; at++) finish(&b, at, vectors);
}

/* Quantities task*BLOCK.. of the order, in blocks with the same number of present values. */
static void do_task(int64_t task, int thread, void *payload) {
    const work *w = payload;
    const int64_t begin = task * BLOCK;
    const int64_t end = begin + BLOCK < w->n_quantities ? begin + BLOCK : w->n_quantities;
    for (int64_t at = begin, next; at < end; at = next) {
        const int32_t present = w->present[w->order[at]];
        for (next = at + 1; next < end && w->present[w->order[next]] == present;) next++;
        do_block(w, &w->scratches[thread], w->order + at, (int32_t)(next - at));
    }
}

/* Counts present values, and orders the quantities by them. starts [n_examples + 2] is zeroed. */
static void put_in_order(work *w, int64_t *starts) {
    for (int32_t i = 0; i < w->n_examples; i++)
        for (int64_t q = 0; q < w->n_quantities; q++)
            w->present[q] += isfinite(w->examples[i][q]) != 0;
    for (int64_t q = 0; q < w->n_quantities; q++) starts[w->present[q] + 1]++;
    for (int32_t i = 0; i <= w->n_examples; i++) starts[i + 1] += starts[i];
    for (int64_t q = 0; q < w->n_quantities; q++) w->order[starts[w->present[q]]++] = q;
}

static psc_status check(
    int64_t n_quantities, int32_t n_examples, const psc_resampling *how, psc_error *error) {
    if (n_quantities < 0 || n_examples < 0 || n_examples > INT32_MAX - 2)
        return psc_fail(error, PSC_ERROR_INPUT, "statistics need counts of at least 0");
    if (how->draws < 1 || how->draws > PSC_MOST_DRAWS)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%d draws: statistics take 1 to %d draws; 10000 is the default", (int)how->draws,
            (int)PSC_MOST_DRAWS);
    if (!(how->level > 0.0 && how->level <= 0.999999))
        return psc_fail(error, PSC_ERROR_INPUT,
            "level %g: the level of an interval is above 0 and at most 0.999999; 0.95 is usual",
            how->level);
    return PSC_OK;
}

static bool open_scratch(scratch *s, int32_t n_examples, int32_t draws) {
    s->values = malloc(((size_t)n_examples + 1) * BLOCK * sizeof(double));
    s->tables = psc_aligned_alloc(PSC_SUM_TABLES * sizeof(double));
    s->sums = malloc((size_t)draws * BLOCK * sizeof(double));
    return s->values && s->tables && s->sums &&
           psc_draw_masks_open(&s->counts, n_examples, draws) &&
           psc_draw_masks_open(&s->signs, n_examples, draws);
}

static void close_work(work *w, int n_threads) {
    for (int i = 0; w->scratches && i < n_threads; i++) {
        free(w->scratches[i].values);
        psc_aligned_free(w->scratches[i].tables);
        free(w->scratches[i].sums);
        psc_draw_masks_close(&w->scratches[i].counts);
        psc_draw_masks_close(&w->scratches[i].signs);
    }
    free(w->scratches);
    free(w->present);
    free(w->order);
}

psc_status psc_resample(const psc_resampled *out, int64_t n_quantities, int32_t n_examples,
    const double *const *examples, const psc_resampling *how, psc_team *team, psc_error *error) {
    psc_status status = check(n_quantities, n_examples, how, error);
    if (status != PSC_OK || n_quantities == 0) return status;
    const int64_t tasks = (n_quantities + BLOCK - 1) / BLOCK;
    int n_threads = team ? psc_team_threads(team) : 1;
    work w = {out, examples, how, n_quantities, n_examples, NULL, NULL, NULL};
    w.present = calloc((size_t)n_quantities, sizeof *w.present);
    w.order = calloc((size_t)n_quantities, sizeof *w.order);
    w.scratches = calloc((size_t)n_threads, sizeof *w.scratches);
    int64_t *starts = calloc((size_t)n_examples + 2, sizeof *starts);
    bool opened = w.present && w.order && w.scratches && starts;
    for (int i = 0; opened && i < n_threads; i++)
        opened = open_scratch(&w.scratches[i], n_examples, how->draws);
    if (!opened) {
        status = psc_fail(error, PSC_ERROR_MEMORY,
            "not enough memory for the statistics of %d examples", (int)n_examples);
    } else {
        put_in_order(&w, starts);
        if (team)
            psc_team_tasks(team, tasks, do_task, &w);
        else
            for (int64_t task = 0; task < tasks; task++) do_task(task, 0, &w);
    }
    free(starts);
    close_work(&w, n_threads);
    return status;
}
