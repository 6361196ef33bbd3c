/* norms: |x| of the residual stream after each layer, for every row of the run. A template in seven
 * numbered steps; each says what it is for and when to omit it. */
#include "psc_plugin.h"
#include <math.h>
#include <stddef.h>

/* 1. The state of one instance: the host's table, the options, data that the callbacks share. */
typedef struct norms_state {
    const psc_host *host;
    int32_t centered; /* option: subtract each row's mean first */
    int32_t n_rows, n_layers;
    int32_t *numbers; /* 0, 1, 2, ... */
    float *norm;      /* [n_layers, n_rows], the result */
} norms_state;

/* 2. The options: the host checks the user's values, fills these fields, and prints the table as
 * help. Omit it if the plugin has no options. */
static const psc_option_description norms_options[] = {
    {.key = "centered",
        .default_value = "no",
        .help = "subtract each row's mean first, as LayerNorm does",
        .kind = PSC_OPTION_YES_NO,
        .offset = offsetof(norms_state, centered)},
    {0},
};

/* 3. An event: some rows of one tensor, valid during the call. Copy the values you need later. */
static int on_resid_post(const psc_event *event, void *payload) {
    norms_state *s = payload;
    const int64_t n = event->tensor.shape[1];
    for (int32_t r = 0; r < event->n_rows; r++) {
        const float *x = event->tensor.data + r * event->tensor.stride[0];
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < n; i++) sum += x[i], squares += (double)x[i] * x[i];
        if (s->centered) squares -= sum * sum / (double)n;
        s->norm[event->layer * s->n_rows + event->rows[r].index] = (float)sqrt(squares);
    }
    return 0;
}

/* 4. Once per instance: make the state, read the options, name the hook points to observe. */
static int norms_open(psc_context *context, const psc_host *host, void **state) {
    norms_state *s = *state = host->life_alloc(context, sizeof *s);
    if (!s || host->options(context, s)) return -1; /* the host has set the error */
    s->host = host;
    s->n_layers = host->model(context)->n_layers;
    return host->observe(context, PSC_HOOK_RESID_POST, NULL, on_resid_post, s);
}

/* 5. Before each run: name the axes and make room for the results. */
static int norms_run_begin(psc_context *context, void *state) {
    static const char *const axes[] = {"layers", "rows"};
    norms_state *s = state;
    s->host->rows(context, &s->n_rows);
    const int32_t most = s->n_layers > s->n_rows ? s->n_layers : s->n_rows;
    s->numbers = s->host->run_alloc(context, sizeof(int32_t) * (uint64_t)most);
    for (int32_t i = 0; s->numbers && i < most; i++) s->numbers[i] = i;
    if (!s->numbers || s->host->axis_numbers(context, "layers", s->n_layers, s->numbers)) return -1;
    if (s->host->axis_numbers(context, "rows", s->n_rows, s->numbers)) return -1;
    s->norm = s->host->array(context, "resid_post", PSC_F32, 2, axes);
    return s->norm ? 0 : -1;
}

/* 6. After each run: values, and the summary. Add `close` to free resources the host does not
 * own. */
static int norms_report(psc_context *context, void *state) {
    const norms_state *s = state;
    static const char *const labels[] = {"last residual"}; /* a label of this plugin */
    const double last[] = {s->norm[(int64_t)s->n_layers * s->n_rows - 1]};
    return s->host->value_number(context, "last", last[0]) ||
           s->host->summary_bars(context, "|x| at the last row", "", 1, labels, last);
}

/* 7. The description that the host reads when it loads the file. Add .needs_bos = 1 if every
 * sequence must begin with a beginning-of-text token. .corpus = PSC_CORPUS_YES: it
 * accumulates over documents. */
static const psc_plugin norms = {
    .abi = PSC_PLUGIN_ABI,
    .struct_size = sizeof norms,
    .name = "norms",
    .version = "1.1",
    .summary = "the norm of the residual stream after each layer",
    .points = "hook_resid_post",
    .options = norms_options,
    .open = norms_open,
    .run_begin = norms_run_begin,
    .report = norms_report,
    .corpus = PSC_CORPUS_NO,
};
PSC_PLUGIN_EXPORT {
    return &norms;
}
