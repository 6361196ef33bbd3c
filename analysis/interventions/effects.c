/* Plugin `effects`: what the edits of a changed run did, against the same prompt unchanged.
 *
 *   dz = z' - z,  dlogZ = log Z' - log Z,  dlog p = dz - dlogZ,  KL = sum p (log p - log p')
 *
 * and what the direct path alone predicts (effects_edits.c). The plugin keeps the BASE run's
 * logits, last residual and heads' z at the chosen rows and compares the CHANGED run with them. */
#include "effects.h"
#include "top.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TOP 100

static const psc_option_description effects_options[] = {
    {"rows", "last", "rows that are compared", PSC_OPTION_ROWS, offsetof(effects_state, choice), 0,
        0, NULL},
    {"top", "5", "top tokens listed before and after", PSC_OPTION_COUNT,
        offsetof(effects_state, top), 1, MAX_TOP, NULL},
    {0},
};

static int effects_open(psc_context *context, const psc_host *host, void **out) {
    effects_state *s;
    if (PSC_OPEN_STATE(s, out, context, host)) return -1;
    s->model = host->model(context);
    if (s->top > s->model->d_vocab) s->top = s->model->d_vocab;
    return 0;
}

static void forget(effects_state *s) {
    effects_base *b = &s->base;
    free(b->tokens);
    free(b->ids);
    free(b->logits);
    free(b->residual);
    free(b->z);
    memset(b, 0, sizeof *b);
}

/* --- the unchanged run ----------------------------------------------------------------------- */

/* Copies the rows of a dense event tensor to out [rows, width] by slot. */
static void keep_rows(const effects_state *s, const psc_event *event, float *out, int64_t width) {
    const psc_view *t = &event->tensor;
    const int64_t inner = t->n_axes == 3 ? t->shape[2] : t->shape[1];
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t slot = s->rows.slot[event->rows[r].index];
        const float *row = t->data + r * t->stride[0];
        for (int64_t i = 0; slot >= 0 && i < width; i += inner)
            memcpy(out + slot * width + i, row + (t->n_axes == 3 ? i / inner * t->stride[1] : 0),
                (size_t)inner * sizeof *out);
    }
}

static int keep_logits(const psc_event *event, void *payload) {
    effects_state *s = payload;
    keep_rows(s, event, s->base.logits, s->model->d_vocab);
    return 0;
}

static int keep_residual(const psc_event *event, void *payload) {
    effects_state *s = payload;
    keep_rows(s, event, s->base.residual, s->model->d_model);
    return 0;
}

static int keep_z(const psc_event *event, void *payload) {
    effects_state *s = payload;
    const int64_t width = (int64_t)s->model->n_heads * s->model->d_head;
    keep_rows(s, event, s->base.z + event->layer * s->base.n_rows * width, width);
    return 0;
}

static int begin_base(effects_state *s) {
    const psc_host *host = s->host;
    effects_base *b = &s->base;
    const int32_t last = s->model->n_layers - 1;
    const uint64_t rows = (uint64_t)s->rows.n, n = (uint64_t)s->model->d_model;
    forget(s);
    if (psc_targets_begin(s->context, host, &s->rows, &s->targets)) return -1;
    b->n_rows = s->rows.n;
    b->n_all = s->rows.n_all;
    b->n_targets = s->targets.n;
    b->tokens = calloc((size_t)b->n_all + 1, sizeof *b->tokens);
    b->ids = calloc(2 * (size_t)b->n_targets * rows + 1, sizeof *b->ids);
    b->logits = calloc(rows * (uint64_t)s->model->d_vocab + 1, sizeof *b->logits);
    b->residual = calloc(rows * n + 1, sizeof *b->residual);
    b->z = calloc(rows * (uint64_t)s->model->n_layers * (uint64_t)s->model->n_heads *
                          (uint64_t)s->model->d_head +
                      1,
        sizeof *b->z);
    if (!b->tokens || !b->ids || !b->logits || !b->residual || !b->z)
        return host->fail(s->context,
            "not enough memory for the unchanged run's logits at %d rows (%.0f MB); choose fewer "
            "rows",
            (int)s->rows.n, (double)rows * s->model->d_vocab * 4e-6);
    psc_filter filter = s->rows.filter, at_end = filter;
    at_end.layers = &last;
    at_end.n_layers = 1;
    if (host->observe(s->context, PSC_HOOK_LOGITS, &filter, keep_logits, s) ||
        host->observe(s->context, PSC_HOOK_RESID_POST, &at_end, keep_residual, s) ||
        host->observe(s->context, PSC_HOOK_Z, &filter, keep_z, s))
        return -1;
    return 0;
}

static int end_base(effects_state *s) {
    int32_t n = 0;
    const psc_row *rows = s->host->rows(s->context, &n);
    for (int32_t i = 0; i < n; i++) s->base.tokens[i] = rows[i].token;
    memcpy(s->base.ids, s->targets.ids,
        2 * (size_t)s->base.n_targets * (size_t)s->base.n_rows * sizeof(int32_t));
    s->base.complete = 1;
    return 0;
}

/* --- the changed run ------------------------------------------------------------------------- */

double effects_kl(const effects_state *s, const float *before, const float *after, double log_z,
    double log_z_after, float *p) {
    const int64_t n = s->model->d_vocab;
    double sum = 0.0, kl = 0.0;
    for (int64_t v = 0; v < n; v++) p[v] = (float)((double)before[v] - log_z);
    s->host->exp(s->context, n, p, p);
    /* Divides by the sum of the rounded probabilities, which is not exactly 1. */
    for (int64_t v = 0; v < n; v++) {
        sum += (double)p[v];
        kl += (double)p[v] * ((double)before[v] - (double)after[v]);
    }
    kl = kl / sum - (log_z - log_z_after);
    return kl > 0.0 ? kl : kl < 0.0 ? 0.0 : kl;
}

