/* Rows to latents, some rows at a time:
 *
 *   x [rows, d_in]  ->  n  (gamma x + beta; normalized; minus b_dec)
 *   h [rows, F] = n W_enc^T (+ b_enc), a block of latents at a time, never whole:
 *
 *          latents ->       part 0      part 1    ..
 *      rows  [ block ][ block ][ block ][ block ]..   a block's h are still in the core's cache
 *            when the rows' lists take what is active (coder_select.c)
 *
 *   the lists of a row, part after part  ->  its latents, ascending
 *
 * A task is a part: its panels of weights are read once for all rows. Products have the matmul
 * kernels' bits, and a row's set depends on its products alone. */
#include "coder.h"

#include "arena.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_PANELS = 12,    /* 192 latents: with 256 rows 192 kB */
    PARTS_PER_THREAD = 4, /* so that no thread waits long for another */
    MOST_PARTS = 64
};
#define LN_EPS 1e-5f /* SAELens's own, beside the deviation */
/* Entries of all rows of a tile at most, where every latent may be active: 64 MiB. */
#define MOST_ENTRIES ((size_t)8 << 20)

/* --- buffers --------------------------------------------------------------------------------- */

static size_t block_panels(const psc_coder *coder) {
    const size_t group = coder->kernels->matmul_group;
    return (BLOCK_PANELS + group - 1) / group * group;
}

static size_t n_panels(const psc_coder *coder) {
    return ((size_t)coder->config.n_latents + PSC_LANES - 1) / PSC_LANES;
}

void psc_coder_free_work(psc_coder_work *w) {
    psc_aligned_free(w->rows);
    psc_aligned_free(w->gain);
    psc_aligned_free(w->shift);
    psc_aligned_free(w->room);
    for (int32_t t = 0; w->blocks && t < w->n_threads; t++) psc_aligned_free(w->blocks[t]);
    for (size_t i = 0; w->lists && i < (size_t)w->n_parts * PSC_CODER_ROWS; i++)
        free(w->lists[i].at);
    free(w->blocks);
    free(w->lists);
    free(w->ids);
    free(w->values);
    *w = (psc_coder_work){0};
}

static bool allocate(psc_coder *coder, int n_threads) {
    psc_coder_work *w = &coder->work;
    const size_t d_in = (size_t)coder->config.d_in;
    const size_t blocks = (n_panels(coder) + block_panels(coder) - 1) / block_panels(coder);
    size_t parts = (size_t)n_threads * PARTS_PER_THREAD;
    if (parts > MOST_PARTS) parts = MOST_PARTS;
    if (parts > blocks) parts = blocks;
    w->n_threads = n_threads;
    w->n_parts = (int32_t)parts;
    w->rows = psc_aligned_alloc(PSC_CODER_ROWS * d_in * sizeof(float));
    w->gain = psc_aligned_alloc(PSC_CODER_ROWS * sizeof(float));
    w->shift = psc_aligned_alloc(PSC_CODER_ROWS * sizeof(float));
    w->room = psc_aligned_alloc(PSC_KERNEL_ROOM);
    w->blocks = calloc((size_t)n_threads, sizeof *w->blocks);
    w->lists = calloc(parts * PSC_CODER_ROWS, sizeof *w->lists);
    if (!w->rows || !w->gain || !w->shift || !w->room || !w->blocks || !w->lists) return false;
    for (int t = 0; t < n_threads; t++) {
        w->blocks[t] =
            psc_aligned_alloc(PSC_CODER_ROWS * block_panels(coder) * PSC_LANES * sizeof(float));
        if (!w->blocks[t]) return false;
    }
    return true;
}

static psc_status no_memory(psc_error *error) {
    return psc_fail(
        error, PSC_ERROR_MEMORY, "not enough memory for the latents of a dictionary's rows");
}

psc_status psc_coder_make_work(psc_coder *coder, int n_threads, psc_error *error) {
    if (coder->work.n_threads == n_threads && coder->work.lists) return PSC_OK;
    psc_coder_free_work(&coder->work);
    if (allocate(coder, n_threads)) return PSC_OK;
    psc_coder_free_work(&coder->work);
    return no_memory(error);
}

/* Rows of a tile: fewer where every latent may be active. */
static int64_t tile_rows(const psc_coder *coder, int64_t n_rows) {
    const int32_t kind = coder->config.kind;
    const bool top = kind == PSC_DICTIONARY_TOPK || kind == PSC_DICTIONARY_ABSTOPK;
    const size_t latents = (size_t)coder->config.n_latents;
    size_t each = top ? 2 * (size_t)coder->config.k * (size_t)coder->work.n_parts : latents;
    if (each > latents) each = latents;
    int64_t most = (int64_t)(MOST_ENTRIES / each);
    if (most > PSC_CODER_ROWS) most = PSC_CODER_ROWS;
    if (most < 1) most = 1;
    const int64_t tiles = (n_rows + most - 1) / most;
    return (n_rows + tiles - 1) / tiles;
}

