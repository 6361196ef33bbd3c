/* The vocabulary's rows as frames of the residual's space.
 *
 *   S_E = sum e_t e_t^T,  S_U = sum u_t u_t^T,  u_t = P(gamma_f * t_bar)     [N, N]
 *   frame bounds          least and largest eigenvalue: of S_E over R^N and over the numerical span
 *                         (eigenvalues above max * V * 2^-52), of S_U within 1's complement
 *   canonical dual        S_E^+ e_t
 *   nearest tokens        by cosine, ties to the lower id */
#include "weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- blocks of the vocabulary's rows ---------------------------------------------------------- */

enum { BLOCK = 2 * PSC_PANEL_ROWS };
typedef struct rows_block {
    weights_state *s;
    weights_rows kind;
    int64_t first, n;
    float *scratch;    /* [BLOCK, N] */
    double *rows;      /* [BLOCK, N] zeros from n on */
    double *lengths;   /* [BLOCK] */
    psc_panels panels; /* [BLOCK, N]; transposed: [N, BLOCK] */
    int transposed;
    int failed; /* set by any part */
} rows_block;

static int rows_block_make(weights_state *s, rows_block *b, weights_rows kind, int transposed) {
    *b = (rows_block){.s = s, .kind = kind, .transposed = transposed};
    b->scratch = s->host->run_alloc(s->context, (uint64_t)(BLOCK * s->n) * sizeof(float));
    b->rows = weights_doubles(s, BLOCK * s->n);
    b->lengths = weights_doubles(s, BLOCK);
    if (!b->scratch || !b->rows || !b->lengths) return -1;
    return transposed ? psc_panels_make(&b->panels, s->context, s->host, s->n, BLOCK)
                      : psc_panels_make(&b->panels, s->context, s->host, BLOCK, s->n);
}

/* The columns of PSC_TILE rows from `row` on, as a tile's rows. */
static void put_transposed(rows_block *b, int64_t row) {
    const int64_t n = b->s->n;
    const double *from = b->rows + row * n;
    for (int64_t k = 0; k < n; k++) {
        double *to = b->panels.x + k / PSC_PANEL_ROWS * PSC_PANEL_ROWS * b->panels.n_columns +
                     (row * PSC_PANEL_ROWS + k % PSC_PANEL_ROWS * PSC_TILE);
        for (int64_t i = 0; i < PSC_TILE; i++) to[i] = from[i * n + k];
    }
}

static void load_tiles(int64_t begin, int64_t end, int32_t thread, void *payload) {
    rows_block *b = payload;
    const int64_t n = b->s->n;
    (void)thread;
    for (int64_t tile = begin; tile < end; tile++) {
        for (int64_t i = tile * PSC_TILE; i < (tile + 1) * PSC_TILE; i++) {
            double *row = b->rows + i * n;
            if (i >= b->n)
                memset(row, 0, (size_t)n * sizeof *row);
            else if (weights_row(b->s, b->kind, (int32_t)(b->first + i), b->scratch + i * n, row))
                b->failed = 1;
            b->lengths[i] = sqrt(psc_dot_f64(n, row, row));
            if (!b->transposed) psc_panels_put(&b->panels, i, row, n);
        }
        if (b->transposed) put_transposed(b, tile * PSC_TILE);
    }
}

static int rows_block_load(rows_block *b, int64_t first) {
    weights_state *s = b->s;
    const int64_t left = s->model->d_vocab - first;
    b->first = first;
    b->n = left < BLOCK ? left : BLOCK;
    s->host->parallel_for(s->context, BLOCK / PSC_TILE, load_tiles, b);
    if (s->host->cancelled(s->context)) return s->host->fail(s->context, "stopped");
    return b->failed ? -1 : 0;
}

/* --- sums over the vocabulary ---------------------------------------------------------------- */

static void mirror(double *a, int64_t padded) {
    for (int64_t i = 0; i < padded; i++)
        for (int64_t j = i + 1; j < padded; j++) a[j * padded + i] = a[i * padded + j];
}

