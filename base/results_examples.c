/* Results of many examples as one. A batch's array [a, rows, b] is taken apart: of each example the
 * part with its own rows, whose places are noted. When all are there, the places that any example
 * has become the axis of rows, and the parts are put into [examples, a, rows, b]. */
#include "results_examples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the examples' results");
}

psc_status psc_examples_open(psc_examples **out, const psc_examples_set *set, psc_error *error) {
    *out = calloc(1, sizeof **out);
    if (!*out) return no_memory(error);
    (*out)->set = *set;
    const psc_status status = psc_results_open(&(*out)->frame, error);
    if (status) psc_examples_close(out);
    return status;
}

static void free_part(psc_example_part *part) {
    for (int i = 0; i < PSC_MOST_AXES; i++) free(part->places[i]);
    free(part->data);
    *part = (psc_example_part){0};
}

static void free_array(const psc_examples *e, psc_examples_array *array) {
    for (int32_t k = 0; array->parts && k < e->set.n; k++) free_part(&array->parts[k]);
    for (int i = 0; i < array->n_axes; i++) free(array->axes[i]);
    free(array->parts);
    free(array->key);
    *array = (psc_examples_array){0};
}

void psc_examples_close(psc_examples **examples) {
    psc_examples *e = *examples;
    if (!e) return;
    for (int32_t i = 0; i < e->n_arrays; i++) free_array(e, &e->arrays[i]);
    for (int32_t i = 0; i < e->n_rows; i++) free(e->rows[i].places);
    free(e->arrays);
    free(e->rows);
    psc_results_close(&e->frame);
    free(e);
    *examples = NULL;
}

/* --- axes ------------------------------------------------------------------------------------ */

/* An axis whose entries are rows of the run; of positions, where the examples lie in front. */
static bool is_rows(const psc_result_axis *axis) {
    static const char *const names[] = {"rows", "target_rows", "last"};
    for (size_t i = 0; axis->numbers && i < sizeof names / sizeof *names; i++)
        if (strcmp(axis->name, names[i]) == 0) return true;
    return false;
}

/* An axis whose entries are positions of keys. */
static bool is_keys(const psc_result_axis *axis) {
    return axis->numbers && strcmp(axis->name, "keys") == 0;
}

static bool has_examples(const psc_array *a) {
    return a->n_axes > 0 && strcmp(a->axes[0], PSC_EXAMPLES_AXIS) == 0;
}

/* A name that the axes in front have. */
static bool is_own(const char *axis) {
    return strcmp(axis, PSC_EXAMPLES_AXIS) == 0 || strcmp(axis, PSC_GROUPS_AXIS) == 0 ||
           strcmp(axis, PSC_STATISTICS_AXIS) == 0;
}

static const psc_result_axis *axis_of(const psc_results *from, const psc_stored_array *a, int i) {
    return psc_section_axis_named(&from->sections[a->section], a->view.axes[i]);
}

bool psc_examples_can_split(const psc_results *results) {
    for (int i = 0; i < results->n_arrays; i++) {
        const psc_stored_array *a = &results->arrays[i];
        if (a->section < 0) continue;
        int rows = 0;
        for (int k = 0; k < a->view.n_axes; k++) rows += is_rows(axis_of(results, a, k));
        if (rows != 1 && !has_examples(&a->view)) return false;
    }
    return true;
}

/* --- copies ---------------------------------------------------------------------------------- */

/* A copy between two dense arrays. An index list picks the entries of an axis; null: all. */
typedef struct copy {
    int n_axes;
    size_t element;
    int64_t n[PSC_MOST_AXES]; /* entries that are copied */
    const int32_t *to_index[PSC_MOST_AXES], *from_index[PSC_MOST_AXES];
    int64_t to_stride[PSC_MOST_AXES], from_stride[PSC_MOST_AXES]; /* bytes */
} copy;

static void set_strides(int64_t *stride, int n_axes, const int64_t *extent, size_t element) {
    int64_t bytes = (int64_t)element;
    for (int i = n_axes; i-- > 0; bytes *= extent[i]) stride[i] = bytes;
}

// NOLINTNEXTLINE(misc-no-recursion): at most PSC_MOST_AXES deep
static void run_copy(const copy *c, int axis, char *to, const char *from) {
    if (axis == c->n_axes) {
        memcpy(to, from, c->element);
        return;
    }
    if (axis + 1 == c->n_axes && !c->to_index[axis] && !c->from_index[axis]) {
        memcpy(to, from, (size_t)c->n[axis] * c->element);
        return;
    }
    for (int64_t i = 0; i < c->n[axis]; i++) {
        const int64_t t = c->to_index[axis] ? c->to_index[axis][i] : i;
        const int64_t f = c->from_index[axis] ? c->from_index[axis][i] : i;
        run_copy(c, axis + 1, to + t * c->to_stride[axis], from + f * c->from_stride[axis]);
    }
}

