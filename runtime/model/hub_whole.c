/* Whether a snapshot of the Hugging Face cache has all that a model needs: a download that ended
 * early leaves a folder without some files, or links to blobs that are not there. */
#include "hub_cache.h"

#include "files.h"
#include "json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INDEX_CAP ((size_t)16 << 20)

enum { PATH = 4352 };

/* Whether folder has an entry of this name, perhaps a link to nothing. */
static bool is_named(const char *folder, const char *name) {
    char path[PATH];
    struct stat info;
    return psc_hub_print(path, sizeof path, "%s/%s", folder, name) && lstat(path, &info) == 0;
}

static bool is_there(const char *folder, const char *name) {
    char path[PATH];
    return psc_hub_print(path, sizeof path, "%s/%s", folder, name) && psc_path_exists(path);
}

/* The first shard of an index that folder lacks, in out; false if there is none. An index that
 * cannot be read is left to the loader, which says why. */
static bool lacks_shard(char *out, size_t size, const char *folder, const char *index) {
    char path[PATH], *text = NULL;
    size_t n;
    const char *tensor;
    json_t *shard;
    bool lacks = false;
    const bool read = psc_hub_print(path, sizeof path, "%s/%s", folder, index) &&
                      psc_read_file(&text, &n, path, INDEX_CAP, NULL) == PSC_OK;
    json_t *root = read ? psc_json_load(text, n, 0, NULL) : NULL;
    json_object_foreach(json_object_get(root, "weight_map"), tensor, shard) {
        const char *name = json_string_value(shard);
        lacks = name && !strchr(name, '/') && !is_there(folder, name);
        if (lacks) psc_hub_print(out, size, "%.200s", name);
        if (lacks) break;
    }
    json_decref(root);
    free(text);
    return lacks;
}

/* The first file that a model needs and folder lacks, in out; false if it is whole. */
static bool lacks_file(char *out, size_t size, const char *folder) {
    static const struct {
        const char *name;
        bool is_index;
    } weights[] = {{"model.safetensors", false}, {"model.safetensors.index.json", true},
        {"pytorch_model.bin", false}, {"pytorch_model.bin.index.json", true}};
    psc_hub_print(out, size, "config.json");
    if (!is_there(folder, out)) return true;
    psc_hub_print(out, size, "tokenizer.json");
    if (is_named(folder, out) && !is_there(folder, out)) return true;
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++) {
        if (!is_named(folder, weights[i].name)) continue;
        psc_hub_print(out, size, "%s", weights[i].name);
        return !is_there(folder, out) ||
               (weights[i].is_index && lacks_shard(out, size, folder, weights[i].name));
    }
    psc_hub_print(out, size, "the file of weights");
    return true;
}

psc_status psc_hub_check_whole(const psc_model_place *place, psc_error *error) {
    char missing[256];
    const char *revision = place->revision;
    const bool main = !*revision || strcmp(revision, "main") == 0;
    if (!lacks_file(missing, sizeof missing, place->folder)) return PSC_OK;
    return psc_fail(error, PSC_ERROR_IO,
        "%s is only partly on this machine: %s is missing in %.400s; to complete it: pythiascope "
        "pull %s%s%s",
        place->name, missing, place->folder, place->repository, main ? "" : "@",
        main ? "" : revision);
}
