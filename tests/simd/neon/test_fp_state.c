/* The floating-point state on aarch64: for any FPCR, kernels run with every bit clear, and leave
 * restores it. The kernels' tests would not notice, since FPCR is clear at program start. */
#include "kernels.h"

#include <criterion/criterion.h>

#define FPCR_AHP (1u << 26)
#define FPCR_DN (1u << 25)
#define FPCR_FZ (1u << 24)
#define FPCR_RM_TO_ZERO (3u << 22)

static uint64_t read_fpcr(void) {
    uint64_t value;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
}

static void write_fpcr(uint64_t value) {
    __asm__ volatile("msr fpcr, %0" : : "r"(value));
}

Test(fp_state, is_set_and_restored) {
    uint64_t odd = FPCR_AHP | FPCR_DN | FPCR_FZ | FPCR_RM_TO_ZERO;
    write_fpcr(odd);
    psc_fp_state state = psc_fp_enter();
    uint64_t inside = read_fpcr();
    psc_fp_leave(state);
    uint64_t after = read_fpcr();
    write_fpcr(0);
    cr_assert_eq(inside, 0u);
    cr_assert_eq(after, odd);
}

/* A product below the smallest normal number is kept; flush-to-zero would clear it. */
Test(fp_state, subnormals_are_kept) {
    const psc_kernels *k = psc_kernels_for(PSC_ISA_NEON);
    float tiny[16], half[16], kept, flushed;
    cr_assert_not_null(k);
    for (int i = 0; i < 16; i++) {
        tiny[i] = 0x1p-126f;
        half[i] = i ? 0.0f : 0.5f;
    }
    write_fpcr(FPCR_FZ);
    k->dot(&flushed, tiny, half, 16);
    psc_fp_state state = psc_fp_enter();
    k->dot(&kept, tiny, half, 16);
    psc_fp_leave(state);
    write_fpcr(0);
    cr_assert_eq(flushed, 0.0f);
    cr_assert_eq(kept, 0x1p-127f);
}

Test(fp_state, neon_is_always_there) {
    cr_assert_eq(psc_isa_mask(), 1u << PSC_ISA_REFERENCE | 1u << PSC_ISA_NEON);
    cr_assert_eq(psc_isa_best(psc_isa_mask()), PSC_ISA_NEON);
    cr_assert_null(psc_kernels_for(PSC_ISA_AVX2));
}
