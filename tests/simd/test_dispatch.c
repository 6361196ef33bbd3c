/* An overlay may omit a kernel: its slot keeps the kernel of the layer below. This file compiles
 * dispatch.c once more and omits some kernels as the comment there says. */
#include "kernel_names.h"

#define psc_dot__avx2 NULL
#define psc_dot__neon NULL
#define psc_add__avx512 NULL
#include "../simd/dispatch.c"

#include <criterion/criterion.h>

/* Whether the table of isa, if this machine has it, contains the expected kernels. */
static void check(psc_isa isa, psc_dot_fn dot, psc_add_fn add) {
    const psc_kernels *k = psc_kernels_for(isa);
    if (!k) return;
    cr_assert_eq((void *)k->dot, (void *)dot, "%s", k->isa_name);
    cr_assert_eq((void *)k->add, (void *)add, "%s", k->isa_name);
}

Test(dispatch, a_slot_left_out_falls_back) {
    check(PSC_ISA_REFERENCE, psc_dot__reference, psc_add__reference);
#if defined(__x86_64__)
    check(PSC_ISA_AVX2, psc_dot__reference, psc_add__avx2);
    check(PSC_ISA_AVX512, psc_dot__avx512, psc_add__avx2);
#elif defined(__aarch64__)
    check(PSC_ISA_NEON, psc_dot__reference, psc_add__neon);
#endif
}
