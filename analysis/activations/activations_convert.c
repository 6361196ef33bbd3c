/* f32 to f16 and bf16, to the nearest, ties to even. NaN stays NaN, with the quiet bit set.
 *
 *   bf16  the upper half of the bits, after adding half of the lower one and the tie's bit
 *   f16   the same 13 bits lower, with the exponent's bias moved by 112; below 2^-14 the addition of
 *         1/2 in f32 rounds to a multiple of 2^-24, f16's smallest step; from 65520 on, infinity
 *
 * Loops have no branches, so that compilers make vectors of them; all steps are exact or rounded by
 * IEEE 754, so every compiler gives the same bits. */
#include "activations.h"

#include <string.h>

static uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

void activations_to_bf16(uint16_t *out, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const uint32_t u = bits_of(x[i]), nan = (u & 0x7fffffff) > 0x7f800000;
        const uint32_t rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
        out[i] = (uint16_t)(nan ? (u >> 16 | 0x40) : rounded);
    }
}

int64_t activations_to_f16(uint16_t *out, const float *x, int64_t n) {
    uint32_t overflows = 0;
    int64_t all = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t u = bits_of(x[i]), a = u & 0x7fffffff;
        float small;
        memcpy(&small, &a, sizeof small);
        const uint32_t below = bits_of(small + 0.5F) - 0x3f000000;
        const uint32_t within = (a - 0x38000000 + 0xfff + (a >> 13 & 1)) >> 13;
        const uint32_t beyond = a > 0x7f800000 ? 0x7e00 | (a >> 13 & 0x3ff) : 0x7c00;
        const uint32_t value = a < 0x38800000 ? below : a < 0x477ff000 ? within : beyond;
        out[i] = (uint16_t)(value | (u >> 16 & 0x8000));
        overflows += a >= 0x477ff000 && a < 0x7f800000;
        if ((i & 0xffffff) == 0xffffff) all += overflows, overflows = 0;
    }
    return all + overflows;
}
