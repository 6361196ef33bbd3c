/* The host's mathematics: the kernels of the forward pass, spread over the session's team.
 *
 *   apply      Y[R, out] = X[R, k] W^T    a thread takes panels of 16 outputs
 *   pullback   Y[R, k]   = U[R, out] W    a thread takes a range of k
 *
 * The kernels fix every bit, so the partition does not change results. Inside parallel_for the
 * calling thread does all the work. */
#include "host.h"

#include <math.h>
#include <string.h>

/* --- spreading ------------------------------------------------------------------------------- */

void psc_host_spread(psc_context *context, int64_t n, psc_team_range_fn fn, void *payload) {
    if (n <= 0) return;
    if (psc_turn_in_part(context) || context->session->broken)
        fn(0, n, 0, payload);
    else
        psc_team_for(context->session->team, n, fn, payload);
}

typedef struct parallel_job {
    psc_context *context;
    psc_range_fn fn;
    void *payload;
} parallel_job;

static void run_part(int64_t begin, int64_t end, int thread, void *payload) {
    const parallel_job *job = payload;
    psc_turn_part(job->context, begin, end, (int32_t)thread, job->fn, job->payload);
}

void psc_host_parallel_for(psc_context *context, int64_t n, psc_range_fn fn, void *payload) {
    if (!psc_host_may(&context, "parallel_for", PSC_IN_ANY | PSC_IN_PART)) return;
    if (!psc_host_list(context, "parallel_for", "the range", n, 1, context)) return;
    if (!psc_host_given(context, "parallel_for", "a function", (const void *)(uintptr_t)fn)) return;
    if (n == 0) return;
    if (psc_turn_in_part(context)) {
        fn(0, n, 0, payload);
        return;
    }
    parallel_job job = {context, fn, payload};
    psc_session_stopped(context->session); /* the next call that can fail ends the plugin's work */
    context->turn.inside++;
    if (context->session->broken)
        run_part(0, n, 0, &job);
    else
        psc_team_for(context->session->team, n, run_part, &job);
    context->turn.inside--;
    psc_turn_take_said(context);
}

/* --- parameters ------------------------------------------------------------------------------ */

const psc_packed *psc_host_matrix(
    psc_context *context, const char *call, psc_matrix matrix, int32_t layer) {
    const psc_packed *packed = psc_model_packed(context->session->model, matrix, layer);
    if (!packed)
        psc_host_fail(context, PSC_ERROR_INPUT, "%s: matrix %d of layer %d does not exist", call,
            (int)matrix, (int)layer);
    return packed;
}

int psc_host_ln_parameters(
    psc_context *context, psc_ln which, int32_t layer, const float **gamma, const float **beta) {
    if (!psc_host_may(&context, "ln_parameters", PSC_IN_ANY | PSC_IN_PART)) return PSC_ERROR_STATE;
    if (!psc_host_given(context, "ln_parameters", "gamma", gamma) ||
        !psc_host_given(context, "ln_parameters", "beta", beta))
        return PSC_ERROR_PLUGIN;
    const psc_model *model = context->session->model;
    const psc_layer_norm *ln = NULL;
    if (which == PSC_LN_FINAL)
        ln = &model->ln_final;
    else if (layer >= 0 && layer < model->info.n_layers)
        ln = which == PSC_LN1   ? &model->layers[layer].ln1
             : which == PSC_LN2 ? &model->layers[layer].ln2
                                : NULL;
    if (!ln)
        return psc_host_fail(context, PSC_ERROR_INPUT,
            "ln_parameters: LayerNorm %d of layer %d does not exist", (int)which, (int)layer);
    *gamma = ln->gamma;
    *beta = ln->beta;
    return 0;
}

const float *psc_host_bias(psc_context *context, psc_matrix matrix, int32_t layer) {
    if (!psc_host_may(&context, "bias", PSC_IN_ANY)) return NULL;
    const psc_packed *packed = psc_host_matrix(context, "bias", matrix, layer);
    if (!packed || matrix == PSC_W_U || packed->bias) return packed ? packed->bias : NULL;
    /* Zeros for a model without attention biases, so that plugins need no second formula. */
    const psc_model_info *info = &context->session->model->info;
    size_t longest = (size_t)(info->d_mlp > info->d_model ? info->d_mlp : info->d_model);
    if (context->zero_bias) return context->zero_bias;
    context->zero_bias = psc_arena_alloc(&context->life_arena, longest * sizeof(float));
    if (!context->zero_bias)
        psc_host_fail(context, PSC_ERROR_MEMORY, "not enough memory for a bias");
    return context->zero_bias;
}

