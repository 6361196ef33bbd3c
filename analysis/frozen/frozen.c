/* The plugin `frozen`: a block, or all blocks up to one, as an affine map on this context, with
 * sigma, patterns and gates held at the run's values, applied to a vector at one row.
 *
 *   block(l): X -> X + heads(X) + mlp(X) with the biases; X [T, N]
 *     heads: row k sum_{j<=k} A_kj W_O (W_V (gamma1 * P(x_j)/sigma1_j + beta1) + b_V) + b_O
 *     mlp: W_out (Phi * (W_in (gamma2 * P(x)/sigma2 + beta2) + b_in)) + b_out
 *     sequential models: the MLP reads X + heads(X)
 *   upto(l) = block(l) after ... after block(0)
 *   map(X) = linear(X) + constant; image = linear(v at `row`, 0 elsewhere) [T, N]
 *
 * As a check the map of the run's own residual is compared with the run's hook_resid_post. */
#include "common.h"
#include "gate.h"
#include "top.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAP_BLOCK, MAP_UPTO };
enum { KEPT_PRE, KEPT_POST, KEPT_PATTERN, KEPT_MLP_PRE, KEPT_SCALE1, KEPT_SCALE2, KEPT_COUNT };
enum { TOP = 6 };

typedef struct frozen_state {
    psc_context *context;
    const psc_host *host;
    const psc_model_info *model;
    int32_t map, layer, token;
    const char *file, *token_text; /* as given; file null without one */
    psc_filter choice;

    /* a run */
    const psc_row *rows;
    int32_t n_rows, row;
    int64_t n, width, m;
    int handles[KEPT_COUNT];
    psc_view *kept;                  /* [KEPT_COUNT, L] retained tensors, from run_end on */
    float *x, *y, *v, *z, *attn, *a; /* [T, N], [T, N], [T, H*D] twice, [T, N], [T, M] */
    float *gate;                     /* [M] */
    float *image, *constant;         /* arrays [rows, N] */
    double error;
} frozen_state;

static const char *const maps[] = {"block", "upto", NULL};
static const psc_option_description frozen_options[] = {
    {"map", "block", "one block, or all blocks up to it", PSC_OPTION_WORD,
        offsetof(frozen_state, map), 0, 0, maps},
    {"layer", "0", "the block, or the last of the blocks", PSC_OPTION_LAYER,
        offsetof(frozen_state, layer), 0, 0, NULL},
    {"row", "last", "the one row that holds the vector", PSC_OPTION_ROWS,
        offsetof(frozen_state, choice), 0, 0, NULL},
    {"token", "", "the id whose embedding is the vector; default: the row's own token",
        PSC_OPTION_TEXT, offsetof(frozen_state, token_text), 0, 0, NULL},
    {"vector", "", "a safetensors file with the vector [d_model]", PSC_OPTION_TEXT,
        offsetof(frozen_state, file), 0, 0, NULL},
    {0},
};

static int parse_token(frozen_state *s, const char *value) {
    s->token = -1;
    if (!*value) return 0;
    if (s->file) return s->host->fail(s->context, "token= and vector= are mutually exclusive");
    return psc_option_position(s->context, s->host, "token", value, s->model->d_vocab, &s->token);
}

static int frozen_open(psc_context *context, const psc_host *host, void **state) {
    frozen_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    s->model = host->model(context);
    s->n = s->model->d_model;
    s->width = (int64_t)s->model->n_heads * s->model->d_head;
    s->m = s->model->d_mlp;
    if (!*s->file) s->file = NULL;
    return parse_token(s, s->token_text);
}

/* --- a run ----------------------------------------------------------------------------------- */

static int retain_all(frozen_state *s) {
    static const psc_point points[KEPT_COUNT] = {PSC_HOOK_RESID_PRE, PSC_HOOK_RESID_POST,
        PSC_HOOK_PATTERN, PSC_HOOK_MLP_PRE, PSC_HOOK_LN1_SCALE, PSC_HOOK_LN2_SCALE};
    const int32_t first = s->map == MAP_UPTO ? 0 : s->layer;
    const int32_t n_layers = s->layer + 1 - first;
    int32_t *layers = s->host->run_alloc(s->context, (uint64_t)n_layers * sizeof *layers);
    if (!layers) return -1;
    for (int32_t i = 0; i < n_layers; i++) layers[i] = first + i;
    for (int i = 0; i < KEPT_COUNT; i++) {
        psc_filter filter = PSC_FILTER_INIT;
        filter.layers = i == KEPT_POST ? &s->layer : i == KEPT_PRE ? &layers[0] : layers;
        filter.n_layers = i == KEPT_POST || i == KEPT_PRE ? 1 : n_layers;
        s->handles[i] = s->host->retain(s->context, points[i], &filter);
        if (s->handles[i] < 0) return -1;
    }
    return 0;
}

