/* The sets that strategies keep against a full sort in float64
 * (tests/tools/make_sampling_golden.py), draws against the distribution, their bits on every ISA,
 * and invalid strategies. */
#include "golden.h"
#include "kernels.h"
#include "strategy.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SETS PSC_SOURCE_DIR "/tests/golden/sampling/sets.safetensors"

static psc_strategy strategy_of(const double *v) {
    const psc_strategy out = {sizeof out, v[0], (int32_t)v[1], v[2], v[3]};
    return out;
}

static void check_case(
    const float *z, int32_t n, psc_strategy strategy, const float *drawn, psc_isa isa, size_t at) {
    int32_t ids[128], n_drawn = 0;
    double weights[128], sum = 0;
    const psc_kernels *kernels = psc_kernels_for(isa);
    cr_assert_eq(psc_strategy_check(&strategy, NULL), PSC_OK);
    const int32_t kept = psc_strategy_keep(kernels, &strategy, z, n, ids, weights);
    for (int32_t i = 0; i < kept; i++) sum += weights[i];
    for (int32_t i = 0; i < n; i++) n_drawn += drawn[i] > 0;
    for (int32_t i = 0; i < kept; i++) {
        cr_assert(i == 0 || ids[i] > ids[i - 1], "case %zu: ids do not ascend", at);
        cr_assert(fabs(weights[i] / sum - (double)drawn[ids[i]]) < 1e-7,
            "case %zu: id %d is drawn with %g, should be %g", at, (int)ids[i], weights[i] / sum,
            (double)drawn[ids[i]]);
        n_drawn -= drawn[ids[i]] > 0;
    }
    cr_assert_eq(n_drawn, 0, "case %zu: %d ids are missing", at, (int)n_drawn);
}

Test(draw, sets) {
    psc_tensors *golden = golden_open(SETS);
    const psc_tensor *t = golden_find(golden, "logits");
    const size_t cases = t->shape[0], n = t->shape[1];
    float *z = golden_f32(t, cases * n),
          *drawn = golden_f32(golden_find(golden, "drawn"), cases * n);
    double *strategies = golden_f64(golden_find(golden, "strategies"), cases * 4);
    cr_assert(cases > 90 && n <= 128);
    for (size_t i = 0; i < cases; i++) {
        const psc_strategy strategy = strategy_of(strategies + 4 * i);
        check_case(z + i * n, (int32_t)n, strategy, drawn + i * n, PSC_ISA_REFERENCE, i);
        check_case(z + i * n, (int32_t)n, strategy, drawn + i * n, psc_isa_best(psc_isa_mask()), i);
    }
    free(z);
    free(drawn);
    free(strategies);
    psc_tensors_close(&golden);
}

/* A set is a prefix of the order, so its size determines its tokens. */
Test(draw, a_large_vocabulary) {
    enum { N = 20000 };
    static float z[N];
    static int32_t ids[N];
    static double weights[N], all[N];
    for (int32_t i = 0; i < N; i++) z[i] = (float)((i * 7919) % N) / (N / 12.0f);
    const psc_kernels *kernels = psc_kernels_for(psc_isa_best(psc_isa_mask()));
    const psc_strategy plain = PSC_STRATEGY_INIT;
    cr_assert_eq(psc_strategy_keep(kernels, &plain, z, N, ids, all), N);
    double total = 0;
    for (int32_t i = 0; i < N; i++) total += all[i];
    const double masses[] = {0.01, 0.5, 0.99, 0.9999};
    for (int m = 0; m < 4; m++) {
        psc_strategy strategy = plain;
        strategy.top_p = masses[m];
        const int32_t kept = psc_strategy_keep(kernels, &strategy, z, N, ids, weights);
        double mass = 0, least = 1;
        for (int32_t i = 0; i < kept; i++) mass += weights[i];
        for (int32_t i = 0; i < kept; i++) least = weights[i] < least ? weights[i] : least;
        cr_assert(mass >= masses[m] * total * (1 - 1e-12));
        cr_assert(mass - least < masses[m] * total * (1 + 1e-12), "%d are too many", (int)kept);
        int32_t above = 0;
        for (int32_t i = 0; i < N; i++) above += all[i] > least;
        cr_assert(above < kept);
        strategy.top_p = 0;
        strategy.top_k = kept;
        cr_assert_eq(psc_strategy_keep(kernels, &strategy, z, N, ids, weights), kept);
    }
}

/* -0 and 0 tie: the lower id is kept. */
Test(draw, signed_zeros) {
    const float z[4] = {-1.0f, -0.0f, 0.0f, -0.0f};
    const psc_kernels *kernels = psc_kernels_for(psc_isa_best(psc_isa_mask()));
    psc_strategy strategy = PSC_STRATEGY_INIT;
    int32_t ids[4];
    double weights[4];
    for (int32_t k = 1; k <= 3; k++) {
        strategy.top_k = k;
        cr_assert_eq(psc_strategy_keep(kernels, &strategy, z, 4, ids, weights), k);
        for (int32_t i = 0; i < k; i++) cr_assert_eq(ids[i], 1 + i);
    }
}

/* --- draws ----------------------------------------------------------------------------------- */