static int add_rows(weights_state *s, rows_block *e, rows_block *u) {
    const int64_t n_vocab = s->model->d_vocab;
    for (int64_t t = 0; t < n_vocab; t += BLOCK) {
        if (rows_block_load(e, t) || rows_block_load(u, t)) return -1;
        if ((s->s_embed && psc_panels_product(s->s_embed, s->padded, &e->panels, &e->panels, 1)) ||
            (s->s_u && psc_panels_product(s->s_u, s->padded, &u->panels, &u->panels, 1)) ||
            (s->cross && psc_panels_product(s->cross, s->padded, &u->panels, &e->panels, 0)))
            return -1;
        weights_progress(s, 0.0, WEIGHTS_FROM_DUAL, t + BLOCK, n_vocab);
    }
    return 0;
}

int weights_vocabulary(weights_state *s) {
    const int64_t square = s->padded * s->padded;
    const int frames = (s->what & (WEIGHTS_FRAMES | WEIGHTS_SPECTRA | WEIGHTS_DUAL)) != 0;
    const int cross = (s->what & WEIGHTS_COPYING) != 0;
    rows_block e, u;
    s->s_embed = frames ? weights_doubles(s, square) : NULL;
    s->s_u = frames ? weights_doubles(s, square) : NULL;
    s->cross = cross ? weights_doubles(s, square) : NULL;
    if (!frames && !cross) return 0;
    if ((frames && (!s->s_embed || !s->s_u)) || (cross && !s->cross) ||
        rows_block_make(s, &e, ROWS_EMBED, 0) || rows_block_make(s, &u, ROWS_U, 0) ||
        add_rows(s, &e, &u))
        return -1;
    if (frames) mirror(s->s_embed, s->padded);
    if (frames) mirror(s->s_u, s->padded);
    return 0;
}

/* --- rows times a matrix --------------------------------------------------------------------- */

/* out [n <= BLOCK, columns] = rows `first..` of the vocabulary times a matrix [N, columns] in
 * panels. */
typedef struct rows_product {
    rows_block block;
    const psc_panels *matrix;
    double *out; /* [BLOCK, columns padded] */
} rows_product;

static int rows_product_make(
    weights_state *s, rows_product *p, weights_rows kind, const psc_panels *matrix) {
    p->matrix = matrix;
    p->out = weights_doubles(s, BLOCK * matrix->n_columns);
    return !p->out || rows_block_make(s, &p->block, kind, 1) ? -1 : 0;
}

static int rows_product_run(rows_product *p, int64_t first) {
    if (rows_block_load(&p->block, first)) return -1;
    memset(p->out, 0, (size_t)(BLOCK * p->matrix->n_columns) * sizeof *p->out);
    return psc_panels_product(p->out, p->matrix->n_columns, &p->block.panels, p->matrix, 0);
}

/* --- nearest tokens -------------------------------------------------------------------------- */

/* Makes a list of `top` entries for each of n directions; returns null after an error. */
static psc_top_list *nearest_lists(weights_state *s, int64_t n) {
    psc_top_list *lists = s->host->run_alloc(s->context, (uint64_t)n * sizeof *lists + 1);
    psc_ranked *entries =
        s->host->run_alloc(s->context, (uint64_t)(n * s->top) * sizeof *entries + 1);
    if (!lists || !entries) return NULL;
    for (int64_t d = 0; d < n; d++) lists[d] = (psc_top_list){entries + d * s->top, s->top, 0};
    return lists;
}

/* Offers a token's cosine with direction d; signs: ranked by |cosine|. */
static void offer(const weights_state *s, psc_top_list *lists, int64_t d, int64_t id, double cosine,
    int signs, double *cosines) {
    const int32_t place = psc_top_offer(&lists[d], signs ? fabs(cosine) : cosine, id);
    if (place < 0) return;
    double *all = cosines + d * s->top;
    *(double *)psc_top_room(&lists[d], place, all, sizeof *all) = cosine;
}

typedef struct nearest_job {
    const weights_state *s;
    const rows_product *p;
    psc_top_list *lists;
    const double *norms; /* [n] */
    const int32_t *except;
    int signs;
    double *cosines;
} nearest_job;

/* Offers the block's rows to the lists of some directions, in ascending order. */
static void offer_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const nearest_job *job = payload;
    const rows_block *block = &job->p->block;
    (void)thread;
    for (int64_t d = begin; d < end; d++)
        for (int64_t i = 0; i < block->n && job->norms[d] > 0.0; i++) {
            const int64_t id = block->first + i;
            if (block->lengths[i] > 0.0 && !(job->except && job->except[d] == id))
                offer(job->s, job->lists, d, id,
                    job->p->out[i * job->p->matrix->n_columns + d] /
                        (block->lengths[i] * job->norms[d]),
                    job->signs, job->cosines);
        }
}

