/* exp on every ISA against the reference, which is SLEEF's, to the bit: every 499th float of both
 * signs (every float with PSC_EXP_STEP=1), and random doubles. */
#include "kernel_test.h"

#define BLOCK 4096

Test(exp, equal_everywhere) {
    static float x[BLOCK], y[BLOCK], want[BLOCK];
    const char *asked = getenv("PSC_EXP_STEP");
    const uint32_t step = asked && atoi(asked) > 0 ? (uint32_t)atoi(asked) : 499;
    uint64_t bits = 0;
    while (bits <= UINT32_MAX) {
        for (int i = 0; i < BLOCK; i++, bits += step) x[i] = float_from_bits((uint32_t)bits);
        psc_kernels_for(PSC_ISA_REFERENCE)->exp_f32(want, x, BLOCK);
        for (int isa = 1; isa < PSC_ISA_COUNT; isa++) {
            const psc_kernels *k = psc_kernels_for((psc_isa)isa);
            if (!k) continue;
            k->exp_f32(y, x, BLOCK);
            for (int i = 0; i < BLOCK; i++)
                cr_assert(same_float(y[i], want[i]), "exp(%a) is %a by %s, %a by the reference",
                    (double)x[i], (double)y[i], k->isa_name, (double)want[i]);
        }
    }
}

/* In f64 a million values of both signs from 2^-60 to past the limits, and the limits'
 * neighbors. */
Test(exp, doubles_equal_everywhere) {
    static double x[BLOCK], y[BLOCK], want[BLOCK];
    const double limits[] = {0x1.62e42fe102c83p+9, 709.78271289338397, -708.39641853226408,
        -745.13321910194122, -745.2, -1000.0};
    for (int block = 0; block < 256; block++) {
        for (int i = 0; i < BLOCK; i++) {
            uint64_t bits = (uint64_t)random_bits() << 32 | random_bits();
            bits = (bits & 0x800fffffffffffffu) | (uint64_t)(1023 - 60 + random_below(71)) << 52;
            memcpy(&x[i], &bits, sizeof x[i]);
            if (block == 0 && i < 300) x[i] = nextafter(limits[i % 6], i % 4 < 2 ? 1e3 : -2e3);
            if (block == 1 && i < 300) x[i] = limits[i % 6];
        }
        psc_kernels_for(PSC_ISA_REFERENCE)->exp_f64(want, x, BLOCK);
        for (int isa = 1; isa < PSC_ISA_COUNT; isa++) {
            const psc_kernels *k = psc_kernels_for((psc_isa)isa);
            if (!k) continue;
            k->exp_f64(y, x, BLOCK);
            for (int i = 0; i < BLOCK; i++)
                cr_assert(same_double(y[i], want[i]), "exp(%a) is %a by %s, %a by the reference",
                    x[i], y[i], k->isa_name, want[i]);
        }
    }
}
