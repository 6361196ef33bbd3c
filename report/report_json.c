/* results.json: the results' head, then "plugins" with one object a plugin, then "captures". Laid
 * out to be read: a member a line, lists of values on wrapped lines, lists of objects one a line.
 */
#include "report.h"

#include <errno.h>
#include <string.h>

#include "results.h"

enum { LINE_WIDTH = 100 };

static bool is_container(const json_t *json) {
    return json_is_object(json) || json_is_array(json);
}

static void indent(FILE *out, int depth) {
    fprintf(out, "\n%*s", 2 * depth, "");
}

static int count_bytes(const char *buffer, size_t size, void *total) {
    (void)buffer;
    *(size_t *)total += size;
    return 0;
}

/* On one line; returns false when memory or the stream failed. */
static bool write_flat(const json_t *json, FILE *out) {
    return json_dumpf(json, out, JSON_ENCODE_ANY) == 0;
}

static bool write_value_list(const json_t *list, FILE *out, int depth) {
    size_t column = LINE_WIDTH; /* the first value opens a line */
    bool one_line = json_array_size(list) <= 8;
    fputc('[', out);
    for (size_t i = 0; i < json_array_size(list); i++) {
        size_t bytes = 2;
        const json_t *value = json_array_get(list, i);
        json_dump_callback(value, count_bytes, &bytes, JSON_ENCODE_ANY);
        if (i > 0) fputs(one_line || column + bytes <= LINE_WIDTH ? ", " : ",", out);
        if (!one_line && column + bytes > LINE_WIDTH) {
            indent(out, depth + 1);
            column = 2 * (size_t)(depth + 1);
        }
        if (!write_flat(value, out)) return false;
        column += bytes;
    }
    if (!one_line) indent(out, depth);
    fputc(']', out);
    return true;
}

static bool write_list(const json_t *list, FILE *out, int depth) {
    bool values_only = true;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (is_container(json_array_get(list, i))) values_only = false;
    if (values_only) return write_value_list(list, out, depth);
    fputc('[', out);
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (i > 0) fputc(',', out);
        indent(out, depth + 1);
        if (!write_flat(json_array_get(list, i), out)) return false;
    }
    indent(out, depth);
    fputc(']', out);
    return true;
}

/* Depth is bounded: nothing in a result nests deeper than config.json does. */
static bool write_json(json_t *json, FILE *out, int depth) {
    if (depth > 16 || !is_container(json)) return write_flat(json, out);
    if (json_is_array(json)) return write_list(json, out, depth);
    const char *key;
    json_t *value;
    const char *separator = "";
    fputc('{', out);
    json_object_foreach(json, key, value) {
        json_t *name = json_string(key);
        fputs(separator, out);
        indent(out, depth + 1);
        bool written = name && write_flat(name, out);
        json_decref(name);
        if (!written) return false;
        fputs(": ", out);
        if (!write_json(value, out, depth + 1)) return false;
        separator = ",";
    }
    if (*separator) indent(out, depth);
    fputc('}', out);
    return true;
}

static const char *dtype_name(psc_result_dtype dtype) {
    return dtype == PSC_RESULT_F32 ? "F32" : dtype == PSC_RESULT_F64 ? "F64" : "I32";
}

static json_t *capture_entry(const psc_result_array *array) {
    json_t *shape = json_array();
    for (int i = 0; i < array->n_axes; i++)
        if (json_array_append_new(shape, json_integer(array->shape[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    return json_pack("{s:s, s:o}", "dtype", dtype_name(array->dtype), "shape", shape);
}

/* Captured tensors have no named axes: here their name, type and shape. */
static json_t *captures(const psc_results *results) {
    json_t *list = json_object();
    for (int i = 0; i < results->n_arrays; i++) {
        const psc_result_array *array = &results->arrays[i];
        if (array->n_axes == 0 || array->axes[0]) continue;
        if (json_object_set_new(list, array->name, capture_entry(array)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* The whole document; shares the results' parts. */
static json_t *document(const psc_results *results) {
    json_t *root = results->head ? json_copy(results->head) : json_object();
    json_t *plugins = json_object();
    json_t *captured = captures(results);
    bool complete = root && plugins && captured;
    for (int i = 0; complete && i < results->n_sections; i++)
        complete =
            json_object_set(plugins, results->sections[i].name, results->sections[i].json) == 0;
    complete = complete && json_object_set(root, "plugins", plugins) == 0;
    if (complete && json_object_size(captured) > 0)
        complete = json_object_set(root, "captures", captured) == 0;
    json_decref(plugins);
    json_decref(captured);
    if (complete) return root;
    json_decref(root);
    return NULL;
}

psc_status psc_report_json(const psc_results *results, FILE *out, psc_error *error) {
    json_t *root = document(results);
    if (!root) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the results");
    errno = 0;
    bool written = write_json(root, out, 0) && fputc('\n', out) != EOF && !ferror(out);
    json_decref(root);
    if (written) return PSC_OK;
    return psc_fail(error, PSC_ERROR_IO, "cannot write the results as JSON: %s",
        errno ? strerror(errno) : "the output failed");
}

psc_status psc_report_set_bos(const psc_results *results, bool bos) {
    json_t *run = json_object_get(results->head, "run");
    if (!run) return PSC_ERROR_STATE;
    return json_object_set_new(run, "bos", json_boolean(bos)) == 0 ? PSC_OK : PSC_ERROR_MEMORY;
}
