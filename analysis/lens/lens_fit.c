/* A linear lens in closed form: for each layer the ridge regression of the final residual y [N] on
 * the layer's residual x [N], toward the identity.
 *
 *   sums over rows    xx = sum x x^T (j >= i), xy = sum x y^T, x, y, n
 *   C = xx - x x^T/n,  D = xy - x y^T/n - C,  lambda = ridge tr(C)/N
 *   (C + lambda I) W^T = D,   b = (y - x)/n - W x/n      by LAPACKE's dposv
 *
 * A sequence's sums are f64 chains over its rows; the host adds them in fixed point. The solution
 * is LAPACK's: its last bits may differ between machines. */
#include "lens.h"

#include <lapacke.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TILE = 8 };

int lens_fit_open(lens_state *s) {
    const psc_host *host = s->host;
    lens_fit *fit = &s->fit;
    const int64_t n = s->n_dims, layers = s->n_layers;
    const double mebibytes =
        16.0 * (double)layers * ((double)n * (double)(n + 1) / 2 + (double)n * (double)n) / 0x1p20;
    if (mebibytes > fit->memory)
        return host->fail(s->context,
            "fit=: the sums of this model take %.0f MiB, more than fit_memory=%d allows", mebibytes,
            fit->memory);
    if (host->save_folder(s->context, fit->folder, 0, NULL, 0, NULL)) return -1;
    fit->xx =
        host->accumulator(s->context, "fit.xx", PSC_ACCUMULATE_SUM, layers * (n * (n + 1) / 2), 0);
    fit->xy = host->accumulator(s->context, "fit.xy", PSC_ACCUMULATE_SUM, layers * n * n, 0);
    fit->x = host->accumulator(s->context, "fit.x", PSC_ACCUMULATE_SUM, layers * n, 0);
    fit->y = host->accumulator(s->context, "fit.y", PSC_ACCUMULATE_SUM, n, 0);
    fit->rows = host->accumulator(s->context, "fit.rows", PSC_ACCUMULATE_COUNT, 1, 0);
    return fit->xx < 0 || fit->xy < 0 || fit->x < 0 || fit->y < 0 || fit->rows < 0 ? -1 : 0;
}

/* --- a sequence's sums ----------------------------------------------------------------------- */

/* out[i, j] = sum_t a[t, i] b[t, j] in ascending t; rows of a and b are padded to a multiple of
 * TILE. upper: only tiles that hold a j >= i are computed. */
typedef struct products {
    const double *a, *b;
    double *out; /* [N, padded] */
    int64_t n_rows, padded;
    int upper;
} products;

static void product_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const products *p = payload;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        for (int64_t j = p->upper ? i / TILE * TILE : 0; j < p->padded; j += TILE) {
            double sums[TILE] = {0};
            const double *a = p->a + i, *b = p->b + j;
            for (int64_t t = 0; t < p->n_rows; t++, a += p->padded, b += p->padded)
                for (int k = 0; k < TILE; k++) sums[k] += a[0] * b[k];
            memcpy(p->out + i * p->padded + j, sums, sizeof sums);
        }
}

/* Rows first..first+n-1 of one site as f64. */
static void widen_rows(
    const lens_state *s, int32_t site, int32_t first, int32_t n, int64_t padded, double *out) {
    for (int32_t t = 0; t < n; t++) {
        const float *x = s->residual[(int64_t)site * s->rows.n + first + t];
        for (int64_t i = 0; i < s->n_dims; i++) out[t * padded + i] = (double)x[i];
    }
}

/* Work space that a run's sequences use in turn. */
typedef struct fit_work {
    products p;
    double *x, *y; /* [rows of the run, padded] of a layer, of the final residual */
    double *sum;   /* [padded] */
} fit_work;

static int make_work(lens_state *s, fit_work *w) {
    const psc_host *host = s->host;
    const uint64_t padded = ((uint64_t)s->n_dims + TILE - 1) / TILE * TILE;
    const uint64_t row = padded * sizeof(double);
    w->p.padded = (int64_t)padded;
    w->x = host->run_alloc(s->context, (uint64_t)s->rows.n * row + 8);
    w->y = host->run_alloc(s->context, (uint64_t)s->rows.n * row + 8);
    w->p.out = host->run_alloc(s->context, (uint64_t)s->n_dims * row);
    w->sum = host->run_alloc(s->context, row);
    return w->x && w->y && w->p.out && w->sum ? 0 : -1;
}

static int add_vector(
    lens_state *s, const fit_work *w, int handle, int64_t begin, const double *rows) {
    memset(w->sum, 0, (size_t)w->p.padded * sizeof(double));
    for (int64_t t = 0; t < w->p.n_rows; t++)
        for (int64_t i = 0; i < s->n_dims; i++) w->sum[i] += rows[t * w->p.padded + i];
    return s->host->accumulate(s->context, handle, begin, s->n_dims, w->sum);
}

