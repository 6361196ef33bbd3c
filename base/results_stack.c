/* Results of the same work at n checkpoints as one: an array [a, b] of each becomes
 * [checkpoints, a, b], in which slice k has the bytes of result k. */
#include "results_stack.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

psc_status psc_stack_no_memory(const psc_stack *stack) {
    return psc_fail(
        stack->error, PSC_ERROR_MEMORY, "not enough memory to stack %d results", (int)stack->n);
}

psc_status psc_stack_leave_out(
    const psc_stack *stack, const char *section, const char *what, const char *why) {
    char text[512];
    snprintf(text, sizeof text, "%.120s%s%.200s: %s", section, *section ? "." : "", what, why);
    const psc_status status =
        psc_section_append_text(&stack->out->sections[PSC_STACK_SECTION], "left_out", text);
    return status ? psc_stack_no_memory(stack) : PSC_OK;
}

const psc_section *psc_stack_section_of(const psc_stack *stack, int32_t k, const char *name) {
    const psc_results *from = stack->from[k];
    for (int i = 0; i < from->n_sections; i++)
        if (strcmp(from->sections[i].name, name) == 0) return &from->sections[i];
    return NULL;
}

/* --- checks ---------------------------------------------------------------------------------- */

static psc_status check_labels(const psc_stack *stack) {
    for (int32_t i = 0; i < stack->n; i++) {
        if (!stack->labels[i] || !*stack->labels[i])
            return psc_fail(stack->error, PSC_ERROR_INPUT,
                "result %d has no label; give each checkpoint a name", (int)i);
        for (int32_t k = 0; k < i; k++)
            if (strcmp(stack->labels[i], stack->labels[k]) == 0)
                return psc_fail(stack->error, PSC_ERROR_INPUT,
                    "the label '%.100s' is given twice; each checkpoint needs its own",
                    stack->labels[i]);
    }
    return PSC_OK;
}

static bool same_tokens(const psc_results *a, const psc_results *b) {
    if (a->n_tokens != b->n_tokens) return false;
    for (int32_t i = 0; i < a->n_tokens; i++)
        if (a->tokens[i].id != b->tokens[i].id || a->tokens[i].sequence != b->tokens[i].sequence ||
            a->tokens[i].position != b->tokens[i].position)
            return false;
    return true;
}

static psc_status check_result(const psc_stack *stack, int32_t k) {
    const psc_results *first = stack->from[0], *other = stack->from[k];
    if (!other->has_head)
        return psc_fail(stack->error, PSC_ERROR_STATE,
            "the results of %.100s are empty; run the session before stacking them",
            stack->labels[k]);
    for (int i = 0; i < other->n_sections; i++)
        if (strcmp(other->sections[i].name, PSC_STACK_AXIS) == 0 ||
            psc_section_axis_named(&other->sections[i], PSC_STACK_AXIS))
            return psc_fail(stack->error, PSC_ERROR_INPUT,
                "the results of %.100s already have checkpoints; stack results of one model each",
                stack->labels[k]);
    if (!same_tokens(first, other))
        return psc_fail(stack->error, PSC_ERROR_INPUT,
            "%.100s and %.100s have different tokens; stack results of one text", stack->labels[0],
            stack->labels[k]);
    if (first->has_corpus == other->has_corpus && first->corpus.tokens == other->corpus.tokens &&
        first->corpus.documents == other->corpus.documents)
        return PSC_OK;
    return psc_fail(stack->error, PSC_ERROR_INPUT,
        "%.100s and %.100s read different documents; stack results of one corpus", stack->labels[0],
        stack->labels[k]);
}

static psc_status check(const psc_stack *stack) {
    if (stack->n < 1)
        return psc_fail(stack->error, PSC_ERROR_INPUT, "there are no results to stack");
    psc_status status = check_labels(stack);
    for (int32_t k = 0; !status && k < stack->n; k++) status = check_result(stack, k);
    return status;
}

/* --- axes ------------------------------------------------------------------------------------ */

/* Whether all results have the axis of the first one's section, with the same entries. */
static bool axis_is_common(
    const psc_stack *stack, const psc_section *first, const psc_result_axis *axis) {
    for (int32_t k = 1; k < stack->n; k++) {
        const psc_section *section = psc_stack_section_of(stack, k, first->name);
        const psc_result_axis *other = psc_section_axis_named(section, axis->name);
        if (!other || !psc_results_same_axis(axis, other)) return false;
    }
    return true;
}

