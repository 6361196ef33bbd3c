/* What is fitted at a place, from the sums over n training examples:
 *
 *   m_c = sum x of class c/n_c, m = sum x/n, C = xx - n m m^T
 *   difference   m_1 - m_0 of two classes; of more, m_c minus the mean of all other examples
 *   components   the eigenvectors of C with the largest eigenvalues lambda, by LAPACKE's dsyevr;
 *                explained variance lambda/(n - 1); the largest number of each is positive
 *   probe        (C + ridge n s^2 I) w_c = sum x of class c - n_c m, by LAPACKE's dposv
 *                s = the mean over columns of sqrt(C_ii/n);  score_c = n_c/n + w_c . (x - m)
 *
 * Of two classes the probe is w_1, and it guesses class 1 above 1/2. Otherwise the largest score
 * decides, ties to the first class. LAPACK's last bits may differ between machines. */
#include "directions.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

typedef struct solver {
    double *c, *work;       /* [width, width] of the widest place */
    double *m;              /* [width] */
    double *right;          /* [max(classes, 1), width] columns for LAPACK */
    double *values, *found; /* [width], [components, width] */
    lapack_int *support;    /* [2 width] */
    double n;               /* examples */
} solver;

static int64_t padded(const directions_place *place) {
    return place->panels * DIRECTIONS_PANEL;
}

/* Class of direction k. */
static int32_t class_of(const directions_state *s, int32_t k) {
    return s->n_directions == 1 ? 1 : k;
}

/* --- means ----------------------------------------------------------------------------------- */

static int make_means(directions_state *s, directions_place *place, solver *v) {
    const int64_t p = padded(place);
    const double classes = s->n_classes, directions = s->n_directions;
    place->means = directions_take(s, classes * (double)p, sizeof *place->means);
    place->half = place->means ? directions_take(s, classes, sizeof *place->half) : NULL;
    place->difference =
        place->half ? directions_take(s, directions * (double)p, sizeof *place->difference) : NULL;
    place->probe =
        place->difference ? directions_take(s, directions * (double)p, sizeof *place->probe) : NULL;
    place->bias = place->probe ? directions_take(s, directions, sizeof *place->bias) : NULL;
    if (!place->bias) return -1;
    for (int64_t i = 0; i < place->width; i++) {
        double sum = 0.0;
        for (int32_t c = 0; c < s->n_classes; c++) sum += place->x[c * p + i];
        v->m[i] = sum / v->n;
        for (int32_t c = 0; c < s->n_classes; c++) {
            const double mean = place->x[c * p + i] / (double)s->counts[c][0];
            place->means[c * p + i] = mean;
            place->half[c] += 0.5 * mean * mean;
        }
        for (int32_t k = 0; k < s->n_directions; k++) {
            const int32_t c = class_of(s, k);
            place->difference[k * p + i] =
                place->means[c * p + i] -
                (sum - place->x[c * p + i]) / (v->n - (double)s->counts[c][0]);
        }
    }
    return 0;
}

/* C, whole; fails if a row was not finite. Returns the mean standard deviation in *scale. */
static int make_covariance(directions_state *s, directions_place *place, solver *v, double *scale) {
    const int64_t n = place->width;
    const double *tile = place->xx;
    *scale = place->variance = 0.0;
    for (int64_t i = 0; i < place->panels; i++)
        for (int64_t j = i; j < place->panels; j++, tile += DIRECTIONS_TILE)
            for (int64_t k = 0; k < DIRECTIONS_TILE; k++) {
                const int64_t a = i * DIRECTIONS_PANEL + k / DIRECTIONS_PANEL;
                const int64_t b = j * DIRECTIONS_PANEL + k % DIRECTIONS_PANEL;
                if (a >= n || b >= n) continue;
                const double value = tile[k] - v->n * v->m[a] * v->m[b];
                if (!isfinite(value))
                    return s->base.host->fail(s->base.context,
                        "the rows at %.80s have a number that is not finite", place->name);
                v->c[a * n + b] = v->c[b * n + a] = value;
            }
    for (int64_t i = 0; i < n; i++) {
        /* What rounding of the sums leaves of a constant column is no variance. */
        if (v->c[i * n + i] <= 1e-12 * v->n * v->m[i] * v->m[i]) v->c[i * n + i] = 0.0;
        *scale += sqrt(v->c[i * n + i] / v->n) / (double)n;
        place->variance += v->c[i * n + i] / fmax(v->n - 1.0, 1.0);
    }
    return 0;
}

