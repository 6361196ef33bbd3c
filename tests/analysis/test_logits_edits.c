/* The component `edit` alone: additions of editors are summed in the standard order, stripe i mod
 * 16 and then lanes +8, +4, +2, +1. The numbers cancel, so another order gives other bits. */
#include "logits.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { N = 100 }; /* dimensions: not a multiple of 16 */

static float u[N], gamma_f[N], t_bar[N];
static double added[N];

static void *fake_alloc(psc_context *context, uint64_t bytes) {
    (void)context;
    return calloc(1, bytes);
}

static int fake_ln(
    psc_context *context, psc_ln which, int32_t layer, const float **gamma, const float **beta) {
    (void)context, (void)layer;
    cr_assert_eq(which, PSC_LN_FINAL);
    *gamma = gamma_f;
    *beta = t_bar; /* not read */
    return 0;
}

static int fake_unembedding(psc_context *context, int32_t token, float *row) {
    (void)context;
    cr_assert_eq(token, 7);
    for (int i = 0; i < N; i++) row[i] = t_bar[i];
    return 0;
}

static const psc_host host = {
    .run_alloc = fake_alloc, .ln_parameters = fake_ln, .unembedding = fake_unembedding};

static double striped(const double *terms) {
    double lanes[16] = {0};
    for (int i = 0; i < N; i++) lanes[i % 16] += terms[i];
    for (int width = 8; width > 0; width /= 2)
        for (int j = 0; j < width; j++) lanes[j] += lanes[j + width];
    return lanes[0];
}

static double from_left(const double *terms) {
    double sum = 0.0;
    for (int i = 0; i < N; i++) sum += terms[i];
    return sum;
}

/* The share that logits_edits_finish writes for an edit of one kind. */
static float edit_share(logits_edit kind) {
    static int32_t ids[2] = {7, -1}, which[1] = {0};
    static float sigma[1] = {1.0f};
    static float share[1];
    double sum[1] = {0}, sum_abs[1] = {0};
    const psc_model_info model = {.d_model = N};
    logits_pass pass = {.directions = {.n = 1, .which = which, .u = u}};
    logits_run run = {.host = &host, .model = &model, .sigma = sigma};
    run.targets = (psc_target_rows){.n = 1, .ids = ids, .rows = {.n = 1, .n_all = 1}};
    run.levels[LEVEL_LAYER] =
        (logits_level){.asked = 1, .width = 1, .shares = share, .sum = sum, .sum_abs = sum_abs};
    run.edits[kind] = added;
    cr_assert_eq(logits_edits_finish(&run, &pass, 0), 0);
    cr_assert_eq(sum[0], (double)share[0]);
    cr_assert_eq(sum_abs[0], fabs((double)share[0]));
    return share[0];
}

/* Large terms at even places, each with its opposite 50 places later; small terms at odd ones,
 * which a left-to-right sum loses next to the large ones. */
static void make_numbers(void) {
    for (int i = 0; i < N; i++) {
        const int k = i % 50;
        u[i] = 1.0f + (float)(k % 7) / 8.0f;
        gamma_f[i] = 0.5f + (float)(k % 5) / 4.0f;
        t_bar[i] = 1.25f - (float)(k % 9) / 8.0f;
        added[i] = i % 2 ? 1.0 / (i + 1) : (i < 50 ? 1e16 : -1e16) * (k + 1);
    }
}

Test(logits_edits, stream) {
    double terms[N];
    make_numbers();
    for (int i = 0; i < N; i++) terms[i] = added[i] * (double)u[i];
    const float want = (float)striped(terms);
    cr_assert_neq(want, (float)from_left(terms));
    cr_assert_eq(edit_share(EDIT_STREAM), want);
}

Test(logits_edits, normalized) {
    double terms[N];
    make_numbers();
    for (int i = 0; i < N; i++) terms[i] = (double)gamma_f[i] * (double)t_bar[i] * added[i];
    const float want = (float)striped(terms);
    cr_assert_neq(want, (float)from_left(terms));
    cr_assert_eq(edit_share(EDIT_NORM), want);
}
