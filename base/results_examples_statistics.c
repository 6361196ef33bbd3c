/* Statistics of an array [examples, ...] over its examples, and over those of each group.
 *
 *   NAME.over_examples [over_examples, ...]        NAME.by_group [groups, over_examples, ...]
 *
 * The examples go into the draws in the set's own order, so that the statistics do not depend on
 * that of the file. Elements are taken in blocks, so memory does not grow with the array. */
#include "results_examples.h"

#include "resampling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 11 }; /* elements */

static psc_status no_memory(psc_error *error) {
    return psc_fail(
        error, PSC_ERROR_MEMORY, "not enough memory for the statistics of the examples");
}

/* What the blocks of an array share. */
typedef struct work {
    const psc_array *all;
    int64_t n_elements;  /* of an example */
    double *values;      /* [examples, BLOCK] */
    const double **rows; /* [examples] */
    int64_t *counts;     /* [BLOCK] */
} work;

static bool open_work(work *w, const psc_array *all) {
    *w = (work){.all = all, .n_elements = 1};
    for (int i = 1; i < all->n_axes; i++) w->n_elements *= all->shape[i];
    const size_t n = (size_t)all->shape[0];
    w->values = malloc(n * BLOCK * sizeof *w->values);
    w->rows = malloc(n * sizeof *w->rows + 1);
    w->counts = calloc(BLOCK, sizeof *w->counts);
    return w->values && w->rows && w->counts;
}

static void close_work(work *w) {
    free(w->values);
    free((void *)w->rows);
    free(w->counts);
}

/* Lists the values at elements begin..begin+n-1 of the examples of a group, or of all for -1. */
static int32_t take_rows(
    work *w, const psc_examples_set *set, int32_t group, int64_t begin, int64_t n) {
    int32_t count = 0;
    for (int32_t i = 0; i < set->n; i++) {
        const int32_t k = set->order ? set->order[i] : i;
        if (group >= 0 && set->group[k] != group) continue;
        const int64_t at = k * w->n_elements + begin;
        double *values = w->values + (int64_t)count * BLOCK;
        if (w->all->element == PSC_F64)
            memcpy(values, (const double *)w->all->data + at, (size_t)n * sizeof *values);
        for (int64_t j = 0; w->all->element == PSC_F32 && j < n; j++)
            values[j] = (double)((const float *)w->all->data)[at + j];
        w->rows[count++] = values;
    }
    return count;
}

/* Writes [over_examples, elements] of a group, or of all for -1. */
static psc_status fill(double *out, work *w, const psc_examples_set *set, int32_t group,
    const psc_examples_draws *how, psc_error *error) {
    const psc_resampling draws = {how->seed, how->draws > 0 ? how->draws : 1, how->level};
    const int64_t stride = w->n_elements;
    psc_status status = PSC_OK;
    for (int64_t begin = 0; !status && begin < stride; begin += BLOCK) {
        const int64_t n = stride - begin < BLOCK ? stride - begin : BLOCK;
        double *at = out + begin;
        const int32_t count = take_rows(w, set, group, begin, n);
        psc_resampled to = {.n = w->counts,
            .mean = at + PSC_STATISTIC_MEAN * stride,
            .se = at + PSC_STATISTIC_SE * stride};
        if (how->draws > 0) {
            to.low = at + PSC_STATISTIC_LOW * stride;
            to.high = at + PSC_STATISTIC_HIGH * stride;
            to.low_percentile = at + PSC_STATISTIC_LOW_PERCENTILE * stride;
            to.high_percentile = at + PSC_STATISTIC_HIGH_PERCENTILE * stride;
            to.p = at + PSC_STATISTIC_P * stride;
        }
        const double done = (double)begin / (double)stride;
        if ((how->stop && how->stop(how->payload)) ||
            (how->progress && begin > 0 && how->progress(done, "statistics", how->payload)))
            return psc_fail(error, PSC_ERROR_CANCELLED, "cancelled");
        status = psc_resample(&to, n, count, w->rows, &draws, how->team, error);
        for (int64_t i = 0; !status && i < n; i++)
            at[PSC_STATISTIC_N * stride + i] = (double)w->counts[i];
    }
    return status;
}

/* A new array KEY.SUFFIX: `front` axes before those of the array `all` of out without its
 * examples. */
static psc_stored_array *add(psc_results *out, int section, int all, const char *suffix,
    int n_front, const char *const *front, psc_error *error) {
    const psc_array view = out->arrays[all].view;
    const char *axes[PSC_MOST_AXES];
    int64_t shape[PSC_MOST_AXES];
    char key[256];
    int n = 0;
    for (int i = 0; i < n_front; i++) {
        const psc_result_axis *axis = psc_section_axis_named(&out->sections[section], front[i]);
        axes[n] = axis->name;
        shape[n++] = axis->n;
    }
    for (int i = 1; i < view.n_axes; i++) {
        axes[n] = view.axes[i];
        shape[n++] = view.shape[i];
    }
    snprintf(key, sizeof key, "%.200s.%s", view.key, suffix);
    return psc_results_add_array(out, section, key, PSC_F64, n, axes, shape, true, error);
}

static psc_status by_group(work *w, const psc_examples *e, psc_results *out, int section, int all,
    const psc_examples_draws *how, psc_error *error) {
    static const char *const front[] = {PSC_GROUPS_AXIS, PSC_STATISTICS_AXIS};
    if (e->set.n_groups == 0) return PSC_OK;
    if (out->arrays[all].view.n_axes > PSC_MOST_AXES - 1) {
        char text[300];
        snprintf(
            text, sizeof text, "%.200s.by_group: it would have 7 axes", out->arrays[all].view.key);
        const psc_status status =
            psc_section_append_text(&out->sections[section], "left_out", text);
        return status ? no_memory(error) : PSC_OK;
    }
    const psc_stored_array *to = add(out, section, all, "by_group", 2, front, error);
    if (!to) return error->status;
    double *values = (double *)to->view.data; /* stays when the list of arrays grows */
    psc_status status = PSC_OK;
    w->all = &out->arrays[all].view;
    for (int32_t g = 0; !status && g < e->set.n_groups; g++)
        status = fill(values + g * PSC_STATISTICS * w->n_elements, w, &e->set, g, how, error);
    return status;
}

static psc_status all_and_groups(work *w, const psc_examples *e, psc_results *out, int section,
    int all, const psc_examples_draws *how, psc_error *error) {
    static const char *const front[] = {PSC_STATISTICS_AXIS};
    const psc_stored_array *to = add(out, section, all, "over_examples", 1, front, error);
    if (!to) return error->status;
    w->all = &out->arrays[all].view;
    const psc_status status = fill((double *)to->view.data, w, &e->set, -1, how, error);
    return status ? status : by_group(w, e, out, section, all, how, error);
}

psc_status psc_examples_statistics(const psc_examples *e, psc_results *out, int section, int all,
    const psc_examples_draws *how, psc_error *error) {
    work w;
    if (out->arrays[all].view.element == PSC_I32) return PSC_OK;
    const psc_status status = open_work(&w, &out->arrays[all].view)
                                  ? all_and_groups(&w, e, out, section, all, how, error)
                                  : no_memory(error);
    close_work(&w);
    return status;
}
