/* Shares of logits by the adjoint; no component's vector is ever computed.
 *
 *   z_t = sum_c (u_t . c)/sigma_f + b_t        u_t = P(gamma_f * t_bar) [N], b_t = t_bar . beta_f
 *   head (l,h)    z_{l,h} . (W_O,h^T u_t)/sigma_f            W_O^T u_t [H*D], z [rows, H, D]
 *   source (l,h,j) A_kj v_{l,h,j} . (W_O,h^T u_t)/sigma_f    (logits_sources.c)
 *   neuron (l,k)  g(a_k) (W_out^T u_t)_k/sigma_f             W_out^T u_t [M], g(a) [rows, M]
 *   others        (u_t . c)/sigma_f                          c = embed, b_O, b_out, a layer's sums
 *
 * Each event's undivided shares are written straight into the results. One pass over each finished
 * row divides and sums it. One thread computes a row of a target in a fixed order, so the bits
 * depend on neither threads nor chunks. */
#include "logits.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* The number of row-dependent directions that are pulled back together. */
#define BATCH 128

int logits_level_has(logits_level_id level, logits_part part) {
    switch (part) {
    case PART_EMBED:
        return 1;
    case PART_ATTN_OUT:
        return level == LEVEL_LAYER;
    case PART_HEADS:
        return level == LEVEL_HEAD || level == LEVEL_NEURON;
    case PART_SOURCES:
        return level == LEVEL_SOURCE;
    case PART_MLP_OUT:
        return level != LEVEL_NEURON;
    default:
        return level == LEVEL_NEURON;
    }
}

int64_t logits_attention_width(const logits_run *run, logits_level_id level) {
    const int64_t heads = run->model->n_heads;
    if (level == LEVEL_SOURCE) return heads * run->n_keys + 1;
    return level == LEVEL_LAYER ? 1 : heads + 1;
}

static int64_t layer_width(const logits_run *run, logits_level_id level) {
    const int64_t mlp = level == LEVEL_NEURON ? (int64_t)run->model->d_mlp + 1 : 1;
    return logits_attention_width(run, level) + mlp;
}

void logits_count_components(logits_run *run) {
    for (int i = 0; i < LEVEL_COUNT; i++)
        run->levels[i].n = 1 + run->model->n_layers * layer_width(run, i);
}

/* The index of a part's first component in a level's list. */
static int64_t offset_of(
    const logits_run *run, logits_level_id level, logits_part part, int32_t layer) {
    if (part == PART_EMBED) return 0;
    const int64_t base = 1 + layer * layer_width(run, level);
    const int attention = part == PART_ATTN_OUT || part == PART_HEADS || part == PART_SOURCES;
    return attention ? base : base + logits_attention_width(run, level);
}

/* --- pulling back ---------------------------------------------------------------------------- */

/* The two weights that are pulled back: 0 for heads, 1 for neurons. */
static int side_of(logits_part part) {
    return part == PART_NEURONS;
}

static psc_matrix matrix_of(int side) {
    return side ? PSC_W_OUT : PSC_W_O;
}

static int64_t pull_width(const psc_model_info *model, int side) {
    return side ? (int64_t)model->d_mlp : (int64_t)model->n_heads * model->d_head;
}

/* y = U W and each u . bias, for n directions. */
static int pull_back(const logits_run *run, int side, int32_t layer, int32_t n, const float *u,
    float *y, float *bias_shares) {
    const psc_host *host = run->host;
    const int64_t n_dims = run->model->d_model;
    const float *bias = host->bias(run->context, matrix_of(side), layer);
    if (!bias || host->pullback(run->context, matrix_of(side), layer, y, u, n)) return -1;
    for (int32_t i = 0; i < n; i++)
        bias_shares[i] = host->dot(run->context, n_dims, u + i * n_dims, bias);
    return 0;
}

/* Whether a requested level reads this side. */
static int needs_side(const logits_run *run, int side) {
    const logits_level *levels = run->levels;
    if (levels[LEVEL_NEURON].asked) return 1;
    return !side && (levels[LEVEL_HEAD].asked || levels[LEVEL_SOURCE].asked);
}

static float *keep(const logits_run *run, uint64_t count, uint64_t width) {
    if (width > UINT64_MAX / sizeof(float) / (count + 1)) {
        run->host->fail(run->context, "%d targets are too many; give fewer", run->targets.n);
        return NULL;
    }
    return run->host->life_alloc(run->context, count * width * sizeof(float) + 1);
}

