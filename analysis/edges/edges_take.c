/* Takes every OV edge from the events as they arrive; only the largest are kept.
 *
 *   write(l, h, j -> k) = A_kj W_O,h v_j,  v_j = W_V LN1(x_j) + b_V [D]
 *   share of target t at row k, direct path: A_kj v_j . (W_O,h^T u_t)/sigma_f(k)
 *   |W_O,h v|^2 = v^T (W_O,h^T W_O,h) v, so no write is computed
 *
 * One thread takes a row. Ties go to the lower layer, then head, then source. */
#include "edges.h"

#include <math.h>
#include <string.h>

/* --- values ---------------------------------------------------------------------------------- */

int edges_make_gram(edges_state *s) {
    if (!s->gram) s->gram = psc_output_gram(s->context, s->host);
    return s->gram ? 0 : -1;
}

typedef struct event_task {
    edges_state *s;
    const psc_event *event;
} event_task;

static void take_values(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const event_task *task = payload;
    edges_state *s = task->s;
    const psc_view *v = &task->event->tensor;
    const int64_t heads = s->model->n_heads, size = s->model->d_head, l = task->event->layer;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const int64_t row = l * s->n_keys + task->event->rows[r].position;
        if (task->event->rows[r].position >= s->n_keys) continue;
        for (int64_t h = 0; h < heads; h++) {
            float *to = s->values + (row * heads + h) * size;
            memcpy(to, v->data + r * v->stride[0] + h * v->stride[1], (size_t)size * sizeof *to);
            s->norms[row * heads + h] =
                (float)psc_output_norm(s->gram + (l * heads + h) * size * size, to, size);
        }
    }
}

int edges_take_values(edges_state *s, const psc_event *event) {
    event_task task = {s, event};
    s->host->parallel_for(s->context, event->n_rows, take_values, &task);
    return 0;
}

/* --- the pattern ----------------------------------------------------------------------------- */

static double key_of(const edges_state *s, const edge *e) {
    if (s->by == BY_SHARE) return fabs(e->share);
    return s->by == BY_NORM ? e->norm : (double)e->weight;
}

/* Offers e to the list of the largest. */
static void keep(const edges_state *s, edge_list *list, const edge *e) {
    const int64_t layer_head = e->layer * (int64_t)s->model->n_heads + e->head;
    const int32_t place =
        psc_top_offer(&list->top, key_of(s, e), layer_head * s->n_keys + e->source);
    if (place < 0) return;
    list->n = list->top.n;
    *(edge *)psc_top_room(&list->top, place, list->edges, sizeof *e) = *e;
}

/* All edges of one layer into one row. */
static void take_row(const edges_state *s, const psc_event *event, int32_t r, int32_t target) {
    const psc_row *row = &event->rows[r];
    const int64_t at = (int64_t)target * s->targets.rows.n + s->targets.rows.slot[row->index];
    const int32_t d = s->directions.which[at];
    const int64_t heads = s->model->n_heads, size = s->model->d_head;
    edge_list *list = &s->lists[at];
    if (d < 0) return;
    for (int32_t h = 0; h < heads; h++) {
        const float *a =
            event->tensor.data + r * event->tensor.stride[0] + h * event->tensor.stride[1];
        const float *u = s->pulled + (s->place[d] * heads + h) * size;
        for (int32_t j = 0; j <= row->position; j++) {
            const int64_t v = ((int64_t)event->layer * s->n_keys + j) * heads + h;
            edge e = {event->layer, h, j, a[j], 0.0, 0.0};
            if (a[j] == 0.0f) continue;
            e.norm = (double)fabsf(a[j]) * (double)s->norms[v];
            e.share =
                (double)a[j] * (double)s->host->dot(s->context, size, u, s->values + v * size);
            list->total += e.share;
            list->total_abs += fabs(e.share);
            list->seen++;
            keep(s, list, &e);
        }
    }
}

static void take_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const event_task *task = payload;
    (void)thread;
    for (int64_t r = begin; r < end; r++)
        for (int32_t t = 0; t < task->s->targets.n; t++)
            if (task->s->targets.rows.slot[task->event->rows[r].index] >= 0)
                take_row(task->s, task->event, (int32_t)r, t);
}

/* The directions of the event's rows, each once, pulled back through this layer's W_O. */
static int pull_directions(edges_state *s, const psc_event *event) {
    const int64_t n_dims = s->model->d_model, width = (int64_t)s->model->n_heads * s->model->d_head;
    int32_t n = 0;
    for (int32_t d = 0; d < s->directions.n; d++) s->place[d] = -1;
    for (int32_t r = 0; r < event->n_rows; r++)
        for (int32_t t = 0; t < s->targets.n; t++) {
            const int32_t slot = s->targets.rows.slot[event->rows[r].index];
            const int32_t d =
                slot < 0 ? -1 : s->directions.which[(int64_t)t * s->targets.rows.n + slot];
            if (d >= 0 && s->place[d] < 0) s->place[d] = n++;
        }
    if (n == 0) return 0;
    float *u = s->pulled + (int64_t)s->directions.n * width; /* gathered after the pulled rows */
    for (int32_t d = 0; d < s->directions.n; d++)
        if (s->place[d] >= 0)
            memcpy(
                u + s->place[d] * n_dims, s->directions.u + d * n_dims, (size_t)n_dims * sizeof *u);
    return s->host->pullback(s->context, PSC_W_O, event->layer, s->pulled, u, n);
}

int edges_take_pattern(edges_state *s, const psc_event *event) {
    event_task task = {s, event};
    if (pull_directions(s, event)) return -1;
    s->host->parallel_for(s->context, event->n_rows, take_rows, &task);
    return 0;
}

void edges_close_lists(edges_state *s) {
    for (int64_t at = 0; at < (int64_t)s->targets.n * s->targets.rows.n; at++) {
        edge_list *list = &s->lists[at];
        const double sigma = (double)s->sigma[at % s->targets.rows.n];
        list->total /= sigma;
        list->total_abs /= sigma;
        for (int32_t i = 0; i < list->n; i++) list->edges[i].share /= sigma;
        while (list->n > 0 && key_of(s, &list->edges[list->n - 1]) < s->threshold) list->n--;
    }
}