/* --- the product's input --------------------------------------------------------------------- */

void psc_coder_affine(const psc_coder *coder, float *out, const float *x) {
    const size_t n = (size_t)coder->config.d_in;
    if (coder->gamma)
        coder->kernels->ln_affine(out, x, coder->gamma, coder->beta, n);
    else
        memcpy(out, x, n * sizeof *out);
}

/* x = (x - mean) / (std + eps); gain = std, shift = mean. gain null: x - mean alone. */
static void layer_norm(float *x, size_t n, float *gain, float *shift) {
    double sum = 0, centered = 0, square = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    const float mean = (float)(sum / (double)n);
    for (size_t i = 0; i < n; i++) {
        x[i] -= mean;
        centered += x[i];
    }
    for (size_t i = 0; i < n; i++) {
        const double d = x[i] - centered / (double)n;
        square += d * d;
    }
    *shift = mean;
    if (!gain) return;
    const float deviation = (float)sqrt(square / (double)(n - 1));
    for (size_t i = 0; i < n; i++) x[i] /= deviation + LN_EPS;
    *gain = deviation;
}

/* x = x c, c = sqrt(n)/|x|; gain = 1/c. */
static void constant_norm(float *x, size_t n, float *gain) {
    double square = 0;
    for (size_t i = 0; i < n; i++) square += (double)x[i] * x[i];
    const float c = (float)(sqrt((double)n) / sqrt(square));
    for (size_t i = 0; i < n; i++) x[i] *= c;
    *gain = 1.0f / c;
}

static void prepare_row(psc_coder *coder, int64_t r, const float *x) {
    psc_coder_work *w = &coder->work;
    const size_t n = (size_t)coder->config.d_in;
    float *row = w->rows + (size_t)r * n;
    psc_coder_affine(coder, row, x);
    w->gain[r] = 1;
    w->shift[r] = 0;
    if (coder->config.norm == PSC_CODER_LAYER_NORM)
        layer_norm(row, n, &w->gain[r], &w->shift[r]);
    else if (coder->config.norm == PSC_CODER_CENTERED)
        layer_norm(row, n, NULL, &w->shift[r]);
    else if (coder->config.norm == PSC_CODER_CONSTANT_NORM)
        constant_norm(row, n, &w->gain[r]);
    for (size_t i = 0; coder->config.subtracts_b_dec && i < n; i++) row[i] -= coder->b_dec[i];
    if (coder->config.is_transcoder) { /* its output is another tensor, as it is */
        w->gain[r] = 1;
        w->shift[r] = 0;
    }
}

/* --- products -------------------------------------------------------------------------------- */

typedef struct tile {
    psc_coder *coder;
    size_t rows;
} tile;

static bool do_block(
    const tile *t, size_t panel, size_t panels, psc_coder_entries *lists, float *h, void *room) {
    const psc_coder *coder = t->coder;
    const size_t k = coder->encoder.k, first = panel * PSC_LANES;
    const size_t left = coder->encoder.out - first, all = panels * PSC_LANES;
    const size_t out = left < all ? left : all;
    const psc_matmul m = {.y = h,
        .ldy = out,
        .x = coder->work.rows,
        .ldx = k,
        .w = (const float *)coder->encoder.panels + first * k,
        .bias = coder->b_enc ? coder->b_enc + first : NULL,
        .rows = t->rows,
        .k = k,
        .k_block = coder->encoder.k_block,
        .out = out,
        .panel_end = (out + PSC_LANES - 1) / PSC_LANES,
        .room = room};
    coder->kernels->matmul[PSC_DTYPE_F32](&m);
    for (size_t r = 0; r < t->rows; r++)
        if (!psc_coder_offer(coder, &lists[r], h + r * out, (int32_t)first, out)) return false;
    return true;
}

