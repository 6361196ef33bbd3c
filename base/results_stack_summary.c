/* The printed summary of a stack: per section and target a table with one line per checkpoint.
 * Columns come from the arrays' axes: an array over checkpoints gives a number, one over components
 * or heads each checkpoint's entry of largest magnitude, one over another axis the same entry for
 * all checkpoints, which the head names. Of rows the last counts, of populations the first. */
#include "results_stack.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELL = 160, MOST_COLUMNS = 6, MOST_TARGETS = 3, WIDTH = 74, MOST_PARTS = 4 };

/* A number that stays below is an error of rounding and is not shown. */
#define LEAST 1e-4

/* Where the column's numbers are in an array: at checkpoint k element
 * base + k * stride, or of n elements from there, `step` apart, the largest. */
typedef struct column {
    char title[CELL];
    const psc_array *array;
    int64_t base, stride, n, step;
    const psc_result_axis *layers, *names; /* of the n elements; layers [L] before heads [H] */
    bool is_fixed;                         /* one of many entries, the same at all checkpoints */
} column;

static double element(const psc_array *array, int64_t i) {
    if (array->element == PSC_F64) return ((const double *)array->data)[i];
    if (array->element == PSC_F32) return (double)((const float *)array->data)[i];
    return (double)((const int32_t *)array->data)[i];
}

/* The element of largest magnitude at checkpoint k; -1: all are NaN. */
static int64_t largest(const column *c, int32_t k) {
    int64_t best = -1;
    double most = -1;
    for (int64_t i = 0; i < c->n; i++) {
        const double x = fabs(element(c->array, c->base + k * c->stride + i * c->step));
        if (!(x > most)) continue;
        most = x;
        best = i;
    }
    return best;
}

static double number_of(const column *c, int32_t k) {
    const int64_t i = largest(c, k);
    return i < 0 ? (double)NAN : element(c->array, c->base + k * c->stride + i * c->step);
}

/* --- which columns --------------------------------------------------------------------------- */

static bool is_one_of(const char *name, const char *list) {
    const char *at = strstr(list, name);
    const size_t n = strlen(name);
    return at && (at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == 0);
}

/* The extents from axis i on. */
static int64_t stride_of(const psc_array *array, int i) {
    int64_t stride = 1;
    for (int k = i + 1; k < array->n_axes; k++) stride *= array->shape[k];
    return stride;
}

/* "key level". */
static void put_level(char title[CELL], const char *level) {
    const size_t used = strlen(title);
    snprintf(title + used, CELL - used, " %.60s", level);
}

/* Fixes the axes that have one entry of interest. Returns how many others are left, in open; -1: an
 * axis is empty, or the array does not concern this target. */
static int fix_axes(column *out, int open[PSC_MOST_AXES], const psc_section *section,
    const psc_array *array, int64_t target) {
    int n_open = 0;
    bool has_target = false;
    for (int i = 1; i < array->n_axes; i++) {
        const psc_result_axis *axis = psc_section_axis_named(section, array->axes[i]);
        const int64_t n = array->shape[i];
        int64_t at = -1;
        if (n < 1) return -1;
        if (strcmp(axis->name, "targets") == 0) {
            at = target;
            has_target = true;
        } else if (is_one_of(axis->name, "rows target_rows last") || n == 1) {
            at = n - 1;
        } else if (is_one_of(axis->name, "populations top")) {
            at = 0;
        } else if (axis->labels && is_one_of(axis->name, "layers sites")) {
            at = n - 1; /* of levels the last */
            put_level(out->title, axis->labels[at]);
        }
        if (at >= n) return -1;
        if (at >= 0)
            out->base += at * stride_of(array, i);
        else
            open[n_open++] = i;
    }
    return target > 0 && !has_target ? -1 : n_open;
}