/* --- taking a run apart ---------------------------------------------------------------------- */

/* Array i of a run, beside the one that it becomes. */
typedef struct taking {
    psc_examples *to;
    psc_examples_array *array;
    const psc_results *from;
    const psc_stored_array *stored;
    int first_axis; /* 1 behind the examples, else 0 */
} taking;

/* The place of an entry of a row axis for an example; -1: it is not the example's. */
static int32_t place_of(
    const taking *t, const psc_result_axis *axis, int64_t i, int32_t sequence, int32_t example) {
    const psc_examples_set *set = &t->to->set;
    const int32_t number = axis->numbers[i];
    if (t->first_axis || is_keys(axis)) return set->place(set->payload, example, number);
    if (number < 0 || number >= t->from->n_tokens) return -1;
    const psc_result_token *token = &t->from->tokens[number];
    return token->sequence == sequence ? set->place(set->payload, example, token->position) : -1;
}

/* Lists the entries of a row axis that are the example's: *index and part->places [extent]. */
static bool take_places(const taking *t, psc_example_part *part, int32_t **index, int axis,
    int32_t sequence, int32_t example) {
    const psc_result_axis *view = axis_of(t->from, t->stored, axis + t->first_axis);
    int64_t n = 0;
    *index = malloc((size_t)view->n * sizeof **index + 1);
    part->places[axis] = malloc((size_t)view->n * sizeof **index + 1);
    if (!*index || !part->places[axis]) return false;
    for (int64_t i = 0; i < view->n; i++) {
        const int32_t place = place_of(t, view, i, sequence, example);
        if (place < 0) continue;
        (*index)[n] = (int32_t)i;
        part->places[axis][n++] = place;
    }
    part->extent[axis] = n;
    return true;
}

static psc_status take_part(const taking *t, int32_t sequence, int32_t example, psc_error *error) {
    const psc_examples_array *array = t->array;
    psc_example_part *part = &array->parts[example];
    const psc_array *view = &t->stored->view;
    int32_t *index[PSC_MOST_AXES] = {0};
    copy c = {.n_axes = array->n_axes, .element = psc_element_size(array->element)};
    bool whole = true;
    int64_t bytes = (int64_t)c.element, from_stride[PSC_MOST_AXES + 1] = {0};
    free_part(part);
    for (int i = 0; whole && i < array->n_axes; i++) {
        part->extent[i] = array->extent[i];
        if (array->is_row[i]) whole = take_places(t, part, &index[i], i, sequence, example);
        c.n[i] = part->extent[i];
        c.from_index[i] = index[i];
        bytes *= part->extent[i];
    }
    set_strides(from_stride, view->n_axes, view->shape, c.element);
    set_strides(c.to_stride, array->n_axes, part->extent, c.element);
    for (int i = 0; i < array->n_axes; i++) c.from_stride[i] = from_stride[i + t->first_axis];
    part->data = whole ? malloc((size_t)bytes + 1) : NULL;
    if (part->data)
        run_copy(&c, 0, part->data,
            (const char *)view->data + (t->first_axis ? sequence * from_stride[0] : 0));
    for (int i = 0; i < PSC_MOST_AXES; i++) free(index[i]);
    t->to->bytes += (uint64_t)bytes;
    return part->data ? PSC_OK : no_memory(error);
}

/* --- the frame: what the first run has ------------------------------------------------------- */

static psc_status copy_items(psc_section *to, const psc_section *from) {
    psc_status status = PSC_OK;
    for (int i = 0; !status && i < from->n_items; i++)
        if (from->items[i].sentence) status = psc_section_add_sentence(to, from->items[i].sentence);
    return status;
}

