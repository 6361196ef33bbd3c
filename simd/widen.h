/* Exact widening of f16 and bf16 bit patterns to f32 in portable C, and panel arithmetic.
 * Private to simd/: the packing and the scalar reference.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef WIDEN_H
#define WIDEN_H

#include "kernels.h"

#include <string.h>

static inline float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Branch-free, so that compilers can vectorize a loop over it. A subnormal is m * 2^-24, a normal
 * float, so flush-to-zero does not affect it. */
static inline float widen_f16(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t magnitude = half & 0x7fffu;
    uint32_t bits = (magnitude << 13) + (112u << 23);
    bits = magnitude >= 0x7c00u ? bits + (112u << 23) : bits;
    uint32_t subnormal = bits_of_float((float)(int32_t)magnitude * 0x1p-24f);
    bits = magnitude < 0x0400u ? subnormal : bits;
    return float_of_bits(bits | sign);
}

static inline float widen_bf16(uint16_t brain) {
    return float_of_bits((uint32_t)brain << 16);
}

/* Element i of source, any alignment. */
static inline float widen(const void *source, psc_dtype dtype, size_t i) {
    if (dtype == PSC_DTYPE_F32) {
        float value;
        memcpy(&value, (const char *)source + i * sizeof value, sizeof value);
        return value;
    }
    uint16_t bits;
    memcpy(&bits, (const char *)source + i * sizeof bits, sizeof bits);
    return dtype == PSC_DTYPE_F16 ? widen_f16(bits) : widen_bf16(bits);
}

#endif
