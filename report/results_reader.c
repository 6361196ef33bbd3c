/* Reads a folder that psc_results_write_folder wrote, as untrusted input: results.json, then the
 * elements of its arrays from tensors.safetensors. Memory is bounded by the two files' sizes. */
#include "results_reader.h"

#include <stdlib.h>

#include "files.h"
#include "json.h"

#define JSON_CAP ((size_t)256 << 20)

static psc_status read_document(
    psc_results *results, const psc_json_at *document, const char *tensors) {
    psc_json_at plugins;
    const char *name;
    json_t *section;
    psc_status status = psc_read_head(results, document);
    if (status == PSC_OK) status = psc_json_enter(&plugins, document, "plugins");
    if (status != PSC_OK) return status;
    if (json_object_size(plugins.object) > MOST_SECTIONS)
        return psc_json_bad(document, "plugins", "has too many entries");
    json_object_foreach(plugins.object, name, section) {
        status = psc_read_section(results, &plugins, name);
        if (status != PSC_OK) return status;
    }
    return psc_read_arrays(results, document, tensors);
}

static psc_status read_files(
    psc_results *results, const char *path, const char *tensors, psc_error *error) {
    char *text;
    size_t size;
    json_error_t why;
    psc_status status = psc_read_file(&text, &size, path, JSON_CAP, error);
    if (status != PSC_OK) return status;
    json_t *root = psc_json_load(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    free(text);
    psc_json_at document = {path, root, error, ""};
    if (!root && psc_json_no_memory(&why)) return psc_json_no_room(&document);
    if (!root)
        return psc_fail(error, PSC_ERROR_INPUT, "%.400s is not valid JSON: line %d: %.200s", path,
            why.line, why.text);
    status = json_is_object(root) && json_object_get(root, "pythiascope")
                 ? read_document(results, &document, tensors)
                 : psc_fail(error, PSC_ERROR_INPUT,
                       "%.400s is not a results.json of pythiascope; name a folder that --out made",
                       path);
    json_decref(root);
    return status;
}

psc_status psc_results_read_folder(psc_results **out, const char *folder, psc_error *error) {
    psc_error own = {PSC_OK, ""};
    psc_results *results = NULL;
    *out = NULL;
    if (!error) error = &own;
    char *path = psc_path_join(folder, "results.json");
    char *tensors = psc_path_join(folder, "tensors.safetensors");
    psc_status status = psc_results_open(&results, error);
    if (status == PSC_OK && path && tensors)
        status = read_files(results, path, tensors, error);
    else if (status == PSC_OK)
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to read %.400s", folder);
    free(path);
    free(tensors);
    if (status != PSC_OK) psc_results_close(&results);
    *out = results;
    return status;
}
