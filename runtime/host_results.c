/* The host's results: a plugin's section (json: version, options, axes, values, lists, "arrays")
 * and its arrays, stored as "plugin.name". A name is used once in a section. */
#include "host.h"

#include <stdio.h>
#include <string.h>

#define NAME_BYTES 64

static psc_result_section *section_of(psc_context *context) {
    return &context->session->results->sections[context->section];
}

static int no_memory(psc_context *context) {
    return psc_host_fail(context, PSC_ERROR_MEMORY, "not enough memory for the results");
}

static json_t *text(const char *value) {
    return psc_result_text(value ? value : "", value ? strlen(value) : 0);
}

/* Letters, digits and _ . - /, up to NAME_BYTES of them. */
static bool is_good_name(const char *name) {
    if (!name) return false;
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/");
    return n > 0 && n <= NAME_BYTES && name[n] == 0;
}

static bool in_place(psc_context *context, const char *call) {
    return psc_host_on_its_thread(context, call) && psc_host_in_run(context, call);
}

static bool allowed(psc_context *context, const char *call, const char *name) {
    if (!in_place(context, call)) return false;
    if (context->section < 0) {
        psc_host_fail(context, PSC_ERROR_STATE,
            "%s was called in a run of a corpus, where results are made by report alone", call);
        return false;
    }
    if (is_good_name(name)) return true;
    psc_host_fail(context, PSC_ERROR_PLUGIN,
        "%s: '%.80s' is no name of 1 to %d letters, digits and _ . - /", call, name ? name : "",
        NAME_BYTES);
    return false;
}

/* Puts value (taken over) under a name that is new. */
static int put_new(psc_context *context, const char *name, json_t *value) {
    json_t *object = section_of(context)->json;
    if (value && json_object_get(object, name)) {
        json_decref(value);
        return psc_host_fail(context, PSC_ERROR_PLUGIN, "there are two results named '%s'", name);
    }
    return json_object_set_new(object, name, value) == 0 ? 0 : no_memory(context);
}

psc_status psc_host_begin_results(psc_context *context, psc_error *error) {
    psc_results *results = context->session->results;
    psc_result_section *section = psc_results_section(results, context->name);
    json_decref(context->axes);
    context->axes = json_object();
    json_t *options = json_object(), *arrays = json_object();
    bool ok = section && context->axes && options && arrays;
    const char *version = context->plugin->version;
    for (int32_t i = 0; ok && i < context->n_options; i++)
        ok = json_object_set_new(
                 options, context->options[i].key, text(context->options[i].value)) == 0;
    if (!ok) {
        json_decref(options);
        json_decref(arrays);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results");
    }
    context->section = results->n_sections - 1;
    if (json_object_set_new(section->json, "version", text(version)) != 0) ok = false;
    if (json_object_set_new(section->json, "options", options) != 0) ok = false;
    if (json_object_set_new(section->json, "arrays", arrays) != 0) ok = false;
    return ok ? PSC_OK : psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results");
}

/* --- axes and arrays ------------------------------------------------------------------------- */

static int put_axis(psc_context *context, const char *name, int64_t n, json_t *entries) {
    if (!entries || (int64_t)json_array_size(entries) != n) {
        json_decref(entries);
        return no_memory(context);
    }
    int status = put_new(context, name, entries);
    if (status != 0) return status;
    return json_object_set_new(context->axes, name, json_integer(n)) == 0 ? 0 : no_memory(context);
}

static bool axis_allowed(
    psc_context *context, const char *call, const char *name, int64_t n, const void *entries) {
    if (!allowed(context, call, name)) return false;
    if (n >= 0 && (n == 0 || entries)) return true;
    psc_host_fail(context, PSC_ERROR_PLUGIN, "%s: axis '%s' has no entries", call, name);
    return false;
}

/* The axis of that name and these labels from a run before, or null. Results do not change their
 * entries, so runs share them: the neurons of a model are some 10^5 labels. */
