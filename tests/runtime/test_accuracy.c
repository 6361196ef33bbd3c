/* The error of the logits against a float64 forward pass, per prompt relative to that of
 * transformers in float32: the median over 100 prompts is at most 1.1. */
#include "golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_PROMPTS 100
#define LIMIT 1.1

static int32_t *golden_i32(const psc_tensors *tensors, const char *name, size_t *n) {
    const psc_tensor *tensor = golden_find(tensors, name);
    int32_t *out = malloc(tensor->size);
    cr_assert(out && !strcmp(tensor->dtype, "I32"));
    memcpy(out, tensor->data, tensor->size);
    *n = tensor->size / sizeof(int32_t);
    return out;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, size_t n) {
    qsort(x, n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* error[0] the root mean square, error[1] the maximum, over n ids. */
static void measure(
    double error[2], const float *logits, const double *want, const int32_t *ids, size_t n) {
    error[0] = error[1] = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = logits[ids[i]] - want[i];
        error[0] += d * d / (double)n;
        error[1] = fmax(error[1], fabs(d));
    }
    error[0] = sqrt(error[0]);
}

static void check(const char *folder, const char *file) {
    psc_tensors *golden = golden_open(file);
    size_t n_tokens, n_prompts, n_ids, at = 0;
    int32_t *ids = golden_i32(golden, "accuracy.ids", &n_ids);
    int32_t *tokens = golden_i32(golden, "accuracy.tokens", &n_tokens);
    int32_t *lengths = golden_i32(golden, "accuracy.lengths", &n_prompts);
    cr_assert_eq(n_prompts, N_PROMPTS);
    double *want = golden_f64(golden_find(golden, "accuracy.logits"), N_PROMPTS * n_ids);
    double *theirs =
        golden_f64(golden_find(golden, "accuracy.transformers_error"), N_PROMPTS * (size_t)2);
    double ratios[2][N_PROMPTS];
    psc_model *model = must_model(folder);
    psc_session *session = must_session(model, NULL, 1, 0);
    for (size_t i = 0; i < N_PROMPTS; i++) {
        psc_token prompt[GOLDEN_MAX_TOKENS];
        double error[2];
        cr_assert(lengths[i] <= GOLDEN_MAX_TOKENS);
        for (int32_t t = 0; t < lengths[i]; t++) prompt[t] = (psc_token){.id = tokens[at++]};
        psc_session_truncate(session, 0, 0);
        must_run_one(session, prompt, lengths[i]);
        measure(error, psc_session_logits(session, lengths[i] - 1), want + i * n_ids, ids, n_ids);
        for (int k = 0; k < 2; k++) ratios[k][i] = error[k] / theirs[2 * i + (size_t)k];
    }
    double rms = median(ratios[0], N_PROMPTS), greatest = median(ratios[1], N_PROMPTS);
    cr_log_info("%s: %.3f by root mean square, %.3f by the greatest error", folder, rms, greatest);
    cr_assert(rms <= LIMIT, "%s: root mean square error %.3f times transformers's", folder, rms);
    cr_assert(greatest <= LIMIT, "%s: greatest error %.3f times transformers's", folder, greatest);
    psc_session_close(&session);
    psc_model_close(&model);
    free(ids), free(tokens), free(lengths), free(want), free(theirs);
    psc_tensors_close(&golden);
}

Test(accuracy, random_models) {
    static const char *const names[] = {
        "parallel_f32", "gelu_fast", "rope_linear", "rope_dynamic", "rope_yarn"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check(golden_path(names[i], NULL), golden_path(names[i], "accuracy.safetensors"));
}

Test(accuracy, embedded_model) {
    if (!golden_embedded()) cr_skip_test("the embedded model has no weights yet");
    check(golden_embedded(), golden_path("embedded.safetensors", NULL));
}
