/* The gradient before attention, from dz [R,H*D]. Per head, A_kj the pattern of row k over keys j,
 * c = 1/sqrt(D):
 *
 *   dA_kj = dz_k . v_j,   ds_k = A_k (dA_k - A_k . dA_k)
 *   dq_k = c sum_j ds_kj k_j,   dk_j = c sum_k ds_kj q_k,   dv_j = sum_k A_kj dz_k   (k >= j)
 *
 * A task is one head of one sequence. It takes the rows in blocks of 128. A comes from the kept q and the
 * cached keys, as in the forward pass; sums over keys are its kernel of values. Sums over rows are a
 * product [keys, 128] x [128, D] per block; a key's first block is the total, later ones are added in
 * ascending order. Keys of the prefix have no gradient.
 *
 *      values of the cache, turned to panels of 16 keys      -> dA   (kernel of scores)
 *      keys of the cache, turned to panels of 16 dimensions  -> dq   (kernel of values)
 *      ds and A of a block, turned to [keys, rows]           -> dk, dv (matmul)
 *
 * Scores that editors left are kept, and A is their softmax; so is a pattern, which then takes A's
 * place in dv alone. Copies of dA and ds are taken from a task's block, while it is in the core's
 * cache. The pass completes a step for all rows before the next one only to show dA or ds to a
 * subscriber. */
#include "backward_inside.h"

#include <math.h>
#include <string.h>

#define BLOCK PSC_BACKWARD_BLOCK
#define LD_TURNED (BLOCK + PSC_LANES)

enum { STEP_PATTERN = 1, STEP_SCORES = 2, STEP_SUMS = 4, STEP_ALL = 7 };

typedef struct attention_job {
    psc_backward *b;
    int steps;     /* of a task, a sum of STEP_ */
    float *shared; /* [R, H, ld_keys] dA, then ds; null: the thread's scratch */
    size_t ld_keys;
    float scale;
} attention_job;

/* One head of one sequence. */
typedef struct head_work {
    const attention_job *job;
    psc_backward *b;
    int32_t first, rows, before; /* rows first..; keys of the prefix */
    size_t at, keys;             /* of the head in a row; keys of its last row, rounded up */
    const float *cached_keys;
    size_t room; /* the cache's positions per panel of values */
    int thread;
    /* the thread's scratch: */
    float *as_keys;   /* [keys/16][D][16] the values */
    float *as_values; /* [D/16][keys][16] the keys */
    float *a, *d;     /* [BLOCK, ld] the pattern; dA, then ds */
    float *turned;    /* [keys, LD_TURNED] */
    float *panel;     /* [D/16][BLOCK][16] */
    float *part;      /* [keys, wide] sums of one block */
    size_t ld, ld_d, wide;
} head_work;

static size_t up(size_t n) {
    return (n + PSC_LANES - 1) / PSC_LANES * PSC_LANES;
}

size_t psc_backward_ld_keys(size_t n_keys) {
    return up(n_keys) + PSC_LANES;
}

size_t psc_backward_scratch(const psc_backward *b, size_t n_keys) {
    const size_t keys = up(n_keys), wide = up(b->d_head), ld = keys + PSC_LANES;
    const size_t floats = keys * (b->d_head + 2 * wide + LD_TURNED) + 2 * BLOCK * ld + BLOCK * wide;
    return up(floats > b->n ? floats : b->n) + PSC_LANES;
}

/* --- layouts --------------------------------------------------------------------------------- */

/* [D/16][from_room][16] -> [keys/16][D][16] */
static void values_as_keys(head_work *w, const float *values) {
    const size_t d_head = w->b->d_head;
    for (size_t key = 0; key < w->keys; key += PSC_LANES)
        for (size_t d = 0; d < d_head; d++) {
            const float *from =
                values + (d / PSC_LANES * w->room + key) * PSC_LANES + d % PSC_LANES;
            float *to = w->as_keys + key * d_head + d * PSC_LANES;
            for (size_t i = 0; i < PSC_LANES; i++) to[i] = from[i * PSC_LANES];
        }
}