static psc_status add_frame(psc_examples *e, const psc_results *first, psc_error *error) {
    for (int s = 0; s < first->n_sections; s++) {
        const psc_section *from = &first->sections[s];
        psc_section *to = psc_results_add_section(e->frame, from->name, from->version);
        psc_status status = to ? PSC_OK : PSC_ERROR_MEMORY;
        for (int i = 0; !status && i < from->n_options; i++)
            status = psc_section_add_option(to, from->options[i].key, from->options[i].value);
        for (int i = 0; !status && i < from->n_values; i++)
            if (from->values[i].view.kind == PSC_VALUE_TEXT)
                status = psc_section_copy_value(to, &from->values[i].view);
        for (int i = 0; !status && i < from->n_axes; i++) {
            const psc_result_axis *axis = &from->axes[i].view;
            if (!is_rows(axis) && !is_keys(axis) && !is_own(axis->name))
                status = psc_results_copy_axis(e->frame, s, axis);
        }
        /* an editor's sentence is about all runs; a summary of arrays is about one */
        if (!status && from->n_arrays == 0) status = copy_items(to, from);
        if (status) return no_memory(error);
    }
    return PSC_OK;
}

/* The array of that section and key, or a new one as `stored` is; null without memory. */
static psc_examples_array *array_for(taking *t) {
    psc_examples *e = t->to;
    const psc_array *view = &t->stored->view;
    for (int32_t i = 0; i < e->n_arrays; i++)
        if (e->arrays[i].section == t->stored->section && strcmp(e->arrays[i].key, view->key) == 0)
            return &e->arrays[i];
    psc_examples_array *arrays = psc_list_grow(e->arrays, e->n_arrays, sizeof *arrays);
    if (!arrays) return NULL;
    e->arrays = arrays;
    psc_examples_array *a = &arrays[e->n_arrays];
    *a = (psc_examples_array){.section = t->stored->section,
        .element = (psc_element)view->element,
        .token_ids = t->stored->token_ids,
        .n_axes = view->n_axes - t->first_axis};
    a->key = strdup(view->key);
    a->parts = calloc((size_t)e->set.n, sizeof *a->parts);
    bool whole = a->key && a->parts;
    for (int i = 0; i < a->n_axes; i++) {
        const psc_result_axis *axis = axis_of(t->from, t->stored, i + t->first_axis);
        a->axes[i] = strdup(axis->name);
        a->is_row[i] = is_rows(axis) || is_keys(axis);
        a->extent[i] = axis->n;
        whole = whole && a->axes[i];
    }
    for (int i = 0; whole && i < a->n_axes; i++)
        if (is_own(a->axes[i])) a->left_out = "the results have an axis of that name";
    if (a->n_axes == PSC_MOST_AXES) a->left_out = "it has 6 axes";
    e->n_arrays++;
    return whole ? a : NULL;
}

/* Marks an array whose other axes are not those of the first run. */
static void compare(taking *t) {
    psc_examples_array *a = t->array;
    const psc_array *view = &t->stored->view;
    bool same = view->n_axes - t->first_axis == a->n_axes && (int)a->element == view->element;
    for (int i = 0; same && i < a->n_axes; i++) {
        const psc_result_axis *axis = axis_of(t->from, t->stored, i + t->first_axis);
        const psc_result_axis *first =
            psc_section_axis_named(&t->to->frame->sections[a->section], a->axes[i]);
        same = strcmp(axis->name, a->axes[i]) == 0 &&
               (a->is_row[i] || (first && psc_results_same_axis(first, axis)));
    }
    if (!same) a->left_out = "its axes differ from example to example";
}

/* Sections come from the same plugins in the same order. */
psc_status psc_examples_add(
    psc_examples *e, const psc_results *results, int32_t first, int32_t n, psc_error *error) {
    psc_status status = e->frame->n_sections == 0 ? add_frame(e, results, error) : PSC_OK;
    const uint64_t before = e->bytes;
    for (int i = 0; !status && i < results->n_arrays; i++) {
        taking t = {.to = e, .from = results, .stored = &results->arrays[i]};
        if (t.stored->section < 0) continue;
        t.first_axis = has_examples(&t.stored->view);
        t.array = array_for(&t);
        if (!t.array) return no_memory(error);
        if (!t.array->left_out) compare(&t);
        for (int32_t k = 0; !status && !t.array->left_out && k < n; k++)
            status = take_part(&t, k, first + k, error);
    }
    const double each = n > 0 ? (double)(e->bytes - before) / n : 0;
    if (status || each * e->set.n <= (double)e->set.most_bytes) return status;
    return psc_fail(error, PSC_ERROR_INPUT,
        "the results of %d pairs would take %.1f GB, more than %.1f GB; choose fewer rows, a "
        "coarser level or fewer pairs",
        (int)e->set.n, 1e-9 * each * e->set.n, 1e-9 * (double)e->set.most_bytes);
}

/* --- putting together ------------------------------------------------------------------------ */

