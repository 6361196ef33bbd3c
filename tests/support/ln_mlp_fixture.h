/* Runs of the plugins ln and mlp on the parity models, and their golden arrays.
 * Private to tests/: the tests of plugins.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: sessions and models are closed by the caller; array views belong to their session. */
#ifndef LN_MLP_FIXTURE_H
#define LN_MLP_FIXTURE_H

#include "golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Equal to tests/tools/make_ln_mlp_golden.py. */
static const int32_t fixture_ids[] = {3, 41, 7, 19, 60};
enum { N_IDS = sizeof fixture_ids / sizeof *fixture_ids };

static inline const char *analysis_golden(const char *name) {
    static char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/ln_mlp/%s.safetensors", PSC_SOURCE_DIR, name);
    return path;
}

/* --- edits ----------------------------------------------------------------------------------- */

static inline float edit_pattern(int64_t i) {
    return (float)((7 * i) % 5 - 2) / 8.0f;
}

/* The effect of an edit on one row of one point. */
typedef struct edit_rule {
    psc_point point;
    int32_t layer;
    float scale, add;   /* x = scale x + add * pattern */
    int32_t head, unit; /* >= 0: this head is zeroed; this element becomes 1 */
    int sequential;     /* only in sequential models */
} edit_rule;

static const edit_rule edit_rules[] = {
    {PSC_HOOK_RESULT, 0, 1, 0, 1, -1, 0},
    {PSC_HOOK_ATTN_OUT, 0, 1, 0.5f, -1, -1, 0},
    {PSC_HOOK_MLP_OUT, 0, 2, 0, -1, -1, 0},
    {PSC_HOOK_RESID_POST, 0, 1, -0.25f, -1, -1, 0},
    {PSC_HOOK_RESID_PRE, 1, 1, 1, -1, -1, 0},
    {PSC_HOOK_MLP_POST, 1, 1, 0, -1, 0, 0},
    {PSC_HOOK_RESID_MID, 1, 1, 2, -1, -1, 1},
};
enum { N_EDITS = sizeof edit_rules / sizeof *edit_rules };

static inline int apply_edit(const psc_event *event, void *payload) {
    const edit_rule *rule = payload;
    for (int32_t r = 0; r < event->n_rows; r++) {
        float *x = event->tensor.data + r * event->tensor.stride[0];
        if (rule->head >= 0) x += rule->head * event->tensor.stride[1];
        const int64_t n = event->tensor.shape[event->tensor.n_axes - 1];
        for (int64_t i = 0; i < n && rule->head >= 0; i++) x[i] = 0.0f;
        for (int64_t i = 0; i < n && rule->add != 0.0f; i++) x[i] += rule->add * edit_pattern(i);
        for (int64_t i = 0; i < n && rule->scale != 1.0f; i++) x[i] *= rule->scale;
        if (rule->unit >= 0) x[rule->unit] = 1.0f;
    }
    return 0;
}

static inline void add_edits(psc_session *session, const psc_model_info *info) {
    psc_error error = {0};
    for (int i = 0; i < N_EDITS; i++) {
        if (edit_rules[i].sequential && info->parallel_residual) continue;
        psc_filter filter = PSC_FILTER_INIT;
        filter.layers = &edit_rules[i].layer;
        filter.n_layers = 1;
        cr_assert_eq(psc_session_edit(session, edit_rules[i].point, &filter, apply_edit,
                         (void *)&edit_rules[i], &error),
            PSC_OK, "%s", error.message);
    }
}

/* --- runs ------------------------------------------------------------------------------------ */

typedef struct fixture_run {
    const char *plugin, *options, *isa;
    int32_t threads, chunk;
    int edited, no_targets;
} fixture_run;

static inline psc_session *fixture_session(psc_model *model, const fixture_run *how) {
    psc_session *session = must_session(model, how->isa, how->threads, how->chunk);
    psc_error error = {0};
    cr_assert_eq(psc_session_plugin(session, how->plugin, how->options, &error), PSC_OK, "%s",
        error.message);
    static const char *const before[] = {"#5", "top:2", "next"};
    for (int i = 0; i < 3 && !how->no_targets; i++)
        cr_assert_eq(psc_session_target(session, before[i], &error), PSC_OK, "%s", error.message);
    if (!how->no_targets)
        cr_assert_eq(
            psc_session_contrast(session, "#7", "#9", &error), PSC_OK, "%s", error.message);
    if (how->edited) add_edits(session, psc_model_get_info(model));
    psc_token tokens[N_IDS] = {{0}};
    for (int i = 0; i < N_IDS; i++) tokens[i].id = fixture_ids[i];
    must_run_one(session, tokens, N_IDS);
    return session;
}

