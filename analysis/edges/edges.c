/* The plugin `edges`: the arrows x_j --A^{l,h}--> x_k into the rows of a target, each with its
 * weight, the norm of what it writes, its share of the target's logit, and what it carries.
 *
 * Edges are streamed and only each row's largest are kept, so memory grows with T (values of all
 * rows), not with T^2 H. This file holds the options and the plugin's life, edges_take.c the
 * arithmetic. */
#include "edges.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const char *const ranked_by[] = {"share", "norm", "weight", NULL};
static const psc_option_description edges_options[] = {
    {"rows", "last", "rows whose incoming edges are reported", PSC_OPTION_ROWS,
        offsetof(edges_state, choice), 0, 0, NULL},
    {"by", "share", "the quantity that ranks edges", PSC_OPTION_WORD, offsetof(edges_state, by), 0,
        0, ranked_by},
    {"top", "20", "edges kept per target and row", PSC_OPTION_COUNT, offsetof(edges_state, top), 1,
        10000, NULL},
    {"threshold", "0", "smaller edges are dropped, in the unit of `by`", PSC_OPTION_NUMBER,
        offsetof(edges_state, threshold), 0, HUGE_VAL, NULL},
    {"carry", "no", "yes: splits kept edges by the writers that they read", PSC_OPTION_YES_NO,
        offsetof(edges_state, carry), 0, 0, NULL},
    {0},
};

static int edges_open(psc_context *context, const psc_host *host, void **state) {
    edges_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    s->model = host->model(context);
    s->kernels = host->reductions(context);
    return s->kernels ? 0 : -1;
}

/* --- events ---------------------------------------------------------------------------------- */

static int on_value(const psc_event *event, void *payload) {
    return edges_take_values(payload, event);
}

static int on_pattern(const psc_event *event, void *payload) {
    return edges_take_pattern(payload, event);
}

