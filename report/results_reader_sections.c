/* A plugin's section of results.json. Its axes and values are members beside each other, by kind:
 *
 *   list of whole numbers, or empty     an axis
 *   list of texts                       an axis if an array names it, else a value
 *   list of numbers or null             a value
 *   number, null, text                  a value
 *
 * A writer gives every number of a value a point or an exponent, so that they differ from an axis's. */
#include "results_reader.h"

#include <stdlib.h>
#include <string.h>

static psc_status named(const psc_json_at *at, const char *key, psc_status status) {
    if (status == PSC_OK) return status;
    if (status == PSC_ERROR_MEMORY) return psc_json_no_room(at);
    return psc_json_bad(at, key, "has a name that the section uses already");
}

static psc_status read_options(psc_section *section, const psc_json_at *at) {
    psc_json_at options;
    const char *key, *text;
    json_t *value;
    psc_status status = psc_json_enter(&options, at, "options");
    if (status != PSC_OK) return status;
    if (json_object_size(options.object) > MOST_MEMBERS)
        return psc_json_bad(at, "options", "has too many entries");
    json_object_foreach(options.object, key, value) {
        status = psc_json_get_text(&text, &options, key);
        if (status == PSC_OK)
            status = named(&options, key, psc_section_add_option(section, key, text));
        if (status != PSC_OK) return status;
    }
    return PSC_OK;
}

/* --- the summary ----------------------------------------------------------------------------- */

static psc_status read_bars(psc_section *section, const psc_json_at *bars) {
    const char *title, *unit;
    json_t *labels, *values;
    psc_status status = psc_json_get_text(&title, bars, "title");
    if (status == PSC_OK) status = psc_json_get_text(&unit, bars, "unit");
    if (status == PSC_OK) status = psc_json_get_list(&labels, bars, "labels");
    if (status == PSC_OK) status = psc_json_get_list(&values, bars, "values");
    if (status != PSC_OK) return status;
    const size_t n = json_array_size(labels);
    if (n != json_array_size(values) || n > INT32_MAX)
        return psc_json_bad(bars, "values", "has another number of entries than labels");
    const char **texts = malloc(n * sizeof *texts + 1);
    double *numbers = malloc(n * sizeof *numbers + 1);
    status = texts && numbers ? PSC_OK : psc_json_no_room(bars);
    for (size_t i = 0; status == PSC_OK && i < n; i++) {
        const json_t *label = json_array_get(labels, i), *value = json_array_get(values, i);
        if (!psc_json_is_text(label) || !psc_json_is_real(value)) {
            status = psc_json_bad(bars, "labels", "and values are not texts and numbers");
            break;
        }
        texts[i] = json_string_value(label);
        numbers[i] = psc_json_real_of(value);
    }
    if (status == PSC_OK &&
        psc_section_add_bars(section, title, unit, (int)n, texts, numbers) != PSC_OK)
        status = psc_json_no_room(bars);
    free(texts);
    free(numbers);
    return status;
}

static psc_status read_summary(psc_section *section, const psc_json_at *at) {
    json_t *list, *item;
    size_t i;
    if (!json_object_get(at->object, "summary")) return PSC_OK; /* none, or an older version's */
    psc_status status = psc_json_get_list(&list, at, "summary");
    if (status != PSC_OK) return status;
    json_array_foreach(list, i, item) {
        psc_json_at bars = {at->path, item, at->error, ""};
        snprintf(bars.place, sizeof bars.place, "%.150ssummary[%zu].", at->place, i);
        if (json_is_object(item))
            status = read_bars(section, &bars);
        else if (!psc_json_is_text(item))
            status = psc_json_bad(at, "summary", "has an entry that is neither a text nor bars");
        else if (psc_section_add_sentence(section, json_string_value(item)) != PSC_OK)
            status = psc_json_no_room(at);
        if (status != PSC_OK) return status;
    }
    return PSC_OK;
}

/* --- axes and values ------------------------------------------------------------------------- */

typedef enum entry_kind { WHOLE, TEXT, REAL, MIXED } entry_kind;

static entry_kind kind_of(const json_t *value) {
    if (json_is_integer(value)) return WHOLE;
    if (json_is_string(value)) return psc_json_is_text(value) ? TEXT : MIXED;
    return psc_json_is_real(value) ? REAL : MIXED;
}

/* The kind of all entries; whole numbers among others are numbers. An empty list counts as WHOLE. */
static entry_kind kind_of_list(const json_t *list) {
    const size_t n = json_array_size(list);
    entry_kind kind = n > 0 ? kind_of(json_array_get(list, 0)) : WHOLE;
    for (size_t i = 1; i < n && kind != MIXED; i++) {
        const entry_kind one = kind_of(json_array_get(list, i));
        if (one == kind) continue;
        kind = one == TEXT || one == MIXED || kind == TEXT ? MIXED : REAL;
    }
    return kind;
}

