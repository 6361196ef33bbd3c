/* Latents to rows: y = gain (sum_i f_i d_i + b_dec) + shift + W_skip x. The sum begins at +0 and
 * goes over ascending ids, product and addition rounded apart; then come b_dec, gain, shift and the
 * skip connection. */
#include "coder.h"

#include "arena.h"

#include <string.h>

typedef struct decoding {
    const psc_coder *coder;
    const psc_latents *latents;
    float *y;
} decoding;

static void decode_rows(int64_t begin, int64_t end, int thread, void *payload) {
    const decoding *d = payload;
    const psc_coder *coder = d->coder;
    const psc_latents *l = d->latents;
    const size_t width = (size_t)coder->config.d_out;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        float *y = d->y + (size_t)r * width;
        memset(y, 0, width * sizeof *y);
        for (int64_t e = l->begin[r]; e < l->begin[r + 1]; e++) {
            const float f = l->values[e], *row = coder->decoder + (size_t)l->ids[e] * width;
            for (size_t i = 0; i < width; i++) y[i] += f * row[i];
        }
        coder->kernels->add(y, y, coder->b_dec, width);
        if (!coder->info.is_normalized) continue;
        for (size_t i = 0; i < width; i++) y[i] = y[i] * l->gain[r] + l->shift[r];
    }
}

void psc_coder_skip(
    const psc_coder *coder, bool pullback, float *y, const float *x, int64_t n_rows) {
    const psc_packed *w = &coder->skip;
    const size_t width = (size_t)(pullback ? coder->config.d_in : coder->config.d_out);
    if (!w->panels) {
        memset(y, 0, (size_t)n_rows * width * sizeof *y);
    } else if (pullback) {
        const psc_pullback p = {.y = y,
            .ldy = w->k,
            .u = x,
            .ldu = w->out,
            .w = w->panels,
            .rows = (size_t)n_rows,
            .k = w->k,
            .out = w->out,
            .k_end = w->k,
            .room = coder->work.room};
        coder->kernels->pullback[w->dtype](&p);
    } else {
        const psc_matmul m = {.y = y,
            .ldy = w->out,
            .x = x,
            .ldx = w->k,
            .w = w->panels,
            .rows = (size_t)n_rows,
            .k = w->k,
            .k_block = w->k_block,
            .out = w->out,
            .panel_end = (w->out + PSC_LANES - 1) / PSC_LANES,
            .room = coder->work.room};
        coder->kernels->matmul[w->dtype](&m);
    }
}

/* One row at a time through buffers of encode's size would be slow; a tile of rows is not. */
static psc_status add_skip(
    psc_coder *coder, int64_t n_rows, const float *x, size_t stride, float *y, psc_error *error) {
    const size_t d_in = (size_t)coder->config.d_in, width = (size_t)coder->config.d_out;
    float *rows = psc_aligned_alloc((uint64_t)PSC_CODER_ROWS * (d_in + width) * sizeof *rows);
    if (!rows) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a skip connection");
    float *skip = rows + PSC_CODER_ROWS * d_in;
    for (int64_t first = 0; first < n_rows; first += PSC_CODER_ROWS) {
        const int64_t n = n_rows - first < PSC_CODER_ROWS ? n_rows - first : PSC_CODER_ROWS;
        for (int64_t r = 0; r < n; r++)
            psc_coder_affine(coder, rows + (size_t)r * d_in, x + (size_t)(first + r) * stride);
        psc_coder_skip(coder, false, skip, rows, n);
        float *to = y + (size_t)first * width;
        coder->kernels->add(to, to, skip, (size_t)n * width);
    }
    psc_aligned_free(rows);
    return PSC_OK;
}

static psc_status check_finite(
    const psc_coder *coder, const psc_latents *latents, const float *y, psc_error *error) {
    const size_t n = (size_t)latents->n_rows * (size_t)coder->config.d_out;
    float sum = 0; /* 0 or NaN */
    for (size_t i = 0; i < n; i++) sum += y[i] * 0.0f;
    if (sum == 0) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "%.300s: a row of %s overflows as the dictionary reconstructs it; the row or the weights are "
        "too large",
        coder->config.said, coder->out_name);
}

psc_status psc_coder_decode(psc_coder *coder, psc_team *team, const psc_latents *latents,
    const float *x, size_t stride, float *y, psc_error *error) {
    decoding d = {coder, latents, y};
    if (latents->n_rows == 0) return PSC_OK;
    psc_status status = psc_coder_make_work(coder, team ? psc_team_threads(team) : 1, error);
    if (status) return status;
    if (team)
        psc_team_for(team, latents->n_rows, decode_rows, &d);
    else
        decode_rows(0, latents->n_rows, 0, &d);
    if (coder->skip.panels)
        status =
            add_skip(coder, latents->n_rows, x + (size_t)latents->first * stride, stride, y, error);
    return status ? status : check_finite(coder, latents, y, error);
}

void psc_coder_vector(const psc_coder *coder, int side, int32_t id, float *out) {
    const size_t width = (size_t)coder->config.d_out;
    if (side == PSC_DICTIONARY_DECODER) {
        memcpy(out, coder->decoder + (size_t)id * width, width * sizeof *out);
        return;
    }
    psc_unpack_row(out, coder->encoder.panels, PSC_DTYPE_F32, coder->encoder.k, (size_t)id);
    for (size_t i = 0; coder->rate && i < (size_t)coder->config.d_in; i++)
        out[i] *= coder->rate[id];
}
