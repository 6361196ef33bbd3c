/* Attention of the row set: rotary on q and k, keys and values into the cache, then per head
 *   scores[r, key] = (q_r . k_key) / sqrt(d_head),  pattern = softmax over keys 0..position,
 *   z_r = sum over keys of pattern[r, key] v_key.
 * A task is one head and up to PSC_ATTENTION_TILE rows of one sequence. It does all three steps while
 * the tile is in its cache, in its thread's scratch if no subscriber selects scores or pattern. The
 * pass completes a step for all rows before the next one only to show the scores, or to show the
 * pattern to an editor. */
#include "forward_inside.h"

#include <math.h>
#include <string.h>

enum { STEP_SCORES = 1, STEP_SOFTMAX = 2, STEP_VALUES = 4, STEP_ALL = 7 };

typedef struct attention_job {
    psc_forward *f;
    int steps;     /* of a task, a sum of STEP_ */
    bool copies;   /* tasks copy their scores and pattern to the run's destinations */
    float *scores; /* [rows, H, ld_keys]; null: the thread's scratch */
    size_t ld_keys, n_keys;
    float scale;
} attention_job;

/* --- rotary and the cache -------------------------------------------------------------------- */

static void rotate(const psc_forward *f, float *x, size_t row, size_t heads) {
    size_t n_rot = f->model->config.rotary_dims;
    size_t table = (size_t)f->rows[row].position * (n_rot / 2);
    f->kernels->rotary(
        x, x, f->rotary->cos + table, f->rotary->sin + table, heads, f->d_head, n_rot);
}

/* Where a row's keys and values go. */
typedef struct place {
    psc_kv_cache *cache;
    int32_t sequence, position;
} place;

static place place_of(const psc_forward *f, const psc_row *row) {
    const psc_prefix *prefix = f->pass->prefix;
    if (prefix) return (place){prefix->own, 0, row->index - f->first_index};
    return (place){f->cache, row->sequence, row->position};
}

static void store(const psc_forward *f, const float *x, size_t row, size_t head, bool value) {
    const place at = place_of(f, &f->rows[row]);
    if (value)
        psc_kv_cache_put_value(at.cache, at.sequence, f->layer, (int32_t)head, at.position, x);
    else
        psc_kv_cache_put_key(at.cache, at.sequence, f->layer, (int32_t)head, at.position, x);
}

/* The heads of a task's panels; y of the first one. */
typedef struct head_range {
    size_t first, n;
    float *y;
} head_range;

static head_range heads_of(const psc_forward *f, const psc_matmul *part) {
    size_t a_head = f->d_head / PSC_LANES;
    return (head_range){part->panel_begin / a_head, (part->panel_end - part->panel_begin) / a_head,
        part->y + part->panel_begin * PSC_LANES};
}

/* Prefetches the place of a row's key or value: a key spans d_head cache lines, a value d_head / 16
 * of them far apart. */
static void fetch_place(const psc_forward *f, const psc_row *row, size_t head, bool value) {
    const place to = place_of(f, row);
    size_t position = (size_t)to.position, every = value ? PSC_LANES : 1;
    const float *at = value ? psc_kv_cache_values(to.cache, to.sequence, f->layer, (int32_t)head)
                            : psc_kv_cache_keys(to.cache, to.sequence, f->layer, (int32_t)head);
    at += value ? position * PSC_LANES : position / PSC_LANES * PSC_LANES * f->d_head;
    for (size_t d = 0; d < f->d_head; d += every)
        __builtin_prefetch(at + d * (value ? to.cache->parts[to.sequence].room : PSC_LANES), 1);
}

static void fetch_places(const psc_forward *f, const psc_matmul *part, size_t row, bool value) {
    head_range heads = heads_of(f, part);
    for (size_t r = row; r < row + part->rows; r++)
        for (size_t h = heads.first; h < heads.first + heads.n; h++)
            fetch_place(f, &f->rows[r], h, value);
}

void psc_forward_prepare_k(psc_forward *f, const psc_matmul *part, size_t row) {
    fetch_places(f, part, row, false);
}

void psc_forward_prepare_v(psc_forward *f, const psc_matmul *part, size_t row) {
    fetch_places(f, part, row, true);
}

void psc_forward_finish_q(psc_forward *f, const psc_matmul *part, size_t row) {
    head_range heads = heads_of(f, part);
    for (size_t r = 0; r < part->rows; r++) rotate(f, heads.y + r * part->ldy, row + r, heads.n);
}

void psc_forward_finish_k(psc_forward *f, const psc_matmul *part, size_t row) {
    head_range heads = heads_of(f, part);
    psc_forward_finish_q(f, part, row);
    for (size_t h = 0; h < heads.n; h++)
        for (size_t r = 0; r < part->rows; r++)
            store(f, heads.y + r * part->ldy + h * f->d_head, row + r, heads.first + h, false);
}

