/* A slice is one index over the axes before "contexts": one neuron's or head's contexts. Slices are
 * kept in this order: those that the section's axis "listed" names ("L3N17": layer 3, number 17),
 * then by the largest value of the group's first array of numbers per context. */
#include "page_contexts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SLICES = 1024, LEAST_SLICES = 4 };

/* The place of the axis "contexts"; 0 if the array has none, or none before it. */
static int lead_of(const psc_array *array) {
    for (int i = 1; i < array->n_axes; i++)
        if (array->axes[i] && strcmp(array->axes[i], "contexts") == 0) return i;
    return 0;
}

static bool has_lead_of(const psc_array *a, const psc_array *b, int lead) {
    if (lead_of(a) != lead) return false;
    for (int i = 0; i < lead; i++)
        if (strcmp(a->axes[i], b->axes[i]) != 0) return false;
    return true;
}

/* --- the order of slices --------------------------------------------------------------------- */

typedef struct ranked {
    double value;
    int32_t slice;
} ranked;

static int by_value(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return (x->slice > y->slice) - (x->slice < y->slice);
}

static double largest(const psc_array *array, int64_t begin, int64_t n) {
    double most = (double)-INFINITY;
    for (int64_t i = begin; i < begin + n; i++) {
        const double value = array->element == PSC_F32 ? (double)((const float *)array->data)[i]
                                                       : ((const double *)array->data)[i];
        if (value > most) most = value;
    }
    return most;
}

/* Values above all others for the slices that the axis "listed" names, the first ones highest. */
static void lift_listed(
    ranked *all, int64_t n, const psc_array *array, const psc_result_axis *listed) {
    if (!listed->labels || lead_of(array) != 2) return;
    for (int64_t i = listed->n - 1; i >= 0; i--) {
        int layer, number;
        char kind;
        // NOLINTNEXTLINE(cert-err34-c): the widths keep the numbers in range
        if (sscanf(listed->labels[i], "L%9d%c%9d", &layer, &kind, &number) != 3) continue;
        if (layer < 0 || number < 0 || layer >= array->shape[0] || number >= array->shape[1])
            continue;
        const int64_t slice = layer * array->shape[1] + number;
        if (slice < n) all[slice].value = (double)INFINITY;
    }
}

static psc_status rank(psc_page_group *group, const psc_array *values, const psc_array *member,
    const psc_result_axis *listed, psc_error *error) {
    const int64_t n = group->n_slices;
    ranked *all = malloc(((size_t)n + 1) * sizeof *all);
    group->preferred = malloc(MOST_SLICES * sizeof *group->preferred);
    group->kept = malloc(MOST_SLICES * sizeof *group->kept);
    if (!all || !group->preferred || !group->kept) {
        free(all);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the page");
    }
    for (int64_t i = 0; i < n; i++) {
        const int64_t contexts = values ? values->shape[group->lead] : 0;
        all[i] = (ranked){values ? largest(values, i * contexts, contexts) : 0, (int32_t)i};
    }
    lift_listed(all, n, member, listed);
    qsort(all, (size_t)n, sizeof *all, by_value);
    while (group->n_preferred < n && group->n_preferred < MOST_SLICES &&
           all[group->n_preferred].value > (double)-INFINITY) {
        group->preferred[group->n_preferred] = all[group->n_preferred].slice;
        group->n_preferred++;
    }
    free(all);
    return PSC_OK;
}

psc_status psc_page_group_make(
    psc_page_plan *plan, int first, const psc_results *results, psc_error *error) {
    psc_page_group group = {0};
    const psc_array *member = NULL, *values = NULL;
    for (int i = first; i < plan->n; i++) {
        psc_page_array *array = &plan->arrays[i];
        const psc_array *view = &array->view;
        if (!member) group.lead = lead_of(view);
        if (group.lead == 0 || (member && !has_lead_of(view, member, group.lead))) continue;
        if (!member) group.first = i;
        if (!member) member = view;
        if (!values && view->n_axes == group.lead + 1 && view->element != PSC_I32) values = view;
        array->group = plan->n_groups + 1;
        group.n += array->facts.n;
    }
    if (!member) return PSC_OK;
    group.n_slices = 1;
    for (int i = 0; i < group.lead; i++) group.n_slices *= member->shape[i];
    psc_result_axis listed = {0};
    if (psc_results_find_axis(&listed, results, plan->arrays[first].section, "listed", NULL))
        listed.n = 0;
    if (group.n_slices > INT32_MAX) group.n_slices = 0; /* none can be kept */
    psc_status status = rank(&group, values, member, &listed, error);
    plan->groups[plan->n_groups++] = group;
    return status;
}

void psc_page_group_free(psc_page_group *group) {
    free(group->preferred);
    free(group->kept);
}

/* --- the choice ------------------------------------------------------------------------------ */

static int ascending(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Sets the encodings of the members: exact, or the kept slices. Returns their bytes in all. */
static int64_t set_members(psc_page_plan *plan, const psc_page_group *group, bool whole) {
    const int index = (int)(group - plan->groups) + 1;
    int64_t bytes = 0;
    for (int i = group->first; i < plan->n; i++) {
        psc_page_array *array = &plan->arrays[i];
        if (array->group != index || array->skipped) continue;
        if (whole)
            array->encoding = psc_page_choose(&array->facts, &array->view, INT64_MAX);
        else
            array->encoding = psc_page_slices(
                &array->facts, &array->view, group->lead, group->kept, group->n_kept);
        bytes += array->encoding.bytes;
    }
    return bytes;
}

int64_t psc_page_group_choose(psc_page_plan *plan, psc_page_group *group, int64_t room) {
    int64_t bytes = set_members(plan, group, true);
    for (int64_t n = MOST_SLICES; bytes > room && n >= LEAST_SLICES; n /= 2) {
        group->n_kept = n < group->n_preferred ? n : group->n_preferred;
        memcpy(group->kept, group->preferred, (size_t)group->n_kept * sizeof *group->kept);
        qsort(group->kept, (size_t)group->n_kept, sizeof *group->kept, ascending);
        bytes = set_members(plan, group, false);
    }
    if (bytes <= room) return bytes;
    group->n_kept = 0; /* omitted */
    return set_members(plan, group, false);
}
