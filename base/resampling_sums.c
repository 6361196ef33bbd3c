/* Sums over draws by tables of the sums of eight examples (resampling_sums.h).
 *
 * The tables of a span take 256 KB and serve all draws. A table doubles with each example:
 *
 *   T [mask + 2^i] = T [mask] + inside v_i,   T [mask] += outside v_i,   for mask < 2^i */
#include "resampling_sums.h"

#include "resampling_draws.h"

#include <stdlib.h>
#include <string.h>

#define LANES PSC_SUM_LANES
#define SPAN PSC_SUM_SPAN

static const size_t MOST_BYTES = (size_t)8 << 20;

static size_t groups_of(int32_t n) {
    return ((size_t)n + 7) / 8;
}

/* The bits that a count of at most n has. */
static int bits_of(int32_t n) {
    int bits = 1;
    while (n >> bits) bits++;
    return bits;
}

/* --- masks ----------------------------------------------------------------------------------- */

bool psc_draw_masks_open(psc_draw_masks *out, int32_t n_examples, int32_t draws) {
    const size_t of_draw = (groups_of(n_examples) + 1) * (size_t)bits_of(n_examples);
    const size_t most = of_draw > MOST_BYTES ? of_draw : MOST_BYTES;
    *out = (psc_draw_masks){.n = -1};
    out->bytes = (size_t)draws <= most / of_draw ? (size_t)draws * of_draw : most;
    out->planes = malloc((size_t)draws);
    out->masks = malloc(out->bytes);
    out->weights = malloc(((size_t)n_examples + 1) * sizeof *out->weights);
    return out->planes && out->masks && out->weights;
}

void psc_draw_masks_close(psc_draw_masks *masks) {
    free(masks->planes);
    free(masks->masks);
    free(masks->weights);
    *masks = (psc_draw_masks){.n = -1};
}

/* Writes the masks of the weights, counts, and returns the number of planes. */
static int put_counts(uint8_t *masks, const double *weights, int32_t n) {
    const size_t groups = groups_of(n);
    int32_t largest = 0;
    for (int32_t i = 0; i < n; i++)
        if ((int32_t)weights[i] > largest) largest = (int32_t)weights[i];
    const int planes = bits_of(largest);
    memset(masks, 0, groups * (size_t)planes);
    for (int32_t i = 0; i < n; i++)
        for (int32_t k = 0, c = (int32_t)weights[i]; c >> k; k++)
            masks[(size_t)k * groups + (size_t)i / 8] |= (uint8_t)((c >> k & 1) << i % 8);
    return planes;
}

static void put_signs(uint8_t *masks, const double *weights, int32_t n) {
    memset(masks, 0, groups_of(n));
    for (int32_t i = 0; i < n; i++) masks[i / 8] |= (uint8_t)((weights[i] < 0.0) << i % 8);
}

static int put_draw(psc_draw_masks *m, uint8_t *masks, int32_t draw) {
    if (m->kind == PSC_DRAW_COUNTS) {
        psc_draw_counts(m->n, m->weights, m->seed, draw);
        return put_counts(masks, m->weights, m->n);
    }
    if (m->kind == PSC_DRAW_SIGNS) {
        psc_draw_signs(m->n, m->weights, m->seed, draw);
        put_signs(masks, m->weights, m->n);
    } else {
        for (size_t g = 0; g < groups_of(m->n); g++) masks[g] = (uint8_t)(draw >> 8 * g);
    }
    return 1;
}

void psc_draw_masks_take(
    psc_draw_masks *m, psc_draw_kind kind, uint64_t seed, int32_t n, int32_t first, int32_t end) {
    const size_t groups = groups_of(n), most = groups * (size_t)bits_of(n);
    if (m->n == n && m->kind == kind && m->seed == seed && m->first == first &&
        m->count == end - first)
        return;
    m->kind = kind;
    m->seed = seed;
    m->n = n;
    m->first = first;
    m->count = 0;
    uint8_t *masks = m->masks, *last = m->masks + m->bytes - most;
    for (int32_t d = first; d < end && masks <= last; d++) {
        const int planes = put_draw(m, masks, d);
        m->planes[m->count++] = (uint8_t)planes;
        masks += groups * (size_t)planes;
    }
}

/* --- sums ------------------------------------------------------------------------------------ */

/* tables [groups][256][LANES] of values [n][LANES], n at most 8 SPAN. */
static void build(double *tables, const double *values, int32_t n, bool signs) {
    const double inside = signs ? -1.0 : 1.0, outside = signs ? 1.0 : 0.0;
    for (int32_t i = 0; i < n; i++) {
        double *table = tables + (int64_t)(i / 8) * 256 * LANES;
        const double *v = values + (int64_t)i * LANES;
        const int half = LANES << i % 8;
        if (i % 8 == 0) memset(table, 0, LANES * sizeof *table);
        for (int at = 0; at < half; at += LANES)
            for (int lane = 0; lane < LANES; lane++) {
                table[half + at + lane] = table[at + lane] + inside * v[lane];
                table[at + lane] += outside * v[lane];
            }
    }
}

/* Adds a draw's sums over the groups of the tables; masks [planes][all groups]. */
static void add_draw(double sums[LANES], const double *tables, const uint8_t *masks, int planes,
    size_t all_groups, int groups) {
    double sum[LANES] = {0};
    for (int k = planes - 1; k >= 0; k--) {
        const uint8_t *mask = masks + (size_t)k * all_groups;
        for (int lane = 0; lane < LANES; lane++) sum[lane] += sum[lane];
        for (int g = 0; g < groups; g++) {
            const double *of = tables + ((size_t)g * 256 + mask[g]) * LANES;
            for (int lane = 0; lane < LANES; lane++) sum[lane] += of[lane];
        }
    }
    memcpy(sums, sum, sizeof sum);
}

void psc_sum_draws(
    double *sums, int64_t stride, const psc_draw_masks *m, const double *values, double *tables) {
    const size_t all = groups_of(m->n);
    for (size_t begin = 0; begin < all; begin += SPAN) {
        const int groups = all - begin < SPAN ? (int)(all - begin) : SPAN;
        const int32_t first = (int32_t)(8 * begin), left = m->n - first;
        const uint8_t *masks = m->masks + begin;
        double sum[LANES];
        build(tables, values + (int64_t)first * LANES, left < 8 * groups ? left : 8 * groups,
            m->kind != PSC_DRAW_COUNTS);
        for (int32_t d = 0; d < m->count; d++) {
            double *to = sums + m->first + d;
            add_draw(sum, tables, masks, m->planes[d], all, groups);
            masks += all * m->planes[d];
            for (int lane = 0; lane < LANES; lane++)
                to[lane * stride] = begin ? to[lane * stride] + sum[lane] : sum[lane];
        }
    }
}

void psc_sum_all(double *sums, int32_t n, const double *values) {
    double span[LANES] = {0}, group[LANES] = {0};
    for (int lane = 0; lane < LANES; lane++) sums[lane] = 0.0;
    for (int32_t i = 0; i < n; i++) {
        const bool last = i + 1 == n, ends = last || i % 8 == 7,
                   closes = last || i % (8 * SPAN) == 8 * SPAN - 1;
        for (int lane = 0; lane < LANES; lane++) {
            group[lane] += values[(int64_t)i * LANES + lane];
            if (ends) span[lane] += group[lane];
            if (ends) group[lane] = 0.0;
            if (closes) sums[lane] += span[lane];
            if (closes) span[lane] = 0.0;
        }
    }
}
