/* One chunk of R rows through the layers of a GPT-NeoX model.
 *
 *   x [R,N] = embedding
 *   a layer:  n = LN1(x) -> q, k, v [R,H*D] -> rotary, cache -> z [R,H*D] (forward_attention.c)
 *             attn [R,N] = W_O z + b_O         result [R,H,N]: W_O's block sums, one a head
 *             post [R,M] = gelu(W_in LN2(x') + b_in),  mlp [R,N] = W_out post + b_out
 *             parallel: x' = x, x <- (mlp + attn) + x;  sequential: x' = attn + x, x <- mlp + x'
 *   logits = W_U LN_final(x), for the rows somebody wants
 *
 * Each step is one call of the team, each point one branch. A value that nobody asked for beyond
 * the pass itself (result, pre, scores, pattern) has memory only once somebody has. */
#include "forward_inside.h"

#include "arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Rows that lie a multiple of 4 KiB apart fall into the same cache sets: a stride of 16 more. */
static size_t padded(size_t n) {
    return (n + PSC_LANES - 1) / PSC_LANES * PSC_LANES + PSC_LANES;
}

float *psc_forward_grow(psc_grown *grown, size_t floats, psc_error *error) {
    if (grown->floats >= floats) return grown->data;
    psc_aligned_free(grown->data);
    grown->floats = 0;
    grown->data = psc_aligned_alloc(floats * sizeof(float));
    if (!grown->data) {
        psc_fail(
            error, PSC_ERROR_MEMORY, "no memory for a tensor of %.0f MB", (double)floats * 4e-6);
        return NULL;
    }
    grown->floats = floats;
    return grown->data;
}

psc_status psc_forward_open(psc_forward **out, const psc_model *model, const psc_kernels *kernels,
    psc_team *team, psc_registry *registry, psc_kv_cache *cache, int32_t chunk, psc_error *error) {
    *out = NULL;
    psc_forward *f = calloc(1, sizeof *f);
    if (!f) return psc_fail(error, PSC_ERROR_MEMORY, "no memory for the forward pass");
    const psc_config *c = &model->config;
    f->model = model;
    f->kernels = kernels;
    f->team = team;
    f->registry = registry;
    f->cache = cache;
    f->n = c->d_model;
    f->heads = c->n_heads;
    f->d_head = c->d_head;
    f->m = c->d_mlp;
    f->ld_n = padded(f->n);
    f->ld_m = padded(f->m);
    size_t rows = (size_t)chunk;
    struct {
        float **to;
        size_t floats;
    } buffers[] = {{&f->x, f->ld_n}, {&f->normalized, f->ld_n}, {&f->y1, f->ld_n},
        {&f->y2, f->ld_n}, {&f->q, f->ld_n}, {&f->k, f->ld_n}, {&f->v, f->ld_n}, {&f->z, f->ld_n},
        {&f->attn, f->ld_n}, {&f->mlp, f->ld_n}, {&f->post, f->ld_m}, {&f->mean, 1},
        {&f->scale, 1}};
    psc_status status = PSC_OK;
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        *buffers[i].to = psc_aligned_calloc(rows * buffers[i].floats * sizeof(float));
        if (!*buffers[i].to) status = PSC_ERROR_MEMORY;
    }
    f->n_keys = calloc(rows, sizeof *f->n_keys);
    f->logit_rows = calloc(rows, sizeof *f->logit_rows);
    f->scratch_floats = PSC_ATTENTION_TILE * (cache->capacity + PSC_LANES);
    f->scratch =
        psc_aligned_alloc((size_t)psc_team_threads(team) * f->scratch_floats * sizeof(float));
    if (status != PSC_OK || !f->n_keys || !f->logit_rows || !f->scratch) {
        psc_forward_close(&f);
        return psc_fail(error, PSC_ERROR_MEMORY, "no memory for chunks of %d rows", (int)chunk);
    }
    *out = f;
    return PSC_OK;
}

void psc_forward_close(psc_forward **out) {
    psc_forward *f = *out;
    if (!f) return;
    float *buffers[] = {f->x, f->normalized, f->y1, f->y2, f->q, f->k, f->v, f->z, f->attn, f->mlp,
        f->post, f->mean, f->scale, f->scratch, f->pre.data, f->result.data, f->scores.data,
        f->logits.data};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) psc_aligned_free(buffers[i]);
    free(f->n_keys);
    free(f->logit_rows);
    free(f);
    *out = NULL;
}