/* [keys/16][D][16] -> [D/16][keys][16] */
static void keys_as_values(head_work *w) {
    const size_t d_head = w->b->d_head;
    for (size_t key = 0; key < w->keys; key += PSC_LANES)
        for (size_t d = 0; d < d_head; d++) {
            const float *from = w->cached_keys + key * d_head + d * PSC_LANES;
            float *to = w->as_values + (d / PSC_LANES * w->keys + key) * PSC_LANES + d % PSC_LANES;
            for (size_t i = 0; i < PSC_LANES; i++) to[i * PSC_LANES] = from[i];
        }
}

/* [n, D], row stride ldx -> [D/16][n][16]; the last panel's other lanes are 0. */
static void rows_as_panels(float *panel, const float *x, size_t ldx, size_t n, size_t d_head) {
    for (size_t d = 0; d < d_head; d += PSC_LANES)
        for (size_t r = 0; r < n; r++) {
            const size_t lanes = d_head - d < PSC_LANES ? d_head - d : PSC_LANES;
            float *to = panel + (d / PSC_LANES * n + r) * PSC_LANES;
            memset(to, 0, PSC_LANES * sizeof *to);
            memcpy(to, x + r * ldx + d, lanes * sizeof *to);
        }
}

/* turned[i][r] = x[r][i], in squares that stay in the cache. */
static void turn(float *turned, const float *x, size_t ldx, size_t rows, size_t columns) {
    for (size_t i = 0; i < columns; i += PSC_LANES)
        for (size_t r = 0; r < rows; r += PSC_LANES) {
            const size_t r_end = r + PSC_LANES < rows ? r + PSC_LANES : rows;
            const size_t i_end = i + PSC_LANES < columns ? i + PSC_LANES : columns;
            for (size_t j = i; j < i_end; j++)
                for (size_t s = r; s < r_end; s++) turned[j * LD_TURNED + s] = x[s * ldx + j];
        }
}

/* --- a block of rows ------------------------------------------------------------------------- */

/* Row `row` on of the sequence, n of them. */
typedef struct block {
    size_t row, n, seen; /* seen: keys of its last row */
    const int32_t *n_keys;
    float *d; /* of its first row */
} block;

static psc_attention arguments(const head_work *w, const block *k) {
    return (psc_attention){
        .n_keys = k->n_keys, .rows = k->n, .d_head = w->b->d_head, .scale = 1.0f};
}

static void fill_masked(const block *k, float *x, size_t ld, size_t end) {
    for (size_t r = 0; r < k->n; r++)
        for (size_t key = (size_t)k->n_keys[r]; key < end; key++) x[r * ld + key] = 0.0f;
}

/* What editors left of a block's rows [rows, most_keys], in kept [H, R, most_keys]. */
static float *kept_rows(const head_work *w, const block *k, float *kept) {
    const psc_backward *b = w->b;
    const size_t row = w->at / b->d_head * (size_t)b->n_rows + (size_t)w->first + k->row;
    return kept + row * (size_t)b->most_keys;
}

/* A, as the forward pass has it, 0 past a row's own position. */
static void pattern(const head_work *w, const block *k) {
    const psc_backward *b = w->b;
    float *scores = b->kept_layers[b->layer].scores;
    psc_attention a = arguments(w, k);
    a.y = w->a;
    a.ldy = w->ld;
    a.x = b->kept_layers[b->layer].rot_q + ((size_t)w->first + k->row) * b->n + w->at;
    a.ldx = b->n;
    a.cache = w->cached_keys;
    a.key_capacity = w->room;
    a.scale = w->job->scale;
    if (!scores) b->with.kernels->attention_scores(&a);
    const size_t ld = scores ? (size_t)b->most_keys : w->ld;
    const float *from = scores ? kept_rows(w, k, scores) : w->a;
    for (size_t r = 0; r < k->n; r++)
        b->with.kernels->softmax(w->a + r * w->ld, from + r * ld, (size_t)k->n_keys[r]);
    fill_masked(k, w->a, w->ld, k->seen);
}

/* dA */
static void pattern_gradient(const head_work *w, const block *k) {
    const psc_backward *b = w->b;
    psc_attention a = arguments(w, k);
    a.y = k->d;
    a.ldy = w->ld_d;
    a.x = b->dz + ((size_t)w->first + k->row) * b->ld_n + w->at;
    a.ldx = b->ld_n;
    a.cache = w->as_keys;
    a.key_capacity = w->keys;
    b->with.kernels->attention_scores(&a);
}

