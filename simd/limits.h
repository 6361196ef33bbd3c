/* What one core can do at most: a loop of nothing but fused multiply-adds, by ISA.
 * Private to simd/ and bench/; the bench holds kernels against it.
 * Threads: pure.
 * Ownership: nothing is kept. */
#ifndef LIMITS_H
#define LIMITS_H

#include "kernels.h"

/* Runs `rounds` rounds of independent chains; returns how many floating-point operations that were
 * (two a fused multiply-add), 0 when there is no such loop for isa. *sink keeps the result alive.
 */
uint64_t psc_spin_fma(float *sink, psc_isa isa, uint64_t rounds);

uint64_t psc_spin_fma__reference(float *sink, uint64_t rounds);
uint64_t psc_spin_fma__avx2(float *sink, uint64_t rounds);
uint64_t psc_spin_fma__avx512(float *sink, uint64_t rounds);
uint64_t psc_spin_fma__neon(float *sink, uint64_t rounds);

#endif
