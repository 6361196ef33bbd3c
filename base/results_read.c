/* psc_results.h's readers: views of what base/results.h holds, with every index checked. */
#include "results.h"

#include <stdlib.h>
#include <string.h>

void psc_free(void *memory) {
    free(memory);
}

/* --- the head -------------------------------------------------------------------------------- */

static psc_status no_head(psc_error *error) {
    return psc_fail(error, PSC_ERROR_STATE,
        "the results are empty: the session has not run yet, or its last run failed");
}

/* Copies the members that both versions of a structure have; both open with struct_size. */
static psc_status give(void *out, const void *from, uint32_t size, psc_error *error) {
    uint32_t given;
    memcpy(&given, out, sizeof given);
    if (given < sizeof given)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the structure to be filled has no struct_size; start from its _INIT");
    memcpy(out, from, given < size ? given : size);
    memcpy(out, &given, sizeof given);
    return PSC_OK;
}

const char *psc_results_version(const psc_results *results) {
    return results->has_head ? results->version : NULL;
}

psc_status psc_results_get_model(
    psc_result_model *out, const psc_results *results, psc_error *error) {
    if (!results->has_head) return no_head(error);
    return give(out, &results->model, sizeof results->model, error);
}

psc_status psc_results_get_run(psc_result_run *out, const psc_results *results, psc_error *error) {
    if (!results->has_head) return no_head(error);
    return give(out, &results->run, sizeof results->run, error);
}

psc_status psc_results_get_corpus(
    psc_corpus_totals *out, const psc_results *results, psc_error *error) {
    if (!results->has_head) return no_head(error);
    if (!results->has_corpus)
        return psc_fail(error, PSC_ERROR_STATE, "the results are of one run, not of a corpus");
    return give(out, &results->corpus, sizeof results->corpus, error);
}

const char *psc_results_command(const psc_results *results) {
    return results->command;
}

psc_status psc_results_get_time(
    psc_result_time *out, const psc_results *results, psc_error *error) {
    if (results->time.struct_size == 0)
        return psc_fail(error, PSC_ERROR_STATE, "the results hold no time");
    return give(out, &results->time, sizeof results->time, error);
}

psc_status psc_results_get_generation(
    psc_generation *out, const psc_results *results, psc_error *error) {
    if (results->generation.struct_size == 0)
        return psc_fail(error, PSC_ERROR_STATE, "the results hold no generation");
    return give(out, &results->generation, sizeof results->generation, error);
}

/* --- lists ----------------------------------------------------------------------------------- */

static psc_status check_index(int32_t index, int32_t n, const char *what, psc_error *error) {
    if (index >= 0 && index < n) return PSC_OK;
    return psc_fail(
        error, PSC_ERROR_INPUT, "there is no %s %d: the results have %d", what, (int)index, (int)n);
}

/* Null after setting the error. */
static const psc_section *section_of(
    const psc_results *results, int32_t section, psc_error *error) {
    if (check_index(section, results->n_sections, "section", error) != PSC_OK) return NULL;
    return &results->sections[section];
}

static psc_status check_within(
    const psc_section *section, int32_t index, int32_t n, const char *what, psc_error *error) {
    if (index >= 0 && index < n) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT, "section '%s' has no %s %d: it has %d", section->name,
        what, (int)index, (int)n);
}

static psc_status not_found(
    const psc_section *section, const char *what, const char *name, psc_error *error) {
    return psc_fail(
        error, PSC_ERROR_INPUT, "section '%s' has no %s '%.100s'", section->name, what, name);
}

int32_t psc_results_token_count(const psc_results *results) {
    return results->n_tokens;
}

psc_status psc_results_token_at(
    psc_result_token *out, const psc_results *results, int32_t index, psc_error *error) {
    psc_status status = check_index(index, results->n_tokens, "token", error);
    if (status == PSC_OK) *out = results->tokens[index];
    return status;
}

int32_t psc_results_target_count(const psc_results *results) {
    return results->n_targets;
}

psc_status psc_results_target_at(
    psc_result_target *out, const psc_results *results, int32_t index, psc_error *error) {
    psc_status status = check_index(index, results->n_targets, "target", error);
    return status ? status : give(out, &results->targets[index], sizeof *out, error);
}

int32_t psc_results_vocabulary_count(const psc_results *results) {
    return results->n_vocabulary;
}

psc_status psc_results_vocabulary_at(
    int32_t *id, const char **text, const psc_results *results, int32_t index, psc_error *error) {
    psc_status status = check_index(index, results->n_vocabulary, "vocabulary entry", error);
    if (status != PSC_OK) return status;
    *id = results->vocabulary[index].id;
    *text = results->vocabulary[index].text;
    return PSC_OK;
}

int32_t psc_results_section_count(const psc_results *results) {
    return results->n_sections;
}

psc_status psc_results_section_at(
    psc_result_section *out, const psc_results *results, int32_t section, psc_error *error) {
    const psc_section *from = section_of(results, section, error);
    if (!from) return PSC_ERROR_INPUT;
    const psc_result_section view = {.n_options = from->n_options,
        .n_axes = from->n_axes,
        .n_arrays = from->n_arrays,
        .n_values = from->n_values,
        .n_items = from->n_items,
        .name = from->name,
        .version = from->version};
    return give(out, &view, sizeof view, error);
}