static json_t *labels_of_before(
    psc_context *context, const char *name, int64_t n, const char *const *labels) {
    json_t *entries = json_object_get(context->labelled, name);
    if (!entries || (int64_t)json_array_size(entries) != n) return NULL;
    for (int64_t i = 0; i < n; i++) {
        const char *before = json_string_value(json_array_get(entries, (size_t)i));
        if (strcmp(before, labels[i] ? labels[i] : "") != 0) return NULL;
    }
    return json_incref(entries);
}

int psc_host_axis_labels(
    psc_context *context, const char *name, int64_t n, const char *const *labels) {
    if (!axis_allowed(context, "axis_labels", name, n, labels)) return PSC_ERROR_PLUGIN;
    json_t *entries = labels_of_before(context, name, n, labels);
    if (entries) return put_axis(context, name, n, entries);
    entries = json_array();
    for (int64_t i = 0; entries && i < n; i++)
        if (json_array_append_new(entries, text(labels[i])) != 0) break;
    int status = put_axis(context, name, n, json_incref(entries));
    if (!context->labelled) context->labelled = json_object();
    if (status == 0) /* without memory for it, the next run makes it again */
        (void)json_object_set(context->labelled, name, entries);
    json_decref(entries);
    return status;
}

int psc_host_axis_numbers(
    psc_context *context, const char *name, int64_t n, const int32_t *numbers) {
    if (!axis_allowed(context, "axis_numbers", name, n, numbers)) return PSC_ERROR_PLUGIN;
    json_t *entries = json_array();
    for (int64_t i = 0; entries && i < n; i++)
        if (json_array_append_new(entries, json_integer(numbers[i])) != 0) break;
    return put_axis(context, name, n, entries);
}

/* shape[] from the axes' lengths; false after setting the error. */
static bool find_shape(psc_context *context, const char *name, int32_t n_axes,
    const char *const *axes, int64_t shape[6]) {
    if (n_axes < 0 || n_axes > 6) {
        psc_host_fail(context, PSC_ERROR_PLUGIN, "array '%s' has %d axes; 0 to 6 are possible",
            name, (int)n_axes);
        return false;
    }
    for (int32_t i = 0; i < n_axes; i++) {
        json_t *length = axes[i] ? json_object_get(context->axes, axes[i]) : NULL;
        if (!length) {
            psc_host_fail(context, PSC_ERROR_PLUGIN,
                "array '%s' has the axis '%.64s', which was not declared before", name,
                axes[i] ? axes[i] : "");
            return false;
        }
        shape[i] = (int64_t)json_integer_value(length);
    }
    return true;
}

/* {"dtype": "F32", "axes": [...], "shape": [...]} under the section's "arrays". */
static bool describe(psc_context *context, const char *name, const psc_result_array *array) {
    static const char *const dtypes[] = {"F32", "F64", "I32"};
    json_t *axes = json_array(), *shape = json_array(), *description = json_object();
    bool ok = axes && shape && description;
    for (int i = 0; ok && i < array->n_axes; i++) {
        if (json_array_append_new(axes, json_string(array->axes[i])) != 0) ok = false;
        if (json_array_append_new(shape, json_integer((json_int_t)array->shape[i])) != 0)
            ok = false;
    }
    if (json_object_set_new(description, "dtype", json_string(dtypes[array->dtype])) != 0)
        ok = false;
    if (json_object_set_new(description, "axes", axes) != 0) ok = false;
    if (json_object_set_new(description, "shape", shape) != 0) ok = false;
    json_t *arrays = json_object_get(section_of(context)->json, "arrays");
    return json_object_set_new(arrays, name, description) == 0 && ok;
}

void *psc_host_array(psc_context *context, const char *name, psc_element element, int32_t n_axes,
    const char *const *axes) {
    if (!allowed(context, "array", name)) return NULL;
    int64_t shape[6];
    const bool filled = ((int)element & PSC_UNFILLED) == 0;
    element = (psc_element)((int)element & ~PSC_UNFILLED);
    if ((int)element < PSC_F32 || element > PSC_I32) {
        psc_host_fail(context, PSC_ERROR_PLUGIN, "array '%s' has the unknown element type %d", name,
            (int)element);
        return NULL;
    }
    if (!find_shape(context, name, n_axes, axes, shape)) return NULL;
    char full[2 * NAME_BYTES + 16];
    snprintf(full, sizeof full, "%s.%s", context->name, name);
    psc_error error = {PSC_OK, ""};
    psc_result_array *array = psc_results_array(
        context->session->results, full, (psc_result_dtype)element, n_axes, shape, filled, &error);
    if (!array) {
        psc_host_pass(context, &error);
        return NULL;
    }
    /* The keys of the section's own object live as long as the results. */
    json_t *object = section_of(context)->json;
    for (int32_t i = 0; i < n_axes; i++)
        array->axes[i] = json_object_iter_key(json_object_iter_at(object, axes[i]));
    if (!describe(context, name, array)) {
        no_memory(context);
        return NULL;
    }
    return array->data;
}

