/* Heads and links of a run: their options, the life of the knock-outs that they share, of=. */
#include "spans.h"

#include <stdio.h>

static int causal(const spans_effects *e) {
    return e->heads == HEAD_CAUSAL || (e->links & LINK_CAUSAL);
}

static int any(const spans_effects *e) {
    return e->heads != HEAD_NONE || e->links != LINK_NONE;
}

int spans_effects_open(spans_state *s) {
    spans_effects *e = &s->effects;
    const psc_host *host = s->host;
    if ((e->links & LINK_NONE) && e->links != LINK_NONE)
        return host->fail(s->context, "links=none stands alone; give links=frozen+causal for both");
    if (*e->of_text && e->heads == HEAD_NONE)
        return host->fail(s->context, "of= needs heads=reads, causal or residual");
    if (e->after && e->heads != HEAD_CAUSAL && e->heads != HEAD_READS)
        return host->fail(s->context, "after= needs heads=causal or reads");
    if (e->distance && (e->links & LINK_NONE))
        return host->fail(s->context, "distance= needs links=causal or frozen");
    if (any(e) && host->accumulating(s->context))
        return host->fail(
            s->context, "heads= and links= work on single texts, not on a corpus; leave them out");
    return 0;
}

/* --- run_begin ------------------------------------------------------------------------------- */

/* The units of sequence 0 that hold the positions of of=. */
static int find_of(spans_state *s) {
    spans_effects *e = &s->effects;
    const psc_units *units = &s->sequences[0].units;
    int32_t first, end;
    e->of[0] = e->of[1] = -1;
    if (!*e->of_text) return 0;
    if (psc_option_positions(s->context, s->host, "of", e->of_text, &first, &end)) return -1;
    for (int32_t u = 0; u < units->n; u++) {
        if (units->begin[u] <= first && first < units->begin[u + 1]) e->of[0] = u;
        if (units->begin[u] < end && end <= units->begin[u + 1]) e->of[1] = u;
    }
    if (e->of[0] >= 0 && e->of[1] >= 0) return 0;
    if (units->n == 0)
        return s->host->fail(s->context, "of=%.40s: the text has no units", e->of_text);
    return s->host->fail(s->context, "of=%.40s is outside the units, which have positions %d-%d",
        e->of_text, (int)units->begin[0], (int)units->begin[units->n] - 1);
}

int spans_effects_begin(spans_state *s) {
    spans_effects *e = &s->effects;
    if (!any(e)) return 0;
    e->knockouts = (psc_knockouts){.n = 0};
    if (s->appended && (causal(e) || (e->links & LINK_FROZEN)))
        return s->host->fail(s->context,
            "%s needs every sequence in one run; leave it out of generation and continued runs",
            e->heads == HEAD_CAUSAL ? "heads=causal" : "links=");
    if (s->n_sequences && find_of(s)) return -1;
    if (causal(e)) {
        if (psc_knockouts_begin(s->context, s->host, &e->knockouts)) return -1;
    } else if (e->links & LINK_FROZEN) {
        if (psc_divergence_begin(s->context, s->host, &e->knockouts.base)) return -1;
    }
    if (e->heads != HEAD_NONE && spans_heads_begin(s)) return -1;
    return e->links == LINK_NONE ? 0 : spans_links_begin(s);
}

/* --- run_end --------------------------------------------------------------------------------- */

static int find_sequence(spans_state *s, int32_t q) {
    spans_effects *e = &s->effects;
    const psc_reads_sequence *of = &s->reads.sequences[q];
    if (causal(e)) {
        if (psc_knockouts_open(&e->knockouts, of->row, of->n)) return -1;
    } else if (e->links & LINK_FROZEN) {
        if (psc_divergence_open(&e->knockouts.base, of->row, of->n)) return -1;
    }
    if (e->heads != HEAD_NONE && spans_heads_find(s, q)) return -1;
    return e->links == LINK_NONE ? 0 : spans_links_find(s, q);
}

int spans_effects_find(spans_state *s) {
    spans_effects *e = &s->effects;
    if (!any(e)) return 0;
    for (int pass = causal(e) ? 0 : 1; pass < 2; pass++) {
        e->knockouts.counting = pass == 0;
        for (int32_t q = 0; q < s->n_sequences; q++)
            if (find_sequence(s, q)) return -1;
    }
    if (causal(e) && s->host->value_number(s->context, "knockout_rows", e->knockouts.done))
        return -1;
    if (e->heads != HEAD_NONE && spans_heads_arrays(s)) return -1;
    return e->links == LINK_NONE ? 0 : spans_links_arrays(s);
}

/* --- report ---------------------------------------------------------------------------------- */

int spans_effects_summary(spans_state *s) {
    const spans_effects *e = &s->effects;
    enum { MANY = 50 }; /* passes */
    char line[200];
    if (!any(e)) return 0;
    if (e->heads != HEAD_NONE && spans_heads_summary(s)) return -1;
    if (e->links != LINK_NONE && !spans_shows_notation(s) && spans_links_summary(s)) return -1;
    if (!causal(e)) return 0;
    const int many = e->knockouts.done > (double)MANY * s->n_rows;
    snprintf(line, sizeof line,
        "Knock-outs computed %s rows: %.1f passes over the run's %s rows.%s%s",
        PSC_COMMAS(e->knockouts.done), e->knockouts.done / s->n_rows, PSC_COMMAS(s->n_rows),
        many && e->heads == HEAD_CAUSAL && !e->after ? " after=N takes fewer." : "",
        many && (e->links & LINK_CAUSAL) && !e->distance ? " distance=D takes fewer." : "");
    return s->host->summary_text(s->context, line);
}
