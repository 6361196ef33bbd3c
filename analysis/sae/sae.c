/* The plugin `sae`: the latents of a sparse dictionary, and how well they reconstruct.
 *
 *   y' = the dictionary's row of its latents f;  y = the row that it stands for
 *   error |y - y'|^2;  explained variance 1 - mean |y - y'|^2 / (mean |y|^2 - |mean y|^2)
 *   L0 = how many f are not 0;  loss recovered (l_zero - l_with)/(l_zero - l), l_with with y' in
 *   place of y, l_zero with 0
 *
 * Formulas, formats, options: docs/plugins/sae.md. This file holds the options and the life. */
#include "sae.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char *const loss_words[] = {"auto", "yes", "no", NULL};
static const char *const yes_words[] = {"no", "yes", NULL};
static const psc_option_description sae_options[] = {
    {"path", "", "the folder of a dictionary: SAELens's or sparsify's cfg.json and its weights",
        PSC_OPTION_TEXT, offsetof(sae_state, path), 0, 0, NULL},
    {"point", "", "its hook point, if the folder names none or another; IN+OUT for a transcoder",
        PSC_OPTION_TEXT, offsetof(sae_state, point), 0, 0, NULL},
    {"rows", "all", "rows that are encoded; over a corpus always all", PSC_OPTION_ROWS,
        offsetof(sae_state, choice), 0, 0, NULL},
    {"from", "0",
        "the first position of a window that is encoded, 0 or 1; position 0 is an attention sink",
        PSC_OPTION_COUNT, offsetof(sae_state, from), 0, 1, NULL},
    {"top", "32", "of a text: latents listed per row", PSC_OPTION_COUNT, offsetof(sae_state, top),
        1, SAE_MOST, NULL},
    {"latent", "auto",
        "latents shown in full, like 17+4021, at most 32; auto: over a corpus the five with the "
        "largest values",
        PSC_OPTION_TEXT, offsetof(sae_state, named), 0, 0, NULL},
    {"contexts", "8", "over a corpus: contexts kept per latent", PSC_OPTION_COUNT,
        offsetof(sae_state, contexts), 1, 64, NULL},
    {"loss", "auto", "loss recovered, by two more runs of each window; auto: of a text only",
        PSC_OPTION_WORD, offsetof(sae_state, loss), 0, 0, loss_words},
    {"shares", "no", "the latents' shares of the targets' logits, beside the dictionary's error",
        PSC_OPTION_WORD, offsetof(sae_state, shared), 0, 0, yes_words},
    {0},
};

static int parse_latents(sae_state *s) {
    if (strcmp(s->named, "auto") == 0) return 0;
    for (const char *at = s->named;; at++) {
        char *rest = NULL;
        const long id = *at >= '0' && *at <= '9' ? strtol(at, &rest, 10) : -1;
        if (id < 0 || id >= s->d.n_latents || (*rest && *rest != '+'))
            return s->host->fail(s->context,
                "latent=%.60s is neither auto nor latents from 0 to %d joined by +", s->named,
                (int)s->d.n_latents - 1);
        if (s->n_listed == SAE_LISTED)
            return s->host->fail(
                s->context, "latent names more than %d latents; name fewer", (int)SAE_LISTED);
        s->listed[s->n_listed++] = (int32_t)id;
        at = rest;
        if (!*at) return 0;
    }
}

/* A transcoder's output comes after its input, in the order of the pass. */
static int check_order(const sae_state *s) {
    const psc_dictionary *d = &s->d;
    const int before = d->out_layer < d->in_layer && d->out_layer >= 0;
    const int starts = d->out_point == PSC_HOOK_EMBED || d->out_point == PSC_HOOK_RESID_PRE;
    if (!d->is_transcoder || !(before || (starts && d->out_layer <= d->in_layer))) return 0;
    return s->host->fail(s->context,
        "the dictionary's output %s is computed before its input %s; name the points in their "
        "order, point=IN+OUT",
        d->out_name, d->in_name);
}

