/* Cosines and ranks of all pairs, one level after the other. For the forms x_i [N] of a level:
 *
 *   y_i = x_i - mean x     u_i = y_i / |y_i|, 0 where y_i is 0
 *   cosine = u_a . u_b     closer: 1, 1/2 or 0 as it is above, at or below u_a . u_c
 *   rank of b for a query q: 1 + the forms c of b's tag with cos(q, c) > cos(q, b) + 1e-12
 *   queries: u_a (a itself is not ranked), and y_a + the mean of y_b' - y_a' over the other pairs of
 *   the same two tags (a is ranked if it has b's tag, since the query is no longer a)
 *
 * All in f64. A pair's figures depend on no other thread; sums are in the order of the list. */
#include "forms.h"

#include <math.h>

#define TIE 1e-12 /* forms that end in the same token have equal embeddings, but for rounding */

static double dot(int32_t n, const double *a, const double *b) {
    double lane[16] = {0};
    int32_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int32_t l = 0; l < 16; l++) lane[l] += a[i + l] * b[i + l];
    for (int32_t l = 0; i < n; i++, l++) lane[l] += a[i] * b[i];
    return psc_fold16(lane);
}

typedef struct forms_task {
    forms_state *s;
    int32_t level;
    double *query; /* [threads, N] */
} forms_task;

static double *unit_of(const forms_state *s, int32_t i) {
    return s->unit + (int64_t)i * s->width;
}

/* A thread owns its columns: the mean over the list is taken out. */
static void center_columns(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const forms_task *task = payload;
    const forms_state *s = task->s;
    (void)thread;
    for (int64_t k = begin; k < end; k++) {
        double sum = 0.0;
        for (int32_t i = 0; i < s->n; i++) sum += (double)forms_vector(s, i, task->level)[k];
        const double mean = sum / s->n;
        for (int32_t i = 0; i < s->n; i++)
            unit_of(s, i)[k] = (double)forms_vector(s, i, task->level)[k] - mean;
    }
}

/* offset: the sum of y_mate - y_form over the pairs of two tags. */
static void sum_offsets(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const forms_state *s = ((forms_task *)payload)->s;
    (void)thread;
    for (int64_t t = begin; t < end; t++) {
        double *offset = s->offset + t * s->width;
        for (int32_t k = 0; k < s->width; k++) offset[k] = 0.0;
        for (int32_t p = s->pair_begin[t]; p < s->pair_begin[t + 1]; p++) {
            const double *a = unit_of(s, s->pairs[p].form), *b = unit_of(s, s->pairs[p].mate);
            for (int32_t k = 0; k < s->width; k++) offset[k] += b[k] - a[k];
        }
    }
}

static void divide_by_length(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const forms_state *s = ((forms_task *)payload)->s;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        double *y = unit_of(s, (int32_t)i);
        s->length[i] = sqrt(dot(s->width, y, y));
        for (int32_t k = 0; k < s->width; k++)
            y[k] = s->length[i] > 0.0 ? y[k] / s->length[i] : 0.0;
    }
}

/* The rank of the pair's mate for a query [N], without the form `but`; -1: all forms. */
static double rank_of(
    const forms_state *s, const forms_pair *pair, const double *query, int32_t but) {
    const double size = sqrt(dot(s->width, query, query));
    const double least = dot(s->width, query, unit_of(s, pair->mate)) + TIE * size;
    const int32_t tag = forms_at(s, pair->mate)->tag_id;
    int32_t before = 0;
    for (int32_t i = s->tag_begin[tag]; i < s->tag_begin[tag + 1]; i++) {
        const int32_t c = s->by_tag[i];
        if (c != but && c != pair->mate) before += dot(s->width, query, unit_of(s, c)) > least;
    }
    return 1.0 + before;
}

/* y_a and the mean offset of the other pairs of these tags; a alone when there is no other. */
static void move(const forms_state *s, const forms_pair *pair, double *query) {
    const int32_t others = s->pair_begin[pair->tags + 1] - s->pair_begin[pair->tags] - 1;
    const double *offset = s->offset + (int64_t)pair->tags * s->width;
    const double *a = unit_of(s, pair->form), *b = unit_of(s, pair->mate);
    const double from = s->length[pair->form], to = s->length[pair->mate];
    for (int32_t k = 0; k < s->width; k++) {
        const double y = a[k] * from;
        query[k] = others > 0 ? y + (offset[k] - (b[k] * to - y)) / others : y;
    }
}

static void measure_pairs(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const forms_task *task = payload;
    const forms_state *s = task->s;
    double *query = task->query + (int64_t)thread * s->width;
    for (int64_t p = begin; p < end; p++) {
        const forms_pair *pair = &s->pairs[p];
        forms_figure *f = &s->figures[(int64_t)task->level * s->n_pairs + p];
        const double *a = unit_of(s, pair->form);
        double control = 0.0, closer = 0.0;
        f->cosine = dot(s->width, a, unit_of(s, pair->mate));
        for (int32_t d = 0; d < s->draws; d++) {
            const int32_t c = s->control[p * s->draws + d];
            const double other = c < 0 ? NAN : dot(s->width, a, unit_of(s, c));
            control += other;
            closer += isnan(other) ? NAN : fabs(f->cosine - other) <= TIE ? 0.5 : f->cosine > other;
        }
        f->control = control / s->draws;
        f->closer = closer / s->draws;
        f->rank = rank_of(s, pair, a, pair->form);
        move(s, pair, query);
        f->moved = rank_of(s, pair, query, -1);
    }
}

int forms_measure(forms_state *s) {
    const psc_host *host = s->host;
    const uint64_t width = (uint64_t)s->width, n = (uint64_t)s->n, pairs = (uint64_t)s->n_pairs;
    forms_task task = {s, 0, host->run_alloc(s->context, FORMS_THREADS * width * sizeof(double))};
    s->unit = host->run_alloc(s->context, n * width * sizeof *s->unit);
    s->length = host->run_alloc(s->context, n * sizeof *s->length);
    s->offset =
        host->run_alloc(s->context, ((uint64_t)s->n_tag_pairs + 1) * width * sizeof *s->offset);
    s->figures =
        host->run_alloc(s->context, (pairs * (uint64_t)s->n_levels + 1) * sizeof *s->figures);
    if (!task.query || !s->unit || !s->length || !s->offset || !s->figures) return -1;
    for (; task.level < s->n_levels; task.level++) {
        host->parallel_for(s->context, s->width, center_columns, &task);
        host->parallel_for(s->context, s->n_tag_pairs, sum_offsets, &task);
        host->parallel_for(s->context, s->n, divide_by_length, &task);
        host->parallel_for(s->context, s->n_pairs, measure_pairs, &task);
    }
    return 0;
}
