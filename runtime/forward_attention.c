/* Attention of one chunk: rotary on q and k, keys and values into the cache, then per head
 *   scores[r, key] = (q_r . k_key) / sqrt(d_head),  pattern = softmax over keys 0..position,
 *   z_r = sum over keys of pattern[r, key] v_key.
 * A task is one head and up to PSC_ATTENTION_TILE rows of one sequence. Unwatched, a task does all
 * three steps in its thread's scratch; watched, each step is done for all rows and shown. */
#include "forward_inside.h"

#include <math.h>
#include <string.h>

typedef enum step { STEP_ALL, STEP_SCORES, STEP_SOFTMAX, STEP_VALUES } step;

typedef struct attention_job {
    psc_forward *f;
    step step;
    float *scores; /* [rows, H, ld_keys]; null: the thread's scratch */
    size_t ld_keys;
    float scale;
} attention_job;

static void rotate_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    psc_forward *f = payload;
    size_t n_rot = f->model->config.rotary_dims, half = n_rot / 2;
    for (int64_t r = begin; r < end; r++) {
        size_t at = (size_t)r * f->ld_n, table = (size_t)f->rows[r].position * half;
        const float *cos = f->model->rotary_cos + table, *sin = f->model->rotary_sin + table;
        f->kernels->rotary(f->q + at, f->q + at, cos, sin, f->heads, f->d_head, n_rot);
        f->kernels->rotary(f->k + at, f->k + at, cos, sin, f->heads, f->d_head, n_rot);
    }
}

/* A task is one head: neighbouring positions share a panel's cache lines. */
static void store_head(int64_t head, int thread, void *payload) {
    (void)thread;
    psc_forward *f = payload;
    for (int32_t r = 0; r < f->n_rows; r++) {
        size_t at = (size_t)r * f->ld_n + (size_t)head * f->d_head;
        psc_kv_cache_put(f->cache, f->rows[r].sequence, f->layer, (int32_t)head,
            f->rows[r].position, f->k + at, f->v + at);
    }
}

/* The rows of tile `tile`: *first and how many; tiles do not cross from one sequence to another. */
static int32_t tile_rows(const psc_forward *f, int64_t tile, int32_t *first) {
    int32_t begin = 0;
    for (;;) {
        int32_t end = begin + 1;
        while (end < f->n_rows && end - begin < PSC_ATTENTION_TILE &&
               f->rows[end].sequence == f->rows[begin].sequence)
            end++;
        if (tile-- == 0) {
            *first = begin;
            return end - begin;
        }
        begin = end;
    }
}

static int64_t count_tiles(const psc_forward *f) {
    int64_t tiles = 0;
    for (int32_t begin = 0; begin < f->n_rows; tiles++) {
        int32_t end = begin + 1;
        while (end < f->n_rows && end - begin < PSC_ATTENTION_TILE &&
               f->rows[end].sequence == f->rows[begin].sequence)
            end++;
        begin = end;
    }
    return tiles;
}

static void attention_task(int64_t task, int thread, void *payload) {
    const attention_job *job = payload;
    psc_forward *f = job->f;
    int32_t head = (int32_t)((size_t)task % f->heads), first;
    int32_t rows = tile_rows(f, task / (int64_t)f->heads, &first);
    int32_t sequence = f->rows[first].sequence;
    size_t at = (size_t)first * f->ld_n + (size_t)head * f->d_head;
    float *scores = f->scratch + (size_t)thread * f->scratch_floats;
    size_t ld = f->cache->capacity + PSC_LANES;
    if (job->scores) {
        ld = f->heads * job->ld_keys;
        scores = job->scores + (size_t)first * ld + (size_t)head * job->ld_keys;
    }
    psc_attention a = {.y = scores,
        .ldy = ld,
        .x = f->q + at,
        .ldx = f->ld_n,
        .cache = psc_kv_cache_keys(f->cache, sequence, f->layer, head),
        .key_capacity = f->cache->capacity,
        .n_keys = f->n_keys + first,
        .rows = (size_t)rows,
        .d_head = f->d_head,
        .scale = job->scale};
    if (job->step == STEP_ALL || job->step == STEP_SCORES) f->kernels->attention_scores(&a);
    if (job->step == STEP_ALL || job->step == STEP_SOFTMAX)
        for (int32_t r = 0; r < rows; r++) {
            float *row = scores + (size_t)r * ld;
            f->kernels->softmax(row, row, (size_t)f->n_keys[first + r]);
        }
    if (job->step != STEP_ALL && job->step != STEP_VALUES) return;
    a.x = scores;
    a.ldx = ld;
    a.y = f->z + at;
    a.ldy = f->ld_n;
    a.cache = psc_kv_cache_values(f->cache, sequence, f->layer, head);
    f->kernels->attention_values(&a);
}

