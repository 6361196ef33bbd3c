/* Result objects. Lists grow by doubling; arrays are handed out filled with "nothing here": NaN,
 * and -1 in integer arrays. */
#include "results.h"
#include "utf8.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The list (n used) with room for one more item, or null and the list as it was. The capacity is
 * the next power of two, so that it need not be stored. */
static void *grow(void *list, int n, size_t item_size) {
    if (n != 0 && (n & (n - 1)) != 0) return list;
    if (n > 1 << 28) return NULL;
    size_t capacity = n == 0 ? 1 : 2 * (size_t)n;
    return capacity > SIZE_MAX / item_size ? NULL : realloc(list, capacity * item_size);
}

static char *copy_text(const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = malloc(bytes);
    if (copy) memcpy(copy, text, bytes);
    return copy;
}

size_t psc_result_dtype_size(psc_result_dtype dtype) {
    return dtype == PSC_RESULT_F64 ? 8 : 4;
}

psc_status psc_results_open(psc_results **out, psc_error *error) {
    *out = calloc(1, sizeof **out);
    return *out ? PSC_OK : psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results");
}

static void item_free(psc_result_item *item) {
    free(item->sentence);
    free(item->bars.title);
    free(item->bars.unit);
    for (int i = 0; i < item->bars.n; i++) free(item->bars.labels[i]);
    free(item->bars.labels);
    free(item->bars.values);
}

static void drop_spare(psc_results *results) {
    for (int i = 0; i < results->n_spare; i++) free(results->spare[i].data);
    free(results->spare);
    results->spare = NULL;
    results->n_spare = 0;
}

/* Memory of exactly so many bytes from the run before; without any, that memory is given up first.
 */
static void *array_memory(psc_results *results, uint64_t bytes) {
    for (int i = 0; i < results->n_spare; i++) {
        void *data = results->spare[i].data;
        if (!data || results->spare[i].bytes != bytes) continue;
        results->spare[i].data = NULL;
        return data;
    }
    drop_spare(results);
    void *data = NULL;
    if (posix_memalign(&data, 64, bytes ? (size_t)bytes : 64) != 0) return NULL;
    return data;
}

void psc_results_clear(psc_results *results) {
    json_decref(results->head);
    for (int i = 0; i < results->n_sections; i++) {
        psc_result_section *section = &results->sections[i];
        for (int j = 0; j < section->n_items; j++) item_free(&section->items[j]);
        free(section->items);
        free(section->name);
        json_decref(section->json);
    }
    free(results->sections);
    drop_spare(results);
    for (int i = 0; i < results->n_arrays; i++) free(results->arrays[i].name);
    for (int i = 0; i < results->n_documents; i++) {
        free(results->documents[i].name);
        free(results->documents[i].bytes);
    }
    free(results->documents);
    *results = (psc_results){.spare = results->arrays, .n_spare = results->n_arrays};
}

void psc_results_close(psc_results **results) {
    if (!results || !*results) return;
    psc_results_clear(*results);
    drop_spare(*results);
    free(*results);
    *results = NULL;
}

psc_status psc_results_document(
    psc_results *results, const char *name, const char *bytes, uint64_t n, psc_error *error) {
    for (int i = 0; i < results->n_documents; i++)
        if (strcmp(results->documents[i].name, name) == 0)
            return psc_fail(error, PSC_ERROR_INPUT, "the file '%s' was given twice", name);
    psc_result_document *documents =
        grow(results->documents, results->n_documents, sizeof *results->documents);
    if (documents) results->documents = documents;
    psc_result_document made = {copy_text(name), n < SIZE_MAX ? malloc((size_t)n + 1) : NULL, n};
    if (!documents || !made.name || !made.bytes) {
        free(made.name);
        free(made.bytes);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the file '%s'", name);
    }
    if (n > 0) memcpy(made.bytes, bytes, (size_t)n);
    results->documents[results->n_documents++] = made;
    return PSC_OK;
}

psc_result_section *psc_results_section(psc_results *results, const char *name) {
    psc_result_section *sections =
        grow(results->sections, results->n_sections, sizeof *results->sections);
    if (!sections) return NULL;
    results->sections = sections;
    psc_result_section section = {.name = copy_text(name), .json = json_object()};
    if (!section.name || !section.json) {
        free(section.name);
        json_decref(section.json);
        return NULL;
    }
    results->sections[results->n_sections] = section;
    return &results->sections[results->n_sections++];
}

