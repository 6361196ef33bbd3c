/* The exact effect of some cells: for each target the `exact` largest |estimate|, and `sample`
 * cells drawn without replacement: those with the smallest hashes of (seed, cell).
 *
 *   effect = metric after minus before, of a run with this one change (host->variants)
 *
 * Variants run layer by layer, and within a layer from the last row to the first. The host then
 * finds the keys and values of earlier rows in place. */
#include "attribution.h"
#include "top.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VARIANTS_A_CALL 256
#define MOST_FLOATS ((int64_t)4 << 20) /* of the changed values of a call, unless one has more */

/* --- the choice ------------------------------------------------------------------------------ */

/* splitmix64's output function, of a cell's own state. */
static double random_of(int32_t seed, int64_t cell) {
    uint64_t z = ((uint64_t)seed << 40) + (uint64_t)cell * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ z >> 31) >> 11);
}

static int by_place(const void *a, const void *b) {
    const attribution_checked *x = a, *y = b;
    if (x->place.layer != y->place.layer) return x->place.layer < y->place.layer ? -1 : 1;
    if (x->place.row != y->place.row) return x->place.row > y->place.row ? -1 : 1;
    return (x->cell > y->cell) - (x->cell < y->cell);
}

static int64_t find(const attribution_state *s, int64_t cell) {
    for (int32_t i = 0; i < s->n_checked; i++)
        if (s->checked[i].cell == cell) return i;
    return -1;
}

/* A target's list; the first target also has the random one. */
typedef struct choice {
    psc_top_list largest, random;
} choice;

static int choose(attribution_state *s, choice *lists) {
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->n_jobs * (uint64_t)s->exact + (uint64_t)s->sample;
    psc_ranked *entries = host->run_alloc(s->context, n * sizeof *entries);
    s->checked = host->run_alloc(s->context, n * sizeof *s->checked);
    if (!entries || !s->checked) return -1;
    int32_t most = 0;
    s->n_places = 0;
    for (int32_t j = 0; j <= s->n_jobs; j++) {
        psc_top_list *list = j < s->n_jobs ? &lists[j].largest : &lists[0].random;
        const double *estimate = s->estimate + s->of_job[j < s->n_jobs ? j : 0] * s->n_cells;
        *list = (psc_top_list){entries, j < s->n_jobs ? s->exact : s->sample, 0};
        entries += list->k;
        if (j < s->n_jobs)
            psc_top_f64(list, s->n_cells, estimate, PSC_TOP_ABSOLUTE);
        else
            for (int64_t i = 0; i < s->n_cells; i++)
                if (!isnan(estimate[i])) {
                    psc_top_offer(list, -random_of(s->seed, i), i);
                    s->n_places++;
                }
        for (int32_t i = 0; i < list->n; i++) {
            const int64_t cell = list->at[i].index;
            s->checked[most++] = (attribution_checked){cell, attribution_place(s, cell)};
        }
    }
    qsort(s->checked, (size_t)most, sizeof *s->checked, by_place);
    s->n_checked = 0;
    for (int32_t i = 0; i < most; i++)
        if (i == 0 || s->checked[i].cell != s->checked[s->n_checked - 1].cell)
            s->checked[s->n_checked++] = s->checked[i];
    return 0;
}

/* The arrays of the checked cells, with what is known of them. */
static int make_arrays(attribution_state *s, const choice *lists) {
    static const char *const axes[] = {"targets", "cells"};
    const psc_host *host = s->host;
    const char **labels = host->run_alloc(s->context, (uint64_t)s->n_checked * sizeof *labels + 1);
    char(*names)[ATTRIBUTION_NAME] =
        host->run_alloc(s->context, (uint64_t)s->n_checked * sizeof *names + 1);
    if (!labels || !names) return -1;
    for (int32_t i = 0; i < s->n_checked; i++) {
        attribution_name(s, &s->checked[i].place, names[i]);
        labels[i] = names[i];
    }
    if (host->axis_labels(s->context, "cells", s->n_checked, labels)) return -1;
    s->estimated = host->array(s->context, "cell_estimate", PSC_F64, 2, axes);
    s->exact_effect = host->array(s->context, "cell_exact", PSC_F64, 2, axes);
    s->end = host->array(s->context, "cell_end", PSC_F64, 2, axes);
    s->largest = host->array(s->context, "cell_largest", PSC_I32, 2, axes);
    s->sampled = host->array(s->context, "cell_sampled", PSC_I32, 1, axes + 1);
    if (!s->estimated || !s->exact_effect || !s->end || !s->largest || !s->sampled) return -1;
    for (int32_t i = 0; i < s->n_checked; i++) s->sampled[i] = 0;
    for (int32_t i = 0; i < lists[0].random.n; i++)
        s->sampled[find(s, lists[0].random.at[i].index)] = 1;
    for (int32_t j = 0; j < s->n_jobs; j++) {
        const int64_t first = (int64_t)s->of_job[j] * s->n_checked;
        for (int32_t i = 0; i < s->n_checked; i++) {
            s->largest[first + i] = 0;
            s->estimated[first + i] = s->estimate[s->of_job[j] * s->n_cells + s->checked[i].cell];
        }
        for (int32_t i = 0; i < lists[j].largest.n; i++)
            s->largest[first + find(s, lists[j].largest.at[i].index)] = i + 1;
    }
    return 0;
}