/* Keys past each row's own position: -inf in scores, 0 in the pattern. */
static void fill_masked(const attention_job *job, float value) {
    psc_forward *f = job->f;
    for (int32_t r = 0; r < f->n_rows; r++)
        for (size_t h = 0; h < f->heads; h++) {
            float *row = job->scores + ((size_t)r * f->heads + h) * job->ld_keys;
            for (size_t key = (size_t)f->n_keys[r]; key < job->ld_keys; key++) row[key] = value;
        }
}

/* Scores, pattern and z one after the other, each shown. */
static psc_status watched(attention_job *job, int64_t tasks) {
    psc_forward *f = job->f;
    size_t keys = 0;
    for (int32_t r = 0; r < f->n_rows; r++)
        if ((size_t)f->n_keys[r] > keys) keys = (size_t)f->n_keys[r];
    job->ld_keys = keys;
    job->scores = psc_forward_grow(&f->scores, (size_t)f->n_rows * f->heads * keys, f->error);
    if (!job->scores) return PSC_ERROR_MEMORY;
    psc_view view = {job->scores, 3, {f->n_rows, (int64_t)f->heads, (int64_t)keys},
        {(int64_t)(f->heads * keys), (int64_t)keys, 1}};
    job->step = STEP_SCORES;
    psc_team_tasks(f->team, tasks, attention_task, job);
    psc_status status = PSC_OK;
    if (psc_forward_wants(f, PSC_HOOK_ATTN_SCORES)) {
        fill_masked(job, -INFINITY);
        status = psc_forward_show(f, PSC_HOOK_ATTN_SCORES, &view);
    }
    if (status != PSC_OK) return status;
    job->step = STEP_SOFTMAX;
    psc_team_tasks(f->team, tasks, attention_task, job);
    if (psc_forward_wants(f, PSC_HOOK_PATTERN)) {
        fill_masked(job, 0.0f);
        status = psc_forward_show(f, PSC_HOOK_PATTERN, &view);
    }
    if (status != PSC_OK) return status;
    job->step = STEP_VALUES;
    psc_team_tasks(f->team, tasks, attention_task, job);
    return PSC_OK;
}

psc_status psc_forward_attention(psc_forward *f) {
    psc_team_for(f->team, f->n_rows, rotate_rows, f);
    psc_status status = psc_forward_show_heads(f, PSC_HOOK_ROT_Q, f->q);
    if (status == PSC_OK) status = psc_forward_show_heads(f, PSC_HOOK_ROT_K, f->k);
    if (status != PSC_OK) return status;
    psc_team_tasks(f->team, (int64_t)f->heads, store_head, f);
    attention_job job = {.f = f, .step = STEP_ALL, .scale = (float)(1.0 / sqrt((double)f->d_head))};
    int64_t tasks = count_tiles(f) * (int64_t)f->heads;
    if (psc_forward_wants(f, PSC_HOOK_ATTN_SCORES) || psc_forward_wants(f, PSC_HOOK_PATTERN))
        return watched(&job, tasks);
    psc_team_tasks(f->team, tasks, attention_task, &job);
    return PSC_OK;
}