static inline psc_array must_array(const psc_session *session, const char *name) {
    psc_array array = {0};
    psc_error error = {0};
    cr_assert_eq(psc_session_array(session, name, &array, &error), PSC_OK, "%s", error.message);
    return array;
}

static inline int64_t array_count(const psc_array *array) {
    int64_t count = 1;
    for (int i = 0; i < array->n_axes; i++) count *= array->shape[i];
    return count;
}

static inline size_t array_bytes(const psc_array *array) {
    return (size_t)array_count(array) * (array->element == PSC_F64 ? 8 : 4);
}

static inline double array_at(const psc_array *array, int64_t i) {
    if (array->element == PSC_F64) return ((const double *)array->data)[i];
    if (array->element == PSC_F32) return (double)((const float *)array->data)[i];
    return ((const int32_t *)array->data)[i];
}

/* --- comparisons ----------------------------------------------------------------------------- */

static inline double tensor_at(const psc_tensor *tensor, int64_t i) {
    double f64;
    float f32;
    int32_t i32;
    if (strcmp(tensor->dtype, "F64") == 0) {
        memcpy(&f64, tensor->data + 8 * i, 8);
        return f64;
    }
    if (strcmp(tensor->dtype, "F32") == 0) {
        memcpy(&f32, tensor->data + 4 * i, 4);
        return (double)f32;
    }
    memcpy(&i32, tensor->data + 4 * i, 4);
    return i32;
}

/* All elements within tolerance (1 + |want|), integers and NaN exactly; returns the largest
 * error. */
static inline double compare_array(
    const psc_session *session, const psc_tensor *want, double tolerance) {
    const psc_array got = must_array(session, want->name);
    cr_assert_eq(got.n_axes, (int)want->rank, "%s", want->name);
    for (int i = 0; i < got.n_axes; i++)
        cr_assert_eq(got.shape[i], (int64_t)want->shape[i], "%s axis %d", want->name, i);
    double worst = 0.0;
    const int64_t count = array_count(&got);
    for (int64_t i = 0; i < count; i++) {
        const double a = array_at(&got, i), b = tensor_at(want, i);
        if (isnan(a) && isnan(b)) continue;
        const double error = fabs(a - b) / (1.0 + fabs(b));
        cr_assert(error <= (got.element == PSC_I32 ? 0.0 : tolerance),
            "%s element %ld: %.12g, should be %.12g", want->name, (long)i, a, b);
        if (error > worst) worst = error;
    }
    return worst;
}

/* Compares every golden array whose name begins with prefix; returns their number. */
static inline int compare_golden(
    const psc_session *session, const char *file, const char *prefix, double tolerance) {
    psc_tensors *golden = golden_open(analysis_golden(file));
    int compared = 0;
    for (size_t i = 0; i < golden->count; i++) {
        if (strncmp(golden->items[i].name, prefix, strlen(prefix)) != 0) continue;
        const double worst = compare_array(session, &golden->items[i], tolerance);
        if (getenv("PSC_TEST_VERBOSE"))
            fprintf(stderr, "%-24s %-28s %.2e\n", file, golden->items[i].name, worst);
        compared++;
    }
    psc_tensors_close(&golden);
    return compared;
}

/* The named arrays (list ends with null) are equal to the bit. */
static inline void assert_same_arrays(
    const psc_session *a, const psc_session *b, const char *const *names, const char *what) {
    for (int i = 0; names[i]; i++) {
        const psc_array x = must_array(a, names[i]), y = must_array(b, names[i]);
        cr_assert_eq(x.n_axes, y.n_axes, "%s", names[i]);
        for (int axis = 0; axis < x.n_axes; axis++) cr_assert_eq(x.shape[axis], y.shape[axis]);
        cr_assert_eq(memcmp(x.data, y.data, array_bytes(&x)), 0, "%s differs: %s", names[i], what);
    }
}

/* One run's arrays against runs with other threads, chunks and ISAs. */
static inline void assert_independent(
    const char *model_name, fixture_run how, const char *const *names) {
    static const struct {
        const char *isa;
        int32_t threads, chunk;
    } ways[] = {{"reference", 1, 0}, {"reference", 2, 2}, {NULL, 1, 1}, {NULL, 3, 3}, {NULL, 2, 0}};
    psc_model *model = must_model(golden_path(model_name, NULL));
    psc_session *first = fixture_session(model, &how);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char what[96];
        snprintf(what, sizeof what, "%s, isa %s, %d threads, chunk %d", model_name,
            ways[i].isa ? ways[i].isa : "best", ways[i].threads, ways[i].chunk);
        how.isa = ways[i].isa;
        how.threads = ways[i].threads;
        how.chunk = ways[i].chunk;
        psc_session *other = fixture_session(model, &how);
        assert_same_arrays(first, other, names, what);
        psc_session_close(&other);
    }
    psc_session_close(&first);
    psc_model_close(&model);
}

#endif
