/* Attention of one head: scores[row][key] = (q . k) * scale for the keys a row sees, softmax over a
 * whole row, and z[row][d] = sum over those keys of pattern[key] v[key][d]. */
#include "kernel_names.h"
#include "stripe_reference.h"

#include <math.h>
#include <stdbool.h>
#include <sleef.h>

void psc_attention_scores__reference(const psc_attention *a) {
    for (size_t r = 0; r < a->rows; r++) {
        const float *q = a->x + r * a->ldx, *cache = a->caches ? a->caches[r] : a->cache;
        for (size_t key = 0; key < (size_t)a->n_keys[r]; key++) {
            const bool shared = key < a->n_prefix;
            const size_t at = shared ? key : key - a->n_prefix;
            const float *panel =
                (shared ? a->prefix : cache) + at / PSC_LANES * PSC_LANES * a->d_head;
            float acc = 0.0f;
            for (size_t d = 0; d < a->d_head; d++) {
                acc = fmaf(q[d], panel[d * PSC_LANES + key % PSC_LANES], acc);
            }
            a->y[r * a->ldy + key] = acc * a->scale;
        }
    }
}

void psc_attention_values__reference(const psc_attention *a) {
    for (size_t r = 0; r < a->rows; r++) {
        const float *pattern = a->x + r * a->ldx, *cache = a->caches ? a->caches[r] : a->cache;
        size_t n = (size_t)a->n_keys[r];
        for (size_t d = 0; d < a->d_head; d++) {
            const float *own = cache + d / PSC_LANES * PSC_LANES * a->key_capacity;
            const float *prefix =
                a->n_prefix ? a->prefix + d / PSC_LANES * PSC_LANES * a->prefix_capacity : own;
            float total = 0.0f;
            for (size_t first = 0; first < n; first += PSC_K_BLOCK) {
                size_t end = n - first < PSC_K_BLOCK ? n : first + PSC_K_BLOCK;
                float acc = 0.0f;
                for (size_t key = first; key < end; key++) {
                    const float *v = key < a->n_prefix ? prefix + key * PSC_LANES
                                                       : own + (key - a->n_prefix) * PSC_LANES;
                    acc = fmaf(pattern[key], v[d % PSC_LANES], acc);
                }
                total = first == 0 ? acc : total + acc;
            }
            a->y[r * a->ldy + d] = total;
        }
    }
}

void psc_softmax__reference(float *y, const float *x, size_t n) {
    float lanes[PSC_LANES] = {0};
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    for (size_t i = 0; i < n; i++) {
        y[i] = Sleef_finz_expf1_u10purecfma(x[i] - max);
        lanes[i % PSC_LANES] += y[i];
    }
    float sum = fold_lanes(lanes);
    for (size_t i = 0; i < n; i++) y[i] = y[i] / sum;
}
