/* One pass over the names in a folder finds what it is; a file is known by its first bytes. */
#include "model_folder.h"

#include "file_kind.h"
#include "files.h"
#include "folder_entries.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_NAMES 100000

/* The first name, in alphabetical order, of each kind; "" for none. */
typedef struct contents {
    size_t n;
    char adapter[256], deepspeed[256], gguf[256], hub[256]; /* hub: models--OWNER--NAME */
    char shard[256];                                        /* model-00001-of-00002.safetensors */
    char weights[256];                                      /* other files of weights */
    char model[256];                                        /* a folder with a config.json */
    char home[256];                                         /* models--OWNER--NAME in hub/ */
} contents;

static void keep_first(char kept[256], const char *name) {
    const size_t n = strlen(name);
    if (n < 256 && (!kept[0] || strcmp(name, kept) < 0)) memcpy(kept, name, n + 1);
}

static bool begins(const char *name, const char *with) {
    return strncmp(name, with, strlen(with)) == 0;
}

static bool is_weights(const char *name) {
    static const char *const suffixes[] = {
        ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (psc_path_ends(name, suffixes[i])) return true;
    return false;
}

static bool has_config(const char *folder, const char *name) {
    char *inner = psc_path_join(folder, name);
    char *config = inner ? psc_path_join(inner, "config.json") : NULL;
    const bool found = config && psc_path_exists(config);
    free(config);
    free(inner);
    return found;
}

/* The first model in folder/hub, where HF_HOME is the folder. */
static void scan_hub(char kept[256], const char *folder) {
    char *path = psc_path_join(folder, "hub");
    DIR *stream = NULL;
    const char *name;
    if (path) psc_entries_open(&stream, path, NULL);
    for (size_t n = 0; stream && n < MOST_NAMES; n++) {
        if (psc_entries_next(&name, stream, path, NULL) != PSC_OK || !name) break;
        if (begins(name, "models--")) keep_first(kept, name);
    }
    if (stream) closedir(stream);
    free(path);
}

static void sort_name(contents *c, const char *folder, const char *name) {
    const bool is_shard = (begins(name, "model-0") && psc_path_ends(name, ".safetensors")) ||
                          (begins(name, "pytorch_model-0") && psc_path_ends(name, ".bin"));
    if (strcmp(name, "adapter_config.json") == 0) keep_first(c->adapter, name);
    if (begins(name, "global_step") || strcmp(name, "zero_to_fp32.py") == 0 ||
        begins(name, "mp_rank_"))
        keep_first(c->deepspeed, name);
    if (psc_path_ends(name, ".gguf")) keep_first(c->gguf, name);
    if (begins(name, "models--")) keep_first(c->hub, name);
    if (strcmp(name, "hub") == 0) scan_hub(c->home, folder);
    if (is_shard) keep_first(c->shard, name);
    if (!is_shard && is_weights(name)) keep_first(c->weights, name);
    if (has_config(folder, name)) keep_first(c->model, name);
}

static psc_status scan(contents *out, const char *folder, psc_error *error) {
    *out = (contents){0};
    DIR *stream;
    psc_status status = psc_entries_open(&stream, folder, error);
    for (const char *name; stream && !status && out->n < MOST_NAMES;) {
        status = psc_entries_next(&name, stream, folder, error);
        if (status || !name) break;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        out->n++;
        sort_name(out, folder, name);
    }
    if (stream) closedir(stream);
    return status;
}

psc_status psc_check_link(const char *path, psc_error *error) {
    struct stat info;
    char target[1024];
    if (lstat(path, &info) != 0 || !S_ISLNK(info.st_mode) || psc_path_exists(path)) return PSC_OK;
    const ssize_t n = readlink(path, target, sizeof target - 1);
    target[n > 0 ? n : 0] = 0;
    return psc_fail(error, PSC_ERROR_IO,
        "%s is a link to %s, which does not exist; download the file again", path, target);
}

/* A file in place of a folder. */
static psc_status refuse_file(const char *path, psc_error *error) {
    psc_mapping map;
    psc_status status = psc_map_file(&map, path, error);
    if (status) return status;
    const psc_file_kind kind = psc_file_kind_of(map.data, map.size);
    psc_unmap_file(&map);
    status = psc_file_kind_refuse(kind, path, error);
    if (status) return status;
    if (kind != PSC_FILE_OTHER || is_weights(path))
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s is a file of weights; pass the folder that has it together with config.json", path);
    return psc_fail(error, PSC_ERROR_INPUT,
        "%s is a file, not a model folder; pass the folder that has config.json and the weights",
        path);
}

/* What is no model in any case, with or without a config.json. */
static psc_status refuse_other(const contents *c, const char *folder, psc_error *error) {
    if (c->adapter[0])
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "%s is a PEFT adapter, not a whole model; merge it into its base model with "
            "merge_and_unload() and pass the folder that save_pretrained() writes",
            folder);
    if (c->deepspeed[0])
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "%s is a training checkpoint of DeepSpeed (%s); convert it with its zero_to_fp32.py and "
            "pass the folder that save_pretrained() writes",
            folder, c->deepspeed);
    if (c->gguf[0])
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "%s has only %s, a GGUF file, which is not read; pass the Hugging Face folder that it was "
            "made from",
            folder, c->gguf);
    return PSC_OK;
}

