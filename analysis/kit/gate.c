/* GELU's gate, [n], as the model's config has it, rounded as docs/numerics.md says:
 *   odd(a) = erf(a/sqrt 2), or tanh(sqrt(2/pi) (a + 0.044715 a^3));  gate = (1 + odd)/2 */
#include "gate.h"

void psc_gate_odd(
    psc_context *context, const psc_host *host, int64_t n, const float *a, float *out) {
    if (host->model(context)->gelu == PSC_GELU_TANH) {
        for (int64_t i = 0; i < n; i++) out[i] = a[i] * (a[i] * a[i] * 0.035677407f + 0.79788458f);
        host->tanh(context, n, out, out);
    } else {
        for (int64_t i = 0; i < n; i++) out[i] = a[i] * 0.70710678f;
        host->erf(context, n, out, out);
    }
}

void psc_gates(psc_context *context, const psc_host *host, int64_t n, const float *a, float *out) {
    psc_gate_odd(context, host, n, a, out);
    for (int64_t i = 0; i < n; i++) out[i] = psc_gate_of(out[i]);
}
