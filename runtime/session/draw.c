/* Drawing the next id from logits z [V].
 *
 *   greedy    argmax z, the lower id on a tie
 *   else      of the tokens that the strategy keeps (strategy.c), with weights e_i: the first i, by
 *             ascending id, with e_0 + ... + e_i > u * sum e, u in [0, 1) the upper 53 bits of
 *             splitmix64; one chain of additions
 *
 * Without top-k or min-p this costs one exponential per token. Gumbel-max would cost a random
 * number and two logarithms per token. The exponential comes from the kernel table, and every other
 * step is exact or rounded once: the same id on every ISA. */
#include "session.h"
#include "strategy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64: state += golden gamma, then two rounds of xor-shift and multiply. */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The index where the running sum passes point; the last possible one if rounding hides it. */
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

static psc_status draw(int32_t *id, const psc_session *session, const psc_strategy *strategy,
    uint64_t *seed, const float *logits, psc_error *error) {
    const int32_t n = session->model->info.d_vocab;
    double *weights = malloc((size_t)n * (sizeof *weights + sizeof(int32_t)));
    if (!weights) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to sample");
    int32_t *ids = (int32_t *)(weights + n);
    const int32_t kept = psc_strategy_keep(session->kernels, strategy, logits, n, ids, weights);
    double sum = 0;
    for (int32_t i = 0; i < kept; i++) sum += weights[i];
    const double u = (double)(next_random(seed) >> 11) * 0x1p-53;
    *id = ids[find(weights, kept, u * sum)];
    free(weights);
    return PSC_OK;
}

psc_status psc_session_sample(int32_t *id, psc_session *session, psc_sampler *sampler,
    const float *logits, psc_error *error) {
    psc_sampler given = PSC_SAMPLER_INIT;
    if (!logits) return psc_fail(error, PSC_ERROR_INPUT, "psc_session_sample needs logits");
    if (sampler)
        memcpy(&given, sampler,
            sampler->struct_size < sizeof given ? sampler->struct_size : sizeof given);
    const psc_strategy strategy = given.strategy;
    psc_status status = psc_strategy_check(&strategy, error);
    if (status) return status;
    *id = psc_strategy_greedy(logits, session->model->info.d_vocab);
    if (*id < 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the logits contain NaN or infinity, so no token can be sampled");
    if (!sampler || strategy.temperature == 0) return PSC_OK;
    psc_fp_state state = psc_fp_enter();
    status = draw(id, session, &strategy, &sampler->seed, logits, error);
    psc_fp_leave(state);
    return status;
}

psc_status psc_session_token(psc_generated_token *out, const psc_session *session, int32_t index,
    int32_t id, psc_error *error) {
    const float *z = psc_session_logits(session, index);
    const int32_t n = session->model->info.d_vocab;
    double log_z = NAN;
    if (!z)
        return psc_fail(error, PSC_ERROR_STATE,
            "the last run kept no logits of row %d; run it with logits of that row", (int)index);
    if (id < 0 || id >= n)
        return psc_fail(error, PSC_ERROR_INPUT, "token id %d is out of range; ids are 0 to %d",
            (int)id, (int)n - 1);
    psc_fp_state state = psc_fp_enter();
    session->kernels->log_sum_exp(&log_z, z, (size_t)n);
    *out = (psc_generated_token){.id = id,
        .rank = psc_targets_rank(z, n, id),
        .p = exp((double)z[id] - log_z),
        .logit = z[id]};
    psc_fp_leave(state);
    out->bytes = psc_model_token_bytes(session->model, id, &out->n_bytes);
    return PSC_OK;
}
