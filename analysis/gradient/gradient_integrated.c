/* Integrated gradients by the trapezoid rule on x(a) = x0 + a (x - x0), rounded to f32, a = k/n:
 *
 *   integrated_j = 1/n [ (g_j(x0) + g_j(x))/2 + sum of g_j(x(a)), 0 < k < n ] . (x_j - x0)
 *   gap = m(x) - m(x0) - sum_j integrated_j
 *
 * n begins at GRADIENT_FIRST_STEPS and doubles, until |gap| <= error |m(x) - m(x0)| or more steps are not
 * allowed. Each doubling adds the gradients halfway between. Sums are over ascending k, level by
 * level. A point of the path is a variant of the run whose embeddings are changed. */
#include "gradient.h"

#include <math.h>

#define MOST_VARIANTS 64               /* of a call */
#define MOST_FLOATS ((int64_t)4 << 20) /* of the embeddings of a call */

double gradient_along(const gradient_state *s, const float *g, int32_t row) {
    const float *x = s->x + row * s->n;
    double lanes[16] = {0};
    for (int64_t i = 0; i < s->n; i++)
        lanes[i % 16] += (double)g[i] * ((double)x[i] - (double)s->x0[i]);
    return psc_fold16(lanes);
}

/* The points of one call: numerator k of n for each of some jobs. */
typedef struct path {
    gradient_state *s;
    psc_variant variants[MOST_VARIANTS];
    psc_change changes[MOST_VARIANTS];
    psc_metric metrics[MOST_VARIANTS];
    gradient_job *jobs[MOST_VARIANTS];
    double values[MOST_VARIANTS];
    double *along; /* [MOST_VARIANTS, T] g . (x - x0) */
    float *points; /* [room, T, N] */
    int32_t n, room, n_points;
    int at_base; /* the points are x0 */
} path;

static int on_gradient(int32_t variant, const psc_event *event, void *payload) {
    const path *p = payload;
    for (int32_t r = 0; r < event->n_rows; r++)
        p->along[(int64_t)variant * p->s->n_rows + r] =
            gradient_along(p->s, psc_view_row(&event->tensor, r), r);
    return 0;
}

/* Computes the points that were added, and adds each to its job. */
static int flush(path *p) {
    static const int32_t points[] = {PSC_HOOK_EMBED};
    gradient_state *s = p->s;
    if (p->n > 0 &&
        s->host->gradients(s->context, p->n, p->variants, p->metrics, 1, points, on_gradient, p))
        return -1;
    for (int32_t i = 0; i < p->n; i++) {
        gradient_job *job = p->jobs[i];
        const double *along = p->along + (int64_t)i * s->n_rows;
        if (p->at_base) job->base = p->values[i];
        for (int32_t r = 0; r < s->n_rows; r++) {
            if (p->at_base)
                job->ends[r] += 0.5 * along[r];
            else
                job->inside[r] += along[r];
        }
    }
    p->n = p->n_points = 0;
    return 0;
}

/* x(k/n) of all rows; null where there is no room. */
static const float *make_point(path *p, int32_t k, int32_t n) {
    const gradient_state *s = p->s;
    float *out = p->points + (int64_t)p->n_points++ * s->n_rows * s->n;
    const double a = (double)k / (double)n;
    for (int64_t r = 0; r < s->n_rows; r++)
        for (int64_t i = 0; i < s->n; i++) {
            const double x0 = (double)s->x0[i], x = (double)s->x[r * s->n + i];
            out[r * s->n + i] = (float)(x0 + a * (x - x0));
        }
    return out;
}

/* Adds the point k/n for all jobs that are not done. */
static int add_point(path *p, int32_t k, int32_t n) {
    gradient_state *s = p->s;
    const float *point = NULL;
    for (int32_t j = 0; j < s->n_jobs; j++) {
        gradient_job *job = &s->jobs[j];
        if (job->done) continue;
        if ((p->n == MOST_VARIANTS || (!point && p->n_points == p->room)) && flush(p)) return -1;
        if (p->n == 0 || !point) point = make_point(p, k, n);
        const psc_row *first = &s->run_rows[0];
        p->changes[p->n] = (psc_change){.struct_size = sizeof *p->changes,
            .kind = PSC_CHANGE_SET,
            .point = PSC_HOOK_EMBED,
            .layer = -1,
            .sequence = first->sequence,
            .row_begin = first->position,
            .row_end = first->position + s->n_rows,
            .head = -1,
            .key = -1,
            .values = point,
            .stride = s->n};
        p->variants[p->n] = (psc_variant){
            .struct_size = sizeof *p->variants, .n_changes = 1, .changes = &p->changes[p->n]};
        p->metrics[p->n] = job->metric.metric;
        p->metrics[p->n].value = &p->values[p->n];
        p->jobs[p->n++] = job;
    }
    return 0;
}

/* The integral with n steps, the doubling-th of them; whether its gap is within the bound. */
static void settle(gradient_state *s, gradient_job *job, int32_t n, int32_t doubling) {
    double *out = s->integrated + job->at * s->n_rows;
    job->total = 0.0;
    for (int32_t r = 0; r < s->n_rows; r++) {
        out[r] = (job->ends[r] + job->inside[r]) / (double)n;
        job->total += out[r];
    }
    const double difference = job->value - job->base, gap = difference - job->total;
    job->steps = n;
    job->done = fabs(gap) <= s->error * fabs(difference);
    s->integrated_gap[job->at] = gap;
    s->path_gap[job->at * s->n_doublings + doubling] = gap;
    s->steps_taken[job->at] = n;
}

static int open_path(path *p, gradient_state *s) {
    const int64_t floats = (int64_t)s->n_rows * s->n;
    p->s = s;
    p->n = p->n_points = 0;
    p->room = (int32_t)(floats < MOST_FLOATS / MOST_VARIANTS ? MOST_VARIANTS
                        : floats < MOST_FLOATS               ? MOST_FLOATS / floats
                                                             : 1);
    p->points = s->host->run_alloc(s->context, (uint64_t)(p->room * floats) * sizeof(float));
    p->along =
        s->host->run_alloc(s->context, MOST_VARIANTS * (uint64_t)s->n_rows * sizeof *p->along);
    return p->points && p->along ? 0 : -1;
}

static int is_done(const gradient_state *s) {
    for (int32_t j = 0; j < s->n_jobs; j++)
        if (!s->jobs[j].done) return 0;
    return 1;
}

int gradient_integrate(gradient_state *s) {
    path *p = s->host->run_alloc(s->context, sizeof *p);
    if (!p || open_path(p, s)) return -1;
    p->at_base = 1;
    if (add_point(p, 0, 1) || flush(p)) return -1;
    p->at_base = 0;
    for (int32_t i = 0; i < s->n_doublings && !is_done(s); i++) {
        const int32_t n = s->path_steps[i];
        for (int32_t k = 1; k<n; k += i> 0 ? 2 : 1)
            if (add_point(p, k, n)) return -1;
        if (flush(p)) return -1;
        for (int32_t j = 0; j < s->n_jobs; j++)
            if (!s->jobs[j].done) settle(s, &s->jobs[j], n, i);
        s->host->progress(s->context, (double)n / (double)s->steps);
    }
    return 0;
}