/* Whether a token's row can be written to `row`; *context may be null, as the plugin gave it. */
static bool row_allowed(psc_context **given, const char *call, int32_t token, const float *row) {
    if (!psc_host_may(given, call, PSC_IN_ANY | PSC_IN_PART)) return false;
    psc_context *context = *given;
    const int32_t n = context->session->model->info.d_vocab;
    if (!psc_host_given(context, call, "row", row)) return false;
    if (token >= 0 && token < n) return true;
    psc_host_fail(context, PSC_ERROR_INPUT, "%s: token id %d is out of range; ids are 0 to %d",
        call, (int)token, (int)n - 1);
    return false;
}

int psc_host_embedding(psc_context *context, int32_t token, float *row) {
    if (!row_allowed(&context, "embedding", token, row)) return PSC_ERROR_INPUT;
    const psc_session *session = context->session;
    psc_model_embed_row(session->model, session->kernels, token, row);
    return 0;
}

int psc_host_unembedding(psc_context *context, int32_t token, float *row) {
    if (!row_allowed(&context, "unembedding", token, row)) return PSC_ERROR_INPUT;
    const psc_packed *w = &context->session->model->unembed;
    psc_unpack_row(row, w->panels, w->dtype, w->k, (size_t)token);
    return 0;
}

const float *psc_host_unembedding_mean(psc_context *context) {
    if (!psc_host_may(&context, "unembedding_mean", PSC_IN_ANY | PSC_IN_PART)) return NULL;
    return context->session->model->unembed_mean;
}

typedef struct rows_job {
    const psc_packed *w;
    float *out;
    int64_t first; /* row of out's first */
} rows_job;

/* A row at a time reads each cache line of its panel, which stays in the cache for the next. */
static void unpack_rows(int64_t begin, int64_t end, int thread, void *payload) {
    const rows_job *job = payload;
    (void)thread;
    for (int64_t o = begin; o < end; o++)
        psc_unpack_row(job->out + o * (int64_t)job->w->k, job->w->panels, job->w->dtype, job->w->k,
            (size_t)(job->first + o));
}

int psc_host_matrix_rows(psc_context *context, psc_matrix matrix, int32_t layer, float *out,
    int64_t begin, int64_t end) {
    static const char call[] = "matrix_rows";
    if (!psc_host_may(&context, call, PSC_IN_ANY | PSC_IN_PART)) return PSC_ERROR_STATE;
    const psc_packed *w = psc_host_matrix(context, call, matrix, layer);
    if (!w) return PSC_ERROR_INPUT;
    if (begin < 0 || end < begin || end > (int64_t)w->out)
        return psc_host_fail(context, PSC_ERROR_INPUT,
            "%s: the rows %lld to %lld are not some of 0 to %lld", call, (long long)begin,
            (long long)end, (long long)w->out);
    if (!psc_host_list(context, call, "the rows", end - begin, w->k * sizeof *out, out))
        return PSC_ERROR_PLUGIN;
    if (psc_host_stopped(context)) return PSC_ERROR_CANCELLED;
    rows_job job = {w, out, begin};
    psc_host_spread(context, end - begin, unpack_rows, &job);
    return 0;
}

/* --- matrices -------------------------------------------------------------------------------- */

/* Whose room kernels may use: in a part of parallel_for only the caller's thread has one. */
static const psc_forward *room_of(const psc_context *context) {
    const bool mine = !psc_turn_in_part(context) || psc_turn_on_thread(context);
    return mine ? context->session->forward : NULL;
}

typedef struct matmul_job {
    psc_matmul_f32_fn kernel;
    psc_matmul arguments;
    const psc_forward *forward;
} matmul_job;

static void multiply_panels(int64_t begin, int64_t end, int thread, void *payload) {
    const matmul_job *job = payload;
    psc_matmul m = job->arguments;
    m.room = psc_forward_room(job->forward, thread);
    m.panel_begin = (size_t)begin;
    m.panel_end = (size_t)end;
    job->kernel(&m);
}

