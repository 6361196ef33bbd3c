/* The test: each unit's score for every class, score_c = w_c . x + bias_c, at every level.
 * The class with the largest score is the guess, ties to the first; a class without
 * training rows is never guessed. Of two classes, the scores of the second are kept for the
 * area under the ROC curve. */
#include "probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int probe_test_begin(probe_state *s) {
    const uint64_t cells = (uint64_t)s->n_units * (uint64_t)s->n_tasks * (uint64_t)s->n_levels;
    s->guess = s->host->run_alloc(s->context, cells * sizeof *s->guess + 1);
    s->score = s->host->run_alloc(s->context, cells * sizeof *s->score + 1);
    return s->guess && s->score ? 0 : -1;
}

/* Lanes i mod 16 in ascending order, then folded; rows are padded with zeros. */
static double dot(int32_t panels, const double *a, const double *b) {
    double lanes[PROBE_PANEL] = {0};
    for (int32_t p = 0; p < panels; p++, a += PROBE_PANEL, b += PROBE_PANEL)
        for (int k = 0; k < PROBE_PANEL; k++) lanes[k] += a[k] * b[k];
    for (int width = PROBE_PANEL / 2; width > 0; width /= 2)
        for (int k = 0; k < width; k++) lanes[k] += lanes[k + width];
    return lanes[0];
}

static void guess_one(probe_state *s, int32_t unit, int32_t t, int32_t level) {
    const probe_task *task = &s->tasks[t];
    const int64_t classes = task->n_classes;
    const int64_t at = ((int64_t)unit * s->n_tasks + t) * s->n_levels + level;
    const double *x = s->x + level * s->level_stride + unit * s->row_stride;
    double best = -INFINITY;
    for (int64_t c = 0; c < classes; c++) {
        if (task->train[c] == 0) continue;
        const double score = task->bias[level * classes + c] +
                             dot(s->n_panels, task->sums + (level * classes + c) * s->padded, x);
        if (c == 1) s->score[at] = score;
        if (!(score > best)) continue;
        best = score;
        s->guess[at] = (int32_t)c;
    }
}

static void guess_units(int64_t begin, int64_t end, int32_t thread, void *payload) {
    probe_state *s = payload;
    (void)thread;
    for (int64_t u = begin; u < end; u++)
        for (int32_t t = 0; t < s->n_tasks; t++) {
            if (s->classes_at[u * s->n_tasks + t] < 0 || s->tasks[t].trained < 2) continue;
            for (int32_t level = 0; level < s->n_levels; level++)
                guess_one(s, (int32_t)u, t, level);
        }
}

/* Room for the scores of as many rows as the run has units. */
static int make_room(probe_state *s, probe_task *task) {
    int64_t room = task->room ? task->room : 4096;
    const double before = s->bytes;
    if (task->n_classes != 2 || task->trained < 2) return 0;
    if (task->n_scores + s->n_units <= task->room) return 0;
    while (room < task->n_scores + s->n_units) room *= 2;
    double *scores = probe_take(s, (double)room * s->n_levels, sizeof *scores);
    uint8_t *truth = scores ? probe_take(s, (double)room, 1) : NULL;
    if (!truth) {
        s->bytes = before; /* the caller may try again */
        return -1;
    }
    if (task->n_scores) {
        const uint64_t n = (uint64_t)task->n_scores;
        memcpy(scores, task->scores, n * (uint64_t)s->n_levels * sizeof *scores);
        memcpy(truth, task->truth, n);
    }
    task->scores = scores;
    task->truth = truth;
    task->room = room;
    return 0;
}

static void tally(probe_state *s, int32_t unit, int32_t t) {
    probe_task *task = &s->tasks[t];
    const int32_t c = s->classes_at[(int64_t)unit * s->n_tasks + t];
    const int64_t at = ((int64_t)unit * s->n_tasks + t) * s->n_levels;
    if (c == -1) return;
    if (c < 0 || task->train[c] == 0) {
        task->unseen++;
        return;
    }
    task->test[c]++;
    if (task->trained < 2) return;
    for (int64_t l = 0; l < s->n_levels; l++)
        task->right[l * task->n_classes + c] += s->guess[at + l] == c;
    if (task->n_classes != 2) return;
    memcpy(task->scores + task->n_scores * s->n_levels, s->score + at,
        (size_t)s->n_levels * sizeof *task->scores);
    task->truth[task->n_scores++] = c == 1;
}

int probe_test_add(probe_state *s) {
    for (int32_t t = 0; t < s->n_tasks; t++)
        if (make_room(s, &s->tasks[t])) return -1;
    s->host->parallel_for(s->context, s->n_units, guess_units, s);
    for (int32_t u = 0; u < s->n_units; u++)
        for (int32_t t = 0; t < s->n_tasks; t++) tally(s, u, t);
    return 0;
}

/* --- the area under the ROC curve ------------------------------------------------------------ */

static int by_score(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double probe_auroc(
    int64_t n, const double *scores, int64_t stride, const uint8_t *truth, double *pairs) {
    double positive = 0.0, ranks = 0.0;
    for (int64_t i = 0; i < n; i++) {
        pairs[2 * i] = scores[i * stride];
        pairs[2 * i + 1] = truth[i];
        positive += truth[i];
    }
    qsort(pairs, (size_t)n, 2 * sizeof *pairs, by_score);
    for (int64_t i = 0, end = 0; i < n; i = end) {
        double inside = 0.0;
        for (end = i; end < n && !(pairs[2 * end] > pairs[2 * i]); end++)
            inside += pairs[2 * end + 1];
        ranks += inside * (double)(i + 1 + end) / 2.0;
    }
    const double negative = (double)n - positive;
    if (positive == 0.0 || negative == 0.0) return NAN;
    return (ranks - positive * (positive + 1.0) / 2.0) / (positive * negative);
}
