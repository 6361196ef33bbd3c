/* Sums over the training examples at each place:
 *
 *   xx [width, width] = sum x x^T        x [classes, width] = sum x of each class
 *
 * Every element is one f64 chain over the examples in the order of the runs, so batches and threads
 * do not matter. A tile of xx is the product of two panels of 16 columns; only tiles with column
 * panel i <= j are kept. */
#include "directions.h"

#include <math.h>

static int64_t n_tiles(const directions_place *place) {
    return place->panels * (place->panels + 1) / 2;
}

void *directions_take(directions_state *s, double count, uint64_t size) {
    s->bytes += count * (double)size;
    if (s->bytes > s->memory * 0x1p20) {
        s->base.host->fail(s->base.context,
            "the sums of %d place%s need more than memory=%d MiB; choose fewer places or more "
            "memory=",
            (int)s->base.n_sites, s->base.n_sites == 1 ? "" : "s", (int)s->memory);
        return NULL;
    }
    return s->base.host->life_alloc(s->base.context, (uint64_t)count * size + 1);
}

int directions_sums_make(directions_state *s) {
    /* The solver's two matrices of the widest place count as well (directions_fit.c). */
    for (int32_t i = 0; i < s->base.n_sites; i++) {
        const double n = (double)s->places[i].width;
        s->bytes = fmax(s->bytes, 2.0 * n * n * sizeof(double));
    }
    for (int32_t i = 0; i < s->base.n_sites; i++) {
        directions_place *place = &s->places[i];
        const double padded = (double)(place->panels * DIRECTIONS_PANEL);
        place->xx = directions_take(s, (double)n_tiles(place) * DIRECTIONS_TILE, sizeof *place->xx);
        if (!place->xx) return -1;
        place->x = directions_take(s, s->n_classes * padded, sizeof *place->x);
        if (!place->x) return -1;
    }
    return 0;
}

/* One row of tiles: column panel i of a place. */
static void add_tiles(const directions_state *s, const directions_place *place, int64_t i) {
    const int64_t panels = place->panels;
    double *tile = place->xx + (i * panels - i * (i - 1) / 2) * DIRECTIONS_TILE;
    const double *a = place->run + i * place->panel_stride;
    for (int64_t j = i; j < panels; j++, tile += DIRECTIONS_TILE)
        s->reductions->add_products(
            tile, DIRECTIONS_PANEL, a, place->run + j * place->panel_stride, (size_t)s->n_examples);
}

static void add_panel(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const directions_state *s = payload;
    (void)thread;
    /* A panel near the begin has more tiles than one near the end, so both are taken in turn. */
    for (int64_t item = begin; item < end; item++) {
        const directions_place *place = &s->places[item % s->base.n_sites];
        const int64_t turn = item / s->base.n_sites;
        if (turn >= place->panels) continue;
        const int64_t i = turn % 2 ? place->panels - 1 - turn / 2 : turn / 2;
        double *x = place->x + (s->of_class * place->panels + i) * DIRECTIONS_PANEL;
        const double *from = place->run + i * place->panel_stride;
        add_tiles(s, place, i);
        for (int64_t e = 0; e < s->n_examples; e++)
            for (int k = 0; k < DIRECTIONS_PANEL; k++) x[k] += from[e * DIRECTIONS_PANEL + k];
    }
}

void directions_sums_add(directions_state *s) {
    int64_t most = 0;
    for (int32_t p = 0; p < s->base.n_sites; p++)
        if (s->places[p].panels > most) most = s->places[p].panels;
    s->base.host->parallel_for(s->base.context, most * s->base.n_sites, add_panel, s);
}