/* Makes room for n directions, at least twice the old room. The old tables stay until close. */
static int grow_tables(const logits_run *run, int64_t n) {
    logits_tables *tables = run->tables;
    const uint64_t room = (uint64_t)(n > 2 * tables->room ? n : 2 * tables->room);
    const uint64_t n_layers = (uint64_t)run->model->n_layers;
    tables->room = tables->n = 0;
    tables->u = keep(run, room, (uint64_t)run->model->d_model);
    if (!tables->u) return -1;
    for (int side = 0; side < 2; side++) {
        if (!needs_side(run, side)) continue;
        tables->pull[side] = keep(run, room * n_layers, (uint64_t)pull_width(run->model, side));
        tables->bias[side] = keep(run, room * n_layers, 1);
        if (!tables->pull[side] || !tables->bias[side]) return -1;
    }
    tables->room = (int64_t)room;
    return 0;
}

/* Makes the tables of the directions u [n, N], unless they equal those of the last run. */
static int fixed_tables(const logits_run *run, int64_t n, const float *u) {
    logits_tables *tables = run->tables;
    const size_t bytes = (size_t)(n * run->model->d_model) * sizeof(float);
    if (n > tables->room && grow_tables(run, n)) return -1;
    if (n == tables->n && memcmp(tables->u, u, bytes) == 0) return 0;
    tables->n = 0;
    memcpy(tables->u, u, bytes);
    for (int side = 0; side < 2; side++) {
        const int64_t width = pull_width(run->model, side);
        for (int32_t l = 0; needs_side(run, side) && l < run->model->n_layers; l++)
            if (pull_back(run, side, l, (int32_t)n, u, tables->pull[side] + l * n * width,
                    tables->bias[side] + l * n))
                return -1;
    }
    tables->n = n;
    return 0;
}

/* Allocates the place of the fixed targets' head shares until sigma is known. They are close
 * together here, while the rows of the results are a page or more apart. */
static int fixed_heads(logits_run *run, logits_pass *pass) {
    if (!run->levels[LEVEL_NEURON].asked) return 0;
    const uint64_t layer = (uint64_t)logits_attention_width(run, LEVEL_NEURON) * sizeof(float);
    const uint64_t places = (uint64_t)pass->n_fixed * (uint64_t)run->targets.rows.n;
    if (layer * (uint64_t)run->model->n_layers > UINT64_MAX / (places + 1))
        return run->host->fail(run->context, "%d targets are too many; give fewer", run->targets.n);
    pass->fixed_heads =
        run->host->run_alloc(run->context, layer * (uint64_t)run->model->n_layers * places + 1);
    return pass->fixed_heads ? 0 : -1;
}

float *logits_fixed_heads(
    const logits_run *run, const logits_pass *pass, int32_t layer, int32_t fixed, int32_t slot) {
    const int64_t place = (int64_t)layer * pass->n_fixed + fixed;
    return pass->fixed_heads +
           (place * run->targets.rows.n + slot) * logits_attention_width(run, LEVEL_NEURON);
}

/* Marks the directions that hold at all rows and pulls them back. */
static int fixed_begin(logits_run *run, logits_pass *pass) {
    const psc_target_rows *targets = &run->targets;
    const int64_t n_rows = targets->rows.n, n_dims = run->model->d_model;
    float *u = run->host->run_alloc(
        run->context, ((uint64_t)targets->n * (uint64_t)n_dims + 1) * sizeof(float));
    if (!u) return -1;
    for (int32_t t = 0; t < targets->n; t++) {
        const int kind = targets->targets[t].kind;
        const int32_t d = n_rows ? pass->directions.which[t * n_rows] : -1;
        if ((kind != PSC_TARGET_TOKEN && kind != PSC_TARGET_CONTRAST) || d < 0) continue;
        memcpy(u + pass->n_fixed * n_dims, pass->directions.u + d * n_dims,
            (size_t)n_dims * sizeof(float));
        pass->fixed[d] = pass->n_fixed++;
        pass->carrier = t;
    }
    if (pass->n_fixed == 0) return 0;
    return fixed_heads(run, pass) || fixed_tables(run, pass->n_fixed, u) ? -1 : 0;
}

