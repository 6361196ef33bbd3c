/* Ridge regression to one-hot targets in closed form, for each task and level:
 *
 *   m = sum x/n,  C = xx - n m m^T,  s = the mean over columns of sqrt(C_ii/n)
 *   z = (x - m)/s,  lambda = ridge n,  y_c = n_c/n
 *   (C/s^2 + lambda I) w_c = (X^T Y_c - n_c m)/s       by LAPACKE's dposv
 *   score_c(x) = y_c + w_c . z = w_c/s . x + bias_c
 *
 * If s is 0, the weights are 0. They take the place of the sums. LAPACK's last bits may
 * differ between machines. */
#include "probe.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

typedef struct solver {
    double *c, *factor; /* [N, N] */
    double *m;          /* [N] */
    double *right;      /* [classes, N] columns for LAPACK */
    double scale;
} solver;

/* C, whole, and the mean standard deviation. */
static void center(const probe_state *s, const probe_group *group, int32_t level, solver *v) {
    const int32_t n = s->n_dims, panels = s->n_panels;
    const double rows = (double)group->n, *x = group->x + (int64_t)level * s->padded;
    const double *tile = group->xx + (int64_t)level * panels * (panels + 1) / 2 * PROBE_TILE;
    for (int32_t i = 0; i < n; i++) v->m[i] = x[i] / rows;
    for (int32_t i = 0; i < panels; i++)
        for (int32_t j = i; j < panels; j++, tile += PROBE_TILE)
            for (int32_t k = 0; k < PROBE_TILE; k++) {
                const int32_t a = i * PROBE_PANEL + k / PROBE_PANEL;
                const int32_t b = j * PROBE_PANEL + k % PROBE_PANEL;
                if (a >= n || b >= n) continue;
                const double value = tile[k] - x[a] * v->m[b];
                v->c[(int64_t)a * n + b] = v->c[(int64_t)b * n + a] = value;
            }
    v->scale = 0.0;
    for (int64_t i = 0; i < n; i++) v->scale += sqrt(fmax(v->c[i * n + i], 0.0) / rows) / n;
}

/* Weights and biases of one task at one level, in place of its sums. */
static int solve_task(probe_state *s, probe_task *task, int32_t level, solver *v) {
    const int64_t n = s->n_dims, size = n * n, classes = task->n_classes;
    const double rows = (double)s->groups[task->group].n, scale = v->scale;
    double *sums = task->sums + level * classes * s->padded;
    if (!(scale > 0.0)) { /* all rows are equal */
        memset(sums, 0, (size_t)(classes * s->padded) * sizeof *sums);
        for (int64_t c = 0; c < classes; c++)
            task->bias[level * classes + c] = (double)task->train[c] / rows;
        return 0;
    }
    for (int64_t i = 0; i < size; i++) v->factor[i] = v->c[i] / (scale * scale);
    for (int64_t i = 0; i < n; i++) v->factor[i * n + i] += s->ridge * rows;
    for (int64_t c = 0; c < classes; c++)
        for (int64_t i = 0; i < n; i++)
            v->right[c * n + i] =
                (sums[c * s->padded + i] - (double)task->train[c] * v->m[i]) / scale;
    const lapack_int info = LAPACKE_dposv(LAPACK_COL_MAJOR, 'U', (lapack_int)n, (lapack_int)classes,
        v->factor, (lapack_int)n, v->right, (lapack_int)n);
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return s->host->fail(s->context, "not enough memory for LAPACK's dposv");
    if (info != 0)
        return s->host->fail(s->context,
            "LAPACK cannot solve the probe '%.60s' at level x%d (dposv %d); raise ridge=",
            task->name, level, (int)info);
    for (int64_t c = 0; c < classes; c++) {
        double bias = (double)task->train[c] / rows;
        for (int64_t i = 0; i < n; i++) {
            const double w = v->right[c * n + i] / scale;
            sums[c * s->padded + i] = w;
            bias -= w * v->m[i];
        }
        task->bias[level * classes + c] = bias;
    }
    return 0;
}

static int solve_group(probe_state *s, int32_t g, solver *v) {
    const probe_group *group = &s->groups[g];
    if (group->n == 0) return 0;
    for (int32_t level = 0; level < s->n_levels; level++) {
        center(s, group, level, v);
        for (int32_t t = 0; t < s->n_tasks; t++)
            if (s->tasks[t].group == g && s->tasks[t].trained > 1 &&
                solve_task(s, &s->tasks[t], level, v))
                return -1;
    }
    return 0;
}

int probe_solve(probe_state *s) {
    const uint64_t n = (uint64_t)s->n_dims;
    int32_t most = 1;
    solver v = {0};
    for (int32_t t = 0; t < s->n_tasks; t++) {
        probe_task *task = &s->tasks[t];
        task->trained = 0;
        if (task->n_classes > most) most = task->n_classes;
        for (int32_t c = 0; c < task->n_classes; c++) task->trained += task->train[c] > 0;
    }
    v.c = s->host->run_alloc(s->context, n * n * sizeof *v.c);
    v.factor = s->host->run_alloc(s->context, n * n * sizeof *v.factor);
    v.m = s->host->run_alloc(s->context, n * sizeof *v.m);
    v.right = s->host->run_alloc(s->context, n * (uint64_t)most * sizeof *v.right);
    if (!v.c || !v.factor || !v.m || !v.right) return -1;
    for (int32_t g = 0; g < s->n_groups; g++)
        if (solve_group(s, g, &v)) return -1;
    return 0;
}
