/* The random draws of resampling, without a state:
 *
 *   word(stream, draw, k) = mix(mix(mix(mix(seed) + stream) + draw) + k)
 *   mix: one step of SplitMix64
 *   counts: example h n / 2^32 for each 32-bit half h of the words, the lower half first
 *   signs: bit i mod 64 of word i / 64, 1 for -1
 *
 * An example's probability differs from 1/n by at most 2^-32. */
#include "resampling_draws.h"

enum { COUNTS = 1, SIGNS = 2 }; /* streams */

static uint64_t mix(uint64_t z) {
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t key_of(uint64_t seed, uint64_t stream, int64_t draw) {
    return mix(mix(mix(seed) + stream) + (uint64_t)draw);
}

void psc_draw_counts(int32_t n, double *counts, uint64_t seed, int64_t draw) {
    const uint64_t key = key_of(seed, COUNTS, draw);
    for (int32_t i = 0; i < n; i++) counts[i] = 0.0;
    for (int32_t i = 0; i < n; i += 2) {
        const uint64_t word = mix(key + (uint64_t)(i / 2));
        counts[(word & UINT32_MAX) * (uint64_t)n >> 32] += 1.0;
        if (i + 1 < n) counts[(word >> 32) * (uint64_t)n >> 32] += 1.0;
    }
}

void psc_draw_signs(int32_t n, double *signs, uint64_t seed, int64_t draw) {
    const uint64_t key = key_of(seed, SIGNS, draw);
    for (int32_t i = 0; i < n; i += 64) {
        const uint64_t word = mix(key + (uint64_t)(i / 64));
        for (int32_t b = 0; b < 64 && i + b < n; b++) signs[i + b] = word >> b & 1 ? -1.0 : 1.0;
    }
}
