/* The tensors of a folder: model.safetensors, or the shards of model.safetensors.index.json
 *   {"metadata": {..}, "weight_map": {"tensor name": "shard file name", ..}}
 * The index and the shards must agree in both directions. */
#include "safetensors_set.h"

#include "safetensors_file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_CAP ((size_t)16 << 20)
#define SHARD_CAP 256

static int by_file_name(const void *a, const void *b) {
    return strcmp(((const psc_tensor_file *)a)->name, ((const psc_tensor_file *)b)->name);
}

/* A shard's name must not lead out of the folder. */
static psc_status check_shard_name(const char *name, const char *index, psc_error *error) {
    bool plain = *name && !strchr(name, '/') && !strchr(name, '\\') && strcmp(name, ".") != 0 &&
                 strcmp(name, "..") != 0;
    if (plain) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "%s: weight_map names \"%.200s\", which is not a plain file name", index, name);
}

static psc_status add_shard(
    psc_tensors *set, const char *name, const char *index, psc_error *error) {
    psc_tensor_file key = {.name = (char *)name};
    for (size_t i = 0; i < set->n_files; i++)
        if (by_file_name(&key, &set->files[i]) == 0) return PSC_OK;
    if (set->n_files == SHARD_CAP)
        return psc_fail(
            error, PSC_ERROR_INPUT, "%s: weight_map names more than %d files", index, SHARD_CAP);
    char *copy = strdup(name);
    if (!copy) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a shard's name");
    set->files[set->n_files++] = (psc_tensor_file){.name = copy};
    return PSC_OK;
}

/* weight_map -> set->files: each name once, sorted for a fixed loading order. */
static psc_status list_shards(psc_tensors *set, json_t *map, const char *index, psc_error *error) {
    const char *tensor;
    json_t *value;
    if (!json_is_object(map) || json_object_size(map) == 0)
        return psc_fail(error, PSC_ERROR_INPUT, "%s has no weight_map", index);
    set->files = calloc(SHARD_CAP, sizeof *set->files);
    if (!set->files) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the shards");
    json_object_foreach(map, tensor, value) {
        if (!json_is_string(value))
            return psc_fail(error, PSC_ERROR_INPUT,
                "%s: weight_map does not name a file for tensor \"%.200s\"", index, tensor);
        psc_status status = check_shard_name(json_string_value(value), index, error);
        if (!status) status = add_shard(set, json_string_value(value), index, error);
        if (status) return status;
    }
    qsort(set->files, set->n_files, sizeof *set->files, by_file_name);
    return PSC_OK;
}

/* Checks that each tensor of the index is in its shard, and that the shards hold no others. */
static psc_status check_index(
    const psc_tensors *set, json_t *map, const char *index, psc_error *error) {
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value) {
        const psc_tensor *tensor = psc_tensors_find(set, name);
        const char *shard = json_string_value(value);
        if (!tensor)
            return psc_fail(error, PSC_ERROR_INPUT,
                "%s lists tensor \"%.200s\" in %s, which does not contain it", index, name, shard);
        if (strcmp(set->files[tensor->file].name, shard) != 0)
            return psc_fail(error, PSC_ERROR_INPUT,
                "%s lists tensor \"%.200s\" in %s, but it is in %s", index, name, shard,
                set->files[tensor->file].name);
    }
    for (size_t i = 0; i < set->count; i++)
        if (!json_object_get(map, set->items[i].name))
            return psc_fail(error, PSC_ERROR_INPUT,
                "%s contains tensor \"%.200s\", which %s does not list",
                set->files[set->items[i].file].name, set->items[i].name, index);
    return PSC_OK;
}

static psc_status open_shards(
    psc_tensors *set, const char *folder, json_t *root, const char *index, psc_error *error) {
    json_t *map = json_object_get(root, "weight_map");
    psc_status status = list_shards(set, map, index, error);
    for (size_t i = 0; i < set->n_files && !status; i++) {
        char *path = psc_path_join(folder, set->files[i].name);
        if (!path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
        status = psc_tensors_add_file(set, i, path, error);
        free(path);
    }
    if (!status) status = psc_tensors_sort(set, error);
    if (!status) status = check_index(set, map, index, error);
    return status;
}

static psc_status open_index(
    psc_tensors *set, const char *folder, const char *index, psc_error *error) {
    json_error_t parse;
    char *text;
    size_t size;
    psc_status status = psc_read_file(&text, &size, index, INDEX_CAP, error);
    if (status) return status;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &parse);
    free(text);
    if (!root)
        return psc_fail(error, PSC_ERROR_INPUT, "%s is not valid JSON: line %d: %s", index,
            parse.line, parse.text);
    status = open_shards(set, folder, root, index, error);
    json_decref(root);
    return status;
}

static psc_status no_weights(const char *folder, psc_error *error) {
    char *pickle = psc_path_join(folder, "pytorch_model.bin");
    bool has_pickle = pickle && psc_path_exists(pickle);
    free(pickle);
    if (has_pickle)
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "%s has only pytorch_model.bin, which is not supported; save the model as safetensors",
            folder);
    return psc_fail(error, PSC_ERROR_IO,
        "%s has neither model.safetensors nor model.safetensors.index.json", folder);
}

psc_status psc_tensors_open(psc_tensors **out, const char *folder, psc_error *error) {
    char *single = psc_path_join(folder, "model.safetensors");
    char *index = psc_path_join(folder, "model.safetensors.index.json");
    psc_tensors *set = calloc(1, sizeof *set);
    psc_status status;
    *out = NULL;
    if (!single || !index || !set)
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to open %s", folder);
    else if (psc_path_exists(single))
        status = psc_tensors_add_only(set, single, error);
    else if (psc_path_exists(index))
        status = open_index(set, folder, index, error);
    else
        status = no_weights(folder, error);
    free(single);
    free(index);
    if (status)
        psc_tensors_close(&set);
    else
        *out = set;
    return status;
}