/* The directions [n, N] as the columns of a matrix, and their norms. */
static int directions_make(
    weights_state *s, psc_panels *matrix, int64_t n, const double *directions, double **norms) {
    double *column = weights_doubles(s, n);
    *norms = weights_doubles(s, n);
    if (!column || !*norms || psc_panels_make(matrix, s->context, s->host, s->n, n)) return -1;
    for (int64_t d = 0; d < n; d++)
        (*norms)[d] = sqrt(psc_dot_f64(s->n, directions + d * s->n, directions + d * s->n));
    for (int64_t k = 0; k < s->n; k++) {
        for (int64_t d = 0; d < n; d++) column[d] = directions[d * s->n + k];
        psc_panels_put(matrix, k, column, n);
    }
    return 0;
}

int weights_nearest(weights_state *s, weights_rows kind, int64_t n, const double *directions,
    int signs, const int32_t *except, int32_t *ids, double *cosines) {
    psc_panels matrix;
    rows_product p;
    double *norms;
    psc_top_list *lists = nearest_lists(s, n);
    if (!lists || directions_make(s, &matrix, n, directions, &norms) ||
        rows_product_make(s, &p, kind, &matrix))
        return -1;
    nearest_job job = {s, &p, lists, norms, except, signs, cosines};
    for (int64_t t = 0; t < s->model->d_vocab; t += BLOCK) {
        if (rows_product_run(&p, t)) return -1;
        s->host->parallel_for(s->context, n, offer_rows, &job);
    }
    for (int64_t d = 0; d < n; d++)
        for (int32_t i = 0; i < lists[d].n; i++)
            ids[d * s->top + i] = (int32_t)lists[d].at[i].index;
    return 0;
}

static int show_nearest(
    weights_state *s, const char *where, const int32_t *ids, const double *cosines, int32_t given) {
    char title[200];
    const char **labels = s->host->run_alloc(s->context, (uint64_t)s->top * sizeof *labels);
    int32_t n = 0;
    if (!labels) return -1;
    for (; n < s->top && ids[given * s->top + n] >= 0; n++)
        labels[n] = s->host->token_text(s->context, ids[given * s->top + n]);
    snprintf(title, sizeof title, "nearest to %.80s in %s",
        s->host->token_text(s->context, s->given[given]), where);
    return s->host->summary_bars(s->context, title, "cosine", n, labels, cosines + given * s->top);
}

int weights_tokens(weights_state *s) {
    static const char *const axes[] = {"given", "rank"};
    static const char *const names[][2] = {
        {"embed_nearest", "embed_cosine"}, {"unembed_nearest", "unembed_cosine"}};
    static const weights_rows kinds[] = {ROWS_EMBED, ROWS_U};
    static const char *const where[] = {"W_E", "W_U"};
    const psc_host *host = s->host;
    double *rows = weights_doubles(s, s->n_given * s->n);
    float *scratch = host->run_alloc(s->context, (uint64_t)s->n * sizeof *scratch);
    if (!rows || !scratch) return -1;
    for (int side = 0; side < 2; side++) {
        int32_t *ids = psc_token_ids_array(s->context, host, names[side][0], 2, axes);
        double *cosines = host->array(s->context, names[side][1], PSC_F64, 2, axes);
        if (!ids || !cosines) return -1;
        for (int32_t g = 0; g < s->n_given; g++)
            if (weights_row(s, kinds[side], s->given[g], scratch, rows + g * s->n)) return -1;
        if (weights_nearest(s, kinds[side], s->n_given, rows, 0, s->given, ids, cosines)) return -1;
        for (int32_t g = 0; g < s->n_given; g++)
            if (show_nearest(s, where[side], ids, cosines, g)) return -1;
    }
    return 0;
}

/* --- the dual -------------------------------------------------------------------------------- */

enum { N_COSINES = 4 };

static double cosine(const double *a, const double *b, int64_t n) {
    return psc_dot_f64(n, a, b) / (sqrt(psc_dot_f64(n, a, a)) * sqrt(psc_dot_f64(n, b, b)));
}

