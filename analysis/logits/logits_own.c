/* The model's own logits of the targets alone: over a corpus the whole unembedding is not computed.
 *
 *   y = fma(n, gamma, beta) [N],  n = ln_final.hook_normalized after its edits
 *   z_t = y . row t of the unembedding, by apply_outputs in the panel of 16 rows that has t
 *
 * These are the forward pass's operations, so z has the bits of hook_logits. Its editors are seen
 * by an observer of edited logits only, which is free without an editor. */
#include "logits.h"

#include <stddef.h>

enum { PANEL = 16 };

int logits_own_may(const logits_state *state) {
    const psc_host *host = state->host;
    return state->corpus && !state->centered && !state->run.has_late &&
           host->struct_size >= offsetof(psc_host, reductions) + sizeof host->reductions;
}

typedef struct own_task {
    logits_run *run;
    const psc_event *event;
    const psc_reductions *kernels;
    const float *gamma, *beta;
} own_task;

/* The logit of one id; y [N] is LN's output. */
static int logit_of(const logits_run *run, int32_t id, const float *y, float *z) {
    float panel[PANEL];
    const int64_t begin = id / PANEL * PANEL, n_vocab = run->model->d_vocab;
    const int64_t end = begin + PANEL < n_vocab ? begin + PANEL : n_vocab;
    if (run->host->apply_outputs(run->context, PSC_W_U, -1, panel, y, 1, begin, end)) return -1;
    *z = panel[id - begin];
    return 0;
}

static int own_row(const own_task *task, int32_t r, float *y) {
    logits_run *run = task->run;
    const psc_target_rows *targets = &run->targets;
    const int32_t slot = targets->rows.slot[task->event->rows[r].index];
    int made = 0;
    for (int32_t t = 0; slot >= 0 && t < targets->n; t++) {
        const int64_t at = (int64_t)t * targets->rows.n + slot;
        const int32_t a = targets->ids[2 * at], b = targets->ids[2 * at + 1];
        float z[2] = {0.0f, 0.0f};
        if (a < 0) continue;
        if (!made)
            task->kernels->ln_affine(y, psc_view_row(&task->event->tensor, r), task->gamma,
                task->beta, (size_t)run->model->d_model);
        made = 1;
        if (logit_of(run, a, y, &z[0]) || (b >= 0 && logit_of(run, b, y, &z[1]))) return -1;
        run->values[at] = (float)((double)z[0] - (double)z[1]);
    }
    return 0;
}

/* Row r of the event has row r of run->own to itself. */
static void own_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const own_task *task = payload;
    logits_run *run = task->run;
    (void)thread;
    for (int64_t r = begin; r < end; r++)
        run->own_failed[r] = own_row(task, (int32_t)r, run->own + r * run->model->d_model) != 0;
}

/* Makes room for an event's rows. */
static int own_room(logits_run *run, int32_t n_rows) {
    const uint64_t n = (uint64_t)n_rows;
    if (n_rows <= run->own_rows) return 0;
    run->own =
        run->host->run_alloc(run->context, n * (uint64_t)run->model->d_model * sizeof *run->own);
    run->own_failed = run->host->run_alloc(run->context, n);
    run->own_rows = n_rows;
    return run->own && run->own_failed ? 0 : -1;
}

int logits_own_take(logits_run *run, const psc_event *event) {
    const psc_host *host = run->host;
    own_task task = {run, event, host->reductions(run->context), NULL, NULL};
    if (!task.kernels || own_room(run, event->n_rows) ||
        host->ln_parameters(run->context, PSC_LN_FINAL, -1, &task.gamma, &task.beta))
        return -1;
    host->parallel_for(run->context, event->n_rows, own_rows, &task);
    for (int32_t r = 0; r < event->n_rows; r++)
        if (run->own_failed[r]) return -1;
    return 0;
}
