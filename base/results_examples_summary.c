/* What a person sees of a section over examples: of a few arrays the strongest means, each with its
 * interval and p, in their order. */
#include "results_examples.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ARRAYS = 3, MOST_SHOWN = 8, NAME = 200 };

/* The arrays that say most, by their keys; without any of them a section shows its first ones. */
static const char *const keys_first[] = {"effect", "normalized", "dz", "kl", "values",
    "contributions.head", "contributions", "logit", "loss", "dlogp"};

static bool is_first(const char *key) {
    for (size_t i = 0; i < sizeof keys_first / sizeof *keys_first; i++)
        if (strcmp(key, keys_first[i]) == 0) return true;
    return false;
}

/* An element of an array [over_examples, ...] by its axes: "-1 L0H3". A single target is not
 * named. */
static void name_element(
    char *out, size_t size, const psc_section *section, const psc_array *a, int64_t element) {
    int64_t index[PSC_MOST_AXES];
    size_t used = 0;
    for (int i = a->n_axes; i-- > 1; element /= a->shape[i]) index[i] = element % a->shape[i];
    *out = 0;
    for (int i = 1; i < a->n_axes && used < size; i++) {
        const psc_result_axis *axis = psc_section_axis_named(section, a->axes[i]);
        const char *space = used ? " " : "";
        if (axis->n == 1 && strcmp(axis->name, "targets") == 0) continue;
        const bool head = i + 1 < a->n_axes && strcmp(axis->name, "layers") == 0 &&
                          strcmp(a->axes[i + 1], "heads") == 0;
        if (head) {
            const psc_result_axis *heads = psc_section_axis_named(section, a->axes[i + 1]);
            used += (size_t)snprintf(out + used, size - used, "%sL%dH%d", space,
                (int)(axis->numbers ? axis->numbers[index[i]] : index[i]),
                (int)(heads->numbers ? heads->numbers[index[i + 1]] : index[i + 1]));
            i++;
        } else if (axis->labels)
            used +=
                (size_t)snprintf(out + used, size - used, "%s%s", space, axis->labels[index[i]]);
        else
            used += (size_t)snprintf(out + used, size - used, "%s%s %d", space, axis->name,
                (int)axis->numbers[index[i]]);
    }
}

typedef struct strong {
    double size;
    int64_t element;
} strong;

static int by_size(const void *a, const void *b) {
    const strong *x = a, *y = b;
    if (x->size != y->size) return x->size > y->size ? -1 : 1;
    return x->element < y->element ? -1 : 1;
}

/* The strongest means that are numbers: out [MOST_SHOWN]; returns how many. */
static int find_strongest(strong *out, const double *means, int64_t n) {
    int count = 0;
    for (int64_t i = 0; i < n; i++) {
        const strong next = {fabs(means[i]), i};
        if (!isfinite(means[i])) continue;
        if (count == MOST_SHOWN && by_size(&out[count - 1], &next) < 0) continue;
        if (count < MOST_SHOWN) count++;
        out[count - 1] = next;
        qsort(out, (size_t)count, sizeof *out, by_size);
    }
    return count;
}

/* "NAME [low, high] p 0.01" of statistics s [over_examples, n] at an element; if only some of the
 * `all` examples have a number: "NAME [low, high] p 0.01 n 7". */
static void say_interval(char *out, size_t size, const char *name, const double *s, int64_t n,
    int64_t at, int32_t all, const psc_examples_draws *how) {
    double low = s[PSC_STATISTIC_LOW * n + at], high = s[PSC_STATISTIC_HIGH * n + at];
    if (!isfinite(low) || !isfinite(high)) {
        low = s[PSC_STATISTIC_LOW_PERCENTILE * n + at];
        high = s[PSC_STATISTIC_HIGH_PERCENTILE * n + at];
    }
    int used = snprintf(out, size, "%s", name);
    if (how->draws > 0 && isfinite(low) && isfinite(high))
        used += snprintf(out + used, size - (size_t)used, " [%.4g, %.4g] p %.2g", low, high,
            s[PSC_STATISTIC_P * n + at]);
    if (s[PSC_STATISTIC_N * n + at] < all)
        snprintf(out + used, size - (size_t)used, " n %.0f", s[PSC_STATISTIC_N * n + at]);
}

static int32_t size_of_group(const psc_examples_set *set, int64_t group) {
    int32_t n = 0;
    for (int32_t i = 0; i < set->n; i++) n += set->group[i] == group;
    return n;
}

