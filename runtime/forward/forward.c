/* One chunk of R rows through a GPT-NeoX model.
 *
 *   x [R,N] = embedding;  x through the layers (forward_layer.c);  logits = W_U LN_final(x), for
 *   the requested rows
 *
 * Each step is one call of the team, each point one branch. Tensors that the pass itself does not
 * store (result, pre, scores, pattern) get memory when a subscriber first requests them. */
#include "forward_inside.h"

#include "arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Rows whose logits are computed at a time. Fewer would read the unembedding too often. */
#define LOGIT_ROWS 128

/* A piece of memory that one task touches; fewer pieces are not worth waking the team. */
#define PIECE ((size_t)2 << 20)
#define LEAST_PIECES 4

float *psc_forward_grow(psc_grown *grown, size_t floats, psc_error *error) {
    if (grown->floats >= floats) return grown->data;
    psc_aligned_free(grown->data);
    grown->floats = 0;
    grown->data = psc_aligned_alloc(floats * sizeof(float));
    if (!grown->data) {
        psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a tensor of %.0f MB",
            (double)floats * 4e-6);
        return NULL;
    }
    grown->floats = floats;
    return grown->data;
}

void psc_forward_drop(psc_grown *grown, size_t most) {
    if (grown->floats <= most) return;
    psc_aligned_free(grown->data);
    *grown = (psc_grown){0};
}

#define WIDE_BUFFERS 6 /* of [chunk, ld_n]: x, y1, y2, q, k, v */

size_t psc_forward_row_bytes(const psc_config *config) {
    return (WIDE_BUFFERS * psc_padded(config->d_model) + psc_padded(config->d_mlp)) * sizeof(float);
}

/* Places all buffers in one block, so that huge pages can hold it. Buffers that only layers use
 * come last: the logits reuse their memory, and more behind it if they need that. Returns the
 * floats needed, of which memory_bytes are the layers'; with null memory it only counts. */
static size_t place_buffers(psc_forward *f, size_t rows, size_t threads, float *memory) {
    float *room = NULL;
    struct {
        float **to;
        size_t floats;
    } buffers[] = {{&f->x, rows * f->ld_n}, {&f->y1, rows * f->ld_n}, {&f->mean, rows},
        {&f->scale, rows}, {&f->scratch, threads * f->scratch_floats},
        {&room, PSC_KERNEL_ROOM / sizeof(float)}, {&f->y2, rows * f->ld_n}, {&f->q, rows * f->ld_n},
        {&f->k, rows * f->ld_n}, {&f->v, rows * f->ld_n}, {&f->post, rows * f->ld_m}};
    const size_t of_layers = 6; /* index of the first buffer that only layers use */
    size_t used = 0, before = 0;
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        if (i == of_layers) before = used;
        if (memory) *buffers[i].to = memory + used;
        used += psc_padded(buffers[i].floats);
    }
    f->room = room;
    f->z = f->y1;
    f->attn = f->k;
    f->mlp = f->v;
    f->normalized = f->q;
    f->logits = f->y2;
    f->logit_rows = rows < LOGIT_ROWS ? rows : LOGIT_ROWS;
    f->memory_bytes = used * sizeof(float);
    size_t with_logits = before + f->logit_rows * f->ld_v;
    return used > with_logits ? used : with_logits;
}

/* capacity: positions of a sequence of the cache. */
static void set_sizes(psc_forward *f, const psc_config *c, size_t capacity) {
    f->n = c->d_model;
    f->heads = c->n_heads;
    f->d_head = c->d_head;
    f->m = c->d_mlp;
    f->ld_n = psc_padded(f->n);
    f->ld_m = psc_padded(f->m);
    f->ld_v = psc_padded(c->d_vocab);
    f->ld_result = psc_padded(f->heads * f->n);
    f->scratch_floats =
        PSC_LANES + PSC_ATTENTION_TILE * (capacity + PSC_LANES + psc_padded(f->d_head));
}

