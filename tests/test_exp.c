/* exp in f32 on every ISA against the reference, which is SLEEF's, to the bit: every 499th float of
 * both signs, and with PSC_EXP_STEP=1 every float. */
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
