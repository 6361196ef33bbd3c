/* Named directions, joined by +, each of N numbers of the residual stream:
 *
 *   L3N12.in   row 12 of W_in of layer 3        L3N12.out   column 12 of W_out
 *   L2H3.O     the D columns of W_O             L2H3.Q .K .V  the D rows of W_Q, W_K, W_V
 *   W_U:' a'   the token's row of W_U           W_E:' a'   its row of W_E; also #ID
 *   W_U:' a'-' b'   the difference of two rows
 *
 * With folded=yes a vector that is read is taken through the LayerNorm before it: P(gamma w), P
 * taking out the mean; gamma of ln1 (Q, K, V), ln2 (in) or ln_final (W_U). */
#include "direction.h"

#include <stdio.h>
#include <string.h>

/* One item of along=, and where its vectors go. */
typedef struct item {
    const direction *d;
    const char *text, *end; /* the item alone */
    double *out;            /* null: only counted */
    int64_t n;              /* vectors */
} item;

static int refuse(const item *it, const char *why) {
    const int shown = it->end - it->text < 80 ? (int)(it->end - it->text) : 80;
    return it->d->base.host->fail(it->d->base.context, "along=%.*s: %s", shown, it->text, why);
}

static const psc_model_info *model_of(const item *it) {
    return it->d->base.host->model(it->d->base.context);
}

/* A decimal number below n; null otherwise. */
static const char *take_number(const char *text, int64_t n, int64_t *out) {
    const char *p = text;
    *out = 0;
    for (; *p >= '0' && *p <= '9' && p - text < 9; p++) *out = 10 * *out + (*p - '0');
    return p > text && *out < n ? p : NULL;
}

/* Writes vector k from w [N], through a LayerNorm if ln is one and folded=yes. */
static int put(item *it, int64_t k, const float *w, int32_t ln, int32_t layer) {
    const intervention *base = &it->d->base;
    const int64_t n = model_of(it)->d_model;
    const float *gamma, *beta;
    double *out = it->out + k * n, mean = 0.0;
    for (int64_t i = 0; i < n; i++) out[i] = (double)w[i];
    if (!it->d->folded) return 0;
    if (ln < 0) return refuse(it, "folded=yes needs what is read: W_U, .in, .Q, .K or .V");
    if (base->host->ln_parameters(base->context, (psc_ln)ln, layer, &gamma, &beta)) return -1;
    for (int64_t i = 0; i < n; i++) mean += out[i] *= (double)gamma[i];
    for (int64_t i = 0; i < n; i++) out[i] -= mean / (double)n;
    return 0;
}

/* --- weights --------------------------------------------------------------------------------- */

typedef struct part {
    const char *name;
    psc_matrix matrix;
    int32_t ln; /* psc_ln; -1: it writes */
    int head;
} part;

static const part PARTS[] = {{".in", PSC_W_IN, PSC_LN2, 0}, {".out", PSC_W_OUT, -1, 0},
    {".O", PSC_W_O, -1, 1}, {".Q", PSC_W_Q, PSC_LN1, 1}, {".K", PSC_W_K, PSC_LN1, 1},
    {".V", PSC_W_V, PSC_LN1, 1}};
enum { N_PARTS = sizeof PARTS / sizeof PARTS[0] };

/* Rows first..first+n-1 of a matrix that reads, or such columns of one that writes. */
static int put_weights(item *it, const part *p, int32_t layer, int64_t first) {
    const intervention *base = &it->d->base;
    const psc_model_info *m = model_of(it);
    const psc_host *host = base->host;
    const int64_t inputs = p->head ? (int64_t)m->n_heads * m->d_head : m->d_mlp, n = m->d_model;
    float *rows = host->life_alloc(base->context, (uint64_t)(it->n * n) * sizeof *rows);
    if (!rows) return -1;
    if (p->ln >= 0) {
        if (host->matrix_rows(base->context, p->matrix, layer, rows, first, first + it->n))
            return -1;
    } else { /* W e_i is column i, exactly */
        float *one = host->life_alloc(base->context, (uint64_t)(it->n * inputs) * sizeof *one);
        if (!one) return -1;
        for (int64_t k = 0; k < it->n; k++) one[k * inputs + first + k] = 1.0f;
        if (host->apply(base->context, p->matrix, layer, rows, one, (int32_t)it->n)) return -1;
    }
    for (int64_t k = 0; k < it->n; k++)
        if (put(it, k, rows + k * n, p->ln, layer)) return -1;
    return 0;
}

