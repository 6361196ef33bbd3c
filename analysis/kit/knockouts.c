/* Knock-outs as variants of the run (host->variants):
 *
 *   score of every key in the ranges = -inf at every head and layer, for the chosen rows
 *   kl = sum over those rows of KL(p || p') (divergence.c), added in ascending order of the rows
 *
 * Rows before row_begin are the run's own. A call of the host takes as many knock-outs as fit into
 * the lists of changes; a change names a layer and a key. */
#include "knockouts.h"

#include <math.h>

#define VARIANTS_A_CALL 256
#define CHANGES_A_CALL ((int64_t)1 << 16)

int psc_knockouts_begin(psc_context *context, const psc_host *host, psc_knockouts *out) {
    psc_knockouts *k = out;
    *k = (psc_knockouts){.most = VARIANTS_A_CALL};
    if (psc_divergence_begin(context, host, &k->base)) return -1;
    const psc_row *rows = k->base.rows;
    int32_t last = 0;
    for (int32_t r = 0; r < k->base.n_rows; r++)
        if (rows[r].position > last) last = rows[r].position;
    k->n_layers = host->model(context)->n_layers;
    k->most_changes = (int64_t)k->n_layers * last;
    if (k->most_changes < CHANGES_A_CALL) k->most_changes = CHANGES_A_CALL;
    const uint64_t longest = (uint64_t)k->base.longest;
    k->variants = host->run_alloc(context, (uint64_t)k->most * sizeof *k->variants);
    k->changes = host->run_alloc(context, (uint64_t)k->most_changes * sizeof *k->changes);
    k->index = host->run_alloc(context, longest * sizeof *k->index);
    k->kl = host->run_alloc(context, longest * sizeof *k->kl);
    k->dlogp = host->run_alloc(context, longest * sizeof *k->dlogp);
    if (!k->variants || !k->changes || !k->index || !k->kl || !k->dlogp) return -1;
    return host->prepare_variants(context);
}

int psc_knockouts_open(psc_knockouts *k, int32_t first, int32_t n) {
    k->sequence = k->base.rows[first].sequence;
    return psc_divergence_open(&k->base, first, n);
}

/* The sequence's first position after its last row. */
static int32_t end_of(const psc_knockouts *k) {
    return k->base.rows[k->base.first + k->base.n - 1].position + 1;
}

int32_t psc_knockout_rows(const psc_knockouts *k, const psc_knockout *cut) {
    return (cut->row_end > 0 ? cut->row_end : end_of(k)) - cut->row_begin;
}

static int on_logits(int32_t variant, const psc_event *logits, void *payload) {
    psc_knockouts *k = payload;
    const psc_host *host = k->base.host;
    const psc_knockout *cut = &k->cuts[variant];
    const int32_t end = cut->row_end > 0 ? cut->row_end : end_of(k);
    int32_t first = 0, n = 0;
    while (first < logits->n_rows && k->last_only && logits->rows[first].position + 1 < end)
        first++;
    for (int32_t r = first; r < logits->n_rows && logits->rows[r].position < end; r++)
        k->index[n++] = logits->rows[r].index;
    psc_divergence_rows(&k->base, n, k->index,
        logits->tensor.data + first * logits->tensor.stride[0], logits->tensor.stride[0], k->kl,
        k->dlogp);
    psc_knockout_effect *effect = &k->effects[variant];
    *effect = (psc_knockout_effect){0.0, n > 0 ? k->dlogp[n - 1] : NAN};
    for (int32_t r = 0; r < n; r++) effect->kl += k->kl[r];
    k->done += psc_knockout_rows(k, cut);
    if (k->all > 0.0) host->progress(k->base.context, k->done < k->all ? k->done / k->all : 1.0);
    return host->cancelled(k->base.context);
}

static int flush(psc_knockouts *k) {
    if (k->n == 0) return 0;
    const psc_host *host = k->base.host;
    if (host->variants(k->base.context, k->n, k->variants,
            k->last_only ? PSC_ROWS_LAST : PSC_ROWS_ALL, on_logits, k))
        return -1;
    k->n = 0;
    k->n_changes = 0;
    return 0;
}

/* The changes of one knock-out, layer by layer: the host finds a layer's own by their order. */
static void add_changes(psc_knockouts *k, const psc_knockout *cut) {
    psc_change *c = k->changes + k->n_changes;
    k->variants[k->n++] =
        (psc_variant){.struct_size = sizeof *k->variants, .changes = c, .row_end = cut->row_end};
    for (int32_t l = 0; l < k->n_layers; l++)
        for (int range = 0; range < 2; range++)
            for (int32_t key = cut->from[range]; key < cut->to[range]; key++)
                *c++ = (psc_change){.struct_size = sizeof *c,
                    .kind = PSC_CHANGE_CUT,
                    .point = PSC_HOOK_ATTN_SCORES,
                    .layer = l,
                    .sequence = k->sequence,
                    .row_begin = cut->row_begin,
                    .row_end = cut->row_end > 0 ? cut->row_end : end_of(k),
                    .head = -1,
                    .key = key};
    k->variants[k->n - 1].n_changes = (int32_t)(c - k->changes - k->n_changes);
    k->n_changes = c - k->changes;
}

int psc_knockouts_run(psc_knockouts *k, int32_t n, const psc_knockout *cuts, int last_only,
    psc_knockout_effect *effects) {
    k->last_only = last_only;
    k->n = 0;
    k->n_changes = 0;
    k->cuts = cuts;
    k->effects = effects;
    for (int32_t i = 0; i < n; i++) {
        const int64_t keys = cuts[i].to[0] - cuts[i].from[0] + cuts[i].to[1] - cuts[i].from[1];
        if (k->n == k->most || k->n_changes + keys * k->n_layers > k->most_changes) {
            if (flush(k)) return -1;
            k->cuts = cuts + i;
            k->effects = effects + i;
        }
        add_changes(k, &cuts[i]);
    }
    return flush(k);
}
