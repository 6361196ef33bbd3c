/* One safetensors file:
 *
 *   u64 little-endian n | n bytes of JSON | data
 *   JSON: {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]},
 *          "__metadata__": {..}}
 *
 * Offsets count from the data's first byte; sorted, they tile it exactly. */
#include "safetensors.h"

#include "file_kind.h"
#include "json.h"
#include "safetensors_file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* The file during parsing; path is for messages. */
typedef struct parser {
    const char *path;
    const unsigned char *data;     /* first byte after the header */
    size_t data_size, file, first; /* first: of the file's tensors in the set */
    psc_tensors *tensors;
    psc_error *error;
} parser;

/* Bytes per element; 0 for an unknown dtype. */
static size_t element_size(const char *dtype) {
    static const struct {
        const char *name;
        size_t size;
    } known[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8}, {"I64", 8}, {"U64", 8},
        {"C64", 8}, {"I32", 4}, {"U32", 4}, {"I16", 2}, {"U16", 2}, {"I8", 1}, {"U8", 1},
        {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(dtype, known[i].name) == 0) return known[i].size;
    return 0;
}

static psc_status bad(const parser *p, const char *name, const char *what) {
    return psc_fail(p->error, PSC_ERROR_INPUT, "%s: tensor \"%.200s\" %s", p->path, name, what);
}

/* Reads an integer >= 0 as size_t; false otherwise. */
static bool get_size(json_t *value, size_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    unsigned long long n = (unsigned long long)json_integer_value(value);
    if (n > SIZE_MAX) return false;
    *out = (size_t)n;
    return true;
}

/* shape and dtype -> t->rank, t->shape, t->size. */
static psc_status read_shape(const parser *p, const char *name, json_t *value, psc_tensor *t) {
    json_t *dtype = json_object_get(value, "dtype"), *shape = json_object_get(value, "shape");
    if (!json_is_string(dtype)) return bad(p, name, "has no dtype");
    size_t size = element_size(json_string_value(dtype));
    if (size == 0)
        return psc_fail(p->error, PSC_ERROR_INPUT,
            "%s: tensor \"%.200s\" has unknown dtype \"%.30s\"", p->path, name,
            json_string_value(dtype));
    memcpy(t->dtype, json_string_value(dtype), json_string_length(dtype) + 1);
    if (!json_is_array(shape)) return bad(p, name, "has no shape");
    t->rank = json_array_size(shape);
    if (t->rank > PSC_TENSOR_RANK) return bad(p, name, "has a shape of more than 8 dimensions");
    for (size_t i = 0; i < t->rank; i++) {
        if (!get_size(json_array_get(shape, i), &t->shape[i]))
            return bad(p, name, "has a shape that is not a list of non-negative integers");
        if (t->shape[i] > 0 && size > SIZE_MAX / t->shape[i])
            return bad(p, name, "has a shape whose product overflows");
        size *= t->shape[i];
    }
    t->size = size;
    return PSC_OK;
}

static psc_status read_offsets(const parser *p, const char *name, json_t *value, psc_tensor *t) {
    json_t *offsets = json_object_get(value, "data_offsets");
    size_t begin, end;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !get_size(json_array_get(offsets, 0), &begin) ||
        !get_size(json_array_get(offsets, 1), &end))
        return bad(p, name, "has no data_offsets [begin, end]");
    if (begin > end) return bad(p, name, "has data_offsets that end before they begin");
    if (end > p->data_size)
        return psc_fail(p->error, PSC_ERROR_INPUT,
            "%s: tensor \"%.200s\" ends at byte %zu of the data, but the data has only %zu bytes "
            "(is the file truncated?)",
            p->path, name, end, p->data_size);
    if (end - begin != t->size)
        return psc_fail(p->error, PSC_ERROR_INPUT,
            "%s: tensor \"%.200s\" has %zu bytes by its data_offsets, but %zu by its dtype and "
            "shape",
            p->path, name, end - begin, t->size);
    t->data = p->data + begin;
    return PSC_OK;
}