static psc_model *model;
static psc_session *session;

static void open_session(void) {
    model = must_model(golden_path("parallel_f32", NULL));
    session = must_session(model, NULL, 2, 0);
}

static void close_session(void) {
    psc_session_close(&session);
    psc_model_close(&model);
}

#define SAMPLER(temperature, seed, top_k, top_p, min_p)                                            \
    {                                                                                              \
        sizeof(psc_sampler), seed, {                                                               \
            sizeof(psc_strategy), temperature, top_k, top_p, min_p                                 \
        }                                                                                          \
    }

static int32_t must_sample(psc_session *from, psc_sampler *sampler, const float *z) {
    int32_t id = -1;
    psc_error error = {0};
    cr_assert_eq(psc_session_sample(&id, from, sampler, z, &error), PSC_OK, "%s", error.message);
    return id;
}

/* chi-square of 20,000 draws against the kept distribution; no draw is outside the kept set. The
 * bound is loose (about 6 sigma), the seed fixed. */
Test(draw, draws_follow_the_distribution, .init = open_session, .fini = close_session) {
    enum { V = 80, DRAWS = 20000 };
    static const psc_sampler samplers[] = {SAMPLER(1.0, 1, 0, 0, 0), SAMPLER(1.7, 2, 0, 0, 0),
        SAMPLER(1.0, 3, 9, 0, 0), SAMPLER(1.0, 4, 0, 0.8, 0), SAMPLER(1.0, 5, 0, 0, 0.2),
        SAMPLER(0.8, 6, 30, 0.9, 0.02)};
    float z[V];
    int32_t ids[V];
    double weights[V], sum = 0;
    for (int i = 0; i < V; i++) z[i] = (float)((i * 37) % V) / 16.0f;
    for (size_t s = 0; s < sizeof samplers / sizeof *samplers; s++) {
        psc_sampler sampler = samplers[s];
        const int32_t kept = psc_strategy_keep(
            psc_kernels_for(psc_isa_best(psc_isa_mask())), &sampler.strategy, z, V, ids, weights);
        int32_t counts[V] = {0}, drawn = 0;
        double chi = 0;
        sum = 0;
        for (int i = 0; i < DRAWS; i++) counts[must_sample(session, &sampler, z)]++;
        for (int32_t i = 0; i < kept; i++) sum += weights[i];
        for (int32_t i = 0; i < kept; i++) {
            const double expected = DRAWS * weights[i] / sum, gap = counts[ids[i]] - expected;
            chi += gap * gap / expected;
            drawn += counts[ids[i]];
        }
        cr_assert_eq(drawn, DRAWS, "sampler %zu draws outside the kept set", s);
        cr_assert(chi < kept - 1 + 6 * sqrt(2.0 * (kept - 1)), "sampler %zu: chi-square %g of %d",
            s, chi, (int)kept - 1);
    }
}

Test(draw, the_same_draws_everywhere, .init = open_session, .fini = close_session) {
    float z[80];
    for (int i = 0; i < 80; i++) z[i] = (float)((i * 37) % 80) / 9.0f;
    psc_session *other = must_session(model, "reference", 1, 0);
    psc_sampler a = SAMPLER(0.9, 77, 40, 0.95, 0.01), b = a;
    for (int i = 0; i < 500; i++)
        cr_assert_eq(must_sample(session, &a, z), must_sample(other, &b, z));
    cr_assert_eq(a.seed, b.seed);
    psc_session_close(&other);
}

/* A caller compiled against a shorter struct gets the defaults of the missing members: greedy. */
Test(draw, the_shorter_struct, .init = open_session, .fini = close_session) {
    float z[80];
    for (int i = 0; i < 80; i++) z[i] = (float)((i * 37) % 80) / 9.0f;
    psc_sampler old = SAMPLER(1.5, 5, -3, 7.0, NAN), whole = PSC_SAMPLER_INIT;
    old.struct_size = offsetof(psc_sampler, strategy);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(must_sample(session, &old, z), must_sample(session, &whole, z));
}

Test(draw, refused, .init = open_session, .fini = close_session) {
    static const struct {
        psc_sampler sampler;
        const char *word;
    } bad[] = {{SAMPLER(1.0, 0, -1, 0, 0), "top-k is -1"},
        {SAMPLER(1.0, 0, 0, -0.1, 0), "top-p is -0.1"},
        {SAMPLER(1.0, 0, 0, 1.5, 0), "top-p is 1.5"}, {SAMPLER(1.0, 0, 0, NAN, 0), "top-p is "},
        {SAMPLER(1.0, 0, 0, 0, 1.1), "min-p is 1.1"}, {SAMPLER(1.0, 0, 0, 0, NAN), "min-p is "},
        {SAMPLER(NAN, 0, 0, 0, 0), "temperature is "},
        {SAMPLER(-1, 0, 0, 0, 0), "temperature is -1"}};
    const float z[80] = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        psc_sampler sampler = bad[i].sampler;
        psc_error error = {0};
        int32_t id;
        cr_assert_eq(psc_session_sample(&id, session, &sampler, z, &error), PSC_ERROR_INPUT);
        cr_assert(strstr(error.message, bad[i].word), "%s", error.message);
    }
}