psc_status psc_results_find_section(
    int32_t *out, const psc_results *results, const char *name, psc_error *error) {
    for (int32_t i = 0; i < results->n_sections; i++) {
        if (strcmp(results->sections[i].name, name) != 0) continue;
        *out = i;
        return PSC_OK;
    }
    return psc_fail(error, PSC_ERROR_INPUT, "the results have no section '%.100s'", name);
}

psc_status psc_results_option_at(const char **key, const char **value, const psc_results *results,
    int32_t section, int32_t index, psc_error *error) {
    const psc_section *from = section_of(results, section, error);
    if (!from || check_within(from, index, from->n_options, "option", error) != PSC_OK)
        return PSC_ERROR_INPUT;
    *key = from->options[index].key;
    *value = from->options[index].value;
    return PSC_OK;
}

/* --- axes, values, items --------------------------------------------------------------------- */

psc_status psc_results_axis_at(psc_result_axis *out, const psc_results *results, int32_t section,
    int32_t index, psc_error *error) {
    const psc_section *from = section_of(results, section, error);
    if (!from || check_within(from, index, from->n_axes, "axis", error) != PSC_OK)
        return PSC_ERROR_INPUT;
    *out = from->axes[index].view;
    return PSC_OK;
}

psc_status psc_results_find_axis(psc_result_axis *out, const psc_results *results, int32_t section,
    const char *name, psc_error *error) {
    const psc_section *from = section_of(results, section, error);
    if (!from) return PSC_ERROR_INPUT;
    const psc_result_axis *axis = psc_section_axis_named(from, name);
    if (!axis) return not_found(from, "axis", name, error);
    *out = *axis;
    return PSC_OK;
}

psc_status psc_results_value_at(psc_result_value *out, const psc_results *results, int32_t section,
    int32_t index, psc_error *error) {
    const psc_section *from = section_of(results, section, error);
    if (!from || check_within(from, index, from->n_values, "value", error) != PSC_OK)
        return PSC_ERROR_INPUT;
    *out = from->values[index].view;
    return PSC_OK;
}

psc_status psc_results_find_value(psc_result_value *out, const psc_results *results,
    int32_t section, const char *name, psc_error *error) {
    const psc_section *from = section_of(results, section, error);
    if (!from) return PSC_ERROR_INPUT;
    const psc_result_value *value = psc_section_value_named(from, name);
    if (!value) return not_found(from, "value", name, error);
    *out = *value;
    return PSC_OK;
}

psc_status psc_results_item_at(psc_result_item *out, const psc_results *results, int32_t section,
    int32_t index, psc_error *error) {
    const psc_section *from = section_of(results, section, error);
    if (!from || check_within(from, index, from->n_items, "summary item", error) != PSC_OK)
        return PSC_ERROR_INPUT;
    *out = from->items[index];
    return PSC_OK;
}

/* --- arrays and files ------------------------------------------------------------------------ */

/* Array `index` of a section (-1: capture `index`), which must exist. */
static const psc_array *array_of(const psc_results *results, int section, int32_t index) {
    const psc_stored_array *array = results->arrays;
    while (array->section != section || index-- > 0) array++;
    return &array->view;
}

psc_status psc_results_array_at(
    psc_array *out, const psc_results *results, int32_t section, int32_t index, psc_error *error) {
    const psc_section *from = section_of(results, section, error);
    if (!from || check_within(from, index, from->n_arrays, "array", error) != PSC_OK)
        return PSC_ERROR_INPUT;
    *out = *array_of(results, section, index);
    return PSC_OK;
}

psc_status psc_results_find_array(
    psc_array *out, const psc_results *results, const char *name, psc_error *error) {
    const psc_stored_array *array = psc_results_array_named(results, name);
    if (!array)
        return psc_fail(error, PSC_ERROR_INPUT, "the last run left no array '%.100s'", name);
    *out = array->view;
    return PSC_OK;
}

int psc_results_array_holds_token_ids(const psc_results *results, const char *name) {
    const psc_stored_array *array = psc_results_array_named(results, name);
    return array && array->token_ids;
}

int32_t psc_results_capture_count(const psc_results *results) {
    int32_t n = results->n_arrays;
    for (int i = 0; i < results->n_sections; i++) n -= results->sections[i].n_arrays;
    return n;
}

psc_status psc_results_capture_at(
    psc_array *out, const psc_results *results, int32_t index, psc_error *error) {
    psc_status status = check_index(index, psc_results_capture_count(results), "capture", error);
    if (status == PSC_OK) *out = *array_of(results, -1, index);
    return status;
}

int32_t psc_results_file_count(const psc_results *results) {
    return results->n_files;
}

psc_status psc_results_file_at(
    psc_result_file *out, const psc_results *results, int32_t index, psc_error *error) {
    psc_status status = check_index(index, results->n_files, "file", error);
    if (status == PSC_OK) *out = results->files[index];
    return status;
}