/* An element's means by group, as far as they are numbers. */
static psc_status show_groups(psc_section *section, const psc_array *groups, const char *name,
    int64_t at, const psc_examples *e, const psc_examples_draws *how) {
    const psc_result_axis *axis = psc_section_axis_named(section, PSC_GROUPS_AXIS);
    char title[2 * NAME + 40], names[MOST_SHOWN][NAME + 80], group[NAME];
    const char *labels[MOST_SHOWN];
    double values[MOST_SHOWN];
    int64_t n = 1;
    int count = 0;
    for (int i = 2; i < groups->n_axes; i++) n *= groups->shape[i];
    for (int64_t g = 0; g < axis->n && count < MOST_SHOWN; g++) {
        const double *s = (const double *)groups->data + g * PSC_STATISTICS * n;
        if (!isfinite(s[at])) continue;
        snprintf(group, sizeof group, "%s", axis->labels[g]);
        say_interval(
            names[count], sizeof names[count], group, s, n, at, size_of_group(&e->set, g), how);
        labels[count] = names[count];
        values[count++] = s[at];
    }
    if (count == 0) return PSC_OK;
    snprintf(title, sizeof title, "%.*s of %s by group",
        (int)(strlen(groups->key) - strlen(".by_group")), groups->key, name);
    return psc_section_add_bars(section, title, "", count, labels, values);
}

/* The strongest means of the array `key`; a: its statistics, groups: nullable, those of groups. */
static psc_status show(psc_section *section, const char *key, const psc_array *a,
    const psc_array *groups, const psc_examples *e, const psc_examples_draws *how) {
    strong strongest[MOST_SHOWN];
    char title[320], name[NAME] = "", names[MOST_SHOWN][NAME + 80];
    const char *labels[MOST_SHOWN];
    double values[MOST_SHOWN];
    int64_t n = 1;
    for (int i = 1; i < a->n_axes; i++) n *= a->shape[i];
    const double *s = a->data;
    const int count = find_strongest(strongest, s, n);
    for (int i = count; i-- > 0;) { /* the first last, so that its name stays */
        const int64_t at = strongest[i].element;
        name_element(name, sizeof name, section, a, at);
        say_interval(names[i], sizeof names[i], name, s, n, at, e->set.n, how);
        values[i] = s[at];
        labels[i] = names[i];
    }
    if (count == 0) return PSC_OK;
    char drawn[64] = ",";
    if (how->draws > 0) snprintf(drawn, sizeof drawn, " [%g %% interval] p,", 100 * how->level);
    snprintf(title, sizeof title, "%.200s: mean over %d pair%s%s the strongest", key, (int)e->set.n,
        e->set.n == 1 ? "" : "s", drawn);
    const psc_status status = psc_section_add_bars(section, title, "", count, labels, values);
    if (status || !groups) return status;
    return show_groups(section, groups, name, strongest[0].element, e, how);
}

/* The array KEY.by_group of a section; null if it has none. */
static const psc_array *groups_of(const psc_results *out, int section, const char *key) {
    char name[300];
    snprintf(name, sizeof name, "%s.by_group", key);
    for (int i = 0; i < out->n_arrays; i++)
        if (out->arrays[i].section == section && strcmp(out->arrays[i].view.key, name) == 0)
            return &out->arrays[i].view;
    return NULL;
}

psc_status psc_examples_summarize(const psc_examples *e, psc_results *out, int section,
    const psc_examples_draws *how, psc_error *error) {
    static const char suffix[] = ".over_examples";
    psc_status status = PSC_OK;
    bool chosen = false;
    int shown = 0;
    for (int pass = 0; pass < 2 && !chosen; pass++) {
        for (int i = 0; !status && i < out->n_arrays && shown < MOST_ARRAYS; i++) {
            const psc_stored_array *a = &out->arrays[i];
            const size_t n = strlen(a->view.key);
            char key[256];
            if (a->section != section || n < sizeof suffix ||
                strcmp(a->view.key + n + 1 - sizeof suffix, suffix) != 0)
                continue;
            snprintf(key, sizeof key, "%.*s", (int)(n + 1 - sizeof suffix), a->view.key);
            if (pass == 0 && !is_first(key)) continue;
            chosen = true;
            status = show(&out->sections[section], key, &a->view,
                shown == 0 ? groups_of(out, section, key) : NULL, e, how);
            shown++;
        }
    }
    return status ? psc_fail(error, status, "not enough memory for the summary") : PSC_OK;
}