static psc_status read_numbers(
    psc_section *section, const psc_json_at *at, const char *key, json_t *list) {
    const size_t n = json_array_size(list);
    int32_t *numbers = malloc(n * sizeof *numbers + 1);
    psc_status status = numbers ? PSC_OK : psc_json_no_room(at);
    for (size_t i = 0; status == PSC_OK && i < n; i++) {
        const json_int_t number = json_integer_value(json_array_get(list, i));
        if (number < INT32_MIN || number > INT32_MAX)
            status = psc_json_bad(at, key, "has an entry that does not fit in 32 bits");
        numbers[i] = (int32_t)number;
    }
    if (status == PSC_OK)
        status = named(at, key, psc_section_add_numbers(section, key, (int64_t)n, numbers));
    free(numbers);
    return status;
}

static psc_status read_labels(psc_results *results, psc_section *section, const psc_json_at *at,
    const char *key, json_t *list) {
    const size_t n = json_array_size(list);
    const char **labels = malloc(n * sizeof *labels + 1);
    if (!labels) return psc_json_no_room(at);
    for (size_t i = 0; i < n; i++) labels[i] = json_string_value(json_array_get(list, i));
    psc_status status =
        named(at, key, psc_section_add_labels(results, section, key, (int64_t)n, labels));
    free(labels);
    return status;
}

static psc_status read_list(
    psc_section *section, const psc_json_at *at, const char *key, json_t *list) {
    psc_status status = PSC_OK;
    size_t i;
    json_t *entry;
    if (json_array_size(list) > INT32_MAX / 2) return psc_json_bad(at, key, "is too long");
    json_array_foreach(list, i, entry) {
        status = json_is_string(entry)
                     ? psc_section_append_text(section, key, json_string_value(entry))
                     : psc_section_append_number(section, key, psc_json_real_of(entry));
        if (status != PSC_OK) break;
    }
    return named(at, key, status);
}

static psc_status read_member(psc_results *results, psc_section *section, const psc_json_at *at,
    const char *key, json_t *value, const json_t *axes) {
    if (psc_json_is_text(value))
        return named(at, key, psc_section_add_text(section, key, json_string_value(value)));
    if (psc_json_is_real(value))
        return named(at, key, psc_section_add_number(section, key, psc_json_real_of(value)));
    const entry_kind kind = json_is_array(value) ? kind_of_list(value) : MIXED;
    if (kind == MIXED) return psc_json_bad(at, key, "is of a kind that this version does not know");
    if (kind == WHOLE) return read_numbers(section, at, key, value);
    if (kind == TEXT && json_object_get(axes, key))
        return read_labels(results, section, at, key, value);
    return read_list(section, at, key, value);
}

static bool is_own(const char *key) {
    return strcmp(key, "version") == 0 || strcmp(key, "options") == 0 ||
           strcmp(key, "arrays") == 0 || strcmp(key, "summary") == 0;
}

/* An object whose keys are the names of axes in `arrays`; null without memory. What is malformed is
 * left to psc_read_arrays. */
static json_t *axes_of(const json_t *arrays) {
    json_t *set = json_object(), *array, *axis;
    const char *key;
    size_t i;
    json_object_foreach((json_t *)arrays, key, array) {
        json_array_foreach(json_object_get(array, "axes"), i, axis) {
            if (!set || !json_is_string(axis)) continue;
            if (json_object_set_new(set, json_string_value(axis), json_true()) == 0) continue;
            json_decref(set);
            set = NULL;
        }
    }
    return set;
}

psc_status psc_read_section(psc_results *results, const psc_json_at *plugins, const char *name) {
    psc_json_at at;
    const char *version, *key;
    json_t *value;
    psc_status status = psc_json_enter(&at, plugins, name);
    if (status == PSC_OK) status = psc_json_get_text(&version, &at, "version");
    if (status != PSC_OK) return status;
    if (json_object_size(at.object) > MOST_MEMBERS)
        return psc_json_bad(plugins, name, "has too many entries");
    psc_section *section = psc_results_add_section(results, name, version);
    json_t *axes = axes_of(json_object_get(at.object, "arrays"));
    status = section && axes ? read_options(section, &at) : psc_json_no_room(&at);
    if (status == PSC_OK) status = read_summary(section, &at);
    json_object_foreach(at.object, key, value) {
        if (status != PSC_OK) break;
        if (!is_own(key)) status = read_member(results, section, &at, key, value, axes);
    }
    json_decref(axes);
    return status;
}
