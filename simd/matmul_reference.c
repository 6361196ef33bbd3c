/* y[rows, out] = x[rows, k] W[out, k]^T + bias: each block of k_block terms is one chain acc =
 * fma(x, w, acc) over ascending k from +0; block sums are added in ascending order, then the
 * bias. */
#include "kernel_names.h"
#include "widen.h"

#include <math.h>

/* The sums of one block of n terms for the sixteen outputs of a panel. */
static inline void block_sums(
    float acc[PSC_LANES], const float *x, const void *w, size_t first, size_t n, psc_dtype dtype) {
    for (int lane = 0; lane < PSC_LANES; lane++) acc[lane] = 0.0f;
    for (size_t k = 0; k < n; k++) {
        for (int lane = 0; lane < PSC_LANES; lane++) {
            float weight = widen(w, dtype, first + k * PSC_LANES + (size_t)lane);
            acc[lane] = fmaf(x[k], weight, acc[lane]);
        }
    }
}

/* Row r against panel p. */
static inline void row_by_panel(const psc_matmul *m, size_t r, size_t p, psc_dtype dtype) {
    size_t first = p * PSC_LANES;
    size_t n = m->out - first < PSC_LANES ? m->out - first : PSC_LANES;
    float total[PSC_LANES] = {0};
    for (size_t b = 0, k = 0; k < m->k; b++, k += m->k_block) {
        float acc[PSC_LANES];
        size_t terms = m->k - k < m->k_block ? m->k - k : m->k_block;
        block_sums(acc, m->x + r * m->ldx + k, m->w, first * m->k + k * PSC_LANES, terms, dtype);
        for (size_t i = 0; i < PSC_LANES; i++) total[i] = b == 0 ? acc[i] : total[i] + acc[i];
        for (size_t i = 0; m->blocks && i < n; i++) {
            m->blocks[r * m->ld_row + b * m->ld_block + first + i] = acc[i];
        }
    }
    for (size_t i = 0; m->y && i < n; i++) {
        m->y[r * m->ldy + first + i] = m->bias ? total[i] + m->bias[first + i] : total[i];
    }
}

static inline void matmul(const psc_matmul *m, psc_dtype dtype) {
    for (size_t p = m->panel_begin; p < m->panel_end && p * PSC_LANES < m->out; p++) {
        for (size_t r = 0; r < m->rows; r++) row_by_panel(m, r, p, dtype);
    }
}

void psc_matmul_f32__reference(const psc_matmul *m) {
    matmul(m, PSC_DTYPE_F32);
}

void psc_matmul_f16__reference(const psc_matmul *m) {
    matmul(m, PSC_DTYPE_F16);
}

void psc_matmul_bf16__reference(const psc_matmul *m) {
    matmul(m, PSC_DTYPE_BF16);
}
