/* The plugin `lens`: how the prediction forms, layer by layer.
 *
 *   z = W_U LN_f(h), h = the residual at 0_pre, 1_pre, ..., final_post, or moved by an affine lens
 *   (h + W h + b); LN_f divides by the residual's own sigma or by the final one
 *   from z: top tokens, the targets' logits, log p and ranks, entropy, KL against final_post
 *
 * Residuals are retained until the run ends, since final_post is known only then. W_U is then
 * applied to a block of rows at a time with all sites, so [rows, sites, V] is never in memory.
 * This file holds the options, the retained tensors, and the arrays. */
#include "lens.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>

static const char *const sigmas[] = {"own", "final", NULL};
static const char *const array_names[] = {"top", "targets", "distribution", "all", NULL};
static const psc_option_description lens_options[] = {
    {"rows", "last", "rows that are decoded; over a corpus always all", PSC_OPTION_ROWS,
        offsetof(lens_state, choice), 0, 0, NULL},
    {"ln", "own", "sigma of the residual itself, or of the final residual", PSC_OPTION_WORD,
        offsetof(lens_state, sigma_final), 0, 0, sigmas},
    {"lens", "", "folder of an affine lens: config.json and params.safetensors", PSC_OPTION_TEXT,
        offsetof(lens_state, lens), 0, 0, NULL},
    {"top", "5", "most likely tokens kept at each layer", PSC_OPTION_COUNT,
        offsetof(lens_state, top), 1, LENS_MOST, NULL},
    {"arrays", "all", "the arrays that are written", PSC_OPTION_WORDS, offsetof(lens_state, arrays),
        0, 0, array_names},
    {"fit", "", "over a corpus: the new folder for a fitted linear lens", PSC_OPTION_TEXT,
        offsetof(lens_state, fit.folder), 0, 0, NULL},
    {"fit_ridge", "1e-6", "ridge, in units of the mean variance of the residual", PSC_OPTION_NUMBER,
        offsetof(lens_state, fit.ridge), 0, HUGE_VAL, NULL},
    {"fit_from", "1", "first position that is fitted; 0 includes the attention sink",
        PSC_OPTION_COUNT, offsetof(lens_state, fit.from), 0, INT32_MAX - 1, NULL},
    {"fit_memory", "1024", "most MiB that the sums of the fit may take", PSC_OPTION_COUNT,
        offsetof(lens_state, fit.memory), 1, 1 << 24, NULL},
    {0},
};

static int check_options(lens_state *s) {
    if (!*s->lens) s->lens = NULL;
    if (!*s->fit.folder) s->fit.folder = NULL;
    if (s->top > s->n_vocab) s->top = s->n_vocab;
    if (s->fit.folder && !s->corpus)
        return s->host->fail(
            s->context, "fit= needs the documents of a corpus; one run is not enough");
    return 0;
}

/* "0_pre", ..., "final_post". */
static int make_labels(lens_state *s) {
    enum { BYTES = 24 };
    char *text = s->host->life_alloc(s->context, (uint64_t)s->n_sites * BYTES);
    s->labels = s->host->life_alloc(s->context, (uint64_t)s->n_sites * sizeof *s->labels);
    if (!text || !s->labels) return -1;
    for (int32_t i = 0; i < s->n_sites; i++) {
        char *label = text + (size_t)i * BYTES;
        if (i < s->n_layers)
            snprintf(label, BYTES, "%d_pre", i);
        else
            snprintf(label, BYTES, "final_post");
        s->labels[i] = label;
    }
    return 0;
}

static int lens_open(psc_context *context, const psc_host *host, void **state) {
    lens_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    const psc_model_info *model = host->model(context);
    s->n_layers = model->n_layers;
    s->n_sites = s->n_layers + 1;
    s->n_dims = model->d_model;
    s->n_vocab = model->d_vocab;
    s->eps = model->layer_norm_eps;
    s->corpus = host->accumulating && host->accumulating(context);
    if (check_options(s) || make_labels(s) ||
        host->ln_parameters(context, PSC_LN_FINAL, -1, &s->gamma, &s->beta))
        return -1;
    if (s->lens && lens_affine_load(s, s->lens)) return -1;
    if (s->corpus && lens_corpus_open(s)) return -1;
    if (s->fit.folder && lens_fit_open(s)) return -1;
    return lens_figures_open(s);
}

/* --- tables ---------------------------------------------------------------------------------- */

static int run_axes(lens_state *s) {
    const psc_host *host = s->host;
    return host->axis_labels(s->context, "layers", s->n_sites, s->labels) ||
                   psc_rows_axis(s->context, host, "rows", &s->rows) ||
                   psc_count_axis(s->context, host, "top", 1, s->top)
               ? -1
               : 0;
}

/* A result array if the options request it, else memory of the run. */
static void *table(lens_state *s, int asked, const char *name, psc_element element, int n_axes,
    const char *first) {
    const char *const by_row[] = {"layers", "rows", "top"};
    const char *const by_target[] = {first, "layers", "rows"};
    if (asked && !s->corpus && element == PSC_I32 && !first)
        return psc_token_ids_array(s->context, s->host, name, n_axes, by_row);
    if (asked && !s->corpus)
        return s->host->array(s->context, name, element, n_axes, first ? by_target : by_row);
    uint64_t count = (uint64_t)s->n_sites * (uint64_t)s->rows.n;
    if (n_axes == 3) count *= (uint64_t)(first ? s->n_targets : s->top);
    return s->host->run_alloc(s->context, count * (element == PSC_F64 ? 8 : 4) + 8);
}

