/* Knock-outs as variants of the run (host->variants):
 *
 *   score of every key in the ranges = -inf at every head and layer, for the chosen rows
 *   kl = sum over those rows of KL(p || p') (divergence.c), added in ascending order of the rows
 *
 * Rows before row_begin are the run's own. A call of the host takes as many knock-outs as fit into
 * the lists of changes; a change names a layer and a key. */
#include "knockouts.h"

#define VARIANTS_A_CALL 256
#define CHANGES_A_CALL ((int64_t)1 << 16)

/* Where the effect of a variant goes. */
typedef struct psc_measure {
    int32_t row_begin, row_end;
    double *kl, *dlogp;
} psc_measure;

int psc_knockouts_begin(psc_context *context, const psc_host *host, psc_knockouts *out) {
    psc_knockouts *k = out;
    *k = (psc_knockouts){.n = 0};
    if (psc_divergence_begin(context, host, &k->base)) return -1;
    k->n_layers = host->model(context)->n_layers;
    k->most_changes = (int64_t)k->n_layers * k->base.longest;
    if (k->most_changes < CHANGES_A_CALL) k->most_changes = CHANGES_A_CALL;
    const uint64_t longest = (uint64_t)k->base.longest;
    k->variants = host->run_alloc(context, VARIANTS_A_CALL * sizeof *k->variants);
    k->targets = host->run_alloc(context, VARIANTS_A_CALL * sizeof *k->targets);
    k->changes = host->run_alloc(context, (uint64_t)k->most_changes * sizeof *k->changes);
    k->index = host->run_alloc(context, longest * sizeof *k->index);
    k->kl = host->run_alloc(context, longest * sizeof *k->kl);
    k->dlogp = host->run_alloc(context, longest * sizeof *k->dlogp);
    if (!k->variants || !k->targets || !k->changes || !k->index || !k->kl || !k->dlogp) return -1;
    return host->prepare_variants(context);
}

int psc_knockouts_open(psc_knockouts *k, int32_t first, int32_t n) {
    const psc_row *row = &k->base.rows[first];
    if (row->position != 0)
        return k->base.host->fail(k->base.context,
            "knock-outs need whole sequences; sequence %d begins at position %d of this run",
            (int)row->sequence, (int)row->position);
    k->sequence = row->sequence;
    k->end = n;
    return k->counting ? 0 : psc_divergence_open(&k->base, first, n);
}

static int on_logits(int32_t variant, const psc_event *logits, void *payload) {
    psc_knockouts *k = payload;
    const psc_host *host = k->base.host;
    const psc_measure *to = &k->targets[variant];
    const int32_t n = logits->n_rows;
    for (int32_t r = 0; r < n; r++) k->index[r] = logits->rows[r].index;
    psc_divergence_rows(&k->base, n, k->index, logits->tensor.data, logits->tensor.stride[0], k->kl,
        to->dlogp ? k->dlogp : NULL);
    double sum = 0.0;
    for (int32_t r = 0; r < n; r++) sum += k->kl[r];
    *to->kl = sum;
    if (to->dlogp) *to->dlogp = k->dlogp[n - 1];
    const int32_t rows = to->row_end - to->row_begin;
    k->done += rows;
    if (k->all > 0.0) host->progress(k->base.context, k->done < k->all ? k->done / k->all : 1.0);
    return host->cancelled(k->base.context);
}

int psc_knockouts_flush(psc_knockouts *k) {
    const int32_t mode = k->last_only ? PSC_ROWS_LAST : PSC_ROWS_ALL;
    if (k->n && k->base.host->variants(k->base.context, k->n, k->variants, mode, on_logits, k))
        return -1;
    k->n = 0;
    k->n_changes = 0;
    return 0;
}

/* Layer by layer, then by key: the host finds a layer's changes by their order and applies adjacent
 * keys as one range. */
static psc_change *put_changes(const psc_knockouts *k, const psc_knockout *cut, psc_change *c) {
    for (int32_t l = 0; l < k->n_layers; l++)
        for (int range = 0; range < 2; range++)
            for (int32_t key = cut->from[range]; key < cut->to[range]; key++)
                *c++ = (psc_change){.struct_size = sizeof *c,
                    .kind = PSC_CHANGE_CUT,
                    .point = PSC_HOOK_ATTN_SCORES,
                    .layer = l,
                    .sequence = k->sequence,
                    .row_begin = cut->row_begin,
                    .row_end = cut->row_end,
                    .head = -1,
                    .key = key};
    return c;
}

int psc_knockouts_add(psc_knockouts *k, const psc_knockout *cut, double *kl, double *dlogp) {
    if (k->counting) {
        k->all += cut->row_end - cut->row_begin;
        return 0;
    }
    const int64_t keys = cut->to[0] - cut->from[0] + cut->to[1] - cut->from[1];
    const int full = k->n == VARIANTS_A_CALL || cut->last_only != k->last_only ||
                     k->n_changes + keys * k->n_layers > k->most_changes;
    if (full && psc_knockouts_flush(k)) return -1;
    psc_change *first = k->changes + k->n_changes, *end = put_changes(k, cut, first);
    k->last_only = cut->last_only;
    k->n_changes = end - k->changes;
    k->targets[k->n] = (psc_measure){cut->row_begin, cut->row_end, kl, dlogp};
    k->variants[k->n++] = (psc_variant){.struct_size = sizeof *k->variants,
        .n_changes = (int32_t)(end - first),
        .changes = first,
        .row_end = cut->row_end};
    return 0;
}
