/* The host's results: a plugin's section with its axes, values, lists and arrays. Names are unique
 * in a section. */
#include "host.h"

#include <stdio.h>
#include <string.h>

#define NAME_BYTES 64
#define PATH_BYTES 200

static psc_section *section_of(psc_context *context) {
    return &context->session->results->sections[context->section];
}

static int no_memory(psc_context *context) {
    return psc_host_fail(context, PSC_ERROR_MEMORY, "not enough memory for the results");
}

/* 1 to NAME_BYTES letters, digits, _ . - or /. */
static bool is_good_name(const char *name) {
    if (!name) return false;
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/");
    return n > 0 && n <= NAME_BYTES && name[n] == 0;
}

/* Whether the context has a section to write to. */
static bool in_place(psc_context **given, const char *call) {
    if (!psc_host_may(given, call, PSC_IN_RUN)) return false;
    psc_context *context = *given;
    if (context->section >= 0) return true;
    psc_host_fail(context, PSC_ERROR_STATE,
        "it does not work over a corpus: it creates results in each run, not once in report (%s)",
        call);
    return false;
}

static bool allowed(psc_context **given, const char *call, const char *name) {
    if (!in_place(given, call)) return false;
    if (is_good_name(name)) return true;
    psc_host_fail(*given, PSC_ERROR_PLUGIN,
        "%s: name '%.80s' must have 1 to %d letters, digits or _ . - /", call, name ? name : "",
        NAME_BYTES);
    return false;
}

/* Turns a callee's status for a new name into the run's error. */
static int put(psc_context *context, const char *name, psc_status status) {
    if (status == PSC_OK) return 0;
    if (status == PSC_ERROR_MEMORY) return no_memory(context);
    return psc_host_fail(context, PSC_ERROR_PLUGIN, "result '%s' is declared twice", name);
}

psc_status psc_host_begin_results(psc_context *context, psc_error *error) {
    psc_results *results = context->session->results;
    const char *version = context->plugin->version;
    psc_section *section = psc_results_add_section(results, context->name, version ? version : "");
    bool ok = section != NULL;
    for (int32_t i = 0; ok && i < context->n_options; i++)
        ok = psc_section_add_option(section, context->options[i].key, context->options[i].value) !=
             PSC_ERROR_MEMORY;
    if (!ok) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results");
    context->section = results->n_sections - 1;
    return PSC_OK;
}

/* --- axes and arrays ------------------------------------------------------------------------- */

static bool axis_allowed(
    psc_context **given, const char *call, const char *name, int64_t n, const void *entries) {
    char what[NAME_BYTES + 32];
    if (!allowed(given, call, name)) return false;
    snprintf(what, sizeof what, "the entries of axis '%s'", name);
    return psc_host_list(*given, call, what, n, sizeof(void *), entries);
}

/* Whether none of n texts is null. */
static bool texts_given(
    psc_context *context, const char *call, int64_t n, const char *const *texts) {
    for (int64_t i = 0; i < n; i++) {
        if (texts[i]) continue;
        psc_host_fail(
            context, PSC_ERROR_PLUGIN, "%s: label %lld of the list is null", call, (long long)i);
        return false;
    }
    return true;
}

int psc_host_axis_labels(
    psc_context *context, const char *name, int64_t n, const char *const *labels) {
    if (!axis_allowed(&context, "axis_labels", name, n, labels) ||
        !texts_given(context, "axis_labels", n, labels))
        return PSC_ERROR_PLUGIN;
    psc_results *results = context->session->results;
    return put(
        context, name, psc_section_add_labels(results, section_of(context), name, n, labels));
}

int psc_host_axis_numbers(
    psc_context *context, const char *name, int64_t n, const int32_t *numbers) {
    if (!axis_allowed(&context, "axis_numbers", name, n, numbers)) return PSC_ERROR_PLUGIN;
    return put(context, name, psc_section_add_numbers(section_of(context), name, n, numbers));
}

