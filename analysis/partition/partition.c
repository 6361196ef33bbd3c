/* The plugin `partition`: how much log Z varies, and the error of holding it fixed.
 *
 *   log p_t = z_t - log Z       dlog p_t = dz_t - dlogZ       dlogZ = sum_t p_t dz_t + KL(p || p')
 *
 * Changes: from one layer's lens to the next, from the final logits to an earlier lens, and a
 * component scaled by alpha, with sigma held, with sigma recomputed, or with the run recomputed.
 * partition_measure.c measures a change. This file holds the plugin's callbacks. */
#include "partition.h"

static int partition_open(psc_context *context, const psc_host *host, void **state) {
    partition_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    const psc_model_info *model = host->model(context);
    s->n_layers = model->n_layers;
    s->n_heads = model->n_heads;
    s->n_dims = model->d_model;
    s->d_head = model->d_head;
    s->n_vocab = model->d_vocab;
    s->eps = (double)model->layer_norm_eps;
    s->sequential = !model->parallel_residual;
    s->accumulating = host->accumulating && host->accumulating(context);
    s->reductions = host->reductions(context);
    if (!s->reductions || host->ln_parameters(context, PSC_LN_FINAL, -1, &s->gamma, &s->beta) ||
        partition_options_read(s))
        return -1;
    if (s->asked[PARTITION_ABLATION] && partition_ablation_open(s)) return -1;
    return s->accumulating ? partition_corpus_open(s) : 0;
}

/* Allocates the targets' ids; they are known once a row's logits are. */
static int begin_targets(partition_state *s) {
    psc_target_rows *targets = &s->targets;
    targets->context = s->context;
    targets->host = s->host;
    targets->rows = s->rows;
    targets->n = 0;
    if (!s->accumulating) targets->targets = s->host->targets(s->context, &targets->n);
    s->n_targets = s->accumulating ? 1 : targets->n;
    const uint64_t count = 2 * (uint64_t)targets->n * (uint64_t)s->rows.n;
    const uint64_t cells = (uint64_t)s->n_changes * (uint64_t)s->n_targets;
    targets->ids = s->host->run_alloc(s->context, count * sizeof(int32_t) + 1);
    s->ids = s->host->run_alloc(s->context, 2 * (uint64_t)s->n_targets * sizeof(int32_t) + 1);
    s->target_dz = s->host->run_alloc(s->context, cells * sizeof(double) + 1);
    return targets->ids && s->ids && s->target_dz ? 0 : -1;
}

/* Whether the run has a requested row; a short window of a corpus may have none. */
static int has_rows(const partition_state *s) {
    int32_t n = 0;
    const psc_row *rows = s->host->rows(s->context, &n);
    const psc_filter *choice = &s->rows_choice;
    for (int32_t i = 0; i < n && choice->rows == PSC_ROWS_RANGE; i++)
        if (rows[i].position >= choice->row_begin && rows[i].position < choice->row_end) return 1;
    return choice->rows != PSC_ROWS_RANGE;
}

static int partition_run_begin(psc_context *context, void *state) {
    partition_state *s = state;
    s->rows.n = 0;
    if (s->accumulating && !has_rows(s)) return 0;
    if (psc_rows_resolve(context, s->host, "rows", &s->rows_choice, !s->accumulating, &s->rows) ||
        begin_targets(s) || (!s->accumulating && partition_arrays_begin(s)))
        return -1;
    if (s->accumulating) partition_corpus_clear(s);
    if (s->ablation && partition_ablation_begin(s)) return -1;
    return partition_keep(s);
}

static int partition_run_end(psc_context *context, void *state, int status) {
    (void)context;
    partition_state *s = state;
    if (status || s->rows.n == 0) return 0;
    if (partition_rows_compute(s)) return -1;
    return s->ablation ? partition_ablation_compute(s) : 0;
}

static int partition_report(psc_context *context, void *state) {
    partition_state *s = state;
    (void)context;
    if (!s->accumulating) return partition_summary(s);
    return partition_corpus_report(s) || partition_verdict(s);
}

const psc_plugin *psc_builtin_partition(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "partition",
        .summary = "how much log Z varies when a layer or component is removed, and where p is "
                   "close to c exp(z)",
        .options = partition_options,
        .corpus = PSC_CORPUS_YES,
        .open = partition_open,
        .run_begin = partition_run_begin,
        .run_end = partition_run_end,
        .report = partition_report,
        .points = "hook_resid_pre hook_resid_post hook_embed hook_attn_out attn.hook_z "
                  "hook_mlp_out hook_logits",
    };
    return &plugin;
}
