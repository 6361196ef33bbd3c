/* Statistics of each row's attention by head, taken from the events as they arrive.
 *
 *   entropy      -sum_j A_kj log A_kj
 *   distance     m = k sum_j A_kj - sum_j A_kj j;  its variance sum_j A_kj (k - j - m)^2
 *   induction    sum of the A_k,j+1 >= 0.01 over j < k with row k's token
 *   attracts     columns of A
 *   tl_detect    sum of A where a kind of head looks, over the sum of A. A duplicate-token head
 *                looks at j < k with the same token, an induction head at j + 1, a previous-token
 *                head at k - 1
 *
 * One thread takes a head, with rows in ascending order, so no sum depends on chunks or threads. */
#include "attention.h"

#include <math.h>

typedef struct event_task {
    attention_state *s;
    const psc_event *event;
} event_task;

/* Over the earlier rows with this row's token: sums of A there, over the rows after those, and of
 * the latter where A induces (NaN without such rows). */
static void same_token(
    const attention_state *s, const psc_row *row, const float *a, double *stats, double *after) {
    const int32_t start = row->index - row->position;
    double same = 0.0, induction = s->earlier[row->index] < 0 ? (double)NAN : 0.0;
    *after = 0.0;
    for (int32_t i = s->earlier[row->index]; i >= 0; i = s->earlier[i]) {
        const int32_t j = i - start;
        same += (double)a[j];
        *after += (double)a[j + 1];
        if (a[j + 1] >= ATTENTION_INDUCES) induction += (double)a[j + 1];
    }
    stats[STAT_SAME] = same;
    stats[STAT_INDUCTION] = induction;
}

/* What a run's report shows beside the statistics: the detectors' sums and the attention drawn. */
static void take_run(const attention_state *s, int64_t cell, const psc_row *row, const float *a,
    const double *stats, double after, double sum) {
    const int32_t k = row->position, start = row->index - k, hidden = start < 0 ? -start : 0;
    double *detected = s->detected + cell * (KIND_COUNT + 1);
    double *received = s->received + cell * s->n_rows + start;
    detected[KIND_INDUCTION] += after;
    detected[KIND_PREVIOUS] += k > 0 ? (double)a[k - 1] : 0.0;
    detected[KIND_DUPLICATE] += stats[STAT_SAME];
    detected[KIND_COUNT] += sum;
    for (int32_t j = hidden; j < k; j++) received[j] += (double)a[j];
}

static void take_row(const attention_state *s, int64_t cell, const psc_row *row, const float *a) {
    const int32_t k = row->position;
    double *stats = s->stats + (cell * s->n_rows + row->index) * STAT_COUNT;
    double sums[4], after;
    s->reductions->pattern_sums(sums, a, (size_t)k + 1);
    stats[STAT_ENTROPY] = -sums[1];
    stats[STAT_DISTANCE] = sums[2];
    stats[STAT_FIRST] = (double)a[0];
    stats[STAT_SELF] = (double)a[k];
    stats[STAT_PREVIOUS] = k > 0 ? (double)a[k - 1] : NAN;
    stats[STAT_VARIANCE] = sums[3];
    same_token(s, row, a, stats, &after);
    if (!s->corpus) take_run(s, cell, row, a, stats, after, sums[0]);
}

/* A_{k,k-S+1} and A_{k,k-S}, for a row of the second copy. */
static void take_copies(
    const attention_state *s, int64_t cell, const psc_row *row, const float *a) {
    const int32_t size = s->repeat.length, at = row->position - s->repeat.first - size;
    if (size == 0 || at < 0) return;
    s->copies[0][cell * size + at] = (double)a[row->position - size + 1];
    s->copies[1][cell * size + at] = (double)a[row->position - size];
}

static void take_heads(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const event_task *task = payload;
    const psc_event *event = task->event;
    (void)thread;
    for (int64_t h = begin; h < end; h++) {
        const int64_t cell = event->layer * (int64_t)task->s->n_heads + h;
        for (int32_t r = 0; r < event->n_rows; r++) {
            const float *a =
                event->tensor.data + r * event->tensor.stride[0] + h * event->tensor.stride[1];
            take_row(task->s, cell, &event->rows[r], a);
            if (task->s->pattern) attention_patterns_take(task->s, cell, &event->rows[r], a);
            if (task->s->contexts.best)
                attention_contexts_take(&task->s->contexts, cell, &event->rows[r], a);
            if (!task->s->corpus) take_copies(task->s, cell, &event->rows[r], a);
        }
    }
}

int attention_take(attention_state *s, const psc_event *event) {
    event_task task = {s, event};
    s->host->parallel_for(s->context, s->n_heads, take_heads, &task);
    return 0;
}
