/* Arrays, checks and summary of a split: key_scores and query_scores [components, parts, keys],
 * pair_scores [query components, key components, parts]; relative = s_kj - sum_i A_ki s_ki, whose
 * sum over components is log A_kj + entropy(A_k). With the whole pattern the axis `keys` is the
 * run's, and keys past the row are NaN. */
#include "attention.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double *part_of(const attention_state *s, const double *table, int64_t c, int part) {
    return table + (c * SPLIT_PARTS + part) * s->split.n_keys;
}

/* sum_i A_ki x_i */
static double expected(const attention_state *s, const double *x) {
    return psc_dot_mixed(s->split.n_keys, x, s->split.kept[SPLIT_PATTERN].tensor.data);
}

static int component_labels(attention_state *s, const char **out, const char *bias) {
    const attention_split *p = &s->split;
    out[p->n_writers] = "ln1.b";
    out[p->n_writers + 1] = bias;
    return psc_writers_labels(s->context, s->host, p->layer, out);
}

static int make_axes(attention_state *s) {
    static const char *const parts[] = {"unrotated", "rotary"};
    const attention_split *p = &s->split;
    const psc_host *host = s->host;
    const char **labels = host->run_alloc(s->context, (uint64_t)p->n_components * sizeof *labels);
    if (!labels) return -1;
    return component_labels(s, labels, "attn.b_K") ||
           host->axis_labels(s->context, "key_components", p->n_components, labels) ||
           component_labels(s, labels, "attn.b_Q") ||
           host->axis_labels(s->context, "query_components", p->n_components, labels) ||
           host->axis_labels(s->context, "parts", SPLIT_PARTS, parts) ||
           (!s->patterns && psc_count_axis(s->context, host, "keys", 0, p->width));
}

/* Compares each key's sum of relative shares with log A + entropy; s->split.worst is the error. */
static void check(attention_state *s, const double *relative) {
    attention_split *p = &s->split;
    const float *a = p->kept[SPLIT_PATTERN].tensor.data;
    const int64_t cell = (int64_t)p->layer * s->n_heads + p->head;
    const double entropy = s->stats[(cell * s->n_rows + p->reader) * STAT_COUNT + STAT_ENTROPY];
    for (int32_t j = 0; j < p->n_keys; j++) {
        double sum = 0.0, sum_abs = 0.0, log_a = (double)a[j];
        if (a[j] < 1e-30f) continue; /* an f32 so small has no accurate logarithm */
        s->host->log(s->context, 1, &log_a, &log_a);
        for (int64_t c = 0; c < p->n_components * SPLIT_PARTS; c++) {
            sum += relative[c * p->width + j];
            sum_abs += fabs(relative[c * p->width + j]);
        }
        const double error = fabs(sum - (log_a + entropy)) / (1.0 + sum_abs);
        if (!(error <= p->worst)) p->worst = error;
    }
}

static int write_side(attention_state *s, const char *side, const double *shares) {
    const attention_split *p = &s->split;
    char name[48], relative_name[48], axis[48];
    snprintf(name, sizeof name, "%s_scores", side);
    snprintf(relative_name, sizeof relative_name, "%s_scores_relative", side);
    snprintf(axis, sizeof axis, "%s_components", side);
    const char *const axes[] = {axis, "parts", "keys"};
    double *out = s->host->array(s->context, name, PSC_F64, 3, axes);
    double *relative = s->host->array(s->context, relative_name, PSC_F64, 3, axes);
    if (!out || !relative) return -1;
    const int64_t n = p->n_components * SPLIT_PARTS;
    for (int64_t c = 0; c < n; c++) {
        const double *share = shares + c * p->n_keys, mean = expected(s, share);
        memcpy(out + c * p->width, share, (size_t)p->n_keys * sizeof *out);
        for (int32_t j = 0; j < p->n_keys; j++) relative[c * p->width + j] = share[j] - mean;
    }
    check(s, relative);
    return 0;
}

int attention_split_arrays(attention_state *s) {
    static const char *const axes[] = {"query_components", "key_components", "parts"};
    attention_split *p = &s->split;
    p->worst = 0.0;
    p->width = s->patterns ? s->longest : p->n_keys;
    if (make_axes(s) || write_side(s, "key", p->key) || write_side(s, "query", p->query)) return -1;
    if (p->pair) {
        double *out = s->host->array(s->context, "pair_scores", PSC_F64, 3, axes);
        if (!out) return -1;
        memcpy(
            out, p->pair, (size_t)(p->n_components * p->n_components * SPLIT_PARTS) * sizeof *out);
    }
    return s->host->value_number(s->context, "split_worst_error", p->worst);
}

/* Shows the writers that raise or lower key j's score most, relative to the row's mean. */
static int show_side(attention_state *s, const char *side, const double *shares, int32_t j) {
    const attention_split *p = &s->split;
    const char **labels =
        s->host->run_alloc(s->context, (uint64_t)p->n_components * sizeof *labels);
    if (!labels || component_labels(s, labels, side[0] == 'k' ? "attn.b_K" : "attn.b_Q")) return -1;
    psc_ranked entries[ATTENTION_MOST];
    psc_top_list top = {entries, s->top, 0};
    const char *names[ATTENTION_MOST];
    double values[ATTENTION_MOST];
    double *sums = s->host->run_alloc(s->context, (uint64_t)p->n_components * sizeof *sums);
    if (!sums) return -1;
    for (int64_t c = 0; c < p->n_components; c++) {
        for (int part = 0; part < SPLIT_PARTS; part++) {
            const double *x = part_of(s, shares, c, part);
            sums[c] += x[j] - expected(s, x);
        }
    }
    psc_top_f64(&top, p->n_components, sums, PSC_TOP_ABSOLUTE);
    for (int32_t i = 0; i < top.n; i++) {
        names[i] = labels[top.at[i].index];
        values[i] = sums[top.at[i].index];
    }
    char title[320], from[PSC_ROW_NAME], to[PSC_ROW_NAME];
    snprintf(title, sizeof title,
        "why L%dH%d at %s looks at %s: the %s's writers, relative to the row's mean", (int)p->layer,
        (int)p->head, psc_row_name(s->context, s->host, &s->rows[p->n_keys - 1], from),
        psc_row_name(s->context, s->host, &s->rows[j], to), side);
    return s->host->summary_bars(s->context, title, "nats", top.n, names, values);
}

int attention_split_summary(attention_state *s) {
    const attention_split *p = &s->split;
    const float *a = p->kept[SPLIT_PATTERN].tensor.data;
    int32_t best = 0;
    for (int32_t j = 1; j < p->n_keys; j++)
        if (a[j] > a[best]) best = j;
    if (p->partner >= 0) best = p->partner;
    char sentence[128];
    snprintf(sentence, sizeof sentence,
        "On each side the shares sum to log A + entropy within %.1e times (1 + sum |share|).",
        p->worst);
    return show_side(s, "key", p->key, best) || show_side(s, "query", p->query, best) ||
           s->host->summary_text(s->context, sentence);
}
