/* Over documents: how often each latent is active, and its contexts: where it is largest.
 *
 * A run's largest values per latent are kept as the rows arrive, if they reach the least of the
 * totals' list, and offered to the host's lists at the end. Ties go to the lower document, then
 * position, in a run by the rank of its rows. Rows are taken in their order on one thread. */
#include "sae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int sae_contexts_open(sae_state *s) {
    const psc_host *host = s->host;
    const int64_t n = s->d.n_latents;
    s->sums = host->accumulator(s->context, "sums", PSC_ACCUMULATE_SUM, SAE_SUMS, 0);
    s->counts = host->accumulator(s->context, "counts", PSC_ACCUMULATE_COUNT, SAE_COUNTS, 0);
    s->mean = host->accumulator(s->context, "mean", PSC_ACCUMULATE_SUM, s->d.d_out, 0);
    s->fires_handle = host->accumulator(s->context, "fires", PSC_ACCUMULATE_COUNT, n, 0);
    s->context_handle =
        host->accumulator(s->context, "contexts", PSC_ACCUMULATE_TOP, n, s->contexts);
    return s->sums < 0 || s->counts < 0 || s->mean < 0 || s->fires_handle < 0 ||
                   s->context_handle < 0
               ? -1
               : 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

typedef struct placed {
    int64_t document;
    int32_t position, row;
} placed;

static int by_place(const void *a, const void *b) {
    const placed *p = a, *q = b;
    if (p->document != q->document) return p->document < q->document ? -1 : 1;
    return (p->position > q->position) - (p->position < q->position);
}

static int rank_rows(sae_state *s) {
    const psc_host *host = s->host;
    const int32_t n = s->rows.n_all;
    placed *places = host->run_alloc(s->context, (uint64_t)n * sizeof *places + 1);
    s->rank = host->run_alloc(s->context, (uint64_t)n * sizeof *s->rank + 1);
    s->ranked = host->run_alloc(s->context, (uint64_t)n * sizeof *s->ranked + 1);
    if (!places || !s->rank || !s->ranked) return -1;
    for (int32_t i = 0; i < n; i++) {
        places[i].row = i;
        if (host->place(s->context, &s->all[i], &places[i].document, &places[i].position))
            return -1;
    }
    qsort(places, (size_t)n, sizeof *places, by_place);
    for (int32_t i = 0; i < n; i++) {
        s->ranked[i] = places[i].row;
        s->rank[places[i].row] = i;
    }
    return 0;
}

/* A value below the least of a full list of the totals can enter none of them. */
static int find_limits(sae_state *s) {
    psc_top *entries = s->host->run_alloc(s->context, (uint64_t)s->contexts * sizeof *entries);
    if (!entries) return -1;
    for (int32_t i = 0; i < s->d.n_latents; i++) {
        const int32_t n = s->host->accumulated_top(s->context, s->context_handle, i, entries);
        if (n < 0) return -1;
        const double least = n == s->contexts ? entries[n - 1].value : -INFINITY;
        const float limit = (float)least; /* a state's number may lie between two floats */
        s->limits[i] = (double)limit > least ? nextafterf(limit, -INFINITY) : limit;
    }
    return 0;
}

int sae_contexts_begin(sae_state *s) {
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->d.n_latents;
    s->fires = host->run_alloc(s->context, n * sizeof *s->fires);
    s->found = host->run_alloc(s->context, n * (uint64_t)s->contexts * sizeof *s->found);
    s->n_found = host->run_alloc(s->context, n * sizeof *s->n_found);
    s->limits = host->run_alloc(s->context, n * sizeof *s->limits);
    if (!s->fires || !s->found || !s->n_found || !s->limits) return -1;
    return find_limits(s) || rank_rows(s) ? -1 : 0;
}

void sae_contexts_take(
    sae_state *s, int32_t row, int64_t n, const int32_t *ids, const float *values) {
    for (int64_t i = 0; i < n; i++) {
        const int32_t id = ids[i];
        s->fires[id]++;
        if (values[i] < s->limits[id]) continue;
        psc_top_list top = {s->found + (int64_t)id * s->contexts, s->contexts, s->n_found[id]};
        if (psc_top_offer(&top, (double)values[i], s->rank[row]) < 0) continue;
        s->n_found[id] = top.n;
        if (top.n == s->contexts && top.at[top.n - 1].key > (double)s->limits[id])
            s->limits[id] = (float)top.at[top.n - 1].key; /* a float's own value */
    }
}

