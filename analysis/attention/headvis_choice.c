/* Which windows of a head the folder has.
 *
 *   limits b_1 <= .. <= b_4 of the buckets: the quintiles of the head's largest attention over the
 *   ranked sample, sorted x: b_i = x[min(round(i n/5), n - 1)]
 *   bucket of a window: the number of limits <= its largest attention
 *   top bucket: the head's largest windows in it; the others: of the sample's windows in the
 *   bucket the HEADVIS_SAMPLES of the highest priority */
#include "attention_contexts.h"

#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static int make_limits(const headvis *v, int64_t cell, float limits[HEADVIS_BUCKETS - 1]) {
    float x[HEADVIS_RANKED];
    const int32_t n = v->n_ranked;
    for (int32_t i = 0; i < n; i++)
        x[i] = v->ranked[i * (v->c->n_cells + v->c->n_cells % 2) + cell];
    qsort(x, (size_t)n, sizeof *x, by_value);
    for (int32_t i = 1; i < HEADVIS_BUCKETS; i++) {
        const int32_t at = (2 * i * n + HEADVIS_BUCKETS) / (2 * HEADVIS_BUCKETS);
        limits[i - 1] = x[at < n ? at : n - 1];
    }
    return 0;
}

static int32_t bucket_of(const float *limits, float largest) {
    int32_t bucket = 0;
    while (bucket < HEADVIS_BUCKETS - 1 && limits[bucket] <= largest) bucket++;
    return bucket;
}

static int read_list(headvis *v, int32_t list, int handle, int64_t cell) {
    const attention_contexts *c = v->c;
    v->n_entries[list] =
        c->host->accumulated_records(c->context, handle, cell, v->entries[list], v->records[list]);
    for (int32_t e = 0; e < v->n_entries[list]; e++) {
        const head_record record =
            attention_record_at(c, v->records[list] + (uint64_t)e * c->record_bytes);
        if (attention_record_check(c, &record)) return -1;
    }
    return v->n_entries[list] < 0 ? -1 : 0;
}

/* Chooses up to `most` windows of a list in a bucket, in the order of the list. */
static void choose_bucket(
    headvis *v, int32_t list, int32_t bucket, int32_t most, const float *limits) {
    const attention_contexts *c = v->c;
    for (int32_t e = 0; e < v->n_entries[list] && most > 0; e++) {
        const head_record record =
            attention_record_at(c, v->records[list] + (uint64_t)e * c->record_bytes);
        if (bucket_of(limits, record.head->largest) != bucket) continue;
        const psc_top *entry = &v->entries[list][e];
        const int64_t first = entry->position - (int64_t)(list == 1 ? record.head->row : 0);
        v->chosen[v->n_chosen++] =
            (headvis_window){list, e, bucket, (int32_t)first, entry->document};
        most--;
    }
}

int headvis_choose(headvis *v, int64_t cell) {
    float limits[HEADVIS_BUCKETS - 1];
    v->n_chosen = 0;
    if (read_list(v, 0, v->c->sample, cell) || read_list(v, 1, v->c->top, cell)) return -1;
    if (v->n_ranked == 0) return 0;
    make_limits(v, cell, limits);
    for (int32_t bucket = 0; bucket < HEADVIS_BUCKETS - 1; bucket++)
        choose_bucket(v, 0, bucket, HEADVIS_SAMPLES, limits);
    choose_bucket(v, 1, HEADVIS_BUCKETS - 1, v->c->kept, limits);
    return 0;
}

int headvis_by_place(const void *a, const void *b) {
    const headvis_window *x = a, *y = b;
    if (x->document != y->document) return x->document < y->document ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

int64_t headvis_number(const headvis *v, const headvis_window *window) {
    const headvis_window *found =
        bsearch(window, v->all, (size_t)v->n_all, sizeof *window, headvis_by_place);
    return found ? found - v->all : -1;
}