static int find_affine(sae_state *s) {
    const psc_dictionary *d = &s->d;
    if (!d->out_affine) return 0;
    const psc_ln ln = d->out_point == PSC_HOOK_LN_FINAL_NORMALIZED ? PSC_LN_FINAL
                      : d->out_point == PSC_HOOK_LN1_NORMALIZED    ? PSC_LN1
                                                                   : PSC_LN2;
    s->target = s->host->life_alloc(s->context, (uint64_t)d->d_out * sizeof *s->target);
    return !s->target || s->host->ln_parameters(s->context, ln, d->out_layer, &s->gamma, &s->beta)
               ? -1
               : 0;
}

static int open_shares(sae_state *s) {
    if (!s->shared) return 0;
    if (s->corpus)
        return s->host->fail(s->context, "shares=yes needs a text; leave it out over a corpus");
    s->shares = (sae_shares){.context = s->context,
        .host = s->host,
        .handle = s->handle,
        .dictionary = &s->d,
        .top = s->top};
    return sae_shares_check(&s->shares);
}

static int sae_open(psc_context *context, const psc_host *host, void **state) {
    sae_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    s->model = host->model(context);
    s->corpus = host->accumulating(context);
    s->reductions = host->reductions(context);
    if (!s->reductions) return -1;
    if (!*s->path)
        return host->fail(
            context, "path is missing; path=FOLDER names the folder of a sparse dictionary");
    s->d = (psc_dictionary)PSC_DICTIONARY_INIT;
    s->handle = host->dictionary_open(context, s->path, *s->point ? s->point : NULL, &s->d);
    if (s->handle < 0 || parse_latents(s) || check_order(s) || find_affine(s) || open_shares(s))
        return -1;
    return s->corpus ? sae_contexts_open(s) : 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

/* The point's events of the dictionary's own layer, for the chosen rows. */
static int observe(sae_state *s, int32_t point, int32_t layer, psc_event_fn fn) {
    psc_filter filter = s->rows.filter;
    filter.n_layers = layer < 0 ? 0 : 1;
    filter.layers = &layer;
    return s->host->observe(s->context, (psc_point)point, &filter, fn, s);
}

static int sae_run_begin(psc_context *context, void *state) {
    sae_state *s = state;
    (void)context;
    if (sae_rows_begin(s) || (s->corpus && sae_contexts_begin(s)) || sae_loss_begin(s) ||
        (s->shared && sae_shares_begin(&s->shares, &s->rows)) ||
        observe(s, s->d.in_point, s->d.in_layer, sae_on_in))
        return -1;
    return s->d.is_transcoder ? observe(s, s->d.out_point, s->d.out_layer, sae_on_out) : 0;
}

static int add_totals(sae_state *s) {
    const psc_host *host = s->host;
    for (int32_t q = 0; q < s->sequences.n; q++) {
        const sae_totals *t = &s->totals[q];
        if (host->accumulate(s->context, s->sums, 0, SAE_SUMS, t->sums) ||
            host->accumulate(s->context, s->counts, 0, SAE_COUNTS, t->counts) ||
            host->accumulate(s->context, s->mean, 0, s->d.d_out, t->sum))
            return -1;
    }
    return sae_contexts_add(s);
}

static int sae_run_end(psc_context *context, void *state, int status) {
    sae_state *s = state;
    (void)context;
    if (status) return 0;
    if (sae_loss_compute(s)) return -1;
    if (s->corpus) return add_totals(s);
    if (psc_rows_axis(s->context, s->host, "rows", &s->rows)) return -1;
    return s->shared ? sae_shares_end(&s->shares) : 0;
}

static int sae_report(psc_context *context, void *state) {
    sae_state *s = state;
    (void)context;
    return s->corpus ? sae_contexts_report(s) : sae_report_text(s);
}

const psc_plugin *psc_builtin_sae(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "sae",
        .summary = "latents of a sparse dictionary (SAE or transcoder): which are active, how well "
                   "they reconstruct, loss recovered, contexts",
        .options = sae_options,
        .corpus = PSC_CORPUS_OVERLAPS,
        .open = sae_open,
        .run_begin = sae_run_begin,
        .run_end = sae_run_end,
        .report = sae_report,
        .points = "hook_logits",
    };
    return &plugin;
}