/* One layer's products; packs the upper triangle and the square in place. */
static int add_layer(lens_state *s, fit_work *w, int32_t layer) {
    const psc_host *host = s->host;
    products *p = &w->p;
    const int64_t n = s->n_dims, triangle = n * (n + 1) / 2;
    p->a = p->b = w->x;
    p->upper = 1;
    host->parallel_for(s->context, n, product_rows, p);
    int64_t used = 0;
    for (int64_t i = 0; i < n; i++) {
        memmove(p->out + used, p->out + i * p->padded + i, (size_t)(n - i) * sizeof(double));
        used += n - i;
    }
    if (host->accumulate(s->context, s->fit.xx, layer * triangle, triangle, p->out)) return -1;
    p->b = w->y;
    p->upper = 0;
    host->parallel_for(s->context, n, product_rows, p);
    for (int64_t i = 1; i < n; i++)
        memmove(p->out + i * n, p->out + i * p->padded, (size_t)n * sizeof(double));
    return host->accumulate(s->context, s->fit.xy, layer * n * n, n * n, p->out);
}

static int add_sequence(lens_state *s, fit_work *w, int32_t first, int32_t n_rows) {
    const psc_host *host = s->host;
    const int64_t n = s->n_dims, padded = w->p.padded;
    const double count = n_rows;
    w->p.n_rows = n_rows;
    widen_rows(s, s->n_layers, first, n_rows, padded, w->y);
    if (add_vector(s, w, s->fit.y, 0, w->y)) return -1;
    for (int32_t layer = 0; layer < s->n_layers; layer++) {
        widen_rows(s, layer, first, n_rows, padded, w->x);
        if (add_vector(s, w, s->fit.x, layer * n, w->x) || add_layer(s, w, layer)) return -1;
        if (host->cancelled(s->context)) return host->fail(s->context, "the run was cancelled");
    }
    return host->accumulate(s->context, s->fit.rows, 0, 1, &count);
}

int lens_fit_add(lens_state *s) {
    int32_t n_all = 0, first = 0;
    const psc_row *rows = s->host->rows(s->context, &n_all);
    fit_work w = {0};
    if (make_work(s, &w)) return -1;
    while (first < s->rows.n) {
        const int32_t sequence = rows[s->rows.index[first]].sequence;
        int32_t end = first, begin = first;
        while (end < s->rows.n && rows[s->rows.index[end]].sequence == sequence) end++;
        while (begin < end && rows[s->rows.index[begin]].position < s->fit.from) begin++;
        if (begin < end && add_sequence(s, &w, begin, end - begin)) return -1;
        first = end;
    }
    return 0;
}

/* --- solving --------------------------------------------------------------------------------- */

typedef struct solver {
    double n_rows;
    double *xx, *xy, *x, *y; /* [N(N+1)/2], [N, N], [N], [N] sums */
    double *c, *d;           /* [N, N] */
} solver;

/* C + lambda I, whole, and D. */
static void center(const lens_state *s, solver *v) {
    const int64_t n = s->n_dims;
    const double *packed = v->xx;
    double trace = 0.0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++) {
            const double value = *packed++ - v->x[i] * v->x[j] / v->n_rows;
            v->c[i * n + j] = v->c[j * n + i] = value;
        }
    for (int64_t i = 0; i < n; i++) trace += v->c[i * n + i];
    for (int64_t i = 0; i < n * n; i++)
        v->d[i] = v->xy[i] - v->x[i / n] * v->y[i % n] / v->n_rows - v->c[i];
    for (int64_t i = 0; i < n; i++) v->c[i * n + i] += s->fit.ridge * trace / (double)n;
}

/* Whether any dimension of the residual varies over the rows; otherwise C is only rounding. */
static int varies(const lens_state *s, const solver *v) {
    const double longest = s->host->model(s->context)->n_ctx;
    const double *square = v->xx;
    for (int64_t i = 0; i < s->n_dims; square += s->n_dims - i, i++)
        if (psc_variance(v->n_rows, longest, v->x[i], *square) > 0.0) return 1;
    return 0;
}

