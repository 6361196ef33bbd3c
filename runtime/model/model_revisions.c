/* The revisions of a model on this machine: refs of the Hugging Face cache whose snapshots are
 * there, or the subfolders step0, step1, ... of a folder. */
#include "hub_cache.h"

#include "files.h"
#include "folder_entries.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_REVISIONS = 65536 };

typedef struct list {
    char **items;
    int32_t n, room;
} list;

static psc_status add(list *l, const char *name, psc_error *error) {
    if (l->n == MOST_REVISIONS)
        return psc_fail(error, PSC_ERROR_INPUT, "the model has more than %d revisions", l->n);
    if (l->n == l->room) {
        const int32_t room = l->room > 0 ? 2 * l->room : 64;
        char **items = realloc(l->items, (size_t)room * sizeof *items);
        if (!items) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for revisions");
        l->items = items;
        l->room = room;
    }
    l->items[l->n] = strdup(name);
    if (!l->items[l->n])
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for revisions");
    l->n++;
    return PSC_OK;
}

static bool has_file(const char *folder, const char *name, const char *file) {
    char path[4352];
    return psc_hub_print(path, sizeof path, "%s/%s/%s", folder, name, file) &&
           psc_path_exists(path);
}

static psc_status add_refs(list *l, const char *root, psc_error *error) {
    psc_hub_refs refs;
    char path[4352];
    psc_status status = psc_hub_refs_read(&refs, root, error);
    for (int32_t i = 0; !status && i < refs.n; i++)
        if (psc_hub_print(path, sizeof path, "%s/snapshots/%s", root, refs.items[i].commit) &&
            psc_path_exists(path))
            status = add(l, refs.items[i].name, error);
    psc_hub_refs_close(&refs);
    return status;
}

static int by_step(const void *a, const void *b) {
    return psc_hub_compare_revisions(*(char *const *)a, *(char *const *)b);
}

static psc_status add_steps(list *l, const char *folder, psc_error *error) {
    DIR *dir;
    psc_status status = psc_entries_open(&dir, folder, error);
    for (const char *name; dir && !status;) {
        status = psc_entries_next(&name, dir, folder, error);
        if (status || !name) break;
        if (strncmp(name, "step", 4) == 0 && name[4] &&
            strspn(name + 4, "0123456789") == strlen(name + 4) &&
            has_file(folder, name, "config.json"))
            status = add(l, name, error);
    }
    if (dir) closedir(dir);
    if (l->n > 0) qsort(l->items, (size_t)l->n, sizeof *l->items, by_step);
    return status;
}

/* A folder that exists wins over a name, as in psc_model_find. */
static psc_status collect(list *l, const char *model, psc_error *error) {
    psc_model_place place = PSC_MODEL_PLACE_INIT;
    struct stat info;
    char path[4096];
    const char *at = stat(model, &info) == 0 ? NULL : strrchr(model, '@');
    size_t n = at ? (size_t)(at - model) : strlen(model);
    if (!psc_hub_print(path, sizeof path, "%.*s", (int)n, model))
        return psc_fail(error, PSC_ERROR_INPUT, "the model's name '%.200s' is too long", model);
    while (n > 1 && path[n - 1] == '/') path[--n] = 0;
    if (n > 0 && stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        const bool is_root =
            psc_hub_repository_of(place.repository, sizeof place.repository, path) &&
            psc_hub_is_root(path);
        psc_status status = is_root ? add_refs(l, path, error) : add_steps(l, path, error);
        if (status || l->n > 0) return status;
    }
    if (psc_model_read_name(&place, path, NULL) == PSC_OK) {
        psc_status status = add_refs(l, place.folder, error);
        if (status || l->n > 0) return status;
        return psc_fail(error, PSC_ERROR_IO,
            "no revision of %s is on this machine; to download its training steps: pythiascope "
            "pull %s@all-steps",
            place.repository, place.repository);
    }
    if (psc_path_exists(path))
        return psc_fail(
            error, PSC_ERROR_IO, "%s has no folders step0, step1, ... with a config.json", path);
    psc_status status = psc_hub_refuse_url(path, error);
    if (status) return status;
    return psc_fail(error, PSC_ERROR_IO, "model folder %s does not exist", path);
}

psc_status psc_model_revisions(char ***out, int32_t *n, const char *model, psc_error *error) {
    list l = {NULL, 0, 0};
    *out = NULL;
    *n = 0;
    const psc_status status = collect(&l, model, error);
    if (status) {
        psc_model_revisions_free(l.items, l.n);
        return status;
    }
    *out = l.items;
    *n = l.n;
    return PSC_OK;
}

void psc_model_revisions_free(char **revisions, int32_t n) {
    for (int32_t i = 0; revisions && i < n; i++) free(revisions[i]);
    free(revisions);
}