static int frozen_run_begin(psc_context *context, void *state) {
    frozen_state *s = state;
    const psc_host *host = s->host;
    psc_row_set row;
    s->rows = psc_whole_sequence(context, host, "a frozen map needs", &s->n_rows);
    if (!s->rows || psc_rows_resolve(context, host, "row", &s->choice, 0, &row)) return -1;
    if (row.n != 1) return host->fail(context, "row= must name one row: last or a position");
    s->row = row.index[0];
    return retain_all(s);
}

static int fetch_all(frozen_state *s) {
    const int32_t n_layers = s->model->n_layers, first = s->map == MAP_UPTO ? 0 : s->layer;
    s->kept = s->host->run_alloc(s->context, KEPT_COUNT * (uint64_t)n_layers * sizeof *s->kept);
    if (!s->kept) return -1;
    for (int i = 0; i < KEPT_COUNT; i++) {
        const int32_t from = i == KEPT_POST ? s->layer : first;
        for (int32_t l = from; l <= (i == KEPT_PRE ? first : s->layer); l++) {
            psc_event event;
            if (s->host->fetch(s->context, s->handles[i], l, &event)) return -1;
            s->kept[i * n_layers + l] = event.tensor;
        }
    }
    return 0;
}

static const float *kept(const frozen_state *s, int which, int32_t layer, int32_t row) {
    const psc_view *view = &s->kept[which * s->model->n_layers + layer];
    return view->data + row * view->stride[0];
}

/* y = gamma * P(x)/sigma, plus beta if affine. */
static int normalize(frozen_state *s, psc_ln which, int32_t layer, const float *x, int affine) {
    const float *gamma, *beta;
    if (s->host->ln_parameters(s->context, which, layer, &gamma, &beta)) return -1;
    for (int32_t r = 0; r < s->n_rows; r++) {
        const float *from = x + r * s->n;
        const double mean = psc_sum_striped(s->n, from) / (double)s->n;
        const double sigma =
            (double)*kept(s, which == PSC_LN1 ? KEPT_SCALE1 : KEPT_SCALE2, layer, r);
        for (int64_t i = 0; i < s->n; i++)
            s->y[r * s->n + i] = (float)(((double)from[i] - mean) / sigma * (double)gamma[i] +
                                         (affine ? (double)beta[i] : 0.0));
    }
    return 0;
}

static int add_bias(const frozen_state *s, psc_matrix matrix, int32_t layer, float *y, int64_t n) {
    const float *bias = s->host->bias(s->context, matrix, layer);
    if (!bias) return -1;
    for (int32_t r = 0; r < s->n_rows; r++)
        for (int64_t i = 0; i < n; i++) y[r * n + i] += bias[i];
    return 0;
}

typedef struct mix_task {
    frozen_state *s;
    int32_t layer;
} mix_task;

static void mix_heads(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const mix_task *task = payload;
    const frozen_state *s = task->s;
    const int64_t size = s->model->d_head;
    (void)thread;
    for (int64_t h = begin; h < end; h++)
        for (int32_t k = 0; k < s->n_rows; k++) {
            const float *pattern = kept(s, KEPT_PATTERN, task->layer, k) + h * s->n_rows;
            float *to = s->z + k * s->width + h * size;
            memset(to, 0, (size_t)size * sizeof *to);
            for (int32_t j = 0; j <= k; j++)
                for (int64_t d = 0; d < size; d++)
                    to[d] += pattern[j] * s->v[j * s->width + h * size + d];
        }
}

