/* The plugin `loss`: how well the model predicts a text.
 *
 *   loss of the token at position p   l_p = log sum_v exp z_v - z_t,  t that token, z the logits at
 *                                     p - 1: its negative log-likelihood in nats
 *   difference                        l_p with interventions minus l_p without
 *
 * This file holds the options, the subscriptions and the life of a run. In the phases of a run with
 * interventions the unchanged run's losses are kept for the changed one. */
#include "loss.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const psc_option_description loss_options[] = {
    {"rows", "all", "tokens that are scored; over a corpus always all", PSC_OPTION_ROWS,
        offsetof(loss_state, choice), 0, 0, NULL},
    {"early", "50", "in-context score: the position whose loss is subtracted", PSC_OPTION_COUNT,
        offsetof(loss_state, early), 1, 1 << 24, NULL},
    {"late", "500", "in-context score: the position whose loss it is subtracted from",
        PSC_OPTION_COUNT, offsetof(loss_state, late), 2, 1 << 24, NULL},
    {"top", "10", "tokens listed", PSC_OPTION_COUNT, offsetof(loss_state, top), 0, LOSS_MOST, NULL},
    {0},
};

static int loss_open(psc_context *context, const psc_host *host, void **state) {
    loss_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    const psc_model_info *model = host->model(context);
    s->n_dims = model->d_model;
    s->n_vocab = model->d_vocab;
    s->n_ctx = model->n_ctx;
    s->corpus = host->accumulating(context);
    if (s->late <= s->early)
        return host->fail(
            context, "late=%d must be a later position than early=%d", (int)s->late, (int)s->early);
    if (host->ln_parameters(context, PSC_LN_FINAL, -1, &s->gamma, &s->beta) || loss_rows_open(s))
        return -1;
    return s->corpus ? loss_totals_open(s) : 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

/* Whether row i is scored: it is chosen, has a token before it in the run, and is no context that
 * an earlier window had; -1 after an error. */
static int is_scored(const loss_state *s, int32_t i) {
    if (s->rows.slot[i] < 0 || i == 0 || s->all[i - 1].sequence != s->all[i].sequence) return 0;
    const int repeated = s->host->repeated(s->context, &s->all[i]);
    return repeated < 0 ? -1 : !repeated;
}

static int find_rows(loss_state *s) {
    const psc_filter all = PSC_FILTER_INIT;
    int32_t n = 0;
    if (psc_rows_resolve(s->context, s->host, "rows", s->corpus ? &all : &s->choice, 0, &s->rows))
        return -1;
    s->all = s->host->rows(s->context, &n);
    s->loss = s->host->run_alloc(s->context, (uint64_t)n * sizeof *s->loss + 1);
    s->is_scored = s->host->run_alloc(s->context, (uint64_t)n + 1);
    s->change = NULL;
    if (!s->loss || !s->is_scored) return -1;
    for (int32_t i = 0; i < n; i++) {
        s->loss[i] = (double)NAN;
        const int scored = is_scored(s, i);
        if (scored < 0) return -1;
        s->is_scored[i] = (char)scored;
    }
    return 0;
}

/* A changed run is compared with the unchanged one of the same tokens. */
static int find_base(loss_state *s) {
    const loss_base *b = &s->base;
    const int32_t *tokens = b->tokens.at;
    int same = b->complete && b->n == s->rows.n_all;
    for (int32_t i = 0; same && i < b->n; i++) same = tokens[i] == s->all[i].token;
    if (!same)
        return s->host->fail(s->context,
            "the changed run has no unchanged run of the same tokens before it; run the phase base "
            "first");
    s->change = s->host->run_alloc(s->context, (uint64_t)b->n * sizeof *s->change + 1);
    return s->change ? 0 : -1;
}

static int loss_run_begin(psc_context *context, void *state) {
    loss_state *s = state;
    const psc_host *host = s->host;
    const int phase = host->phase(context);
    psc_filter edited = PSC_FILTER_INIT;
    edited.edited_only = 1;
    if (phase == PSC_PHASE_SOURCE) return 0;
    if (phase == PSC_PHASE_BASE) s->base.complete = 0;
    if (find_rows(s) || (phase == PSC_PHASE_CHANGED && find_base(s))) return -1;
    return host->observe(context, PSC_HOOK_LN_FINAL_NORMALIZED, NULL, loss_on_normalized, s) ||
           host->observe(context, PSC_HOOK_LOGITS, &edited, loss_on_logits, s);
}

static int keep_base(loss_state *s) {
    const int32_t n = s->rows.n_all;
    loss_base *b = &s->base;
    double *loss = psc_kept_alloc(&b->loss, s->context, s->host, (uint64_t)n * sizeof *loss + 1);
    int32_t *tokens =
        psc_kept_alloc(&b->tokens, s->context, s->host, (uint64_t)n * sizeof *tokens + 1);
    if (!loss || !tokens) return -1;
    memcpy(loss, s->loss, (size_t)n * sizeof *loss);
    for (int32_t i = 0; i < n; i++) tokens[i] = s->all[i].token;
    b->n = n;
    b->complete = 1;
    return 0;
}

/* Another plugin may ask for the phases, and nothing edits: then there is nothing to compare. */
static void compare(loss_state *s) {
    const double *before = s->base.loss.at;
    int edited = 0;
    for (int point = 0; point < PSC_POINT_COUNT; point++)
        edited |= s->host->has_editor(s->context, (psc_point)point);
    if (!edited) s->change = NULL;
    for (int32_t i = 0; edited && i < s->rows.n_all; i++) s->change[i] = s->loss[i] - before[i];
}

static int loss_run_end(psc_context *context, void *state, int status) {
    loss_state *s = state;
    const int phase = s->host->phase(context);
    if (status || phase == PSC_PHASE_SOURCE) return 0;
    if (phase == PSC_PHASE_BASE) return keep_base(s);
    if (phase == PSC_PHASE_CHANGED) compare(s);
    return s->corpus ? loss_totals_add(s) : 0;
}

static int loss_report(psc_context *context, void *state) {
    loss_state *s = state;
    if (s->corpus) return loss_report_corpus(s);
    const int phase = s->host->phase(context);
    return phase == PSC_PHASE_SOURCE || phase == PSC_PHASE_BASE ? 0 : loss_report_run(s);
}

const psc_plugin *psc_builtin_loss(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "loss",
        .summary = "how well the model predicts a text: nats per token, bits per byte, "
                   "perplexity, what interventions cost",
        .options = loss_options,
        .corpus = PSC_CORPUS_OVERLAPS,
        .phases = PSC_PHASES_COMPARES,
        .open = loss_open,
        .run_begin = loss_run_begin,
        .run_end = loss_run_end,
        .report = loss_report,
        .points = "ln_final.hook_normalized hook_logits",
    };
    return &plugin;
}