void psc_forward_finish_v(psc_forward *f, const psc_matmul *part, size_t row) {
    head_range heads = heads_of(f, part);
    for (size_t h = 0; h < heads.n; h++)
        for (size_t r = 0; r < part->rows; r++)
            store(f, heads.y + r * part->ldy + h * f->d_head, row + r, heads.first + h, true);
}

static void rotate_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    psc_forward *f = payload;
    for (size_t r = (size_t)begin; r < (size_t)end; r++) {
        rotate(f, f->q + r * f->ld_n, r, f->heads);
        rotate(f, f->k + r * f->ld_n, r, f->heads);
    }
}

/* A task is one head: neighboring positions share a panel's cache lines. */
static void store_head(int64_t head, int thread, void *payload) {
    (void)thread;
    psc_forward *f = payload;
    for (size_t r = 0; r < (size_t)f->n_rows; r++) {
        size_t at = r * f->ld_n + (size_t)head * f->d_head;
        store(f, f->k + at, r, (size_t)head, false);
        store(f, f->v + at, r, (size_t)head, true);
    }
}

void psc_forward_rotate(psc_forward *f) {
    psc_team_for(f->team, f->n_rows, rotate_rows, f);
}

void psc_forward_store(psc_forward *f) {
    psc_team_tasks(f->team, (int64_t)f->heads, store_head, f);
}

/* The shares in order: a sequence may give on what it got. */
static void share_head(int64_t head, int thread, void *payload) {
    (void)thread;
    psc_forward *f = payload;
    for (int32_t i = 0; i < f->pass->n_shares; i++) {
        const psc_kv_share *s = &f->pass->shares[i];
        if (s->n > 0)
            psc_kv_cache_copy_head(
                f->cache, s->to, f->cache, s->from, s->n, f->layer, (int32_t)head);
    }
}

void psc_forward_share(psc_forward *f) {
    if (f->pass->n_shares > 0) psc_team_tasks(f->team, (int64_t)f->heads, share_head, f);
}

/* --- scores, pattern, z ---------------------------------------------------------------------- */

void psc_forward_tile(psc_forward *f) {
    f->n_tiles = 0;
    f->masked = false;
    for (int32_t begin = 0, end; begin < f->n_rows; begin = end) {
        end = begin + 1;
        while (end < f->n_rows && end - begin < PSC_ATTENTION_TILE &&
               (f->pass->prefix ? psc_forward_prefix_joins(f, begin, end)
                                : f->rows[end].sequence == f->rows[begin].sequence))
            end++;
        f->tiles[f->n_tiles++] = (psc_tile){begin, end - begin};
    }
}

/* Keys past the row's own position: -inf in scores, 0 in the pattern. */
static void fill_masked(const attention_job *job, float *row, size_t n_keys) {
    float value = job->steps & STEP_SOFTMAX ? 0.0f : -INFINITY;
    for (size_t key = n_keys; key < job->n_keys; key++) row[key] = value;
}

/* z of a tile from its pattern, which a.y has. */
static void tile_values(
    const psc_forward *f, psc_attention a, int32_t first, int32_t head, float *chains) {
    a.x = a.y;
    a.ldx = a.ldy;
    a.y = f->z + (size_t)first * f->ld_n + (size_t)head * f->d_head;
    a.ldy = f->ld_n;
    if (f->pass->prefix) {
        psc_forward_prefix_values(f, &a, first, head, chains);
        return;
    }
    a.cache = psc_kv_cache_values(f->cache, f->rows[first].sequence, f->layer, head);
    f->kernels->attention_values(&a);
}

static void copy_tile(const attention_job *job, psc_point point, psc_tile tile, int32_t head,
    const float *data, size_t ld) {
    const psc_forward *f = job->f;
    if (job->copies)
        psc_destinations_take_head(
            f->pass->copies, point, f->layer, head, f->rows + tile.first, tile.rows, data, ld);
}