/* S^+ in panels, of eigenvalues [N] and eigenvectors (rows of matrix). */
static int pseudo_inverse(weights_state *s, const double *vectors, const double *values,
    int32_t rank_of, psc_panels *out) {
    psc_panels v, scaled;
    double *inverse = weights_doubles(s, s->padded * s->padded), *row = weights_doubles(s, s->n);
    if (!inverse || !row || psc_panels_make(&v, s->context, s->host, s->n, s->n) ||
        psc_panels_make(&scaled, s->context, s->host, s->n, s->n) ||
        psc_panels_make(out, s->context, s->host, s->n, s->n))
        return -1;
    for (int32_t k = 0; k < rank_of; k++) {
        for (int64_t i = 0; i < s->n; i++) row[i] = vectors[k * s->padded + i] / values[k];
        psc_panels_put(&v, k, vectors + k * s->padded, s->n);
        psc_panels_put(&scaled, k, row, s->n);
    }
    if (psc_panels_product(inverse, s->padded, &v, &scaled, 0)) return -1;
    for (int64_t i = 0; i < s->n; i++) psc_panels_put(out, i, inverse + i * s->padded, s->n);
    return 0;
}

typedef struct dual_job {
    weights_state *s;
    rows_product *p;
    rows_block *t_bar, *u;
    double *cosines; /* [V, N_COSINES] result */
} dual_job;

static void dual_cosines(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const dual_job *job = payload;
    const int64_t n = job->s->n;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const double *e = job->p->block.rows + i * n;
        const double *d = job->p->out + i * job->p->matrix->n_columns;
        const double *t_bar = job->t_bar->rows + i * n, *u = job->u->rows + i * n;
        double *out = job->cosines + (job->p->block.first + i) * N_COSINES;
        out[0] = cosine(e, t_bar, n);
        out[1] = cosine(d, t_bar, n);
        out[2] = cosine(e, u, n);
        out[3] = cosine(d, u, n);
    }
}

/* The given tokens' dual vectors, and every token's cosines. */
static int dual_rows(weights_state *s, const psc_panels *inverse, double *cosines, double *dual) {
    const int64_t n = s->n;
    rows_product p;
    rows_block t_bar, u;
    dual_job job = {s, &p, &t_bar, &u, cosines};
    if (rows_product_make(s, &p, ROWS_EMBED, inverse) ||
        rows_block_make(s, &t_bar, ROWS_UNEMBED, 0) || rows_block_make(s, &u, ROWS_U, 0))
        return -1;
    for (int64_t t = 0; t < s->model->d_vocab; t += BLOCK) {
        if (rows_product_run(&p, t) || rows_block_load(&t_bar, t) || rows_block_load(&u, t))
            return -1;
        s->host->parallel_for(s->context, p.block.n, dual_cosines, &job);
        for (int32_t g = 0; dual && g < s->n_given; g++)
            if (s->given[g] >= t && s->given[g] < t + p.block.n)
                memcpy(dual + g * n, p.out + (s->given[g] - t) * inverse->n_columns,
                    (size_t)n * sizeof *dual);
        weights_progress(s, WEIGHTS_FROM_DUAL, WEIGHTS_FROM_HEADS, t + BLOCK, s->model->d_vocab);
    }
    return 0;
}

static int weights_dual(
    weights_state *s, const double *vectors, const double *values, int32_t rank_of) {
    static const char *const axes[] = {"vocabulary", "pairs"};
    static const char *const dual_axes[] = {"given", "dimensions"};
    static const char *const pairs[N_COSINES] = {"embed, unembed (t_bar)", "dual, unembed (t_bar)",
        "embed, unembed (u_t)", "dual, unembed (u_t)"};
    const psc_host *host = s->host;
    double sums[N_COSINES] = {0}, *dual = NULL;
    psc_panels inverse;
    if (host->axis_labels(s->context, "pairs", N_COSINES, pairs)) return -1;
    double *cosines = host->array(s->context, "dual_cosines", PSC_F64, 2, axes);
    if (s->n_given) dual = host->array(s->context, "dual", PSC_F64, 2, dual_axes);
    if (!cosines || (s->n_given && !dual) ||
        pseudo_inverse(s, vectors, values, rank_of, &inverse) ||
        dual_rows(s, &inverse, cosines, dual))
        return -1;
    for (int64_t i = 0; i < (int64_t)s->model->d_vocab * N_COSINES; i++)
        sums[i % N_COSINES] += cosines[i] == cosines[i] ? cosines[i] : 0.0;
    for (int c = 0; c < N_COSINES; c++) sums[c] /= s->model->d_vocab;
    return host->summary_bars(
        s->context, "mean cosine over the vocabulary; dual: S^+ e_t", "", N_COSINES, pairs, sums);
}