/* y [keys, D] of the run's own keys, from x [rows of the block, keys] and what w->panel holds. */
static void sum_rows(const head_work *w, const block *k, float *y, const float *x, size_t ldx) {
    const psc_backward *b = w->b;
    const psc_kernels *kernels = b->with.kernels;
    turn(w->turned, x + w->before, ldx, k->n, k->row + k->n);
    psc_matmul m = {.y = y + k->row * b->ld_n,
        .ldy = b->ld_n,
        .x = w->turned + k->row * LD_TURNED,
        .ldx = LD_TURNED,
        .w = w->panel,
        .rows = k->n,
        .k = k->n,
        .k_block = PSC_K_BLOCK,
        .out = b->d_head,
        .panel_end = w->wide / PSC_LANES,
        .room = psc_forward_room(b->with.forward, w->thread)};
    kernels->matmul_f32(&m);
    if (k->row == 0) return;
    m.y = w->part;
    m.ldy = w->wide;
    m.x = w->turned;
    m.rows = k->row;
    kernels->matmul_f32(&m);
    for (size_t i = 0; i < k->row; i++)
        kernels->add(y + i * b->ld_n, y + i * b->ld_n, w->part + i * w->wide, b->d_head);
}

static void scale_rows(const head_work *w, float *y, size_t n) {
    for (size_t r = 0; r < n; r++)
        for (size_t d = 0; d < w->b->d_head; d++) y[r * w->b->ld_n + d] *= w->job->scale;
}

static void sums(const head_work *w, const block *k) {
    psc_backward *b = w->b;
    const size_t row = (size_t)w->first + k->row;
    const size_t own = (size_t)w->first * b->ld_n + w->at, at = row * b->ld_n + w->at;
    psc_attention a = arguments(w, k);
    a.y = b->dq + at;
    a.ldy = b->ld_n;
    a.x = k->d;
    a.ldx = w->ld_d;
    a.cache = w->as_values;
    a.key_capacity = w->keys;
    b->with.kernels->attention_values(&a);
    scale_rows(w, b->dq + at, k->n);
    rows_as_panels(
        w->panel, b->kept_layers[b->layer].rot_q + row * b->n + w->at, b->n, k->n, b->d_head);
    sum_rows(w, k, b->dk + own, k->d, w->ld_d);
    rows_as_panels(w->panel, b->dz + at, b->ld_n, k->n, b->d_head);
    float *edited = b->kept_layers[b->layer].pattern;
    if (edited) {
        edited = kept_rows(w, k, edited);
        fill_masked(k, edited, (size_t)b->most_keys, k->seen);
    }
    sum_rows(w, k, b->dv + own, edited ? edited : w->a, edited ? (size_t)b->most_keys : w->ld);
}

/* Copies of the head's dA or ds, where they are requested. */
static void copy_block(const head_work *w, const block *k, psc_point point) {
    const psc_backward *b = w->b;
    if (b->copies)
        psc_destinations_take_head(b->copies, point, b->layer, (int32_t)(w->at / b->d_head),
            b->rows + w->first + k->row, (int32_t)k->n, k->d, w->ld_d);
}

static void run_block(const head_work *w, size_t row) {
    const attention_job *job = w->job;
    const psc_backward *b = w->b;
    block k = {.row = row, .n = (size_t)w->rows - row, .n_keys = b->n_keys + w->first + row};
    if (k.n > BLOCK) k.n = BLOCK;
    k.seen = (size_t)k.n_keys[k.n - 1];
    k.d = w->d + (job->shared ? ((size_t)w->first + row) * w->ld_d : 0);
    if (job->steps & (STEP_SCORES | STEP_SUMS)) pattern(w, &k);
    if (job->steps & STEP_PATTERN) pattern_gradient(w, &k);
    if (!job->shared) copy_block(w, &k, PSC_HOOK_PATTERN);
    for (size_t r = 0; (job->steps & STEP_SCORES) && r < k.n; r++) {
        float *d = k.d + r * w->ld_d;
        b->with.kernels->softmax_backward(d, w->a + r * w->ld, d, (size_t)k.n_keys[r]);
    }
    if (!job->shared) copy_block(w, &k, PSC_HOOK_ATTN_SCORES);
    fill_masked(&k, k.d, w->ld_d, job->shared ? (size_t)b->most_keys : k.seen);
    if (job->steps & STEP_SUMS) sums(w, &k);
}