/* The matrix, if a call with these rows is allowed; null after setting the error. */
static const psc_packed *matrix_of_rows(psc_context **given, const char *call, psc_matrix matrix,
    int32_t layer, int64_t n_rows, const float *y, const float *x) {
    if (!psc_host_may(given, call, PSC_IN_ANY | PSC_IN_PART)) return NULL;
    const psc_packed *w = psc_host_matrix(*given, call, matrix, layer);
    if (!w) return NULL;
    const uint64_t longest = (w->out > w->k ? w->out : w->k) * sizeof(float);
    const bool good = psc_host_list(*given, call, "the rows of y", n_rows, longest, y) &&
                      psc_host_list(*given, call, "the rows of x", n_rows, longest, x);
    return good ? w : NULL;
}

/* apply for the outputs begin..end-1 of w; begin is a panel's first. */
static int multiply(psc_context *context, const psc_packed *w, float *y, const float *x,
    int64_t n_rows, size_t begin, size_t end) {
    if (psc_host_stopped(context)) return PSC_ERROR_CANCELLED;
    if (n_rows == 0 || begin == end) return 0;
    const size_t panel = begin / PSC_LANES;
    matmul_job job = {context->session->kernels->matmul[w->dtype],
        {.y = y,
            .ldy = end - begin,
            .x = x,
            .ldx = w->k,
            .w = (const char *)w->panels + panel * PSC_LANES * w->k * psc_dtype_size(w->dtype),
            .rows = (size_t)n_rows,
            .k = w->k,
            .k_block = w->k_block,
            .out = end - begin},
        room_of(context)};
    psc_host_spread(
        context, (int64_t)((end - begin + PSC_LANES - 1) / PSC_LANES), multiply_panels, &job);
    return 0;
}

int psc_host_apply(psc_context *context, psc_matrix matrix, int32_t layer, float *y, const float *x,
    int64_t n_rows) {
    const psc_packed *w = matrix_of_rows(&context, "apply", matrix, layer, n_rows, y, x);
    return w ? multiply(context, w, y, x, n_rows, 0, w->out) : PSC_ERROR_INPUT;
}

/* Whether begin..end-1 are outputs of w that begin with a panel. */
static bool are_outputs(
    psc_context *context, const char *call, const psc_packed *w, int64_t begin, int64_t end) {
    if (begin >= 0 && begin % PSC_LANES == 0 && end >= begin && end <= (int64_t)w->out) return true;
    psc_host_fail(context, PSC_ERROR_INPUT,
        "%s: outputs %lld to %lld are not possible; begin with a multiple of 16 and end by %lld",
        call, (long long)begin, (long long)end, (long long)w->out);
    return false;
}

int psc_host_apply_outputs(psc_context *context, psc_matrix matrix, int32_t layer, float *y,
    const float *x, int64_t n_rows, int64_t begin, int64_t end) {
    static const char call[] = "apply_outputs";
    const psc_packed *w = matrix_of_rows(&context, call, matrix, layer, n_rows, y, x);
    if (!w || !are_outputs(context, call, w, begin, end)) return PSC_ERROR_INPUT;
    return multiply(context, w, y, x, n_rows, (size_t)begin, (size_t)end);
}

int psc_host_panel_products(psc_context *context, float *y, const float *x, const float *panels,
    int64_t n_rows, int64_t size, int64_t n_panels) {
    static const char call[] = "panel_products";
    if (!psc_host_may(&context, call, PSC_IN_ANY | PSC_IN_PART)) return PSC_ERROR_STATE;
    if (!psc_host_list(context, call, "size", size, sizeof *x, x) ||
        !psc_host_list(context, call, "the panels", n_panels, sizeof *x * PSC_LANES, panels) ||
        !psc_host_list(context, call, "the rows of x", n_rows, (uint64_t)size * sizeof *x + 1, x) ||
        !psc_host_list(context, call, "the rows of y", n_rows,
            (uint64_t)n_panels * PSC_LANES * sizeof *y + 1, y))
        return PSC_ERROR_PLUGIN;
    if (psc_host_stopped(context)) return PSC_ERROR_CANCELLED;
    if (n_rows == 0 || n_panels == 0 || size == 0) return 0;
    matmul_job job = {context->session->kernels->matmul[PSC_DTYPE_F32],
        {.y = y,
            .ldy = (size_t)n_panels * PSC_LANES,
            .x = x,
            .ldx = (size_t)size,
            .w = panels,
            .rows = (size_t)n_rows,
            .k = (size_t)size,
            .k_block = PSC_K_BLOCK,
            .out = (size_t)n_panels * PSC_LANES},
        room_of(context)};
    psc_host_spread(context, n_panels, multiply_panels, &job);
    return 0;
}

