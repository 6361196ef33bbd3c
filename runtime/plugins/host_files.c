/* Files of plugins: one file, or a folder of parameters, config.json beside params.safetensors.
 *
 *   file   psc_write_file; the check before a run asks for the right to write beside it
 *   load   one setting per call, with no open file between calls; host_tensor.c reads tensors
 *   save   tensors_file.c writes the tensors as f32; the folder appears whole or not at all */
#define _DEFAULT_SOURCE /* realpath */
#include "files.h"
#include "host.h"
#include "json.h"
#include "json_text.h"
#include "memory_stream.h"
#include "tensors_file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    *out = psc_json_load(text, size, JSON_REJECT_DUPLICATES, &parse);
    free(text);
    if (!*out && psc_json_no_memory(&parse))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to read %s", path);
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
    psc_host_fail(context, PSC_ERROR_INPUT, "%s: \"%.60s\" is not a string, a number or a boolean",
        path, out->key);
    return -1;
}

int psc_host_load_setting(
    psc_context *context, const char *folder, const char *key, psc_setting *out) {
    psc_error error = {PSC_OK, ""};
    json_t *config = NULL;
    int found = -1;
    if (!psc_host_may(&context, "load_setting", PSC_IN_ANY)) return -1;
    if (!psc_host_given(context, "load_setting", "a folder", folder) ||
        !psc_host_given(context, "load_setting", "a key", key) ||
        !psc_host_given(context, "load_setting", "out", out))
        return -1;
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

/* What is wrong with a setting; null if it can be written. */
static const char *fault_of_setting(const psc_setting *setting) {
    if (!setting->key) return "has no key";
    if (setting->kind < PSC_SETTING_TEXT || setting->kind > PSC_SETTING_BOOLEAN)
        return "is of an unknown kind";
    return setting->kind == PSC_SETTING_TEXT && !setting->text ? "has no text" : NULL;
}

static const char *fault_of_tensor(const psc_named_tensor *tensor) {
    uint64_t room = UINT64_C(1) << 47; /* bytes that a process can address */
    if (!tensor->name) return "has no name";
    if (tensor->n_axes < 0 || tensor->n_axes > 4) return "does not have 0 to 4 axes";
    room /= sizeof(float);
    for (int32_t i = 0; i < tensor->n_axes; i++) {
        if (tensor->shape[i] < 0) return "has an axis of a negative length";
        if (tensor->shape[i] > 0 && (uint64_t)tensor->shape[i] > room) return "is too large";
        if (tensor->shape[i] > 0) room /= (uint64_t)tensor->shape[i];
    }
    return tensor->data ? NULL : "has no data";
}

/* Whether each of the lists can be written. */
static bool can_save(psc_context *context, const char *call, int32_t n_settings,
    const psc_setting *settings, int32_t n_tensors, const psc_named_tensor *tensors) {
    const char *fault = NULL;
    int32_t i = 0;
    if (!psc_host_list(context, call, "settings", n_settings, sizeof *settings, settings) ||
        !psc_host_list(context, call, "tensors", n_tensors, sizeof *tensors, tensors))
        return false;
    for (; !fault && i < n_settings; i++) fault = fault_of_setting(&settings[i]);
    if (fault)
        psc_host_fail(context, PSC_ERROR_PLUGIN, "%s: setting %d %s", call, (int)i - 1, fault);
    if (fault) return false;
    for (i = 0; !fault && i < n_tensors; i++) fault = fault_of_tensor(&tensors[i]);
    if (fault)
        psc_host_fail(context, PSC_ERROR_PLUGIN, "%s: tensor %d %s", call, (int)i - 1, fault);
    return !fault;
}

static json_t *setting_value(const psc_setting *setting) {
    if (setting->kind == PSC_SETTING_TEXT) return psc_json_text(setting->text);
    if (setting->kind == PSC_SETTING_BOOLEAN) return json_boolean(setting->number != 0.0);
    const bool whole = setting->number > -0x1p53 && setting->number < 0x1p53 &&
                       setting->number == (double)(int64_t)setting->number;
    if (whole) return json_integer((json_int_t)setting->number);
    return isfinite(setting->number) ? json_real(setting->number) : json_null();
}

static char *config_text(int32_t n, const psc_setting *settings) {
    json_t *object = json_object();
    bool complete = object != NULL;
    for (int32_t i = 0; complete && i < n; i++)
        complete = json_object_set_new(object, settings[i].key, setting_value(&settings[i])) == 0;
    char *text = complete ? psc_json_dump(object, JSON_INDENT(2)) : NULL;
    json_decref(object);
    return text;
}

/* notes: n_notes pairs for the file's __metadata__. */
static psc_status write_tensors(FILE *file, int32_t n, const psc_named_tensor *tensors,
    int32_t n_notes, const char *const (*notes)[2], psc_error *error) {
    psc_file_tensor *list = calloc((size_t)n, sizeof *list);
    if (!list) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the tensors");
    for (int32_t t = 0; t < n; t++)
        list[t] = (psc_file_tensor){tensors[t].name, "F32", sizeof(float), tensors[t].n_axes,
            tensors[t].shape, tensors[t].data};
    psc_status status = psc_tensors_write(file, n, list, n_notes, notes, error);
    free(list);
    return status;
}

static psc_status write_parameters(
    psc_output *output, int32_t n, const psc_named_tensor *tensors, psc_error *error) {
    FILE *file = NULL;
    psc_status status = psc_output_open(&file, output, PARAMETERS, error);
    if (status) return status;
    const psc_status written = write_tensors(file, n, tensors, 0, NULL, error);
    status = psc_output_close(&file, output, PARAMETERS, error); /* names the file */
    return status ? status : written;
}

int psc_host_save_folder(psc_context *context, const char *folder, int32_t n_settings,
    const psc_setting *settings, int32_t n_tensors, const psc_named_tensor *tensors) {
    psc_error error = {PSC_OK, ""};
    psc_output *output = NULL;
    if (!psc_host_may(&context, "save_folder", PSC_IN_ANY)) return PSC_ERROR_STATE;
    if (!psc_host_given(context, "save_folder", "a folder", folder) ||
        !can_save(context, "save_folder", n_settings, settings, n_tensors, tensors))
        return PSC_ERROR_PLUGIN;
    char *config = config_text(n_settings, settings);
    psc_status status = PSC_OK;
    if (!config)
        status = psc_fail(&error, PSC_ERROR_MEMORY, "not enough memory to write %s", folder);
    if (!status) status = psc_output_begin(&output, folder, &error);
    const bool writes = n_tensors > 0;
    if (!status && writes)
        status = psc_output_write(output, CONFIG, config, strlen(config), &error);
    if (!status && writes) status = write_parameters(output, n_tensors, tensors, &error);
    if (!status && writes) status = psc_output_commit(&output, &error);
    psc_output_abort(&output);
    free(config);
    if (status) psc_host_pass(context, &error);
    return status;
}

/* --- one file -------------------------------------------------------------------------------- */

/* The file is written beside its path first, so its folder must allow that. */
static psc_status check_file(const char *path, psc_error *error) {
    psc_file_facts facts;
    char *named = realpath(path, NULL); /* of a link: the file that it names */
    const char *file = named ? named : path, *slash = strrchr(file, '/');
    char *folder = slash ? strndup(file, slash == file ? 1 : (size_t)(slash - file)) : strdup(".");
    psc_status status = PSC_OK;
    free(named);
    if (!folder)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write %.300s", path);
    if (!path[0] || path[strlen(path) - 1] == '/')
        status = psc_fail(error, PSC_ERROR_INPUT, "'%.300s' is not the name of a file", path);
    else if (psc_path_exists(path) && !psc_file_examine(&facts, path))
        status = psc_fail(error, PSC_ERROR_INPUT, "%.300s is not a regular file", path);
    else if (access(folder, W_OK | X_OK) != 0)
        status = psc_fail(error, PSC_ERROR_IO, "cannot write %.300s: %s", path, strerror(errno));
    free(folder);
    return status;
}

int psc_host_save_file(psc_context *context, const char *path, const char *bytes, uint64_t n) {
    psc_error error = {PSC_OK, ""};
    if (!psc_host_may(&context, "save_file", PSC_IN_ANY)) return PSC_ERROR_STATE;
    if (!psc_host_given(context, "save_file", "a path", path) ||
        !psc_host_list(context, "save_file", "bytes", n <= INT64_MAX ? (int64_t)n : -1, 1, path))
        return PSC_ERROR_PLUGIN;
    psc_status status =
        bytes ? psc_write_file(path, bytes, (size_t)n, &error) : check_file(path, &error);
    return status == PSC_OK ? 0 : psc_host_pass(context, &error);
}

/* --- one file of tensors --------------------------------------------------------------------- */

enum { NUMBER = 32 }; /* bytes of a number as text */

/* The shortest text that reads as this number. */
static void write_number(char out[NUMBER], double x) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, NUMBER, "%.*g", digits, x);
        if (strtod(out, NULL) == x) return;
    }
}

