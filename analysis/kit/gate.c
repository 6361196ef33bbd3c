/* GELU's gate, [n]: Phi(a) = fma(0.5, erf(a * 0.70710678f), 0.5). The loader refuses models with
 * another GELU than erf's. */
#include "gate.h"

void psc_gate_erf(
    psc_context *context, const psc_host *host, int64_t n, const float *a, float *out) {
    for (int64_t i = 0; i < n; i++) out[i] = a[i] * 0.70710678f;
    host->erf(context, n, out, out);
}

void psc_gates(psc_context *context, const psc_host *host, int64_t n, const float *a, float *out) {
    psc_gate_erf(context, host, n, a, out);
    for (int64_t i = 0; i < n; i++) out[i] = psc_gate_of(out[i]);
}
