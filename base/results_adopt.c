/* Adopting results: deep copies of another object's sections, captures and files under a prefix, or
 * under their own names. Texts of token ids are common to both; the adopting results' own text
 * stays. */
#include "results.h"

#include <stdlib.h>
#include <string.h>

/* What the results held before, to which a failure returns. */
typedef struct mark {
    int sections, arrays, files;
} mark;

static void return_to(psc_results *results, mark before) {
    while (results->n_arrays > before.arrays) {
        psc_stored_array *array = &results->arrays[--results->n_arrays];
        free((void *)array->view.name);
        free((void *)array->view.data);
    }
    while (results->n_sections > before.sections)
        psc_section_free(&results->sections[--results->n_sections]);
    while (results->n_files > before.files) {
        psc_result_file *file = &results->files[--results->n_files];
        free((void *)file->name);
        free((void *)file->bytes);
    }
}

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a copy of the results");
}

/* "prefix.name"; without a prefix the name. The caller frees it. */
static char *prefixed(const char *prefix, const char *name) {
    if (!prefix) return strdup(name);
    const size_t before = strlen(prefix), bytes = strlen(name) + 1;
    char *out = malloc(before + 1 + bytes);
    if (!out) return NULL;
    memcpy(out, prefix, before); // NOLINT(bugprone-not-null-terminated-result): name brings its 0
    out[before] = '.';
    memcpy(out + before + 1, name, bytes);
    return out;
}

/* --- a section's parts ----------------------------------------------------------------------- */

psc_status psc_results_copy_axis(psc_results *to, int section, const psc_result_axis *axis) {
    psc_section *s = &to->sections[section];
    if (axis->labels) return psc_section_add_labels(to, s, axis->name, axis->n, axis->labels);
    return psc_section_add_numbers(s, axis->name, axis->n, axis->numbers);
}

psc_status psc_section_copy_value(psc_section *to, const psc_result_value *value) {
    psc_status status = PSC_OK;
    switch (value->kind) {
    case PSC_VALUE_NUMBER:
        return psc_section_add_number(to, value->name, value->numbers[0]);
    case PSC_VALUE_TEXT:
        return psc_section_add_text(to, value->name, value->texts[0]);
    default:
        break;
    }
    for (int32_t i = 0; status == PSC_OK && i < value->n; i++)
        status = value->texts ? psc_section_append_text(to, value->name, value->texts[i])
                              : psc_section_append_number(to, value->name, value->numbers[i]);
    return status;
}

static psc_status copy_item(psc_section *to, const psc_result_item *item) {
    if (item->sentence) return psc_section_add_sentence(to, item->sentence);
    return psc_section_add_bars(to, item->title, item->unit, item->n, item->labels, item->values);
}

/* Options, axes and values in their order, items. */
static psc_status copy_parts(psc_results *to, int section, const psc_section *from) {
    psc_section *s = &to->sections[section];
    psc_status status = PSC_OK;
    for (int i = 0; status == PSC_OK && i < from->n_options; i++)
        status = psc_section_add_option(s, from->options[i].key, from->options[i].value);
    for (int axis = 0, value = 0; status == PSC_OK && axis + value < from->n_axes + from->n_values;)
        if (axis < from->n_axes && from->axes[axis].place == axis + value)
            status = psc_results_copy_axis(to, section, &from->axes[axis++].view);
        else
            status = psc_section_copy_value(s, &from->values[value++].view);
    for (int i = 0; status == PSC_OK && i < from->n_items; i++)
        status = copy_item(s, &from->items[i]);
    return status;
}

/* --- the whole ------------------------------------------------------------------------------- */

static psc_status copy_section(
    psc_results *to, const psc_section *from, const char *prefix, psc_error *error) {
    char *name = prefixed(prefix, from->name);
    if (!name) return no_memory(error);
    psc_status status = PSC_OK;
    for (int i = 0; i < to->n_sections; i++)
        if (strcmp(to->sections[i].name, name) == 0)
            status = psc_fail(error, PSC_ERROR_INPUT,
                "the results already have a section '%s'; adopt with another prefix", name);
    if (status == PSC_OK && !psc_results_add_section(to, name, from->version))
        status = no_memory(error);
    free(name);
    if (status != PSC_OK) return status;
    return copy_parts(to, to->n_sections - 1, from) == PSC_OK ? PSC_OK : no_memory(error);
}

/* section: of the copy; -1: a capture, whose own name gets the prefix. */
static psc_status copy_array(psc_results *to, int section, const psc_stored_array *from,
    const char *prefix, psc_error *error) {
    const psc_array *view = &from->view;
    const char *axes[PSC_MOST_AXES] = {NULL};
    for (int i = 0; section >= 0 && i < view->n_axes; i++)
        axes[i] = psc_section_axis_named(&to->sections[section], view->axes[i])->name;
    char *name = section < 0 ? prefixed(prefix, view->key) : NULL;
    if (section < 0 && !name) return no_memory(error);
    psc_stored_array *copy =
        psc_results_add_array(to, section, name ? name : view->key, (psc_element)view->element,
            view->n_axes, section < 0 ? NULL : axes, view->shape, false, error);
    free(name);
    if (!copy) return error ? error->status : PSC_ERROR_MEMORY;
    copy->token_ids = from->token_ids;
    memcpy((void *)copy->view.data, view->data, (size_t)from->bytes);
    return PSC_OK;
}

static psc_status copy_file(
    psc_results *to, const psc_result_file *from, const char *prefix, psc_error *error) {
    char *name = prefixed(prefix, from->name);
    if (!name) return no_memory(error);
    psc_status status = psc_results_add_file(to, name, from->bytes, from->n, error);
    free(name);
    return status;
}

psc_status psc_results_adopt(
    psc_results *to, const psc_results *from, const char *prefix, psc_error *error) {
    const mark before = {to->n_sections, to->n_arrays, to->n_files};
    psc_error own = {PSC_OK, ""};
    psc_status status = PSC_OK;
    if (!error) error = &own;
    for (int i = 0; status == PSC_OK && i < from->n_sections; i++)
        status = copy_section(to, &from->sections[i], prefix, error);
    for (int i = 0; status == PSC_OK && i < from->n_arrays; i++) {
        const psc_stored_array *array = &from->arrays[i];
        const int section = array->section < 0 ? -1 : before.sections + array->section;
        status = copy_array(to, section, array, prefix, error);
    }
    for (int i = 0; status == PSC_OK && i < from->n_files; i++)
        status = copy_file(to, &from->files[i], prefix, error);
    if (status == PSC_OK) /* the last step: it changes nothing when it fails */
        status = psc_results_add_vocabulary(to, from->n_vocabulary, from->vocabulary, error);
    if (status != PSC_OK) return_to(to, before);
    return status;
}
