/* The plugin `weights`: what the weights alone show, without a run.
 *
 *   frames, dual, tokens    of the embedding rows e_t and of u_t = P(gamma_f * t_bar)
 *   spectra                 singular values and effective ranks of every matrix
 *   copying, composition    of heads, through d_head x d_head matrices
 *   heads                   leading singular triples of W_QK and W_OV as tokens
 *
 * A matrix that reads the residual includes its gamma and is centered (W gamma P). A matrix that
 * writes it is centered (P W). Biases are left out. LAPACK computes eigenvalues and factorizations,
 * so last bits may differ between machines. `report` computes everything, so no run is needed. */
#include "weights.h"

#include <stddef.h>
#include <string.h>

static const char *const parts[] = {
    "frames", "spectra", "copying", "composition", "tokens", "dual", "heads", "all", NULL};
static const psc_option_description weights_options[] = {
    {"what", WEIGHTS_DEFAULT, "parts that are computed", PSC_OPTION_WORDS,
        offsetof(weights_state, what), 0, 0, parts},
    {"offset", "0", "positions from the key to the query in W_QK; 0: without rotary embedding",
        PSC_OPTION_COUNT, offsetof(weights_state, offset), 0, INT32_MAX - 1, NULL},
    {"top", "8", "tokens and heads per list", PSC_OPTION_COUNT, offsetof(weights_state, top), 1,
        WEIGHTS_MOST, NULL},
    {"triples", "2", "singular triples per head (what=heads)", PSC_OPTION_COUNT,
        offsetof(weights_state, triples), 1, 16, NULL},
    {0},
};

static int weights_open(psc_context *context, const psc_host *host, void **state) {
    weights_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    s->model = host->model(context);
    s->n = s->model->d_model;
    s->padded = psc_tiles_up(s->n);
    s->named = s->what != WEIGHTS_DEFAULT_PARTS && s->what != WEIGHTS_ALL;
    if (s->offset >= s->model->n_ctx)
        return host->fail(context, "offset=%d is not a whole number in 0..%d", (int)s->offset,
            (int)s->model->n_ctx - 1);
    if (s->triples > s->model->d_head) s->triples = s->model->d_head;
    return 0;
}

/* A set's statistics over examples would be of equal numbers. */
static int weights_run_begin(psc_context *context, void *state) {
    const weights_state *s = state;
    int32_t n = 0;
    const psc_row *rows = s->host->rows(context, &n);
    if (n == 0 || s->host->example(context, rows[0].sequence) < 0) return 0;
    return s->host->fail(
        context, "weights do not depend on a prompt; run weights without a set of pairs");
}

/* --- the report ------------------------------------------------------------------------------ */

/* Collects the tokens among the targets. */
static int find_given(weights_state *s) {
    int32_t n = 0;
    const psc_target *targets = s->host->targets(s->context, &n);
    s->n_given = 0;
    s->given = s->host->run_alloc(s->context, ((uint64_t)n * 2 + 1) * sizeof *s->given);
    if (!s->given) return -1;
    for (int32_t i = 0; i < n; i++) {
        if (targets[i].kind == PSC_TARGET_TOKEN || targets[i].kind == PSC_TARGET_CONTRAST)
            s->given[s->n_given++] = targets[i].a;
        if (targets[i].kind == PSC_TARGET_CONTRAST) s->given[s->n_given++] = targets[i].b;
    }
    if (s->n_given == 0 && s->named && (s->what & WEIGHTS_TOKENS))
        return s->host->fail(s->context, "what=tokens needs tokens; give some with --token");
    return 0;
}

static int numbers_axis(weights_state *s, const char *name, int32_t n) {
    return psc_count_axis(s->context, s->host, name, 0, n);
}

static int make_axes(weights_state *s) {
    const psc_host *host = s->host;
    const psc_model_info *m = s->model;
    const char **labels = host->run_alloc(s->context, ((uint64_t)s->n_given + 1) * sizeof *labels);
    if (!labels) return -1;
    for (int32_t i = 0; i < s->n_given; i++) labels[i] = host->token_text(s->context, s->given[i]);
    const int failed =
        numbers_axis(s, "layers", m->n_layers) || numbers_axis(s, "heads", m->n_heads) ||
        numbers_axis(s, "reader_layers", m->n_layers) ||
        numbers_axis(s, "reader_heads", m->n_heads) || numbers_axis(s, "dimensions", m->d_model) ||
        numbers_axis(s, "head_dimensions", m->d_head) || numbers_axis(s, "rank", s->top) ||
        numbers_axis(s, "triples", s->triples);
    if (failed || ((s->what & WEIGHTS_DUAL) && numbers_axis(s, "vocabulary", m->d_vocab)) ||
        (s->n_given && host->axis_labels(s->context, "given", s->n_given, labels)))
        return -1;
    return host->value_text(s->context, "lapack",
        "eigenvalues, singular values and what is made of them are LAPACK's: their last bits may "
        "differ between machines");
}

static int check_cancelled(weights_state *s) {
    return s->host->cancelled(s->context) ? s->host->fail(s->context, "stopped") : 0;
}

static int weights_report(psc_context *context, void *state) {
    weights_state *s = state;
    const psc_host *host = s->host;
    const float *beta = NULL;
    const uint32_t heads = WEIGHTS_SPECTRA | WEIGHTS_COPYING | WEIGHTS_COMPOSITION | WEIGHTS_HEADS;
    s->reductions = host->reductions(context);
    s->bands = weights_doubles(s, 2 * s->n * (PSC_BAND + 1));
    if (!s->reductions || !s->bands || psc_band_make(&s->band, context, host, s->n) ||
        host->ln_parameters(context, PSC_LN_FINAL, -1, &s->gamma_f, &beta) || find_given(s) ||
        make_axes(s))
        return -1;
    if (weights_vocabulary(s) || weights_frames(s) || check_cancelled(s)) return -1;
    weights_progress(s, WEIGHTS_FROM_HEADS, WEIGHTS_FROM_HEADS, 0, 1);
    if (((s->what & heads) && weights_heads(s)) ||
        ((s->what & WEIGHTS_SPECTRA) && weights_mlp(s)) ||
        ((s->what & WEIGHTS_COMPOSITION) && weights_composition(s)) || check_cancelled(s))
        return -1;
    weights_progress(s, WEIGHTS_FROM_TOKENS, WEIGHTS_FROM_TOKENS, 0, 1);
    if (((s->what & WEIGHTS_TOKENS) && s->n_given && weights_tokens(s)) ||
        ((s->what & WEIGHTS_HEADS) && weights_head_tokens(s)))
        return -1;
    weights_progress(s, 1.0, 1.0, 0, 1);
    return 0;
}

const psc_plugin *psc_builtin_weights(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "weights",
        .summary = "what the weights alone show: frames, spectra, copying, composition of heads",
        .options = weights_options,
        .corpus = PSC_CORPUS_NO_RUNS,
        .open = weights_open,
        .run_begin = weights_run_begin,
        .report = weights_report,
    };
    return &plugin;
}