/* Later tiles see more keys, so they come first and the last tasks are small. */
static void attention_task(int64_t task, int thread, void *payload) {
    const attention_job *job = payload;
    psc_forward *f = job->f;
    int32_t head = (int32_t)((size_t)task % f->heads);
    psc_tile tile = f->tiles[f->n_tiles - 1 - (int32_t)((size_t)task / f->heads)];
    int32_t first = tile.first, rows = tile.rows;
    int32_t sequence = f->rows[first].sequence;
    size_t at = (size_t)first * f->ld_n + (size_t)head * f->d_head;
    const bool prefixed = f->pass->prefix != NULL;
    float *scratch = f->scratch + (size_t)thread * f->scratch_floats, *scores = scratch + PSC_LANES;
    size_t ld = f->cache->capacity + PSC_LANES;
    if (job->scores) {
        ld = f->heads * job->ld_keys;
        scores = job->scores + (size_t)first * ld + (size_t)head * job->ld_keys;
    }
    psc_attention a = {.y = scores,
        .ldy = ld,
        .x = f->q + at,
        .ldx = f->ld_n,
        .cache = prefixed ? NULL : psc_kv_cache_keys(f->cache, sequence, f->layer, head),
        .key_capacity = prefixed ? 0 : f->cache->parts[sequence].room,
        .n_keys = f->n_keys + first,
        .rows = (size_t)rows,
        .d_head = f->d_head,
        .scale = job->scale};
    if (job->steps & STEP_SCORES) {
        if (prefixed)
            psc_forward_prefix_scores(f, &a, first, head);
        else
            f->kernels->attention_scores(&a);
    }
    copy_tile(job, PSC_HOOK_ATTN_SCORES, tile, head, scores, ld);
    if (job->steps & STEP_SOFTMAX)
        for (int32_t r = 0; r < rows; r++) {
            float *row = scores + (size_t)r * ld;
            f->kernels->softmax(row, row, (size_t)f->n_keys[first + r]);
        }
    copy_tile(job, PSC_HOOK_PATTERN, tile, head, scores, ld);
    for (int32_t r = 0; job->scores && !f->masked && job->steps != STEP_VALUES && r < rows; r++)
        fill_masked(job, scores + (size_t)r * ld, (size_t)f->n_keys[first + r]);
    if (!(job->steps & STEP_VALUES)) return;
    tile_values(f, a, first, head,
        scratch + PSC_LANES + PSC_ATTENTION_TILE * (f->cache->capacity + PSC_LANES));
}

/* Runs the tasks' steps so far and shows the point; the next tasks do other steps. */
static psc_status run_and_show(
    attention_job *job, int64_t tasks, psc_point point, const psc_view *view) {
    psc_team_tasks(job->f->team, tasks, attention_task, job);
    job->steps = 0;
    return psc_forward_wants(job->f, point) ? psc_forward_show(job->f, point, view) : PSC_OK;
}

/* Computes scores, pattern and z, and shows scores and pattern. An observer sees the pattern after z
 * is computed. */
static psc_status watched(attention_job *job, int64_t tasks) {
    psc_forward *f = job->f;
    size_t keys = 0;
    for (int32_t r = 0; r < f->n_rows; r++)
        if ((size_t)f->n_keys[r] > keys) keys = (size_t)f->n_keys[r];
    job->n_keys = keys;
    job->ld_keys = psc_padded(keys);
    size_t row = f->heads * job->ld_keys;
    job->scores = psc_forward_grow(&f->scores, PSC_LANES + (size_t)f->n_rows * row, f->error);
    if (!job->scores) return PSC_ERROR_MEMORY;
    job->scores += PSC_LANES; /* psc_forward_prefix_scores */
    psc_view view = {job->scores, 3, {f->n_rows, (int64_t)f->heads, (int64_t)keys},
        {(int64_t)row, (int64_t)job->ld_keys, 1}};
    psc_status status = PSC_OK;
    job->steps = STEP_SCORES;
    if (psc_forward_wants(f, PSC_HOOK_ATTN_SCORES)) {
        f->masked = false;
        status = run_and_show(job, tasks, PSC_HOOK_ATTN_SCORES, &view);
    }
    if (status != PSC_OK) return status;
    job->steps |= STEP_SOFTMAX;
    const bool edited = psc_forward_edits(f, PSC_HOOK_PATTERN);
    if (!edited) job->steps |= STEP_VALUES;
    status = run_and_show(job, tasks, PSC_HOOK_PATTERN, &view);
    f->masked = !edited;
    if (status != PSC_OK || !edited) return status;
    job->steps = STEP_VALUES;
    psc_team_tasks(f->team, tasks, attention_task, job);
    return PSC_OK;
}

psc_status psc_forward_attention(psc_forward *f) {
    attention_job job = {
        .f = f, .steps = STEP_ALL, .scale = (float)(1.0 / sqrt((double)f->d_head))};
    int64_t tasks = (int64_t)f->n_tiles * (int64_t)f->heads;
    if (psc_forward_shows(f, PSC_HOOK_ATTN_SCORES) || psc_forward_shows(f, PSC_HOOK_PATTERN))
        return watched(&job, tasks);
    job.copies =
        psc_forward_wants(f, PSC_HOOK_ATTN_SCORES) || psc_forward_wants(f, PSC_HOOK_PATTERN);
    psc_team_tasks(f->team, tasks, attention_task, &job);
    return PSC_OK;
}