/* The n largest logits, ties to the lower id. */
static void take_top(
    const float *logits, int64_t n_vocab, double log_z, int32_t n, int32_t *ids, float *p) {
    psc_ranked entries[MAX_TOP];
    psc_top_list top = {entries, n, 0};
    psc_top_f32(&top, n_vocab, logits, PSC_TOP_LARGEST);
    for (int32_t i = 0; i < top.n; i++) {
        ids[i] = (int32_t)top.at[i].index;
        p[i] = (float)(top.at[i].key - log_z);
    }
}

static void compare_targets(
    effects_state *s, int32_t slot, const float *before, const float *after) {
    const int64_t n_rows = s->rows.n;
    for (int32_t t = 0; t < s->targets.n; t++) {
        const int64_t at = t * n_rows + slot;
        const int32_t a = s->base.ids[2 * at], b = s->base.ids[2 * at + 1];
        if (a < 0) continue;
        s->dz[at] = (double)after[a] - (double)before[a];
        if (b >= 0)
            s->dz[at] -= (double)after[b] - (double)before[b];
        else
            s->dlog_p[at] = s->dz[at] - s->dlog_z[slot];
    }
}

static int on_logits(const psc_event *event, void *payload) {
    effects_state *s = payload;
    const psc_host *host = s->host;
    const int64_t n = s->model->d_vocab, top = s->top;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t slot = s->rows.slot[event->rows[r].index];
        if (slot < 0) continue;
        const float *before = s->base.logits + slot * n;
        const float *after = event->tensor.data + r * event->tensor.stride[0];
        const double log_z = host->log_sum_exp(s->context, n, before);
        const double log_z_after = host->log_sum_exp(s->context, n, after);
        s->dlog_z[slot] = log_z_after - log_z;
        s->kl[slot] = effects_kl(s, before, after, log_z, log_z_after, s->p);
        compare_targets(s, slot, before, after);
        take_top(before, n, log_z, s->top, s->top_before + slot * top, s->p_before + slot * top);
        take_top(after, n, log_z_after, s->top, s->top_after + slot * top, s->p_after + slot * top);
        host->exp(s->context, top, s->p_before + slot * top, s->p_before + slot * top);
        host->exp(s->context, top, s->p_after + slot * top, s->p_after + slot * top);
    }
    return 0;
}

static int check_same_prompt(const effects_state *s) {
    const effects_base *b = &s->base;
    int32_t n = 0, n_targets = 0;
    const psc_row *rows = s->host->rows(s->context, &n);
    s->host->targets(s->context, &n_targets);
    int same = b->complete && n == b->n_all && s->rows.n == b->n_rows && n_targets == b->n_targets;
    for (int32_t i = 0; same && i < n; i++) same = rows[i].token == b->tokens[i];
    if (same) return 0;
    return s->host->fail(s->context,
        "compares two runs of a prompt, the second with an intervention; pass one, such as "
        "--ablate L0H3");
}

static int begin_changed(effects_state *s) {
    if (check_same_prompt(s)) return -1;
    s->targets = (psc_target_rows){
        .context = s->context, .host = s->host, .rows = s->rows, .ids = s->base.ids};
    s->targets.targets = s->host->targets(s->context, &s->targets.n);
    s->p = s->host->run_alloc(s->context, (uint64_t)s->model->d_vocab * sizeof *s->p);
    if (!s->p || effects_arrays(s) || effects_source_arrays(s)) return -1;
    if (s->host->observe(s->context, PSC_HOOK_LOGITS, &s->rows.filter, on_logits, s)) return -1;
    return effects_observe_edits(s);
}

/* --- callbacks ------------------------------------------------------------------------------- */

static int effects_run_begin(psc_context *context, void *state) {
    effects_state *s = state;
    const int phase = s->host->phase(context);
    if (phase == PSC_PHASE_SOURCE) return effects_begin_source(s);
    memset(&s->targets, 0, sizeof s->targets);
    if (psc_rows_resolve(context, s->host, "rows", &s->choice, 1, &s->rows)) return -1;
    return phase == PSC_PHASE_BASE ? begin_base(s) : begin_changed(s);
}

static int effects_run_end(psc_context *context, void *state, int status) {
    effects_state *s = state;
    const int phase = s->host->phase(context);
    if (status) return 0;
    if (phase == PSC_PHASE_SOURCE) effects_end_source(s);
    if (phase == PSC_PHASE_SOURCE) return 0;
    if (phase == PSC_PHASE_BASE) return end_base(s);
    return effects_normalize(s) ? -1 : effects_predict(s);
}

static int effects_write_report(psc_context *context, void *state) {
    effects_state *s = state;
    const int phase = s->host->phase(context);
    return phase == PSC_PHASE_SOURCE || phase == PSC_PHASE_BASE ? 0 : effects_report(s);
}

static void effects_close(psc_context *context, void *state) {
    (void)context;
    forget(state);
    effects_forget_source(state);
}

static const psc_plugin PLUGIN = {
    .abi = PSC_PLUGIN_ABI,
    .struct_size = sizeof(psc_plugin),
    .name = "effects",
    .summary = "what interventions change, beside what the direct path predicts",
    .options = effects_options,
    .corpus = PSC_CORPUS_NO,
    .open = effects_open,
    .run_begin = effects_run_begin,
    .run_end = effects_run_end,
    .report = effects_write_report,
    .close = effects_close,
    .points = "hook_logits hook_resid_post attn.hook_z; and every edited point",
    .phases = 1,
};

const psc_plugin *psc_builtin_effects(void) {
    return &PLUGIN;
}
