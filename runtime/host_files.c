/* Folders of parameters for plugins: config.json beside params.safetensors.
 *
 *   load   one setting a call, nothing is kept open; tensors are read by host_tensor.c
 *   save   header padded to a multiple of 8, then the tensors as f32; the folder appears whole */
#include "files.h"
#include "host.h"

#include <stdlib.h>
#include <string.h>

#define CONFIG "config.json"
#define PARAMETERS "params.safetensors"
#define CONFIG_CAP ((size_t)1 << 20)

static int no_memory(psc_context *context, const char *folder) {
    return psc_host_fail(context, PSC_ERROR_MEMORY, "not enough memory for %s", folder);
}

/* --- settings -------------------------------------------------------------------------------- */

static psc_status read_config(json_t **out, const char *path, psc_error *error) {
    char *text = NULL;
    size_t size = 0;
    json_error_t parse;
    psc_status status = psc_read_file(&text, &size, path, CONFIG_CAP, error);
    if (status) return status;
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, &parse);
    free(text);
    if (!*out)
        return psc_fail(error, PSC_ERROR_INPUT, "%s is not valid JSON: %s (line %d)", path,
            parse.text, parse.line);
    if (json_is_object(*out)) return PSC_OK;
    json_decref(*out);
    *out = NULL;
    return psc_fail(error, PSC_ERROR_INPUT, "%s is not a JSON object", path);
}

static int take_setting(psc_context *context, const char *path, json_t *value, psc_setting *out) {
    if (json_is_string(value)) {
        const size_t bytes = json_string_length(value) + 1;
        char *copy = psc_arena_alloc(&context->life_arena, bytes);
        if (!copy) return no_memory(context, path), -1;
        memcpy(copy, json_string_value(value), bytes);
        out->kind = PSC_SETTING_TEXT;
        out->text = copy;
        return 1;
    }
    out->kind = json_is_boolean(value) ? PSC_SETTING_BOOLEAN : PSC_SETTING_NUMBER;
    out->number = json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
    if (json_is_boolean(value) || json_is_number(value)) return 1;
    if (json_is_null(value)) return 0;
    psc_host_fail(
        context, PSC_ERROR_INPUT, "%s: \"%.60s\" is neither a text nor a number", path, out->key);
    return -1;
}

int psc_host_load_setting(
    psc_context *context, const char *folder, const char *key, psc_setting *out) {
    psc_error error = {PSC_OK, ""};
    json_t *config = NULL;
    int found = -1;
    if (!psc_host_on_its_thread(context, "load_setting")) return -1;
    *out = (psc_setting){.key = key};
    char *path = psc_path_join(folder, CONFIG);
    if (!path) return no_memory(context, folder), -1;
    if (read_config(&config, path, &error))
        psc_host_pass(context, &error);
    else {
        json_t *value = json_object_get(config, key);
        found = value ? take_setting(context, path, value, out) : 0;
    }
    json_decref(config);
    free(path);
    return found;
}

/* --- saving ---------------------------------------------------------------------------------- */

static json_t *setting_value(const psc_setting *setting) {
    if (setting->kind == PSC_SETTING_TEXT)
        return psc_result_text(setting->text, strlen(setting->text));
    if (setting->kind == PSC_SETTING_BOOLEAN) return json_boolean(setting->number != 0.0);
    const bool whole = setting->number > -0x1p53 && setting->number < 0x1p53 &&
                       setting->number == (double)(int64_t)setting->number;
    return whole ? json_integer((json_int_t)setting->number) : psc_result_number(setting->number);
}

static char *config_text(int32_t n, const psc_setting *settings) {
    json_t *object = json_object();
    bool complete = object != NULL;
    for (int32_t i = 0; complete && i < n; i++)
        complete = json_object_set_new(object, settings[i].key, setting_value(&settings[i])) == 0;
    char *text = complete ? json_dumps(object, JSON_INDENT(2)) : NULL;
    json_decref(object);
    return text;
}

static uint64_t tensor_bytes(const psc_named_tensor *tensor) {
    uint64_t bytes = sizeof(float);
    for (int32_t i = 0; i < tensor->n_axes; i++) bytes *= (uint64_t)tensor->shape[i];
    return bytes;
}

/* The header, padded with spaces to a multiple of 8. */
static char *header_text(int32_t n, const psc_named_tensor *tensors) {
    json_t *header = json_object();
    bool complete = header != NULL;
    uint64_t offset = 0;
    for (int32_t t = 0; complete && t < n; t++) {
        json_t *shape = json_array();
        for (int32_t i = 0; i < tensors[t].n_axes; i++)
            if (json_array_append_new(shape, json_integer(tensors[t].shape[i])) != 0)
                complete = false;
        const uint64_t end = offset + tensor_bytes(&tensors[t]);
        json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape,
            "data_offsets", (json_int_t)offset, (json_int_t)end);
        if (json_object_set_new(header, tensors[t].name, entry) != 0) complete = false;
        offset = end;
    }
    char *text = complete ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    const size_t length = text ? strlen(text) : 0, padded = (length + 7) / 8 * 8;
    char *wide = text ? realloc(text, padded + 1) : NULL;
    if (!wide) {
        free(text);
        return NULL;
    }
    memset(wide + length, ' ', padded - length);
    wide[padded] = 0;
    return wide;
}

static psc_status write_parameters(psc_output *output, const char *header, int32_t n,
    const psc_named_tensor *tensors, psc_error *error) {
    FILE *file = NULL;
    unsigned char size[8];
    const size_t length = strlen(header);
    psc_status status = psc_output_open(&file, output, PARAMETERS, error);
    if (status) return status;
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)((uint64_t)length >> (8 * i));
    fwrite(size, 1, sizeof size, file);
    fwrite(header, 1, length, file);
    for (int32_t t = 0; t < n; t++)
        fwrite(tensors[t].data, 1, (size_t)tensor_bytes(&tensors[t]), file);
    return psc_output_close(&file, output, PARAMETERS, error); /* tells of earlier failures too */
}

int psc_host_save_folder(psc_context *context, const char *folder, int32_t n_settings,
    const psc_setting *settings, int32_t n_tensors, const psc_named_tensor *tensors) {
    psc_error error = {PSC_OK, ""};
    psc_output *output = NULL;
    if (!psc_host_on_its_thread(context, "save_folder")) return PSC_ERROR_STATE;
    char *config = config_text(n_settings, settings), *header = header_text(n_tensors, tensors);
    psc_status status = PSC_OK;
    if (!config || !header)
        status = psc_fail(&error, PSC_ERROR_MEMORY, "not enough memory to write %s", folder);
    if (!status) status = psc_output_begin(&output, folder, &error);
    const bool writes = n_tensors > 0;
    if (!status && writes)
        status = psc_output_write(output, CONFIG, config, strlen(config), &error);
    if (!status && writes) status = write_parameters(output, header, n_tensors, tensors, &error);
    if (!status && writes) status = psc_output_commit(&output, &error);
    psc_output_abort(&output);
    free(config);
    free(header);
    if (status) psc_host_pass(context, &error);
    return status;
}
