/* Result objects. Lists grow by doubling. New arrays are filled with "no value": NaN, or -1 for
 * integers. */
#include "results.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

size_t psc_element_size(psc_element element) {
    return element == PSC_F64 ? 8 : 4;
}

psc_status psc_results_open(psc_results **out, psc_error *error) {
    *out = calloc(1, sizeof **out);
    return *out ? PSC_OK : psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results");
}

static void drop_spare(psc_results *results) {
    for (int i = 0; i < results->n_spare; i++) free((void *)results->spare[i].view.data);
    free(results->spare);
    results->spare = NULL;
    results->n_spare = 0;
}

/* Memory of exactly this size from the previous run; otherwise frees that memory and allocates. */
static void *array_memory(psc_results *results, uint64_t bytes) {
    for (int i = 0; i < results->n_spare; i++) {
        void *data = (void *)results->spare[i].view.data;
        if (!data || results->spare[i].bytes != bytes) continue;
        results->spare[i].view.data = NULL;
        return data;
    }
    drop_spare(results);
    void *data = NULL;
    if (posix_memalign(&data, 64, bytes ? (size_t)bytes : 64) != 0) return NULL;
    return data;
}

/* Frees the lists that no axis has used since the last psc_results_clear. */
static void drop_labels(psc_results *results) {
    int kept = 0;
    for (int i = 0; i < results->n_labels; i++) {
        psc_labels *list = results->labels[i];
        if (!list->used) {
            free(list);
            continue;
        }
        list->used = false;
        results->labels[kept++] = list;
    }
    results->n_labels = kept;
}

void psc_results_clear(psc_results *results) {
    for (int i = 0; i < results->n_sections; i++) psc_section_free(&results->sections[i]);
    free(results->sections);
    drop_spare(results);
    for (int i = 0; i < results->n_arrays; i++) free((void *)results->arrays[i].view.name);
    for (int i = 0; i < results->n_files; i++) {
        free((void *)results->files[i].name);
        free((void *)results->files[i].bytes);
    }
    free(results->files);
    free(results->vocabulary);
    free(results->targets);
    psc_arena_clear(&results->own);
    drop_labels(results);
    *results = (psc_results){.spare = results->arrays,
        .n_spare = results->n_arrays,
        .tokens = results->tokens,
        .room_tokens = results->room_tokens,
        .labels = results->labels,
        .n_labels = results->n_labels};
}

psc_status psc_results_take(psc_results **out, psc_results *results, psc_error *error) {
    psc_status status = psc_results_open(out, error);
    if (status != PSC_OK) return status;
    drop_labels(results);
    **out = *results;
    (*out)->spare = NULL;
    (*out)->n_spare = 0;
    *results = (psc_results){.spare = results->spare, .n_spare = results->n_spare};
    return PSC_OK;
}

void psc_results_close(psc_results **results) {
    if (!results || !*results) return;
    psc_results_clear(*results); /* twice: the first keeps memory for the next run */
    psc_results_clear(*results);
    free((*results)->labels);
    free((*results)->tokens);
    free(*results);
    *results = NULL;
}

psc_result_token *psc_results_make_tokens(psc_results *results, int32_t n) {
    if (n > results->room_tokens) {
        psc_result_token *tokens = realloc(results->tokens, (size_t)n * sizeof *tokens);
        if (!tokens) return NULL;
        results->tokens = tokens;
        results->room_tokens = n;
    }
    results->n_tokens = n;
    return results->tokens;
}

psc_result_target *psc_results_make_targets(psc_results *results, int32_t n) {
    free(results->targets);
    results->n_targets = 0;
    results->targets = calloc(n > 0 ? (size_t)n : 1, sizeof *results->targets);
    return results->targets;
}

char *psc_results_keep(psc_results *results, const char *bytes, size_t n) {
    char *copy = psc_arena_alloc(&results->own, (uint64_t)n + 1);
    if (copy && bytes) memcpy(copy, bytes, n);
    return copy;
}

psc_status psc_results_add_file(
    psc_results *results, const char *name, const char *bytes, uint64_t n, psc_error *error) {
    for (int i = 0; i < results->n_files; i++)
        if (strcmp(results->files[i].name, name) == 0)
            return psc_fail(error, PSC_ERROR_INPUT, "file '%s' is declared twice", name);
    psc_result_file *files = psc_list_grow(results->files, results->n_files, sizeof *files);
    if (files) results->files = files;
    char *copy = n < SIZE_MAX ? malloc((size_t)n + 1) : NULL, *own_name = strdup(name);
    if (!files || !copy || !own_name) {
        free(copy);
        free(own_name);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the file '%s'", name);
    }
    if (n > 0) memcpy(copy, bytes, (size_t)n);
    results->files[results->n_files++] = (psc_result_file){own_name, copy, n};
    return PSC_OK;
}