/* Settings as texts; numbers [n] holds those that are made here. */
static void make_notes(
    const char *(*notes)[2], char (*numbers)[NUMBER], int32_t n, const psc_setting *settings) {
    for (int32_t i = 0; i < n; i++) {
        const double x = settings[i].number;
        if (settings[i].kind == PSC_SETTING_BOOLEAN)
            snprintf(numbers[i], NUMBER, "%s", x != 0.0 ? "true" : "false");
        else
            write_number(numbers[i], x);
        notes[i][0] = settings[i].key;
        notes[i][1] = settings[i].kind == PSC_SETTING_TEXT ? settings[i].text : numbers[i];
    }
}

int psc_host_save_tensors(psc_context *context, const char *path, int32_t n_settings,
    const psc_setting *settings, int32_t n_tensors, const psc_named_tensor *tensors) {
    static const char call[] = "save_tensors";
    psc_error error = {PSC_OK, ""};
    psc_memory_stream memory = {0};
    char *bytes = NULL;
    size_t n = 0;
    if (!psc_host_may(&context, call, PSC_IN_ANY)) return PSC_ERROR_STATE;
    if (!psc_host_given(context, call, "a path", path) ||
        !can_save(context, call, n_settings, settings, n_tensors, tensors))
        return PSC_ERROR_PLUGIN;
    if (n_tensors == 0) return check_file(path, &error) ? psc_host_pass(context, &error) : 0;
    const char *(*notes)[2] = calloc((size_t)n_settings + 1, sizeof *notes);
    char(*numbers)[NUMBER] = calloc((size_t)n_settings + 1, sizeof *numbers);
    psc_status status = PSC_ERROR_MEMORY;
    if (notes && numbers && psc_memory_open(&memory)) {
        make_notes(notes, numbers, n_settings, settings);
        status = write_tensors(
            memory.file, n_tensors, tensors, n_settings, (const char *const(*)[2])notes, &error);
        if (!psc_memory_close(&bytes, &n, &memory)) status = PSC_ERROR_MEMORY;
    }
    free(notes);
    free(numbers);
    if (status == PSC_ERROR_MEMORY) no_memory(context, path);
    if (!status && (status = psc_write_file(path, bytes, n, &error)) != PSC_OK)
        psc_host_pass(context, &error);
    free(bytes);
    return status;
}
