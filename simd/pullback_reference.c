/* y[rows, k] = u[rows, out] W[out, k]: for each k sixteen chains acc[lane] = fma(w, u, acc[lane]),
 * lane = o mod 16, over ascending panels from +0; then lanes +8, +4, +2, +1. */
#include "kernel_names.h"
#include "stripe_reference.h"
#include "widen.h"

#include <math.h>

static inline float pull_one(const psc_pullback *p, const float *u, size_t k, psc_dtype dtype) {
    float acc[PSC_LANES] = {0};
    for (size_t first = 0; first < p->out; first += PSC_LANES) {
        size_t n = p->out - first < PSC_LANES ? p->out - first : PSC_LANES;
        /* The padding is computed too: fma(0, 0, -0) is +0, and every ISA does the same. */
        for (size_t lane = 0; lane < PSC_LANES; lane++) {
            float weight = widen(p->w, dtype, first * p->k + k * PSC_LANES + lane);
            acc[lane] = fmaf(weight, lane < n ? u[first + lane] : 0.0f, acc[lane]);
        }
    }
    return fold_lanes(acc);
}

static inline void pullback(const psc_pullback *p, psc_dtype dtype) {
    for (size_t r = 0; r < p->rows; r++) {
        for (size_t k = p->k_begin; k < p->k_end; k++) {
            p->y[r * p->ldy + k] = pull_one(p, p->u + r * p->ldu, k, dtype);
        }
    }
}

void psc_split_lanes__reference(float *y, const float *u, size_t out) {
    const size_t panels = (out + PSC_LANES - 1) / PSC_LANES;
    for (size_t i = 0; i < panels * PSC_LANES; i++)
        y[i % PSC_LANES * panels + i / PSC_LANES] = i < out ? u[i] : 0.0f;
}

void psc_pullback_f32__reference(const psc_pullback *p) {
    pullback(p, PSC_DTYPE_F32);
}

void psc_pullback_f16__reference(const psc_pullback *p) {
    pullback(p, PSC_DTYPE_F16);
}

void psc_pullback_bf16__reference(const psc_pullback *p) {
    pullback(p, PSC_DTYPE_BF16);
}