psc_section *psc_results_add_section(psc_results *results, const char *name, const char *version) {
    psc_section *sections = psc_list_grow(results->sections, results->n_sections, sizeof *sections);
    if (!sections) return NULL;
    results->sections = sections;
    psc_section section = {.name = psc_text_cleaned(name, strlen(name)),
        .version = psc_text_cleaned(version, strlen(version))};
    if (!section.name || !section.version) {
        psc_section_free(&section);
        return NULL;
    }
    results->sections[results->n_sections] = section;
    return &results->sections[results->n_sections++];
}

/* --- arrays ---------------------------------------------------------------------------------- */

const psc_stored_array *psc_results_array_named(const psc_results *results, const char *name) {
    for (int i = 0; i < results->n_arrays; i++)
        if (strcmp(results->arrays[i].view.name, name) == 0) return &results->arrays[i];
    return NULL;
}

/* "SECTION.key", or key alone without a section; null without memory. */
static char *full_name(const char *section, const char *key) {
    size_t before = section ? strlen(section) + 1 : 0, bytes = strlen(key) + 1;
    char *name = malloc(before + bytes);
    if (!name) return NULL;
    if (section) {
        memcpy(name, section, before);
        name[before - 1] = '.';
    }
    memcpy(name + before, key, bytes);
    return name;
}

/* Bytes of an array of this shape; false when an extent is negative or the product too large. */
static bool array_bytes(uint64_t *bytes, psc_element element, int n_axes, const int64_t *shape) {
    uint64_t total = psc_element_size(element);
    for (int i = 0; i < n_axes; i++) {
        if (shape[i] < 0) return false;
        if (shape[i] > 0 && total > (uint64_t)(PTRDIFF_MAX / 2) / (uint64_t)shape[i]) return false;
        total *= (uint64_t)shape[i];
    }
    *bytes = total;
    return true;
}

static void fill_nothing(void *data, psc_element element, uint64_t bytes) {
    uint64_t n = bytes / psc_element_size(element);
    for (uint64_t i = 0; i < n; i++) {
        if (element == PSC_F32)
            ((float *)data)[i] = NAN;
        else if (element == PSC_F64)
            ((double *)data)[i] = NAN;
        else
            ((int32_t *)data)[i] = -1;
    }
}

/* Takes over array, whose name is unique, and adds its memory. */
static psc_stored_array *add_array(
    psc_results *results, psc_stored_array *array, bool filled, psc_error *error) {
    psc_stored_array *arrays = psc_list_grow(results->arrays, results->n_arrays, sizeof *arrays);
    if (arrays) results->arrays = arrays;
    void *data = arrays ? array_memory(results, array->bytes) : NULL;
    if (!data) {
        psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for array '%s' of %llu bytes",
            array->view.name, (unsigned long long)array->bytes);
        free((void *)array->view.name);
        return NULL;
    }
    if (filled) fill_nothing(data, (psc_element)array->view.element, array->bytes);
    array->view.data = data;
    if (array->section >= 0) results->sections[array->section].n_arrays++;
    results->arrays[results->n_arrays] = *array;
    return &results->arrays[results->n_arrays++];
}

psc_stored_array *psc_results_add_array(psc_results *results, int section, const char *key,
    psc_element element, int n_axes, const char *const *axes, const int64_t *shape, bool filled,
    psc_error *error) {
    if (n_axes < 0 || n_axes > PSC_MOST_AXES) {
        psc_fail(error, PSC_ERROR_INPUT, "array '%s' has %d axes; the limit is 6", key, n_axes);
        return NULL;
    }
    char *name = full_name(section < 0 ? NULL : results->sections[section].name, key);
    psc_stored_array array = {.section = section};
    if (!name) {
        psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for array '%s'", key);
    } else if (psc_results_array_named(results, name)) {
        psc_fail(error, PSC_ERROR_INPUT, "array '%s' is declared twice", name);
    } else if (!array_bytes(&array.bytes, element, n_axes, shape)) {
        psc_fail(error, PSC_ERROR_MEMORY, "array '%s' is too large", name);
    } else {
        array.view = (psc_array){.name = name,
            .key = name + strlen(name) - strlen(key),
            .element = (int32_t)element,
            .n_axes = n_axes};
        for (int i = 0; i < n_axes; i++) array.view.shape[i] = shape[i];
        for (int i = 0; axes && i < n_axes; i++) array.view.axes[i] = axes[i];
        return add_array(results, &array, filled, error);
    }
    free(name);
    return NULL;
}
