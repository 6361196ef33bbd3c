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
    float *unpacked;        /* [N, H d] W_O */
    double *columns;        /* [H d, N] its columns, centered */
    double *writes;         /* [H d, N] columns of W */
    const float *gamma;     /* [N] the reader's */
    float *x, *y;           /* [H d, N] gamma * W; [H d, H d] products */
    double *triangles;      /* [H, tiles, d, PSC_TILE] the reader's, in panels */
    double *spare;          /* [H, H, d, PSC_TILE] */
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
            const double *o = w->columns + (head * d + j) * n;
            for (int64_t k = 0; k < n; k++) out[k] += t * o[k];
        }
    }
}

/* Puts the triangles of the reader's layer into panels, zero-padded. */
static void pack_triangles(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const composition_work *w = payload;
    const int64_t d = w->d, tiles = (d + PSC_TILE - 1) / PSC_TILE;
    (void)thread;
    for (int64_t head = begin; head < end; head++) {
        const double *triangle =
            w->s->triangles + ((w->reader * w->heads + head) * N_TRIANGLES + w->kind) * d * d;
        double *out = w->triangles + head * tiles * d * PSC_TILE;
        for (int64_t i = 0; i < d; i++)
            for (int64_t o = 0; o < d; o++)
                out[(i / PSC_TILE * d + o) * PSC_TILE + i % PSC_TILE] = triangle[o * d + i];
    }
}

/* sum over the writer's columns c and rows i of (sum_o triangle[o, i] y[c, o])^2, by tiles of both;
 * y_tile [d, PSC_TILE]. */
static double read_norm(const composition_work *w, int64_t writer, int64_t reader, double *y_tile) {
    const int64_t d = w->d, size = w->heads * d, tiles = (d + PSC_TILE - 1) / PSC_TILE;
    double lanes[PSC_TILE] = {0};
    for (int64_t c = 0; c < d; c += PSC_TILE) {
        for (int64_t i = 0; i < PSC_TILE; i++) {
            const float *y = w->y + (writer * d + (c + i < d ? c + i : c)) * size + reader * d;
            for (int64_t o = 0; o < d; o++)
                y_tile[o * PSC_TILE + i] = c + i < d ? (double)y[o] : 0.0;
        }
        for (int64_t tile = 0; tile < tiles; tile++) {
            double z[PSC_TILE * PSC_TILE] = {0};
            w->s->reductions->add_products(z, PSC_TILE, y_tile,
                w->triangles + (reader * tiles + tile) * d * PSC_TILE, (size_t)d);
            for (int64_t i = 0; i < PSC_TILE; i++)
                for (int64_t j = 0; j < PSC_TILE; j++)
                    lanes[j] += z[i * PSC_TILE + j] * z[i * PSC_TILE + j];
        }
    }
    return sqrt(psc_fold16(lanes));
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
        const double norm =
            read_norm(w, pair / w->heads, pair % w->heads, w->spare + pair * w->d * PSC_TILE);
        s->composition[w->kind][writer * s->model->n_layers * w->heads + reader] =
            norms > 0.0 ? norm / norms : 0.0;
    }
}

static void scale_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const composition_work *w = payload;
    (void)thread;
    for (int64_t r = begin; r < end; r++)
        for (int64_t i = 0; i < w->n; i++)
            w->x[r * w->n + i] = (float)(w->writes[r * w->n + i] * (double)w->gamma[i]);
}

static int read_layer(composition_work *w) {
    static const psc_matrix matrices[] = {PSC_W_Q, PSC_W_K, PSC_W_V};
    weights_state *s = w->s;
    const float *gamma = NULL, *beta = NULL;
    const int64_t rows = w->heads * w->d;
    if (s->host->ln_parameters(s->context, PSC_LN1, w->reader, &gamma, &beta)) return -1;
    w->gamma = gamma;
    s->host->parallel_for(s->context, rows, scale_rows, w);
    for (w->kind = 0; w->kind < 3; w->kind++) {
        if (s->host->apply(s->context, matrices[w->kind], w->reader, w->y, w->x, rows)) return -1;
        s->host->parallel_for(s->context, w->heads, pack_triangles, w);
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
    w.columns = weights_doubles(s, rows * s->n);
    w.triangles = weights_doubles(s, heads * ((d + PSC_TILE - 1) / PSC_TILE) * d * PSC_TILE);
    w.spare = weights_doubles(s, heads * heads * d * PSC_TILE);
    if (!w.unpacked || !w.columns || !w.triangles || !w.x || !w.y || !w.writes || !w.spare)
        return -1;
    for (int kind = 0; kind < 3; kind++) {
        s->composition[kind] = host->array(s->context, names[kind], PSC_F64, 4, axes);
        if (!s->composition[kind]) return -1;
    }
    for (w.writer = 0; w.writer + 1 < s->model->n_layers; w.writer++) {
        if (host->matrix_rows(s->context, PSC_W_O, w.writer, w.unpacked, 0, s->n)) return -1;
        weights_vectors(s, w.columns, w.unpacked, rows, rows, 1, NULL, NULL);
        host->parallel_for(s->context, rows, write_rows, &w);
        for (w.reader = w.writer + 1; w.reader < s->model->n_layers; w.reader++)
            if (read_layer(&w)) return -1;
        weights_progress(
            s, WEIGHTS_FROM_COMPOSITION, WEIGHTS_FROM_TOKENS, w.writer + 1, s->model->n_layers - 1);
    }
    return weights_composition_summary(s);
}
