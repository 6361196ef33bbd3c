/* The listed neurons, from the weights alone.
 *
 *   excited by   token t: D_k . e_t;  an earlier neuron k': D_k . r_k';  an earlier head h:
 *                |W_O,h^T D_k|, the most that a z of length 1 can add
 *   writes       u_t . P(r_k), u_t = P(gamma_f * t_bar)
 *
 * Earlier: in a lower layer; in a sequential model also heads of the same layer. */
#include "neurons.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIDES = 2, BLOCK = 256 };

typedef struct ranking {
    int32_t *index; /* [listed, sides, top] largest and smallest */
    double *value;  /* the same shape */
} ranking;

typedef struct listed_work {
    neurons_state *s;
    neuron_weights weights;
    float *detectors, *writes, *pulled; /* [listed, N], [listed, N], [listed, max(M, HD)] */
    double *offsets;
    float *rows;   /* [BLOCK, N] embeddings */
    float *scores; /* [listed, V] */
    ranking tokens, neurons, says;
    double *heads;        /* [listed, L*H] */
    double *sources;      /* [listed, L*M] */
    int64_t first, count; /* of the block of tokens */
} listed_work;

/* of_tokens: the indices are token ids. */
static int new_ranking(neurons_state *s, ranking *r, const char *name, int of_tokens) {
    static const char *const axes[] = {"listed", "sides", "rank"};
    char full[64];
    r->index = s->host->array(s->context, name, PSC_I32, 3, axes);
    snprintf(full, sizeof full, "%s_value", name);
    r->value = s->host->array(s->context, full, PSC_F64, 3, axes);
    if (!r->index || !r->value) return -1;
    return of_tokens ? s->host->token_ids(s->context, name) : 0;
}

/* The largest and the smallest of n values. */
static void rank(const neurons_state *s, ranking *r, int32_t which, int64_t n, const double *x) {
    static const psc_top_by by[SIDES] = {PSC_TOP_LARGEST, PSC_TOP_SMALLEST};
    for (int side = 0; side < SIDES; side++) {
        psc_ranked entries[MOST_RANKED];
        psc_top_list top = {entries, s->top, 0};
        const int64_t at = ((int64_t)which * SIDES + side) * s->top;
        psc_top_f64(&top, n, x, by[side]);
        for (int32_t i = 0; i < top.n; i++) {
            r->index[at + i] = (int32_t)top.at[i].index;
            r->value[at + i] = x[top.at[i].index];
        }
    }
}

static int make_work(listed_work *w) {
    static const char *const sides[] = {"largest", "smallest"};
    static const char *const axes[] = {"listed", "heads"};
    neurons_state *s = w->s;
    const psc_host *host = s->host;
    const psc_model_info *model = s->model;
    const uint64_t n = (uint64_t)model->d_model, count = (uint64_t)s->n_listed;
    const uint64_t vocabulary = (uint64_t)model->d_vocab, all = (uint64_t)neurons_all(s);
    const int32_t heads = model->n_heads * model->n_layers;
    const uint64_t width = (uint64_t)model->n_heads * (uint64_t)model->d_head;
    const uint64_t most = width > (uint64_t)model->d_mlp ? width : (uint64_t)model->d_mlp;
    w->detectors = host->run_alloc(s->context, count * n * sizeof(float) + 1);
    w->writes = host->run_alloc(s->context, count * n * sizeof(float) + 1);
    w->pulled = host->run_alloc(s->context, count * most * sizeof(float) + 1);
    w->rows = host->run_alloc(s->context, BLOCK * n * sizeof(float));
    w->scores = host->run_alloc(s->context, count * vocabulary * sizeof(float) + 1);
    w->sources = host->run_alloc(s->context, (all + vocabulary) * sizeof(double));
    const char **labels = host->run_alloc(s->context, (uint64_t)heads * sizeof *labels);
    if (!w->detectors || !w->writes || !w->pulled || !w->rows || !w->scores || !w->sources ||
        !labels || neurons_weights_make(s, &w->weights))
        return -1;
    for (int32_t i = 0; i < heads; i++)
        labels[i] =
            host->label(s->context, PSC_COMPONENT_HEAD, i / model->n_heads, i % model->n_heads);
    if (host->axis_labels(s->context, "sides", SIDES, sides) ||
        host->axis_labels(s->context, "heads", heads, labels))
        return -1;
    w->heads = host->array(s->context, "head_gain", PSC_F64, 2, axes);
    w->offsets = host->array(s->context, "offset", PSC_F64, 1, axes);
    return !w->heads || !w->offsets || new_ranking(s, &w->tokens, "excited_by_token", 1) ||
           new_ranking(s, &w->neurons, "excited_by_neuron", 0) ||
           new_ranking(s, &w->says, "promotes", 1);
}

