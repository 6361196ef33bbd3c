/* Takes every OV edge from the events as they arrive; only the largest are kept.
 *
 *   write(l, h, j -> k) = A_kj W_O,h v_j,  v_j = W_V LN1(x_j) + b_V [D]
 *   share of target t at row k, direct path: A_kj v_j . (W_O,h^T u_t)/sigma_f(k)
 *   |W_O,h v|^2 = v^T (W_O,h^T W_O,h) v, so no write is computed
 *
 * Values lie in panels of 16 keys, [L, H, panels, D, 16], as the kernels read them. One thread
 * takes a row. A row's totals add blocks of 256 keys, each a striped sum, in the order of layers,
 * heads and keys. Ties go to the lower layer, then head, then source. */
#include "edges.h"

#include <math.h>
#include <string.h>

/* Keys of a panel and of a striped sum; rows of a kernel's call and of a pass over the heads. */
enum { KEYS = 16, BLOCK = 256, ROWS = 8, MANY = 64 };

/* --- values ---------------------------------------------------------------------------------- */

int edges_make_gram(edges_state *s) {
    if (!s->gram) s->gram = psc_output_gram(s->context, s->host);
    return s->gram ? 0 : -1;
}

typedef struct event_task {
    edges_state *s;
    const psc_event *event;
    int32_t first; /* values: the panel of the event's first row */
} event_task;

/* A panel of a head: its keys' values, with keys as lanes. */
static float *panel_of(const edges_state *s, int64_t layer_head, int64_t panel) {
    return s->values + (layer_head * s->n_panels + panel) * s->model->d_head * KEYS;
}

/* |W_O v| of a panel's keys; a key that has not come yet gives a number that is replaced later. */
static void take_norms(const edges_state *s, int64_t layer_head, int64_t panel, double *lanes) {
    const int64_t size = s->model->d_head;
    const float *v = panel_of(s, layer_head, panel);
    float *norms = s->norms + (layer_head * s->n_panels + panel) * KEYS;
    double squares[KEYS];
    for (int64_t i = 0; i < size * KEYS; i++) lanes[i] = (double)v[i];
    s->kernels->gram_squares(squares, s->gram + layer_head * size * size, lanes, (size_t)size);
    for (int i = 0; i < KEYS; i++) norms[i] = squares[i] > 0.0 ? (float)sqrt(squares[i]) : 0.0f;
}

/* Each panel has one thread. The event's rows are all positions from its first one on. */
static void take_panels(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const event_task *task = payload;
    const edges_state *s = task->s;
    const psc_event *event = task->event;
    const int64_t heads = s->model->n_heads, size = s->model->d_head;
    const int64_t origin = event->rows[0].position;
    (void)thread;
    for (int64_t panel = task->first + begin; panel < task->first + end; panel++) {
        const int64_t from = panel * KEYS > origin ? panel * KEYS : origin;
        for (int64_t h = 0; h < heads; h++) {
            const int64_t layer_head = event->layer * heads + h;
            float *to = panel_of(s, layer_head, panel);
            for (int64_t key = from; key < (panel + 1) * KEYS && key < s->n_keys; key++) {
                if (key - origin >= event->n_rows) break;
                const float *v =
                    psc_view_row(&event->tensor, key - origin) + h * event->tensor.stride[1];
                for (int64_t d = 0; d < size; d++) to[d * KEYS + key % KEYS] = v[d];
            }
            take_norms(s, layer_head, panel, s->lanes + panel * size * KEYS);
        }
    }
}

