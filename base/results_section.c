/* A plugin's section: options, axes with shared labels, values and lists, the summary's items. */
#include "results.h"

#include <stdlib.h>
#include <string.h>

static char *clean_copy(const char *text) {
    return text ? psc_text_cleaned(text, strlen(text)) : strdup("");
}

/* --- lookup ---------------------------------------------------------------------------------- */

const psc_result_axis *psc_section_axis_named(const psc_section *section, const char *name) {
    for (int i = 0; i < section->n_axes; i++)
        if (strcmp(section->axes[i].view.name, name) == 0) return &section->axes[i].view;
    return NULL;
}

bool psc_results_same_axis(const psc_result_axis *a, const psc_result_axis *b) {
    if (a->n != b->n || !a->labels != !b->labels) return false;
    for (int64_t i = 0; i < a->n; i++) {
        if (a->labels && strcmp(a->labels[i], b->labels[i]) != 0) return false;
        if (!a->labels && a->numbers[i] != b->numbers[i]) return false;
    }
    return true;
}

static psc_section_value *find_value(const psc_section *section, const char *name) {
    for (int i = 0; i < section->n_values; i++)
        if (strcmp(section->values[i].view.name, name) == 0) return &section->values[i];
    return NULL;
}

const psc_result_value *psc_section_value_named(const psc_section *section, const char *name) {
    const psc_section_value *value = find_value(section, name);
    return value ? &value->view : NULL;
}

static bool is_taken(const psc_section *section, const char *name) {
    static const char *const own[] = {"version", "options", "arrays", "summary"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, own[i]) == 0) return true;
    return psc_section_axis_named(section, name) || find_value(section, name);
}

/* --- options --------------------------------------------------------------------------------- */

psc_status psc_section_add_option(psc_section *section, const char *key, const char *value) {
    for (int i = 0; i < section->n_options; i++)
        if (strcmp(section->options[i].key, key) == 0) return PSC_ERROR_INPUT;
    psc_section_option option = {clean_copy(key), clean_copy(value)};
    psc_section_option *options =
        psc_list_grow(section->options, section->n_options, sizeof *options);
    if (options) section->options = options;
    if (!options || !option.key || !option.value) {
        free(option.key);
        free(option.value);
        return PSC_ERROR_MEMORY;
    }
    section->options[section->n_options++] = option;
    return PSC_OK;
}

/* --- axes ------------------------------------------------------------------------------------ */

/* Adds an axis with this view and a copy of the name; takes over the numbers. */
static psc_status add_axis(psc_section *section, const char *name, psc_result_axis view) {
    psc_section_axis *axes = psc_list_grow(section->axes, section->n_axes, sizeof *axes);
    if (axes) section->axes = axes;
    view.name = strdup(name);
    if (!axes || !view.name) {
        free((void *)view.name);
        free((void *)view.numbers);
        return PSC_ERROR_MEMORY;
    }
    int place = section->n_axes + section->n_values;
    section->axes[section->n_axes++] = (psc_section_axis){view, place};
    return PSC_OK;
}

static psc_labels *copy_labels(int64_t n, const char *const *labels) {
    if (n > PTRDIFF_MAX / (int64_t)sizeof *labels / 2) return NULL;
    size_t texts = (size_t)n * sizeof *labels, bytes = 0;
    for (int64_t i = 0; i < n; i++)
        bytes += labels[i] ? psc_text_clean(NULL, labels[i], strlen(labels[i])) + 1 : 1;
    psc_labels *copy = malloc(sizeof *copy + texts + bytes);
    if (!copy) return NULL;
    copy->n = n;
    char *to = (char *)(copy->texts + n);
    for (int64_t i = 0; i < n; i++) {
        copy->texts[i] = to;
        if (labels[i]) to += psc_text_clean(to, labels[i], strlen(labels[i]));
        *to++ = 0;
    }
    return copy;
}