static int make_tables(lens_state *s) {
    const int top = (s->arrays & LENS_TOP) != 0, targets = (s->arrays & LENS_TARGETS) != 0;
    const int all = (s->arrays & LENS_DISTRIBUTION) != 0;
    lens_tables *t = &s->tables;
    if (!s->corpus && run_axes(s)) return -1;
    if (!s->corpus && targets && psc_targets_results(&s->targets, "rows")) return -1;
    t->sigma = table(s, all, "sigma", PSC_F32, 2, NULL);
    t->log_z = table(s, all, "log_z", PSC_F64, 2, NULL);
    t->entropy = table(s, all, "entropy", PSC_F64, 2, NULL);
    t->kl = table(s, all, "kl", PSC_F64, 2, NULL);
    t->kl_reverse = table(s, all, "kl_reverse", PSC_F64, 2, NULL);
    t->top_ids = table(s, top, "top_ids", PSC_I32, 3, NULL);
    t->top_probs = table(s, top, "top_probs", PSC_F32, 3, NULL);
    t->logit = table(s, targets, "logit", PSC_F64, 3, "targets");
    t->log_prob = table(s, targets, "log_prob", PSC_F64, 3, "targets");
    t->rank = table(s, targets, "rank", PSC_I32, 3, "targets");
    return t->sigma && t->log_z && t->entropy && t->kl && t->kl_reverse && t->top_ids &&
                   t->top_probs && t->logit && t->log_prob && t->rank
               ? 0
               : -1;
}

/* --- a run ----------------------------------------------------------------------------------- */

/* Over a corpus the target is the text's own next token. */
static int next_targets(lens_state *s) {
    int32_t n_all = 0;
    const psc_row *rows = s->host->rows(s->context, &n_all);
    int32_t *ids = s->host->run_alloc(s->context, 2 * (uint64_t)s->rows.n * sizeof *ids + 8);
    if (!ids) return -1;
    for (int32_t r = 0; r < s->rows.n; r++) {
        ids[2 * r] = rows[s->rows.index[r]].next;
        ids[2 * r + 1] = -1;
    }
    s->ids = ids;
    s->n_targets = 1;
    return 0;
}

static int lens_run_begin(psc_context *context, void *state) {
    lens_state *s = state;
    const psc_host *host = s->host;
    const psc_filter all = PSC_FILTER_INIT;
    const int32_t last = s->n_layers - 1;
    if (psc_rows_resolve(
            context, host, "rows", s->corpus ? &all : &s->choice, !s->corpus, &s->rows))
        return -1;
    if (s->corpus) {
        if (next_targets(s)) return -1;
    } else {
        if (psc_targets_begin(context, host, &s->rows, &s->targets)) return -1;
        s->ids = s->targets.ids;
        s->n_targets = s->targets.n;
    }
    psc_filter final = s->rows.filter;
    final.layers = &last;
    final.n_layers = 1;
    s->pre = host->retain(context, PSC_HOOK_RESID_PRE, &s->rows.filter);
    s->post = host->retain(context, PSC_HOOK_RESID_POST, &final);
    return s->pre < 0 || s->post < 0 ? -1 : 0;
}

/* Finds each chosen row's residual at every site. */
static int find_residuals(lens_state *s) {
    const uint64_t count = (uint64_t)s->n_sites * (uint64_t)s->rows.n;
    s->residual = s->host->run_alloc(s->context, (count + 1) * sizeof *s->residual);
    if (!s->residual) return -1;
    for (int32_t site = 0; site < s->n_sites; site++) {
        const int is_post = site == s->n_layers;
        if (psc_rows_fetch(s->context, s->host, &s->rows, is_post ? s->post : s->pre,
                is_post ? site - 1 : site, s->residual + (int64_t)site * s->rows.n))
            return -1;
    }
    return 0;
}

static int lens_run_end(psc_context *context, void *state, int status) {
    lens_state *s = state;
    (void)context;
    if (status) return 0;
    if (make_tables(s) || find_residuals(s) || lens_figures_begin(s) || lens_figures_compute(s))
        return -1;
    if (!s->corpus) return 0;
    if (lens_corpus_add(s)) return -1;
    return s->fit.folder ? lens_fit_add(s) : 0;
}

static int lens_report(psc_context *context, void *state) {
    lens_state *s = state;
    const psc_host *host = s->host;
    if (host->value_text(context, "ln", s->sigma_final ? "final" : "own") ||
        host->value_text(context, "kind", s->weight ? "affine" : "logit") ||
        host->value_text(context, "kl_direction", "kl: KL(final || lens); kl_reverse: the other"))
        return -1;
    if (!s->corpus) return lens_summary(s);
    if (lens_corpus_report(s)) return -1;
    return s->fit.folder ? lens_fit_report(s) : 0;
}

const psc_plugin *psc_builtin_lens(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "lens",
        .summary = "logit lens and affine lenses: what each layer's residual already predicts",
        .options = lens_options,
        .corpus = PSC_CORPUS_YES,
        .open = lens_open,
        .run_begin = lens_run_begin,
        .run_end = lens_run_end,
        .report = lens_report,
        .points = "hook_resid_pre hook_resid_post hook_logits",
    };
    return &plugin;
}