/* Places the thread's scratch. */
static void place(head_work *w) {
    const psc_backward *b = w->b;
    float *at = b->scratch + (size_t)w->thread * b->scratch_floats;
    w->wide = up(b->d_head);
    w->ld = w->keys + PSC_LANES;
    w->as_keys = at;
    w->as_values = w->as_keys + w->keys * b->d_head;
    w->a = w->as_values + w->keys * w->wide;
    w->d = w->a + BLOCK * w->ld;
    w->turned = w->d + BLOCK * w->ld;
    w->panel = w->turned + w->keys * LD_TURNED;
    w->part = w->panel + BLOCK * w->wide;
    w->ld_d = w->ld;
    if (!w->job->shared) return;
    w->ld_d = b->heads * w->job->ld_keys;
    w->d = w->job->shared + w->at / b->d_head * w->job->ld_keys;
}

static void head_task(int64_t task, int thread, void *payload) {
    const attention_job *job = payload;
    psc_backward *b = job->b;
    const int32_t head = (int32_t)((size_t)task % b->heads);
    const psc_segment *segment = &b->segments[(size_t)task / b->heads];
    const int32_t sequence = b->rows[segment->first].sequence;
    head_work w = {.job = job,
        .b = b,
        .first = segment->first,
        .rows = segment->rows,
        .before = b->rows[segment->first].position,
        .at = (size_t)head * b->d_head,
        .keys = up((size_t)b->n_keys[segment->first + segment->rows - 1]),
        .cached_keys = psc_kv_cache_keys(b->with.cache, sequence, b->layer, head),
        .room = b->with.cache->parts[sequence].room,
        .thread = thread};
    place(&w);
    if (job->steps & STEP_PATTERN)
        values_as_keys(&w, psc_kv_cache_values(b->with.cache, sequence, b->layer, head));
    if (job->steps & STEP_SUMS) keys_as_values(&w);
    for (size_t row = 0; row < (size_t)w.rows; row += BLOCK) run_block(&w, row);
    if (job->steps & STEP_SUMS)
        scale_rows(&w, b->dk + (size_t)w.first * b->ld_n + w.at, (size_t)w.rows);
}

/* The steps one after the other, for dA and ds of the whole layer. The sums wait for ds only if an
 * editor may change it. */
static psc_status watched(attention_job *job, int64_t tasks) {
    static const psc_point points[] = {PSC_HOOK_PATTERN, PSC_HOOK_ATTN_SCORES};
    const bool edited = psc_backward_edits(job->b, PSC_HOOK_ATTN_SCORES);
    const int steps[] = {STEP_PATTERN, edited ? STEP_SCORES : STEP_SCORES | STEP_SUMS};
    psc_backward *b = job->b;
    job->ld_keys = psc_backward_ld_keys((size_t)b->most_keys);
    const size_t row = b->heads * job->ld_keys;
    job->shared = psc_forward_grow(&b->scores, (size_t)b->n_rows * row, b->error);
    if (!job->shared) return PSC_ERROR_MEMORY;
    const psc_view view = {job->shared, 3, {b->n_rows, (int64_t)b->heads, b->most_keys},
        {(int64_t)row, (int64_t)job->ld_keys, 1}};
    for (int i = 0; i < 2; i++) {
        job->steps = steps[i];
        psc_team_tasks(b->with.team, tasks, head_task, job);
        psc_status status = psc_backward_show(b, points[i], &view);
        if (status != PSC_OK) return status;
    }
    job->steps = STEP_SUMS;
    if (edited) psc_team_tasks(b->with.team, tasks, head_task, job);
    return PSC_OK;
}

psc_status psc_backward_attention(psc_backward *b) {
    attention_job job = {
        .b = b, .steps = STEP_ALL, .scale = (float)(1.0 / sqrt((double)b->d_head))};
    const int64_t tasks = (int64_t)b->n_segments * (int64_t)b->heads;
    if (psc_backward_watches(b, PSC_HOOK_PATTERN) || psc_backward_watches(b, PSC_HOOK_ATTN_SCORES))
        return watched(&job, tasks);
    psc_team_tasks(b->with.team, tasks, head_task, &job);
    return PSC_OK;
}