static int by_number(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Appends the places of an array's axis, and keeps the distinct ones. */
static bool add_places(
    psc_examples_rows *rows, const psc_examples *e, const psc_examples_array *array, int axis) {
    int64_t n = rows->n, distinct = 0;
    for (int32_t k = 0; k < e->set.n; k++)
        if (array->parts[k].data) n += array->parts[k].extent[axis];
    int32_t *all = realloc(rows->places, (size_t)n * sizeof *all + 1);
    if (!all) return false;
    rows->places = all;
    for (int32_t k = 0; k < e->set.n; k++) {
        const psc_example_part *part = &array->parts[k];
        for (int64_t r = 0; part->data && r < part->extent[axis]; r++)
            all[rows->n++] = part->places[axis][r];
    }
    qsort(all, (size_t)n, sizeof *all, by_number);
    for (int64_t r = 0; r < n; r++)
        if (r == 0 || all[r] != all[r - 1]) all[distinct++] = all[r];
    rows->n = distinct;
    return true;
}

/* The places that any part has on an axis of that name; null without memory. Arrays that are put
 * together already have no parts, so the first of a section asks. */
static const psc_examples_rows *rows_of(psc_examples *e, int section, const char *axis) {
    for (int32_t i = 0; i < e->n_rows; i++)
        if (e->rows[i].section == section && strcmp(e->rows[i].axis, axis) == 0) return &e->rows[i];
    psc_examples_rows *rows = psc_list_grow(e->rows, e->n_rows, sizeof *rows);
    if (!rows) return NULL;
    e->rows = rows;
    rows += e->n_rows++;
    *rows = (psc_examples_rows){section, axis, NULL, 0};
    for (int32_t a = 0; a < e->n_arrays; a++) {
        const psc_examples_array *array = &e->arrays[a];
        if (array->section != section || array->left_out) continue;
        for (int i = 0; i < array->n_axes; i++)
            if (array->is_row[i] && strcmp(array->axes[i], axis) == 0 &&
                !add_places(rows, e, array, i))
                return NULL;
    }
    return rows;
}

enum { PLACE_NAME = 256 };

static psc_status add_row_axis(
    const psc_examples *e, psc_results *out, int section, const psc_examples_rows *rows) {
    const int64_t n = rows->n;
    char *texts = malloc((size_t)n * PLACE_NAME + 1);
    const char **labels = malloc((size_t)n * sizeof *labels + 1);
    psc_status status = texts && labels ? PSC_OK : PSC_ERROR_MEMORY;
    for (int64_t i = 0; !status && i < n; i++) {
        labels[i] = texts + i * PLACE_NAME;
        e->set.place_name(texts + i * PLACE_NAME, PLACE_NAME, e->set.payload, rows->places[i]);
    }
    if (!status)
        status = psc_section_add_labels(out, &out->sections[section], rows->axis, n, labels);
    free(texts);
    free(labels);
    return status;
}

/* Puts the parts of an array into the array `all` of out; frees them. rows [n_axes]: null for
 * others. */
static psc_status put_parts(const psc_examples *e, psc_examples_array *array, psc_stored_array *all,
    const psc_examples_rows *const *rows, psc_error *error) {
    copy c = {.n_axes = array->n_axes, .element = psc_element_size(array->element)};
    const int64_t *shape = all->view.shape + 1;
    int32_t *index[PSC_MOST_AXES] = {0};
    bool whole = true;
    for (int i = 0; i < array->n_axes; i++)
        if (array->is_row[i])
            whole = (index[i] = malloc((size_t)shape[i] * sizeof **index + 1)) && whole;
    set_strides(c.to_stride, c.n_axes, shape, c.element);
    int64_t bytes = (int64_t)c.element;
    for (int i = 0; i < c.n_axes; i++) bytes *= shape[i];
    for (int32_t k = 0; whole && k < e->set.n; k++) {
        psc_example_part *part = &array->parts[k];
        if (!part->data) continue;
        set_strides(c.from_stride, c.n_axes, part->extent, c.element);
        for (int i = 0; i < c.n_axes; i++) {
            c.n[i] = part->extent[i];
            c.to_index[i] = index[i];
            for (int64_t r = 0, at = 0; index[i] && r < part->extent[i]; r++) {
                /* both ascend, unless the plugin's rows do not */
                if (at < shape[i] && rows[i]->places[at] > part->places[i][r]) at = 0;
                while (at < shape[i] && rows[i]->places[at] < part->places[i][r]) at++;
                index[i][r] = (int32_t)at;
            }
        }
        run_copy(&c, 0, (char *)all->view.data + k * bytes, part->data);
        free_part(part);
    }
    for (int i = 0; i < array->n_axes; i++) free(index[i]);
    return whole ? PSC_OK : no_memory(error);
}

/* The rows of an array's axes, each of which section has from now on. */
static psc_status find_rows(const psc_examples_rows **rows, psc_examples *e,
    const psc_examples_array *array, psc_results *out, int section, psc_error *error) {
    for (int i = 0; i < array->n_axes; i++) /* all first: the list moves when it grows */
        if (array->is_row[i] && !rows_of(e, array->section, array->axes[i]))
            return no_memory(error);
    for (int i = 0; i < array->n_axes; i++) {
        if (!array->is_row[i]) continue;
        rows[i] = rows_of(e, array->section, array->axes[i]);
        if (!rows[i]) return no_memory(error);
        if (!psc_section_axis_named(&out->sections[section], array->axes[i]) &&
            add_row_axis(e, out, section, rows[i]))
            return no_memory(error);
    }
    return PSC_OK;
}

static psc_status finish_array(psc_examples *e, psc_examples_array *array, psc_results *out,
    int section, const psc_examples_draws *how, psc_error *error) {
    const psc_section *to = &out->sections[section];
    const char *axes[PSC_MOST_AXES] = {psc_section_axis_named(to, PSC_EXAMPLES_AXIS)->name};
    int64_t shape[PSC_MOST_AXES] = {e->set.n};
    const psc_examples_rows *rows[PSC_MOST_AXES] = {0};
    psc_status status = find_rows(rows, e, array, out, section, error);
    if (status) return status;
    for (int i = 0; i < array->n_axes; i++) {
        shape[i + 1] = rows[i] ? rows[i]->n : array->extent[i];
        axes[i + 1] = psc_section_axis_named(to, array->axes[i])->name;
    }
    psc_stored_array *all = psc_results_add_array(
        out, section, array->key, array->element, array->n_axes + 1, axes, shape, true, error);
    if (!all) return error->status;
    all->token_ids = array->token_ids;
    status = put_parts(e, array, all, rows, error);
    return status ? status
                  : psc_examples_statistics(e, out, section, out->n_arrays - 1, how, error);
}

/* A section of out with the frame's options, texts and axes behind those of examples. */
static psc_status begin_section(const psc_examples *e, psc_results *out, const psc_section *frame) {
    static const char *const statistics[PSC_STATISTICS] = {
        "mean", "se", "low", "high", "low_percentile", "high_percentile", "p", "n"};
    psc_section *to = psc_results_add_section(out, frame->name, frame->version);
    psc_status status = to ? PSC_OK : PSC_ERROR_MEMORY;
    if (!status) status = psc_section_add_labels(out, to, PSC_EXAMPLES_AXIS, e->set.n, e->set.ids);
    if (!status && e->set.n_groups > 0)
        status = psc_section_add_labels(out, to, PSC_GROUPS_AXIS, e->set.n_groups, e->set.groups);
    if (!status)
        status = psc_section_add_labels(out, to, PSC_STATISTICS_AXIS, PSC_STATISTICS, statistics);
    for (int i = 0; !status && i < frame->n_options; i++)
        status = psc_section_add_option(to, frame->options[i].key, frame->options[i].value);
    for (int i = 0; !status && i < frame->n_values; i++)
        status = psc_section_copy_value(to, &frame->values[i].view);
    for (int i = 0; !status && i < frame->n_axes; i++)
        status = psc_results_copy_axis(out, out->n_sections - 1, &frame->axes[i].view);
    if (!status) status = copy_items(to, frame);
    return status;
}

psc_status psc_examples_finish(
    psc_examples *e, psc_results *out, const psc_examples_draws *how, psc_error *error) {
    psc_status status = PSC_OK;
    for (int s = 0; !status && s < e->frame->n_sections; s++) {
        const int section = out->n_sections;
        if (begin_section(e, out, &e->frame->sections[s])) return no_memory(error);
        for (int32_t i = 0; !status && i < e->n_arrays; i++) {
            psc_examples_array *array = &e->arrays[i];
            if (array->section != s) continue;
            char text[400];
            snprintf(text, sizeof text, "%.200s: %s", array->key,
                array->left_out ? array->left_out : "");
            if (array->left_out &&
                psc_section_append_text(&out->sections[section], "left_out", text))
                return no_memory(error);
            if (!array->left_out) status = finish_array(e, array, out, section, how, error);
        }
        if (!status) status = psc_examples_summarize(e, out, section, how, error);
    }
    return status;
}