static bool same_labels(const psc_labels *list, int64_t n, const char *const *labels) {
    if (list->n != n) return false;
    for (int64_t i = 0; i < n; i++)
        if (strcmp(list->texts[i], labels[i] ? labels[i] : "") != 0) return false;
    return true;
}

/* The same labels from this run or the previous one, else a new copy; null without memory. */
static psc_labels *share_labels(psc_results *results, int64_t n, const char *const *labels) {
    for (int i = 0; i < results->n_labels; i++)
        if (same_labels(results->labels[i], n, labels)) return results->labels[i];
    psc_labels **lists = psc_list_grow(results->labels, results->n_labels, sizeof *lists);
    if (!lists) return NULL;
    results->labels = lists;
    psc_labels *copy = copy_labels(n, labels);
    if (copy) results->labels[results->n_labels++] = copy;
    return copy;
}

psc_status psc_section_add_labels(psc_results *results, psc_section *section, const char *name,
    int64_t n, const char *const *labels) {
    if (is_taken(section, name)) return PSC_ERROR_INPUT;
    psc_labels *list = share_labels(results, n, labels);
    if (!list) return PSC_ERROR_MEMORY;
    list->used = true;
    return add_axis(section, name, (psc_result_axis){.n = n, .labels = list->texts});
}

psc_status psc_section_add_numbers(
    psc_section *section, const char *name, int64_t n, const int32_t *numbers) {
    if (is_taken(section, name)) return PSC_ERROR_INPUT;
    if (n > PTRDIFF_MAX / (int64_t)sizeof *numbers) return PSC_ERROR_MEMORY;
    size_t bytes = (size_t)n * sizeof *numbers;
    int32_t *copy = malloc(bytes ? bytes : 1);
    if (!copy) return PSC_ERROR_MEMORY;
    if (bytes) memcpy(copy, numbers, bytes);
    return add_axis(section, name, (psc_result_axis){.n = n, .numbers = copy});
}

/* --- values ---------------------------------------------------------------------------------- */

static psc_section_value *new_value(psc_section *section, const char *name, psc_value_kind kind) {
    psc_section_value *values = psc_list_grow(section->values, section->n_values, sizeof *values);
    if (values) section->values = values;
    char *copy = strdup(name);
    if (!values || !copy) {
        free(copy);
        return NULL;
    }
    int place = section->n_axes + section->n_values;
    section->values[section->n_values] =
        (psc_section_value){{.name = copy, .kind = (int32_t)kind}, place};
    return &section->values[section->n_values++];
}

/* Removes the last value if it received no entry. */
static psc_status drop_value(psc_section *section) {
    psc_section_value *value = &section->values[section->n_values - 1];
    if (value->view.n > 0) return PSC_ERROR_MEMORY;
    free((void *)value->view.name);
    free((void *)value->view.numbers);
    free((void *)value->view.texts);
    section->n_values--;
    return PSC_ERROR_MEMORY;
}

static psc_status add_number(psc_section *section, psc_result_value *view, double number) {
    double *numbers = psc_list_grow((void *)view->numbers, view->n, sizeof *numbers);
    if (!numbers) return drop_value(section);
    numbers[view->n++] = number;
    view->numbers = numbers;
    return PSC_OK;
}

static psc_status add_text(psc_section *section, psc_result_value *view, const char *text) {
    const char **texts = psc_list_grow((void *)view->texts, view->n, sizeof *texts);
    if (texts) view->texts = texts;
    char *copy = texts ? clean_copy(text) : NULL;
    if (!copy) return drop_value(section);
    texts[view->n++] = copy;
    return PSC_OK;
}

psc_status psc_section_add_number(psc_section *section, const char *name, double value) {
    if (is_taken(section, name)) return PSC_ERROR_INPUT;
    psc_section_value *made = new_value(section, name, PSC_VALUE_NUMBER);
    return made ? add_number(section, &made->view, value) : PSC_ERROR_MEMORY;
}