double psc_forward_bytes(
    const psc_config *config, int32_t chunk, int32_t capacity, const psc_team *team) {
    const size_t positions = ((size_t)capacity + PSC_LANES - 1) / PSC_LANES * PSC_LANES;
    psc_forward f = {0};
    set_sizes(&f, config, positions);
    return (double)place_buffers(&f, (size_t)chunk, (size_t)psc_team_threads(team), NULL) *
           sizeof(float);
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

double psc_forward_show_bytes(
    const psc_forward *f, const psc_row *rows, int32_t n_rows, int32_t most, bool pre) {
    const psc_registry *registry = f->registry;
    const size_t n = (size_t)(n_rows < most ? n_rows : most);
    size_t n_keys = 0, floats[3] = {f->pre.floats, f->result.floats, f->scores.floats};
    for (int32_t r = 0; r < n_rows; r++) n_keys = larger(n_keys, (size_t)rows[r].position + 1);
    for (int32_t l = 0; l < (int32_t)f->model->config.n_layers; l++) {
        if (pre || psc_registry_wants(registry, PSC_HOOK_MLP_PRE, l, rows, n_rows))
            floats[0] = larger(floats[0], n * f->ld_m);
        if (psc_registry_wants(registry, PSC_HOOK_RESULT, l, rows, n_rows))
            floats[1] = larger(floats[1], n * f->ld_result);
        if (psc_registry_wants(registry, PSC_HOOK_ATTN_SCORES, l, rows, n_rows) ||
            psc_registry_wants(registry, PSC_HOOK_PATTERN, l, rows, n_rows))
            floats[2] = larger(floats[2], PSC_LANES + n * f->heads * psc_padded(n_keys));
    }
    return ((double)floats[0] + (double)floats[1] + (double)floats[2]) * sizeof(float);
}

psc_status psc_forward_open(psc_forward **out, const psc_model *model, const psc_rotary *rotary,
    const psc_kernels *kernels, psc_team *team, psc_registry *registry, psc_kv_cache *cache,
    int32_t chunk, psc_error *error) {
    *out = NULL;
    psc_forward *f = calloc(1, sizeof *f);
    if (!f) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the forward pass");
    const psc_config *c = &model->config;
    size_t rows = (size_t)chunk, threads = (size_t)psc_team_threads(team);
    f->model = model;
    f->rotary = rotary;
    f->kernels = kernels;
    f->team = team;
    f->registry = registry;
    f->cache = cache;
    set_sizes(f, c, cache->capacity);
    f->memory = psc_aligned_alloc(place_buffers(f, rows, threads, NULL) * sizeof(float));
    f->n_keys = calloc(rows, sizeof *f->n_keys);
    f->kept = calloc(rows, sizeof *f->kept);
    f->chosen = calloc(rows, sizeof *f->chosen);
    f->tiles = calloc(rows, sizeof *f->tiles);
    if (!f->memory || !f->n_keys || !f->kept || !f->chosen || !f->tiles) {
        psc_forward_close(&f);
        return psc_fail(
            error, PSC_ERROR_MEMORY, "not enough memory for chunks of %d rows", (int)chunk);
    }
    place_buffers(f, rows, threads, f->memory);
    *out = f;
    return PSC_OK;
}

static void touch_piece(int64_t piece, int thread, void *payload) {
    (void)thread;
    const psc_forward *f = payload;
    const size_t before = (f->memory_bytes + PIECE - 1) / PIECE, at = (size_t)piece;
    const bool own = at < before;
    char *to = own ? (char *)f->memory : (char *)f->cache->data;
    const size_t begin = (own ? at : at - before) * PIECE;
    const size_t left = (own ? f->memory_bytes : f->cache->huge_bytes) - begin;
    memset(to + begin, 0, left < PIECE ? left : PIECE);
}

void psc_forward_touch(psc_forward *f) {
    const size_t own = (f->memory_bytes + PIECE - 1) / PIECE;
    const size_t of_cache = (f->cache->huge_bytes + PIECE - 1) / PIECE;
    if (own + of_cache >= LEAST_PIECES)
        psc_team_tasks(f->team, (int64_t)(own + of_cache), touch_piece, f);
}

void *psc_forward_room(const psc_forward *f, int thread) {
    return f && thread == 0 ? f->room : NULL;
}

void psc_forward_close(psc_forward **out) {
    psc_forward *f = *out;
    if (!f) return;
    float *buffers[] = {f->memory, f->pre.data, f->result.data, f->scores.data};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) psc_aligned_free(buffers[i]);
    free(f->n_keys);
    free(f->kept);
    free(f->chosen);
    free(f->tiles);
    free(f);
    *out = NULL;
}