bool psc_forward_wants(const psc_forward *f, psc_point point) {
    return psc_registry_wants(f->registry, point, f->layer, f->rows, f->n_rows);
}

psc_status psc_forward_show(psc_forward *f, psc_point point, const psc_view *view) {
    return psc_registry_deliver(f->registry, point, f->layer, f->rows, f->n_rows, view, f->error);
}

/* Shows [R, width] of row stride ld, when somebody wants it. */
static psc_status show(psc_forward *f, psc_point point, float *data, size_t width, size_t ld) {
    if (!psc_forward_wants(f, point)) return PSC_OK;
    psc_view view = {data, 2, {f->n_rows, (int64_t)width}, {(int64_t)ld, 1}};
    return psc_forward_show(f, point, &view);
}

psc_status psc_forward_show_heads(psc_forward *f, psc_point point, float *data) {
    if (!psc_forward_wants(f, point)) return PSC_OK;
    psc_view view = {data, 3, {f->n_rows, (int64_t)f->heads, (int64_t)f->d_head},
        {(int64_t)f->ld_n, (int64_t)f->d_head, 1}};
    return psc_forward_show(f, point, &view);
}

/* --- matmuls --------------------------------------------------------------------------------- */

typedef struct matmul_job {
    psc_matmul m;
    psc_matmul_f32_fn kernel;
    size_t grain;  /* panels of one task */
    int64_t first; /* number of its first task */
    float *gelu;   /* where gelu of y goes, row stride ldy; null: none. May be y */
} matmul_job;

typedef struct matmul_jobs {
    matmul_job jobs[3];
    int n;
    const psc_kernels *kernels;
} matmul_jobs;

static void matmul_task(int64_t task, int thread, void *payload) {
    (void)thread;
    const matmul_jobs *all = payload;
    int j = all->n - 1;
    while (all->jobs[j].first > task) j--;
    const matmul_job *job = &all->jobs[j];
    psc_matmul m = job->m;
    size_t panels = m.panel_end;
    m.panel_begin = (size_t)(task - job->first) * job->grain;
    m.panel_end = m.panel_begin + job->grain < panels ? m.panel_begin + job->grain : panels;
    job->kernel(&m);
    if (!job->gelu) return;
    size_t begin = m.panel_begin * PSC_LANES;
    size_t end = m.panel_end * PSC_LANES < m.out ? m.panel_end * PSC_LANES : m.out;
    for (size_t r = 0; r < m.rows; r++) {
        size_t at = r * m.ldy + begin;
        all->kernels->gelu(job->gelu + at, NULL, m.y + at, end - begin);
    }
}

static matmul_job job(psc_forward *f, const psc_packed *w, float *y, size_t ldy, const float *x,
    size_t ldx, size_t rows) {
    matmul_job made = {.kernel = f->kernels->matmul[w->dtype],
        .m = {.y = y,
            .ldy = ldy,
            .x = x,
            .ldx = ldx,
            .w = w->panels,
            .bias = w->bias,
            .rows = rows,
            .k = w->k,
            .k_block = w->k_block,
            .out = w->out,
            .panel_end = (w->out + PSC_LANES - 1) / PSC_LANES}};
    return made;
}

/* Runs n matmuls as one parallel step. */
static void run_jobs(psc_forward *f, matmul_jobs *all) {
    int64_t tasks = 0;
    all->kernels = f->kernels;
    for (int j = 0; j < all->n; j++) {
        matmul_job *one = &all->jobs[j];
        size_t parts = 4 * (size_t)psc_team_threads(f->team);
        one->grain = (one->m.panel_end + parts - 1) / parts;
        one->first = tasks;
        tasks += (int64_t)((one->m.panel_end + one->grain - 1) / one->grain);
    }
    psc_team_tasks(f->team, tasks, matmul_task, all);
}

/* --- LayerNorm ------------------------------------------------------------------------------- */

typedef enum ln_step { LN_STATS, LN_NORMALIZE, LN_AFFINE, LN_ALL } ln_step;