static void do_part(int64_t part, int thread, void *payload) {
    const tile *t = payload;
    psc_coder_work *w = &t->coder->work;
    const size_t unit = block_panels(t->coder), panels = n_panels(t->coder);
    const size_t blocks = (panels + unit - 1) / unit, n = (size_t)w->n_parts, p = (size_t)part;
    psc_coder_entries *lists = w->lists + p * PSC_CODER_ROWS;
    for (size_t r = 0; r < t->rows; r++) {
        lists[r].n = 0;
        lists[r].bound = 0;
        lists[r].cut = false;
    }
    for (size_t b = p * blocks / n; b < (p + 1) * blocks / n; b++) {
        const size_t first = b * unit, left = panels - first;
        if (do_block(t, first, left < unit ? left : unit, lists, w->blocks[thread],
                thread == 0 ? w->room : NULL))
            continue;
        lists[0].n = SIZE_MAX; /* no memory */
        return;
    }
}

/* Joins a row's lists in its first one, which then has what the row keeps. */
static void join_row(int64_t row, int thread, void *payload) {
    const tile *t = payload;
    psc_coder_work *w = &t->coder->work;
    psc_coder_entries *all = &w->lists[row];
    size_t n = 0;
    bool unordered = false;
    (void)thread;
    for (int32_t p = 0; p < w->n_parts; p++) {
        const psc_coder_entries *list = &w->lists[p * PSC_CODER_ROWS + row];
        n += list->n;
        unordered |= list->cut;
    }
    if (n > all->capacity && !psc_grow((void **)&all->at, &all->capacity, n, sizeof *all->at)) {
        all->n = SIZE_MAX;
        return;
    }
    for (int32_t p = 1; p < w->n_parts; p++) {
        const psc_coder_entries *list = &w->lists[p * PSC_CODER_ROWS + row];
        if (list->n > 0) memcpy(all->at + all->n, list->at, list->n * sizeof *all->at);
        all->n += list->n;
    }
    all->n = psc_coder_keep(t->coder, all->at, all->n, unordered);
}

/* --- a tile ---------------------------------------------------------------------------------- */

static void run_tasks(psc_team *team, int64_t n, psc_team_task_fn fn, void *payload) {
    if (team) {
        psc_team_tasks(team, n, fn, payload);
        return;
    }
    for (int64_t i = 0; i < n; i++) fn(i, 0, payload);
}

static bool has_room(psc_coder_work *w, size_t n) {
    return psc_grow((void **)&w->ids, &w->ids_capacity, n + 1, sizeof *w->ids) &&
           psc_grow((void **)&w->values, &w->values_capacity, n + 1, sizeof *w->values);
}

static psc_status encode_tile(psc_coder *coder, psc_team *team, size_t rows, psc_error *error) {
    psc_coder_work *w = &coder->work;
    tile t = {coder, rows};
    size_t n = 0;
    run_tasks(team, w->n_parts, do_part, &t);
    for (int32_t p = 0; p < w->n_parts; p++)
        if (w->lists[p * PSC_CODER_ROWS].n == SIZE_MAX) return no_memory(error);
    run_tasks(team, (int64_t)rows, join_row, &t);
    for (size_t r = 0; r < rows; r++) {
        if (w->lists[r].n == SIZE_MAX) return no_memory(error);
        n += w->lists[r].n;
    }
    if (!has_room(w, n)) return no_memory(error);
    w->begin[0] = 0;
    for (size_t r = 0; r < rows; r++) {
        const psc_coder_entries *list = &w->lists[r];
        const size_t at = (size_t)w->begin[r];
        for (size_t i = 0; i < list->n; i++) {
            w->ids[at + i] = list->at[i].id;
            w->values[at + i] = list->at[i].value;
        }
        w->begin[r + 1] = w->begin[r] + (int64_t)list->n;
    }
    return PSC_OK;
}

psc_status psc_coder_encode(psc_coder *coder, psc_team *team, const float *x, size_t stride,
    int64_t n_rows, psc_latents_fn fn, void *payload, int *stopped, psc_error *error) {
    psc_coder_work *w = &coder->work;
    *stopped = 0;
    if (n_rows == 0) return PSC_OK;
    psc_status status = psc_coder_make_work(coder, team ? psc_team_threads(team) : 1, error);
    if (status) return status;
    const int64_t most = tile_rows(coder, n_rows);
    for (int64_t first = 0; first < n_rows; first += most) {
        const int64_t rows = n_rows - first < most ? n_rows - first : most;
        for (int64_t r = 0; r < rows; r++) prepare_row(coder, r, x + (size_t)(first + r) * stride);
        status = encode_tile(coder, team, (size_t)rows, error);
        if (status) return status;
        const psc_latents latents = {.struct_size = sizeof latents,
            .n_rows = (int32_t)rows,
            .first = first,
            .begin = w->begin,
            .ids = w->ids,
            .values = w->values,
            .gain = w->gain,
            .shift = w->shift};
        *stopped = fn(&latents, payload);
        if (*stopped) return PSC_OK;
    }
    return PSC_OK;
}