/* --- arrays ---------------------------------------------------------------------------------- */

psc_stored_array *psc_stack_new_array(const psc_stack *stack, int to, const char *key,
    psc_element element, int n_axes, const char *const *axes, const int64_t *shape) {
    const char *names[PSC_MOST_AXES] = {PSC_STACK_AXIS};
    int64_t extents[PSC_MOST_AXES] = {stack->n};
    for (int i = 0; i < n_axes; i++) {
        const psc_result_axis *axis =
            to < 0 ? NULL : psc_section_axis_named(&stack->out->sections[to], axes[i]);
        names[i + 1] = axis ? axis->name : NULL;
        extents[i + 1] = shape[i];
    }
    if (to >= 0) names[0] = psc_section_axis_named(&stack->out->sections[to], PSC_STACK_AXIS)->name;
    return psc_results_add_array(stack->out, to, key, element, n_axes + 1, to < 0 ? NULL : names,
        extents, true, stack->error);
}

/* Why the array cannot be stacked; null if it can. to: its section in the stack; -1: a capture. */
static const char *unlike(const psc_stack *stack, int to, const psc_stored_array *first) {
    const psc_array *a = &first->view;
    if (a->n_axes >= PSC_MOST_AXES) return "it has 6 axes";
    for (int i = 0; to >= 0 && i < a->n_axes; i++)
        if (!psc_section_axis_named(&stack->out->sections[to], a->axes[i]))
            return "its axes differ from checkpoint to checkpoint";
    for (int32_t k = 1; k < stack->n; k++) {
        const psc_stored_array *other = psc_results_array_named(stack->from[k], a->name);
        if (!other || (other->section < 0) != (to < 0)) return "not every checkpoint has it";
        const psc_array *b = &other->view;
        if (a->element != b->element || first->token_ids != other->token_ids)
            return "its type differs from checkpoint to checkpoint";
        bool same = a->n_axes == b->n_axes;
        for (int i = 0; same && i < a->n_axes; i++)
            same = a->shape[i] == b->shape[i] && (to < 0 || strcmp(a->axes[i], b->axes[i]) == 0);
        if (!same) return "its shape differs from checkpoint to checkpoint";
    }
    return NULL;
}

static psc_status stack_array(const psc_stack *stack, int to, const psc_stored_array *first) {
    const psc_array *a = &first->view;
    const char *why = unlike(stack, to, first);
    if (why)
        return psc_stack_leave_out(stack, to < 0 ? "" : stack->out->sections[to].name, a->key, why);
    psc_stored_array *all = psc_stack_new_array(
        stack, to, a->key, (psc_element)a->element, a->n_axes, a->axes, a->shape);
    if (!all) return stack->error->status;
    all->token_ids = first->token_ids;
    for (int32_t k = 0; k < stack->n; k++) {
        const psc_stored_array *one = psc_results_array_named(stack->from[k], a->name);
        memcpy((char *)all->view.data + (size_t)k * first->bytes, one->view.data,
            (size_t)first->bytes);
    }
    return PSC_OK;
}

/* The arrays of the first result's section; section -1: the captures. */
static psc_status stack_arrays(const psc_stack *stack, int section, int to) {
    const psc_results *first = stack->from[0];
    psc_status status = PSC_OK;
    for (int i = 0; !status && i < first->n_arrays; i++)
        if (first->arrays[i].section == section) status = stack_array(stack, to, &first->arrays[i]);
    return status;
}

/* --- sections -------------------------------------------------------------------------------- */

/* Axes and values in the order of the first result's section. */
static psc_status stack_entries(const psc_stack *stack, const psc_section *first, int to) {
    psc_status status = PSC_OK;
    for (int axis = 0, value = 0; !status && axis + value < first->n_axes + first->n_values;) {
        if (axis >= first->n_axes || first->axes[axis].place != axis + value) {
            status = psc_stack_value(stack, to, &first->values[value++].view);
            continue;
        }
        const psc_result_axis *view = &first->axes[axis++].view;
        if (axis_is_common(stack, first, view) && psc_results_copy_axis(stack->out, to, view))
            status = psc_stack_no_memory(stack);
    }
    return status;
}

