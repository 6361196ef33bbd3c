/* Composition of a head of layer l with one of layer l' > l: ||A B||_F / (||A||_F ||B||_F).
 *
 *   B = W_OV = O V = W V1^T, W = O R_V^T [N, d], V1 orthonormal (the QR of V^T)
 *   Q   A = W_QK^T = K^T turn^T Q    ||A B|| = ||(R_K turn^T)(Q W)||
 *   K   A = W_QK = Q^T turn K        ||A B|| = ||(R_Q turn)(K W)||
 *   V   A = W_OV = O V               ||A B|| = ||R_O (V W)||
 *
 * Q W, K W, V W [d, d] are the model's own products with gamma * W, in f32; the rest is f64. Heads
 * of one layer never compose. */
#include "weights.h"

#include <math.h>
#include <string.h>

typedef struct composition_work {
    weights_state *s;
    int64_t n, d, heads;
    int32_t writer, reader; /* layers */
    float *unpacked;        /* [H d, N] columns of W_O */
    double *writes;         /* [H d, N] columns of W */
    float *x, *y;           /* [H d, N] gamma * W; [H d, H d] products */
    double *spare;          /* [H, H, d] */
    int kind;               /* BEHIND_Q, _K, _V: 0, 1, 2 */
} composition_work;

static void write_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const composition_work *w = payload;
    const int64_t n = w->n, d = w->d;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const int64_t head = r / d, i = r % d;
        const double *triangle =
            w->s->triangles + ((w->writer * w->heads + head) * N_TRIANGLES + TRIANGLE_V) * d * d;
        double *out = w->writes + r * n;
        memset(out, 0, (size_t)n * sizeof *out);
        for (int64_t j = i; j < d; j++) {
            const double t = triangle[j * d + i];
            const float *o = w->unpacked + (head * d + j) * n;
            for (int64_t k = 0; k < n; k++) out[k] += t * (double)o[k];
        }
        weights_center(out, n);
    }
}

/* sum over the writer's columns c and rows i of (sum_o triangle[o, i] y[c, o])^2 */
static double read_norm(const composition_work *w, int64_t writer, int64_t reader, double *z) {
    const int64_t d = w->d, size = w->heads * d;
    const double *triangle =
        w->s->triangles + ((w->reader * w->heads + reader) * N_TRIANGLES + w->kind) * d * d;
    double sum = 0.0;
    for (int64_t c = 0; c < d; c++) {
        const float *y = w->y + (writer * d + c) * size + reader * d;
        memset(z, 0, (size_t)d * sizeof *z);
        for (int64_t o = 0; o < d; o++)
            for (int64_t i = 0; i < d; i++) z[i] += triangle[o * d + i] * (double)y[o];
        for (int64_t i = 0; i < d; i++) sum += z[i] * z[i];
    }
    return sqrt(sum);
}

static void read_pairs(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const composition_work *w = payload;
    weights_state *s = w->s;
    (void)thread;
    for (int64_t pair = begin; pair < end; pair++) {
        const int64_t writer = w->writer * w->heads + pair / w->heads;
        const int64_t reader = w->reader * w->heads + pair % w->heads;
        const double norms =
            s->norm_ov[writer] * (w->kind == 2 ? s->norm_ov[reader] : s->norm_qk[reader]);
        const double norm = read_norm(w, pair / w->heads, pair % w->heads, w->spare + pair * w->d);
        s->composition[w->kind][writer * s->model->n_layers * w->heads + reader] =
            norms > 0.0 ? norm / norms : 0.0;
    }
}

static int read_layer(composition_work *w) {
    static const psc_matrix matrices[] = {PSC_W_Q, PSC_W_K, PSC_W_V};
    weights_state *s = w->s;
    const float *gamma = NULL, *beta = NULL;
    const int64_t rows = w->heads * w->d;
    if (s->host->ln_parameters(s->context, PSC_LN1, w->reader, &gamma, &beta)) return -1;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < w->n; i++)
            w->x[r * w->n + i] = (float)(w->writes[r * w->n + i] * (double)gamma[i]);
    for (w->kind = 0; w->kind < 3; w->kind++) {
        if (s->host->apply(s->context, matrices[w->kind], w->reader, w->y, w->x, rows)) return -1;
        s->host->parallel_for(s->context, w->heads * w->heads, read_pairs, w);
    }
    return s->host->cancelled(s->context) ? s->host->fail(s->context, "stopped") : 0;
}

int weights_composition(weights_state *s) {
    static const char *const axes[] = {"layers", "heads", "reader_layers", "reader_heads"};
    static const char *const names[] = {"q_composition", "k_composition", "v_composition"};
    const psc_host *host = s->host;
    const int64_t d = s->model->d_head, heads = s->model->n_heads, rows = heads * d;
    composition_work w = {.s = s, .n = s->n, .d = d, .heads = heads};
    w.unpacked = host->run_alloc(s->context, (uint64_t)(rows * s->n) * sizeof(float));
    w.x = host->run_alloc(s->context, (uint64_t)(rows * s->n) * sizeof(float));
    w.y = host->run_alloc(s->context, (uint64_t)(rows * rows) * sizeof(float));
    w.writes = weights_doubles(s, rows * s->n);
    w.spare = weights_doubles(s, heads * heads * d);
    if (!w.unpacked || !w.x || !w.y || !w.writes || !w.spare) return -1;
    for (int kind = 0; kind < 3; kind++) {
        s->composition[kind] = host->array(s->context, names[kind], PSC_F64, 4, axes);
        if (!s->composition[kind]) return -1;
    }
    for (w.writer = 0; w.writer + 1 < s->model->n_layers; w.writer++) {
        if (weights_unpack(s, PSC_W_O, w.writer, 0, rows, s->n, w.unpacked)) return -1;
        host->parallel_for(s->context, rows, write_rows, &w);
        for (w.reader = w.writer + 1; w.reader < s->model->n_layers; w.reader++)
            if (read_layer(&w)) return -1;
    }
    return weights_composition_summary(s);
}
