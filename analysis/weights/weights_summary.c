/* The printed summary of heads: the strongest of each kind, by name, and the tokens that a head
 * reads and writes. */
#include "weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Prints the `top` largest values as bars, without NaN. name writes the name of an index. */
static int largest_bars(weights_state *s, const char *title, const char *unit, int64_t n,
    const double *values, void (*name)(const weights_state *, int64_t, char *, size_t)) {
    enum { NAME = 48 };
    psc_ranked entries[WEIGHTS_MOST];
    psc_top_list top = {entries, s->top, 0};
    char names[WEIGHTS_MOST][NAME];
    const char *labels[WEIGHTS_MOST];
    double shown[WEIGHTS_MOST];
    psc_top_f64(&top, n, values, PSC_TOP_LARGEST);
    for (int32_t i = 0; i < top.n; i++) {
        name(s, top.at[i].index, names[i], NAME);
        labels[i] = names[i];
        shown[i] = top.at[i].key;
    }
    return top.n ? s->host->summary_bars(s->context, title, unit, top.n, labels, shown) : 0;
}

static void name_head(const weights_state *s, int64_t at, char *out, size_t size) {
    const int64_t heads = s->model->n_heads;
    snprintf(out, size, "L%dH%d", (int)(at / heads), (int)(at % heads));
}

static void name_pair(const weights_state *s, int64_t at, char *out, size_t size) {
    const int64_t all = (int64_t)s->model->n_layers * s->model->n_heads;
    char writer[20], reader[20];
    name_head(s, at / all, writer, sizeof writer);
    name_head(s, at % all, reader, sizeof reader);
    snprintf(out, size, "%s -> %s", writer, reader);
}

static int64_t all_heads(const weights_state *s) {
    return (int64_t)s->model->n_layers * s->model->n_heads;
}

int weights_copying_summary(weights_state *s) {
    const int64_t all = all_heads(s);
    int64_t positive = 0;
    char line[160];
    for (int64_t i = 0; i < all; i++) positive += s->copying[i] > 0.0;
    snprintf(line, sizeof line,
        "%d of %d heads have a positive copying score: their writes raise the tokens that they "
        "read.",
        (int)positive, (int)all);
    return s->host->summary_text(s->context, line) ||
                   largest_bars(
                       s, "copying: sum Re lambda / sum |lambda|", "", all, s->copying, name_head)
               ? -1
               : 0;
}

int weights_composition_summary(weights_state *s) {
    static const char *const titles[] = {"Q-composition, the strongest pairs",
        "K-composition, the strongest pairs", "V-composition, the strongest pairs"};
    const int64_t all = all_heads(s);
    char line[160];
    if (s->model->n_layers < 2)
        return s->host->summary_text(
            s->context, "The model has one layer, and heads of one layer do not compose.");
    for (int kind = 0; kind < 3; kind++)
        if (largest_bars(s, titles[kind], "", all * all, s->composition[kind], name_pair))
            return -1;
    snprintf(line, sizeof line,
        "Composition is ||AB|| / (||A|| ||B||); for random matrices it would be near %.3f.",
        1.0 / sqrt((double)s->n));
    return s->host->summary_text(s->context, line);
}

int weights_spectra_summary(weights_state *s, const double *rank_qk, const double *rank_ov) {
    const int64_t all = all_heads(s);
    char title[96];
    snprintf(title, sizeof title, "largest effective ranks of W_QK, of %d", s->model->d_head);
    if (largest_bars(s, title, "", all, rank_qk, name_head)) return -1;
    snprintf(title, sizeof title, "largest effective ranks of W_OV, of %d", s->model->d_head);
    return largest_bars(s, title, "", all, rank_ov, name_head);
}

/* --- tokens that a head reads and writes ----------------------------------------------------- */

/* "' cat' -' dog' ' cats'": a minus sign marks a negative cosine. */
static void name_tokens(
    weights_state *s, const int32_t *ids, const double *cosines, char *out, size_t size) {
    out[0] = 0;
    for (int32_t i = 0; i < s->top && i < 5 && ids[i] >= 0; i++) {
        const size_t used = strlen(out);
        snprintf(out + used, size - used, "%s%s%.40s", i ? " " : "", cosines[i] < 0.0 ? "-" : "",
            s->host->token_text(s->context, ids[i]));
    }
}

static int head_lines(weights_state *s, int32_t *const ids[4], double *const cosines[4]) {
    const int64_t all = all_heads(s), d = s->model->d_head, step = (int64_t)s->triples * s->top;
    char reads[300], writes[300], line[800];
    if (s->host->summary_text(s->context,
            "What heads read and write: the tokens of W_E and W_U nearest to the leading singular "
            "pair of W_OV. -' x' points away from x. The heads with the longest writes:"))
        return -1;
    psc_ranked entries[WEIGHTS_MOST];
    psc_top_list top = {entries, s->top, 0};
    for (int64_t h = 0; h < all; h++) psc_top_offer(&top, s->s_ov[h * d], h);
    for (int32_t i = 0; i < top.n; i++) {
        const int64_t best = top.at[i].index;
        name_tokens(s, ids[2] + best * step, cosines[2] + best * step, reads, sizeof reads);
        name_tokens(s, ids[3] + best * step, cosines[3] + best * step, writes, sizeof writes);
        snprintf(line, sizeof line, "L%dH%d (%.3g) reads %s and writes %s.",
            (int)(best / s->model->n_heads), (int)(best % s->model->n_heads), top.at[i].key, reads,
            writes);
        if (s->host->summary_text(s->context, line)) return -1;
    }
    return 0;
}

int weights_head_tokens(weights_state *s) {
    static const char *const axes[] = {"layers", "heads", "triples", "rank"};
    static const char *const vector_axes[] = {"layers", "heads", "triples", "dimensions"};
    static const char *const sides[] = {"qk_query", "qk_key", "ov_read", "ov_write"};
    const psc_host *host = s->host;
    const int64_t each = all_heads(s) * s->triples, d = s->model->d_head;
    int32_t *ids[4];
    double *cosines[4], *values[2];
    char name[40];
    for (int side = 0; side < 4; side++) {
        const double *from = s->directions + side * each * s->n;
        snprintf(name, sizeof name, "%s_tokens", sides[side]);
        ids[side] = psc_token_ids_array(s->context, host, name, 4, axes);
        snprintf(name, sizeof name, "%s_cosines", sides[side]);
        cosines[side] = host->array(s->context, name, PSC_F64, 4, axes);
        double *vectors = host->array(s->context, sides[side], PSC_F64, 4, vector_axes);
        if (!ids[side] || !cosines[side] || !vectors) return -1;
        memcpy(vectors, from, (size_t)(each * s->n) * sizeof *vectors);
    }
    values[0] = host->array(s->context, "qk_values", PSC_F64, 3, axes);
    values[1] = host->array(s->context, "ov_values", PSC_F64, 3, axes);
    if (!values[0] || !values[1]) return -1;
    for (int64_t i = 0; i < each; i++) {
        const int64_t at = i / s->triples * d + i % s->triples;
        values[0][i] = s->s_qk[at];
        values[1][i] = s->s_ov[at];
    }
    /* The three sides that are read are contiguous, but their results are not. */
    for (int side = 0; side < 4; side++)
        if (weights_nearest(s, side < 3 ? ROWS_EMBED_CENTERED : ROWS_U, each,
                s->directions + side * each * s->n, 1, NULL, ids[side], cosines[side]))
            return -1;
    return head_lines(s, ids, cosines);
}