/* The open axes as a list of names, or layers by heads. part: of an axis behind those. */
static bool name_elements(column *c, const psc_section *section, const int *open, int n_open) {
    const psc_array *a = c->array;
    const psc_result_axis *axes[3] = {NULL};
    for (int i = 0; i < n_open; i++) axes[i] = psc_section_axis_named(section, a->axes[open[i]]);
    if (n_open == 1 && axes[0]->labels) {
        c->names = axes[0];
        c->n = axes[0]->n;
        c->step = stride_of(a, open[0]);
        return true;
    }
    if (n_open == 1 && strcmp(axes[0]->name, "layers") == 0) {
        c->layers = axes[0];
        c->n = axes[0]->n;
        c->step = stride_of(a, open[0]);
        return true;
    }
    if (n_open < 2 || strcmp(axes[0]->name, "layers") != 0 || strcmp(axes[1]->name, "heads") != 0 ||
        open[1] != open[0] + 1 || axes[0]->labels)
        return false;
    c->layers = axes[0];
    c->names = axes[1];
    c->n = axes[0]->n * axes[1]->n;
    c->step = stride_of(a, open[1]);
    return true;
}

static bool is_of_interest(const column *c, int32_t n) {
    double least = INFINITY, most = -INFINITY;
    for (int32_t k = 0; k < n; k++) {
        const double x = number_of(c, k);
        if (x < least) least = x;
        if (x > most) most = x;
    }
    return most >= least && fmax(fabs(least), fabs(most)) >= LEAST && (most > least || n == 1);
}

/* Whether the entries are heads, neurons or components: of these each
 * checkpoint shows its largest. */
static bool are_parts_of_model(const column *c) {
    if (!c->names || c->layers) return c->names != NULL;
    const char *label = c->names->labels[0];
    const size_t layer = label[0] == 'L' ? strspn(label + 1, "0123456789") : 0;
    return strncmp(c->names->name, "components", 10) == 0 ||
           is_one_of(c->names->name, "heads neurons") ||
           (layer > 0 && (label[layer + 1] == 'H' || label[layer + 1] == 'N'));
}

/* The entry that sums up the axis; -1: none does. */
static int64_t total_of(const psc_result_axis *axis) {
    for (int64_t i = axis && axis->labels ? axis->n : 0; i-- > 0;)
        if (is_one_of(axis->labels[i], "all final")) return i;
    return -1;
}

/* Chooses one entry for all checkpoints: the total, or the largest of the last checkpoint. */
static void fix_entry(column *c, int32_t n) {
    column all = *c;
    int64_t entry = total_of(c->names);
    all.n = 1;
    all.base += entry * c->step;
    if (entry < 0 || !is_of_interest(&all, n)) entry = largest(c, n - 1);
    if (entry < 0) entry = c->n - 1;
    char layer[24];
    snprintf(layer, sizeof layer, "layer %d", c->layers ? (int)c->layers->numbers[entry] : 0);
    put_level(c->title, c->names ? c->names->labels[entry] : layer);
    c->base += entry * c->step;
    c->n = 1;
    c->is_fixed = true;
}

/* Columns of one array: one, or for layers, heads and a short labeled axis one per label. */
static int add_columns(column *out, int room, const psc_stack *stack, const psc_section *section,
    const psc_array *array, int64_t target) {
    int open[PSC_MOST_AXES], added = 0;
    const char *key = strncmp(array->key, "target_", 7) == 0 ? array->key + 7 : array->key;
    column c = {.array = array, .n = 1, .step = 1, .stride = stride_of(array, 0)};
    snprintf(c.title, sizeof c.title, "%.60s", key);
    const int n_open = fix_axes(&c, open, section, array, target);
    if (n_open < 0 || n_open > 3 || (n_open && !name_elements(&c, section, open, n_open))) return 0;
    if (c.n > 1 && !are_parts_of_model(&c)) fix_entry(&c, stack->n);
    if (n_open < 3) {
        if (room > 0 && is_of_interest(&c, stack->n)) out[added++] = c;
        return added;
    }
    const psc_result_axis *parts = psc_section_axis_named(section, array->axes[open[2]]);
    if (!parts->labels || parts->n > MOST_PARTS) return 0;
    for (int64_t i = 0; i < parts->n && added < room; i++) {
        column part = c;
        part.base += i * stride_of(array, open[2]);
        snprintf(part.title, sizeof part.title, "%.60s", parts->labels[i]);
        if (is_of_interest(&part, stack->n)) out[added++] = part;
    }
    return added;
}

/* Whether the column is of a kind: numbers of the target, other numbers, the largest of many. */
static bool is_kind(const column *c, int kind) {
    const bool of_target = c->array->n_axes > 1 && strcmp(c->array->axes[1], "targets") == 0;
    return c->n > 1 || c->is_fixed ? kind == 2 : kind == !of_target;
}

