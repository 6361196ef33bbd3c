/* norms: |x| of the residual stream after each layer, for every row of the run. */
#include "psc_plugin.h"
#include <math.h>
#include <string.h>

static const psc_host *host;

typedef struct norms_state { /* an instance's own */
    int centered;            /* option: take the mean off first */
    int32_t n_rows, n_layers;
    int32_t *numbers; /* 0, 1, 2, ... */
    float *norm;      /* [n_layers, n_rows], the result */
} norms_state;

static int on_resid_post(const psc_event *e, void *payload) {
    norms_state *s = payload;
    const int64_t n = e->tensor.shape[1];
    for (int32_t r = 0; r < e->n_rows; r++) {
        const float *x = e->tensor.data + r * e->tensor.stride[0];
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < n; i++) sum += x[i], squares += (double)x[i] * x[i];
        if (s->centered) squares -= sum * sum / n;
        s->norm[e->layer * s->n_rows + e->rows[r].index] = (float)sqrt(squares);
    }
    return 0;
}

static int norms_open(
    psc_context *c, const psc_host *h, const psc_option *options, int32_t n, void **state) {
    norms_state *s = *state = (host = h)->life_alloc(c, sizeof *s);
    if (!s) return -1;
    s->centered = n > 0 && strcmp(options[0].value, "yes") == 0;
    s->n_layers = host->model(c)->n_layers;
    return host->observe(c, PSC_HOOK_RESID_POST, 0, on_resid_post, s);
}

static int norms_run_begin(psc_context *c, void *state) {
    norms_state *s = state;
    host->rows(c, &s->n_rows);
    s->numbers = host->run_alloc(c, sizeof(int32_t) * (s->n_layers + s->n_rows));
    for (int32_t i = 0; s->numbers && i < s->n_layers + s->n_rows; i++) s->numbers[i] = i;
    if (!s->numbers || host->axis_numbers(c, "layers", s->n_layers, s->numbers)) return -1;
    if (host->axis_numbers(c, "rows", s->n_rows, s->numbers)) return -1;
    s->norm = host->array(c, "resid_post", PSC_F32, 2, (const char *[]){"layers", "rows"});
    return s->norm ? 0 : -1;
}

static int norms_report(psc_context *c, void *state) {
    const norms_state *s = state;
    const char *label = host->label(c, PSC_COMPONENT_MLP_OUT, s->n_layers - 1, 0);
    const double last = s->norm[s->n_layers * s->n_rows - 1];
    return host->summary_bars(c, "|x| at the last row, after", "", 1, &label, &last);
}

static const psc_option_description keys[] = {{"centered", "no", "yes: without the mean"}, {0}};
static const psc_plugin norms = {PSC_PLUGIN_ABI, sizeof norms, "norms", "1.0", "|x| by layer", keys,
    norms_open, norms_run_begin, 0, 0, 0, 0, norms_report, 0, "hook_resid_post"};
PSC_PLUGIN_EXPORT {
    return &norms;
}