/* shape[] and the section's own names from the axes; false after setting the error. */
static bool find_axes(psc_context *context, const char *name, int32_t n_axes,
    const char *const *axes, int64_t *shape, const char **names) {
    if (n_axes < 0 || n_axes > PSC_MOST_AXES) {
        psc_host_fail(context, PSC_ERROR_PLUGIN, "array '%s' has %d axes; 0 to 6 are possible",
            name, (int)n_axes);
        return false;
    }
    if (!psc_host_list(context, "array", "the list of axes", n_axes, sizeof *axes, axes))
        return false;
    for (int32_t i = 0; i < n_axes; i++) {
        const psc_result_axis *axis =
            axes[i] ? psc_section_axis_named(section_of(context), axes[i]) : NULL;
        if (!axis) {
            psc_host_fail(context, PSC_ERROR_PLUGIN,
                "array '%s' has the axis '%.64s', which is not declared", name,
                axes[i] ? axes[i] : "");
            return false;
        }
        shape[i] = axis->n;
        names[i] = axis->name;
    }
    return true;
}

void *psc_host_array(psc_context *context, const char *name, psc_element element, int32_t n_axes,
    const char *const *axes) {
    if (!allowed(&context, "array", name)) return NULL;
    int64_t shape[PSC_MOST_AXES];
    const char *names[PSC_MOST_AXES];
    const bool filled = ((int)element & PSC_UNFILLED) == 0;
    element = (psc_element)((int)element & ~PSC_UNFILLED);
    if ((int)element < PSC_F32 || element > PSC_I32) {
        psc_host_fail(context, PSC_ERROR_PLUGIN, "array '%s' has the unknown element type %d", name,
            (int)element);
        return NULL;
    }
    if (!find_axes(context, name, n_axes, axes, shape, names)) return NULL;
    char what[NAME_BYTES + 16];
    double bytes = element == PSC_F64 ? sizeof(double) : sizeof(float);
    for (int32_t i = 0; i < n_axes; i++) bytes *= (double)shape[i];
    snprintf(what, sizeof what, "array '%s'", name);
    if (!psc_host_has_room(context, what, bytes)) return NULL;
    psc_error error = {PSC_OK, ""};
    psc_stored_array *array = psc_results_add_array(context->session->results, context->section,
        name, element, n_axes, names, shape, filled, &error);
    if (array) {
        psc_host_count_run(context, bytes);
        return (void *)array->view.data;
    }
    psc_host_pass(context, &error);
    return NULL;
}

int psc_host_token_ids(psc_context *context, const char *array) {
    if (!allowed(&context, "token_ids", array)) return PSC_ERROR_PLUGIN;
    psc_results *results = context->session->results;
    for (int i = 0; i < results->n_arrays; i++) {
        psc_stored_array *stored = &results->arrays[i];
        if (stored->section != context->section || strcmp(stored->view.key, array) != 0) continue;
        if (stored->view.element != PSC_I32)
            return psc_host_fail(context, PSC_ERROR_PLUGIN,
                "token_ids: array '%s' is not of PSC_I32, so it cannot hold token ids", array);
        stored->token_ids = true;
        return 0;
    }
    return psc_host_fail(context, PSC_ERROR_PLUGIN,
        "token_ids: the plugin has no array '%s'; make it before", array);
}

/* --- files ----------------------------------------------------------------------------------- */

#define DOCUMENT_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789."

/* Names with one slash between them, none empty or with a dot first. */
static bool is_good_path(const char *path) {
    if (strlen(path) > PATH_BYTES) return false;
    for (const char *at = path;; at++) {
        const size_t n = strspn(at, DOCUMENT_LETTERS "_-");
        if (n == 0 || *at == '.') return false;
        at += n;
        if (*at != '/') return *at == 0;
    }
}

/* Whether kind names a file; its name in the output folder. */
static bool document_name(char *out, size_t size, const char *plugin, const char *kind) {
    if (!kind) return false;
    const size_t length = strlen(kind);
    if (strchr(kind, '/')) {
        snprintf(out, size, "%s", kind);
        return is_good_path(kind);
    }
    snprintf(out, size, "%s.%s", plugin, kind);
    return length > 0 && length < NAME_BYTES && kind[0] != '.' &&
           strspn(kind, DOCUMENT_LETTERS) == length;
}

