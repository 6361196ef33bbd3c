/* Variants computed by several processes that make the same run (psc_spread.h). A group of variants
 * is cut into contiguous parts; each process computes one, all receive all logits, and each shows
 * every variant to its plugin in the caller's order:
 *
 *   part p of n_parts: variants  n p / n_parts  to  n (p + 1) / n_parts - 1  of the group's n
 *
 * A row's bits do not depend on its neighbors, so the plugin sees the logits of one process. */
#include "variants.h"

#include <stdlib.h>
#include <string.h>

#define GROUP_FLOATS ((int64_t)16 << 20) /* of a group's logits, unless one per part needs more */

typedef struct group {
    psc_context *context;
    int32_t begin, end;     /* of the caller's variants */
    psc_variant_span *span; /* [end - begin] */
    int64_t *at;            /* [end - begin + 1] offset of each one's logits */
    float *logits;          /* [at[end - begin]] */
    bool all_logits;
} group;

/* The logits of a row of a variant. */
static int64_t width_of(const group *g, const psc_variant *variant) {
    return variant->n_token_ids > 0 ? variant->n_token_ids
                                    : g->context->session->model->info.d_vocab;
}

/* The floats of the logits of a variant. */
static int64_t floats_of(const group *g, const psc_variant *variant, const psc_variant_span *span) {
    return (int64_t)(g->all_logits ? span->n_rows : 1) * width_of(g, variant);
}

/* Takes variants from g->begin on, of the caller's n, until the logits are many. */
static psc_status choose(group *g, int32_t n, const psc_variant *variants) {
    const int32_t least = g->context->session->share.n_parts;
    psc_status status = PSC_OK;
    g->at[0] = 0;
    for (g->end = g->begin; status == PSC_OK && g->end < n; g->end++) {
        const int32_t i = g->end - g->begin;
        const psc_variant variant = psc_variant_at(variants, g->end);
        status = psc_variant_check(g->context, g->end, &variant, &g->span[i]);
        if (status != PSC_OK) break;
        g->at[i + 1] = g->at[i] + floats_of(g, &variant, &g->span[i]);
        if (i >= least && g->at[i + 1] > GROUP_FLOATS) break;
    }
    return status;
}

/* A psc_variant_fn: keeps the logits of this process's part. */
static int keep(int32_t variant, const psc_event *logits, void *payload) {
    group *g = payload;
    const int32_t i = variant - g->begin;
    memcpy(g->logits + g->at[i], logits->tensor.data,
        (size_t)(g->at[i + 1] - g->at[i]) * sizeof(float));
    return 0;
}

static int compute(group *g, const psc_variant *variants) {
    const psc_share *share = &g->context->session->share;
    const int64_t n = g->end - g->begin;
    const int32_t from = g->begin + (int32_t)(n * share->part / share->n_parts);
    const int32_t to = g->begin + (int32_t)(n * (share->part + 1) / share->n_parts);
    int64_t *bounds = malloc(((size_t)share->n_parts + 1) * sizeof *bounds);
    if (!bounds)
        return psc_host_fail(g->context, PSC_ERROR_MEMORY, "not enough memory for variants");
    for (int32_t p = 0; p <= share->n_parts; p++) bounds[p] = g->at[n * p / share->n_parts];
    int returned = psc_variants_range(g->context, from, to, variants, g->all_logits, keep, g);
    psc_error error = {PSC_OK, ""};
    if (!returned && share->gather(g->logits, bounds, share->payload, &error) != PSC_OK)
        returned = psc_host_pass(g->context, &error);
    free(bounds);
    return returned;
}

/* Shows each variant's logits to the plugin. */
static int show(
    const group *g, psc_row *shown, const psc_variant *variants, psc_variant_fn fn, void *payload) {
    const psc_session *s = g->context->session;
    for (int32_t i = 0; i < g->end - g->begin; i++) {
        const psc_variant_span *span = &g->span[i];
        const psc_variant variant = psc_variant_at(variants, g->begin + i);
        const int64_t width = width_of(g, &variant);
        const int32_t n = g->all_logits ? span->n_rows : 1;
        memcpy(shown, s->rows + span->row_begin + span->n_rows - n, (size_t)n * sizeof *shown);
        psc_event event = {.struct_size = sizeof event,
            .point = PSC_HOOK_LOGITS,
            .layer = -1,
            .n_rows = n,
            .rows = shown,
            .tensor = {g->logits + g->at[i], 2, {n, width}, {width, 1}}};
        if (fn(g->begin + i, &event, payload) != 0 || s->error->status != PSC_OK) return -1;
    }
    return 0;
}

/* A group, with memory for its logits. */
static int do_group(
    group *g, psc_row *shown, const psc_variant *variants, psc_variant_fn fn, void *payload) {
    const size_t floats = (size_t)g->at[g->end - g->begin];
    // NOLINTNEXTLINE(clang-analyzer-optin.portability.UnixAPI): a group has a variant, that a row
    g->logits = malloc(floats * sizeof *g->logits);
    if (!g->logits)
        return psc_host_fail(g->context, PSC_ERROR_MEMORY, "not enough memory for variants");
    int returned = compute(g, variants);
    if (!returned) returned = show(g, shown, variants, fn, payload);
    free(g->logits);
    return returned;
}

int psc_variants_shared(psc_context *context, int32_t n, const psc_variant *variants,
    bool all_logits, psc_variant_fn fn, void *payload) {
    psc_session *s = context->session;
    group g = {.context = context, .all_logits = all_logits};
    g.span = malloc((size_t)n * sizeof *g.span);
    g.at = malloc(((size_t)n + 1) * sizeof *g.at);
    psc_row *shown = malloc((size_t)s->n_rows * sizeof *shown);
    int returned = 0;
    if (!g.span || !g.at || !shown)
        returned = psc_host_fail(context, PSC_ERROR_MEMORY, "not enough memory for variants");
    while (!returned && g.begin < n) {
        returned = choose(&g, n, variants);
        if (!returned) returned = do_group(&g, shown, variants, fn, payload);
        if (!returned && psc_session_stopped(s)) returned = PSC_ERROR_CANCELLED;
        g.begin = g.end;
    }
    free(g.span);
    free(g.at);
    free(shown);
    return returned;
}