/* --- LAPACK ---------------------------------------------------------------------------------- */

static int check(
    directions_state *s, const directions_place *place, lapack_int info, const char *routine) {
    if (info == 0) return 0;
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return s->base.host->fail(s->base.context, "not enough memory for LAPACK's %s", routine);
    return s->base.host->fail(s->base.context,
        "LAPACK's %s fails at %.80s (%d); raise ridge=", routine, place->name, (int)info);
}

static int make_components(directions_state *s, directions_place *place, solver *v) {
    const int64_t n = place->width;
    int64_t most = s->components < n ? s->components : n;
    lapack_int found = 0;
    place->n_components = 0; /* a solution that failed is made again */
    if ((double)most > v->n - 1.0) most = (int64_t)(v->n - 1.0);
    if (most < 1 || !(place->variance > 0.0)) return 0;
    place->components = directions_take(s, (double)(most * n), sizeof *place->components);
    place->explained =
        place->components ? directions_take(s, (double)most, sizeof *place->explained) : NULL;
    if (!place->explained) return -1;
    memcpy(v->work, v->c, (size_t)(n * n) * sizeof *v->work);
    const lapack_int info = LAPACKE_dsyevr(LAPACK_COL_MAJOR, 'V', 'I', 'U', (lapack_int)n, v->work,
        (lapack_int)n, 0.0, 0.0, (lapack_int)(n - most + 1), (lapack_int)n, 0.0, &found, v->values,
        v->found, (lapack_int)n, v->support);
    if (check(s, place, info, "dsyevr")) return -1;
    for (int64_t k = 0; k < found; k++) {
        const double *from = v->found + (found - 1 - k) * n;
        const double value = v->values[found - 1 - k];
        double largest = 0.0, *to = place->components + k * n;
        if (!(value > 1e-10 * v->values[found - 1])) break; /* beyond the rank: rounding */
        for (int64_t i = 0; i < n; i++)
            if (fabs(from[i]) > fabs(largest)) largest = from[i];
        for (int64_t i = 0; i < n; i++) to[i] = largest < 0.0 ? -from[i] : from[i];
        place->explained[place->n_components++] = value / (v->n - 1.0);
    }
    return 0;
}

static int make_probe(directions_state *s, directions_place *place, solver *v, double scale) {
    const int64_t n = place->width, p = padded(place);
    for (int32_t k = 0; k < s->n_directions; k++)
        place->bias[k] = (double)s->counts[class_of(s, k)][0] / v->n;
    if (!(scale > 0.0)) return 0; /* all rows are equal */
    memcpy(v->work, v->c, (size_t)(n * n) * sizeof *v->work);
    for (int64_t i = 0; i < n; i++) v->work[i * n + i] += s->ridge * v->n * scale * scale;
    for (int32_t k = 0; k < s->n_directions; k++) {
        const int32_t c = class_of(s, k);
        for (int64_t i = 0; i < n; i++)
            v->right[k * n + i] = place->x[c * p + i] - (double)s->counts[c][0] * v->m[i];
    }
    const lapack_int info = LAPACKE_dposv(LAPACK_COL_MAJOR, 'U', (lapack_int)n, s->n_directions,
        v->work, (lapack_int)n, v->right, (lapack_int)n);
    if (check(s, place, info, "dposv")) return -1;
    for (int32_t k = 0; k < s->n_directions; k++)
        for (int64_t i = 0; i < n; i++) {
            place->probe[k * p + i] = v->right[k * n + i];
            place->bias[k] -= v->right[k * n + i] * v->m[i];
        }
    return 0;
}

/* --- all places ------------------------------------------------------------------------------ */