static psc_status stack_section(const psc_stack *stack, int index) {
    const psc_section *first = &stack->from[0]->sections[index];
    for (int32_t k = 1; k < stack->n; k++)
        if (!psc_stack_section_of(stack, k, first->name))
            return psc_stack_leave_out(stack, "", first->name, "not every checkpoint has it");
    psc_section *section = psc_results_add_section(stack->out, first->name, first->version);
    const int to = stack->out->n_sections - 1;
    if (!section ||
        psc_section_add_labels(stack->out, section, PSC_STACK_AXIS, stack->n, stack->labels))
        return psc_stack_no_memory(stack);
    for (int i = 0; i < first->n_options; i++)
        if (psc_section_add_option(section, first->options[i].key, first->options[i].value))
            return psc_stack_no_memory(stack);
    psc_status status = stack_entries(stack, first, to);
    return status ? status : stack_arrays(stack, index, to);
}

/* "step1000" -> 1000; NaN for a name that does not end in digits. */
static double step_of(const char *label) {
    const char *digits = label + strlen(label);
    while (digits > label && digits[-1] >= '0' && digits[-1] <= '9') digits--;
    return *digits ? strtod(digits, NULL) : (double)NAN;
}

/* Section `checkpoints`: the steps, and which model each is. */
static psc_status add_checkpoints(const psc_stack *stack) {
    psc_section *section =
        psc_results_add_section(stack->out, PSC_STACK_AXIS, stack->from[0]->version);
    if (!section ||
        psc_section_add_labels(stack->out, section, PSC_STACK_AXIS, stack->n, stack->labels))
        return psc_stack_no_memory(stack);
    for (int32_t k = 0; k < stack->n; k++)
        if (psc_section_append_text(section, "hashes", stack->from[k]->model.hash) ||
            psc_section_append_text(section, "paths", stack->from[k]->model.path))
            return psc_stack_no_memory(stack);
    psc_stored_array *steps =
        psc_stack_new_array(stack, PSC_STACK_SECTION, "step", PSC_F64, 0, NULL, NULL);
    if (!steps) return stack->error->status;
    for (int32_t k = 0; k < stack->n; k++)
        ((double *)steps->view.data)[k] = step_of(stack->labels[k]);
    return PSC_OK;
}

/* "NAME@step0...step1000 (6 checkpoints)" where all names begin alike, up to the '@'. */
static psc_status name_stack(const psc_stack *stack) {
    const char *first = stack->from[0]->model.name;
    const char *at = first ? strrchr(first, '@') : NULL;
    char name[512];
    for (int32_t k = 0; at && k < stack->n; k++) {
        const char *other = stack->from[k]->model.name;
        if (!other || strncmp(first, other, (size_t)(at + 1 - first)) != 0) at = NULL;
    }
    if (!at || stack->n < 2) return PSC_OK;
    snprintf(name, sizeof name, "%.*s@%.60s...%.60s (%d checkpoints)", (int)(at - first), first,
        stack->labels[0], stack->labels[stack->n - 1], (int)stack->n);
    stack->out->model.name = psc_results_keep(stack->out, name, strlen(name));
    return stack->out->model.name ? PSC_OK : psc_stack_no_memory(stack);
}

static psc_status stack_all(const psc_stack *stack) {
    const psc_results *first = stack->from[0], *last = stack->from[stack->n - 1];
    psc_status status = psc_results_copy_head(stack->out, last, stack->error);
    if (!status) status = name_stack(stack);
    if (!status) status = add_checkpoints(stack);
    if (!status) status = psc_stack_targets(stack);
    for (int i = 0; !status && i < first->n_sections; i++) status = stack_section(stack, i);
    if (!status) status = stack_arrays(stack, -1, -1);
    for (int i = 0; !status && i < first->n_files; i++)
        status = psc_stack_leave_out(stack, "", first->files[i].name, "a file of a plugin");
    for (int32_t k = 0; !status && k < stack->n; k++)
        status = psc_results_add_vocabulary(
            stack->out, stack->from[k]->n_vocabulary, stack->from[k]->vocabulary, stack->error);
    return status ? status : psc_stack_summarize(stack);
}

psc_status psc_results_stack(psc_results **out, const psc_results *const *results,
    const char *const *labels, int32_t n, psc_error *error) {
    psc_error own = {PSC_OK, ""};
    psc_stack stack = {NULL, results, labels, n, error ? error : &own};
    *out = NULL;
    psc_status status = check(&stack);
    if (!status) status = psc_results_open(&stack.out, stack.error);
    if (!status) status = stack_all(&stack);
    if (status) psc_results_close(&stack.out);
    *out = stack.out;
    return status;
}