int edges_take_values(edges_state *s, const psc_event *event) {
    if (event->n_rows == 0 || event->rows[0].position >= s->n_keys) return 0;
    event_task task = {s, event, event->rows[0].position / KEYS};
    int64_t last = event->rows[event->n_rows - 1].position;
    if (last >= s->n_keys) last = s->n_keys - 1;
    s->host->parallel_for(s->context, last / KEYS - task.first + 1, take_panels, &task);
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

/* A row of a target. */
typedef struct edge_row {
    const float *pattern; /* its first head's */
    const float *u;       /* [H*D] W_O^T u of the target */
    int32_t n_keys;
    edge_list *list;
} edge_row;

/* The edges of one head from the n keys at `from` on; dots [n] are v . u. Most keys are below the
 * list's bound and only enter the sums. */
static void take_edges(const edges_state *s, const event_task *task, const edge_row *row, int32_t h,
    int32_t from, int32_t n, const float *dots) {
    edge_list *list = row->list;
    const float *a = row->pattern + h * task->event->tensor.stride[1] + from;
    const int64_t layer_head = task->event->layer * (int64_t)s->model->n_heads + h;
    const float *norms = s->norms + layer_head * s->n_panels * KEYS + from;
    const float *by = s->by == BY_SHARE ? dots : s->by == BY_NORM ? norms : NULL;
    double sums[3];
    int32_t ids[BLOCK];
    size_t count = 0;
    const double bound = list->top.n < list->top.k ? -INFINITY : list->top.at[list->top.k - 1].key;
    s->kernels->edge_sums(sums, ids, &count, a, dots, by, bound, (size_t)n);
    list->total += sums[0];
    list->total_abs += sums[1];
    list->seen += (int64_t)sums[2];
    for (size_t i = 0; i < count; i++) {
        const int32_t j = ids[i];
        edge e = {task->event->layer, h, from + j, a[j], 0.0, 0.0};
        e.norm = (double)fabsf(a[j]) * (double)norms[j];
        e.share = (double)a[j] * (double)dots[j];
        keep(s, list, &e);
    }
}

/* The edges of one head into up to ROWS rows of targets. */
static void take_together(
    const edges_state *s, const event_task *task, const edge_row *rows, int n, int32_t h) {
    const int64_t size = s->model->d_head, heads = s->model->n_heads;
    const float *x[ROWS];
    float dots[ROWS * BLOCK];
    int32_t most = 0;
    for (int i = 0; i < n; i++) most = rows[i].n_keys > most ? rows[i].n_keys : most;
    for (int i = 0; i < n; i++) x[i] = rows[i].u + h * size;
    for (int32_t from = 0; from < most; from += BLOCK) {
        const int32_t keys = most - from < BLOCK ? most - from : BLOCK;
        s->kernels->panel_dots(dots, BLOCK, x,
            panel_of(s, task->event->layer * heads + h, from / KEYS), (size_t)n, (size_t)size,
            (size_t)(keys + KEYS - 1) / KEYS);
        for (int i = 0; i < n; i++) {
            const int32_t own = rows[i].n_keys - from;
            if (own > 0)
                take_edges(s, task, &rows[i], h, from, own < keys ? own : keys, dots + i * BLOCK);
        }
    }
}

/* Prefetches the pattern of up to ROWS rows: a row's heads lie far apart. */
static void fetch_rows(const event_task *task, const edge_row *rows, int n, int32_t h) {
    for (int i = 0; i < n; i++)
        for (int32_t j = 0; j < rows[i].n_keys; j += KEYS)
            __builtin_prefetch(rows[i].pattern + h * task->event->tensor.stride[1] + j);
}

/* All edges of the layer, head by head: a head's values stay in the core's cache. */
static void take_heads(const edges_state *s, const event_task *task, const edge_row *rows, int n) {
    for (int32_t h = 0; h < s->model->n_heads; h++)
        for (int i = 0; i < n; i += ROWS) {
            const int next = i + ROWS < n ? i + ROWS : 0;
            const int32_t next_head = h + (next == 0);
            if (next_head < s->model->n_heads)
                fetch_rows(task, rows + next, n - next < ROWS ? n - next : ROWS, next_head);
            take_together(s, task, rows + i, n - i < ROWS ? n - i : ROWS, h);
        }
}

static void take_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const event_task *task = payload;
    const edges_state *s = task->s;
    const psc_event *event = task->event;
    const int64_t width = (int64_t)s->model->n_heads * s->model->d_head;
    edge_row rows[MANY];
    int n = 0;
    (void)thread;
    for (int32_t t = 0; t < s->targets.n; t++)
        for (int64_t r = begin; r < end; r++) {
            const int32_t slot = s->targets.rows.slot[event->rows[r].index];
            const int64_t at = (int64_t)t * s->targets.rows.n + slot;
            const int32_t d = slot < 0 ? -1 : s->directions.which[at];
            if (d < 0) continue;
            rows[n++] = (edge_row){psc_view_row(&event->tensor, r), s->pulled + s->place[d] * width,
                event->rows[r].position + 1, &s->lists[at]};
            if (n == MANY) take_heads(s, task, rows, n);
            n %= MANY;
        }
    take_heads(s, task, rows, n);
}

/* The directions of the event's rows, each once, pulled back through this layer's W_O. */
static int pull_directions(edges_state *s, const psc_event *event) {
    const int64_t n_dims = s->model->d_model, width = (int64_t)s->model->n_heads * s->model->d_head;
    int32_t n = 0;
    int in_order = 1; /* the first n directions */
    for (int32_t d = 0; d < s->directions.n; d++) s->place[d] = -1;
    for (int32_t r = 0; r < event->n_rows; r++)
        for (int32_t t = 0; t < s->targets.n; t++) {
            const int32_t slot = s->targets.rows.slot[event->rows[r].index];
            const int32_t d =
                slot < 0 ? -1 : s->directions.which[(int64_t)t * s->targets.rows.n + slot];
            if (d < 0 || s->place[d] >= 0) continue;
            in_order &= d == n;
            s->place[d] = n++;
        }
    if (n == 0) return 0;
    if (in_order)
        return s->host->pullback(s->context, PSC_W_O, event->layer, s->pulled, s->directions.u, n);
    float *u = s->pulled + (int64_t)s->directions.n * width; /* gathered after the pulled rows */
    for (int32_t d = 0; d < s->directions.n; d++)
        if (s->place[d] >= 0)
            memcpy(
                u + s->place[d] * n_dims, s->directions.u + d * n_dims, (size_t)n_dims * sizeof *u);
    return s->host->pullback(s->context, PSC_W_O, event->layer, s->pulled, u, n);
}

int edges_take_pattern(edges_state *s, const psc_event *event) {
    event_task task = {s, event, 0};
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