typedef struct ln_job {
    psc_forward *f;
    const psc_layer_norm *ln;
    float *y;
    ln_step step;
} ln_job;

static void ln_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const ln_job *p = payload;
    psc_forward *f = p->f;
    bool all = p->step == LN_ALL;
    for (int64_t r = begin; r < end; r++) {
        size_t at = (size_t)r * f->ld_n;
        if (all || p->step == LN_STATS)
            f->kernels->ln_stats(
                &f->mean[r], &f->scale[r], f->x + at, f->n, f->model->config.layer_norm_eps);
        if (all || p->step == LN_NORMALIZE)
            f->kernels->ln_normalize(f->normalized + at, f->x + at, f->n, f->mean[r], f->scale[r]);
        if (all || p->step == LN_AFFINE)
            f->kernels->ln_affine(p->y + at, f->normalized + at, p->ln->gamma, p->ln->beta, f->n);
    }
}

/* y = LN(x), the scale and the normalized value shown in between. */
static psc_status layer_norm(
    psc_forward *f, const psc_layer_norm *ln, float *y, psc_point scale, psc_point normalized) {
    ln_job p = {f, ln, y, LN_ALL};
    if (!psc_forward_wants(f, scale) && !psc_forward_wants(f, normalized)) {
        psc_team_for(f->team, f->n_rows, ln_rows, &p);
        return PSC_OK;
    }
    p.step = LN_STATS;
    psc_team_for(f->team, f->n_rows, ln_rows, &p);
    psc_status status = show(f, scale, f->scale, 1, 1);
    if (status != PSC_OK) return status;
    p.step = LN_NORMALIZE;
    psc_team_for(f->team, f->n_rows, ln_rows, &p);
    status = show(f, normalized, f->normalized, f->n, f->ld_n);
    if (status != PSC_OK) return status;
    p.step = LN_AFFINE;
    psc_team_for(f->team, f->n_rows, ln_rows, &p);
    return PSC_OK;
}

/* --- the layer's steps ----------------------------------------------------------------------- */

static psc_status attention_inputs(psc_forward *f, const psc_layer *layer) {
    matmul_jobs all = {.n = 3};
    float *to[3] = {f->q, f->k, f->v};
    for (int i = 0; i < 3; i++)
        all.jobs[i] =
            job(f, &layer->matrix[PSC_W_Q + i], to[i], f->ld_n, f->y1, f->ld_n, (size_t)f->n_rows);
    run_jobs(f, &all);
    psc_status status = psc_forward_show_heads(f, PSC_HOOK_Q, f->q);
    if (status == PSC_OK) status = psc_forward_show_heads(f, PSC_HOOK_K, f->k);
    if (status == PSC_OK) status = psc_forward_show_heads(f, PSC_HOOK_V, f->v);
    return status;
}

static void sum_results(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    psc_forward *f = payload;
    const psc_packed *w = &f->model->layers[f->layer].matrix[PSC_W_O];
    for (int64_t r = begin; r < end; r++)
        f->kernels->sum_blocks(f->attn + (size_t)r * f->ld_n,
            f->result.data + (size_t)r * f->heads * f->n, f->n, f->heads, w->bias, f->n);
}

/* attn = W_O z + b_O; its block sums are hook_result. */
static psc_status attention_output(psc_forward *f, const psc_layer *layer) {
    const psc_packed *w = &layer->matrix[PSC_W_O];
    matmul_jobs all = {.n = 1};
    all.jobs[0] = job(f, w, f->attn, f->ld_n, f->z, f->ld_n, (size_t)f->n_rows);
    if (!psc_forward_wants(f, PSC_HOOK_RESULT)) {
        run_jobs(f, &all);
        return show(f, PSC_HOOK_ATTN_OUT, f->attn, f->n, f->ld_n);
    }
    size_t floats = (size_t)f->n_rows * f->heads * f->n;
    float *result = psc_forward_grow(&f->result, floats, f->error);
    if (!result) return PSC_ERROR_MEMORY;
    all.jobs[0].m.blocks = result;
    all.jobs[0].m.ld_row = f->heads * f->n;
    all.jobs[0].m.ld_block = f->n;
    run_jobs(f, &all);
    psc_view view = {result, 3, {f->n_rows, (int64_t)f->heads, (int64_t)f->n},
        {(int64_t)(f->heads * f->n), (int64_t)f->n, 1}};
    psc_status status = psc_forward_show(f, PSC_HOOK_RESULT, &view);
    if (status != PSC_OK) return status;
    if (psc_registry_edits(f->registry, PSC_HOOK_RESULT, f->layer, f->rows, f->n_rows))
        psc_team_for(f->team, f->n_rows, sum_results, f);
    return show(f, PSC_HOOK_ATTN_OUT, f->attn, f->n, f->ld_n);
}

