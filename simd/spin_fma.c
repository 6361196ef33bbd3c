/* Selects an ISA's loop of fused multiply-adds. */
#include "spin_fma.h"

uint64_t psc_spin_fma(float *sink, psc_isa isa, uint64_t rounds) {
#if defined(__x86_64__)
    if (isa == PSC_ISA_AVX2) return psc_spin_fma__avx2(sink, rounds);
    if (isa == PSC_ISA_AVX512) return psc_spin_fma__avx512(sink, rounds);
#elif defined(__aarch64__)
    if (isa == PSC_ISA_NEON) return psc_spin_fma__neon(sink, rounds);
#endif
    return isa == PSC_ISA_REFERENCE ? psc_spin_fma__reference(sink, rounds) : 0;
}