static psc_status add_tensor(const parser *p, const char *name, json_t *value) {
    psc_tensors *set = p->tensors;
    psc_tensor t = {.file = p->file, .place = set->count - p->first};
    if (!json_is_object(value)) return bad(p, name, "has a header entry that is not an object");
    psc_status status = read_shape(p, name, value, &t);
    if (!status) status = read_offsets(p, name, value, &t);
    if (status) return status;
    t.name = strdup(name);
    if (!t.name)
        return psc_fail(p->error, PSC_ERROR_MEMORY, "not enough memory for a tensor's name");
    set->items[set->count++] = t; /* add_header made room for all tensors */
    return PSC_OK;
}

/* Metadata maps texts to texts. */
static psc_status check_metadata(const parser *p, json_t *metadata) {
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return psc_fail(p->error, PSC_ERROR_INPUT, "%s: __metadata__ is not an object", p->path);
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value))
            return psc_fail(p->error, PSC_ERROR_INPUT, "%s: __metadata__ \"%.60s\" is not a string",
                p->path, key);
    }
    json_decref(p->tensors->notes);
    p->tensors->notes = json_incref(metadata);
    return PSC_OK;
}

static int by_data(const void *a, const void *b) {
    const psc_tensor *s = a, *t = b;
    if (s->data != t->data) return s->data < t->data ? -1 : 1;
    return (s->size > t->size) - (s->size < t->size); /* empty tensors before the one they touch */
}

/* The tensors of this file must tile its data. */
static psc_status check_coverage(const parser *p, psc_tensor *items, size_t count) {
    size_t expected = 0;
    if (count > 0) qsort(items, count, sizeof *items, by_data);
    for (size_t i = 0; i < count; i++) {
        size_t begin = (size_t)(items[i].data - p->data);
        if (begin < expected)
            return psc_fail(p->error, PSC_ERROR_INPUT,
                "%s: tensors \"%.200s\" and \"%.200s\" overlap", p->path, items[i - 1].name,
                items[i].name);
        if (begin > expected)
            return psc_fail(p->error, PSC_ERROR_INPUT,
                "%s: the %zu bytes before tensor \"%.200s\" do not belong to any tensor", p->path,
                begin - expected, items[i].name);
        expected = begin + items[i].size;
    }
    if (expected != p->data_size)
        return psc_fail(p->error, PSC_ERROR_INPUT,
            "%s: the last %zu bytes do not belong to any tensor", p->path, p->data_size - expected);
    return PSC_OK;
}

static psc_status add_header(parser *p, json_t *root) {
    psc_tensors *set = p->tensors;
    size_t first = set->count, needed = first + json_object_size(root);
    const char *name;
    json_t *value;
    if (needed > set->capacity) {
        psc_tensor *items = realloc(set->items, needed * sizeof *items);
        if (!items)
            return psc_fail(
                p->error, PSC_ERROR_MEMORY, "not enough memory for %zu tensors", needed);
        set->items = items;
        set->capacity = needed;
    }
    json_object_foreach(root, name, value) {
        bool metadata = strcmp(name, "__metadata__") == 0;
        psc_status status = metadata ? check_metadata(p, value) : add_tensor(p, name, value);
        if (status) return status;
    }
    const size_t count = set->count - first;
    return check_coverage(p, count > 0 ? set->items + first : NULL, count);
}

/* Finds the header's length. */
static psc_status find_header(
    const char *path, const psc_mapping *map, size_t *length, psc_error *error) {
    uint64_t n = 0;
    psc_status status = psc_file_kind_refuse(psc_file_kind_of(map->data, map->size), path, error);
    if (status) return status;
    if (map->size < 8)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s has %zu bytes, too few for a safetensors file (is it truncated?)", path, map->size);
    for (int i = 7; i >= 0; i--) n = n << 8 | map->data[i];
    if (n > PSC_SAFETENSORS_HEADER_CAP)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s: the header claims %llu bytes, more than the %zu allowed (is it a safetensors "
            "file?)",
            path, (unsigned long long)n, PSC_SAFETENSORS_HEADER_CAP);
    if (n > map->size - 8)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s: the header claims %llu bytes, but only %zu follow (is the file truncated?)", path,
            (unsigned long long)n, map->size - 8);
    if (n == 0 || map->data[8] != '{')
        return psc_fail(error, PSC_ERROR_INPUT, "%s: the header is not a JSON object", path);
    *length = (size_t)n;
    return PSC_OK;
}