int psc_host_document(psc_context *context, const char *kind, const char *bytes, uint64_t n) {
    char name[PATH_BYTES + 2 * NAME_BYTES];
    if (!in_place(&context, "document")) return PSC_ERROR_PLUGIN;
    const int64_t length = n <= INT64_MAX ? (int64_t)n : -1;
    if (!psc_host_list(context, "document", "bytes", length, 1, bytes)) return PSC_ERROR_PLUGIN;
    if (!document_name(name, sizeof name, context->name, kind))
        return psc_host_fail(context, PSC_ERROR_PLUGIN,
            "document: '%.60s' is not a file type or a path; use letters, digits and dots, in a path "
            "also _ and -",
            kind ? kind : "");
    psc_error error = {PSC_OK, ""};
    psc_status status = psc_results_add_file(context->session->results, name, bytes, n, &error);
    return status == PSC_OK ? psc_host_append_text(context, "files", name)
                            : psc_host_pass(context, &error);
}

/* --- values ---------------------------------------------------------------------------------- */

int psc_host_value_number(psc_context *context, const char *name, double value) {
    if (!allowed(&context, "value_number", name)) return PSC_ERROR_PLUGIN;
    return put(context, name, psc_section_add_number(section_of(context), name, value));
}

int psc_host_value_text(psc_context *context, const char *name, const char *value) {
    if (!allowed(&context, "value_text", name) ||
        !psc_host_given(context, "value_text", "a text", value))
        return PSC_ERROR_PLUGIN;
    return put(context, name, psc_section_add_text(section_of(context), name, value));
}

static int appended(psc_context *context, const char *name, psc_status status) {
    if (status == PSC_OK) return 0;
    if (status == PSC_ERROR_MEMORY) return no_memory(context);
    const psc_result_value *value = psc_section_value_named(section_of(context), name);
    if (!value || (value->kind != PSC_VALUE_NUMBERS && value->kind != PSC_VALUE_TEXTS))
        return psc_host_fail(context, PSC_ERROR_PLUGIN, "result '%s' is not a list", name);
    return psc_host_fail(context, PSC_ERROR_PLUGIN, "result '%s' is a list of %s", name,
        value->kind == PSC_VALUE_NUMBERS ? "numbers" : "texts");
}

int psc_host_append_number(psc_context *context, const char *name, double value) {
    if (!allowed(&context, "append_number", name)) return PSC_ERROR_PLUGIN;
    return appended(context, name, psc_section_append_number(section_of(context), name, value));
}

int psc_host_append_text(psc_context *context, const char *name, const char *value) {
    if (!allowed(&context, "append_text", name) ||
        !psc_host_given(context, "append_text", "a text", value))
        return PSC_ERROR_PLUGIN;
    return appended(context, name, psc_section_append_text(section_of(context), name, value));
}

/* --- summary --------------------------------------------------------------------------------- */

int psc_host_summary_text(psc_context *context, const char *sentence) {
    if (!in_place(&context, "summary_text")) return PSC_ERROR_STATE;
    if (!psc_host_given(context, "summary_text", "a sentence", sentence)) return PSC_ERROR_PLUGIN;
    psc_status status = psc_section_add_sentence(section_of(context), sentence);
    return status == PSC_OK ? 0 : no_memory(context);
}

int psc_host_summary_bars(psc_context *context, const char *title, const char *unit, int32_t n,
    const char *const *labels, const double *values) {
    static const char call[] = "summary_bars";
    if (!in_place(&context, call)) return PSC_ERROR_STATE;
    if (!psc_host_given(context, call, "a title", title) ||
        !psc_host_given(context, call, "a unit", unit) ||
        !psc_host_list(context, call, "labels", n, sizeof *labels, labels) ||
        !psc_host_list(context, call, "values", n, sizeof *values, values) ||
        !texts_given(context, call, n, labels))
        return PSC_ERROR_PLUGIN;
    psc_status status = psc_section_add_bars(section_of(context), title, unit, n, labels, values);
    return status == PSC_OK ? 0 : no_memory(context);
}