static int solve_layer(lens_state *s, int32_t layer, solver *v, float *weight, float *bias) {
    const psc_host *host = s->host;
    const int64_t n = s->n_dims, triangle = n * (n + 1) / 2;
    if (host->accumulated(s->context, s->fit.xx, layer * triangle, triangle, v->xx) ||
        host->accumulated(s->context, s->fit.xy, layer * n * n, n * n, v->xy) ||
        host->accumulated(s->context, s->fit.x, layer * n, n, v->x))
        return -1;
    if (!varies(s, v))
        return host->fail(s->context,
            "fit=: the residual of layer %d does not vary over the %.0f rows of the corpus; pass "
            "more text",
            (int)layer, v->n_rows);
    center(s, v);
    /* Columns of D are outputs; row-major dposv overwrites D with W^T. */
    const lapack_int info = LAPACKE_dposv(LAPACK_ROW_MAJOR, 'U', (lapack_int)n, (lapack_int)n, v->c,
        (lapack_int)n, v->d, (lapack_int)n);
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return host->fail(s->context, "not enough memory for LAPACK's dposv");
    if (info != 0)
        return host->fail(s->context,
            "fit=: the sums of layer %d are not positive definite; pass more text or a larger "
            "fit_ridge=",
            layer);
    for (int64_t o = 0; o < n; o++) {
        double moved = v->y[o] - v->x[o];
        for (int64_t i = 0; i < n; i++) {
            weight[o * n + i] = (float)v->d[i * n + o];
            moved -= v->d[i * n + o] * v->x[i];
        }
        bias[o] = (float)(moved / v->n_rows);
    }
    return 0;
}

static int save_lens(lens_state *s, float *weight, float *bias, double n_rows) {
    const psc_model_info *model = s->host->model(s->context);
    const int64_t n = s->n_dims;
    enum { NAME = 24 };
    const psc_setting settings[] = {
        {"base_model_name_or_path", PSC_SETTING_TEXT, model->path ? model->path : "", 0},
        {"d_model", PSC_SETTING_NUMBER, NULL, (double)n},
        {"num_hidden_layers", PSC_SETTING_NUMBER, NULL, s->n_layers},
        {"bias", PSC_SETTING_BOOLEAN, NULL, 1},
        {"lens_type", PSC_SETTING_TEXT, "linear_tuned_lens", 0},
        {"model_hash", PSC_SETTING_TEXT, model->hash, 0},
        {"fit_rows", PSC_SETTING_NUMBER, NULL, n_rows},
        {"fit_ridge", PSC_SETTING_NUMBER, NULL, s->fit.ridge},
        {"fit_from", PSC_SETTING_NUMBER, NULL, s->fit.from},
    };
    const uint64_t count = 2 * (uint64_t)s->n_layers;
    psc_named_tensor *tensors = s->host->life_alloc(s->context, count * sizeof *tensors);
    char(*names)[NAME] = s->host->life_alloc(s->context, count * NAME);
    if (!tensors || !names) return -1;
    for (int64_t l = 0; l < s->n_layers; l++) {
        snprintf(names[2 * l], NAME, "%d.weight", (int)l);
        snprintf(names[2 * l + 1], NAME, "%d.bias", (int)l);
        tensors[2 * l] = (psc_named_tensor){names[2 * l], 2, {n, n}, weight + l * n * n};
        tensors[2 * l + 1] = (psc_named_tensor){names[2 * l + 1], 1, {n}, bias + l * n};
    }
    return s->host->save_folder(s->context, s->fit.folder,
        (int32_t)(sizeof settings / sizeof *settings), settings, (int32_t)count, tensors);
}

int lens_fit_report(lens_state *s) {
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->n_dims, layers = (uint64_t)s->n_layers;
    const uint64_t doubles = n * (n + 1) / 2 + 3 * n * n + 2 * n;
    solver v = {0};
    double *work = host->life_alloc(s->context, doubles * sizeof(double));
    float *weight = host->life_alloc(s->context, layers * n * (n + 1) * sizeof(float));
    if (!work || !weight) return -1;
    float *bias = weight + layers * n * n;
    v.c = work;
    v.d = v.c + n * n;
    v.xy = v.d + n * n;
    v.x = v.xy + n * n;
    v.y = v.x + n;
    v.xx = v.y + n;
    if (host->accumulated(s->context, s->fit.rows, 0, 1, &v.n_rows) ||
        host->accumulated(s->context, s->fit.y, 0, (int64_t)n, v.y))
        return -1;
    if (!(v.n_rows >= 1.0)) return host->fail(s->context, "fit=: the corpus has no rows to fit");
    for (int32_t l = 0; l < s->n_layers; l++) {
        const uint64_t at = (uint64_t)l;
        if (solve_layer(s, l, &v, weight + at * n * n, bias + at * n)) return -1;
        host->progress(s->context, (l + 1.0) / s->n_layers);
    }
    if (save_lens(s, weight, bias, v.n_rows)) return -1;
    char line[400];
    snprintf(line, sizeof line,
        "A linear lens, fitted to %s rows, was written to %.200s. LAPACK computes its last bits, "
        "which may differ between machines.",
        PSC_COMMAS(v.n_rows), s->fit.folder);
    return host->value_text(s->context, "fit", s->fit.folder) ||
                   host->value_number(s->context, "fit_rows", v.n_rows)
               ? -1
               : host->summary_text(s->context, line);
}
