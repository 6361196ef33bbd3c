/* Asserts that the emulated AVX-512 table exists, so that the kernel tests compare it. */
#include "kernels.h"

#include <criterion/criterion.h>

Test(avx512, is_emulated) {
    const psc_kernels *k = psc_kernels_for(PSC_ISA_AVX512), *avx2 = psc_kernels_for(PSC_ISA_AVX2);
    cr_assert_not_null(k);
    cr_assert_not_null(avx2);
    cr_assert_str_eq(k->isa_name, "avx512");
#define PSC_KERNEL(name, arguments) cr_assert_neq((void *)k->name, (void *)avx2->name);
#include "kernels.def"
#undef PSC_KERNEL
}
