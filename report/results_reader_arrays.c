/* The arrays that results.json describes, with the elements that tensors.safetensors has.
 *
 * results.json has the arrays of each section in their order; the other file has the tensors of 8
 * bytes per element in the order of all arrays, then the rest. From both follows an order of all
 * arrays that writes both files again. */
#include "results_reader.h"

#include <stdlib.h>
#include <string.h>

#include "safetensors.h"

/* An array before it has its place. */
typedef struct described {
    int section; /* -1: a capture */
    const char *key;
    psc_element element;
    bool token_ids;
    int n_axes;
    const char *axes[PSC_MOST_AXES]; /* the section's own names */
    int64_t shape[PSC_MOST_AXES];
    const psc_tensor *tensor;
} described;

typedef struct array_list {
    described *items; /* in the order of results.json */
    size_t n, room;
    const psc_tensors *tensors;
    const char *path; /* of tensors.safetensors */
} array_list;

/* --- results.json ---------------------------------------------------------------------------- */

static psc_status read_element(described *out, const psc_json_at *at) {
    static const char *const dtypes[] = {"F32", "F64", "I32"};
    const char *dtype;
    psc_status status = psc_json_get_text(&dtype, at, "dtype");
    if (status != PSC_OK) return status;
    for (int i = 0; i < 3; i++) {
        if (strcmp(dtype, dtypes[i]) != 0) continue;
        out->element = (psc_element)i;
        return PSC_OK;
    }
    return psc_json_bad(at, "dtype", "is not F32, F64 or I32");
}

static psc_status read_shape(described *out, const psc_json_at *at) {
    json_t *list, *n;
    size_t i;
    psc_status status = psc_json_get_list(&list, at, "shape");
    if (status != PSC_OK) return status;
    if (json_array_size(list) > PSC_MOST_AXES)
        return psc_json_bad(at, "shape", "has more than 6 entries");
    out->n_axes = (int)json_array_size(list);
    json_array_foreach(list, i, n) {
        out->shape[i] = json_integer_value(n);
        if (!json_is_integer(n) || out->shape[i] < 0)
            return psc_json_bad(at, "shape", "has an entry that is not a whole number from 0");
    }
    return PSC_OK;
}

static psc_status read_axes(described *out, const psc_section *section, const psc_json_at *at) {
    json_t *list, *name;
    size_t i;
    psc_status status = psc_json_get_list(&list, at, "axes");
    if (status != PSC_OK) return status;
    if (json_array_size(list) != (size_t)out->n_axes)
        return psc_json_bad(at, "axes", "has another number of entries than shape");
    json_array_foreach(list, i, name) {
        const psc_result_axis *axis = psc_json_is_text(name)
                                          ? psc_section_axis_named(section, json_string_value(name))
                                          : NULL;
        if (!axis) return psc_json_bad(at, "axes", "names an axis that the section lacks");
        if (axis->n != out->shape[i])
            return psc_json_bad(at, "shape", "does not match the lengths of its axes");
        out->axes[i] = axis->name;
    }
    return PSC_OK;
}

static psc_status find_tensor(
    described *out, const array_list *list, const char *name, const psc_json_at *at) {
    static const char *const dtypes[] = {"F32", "F64", "I32"};
    const psc_tensor *tensor = psc_tensors_find(list->tensors, name);
    if (!tensor)
        return psc_fail(at->error, PSC_ERROR_INPUT,
            "%.300s lacks the array \"%.200s\", which results.json describes", list->path, name);
    bool same =
        tensor->rank == (size_t)out->n_axes && strcmp(tensor->dtype, dtypes[out->element]) == 0;
    for (int i = 0; same && i < out->n_axes; i++)
        same = tensor->shape[i] == (uint64_t)out->shape[i];
    if (!same)
        return psc_fail(at->error, PSC_ERROR_INPUT,
            "%.300s has another dtype or shape for \"%.200s\" than results.json", list->path, name);
    out->tensor = tensor;
    return PSC_OK;
}

/* "SECTION.key"; a capture's name is its key. */
static psc_status find_named(
    described *out, const array_list *list, const psc_section *section, const psc_json_at *at) {
    if (!section) return find_tensor(out, list, out->key, at);
    const size_t size = strlen(section->name) + strlen(out->key) + 2;
    char *name = malloc(size);
    if (!name) return psc_json_no_room(at);
    snprintf(name, size, "%s.%s", section->name, out->key);
    psc_status status = find_tensor(out, list, name, at);
    free(name);
    return status;
}

static psc_status describe(described *out, const array_list *list, const psc_results *results,
    int index, const char *key, const psc_json_at *arrays) {
    const psc_section *section = index < 0 ? NULL : &results->sections[index];
    psc_json_at at;
    int32_t token_ids = 0;
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): the caller has room for every array
    *out = (described){.section = index, .key = key};
    psc_status status = psc_json_enter(&at, arrays, key);
    if (status == PSC_OK) status = read_element(out, &at);
    if (status == PSC_OK) status = read_shape(out, &at);
    if (status == PSC_OK && section) status = read_axes(out, section, &at);
    if (status == PSC_OK && json_object_get(at.object, "token_ids"))
        status = psc_json_get_flag(&token_ids, &at, "token_ids");
    if (status == PSC_OK && token_ids && out->element != PSC_I32)
        status = psc_json_bad(&at, "token_ids", "is for I32 only");
    out->token_ids = token_ids != 0;
    return status == PSC_OK ? find_named(out, list, section, &at) : status;
}

