/* What the other files of `graph` build on: retained tensors, LayerNorm's frozen map, the choice of
 * nodes. */
#include "graph.h"

#include <math.h>

const float *graph_kept(const graph_state *s, graph_tensor which, int32_t layer, int32_t row) {
    const psc_view *kept = &s->kept[which * s->model->n_layers + (layer < 0 ? 0 : layer)];
    return kept->data + row * kept->stride[0];
}

void graph_center(int64_t n, const float *gamma, const float *x, double factor, float *y) {
    for (int64_t i = 0; i < n; i++) y[i] = gamma[i] * x[i];
    const double mean = psc_sum_striped(n, y) / (double)n;
    for (int64_t i = 0; i < n; i++) y[i] = (float)(((double)y[i] - mean) * factor);
}

void graph_add_source(graph_state *s, int64_t row, double x) {
    s->sources[row] += x;
    s->sources_abs[row] += fabs(x);
}

/* The target is node 0; the largest follow, ties in the order of their offers. */
void graph_offer(
    graph_state *s, graph_kind kind, int32_t layer, int32_t index, int32_t row, double flow) {
    const double size = fabs(flow);
    const int64_t number = s->n_candidates++;
    s->candidate_flow += size;
    if (flow == 0.0 || !(size >= s->threshold)) return;
    const int32_t place = psc_top_offer(&s->ranked, size, number);
    if (place < 0) return;
    s->n_nodes = 1 + s->ranked.n;
    graph_node *node = psc_top_room(&s->ranked, place, s->nodes + 1, sizeof *node);
    *node = (graph_node){.kind = kind, .layer = layer, .index = index, .row = row, .flow = flow};
}