static int make_solver(directions_state *s, solver *v) {
    const psc_host *host = s->base.host;
    uint64_t n = 1;
    for (int32_t i = 0; i < s->base.n_sites; i++)
        if ((uint64_t)s->places[i].width > n) n = (uint64_t)s->places[i].width;
    const uint64_t components = (uint64_t)s->components < n ? (uint64_t)s->components : n;
    v->c = host->run_alloc(s->base.context, n * n * sizeof *v->c);
    v->work = host->run_alloc(s->base.context, n * n * sizeof *v->work);
    v->m = host->run_alloc(s->base.context, n * sizeof *v->m);
    v->values = host->run_alloc(s->base.context, n * sizeof *v->values);
    v->right = host->run_alloc(s->base.context, n * (uint64_t)s->n_directions * sizeof *v->right);
    v->found = host->run_alloc(s->base.context, (components + 1) * n * sizeof *v->found);
    v->support = host->run_alloc(s->base.context, 2 * n * sizeof *v->support);
    return v->c && v->work && v->m && v->values && v->right && v->found && v->support ? 0 : -1;
}

int directions_solve(directions_state *s) {
    solver v = {0};
    if (s->solved) return 0;
    for (int32_t c = 0; c < s->n_classes; c++) {
        v.n += (double)s->counts[c][0];
        if (s->counts[c][0] == 0)
            return s->base.host->fail(s->base.context,
                "the class '%.60s' has no training examples; add prompts, or hold out fewer",
                s->labels[c]);
    }
    if (make_solver(s, &v)) return -1;
    for (int32_t i = 0; i < s->base.n_sites; i++) {
        directions_place *place = &s->places[i];
        double scale = 0.0;
        if (make_means(s, place, &v) || make_covariance(s, place, &v, &scale) ||
            make_components(s, place, &v) || make_probe(s, place, &v, scale))
            return -1;
    }
    s->solved = 1;
    return 0;
}

/* --- held-out examples ----------------------------------------------------------------------- */

/* Lanes i mod 16 in ascending order, then folded; both are padded with zeros. */
static double dot(int64_t panels, const double *a, const double *b) {
    double lanes[DIRECTIONS_PANEL] = {0};
    for (int64_t p = 0; p < panels; p++, a += DIRECTIONS_PANEL, b += DIRECTIONS_PANEL)
        for (int k = 0; k < DIRECTIONS_PANEL; k++) lanes[k] += a[k] * b[k];
    return psc_fold16(lanes);
}

static int32_t guess_probe(
    const directions_state *s, const directions_place *place, const double *x) {
    const int64_t p = padded(place);
    int32_t best = 0;
    double most = -INFINITY;
    if (s->n_directions == 1) return place->bias[0] + dot(place->panels, place->probe, x) > 0.5;
    for (int32_t c = 0; c < s->n_classes; c++) {
        const double score = place->bias[c] + dot(place->panels, place->probe + c * p, x);
        if (score > most) best = c;
        if (score > most) most = score;
    }
    return best;
}

/* The nearest mean: the largest m_c . x - |m_c|^2/2, ties to the first class. */
static int32_t guess_mean(
    const directions_state *s, const directions_place *place, const double *x) {
    const int64_t p = padded(place);
    int32_t best = 0;
    double most = -INFINITY;
    for (int32_t c = 0; c < s->n_classes; c++) {
        const double score = dot(place->panels, place->means + c * p, x) - place->half[c];
        if (score > most) best = c;
        if (score > most) most = score;
    }
    return best;
}

static void guess(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const directions_state *s = payload;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const directions_place *place = &s->places[item % s->base.n_sites];
        const int64_t e = item / s->base.n_sites;
        const double *x = place->run + e * place->row_stride;
        place->guess[2 * e] = guess_probe(s, place, x);
        place->guess[2 * e + 1] = guess_mean(s, place, x);
    }
}

int directions_test(directions_state *s) {
    const psc_host *host = s->base.host;
    for (int32_t i = 0; i < s->base.n_sites; i++) {
        directions_place *place = &s->places[i];
        place->guess = host->run_alloc(
            s->base.context, 2 * (uint64_t)s->n_examples * sizeof *place->guess + 1);
        if (!place->guess) return -1;
    }
    host->parallel_for(s->base.context, (int64_t)s->n_examples * s->base.n_sites, guess, s);
    for (int32_t i = 0; i < s->base.n_sites; i++)
        for (int32_t e = 0; e < s->n_examples; e++) {
            s->places[i].right_probe += s->places[i].guess[2 * e] == s->of_class;
            s->places[i].right_means += s->places[i].guess[2 * e + 1] == s->of_class;
        }
    return 0;
}