/* D_k, c_k and gamma_f * P(r_k) of every listed neuron. */
static int take_weights(listed_work *w) {
    neurons_state *s = w->s;
    const int64_t n = s->model->d_model;
    const float *gamma, *beta;
    double *write = s->host->run_alloc(s->context, (uint64_t)n * sizeof *write);
    if (!write || s->host->ln_parameters(s->context, PSC_LN_FINAL, -1, &gamma, &beta)) return -1;
    for (int32_t l = 0; l < s->model->n_layers; l++) {
        int loaded = 0;
        for (int32_t i = 0; i < s->n_listed; i++) {
            const int64_t k = s->listed[i].neuron;
            if (s->listed[i].layer != l) continue;
            if (!loaded && neurons_weights_load(s, l, &w->weights)) return -1;
            loaded = 1;
            neurons_write(s, &w->weights, (int32_t)k, write);
            for (int64_t d = 0; d < n; d++) {
                w->detectors[i * n + d] = (float)w->weights.detectors[k * n + d];
                w->writes[i * n + d] = (float)((double)gamma[d] * write[d]);
            }
            w->offsets[i] = w->weights.offsets[k];
        }
    }
    return 0;
}

static void embed_tokens(int64_t begin, int64_t end, int32_t thread, void *payload) {
    listed_work *w = payload;
    const int64_t n = w->s->model->d_model, vocabulary = w->s->model->d_vocab;
    (void)thread;
    for (int64_t t = begin; t < end; t++)
        for (int32_t i = 0; i < w->s->n_listed; i++)
            w->scores[i * vocabulary + w->first + t] =
                w->s->host->dot(w->s->context, n, w->detectors + i * n, w->rows + t * n);
}

static void rank_scores(listed_work *w, ranking *r) {
    const int64_t vocabulary = w->s->model->d_vocab;
    double *x = w->sources + neurons_all(w->s);
    for (int32_t i = 0; i < w->s->n_listed; i++) {
        for (int64_t t = 0; t < vocabulary; t++) x[t] = (double)w->scores[i * vocabulary + t];
        rank(w->s, r, i, vocabulary, x);
    }
}

static int tokens(listed_work *w) {
    neurons_state *s = w->s;
    const int64_t n = s->model->d_model, vocabulary = s->model->d_vocab;
    for (w->first = 0; w->first < vocabulary; w->first += BLOCK) {
        w->count = vocabulary - w->first < BLOCK ? vocabulary - w->first : BLOCK;
        for (int64_t t = 0; t < w->count; t++)
            if (s->host->embedding(s->context, (int32_t)(w->first + t), w->rows + t * n)) return -1;
        s->host->parallel_for(s->context, w->count, embed_tokens, w);
    }
    rank_scores(w, &w->tokens);
    if (s->host->apply(s->context, PSC_W_U, -1, w->scores, w->writes, s->n_listed)) return -1;
    rank_scores(w, &w->says);
    return 0;
}

