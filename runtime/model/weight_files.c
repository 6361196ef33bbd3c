/* The tensors of a folder: model.safetensors, else pytorch_model.bin, or the shards of an index
 *   {"metadata": {..}, "weight_map": {"tensor name": "shard file name", ..}}
 * What an index lists must be there. A tensor that it does not list stays: the model may need it.
 * Old checkpoints hold buffers (attention.bias, masked_bias, inv_freq) that later indexes omit. */
#include "weight_files.h"

#include "file_kind.h"
#include "json.h"
#include "model_folder.h"
#include "safetensors_file.h"
#include "torch_file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_CAP ((size_t)16 << 20)
#define SHARD_CAP 256

static const struct form {
    const char *name;
    psc_tensors_adder add;
    bool is_index;
} forms[] = {{"model.safetensors", psc_tensors_add_file, false},
    {"model.safetensors.index.json", psc_tensors_add_file, true},
    {"pytorch_model.bin", psc_torch_add_file, false},
    {"pytorch_model.bin.index.json", psc_torch_add_file, true}};

/* An index during reading; path is for messages. */
typedef struct index_reader {
    const char *folder, *path;
    json_t *map;
    psc_tensors_adder add; /* for shards without a known suffix */
    psc_error *error;
} index_reader;

static int by_file_name(const void *a, const void *b) {
    return strcmp(((const psc_tensor_file *)a)->name, ((const psc_tensor_file *)b)->name);
}

/* A shard's name must not lead out of the folder. */
static psc_status check_shard_name(const char *name, const index_reader *r) {
    bool plain = *name && !strchr(name, '/') && !strchr(name, '\\') && strcmp(name, ".") != 0 &&
                 strcmp(name, "..") != 0;
    if (plain) return PSC_OK;
    return psc_fail(r->error, PSC_ERROR_INPUT,
        "%s: weight_map names \"%.200s\", which is not a plain file name", r->path, name);
}

static psc_status add_shard(psc_tensors *set, const char *name, const index_reader *r) {
    psc_tensor_file key = {.name = (char *)name};
    for (size_t i = 0; i < set->n_files; i++)
        if (by_file_name(&key, &set->files[i]) == 0) return PSC_OK;
    if (set->n_files == SHARD_CAP)
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: weight_map names more than %d files",
            r->path, SHARD_CAP);
    char *copy = strdup(name);
    if (!copy) return psc_fail(r->error, PSC_ERROR_MEMORY, "not enough memory for a shard's name");
    set->files[set->n_files++] = (psc_tensor_file){.name = copy};
    return PSC_OK;
}

/* weight_map -> set->files: each name once, sorted for a fixed loading order. */
static psc_status list_shards(psc_tensors *set, const index_reader *r) {
    const char *tensor;
    json_t *value;
    if (!json_is_object(r->map) || json_object_size(r->map) == 0)
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s has no weight_map", r->path);
    set->files = calloc(SHARD_CAP, sizeof *set->files);
    if (!set->files)
        return psc_fail(r->error, PSC_ERROR_MEMORY, "not enough memory for the shards");
    json_object_foreach(r->map, tensor, value) {
        if (!json_is_string(value))
            return psc_fail(r->error, PSC_ERROR_INPUT,
                "%s: weight_map does not name a file for tensor \"%.200s\"", r->path, tensor);
        psc_status status = check_shard_name(json_string_value(value), r);
        if (!status) status = add_shard(set, json_string_value(value), r);
        if (status) return status;
    }
    qsort(set->files, set->n_files, sizeof *set->files, by_file_name);
    return PSC_OK;
}

/* Of tensors with the same name, keeps the one in the shard that the index names. If the index does
 * not list them, none can be used. */
static void keep_listed(psc_tensors *set, const index_reader *r) {
    size_t kept = 0;
    for (size_t i = 0, n; i < set->count; i += n) {
        psc_tensor *same = &set->items[i];
        const char *shard = json_string_value(json_object_get(r->map, same->name));
        size_t chosen = 0;
        for (n = 1; i + n < set->count && strcmp(same[n].name, same->name) == 0; n++)
            if (shard && strcmp(set->files[same[n].file].name, shard) == 0) chosen = n;
        if (n > 1 && !shard) {
            same->flaw = "is in several shards, and the index does not list it";
            same->data = NULL;
        }
        for (size_t j = 0; j < n; j++)
            if (j != chosen) free(same[j].name);
        set->items[kept++] = same[chosen];
    }
    set->count = kept;
}

