/* estimate = sum of (v' - v) g over a cell's values, in f64: within a row striped over the unit's
 * values, then over rows ascending. v of the unchanged run, g the gradient there. */
#include "attribution.h"

#include <math.h>
#include <string.h>

const float *attribution_changed(const attribution_state *s, int32_t layer, int32_t r) {
    if (s->what == DO_ZERO) return s->zero;
    if (s->what != DO_PATCH) return s->mean + (int64_t)layer * s->width;
    return s->patched + ((int64_t)layer * s->n_rows + r) * s->width;
}

/* The means of the file, or over the run's rows or those of the set's source prompts, for every
 * layer. */
static int find_means(attribution_state *s) {
    s->mean = s->host->run_alloc(
        s->context, (uint64_t)s->n_layers * (uint64_t)s->width * sizeof *s->mean);
    if (!s->mean) return -1;
    for (int64_t i = 0; s->what == DO_SET_MEAN && i < s->n_layers * s->width; i++)
        s->mean[i] = (float)(s->set_sums[i] / (double)s->set_rows);
    for (int32_t l = 0; s->given && l < s->n_layers; l++)
        memcpy(s->mean + l * s->width, s->given[l], (size_t)s->width * sizeof *s->mean);
    for (int32_t l = 0; s->what == DO_MEAN && !s->given && l < s->n_layers; l++) {
        psc_event kept;
        if (s->host->fetch(s->context, s->handle, l, &kept)) return -1;
        for (int64_t i = 0; i < s->width; i++) {
            double sum = 0.0;
            for (int32_t r = 0; r < s->n_rows; r++)
                sum += (double)kept.tensor.data[r * s->width + i];
            s->mean[l * s->width + i] = (float)(sum / s->n_rows);
        }
    }
    return 0;
}

static double sum_change(int64_t n, const float *changed, const float *v, const float *g) {
    double lanes[16] = {0};
    if (n == 1) return ((double)*changed - (double)*v) * (double)*g;
    for (int64_t i = 0; i < n; i++)
        lanes[i % 16] += ((double)changed[i] - (double)v[i]) * (double)g[i];
    return psc_fold16(lanes);
}

/* One row of a layer that has units of whole rows or of positions. */
static void estimate_row(const attribution_state *s, double *out, int32_t layer, int32_t r,
    const float *v, const float *g) {
    const float *changed = attribution_changed(s, layer, r);
    const int by_rows = s->over != OVER_HEADS && s->over != OVER_NEURONS;
    const int64_t units = s->n_units, by_row = s->over == OVER_HEADS_BY_POS ? s->n_rows : 1;
    for (int64_t u = 0; u < units; u++) {
        const int64_t at = u * s->group;
        const int none = by_rows && s->source_of && s->source_of[r] < 0;
        const double sum = none ? NAN : sum_change(s->group, changed + at, v + at, g + at);
        double *cell = s->over >= OVER_RESID_PRE ? out + r : out + u * by_row;
        if (s->over == OVER_HEADS_BY_POS) cell += r;
        if (!by_rows && r > 0)
            *cell += sum;
        else
            *cell = sum;
    }
}

/* The edges of one row; g has its own stride between heads. */
static void estimate_edges(const attribution_state *s, double *out, int32_t layer, int32_t r,
    const float *v, const psc_view *gradient) {
    const float *changed = attribution_changed(s, layer, r);
    for (int64_t h = 0; h < s->n_heads; h++) {
        const float *g = gradient->data + r * gradient->stride[0] + h * gradient->stride[1];
        double *cells = out + (h * s->n_rows + r) * s->n_rows;
        for (int32_t j = 0; j <= r; j++)
            cells[j] = sum_change(1, changed + h * s->n_rows + j, v + h * s->n_rows + j, g + j);
    }
}

double attribution_sum(const attribution_state *s, const attribution_cell *cell, const float *v,
    const psc_view *gradient) {
    const int edge = s->over == OVER_EDGES;
    const int64_t unit = cell->unit < 0 ? 0 : cell->unit;
    const int64_t at = edge ? unit * s->n_rows + cell->key : unit * s->group;
    const int64_t in = gradient->n_axes == 3 ? unit * gradient->stride[1] : unit * s->group;
    const int32_t first = cell->row < 0 ? 0 : cell->row;
    const int32_t end = cell->row < 0 ? s->n_rows : cell->row + 1;
    double sum = 0.0;
    for (int32_t r = first; r < end; r++)
        sum += sum_change(edge ? 1 : s->group, attribution_changed(s, cell->layer, r) + at,
            v + r * s->width + at, psc_view_row(gradient, r) + in + (edge ? cell->key : 0));
    return sum;
}

static int on_gradient(int32_t job, const psc_event *event, void *payload) {
    attribution_state *s = payload;
    psc_event kept;
    if (s->host->fetch(s->context, s->handle, event->layer, &kept)) return -1;
    double *out =
        s->estimate + s->of_job[job] * s->n_cells + event->layer * (s->n_cells / s->n_layers);
    for (int32_t r = 0; r < event->n_rows; r++) {
        const float *v = kept.tensor.data + r * s->width;
        if (s->over == OVER_EDGES)
            estimate_edges(s, out, event->layer, r, v, &event->tensor);
        else
            estimate_row(s, out, event->layer, r, v, psc_view_row(&event->tensor, r));
    }
    return s->host->cancelled(s->context);
}

int attribution_estimate(attribution_state *s) {
    const int32_t points[] = {(int32_t)s->point};
    s->zero = s->host->run_alloc(s->context, (uint64_t)s->width * sizeof *s->zero);
    if (!s->zero || ((s->what == DO_MEAN || s->what == DO_SET_MEAN) && find_means(s))) return -1;
    return s->host->gradients(s->context, s->n_jobs, NULL, s->metrics, 1, points, on_gradient, s);
}