static void gelu_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    psc_forward *f = payload;
    for (int64_t r = begin; r < end; r++)
        f->kernels->gelu(
            f->post + (size_t)r * f->ld_m, NULL, f->pre.data + (size_t)r * f->ld_m, f->m);
}

static psc_status mlp(psc_forward *f, const psc_layer *layer) {
    matmul_jobs all = {.n = 1};
    all.jobs[0] =
        job(f, &layer->matrix[PSC_W_IN], f->post, f->ld_m, f->y2, f->ld_n, (size_t)f->n_rows);
    psc_status status = PSC_OK;
    if (psc_forward_wants(f, PSC_HOOK_MLP_PRE)) {
        float *pre = psc_forward_grow(&f->pre, (size_t)f->n_rows * f->ld_m, f->error);
        if (!pre) return PSC_ERROR_MEMORY;
        all.jobs[0].m.y = pre;
        run_jobs(f, &all);
        status = show(f, PSC_HOOK_MLP_PRE, pre, f->m, f->ld_m);
        if (status != PSC_OK) return status;
        psc_team_for(f->team, f->n_rows, gelu_rows, f);
    } else {
        all.jobs[0].gelu = f->post;
        run_jobs(f, &all);
    }
    status = show(f, PSC_HOOK_MLP_POST, f->post, f->m, f->ld_m);
    if (status != PSC_OK) return status;
    all.jobs[0] =
        job(f, &layer->matrix[PSC_W_OUT], f->mlp, f->ld_n, f->post, f->ld_m, (size_t)f->n_rows);
    run_jobs(f, &all);
    return show(f, PSC_HOOK_MLP_OUT, f->mlp, f->n, f->ld_n);
}

/* x <- (mlp + attn) + x */
static void residual_parallel(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    psc_forward *f = payload;
    for (size_t r = (size_t)begin, at = r * f->ld_n; r < (size_t)end; r++, at += f->ld_n)
        f->kernels->add3(f->x + at, f->mlp + at, f->attn + at, f->x + at, f->n);
}

/* x <- attn + x */
static void residual_attn(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    psc_forward *f = payload;
    for (size_t r = (size_t)begin, at = r * f->ld_n; r < (size_t)end; r++, at += f->ld_n)
        f->kernels->add(f->x + at, f->attn + at, f->x + at, f->n);
}

/* x <- mlp + x */
static void residual_mlp(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    psc_forward *f = payload;
    for (size_t r = (size_t)begin, at = r * f->ld_n; r < (size_t)end; r++, at += f->ld_n)
        f->kernels->add(f->x + at, f->mlp + at, f->x + at, f->n);
}

static psc_status run_layer(psc_forward *f) {
    const psc_layer *layer = &f->model->layers[f->layer];
    bool parallel = f->model->config.parallel_residual;
    psc_status status = show(f, PSC_HOOK_RESID_PRE, f->x, f->n, f->ld_n);
    if (status == PSC_OK)
        status = layer_norm(f, &layer->ln1, f->y1, PSC_HOOK_LN1_SCALE, PSC_HOOK_LN1_NORMALIZED);
    if (status == PSC_OK) status = attention_inputs(f, layer);
    if (status == PSC_OK) status = psc_forward_attention(f);
    if (status == PSC_OK) status = psc_forward_show_heads(f, PSC_HOOK_Z, f->z);
    if (status == PSC_OK) status = attention_output(f, layer);
    if (status == PSC_OK && !parallel) {
        psc_team_for(f->team, f->n_rows, residual_attn, f);
        status = show(f, PSC_HOOK_RESID_MID, f->x, f->n, f->ld_n);
    }
    if (status == PSC_OK)
        status = layer_norm(f, &layer->ln2, f->y2, PSC_HOOK_LN2_SCALE, PSC_HOOK_LN2_NORMALIZED);
    if (status == PSC_OK) status = mlp(f, layer);
    if (status != PSC_OK) return status;
    psc_team_for(f->team, f->n_rows, parallel ? residual_parallel : residual_mlp, f);
    return show(f, PSC_HOOK_RESID_POST, f->x, f->n, f->ld_n);
}

