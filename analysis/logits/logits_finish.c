/* The last pass over a row's shares: each is divided by sigma, summed and written once.
 *
 *   share_c = x_c / sigma, or (g(a_k) (W_out^T u)_k) / sigma for the neurons of a fixed target
 *   sums over c, striped by c mod 16, in f64
 *
 * The products of fixed targets' neurons are deferred to here. Until then their activations occupy
 * the places of the last such target's shares. Several rows and targets go through a layer
 * together, so that a target's weights and a row's activations come from the L1 and L2 caches. Each
 * row of a target still runs from left to right. */
#include "logits.h"

#include <math.h>

#define ROWS_TOGETHER 8
#define TARGETS_TOGETHER 16

double logits_gap(double z, double constant, double sum, double sum_abs, double *relative) {
    const double gap = fabs(z - (constant + sum));
    *relative = gap / (1.0 + sum_abs);
    return gap;
}

typedef struct finish_task {
    logits_run *run;
    const logits_pass *pass;
    const psc_row *rows;
} finish_task;

/* The progress of one row of one target. */
typedef struct share_row {
    int64_t at;      /* target * rows + row */
    int32_t fixed;   /* the direction's place in the tables */
    float sigma;     /* the row's */
    float *y;        /* shares */
    const float *x;  /* the neurons' activations, at the neurons' places */
    int64_t n;       /* shares so far */
    double sums[32]; /* of the shares, of their absolute values */
} share_row;

/* The next n shares: x w / sigma, or x / sigma without w. */
static void next_shares(
    const finish_task *task, share_row *row, const float *x, const float *w, int64_t n) {
    task->run->host->shares(
        task->run->context, row->sums, row->y + row->n, x, w, n, row->n, row->sigma);
    row->n += n;
}

static void end_row(logits_level *level, share_row *row) {
    level->sum[row->at] = psc_fold16(row->sums);
    level->sum_abs[row->at] = psc_fold16(row->sums + 16);
}

/* --- fixed targets, level neuron ------------------------------------------------------------- */

static void layer_shares(const finish_task *task, share_row *row, int32_t layer) {
    const logits_run *run = task->run;
    const logits_pass *pass = task->pass;
    const int64_t at = (int64_t)layer * pass->n_fixed + row->fixed, n_neurons = run->model->d_mlp;
    const int32_t slot = (int32_t)(row->at % run->targets.rows.n);
    next_shares(task, row, logits_fixed_heads(run, pass, layer, row->fixed, slot), NULL,
        logits_attention_width(run, LEVEL_NEURON));
    next_shares(task, row, row->x + row->n, run->tables->pull[1] + at * n_neurons, n_neurons);
    next_shares(task, row, &run->tables->bias[1][at], NULL, 1);
}

/* Targets ascend and the carrier is the last fixed one. In each row and layer its shares therefore
 * overwrite the activations after all other targets have read them. */
static void finish_block(const finish_task *task, share_row *rows, int32_t n) {
    for (int32_t i = 0; i < n; i++) next_shares(task, &rows[i], rows[i].y, NULL, 1);
    for (int32_t l = 0; l < task->run->model->n_layers; l++)
        for (int32_t i = 0; i < n; i++) layer_shares(task, &rows[i], l);
    for (int32_t i = 0; i < n; i++) end_row(&task->run->levels[LEVEL_NEURON], &rows[i]);
}

static int is_put_off(const finish_task *task, int64_t at) {
    const int32_t d = task->pass->directions.which[at];
    return d >= 0 && task->pass->fixed[d] >= 0 && task->run->levels[LEVEL_NEURON].asked;
}

static share_row start_row(const finish_task *task, int32_t t, int32_t slot) {
    const logits_run *run = task->run;
    const logits_level *level = &run->levels[LEVEL_NEURON];
    const int64_t n_rows = run->targets.rows.n;
    share_row row = {.at = t * n_rows + slot, .sigma = run->sigma[slot]};
    row.fixed = task->pass->fixed[task->pass->directions.which[row.at]];
    row.y = level->shares + row.at * level->width;
    row.x = level->shares + (task->pass->carrier * n_rows + slot) * level->width;
    return row;
}

/* The rows begin..end-1 of the event, at most ROWS_TOGETHER. */
static void finish_fixed(const finish_task *task, int64_t begin, int64_t end) {
    const logits_run *run = task->run;
    share_row block[ROWS_TOGETHER * TARGETS_TOGETHER];
    for (int32_t t = 0; t < run->targets.n;) {
        int32_t n = 0;
        for (int32_t taken = 0; taken < TARGETS_TOGETHER && t < run->targets.n; taken++, t++)
            for (int64_t r = begin; r < end; r++) {
                const int32_t slot = run->targets.rows.slot[task->rows[r].index];
                if (slot >= 0 && is_put_off(task, (int64_t)t * run->targets.rows.n + slot))
                    block[n++] = start_row(task, t, slot);
            }
        if (n > 0) finish_block(task, block, n);
    }
}

/* --- other shares ---------------------------------------------------------------------------- */

static void finish_row(const finish_task *task, int32_t t, int32_t slot) {
    logits_run *run = task->run;
    const int64_t at = (int64_t)t * run->targets.rows.n + slot;
    const int32_t d = task->pass->directions.which[at];
    for (int i = 0; d >= 0 && i < LEVEL_COUNT; i++) {
        logits_level *level = &run->levels[i];
        if (!level->asked || (i == LEVEL_NEURON && is_put_off(task, at))) continue;
        share_row row = {.at = at, .sigma = run->sigma[slot]};
        row.y = level->shares + at * level->width;
        next_shares(task, &row, row.y, NULL, level->n);
        end_row(level, &row);
    }
}

static void finish_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    (void)thread;
    const finish_task *task = payload;
    const logits_run *run = task->run;
    for (int64_t r = begin; r < end; r++) {
        const int32_t slot = run->targets.rows.slot[task->rows[r].index];
        for (int32_t t = 0; slot >= 0 && t < run->targets.n; t++) finish_row(task, t, slot);
    }
    if (task->pass->n_fixed == 0) return;
    for (int64_t r = begin; r < end; r += ROWS_TOGETHER)
        finish_fixed(task, r, r + ROWS_TOGETHER < end ? r + ROWS_TOGETHER : end);
}

void logits_finish_rows(logits_run *run, logits_pass *pass, const psc_row *rows, int32_t n) {
    finish_task task = {run, pass, rows};
    run->host->parallel_for(run->context, n, finish_rows, &task);
}
