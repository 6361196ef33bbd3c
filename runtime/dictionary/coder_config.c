/* Which layout a path has, and its cfg.json. */
#include "coder_config.h"

#include "coder_reader.h"
#include "files.h"
#include "folder_entries.h"
#include "json.h"
#include "jsonl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CONFIG_CAP ((size_t)1 << 20)
enum { MOST_WIDTH = 1 << 20, MOST_LATENTS = 1 << 24 };

/* --- values of cfg.json ---------------------------------------------------------------------- */

psc_status psc_coder_boolean(
    const psc_config_reader *r, json_t *object, const char *key, bool *out) {
    json_t *value = psc_config_get(object, key);
    if (value && !json_is_boolean(value))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s must be true or false", r->path, key);
    if (value) *out = json_is_true(value);
    return PSC_OK;
}

psc_status psc_coder_count(const psc_config_reader *r, json_t *object, const char *key,
    int32_t least, int32_t most, int32_t *out) {
    json_t *value = psc_config_get(object, key);
    psc_config_value n = {NULL, 0};
    psc_status status = psc_config_number(r, object, key, key, &n);
    if (status || !n.key) return status;
    /* A number that JSON has not, such as NaN, is read as the real number 0.0 (jsonl.h). */
    if (json_is_real(value) && n.value == 0)
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s must be a whole number from %d to %d",
            r->path, key, (int)least, (int)most);
    if (!(n.value >= least && n.value <= most) || n.value != (double)(int32_t)n.value)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: %s is %g; it must be a whole number from %d to %d", r->path, key, n.value,
            (int)least, (int)most);
    *out = (int32_t)n.value;
    return PSC_OK;
}

psc_status psc_coder_text(
    const psc_config_reader *r, json_t *object, const char *key, char out[PSC_CODER_TEXT]) {
    const char *text = NULL;
    psc_status status = psc_config_string(r, object, key, &text);
    if (status || !text) return status;
    if (strlen(text) >= PSC_CODER_TEXT)
        return psc_fail(
            r->error, PSC_ERROR_INPUT, "%s: %s is longer than a name can be", r->path, key);
    snprintf(out, PSC_CODER_TEXT, "%s", text);
    return PSC_OK;
}

psc_status psc_coder_sizes(
    psc_coder_config *c, const psc_config_reader *r, const char *latents, int32_t least) {
    psc_status status = psc_coder_count(r, r->root, "d_in", 1, MOST_WIDTH, &c->d_in);
    if (!status) status = psc_coder_count(r, r->root, "d_out", 1, MOST_WIDTH, &c->d_out);
    return status ? status
                  : psc_coder_count(r, r->root, latents, least, MOST_LATENTS, &c->n_latents);
}

static psc_status read_config(psc_coder_config *c, const char *point,
    psc_status (*read)(psc_coder_config *, const psc_config_reader *, const char *, bool),
    bool parallel, psc_error *error) {
    json_error_t why;
    char *text = NULL;
    size_t size = 0;
    psc_config_reader r = {c->said, NULL, error};
    psc_status status = psc_read_file(&text, &size, c->said, CONFIG_CAP, error);
    if (status) return status;
    r.root = psc_json_line(text, size, JSON_REJECT_DUPLICATES, &why); /* Python writes NaN */
    free(text);
    if (!r.root && psc_json_no_memory(&why))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to read %s", c->said);
    if (!r.root)
        return psc_fail(error, PSC_ERROR_INPUT, "%s is not valid JSON: line %d: %s", c->said,
            why.line, why.text);
    if (!json_is_object(r.root))
        status = psc_fail(error, PSC_ERROR_INPUT, "%s is not a JSON object", c->said);
    if (!status) status = read(c, &r, point, parallel);
    json_decref(r.root);
    return status;
}

/* --- which layout ---------------------------------------------------------------------------- */

static bool is_folder(const char *path) {
    struct stat facts;
    return stat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
}

static psc_status join(
    char out[PSC_CODER_PATH], const char *folder, const char *name, psc_error *error) {
    const int n = snprintf(out, PSC_CODER_PATH, "%s/%s", folder, name);
    if (n > 0 && n < PSC_CODER_PATH) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT, "the path %.200s... is too long", folder);
}

/* The lowest name of a folder inside that has a cfg.json; "" without one. */
static psc_status find_inside(char out[PSC_CODER_TEXT], const char *folder, psc_error *error) {
    DIR *entries = NULL;
    const char *name = NULL;
    char path[PSC_CODER_PATH];
    out[0] = 0;
    psc_status status = psc_entries_open(&entries, folder, error);
    while (!status && entries) {
        status = psc_entries_next(&name, entries, folder, error);
        if (status || !name) break;
        const int n = snprintf(path, sizeof path, "%s/%s/cfg.json", folder, name);
        if (name[0] == '.' || n < 0 || n >= (int)sizeof path || strlen(name) >= PSC_CODER_TEXT)
            continue;
        if (psc_path_exists(path) && (!out[0] || strcmp(name, out) < 0))
            snprintf(out, PSC_CODER_TEXT, "%s", name);
    }
    if (entries) closedir(entries);
    return status;
}

static psc_status refuse_folder(const char *path, psc_error *error) {
    char inside[PSC_CODER_TEXT];
    psc_status status = find_inside(inside, path, error);
    if (status) return status;
    if (inside[0])
        return psc_fail(error, PSC_ERROR_INPUT,
            "%.300s holds dictionaries of several hook points; name the folder of one, such as "
            "%.300s/%s",
            path, path, inside);
    return psc_fail(error, PSC_ERROR_INPUT,
        "%.300s has no dictionary: neither cfg.json with sae_weights.safetensors (SAELens) nor "
        "cfg.json with sae.safetensors (sparsify)%s",
        path, "; tools/convert_dictionary_learning.py converts an ae.pt");
}

psc_status psc_coder_config_read(
    psc_coder_config *out, const char *path, const char *point, bool parallel, psc_error *error) {
    *out = (psc_coder_config){.in = {PSC_POINT_COUNT, -1, false}};
    if (!psc_path_exists(path))
        return psc_fail(
            error, PSC_ERROR_INPUT, "there is no %.300s; name the folder of a dictionary", path);
    if (!is_folder(path)) {
        if (strlen(path) >= PSC_CODER_PATH)
            return psc_fail(error, PSC_ERROR_INPUT, "the path %.200s... is too long", path);
        snprintf(out->weights, sizeof out->weights, "%s", path);
        snprintf(out->said, sizeof out->said, "%s", path);
        return psc_coder_read_file(out, point, parallel, error);
    }
    psc_status status = join(out->said, path, "cfg.json", error);
    if (!status) status = join(out->weights, path, "sae_weights.safetensors", error);
    if (!status && psc_path_exists(out->weights) && psc_path_exists(out->said))
        return read_config(out, point, psc_coder_read_saelens, parallel, error);
    out->layout = PSC_CODER_SPARSIFY;
    if (!status) status = join(out->weights, path, "sae.safetensors", error);
    if (!status && psc_path_exists(out->weights) && psc_path_exists(out->said))
        return read_config(out, point, psc_coder_read_sparsify, parallel, error);
    return status ? status : refuse_folder(path, error);
}
