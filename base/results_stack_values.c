/* Values of n results. A number becomes an array [checkpoints]. A list of m numbers that differs
 * becomes an array [checkpoints, NAME.entries]; what is the same at all
 * checkpoints stays a value. */
#include "results_stack.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The value of result k; null if it has none of that kind. */
static const psc_result_value *value_of(
    const psc_stack *stack, int to, int32_t k, const psc_result_value *first) {
    const psc_section *section = psc_stack_section_of(stack, k, stack->out->sections[to].name);
    const psc_result_value *value = psc_section_value_named(section, first->name);
    return value && value->kind == first->kind ? value : NULL;
}

static bool same_entry(const psc_result_value *a, const psc_result_value *b, int32_t i) {
    if (a->texts) return strcmp(a->texts[i], b->texts[i]) == 0;
    return a->numbers[i] == b->numbers[i] || (isnan(a->numbers[i]) && isnan(b->numbers[i]));
}

typedef struct likeness {
    bool everywhere, same_length, same;
} likeness;

static likeness compare(const psc_stack *stack, int to, const psc_result_value *first) {
    likeness like = {true, true, true};
    for (int32_t k = 1; like.everywhere && k < stack->n; k++) {
        const psc_result_value *other = value_of(stack, to, k, first);
        like.everywhere = other != NULL;
        like.same_length = like.same_length && other && other->n == first->n;
        like.same = like.same && like.same_length;
        for (int32_t i = 0; like.same && i < first->n; i++) like.same = same_entry(first, other, i);
    }
    return like;
}

/* Lists of m numbers as [checkpoints, NAME.entries], single numbers as [checkpoints]. */
static psc_status stack_numbers(const psc_stack *stack, int to, const psc_result_value *first) {
    const bool list = first->kind == PSC_VALUE_NUMBERS;
    const int64_t shape = first->n;
    char axis[160];
    const char *axes = axis;
    snprintf(axis, sizeof axis, "%.140s.entries", first->name);
    int32_t *indices = list ? malloc((size_t)first->n * sizeof *indices) : NULL;
    for (int32_t i = 0; indices && i < first->n; i++) indices[i] = i;
    const bool complete = !list || (indices && psc_section_add_numbers(&stack->out->sections[to],
                                                   axis, first->n, indices) == PSC_OK);
    free(indices);
    if (!complete) return psc_stack_no_memory(stack);
    psc_stored_array *all =
        psc_stack_new_array(stack, to, first->name, PSC_F64, list, &axes, &shape);
    if (!all) return stack->error->status;
    double *data = (double *)all->view.data;
    for (int32_t k = 0; k < stack->n; k++)
        memcpy(data + (size_t)k * (size_t)first->n,
            k ? value_of(stack, to, k, first)->numbers : first->numbers,
            (size_t)first->n * sizeof *data);
    return PSC_OK;
}

/* Texts that differ, one for each checkpoint. */
static psc_status stack_texts(const psc_stack *stack, int to, const psc_result_value *first) {
    psc_section *section = &stack->out->sections[to];
    for (int32_t k = 0; k < stack->n; k++) {
        const psc_result_value *one = k ? value_of(stack, to, k, first) : first;
        if (psc_section_append_text(section, first->name, one->texts[0]))
            return psc_stack_no_memory(stack);
    }
    return PSC_OK;
}

/* Whether the first result's section has an array of that key, which takes the name. */
static bool names_array(const psc_stack *stack, int to, const char *key) {
    char name[512];
    const int n = snprintf(name, sizeof name, "%s.%s", stack->out->sections[to].name, key);
    return n < 0 || (size_t)n >= sizeof name || psc_results_array_named(stack->from[0], name);
}

psc_status psc_stack_value(const psc_stack *stack, int to, const psc_result_value *first) {
    const char *section = stack->out->sections[to].name;
    const likeness like = compare(stack, to, first);
    if (!like.everywhere)
        return psc_stack_leave_out(stack, section, first->name, "not every checkpoint has it");
    const bool number = first->kind == PSC_VALUE_NUMBER;
    if (like.same && !number)
        return psc_section_copy_value(&stack->out->sections[to], first) ? psc_stack_no_memory(stack)
                                                                        : PSC_OK;
    if (first->kind == PSC_VALUE_TEXT) return stack_texts(stack, to, first);
    if (first->kind == PSC_VALUE_TEXTS || !like.same_length)
        return psc_stack_leave_out(
            stack, section, first->name, "its entries differ from checkpoint to checkpoint");
    if (names_array(stack, to, first->name))
        return psc_stack_leave_out(
            stack, section, first->name, "an array of the same name takes its place");
    return stack_numbers(stack, to, first);
}