/* Two numbers, one largest, and so on, so that a narrow table has both. */
static int find_columns(column *out, const psc_stack *stack, int index, int64_t target) {
    static const int pattern[MOST_COLUMNS] = {0, 0, 1, 0, 1, 1};
    const psc_section *section = &stack->out->sections[index];
    column found[4 * MOST_COLUMNS], *sorted[2][4 * MOST_COLUMNS];
    int n = 0, lengths[2] = {0}, used[2] = {0}, kept = 0;
    for (int i = 0; i < stack->out->n_arrays; i++) {
        const psc_stored_array *array = &stack->out->arrays[i];
        if (array->section != index || array->token_ids) continue;
        if (index == PSC_STACK_SECTION && strcmp(array->view.key, "step") == 0) continue;
        n += add_columns(found + n, (int)(sizeof found / sizeof *found) - n, stack, section,
            &array->view, target);
    }
    for (int kind = 0; kind < 3; kind++)
        for (int i = 0; i < n; i++)
            if (is_kind(&found[i], kind)) sorted[kind == 2][lengths[kind == 2]++] = &found[i];
    for (int i = 0; i < MOST_COLUMNS; i++) {
        const int many = used[pattern[i]] < lengths[pattern[i]] ? pattern[i] : !pattern[i];
        if (used[many] < lengths[many]) out[kept++] = *sorted[many][used[many]++];
    }
    return kept;
}

/* --- the table ------------------------------------------------------------------------------- */

static void put_cell(char out[CELL], const column *c, int32_t k) {
    const int64_t i = largest(c, k);
    const double x = number_of(c, k);
    if (i < 0)
        snprintf(out, CELL, "-");
    else if (c->n == 1)
        snprintf(out, CELL, "%.4g", x);
    else if (c->layers)
        snprintf(out, CELL, "L%dH%d %+.3g", (int)c->layers->numbers[i / c->names->n],
            (int)(c->names->numbers ? c->names->numbers[i % c->names->n] : i % c->names->n), x);
    else
        snprintf(out, CELL, "%.60s %+.3g", c->names->labels[i], x);
}

