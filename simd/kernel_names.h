/* Declares every kernel of every ISA, psc_<op>__<isa>, and the block sizes that callers see.
 * Private to simd/ and test_dispatch.c.
 * Threads: declarations only; the tables are constant.
 * Ownership: as in kernels.h. */
#ifndef KERNEL_NAMES_H
#define KERNEL_NAMES_H

#include "kernels.h"

#define PSC_KERNEL(name, arguments)                                                                \
    void psc_##name##__reference arguments;                                                        \
    void psc_##name##__avx2 arguments;                                                             \
    void psc_##name##__avx512 arguments;                                                           \
    void psc_##name##__neon arguments;
#include "kernels.def"
#undef PSC_KERNEL

/* The table's matmul_group, equal to the group of matmul_frame.h. */
enum {
    psc_matmul_group__reference = 1,
    psc_matmul_group__avx2 = 3,
    psc_matmul_group__avx512 = 3,
    psc_matmul_group__neon = 1
};

#endif