psc_status psc_section_add_text(psc_section *section, const char *name, const char *value) {
    if (is_taken(section, name)) return PSC_ERROR_INPUT;
    psc_section_value *made = new_value(section, name, PSC_VALUE_TEXT);
    return made ? add_text(section, &made->view, value) : PSC_ERROR_MEMORY;
}

/* The list of that name and kind; a new one when the name is free. */
static psc_status list_of(
    psc_section_value **out, psc_section *section, const char *name, psc_value_kind kind) {
    *out = find_value(section, name);
    if (*out) return (*out)->view.kind == (int32_t)kind ? PSC_OK : PSC_ERROR_INPUT;
    if (is_taken(section, name)) return PSC_ERROR_INPUT;
    *out = new_value(section, name, kind);
    return *out ? PSC_OK : PSC_ERROR_MEMORY;
}

psc_status psc_section_append_number(psc_section *section, const char *name, double value) {
    psc_section_value *list;
    psc_status status = list_of(&list, section, name, PSC_VALUE_NUMBERS);
    return status == PSC_OK ? add_number(section, &list->view, value) : status;
}

psc_status psc_section_append_text(psc_section *section, const char *name, const char *value) {
    psc_section_value *list;
    psc_status status = list_of(&list, section, name, PSC_VALUE_TEXTS);
    return status == PSC_OK ? add_text(section, &list->view, value) : status;
}

/* --- the summary ----------------------------------------------------------------------------- */

static void free_texts(const char *const *texts, int n) {
    for (int i = 0; i < n; i++) free((void *)texts[i]);
    free((void *)texts);
}

static void free_item(psc_result_item *item) {
    free((void *)item->sentence);
    free((void *)item->title);
    free((void *)item->unit);
    free_texts(item->labels, item->n);
    free((void *)item->values);
}

static psc_status append_item(psc_section *section, psc_result_item *item) {
    psc_result_item *items = psc_list_grow(section->items, section->n_items, sizeof *items);
    if (!items) {
        free_item(item);
        return PSC_ERROR_MEMORY;
    }
    section->items = items;
    section->items[section->n_items++] = *item;
    return PSC_OK;
}

psc_status psc_section_add_sentence(psc_section *section, const char *text) {
    psc_result_item item = {.sentence = strdup(text)};
    return item.sentence ? append_item(section, &item) : PSC_ERROR_MEMORY;
}

psc_status psc_section_add_bars(psc_section *section, const char *title, const char *unit, int n,
    const char *const *labels, const double *values) {
    if (n < 0) return PSC_ERROR_INPUT;
    size_t count = n ? (size_t)n : 1;
    char **copies = calloc(count, sizeof *copies);
    double *numbers = calloc(count, sizeof *numbers);
    psc_result_item item = {.title = strdup(title),
        .unit = strdup(unit),
        .labels = (const char *const *)copies,
        .values = numbers};
    if (!item.title || !item.unit || !copies || !numbers) goto fail;
    for (int i = 0; i < n; i++) {
        numbers[i] = values[i];
        copies[i] = strdup(labels[i]);
        item.n = i + 1;
        if (!copies[i]) goto fail;
    }
    return append_item(section, &item);
fail:
    free_item(&item);
    return PSC_ERROR_MEMORY;
}

void psc_section_free(psc_section *section) {
    for (int i = 0; i < section->n_options; i++) {
        free(section->options[i].key);
        free(section->options[i].value);
    }
    for (int i = 0; i < section->n_axes; i++) {
        free((void *)section->axes[i].view.name);
        free((void *)section->axes[i].view.numbers);
    }
    for (int i = 0; i < section->n_values; i++) {
        const psc_result_value *value = &section->values[i].view;
        free((void *)value->name);
        free((void *)value->numbers);
        free_texts(value->texts, value->texts ? value->n : 0);
    }
    for (int i = 0; i < section->n_items; i++) free_item(&section->items[i]);
    free(section->options);
    free(section->axes);
    free(section->values);
    free(section->items);
    free(section->name);
    free(section->version);
}
