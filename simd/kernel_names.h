/* Declares every kernel of every ISA, psc_<op>__<isa>, and the tables they are gathered in.
 * Private to simd/: dispatch.c and the kernel sources, which it checks against the list.
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

#endif
