/* out[i, j] += sum_t a[t, i] b[t, j] in f64, by tiles of 16 x 16: each tile is the
 * host's add_products over ascending panels, so a number is one chain over ascending
 * t, whatever the split. */
#include "products.h"

int psc_panels_make(psc_panels *out, psc_context *context, const psc_host *host, int64_t n_rows,
    int64_t n_columns) {
    const int64_t panels = (n_rows + PSC_PANEL_ROWS - 1) / PSC_PANEL_ROWS;
    *out = (psc_panels){context, host, NULL, panels * PSC_PANEL_ROWS, psc_tiles_up(n_columns)};
    out->x = host->run_alloc(context, (uint64_t)(out->n_rows * out->n_columns) * sizeof *out->x);
    return out->x ? 0 : -1;
}

void psc_panels_put(psc_panels *p, int64_t row, const double *x, int64_t n) {
    double *at = p->x + row / PSC_PANEL_ROWS * PSC_PANEL_ROWS * p->n_columns +
                 row % PSC_PANEL_ROWS * PSC_TILE;
    for (int64_t i = 0; i < n; i += PSC_TILE, at += PSC_PANEL_ROWS * PSC_TILE)
        for (int64_t j = i; j < n && j < i + PSC_TILE; j++) at[j - i] = x[j];
}

typedef struct product {
    const psc_reductions *reductions;
    double *out;
    int64_t stride;
    const psc_panels *a, *b;
    int upper;
} product;

/* Rows of tiles from both ends in turn, so that the parts of a triangle cost the same. */
static int64_t row_of_tiles(const product *p, int64_t place) {
    if (!p->upper) return place;
    return place % 2 ? p->a->n_columns / PSC_TILE - 1 - place / 2 : place / 2;
}

static void product_tiles(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const product *p = payload;
    const int64_t size = PSC_PANEL_ROWS * PSC_TILE;
    (void)thread;
    for (int64_t t = 0; t < p->a->n_rows; t += PSC_PANEL_ROWS)
        for (int64_t place = begin; place < end; place++) {
            const int64_t i = row_of_tiles(p, place);
            for (int64_t j = p->upper ? i : 0; j < p->b->n_columns / PSC_TILE; j++)
                p->reductions->add_products(p->out + i * PSC_TILE * p->stride + j * PSC_TILE,
                    (size_t)p->stride, p->a->x + t * p->a->n_columns + i * size,
                    p->b->x + t * p->b->n_columns + j * size, PSC_PANEL_ROWS);
        }
}

int psc_panels_product(
    double *out, int64_t stride, const psc_panels *a, const psc_panels *b, int upper) {
    product p = {a->host->reductions(a->context), out, stride, a, b, upper};
    if (!p.reductions) return -1;
    a->host->parallel_for(a->context, a->n_columns / PSC_TILE, product_tiles, &p);
    return 0;
}

double psc_dot_f64(int64_t n, const double *a, const double *b) {
    double lanes[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) lanes[j] += a[i + j] * b[i + j];
    for (int j = 0; i + j < n; j++) lanes[j] += a[i + j] * b[i + j];
    return psc_fold16(lanes);
}

void psc_center_f64(double *x, int64_t n) {
    double lanes[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) lanes[j] += x[i + j];
    for (int j = 0; i + j < n; j++) lanes[j] += x[i + j];
    const double mean = psc_fold16(lanes) / (double)n;
    for (i = 0; i < n; i++) x[i] -= mean;
}