int logits_pass_begin(
    logits_run *run, logits_pass *pass, const psc_target_rows *targets, int centered) {
    const psc_host *host = run->host;
    if (psc_directions_build(targets, centered, 0, &pass->directions)) return -1;
    const int32_t n = pass->directions.n;
    pass->fixed = host->run_alloc(run->context, ((uint64_t)n + 1) * sizeof(int32_t));
    pass->place = host->run_alloc(run->context, ((uint64_t)n + 1) * sizeof(int32_t));
    if (!pass->fixed || !pass->place) return -1;
    for (int32_t d = 0; d < n; d++) pass->fixed[d] = pass->place[d] = -1;
    pass->carrier = -1;
    if (fixed_begin(run, pass)) return -1;
    if (pass->n_fixed == n) return 0;
    pass->capacity = targets->n > BATCH ? targets->n : BATCH;
    const uint64_t capacity = (uint64_t)pass->capacity, size = sizeof(float);
    const int64_t a = pull_width(run->model, 0), b = pull_width(run->model, 1);
    const uint64_t width = (uint64_t)(a > b ? a : b);
    pass->pull = host->run_alloc(run->context, capacity * width * size);
    pass->batch_u = host->run_alloc(run->context, capacity * (uint64_t)run->model->d_model * size);
    pass->batch_bias = host->run_alloc(run->context, capacity * size);
    pass->batch = host->run_alloc(run->context, capacity * sizeof(int32_t));
    return pass->pull && pass->batch_u && pass->batch_bias && pass->batch ? 0 : -1;
}

/* --- one event ------------------------------------------------------------------------------- */

typedef struct share_task {
    logits_run *run;
    logits_pass *pass;
    logits_part part;
    int32_t layer;
    const psc_event *event;
    int32_t first; /* the batch's first row in the event */
} share_task;

/* W^T u of a direction, and u . bias. */
static const float *pulled(const share_task *task, int32_t d, float *bias) {
    const logits_pass *pass = task->pass;
    const int side = side_of(task->part);
    const int64_t width = pull_width(task->run->model, side);
    if (pass->fixed[d] < 0) {
        *bias = pass->batch_bias[pass->place[d]];
        return pass->pull + pass->place[d] * width;
    }
    const int64_t at = (int64_t)task->layer * pass->n_fixed + pass->fixed[d];
    *bias = task->run->tables->bias[side][at];
    return task->run->tables->pull[side] + at * width;
}

static void head_shares(const share_task *task, int32_t d, const float *z, float *out) {
    const psc_model_info *model = task->run->model;
    float bias = 0.0f;
    const float *v = pulled(task, d, &bias);
    for (int32_t h = 0; h < model->n_heads; h++)
        out[h] = task->run->host->dot(task->run->context, model->d_head,
            v + (int64_t)h * model->d_head, z + h * task->event->tensor.stride[1]);
    out[model->n_heads] = bias;
}

static void source_shares(const share_task *task, int64_t r, int32_t d, float *out) {
    const logits_run *run = task->run;
    const psc_view *pattern = &task->event->tensor;
    float bias = 0.0f;
    const float *w = pulled(task, d, &bias);
    logits_source_shares(run, task->layer, &task->event->rows[r],
        pattern->data + r * pattern->stride[0], pattern->stride[1], w, out);
    out[(int64_t)run->model->n_heads * run->n_keys] = bias;
}

static void neuron_shares(const share_task *task, int32_t d, const float *post, float *out) {
    const int64_t n = task->run->model->d_mlp;
    float bias = 0.0f;
    const float *w = pulled(task, d, &bias);
    for (int64_t k = 0; k < n; k++) out[k] = post[k] * w[k];
    out[n] = bias;
}

/* Writes one row's shares of one target into the first level that has the part, and copies them to
 * the others. */
static void share_one(const share_task *task, int64_t at, int32_t d, int64_t r) {
    const logits_run *run = task->run;
    const float *x = task->event->tensor.data + r * task->event->tensor.stride[0];
    const int64_t n_dims = run->model->d_model;
    const float *done = NULL;
    int64_t n = 1;
    int i = LEVEL_COUNT - 1;
    if (task->part == PART_HEADS && run->levels[i].asked && task->pass->fixed[d] >= 0) {
        const int32_t slot = (int32_t)(at % run->targets.rows.n);
        float *out = logits_fixed_heads(run, task->pass, task->layer, task->pass->fixed[d], slot);
        head_shares(task, d, x, out);
        n = (int64_t)run->model->n_heads + 1;
        done = out;
        i--;
    }
    for (; i >= 0; i--) {
        const logits_level *level = &run->levels[i];
        if (!level->asked || !logits_level_has(i, task->part)) continue;
        float *out = level->shares + at * level->width + offset_of(run, i, task->part, task->layer);
        if (done) {
            memcpy(out, done, (size_t)n * sizeof(float));
            continue;
        }
        if (task->part == PART_HEADS) {
            head_shares(task, d, x, out);
            n = (int64_t)run->model->n_heads + 1;
        } else if (task->part == PART_SOURCES) {
            source_shares(task, r, d, out);
        } else if (task->part == PART_NEURONS) {
            neuron_shares(task, d, x, out);
        } else {
            *out = run->host->dot(run->context, n_dims, task->pass->directions.u + d * n_dims, x);
        }
        done = out;
    }
}