/* Each tensor of the index must be in its shard. */
static psc_status check_index(const psc_tensors *set, const index_reader *r) {
    const char *name;
    json_t *value;
    json_object_foreach(r->map, name, value) {
        const psc_tensor *tensor = psc_tensors_find(set, name);
        const char *shard = json_string_value(value);
        if (!tensor)
            return psc_fail(r->error, PSC_ERROR_INPUT,
                "%s lists tensor \"%.200s\" in %s, which does not contain it", r->path, name,
                shard);
        if (strcmp(set->files[tensor->file].name, shard) != 0)
            return psc_fail(r->error, PSC_ERROR_INPUT,
                "%s lists tensor \"%.200s\" in %s, but it is in %s", r->path, name, shard,
                set->files[tensor->file].name);
    }
    return PSC_OK;
}

static psc_status open_shard(psc_tensors *set, size_t i, const index_reader *r) {
    const char *name = set->files[i].name;
    psc_tensors_adder add = r->add;
    if (psc_path_ends(name, ".safetensors")) add = psc_tensors_add_file;
    if (psc_path_ends(name, ".bin")) add = psc_torch_add_file;
    char *path = psc_path_join(r->folder, name);
    if (!path) return psc_fail(r->error, PSC_ERROR_MEMORY, "not enough memory for a path");
    psc_status status = psc_check_link(path, r->error);
    if (!status && !psc_path_exists(path))
        status = psc_fail(r->error, PSC_ERROR_IO,
            "%s lists %s, which is not in its folder; download it", r->path, name);
    if (!status) status = add(set, i, path, r->error);
    free(path);
    return status;
}

static psc_status open_shards(psc_tensors *set, const index_reader *r) {
    psc_status status = list_shards(set, r);
    for (size_t i = 0; i < set->n_files && !status; i++) {
        const size_t first = set->count;
        status = open_shard(set, i, r);
        if (status) return status;
        if (set->count == first) continue; /* perhaps there are no items yet */
        psc_tensors part = {.items = set->items + first,
            .count = set->count - first,
            .files = set->files,
            .n_files = set->n_files};
        psc_tensors_sort(&part);
        status = psc_tensors_check_names(&part, r->error);
    }
    if (status) return status;
    psc_tensors_sort(set);
    keep_listed(set, r);
    return check_index(set, r);
}

static psc_status open_index(psc_tensors *set, const char *folder, const char *path,
    psc_tensors_adder add, psc_error *error) {
    json_error_t parse;
    char *text;
    size_t size;
    psc_status status = psc_read_file(&text, &size, path, INDEX_CAP, error);
    if (status) return status;
    json_t *root = psc_json_load(text, size, JSON_REJECT_DUPLICATES, &parse);
    if (root) {
        const index_reader r = {folder, path, json_object_get(root, "weight_map"), add, error};
        status = open_shards(set, &r);
    } else if (psc_json_no_memory(&parse)) {
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to read %s", path);
    } else {
        status =
            psc_file_kind_refuse(psc_file_kind_of((const unsigned char *)text, size), path, error);
        if (!status)
            status = psc_fail(error, PSC_ERROR_INPUT, "%s is not valid JSON: line %d: %s", path,
                parse.line, parse.text);
    }
    free(text);
    json_decref(root);
    return status;
}

/* Opens the file of that form, if the folder has it. */
static psc_status open_form(
    psc_tensors *set, bool *found, const char *folder, const struct form *form, psc_error *error) {
    char *path = psc_path_join(folder, form->name);
    if (!path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to open %s", folder);
    psc_status status = psc_check_link(path, error);
    *found = !status && psc_path_exists(path);
    if (*found && form->is_index)
        status = open_index(set, folder, path, form->add, error);
    else if (*found)
        status = psc_tensors_add_only(set, path, form->add, error);
    free(path);
    return status;
}

psc_status psc_tensors_open(psc_tensors **out, const char *folder, psc_error *error) {
    psc_tensors *set = calloc(1, sizeof *set);
    bool found = false;
    *out = NULL;
    if (!set) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to open %s", folder);
    psc_status status = PSC_OK;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0] && !found && !status; i++)
        status = open_form(set, &found, folder, &forms[i], error);
    if (!status && !found) status = psc_folder_without_weights(folder, error);
    if (status)
        psc_tensors_close(&set);
    else
        *out = set;
    return status;
}