static int heads(frozen_state *s, int32_t layer, int affine) {
    mix_task task = {s, layer};
    if (normalize(s, PSC_LN1, layer, s->x, affine) ||
        s->host->apply(s->context, PSC_W_V, layer, s->v, s->y, s->n_rows))
        return -1;
    if (affine && add_bias(s, PSC_W_V, layer, s->v, s->width)) return -1;
    s->host->parallel_for(s->context, s->model->n_heads, mix_heads, &task);
    if (s->host->apply(s->context, PSC_W_O, layer, s->attn, s->z, s->n_rows)) return -1;
    return affine ? add_bias(s, PSC_W_O, layer, s->attn, s->n) : 0;
}

/* y = mlp(x) */
static int mlp(frozen_state *s, int32_t layer, const float *x, int affine) {
    if (normalize(s, PSC_LN2, layer, x, affine) ||
        s->host->apply(s->context, PSC_W_IN, layer, s->a, s->y, s->n_rows))
        return -1;
    if (affine && add_bias(s, PSC_W_IN, layer, s->a, s->m)) return -1;
    float *gate = s->gate;
    for (int32_t r = 0; r < s->n_rows; r++) {
        const float *pre = kept(s, KEPT_MLP_PRE, layer, r);
        psc_gates(s->context, s->host, s->m, pre, gate);
        for (int64_t i = 0; i < s->m; i++) s->a[r * s->m + i] *= gate[i];
    }
    if (s->host->apply(s->context, PSC_W_OUT, layer, s->y, s->a, s->n_rows)) return -1;
    return affine ? add_bias(s, PSC_W_OUT, layer, s->y, s->n) : 0;
}

/* Applies the map to x in place. */
static int apply_map(frozen_state *s, int affine) {
    const int64_t floats = s->n_rows * s->n;
    for (int32_t l = s->map == MAP_UPTO ? 0 : s->layer; l <= s->layer; l++) {
        if (heads(s, l, affine)) return -1;
        if (!s->model->parallel_residual) {
            for (int64_t i = 0; i < floats; i++) s->x[i] += s->attn[i];
            memset(s->attn, 0, (size_t)floats * sizeof *s->attn);
        }
        if (mlp(s, l, s->x, affine)) return -1;
        for (int64_t i = 0; i < floats; i++) s->x[i] = (s->y[i] + s->attn[i]) + s->x[i];
    }
    return 0;
}

static int make_buffers(frozen_state *s) {
    static const char *const axes[] = {"rows", "d_model"};
    const psc_host *host = s->host;
    const uint64_t rows = (uint64_t)s->n_rows, n = (uint64_t)s->n, size = sizeof(float);
    s->x = host->run_alloc(s->context, rows * n * size);
    s->y = host->run_alloc(s->context, rows * n * size);
    s->attn = host->run_alloc(s->context, rows * n * size);
    s->v = host->run_alloc(s->context, rows * (uint64_t)s->width * size);
    s->z = host->run_alloc(s->context, rows * (uint64_t)s->width * size);
    s->a = host->run_alloc(s->context, rows * (uint64_t)s->m * size);
    s->gate = host->run_alloc(s->context, (uint64_t)s->m * size);
    if (!s->x || !s->y || !s->attn || !s->v || !s->z || !s->a || !s->gate ||
        psc_count_axis(s->context, host, "rows", 0, s->n_rows) ||
        psc_count_axis(s->context, host, "d_model", 0, s->n))
        return -1;
    s->image = host->array(s->context, "image", PSC_F32, 2, axes);
    s->constant = host->array(s->context, "constant", PSC_F32, 2, axes);
    return s->image && s->constant ? 0 : -1;
}

static int put_vector(frozen_state *s) {
    const psc_host *host = s->host;
    float *to = s->x + s->row * s->n;
    if (!s->file)
        return host->embedding(s->context, s->token >= 0 ? s->token : s->rows[s->row].token, to);
    int32_t n_axes;
    int64_t shape[8];
    const float *vector = host->read_tensor(s->context, s->file, NULL, &n_axes, shape);
    if (!vector) return -1;
    if (n_axes != 1 || shape[0] != s->n)
        return host->fail(
            s->context, "%s: the vector must have the shape [%d]", s->file, (int)s->n);
    memcpy(to, vector, (size_t)s->n * sizeof *to);
    return 0;
}

