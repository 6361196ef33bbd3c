/* A client of the library: runs a prompt and prints one plugin's array, each element with its axis
 * labels. usage: read_results MODEL TEXT [PLUGIN [ARRAY]] */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <psc.h>

/* 1. Run: a model, a session, a plugin, a prompt. The results belong to the session. */
static psc_status run(psc_session **session, psc_model **model, const char *folder,
    const char *text, const char *plugin, psc_error *error) {
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    psc_token *tokens = NULL;
    int32_t n = 0;
    psc_status status = psc_model_open(model, folder, error);
    if (!status) status = psc_model_encode(&tokens, &n, *model, text, strlen(text), false, error);
    if (!status) status = psc_session_open(session, *model, NULL, error);
    if (!status) status = psc_session_plugin(*session, plugin, NULL, error);
    const psc_input input = {.sequence = 0, .n = n, .tokens = tokens};
    options.text = text;
    options.text_bytes = strlen(text);
    if (!status) status = psc_session_run(*session, &input, 1, &options, error);
    psc_free(tokens);
    return status;
}

/* 2. Read the head: how the results were made. */
static psc_status print_head(const psc_results *results, psc_error *error) {
    psc_result_model model = PSC_RESULT_MODEL_INIT;
    psc_result_run run = PSC_RESULT_RUN_INIT;
    psc_status status = psc_results_get_model(&model, results, error);
    if (!status) status = psc_results_get_run(&run, results, error);
    if (!status) printf("%d layers, %d tokens, %s\n", model.n_layers, run.n_rows, run.isa);
    return status;
}

/* 3. Elements have three types. NaN means no value; so does -1 in most integer arrays. */
static double element(const psc_array *array, int64_t i) {
    if (array->element == PSC_F32) return (double)((const float *)array->data)[i];
    if (array->element == PSC_F64) return ((const double *)array->data)[i];
    return ((const int32_t *)array->data)[i];
}

/* 4. An axis has labels or numbers. */
static void print_entry(const psc_result_axis *axis, int64_t i) {
    if (axis->labels)
        printf("%s=%s  ", axis->name, axis->labels[i]);
    else
        printf("%s=%d  ", axis->name, (int)axis->numbers[i]);
}

/* 5. An array is row-major over its axes; the section finds an axis by name. */
static psc_status print_array(
    const psc_results *results, int32_t section, const psc_array *array, psc_error *error) {
    psc_result_axis axes[PSC_MOST_AXES];
    int64_t n = 1;
    for (int32_t i = 0; i < array->n_axes; i++) {
        psc_status status =
            psc_results_find_axis(&axes[i], results, section, array->axes[i], error);
        if (status) return status;
        n *= array->shape[i];
    }
    for (int64_t at = 0; at < n; at++) {
        int64_t inner = n;
        if (isnan(element(array, at))) continue;
        for (int32_t i = 0; i < array->n_axes; i++) {
            inner /= array->shape[i];
            print_entry(&axes[i], at / inner % array->shape[i]);
        }
        printf("%g\n", element(array, at));
    }
    return PSC_OK;
}

/* 6. Find the section by the plugin's name and the array by its key; without a key, the first
 * array. */
static psc_status print_results(
    const psc_results *results, const char *plugin, const char *key, psc_error *error) {
    psc_array array;
    int32_t section = 0, i = 0;
    psc_status status = psc_results_find_section(&section, results, plugin, error);
    if (!status) status = print_head(results, error);
    if (!status) status = psc_results_array_at(&array, results, section, i, error);
    while (!status && key && strcmp(array.key, key) != 0)
        status = psc_results_array_at(&array, results, section, ++i, error);
    return status ? status : print_array(results, section, &array, error);
}

int main(int argc, char **argv) {
    psc_error error = {PSC_ERROR_INPUT, "usage: read_results MODEL TEXT [PLUGIN [ARRAY]]"};
    const char *plugin = argc > 3 ? argv[3] : "logits", *key = argc > 4 ? argv[4] : NULL;
    psc_model *model = NULL;
    psc_session *session = NULL;
    psc_status status = argc < 3 ? PSC_ERROR_INPUT : PSC_OK;
    if (!status) status = run(&session, &model, argv[1], argv[2], plugin, &error);
    if (!status) status = print_results(psc_session_results(session), plugin, key, &error);
    if (status) fprintf(stderr, "read_results: %s\n", error.message);
    psc_session_close(&session); /* 7. Closing the session frees its results. */
    psc_model_close(&model);
    return status ? 1 : 0;
}