/* --- the effects ----------------------------------------------------------------------------- */

typedef struct batch {
    attribution_state *s;
    psc_change changes[VARIANTS_A_CALL];
    psc_variant variants[VARIANTS_A_CALL];
    float *neurons; /* [room, T, M]: a changed neuron's rows; null for other cells */
    int32_t first, n, room;
} batch;

/* A variant's event begins at the first row that it changes; earlier rows are unchanged. */
static int on_logits(int32_t variant, const psc_event *logits, void *payload) {
    const batch *b = payload;
    const attribution_state *s = b->s;
    for (int32_t j = 0; j < s->n_jobs; j++) {
        const int32_t t = s->of_job[j];
        const int32_t at = s->rows.index[s->jobs[t].slot] - logits->rows[0].index;
        double *out = s->exact_effect + (int64_t)t * s->n_checked + b->first + variant;
        *out = 0.0;
        if (at < 0) continue;
        const float *z = psc_view_row(&logits->tensor, at);
        *out = attribution_metric(s, t, z) - s->value[t];
    }
    return s->host->cancelled(s->context);
}

/* The layer's own values with those of one neuron changed: the host changes whole rows. */
static int put_neuron(
    const attribution_state *s, psc_change *c, const attribution_cell *cell, float *values) {
    psc_event kept;
    if (s->host->fetch(s->context, s->handle, cell->layer, &kept)) return -1;
    memcpy(values, kept.tensor.data, (size_t)(s->n_rows * s->width) * sizeof *values);
    for (int32_t r = 0; r < s->n_rows; r++)
        values[r * s->width + cell->unit] = attribution_changed(s, cell->layer, r)[cell->unit];
    c->kind = PSC_CHANGE_SET;
    c->values = values;
    c->stride = s->width;
    return 0;
}

int attribution_change(
    const attribution_state *s, psc_change *c, const attribution_cell *cell, float *neuron) {
    const int32_t first = s->run_rows[0].position, row = cell->row < 0 ? 0 : cell->row;
    const int heads = s->over <= OVER_HEADS_BY_POS || s->over == OVER_EDGES;
    *c = (psc_change){.struct_size = sizeof *c,
        .kind = s->what == DO_ZERO ? PSC_CHANGE_SCALE : PSC_CHANGE_SET,
        .point = s->point,
        .layer = cell->layer,
        .sequence = s->run_rows[0].sequence,
        .row_begin = first + row,
        .row_end = first + (cell->row < 0 ? s->n_rows : row + 1),
        .head = heads ? cell->unit : -1,
        .key = cell->key};
    if (s->over == OVER_NEURONS) return put_neuron(s, c, cell, neuron);
    if (s->what == DO_ZERO) return 0;
    const int64_t at = s->over == OVER_EDGES ? (int64_t)cell->unit * s->n_rows + cell->key
                       : heads               ? cell->unit * s->group
                                             : 0;
    c->values = attribution_changed(s, cell->layer, row) + at;
    c->stride = s->what == DO_PATCH ? s->width : 0;
    return 0;
}

static int flush(batch *b) {
    const attribution_state *s = b->s;
    const psc_host *host = s->host;
    if (b->n == 0) return 0;
    const int before = s->rows.index[0] < s->n_rows - 1; /* an earlier row is needed */
    if (host->variants(
            s->context, b->n, b->variants, before ? PSC_ROWS_ALL : PSC_ROWS_LAST, on_logits, b))
        return -1;
    b->first += b->n;
    b->n = 0;
    host->progress(s->context, (double)b->first / (double)s->n_checked);
    return 0;
}

static int compute(attribution_state *s) {
    batch *b = s->host->run_alloc(s->context, sizeof *b);
    if (!b) return -1;
    const int64_t floats = s->n_rows * s->width, neurons = s->over == OVER_NEURONS;
    b->s = s;
    b->room = VARIANTS_A_CALL;
    if (neurons && floats > MOST_FLOATS / b->room)
        b->room = floats < MOST_FLOATS ? (int32_t)(MOST_FLOATS / floats) : 1;
    b->neurons = s->host->run_alloc(
        s->context, (uint64_t)(neurons * b->room * floats) * sizeof *b->neurons + 1);
    if (!b->neurons) return -1;
    for (int32_t i = 0; i < s->n_checked; i++) {
        if (attribution_change(s, &b->changes[b->n], &s->checked[i].place,
                b->neurons + (neurons ? b->n * floats : 0)))
            return -1;
        b->variants[b->n] = (psc_variant){
            .struct_size = sizeof *b->variants, .n_changes = 1, .changes = &b->changes[b->n]};
        b->n++;
        if (b->n == b->room && flush(b)) return -1;
    }
    return flush(b);
}

int attribution_exact(attribution_state *s) {
    choice *lists = s->host->run_alloc(s->context, (uint64_t)s->n_jobs * sizeof *lists);
    if (!lists || choose(s, lists) || make_arrays(s, lists)) return -1;
    return compute(s);
}