/* Applies the map to the run's own residual; s->error is the largest error of hook_resid_post. */
static int check_map(frozen_state *s) {
    const int64_t floats = s->n_rows * s->n;
    const int32_t first = s->map == MAP_UPTO ? 0 : s->layer;
    for (int32_t r = 0; r < s->n_rows; r++)
        memcpy(s->x + r * s->n, kept(s, KEPT_PRE, first, r), (size_t)s->n * sizeof *s->x);
    if (apply_map(s, 1)) return -1;
    s->error = 0.0;
    for (int64_t i = 0; i < floats; i++) {
        const double want = (double)kept(s, KEPT_POST, s->layer, (int32_t)(i / s->n))[i % s->n];
        const double error = fabs((double)s->x[i] - want) / (1.0 + fabs(want));
        if (!(error <= s->error)) s->error = error;
    }
    return s->host->value_number(s->context, "worst_error", s->error);
}

static int frozen_run_end(psc_context *context, void *state, int status) {
    frozen_state *s = state;
    if (status) return 0;
    if (psc_edits_refused(context, s->host, "an edited run has no frozen map")) return -1;
    if (fetch_all(s) || make_buffers(s)) return -1;
    const size_t bytes = (size_t)(s->n_rows * s->n) * sizeof *s->x;
    if (put_vector(s) || apply_map(s, 0)) return -1;
    memcpy(s->image, s->x, bytes);
    memset(s->x, 0, bytes);
    if (apply_map(s, 1)) return -1;
    memcpy(s->constant, s->x, bytes);
    return check_map(s);
}

/* --- the summary ----------------------------------------------------------------------------- */

/* Shows the tokens that a row of the image promotes: W_U (gamma_f * P(x)). */
static int show_row(frozen_state *s, int32_t row) {
    const psc_host *host = s->host;
    const float *gamma, *beta;
    float *z = host->run_alloc(s->context, (uint64_t)s->model->d_vocab * sizeof *z);
    if (!z || host->ln_parameters(s->context, PSC_LN_FINAL, -1, &gamma, &beta)) return -1;
    const float *x = s->image + row * s->n;
    const double mean = psc_sum_striped(s->n, x) / (double)s->n;
    for (int64_t i = 0; i < s->n; i++) s->y[i] = (float)(((double)x[i] - mean) * (double)gamma[i]);
    if (host->apply(s->context, PSC_W_U, -1, z, s->y, 1)) return -1;
    psc_ranked entries[TOP];
    psc_top_list top = {entries, TOP, 0};
    psc_top_f32(&top, s->model->d_vocab, z, PSC_TOP_LARGEST);
    const char *labels[TOP];
    double values[TOP];
    for (int32_t i = 0; i < top.n; i++) {
        labels[i] = host->token_text(s->context, (int32_t)top.at[i].index);
        values[i] = top.at[i].key;
    }
    char title[192], place[PSC_ROW_NAME];
    snprintf(title, sizeof title, "tokens that the image at %s promotes (u_t . image)",
        psc_row_name(s->context, host, &s->rows[row], place));
    return host->summary_bars(s->context, title, "", top.n, labels, values);
}

static int frozen_report(psc_context *context, void *state) {
    frozen_state *s = state;
    char sentence[320], place[PSC_ROW_NAME];
    snprintf(sentence, sizeof sentence,
        "%s(%d) on this context, applied to %.80s%s%s. On the run's own residual the map's "
        "error is %.1e times (1 + |x|).",
        s->map == MAP_UPTO ? "upto" : "block", (int)s->layer,
        s->file         ? "the vector"
        : s->token >= 0 ? s->host->token_text(context, s->token)
                        : "",
        s->file || s->token >= 0 ? " at " : "",
        psc_row_name(context, s->host, &s->rows[s->row], place), s->error);
    if (s->host->summary_text(context, sentence) || show_row(s, s->row)) return -1;
    return s->row < s->n_rows - 1 ? show_row(s, s->n_rows - 1) : 0;
}

const psc_plugin *psc_builtin_frozen(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "frozen",
        .summary = "block(l) or upto(l): one block, or all blocks up to it, as an affine map on "
                   "this context, applied to a token's embedding or a vector",
        .options = frozen_options,
        .corpus = PSC_CORPUS_NO,
        .open = frozen_open,
        .run_begin = frozen_run_begin,
        .run_end = frozen_run_end,
        .report = frozen_report,
        .points = "hook_resid_pre hook_resid_post attn.hook_pattern mlp.hook_pre ln1.hook_scale "
                  "ln2.hook_scale",
    };
    return &plugin;
}