/* models--OWNER--NAME: OWNER/NAME, in place. */
static const char *hub_name(char *folder) {
    char *name = folder + strlen("models--"), *dashes = strstr(name, "--");
    if (!dashes) return name;
    *dashes = '/';
    memmove(dashes + 1, dashes + 2, strlen(dashes + 2) + 1);
    return name;
}

static psc_status refuse_folder(contents *c, const char *folder, psc_error *error) {
    if (c->n == 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s is empty; pass a folder with config.json, weights and tokenizer.json", folder);
    psc_status status = refuse_other(c, folder, error);
    if (status) return status;
    if (c->hub[0])
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s is a Hugging Face cache, not a model; pass a model's name, for example %s", folder,
            hub_name(c->hub));
    if (c->home[0])
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s is the folder of a Hugging Face cache (HF_HOME), not a model; pass a model's name, "
            "for example %s",
            folder, hub_name(c->home));
    if (c->model[0])
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s has no config.json, but its folder %s has; pass %s/%s", folder, c->model, folder,
            c->model);
    if (c->shard[0] || c->weights[0])
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s has %s but no config.json; download the model's config.json into it", folder,
            c->shard[0] ? c->shard : c->weights);
    return psc_fail(error, PSC_ERROR_INPUT,
        "%s is not a model folder: it has no config.json; pass a folder with config.json, weights "
        "and tokenizer.json",
        folder);
}

psc_status psc_folder_check(const char *folder, psc_error *error) {
    struct stat info;
    contents c;
    if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode)) return refuse_file(folder, error);
    char *config = psc_path_join(folder, "config.json");
    if (!config) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
    psc_status status = psc_check_link(config, error);
    const bool found = psc_path_exists(config);
    free(config);
    if (status || found) return status;
    status = scan(&c, folder, error);
    return status ? status : refuse_folder(&c, folder, error);
}

psc_status psc_folder_without_weights(const char *folder, psc_error *error) {
    contents c;
    psc_status status = scan(&c, folder, error);
    if (!status) status = refuse_other(&c, folder, error);
    if (status) return status;
    if (c.shard[0])
        return psc_fail(error, PSC_ERROR_IO,
            "%s has %s but no index of its shards; download the file that ends in .index.json",
            folder, c.shard);
    if (c.weights[0])
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "%s has %s, but only model.safetensors, pytorch_model.bin and their shards are read; "
            "save the model with save_pretrained()",
            folder, c.weights);
    return psc_fail(error, PSC_ERROR_IO,
        "%s has no weights: neither model.safetensors nor pytorch_model.bin, nor an index of shards; "
        "download them",
        folder);
}
