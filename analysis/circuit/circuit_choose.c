/* The order of the edges, and the circuit: its first ones.
 *
 *   score    |score|, the largest first
 *   greedy   from the logits: the edge with the largest |score| of those that lead to a component
 *            in the circuit; its sender is then in, with all that it reads
 *
 * Ties go to the lower edge. The circuit is the first `edges`, or all with |score| >= threshold. */
#include "circuit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- greedy ---------------------------------------------------------------------------------- */

/* A heap of edges that may come next, the first in order at the top. */
typedef struct heap {
    circuit_scored *at; /* [edges] */
    int64_t n;
} heap;

static void push(heap *h, circuit_scored one) {
    int64_t i = h->n++;
    for (; i > 0 && circuit_by_score(&one, &h->at[(i - 1) / 2]) < 0; i = (i - 1) / 2)
        h->at[i] = h->at[(i - 1) / 2];
    h->at[i] = one;
}

static circuit_scored pop(heap *h) {
    const circuit_scored top = h->at[0], last = h->at[--h->n];
    int64_t i = 0;
    for (int64_t child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && circuit_by_score(&h->at[child + 1], &h->at[child]) < 0) child++;
        if (circuit_by_score(&last, &h->at[child]) <= 0) break;
        h->at[i] = h->at[child];
    }
    h->at[i] = last;
    return top;
}

static void push_receiver(const circuit_state *s, heap *h, int32_t receiver) {
    const int64_t first = psc_edge_first(&s->shape, receiver);
    for (int32_t u = 0; u < psc_edge_reads(&s->shape, receiver); u++)
        push(h, (circuit_scored){first + u, s->score[first + u]});
}

/* The receivers of a component: none of embed, q, k and v of a head, one of an MLP. */
static void push_component(const circuit_state *s, heap *h, int32_t sender) {
    const int32_t heads = s->shape.n_heads, layer = (sender - 1) / (heads + 1);
    const int32_t i = (sender - 1) % (heads + 1), first = psc_edge_receivers(&s->shape, layer);
    if (sender == 0) return;
    if (i == heads) {
        push_receiver(s, h, first + 3 * heads);
        return;
    }
    for (int32_t role = 0; role < 3; role++) push_receiver(s, h, first + role * heads + i);
}

static int order_greedily(circuit_state *s) {
    heap h = {0};
    h.at = s->host->run_alloc(s->context, (uint64_t)s->n_edges * sizeof *h.at);
    uint8_t *in = s->host->run_alloc(s->context, (uint64_t)s->n_senders);
    if (!h.at || !in) return -1;
    push_receiver(s, &h, s->n_receivers - 1);
    while (h.n > 0) {
        int32_t sender, receiver;
        const circuit_scored next = pop(&h);
        s->ranked.at[s->ranked.n++] = next;
        circuit_ends(s, next.edge, &sender, &receiver);
        if (!in[sender]) push_component(s, &h, sender);
        in[sender] = 1;
    }
    return 0;
}

/* --- the circuit ----------------------------------------------------------------------------- */

int circuit_choose(circuit_state *s) {
    if (circuit_make_list(s, s->n_edges, &s->ranked)) return -1;
    if (s->order == ORDER_GREEDY) {
        if (order_greedily(s)) return -1;
    } else {
        for (int64_t e = 0; e < s->n_edges; e++)
            s->ranked.at[s->ranked.n++] = (circuit_scored){e, s->score[e]};
        qsort(s->ranked.at, (size_t)s->ranked.n, sizeof *s->ranked.at, circuit_by_score);
    }
    s->n_kept = s->edges;
    if (s->threshold > 0.0)
        for (s->n_kept = 0; s->n_kept < s->ranked.n; s->n_kept++)
            if (!(fabs(s->ranked.at[s->n_kept].score) >= s->threshold)) break;
    if (s->n_kept > s->ranked.n) s->n_kept = s->ranked.n;
    return 0;
}

static int by_edge(const void *a, const void *b) {
    const circuit_scored *x = a, *y = b;
    return (x->edge > y->edge) - (x->edge < y->edge);
}

/* Receivers ascend with their layers, so one pass up finds what the embedding reaches, one down
 * what reaches the logits. In a sequential layer the MLP's edges come after those of the heads. */
int circuit_connect(circuit_state *s) {
    const int64_t n = s->n_kept;
    circuit_scored *kept = s->host->run_alloc(s->context, (uint64_t)n * sizeof *kept + 1);
    uint8_t *from = s->host->run_alloc(s->context, (uint64_t)s->n_senders + 1);
    uint8_t *to = s->host->run_alloc(s->context, (uint64_t)s->n_senders + 1);
    s->connected = s->host->run_alloc(s->context, (uint64_t)n + 1);
    if (!kept || !from || !to || !s->connected) return -1;
    for (int64_t i = 0; i < n; i++) kept[i] = s->ranked.at[i];
    qsort(kept, (size_t)n, sizeof *kept, by_edge);
    from[0] = to[s->n_senders] = 1;
    for (int64_t i = 0; i < n; i++) {
        int32_t sender, receiver;
        circuit_ends(s, kept[i].edge, &sender, &receiver);
        if (from[sender]) from[circuit_component(s, receiver)] = 1;
    }
    for (int64_t i = n; i-- > 0;) {
        int32_t sender, receiver;
        circuit_ends(s, kept[i].edge, &sender, &receiver);
        if (to[circuit_component(s, receiver)]) to[sender] = 1;
    }
    for (int64_t i = 0; i < n; i++) {
        int32_t sender, receiver;
        circuit_ends(s, s->ranked.at[i].edge, &sender, &receiver);
        s->connected[i] = from[sender] && to[circuit_component(s, receiver)];
    }
    return 0;
}

static void mark_nodes(const circuit_state *s, const circuit_scored *at, int64_t n, uint8_t *in) {
    for (int64_t i = 0; i < n; i++) {
        int32_t sender, receiver;
        circuit_ends(s, at[i].edge, &sender, &receiver);
        in[sender] = in[circuit_component(s, receiver)] = 1;
    }
}

static double shared_part(const uint8_t *a, const uint8_t *b, int64_t n) {
    int64_t both = 0, any = 0;
    for (int64_t i = 0; i < n; i++) {
        both += a[i] && b[i];
        any += a[i] || b[i];
    }
    return any == 0 ? NAN : (double)both / (double)any;
}

int circuit_overlap(circuit_state *s) {
    circuit_list other;
    if (!*s->against) return 0;
    uint8_t *mine = s->host->run_alloc(s->context, (uint64_t)s->n_edges);
    uint8_t *in[2] = {s->host->run_alloc(s->context, (uint64_t)s->n_senders + 1),
        s->host->run_alloc(s->context, (uint64_t)s->n_senders + 1)};
    if (!mine || !in[0] || !in[1] || circuit_read(s, s->against, &other)) return -1;
    for (int64_t i = 0; i < s->n_kept; i++) mine[s->ranked.at[i].edge] = 1;
    mark_nodes(s, s->ranked.at, s->n_kept, in[0]);
    mark_nodes(s, other.at, other.n, in[1]);
    s->shared_edges = shared_part(mine, other.listed, s->n_edges);
    s->shared_components = shared_part(in[0], in[1], s->n_senders + 1);
    return 0;
}