/* --- the ends -------------------------------------------------------------------------------- */

static void embed_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    psc_forward *f = payload;
    for (int64_t r = begin; r < end; r++)
        psc_model_embedding(f->model, f->kernels, f->rows[r].token, f->x + (size_t)r * f->ld_n);
}

/* Logits of the rows that are wanted, shown as one event and handed to the sink. */
static psc_status logits(psc_forward *f, const psc_logits_sink *sink) {
    const psc_packed *w = &f->model->unembed;
    psc_row *rows = f->logit_rows;
    size_t chosen = 0;
    for (int32_t r = 0; r < f->n_rows; r++) {
        bool wanted = sink->wanted && sink->wanted[r];
        if (!wanted && !psc_registry_wants_row(f->registry, PSC_HOOK_LOGITS, -1, &f->rows[r]))
            continue;
        if (chosen != (size_t)r)
            memcpy(f->y1 + chosen * f->ld_n, f->y1 + (size_t)r * f->ld_n, f->n * sizeof(float));
        rows[chosen++] = f->rows[r];
    }
    if (chosen == 0) return PSC_OK;
    size_t ld = padded(w->out);
    float *z = psc_forward_grow(&f->logits, chosen * ld, f->error);
    if (!z) return PSC_ERROR_MEMORY;
    matmul_jobs all = {.n = 1};
    all.jobs[0] = job(f, w, z, ld, f->y1, f->ld_n, chosen);
    run_jobs(f, &all);
    psc_view view = {z, 2, {(int64_t)chosen, (int64_t)w->out}, {(int64_t)ld, 1}};
    psc_status status = PSC_OK;
    if (psc_registry_wants(f->registry, PSC_HOOK_LOGITS, -1, rows, (int32_t)chosen))
        status = psc_registry_deliver(
            f->registry, PSC_HOOK_LOGITS, -1, rows, (int32_t)chosen, &view, f->error);
    if (status != PSC_OK || !sink->wanted) return status;
    for (size_t i = 0; i < chosen; i++)
        if (sink->wanted[rows[i].index - f->rows[0].index])
            sink->take(rows[i].index, z + i * ld, sink->payload);
    return PSC_OK;
}

/* x: the embedding, or the residual that the pass was given. */
static psc_status first_residual(psc_forward *f, const psc_pass *pass) {
    if (!pass->resid) {
        psc_team_for(f->team, f->n_rows, embed_rows, f);
        return show(f, PSC_HOOK_EMBED, f->x, f->n, f->ld_n);
    }
    for (size_t r = 0; r < (size_t)f->n_rows; r++)
        memcpy(f->x + r * f->ld_n, pass->resid + r * f->n, f->n * sizeof(float));
    return PSC_OK;
}

psc_status psc_forward_chunk(
    psc_forward *f, const psc_row *rows, int32_t n_rows, const psc_pass *pass, psc_error *error) {
    int32_t n_layers = (int32_t)f->model->config.n_layers;
    assert(pass->first_layer >= 0 && pass->first_layer <= n_layers);
    assert(pass->resid || pass->first_layer == 0);
    f->rows = rows;
    f->n_rows = n_rows;
    f->error = error;
    f->layer = -1;
    for (int32_t r = 0; r < n_rows; r++) f->n_keys[r] = rows[r].position + 1;
    psc_status status = first_residual(f, pass);
    for (int32_t l = pass->first_layer; l < n_layers && status == PSC_OK; l++) {
        f->layer = l;
        status = run_layer(f);
    }
    f->layer = -1;
    if (status == PSC_OK)
        status = layer_norm(
            f, &f->model->ln_final, f->y1, PSC_HOOK_LN_FINAL_SCALE, PSC_HOOK_LN_FINAL_NORMALIZED);
    if (status == PSC_OK) status = logits(f, &pass->sink);
    return status;
}