/* The neurons of fixed targets: the activations occupy the places of the last such target's shares
 * and are multiplied once sigma is known. Each share is therefore written once. */
static void carry(const share_task *task, int64_t at, const float *post) {
    const logits_run *run = task->run;
    const logits_level *level = &run->levels[LEVEL_NEURON];
    memcpy(
        level->shares + at * level->width + offset_of(run, LEVEL_NEURON, task->part, task->layer),
        post, (size_t)run->model->d_mlp * sizeof(float));
}

static void share_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    (void)thread;
    const share_task *task = payload;
    const psc_target_rows *targets = &task->run->targets;
    for (int64_t r = task->first + begin; r < task->first + end; r++) {
        const int32_t slot = targets->rows.slot[task->event->rows[r].index];
        const float *x = task->event->tensor.data + r * task->event->tensor.stride[0];
        for (int32_t t = 0; slot >= 0 && t < targets->n; t++) {
            const int64_t at = (int64_t)t * targets->rows.n + slot;
            const int32_t d = task->pass->directions.which[at];
            if (d < 0) continue;
            if (task->part != PART_NEURONS || task->pass->fixed[d] < 0)
                share_one(task, at, d, r);
            else if (t == task->pass->carrier)
                carry(task, at, x);
        }
    }
}

/* Adds a row's directions that are neither fixed nor in the batch; returns 0 if they do not fit. */
static int batch_row(const logits_run *run, logits_pass *pass, int32_t slot, int32_t *n) {
    int32_t added = *n;
    for (int32_t t = 0; slot >= 0 && t < run->targets.n; t++) {
        const int32_t d = pass->directions.which[(int64_t)t * run->targets.rows.n + slot];
        if (d < 0 || pass->fixed[d] >= 0 || pass->place[d] >= 0) continue;
        if (added == pass->capacity) {
            while (added > *n) pass->place[pass->batch[--added]] = -1;
            return 0;
        }
        pass->place[d] = added;
        pass->batch[added++] = d;
    }
    *n = added;
    return 1;
}

static int pull_batch(const share_task *task, int32_t n) {
    logits_pass *pass = task->pass;
    const int64_t n_dims = task->run->model->d_model;
    if (n == 0) return 0;
    for (int32_t i = 0; i < n; i++)
        memcpy(pass->batch_u + i * n_dims, pass->directions.u + pass->batch[i] * n_dims,
            (size_t)n_dims * sizeof(float));
    return pull_back(task->run, side_of(task->part), task->layer, n, pass->batch_u, pass->pull,
        pass->batch_bias);
}

int logits_part_shares(
    logits_run *run, logits_pass *pass, logits_part part, int32_t layer, const psc_event *event) {
    const psc_view *x = &event->tensor;
    share_task task = {run, pass, part, layer, event, 0};
    if (x->n_axes < 2 || x->stride[x->n_axes - 1] != 1)
        return run->host->fail(run->context, "received a tensor whose last axis is not contiguous");
    const int batched = part == PART_HEADS || part == PART_SOURCES || part == PART_NEURONS;
    while (task.first < event->n_rows) {
        int32_t n = 0, end = batched ? task.first : event->n_rows;
        while (end < event->n_rows &&
               batch_row(run, pass, run->targets.rows.slot[event->rows[end].index], &n))
            end++;
        assert(end > task.first); /* a batch takes at least one row's targets */
        const int status = pull_batch(&task, n);
        if (status == 0) run->host->parallel_for(run->context, end - task.first, share_rows, &task);
        for (int32_t i = 0; i < n; i++) pass->place[pass->batch[i]] = -1;
        if (status) return status;
        task.first = end;
    }
    return 0;
}
