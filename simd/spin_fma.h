/* The peak of one core: a loop of only fused multiply-adds, by ISA.
 * Private to simd/, runtime/session/ and bench/; benches compare kernels and passes with it.
 * Threads: pure.
 * Ownership: nothing is kept. */
#ifndef SPIN_FMA_H
#define SPIN_FMA_H

#include "kernels.h"

/* Runs `rounds` rounds of independent chains. Returns the number of floating-point operations (two
 * per fused multiply-add), or 0 if isa has no such loop. *sink keeps the result alive. */
uint64_t psc_spin_fma(float *sink, psc_isa isa, uint64_t rounds);

uint64_t psc_spin_fma__reference(float *sink, uint64_t rounds);
uint64_t psc_spin_fma__avx2(float *sink, uint64_t rounds);
uint64_t psc_spin_fma__avx512(float *sink, uint64_t rounds);
uint64_t psc_spin_fma__neon(float *sink, uint64_t rounds);

#endif
