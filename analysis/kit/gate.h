/* GELU's gate as the forward pass computes it, in the model's form: gate = fma(0.5, odd(a), 0.5).
 * Private to analysis/ and tests/; built on psc_plugin.h alone.
 * Threads: pure; also inside parallel_for.
 * Ownership: the caller's arrays. */
#ifndef ANALYSIS_GATE_H
#define ANALYSIS_GATE_H

#include "psc_plugin.h"

/* out[i] = gate(a[i]), the bits of the forward pass's gates; out may be a. */
void psc_gates(psc_context *context, const psc_host *host, int64_t n, const float *a, float *out);
/* out[i] = odd(a[i]), the argument of psc_gate_of; out may be a. odd(-a) = -odd(a). */
void psc_gate_odd(
    psc_context *context, const psc_host *host, int64_t n, const float *a, float *out);

/* The gate from that. Half of odd is exact or negligible beside 0.5, so the sum is rounded once, as
 * in the fused operation. */
static inline float psc_gate_of(float odd) {
    return 0.5f * odd + 0.5f;
}

#endif
