/* Drawing the next id from logits z [V].
 *
 * greedy         argmax z, the lower id on a tie
 * temperature    e_i = exp((z_i - max z) / T) in f64; the first i with e_0 + ... + e_i > u * sum e,
 *                u in [0, 1) the upper 53 bits of splitmix64; ascending ids, one chain of additions
 *
 * The exponential is the kernel table's, the rest is exact or rounded once a step: the same id on
 * every ISA. */
#include "session.h"

#include <math.h>
#include <stdlib.h>

/* The id of the largest logit, -1 when none is a number above minus infinity. */
static int32_t argmax(const float *logits, int32_t n) {
    int32_t best = -1;
    for (int32_t i = 0; i < n; i++)
        if (logits[i] > (best < 0 ? -INFINITY : logits[best])) best = i;
    return best;
}

static bool any_nan(const float *logits, int32_t n) {
    for (int32_t i = 0; i < n; i++)
        if (isnan(logits[i])) return true;
    return false;
}

/* splitmix64: state += golden gamma, then two rounds of xor-shift and multiply. */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The first id at which the running sum passes point; the last possible one if rounding hides it.
 */
static int32_t find(const double *weights, int32_t n, double point) {
    double sum = 0;
    int32_t last = 0;
    for (int32_t i = 0; i < n; i++) {
        if (weights[i] == 0) continue;
        sum += weights[i];
        last = i;
        if (sum > point) break;
    }
    return last;
}

static psc_status draw(int32_t *id, const psc_session *session, psc_sampler *sampler,
    const float *logits, float max, psc_error *error) {
    int32_t n = session->model->info.d_vocab;
    double *weights = malloc((size_t)n * sizeof *weights);
    if (!weights) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to sample");
    for (int32_t i = 0; i < n; i++)
        weights[i] = ((double)logits[i] - (double)max) / sampler->temperature;
    session->kernels->exp_f64(weights, weights, (size_t)n);
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += weights[i];
    double u = (double)(next_random(&sampler->seed) >> 11) * 0x1p-53;
    *id = find(weights, n, u * sum);
    free(weights);
    return PSC_OK;
}

psc_status psc_session_sample(int32_t *id, psc_session *session, psc_sampler *sampler,
    const float *logits, psc_error *error) {
    int32_t n = session->model->info.d_vocab;
    if (!logits) return psc_fail(error, PSC_ERROR_INPUT, "there are no logits to sample from");
    double temperature = sampler ? sampler->temperature : 0;
    if (!(temperature >= 0) || isinf(temperature))
        return psc_fail(error, PSC_ERROR_INPUT,
            "the temperature is %g; it must be a number from 0 upwards", temperature);
    int32_t best = argmax(logits, n);
    if (best < 0 || isinf(logits[best]) || any_nan(logits, n))
        return psc_fail(
            error, PSC_ERROR_INPUT, "the logits hold NaN or infinities; nothing can be drawn");
    *id = best;
    if (temperature == 0) return PSC_OK;
    psc_fp_state state = psc_fp_enter();
    psc_status status = draw(id, session, sampler, logits, logits[best], error);
    psc_fp_leave(state);
    return status;
}