/* W_O's blocks are heads, so a head's write is a block's sum. */
int psc_host_head_writes(
    psc_context *context, int32_t layer, float *y, const float *z, int64_t n_rows) {
    static const char call[] = "head_writes";
    const psc_packed *w = matrix_of_rows(&context, call, PSC_W_O, layer, n_rows, y, z);
    if (!w) return PSC_ERROR_INPUT;
    if (psc_host_stopped(context)) return PSC_ERROR_CANCELLED;
    if (n_rows == 0) return 0;
    matmul_job job = {context->session->kernels->matmul[w->dtype],
        {.blocks = y,
            .ld_row = w->k / w->k_block * w->out,
            .ld_block = w->out,
            .x = z,
            .ldx = w->k,
            .w = w->panels,
            .rows = (size_t)n_rows,
            .k = w->k,
            .k_block = w->k_block,
            .out = w->out},
        room_of(context)};
    psc_host_spread(
        context, (int64_t)((w->out + PSC_LANES - 1) / PSC_LANES), multiply_panels, &job);
    return 0;
}

typedef struct pullback_job {
    psc_pullback_f32_fn kernel;
    psc_pullback arguments;
    size_t n_groups;
    const psc_forward *forward;
} pullback_job;

/* Ranges of k begin at multiples of a cache line, so that threads do not share one. */
static void pull_range(int64_t begin, int64_t end, int thread, void *payload) {
    const pullback_job *job = payload;
    psc_pullback p = job->arguments;
    p.room = psc_forward_room(job->forward, thread);
    p.k_begin = (size_t)begin * PSC_LANES;
    p.k_end = (size_t)end * PSC_LANES < p.k ? (size_t)end * PSC_LANES : p.k;
    job->kernel(&p);
}

/* pullback of the outputs begin..end-1 of w; begin is a panel's first. */
static int pull(psc_context *context, const psc_packed *w, float *y, const float *u, int64_t n_rows,
    size_t begin, size_t end) {
    if (psc_host_stopped(context)) return PSC_ERROR_CANCELLED;
    if (n_rows == 0) return 0;
    if (begin == end) {
        memset(y, 0, (size_t)n_rows * w->k * sizeof *y);
        return 0;
    }
    pullback_job job = {context->session->kernels->pullback[w->dtype],
        {.y = y,
            .ldy = w->k,
            .u = u,
            .ldu = end - begin,
            .w = (const char *)w->panels + begin * w->k * psc_dtype_size(w->dtype),
            .rows = (size_t)n_rows,
            .k = w->k,
            .out = end - begin},
        (w->k + PSC_LANES - 1) / PSC_LANES, room_of(context)};
    psc_host_spread(context, (int64_t)job.n_groups, pull_range, &job);
    return 0;
}

int psc_host_pullback(psc_context *context, psc_matrix matrix, int32_t layer, float *y,
    const float *u, int64_t n_rows) {
    const psc_packed *w = matrix_of_rows(&context, "pullback", matrix, layer, n_rows, y, u);
    return w ? pull(context, w, y, u, n_rows, 0, w->out) : PSC_ERROR_INPUT;
}

int psc_host_pullback_outputs(psc_context *context, psc_matrix matrix, int32_t layer, float *y,
    const float *u, int64_t n_rows, int64_t begin, int64_t end) {
    static const char call[] = "pullback_outputs";
    const psc_packed *w = matrix_of_rows(&context, call, matrix, layer, n_rows, y, u);
    if (!w || !are_outputs(context, call, w, begin, end)) return PSC_ERROR_INPUT;
    return pull(context, w, y, u, n_rows, (size_t)begin, (size_t)end);
}

/* --- functions ------------------------------------------------------------------------------- */

/* Whether a function of n elements may be called; *given may be null, as the plugin gave it. */
static bool may_compute(psc_context **given, const char *call, int64_t n, uint64_t bytes,
    const void *y, const void *x) {
    return psc_host_may(given, call, PSC_IN_ANY | PSC_IN_PART) &&
           psc_host_list(*given, call, "y", n, bytes, y) &&
           psc_host_list(*given, call, "x", n, bytes, x);
}

