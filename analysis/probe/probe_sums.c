/* Sums over the training rows, for each group of tasks that train on the same rows and each level:
 *
 *   xx [N, N] = sum x x^T, x [N] = sum x;   for each task sums [classes, N] = X^T Y
 *
 * Every element is one f64 chain over the rows in the order of the sentences, so batches and
 * threads do not matter. Residuals come in panels of 16 columns: [panels, rows, 16]. A tile of xx
 * is the product of two panels; only tiles with column panel i <= j are kept. */
#include "probe.h"

#include <string.h>

void *probe_take(probe_state *s, double count, uint64_t size) {
    s->bytes += count * (double)size;
    if (s->bytes > s->memory * 0x1p20) {
        s->host->fail(s->context,
            "the sums of %d tasks need more than memory=%d MiB; choose fewer tasks=, fewer "
            "classes= or more memory=",
            s->n_tasks, s->memory);
        return NULL;
    }
    return s->host->life_alloc(s->context, (uint64_t)count * size + 1);
}

static int64_t n_tiles(const probe_state *s) {
    return (int64_t)s->n_panels * (s->n_panels + 1) / 2;
}

static int make_task(probe_state *s, probe_task *task) {
    const double levels = s->n_levels, classes = task->n_classes;
    task->sums = probe_take(s, levels * classes * s->padded, sizeof *task->sums);
    task->bias = task->sums ? probe_take(s, levels * classes, sizeof *task->bias) : NULL;
    task->train = task->bias ? probe_take(s, classes, sizeof *task->train) : NULL;
    task->test = task->train ? probe_take(s, classes, sizeof *task->test) : NULL;
    task->right = task->test ? probe_take(s, levels * classes, sizeof *task->right) : NULL;
    return task->right ? 0 : -1;
}

int probe_sums_make(probe_state *s) {
    const double levels = s->n_levels;
    s->bytes = 0.0;
    for (int32_t g = 0; g < s->n_groups; g++) {
        probe_group *group = &s->groups[g];
        group->xx = probe_take(s, levels * (double)n_tiles(s) * PROBE_TILE, sizeof *group->xx);
        if (!group->xx) return -1;
        group->x = probe_take(s, levels * s->padded, sizeof *group->x);
        if (!group->x) return -1;
    }
    for (int32_t t = 0; t < s->n_tasks; t++)
        if (make_task(s, &s->tasks[t])) return -1;
    return 0;
}

/* --- products -------------------------------------------------------------------------------- */

/* c [16, 16] += a^T b over the group's rows; a, b [rows, 16]. Rows in
 * succession are one product. */
static void add_tile(const probe_state *s, double *c, const double *a, const double *b,
    const int32_t *rows, int32_t n_rows) {
    for (int32_t r = 0, end = 0; r < n_rows; r = end) {
        const int64_t first = (int64_t)rows[r] * PROBE_PANEL;
        for (end = r + 1; end < n_rows && rows[end] == rows[end - 1] + 1;) end++;
        s->reductions->add_products(c, PROBE_PANEL, a + first, b + first, (size_t)(end - r));
    }
}

/* The items of a run: panels, levels, groups. A panel near the begin has more tiles than one near
 * the end, so both are taken in turn. */
static void add_group(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const probe_state *s = payload;
    const int32_t panels = s->n_panels;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const probe_group *group = &s->groups[item % s->n_groups];
        const int64_t level = item / s->n_groups % s->n_levels;
        const int32_t turn = (int32_t)(item / s->n_groups / s->n_levels);
        const int32_t i = turn % 2 ? panels - 1 - turn / 2 : turn / 2;
        const double *x = s->x + level * s->level_stride;
        double *tile =
            group->xx +
            (level * n_tiles(s) + (int64_t)i * panels - (int64_t)i * (i - 1) / 2) * PROBE_TILE;
        for (int32_t j = i; j < panels; j++, tile += PROBE_TILE)
            add_tile(s, tile, x + i * s->panel_stride, x + j * s->panel_stride, group->rows,
                group->n_rows);
    }
}

/* to [padded] += the row of a unit. */
static void add_row(const probe_state *s, int64_t level, int32_t unit, double *to) {
    const double *x = s->x + level * s->level_stride + unit * s->row_stride;
    for (int32_t p = 0; p < s->n_panels; p++)
        for (int k = 0; k < PROBE_PANEL; k++) to[p * PROBE_PANEL + k] += x[p * s->panel_stride + k];
}

/* The items: levels, then groups and tasks. */
static void add_vectors(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const probe_state *s = payload;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t level = item % s->n_levels;
        const int32_t which = (int32_t)(item / s->n_levels);
        if (which < s->n_groups) {
            const probe_group *group = &s->groups[which];
            for (int32_t r = 0; r < group->n_rows; r++)
                add_row(s, level, group->rows[r], group->x + level * s->padded);
            continue;
        }
        const int32_t t = which - s->n_groups;
        const probe_task *task = &s->tasks[t];
        for (int32_t u = 0; u < s->n_units; u++) {
            const int32_t c = s->classes_at[(int64_t)u * s->n_tasks + t];
            if (c >= 0)
                add_row(s, level, u, task->sums + (level * task->n_classes + c) * s->padded);
        }
    }
}

static int list_rows(probe_state *s) {
    for (int32_t g = 0; g < s->n_groups; g++) {
        probe_group *group = &s->groups[g];
        group->n_rows = 0;
        group->rows =
            s->host->run_alloc(s->context, (uint64_t)s->n_units * sizeof *group->rows + 1);
        if (!group->rows) return -1;
        int32_t t = 0;
        while (s->tasks[t].group != g) t++;
        for (int32_t u = 0; u < s->n_units; u++)
            if (s->classes_at[(int64_t)u * s->n_tasks + t] >= 0) group->rows[group->n_rows++] = u;
    }
    return 0;
}

int probe_sums_add(probe_state *s) {
    const psc_host *host = s->host;
    if (list_rows(s)) return -1;
    for (int32_t g = 0; g < s->n_groups; g++) s->groups[g].n += s->groups[g].n_rows;
    for (int32_t u = 0; u < s->n_units; u++)
        for (int32_t t = 0; t < s->n_tasks; t++) {
            const int32_t c = s->classes_at[(int64_t)u * s->n_tasks + t];
            if (c >= 0) s->tasks[t].train[c]++;
        }
    const int64_t levels = s->n_levels;
    host->parallel_for(s->context, levels * s->n_groups * s->n_panels, add_group, s);
    host->parallel_for(s->context, levels * (s->n_groups + s->n_tasks), add_vectors, s);
    return 0;
}