/* Bytes of an array of this shape; false when it is not sane. */
static bool array_bytes(uint64_t *bytes, psc_result_dtype dtype, int n_axes, const int64_t *shape) {
    uint64_t total = psc_result_dtype_size(dtype);
    for (int i = 0; i < n_axes; i++) {
        if (shape[i] < 0) return false;
        if (shape[i] > 0 && total > (uint64_t)(PTRDIFF_MAX / 2) / (uint64_t)shape[i]) return false;
        total *= (uint64_t)shape[i];
    }
    *bytes = total;
    return true;
}

static void fill_nothing(psc_result_array *array) {
    uint64_t n = array->bytes / psc_result_dtype_size(array->dtype);
    for (uint64_t i = 0; i < n; i++) {
        if (array->dtype == PSC_RESULT_F32)
            ((float *)array->data)[i] = NAN;
        else if (array->dtype == PSC_RESULT_F64)
            ((double *)array->data)[i] = NAN;
        else
            ((int32_t *)array->data)[i] = -1;
    }
}

psc_result_array *psc_results_array(psc_results *results, const char *name, psc_result_dtype dtype,
    int n_axes, const int64_t *shape, bool filled, psc_error *error) {
    if (n_axes < 0 || n_axes > 6) {
        psc_fail(error, PSC_ERROR_INPUT, "array '%s' has %d axes; at most 6", name, n_axes);
        return NULL;
    }
    for (int i = 0; i < results->n_arrays; i++)
        if (strcmp(results->arrays[i].name, name) == 0) {
            psc_fail(error, PSC_ERROR_INPUT, "there are two arrays named '%s'", name);
            return NULL;
        }
    psc_result_array array = {.dtype = dtype, .n_axes = n_axes};
    if (!array_bytes(&array.bytes, dtype, n_axes, shape)) {
        psc_fail(error, PSC_ERROR_MEMORY, "array '%s' is too large", name);
        return NULL;
    }
    for (int i = 0; i < n_axes; i++) array.shape[i] = shape[i];
    array.name = copy_text(name);
    psc_result_array *arrays = grow(results->arrays, results->n_arrays, sizeof *arrays);
    if (arrays) results->arrays = arrays;
    if (arrays && array.name) array.data = array_memory(results, array.bytes);
    if (!array.data) {
        free(array.name);
        psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for array '%s' of %llu bytes", name,
            (unsigned long long)array.bytes);
        return NULL;
    }
    if (filled) fill_nothing(&array);
    results->arrays[results->n_arrays] = array;
    return &results->arrays[results->n_arrays++];
}

static psc_status append_item(psc_result_section *section, psc_result_item *item) {
    psc_result_item *items = grow(section->items, section->n_items, sizeof *items);
    if (!items) {
        item_free(item);
        return PSC_ERROR_MEMORY;
    }
    section->items = items;
    section->items[section->n_items++] = *item;
    return PSC_OK;
}

psc_status psc_section_sentence(psc_result_section *section, const char *text) {
    psc_result_item item = {.sentence = copy_text(text)};
    return item.sentence ? append_item(section, &item) : PSC_ERROR_MEMORY;
}

psc_status psc_section_bars(psc_result_section *section, const char *title, const char *unit, int n,
    const char *const *labels, const double *values) {
    if (n < 0) return PSC_ERROR_INPUT;
    psc_result_item item = {.bars = {.title = copy_text(title), .unit = copy_text(unit)}};
    size_t count = n ? (size_t)n : 1;
    item.bars.labels = calloc(count, sizeof *item.bars.labels);
    item.bars.values = calloc(count, sizeof *item.bars.values);
    if (!item.bars.title || !item.bars.unit || !item.bars.labels || !item.bars.values) goto fail;
    for (int i = 0; i < n; i++) {
        item.bars.values[i] = values[i];
        item.bars.labels[i] = copy_text(labels[i]);
        item.bars.n = i + 1;
        if (!item.bars.labels[i]) goto fail;
    }
    return append_item(section, &item);
fail:
    item_free(&item);
    return PSC_ERROR_MEMORY;
}

json_t *psc_result_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *psc_result_text(const char *bytes, size_t n) {
    size_t plain = 0; /* most labels are: nothing to check, nothing to replace */
    while (plain < n && (unsigned char)bytes[plain] < 0x80) plain++;
    if (plain == n) return json_stringn_nocheck(bytes, n);
    if (n > SIZE_MAX / 3 - 1) return NULL;
    char *clean = malloc(3 * n + 1); /* U+FFFD has three bytes */
    if (!clean) return NULL;
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        int length = psc_utf8_next(&c, bytes + i, n - i);
        memcpy(clean + used, length > 0 ? bytes + i : "\xef\xbf\xbd", length > 0 ? length : 3);
        used += length > 0 ? (size_t)length : 3;
        i += length > 0 ? (size_t)length : 1;
    }
    json_t *text = json_stringn(clean, used);
    free(clean);
    return text;
}