static int on_scale(const psc_event *event, void *payload) {
    edges_state *s = payload;
    psc_rows_take(&s->targets.rows, event, s->sigma);
    return 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

static int make_tables(edges_state *s, const psc_row_set *rows) {
    const psc_host *host = s->host;
    const uint64_t layers = (uint64_t)s->model->n_layers, heads = (uint64_t)s->model->n_heads;
    const uint64_t size = (uint64_t)s->model->d_head,
                   lists = (uint64_t)s->targets.n * (uint64_t)rows->n;
    s->n_keys = s->rows[rows->index[rows->n - 1]].position + 1;
    s->n_panels = (s->n_keys + 15) / 16;
    const uint64_t keys = 16 * (uint64_t)s->n_panels, all = layers * heads * keys;
    if (lists * (uint64_t)s->top > (uint64_t)INT32_MAX)
        return host->fail(s->context,
            "top=%d edges for each of %d targets at %d rows are too many; lower top=", (int)s->top,
            (int)s->targets.n, (int)rows->n);
    s->lanes = psc_kept_alloc(&s->kept, s->context, host,
        keys * size * sizeof *s->lanes + all * (size + 1) * sizeof *s->values);
    s->sigma = host->run_alloc(s->context, (uint64_t)rows->n * sizeof *s->sigma);
    s->lists = host->run_alloc(s->context, lists * sizeof *s->lists);
    edge *edges = host->run_alloc(s->context, lists * (uint64_t)s->top * sizeof *edges);
    psc_ranked *keys_of = host->run_alloc(s->context, lists * (uint64_t)s->top * sizeof *keys_of);
    if (!s->lanes || !s->sigma || !s->lists || !edges || !keys_of) return -1;
    s->values = (float *)(s->lanes + keys * size);
    s->norms = s->values + all * size;
    for (uint64_t i = 0; i < lists; i++) {
        s->lists[i].edges = edges + i * (uint64_t)s->top;
        s->lists[i].top = (psc_top_list){keys_of + i * (uint64_t)s->top, s->top, 0};
    }
    return 0;
}

/* The targets' directions. `pulled` is followed in memory by the directions gathered for it. */
static int make_directions(edges_state *s) {
    const psc_host *host = s->host;
    if (psc_directions_build(&s->targets, 0, 0, &s->directions)) return -1;
    const uint64_t n = (uint64_t)s->directions.n + 1;
    const uint64_t width = (uint64_t)s->model->n_heads * (uint64_t)s->model->d_head;
    s->place = host->run_alloc(s->context, n * sizeof *s->place);
    s->pulled =
        host->run_alloc(s->context, n * (width + (uint64_t)s->model->d_model) * sizeof *s->pulled);
    return s->place && s->pulled ? 0 : -1;
}

static int edges_run_begin(psc_context *context, void *state) {
    edges_state *s = state;
    const psc_host *host = s->host;
    psc_row_set rows;
    s->rows = psc_whole_sequence(context, host, "edges need", &s->n_rows);
    if (!s->rows || psc_rows_resolve(context, host, "rows", &s->choice, 1, &rows) ||
        psc_targets_begin(context, host, &rows, &s->targets) || make_tables(s, &rows) ||
        edges_make_gram(s))
        return -1;
    s->late = 0;
    for (int32_t t = 0; t < s->targets.n; t++)
        s->late |= s->targets.targets[t].kind == PSC_TARGET_TOP;
    if (s->carry) {
        s->handle_scale = host->retain(context, PSC_HOOK_LN1_SCALE, NULL);
        if (s->handle_scale < 0 || edges_edits_observe(s) ||
            psc_writers_begin(context, host, s->model->n_layers - 1, s->n_keys, &s->writers))
            return -1;
    }
    if (host->observe(context, PSC_HOOK_V, NULL, on_value, s) ||
        host->observe(context, PSC_HOOK_LN_FINAL_SCALE, &rows.filter, on_scale, s))
        return -1;
    if (!s->late)
        return make_directions(s) ||
               host->observe(context, PSC_HOOK_PATTERN, &rows.filter, on_pattern, s);
    s->handle = host->retain(context, PSC_HOOK_PATTERN, &rows.filter);
    return s->handle < 0 ? -1 : 0;
}

/* Ranks have ids only now, so the retained pattern is taken here, layer by layer. */
static int take_late(edges_state *s) {
    if (make_directions(s)) return -1;
    for (int32_t l = 0; l < s->model->n_layers; l++) {
        psc_event event;
        if (s->host->fetch(s->context, s->handle, l, &event) || edges_take_pattern(s, &event))
            return -1;
    }
    return 0;
}

static int edges_run_end(psc_context *context, void *state, int status) {
    edges_state *s = state;
    static const psc_point after[] = {PSC_HOOK_RESULT, PSC_HOOK_Z};
    if (status) return 0;
    for (int i = 0; i < 2; i++)
        if (s->host->has_editor(context, after[i]))
            return s->host->fail(context,
                "the heads' output is edited, so their edges do not sum to it; remove that edit");
    if (s->late && take_late(s)) return -1;
    edges_close_lists(s);
    return edges_arrays(s);
}

static int edges_report(psc_context *context, void *state) {
    (void)context;
    return edges_summary(state);
}

const psc_plugin *psc_builtin_edges(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "edges",
        .summary = "the attention edges x_j -> x_k that make a logit: weight, norm, share, and "
                   "what they carry",
        .options = edges_options,
        .corpus = PSC_CORPUS_NO,
        .open = edges_open,
        .run_begin = edges_run_begin,
        .run_end = edges_run_end,
        .report = edges_report,
        .points = "attn.hook_v attn.hook_pattern ln_final.hook_scale ln1.hook_scale hook_embed "
                  "attn.hook_z hook_mlp_out hook_logits; where edited also hook_resid_pre "
                  "hook_resid_mid hook_resid_post hook_attn_out ln1.hook_normalized",
    };
    return &plugin;
}