psc_status psc_tensors_add_file(psc_tensors *set, size_t file, const char *path, psc_error *error) {
    const psc_mapping *map = &set->files[file].mapping;
    json_error_t parse;
    size_t length = 0;
    psc_status status = psc_map_file(&set->files[file].mapping, path, error);
    if (!status) status = find_header(path, map, &length, error);
    if (status) return status;
    parser p = {path, map->data + 8 + length, map->size - 8 - length, file, set->count, set, error};
    json_t *root =
        psc_json_load((const char *)map->data + 8, length, JSON_REJECT_DUPLICATES, &parse);
    if (!root && psc_json_no_memory(&parse))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the header of %s", path);
    if (!root)
        return psc_fail(
            error, PSC_ERROR_INPUT, "%s: the header is not valid JSON: %s", path, parse.text);
    status = add_header(&p, root);
    json_decref(root);
    return status;
}

/* --- a set of files -------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return strcmp(((const psc_tensor *)a)->name, ((const psc_tensor *)b)->name);
}

static int by_name_and_file(const void *a, const void *b) {
    const psc_tensor *s = a, *t = b;
    const int order = by_name(a, b);
    return order ? order : (s->file > t->file) - (s->file < t->file);
}

void psc_tensors_sort(psc_tensors *set) {
    if (set->count > 0) qsort(set->items, set->count, sizeof *set->items, by_name_and_file);
}

psc_status psc_tensors_check_names(const psc_tensors *set, psc_error *error) {
    for (size_t i = 1; i < set->count; i++) {
        const psc_tensor *a = &set->items[i - 1], *b = &set->items[i];
        if (strcmp(a->name, b->name) != 0) continue;
        if (a->file == b->file)
            return psc_fail(error, PSC_ERROR_INPUT, "%s has two tensors named \"%.200s\"",
                set->files[a->file].name, a->name);
        return psc_fail(error, PSC_ERROR_INPUT, "tensor \"%.200s\" is in both %s and %s", a->name,
            set->files[a->file].name, set->files[b->file].name);
    }
    return PSC_OK;
}

psc_status psc_tensors_add_only(
    psc_tensors *set, const char *path, psc_tensors_adder add, psc_error *error) {
    const char *slash = strrchr(path, '/');
    set->files = calloc(1, sizeof *set->files);
    if (!set->files || !(set->files[0].name = strdup(slash ? slash + 1 : path)))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to open %s", path);
    set->n_files = 1;
    psc_status status = add(set, 0, path, error);
    if (status) return status;
    psc_tensors_sort(set);
    return psc_tensors_check_names(set, error);
}

psc_status psc_tensors_open_file(psc_tensors **out, const char *path, psc_error *error) {
    psc_tensors *set = calloc(1, sizeof *set);
    *out = NULL;
    if (!set) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to open %s", path);
    psc_status status = psc_tensors_add_only(set, path, psc_tensors_add_file, error);
    if (status)
        psc_tensors_close(&set);
    else
        *out = set;
    return status;
}

void psc_tensors_close(psc_tensors **tensors) {
    psc_tensors *set = *tensors;
    if (!set) return;
    for (size_t i = 0; i < set->count; i++) free(set->items[i].name);
    for (size_t i = 0; i < set->n_files; i++) {
        psc_unmap_file(&set->files[i].mapping);
        free(set->files[i].name);
    }
    json_decref(set->notes);
    free(set->items);
    free(set->files);
    free(set);
    *tensors = NULL;
}

const char *psc_tensors_note(const psc_tensors *tensors, const char *key) {
    return json_string_value(json_object_get(tensors->notes, key));
}

const psc_tensor *psc_tensors_find(const psc_tensors *tensors, const char *name) {
    psc_tensor key = {.name = (char *)name};
    if (tensors->count == 0) return NULL;
    return bsearch(&key, tensors->items, tensors->count, sizeof key, by_name);
}