/* The arrays of a section, or the captures (-1). */
static psc_status describe_all(
    array_list *list, const psc_results *results, int index, const psc_json_at *arrays) {
    const char *key;
    json_t *value;
    const size_t needed = list->n + json_object_size(arrays->object);
    if (needed > MOST_NAMED_ARRAYS) return psc_json_bad(arrays, "", "has too many arrays");
    if (needed > list->room) {
        described *items = realloc(list->items, 2 * needed * sizeof *items);
        if (!items) return psc_json_no_room(arrays);
        list->items = items;
        list->room = 2 * needed;
    }
    json_object_foreach(arrays->object, key, value) {
        psc_status status = describe(&list->items[list->n], list, results, index, key, arrays);
        if (status != PSC_OK) return status;
        list->n++;
    }
    return PSC_OK;
}

static psc_status describe_document(
    array_list *list, const psc_results *results, const psc_json_at *document) {
    psc_json_at plugins, section, arrays;
    psc_status status = psc_json_enter(&plugins, document, "plugins");
    for (int i = 0; status == PSC_OK && i < results->n_sections; i++) {
        status = psc_json_enter(&section, &plugins, results->sections[i].name);
        if (status == PSC_OK) status = psc_json_enter(&arrays, &section, "arrays");
        if (status == PSC_OK) status = describe_all(list, results, i, &arrays);
    }
    if (status != PSC_OK || !json_object_get(document->object, "captures")) return status;
    status = psc_json_enter(&arrays, document, "captures");
    return status == PSC_OK ? describe_all(list, results, -1, &arrays) : status;
}

/* Every tensor is described. Names are unique on both sides, so the counts decide. */
static psc_status check_rest(const array_list *list, const psc_json_at *document) {
    if (list->n == list->tensors->count) return PSC_OK;
    return psc_fail(document->error, PSC_ERROR_INPUT,
        "%.300s has %zu tensors, but results.json describes %zu arrays", list->path,
        list->tensors->count, list->n);
}

/* --- the order ------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b) {
    const described *s = *(const described *const *)a, *t = *(const described *const *)b;
    return (s->tensor->place > t->tensor->place) - (s->tensor->place < t->tensor->place);
}

/* next[section + 1]: the section's first array without a place. A candidate of either width is next
 * in tensors.safetensors; it comes if it is next in its section, too. Files of another writer may
 * have no such order; then results.json decides. */
static const described *choose(const array_list *list, const described *const *candidates[2],
    const described *const *ends[2], const described **next, const bool *placed) {
    for (int width = 0; width < 2; width++) {
        while (candidates[width] < ends[width] && placed[*candidates[width] - list->items])
            candidates[width]++;
        if (candidates[width] == ends[width]) continue;
        const described *one = *candidates[width];
        if (next[one->section + 1] == one) return one;
    }
    const described *first = list->items;
    while (placed[first - list->items]) first++;
    return first;
}

static psc_status add(psc_results *results, const described *from, psc_error *error) {
    psc_stored_array *array =
        psc_results_add_array(results, from->section, from->key, from->element, from->n_axes,
            from->section < 0 ? NULL : from->axes, from->shape, false, error);
    if (!array) return error->status;
    array->token_ids = from->token_ids;
    if (array->bytes > 0)
        memcpy((void *)array->view.data, from->tensor->data, (size_t)array->bytes);
    return PSC_OK;
}

static psc_status add_all(psc_results *results, const array_list *list, psc_error *error,
    const described **order, const described **next, bool *placed) {
    size_t n_wide = 0, n_narrow = 0;
    for (size_t i = 0; i < list->n; i++) n_wide += list->items[i].element == PSC_F64;
    const described **const lists[2] = {order, order + n_wide};
    const described *const *at[2] = {lists[0], lists[1]};
    const described *const *ends[2] = {lists[1], order + list->n};
    n_wide = 0;
    for (size_t i = list->n; i-- > 0;) next[list->items[i].section + 1] = &list->items[i];
    for (size_t i = 0; i < list->n; i++) {
        const bool wide = list->items[i].element == PSC_F64;
        lists[!wide][wide ? n_wide++ : n_narrow++] = &list->items[i];
    }
    if (n_wide > 0) qsort(lists[0], n_wide, sizeof *order, by_place);
    if (n_narrow > 0) qsort(lists[1], n_narrow, sizeof *order, by_place);
    for (size_t i = 0; i < list->n; i++) {
        const described *one = choose(list, at, ends, next, placed);
        placed[one - list->items] = true;
        next[one->section + 1] = one + 1;
        psc_status status = add(results, one, error);
        if (status != PSC_OK) return status;
    }
    return PSC_OK;
}

static psc_status add_in_order(
    psc_results *results, const array_list *list, const psc_json_at *document) {
    const size_t n = list->n + 1, n_sections = (size_t)results->n_sections + 1;
    const described **order = calloc(n, sizeof *order), **next = calloc(n_sections, sizeof *next);
    bool *placed = calloc(n, sizeof *placed);
    psc_status status = order && next && placed
                            ? add_all(results, list, document->error, order, next, placed)
                            : psc_json_no_room(document);
    free(order);
    free(next);
    free(placed);
    return status;
}

psc_status psc_read_arrays(psc_results *results, const psc_json_at *document, const char *path) {
    psc_tensors *tensors = NULL;
    array_list list = {.path = path};
    psc_status status = psc_tensors_open_file(&tensors, path, document->error);
    list.tensors = tensors;
    if (status == PSC_OK) status = describe_document(&list, results, document);
    if (status == PSC_OK) status = check_rest(&list, document);
    if (status == PSC_OK) status = add_in_order(results, &list, document);
    free(list.items);
    psc_tensors_close(&tensors);
    return status;
}
