/* Random and special inputs, guarded outputs and comparison to the bit, for the kernel tests.
 * Private to tests/: the tests of kernels.
 * Threads: one test at a time; the generator is a global of each program.
 * Ownership: every make_* result is freed by the test. */
#ifndef KERNEL_TEST_H
#define KERNEL_TEST_H

#include "kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Outputs are filled with this NaN first. No kernel produces it, so it marks unwritten elements:
 * the space around a row, between rows, and missing outputs. */
#define CANARY 0x7fc0deadu
#define GUARD 24

typedef enum fill {
    FILL_NORMAL,  /* a few units */
    FILL_WIDE,    /* 2^-20 .. 2^20 */
    FILL_SPECIAL, /* signed zeros, infinities, subnormals, the largest float, and usual numbers */
    FILL_TINY,    /* products underflow: sums become -0 */
    FILL_HUGE,    /* sums overflow */
    FILL_ANY_BITS,
    FILL_COUNT
} fill;

static uint64_t random_state = 88172645463325252u;

static inline uint32_t random_bits(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 24);
}

static inline size_t random_below(size_t n) {
    return random_bits() % n;
}

static inline float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* A float of random sign and mantissa with its exponent in [low, high]. */
static inline float random_exponent(int low, int high) {
    uint32_t exponent = (uint32_t)(127 + low) + random_bits() % (uint32_t)(high - low + 1);
    return float_from_bits((random_bits() & 0x807fffffu) | exponent << 23);
}

static inline float random_value(fill kind) {
    static const uint32_t specials[] = {0x00000000, 0x80000000, 0x7f800000, 0xff800000, 0x00000001,
        0x80000001, 0x007fffff, 0x807fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x3f800000};
    float sum = 0.0f;
    switch (kind) {
    case FILL_WIDE:
        return random_exponent(-20, 20);
    case FILL_SPECIAL:
        if (random_below(8) == 0) return float_from_bits(specials[random_below(12)]);
        return random_exponent(-3, 3);
    case FILL_TINY:
        if (random_below(3) == 0) return random_below(2) ? -0.0f : 0.0f;
        return random_exponent(-126, -70);
    case FILL_HUGE:
        return random_exponent(60, 127);
    case FILL_ANY_BITS:
        return float_from_bits(random_bits());
    default:
        for (int i = 0; i < 6; i++) sum += (float)(random_bits() >> 8) * 0x1p-24f - 0.5f;
        return sum * 1.5f;
    }
}

/* A cheap assertion, one branch: cr_assert reports every success to Criterion. */
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) cr_assert(condition, __VA_ARGS__);                                       \
    } while (0)

/* n values, offset floats past a 64-byte boundary; the sanitizer detects reads past the end. */
typedef struct floats {
    char *base;
    float *data;
    size_t n;
} floats;

static inline floats make_floats(size_t n, size_t offset) {
    floats made = {.n = n};
    size_t bytes = (offset + n) * sizeof(float);
    cr_assert_eq(posix_memalign((void **)&made.base, 64, bytes ? bytes : 1), 0);
    made.data = (float *)(void *)made.base + offset;
    return made;
}

static inline floats make_random(size_t n, size_t offset, fill kind) {
    floats made = make_floats(n, offset);
    /* Half of the tiny rows have one sign: products of two of them sum to -0 in every lane. */
    unsigned sign = kind == FILL_TINY ? random_bits() % 4 : 3;
    for (size_t i = 0; i < n; i++) {
        made.data[i] = random_value(kind);
        if (sign < 2) made.data[i] = copysignf(random_exponent(-126, -80), sign ? -1.0f : 1.0f);
    }
    return made;
}

/* n outputs with GUARD canaries on either side; data points at the first output. */
static inline floats make_output(size_t n, size_t offset) {
    floats made = make_floats(n + 2 * GUARD, offset);
    for (size_t i = 0; i < made.n; i++) made.data[i] = float_from_bits(CANARY);
    made.data += GUARD;
    return made;
}

static inline void drop(floats *values) {
    free(values->base);
    *values = (floats){0};
}

/* Weights [out, k] in dtype. f16 and bf16 take the leading bits of such a value, or any bits. */
static inline void *make_weights(size_t n, psc_dtype dtype, fill kind) {
    char *made = malloc(n * psc_dtype_size(dtype) + 1);
    cr_assert_not_null(made);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = bits_from_float(random_value(kind));
        uint16_t half = (uint16_t)(bits >> 16);
        if (dtype == PSC_DTYPE_F16) {
            /* Exponents 2^-6 .. 2^2, or any bits. */
            uint32_t exponent = 9 + random_bits() % 9;
            half = (uint16_t)((random_bits() & 0x83ffu) | exponent << 10);
            if (kind == FILL_SPECIAL && random_below(8) == 0) half = (uint16_t)random_bits();
            if (kind == FILL_TINY) half &= 0x83ffu;
            if (kind == FILL_ANY_BITS) half = (uint16_t)random_bits();
        }
        if (dtype == PSC_DTYPE_F32) {
            memcpy(made + 4 * i, &bits, 4);
        } else {
            memcpy(made + 2 * i, &half, 2);
        }
    }
    return made;
}

/* The panels of W [out, k], 64-byte aligned. */
static inline void *make_panels(const void *w, psc_dtype dtype, size_t out, size_t k) {
    void *panels = NULL;
    size_t bytes = psc_packed_elements(out, k) * psc_dtype_size(dtype);
    cr_assert_eq(posix_memalign(&panels, 64, bytes), 0);
    psc_pack(panels, w, dtype, out, k, 0, out, 0);
    return panels;
}

/* Equal to the bit. A NaN equals every other NaN, but the canary equals only itself. */
static inline bool same_float(float a, float b) {
    uint32_t x = bits_from_float(a), y = bits_from_float(b);
    if (x == y) return true;
    return isnan(a) && isnan(b) && x != CANARY && y != CANARY;
}

static inline bool same_double(double a, double b) {
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* Compares two outputs with their guards. */
static inline void expect_same(
    const floats *expected, const floats *got, const char *what, size_t size) {
    for (size_t i = 0; i < expected->n; i++) {
        float a = expected->data[(ptrdiff_t)i - GUARD], b = got->data[(ptrdiff_t)i - GUARD];
        cr_assert(same_float(a, b),
            "%s, size %zu, output %td: %a (%08x), the reference has %a (%08x)", what, size,
            (ptrdiff_t)i - GUARD, (double)b, bits_from_float(b), (double)a, bits_from_float(a));
    }
}

#endif
