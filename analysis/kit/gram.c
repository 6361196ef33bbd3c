/* Norms of heads' writes, without computing the writes:
 *
 *   |W_O,h v|^2 = v^T G_h v,  G_h = W_O,h^T W_O,h [D, D] */
#include "gram.h"

#include <math.h>
#include <string.h>

typedef struct gram_job {
    const float *columns; /* [D, N] */
    int64_t n, size;
    double *gram; /* [D, D] */
} gram_job;

/* Pairs b <= a in the order of a lower triangle, so that contiguous parts cost the same. */
static void dot_pairs(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const gram_job *job = payload;
    int64_t a = 0;
    (void)thread;
    while ((a + 1) * (a + 2) / 2 <= begin) a++;
    for (int64_t i = begin, b = begin - a * (a + 1) / 2; i < end; i++) {
        job->gram[a * job->size + b] = job->gram[b * job->size + a] =
            psc_dot_striped(job->n, job->columns + a * job->n, job->columns + b * job->n);
        if (b++ < a) continue;
        a++;
        b = 0;
    }
}

static int gram_of_layer(psc_context *context, const psc_host *host, int32_t layer, double *out,
    float *unit, float *columns) {
    const psc_model_info *model = host->model(context);
    const int64_t size = model->d_head, heads = model->n_heads, width = heads * size;
    for (int64_t h = 0; h < heads; h++) {
        gram_job job = {columns, model->d_model, size, out + h * size * size};
        memset(unit, 0, (size_t)(size * width) * sizeof *unit);
        for (int64_t d = 0; d < size; d++) unit[d * width + h * size + d] = 1.0f;
        if (host->apply(context, PSC_W_O, layer, columns, unit, size)) return -1;
        host->parallel_for(context, size * (size + 1) / 2, dot_pairs, &job);
    }
    return 0;
}

/* Scratch of gram_of_layer: unit vectors of a head, the columns of its map. */
static int make_scratch(psc_context *context, const psc_host *host, float **unit, float **columns) {
    const psc_model_info *model = host->model(context);
    const uint64_t size = (uint64_t)model->d_head, width = (uint64_t)model->n_heads * size;
    *unit = host->run_alloc(context, size * width * sizeof **unit);
    *columns = host->run_alloc(context, size * (uint64_t)model->d_model * sizeof **columns);
    return *unit && *columns ? 0 : -1;
}

int psc_output_gram_layer(psc_context *context, const psc_host *host, int32_t layer, double *out) {
    float *unit, *columns;
    if (make_scratch(context, host, &unit, &columns)) return -1;
    return gram_of_layer(context, host, layer, out, unit, columns);
}

double *psc_output_gram(psc_context *context, const psc_host *host) {
    const psc_model_info *model = host->model(context);
    const int64_t layer = (int64_t)model->n_heads * model->d_head * model->d_head;
    double *all = host->life_alloc(context, (uint64_t)(model->n_layers * layer) * sizeof *all);
    float *unit, *columns;
    if (!all || make_scratch(context, host, &unit, &columns)) return NULL;
    for (int32_t l = 0; l < model->n_layers; l++)
        if (gram_of_layer(context, host, l, all + l * layer, unit, columns)) return NULL;
    return all;
}

double psc_output_norm(const double *gram, const float *v, int64_t size) {
    double sum = 0.0;
    for (int64_t a = 0; a < size; a++)
        sum += (double)v[a] * psc_dot_mixed(size, gram + a * size, v);
    return sum > 0.0 ? sqrt(sum) : 0.0;
}

/* --- many vectors at once --------------------------------------------------------------------- */

enum { LANES = 16, ROWS = 4, PAIRS = 2 };

/* Two lanes. Compilers keep a tile of these in registers; loops over arrays they do not. */
typedef double lane_pair __attribute__((vector_size(16)));

/* sums[r] += sum_{b<end} row_r[b] lanes[b], ascending b, for four rows and four lanes. */
static void add_tile(double sums[ROWS][2 * PAIRS], const double *rows, int64_t size, int64_t end,
    const double *lanes) {
    lane_pair tile[ROWS][PAIRS] = {{{0.0}}};
    for (int64_t b = 0; b < end; b++) {
        lane_pair x[PAIRS];
        memcpy(x, lanes + b * LANES, sizeof x);
        for (int r = 0; r < ROWS; r++) {
            tile[r][0] += rows[r * size + b] * x[0];
            tile[r][1] += rows[r * size + b] * x[1];
        }
    }
    memcpy(sums, tile, sizeof tile);
}

/* Adds v_a (2 sum_{b<a} G_ab v_b + G_aa v_a) to q [4], given the sum over b < from. */
static void add_row(
    double *q, const double *row, int64_t a, int64_t from, const double *lanes, double *sum) {
    for (int64_t b = from; b < a; b++)
        for (int i = 0; i < 2 * PAIRS; i++) sum[i] += row[b] * lanes[b * LANES + i];
    for (int i = 0; i < 2 * PAIRS; i++) {
        const double x = lanes[a * LANES + i];
        q[i] += x * (2.0 * sum[i] + row[a] * x);
    }
}

/* q = sum_a v_a (2 sum_{b<a} G_ab v_b + G_aa v_a), ascending b, then a; lanes are vectors. */
void psc_output_norms(const double *gram, const float *v, int64_t stride, int64_t n, int64_t size,
    double *lanes, double out[16]) {
    for (int64_t i = 0; i < LANES; i++)
        for (int64_t d = 0; d < size; d++)
            lanes[d * LANES + i] = i < n ? (double)v[i * stride + d] : 0.0;
    for (int64_t from = 0; from < LANES; from += 2 * PAIRS) {
        double q[2 * PAIRS] = {0.0};
        for (int64_t a = 0; a < size; a += ROWS) {
            double sums[ROWS][2 * PAIRS] = {{0.0}};
            const int64_t whole = a + ROWS <= size ? a : 0;
            if (whole) add_tile(sums, gram + a * size, size, a, lanes + from);
            for (int64_t r = a; r < size && r < a + ROWS; r++)
                add_row(q, gram + r * size, r, whole, lanes + from, sums[r - a]);
        }
        for (int i = 0; i < 2 * PAIRS; i++) out[from + i] = q[i] > 0.0 ? sqrt(q[i]) : 0.0;
    }
}
