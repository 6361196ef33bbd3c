/* Links between units of a sequence: what the prediction after unit `to` owes to reading `from`.
 *
 *   from, to [links] last positions of units; kl, dlogp_next [links] by knock-outs (kit/links.h);
 *   frozen_kl [links] of the frozen network; without links=causal dlogp_next is the frozen one
 *
 * dlogp_next = log p' - log p of the next token without the read: below 0, the read helped. */
#include "spans.h"
#include "top.h"

#include <stdio.h>

enum { MOST_LINKS = 1 << 22 };

int spans_links_begin(spans_state *s) {
    spans_effects *e = &s->effects;
    const psc_host *host = s->host;
    e->n_links = 0;
    e->first_link =
        host->run_alloc(s->context, (uint64_t)s->n_sequences * sizeof *e->first_link + 1);
    if (!e->first_link) return -1;
    for (int32_t q = 0; q < s->n_sequences; q++) {
        e->first_link[q] = e->n_links;
        e->n_links += psc_links_count(s->sequences[q].units.n, e->distance);
    }
    if (e->n_links > MOST_LINKS)
        return host->fail(s->context,
            "links= of %d units are %lld pairs, but at most %d are allowed; give distance=D or "
            "range=A-B",
            (int)s->n_units, (long long)e->n_links, MOST_LINKS);
    e->link = host->run_alloc(s->context, (uint64_t)e->n_links * sizeof *e->link + 1);
    if (!e->link) return -1;
    for (int32_t q = 0; q < s->n_sequences; q++)
        psc_links_list(s->sequences[q].units.n, e->distance, e->link + e->first_link[q]);
    return e->links & LINK_FROZEN ? psc_frozen_links_begin(&e->frozen, &e->knockouts.base) : 0;
}

int spans_links_find(spans_state *s, int32_t sequence) {
    spans_effects *e = &s->effects;
    const psc_units *units = &s->sequences[sequence].units;
    psc_link *links = e->link + e->first_link[sequence];
    if ((e->links & LINK_CAUSAL) &&
        psc_links_causal(&e->knockouts, units, psc_links_count(units->n, e->distance), links))
        return -1;
    if (e->knockouts.counting || !(e->links & LINK_FROZEN)) return 0;
    return psc_frozen_links_find(&e->frozen, units, e->distance, links);
}

/* --- arrays ---------------------------------------------------------------------------------- */

int spans_links_arrays(spans_state *s) {
    static const char *const axes[] = {"links"};
    const spans_effects *e = &s->effects;
    const psc_host *host = s->host;
    const int causal = (e->links & LINK_CAUSAL) != 0, frozen = (e->links & LINK_FROZEN) != 0;
    if (psc_count_axis(s->context, host, "links", 0, e->n_links)) return -1;
    int32_t *from = host->array(s->context, "from", PSC_I32, 1, axes);
    int32_t *to = host->array(s->context, "to", PSC_I32, 1, axes);
    double *kl = causal ? host->array(s->context, "kl", PSC_F64, 1, axes) : NULL;
    double *frozen_kl = frozen ? host->array(s->context, "frozen_kl", PSC_F64, 1, axes) : NULL;
    double *dlogp = host->array(s->context, "dlogp_next", PSC_F64, 1, axes);
    if (!from || !to || !dlogp || (causal && !kl) || (frozen && !frozen_kl)) return -1;
    for (int32_t q = 0; q < s->n_sequences; q++) {
        const int64_t n = psc_links_count(s->sequences[q].units.n, e->distance);
        for (int64_t i = e->first_link[q]; i < e->first_link[q] + n; i++) {
            const psc_link *link = &e->link[i];
            from[i] = spans_last(&s->sequences[q], link->from);
            to[i] = spans_last(&s->sequences[q], link->to);
            if (causal) kl[i] = link->kl;
            if (frozen) frozen_kl[i] = link->frozen;
            dlogp[i] = causal ? link->dlogp : link->dfrozen;
        }
    }
    return 0;
}

/* --- summary --------------------------------------------------------------------------------- */

static double size_of(const spans_effects *e, int64_t i) {
    return e->links & LINK_CAUSAL ? e->link[i].kl : e->link[i].frozen;
}

/* 3 ' man' -> 4 ' gave' */
static int name_link(const spans_state *s, int64_t i, char *out, size_t size) {
    const spans_effects *e = &s->effects;
    const psc_link *link = &e->link[i];
    int32_t q = s->n_sequences - 1;
    while (e->first_link[q] > i) q--;
    const char *from = spans_unit_text(s, q, link->from), *to = spans_unit_text(s, q, link->to);
    if (!from || !to) return -1;
    snprintf(out, size, "%d %.60s -> %d %.60s", (int)spans_last(&s->sequences[q], link->from), from,
        (int)spans_last(&s->sequences[q], link->to), to);
    return 0;
}

int spans_links_summary(spans_state *s) {
    enum { NAME = 200 };
    const spans_effects *e = &s->effects;
    const psc_host *host = s->host;
    const uint64_t top = (uint64_t)s->top + 1;
    psc_top_list best = {host->run_alloc(s->context, top * sizeof *best.at), s->top, 0};
    char(*names)[NAME] = host->run_alloc(s->context, top * sizeof *names);
    const char **labels = host->run_alloc(s->context, top * sizeof *labels);
    double *values = host->run_alloc(s->context, top * sizeof *values);
    if (!best.at || !names || !labels || !values) return -1;
    for (int64_t i = 0; i < e->n_links; i++) psc_top_offer(&best, size_of(e, i), i);
    for (int32_t i = 0; i < best.n; i++) {
        if (name_link(s, best.at[i].index, names[i], NAME)) return -1;
        labels[i] = names[i];
        values[i] = best.at[i].key;
    }
    return host->summary_bars(s->context,
        e->links & LINK_CAUSAL
            ? "links: KL at the last row of a unit when it may not read an earlier one"
            : "links: KL at the last row of a unit without an earlier one's frozen writes",
        "nats", best.n, labels, values);
}