/* --- frame bounds and the spectra of W_E and W_U --------------------------------------------- */

static int32_t numerical_rank(const weights_state *s, const double *values, int64_t n) {
    const double least = values[0] * (double)s->model->d_vocab * 0x1p-52;
    int32_t r = 0;
    while (r < n && values[r] > least) r++;
    return r;
}

static int frame_values(weights_state *s, const double *e, const double *u, int32_t rank_e) {
    const psc_host *host = s->host;
    const int64_t n = s->n, within = n - 1; /* leaves out the direction 1, where S_U is 0 */
    const int32_t rank_u = within > 0 ? numerical_rank(s, u, within) : 0;
    const double u_low = within > 0 ? fmax(u[within - 1], 0.0) : 0.0;
    const double e_span = rank_e ? e[rank_e - 1] : 0.0, u_span = rank_u ? u[rank_u - 1] : 0.0;
    char line[400];
    if (host->value_number(s->context, "embed_lambda_min", fmax(e[n - 1], 0.0)) ||
        host->value_number(s->context, "embed_lambda_min_span", e_span) ||
        host->value_number(s->context, "embed_lambda_max", e[0]) ||
        host->value_number(s->context, "embed_rank", rank_e) ||
        host->value_number(s->context, "u_lambda_min", u_low) ||
        host->value_number(s->context, "u_lambda_min_span", u_span) ||
        host->value_number(s->context, "u_lambda_max", u[0]) ||
        host->value_number(s->context, "u_rank", rank_u))
        return -1;
    snprintf(line, sizeof line,
        "The %s rows of W_E span %s of %s dimensions; their frame bounds are %.4g and %.4g (ratio "
        "%.4g). The directions u_t = P(gamma_f * t_bar) span %s of the %s dimensions orthogonal to "
        "1, with bounds %.4g and %.4g.",
        PSC_COMMAS(s->model->d_vocab), PSC_COMMAS(rank_e), PSC_COMMAS(n), e_span, e[0],
        e_span > 0.0 ? e[0] / e_span : 0.0, PSC_COMMAS(rank_u), PSC_COMMAS(within), u_span, u[0]);
    return host->summary_text(s->context, line);
}

static int vocabulary_spectra(weights_state *s, const double *e, const double *u) {
    static const char *const axes[] = {"dimensions"};
    const psc_host *host = s->host;
    double *s_e = host->array(s->context, "spectrum_W_E", PSC_F64, 1, axes);
    double *s_u = host->array(s->context, "spectrum_W_U", PSC_F64, 1, axes);
    if (!s_e || !s_u) return -1;
    const int64_t n_vocab = s->model->d_vocab, within = s->n - 1;
    weights_roots(s_e, e, s->n, n_vocab);
    weights_roots(s_u, u, s->n, n_vocab < within ? n_vocab : within);
    const double rank_e = weights_effective_rank(s->n, s_e);
    const double rank_u = weights_effective_rank(s->n, s_u);
    char line[200];
    snprintf(line, sizeof line,
        "Effective ranks: W_E %.1f, W_U (with gamma, centered) %.1f of %s dimensions.", rank_e,
        rank_u, PSC_COMMAS(s->n));
    return host->value_number(s->context, "effective_rank_W_E", rank_e) ||
                   host->value_number(s->context, "effective_rank_W_U", rank_u)
               ? -1
               : host->summary_text(s->context, line);
}

int weights_frames(weights_state *s) {
    if (!s->s_embed) return 0;
    double *e = weights_doubles(s, s->n), *u = weights_doubles(s, s->n);
    double *const matrices[] = {s->s_embed, s->s_u}, *const values[] = {e, u};
    if (!e || !u || weights_eigen(s, matrices, values, 2, (s->what & WEIGHTS_DUAL) != 0)) return -1;
    const int32_t rank_e = numerical_rank(s, e, s->n);
    if ((s->what & WEIGHTS_FRAMES) && frame_values(s, e, u, rank_e)) return -1;
    if ((s->what & WEIGHTS_SPECTRA) && vocabulary_spectra(s, e, u)) return -1;
    return s->what & WEIGHTS_DUAL ? weights_dual(s, s->s_embed, e, rank_e) : 0;
}