/* Every layer's heads and neurons as sources of the listed neurons after them. */
static int sources(listed_work *w) {
    neurons_state *s = w->s;
    const psc_model_info *model = s->model;
    const int64_t m = model->d_mlp, size = model->d_head, width = model->n_heads * size;
    double *excites = s->host->run_alloc(
        s->context, (uint64_t)(s->n_listed * neurons_all(s)) * sizeof(double) + 1);
    if (!excites) return -1;
    for (int64_t i = 0; i < s->n_listed * neurons_all(s); i++) excites[i] = NAN;
    for (int32_t l = 0; l < model->n_layers; l++) {
        if (s->host->pullback(s->context, PSC_W_O, l, w->pulled, w->detectors, s->n_listed))
            return -1;
        for (int32_t i = 0; i < s->n_listed; i++) {
            if (l > s->listed[i].layer - (model->parallel_residual ? 1 : 0)) continue;
            for (int64_t h = 0; h < model->n_heads; h++) {
                const float *v = w->pulled + i * width + h * size;
                w->heads[(i * model->n_layers + l) * model->n_heads + h] =
                    sqrt(psc_dot_striped(size, v, v));
            }
        }
        if (s->host->pullback(s->context, PSC_W_OUT, l, w->pulled, w->detectors, s->n_listed))
            return -1;
        for (int32_t i = 0; i < s->n_listed; i++)
            for (int64_t k = 0; k < m && l < s->listed[i].layer; k++)
                excites[i * neurons_all(s) + l * m + k] = (double)w->pulled[i * m + k];
    }
    for (int32_t i = 0; i < s->n_listed; i++)
        rank(s, &w->neurons, i, neurons_all(s), excites + i * neurons_all(s));
    return 0;
}

/* Writes one side of a list: ' cat' +1.23, ' dog' +1.10. Returns whether it has entries. */
static int append(const neurons_state *s, const ranking *r, int32_t which, int side, int neuron,
    char *out, size_t size) {
    enum { SHOWN = 5 };
    int used = 0;
    out[0] = 0;
    for (int32_t i = 0; i < s->top && i < SHOWN; i++) {
        const int64_t at = ((int64_t)which * SIDES + side) * s->top + i;
        const int32_t k = r->index[at];
        if (k < 0 || used < 0 || used >= (int)size) break;
        const char *name = neuron ? s->host->label(s->context, PSC_COMPONENT_NEURON,
                                        k / s->model->d_mlp, k % s->model->d_mlp)
                                  : s->host->token_text(s->context, k);
        used += snprintf(
            out + used, size - (size_t)used, "%s%.30s %+.2f", i ? ", " : "", name, r->value[at]);
    }
    return out[0] != 0;
}

static int summary(listed_work *w) {
    neurons_state *s = w->s;
    char words[5][300], sentence[1800];
    for (int32_t i = 0; i < s->n_listed; i++) {
        append(s, &w->tokens, i, 0, 0, words[0], sizeof words[0]);
        append(s, &w->tokens, i, 1, 0, words[1], sizeof words[1]);
        append(s, &w->says, i, 0, 0, words[2], sizeof words[2]);
        append(s, &w->says, i, 1, 0, words[3], sizeof words[3]);
        const int earlier = append(s, &w->neurons, i, 0, 1, words[4], sizeof words[4]);
        snprintf(sentence, sizeof sentence,
            "%s is excited by %s; inhibited by %s; promotes %s; suppresses %s%s%s.",
            s->host->label(
                s->context, PSC_COMPONENT_NEURON, s->listed[i].layer, s->listed[i].neuron),
            words[0], words[1], words[2], words[3],
            earlier ? "; earlier neurons that excite it: " : "", words[4]);
        if (s->host->summary_text(s->context, sentence)) return -1;
    }
    return 0;
}

int neurons_listed(neurons_state *s) {
    listed_work w = {.s = s};
    if (s->n_listed == 0) return 0;
    return make_work(&w) || take_weights(&w) || tokens(&w) || sources(&w) || summary(&w);
}
