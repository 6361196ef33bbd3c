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

/* An element of an array [over_examples, ...] by its axes: "-1 L0H3". A single target is not named. */
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

static psc_status show(psc_section *section, const psc_array *a, const psc_examples *e,
    const psc_examples_draws *how) {
    strong strongest[MOST_SHOWN];
    char title[320], names[MOST_SHOWN][NAME + 80];
    const char *labels[MOST_SHOWN];
    double values[MOST_SHOWN];
    int64_t n = 1;
    for (int i = 1; i < a->n_axes; i++) n *= a->shape[i];
    const double *s = a->data;
    const int count = find_strongest(strongest, s, n);
    for (int i = 0; i < count; i++) {
        const int64_t at = strongest[i].element;
        char name[NAME];
        name_element(name, sizeof name, section, a, at);
        values[i] = s[at];
        labels[i] = names[i];
        double low = s[PSC_STATISTIC_LOW * n + at], high = s[PSC_STATISTIC_HIGH * n + at];
        if (!isfinite(low) || !isfinite(high)) {
            low = s[PSC_STATISTIC_LOW_PERCENTILE * n + at];
            high = s[PSC_STATISTIC_HIGH_PERCENTILE * n + at];
        }
        if (how->draws > 0 && isfinite(low) && isfinite(high))
            snprintf(names[i], sizeof names[i], "%s [%.4g, %.4g] p %.2g", name, low, high,
                s[PSC_STATISTIC_P * n + at]);
        else
            snprintf(names[i], sizeof names[i], "%s", name);
    }
    if (count == 0) return PSC_OK;
    snprintf(
        title, sizeof title, "%.200s: mean over %d pairs, the strongest", a->key, (int)e->set.n);
    if (how->draws > 0)
        snprintf(title, sizeof title,
            "%.200s: mean over %d pairs [%g %% interval] p, the strongest", a->key, (int)e->set.n,
            100 * how->level);
    return psc_section_add_bars(section, title, "", count, labels, values);
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
            shown++;
            psc_array view = a->view;
            view.key = key;
            status = show(&out->sections[section], &view, e, how);
        }
    }
    return status ? psc_fail(error, status, "not enough memory for the summary") : PSC_OK;
}