typedef struct copy_job {
    const psc_destinations *to;
    psc_point point;
    int32_t layer;
    const psc_row *rows;
    const psc_view *view;
} copy_job;

static void copy_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const copy_job *job = payload;
    psc_destinations_take(job->to, job->point, job->layer, job->rows, job->view, begin, end);
}

psc_status psc_forward_show_of(
    psc_forward *f, psc_point point, const psc_row *rows, int32_t n_rows, const psc_view *view) {
    psc_status status =
        psc_registry_deliver(f->registry, point, f->layer, rows, n_rows, view, f->error);
    copy_job job = {f->pass->copies, point, f->layer, rows, view};
    if (status == PSC_OK && psc_destinations_want(job.to, point, f->layer, rows, n_rows))
        psc_team_for(f->team, n_rows, copy_rows, &job);
    return status;
}

psc_status psc_forward_show_rows(
    psc_forward *f, psc_point point, float *data, size_t width, size_t ld) {
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

/* --- the ends -------------------------------------------------------------------------------- */

static void embed_rows(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    psc_forward *f = payload;
    for (int64_t r = begin; r < end; r++)
        psc_model_embed_row(f->model, f->kernels, f->rows[r].token, f->x + (size_t)r * f->ld_n);
}

/* x: the embedding, or the residual that the pass starts from. */
static psc_status first_residual(psc_forward *f) {
    const float *resid = f->pass->resid;
    if (!resid) {
        psc_team_for(f->team, f->n_rows, embed_rows, f);
        return psc_forward_show_rows(f, PSC_HOOK_EMBED, f->x, f->n, f->ld_n);
    }
    for (size_t r = 0; r < (size_t)f->n_rows; r++)
        memcpy(f->x + r * f->ld_n, resid + r * f->n, f->n * sizeof(float));
    return PSC_OK;
}

static psc_status check_stop(const psc_forward *f) {
    if (!f->pass->stop || !f->pass->stop(f->pass->payload)) return PSC_OK;
    return psc_fail(f->error, PSC_ERROR_CANCELLED, "the run was cancelled");
}

static bool sinks(const psc_forward *f, const psc_row *row) {
    const bool *wanted = f->pass->sink.wanted;
    return wanted && wanted[row->index - f->first_index];
}

static bool wants_logits(const psc_forward *f, const psc_row *row) {
    return sinks(f, row) || psc_forward_wants_of(f, PSC_HOOK_LOGITS, row, 1);
}

/* Chooses requested rows from *row on and copies their y1 to x, which is free now. As long as all
 * of them go to the sink, there may be any number; the others go through a buffer of logit_rows. */
static size_t choose_rows(psc_forward *f, int32_t *row, bool *all_sink) {
    size_t n = 0;
    *all_sink = true;
    for (; *row < f->n_rows; ++*row) {
        if (!wants_logits(f, &f->rows[*row])) continue;
        const bool all = *all_sink && sinks(f, &f->rows[*row]) && f->pass->sink.to;
        if (!all && n >= f->logit_rows) break;
        *all_sink = all;
        memcpy(f->x + n * f->ld_n, f->y1 + (size_t)*row * f->ld_n, f->n * sizeof(float));
        f->chosen[n++] = f->rows[*row];
    }
    return n;
}

static void panel_task(int64_t task, int thread, void *payload) {
    psc_forward *f = payload;
    psc_job job = psc_forward_job(
        f, &f->model->unembed, f->sink, f->model->unembed.out, f->x, f->ld_n, f->chosen_rows);
    job.m.room = psc_forward_room(f, thread);
    job.m.panel_begin = (size_t)f->pass->sink.panels[task];
    job.m.panel_end = job.m.panel_begin + 1;
    job.kernel(&job.m);
}

/* Computes the panels that the sink needs of the chosen rows' logits, which no subscriber selects. */
static void panel_logits(psc_forward *f, size_t n) {
    f->chosen_rows = n;
    psc_team_tasks(f->team, f->pass->sink.n_panels, panel_task, f);
    f->sink += n * f->model->unembed.out;
}

/* Computes the logits of the chosen rows in the sink or the buffer, and shows them as one event. */
static psc_status chosen_logits(psc_forward *f, size_t n, bool in_sink) {
    const psc_packed *w = &f->model->unembed;
    if (in_sink && f->sink && f->pass->sink.panels &&
        !psc_forward_wants_of(f, PSC_HOOK_LOGITS, f->chosen, (int32_t)n)) {
        panel_logits(f, n);
        return PSC_OK;
    }
    float *y = in_sink ? f->sink : f->logits;
    const size_t ld = in_sink ? w->out : f->ld_v;
    psc_job job = psc_forward_job(f, w, y, ld, f->x, f->ld_n, n);
    psc_forward_run(f, &job, 1);
    psc_view view = {y, 2, {(int64_t)n, (int64_t)w->out}, {(int64_t)ld, 1}};
    psc_status status = PSC_OK;
    if (psc_forward_wants_of(f, PSC_HOOK_LOGITS, f->chosen, (int32_t)n))
        status = psc_forward_show_of(f, PSC_HOOK_LOGITS, f->chosen, (int32_t)n, &view);
    if (f->pass->sink.read && status == PSC_OK)
        f->pass->sink.read(f->chosen, (int32_t)n, &view, f->pass->sink.payload);
    for (size_t i = 0; i < n && status == PSC_OK && f->sink; i++) {
        if (!sinks(f, &f->chosen[i])) continue;
        if (!in_sink) memcpy(f->sink, y + i * ld, w->out * sizeof *y);
        f->sink += w->out;
    }
    return status;
}

static psc_status logits(psc_forward *f) {
    const psc_layer_norm *ln = &f->model->ln_final;
    psc_status status =
        psc_forward_norm(f, 1, &ln, &f->y1, PSC_HOOK_LN_FINAL_SCALE, PSC_HOOK_LN_FINAL_NORMALIZED);
    f->sink = f->pass->sink.to;
    for (int32_t row = 0; row < f->n_rows && status == PSC_OK;) {
        bool in_sink;
        size_t n = choose_rows(f, &row, &in_sink);
        if (n) status = check_stop(f);
        if (n && status == PSC_OK) status = chosen_logits(f, n, in_sink);
    }
    return status;
}

static bool layer_is_wanted(const psc_forward *f, int32_t layer, bool late) {
    return psc_registry_wants_layer(f->registry, layer, late) ||
           psc_destinations_want_layer(f->pass->copies, layer, late);
}

/* The first layer that the pass does not compute. Rows of this chunk that nothing asks for may hold
 * keys and values for those of a later one, so the answer is the same for all chunks. */
static int32_t find_end(psc_forward *f) {
    const psc_pass *pass = f->pass;
    f->ends_inside = false;
    if (!pass->ends_early) return (int32_t)f->model->config.n_layers;
    int32_t end = pass->end_layer;
    while (end > pass->first_layer && !layer_is_wanted(f, end - 1, false)) end--;
    f->ends_inside = end > pass->first_layer && !layer_is_wanted(f, end - 1, true);
    return end;
}

static psc_status layers(psc_forward *f) {
    const psc_pass *pass = f->pass;
    psc_status status = PSC_OK;
    for (int32_t l = pass->first_layer; l < f->end_layer && status == PSC_OK; l++) {
        f->layer = l;
        status = check_stop(f);
        if (status == PSC_OK) status = psc_forward_layer(f);
    }
    f->layer = -1;
    return status;
}

psc_status psc_forward_chunk(
    psc_forward *f, const psc_row *rows, int32_t n_rows, const psc_pass *pass, psc_error *error) {
    assert(pass->first_layer >= 0 && pass->first_layer <= (int32_t)f->model->config.n_layers);
    assert(pass->resid || pass->first_layer == 0);
    f->pass = pass;
    f->rows = rows;
    f->n_rows = n_rows;
    f->first_index = rows->index;
    f->error = error;
    f->layer = -1;
    f->hooked = psc_registry_any(f->registry) || pass->copies;
    f->end_layer = find_end(f);
    f->pending = PSC_PENDING_NONE;
    for (int32_t r = 0; r < n_rows; r++) f->n_keys[r] = rows[r].position + 1;
    psc_forward_tile(f);
    psc_status status = first_residual(f);
    if (status == PSC_OK && pass->edges) psc_forward_edges_begin(f);
    if (status == PSC_OK) status = layers(f);
    if (status == PSC_OK && pass->edges) psc_forward_edges_logits(f);
    return status == PSC_OK && !pass->ends_early ? logits(f) : status;
}
