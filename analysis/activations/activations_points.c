/* The option `points`: full names joined by +, in which * stands for any characters, as in
 * blocks.*.hook_resid_post. The arrays are in the order of points and layers. */
#include "activations.h"

#include <stdio.h>
#include <string.h>

typedef struct known_point {
    const char *name, *shape;
    int layered;
} known_point;

static const known_point known[] = {
#define PSC_POINT_ROW(id, name, shape, layered) {name, shape, layered},
    PSC_POINTS(PSC_POINT_ROW)
#undef PSC_POINT_ROW
};

/* Whether a name of n bytes fits a pattern of m bytes. The last star is tried again. */
static int fits(const char *pattern, size_t m, const char *name) {
    size_t p = 0, star = m, after = 0, i = 0;
    while (name[i]) {
        if (p < m && pattern[p] == '*') {
            star = p++;
            after = i;
        } else if (p < m && pattern[p] == name[i]) {
            p++;
            i++;
        } else if (star < m) {
            p = star + 1;
            i = ++after;
        } else {
            return 0;
        }
    }
    while (p < m && pattern[p] == '*') p++;
    return p == m;
}

/* The extents after the rows; 0 axes: the width depends on the number of keys. */
static void set_shape(activations_array *a, const char *shape, const psc_model_info *model) {
    a->n_axes = 0;
    a->width = 1;
    for (; *shape; shape++) {
        int64_t n = 1;
        if (*shape == 'K') {
            a->n_axes = 0;
            return;
        }
#define PSC_AXIS_EXTENT(letter, member)                                                            \
    if (*shape == (letter)) n = model->member;
        PSC_AXES(PSC_AXIS_EXTENT)
#undef PSC_AXIS_EXTENT
        a->shape[a->n_axes++] = n;
        a->width *= n;
    }
}

static int add(activations_state *s, const activations_array *a, const char *pattern, size_t m) {
    const psc_model_info *model = s->host->model(s->context);
    int32_t *at = &s->array_of[(int64_t)a->point * (model->n_layers + 1) + a->layer + 1];
    const int named = !memchr(pattern, '*', m);
    if (a->n_axes == 0 || (a->point == PSC_HOOK_RESID_MID && model->parallel_residual)) {
        if (!named) return 0; /* a star passes over what cannot be written */
        return s->host->fail(s->context,
            a->n_axes == 0
                ? "points: %.60s cannot be written, because its width is the number of keys"
                : "points: %.60s does not exist in a model with a parallel residual",
            a->name);
    }
    if (*at < 0) {
        s->arrays[s->n_arrays] = *a;
        *at = s->n_arrays++;
    }
    return 1;
}

/* Adds what a pattern names; returns how many points, or -1 after an error. */
static int add_pattern(activations_state *s, const char *pattern, size_t m) {
    const psc_model_info *model = s->host->model(s->context);
    int found = 0;
    for (int i = 0; i < PSC_POINT_COUNT; i++) {
        const int32_t layers = known[i].layered ? model->n_layers : 1;
        for (int32_t l = 0; l < layers; l++) {
            activations_array a = {.point = (psc_point)i, .layer = known[i].layered ? l : -1};
            if (known[i].layered)
                snprintf(a.name, sizeof a.name, "blocks.%d.%s", (int)l, known[i].name);
            else
                snprintf(a.name, sizeof a.name, "%s", known[i].name);
            if (!fits(pattern, m, a.name)) continue;
            set_shape(&a, known[i].shape, model);
            const int added = add(s, &a, pattern, m);
            if (added < 0 || added > 1) return -1;
            found += added;
        }
    }
    return found;
}

int activations_find_points(activations_state *s) {
    const psc_model_info *model = s->host->model(s->context);
    const int64_t most = (int64_t)PSC_POINT_COUNT * (model->n_layers + 1);
    s->arrays = s->host->life_alloc(s->context, (uint64_t)most * sizeof *s->arrays);
    s->array_of = s->host->life_alloc(s->context, (uint64_t)most * sizeof *s->array_of);
    if (!s->arrays || !s->array_of) return -1;
    for (int64_t i = 0; i < most; i++) s->array_of[i] = -1;
    for (const char *at = s->points;; at++) {
        const size_t m = strcspn(at, "+");
        const int found = add_pattern(s, at, m);
        if (found < 0) return -1;
        if (found == 0)
            return s->host->fail(s->context,
                "points: '%.*s' names no hook point that can be written; a full name is "
                "blocks.3.hook_resid_post, and * stands for any characters",
                (int)(m < 60 ? m : 60), at);
        at += m;
        if (!*at) return 0;
    }
}
