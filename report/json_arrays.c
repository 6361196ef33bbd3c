/* Numbers of arrays in results.json.
 *
 *   "values"    an array of at most 64 elements, as nested lists in the order of its axes
 *   "largest"   of an array of numbers over `targets` and something else: for each target and row,
 *               the entries of the largest magnitude, by the entries of the other axes */
#include "json_arrays.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 400 };

static double real_at(const psc_array *array, int64_t i) {
    return array->element == PSC_F32 ? (double)((const float *)array->data)[i]
                                     : ((const double *)array->data)[i];
}

/* --- values ---------------------------------------------------------------------------------- */

/* The elements from *at on along axes from `axis` on; null without memory. */
static json_t *nested(const psc_array *array, int axis, int64_t *at) {
    if (axis == array->n_axes) {
        const int64_t i = (*at)++;
        return array->element == PSC_I32 ? json_integer(((const int32_t *)array->data)[i])
                                         : psc_json_real(real_at(array, i));
    }
    json_t *list = json_array();
    for (int64_t i = 0; list && i < array->shape[axis]; i++) {
        if (json_array_append_new(list, nested(array, axis + 1, at)) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

/* --- the largest entries --------------------------------------------------------------------- */

typedef enum list_kind { ALL, HEADS, NEURONS, N_LISTS } list_kind;

/* An entry of the axes besides targets and rows. */
typedef struct entry {
    int64_t offset; /* in elements */
    list_kind kind; /* ALL: neither a head nor a neuron */
} entry;

typedef struct largest {
    const psc_array *array;
    const psc_result_axis *axes[PSC_MOST_AXES];
    int64_t stride[PSC_MOST_AXES]; /* in elements */
    int targets, rows;             /* axes; rows: -1 without */
    int others[PSC_MOST_AXES], n_others;
    int64_t n_entries;
    entry *entries; /* [n_entries] */
    bool has[N_LISTS];
} largest;

/* "L3H7" is a head, "L3N12" a neuron. */
static list_kind kind_of(const char *label) {
    const size_t layer = label[0] == 'L' ? strspn(label + 1, "0123456789") : 0;
    if (layer == 0) return ALL;
    const char letter = label[1 + layer], *index = label + 2 + layer;
    if (letter != 'H' && letter != 'N') return ALL;
    const size_t digits = strspn(index, "0123456789");
    if (digits == 0 || index[digits]) return ALL;
    return letter == 'H' ? HEADS : NEURONS;
}

static bool is_rows(const psc_result_axis *axis) {
    const size_t n = strlen(axis->name);
    return axis->numbers &&
           (strcmp(axis->name, "rows") == 0 || (n > 5 && strcmp(axis->name + n - 5, "_rows") == 0));
}

/* Whether the array has such lists; if so, its axes by role. */
static bool find_roles(largest *out, const psc_section *section, const psc_array *array) {
    *out = (largest){.array = array, .targets = -1, .rows = -1, .n_entries = 1};
    if (array->element == PSC_I32) return false;
    int64_t stride = 1;
    for (int i = array->n_axes - 1; i >= 0; i--) {
        out->axes[i] = psc_section_axis_named(section, array->axes[i]);
        if (!out->axes[i]) return false;
        out->stride[i] = stride;
        stride *= array->shape[i];
    }
    for (int i = 0; i < array->n_axes; i++) {
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): the loop above found every axis
        if (out->targets < 0 && out->axes[i]->labels && strcmp(array->axes[i], "targets") == 0)
            out->targets = i;
        else if (out->rows < 0 && is_rows(out->axes[i]))
            out->rows = i;
        else
            out->others[out->n_others++] = i;
    }
    for (int i = 0; i < out->n_others; i++) out->n_entries *= array->shape[out->others[i]];
    return stride > 0 && out->targets >= 0 && out->n_entries > 1;
}

/* The index of an entry on each of the other axes. */
static void indices_of(int64_t *index, const largest *l, int64_t at) {
    for (int i = l->n_others - 1; i >= 0; i--) {
        const int64_t extent = l->array->shape[l->others[i]];
        index[i] = at % extent;
        at /= extent;
    }
}

/* Writes the part of an entry's name that axis i of the others gives, or axes i and i + 1 together;
 * returns the number of axes. */
static int name_part(char *out, size_t size, const largest *l, int i, const int64_t *index) {
    const psc_result_axis *axis = l->axes[l->others[i]];
    const psc_result_axis *after = i + 1 < l->n_others ? l->axes[l->others[i + 1]] : NULL;
    const bool pair = after && after->numbers && axis->numbers && strcmp(axis->name, "layers") == 0;
    if (axis->labels) {
        snprintf(out, size, "%s", axis->labels[index[i]]);
    } else if (pair && (strcmp(after->name, "heads") == 0 || strcmp(after->name, "neurons") == 0)) {
        snprintf(out, size, "L%d%c%d", (int)axis->numbers[index[i]],
            after->name[0] == 'h' ? 'H' : 'N', (int)after->numbers[index[i + 1]]);
        return 2;
    } else {
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): an axis has labels or numbers
        snprintf(out, size, "%s=%d", axis->name, (int)axis->numbers[index[i]]);
    }
    return 1;
}

/* The name of an entry, as components are named: "L3H7", "0_pre", "raw step:0", "bins=5". */
static void entry_name(char *out, size_t size, const largest *l, int64_t at) {
    int64_t index[PSC_MOST_AXES];
    size_t used = 0;
    indices_of(index, l, at);
    *out = 0;
    for (int i = 0; i < l->n_others && used + 2 < size;) {
        if (i > 0) out[used++] = ' ';
        i += name_part(out + used, size - used, l, i, index);
        used += strlen(out + used);
    }
}

static bool list_entries(largest *l) {
    char name[NAME_BYTES];
    int64_t index[PSC_MOST_AXES];
    l->entries = calloc((size_t)l->n_entries, sizeof *l->entries);
    if (!l->entries) return false;
    l->has[ALL] = true;
    for (int64_t at = 0; at < l->n_entries; at++) {
        indices_of(index, l, at);
        for (int i = 0; i < l->n_others; i++)
            l->entries[at].offset += index[i] * l->stride[l->others[i]];
        entry_name(name, sizeof name, l, at);
        l->entries[at].kind = kind_of(name);
        l->has[l->entries[at].kind] = true;
    }
    return true;
}

/* --- one list -------------------------------------------------------------------------------- */

typedef struct listed {
    int64_t entry[PSC_LARGEST];
    double value[PSC_LARGEST];
    int n;
} listed;

/* Keeps the largest magnitudes, the earlier entry on a tie. */
static void keep(listed *list, int64_t at, double value) {
    int i = list->n < PSC_LARGEST ? list->n++ : PSC_LARGEST;
    for (; i > 0 && fabs(value) > fabs(list->value[i - 1]); i--) {
        if (i == PSC_LARGEST) continue;
        list->value[i] = list->value[i - 1];
        list->entry[i] = list->entry[i - 1];
    }
    if (i == PSC_LARGEST) return;
    list->value[i] = value;
    list->entry[i] = at;
}

/* Adds a list to the object; false without memory. */
static bool add_list(json_t *object, const char *key, const largest *l, const listed *list) {
    char name[NAME_BYTES];
    json_t *out = json_array();
    for (int i = 0; out && i < list->n; i++) {
        entry_name(name, sizeof name, l, list->entry[i]);
        json_t *one = json_pack(
            "{s:o, s:o}", "label", psc_json_string(name), "value", psc_json_real(list->value[i]));
        if (json_array_append_new(out, one) == 0) continue;
        json_decref(out);
        return false;
    }
    return json_object_set_new(object, key, out) == 0;
}

/* {"target", "row", "all", "heads", "neurons"}; null without memory. */
static json_t *lists_at(const largest *l, int64_t target, int64_t row) {
    static const char *const keys[N_LISTS] = {"all", "heads", "neurons"};
    listed lists[N_LISTS] = {{.n = 0}};
    const int64_t start =
        target * l->stride[l->targets] + (l->rows < 0 ? 0 : row * l->stride[l->rows]);
    for (int64_t at = 0; at < l->n_entries; at++) {
        const double value = real_at(l->array, start + l->entries[at].offset);
        if (isnan(value)) continue;
        keep(&lists[ALL], at, value);
        if (l->entries[at].kind != ALL) keep(&lists[l->entries[at].kind], at, value);
    }
    json_t *object =
        json_pack("{s:o}", "target", psc_json_string(l->axes[l->targets]->labels[target]));
    bool done = object != NULL;
    if (done && l->rows >= 0)
        done =
            json_object_set_new(object, "row", json_integer(l->axes[l->rows]->numbers[row])) == 0;
    for (int kind = 0; done && kind < N_LISTS; kind++)
        if (l->has[kind]) done = add_list(object, keys[kind], l, &lists[kind]);
    if (done) return object;
    json_decref(object);
    return NULL;
}

static void put_largest(psc_json *json, largest *l) {
    const int64_t n_targets = l->array->shape[l->targets];
    const int64_t n_rows = l->rows < 0 ? 1 : l->array->shape[l->rows];
    const bool last_only = n_targets > PSC_MOST_LARGEST / n_rows;
    int64_t left = PSC_MOST_LARGEST;
    if (!list_entries(l)) json->no_memory = true;
    psc_json_list(json, "largest", 0);
    for (int64_t t = 0; l->entries && t < n_targets; t++)
        for (int64_t r = last_only ? n_rows - 1 : 0; r < n_rows && left-- > 0; r++)
            psc_json_object_listed(json, lists_at(l, t, r));
    psc_json_objects_end(json);
    free(l->entries);
}

void psc_json_numbers(psc_json *json, const psc_section *section, const psc_stored_array *stored) {
    const psc_array *array = &stored->view;
    largest lists;
    if (stored->bytes / psc_element_size((psc_element)array->element) <= PSC_INLINE_ELEMENTS) {
        int64_t at = 0;
        psc_json_member(json, "values", nested(array, 0, &at));
    }
    if (section && find_roles(&lists, section, array)) put_largest(json, &lists);
}
