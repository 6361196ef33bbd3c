/* The plugin `neurons`: neurons as detectors and writers.
 *
 *   a_k = c_k + D_k . P(x)/sigma,  D_k = P(gamma2 * w_in,k);  it writes g(a_k) r_k
 *
 * From the weights: what excites listed neurons and which tokens they promote (neurons_listed.c),
 * entropy neurons (neurons_entropy.c), geometry of detectors and bounds of the output
 * (neurons_geometry.c). From the data: firing, and over documents every neuron's contexts
 * (neurons_contexts.c). This file holds the options and the plugin's callbacks. */
#include "neurons.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const psc_option_description neurons_options[] = {
    {"neuron", "auto",
        "neurons reported in full, like L3N17+L2N5, at most 32; auto: the five with the longest "
        "writes at the last row, over a corpus the five with the largest a",
        PSC_OPTION_TEXT, offsetof(neurons_state, named), 0, 0, NULL},
    {"top", "10", "entries of each of their lists", PSC_OPTION_COUNT, offsetof(neurons_state, top),
        1, MOST_RANKED, NULL},
    {"contexts", "8", "over a corpus: contexts kept per neuron", PSC_OPTION_COUNT,
        offsetof(neurons_state, contexts), 1, 64, NULL},
    {"entropy", "yes", "find entropy neurons among all neurons", PSC_OPTION_YES_NO,
        offsetof(neurons_state, entropy), 0, 0, NULL},
    {"geometry", "auto", "layers whose interference, bounds and span are computed",
        PSC_OPTION_LAYERS, offsetof(neurons_state, geometry), 0, 0, NULL},
    {0},
};

enum { AUTO_LISTED = 5 };

static int parse_number(const char **at, char letter, int32_t end, int32_t *out) {
    char *rest = NULL;
    if (**at != letter || (*at)[1] < '0' || (*at)[1] > '9') return -1;
    const long value = strtol(*at + 1, &rest, 10);
    if (value >= end) return -1;
    *at = rest;
    *out = (int32_t)value;
    return 0;
}

static int parse_neurons(neurons_state *s, const char *value) {
    const psc_model_info *model = s->model;
    if (strcmp(value, "auto") == 0) return 0;
    for (const char *at = value;; at++) {
        neuron_id id;
        if (parse_number(&at, 'L', model->n_layers, &id.layer) ||
            parse_number(&at, 'N', model->d_mlp, &id.neuron) || (*at && *at != '+'))
            return s->host->fail(s->context,
                "neuron=%.60s is neither auto nor neurons from L0N0 to L%dN%d joined by +", value,
                (int)model->n_layers - 1, (int)model->d_mlp - 1);
        if (s->n_listed == MOST_LISTED)
            return s->host->fail(
                s->context, "neuron names more than %d neurons; name fewer", (int)MOST_LISTED);
        s->listed[s->n_listed++] = id;
        if (!*at) break;
    }
    s->chosen = 1;
    return 0;
}

static int neurons_open(psc_context *context, const psc_host *host, void **state) {
    neurons_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    s->model = host->model(context);
    s->corpus = host->accumulating(context);
    s->kernels = host->reductions(context);
    if (!s->kernels) return -1;
    if (parse_neurons(s, s->named)) return -1;
    return s->corpus ? neurons_contexts_open(s) : 0;
}

static int neurons_run_begin(psc_context *context, void *state) {
    neurons_state *s = state;
    const psc_host *host = s->host;
    psc_filter last = PSC_FILTER_INIT;
    psc_row_set rows;
    if (neurons_contexts_begin(s)) return -1;
    if (s->corpus) return 0;
    last.rows = PSC_ROWS_LAST;
    s->pre = host->retain(context, PSC_HOOK_MLP_PRE, &last);
    s->post = host->retain(context, PSC_HOOK_MLP_POST, &last);
    s->out = host->retain(context, PSC_HOOK_MLP_OUT, NULL);
    if (s->pre < 0 || s->post < 0 || s->out < 0) return -1;
    return psc_rows_resolve(context, host, "rows", &last, 1, &rows) ||
           psc_targets_begin(context, host, &rows, &s->targets);
}

