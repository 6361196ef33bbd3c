/* lengths: over a corpus, the mean |x| of the residual stream after each layer, and its largest
 * value with the tokens around it. The host holds the totals, so any order, split or resumption of
 * the corpus gives the same bits. */
#include "psc_plugin.h"
#include <math.h>
#include <stddef.h>

enum { KEPT = 3 }; /* contexts kept per layer */

typedef struct lengths_state {
    const psc_host *host;
    int32_t from; /* option: the first position that counts */
    int32_t n_layers, n_rows;
    int sum, count, top; /* accumulators: [n_layers], [1], [n_layers] of KEPT */
    double *norm;        /* [n_layers, n_rows], of this run */
} lengths_state;

static const psc_option_description lengths_options[] = {
    {.key = "from",
        .default_value = "1",
        .help = "the first position that counts; 0 includes the attention sink",
        .kind = PSC_OPTION_COUNT,
        .offset = offsetof(lengths_state, from),
        .low = 0,
        .high = 1 << 20},
    {0},
};

static int on_resid_post(const psc_event *event, void *payload) {
    lengths_state *s = payload;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const float *x = event->tensor.data + r * event->tensor.stride[0];
        double squares = 0;
        for (int64_t i = 0; i < event->tensor.shape[1]; i++) squares += (double)x[i] * x[i];
        s->norm[(int64_t)event->layer * s->n_rows + event->rows[r].index] = sqrt(squares);
    }
    return 0;
}

static int lengths_open(psc_context *context, const psc_host *host, void **state) {
    lengths_state *s = *state = host->life_alloc(context, sizeof *s);
    if (!s || host->options(context, s)) return -1;
    s->host = host;
    s->n_layers = host->model(context)->n_layers;
    if (!host->accumulating(context))
        return host->fail(context, "lengths needs a corpus: use `pythiascope corpus`");
    s->sum = host->accumulator(context, "norm", PSC_ACCUMULATE_SUM, s->n_layers, 0);
    s->count = host->accumulator(context, "rows", PSC_ACCUMULATE_COUNT, 1, 0);
    s->top = host->accumulator(context, "longest", PSC_ACCUMULATE_TOP, s->n_layers, KEPT);
    if (s->sum < 0 || s->count < 0 || s->top < 0) return -1;
    return host->observe(context, PSC_HOOK_RESID_POST, NULL, on_resid_post, s);
}

static int lengths_run_begin(psc_context *context, void *state) {
    lengths_state *s = state;
    s->host->rows(context, &s->n_rows);
    s->norm =
        s->host->run_alloc(context, sizeof(double) * (uint64_t)s->n_layers * (uint64_t)s->n_rows);
    return s->norm ? 0 : -1;
}

/* Adds each sequence's partial once; the sequence is rows begin..end-1 of the run. */
static int add_sequence(
    psc_context *context, lengths_state *s, const psc_row *rows, int32_t begin, int32_t end) {
    double count = 0;
    for (int32_t r = begin; r < end; r++) count += rows[r].position >= s->from;
    for (int32_t l = 0; l < s->n_layers; l++) {
        double sum = 0;
        for (int32_t r = begin; r < end; r++) {
            const double norm = s->norm[(int64_t)l * s->n_rows + r];
            if (rows[r].position < s->from) continue;
            sum += norm;
            if (s->host->accumulate_top(context, s->top, l, norm, &rows[r])) return -1;
        }
        if (s->host->accumulate(context, s->sum, l, 1, &sum)) return -1;
    }
    return s->host->accumulate(context, s->count, 0, 1, &count);
}

static int lengths_run_end(psc_context *context, void *state, int status) {
    lengths_state *s = state;
    const psc_row *rows = s->host->rows(context, &s->n_rows);
    for (int32_t begin = 0, end; status == 0 && begin < s->n_rows; begin = end) {
        for (end = begin; end < s->n_rows && rows[end].sequence == rows[begin].sequence;) end++;
        if (add_sequence(context, s, rows, begin, end)) return -1;
    }
    return 0;
}

static int lengths_report(psc_context *context, void *state) {
    static const char *const axes[] = {"layers"};
    lengths_state *s = state;
    const psc_host *host = s->host;
    psc_top top[KEPT];
    double count = 0;
    int32_t *layers = host->run_alloc(context, sizeof *layers * (uint64_t)s->n_layers);
    for (int32_t l = 0; layers && l < s->n_layers; l++) layers[l] = l;
    if (!layers || host->axis_numbers(context, "layers", s->n_layers, layers)) return -1;
    double *mean = host->array(context, "mean", PSC_F64, 1, axes);
    double *longest = host->array(context, "longest", PSC_F64, 1, axes); /* NaN without a row */
    if (!mean || !longest || host->accumulated(context, s->sum, 0, s->n_layers, mean) ||
        host->accumulated(context, s->count, 0, 1, &count))
        return -1;
    for (int32_t l = 0; l < s->n_layers; l++) {
        mean[l] /= count; /* NaN without a row */
        const int32_t kept = host->accumulated_top(context, s->top, l, top);
        if (kept < 0) return -1;
        if (kept == 0) continue;
        longest[l] = top[0].value;
        if (host->append_text(
                context, "longest_at", host->token_text(context, top[0].tokens[PSC_TOP_BEFORE])))
            return -1;
    }
    return host->value_number(context, "rows_counted", count);
}

static const psc_plugin lengths = {
    .abi = PSC_PLUGIN_ABI,
    .struct_size = sizeof lengths,
    .name = "lengths",
    .version = "1.0",
    .summary = "over a corpus: the mean norm of the residual stream after each layer",
    .points = "hook_resid_post",
    .options = lengths_options,
    .open = lengths_open,
    .run_begin = lengths_run_begin,
    .run_end = lengths_run_end,
    .report = lengths_report,
    .corpus = PSC_CORPUS_YES,
};
PSC_PLUGIN_EXPORT {
    return &lengths;
}
