/* Attention of one head: scores[row][key] = (q . k) * scale for the keys a row sees, softmax over a
 * whole row, and z[row][d] = sum over those keys of pattern[key] v[key][d]. */
#include "kernel_names.h"
#include "stripe_reference.h"

#include <math.h>
#include <sleef.h>

void psc_attention_scores__reference(const psc_attention *a) {
    for (size_t r = 0; r < a->rows; r++) {
        const float *q = a->x + r * a->ldx;
        for (size_t key = 0; key < (size_t)a->n_keys[r]; key++) {
            const float *panel = a->cache + key / PSC_LANES * PSC_LANES * a->d_head;
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
        const float *pattern = a->x + r * a->ldx;
        size_t n = (size_t)a->n_keys[r];
        for (size_t d = 0; d < a->d_head; d++) {
            const float *panel = a->cache + d / PSC_LANES * PSC_LANES * a->key_capacity;
            float total = 0.0f;
            for (size_t first = 0; first < n; first += PSC_K_BLOCK) {
                size_t end = n - first < PSC_K_BLOCK ? n : first + PSC_K_BLOCK;
                float acc = 0.0f;
                for (size_t key = first; key < end; key++) {
                    acc = fmaf(pattern[key], panel[key * PSC_LANES + d % PSC_LANES], acc);
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