float psc_host_dot(psc_context *context, int64_t n, const float *a, const float *b) {
    float result = 0;
    if (!may_compute(&context, "dot", n, sizeof *a, a, b)) return NAN;
    if (n > 0) context->session->kernels->dot(&result, a, b, (size_t)n);
    return result;
}

void psc_host_exp(psc_context *context, int64_t n, float *y, const float *x) {
    if (!may_compute(&context, "exp", n, sizeof *x, y, x)) return;
    if (n > 0) context->session->kernels->exp_f32(y, x, (size_t)n);
}

void psc_host_erf(psc_context *context, int64_t n, float *y, const float *x) {
    if (!may_compute(&context, "erf", n, sizeof *x, y, x)) return;
    if (n > 0) context->session->kernels->erf_f32(y, x, (size_t)n);
}

void psc_host_tanh(psc_context *context, int64_t n, float *y, const float *x) {
    if (!may_compute(&context, "tanh", n, sizeof *x, y, x)) return;
    if (n > 0) context->session->kernels->tanh_f32(y, x, (size_t)n);
}

void psc_host_log(psc_context *context, int64_t n, double *y, const double *x) {
    if (!may_compute(&context, "log", n, sizeof *x, y, x)) return;
    if (n > 0) context->session->kernels->log_f64(y, x, (size_t)n);
}

double psc_host_log_sum_exp(psc_context *context, int64_t n, const float *x) {
    double result = -INFINITY;
    if (!may_compute(&context, "log_sum_exp", n, sizeof *x, x, x)) return NAN;
    if (n > 0) context->session->kernels->log_sum_exp(&result, x, (size_t)n);
    return result;
}

const psc_reductions *psc_host_reductions(psc_context *context) {
    if (!psc_host_may(&context, "reductions", PSC_IN_ANY)) return NULL;
    const psc_kernels *k = context->session->kernels;
    context->reductions = (psc_reductions){.struct_size = sizeof(psc_reductions),
        .exp_f64 = k->exp_f64,
        .exp_row = k->exp_row,
        .weigh = k->weigh,
        .weigh_both = k->weigh_both,
        .masked_sums = k->masked_sums,
        .divergence_sums = k->divergence_sums,
        .change_moments = k->change_moments,
        .change_sums = k->change_sums,
        .add_writes = k->add_writes,
        .group_maxima = k->group_maxima,
        .indices_within = k->indices_within,
        .reach_limits = k->reach_limits,
        .count_from = k->count_from,
        .ln_affine = k->ln_affine,
        .panel_dots = k->panel_dots,
        .gram_squares = k->gram_squares,
        .add_products = k->add_products,
        .weight_sums = k->weight_sums,
        .pattern_sums = k->pattern_sums,
        .edge_sums = k->edge_sums,
        .add_moments = k->add_moments,
        .count_columns = k->count_columns,
        .bin_columns = k->bin_columns,
        .column_sizes = k->column_sizes};
    return &context->reductions;
}

/* The rotary kernel's own operations, on one head. */
int psc_host_rotate(psc_context *context, int32_t position, int inverse, float *x) {
    if (!psc_host_may(&context, "rotate", PSC_IN_ANY | PSC_IN_PART)) return PSC_ERROR_STATE;
    if (!psc_host_given(context, "rotate", "x", x)) return PSC_ERROR_PLUGIN;
    const psc_model *model = context->session->model;
    const size_t half = model->rotary.half;
    if (position < 0 || position >= model->info.n_ctx)
        return psc_host_fail(context, PSC_ERROR_INPUT,
            "rotate: position %d is outside the model's context", (int)position);
    for (size_t i = 0; i < half; i++) {
        float cosine, sine;
        psc_rotary_at(&cosine, &sine, &context->session->rotary, (size_t)position, i);
        const float a = x[i], b = x[i + half];
        if (inverse) sine = -sine;
        x[i] = fmaf(-b, sine, a * cosine);
        x[i + half] = fmaf(a, sine, b * cosine);
    }
    return 0;
}

void psc_host_shares(psc_context *context, double sums[32], float *y, const float *x,
    const float *w, int64_t n, int64_t first, float divisor) {
    if (!may_compute(&context, "shares", n, sizeof *x, y, x) ||
        !psc_host_given(context, "shares", "sums", sums) ||
        !psc_host_list(context, "shares", "first", first, 1, sums))
        return;
    if (n > 0) context->session->kernels->shares(sums, y, x, w, (size_t)n, (size_t)first, divisor);
}