int sae_contexts_add(sae_state *s) {
    enum { BLOCK = 512 };
    const psc_host *host = s->host;
    double fires[BLOCK];
    for (int32_t id = 0; id < s->d.n_latents; id++)
        for (int32_t i = 0; i < s->n_found[id]; i++) {
            const psc_ranked *found = &s->found[(int64_t)id * s->contexts + i];
            if (host->accumulate_top(s->context, s->context_handle, id, found->key,
                    &s->all[s->ranked[found->index]]))
                return -1;
        }
    for (int32_t k = 0; k < s->d.n_latents; k += BLOCK) {
        const int32_t n = s->d.n_latents - k < BLOCK ? s->d.n_latents - k : BLOCK;
        for (int32_t i = 0; i < n; i++) fires[i] = s->fires[k + i];
        if (host->accumulate(s->context, s->fires_handle, k, n, fires)) return -1;
    }
    return 0;
}

/* --- the report ------------------------------------------------------------------------------ */

/* Makes context_value, context_document, context_position [latents, contexts] and context_tokens
 * [.., window]; lists the latents with the largest values, unless some are named. */
static int put_contexts(sae_state *s, psc_top *entries) {
    static const char *const axes[] = {"latents", "contexts", "window"};
    const psc_host *host = s->host;
    const int64_t window = PSC_TOP_BEFORE + 1 + PSC_TOP_AFTER;
    psc_ranked most[SAE_AUTO];
    psc_top_list largest = {most, SAE_AUTO, 0};
    if (psc_count_axis(s->context, host, "contexts", 0, s->contexts) ||
        psc_count_axis(s->context, host, "window", -PSC_TOP_BEFORE, (int32_t)window))
        return -1;
    double *value = host->array(s->context, "context_value", PSC_F64, 2, axes);
    double *document = host->array(s->context, "context_document", PSC_F64, 2, axes);
    int32_t *position = host->array(s->context, "context_position", PSC_I32, 2, axes);
    int32_t *tokens = psc_token_ids_array(s->context, host, "context_tokens", 3, axes);
    if (!value || !document || !position || !tokens) return -1;
    for (int32_t id = 0; id < s->d.n_latents; id++) {
        const int32_t n = host->accumulated_top(s->context, s->context_handle, id, entries);
        if (n < 0) return -1;
        if (n > 0) psc_top_offer(&largest, entries[0].value, id);
        for (int32_t e = 0; e < n; e++) {
            const int64_t at = (int64_t)id * s->contexts + e;
            value[at] = entries[e].value;
            document[at] = (double)entries[e].document;
            position[at] = entries[e].position;
            memcpy(tokens + at * window, entries[e].tokens, (size_t)window * sizeof *tokens);
        }
    }
    if (s->n_listed == 0)
        for (int32_t i = 0; i < largest.n; i++)
            s->listed[s->n_listed++] = (int32_t)largest.at[i].index;
    return psc_name_documents(s->context, host, document, (int64_t)s->d.n_latents * s->contexts);
}

static int show_contexts(sae_state *s, psc_top *entries) {
    char label[SAE_LABEL];
    for (int32_t i = 0; i < s->n_listed; i++) {
        const int32_t n =
            s->host->accumulated_top(s->context, s->context_handle, s->listed[i], entries);
        if (n < 0) return -1;
        for (int32_t e = 0; e < n && e < 3; e++)
            if (psc_show_context(
                    s->context, s->host, sae_label(s, s->listed[i], label), &entries[e], ""))
                return -1;
    }
    return 0;
}

/* fires [latents], and how many never were. */
static int put_fires(sae_state *s, double rows) {
    static const char *const axis = "latents";
    const psc_host *host = s->host;
    int64_t dead = 0;
    char line[200];
    if (psc_count_axis(s->context, host, axis, 0, s->d.n_latents)) return -1;
    double *fires = host->array(s->context, "fires", PSC_F64, 1, &axis);
    if (!fires || host->accumulated(s->context, s->fires_handle, 0, s->d.n_latents, fires))
        return -1;
    for (int32_t i = 0; i < s->d.n_latents; i++) dead += fires[i] == 0.0;
    if (host->value_number(s->context, "dead", (double)dead)) return -1;
    if (rows == 0) return 0;
    snprintf(line, sizeof line, "%s of %s latents are dead: never active over %s.",
        PSC_COMMAS(dead), PSC_COMMAS(s->d.n_latents), PSC_MANY(rows, "token"));
    return host->summary_text(s->context, line);
}

int sae_contexts_report(sae_state *s) {
    const psc_host *host = s->host;
    sae_totals t;
    psc_top *entries = host->run_alloc(s->context, (uint64_t)s->contexts * sizeof *entries);
    t.sum = host->run_alloc(s->context, (uint64_t)s->d.d_out * sizeof *t.sum);
    if (!entries || !t.sum || host->accumulated(s->context, s->sums, 0, SAE_SUMS, t.sums) ||
        host->accumulated(s->context, s->counts, 0, SAE_COUNTS, t.counts) ||
        host->accumulated(s->context, s->mean, 0, s->d.d_out, t.sum))
        return -1;
    return sae_figures(s, &t) || put_fires(s, t.counts[SAE_ROWS]) || put_contexts(s, entries) ||
           show_contexts(s, entries);
}