/* --- files ----------------------------------------------------------------------------------- */

int psc_host_document(psc_context *context, const char *kind, const char *bytes, uint64_t n) {
    char name[2 * NAME_BYTES + 16];
    if (!allowed(context, "document", kind)) return PSC_ERROR_PLUGIN;
    const size_t length = strlen(kind);
    const bool plain = length > 0 && length < NAME_BYTES && kind[0] != '.' &&
                       strspn(kind, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "0123456789.") == length;
    if (!plain || (n > 0 && !bytes))
        return psc_host_fail(context, PSC_ERROR_PLUGIN,
            "document: '%.60s' is no kind of file: letters, digits and dots", kind);
    snprintf(name, sizeof name, "%s.%s", context->name, kind);
    psc_error error = {PSC_OK, ""};
    psc_status status = psc_results_document(context->session->results, name, bytes, n, &error);
    return status == PSC_OK ? psc_host_append_text(context, "files", name)
                            : psc_host_pass(context, &error);
}

/* --- values ---------------------------------------------------------------------------------- */

int psc_host_value_number(psc_context *context, const char *name, double value) {
    if (!allowed(context, "value_number", name)) return PSC_ERROR_PLUGIN;
    return put_new(context, name, psc_result_number(value));
}

int psc_host_value_text(psc_context *context, const char *name, const char *value) {
    if (!allowed(context, "value_text", name)) return PSC_ERROR_PLUGIN;
    return put_new(context, name, text(value));
}

/* value is taken over. */
static int append(psc_context *context, const char *name, json_t *value) {
    json_t *object = section_of(context)->json;
    json_t *list = json_object_get(object, name);
    if (!list) {
        list = json_array();
        if (json_object_set_new(object, name, list) != 0) list = NULL;
    } else if (!json_is_array(list) || json_object_get(context->axes, name)) {
        json_decref(value);
        return psc_host_fail(context, PSC_ERROR_PLUGIN, "result '%s' is not a list", name);
    }
    if (list && value) return json_array_append_new(list, value) == 0 ? 0 : no_memory(context);
    json_decref(value);
    return no_memory(context);
}

int psc_host_append_number(psc_context *context, const char *name, double value) {
    if (!allowed(context, "append_number", name)) return PSC_ERROR_PLUGIN;
    return append(context, name, psc_result_number(value));
}

int psc_host_append_text(psc_context *context, const char *name, const char *value) {
    if (!allowed(context, "append_text", name)) return PSC_ERROR_PLUGIN;
    return append(context, name, text(value));
}

/* --- summary --------------------------------------------------------------------------------- */

int psc_host_summary_text(psc_context *context, const char *sentence) {
    if (!in_place(context, "summary_text")) return PSC_ERROR_STATE;
    psc_status status = psc_section_sentence(section_of(context), sentence ? sentence : "");
    return status == PSC_OK ? 0 : no_memory(context);
}

int psc_host_summary_bars(psc_context *context, const char *title, const char *unit, int32_t n,
    const char *const *labels, const double *values) {
    if (!in_place(context, "summary_bars")) return PSC_ERROR_STATE;
    if (n < 0 || (n > 0 && (!labels || !values)))
        return psc_host_fail(context, PSC_ERROR_PLUGIN, "summary_bars was given no bars");
    psc_status status = psc_section_bars(
        section_of(context), title ? title : "", unit ? unit : "", n, labels, values);
    return status == PSC_OK ? 0 : no_memory(context);
}
