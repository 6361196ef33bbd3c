/* Heads by similarity, as comparisons: for a span [a, b] and each layer's hook_resid_post,
 *
 *   mean    the content unit whose last row's x has the largest cosine with the mean of x over the
 *           span's rows
 *   later   the content unit with the largest mean cosine with the rows after the span
 *
 * each against UD's head and against the head by necessity; ties go to the first unit. */
#include "treebank.h"

#include <stdio.h>

static double cosine(int64_t n, const double *a, const float *b) {
    double aa = 0.0;
    for (int64_t i = 0; i < n; i++) aa += a[i] * a[i];
    return psc_dot_mixed(n, a, b) / sqrt(aa * psc_dot_striped(n, b, b));
}

/* The sum over positions first..last of x (unit zero) or of x / |x| (unit nonzero). */
static void add_up(double *out, const float *const rows, int64_t stride, int64_t n, int32_t first,
    int32_t last, int unit) {
    for (int64_t i = 0; i < n; i++) out[i] = 0.0;
    for (int32_t p = first; p <= last; p++) {
        const float *x = rows + p * stride;
        const double size = unit ? sqrt(psc_dot_striped(n, x, x)) : 1.0;
        for (int64_t i = 0; i < n; i++) out[i] += (double)x[i] / size;
    }
}

int treebank_similar_add(treebank_state *s, const treebank_case *c, int32_t begin, int32_t end,
    int32_t ud, int32_t need) {
    treebank_comparisons *x = &s->comparisons;
    const psc_model_info *m = s->host->model(s->context);
    const int32_t from = c->units[begin].first + 1, to = c->units[end].last + 1;
    psc_event e;
    for (int32_t l = 0; l < m->n_layers; l++) {
        if (s->host->fetch(s->context, x->residual, l, &e)) return -1;
        const float *rows = psc_view_row(&e.tensor, c->rows[0].index);
        for (int kind = 0; kind < TREEBANK_SIMILAR; kind++) {
            if (kind == 0)
                add_up(x->sum, rows, e.tensor.stride[0], m->d_model, from, to, 0);
            else
                add_up(x->sum, rows, e.tensor.stride[0], m->d_model, to + 1, c->n_tokens, 1);
            int32_t best = -1;
            double most = 0.0;
            for (int32_t u = begin; u <= end; u++) {
                if (!c->units[u].content) continue;
                const double value =
                    cosine(m->d_model, x->sum, rows + (c->units[u].last + 1) * e.tensor.stride[0]);
                if (best >= 0 && !(value > most)) continue;
                most = value;
                best = u;
            }
            x->similar_ud[l * TREEBANK_SIMILAR + kind] += best == ud;
            x->similar_need[l * TREEBANK_SIMILAR + kind] += best == need;
        }
    }
    return 0;
}

int treebank_similar_report(treebank_state *s) {
    static const char *const axes[] = {"layers", "similar"}, *const kinds[] = {"mean", "later"};
    const psc_host *host = s->host;
    const int32_t layers = host->model(s->context)->n_layers;
    const treebank_comparisons *x = &s->comparisons;
    const double n = s->heads.n;
    char line[160];
    if (psc_count_axis(s->context, host, "layers", 0, layers) ||
        host->axis_labels(s->context, "similar", TREEBANK_SIMILAR, kinds))
        return -1;
    double *ud = host->array(s->context, "heads_similar_ud", PSC_F64, 2, axes);
    double *need = host->array(s->context, "heads_similar_necessity", PSC_F64, 2, axes);
    if (!ud || !need) return -1;
    for (int32_t l = 0; l < layers; l++) {
        for (int kind = 0; kind < TREEBANK_SIMILAR; kind++) {
            const int32_t i = l * TREEBANK_SIMILAR + kind;
            ud[i] = n > 0.0 ? x->similar_ud[i] / n : (double)NAN;
            need[i] = n > 0.0 ? x->similar_need[i] / n : (double)NAN;
        }
        const int32_t i = l * TREEBANK_SIMILAR;
        snprintf(line, sizeof line,
            "residual %d as head: nearest to the span's mean: necessity %.3f, UD's head %.3f; to "
            "later rows: %.3f, %.3f",
            (int)l, need[i], ud[i], need[i + 1], ud[i + 1]);
        if (host->summary_text(s->context, line)) return -1;
    }
    return 0;
}
