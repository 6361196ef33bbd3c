/* Gradients of a run beside those of make_gradient_golden.py.
 * Private to tests/; failures are Criterion assertions.
 * Threads: one at a time.
 * Ownership: the caller frees *other of golden_metric. */
#ifndef GRADIENT_GOLDEN_H
#define GRADIENT_GOLDEN_H

#include "gradient_fixture.h"

#define GRADIENT_TOLERANCE 1e-5 /* of the largest element of a tensor */

static inline int32_t golden_first(const psc_tensors *golden, const char *name) {
    int32_t value;
    memcpy(&value, golden_find(golden, name)->data, sizeof value);
    return value;
}

/* The file's terms, with rows of a run that begins after the prefix. */
static inline void golden_metric(
    test_metric *m, const psc_tensors *golden, int32_t prefix, float **other) {
    const psc_tensor *kinds = golden_find(golden, "kinds");
    const size_t n = kinds->size / sizeof(int32_t);
    double *weights = golden_f64(golden_find(golden, "weights"), n);
    *other = golden_f32(golden_find(golden, "other"), golden_find(golden, "other")->size / 4);
    metric_open(m);
    for (size_t i = 0; i < n; i++) {
        int32_t kind, row, token;
        memcpy(&kind, kinds->data + i * 4, sizeof kind);
        memcpy(&row, golden_find(golden, "term_rows")->data + i * 4, sizeof row);
        memcpy(&token, golden_find(golden, "term_tokens")->data + i * 4, sizeof token);
        metric_add(m, kind, row - prefix, token, weights[i], *other);
    }
    free(weights);
}

/* The largest error of the kept rows, as a part of the largest element of all rows. */
static inline double golden_compare(const psc_tensor *tensor, double largest, const copy_set *set,
    const psc_copy *copy, const int32_t *rows, int32_t n_rows) {
    const bool keys = copied_keys(copy->point);
    const int32_t before = set->inputs[0].before, n = set->inputs[0].n;
    const int64_t heads = keys ? set->info.n_heads : 1;
    const int64_t width = copied_width(set, copy->point, before + n) / heads;
    float *want = golden_f32(tensor, (size_t)(n_rows * heads * width));
    double worst = 0.0;
    for (int32_t i = 0; i < n_rows; i++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t j = 0; j < width; j++) {
                const double a = (double)copy->out[(h * n + rows[i] - before) * width + j];
                const double b = (double)want[(h * n_rows + i) * width + j];
                worst = fmax(worst, fabs(a - b));
                if (isnan(a)) worst = INFINITY;
            }
    free(want);
    return worst == 0.0 ? 0.0 : worst / largest;
}

static inline int golden_compare_all(const char *name, const psc_tensors *golden, copy_set *set) {
    const psc_tensor *tensor = golden_find(golden, "rows");
    int32_t rows[8], n_rows = (int32_t)(tensor->size / sizeof(int32_t)), compared = 0;
    double most = 0.0;
    psc_error error = {0};
    memcpy(rows, tensor->data, tensor->size);
    for (size_t i = 0; i < golden->count; i++) {
        const psc_tensor *t = &golden->items[i];
        const char *end = strstr(t->name, "_grad");
        char point_name[64], most_name[80];
        psc_point point;
        int32_t layer;
        if (!end) continue;
        snprintf(point_name, sizeof point_name, "%.*s", (int)(end - t->name), t->name);
        snprintf(most_name, sizeof most_name, "%s_most", point_name);
        float *largest = golden_f32(golden_find(golden, most_name), 1);
        cr_assert_eq(
            psc_point_parse(&point, &layer, point_name, &error), PSC_OK, "%s", error.message);
        const double worst =
            golden_compare(t, (double)*largest, set, gradient_at(set, point, layer), rows, n_rows);
        free(largest);
        cr_assert_leq(worst, GRADIENT_TOLERANCE, "%s: %s errs by %.3g of its largest element", name,
            t->name, worst);
        most = fmax(most, worst);
        compared++;
    }
    if (getenv("PSC_TEST_VERBOSE")) printf("%s: %.2g of the largest element\n", name, most);
    return compared;
}

#endif
