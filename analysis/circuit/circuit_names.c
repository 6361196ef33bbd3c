/* Names of components and edges, written and read.
 *
 *   sender     embed   L1H2      5_mlp_out       EAP: input   a1.h2      m5
 *   receiver   logits  L3H7.q    5_mlp_out            logits  a3.h7<q>   m5
 *   edge       RECEIVER<-SENDER, or SENDER->RECEIVER */
#include "circuit.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *circuit_sender(const circuit_state *s, int32_t sender, char out[CIRCUIT_NAME]) {
    const int32_t a_layer = s->shape.n_heads + 1, layer = (sender - 1) / a_layer;
    const int32_t head = (sender - 1) % a_layer;
    if (sender == 0)
        snprintf(out, CIRCUIT_NAME, "embed");
    else if (head < s->shape.n_heads)
        snprintf(out, CIRCUIT_NAME, "L%dH%d", (int)layer, (int)head);
    else
        snprintf(out, CIRCUIT_NAME, "%d_mlp_out", (int)layer);
    return out;
}

const char *circuit_receiver(const circuit_state *s, int32_t receiver, char out[CIRCUIT_NAME]) {
    const int32_t heads = s->shape.n_heads, a_layer = 3 * heads + 1;
    const int32_t layer = receiver / a_layer, i = receiver % a_layer;
    if (receiver == s->n_receivers - 1)
        snprintf(out, CIRCUIT_NAME, "logits");
    else if (i == 3 * heads)
        snprintf(out, CIRCUIT_NAME, "%d_mlp_out", (int)layer);
    else
        snprintf(out, CIRCUIT_NAME, "L%dH%d.%c", (int)layer, (int)(i % heads), "qkv"[i / heads]);
    return out;
}

void circuit_ends(const circuit_state *s, int64_t edge, int32_t *sender, int32_t *receiver) {
    int32_t low = 0,
            high = s->n_receivers - 1; /* the last receiver whose first edge is not after */
    while (low < high) {
        const int32_t middle = (low + high + 1) / 2;
        if (psc_edge_first(&s->shape, middle) <= edge)
            low = middle;
        else
            high = middle - 1;
    }
    *receiver = low;
    *sender = (int32_t)(edge - psc_edge_first(&s->shape, low));
}

int32_t circuit_component(const circuit_state *s, int32_t receiver) {
    const int32_t heads = s->shape.n_heads, a_layer = 3 * heads + 1, i = receiver % a_layer;
    if (receiver == s->n_receivers - 1) return s->n_senders;
    return psc_edge_senders(&s->shape, receiver / a_layer) + (i == 3 * heads ? heads : i % heads);
}

const char *circuit_edge(const circuit_state *s, int64_t edge, char out[2 * CIRCUIT_NAME]) {
    char from[CIRCUIT_NAME], to[CIRCUIT_NAME];
    int32_t sender, receiver;
    circuit_ends(s, edge, &sender, &receiver);
    circuit_receiver(s, receiver, to);
    snprintf(out, 2 * CIRCUIT_NAME, "%.40s<-%.40s", to, circuit_sender(s, sender, from));
    return out;
}

int circuit_by_score(const void *a, const void *b) {
    const circuit_scored *x = a, *y = b;
    const double left = isnan(x->score) ? -1.0 : fabs(x->score);
    const double right = isnan(y->score) ? -1.0 : fabs(y->score);
    if (left != right) return left > right ? -1 : 1;
    return (x->edge > y->edge) - (x->edge < y->edge);
}

/* --- reading --------------------------------------------------------------------------------- */

/* A number below end at *at, which advances; -1: none. */
static int32_t take_number(const char **at, int32_t end) {
    int32_t n = 0;
    if (!isdigit((unsigned char)**at)) return -1;
    for (; isdigit((unsigned char)**at) && n < end; ++*at) n = 10 * n + (**at - '0');
    return n < end && !isdigit((unsigned char)**at) ? n : -1;
}

static int take_text(const char **at, const char *text) {
    const size_t n = strlen(text);
    if (strncmp(*at, text, n) != 0) return 0;
    *at += n;
    return 1;
}

typedef struct part { /* layer -1: embed; n_layers: logits; head n_heads: the MLP; role -1: none */
    int32_t layer, head, role;
} part;

/* .q, <q> or nothing. */
static int32_t take_role(const char **at) {
    const int pointed = **at == '<' && (*at)[1] && (*at)[2] == '>';
    if (**at != '.' && !pointed) return -1;
    const char *found = (*at)[1] ? strchr("qkv", (*at)[1]) : NULL;
    if (!found) return -1;
    *at += pointed ? 3 : 2;
    return (int32_t)(found - "qkv");
}

/* One component at the start of *at. */
static int take_part(const circuit_state *s, const char **at, part *out) {
    const int32_t layers = s->shape.n_layers, heads = s->shape.n_heads;
    *out = (part){-1, heads, -1};
    if (take_text(at, "embed") || take_text(at, "input")) return 1;
    if (take_text(at, "logits")) {
        out->layer = layers;
        return 1;
    }
    if (isdigit((unsigned char)**at)) {
        out->layer = take_number(at, layers);
        return out->layer >= 0 && take_text(at, "_mlp_out");
    }
    if (take_text(at, "m")) {
        out->layer = take_number(at, layers);
        return out->layer >= 0;
    }
    const int eap = take_text(at, "a");
    if (!eap && !take_text(at, "L")) return 0;
    out->layer = take_number(at, layers);
    if (out->layer < 0 || !take_text(at, eap ? ".h" : "H")) return 0;
    out->head = take_number(at, heads);
    out->role = take_role(at);
    return out->head >= 0;
}

static int64_t edge_of(const circuit_state *s, const part *from, const part *to) {
    const int32_t heads = s->shape.n_heads, layers = s->shape.n_layers;
    if (from->layer == layers || from->role >= 0 || to->layer < 0) return -1;
    if ((to->role < 0) != (to->head == heads)) return -1; /* a head has a role, and no other */
    const int32_t sender =
        from->layer < 0 ? 0 : psc_edge_senders(&s->shape, from->layer) + from->head;
    const int32_t within = to->role < 0 ? 3 * heads : to->role * heads + to->head;
    const int32_t receiver =
        psc_edge_receivers(&s->shape, to->layer) + (to->layer < layers ? within : 0);
    if (sender >= psc_edge_reads(&s->shape, receiver)) return -1;
    return psc_edge_first(&s->shape, receiver) + sender;
}

int64_t circuit_parse(const circuit_state *s, const char *text) {
    part first, second;
    const char *at = text;
    if (!take_part(s, &at, &first)) return -1;
    const int forward = take_text(&at, "->");
    if (!forward && !take_text(&at, "<-")) return -1;
    if (!take_part(s, &at, &second) || *at) return -1;
    return forward ? edge_of(s, &first, &second) : edge_of(s, &second, &first);
}