static int take_weights(item *it) {
    static const char form[] =
        "it has the form L3N12.in, L3N12.out, L2H3.O, .Q, .K or .V, within the model";
    const psc_model_info *m = model_of(it);
    int64_t layer = 0, unit = 0;
    const char *p = take_number(it->text + 1, m->n_layers, &layer);
    const int head = p && *p == 'H';
    if (!p || (*p != 'H' && *p != 'N')) return refuse(it, form);
    p = take_number(p + 1, head ? m->n_heads : m->d_mlp, &unit);
    for (int i = 0; p && i < N_PARTS; i++) {
        const size_t length = strlen(PARTS[i].name);
        if (PARTS[i].head != head || (size_t)(it->end - p) != length ||
            memcmp(p, PARTS[i].name, length) != 0)
            continue;
        it->n = head ? m->d_head : 1;
        return it->out ? put_weights(it, &PARTS[i], (int32_t)layer, unit * it->n) : 0;
    }
    return refuse(it, form);
}

/* --- tokens ---------------------------------------------------------------------------------- */

/* Reads 'text' or #ID; null after an error. A quote ends the text before the item's end or a -. */
static const char *take_token(item *it, const char *p, int64_t *id) {
    const intervention *base = &it->d->base;
    const int64_t n = model_of(it)->d_vocab;
    const char *close = p + 1;
    uint64_t bytes = 0;
    if (*p == '#') {
        const char *rest = take_number(p + 1, n, id);
        return rest ? rest : (refuse(it, "the token id is outside the vocabulary"), NULL);
    }
    while (close < it->end && !(*close == '\'' && (close + 1 == it->end || close[1] == '-')))
        close++;
    if (*p != '\'' || close >= it->end || close == p + 1)
        return refuse(it, "after the colon it has a token in quotes, ' Paris', or #ID"), NULL;
    for (*id = 0; *id < n; ++*id) {
        const char *text = base->host->token_bytes(base->context, (int32_t)*id, &bytes);
        if (text && bytes == (uint64_t)(close - p - 1) && memcmp(text, p + 1, bytes) == 0)
            return close + 1;
    }
    return refuse(it, "no token of this model has exactly this text; use another, or #ID"), NULL;
}

static int take_rows(item *it) {
    const intervention *base = &it->d->base;
    const psc_host *host = base->host;
    const int64_t n = model_of(it)->d_model;
    const int unembed = it->text[2] == 'U';
    int64_t ids[2] = {-1, -1};
    const char *p = take_token(it, it->text + 4, &ids[0]);
    if (p && p < it->end && *p == '-') p = take_token(it, p + 1, &ids[1]);
    if (!p) return -1;
    if (p < it->end) return refuse(it, "a token, or two with a minus between them, is expected");
    if (ids[0] == ids[1]) return refuse(it, "both tokens are the same, so the difference is zero");
    it->n = 1;
    if (!it->out) return 0;
    float *rows = host->life_alloc(base->context, 2 * (uint64_t)n * sizeof *rows);
    for (int k = 0; rows && k < 2 && ids[k] >= 0; k++)
        if ((unembed ? host->unembedding : host->embedding)(
                base->context, (int32_t)ids[k], rows + k * n))
            return -1;
    if (!rows) return -1;
    for (int64_t i = 0; i < n && ids[1] >= 0; i++) rows[i] -= rows[n + i];
    return put(it, 0, rows, unembed ? PSC_LN_FINAL : -1, 0);
}

/* --- the list -------------------------------------------------------------------------------- */

static int take_item(item *it) {
    if (strncmp(it->text, "W_U:", 4) == 0 || strncmp(it->text, "W_E:", 4) == 0)
        return take_rows(it);
    if (*it->text == 'L') return take_weights(it);
    return refuse(it,
        "a direction is L3N12.in, L3N12.out, L2H3.O, W_U:' Paris', W_E:#11 or the like; file= "
        "reads others");
}

/* The end of an item: a + that is not in quotes. */
static const char *end_of(const char *text) {
    const char *p = text;
    int quoted = 0;
    for (; *p && (quoted || *p != '+'); p++) {
        if (*p != '\'') continue;
        const int closes = p[1] == 0 || p[1] == '+' || p[1] == '-';
        quoted = quoted ? !(closes && p[-1] != ':') : 1;
    }
    return p;
}

int direction_named(const direction *d, direction_vectors *out) {
    const int64_t width = d->base.host->model(d->base.context)->d_model;
    *out = (direction_vectors){.width = width, .from = d->along};
    for (int fill = 0; fill < 2; fill++) {
        int64_t n = 0;
        for (const char *p = d->along;; p++) {
            item it = {d, p, end_of(p), fill ? out->at + n * width : NULL, 0};
            if (take_item(&it)) return -1;
            n += it.n;
            if (n > width)
                return d->base.host->fail(d->base.context,
                    "along=%.80s names more than %lld vectors, the width of the residual stream",
                    d->along, (long long)width);
            p = it.end;
            if (!*p) break;
        }
        out->n = n;
        if (fill) break;
        out->at =
            d->base.host->life_alloc(d->base.context, (uint64_t)(n * width) * sizeof *out->at);
        if (!out->at) return -1;
    }
    return 0;
}
