/* Scores of edges.
 *
 *   exact(u -> v) = metric of the run in which v alone reads u's value of the other run - metric of
 * this
 *
 * which is path patching over the direct path from u to v. One run per edge, from v's layer on. */
#include "circuit.h"

#include <math.h>

static void one_edge(const void *payload, int64_t index, uint8_t *patched) {
    (void)payload;
    patched[index] = 1;
}

static void kept_edge(const void *payload, int64_t index, uint8_t *patched) {
    const circuit_state *s = payload;
    patched[s->ranked.at[index].edge] = 1;
}

int circuit_check(circuit_state *s) {
    if (s->scores < SCORES_EAP || s->n_kept > s->check) return 0;
    s->exact = s->host->run_alloc(s->context, (uint64_t)s->n_kept * sizeof *s->exact + 1);
    if (!s->exact || circuit_run(s, s->n_kept, kept_edge, s, s->exact)) return -1;
    for (int64_t i = 0; i < s->n_kept; i++) s->exact[i] -= s->base_value;
    return 0;
}

static int take_given(circuit_state *s) {
    int64_t numbers = 0;
    for (int32_t r = 0; r < s->n_receivers; r++) {
        double *to = s->score + psc_edge_first(&s->shape, r);
        for (int32_t u = 0; u < psc_edge_reads(&s->shape, r); u++) {
            to[u] = (double)s->given[(int64_t)r * s->n_senders + u];
            if (isinf(to[u]))
                return s->host->fail(s->context, "scored=: a score is infinite; give finite ones");
            numbers += !isnan(to[u]);
        }
    }
    if (numbers) return 0;
    return s->host->fail(s->context, "scored=: no edge has a score; give those of another run");
}

int circuit_score(circuit_state *s) {
    s->score = s->host->run_alloc(s->context, (uint64_t)s->n_edges * sizeof *s->score);
    if (s->score && s->scores == SCORES_GIVEN) return take_given(s);
    if (s->score && s->scores >= SCORES_EAP) return circuit_attribute(s);
    if (!s->score || circuit_run(s, s->n_edges, one_edge, NULL, s->score)) return -1;
    for (int64_t e = 0; e < s->n_edges; e++) s->score[e] -= s->base_value;
    return 0;
}