/* Lists the neurons with the largest values, in descending order. */
static void list_largest(neurons_state *s, const double *values) {
    psc_ranked entries[AUTO_LISTED];
    psc_top_list top = {entries, AUTO_LISTED, 0};
    const int64_t m = s->model->d_mlp;
    psc_top_f64(&top, neurons_all(s), values, PSC_TOP_LARGEST);
    s->n_listed = top.n;
    for (int32_t i = 0; i < top.n; i++)
        s->listed[i] = (neuron_id){(int32_t)(top.at[i].index / m), (int32_t)(top.at[i].index % m)};
}

/* auto chooses the longest writes at the last row of a run, over documents the largest a. */
static int choose(neurons_state *s) {
    const psc_host *host = s->host;
    const int64_t m = s->model->d_mlp;
    if (s->chosen) return 0;
    double *values = host->run_alloc(s->context, (uint64_t)neurons_all(s) * sizeof *values);
    psc_top *entries = host->run_alloc(s->context, (uint64_t)s->contexts * sizeof *entries);
    if (!values || !entries) return -1;
    for (int32_t l = 0; l < s->model->n_layers; l++) {
        psc_event event;
        double *layer = values + l * m;
        for (int64_t k = 0; s->corpus && k < m; k++) {
            const int32_t n =
                host->accumulated_top(s->context, s->context_handle, l * m + k, entries);
            if (n < 0) return -1;
            layer[k] = n > 0 ? entries[0].value : NAN;
        }
        if (s->corpus) continue;
        if (host->column_norms(s->context, PSC_W_OUT, l, 1, layer) ||
            host->fetch(s->context, s->post, l, &event))
            return -1;
        const float *g = event.tensor.data + (event.tensor.shape[0] - 1) * event.tensor.stride[0];
        for (int64_t k = 0; k < m; k++) layer[k] *= fabs((double)g[k]);
    }
    list_largest(s, values);
    return 0;
}

/* Computes everything that needs the weights. */
static int compute(neurons_state *s) {
    const char *labels[MOST_LISTED];
    if (choose(s)) return -1;
    for (int32_t i = 0; i < s->n_listed; i++)
        labels[i] = s->host->label(
            s->context, PSC_COMPONENT_NEURON, s->listed[i].layer, s->listed[i].neuron);
    if (psc_count_axis(s->context, s->host, "layers", 0, s->model->n_layers) ||
        psc_count_axis(s->context, s->host, "neurons", 0, s->model->d_mlp) ||
        psc_count_axis(s->context, s->host, "rank", 0, s->top) ||
        s->host->axis_labels(s->context, "listed", s->n_listed, labels) || neurons_firing(s))
        return -1;
    return neurons_listed(s) || (s->entropy && neurons_entropy(s)) ||
           (s->geometry.n > 0 && neurons_geometry(s));
}

static int neurons_run_end(psc_context *context, void *state, int status) {
    neurons_state *s = state;
    (void)context;
    if (status) return 0;
    if (s->corpus) return neurons_contexts_add(s);
    return psc_directions_build(&s->targets, 0, 0, &s->directions) ||
           psc_rows_axis(context, s->host, "target_rows", &s->targets.rows) ||
           psc_targets_results(&s->targets, "target_rows") || compute(s);
}

static int neurons_report(psc_context *context, void *state) {
    neurons_state *s = state;
    (void)context;
    if (!s->corpus) return 0;
    return compute(s) || neurons_contexts_report(s);
}

const psc_plugin *psc_builtin_neurons(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "neurons",
        .summary = "what excites neurons, what they promote, where they fire; entropy neurons; "
                   "geometry of detectors",
        .options = neurons_options,
        .corpus = PSC_CORPUS_YES,
        .open = neurons_open,
        .run_begin = neurons_run_begin,
        .run_end = neurons_run_end,
        .report = neurons_report,
        .points = "mlp.hook_pre mlp.hook_post hook_mlp_out hook_logits",
    };
    return &plugin;
}
