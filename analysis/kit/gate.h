/* GELU's gate as the forward pass computes it: Phi(a) = fma(0.5, erf(a * 0.70710678f), 0.5).
 * Private to analysis/ and tests/; built on psc_plugin.h alone.
 * Threads: pure; also inside parallel_for.
 * Ownership: the caller's arrays. */
#ifndef ANALYSIS_GATE_H
#define ANALYSIS_GATE_H

#include "psc_plugin.h"

/* out[i] = Phi(a[i]), the bits of the forward pass's gates; out may be a. */
void psc_gates(psc_context *context, const psc_host *host, int64_t n, const float *a, float *out);
/* out[i] = erf(a[i]/sqrt 2), the argument of psc_gate_of; out may be a. */
void psc_gate_erf(
    psc_context *context, const psc_host *host, int64_t n, const float *a, float *out);

/* Phi from that erf. Half of erf is exact or negligible beside 0.5, so the sum is rounded once, as
 * in the fused operation. */
static inline float psc_gate_of(float erf) {
    return 0.5f * erf + 0.5f;
}

#endif
