/* The rotary tables of a model. Its frequencies are f_i = base^(-2i/n), n = rotary_dims, unless the
 * config scales them as transformers (5, modeling_rope_utils.py) does:
 *
 *   linear  f_i / factor
 *   yarn    f_i / factor * r_i + f_i * (1 - r_i),  r_i = (i - low)/(high - low), within 0..1
 *           low, high: the dimensions that turn beta_fast and beta_slow times in the old context,
 *           d(b) = n log(context/(2 pi b)) / (2 log base), down and up to whole ones if truncate */
#include "rotary.h"

#include "arena.h"
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double log_of(double x) {
    double y;
    psc_kernels_for(PSC_ISA_REFERENCE)->log_f64(&y, &x, 1);
    return y;
}

static double dimension_of(const psc_config *c, double turns) {
    const double two_pi = 6.283185307179586;
    return (double)c->rotary_dims * log_of(c->rope.context / (turns * two_pi)) /
           (2.0 * log_of(c->rotary_base));
}

static void ramp(double *frequencies, const psc_config *c) {
    const psc_rope *rope = &c->rope;
    double low = dimension_of(c, rope->beta_fast), high = dimension_of(c, rope->beta_slow);
    if (rope->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0.0);
    high = fmin(high, (double)c->rotary_dims - 1.0);
    if (low == high) high += 0.001;
    for (size_t i = 0; i < c->rotary_dims / 2; i++) {
        const double r = fmin(fmax(((double)i - low) / (high - low), 0.0), 1.0);
        frequencies[i] = frequencies[i] / rope->factor * r + frequencies[i] * (1.0 - r);
    }
}

static void fill_frequencies(double *frequencies, const psc_config *c) {
    const size_t half = c->rotary_dims / 2;
    psc_rotary_frequencies(frequencies, half, c->rotary_base);
    if (c->rope.kind == PSC_ROPE_LINEAR)
        for (size_t i = 0; i < half; i++) frequencies[i] /= c->rope.factor;
    if (c->rope.kind == PSC_ROPE_YARN) ramp(frequencies, c);
}

/* The tables of out's frequencies. */
static psc_status fill_tables(psc_rotary *out, size_t rows, psc_error *error) {
    out->rows = rows;
    out->cos = psc_aligned_alloc(rows * out->half * sizeof(float));
    out->sin = psc_aligned_alloc(rows * out->half * sizeof(float));
    if (!out->cos || !out->sin)
        return psc_fail(error, PSC_ERROR_MEMORY,
            "not enough memory for the rotary tables of %zu positions", rows);
    psc_rotary_tables(out->cos, out->sin, 0, rows, out->half, out->frequencies, out->scale);
    return PSC_OK;
}

psc_status psc_rotary_open(
    psc_rotary *out, const psc_config *config, size_t rows, psc_error *error) {
    *out = (psc_rotary){.half = config->rotary_dims / 2, .scale = config->rope.scale};
    out->frequencies = malloc((out->half + 1) * sizeof *out->frequencies);
    if (!out->frequencies)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the rotary frequencies");
    fill_frequencies(out->frequencies, config);
    const psc_status status = fill_tables(out, rows, error);
    if (status) psc_rotary_close(out);
    return status;
}

psc_status psc_rotary_extend(
    psc_rotary *out, const psc_rotary *from, size_t rows, psc_error *error) {
    *out = *from;
    out->borrowed = true;
    if (rows <= from->rows) return PSC_OK;
    out->borrowed = false;
    out->cos = out->sin = NULL;
    out->frequencies = malloc((out->half + 1) * sizeof *out->frequencies);
    if (!out->frequencies)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the rotary frequencies");
    if (out->half > 0) /* no rotary dimension: null */
        memcpy(out->frequencies, from->frequencies, out->half * sizeof *out->frequencies);
    const psc_status status = fill_tables(out, rows, error);
    if (status) psc_rotary_close(out);
    return status;
}

void psc_rotary_at(float *cos, float *sin, const psc_rotary *rotary, size_t position, size_t i) {
    if (position >= rotary->rows) {
        psc_rotary_tables(cos, sin, position, 1, 1, rotary->frequencies + i, rotary->scale);
        return;
    }
    *cos = rotary->cos[position * rotary->half + i];
    *sin = rotary->sin[position * rotary->half + i];
}

void psc_rotary_close(psc_rotary *rotary) {
    if (!rotary->borrowed) {
        psc_aligned_free(rotary->cos);
        psc_aligned_free(rotary->sin);
        free(rotary->frequencies);
    }
    *rotary = (psc_rotary){0};
}
