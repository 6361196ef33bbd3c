/* The values and the printed summary of `mlp`: how many neurons fire, the neurons with the largest
 * shares of the first target at its own last row, the participation ratios, and ReLU's error. */
#include "mlp.h"

#include <math.h>
#include <stdio.h>

enum { MOST_BARS = 8, MOST_LAYERS = 12 };

/* One entry per layer: the mean fraction of neurons that fire, and how many never do. */
static int firing(mlp_state *s) {
    int64_t sum = 0, silent = 0;
    const double rows = s->rows.n;
    for (int64_t l = 0; l < s->n_layers; l++) {
        int64_t layer_sum = 0, layer_silent = 0;
        for (int64_t k = 0; k < s->n_neurons; k++) {
            const int32_t count = s->fires[l * s->n_neurons + k];
            layer_sum += count;
            layer_silent += count == 0;
        }
        sum += layer_sum;
        silent += layer_silent;
        if (s->host->append_number(
                s->context, "firing_fraction", (double)layer_sum / (rows * s->n_neurons)) ||
            s->host->append_number(s->context, "never_fired", (double)layer_silent))
            return -1;
    }
    char sentence[200];
    const double neurons = (double)s->n_layers * s->n_neurons;
    snprintf(sentence, sizeof sentence,
        "On average %.0f %% of %s neurons fire (a > 0) at a row; %s fire at none of %s.",
        100.0 * (double)sum / (rows * neurons), PSC_COMMAS(neurons), PSC_COMMAS(silent),
        PSC_MANY(s->rows.n, "row"));
    return s->host->summary_text(s->context, sentence);
}

static int neuron_bars(mlp_state *s, int64_t t, int64_t row) {
    const int64_t at = (t * s->target_rows.n + row) * s->top;
    char names[MOST_BARS][64], name[PSC_TARGET_NAME], title[192];
    const char *labels[MOST_BARS];
    int32_t n = 0;
    for (; n < s->top && n < MOST_BARS && !isnan(s->top_share[at + n]); n++) {
        const char *label = s->host->label(
            s->context, PSC_COMPONENT_NEURON, s->top_layer[at + n], s->top_neuron[at + n]);
        snprintf(
            names[n], sizeof names[n], "%.30s (gate %.2f)", label, (double)s->top_gate[at + n]);
        labels[n] = names[n];
    }
    snprintf(title, sizeof title, "neurons with the largest shares of %.120s",
        psc_target_name(&s->targets, t, row, name));
    return s->host->summary_bars(s->context, title, "nats", n, labels, s->top_share + at);
}

/* Participation ratios by layer; many layers are sampled evenly. */
static int work_bars(mlp_state *s) {
    const int32_t n = s->n_layers < MOST_LAYERS ? s->n_layers : MOST_LAYERS;
    char names[MOST_LAYERS][32], title[192], place[PSC_ROW_NAME];
    const char *labels[MOST_LAYERS];
    double values[MOST_LAYERS];
    int32_t n_all = 0;
    const psc_row *rows = s->host->rows(s->context, &n_all);
    for (int32_t i = 0; i < n; i++) {
        const int64_t l = n > 1 ? (int64_t)i * (s->n_layers - 1) / (n - 1) : 0;
        snprintf(names[i], sizeof names[i], "layer %lld", (long long)l);
        labels[i] = names[i];
        values[i] = floor(s->participation[(l + 1) * s->rows.n - 1] + 0.5);
    }
    snprintf(title, sizeof title, "active neurons of %s (participation ratio) at %s",
        PSC_COMMAS(s->n_neurons),
        psc_row_name(s->context, s->host, &rows[s->rows.index[s->rows.n - 1]], place));
    return s->host->summary_bars(s->context, title, "", n, labels, values);
}

static int relu_sentence(mlp_state *s, int64_t t, int64_t row) {
    double low = INFINITY, high = 0.0, effect = 0.0;
    const int64_t n_rows = s->target_rows.n;
    char sentence[320], name[PSC_TARGET_NAME];
    for (int64_t l = 0; l < s->n_layers; l++) {
        const double error = s->relu_error[l * n_rows + row];
        if (error < low) low = error;
        if (error > high) high = error;
        if (t >= 0) effect += s->relu_error_target[(t * s->n_layers + l) * n_rows + row];
    }
    int used = snprintf(sentence, sizeof sentence,
        "With ReLU instead of GELU, a layer's write would be off by %.0f to %.0f %% of its norm",
        100.0 * low, 100.0 * high);
    if (t >= 0 && used > 0 && used < (int)sizeof sentence)
        snprintf(sentence + used, sizeof sentence - (size_t)used,
            "; all layers together would change %.120s directly by %+.2f nats.",
            psc_target_name(&s->targets, t, row, name), -effect);
    else if (used > 0 && used + 1 < (int)sizeof sentence)
        snprintf(sentence + used, sizeof sentence - (size_t)used, ".");
    return s->host->summary_text(s->context, sentence);
}

int mlp_summary(mlp_state *s) {
    if (s->rows.n < 1 || s->target_rows.n < 1) return 0;
    int32_t row = -1;
    const int32_t t = psc_target_first(&s->targets, &row);
    if (firing(s)) return -1;
    if (t >= 0 && (psc_target_say_row(&s->targets, t) || neuron_bars(s, t, row))) return -1;
    if (work_bars(s) || relu_sentence(s, t, row)) return -1;
    return s->span && mlp_span_summary(s) ? -1 : 0;
}