/* Characters, not bytes. */
static int width_of(const char *text) {
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static int column_width(const column *c, int32_t n) {
    char cell[CELL];
    int most = width_of(c->title);
    for (int32_t k = 0; k < n; k++) {
        put_cell(cell, c, k);
        if (width_of(cell) > most) most = width_of(cell);
    }
    return most;
}

typedef struct table {
    const psc_stack *stack;
    psc_section *section;
    column columns[MOST_COLUMNS];
    int widths[MOST_COLUMNS];
    int n, label;
} table;

static psc_status add_line(const table *t, const char *label, int32_t k) {
    char line[2 * WIDTH + MOST_COLUMNS * 3 * CELL], cell[CELL];
    int used = snprintf(line, sizeof line, "%s%*s", label, t->label - width_of(label), "");
    for (int i = 0; i < t->n; i++) {
        snprintf(cell, sizeof cell, "%s", t->columns[i].title);
        if (k >= 0) put_cell(cell, &t->columns[i], k);
        used += snprintf(line + used, sizeof line - (size_t)used, "  %*s%s",
            t->widths[i] - width_of(cell), "", cell);
    }
    return psc_section_add_sentence(t->section, line);
}

/* Of many checkpoints evenly spaced ones, with the first and the last. */
static psc_status add_lines(const table *t) {
    const int32_t n = t->stack->n, shown = n < PSC_STACK_LINES ? n : PSC_STACK_LINES;
    psc_status status = add_line(t, "checkpoint", -1);
    for (int32_t i = 0; !status && i < shown; i++) {
        const int32_t k = shown > 1 ? (int32_t)((int64_t)i * (n - 1) / (shown - 1)) : 0;
        char label[24];
        snprintf(label, sizeof label, "%.20s", t->stack->labels[k]);
        status = add_line(t, label, k);
    }
    return status;
}

/* The width of the first column: that of the labels, from 10 to 20. */
static int label_width(const psc_stack *stack) {
    int most = 10;
    for (int32_t k = 0; k < stack->n; k++) {
        const int label = width_of(stack->labels[k]);
        if (label > most) most = label < 20 ? label : 20;
    }
    return most;
}

static psc_status add_table(const psc_stack *stack, int index, int64_t target, bool has_targets) {
    table t = {
        .stack = stack, .section = &stack->out->sections[index], .label = label_width(stack)};
    char heading[256], shown[128];
    const int found = find_columns(t.columns, stack, index, target);
    int width = t.label;
    for (int i = 0; i < found; i++) {
        const int next = column_width(&t.columns[i], stack->n);
        if (width + 2 + next > WIDTH) continue; /* whole words, or none */
        t.columns[t.n] = t.columns[i];
        t.widths[t.n++] = next;
        width += 2 + next;
    }
    if (t.n == 0) return PSC_OK;
    psc_stack_target_shown(shown, sizeof shown, stack, (int32_t)target);
    if (has_targets && *shown)
        snprintf(heading, sizeof heading, "%s over the checkpoints:", shown);
    else
        snprintf(heading, sizeof heading, "Over the checkpoints:");
    psc_status status = psc_section_add_sentence(t.section, heading);
    return status ? status : add_lines(&t);
}

static psc_status summarize_section(const psc_stack *stack, int index) {
    const psc_result_axis *targets =
        psc_section_axis_named(&stack->out->sections[index], "targets");
    const int64_t n = targets && targets->n > 0 ? targets->n : 1;
    psc_status status = index == PSC_STACK_SECTION ? psc_stack_target_bars(stack) : PSC_OK;
    for (int64_t i = 0; !status && i < n && i < MOST_TARGETS; i++)
        status = add_table(stack, index, i, targets != NULL);
    psc_section *section = &stack->out->sections[index];
    if (!status && index != PSC_STACK_SECTION && section->n_items == 0)
        status = psc_section_add_sentence(section,
            "No one number stands for it: --html draws its arrays over the checkpoints, and --out "
            "writes them.");
    return status;
}

/* --- notes ----------------------------------------------------------------------------------- */

static psc_status add_equal(const psc_stack *stack, int32_t first) {
    char text[1024];
    int used =
        snprintf(text, sizeof text, "The same weights (equal hash): %.60s", stack->labels[first]);
    bool any = false;
    for (int32_t k = 0; k < stack->n; k++) {
        if (k == first || strcmp(stack->from[k]->model.hash, stack->from[first]->model.hash) != 0)
            continue;
        if (k < first) return PSC_OK; /* said before */
        any = true;
        if (used < 900)
            used += snprintf(text + used, sizeof text - (size_t)used, ", %.60s", stack->labels[k]);
    }
    if (!any) return PSC_OK;
    snprintf(text + used, sizeof text - (size_t)used, ".");
    return psc_section_add_sentence(&stack->out->sections[PSC_STACK_SECTION], text);
}

static psc_status add_left_out(const psc_stack *stack) {
    psc_section *section = &stack->out->sections[PSC_STACK_SECTION];
    const psc_result_value *list = psc_section_value_named(section, "left_out");
    char text[1024];
    if (!list) return PSC_OK;
    int used = snprintf(text, sizeof text, "Not stacked: ");
    for (int32_t i = 0; i < list->n && i < 4; i++)
        used += snprintf(
            text + used, sizeof text - (size_t)used, "%s%.200s", i ? "; " : "", list->texts[i]);
    if (list->n > 4)
        used += snprintf(text + used, sizeof text - (size_t)used,
            "; %d more in the list left_out of results.json", (int)list->n - 4);
    snprintf(text + used, sizeof text - (size_t)used, ".");
    return psc_section_add_sentence(section, text);
}

psc_status psc_stack_summarize(const psc_stack *stack) {
    char text[320];
    snprintf(text, sizeof text, "%d checkpoint%s: %.100s%s%.100s.", (int)stack->n,
        stack->n == 1 ? "" : "s", stack->labels[0], stack->n == 1 ? "" : " to ",
        stack->n == 1 ? "" : stack->labels[stack->n - 1]);
    psc_status status = psc_section_add_sentence(&stack->out->sections[PSC_STACK_SECTION], text);
    for (int i = 0; !status && i < stack->out->n_sections; i++)
        status = summarize_section(stack, i);
    for (int32_t k = 0; !status && k < stack->n; k++) status = add_equal(stack, k);
    if (!status) status = add_left_out(stack);
    return status ? psc_stack_no_memory(stack) : PSC_OK;
}
